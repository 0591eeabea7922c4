"""Tabulated potentials: of pairs, from zero to a smooth end at the cutoff; of bonds, angles and dihedrals."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cgstore.errors import InputError, PhysicsError

__all__ = ["BondedTable", "Table", "Term", "bonded_table_of", "interpolate", "interpolate_bonded", "table_of"]

Float = NDArray[np.float64]
Term = Literal["bond", "angle", "dihedral"]

_ENDS: dict[str, tuple[float, float]] = {"angle": (0.0, 180.0), "dihedral": (-180.0, 180.0)}


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


@dataclass(frozen=True, slots=True, eq=False)
class BondedTable:
    """A potential of bonds, angles or dihedrals of one kind on uniform nodes, a cubic between them as in `Table`.

    Angles go from 0 to 180 degrees and dihedrals from -180 to 180, where they close. Beyond its nodes the potential of
    a bond goes on linearly. The zero of the energy is arbitrary.
    """

    term: Term
    x: Float  # (node,) nm, or degrees
    energy: Float  # (node,) kJ/mol
    force: Float  # (node,) −dU/dx, kJ/mol/nm, or kJ/mol/degree

    def __post_init__(self) -> None:
        """Refuse what is no table."""
        x, energy, force = (np.asarray(a, np.float64) for a in (self.x, self.energy, self.force))
        problem = ""
        if self.term not in ("bond", "angle", "dihedral"):
            problem = 'expected "bond", "angle" or "dihedral"'
        elif x.ndim != 1 or len(x) < 3 or energy.shape != x.shape or force.shape != x.shape:
            problem = f"found shapes {x.shape}, {energy.shape}, {force.shape}, expected three times (node,), node >= 3"
        elif not (np.isfinite(x).all() and np.isfinite(energy).all() and np.isfinite(force).all()):
            problem = "found numbers that are not finite; take `potential` of `potential_of_mean_force`, which has none"
        elif x[-1] <= x[0] or not np.allclose(np.diff(x), (x[-1] - x[0]) / (len(x) - 1), rtol=1e-6, atol=0.0):
            problem = "expected nodes in equal steps"
        elif self.term == "bond" and x[0] < 0.0:
            problem = f"found nodes from {x[0]:g} nm, expected no negative distance"
        elif self.term in _ENDS and not np.allclose(x[[0, -1]], _ENDS[self.term], rtol=0.0, atol=1e-6):
            problem = f"found nodes from {x[0]:g} to {x[-1]:g}, expected {_ENDS[self.term]} degrees"
        elif self.term == "dihedral" and not np.allclose([energy[0], force[0]], [energy[-1], force[-1]]):
            problem = "found another energy or force at -180 than at 180 degrees, expected the same"
        if problem:
            raise InputError(f"table of a potential of {self.term}s: {problem}")
        for name, array in (("x", x), ("energy", energy), ("force", force)):
            object.__setattr__(self, name, array)

    @property
    def spacing(self) -> float:
        """Return the distance between nodes, nm or degrees."""
        return float(self.x[-1] - self.x[0]) / (len(self.x) - 1)


def bonded_table_of(term: Term, x: ArrayLike, energy: ArrayLike) -> BondedTable:
    """Make a table of energies of a bond, an angle or a dihedral on even points, such as the bins of a distribution.

    A cubic spline goes through the points; at 0 and 180 degrees it ends with a slope of zero, for there an angle is
    mirrored, and that of a dihedral is periodic.

    Parameters
    ----------
    term : what it is a potential of
    x, energy : (point,) nm or degrees in equal steps, and kJ/mol, finite; angles and dihedrals need points all over
        their range, up to one step from its ends

    Raises
    ------
    InputError : the points are not even, or do not cover the range

    Examples
    --------
    >>> table = bonded_table_of("angle", np.arange(180) + 0.5, 0.01 * (np.arange(180) - 119.5) ** 2)
    >>> len(table.x), abs(float(table.energy.min().round(6))), float(table.force[-1])
    (361, 0.0, 0.0)
    """
    points, values = np.asarray(x, np.float64), np.asarray(energy, np.float64)
    even = points.ndim == 1 and len(points) >= 4 and points.shape == values.shape
    step = (points[-1] - points[0]) / (len(points) - 1) if even else 0.0
    if not even or not step > 0.0 or not np.allclose(np.diff(points), step, rtol=1e-4, atol=0.0):
        raise InputError(
            f"bonded_table_of: found points {points.shape} and energies {values.shape} of a {term}, "
            "expected at least 4 points in equal steps and as many energies"
        )
    if not np.isfinite(values).all():
        raise InputError(
            f"bonded_table_of: {np.count_nonzero(~np.isfinite(values))} of {len(values)} energies of a {term} are not "
            "finite; take `potential` of `potential_of_mean_force`, which has none"
        )
    from scipy.interpolate import CubicSpline

    if term == "bond":
        curve = CubicSpline(points, values)
        return BondedTable(term, points, values, -curve(points, 1))
    low, high = _ENDS[term]
    if points[0] > low + 1.001 * step or points[-1] < high - 1.001 * step:
        raise InputError(
            f"bonded_table_of: found points of a {term} from {points[0]:g} to {points[-1]:g} degrees, "
            f"expected them all over {low:g} to {high:g}"
        )
    curve = CubicSpline(*_continued(term, points, values))
    nodes = np.linspace(low, high, round(2.0 * (high - low) / step) + 1)
    u, force = curve(nodes), 0.0 - curve(nodes, 1)
    if term == "dihedral":
        u[-1], force[-1] = u[0], force[0]
    else:
        force[[0, -1]] = 0.0
    return BondedTable(term, nodes, u, force)


def _continued(term: Term, points: Float, values: Float) -> tuple[Float, Float]:
    """Return the points of an angle with their mirror images, those of a dihedral with their periodic images."""
    if term == "angle":
        around, energy = np.concatenate([-points, points, 360.0 - points]), np.tile(values, 3)
    else:
        around, energy = np.concatenate([points - 360.0, points, points + 360.0]), np.tile(values, 3)
    _, first = np.unique(around.round(6), return_index=True)
    return around[first], energy[first]


def interpolate_bonded(table: BondedTable, x: ArrayLike) -> tuple[Float, Float]:
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
    >>> [float(value.round(6)) for value in interpolate_bonded(spring, 0.35)]
    [1.25, -50.0]
    >>> [float(value.round(6)) for value in interpolate_bonded(spring, 0.5)]  # 0.1 nm beyond the last node
    [15.0, -100.0]
    """
    from scipy.interpolate import CubicHermiteSpline

    points = np.asarray(x, np.float64)
    inside = np.clip(points, table.x[0], table.x[-1])
    curve = CubicHermiteSpline(table.x, table.energy, -table.force)
    slope = curve(inside, 1)
    return np.asarray(curve(inside) + slope * (points - inside), np.float64), np.asarray(-slope, np.float64)
