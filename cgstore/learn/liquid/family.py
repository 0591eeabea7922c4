"""The family of all Lennard-Jones fluids as one smooth function, and the member whose g(r) is closest to another g(r).

In units of σ and ε the g(r) of a Lennard-Jones fluid depends on ρσ³ and ε/kT alone. A polynomial in these two, one for
each distance, learned from a sweep, tells g of any fluid in between without a simulation. Least squares on it ask which
fluid comes nearest to a g(r) that may be of something else. Nothing here needs torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.polynomial.chebyshev import chebvander
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.optimize import OptimizeResult, least_squares

from cgstore.learn.liquid.features import Curves, contact_distance
from cgstore.learn.liquid.rows import Rows
from cgstore.units import BOLTZMANN

__all__ = ["Closest", "Family", "calibrated_on", "closest", "family_of"]

Float = NDArray[np.float64]

_POINTS = np.arange(0.6, 3.001, 0.02)  # r/σ; nearer than that there is nobody
_DEGREE = 8  # of the polynomials at most
_SYSTEMS = 12  # for each of their terms, at least
_RIDGE = 1e-6
_SEEN = 2.7  # contact distances, that least squares look at: within 3σ for whatever σ they try
_STARTS = ((1.0, 0.1), (1.0, 0.6), (1.08, 0.03))  # σ in contact distances, ε in kT
_ERROR = 0.01  # of g where none is known
_ONE_SIGMA, _LEAST_SCALE = 0.683, 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """g of Lennard-Jones fluids at r/σ = 0.6, 0.62 … 3: Chebyshev polynomials in ρσ³ and √(ε/kT)."""

    coefficients: Float  # (term, point)
    spread: Float  # (point,) what the polynomials are off by, beside the noise of what they were learned from
    limits: Float  # (2, 2): lowest and highest ρσ³, then kT/ε
    scale: Float  # (2,) of the errors of σ and ε: so large are they found to be, in units of what noise in g explains

    def at(self, reduced_density: float, reduced_temperature: float) -> Float:
        """Return g at the points: (point,)."""
        number = np.array([reduced_density]), np.array([reduced_temperature])
        terms = _terms(*number, self.limits, _degree_of(len(self.coefficients)))
        return np.asarray(np.maximum(terms[0] @ self.coefficients, 0.0), np.float64)

    def g(self, r: Float, *, sigma: float, epsilon: float, temperature: float, density: float) -> Float:
        """Return g(r) of a Lennard-Jones fluid, one beyond 3σ.

        Parameters
        ----------
        r : (bin,) nm
        sigma, epsilon, temperature, density : nm, kJ/mol, K, nm⁻³

        Examples
        --------
        >>> from cgstore.learn.liquid.model import read_model
        >>> r = np.array([0.3, 0.38, 0.55])
        >>> g = read_model().family.g(r, sigma=0.3405, epsilon=0.996, temperature=120.0, density=20.0)
        >>> [round(float(value), 1) for value in g]
        [0.0, 2.5, 0.7]
        """
        values = self.at(density * sigma**3, BOLTZMANN * temperature / epsilon)
        x = np.asarray(r, np.float64) / sigma
        inside = np.clip(x, _POINTS[0], _POINTS[-1])
        told = np.maximum(CubicSpline(_POINTS, values)(inside), 0.0)
        return np.where(x < _POINTS[0], 0.0, np.where(x > _POINTS[-1], 1.0, told))

    def arrays(self) -> dict[str, Float]:
        """Return everything as arrays."""
        names = ("coefficients", "spread", "limits", "scale")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "Family":
        """Return the family of these arrays; ValueError where they do not fit."""
        names = ("coefficients", "spread", "limits", "scale")
        c, spread, limits, scale = (np.asarray(arrays[name], np.float64) for name in names)
        if (c.shape[1:], spread.shape, limits.shape, scale.shape) != (*[_POINTS.shape] * 2, (2, 2), (2,)):
            raise ValueError(f"found polynomials of shape {c.shape}, expected (term, {len(_POINTS)})")
        if not all(np.isfinite(a).all() for a in (c, spread, limits, scale)):
            raise ValueError("found numbers that are not finite")
        return cls(c, spread, limits, scale)


@dataclass(frozen=True, slots=True)
class Closest:
    """The Lennard-Jones fluid with the g(r) that comes nearest, and how near that is."""

    sigma: float  # nm
    sigma_error: float
    epsilon: float  # kJ/mol
    epsilon_error: float
    rmsd: float  # of g, root mean square over the bins that were looked at
    noise: float  # of g, the root mean square of its errors there
    at_limit: bool  # ρσ³ or kT/ε are at the end of what was learned


def family_of(rows: Rows) -> Family:
    """Learn the family from systems with known σ and ε.

    Parameters
    ----------
    rows : g(r), state points, true σ and ε

    Notes
    -----
    Least squares for each distance, of degree 8 at most, less where there are few systems.
    """
    c, (sigma, epsilon) = rows.curves, rows.truth.T
    number = c.density * sigma**3, BOLTZMANN * c.temperature / epsilon
    limits = np.array([[values.min(), values.max()] for values in number])
    g, error = (
        np.stack([_at_points(c.r, row, s) for s, row in zip(sigma, values, strict=True)]) for values in (c.g, c.error)
    )
    degree = next(n for n in range(_DEGREE, -1, -1) if n == 0 or _SYSTEMS * _count(n) <= len(rows))
    x = _terms(*number, limits, degree)
    coefficients = np.linalg.solve(x.T @ x + _RIDGE * len(x) * np.eye(x.shape[1]), x.T @ g)
    left = ((x @ coefficients - g) ** 2).sum(axis=0) / max(len(x) - x.shape[1], 1)
    spread = np.sqrt(np.maximum(left - (error**2).mean(axis=0), 1e-6))
    return Family(np.asarray(coefficients, np.float64), spread, limits, np.ones(2))


def calibrated_on(family: Family, rows: Rows) -> Family:
    """Return the family with errors of σ and ε that hold for 68.3 % of these systems, others than it learned from."""
    found = closest(replace(family, scale=np.ones(2)), rows.curves)
    values = np.array([[one.sigma, one.epsilon] for one in found])
    errors = np.array([[one.sigma_error, one.epsilon_error] for one in found])
    scale = np.quantile(np.abs(values - rows.truth) / errors, _ONE_SIGMA, axis=0)
    return replace(family, scale=np.maximum(scale, _LEAST_SCALE))


def closest(family: Family, curves: Curves) -> tuple[Closest, ...]:
    """Return, for each row, the Lennard-Jones fluid at its temperature and density whose g(r) comes nearest.

    Parameters
    ----------
    curves : g(r) of anything; NaN where it is not known

    Notes
    -----
    Σ (g − g_LJ)² over bins up to 2.7 contact distances is made small from several starts, within the limits of the
    family. All bins count alike: weighted by their errors, those where g just begins to rise would outweigh the peaks.
    Errors are what noise in g, and the spread of the family, make of it, (JᵀJ)⁻¹ Jᵀ diag(error² + spread²) J (JᵀJ)⁻¹,
    times the scale of the family. Where kT/ε is large σ and ε are known together only, as 4εσ¹².
    """
    known = np.nan_to_num(curves.g)
    distances = contact_distance(curves.r, known)
    return tuple(_closest(family, curves, row, float(distance)) for row, distance in enumerate(distances))


def _closest(family: Family, curves: Curves, row: int, distance: float) -> Closest:
    """Return the closest fluid of one row."""
    seen = np.isfinite(curves.g[row]) & (curves.r <= _SEEN * distance)
    r, g, error = curves.r[seen], curves.g[row][seen], np.nan_to_num(curves.error[row][seen])
    error = np.where((error > 0.0) | (g == 0.0), error, _ERROR)
    temperature, density = float(curves.temperature[row]), float(curves.density[row])
    thermal = BOLTZMANN * temperature
    (low, high), (cold, hot) = np.log(family.limits)
    lowest = np.array([(low - np.log(density)) / 3.0, np.log(thermal) - hot])
    highest = np.array([(high - np.log(density)) / 3.0, np.log(thermal) - cold])

    def away(place: Float) -> Float:
        sigma, epsilon = np.exp(place)
        there = family.g(r, sigma=sigma, epsilon=epsilon, temperature=temperature, density=density)
        return np.asarray(there - g, np.float64)

    found: OptimizeResult | None = None
    margin = 1e-3 * (highest - lowest)
    for length, energy in _STARTS:
        start = np.clip(np.log([length * distance, energy * thermal]), lowest + margin, highest - margin)
        tried = least_squares(away, start, bounds=(lowest, highest), x_scale=[0.01, 0.2], diff_step=[1e-4], max_nfev=60)
        if found is None or tried.cost < found.cost:
            found = tried
    assert found is not None
    sigma, epsilon = (float(value) for value in np.exp(found.x))
    answer = np.linalg.pinv(found.jac)  # (2, bin): of ln σ and ln ε to a change of g
    uncertain = np.hypot(error, np.interp(r / sigma, _POINTS, family.spread))
    noise = np.sqrt(((answer * uncertain) ** 2).sum(axis=1))
    errors = family.scale * np.where(found.jac.any(axis=0), noise, np.inf)  # what changes nothing is not known
    return Closest(
        sigma, sigma * float(errors[0]), epsilon, epsilon * float(errors[1]),
        rmsd=float(np.sqrt(2.0 * found.cost / len(r))), noise=float(np.sqrt((error**2).mean())),
        at_limit=bool((np.minimum(found.x - lowest, highest - found.x) < 2.0 * margin).any()),
    )  # fmt: skip


def _at_points(r: Float, values: Float, sigma: float) -> Float:
    """Return values of bins at the points: (point,)."""
    place = np.clip(_POINTS * sigma, r[0], r[-1])
    return np.where(_POINTS * sigma < r[0], 0.0, CubicSpline(r, np.nan_to_num(values))(place))


def _terms(reduced_density: Float, reduced_temperature: Float, limits: Float, degree: int) -> Float:
    """Return products of Chebyshev polynomials up to a degree in all: (system, term)."""
    values = reduced_density, reduced_temperature**-0.5
    ends = limits[0], np.sort(limits[1] ** -0.5)
    one, two = (
        chebvander(2.0 * (value - low) / max(high - low, 1e-9) - 1.0, degree)
        for value, (low, high) in zip(values, ends, strict=True)
    )
    return np.stack([one[:, i] * two[:, j] for i in range(degree + 1) for j in range(degree + 1 - i)], axis=1)


def _count(degree: int) -> int:
    """Return the number of terms up to a degree."""
    return (degree + 1) * (degree + 2) // 2


def _degree_of(terms: int) -> int:
    """Return the degree that has so many terms."""
    return next(n for n in range(_DEGREE + 1) if _count(n) >= terms)
