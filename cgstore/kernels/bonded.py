"""Bond lengths, angles and dihedrals counted into bins frame by frame, each along its nearest images.

Frames are the innermost loop, 16 at a time, so that the compiler computes a term in all of them at once: one register
of AVX-512, two of AVX2. The vectors between particles, which terms share, are made first, and stay in the cache.

Arithmetic is float32 without contraction or reordering: sums, products, quotients and square roots are exactly
rounded, so every processor counts the same. Angles come from the arctangent of a cross and a dot product, which keeps
its accuracy at 0 and 180 degrees, where that of the arccosine is lost; the arctangent is our own, because that of a
library is not the same everywhere and takes one value at a time.

Errors, with u = 2⁻²⁴: a vector d that crosses the box is known to 2 u L, where L is how far apart its particles lie in
the file, any other one to u |d|; an angle adds 4 u rad to what its vectors bring, a dihedral 4 u / (sin θ sin θ') rad
with the angles θ, θ' of its bonds, and both 3 · 10⁻⁵ degrees of rounding. Only values so close to an edge count in the
bin beside it.
"""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cgstore.kernels.terms import arrange

__all__ = ["LANES", "MOST", "arctangent", "count_arranged", "count_terms"]

LANES = 16  # frames of a group
MOST = 4  # histograms that are counted at once
VECTORS = 16  # made at a time: theirs of all frames of a group stay in the first cache
BATCH = 32  # terms at a time, whose bins are found first and then counted
LINE = 64  # bytes of a cache line; a vector register that straddles two costs twice

F = np.float32
ZERO, ONE, QUARTER, HALF, WHOLE = F(0.0), F(1.0), F(45.0), F(90.0), F(180.0)
EIGHTH = F(math.tan(math.pi / 8))
# arctan z = z (D0 + w (D1 + w (D2 + …))) degrees with w = z², |z| <= tan(π/8); relative error of the fit 2 · 10⁻⁸
D0, D1, D2, D3, D4 = F(180 / math.pi), F(-19.0983765), F(11.4465084), F(-7.95256769), F(4.61821499)
SPARE = 1e-6  # how far 180 degrees times bins per degree may lie beyond the last edge
NEAR = 0.499999  # of a box vector; half of it, less what rounding may add


@njit(nogil=True, cache=True, error_model="numpy")
def arctangent(y, x):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Return the angle of (x, y) in degrees, float32, without branches, within 2 ulp of the largest number it adds.

    Of numbers that are not finite it returns NaN, of (0, 0) zero, of (−1, ±0) 180.
    """
    wide, tall = abs(x), abs(y)
    steep = tall > wide
    high, low = (tall, wide) if steep else (wide, tall)
    upper = low > EIGHTH * high
    top, bottom = (low - high, low + high) if upper else (low, high)
    z = top / (ONE if bottom == ZERO else bottom)
    w = z * z
    angle = z * D0 + z * w * (((D4 * w + D3) * w + D2) * w + D1)
    angle = angle + QUARTER if upper else angle
    angle = HALF - angle if steep else angle
    angle = WHOLE - angle if x < ZERO else angle
    return -angle if y < ZERO else angle


@njit(nogil=True, cache=True, error_model="numpy")
def _at(vector, n, f):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Return vector n of frame f of the group."""
    k = np.uint64(n) * np.uint64(3 * LANES) + np.uint64(f)  # unsigned: no test for places counted from the end
    return vector[k], vector[k + np.uint64(LANES)], vector[k + np.uint64(2 * LANES)]


@njit(nogil=True, cache=True, error_model="numpy")
def _cross(a, b):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Return a × b."""
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


@njit(nogil=True, cache=True, error_model="numpy")
def _dot(a, b):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Return a · b."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@njit(nogil=True, cache=True, error_model="numpy")
def _length(vector, term, sign, f):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Return the length of a bond, nm."""
    a = _at(vector, term[0], f)
    return math.sqrt(_dot(a, a))


@njit(nogil=True, cache=True, error_model="numpy")
def _angle(vector, term, sign, f):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Return an angle, degrees in 0..180."""
    a, b = _at(vector, term[0], f), _at(vector, term[1], f)
    m = _cross(a, b)
    return arctangent(math.sqrt(_dot(m, m)), sign[1] * _dot(a, b))


@njit(nogil=True, cache=True, error_model="numpy")
def _dihedral(vector, term, sign, f):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Return a dihedral, degrees in -180..180 as IUPAC signs them."""
    a, b, c = _at(vector, term[0], f), _at(vector, term[1], f), _at(vector, term[2], f)
    m, n = _cross(a, b), _cross(b, c)
    return arctangent(sign[0] * (math.sqrt(_dot(b, b)) * _dot(a, n)), sign[1] * _dot(m, n))


@njit(nogil=True, cache=True, error_model="numpy")
def _place(value, b, f, bins, slot, wrong):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Write the bin of a value, or that it has none; bins are first edge, bins per unit, last bin and last place."""
    place = (value - bins[0]) * bins[1]
    fine = (place >= ZERO) & (place <= bins[3])
    wrong[f] |= np.uint32(not fine)
    slot[np.uint64(b) * np.uint64(LANES) + f] = np.int32((place if place < bins[2] else bins[2]) if fine else ZERO)


@njit(nogil=True, cache=True, error_model="numpy")
def _find(vector, term, sign, arrows, bins, slot, wrong):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Find the bins of some terms of one kind in all frames of the group.

    Each of the inner loops becomes straight code on vector registers, the way it is written here: see the tests.
    """
    for b in range(len(term)):
        n, m, o, s, t = term[b, 0], term[b, 1], term[b, 2], sign[b, 0], sign[b, 1]
        if arrows == 1:
            for f in range(np.uint64(LANES)):
                _place(_length(vector, (n, m, o), (s, t), f), b, f, bins, slot, wrong)
        elif arrows == 2:
            for f in range(np.uint64(LANES)):
                _place(_angle(vector, (n, m, o), (s, t), f), b, f, bins, slot, wrong)
        else:
            for f in range(np.uint64(LANES)):
                _place(_dihedral(vector, (n, m, o), (s, t), f), b, f, bins, slot, wrong)


@njit(nogil=True, cache=True, error_model="numpy")
def _add(slot, terms, used, start, row, counts):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Count bins that were found; every frame has its own counts, so no addition waits for the one before it."""
    if used == LANES:
        for b in range(terms):
            for f in range(LANES):
                k = np.uint64(slot[np.uint64(b * LANES + f)])
                counts[np.uint64(start + f), np.uint64(row), k] += np.uint32(1)
    else:
        for b in range(terms):
            for f in range(used):
                k = np.uint64(slot[np.uint64(b * LANES + f)])
                counts[np.uint64(start + f), np.uint64(row), k] += np.uint32(1)


@njit(nogil=True, cache=True, error_model="numpy")
def _subtract(position, start, used, arrow, first, last, vector):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Write the vectors between particles as they lie in the file; a last group is filled up with its last frame."""
    for f in range(LANES):
        x = position[np.uint64(start + min(f, used - 1))]
        for n in range(first, last):
            i, j = np.uint64(arrow[n, 0]), np.uint64(arrow[n, 1])
            k = np.uint64(n) * np.uint64(3 * LANES) + np.uint64(f)
            vector[k] = x[j, 0] - x[i, 0]
            vector[k + np.uint64(LANES)] = x[j, 1] - x[i, 1]
            vector[k + np.uint64(2 * LANES)] = x[j, 2] - x[i, 2]


@njit(nogil=True, cache=True, error_model="numpy")
def _within(vector, first, last, reach):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Tell whether all components are below `reach`, so that no vector has a nearer image."""
    far = np.uint32(0)
    for k in range(np.uint64(first * 3 * LANES), np.uint64(last * 3 * LANES)):
        far |= np.uint32(not abs(vector[k]) < reach)
    return far == 0


@njit(nogil=True, cache=True, error_model="numpy")
def _nearest(vector, n, box, inverse):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Replace vector n by its nearest image in all frames of the group."""
    for f in range(np.uint64(LANES)):
        dx, dy, dz = _at(vector, n, f)
        s = np.rint(dx * inverse[0, 0, f] + dy * inverse[1, 0, f] + dz * inverse[2, 0, f])
        t = np.rint(dx * inverse[0, 1, f] + dy * inverse[1, 1, f] + dz * inverse[2, 1, f])
        u = np.rint(dx * inverse[0, 2, f] + dy * inverse[1, 2, f] + dz * inverse[2, 2, f])
        k = np.uint64(n) * np.uint64(3 * LANES) + f
        vector[k] = dx - (s * box[0, 0, f] + t * box[1, 0, f] + u * box[2, 0, f])
        vector[k + np.uint64(LANES)] = dy - (s * box[0, 1, f] + t * box[1, 1, f] + u * box[2, 1, f])
        vector[k + np.uint64(2 * LANES)] = dz - (s * box[0, 2, f] + t * box[1, 2, f] + u * box[2, 2, f])


@njit(nogil=True, cache=True, error_model="numpy")
def _boxes(box, inverse, start, used, edges, reciprocal):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Write the boxes of a group, frames innermost; return the component below which no vector has a nearer image.

    A vector is its own nearest image if its fractions of all box vectors are below a half; a fraction is at most the
    largest component times the sum over one column of the inverse.
    """
    largest = 0.0
    for f in range(LANES):
        g = start + min(f, used - 1)
        for d in range(3):
            total = 0.0
            for e in range(3):
                edges[d, e, f], reciprocal[d, e, f] = box[g, d, e], inverse[g, d, e]
                total += abs(inverse[g, e, d])
            largest = max(largest, total)
    return F(NEAR / largest) if largest > 0.0 else F(np.inf)


@njit(nogil=True, cache=True, error_model="numpy")
def _aligned(numbers):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Return memory for float32 numbers that begins with a cache line."""
    spare = np.empty(numbers + LINE // 4, np.float32)
    return spare[(-spare.ctypes.data % LINE) // 4 :]


@njit(nogil=True, cache=True, error_model="numpy")
def _first(vector, used, term, sign, kind, bins):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Return frame of the group, term and value of the first value without a bin."""
    for f in range(used):
        for k in range(len(kind)):
            low, scale, end = bins[k, 0], bins[k, 1], bins[k, 3]
            for t in range(kind[k, 3], kind[k, 4]):
                arrows, turns = (term[t, 0], term[t, 1], term[t, 2]), (sign[t, 0], sign[t, 1])
                if kind[k, 2] == 1:
                    value = _length(vector, arrows, turns, f)
                elif kind[k, 2] == 2:
                    value = _angle(vector, arrows, turns, f)
                else:
                    value = _dihedral(vector, arrows, turns, f)
                place = (value - low) * scale
                if not (place >= ZERO and place <= end):
                    return f, t, value
    return -1, -1, ZERO


@njit(nogil=True, cache=True, error_model="numpy")
def count_arranged(position, box, inverse, arrow, term, sign, kind, low, scale, counts):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Count the values of all terms into bins of equal width.

    Parameters
    ----------
    position : (frame, particle, xyz) float32 nm
    box, inverse : (frame, 3, 3) float64, rows of `box` are box vectors; both zero without a box
    arrow, term, sign, kind, low, scale : as in `cgstore.kernels.terms.Terms`
    counts : `MOST` arrays (frame, row, bin) uint32, of the histograms, added to; an angle on the last edge belongs to
        the last bin

    Returns
    -------
    frame, term, value : the first value that is not finite or beyond the last edge, of the terms in this order; frame
        and term -1 if all is well. Counts of that frame and later ones are not to be used
    """
    vector, slot = _aligned(3 * LANES * len(arrow)), _aligned(LANES * BATCH).view(np.int32)
    edges, reciprocal = np.empty((3, 3, LANES), np.float32), np.empty((3, 3, LANES), np.float32)
    wrong, bins = np.zeros(LANES, np.uint32), np.empty((len(kind), 4), np.float32)
    for k in range(len(kind)):
        h, number = kind[k, 0], counts[kind[k, 0]].shape[2]
        bins[k, 0], bins[k, 1], bins[k, 2] = low[h], scale[h], number - 1
        bins[k, 3] = np.nextafter(F(number), ZERO) if kind[k, 2] == 1 else F(number * (1.0 + SPARE))
    for start in range(0, len(position), LANES):
        used = min(LANES, len(position) - start)
        reach = _boxes(box, inverse, start, used, edges, reciprocal)
        for first in range(0, len(arrow), VECTORS):
            last = min(first + VECTORS, len(arrow))
            _subtract(position, start, used, arrow, first, last, vector)
            if not _within(vector, first, last, reach):
                for n in range(first, last):
                    _nearest(vector, n, edges, reciprocal)
        for k in range(len(kind)):
            histogram, row, arrows = kind[k, 0], kind[k, 1], kind[k, 2]
            here = (bins[k, 0], bins[k, 1], bins[k, 2], bins[k, 3])
            for begin in range(kind[k, 3], kind[k, 4], BATCH):
                end = min(begin + BATCH, kind[k, 4])
                _find(vector, term[begin:end], sign[begin:end], arrows, here, slot, wrong)
                _add(slot, end - begin, used, start, row, counts[histogram])
        if wrong.any():
            frame, which, value = _first(vector, used, term, sign, kind, bins)
            return start + frame, which, value
    return -1, -1, ZERO


def count_terms(
    position: NDArray[np.float32],
    box: NDArray[np.float64],
    inverse: NDArray[np.float64],
    term: NDArray[np.int32],
    row: NDArray[np.int64],
    low: float,
    width: float,
    counts: NDArray[np.uint32],
    /,
) -> tuple[int, int, float]:
    """Count the values of bonds, of angles or of dihedrals into bins of equal width.

    Parameters
    ----------
    position : (frame, particle, xyz) float32 nm
    box, inverse : (frame, 3, 3) float64, rows of `box` are box vectors; both zero without a box
    term : (term, 2 | 3 | 4) particles of bonds, angles or dihedrals
    row : (term,) the row of the results that a term counts in
    low, width : first edge and width of the bins, nm or degrees; an angle on the last edge belongs to the last bin
    counts : (frame, row, bin) uint32, added to

    Returns
    -------
    frame, term, value : the first value that is not finite or beyond the last edge; -1, -1, 0.0 if all is well

    Examples
    --------
    >>> x, none = np.array([[[0, 0, 0], [0.3, 0, 0]]], np.float32), np.zeros((1, 3, 3))
    >>> counts = np.zeros((1, 1, 4), np.uint32)
    >>> count_terms(x, none, none, np.array([[0, 1]], np.int32), np.zeros(1, np.int64), 0.0, 0.11, counts)
    (-1, -1, 0.0)
    >>> counts.tolist()
    [[[0, 0, 1, 0]]]
    """
    terms = arrange([term], [row], [low], [width])
    nothing = np.zeros((len(position), 0, 0), np.uint32)
    frame, which, value = count_arranged(
        position, box, inverse, terms.arrow, terms.term, terms.sign, terms.kind, terms.low, terms.scale,
        (counts, *[nothing] * (MOST - 1)),
    )  # fmt: skip
    return int(frame), int(terms.origin[which]) if frame >= 0 else -1, float(value)
