"""Snapshots: radial distribution functions of single frames, or of very few, as noisy as such short runs are."""

from typing import Any

import numpy as np
import xarray as xr
from pydantic import PositiveInt

from cgstore.averages.counting import count_blocks
from cgstore.averages.pair import rdf_counter
from cgstore.errors import InputError, NotFound, PhysicsError
from cgstore.feature_tables.grids import PairGrid, grid_of_pairs, steps_of
from cgstore.feature_tables.registry import Column, Feature
from cgstore.feature_tables.sources import Source

__all__ = ["FEATURES"]


class _Snapshots(PairGrid):
    """How many snapshots of a run, spread evenly over it, and how many consecutive frames make one."""

    snapshots: PositiveInt = 8
    frames: PositiveInt = 1

    def model_post_init(self, context: Any) -> None:
        """Refuse what a snapshot has no room for."""
        PairGrid.model_post_init(self, context)
        if self.pairs is not None or self.of != "particles":
            raise ValueError("found pairs or of, expected one pair of particles; snapshots are of one pair")


def _columns(parameters: _Snapshots) -> tuple[Column, ...]:
    """Return the column of the snapshots."""
    what = "radial distribution function of a few frames"
    return (Column("{}", ("snapshot", "r"), "1", what, "float32"),)


def _grids(parameters: _Snapshots) -> Any:
    """Return the number of each snapshot, and the bins."""
    return {"snapshot": (np.arange(parameters.snapshots, dtype=np.float64), "1"), **grid_of_pairs(parameters)}


def _snapshots(source: Source, parameters: _Snapshots) -> xr.Dataset:
    """Return g(r) of single frames (snapshot, r); NaN in bins beyond half of the smallest box."""
    frames, number, together = source.ds.sizes["frame"], parameters.snapshots, parameters.frames
    if number * together > frames:
        raise PhysicsError(
            f"{source.name}: has {frames} frames, expected {number * together} for {number} snapshots of {together}"
        )
    step, first, per_bin = steps_of(parameters)
    bins = min(parameters.bins, (int(source.half_box / step * (1 + 1e-9)) - first) // per_bin)
    if bins < 1:
        raise PhysicsError(f"{source.name}: half of its box is {source.half_box:g} nm, below the first bin")
    starts = np.linspace(0, frames - together, number).astype(int)
    chosen = source.ds.isel(frame=(starts[:, None] + np.arange(together)).ravel())
    reach = (first + bins * per_bin) * step
    pairs = None if parameters.pair is None else [parameters.pair]
    counter = rdf_counter(chosen, pairs=pairs, r_max=reach, bin_width=step, exclude_bonded=parameters.exclude_bonded)
    if len(counter.histograms[0].kinds) > 1:
        raise InputError(f'{source.name}: found several pairs of types; say one as pair = "A-B"')
    ((blocks,),) = count_blocks(chosen, [counter], length=1)
    sums = blocks["sum"].transpose("block", "pair", "r").values[:, 0, first:]
    norm = blocks["norm"].transpose("pair", "r").values[0, first:]
    if not (norm > 0.0).all():
        raise NotFound(f"{source.name}: no two particles make this pair")
    counted = sums.reshape(number, together, bins, per_bin).sum(axis=(1, 3))
    whole = np.full((number, parameters.bins), np.nan)
    whole[:, :bins] = counted / (together * norm.reshape(bins, per_bin).sum(axis=1))
    return xr.Dataset({"{}": (("snapshot", "r"), whole)})


FEATURES = (
    Feature(
        name="rdf_snapshots",
        version=1,
        compute=_snapshots,
        columns=_columns,
        meaning="radial distribution functions of single frames of a run, spread evenly over it",
        parameters=_Snapshots,
        grids=_grids,
        inputs=("content",),
    ),
)
