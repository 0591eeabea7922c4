"""Amber NetCDF files: positions, velocities, forces, cells and times of trajectories and restarts, read by offsets.

A frame is a record of the file, found from the header alone, so that a file that was cut off still has its complete
frames. NetCDF-4 files are HDF5 files and are read as such.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgstore.errors import InputError
from cgstore.frames import Frames, Reader
from cgstore.readers.amber import AMBER, factor, frames_of, without_fill
from cgstore.readers.netcdf_header import Header, Variable, read_header
from cgstore.readers.spans import LARGEST, convert, spans

__all__ = ["NetcdfReader", "open_netcdf"]

Int = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Table:
    """Variables that lie side by side: a row for each frame."""

    layout: np.dtype[np.void]  # fields by our names
    begin: int  # bytes

    def complete(self, size: int) -> int:
        """Return how many rows a file of this size has."""
        return max(0, size - self.begin) // self.layout.itemsize


@dataclass(frozen=True, slots=True, eq=False)
class NetcdfReader:
    """One Amber NetCDF file; `flaw` says what is wrong after its last complete frame, empty when nothing is."""

    path: Path
    particles: int
    time: NDArray[np.float64]  # (frame,) ps; zero where the file has none
    step: Int  # (frame,) counted from zero: the format has no steps
    flaw: str
    tables: tuple[_Table, ...]
    factors: Mapping[str, float]  # by our names

    def read(self, frames: Int) -> Frames:
        """Read these frames.

        Raises
        ------
        InputError : the file is no longer what it was at opening
        """
        chosen = np.asarray(frames, np.int64)
        arrays: dict[str, NDArray[Any]] = {}
        with self.path.open("rb", buffering=0) as file:
            for table in self.tables:
                names = [name for name in table.layout.names or () if name != "time"]
                for name in names:
                    real = np.float64 if name in ("lengths", "angles") else np.float32
                    arrays[name] = np.empty((len(chosen), *table.layout[name].shape), real)
                offset = table.begin + chosen * table.layout.itemsize
                for rows, data in spans(file, (table.layout,), np.zeros_like(chosen), offset) if names else ():
                    for name in names:
                        convert(data[name], self.factors[name], arrays[name][rows])
        return frames_of(arrays, self.time[chosen], self.step[chosen])


def open_netcdf(path: Path) -> Reader:
    """Read the header of an Amber NetCDF file, version 3 or 4, a trajectory or a restart.

    Parameters
    ----------
    path : the file

    Returns
    -------
    Reader : with the frames that are complete; positions, and what the file has of velocities, forces and cells

    Raises
    ------
    InputError : the file is no NetCDF file, has no coordinates, or states a unit that is not known
    MissingExtra : the file is of version 4 and h5py is not installed
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        magic = file.read(8)
    if magic == b"\x89HDF\r\n\x1a\n":
        from cgstore.readers.hdf5 import open_hdf5

        return open_hdf5(path)
    header = read_header(path)
    used = _used(path, header)
    factors = {AMBER[name].name: factor(AMBER[name], v.attrs, f"{path}: {name}") for name, v in used.items()}
    tables = _tables(path, header, used, size)
    frames, flaw = _frames(header, used["coordinates"], tables, size)
    if not frames:
        raise InputError(f"{path}: not a NetCDF trajectory: {flaw or 'it has no frames'}")
    time = np.zeros(frames)
    for table in tables:
        if "time" in (table.layout.names or ()):
            time = _times(path, table, frames, factors["time"])
    return NetcdfReader(path, used["coordinates"].shape[1], time, np.arange(frames), flaw, tables, factors)


def _used(path: Path, header: Header) -> dict[str, Variable]:
    """Return the variables that are read, each with the frames as its first dimension."""
    found = {name: header.variables[name] for name in AMBER if name in header.variables}
    if "coordinates" not in found:
        raise InputError(f"{path}: not an Amber trajectory: it has no variable `coordinates`")
    if len(found["coordinates"].shape) == 2 and not found["coordinates"].records:
        # A restart is one frame without a dimension for it.
        found = {n: Variable((1, *v.shape), False, v.attrs, v.dtype, v.begin) for n, v in found.items()}
    frames, particles = (*found["coordinates"].shape, 0, 0)[:2]
    for name, variable in found.items():
        expected = (frames, *AMBER[name].of(particles))
        if variable.shape != expected or variable.dtype not in (">f4", ">f8") or not particles:
            raise InputError(
                f"{path}: `{name}` has the shape {variable.shape} and the type {variable.dtype}; expected "
                f"{expected} and f4 or f8"
            )
    return found


def _tables(path: Path, header: Header, used: Mapping[str, Variable], size: int) -> tuple[_Table, ...]:
    """Lay out the variables: those that grow with the records side by side, others each alone."""
    tables = []
    groups = [{n: v for n, v in used.items() if v.records}, *({n: v} for n, v in used.items() if not v.records)]
    for group in filter(None, groups):
        fields = list(group.values())
        begin, stride = fields[0].begin, fields[0].row_size
        if fields[0].records:
            begin, stride = header.record_begin, header.record_size
        offsets = [field.begin - begin for field in fields]
        if stride > min(size, LARGEST):
            raise InputError(f"{path}: not a NetCDF trajectory: a frame of {stride} bytes, of {size} (2 GiB at most)")
        if any(at < 0 or at + field.row_size > stride for at, field in zip(offsets, fields, strict=True)):
            raise InputError(f"{path}: not a NetCDF trajectory: its header puts variables outside of their records")
        formats = [(field.dtype, field.shape[1:]) for field in fields]
        names = [AMBER[name].name for name in group]
        layout = np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": stride})
        tables.append(_Table(layout, begin))
    return tuple(tables)


def _frames(header: Header, positions: Variable, tables: tuple[_Table, ...], size: int) -> tuple[int, str]:
    """Return how many frames are complete, and what is wrong after them."""
    whole = min(table.complete(size) for table in tables)
    claimed = positions.shape[0]
    rest = size - header.record_begin - header.record_size * (whole if header.records is None else claimed)
    if positions.records and header.records is None:
        return whole, f"the file ends in the middle of frame {whole}" if rest > 3 else ""
    if whole < claimed:
        return whole, f"the file ends in the middle of frame {whole}, its header counts {claimed} frames"
    if positions.records and rest > 3:
        return claimed, f"the file goes on for {rest} bytes after the {claimed} frames that its header counts"
    return claimed, ""


def _times(path: Path, table: _Table, frames: int, factor: float) -> NDArray[np.float64]:
    """Read the times and nothing else of a table."""
    alone = np.dtype([("time", table.layout["time"])])
    assert table.layout.fields is not None
    begin = table.begin + int(table.layout.fields["time"][1])
    offset = begin + table.layout.itemsize * np.arange(frames)
    time = np.empty(frames)
    with path.open("rb", buffering=0) as file:
        for rows, data in spans(file, (alone,), np.zeros_like(offset), offset):
            convert(data["time"], factor, time[rows])
    return without_fill(time)
