"""Addresses: a dataset of a store as one word, `STORE::system/run/level@version`, for programs that take file names."""

import os
import re
from pathlib import Path

import xarray as xr

from cgstore.catalog import Entry, open_catalog
from cgstore.errors import InputError
from cgstore.intake_files import is_remote

__all__ = ["dataset_of", "is_address"]

_ADDRESS = re.compile(r"(?P<store>.+)::(?P<name>[^/:@]+/[^/:@]+/[^/:@]+)(?:@(?P<version>\d+))?")


def is_address(thing: object) -> bool:
    """Tell whether something is the address of a dataset.

    >>> is_address("store::dmpc_303k/r1/cg"), is_address("s3://lab/store::dmpc_303k/r1/cg@2"), is_address("traj.xtc")
    (True, True, False)
    """
    return isinstance(thing, str) and _ADDRESS.fullmatch(thing) is not None


def dataset_of(source: xr.Dataset | Entry | str) -> xr.Dataset:
    """Return a dataset, that of an entry, or that at an address; the store of an address may be a folder or a URL.

    Raises
    ------
    InputError : not an address, or no store there
    NotFound : the store has no such dataset or version
    """
    if isinstance(source, Entry):
        return source.open()
    if not isinstance(source, str):
        return source
    found = _ADDRESS.fullmatch(source)
    if found is None:
        raise InputError(f'found "{source}", expected STORE::NAME, for example "store::dmpc_303k/r1/cg" or …/cg@2')
    store, version = found["store"], found["version"]
    # Absolute, so that what is pickled opens in another folder too.
    location = store if is_remote(store) else os.fspath(Path(store).absolute())
    return open_catalog(location)[found["name"]].open(None if version is None else int(version))
