"""Series of one number per frame: their mean with its error, where they are equilibrated, and whether they drift."""

import numpy as np
from numpy.typing import ArrayLike

from cgstore.averages.blocks import block_length
from cgstore.averages.estimates import Estimate, mean_and_error
from cgstore.averages.settling import first_tame, settled
from cgstore.errors import InputError

__all__ = ["drift", "equilibration", "mean_of_series"]


def mean_of_series(values: ArrayLike, *, weight: ArrayLike | None = None) -> Estimate:
    """Return means of series over frames with their standard errors: area per lipid, thickness, energy, density.

    Parameters
    ----------
    values : (series, frame) at equal spacing in time, all finite
    weight : (frame,) not negative; one each without it

    Returns
    -------
    Estimate on (series,) : the inefficiency is in frames; the error is NaN where the run is too short to know it, see
        `cgstore.averages.estimates.mean_and_error`

    Raises
    ------
    InputError : shapes do not fit, there are no frames, a value is not finite, a weight is negative or not finite

    Examples
    --------
    >>> x = np.random.default_rng(1).normal(5.0, 1.0, (1, 1000))
    >>> found = mean_of_series(x)
    >>> bool(abs(found.mean[0] - 5.0) < 3 * found.error[0]), round(float(found.error[0]), 2)
    (True, 0.03)
    """
    series = np.asarray(values, np.float64)
    if series.ndim != 2 or series.shape[1] == 0:
        raise InputError(f"found values of shape {series.shape}, expected (series, frame) with at least one frame")
    frames = series.shape[1]
    weights = np.ones(frames) if weight is None else np.asarray(weight, np.float64)
    if weights.shape != (frames,) or not (np.isfinite(weights) & (weights >= 0)).all():
        raise InputError(f"found weights of shape {weights.shape}, expected ({frames},) of them, none negative")
    if not np.isfinite(series).all():
        where, frame = (int(at) for at in np.argwhere(~np.isfinite(series))[0])
        raise InputError(f"found {series[where, frame]} in frame {frame} of series {where}; leave that frame out")
    length = block_length(frames)
    starts = np.arange(0, frames, length)
    # Taken off first: a small fluctuation of a large number keeps its digits.
    level = series.mean(axis=1, keepdims=True)
    sums = np.add.reduceat((series - level) * weights, starts, axis=1)
    found = mean_and_error(sums[:, :, None], np.add.reduceat(weights, starts))
    constant = (np.ptp(series, axis=1) == 0) & (weights.sum() > 0)  # its error is zero, not unknown
    return Estimate(
        found.mean[:, 0] + level[:, 0],
        np.where(constant, 0.0, found.error[:, 0]),
        np.where(constant, 1.0, found.inefficiency) * length,
        np.where(constant & (len(starts) > 1), len(starts), found.blocks),
    )


def equilibration(values: ArrayLike) -> int:
    """Return the first frame of the equilibrated part of a series; 0 when nothing need be left out.

    Parameters
    ----------
    values : (frame,) at equal spacing in time, all finite

    Returns
    -------
    frame, at most three quarters of the run; beyond half of it the series is not equilibrated at all

    Raises
    ------
    InputError : no series, or a value is not finite

    Notes
    -----
    The part that is kept has the largest number of effective frames, (N − t) / g(t), where g is the statistical
    inefficiency from frame t on (Chodera 2016, doi:10.1021/acs.jctc.5b00784). Two things are added. First frames that
    are more than 8 standard deviations off the median of the second half, both robust, go at once: one lattice would
    hide all correlation. And what is left out must differ from what is kept by more than 4 standard errors: the rule
    alone asks to leave out a part of most series that are stationary and correlated. Resolution beyond that is 1/256
    of the run. False alarms: see `docs/statistics.md`.

    Examples
    --------
    >>> x = np.random.default_rng(1).normal(size=500)
    >>> x[0] = 40.0
    >>> equilibration(x)
    1
    """
    series = np.asarray(values, np.float64)
    if series.ndim != 1 or not np.isfinite(series).all():
        raise InputError(f"found values of shape {series.shape}, expected (frame,) finite numbers")
    first = first_tame(series)
    rest = series[first:]
    length = block_length(len(rest))
    blocks = len(rest) // length
    return first + length * settled(rest[: blocks * length].reshape(blocks, length).mean(axis=1))


def drift(values: ArrayLike) -> float:
    """Return the linear drift of a series over its length in units of its standard error; NaN if that is unknown.

    Parameters
    ----------
    values : (frame,) at equal spacing in time, all finite

    Raises
    ------
    InputError : a value is not finite

    Notes
    -----
    The error is that of a slope with correlated residuals: √12 times the error of their mean, which is not known when
    they are correlated over much of the run.

    Examples
    --------
    >>> noise = np.random.default_rng(1).normal(size=160)
    >>> bool(abs(drift(noise)) < 4), bool(drift(noise + np.linspace(0, 3, 160)) > 4)
    (True, True)
    """
    series = np.asarray(values, np.float64)
    if len(series) < 2 or np.ptp(series) == 0:
        return 0.0
    time = np.linspace(-0.5, 0.5, len(series))
    rise = float(time @ series / (time @ time))
    residuals = series - series.mean() - rise * time
    error = float(mean_of_series(residuals[None]).error[0]) * 12**0.5
    return rise / error if error else float("inf")
