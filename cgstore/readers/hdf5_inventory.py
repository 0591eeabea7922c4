"""What an HDF5 file holds and where its numbers lie, found by libhdf5 in a process of its own.

This is a program: it is run with the path of a file and writes the inventory to its standard output. libhdf5 crashes
on some damaged files and never ends on others, which must not happen to the process that reads an archive. It imports
nothing of cgstore. Links that lead out of the file are named and not followed; plugins are not loaded.

The output is one line of JSON, and after it the tables of chunks as 64-bit integers, one after another in the order
of the arrays: for each chunk its place in the array, its offset in the file, its size, and its mask of filters.
"""

import json
import os
import sys
from array import array
from typing import Any

__all__ = ["main"]

_INLINE = 512  # bytes: arrays up to this size are given as numbers
_MOST = 20_000  # objects
_DEEPEST = 8  # groups inside each other
_LONGEST = 4096  # bytes of an attribute
_ROOTS = ("h5md", "particles")  # groups of the root that are looked into
_MEMORY = 4 * 2**30


class _Inventory:
    """The file, and what was found in it so far."""

    def __init__(self, file: Any, size: int) -> None:
        self.file, self.size = file, size
        self.groups: dict[str, Any] = {}
        self.arrays: dict[str, Any] = {}
        self.refused: dict[str, str] = {}
        self.tables: list[array[int]] = []

    def walk(self, group: Any, path: str, depth: int) -> None:
        """List a group and what is below it."""
        import h5py

        self.groups[path] = attributes(group)
        if depth > _DEEPEST:
            raise ValueError("groups nested too deeply")
        for name in group:
            below = f"{path}/{name}" if path else name
            if len(self.groups) + len(self.arrays) + len(self.refused) > _MOST:
                raise ValueError(f"more than {_MOST} objects")
            try:
                item = self.follow(group, name, 0)
            except PermissionError as error:
                self.refused[below] = str(error)
                continue
            if isinstance(item, h5py.Dataset):
                self.describe(item, below)
            elif isinstance(item, h5py.Group) and (path or name in _ROOTS):
                self.walk(item, below, depth + 1)

    def follow(self, group: Any, name: str, hops: int) -> Any:
        """Return what a name stands for; soft links are followed by hand, so that none leads out of the file."""
        import h5py

        # The low-level calls, because those of h5py's groups look what a link leads to.
        links, raw = group.id.links, name.encode("utf-8", "surrogateescape")
        kind = links.get_info(raw).type
        if kind == h5py.h5l.TYPE_HARD:
            return group[name]
        if kind != h5py.h5l.TYPE_SOFT:
            where = links.get_val(raw)[0] if kind == h5py.h5l.TYPE_EXTERNAL else b"?"
            raise PermissionError(f"in another file ({where[:80].decode('utf-8', 'replace')})")
        path = links.get_val(raw).decode("utf-8", "surrogateescape")
        if hops > _DEEPEST:
            raise PermissionError("a link that leads to itself")
        here = self.file if path.startswith("/") else group
        for part in path.strip("/").split("/"):
            if not isinstance(here, h5py.Group) or (part != "." and not here.id.links.exists(part.encode())):
                raise PermissionError(f"a link to {path[:80]}, which is not there")
            here = here if part == "." else self.follow(here, part, hops + 1)
        return here

    def describe(self, item: Any, path: str) -> None:
        """Describe an array of numbers: its shape and type, and where its bytes are."""
        import h5py

        properties = item.id.get_create_plist()
        layout = properties.get_layout()
        # The shape of a virtual dataset may be looked up in its sources: this comes first.
        if layout == h5py.h5d.VIRTUAL or properties.get_external_count():
            self.refused[path] = "in other files, of which it is made"
            return
        dtype = item.dtype
        if dtype.kind not in "iuf" or dtype.itemsize > 8 or item.shape is None or len(item.shape) > 4:
            return
        found: dict[str, Any] = {"dtype": dtype.str, "shape": list(item.shape), "attrs": attributes(item)}
        found["filters"] = [properties.get_filter(k)[0] for k in range(properties.get_nfilters())]
        if item.size * dtype.itemsize <= _INLINE or layout == h5py.h5d.COMPACT:
            found["values"] = item[()].tolist()
        elif layout == h5py.h5d.CONTIGUOUS:
            found["offset"] = item.id.get_offset()
        else:
            found["chunk"] = list(item.chunks)
            found["chunks"] = self.chunks(item)
        self.arrays[path] = found

    def chunks(self, item: Any) -> int:
        """Add the table of chunks of an array; return their number."""
        table = array("q")
        most = self.size // 4 * (len(item.shape) + 3)

        def add(info: Any) -> None:
            if len(table) > most:
                raise ValueError("more chunks than the file has room for")
            table.extend(info.chunk_offset)
            table.extend((info.byte_offset if info.byte_offset is not None else -1, info.size, info.filter_mask))

        item.id.chunk_iter(add)
        self.tables.append(table)
        return len(table) // (len(item.shape) + 3)


def attributes(item: Any) -> dict[str, Any]:
    """Return the small attributes of an object that are text, numbers, or lists of these; a list of one is the one."""
    found: dict[str, Any] = {}
    for name in item.attrs:
        try:
            if item.attrs.get_id(name).get_storage_size() > _LONGEST:
                continue
            value = item.attrs[name]
            value = value.tolist() if hasattr(value, "tolist") else value
            listed = [each.decode("utf-8", "replace") if isinstance(each, bytes) else each for each in as_list(value)]
        except (OSError, TypeError, ValueError, RuntimeError):
            continue
        if all(isinstance(each, str | int | float) for each in listed):
            found[name] = listed if len(listed) != 1 else listed[0]
    return found


def as_list(value: Any) -> list[Any]:
    """Return a value as a list of one, a list as it is."""
    return value if isinstance(value, list) else [value]


def limit(size: int) -> None:
    """Bound the memory and the time that libhdf5 may take, where the system can."""
    try:
        import resource
    except ImportError:
        return
    seconds = 20 + size // 10**8
    for kind, most in ((resource.RLIMIT_AS, _MEMORY), (resource.RLIMIT_CPU, seconds), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, hard))


def main(path: str) -> None:
    """Write the inventory of a file to the standard output."""
    size = os.path.getsize(path)
    tables: list[array[int]] = []
    try:
        import h5py
    except ImportError:
        answer: dict[str, Any] = {"missing": "h5py"}
    else:
        limit(size)
        try:
            with h5py.File(path, "r", locking=False) as file:
                if file.userblock_size:
                    raise ValueError("it has a user block before its numbers")
                found = _Inventory(file, size)
                found.walk(file, "", 0)
            answer = {"groups": found.groups, "arrays": found.arrays, "refused": found.refused}
            tables = found.tables
        # libhdf5 has a great many ways to say that a file is damaged.
        except Exception as error:
            answer = {"error": " ".join(str(error).split())[:300] or type(error).__name__}
    with open(sys.stdout.fileno(), "wb", closefd=False) as out:
        out.write(json.dumps(answer).encode() + b"\n")
        for table in tables:
            out.write(table.tobytes())


if __name__ == "__main__":
    main(sys.argv[1])
