"""Leaflets: on which side of the bilayer each lipid is, frame by frame, by where the tails around it end."""

import math
from itertools import product
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.averages.framewise import frame_values, normals
from cgstore.averages.lipids import Head, Lipids, find_lipids
from cgstore.box import heights
from cgstore.errors import InputError, PhysicsError

__all__ = ["LOWER", "MIDDLE", "NEITHER", "REACH", "UPPER", "Sides", "check_reach", "leaflets", "sides_of"]

UPPER, LOWER, NEITHER = 1, -1, 0
MIDDLE = (
    0.5  # nm; the hydroxyl of a sterol that lies between the leaflets is nearer, that of one within a leaflet is not
)
REACH = 1.5  # nm; some twenty tail ends around each, fewer than what a bilayer bends over

Float = NDArray[np.float64]
Index = NDArray[np.int64]


class Sides(NamedTuple):
    """Where the lipids of some frames are."""

    side: NDArray[np.int8]  # (frame, lipid) 1 upper, -1 lower, 0 neither
    height: Float  # (frame, lipid) nm, heads along the normal, from the middle of the bilayer
    normal: Float  # (frame, xyz) unit vectors
    area: Float  # (frame,) nm², of the box in the plane of the bilayer


def leaflets(
    ds: xr.Dataset,
    *,
    lipids: str | tuple[str, ...] | None = None,
    head: Head = None,
    frame: int | slice | None = 0,
    normal: str = "z",
    middle: float = MIDDLE,
    reach: float = REACH,
) -> xr.DataArray:
    """Return on which side of the bilayer each lipid is: 1 upper, −1 lower, 0 neither; lazy.

    Parameters
    ----------
    ds : dataset of the schema at any level, molecules whole or wrapped, with `molecule` and, for all but hand-made
        data, `bond`, `molecule_kind` and `mass`
    lipids : kinds of molecules; by default those with the name of a phospholipid or sterol, or with one phosphate
    head : name or type of the head particles, several, or these by kind of molecule; by default P or PO4, for sterols
        the oxygen or ROH
    frame : one frame, some, or None for all, where lipids may change sides
    normal : the box vector that crosses the bilayer; the plane is that of the other two
    middle : nm; lipids whose head is nearer to the midplane than that are in neither leaflet
    reach : nm; tail ends so near to each other belong together

    Returns
    -------
    int8 (molecule) for one frame, else (frame, molecule), with the number and kind of each molecule as coordinates

    Raises
    ------
    NotFound : no lipids or no heads; the message says what there is
    InputError : middle, reach, normal or frame make no sense; variables are missing
    PhysicsError : when computed: a position that is not finite, a box without volume

    Notes
    -----
    The tails of both leaflets end in the middle of a bilayer. So: (1) tail ends closer than `reach` are connected, and
    the largest connected part is the bilayer; what is not in it (a lipid in the water or on the far side of a
    nanoparticle) is in neither leaflet. (2) The midplane at a lipid is the mean of the tail ends within `reach` of its
    own. (3) The sign of head − midplane along the normal is the leaflet, unless it is within `middle`. All vectors are
    those of whole molecules and nearest images, so neither the cut of the box nor undulations matter, as long as the
    surface is less steep than about 70°. Of a lipid that touches the bilayer from outside with its tails the sign is
    what the geometry says. A closed vesicle has no upper side.

    Examples
    --------
    >>> x = np.array([[[0.5, 0.5, 2.0], [0.5, 0.5, 0.2], [0.7, 0.5, -2.0], [0.7, 0.5, -0.2]]])
    >>> ds = xr.Dataset(
    ...     {"position": (("frame", "particle", "xyz"), x), "bond": (("bond", "bond_end"), [[0, 1], [2, 3]])},
    ...     {"name": ("particle", ["PO4", "C", "PO4", "C"]), "molecule": ("particle", [0, 0, 1, 1]),
    ...      "molecule_kind": ("particle", ["DMPC"] * 4)},
    ... )
    >>> leaflets(ds).values.tolist()
    [1, -1]
    """
    title = str(ds.attrs.get("name", "this dataset"))
    check_reach(title, middle, reach)
    found = find_lipids(ds, lipids=lipids, head=head)
    chosen = ds.isel(frame=_frames(title, frame, ds.sizes.get("frame", 0)))

    def compute(position: np.ndarray, box: Float | None, weight: Float, first: int) -> list[np.ndarray]:
        return [
            sides_of(found, position, box, normal=normal, middle=middle, reach=reach, title=title, first=first).side
        ]

    normals(None, 0, normal, title)  # refuses a wrong normal now, not when it is computed
    (side,) = frame_values(chosen, compute, [len(found)])
    result = xr.DataArray(
        side.astype(np.int8),
        dims=("frame", "molecule"),
        coords={
            "molecule": ("molecule", found.molecule),
            "molecule_kind": ("molecule", found.kind),
            **({"time": ("frame", chosen["time"].values)} if "time" in chosen else {}),
        },
        name="leaflet",
        attrs={"units": "1", "long_name": "leaflet: 1 upper, -1 lower, 0 neither", "normal": normal},
    )
    return result.isel(frame=0) if isinstance(frame, int) else result


def _frames(title: str, frame: int | slice | None, frames: int) -> slice:
    """Return the wanted frames as a slice."""
    if frame is None:
        return slice(None)
    if isinstance(frame, slice):
        return frame
    if not -frames <= frame < frames:
        raise InputError(f"leaflets of {title}: found frame {frame}, expected one of 0 to {frames - 1}")
    return slice(frame % frames, frame % frames + 1)


def check_reach(title: str, middle: float, reach: float) -> None:
    """Refuse distances that cannot tell leaflets apart.

    Raises
    ------
    InputError : middle is negative, or reach is not positive

    Examples
    --------
    >>> check_reach("example", 0.5, 1.5)
    """
    if not (math.isfinite(middle) and middle >= 0 and math.isfinite(reach) and reach > 0):
        raise InputError(
            f"leaflets of {title}: found middle {middle} and reach {reach}, expected 0 <= middle and 0 < reach, in nm"
        )


def sides_of(
    lipids: Lipids,
    position: np.ndarray,
    box: Float | None,
    *,
    normal: str = "z",
    middle: float = MIDDLE,
    reach: float = REACH,
    title: str = "this dataset",
    first: int = 0,
) -> Sides:
    """Return where the lipids of some frames are; see `leaflets`.

    Parameters
    ----------
    lipids : what `find_lipids` found
    position, box : (frame, particle, xyz) and (frame, box_vector, xyz) nm, or None
    normal, middle, reach : as `leaflets`
    title, first : name of the dataset and index of the first frame, for messages

    Raises
    ------
    PhysicsError : a position that is not finite
    """
    head, tail = lipids.ends(position, box)
    wrong = ~(np.isfinite(head) & np.isfinite(tail)).all(axis=(1, 2))
    if wrong.any():
        raise PhysicsError(
            f"{title}: frame {first + int(wrong.argmax())} has a position that is not finite; leave that frame out"
        )
    vector, area = normals(box, len(position), normal, title)
    side = np.zeros(head.shape[:2], np.int8)
    height = np.empty(head.shape[:2])
    for frame in range(len(position)):
        one = None if box is None else box[frame]
        offset, inside = _midplane(tail[frame], one, reach)
        own = (head[frame] - tail[frame] - offset) @ vector[frame]
        side[frame] = np.where(inside & (np.abs(own) >= middle), np.sign(own), NEITHER)
        height[frame] = own + _undulation(tail[frame] + offset, vector[frame], one, normal, inside)
    return Sides(side, height, vector, area)


def _midplane(tail: Float, box: Float | None, reach: float) -> tuple[Float, NDArray[np.bool_]]:
    """Return (lipid, xyz) from each tail end to the mean of those around it, and which are of the largest part."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    one, other, vector = _neighbours(tail, box, reach)
    number = np.bincount(one, minlength=len(tail))
    offset = np.stack([np.bincount(one, vector[:, axis], len(tail)) for axis in range(3)], 1) / number[:, None]
    graph = coo_array((np.ones(len(one), np.int8), (one, other)), shape=(len(tail), len(tail)))
    _, part = connected_components(graph, directed=False)
    return offset, np.asarray(part == np.bincount(part).argmax())


def _neighbours(point: Float, box: Float | None, reach: float) -> tuple[Index, Index, Float]:
    """Return all pairs of points within reach, each point with itself too, over all images: first, second, vector."""
    from scipy.spatial import cKDTree

    owner, image, home = np.arange(len(point)), point, point
    if box is not None:
        fraction = point @ np.linalg.inv(box)
        fraction -= np.floor(fraction)
        margin = reach / heights(box)
        shifts = np.array(list(product(*(range(-math.ceil(m), math.ceil(m) + 1) for m in margin))), np.float64)
        images = fraction + shifts[:, None]  # (shift, point, xyz)
        near = ((images >= -margin) & (images <= 1.0 + margin)).all(axis=2)
        owner = np.broadcast_to(owner, near.shape)[near]
        image, home = images[near] @ box, fraction @ box
    pairs = cKDTree(home).sparse_distance_matrix(cKDTree(image), reach, output_type="ndarray")
    return pairs["i"], owner[pairs["j"]], image[pairs["j"]] - home[pairs["i"]]


def _undulation(plane: Float, normal: Float, box: Float | None, axis: str, inside: NDArray[np.bool_]) -> Float:
    """Return (lipid,) how far the midplane at each lipid is above the middle of the bilayer, by nearest images."""
    if box is None:
        along = plane @ normal
        return np.asarray(along - along[inside].mean())
    period = abs(float(box["xyz".index(axis)] @ normal))
    along = plane @ normal
    # The mean direction on a circle whose circumference is the period; from there nearest images are well defined.
    angle = 2.0 * np.pi * along[inside] / period
    centre = np.arctan2(np.sin(angle).mean(), np.cos(angle).mean()) * period / (2.0 * np.pi)
    away = along - centre
    away -= np.rint(away / period) * period
    return np.asarray(away - away[inside].mean())
