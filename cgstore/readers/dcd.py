"""DCD files of CHARMM, NAMD, OpenMM and LAMMPS, read without a C library.

The file is a series of Fortran records, each between two copies of its length: a header, a title, the number of
particles, and per frame a cell (lengths in Å and angles) and the x, y and z of all particles in Å. Programs do not
agree on what the time in the header means, therefore `time` is zero: the recipe states the `interval`.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cgstore.errors import InputError
from cgstore.frames import Frames
from cgstore.readers.boxes import box_vectors
from cgstore.readers.sources import damage, fill

__all__ = ["DcdReader", "open_dcd"]

Int = NDArray[np.int64]

_ANGSTROM = 0.1  # nm


@dataclass(frozen=True, slots=True, eq=False)
class DcdReader:
    """One DCD file; `flaw` says what is wrong after its last complete frame, empty when nothing is."""

    path: Path
    particles: int
    time: NDArray[np.float64]  # (frame,) zero
    step: Int  # (frame,)
    flaw: str
    layout: np.dtype[np.void]  # of one frame
    begin: int  # offset of the first frame

    def read(self, frames: Int) -> Frames:
        """Read these frames.

        Raises
        ------
        InputError : a frame is damaged, or the file is no longer what it was at opening
        """
        data = np.empty(len(frames), self.layout)
        with self.path.open("rb", buffering=0) as file:
            for k, frame in enumerate(frames):
                place = self.begin + int(frame) * self.layout.itemsize
                fill(file, place, data[k : k + 1].view(np.uint8), self.path)
                self._check(data[k], int(frame))
        axes = [data[name].astype(np.float64) for name in ("x", "y", "z")]
        with np.errstate(over="ignore", invalid="ignore"):
            position = (np.stack(axes, axis=-1) * _ANGSTROM).astype(np.float32)
            box = _boxes(data["cell"]) if "cell" in (self.layout.names or ()) else None
        return Frames(position, self.time[frames], self.step[frames], box)

    def _check(self, data: np.void, frame: int) -> None:
        """Compare the record lengths of a frame with what they must be."""
        for name in self.layout.names or ():
            if name.startswith("length_"):
                size = self.layout[name.split("_")[1]].itemsize
                if data[name] != size:
                    reason = f"frame {frame} is damaged: a record of {data[name]} bytes where {size} belong"
                    raise damage(self.path, reason, good=frame)


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
    InputError : the file is missing, holds no frame, or is a kind of DCD that is not supported (fixed atoms,
        four dimensions, 64-bit records)
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        head = file.read(min(size, 2**20))
    order = next((order for order in "<>" if head[:8] == struct.pack(f"{order}i4s", 84, b"CORD")), None)
    if order is None or len(head) < 100:
        raise InputError(f"{path}: not a DCD trajectory, or one with records of a kind that is not supported")
    numbers = struct.unpack_from(f"{order}20i", head, 8)
    charmm, has_cell, fourth, fixed = numbers[19] != 0, numbers[10] != 0, numbers[11] != 0, numbers[8]
    if fixed or (charmm and fourth):
        raise InputError(
            f"{path}: DCD with fixed atoms or a fourth dimension is not supported; convert it to XTC or TRR"
        )
    particles, begin = _particles(path, head, order)
    if 12 * particles > size:
        raise InputError(f"{path}: not a DCD trajectory: {particles} particles do not fit into {size} bytes")
    layout = _layout(order, particles, cell=charmm and has_cell)
    frames, rest = divmod(size - begin, layout.itemsize)
    flaw = f"the file ends in the middle of frame {frames}" if rest else ""
    if not frames:
        raise InputError(f"{path}: not a DCD trajectory: {flaw or 'it has no frames'}")
    return DcdReader(
        path=path,
        particles=particles,
        time=np.zeros(frames),
        step=numbers[1] + numbers[2] * np.arange(frames, dtype=np.int64),
        flaw=flaw,
        layout=layout,
        begin=begin,
    )


def _particles(path: Path, head: bytes, order: str) -> tuple[int, int]:
    """Skip the title; return the number of particles and where the first frame begins."""
    try:
        (title,) = struct.unpack_from(f"{order}i", head, 92)
        before, particles, after = struct.unpack_from(f"{order}3i", head, 92 + 8 + title) if title >= 0 else (0, 0, 0)
    except struct.error:
        before, particles, after = 0, 0, 0
    if before != 4 or after != 4 or particles < 1:
        raise InputError(f"{path}: not a DCD trajectory: its header is damaged")
    return particles, 92 + 8 + title + 12


def _layout(order: str, particles: int, *, cell: bool) -> np.dtype[np.void]:
    """Return one frame as a structured type; each record has its length before and after it."""
    fields: list[tuple[str, str, tuple[int, ...]]] = []
    records = [("cell", "f8", 6)] if cell else []
    for name, kind, count in [*records, ("x", "f4", particles), ("y", "f4", particles), ("z", "f4", particles)]:
        fields.append((f"length_{name}", f"{order}i4", ()))
        fields.append((name, f"{order}{kind}", (count,)))
        fields.append((f"length_{name}_again", f"{order}i4", ()))
    return np.dtype(fields)


def _boxes(cell: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return box vectors from cells a, γ, b, β, α, c; angles in degrees, or all three as cosines."""
    angles = cell[:, [4, 3, 1]].astype(np.float64)
    cosines = np.all(np.abs(angles) <= 1.0, axis=1)
    # 90 - asin keeps a cosine of zero an exact right angle, which acos does not.
    angles[cosines] = 90.0 - np.rad2deg(np.arcsin(angles[cosines]))
    return box_vectors(cell[:, [0, 2, 5]] * _ANGSTROM, angles)
