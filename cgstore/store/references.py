"""References: positions that stay in the XTC files of the archive and are decoded from there when they are read.

A chunk is a table that says for each frame in which file it lies, where, how long it is, and the crc32c of its bytes.
As a zarr codec it makes such an array look like any other; the numbers are those of the XTC reader, to the bit.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import google_crc32c
import numpy as np
from numpy.typing import NDArray
from zarr.abc.codec import ArrayBytesCodec

from cgstore.errors import IntegrityError, StoreError
from cgstore.kernels.xtc import PADDING, decode
from cgstore.plain_files import open_plain
from cgstore.store.chunks import Chain
from cgstore.store.shards import FrameArray

__all__ = ["COLUMNS", "XTC_REFERENCES", "ReferencedFrames", "XtcReferences", "table_chain", "table_of_frames"]

XTC_REFERENCES = "cgstore.xtc_references"
ARCHIVE = "CGSTORE_ARCHIVE"

_HEADER, _LARGEST = 128, 16  # bytes of a frame, and of a particle in it, at the very most

COLUMNS = ("source", "offset", "length", "crc32c")  # of a table, int64 each; -1: no frame yet


def table_chain(chunk: int) -> Chain:
    """Return how the tables are stored: as many rows as a chunk has frames."""
    shape = (chunk, len(COLUMNS))
    return Chain(np.dtype("<i8"), shape, -1, turned=False, differences=False, blosc=("zstd", 3, "shuffle"))


@dataclass(frozen=True)
class XtcReferences(ArrayBytesCodec):
    """Frames of XTC files: names relative to `archive`; zarr's codecs are inherited from.

    `CGSTORE_ARCHIVE` names another folder where the archive has moved.
    """

    is_fixed_size = False

    archive: str
    sources: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "sources", tuple(self.sources))
        for name in self.sources:
            if not isinstance(name, str) or "\0" in name:
                raise StoreError(f"found a reference to {str(name)[:80]!r}, expected the name of a file")
            if os.path.isabs(name) or ".." in re.split(r"[\\/]", name) or not name:
                raise StoreError(f"found a reference to {name!r}, expected a file inside the archive")

    @classmethod
    def from_dict(cls, data: Any) -> Self:
        """Make the codec that the metadata of an array name."""
        return cls(**data["configuration"])

    def to_dict(self) -> Any:
        """Return the codec as metadata name it."""
        return {
            "name": XTC_REFERENCES,
            "configuration": {"archive": self.archive, "sources": list(self.sources)},
        }

    def compute_encoded_size(self, input_byte_length: int, _chunk_spec: Any) -> int:
        """Refuse: sizes of chunks vary."""
        raise NotImplementedError

    async def _encode_single(self, chunk_array: Any, chunk_spec: Any) -> Any:
        """Refuse: what is referenced is not written."""
        raise StoreError("positions are referenced in their files and cannot be written")

    async def _decode_single(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        """Decode the frames of a chunk; where there are none yet, the fill value."""
        table = chunk_bytes.as_numpy_array().view("<i8").reshape(-1, len(COLUMNS))
        position = np.full(chunk_spec.shape, np.nan, np.float32)
        there = int(np.count_nonzero(table[:, 2] > 0))
        self.read(table[:there], position[:there])
        return chunk_spec.prototype.nd_buffer.from_ndarray_like(position)

    def folder(self) -> Path:
        """Return the folder that the names are relative to."""
        return Path(os.environ.get(ARCHIVE) or self.archive)

    def path(self, source: int) -> Path:
        """Return the path of a referenced file.

        Raises
        ------
        IntegrityError : there is no such source in the table
        """
        if not 0 <= source < len(self.sources):
            raise IntegrityError(f"found a reference to source {source}, there are {len(self.sources)}; run verify")
        return self.folder() / self.sources[source]

    def lost(self, sources: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        """Return what is wrong with the referenced files, by path: missing, or shorter than when they were ingested.

        Parameters
        ----------
        sources : `path` and `size` of each, as the metadata of a version have them
        """
        problems = {}
        for source in (source for source in sources if source["path"] in self.sources):
            path = self.folder() / source["path"]
            if not path.is_file():
                problems[str(path)] = f"is missing; where the archive has moved, set {ARCHIVE} to its folder"
            elif path.stat().st_size < source["size"]:
                problems[str(path)] = f"has {path.stat().st_size} bytes, expected {source['size']} or more"
        return problems

    def read(self, table: NDArray[np.int64], position: NDArray[np.float32]) -> None:
        """Decode frames from their files.

        Parameters
        ----------
        table : (frame, column of `COLUMNS`)
        position : (frame, particle, xyz) nm, written

        Raises
        ------
        IntegrityError : a file is missing, or a frame is not what was referenced
        """
        begin = 0
        while begin < len(table):
            source = int(table[begin, 0])
            same = table[begin:, 0] == source
            end = begin + (len(same) if same.all() else int(np.argmin(same)))
            self._read_source(self.path(source), table[begin:end], position[begin:end])
            begin = end

    def _read_source(self, path: Path, table: NDArray[np.int64], position: NDArray[np.float32]) -> None:
        """Decode frames of one file."""
        try:
            with open_plain(path) as file:
                data, offset = _load(file.fileno(), path, table, most=_HEADER + _LARGEST * position.shape[1])
        except (FileNotFoundError, NotADirectoryError) as error:
            raise IntegrityError(
                f"{path}: the referenced file is missing; where the archive has moved, set {ARCHIVE} to its folder"
            ) from error
        except StoreError:
            raise
        except OSError as error:
            raise StoreError(f"{path}: the referenced file cannot be read: {error.strerror or error}") from error
        if decode(data, offset, table[:, 2].copy(), position).any():
            raise IntegrityError(f"{path}: a referenced frame is not one of {position.shape[1]} particles; run verify")


def _load(
    handle: int, path: Path, table: NDArray[np.int64], *, most: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read the bytes of frames and check each against its crc32c; return them and where each frame begins."""
    offset, length = table[:, 1], table[:, 2]
    size = os.fstat(handle).st_size
    changed = IntegrityError(f"{path}: the referenced file is not what it was; restore it, or ingest it again")
    if (
        (offset < 0).any()
        or (length < 0).any()
        or (length > most).any()
        or (offset > size).any()
        or (length > size - offset).any()
    ):
        raise changed
    end = np.cumsum(length)
    data = np.zeros(int(end[-1]) + PADDING, np.uint8)
    view = memoryview(data.data)
    for first, last in _spans(offset, length):
        start, stop = int(end[first] - length[first]), int(end[last - 1])
        if os.preadv(handle, [view[start:stop]], int(offset[first])) != stop - start:
            raise changed
    if (_checksums(data, end - length, end) != table[:, 3]).any():
        raise changed
    return data, end - length


def _checksums(data: NDArray[np.uint8], begin: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the crc32c of stretches of bytes."""
    values = [google_crc32c.value(data[i:j]) for i, j in zip(begin.tolist(), end.tolist(), strict=True)]
    return np.array(values, np.int64)


def table_of_frames(path: Path, source: int, offset: NDArray[np.int64], length: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return what a reference to frames of a file holds.

    Parameters
    ----------
    path : the file
    source : its number among the sources
    offset, length : (frame,) bytes

    Returns
    -------
    (frame, column of `COLUMNS`)

    A file that becomes shorter meanwhile has other checksums when it is read.
    """
    table = np.column_stack([np.full(len(offset), source), offset, length, np.zeros(len(offset), np.int64)])
    with path.open("rb", buffering=0) as file:
        table[:, 3] = [google_crc32c.value(os.pread(file.fileno(), int(row[2]), int(row[1]))) for row in table]
    return table


def _spans(offset: NDArray[np.int64], length: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return the ranges of frames that follow each other in the file."""
    starts = np.flatnonzero(np.append(True, offset[1:] != (offset + length)[:-1]))
    return list(zip(starts.tolist(), [*starts[1:].tolist(), len(offset)], strict=True))


@dataclass(frozen=True, slots=True)
class ReferencedFrames:
    """Positions that stay in their files: any frames, decoded without zarr between."""

    table: FrameArray
    codec: XtcReferences
    particles: int

    def read(self, first: int, last: int) -> NDArray[np.float32]:
        """Return the positions of frames `first` to `last`, nm.

        Raises
        ------
        IntegrityError : a file or a part of the table is missing, or a frame is not what was referenced
        """
        position = np.empty((max(0, last - first), self.particles, 3), np.float32)
        self.codec.read(self.table.read(first, last), position)
        return position
