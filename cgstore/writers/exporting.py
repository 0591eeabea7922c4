"""Export: some frames of a dataset to one file, by its suffix; block by block, and whole or not at all."""

import contextlib
import os
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from cgstore.catalog import Entry
from cgstore.documents import did_you_mean
from cgstore.errors import InputError
from cgstore.frames import Frames
from cgstore.neighbours.addresses import dataset_of
from cgstore.units import parse_quantity
from cgstore.writers.contents import blocks_of, contents_of
from cgstore.writers.formats import FORMATS

__all__ = ["Exported", "export"]

Progress = Callable[[str, int, int], None]

_RESOLUTION = 2.0**-23  # times are float32 in most files: what differs by less is the same instant


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written, and in `notes` what the format could not hold."""

    path: Path
    frames: int
    particles: int
    bytes: int
    seconds: float
    notes: tuple[str, ...]


def export(
    source: xr.Dataset | Entry | str,
    path: str | os.PathLike[str],
    *,
    start: str | float | None = None,
    until: str | float | None = None,
    stride: int = 1,
    force: bool = False,
    progress: Progress | None = None,
) -> Exported:
    """Write frames of a dataset to a file that other programs read.

    Memory is bounded by a block of frames. The file is written beside its place under a hidden name and renamed
    when it is complete.

    Parameters
    ----------
    source : a dataset, an entry of a catalog, or an address such as `"store::dmpc_303k/r1/cg"`
    path : the file; its suffix is the format: xtc, trr, dcd, h5md, gro, pdb or lammpstrj. Its folder is made
    start, until : only frames from and up to these times, both included: "10 ns", or a number in ps
    stride : then every stride-th frame
    force : replace a file that is there
    progress : called with a label, the frames written and all of them

    Raises
    ------
    InputError : unknown suffix, the file exists, no frame is chosen, values that are not finite or that the format
        cannot hold
    IntegrityError : the store is damaged
    MissingExtra : the format needs a package that is not installed

    Examples
    --------
    >>> import tempfile
    >>> ds = xr.Dataset({"position": (("frame", "particle", "xyz"), np.zeros((5, 20, 3), np.float32))})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     export(ds, folder + "/traj.xtc", stride=2).frames
    3
    """
    target = Path(path)
    form = FORMATS.get(target.suffix.lower())
    if form is None:
        hint = did_you_mean(target.suffix, FORMATS)
        hint = hint if "did you mean" in hint else ""  # what is known was said
        raise InputError(f'{target}: found the suffix "{target.suffix}", expected {", ".join(FORMATS)}{hint}')
    begun = time.perf_counter()
    ds = _choose(dataset_of(source), start, until, stride)
    contents = contents_of(ds)
    with _appearing(target, force=force) as stage:
        form.write(stage, contents, _watched(blocks_of(ds, contents), len(contents.time), target, progress))
        size = stage.stat().st_size
    seconds = time.perf_counter() - begun
    return Exported(target, len(contents.time), len(contents.topology), size, seconds, tuple(form.notes(contents)))


def _choose(ds: xr.Dataset, start: str | float | None, until: str | float | None, stride: int) -> xr.Dataset:
    """Return the frames that are wanted, lazily."""
    if stride < 1:
        raise InputError(f"stride: found {stride}, expected 1 or more")
    if start is None and until is None:
        return ds.isel(frame=slice(None, None, stride))
    name = ds.attrs.get("name", "dataset")
    if "time" not in ds:
        raise InputError(f"{name}: it has no times to choose frames by; choose them with ds.isel(frame=…)")
    times = np.asarray(ds["time"].values, np.float64)
    first, last = (_picoseconds(limit, end) for limit, end in ((start, -np.inf), (until, np.inf)))
    margin = _RESOLUTION * np.abs(times)
    chosen = np.flatnonzero((times >= first - margin) & (times <= last + margin))[::stride]
    if not len(chosen):
        found = f"{times.min():g} ps to {times.max():g} ps" if len(times) else "no frames"
        limits = f"from {first:g} ps" * (start is not None) + " " * (start is not None is not until)
        limits += f"until {last:g} ps" * (until is not None)
        raise InputError(f"{name}: no frame {limits}; the dataset has {found}")
    if len(chosen) == 1 or (np.diff(chosen) == stride).all():  # a slice keeps the chunks
        return ds.isel(frame=slice(int(chosen[0]), int(chosen[-1]) + 1, stride))
    return ds.isel(frame=chosen)


def _picoseconds(limit: str | float | None, otherwise: float) -> float:
    """Return a time in ps."""
    if limit is None:
        return otherwise
    return parse_quantity(limit, "time") if isinstance(limit, str) else float(limit)


def _watched(blocks: Iterator[Frames], total: int, target: Path, progress: Progress | None) -> Iterator[Frames]:
    """Tell how many frames have been handed on and come back for more."""
    done = 0
    for frames in blocks:
        if progress is not None and not done:
            progress(target.name, 0, total)
        yield frames
        done += len(frames)
        if progress is not None:
            progress(target.name, done, total)


@contextlib.contextmanager
def _appearing(target: Path, *, force: bool) -> Iterator[Path]:
    """Give a hidden name in the folder of a file; rename it at the end, or remove it when something happens."""
    _refuse(target, force=force)
    target.parent.mkdir(parents=True, exist_ok=True)
    stage = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        yield stage
        with stage.open("rb+") as file:
            os.fsync(file.fileno())
        _refuse(target, force=force)
        stage.replace(target)
    finally:
        stage.unlink(missing_ok=True)


def _refuse(target: Path, *, force: bool) -> None:
    """Refuse to replace what may be somebody's raw data."""
    if target.is_dir():
        raise InputError(f"{target}: found a folder, expected the name of a file")
    if not force and target.exists():
        raise InputError(f"{target}: the file exists; choose another name, or say --force (force=True) to replace it")
