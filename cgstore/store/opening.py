"""A published version as a lazy dataset: positions in float32 nm, text as text, dask chunks along the frames."""

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import dask.array as da
import numpy as np
import xarray as xr
import zarr
from dask.base import tokenize
from numpy.typing import NDArray
from zarr.storage import FsspecStore

from cgstore.errors import IntegrityError, MissingExtra, NotFound, StoreError
from cgstore.store.claims import array_of, check_claims, names_in, open_zarr
from cgstore.store.decoding import StoredArray, stored_array
from cgstore.store.layout import (
    DIGEST,
    FRAME_VARIABLES,
    STATIC_VARIABLES,
    attributes_of,
    block_frames,
    check_format,
    dims_of,
    layout_of,
    open_group,
)
from cgstore.store.trees import tree_of

__all__ = ["arrays_of", "group_at", "open_arrays", "open_version", "read_marks"]

_EAGER = ("time", "step")  # a few bytes per frame, and what frames are chosen by


def open_version(location: str | Path) -> xr.Dataset:
    """Open one version of a dataset.

    Parameters
    ----------
    location : folder of the version, or its URL (`file://`, `s3://` and whatever else fsspec knows)

    Returns
    -------
    dataset of the schema; the topology, times and steps are in memory, all else is read when it is computed

    Raises
    ------
    NotFound : nothing is there
    StoreError : it is not a version, or a newer cgstore wrote it
    IntegrityError : a chunk is lost or damaged; for lazy variables when they are computed
    """
    group = group_at(location)
    attrs = attributes_of(group)
    check_format(attrs, where=str(location))
    where = _title(attrs, location)
    coordinates = str(attrs.pop("coordinates", "")).split()
    arrays = arrays_of(group, where=where)
    sizes = _sizes_of(arrays, where)
    block = block_frames(sizes["particle"], layout_of(group).chunk, sizes["frame"])
    _check_claims(arrays, -(-sizes["frame"] // block), str(location), where)
    token = f"{location}-{attrs.get('digest')}"
    variables = {name: _variable(stored_array(group, name, where=where), block, token=token) for name in arrays}
    own = {name: variables.pop(name) for name in coordinates if name in variables}
    return xr.Dataset(variables, own, attrs)


def open_arrays(location: str | Path) -> tuple[dict[str, StoredArray], int]:
    """Open the per-frame arrays of a version to be read in stretches, without xarray and dask in between.

    Parameters
    ----------
    location : folder of the version, or its URL

    Returns
    -------
    the arrays by name, the frame digests among them, and the frames in a chunk of positions

    Raises
    ------
    NotFound : nothing is there
    StoreError : it is not a version, or a newer cgstore wrote it
    """
    group = group_at(location)
    attrs = attributes_of(group)
    check_format(attrs, where=str(location))
    where, present = _title(attrs, location), names_in(group, (*FRAME_VARIABLES, DIGEST))
    arrays = {name: stored_array(group, name, where=where) for name in present}
    return arrays, layout_of(group).chunk


def read_marks(
    location: str | Path, *, digests: bool = True
) -> tuple[NDArray[np.float64], NDArray[np.uint64], dict[str, Any]]:
    """Read what tells the frames of a version apart, and open nothing else.

    Parameters
    ----------
    location : folder of the version, or its URL
    digests : read those of the frames too

    Returns
    -------
    time (frame,) in ps; digest of each frame (frame,), empty where none are kept or wanted; attributes of the version

    Raises
    ------
    NotFound : nothing is there
    StoreError : it is not a version, or a newer cgstore wrote it
    IntegrityError : times are missing or damaged, or there is not one digest for each frame
    """
    group = group_at(location)
    attrs = attributes_of(group)
    check_format(attrs, where=str(location))
    where, wanted = _title(attrs, location), ("time", DIGEST) if digests else ("time",)
    arrays = {name: array_of(group, name) for name in names_in(group, wanted)}
    if "time" not in arrays or len({array.shape for array in arrays.values()} | {arrays["time"].shape[:1]}) > 1:
        found = ", ".join(f"{name} {array.shape}" for name, array in arrays.items()) or "nothing"
        raise IntegrityError(f"{where}: found {found}, expected the time of each frame and its digest; run verify")
    _check_claims(arrays, 0, str(location), where)
    time, *others = (stored_array(group, name, where=where)[...] for name in arrays)
    return time.astype(np.float64), np.asarray(others[0] if others else (), np.uint64), attrs


def _title(attrs: dict[str, Any], location: str | Path) -> str:
    """Return what opens error messages: dataset and version."""
    return f"{attrs.get('name', location)} v{str(attrs.get('version', 0)).zfill(6)}"


def arrays_of(group: zarr.Group, *, where: str) -> dict[str, zarr.Array[Any]]:
    """Return the arrays of a version by name, if they are those that one can have and agree on their sizes.

    Raises
    ------
    IntegrityError : the message begins with `where`
    """
    arrays = {name: array_of(group, name) for name in names_in(group, (*FRAME_VARIABLES, *STATIC_VARIABLES))}
    missing = {"position", "time", "step"} - set(arrays)
    if missing:
        raise IntegrityError(f"{where}: found no {', '.join(sorted(missing))}; run verify")
    _sizes_of(arrays, where)
    return arrays


def _sizes_of(arrays: dict[str, zarr.Array[Any]], where: str) -> dict[str, int]:
    """Return the size of each dim, if all arrays have the dims of the schema and agree on their sizes."""
    sizes: dict[str, int] = {}
    for name, array in arrays.items():
        dims = {**FRAME_VARIABLES, **STATIC_VARIABLES}[name].dims
        if dims_of(array) != dims or any(
            sizes.setdefault(*item) != item[1] for item in zip(dims, array.shape, strict=True)
        ):
            raise IntegrityError(
                f"{where}: {name}: found dims {dims_of(array)} of sizes {array.shape}, expected {dims} and the sizes "
                "of the other arrays; run verify"
            )
    if not (sizes["frame"] and sizes["particle"] and sizes["xyz"] == sizes.get("box_vector", 3) == 3):
        raise IntegrityError(f"{where}: found {sizes}, expected frames, particles and three dimensions; run verify")
    return sizes


def _check_claims(arrays: dict[str, zarr.Array[Any]], blocks: int, location: str, where: str) -> None:
    """Refuse what no files are behind: arrays that would be read whole, and tasks without end."""
    eager = [array for name, array in arrays.items() if name in (*_EAGER, DIGEST) or name in STATIC_VARIABLES]
    try:
        check_claims(eager, blocks, 0, where=where)
    except IntegrityError:  # more than anybody needs as a rule: now it matters how large the files are
        check_claims(eager, blocks, sum(tree_of(location).sizes().values()), where=where)


def group_at(place: str | Path) -> zarr.Group:
    """Open the zarr group of a version at a path or URL, for reading only.

    Raises
    ------
    NotFound : there is no such folder
    StoreError : what is there is no version
    """
    location = str(place)
    parts = urlsplit(location)
    local = parts.scheme in ("", "file")
    path = Path(unquote(parts.path) if parts.scheme else location)
    if local and not path.is_dir():
        raise NotFound(f"{location}: no such folder")
    if local:
        return open_group(path)
    try:
        return open_zarr(FsspecStore.from_url(location, read_only=True), where=location)
    except ImportError as error:  # fsspec names what it lacks, for example s3fs
        raise MissingExtra(f"{location}: {error}") from error
    except ValueError as error:
        raise StoreError(f"{location}: no URL of a store: {error}") from error


def _variable(stored: StoredArray, block: int, *, token: str) -> xr.Variable:
    """Make a variable: in memory what is static or chooses frames, in dask chunks what is large."""
    array = stored.array
    name = array.basename
    hidden = ("scale_factor", "_FillValue", "flag_values", "flag_meanings")
    attrs = {key: value for key, value in attributes_of(array).items() if key not in hidden}
    dims = dims_of(array)
    if dims[0] != "frame" or name in _EAGER:
        return xr.Variable(dims, stored[...], attrs)
    from_array: Any = da.from_array
    lazy = from_array(
        stored,
        chunks=(block, *array.shape[1:]),
        name=f"{name}-{tokenize(token, name)}",
        lock=False,
        asarray=True,
    )
    return xr.Variable(dims, lazy, attrs)
