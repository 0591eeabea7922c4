"""DCD files of CHARMM, NAMD, OpenMM and LAMMPS, read without a C library.

The file is a series of Fortran records, each between two copies of its length (of 32 or 64 bits): a header, a title,
the number of particles, and per frame a cell (lengths in Å and angles) and the x, y and z of the particles in Å, some
programs a fourth number per particle, which is left out. Particles that the header calls fixed are in the first frame
only. CHARMM itself, in versions above the 24 that other programs claim to be, writes the symmetric matrix of the box
vectors as the cell; its positions are in the frame of that matrix. Programs do not agree on what the time in the header
means, therefore `time` is zero: the recipe states the `interval`.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cgstore.errors import InputError
from cgstore.frames import Frames
from cgstore.readers.boxes import box_vectors
from cgstore.readers.sources import damage, fill
from cgstore.readers.spans import LARGEST, convert, spans

__all__ = ["DcdReader", "open_dcd"]

Int = NDArray[np.int64]

_ANGSTROM = 0.1  # nm
_HEAD = 84  # bytes of the first record
_AXES = ("x", "y", "z")
_SYMMETRIC = (0, 1, 3, 1, 2, 4, 3, 4, 5)  # places of the lower triangle in the whole matrix
_COPIED = 24  # the version of CHARMM that other programs write into their headers


@dataclass(frozen=True, slots=True, eq=False)
class DcdReader:
    """One DCD file; `flaw` says what is wrong after its last complete frame, empty when nothing is."""

    path: Path
    particles: int
    time: NDArray[np.float64]  # (frame,) zero
    step: Int  # (frame,)
    flaw: str
    layouts: tuple[np.dtype[np.void], np.dtype[np.void]]  # of the first frame and of the others
    begin: int  # offset of the first frame
    free: Int | None  # (particle,) those that later frames have, None when they have all
    symmetric: bool  # cells are the symmetric matrices of CHARMM

    def read(self, frames: Int) -> Frames:
        """Read these frames.

        Raises
        ------
        InputError : a frame is damaged, or the file is no longer what it was at opening
        """
        chosen = np.asarray(frames, np.int64)
        position = np.empty((len(chosen), self.particles, 3), np.float32)  # (frame, particle, xyz) nm
        has_cell = "cell" in (self.layouts[0].names or ())
        cell = np.empty((len(chosen), 6)) if has_cell else None
        if self.free is not None:
            self._load(np.zeros(1, np.int64), position[:1], None)
            position[:] = position[:1].copy()
        self._load(chosen, position, cell)
        return Frames(position, self.time[chosen], self.step[chosen], None if cell is None else self._boxes(cell))

    def _boxes(self, cell: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return box vectors; cells that can be no angles are matrices, whoever wrote them."""
        angles = cell[:, [4, 3, 1]]
        a, d, b, e, f, c = cell.T
        with np.errstate(over="ignore", invalid="ignore"):
            definite = (a > 0) & (a * b > d * d) & (a * (b * c - f * f) - d * (d * c - e * f) + e * (d * f - b * e) > 0)
            matrix = definite & (self.symmetric | ((angles < -1) | (angles > 180)).any(axis=1))
            boxes = _boxes(np.where(matrix[:, None], [1.0, 90, 1, 90, 90, 1], cell))
            boxes[matrix] = cell[matrix][:, _SYMMETRIC].reshape(-1, 3, 3) * _ANGSTROM
        return boxes

    def _load(self, frames: Int, position: NDArray[np.float32], cell: NDArray[np.float64] | None) -> None:
        """Read what these frames have: positions, in nm, and cells."""
        first, other = self.layouts
        offset = self.begin + np.where(frames > 0, first.itemsize + (frames - 1) * other.itemsize, 0)
        with self.path.open("rb", buffering=0) as file:
            for rows, data in spans(file, self.layouts, np.minimum(frames, 1), offset):
                self._check(data, frames[rows])
                if cell is not None:
                    cell[rows] = data["cell"]
                for k, name in enumerate(_AXES):
                    if data.dtype == first:
                        convert(data[name], _ANGSTROM, position[rows, :, k])
                        continue
                    moved = np.empty(data[name].shape, np.float32)
                    convert(data[name], _ANGSTROM, moved)
                    position[rows, self.free, k] = moved

    def _check(self, data: NDArray[np.void], frames: Int) -> None:
        """Compare the record lengths of frames with what they must be."""
        for name in data.dtype.names or ():
            if not name.startswith("length_"):
                continue
            size = data.dtype[name.split("_")[1]].itemsize
            if (data[name] != size).any():
                bad = int(np.argmax(data[name] != size))
                reason = f"frame {frames[bad]} is damaged: a record of {data[name][bad]} bytes where {size} belong"
                raise damage(self.path, reason, good=int(frames[bad]))


class _Head(NamedTuple):
    """What stands before the first frame."""

    order: str  # of bytes, < or >
    width: int  # bytes of a record length
    first: int  # step
    every: int  # steps
    cell: bool
    fourth: bool
    particles: int
    free: Int | None
    end: int  # bytes
    version: int


def open_dcd(path: Path) -> DcdReader:
    """Read the header of a DCD file.

    Parameters
    ----------
    path : the file; nothing is written beside it

    Returns
    -------
    DcdReader : with the frames that are complete

    Raises
    ------
    InputError : the file is missing, holds no frame, or is no DCD file
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        head = _head(path, file.read(min(size, 2**20)), size)
    layouts = (
        _layout(head, head.particles),
        _layout(head, head.particles if head.free is None else len(head.free)),
    )
    room = size - head.end - layouts[0].itemsize
    frames, rest = divmod(room, layouts[1].itemsize) if room >= 0 else (-1, size - head.end)
    frames += 1
    flaw = f"the file ends in the middle of frame {frames}" if rest else ""
    if not frames:
        raise InputError(f"{path}: not a DCD trajectory: {flaw or 'it has no frames'}")
    return DcdReader(
        path=path,
        particles=head.particles,
        time=np.zeros(frames),
        step=head.first + head.every * np.arange(frames, dtype=np.int64),
        flaw=flaw,
        layouts=layouts,
        begin=head.end,
        free=head.free,
        symmetric=head.version > _COPIED,
    )


def _head(path: Path, data: bytes, size: int) -> _Head:
    """Read everything before the first frame from the beginning of a file of this size."""
    found = next(
        ((o, n) for o in "<>" for n in "iq" if data.startswith(struct.pack(f"{o}{n}4s", _HEAD, b"CORD"))), None
    )
    if found is None:
        raise InputError(f"{path}: not a DCD trajectory: it does not begin with a record of 84 bytes and CORD")
    order, mark = found
    width = struct.calcsize(f"={mark}")
    try:
        numbers = struct.unpack_from(f"{order}20i", data, width + 4)
        begin, particles = _after_title(data, 2 * width + _HEAD, order, mark)
    except struct.error as error:
        raise InputError(f"{path}: not a DCD trajectory: its header is damaged") from error
    charmm, fixed = numbers[19] != 0, numbers[8]
    if 12 * particles > min(size, 3 * (LARGEST // 4) - 200):
        raise InputError(f"{path}: not a DCD trajectory: {particles} particles do not fit into {size} bytes")
    free = _free(path, f"{order}{mark}", begin, particles - fixed, particles, size) if fixed else None
    end = begin if free is None else begin + 2 * width + 4 * len(free)
    cell, fourth = charmm and numbers[10] != 0, charmm and numbers[11] != 0
    return _Head(order, width, numbers[1], numbers[2], cell, fourth, particles, free, end, numbers[19])


def _after_title(data: bytes, begin: int, order: str, mark: str) -> tuple[int, int]:
    """Skip the title and the number of particles; return where they end, and the number.

    Some versions of MDAnalysis wrote a record length that is too small for the lines of the title, hence two tries.
    """
    width = struct.calcsize(f"={mark}")
    length, lines = struct.unpack_from(f"{order}{mark}i", data, begin)
    for size in (length, 4 + 80 * lines):
        place = begin + width + size
        if 0 <= size <= len(data) - place - 3 * width - 4:
            last, before, particles, after = struct.unpack_from(f"{order}{mark}{mark}i{mark}", data, place)
            if last == length and before == after == 4 and particles > 0:
                return place + 3 * width + 4, particles
    raise struct.error("no number of particles after the title")


def _free(path: Path, mark: str, begin: int, count: int, particles: int, size: int) -> Int:
    """Read the record that says which particles are not fixed, counted from 1 in the file."""
    wrong = f"{path}: not a DCD trajectory: its list of {count} particles that are not fixed is damaged"
    if not 0 < count < particles:
        raise InputError(wrong)
    record = np.dtype([("before", mark), ("index", f"{mark[0]}i4", (count,)), ("after", mark)])
    if begin + record.itemsize > size:
        raise InputError(wrong)
    found = np.zeros(1, record)
    with path.open("rb", buffering=0) as file:
        fill(file, begin, found.view(np.uint8), path)
    index: Int = found["index"][0].astype(np.int64) - 1
    marks = {int(found["before"][0]), int(found["after"][0])}
    if marks != {4 * count} or index[0] < 0 or index[-1] >= particles or (np.diff(index) < 1).any():
        raise InputError(wrong)
    return index


def _layout(head: _Head, particles: int) -> np.dtype[np.void]:
    """Return one frame as a structured type; each record has its length before and after it."""
    fields: list[tuple[str, str, tuple[int, ...]]] = []
    axes = (*_AXES, "w") if head.fourth else _AXES
    for name, kind, count in [("cell", "f8", 6)] * head.cell + [(name, "f4", particles) for name in axes]:
        fields.append((f"length_{name}", f"{head.order}i{head.width}", ()))
        fields.append((name, f"{head.order}{kind}", (count,)))
        fields.append((f"length_{name}_again", f"{head.order}i{head.width}", ()))
    return np.dtype(fields)


def _boxes(cell: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return box vectors from cells a, γ, b, β, α, c; angles in degrees, or all three as cosines."""
    angles = cell[:, [4, 3, 1]].astype(np.float64)
    cosines = np.all(np.abs(angles) <= 1.0, axis=1)
    # 90 - asin keeps a cosine of zero an exact right angle, which acos does not.
    angles[cosines] = 90.0 - np.rad2deg(np.arcsin(angles[cosines]))
    return box_vectors(cell[:, [0, 2, 5]] * _ANGSTROM, angles)
