"""Chunks of the per-frame arrays: numbers to compressed bytes and back, as zarr's codecs do it, without zarr between.

The bytes are those that zarr-python writes for the same metadata. Encoding and decoding hold no lock and keep no state,
so that every thread can do its own chunks; turning, folding, scaling and the look for lost data are one pass.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import google_crc32c
import numpy as np
from numcodecs.blosc import Blosc
from numcodecs.blosc import decompress as blosc_decompress
from numpy.typing import NDArray

from cgstore.kernels.chunks import pack, unpack, unpack_scaled

__all__ = ["FRAME_DELTA", "MOST_CHUNK_BYTES", "Chain", "chain_of", "check_blosc", "decode_chunk", "encode_chunk"]

FRAME_DELTA = "cgstore.frame_delta"
MOST_CHUNK_BYTES = 2**31 - 1  # what blosc can hold

_SHUFFLES = {"noshuffle": Blosc.NOSHUFFLE, "shuffle": Blosc.SHUFFLE, "bitshuffle": Blosc.BITSHUFFLE}
_CHECKSUM = 4  # bytes
_BLOSC_HEADER = 16


@dataclass(frozen=True, slots=True)
class Chain:
    """How the chunks of one array are encoded: a chunk of `shape`, its frames perhaps innermost, perhaps as steps."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]  # of a chunk; the frames first
    fill: Any
    turned: bool  # the frames are innermost
    differences: bool  # folded steps from frame to frame
    blosc: tuple[str, int, str] | None  # compressor, level, shuffle

    @property
    def bytes(self) -> int:
        """Return the size of a decoded chunk."""
        return math.prod(self.shape) * self.dtype.itemsize


def chain_of(metadata: Mapping[str, Any]) -> Chain:
    """Return the chain of an array from the content of its zarr.json.

    Raises
    ------
    ValueError : cgstore writes no such arrays
    """
    sharding = metadata["codecs"][0].get("configuration", {})
    if [codec["name"] for codec in metadata["codecs"]] != ["sharding_indexed"]:
        raise ValueError("the array is not in shards")
    inner = {codec["name"]: codec.get("configuration", {}) for codec in sharding["codecs"]}
    shape = tuple(sharding["chunk_shape"])
    order = [name for name in ("transpose", FRAME_DELTA, "bytes", "blosc", "crc32c") if name in inner]
    known = list(inner) == order and order[-1] == "crc32c" and inner["bytes"].get("endian", "little") == "little"
    turned = "transpose" in inner
    turns = not turned or tuple(inner["transpose"]["order"]) == (1, 2, 0)
    if not (known and turns) or sharding.get("index_location", "end") != "end" or (FRAME_DELTA in inner and not turned):
        raise ValueError(f"the array has the codecs {', '.join(inner)}")
    blosc = inner.get("blosc")
    dtype = np.dtype(metadata["data_type"]).newbyteorder("<")
    return Chain(
        dtype=dtype,
        shape=shape,
        fill=_fill(metadata["fill_value"], dtype),
        turned=turned,
        differences=FRAME_DELTA in inner,
        blosc=None if blosc is None else (blosc["cname"], blosc["clevel"], blosc["shuffle"]),
    )


def _fill(value: Any, dtype: np.dtype[Any]) -> Any:
    """Return the fill value that the metadata name."""
    return dtype.type(math.nan if value == "NaN" else value)


def encode_chunk(values: NDArray[Any], chain: Chain) -> bytes:
    """Encode the frames of one chunk.

    Parameters
    ----------
    values : (frame, …) at most the frames of a chunk; int32 where the chain has a narrower integer
    chain : of the array
    """
    if chain.turned:
        packed = np.empty((math.prod(chain.shape[1:]), chain.shape[0]), _as_integer(chain.dtype))
        flat = np.ascontiguousarray(values, None if chain.dtype.kind == "f" else np.int32).reshape(len(values), -1)
        whole = flat.view(packed.dtype) if chain.dtype.kind == "f" else flat
        pack(whole, int(_bits(chain)), chain.differences, packed)
    else:
        packed = np.full(chain.shape, chain.fill, chain.dtype)
        packed[: len(values)] = values
    if chain.blosc is None:
        data = packed.tobytes()
    else:
        name, level, shuffle = chain.blosc
        data = Blosc(name, level, _SHUFFLES[shuffle]).encode(packed.view(chain.dtype))
    return data + int(google_crc32c.value(data)).to_bytes(_CHECKSUM, "little")


def decode_chunk(
    data: bytes, chain: Chain, *, first: int, values: NDArray[Any], scale: np.float32 | None = None
) -> bool:
    """Decode some frames of a chunk.

    Parameters
    ----------
    data : what `encode_chunk` made
    chain : of the array
    first : the first frame that is wanted, counted in the chunk
    values : (frame, …) contiguous, written with as many frames as it has; float32 when they are scaled
    scale : multiply integers with it, in float32

    Returns
    -------
    whether a fill value is among them: something is lost

    Raises
    ------
    ValueError : the bytes are not what was written
    """
    packed = _decompress(data, chain)
    if chain.turned:
        turned = packed.view(_as_integer(chain.dtype)).reshape(-1, chain.shape[0])
        flat = values.reshape(len(values), -1)
        if scale is not None:
            return bool(unpack_scaled(turned, first, chain.differences, scale, flat))
        unpack(turned, first, chain.differences, flat.view(turned.dtype))
    else:
        values[...] = packed.reshape(chain.shape)[first : first + len(values)]
    return bool((np.isnan(values) if chain.dtype.kind == "f" else values == chain.fill).any())


def _decompress(data: bytes, chain: Chain) -> NDArray[Any]:
    """Check and decompress the bytes of a chunk; nothing is allocated that the metadata do not promise."""
    body = np.frombuffer(data, np.uint8)[:-_CHECKSUM]  # a view: copies cost as much as the checksum
    if len(data) < _CHECKSUM or int(google_crc32c.value(body)).to_bytes(_CHECKSUM, "little") != data[-_CHECKSUM:]:
        raise ValueError("its checksum is not that of its bytes")
    found = len(body) if chain.blosc is None else check_blosc(body)
    if found != chain.bytes:
        raise ValueError(f"it has {found} bytes, {chain.bytes} belong there")
    if chain.blosc is None:
        return body.view(chain.dtype)
    packed = np.empty(chain.bytes // chain.dtype.itemsize, chain.dtype)
    try:
        blosc_decompress(body, packed)
    except RuntimeError as error:
        raise ValueError(str(error)) from error
    return packed


def check_blosc(body: NDArray[np.uint8]) -> int:
    """Return the bytes that a blosc buffer says it has decompressed.

    The C library reads as many compressed bytes as the header says, whether they are there or not: without this look
    a hostile chunk ends the process.

    Raises
    ------
    ValueError : it has no header, or one of another buffer
    """
    header = body[:_BLOSC_HEADER].tobytes()
    if len(header) < _BLOSC_HEADER or int.from_bytes(header[12:], "little") != len(body):
        raise ValueError("its blosc header is not that of its bytes")
    return int.from_bytes(header[4:8], "little")


def _as_integer(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the integer type whose bits the numbers are handled as."""
    return np.dtype(f"i{dtype.itemsize}")


def _bits(chain: Chain) -> Any:
    """Return the fill value as the integer that has its bits."""
    return np.array(chain.fill, chain.dtype).view(_as_integer(chain.dtype))
