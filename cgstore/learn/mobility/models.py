"""From force-field parameters to potentials and rates: a basis of few curves, and what networks are compared with.

A regression is a function of known rows, their answers and new rows, (row, parameter), (row, answer), (row, parameter),
that returns answers and their standard errors.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cgstore.errors import InputError

__all__ = ["Basis", "Regression", "basis_of", "constant", "gaussian_process", "linear", "nearest"]

Float = NDArray[np.float64]
Regression = Callable[[Float, Float, Float], tuple[Float, Float]]

_START = ((1.0, 0.3, 3.0, 0.2), (0.3, 1.0, 2.0, 0.2))  # of the search: slope, bend, length, noise
_LEAST_NOISE = 1e-3
_RIDGE = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class Basis:
    """Potentials as a mean curve and few modes, weighed by how well each distance is known."""

    mean: Float  # (r,)
    modes: Float  # (mode, r), orthonormal in units of the scale
    scale: Float  # (r,)

    def encode(self, u: Float) -> Float:
        """Return the amplitudes (row, mode) of potentials (row, r)."""
        return np.asarray(((u - self.mean) / self.scale) @ self.modes.T, np.float64)

    def decode(self, amplitude: Float) -> Float:
        """Return potentials (row, r) of amplitudes (row, mode)."""
        return np.asarray(self.mean + self.scale * (amplitude @ self.modes), np.float64)

    def spread(self, error: Float) -> Float:
        """Return standard errors (row, r) of potentials from those of independent amplitudes (row, mode)."""
        return np.asarray(self.scale * np.sqrt(error**2 @ self.modes**2), np.float64)


def basis_of(u: Float, scale: Float, *, modes: int = 6) -> Basis:
    """Return the principal curves of potentials (row, r), each distance in units of its error (r,).

    Raises
    ------
    InputError : fewer than two potentials, or an error that is not positive

    Examples
    --------
    >>> u = np.outer([0.0, 1.0, 3.0], [1.0, 2.0, 2.0])
    >>> basis = basis_of(u, np.ones(3), modes=1)
    >>> bool(np.allclose(basis.decode(basis.encode(u)), u))
    True
    """
    if len(u) < 2 or not (scale > 0.0).all():
        raise InputError(f"basis_of: found {len(u)} potentials, least error {scale.min():g}; expected 2, positive")
    mean = u.mean(axis=0)
    _, _, rows = np.linalg.svd((u - mean) / scale, full_matrices=False)
    return Basis(mean, rows[: min(modes, len(u) - 1)], scale)


def constant(x: Float, y: Float, new: Float) -> tuple[Float, Float]:
    """Answer with the mean of all known rows, and their scatter: the same acceleration for all."""
    shape = (len(new), y.shape[1])
    return np.broadcast_to(y.mean(axis=0), shape).copy(), np.broadcast_to(y.std(axis=0, ddof=1), shape).copy()


def nearest(x: Float, y: Float, new: Float) -> tuple[Float, Float]:
    """Answer with the nearest known row, in units of the scatter of each parameter; errors as among known rows.

    Examples
    --------
    >>> x, y = np.array([[0.0], [1.0], [3.0]]), np.array([[5.0], [6.0], [9.0]])
    >>> nearest(x, y, np.array([[2.5]]))[0]
    array([[9.]])
    """
    width = x.std(axis=0)
    width = np.where(width > 0.0, width, 1.0)

    def closest(rows: Float, *, but_itself: bool) -> NDArray[np.intp]:
        apart = (((rows[:, None] - x[None]) / width) ** 2).sum(axis=-1)
        apart = apart + np.diag(np.full(len(x), np.inf)) if but_itself else apart
        return np.asarray(apart.argmin(axis=1), np.intp)

    error = np.sqrt(((y[closest(x, but_itself=True)] - y) ** 2).mean(axis=0))
    return y[closest(new, but_itself=False)], np.broadcast_to(error, (len(new), y.shape[1])).copy()


def linear(x: Float, y: Float, new: Float) -> tuple[Float, Float]:
    """Answer with a straight line in all parameters; errors from the scatter about it.

    Examples
    --------
    >>> x = np.arange(6.0)[:, None]
    >>> linear(x, 2.0 * x, np.array([[10.0]]))[0].round(2)
    array([[20.]])
    """
    middle, width = _standard(x)
    a, b = (np.column_stack([np.ones(len(rows)), (rows - middle) / width]) for rows in (x, new))
    ridge = np.diag([0.0, *[_RIDGE] * x.shape[1]])
    inverse = np.linalg.inv(a.T @ a + ridge)
    slope = inverse @ a.T @ y
    freedom = max(len(x) - a.shape[1], 1)
    variance = ((y - a @ slope) ** 2).sum(axis=0) / freedom
    return b @ slope, np.sqrt(np.outer(1.0 + np.einsum("ij,jk,ik->i", b, inverse, b), variance))


def gaussian_process(x: Float, y: Float, new: Float) -> tuple[Float, Float]:
    """Answer with a Gaussian process of each answer for itself; errors are those of a new measurement.

    Notes
    -----
    The covariance is a² x·x' + b² exp(−|x − x'|²/2l²) + 1 + s² δ of standardised parameters and answers: a straight
    line, and what bends it. a, b, l and s maximise the marginal likelihood; Rasmussen and Williams 2006, chapter 5.

    Examples
    --------
    >>> x = np.linspace(0.0, 3.0, 20)[:, None]
    >>> value, error = gaussian_process(x, np.sin(x), np.array([[1.55]]))
    >>> bool(abs(value[0, 0] - np.sin(1.55)) < 0.02), bool(error[0, 0] < 0.05)
    (True, True)
    """
    middle, width = _standard(x)
    known, asked = (x - middle) / width, (new - middle) / width
    centre, scale = _standard(y)
    columns = [_process(known, column, asked) for column in ((y - centre) / scale).T]
    value, error = (np.stack([column[part] for column in columns], 1) for part in (0, 1))
    return centre + scale * value, scale * error


def _standard(rows: Float) -> tuple[Float, Float]:
    """Return mean and scatter of each column; what does not vary has the scatter one."""
    width = rows.std(axis=0)
    return rows.mean(axis=0), np.where(width > 1e-12, width, 1.0)


def _covariance(a: Float, b: Float, logs: Float) -> Float:
    """Return the covariance of the answers at two lists of places, without noise."""
    slope, bend, length = np.exp(logs[:3])
    square = ((a[:, None] - b[None]) ** 2).sum(axis=-1)
    return np.asarray(slope**2 * a @ b.T + bend**2 * np.exp(-0.5 * square / length**2) + 1.0, np.float64)


def _process(x: Float, y: Float, new: Float) -> tuple[Float, Float]:
    """Return means and standard deviations of one answer."""
    from scipy.linalg import cho_factor, cho_solve
    from scipy.optimize import minimize

    def factor(logs: Float) -> tuple[Float, bool]:
        noise = np.exp(logs[3]) ** 2 + _LEAST_NOISE**2
        lower, is_lower = cho_factor(_covariance(x, x, logs) + noise * np.eye(len(x)), lower=True)
        return lower, is_lower

    def surprise(logs: Float) -> float:
        lower = factor(logs)
        return float(0.5 * y @ cho_solve(lower, y) + np.log(np.diag(lower[0])).sum() + 0.005 * (logs**2).sum())

    bounds = [(-6.0, 3.0), (-6.0, 3.0), (-1.0, 4.0), (-6.0, 1.0)]
    tried = [minimize(surprise, np.log(start), method="L-BFGS-B", bounds=bounds) for start in _START]
    logs = min(tried, key=lambda found: float(found.fun)).x
    lower = factor(logs)
    across = _covariance(new, x, logs)
    variance = np.diag(_covariance(new, new, logs)) + np.exp(2 * logs[3])
    variance = variance - np.einsum("ij,ij->i", across, cho_solve(lower, across.T).T)
    return across @ cho_solve(lower, y), np.sqrt(np.maximum(variance, _LEAST_NOISE**2))
