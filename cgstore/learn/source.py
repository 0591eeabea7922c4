"""Sources: the frames of one dataset read in consecutive stretches, straight from the chunks of the store.

Between the disk and the tensor stand the chunks and one multiplication, which a loader leaves to its device; xarray and
dask, which describe the dataset, are not in the way.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.box import volume
from cgstore.errors import InputError
from cgstore.schema import SCHEMA, topology_of
from cgstore.splits.split import Catalog, Member
from cgstore.store.decoding import StoredArray
from cgstore.store.opening import open_arrays
from cgstore.topology import Topology

__all__ = [
    "FRAME_ARRAYS",
    "Numbers",
    "Source",
    "inputs_of",
    "open_source",
    "pressure_of",
    "spread_frames",
    "temperature_of",
]

FRAME_ARRAYS = tuple(
    row.name for row in SCHEMA if row.dims[0] == "frame" and row.dtype.startswith("float") and row.name != "time"
)
_MEMORY_CHUNK = 2**20  # bytes of positions that are read together where a dataset is not in chunks


@dataclass(frozen=True, slots=True, eq=False)
class Numbers:
    """One variable of a source as it is stored: `read(first, last, values)` writes frames into an array of `dtype`."""

    dtype: np.dtype[Any]
    step: np.float32 | None  # multiply integers with it, in float32
    shape: tuple[int, ...]  # of a frame
    read: Callable[[int, int, NDArray[Any]], None]

    @property
    def bytes(self) -> int:
        """Return the size of a frame."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """One dataset, opened: `read` gives frames as float32, `numbers` as they are stored."""

    name: str
    digest: str
    first: int  # the frames that are meant
    last: int
    chunk: int
    time: NDArray[np.float64]  # (frame,) ps, of all frames
    topology: Topology
    numbers: Mapping[str, Numbers]  # of each variable per frame that there is

    @property
    def type(self) -> NDArray[np.str_]:
        """Return the type of each particle (particle,)."""
        return self.topology.type

    @property
    def variables(self) -> frozenset[str]:
        """Return the variables per frame that there are."""
        return frozenset(self.numbers)

    def read(self, variable: str, first: int, last: int) -> NDArray[np.float32]:
        """Return frames `first` to `last` of a variable as float32, with the bits that the dataset shows."""
        numbers = self.numbers[variable]
        values = np.empty((last - first, *numbers.shape), numbers.dtype)
        numbers.read(first, last, values)
        if numbers.step is None:
            return values.astype(np.float32, copy=False)
        return np.multiply(values, numbers.step, dtype=np.float32, casting="same_kind")


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
    chunk, numbers = _numbers(entry, ds)
    return Source(
        name=member.name,
        digest=str(ds.attrs.get("digest", "")),
        first=chosen.start,
        last=chosen.stop,
        chunk=chunk,
        time=time,
        topology=topology_of(ds),
        numbers=numbers,
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
    arrays: dict[str, NDArray[Any]] = {
        name: np.concatenate([source.read(name, int(frame), int(frame) + 1) for frame in chosen])
        for name in ("position", "box")
    }
    arrays |= {name: array for name, array in source.topology.arrays().items() if len(array)}
    arrays["time"] = source.time[chosen]
    rows = {row.name: row for row in SCHEMA}
    coordinates = [name for name in arrays if rows[name].coordinate]
    ds = xr.Dataset({name: (rows[name].dims, array) for name, array in arrays.items()}, attrs={"name": source.name})
    return ds.set_coords(coordinates)


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


def pressure_of(catalog: Catalog, name: str) -> float:
    """Return the pressure of the barostat of a dataset in bar.

    Raises
    ------
    InputError : its recipe does not say
    """
    pressure = catalog[name].metadata.get("pressure")
    if pressure is None:
        raise InputError(
            f'{name}: has no pressure, and training.pressure = "barostat" asks for it; state it in the recipe, '
            'or in the fit file for all datasets, such as "1 bar"'
        )
    return float(pressure)


def inputs_of(start: xr.Dataset, temperature: float) -> dict[str, float]:
    """Return what a network may be told of a system: `temperature` in K, and `density`, of particles in a nm³.

    Parameters
    ----------
    start : the frames that replicas start from; the density is that of all particles in their mean volume
    temperature : K

    Examples
    --------
    >>> box = ("frame", "box_vector", "xyz"), np.eye(3)[None] * [[[2.0]], [[3.0]]]
    >>> inputs_of(xr.Dataset({"box": box, "mass": ("particle", np.ones(35))}), 300.0)
    {'temperature': 300.0, 'density': 2.0}
    """
    density = start.sizes["particle"] / float(volume(start["box"].values).mean())
    return {"temperature": temperature, "density": density}


def _numbers(entry: Any, ds: xr.Dataset) -> tuple[int, dict[str, Numbers]]:
    """Return the frames per chunk, and each variable per frame as it is stored."""
    names = [name for name in FRAME_ARRAYS if name in ds]
    location, version = getattr(entry, "location", None), ds.attrs.get("version")
    if location is None or version is None:
        frame = 4 * max(1, ds.sizes["particle"]) * 3  # bytes
        return max(1, _MEMORY_CHUNK // frame), {name: _in_memory(ds[name]) for name in names}
    arrays, chunk = open_arrays(f"{location}/v{int(version):06d}")
    return chunk, {name: _stored(arrays[name]) for name in names}


def _stored(array: StoredArray) -> Numbers:
    """Return a variable that lies in a store."""
    return Numbers(array.stored_dtype, array.step, array.shape[1:], array.read_stored)


def _in_memory(array: xr.DataArray) -> Numbers:
    """Return a variable of a dataset made by hand."""

    def read(first: int, last: int, values: NDArray[Any]) -> None:
        values[...] = array[first:last].values

    return Numbers(np.dtype(np.float32), None, tuple(array.shape[1:]), read)
