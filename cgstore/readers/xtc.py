"""XTC files: an index of the frames made at opening, and any frames decoded on request.

Nothing is kept open and nothing is written, so that a reader can be used by many threads and travel between
processes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from cgstore.errors import InputError
from cgstore.frames import Frames
from cgstore.kernels.xtc import ENDED, MORE, PADDING, REASONS, TRUNCATED, codes, decode_beginning, headers
from cgstore.readers.sources import damage, fill

__all__ = ["XtcReader", "open_xtc"]

Int = NDArray[np.int64]

# Headers of frames up to this size are found by reading the whole file in large windows, which disks do best; of larger
# frames only the header is read.
_SMALL = 2**16
_WINDOW = 2**18
_SLOTS = 2**12
_BATCH = 2**20  # bytes of packed frames read and decoded at a time: they stay in the cache of a processor
_GRID = np.float32(1000.0)  # grid points per nm


@dataclass(frozen=True, slots=True, eq=False)
class XtcReader:
    """One XTC file; `flaw` says what is wrong after its last complete frame, empty when nothing is."""

    finite: ClassVar[bool] = True  # whatever can be read is finite: nobody has to look again

    path: Path
    particles: int
    time: NDArray[np.float64]  # (frame,) ps
    step: Int  # (frame,)
    flaw: str
    box: NDArray[np.float32]  # (frame, box_vector, xyz) nm
    offset: Int  # (frame,) bytes
    length: Int  # (frame,) bytes
    precision: NDArray[np.float32]  # (frame,) grid points per nm; 0 for up to nine particles, which are not packed

    def read(self, frames: Int, *, out: NDArray[np.float32] | None = None, particles: int | None = None) -> Frames:
        """Decode these frames, or the first particles of them.

        Parameters
        ----------
        frames : indices into `time`, in any order
        particles : so many are wanted; those behind them, such as a solvent, cost nothing and are not checked
        out : (frame, particle, xyz) float32, C-contiguous: memory for the positions, which become those of the result.
            Whoever reads block after block into the same memory saves the system a page fault per 4 kB.

        Raises
        ------
        InputError : a frame is damaged, the file is no longer what it was at opening, or `out` has another shape
        """
        chosen = np.asarray(frames, np.int64)
        wanted = self.particles if particles is None else min(particles, self.particles)
        shape = (len(chosen), wanted, 3)
        position = np.empty(shape, np.float32) if out is None else out  # (frame, particle, xyz) nm
        if position.shape != shape or position.dtype != np.float32 or not position.flags.c_contiguous:
            found = f"{position.shape} {position.dtype}{'' if position.flags.c_contiguous else ', not contiguous'}"
            raise InputError(f"{self.path}: out: found {found}, expected {shape} float32")
        total = self.particles
        self._decode(
            chosen, lambda data, offset, length, part: decode_beginning(data, offset, length, total, position[part])
        )
        return Frames(position, self.time[chosen], self.step[chosen], self.box[chosen])

    def read_codes(self, frames: Int) -> NDArray[np.int32] | None:
        """Decode the integers of these frames: positions in units of 0.001 nm, exactly as they are in the file.

        Multiplied by float32(0.001) they are the positions that `read` gives, to the bit.

        Parameters
        ----------
        frames : indices into `time`, in any order

        Returns
        -------
        (frame, particle, xyz) int32, or None when a frame has another precision or is not packed

        Raises
        ------
        InputError : a frame is damaged, or the file is no longer what it was at opening
        """
        chosen = np.asarray(frames, np.int64)
        if (self.precision[chosen] != _GRID).any():
            return None
        grid = np.empty((len(chosen), self.particles, 3), np.int32)  # (frame, particle, xyz) 0.001 nm
        self._decode(chosen, lambda data, offset, length, part: codes(data, offset, length, _GRID, grid[part]))
        return grid

    def _decode(self, frames: Int, kernel: Callable[[NDArray[np.uint8], Int, Int, slice], Int]) -> None:
        """Read frames batch by batch and hand each batch to a kernel."""
        offset, length = self.offset[frames], self.length[frames]
        end = np.cumsum(length)
        start = end - length
        # Frames that follow each other in the file are read at once.
        joined = np.zeros(len(frames), bool)
        np.equal(offset[1:], offset[:-1] + length[:-1], out=joined[1:])
        edges = _edges(end)
        data = np.empty(max((int(end[b - 1] - start[a]) for a, b in edges), default=0) + PADDING, np.uint8)
        with self.path.open("rb", buffering=0) as file:
            for first, last in edges:
                part = slice(first, last)
                begin = start[part] - start[first]
                spans = [0, *(np.flatnonzero(~joined[first + 1 : last]) + 1).tolist(), last - first]
                for a, b in pairwise(spans):
                    stop = int(begin[b - 1] + length[first + b - 1])
                    fill(file, int(offset[first + a]), data[int(begin[a]) : stop], self.path)
                status = kernel(data, begin, length[part], part)
                if status.any():
                    bad = int(np.argmax(status != 0))
                    number = int(frames[first + bad])
                    raise damage(self.path, f"frame {number} is damaged: {REASONS[status[bad]]}", good=number)


def _edges(end: Int) -> list[tuple[int, int]]:
    """Cut frames, of which the bytes up to the end of each are given, into batches."""
    if not len(end) or end[-1] <= _BATCH:
        return [(0, len(end))] if len(end) else []
    edges = []
    first, done = 0, 0
    while first < len(end):
        last = max(first + 1, int(np.searchsorted(end, done + _BATCH, "right")))
        edges.append((first, last))
        first, done = last, int(end[last - 1])
    return edges


def open_xtc(path: Path) -> XtcReader:
    """Index an XTC file.

    Parameters
    ----------
    path : the file; nothing is written beside it

    Returns
    -------
    XtcReader : with the complete frames before the first one that cannot be read; `flaw` names the reason

    Raises
    ------
    InputError : the file is missing, empty, or does not begin with a complete XTC frame
    """
    numbers, reals, flaw = _index(path)
    if not len(numbers):
        raise InputError(f"{path}: not an XTC trajectory: {flaw or 'the file is empty'}")
    box = reals[:, 1:10]
    good, reason = _agreeing(numbers[:, 2], box)
    return XtcReader(
        path=path,
        particles=int(numbers[0, 2]),
        time=reals[:good, 0].astype(np.float64),
        step=numbers[:good, 3].copy(),
        flaw=reason or flaw,
        box=box[:good].reshape(-1, 3, 3),
        offset=numbers[:good, 0].copy(),
        length=numbers[:good, 1].copy(),
        precision=reals[:good, 10].copy(),
    )


def _agreeing(particles: Int, box: NDArray[np.float32]) -> tuple[int, str]:
    """Return how many frames agree with the first one, and what is wrong with the one after them."""
    has_box = np.asarray(np.any(box != 0, axis=1))
    finite = np.asarray(np.isfinite(box).all(axis=1))
    other = np.flatnonzero((particles != particles[0]) | (has_box != has_box[0]) | ~finite)
    if not len(other):
        return len(particles), ""
    first = int(other[0])
    if not finite[first]:
        return first, f"frame {first} has a box that is not finite"
    now = f"{particles[first]} particles and {'a' if has_box[first] else 'no'} box"
    before = f"{particles[0]} particles and {'a' if has_box[0] else 'no'} box"
    return first, f"frame {first} has {now}, the frames before it {before}"


def _index(path: Path) -> tuple[Int, NDArray[np.float32], str]:
    """List the complete frames of a file as `headers` does, and say why the list ends before the file does."""
    found: list[tuple[Int, NDArray[np.float32]]] = []
    window = np.zeros(_WINDOW + PADDING, np.uint8)
    position, why, used, wide = 0, MORE, _SLOTS, _WINDOW
    with path.open("rb", buffering=0) as file:
        size = file.seek(0, 2)
        while why == MORE:
            if used == _SLOTS:
                numbers, reals, used = np.empty((_SLOTS, 4), np.int64), np.empty((_SLOTS, 11), np.float32), 0
                found.append((numbers, reals))
            inside = min(wide, size - position)
            fill(file, position, window[:inside], path)
            count, position, why = headers(window[: inside + PADDING], position, size, numbers[used:], reals[used:])
            used += count
            wide = PADDING if count and numbers[used - 1, 1] > _SMALL else _WINDOW
    frames = (len(found) - 1) * _SLOTS + used
    every = [np.concatenate(arrays)[:frames] for arrays in zip(*found, strict=True)]
    if why == ENDED:
        return every[0], every[1], ""
    place = f"frame {frames} (byte {position} of {size})"
    reason = f"the file ends in the middle of {place}" if why == TRUNCATED else f"no XTC frame begins at {place}"
    return every[0], every[1], reason
