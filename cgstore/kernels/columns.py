"""Particles sorted into columns of a periodic box, in blocks of sixteen with their bounds: where neighbours are sought.

A box is cut into columns along its third vector. Each column is sorted along it and continued at both ends with the
periodic images within reach, so that neighbours are blocks of consecutive particles, moved by one lattice vector.

Coordinates are whole numbers of a grid, a power of two of a nanometre near a ten-millionth of the box, kept as float32:
sums and differences of what lies in the box and its images are then exact, whatever the order or role of particles.
"""

import math

import numpy as np
from numba import njit

__all__ = ["BLOCK", "bound", "grid", "invert", "order", "plan", "stencil", "wrap"]

BLOCK = 16  # particles of a block: the lanes of an AVX-512 register
REACH = 6  # at most so many columns in the longest distance
FAR = 1e18  # where the places of a column are that no particle fills, in units of the grid

# Costs measured on a Zen 4 core, in cycles: sixteen tests against the bounds of a block, a block of a neighbouring
# column by itself, one particle against a block, the same with images of their own. They decide what is quickest,
# never what is counted.
TEST, VISIT, STEP, NEAREST = 14.0, 40.0, 13.0, 22.0


@njit(nogil=True, cache=True, error_model="numpy")
def invert(box, inverse):  # type: ignore[no-untyped-def]
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
def grid(box, lattice):  # type: ignore[no-untyped-def]
    """Write the box in units of the grid, as whole numbers; return the units per nm."""
    longest = 0.0
    for d in range(3):
        longest = max(longest, abs(box[0, d]) + abs(box[1, d]) + abs(box[2, d]))
    # Half a box on either side of the middle and the images within half a height more; a little is left for rounding.
    unit = 2.0 ** (24 - math.ceil(math.log2(longest * (1.0 + 1.0 / 64.0))))
    for k in range(3):
        for d in range(3):
            lattice[k, d] = np.rint(box[k, d] * unit)
    return unit


@njit(nogil=True, cache=True, error_model="numpy")
def stencil(box, shape, r_max, found):  # type: ignore[no-untyped-def]
    """List (da, db, first dc, last dc) of one half of the neighbouring columns; return how many.

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
    columns = 0
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
            found[columns, 0], found[columns, 1] = da, db
            found[columns, 2] = math.floor(-(high + rest) / edge * shape[2]) - 1
            found[columns, 3] = math.ceil((rest - low) / edge * shape[2]) + 1
            columns += 1
    return columns


@njit(nogil=True, cache=True, error_model="numpy")
def plan(box, inverse, particles, r_max, shape):  # type: ignore[no-untyped-def]
    """Choose the numbers of columns and cells that cost least; return False where all pairs cost less.

    The cost is that of the particles within r_max of a block, for a liquid without holes.
    """
    height = np.empty(3)
    square = True
    for d in range(3):
        height[d] = 1.0 / math.sqrt((inverse[:, d] * inverse[:, d]).sum())
        for k in range(3):
            square = square and (k == d or box[k, d] == 0.0)
    least = particles * (0.5 * particles / BLOCK + 1.0) * NEAREST if square else np.inf
    volume = abs(height[0] * height[1] * height[2])
    cube = (BLOCK * volume / max(particles, 1)) ** (1.0 / 3.0)
    columnar = False
    for fineness in range(8):
        edge = max(cube * 0.6 * 1.3**fineness, r_max / REACH)
        a, b = max(1, int(height[0] / edge)), max(1, int(height[1] / edge))
        x, y = height[0] / a, height[1] / b
        members = particles / (a * b)
        z = height[2] * min(1.0, BLOCK / members)
        reach = (
            x * y * z
            + 2.0 * r_max * (x * y + y * z + z * x)
            + math.pi * r_max * r_max * (x + y + z)
            + 4.0 / 3.0 * math.pi * r_max**3
        )
        neighbours = 0.5 * (1.0 + (2.0 * math.ceil(r_max / x) + 1.0) * (2.0 * math.ceil(r_max / y) + 1.0) * 0.9)
        blocks = (members * (1.0 + 2.0 * r_max / height[2]) + 0.5 * BLOCK) / BLOCK
        tested = members * min(1.0, (1.6 * r_max + z) / height[2])
        cost = a * b * neighbours * blocks * (VISIT + TEST * (tested / BLOCK + 1.0))
        cost += STEP * particles * (1.0 + 0.5 * blocks * a * b * min(1.0, reach / volume))
        if cost < least:
            least, columnar = cost, True
            shape[0], shape[1], shape[2] = a, b, min(max(int(0.5 * members), 1), 4096)
    if not columnar:
        shape[:] = 1
    return columnar


@njit(nogil=True, cache=True, error_model="numpy")
def wrap(position, chosen, box, inverse, unit, shape, cell, at):  # type: ignore[no-untyped-def]
    """Write cells and wrapped coordinates on the grid of chosen particles; return False if one is not finite."""
    i00, i10, i20 = inverse[0, 0], inverse[1, 0], inverse[2, 0]
    i01, i11, i21 = inverse[0, 1], inverse[1, 1], inverse[2, 1]
    i02, i12, i22 = inverse[0, 2], inverse[1, 2], inverse[2, 2]
    b00, b10, b20 = box[0, 0], box[1, 0], box[2, 0]
    b01, b11, b21 = box[0, 1], box[1, 1], box[2, 1]
    b02, b12, b22 = box[0, 2], box[1, 2], box[2, 2]
    middle_x, middle_y, middle_z = np.rint(0.5 * unit * (box[0] + box[1] + box[2]))
    a, b, c = np.int32(shape[0]), np.int32(shape[1]), np.int32(shape[2])
    at_x, at_y, at_z = at[0], at[1], at[2]
    bad = 0.0
    for i in range(len(chosen)):
        n = np.uint64(chosen[i])
        x, y, z = np.float64(position[n, 0]), np.float64(position[n, 1]), np.float64(position[n, 2])
        s, t, u = x * i00 + y * i10 + z * i20, x * i01 + y * i11 + z * i21, x * i02 + y * i12 + z * i22
        na, nb, nc = np.floor(s), np.floor(t), np.floor(u)
        s, t, u = s - na, t - nb, u - nc
        bad += (s + t + u) * 0.0
        # What rounds up to 1 belongs to the last cell.
        k = min(np.int32(s * a), a - np.int32(1)) * b + min(np.int32(t * b), b - np.int32(1))
        cell[i] = k * c + min(np.int32(u * c), c - np.int32(1))
        # Particles in the box stay exactly where they are, but for the grid.
        at_x[i] = np.rint((x - (na * b00 + nb * b10 + nc * b20)) * unit) - middle_x
        at_y[i] = np.rint((y - (na * b01 + nb * b11 + nc * b21)) * unit) - middle_y
        at_z[i] = np.rint((z - (na * b02 + nb * b12 + nc * b22)) * unit) - middle_z
    return bad == 0.0


@njit(nogil=True, cache=True, error_model="numpy")
def _starts(cell, shape, ghosts, start, head):  # type: ignore[no-untyped-def]
    """Write where the cells of the continued columns begin, and where their own particles go; return the end."""
    a, b, c = shape[0], shape[1], shape[2]
    longer = c + 2 * ghosts
    head[: a * b * c] = 0
    for i in range(len(cell)):
        head[np.uint32(cell[i])] += 1
    place = 0
    for column in range(a * b):
        k = column * (longer + 1)
        m = (-ghosts) % c
        for n in range(longer):
            start[k + n] = place
            place += head[column * c + m]
            m = m + 1 if m + 1 < c else 0
        start[k + longer] = place
        place += -place % BLOCK
    for column in range(a * b):
        for n in range(c):
            head[column * c + n] = start[column * (longer + 1) + ghosts + n]
    return place


@njit(nogil=True, cache=True, error_model="numpy")
def _moved(source, shift, target):  # type: ignore[no-untyped-def]
    """Write numbers with a shift."""
    for k in range(len(target)):
        target[k] = source[k] + shift


@njit(nogil=True, cache=True, error_model="numpy")
def order(cell, at, tag, group, shape, ghosts, lattice, start, head, place, tag_at, group_at):  # type: ignore[no-untyped-def]
    """Sort particles into continued columns, each from a new block on; return how many places there are.

    `start` (column, cell + 1) gets where cells begin; places that nothing fills are far away.
    """
    a, b, c = shape[0], shape[1], shape[2]
    longer = c + 2 * ghosts
    end = _starts(cell, shape, ghosts, start, head)
    x, y, z, at_x, at_y, at_z = place[0], place[1], place[2], at[0], at[1], at[2]
    for i in range(len(cell)):
        k = np.uint32(cell[i])
        n = np.uint32(head[k])
        head[k] += 1
        x[n], y[n], z[n], tag_at[n], group_at[n] = at_x[i], at_y[i], at_z[i], tag[i], group[i]
    for column in range(a * b):
        begin = column * (longer + 1)
        n_cell = 0
        while n_cell < longer:
            image = (n_cell - ghosts) // c
            stop = min(longer, (image + 1) * c + ghosts)
            if image != 0:
                first, last, source = start[begin + n_cell], start[begin + stop], start[begin + n_cell - image * c]
                beyond = source + last - first
                for d in range(3):
                    shift = np.float32(image * lattice[2, d])
                    _moved(place[d, source:beyond], shift, place[d, first:last])
                _moved(tag_at[source:beyond], np.int32(0), tag_at[first:last])
                _moved(group_at[source:beyond], np.int32(0), group_at[first:last])
            n_cell = stop
        last = start[begin + longer]
        place[:, last : last + -last % BLOCK] = np.float32(FAR)
    return end


@njit(nogil=True, cache=True, error_model="numpy")
def bound(place, end, bounds):  # type: ignore[no-untyped-def]
    """Write the least and the greatest coordinates of each block: (block, 6)."""
    for d in range(3):
        for k in range(end // BLOCK):
            x = place[d, k * BLOCK : k * BLOCK + BLOCK]
            low, high = np.float32(FAR), np.float32(-FAR)
            for n in range(BLOCK):
                low = min(low, x[n])
                high = max(high, x[n] if x[n] < np.float32(0.5 * FAR) else np.float32(-FAR))
            bounds[k, d], bounds[k, 3 + d] = low, high
