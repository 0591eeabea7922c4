"""Placeholders: files of the right size without content, for objects elsewhere that are fetched when they are read.

A version that continues another takes over most shards without looking into them, and an ingest that finds nothing new
reads nothing but manifests. So objects need not come to this machine: an empty file stands for each until somebody
reads it. Hard links of a placeholder are the same placeholder.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["fill", "placeholders", "waiting"]

_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A placeholder without content, and the lock of whoever fetches it."""

    path: Path
    fetch: Callable[[Path], None]
    lock: threading.Lock = field(default_factory=threading.Lock)


_known: dict[tuple[int, int], _Waiting] = {}  # by device and inode


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
            key = _key(path)
            if size and key:
                mine.append(key)
                _known[key] = _Waiting(path, fetch)
        yield
    finally:
        for key in mine:
            _known.pop(key, None)


def waiting(path: Path) -> bool:
    """Tell whether a file is a placeholder without content."""
    return bool(_known) and _key(path) in _known


def fill(*paths: Path) -> None:
    """Fetch the content of placeholders, several at once; to be called before files are read directly.

    Any other file is left alone; with a hard link of a placeholder all of its names get the content.
    """
    keys = {_key(path) for path in paths} & set(_known) if _known else set()
    if len(keys) > 1:
        with ThreadPoolExecutor(min(len(keys), _AT_ONCE)) as pool:
            list(pool.map(_fetch, keys))
    for key in keys:
        _fetch(key)


def _fetch(key: tuple[int, int] | None) -> None:
    """Fetch one placeholder, if nobody else has done so."""
    placeholder = _known.get(key) if key else None
    if key and placeholder:
        with placeholder.lock:  # nobody may read it half fetched
            if key in _known:
                placeholder.fetch(placeholder.path)
                _known.pop(key, None)


def _key(path: Path) -> tuple[int, int] | None:
    """Return what all hard links of a file share."""
    try:
        state = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return state.st_dev, state.st_ino
