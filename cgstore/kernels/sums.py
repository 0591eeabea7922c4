"""Counts per frame summed into blocks along a binary tree, so that blocks that merge give the bits of longer blocks."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["sum_blocks"]

_TILE = 512  # numbers at a time: the sums of all levels of the tree stay in the cache
_LEVELS = 64


@njit(nogil=True, cache=True, error_model="numpy")
def sum_blocks(
    counts: NDArray[np.uint32],
    factor: NDArray[np.float64],
    length: int,
    count: NDArray[np.int64],
    total: NDArray[np.float64],
) -> None:  # pragma: no cover - compiled
    """Sum the frames of each block, as they are and multiplied with a factor.

    Parameters
    ----------
    counts : (frame, number) uint32
    factor : (frame,) float64
    length : frames per block; the last block may have fewer
    count, total : (block, number) int64 and float64, written

    Notes
    -----
    The tree joins frames 2k and 2k + 1, then pairs of these, and so on; who has no partner waits. Sums of floats
    depend on their order; here it is that of the frames alone, whatever the length of the blocks was.

    Examples
    --------
    >>> count, total = np.zeros((2, 1), np.int64), np.zeros((2, 1))
    >>> sum_blocks(np.array([[1], [2], [3]], np.uint32), np.array([1.0, 0.5, 2.0]), 2, count, total)
    >>> count.ravel().tolist(), total.ravel().tolist()
    ([3, 3], [2.0, 6.0])
    """
    frames, numbers = counts.shape
    waiting = np.empty((_LEVELS, _TILE))
    now, exact = np.empty(_TILE), np.empty(_TILE, np.int64)
    for begin in range(0, numbers, _TILE):
        size = min(_TILE, numbers - begin)
        for block in range(len(total)):
            start, stop = block * length, min((block + 1) * length, frames)
            exact[:] = 0
            for f in range(start, stop):
                source = counts[f, begin : begin + size]
                for k in range(size):
                    exact[k] += source[k]
                    now[k] = factor[f] * source[k]
                level, place = 0, f - start
                while place & 1:
                    for k in range(size):
                        now[k] = waiting[level, k] + now[k]
                    place >>= 1
                    level += 1
                waiting[level, :size] = now[:size]
            place, level, first = stop - start, 0, True
            while place:
                if place & 1:
                    for k in range(size):
                        now[k] = waiting[level, k] if first else waiting[level, k] + now[k]
                    first = False
                place >>= 1
                level += 1
            count[block, begin : begin + size] = exact[:size]
            if first:
                now[:] = 0.0
            total[block, begin : begin + size] = now[:size]
