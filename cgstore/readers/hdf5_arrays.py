"""Arrays of HDF5 files, read by their offsets: by any number of threads at once, and from the file alone.

The inventory comes from libhdf5 in a process of its own; from then on plain reads and zlib are enough. Of the filters
of HDF5 those are known that simulation programs use: deflate, shuffle, and the checksum of Fletcher.
"""

import io
import json
import math
import os
import subprocess
import sys
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgstore.errors import InputError, MissingExtra
from cgstore.readers import hdf5_inventory
from cgstore.readers.sources import fill
from cgstore.readers.spans import LARGEST, convert, spans

__all__ = ["Hdf5Array", "Inventory", "take_inventory"]

Int = NDArray[np.int64]

_DEFLATE, _SHUFFLE, _FLETCHER = 1, 2, 3
_NAMES = {4: "szip", 5: "nbit", 6: "scaleoffset", 32000: "lzf", 32001: "blosc", 32004: "lz4", 32015: "zstd"}
_SECONDS = 120  # for libhdf5 to list a small file
_RATIO = 1032  # what deflate can make of one byte


@dataclass(frozen=True, slots=True, eq=False)
class Hdf5Array:
    """An array whose first dimension is read row by row; `rows` of them are really in the file."""

    path: Path
    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]  # what the file claims
    rows: int
    attrs: Mapping[str, Any]
    values: NDArray[Any] | None  # of a small array: all of it
    chunk: tuple[int, ...]  # all rows where the array is contiguous
    filters: tuple[int, ...]  # in the order of writing
    offset: Int  # (chunk,) bytes, in the order of the array
    size: Int  # (chunk,) bytes
    mask: Int  # (chunk,) bits of filters that were not applied

    def unknown_filters(self) -> list[str]:
        """Return the names of the filters that are not known here."""
        known = (_DEFLATE, _SHUFFLE, _FLETCHER)
        return [_NAMES.get(code, f"number {code}") for code in self.filters if code not in known]

    def read(self, rows: Int, real: type | None = None, factor: float = 1.0) -> NDArray[Any]:
        """Return these rows, in this order.

        Parameters
        ----------
        rows : numbers less than `rows`
        real : the type of the result; that of the file by default
        factor : what the numbers are multiplied by

        Raises
        ------
        InputError : a chunk is damaged, or the file became shorter
        """
        result = np.empty((len(rows), *self.shape[1:]), real or self.dtype)
        if self.values is not None:
            convert(self.values[rows], factor, result)
            return result
        of, inside = np.divmod(rows, self.chunk[0])
        with self.path.open("rb", buffering=0) as file:
            if not self.filters and self.chunk[1:] == self.shape[1:]:
                layout = np.dtype([("row", self.dtype, self.shape[1:])])
                offset = self.offset[of] + inside * layout.itemsize
                for some, data in spans(file, (layout,), np.zeros_like(rows), offset):
                    convert(data["row"], factor, result[some])
                return result
            for number in np.unique(of):
                numbers = np.flatnonzero(of == number)
                chosen = _as_slice(numbers)
                for target, part in self._unpacked(file, int(number), _as_slice(inside[numbers])):
                    where: Any = (chosen, *target)
                    if isinstance(chosen, slice):
                        convert(part, factor, result[where])
                        continue
                    result[where] = part if factor == 1.0 else part.astype(np.float64) * factor
        return result

    def _unpacked(
        self, file: io.FileIO, number: int, inside: slice | Int
    ) -> Iterator[tuple[tuple[slice, ...], NDArray[Any]]]:
        """Decode the chunks that lie side by side; yield where their rows belong across, and the chosen rows."""
        grid = [range(0, length, step) for length, step in zip(self.shape[1:], self.chunk[1:], strict=True)]
        across = math.prod(len(axis) for axis in grid)
        for k, place in enumerate(np.ndindex(*(len(axis) for axis in grid))):
            corner = [axis[at] for axis, at in zip(grid, place, strict=True)]
            ends = [min(at + step, n) for at, step, n in zip(corner, self.chunk[1:], self.shape[1:], strict=True)]
            target = tuple(slice(at, end) for at, end in zip(corner, ends, strict=True))
            inner = tuple(slice(0, end - at) for at, end in zip(corner, ends, strict=True))
            yield target, self._decoded(file, number * across + k)[inside][(slice(None), *inner)]

    def _decoded(self, file: io.FileIO, k: int) -> NDArray[Any]:
        """Read one chunk and undo its filters."""
        raw = np.empty(int(self.size[k]), np.uint8)
        fill(file, int(self.offset[k]), raw, self.path)
        expected = math.prod(self.chunk) * self.dtype.itemsize
        data: NDArray[np.uint8] | None = raw
        for bit, code in reversed(list(enumerate(self.filters))):
            if data is not None and not self.mask[k] >> bit & 1:
                data = _undo(code, data, expected + 4, self.dtype.itemsize)
        if data is None or len(data) != expected:
            raise InputError(f"{self.path}: `{self.name}` is damaged: chunk {k} cannot be unpacked")
        return data.view(self.dtype).reshape(self.chunk)


def _as_slice(numbers: Int) -> slice | Int:
    """Return consecutive numbers as a slice, with which NumPy copies faster."""
    consecutive = (np.diff(numbers) == 1).all()
    return slice(int(numbers[0]), int(numbers[-1]) + 1) if consecutive else numbers


def _undo(code: int, data: NDArray[np.uint8], most: int, width: int) -> NDArray[np.uint8] | None:
    """Undo one filter; None when the bytes are damaged."""
    if code == _FLETCHER:
        return data[:-4] if len(data) >= 4 and _fletcher(data) else None
    if code == _SHUFFLE:
        whole = len(data) // width * width
        turned = data[:whole].reshape(width, -1).T.reshape(-1)
        return turned if whole == len(data) else np.concatenate([turned, data[whole:]])
    unpack = zlib.decompressobj()
    try:
        return np.frombuffer(unpack.decompress(data.data, most), np.uint8)
    except zlib.error:
        return None


def _fletcher(data: NDArray[np.uint8]) -> bool:
    """Tell whether the checksum in the last four bytes is that of the others."""
    body = data[:-4] if len(data) % 2 == 0 else np.append(data[:-4], np.uint8(0))
    words = body.view(">u2").astype(np.uint64)
    weights = np.arange(len(words), 0, -1, dtype=np.uint64) % np.uint64(65535)
    first, second = int(words.sum()) % 65535, int((words * weights).sum()) % 65535
    stored = int(data[-4:].copy().view("<u4")[0])
    return (stored & 0xFFFF) % 65535 == first and (stored >> 16) % 65535 == second


@dataclass(frozen=True, slots=True, eq=False)
class Inventory:
    """What an HDF5 file holds: groups with their attributes, arrays, and what is not read with the reason."""

    path: Path
    groups: Mapping[str, Mapping[str, Any]]  # by path, "" for the root
    arrays: Mapping[str, Hdf5Array]  # by path
    refused: Mapping[str, str]  # by path

    def array(self, name: str) -> Hdf5Array | None:
        """Return an array, None where there is none.

        Raises
        ------
        InputError : it is somewhere else than in this file
        """
        for place in self.refused:
            if name == place or name.startswith(f"{place}/"):
                self.complain(place)
        return self.arrays.get(name)

    def complain(self, place: str = "") -> None:
        """Refuse what lies outside of the file: at a place, or anywhere.

        Raises
        ------
        InputError : there is such a thing
        """
        for found, reason in self.refused.items():
            if found.startswith(place):
                raise InputError(f"{self.path}: `{found}` is {reason}; only what is in the file itself is read")


def take_inventory(path: Path) -> Inventory:
    """List what an HDF5 file holds.

    Parameters
    ----------
    path : the file

    Raises
    ------
    InputError : the file is no HDF5 file, is damaged, or uses filters that are not known
    MissingExtra : h5py is not installed
    """
    size = path.stat().st_size
    program = [sys.executable, "-P", hdf5_inventory.__file__, os.path.abspath(path)]
    environment = {**os.environ, "HDF5_PLUGIN_PRELOAD": "::", "OPENBLAS_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    answer: dict[str, Any]
    try:
        done = subprocess.run(program, capture_output=True, env=environment, timeout=_SECONDS + size / 1e7, check=False)
        line, _, rest = done.stdout.partition(b"\n")
        answer = json.loads(line) if done.returncode == 0 else {"error": f"libhdf5 failed on it ({done.returncode})"}
    except subprocess.TimeoutExpired:
        answer, rest = {"error": "libhdf5 did not come to an end with it"}, b""
    if "missing" in answer:
        raise MissingExtra.of(answer["missing"], extra="ingest", purpose=f"reading {path.name}")
    if "error" in answer:
        raise InputError(f"{path}: not an HDF5 file, or one that is cut off or damaged: {answer['error']}")
    arrays, begin = {}, 0
    for name, found in answer["arrays"].items():
        width = len(found["shape"]) + 3
        count = found.get("chunks", 0) * width
        table = np.frombuffer(rest, np.int64, count, begin).reshape(-1, width)
        begin += 8 * count
        arrays[name] = _array(path, name, found, table, size)
    return Inventory(path, answer["groups"], arrays, answer["refused"])


def _array(path: Path, name: str, found: Mapping[str, Any], table: Int, size: int) -> Hdf5Array:
    """Make an array of its description, with the rows that are really in a file of this size."""
    dtype, shape = np.dtype(found["dtype"]), tuple(found["shape"])
    none = np.empty(0, np.int64)
    fields: dict[str, Any] = {
        "values": None,
        "chunk": (max(shape[:1], default=1), *shape[1:]),
        "offset": none,
        "size": none,
        "mask": none,
    }
    row = math.prod(shape[1:]) * dtype.itemsize
    rows = 0
    if "values" in found:
        fields["values"] = np.array(found["values"], dtype).reshape(shape)
        rows = shape[0] if shape else 1
    elif "chunk" in found:
        fields["chunk"] = tuple(found["chunk"])
        ordered, rows = _in_order(table, shape, fields["chunk"], dtype.itemsize, size, bool(found["filters"]))
        fields |= {key: ordered[:, len(shape) + k].copy() for k, key in enumerate(("offset", "size", "mask"))}
    elif found["offset"] is not None and 0 < row <= LARGEST:
        fields["offset"] = np.array([found["offset"]], np.int64)
        rows = min(shape[0], max(0, size - found["offset"]) // row)
    return Hdf5Array(path, name, dtype, shape, rows, found["attrs"], filters=tuple(found["filters"]), **fields)


def _in_order(
    table: Int, shape: tuple[int, ...], chunk: tuple[int, ...], width: int, size: int, packed: bool
) -> tuple[Int, int]:
    """Put chunks in the order of the array; return those of the rows that are complete, and the number of the rows."""
    none = table[:0], 0
    expected = math.prod(chunk) * width
    if not len(table) or not 0 < expected <= LARGEST or any(n < 1 for n in shape):
        return none
    across = [-(-length // step) for length, step in zip(shape[1:], chunk[1:], strict=True)]
    beside = math.prod(across)
    rank = len(shape)
    # Places that are not those of a chunk, and chunks that are there twice, break the order.
    place = table[:, :rank] // np.array(chunk)
    number = place[:, 0].astype(np.float64)
    for k, many in enumerate(across):
        number = number * many + place[:, 1 + k]
    order = np.argsort(number, kind="stable")
    table, number = table[order], number[order]
    offset, stored = table[:, rank], table[:, rank + 1]
    inside = (offset > 0) & (stored > 0) & (stored <= size) & (offset <= size - np.minimum(stored, size))
    right = (expected <= stored * _RATIO + 64) if packed else stored == expected
    wrong = np.flatnonzero((number != np.arange(len(number))) | ~inside | ~right)
    complete = (int(wrong[0]) if len(wrong) else len(number)) // beside
    return table[: complete * beside], min(shape[0], complete * chunk[0])
