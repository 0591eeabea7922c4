"""Sources: the frames of one dataset read in consecutive stretches as float32, straight from the chunks of the store.

Between the disk and the tensor stand the chunks and one multiplication; xarray and dask, which describe the dataset,
are not in the way.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.errors import InputError
from cgstore.learn.split import Catalog, Member
from cgstore.schema import SCHEMA
from cgstore.store.opening import open_arrays

__all__ = ["FRAME_ARRAYS", "Source", "open_source", "spread_frames", "temperature_of"]

FRAME_ARRAYS = tuple(
    row.name for row in SCHEMA if row.dims[0] == "frame" and row.dtype.startswith("float") and row.name != "time"
)
_MEMORY_CHUNK = 64  # frames, where a dataset is not in chunks


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """One dataset, opened: `read(variable, first, last)` gives frames as stored, dequantised to float32."""

    name: str
    digest: str
    first: int  # the frames that are meant
    last: int
    chunk: int
    time: NDArray[np.float64]  # (frame,) ps, of all frames
    type: NDArray[np.str_]  # (particle,)
    mass: NDArray[np.float64]  # (particle,) u
    variables: frozenset[str]
    read: Callable[[str, int, int], NDArray[np.float32]]


def open_source(entry: Any, member: Member, *, needs: tuple[str, ...] = ("position",)) -> Source:
    """Open a dataset of a catalog for reading stretches of frames.

    Parameters
    ----------
    entry : a catalog entry with `open()`; read from its chunks when it has a `location`, through xarray otherwise
    member : which dataset and which block of time
    needs : variables that will be read, of `FRAME_ARRAYS`

    Raises
    ------
    InputError : the dataset lacks a variable
    """
    ds = entry.open()
    if missing := [name for name in needs if name not in ds]:
        have = ", ".join(name for name in FRAME_ARRAYS if name in ds)
        raise InputError(f"{member.name}: has no {' and no '.join(missing)}; per frame there are {have}")
    frames = ds.sizes["frame"]
    time = np.asarray(ds["time"].values, np.float64) if "time" in ds.variables else np.arange(float(frames))
    chosen = member.frames(time)
    particles = ds.sizes["particle"]
    chunk, read = _reader(entry, ds)
    return Source(
        name=member.name,
        digest=str(ds.attrs.get("digest", "")),
        first=chosen.start,
        last=chosen.stop,
        chunk=chunk,
        time=time,
        type=np.asarray(ds["type"].values, np.str_) if "type" in ds.variables else np.full(particles, "X"),
        mass=np.asarray(ds["mass"].values, np.float64) if "mass" in ds.variables else np.ones(particles),
        variables=frozenset(name for name in FRAME_ARRAYS if name in ds),
        read=read,
    )


def spread_frames(source: Source, number: int, *, seed: int) -> xr.Dataset:
    """Return frames of a source as a dataset in memory: one drawn from each of `number` equal stretches of time.

    Spread over the run, they have its mean density to much better accuracy than frames drawn anywhere.

    Parameters
    ----------
    source : has a box
    number : at most the frames of the source
    seed : decides which frame of each stretch

    Raises
    ------
    InputError : more frames are wanted than there are, or there is no box
    """
    frames = source.last - source.first
    if not 1 <= number <= frames:
        raise InputError(f"{source.name}: {number} starting frames are wanted, there are {frames} frames")
    if "box" not in source.variables:
        raise InputError(f"{source.name}: has no box; sampling needs periodic frames")
    edges = source.first + np.arange(number + 1) * frames // number
    chosen = np.random.Generator(np.random.Philox(key=[seed, 0])).integers(edges[:-1], edges[1:])
    dims = {row.name: row.dims for row in SCHEMA}
    arrays = {
        name: (dims[name], np.concatenate([source.read(name, int(frame), int(frame) + 1) for frame in chosen]))
        for name in ("position", "box")
    }
    return xr.Dataset(
        {**arrays, "mass": ("particle", source.mass)},
        coords={"type": ("particle", source.type), "time": ("frame", source.time[chosen])},
        attrs={"name": source.name},
    )


def temperature_of(catalog: Catalog, name: str) -> float:
    """Return the temperature of a dataset in K.

    Raises
    ------
    InputError : its recipe does not say
    """
    temperature = catalog[name].metadata.get("temperature")
    if temperature is None:
        raise InputError(f"{name}: has no temperature; state it in the recipe")
    return float(temperature)


def _reader(entry: Any, ds: xr.Dataset) -> tuple[int, Callable[[str, int, int], NDArray[np.float32]]]:
    """Return the frames per chunk and the function that reads a stretch of frames."""
    location, version = getattr(entry, "location", None), ds.attrs.get("version")
    if location is None or version is None:
        return _MEMORY_CHUNK, lambda variable, first, last: np.asarray(ds[variable][first:last].values, np.float32)
    arrays, chunk = open_arrays(f"{location}/v{int(version):06d}")
    return chunk, lambda variable, first, last: np.asarray(arrays[variable][first:last], np.float32)
