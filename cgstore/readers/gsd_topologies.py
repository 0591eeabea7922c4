"""The first frame of a GSD file of HOOMD-blue as a topology; read without the C library, which damaged files crash."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgstore.readers.stated_topologies import Stated, no_terms

__all__ = ["read_gsd_topology"]

_MAGIC = 0x65DF65DF65DF65DF
_HEADER = struct.Struct("<5Q2I64s64s80s")
_ENTRY = np.dtype("<u8, <u8, <i8, <u4, <u2, u1, u1")
_ENTRY.names = ("frame", "N", "location", "M", "id", "type", "flags")
_TYPES = {
    1: "<u1", 2: "<u2", 3: "<u4", 4: "<u8", 5: "<i1", 6: "<i2", 7: "<i4", 8: "<i8", 9: "<f4", 10: "<f8", 11: "S1",
}  # fmt: skip
_NAME = 64  # bytes of one slot of the list of names


def read_gsd_topology(path: Path) -> Stated:
    """Read particles and bonds of frame 0; lengths are taken as nm, masses as u, charges as e.

    Particles of one rigid body are one molecule. Constraints count as bonds.

    Raises
    ------
    ValueError, KeyError : it is no GSD file of schema hoomd, or a damaged one
    """
    chunks = _Chunks(np.memmap(path, np.uint8, "r"))
    particles = int(chunks.get("particles/N", [0])[0])
    if not 0 < particles <= len(chunks.data):
        raise ValueError(f"frame 0 has {particles} particles, the file {len(chunks.data)} bytes")
    types = chunks.words("particles/types", ["A"])
    typeid = chunks.of("particles/typeid", particles, 0).astype(np.int64)
    if int(typeid.max()) >= len(types):
        raise ValueError(f"a particle has the type {int(typeid.max())}, the file names {len(types)}")
    name = np.array(types, np.str_)[typeid]
    body = chunks.of("particles/body", particles, -1).astype(np.int64)
    own = max(int(body.max()), 0) + 1 + np.arange(particles)
    bonds = [chunks.get(f"{group}/group", no_terms(2)).reshape(-1, 2) for group in ("bonds", "constraints")]
    return Stated(
        name=name,
        type=name,
        together=np.where(body >= 0, body, own) if (body >= 0).any() else None,
        mass=chunks.of("particles/mass", particles, 1.0).astype(np.float64),
        charge=chunks.of("particles/charge", particles, 0.0).astype(np.float64),
        bond=np.concatenate(bonds).astype(np.int64),
        angle=chunks.get("angles/group", no_terms(3)).reshape(-1, 3).astype(np.int64),
        dihedral=chunks.get("dihedrals/group", no_terms(4)).reshape(-1, 4).astype(np.int64),
        position=chunks.of("particles/position", 3 * particles, 0.0).reshape(-1, 3).astype(np.float64),
        box=_box(chunks.get("configuration/box", np.zeros(6)).astype(np.float64).reshape(6)),
    )


def _box(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the vectors of a box given as lengths and tilt factors."""
    x, y, z, xy, xz, yz = numbers
    return np.array([[x, 0, 0], [xy * y, y, 0], [xz * z, yz * z, z]])


class _Chunks:
    """The chunks of frame 0; every offset is checked against the size of the file."""

    def __init__(self, data: NDArray[np.uint8]) -> None:
        if len(data) < _HEADER.size:
            raise EOFError
        self.data = data
        magic, index, entries, names, slots, _, version, _, schema, _ = _HEADER.unpack(data[: _HEADER.size].tobytes())
        if magic != _MAGIC:
            raise ValueError("it does not begin like a GSD file")
        if schema.rstrip(b"\0") != b"hoomd":
            raise ValueError(f"its schema is {schema.rstrip(bytes(1))!r}, expected 'hoomd'")
        table = self._bytes(index, entries * _ENTRY.itemsize).view(_ENTRY)
        listed = self._bytes(names, slots * _NAME).tobytes()
        if version >> 16 < 2:
            words = [listed[k : k + _NAME].split(b"\0")[0] for k in range(0, len(listed), _NAME)]
        else:
            words = listed.split(b"\0")
        self.entries: dict[str, Any] = {}
        for entry in table[(table["frame"] == 0) & (table["location"] > 0)]:
            if entry["id"] < len(words):
                self.entries.setdefault(words[entry["id"]].decode("ascii", "replace"), entry)

    def _bytes(self, start: int, size: int) -> NDArray[np.uint8]:
        """Return a stretch of the file, which must be inside it."""
        if start < 0 or size < 0 or start + size > len(self.data):
            raise ValueError(f"{size} bytes at {start} are announced, the file has {len(self.data)}")
        return np.array(self.data[start : start + size])

    def get(self, name: str, default: Any) -> Any:
        """Return a chunk as a flat array, or the default."""
        if name not in self.entries:
            return default
        entry = self.entries[name]
        dtype = np.dtype(_TYPES[int(entry["type"])])
        return self._bytes(int(entry["location"]), int(entry["N"]) * int(entry["M"]) * dtype.itemsize).view(dtype)

    def of(self, name: str, size: int, default: float) -> Any:
        """Return a chunk of a known size, or that many times the default."""
        found = self.get(name, None)
        if found is None:
            return np.full(size, default)
        if len(found) != size:
            raise ValueError(f"{name} has {len(found)} values, expected {size}")
        return found

    def words(self, name: str, default: list[str]) -> list[str]:
        """Return a table of names."""
        if name not in self.entries:
            return default
        width = int(self.entries[name]["M"])
        rows = self.get(name, None).reshape(-1, width)
        return [bytes(row).split(b"\0")[0].decode("utf-8", "replace") for row in rows]
