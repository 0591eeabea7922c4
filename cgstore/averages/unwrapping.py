"""Unwrapping: the way that molecules or particles went, without the jumps at the faces of a box that may change."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.delayed import delayed
from numpy.typing import NDArray

from cgstore.averages.bodies import Bodies, bodies_of
from cgstore.errors import InputError, PhysicsError
from cgstore.kernels.unwrapping import add_steps
from cgstore.schema import check_dataset

__all__ = ["task_frames", "unwrap"]

Float = NDArray[np.float64]
_TASK_BYTES = 2**24  # positions that one task holds
_FAR = 0.45  # a step of this part of a height of the box may as well have been one the other way round
_MOST_FAR = 1e-3  # part of the steps that may be so far; normal steps of an rms of 0.14 heights have as many


@dataclass(frozen=True, slots=True, eq=False)
class _State:
    """What is carried from one group of frames to the next."""

    wrapped: Float  # (body, xyz) nm, of the last frame, inside the box
    way: Float  # (body, xyz) nm, unwrapped
    drift: Float  # (xyz,) nm, how far the centre of mass of all bodies has come
    far: NDArray[np.int64]  # (kind + 1,) steps of nearly half a height of the box, along each of the three heights
    frames: int


def unwrap(
    ds: xr.Dataset, *, of: str = "molecule", kinds: Sequence[str] | None = None, remove_drift: bool = False
) -> xr.Dataset:
    """Return unwrapped trajectories of molecules or particles, right also where the box changes; nothing is read yet.

    Parameters
    ----------
    ds : dataset of the schema, positions wrapped or whole; `box`, `molecule`, `mass` and `bond` if there are any
    of : "molecule" for centres of mass of molecules, which are made whole along their bonds; or "particle"
    kinds : which kinds of molecules, or types of particles; all by default
    remove_drift : take off the motion of the centre of mass of the whole system

    Returns
    -------
    dataset, lazy: `position` (frame, molecule or particle, xyz) float64 nm, `kind` and `mass` in u of each body;
    in the attrs `unwrapped`, "toroidal" or, without a box, "no box"

    Raises
    ------
    InputError, NotFound : `of` or `kinds` cannot be used
    PhysicsError : when computed: frames so far apart that steps of half a box are likely, a box without volume, or a
        position that is not finite

    Notes
    -----
    Toroidal-view-preserving (TOR): with w inside the box of each frame, and ⌊·⌉ the nearest image in the newer box,

        u(i+1) = u(i) + ⌊w(i+1) − w(i)⌉

    so that a step never knows how many boxes away from the first one a body is. Adding whole boxes instead
    (u = w + n L, "nojump") multiplies every fluctuation of the box with n: diffusion coefficients from NPT runs then
    grow with the length of the run. Bodies keep their own way here, but distances *between* unwrapped bodies mean
    nothing; that is the price, and why molecules are moved as one. von Bülow, Bullerjahn & Hummer 2020,
    doi:10.1063/5.0008316; Kulke & Vermaas 2022, doi:10.1021/acs.jctc.2c00327; Bullerjahn et al. 2023,
    doi:10.1021/acs.jctc.3c00308

    Examples
    --------
    >>> way = np.cumsum(np.full((50, 1, 3), 0.1), axis=0)
    >>> box = np.broadcast_to(np.eye(3), (50, 3, 3))
    >>> variables = {"position": (("frame", "particle", "xyz"), way % 1), "box": (("frame", "box_vector", "xyz"), box)}
    >>> u = unwrap(xr.Dataset(variables)).position
    >>> (u[-1] - u[0]).values.round(6).tolist()
    [[4.9, 4.9, 4.9]]
    """
    check_dataset(ds)
    title = str(ds.attrs.get("name", "this dataset"))
    bodies = bodies_of(ds, of)
    names, chosen = bodies.of_kinds(title, kinds)
    if ds.sizes["frame"] == 0:
        raise InputError(f"unwrap of {title}: found no frames, expected at least one")
    # What is taken off as drift is the way of all kinds.
    checked = tuple(np.unique(bodies.kind).tolist()) if remove_drift else names
    position = _ways(ds, title, bodies, checked, chosen, remove_drift)
    coords = {"kind": (of, bodies.kind[chosen]), of: bodies.number[chosen]}
    kept = {name: ds[name].variable for name in ("time", "step") if name in ds.coords}
    attrs = {name: ds.attrs[name] for name in ("name", "title", "version", "digest", "temperature") if name in ds.attrs}
    scheme = {"unwrapped": "toroidal" if "box" in ds else "no box", "of": of, "drift_removed": int(remove_drift)}
    return xr.Dataset(
        {
            "position": (("frame", of, "xyz"), position, {"units": "nm", "long_name": "unwrapped position"}),
            "mass": (of, bodies.mass[chosen], {"units": "u", "long_name": "mass"}),
        },
        coords | kept,
        attrs | scheme,
    )


def task_frames(particles: int) -> int:
    """Return how many frames one task holds: what 16 MiB of positions have room for, at least one."""
    return max(_TASK_BYTES // (12 * max(particles, 1)), 1)


def _ways(
    ds: xr.Dataset, title: str, bodies: Bodies, names: Sequence[str], chosen: NDArray[np.int64], remove_drift: bool
) -> Any:
    """Return the lazy array: centres of groups of frames in parallel, then a chain that adds up their steps."""
    frames = ds.sizes["frame"]
    task = task_frames(ds.sizes["particle"])
    position = ds["position"].chunk({"frame": task, "particle": -1, "xyz": -1}).data
    starts = range(0, frames, task)
    blocks = position.to_delayed(optimize_graph=False).ravel()
    boxes = [None] * len(starts)
    if "box" in ds:
        chunked = ds["box"].chunk({"frame": task, "box_vector": -1, "xyz": -1}).data
        boxes = chunked.to_delayed(optimize_graph=False).ravel()
    everything = (bodies, tuple(names), chosen, remove_drift, title)
    shared = delayed(everything, traverse=False, pure=False)
    state, parts = None, []
    for start, block, box in zip(starts, blocks, boxes, strict=True):
        centres = delayed(_centres, pure=False)(shared, block, box, start)
        advanced = delayed(_advance, pure=False)(shared, state, centres, start)
        shape = (min(task, frames - start), len(chosen), 3)
        lazy: Any = da  # dask has no types
        parts.append(lazy.from_delayed(advanced[0], shape, np.float64))
        state = advanced[1]
    return da.concatenate(parts)


def _centres(shared: tuple[Any, ...], position: np.ndarray, box: np.ndarray | None, first: int) -> Any:
    """Return centres, the boxes, and their inverses; no box is zero."""
    bodies, title = shared[0], shared[-1]
    edges, inverse = _boxes(title, box, len(position), first)
    centre = bodies.centres(position, edges, inverse)
    if not np.isfinite(centre.sum()):
        frame = int((~np.isfinite(centre).all(axis=(1, 2))).argmax())
        raise PhysicsError(
            f"unwrap of {title}: frame {first + frame} has a position that is not finite; leave out all frames from "
            "there on, the way across a gap is not known"
        )
    return centre, edges, inverse


def _boxes(title: str, box: np.ndarray | None, frames: int, first: int) -> tuple[Float, Float]:
    """Return the boxes and their inverses in float64, or say which one has no volume."""
    if box is None:
        return np.zeros((frames, 3, 3)), np.zeros((frames, 3, 3))
    edges = np.ascontiguousarray(box, np.float64)
    flat = ~(np.isfinite(edges).all(axis=(1, 2)) & (np.abs(np.linalg.det(edges)) > 0))
    if flat.any():
        frame = int(flat.argmax())
        raise PhysicsError(
            f"unwrap of {title}: the box of frame {first + frame} is {edges[frame].tolist()}, expected three vectors "
            "that span a volume; leave that frame out, or drop the variable box if there is none"
        )
    return edges, np.ascontiguousarray(np.linalg.inv(edges))


def _advance(shared: tuple[Any, ...], state: _State | None, centres: Any, first: int) -> tuple[Float, _State]:
    """Add the steps of a group of frames to the way so far; return the way of the chosen bodies, and the state."""
    bodies, names, chosen, remove_drift, title = shared
    centre, edges, inverse = centres
    place = {name: number for number, name in enumerate(names)}
    # Steps of those that nobody asked for are counted behind the others.
    kind = np.array([place.get(name, len(names)) for name in bodies.kind.tolist()], np.int64)
    begin = state is None
    way, far = np.zeros((len(bodies), 3)), np.zeros(len(names) + 1, np.int64)
    # A state is never changed: another task may hold it.
    last = _State(way, way.copy(), np.zeros(3), far, 0) if state is None else state
    last = _State(last.wrapped.copy(), last.way.copy(), last.drift.copy(), last.far.copy(), last.frames + len(centre))
    out = np.empty((len(centre), len(chosen), 3))
    so_far = last.wrapped, last.way, last.drift, last.far
    add_steps(centre, edges, inverse, bodies.share(), kind, _FAR, begin, *so_far, chosen, remove_drift, out)
    steps = 3 * (last.frames - 1) * np.bincount(kind, minlength=len(names) + 1)[: len(names)]
    _refuse_far(title, names, last.far[: len(names)], steps, last.frames)
    return out, last


def _refuse_far(
    title: str, names: Sequence[str], far: NDArray[np.int64], steps: NDArray[np.int64], frames: int
) -> None:
    """Refuse frames that are too far apart: nobody can tell a step of half a box from one the other way."""
    too_many = far > np.maximum(_MOST_FAR * steps, 3)
    if too_many.any():
        kind = int(too_many.argmax())
        raise PhysicsError(
            f'unwrap of {title}: {far[kind] / steps[kind]:.2g} of the steps of "{names[kind]}" in the first {frames} '
            f"frames go {_FAR:g} or more of a height of the box, expected less than {_MOST_FAR:g}; the way between "
            "frames that far apart is not known; ingest with a smaller stride, or write frames more often"
        )
