"""Pair distances of all type pairs counted into bins, frame by frame, in any periodic box.

Particles are sorted into columns of cells, so that the neighbours of a particle in one column are one contiguous
run; the periodic image is a lattice vector taken off the particle, once per run. All arithmetic is float64.
Correct for distances up to half the smallest height of the box.
"""

import math

import numpy as np
from numba import njit

__all__ = ["count_pairs"]

# Cost of the two ways, measured on a Zen 4 core, in nanoseconds: a candidate in a run, a run by itself (mispredicted
# loop exits), a pair with its own minimum image. They decide what is quickest, never what is counted.
CANDIDATE, RUN, NEAREST = 1.1, 50.0, 1.8
THINNEST = 2  # at most so many columns in r_max; thinner ones have too short runs
DEPTH = 10  # cells in r_max along the columns; thin ones, because a run has two ends
SPILL = 4  # distances beyond r_max spread over so many times the bins: one spill bin would be one address for all


@njit(nogil=True, cache=True, error_model="numpy")
def _invert(box, inverse):  # type: ignore[no-untyped-def]
    """Write the inverse of a box; its columns are the reciprocal vectors."""
    volume = 0.0
    for d in range(3):
        e, f = (d + 1) % 3, (d + 2) % 3
        for k in range(3):
            m, n = (k + 1) % 3, (k + 2) % 3
            inverse[k, d] = box[e, m] * box[f, n] - box[e, n] * box[f, m]
    for k in range(3):
        volume += box[0, k] * inverse[k, 0]
    inverse[:] /= volume


@njit(nogil=True, cache=True, error_model="numpy")
def _stencil(box, shape, r_max, stencil):  # type: ignore[no-untyped-def]
    """List (da, db, first dc, last dc) of one half of the neighbouring columns; return how many and their cells.

    Coordinates differ by `s a + t b + u c` with s and t known to one cell; across c the distance is at least that of
    two parallelograms, and what is left of r_max bounds u.
    """
    a, b, c = box[0], box[1], box[2]
    edge = math.sqrt((c * c).sum())
    tilt_a, tilt_b = (a * c).sum() / edge, (b * c).sum() / edge
    aa = (a * a).sum() - tilt_a * tilt_a
    bb = (b * b).sum() - tilt_b * tilt_b
    ab = (a * b).sum() - tilt_a * tilt_b
    reach_a = math.ceil(r_max * shape[0] / math.sqrt(aa - ab * ab / bb))
    reach_b = math.ceil(r_max * shape[1] / math.sqrt(bb - ab * ab / aa))
    columns = cells = 0
    for da in range(reach_a + 1):
        for db in range(-reach_b if da > 0 else 0, reach_b + 1):
            s = ((da - 1) / shape[0], (da + 1) / shape[0])
            t = ((db - 1) / shape[1], (db + 1) / shape[1])
            gap = 0.0
            if not (s[0] <= 0.0 <= s[1] and t[0] <= 0.0 <= t[1]):
                gap = np.inf  # the nearest point lies on an edge of the parallelogram of differences
                for end in range(2):
                    t_near = min(max(-s[end] * ab / bb, t[0]), t[1])
                    s_near = min(max(-t[end] * ab / aa, s[0]), s[1])
                    gap = min(gap, s[end] * s[end] * aa + 2.0 * s[end] * t_near * ab + t_near * t_near * bb)
                    gap = min(gap, s_near * s_near * aa + 2.0 * s_near * t[end] * ab + t[end] * t[end] * bb)
            if gap >= r_max * r_max:
                continue
            rest = math.sqrt(r_max * r_max - gap)
            low = min(s[0] * tilt_a, s[1] * tilt_a) + min(t[0] * tilt_b, t[1] * tilt_b)
            high = max(s[0] * tilt_a, s[1] * tilt_a) + max(t[0] * tilt_b, t[1] * tilt_b)
            own = da == 0 and db == 0
            stencil[columns, 0], stencil[columns, 1] = da, db
            stencil[columns, 2] = 0 if own else math.floor(-(high + rest) / edge * shape[2])
            stencil[columns, 3] = math.ceil((rest - low) / edge * shape[2])
            cells += stencil[columns, 3] - stencil[columns, 2] + 1
            columns += 1
    return columns, cells


@njit(nogil=True, cache=True, error_model="numpy")
def _plan(box, inverse, particles, r_max, shape, trial, stencil):  # type: ignore[no-untyped-def]
    """Choose the shape of the cells that costs least; return the columns of its stencil, 0 for all pairs."""
    best, cost, chosen = 0, NEAREST * 0.5 * particles, 0
    height = np.empty(3)
    for d in range(3):
        height[d] = 1.0 / math.sqrt((inverse[:, d] * inverse[:, d]).sum())
    for fineness in range(1, THINNEST + 1):
        trial[0] = max(1, int(height[0] * fineness / r_max))
        trial[1] = max(1, int(height[1] * fineness / r_max))
        trial[2] = max(1, int(height[2] * DEPTH / r_max))
        while trial[0] * trial[1] * trial[2] > 64 * particles + 64:  # a few particles in a huge box
            for d in range(3):
                trial[d] = (trial[d] + 1) // 2
        columns, cells = _stencil(box, trial, r_max, stencil)
        expected = RUN * columns + CANDIDATE * cells * particles / (trial[0] * trial[1] * trial[2])
        if expected < cost:
            cost, best = expected, fineness
            shape[:] = trial
    if best > 0:
        chosen, _ = _stencil(box, shape, r_max, stencil)
    return chosen


@njit(nogil=True, cache=True, error_model="numpy")
def _sort(position, chosen, box, inverse, shape, start, cell, wrapped, at, rank):  # type: ignore[no-untyped-def]
    """Wrap the chosen particles and sort them by cell; return False when a position is not finite."""
    start[:] = 0
    for i in range(len(chosen)):
        x, y, z = position[chosen[i], 0], position[chosen[i], 1], position[chosen[i], 2]
        k = 0
        for d in range(3):
            s = x * inverse[0, d] + y * inverse[1, d] + z * inverse[2, d]
            if not math.isfinite(s):
                return False
            s -= math.floor(s)
            wrapped[i, d] = s
            k = k * shape[d] + min(int(s * shape[d]), shape[d] - 1)
        cell[i] = k
        start[k + 2] += 1
    for k in range(2, len(start)):
        start[k] += start[k - 1]
    for i in range(len(chosen)):
        n = start[cell[i] + 1]
        start[cell[i] + 1] += 1
        rank[i] = n
        for d in range(3):
            at[d, n] = wrapped[i, 0] * box[0, d] + wrapped[i, 1] * box[1, d] + wrapped[i, 2] * box[2, d]
    return True


@njit(nogil=True, cache=True, error_model="numpy")
def _spill_partners(i, first, last, who, rank, partner_start, partner, slot, spill):  # type: ignore[no-untyped-def]
    """Send the excluded partners of particle i that lie in the run to the spill bins."""
    for p in range(partner_start[who[i]], partner_start[who[i] + 1]):
        j = rank[partner[p]]
        if first <= j < last:
            slot[j - first] = spill


@njit(nogil=True, cache=True, error_model="numpy")
def _count_columns(  # type: ignore[no-untyped-def]
    box,
    shape,
    stencil,
    columns,
    start,
    at,
    offset,
    group,
    who,
    rank,
    partner_start,
    partner,
    inverse_width,
    types,
    bins,
    slot,
    h,
):
    """Count the pairs of one frame, column by column; `h` holds type × type × bin and then the spill bins."""
    x, y, z = at[0], at[1], at[2]
    limit, spill, last_spill = np.int32(bins), np.int32(types * types * bins), np.int32((SPILL - 1) * bins)
    for column in range(shape[0] * shape[1]):
        for q in range(columns):
            a = column // shape[1] + stencil[q, 0]
            b = column % shape[1] + stencil[q, 1]
            image_a, image_b = a // shape[0], b // shape[1]
            other = ((a - image_a * shape[0]) * shape[1] + b - image_b * shape[1]) * shape[2]
            own = stencil[q, 0] == 0 and stencil[q, 1] == 0
            for c in range(shape[2]):
                i0, i1 = start[column * shape[2] + c], start[column * shape[2] + c + 1]
                low, high = c + stencil[q, 2], c + stencil[q, 3]
                while i0 < i1 and low <= high:  # once, or once more per seam
                    image_c = low // shape[2]
                    top = min(high, image_c * shape[2] + shape[2] - 1)
                    j0 = start[other + low - image_c * shape[2]]
                    j1 = start[other + top - image_c * shape[2] + 1]
                    low = top + 1
                    shift_x = image_a * box[0, 0] + image_b * box[1, 0] + image_c * box[2, 0]
                    shift_y = image_a * box[0, 1] + image_b * box[1, 1] + image_c * box[2, 1]
                    shift_z = image_a * box[0, 2] + image_b * box[1, 2] + image_c * box[2, 2]
                    for i in range(i0, i1):
                        first = i + 1 if own and image_c == 0 else j0
                        if first >= j1:
                            continue
                        x_i, y_i, z_i = x[i] - shift_x, y[i] - shift_y, z[i] - shift_z
                        offset_i, group_i = types * offset[i], group[i]
                        # Unsigned indices spare the test for negative ones, which would stop the vectorisation.
                        j, n = np.uint64(first), np.uint64(j1 - first)
                        for k in range(n):
                            dx, dy, dz = x[j + k] - x_i, y[j + k] - y_i, z[j + k] - z_i
                            bin_k = np.int32(math.sqrt(dx * dx + dy * dy + dz * dz) * inverse_width)
                            beyond = spill + min(bin_k, last_spill)
                            counted = bin_k < limit and group[j + k] != group_i
                            slot[k] = bin_k + offset[j + k] + offset_i if counted else beyond
                        _spill_partners(i, first, j1, who, rank, partner_start, partner, slot, spill)
                        for k in range(n):
                            h[np.uint32(slot[k])] += 1


@njit(nogil=True, cache=True, error_model="numpy")
def _count_all(  # type: ignore[no-untyped-def]
    box, inverse, at, offset, group, who, rank, partner_start, partner, inverse_width, types, bins, slot, h
):
    """Count the pairs of one frame, each with its own minimum image: for few particles or most of the box."""
    x, y, z = at[0], at[1], at[2]
    limit, spill, last_spill = np.int32(bins), np.int32(types * types * bins), np.int32((SPILL - 1) * bins)
    for i in range(len(rank) - 1):
        x_i, y_i, z_i = x[i], y[i], z[i]
        offset_i, group_i = types * offset[i], group[i]
        j, n = np.uint64(i + 1), np.uint64(len(rank) - i - 1)
        for k in range(n):
            dx, dy, dz = x[j + k] - x_i, y[j + k] - y_i, z[j + k] - z_i
            s = np.rint(dx * inverse[0, 0] + dy * inverse[1, 0] + dz * inverse[2, 0])
            t = np.rint(dx * inverse[0, 1] + dy * inverse[1, 1] + dz * inverse[2, 1])
            u = np.rint(dx * inverse[0, 2] + dy * inverse[1, 2] + dz * inverse[2, 2])
            dx -= s * box[0, 0] + t * box[1, 0] + u * box[2, 0]
            dy -= s * box[0, 1] + t * box[1, 1] + u * box[2, 1]
            dz -= s * box[0, 2] + t * box[1, 2] + u * box[2, 2]
            bin_k = np.int32(math.sqrt(dx * dx + dy * dy + dz * dz) * inverse_width)
            beyond = spill + min(bin_k, last_spill)
            counted = bin_k < limit and group[j + k] != group_i
            slot[k] = bin_k + offset[j + k] + offset_i if counted else beyond
        _spill_partners(i, i + 1, len(rank), who, rank, partner_start, partner, slot, spill)
        for k in range(n):
            h[np.uint32(slot[k])] += 1


@njit(nogil=True, cache=True, error_model="numpy")
def count_pairs(  # type: ignore[no-untyped-def]
    position, box, factor, length, chosen, type_index, group, partner_start, partner, row, width, count, total
):
    """Count the distances of all pairs of chosen particles, with the minimum image, into bins of equal width.

    Parameters
    ----------
    position : (frame, particle, xyz) float32 nm, wrapped or not
    box : (frame, box_vector, xyz) float64 nm; twice the last edge of the bins must fit between any two faces
    factor : (frame,) float64, what a count of this frame adds to `total`
    length : frames per block; frame f belongs to block f // length
    chosen : (chosen,) int64, the particles that take part
    type_index : (chosen,) int32, their types, from 0
    group : (chosen,) int32; pairs within one group are left out, so give every particle its own for none
    partner_start, partner : (chosen + 1,) and (excluded,) int64; particle i, in the numbering of `chosen`, makes no
        pair with `partner[partner_start[i]:partner_start[i + 1]]`; listed from both sides
    row : (type, type) int64, symmetric; the row of the results for two types, -1 where nobody asks
    width : nm
    count, total : (block, row, bin) int64 and float64; added to

    Returns
    -------
    The first frame with a position that is not finite, where counting stopped; -1 if all is well.
    """
    particles, types, bins = len(chosen), len(row), count.shape[2]
    r_max = bins * width * (1.0 + 1e-9)  # cells must not lose what rounds to just below the last edge
    inverse, shape, trial = np.empty((3, 3)), np.ones(3, np.int64), np.ones(3, np.int64)
    stencil = np.empty(((THINNEST + 2) * (2 * THINNEST + 3), 4), np.int64)
    cell, rank, who = np.empty(particles, np.int64), np.empty(particles, np.int64), np.empty(particles, np.int64)
    wrapped, at = np.empty((particles, 3)), np.empty((3, particles))
    offset, group_at = np.empty(particles, np.int32), np.empty(particles, np.int32)
    slot = np.empty(particles + 1, np.int32)
    h = np.zeros(types * types * bins + SPILL * bins, np.uint32)
    for f in range(len(position)):
        _invert(box[f], inverse)
        shape[:] = 1
        columns = _plan(box[f], inverse, particles, r_max, shape, trial, stencil)
        start = np.empty(shape[0] * shape[1] * shape[2] + 2, np.int64)
        if not _sort(position[f], chosen, box[f], inverse, shape, start, cell, wrapped, at, rank):
            return f
        for i in range(particles):
            who[rank[i]] = i
            offset[rank[i]] = type_index[i] * bins
            group_at[rank[i]] = group[i]
        h[:] = 0
        if columns > 0:
            _count_columns(
                box[f],
                shape,
                stencil,
                columns,
                start,
                at,
                offset,
                group_at,
                who,
                rank,
                partner_start,
                partner,
                1.0 / width,
                np.int32(types),
                bins,
                slot,
                h,
            )
        else:
            _count_all(
                box[f],
                inverse,
                at,
                offset,
                group_at,
                who,
                rank,
                partner_start,
                partner,
                1.0 / width,
                np.int32(types),
                bins,
                slot,
                h,
            )
        for a in range(types):
            for b in range(types):
                for k in range(bins if row[a, b] >= 0 else 0):
                    n = h[(a * types + b) * bins + k]
                    count[f // length, row[a, b], k] += n
                    total[f // length, row[a, b], k] += factor[f] * n
    return -1
