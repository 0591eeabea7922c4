"""The registry of features: what can be a column of a table, with its version, parameters, units and locality.

A feature is a plain function of a dataset of the catalog. `register` makes one known, those of a user from a module of
their own; the built-in ones are known from the start.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import ConfigDict

from cgstore.catalog import Entry
from cgstore.documents import Document, did_you_mean
from cgstore.errors import InputError, NotFound

__all__ = ["Column", "Feature", "Parameters", "as_dataset", "feature_named", "features", "register"]

Locality = Literal["system", "frame", "kind"]
Input = Literal["content", "metadata"]
Row = Mapping[str, Any] | xr.Dataset

_BUILT_IN = ("state", "curves", "potentials", "motion", "symmetry", "snapshots")  # modules with features of their own


class Parameters(Document):
    """Base of the parameters of a feature, the keys of its table in a spec; this one has none."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class Column:
    """One variable of a table; `{}` in its name stands for the name that the spec gives the feature."""

    name: str
    dims: tuple[str, ...] = ()  # besides `system`
    units: str = "1"
    meaning: str = ""
    dtype: str = "float64"


@dataclass(frozen=True, slots=True)
class Feature:
    """How one or several columns of a table come from a dataset.

    `compute(source, parameters)` gets a `Source` and the model of the parameters, and returns a value for each column:
    numbers, pairs of dims and values, or an `xr.Dataset` of them. A dim that is in `grids` is the same for all systems;
    any other has labels, such as pairs or components, which come as the coordinates of the dataset: a table has those
    of all its systems, with NaN where one has none.

    A feature of locality `frame` is computed from some frames, `compute(ds, parameters)`, and returns values with a
    leading dim `frame`: the row has their mean and error, and of a dataset that has grown only the new frames are read.
    """

    name: str
    version: int  # changes when the same dataset and parameters give other numbers
    compute: Callable[[Any, Any], Row]
    columns: Callable[[Any], tuple[Column, ...]]
    meaning: str = ""
    parameters: type[Document] = Parameters
    grids: Callable[[Any], dict[str, tuple[NDArray[np.float64], str]]] = lambda parameters: {}  # dim: values, unit
    inputs: tuple[Input, ...] = ("content", "metadata")  # what of the dataset it depends on
    others: Callable[[Entry, Any], Any] | None = None  # plain data about what else it depends on: files of a fit …
    locality: Locality = "system"

    def __post_init__(self) -> None:
        """Refuse a name that cannot stand in a spec, and a version that is none."""
        if not self.name.isidentifier() or not self.name.islower():
            raise InputError(f"feature {self.name!r}: expected a name of lower-case letters, digits and _")
        if not isinstance(self.version, int) or self.version < 1:
            raise InputError(f"feature {self.name}: found version {self.version!r}, expected 1 or more")
        if self.locality not in ("system", "frame", "kind"):
            raise InputError(f"feature {self.name}: found locality {self.locality!r}, expected system, frame or kind")


def as_dataset(value: Row) -> xr.Dataset:
    """Return what a feature answered as a dataset.

    >>> as_dataset({"{}": 3.0, "{}_max": ("r", [1.0, 2.0])}).sizes["r"]
    2
    """
    if isinstance(value, xr.Dataset):
        return value
    with_dims = (xr.DataArray, xr.Variable, tuple)
    return xr.Dataset({name: item if isinstance(item, with_dims) else ((), item) for name, item in value.items()})


_known: dict[str, Feature] = {}


def register(feature: Feature) -> Feature:
    """Make a feature known under its name, and return it; the same name again replaces it.

    Examples
    --------
    >>> mass = register(Feature(
    ...     name="mean_mass",
    ...     version=1,
    ...     compute=lambda source, parameters: {"{}": source.ds["mass"].mean()},
    ...     columns=lambda parameters: (Column("{}", units="u", meaning="mean mass of the particles"),),
    ... ))
    >>> feature_named("mean_mass") is mass
    True
    """
    _known[feature.name] = feature
    return feature


def features() -> dict[str, Feature]:
    """Return all known features by name.

    >>> [name for name in features() if name != "mean_mass"]
    ['bonded', 'diffusion', 'parameters', 'potential', 'rdf', 'rdf_snapshots', 'state_point', 'symmetry', 'types']
    """
    modules = [import_module(f"cgstore.feature_tables.{name}") for name in _BUILT_IN]
    built_in = {feature.name: feature for module in modules for feature in module.FEATURES}
    return dict(sorted({**built_in, **_known}.items()))


def feature_named(name: str) -> Feature:
    """Return a feature by its name.

    Raises
    ------
    NotFound : there is none; one of a user's own module is known after its import
    """
    known = features()
    if name not in known:
        raise NotFound(
            f"found no feature {name!r}{did_you_mean(name, known)}; one of your own is known once its module is "
            "imported (--import MODULE)"
        )
    return known[name]
