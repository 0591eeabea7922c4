"""Tabulated pair potentials: a grid, a core without samples, a smooth end, and Boltzmann inversion as first guess."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cgstore.errors import InputError, PhysicsError
from cgstore.units import BOLTZMANN

__all__ = ["Table", "extend_core", "interpolate", "pmf", "smooth", "table_of"]

Float = NDArray[np.float64]

_CORE_POINTS = 5  # sampled points that decide how the potential goes on into the core


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
            "leave the unsampled core out, or use `pmf`, which extrapolates it"
        )
    if points[-1] + (points[-1] - points[-2]) < cutoff - 1e-9:
        raise PhysicsError(
            f"table_of: energies end at {points[-1]:g} nm, before the cutoff at {cutoff:g} nm; "
            f"use a cutoff of at most {points[-1]:g}"
        )


def pmf(g: ArrayLike, r: ArrayLike, temperature: float, *, floor: float = 0.01, passes: int = 1) -> Float:
    """Return the potential of mean force −kT ln g, with an extrapolated core: a first guess, not the potential.

    The core ends at the first bin with g > floor; below it the force goes on linearly from a parabola through the
    first sampled bins. Later bins below the floor, or NaN, count as g = floor.

    Parameters
    ----------
    g, r : (bin,) and nm
    temperature : K
    floor : what is too rare to be told from noise
    passes : how often the sampled part is smoothed by `smooth`

    Returns
    -------
    (bin,) kJ/mol

    Raises
    ------
    PhysicsError : g is negative, or nowhere above the floor; the temperature is not positive

    Notes
    -----
    At vanishing density it is the potential itself; in a liquid it also holds what all other particles do.
    Soper 1996, doi:10.1016/0301-0104(95)00357-6

    Examples
    --------
    >>> r = np.arange(0.005, 1.0, 0.01)
    >>> energy = pmf(np.where(r < 0.3, 0.0, np.exp(-2.0 * (1.0 - r))), r, 300.0)
    >>> bool(np.isfinite(energy).all()), float(energy[60].round(3))
    (True, 1.971)
    """
    values, distance = np.asarray(g, np.float64), np.asarray(r, np.float64)
    if not temperature > 0.0:
        raise PhysicsError(f"pmf: found a temperature of {temperature} K, expected a positive one")
    if (values < 0.0).any():
        raise PhysicsError(f"pmf: g is negative at r = {distance[values < 0.0][0]:g} nm; is it a distribution?")
    sampled = np.nan_to_num(values, nan=0.0) > floor
    if np.count_nonzero(sampled) < 3:
        raise PhysicsError(
            f"pmf: g is above {floor:g} in {np.count_nonzero(sampled)} of {len(values)} bins, expected 3 at least; "
            "use more frames, wider bins or a larger r_max"
        )
    first = int(np.argmax(sampled))
    energy = -BOLTZMANN * temperature * np.log(np.where(sampled, values, floor))
    energy[first:] = smooth(energy[first:], passes=passes)
    return extend_core(energy, distance, first)


def extend_core(energy: Float, r: Float, first: int) -> Float:
    """Replace the energies before bin `first` by those of a force that goes on linearly and repels.

    Parameters
    ----------
    energy, r : (bin,) kJ/mol, nm
    first : the first sampled bin
    """
    edge = slice(first, first + _CORE_POINTS)
    depth = r[first] - r[edge]
    order = min(2, len(depth) - 1)
    fit: Any = np.polynomial.polynomial.polyfit(depth, energy[edge], order)
    force, slope = max(float(fit[1]), 0.0), max(float(fit[order]) if order == 2 else 0.0, 0.0)
    inner = r[first] - r[:first]
    return np.concatenate([energy[first] + force * inner + slope * inner**2, energy[first:]])


def smooth(values: ArrayLike, *, passes: int = 1) -> Float:
    """Return values (bin,) averaged with their neighbours by weights ¼ ½ ¼, `passes` times; the ends stay.

    >>> smooth([0.0, 4.0, 0.0, 0.0]).tolist()
    [0.0, 2.0, 1.0, 0.0]
    """
    result = np.array(values, np.float64)
    for _ in range(passes):
        result[1:-1] = 0.25 * result[:-2] + 0.5 * result[1:-1] + 0.25 * result[2:]
    return result
