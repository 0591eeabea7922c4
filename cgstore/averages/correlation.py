"""Correlation of consecutive blocks: their statistical inefficiency, and how many make an independent part."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

__all__ = [
    "FEWEST_PARTS",
    "MOST_PARTS",
    "Parts",
    "doubtful",
    "error_factor",
    "inefficiencies",
    "merged_length",
    "parts_of",
]

FEWEST_PARTS = 4  # fewer independent parts give no error
MOST_PARTS = 20  # more would hide what is slow and small; the error is then known to 16 %
_FEW_PARTS = 5  # doubt about the correlation leaves so many
_WINDOW = 3.0  # Sokal's window in units of the statistical inefficiency: an exponential has fallen to e⁻⁶
_ONE_SIGMA = 0.8413447460685429  # of a normal distribution lies below its mean plus one standard deviation

Float = NDArray[np.float64]


class Parts(NamedTuple):
    """How a series of blocks is cut into parts that are independent."""

    length: int  # blocks merged into a part
    starts: NDArray[np.int64]  # (part,) first block of each
    effective: float  # number of parts, less where their weights differ: (Σ W)² / Σ W²

    @property
    def enough(self) -> bool:
        """Whether they give an error."""
        return self.effective > FEWEST_PARTS - 1e-6


def inefficiencies(residual: ArrayLike, mean: ArrayLike) -> Float:
    """Return the statistical inefficiency g = 1 + 2 Σ ρ(t) of blocks: of all bins together, then of each.

    Parameters
    ----------
    residual : (block, bin) sums of consecutive blocks less what their weights let expect; their sum is zero
    mean : (bin,) the inverse of it weighs the bins, since shot noise then counts alike in each

    Returns
    -------
    (1 + bin,) in blocks, at least 1, which is also what does not vary gets

    Notes
    -----
    The sum is taken over Sokal's window t <= 3 g. The mean that was taken off lowers every product by the square of
    its own error, g C(0) / B for B blocks, which is put back (Wolff's correction, here without the assumption that the
    window is short compared to the run). Sokal 1997, doi:10.1007/978-1-4899-0319-8_6; Wolff 2004,
    doi:10.1016/S0010-4655(03)00467-3

    Examples
    --------
    >>> x = np.random.default_rng(1).normal(size=(256, 1))
    >>> bool(inefficiencies(x - x.mean(), [1.0])[0] < 1.3)
    True
    """
    series = np.asarray(residual, np.float64)
    blocks = len(series)
    shot = 1.0 / (np.abs(np.asarray(mean, np.float64)) + np.finfo(float).tiny ** 0.5)

    def covariance(t: int) -> Float:
        # Divided by the number of products: a sum over few pairs of blocks must not look like a decay.
        products = np.einsum("bi,bi->i", series[: blocks - t], series[t:]) / (blocks - t)
        return np.concatenate([[products @ shot], products])

    scatter = covariance(0)
    total, g = scatter.copy(), np.ones(len(scatter))
    still, t = scatter > 0, 0
    while still.any() and t + 1 < blocks // 2:
        t += 1
        total[still] += 2.0 * covariance(t)[still]
        put_back = total[still] / max(1.0 - (2.0 * t + 1.0) / blocks, 0.05)
        g[still] = put_back / (scatter[still] + np.maximum(put_back, 0.0) / blocks)
        still &= t + 1 <= _WINDOW * g
    return np.maximum(g, 1.0)


def inefficiency_of(series: ArrayLike) -> float:
    """Return the statistical inefficiency of one series of some hundred values, as `inefficiencies`, all lags at once.

    Parameters
    ----------
    series : (block,)

    Examples
    --------
    >>> x = np.random.default_rng(2).normal(size=200).cumsum()
    >>> bool(np.isclose(inefficiency_of(x), inefficiencies((x - x.mean())[:, None], [1.0])[1]))
    True
    """
    values = np.asarray(series, np.float64)
    blocks = len(values)
    residual = values - values.mean()
    lag = np.arange(max(blocks // 2, 1))
    covariance = np.correlate(residual, residual, "full")[blocks - 1 :][lag] / (blocks - lag)
    if len(lag) < 2 or covariance[0] <= 0.0:
        return 1.0
    total = covariance[0] + 2.0 * np.cumsum(covariance[1:])
    put_back = total / np.maximum(1.0 - (2.0 * lag[1:] + 1.0) / blocks, 0.05)
    g = put_back / (covariance[0] + np.maximum(put_back, 0.0) / blocks)
    closed = lag[1:] + 1 > _WINDOW * g
    return max(float(g[int(closed.argmax()) if closed.any() else -1]), 1.0)


def doubtful(inefficiency: ArrayLike, blocks: int) -> Float:
    """Return the upper end of what an inefficiency may be: one standard error above it.

    Parameters
    ----------
    inefficiency : (...,) in blocks
    blocks : it was found from

    Notes
    -----
    1 + (g − 1) (1 + √((4 W + 2) / B)) with the window W = 3 g; where there is no sign of correlation there is no
    doubt. Wolff 2004, doi:10.1016/S0010-4655(03)00467-3, equation 42

    Examples
    --------
    >>> doubtful([1.0, 10.0], 256).round(1).tolist()
    [1.0, 16.2]
    """
    g = np.asarray(inefficiency, np.float64)
    return np.asarray(1.0 + (g - 1.0) * (1.0 + np.sqrt((4.0 * _WINDOW * g + 2.0) / blocks)))


def merged_length(inefficiency: ArrayLike, blocks: int) -> NDArray[np.int64]:
    """Return how many blocks to merge: as many as leave at most 20 parts, and not fewer than the inefficiency may be.

    Parameters
    ----------
    inefficiency : (...,) in blocks
    blocks : how many there are

    Examples
    --------
    >>> merged_length([1.0, 20.0], 256).tolist()
    [13, 39]
    """
    g = np.asarray(inefficiency, np.float64)
    # What is only possible lengthens the parts, but does not by itself make a run too short.
    long = np.maximum(g, np.minimum(doubtful(g, blocks), blocks // _FEW_PARTS))
    wanted = np.ceil(np.maximum(long, blocks / MOST_PARTS) - 1e-9)
    return np.minimum(wanted, max(blocks, 1)).astype(np.int64)


def parts_of(length: int, weight: Float) -> Parts:
    """Cut blocks into parts of `length`; the last may be shorter.

    Parameters
    ----------
    length : blocks in a part
    weight : (block,)
    """
    starts = np.arange(0, len(weight), length)
    shares = np.add.reduceat(weight, starts) if len(weight) else weight
    squares = float((shares**2).sum())
    return Parts(length, starts, float(shares.sum()) ** 2 / squares if squares > 0 else 0.0)


def error_factor(inefficiency: ArrayLike, blocks: int, parts: Parts) -> Float:
    """Return what the scatter of parts is multiplied with, so that mean ± error covers the truth in 68.3 % of runs.

    Parameters
    ----------
    inefficiency : (...,) in blocks
    blocks : how many there are
    parts : that were made of them

    Notes
    -----
    Two factors. Neighbouring parts of length n share κ = (g² − 1)(1 − φⁿ) / (2 g n) of the variance when the
    correlation is exponential, φ = (g − 1) / (g + 1): 1 / √(1 − κ), with g at the upper end of what it may be. And a
    scatter known from few parts is often too small: the quantile of Student's t in place of 1 (1.03 for 20 parts, 1.20
    for 4), as the Guide to the Expression of Uncertainty in Measurement has it (JCGM 100:2008, G.3).

    Examples
    --------
    >>> round(float(error_factor(1.0, 20, parts_of(1, np.ones(20)))), 3)
    1.027
    """
    g = doubtful(inefficiency, blocks)
    phi = (g - 1.0) / (g + 1.0)
    shared = (g**2 - 1.0) * (1.0 - phi**parts.length) / (2.0 * g * parts.length)
    student = stdtrit(max(parts.effective - 1.0, 1.0), _ONE_SIGMA)
    return np.asarray(student / np.sqrt(1.0 - shared))
