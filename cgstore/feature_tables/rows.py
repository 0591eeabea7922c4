"""Rows: the value of a feature for a system as arrays, rows stacked to a table, and tables joined row by row.

Dims with labels (pairs, components, kinds) are those of all rows; what a row has not is NaN.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.errors import InputError
from cgstore.feature_tables.registry import Column, as_dataset
from cgstore.feature_tables.spec import Asked, columns_of

__all__ = ["Cell", "Part", "cell_of", "dim_of", "grids_of", "join_rows", "stack_cells"]

Labels = dict[str, tuple[str, ...]]  # of each dim that has some


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """The value of a feature for one system, or the reason why there is none."""

    arrays: dict[str, NDArray[Any]]  # by name of the variable
    labels: Labels
    reason: str = ""


def dim_of(asked: Asked, dim: str) -> str:
    """Return the name that a dim of a feature has in the table: no two features share one."""
    return f"{asked.name}_{dim}"


def grids_of(asked: Asked) -> dict[str, tuple[NDArray[np.float64], str]]:
    """Return the dims of a feature that are the same for all systems, with coordinates and units."""
    return {dim_of(asked, dim): grid for dim, grid in asked.feature.grids(asked.parameters).items()}


def cell_of(asked: Asked, value: Mapping[str, Any] | xr.Dataset) -> Cell:
    """Return what a feature answered as arrays.

    Raises
    ------
    InputError : a column is missing, or has other dims or another size than declared
    """
    ds = as_dataset(value)
    grids, arrays, labels = grids_of(asked), {}, Labels()
    for name, column in columns_of(asked).items():
        if column.name not in ds:
            raise InputError(
                f"feature {asked.feature.name}: found {sorted(map(str, ds.data_vars))}, no {column.name!r}"
            )
        array = ds[column.name]
        if set(array.dims) != set(column.dims):
            raise InputError(
                f"feature {asked.feature.name}: found {column.name} on {array.dims}, expected {column.dims}"
            )
        for dim in column.dims:
            own = dim_of(asked, dim)
            if own not in grids:
                if dim not in ds.coords:
                    raise InputError(
                        f"feature {asked.feature.name}: found no labels of {dim}; give them as coordinates"
                    )
                labels[own] = tuple(map(str, ds[dim].values.tolist()))
            elif array.sizes[dim] != len(grids[own][0]):
                size, expected = array.sizes[dim], len(grids[own][0])
                raise InputError(f"feature {asked.feature.name}: found {size} values on {dim}, expected {expected}")
        arrays[name] = np.asarray(array.transpose(*column.dims).values, column.dtype)
    return Cell(arrays, labels)


def stack_cells(asked: Sequence[Asked], cells: Mapping[str, Mapping[str, Cell]]) -> xr.Dataset:
    """Return a dataset with a row for each system; `cells` are by system and name of the feature.

    A feature that a system has no cell of is NaN there.
    """
    systems = list(cells)
    ds = xr.Dataset(coords={"system": np.array(systems, np.str_)})
    for one in asked:
        mine = [(row, cells[system][one.name]) for row, system in enumerate(systems) if one.name in cells[system]]
        ds = ds.assign(_stack(one, len(systems), [(row, cell) for row, cell in mine if not cell.reason]))
    return ds


def _stack(asked: Asked, rows: int, cells: Sequence[tuple[int, Cell]]) -> dict[str, xr.DataArray]:
    """Return the variables of one feature."""
    grids = grids_of(asked)
    labels = _union([cell.labels for _, cell in cells])
    found = {}
    for name, column in columns_of(asked).items():
        array = _empty(asked, column, name, rows, labels)
        for row, cell in cells:
            places = _places(list(map(str, array.dims[1:])), grids, labels, cell.labels)
            array.values[(row, *places)] = cell.arrays[name]
        found[name] = array
    return found


def _union(labels: Iterable[Labels]) -> Labels:
    """Return all labels of each dim, sorted."""
    found: dict[str, set[str]] = {}
    for own in {tuple(sorted(item.items())) for item in labels}:
        for dim, names in own:
            found.setdefault(dim, set()).update(names)
    return {dim: tuple(sorted(names)) for dim, names in found.items()}


def _places(dims: Sequence[str], grids: Mapping[str, Any], labels: Labels, own: Labels) -> tuple[Any, ...]:
    """Return where the values of a row go: everywhere on a grid, to their labels elsewhere."""
    wide = [np.arange(len(grids[dim][0])) if dim in grids else _of_labels(own[dim], labels[dim]) for dim in dims]
    return np.ix_(*wide) if wide else ()


def _of_labels(own: tuple[str, ...], every: tuple[str, ...]) -> NDArray[np.int64]:
    """Return the places of labels among all."""
    place = {name: number for number, name in enumerate(every)}
    return np.array([place[name] for name in own], np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A table, and which of its rows are taken: for each feature (row,) of the new table, −1 for none."""

    ds: xr.Dataset
    rows: Mapping[str, NDArray[np.int64]]


_NONE = np.empty(0, np.int64)


def join_rows(asked: Sequence[Asked], systems: Sequence[str], parts: Sequence[Part]) -> xr.Dataset:
    """Return a table whose rows come from several, feature by feature; a later part overrules.

    Labels that have no value in any row are left out.
    """
    ds = xr.Dataset(coords={"system": np.array(list(systems), np.str_)})
    for one in asked:
        mine = [part for part in parts if (part.rows.get(one.name, _NONE) >= 0).any()]
        ds = ds.assign(_join(one, len(systems), mine))
    return ds


def _join(asked: Asked, rows: int, parts: Sequence[Part]) -> dict[str, xr.DataArray]:
    """Return the variables of one feature."""
    columns, grids = columns_of(asked), grids_of(asked)
    labels = _union([_labels_of(part, asked) for part in parts])
    found = {}
    for name, column in columns.items():
        array = _empty(asked, column, name, rows, labels)
        for part in parts:
            taken = part.rows[asked.name]
            to = np.flatnonzero(taken >= 0)
            source = part.ds[name].transpose(*array.dims)
            wide = [np.arange(size) for size in array.shape[1:]]
            for place, dim in enumerate(map(str, array.dims[1:])):
                if dim not in grids:
                    own = tuple(map(str, part.ds[dim].values))
                    here = tuple(label for label in own if label in labels.get(dim, ()))
                    source = source.isel({dim: _of_labels(here, own)})
                    wide[place] = _of_labels(here, labels.get(dim, ()))
            array.values[np.ix_(to, *wide)] = source.values[taken[to]]
        found[name] = array
    return found


def _labels_of(part: Part, asked: Asked) -> Labels:
    """Return the labels of which a part has values in the rows that are taken."""
    grids, taken = grids_of(asked), part.rows[asked.name]
    found: dict[str, set[str]] = {}
    for name, column in columns_of(asked).items():
        for dim in (dim for dim in (dim_of(asked, dim) for dim in column.dims) if dim not in grids):
            values = part.ds[name].isel(system=taken[taken >= 0]).transpose(dim, ...).values
            known = ~np.isnan(values) if values.dtype.kind == "f" else np.ones(values.shape, np.bool_)
            own = part.ds[dim].values[known.reshape(len(values), -1).any(axis=1)] if values.size else ()
            found.setdefault(dim, set()).update(map(str, own))
    return {dim: tuple(sorted(names)) for dim, names in found.items()}


def _empty(asked: Asked, column: Column, name: str, rows: int, labels: Labels) -> xr.DataArray:
    """Return a variable without values: NaN, zero or False."""
    grids, dims = grids_of(asked), [dim_of(asked, dim) for dim in column.dims]
    coords: dict[str, Any] = {dim: (dim, grids[dim][0], {"units": grids[dim][1]}) for dim in dims if dim in grids}
    coords |= {dim: np.array(labels.get(dim, ()), np.str_) for dim in dims if dim not in grids}
    shape = [rows, *(len(grids[dim][0]) if dim in grids else len(labels.get(dim, ())) for dim in dims)]
    nothing = {"f": np.nan, "b": False}.get(np.dtype(column.dtype).kind, 0)
    attrs = {"units": column.units, "long_name": column.meaning or name}
    return xr.DataArray(np.full(shape, nothing, column.dtype), coords, ["system", *dims], attrs=attrs)
