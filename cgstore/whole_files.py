"""Whole files: written beside their place, synced and moved there, so that none is ever half written."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["write_bytes", "write_json", "write_whole"]


def write_json(path: Path, content: Any) -> None:
    """Write plain data."""
    write_bytes(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    write_whole(path, lambda part: part.write_bytes(content))


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Have a file written under another name, and give it its own when all of it is on the disk.

    Parameters
    ----------
    path : of the file
    write : is called with the path to write to

    Examples
    --------
    >>> write_whole(Path("numbers.txt"), lambda part: part.write_text("1 2 3"))  # doctest: +SKIP
    """
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(part)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
