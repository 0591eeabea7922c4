"""Particles counted by where they are: along the normal of a layer, in shells around a point, in rings about an axis.

One pass over the particles of a frame; all arithmetic is float64 without contraction and in a fixed order, so the
counts and centres are the same bits on every machine. Images are found by rounding fractions to [-1/2, 1/2).
"""

import math

import numpy as np
from numba import njit

__all__ = ["count_cells", "count_planes", "count_shells", "periodic_means", "project"]

CUTS = 64  # places where the period is tried to be cut open; a gap that is narrower needs no finer start
MOST_STEPS = 100  # each one lowers the variance; three are usual, ties could go on


@njit(nogil=True, cache=True, error_model="numpy")
def project(position, chosen, across):  # type: ignore[no-untyped-def]
    """Return the scalar products of some positions with one vector per frame.

    Parameters
    ----------
    position : (frame, particle, xyz) float32
    chosen : (chosen,) int64 particles
    across : (frame, xyz) float64

    Returns
    -------
    (frame, chosen) float64
    """
    result = np.empty((len(position), len(chosen)))
    for f in range(len(position)):
        p, q, r = across[f, 0], across[f, 1], across[f, 2]
        for k in range(len(chosen)):
            i = chosen[k]
            result[f, k] = position[f, i, 0] * p + position[f, i, 1] * q + position[f, i, 2] * r
    return result


@njit(nogil=True, cache=True, error_model="numpy")
def _first_mean(fraction, weight, heavy, at_cut):  # type: ignore[no-untyped-def]
    """Return the mean in the period that begins at the best of some cuts: where the variance is smallest."""
    at_cut[:] = 0.0
    first = second = 0.0
    for i in range(len(fraction)):
        s = fraction[i] - math.floor(fraction[i])
        k = min(int(s * CUTS), CUTS - 1)
        at_cut[k, 0] += weight[i]
        at_cut[k, 1] += weight[i] * s
        first += weight[i] * s
        second += weight[i] * s * s
    best, mean = math.inf, 0.0
    for k in range(CUTS):
        m = first / heavy
        variance = second / heavy - m * m
        if variance < best:
            best, mean = variance, m
        # What lies before the next cut moves to the next period: (s + 1)² = s² + 2 s + 1.
        first += at_cut[k, 0]
        second += 2.0 * at_cut[k, 1] + at_cut[k, 0]
    return mean


@njit(nogil=True, cache=True, error_model="numpy")
def periodic_means(fraction, weight):  # type: ignore[no-untyped-def]
    """Return the mean of fractions that repeat with period 1, taken over the images nearest to it.

    Parameters
    ----------
    fraction : (frame, particle) float64, any image
    weight : (particle,) float64, not negative

    Returns
    -------
    (frame,) in [0, 1); NaN where a fraction is not finite or the weights are zero
    """
    result = np.empty(len(fraction))
    at_cut = np.empty((CUTS, 2))
    heavy = 0.0
    for i in range(len(weight)):
        heavy += weight[i]
    for f in range(len(fraction)):
        finite = heavy > 0.0
        for i in range(fraction.shape[1]):
            finite &= abs(fraction[f, i]) < math.inf
        if not finite:
            result[f] = np.nan
            continue
        centre = _first_mean(fraction[f], weight, heavy, at_cut)
        for _ in range(MOST_STEPS):
            total = 0.0
            for i in range(fraction.shape[1]):
                total += weight[i] * (fraction[f, i] - math.floor(fraction[f, i] - centre + 0.5))
            if total / heavy == centre:
                break
            centre = total / heavy
        result[f] = centre - math.floor(centre)
        if result[f] == 1.0:  # -1e-17 + 1
            result[f] = 0.0
    return result


@njit(nogil=True, cache=True, error_model="numpy")
def count_planes(position, across, height, centre, row, width, folded, counts):  # type: ignore[no-untyped-def]
    """Count particles in planar bins on both sides of a centre.

    Parameters
    ----------
    position : (frame, particle, xyz) float32 nm
    across : (frame, xyz) float64, its product with a position is the fraction of the box along the normal
    height : (frame,) float64 nm, of the box along the normal
    centre : (frame,) float64, as a fraction
    row : (particle,) int64, the row of the results that a particle counts in
    width : of the bins, nm
    folded : whether both sides count in the same bins; otherwise the bins begin at -width * bins / 2
    counts : (frame, row, bin) uint32, added to

    Returns
    -------
    the first frame with a position or centre that is not finite, where counting stopped; -1 if all is well
    """
    bins = counts.shape[2]
    low = 0.0 if folded else 0.5 * bins
    for f in range(len(position)):
        p, q, r = across[f, 0], across[f, 1], across[f, 2]
        for i in range(position.shape[1]):
            s = position[f, i, 0] * p + position[f, i, 1] * q + position[f, i, 2] * r - centre[f]
            z = (s - math.floor(s + 0.5)) * height[f]
            if not abs(z) < math.inf:
                return f
            place = (abs(z) if folded else z) / width + low
            if place >= 0.0 and place < bins:
                counts[f, row[i], int(place)] += np.uint32(1)
    return -1


@njit(nogil=True, cache=True, error_model="numpy")
def _nearest(x, centre, box, inverse, plane):  # type: ignore[no-untyped-def]
    """Return the vector from the centre to an image of a position: nearest along the normal, then within the plane.

    For vectors shorter than half the smallest height this is the nearest image.
    """
    dx, dy, dz = x[0] - centre[0], x[1] - centre[1], x[2] - centre[2]
    u = math.floor(dx * inverse[0, 2] + dy * inverse[1, 2] + dz * inverse[2, 2] + 0.5)
    dx, dy, dz = dx - u * box[2, 0], dy - u * box[2, 1], dz - u * box[2, 2]
    s = math.floor(dx * plane[0, 0] + dy * plane[1, 0] + dz * plane[2, 0] + 0.5)
    t = math.floor(dx * plane[0, 1] + dy * plane[1, 1] + dz * plane[2, 1] + 0.5)
    return (
        dx - (s * box[0, 0] + t * box[1, 0]),
        dy - (s * box[0, 1] + t * box[1, 1]),
        dz - (s * box[0, 2] + t * box[1, 2]),
    )


@njit(nogil=True, cache=True, error_model="numpy")
def count_shells(position, box, inverse, plane, centre, row, width, counts):  # type: ignore[no-untyped-def]
    """Count particles in spherical shells around a centre.

    Parameters
    ----------
    position : (frame, particle, xyz) float32 nm
    box, inverse : (frame, 3, 3) float64, rows of `box` are box vectors; both zero without a box
    plane : (frame, 3, 2) float64, the reciprocal vectors of the first two box vectors within their plane
    centre : (frame, xyz) float64 nm
    row : (particle,) int64, the row of the results that a particle counts in
    width : of the bins, nm
    counts : (frame, row, bin) uint32, added to

    Returns
    -------
    the first frame with a position or centre that is not finite, where counting stopped; -1 if all is well
    """
    for f in range(len(position)):
        for i in range(position.shape[1]):
            dx, dy, dz = _nearest(position[f, i], centre[f], box[f], inverse[f], plane[f])
            place = math.sqrt(dx * dx + dy * dy + dz * dz) / width
            if not place < math.inf:
                return f
            if place < counts.shape[2]:
                counts[f, row[i], int(place)] += np.uint32(1)
    return -1


@njit(nogil=True, cache=True, error_model="numpy")
def count_cells(position, box, inverse, plane, normal, centre, row, width, across, counts):  # type: ignore[no-untyped-def]
    """Count particles in rings about the axis through a centre along the normal.

    Parameters
    ----------
    position, box, inverse, plane, centre, row : as `count_shells`
    normal : (frame, xyz) float64, a unit vector
    width : of the bins in both directions, nm
    across : bins in the distance from the axis; those along it begin at -width * (their number) / 2
    counts : (frame, row, across * along) uint32, added to; the bins along the axis are innermost

    Returns
    -------
    the first frame with a position or centre that is not finite, where counting stopped; -1 if all is well
    """
    along = counts.shape[2] // across
    for f in range(len(position)):
        for i in range(position.shape[1]):
            dx, dy, dz = _nearest(position[f, i], centre[f], box[f], inverse[f], plane[f])
            z = dx * normal[f, 0] + dy * normal[f, 1] + dz * normal[f, 2]
            dx, dy, dz = dx - z * normal[f, 0], dy - z * normal[f, 1], dz - z * normal[f, 2]
            ring, layer = math.sqrt(dx * dx + dy * dy + dz * dz) / width, z / width + 0.5 * along
            if not (ring < math.inf and abs(layer) < math.inf):
                return f
            if ring < across and layer >= 0.0 and layer < along:
                counts[f, row[i], int(ring) * along + int(layer)] += np.uint32(1)
    return -1
