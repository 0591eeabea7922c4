"""Forces of tabulated bonds, angles and dihedrals.

Every term is a function of the vectors along its bonds, its arrows, which terms share: a chain of n beads has n − 1 of
them and 3n − 6 terms. So nearest images are taken once per arrow; terms add the gradients with respect to arrows; and
forces and virial follow from these at the end, where action is reaction whatever the terms did.

Angles come from the arctangent of a cross and a dot product, exact at 0 and 180 degrees. There an angle has no
direction in which it grows: it has an energy and no force. A dihedral of three atoms in a line is not defined, and next
to a line its force grows as 1 / sin θ, which no time step survives for long. So a dihedral fades to its mean energy
where the sine of one of its angles gets small, smoothly, as a part of the potential: the energy is conserved.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cgstore.kernels.potentials import potential

__all__ = ["BondedTables"]

Float = NDArray[np.floating[Any]]
Index = NDArray[np.uint32]

_LINE = 1e-14  # square of the sine of an angle below which three atoms are in a line


class BondedTables(NamedTuple):
    """Bonds, angles and dihedrals, in this order; angles begin at term `begin[0]`, dihedrals at `begin[1]`."""

    arrow: Index  # (arrow, 2) particles
    term: Index  # (term, 3) arrows of a term, as many as it has: from its first particle to its last
    way: Float  # (term, 3) -1 where an arrow is walked backwards
    begin: Index  # (2,)
    curve: Index  # (term,)
    first: Index  # (curve,) its first row
    intervals: Index  # (curve,)
    low: Float  # (curve,) where its first interval begins, nm or rad
    scale: Float  # (curve,) intervals per nm or rad
    row: Float  # (row, 4) of an interval: coefficients of the cubic in its parameter 0..1, kJ/mol
    level: Float  # (curve,) the mean energy, to which a dihedral fades
    fade: Float  # (2,) squares of the sines below which a dihedral has faded, and from which on it has not begun to


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _look_up(arrays, k, x):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Return energy and dU/dx of a curve; beyond its ends it goes on linearly."""
    scale, last = arrays.scale[k], float(arrays.intervals[k])
    s = (x - arrays.low[k]) * scale
    inside = s if s < last else last
    inside = inside if inside >= 0.0 else 0.0  # also what is not a number
    m = min(np.uint32(inside), arrays.intervals[k] - np.uint32(1))
    t = inside - m
    row = arrays.row[arrays.first[k] + m]
    slope = row[1] + t * (2.0 * row[2] + t * 3.0 * row[3])
    return row[0] + t * (row[1] + t * (row[2] + t * row[3])) + slope * (s - inside), slope * scale


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _walk(arrays, vector, t, k):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Return arrow k of term t as it is walked."""
    a, way = vector[arrays.term[t, k]], arrays.way[t, k]
    return way * a[0], way * a[1], way * a[2]


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _pull(arrays, gradient, t, k, size, v):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Add size v to the gradient of arrow k of term t as it is walked."""
    g, size = gradient[arrays.term[t, k]], size * arrays.way[t, k]
    g[0] += size * v[0]
    g[1] += size * v[1]
    g[2] += size * v[2]


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _cross(a, b):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Return a × b."""
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _dot(a, b):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Return a · b."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@njit(nogil=True, cache=True, error_model="numpy")
def _arrows(arrays, position, box, inverse, vector):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Set the vectors along arrows (arrow, xyz), nearest images."""
    for n in range(vector.shape[0]):
        i, j = arrays.arrow[n, 0], arrays.arrow[n, 1]
        dx, dy, dz = position[j, 0] - position[i, 0], position[j, 1] - position[i, 1], position[j, 2] - position[i, 2]
        a = np.rint(dx * inverse[0, 0] + dy * inverse[1, 0] + dz * inverse[2, 0])
        b = np.rint(dx * inverse[0, 1] + dy * inverse[1, 1] + dz * inverse[2, 1])
        c = np.rint(dx * inverse[0, 2] + dy * inverse[1, 2] + dz * inverse[2, 2])
        vector[n, 0] = dx - (a * box[0, 0] + b * box[1, 0] + c * box[2, 0])
        vector[n, 1] = dy - (a * box[0, 1] + b * box[1, 1] + c * box[2, 1])
        vector[n, 2] = dz - (a * box[0, 2] + b * box[1, 2] + c * box[2, 2])


@njit(nogil=True, cache=True, error_model="numpy")
def _bonds(arrays, vector, gradient):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Add the gradients of bonds and return their energy."""
    energy = 0.0
    for t in range(arrays.begin[0]):
        a = _walk(arrays, vector, t, 0)
        r = math.sqrt(_dot(a, a))
        u, slope = _look_up(arrays, arrays.curve[t], r)
        energy += u
        if r > 0.0:
            _pull(arrays, gradient, t, 0, slope / r, a)
    return energy


@njit(nogil=True, cache=True, error_model="numpy")
def _angles(arrays, vector, gradient):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Add the gradients of angles and return their energy; the angle is the one between a and −b."""
    energy = 0.0
    for t in range(arrays.begin[0], arrays.begin[1]):
        a, b = _walk(arrays, vector, t, 0), _walk(arrays, vector, t, 1)
        m = _cross(a, b)
        aa, bb, mm = _dot(a, a), _dot(b, b), _dot(m, m)
        sine = math.sqrt(mm)
        u, slope = _look_up(arrays, arrays.curve[t], math.atan2(sine, -_dot(a, b)))
        energy += u
        if not mm <= _LINE * aa * bb:
            _pull(arrays, gradient, t, 0, -slope / (aa * sine), _cross(a, m))
            _pull(arrays, gradient, t, 1, slope / (bb * sine), _cross(b, m))
    return energy


@njit(nogil=True, cache=True, error_model="numpy")
def _dihedrals(arrays, vector, gradient):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Add the gradients of dihedrals and return their energy. Blondel & Karplus 1996, in terms of arrows.

    doi:10.1002/(SICI)1096-987X(19960715)17:9<1132::AID-JCC5>3.0.CO;2-T
    """
    energy = 0.0
    gone, begins = max(arrays.fade[0], _LINE), arrays.fade[1]
    for t in range(arrays.begin[1], arrays.term.shape[0]):
        a, b, c = _walk(arrays, vector, t, 0), _walk(arrays, vector, t, 1), _walk(arrays, vector, t, 2)
        m, n = _cross(a, b), _cross(b, c)
        bb, mm, nn = _dot(b, b), _dot(m, m), _dot(n, n)
        ab, bc = _dot(a, a) * bb, bb * _dot(c, c)
        if mm <= gone * ab or nn <= gone * bc:
            energy += arrays.level[arrays.curve[t]]
            continue
        length = math.sqrt(bb)
        u, slope = _look_up(arrays, arrays.curve[t], math.atan2(length * _dot(a, n), _dot(m, n)))
        if mm < begins * ab or nn < begins * bc:
            level = arrays.level[arrays.curve[t]]
            part = _fade(arrays, gradient, t, (a, b, c), (m, n), u - level)
            u, slope = level + part * (u - level), part * slope
        energy += u
        first, last = slope / mm, slope / nn
        _pull(arrays, gradient, t, 0, first * length, m)
        _pull(arrays, gradient, t, 1, -first * _dot(a, b) / length, m)
        _pull(arrays, gradient, t, 1, -last * _dot(b, c) / length, n)
        _pull(arrays, gradient, t, 2, last * length, n)
    return energy


@njit(nogil=True, cache=True, error_model="numpy")
def _step(arrays, square):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Return how much of a dihedral is left at the square of a sine, and the slope of that."""
    width = arrays.fade[1] - arrays.fade[0]
    x = (square - arrays.fade[0]) / width
    if x >= 1.0:
        return 1.0, 0.0
    return x * x * (3.0 - 2.0 * x), 6.0 * x * (1.0 - x) / width


@njit(nogil=True, cache=True, error_model="numpy")
def _fade(arrays, gradient, t, arrows, normals, above):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Return how much of a dihedral is left, and add the gradient of that times its energy above the level."""
    (a, b, c), (m, n) = arrows, normals
    aa, bb, cc = _dot(a, a), _dot(b, b), _dot(c, c)
    first, last = _dot(m, m) / (aa * bb), _dot(n, n) / (bb * cc)  # squares of the sines of both angles
    left, left_slope = _step(arrays, first)
    right, right_slope = _step(arrays, last)
    pull = 2.0 * above * left_slope * right
    _pull(arrays, gradient, t, 0, pull / (aa * bb), _cross(b, m))
    _pull(arrays, gradient, t, 0, -pull * first / aa, a)
    _pull(arrays, gradient, t, 1, pull / (aa * bb), _cross(m, a))
    _pull(arrays, gradient, t, 1, -pull * first / bb, b)
    pull = 2.0 * above * left * right_slope
    _pull(arrays, gradient, t, 1, pull / (bb * cc), _cross(c, n))
    _pull(arrays, gradient, t, 1, -pull * last / bb, b)
    _pull(arrays, gradient, t, 2, pull / (bb * cc), _cross(n, b))
    _pull(arrays, gradient, t, 2, -pull * last / cc, c)
    return left * right


@potential(BondedTables)
def _bonded(arrays, position, neighbours, force, virial, measured):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Add the forces of all terms."""
    vector = np.empty((arrays.arrow.shape[0], 3))
    gradient = np.zeros_like(vector)
    _arrows(arrays, position, neighbours.box, neighbours.inverse, vector)
    energy = _bonds(arrays, vector, gradient)
    energy += _angles(arrays, vector, gradient)
    energy += _dihedrals(arrays, vector, gradient)
    for n in range(vector.shape[0]):
        i, j = arrays.arrow[n, 0], arrays.arrow[n, 1]
        for x in range(3):
            force[i, x] += gradient[n, x]
            force[j, x] -= gradient[n, x]
            if measured:
                for y in range(3):
                    virial[x, y] -= vector[n, x] * gradient[n, y]
    return energy
