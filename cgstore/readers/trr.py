"""TRR files: positions, velocities and forces of GROMACS in full precision, read without a C library.

A frame is a big-endian header that gives the size of each of its arrays, and the arrays: box, virial, pressure,
positions, velocities, forces, all single or all double precision. Frames without positions are left out;
velocities and forces are kept when every frame with positions has them.
"""

import io
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cgstore.errors import InputError
from cgstore.frames import Frames
from cgstore.readers.sources import fill

__all__ = ["TrrReader", "open_trr"]

Int = NDArray[np.int64]

# magic 1993, two lengths and the string GMX_trn_file; then sizes of ir, e, box, virial, pressure, top, sym, x, v, f;
# particles, step, nre; time and lambda follow in the precision of the frame.
_HEADER = struct.Struct(">3i12s13i")
_TAG = (1993, 13, 12, b"GMX_trn_file")


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where one frame keeps its arrays."""

    particles: int
    step: int
    time: float
    real: np.dtype[np.floating]
    arrays: dict[str, int]  # name: offset in the file, of the arrays it has


@dataclass(frozen=True, slots=True, eq=False)
class TrrReader:
    """One TRR file; `flaw` says what is wrong after its last complete frame, empty when nothing is."""

    path: Path
    particles: int
    time: NDArray[np.float64]  # (frame,) ps
    step: Int  # (frame,)
    flaw: str
    index: tuple[_Frame, ...]
    kept: frozenset[str]  # the arrays that every frame has

    def read(self, frames: Int) -> Frames:
        """Read these frames.

        Raises
        ------
        InputError : the file is no longer what it was at opening
        """
        chosen = [self.index[k] for k in frames]
        with self.path.open("rb", buffering=0) as file:
            arrays = {name: self._load(file, chosen, name) for name in self.kept}
        return Frames(time=self.time[frames], step=self.step[frames], **arrays)

    def _load(self, file: io.FileIO, frames: list[_Frame], name: str) -> NDArray[np.float32]:
        """Read one array of each of these frames."""
        shape = (3, 3) if name == "box" else (self.particles, 3)
        result = np.empty((len(frames), *shape), np.float32)
        for frame, target in zip(frames, result, strict=True):
            data = np.empty(shape, frame.real)
            fill(file, frame.arrays[name], data.reshape(-1).view(np.uint8), self.path)
            # A double beyond the range of float32 becomes infinite, which whoever checks for damage finds.
            with np.errstate(over="ignore"):
                target[:] = data
        return result


def open_trr(path: Path) -> TrrReader:
    """Index a TRR file.

    Parameters
    ----------
    path : the file; nothing is written beside it

    Returns
    -------
    TrrReader : the complete frames that have positions, up to the first place that cannot be read

    Raises
    ------
    InputError : the file is missing, empty or does not begin with a complete TRR frame
    """
    index, flaw = _index(path)
    if not index:
        raise InputError(f"{path}: not a TRR trajectory: {flaw or 'no frame has positions'}")
    particles = index[0].particles
    other = next((k for k, frame in enumerate(index) if frame.particles != particles), None)
    if other is not None:
        flaw = f"frame {other} has {index[other].particles} particles, the frames before it {particles}"
        index = index[:other]
    return TrrReader(
        path=path,
        particles=particles,
        time=np.array([frame.time for frame in index]),
        step=np.array([frame.step for frame in index], np.int64),
        flaw=flaw,
        index=tuple(index),
        kept=frozenset.intersection(*(frozenset(frame.arrays) for frame in index)),
    )


def _index(path: Path) -> tuple[list[_Frame], str]:
    """List the frames with positions, and say why the list ends before the file does."""
    found: list[_Frame] = []
    with path.open("rb") as file:
        size = file.seek(0, 2)
        position = 0
        while position < size:
            file.seek(position)
            frame, end = _parse(file.read(_HEADER.size + 16), position)
            place = f"frame {len(found)} (byte {position} of {size})"
            if frame is None and end == 0:
                return found, f"no TRR frame begins at {place}"
            if frame is None or end > size:
                return found, f"the file ends in the middle of {place}"
            if "position" in frame.arrays:
                found.append(frame)
            position = end
    return found, ""


def _parse(header: bytes, position: int) -> tuple[_Frame | None, int]:
    """Read the header of a frame at a position of the file.

    Returns the frame and where the next one begins; None and 0 when this is no header, None and 1 when it is cut off.
    """
    if len(header) < _HEADER.size:
        return None, 1
    *tag, ir, e, box, virial, pressure, top, sym, x, v, f, particles, step, _ = _HEADER.unpack_from(header)
    if tuple(tag) != _TAG or particles < 1 or ir or e or top or sym:
        return None, 0
    sizes = {"box": (box, 9), "virial": (virial, 9), "pressure": (pressure, 9)}
    sizes |= {
        name: (size, 3 * particles) for name, size in zip(("position", "velocity", "force"), (x, v, f), strict=True)
    }
    widths = {size / count for size, count in sizes.values() if size}
    if widths not in ({4.0}, {8.0}):
        return None, 0
    real = np.dtype(f">f{int(widths.pop())}")
    begin = _HEADER.size + 2 * real.itemsize
    if len(header) < begin:
        return None, 1
    time = np.frombuffer(header, real, 1, _HEADER.size)[0]
    arrays = {}
    end = position + begin
    for name, (size, _) in sizes.items():
        if size and name not in ("virial", "pressure"):
            arrays[name] = end
        end += size
    return _Frame(particles, step, float(time), real, arrays), end
