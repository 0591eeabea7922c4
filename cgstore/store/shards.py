"""Shard files: chunks one after the other, and an index at the end that says where each lies.

This is the sharding of zarr 3, written from chunks that threads encoded, and read in the parts that are asked for.
"""

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from cgstore.errors import IntegrityError
from cgstore.plain_files import open_plain
from cgstore.store.chunks import Chain, decode_chunk
from cgstore.store.placeholders import fill

__all__ = ["FrameArray", "ShardEnd", "shard_index", "split_chunks"]

_NOTHING = 2**64 - 1  # offset and size of a chunk that is not there
_CHECKSUM = 4  # bytes
_LARGE = 2**26  # bytes: before more is allocated, it is seen to that the chunks are there


def shard_index(sizes: Sequence[int], *, slots: int) -> bytes:
    """Return the index that ends a shard file.

    Parameters
    ----------
    sizes : bytes of the chunks that lie before it, from the first one on
    slots : chunks in a full shard

    Examples
    --------
    >>> split_chunks(b"one" + b"three" + shard_index([3, 5], slots=4), slots=4)
    [b'one', b'three', None, None]
    """
    index = np.full((slots, 2), _NOTHING, "<u8")
    index[: len(sizes), 1] = sizes
    index[: len(sizes), 0] = np.cumsum(sizes, dtype="<u8") - np.asarray(sizes, "<u8")
    table = index.tobytes()
    return table + int(google_crc32c.value(table)).to_bytes(_CHECKSUM, "little")


def split_chunks(shard: bytes, *, slots: int) -> list[bytes | None]:
    """Return the encoded chunks of a shard file, None where there is none.

    Raises
    ------
    ValueError : the index is damaged
    """
    index = _index(shard[-_index_size(slots) :], slots, len(shard))
    return [None if size == _NOTHING else shard[start : start + size] for start, size in index.tolist()]


def _index_size(slots: int) -> int:
    """Return the bytes of an index."""
    return 16 * slots + _CHECKSUM


def _index(table: bytes, slots: int, size: int) -> NDArray[np.uint64]:
    """Check an index against its checksum and the size of its file; return offset and size of each chunk."""
    body = table[:-_CHECKSUM]
    if len(table) != _index_size(slots) or int(google_crc32c.value(body)).to_bytes(4, "little") != table[-_CHECKSUM:]:
        raise ValueError("the index of the shard is damaged")
    index = np.frombuffer(body, "<u8").reshape(slots, 2)
    there = index[:, 1] != _NOTHING
    limit = size - len(table)
    if (index[there, 0] > limit).any() or (index[there, 1] > limit - index[there, 0]).any():
        raise ValueError("the index of the shard points outside of it")
    if index[there, 1].sum() > limit:
        raise ValueError("the chunks of the shard overlap")
    return index


@dataclass(frozen=True, slots=True)
class FrameArray:
    """A per-frame array in a folder on this machine: any frames, decoded without zarr between.

    It keeps nothing open and nothing in memory, travels to other processes, and can be read by many threads.
    """

    folder: Path  # of the array
    chain: Chain
    dims: int  # of the array
    shard: int  # frames
    frames: int
    scale: float | None = None  # multiply with it, in float32

    def path(self, shard: int) -> Path:
        """Return the file of a shard."""
        return self.folder.joinpath("c", str(shard), *["0"] * (self.dims - 1))

    def read(self, first: int, last: int) -> NDArray[Any]:
        """Return frames `first` to `last`, as a reader sees them.

        Raises
        ------
        IntegrityError : a chunk is lost, or its bytes are not what was written
        """
        dtype = np.dtype(np.float32) if self.scale is not None else self.chain.dtype
        shape = (max(0, last - first), *self.chain.shape[1:])
        shards = range(first // self.shard, -(-last // self.shard) if last > first else 0)
        if math.prod(shape) * dtype.itemsize > _LARGE:
            for shard in shards:
                begin, end = max(first, shard * self.shard), min(last, (shard + 1) * self.shard)
                self._read_shard(shard, begin - shard * self.shard, end - shard * self.shard, None)
        values = np.empty(shape, dtype)
        self.read_into(first, last, values)
        return values

    def read_into(self, first: int, last: int, values: NDArray[Any]) -> None:
        """Write frames `first` to `last` into an array, as a reader sees them or as they are stored.

        Parameters
        ----------
        first, last : of the array
        values : (frame, …) contiguous; with the dtype of the chain the numbers as stored, with float32 multiplied

        Raises
        ------
        IntegrityError : a chunk is lost, or its bytes are not what was written
        """
        for shard in range(first // self.shard, -(-last // self.shard) if last > first else 0):
            begin, end = max(first, shard * self.shard), min(last, (shard + 1) * self.shard)
            self._read_shard(
                shard, begin - shard * self.shard, end - shard * self.shard, values[begin - first : end - first]
            )

    def _read_shard(self, shard: int, first: int, last: int, values: NDArray[Any] | None) -> None:
        """Decode frames of one shard, counted in it; without `values`, only see whether their chunks are there."""
        chunk = self.chain.shape[0]
        path = self.path(shard)
        fill(path)  # it may only hold the place of an object elsewhere
        wanted = (self.shard // chunk, first // chunk, -(-last // chunk))
        try:
            with open_plain(path) as file:
                if values is None:
                    _check_there(file.fileno(), *wanted)
                    return
                # Chunk by chunk: what was read is still in the cache when it is decoded.
                for number, data in _read_chunks(file.fileno(), *wanted, most=_most_bytes(self.chain)):
                    begin, end = max(first, number * chunk), min(last, (number + 1) * chunk)
                    self._decode(data, begin - number * chunk, values[begin - first : end - first])
        except FileNotFoundError as error:
            raise IntegrityError(f"{path}: the file is missing") from error
        except ValueError as error:
            raise IntegrityError(f"{path}: {error}") from error

    def _decode(self, data: bytes | None, first: int, values: NDArray[Any]) -> None:
        """Decode frames of one chunk, counted in it."""
        if data is None:
            raise ValueError("a chunk is missing")
        scale = None if self.scale is None or values.dtype == self.chain.dtype else np.float32(self.scale)
        if decode_chunk(data, self.chain, first=first, values=values, scale=scale):
            raise ValueError("values are lost")


def _read_index(handle: int, slots: int) -> NDArray[np.uint64]:
    """Read the index of an open shard file."""
    size, table = os.fstat(handle).st_size, _index_size(slots)
    return _index(os.pread(handle, table, size - table) if size >= table else b"", slots, size)


def _check_there(handle: int, slots: int, first: int, last: int) -> None:
    """Raise an error if the index of an open shard file lacks one of some chunks."""
    if (_read_index(handle, slots)[first:last, 1] == _NOTHING).any():
        raise ValueError("a chunk is missing")


def _most_bytes(chain: Chain) -> int:
    """Return what a chunk has at most; compressors give up where nothing is saved."""
    return chain.bytes + chain.bytes // 64 + 1024


def _read_chunks(handle: int, slots: int, first: int, last: int, *, most: int) -> Iterator[tuple[int, bytes | None]]:
    """Read some chunks of an open shard file; yield each with its number, None where there is none."""
    for number, (start, count) in enumerate(_read_index(handle, slots)[first:last].tolist(), first):
        if most < count != _NOTHING:
            raise ValueError(f"a chunk has {count} bytes, expected at most {most}")
        data = None if count == _NOTHING else os.pread(handle, count, start)
        if data is not None and len(data) != count:
            raise ValueError("the file became shorter while it was read")
        yield number, data


class ShardEnd:
    """The end of an array that grows: frames that do not fill a chunk yet, and the shard file behind its last chunk.

    Its files are shared with nobody. A shard has its index, and can be read, when it is full or after `finish`.
    """

    def __init__(self, array: FrameArray) -> None:
        self._array, self.chain = array, array.chain
        self._slots = array.shard // array.chain.shape[0]
        self._chunks, rest = divmod(array.frames, array.chain.shape[0])  # chunks that are written, and full
        self._held: list[NDArray[Any]] = []
        self._sizes: list[int] = []  # of the chunks in the shard that is being written
        if array.frames % array.shard:
            self._reopen(rest)

    def _reopen(self, rest: int) -> None:
        """Take the frames of the last chunk back into memory unless it is full, and the index off its shard."""
        path = self._array.path(self._chunks // self._slots)
        try:
            chunks = split_chunks(path.read_bytes(), slots=self._slots)[: self._chunks % self._slots + bool(rest)]
            kept = [chunk for chunk in chunks if chunk is not None]
            if len(kept) < len(chunks):
                raise ValueError("a chunk is missing")
            if rest:
                values = np.empty((rest, *self.chain.shape[1:]), self.chain.dtype)
                decode_chunk(kept.pop(), self.chain, first=0, values=values)
                self._held = [values]
        except (ValueError, FileNotFoundError) as error:
            raise IntegrityError(f"{path}: {error}; run verify, restore it from a copy") from error
        path.write_bytes(b"".join(kept))
        self._sizes = [len(chunk) for chunk in kept]

    def whole_chunks(self, values: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """Take frames, and yield what now fills chunks; the rest is held."""
        frames, start = self.chain.shape[0], 0
        missing = -sum(map(len, self._held)) % frames
        if self._held and len(values) >= missing:
            yield np.concatenate([*self._held, values[:missing]])
            self._held, start = [], missing
        if not self._held:
            whole = start + (len(values) - start) // frames * frames
            for begin in range(start, whole, frames):
                yield values[begin : begin + frames]
            start = whole
        if start < len(values):
            self._held.append(values[start:].copy())  # a view would keep the whole block in memory

    def rest(self) -> list[NDArray[Any]]:
        """Give what is held away: one chunk that is not full, or nothing."""
        held, self._held = self._held, []
        return [np.concatenate(held)] if held else []

    def write(self, chunk: bytes) -> None:
        """Write an encoded chunk behind those before it."""
        path = self._array.path(self._chunks // self._slots)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(chunk)
        self._chunks += 1
        self._sizes.append(len(chunk))
        if len(self._sizes) == self._slots:
            self._close(path)

    def finish(self) -> None:
        """Close the shard that is not full, if there is one; nothing can be written behind it."""
        if self._sizes:
            self._close(self._array.path(self._chunks // self._slots))

    def _close(self, path: Path) -> None:
        """Write the index of a shard."""
        with path.open("ab") as file:
            file.write(shard_index(self._sizes, slots=self._slots))
        self._sizes = []
