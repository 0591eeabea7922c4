"""Features of motion: diffusion coefficients with their errors, for infinite boxes where the viscosity is known."""

from typing import Annotated, Any, Literal

import numpy as np
import xarray as xr
from pydantic import Field

from cgstore.averages.diffusion import finite_size_diffusion
from cgstore.averages.spec import MobilitySpec
from cgstore.box import volume
from cgstore.documents import Time
from cgstore.errors import InputError, PhysicsError
from cgstore.feature_tables.registry import Column, Feature, Parameters
from cgstore.feature_tables.sources import Source

__all__ = ["FEATURES"]

_MPA_S = 602.214076  # u/(nm ps)


class _Diffusion(Parameters):
    """What moves, along which axes, and how the line is fitted; as `[mobility]` of a spec of distributions."""

    of: Literal["molecule", "particle"] = "molecule"
    kind: str | None = None  # the only one there is
    kinds: Literal["all"] | tuple[str, ...] | None = None  # several, on a dim of their own
    dims: Annotated[str, Field(pattern="^(x?y?z?)$", min_length=1)] = "xyz"
    remove_drift: bool = True
    fit: tuple[Time, Time] | None = None
    viscosity: Annotated[float, Field(gt=0)] | None = None  # mPa s: then for an infinite box
    viscosity_error: Annotated[float, Field(ge=0)] = 0.0  # mPa s


def _columns(parameters: _Diffusion) -> tuple[Column, ...]:
    """Return the columns of diffusion coefficients."""
    dims = () if parameters.kinds is None else ("kind",)
    what = "diffusion coefficient" + (" of an infinite box" if parameters.viscosity else "")
    return (
        Column("{}", dims, "nm^2/ps", what),
        Column("{}_error", dims, "nm^2/ps", f"standard error of the {what}"),
    )


def _diffusion(source: Source, parameters: _Diffusion) -> xr.Dataset:
    """Return diffusion coefficients from the kept mean squared displacements.

    Raises
    ------
    PhysicsError : none can be told; the message says why
    """
    asked = parameters.model_dump(include={"of", "dims", "remove_drift", "fit"})
    listed = parameters.kinds if isinstance(parameters.kinds, tuple) else None
    asked["kinds"] = (parameters.kind,) if parameters.kind else listed
    found = source.observable("mobility", {**MobilitySpec().model_dump(), **asked})
    kinds = [str(kind) for kind in found["kind"].values]
    if parameters.kinds is None and len(kinds) > 1:
        raise InputError(f'{source.name}: found the kinds {", ".join(kinds[:6])}; say one as kind = "NAME"')
    value = np.asarray(found["diffusion"].values, np.float64)
    if not np.isfinite(value).any():
        raise PhysicsError(f"{source.name}: no diffusion coefficient: {found['reason'].values[0]}")
    if parameters.viscosity is not None:
        found = finite_size_diffusion(
            found,
            edge=float(np.cbrt(volume(source.box)).mean()),
            temperature=source.temperature,
            viscosity=parameters.viscosity * _MPA_S,
            viscosity_error=parameters.viscosity_error * _MPA_S,
        )
    columns: dict[str, Any] = {"{}": found["diffusion"].values, "{}_error": found["diffusion_error"].values}
    if parameters.kinds is None:
        return xr.Dataset({name: float(array[0]) for name, array in columns.items()})
    return xr.Dataset({name: ("kind", array) for name, array in columns.items()}, {"kind": np.array(kinds, np.str_)})


FEATURES = (
    Feature(
        name="diffusion",
        version=1,
        compute=_diffusion,
        columns=_columns,
        meaning="diffusion coefficient with its error, corrected for the size of the box where the viscosity is given",
        parameters=_Diffusion,
        locality="kind",
    ),
)
