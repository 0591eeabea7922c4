"""Parts of sets that are held out in turn, so that each set is predicted once by a model that has never seen it."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.errors import InputError
from cgstore.learn.mobility.models import Regression, basis_of
from cgstore.splits.split import Split

__all__ = ["curve_scale", "folds", "predicted", "predicted_potentials", "resolved"]

Float = NDArray[np.float64]


def folds(names: Sequence[str], *, groups: int, seed: int = 0, sets: int | None = None) -> list[Split]:
    """Return splits of sets of parameters, named by the datasets of their liquids; each set is held out in one.

    Parameters
    ----------
    names : SYSTEM/RUN/LEVEL of each set; what is held out is the system, with all its runs and levels
    groups : how many splits
    seed : decides who is in which group
    sets : how many of the other sets are for training, by chance, of a learning curve; all by default

    Raises
    ------
    InputError : fewer sets than groups, or than are wanted for training

    Examples
    --------
    >>> [len(split.heldout.rules) for split in folds(["a/r/cg", "b/r/cg", "c/r/cg"], groups=2)]
    [2, 1]
    """
    systems = [name.split("/")[0] for name in names]
    if not 2 <= groups <= len(systems):
        raise InputError(
            f"folds: found {len(systems)} sets and {groups} groups, expected 2 groups or more, of a set each"
        )
    rng = np.random.default_rng(seed)
    order = [systems[place] for place in rng.permutation(len(systems))]
    parts = []
    for group in range(groups):
        out = order[group::groups]
        rest = [system for system in order if system not in out]
        if sets is not None and not 1 <= sets <= len(rest):
            raise InputError(f"folds: found {len(rest)} sets for training, expected {sets}; take more groups")
        rest = rest if sets is None else [rest[place] for place in rng.permutation(len(rest))[:sets]]
        rules = {"train": [{"system": system} for system in sorted(rest)]}
        parts.append(Split.from_dict({**rules, "heldout": [{"system": system} for system in sorted(out)]}))
    return parts


def resolved(sets: xr.Dataset) -> xr.Dataset:
    """Return sets from the distance on at which at least half of them know the errors of their potentials."""
    known = np.isfinite(sets["u_error"].values).mean(axis=0) >= 0.5
    return sets.isel(r=slice(int(np.argmax(known)), None))


def curve_scale(sets: xr.Dataset) -> Float:
    """Return the median error of the potential at each distance (r,)."""
    return np.asarray(np.nanmedian(sets["u_error"].values, axis=0), np.float64)


def predicted_potentials(
    regression: Regression, known: xr.Dataset, new: xr.Dataset, *, modes: int = 6
) -> tuple[Float, Float]:
    """Return potentials (row, r) and their errors, from amplitudes that a regression finds from parameters."""
    basis = basis_of(known["u"].values, curve_scale(known), modes=modes)
    amplitude, error = regression(known["x"].values, basis.encode(known["u"].values), new["x"].values)
    return basis.decode(amplitude), basis.spread(error)


def predicted(regression: Regression, known: xr.Dataset, new: xr.Dataset, name: str) -> tuple[Float, Float]:
    """Return a positive column of new sets and its error, predicted as a logarithm from parameters.

    Parameters
    ----------
    regression : such as `cgstore.learn.mobility.models.gaussian_process`
    known, new : sets; those that do not know the column are left out of the known ones
    name : of the column: alpha, D_CG, edge …
    """
    there = known.isel(system=np.flatnonzero(np.isfinite(known[name].values)))
    value, error = regression(there["x"].values, np.log(there[name].values)[:, None], new["x"].values)
    return np.exp(value[:, 0]), np.exp(value[:, 0]) * error[:, 0]
