"""Chunks and shards made and read without zarr: the same bytes and the same numbers as with it."""

import json
from unittest.mock import patch

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, TransposeCodec

from cgstore.errors import IntegrityError
from cgstore.store import layout
from cgstore.store.chunks import chain_of, decode_chunk, encode_chunk
from cgstore.store.codecs import FrameDelta
from cgstore.store.decoding import stored_array
from cgstore.store.integrity import verify, version_folder
from cgstore.store.opening import open_version
from cgstore.store.shards import shard_index, split_chunks
from cgstore.store.versions import stage


def zarr_array(folder, dtype, *, particles: int, small: bool, turned: bool = True) -> zarr.Array:
    shuffle = "bitshuffle" if turned else "shuffle"
    blosc = BloscCodec(cname="zstd", clevel=3, shuffle=shuffle, typesize=np.dtype(dtype).itemsize)
    filters = [TransposeCodec(order=(1, 2, 0)), *([FrameDelta()] if small else [])] if turned else []
    return zarr.create_array(
        folder,
        shape=(0, particles, 3),
        dtype=dtype,
        chunks=(4, particles, 3),
        shards=(16, particles, 3),
        filters=filters,
        serializer=BytesCodec(),
        compressors=[blosc, Crc32cCodec()],
        fill_value=layout.fill_value(dtype),
        config={"write_empty_chunks": True},
    )


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(["int16", "int32", "float32"]),
    st.booleans(),
    st.integers(1, 40),
    st.integers(1, 9),
    st.integers(0, 2**32 - 1),
)
def test_shards_are_those_that_zarr_writes_to_the_byte(tmp_path_factory, dtype, small, frames, particles, seed):
    rng = np.random.default_rng(seed)
    limits = np.iinfo(dtype if dtype != "float32" else "int32")
    values = rng.integers(limits.min + 1, limits.max, (frames, particles, 3), endpoint=True)
    if dtype == "float32":
        values = values.astype(np.float32) / 3
    folder = tmp_path_factory.mktemp("array")
    array = zarr_array(folder, dtype, particles=particles, small=small)
    array.resize((frames, particles, 3))
    array[...] = values.astype(dtype)
    chain = chain_of(json.loads((folder / "zarr.json").read_bytes()))
    assert chain.differences == small
    for shard in range(-(-frames // 16)):
        part = values[16 * shard : 16 * (shard + 1)]
        chunks = [encode_chunk(part[start : start + 4], chain) for start in range(0, len(part), 4)]
        ours = b"".join(chunks) + shard_index([len(chunk) for chunk in chunks], slots=4)
        assert ours == (folder / f"c/{shard}/0/0").read_bytes()
        assert split_chunks(ours, slots=4)[: len(chunks)] == chunks
        for number, chunk in enumerate(chunks):
            count = min(4, len(part) - 4 * number)
            back = np.empty((count - count // 2, particles, 3), dtype)
            assert not decode_chunk(chunk, chain, first=count // 2, values=back)
            assert np.array_equal(back, part[4 * number + count // 2 : 4 * number + count].astype(dtype))
    assert np.array_equal(zarr.open_array(folder)[...], values.astype(dtype))


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_any_flipped_bit_of_a_shard_is_an_error_and_never_a_number(tmp_path_factory, make, data):
    dataset = tmp_path_factory.mktemp("store") / "a" / "r1" / "cg"
    with patch.multiple(layout, _CHUNK_BYTES=36, _SHARD_BYTES=288):
        make.publish(dataset, make.frames(7))
    folder = version_folder(dataset, 1)
    path = folder / "position/c/0/0/0"
    content = bytearray(path.read_bytes())
    bit = data.draw(st.integers(0, 8 * len(content) - 1))
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match="position"):
        open_version(folder).position.values  # noqa: B018


def test_an_index_that_points_outside_of_its_file_is_refused_before_anything_is_read():
    for sizes in ([2**63, 3], [2**40]):
        with pytest.raises(ValueError, match="outside"):
            split_chunks(b"x" * 5 + shard_index(sizes, slots=2), slots=2)
    with pytest.raises(ValueError, match="damaged"):
        split_chunks(b"", slots=2)


@pytest.mark.parametrize("precision", [0.001, None])
@pytest.mark.parametrize("extra", [("box",), ("box", "velocity", "force")])
def test_the_small_profile_holds_the_same_frames_and_plain_xarray_opens_it(
    make, dataset, precision, extra, small_shards
):
    frames = make.frames(21, extra=extra)
    with stage(dataset) as staged:
        staged.create(make.topology(), frames, precision=precision, attrs={}, profile="small")
        staged.append(frames[:12])
        small = staged.publish()
    with stage(dataset, base=1) as staged:
        staged.append(frames[12:])
        small = staged.publish()
    assert small.digest == make.publish(dataset.parent / "fast", frames, precision=precision).digest
    for ds in (open_version(version_folder(dataset, 2)), xr.open_zarr(version_folder(dataset, 2))):
        for name, array in frames.arrays().items():
            if array is not None:
                assert np.allclose(ds[name].values, array, rtol=3e-7, atol=0), name
    assert verify(dataset.parents[2], deep=True) == []
    group = zarr.open_group(version_folder(dataset, 2), mode="r")
    for name in ("position", *extra[1:]):
        assert FrameDelta() in group[name].metadata.codecs[0].codecs


def test_particles_that_move_little_take_fewer_bytes_in_the_small_profile(make, dataset):
    rng = np.random.default_rng(3)
    frames = make.frames(512, particles=300)
    walk = rng.integers(-2000, 2000, (1, 300, 3)) + rng.normal(0, 40, (512, 300, 3)).cumsum(axis=0)
    frames.position[:] = np.rint(walk).astype(np.float32) * np.float32(0.001)
    sizes = {}
    for profile in layout.PROFILES:
        with stage(dataset.parent / profile) as staged:
            staged.create(make.topology(300), frames, precision=0.001, attrs={}, profile=profile)
            staged.append(frames)
            files = staged.publish().files
        sizes[profile] = sum(entry["size"] for path, entry in files.items() if path.startswith("position/c/"))
    assert sizes["small"] < 0.9 * sizes["fast"] < 0.6 * frames.position.nbytes


@pytest.mark.parametrize(
    "key",
    [
        3,
        -1,
        slice(2, 9),
        slice(None, None, 3),
        slice(8, 2),
        (slice(1, 5), 2),
        (..., 0),
        ...,
        [7, 1, 10, 7],
        np.int64(4),
        slice(0, 11, 10),
    ],
)
def test_parts_are_those_of_numpy_with_and_without_zarr(make, dataset, small_shards, key):
    frames = make.frames(11)
    make.publish(dataset, frames)
    group = zarr.open_group(version_folder(dataset, 1), mode="r")
    stored = stored_array(group, "position", where="x")
    assert stored.local is not None
    assert np.array_equal(stored[key], frames.position[key])
    assert np.array_equal(
        stored_array(group, "time", where="x")[key if not isinstance(key, tuple) else key[:1]],
        frames.time[key if not isinstance(key, tuple) else key[:1]],
    )


def test_an_array_of_another_program_is_read_through_zarr(tmp_path):
    group = zarr.create_group(tmp_path)
    values, pieces = np.ones((4, 2, 3), np.float32), {"chunks": (2, 2, 3), "shards": (4, 2, 3)}
    group.create_array("position", data=values, compressors=BloscCodec(), **pieces)
    group.create_array("velocity", data=values, **pieces)
    stored = stored_array(zarr.open_group(tmp_path, mode="r"), "position", where="x")
    assert stored.local is None
    assert np.array_equal(stored[1:3], np.ones((2, 2, 3)))
    with pytest.raises(IntegrityError, match="velocity: found the codec ZstdCodec"):
        stored_array(zarr.open_group(tmp_path, mode="r"), "velocity", where="x")
