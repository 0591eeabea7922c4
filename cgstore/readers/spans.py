"""Spans: frames that lie in a file one behind the other, read at once as structured arrays of bounded size."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgstore.readers.sources import fill

__all__ = ["LARGEST", "convert", "spans"]

Int = NDArray[np.int64]

LARGEST = 2**31 - 1  # bytes of a frame: NumPy counts those of a structured type in 32 bits, and does not say so
_SPAN = 2**21  # bytes: what is read stays in the cache until it is converted


def spans(
    file: io.FileIO, layouts: Sequence[np.dtype[np.void]], kind: Int, offset: Int
) -> Iterator[tuple[slice, NDArray[np.void]]]:
    """Yield frames in the order asked for, as many at once as follow each other in the file.

    Parameters
    ----------
    file : unbuffered
    layouts : of one frame; each kind of frame has one
    kind : (frame,) index into `layouts`
    offset : (frame,) bytes, where the frames begin

    Yields
    ------
    which of the frames, and their bytes under the layout of their kind; only good until the next step

    Raises
    ------
    InputError : the file became shorter than it was when it was indexed

    Notes
    -----
    A memory map would save the copy, but it kills the process when the file shrinks or its disk fails meanwhile.
    """
    if not len(offset):
        return
    size = np.array([layout.itemsize for layout in layouts])[kind]
    breaks = (offset[1:] != offset[:-1] + size[:-1]) | (kind[1:] != kind[:-1])
    starts = np.flatnonzero(np.append(True, breaks))
    buffer = np.empty(0, np.uint8)
    for first, last in zip(starts.tolist(), [*starts[1:].tolist(), len(offset)], strict=True):
        layout = layouts[kind[first]]
        most = max(1, _SPAN // layout.itemsize)
        for begin in range(first, last, most):
            end = min(begin + most, last)
            total = (end - begin) * layout.itemsize
            if len(buffer) < total:
                buffer = np.empty(total, np.uint8)
            fill(file, int(offset[begin]), buffer[:total], Path(str(file.name)))
            yield slice(begin, end), buffer[:total].view(layout)


def convert(data: NDArray[Any], factor: float, target: NDArray[Any]) -> None:
    """Write numbers of any precision and byte order, times a factor, into an array.

    A number beyond the range of float32 becomes infinite, which whoever checks for damage finds.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        if factor == 1.0:
            target[...] = data
        else:
            np.multiply(data, factor, out=target, dtype=np.float64, casting="unsafe")
