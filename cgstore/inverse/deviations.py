"""Agreement: how far distributions are apart, in units of their errors, and whether that still means anything."""

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from cgstore.inverse.layout import Kind, Values, same_bins, values_of
from cgstore.inverse.sampled import FEWEST

__all__ = ["agreement", "agreement_of", "chi2_limit"]

Float = NDArray[np.float64]


def agreement(
    model: xr.Dataset,
    target: xr.Dataset,
    *,
    kind: Kind | None = None,
    tolerance: ArrayLike = 0.0,
    fewest: float = FEWEST,
) -> xr.Dataset:
    """Say whether two distributions are equal as far as one can know.

    Parameters
    ----------
    model, target : results of `cgstore.rdf` or `cgstore.bonded` on the same kinds and bins
    kind : which distribution, where a dataset has several: rdf, bond, angle, dihedral, improper
    tolerance : a kind whose rmsd is at most this has converged whatever the errors; in the unit of the distribution,
        for all kinds or (kind,)
    fewest : counts that make a bin sampled

    Returns
    -------
    dataset on (kind): `rmsd` over all bins; `chi2`, the mean of (g − g')²/(σ² + σ'²) over the `bins` where both were
    sampled and both errors are known, NaN without such a bin; `limit` of it; `converged`, where chi2 <= limit or
    rmsd <= tolerance

    Raises
    ------
    InputError : other kinds or bins

    Notes
    -----
    Of two equal distributions chi2 is 1 on average, so that a limit of 1 would be missed every second time. The limit
    is 1 + 2√(2/bins), twice the standard deviation of a mean over independent bins. Neighbouring bins depend on each
    other, and chi2 scatters more than that; `tolerance` ends an iteration that goes on for this reason.

    Examples
    --------
    >>> r, one = [0.05, 0.15, 0.25, 0.35], np.ones((1, 4))
    >>> def gas(g): return xr.Dataset({"rdf": (("pair", "r"), g * one), "rdf_error": (("pair", "r"), 0.1 * one)},
    ...                               {"pair": ["A-A"], "r": r})
    >>> [bool(agreement(gas(1.0), gas(g))["converged"][0]) for g in (1.1, 1.3)]
    [True, False]
    """
    question = "agreement"
    found, wanted = (values_of(ds, kind, question=question) for ds in (model, target))
    same_bins(found, wanted, question=question)
    return agreement_of(found, wanted, tolerance=tolerance, fewest=fewest)


def agreement_of(found: Values, wanted: Values, *, tolerance: ArrayLike, fewest: float) -> xr.Dataset:
    """Return `agreement` of distributions that are arrays already."""
    difference = np.nan_to_num(found.value) - np.nan_to_num(wanted.value)
    variance = found.error**2 + wanted.error**2
    known = found.sampled(fewest) & wanted.sampled(fewest) & (variance > 0.0)
    bins = known.sum(axis=1)
    squares = np.where(known, difference**2 / np.where(known, variance, 1.0), 0.0).sum(axis=1)
    chi2 = np.where(bins > 0, squares / np.maximum(bins, 1), np.nan)
    limit = np.array([chi2_limit(int(number)) for number in bins])
    rmsd = np.sqrt((difference**2).mean(axis=1))
    rows = (found.kind,)
    return xr.Dataset(
        {
            "rmsd": (rows, rmsd, {"long_name": "root mean square deviation of the distribution"}),
            "chi2": (rows, chi2, {"units": "1", "long_name": "mean squared deviation in units of its error"}),
            "bins": (rows, bins, {"units": "1", "long_name": "bins behind chi2"}),
            "limit": (rows, limit, {"units": "1", "long_name": "chi2 up to which the distributions are equal"}),
            "converged": (
                rows,
                (chi2 <= limit) | (rmsd <= np.asarray(tolerance)),
                {"long_name": "equal as far as one can know"},
            ),
        },
        {found.kind: list(found.kinds)},
    )


def chi2_limit(bins: int) -> float:
    """Return 1 + 2√(2/bins), what the mean of squared normal deviates exceeds in 3 of 100 cases; NaN of no bins."""
    return 1.0 + 2.0 * float(np.sqrt(2.0 / bins)) if bins > 0 else float("nan")
