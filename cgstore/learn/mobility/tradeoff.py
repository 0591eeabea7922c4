"""What structure costs in mobility: families of potentials between the right structure and the right speed."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["deepened", "mixed", "pareto_front", "stretched"]

Float = NDArray[np.float64]


def mixed(structure: Float, mobility: Float, share: float) -> Float:
    """Return a potential between one that keeps the structure (0) and one that keeps the mobility (1)."""
    return (1.0 - share) * structure + share * mobility


def deepened(u: Float, factor: float) -> Float:
    """Return a potential with all energies multiplied: the same beads at a temperature lower by that factor."""
    return factor * u


def stretched(r: Float, u: Float, factor: float) -> Float:
    """Return a potential with all distances multiplied, u(r / factor): larger beads in the same box.

    Examples
    --------
    >>> r = np.linspace(0.4, 1.4, 11)
    >>> stretched(r, (r - 0.6) ** 2, 1.0).round(3).tolist() == ((r - 0.6) ** 2).round(3).tolist()
    True
    """
    from scipy.interpolate import CubicSpline

    inner = r / factor
    curve = CubicSpline(r, u, bc_type="natural")
    values = curve(np.clip(inner, r[0], r[-1]))
    return np.asarray(values + np.minimum(inner - r[0], 0.0) * float(curve(r[0], 1)), np.float64)


def pareto_front(objectives: Mapping[str, ArrayLike]) -> NDArray[np.intp]:
    """Return the places of points that no other point beats in all objectives, in the order of the first one.

    Parameters
    ----------
    objectives : (point,) each, the smaller the better; points with NaN are on no front

    Examples
    --------
    >>> pareto_front({"rmsd": [0.1, 0.2, 0.3, 0.25], "alpha": [3.0, 2.0, 2.5, 1.0]}).tolist()
    [0, 1, 3]
    """
    points = np.stack([np.asarray(values, np.float64) for values in objectives.values()], 1)
    known = np.asarray(np.isfinite(points).all(axis=1), np.bool_)
    no_worse = known[None] & np.all(points[None] <= points[:, None], axis=-1)  # (point, by whom)
    better = np.any(points[None] < points[:, None], axis=-1)
    beaten = np.any(no_worse & better, axis=1)
    front = np.flatnonzero(known & ~beaten)
    return front[np.argsort(points[front, 0], kind="stable")]
