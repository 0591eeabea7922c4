"""XTC frames (XDR, GROMACS `3dfcoord`): where they lie in the bytes of a file, and their positions.

A frame is a big-endian header (magic, particles, step, time, box, particles again) and the positions: raw floats for
at most nine particles, otherwise integers on a grid, bit-packed in the way of Green, van Hoesel and Lindahl's
`xdrf`. An integer triple (x, y, z) is stored as the mixed-radix number (x * size_y + y) * size_z + z; runs of up to
ten particles near the one before them are stored as small differences, and the first of a run changes places with
the particle before it (an oxygen after its hydrogen costs less).

Bytes are never trusted. Whatever they hold, `decode` reads only inside `data` (a frame must be followed by
`PADDING` bytes that can be read, see there), writes only inside `position`, ends, and reports a code of `REASONS`.
Output is bit-identical to xdrfile: float32(integer) * (float32(1) / precision).
"""

import numpy as np
from numba import njit

from cgstore.kernels.bits import (
    bit_field,
    bit_width,
    divide,
    int32_at,
    load,
    packed_field,
    product_width,
    split,
    split_wide,
)

__all__ = ["ENDED", "HEADER", "MORE", "PADDING", "REASONS", "TRUNCATED", "UNREADABLE", "decode", "headers"]

# The decoder looks at its bounds once per group of particles: a group has at most 96 + 6 + 10 * 72 bits, 103 bytes,
# and a load at its end takes 8 bytes more.
PADDING = 128
HEADER = 96  # bytes; the longest header, that of magic 2023

# Why `headers` stopped.
MORE, ENDED, TRUNCATED, UNREADABLE = 0, 1, 2, 3

# Why `decode` refused a frame; 0 is a good one.
REASONS = (
    "sound",
    "its header contradicts itself",
    "it has another number of particles",
    "its precision or range of coordinates is impossible",
    "its bit stream ends too early",
    "its bit stream has no valid width of differences",
    "its bit stream holds more particles than the frame",
    "its bit stream goes on after the last particle",
    "it has coordinates outside its own range",
    "it has coordinates that are not finite",
)
_SOUND, _HEADER, _PARTICLES, _RANGE, _SHORT, _WIDTH, _OVERRUN, _LONG, _OUTSIDE, _INFINITE = range(10)

_FIRST = 9  # the narrowest width of a difference triple
# Element k is the radix of differences of which a triple has k bits: about 2^(k/3), rounded as GROMACS has it.
_RADIX = np.array(
    [0] * 9
    + [8, 10, 12, 16, 20, 25, 32, 40, 50, 64, 80, 101, 128, 161, 203, 256, 322, 406, 512, 645, 812, 1024, 1290]
    + [1625, 2048, 2580, 3250, 4096, 5060, 6501, 8192, 10321, 13003, 16384, 20642, 26007, 32768, 41285, 52015]
    + [65536, 82570, 104031, 131072, 165140, 208063, 262144, 330280, 416127, 524287, 660561, 832255, 1048576]
    + [1321122, 1664510, 2097152, 2642245, 3329021, 4194304, 5284491, 6658042, 8388607, 10568983, 13316085]
    + [16777216],
    np.uint64,
)
_LAST = len(_RADIX) - 1
_ONES = np.uint64(0xFFFFFFFFFFFFFFFF)
_RECIPROCAL = _ONES // np.maximum(_RADIX, np.uint64(1)) + np.uint64(1)

_0, _1, _2, _3, _4, _5, _6 = (np.uint64(k) for k in range(7))
_31, _32, _48, _57, _64 = (np.uint64(k) for k in (31, 32, 48, 57, 64))


@njit(nogil=True, cache=True, error_model="numpy")
def _frame(address, available):  # type: ignore[no-untyped-def]
    """Return (where the positions start, their bytes, bytes of the frame); a negative start when it is no frame.

    `available` bytes can be read; a header longer than that gives start 0. At least `HEADER` + 8 bytes must be
    readable without a fault.
    """
    if available < 56:
        return 0, 0, 0
    magic = int32_at(address)
    particles = int32_at(address + np.uint64(4))
    if (magic != 1995 and magic != 2023) or particles < 1 or int32_at(address + np.uint64(52)) != particles:
        return -1, 0, 0
    if particles <= 9:
        return 56, 12 * particles, 56 + 12 * particles
    start = 92 if magic == 1995 else 96
    if available < start:
        return 0, 0, 0
    count = int32_at(address + np.uint64(88))
    if magic == 2023:
        count = np.int64(load(address + np.uint64(88)))
    # No particle takes less than two bits: this bounds what a damaged header can make us allocate. (2^40: no overflow.)
    if count < 1 or count > (1 << 40) or 2 * particles > 8 * count:
        return -1, 0, 0
    return start, count, start + (count + 3) // 4 * 4


@njit(nogil=True, cache=True, error_model="numpy")
def headers(window, start, size, offset, length, particles, step, time, box):  # type: ignore[no-untyped-def]
    """List the frames whose headers lie in a window of a file.

    Parameters
    ----------
    window : (byte,) uint8; the bytes of the file from `start` on (fewer near its end), then `PADDING` bytes more
    start : where the window begins in the file; a frame must begin there
    size : bytes of the file
    offset, length, particles, step : (slot,) int64, written: one entry per complete frame, offset in the file
    time : (slot,) float32 ps, written
    box : (slot, 9) float32 nm, written

    Returns
    -------
    count : frames found
    position : where in the file the next frame begins
    why : MORE (a new window must start at `position`, or the slots are full), ENDED (the file ends there),
        TRUNCATED (the file ends in the middle of that frame) or UNREADABLE (no XTC frame begins there)

    Examples
    --------
    >>> nothing = np.zeros(PADDING, np.uint8)
    >>> slots = [np.empty(1, np.int64) for _ in range(4)]
    >>> headers(nothing, 0, 0, *slots, np.empty(1, np.float32), np.empty((1, 9), np.float32)) == (0, 0, ENDED)
    True
    """
    base = np.uint64(window.ctypes.data)
    inside = window.shape[0] - PADDING
    word = np.empty(1, np.int32)
    real = word.view(np.float32)
    at = 0
    for slot in range(offset.shape[0]):
        left = size - start - at
        if left <= 0:
            return slot, start + at, ENDED
        if inside - at < min(left, HEADER):
            return slot, start + at, MORE
        address = base + np.uint64(at)
        first, _, total = _frame(address, left)
        if first < 0:
            return slot, start + at, UNREADABLE
        if first == 0 or total > left:
            return slot, start + at, TRUNCATED
        offset[slot] = start + at
        length[slot] = total
        particles[slot] = int32_at(address + np.uint64(4))
        step[slot] = int32_at(address + np.uint64(8))
        for k in range(10):
            word[0] = int32_at(address + np.uint64(12 + 4 * k))
            if k == 0:
                time[slot] = real[0]
            else:
                box[slot, k - 1] = real[0]
        at += total
    return offset.shape[0], start + at, MORE


@njit(nogil=True, cache=True, error_model="numpy")
def decode(data, offset, length, position):  # type: ignore[no-untyped-def]
    """Decode the positions of frames.

    Parameters
    ----------
    data : (byte,) uint8; frames, and `PADDING` bytes after the last one
    offset, length : (frame,) int64; where each frame begins in `data` and how many bytes it has
    position : (frame, particle, 3) float32 nm, C-contiguous, written

    Returns
    -------
    (frame,) int64 : 0 for a good frame, otherwise why it was refused: an index into `REASONS`; the positions of a
        refused frame are meaningless

    Examples
    --------
    A frame of one particle is not packed: magic, particles, step, time, box, particles, three floats.

    >>> head = np.array([1995, 1, 0], ">i4").tobytes() + np.zeros(10, ">f4").tobytes() + np.array(1, ">i4").tobytes()
    >>> frame = head + np.array([0.5, 1.5, -2.0], ">f4").tobytes()
    >>> data = np.frombuffer(frame + bytes(PADDING), np.uint8)
    >>> out = np.empty((1, 1, 3), np.float32)
    >>> decode(data, np.array([0]), np.array([len(frame)]), out).tolist(), out.tolist()
    ([0], [[[0.5, 1.5, -2.0]]])
    """
    frames, particles = position.shape[0], position.shape[1]
    status = np.empty(frames, np.int64)
    grid = np.empty(3 * particles, np.int32)
    base = np.uint64(data.ctypes.data)
    inside = data.shape[0] - PADDING
    for frame in range(frames):
        if offset[frame] < 0 or length[frame] < 0 or offset[frame] > inside - length[frame]:
            status[frame] = _SHORT
            continue
        address = base + np.uint64(offset[frame])
        first, count, total = _frame(address, length[frame])
        if first <= 0 or total != length[frame]:
            status[frame] = _HEADER
        elif int32_at(address + np.uint64(4)) != particles:
            status[frame] = _PARTICLES
        elif particles <= 9:
            status[frame] = _raw(address + np.uint64(first), position[frame])
        else:
            status[frame] = _compressed(address, np.uint64(first), count, grid, position[frame])
    return status


@njit(nogil=True, cache=True, error_model="numpy")
def _raw(address, position):  # type: ignore[no-untyped-def]
    """Read the floats of a small frame."""
    word = np.empty(1, np.int32)
    real = word.view(np.float32)
    for particle in range(position.shape[0]):
        for k in range(3):
            word[0] = int32_at(address + np.uint64(12 * particle + 4 * k))
            position[particle, k] = real[0]
            if not np.isfinite(real[0]):
                return _INFINITE
    return _SOUND


@njit(nogil=True, cache=True, error_model="numpy")
def _compressed(address, first, count, grid, position):  # type: ignore[no-untyped-def]
    """Unpack one frame: its integers into `grid`, from there to nm."""
    word = np.empty(1, np.int32)
    word[0] = int32_at(address + np.uint64(56))
    precision = word.view(np.float32)[0]
    inverse = np.float32(1.0) / precision
    low = np.empty(3, np.int64)
    high = np.empty(3, np.int64)
    largest = np.float32(0.0)
    for k in range(3):
        low[k] = int32_at(address + np.uint64(60 + 4 * k))
        high[k] = int32_at(address + np.uint64(72 + 4 * k))
        if low[k] > high[k] or high[k] - low[k] >= 1 << 31:
            return _RANGE
        largest = max(largest, np.float32(max(abs(low[k]), abs(high[k]))))
    if not (inverse > 0 and np.isfinite(inverse * largest)):
        return _RANGE
    width = int32_at(address + np.uint64(84))
    status = _unpack(address + first, count, low, high, width, grid)
    if status != _SOUND:
        return status
    return _scale(grid, low, high, inverse, position.reshape(-1))


@njit(nogil=True, cache=True, error_model="numpy")
def _scale(grid, low, high, inverse, position):  # type: ignore[no-untyped-def]
    """Check integers against their range and write them in nm.

    Two passes of branch-free int32 and float32 arithmetic, which vectorise. The sign bit of either difference tells:
    as high - low < 2^31, they cannot both overflow in such a way that both signs look right.
    """
    low_x, low_y, low_z = np.int32(low[0]), np.int32(low[1]), np.int32(low[2])
    high_x, high_y, high_z = np.int32(high[0]), np.int32(high[1]), np.int32(high[2])
    outside = np.int32(0)
    for particle in range(len(grid) // 3):
        x, y, z = grid[3 * particle], grid[3 * particle + 1], grid[3 * particle + 2]
        outside |= np.int32(x - low_x) | np.int32(high_x - x)
        outside |= np.int32(y - low_y) | np.int32(high_y - y)
        outside |= np.int32(z - low_z) | np.int32(high_z - z)
    if outside < 0:
        return _OUTSIDE
    for k in range(len(grid)):
        position[k] = np.float32(grid[k]) * inverse
    return _SOUND


@njit(nogil=True, cache=True, error_model="numpy")
def _unpack(address, count, low, high, width, grid):  # type: ignore[no-untyped-def]
    """Unpack the bit stream of `count` bytes at an address into `grid`, x y z of each particle.

    Unsigned arithmetic throughout: it wraps where damaged bytes overflow it, and unsigned indices cost no test for
    negative ones.
    """
    size_x, size_y, size_z = (
        np.uint64(high[0] - low[0] + 1),
        np.uint64(high[1] - low[1] + 1),
        np.uint64(high[2] - low[2] + 1),
    )
    low_x, low_y, low_z = np.uint64(low[0]), np.uint64(low[1]), np.uint64(low[2])
    # Ranges of 2^24 and more are stored coordinate by coordinate.
    apart = (size_x | size_y | size_z) > np.uint64(0xFFFFFF)
    bits_x, bits_y, bits_z = bit_width(size_x), bit_width(size_y), bit_width(size_z)
    bits = bits_x + bits_y + bits_z if apart else product_width(size_x, size_y, size_z)
    largest = max(size_y, size_z)
    short = not apart and bits <= _57
    narrow = short and bits + bit_width(largest) <= _64 and min(size_y, size_z) > _1
    reciprocal_y, reciprocal_z = _ONES // size_y + _1, _ONES // size_z + _1
    if width < _FIRST or width > _LAST + 1:  # one more than the table has: no differences until it has shrunk
        return _WIDTH
    end = np.uint64(8 * count)
    wanted = np.uint64(grid.shape[0])
    at = _0
    filled = _0
    run = _0
    while filled < wanted:
        if at >= end:
            return _SHORT
        if narrow:
            x, y, z = split(packed_field(address, at, bits), size_y, size_z, reciprocal_y, reciprocal_z)
        elif short:  # boxes of 66 to 500 nm, flat systems
            pair, z = divide(packed_field(address, at, bits), size_z, reciprocal_z)
            x, y = divide(pair, size_y, reciprocal_y)
        elif apart:
            x = bit_field(address, at, bits_x)
            y = bit_field(address, at + bits_x, bits_y)
            z = bit_field(address, at + bits_x + bits_y, bits_z)
        else:
            x, y, z = split_wide(address, at, bits, size_y, size_z)
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
        if run == _0:
            grid[filled] = np.int32(x)
            grid[filled + _1] = np.int32(y)
            grid[filled + _2] = np.int32(z)
            filled += _3
        else:
            if wanted - filled < run + _3:
                return _OVERRUN
            if width > _LAST:
                return _WIDTH
            radix = _RADIX[width]
            reciprocal = _RECIPROCAL[width]
            half = radix >> _1
            packed = np.uint64(width)
            previous_x, previous_y, previous_z = x, y, z
            # The first difference is written before the particle that it is counted from.
            slot = filled
            for k in range(run // _3):
                if packed <= _48:  # then value * radix <= 2^64
                    dx, dy, dz = split(packed_field(address, at, packed), radix, radix, reciprocal, reciprocal)
                else:
                    dx, dy, dz = split_wide(address, at, packed, radix, radix)
                at += packed
                previous_x += dx - half
                previous_y += dy - half
                previous_z += dz - half
                grid[slot] = np.int32(previous_x)
                grid[slot + _1] = np.int32(previous_y)
                grid[slot + _2] = np.int32(previous_z)
                slot += _6 if k == 0 else _3
            grid[filled + _3] = np.int32(x)
            grid[filled + _4] = np.int32(y)
            grid[filled + _5] = np.int32(z)
            filled += run + _3
        width += change
        if width < _FIRST or width > _LAST + 1:
            return _WIDTH
    if at > end:
        return _SHORT
    # A writer that counts the filling to four bytes is right too.
    return _LONG if end - at >= np.uint64(32) else _SOUND
