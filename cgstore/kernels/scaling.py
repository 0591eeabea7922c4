"""Boxes scaled with the molecules in them: centres of mass move with the box, molecules keep their shape."""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["Molecules", "scale"]

Float = NDArray[np.floating[Any]]
Int = NDArray[np.int64]


class Molecules(NamedTuple):
    """Which particles make molecules, and how to make them whole."""

    order: Int  # (particle,) each after one that it is bonded to
    parent: Int  # (particle,) the one that it is bonded to, itself for the first of a molecule
    molecule: Int  # (particle,)
    mass: Float  # (particle,) u
    number: int  # of molecules


@njit(nogil=True, cache=True, error_model="numpy")
def scale(position: Float, box: Float, molecules: Molecules, factor: Float) -> Float:
    """Return positions (particle, xyz) with the centres of mass of molecules scaled by `factor` (xyz), molecules whole.

    Parameters
    ----------
    position : (particle, xyz) nm, wrapped or whole; bonds are nearest images in the box
    box : (box_vector, xyz) nm, before scaling
    """
    inverse = np.linalg.inv(box)
    whole = np.empty_like(position)
    centre, total = np.zeros((molecules.number, 3)), np.zeros(molecules.number)
    for i in molecules.order:
        p, k = molecules.parent[i], molecules.molecule[i]
        if p == i:
            whole[i] = position[i]
        else:
            d = position[i] - position[p]
            whole[i] = whole[p] + d
            for e in range(3):
                n = np.rint(d[0] * inverse[0, e] + d[1] * inverse[1, e] + d[2] * inverse[2, e])
                for x in range(3):
                    whole[i, x] -= n * box[e, x]
        total[k] += molecules.mass[i]
        for x in range(3):
            centre[k, x] += molecules.mass[i] * whole[i, x]
    for i in range(position.shape[0]):
        k = molecules.molecule[i]
        for x in range(3):
            whole[i, x] += (factor[x] - 1.0) * centre[k, x] / total[k]
    return whole
