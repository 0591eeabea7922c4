"""Density profiles along the normal of a layer, relative to its centre in every frame, with their errors."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.averages.centring import Body, body_of, membrane_of, plane_centre, reciprocal
from cgstore.averages.counting import Counter, Histogram, count_blocks, result_attrs
from cgstore.averages.density import (
    By,
    Density,
    bins_within,
    check_reach,
    density_of_blocks,
    heights_of,
    rows_of,
)
from cgstore.box import volume
from cgstore.errors import InputError, PhysicsError
from cgstore.kernels.profiles import count_planes
from cgstore.schema import check_dataset, topology_of

__all__ = ["Axis", "axis_of", "density_profile", "profile_blocks", "profile_counter", "profile_from_blocks"]

Axis = Literal["x", "y", "z"]
_AXES = ("x", "y", "z")


@dataclass(frozen=True, slots=True, eq=False)
class _Question:
    """What is counted in every frame."""

    question: str
    body: Body
    axis: int  # the box vector that joins the faces
    row: NDArray[np.int64]
    rows: int
    bins: int
    width: float
    reach: float
    folded: bool


def density_profile(
    ds: xr.Dataset,
    *,
    axis: Axis = "z",
    centre: Sequence[str] | None = None,
    width: float = 0.05,
    reach: float | None = None,
    by: By = "type",
    density: Density = "number",
    symmetric: bool = False,
) -> xr.Dataset:
    """Return the profile of a density along the normal of a layer; no position is read until it is computed.

    Parameters
    ----------
    ds : dataset of the schema with `position` and `box`; `type`, `molecule_kind`, `mass`, `charge`, `weight` if any
    axis : the normal; "z" is that of the plane of the first two box vectors, in triclinic boxes too
    centre : molecule kinds or types whose centre of mass is z = 0; by default the lipids, which are known by their
        acronyms, and where there are none all molecules with bonds that are no water
    width : of the bins, nm
    reach : nm, bins go from -reach to reach; by default as far as the smallest box allows (then boxes are read at
        once); rounded down to whole bins
    by : "type", "molecule_kind", or "all" for the sum over everything
    density : "number" in 1/nm³, "mass" in u/nm³ (1 u/nm³ = 1.66054 kg/m³), "charge" in e/nm³
    symmetric : add both sides of the centre: z is then the distance from it, and the density the mean of both sides

    Returns
    -------
    dataset on (type, z) or (molecule_kind, z), lazy: `profile` and `profile_error`, `count` of particles; on (type):
    `correlation_time` in ps and how many `blocks` the error comes from. `z` is the centre of the bin

    Raises
    ------
    NotFound : a name in centre is neither a molecule kind nor a type
    InputError : a parameter makes no sense, it is not known what lies in the middle, or masses or charges are missing
    PhysicsError : no box, or a reach beyond half the height of a box (when computed, if `box` is lazy)

    Notes
    -----
    ρ(z) = ⟨ n(z) / A ⟩ / Δz: n are the particles of a frame in the bin, A = |a × b| is its cross-section, z is the
    distance along the normal, by nearest images, from the centre of mass in that frame, see `periodic_centre`. What
    is averaged is the density of each frame, not numbers and areas apart: in an even fluid this gives ⟨N/V⟩, and what
    lies at fixed z gives its number times ⟨1/A⟩. A frame whose box is higher than 2·reach has particles beyond it.
    Undulations of large membranes smear out the profile: it is relative to one centre for the whole box.
    Errors of mass and charge densities are those of the weighted sum, correlations between its parts included.

    Examples
    --------
    >>> x = np.random.default_rng(1).random((200, 20, 3), np.float32)
    >>> gas = xr.Dataset(
    ...     {"position": (("frame", "particle", "xyz"), x), "box": (("frame", "box_vector", "xyz"), [np.eye(3)] * 200)},
    ...     {"type": ("particle", ["A"] * 19 + ["B"])})
    >>> p = density_profile(gas, centre=["B"], width=0.1, reach=0.5)
    >>> p.profile.sel(type="A").values.mean().round().item(), p.z.values.round(2).tolist()[:2]
    (19.0, [-0.45, -0.35])
    """
    return profile_from_blocks(
        profile_blocks(
            ds, axis=axis, centre=centre, width=width, reach=reach, by=by, density=density, symmetric=symmetric
        )
    )


def profile_blocks(
    ds: xr.Dataset,
    *,
    axis: Axis = "z",
    centre: Sequence[str] | None = None,
    width: float = 0.05,
    reach: float | None = None,
    by: By = "type",
    density: Density = "number",
    symmetric: bool = False,
) -> xr.Dataset:
    """Return the block statistics that `density_profile` is made from, see `cgstore.averages.blocks`.

    Parameters and errors as `density_profile`; `sum` is divided by the cross-section of the frame, 1/nm². For mass and
    charge densities the kinds are numbers of particles of one type and one mass or charge, as their labels say.
    """
    counter = profile_counter(
        ds, axis=axis, centre=centre, width=width, reach=reach, by=by, density=density, symmetric=symmetric
    )
    parameters = {
        "axis": axis,
        "centre": list(counter.histograms[0].bin_attrs["centre"].split(", ")),
        "width": width,
        "reach": float(counter.histograms[0].edges[-1]),
        "by": by,
        "density": density,
        "symmetric": symmetric,
    }
    ((blocks,),) = count_blocks(ds, [counter])
    return blocks.assign_attrs(result_attrs(ds, parameters))


def profile_from_blocks(blocks: xr.Dataset) -> xr.Dataset:
    """Return the profile of block statistics; lazy if those are."""
    return density_of_blocks(blocks, name="profile")


def profile_counter(
    ds: xr.Dataset,
    *,
    axis: Axis,
    centre: Sequence[str] | None,
    width: float,
    reach: float | None,
    by: By,
    density: Density,
    symmetric: bool,
) -> Counter:
    """Return how the frames of a dataset are counted; parameters and errors as `density_profile`."""
    check_dataset(ds)
    question = f"density_profile of {ds.attrs.get('name', 'this dataset')}"
    if "box" not in ds:
        raise PhysicsError(
            f"{question}: found no box, so there is no cross-section to divide by; "
            "give the dataset a variable box (frame, box_vector, xyz)"
        )
    place, topology = axis_of(axis, question), topology_of(ds)
    rows = rows_of(ds, topology, by=by, density=density, question=question)
    body = membrane_of(topology, question=question) if centre is None else body_of(topology, centre, question=question)
    limit = partial(_limit, place)
    bins = bins_within(ds, reach=reach, width=width, limit=limit, question=question, what="reach")
    edges = np.asarray(width * np.arange(0 if symmetric else -bins, bins + 1), np.float64)
    names = ", ".join(body.names)
    histogram = Histogram(
        name="profile",
        kind=rows.kind,
        kinds=rows.labels,
        bin="z",
        edges=edges,
        norm=np.full((len(rows.labels), len(edges) - 1), 2.0 * width if symmetric else width),
        bin_attrs={"units": "nm", "long_name": f"distance along {axis} from the centre of {names}", "centre": names},
        attrs=rows.attrs,
    )
    asked = _Question(
        question, body, place, rows.row, len(rows.labels), len(edges) - 1, width, float(edges[-1]), symmetric
    )
    return Counter("density_profile", (histogram,), partial(_count, asked))


def axis_of(axis: str, question: str) -> int:
    """Return which box vector joins the faces across an axis.

    Raises
    ------
    InputError : it is no axis

    Examples
    --------
    >>> axis_of("z", "density_profile")
    2
    """
    if axis not in _AXES:
        raise InputError(f"{question}: found axis = {axis!r}, expected one of {', '.join(_AXES)}")
    return _AXES.index(axis)


def _limit(axis: int, boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return half the heights of boxes along an axis."""
    return np.asarray(0.5 * heights_of(boxes)[:, axis])


def _count(
    asked: _Question, position: NDArray[np.floating], box: NDArray[np.float64], first: int
) -> list[tuple[NDArray[np.uint32], NDArray[np.float64]]]:
    """Count the particles of some frames; a count is worth one over the cross-section."""
    limits = _limit(asked.axis, box)
    check_reach(limits, reach=asked.reach, first=first, question=asked.question, what="reach")
    across, height = np.ascontiguousarray(reciprocal(box)[:, :, asked.axis]), 2.0 * limits
    centre = plane_centre(position, across, asked.body)
    counts = np.zeros((len(position), asked.rows, asked.bins), np.uint32)
    bad = count_planes(position, across, height, centre, asked.row, asked.width, asked.folded, counts)
    if bad >= 0:
        raise PhysicsError(
            f"{asked.question}: frame {first + bad} has a position that is not finite; leave that frame out"
        )
    return [(counts, height / volume(box))]
