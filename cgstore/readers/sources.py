"""Source files: which files of an archive a run consists of, their bytes, and their digests."""

import glob
import hashlib
import io
import os.path
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cgstore.errors import InputError

__all__ = ["Source", "damage", "fill", "find_files", "source_of"]


@dataclass(frozen=True, slots=True)
class Source:
    """A file of the archive, as it was when it was opened."""

    path: str  # relative to the archive, with / on every system
    size: int  # bytes
    digest: str  # SHA-256, hexadecimal


def source_of(archive: Path, path: Path) -> Source:
    """Describe a file of the archive.

    Parameters
    ----------
    archive : the folder that the path is given relative to
    path : a file in it

    Raises
    ------
    InputError : the file cannot be read
    """
    try:
        with path.open("rb") as file:
            state = hashlib.file_digest(file, "sha256")
            size = file.tell()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    return Source(Path(os.path.relpath(path, archive)).as_posix(), size, state.hexdigest())


def find_files(archive: Path, patterns: Sequence[str]) -> list[Path]:
    """Return the files that names and globs stand for, those of one glob in natural order (part2 before part10).

    A name in the archive may be a symbolic link to anywhere: who made the link decides. A recipe cannot lead out.

    Parameters
    ----------
    archive : folder that everything is relative to
    patterns : file names or globs such as `"run1/traj.part*.xtc"` or `"**/*.trr"`

    Raises
    ------
    InputError : a file is missing, is meant twice or lies outside the archive, or a glob matches nothing
    """
    found: list[Path] = []
    for pattern in patterns:
        named = _inside(archive, pattern)
        if named.is_file():
            matches = [named]
        elif glob.has_magic(pattern):
            # The name of the archive itself may look like a glob.
            inside = glob.glob(os.path.relpath(named, archive), root_dir=archive, recursive=True)
            matches = [archive / name for name in sorted(inside, key=_natural) if (archive / name).is_file()]
        else:
            matches = []
        if not matches:
            raise InputError(f"{named}: no such file in the archive {archive}; check `trajectory` in the recipe")
        found += matches
    repeated = {path for path in found if found.count(path) > 1}
    if repeated:
        names = ", ".join(sorted(str(path) for path in repeated))
        raise InputError(f"{names}: listed more than once in `trajectory`; every part of a run belongs there once")
    return found


def _inside(archive: Path, pattern: str) -> Path:
    """Return the path of a name in the archive; `..` and absolute paths that lead out of it are refused."""
    root = os.path.abspath(archive)
    path = os.path.normpath(os.path.join(root, pattern))
    if os.path.commonpath([root, path]) != root:
        raise InputError(f"{pattern}: outside the archive {archive}; trajectories are named relative to the archive")
    return archive / os.path.relpath(path, root)


def _natural(path: str) -> list[tuple[int, int | str]]:
    """Return a key that sorts numbers in names by their value."""
    pieces = re.split(r"(\d+)", path)
    return [(0, int(piece)) if piece.isdecimal() else (1, piece) for piece in pieces]


def damage(path: Path, reason: str, *, good: int) -> InputError:
    """Make the error about a damaged file: where, why, how many frames come before, what to do."""
    return InputError(
        f"{path}: {reason}; there are {good} frames before the damage: "
        'set truncated = "keep" in the [[run]] of the recipe to use them'
    )


def fill(file: io.FileIO, offset: int, target: NDArray[np.uint8], path: Path) -> None:
    """Fill an array with the bytes of an unbuffered file from an offset on.

    A memory map would save the copy, but it kills the process when the file shrinks or its disk fails meanwhile.

    Raises
    ------
    InputError : the file ends before the array is full
    """
    view = memoryview(target.data)
    file.seek(offset)
    while len(view):
        got = file.readinto(view)
        if not got:
            raise InputError(f"{path}: the file became shorter while it was read; wait until it is complete")
        view = view[got:]
