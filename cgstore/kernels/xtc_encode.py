"""XTC positions packed: the other direction of the decoder, with the choices that GROMACS makes.

The format leaves it to the writer how wide differences are and when their width changes. Here it is as in the
writer of GROMACS, so that frames read from its files and written again have the bytes that they had.
"""

import numpy as np
from numba import njit

from cgstore.kernels.bits import bit_width, product_width
from cgstore.kernels.xtc_stream import FIRST, LAST, RADIX

__all__ = ["LARGEST", "encode", "words_for"]

LARGEST = 2**31 - 3  # of a coordinate on the grid, and of the range of coordinates

_LONGEST_RUN = 24  # coordinates: eight particles after the one in front
_STEPS = 8  # widths that differences may take above or below each other
_HALF = RADIX.astype(np.int64) // 2
_LOW = np.uint64(0xFFFFFFFF)
_0, _1, _3, _5, _7, _8 = (np.uint64(k) for k in (0, 1, 3, 5, 7, 8))
_16, _32, _63, _64 = (np.uint64(k) for k in (16, 32, 63, 64))
_APART = np.uint64(0xFFFFFF)
_ODD_BYTES, _ODD_PAIRS = np.uint64(0x00FF00FF00FF00FF), np.uint64(0x0000FFFF0000FFFF)


def words_for(particles: int) -> int:
    """Return how many words `encode` needs at most: no particle takes more than 102 bits.

    >>> words_for(100)
    204
    """
    return 2 * particles + 4


@njit(nogil=True, cache=True, error_model="numpy")
def encode(position, precision, grid, words, head):  # type: ignore[no-untyped-def]
    """Pack the positions of one frame.

    Parameters
    ----------
    position : (particle, 3) float32 nm; more than nine particles, fewer are not packed
    precision : float64, grid points per nm
    grid : (particle, 3) int32, overwritten
    words : (word,) uint64, at least `words_for`; written, the highest bit of the first word first
    head : (7,) int64, written: smallest x y z, largest x y z, first width of differences

    Returns
    -------
    bytes that the bit stream has, or -1 when a coordinate is not finite or beyond `LARGEST` grid points

    Examples
    --------
    >>> line = np.linspace(0.0, 1.0, 11, dtype=np.float32)[:, None] * np.ones(3, np.float32)
    >>> head = np.empty(7, np.int64)
    >>> int(encode(line, 1000.0, np.empty((11, 3), np.int32), np.empty(words_for(11), np.uint64), head))
    40
    >>> head.tolist()
    [0, 0, 0, 1000, 1000, 1000, 25]
    """
    nearest = _to_grid(position, precision, grid, head)
    if nearest < 0:
        return -1
    width = FIRST
    while width < LAST and np.int64(RADIX[width]) < nearest:
        width += 1
    head[6] = width
    words[:] = _0
    return np.int64((_pack(grid, head, width, words) + _7) >> _3)


@njit(nogil=True, cache=True, error_model="numpy")
def _to_grid(position, precision, grid, head):  # type: ignore[no-untyped-def]
    """Round to the grid, find the range; return the smallest distance (sum over x y z) of neighbours in the file."""
    head[:3] = LARGEST
    head[3:6] = -LARGEST
    nearest = np.int64(1) << 62
    for particle in range(len(position)):
        distance = np.int64(0)
        for axis in range(3):
            rounded = np.rint(np.float64(position[particle, axis]) * precision)
            if not abs(rounded) <= LARGEST:  # true for NaN too
                return np.int64(-1)
            here = np.int64(rounded)
            grid[particle, axis] = here
            head[axis] = min(head[axis], here)
            head[3 + axis] = max(head[3 + axis], here)
            if particle:
                distance += abs(here - np.int64(grid[particle - 1, axis]))
        if particle:
            nearest = min(nearest, distance)
    for axis in range(3):
        if head[3 + axis] - head[axis] > LARGEST:
            return np.int64(-1)
    return nearest


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _put(words, at, value, count):  # type: ignore[no-untyped-def]
    """Write a field of `count` bits (1 to 64) at bit `at` into words that are zero there; return where it ends."""
    word, free = at >> np.uint64(6), _64 - (at & _63)
    if count <= free:
        words[word] |= value << (free - count)
    else:
        words[word] |= value >> (count - free)
        words[word + _1] |= value << (_64 - (count - free))
    return at + count


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _turn(value):  # type: ignore[no-untyped-def]
    """Return the eight bytes of a number in the opposite order."""
    value = ((value & _ODD_BYTES) << _8) | ((value >> _8) & _ODD_BYTES)
    value = ((value & _ODD_PAIRS) << _16) | ((value >> _16) & _ODD_PAIRS)
    return (value << _32) | (value >> _32)


@njit(nogil=True, cache=True, error_model="numpy")
def _put_triple(words, at, count, x, y, z, size_y, size_z):  # type: ignore[no-untyped-def]
    """Write a triple as a mixed-radix number of `count` bits: whole bytes, lowest first, then its remaining bits."""
    pair = x * size_y + y  # below 2^48
    low = (pair & _LOW) * size_z + z
    high = (pair >> _32) * size_z + (low >> _32)
    value = (high << _32) | (low & _LOW)
    if count > _64:  # up to 72
        at = _put(words, at, _turn(value), _64)
        return _put(words, at, high >> _32, count - _64)
    rest = count & _7
    whole = count - rest
    if whole == _0:
        return _put(words, at, value, rest)
    if whole == _64:
        return _put(words, at, _turn(value), _64)
    field = _turn(value << (_64 - whole))
    return _put(words, at, (field << rest) | (value >> whole), count)


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _within(grid, one, other, reach):  # type: ignore[no-untyped-def]
    """Tell whether two particles differ by less than `reach` in each of x y z."""
    farthest = np.int64(0)
    for axis in range(3):
        farthest = max(farthest, abs(np.int64(grid[one, axis]) - np.int64(grid[other, axis])))
    return farthest < reach


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _beyond(grid, one, other, reach):  # type: ignore[no-untyped-def]
    """Tell whether two particles are at least `reach` apart, in numbers of 32 bits that overflow as they do elsewhere.

    Beyond 26 nm the answer is arbitrary. It only chooses a width, and the choice is the same as that of other writers.
    """
    square = np.int64(0)
    for axis in range(3):
        step = np.int64(grid[one, axis]) - np.int64(grid[other, axis])
        square += step * step
    return np.int32(square) >= np.int32(reach * reach)


@njit(nogil=True, cache=True, error_model="numpy")
def _pack(grid, head, width, words):  # type: ignore[no-untyped-def]
    """Write all particles; return the number of bits."""
    size_x, size_y, size_z = (
        np.uint64(head[3] - head[0] + 1),
        np.uint64(head[4] - head[1] + 1),
        np.uint64(head[5] - head[2] + 1),
    )
    apart = (size_x | size_y | size_z) > _APART
    bits_x, bits_y, bits_z = bit_width(size_x), bit_width(size_y), bit_width(size_z)
    bits = _0 if apart else product_width(size_x, size_y, size_z)
    widest = min(LAST, width + _STEPS)
    narrowest = widest - _STEPS
    reach = _HALF[width]
    less = _HALF[max(FIRST, width - 1)]
    most = _HALF[widest]
    count = len(grid)
    before = -1
    at = _0
    particle = 0
    while particle < count:
        # Whether the width should change is asked before particles change places, and answered after the run.
        change = 0
        if width < widest and particle and _within(grid, particle, particle - 1, most):
            change = 1
        elif width > narrowest:
            change = -1
        follows = particle + 1 < count and _within(grid, particle, particle + 1, reach)
        if follows:
            for axis in range(3):
                first = grid[particle, axis]
                grid[particle, axis] = grid[particle + 1, axis]
                grid[particle + 1, axis] = first
        x = np.uint64(np.int64(grid[particle, 0]) - head[0])
        y = np.uint64(np.int64(grid[particle, 1]) - head[1])
        z = np.uint64(np.int64(grid[particle, 2]) - head[2])
        if apart:
            at = _put(words, _put(words, _put(words, at, x, bits_x), y, bits_y), z, bits_z)
        else:
            at = _put_triple(words, at, bits, x, y, z, size_y, size_z)
        start = particle + 1
        particle = start
        while follows and 3 * (particle - start) < _LONGEST_RUN:
            if change < 0 and _beyond(grid, particle, particle - 1, less):
                change = 0
            particle += 1
            follows = particle < count and _within(grid, particle, particle - 1, reach)
        run = 3 * (particle - start)
        if not run and change < 0:
            change = 0
        if run != before or change:
            before = run
            at = _put(words, _put(words, at, _1, _1), np.uint64(run + change + 1), _5)
        else:
            at += _1
        radix = RADIX[width]
        for k in range(start, particle):
            x = np.uint64(np.int64(grid[k, 0]) - np.int64(grid[k - 1, 0]) + reach)
            y = np.uint64(np.int64(grid[k, 1]) - np.int64(grid[k - 1, 1]) + reach)
            z = np.uint64(np.int64(grid[k, 2]) - np.int64(grid[k - 1, 2]) + reach)
            at = _put_triple(words, at, np.uint64(width), x, y, z, radix, radix)
        if change:
            width += change
            reach = _HALF[width]
            less = _HALF[max(FIRST, width - 1)]
    return at
