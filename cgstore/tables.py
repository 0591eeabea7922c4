"""Tabulated pair potentials: a uniform grid from zero, a core that goes on to it, and a smooth end at the cutoff."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cgstore.errors import InputError, PhysicsError

__all__ = ["Table", "interpolate", "table_of"]

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A pair potential on uniform nodes from zero to the cutoff, where energy and force are zero.

    Between the nodes it is the cubic that has these energies and forces (see `interpolate`).
    `Table(**table.arrays())` is the same table.
    """

    r: Float  # (node,) nm
    energy: Float  # (node,) kJ/mol
    force: Float  # (node,) kJ/mol/nm, −dU/dr

    def __post_init__(self) -> None:
        """Refuse what is no table."""
        r, energy, force = (np.asarray(a, np.float64) for a in (self.r, self.energy, self.force))
        problem = ""
        if r.ndim != 1 or len(r) < 3 or energy.shape != r.shape or force.shape != r.shape:
            problem = f"found shapes {r.shape}, {energy.shape}, {force.shape}, expected three times (node,), node >= 3"
        elif not (np.isfinite(r).all() and np.isfinite(energy).all() and np.isfinite(force).all()):
            problem = "found numbers that are not finite; extrapolate the core with `table_of`"
        elif r[0] != 0.0 or r[-1] <= 0.0 or not np.allclose(np.diff(r), r[-1] / (len(r) - 1), rtol=1e-6, atol=0.0):
            problem = "expected r from 0 in equal steps; resample with `table_of`"
        elif energy[-1] != 0.0 or force[-1] != 0.0:
            problem = f"found U = {energy[-1]:g}, F = {force[-1]:g} at the cutoff, expected zeros; use `table_of`"
        if problem:
            raise InputError(f"table of a pair potential: {problem}")
        for name, array in (("r", r), ("energy", energy), ("force", force)):
            object.__setattr__(self, name, array)

    @property
    def cutoff(self) -> float:
        """Return the distance from which on the potential is zero, nm."""
        return float(self.r[-1])

    @property
    def spacing(self) -> float:
        """Return the distance between nodes, nm."""
        return float(self.r[-1] / (len(self.r) - 1))

    def arrays(self) -> dict[str, Float]:
        """Return the arrays by name."""
        return {"r": self.r, "energy": self.energy, "force": self.force}


def interpolate(table: Table, r: ArrayLike) -> tuple[Float, Float]:
    """Return energy and force of a table at distances; both are zero beyond the cutoff.

    The energy is the cubic through energies and slopes of the two nodes around r, the force exactly its negative
    derivative: this pair is what the sampler moves particles with.

    Parameters
    ----------
    table : the potential
    r : (...,) nm, not negative

    Returns
    -------
    energy, force : (...,) kJ/mol, kJ/mol/nm

    Examples
    --------
    >>> nodes = np.linspace(0.0, 1.0, 101)
    >>> spring = Table(nodes, 50.0 * (nodes - 1.0) ** 2, -100.0 * (nodes - 1.0))
    >>> [float(x.round(6)) for x in interpolate(spring, 0.505)]
    [12.25125, 49.5]
    """
    distance = np.asarray(r, np.float64)
    h = table.spacing
    interval = np.clip((distance / h).astype(np.int64), 0, len(table.r) - 2)
    t = distance / h - interval
    low, high = table.energy[interval], table.energy[interval + 1]
    left, right = -h * table.force[interval], -h * table.force[interval + 1]
    square = 3.0 * (high - low) - 2.0 * left - right
    cube = 2.0 * (low - high) + left + right
    energy = low + t * (left + t * (square + t * cube))
    force = -(left + t * (2.0 * square + t * (3.0 * cube))) / h
    inside = distance < table.cutoff
    return np.where(inside, energy, 0.0), np.where(inside, force, 0.0)


def table_of(
    r: ArrayLike, energy: ArrayLike, cutoff: float, *, spacing: float = 0.002, switch: float | None = None
) -> Table:
    """Make a table of energies at any distances, for example the bins of a distribution.

    A cubic spline goes through the points. Below the first point the force goes on linearly, and never
    attracts. The energy is shifted to be zero at the cutoff and multiplied, over the last `switch`, by the polynomial
    1 − 10x³ + 15x⁴ − 6x⁵, so that energy, force and its slope end at zero.

    Parameters
    ----------
    r, energy : (point,) nm, growing, and kJ/mol, finite
    cutoff : nm, at most one spacing of the points beyond the last one
    spacing : nm between nodes, made smaller so that the cutoff is a node
    switch : nm, 5 % of the cutoff by default

    Raises
    ------
    PhysicsError : the points do not reach the cutoff, or are not finite
    InputError : distances that do not grow, a cutoff or spacing that is not positive

    Examples
    --------
    >>> points = np.linspace(0.3, 1.0, 141)
    >>> table = table_of(points, 4.0 * 1.2 * ((0.37 / points) ** 12 - (0.37 / points) ** 6), 1.0)
    >>> len(table.r), float(table.energy.min().round(2)), float(table.energy[0]) > 100.0
    (501, -1.19, True)
    """
    points, values = np.asarray(r, np.float64), np.asarray(energy, np.float64)
    _check_points(points, values, cutoff, spacing)
    from scipy.interpolate import CubicSpline

    curve = CubicSpline(points, values, bc_type=("not-a-knot", "natural"))
    nodes = np.linspace(0.0, cutoff, max(round(cutoff / spacing), 2) + 1)
    u, f = curve(nodes), -curve(nodes, 1)
    core = nodes < points[0]
    force, slope = max(-float(curve(points[0], 1)), 0.0), max(float(curve(points[0], 2)), 0.0)
    depth = points[0] - nodes[core]
    u[core] = values[0] + force * depth + 0.5 * slope * depth**2
    f[core] = force + slope * depth
    u -= u[-1]
    width = 0.05 * cutoff if switch is None else switch
    x = np.clip((nodes - cutoff) / width + 1.0, 0.0, 1.0) if width > 0.0 else np.where(nodes < cutoff, 0.0, 1.0)
    factor = 1.0 - x**3 * (10.0 - 15.0 * x + 6.0 * x**2)
    steepness = -30.0 * x**2 * (1.0 - x) ** 2 / width if width > 0.0 else 0.0
    f = f * factor - u * steepness
    u = u * factor
    u[-1] = f[-1] = 0.0
    return Table(nodes, u, f)


def _check_points(points: Float, values: Float, cutoff: float, spacing: float) -> None:
    """Raise unless the points make a potential up to the cutoff."""
    if points.ndim != 1 or len(points) < 3 or points.shape != values.shape or not (np.diff(points) > 0.0).all():
        raise InputError(
            f"table_of: found distances {points.shape} and energies {values.shape}, "
            "expected at least 3 growing distances and as many energies"
        )
    if not (cutoff > 0.0 and spacing > 0.0) or points[0] < 0.0:
        raise InputError(f"table_of: found cutoff {cutoff}, spacing {spacing}, r from {points[0]}, expected positive")
    if not np.isfinite(values).all():
        raise PhysicsError(
            f"table_of: {np.count_nonzero(~np.isfinite(values))} of {len(values)} energies are not finite; "
            "leave the unsampled core out, or take `potential` of `potential_of_mean_force`, which has none"
        )
    if points[-1] + (points[-1] - points[-2]) < cutoff - 1e-9:
        raise PhysicsError(
            f"table_of: energies end at {points[-1]:g} nm, before the cutoff at {cutoff:g} nm; "
            f"use a cutoff of at most {points[-1]:g}"
        )
