"""Chunks of frames turned so that the frames are innermost, as they are compressed, and back.

Neighbours in memory are then the same coordinate at successive times. With `differences`, each number is replaced by
its step from the frame before, folded to 0, -1, 1, -2 … → 0, 1, 2, 3 … so that small steps of either sign have
leading zeros. All arithmetic is that of integers of the stored width, modulo 2^16 or 2^32: nothing is lost.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["pack", "unpack", "unpack_scaled"]

# Columns handled together: one cache line of float32 per frame.
_TILE = 16


@njit(nogil=True, cache=True, error_model="numpy")
def pack(
    values: NDArray[np.signedinteger], fill: int, differences: bool, packed: NDArray[np.signedinteger]
) -> None:  # pragma: no cover - compiled
    """Turn a chunk.

    Parameters
    ----------
    values : (frame, column) integers
    fill : what stands for the frames that a chunk at the end of a dataset does not have yet
    differences : store folded steps between frames
    packed : (column, frame of a whole chunk) int16 or int32, written

    Examples
    --------
    >>> packed = np.empty((1, 4), np.int16)
    >>> pack(np.array([[5], [4], [6]], np.int32), 0, True, packed)
    >>> packed.tolist()
    [[10, 1, 4, 11]]
    """
    frames, columns = values.shape
    whole = packed.shape[1]
    narrow_type = np.iinfo(packed.dtype).max == 32767
    before = np.zeros(_TILE, np.int32)
    for begin in range(0, columns, _TILE):
        end = min(begin + _TILE, columns)
        before[:] = 0
        for frame in range(whole):
            for column in range(begin, end):
                value = np.int32(values[frame, column] if frame < frames else fill)
                if differences:
                    step = value - before[column - begin]
                    before[column - begin] = value
                    if narrow_type:
                        narrow = np.int16(step)
                        packed[column, frame] = np.int16((narrow << 1) ^ (narrow >> 15))
                    else:
                        wide = np.int32(step)
                        packed[column, frame] = np.int32((wide << 1) ^ (wide >> 31))
                else:
                    packed[column, frame] = value


@njit(nogil=True, cache=True, error_model="numpy")
def unpack(
    packed: NDArray[np.signedinteger], first: int, differences: bool, values: NDArray[np.signedinteger]
) -> None:  # pragma: no cover - compiled
    """Turn frames of a chunk back.

    Parameters
    ----------
    packed : (column, frame) int16 or int32
    first : the first frame that is wanted
    differences : they are stored as folded steps
    values : (frame, column) integers, written with as many frames as it has

    Examples
    --------
    >>> values = np.empty((2, 1), np.int16)
    >>> unpack(np.array([[10, 1, 4, 11]], np.int16), 1, True, values)
    >>> values.tolist()
    [[4], [6]]
    """
    columns = packed.shape[0]
    rows = np.empty((_TILE, values.shape[0]), np.int32)
    for begin in range(0, columns, _TILE):
        end = min(begin + _TILE, columns)
        _unfold(packed[begin:end], first, differences, rows)
        for frame in range(values.shape[0]):
            for column in range(begin, end):
                values[frame, column] = rows[column - begin, frame]


@njit(nogil=True, cache=True, error_model="numpy")
def unpack_scaled(
    packed: NDArray[np.signedinteger], first: int, differences: bool, scale: np.float32, values: NDArray[np.float32]
) -> bool:  # pragma: no cover - compiled
    """Turn frames of a chunk back and multiply them in float32.

    Parameters
    ----------
    packed : (column, frame) int16 or int32
    first : the first frame that is wanted
    differences : they are stored as folded steps
    scale : the grid, float32
    values : (frame, column) float32, written with as many frames as it has

    Returns
    -------
    whether a fill value (the smallest integer) was met, which stands for lost data

    Examples
    --------
    >>> values = np.empty((2, 1), np.float32)
    >>> packed = np.array([[250, 500, -32768]], np.int16)
    >>> unpack_scaled(packed, 1, False, np.float32(0.001), values), values[0, 0].item()
    (True, 0.5)
    """
    columns = packed.shape[0]
    fill = np.int32(np.iinfo(packed.dtype).min)
    rows = np.empty((_TILE, values.shape[0]), np.int32)
    least = np.int32(np.iinfo(packed.dtype).max)
    for begin in range(0, columns, _TILE):
        tile = min(_TILE, columns - begin)
        _unfold(packed[begin : begin + tile], first, differences, rows)
        for frame in range(values.shape[0]):
            for column in range(tile):
                value = rows[column, frame]
                least = min(least, value)
                values[frame, begin + column] = np.float32(value) * scale
    return bool(least == fill)


@njit(nogil=True, cache=True, error_model="numpy")
def _unfold(
    packed: NDArray[np.signedinteger], first: int, differences: bool, rows: NDArray[np.int32]
) -> None:  # pragma: no cover - compiled
    """Write the numbers of some columns, from the first frame on, in the order in which they are stored."""
    # Of the folded number shifted right, the copies of the sign bit have to go.
    narrow = np.iinfo(packed.dtype).max == 32767
    low = np.int32(0x7FFF if narrow else 0x7FFFFFFF)
    for column in range(packed.shape[0]):
        source, row = packed[column], rows[column]
        if not differences:
            for frame in range(row.size):
                row[frame] = source[first + frame]
            continue
        value = np.int32(0)
        for frame in range(first + row.size):
            folded = np.int32(source[frame])
            value = np.int32(value + (((folded >> 1) & low) ^ -(folded & np.int32(1))))
            if narrow:
                value = np.int32(np.int16(value))
            if frame >= first:
                row[frame - first] = value
