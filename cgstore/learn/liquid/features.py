"""What a network sees of a liquid: its g(r) and state point, with or without units, and how noise changes them.

Equal liquids of different units look equal to a network when lengths are divided by one of the liquid's own and
energies by kT. Then what is learned at one density and temperature in nm and K holds at others: a Lennard-Jones fluid
has only two numbers, ρσ³ and kT/ε. Nothing here needs torch.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cgstore.errors import InputError, PhysicsError
from cgstore.units import BOLTZMANN

__all__ = ["SCALINGS", "Curves", "Scaling", "Seen", "contact_distance", "noisier", "seen"]

Float = NDArray[np.float64]
Scaling = Literal["contact", "density", "plain"]
SCALINGS: tuple[Scaling, ...] = get_args(Scaling)

_RISE = 0.5  # of g, where particles are said to touch
_WEIGHTS = np.array([1.0, 2.0, 3.0, 2.0, 1.0]) / 9.0  # of neighbouring bins, for the place of the rise alone
# Distances in units of the liquid's own length; every liquid of the sweep has g there.
_POINTS = {"contact": np.linspace(0.98, 3.0, 102), "density": np.linspace(0.21, 1.21, 101)}


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """g(r) of several systems on one grid with its errors, and their temperatures and number densities."""

    r: Float  # (bin,) nm, in equal steps
    g: Float  # (row, bin)
    error: Float  # (row, bin); of bins that were never hit it is zero
    temperature: Float  # (row,) K
    density: Float  # (row,) nm⁻³

    @classmethod
    def of(cls, r: ArrayLike, g: ArrayLike, error: ArrayLike, temperature: ArrayLike, density: ArrayLike) -> "Curves":
        """Make them of arrays of any float type; of one system, without the first dim; unknown errors become zero.

        Raises
        ------
        InputError : shapes that do not fit, a grid of unequal steps, a state point that is not positive
        """
        bins = np.asarray(r, np.float64)
        values = np.atleast_2d(np.asarray(g, np.float64))
        errors = np.nan_to_num(np.atleast_2d(np.asarray(error, np.float64)))
        state = [np.atleast_1d(np.asarray(a, np.float64)) for a in (temperature, density)]
        if values.shape != errors.shape or values.shape[1:] != bins.shape or {len(a) for a in state} != {len(values)}:
            raise InputError(
                f"found g {values.shape}, errors {errors.shape}, r {bins.shape} and {len(state[0])} state points; "
                "expected (row, bin), (row, bin), (bin,) and one state point for each row"
            )
        if len(bins) < 10 or not np.allclose(np.diff(bins), (bins[-1] - bins[0]) / (len(bins) - 1), rtol=1e-4):
            raise InputError("found distances in unequal steps, expected a grid such as 0.25, 0.255 … 1.5 nm")
        if not all((a > 0.0).all() for a in state):
            raise InputError("found a temperature or density that is not positive")
        return cls(bins, values, errors, *state)

    def __len__(self) -> int:
        """Return the number of systems."""
        return len(self.g)


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What a network sees, and the units of its answers."""

    curve: Float  # (row, point) g at the points of the scaling
    error: Float  # (row, point) its errors
    state: Float  # (row, number) logarithms of the state and of how large the errors are
    length: Float  # (row,) nm, the unit of σ
    energy: Float  # (row,) kJ/mol, the unit of ε


def seen(curves: Curves, scaling: Scaling) -> Seen:
    """Return what a network sees of liquids.

    Parameters
    ----------
    curves : g(r) with its state point
    scaling : "contact": g at multiples of the distance d where it first rises to ½, and ln ρd³; "density": at multiples
        of ρ^(−1/3); "plain": g in every bin, temperature and density. The first two tell σ and ε in units of that
        length and of kT; all tell how large the errors are

    Raises
    ------
    PhysicsError : g is not known as far as it is looked at
    """
    if scaling == "plain":
        curve, error, length = curves.g, curves.error, np.ones(len(curves))
        state = np.stack([np.log(curves.temperature), np.log(curves.density)], 1)
        energy = np.ones(len(curves))
    else:
        energy = BOLTZMANN * curves.temperature
        length = contact_distance(curves.r, curves.g) if scaling == "contact" else curves.density ** (-1.0 / 3.0)
        place = _POINTS[scaling] * length[:, None]
        curve, error = (_interpolated(curves.r, values, place) for values in (curves.g, curves.error))
        state = np.log(curves.density * length**3)[:, None]
    if not np.isfinite(curve).all():
        row = int(np.flatnonzero(~np.isfinite(curve).all(axis=1))[0])
        reach = curves.r[0] if scaling == "plain" else _POINTS[scaling][-1] * length[row]
        raise PhysicsError(
            f"g(r) of row {row} is not known up to {max(reach, curves.r[0]):.3g} nm, which the network looks at; half "
            "of the box is shorter than that, or the bins end before"
        )
    noise = np.log(1e-3 + np.sqrt((error**2).mean(axis=1)))[:, None]
    return Seen(curve, error, np.concatenate([state, noise], axis=1), length, energy)


def contact_distance(r: Float, g: Float) -> Float:
    """Return where g (row, bin), averaged over five bins, first rises to ½; nm.

    Examples
    --------
    >>> r = np.arange(0.25, 0.6, 0.005)
    >>> [round(float(d), 4) for d in contact_distance(r, np.clip((r - 0.3) / 0.1, 0.0, 1.0)[None])]
    [0.35]
    """
    padded = np.concatenate([np.zeros((len(g), 2)), np.nan_to_num(g), np.ones((len(g), 2))], axis=1)
    smooth = sum(weight * padded[:, k : k + g.shape[1]] for k, weight in enumerate(_WEIGHTS))
    smooth = np.asarray(smooth, np.float64)
    above = smooth >= _RISE
    first = np.where(above.any(axis=1), np.argmax(above, axis=1), g.shape[1] - 1)
    row = np.arange(len(g))
    high, low = smooth[row, first], np.where(first > 0, smooth[row, first - 1], 0.0)
    part = np.clip((_RISE - low) / np.where(high > low, high - low, 1.0), 0.0, 1.0)
    return np.asarray(r[first] - (1.0 - part) * (r[1] - r[0]), np.float64)


def noisier(curves: Curves, factor: ArrayLike, rng: np.random.Generator) -> Curves:
    """Return curves as shorter runs would give them: with noise of so many times their errors added.

    Parameters
    ----------
    curves : as they were measured
    factor : (row,); k makes of a run one that is 1 + k² times shorter

    Notes
    -----
    Bins are taken as independent, which they nearly are when they are narrow: counts of few pairs. What a run has by
    way of noise it keeps, so the errors grow by √(1 + k²).
    """
    size = np.asarray(factor, np.float64)[:, None]
    g = curves.g + size * curves.error * rng.standard_normal(curves.g.shape)
    error = np.sqrt(1.0 + size**2) * curves.error
    return Curves(curves.r, np.maximum(g, 0.0), error, curves.temperature, curves.density)


def _interpolated(r: Float, values: Float, place: Float) -> Float:
    """Return values (row, bin) at places (row, point) on straight lines; zero before the bins, NaN behind them."""
    position = (place - r[0]) / (r[1] - r[0])
    left = np.clip(np.floor(position).astype(np.int64), 0, len(r) - 2)
    part = position - left
    low = np.take_along_axis(values, left, axis=1)
    high = np.take_along_axis(values, left + 1, axis=1)
    inside = np.where(part <= 1.0, low + part * (high - low), np.nan)
    return np.where(position < -1.0, 0.0, np.where(position < 0.0, low * (1.0 + position), inside))
