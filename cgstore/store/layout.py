"""How a dataset lies on disk: one plain zarr 3 group, arrays in shards of checksummed chunks, text as codes.

Positions are integers on the declared grid (`scale_factor`, nm), lossless float32, or references into XTC files; every
array ends in crc32c, is filled with a value that no sound chunk holds, and names its dims and units, so that
`xr.open_zarr` alone reads it. Two profiles: `fast` has core codecs only, `small` stores steps from frame to frame.

Text is stored as integer codes with the CF attributes `flag_values` and `flag_meanings`. CF separates the meanings
by blanks, so blanks, `%` and what cannot be printed are percent-encoded ("C 1" is `C%201`) and the empty name is a
single `%`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import quote, unquote

import numpy as np
import zarr
from numpy.typing import DTypeLike, NDArray
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, TransposeCodec
from zarr.storage import LocalStore

from cgstore.errors import InputError, IntegrityError, StoreError
from cgstore.schema import SCHEMA, Variable
from cgstore.store.chunks import FRAME_DELTA
from cgstore.store.claims import array_of, no_links, open_zarr
from cgstore.store.codecs import FrameDelta
from cgstore.store.references import XTC_REFERENCES, XtcReferences
from cgstore.store.stopping import StoppableStore
from cgstore.topology import Topology

__all__ = [
    "DIGEST",
    "FORMAT",
    "FRAME_VARIABLES",
    "PROFILES",
    "STATIC_VARIABLES",
    "Layout",
    "array_of",
    "attributes_of",
    "block_frames",
    "check_format",
    "chunk_frames",
    "consolidate",
    "create_group",
    "create_position",
    "decode_text",
    "dims_of",
    "encode_text",
    "fill_value",
    "layout_of",
    "longest_block",
    "open_group",
    "open_stage",
    "plain",
    "put_array",
    "references_of",
    "set_references",
    "shard_frames",
]

FORMAT = 2
PROFILES = ("fast", "small")
DIGEST = "frame_digest"
FRAME_VARIABLES = {variable.name: variable for variable in SCHEMA if variable.dims[0] == "frame"}
STATIC_VARIABLES = {variable.name: variable for variable in SCHEMA if variable.dims[0] != "frame"}

# Sizes are those of int16 positions; int32 and float32 take twice as much. Chunks are what one random frame costs,
# shards are files, blocks are dask tasks: ≥ 8 ms of decoding where the dataset is long enough.
_CHUNK_BYTES = 2**19
_SHARD_BYTES = 2**28
_BLOCK_BYTES = 2**24  # of decoded float32 positions
_MOST_CHUNK_FRAMES = 4096
_MOST_CHUNKS = 256  # in a shard; each takes 16 bytes of its index, also where there is none yet
_FEW_FRAMES = 32
_FEWEST_BLOCKS = 8
_WHOLE_ARRAY_BYTES = 2**26
_SAFE = "!\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~"


@dataclass(frozen=True, slots=True)
class Layout:
    """What a dataset holds besides its topology: which per-frame variables, on which grid, in pieces of which size."""

    particles: int
    variables: tuple[str, ...]  # without the frame digests
    precision: float | None  # nm; None: lossless float32
    chunk: int  # frames, of positions
    profile: str = "fast"
    references: XtcReferences | None = None  # the codec of positions that stay in their files


def chunk_frames(particles: int, profile: str = "fast") -> int:
    """Return the frames in a chunk: the largest power of two that keeps int16 positions within 0.5 MiB.

    Within 1 MiB when that is few frames: with frames innermost, 8 frames of a bilayer with water take 6 % fewer bytes
    than 4 (3.93 and 4.18 bytes per particle), 256 frames of beads hardly fewer than 128 (3.53 and 3.59). Twice as many
    where size counts most.

    >>> chunk_frames(222), chunk_frames(13273), chunk_frames(13273, "small"), chunk_frames(1_000_000)
    (256, 8, 16, 1)
    """
    frames = _power_of_two(_CHUNK_BYTES // (6 * particles), _MOST_CHUNK_FRAMES)
    if frames <= _FEW_FRAMES:
        frames = _power_of_two(2 * _CHUNK_BYTES // (6 * particles), _MOST_CHUNK_FRAMES)
    return 2 * frames if profile == "small" else frames


def shard_frames(particles: int, chunk: int) -> int:
    """Return the frames in a shard of positions: up to 256 chunks and up to 256 MiB of int16 positions.

    A million frames of a bilayer with water are 489 files of about 110 MB.

    >>> shard_frames(222, 256), shard_frames(13273, 8), shard_frames(1_000_000, 1)
    (65536, 2048, 32)
    """
    return chunk * _power_of_two(_SHARD_BYTES // (6 * particles * chunk), _MOST_CHUNKS)


def longest_block(particles: int, chunk: int) -> int:
    """Return the frames that are read at once where there are enough: at most 16 MiB of float32 positions.

    Arrays without particles have chunks of this length, so that a million times are not a million reads.

    >>> longest_block(222, 256), longest_block(13273, 8), longest_block(1_000_000, 1)
    (4096, 64, 1)
    """
    return chunk * _power_of_two(_BLOCK_BYTES // (12 * particles * chunk), _MOST_CHUNK_FRAMES)


def block_frames(particles: int, chunk: int, frames: int) -> int:
    """Return the frames in a dask chunk: a power of two times the chunk, at least 8 blocks where that is possible.

    >>> block_frames(222, 256, 2000), block_frames(222, 256, 10**6), block_frames(13273, 8, 360)
    (256, 4096, 32)
    """
    return chunk * _power_of_two(min(longest_block(particles, chunk), frames // _FEWEST_BLOCKS) // chunk, 2**40)


def _power_of_two(limit: int, most: int) -> int:
    """Return the largest power of two that is at most `limit` and `most`, at least 1."""
    return 1 << (max(1, min(limit, most)).bit_length() - 1)


def encode_text(values: NDArray[np.str_]) -> tuple[NDArray[np.signedinteger], dict[str, Any]]:
    """Return codes into the sorted distinct texts, and the CF attributes that explain them.

    >>> codes, attrs = encode_text(np.array(["CH3", "", "C 1", "CH3"]))
    >>> codes.tolist(), attrs
    ([2, 0, 1, 2], {'flag_values': [0, 1, 2], 'flag_meanings': '% C%201 CH3'})
    """
    names, codes = np.unique(np.asarray(values, np.str_), return_inverse=True)
    dtype = np.int16 if len(names) <= np.iinfo(np.int16).max else np.int32
    meanings = " ".join(quote(str(name), safe=_SAFE) or "%" for name in names)
    attrs = {"flag_values": list(range(len(names))), "flag_meanings": meanings}
    return codes.reshape(np.shape(values)).astype(dtype), attrs


def decode_text(codes: NDArray[np.signedinteger], attrs: Mapping[str, Any]) -> NDArray[np.str_]:
    """Return the texts of the codes; the inverse of `encode_text`.

    >>> decode_text(*encode_text(np.array(["CH3", "", "C 1"]))).tolist()
    ['CH3', '', 'C 1']
    """
    words = attrs["flag_meanings"].split(" ") if attrs["flag_values"] else []
    names = ["" if word == "%" else unquote(word) for word in words]
    if codes.size and not 0 <= codes.min() <= codes.max() < max(1, len(names)):
        raise IntegrityError(f"found codes of text from {codes.min()} to {codes.max()}, there are {len(names)} texts")
    return np.asarray(np.array(names or [""], np.str_)[codes])


def fill_value(dtype: DTypeLike) -> Any:
    """Return the value that stands for a lost chunk: NaN, the smallest signed or the largest unsigned integer.

    >>> fill_value("int16"), fill_value("uint8"), fill_value("float32"), fill_value("bool")
    (-32768, 255, nan, False)
    """
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return float("nan")
    if kind.kind == "b":
        return False
    limits = np.iinfo(kind)
    return int(limits.max if kind.kind == "u" else limits.min)


def plain(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes as plain JSON data; NumPy scalars and arrays become numbers and lists.

    Raises
    ------
    InputError : a value has no JSON form (NaN included)
    """
    try:
        text = json.dumps(dict(attrs), allow_nan=False, default=_json)
    except (TypeError, ValueError) as error:
        raise InputError(f"attributes {sorted(attrs)}: found a value that JSON cannot hold: {error}") from error
    return dict(json.loads(text))


def _json(value: Any) -> Any:
    """Turn NumPy data into Python's."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} {value!r}")


def open_group(folder: Path) -> zarr.Group:
    """Open the zarr group in a local folder, for reading only; see `claims` for what is refused."""
    no_links(folder, where=str(folder))
    return open_zarr(LocalStore(folder, read_only=True), where=str(folder))


def open_stage(store: StoppableStore) -> zarr.Group:
    """Open the zarr group in a staged folder, for writing."""
    return open_zarr(store, where=str(store.root), writing=True)


def consolidate(folder: Path) -> None:
    """Gather the metadata of all arrays and groups in the zarr.json of the group: the last step before publishing.

    As `zarr.consolidate_metadata`, without its warning, which can only be silenced for all threads at once.
    """
    root = folder / "zarr.json"
    own = json.loads(root.read_bytes())
    files = sorted(path for path in folder.rglob("zarr.json") if path != root)
    inside = {path.parent.relative_to(folder).as_posix(): json.loads(path.read_bytes()) for path in files}
    own["consolidated_metadata"] = {"kind": "inline", "must_understand": False, "metadata": inside}
    root.write_text(json.dumps(own, indent=2), encoding="utf-8")


def attributes_of(stored: zarr.Array[Any] | zarr.Group) -> dict[str, Any]:
    """Return the attributes of an array or group as plain data."""
    return cast("dict[str, Any]", stored.attrs.asdict())


def dims_of(array: zarr.Array[Any]) -> tuple[str, ...]:
    """Return the names of the dims of an array."""
    return cast("tuple[str, ...]", cast(Any, array.metadata).dimension_names or ())


def check_format(attrs: Mapping[str, Any], *, where: str) -> None:
    """Refuse what a newer cgstore, or no cgstore, wrote.

    Raises
    ------
    StoreError : the attribute `cgstore_format` is missing or newer than this version knows
    """
    found = attrs.get("cgstore_format")
    if not isinstance(found, int) or found > FORMAT:
        raise StoreError(f"{where}: found cgstore_format {found!r}, expected at most {FORMAT}; update cgstore")


def create_group(store: StoppableStore, topology: Topology, layout: Layout, *, position_dtype: DTypeLike) -> zarr.Group:
    """Make the group of a new dataset: the static arrays filled, the per-frame arrays without frames."""
    group = zarr.create_group(store, zarr_format=3)
    for name, values in topology.arrays().items():
        variable = STATIC_VARIABLES[name]
        put_array(group, name, values, variable.dims, _attributes(variable))
    create_position(group, layout, position_dtype)
    for name in layout.variables:
        if name != "position":
            variable = FRAME_VARIABLES[name]
            _create_frames(group, name, variable.dtype, variable.dims, layout, _attributes(variable))
    attrs = {"long_name": "leading 64 bits of the SHA-256 of what a reader sees of the frame"}
    _create_frames(group, DIGEST, "uint64", ("frame",), layout, attrs)
    return group


def layout_of(group: zarr.Group) -> Layout:
    """Return the layout of a stored dataset, whatever cgstore would choose today."""
    position = array_of(group, "position")
    if position.ndim != 3 or not position.shards:
        raise IntegrityError(f"{group.store_path}: found positions of shape {position.shape} in no shards; run verify")
    inner = [codec["name"] for codec in _codecs_of(position)]
    return Layout(
        particles=int(position.shape[1]),
        variables=tuple(name for name in FRAME_VARIABLES if name in group),
        precision=attributes_of(position).get("scale_factor"),
        chunk=position.chunks[0],
        profile="small" if FRAME_DELTA in inner else "fast",
        references=references_of(position),
    )


def references_of(array: zarr.Array[Any]) -> XtcReferences | None:
    """Return the codec of positions that stay in their files; None for an array that is stored."""
    first = _codecs_of(array)[0]
    return XtcReferences.from_dict(first) if first["name"] == XTC_REFERENCES else None


def set_references(folder: Path, references: XtcReferences) -> None:
    """Replace the codec of referenced positions in the metadata of a staged group."""
    file = folder / "position" / "zarr.json"
    metadata = json.loads(file.read_bytes())
    codecs = metadata["codecs"][0]["configuration"]["codecs"]
    metadata["codecs"][0]["configuration"]["codecs"] = [references.to_dict(), *codecs[1:]]
    file.write_text(json.dumps(metadata, indent=2), encoding="utf-8")


def _codecs_of(array: zarr.Array[Any]) -> list[dict[str, Any]]:
    """Return the codecs inside the shards of an array, as its metadata name them."""
    metadata: Any = array.metadata
    (sharding,) = metadata.to_dict()["codecs"] if array.shards else [{}]
    return [dict(codec) for codec in sharding.get("configuration", {}).get("codecs", [{"name": ""}])]


def create_position(group: zarr.Group, layout: Layout, dtype: DTypeLike) -> zarr.Array[Any]:
    """Make the array of positions without frames: integers on a grid, or float32 when there is none."""
    variable = FRAME_VARIABLES["position"]
    attrs = {**_attributes(variable), "rounding_error": 0.0}
    if layout.precision is not None and layout.references is None:
        attrs |= {"scale_factor": layout.precision, "_FillValue": fill_value(dtype)}
    return _create_frames(group, "position", dtype, variable.dims, layout, attrs)


def _attributes(variable: Variable) -> dict[str, Any]:
    """Return what plain xarray should know about a variable of the schema."""
    units = {"units": variable.unit} if variable.unit else {}
    return {"long_name": variable.meaning, **units}


def _create_frames(
    group: zarr.Group, name: str, dtype: DTypeLike, dims: tuple[str, ...], layout: Layout, attrs: dict[str, Any]
) -> zarr.Array[Any]:
    """Make a per-frame array; those with particles share their chunks, and so do those without."""
    trailing = tuple(layout.particles if dim == "particle" else 3 for dim in dims[1:])
    kind = np.dtype(dtype)
    chunk = layout.chunk
    if "particle" in dims:
        shard = shard_frames(layout.particles, chunk)
        filters, serializer, compressors = _particle_codecs(name, kind, layout)
    else:
        chunk = longest_block(layout.particles, chunk)
        shard = chunk * _MOST_CHUNKS
        filters, serializer = [], BytesCodec()
        blosc = BloscCodec(cname="zstd", clevel=5, shuffle="shuffle", typesize=kind.itemsize)
        # Digests do not compress.
        compressors = [Crc32cCodec()] if name == DIGEST else [blosc, Crc32cCodec()]
    return group.create_array(
        name,
        shape=(0, *trailing),
        dtype=kind,
        chunks=(chunk, *trailing),
        shards=(shard, *trailing),
        filters=filters,
        serializer=serializer,
        compressors=compressors,
        fill_value=fill_value(kind),
        attributes=attrs,
        dimension_names=dims,
        config={"write_empty_chunks": True},
    )


def _particle_codecs(variable: str, kind: np.dtype[Any], layout: Layout) -> tuple[list[Any], Any, list[Any]]:
    """Return filters, serializer and compressors of an array with particles."""
    if variable == "position" and layout.references is not None:
        blosc = BloscCodec(cname="zstd", clevel=3, shuffle="shuffle", typesize=8)
        return [], layout.references, [blosc, Crc32cCodec()]
    small = layout.profile == "small"
    # After the bits are shuffled lz4 takes 4 % more bytes than zstd, and is read twice and written three times as fast.
    packed: tuple[Literal["zstd", "lz4"], int] = ("zstd", 5) if small else ("lz4", 9)
    blosc = BloscCodec(cname=packed[0], clevel=packed[1], shuffle="bitshuffle", typesize=kind.itemsize)
    # Frames innermost: neighbours in memory are the same coordinate at successive times, 12 % smaller.
    filters = [TransposeCodec(order=(1, 2, 0)), *([FrameDelta()] if small else [])]
    return filters, BytesCodec(), [blosc, Crc32cCodec()]


def put_array(group: zarr.Group, name: str, values: NDArray[Any], dims: tuple[str, ...], attrs: dict[str, Any]) -> None:
    """Write a whole array of numbers or text into a group, in one chunk unless it is large."""
    if values.dtype.kind in "UOT":
        values, flags = encode_text(values)
        attrs = {**attrs, **flags}
    chunks = tuple(max(1, size) for size in values.shape)
    if values.nbytes > _WHOLE_ARRAY_BYTES:
        chunks = (max(1, values.shape[0] * _WHOLE_ARRAY_BYTES // values.nbytes), *chunks[1:])
    array = group.create_array(
        name,
        shape=values.shape,
        dtype=values.dtype,
        chunks=chunks,
        compressors=[BloscCodec(cname="zstd", clevel=5, shuffle="shuffle"), Crc32cCodec()],
        fill_value=fill_value(values.dtype),
        attributes=attrs,
        dimension_names=dims,
        config={"write_empty_chunks": True},
    )
    if values.size:
        array[...] = values
