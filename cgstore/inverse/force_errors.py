"""Errors of what is linear in the scores of blocks: the jackknife over parts that are longer than their correlation."""

import numpy as np
from numpy.typing import NDArray

from cgstore.averages.correlation import error_factor, inefficiencies, merged_length, parts_of
from cgstore.averages.estimates import jackknife_scatter

__all__ = ["block_errors"]

Float = NDArray[np.float64]


def block_errors(residual: Float, weight: Float) -> Float:
    """Return the standard error of places of a curve from what blocks would change (block, place); NaN if too few."""
    series = residual * weight.sum()
    scatter = (series**2).sum(axis=0)
    if len(weight) < 2 or not scatter.any():
        return np.full(residual.shape[1], np.nan)
    found = inefficiencies(series, scatter / max(float(scatter.max()), np.finfo(float).tiny))[0]
    parts = parts_of(int(merged_length(found, len(weight))), weight)
    if not parts.enough:
        return np.full(residual.shape[1], np.nan)
    return np.asarray(error_factor(found, len(weight), parts) * jackknife_scatter(series, weight, parts), np.float64)
