"""XTC files: an index of the frames made at opening, and any frames decoded on request.

Nothing is kept open and nothing is written, so that a reader can be used by many threads and travel between
processes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgstore.errors import InputError
from cgstore.frames import Frames
from cgstore.kernels.xtc import ENDED, MORE, PADDING, REASONS, TRUNCATED, decode, headers
from cgstore.readers.sources import damage, fill

__all__ = ["XtcReader", "open_xtc"]

Int = NDArray[np.int64]

# A window holds 70 headers of the smallest frames; of large frames only the page with the header is read.
_WINDOW = 8192
_SLOTS = _WINDOW // 56


@dataclass(frozen=True, slots=True, eq=False)
class XtcReader:
    """One XTC file; `flaw` says what is wrong after its last complete frame, empty when nothing is."""

    path: Path
    particles: int
    time: NDArray[np.float64]  # (frame,) ps
    step: Int  # (frame,)
    flaw: str
    box: NDArray[np.float32]  # (frame, box_vector, xyz) nm
    offset: Int  # (frame,) bytes
    length: Int  # (frame,) bytes

    def read(self, frames: Int) -> Frames:
        """Decode these frames.

        Raises
        ------
        InputError : a frame is damaged, or the file is no longer what it was at opening
        """
        chosen = np.asarray(frames, np.int64)
        data, offset = self._load(chosen)
        position = np.empty((len(chosen), self.particles, 3), np.float32)  # (frame, particle, xyz) nm
        status = decode(data, offset, self.length[chosen], position)
        if status.any():
            first = int(np.argmax(status != 0))
            number = int(chosen[first])
            raise damage(self.path, f"frame {number} is damaged: {REASONS[status[first]]}", good=number)
        return Frames(position, self.time[chosen], self.step[chosen], self.box[chosen])

    def _load(self, frames: Int) -> tuple[NDArray[np.uint8], Int]:
        """Read the bytes of frames, neighbours at once; return them and where each frame begins."""
        length = self.length[frames]
        end = np.cumsum(length)
        total = int(end[-1]) if len(frames) else 0
        data = np.zeros(total + PADDING, np.uint8)
        # A span ends where the next frame does not follow its predecessor in the file.
        starts = np.flatnonzero(np.append(True, self.offset[frames[1:]] != self.offset[frames[:-1]] + length[:-1]))
        with self.path.open("rb", buffering=0) as file:
            for first, last in zip(starts, np.append(starts[1:], len(frames)), strict=True):
                if first == last:
                    continue
                begin = int(end[first] - length[first])
                fill(file, int(self.offset[frames[first]]), data[begin : int(end[last - 1])], self.path)
        return data, end - length


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
    found, flaw = _index(path)
    if not len(found["offset"]):
        raise InputError(f"{path}: not an XTC trajectory: {flaw or 'the file is empty'}")
    particles = int(found["particles"][0])
    has_box = np.any(found["box"] != 0, axis=1)
    other = np.flatnonzero((found["particles"] != particles) | (has_box != has_box[0]))
    if len(other):
        first = int(other[0])
        now = f"{found['particles'][first]} particles and {'a' if has_box[first] else 'no'} box"
        flaw = f"frame {first} has {now}, the frames before it {particles} and {'a' if has_box[0] else 'no'} box"
        found = {name: array[:first] for name, array in found.items()}
    return XtcReader(
        path=path,
        particles=particles,
        time=found["time"].astype(np.float64),
        step=found["step"],
        flaw=flaw,
        box=found["box"].reshape(-1, 3, 3),
        offset=found["offset"],
        length=found["length"],
    )


def _index(path: Path) -> tuple[dict[str, NDArray[Any]], str]:
    """List the complete frames of a file, and say why the list ends before the file does."""
    slots: dict[str, NDArray[Any]] = {
        **{name: np.empty(_SLOTS, np.int64) for name in ("offset", "length", "particles", "step")},
        "time": np.empty(_SLOTS, np.float32),
        "box": np.empty((_SLOTS, 9), np.float32),
    }
    parts = []
    position, why = 0, MORE
    window = np.zeros(_WINDOW + PADDING, np.uint8)
    with path.open("rb", buffering=0) as file:
        size = file.seek(0, 2)
        while why == MORE:
            inside = min(_WINDOW, size - position)
            fill(file, position, window[:inside], path)
            count, position, why = headers(window[: inside + PADDING], position, size, *slots.values())
            parts.append({name: array[:count].copy() for name, array in slots.items()})
    found = {name: np.concatenate([part[name] for part in parts]) for name in slots}
    frames = len(found["offset"])
    if why == ENDED:
        return found, ""
    place = f"frame {frames} (byte {position} of {size})"
    return found, f"the file ends in the middle of {place}" if why == TRUNCATED else f"no XTC frame begins at {place}"
