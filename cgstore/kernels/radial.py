"""Radial functions of columns of distances, a Gaussian times a cutoff function, and their derivatives, in float32.

Columns are treated eight or sixteen distances at once. Exponentials are polynomials right to two units of the last
place: they vectorise where calls do not.
"""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["EXACT", "FAST", "LANES", "exponential", "set_cut", "set_function", "total"]

Single = NDArray[np.float32]

LANES = 16  # distances at a time

# No reassociation where rounding is done by adding and subtracting a large number.
EXACT = {"nnan", "ninf", "nsz", "contract", "arcp"}
FAST = EXACT | {"reassoc"}

_ONE, _TWO = np.float32(1.0), np.float32(2.0)
_LOG2E = np.float32(math.log2(math.e))
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)  # their sum is ln 2
_ROUND = np.float32(12582912.0)  # 1.5 · 2²³: adding and subtracting it rounds to the nearest integer
_LEAST = np.float32(-87.0)
_BIAS, _MANTISSA = np.int32(127), np.int32(23)
_E2, _E3, _E4, _E5, _E6 = (np.float32(1.0 / math.factorial(n)) for n in range(2, 7))
_HALF_PI = np.float32(math.pi / 2.0)
_S3, _S5, _S7, _S9, _S11 = (np.float32((-1.0) ** (n // 2) / math.factorial(n)) for n in range(3, 12, 2))
_C2, _C4, _C6, _C8, _C10, _C12 = (np.float32((-1.0) ** (n // 2) / math.factorial(n)) for n in range(2, 13, 2))


@njit(nogil=True, cache=True, error_model="numpy", fastmath=EXACT)
def exponential(x: np.float32) -> np.float32:
    """Return eˣ for x up to 88."""
    x = max(x, _LEAST)
    n = (x * _LOG2E + _ROUND) - _ROUND
    f = x - n * _LN2_HIGH - n * _LN2_LOW
    value = _ONE + f * (_ONE + f * (_E2 + f * (_E3 + f * (_E4 + f * (_E5 + f * _E6)))))
    power = (np.int32(n) + _BIAS) << _MANTISSA
    return value * np.int32(power).view(np.float32)


@njit(nogil=True, cache=True, error_model="numpy", fastmath=FAST)
def set_cut(square: Single, cutoff: np.float32, r: Single, inverse: Single, cut: Single, slope: Single) -> None:
    """Set r, 1/r, the cutoff function ½ (cos(π r / cutoff) + 1) = cos²(π r / 2 cutoff), and its derivative."""
    scale = _HALF_PI / cutoff
    for p in range(square.shape[0]):
        one = math.sqrt(max(square[p], np.float32(1e-12)))
        r[p] = one
        inverse[p] = _ONE / one
        x = min(one * scale, _HALF_PI)
        u = x * x
        c = _ONE + u * (_C2 + u * (_C4 + u * (_C6 + u * (_C8 + u * (_C10 + u * _C12)))))
        s = x * (_ONE + u * (_S3 + u * (_S5 + u * (_S7 + u * (_S9 + u * _S11)))))
        cut[p] = c * c
        slope[p] = -_TWO * scale * c * s


@njit(nogil=True, cache=True, error_model="numpy", fastmath=FAST)
def set_function(
    r: Single,
    inverse: Single,
    cut: Single,
    slope: Single,
    eta: np.float32,
    shift: np.float32,
    phi: Single,
    dphi: Single,
) -> None:
    """Set one radial function and its derivative over r."""
    for p in range(r.shape[0]):
        x = r[p] - shift
        e = exponential(-eta * x * x)
        phi[p] = e * cut[p]
        dphi[p] = e * (slope[p] - _TWO * eta * x * cut[p]) * inverse[p]


@njit(nogil=True, cache=True, error_model="numpy", fastmath=FAST)
def total(column: Single) -> np.float32:
    """Return the sum of a column."""
    found = np.float32(0.0)
    for p in range(column.shape[0]):
        found += column[p]
    return found
