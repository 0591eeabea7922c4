"""The header of a NetCDF-3 file: where each variable lies, found without a C library and without reading the data.

The three versions of the classic format are read (offsets of 32 bits, of 64 bits, and all sizes of 64 bits). Nothing
that the header says is believed before it was compared with the size of the file.
"""

import math
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cgstore.errors import InputError

__all__ = ["Header", "Variable", "read_header"]

Value = str | float

_MOST = 2**22  # bytes of a header; those of trajectories have some hundred
_TYPES = ("", "i1", "S1", ">i2", ">i4", ">f4", ">f8", "u1", ">u2", ">u4", ">i8", ">u8")
_DIMENSION, _VARIABLE, _ATTRIBUTE = 10, 11, 12
_CHAR = 2


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable: its shape, whether it grows with the records, and where its first number is."""

    shape: tuple[int, ...]  # the number of records first, when it has records
    records: bool
    attrs: dict[str, Value]
    dtype: str
    begin: int  # bytes

    @property
    def row_size(self) -> int:
        """Return the bytes of one record, or of one element of the first dimension."""
        return math.prod(self.shape[1:]) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, slots=True)
class Header:
    """What a NetCDF-3 file says about itself."""

    attrs: dict[str, Value]
    variables: dict[str, Variable]
    records: int | None  # None: not counted, the file goes on to its end
    record_begin: int  # bytes
    record_size: int  # bytes


class _Damaged(Exception):
    """The header ends too early or contradicts itself."""


class _Cursor:
    """A place in the bytes of a header, moved on by reading."""

    def __init__(self, data: bytes, version: int) -> None:
        self.data, self.at = data, 4
        self.count = ">q" if version == 5 else ">i"
        self.offset = ">i" if version == 1 else ">q"

    def take(self, count: int) -> bytes:
        if not 0 <= count <= len(self.data) - self.at:
            raise _Damaged("it is cut off or damaged")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, format: str) -> int:
        return int(struct.unpack(format, self.take(struct.calcsize(format)))[0])

    def padded(self, count: int) -> bytes:
        found = self.take(count)
        self.at += -count % 4
        return found

    def name(self) -> str:
        return self.padded(self.number(self.count)).decode("utf-8", "replace")

    def items(self, tag: int) -> range:
        """Return the numbers of the items of a list with this tag; an absent list has none."""
        found, count = self.number(">i"), self.number(self.count)
        if (found, count) == (0, 0):
            return range(0)
        if found != tag or not 0 <= count <= len(self.data):
            raise _Damaged("a list in it is damaged")
        return range(count)

    def attributes(self) -> dict[str, Value]:
        """Read a list of attributes: text, or the first number; others are left out."""
        found: dict[str, Value] = {}
        for _ in self.items(_ATTRIBUTE):
            name, kind, count = self.name(), self.number(">i"), self.number(self.count)
            if not 1 <= kind < len(_TYPES):
                raise _Damaged(f"the attribute {name[:40]!r} is of an unknown type")
            dtype = np.dtype(_TYPES[kind])
            data = self.padded(count * dtype.itemsize)
            if kind == _CHAR:
                found[name] = data.decode("utf-8", "replace").rstrip("\0")
            elif count:
                found[name] = float(np.frombuffer(data, dtype, 1)[0])
        return found


def read_header(path: Path) -> Header:
    """Read the header of a NetCDF-3 file.

    Parameters
    ----------
    path : the file

    Raises
    ------
    InputError : it is no NetCDF-3 file, or its header is damaged
    """
    with path.open("rb") as file:
        data = file.read(_MOST)
    if data[:3] != b"CDF" or data[3:4] not in (b"\x01", b"\x02", b"\x05"):
        raise InputError(f"{path}: not a NetCDF-3 file: it does not begin with CDF and a version")
    try:
        return _parse(_Cursor(data, data[3]))
    except _Damaged as error:
        raise InputError(f"{path}: not a NetCDF-3 file: its header says something impossible: {error}") from error


def _parse(cursor: _Cursor) -> Header:
    """Read the lists of a header."""
    records = cursor.number(cursor.count)
    dims = [(cursor.name(), cursor.number(cursor.count)) for _ in cursor.items(_DIMENSION)]
    if any(length < 0 for _, length in dims) or sum(length == 0 for _, length in dims) > 1:
        raise _Damaged("the lengths of its dimensions")
    attrs = cursor.attributes()
    variables: dict[str, Variable] = {}
    for _ in cursor.items(_VARIABLE):
        name, variable = _variable(cursor, dims, max(records, 0))
        variables[name] = variable
    grown = [variable for variable in variables.values() if variable.records]
    sizes = [variable.row_size for variable in grown]
    return Header(
        attrs=attrs,
        variables=variables,
        records=None if records < 0 else records,
        record_begin=min((variable.begin for variable in grown), default=0),
        # A single variable is not padded; several are, each to four bytes.
        record_size=sizes[0] if len(sizes) == 1 else sum(size + -size % 4 for size in sizes),
    )


def _variable(cursor: _Cursor, dims: list[tuple[str, int]], records: int) -> tuple[str, Variable]:
    """Read the description of one variable."""
    name, rank = cursor.name(), cursor.number(cursor.count)
    if not 0 <= rank <= 32:
        raise _Damaged(f"the variable {name[:40]!r} has {rank} dimensions")
    numbers = [cursor.number(cursor.count) for _ in range(rank)]
    attrs = cursor.attributes()
    kind = cursor.number(">i")
    cursor.number(cursor.count)  # its size, which does not fit in 32 bits for large variables
    begin = cursor.number(cursor.offset)
    if not all(0 <= number < len(dims) for number in numbers) or not 1 <= kind < len(_TYPES) or begin < 0:
        raise _Damaged(f"the variable {name[:40]!r}")
    grows = bool(numbers) and dims[numbers[0]][1] == 0
    if any(dims[number][1] == 0 for number in numbers[1:]):
        raise _Damaged(f"the variable {name[:40]!r} grows along an inner dimension")
    shape = tuple(dims[number][1] for number in numbers)
    shape = (records, *shape[1:]) if grows else shape
    return name, Variable(shape, grows, attrs, _TYPES[kind], begin)
