"""Formats that mdtraj reads in pieces: Amber NetCDF and MDTraj HDF5."""

import contextlib
import importlib.util
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgstore.errors import InputError, MissingExtra
from cgstore.frames import Frames
from cgstore.readers.boxes import box_vectors

__all__ = ["FORMATS", "MdtrajReader", "open_with_mdtraj"]

Int = NDArray[np.int64]

FORMATS = (".nc", ".ncdf", ".netcdf", ".h5", ".hdf5")


@dataclass(frozen=True, slots=True, eq=False)
class MdtrajReader:
    """One file that mdtraj reads."""

    path: Path
    particles: int
    time: NDArray[np.float64]  # (frame,) ps; zero where the file has none
    step: Int  # (frame,)
    flaw: str

    def read(self, frames: Int) -> Frames:
        """Read these frames.

        Raises
        ------
        InputError : mdtraj cannot read them; the message has its reason
        """
        chosen = np.asarray(frames, np.int64)
        starts = np.flatnonzero(np.diff(chosen, prepend=chosen[:1] - 2) != 1)
        spans = zip(starts, np.append(starts[1:], len(chosen)), strict=True)
        with _opened(self.path) as file:
            parts = [_frames(file, int(chosen[first]), int(last - first)) for first, last in spans]
        joined = Frames.concatenate(parts)
        if len(joined) != len(chosen):
            raise InputError(
                f"{self.path}: {len(joined)} frames where {len(chosen)} were expected; is it still written?"
            )
        return joined


def open_with_mdtraj(path: Path) -> MdtrajReader:
    """Open a trajectory through mdtraj.

    Parameters
    ----------
    path : a file with one of the suffixes in `FORMATS`

    Raises
    ------
    InputError : mdtraj cannot read the file; the message has its reason
    MissingExtra : mdtraj, or the package that it needs for this format, is not installed
    """
    with _opened(path) as file:
        frames = len(file)
        first = _frames(file, 0, 1) if frames else None
        time = _times(file, frames)
    if first is None:
        raise InputError(f"{path}: it has no frames")
    return MdtrajReader(path, first.position.shape[1], time, np.arange(frames), "")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a file with mdtraj, its warnings silenced and its errors made ours."""
    try:
        import mdtraj
    except ImportError as error:
        raise MissingExtra.of("mdtraj", extra="ingest", purpose=f"reading {path.name}") from error
    # mdtraj would print a page of advice.
    if path.suffix.lower() in (".h5", ".hdf5") and importlib.util.find_spec("tables") is None:
        raise MissingExtra(f"reading {path} needs PyTables, which is not installed; pip install tables")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with mdtraj.open(str(path)) as file:
                yield file
        except InputError:
            raise
        # mdtraj and the parsers under it raise whatever a damaged file leads them to, from AssertionError to
        # struct.error, and leave the file open in a frame of the traceback.
        except Exception as error:
            traceback.clear_frames(error.__traceback__)
            raise InputError(f"{path}: mdtraj cannot read it: {type(error).__name__}: {error}") from error


def _frames(file: Any, start: int, count: int) -> Frames:
    """Read consecutive frames and give them our names and units."""
    file.seek(start)
    data = file.read(count)
    scale = 0.1 if file.distance_unit == "angstroms" else 1.0
    names = ("coordinates", "time", "cell_lengths", "cell_angles")
    data = data._asdict() if hasattr(data, "_fields") else dict(zip(names, data, strict=True))
    position = (np.asarray(data["coordinates"], np.float64) * scale).astype(np.float32)
    frames = len(position)
    box = None
    if data.get("cell_lengths") is not None and data.get("cell_angles") is not None:
        box = box_vectors(np.asarray(data["cell_lengths"], np.float64) * scale, data["cell_angles"])
    time = data.get("time")
    velocity = data.get("velocities")
    return Frames(
        position=position,
        time=np.zeros(frames) if time is None else np.asarray(time, np.float64),
        step=np.arange(start, start + frames),
        box=box,
        velocity=None if velocity is None else np.asarray(velocity, np.float32),
    )


def _times(file: Any, frames: int) -> NDArray[np.float64]:
    """Return the times of a file without reading its positions."""
    handle = getattr(file, "_handle", None)
    if "HDF5" in type(file).__name__:
        node = getattr(file.root, "time", None)
        return np.zeros(frames) if node is None else np.asarray(node[:], np.float64)
    if handle is None or "time" not in handle.variables:
        return np.zeros(frames)
    return np.array(handle.variables["time"][:], np.float64)
