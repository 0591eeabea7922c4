"""XTC frames (XDR, GROMACS `3dfcoord`): where they lie in the bytes of a file, and their positions.

A frame is a big-endian header (magic, particles, step, time, box, particles again) and the positions: raw floats for
at most nine particles, otherwise the bit stream of integers on a grid that `xtc_stream` unpacks.

Bytes are never trusted. Whatever they hold, `decode` reads only inside `data` (a frame must be followed by
`PADDING` bytes that can be read), writes only inside `position`, ends, and reports a code of `REASONS`.
Output is bit-identical to xdrfile: float32(integer) * (float32(1) / precision).
"""

import numpy as np
from numba import njit

from cgstore.kernels.bits import int32_at, load
from cgstore.kernels.xtc_stream import PADDING, SOUND, unpack

__all__ = [
    "ENDED",
    "HEADER",
    "MORE",
    "PADDING",
    "REASONS",
    "TRUNCATED",
    "UNREADABLE",
    "codes",
    "decode",
    "decode_beginning",
    "headers",
]

HEADER = 96  # bytes; the longest header, that of magic 2023

# Why `headers` stopped.
MORE, ENDED, TRUNCATED, UNREADABLE = 0, 1, 2, 3

# Why `decode` refused a frame; 0 is a good one, and the first ones are those of `unpack`.
REASONS = (
    "sound",
    "its bit stream ends too early",
    "its bit stream has no valid width of differences",
    "its bit stream holds more particles than the frame",
    "its bit stream goes on after the last particle",
    "its header contradicts itself",
    "it has another number of particles",
    "its precision or range of coordinates is impossible",
    "it lies outside the data",
    "it has coordinates outside its own range",
    "it has coordinates that are not finite",
    "its positions are not packed with the precision that was asked for",
)
_HEADER, _PARTICLES, _RANGE, _BEYOND, _OUTSIDE, _INFINITE, _PRECISION = range(5, 12)


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
def headers(window, start, size, numbers, reals):  # type: ignore[no-untyped-def]
    """List the frames whose headers lie in a window of a file.

    Parameters
    ----------
    window : (byte,) uint8; the bytes of the file from `start` on (fewer near its end), then `PADDING` bytes more
    start : where the window begins in the file; a frame must begin there
    size : bytes of the file
    numbers : (slot, 4) int64, written: where a complete frame begins in the file, its bytes, particles and step
    reals : (slot, 11) float32, written: time in ps, the nine numbers of the box in nm, and grid points per nm (0 where
        positions are not packed)

    Returns
    -------
    count : frames found
    position : where in the file the next frame begins
    why : MORE (a new window must start at `position`, or the slots are full), ENDED (the file ends there),
        TRUNCATED (the file ends in the middle of that frame) or UNREADABLE (no XTC frame begins at it)

    Examples
    --------
    >>> headers(np.zeros(PADDING, np.uint8), 0, 0, np.empty((1, 4), np.int64), np.empty((1, 11), np.float32))
    (0, 0, 1)
    """
    base = np.uint64(window.ctypes.data)
    inside = window.shape[0] - PADDING
    word = np.empty(1, np.int32)
    real = word.view(np.float32)
    at = 0
    for slot in range(numbers.shape[0]):
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
        numbers[slot, 0] = start + at
        numbers[slot, 1] = total
        numbers[slot, 2] = int32_at(address + np.uint64(4))
        numbers[slot, 3] = int32_at(address + np.uint64(8))
        for k in range(11):
            word[0] = int32_at(address + np.uint64(12 + 4 * k if k < 10 else 56))
            reals[slot, k] = real[0]
        if first == 56:
            reals[slot, 10] = 0.0
        at += total
    return numbers.shape[0], start + at, MORE


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
    return _frames(data, offset, length, position.view(np.int32), np.float32(0.0), position.shape[1])


@njit(nogil=True, cache=True, error_model="numpy")
def decode_beginning(data, offset, length, particles, position):  # type: ignore[no-untyped-def]
    """Decode the positions of the first particles of frames; what lies behind them is not looked at.

    Parameters
    ----------
    data, offset, length : as for `decode`
    particles : of each frame
    position : (frame, wanted particle, 3) float32 nm, C-contiguous, written

    Returns
    -------
    (frame,) int64 : as for `decode`
    """
    return _frames(data, offset, length, position.view(np.int32), np.float32(0.0), particles)


@njit(nogil=True, cache=True, error_model="numpy")
def codes(data, offset, length, precision, grid):  # type: ignore[no-untyped-def]
    """Decode the integers of frames, which are positions times the precision.

    Parameters
    ----------
    data, offset, length : as for `decode`
    precision : float32, grid points per nm; frames with another one are refused, and those that are not packed
    grid : (frame, particle, 3) int32, C-contiguous, written

    Returns
    -------
    (frame,) int64 : as for `decode`
    """
    return _frames(data, offset, length, grid, precision, grid.shape[1])


@njit(nogil=True, cache=True, error_model="numpy")
def _frames(data, offset, length, grid, precision, particles):  # type: ignore[no-untyped-def]
    """Decode frames: the integers when a precision is given, otherwise the bits of float32 nm, in the same place."""
    frames, wanted = grid.shape[0], grid.shape[1]
    status = np.empty(frames, np.int64)
    if wanted > particles:
        status[:] = _PARTICLES
        return status
    # The beginning of a frame is unpacked beside, because its last group may have more particles than are wanted.
    beside = np.empty(3 * min(particles, wanted + 10) if wanted < particles else 0, np.int32)
    base = np.uint64(data.ctypes.data)
    inside = data.shape[0] - PADDING
    for frame in range(frames):
        if offset[frame] < 0 or length[frame] < 0 or offset[frame] > inside - length[frame]:
            status[frame] = _BEYOND
            continue
        address = base + np.uint64(offset[frame])
        first, count, total = _frame(address, length[frame])
        if first <= 0 or total != length[frame]:
            status[frame] = _HEADER
        elif int32_at(address + np.uint64(4)) != particles:
            status[frame] = _PARTICLES
        elif particles > 9:
            here = grid[frame].reshape(-1)
            room = here if wanted == particles else beside
            status[frame] = _compressed(address, np.uint64(first), count, precision, room, here)
        else:
            status[frame] = _PRECISION if precision else _raw(address + np.uint64(first), grid[frame].reshape(-1))
    return status


@njit(nogil=True, cache=True, error_model="numpy")
def _raw(address, grid):  # type: ignore[no-untyped-def]
    """Copy the floats of a small frame, as bits."""
    exponent = np.int32(0x7F800000)
    for k in range(grid.shape[0]):
        grid[k] = np.int32(int32_at(address + np.uint64(4 * k)))
        if grid[k] & exponent == exponent:
            return _INFINITE
    return SOUND


@njit(nogil=True, cache=True, error_model="numpy")
def _compressed(address, first, count, wanted, room, grid):  # type: ignore[no-untyped-def]
    """Unpack one frame and check its integers; make them the bits of float32 nm unless a precision is wanted.

    `room` is the grid, or has room for what is unpacked with the last particle of the grid.
    """
    word = np.empty(1, np.int32)
    word[0] = int32_at(address + np.uint64(56))
    precision = word.view(np.float32)[0]
    if wanted and precision != wanted:
        return _PRECISION
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
    stop = grid.shape[0]
    status = unpack(address + first, count, low, high, width, room, stop)
    if room.shape[0] > stop:
        grid[:] = room[:stop]
    if status == SOUND and _outside(grid, low, high):
        status = _OUTSIDE
    if not wanted:
        _to_nm(grid, inverse)
    return status


@njit(nogil=True, cache=True, error_model="numpy")
def _outside(grid, low, high):  # type: ignore[no-untyped-def]
    """Tell whether any integer is outside its range.

    Branch-free int32 arithmetic, which vectorises. The sign bit of either difference tells: as high - low < 2^31, they
    cannot both overflow in such a way that both signs look right.
    """
    low_x, low_y, low_z = np.int32(low[0]), np.int32(low[1]), np.int32(low[2])
    high_x, high_y, high_z = np.int32(high[0]), np.int32(high[1]), np.int32(high[2])
    outside = np.int32(0)
    for particle in range(grid.shape[0] // 3):
        x, y, z = grid[3 * particle], grid[3 * particle + 1], grid[3 * particle + 2]
        outside |= np.int32(x - low_x) | np.int32(high_x - x)
        outside |= np.int32(y - low_y) | np.int32(high_y - y)
        outside |= np.int32(z - low_z) | np.int32(high_z - z)
    return outside < 0


@njit(nogil=True, cache=True, error_model="numpy")
def _to_nm(grid, inverse):  # type: ignore[no-untyped-def]
    """Replace integers by the bits of float32 nm: in place, so that a frame is in the cache once."""
    for k in range(grid.shape[0]):
        grid[k] = np.float32(np.float32(grid[k]) * inverse).view(np.int32)
