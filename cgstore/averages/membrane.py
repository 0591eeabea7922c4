"""Membranes: area per lipid, thickness and lipids per leaflet of a planar bilayer, with their errors."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.averages.compressibility import stiffness_variables
from cgstore.averages.counting import result_attrs
from cgstore.averages.framewise import box_area, frame_values, mean_variables, normals
from cgstore.averages.leaflets import LOWER, MIDDLE, NEITHER, REACH, UPPER, check_reach, sides_of
from cgstore.averages.lipids import Head, Lipids, find_lipids, lipid_kinds, named_topology
from cgstore.errors import PhysicsError
from cgstore.schema import check_dataset

__all__ = ["area_per_lipid", "membrane", "thickness"]

_AREA = {"units": "nm^2", "long_name": "area per lipid"}
_LEAFLET_AREA = {"units": "nm^2", "long_name": "area per lipid of a leaflet"}
_THICKNESS = {"units": "nm", "long_name": "head to head thickness"}
_NUMBER = {"units": "1", "long_name": "lipids in the leaflet"}

Float = NDArray[np.float64]


def membrane(
    ds: xr.Dataset,
    *,
    lipids: str | Iterable[str] | None = None,
    head: Head = None,
    temperature: float | None = None,
    normal: str = "z",
    middle: float = MIDDLE,
    reach: float = REACH,
) -> xr.Dataset:
    """Return area per lipid, thickness, lipids per leaflet and compressibility from one reading of the frames; lazy.

    Parameters
    ----------
    ds : dataset of the schema at any level, with `box`; `weight` if any
    lipids : kinds of molecules that are counted; by default all phospholipids and sterols
    head, normal, middle, reach : as `cgstore.averages.leaflets.leaflets`
    temperature : K, for the compressibility; by default that of the dataset

    Returns
    -------
    dataset with `area_per_lipid` (), `thickness` (), `leaflet_area_per_lipid` (leaflet), `leaflet_lipids` (leaflet),
    and of each `x` also `x_error`, `x_correlation_time` in ps, `x_blocks`, and `x_series` of every frame;
    `area_compressibility` () with its error. `leaflet` is upper, lower and, for the lipids, neither

    Raises
    ------
    NotFound, InputError, PhysicsError : as `leaflets`; there is no box; when computed: a frame in which a leaflet has
        no lipids

    Notes
    -----
    See `area_per_lipid`, `thickness` and `area_compressibility`. `leaflet_area_per_lipid` is the area of the box over
    the lipids which are in that leaflet in that frame, so flip-flop is right and asymmetric bilayers have two values.

    Examples
    --------
    >>> x = np.tile([[0.5, 0.5, 2.0], [0.5, 0.5, 0.2], [0.7, 0.5, -2.0], [0.7, 0.5, -0.2]], (4, 1, 1))
    >>> ds = xr.Dataset(
    ...     {"position": (("frame", "particle", "xyz"), x), "bond": (("bond", "bond_end"), [[0, 1], [2, 3]]),
    ...      "box": (("frame", "box_vector", "xyz"), [np.diag([0.8, 0.8, 8.0])] * 4)},
    ...     {"name": ("particle", ["PO4", "C", "PO4", "C"]), "molecule": ("particle", [0, 0, 1, 1]),
    ...      "molecule_kind": ("particle", ["DMPC"] * 4)},
    ... )
    >>> found = membrane(ds)
    >>> float(found.area_per_lipid.round(2)), float(found.thickness.round(2)), found.leaflet_lipids.values.tolist()
    (0.64, 4.0, [1.0, 1.0])
    """
    box_area(ds, normal)  # refuses now what has no box
    title = _title(ds)
    check_reach(title, middle, reach)
    found = find_lipids(ds, lipids=_named(lipids), head=head)

    def compute(position: np.ndarray, box: Float | None, weight: Float, first: int) -> list[np.ndarray]:
        sides = sides_of(found, position, box, normal=normal, middle=middle, reach=reach, title=title, first=first)
        numbers = np.stack([(sides.side == side).sum(axis=1) for side in (UPPER, LOWER, NEITHER)], axis=1)
        return [sides.area[:, None], numbers, _thickness(found, sides.side, sides.height, title, first)[:, None]]

    area, numbers, thick = frame_values(ds, compute, [1, 3, 1])
    per_lipid = 2.0 * area[:, 0] / len(found)
    leaflet = {"leaflet": ("leaflet", ["upper", "lower"])}
    variables = {
        **mean_variables(ds, "area_per_lipid", per_lipid, _AREA),
        **mean_variables(ds, "thickness", thick[:, 0], _THICKNESS),
        **mean_variables(ds, "leaflet_area_per_lipid", area / numbers[:, :2], _LEAFLET_AREA, dims=("leaflet",)),
        **mean_variables(ds, "leaflet_lipids", numbers[:, :2], _NUMBER, dims=("leaflet",)),
        **_variables_of_neither(ds, numbers[:, 2]),
        **stiffness_variables(ds, area[:, 0], temperature),
    }
    parameters = {"lipids": sorted(set(found.kind.tolist())), "normal": normal, "middle": middle, "reach": reach}
    return _result(ds, variables, parameters, leaflet)


def area_per_lipid(ds: xr.Dataset, *, lipids: str | Iterable[str] | None = None, normal: str = "z") -> xr.Dataset:
    """Return the area per lipid, 2 A / N, of every frame and its mean with the standard error; lazy.

    Parameters
    ----------
    ds : dataset of the schema with `box` and `molecule_kind`; positions are not read
    lipids : kinds of molecules that are counted; by default all phospholipids and sterols. Without sterols:
        `lipids=("POPC",)`
    normal : the box vector that crosses the bilayer

    Returns
    -------
    dataset with `area_per_lipid` () in nm², `area_per_lipid_error`, `area_per_lipid_correlation_time` in ps,
    `area_per_lipid_blocks` (how many the error comes from) and `area_per_lipid_series` (frame)

    Raises
    ------
    NotFound : no lipids; the message says which kinds of molecules there are
    PhysicsError : there is no box, or when computed, one without volume

    Notes
    -----
    A = |a × b| is the area of the box in the plane of the bilayer and N the number of lipids in both leaflets: one
    number for mixed and asymmetric bilayers too, in which every lipid, sterols included, counts alike. It is the area
    of the *projected* surface, which is smaller than that of an undulating one. `membrane` has each leaflet apart.
    0.01 nm² is 1 Å².

    Examples
    --------
    >>> plane = 64 * 0.6 * np.random.default_rng(1).normal(1.0, 0.01, 256)
    >>> box = [np.diag([np.sqrt(area), np.sqrt(area), 8.0]) for area in plane]
    >>> ds = xr.Dataset(
    ...     {"box": (("frame", "box_vector", "xyz"), box)},
    ...     {"molecule": ("particle", np.arange(128)), "molecule_kind": ("particle", ["DMPC"] * 128)},
    ... )
    >>> found = area_per_lipid(ds)
    >>> bool(abs(found.area_per_lipid - 0.6) < 3 * found.area_per_lipid_error)
    True
    """
    area = box_area(ds, normal)
    number = _lipids_counted(ds, lipids)
    variables = mean_variables(ds, "area_per_lipid", 2.0 * area / number, _AREA)
    return _result(ds, variables, {"lipids": number, "normal": normal})


def thickness(
    ds: xr.Dataset,
    *,
    lipids: str | Iterable[str] | None = None,
    head: Head = None,
    normal: str = "z",
    middle: float = MIDDLE,
    reach: float = REACH,
) -> xr.Dataset:
    """Return the head-to-head thickness of every frame and its mean with the standard error; lazy.

    Parameters
    ----------
    ds : dataset of the schema at any level
    lipids, head, normal, middle, reach : as `cgstore.averages.leaflets.leaflets`

    Returns
    -------
    dataset with `thickness` () in nm, `thickness_error`, `thickness_correlation_time` in ps, `thickness_blocks` and
    `thickness_series` (frame)

    Raises
    ------
    NotFound, InputError, PhysicsError : as `leaflets`; when computed: a frame in which a leaflet has no lipids

    Notes
    -----
    The mean height of the heads of the upper leaflet less that of the lower one along the normal, with respect to the
    middle of the bilayer in that frame; with phosphates it is the P–P distance. Sterols do not count, unless there is
    nothing else or their `head` is given. It is no Luzzati thickness and no distance of electron density maxima, which
    differ by some 0.1 nm; undulations leave it as it is, tilted surfaces count with their projection.

    Examples
    --------
    >>> x = np.tile([[0.5, 0.5, 2.0], [0.5, 0.5, 0.2], [0.7, 0.5, -2.0], [0.7, 0.5, -0.2]], (4, 1, 1))
    >>> ds = xr.Dataset(
    ...     {"position": (("frame", "particle", "xyz"), x), "bond": (("bond", "bond_end"), [[0, 1], [2, 3]]),
    ...      "box": (("frame", "box_vector", "xyz"), [np.diag([0.8, 0.8, 8.0])] * 4)},
    ...     {"name": ("particle", ["PO4", "C", "PO4", "C"]), "molecule": ("particle", [0, 0, 1, 1]),
    ...      "molecule_kind": ("particle", ["DMPC"] * 4)},
    ... )
    >>> float(thickness(ds).thickness.round(2))
    4.0
    """
    title = _title(ds)
    check_reach(title, middle, reach)
    found = find_lipids(ds, lipids=_named(lipids), head=head)
    normals(None, 0, normal, title)

    def compute(position: np.ndarray, box: Float | None, weight: Float, first: int) -> list[np.ndarray]:
        sides = sides_of(found, position, box, normal=normal, middle=middle, reach=reach, title=title, first=first)
        return [_thickness(found, sides.side, sides.height, title, first)[:, None]]

    (thick,) = frame_values(ds, compute, [1])
    parameters = {"lipids": sorted(set(found.kind.tolist())), "normal": normal, "middle": middle, "reach": reach}
    return _result(ds, mean_variables(ds, "thickness", thick[:, 0], _THICKNESS), parameters)


def _title(ds: xr.Dataset) -> str:
    """Return the name of a dataset for messages."""
    return str(ds.attrs.get("name", "this dataset"))


def _named(lipids: str | Iterable[str] | None) -> tuple[str, ...] | None:
    """Return kinds as a tuple, so that they can be looked at twice."""
    return None if lipids is None else (lipids,) if isinstance(lipids, str) else tuple(lipids)


def _lipids_counted(ds: xr.Dataset, lipids: str | Iterable[str] | None) -> int:
    """Return how many lipids there are."""
    check_dataset(ds, needs=("molecule",))
    topology = named_topology(ds)
    kinds = lipid_kinds(topology, _title(ds), _named(lipids))
    return len(np.unique(topology.molecule[np.isin(topology.molecule_kind, kinds)]))


def _thickness(lipids: Lipids, side: NDArray[np.int8], height: Float, title: str, first: int) -> Float:
    """Return (frame,) nm, the mean height of the upper heads less that of the lower ones."""
    mean = []
    for wanted, name in ((UPPER, "upper"), (LOWER, "lower")):
        counted = (side == wanted) & lipids.amphiphilic
        number = counted.sum(axis=1)
        if not number.all():
            frame = int(np.flatnonzero(number == 0)[0])
            found = ", ".join(
                f"{(side[frame] == s).sum()} {n}" for s, n in ((1, "upper"), (-1, "lower"), (0, "neither"))
            )
            raise PhysicsError(
                f"{title}: frame {first + frame} has no lipids in the {name} leaflet (found {found}), expected a "
                "planar bilayer with the heads outside; check lipids, head, normal, middle and reach"
            )
        mean.append(np.where(counted, height, 0.0).sum(axis=1) / number)
    return np.asarray(mean[0] - mean[1])


def _variables_of_neither(ds: xr.Dataset, number: Any) -> dict[str, xr.DataArray]:
    """Return the mean number of lipids in neither leaflet with its error."""
    attrs = {"units": "1", "long_name": "lipids in neither leaflet"}
    return mean_variables(ds, "lipids_in_neither", number, attrs)


def _result(
    ds: xr.Dataset, variables: dict[str, xr.DataArray], parameters: dict[str, Any], coords: dict[str, Any] | None = None
) -> xr.Dataset:
    """Put variables into one dataset with the time of the frames."""
    known = {"time": ds["time"].variable} if "time" in ds else {}
    return xr.Dataset(variables, {**known, **(coords or {})}, result_attrs(ds, parameters))
