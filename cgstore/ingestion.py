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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cgstore.catalog import write_catalog
from cgstore.errors import ConflictError, InputError, MissingExtra
from cgstore.mapping import BeadMap, bead_map, composition_of
from cgstore.provenance import begins_with, digest_of_file, provenance, same_description
from cgstore.readers.parts import RunReader, open_run
from cgstore.readers.topologies import read_topology
from cgstore.recipe import Recipe, Run, load_recipe
from cgstore.store.integrity import Manifest, list_datasets, list_versions, read_manifest, version_folder
from cgstore.store.versions import Stage, stage
from cgstore.topology import Topology

__all__ = ["RunSummary", "ingest"]

Progress = Callable[[str, int, int], None]

BLOCK_BYTES = 32 * 2**20  # of float32 positions: what one run holds in memory while it is ingested
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


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """One run, opened: what will be read and how each level is made of it."""

    recipe: Recipe
    run: Run
    reader: RunReader
    atoms: Topology
    beads: BeadMap | None
    topology_digest: str
    archive: Path

    @property
    def name(self) -> str:
        """Return `system/run`."""
        return f"{self.recipe.system.name}/{self.run.name}"

    def topology(self, level: str) -> Topology:
        """Return the particles of a level."""
        return self.atoms if level == "atoms" or self.beads is None else self.beads.topology

    def attrs(self, level: str) -> dict[str, Any]:
        """Return the metadata and provenance of a level."""
        known = provenance(
            self.recipe, self.run, level, topology_digest=self.topology_digest, sources=self.reader.sources
        )
        return {**known, "composition": composition_of(self.atoms)}


def ingest(
    recipe: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    archive: str | os.PathLike[str],
    store: str | os.PathLike[str],
    jobs: int = 1,
    dry_run: bool = False,
    progress: Progress | None = None,
    scheduler: str | None = None,
) -> list[RunSummary]:
    """Bring the runs of one or several recipes from the archive into the store.

    Parameters
    ----------
    recipe : path of a recipe file, or several
    archive : the folder that the paths in the recipe are relative to; it is only read
    store : folder of the store; made when missing
    jobs : runs ingested at the same time, in threads
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
    work = _Work(Path(archive), Path(store), dry_run)
    try:
        if scheduler:
            return _on_cluster(work, tasks, scheduler)
        return _in_threads(work, tasks, jobs, progress or (lambda name, done, total: None))
    finally:
        if not dry_run and list_datasets(Path(store)):
            write_catalog(Path(store))


def _in_threads(work: "_Work", tasks: list[tuple[Recipe, Run]], jobs: int, progress: Progress) -> list[RunSummary]:
    """Ingest runs in threads; the first failure or Ctrl-C stops the others at their next block."""
    if jobs <= 1 or len(tasks) == 1:
        return [work(item, run, progress) for item, run in tasks]
    stop = threading.Event()

    def until_stopped(name: str, done: int, total: int) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        progress(name, done, total)

    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(work, item, run, until_stopped) for item, run in tasks]
        try:
            return [future.result() for future in futures]
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise


def _on_cluster(work: "_Work", tasks: list[tuple[Recipe, Run]], scheduler: str) -> list[RunSummary]:
    """Ingest each run as one task of a Dask cluster."""
    try:
        from distributed import Client
    except ImportError as error:
        raise MissingExtra.of("distributed", extra="distributed", purpose="--scheduler") from error
    try:
        client = Client(scheduler, timeout=20)
    except (OSError, TimeoutError, ValueError) as error:
        raise InputError(f"scheduler {scheduler}: no Dask scheduler answers there ({error})") from error
    with client:
        futures = [client.submit(work, item, run, _silent, pure=False) for item, run in tasks]
        return list(client.gather(futures))


def _silent(name: str, done: int, total: int) -> None:
    """Report nothing: a worker has no terminal."""


@dataclass(frozen=True, slots=True)
class _Work:
    """The ingest of one run: a callable that travels to threads and workers."""

    archive: Path
    store: Path
    dry_run: bool

    def __call__(self, recipe: Recipe, run: Run, progress: Progress) -> RunSummary:
        """Plan and ingest, again from the start when another writer was quicker."""
        begin = time.perf_counter()
        plan = _open_plan(recipe, run, self.archive)
        if self.dry_run:
            return _summary(plan, "planned", {}, 0, begin)
        for _ in range(_RETRIES):
            with contextlib.suppress(ConflictError):
                return _write_run(plan, self.store, progress, begin)
        return _write_run(plan, self.store, progress, begin)


def _open_plan(recipe: Recipe, run: Run, archive: Path) -> _Plan:
    """Open the files of a run and check all that can be checked before the first frame is decoded."""
    path = archive / run.topology
    if not path.is_file():
        raise InputError(f"{recipe.path}: {run.topology}: no such file in the archive {archive}")
    atoms = read_topology(path)
    stated, found = recipe.system.composition, composition_of(atoms)
    if not recipe.mapping and stated and stated != found:  # with a mapping, bead_map says it kind by kind
        raise InputError(f"{recipe.path}: system.composition   found {stated}, the topology has {found}")
    beads = bead_map(atoms, recipe) if recipe.mapping else None
    reader = open_run(
        archive,
        trajectory=run.trajectory,
        particles=len(atoms),
        discard=run.discard,
        stride=run.stride,
        interval=run.interval,
        truncated=run.truncated,
    )
    if not len(reader):
        raise InputError(
            f"{recipe.path}: run {run.name}: no frame is left of {', '.join(run.trajectory)}; "
            f"discard is {run.discard:g} ps, stride {run.stride}"
        )
    return _Plan(recipe, run, reader, atoms, beads, digest_of_file(path), archive)


def _write_run(plan: _Plan, store: Path, progress: Progress, begin: float) -> RunSummary:
    """Stage every level from one reading of the frames, then publish them together."""
    levels = plan.recipe.store.levels
    current = {level: _current(store / plan.name / level) for level in levels}
    known = {level: _frames_known(plan, level, manifest) for level, manifest in current.items()}
    total = len(plan.reader)
    attrs = {level: plan.attrs(level) for level in levels}
    manifests = {level: manifest for level, manifest in current.items() if manifest is not None}
    if all(known[level] == total and same_description(manifests[level].attrs, attrs[level]) for level in levels):
        return _summary(plan, "unchanged", manifests, 0, begin)

    first = min(known.values())
    with contextlib.ExitStack() as stack:
        stages = {}
        for level in levels:
            manifest = current[level]
            base = manifest.version if manifest is not None and known[level] else None
            stages[level] = stack.enter_context(stage(store / plan.name / level, base=base))
        progress(plan.name, first, total)
        for start, stop in _blocks(first, total, len(plan.atoms)):
            _append_block(plan, stages, known, start, stop)
            progress(plan.name, stop, total)
        for level in levels:
            stages[level].set_attrs(attrs[level])
        published = {level: stages[level].publish() for level in levels}
    return _summary(plan, _action(current, known, total), published, total - first, begin, _reason(current, known))


def _append_block(plan: _Plan, stages: dict[str, Stage], known: dict[str, int], start: int, stop: int) -> None:
    """Read frames start:stop once and append to each level what it does not have yet."""
    frames = plan.reader.read(start, stop)
    for level, staged in stages.items():
        skip = max(0, known[level] - start)
        if skip >= stop - start:
            continue
        part = frames[slice(skip, None)]
        if level != "atoms" and plan.beads is not None:
            part = plan.beads.apply(part)
        if known[level] == 0 and start == 0:
            precision = plan.recipe.store.precision
            staged.create(plan.topology(level), part, precision=precision, attrs=plan.attrs(level))
        staged.append(part)


def _blocks(first: int, total: int, particles: int) -> list[tuple[int, int]]:
    """Cut the frames that are new into blocks of a bounded size in memory."""
    length = max(1, BLOCK_BYTES // (12 * max(particles, 1)))
    return [(start, min(start + length, total)) for start in range(first, total, length)]


def _current(dataset: Path) -> Manifest | None:
    """Return the manifest of the newest version of a dataset, if it has one."""
    versions = list_versions(dataset)
    return read_manifest(version_folder(dataset, versions[-1])) if versions else None


def _frames_known(plan: _Plan, level: str, manifest: Manifest | None) -> int:
    """Return how many of the run's frames the newest version holds: all of its frames, or none."""
    if manifest is None or manifest.attrs.get("lineage") != plan.attrs(level)["lineage"]:
        return 0
    if manifest.frames > len(plan.reader):
        return 0
    same = begins_with(manifest.attrs["sources"], plan.reader.sources, archive=plan.archive)
    return manifest.frames if same else 0


def _action(current: dict[str, Manifest | None], known: dict[str, int], total: int) -> str:
    """Name what was done to the run as a whole."""
    if all(manifest is None for manifest in current.values()):
        return "created"
    if any(current[level] is not None and not known[level] for level in known):
        return "rebuilt"
    return "described" if min(known.values()) == total else "appended"


def _reason(current: dict[str, Manifest | None], known: dict[str, int]) -> str:
    """Say why a level that was in the store was made anew."""
    rebuilt = [level for level, manifest in current.items() if manifest is not None and not known[level]]
    if not rebuilt:
        return ""
    return f"{', '.join(rebuilt)}: the topology, mapping, selection, precision or earlier bytes of the source changed"


def _summary(
    plan: _Plan, action: str, manifests: dict[str, Manifest], new: int, begin: float, reason: str = ""
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
