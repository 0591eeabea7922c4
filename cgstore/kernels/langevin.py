"""Langevin motion of particles in any potential of `cgstore.kernels.potentials`: what a structural fit samples with.

Forces are known here by their function only; which one is chosen when the kernel is compiled. Pairs are in a Verlet
list, made anew when a particle has moved by half its skin, from a wider one as long as that reaches. Randomness is a
hash of (key, step, particle): no generator has a state, no thread can disturb another.
"""

import math
from statistics import NormalDist
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cgstore.kernels.counters import GOLDEN, mix
from cgstore.kernels.potentials import evaluate, measure
from cgstore.kernels.verlet import Exclusions, near, nearer, wrap

__all__ = ["NORMAL", "advance", "relax"]

Float = NDArray[np.floating[Any]]


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


@njit(nogil=True, cache=True, error_model="numpy")
def relax(
    arrays: Any,
    cutoff: float,
    exclusions: Exclusions,
    position: Float,
    box: Float,
    largest: float,
    stride: float,
    steps: int,
) -> int:
    """Move particles along their forces until none exceeds `largest` kJ/mol/nm; return the number of moves.

    In each move a particle goes `stride` nm, less if its force is smaller than `largest`; a start without overlaps
    is only wrapped.
    """
    inverse = np.linalg.inv(box)
    force, virial = np.empty_like(position), np.empty((3, 3))
    for step in range(steps):
        wrap(position, box, inverse)
        measure(arrays, cutoff, exclusions, position, box, force, virial)
        size = np.sqrt(force[:, 0] ** 2 + force[:, 1] ** 2 + force[:, 2] ** 2)
        if size.max() <= largest:
            return step
        for i in range(position.shape[0]):
            for x in range(3):
                position[i, x] += stride * force[i, x] / max(size[i], largest)
    return steps


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
        random = mix(counter + np.uint64(i) * GOLDEN)
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
def _farthest(position: Float, origin: Float) -> float:
    """Return the largest squared distance between positions and where they were."""
    largest = 0.0
    for i in range(position.shape[0]):
        moved = 0.0
        for x in range(3):
            moved += (position[i, x] - origin[i, x]) ** 2
        largest = max(largest, moved)
    return largest


@njit(nogil=True, cache=True, error_model="numpy")
def advance(
    arrays: Any,
    cutoff: float,
    exclusions: Exclusions,
    position: Float,
    velocity: Float,
    box: Float,
    mass: Float,
    skin: float,
    time_step: float,
    friction: float,
    thermal: float,
    key: np.uint64,
    first: int,
    steps: int,
    normal: Float,
    wide: float = 0.0,
) -> int:
    """Do `steps` BAOAB steps in place; return 0, or minus the number of the step in which the motion exploded.

    Exploded means that a particle moved, in one step, twenty times as far as at its thermal velocity.

    Parameters
    ----------
    arrays : of a potential; its class says which function gives the forces, see `cgstore.kernels.potentials`
    cutoff : nm, of the pairs that it gets to see; exclusions : pairs that it does not
    position, velocity : (particle, xyz) nm, nm/ps; positions come back in the box
    box : (box_vector, xyz) nm; mass : (particle,) u
    skin : nm; cutoff + skin must be below every height of the box
    friction : 1/ps, zero gives velocity Verlet; thermal : kT in kJ/mol
    key, first : of the random numbers; the next call goes on with first + steps
    normal : NORMAL
    wide : nm, the skin of a wider list from which the list is made as long as it reaches, so that few are made from all
        pairs; the same limit; not used unless it is larger

    Notes
    -----
    Leimkuhler & Matthews 2013, doi:10.1063/1.4802990: positions have an error of second order in the time step that
    nearly vanishes at high friction.
    """
    particles = position.shape[0]
    inverse = np.linalg.inv(box)
    keep, half = math.exp(-friction * time_step), 0.5 * time_step
    kick = half / mass
    noise = np.sqrt(thermal * (1.0 - keep * keep) / mass)
    limit = (0.5 * skin + 20.0 * math.sqrt(thermal / mass.min()) * time_step) ** 2
    force, origin, virial = np.empty_like(position), position.copy(), np.empty((3, 3))
    wrap(position, box, inverse)
    whole = near(position, box, inverse, cutoff + max(skin, wide), exclusions, 64 * particles)
    neighbours = nearer(position, whole, cutoff + skin) if wide > skin else whole
    origin[:] = position
    whole_origin, reach = position.copy(), max(0.5 * (wide - skin), 0.0)
    for step in range(steps + 1):
        if step > 0:
            counter = key + np.uint64(first + step) * np.uint64(particles) * GOLDEN
            moved = _move(position, velocity, force, origin, kick, noise, keep, half, counter, normal)
            if not moved <= limit:
                return -step
            if not moved <= (0.5 * skin) ** 2:
                if not _farthest(position, whole_origin) <= reach * reach:
                    wrap(position, box, inverse)
                    whole = near(position, box, inverse, cutoff + max(skin, wide), exclusions, whole.partner.shape[0])
                    whole_origin[:] = position
                neighbours = nearer(position, whole, cutoff + skin) if wide > skin else whole
                origin[:] = position
        force[:] = 0.0
        evaluate(arrays, position, neighbours, force, virial, False)
        if step > 0:
            for i in range(particles):
                for x in range(3):
                    velocity[i, x] += kick[i] * force[i, x]
    wrap(position, box, inverse)
    return 0
