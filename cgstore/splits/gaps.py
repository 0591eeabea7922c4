"""Gaps: how many ps a gap is for a run, where it is stated as a number of correlation times.

The correlation time is read from kept results of the very frames that are split (`cgstore distributions` keeps them);
nothing is computed here, and no positions are read.
"""

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from cgstore.documents import did_you_mean
from cgstore.errors import InputError, IntegrityError
from cgstore.features import Kept, kept, read_kept
from cgstore.splits.rules import Gap
from cgstore.store.locations import is_url

__all__ = ["correlation_times", "gap_of"]

_SUFFIX = "correlation_time"
_READ: dict[tuple[Path, str], dict[str, float]] = {}  # results never change: each is read once


def gap_of(gap: Gap, entry: Any) -> float:
    """Return a gap in ps for one dataset.

    Parameters
    ----------
    gap : as stated in the split
    entry : of the dataset in a catalog

    Raises
    ------
    InputError : the gap is in correlation times and none is kept for this dataset, or not that of the observable

    Examples
    --------
    >>> gap_of(Gap(200.0), None)
    200.0
    """
    if gap.time is not None:
        return gap.time
    known = correlation_times(entry)
    number = gap.number or 0.0
    if not known:
        raise InputError(
            f"{entry.name}: the gap is {number:g} correlation times, and none is known of these frames; "
            f'run cgstore distributions {entry.name}, or state a time: gap = "200 ps"'
        )
    if gap.of and gap.of not in known:
        raise InputError(
            f"{entry.name}: found no kept correlation time of {gap.of!r}{did_you_mean(gap.of, known)}; "
            "cgstore distributions computes what a spec asks for, and keeps it"
        )
    return number * (known[gap.of] if gap.of else max(known.values()))


def correlation_times(entry: Any) -> dict[str, float]:
    """Return the correlation time in ps of every kept distribution and observable, the slowest of its kinds.

    Parameters
    ----------
    entry : of a dataset in a catalog; one that lies in no folder of this machine keeps nothing

    Returns
    -------
    by name: `rdf`, `bond`, `area_per_lipid` …; only of the frames as they are now

    Notes
    -----
    A correlation time below half a block of the statistics cannot be told from none and is given as half a block, so
    a gap is rather too long than too short.
    """
    location = getattr(entry, "location", None)
    if location is None or is_url(str(location)) or not Path(location).is_dir():
        return {}
    digest = entry.metadata.get("digest")
    times: dict[str, float] = {}
    try:
        items = kept(Path(location))
    except IntegrityError:
        return {}  # whoever needs it is told to compute it, and then what is damaged
    for item in items:
        if item.dataset_digest == digest:
            for name, value in _times_of(item).items():
                times[name] = max(value, times.get(name, 0.0))
    return times


def _times_of(item: Kept) -> dict[str, float]:
    """Return the correlation times in one kept result."""
    place = (item.folder, item.key)
    if place not in _READ:
        try:
            _READ[place] = _times(read_kept(item), item.name)
        except IntegrityError:
            return {}  # it is only not used
    return _READ[place]


def _times(result: Any, title: str) -> dict[str, float]:
    """Return the correlation times in a result."""
    # With all that counts; most splits do not need it.
    from cgstore.averages.keeping import NAME
    from cgstore.averages.onepass import distributions_of

    nodes = distributions_of(result).compute() if title == NAME else result
    times: dict[str, float] = {}
    for name, ds in _datasets(nodes, title):
        for quantity, value in _times_in(ds, name).items():
            times[quantity] = max(value, times.get(quantity, 0.0))
    return times


def _datasets(result: Any, title: str) -> list[tuple[str, xr.Dataset]]:
    """Return the datasets of a result with their names."""
    if not isinstance(result, xr.DataTree):
        return [(title, result)]
    return [(name, node.to_dataset()) for name, node in result.children.items() if name != "covariance"]


def _times_in(ds: xr.Dataset, title: str) -> dict[str, float]:
    """Return the slowest correlation time of each quantity of a dataset, without those that are not known."""
    found = {}
    for variable in ds.variables:
        name = str(variable)
        if name.endswith(_SUFFIX):
            values = np.asarray(ds[name].values, np.float64)
            if np.isfinite(values).any():
                found[name.removesuffix(_SUFFIX).rstrip("_") or title] = float(np.nanmax(values))
    return found
