"""Molecules of a run as one bead each, in memory: their structure and how fast they move, before any store has them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.averages.diffusion import diffusion_coefficient
from cgstore.averages.displacement import mean_squared_displacement
from cgstore.errors import InputError
from cgstore.frames import Frames
from cgstore.mapping import bead_map, composition_of
from cgstore.readers.topologies import read_topology
from cgstore.readers.xtc import open_xtc
from cgstore.recipe import Recipe, Store, System
from cgstore.schema import SCHEMA
from cgstore.topology import Topology

__all__ = ["Diffusion", "beads_of", "dataset_of", "diffusion_of", "rounded"]


@dataclass(frozen=True, slots=True)
class Diffusion:
    """A diffusion coefficient, of the box as it is: without a term for its size."""

    value: float  # nm²/ps; NaN where it is not known, and `reason` says why
    error: float
    window: tuple[float, float]  # ps, of the fit
    reason: str  # or what is wrong with a window that was given

    def measured(self, name: str) -> dict[str, Any]:
        """Return plain data of a record; None where it is not known."""
        numbers = [self.value, self.error, *self.window]
        value, error, first, last = (rounded(number) for number in numbers)
        return {name: value, f"{name}_error": error, f"{name}_window": [first, last], f"{name}_reason": self.reason}


def rounded(value: float) -> float | None:
    """Return a number with the digits it deserves, or None when it is not known."""
    return float(f"{value:.5g}") if np.isfinite(value) else None


def beads_of(folder: Path, kept: NDArray[np.bool_]) -> xr.Dataset:
    """Return the centres of mass of all molecules of `trajectory.xtc`, whose topology is `system.top`.

    Parameters
    ----------
    folder : of a simulation
    kept : (frame,) which frames are wanted
    """
    atoms = read_topology(folder / "system.top")
    mapping = dict.fromkeys(composition_of(atoms), "molecule")
    recipe = Recipe(folder, System(name="beads", kind="liquid"), (), mapping, {}, Store(levels=("cg",)), "", "")
    beads = bead_map(atoms, recipe)
    return dataset_of(beads.apply(open_xtc(folder / "trajectory.xtc").read(np.flatnonzero(kept))), beads.topology)


def dataset_of(frames: Frames, topology: Topology) -> xr.Dataset:
    """Return frames and what moves in them as a dataset of the schema."""
    arrays = {**frames.arrays(), **topology.arrays()}
    rows = {row.name: row for row in SCHEMA if arrays.get(row.name) is not None}
    described = {name: (row.dims, arrays[name], {"units": row.unit} if row.unit else {}) for name, row in rows.items()}
    coordinates = {name: described.pop(name) for name, row in rows.items() if row.coordinate}
    return xr.Dataset(described, coordinates)


def diffusion_of(ds: xr.Dataset, *, fit: tuple[float, float] | None = None) -> Diffusion:
    """Return the diffusion coefficient of a run of one kind of bead.

    Parameters
    ----------
    fit : ps, as in `cgstore.diffusion_coefficient`; a run that is too short for it has no coefficient

    Examples
    --------
    >>> steps = np.random.default_rng(2).normal(0, 0.1, (2000, 50, 3))
    >>> walk = xr.Dataset(
    ...     {"position": (("frame", "particle", "xyz"), np.cumsum(steps, axis=0))},
    ...     {"time": ("frame", np.arange(2000.0)), "type": ("particle", ["A"] * 50)},
    ... )
    >>> found = diffusion_of(walk)
    >>> round(found.value, 3), found.reason
    (0.005, '')
    """
    try:
        d = diffusion_coefficient(mean_squared_displacement(ds), fit=fit).isel(kind=0).compute()
    except InputError as error:
        return Diffusion(np.nan, np.nan, fit or (np.nan, np.nan), str(error))
    window = float(d["fit_start"]), float(d["fit_stop"])
    return Diffusion(float(d["diffusion"]), float(d["diffusion_error"]), window, str(d["reason"].values))
