"""Features that are distributions: of distances of pairs and of bonded terms, on common grids, with errors."""

from typing import Annotated, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field

from cgstore.averages.bonded import bonded_from_blocks
from cgstore.documents import Angle, Length
from cgstore.errors import InputError, NotFound
from cgstore.feature_tables.grids import PairGrid, grid_of_pairs, on_pairs, placed, rdf_on_grid
from cgstore.feature_tables.registry import Column, Feature, Parameters
from cgstore.feature_tables.sources import Source

__all__ = ["FEATURES"]

_UNITS = {"bond": "nm", "angle": "degree", "dihedral": "degree", "improper": "degree"}
_BINS = {"bond": "r", "angle": "theta", "dihedral": "phi", "improper": "xi"}


class _Bonded(Parameters):
    """Which terms, and the widths of the bins."""

    term: Literal["bond", "angle", "dihedral", "improper"] = "bond"
    kind: str | None = None  # the only one there is
    kinds: Literal["all"] | tuple[str, ...] | None = None  # several, on a dim of their own
    bond_width: Annotated[Length, Field(gt=0)] = 0.002
    bond_max: Annotated[Length, Field(gt=0)] = 1.0
    angle_width: Annotated[Angle, Field(gt=0)] = 1.0
    dihedral_width: Annotated[Angle, Field(gt=0)] = 2.0
    improper_width: Annotated[Angle, Field(gt=0)] = 2.0


def _rdf_columns(grid: PairGrid) -> tuple[Column, ...]:
    """Return the columns of a radial distribution function."""
    dims = on_pairs(grid, "r")
    what = "radial distribution function"
    return (
        Column("{}", dims, "1", what, "float32"),
        Column("{}_error", dims, "1", f"standard error of the {what}", "float32"),
    )


def _rdf(source: Source, grid: PairGrid) -> xr.Dataset:
    """Return g(r) with its error; NaN in bins beyond half of the smallest box."""
    found = rdf_on_grid(source, grid)
    return placed(found, grid, {"{}": "rdf", "{}_error": "rdf_error"})


def _bonded_columns(parameters: _Bonded) -> tuple[Column, ...]:
    """Return the columns of a distribution of bonded terms."""
    dims = (_BINS[parameters.term],) if parameters.kinds is None else ("kind", _BINS[parameters.term])
    what, unit = f"{parameters.term} distribution", f"{_UNITS[parameters.term]}^-1"
    return (
        Column("{}", dims, unit, what, "float32"),
        Column("{}_error", dims, unit, f"standard error of the {what}", "float32"),
    )


def _bonded_grid(parameters: _Bonded) -> dict[str, tuple[NDArray[np.float64], str]]:
    """Return the bins of bonded terms, as `cgstore.bonded` has them."""
    term = parameters.term
    width = getattr(parameters, f"{term}_width")
    first, last = {"bond": (0.0, parameters.bond_max), "angle": (0.0, 180.0)}.get(term, (-180.0, 180.0))
    number = int((last - first) / width * (1 + 1e-9))
    return {_BINS[term]: (first + (np.arange(number) + 0.5) * width, _UNITS[term])}


def _bonded(source: Source, parameters: _Bonded) -> xr.Dataset:
    """Return the distributions of one sort of bonded terms."""
    own = {"term", "kind", "kinds"}
    blocks = source.bonded_blocks(parameters.model_dump(exclude=own))
    term, (bins, (centres, _)) = parameters.term, next(iter(_bonded_grid(parameters).items()))
    dim = f"{term}_kind"
    known = [str(kind) for kind in blocks[term][dim].values] if term in blocks else []
    wanted = [parameters.kind] if parameters.kind else known if parameters.kinds in (None, "all") else parameters.kinds
    if not known:
        raise NotFound(f"{source.name}: found no {term}s")
    if missing := [kind for kind in wanted or () if kind not in known]:
        raise NotFound(f"{source.name}: found no {term} of kind {missing[0]}; there are {', '.join(known)}")
    kinds = [str(kind) for kind in wanted or ()]
    if parameters.kinds is None and len(kinds) > 1:
        raise InputError(f'{source.name}: found the {term}s {", ".join(known[:6])}; say one as kind = "A-B"')
    nodes = {name: ds for name, ds in blocks.items() if name in _UNITS}
    found = bonded_from_blocks(xr.DataTree.from_dict(nodes)).sel({dim: kinds}).compute()
    values = {
        column: np.asarray(found[name].values, np.float64)
        for column, name in (("{}", term), ("{}_error", f"{term}_error"))
    }
    if values["{}"].shape[1] != len(centres):
        raise InputError(f"{source.name}: found {values['{}'].shape[1]} bins of {term}s, expected {len(centres)}")
    if parameters.kinds is None:
        return xr.Dataset({column: (bins, array[0]) for column, array in values.items()})
    return xr.Dataset(
        {column: (("kind", bins), array) for column, array in values.items()}, {"kind": np.array(kinds, np.str_)}
    )


FEATURES = (
    Feature(
        name="rdf",
        version=1,
        compute=_rdf,
        columns=_rdf_columns,
        meaning="radial distribution function of a pair, or of centres of mass, with its error",
        parameters=PairGrid,
        grids=grid_of_pairs,
        inputs=("content",),
    ),
    Feature(
        name="bonded",
        version=1,
        compute=_bonded,
        columns=_bonded_columns,
        meaning="distribution of bonds, angles, dihedrals or impropers, with its error",
        parameters=_Bonded,
        grids=_bonded_grid,
        inputs=("content",),
        locality="kind",
    ),
)
