"""Sizes, text and attributes on disk."""

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from cgstore.errors import InputError, StoreError
from cgstore.store.layout import (
    FORMAT,
    PROFILES,
    block_frames,
    check_format,
    chunk_frames,
    consolidate,
    decode_text,
    encode_text,
    fill_value,
    longest_block,
    plain,
    put_array,
    shard_frames,
)


@given(st.integers(1, 2_000_000), st.integers(1, 10**7), st.sampled_from(PROFILES))
def test_chunks_blocks_and_shards_nest_and_keep_within_their_bytes(particles, frames, profile):
    chunk = chunk_frames(particles, profile)
    shard, longest = shard_frames(particles, chunk), longest_block(particles, chunk)
    block = block_frames(particles, chunk, frames)
    for size in (chunk, shard, block, longest):
        assert size & (size - 1) == 0
    assert shard % chunk == longest % block == block % chunk == 0
    assert chunk <= 2 or 6 * particles * chunk <= 2**21
    assert shard == chunk or 6 * particles * shard <= 2**28
    assert longest == chunk or 12 * particles * longest <= 2**24


@given(st.integers(30, 80_000))
def test_chunks_of_usual_systems_are_a_quarter_to_one_mebibyte_and_shards_at_least_sixteen(particles):
    chunk = chunk_frames(particles)
    assert 2**18 <= 6 * particles * chunk <= 2**20
    assert shard_frames(particles, chunk) * 6 * particles >= 2**24


@given(st.integers(30, 80_000), st.sampled_from(PROFILES))
def test_a_million_frames_are_hundreds_of_files_for_each_hundred_gigabytes(particles, profile):
    chunk = chunk_frames(particles, profile)
    positions = 10**6 / shard_frames(particles, chunk)
    series = 10**6 / (longest_block(particles, chunk) * 256)
    assert positions <= 64 + 2**10 * (6e6 * particles / 1e11)
    assert series <= 2**9


def test_a_short_dataset_still_has_several_blocks():
    assert 2000 // block_frames(222, 256, 2000) >= 7
    assert 344 // block_frames(13273, 8, 344) >= 8


@given(st.lists(st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=6), min_size=1))
def test_any_text_survives_and_the_meanings_are_words_separated_by_blanks(texts):
    values = np.array(texts, np.str_)
    codes, attrs = encode_text(values)
    words = attrs["flag_meanings"].split()
    assert len(words) == len(attrs["flag_values"]) == len(set(texts))
    assert attrs["flag_meanings"].isascii()
    assert decode_text(codes, attrs).tolist() == texts


def test_usual_names_are_their_own_meaning():
    names = ["C13", "O5'", "H1*", "NA+", "C_a", "W"]
    assert set(encode_text(np.array(names))[1]["flag_meanings"].split()) == set(names)


def test_no_text_at_all_survives():
    assert decode_text(*encode_text(np.empty(0, np.str_))).shape == (0,)


def test_fill_values_are_values_that_no_sound_chunk_holds():
    assert fill_value(np.int16) == -32768
    assert fill_value(np.uint64) == 2**64 - 1
    assert np.isnan(fill_value(np.float64))


def test_numpy_attributes_become_plain_ones_and_what_json_cannot_hold_is_refused():
    attrs = {"t": np.float64(2.5), "n": np.int32(3), "a": np.arange(2), "s": ("x",)}
    assert plain(attrs) == {"t": 2.5, "n": 3, "a": [0, 1], "s": ["x"]}
    for wrong in (float("nan"), object(), {1, 2}):
        with pytest.raises(InputError, match="JSON"):
            plain({"x": wrong})


def test_a_newer_format_is_refused():
    check_format({"cgstore_format": 1}, where="x")
    with pytest.raises(StoreError, match="update cgstore"):
        check_format({"cgstore_format": FORMAT + 1}, where="x")
    with pytest.raises(StoreError, match="None"):
        check_format({}, where="x")


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
def test_consolidated_metadata_are_those_that_zarr_would_write(tmp_path):
    root = zarr.create_group(tmp_path, attributes={"β": 1})
    for path in ("", "rdf", "bonded/bond"):
        group = root.require_group(path) if path else root
        put_array(group, "r", np.arange(3.0), ("r",), {"units": "nm"})
        put_array(group, "pair", np.array(["A-B", ""]), ("pair",), {})
    consolidate(tmp_path)
    ours = zarr.open_group(tmp_path, mode="r", use_consolidated=True)
    members = {name: member.metadata for name, member in ours.members(max_depth=None)}
    zarr.consolidate_metadata(tmp_path)
    theirs = zarr.open_group(tmp_path, mode="r", use_consolidated=True)
    expected = {name: member.metadata for name, member in theirs.members(max_depth=None)}
    assert list(members) == list(expected)
    assert repr(members) == repr(expected)  # NaN is not equal to itself
    assert ours.attrs.asdict() == {"β": 1}
