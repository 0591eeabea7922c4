"""Codecs as zarr calls them: the steps from frame to frame of the profile `small`, and a blosc that trusts no header.

zarr finds the first through the entry point `zarr.codecs`, so that whoever has cgstore installed opens such arrays with
plain zarr or xarray. cgstore itself reads and writes whole chunks (`chunks`).
"""

from dataclasses import dataclass
from math import prod
from typing import Any, Self

import numpy as np
from zarr.abc.codec import ArrayArrayCodec
from zarr.codecs import BloscCodec

from cgstore.kernels.chunks import pack, unpack
from cgstore.store.chunks import FRAME_DELTA, check_blosc

__all__ = ["CheckedBlosc", "FrameDelta"]

_ROW_BYTES = 32  # of a table of references, which takes more than the positions of a particle


@dataclass(frozen=True)
class FrameDelta(ArrayArrayCodec):
    """Steps along the last axis, of the bits of numbers of 2 or 4 bytes; zarr's codecs are inherited from."""

    is_fixed_size = True

    @classmethod
    def from_dict(cls, data: Any) -> Self:
        """Make the codec that the metadata of an array name; it has no settings."""
        if data != {"name": FRAME_DELTA}:
            raise ValueError(f"found the codec {data}, expected {FRAME_DELTA} without configuration; update cgstore")
        return cls()

    def to_dict(self) -> Any:
        """Return the codec as metadata name it."""
        return {"name": FRAME_DELTA}

    def validate(self, *, shape: Any, dtype: Any, chunk_grid: Any) -> None:
        """Refuse types whose bits are not integers of 2 or 4 bytes."""
        if dtype.to_native_dtype().itemsize not in (2, 4):
            raise ValueError(f"{FRAME_DELTA}: found {dtype}, expected a type of 2 or 4 bytes")

    def compute_encoded_size(self, input_byte_length: int, _chunk_spec: Any) -> int:
        """Return the bytes of an encoded chunk: as many as before."""
        return input_byte_length

    async def _encode_single(self, chunk_array: Any, chunk_spec: Any) -> Any:
        """Fold a chunk, the frames of which are innermost."""
        values = np.asarray(chunk_array.as_ndarray_like())
        bits = np.dtype(f"i{values.itemsize}")
        packed = np.empty(values.shape, bits)
        columns = np.ascontiguousarray(values).view(bits).reshape(-1, values.shape[-1])
        pack(columns.T, 0, True, packed.reshape(columns.shape))
        return chunk_spec.prototype.nd_buffer.from_ndarray_like(packed.view(values.dtype))

    async def _decode_single(self, chunk_array: Any, chunk_spec: Any) -> Any:
        """Unfold a chunk."""
        packed = np.ascontiguousarray(chunk_array.as_ndarray_like())
        bits = np.dtype(f"i{packed.itemsize}")
        values = np.empty(packed.shape, bits)
        columns = packed.view(bits).reshape(-1, packed.shape[-1])
        unpack(columns, 0, True, values.reshape(columns.shape).T)
        return chunk_spec.prototype.nd_buffer.from_ndarray_like(values.view(packed.dtype))


class CheckedBlosc(BloscCodec):
    """Blosc that looks at the header of a chunk before the C library believes it; for reading what others sent."""

    @classmethod
    def of(cls, codec: BloscCodec) -> Self:
        """Return the same codec, with the look."""
        return cls(
            typesize=codec.typesize,
            cname=codec.cname,
            clevel=codec.clevel,
            shuffle=codec.shuffle,
            blocksize=codec.blocksize,
        )

    async def _decode_single(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        """Decompress a chunk that is as large as one of its array."""
        most = max(prod(chunk_spec.shape) * chunk_spec.dtype.item_size, _ROW_BYTES * max(chunk_spec.shape, default=0))
        found = check_blosc(chunk_bytes.as_numpy_array().view(np.uint8))
        if found > most:
            raise ValueError(f"a chunk has {found} bytes, at most {most} belong there")
        return await super()._decode_single(chunk_bytes, chunk_spec)
