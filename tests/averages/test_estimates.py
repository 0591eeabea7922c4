"""Estimates: error bars of series with known correlation."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import lfilter
from scipy.special import stdtrit

from cgstore.averages.blocks import block_length
from cgstore.averages.estimates import distribution_of_blocks, mean_and_error


def correlated(phi, frames, series, seed):
    """Return AR(1) series of variance one, and the exact standard error of the mean of one."""
    noise = np.random.default_rng(seed).normal(size=(series, frames + 3000))
    x = lfilter([np.sqrt(1 - phi**2)], [1, -phi], noise, axis=1)[:, 3000:]
    lag = np.arange(1, frames)
    return x, np.sqrt((1 + 2 * ((1 - lag / frames) * phi**lag).sum()) / frames)


@pytest.mark.parametrize("frames", [100, 201, 2000])
@pytest.mark.parametrize("part", [0.002, 0.01, 0.02, 0.05])
def test_mean_and_error_cover_the_truth_in_68_percent_of_runs(frames, part):
    phi = np.exp(-1.0 / (part * frames))
    x, exact = correlated(phi, frames, series=1200, seed=frames)
    starts = np.arange(0, frames, block_length(frames))
    sums = np.add.reduceat(10.0 + x, starts, axis=1)
    weight = np.add.reduceat(np.ones(frames), starts)
    estimate = mean_and_error(sums[:, :, None], weight)
    error = estimate.error[:, 0]
    known = np.isfinite(error)
    assert known.mean() > (0.75 if part == 0.05 else 0.9)
    np.testing.assert_array_equal(known, estimate.blocks > 0)
    covered = (np.abs(estimate.mean[known, 0] - 10.0) <= error[known]).mean()
    assert 0.68 - 0.05 - 0.015 < covered < 0.68 + 0.05 + 0.015  # of 1 200 runs, 0.014 is one standard error
    assert np.sqrt((error[known] ** 2).mean()) == pytest.approx(exact, rel=0.3)
    naive = x.std(axis=1, ddof=1) / np.sqrt(frames)
    assert part * frames < 1 or (np.abs(x.mean(axis=1)) <= naive).mean() < 0.6


@pytest.mark.slow
def test_the_table_of_coverages_keeps_what_is_promised():
    path = Path(__file__).parents[2] / "benchmarks" / "coverage.py"
    spec = importlib.util.spec_from_file_location("coverage_table", path)
    module = sys.modules["coverage_table"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    wrong = [row for row in module.table() if row.promised and not 62 < row.coverage < 74]  # 1 is the standard error
    assert wrong == []


def test_a_slow_motion_that_one_bin_of_many_sees_is_in_the_error_of_that_bin():
    random = np.random.default_rng(6)
    slow, _ = correlated(np.exp(-1 / 6), 201, series=400, seed=2)
    rate = np.full((400, 201, 40), 50.0)
    rate[:, :, 7] *= np.exp(0.4 * slow - 0.08)
    counts = random.poisson(rate).astype(float)
    error = mean_and_error(counts, np.ones(201)).error
    noise = np.sqrt(50.0 / 201)
    assert np.sqrt(np.nanmean(error[:, :7] ** 2)) == pytest.approx(noise, rel=0.08)
    spread = counts.mean(axis=1)[:, 7].std()
    assert spread > 2.5 * noise
    assert np.sqrt(np.nanmean(error[:, 7] ** 2)) == pytest.approx(spread, rel=0.2)


@pytest.mark.parametrize("phi", [0.5, 0.8, 0.9])
def test_the_statistical_inefficiency_is_that_of_the_series(phi):
    x, _ = correlated(phi, 256, series=400, seed=8)
    sums = 10 + x.T[None]  # one kind of many bins
    assert mean_and_error(sums, np.ones(256)).inefficiency[0] == pytest.approx((1 + phi) / (1 - phi), rel=0.1)
    alone = mean_and_error(10 + x[:, :, None], np.ones(256)).inefficiency
    assert np.median(alone) == pytest.approx((1 + phi) / (1 - phi), rel=0.3)


@given(seed=st.integers(0, 1000), frames=st.integers(4, 40), scale=st.floats(1e-6, 1e6))
def test_errors_scale_with_values_and_not_with_weights(seed, frames, scale):
    random = np.random.default_rng(seed)
    weight = random.uniform(0.5, 1.5, frames)
    sums = weight[None, :, None] * random.normal(10.0, 1.0, (1, frames, 2))
    plain = mean_and_error(sums, weight)
    for other, factor in ((mean_and_error(scale * sums, weight), scale), (mean_and_error(sums, weight / scale), scale)):
        np.testing.assert_allclose(other.mean, factor * plain.mean, rtol=1e-9)
        np.testing.assert_allclose(other.error, factor * plain.error, rtol=1e-6)


def test_independent_blocks_of_unequal_weight_give_the_textbook_error():
    random = np.random.default_rng(4)
    frames = np.array([8] * 12 + [3])
    x = 5 + random.normal(size=(2000, frames.sum()))
    sums = np.add.reduceat(x, np.concatenate([[0], np.cumsum(frames)[:-1]]), axis=1)
    estimate = mean_and_error(sums[:, :, None], frames)
    np.testing.assert_allclose(estimate.mean[:, 0], x.mean(axis=1), rtol=1e-12)
    known = np.isfinite(estimate.error[:, 0])
    assert known.mean() > 0.85
    independent = known & (estimate.inefficiency == 1.0)
    student = stdtrit(frames.sum() ** 2 / (frames**2).sum() - 1, 0.8413447)
    squares = np.sqrt((estimate.error[independent] ** 2).mean())
    assert squares == pytest.approx(student / np.sqrt(frames.sum()), rel=0.03)


def test_no_error_where_a_bin_was_never_hit_or_too_few_blocks_are_left():
    random = np.random.default_rng(0)
    sums = 1 + random.random((1, 64, 3))
    sums[0, :, 1] = 0
    estimate = mean_and_error(sums, np.ones(64))
    assert np.isfinite(estimate.error[0]).tolist() == [True, False, True]
    assert estimate.mean[0, 1] == 0
    few = mean_and_error(sums[:, :3], np.ones(3))
    assert np.isnan(few.error).all()
    assert few.blocks.tolist() == [0]
    assert np.isfinite(few.mean).all()


def test_a_drift_as_long_as_the_run_has_no_error():
    drift = np.linspace(1, 2, 128)[None, :, None]
    assert np.isnan(mean_and_error(drift, np.ones(128)).error).all()


def test_what_never_varies_has_error_zero():
    estimate = mean_and_error(np.full((1, 32, 1), 7.0), np.ones(32))
    assert estimate.error[0, 0] == 0.0
    assert estimate.mean[0, 0] == 7.0


def test_no_weight_at_all_is_unknown():
    estimate = mean_and_error(np.zeros((1, 8, 2)), np.zeros(8))
    assert np.isnan(estimate.mean).all()
    assert np.isnan(estimate.error).all()


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


def test_the_distribution_is_the_mean_over_its_norm_with_time_in_ps():
    values = np.random.default_rng(3).integers(0, 50, (512, 2))
    blocks = blocks_of(values, 4)
    result = distribution_of_blocks(blocks, name="rdf", count="count")
    np.testing.assert_allclose(result.rdf.values[0], values.mean(axis=0) / [2, 4], rtol=1e-13)
    np.testing.assert_array_equal(result["count"].values[0], values.sum(axis=0))
    np.testing.assert_allclose(result.rdf_error.values[0], values.std(axis=0) / np.sqrt(512) / [2, 4], rtol=0.35)
    assert result.correlation_time.values[0] == pytest.approx(0.5 * 4 * 5.0, rel=0.4)
    assert result.correlation_time.attrs["units"] == "ps"
