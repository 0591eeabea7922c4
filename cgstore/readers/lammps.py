"""LAMMPS dumps as text: every kind of coordinates, any box, in any order of the atoms.

Positions come from `x y z`, or `xs ys zs`, or `xu yu zu`, or `xsu ysu zsu`, the first of these that the dump has;
scaled ones are taken through the box. Along periodic directions they are given relative to the corner of the box,
which LAMMPS moves when the pressure is controlled; a box without any periodic direction is no box. Atoms are sorted by
their `id`, which every frame must have the same of.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cgstore.documents import did_you_mean
from cgstore.errors import InputError
from cgstore.readers.text import Entry, TextReader, index, table
from cgstore.readers.text_lines import Cut, Flaw, Lines, as_count, as_number, shown

__all__ = ["UNITS", "DumpUnits", "open_lammps"]

Float64 = NDArray[np.float64]

_CONVENTIONS = (("x", "y", "z"), ("xs", "ys", "zs"), ("xu", "yu", "zu"), ("xsu", "ysu", "zsu"))
_OTHERS = {"velocity": ("vx", "vy", "vz"), "force": ("fx", "fy", "fz")}
_LARGEST_ID = 2**53  # what float64 counts exactly


@dataclass(frozen=True, slots=True)
class DumpUnits:
    """What the numbers of a dump are multiplied with to give nm, ps, nm/ps and kJ/mol/nm."""

    length: float
    time: float
    velocity: float
    force: float


UNITS: dict[str, DumpUnits] = {
    "real": DumpUnits(length=0.1, time=0.001, velocity=100.0, force=41.84),  # Å, fs, kcal/mol/Å
    "metal": DumpUnits(length=0.1, time=1.0, velocity=0.1, force=964.853321233),  # Å, ps, eV/Å
    "nano": DumpUnits(length=1.0, time=1000.0, velocity=0.001, force=0.602214076),  # nm, ns, attogram nm/ns²
    "lj": DumpUnits(length=1.0, time=1.0, velocity=1.0, force=1.0),  # reduced: taken as nm, ps, u
}


@dataclass(frozen=True, slots=True, eq=False)
class _DumpLayout:
    """Columns between blanks, which are the same in every frame."""

    particles: int
    columns: tuple[str, ...]
    ids: NDArray[np.int64]  # (particle,) ascending
    cell: Float64  # (frame, box_vector, xyz), all of the dump in its own units
    origin: Float64  # (frame, xyz) corner of the box
    shift: Float64  # (frame, xyz) what is subtracted from positions
    units: DumpUnits

    def arrays(self, data: NDArray[np.uint8], frame: int) -> Mapping[str, NDArray[np.floating]]:
        """Parse one frame."""
        names = _names(self.columns)
        wanted = sorted(self.columns.index(name) for triple in names.values() for name in triple)
        place = {self.columns[column]: k for k, column in enumerate([*wanted], start=1)}
        every = np.array([self.columns.index("id"), *wanted])
        order = np.argsort(every)
        values = np.empty((self.particles, len(every)))
        values[:, order] = table(data, every[order], len(self.columns), self.particles)
        values = _sorted(values, self.ids)
        found = {kind: values[:, [place[name] for name in triple]] for kind, triple in names.items()}
        return self._in_our_units(found, names["position"], frame)

    def _in_our_units(self, found: dict[str, Float64], names: tuple[str, ...], frame: int) -> dict[str, Float64]:
        """Take positions out of the box, shift them to its corner, and convert everything."""
        position = found["position"]
        if names[0].startswith("xs"):
            position = position @ self.cell[frame] + self.origin[frame]
        found["position"] = (position - self.shift[frame]) * self.units.length
        for kind in _OTHERS:
            if kind in found:
                found[kind] *= getattr(self.units, kind)
        return found


@dataclass(slots=True)
class _Snapshots:
    """Reads the lines of one frame after the other; all must have the same columns."""

    units: DumpUnits
    stated: str = ""  # the units that the file says it has
    columns: tuple[str, ...] = ()

    def __call__(self, lines: Lines) -> Entry | None:
        """Read the lines of one frame."""
        while not (line := lines.line()).strip():
            if not line:
                return None
        particles, step, time, box = 0, None, None, None
        while not line.startswith(b"ITEM: ATOMS"):
            if not line.startswith(b"ITEM:"[: len(line)]):
                raise Flaw(f"has {shown(line)} where an ITEM belongs")
            item = line[5:].strip()
            if item == b"TIMESTEP":
                step = _step(lines.whole_line())
            elif item == b"TIME":
                time = as_number(lines.whole_line()) * self.units.time
            elif item == b"UNITS":
                self.stated = lines.whole_line().strip().decode("utf-8", "replace")
            elif item == b"NUMBER OF ATOMS":
                particles = as_count(lines.whole_line())
            elif item.startswith(b"BOX BOUNDS"):
                box = _bounds(item.split()[2:], [lines.whole_line().split() for _ in range(3)])
            elif line.endswith(b"\n"):
                raise Flaw(f"has an ITEM of another kind, {shown(item)}")
            line = lines.whole_line() if line.endswith(b"\n") else _cut()
        if box is None or not particles:
            raise Flaw("has no BOX BOUNDS or NUMBER OF ATOMS before its ATOMS")
        self._take_columns(line if line.endswith(b"\n") else _cut())
        offset = lines.position
        if lines.skip(particles) < particles:
            raise Cut
        cell, origin, periodic = box
        return Entry(
            offset=offset,
            length=lines.position - offset,
            particles=particles,
            time=time,
            step=step,
            box=tuple((cell * self.units.length).ravel().tolist()) if periodic.any() else None,
            form=(*cell.ravel().tolist(), *origin.tolist(), *np.where(periodic, origin, 0.0).tolist()),
        )

    def _take_columns(self, line: bytes) -> None:
        """Read the names of the columns."""
        columns = tuple(word.decode("utf-8", "replace") for word in line.split()[2:])
        if self.columns and columns != self.columns:
            raise Flaw("has other columns than the frames before it")
        if not self.columns:
            if "id" not in columns:
                raise Flaw("has no column id, without which its atoms are in no known order; dump it with id")
            if not _names(columns):
                raise Flaw("has no positions; dump it with x y z, xs ys zs, xu yu zu or xsu ysu zsu")
        self.columns = columns


def open_lammps(path: Path, *, units: str = "real") -> TextReader:
    """Index a LAMMPS dump.

    Parameters
    ----------
    path : the file, plain or compressed; nothing is written beside it
    units : "real", "metal", "nano", or "lj" (reduced: lengths are taken as nm, times as ps, masses as u); what the
        simulation ran with

    Returns
    -------
    TextReader : atoms in the order of their ids; velocities and forces when the dump has them. Times are those of
        ITEM: TIME (`dump_modify time yes`); without it they are zero, and the recipe states the `interval`

    Raises
    ------
    InputError : the file is missing, empty, does not begin with a complete frame, has no ids or positions, or says
        that it has other units
    """
    if units not in UNITS:
        raise InputError(f"units: found {units!r}, expected {' | '.join(UNITS)}{did_you_mean(units, UNITS)}")
    snapshots = _Snapshots(UNITS[units])
    found = index(path, "a LAMMPS dump", snapshots)
    columns = snapshots.columns
    if snapshots.stated and snapshots.stated != units:
        known = f'set units = "{snapshots.stated}" in its [[run]]' if snapshots.stated in UNITS else "convert it"
        raise InputError(f"{path}: it says that its units are {snapshots.stated}, not {units}; {known}")
    data = np.empty(found.length[0], np.uint8)
    with found.contents.opened() as descriptor:
        found.contents.fill(descriptor, int(found.offset[0]), data)
    try:
        ids = _ids(data, columns, found.particles)
    except Flaw as error:
        raise InputError(f"{path}: not a LAMMPS dump: frame 0 {error}") from error
    cell, origin, shift = found.form[:, :9].reshape(-1, 3, 3), found.form[:, 9:12], found.form[:, 12:]
    layout = _DumpLayout(found.particles, columns, ids, cell, origin, shift, UNITS[units])
    return found.reader(layout, *_names(columns))


def _cut() -> bytes:
    """Raise Cut, where an expression is needed."""
    raise Cut


def _step(text: bytes) -> int:
    """Read the number of a step."""
    word = text.strip()
    if not word.lstrip(b"-").isdigit() or len(word) > 18:
        raise Flaw(f"has {shown(word)} where the step belongs")
    return int(word)


def _names(columns: tuple[str, ...]) -> dict[str, tuple[str, str, str]]:
    """Return which columns hold what; nothing when there are no positions."""
    triples = [triple for triple in _CONVENTIONS if set(triple) <= set(columns)]
    if not triples:
        return {}
    return {"position": triples[0]} | {kind: triple for kind, triple in _OTHERS.items() if set(triple) <= set(columns)}


def _ids(data: NDArray[np.uint8], columns: tuple[str, ...], particles: int) -> NDArray[np.int64]:
    """Return the ids of the first frame, ascending."""
    values = table(data, np.array([columns.index("id")]), len(columns), particles)[:, 0]
    sound = (np.abs(values) < _LARGEST_ID) & (np.floor(values) == values)
    if not sound.all():
        raise Flaw(f"has the id {values[np.argmin(sound)]:g}")
    ids = np.sort(values.astype(np.int64))
    if (ids[1:] == ids[:-1]).any():
        raise Flaw(f"has the id {ids[1:][ids[1:] == ids[:-1]][0]} twice")
    return ids


def _sorted(values: Float64, ids: NDArray[np.int64]) -> Float64:
    """Return the rows in the order of their ids, which are in the first column."""
    found = values[:, 0]
    if (found == ids).all():
        return values
    if ids[-1] - ids[0] == len(ids) - 1:  # as they usually are, from 1 to N: no search
        place = np.where((found >= ids[0]) & (found <= ids[-1]), found - ids[0], 0).astype(np.int64)
    else:
        place = np.minimum(np.searchsorted(ids, found), len(ids) - 1)
    order = np.full(len(ids), -1)
    order[place] = np.arange(len(ids))
    same = ids[place] == found
    if not same.all():
        raise Flaw(f"it has the id {found[np.argmin(same)]:g}, which the first frame does not have")
    if (order < 0).any():
        raise Flaw(f"the id {ids[np.argmin(order)]} is missing, another is there twice")
    result: Float64 = values[order]
    return result


def _bounds(words: list[bytes], rows: list[list[bytes]]) -> tuple[Float64, Float64, NDArray[np.bool_]]:
    """Return the box vectors, the corner of the box, and along which of them it is periodic."""
    flags = [word for word in words[-3:] if len(word) == 2 and word.strip(b"pfsm") == b""]
    words = words[: len(words) - len(flags)]
    periodic = np.array([word == b"pp" for word in flags] if len(flags) == 3 else [True] * 3)
    columns = {(): 2, (b"xy", b"xz", b"yz"): 3, (b"abc", b"origin"): 4}.get(tuple(words))
    if columns is None or any(len(row) != columns for row in rows):
        raise Flaw("has BOX BOUNDS that cannot be read")
    numbers = np.array([[as_number(word) for word in row] for row in rows])
    if columns == 4:
        return numbers[:, :3], numbers[:, 3], periodic
    low, high = numbers[:, 0], numbers[:, 1]
    xy, xz, yz = numbers[:, 2] if columns == 3 else np.zeros(3)
    # The bounds of a triclinic box are those of the orthogonal one around it.
    low = low - [min(0.0, xy, xz, xy + xz), min(0.0, yz), 0.0]
    high = high - [max(0.0, xy, xz, xy + xz), max(0.0, yz), 0.0]
    if not (high > low).all():
        raise Flaw("has a box without extent")
    return np.diag(high - low) + np.array([[0, 0, 0], [xy, 0, 0], [xz, yz, 0]]), low, periodic
