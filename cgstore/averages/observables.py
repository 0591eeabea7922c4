"""What a spec asks for besides histograms: membrane, order, tilt, mobility, velocities; each has its own function."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import xarray as xr

from cgstore.averages.diffusion import diffusion_coefficient
from cgstore.averages.displacement import mean_squared_displacement
from cgstore.averages.membrane import membrane
from cgstore.averages.order import bond_order, order_parameters
from cgstore.averages.spec import MembraneSpec, Spec
from cgstore.averages.tilt import tilt
from cgstore.averages.velocity import velocity_autocorrelation
from cgstore.errors import CgstoreError

__all__ = ["OBSERVABLES", "Observable", "asked_observables"]


@dataclass(frozen=True, slots=True)
class Observable:
    """How one table of a spec is answered."""

    version: int  # of the numbers: a change of the function that changes any of them changes this
    compute: Callable[..., xr.Dataset]  # of a dataset, with the keys of the table


def _order(ds: xr.Dataset, *, of: str, lipids: Any, carbons: Any, normal: str) -> xr.Dataset:
    """Return the order of bonds between carbon and hydrogen, or of those between any particles."""
    if of == "bonds":
        return bond_order(ds, lipids=lipids, normal=normal)
    return order_parameters(ds, lipids=lipids, carbons=carbons, normal=normal)


def _mobility(ds: xr.Dataset, *, fit: tuple[float, float] | None, **parameters: Any) -> xr.Dataset:
    """Return mean squared displacements with the diffusion coefficients that follow from them."""
    displacement = mean_squared_displacement(ds, **parameters)
    coefficient = diffusion_coefficient(displacement, fit=fit)
    new = [name for name in coefficient.variables if name not in displacement.variables]
    return displacement.assign({name: coefficient[name] for name in new})


OBSERVABLES = {
    "membrane": Observable(1, membrane),
    "order": Observable(1, _order),
    "tilt": Observable(1, tilt),
    "mobility": Observable(1, _mobility),
    "velocity": Observable(1, velocity_autocorrelation),
}


def asked_observables(ds: xr.Dataset, spec: Spec) -> dict[str, dict[str, Any]]:
    """Return the parameters of each observable that a spec means for a dataset.

    Bilayers are asked for their `membrane` unless a spec says otherwise, if their lipids are known.

    Examples
    --------
    >>> asked_observables(xr.Dataset(), Spec())
    {}
    """
    asked = {name: getattr(spec, name) for name in OBSERVABLES}
    found = {name: table.model_dump() for name, table in asked.items() if table is not None}
    if "membrane" not in found and ds.attrs.get("kind") == "bilayer":
        try:
            usual = MembraneSpec().model_dump()
            membrane(ds, **usual)
        except CgstoreError:
            return found  # nobody asked
        found["membrane"] = usual
    return found
