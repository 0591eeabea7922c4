"""Equilibrium: from where on a short run is settled, and whether what is left still drifts."""

import numpy as np
from numpy.typing import ArrayLike

from cgstore.averages.series import equilibration, mean_of_series

__all__ = ["drift", "settled_from"]

_SIGNIFICANT = 4.0  # standard errors of the drift


def drift(values: ArrayLike) -> float:
    """Return the linear drift of a series over its length in units of its standard error; infinite if that is unknown.

    Parameters
    ----------
    values : (frame,) finite

    Notes
    -----
    The error is that of a slope with correlated residuals: √12 times the error of their mean, which is from blocks
    (`cgstore.averages.series.mean_of_series`) and not known when the residuals are correlated over much of the run.

    Examples
    --------
    >>> noise = np.random.default_rng(1).normal(size=160)
    >>> bool(abs(drift(noise)) < 4), bool(drift(noise + np.linspace(0, 3, 160)) > 4)
    (True, True)
    """
    series = np.asarray(values, np.float64)
    if np.ptp(series) == 0:
        return 0.0
    time = np.linspace(-0.5, 0.5, len(series))
    rise = float(time @ series / (time @ time))
    residuals = series - series.mean() - rise * time
    error = float(mean_of_series(residuals[None]).error[0]) * 12**0.5
    return rise / error if error > 0 else float("inf")  # NaN is not more than 0


def settled_from(series: dict[str, np.ndarray]) -> tuple[int, str]:
    """Return the first frame from which all series are settled, and what is wrong with the rest of them, if anything.

    Parameters
    ----------
    series : name → (frame,) finite, such as the energy and the pressure

    Returns
    -------
    frame, failure : the failure is empty, or begins with "drifting"
    """
    frames = len(next(iter(series.values())))
    starts = {name: equilibration(values) for name, values in series.items()}
    latest = max(starts, key=lambda name: starts[name])
    start = starts[latest]
    if start > frames / 2:
        return start, f"drifting: the {latest} settles only at frame {start} of {frames}"
    for name, values in series.items():
        found = drift(values[start:])
        if abs(found) > _SIGNIFICANT:
            how = (
                f"by {abs(found):.1f} standard errors" if np.isfinite(found) else "or fluctuates too slowly for the run"
            )
            return start, f"drifting: the {name} drifts {how}"
    return start, ""
