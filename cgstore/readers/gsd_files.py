"""GSD files of HOOMD-blue: positions, velocities, boxes and steps, read without a C library.

A file is a header, a list of names and an index of chunks; a frame takes what it lacks from the first frame. HOOMD has
no units of its own: lengths are taken as nm and times as ps. Positions stay wrapped into the box, which HOOMD centres
on the origin; `image` flags are not applied. There is a step but no time: `time` is zero, the recipe states the
`interval`.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgstore.errors import InputError
from cgstore.frames import Frames
from cgstore.readers.sources import fill
from cgstore.readers.spans import LARGEST, convert, spans

__all__ = ["GsdReader", "open_gsd"]

Int = NDArray[np.int64]

_HEADER = np.dtype(
    [
        ("magic", "<u8"),
        ("index", "<u8"),
        ("entries", "<u8"),
        ("names", "<u8"),
        ("name_slots", "<u8"),
        ("schema_version", "<u4"),
        ("version", "<u4"),
        ("application", "V64"),
        ("schema", "V64"),
        ("reserved", "V80"),
    ]
)
_MAGIC = 0x65DF65DF65DF65DF
_ENTRY = np.dtype(
    [
        ("frame", "<u8"),
        ("rows", "<u8"),
        ("offset", "<i8"),
        ("columns", "<u4"),
        ("name", "<u2"),
        ("type", "u1"),
        ("", "u1"),
    ]
)
_SLOT = 64  # bytes of a name
_WINDOW = 2**15  # entries of the index looked at together
# by the type of a chunk, from 1 on
_SIZES = np.array([0, 1, 2, 4, 8, 1, 2, 4, 8, 4, 8, 1], np.int64)
_FLOAT, _DOUBLE = 9, 10
_UNIT_BOX = (1.0, 1.0, 1.0, 0.0, 0.0, 0.0)  # what GSD means where no box is stated

# chunk: rows of a frame (None: particles), columns, types allowed
_WANTED: dict[str, tuple[int | None, int, tuple[int, ...]]] = {
    "particles/position": (None, 3, (_FLOAT, _DOUBLE)),
    "particles/velocity": (None, 3, (_FLOAT, _DOUBLE)),
    "particles/N": (1, 1, (3,)),
    "configuration/box": (6, 1, (_FLOAT,)),
    "configuration/step": (1, 1, (4,)),
    "configuration/dimensions": (1, 1, (1,)),
}


@dataclass(frozen=True, slots=True, eq=False)
class GsdReader:
    """One GSD file; `flaw` says what is wrong after its last complete frame, empty when nothing is."""

    path: Path
    particles: int
    time: NDArray[np.float64]  # (frame,) zero
    step: Int  # (frame,)
    flaw: str
    offset: Mapping[str, Int]  # of position, velocity where there is one, and box: (frame,) bytes, -1 where default
    double: Mapping[str, Int]  # of position and velocity: (frame,) 1 where numbers have 64 bits

    def read(self, frames: Int) -> Frames:
        """Read these frames.

        Raises
        ------
        InputError : the file is no longer what it was at opening
        """
        chosen = np.asarray(frames, np.int64)
        arrays = {name: np.empty((len(chosen), self.particles, 3), np.float32) for name in self.double}
        layouts = [np.dtype([("x", real, (self.particles, 3))]) for real in ("<f4", "<f8")]
        with self.path.open("rb", buffering=0) as file:
            for name, target in arrays.items():
                for rows, data in spans(file, layouts, self.double[name][chosen], self.offset[name][chosen]):
                    convert(data["x"], 1.0, target[rows])
            box = _boxes(_values(file, self.offset["box"][chosen], np.dtype(("<f4", (6,))), _UNIT_BOX))
        return Frames(time=self.time[chosen], step=self.step[chosen], box=box, **arrays)


def open_gsd(path: Path) -> GsdReader:
    """Read the index of a GSD file.

    Parameters
    ----------
    path : the file

    Returns
    -------
    GsdReader : with the complete frames before the first one that is damaged or has another number of particles

    Raises
    ------
    InputError : the file is missing, is no GSD file of HOOMD, is two-dimensional, or its first frame is damaged
    """
    with path.open("rb", buffering=0) as file:
        size = file.seek(0, 2)
        head = _header(path, file, size)
        table, frames, flaw = _index(file, head, _names(path, file, head), size)
        if not frames:
            raise InputError(f"{path}: not a GSD trajectory: {flaw or 'it has no frames'}")
        count = _values(file, _offsets(table, "particles/N", frames), np.dtype("<u4"), 0)
        step = _values(file, _offsets(table, "configuration/step", frames), np.dtype("<i8"), 0)
        dimensions = int(_values(file, _offsets(table, "configuration/dimensions", frames)[:1], np.dtype("u1"), 3)[0])
    if dimensions != 3:
        raise InputError(f"{path}: a system of {dimensions} dimensions; only those of three are read")
    good, why = _agreeing(table, count.astype(np.int64), frames)
    if not good:
        raise InputError(f"{path}: not a GSD trajectory: {why}")
    offset = {"box": _offsets(table, "configuration/box", frames)[:good]}
    double = {}
    for name in ("position", "velocity"):
        place = _offsets(table, f"particles/{name}", frames)[:good]
        if (place >= 0).all():
            found = table[f"particles/{name}"]
            double[name] = (found["type"][_rows(found, frames)[:good]] == _DOUBLE).astype(np.int64)
            offset[name] = place
    return GsdReader(path, int(count[0]), np.zeros(good), step[:good].astype(np.int64), why or flaw, offset, double)


def _header(path: Path, file: io.FileIO, size: int) -> np.void:
    """Read the first 256 bytes."""
    header = np.zeros(1, _HEADER)
    if size >= _HEADER.itemsize:
        fill(file, 0, header.view(np.uint8), path)
    head: np.void = header[0]
    if head["magic"] != _MAGIC or head["version"] >> 16 not in (1, 2):
        raise InputError(f"{path}: not a GSD file: it does not begin as one of version 1 or 2 does")
    schema = head["schema"].tobytes().split(b"\0")[0]
    if schema != b"hoomd":
        raise InputError(f'{path}: a GSD file with the schema "{schema.decode("ascii", "replace")}"; expected "hoomd"')
    for name, begin, count, width in (("index", "index", "entries", 32), ("list of names", "names", "name_slots", 64)):
        if int(head[begin]) + width * int(head[count]) > size:
            raise InputError(f"{path}: its {name} lies behind the end of the file; the file is cut off or damaged")
    return head


def _names(path: Path, file: io.FileIO, head: np.void) -> dict[int, str]:
    """Return the chunks that are read, by the number that stands for their name in the index."""
    data = np.zeros(min(_SLOT * int(head["name_slots"]), 2**22), np.uint8)
    fill(file, int(head["names"]), data, path)
    raw = data.tobytes()
    slots = raw.split(b"\0")
    if head["version"] >> 16 == 1:
        slots = [raw[k : k + _SLOT].split(b"\0")[0] for k in range(0, len(raw), _SLOT)]
    listed = [name.decode("ascii", "replace") for name in slots[: slots.index(b"") if b"" in slots else None]]
    return {number: name for number, name in enumerate(listed) if name in _WANTED}


def _index(
    file: io.FileIO, head: np.void, names: Mapping[int, str], size: int
) -> tuple[dict[str, NDArray[np.void]], int, str]:
    """Return the entries of the chunks that are read, the number of frames, and why it ends before the index does."""
    parts: dict[str, list[NDArray[np.void]]] = {name: [np.empty(0, _ENTRY)] for name in _WANTED}
    frames, flaw = 0, ""
    for begin in range(0, int(head["entries"]), _WINDOW):
        window = np.zeros(min(_WINDOW, int(head["entries"]) - begin), _ENTRY)
        fill(file, int(head["index"]) + _ENTRY.itemsize * begin, window.view(np.uint8), Path(str(file.name)))
        unused = window["offset"] == 0
        used = int(np.argmax(unused)) if unused.any() else len(window)
        sound = _sound(window[:used], names, frames - 1, size)
        bad = used if sound.all() else int(np.argmin(sound))
        last = int(window["frame"][bad - 1]) if bad else frames - 1
        frames = last + 1
        if bad < used:
            # The entry may belong to the last frame, which then is not complete.
            frames = last + (int(window["frame"][bad]) == last + 1)
            flaw = f"frame {max(frames, 0)} (entry {begin + bad} of the index) is damaged or cut off"
        for number, name in names.items():
            parts[name].append(window[:bad][window["name"][:bad] == number])
        if bad < len(window):
            break
    return {name: np.concatenate(found) for name, found in parts.items()}, max(frames, 0), flaw


def _sound(window: NDArray[np.void], names: Mapping[int, str], last: int, size: int) -> NDArray[np.bool_]:
    """Tell which entries are possible after those of frame `last`: in order, inside of the file, of the right shape."""
    frame = window["frame"].astype(np.int64)
    forward = np.diff(frame, prepend=last)
    known = (window["type"] > 0) & (window["type"] < len(_SIZES))
    width = _SIZES[np.where(known, window["type"], 0)]
    # In floating point nothing overflows.
    end = window["offset"] + window["rows"].astype(np.float64) * window["columns"] * width
    sound = known & (forward >= 0) & (forward <= 1) & (window["offset"] >= _HEADER.itemsize) & (end <= size)
    for number, name in names.items():
        rows, columns, types = _WANTED[name]
        right = (window["columns"] == columns) & np.isin(window["type"], types)
        if rows is not None:
            right &= window["rows"] == rows
        sound &= right | (window["name"] != number)
    return np.asarray(sound)


def _rows(found: NDArray[np.void], frames: int) -> Int:
    """Return which entry each frame has, its own or that of the first frame, -1 for none."""
    row = np.full(frames, -1)
    inside = np.flatnonzero(found["frame"] < frames)
    row[found["frame"][inside].astype(np.int64)] = inside
    row[row < 0] = row[0]
    return row


def _offsets(table: Mapping[str, NDArray[np.void]], name: str, frames: int) -> Int:
    """Return where a chunk of each frame lies, -1 where it has the default."""
    row = _rows(table[name], frames)
    return np.where(row < 0, -1, np.append(table[name]["offset"], -1)[row])


def _values(file: io.FileIO, offset: Int, layout: np.dtype[Any], default: Any) -> NDArray[Any]:
    """Read a small chunk of each frame; those that share that of the first frame do not read it again."""
    places, inverse = np.unique(offset, return_inverse=True)
    stored = np.empty((len(places), *layout.shape), layout.base)
    stored[...] = default
    there = np.flatnonzero(places >= 0)
    fields = np.dtype([("value", layout)])
    for rows, data in spans(file, (fields,), np.zeros_like(there), places[there]):
        stored[there[rows]] = data["value"]
    return stored[inverse]


def _agreeing(table: Mapping[str, NDArray[np.void]], count: Int, frames: int) -> tuple[int, str]:
    """Return how many frames have the particles of the first one, and what is wrong with the next."""
    particles = int(count[0])
    if not 0 < particles <= LARGEST // 24:
        return 0, f"it has {particles} particles"
    for name in ("particles/position", "particles/velocity"):
        row = _rows(table[name], frames)
        if name.endswith("position") and row[0] < 0:
            return 0, "its first frame has no positions"
        rows = np.append(table[name]["rows"].astype(np.int64), count[0])[row]
        count = np.where(rows == particles, count, rows)
    if (count == particles).all():
        return frames, ""
    other = int(np.argmax(count != particles))
    return other, f"frame {other} has {count[other]} particles, the frames before it {particles}"


def _boxes(box: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return box vectors of [Lx, Ly, Lz, xy, xz, yz]; the tilts are fractions of the length that they belong to."""
    vectors = np.zeros((len(box), 3, 3))
    lx, ly, lz, xy, xz, yz = box.astype(np.float64).T
    with np.errstate(over="ignore", invalid="ignore"):
        vectors[:, 0, 0] = lx
        vectors[:, 1, 0], vectors[:, 1, 1] = xy * ly, ly
        vectors[:, 2, 0], vectors[:, 2, 1], vectors[:, 2, 2] = xz * lz, yz * lz, lz
        return vectors.astype(np.float32)
