"""The pairs of particles that are near each other, with their images: a Verlet list, right in any periodic box.

An entry is (partner, lattice shift), so that two images of a partner within the radius are two entries. A list is made
from all pairs, which takes a tenth of the time for 222 particles. For more, `near` makes a wide list, and `nearer` the
next narrow ones from that one, in a tenth of the time; all pairs are looked at again when particles have gone so far
that the wide list may lack some.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["NOTHING_EXCLUDED", "Exclusions", "Neighbours", "near", "nearer", "wrap"]

Float = NDArray[np.floating[Any]]
Index = NDArray[np.uint32]  # unsigned: numba's check for negative indices costs a third of the force loop

_REACH = 2  # lattice shifts of a listed pair are -2..2 along each box vector
_WIDTH = 2 * _REACH + 1
_ROUND = 6755399441055744.0  # 1.5 · 2⁵²: adding and subtracting it rounds to the nearest integer, in SIMD registers


class Exclusions(NamedTuple):
    """Pairs that are never listed: the partners of particle i are `partner[start[i] : start[i + 1]]`, all above i."""

    start: Index  # (particle + 1,), or (1,) when nothing is excluded
    partner: Index


class Neighbours(NamedTuple):
    """Pairs i < j within a radius, once each: those of i at `start[i] : start[i + 1]`.

    The vector from the image of j to i is `position[i] - position[partner] + shift[code]`, as long as nothing is
    wrapped; positions may move after the list was made, by less than half of what its radius has to spare.
    """

    box: Float  # (box_vector, xyz) nm
    inverse: Float  # of the box
    shift: Float  # (code, xyz) nm
    start: Index  # (particle + 1,)
    partner: Index  # (entry,), with room to spare at its end
    code: Index  # (entry,)


NOTHING_EXCLUDED = Exclusions(np.zeros(1, np.uint32), np.zeros(0, np.uint32))


@njit(nogil=True, cache=True, error_model="numpy")
def wrap(position: Float, box: Float, inverse: Float) -> None:
    """Put positions (particle, xyz) into the box, in place; `inverse` is the inverse of `box`."""
    for i in range(position.shape[0]):
        x, y, z = position[i, 0], position[i, 1], position[i, 2]
        for k in range(3):
            whole = math.floor(x * inverse[0, k] + y * inverse[1, k] + z * inverse[2, k])
            if whole != 0.0:
                position[i, 0] -= whole * box[k, 0]
                position[i, 1] -= whole * box[k, 1]
                position[i, 2] -= whole * box[k, 2]


@njit(nogil=True, cache=True, error_model="numpy")
def _lattice(box: Float) -> Float:
    """Return the lattice vectors (shift, xyz) by the code of the shift."""
    shift = np.empty((_WIDTH**3, 3))
    for a in range(_WIDTH):
        for b in range(_WIDTH):
            for c in range(_WIDTH):
                for x in range(3):
                    vector = (a - _REACH) * box[0, x] + (b - _REACH) * box[1, x] + (c - _REACH) * box[2, x]
                    shift[(a * _WIDTH + b) * _WIDTH + c, x] = vector
    return shift


@njit(nogil=True, cache=True, error_model="numpy")
def _heights(inverse: Float) -> Float:
    """Return the heights of the box from its inverse."""
    return np.asarray(1.0 / np.sqrt(inverse[0] ** 2 + inverse[1] ** 2 + inverse[2] ** 2))


@njit(nogil=True, cache=True, error_model="numpy")
def _nearest_images(
    column: Float, i: int, box: Float, inverse: Float, lone: Float, square: Float, second: Float, code: Float
) -> None:
    """Find the nearest images of all j > i: squared distance, shift code, `second` > 0 where a second may be near.

    `column` is (xyz, particle). Along box vector k a second image can be within the list radius only if the
    fractional distance is beyond `lone[k]`, because the other image is then nearer than 1 - lone.
    """
    # Scalars, not array elements: with possible aliases in the loop it would not be vectorised (half the speed).
    a0, a1, a2 = inverse[0, 0], inverse[1, 0], inverse[2, 0]
    b0, b1, b2 = inverse[0, 1], inverse[1, 1], inverse[2, 1]
    c0, c1, c2 = inverse[0, 2], inverse[1, 2], inverse[2, 2]
    ax, ay, az = box[0, 0], box[0, 1], box[0, 2]
    bx, by, bz = box[1, 0], box[1, 1], box[1, 2]
    cx, cy, cz = box[2, 0], box[2, 1], box[2, 2]
    lone_a, lone_b, lone_c = lone[0], lone[1], lone[2]
    xi, yi, zi = column[0, i], column[1, i], column[2, i]
    xs, ys, zs = column[0, i + 1 :], column[1, i + 1 :], column[2, i + 1 :]
    for k in range(xs.shape[0]):
        dx, dy, dz = xi - xs[k], yi - ys[k], zi - zs[k]
        a = dx * a0 + dy * a1 + dz * a2
        b = dx * b0 + dy * b1 + dz * b2
        c = dx * c0 + dy * c1 + dz * c2
        na = (a + _ROUND) - _ROUND
        nb = (b + _ROUND) - _ROUND
        nc = (c + _ROUND) - _ROUND
        dx -= na * ax + nb * bx + nc * cx
        dy -= na * ay + nb * by + nc * cy
        dz -= na * az + nb * bz + nc * cz
        beyond = max(max(abs(a - na) - lone_a, abs(b - nb) - lone_b), abs(c - nc) - lone_c)
        square[k] = dx * dx + dy * dy + dz * dz
        second[k] = beyond
        code[k] = ((_REACH - na) * _WIDTH + (_REACH - nb)) * _WIDTH + (_REACH - nc)


@njit(nogil=True, cache=True, error_model="numpy")
def _list_pairs(
    position: Float,
    box: Float,
    inverse: Float,
    shift: Float,
    radius: float,
    exclusions: Exclusions,
    start: Index,
    partner: Index,
    code: Index,
) -> int:
    """List all images (partner j > i, shift) nearer than `radius` to i, which must be below every height.

    Positions must be in the box. Returns the number of images, or -1 if there may be no room for them.
    """
    particles = position.shape[0]
    column = np.ascontiguousarray(position.T)
    lone = 1.0 - radius / _heights(inverse)
    square, second, codes = np.empty(particles), np.empty(particles), np.empty(particles)
    limit = radius * radius
    single = lone.min() >= 0.5
    count = np.uint32(0)
    for i in range(particles):
        start[i] = count
        # Two images along each box vector at most.
        if count + 8 * (particles - i) > partner.shape[0]:
            return -1
        _nearest_images(column, i, box, inverse, lone, square, second, codes)
        if exclusions.start.shape[0] > 1:
            for j in exclusions.partner[exclusions.start[i] : exclusions.start[i + 1]]:
                square[j - np.uint32(i + 1)], second[j - np.uint32(i + 1)] = math.inf, 0.0
        for k in range(particles - i - 1):
            # Written always and kept by counting up: a branch would be mispredicted for every third pair.
            if single or second[k] <= 0.0:
                partner[count] = i + 1 + k
                code[count] = np.uint32(codes[k])
                count += np.uint32(square[k] < limit)
                continue
            base = int(codes[k])
            j = i + 1 + k
            for a in range(max(base // _WIDTH**2 - 1, 0), min(base // _WIDTH**2 + 2, _WIDTH)):
                for b in range(max(base // _WIDTH % _WIDTH - 1, 0), min(base // _WIDTH % _WIDTH + 2, _WIDTH)):
                    for c in range(max(base % _WIDTH - 1, 0), min(base % _WIDTH + 2, _WIDTH)):
                        image = (a * _WIDTH + b) * _WIDTH + c
                        dx = position[i, 0] - position[j, 0] + shift[image, 0]
                        dy = position[i, 1] - position[j, 1] + shift[image, 1]
                        dz = position[i, 2] - position[j, 2] + shift[image, 2]
                        if dx * dx + dy * dy + dz * dz < limit:
                            partner[count] = np.uint32(j)
                            code[count] = np.uint32(image)
                            count += np.uint32(1)
    start[particles] = count
    return int(count)


@njit(nogil=True, cache=True, error_model="numpy")
def near(position: Float, box: Float, inverse: Float, radius: float, exclusions: Exclusions, room: int) -> Neighbours:
    """List the pairs within `radius`, which must be below every height of the box, except the excluded ones.

    Parameters
    ----------
    position : (particle, xyz) nm, in the box; box, inverse : (box_vector, xyz) nm, and its inverse
    exclusions : no image of such a pair is listed
    room : entries to make room for; it grows when they are more
    """
    shift = _lattice(box)
    start = np.empty(position.shape[0] + 1, np.uint32)
    while True:
        partner, code = np.empty(room, np.uint32), np.empty(room, np.uint32)
        if _list_pairs(position, box, inverse, shift, radius, exclusions, start, partner, code) >= 0:
            return Neighbours(box, inverse, shift, start, partner, code)
        room *= 2


@njit(nogil=True, cache=True, error_model="numpy")
def nearer(position: Float, wide: Neighbours, radius: float) -> Neighbours:
    """Return those of the listed pairs that are within a smaller radius, in the same order.

    Parameters
    ----------
    position : (particle, xyz) nm, not wrapped since the list was made
    """
    shift, count = wide.shift, np.uint32(0)
    start = np.empty_like(wide.start)
    partner, code = np.empty(wide.start[-1] + 1, np.uint32), np.empty(wide.start[-1] + 1, np.uint32)
    limit = radius * radius
    for i in range(position.shape[0]):
        start[i] = count
        xi, yi, zi = position[i, 0], position[i, 1], position[i, 2]
        partners = wide.partner[wide.start[i] : wide.start[i + 1]]
        codes = wide.code[wide.start[i] : wide.start[i + 1]]
        for p in range(partners.shape[0]):
            j, c = partners[p], codes[p]
            dx = xi - position[j, 0] + shift[c, 0]
            dy = yi - position[j, 1] + shift[c, 1]
            dz = zi - position[j, 2] + shift[c, 2]
            # Written always and kept by counting up: a branch would often be mispredicted.
            partner[count] = j
            code[count] = c
            count += np.uint32(dx * dx + dy * dy + dz * dz < limit)
    start[position.shape[0]] = count
    return Neighbours(wide.box, wide.inverse, shift, start, partner, code)
