"""XTC files: positions on a grid, packed as GROMACS packs them."""

import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cgstore.errors import InputError
from cgstore.frames import Frames
from cgstore.kernels.xtc_encode import LARGEST, encode, words_for
from cgstore.writers.contents import Contents

__all__ = ["LAST_STEP", "notes_on_steps", "notes_on_xtc", "write_xtc"]

LAST_STEP = 2**31 - 1
_PRECISION = 0.001  # nm, what GROMACS writes by default
_NOT_PACKED = 9  # particles
_HEAD = struct.Struct(">3if9fi")  # magic, particles, step, time, box, particles
_PACKED = struct.Struct(">f8i")  # grid points per nm, smallest, largest, first width, bytes


def write_xtc(path: Path, contents: Contents, blocks: Iterable[Frames]) -> None:
    """Write frames; a dataset on a grid keeps its grid, others get one of 0.001 nm.

    Raises
    ------
    InputError : coordinates that are too large for the format
    """
    particles = len(contents.topology)
    grid = np.empty((particles, 3), np.int32)
    words = np.empty(words_for(particles), np.uint64)
    scale = _points_per_nm(contents)
    with path.open("xb") as file:
        for frames in blocks:
            box = np.zeros((len(frames), 9), np.float32) if frames.box is None else frames.box.reshape(-1, 9)
            for k, position in enumerate(frames.position):
                step = _wrapped(int(frames.step[k]))
                file.write(_HEAD.pack(1995, particles, step, frames.time[k], *box[k].tolist(), particles))
                if particles <= _NOT_PACKED:
                    file.write(position.astype(">f4").tobytes())
                else:
                    file.write(_packed(position, scale, grid, words, f"{contents.title} at {frames.time[k]:g} ps"))


def notes_on_xtc(contents: Contents) -> list[str]:
    """Say how far positions are rounded, and which steps do not fit."""
    rounded = contents.precision is None and len(contents.topology) > _NOT_PACKED
    return [*([f"positions are rounded to {_PRECISION} nm"] if rounded else []), *notes_on_steps(contents)]


def notes_on_steps(contents: Contents) -> list[str]:
    """Say whether there are steps beyond 32 bits."""
    if np.abs(contents.step).max() <= LAST_STEP:
        return []
    return [f"steps beyond {LAST_STEP} wrap around, as in files of GROMACS; times are right"]


def _points_per_nm(contents: Contents) -> float:
    """Return the grid of the file, a number that float32 holds."""
    return float(np.float32(round(1.0 / (contents.precision or _PRECISION), 3)))


def _wrapped(step: int) -> int:
    """Return the step as a signed number of 32 bits."""
    return (step + 2**31) % 2**32 - 2**31


def _packed(
    position: NDArray[np.float32], scale: float, grid: NDArray[np.int32], words: NDArray[np.uint64], where: str
) -> bytes:
    """Return the packed positions of a frame, filled to four bytes."""
    head = np.empty(7, np.int64)
    count = int(encode(position, scale, grid, words, head))
    if count < 0:
        raise InputError(
            f"{where}: found a coordinate of {np.abs(position).max():g} nm; XTC holds up to {LARGEST / scale:g} nm at "
            f"this precision, and no wider range; export to trr or h5md"
        )
    filled = (count + 3) // 4 * 4
    return _PACKED.pack(scale, *head.tolist(), count) + words[: filled // 8 + 1].astype(">u8").tobytes()[:filled]
