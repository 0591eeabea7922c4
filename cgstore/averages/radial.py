"""Densities around the centre of a nanoparticle: in spherical shells, and in rings about an axis through it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.averages.centring import Body, body_of, centre_of, reciprocal
from cgstore.averages.counting import Counter, Histogram, count_blocks, result_attrs
from cgstore.averages.density import (
    By,
    Rows,
    bins_within,
    check_reach,
    density_of_blocks,
    heights_of,
    rows_of,
)
from cgstore.averages.profile import Axis, axis_of
from cgstore.errors import PhysicsError
from cgstore.kernels.profiles import count_cells, count_shells
from cgstore.schema import check_dataset, topology_of

__all__ = [
    "map_blocks",
    "map_counter",
    "map_from_blocks",
    "radial_blocks",
    "radial_counter",
    "radial_from_blocks",
    "radial_map",
    "radial_profile",
    "reaches_of_map",
]

Float = NDArray[np.float64]


class _Geometry(NamedTuple):
    """Boxes as the kernels want them: the vector along the axis is the last; zeros without a box."""

    box: Float  # (frame, 3, 3)
    inverse: Float  # (frame, 3, 3)
    plane: Float  # (frame, 3, 2) reciprocal vectors of the first two box vectors, within their plane
    normal: Float  # (frame, 3) of that plane


@dataclass(frozen=True, slots=True, eq=False)
class _Question:
    """What is counted in every frame."""

    question: str
    body: Body
    axis: int
    rows: Rows
    width: float
    rings: int  # bins in the distance from the centre or the axis
    layers: int  # bins along the axis; 0 for spherical shells


def radial_profile(
    ds: xr.Dataset, *, centre: Sequence[str], width: float = 0.02, reach: float | None = None, by: By = "type"
) -> xr.Dataset:
    """Return number densities around a nanoparticle; no position is read until it is computed.

    Parameters
    ----------
    ds : dataset of the schema with `position`; `box`, `type`, `molecule_kind`, `mass`, `weight` if any
    centre : molecule kinds or types; all their particles together are the nanoparticle, smaller than the box
    width : of the shells, nm
    reach : nm; by default half the smallest height of any box (then boxes are read at once); whole bins only
    by : "type", "molecule_kind", or "all" for the sum over everything

    Returns
    -------
    dataset on (type, r) or (molecule_kind, r), lazy: `profile` and `profile_error` in 1/nm³, `count` of particles; on
    (type): `correlation_time` in ps and how many `blocks` the error comes from. `r` is the centre of the bin

    Raises
    ------
    NotFound : a name in centre is neither a molecule kind nor a type
    InputError : a parameter makes no sense, or there is neither a reach nor a box
    PhysicsError : a reach beyond half the smallest height of a box (when computed, if `box` is lazy)

    Notes
    -----
    ρ(r) = ⟨ n(r) ⟩ / (4π/3 (r₊³ − r₋³)): n are the particles of a frame whose nearest image is in the shell around the
    centre of mass in that frame, see `periodic_centre`. Nothing is left out: those of the nanoparticle are in the rows
    of their own types. Far away ρ is the density of the bulk, with ⟨N⟩/V of the volume that the particle leaves.
    Shells are the same in every frame, so a box that changes needs no factor. The innermost shells are small, and
    their errors large. Where the surroundings are not the same on all sides, as at a membrane, see `radial_map`.

    Examples
    --------
    >>> x = np.random.default_rng(1).random((300, 50, 3), np.float32)
    >>> gas = xr.Dataset(
    ...     {"position": (("frame", "particle", "xyz"), x), "box": (("frame", "box_vector", "xyz"), [np.eye(3)] * 300)},
    ...     {"type": ("particle", ["A"] * 49 + ["AU"])})
    >>> p = radial_profile(gas, centre=["AU"], width=0.1)
    >>> p["count"].sel(type="AU").values.tolist(), p.profile.sel(type="A").values[-1].round(-1).item()
    ([300, 0, 0, 0, 0], 50.0)
    """
    return radial_from_blocks(radial_blocks(ds, centre=centre, width=width, reach=reach, by=by))


def radial_blocks(
    ds: xr.Dataset, *, centre: Sequence[str], width: float = 0.02, reach: float | None = None, by: By = "type"
) -> xr.Dataset:
    """Return the block statistics that `radial_profile` is made from, see `cgstore.averages.blocks`.

    Parameters and errors as `radial_profile`.
    """
    counter = radial_counter(ds, centre=centre, width=width, reach=reach, by=by)
    parameters = {"centre": _names(centre), "width": width, "reach": float(counter.histograms[0].edges[-1]), "by": by}
    ((blocks,),) = count_blocks(ds, [counter])
    return blocks.assign_attrs(result_attrs(ds, parameters))


def radial_from_blocks(blocks: xr.Dataset) -> xr.Dataset:
    """Return the profile of block statistics; lazy if those are."""
    return density_of_blocks(blocks, name="profile")


def radial_counter(ds: xr.Dataset, *, centre: Sequence[str], width: float, reach: float | None, by: By) -> Counter:
    """Return how the frames of a dataset are counted; parameters and errors as `radial_profile`."""
    question = f"radial_profile of {ds.attrs.get('name', 'this dataset')}"
    body, rows = _parts(ds, centre, by, question)
    bins = bins_within(ds, reach=reach, width=width, limit=_half_height, question=question, what="reach")
    edges = np.asarray(width * np.arange(bins + 1), np.float64)
    histogram = Histogram(
        name="radial_profile",
        kind=rows.kind,
        kinds=rows.labels,
        bin="r",
        edges=edges,
        norm=np.tile(4.0 / 3.0 * np.pi * np.diff(edges**3), (len(rows.labels), 1)),
        bin_attrs={"units": "nm", "long_name": f"distance r from the centre of {', '.join(body.names)}"},
        attrs=rows.attrs,
    )
    asked = _Question(question, body, 2, rows, width, bins, 0)
    return Counter("radial_profile", (histogram,), partial(_count, asked))


def radial_map(
    ds: xr.Dataset,
    *,
    centre: Sequence[str],
    width: float = 0.1,
    reach: float | None = None,
    reach_z: float | None = None,
    axis: Axis = "z",
    by: By = "type",
) -> xr.Dataset:
    """Return number densities around a nanoparticle by the distance from an axis through it and the place along it.

    Parameters
    ----------
    ds : dataset of the schema with `position`; `box`, `type`, `molecule_kind`, `mass`, `weight` if any
    centre : molecule kinds or types; all their particles together are the nanoparticle, smaller than the box
    width : of the bins in both directions, nm
    reach, reach_z : nm, how far from the axis, and how far to both sides along it; by default as far as the smallest
        box allows (then boxes are read at once); whole bins only
    axis : "z" is the normal of the plane of the first two box vectors, in triclinic boxes too
    by : "type", "molecule_kind", or "all" for the sum over everything

    Returns
    -------
    dataset on (type, r, z) or (molecule_kind, r, z), lazy: `map` and `map_error` in 1/nm³, `count` of particles; on
    (type): `correlation_time` in ps and `blocks`. `r` and `z` are the centres of the bins

    Raises
    ------
    NotFound, InputError, PhysicsError : as `radial_profile`

    Notes
    -----
    ρ(r, z) = ⟨ n(r, z) ⟩ / (π (r₊² − r₋²) Δz), relative to the centre of mass of the nanoparticle in every frame.
    Images are nearest along the normal first, then within the plane, so that the two reaches may differ. z grows in
    the direction of the box vector across the plane; sides are not told apart by what lies there.

    Examples
    --------
    >>> x = np.random.default_rng(1).random((300, 50, 3), np.float32)
    >>> gas = xr.Dataset(
    ...     {"position": (("frame", "particle", "xyz"), x), "box": (("frame", "box_vector", "xyz"), [np.eye(3)] * 300)},
    ...     {"type": ("particle", ["A"] * 49 + ["AU"])})
    >>> m = radial_map(gas, centre=["AU"], width=0.25)
    >>> m["map"].sel(type="A").values.round(-1).tolist()
    [[50.0, 50.0, 50.0, 50.0], [50.0, 50.0, 50.0, 50.0]]
    """
    return map_from_blocks(map_blocks(ds, centre=centre, width=width, reach=reach, reach_z=reach_z, axis=axis, by=by))


def map_blocks(
    ds: xr.Dataset,
    *,
    centre: Sequence[str],
    width: float = 0.1,
    reach: float | None = None,
    reach_z: float | None = None,
    axis: Axis = "z",
    by: By = "type",
) -> xr.Dataset:
    """Return the block statistics that `radial_map` is made from, see `cgstore.averages.blocks`.

    Parameters and errors as `radial_map`; the dim `cell` holds the bins of (r, z), those of z innermost.
    """
    counter = map_counter(ds, centre=centre, width=width, reach=reach, reach_z=reach_z, axis=axis, by=by)
    reaches = reaches_of_map(counter.histograms[0])
    parameters = {"centre": _names(centre), "width": width, **reaches, "axis": axis, "by": by}
    ((blocks,),) = count_blocks(ds, [counter])
    return blocks.assign_attrs(result_attrs(ds, parameters))


def reaches_of_map(histogram: Histogram) -> dict[str, float]:
    """Return how far the bins of a map reach from the axis and along it, nm."""
    rings, layers = _shape(histogram.bin_attrs)
    width = float(histogram.bin_attrs["width"])
    return {"reach": rings * width, "reach_z": layers * width / 2}


def map_from_blocks(blocks: xr.Dataset) -> xr.Dataset:
    """Return the map of block statistics; lazy if those are."""
    attrs = blocks["cell"].attrs
    rings, layers = _shape(attrs)
    width, names, axis = float(attrs["width"]), attrs["centre"], attrs["axis"]
    flat = density_of_blocks(blocks, name="map").drop_vars("cell")
    r, z = width * (np.arange(rings) + 0.5), width * (np.arange(layers) + 0.5 - layers / 2)
    return flat.coarsen(cell=layers).construct(cell=("r", "z")).assign_coords(
        r=("r", r, {"units": "nm", "long_name": f"distance r from the axis along {axis} through {names}"}),
        z=("z", z, {"units": "nm", "long_name": f"distance along {axis} from the centre of {names}"}),
    )  # fmt: skip


def map_counter(
    ds: xr.Dataset,
    *,
    centre: Sequence[str],
    width: float,
    reach: float | None,
    reach_z: float | None,
    axis: Axis,
    by: By,
) -> Counter:
    """Return how the frames of a dataset are counted; parameters and errors as `radial_map`."""
    question = f"radial_map of {ds.attrs.get('name', 'this dataset')}"
    body, rows = _parts(ds, centre, by, question)
    place = axis_of(axis, question)
    across, along = partial(_half_plane, place), partial(_half_along, place)
    rings = bins_within(ds, reach=reach, width=width, limit=across, question=question, what="reach")
    layers = 2 * bins_within(ds, reach=reach_z, width=width, limit=along, question=question, what="reach_z")
    ring = np.pi * np.diff((width * np.arange(rings + 1)) ** 2)
    histogram = Histogram(
        name="radial_map",
        kind=rows.kind,
        kinds=rows.labels,
        bin="cell",
        edges=np.asarray(np.arange(rings * layers + 1) - 0.5, np.float64),
        norm=np.tile(np.repeat(ring * width, layers), (len(rows.labels), 1)),
        bin_attrs={
            "units": "1", "long_name": "number of the bin of (r, z), z innermost", "rings": str(rings),
            "layers": str(layers), "width": repr(float(width)), "axis": axis, "centre": ", ".join(body.names),
        },
        attrs=rows.attrs,
    )  # fmt: skip
    asked = _Question(question, body, place, rows, width, rings, layers)
    return Counter("radial_map", (histogram,), partial(_count, asked))


def _parts(ds: xr.Dataset, centre: Sequence[str], by: By, question: str) -> tuple[Body, Rows]:
    """Return the nanoparticle, and who counts in which row."""
    topology = topology_of(check_dataset(ds))
    body = body_of(topology, centre, question=question)
    return body, rows_of(ds, topology, by=by, density="number", question=question)


def _names(centre: Sequence[str]) -> list[str]:
    """Return the names that make a centre."""
    return [centre] if isinstance(centre, str) else list(centre)


def _shape(attrs: object) -> tuple[int, int]:
    """Return how many rings and layers a map has, from the attrs of its cells."""
    found = dict(attrs)  # type: ignore[call-overload]
    return int(found["rings"]), int(found["layers"])


def _half_height(boxes: Float) -> Float:
    """Return half the smallest heights of boxes."""
    return np.asarray(0.5 * heights_of(boxes).min(axis=1))


def _half_along(axis: int, boxes: Float) -> Float:
    """Return half the heights of boxes along an axis."""
    return np.asarray(0.5 * heights_of(boxes)[:, axis])


def _half_plane(axis: int, boxes: Float) -> Float:
    """Return half the smallest heights of the parallelograms across an axis."""
    plane = _geometry(boxes, axis, len(boxes)).plane
    return np.asarray(0.5 / np.sqrt((plane * plane).sum(axis=1)).max(axis=1))


def _geometry(box: Float | None, axis: int, frames: int) -> _Geometry:
    """Return boxes as the kernels want them."""
    if box is None:
        zero = np.zeros((frames, 3, 3))
        return _Geometry(zero, zero, np.zeros((frames, 3, 2)), np.tile(np.eye(3)[axis], (frames, 1)))
    turned = np.ascontiguousarray(np.roll(box, 2 - axis, axis=1))
    a, b, inverse = turned[:, 0], turned[:, 1], reciprocal(turned)
    normal = inverse[:, :, 2] / np.sqrt((inverse[:, :, 2] ** 2).sum(axis=1))[:, None]
    across = [np.cross(b, normal), np.cross(normal, a)]
    plane = [w / (v * w).sum(axis=1)[:, None] for v, w in zip((a, b), across, strict=True)]
    return _Geometry(turned, inverse, np.stack(plane, axis=2), np.ascontiguousarray(normal))


def _count(
    asked: _Question, position: NDArray[np.floating], box: Float | None, first: int
) -> list[tuple[NDArray[np.uint32], Float]]:
    """Count the particles of some frames."""
    question, rings, layers, width = asked.question, asked.rings, asked.layers, asked.width
    if box is not None:
        limits = _half_plane(asked.axis, box) if layers else _half_height(box)
        check_reach(limits, reach=rings * width, first=first, question=question, what="reach")
        along = _half_along(asked.axis, box)
        check_reach(along, reach=layers * width / 2, first=first, question=question, what="reach_z")
    geometry = _geometry(box, asked.axis, len(position))
    centre = np.ascontiguousarray(centre_of(position, box, asked.body))
    counts = np.zeros((len(position), len(asked.rows.labels), rings * (layers or 1)), np.uint32)
    if layers:
        bad = count_cells(position, *geometry, centre, asked.rows.row, width, rings, counts)
    else:
        bad = count_shells(position, *geometry[:3], centre, asked.rows.row, width, counts)
    if bad >= 0:
        raise PhysicsError(f"{question}: frame {first + bad} has a position that is not finite; leave that frame out")
    return [(counts, np.ones(len(position)))]
