"""What all densities have in common: who counts in which row, how far the boxes let one look, and what rows add up to.

Counts are of numbers of particles. Mass and charge densities are linear in them: particles of one type but different
mass are counted in rows of their own, and the rows are added up with their masses, block by block, so that the error
of the sum knows how its parts go together.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.averages.centring import reciprocal
from cgstore.averages.estimates import distribution_of_blocks
from cgstore.errors import InputError, PhysicsError
from cgstore.topology import Topology

__all__ = [
    "By",
    "Density",
    "Rows",
    "bins_within",
    "boxes_of",
    "check_reach",
    "density_of_blocks",
    "heights_of",
    "rows_of",
]

By = Literal["type", "molecule_kind", "all"]
Density = Literal["number", "mass", "charge"]

_UNIT = {"number": "", "mass": "u", "charge": "e"}
_PER_VOLUME = {"number": "1/nm^3", "mass": "u/nm^3", "charge": "e/nm^3"}
_SLACK = 1.0 + 1e-6  # a box of 2.3 nm is 2.29999995 nm in float32

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """In which row each particle counts."""

    kind: str  # name of the dim
    labels: tuple[str, ...]  # the name of a group; with the mass or charge of its particles where that is asked for
    row: NDArray[np.int64]  # (particle,)
    attrs: dict[str, str]  # units and long_name of the density


def rows_of(ds: xr.Dataset, topology: Topology, *, by: By, density: Density, question: str) -> Rows:
    """Sort particles into rows.

    Parameters
    ----------
    ds, topology : the dataset, and its static part
    by : "type", "molecule_kind", or "all" for the sum over everything
    density : "number"; "mass" and "charge" make a row of each value that occurs in a group
    question : opens messages

    Raises
    ------
    InputError : by or density is something else, or the dataset has no masses or charges

    Examples
    --------
    >>> ds = xr.Dataset({"position": (("frame", "particle", "xyz"), np.zeros((1, 3, 3))),
    ...                  "charge": ("particle", [0.5, -1.0, 0.5])}, {"type": ("particle", ["B", "A", "B"])})
    >>> from cgstore.schema import topology_of
    >>> rows_of(ds, topology_of(ds), by="type", density="charge", question="profile").labels
    ('A -1.0 e', 'B 0.5 e')
    """
    for name, value, known in (("by", by, By), ("density", density, Density)):
        if value not in get_args(known):
            raise InputError(f"{question}: found {name} = {value!r}, expected one of {', '.join(get_args(known))}")
    if density != "number" and density not in ds:
        raise InputError(f"{question}: found no variable {density} (particle) in {_UNIT[density]}, so no such density")
    group = {"type": topology.type, "molecule_kind": topology.molecule_kind, "all": np.full(len(topology), "all")}[by]
    groups, number = np.unique(group, return_inverse=True)
    labels, row = groups.tolist(), number.reshape(-1)
    if density != "number":
        value = getattr(topology, density)
        if not np.isfinite(value).all():
            raise InputError(f"{question}: found a {density} that is not finite, expected numbers in {_UNIT[density]}")
        pairs, row = np.unique(np.stack([row, value + 0.0], 1), axis=0, return_inverse=True)  # -0.0 + 0.0 is 0.0
        labels = [f"{groups[int(place)]} {float(amount)!r} {_UNIT[density]}" for place, amount in pairs]
    return Rows(
        kind="molecule_kind" if by == "molecule_kind" else "type",
        labels=tuple(labels),
        row=np.ascontiguousarray(row.reshape(-1), np.int64),
        attrs={"units": _PER_VOLUME[density], "long_name": f"{density} density"},
    )


def density_of_blocks(blocks: xr.Dataset, *, name: str) -> xr.Dataset:
    """Turn counted rows into densities with their errors; lazy if the blocks are.

    Parameters
    ----------
    blocks : block dataset whose kinds are labels of `rows_of`
    name : of the density

    Returns
    -------
    dataset of `NAME`, `NAME_error`, `count`, `correlation_time` and `blocks`, by group
    """
    kind, _ = blocks["norm"].dims
    unit = {per_volume: _UNIT[density] for density, per_volume in _PER_VOLUME.items()}[blocks["norm"].attrs["units"]]
    if not unit:
        return distribution_of_blocks(blocks, name=name, count="count")
    words = [str(label).rsplit(" ", 2) for label in blocks[kind].values]
    groups, place = np.unique([word[0] for word in words], return_inverse=True)
    amount = np.array([float(word[1]) for word in words])
    added = {
        "sum": _added(blocks["sum"], place, amount, len(groups)),
        "count": _added(blocks["count"], place, np.ones(len(place), np.int64), len(groups)),
    }
    rest = blocks.drop_vars(["sum", "count"]).isel({kind: np.unique(place, return_index=True)[1]})
    return distribution_of_blocks(rest.assign_coords({kind: groups}).assign(added), name=name, count="count")


def _added(array: xr.DataArray, place: NDArray[Any], amount: NDArray[Any], groups: int) -> xr.DataArray:
    """Add up the rows of each group, each times its amount."""
    core = list(array.dims[1:])
    result = xr.apply_ufunc(
        partial(_sum_of_groups, place=place, amount=amount, groups=groups),
        array,
        input_core_dims=[core],
        output_core_dims=[core],
        exclude_dims={core[0]},
        dask="parallelized",
        output_dtypes=[array.dtype],
        dask_gufunc_kwargs={"output_sizes": {core[0]: groups}},
        keep_attrs=True,
    )
    return result if isinstance(result, xr.DataArray) else xr.DataArray(result)


def _sum_of_groups(values: np.ndarray, *, place: NDArray[Any], amount: NDArray[Any], groups: int) -> np.ndarray:
    """Add up (block, row, bin) to (block, group, bin), row after row."""
    result = np.zeros((*values.shape[:-2], groups, values.shape[-1]), values.dtype)
    for row, group in enumerate(place):
        result[..., group, :] += amount[row] * values[..., row, :]
    return result


def boxes_of(ds: xr.Dataset, question: str) -> Float:
    """Return the boxes of all frames, read now.

    Raises
    ------
    PhysicsError : one of them has no volume
    """
    boxes = np.asarray(ds["box"].values, np.float64)
    flat = ~(np.isfinite(boxes).all(axis=(1, 2)) & (np.abs(np.linalg.det(boxes)) > 0))
    if flat.any():
        frame = int(flat.argmax())
        raise PhysicsError(
            f"{question}: the box of frame {frame} is {boxes[frame].tolist()}, expected three vectors that span a "
            "volume; leave that frame out, or drop the variable box if there is none"
        )
    return boxes


def bins_within(
    ds: xr.Dataset, *, reach: float | None, width: float, limit: Callable[[Float], Float], question: str, what: str
) -> int:
    """Return how many whole bins lie between the centre and the reach.

    Parameters
    ----------
    ds : dataset; its boxes are read if there is no reach, and looked at if they are in memory anyway
    reach, width : nm; without a reach it is as far as the smallest box allows
    limit : how far each of some boxes (frame, box_vector, xyz) allows to look, nm
    question, what : for messages, which parameter the reach is

    Raises
    ------
    InputError : the numbers make no sense, or there is neither reach nor box
    PhysicsError : a box is too small
    """
    if not 0 < width < np.inf:
        raise InputError(f"{question}: found width = {width}, expected a positive length in nm")
    known = "box" in ds and (reach is None or ds["box"].chunks is None)
    limits = limit(boxes_of(ds, question)) if known else None
    if reach is None:
        if limits is None:
            raise InputError(f"{question}: found neither a box nor {what}; say how far it reaches, in nm")
        if limits.size == 0:
            raise InputError(f"{question}: found no frames, expected at least one")
        reach = float(limits.min()) * _SLACK
    elif limits is not None and reach < np.inf:
        check_reach(limits, reach=reach, first=0, question=question, what=what)
    bins = int(reach / width * (1 + 1e-9)) if 0 < reach < np.inf else 0
    if bins < 1:
        raise InputError(f"{question}: found width = {width} and {what} = {reach:g}, expected 0 < width <= {what}")
    return bins


def check_reach(limits: Float, *, reach: float, first: int, question: str, what: str) -> None:
    """Refuse to look beyond half the height of a box, where particles would be seen twice.

    Parameters
    ----------
    limits : (frame,) nm
    reach : nm
    first : index of the first of these frames in the dataset
    question, what : for messages, which parameter the reach is

    Raises
    ------
    PhysicsError : a limit is smaller than the reach
    """
    if limits.size == 0 or reach <= (limit := float(limits.min())) * _SLACK:
        return
    frame, shown = first + int(limits.argmin()), np.floor(limit * _SLACK * 1000) / 1000
    raise PhysicsError(
        f"{question}: {what} = {reach:g} nm is beyond half the smallest box height, "
        f"{shown:.3f} nm at frame {frame}; use {what} <= {shown:.3f}"
    )


def heights_of(boxes: Float) -> Float:
    """Return the (frame, box_vector) heights of boxes, nm, the same bits on every machine."""
    columns = reciprocal(boxes)
    return np.asarray(1.0 / np.sqrt((columns * columns).sum(axis=1)))
