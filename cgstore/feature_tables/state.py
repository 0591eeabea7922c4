"""Features without statistics: the state point, the parameters of a recipe, and what the topology knows of types."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from cgstore.box import volume
from cgstore.errors import InputError
from cgstore.feature_tables.registry import Column, Feature, Parameters
from cgstore.feature_tables.sources import Source

__all__ = ["FEATURES"]

_DALTON_PER_NM3 = 1.66053906660  # kg/m³


class _Names(Parameters):
    """Which parameters of recipes; all of them by default."""

    names: tuple[str, ...] | None = None


def _state_columns(parameters: Any) -> tuple[Column, ...]:
    """Return the columns of a state point."""
    return (
        Column("temperature", units="K", meaning="temperature of the system"),
        Column("pressure", units="bar", meaning="pressure of the system"),
        Column("volume", units="nm^3", meaning="mean volume"),
        Column("particles", meaning="number of particles"),
        Column("molecules", meaning="number of molecules"),
        Column("number_density", units="nm^-3", meaning="molecules per volume"),
        Column("mass_density", units="kg/m^3", meaning="mass of the particles per volume"),
        Column("composition", ("component",), meaning="number of molecules in the recipe"),
    )


def _state_point(source: Source, parameters: Any) -> xr.Dataset:
    """Return temperature, pressure, densities and composition; NaN for what is not known."""
    ds, known = source.ds, source.metadata
    molecules = len(np.unique(ds["molecule"].values)) if "molecule" in ds else ds.sizes["particle"]
    mean = np.nan
    if "box" in ds:
        weight = np.asarray(ds["weight"].values, np.float64) if "weight" in ds else None
        mean = float(np.average(volume(source.box), weights=weight))
    composition = {str(name): float(number) for name, number in (known.get("composition") or {}).items()}
    return xr.Dataset(
        {
            "temperature": _number(known.get("temperature")),
            "pressure": _number(known.get("pressure")),
            "volume": mean,
            "particles": float(ds.sizes["particle"]),
            "molecules": float(molecules),
            "number_density": molecules / mean,
            "mass_density": float(ds["mass"].sum()) / mean * _DALTON_PER_NM3 if "mass" in ds else np.nan,
            "composition": ("component", list(composition.values())),
        },
        {"component": np.array(list(composition), np.str_)},
    )


def _number(value: Any) -> float:
    """Return a number of the metadata; NaN where there is none."""
    return float(value) if isinstance(value, int | float) else float("nan")


def _parameters(source: Source, parameters: _Names) -> xr.Dataset:
    """Return the numbers among the parameters of the recipe, by name."""
    given = source.metadata.get("parameters")
    known = {
        str(name): float(value)
        for name, value in (given.items() if isinstance(given, Mapping) else ())
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    names = list(known) if parameters.names is None else list(parameters.names)
    missing = [name for name in names if name not in known]
    if missing or not names:
        there = ", ".join(known) or "no numbers"
        raise InputError(
            f"{source.name}: found {there} in the parameters of the recipe, expected {', '.join(missing) or 'some'}; "
            "a recipe has them under [system] as parameters = { sigma = 0.34 }"
        )
    return xr.Dataset({"{}": ("parameter", [known[name] for name in names])}, {"parameter": np.array(names, np.str_)})


def _types(source: Source, parameters: Any) -> xr.Dataset:
    """Return mass, charge and number of the particles of each type."""
    ds = source.ds
    names, type_index = np.unique(ds["type"].values.astype(str), return_inverse=True)
    number = np.bincount(type_index)

    def mean(variable: str) -> np.ndarray:
        values = ds[variable].values if variable in ds else np.full(len(type_index), np.nan)
        return np.asarray(np.bincount(type_index, values) / number)

    return xr.Dataset(
        {
            "{}_mass": ("type", mean("mass")),
            "{}_charge": ("type", mean("charge")),
            "{}_number": ("type", number.astype(np.float64)),
        },
        {"type": names},
    )


FEATURES = (
    Feature(
        name="state_point",
        version=1,
        compute=_state_point,
        columns=_state_columns,
        meaning="temperature, pressure, densities, numbers of particles, composition",
    ),
    Feature(
        name="parameters",
        version=1,
        compute=_parameters,
        columns=lambda parameters: (Column("{}", ("parameter",), meaning="parameters of the recipe"),),
        meaning="force-field parameters, as the recipes give them",
        parameters=_Names,
        inputs=("metadata",),
    ),
    Feature(
        name="types",
        version=1,
        compute=_types,
        columns=lambda parameters: (
            Column("{}_mass", ("type",), "u", "mean mass of the particles of the type"),
            Column("{}_charge", ("type",), "e", "mean charge of the particles of the type"),
            Column("{}_number", ("type",), "1", "number of particles of the type"),
        ),
        meaning="mass, charge and number of each type of particle",
        locality="kind",
        inputs=("content",),
    ),
)
