"""Placeholders: files of the right size without content, for objects elsewhere that hardly ever need to be read.

A version that continues another takes over most shards without looking into them. On an object store they need not
come to this machine at all: an empty file stands for each, and is fetched when somebody reads it after all. Hard links
of a placeholder are the same placeholder.
"""

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

__all__ = ["fill", "placeholders", "waiting"]

_known: dict[tuple[int, int], Callable[[Path], None]] = {}  # by device and inode
_change, _filling = threading.Lock(), threading.Lock()


@contextmanager
def placeholders(sizes: Mapping[Path, int], fetch: Callable[[Path], None]) -> Iterator[None]:
    """Make empty files of these sizes; inside the context, `fill` gives them content.

    Parameters
    ----------
    sizes : bytes by path; the folders are made
    fetch : called with the path of a placeholder; opens it for writing in place and writes its content
    """
    mine = []
    try:
        for path, size in sizes.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                file.truncate(size)
                state = os.fstat(file.fileno())
            mine.append((state.st_dev, state.st_ino))
            with _change:
                # The path as it was made: it may be asked for under that of a hard link.
                _known[mine[-1]] = lambda _, path=path: fetch(path)  # type: ignore[misc]
        yield
    finally:
        with _change:
            for key in mine:
                _known.pop(key, None)


def waiting(path: Path) -> bool:
    """Tell whether a file is a placeholder without content."""
    return bool(_known) and _key(path) in _known


def fill(path: Path) -> None:
    """Fetch the content of a placeholder; any other file is left alone. To be called before reading a file directly."""
    key = _key(path) if _known else None
    if key is None or key not in _known:
        return
    with _filling:  # nobody may read it half fetched
        fetch = _known.get(key)
        if fetch is not None:
            fetch(path)
            with _change:
                _known.pop(key, None)


def _key(path: Path) -> tuple[int, int] | None:
    """Return what all hard links of a file share."""
    try:
        state = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return state.st_dev, state.st_ino
