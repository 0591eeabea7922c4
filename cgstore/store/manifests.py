"""Sealed tables of files: what a published folder consists of, and the sentences that say what is wrong with it.

`MANIFEST.json` is canonical JSON that carries the SHA-256 of its own content, so that not one bit of it can change
unseen; `files` gives size and SHA-256 of every other file of the folder.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from cgstore.documents import digest
from cgstore.errors import IntegrityError, StoreError
from cgstore.store.trees import NO_FILE, Tree, tree_of

__all__ = ["MANIFEST", "check_files", "compare_file", "describe_files", "read_sealed", "seal", "unseal", "write_sealed"]

MANIFEST = "MANIFEST.json"
_SEAL = "seal"


def seal(content: Mapping[str, Any]) -> bytes:
    """Return the text of a manifest: the content and its own digest.

    >>> seal({"a": 1}).decode().splitlines()[1:2]
    [' "a": 1,']
    """
    sealed = {**content, _SEAL: digest(dict(content))}
    return (json.dumps(sealed, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()


def unseal(text: bytes, *, where: str) -> dict[str, Any]:
    """Return the content of a manifest.

    Raises
    ------
    IntegrityError : it is not what `seal` made, to the bit
    """
    try:
        content: dict[str, Any] = json.loads(text)
        del content[_SEAL]
        sound = seal(content) == text
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise IntegrityError(f"{where}: not a manifest of cgstore: {error}") from error
    if not sound:
        raise IntegrityError(f"{where}: its content is not what was sealed; restore it from a copy")
    return content


def read_sealed(folder: Path | Tree) -> dict[str, Any]:
    """Read the manifest of a folder.

    Raises
    ------
    IntegrityError : it is missing or changed
    """
    tree = tree_of(folder) if isinstance(folder, Path) else folder
    where = f"{tree.title}/{MANIFEST}"
    try:
        text = tree.read(MANIFEST)
    except FileNotFoundError as error:
        raise IntegrityError(f"{where}: the manifest is missing; restore it from a copy") from error
    except StoreError:
        raise
    except OSError as error:  # a link, a pipe, a file without end
        raise IntegrityError(f"{where}: the manifest cannot be read: {error.strerror or error}") from error
    content = unseal(text, where=where)
    if problem := _wrong_table(content.get("files", {})):
        raise IntegrityError(f"{where}: {problem}")
    return content


def _wrong_table(files: Any) -> str | None:
    """Return what is wrong with a table of files: names that lead out of the folder, sizes that are none."""
    if not isinstance(files, dict):
        return "found no table of files"
    for path, entry in files.items():
        pure = PurePosixPath(path)
        if path != pure.as_posix() or {"/", "..", "."} & {*pure.parts} or "\0" in path:
            return f"the manifest names {path[:200]!r}, expected files of this folder"
        if (
            not isinstance(entry, dict)
            or type(entry.get("size")) is not int
            or not isinstance(entry.get("sha256"), str)
        ):
            return f"found no size and SHA-256 of {path[:200]!r}"
    return None


def write_sealed(folder: Path, content: Mapping[str, Any]) -> None:
    """Write the manifest of a staged folder."""
    (folder / MANIFEST).write_bytes(seal(content))


def describe_files(
    folder: Path, *, base: Path | None = None, known: Mapping[str, dict[str, Any]] | None = None
) -> dict[str, dict[str, Any]]:
    """Return size and SHA-256 of every file below a folder but its manifest.

    Files that are hard links of those in `base` are not read again: their digests are `known`.
    """
    files: dict[str, dict[str, Any]] = {}
    tree = tree_of(folder)
    for path, size in tree.sizes().items():
        if path == MANIFEST:
            continue
        if known and base and path in known and _same(folder / path, base / path):
            files[path] = dict(known[path])
        else:
            files[path] = {"size": size, "sha256": tree.sha256(path)}
    return files


def _same(one: Path, other: Path) -> bool:
    """Say whether two names are one file."""
    return other.exists() and os.path.samefile(one, other)


def check_files(folder: Path | Tree, files: Mapping[str, Mapping[str, Any]], *, deep: bool) -> dict[str, str]:
    """Compare a folder with the table of its files.

    Parameters
    ----------
    folder : a published folder
    files : size and sha256 by relative path
    deep : read every file, not only its size

    Returns
    -------
    what is wrong by file: `is missing`, `has 12 bytes, expected 13` …; empty when nothing is
    """
    tree = tree_of(folder) if isinstance(folder, Path) else folder
    present = {path: size for path, size in tree.sizes().items() if path != MANIFEST}
    problems = {path: "is not in the manifest" for path in set(present) - set(files)}
    for path, expected in files.items():
        problem = _compare(tree, path, present[path], expected, deep=deep) if path in present else "is missing"
        if problem:
            problems[path] = problem
    return dict(sorted(problems.items()))


def compare_file(file: Path, expected: Mapping[str, Any], *, deep: bool) -> str | None:
    """Return what is wrong with the size, or deep with the SHA-256, of one file; None when nothing is."""
    folder = tree_of(file.parent)
    return _compare(folder, file.name, folder.size(file.name) or 0, expected, deep=deep)


def _compare(tree: Tree, path: str, size: int, expected: Mapping[str, Any], *, deep: bool) -> str | None:
    """Return what is wrong with a file that is there."""
    if size == NO_FILE:
        return "is a symbolic link, pipe or device, expected a file"
    if size != expected["size"]:
        return f"has {size} bytes, expected {expected['size']}"
    if deep and tree.sha256(path) != expected["sha256"]:
        return "is not what was published (other SHA-256)"
    return None
