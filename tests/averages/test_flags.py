"""Flags: runs with a known fault are told from runs without."""

import dask
import numpy as np
import pytest
import xarray as xr
from scipy.signal import lfilter

from cgstore.averages.estimates import distribution_of_blocks
from cgstore.averages.flags import FLAGS, flags_of_blocks, warnings_of

BINS = 40


def blocks_of(counts, *, spacing=2.0, length=1):
    """Make a block dataset from counts (frame, kind, bin), weights one."""
    starts = np.arange(0, len(counts), length)
    sums = np.add.reduceat(counts, starts, axis=0)
    frames = np.add.reduceat(np.ones(len(counts), np.int64), starts)
    attrs = {"units": "1", "long_name": "g"}
    return xr.Dataset(
        {
            "count": (("block", "pair", "r"), sums),
            "sum": (("block", "pair", "r"), sums.astype(float)),
            "weight": ("block", frames.astype(float)),
            "frames": ("block", frames),
            "norm": (("pair", "r"), np.ones(counts.shape[1:]), attrs),
            "frame_spacing": ((), spacing),
        },
        {"pair": [f"K{k}" for k in range(counts.shape[1])]},
        {"block_length": length, "name": "x/r1/cg"},
    )


def liquid(frames, kinds, seed, *, time=0.0, mean=30.0):
    """Return Poisson counts (frame, kind, bin) whose rate follows one slow motion per kind."""
    random = np.random.default_rng(seed)
    phi = np.exp(-1 / time) if time else 0.0
    noise = random.normal(size=(frames, kinds, 1))
    noise[1:] *= np.sqrt(1 - phi**2)
    slow = lfilter([1.0], [1.0, -phi], noise, axis=0)
    return random.poisson(mean * np.exp(0.1 * slow * np.linspace(-1, 1, BINS)))


@pytest.mark.parametrize("length", [1, 8])
def test_a_lattice_as_the_first_frame_is_caught(length):
    counts = liquid(200 * length, 3, seed=1)
    lattice = np.zeros(BINS, np.int64)
    lattice[::8] = 8 * 30  # the same number of pairs, in shells
    counts[0] = lattice
    flags = flags_of_blocks(blocks_of(counts, length=length))
    assert flags.equilibration_frames.values.tolist() == [length] * 3
    assert flags.equilibration.values.tolist() == [2.0 * length] * 3
    np.testing.assert_array_less(np.abs(flags.drift), 4)
    (line,) = warnings_of(flags, "rdf of x")
    assert line.startswith(
        f"rdf of x: the start differs from the rest in K0, K1, K2; leave out the first {2 * length} ps"
    )


def test_without_times_the_frames_are_told():
    counts = liquid(201, 1, seed=2)
    counts[0] *= 5
    flags = flags_of_blocks(blocks_of(counts, spacing=0.0))
    assert np.isnan(flags.equilibration[0])
    (line,) = warnings_of(flags, "x")
    assert "leave out the first 1 frame, with" in line


@pytest.mark.parametrize("time", [0.0, 2.0, 10.0])
def test_stationary_liquids_are_not_flagged(time):
    flags = flags_of_blocks(blocks_of(liquid(201, 100, seed=3, time=time)))
    assert (flags.equilibration_frames > 0).mean() <= 0.03
    assert (np.abs(flags.drift) > 5).mean() <= 0.03
    assert flags.short.mean() <= 0.03


def test_a_drift_is_told_with_its_sign():
    up = 1 + 0.1 * np.linspace(-1, 1, 256)[:, None] * np.exp(-0.5 * ((np.arange(BINS) - 10) / 4) ** 2)
    shape = 30 + 300 * np.exp(-0.5 * ((np.arange(BINS) - 10) / 4) ** 2)
    rate = np.stack([shape * up, shape * up[::-1], np.broadcast_to(shape, up.shape)], axis=1)
    flags = flags_of_blocks(blocks_of(np.random.default_rng(4).poisson(rate)))
    assert flags.drift[0] > 6
    assert flags.drift[1] < -6
    assert abs(flags.drift[2]) < 4
    drifting = [line for line in warnings_of(flags, "x") if "drift" in line]
    assert all("K0, K1" in line or "the start" in line for line in drifting)


def test_a_run_as_long_as_its_correlation_is_short():
    ramp = np.linspace(0.9, 1.1, 200)[:, None, None] * np.ones((1, BINS))
    counts = np.random.default_rng(5).poisson(1e5 * ramp)
    flags = flags_of_blocks(blocks_of(counts))
    assert flags.short.values.tolist() == [True]
    assert flags.effective_frames[0] < 4
    assert any("too short to know the errors of K0" in line for line in warnings_of(flags, "x"))
    assert flags_of_blocks(blocks_of(counts[:6])).drift.isnull().all()


def test_gaps_between_sampled_bins_are_counted_and_ends_are_not():
    counts = liquid(64, 2, seed=6)
    counts[:, 0, [0, 1, 5, 9]] = 0
    flags = flags_of_blocks(blocks_of(counts))
    assert flags.unsampled.values.tolist() == [2, 0]
    assert flags.unsampled_fraction.values.tolist() == [4 / BINS, 0.0]
    assert "2 bins between sampled ones never hit, in K0" in warnings_of(flags, "x")[0]


def test_effective_frames_follow_the_weights():
    blocks = blocks_of(liquid(64, 1, seed=7))
    heavy = np.where(np.arange(64) < 32, 1.0, 1e-9)
    flags = flags_of_blocks(
        blocks.assign(weight=("block", heavy), sum=blocks["sum"] * xr.DataArray(heavy, dims="block"))
    )
    assert 16 < float(flags.effective_frames[0]) <= 32.001


def test_no_kinds_and_no_hits_are_unknown_without_warnings():
    empty = blocks_of(np.zeros((32, 0, BINS), np.int64))
    assert flags_of_blocks(empty).sizes == {"pair": 0}
    assert warnings_of(flags_of_blocks(empty), "x") == []
    never = flags_of_blocks(blocks_of(np.zeros((32, 1, BINS), np.int64)))
    assert np.isnan([never[name].values[0] for name in ("drift", "equilibration", "effective_frames")]).all()
    assert warnings_of(never, "x") == []


@pytest.mark.parametrize(("count", "prefix"), [("count", ""), ("rdf_count", "rdf_")])
def test_distributions_carry_their_flags_and_stay_lazy(count, prefix):
    counts = liquid(128, 2, seed=8)
    counts[0] *= 3
    blocks = blocks_of(counts)
    with dask.config.set(scheduler=lambda *_a, **_k: pytest.fail("computed too early")):
        lazy = distribution_of_blocks(blocks.chunk(block=32), name="rdf", count=count)
    assert all(lazy[f"{prefix}{name}"].attrs.keys() == {"units", "long_name"} for name in FLAGS)
    whole = distribution_of_blocks(blocks, name="rdf", count=count)
    xr.testing.assert_identical(lazy.compute(), whole)
    assert len(warnings_of(whole, "x", prefix=prefix)) == 1
