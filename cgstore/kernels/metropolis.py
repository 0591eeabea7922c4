"""Metropolis moves of single particles in tabulated pair potentials.

Distances are looked at from scratch, all partners of a particle in turn: nothing is shared with the Verlet list and the
forces of the motion that these moves are there to check.
"""

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cgstore.kernels.counters import GOLDEN, uniform
from cgstore.kernels.forces_pairs import PairTables

__all__ = ["sweep"]

Float = NDArray[np.floating[Any]]


@njit(nogil=True, cache=True, error_model="numpy")
def _energy(arrays: PairTables, position: Float, i: int, place: Float, box: Float, inverse: Float) -> float:
    """Return the energy of particle i with all others if it was at `place`."""
    limit = arrays.cutoff * arrays.cutoff
    scale = (arrays.table.shape[2] - 1) / limit
    rows = arrays.table[arrays.kind[i]]
    energy = 0.0
    for j in range(position.shape[0]):
        dx, dy, dz = place[0] - position[j, 0], place[1] - position[j, 1], place[2] - position[j, 2]
        a = np.rint(dx * inverse[0, 0] + dy * inverse[1, 0] + dz * inverse[2, 0])
        b = np.rint(dx * inverse[0, 1] + dy * inverse[1, 1] + dz * inverse[2, 1])
        c = np.rint(dx * inverse[0, 2] + dy * inverse[1, 2] + dz * inverse[2, 2])
        dx -= a * box[0, 0] + b * box[1, 0] + c * box[2, 0]
        dy -= a * box[0, 1] + b * box[1, 1] + c * box[2, 1]
        dz -= a * box[0, 2] + b * box[1, 2] + c * box[2, 2]
        r2 = dx * dx + dy * dy + dz * dz
        if r2 < limit and j != i:
            s = r2 * scale
            m = np.uint32(s)
            t = s - m
            row = rows[arrays.kind[j], m]
            energy += row[0] - 0.5 * t * (row[1] + t * (row[2] / 2.0 + t * (row[3] / 3.0))) / scale
    return energy


@njit(nogil=True, cache=True, error_model="numpy")
def sweep(
    arrays: PairTables,
    position: Float,
    box: Float,
    thermal: float,
    stride: float,
    key: np.uint64,
    first: int,
    sweeps: int,
) -> int:
    """Move particles in place, as many times as there are particles in each sweep; return how many moves were kept.

    Parameters
    ----------
    position : (particle, xyz) nm; box : (box_vector, xyz) nm, every height at least twice the cutoff
    thermal : kT in kJ/mol; stride : nm, the largest change of each coordinate
    key, first : of the random numbers; the next call goes on with first + sweeps

    Notes
    -----
    Metropolis et al. 1953, doi:10.1063/1.1699114: a particle is drawn, moved within a cube, and stays there with
    probability min(1, exp(−ΔU/kT)).
    """
    particles, kept = position.shape[0], 0
    inverse, place = np.linalg.inv(box), np.empty(3)
    for n in range(first * particles, (first + sweeps) * particles):
        counter = key + np.uint64(n) * np.uint64(5) * GOLDEN
        i = int(uniform(counter) * particles)
        for x in range(3):
            place[x] = position[i, x] + stride * (2.0 * uniform(counter + np.uint64(x + 1) * GOLDEN) - 1.0)
        change = _energy(arrays, position, i, place, box, inverse)
        change -= _energy(arrays, position, i, position[i], box, inverse)
        if change <= 0.0 or uniform(counter + np.uint64(4) * GOLDEN) < math.exp(-change / thermal):
            position[i] = place
            kept += 1
    return kept
