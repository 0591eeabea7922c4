"""Observables: what a model gives besides distributions, beside the reference where it knows it, each with its error.

Errors of a model are the scatter of its replicas. Diffusion is asked of a run of its own: friction takes momentum away,
so replicas go on without it, their kinetic energy as a whole coupled to the temperature.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.averages.diffusion import acceleration_factor, diffusion_coefficient
from cgstore.averages.displacement import mean_squared_displacement
from cgstore.averages.membrane import membrane
from cgstore.averages.order import bond_order
from cgstore.errors import InputError, NotFound, PhysicsError

__all__ = ["Observable", "last_frames", "mobility_of", "of_membrane", "of_pressure", "reference_mobility"]

Float = NDArray[np.float64]

_WINDOW = (0.04, 0.1)  # parts of a run, of the straight line where no replica shows one
_MEMBRANE = {"thickness": "thickness", "area_per_lipid": "area per lipid"}


@dataclass(frozen=True, slots=True)
class Observable:
    """One number of a model at one dataset; NaN is what is not known."""

    dataset: str
    model: str
    what: str
    of: str  # kind of molecules, if there is one of each
    unit: str
    value: float
    error: float
    reference: float
    reference_error: float
    note: str


def of_pressure(name: str, model: str, samples: xr.Dataset, barostat: float, *, plane: bool = False) -> Observable:
    """Return the pressure of a model at the volume of the reference; of bilayers that in their plane.

    Parameters
    ----------
    name, model : of dataset and model
    samples : what `cgstore.learn.sampler.sample` gave
    barostat : bar, of the simulation of the reference; NaN if it is not known
    plane : the pressure along x and y, whose reference is zero: a bilayer that no solvent surrounds has no tension then
    """
    if plane:
        each = _per_replica(samples, lambda one: float(one["pressure_along"][:, :2].mean()))
        value, error = _over_replicas(each)
        return Observable(
            name, model, "pressure in the plane", "", "bar", value, error, 0.0, math.nan, "zero: no tension"
        )
    value, error = _over_replicas(_per_replica(samples, lambda one: float(one["pressure"].mean())))
    note = "" if math.isnan(barostat) else "the reference is the pressure of its barostat"
    return Observable(name, model, "pressure", "", "bar", value, error, barostat, math.nan, note)


def reference_mobility(ds: xr.Dataset) -> tuple[xr.Dataset | None, str]:
    """Return the diffusion coefficients of a reference, or why there are none.

    Parameters
    ----------
    ds : frames with times and boxes
    """
    try:
        found = diffusion_coefficient(mean_squared_displacement(ds)).compute()
    except (InputError, NotFound, PhysicsError) as error:
        return None, str(error)
    if np.isfinite(found["diffusion"].values).any():
        return found, ""
    return None, "; ".join(sorted({str(reason) for reason in found["reason"].values}))


def mobility_of(name: str, model: str, samples: xr.Dataset, reference: xr.Dataset) -> list[Observable]:
    """Return diffusion coefficients of a model and α = D(model) / D(reference), per kind.

    Parameters
    ----------
    name, model : of dataset and model
    samples : replicas that moved without friction
    reference : what `reference_mobility` gave
    """
    try:
        displacements = [mean_squared_displacement(one).compute() for one in _replicas(samples)]
        window = _window(displacements)
        found = [diffusion_coefficient(one, fit=window).compute()["diffusion"] for one in displacements]
    except (InputError, PhysicsError) as reason:  # too short a run of the model
        nothing = math.nan, math.nan, math.nan, math.nan
        return [Observable(name, model, "diffusion coefficient", "", "nm^2/ps", *nothing, str(reason))]
    each = xr.concat(found, "replica")
    error = each.std("replica", ddof=1) / np.sqrt(each.sizes["replica"])
    mine = xr.Dataset({"diffusion": each.mean("replica"), "diffusion_error": error}, attrs=dict(displacements[0].attrs))
    alpha = acceleration_factor(mine, reference)
    note = f"fitted from {window[0]:g} to {window[1]:g} ps"
    rows = []
    for kind in alpha["kind"].values.tolist():
        fast, slow, ratio = (ds.sel(kind=kind) for ds in (mine, reference, alpha))
        both = [(float(ds["diffusion"]), float(ds["diffusion_error"])) for ds in (fast, slow)]
        rows.append(Observable(name, model, "diffusion coefficient", kind, "nm^2/ps", *both[0], *both[1], note))
        numbers = float(ratio["acceleration"]), float(ratio["acceleration_error"])
        rows.append(Observable(name, model, "acceleration factor", kind, "1", *numbers, math.nan, math.nan, ""))
    return rows


def _window(displacements: list[xr.Dataset]) -> tuple[float, float]:
    """Return first and last lag of the straight line, the same for all replicas: the latest that one of them shows."""
    found = [diffusion_coefficient(one).compute() for one in displacements]
    starts = [float(one["fit_start"].max()) for one in found if np.isfinite(one["diffusion"].values).all()]
    stops = [float(one["fit_stop"].max()) for one in found if np.isfinite(one["diffusion"].values).all()]
    if starts:
        return float(np.median(starts)), float(np.median(stops))
    run = float(displacements[0].attrs["frames"]) * float(displacements[0].attrs["frame_spacing"])
    return _WINDOW[0] * run, _WINDOW[1] * run


def of_membrane(name: str, model: str, samples: xr.Dataset, reference: xr.Dataset) -> list[Observable]:
    """Return thickness, area per lipid and P2 of all bonds of a bilayer; a fixed area is that of the reference.

    Parameters
    ----------
    name, model : of dataset and model
    samples, reference : frames of both
    """
    try:
        known = membrane(reference).compute()
        each = [membrane(one).compute() for one in _replicas(samples)]
        order, orders = bond_order(reference).compute(), [bond_order(one).compute() for one in _replicas(samples)]
    except (InputError, NotFound, PhysicsError) as reason:
        return [Observable(name, model, "membrane", "", "", math.nan, math.nan, math.nan, math.nan, str(reason))]
    rows = []
    for variable, what in _MEMBRANE.items():
        value, error = _over_replicas(np.array([float(one[variable]) for one in each]))
        reached = float(known[variable]), float(known[f"{variable}_error"])
        unit = str(known[variable].attrs["units"])
        rows.append(Observable(name, model, what, "", unit, value, error, *reached, ""))
    for number, bond in enumerate(order["bond_kind"].values.tolist()):
        value, error = _over_replicas(np.array([float(one["bond_order"][number]) for one in orders]))
        reached = float(order["bond_order"][number]), float(order["bond_order_error"][number])
        rows.append(Observable(name, model, "order P2", bond, "1", value, error, *reached, ""))
    return rows


def last_frames(samples: xr.Dataset) -> xr.Dataset:
    """Return the last frame of each replica, to go on from."""
    return xr.concat([one.isel(frame=[-1]) for one in _replicas(samples)], "frame", data_vars="minimal")


def _replicas(samples: xr.Dataset) -> list[xr.Dataset]:
    """Return the frames of each replica."""
    return [samples.isel(frame=samples["replica"].values == number) for number in np.unique(samples["replica"].values)]


def _per_replica(samples: xr.Dataset, statistic: Callable[[xr.Dataset], float]) -> Float:
    """Return a number of each replica (replica,)."""
    return np.array([statistic(one) for one in _replicas(samples)])


def _over_replicas(values: Float) -> tuple[float, float]:
    """Return the mean and its error."""
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))
