"""One Newton step with a noisy matrix: a ridge as large as the noise asks for, in the scale of the fluctuations.

With D² the variances of the quantities, R = D⁻¹ C D⁻¹ their correlation matrix with eigenvalues Λ, and b what their
means lack, the step is y = −kT D⁻¹ (R + μ)⁻¹ D⁻¹ b. Directions that cannot fluctuate (Λ = 0: the number of bonds of a
kind is constant) are left out.
"""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cgstore.inverse.eigenvalues import corrected_eigenvalues

__all__ = ["NEIGHBOURS", "Parts", "Regularisation", "Step", "newton_step"]

Float = NDArray[np.float64]
Regularisation = float | Literal["discrepancy"]

_RIGID = 1e-10  # eigenvalue over the largest one, below which a direction does not fluctuate
_RIDGES = (1e-12, 1e6)
_STIFFER = 2.0
NEIGHBOURS = 8  # modes that share what is known of how long they remember


class Step(NamedTuple):
    """A step and how it was found."""

    change: Float  # (quantity,) kJ/mol per unit of the quantity
    spread: Float | None  # (quantity, quantity) covariance of the error of the change; None where not known
    ridge: float
    modes: int
    chi2: float  # of b over the modes, before the step; NaN where errors are not known


class Parts(NamedTuple):
    """Means of parts of a run less the mean of all, with their shares of the weight."""

    residual: Float  # (part, quantity)
    share: Float  # (part,)


def newton_step(
    covariance: Float,
    lack: Float,
    error: Float | None,
    *,
    effective: float,
    kT: float,
    regularisation: Regularisation,
    largest: float,
    basis: Float | None = None,
    parts: Parts | None = None,
) -> Step:
    """Return the change of a potential that gives the quantities the means they lack.

    Parameters
    ----------
    covariance : (quantity, quantity) of a frame, no variance zero
    lack : (quantity,) target less model
    error : (quantity,) standard errors of `lack`, correlated as the quantities are; None where not known
    effective : independent frames behind the covariance
    kT : kJ/mol
    regularisation : the ridge μ in units of Λ, whose mean is 1; or "discrepancy": the largest ridge at which what is
        still lacking after the step is as large as its error, with eigenvalues corrected for the number of frames
    largest : kJ/mol, of the change; the ridge grows until it is kept
    basis : (entry, quantity), the change that is limited is basis @ change; that itself by default
    parts : how the means of parts of the run scatter: some modes remember longer than others, and are known less well

    Notes
    -----
    Discrepancy: Morozov 1984, doi:10.1007/978-1-4612-5280-1. Eigenvalues: see `eigenvalues`. Errors of means are
    correlated like the fluctuations themselves, if slow and fast ones are alike: E = D ε R ε D with ε = error / D.
    """
    scale = np.sqrt(np.diag(covariance))
    automatic = regularisation == "discrepancy"
    value, mode = _modes(covariance / np.outer(scale, scale), effective if automatic else np.inf)
    lacking = mode.T @ (lack / scale)
    blurred, variance, chi2 = None, np.full(len(value), np.nan), np.nan
    if error is not None:
        mixed = mode.T @ ((error / scale)[:, None] * mode)
        blurred = (mixed * value) @ mixed.T  # (mode, mode) covariance of the error
        if parts is not None and automatic:
            slow = np.sqrt(_slowness(parts.residual / scale @ mode, parts.share, value))
            blurred *= np.outer(slow, slow)
        variance = np.diag(blurred)
        chi2 = float((lacking**2 / variance).mean())
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
    return Step(step, spread, ridge, len(value), chi2)


def _modes(correlation: Float, effective: float) -> tuple[Float, Float]:
    """Return eigenvalues (mode,), corrected for the number of frames, and eigenvectors (quantity, mode)."""
    value, mode = np.linalg.eigh(correlation)
    moving = value > _RIGID * len(value) * value[-1]
    if np.count_nonzero(moving) < effective:
        value, mode = value[moving], mode[:, moving]
    if np.isfinite(effective):
        # With fewer frames than quantities nobody knows which directions are rigid; the target lacks nothing in those.
        value = corrected_eigenvalues(np.maximum(value, 0.0), effective)
    return value, mode


def _slowness(residual: Float, share: Float, value: Float) -> Float:
    """Return how much more each mode scatters from part to part than modes do on average, 1 on average.

    Few parts say little about one mode, so modes of nearly equal eigenvalue, which are equally collective, share.
    """
    scatter = (share[:, None] ** 2 * residual**2).sum(axis=0) / value
    window = min(NEIGHBOURS, len(scatter))
    half = window // 2
    sums = np.concatenate([[0.0], np.cumsum(scatter)])
    low = np.clip(np.arange(len(scatter)) - half, 0, len(scatter) - window)
    shared = (sums[low + window] - sums[low]) / window
    mean = float(shared @ value / value.sum())  # as the bins see it: each mode by its part of their variance
    return np.asarray(np.maximum(shared / mean, 0.5) if mean > 0.0 else np.ones_like(shared), np.float64)


def _discrepancy(value: Float, lacking: Float, variance: Float) -> float:
    """Return the ridge at which what is still lacking has χ² = 1 per mode; infinite if it had less before."""

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
