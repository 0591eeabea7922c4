"""From stored numbers to what a reader sees: integers times the grid in float32, and no fill value passes.

Frames on this machine are read straight from their shards, everything else through zarr. zarr reads a lost chunk as
fill value without a word; here it is an error.
"""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.storage import LocalStore

from cgstore.errors import IntegrityError
from cgstore.kernels.quantise import dequantise
from cgstore.store.chunks import chain_of
from cgstore.store.claims import read_zarr
from cgstore.store.layout import array_of, attributes_of, decode_text, fill_value, references_of
from cgstore.store.references import ReferencedFrames, table_chain
from cgstore.store.shards import FrameArray

__all__ = ["StoredArray", "read_array", "stored_array", "stored_chunks"]


_NEAR = 8  # frames apart: what lies between is decoded with the same chunk anyway, or nearly so


@dataclass(frozen=True, slots=True)
class StoredArray:
    """One array of a dataset, decoded when it is indexed: what dask slices, and what a worker can unpickle."""

    array: zarr.Array[Any]
    where: str  # opens error messages: dataset and version
    local: FrameArray | ReferencedFrames | None = None  # the same array, where it can be read without zarr

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape."""
        return tuple(self.array.shape)

    @property
    def ndim(self) -> int:
        """Return the number of dims."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return the dtype after decoding."""
        if "flag_meanings" in self.array.attrs:
            return np.dtype(np.str_)
        return np.dtype(np.float32) if "scale_factor" in self.array.attrs else np.dtype(self.array.dtype)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read and decode a part, given by integers, slices, and at most one list.

        Raises
        ------
        IntegrityError : a chunk is lost, or its bytes are not what was written
        """
        keys = key if isinstance(key, tuple) else (key,)
        if any(isinstance(k, slice) and k.step is not None and k.step < 0 for k in keys):
            forward = tuple(_forward(k, size) for k, size in zip(keys, self.shape, strict=False))
            back = tuple(
                slice(None, None, -1 if k.step is not None and k.step < 0 else 1) for k in keys if isinstance(k, slice)
            )
            return self[forward][back]
        if self.local is not None and keys:
            return self._read_local(self.local, keys)
        return self._decode(read_zarr(self.array, key, where=self._place(key)), key)

    @property
    def stored_dtype(self) -> np.dtype[Any]:
        """Return the dtype of the numbers as they are stored."""
        return np.dtype(self.array.dtype).newbyteorder("=")

    @property
    def step(self) -> np.float32 | None:
        """Return what the stored integers are multiplied with, in float32; None where they are not."""
        scale = attributes_of(self.array).get("scale_factor")
        return None if scale is None else np.float32(scale)

    def read_stored(self, first: int, last: int, values: NDArray[Any]) -> None:
        """Write frames `first` to `last` into an array, as their numbers are stored.

        Parameters
        ----------
        first, last : of the array
        values : (frame, …) of `stored_dtype`, contiguous

        Raises
        ------
        IntegrityError : a chunk is lost, or its bytes are not what was written
        """
        key = slice(first, last)
        if isinstance(self.local, FrameArray):
            try:
                self.local.read_into(first, last, values)
            except IntegrityError as error:
                raise IntegrityError(
                    f"{self._place(key)}: {error}; run verify, restore the file from a copy"
                ) from error
        elif self.local is not None:
            values[...] = self[key]
        else:
            values[...] = read_zarr(self.array, key, where=self._place(key))
            self._check_lost(values, key)

    def _read_local(self, local: FrameArray | ReferencedFrames, keys: tuple[Any, ...]) -> NDArray[Any]:
        """Read frames from their shards, and take the part of them that is meant."""
        if keys[0] is Ellipsis:
            keys = (slice(None),) if len(keys) == 1 else (*[slice(None)] * (self.ndim + 1 - len(keys)), *keys[1:])
        chosen, *others = keys
        try:
            if isinstance(chosen, slice) and chosen.step in (None, 1):
                return np.asarray(local.read(*chosen.indices(self.shape[0])[:2])[(slice(None), *others)])
            frames = np.arange(self.shape[0])[chosen]
            wanted, places = np.unique(frames, return_inverse=True)
            ends = [0, *(np.flatnonzero(np.diff(wanted) > _NEAR) + 1).tolist(), len(wanted)]
            parts = [self._stretch(local, wanted[first:last]) for first, last in pairwise(ends)]
        except IntegrityError as error:
            raise IntegrityError(f"{self._place(keys)}: {error}; run verify, restore the file from a copy") from error
        read = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return np.asarray(read[places.reshape(np.shape(frames))][(slice(None),) * np.ndim(frames) + tuple(others)])

    @staticmethod
    def _stretch(local: FrameArray | ReferencedFrames, frames: NDArray[np.int64]) -> NDArray[Any]:
        """Read frames that lie near each other, in rising order."""
        if not len(frames):
            return local.read(0, 0)
        read = local.read(int(frames[0]), int(frames[-1]) + 1)
        return read if len(frames) == len(read) else read[frames - frames[0]]

    def _decode(self, stored: NDArray[Any], key: Any) -> NDArray[Any]:
        """Turn what zarr gave into what a reader sees."""
        attrs = attributes_of(self.array)
        decoded: NDArray[Any]
        if "scale_factor" in attrs:
            decoded = np.empty(stored.shape, np.float32)
            flat = np.ascontiguousarray(stored).reshape(-1)
            if dequantise(flat, np.float32(attrs["scale_factor"]), decoded.reshape(-1)):
                self._check_lost(stored, key)
        else:
            decoded = stored
            self._check_lost(stored, key)
        return decode_text(decoded, attrs) if "flag_meanings" in attrs else decoded

    def _check_lost(self, stored: NDArray[Any], key: Any) -> None:
        """Raise an error if a fill value is among the numbers that zarr gave."""
        fill = fill_value(stored.dtype)
        lost = int(np.isnan(stored).sum() if stored.dtype.kind == "f" else np.sum(stored == fill))
        if lost:
            raise IntegrityError(
                f"{self._place(key)}: {lost} values are lost; run verify, restore the file from a copy"
            )

    def _place(self, key: Any) -> str:
        """Name the part that was read."""
        first = key[0] if isinstance(key, tuple) and key else key
        if isinstance(first, slice) and self.ndim:
            first = "{}:{}".format(*first.indices(self.shape[0])[:2])
        return f"{self.where}: {self.array.basename}[{'' if first is Ellipsis else first}]"


def _forward(key: Any, size: int) -> Any:
    """Return the slice that gives the same elements in rising order."""
    if not isinstance(key, slice) or key.step is None or key.step > 0:
        return key
    chosen = range(*key.indices(size))[::-1]
    return slice(chosen.start, chosen.stop, chosen.step) if len(chosen) else slice(0, 0)


def stored_array(group: zarr.Group, name: str, *, where: str) -> StoredArray:
    """Return an array of a group, read without zarr where that is possible."""
    array = array_of(group, name)
    store: Any = array.store
    if not isinstance(store, LocalStore) or not array.shards:
        return StoredArray(array, where)
    try:
        chunks = stored_chunks(Path(store.root) / array.path, array)
    except ValueError:
        return StoredArray(array, where)  # an array that another program wrote
    codec = references_of(array)
    if codec is None:
        return StoredArray(array, where, chunks)
    return StoredArray(array, where, ReferencedFrames(chunks, codec, array.shape[1]))


def stored_chunks(folder: Path, array: zarr.Array[Any]) -> FrameArray:
    """Return a per-frame array as the chunks in shards that it is on disk.

    Raises
    ------
    ValueError : its codecs are not those of cgstore
    """
    metadata: Any = array.metadata
    referenced = references_of(array) is not None
    chain = table_chain(array.chunks[0]) if referenced else chain_of(metadata.to_dict())
    if not referenced and chain.shape[1:] != array.shape[1:]:
        raise ValueError(f"the array is cut into chunks {chain.shape}")
    return FrameArray(
        folder=folder,
        chain=chain,
        dims=array.ndim,
        shard=(array.shards or array.chunks)[0],
        frames=int(array.shape[0]),
        scale=attributes_of(array).get("scale_factor"),
    )


def read_array(group: zarr.Group, name: str, *, where: str) -> NDArray[Any]:
    """Read and decode a whole array of a group.

    Raises
    ------
    IntegrityError : as indexing a `StoredArray`
    """
    return stored_array(group, name, where=where)[...]
