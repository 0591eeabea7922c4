"""Formats that mdtraj reads in Python: Amber NetCDF, MDTraj HDF5, LAMMPS dumps, GRO, PDB and XYZ of many frames.

Binary formats are read in pieces. Text formats have no index: they are parsed once, at opening, and kept in memory;
convert long ones to XTC. The binary formats that mdtraj reads through C libraries have readers of their own here,
because those libraries print to the standard output and can be killed by damaged bytes.
"""

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

# suffix: lines of one frame that are not particles; None for binary formats and for PDB, where it varies
FORMATS: dict[str, int | None] = {
    ".nc": None,
    ".ncdf": None,
    ".netcdf": None,
    ".h5": None,
    ".hdf5": None,
    ".lammpstrj": 9,
    ".gro": 3,
    ".pdb": None,
    ".xyz": 2,
}
_IN_PIECES = (".nc", ".ncdf", ".netcdf", ".h5", ".hdf5")


@dataclass(frozen=True, slots=True, eq=False)
class MdtrajReader:
    """One file that mdtraj reads; `loaded` holds all frames of a text format."""

    path: Path
    particles: int
    time: NDArray[np.float64]  # (frame,) ps; zero where the format has none
    step: Int  # (frame,)
    flaw: str
    loaded: Frames | None

    def read(self, frames: Int) -> Frames:
        """Read these frames.

        Raises
        ------
        InputError : mdtraj cannot read them; the message has its reason
        """
        chosen = np.asarray(frames, np.int64)
        if self.loaded is not None:
            return self.loaded[chosen]
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
    suffix = path.suffix.lower()
    with _opened(path) as file:
        if suffix in _IN_PIECES:
            frames = len(file)
            first = _frames(file, 0, 1) if frames else None
            time = _times(file, frames)
            loaded = None
        else:
            loaded = _positions_of_pdb(file) if suffix == ".pdb" else _frames(file, 0, None)
            frames = len(loaded)
            first = loaded[:1] if frames else None
            time = loaded.time
    if first is None:
        raise InputError(f"{path}: it has no frames")
    particles = first.position.shape[1]
    return MdtrajReader(path, particles, time, np.arange(frames), _flaw_of_text(path, frames, particles), loaded)


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
                _refuse_scaled(path)
                yield file
        except InputError:
            raise
        # mdtraj and the parsers under it raise whatever a damaged file leads them to, from AssertionError to
        # struct.error, and leave the file open in a frame of the traceback.
        except Exception as error:
            traceback.clear_frames(error.__traceback__)
            raise InputError(f"{path}: mdtraj cannot read it: {type(error).__name__}: {error}") from error


def _refuse_scaled(path: Path) -> None:
    """Refuse LAMMPS dumps in units of the box: mdtraj would take the fractions for Å."""
    if path.suffix.lower() != ".lammpstrj":
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        columns = next((line.split() for line in file if line.startswith("ITEM: ATOMS")), [])
    if "xs" in columns or "xsu" in columns:
        raise InputError(f"{path}: coordinates are scaled (xs, xsu); write the dump with x y z or xu yu zu")


def _frames(file: Any, start: int, count: int | None) -> Frames:
    """Read consecutive frames and give them our names and units."""
    if count is not None:
        file.seek(start)
    data = file.read(count)
    scale = 0.1 if file.distance_unit == "angstroms" else 1.0
    data = data._asdict() if hasattr(data, "_fields") else _named(type(file).__name__, data)
    position = (np.asarray(data["coordinates"], np.float64) * scale).astype(np.float32)
    frames = len(position)
    box = data.get("box")
    if data.get("cell_lengths") is not None and data.get("cell_angles") is not None:
        box = box_vectors(np.asarray(data["cell_lengths"], np.float64) * scale, data["cell_angles"])
    time = data.get("time")
    velocity = data.get("velocities")
    return Frames(
        position=position,
        time=np.zeros(frames) if time is None else np.asarray(time, np.float64),
        step=np.arange(start, start + frames),
        box=None if box is None else np.asarray(box, np.float32),
        velocity=None if velocity is None else np.asarray(velocity, np.float32),
    )


def _named(kind: str, data: Any) -> dict[str, Any]:
    """Name what mdtraj's readers return as plain tuples."""
    names = {
        "NetCDFTrajectoryFile": ("coordinates", "time", "cell_lengths", "cell_angles"),
        "LAMMPSTrajectoryFile": ("coordinates", "cell_lengths", "cell_angles"),
        "GroTrajectoryFile": ("coordinates", "time", "box"),
        "XYZTrajectoryFile": ("coordinates",),
    }[kind]
    return dict(zip(names, data if len(names) > 1 else (data,), strict=True))


def _positions_of_pdb(file: Any) -> Frames:
    """Return the models of a PDB file; its one cell, where it has one, is that of every model."""
    position = (np.asarray(file.positions, np.float64) * 0.1).astype(np.float32)
    frames = len(position)
    lengths, angles = file.unitcell_lengths, file.unitcell_angles
    # "1 1 1 90 90 90" stands for no cell in PDB files.
    box = None
    if lengths is not None and not np.allclose(lengths, 1.0):
        box = np.repeat(box_vectors([np.asarray(lengths) * 0.1], [angles]), frames, axis=0)
    return Frames(position, np.zeros(frames), np.arange(frames), box)


def _times(file: Any, frames: int) -> NDArray[np.float64]:
    """Return the times of a binary file without reading its positions."""
    handle = getattr(file, "_handle", None)
    if "HDF5" in type(file).__name__:
        node = getattr(file.root, "time", None)
        return np.zeros(frames) if node is None else np.asarray(node[:], np.float64)
    if handle is None or "time" not in handle.variables:
        return np.zeros(frames)
    return np.array(handle.variables["time"][:], np.float64)


def _flaw_of_text(path: Path, frames: int, particles: int) -> str:
    """Say whether a text file goes on after its last complete frame: mdtraj drops a part of a frame silently."""
    others = FORMATS[path.suffix.lower()]
    if others is None:
        return ""
    with path.open("rb") as file:
        # Blank lines at the end do not count; a blank title does.
        lines = max((number for number, line in enumerate(file, 1) if line.strip()), default=0)
    return f"the file ends in the middle of frame {frames}" if lines > frames * (particles + others) else ""
