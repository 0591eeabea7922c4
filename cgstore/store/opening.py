"""A published version as a lazy dataset: positions in float32 nm, text as text, dask chunks along the frames."""

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import dask.array as da
import xarray as xr
import zarr
from dask.base import tokenize
from zarr.storage import FsspecStore, LocalStore

from cgstore.errors import IntegrityError, MissingExtra, NotFound, StoreError
from cgstore.store.decoding import StoredArray, stored_array
from cgstore.store.layout import (
    FRAME_VARIABLES,
    STATIC_VARIABLES,
    array_of,
    attributes_of,
    block_frames,
    check_format,
    dims_of,
    layout_of,
)

__all__ = ["open_version"]

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
    group = _open(str(location))
    attrs = attributes_of(group)
    check_format(attrs, where=str(location))
    where = f"{attrs.get('name', location)} v{attrs.get('version', 0):06d}"
    coordinates = str(attrs.pop("coordinates", "")).split()
    missing = {"position", "time", "step"} - set(group)
    if missing:
        raise IntegrityError(f"{where}: found no {', '.join(sorted(missing))}; run verify")
    frames, particles = array_of(group, "position").shape[:2]
    block = block_frames(particles, layout_of(group).chunk, frames)
    variables = {
        name: _variable(stored_array(group, name, where=where), block, token=f"{location}-{attrs['digest']}")
        for name in (*FRAME_VARIABLES, *STATIC_VARIABLES)
        if name in group
    }
    own = {name: variables.pop(name) for name in coordinates if name in variables}
    return xr.Dataset(variables, own, attrs)


def _open(location: str) -> zarr.Group:
    """Open the zarr group at a path or URL, for reading only."""
    parts = urlsplit(location)
    local = parts.scheme in ("", "file")
    path = Path(unquote(parts.path) if parts.scheme else location)
    if local and not path.is_dir():
        raise NotFound(f"{location}: no such folder")
    try:
        store = LocalStore(path, read_only=True) if local else FsspecStore.from_url(location, read_only=True)
        return zarr.open_group(store, mode="r")
    except ImportError as error:  # fsspec names what it lacks, for example s3fs
        raise MissingExtra(f"{location}: {error}") from error
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{location}: found no zarr group, expected one version of a dataset, as in …/cg/v000001: {error}"
        ) from error


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
