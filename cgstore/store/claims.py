"""Claims: what a folder and its arrays say of themselves, looked at before anything is followed, allocated or decoded.

zarr believes metadata: any codec that is installed, chunks of any size, shapes that no file backs. Here an array passes
if cgstore could have written it. A hostile store is so refused with a sentence, and takes no memory for mere numbers.
"""

import os
from collections.abc import Iterable
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, ShardingCodec, TransposeCodec
from zarr.core.chunk_grids import RegularChunkGrid

from cgstore.errors import CgstoreError, IntegrityError, StoreError
from cgstore.store.chunks import MOST_CHUNK_BYTES
from cgstore.store.codecs import CheckedBlosc, FrameDelta
from cgstore.store.references import XtcReferences

__all__ = ["array_of", "check_array", "check_claims", "names_in", "no_links", "open_zarr", "read_zarr"]

_CODECS = (TransposeCodec, FrameDelta, XtcReferences, BytesCodec, BloscCodec, Crc32cCodec)
_INDEX_CODECS = (BytesCodec, Crc32cCodec)
_MOST_SLOTS = 2**16  # chunks in a shard: an index of 1 MiB
_MOST_WORD = 1024  # characters of a coded text
# What is read whole when a dataset is opened: a few hundred bytes per particle, a few per frame. That much is no harm;
# more must be backed by files, since one frame alone takes 3 bytes per particle.
_SMALL = 2**31
_MOST_EXPANSION = 256
_FEW_BLOCKS, _BLOCK_BYTES = 100_000, 32  # the least that a block takes: a line of an index, and a chunk
_METADATA = "zarr.json"
_MOST_METADATA = 2**28  # bytes
_BROKEN = (  # what zarr raises at metadata and chunks that nobody would write
    ValueError, RuntimeError, TypeError, AttributeError, AssertionError, KeyError, ArithmeticError, MemoryError,
    NotImplementedError, RecursionError,
)  # fmt: skip


def no_links(folder: Path, *, where: str) -> int:
    """Refuse a folder in which something is neither a file nor a folder; return the bytes of its files.

    Raises
    ------
    IntegrityError : there is a symbolic link, which may lead anywhere, a pipe or a device
    """
    size, left = 0, [os.fspath(folder)]
    while left:
        with os.scandir(left.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    left.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    own = entry.stat(follow_symlinks=False).st_size
                    if own > _MOST_METADATA and entry.name == _METADATA:
                        raise IntegrityError(f"{where}: {entry.path} has {own} bytes, expected a few thousand")
                    size += own
                else:
                    raise IntegrityError(
                        f"{where}: {entry.path} is a symbolic link, pipe or device, expected files and folders only; "
                        "was it made by cgstore?"
                    )
    return size


def open_zarr(store: Any, *, where: str, writing: bool = False) -> zarr.Group:
    """Open the zarr group in a store of zarr, for reading only or with its own metadata for writing.

    Raises
    ------
    StoreError : there is none, or one of another zarr format: what version 2 calls a filter may be a program
    """
    try:
        if writing:
            return zarr.open_group(store, mode="r+", zarr_format=3, use_consolidated=False)
        group = zarr.open_group(store, mode="r", zarr_format=3)
        if not isinstance(group.metadata.attributes, dict):
            raise TypeError("its attributes are no table")
        return group
    except ImportError:  # fsspec names what it lacks, for example s3fs
        raise
    except (FileNotFoundError, *_BROKEN) as error:
        raise StoreError(
            f"{where}: found no zarr group, expected one version of a dataset, as in …/cg/v000001: {error}"
        ) from error


def names_in(group: zarr.Group, names: Iterable[str]) -> list[str]:
    """Return those names under which something is in a group.

    Raises
    ------
    IntegrityError : its metadata cannot be read
    """
    try:
        return [name for name in names if name in group]
    except _BROKEN as error:
        raise IntegrityError(f"{group.store_path}: the metadata of what is in it cannot be read: {error}") from error


def array_of(group: zarr.Group, name: str) -> zarr.Array[Any]:
    """Return an array of a group.

    Raises
    ------
    IntegrityError : as `check_array`
    """
    where = f"{group.store_path}/{name}"
    try:
        found = group[name]
    except _BROKEN as error:
        raise IntegrityError(f"{where}: found no array: {error}") from error
    return check_array(found, where=where)


def check_array(array: Any, *, where: str) -> zarr.Array[Any]:
    """Return an array as zarr found it, if cgstore could have written it.

    Raises
    ------
    IntegrityError : it is no array of zarr 3, has codecs, types or chunks that cgstore does not write, or says that
        its numbers are to be scaled or read as text in a way that they cannot be
    """
    problem = _problem(array)
    if problem:
        raise IntegrityError(f"{where}: {problem}; it is damaged, or another program wrote it: copy it with that one")
    return array  # type: ignore[no-any-return]


def _problem(array: Any) -> str | None:
    """Return why an array is refused."""
    if not isinstance(array, zarr.Array) or array.metadata.zarr_format != 3:
        return "found no array of zarr format 3"
    metadata: Any = array.metadata
    grid, key = metadata.chunk_grid, metadata.chunk_key_encoding
    if not isinstance(grid, RegularChunkGrid) or metadata.storage_transformers:
        return "found an irregular grid of chunks, or storage transformers"
    if key.name != "default" or key.separator != "/":
        return "found chunks under other names than c/0/0"
    if np.dtype(array.dtype).kind not in "biuf" or np.dtype(array.dtype).itemsize > 8:
        return f"found numbers of type {str(array.dtype)[:80]}"
    outer, inner, codecs = grid.chunk_shape, grid.chunk_shape, metadata.codecs
    if len(codecs) == 1 and isinstance(codecs[0], ShardingCodec):
        inner, index = codecs[0].chunk_shape, codecs[0].index_codecs
        if [type(codec) for codec in index] != list(_INDEX_CODECS) or codecs[0].index_location.value != "end":
            return "found another index of shards than one with a checksum at the end"
        codecs = codecs[0].codecs
    if strange := [type(codec).__name__ for codec in codecs if type(codec) not in _CODECS]:
        return f"found the codec {strange[0]}"
    if len(codecs) > len(_CODECS) or len(inner) != len(outer):
        return f"found {len(codecs)} codecs for chunks {inner}"
    return _chunk_problem(outer, inner, np.dtype(array.dtype).itemsize) or _attribute_problem(array)


def _chunk_problem(outer: tuple[int, ...], inner: tuple[int, ...], itemsize: int) -> str | None:
    """Return what is wrong with the sizes of shards and chunks."""
    if min((*outer, *inner), default=1) < 1 or any(big % small for big, small in zip(outer, inner, strict=True)):
        return f"found chunks {inner} in shards {outer}"
    if prod(inner) * itemsize > MOST_CHUNK_BYTES or prod(outer) // prod(inner) > _MOST_SLOTS:
        return f"found chunks {inner} in shards {outer}, larger than any that cgstore writes"
    return None


def _attribute_problem(array: zarr.Array[Any]) -> str | None:
    """Return what is wrong with the attributes that say how numbers are decoded."""
    attrs: Any = array.metadata.attributes
    if not isinstance(attrs, dict):
        return "found attributes that are no table"
    scale, kind = attrs.get("scale_factor"), np.dtype(array.dtype)
    if "scale_factor" in attrs and not (
        isinstance(scale, float) and 0 < scale < np.inf and kind in (np.dtype("i2"), np.dtype("i4"))
    ):
        return f"found scale_factor {str(scale)[:80]} for numbers of type {kind}"
    meanings, values = attrs.get("flag_meanings"), attrs.get("flag_values")
    if meanings is None and values is None:
        return None
    if not isinstance(meanings, str) or not isinstance(values, list) or kind not in (np.dtype("i2"), np.dtype("i4")):
        return "found codes of text without their meanings"
    words = meanings.split(" ") if values else []
    if len(words) != len(values) or max(map(len, words), default=0) > _MOST_WORD:
        return (
            f"found {len(values)} codes and {len(words)} meanings of at most {max(map(len, words), default=0)} letters"
        )
    return None


def check_claims(arrays: Iterable[zarr.Array[Any]], blocks: int, stored: int, *, where: str) -> None:
    """Refuse arrays that together claim far more than their files can hold, before they are read whole.

    Parameters
    ----------
    arrays : those that will be read
    blocks : stretches of frames that will be tasks
    stored : bytes of all files of the version or result that they belong to

    Raises
    ------
    IntegrityError : they claim more than 2 GiB and more than 256 times the bytes of the files, or more than 100 000
        blocks and more of them than the files have room for
    """
    claimed = sum(prod(array.shape) * _width(array) for array in arrays)
    if claimed > max(_SMALL, _MOST_EXPANSION * stored):
        raise IntegrityError(f"{where}: its arrays claim {claimed} bytes, its files have {stored}; run verify")
    if blocks > max(_FEW_BLOCKS, stored // _BLOCK_BYTES):
        raise IntegrityError(f"{where}: it claims {blocks} blocks of frames, its files have {stored} bytes; run verify")


def _width(array: zarr.Array[Any]) -> int:
    """Return the bytes of one number, or text, in memory."""
    words = str(array.attrs.asdict().get("flag_meanings", "")).split(" ")
    return max(np.dtype(array.dtype).itemsize, 4 * max(map(len, words)))


def read_zarr(array: zarr.Array[Any], key: Any, *, where: str) -> NDArray[Any]:
    """Read a part of an array through zarr, as its numbers are stored.

    Raises
    ------
    IntegrityError : it cannot be decoded; the message begins with `where`
    """
    try:
        return np.asarray(_hardened(array)[key])
    except (CgstoreError, OSError):
        raise
    except _BROKEN as error:
        raise IntegrityError(f"{where} cannot be decoded: {error}; run verify --deep") from error


def _hardened(array: zarr.Array[Any]) -> zarr.Array[Any]:
    """Return the same array, whose blosc looks at the header of a chunk before the C library trusts it."""
    metadata: Any = array.metadata
    codecs = tuple(_checked(codec) for codec in metadata.codecs)
    own: Any = array._async_array
    return zarr.Array(replace(own, metadata=replace(metadata, codecs=codecs)))


def _checked(codec: Any) -> Any:
    """Return a codec with every blosc in it exchanged."""
    if isinstance(codec, BloscCodec):
        return CheckedBlosc.of(codec)
    if isinstance(codec, ShardingCodec):
        return ShardingCodec(
            chunk_shape=codec.chunk_shape,
            codecs=tuple(map(_checked, codec.codecs)),
            index_codecs=codec.index_codecs,
            index_location=codec.index_location,
        )
    return codec
