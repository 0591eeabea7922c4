"""Which trajectory files are parts of one run, in which order, and which topology is theirs."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np

from cgstore.drafts.finding import Found, Part, Static
from cgstore.readers.compressed import is_compressed

__all__ = ["DraftRun", "group", "natural"]


@dataclass(frozen=True, slots=True, eq=False)
class DraftRun:
    """The files of one simulation."""

    topology: Static
    parts: tuple[Part, ...]

    @property
    def frames(self) -> int:
        """Return the number of frames, repeated ones counted."""
        return sum(len(part.time) for part in self.parts)

    @property
    def timed(self) -> bool:
        """Tell whether the times in the files can be used."""
        return all(part.timed for part in self.parts)

    @property
    def interval(self) -> float:
        """Return the usual time between frames in ps, nan where there is none."""
        steps = np.concatenate([np.diff(part.time) for part in self.parts])
        return float(np.median(steps)) if len(steps) and self.timed else float("nan")

    @property
    def flaw(self) -> str:
        """Return what is wrong with the first damaged part."""
        return next((f"{part.path.name}: {part.flaw}" for part in self.parts if part.flaw), "")

    @property
    def gaps(self) -> list[str]:
        """Return between which parts frames are missing."""
        if not self.timed or np.isnan(self.interval):
            return []
        pairs = zip(self.parts, self.parts[1:], strict=False)
        return [
            f"nothing between {before.time[-1]:g} ps ({before.path.name}) and {after.time[0]:g} ps ({after.path.name})"
            for before, after in pairs
            if after.time[0] - before.time[-1] > 1.5 * self.interval
        ]


def group(found: Found) -> list[DraftRun]:
    """Put parts together to runs and give each its topology; what has none is remarked on in `found`."""
    families: dict[tuple[Path, str, int], list[Part]] = defaultdict(list)
    for part in found.parts:
        families[part.path.parent, _stem(part.path), part.particles].append(part)
    runs = []
    for family in families.values():
        for parts in _successive(_one_format(family, found)):
            topology = _topology(parts[0], found.topologies)
            if topology is None:
                counts = sorted({static.particles for static in found.topologies})
                have = f"topologies here have {', '.join(map(str, counts))}" if counts else "there is no topology"
                found.left_out.append(f"{parts[0].path}: it has {parts[0].particles} particles, {have}")
                continue
            runs.append(DraftRun(topology, tuple(parts)))
    return sorted(runs, key=lambda run: natural(str(run.parts[0].path)))


def natural(text: str) -> list[tuple[int, int | str]]:
    """Return a key that sorts numbers in names by their value: part2 before part10."""
    pieces = re.split(r"(\d+)", text)
    return [(0, int(piece)) if piece.isdecimal() else (1, piece) for piece in pieces]


def _stem(path: Path) -> str:
    """Return what the names of the parts of a run have in common: `traj.xtc`, `traj.part0002.xtc`, `traj_3.xtc`."""
    name = re.sub(r"[._-]?part(?=\d)", "", _bare(path))
    return re.sub(r"[._-]?\d+", "", name)


def _bare(path: Path) -> str:
    """Return the name of a file without what says its format and compression."""
    return (Path(path.stem) if is_compressed(path) else path).stem


def _one_format(parts: Sequence[Part], found: Found) -> list[Part]:
    """Leave out copies of a file in another format; usable times and more frames decide which of them stays."""
    best: dict[str, Part] = {}
    for part in parts:
        name = _bare(part.path)
        other = best.setdefault(name, part)
        if other is part:
            continue
        better = (part.timed, len(part.time)) > (other.timed, len(other.time))
        kept, left = (part, other) if better else (other, part)
        best[name] = kept
        found.left_out.append(f"{left.path}: taken for a copy of {kept.path.name}")
    return sorted(best.values(), key=lambda part: natural(part.path.name))


def _successive(parts: Sequence[Part]) -> list[list[Part]]:
    """Cut parts into runs: a continuation begins and ends later than the part before it."""
    if not all(part.timed for part in parts):
        return [list(parts)]
    runs: list[list[Part]] = []
    for part in sorted(parts, key=lambda part: float(part.time[0])):
        last = runs[-1][-1] if runs else None
        if last is not None and part.time[0] > last.time[0] and part.time[-1] > last.time[-1]:
            runs[-1].append(part)
        else:
            runs.append([part])
    return runs


def _topology(part: Part, topologies: Sequence[Static]) -> Static | None:
    """Return the topology with as many particles that knows most; of equals the nearest, then the one alike in name."""
    fitting = [static for static in topologies if static.particles == part.particles]

    def distance(static: Static) -> tuple[Any, ...]:
        folder = static.path.parent
        away = 0 if folder == part.path.parent else 1 if folder in part.path.parents else 2
        letters = zip(f"{_bare(static.path)}.", f"{_bare(part.path)}.", strict=False)
        alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], letters))
        return away == 2, bool(static.massless), static.rank, away, -alike, natural(str(static.path))

    return min(fitting, key=distance, default=None)
