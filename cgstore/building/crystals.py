"""Crystals: unit cells as published, and the sites of the lattice around its origin."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["QUARTZ", "Crystal", "density", "sites"]

Float = NDArray[np.float64]
_AVOGADRO = 0.602214076  # u/nm³ in g/cm³, inverted
_MASS = {"Si": 28.0855, "O": 15.9994}  # u


@dataclass(frozen=True, slots=True, eq=False)
class Crystal:
    """A unit cell with all its atoms."""

    name: str
    cell: Float  # (cell_vector, xyz) nm
    element: tuple[str, ...]  # (atom,)
    fraction: Float  # (atom, cell_vector)


def _quartz() -> Crystal:
    """Return α-quartz: two sites and the six operations of P3₂21."""
    a, c = 0.4916, 0.54054  # nm
    cell = np.array([[a, 0, 0], [-a / 2, a * 0.75**0.5, 0], [0, 0, c]])
    # (x, y, z), (y, x, 2/3-z), (-y, x-y, 2/3+z), (-x, -x+y, 1/3-z), (-x+y, -x, 1/3+z), (x-y, -y, -z)
    turn = np.array(
        [
            [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
            [[0, 1, 0], [1, 0, 0], [0, 0, -1]],
            [[0, -1, 0], [1, -1, 0], [0, 0, 1]],
            [[-1, 0, 0], [-1, 1, 0], [0, 0, -1]],
            [[-1, 1, 0], [-1, 0, 0], [0, 0, 1]],
            [[1, -1, 0], [0, -1, 0], [0, 0, -1]],
        ]
    )
    shift = np.array([0, 2, 2, 1, 1, 0]) / 3
    silicon, oxygen = (
        (turn @ site + shift[:, None] * [0, 0, 1]) % 1 for site in ([0.4697, 0, 0], [0.4135, 0.2669, 0.1191])
    )
    # Silicon lies on the two-fold axes: each of its sites is met twice.
    fraction = np.concatenate([silicon[[0, 2, 4]], oxygen])
    return Crystal("α-quartz", cell, ("Si",) * 3 + ("O",) * 6, fraction)


# Levien, Prewitt and Weidner, American Mineralogist 65 (1980) 920-930, at 1 atm; entry 0000789 of the American
# Mineralogist Crystal Structure Database, which states a density of 2.646 g/cm³.
QUARTZ = _quartz()


def density(crystal: Crystal) -> float:
    """Return the density of a perfect crystal in g/cm³.

    Examples
    --------
    >>> round(density(QUARTZ), 3)
    2.646
    """
    mass = sum(_MASS[element] for element in crystal.element)
    return float(mass / np.linalg.det(crystal.cell) / (1000 * _AVOGADRO))


def sites(crystal: Crystal, radius: float) -> tuple[NDArray[np.str_], Float]:
    """Return all sites of a crystal that are no farther from the origin of its cell than a radius.

    Parameters
    ----------
    radius : nm

    Returns
    -------
    element, position : (site,) and (site, xyz) nm

    Examples
    --------
    >>> element, position = sites(QUARTZ, 1.0)
    >>> position.shape
    (330, 3)
    """
    # The planes of the lattice are this far apart; so many cells reach the sphere, and one more holds its atoms.
    height = 1 / np.linalg.norm(np.linalg.inv(crystal.cell), axis=0)
    reach = [np.arange(-n - 1, n + 2) for n in np.ceil(radius / height).astype(int)]
    cells = np.stack(np.meshgrid(*reach, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    position = ((cells + crystal.fraction) @ crystal.cell).reshape(-1, 3)
    element = np.tile(np.array(crystal.element), len(cells))
    inside = np.linalg.norm(position, axis=1) <= radius
    return element[inside], position[inside]
