"""Corrections of all potentials of a model: each bin by itself, all bins at once, or all splines at once."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.inverse.correction import BOTH
from cgstore.inverse.cross import imc_update, with_change
from cgstore.inverse.entries import counts_of_distribution, entries_of, on_entries
from cgstore.inverse.iterative import ibi_update, pressure_ramp
from cgstore.inverse.layout import Kind, values_of
from cgstore.inverse.relative_entropy import relative_entropy_step, spline_basis
from cgstore.inverse.sampled import FEWEST
from cgstore.learn.goal import Goal

__all__ = ["Potentials", "by_bins", "by_response", "ramped"]

Float = NDArray[np.float64]
Potentials = Mapping[Kind, xr.Dataset]  # `potential` of each distribution on (kind, bin), kJ/mol


def by_bins(
    before: Potentials,
    found: Mapping[Kind, xr.Dataset],
    goal: Goal,
    *,
    temperature: float,
    step: float,
    tolerance: float,
) -> dict[Kind, xr.Dataset]:
    """Return potentials after a step of iterative Boltzmann inversion of every distribution.

    Kinds that model and reference do not meet in any bin stay as they are: others may bring them together.

    Parameters
    ----------
    before : the potentials of the model
    found : its distributions
    temperature : K
    step : part of the correction that is made
    tolerance : deviation up to which a kind is left alone
    """
    after = dict(before)
    for name, part in goal.parts.items():
        kind, met = goal.dims(name)[0], _met(found[name], part, name)
        if not met.any():
            continue
        old, new, wanted = (ds.isel({kind: met}) for ds in (before[name], found[name], part))
        enough = tolerance * goal.scale[name][met]
        update = ibi_update(old, new, wanted, kind=name, temperature=temperature, step=step, tolerance=enough)
        energy = before[name]["potential"].copy()
        energy[{kind: met}] = update["potential"].values
        after[name] = before[name].assign(potential=energy)
    return after


def by_response(
    before: Potentials,
    found: Mapping[Kind, xr.Dataset],
    model: xr.DataTree,
    goal: Goal,
    *,
    temperature: float,
    step: float,
    volume: float,
    basis: Literal["bins", "splines"],
) -> dict[Kind, xr.Dataset]:
    """Return potentials after a step that the covariance of all counts of the model says.

    Kinds that model and reference do not meet in any bin stay as they are, as in `by_bins`.

    Parameters
    ----------
    before : the potentials of the model
    found : its distributions
    model : its statistics, with the covariance
    temperature : K
    step : part of the change that is made
    volume : nm³, of the model
    basis : "bins": inverse Monte Carlo; "splines": the Newton step of the relative entropy
    """
    covariance = model["covariance"].to_dataset()
    labels, kinds, _ = entries_of(covariance)
    here = np.zeros(len(labels), np.bool_)
    for name, part in goal.parts.items():
        known = part[goal.dims(name)[0]].values[_met(found[name], part, name)]
        here |= (labels == name) & np.isin(kinds, known)
    covariance = covariance.isel(entry=here, other=here)
    counts = [
        counts_of_distribution(part, model[name].to_dataset()["norm"], volume=volume, kind=name)
        for name, part in goal.parts.items()
    ]
    target = on_entries(counts, covariance)
    if basis == "bins":
        update = imc_update(covariance, target, temperature=temperature)
    else:
        splines = spline_basis(covariance, target=target)
        update = relative_entropy_step(covariance, target, splines, temperature=temperature, response="logarithm")
        update["change"] = update["change"].where(update["coverage"] == BOTH)  # elsewhere the nearest one is carried on
    update = update.assign({name: step * update[name] for name in ("change", "change_error")})
    return dict(before) | {
        name: with_change(before[name], update, part, temperature=temperature, kind=name)
        for name, part in goal.parts.items()
        if _met(found[name], part, name).any()
    }


def ramped(
    potentials: Potentials,
    found: xr.Dataset,
    goal: Goal,
    *,
    frames: int,
    volume: float,
    excess: float,
    temperature: float,
) -> dict[Kind, xr.Dataset]:
    """Return potentials whose pairs have a linear change that takes an excess of pressure away.

    Parameters
    ----------
    found : rdf of the model, with its counts over all `frames`
    volume : nm³
    excess : bar
    temperature : K
    """
    pairs = potentials["rdf"]
    counts = found["count"].sum("pair").values / frames
    ramp = pressure_ramp(
        pairs["r"].values, counts, volume=volume, excess=excess, temperature=temperature, cutoff=goal.end
    )
    change = xr.DataArray(ramp, dims="r")
    return {**potentials, "rdf": pairs.assign(potential=pairs["potential"] + change)}


def _met(found: xr.Dataset, part: xr.Dataset, name: Kind) -> NDArray[np.bool_]:
    """Return the kinds (kind,) with bins that both model and reference sampled."""
    model, wanted = (values_of(ds, name, question="invert").sampled(FEWEST) for ds in (found, part))
    return np.asarray((model & wanted).any(axis=1))
