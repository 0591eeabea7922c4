"""Particles counted by where they are: along the normal of a layer, in shells around a point, in rings about an axis.

All arithmetic is float64 without contraction and in a fixed order, so the counts and centres are the same bits on
every machine. Images are found by rounding fractions to [-1/2, 1/2). The bins of all particles of a frame are found
first, by a loop over flat arrays without branches, which the compiler does for several at once (np.floor, because
math.floor goes through integers), and counted then: planes take 2 ns a particle, where one plain loop takes 8.
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
        s = fraction[i] - np.floor(fraction[i])
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
                total += weight[i] * (fraction[f, i] - np.floor(fraction[f, i] - centre + 0.5))
            if total / heavy == centre:
                break
            centre = total / heavy
        result[f] = centre - np.floor(centre)
        if result[f] == 1.0:  # -1e-17 + 1
            result[f] = 0.0
    return result


@njit(nogil=True, cache=True, error_model="numpy")
def _add(start, slot, counts):  # type: ignore[no-untyped-def]
    """Count the particles of one frame in their bins, given where their rows start; those in none have the bin -1."""
    flat = counts.reshape(-1)
    for i in range(len(slot)):
        if slot[i] >= 0:
            flat[np.uint32(start[i]) + np.uint32(slot[i])] += np.uint32(1)


@njit(nogil=True, cache=True, error_model="numpy")
def _plane_slots(x, across, height, centre, width, folded, bins, slot):  # type: ignore[no-untyped-def]
    """Find the bins of one frame; return how many positions are not finite."""
    p, q, r = across
    low, bad = 0.0 if folded else 0.5 * bins, 0
    for i in range(len(slot)):
        s = x[3 * i] * p + x[3 * i + 1] * q + x[3 * i + 2] * r - centre
        z = (s - np.floor(s + 0.5)) * height
        bad += 0 if abs(z) < math.inf else 1
        place = (abs(z) if folded else z) / width + low
        slot[i] = np.int32(place if (place >= 0.0) & (place < bins) else -1.0)
    return bad


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
    start, slot = (row * bins).astype(np.int32), np.empty(len(row), np.int32)
    for f in range(len(position)):
        a = across[f, 0], across[f, 1], across[f, 2]
        if _plane_slots(position[f].reshape(-1), a, height[f], centre[f], width, folded, bins, slot):
            return f
        _add(start, slot, counts[f])
    return -1


@njit(nogil=True, cache=True, error_model="numpy")
def _frame(box, inverse, plane, centre):  # type: ignore[no-untyped-def]
    """Return what images are found with as plain numbers, which a loop keeps in registers."""
    return (
        (centre[0], centre[1], centre[2]),
        (box[0, 0], box[0, 1], box[0, 2], box[1, 0], box[1, 1], box[1, 2], box[2, 0], box[2, 1], box[2, 2]),
        (inverse[0, 2], inverse[1, 2], inverse[2, 2]),
        (plane[0, 0], plane[1, 0], plane[2, 0], plane[0, 1], plane[1, 1], plane[2, 1]),
    )


@njit(nogil=True, cache=True, error_model="numpy")
def _nearest(x, y, z, frame):  # type: ignore[no-untyped-def]
    """Return the vector from the centre to an image of a position: nearest along the normal, then within the plane.

    For vectors shorter than half the smallest height this is the nearest image.
    """
    c, b, w, p = frame
    dx, dy, dz = x - c[0], y - c[1], z - c[2]
    u = np.floor(dx * w[0] + dy * w[1] + dz * w[2] + 0.5)
    dx, dy, dz = dx - u * b[6], dy - u * b[7], dz - u * b[8]
    s = np.floor(dx * p[0] + dy * p[1] + dz * p[2] + 0.5)
    t = np.floor(dx * p[3] + dy * p[4] + dz * p[5] + 0.5)
    return dx - (s * b[0] + t * b[3]), dy - (s * b[1] + t * b[4]), dz - (s * b[2] + t * b[5])


@njit(nogil=True, cache=True, error_model="numpy")
def _shell_slots(x, frame, width, bins, slot):  # type: ignore[no-untyped-def]
    """Find the bins of one frame; return how many positions are not finite."""
    bad = 0
    for i in range(len(slot)):
        dx, dy, dz = _nearest(x[3 * i], x[3 * i + 1], x[3 * i + 2], frame)
        place = math.sqrt(dx * dx + dy * dy + dz * dz) / width
        bad += 0 if place < math.inf else 1
        slot[i] = np.int32(place if place < bins else -1.0)
    return bad


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
    bins = counts.shape[2]
    start, slot = (row * bins).astype(np.int32), np.empty(len(row), np.int32)
    for f in range(len(position)):
        frame = _frame(box[f], inverse[f], plane[f], centre[f])
        if _shell_slots(position[f].reshape(-1), frame, width, bins, slot):
            return f
        _add(start, slot, counts[f])
    return -1


@njit(nogil=True, cache=True, error_model="numpy")
def _cell_slots(x, frame, normal, width, across, along, slot):  # type: ignore[no-untyped-def]
    """Find the bins of one frame; return how many positions are not finite."""
    p, q, r = normal
    bad = 0
    for i in range(len(slot)):
        dx, dy, dz = _nearest(x[3 * i], x[3 * i + 1], x[3 * i + 2], frame)
        z = dx * p + dy * q + dz * r
        dx, dy, dz = dx - z * p, dy - z * q, dz - z * r
        ring, layer = math.sqrt(dx * dx + dy * dy + dz * dz) / width, z / width + 0.5 * along
        bad += 0 if (ring < math.inf) & (abs(layer) < math.inf) else 1
        inside = (ring < across) & (layer >= 0.0) & (layer < along)
        slot[i] = np.int32(np.floor(ring) * along + np.floor(layer) if inside else -1.0)
    return bad


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
    cells, along = counts.shape[2], counts.shape[2] // across
    start, slot = (row * cells).astype(np.int32), np.empty(len(row), np.int32)
    for f in range(len(position)):
        frame = _frame(box[f], inverse[f], plane[f], centre[f])
        n = normal[f, 0], normal[f, 1], normal[f, 2]
        if _cell_slots(position[f].reshape(-1), frame, n, width, across, along, slot):
            return f
        _add(start, slot, counts[f])
    return -1
