"""The bit stream of an XTC frame: triples of integers on a grid, full ones and runs of small differences.

The packing is that of Green, van Hoesel and Lindahl's `xdrf`: a triple (x, y, z) is the mixed-radix number
(x * size_y + y) * size_z + z; runs of up to ten particles near the one before them are stored as small differences,
and the first of a run changes places with the particle before it (an oxygen after its hydrogen costs less).

The reader has made sure that `PADDING` bytes can be read behind the stream; nothing else is trusted.
"""

import numpy as np
from numba import njit

from cgstore.kernels.bits import (
    bit_field,
    bit_width,
    divide,
    packed_field,
    picked,
    pieces,
    product_width,
    split,
    split_wide,
    word_at,
)

__all__ = ["FIRST", "LAST", "LONG", "OVERRUN", "PADDING", "RADIX", "SHORT", "SOUND", "WIDTH", "unpack"]

# Bounds are looked at once per group of particles: a group has at most 96 + 6 + 10 * 72 bits, 103 bytes, and a load at
# its end takes 8 bytes more.
PADDING = 128

# What became of a stream: sound, ends too early, no valid width of differences, more particles than wanted, goes on.
SOUND, SHORT, WIDTH, OVERRUN, LONG = range(5)
_WIDER = 5  # has differences that are too wide for the quick way

FIRST = 9  # the narrowest width of a difference triple
# Element k is the radix of differences of which a triple has k bits: about 2^(k/3), rounded as GROMACS has it.
RADIX = np.array(
    [0] * 9
    + [8, 10, 12, 16, 20, 25, 32, 40, 50, 64, 80, 101, 128, 161, 203, 256, 322, 406, 512, 645, 812, 1024, 1290]
    + [1625, 2048, 2580, 3250, 4096, 5060, 6501, 8192, 10321, 13003, 16384, 20642, 26007, 32768, 41285, 52015]
    + [65536, 82570, 104031, 131072, 165140, 208063, 262144, 330280, 416127, 524287, 660561, 832255, 1048576]
    + [1321122, 1664510, 2097152, 2642245, 3329021, 4194304, 5284491, 6658042, 8388607, 10568983, 13316085]
    + [16777216],
    np.uint64,
)
LAST = len(RADIX) - 1
_ONES = np.uint64(0xFFFFFFFFFFFFFFFF)
_RECIPROCAL = _ONES // np.maximum(RADIX, np.uint64(1)) + np.uint64(1)
# What the quick way needs of a width: radix, reciprocal, and the pieces of its numbers, side by side in the cache.
_WIDTHS = np.array([(RADIX[k], _RECIPROCAL[k], *pieces.py_func(k)) for k in range(49)], np.uint64)  # type: ignore[no-untyped-call]

_0, _1, _2, _3, _4, _5, _6 = (np.uint64(k) for k in range(7))
_31, _32, _48, _51, _57, _58, _63, _64 = (np.uint64(k) for k in (31, 32, 48, 51, 57, 58, 63, 64))


@njit(nogil=True, cache=True, error_model="numpy")
def unpack(address, count, low, high, width, grid, stop):  # type: ignore[no-untyped-def]
    """Unpack the bit stream of a frame, or its beginning.

    Unsigned arithmetic throughout: it wraps where damaged bytes overflow it, and unsigned indices cost no test for
    negative ones. Integers may be outside of low and high in a damaged stream.

    Parameters
    ----------
    address : uint64, where the stream begins in memory
    count : its bytes; `PADDING` more can be read
    low, high : (3,) int64; range of the integers, high - low below 2^31
    width : bits of a difference triple at the beginning
    grid : (3 * particle,) int32, written: x y z of each particle
    stop : unpack so many of these integers, all or less. Particles come in groups of up to eleven: the grid has room
        for ten more than are wanted, or for all of the frame

    Returns
    -------
    int : SOUND, or SHORT, WIDTH, OVERRUN, LONG
    """
    if width < FIRST or width > LAST + 1:  # one more than the table has: no differences until it has shrunk
        return WIDTH
    size = np.empty(3, np.uint64)
    for k in range(3):
        size[k] = high[k] - low[k] + 1
    # Ranges of 2^24 and more are stored coordinate by coordinate.
    apart = (size[0] | size[1] | size[2]) > np.uint64(0xFFFFFF)
    bits = _0 if apart else product_width(size[0], size[1], size[2])
    small = not apart and bits + bit_width(max(size[1], size[2])) <= _64 and min(size[1], size[2]) > _1
    status = _WIDER
    if small and bits <= _51:  # boxes up to 66 nm
        status = _quick(address, count, low, size, bits, np.uint64(width), grid, np.uint64(stop))
    if status == _WIDER:
        status = _general(address, count, low, size, bits, width, grid, np.uint64(stop))
    return status


@njit(nogil=True, cache=True, error_model="numpy")
def _quick(address, count, low, size, bits, width, grid, stop):  # type: ignore[no-untyped-def]
    """Unpack triples of at most 51 bits, of which `split` is exact: one load holds a triple and the flags behind it.

    What is common to all widths is kept out of here, so that everything stays in registers.
    """
    size_y, size_z = size[1], size[2]
    low_x, low_y, low_z = np.uint64(low[0]), np.uint64(low[1]), np.uint64(low[2])
    reciprocal_y, reciprocal_z = _ONES // size_y + _1, _ONES // size_z + _1
    low_bits, high_bits, shift = pieces(bits)
    at = address << _3  # in bits
    end = at + np.uint64(8 * count)
    room = np.uint64(grid.shape[0])
    filled = _0
    run = _0
    while filled < stop:
        if at >= end:
            return SHORT
        word = word_at(at)
        value = picked(word, low_bits, high_bits, shift)
        x, y, z = split(value, size_y, size_z, reciprocal_y, reciprocal_z)
        x += low_x
        y += low_y
        z += low_z
        flags = word << bits
        at += bits + _1
        next_width = width
        if flags >> _63:
            flags = (flags >> _58) & _31
            at += _5
            run = flags // _3 * _3
            next_width += flags - run - _1
            if next_width < np.uint64(FIRST) or next_width > np.uint64(LAST + 1):
                return WIDTH
        if run == _0:
            grid[filled] = np.int32(x)
            grid[filled + _1] = np.int32(y)
            grid[filled + _2] = np.int32(z)
            filled += _3
        else:
            if room - filled < run + _3:
                return OVERRUN
            if width > _48:  # then value * radix can be beyond 2^64
                return _WIDER
            radix, reciprocal = _WIDTHS[width, 0], _WIDTHS[width, 1]
            low_part, high_part, by = _WIDTHS[width, 2], _WIDTHS[width, 3], _WIDTHS[width, 4]
            half = radix >> _1
            # The first difference is written before the particle that it is counted from.
            slot = filled
            grid[filled + _3] = np.int32(x)
            grid[filled + _4] = np.int32(y)
            grid[filled + _5] = np.int32(z)
            filled += run + _3
            step = _6
            while slot < filled:
                value = picked(word_at(at), low_part, high_part, by)
                dx, dy, dz = split(value, radix, radix, reciprocal, reciprocal)
                at += width
                x += dx - half
                y += dy - half
                z += dz - half
                grid[slot] = np.int32(x)
                grid[slot + _1] = np.int32(y)
                grid[slot + _2] = np.int32(z)
                slot += step
                step = _3
        width = next_width
    return _ending(at, end, stop < room)


@njit(nogil=True, cache=True, error_model="numpy")
def _ending(at, end, goes_on):  # type: ignore[no-untyped-def]
    """Tell whether a stream ends where its last particle does; a writer may count the filling to four bytes."""
    if at > end:
        return SHORT
    return LONG if end - at >= _32 and not goes_on else SOUND


@njit(nogil=True, cache=True, error_model="numpy")
def _general(address, count, low, size, bits, width, grid, stop):  # type: ignore[no-untyped-def]
    """Unpack triples of any width, coordinate by coordinate where `bits` is 0."""
    low_x, low_y, low_z = np.uint64(low[0]), np.uint64(low[1]), np.uint64(low[2])
    bits_x, bits_y, bits_z = bit_width(size[0]), bit_width(size[1]), bit_width(size[2])
    reciprocal_y, reciprocal_z = _ONES // size[1] + _1, _ONES // size[2] + _1
    end = np.uint64(8 * count)
    room = np.uint64(grid.shape[0])
    at = _0
    filled = _0
    run = _0
    while filled < stop:
        if at >= end:
            return SHORT
        if bits == _0:
            x = bit_field(address, at, bits_x)
            y = bit_field(address, at + bits_x, bits_y)
            z = bit_field(address, at + bits_x + bits_y, bits_z)
            at += bits_x + bits_y + bits_z
        elif bits <= _57:
            pair, z = divide(packed_field(address, at, bits), size[2], reciprocal_z)
            x, y = divide(pair, size[1], reciprocal_y)
            at += bits
        else:
            x, y, z = split_wide(address, at, bits, size[1], size[2])
            at += bits
        x += low_x
        y += low_y
        z += low_z
        flags = bit_field(address, at, _6)
        change = 0
        at += _1
        if flags & _32:
            at += _5
            run = flags & _31
            change = int(run % _3) - 1
            run -= run % _3
        if room - filled < run + _3:
            return OVERRUN
        if run > _0 and width > LAST:
            return WIDTH
        # The first difference is written before the particle that it is counted from.
        place = filled + _3 if run > _0 else filled
        grid[place] = np.int32(x)
        grid[place + _1] = np.int32(y)
        grid[place + _2] = np.int32(z)
        slot = filled
        for k in range(run // _3):
            radix, reciprocal, packed = RADIX[width], _RECIPROCAL[width], np.uint64(width)
            if packed <= _48:  # then value * radix <= 2^64
                dx, dy, dz = split(packed_field(address, at, packed), radix, radix, reciprocal, reciprocal)
            else:
                dx, dy, dz = split_wide(address, at, packed, radix, radix)
            at += packed
            x += dx - (radix >> _1)
            y += dy - (radix >> _1)
            z += dz - (radix >> _1)
            grid[slot] = np.int32(x)
            grid[slot + _1] = np.int32(y)
            grid[slot + _2] = np.int32(z)
            slot += _6 if k == 0 else _3
        filled += run + _3
        width += change
        if width < FIRST or width > LAST + 1:
            return WIDTH
    return _ending(at, end, stop < room)
