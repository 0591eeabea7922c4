"""Compressed files: their plain bytes in a temporary file that is gone with its last user, and with the process.

gzip, bzip2 and xz have no random access, so a trajectory is unpacked once, at opening. The temporary file has no name:
nothing is left behind after Ctrl-C or a kill. It lies where `TMPDIR` says.
"""

import bz2
import contextlib
import gzip
import lzma
import os
import shutil
import tempfile
import weakref
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from cgstore.errors import InputError

__all__ = ["COMPRESSIONS", "Contents", "is_compressed", "plain_file", "plain_suffix"]

COMPRESSIONS = (".gz", ".bz2", ".xz")

_PIECE = 2**22  # bytes unpacked at a time
# Text of coordinates becomes 3 to 6 times as long; what grows far beyond that was made to fill a disk.
_RATIO = 100
_HARMLESS = 2**26  # bytes that may be unpacked whatever the ratio is
_SPARE = 2**28  # bytes that are left free for others
_MEMORY = (
    2**27
)  # bytes that unpacking xz may take; a file can claim to need gigabytes, those of `xz -9` need half of it


def is_compressed(path: Path) -> bool:
    """Tell from its name whether a file is compressed.

    >>> is_compressed(Path("run1/traj.gro.gz")), is_compressed(Path("traj.xtc"))
    (True, False)
    """
    return path.suffix.lower() in COMPRESSIONS


def plain_suffix(path: Path) -> str:
    """Return what kind of file this is, in lower case, without regard to compression.

    >>> plain_suffix(Path("traj.GRO.gz")), plain_suffix(Path("traj.xtc"))
    ('.gro', '.xtc')
    """
    return (Path(path.stem) if is_compressed(path) else path).suffix.lower()


class Contents:
    """The plain bytes of a file, compressed or not; for any number of threads, and for other processes by pickling.

    Parameters
    ----------
    path : the file; one that ends in .gz, .bz2 or .xz is unpacked now, and again in every process it travels to

    Raises
    ------
    InputError : the file cannot be read; its compressed data are damaged, incomplete, unpack to more than a hundred
        times their size, or do not fit on the temporary disk
    """

    __slots__ = ("__weakref__", "_unpacked", "path", "size")

    def __init__(self, path: Path) -> None:
        self.path = path
        self._unpacked: IO[bytes] | None = None
        if is_compressed(path):
            with contextlib.ExitStack() as stack:
                file = stack.enter_context(tempfile.TemporaryFile(prefix="cgstore-"))
                unpack(path, file)
                stack.pop_all()
            self._unpacked = file
            weakref.finalize(self, file.close)
        with self.opened() as descriptor:
            self.size = os.lseek(descriptor, 0, os.SEEK_END)  # bytes

    def __reduce__(self) -> tuple[type["Contents"], tuple[Path]]:
        """Travel as a path."""
        return Contents, (self.path,)

    @contextlib.contextmanager
    def opened(self) -> Iterator[int]:
        """Give a file descriptor for `fill`; a plain file is open only meanwhile."""
        if self._unpacked is not None:
            yield self._unpacked.fileno()
            return
        try:
            descriptor = os.open(self.path, os.O_RDONLY)
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read: {error.strerror or error}") from error
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def fill(self, descriptor: int, offset: int, target: NDArray[np.uint8]) -> None:
        """Fill an array with the bytes from an offset on; threads may do so at the same time.

        Raises
        ------
        InputError : the file ends before the array is full, or cannot be read
        """
        view = memoryview(target.data)
        while len(view):
            try:
                got = os.preadv(descriptor, [view], offset)
            except OSError as error:
                raise InputError(f"{self.path}: cannot be read: {error.strerror or error}") from error
            if not got:
                raise InputError(f"{self.path}: the file became shorter while it was read; wait until it is complete")
            view, offset = view[got:], offset + got


@contextlib.contextmanager
def plain_file(path: Path) -> Iterator[Path]:
    """Give a path with the plain bytes of a file, for programs that want a name.

    Parameters
    ----------
    path : a file; one that ends in .gz, .bz2 or .xz is unpacked into a temporary folder, under its own name without
        that suffix, and removed when the context ends

    Raises
    ------
    InputError : as `Contents`

    Examples
    --------
    >>> with plain_file(Path("system.gro.gz")) as plain:  # doctest: +SKIP
    ...     topology = read_topology(plain)
    """
    if not is_compressed(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="cgstore-") as folder:
        plain = Path(folder) / path.stem
        with plain.open("wb") as file:
            unpack(path, file)
        yield plain


def unpack(path: Path, target: IO[bytes]) -> None:
    """Write the plain bytes of a compressed file, as many as are sane and as there is room for.

    Raises
    ------
    InputError : as `Contents`
    """
    total = 0
    try:
        allowed = max(_HARMLESS, _RATIO * path.stat().st_size)
        for piece in _pieces(path):
            total += len(piece)
            if total > allowed:
                raise InputError(
                    f"{path}: it unpacks to more than {allowed / 2**20:.0f} MiB from {path.stat().st_size} bytes, "
                    "which no trajectory or topology does; unpack it by hand if it is sound"
                )
            _leave_room(path, target)
            target.write(piece)
        target.flush()
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise _damaged(path, total, error) from error
    except OSError as error:
        # bz2 tells damage by an OSError without a number.
        if error.errno is None:
            raise _damaged(path, total, error) from error
        raise InputError(f"{path}: cannot be unpacked: {error.strerror or error}") from error


def _pieces(path: Path) -> Iterator[bytes]:
    """Unpack a file piece by piece."""
    suffix = path.suffix.lower()
    if suffix == ".xz":
        with path.open("rb") as source:
            yield from _xz_pieces(source)
        return
    with gzip.open(path) if suffix == ".gz" else bz2.open(path) as unpacked:
        while piece := unpacked.read(_PIECE):
            yield piece


def _xz_pieces(source: IO[bytes]) -> Iterator[bytes]:
    """Unpack xz with a limit to its memory, which `lzma.open` does not offer."""
    rest = source.read(_PIECE)
    if not rest:
        raise EOFError("the file is empty")
    while rest:
        state = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY)
        while not state.eof:
            yield state.decompress(rest, _PIECE)
            rest = b""
            if state.needs_input and not state.eof and not (rest := source.read(_PIECE)):
                raise EOFError("the file ends before its data do")
        # Another stream may follow, after zeros.
        rest = state.unused_data.lstrip(b"\0")
        while not rest and (more := source.read(_PIECE)):
            rest = more.lstrip(b"\0")


def _leave_room(path: Path, target: IO[bytes]) -> None:
    """Refuse to fill a disk to the brim."""
    free = shutil.disk_usage(target.fileno()).free
    if free < _SPARE + _PIECE:
        raise InputError(
            f"{path}: no room to unpack it: {free / 2**20:.0f} MiB are left in {tempfile.gettempdir()}; "
            "set TMPDIR to a folder with more, or unpack the file by hand"
        )


def _damaged(path: Path, total: int, error: Exception) -> InputError:
    """Make the error about compressed data that end too early or contradict themselves."""
    return InputError(
        f"{path}: its compressed data are damaged or incomplete after {total} plain bytes ({error}); copy it again, or "
        "unpack by hand what can be read and name that file in the recipe"
    )
