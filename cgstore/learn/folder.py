"""The fit folder: what a fit was made of, what it has become, and whether it is finished.

    fit.toml, split.toml, spec.toml   copies of the files of the user
    split.lock                        what the split meant when the fit began: that of the user, or made then
    trainset.lock                     what the fit learns from (`cgstore.learn.trainset`), written before the first step
    lock.json                         the name, and digests of the files above and of the results
    UNFINISHED                        there until everything else is
    log.csv                           one row per step
    weights.npz                       parameters of the network; of one of atoms also its descriptors and priors
    potential.nc                      the tables of each model (`cgstore.learn.potential_file`)
    training.nc                       the loss on (iteration)
    validation-PART.{json,csv,nc}     after `cgstore validate --on PART`; -observables.csv is of pressure, diffusion …
    validation.html                   the page of all parts that were asked about

Every file is written beside its place and moved there, so none is ever half written. The netCDF files are what
`cgstore.plot` draws; nothing here needs torch.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr

from cgstore.documents import load_document
from cgstore.errors import InputError, IntegrityError
from cgstore.learn.settings import FitFile
from cgstore.plain_files import open_plain, read_plain
from cgstore.provenance import digest_of_file
from cgstore.whole_files import write_bytes, write_whole

__all__ = [
    "PAIR_PART",
    "UNFINISHED",
    "read_curves",
    "read_lock",
    "read_settings",
    "stage_of",
    "write_arrays",
    "write_dataset",
    "write_rows",
]

UNFINISHED = "UNFINISHED"
PAIR_PART = "pair part"  # of a network of atoms, to look at: two particles alone
_MOST_BYTES = 2**26  # of a lock


def _finished(folder: Path) -> bool:
    """Tell whether a folder holds a fit that came to its end."""
    return (folder / "lock.json").is_file() and not (folder / UNFINISHED).exists()


def stage_of(folder: Path) -> Literal["new", "begun", "finished"]:
    """Tell how far the fit of a folder is; a folder that is not there, or empty, is a new one.

    Raises
    ------
    InputError : it is a file, or holds something that is no fit
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: found a file, expected a folder or nothing")
    if not folder.is_dir() or not any(folder.iterdir()):
        return "new"
    if _finished(folder):
        return "finished"
    if not (folder / UNFINISHED).is_file():
        raise InputError(f"{folder}: holds another fit or other files; choose a new folder or remove this one")
    return "begun"


def read_lock(folder: Path) -> dict[str, Any]:
    """Return the lock of a finished fit, after a look at the files that it names.

    Raises
    ------
    InputError : the folder is no fit, or the fit is not finished
    IntegrityError : a file of the fit was lost or changed
    """
    if not (folder / "lock.json").is_file():
        raise InputError(f"{folder}: no fit; make one with cgstore train FIT.toml -o {folder}")
    if not _finished(folder):
        raise InputError(f"{folder}: the fit is not finished; repeat the cgstore train that began it, it goes on")
    lock = _parse_lock(folder / "lock.json")
    for name, known in lock["files"].items():
        if not (folder / name).is_file():
            raise IntegrityError(f"{folder / name}: the file is gone; train again")
        if digest_of_file(folder / name) != known:
            raise IntegrityError(f"{folder / name}: changed since the fit was finished; train again")
    return lock


def _parse_lock(path: Path) -> dict[str, Any]:
    """Read a lock, which may be somebody else's: it names files of its own folder."""
    try:
        lock = json.loads(read_plain(path, most=_MOST_BYTES))
        sound = isinstance(lock["name"], str) and all(isinstance(known, str) for known in lock["files"].values())
        sound = sound and all(name == Path(name).name and "\0" not in name for name in lock["files"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise IntegrityError(f"{path}: not the lock of a fit: {error}") from error
    if not sound:
        raise IntegrityError(f"{path}: not the lock of a fit: expected its name and files of its folder")
    return dict(lock)


def read_settings(folder: str | Path) -> FitFile:
    """Return what the fit file of a finished fit says.

    Raises
    ------
    InputError : the folder is no finished fit
    IntegrityError : a file of the fit was lost or changed
    """
    read_lock(Path(folder))
    return load_document(Path(folder) / "fit.toml", FitFile)


def read_curves(path: Path) -> xr.Dataset:
    """Read a netCDF file of a fit whole.

    Raises
    ------
    IntegrityError : it is missing or damaged
    """
    try:
        with open_plain(path) as file, xr.open_dataset(io.BytesIO(file.read()), engine="scipy") as ds:
            return ds.load()
    except Exception as error:  # scipy has a great many ways to say that a file is damaged
        raise IntegrityError(f"{path}: cannot be read: {error}; train again") from error


def write_dataset(path: Path, ds: xr.Dataset) -> None:
    """Write a dataset as netCDF 3, which every netCDF reader opens."""
    write_whole(path, lambda part: ds.to_netcdf(part, engine="scipy"))


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as .npz; nothing in it is pickled."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    write_bytes(path, buffer.getvalue())


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows with the same keys as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(path, text.getvalue().encode())
