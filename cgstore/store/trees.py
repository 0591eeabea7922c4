"""Trees: the files below a folder or a URL, seen the same way by whoever checks and collects them."""

import hashlib
import os
import stat
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import zarr

from cgstore.plain_files import open_plain, read_plain
from cgstore.store.folders import replace_file
from cgstore.store.layout import open_group
from cgstore.store.locations import is_url

__all__ = ["NO_FILE", "Folder", "Tree", "tree_of"]

NO_FILE = -1  # instead of bytes
_MOST_BYTES = 2**28  # of a file that is read whole, such as a manifest


class Tree(Protocol):
    """Files by relative path; made by `tree_of`."""

    @property
    def title(self) -> str:
        """The folder or URL, for messages."""

    def below(self, name: str) -> "Tree":
        """Return the tree in a folder of this one."""

    def listed(self) -> "Tree":
        """Return the same, of which many small questions can be asked: a URL is listed once now and never again."""

    def folders(self) -> list[str]:
        """Return the names of the folders directly in it, sorted."""

    def sizes(self) -> dict[str, int]:
        """Return the bytes of every file by path, sorted."""

    def size(self, path: str) -> int | None:
        """Return the bytes of one file; None where there is none."""

    def modified(self, path: str) -> float:
        """Return when a file was written, in seconds since 1970."""

    def read(self, path: str) -> bytes:
        """Return the content of a file; FileNotFoundError where there is none."""

    def sha256(self, path: str) -> str:
        """Return the SHA-256 of a file, read piece by piece."""

    def write(self, path: str, content: bytes) -> None:
        """Replace a file in one step."""

    def remove(self, paths: Iterable[str]) -> None:
        """Remove files, and the folders that become empty."""

    def occupied(self, paths: Collection[str]) -> dict[Any, tuple[int, int]]:
        """Return bytes and number of names of the stored files behind paths, by what tells them apart."""

    def group(self) -> zarr.Group:
        """Open the zarr group in it, for reading only."""


@dataclass(frozen=True, slots=True)
class Folder:
    """The files below a folder of this machine; below it, symbolic links are not followed and no folder."""

    path: Path
    outer: Path | None = None  # the folder that this one was found in

    @property
    def title(self) -> str:
        """The folder, for messages."""
        return str(self.path)

    def below(self, name: str) -> "Folder":
        """Return the tree in a folder of this one."""
        return Folder(self.path / name, self.outer or self.path)

    def listed(self) -> "Folder":
        """Return the same: a folder is always asked."""
        return self

    def folders(self) -> list[str]:
        """Return the names of the folders directly in it, sorted."""
        if not self.path.is_dir() or self._leads_out():
            return []
        with os.scandir(self.path) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))

    def _leads_out(self) -> bool:
        """Tell whether there is a symbolic link between the outermost folder and this one."""
        if self.outer is None:
            return False
        inner = self.path.relative_to(self.outer)
        return any((self.outer / part).is_symlink() for part in (inner, *inner.parents[:-1]))

    def sizes(self) -> dict[str, int]:
        """Return the bytes of every file by path, sorted; `NO_FILE` for links, pipes and devices."""
        if self._leads_out():
            return {}
        found = {}
        for root, folders, names in os.walk(self.path):
            linked = [name for name in folders if os.path.islink(os.path.join(root, name))]
            for name in (*names, *linked):
                path = Path(root, name)
                state = path.lstat()
                size = state.st_size if stat.S_ISREG(state.st_mode) else NO_FILE
                found[path.relative_to(self.path).as_posix()] = size
        return dict(sorted(found.items()))

    def size(self, path: str) -> int | None:
        """Return the bytes of one file; None where there is none."""
        try:
            state = (self.path / path).lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return state.st_size if stat.S_ISREG(state.st_mode) else NO_FILE

    def modified(self, path: str) -> float:
        """Return when a file was written, in seconds since 1970."""
        return (self.path / path).stat().st_mtime

    def read(self, path: str) -> bytes:
        """Return the content of a file; FileNotFoundError where there is none."""
        try:
            return read_plain(self.path / path, most=_MOST_BYTES, follow=False)
        except NotADirectoryError as error:
            raise FileNotFoundError(*error.args) from error

    def sha256(self, path: str) -> str:
        """Return the SHA-256 of a file, read piece by piece."""
        with open_plain(self.path / path, follow=False) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def write(self, path: str, content: bytes) -> None:
        """Replace a file in one step, and only once it is safe on disk."""
        replace_file(self.path / path, content)

    def remove(self, paths: Iterable[str]) -> None:
        """Remove files, and the folders that become empty; what is gone already is no error."""
        parents: set[Path] = set()
        for path in paths:
            (self.path / path).unlink(missing_ok=True)
            parents.update(parent for parent in Path(path).parents if parent != Path("."))
        for parent in sorted(parents, key=lambda folder: len(folder.parts), reverse=True):
            with suppress(OSError):  # not empty
                (self.path / parent).rmdir()

    def occupied(self, paths: Collection[str]) -> dict[Any, tuple[int, int]]:
        """Return bytes and number of names of the stored files behind paths: hard links are one file."""
        states = [(self.path / path).lstat() for path in paths]
        return {(state.st_dev, state.st_ino): (state.st_size, state.st_nlink) for state in states}

    def group(self) -> zarr.Group:
        """Open the zarr group in it, for reading only."""
        return open_group(self.path)


def tree_of(location: str | Path) -> Tree:
    """Return the files at a folder or URL.

    Raises
    ------
    InputError : the URL carries credentials
    MissingExtra : the package for this kind of URL is not installed
    """
    if not is_url(location):
        return Folder(Path(str(location).removeprefix("file://")))
    from cgstore.store.objects import objects_at

    return objects_at(str(location))
