"""Eigenvalues of a covariance from few frames, corrected: the small ones are too small, the large ones too large."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["corrected_eigenvalues"]

Float = NDArray[np.float64]

_ROOT = float(np.sqrt(5.0))


def corrected_eigenvalues(value: Float, frames: float) -> Float:
    """Return what the variances along the eigenvectors of a sample covariance really are, in the best estimate.

    Parameters
    ----------
    value : (mode,) eigenvalues of the sample, growing, not negative
    frames : independent frames behind the sample; where they are fewer than the modes, the smallest eigenvalues are
        zero, and all such directions get one common variance

    Notes
    -----
    The analytical nonlinear shrinkage of Ledoit & Wolf 2020, doi:10.1214/19-AOS1921: the density of the eigenvalues and
    its Hilbert transform, both with the kernel of Epanechnikov, undo the spreading of Marchenko & Pastur. Eigenvalues
    that stand apart from the others stay nearly as they are. One frame is spent for the mean.

    Examples
    --------
    >>> sample = np.random.default_rng(1).normal(size=(200, 100))
    >>> spread = np.linalg.eigvalsh(np.cov(sample.T))
    >>> found = corrected_eigenvalues(spread, 200)
    >>> bool(spread[0] < 0.15), bool(spread[-1] > 2.5), bool(abs(found - 1.0).max() < 0.5)
    (True, True, True)
    """
    modes, degrees = len(value), max(frames - 1.0, 1.0)
    if modes < 2:
        return value
    zero = modes - int(degrees) if degrees < modes else 0
    known = np.maximum(value[zero:], np.finfo(float).eps * value[-1])
    width = degrees ** (-1.0 / 3.0)
    density, hilbert = _spectrum(known, width)
    ratio = modes / degrees
    result = np.empty(modes)
    if zero == 0:
        real = 1.0 - ratio - np.pi * ratio * known * hilbert
        return np.asarray(known / ((np.pi * ratio * known * density) ** 2 + real**2), np.float64)
    result[zero:] = known / (np.pi**2 * known**2 * (density**2 + hilbert**2))
    log = np.log((1.0 + _ROOT * width) / max(1.0 - _ROOT * width, 1e-3))
    origin = 0.3 / width**2 + 0.75 / _ROOT / width * (1.0 - 0.2 / width**2) * log
    result[:zero] = 1.0 / ((modes - degrees) / degrees * abs(origin) * float((1.0 / known).mean()))
    return result


def _spectrum(value: Float, width: float) -> tuple[Float, Float]:
    """Return the density of eigenvalues at each of them, and its Hilbert transform."""
    x = (value[:, None] - value[None, :]) / (width * value[None, :])
    bump = 1.0 - x**2 / 5.0
    density = 0.75 / _ROOT * (np.maximum(bump, 0.0) / (width * value[None, :])).mean(axis=1)
    edge = np.abs(np.abs(x) - _ROOT) < 1e-12
    safe = np.where(edge, 0.0, x)
    log = np.log(np.abs((_ROOT - safe) / (_ROOT + safe)))
    transform = -0.3 / np.pi * x + np.where(edge, 0.0, 0.75 / _ROOT / np.pi * bump * log)
    return density, (transform / (width * value[None, :])).mean(axis=1)
