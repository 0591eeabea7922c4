"""Block statistics: their lengths, and merging."""

import numpy as np
import pytest
import xarray as xr

from cgstore.averages.blocks import block_length, merge_blocks
from cgstore.errors import InputError


@pytest.mark.parametrize("frames", [1, 255, 256, 257, 688, 10**6])
def test_blocks_are_dyadic_and_never_more_than_256(frames):
    length = block_length(frames)
    assert length & (length - 1) == 0
    assert -(-frames // length) <= 256
    assert length == 1 or frames / (length // 2) > 256


def test_very_many_bins_make_fewer_blocks():
    assert block_length(1024, numbers=10**7) == 64


def blocks_of(values, length):
    """Make a block dataset of one kind and two bins from integers per frame."""
    starts = np.arange(0, len(values), length)
    sums = np.add.reduceat(values, starts, axis=0)
    return xr.Dataset(
        {
            "count": (("block", "pair", "r"), sums[:, None]),
            "sum": (("block", "pair", "r"), sums[:, None].astype(float)),
            "weight": ("block", np.add.reduceat(np.ones(len(values)), starts)),
            "frames": ("block", np.add.reduceat(np.ones(len(values), np.int64), starts)),
            "norm": (("pair", "r"), np.array([[2.0, 4.0]]), {"units": "1", "long_name": "g"}),
            "frame_spacing": ((), 5.0),
        },
        {"pair": ["A-A"], "r": [0.5, 1.5]},
        {"block_length": length, "name": "x/r1/cg"},
    )


def test_merged_parts_are_the_whole_whatever_the_lengths_of_their_blocks():
    values = np.random.default_rng(3).integers(0, 50, (300, 2))
    whole = blocks_of(values, 4)
    parts = [blocks_of(values[:64], 1), blocks_of(values[64:160], 4), blocks_of(values[160:], 2)]
    merged = merge_blocks(parts)
    assert merged.attrs["block_length"] == 4
    xr.testing.assert_identical(merged, whole)
    assert [merged[name].dtype for name in ("count", "frames")] == [np.int64, np.int64]


def test_blocks_of_another_question_do_not_merge():
    values = np.ones((8, 2), np.int64)
    other = blocks_of(values, 1)
    other["norm"] = other["norm"] * 2
    with pytest.raises(InputError, match=r"x/r1/cg: found other kinds, bins or numbers of pairs"):
        merge_blocks([blocks_of(values, 1), other])
