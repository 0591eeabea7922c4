"""Equilibrium: from where on a short run is settled, and whether what is left still drifts."""

import numpy as np

from cgstore.averages.series import drift, equilibration

__all__ = ["settled_from"]

_SIGNIFICANT = 4.0  # standard errors of the drift


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
        if not abs(found) <= _SIGNIFICANT:  # NaN is no better: too correlated for anybody to know
            how = (
                f"by {abs(found):.1f} standard errors" if np.isfinite(found) else "or fluctuates too slowly for the run"
            )
            return start, f"drifting: the {name} drifts {how}"
    return start, ""
