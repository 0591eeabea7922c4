"""How forces depend on the coefficients of potentials that are cubic B-splines: the design matrix of a frame.

A curve has evenly spaced knots low + m · step, m = 0 … intervals, and a B-spline around each knot and one beyond either
end: intervals + 3 columns. In interval m the columns m … m + 3 are not zero. Vectors along bonds are those of
`forces_bonded`, whose forces these are when the curves are tables.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cgstore.kernels.verlet import Exclusions, near, wrap

__all__ = ["Curves", "pair_design", "term_design"]

Float = NDArray[np.floating[Any]]

_LINE = 1e-14  # square of the sine of an angle below which three atoms are in a line
_DEGREE = 180.0 / math.pi


class Curves(NamedTuple):
    """The knots of curves, and the first column of each."""

    first: NDArray[np.int64]  # (curve,)
    low: Float  # (curve,) nm or degrees
    step: Float  # (curve,)
    intervals: NDArray[np.int64]  # (curve,)


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _values(t):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Return the four B-splines at a place 0..1 of their interval."""
    s = 1.0 - t
    return (
        s * s * s / 6.0,
        (3.0 * t - 6.0) * t * t / 6.0 + 2.0 / 3.0,
        (3.0 * s - 6.0) * s * s / 6.0 + 2.0 / 3.0,
        t**3 / 6.0,
    )


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _slopes(t):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Return the derivatives of the four B-splines, times the step."""
    s = 1.0 - t
    return -0.5 * s * s, (1.5 * t - 2.0) * t, (2.0 - 1.5 * s) * s, 0.5 * t * t


@njit(nogil=True, cache=True, error_model="numpy")
def pair_design(
    curves: Curves,
    curve: NDArray[np.int64],
    kind: NDArray[np.int64],
    exclusions: Exclusions,
    position: Float,
    box: Float,
    cutoff: float,
    design: Float,
    count: NDArray[np.int64],
) -> None:
    """Add what pairs contribute.

    Parameters
    ----------
    curve : (type, type) the curve of a pair of types, -1 for none; kind : (particle,) the type
    position : (particle, xyz) nm; box : (box_vector, xyz) nm, every height at least twice the cutoff
    design : (particle, xyz, column); count : (column,) of pairs, at the first column of their interval
    """
    inverse = np.linalg.inv(box)
    inside = position.copy()
    wrap(inside, box, inverse)
    found = near(inside, box, inverse, cutoff, exclusions, 64 * position.shape[0])
    d = np.empty(3)
    for i in range(position.shape[0]):
        for p in range(found.start[i], found.start[i + 1]):
            j, c = found.partner[p], found.code[p]
            k = curve[kind[i], kind[j]]
            if k < 0:
                continue
            square = 0.0
            for x in range(3):
                d[x] = inside[i, x] - inside[j, x] + found.shift[c, x]
                square += d[x] * d[x]
            r = math.sqrt(square)
            place = r / curves.step[k]
            m = int(place)
            if m >= curves.intervals[k] or r == 0.0:
                continue
            column = curves.first[k] + m
            count[column] += 1
            slopes = _slopes(place - m)
            for b in range(4):
                size = -slopes[b] / (curves.step[k] * r)
                for x in range(3):
                    design[i, x, column + b] += size * d[x]
                    design[j, x, column + b] -= size * d[x]


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _cross(a, b):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Return a × b."""
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _dot(a, b):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Return a · b."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _set(row, size, v):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Add size v to a row."""
    row[0] += size * v[0]
    row[1] += size * v[1]
    row[2] += size * v[2]


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _arrow(position, box, inverse, i, j):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Return the vector from i to the nearest image of j."""
    x, y, z = position[j, 0] - position[i, 0], position[j, 1] - position[i, 1], position[j, 2] - position[i, 2]
    a = np.rint(x * inverse[0, 0] + y * inverse[1, 0] + z * inverse[2, 0])
    b = np.rint(x * inverse[0, 1] + y * inverse[1, 1] + z * inverse[2, 1])
    c = np.rint(x * inverse[0, 2] + y * inverse[1, 2] + z * inverse[2, 2])
    x -= a * box[0, 0] + b * box[1, 0] + c * box[2, 0]
    y -= a * box[0, 1] + b * box[1, 1] + c * box[2, 1]
    z -= a * box[0, 2] + b * box[1, 2] + c * box[2, 2]
    return x, y, z


@njit(nogil=True, cache=True, error_model="numpy")
def _angle(a, b, gradient):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Return the angle between a and −b in degrees and set its gradient along the arrows."""
    m = _cross(a, b)
    aa, bb, mm = _dot(a, a), _dot(b, b), _dot(m, m)
    sine = math.sqrt(mm)
    if not mm <= _LINE * aa * bb:
        _set(gradient[0], -_DEGREE / (aa * sine), _cross(a, m))
        _set(gradient[1], _DEGREE / (bb * sine), _cross(b, m))
    return _DEGREE * math.atan2(sine, -_dot(a, b))


@njit(nogil=True, cache=True, error_model="numpy")
def _part(square, fade):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Return how much of a dihedral is left at the square of a sine, and the slope of that."""
    width = fade[1] - fade[0]
    if width <= 0.0 or square >= fade[1]:
        return 1.0, 0.0
    x = (square - fade[0]) / width
    return x * x * (3.0 - 2.0 * x), 6.0 * x * (1.0 - x) / width


@njit(nogil=True, cache=True, error_model="numpy")
def _dihedral(a, b, c, fade, gradient, fading):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Return a dihedral in degrees and what is left of it, and set the gradients of both along the arrows."""
    m, n = _cross(a, b), _cross(b, c)
    aa, bb, cc, mm, nn = _dot(a, a), _dot(b, b), _dot(c, c), _dot(m, m), _dot(n, n)
    gone = max(fade[0], _LINE)
    if mm <= gone * aa * bb or nn <= gone * bb * cc:
        return 0.0, 0.0
    length = math.sqrt(bb)
    first, last = _DEGREE / mm, _DEGREE / nn
    _set(gradient[0], first * length, m)
    _set(gradient[1], -first * _dot(a, b) / length, m)
    _set(gradient[1], -last * _dot(b, c) / length, n)
    _set(gradient[2], last * length, n)
    left, left_slope = _part(mm / (aa * bb), fade)
    right, right_slope = _part(nn / (bb * cc), fade)
    pull = 2.0 * left_slope * right
    _set(fading[0], pull / (aa * bb), _cross(b, m))
    _set(fading[0], -pull * mm / (aa * aa * bb), a)
    _set(fading[1], pull / (aa * bb), _cross(m, a))
    _set(fading[1], -pull * mm / (aa * bb * bb), b)
    pull = 2.0 * left * right_slope
    _set(fading[1], pull / (bb * cc), _cross(c, n))
    _set(fading[1], -pull * nn / (bb * bb * cc), b)
    _set(fading[2], pull / (bb * cc), _cross(n, b))
    _set(fading[2], -pull * nn / (bb * cc * cc), c)
    return _DEGREE * math.atan2(length * _dot(a, n), _dot(m, n)), left * right


@njit(nogil=True, cache=True, error_model="numpy")
def term_design(
    curves: Curves,
    curve: NDArray[np.int64],
    ends: NDArray[np.int32],
    fade: Float,
    position: Float,
    box: Float,
    design: Float,
    count: NDArray[np.int64],
) -> int:
    """Add what bonds, angles or dihedrals contribute; return the first bond that is off its curve, or -1.

    Parameters
    ----------
    curve : (term,) the curve of each; ends : (term, 2 to 4) particles
    fade : (2,) squares of the sines below which a dihedral has faded, and from which on it has not begun to
    position, box, design, count : as in `pair_design`
    """
    arrows = ends.shape[1] - 1
    inverse = np.linalg.inv(box)
    gradient, fading = np.zeros((3, 3)), np.zeros((3, 3))
    for t in range(ends.shape[0]):
        gradient[:] = 0.0
        fading[:] = 0.0
        k, part = curve[t], 1.0
        a = _arrow(position, box, inverse, ends[t, 0], ends[t, 1])
        if arrows == 1:
            place = math.sqrt(_dot(a, a))
            if place > 0.0:
                _set(gradient[0], 1.0 / place, a)
        else:
            b = _arrow(position, box, inverse, ends[t, 1], ends[t, 2])
            if arrows == 2:
                place = _angle(a, b, gradient)
            else:
                c = _arrow(position, box, inverse, ends[t, 2], ends[t, 3])
                place, part = _dihedral(a, b, c, fade, gradient, fading)
                if part == 0.0:
                    continue
        s = (place - curves.low[k]) / curves.step[k]
        m = min(max(int(s), 0), curves.intervals[k] - 1)
        if s < 0.0 or s > curves.intervals[k]:
            return t
        column = curves.first[k] + m
        count[column] += 1
        values, slopes = _values(s - m), _slopes(s - m)
        for n in range(arrows):
            i, j = ends[t, n], ends[t, n + 1]
            for x in range(3):
                for e in range(4):
                    pull = part * slopes[e] / curves.step[k] * gradient[n, x] + values[e] * fading[n, x]
                    design[i, x, column + e] += pull
                    design[j, x, column + e] -= pull
                if part < 1.0:  # what is left of a dihedral is its energy above the mean of the curve
                    level = fading[n, x] / curves.intervals[k]
                    for e in range(1, curves.intervals[k] + 1):
                        design[i, x, curves.first[k] + e] -= level
                        design[j, x, curves.first[k] + e] += level
    return -1
