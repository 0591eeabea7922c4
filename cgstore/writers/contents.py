"""What a file is about, known before its first frame, and the frames block by block: all that a writer gets."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.errors import InputError
from cgstore.frames import Frames
from cgstore.neighbours.elements import elements_of
from cgstore.schema import check_dataset, topology_of
from cgstore.topology import Topology

__all__ = ["Contents", "blocks_of", "contents_of"]

_BLOCK = 2**24  # bytes of positions that are in memory at a time, unless one chunk of the dataset is larger
_PER_FRAME = ("position", "box", "velocity", "force")


@dataclass(frozen=True, slots=True, eq=False)
class Contents:
    """The static part of what is exported; the frames of `blocks_of` fit to it."""

    title: str
    topology: Topology
    element: NDArray[np.str_]  # (particle,) empty where none is known
    time: NDArray[np.float64]  # (frame,) ps
    step: NDArray[np.int64]  # (frame,)
    weight: NDArray[np.float64] | None  # (frame,)
    variables: frozenset[str]  # which of position, box, velocity, force there are
    precision: float | None  # nm, the grid of the positions; None: none is known


def contents_of(ds: xr.Dataset) -> Contents:
    """Gather what is known before the first frame; times, steps and weights are read, positions are not.

    Without times or steps the frames are numbered from 0.

    Raises
    ------
    InputError : the dataset does not fit the schema, has no frames or no particles, or terms of other particles
    """
    check_dataset(ds)
    frames, particles = ds.sizes["frame"], ds.sizes["particle"]
    title = str(ds.attrs.get("name", "dataset"))
    if not frames or not particles:
        raise InputError(f"{title}: found {frames} frames of {particles} particles, expected at least one of each")
    topology = topology_of(ds)
    precision = ds.attrs.get("precision")
    return Contents(
        title=title,
        topology=topology,
        element=elements_of(topology.name, topology.mass, ds.attrs.get("level")),
        time=np.asarray(ds["time"].values if "time" in ds else np.arange(frames), np.float64),
        step=np.asarray(ds["step"].values if "step" in ds else np.arange(frames), np.int64),
        weight=np.asarray(ds["weight"].values, np.float64) if "weight" in ds else None,
        variables=frozenset(name for name in _PER_FRAME if name in ds),
        precision=float(precision) if isinstance(precision, int | float) and precision > 0 else None,
    )


def blocks_of(ds: xr.Dataset, contents: Contents) -> Iterator[Frames]:
    """Compute the frames of a dataset block by block, in order; each block is checked.

    Raises
    ------
    InputError : a frame has values that are not finite
    IntegrityError : the store is damaged
    """
    bounds = _bounds(ds["position"])
    for start, stop in pairwise(bounds):
        part = ds[sorted(contents.variables)].isel(frame=slice(start, stop)).compute()
        arrays = {name: np.ascontiguousarray(part[name].values, np.float32) for name in contents.variables}
        for name, array in arrays.items():
            _check_finite(name, array, contents, start)
        yield Frames(time=contents.time[start:stop], step=contents.step[start:stop], **arrays)


def _bounds(position: xr.DataArray) -> list[int]:
    """Cut the frames into blocks of whole chunks, so that no chunk is decoded twice."""
    frames = position.sizes["frame"]
    most = max(1, _BLOCK // (12 * position.sizes["particle"]))
    if position.chunks is None:
        return [*range(0, frames, most), frames]
    bounds = [0]
    ends = np.cumsum(position.chunks[position.dims.index("frame")]).tolist()
    for end, following in zip(ends, [*ends[1:], frames + most + 1], strict=True):
        if following - bounds[-1] > most and end > bounds[-1]:
            bounds.append(end)
    return bounds


def _check_finite(name: str, array: NDArray[np.float32], contents: Contents, start: int) -> None:
    """Refuse NaN and infinity; the extremes of an array tell quickly that all of it is finite."""
    if np.isfinite([array.min(), array.max()]).all():
        return
    frame, *place = np.argwhere(~np.isfinite(array))[0].tolist()
    where = f"vector {place[0]}" if name == "box" else f"particle {place[0]}"
    raise InputError(
        f"{contents.title}: frame {start + frame} (at {contents.time[start + frame]:g} ps) has a {name} that is not "
        f"finite, of {where}; leave such frames out with ds.isel(frame=…)"
    )
