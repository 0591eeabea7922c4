"""A run: the files of its parts read as one trajectory, seams removed, the start discarded, thinned by a stride."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cgstore.documents import did_you_mean
from cgstore.errors import InputError
from cgstore.frames import Frames, Reader
from cgstore.readers.compressed import COMPRESSIONS, is_compressed, plain_suffix
from cgstore.readers.dcd import open_dcd
from cgstore.readers.gsd_files import open_gsd
from cgstore.readers.hdf5 import open_hdf5
from cgstore.readers.lammps import open_lammps
from cgstore.readers.netcdf import open_netcdf
from cgstore.readers.sources import Source, damage, find_files, source_of
from cgstore.readers.text_gro import open_gro
from cgstore.readers.text_pdb import open_pdb
from cgstore.readers.text_xyz import open_xyz
from cgstore.readers.trr import open_trr
from cgstore.readers.xtc import XtcReader, open_xtc

__all__ = ["TRAJECTORY_SUFFIXES", "RunReader", "Source", "open_part", "open_run"]

Int = NDArray[np.int64]

# Times in files are float32: what differs by less than its last digit is the same instant.
_RESOLUTION = 2.0**-23
_BLOCK = 2**22  # bytes of positions decoded at a time when a damaged file is searched for its good frames

_OPENERS: dict[str, Callable[[Path], Reader]] = {
    ".xtc": open_xtc,
    ".trr": open_trr,
    ".dcd": open_dcd,
    **dict.fromkeys((".nc", ".ncdf", ".netcdf"), open_netcdf),
    **dict.fromkeys((".h5", ".hdf5", ".h5md"), open_hdf5),
    ".gsd": open_gsd,
}
# These may be compressed.
_TEXT: dict[str, Callable[[Path], Reader]] = {
    ".gro": open_gro,
    **dict.fromkeys((".pdb", ".ent"), open_pdb),
    **dict.fromkeys((".xyz", ".extxyz"), open_xyz),
}
_DUMPS = (".lammpstrj", ".lammpsdump", ".dump")  # text as well, in units that the recipe states
TRAJECTORY_SUFFIXES = (*_OPENERS, *_TEXT, *_DUMPS)


@dataclass(frozen=True, slots=True, eq=False)
class RunReader:
    """The selected frames of a run; reading is stateless, so that blocks can be read in any order and by any thread."""

    particles: int
    time: NDArray[np.float64]  # (frame,) ps
    step: Int  # (frame,)
    sources: tuple[Source, ...]
    parts: tuple[Reader, ...]
    part: Int  # (frame,) which of the parts a frame is in
    frame: Int  # (frame,) its number in that part

    def __len__(self) -> int:
        """Return the number of selected frames."""
        return len(self.time)

    def read(self, start: int, stop: int, *, particles: int | None = None) -> Frames:
        """Decode the selected frames from `start` up to `stop`.

        Parameters
        ----------
        start, stop : numbers of selected frames
        particles : only so many are wanted, the first ones; those behind them may be missing, and are then not checked

        Raises
        ------
        InputError : a frame is damaged or has coordinates that are not finite
        """
        part, frame = self.part[start:stop], self.frame[start:stop]
        if not len(frame):
            return Frames(np.empty((0, self.particles, 3), np.float32), self.time[:0], self.step[:0])
        # Parts follow each other: each has one stretch of the frames.
        ends = np.append(np.flatnonzero(np.diff(part)) + 1, len(part))
        opened = [self.parts[part[end - 1]] for end in ends]
        pieces = zip(opened, np.split(frame, ends[:-1]), strict=True)
        blocks = [_read(one, chosen, particles) for one, chosen in pieces]
        joined = _join(blocks, [one.path for one in opened])
        return replace(joined, time=self.time[start:stop], step=self.step[start:stop])


def open_run(
    archive: Path,
    *,
    trajectory: Sequence[str],
    particles: int,
    discard: float = 0.0,
    until: float | None = None,
    stride: int = 1,
    interval: float | None = None,
    truncated: str = "error",
    units: str = "real",
) -> RunReader:
    """Open the files of a run as one trajectory.

    Repeated frames at seams are dropped first: those not later than a frame before them. Then frames before `discard`
    and after `until` are left out, then every `stride`-th of the rest is taken.

    Parameters
    ----------
    archive : folder that the names are relative to; nothing is written there
    trajectory : file names and globs, in the order of time
    particles : what the topology has
    discard, until : ps, absolute, as in the files; frames at these very times are taken; None for no end
    stride : take every stride-th frame
    interval : ps between frames, for files without usable times: frames are then numbered through from time 0. Repeated
        frames are told by their steps, in parts that do not count from the beginning again
    truncated : "error", or "keep" to use the frames before the damage of a truncated or damaged file
    units : what LAMMPS dumps are in: "real", "metal", "nano" or "lj"; other formats know their units

    Raises
    ------
    InputError : a file is missing, outside the archive, of an unknown format, truncated or damaged, has another number
        of particles or times that cannot be used; parts are not in the order of time
    """
    if stride < 1:
        raise InputError(f"stride: found {stride}, expected 1 or more")
    if interval is not None and not interval > 0:
        raise InputError(f"interval: found {interval:g} ps, expected a positive time")
    if until is not None and np.isnan(until):
        raise InputError(f"until: found {until:g} ps, expected a time")
    if truncated not in ("error", "keep"):
        raise InputError(f'truncated: found {truncated!r}, expected "error" or "keep"')
    paths = find_files(archive, trajectory)
    parts = tuple(_fitting_part(path, particles, units) for path in paths)
    good = [_good_frames(part, truncated) for part in parts]
    part = np.repeat(np.arange(len(parts)), good)
    frame = np.concatenate([np.arange(count) for count in good])
    step = np.concatenate([opened.step[:count] for opened, count in zip(parts, good, strict=True)])
    if interval is None:
        time = np.concatenate([_times(opened, count) for opened, count in zip(parts, good, strict=True)])
        kept = _without_repeats(time, part, paths)
    else:
        kept = _without_repeated_steps(step, part)
        time = np.zeros(len(part))
        time[kept] = np.arange(len(kept)) * interval
    kept = kept[time[kept] >= discard - _RESOLUTION * abs(discard)]
    if until is not None:
        kept = kept[time[kept] <= until + _RESOLUTION * abs(until)]
    kept = kept[::stride]
    sources = tuple(source_of(archive, path) for path in paths)
    return RunReader(particles, time[kept], step[kept], sources, parts, part[kept], frame[kept])


def open_part(path: Path, *, units: str = "real") -> Reader:
    """Open one trajectory file by its suffix.

    Parameters
    ----------
    path : of a kind in `TRAJECTORY_SUFFIXES`, text also compressed
    units : what LAMMPS dumps are in

    Raises
    ------
    InputError : the kind is unknown, or the file cannot be read
    """
    opener = _opener(path, units)
    try:
        return opener(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error


def _fitting_part(path: Path, particles: int, units: str) -> Reader:
    """Open one file and compare its particles with those of the topology."""
    opened = open_part(path, units=units)
    if opened.particles != particles:
        raise InputError(
            f"{path}: it has {opened.particles} particles, the topology has {particles}; "
            "give the topology that this trajectory was written with"
        )
    return opened


def _opener(path: Path, units: str) -> Callable[[Path], Reader]:
    """Return what opens a file of this kind."""
    suffix = plain_suffix(path)
    if suffix in _DUMPS:
        return lambda dump: open_lammps(dump, units=units)
    if suffix in _TEXT:
        return _TEXT[suffix]
    if suffix not in _OPENERS:
        kind = suffix or path.suffix
        hint = did_you_mean(kind, TRAJECTORY_SUFFIXES)
        raise InputError(f'{path}: trajectories of kind "{kind}" cannot be read{hint}')
    if is_compressed(path):
        raise InputError(
            f"{path}: only text may be compressed ({', '.join(COMPRESSIONS)}), which {suffix} is not; unpack the file"
        )
    return _OPENERS[suffix]


def _good_frames(part: Reader, truncated: str) -> int:
    """Return how many frames of a file are used: all, or with "keep" those before the first damaged one."""
    frames = len(part.time)
    if truncated == "error":
        if part.flaw:
            raise damage(part.path, part.flaw, good=frames)
        return frames
    block = max(1, _BLOCK // (12 * part.particles))
    for start in range(0, frames, block):
        chosen = np.arange(start, min(start + block, frames))
        if not _sound(part, chosen):
            return start + next(k for k in range(len(chosen)) if not _sound(part, chosen[k : k + 1]))
    return frames


def _sound(part: Reader, chosen: Int) -> bool:
    """Tell whether these frames can be decoded and are finite."""
    try:
        _read(part, chosen)
    except InputError:
        return False
    return True


def _read(part: Reader, chosen: Int, particles: int | None = None) -> Frames:
    """Decode frames of a part; an empty box is none, and NaN and infinity are errors."""
    if isinstance(part, XtcReader):  # only there is it worth while to stop early, and all that can be read is finite
        return _without_empty_box(part.read(chosen, particles=particles), part.path)
    frames = _without_empty_box(part.read(chosen), part.path)
    _check_finite(frames, chosen, part.path)
    return frames


def _times(part: Reader, frames: int) -> NDArray[np.float64]:
    """Return the times of a file, which must tell its frames apart."""
    time = part.time[:frames]
    how = 'state the time between frames in its [[run]], for example interval = "1 ps"'
    if not np.isfinite(time).all():
        raise InputError(f"{part.path}: frame {np.argmin(np.isfinite(time))} has no finite time; {how}")
    if len(time) > 1 and (time == time[0]).all():
        raise InputError(
            f"{part.path}: all {len(time)} frames have the time {time[0]:g} ps, or the format has none; {how}"
        )
    return time


def _without_repeats(time: NDArray[np.float64], part: Int, paths: Sequence[Path]) -> Int:
    """Return the frames that are later than all frames before them."""
    before = np.maximum.accumulate(np.concatenate([[-np.inf], time]))[:-1]
    margin = np.where(np.isfinite(before), _RESOLUTION * np.abs(before), 0.0)
    later = time > before + margin
    for number in np.unique(part)[1:]:
        own = part == number
        # A continuation may end before its predecessor did; one that begins where the run began is another run.
        if not later[own].any() and time[own][0] <= time[0]:
            raise InputError(
                f"{paths[number]}: it begins at {time[own][0]:g} ps, not after {paths[0].name} does, and has no later "
                "frame than the files before it; list the parts in the order of time, other runs as a [[run]] of "
                'their own, files without usable times with interval = "… ps"'
            )
    return np.flatnonzero(later)


def _without_repeated_steps(step: Int, part: Int) -> Int:
    """Return the frames whose steps are beyond those before them; a part that counts from the beginning is new."""
    if not len(part):
        return part
    kept: list[Int] = []
    first = last = 0
    for own in np.split(np.arange(len(part)), np.flatnonzero(np.diff(part)) + 1):
        if kept and step[own[0]] > first:
            own = own[step[own] > last]
        else:
            first = last = int(step[own[0]])
        kept.append(own)
        last = int(step[own].max(initial=last))
    return np.concatenate(kept)


def _without_empty_box(frames: Frames, path: Path) -> Frames:
    """Replace a box of zeros, which stands for no box, by None."""
    if frames.box is None:
        return frames
    empty = ~frames.box.any(axis=(1, 2))
    if not empty.any():
        return frames
    if not empty.all():
        raise InputError(f"{path}: some frames have a box, others (the one at {frames.time[empty][0]:g} ps) have none")
    return replace(frames, box=None)


def _check_finite(frames: Frames, numbers: Int, path: Path) -> None:
    """Refuse NaN and infinity."""
    for name in ("position", "box", "velocity", "force"):
        array = getattr(frames, name)
        # One pass: a finite sum has finite terms. Only one that is not (the terms may still be) needs a closer look.
        with np.errstate(over="ignore", invalid="ignore"):
            if array is None or np.isfinite(array.sum()):
                continue
        finite = np.isfinite(array).reshape(len(array), -1).all(axis=1)
        if not finite.all():
            first = int(numbers[np.argmin(finite)])
            raise damage(path, f"frame {first} has a {name} that is not finite", good=first)


def _join(blocks: Sequence[Frames], paths: Sequence[Path]) -> Frames:
    """Join frames of several parts, which must have the same arrays."""
    if len(blocks) == 1:
        return blocks[0]
    for name in ("box", "velocity", "force"):
        have = [block.arrays()[name] is not None for block in blocks]
        if any(have) and not all(have):
            raise InputError(
                f"{paths[have.index(False)]}: it has no {name}, other parts of the run have; parts must agree"
            )
    return Frames.concatenate(blocks)
