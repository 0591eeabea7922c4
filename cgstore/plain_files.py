"""Plain files: opened only if they are files, read only up to a size; pipes, devices and endless files are refused."""

import errno
import os
import stat
from io import FileIO
from pathlib import Path

__all__ = ["open_plain", "read_plain"]


def open_plain(path: str | Path, *, follow: bool = True) -> FileIO:
    """Open a file for reading, without a buffer.

    Parameters
    ----------
    path : of the file
    follow : whether the last part of the path may be a symbolic link

    Raises
    ------
    OSError : it is not there, or is a folder, a pipe, a device, or a link that must not be followed
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    handle = os.open(path, flags)  # without O_NONBLOCK a pipe would wait for its writer for ever
    kind = os.fstat(handle).st_mode
    if not stat.S_ISREG(kind):
        os.close(handle)
        code = errno.EISDIR if stat.S_ISDIR(kind) else errno.EINVAL
        raise OSError(code, "found a folder, pipe or device, expected a file", os.fspath(path))
    return FileIO(handle)


def read_plain(path: str | Path, *, most: int, follow: bool = True) -> bytes:
    """Return the content of a file.

    Parameters
    ----------
    path, follow : as for `open_plain`
    most : bytes; a larger file is refused

    Raises
    ------
    OSError : as `open_plain`, or the file is too large

    Examples
    --------
    >>> read_plain("/dev/zero", most=100)
    Traceback (most recent call last):
        ...
    OSError: [Errno 22] found a folder, pipe or device, expected a file: '/dev/zero'
    """
    pieces: list[bytes] = []
    left = most + 1
    with open_plain(path, follow=follow) as file:
        while left and (piece := file.read(min(left, 2**24))):
            pieces.append(piece)
            left -= len(piece)
    if not left:
        raise OSError(errno.EFBIG, f"found more than {most} bytes, expected fewer", os.fspath(path))
    return b"".join(pieces)
