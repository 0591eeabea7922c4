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
from cgstore.readers.spans import LARGEST, convert, spans

__all__ = ["TrrReader", "open_trr"]

Int = NDArray[np.int64]
Layout = np.dtype[np.void]

# magic 1993, two lengths and the string GMX_trn_file; then sizes of ir, e, box, virial, pressure, top, sym, x, v, f;
# particles, step, nre; time and lambda follow in the precision of the frame.
_HEADER = struct.Struct(">3i12s13i")
_TAG = (1993, 13, 12, b"GMX_trn_file")
_SAME = 68  # bytes of a header up to the step: equal in all frames of one layout
_BATCH = 4096  # headers compared at once
_WINDOW = 2**20  # bytes; frames of less than a page are read whole to get at their headers
_PAGE = 4096

_ARRAYS = ("box", "position", "velocity", "force")
_NOT_A_FRAME, _CUT_OFF = "no TRR frame begins at", "the file ends in the middle of"
_TOO_LARGE = "2 GiB are not enough for"


@dataclass(frozen=True, slots=True, eq=False)
class TrrReader:
    """One TRR file; `flaw` says what is wrong after its last complete frame, empty when nothing is."""

    path: Path
    particles: int
    time: NDArray[np.float64]  # (frame,) ps
    step: Int  # (frame,)
    flaw: str
    layouts: tuple[Layout, ...]  # of the kinds of frames: header and arrays
    kind: Int  # (frame,)
    offset: Int  # (frame,) bytes
    kept: frozenset[str]  # the arrays that every frame has

    def read(self, frames: Int) -> Frames:
        """Read these frames.

        Raises
        ------
        InputError : the file is no longer what it was at opening
        """
        chosen = np.asarray(frames, np.int64)
        arrays = {
            name: np.empty((len(chosen), 3 if name == "box" else self.particles, 3), np.float32) for name in self.kept
        }
        with self.path.open("rb", buffering=0) as file:
            for rows, data in spans(file, self.layouts, self.kind[chosen], self.offset[chosen]):
                for name, target in arrays.items():
                    convert(data[name], 1.0, target[rows])
        return Frames(time=self.time[chosen], step=self.step[chosen], **arrays)


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
    with path.open("rb", buffering=0) as file:
        layouts, found, flaw = _index(file)
    if not len(found):
        raise InputError(f"{path}: not a TRR trajectory: {flaw or 'no frame has positions'}")
    particles = np.array([layout["position"].shape[0] for layout in layouts])[found["kind"]]
    if (particles != particles[0]).any():
        other = int(np.argmax(particles != particles[0]))
        flaw = f"frame {other} has {particles[other]} particles, the frames before it {particles[0]}"
        found = found[:other]
    used = [frozenset(layouts[kind].names or ()) for kind in np.unique(found["kind"])]
    return TrrReader(
        path=path,
        particles=int(particles[0]),
        time=found["time"].copy(),
        step=found["step"].copy(),
        flaw=flaw,
        layouts=layouts,
        kind=found["kind"].copy(),
        offset=found["offset"].copy(),
        kept=frozenset.intersection(*used) & frozenset(_ARRAYS),
    )


_FRAME = np.dtype([("offset", np.int64), ("kind", np.int64), ("step", np.int64), ("time", np.float64)])


def _index(file: io.FileIO) -> tuple[tuple[Layout, ...], NDArray[np.void], str]:
    """List the frames with positions; say why the list ends before the file does."""
    kinds: dict[Layout, int] = {}
    parts = [np.empty(0, _FRAME)]
    size = file.seek(0, 2)
    position, batch, why = 0, 1, ""
    while position < size and not why:
        header = np.empty(min(_HEADER.size + 16, size - position), np.uint8)
        fill(file, position, header, _path(file))
        layout, why = _parse(header.tobytes(), size - position)
        if layout is None:
            break
        room = min(batch, (size - position) // layout.itemsize)
        headers = _headers(file, position, layout, room)
        same = (headers[:, :_SAME] == header[:_SAME]).all(axis=1)
        count = room if same.all() else int(np.argmin(same))
        # Long stretches of like frames are compared in ever larger batches.
        batch = min(2 * batch, _BATCH) if count == room else 1
        if "position" in (layout.names or ()):
            parts.append(_frames(headers[:count], layout, position, kinds.setdefault(layout, len(kinds))))
        position += count * layout.itemsize
    found = np.concatenate(parts)
    flaw = f"{why} frame {len(found)} (byte {position} of {size})" if why else ""
    return tuple(kinds), found, flaw


def _headers(file: io.FileIO, position: int, layout: Layout, count: int) -> NDArray[np.uint8]:
    """Read the bytes where frames of one layout, one behind the other, have their headers."""
    length = layout.itemsize
    width = _HEADER.size + layout["time"].itemsize
    headers = np.empty((count, width), np.uint8)
    if length <= _PAGE:
        most = _WINDOW // length
        for first in range(0, count, most):
            window = np.empty((min(most, count - first), length), np.uint8)
            fill(file, position + first * length, window.reshape(-1), _path(file))
            headers[first : first + len(window)] = window[:, :width]
        return headers
    for k in range(count):
        fill(file, position + k * length, headers[k], _path(file))
    return headers


def _frames(headers: NDArray[np.uint8], layout: Layout, position: int, kind: int) -> NDArray[np.void]:
    """Describe frames of one layout that follow each other from a position on."""
    found = np.empty(len(headers), _FRAME)
    found["offset"] = position + layout.itemsize * np.arange(len(headers))
    found["kind"] = kind
    for name, at, number in (("step", _SAME, np.dtype(">i4")), ("time", _HEADER.size, layout["time"])):
        found[name] = headers[:, at : at + number.itemsize].copy().view(number)[:, 0]
    return found


def _parse(header: bytes, room: int) -> tuple[Layout | None, str]:
    """Read the header of a frame, from which the file goes on for `room` bytes: its layout, or None and why not."""
    if len(header) < _HEADER.size:
        return None, _CUT_OFF
    *tag, ir, e, box, virial, pressure, top, sym, x, v, f, particles, _, _ = _HEADER.unpack_from(header)
    if tuple(tag) != _TAG or particles < 1 or ir or e or top or sym:
        return None, _NOT_A_FRAME
    sizes = {"box": (box, 3), "virial": (virial, 3), "pressure": (pressure, 3)}
    sizes |= {name: (size, particles) for name, size in (("position", x), ("velocity", v), ("force", f))}
    widths = {size / (3 * count) for size, count in sizes.values() if size}
    if widths not in ({4.0}, {8.0}):
        return None, _NOT_A_FRAME
    width = int(widths.pop())
    total = _HEADER.size + 2 * width + sum(size for size, _ in sizes.values())
    if total > min(room, LARGEST):
        return None, _CUT_OFF if total > room else _TOO_LARGE
    real = f">f{width}"
    present = [(name, real, (count, 3)) for name, (size, count) in sizes.items() if size]
    return np.dtype([("header", f"V{_HEADER.size}"), ("time", real), ("lambda", real), *present]), ""


def _path(file: io.FileIO) -> Path:
    """Return the path of an open file, for messages."""
    return Path(str(file.name))
