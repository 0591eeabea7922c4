"""Forces of tabulated pair potentials.

The potential enters as cubic polynomials in s = r² on a uniform grid, energy in the first coefficient: neither the
square root nor the division of a table in r is needed, and the force is the exact derivative of the energy, so that
motion without friction conserves it.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cgstore.kernels.counters import GOLDEN, uniform
from cgstore.kernels.potentials import potential
from cgstore.kernels.verlet import Exclusions, Neighbours, near, wrap

__all__ = ["PairTables", "part"]

Float = NDArray[np.floating[Any]]
Index = NDArray[np.uint32]


class PairTables(NamedTuple):
    """A pair potential of each pair of types."""

    kind: Index  # (particle,) number of the type
    table: Float  # (type, type, interval + 1, 4): energy, force / r as a parabola in the interval; last interval zero
    cutoff: float  # nm


@njit(nogil=True, cache=True, error_model="numpy")
def _add_forces(arrays: PairTables, position: Float, neighbours: Neighbours, force: Float) -> None:
    """Add the forces of the listed pairs."""
    table, kind, shift, start = arrays.table, arrays.kind, neighbours.shift, neighbours.start
    limit = arrays.cutoff * arrays.cutoff
    scale = (table.shape[2] - 1) / limit
    for i in range(position.shape[0]):
        xi, yi, zi = position[i, 0], position[i, 1], position[i, 2]
        fx = fy = fz = 0.0
        rows = table[kind[i]]
        partners = neighbours.partner[start[i] : start[i + 1]]
        codes = neighbours.code[start[i] : start[i + 1]]
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
def _measure(arrays: PairTables, position: Float, neighbours: Neighbours, force: Float, virial: Float) -> float:
    """Add forces and virial of the listed pairs and return their energy."""
    table, kind, limit = arrays.table, arrays.kind, arrays.cutoff * arrays.cutoff
    scale = (table.shape[2] - 1) / limit
    energy, d = 0.0, np.empty(3)
    for i in range(position.shape[0]):
        for p in range(neighbours.start[i], neighbours.start[i + 1]):
            j, c = neighbours.partner[p], neighbours.code[p]
            for x in range(3):
                d[x] = position[i, x] - position[j, x] + neighbours.shift[c, x]
            r2 = d[0] * d[0] + d[1] * d[1] + d[2] * d[2]
            if r2 < limit:
                s = r2 * scale
                m = np.uint32(s)
                t = s - m
                row = table[kind[i], kind[j], m]
                slope = row[1] + t * (row[2] + t * row[3])
                energy += row[0] - 0.5 * t * (row[1] + t * (row[2] / 2.0 + t * (row[3] / 3.0))) / scale
                for x in range(3):
                    force[i, x] += slope * d[x]
                    force[j, x] -= slope * d[x]
                    for y in range(3):
                        virial[x, y] += slope * d[x] * d[y]
    return energy


@potential(PairTables)
def _pair_tables(arrays, position, neighbours, force, virial, measured):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Do what is wanted."""
    if measured:
        return _measure(arrays, position, neighbours, force, virial)
    _add_forces(arrays, position, neighbours, force)
    return 0.0


@njit(nogil=True, cache=True, error_model="numpy")
def part(
    arrays: PairTables, exclusions: Exclusions, position: Float, box: Float, largest: float, stride: float
) -> bool:
    """Put partners apart that are nearer than `stride` nm and repel each other; return whether there were any.

    The potential is a polynomial in r², so its force vanishes at r = 0: moving along forces does not part them.

    Parameters
    ----------
    position : (particle, xyz) nm, in the box afterwards; box : (box_vector, xyz) nm
    largest : kJ/mol/nm, at `stride`; partners that repel each other less stay where they are
    """
    inverse = np.linalg.inv(box)
    wrap(position, box, inverse)
    neighbours = near(position, box, inverse, stride, exclusions, 64 * position.shape[0])
    parted = False
    for i in range(position.shape[0]):
        for p in range(neighbours.start[i], neighbours.start[i + 1]):
            j = neighbours.partner[p]
            if arrays.table[arrays.kind[i], arrays.kind[j], 0, 1] * stride <= largest:
                continue
            parted = True
            pair = np.uint64(i * position.shape[0] + j) * np.uint64(3)
            for x in range(3):
                position[i, x] += stride * (2.0 * uniform((pair + np.uint64(x)) * GOLDEN) - 1.0)
    return parted
