"""Where samples start: frames in boxes, and what the particles in them are."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.box import heights
from cgstore.errors import InputError, PhysicsError
from cgstore.frames import Frames
from cgstore.schema import check_dataset, topology_of
from cgstore.topology import Topology

__all__ = ["begin", "check_boxes", "starting_frames"]

Float = NDArray[np.float64]


def starting_frames(ds: xr.Dataset, replicas: int) -> xr.Dataset:
    """Return evenly spaced frames in the mean shape of the box: starts of replicas at the mean density.

    Parameters
    ----------
    ds : dataset with positions and boxes
    replicas : how many; at most the frames of the dataset

    Raises
    ------
    InputError : too few frames
    """
    check_dataset(ds, needs=("position", "box"))
    if not 1 <= replicas <= ds.sizes["frame"]:
        raise InputError(f"starting_frames: found replicas = {replicas}, expected 1 to {ds.sizes['frame']} frames")
    chosen = ds.isel(frame=((np.arange(replicas) + 0.5) * ds.sizes["frame"] / replicas).astype(int)).load()
    mean = ds["box"].astype(np.float64).mean("frame").values
    strain = np.linalg.inv(chosen["box"].values.astype(np.float64)) @ mean
    position = chosen["position"].values.astype(np.float64) @ strain
    return chosen.assign(
        position=chosen["position"].copy(data=position.astype(np.float32)),
        box=chosen["box"].copy(data=np.broadcast_to(mean, strain.shape).astype(np.float32)),
    )


def begin(
    start: xr.Dataset | Frames, types: Sequence[str] | NDArray[np.str_] | None, masses: Sequence[float] | Float | None
) -> tuple[Frames, Topology]:
    """Return the starting frames and what the particles are; refuse infinite space.

    Parameters
    ----------
    start : frames, or a dataset, which also says what the particles are
    types, masses : (particle,) and u; those of the dataset by default

    Raises
    ------
    InputError : no box, no frames, types or masses missing, masses that are not positive
    """
    if isinstance(start, Frames):
        frames = start
        names = np.full(frames.position.shape[1], "X")
        nothing = xr.Dataset({"position": (("frame", "particle", "xyz"), frames.position)})
        topology = topology_of(nothing.assign_coords(name=("particle", names), type=("particle", names)))
        if types is None or masses is None:
            raise InputError("sample: frames do not say what the particles are; give types and masses, or a dataset")
    else:
        check_dataset(start, needs=("position", "box"))
        topology = topology_of(start)
        count = start.sizes["frame"]
        frames = Frames(
            np.asarray(start["position"].values, np.float32),
            np.zeros(count),
            np.zeros(count, np.int64),
            box=np.asarray(start["box"].values, np.float32),
        )
    if frames.box is None or len(frames) == 0:
        raise InputError("sample: found no box or no frame; the sampler needs periodic starting frames")
    return frames, _with(topology, types, masses)


def _with(
    topology: Topology, types: Sequence[str] | NDArray[np.str_] | None, masses: Sequence[float] | Float | None
) -> Topology:
    """Return the topology with the types and masses given."""
    arrays = topology.arrays()
    if types is not None:
        arrays["type"] = np.asarray(types, np.str_)
    if masses is not None:
        arrays["mass"] = np.asarray(masses, np.float64)
    for name in ("type", "mass"):
        if len(arrays[name]) != len(topology):
            raise InputError(f"sample: found {len(arrays[name])} of {name}, expected one for each of {len(topology)}")
    if not (arrays["mass"] > 0.0).all():
        raise InputError(f"sample: found a mass of {arrays['mass'].min():g} u, expected positive masses")
    return Topology(**arrays)


def check_boxes(box: NDArray[np.float32] | None, cutoff: float) -> None:
    """Raise PhysicsError if the cutoff is beyond half the smallest height of any box."""
    assert box is not None
    half = 0.5 * heights(box).min(axis=-1)
    worst = int(half.argmin())
    if not cutoff <= half[worst] * (1.0 + 1e-6):
        raise PhysicsError(
            f"sample: the cutoff of {cutoff:g} nm is beyond half the smallest box height, {half[worst]:.4g} nm in "
            f"starting frame {worst}; use tables with a shorter cutoff, or larger boxes"
        )
