"""Chunks of frames turned so that the frames are innermost, as they are compressed, and back.

Neighbours in memory are then the same coordinate at successive times. With `differences`, each number is replaced by
its step from the frame before, folded to 0, -1, 1, -2 … → 0, 1, 2, 3 … so that small steps of either sign have
leading zeros. All arithmetic is that of integers of the stored width, modulo 2^16 or 2^32: nothing is lost.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["pack", "unpack", "unpack_scaled"]

# Columns that are turned together, in the nearest cache; frames that are moved by one load or store of a column.
_COLUMNS = 256
_GROUP = 8


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
    columns, whole = packed.shape
    tile = np.empty((_GROUP, _COLUMNS), packed.dtype)
    before = np.empty(_COLUMNS, packed.dtype)
    now = np.empty(_COLUMNS, packed.dtype)
    for begin in range(0, columns, _COLUMNS):
        count = min(_COLUMNS, columns - begin)
        before[:] = 0
        for start in range(0, whole, _GROUP):
            group = min(_GROUP, whole - start)
            for frame in range(group):
                row = tile[frame]
                if start + frame < values.shape[0]:
                    source = values[start + frame, begin : begin + count]
                    for column in range(count):
                        now[column] = source[column]
                else:
                    now[:] = fill
                if differences:
                    _fold(now, before, row)
                    before[:] = now
                else:
                    row[:] = now
            _scatter(tile, group, packed[begin : begin + count], start)


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
    columns, last = packed.shape[0], first + values.shape[0]
    tile = np.empty((_GROUP, _COLUMNS), packed.dtype)
    now = np.empty(_COLUMNS, packed.dtype)
    for begin in range(0, columns, _COLUMNS):
        count = min(_COLUMNS, columns - begin)
        now[:] = 0
        for start in range(0 if differences else first, last, _GROUP):
            group = min(_GROUP, last - start)
            _gather(packed[begin : begin + count], start, group, tile)
            for frame in range(group):
                row = tile[frame]
                if differences:
                    _unfold(row, now)
                    row = now
                if start + frame >= first:
                    out = values[start + frame - first, begin : begin + count]
                    for column in range(count):
                        out[column] = row[column]


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
    columns, last = packed.shape[0], first + values.shape[0]
    tile = np.empty((_GROUP, _COLUMNS), packed.dtype)
    now = np.empty(_COLUMNS, packed.dtype)
    fill = np.iinfo(packed.dtype).min
    least = np.int32(0)
    for begin in range(0, columns, _COLUMNS):
        count = min(_COLUMNS, columns - begin)
        now[:] = 0
        for start in range(0 if differences else first, last, _GROUP):
            group = min(_GROUP, last - start)
            _gather(packed[begin : begin + count], start, group, tile)
            for frame in range(group):
                row = tile[frame]
                if differences:
                    _unfold(row, now)
                    row = now
                if start + frame >= first:
                    out = values[start + frame - first, begin : begin + count]
                    for column in range(count):
                        value = np.int32(row[column])
                        least = min(least, value)
                        out[column] = np.float32(value) * scale
    return bool(least == fill)


@njit(nogil=True, cache=True, error_model="numpy")
def _gather(
    packed: NDArray[np.signedinteger], start: int, group: int, tile: NDArray[np.signedinteger]
) -> None:  # pragma: no cover - compiled
    """Copy some frames of some columns, frame by frame."""
    if group < _GROUP:
        for frame in range(group):
            for column in range(packed.shape[0]):
                tile[frame, column] = packed[column, start + frame]
        return
    # Written out, so that a column is loaded once: three times as fast as the loops above.
    row0, row1, row2, row3, row4, row5, row6, row7 = (
        tile[0],
        tile[1],
        tile[2],
        tile[3],
        tile[4],
        tile[5],
        tile[6],
        tile[7],
    )
    for column in range(packed.shape[0]):
        source = packed[column, start : start + _GROUP]
        row0[column] = source[0]
        row1[column] = source[1]
        row2[column] = source[2]
        row3[column] = source[3]
        row4[column] = source[4]
        row5[column] = source[5]
        row6[column] = source[6]
        row7[column] = source[7]


@njit(nogil=True, cache=True, error_model="numpy")
def _scatter(
    tile: NDArray[np.signedinteger], group: int, packed: NDArray[np.signedinteger], start: int
) -> None:  # pragma: no cover - compiled
    """Copy some frames to some columns; the inverse of `_gather`."""
    if group < _GROUP:
        for frame in range(group):
            for column in range(packed.shape[0]):
                packed[column, start + frame] = tile[frame, column]
        return
    for column in range(packed.shape[0]):
        target = packed[column, start : start + _GROUP]
        target[0] = tile[0, column]
        target[1] = tile[1, column]
        target[2] = tile[2, column]
        target[3] = tile[3, column]
        target[4] = tile[4, column]
        target[5] = tile[5, column]
        target[6] = tile[6, column]
        target[7] = tile[7, column]


@njit(nogil=True, cache=True, error_model="numpy")
def _fold(
    now: NDArray[np.signedinteger], before: NDArray[np.signedinteger], folded: NDArray[np.signedinteger]
) -> None:  # pragma: no cover - compiled
    """Write the folded steps from one frame to the next."""
    top = 15 if np.iinfo(now.dtype).max == 32767 else 31
    step = np.empty(_COLUMNS, now.dtype)
    for column in range(_COLUMNS):
        step[column] = now[column] - before[column]
    for column in range(_COLUMNS):
        folded[column] = (step[column] << 1) ^ (step[column] >> top)


@njit(nogil=True, cache=True, error_model="numpy")
def _unfold(folded: NDArray[np.signedinteger], now: NDArray[np.signedinteger]) -> None:  # pragma: no cover - compiled
    """Add folded steps to the frame before."""
    # Of the folded number shifted right, the copies of the sign bit have to go.
    low = np.int32(0x7FFF if np.iinfo(now.dtype).max == 32767 else 0x7FFFFFFF)
    for column in range(_COLUMNS):
        step = np.int32(folded[column])
        now[column] += ((step >> 1) & low) ^ -(step & np.int32(1))
