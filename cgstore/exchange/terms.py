"""Tables of bonds, angles and dihedrals at any point: the cubic of the sampler, and its straight ends."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cgstore.tables import BondedTable

__all__ = ["step_of", "values_of"]

Float = NDArray[np.float64]


def step_of(table: BondedTable) -> float:
    """Return the distance between nodes, nm or degrees."""
    return float(table.x[-1] - table.x[0]) / (len(table.x) - 1)


def values_of(table: BondedTable, x: ArrayLike) -> tuple[Float, Float]:
    """Return energy and force of a table at points; beyond its nodes it goes on linearly.

    Parameters
    ----------
    table : of a bond, an angle or a dihedral
    x : (...,) nm or degrees

    Returns
    -------
    energy, force : (...,) kJ/mol, and kJ/mol/nm or kJ/mol/degree

    Examples
    --------
    >>> x = np.linspace(0.2, 0.4, 21)
    >>> spring = BondedTable("bond", x, 500.0 * (x - 0.3) ** 2, -1000.0 * (x - 0.3))
    >>> [float(value.round(6)) for value in values_of(spring, 0.35)]
    [1.25, -50.0]
    >>> [float(value.round(6)) for value in values_of(spring, 0.5)]  # 0.1 nm beyond the last node
    [15.0, -100.0]
    """
    from scipy.interpolate import CubicHermiteSpline

    points = np.asarray(x, np.float64)
    inside = np.clip(points, table.x[0], table.x[-1])
    curve = CubicHermiteSpline(table.x, table.energy, -table.force)
    slope = curve(inside, 1)
    return np.asarray(curve(inside) + slope * (points - inside), np.float64), np.asarray(-slope, np.float64)
