"""Estimates: error bars of series with known correlation."""

import numpy as np
import pytest
import xarray as xr
from scipy.signal import lfilter

from cgstore.averages.estimates import distribution_of_blocks, mean_and_error


def correlated(phi, frames, series, seed):
    """Return AR(1) series of variance one, and the exact standard error of the mean of one."""
    noise = np.random.default_rng(seed).normal(size=(series, frames + 3000))
    x = lfilter([np.sqrt(1 - phi**2)], [1, -phi], noise, axis=1)[:, 3000:]
    lag = np.arange(1, frames)
    return x, np.sqrt((1 + 2 * ((1 - lag / frames) * phi**lag).sum()) / frames)


@pytest.mark.parametrize(
    ("phi", "length"),
    [(0.0, 1), (0.5, 1), (0.8, 1), (0.9, 4), (0.98, 8), (0.99, 16)],
)
def test_error_bars_of_a_series_with_known_correlation_are_right(phi, length):
    x, exact = correlated(phi, 128 * length, series=300, seed=int(1000 * phi))
    sums = 10.0 * length + x.reshape(300, 128, length).sum(axis=2)
    estimate = mean_and_error(sums[:, :, None], np.full(128, length))
    known = np.isfinite(estimate.error[:, 0])
    assert known.mean() > 0.95
    ratio = np.sqrt((estimate.error[known] ** 2).mean()) / exact
    assert 0.9 < ratio < 1.15
    within = np.abs(estimate.mean[known] - 10.0) < 2 * estimate.error[known]
    assert within.mean() > 0.85  # 95 % for a known error; these are known to about 20 % themselves
    naive = np.sqrt(sums.var(axis=1, ddof=1) / 128).mean() / length
    assert phi == 0 or naive < 0.8 * exact


@pytest.mark.parametrize("phi", [0.5, 0.8, 0.9])
def test_the_statistical_inefficiency_is_that_of_the_series(phi):
    x, _ = correlated(phi, 128, series=400, seed=8)
    estimate = mean_and_error(10 + x.reshape(10, 40, 128).transpose(0, 2, 1), np.ones(128))
    assert estimate.inefficiency.mean() == pytest.approx((1 + phi) / (1 - phi), rel=0.2)


def test_independent_blocks_of_unequal_weight_give_the_textbook_error():
    random = np.random.default_rng(4)
    frames = np.array([8] * 12 + [3])
    x = 5 + random.normal(size=(2000, frames.sum()))
    sums = np.add.reduceat(x, np.concatenate([[0], np.cumsum(frames)[:-1]]), axis=1)
    estimate = mean_and_error(sums[:, :, None], frames)
    np.testing.assert_allclose(estimate.mean[:, 0], x.mean(axis=1), rtol=1e-12)
    assert np.isfinite(estimate.error).mean() > 0.9
    assert np.sqrt(np.nanmean(estimate.error**2)) == pytest.approx(1 / np.sqrt(frames.sum()), rel=0.06)


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
