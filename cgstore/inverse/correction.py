"""Corrections of a potential: a change known in some bins is carried on into the others; walls are made anew."""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.errors import InputError
from cgstore.inverse.filling import smoothed
from cgstore.inverse.layout import Values
from cgstore.inverse.mean_force import refill

__all__ = ["BOTH", "COVERAGE", "MODEL_ONLY", "NEITHER", "TARGET_ONLY", "carried", "corrected", "covered", "energies_of"]

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

NEITHER, TARGET_ONLY, MODEL_ONLY, BOTH = 0, 1, 2, 3
COVERAGE = {
    "long_name": "who sampled the bin",
    "flag_values": [NEITHER, TARGET_ONLY, MODEL_ONLY, BOTH],
    "flag_meanings": "neither target_only model_only both",
}


def covered(model: Bool, target: Bool) -> NDArray[np.int8]:
    """Return who sampled each bin, as the numbers of `COVERAGE`."""
    return np.asarray(MODEL_ONLY * model + TARGET_ONLY * target, np.int8)


def energies_of(potential: xr.Dataset, like: Values, *, question: str) -> Float:
    """Return the energies (kind, bin) of a potential on the bins of a distribution.

    Raises
    ------
    InputError : `potential` is missing, is on other kinds or bins, or is not finite where there are pairs or terms
    """
    if "potential" not in potential or potential["potential"].ndim != 2:
        raise InputError(
            f"{question}: found {sorted(map(str, potential.data_vars))} in the potential, expected `potential` on "
            f"({like.kind}, {like.bin}), as `potential_of_mean_force` returns it"
        )
    array = potential["potential"]
    energy = np.asarray(array.values, np.float64)
    kinds = tuple(map(str, array[array.dims[0]].values.tolist()))
    centres = np.asarray(array[array.dims[1]].values, np.float64)
    width = like.edges[-1] - like.edges[-2]
    if kinds != like.kinds or centres.shape != like.x.shape or np.abs(centres - like.x).max() > 0.01 * width:
        raise InputError(
            f"{question}: found a potential of {', '.join(kinds)} on {len(centres)} bins, expected one of "
            f"{', '.join(like.kinds)} on the {len(like.x)} bins of the distributions"
        )
    wrong = np.argwhere(~np.isfinite(energy) & ~np.isnan(like.value).all(axis=1, keepdims=True))
    if len(wrong):
        raise InputError(f"{question}: the potential of {like.where(*wrong[0])} is not finite; start from a whole one")
    return energy


def carried(change: Float, error: Float) -> Float:
    """Return a change (bin,) smoothed by its errors and carried on constantly where it is NaN; zero if all is."""
    known = np.flatnonzero(np.isfinite(change))
    if not len(known):
        return np.zeros_like(change)
    low, high = known[0], known[-1] + 1
    result = np.empty_like(change)
    result[low:high] = smoothed(change[low:high], error[low:high])
    result[:low], result[high:] = result[low], result[high - 1]
    return result


def corrected(
    found: Values, energy: Float, change: Float, error: Float, keep: Bool, *, kT: float, question: str
) -> tuple[Float, Bool]:
    """Return energies (kind, bin) with their change, and where they are extrapolated.

    Parameters
    ----------
    found : the distribution that the potential is of; kinds that are NaN in it are left alone
    energy, change, error : (kind, bin); the change is NaN where nothing is known of it
    keep : (kind, bin) where the energies mean something: the target was there; elsewhere walls are made anew
    """
    result, extrapolated = energy.copy(), np.ones(energy.shape, np.bool_)
    exists: Bool = np.asarray(~np.isnan(found.value).all(axis=1))
    for row in np.flatnonzero(exists):
        result[row] += carried(change[row], error[row])
    nothing = np.full(energy.shape, np.nan)  # errors: the energies are not smoothed again
    filled, extrapolated = refill(found, np.where(keep, result, np.nan), nothing, kT, question)
    return np.where(exists[:, None], filled, energy), extrapolated
