"""Pair distances of all type pairs counted into bins, frame by frame, in any periodic box.

Blocks of sixteen particles (see `columns`) meet every particle that is within the longest distance of their bounds.
What is counted depends on the wrapped coordinates on their grid only: not on the order of particles, the shape of the
columns, the processor or the number of threads. Sums and differences of coordinates are exact; squares, sums and the
root are rounded to float32.
"""

from typing import Literal

import numpy as np
from numba import njit

from cgstore.kernels import compress
from cgstore.kernels.columns import BLOCK, bound, grid, invert, order, plan, stencil, wrap

__all__ = ["count_pairs", "paths"]

Path = Literal["auto", "plain", "avx512"]
SLOTS = 4096  # places of bins that wait to be counted
SPILL = 512  # bins for what is too far, plain path only: one for all would be one address for all
ROUNDING = 8.0  # units of the grid by which distances may differ from those of the particles


def paths() -> tuple[Path, ...]:
    """Return the ways to count on this machine, the quickest first; all count the same."""
    return ("avx512", "plain") if compress.available() else ("plain",)


def count_pairs(  # type: ignore[no-untyped-def]
    position, box, chosen, type_index, group, partner_start, partner, row, width, counts, *, path: Path = "auto"
) -> int:
    """Count the distances of all pairs of chosen particles, with the minimum image, into bins of equal width.

    Parameters
    ----------
    position : (frame, particle, xyz) float32 nm, wrapped or not
    box : (frame, box_vector, xyz) float64 nm; twice the last edge of the bins must fit between any two faces
    chosen : (chosen,) int64, the particles that take part
    type_index : (chosen,) int32, their types, from 0
    group : (chosen,) int32; pairs within one group are left out, so give every particle its own for none
    partner_start, partner : (chosen + 1,) and (excluded,) int64; particle i, in the numbering of `chosen`, makes no
        pair with `partner[partner_start[i]:partner_start[i + 1]]`; listed from both sides, once each
    row : (type, type) int64, symmetric; the row of the results for two types, -1 where nobody asks
    width : nm
    counts : (frame, row, bin) uint32; added to
    path : how, see `paths`; the quickest by default. The results are the same bits

    Returns
    -------
    The first frame with a position that is not finite, where counting stopped; -1 if all is well.

    Notes
    -----
    Coordinates are rounded to a grid, a power of two of a nanometre between 6·10⁻⁸ and 1.2·10⁻⁷ of the box, which is
    about what float32 holds of them. A pair whose distance is nearer to the edge of a bin than a few units may be
    counted on its other side, and one that is nearer to half the smallest height of the box than 8 units is beyond it.
    An unsigned 32-bit number holds the pairs of a frame of up to 92 682 particles.
    """
    wide = 1 if (paths()[0] if path == "auto" else path) == "avx512" else None
    alone = len(np.unique(group)) == len(group)
    owner = np.repeat(np.arange(len(chosen)), np.diff(partner_start))
    once = (owner < partner) & (group[owner] != group[partner])
    excluded = np.stack([owner[once], partner[once]])
    return int(_count_frames(position, box, chosen, type_index, group, alone, excluded, row, width, counts, wide))


@njit(nogil=True, cache=True, error_model="numpy")
def _aligned(rows, length):  # type: ignore[no-untyped-def]
    """Return an array of float32 whose rows begin at multiples of 64 bytes."""
    memory = np.empty(rows * length + BLOCK, np.float32)
    skip = (-(memory.ctypes.data >> 2)) % BLOCK
    return memory[skip : skip + rows * length].reshape(rows, length)


@njit(nogil=True, cache=True, error_model="numpy")
def _cutoff(box_inverse, unit, bins, width, scale):  # type: ignore[no-untyped-def]
    """Return the least square of a distance, in units of the grid, that is beyond the bins or half the box."""
    height = np.inf
    for d in range(3):
        height = min(height, 1.0 / np.sqrt((box_inverse[:, d] * box_inverse[:, d]).sum()))
    square = np.float32((bins * width * unit) ** 2)
    while np.int32(np.sqrt(square) * scale) >= bins:
        square = np.nextafter(square, np.float32(0.0))
    while np.int32(np.sqrt(square) * scale) < bins:
        square = np.nextafter(square, np.float32(np.inf))
    return min(square, np.float32(max(0.5 * height * unit - ROUNDING, 0.0) ** 2))


@njit(nogil=True, cache=True, error_model="numpy")
def _near_plain(place, first, last, bounds, shift, cutoff, listed):  # type: ignore[no-untyped-def]
    """List which particles first <= i < last are within the cutoff of moved bounds; return how many."""
    x, y, z = place[0, first:last], place[1, first:last], place[2, first:last]
    x_low, y_low, z_low = bounds[0] + shift[0], bounds[1] + shift[1], bounds[2] + shift[2]
    x_high, y_high, z_high = bounds[3] + shift[0], bounds[4] + shift[1], bounds[5] + shift[2]
    inside, zero = listed[len(listed) - len(x) :], np.float32(0.0)
    for k in range(len(x)):
        dx = max(max(x_low - x[k], x[k] - x_high), zero)
        dy = max(max(y_low - y[k], y[k] - y_high), zero)
        dz = max(max(z_low - z[k], z[k] - z_high), zero)
        inside[k] = np.int32(dx * dx + dy * dy + dz * dz < cutoff)
    found = np.uint64(0)
    for k in range(len(x)):
        listed[found] = np.int32(first + k)
        found += np.uint64(inside[k])
    return np.int64(found)


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def _near(place, first, last, bounds, k, shift, cutoff, listed, wide):  # type: ignore[no-untyped-def]
    """List which particles first <= i < last are within the cutoff of moved bounds; return how many."""
    if wide is not None:
        return compress.near(
            place.ctypes.data,
            place.shape[1],
            first,
            last,
            bounds.ctypes.data + 24 * k,
            shift,
            cutoff,
            listed.ctypes.data,
        )
    return _near_plain(place, first, last, bounds[k], shift, cutoff, listed)


@njit(nogil=True, cache=True, error_model="numpy")
def _step_plain(  # type: ignore[no-untyped-def]
    place, tag, group, block, shift, listed, types, cutoff, scale, later, nearest, spill, slot, full
):
    """Append the bins of listed particles against one block, all sixteen; what does not count goes to spill bins."""
    x, y, z = place[0, block : block + BLOCK], place[1, block : block + BLOCK], place[2, block : block + BLOCK]
    tags, groups = tag[block : block + BLOCK], group[block : block + BLOCK]
    most = np.float32(1e9)  # what is far away must not overflow
    for n in range(len(listed)):
        i = np.uint32(listed[n])
        tag_i, group_i = tag[i], group[i]
        after = np.int32(np.int64(i) - block) if later else np.int32(-1)
        beyond = np.int32(spill + (n * BLOCK) % SPILL)
        out = slot[full : full + BLOCK]
        if nearest:  # the shift is the edge of the box: |d| or its complement
            for k in range(BLOCK):
                dx, dy, dz = abs(x[k] - place[0, i]), abs(y[k] - place[1, i]), abs(z[k] - place[2, i])
                dx, dy, dz = min(dx, shift[0] - dx), min(dy, shift[1] - dy), min(dz, shift[2] - dz)
                square = dx * dx + dy * dy + dz * dz
                bin_k = np.int32(min(np.sqrt(square) * scale, most)) + tags[k] * types + tag_i
                counted = (square < cutoff) & (groups[k] != group_i) & (np.int32(k) > after)
                out[k] = bin_k if counted else beyond + np.int32(k)
        else:
            x_i, y_i, z_i = place[0, i] - shift[0], place[1, i] - shift[1], place[2, i] - shift[2]
            for k in range(BLOCK):
                dx, dy, dz = x[k] - x_i, y[k] - y_i, z[k] - z_i
                square = dx * dx + dy * dy + dz * dz
                bin_k = np.int32(min(np.sqrt(square) * scale, most)) + tags[k] * types + tag_i
                counted = (square < cutoff) & (groups[k] != group_i) & (np.int32(k) > after)
                out[k] = bin_k if counted else beyond + np.int32(k)
        full += BLOCK
    return full


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def _step_wide(  # type: ignore[no-untyped-def]
    place, tag, group, alone, block, shift, listed, begin, end, types, cutoff, scale, later, nearest, slot, full
):
    """Append the bins of listed particles against one block, only those that count."""
    a, stride, t, g = place.ctypes.data, place.shape[1], tag.ctypes.data, group.ctypes.data
    i, n, s = listed.ctypes.data + 4 * begin, end - begin, slot.ctypes.data
    if nearest and later:
        return compress.nearest_later(a, stride, t, g, block, shift, i, n, types, cutoff, scale, s, full)
    if nearest and alone:
        return compress.nearest(a, stride, t, g, block, shift, i, n, types, cutoff, scale, s, full)
    if nearest:
        return compress.nearest_grouped(a, stride, t, g, block, shift, i, n, types, cutoff, scale, s, full)
    if later:
        return compress.shifted_later(a, stride, t, g, block, shift, i, n, types, cutoff, scale, s, full)
    if alone:
        return compress.shifted(a, stride, t, g, block, shift, i, n, types, cutoff, scale, s, full)
    return compress.shifted_grouped(a, stride, t, g, block, shift, i, n, types, cutoff, scale, s, full)


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def _meet(  # type: ignore[no-untyped-def]
    place, tag, group, alone, block, shift, listed, begin, end, types, cutoff, scale, later, nearest, slot, full, h,
    spill, wide,
):  # fmt: skip
    """Let listed particles meet one block; count what waits when it is much. Return how many wait."""
    while begin < end:
        until = min(end, begin + (SLOTS - full) // BLOCK)
        if wide is None:
            full = _step_plain(
                place, tag, group, block, shift, listed[begin:until], types, cutoff, scale, later, nearest, spill,
                slot, full,
            )  # fmt: skip
        else:
            full = _step_wide(
                place, tag, group, alone, block, shift, listed, begin, until, types, cutoff, scale, later, nearest,
                slot, full,
            )  # fmt: skip
        begin = until
        if full > SLOTS - 32 * BLOCK:
            for k in range(full):
                h[np.uint32(slot[k])] += np.uint32(1)
            full = 0
    return full


@njit(nogil=True, cache=True, error_model="numpy")
def _count_columns(  # type: ignore[no-untyped-def]
    shape, neighbours, ghosts, lattice, start, place, tag, group, alone, bounds, types, cutoff, scale, slot, h, spill,
    listed, itself, wide,
):  # fmt: skip
    """Count the pairs of one frame, column by column; `h` holds type × type × bin and then the spill bins."""
    longer, full = shape[2] + 2 * ghosts, 0
    for column in range(shape[0] * shape[1]):
        own = column * (longer + 1)
        own_first, own_last = start[own + ghosts], start[own + ghosts + shape[2]]
        if own_first == own_last:
            continue
        for q in range(len(neighbours)):
            a = column // shape[1] + neighbours[q, 0]
            b = column % shape[1] + neighbours[q, 1]
            image_a, image_b = a // shape[0], b // shape[1]
            other = ((a - image_a * shape[0]) * shape[1] + b - image_b * shape[1]) * (longer + 1)
            shift = (
                np.float32(image_a * lattice[0, 0] + image_b * lattice[1, 0]),
                np.float32(image_a * lattice[0, 1] + image_b * lattice[1, 1]),
                np.float32(image_a * lattice[0, 2] + image_b * lattice[1, 2]),
            )
            same = neighbours[q, 0] == 0 and neighbours[q, 1] == 0
            first_cell = last_cell = 0
            begin = (own_first if same else start[other]) // BLOCK * BLOCK
            for block in range(begin, start[other + longer], BLOCK):
                while first_cell < longer - 1 and start[other + first_cell + 1] <= block:
                    first_cell += 1
                last_cell = max(last_cell, first_cell)
                while last_cell < longer - 1 and start[other + last_cell + 1] < block + BLOCK:
                    last_cell += 1
                low = min(max(first_cell - neighbours[q, 3], ghosts), ghosts + shape[2])
                high = min(max(last_cell - neighbours[q, 2] + 1, ghosts), ghosts + shape[2])
                first, last = start[own + low], start[own + high]
                if same:
                    last = min(last, block)  # a particle meets what comes after it
                if last > first:
                    found = _near(place, first, last, bounds, block // BLOCK, shift, cutoff, listed, wide)
                    full = _meet(
                        place, tag, group, alone, block, shift, listed, 0, found, types, cutoff, scale, False, False,
                        slot, full, h, spill, wide,
                    )  # fmt: skip
                first, last = max(own_first, block), min(own_last, block + BLOCK)
                if same and last > first:
                    full = _meet(
                        place, tag, group, alone, block, shift, itself, first, last, types, cutoff, scale, True, False,
                        slot, full, h, spill, wide,
                    )  # fmt: skip
    for k in range(full):
        h[np.uint32(slot[k])] += np.uint32(1)


@njit(nogil=True, cache=True, error_model="numpy")
def _count_all(  # type: ignore[no-untyped-def]
    particles, lattice, place, tag, group, alone, types, cutoff, scale, slot, h, spill, itself, wide
):
    """Count the pairs of one frame in a rectangular box, each with its own minimum image: for few particles."""
    edges = (np.float32(lattice[0, 0]), np.float32(lattice[1, 1]), np.float32(lattice[2, 2]))
    full = 0
    for block in range(0, particles, BLOCK):
        for later in (False, True):
            first, last = (block, min(block + BLOCK, particles)) if later else (0, block)
            full = _meet(
                place, tag, group, alone, block, edges, itself, first, last, types, cutoff, scale, later, True,
                slot, full, h, spill, wide,
            )  # fmt: skip
    for k in range(full):
        h[np.uint32(slot[k])] += np.uint32(1)


@njit(nogil=True, cache=True, error_model="numpy")
def _take_off(excluded, at, type_index, lattice, inverse, unit, cutoff, scale, row, count):  # type: ignore[no-untyped-def]
    """Take excluded pairs off the counts of one frame, by the same arithmetic that counted them."""
    x, y, z = at[0], at[1], at[2]
    for n in range(excluded.shape[1]):
        i, j = excluded[0, n], excluded[1, n]
        dx, dy, dz = np.float64(x[j] - x[i]), np.float64(y[j] - y[i]), np.float64(z[j] - z[i])
        s = np.rint((dx * inverse[0, 0] + dy * inverse[1, 0] + dz * inverse[2, 0]) / unit)
        t = np.rint((dx * inverse[0, 1] + dy * inverse[1, 1] + dz * inverse[2, 1]) / unit)
        u = np.rint((dx * inverse[0, 2] + dy * inverse[1, 2] + dz * inverse[2, 2]) / unit)
        ex = np.float32(dx - (s * lattice[0, 0] + t * lattice[1, 0] + u * lattice[2, 0]))
        ey = np.float32(dy - (s * lattice[0, 1] + t * lattice[1, 1] + u * lattice[2, 1]))
        ez = np.float32(dz - (s * lattice[0, 2] + t * lattice[1, 2] + u * lattice[2, 2]))
        square = ex * ex + ey * ey + ez * ez
        place = row[type_index[i], type_index[j]]
        if square < cutoff and place >= 0:
            count[place, np.int32(np.sqrt(square) * scale)] -= np.uint32(1)


@njit(nogil=True, cache=True, error_model="numpy")
def _count_frames(position, box, chosen, type_index, group, alone, excluded, row, width, counts, wide):  # type: ignore[no-untyped-def]
    """Count frame by frame; see `count_pairs`."""
    particles, types, bins = len(chosen), len(row), counts.shape[2]
    inverse, lattice, shape = np.empty((3, 3)), np.empty((3, 3)), np.ones(3, np.int64)
    neighbours = np.empty((512, 4), np.int64)
    cell, at = np.empty(particles, np.int32), np.empty((3, particles), np.float32)
    tag = (type_index * bins).astype(np.int32)
    slot, spill = np.empty(SLOTS + BLOCK, np.int32), types * types * bins
    h = np.zeros(spill + SPILL, np.uint32)
    place, bounds, room = _aligned(3, BLOCK), np.empty((0, 6), np.float32), 0
    tag_at, group_at, start, head = np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.int32), tag
    listed, itself = np.empty(0, np.int32), np.empty(0, np.int32)
    for f in range(len(position)):
        invert(box[f], inverse)
        unit = grid(box[f], lattice)
        scale = np.float32(1.0 / (width * unit))
        cutoff = _cutoff(inverse, unit, bins, width, scale)
        reach = bins * width * (1.0 + 1e-6) + ROUNDING / unit  # cells must not lose what rounds to just below the edge
        columnar = plan(box[f], inverse, particles, reach, shape)
        if not wrap(position[f], chosen, box[f], inverse, unit, shape, cell, at):
            return f
        ghosts, columns = 0, 0
        if columnar:
            columns = stencil(box[f], shape, reach, neighbours)
            ghosts = int(np.ceil(reach * np.sqrt((inverse[:, 2] * inverse[:, 2]).sum()) * shape[2])) + 1
        longer = shape[2] + 2 * ghosts
        need = particles * (2 + 2 * ghosts // shape[2]) + BLOCK * (shape[0] * shape[1] + 1)
        if need > room or shape[0] * shape[1] * (longer + 1) > len(start):
            room = need + need // 8
            place = _aligned(3, room + -room % BLOCK)
            tag_at, group_at = np.zeros(room, np.int32), np.zeros(room, np.int32)
            bounds = np.empty((room // BLOCK + 1, 6), np.float32)
            listed, itself = np.empty(room, np.int32), np.arange(room).astype(np.int32)
            start = np.empty(shape[0] * shape[1] * (longer + 1) * 9 // 8 + 1, np.int32)
            head = np.empty(len(start), np.int32)
        end = order(cell, at, tag, group, shape, ghosts, lattice, start, head, place, tag_at, group_at)
        h[:] = 0
        if columnar:
            bound(place, end, bounds)
            _count_columns(
                shape, neighbours[:columns], ghosts, lattice, start, place, tag_at, group_at, alone, bounds,
                np.int32(types), cutoff, scale, slot, h, spill, listed, itself, wide,
            )  # fmt: skip
        else:
            _count_all(
                particles, lattice, place, tag_at, group_at, alone, np.int32(types), cutoff, scale, slot, h, spill,
                itself, wide,
            )  # fmt: skip
        for a in range(types):
            for b in range(types):
                if row[a, b] >= 0:
                    counted = h[(a * types + b) * bins : (a * types + b + 1) * bins]
                    result = counts[f, row[a, b]]
                    for k in range(bins):
                        result[k] += counted[k]
        _take_off(excluded, at, type_index, lattice, inverse, unit, cutoff, scale, row, counts[f])
    return -1
