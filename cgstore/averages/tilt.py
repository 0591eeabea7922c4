"""Tilt: the angle between lipids, or their chains, and the normal of their leaflet."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.averages.counting import Counter, Histogram, count_blocks, result_attrs
from cgstore.averages.estimates import distribution_of_blocks
from cgstore.averages.framewise import frame_values, mean_variables, normals
from cgstore.averages.leaflets import MIDDLE, NEITHER, REACH, check_reach, sides_of
from cgstore.averages.lipids import Head, Lipids, find_lipids, named_topology, skeleton_of
from cgstore.errors import InputError

__all__ = ["tilt", "tilt_distribution"]

_MEAN = {"units": "degree", "long_name": "tilt angle"}
_DENSITY = {"units": "1/degree", "long_name": "distribution of tilt angles"}

Float = NDArray[np.float64]
Index = NDArray[np.int64]
Of = Literal["lipid", "chain"]


def tilt(
    ds: xr.Dataset,
    *,
    of: Of = "lipid",
    lipids: str | Iterable[str] | None = None,
    head: Head = None,
    normal: str = "z",
    middle: float = MIDDLE,
    reach: float = REACH,
) -> xr.Dataset:
    """Return the mean tilt angle of each kind of lipid, or of its chains, against the normal of its leaflet; lazy.

    Parameters
    ----------
    ds : dataset of the schema at any level
    of : "lipid", the vector from the ends of the tails to the head, or "chain", from the end of each tail to its first
        particle after the last branch, the α carbon or the first bead
    lipids, head, normal, middle, reach : as `cgstore.averages.leaflets.leaflets`

    Returns
    -------
    dataset with `tilt` (molecule_kind) in degrees, `tilt_error`, `tilt_series` (frame, molecule_kind),
    `tilt_correlation_time` in ps and `tilt_blocks`

    Raises
    ------
    NotFound, InputError, PhysicsError : as `leaflets`; chains are asked for and there are no bonds

    Notes
    -----
    The mean of the angles, 0 to 180°, between the vector and the outward normal of the plane of the box, on the side on
    which the lipid is in that frame; lipids in neither leaflet do not count. It is not the angle of the mean vector:
    vectors without any preference have a mean angle of 90°, and those that fluctuate about the normal one well above 0,
    because there is no solid angle at 0. In undulating bilayers it contains the slope of the surface.

    Examples
    --------
    >>> x = np.array([[[0.5, 0.5, 2.0], [0.5, 0.5, 0.2], [0.7, 0.5, -2.0], [2.5, 0.5, -0.2]]])
    >>> ds = xr.Dataset(
    ...     {"position": (("frame", "particle", "xyz"), x), "bond": (("bond", "bond_end"), [[0, 1], [2, 3]])},
    ...     {"name": ("particle", ["PO4", "C", "PO4", "C"]), "molecule": ("particle", [0, 0, 1, 1]),
    ...      "molecule_kind": ("particle", ["DMPC"] * 4)},
    ... )
    >>> float(tilt(ds, reach=3.0).tilt.sel(molecule_kind="DMPC").round(3))
    22.5
    """
    question = _question(ds, of, lipids, head, normal, middle, reach)

    def compute(position: np.ndarray, box: Float | None, weight: Float, first: int) -> list[np.ndarray]:
        angle, counted = question.angles(position, box, first)
        kind = (question.row[:, None] == np.arange(len(question.kinds))).astype(np.float64)  # (vector, kind)
        number = counted @ kind
        with np.errstate(invalid="ignore"):  # NaN where no lipid of the kind is in a leaflet
            return [(np.where(counted, angle, 0.0) @ kind) / number, number]

    mean, number = frame_values(ds, compute, [len(question.kinds)] * 2)
    variables = mean_variables(ds, "tilt", mean, _MEAN, dims=("molecule_kind",), weight=number)
    known = {"time": ds["time"].variable} if "time" in ds else {}
    coords = {**known, "molecule_kind": ("molecule_kind", list(question.kinds))}
    return xr.Dataset(variables, coords, result_attrs(ds, question.parameters()))


def tilt_distribution(
    ds: xr.Dataset,
    *,
    of: Of = "lipid",
    bin_width: float = 2.0,
    lipids: str | Iterable[str] | None = None,
    head: Head = None,
    normal: str = "z",
    middle: float = MIDDLE,
    reach: float = REACH,
) -> xr.Dataset:
    """Return the distribution of tilt angles of each kind of lipid, or of its chains, with errors; lazy.

    Parameters
    ----------
    bin_width : degrees, must divide 180
    ds, of, lipids, head, normal, middle, reach : as `tilt`

    Returns
    -------
    dataset with `tilt` (molecule_kind, theta) per degree, `tilt_error`, `tilt_count`, `tilt_correlation_time` in ps and
    `tilt_blocks`; theta is the centre of the bin

    Raises
    ------
    InputError : bin_width does not divide 180; else as `tilt`

    Notes
    -----
    A plain density without the factor sin θ. It integrates to 1 less the part of the lipids in neither leaflet.

    Examples
    --------
    >>> x = np.array([[[0.5, 0.5, 2.0], [0.5, 0.5, 0.2], [0.7, 0.5, -2.0], [0.7, 0.5, -0.2]]], np.float32)
    >>> ds = xr.Dataset(
    ...     {"position": (("frame", "particle", "xyz"), x), "bond": (("bond", "bond_end"), [[0, 1], [2, 3]])},
    ...     {"name": ("particle", ["PO4", "C", "PO4", "C"]), "molecule": ("particle", [0, 0, 1, 1]),
    ...      "molecule_kind": ("particle", ["DMPC"] * 4)},
    ... )
    >>> float(tilt_distribution(ds, bin_width=10.0).tilt.sel(molecule_kind="DMPC", theta=5.0))
    0.1
    """
    question = _question(ds, of, lipids, head, normal, middle, reach)
    bins = round(180.0 / bin_width) if 0 < bin_width <= 180 else 0
    if bins == 0 or abs(bins * bin_width - 180.0) > 1e-9:
        raise InputError(f"tilt of {question.title}: found bin_width {bin_width}, expected degrees that divide 180")
    edges = np.linspace(0.0, 180.0, bins + 1)
    kinds = len(question.kinds)

    def count(position: np.ndarray, box: Float | None, first: int) -> list[tuple[NDArray[np.uint32], Float]]:
        angle, counted = question.angles(position, box, first)
        place = np.minimum((angle / bin_width).astype(np.int64), bins - 1)
        frame = np.arange(len(position))[:, None]
        flat = ((frame * kinds + question.row) * bins + place)[counted]
        counts = np.bincount(flat, minlength=len(position) * kinds * bins).astype(np.uint32)
        return [(counts.reshape(len(position), kinds, bins), np.ones(len(position)))]

    number = np.bincount(question.row, minlength=kinds)
    histogram = Histogram(
        name="tilt",
        kind="molecule_kind",
        kinds=question.kinds,
        bin="theta",
        edges=edges,
        norm=np.repeat(number[:, None] * bin_width, bins, axis=1),
        bin_attrs={"units": "degree", "long_name": "tilt angle"},
        attrs=_DENSITY,
    )
    ((blocks,),) = count_blocks(ds, [Counter("tilt", (histogram,), count)])
    attrs = result_attrs(ds, {**question.parameters(), "bin_width": bin_width})
    return distribution_of_blocks(blocks.assign_attrs(attrs), name="tilt", count="tilt_count")


@dataclass(frozen=True, slots=True, eq=False)
class _Question:
    """Which vectors are looked at, and in which leaflet they count."""

    title: str
    lipids: Lipids
    kinds: tuple[str, ...]
    row: Index  # (vector,) kind
    lipid: Index  # (vector,)
    start: Index  # (vector,) place among the kept particles of the lipids, empty for whole lipids
    end: Index
    normal: str
    middle: float
    reach: float

    def parameters(self) -> dict[str, Any]:
        """Return what was asked, for attrs."""
        of = "chain" if len(self.start) else "lipid"
        return {"of": of, "lipids": list(self.kinds), "normal": self.normal, "middle": self.middle, "reach": self.reach}

    def angles(self, position: np.ndarray, box: Float | None, first: int) -> tuple[Float, NDArray[np.bool_]]:
        """Return (frame, vector) angles in degrees, and which count."""
        sides = sides_of(
            self.lipids, position, box,
            normal=self.normal, middle=self.middle, reach=self.reach, title=self.title, first=first,
        )  # fmt: skip
        if len(self.start):
            whole = self.lipids.whole(position, box)
            vector = whole[:, self.start] - whole[:, self.end]
        else:
            head, tail = self.lipids.ends(position, box)
            vector = head - tail
        side = sides.side[:, self.lipid]
        along = np.einsum("fvx,fx->fv", vector, sides.normal) * side
        with np.errstate(invalid="ignore"):
            cosine = along / np.linalg.norm(vector, axis=-1)
        angle = np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))
        counted = (side != NEITHER) & np.isfinite(angle)
        return np.where(counted, angle, 0.0), counted


def _question(
    ds: xr.Dataset, of: Of, lipids: str | Iterable[str] | None, head: Head, normal: str, middle: float, reach: float
) -> _Question:
    """Find the vectors."""
    title = str(ds.attrs.get("name", "this dataset"))
    if of not in ("lipid", "chain"):
        raise InputError(f'tilt of {title}: found of = {of!r}, expected "lipid" or "chain"')
    check_reach(title, middle, reach)
    normals(None, 0, normal, title)
    found = find_lipids(ds, lipids=lipids, head=head)
    kinds, row = np.unique(found.kind, return_inverse=True)
    lipid, start, end = np.arange(len(found)), np.empty(0, np.int64), np.empty(0, np.int64)
    if of == "chain":
        start, end, lipid = _chains(ds, found, title)
    names = tuple(str(kind) for kind in kinds)
    return _Question(title, found, names, row[lipid], lipid, start, end, normal, middle, reach)


def _chains(ds: xr.Dataset, lipids: Lipids, title: str) -> tuple[Index, Index, Index]:
    """Return where each chain begins and ends, as places among the kept particles, and the lipid of each."""
    topology = named_topology(ds)
    heavy = skeleton_of(topology)
    bond = topology.bond[heavy[topology.bond].all(axis=1)]
    degree = np.bincount(bond.ravel(), minlength=len(topology))[lipids.particle]
    found = []
    for end, lipid in zip(*lipids.tail, strict=True):
        start = end
        while lipids.parent[start] != start and degree[lipids.parent[start]] == 2:
            start = lipids.parent[start]
        if start != end:
            found.append((start, end, lipid))
    if not found:
        raise InputError(f"tilt of {title}: found no chains, expected lipids with bonds along their tails")
    starts, ends, of = np.array(found, np.int64).T
    return starts, ends, of
