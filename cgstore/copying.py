"""One run from its files into staged versions: blocks of frames read, mapped and encoded by threads, appended in order.

Every level is made from one reading of the frames. At most a few blocks are in memory, whatever the length of the run.
"""

from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgstore.errors import InputError
from cgstore.frames import Frames
from cgstore.mapping import BeadMap, bead_map, composition_of
from cgstore.provenance import digest_of_file, provenance
from cgstore.readers.parts import RunReader, open_run
from cgstore.readers.topologies import read_topology
from cgstore.readers.xtc import XtcReader
from cgstore.recipe import Recipe, Run
from cgstore.store.appending import Prepared
from cgstore.store.references import XtcReferences, table_of_frames
from cgstore.store.versions import Stage
from cgstore.topology import Topology

__all__ = ["Plan", "copy_frames", "open_plan"]

BLOCK_BYTES = 2**24  # of float32 positions; larger ones leave the caches, smaller ones are shorter than a chunk

# Positions, what becomes of them, and their chunks: some blocks for each thread.
_BLOCKS_AHEAD = 2


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
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

    def references(self, level: str) -> XtcReferences | None:
        """Return the files in which the positions of a level stay; None for a level that is stored."""
        if level != "atoms" or self.recipe.store.copied:
            return None
        return XtcReferences(str(self.archive.absolute()), tuple(source.path for source in self.reader.sources))


def open_plan(recipe: Recipe, run: Run, archive: Path) -> Plan:
    """Open the files of a run and check all that can be checked before the first frame is decoded.

    Raises
    ------
    InputError : a file is missing or wrong, or the recipe does not fit to it
    """
    path = archive / run.topology
    if not path.is_file():
        raise InputError(f"{recipe.path}: {run.topology}: no such file in the archive {archive}")
    atoms = read_topology(path, masses=recipe.masses, units=run.units, guess_bonds=run.guess_bonds)
    stated, found = recipe.system.composition, composition_of(atoms)
    if not recipe.mapping and stated and stated != found:  # with a mapping, bead_map says it kind by kind
        raise InputError(f"{recipe.path}: system.composition   found {stated}, the topology has {found}")
    beads = bead_map(atoms, recipe) if recipe.mapping else None
    reader = open_run(
        archive,
        trajectory=run.trajectory,
        particles=len(atoms),
        discard=run.discard,
        until=run.until,
        stride=run.stride,
        interval=run.interval,
        truncated=run.truncated,
        units=run.units,
    )
    if not len(reader):
        end = "" if run.until is None else f", until is {run.until:g} ps"
        raise InputError(
            f"{recipe.path}: run {run.name}: no frame is left of {', '.join(run.trajectory)}; "
            f"discard is {run.discard:g} ps{end}, stride {run.stride}"
        )
    foreign = [part.path for part in reader.parts if not isinstance(part, XtcReader)]
    if foreign and not recipe.store.copied:
        raise InputError(f"{recipe.path}: store.copy   found false with {foreign[0]}; only XTC files can be referenced")
    return Plan(recipe, run, reader, atoms, beads, digest_of_file(path), archive)


def copy_frames(
    plan: Plan,
    stages: Mapping[str, Stage],
    known: Mapping[str, int],
    *,
    workers: Executor,
    threads: int,
    progress: Callable[[int], None],
) -> None:
    """Append to each level the frames that it does not have yet.

    Parameters
    ----------
    plan : the run
    stages : by level; a level without frames is laid out here
    known : frames that each level has
    workers : who reads, maps and encodes
    threads : how many of them
    progress : called with the number of frames done

    Raises
    ------
    InputError : a frame is damaged, or positions do not fit onto the grid
    """
    first, total = min(known.values()), len(plan.reader)
    pending: deque[tuple[int, Future[dict[str, Prepared]]]] = deque()

    def take(most: int) -> None:
        while len(pending) > most:
            stop, future = pending.popleft()
            for level, block in future.result().items():
                stages[level].take(block)
            progress(stop)

    try:
        for start, stop in _blocks(first, total, len(plan.atoms)):
            if start == first:
                _lay_out(plan, stages, known)
            pending.append((stop, workers.submit(_prepare, plan, stages, known, start, stop)))
            take(threads + _BLOCKS_AHEAD - 1)
        take(0)
    finally:
        for _, future in pending:
            future.cancel()


def _blocks(first: int, total: int, particles: int) -> list[tuple[int, int]]:
    """Cut the frames that are new where their numbers are multiples of the block, a power of two."""
    length = 1 << (max(1, BLOCK_BYTES // (12 * max(particles, 1))).bit_length() - 1)
    edges = [first, *range(first // length * length + length, total, length), total]
    return list(pairwise(edges)) if first < total else []


def _lay_out(plan: Plan, stages: Mapping[str, Stage], known: Mapping[str, int]) -> None:
    """Create the levels that have no frames, after the first frame of the run."""
    new = [level for level in stages if not known[level]]
    if not new:
        return
    frame = plan.reader.read(0, 1)
    for level in new:
        stages[level].create(
            plan.topology(level),
            _at_level(plan, level, frame),
            precision=plan.recipe.store.precision,
            attrs=plan.attrs(level),
            profile=plan.recipe.store.profile,
            references=plan.references(level),
        )


def _at_level(plan: Plan, level: str, frames: Frames) -> Frames:
    """Return frames of atoms as frames of a level."""
    return frames if level == "atoms" or plan.beads is None else plan.beads.apply(frames)


def _prepare(
    plan: Plan, stages: Mapping[str, Stage], known: Mapping[str, int], start: int, stop: int
) -> dict[str, Prepared]:
    """Read frames start:stop once, and bring what each level does not have yet into the form that it stores."""
    wanted = [level for level in stages if known[level] < stop]
    only_beads = plan.beads is not None and "atoms" not in wanted
    frames = plan.reader.read(start, stop, particles=plan.beads.needed if only_beads and plan.beads else None)
    prepared = {}
    for level in wanted:
        skip, staged = max(0, known[level] - start), stages[level]
        part = _at_level(plan, level, frames[slice(skip, None)])
        table = _table(plan, start + skip, stop) if plan.references(level) else None
        prepared[level] = staged.prepare(part, references=table, first=start + skip)
    return prepared


def _table(plan: Plan, start: int, stop: int) -> NDArray[np.int64]:
    """Return where frames lie in their files."""
    part, frame = plan.reader.part[start:stop], plan.reader.frame[start:stop]
    tables = []
    for number in np.unique(part):
        opened, chosen = plan.reader.parts[number], frame[part == number]
        assert isinstance(opened, XtcReader)  # open_plan has seen to it
        tables.append(table_of_frames(opened.path, int(number), opened.offset[chosen], opened.length[chosen]))
    return np.concatenate(tables)
