"""Positions on a grid: float32 to integers and back, with the bits of the XTC decoders.

XTC readers give `int * float32(precision)`; dividing by the precision in float64 and rounding recovers that integer,
and one float32 multiplication gives the same bits again, for every integer up to `LARGEST_CODE`.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["LARGEST_CODE", "dequantise", "quantise"]

# Up to here neighbouring grid points are different float32 numbers that round back to their own integer: the two
# float32 roundings cost at most 2⁻²³ relative, so |code| · 2⁻²³ stays below one half.
LARGEST_CODE = 4_000_000


@njit(nogil=True, cache=True, error_model="numpy")
def quantise(
    position: NDArray[np.float32], precision: float, codes: NDArray[np.int32]
) -> tuple[int, int, float]:  # pragma: no cover - compiled
    """Round positions to multiples of the precision, in float64.

    Parameters
    ----------
    position : (frame, particle, xyz) float32 nm
    precision : grid spacing, nm
    codes : (frame, particle, xyz) int32, written

    Returns
    -------
    first frame with a NaN, an infinity or a coordinate beyond `LARGEST_CODE` grid steps, or -1
    largest |code| of the frames so far
    largest difference between a position and what `dequantise` will give, nm

    Examples
    --------
    >>> codes = np.empty((1, 1, 3), np.int32)
    >>> quantise(np.array([[[0.001, -1.25, 0.0]]], np.float32), 0.001, codes)
    (-1, 1250, 0.0)
    >>> codes[0, 0].tolist()
    [1, -1250, 0]
    """
    step = np.float32(precision)
    largest, worst = np.int32(0), np.int32(0)
    bits = np.zeros(1, np.int32)
    for frame in range(position.shape[0]):
        here, there = position[frame].reshape(-1), codes[frame].reshape(-1)
        outside = 0
        # No branches, and maxima of integers only: LLVM turns this into vector instructions, 6 times as fast. Bits of
        # positive float32 numbers are ordered as the numbers are.
        for i in range(here.size):
            x = here[i]
            rounded = np.rint(np.float64(x) / precision)
            inside = abs(rounded) <= LARGEST_CODE  # false for NaN too
            outside += not inside
            code = np.int32(rounded if inside else 0.0)
            there[i] = code
            largest = max(largest, abs(code))
            error = abs(np.float32(code) * step - x if inside else np.float32(0.0))
            worst = max(worst, np.float32(error).view(np.int32))
        bits[0] = worst
        if outside:
            return frame, int(largest), float(bits.view(np.float32)[0])
    return -1, int(largest), float(bits.view(np.float32)[0])


@njit(nogil=True, cache=True, error_model="numpy")
def dequantise(
    codes: NDArray[np.signedinteger], precision: np.float32, position: NDArray[np.float32]
) -> int:  # pragma: no cover - compiled
    """Multiply integers by the float32 precision and count the fill values (the smallest integer) among them.

    Parameters
    ----------
    codes : (n,) int16 or int32
    precision : float32, nm
    position : (n,) float32 nm, written

    Returns
    -------
    number of fill values, which stand for lost chunks

    Examples
    --------
    >>> position = np.empty(2, np.float32)
    >>> dequantise(np.array([1250, -32768], np.int16), np.float32(0.001), position), position[0].item()
    (1, 1.25)
    """
    fill = np.iinfo(codes.dtype).min
    lost = 0
    for i in range(codes.size):
        lost += codes[i] == fill
        position[i] = np.float32(codes[i]) * precision
    return lost
