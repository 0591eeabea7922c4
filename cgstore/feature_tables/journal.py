"""The journal of a table: finished rows that no version holds yet; a build that was stopped goes on from them."""

import io
import json
import os
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from cgstore.plain_files import open_plain

__all__ = ["forget", "note", "noted"]

_FOLDER = ".journal"
_HEADER = "header"
_MOST_BYTES = 2**31
_DEAD = 3600.0  # seconds


def note(folder: Path, ds: xr.Dataset, about: Mapping[str, Any]) -> Path:
    """Write rows to the journal of a table, whole or not at all; return the file."""
    place = folder / _FOLDER
    place.mkdir(parents=True, exist_ok=True)
    dims = {str(name): [str(dim) for dim in array.dims] for name, array in ds.variables.items()}
    header = {"dims": dims, "coords": sorted(map(str, ds.coords)), "about": dict(about)}
    buffer = io.BytesIO()
    arrays = {f"_{name}": np.asarray(array.values) for name, array in ds.variables.items()}
    arrays = {name: array.astype(np.str_) if array.dtype.kind in "OT" else array for name, array in arrays.items()}
    np.savez(buffer, allow_pickle=False, **{_HEADER: np.array(json.dumps(header))}, **arrays)
    file = place / f"{secrets.token_hex(8)}.npz"
    draft = file.with_suffix(".part")
    with draft.open("wb") as stream:
        stream.write(buffer.getbuffer())
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(file)
    return file


def noted(folder: Path) -> dict[Path, tuple[xr.Dataset, dict[str, Any]]]:
    """Return the rows of a journal with what was noted about them, by file, the oldest first.

    A file that cannot be read is left out: its rows are then computed again.
    """
    place = folder / _FOLDER
    files = sorted(place.glob("*.npz"), key=lambda file: file.stat().st_mtime_ns) if place.is_dir() else []
    found = {}
    for file in files:
        try:
            found[file] = _read(file)
        except Exception:  # a damaged archive can raise nearly anything
            continue
    return found


def _read(file: Path) -> tuple[xr.Dataset, dict[str, Any]]:
    """Read one file of a journal."""
    with open_plain(file) as stream:
        content = io.BytesIO(stream.read(_MOST_BYTES))
    with np.load(content, allow_pickle=False) as arrays:
        header = json.loads(str(arrays[_HEADER]))
        variables = {name: (dims, arrays[f"_{name}"]) for name, dims in header["dims"].items()}
    coords = {name: variables.pop(name) for name in header["coords"]}
    return xr.Dataset(variables, coords), dict(header["about"])


def forget(folder: Path, files: list[Path]) -> None:
    """Remove files of a journal whose rows a version holds now, and drafts that nobody has finished for an hour."""
    place = folder / _FOLDER
    for file in files:
        file.unlink(missing_ok=True)
    with suppress(OSError):  # another build may be at work in it
        for draft in place.glob("*.part"):
            if time.time() - draft.stat().st_mtime > _DEAD:
                draft.unlink()
        place.rmdir()
