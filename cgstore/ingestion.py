"""Ingest: one recipe from the archive into the store, each run and level a new immutable version, or none.

A run that is in the store already is continued: when the recipe asks for the same frames and the source files
still begin with the bytes that were ingested, only new frames are read. Anything else makes a version from
scratch. All levels are staged first and published last, so an interrupted ingest leaves the store as it was.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from cgstore.catalog import write_catalog
from cgstore.clusters import client_of
from cgstore.copying import Plan, copy_frames, open_plan
from cgstore.errors import ConflictError, InputError
from cgstore.provenance import begins_with, same_description, what_changed
from cgstore.recipe import Recipe, Run, load_recipe
from cgstore.store.integrity import Manifest, list_versions, read_manifest, version_folder
from cgstore.store.mirrors import local_store, write_lists
from cgstore.store.versions import stage

__all__ = ["RunSummary", "ingest"]

Progress = Callable[[str, int, int], None]

_RETRIES = 2  # when another writer of the same dataset was quicker


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What became of one run.

    `action` is "created", "appended", "rebuilt" (the source, selection or mapping changed), "described" (only
    metadata changed), "unchanged", or "planned" after a dry run; `reason` says why when it is not obvious.
    """

    run: str
    action: str
    frames: int  # in the store after this ingest
    new_frames: int  # read now
    particles: dict[str, int]  # by level
    versions: dict[str, int]  # by level
    bytes_in: int  # of the source files
    bytes_stored: int  # of the new or current versions
    seconds: float = field(compare=False)
    reason: str = ""


def ingest(
    recipe: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    archive: str | os.PathLike[str],
    store: str | os.PathLike[str],
    jobs: int | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
    scheduler: str | None = None,
) -> list[RunSummary]:
    """Bring the runs of one or several recipes from the archive into the store.

    Parameters
    ----------
    recipe : path of a recipe file, or several
    archive : the folder that the paths in the recipe are relative to; it is only read
    store : folder of the store, made when missing, or its URL (s3://bucket/prefix)
    jobs : threads that read, map and encode, for all runs together; as many as there are cores by default
    dry_run : open everything, check everything, write nothing
    progress : called as `progress("system/run", frames done, frames in all)`
    scheduler : address of a Dask distributed scheduler whose workers see the same archive and store

    Returns
    -------
    One summary per run, in the order of the recipes.

    Raises
    ------
    InputError : a recipe, mapping, topology or trajectory is wrong; runs that were finished before stay published
    StoreError : the store cannot be written

    Examples
    --------
    >>> ingest("ingest/recipes/methane_112k.toml", archive="archive", store="store")  # doctest: +SKIP
    [RunSummary(run='methane_112k/r1', action='created', frames=401, ...)]
    """
    paths = [recipe] if isinstance(recipe, str | os.PathLike) else list(recipe)
    recipes = [load_recipe(Path(path)) for path in paths]
    tasks = [(item, run) for item in recipes for run in item.run]
    names = [f"{item.system.name}/{run.name}" for item, run in tasks]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"run {repeated[0]} is in more than one of the recipes; a run has one recipe")
    if not Path(archive).is_dir():
        raise InputError(
            f"archive {archive}: no such folder; --archive is what the paths in the recipes are relative to"
        )
    threads = jobs or len(os.sched_getaffinity(0))
    work = _Work(Path(archive), os.fspath(store), dry_run, threads)
    published = not dry_run  # perhaps, if it fails
    try:
        summaries = _on_cluster(work, tasks, scheduler) if scheduler else _in_threads(work, tasks, progress or _silent)
        published = published and any(summary.action != "unchanged" for summary in summaries)
        return summaries
    finally:
        if published:
            write_lists(os.fspath(store), write_catalog)


def _in_threads(work: "_Work", tasks: list[tuple[Recipe, Run]], progress: Progress) -> list[RunSummary]:
    """Ingest runs side by side; the first failure or Ctrl-C stops the others at their next block."""
    stop = threading.Event()

    def until_stopped(name: str, done: int, total: int) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        progress(name, done, total)

    with ThreadPoolExecutor(work.threads, "cgstore-worker") as workers:
        if work.threads == 1 or len(tasks) == 1:
            return [work(item, run, progress, workers) for item, run in tasks]
        # Those who only wait for the workers are threads of their own.
        with ThreadPoolExecutor(work.threads, "cgstore-run") as pool:
            futures = [pool.submit(work, item, run, until_stopped, workers) for item, run in tasks]
            try:
                return [future.result() for future in futures]
            except BaseException:
                stop.set()
                pool.shutdown(cancel_futures=True)
                raise


def _on_cluster(work: "_Work", tasks: list[tuple[Recipe, Run]], scheduler: str) -> list[RunSummary]:
    """Ingest each run as one task of a Dask cluster."""
    with client_of(scheduler) as client:
        futures = [client.submit(work, item, run, _silent, pure=False) for item, run in tasks]
        return list(client.gather(futures))


def _silent(name: str, done: int, total: int) -> None:
    """Report nothing: a worker has no terminal."""


@dataclass(frozen=True, slots=True)
class _Work:
    """The ingest of one run: a callable that travels to threads and workers."""

    archive: Path
    store: str
    dry_run: bool
    threads: int

    def __call__(self, recipe: Recipe, run: Run, progress: Progress, workers: Executor | None = None) -> RunSummary:
        """Plan and ingest, again from the start when another writer was quicker."""
        if workers is None:
            with ThreadPoolExecutor(self.threads, "cgstore-worker") as own:
                return self(recipe, run, progress, own)
        begin = time.perf_counter()
        plan = open_plan(recipe, run, self.archive)
        if self.dry_run:
            return _summary(plan, "planned", {}, 0, begin)
        names = [f"{plan.name}/{level}" for level in recipe.store.levels]
        for attempt in range(_RETRIES + 1):
            again = contextlib.suppress(*[ConflictError] if attempt < _RETRIES else [])
            with again, local_store(self.store, names) as folder:
                return _write_run(plan, folder, progress, begin, workers=workers, threads=self.threads)
        raise AssertionError  # the last attempt returns or raises


def _write_run(
    plan: Plan, store: Path, progress: Progress, begin: float, *, workers: Executor, threads: int
) -> RunSummary:
    """Stage every level from one reading of the frames, then publish them together."""
    levels = plan.recipe.store.levels
    current = {level: _current(store / plan.name / level) for level in levels}
    known = {level: _frames_known(plan, level, manifest) for level, manifest in current.items()}
    total = len(plan.reader)
    attrs = {level: plan.attrs(level) for level in levels}
    manifests = {level: manifest for level, manifest in current.items() if manifest is not None}
    # After an interrupted or concurrent ingest only some levels may lack something.
    behind = [
        level for level in levels if known[level] < total or not same_description(manifests[level].attrs, attrs[level])
    ]
    if not behind:
        return _summary(plan, "unchanged", manifests, 0, begin)

    first = min(known.values())
    with contextlib.ExitStack() as stack:
        stages = {}
        for level in behind:
            manifest = current[level]
            base = manifest.version if manifest is not None and known[level] else None
            stages[level] = stack.enter_context(stage(store / plan.name / level, base=base, workers=workers))
            if base is not None and (references := plan.references(level)):
                stages[level].refer(references)
        progress(plan.name, first, total)
        report = partial(_report, progress, plan.name, total)
        copy_frames(plan, stages, known, workers=workers, threads=threads, progress=report)
        for level, staged in stages.items():
            staged.set_attrs(attrs[level])
        manifests |= {level: staged.publish() for level, staged in stages.items()}
    reason = _reason(current, known, attrs)
    return _summary(plan, _action(current, known, total), manifests, total - first, begin, reason)


def _report(progress: Progress, name: str, total: int, done: int) -> None:
    """Say how far a run has come."""
    progress(name, done, total)


def _current(dataset: Path) -> Manifest | None:
    """Return the manifest of the newest version of a dataset, if it has one."""
    versions = list_versions(dataset)
    return read_manifest(version_folder(dataset, versions[-1])) if versions else None


def _frames_known(plan: Plan, level: str, manifest: Manifest | None) -> int:
    """Return how many of the run's frames the newest version holds: all of its frames, or none."""
    if manifest is None or manifest.attrs.get("lineage") != plan.attrs(level)["lineage"]:
        return 0
    if manifest.frames > len(plan.reader):
        return 0
    same = begins_with(manifest.attrs["sources"], plan.reader.sources, archive=plan.archive)
    return manifest.frames if same else 0


def _action(current: dict[str, Manifest | None], known: dict[str, int], total: int) -> str:
    """Name what was done to the run as a whole."""
    if any(manifest is not None and not known[level] for level, manifest in current.items()):
        return "rebuilt"
    if any(manifest is None for manifest in current.values()):
        return "created"
    return "described" if min(known.values()) == total else "appended"


def _reason(current: dict[str, Manifest | None], known: dict[str, int], attrs: dict[str, dict[str, Any]]) -> str:
    """Say which levels are new in a run that was there, and why others were made anew."""
    new = [level for level, manifest in current.items() if manifest is None]
    words = [f"{', '.join(new)}: new"] if 0 < len(new) < len(current) else []
    for level, manifest in current.items():
        if manifest is not None and not known[level]:
            words.append(f"{level}: {what_changed(manifest.attrs, attrs[level])}")
    return "; ".join(words)


def _summary(
    plan: Plan, action: str, manifests: dict[str, Manifest], new: int, begin: float, reason: str = ""
) -> RunSummary:
    """Gather what is reported about one run."""
    return RunSummary(
        run=plan.name,
        action=action,
        frames=len(plan.reader),
        new_frames=new,
        particles={level: len(plan.topology(level)) for level in plan.recipe.store.levels},
        versions={level: manifest.version for level, manifest in manifests.items()},
        bytes_in=sum(source.size for source in plan.reader.sources),
        bytes_stored=sum(manifest.bytes for manifest in manifests.values()),
        seconds=time.perf_counter() - begin,
        reason=reason,
    )
