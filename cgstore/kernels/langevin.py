"""Langevin motion of point particles with tabulated pair potentials: what a structural fit samples with.

The potential enters as cubic polynomials in s = r² on a uniform grid, `table (type, type, interval, 4)`, energy in the
first coefficient: neither the square root nor the division of a table in r is needed, and the force is the exact
derivative of the energy, so that motion without friction conserves it. All pairs are in a Verlet list of
(partner, lattice shift), which is right in any box, also where two images of a partner are within the list radius.
Randomness is a hash of (key, step, particle): no generator has a state, no thread can disturb another.

The list is built from all pairs: for 222 particles that is a tenth of the time, beyond 5 000 a cell list would pay.
"""

import math
from statistics import NormalDist
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["NORMAL", "advance", "energy_and_force", "relax", "wrap"]

Float = NDArray[np.floating[Any]]
Index = NDArray[np.uint32]  # unsigned: numba's check for negative indices costs a third of the force loop

_REACH = 2  # lattice shifts of a listed pair are -2..2 along each box vector
_WIDTH = 2 * _REACH + 1
_ROUND = 6755399441055744.0  # 1.5 · 2⁵²: adding and subtracting it rounds to the nearest integer, in SIMD registers

# splitmix64, Steele, Lea & Flood 2014, doi:10.1145/2660193.2660195
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def _normal_values(bits: int) -> Float:
    """Return 2**bits equally probable values of the standard normal distribution, mean 0 and variance 1."""
    count = 1 << bits
    quantile = NormalDist().inv_cdf
    upper = np.array([quantile((k + 0.5) / count) for k in range(count // 2, count)])
    values = np.concatenate([-upper[::-1], upper])
    return np.asarray(values / values.std())


# One hash holds the three random numbers of a particle and a step, 14 bits each. Box-Muller would take a quarter of
# the time of a step; of the noise only mean and variance matter to the thermostat, and these are exact.
NORMAL = _normal_values(14)


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _hash(counter: np.uint64) -> np.uint64:
    """Mix a 64-bit counter: the output function of splitmix64."""
    z = (counter ^ (counter >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    return z ^ (z >> np.uint64(31))


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
    position: Float, box: Float, inverse: Float, shift: Float, radius: float, start: Index, partner: Index, code: Index
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
def _pair_list(position: Float, box: Float, inverse: Float, shift: Float, radius: float, room: int):  # type: ignore[no-untyped-def]
    """Return `start`, `partner`, `code` of the pairs within `radius`, in arrays with at least `room` places."""
    start = np.empty(position.shape[0] + 1, np.uint32)
    while True:
        partner, code = np.empty(room, np.uint32), np.empty(room, np.uint32)
        if _list_pairs(position, box, inverse, shift, radius, start, partner, code) >= 0:
            return start, partner, code
        room *= 2


@njit(nogil=True, cache=True, error_model="numpy")
def _set_forces(
    position: Float,
    kind: Index,
    start: Index,
    partner: Index,
    code: Index,
    shift: Float,
    table: Float,
    cutoff: float,
    force: Float,
) -> None:
    """Set the forces of the listed pairs."""
    scale = (table.shape[2] - 1) / (cutoff * cutoff)
    limit = cutoff * cutoff
    force[:] = 0.0
    for i in range(position.shape[0]):
        xi, yi, zi = position[i, 0], position[i, 1], position[i, 2]
        fx = fy = fz = 0.0
        rows = table[kind[i]]
        partners = partner[start[i] : start[i + 1]]
        codes = code[start[i] : start[i + 1]]
        for p in range(partners.shape[0]):
            j, c = partners[p], codes[p]
            dx = xi - position[j, 0] + shift[c, 0]
            dy = yi - position[j, 1] + shift[c, 1]
            dz = zi - position[j, 2] + shift[c, 2]
            r2 = dx * dx + dy * dy + dz * dz
            if r2 < limit:
                s = r2 * scale
                m = np.uint32(s)
                t = s - m
                row = rows[kind[j], m]
                slope = row[1] + t * (row[2] + t * row[3])
                dx *= slope
                dy *= slope
                dz *= slope
                fx += dx
                fy += dy
                fz += dz
                force[j, 0] -= dx
                force[j, 1] -= dy
                force[j, 2] -= dz
        force[i, 0] += fx
        force[i, 1] += fy
        force[i, 2] += fz


@njit(nogil=True, cache=True, error_model="numpy")
def energy_and_force(position: Float, box: Float, kind: Index, table: Float, cutoff: float, force: Float) -> float:
    """Return the potential energy and set `force` (particle, xyz).

    Parameters
    ----------
    position : (particle, xyz) nm, anywhere; box : (box_vector, xyz) nm, every height at least twice the cutoff
    kind : (particle,) type index; table : (type, type, interval + 1, 4) kJ/mol, see the module, last row zero
    """
    inverse = np.linalg.inv(box)
    inside = position.copy()
    wrap(inside, box, inverse)
    shift = _lattice(box)
    start, partner, code = _pair_list(inside, box, inverse, shift, cutoff, 64 * position.shape[0])
    _set_forces(inside, kind, start, partner, code, shift, table, cutoff, force)
    scale = (table.shape[2] - 1) / (cutoff * cutoff)
    energy = 0.0
    for i in range(position.shape[0]):
        for p in range(start[i], start[i + 1]):
            j, c = partner[p], code[p]
            r2 = 0.0
            for x in range(3):
                r2 += (inside[i, x] - inside[j, x] + shift[c, x]) ** 2
            if r2 < cutoff * cutoff:
                s = r2 * scale
                m = np.uint32(s)
                t = s - m
                row = table[kind[i], kind[j], m]
                energy += row[0] - 0.5 * t * (row[1] + t * (row[2] / 2.0 + t * (row[3] / 3.0))) / scale
    return energy


@njit(nogil=True, cache=True, error_model="numpy")
def relax(
    position: Float, box: Float, kind: Index, table: Float, cutoff: float, largest: float, stride: float, steps: int
) -> int:
    """Move particles along their forces until none exceeds `largest` kJ/mol/nm; return the number of moves.

    In each move a particle goes `stride` nm, less if its force is smaller than `largest`; a start without overlaps is
    only wrapped. Partners at the same place, between which no force has a direction, are first put apart.
    """
    force = np.empty_like(position)
    for step in range(steps):
        parted = _part(position, box, kind, table, cutoff, largest, stride)
        energy_and_force(position, box, kind, table, cutoff, force)
        size = np.sqrt(force[:, 0] ** 2 + force[:, 1] ** 2 + force[:, 2] ** 2)
        if size.max() <= largest and not parted:
            return step
        for i in range(position.shape[0]):
            for x in range(3):
                position[i, x] += stride * force[i, x] / max(size[i], largest)
    return steps


@njit(nogil=True, cache=True, error_model="numpy")
def _part(position: Float, box: Float, kind: Index, table: Float, cutoff: float, largest: float, stride: float) -> bool:
    """Put partners apart that are nearer than `stride` and should not be; return whether there were any."""
    inverse = np.linalg.inv(box)
    shift = _lattice(box)
    wrap(position, box, inverse)
    start, partner, _ = _pair_list(position, box, inverse, shift, stride, 64 * position.shape[0])
    parted = False
    for i in range(position.shape[0]):
        for p in range(start[i], start[i + 1]):
            j = partner[p]
            if table[kind[i], kind[j], 0, 1] * stride <= largest:
                continue
            parted = True
            random = _hash(np.uint64(i * position.shape[0] + j) * _GOLDEN)
            for x in range(3):
                random = _hash(random + _GOLDEN)
                position[i, x] += stride * (2.0 * (random >> np.uint64(11)) / 2.0**53 - 1.0)
    return parted


@njit(nogil=True, cache=True, error_model="numpy")
def _move(
    position: Float,
    velocity: Float,
    force: Float,
    origin: Float,
    kick: Float,
    noise: Float,
    keep: float,
    half: float,
    counter: np.uint64,
    normal: Float,
) -> float:
    """Do B A O A of one step; return the largest squared distance from `origin`, not a number if any is not."""
    mask = np.uint64(normal.shape[0] - 1)
    largest = 0.0
    for i in range(position.shape[0]):
        random = _hash(counter + np.uint64(i) * _GOLDEN)
        moved = 0.0
        for x in range(3):
            v = velocity[i, x] + kick[i] * force[i, x]
            there = position[i, x] + half * v
            v = keep * v + noise[i] * normal[random & mask]
            random = random >> np.uint64(21)
            there += half * v
            velocity[i, x] = v
            position[i, x] = there
            moved += (there - origin[i, x]) ** 2
        if not moved <= largest:
            largest = moved
    return largest


@njit(nogil=True, cache=True, error_model="numpy")
def advance(
    position: Float,
    velocity: Float,
    box: Float,
    kind: Index,
    mass: Float,
    table: Float,
    cutoff: float,
    skin: float,
    time_step: float,
    friction: float,
    thermal: float,
    key: np.uint64,
    first: int,
    steps: int,
    normal: Float,
) -> int:
    """Do `steps` BAOAB steps in place; return 0, or minus the number of the step in which the motion exploded.

    Exploded means that a particle moved, in one step, twenty times as far as at its thermal velocity.

    Parameters
    ----------
    position, velocity : (particle, xyz) nm, nm/ps; positions come back in the box
    box : (box_vector, xyz) nm; kind : (particle,); mass : (particle,) u; table, cutoff : as in `energy_and_force`
    skin : nm; cutoff + skin must be below every height of the box
    friction : 1/ps, zero gives velocity Verlet; thermal : kT in kJ/mol
    key, first : of the random numbers; the next call goes on with first + steps
    normal : NORMAL

    Notes
    -----
    Leimkuhler & Matthews 2013, doi:10.1063/1.4802990: positions have an error of second order in the time step that
    nearly vanishes at high friction.
    """
    particles = position.shape[0]
    inverse = np.linalg.inv(box)
    shift = _lattice(box)
    keep, half = math.exp(-friction * time_step), 0.5 * time_step
    kick = half / mass
    noise = np.sqrt(thermal * (1.0 - keep * keep) / mass)
    limit = (0.5 * skin + 20.0 * math.sqrt(thermal / mass.min()) * time_step) ** 2
    force, origin = np.empty_like(position), np.empty_like(position)
    start, partner, code = np.empty(1, np.uint32), np.empty(64 * particles, np.uint32), np.empty(1, np.uint32)
    moved = math.inf
    for step in range(steps + 1):
        if step > 0:
            counter = key + np.uint64(first + step) * np.uint64(particles) * _GOLDEN
            moved = _move(position, velocity, force, origin, kick, noise, keep, half, counter, normal)
            if not moved <= limit:
                return -step
        if not moved <= (0.5 * skin) ** 2:
            wrap(position, box, inverse)
            start, partner, code = _pair_list(position, box, inverse, shift, cutoff + skin, partner.shape[0])
            origin[:] = position
        _set_forces(position, kind, start, partner, code, shift, table, cutoff, force)
        if step > 0:
            for i in range(particles):
                for x in range(3):
                    velocity[i, x] += kick[i] * force[i, x]
    wrap(position, box, inverse)
    return 0
