"""One Newton step with a noisy matrix: a ridge as large as the noise asks for, in the scale of the fluctuations.

With D² the variances of the quantities, R = D⁻¹ C D⁻¹ their correlation matrix with eigenvalues Λ, and b what their
means lack, the step is y = −kT D⁻¹ (R + μ)⁻¹ D⁻¹ b. Directions that cannot fluctuate (Λ = 0: the number of bonds of a
kind is constant) are left out.
"""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Regularisation", "Step", "newton_step"]

Float = NDArray[np.float64]
Regularisation = float | Literal["discrepancy"]

_RIGID = 1e-10  # eigenvalue over the largest one, below which a direction does not fluctuate
_RIDGES = (1e-12, 1e6)
_STIFFER = 2.0


class Step(NamedTuple):
    """A step and how it was found."""

    change: Float  # (quantity,) kJ/mol per unit of the quantity
    spread: Float | None  # (quantity, quantity) covariance of the error of the change; None where not known
    ridge: float
    shrinkage: float
    modes: int
    chi2: float  # of b over the modes, before the step; NaN where errors are not known


def newton_step(
    covariance: Float,
    lack: Float,
    noise: Float | None,
    *,
    effective: float,
    kT: float,
    regularisation: Regularisation,
    largest: float,
    basis: Float | None = None,
) -> Step:
    """Return the change of a potential that gives the quantities the means they lack.

    Parameters
    ----------
    covariance : (quantity, quantity) of a frame, no variance zero
    lack : (quantity,) target less model
    noise : (quantity, quantity) covariance of the error of `lack`, None where not known
    effective : independent frames behind the covariance
    kT : kJ/mol
    regularisation : the ridge μ in units of Λ, whose mean is 1; or "discrepancy": the largest ridge at which what is
        still lacking after the step is as large as the noise, with the covariance shrunk
    largest : kJ/mol, of the change; the ridge grows until it is kept
    basis : (entry, quantity), the change that is limited is basis @ change; that itself by default

    Notes
    -----
    The correlations are shrunk to (1 − α) R + α before the step, α = Σ var(R_ij) / Σ R_ij² over i ≠ j, with
    var(R_ij) = (1 − R_ij²)² / effective frames: too few frames make small eigenvalues too small. Schäfer & Strimmer
    2005, doi:10.2202/1544-6115.1175. Discrepancy: Morozov 1984, doi:10.1007/978-1-4612-5280-1
    """
    scale = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(scale, scale)
    automatic = regularisation == "discrepancy"
    alpha = _shrinkage(correlation, effective) if automatic else 0.0
    value, mode = np.linalg.eigh(correlation)
    kept = value > _RIGID * len(value) * value[-1]
    value, mode = value[kept], mode[:, kept]
    lacking = mode.T @ (lack / scale)
    blurred = None if noise is None else _blurred(noise / np.outer(scale, scale), mode, alpha)
    variance = np.full(len(value), np.nan) if blurred is None else np.diag(blurred)
    chi2 = float((lacking**2 / variance).mean()) if len(value) else np.nan
    value = (1.0 - alpha) * value + alpha
    ridge = _discrepancy(value, lacking, variance) if automatic else float(regularisation)

    def change(ridge: float) -> Float:
        return np.asarray(-kT * (mode @ (lacking / (value + ridge))) / scale)

    def size(step: Float) -> float:
        return float(np.abs(step if basis is None else basis @ step).max(initial=0.0))

    step = change(ridge)
    while size(step) > largest * (1.0 + 1e-9):
        ridge = max(_STIFFER * ridge, _RIDGES[0])
        step = change(ridge)
    spread = None
    if blurred is not None and np.isfinite(ridge):
        solved = (mode / (value + ridge)) * (kT / scale)[:, None]
        spread = solved @ blurred @ solved.T
    return Step(step, spread, ridge, alpha, len(value), chi2)


def _shrinkage(correlation: Float, effective: float) -> float:
    """Return which part of the correlations is noise of too few frames."""
    off = correlation - np.diag(np.diag(correlation))
    squares = float((off**2).sum())
    scatter = float(((1.0 - off**2) ** 2).sum() - len(off)) / max(effective - 1.0, 1.0)
    return min(scatter / squares, 1.0) if squares > 0.0 else 1.0


def _blurred(noise: Float, mode: Float, alpha: float) -> Float:
    """Return the covariance (mode, mode) of the error; shrunk like the correlations, it is not too small either."""
    shrunk = (1.0 - alpha) * noise + alpha * np.diag(np.diag(noise))
    return np.asarray(mode.T @ shrunk @ mode, np.float64)


def _discrepancy(value: Float, lacking: Float, variance: Float) -> float:
    """Return the ridge at which what is still lacking has χ² = 1 per mode; the largest one if it had less before."""

    def excess(log: float) -> float:
        rest = lacking / (1.0 + value * np.exp(-log))
        return float((rest**2 / variance).mean()) - 1.0

    low, high = np.log(_RIDGES[0]), np.log(_RIDGES[1])
    if not len(value) or excess(high) <= 0.0:
        return float(np.inf)
    if excess(low) >= 0.0:
        return _RIDGES[0]
    from scipy.optimize import brentq

    return float(np.exp(brentq(excess, low, high, xtol=1e-3)))
