"""Coverage: where a distribution was sampled, where it has holes, and how well each bin is known."""

import numpy as np
import xarray as xr

from cgstore.averages.estimates import distribution_of_blocks
from cgstore.errors import InputError
from cgstore.inverse.layout import Kind, Values, values_of

__all__ = ["FEWEST", "coverage"]

FEWEST = 4.0  # counts that make a bin sampled: with fewer, ln g is wrong by more than kT/2, and biased


def coverage(statistics: xr.Dataset, *, kind: Kind | None = None, fewest: float = FEWEST) -> xr.Dataset:
    """Say which bins of each kind were sampled, and how well.

    Parameters
    ----------
    statistics : a block dataset, as of `rdf_blocks`, or a distribution, as of `cgstore.rdf` or `cgstore.bonded`
    kind : which distribution, where a dataset has several: rdf, bond, angle, dihedral, improper
    fewest : a bin with fewer counts is not sampled; a distribution without counts is sampled where it is above zero

    Returns
    -------
    dataset; on (kind, bin): `sampled`, and `relative_error`, NaN where not known; on (kind): `first` and `last`, the
    centres of the first and last sampled bin, NaN without any; `bins` that are sampled; `holes`, bins between first and
    last that are not; `rare`, bins that were hit, but fewer than `fewest` times; `worst`, the largest relative error

    Raises
    ------
    InputError : not one distribution

    Notes
    -----
    A count is one distance in one frame; successive frames resemble each other, so the relative error can be much
    larger than 1/√count. A core without counts is no hole: nobody was there, and nothing is known but that.

    Examples
    --------
    >>> r = [0.05, 0.15, 0.25, 0.35, 0.45]
    >>> g = xr.Dataset({"rdf": (("pair", "r"), [[0, 0.2, 0, 2, 1]]), "count": (("pair", "r"), [[0, 5, 0, 99, 80]])},
    ...                {"pair": ["A-A"], "r": r})
    >>> found = coverage(g)
    >>> float(found["first"][0].round(3)), int(found["holes"][0]), found["sampled"].values[0].tolist()
    (0.15, 1, [False, True, False, True, True])
    """
    found = values_of(_distribution(statistics), kind, question="coverage")
    return _report(found, fewest)


def _report(found: Values, fewest: float) -> xr.Dataset:
    """Return the dataset of `coverage`."""
    sampled = found.sampled(fewest)
    some = sampled.any(axis=1)
    first, last = sampled.argmax(axis=1), sampled.shape[1] - 1 - sampled[:, ::-1].argmax(axis=1)
    bins = sampled.sum(axis=1)
    relative = np.divide(found.error, found.value, out=np.full_like(found.value, np.nan), where=sampled)
    worst = np.where(np.isnan(relative), -np.inf, relative).max(axis=1)
    rows, unit = (found.kind,), "nm" if found.name in ("rdf", "bond") else "degree"
    both = (found.kind, found.bin)
    return xr.Dataset(
        {
            "sampled": (both, sampled, {"long_name": f"bins with at least {fewest:g} counts"}),
            "relative_error": (both, relative, {"units": "1", "long_name": "relative standard error"}),
            "first": (rows, np.where(some, found.x[first], np.nan), {"units": unit, "long_name": "first sampled bin"}),
            "last": (rows, np.where(some, found.x[last], np.nan), {"units": unit, "long_name": "last sampled bin"}),
            "bins": (rows, bins, {"units": "1", "long_name": "sampled bins"}),
            "holes": (rows, np.where(some, last - first + 1 - bins, 0), {"units": "1", "long_name": "bins in holes"}),
            "rare": (
                rows,
                ((found.count > 0) & ~sampled).sum(axis=1),
                {"units": "1", "long_name": f"bins hit fewer than {fewest:g} times"},
            ),
            "worst": (
                rows,
                np.where(np.isfinite(worst), worst, np.nan),
                {"units": "1", "long_name": "largest relative error of a sampled bin"},
            ),
        },
        {found.kind: list(found.kinds), found.bin: found.x},
        {"distribution": found.name, "fewest": fewest},
    )


def _distribution(statistics: xr.Dataset) -> xr.Dataset:
    """Return the distribution that block statistics make; a distribution is returned as it is."""
    if "norm" not in statistics or "block" not in statistics.dims:
        return statistics
    kind = str(statistics["norm"].dims[0])
    name = "rdf" if kind == "pair" else kind.removesuffix("_kind")
    if "sum" not in statistics:
        raise InputError("coverage: found blocks without `sum`, expected those of `rdf_blocks` or `bonded_blocks`")
    return distribution_of_blocks(statistics, name=name, count="count" if name == "rdf" else f"{name}_count")
