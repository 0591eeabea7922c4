"""Bond lengths, angles and dihedrals counted into bins, each term along its nearest images.

Frames are the innermost loop, a group of them at a time, so that the compiler computes a term in many frames at once;
that is why the arctangent is our own. All arithmetic is float64; angles come from the arctangent of a cross and a dot
product, which keeps its accuracy at 0 and 180 degrees, where that of the arccosine is lost.
"""

import math

import numpy as np
from numba import njit

__all__ = ["count_terms"]

LANES = 32  # frames of a group
PI = math.pi


@njit(nogil=True, cache=True, error_model="numpy")
def _arctangent(y, x):  # type: ignore[no-untyped-def]
    """Return the angle of (x, y) in degrees, within 2 ulp of atan2, without branches.

    Range reduction to |z| <= tan(π/8) and the odd rational approximation of Cephes (Moshier 1989, atan.c).
    """
    high, low = max(abs(x), abs(y)), min(abs(x), abs(y))
    upper = low > 0.41421356237309503 * high
    top, bottom = (low - high, low + high) if upper else (low, high)
    z = top / (bottom if bottom > 0.0 else 1.0)
    w = z * z
    p = (((-8.750608600031904122785e-1 * w - 1.615753718733365076637e1) * w - 7.500855792314704667340e1) * w
         - 1.228866684490136173410e2) * w - 6.485021904942025371773e1  # fmt: skip
    q = ((((w + 2.485846490142306297962e1) * w + 1.650270098316988542046e2) * w + 4.328810604912902668951e2) * w
         + 4.853903996359136964868e2) * w + 1.945506571482613964425e2  # fmt: skip
    angle = z + z * w * p / q + (0.25 * PI if upper else 0.0)
    angle = 0.5 * PI - angle if abs(y) > abs(x) else angle
    angle = PI - angle if x < 0.0 else angle
    return math.copysign(angle, y) * (180.0 / PI)


@njit(nogil=True, cache=True, error_model="numpy")
def _arrow(x, i, j, f, box, inverse):  # type: ignore[no-untyped-def]
    """Return the vector from particle i to the nearest image of particle j in frame f of the group."""
    dx, dy, dz = x[j, 0, f] - x[i, 0, f], x[j, 1, f] - x[i, 1, f], x[j, 2, f] - x[i, 2, f]
    s = np.rint(dx * inverse[0, 0, f] + dy * inverse[1, 0, f] + dz * inverse[2, 0, f])
    t = np.rint(dx * inverse[0, 1, f] + dy * inverse[1, 1, f] + dz * inverse[2, 1, f])
    u = np.rint(dx * inverse[0, 2, f] + dy * inverse[1, 2, f] + dz * inverse[2, 2, f])
    return (
        dx - (s * box[0, 0, f] + t * box[1, 0, f] + u * box[2, 0, f]),
        dy - (s * box[0, 1, f] + t * box[1, 1, f] + u * box[2, 1, f]),
        dz - (s * box[0, 2, f] + t * box[1, 2, f] + u * box[2, 2, f]),
    )


@njit(nogil=True, cache=True, error_model="numpy")
def _cross(a, b):  # type: ignore[no-untyped-def]
    """Return a × b."""
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


@njit(nogil=True, cache=True, error_model="numpy")
def _dot(a, b):  # type: ignore[no-untyped-def]
    """Return a · b."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@njit(nogil=True, cache=True, error_model="numpy")
def _measure(x, box, inverse, ends, value):  # type: ignore[no-untyped-def]
    """Measure one term in all frames of a group: nm, degrees in 0..180, or degrees in -180..180 as IUPAC signs them."""
    if len(ends) == 2:
        i, j = np.uint64(ends[0]), np.uint64(ends[1])
        for f in range(np.uint64(LANES)):
            a = _arrow(x, i, j, f, box, inverse)
            value[f] = math.sqrt(_dot(a, a))
    elif len(ends) == 3:
        i, j, k = np.uint64(ends[0]), np.uint64(ends[1]), np.uint64(ends[2])
        for f in range(np.uint64(LANES)):
            a, b = _arrow(x, j, i, f, box, inverse), _arrow(x, j, k, f, box, inverse)
            m = _cross(a, b)
            value[f] = _arctangent(math.sqrt(_dot(m, m)), _dot(a, b))
    else:
        i, j, k, l = np.uint64(ends[0]), np.uint64(ends[1]), np.uint64(ends[2]), np.uint64(ends[3])  # noqa: E741
        for f in range(np.uint64(LANES)):
            a, b, c = (
                _arrow(x, i, j, f, box, inverse), _arrow(x, j, k, f, box, inverse), _arrow(x, k, l, f, box, inverse)
            )  # fmt: skip
            m, n = _cross(a, b), _cross(b, c)
            value[f] = _arctangent(math.sqrt(_dot(b, b)) * _dot(a, n), _dot(m, n))


@njit(nogil=True, cache=True, error_model="numpy")
def count_terms(position, box, inverse, factor, length, term, row, low, width, count, total):  # type: ignore[no-untyped-def]
    """Count the values of terms into bins of equal width.

    Parameters
    ----------
    position : (frame, particle, xyz) float32 nm
    box, inverse : (frame, 3, 3) float64, rows of `box` are box vectors; both zero without a box
    factor : (frame,) float64, what a count of this frame adds to `total`
    length : frames per block; frame f belongs to block f // length
    term : (term, 2 | 3 | 4) particles of bonds, angles or dihedrals
    row : (term,) int64, the row of the results that a term counts in
    low, width : first edge and width of the bins, nm or degrees; an angle on the last edge belongs to the last bin
    count, total : (block, row, bin) int64 and float64; added to

    Returns
    -------
    frame, term, value : the first value that is not finite or beyond the last edge, where counting stopped; frame -1
        if all is well
    """
    frames, particles = position.shape[:2]
    bins, angular = count.shape[2], term.shape[1] > 2
    x, value = np.empty((particles, 3, LANES)), np.empty(LANES)
    edges, reciprocal = np.zeros((3, 3, LANES)), np.zeros((3, 3, LANES))
    for start in range(0, frames, LANES):
        used = min(LANES, frames - start)
        for f in range(LANES):
            g = min(start + f, frames - 1)  # the last group is filled up with the last frame, which is not counted
            for i in range(particles):
                for d in range(3):
                    x[i, d, f] = position[g, i, d]
            edges[:, :, f], reciprocal[:, :, f] = box[g], inverse[g]
        for k in range(len(term)):
            _measure(x, edges, reciprocal, term[k], value)
            for f in range(used):
                place = (value[f] - low) / width
                if not (place >= 0.0 and (place < bins or (angular and place < bins + 1e-9))):
                    return start + f, k, value[f]
                slot, block = min(int(place), bins - 1), (start + f) // length
                count[block, row[k], slot] += 1
                total[block, row[k], slot] += factor[start + f]
    return -1, -1, 0.0
