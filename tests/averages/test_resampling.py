"""Resampling: closed forms, and agreement of three ways to the same error."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from cgstore.averages.blocks import merge_blocks
from cgstore.averages.estimates import distribution_of_blocks, mean_and_error
from cgstore.averages.resampling import (
    bootstrap,
    choose_blocks,
    covariance_of_means,
    jackknife,
    mean_of_blocks,
    reweight_blocks,
)
from cgstore.errors import InputError


def blocks_of(values, weight=None, spacing=5.0):
    """Make a block dataset of one kind from values (block, bin)."""
    values = np.asarray(values, float)
    weight = np.ones(len(values)) if weight is None else np.asarray(weight, float)
    return xr.Dataset(
        {
            "count": (("block", "pair", "r"), values[:, None].astype(int)),
            "sum": (("block", "pair", "r"), (values * weight[:, None])[:, None]),
            "weight": ("block", weight),
            "square": ("block", weight**2),
            "frames": ("block", np.ones(len(values), np.int64)),
            "norm": (("pair", "r"), np.full((1, values.shape[1]), 2.0), {"units": "1", "long_name": "g"}),
            "frame_spacing": ((), spacing),
        },
        {"pair": ["A-A"], "r": np.arange(values.shape[1]) + 0.5},
        {"block_length": 1, "name": "x/r1/cg"},
    )


def counts(blocks=200, bins=1, seed=1):
    return np.random.default_rng(seed).poisson(40.0, (blocks, bins))


@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), blocks=st.integers(8, 300))
def test_the_jackknife_of_a_mean_is_the_plain_error_for_any_weights(seed, blocks):
    weight = np.random.default_rng(seed).uniform(0.2, 2.0, blocks)
    data = blocks_of(counts(blocks, seed=seed), weight)
    plain = mean_and_error(data["sum"].values.transpose(1, 0, 2), weight).error / 2.0
    found = jackknife(data, mean_of_blocks)
    np.testing.assert_allclose(found.error, plain, rtol=1e-9)
    np.testing.assert_allclose(found.value, mean_of_blocks(data), rtol=1e-15)


def test_the_jackknife_takes_the_bias_of_a_square_off():
    x = np.random.default_rng(2).normal(0.0, 1.0, (20, 1))
    found = jackknife(blocks_of(x), lambda blocks: (2 * mean_of_blocks(blocks)) ** 2)
    # mean² is too large by the variance of the mean, for which n − 1 gives the unbiased estimate.
    if len(found.samples) == 20:
        assert float(found.bias[0, 0]) == pytest.approx(x.var(ddof=1) / 20, rel=1e-9)
    assert float(found.bias[0, 0]) > 0


def test_the_bootstrap_agrees_within_its_own_noise():
    data = blocks_of(counts(256, 30))
    plain = jackknife(data, mean_of_blocks).error.values
    found = bootstrap(data, mean_of_blocks, draws=200, seed=3)
    ratio = found.error.values / plain
    assert np.median(ratio) == pytest.approx(1.0, abs=0.1)
    assert (np.abs(found.bias) < found.error / 4).all()
    theory = np.sqrt(40.0 / 256) / 2
    assert np.median(found.error) == pytest.approx(theory, rel=0.15)


def test_seeds_are_reproducible_and_different():
    data = blocks_of(counts(64, 2))
    one, same, other = (bootstrap(data, mean_of_blocks, draws=20, seed=seed) for seed in (7, 7, 8))
    xr.testing.assert_identical(one.error, same.error)
    assert (one.error != other.error).all()


def test_the_order_of_independent_blocks_does_not_matter_much():
    values = counts(200, 20)
    shuffled = np.random.default_rng(4).permutation(values)
    first, second = (jackknife(blocks_of(x), mean_of_blocks).error.values for x in (values, shuffled))
    assert np.median(second / first) == pytest.approx(1.0, abs=0.15)
    short, long = (bootstrap(blocks_of(values), mean_of_blocks, draws=100, length=n).error.values for n in (1, 10))
    assert np.median(long / short) == pytest.approx(1.0, abs=0.15)


def test_any_statistic_of_blocks_has_an_error():
    data = blocks_of(counts(128, 3))

    def potential(blocks):
        return xr.Dataset({"pmf": -np.log(mean_of_blocks(blocks))})

    found = jackknife(data, potential)
    g = jackknife(data, mean_of_blocks)
    np.testing.assert_allclose(found.error.pmf, g.error / g.value, rtol=0.02)


def test_chosen_blocks_are_those_of_a_run_that_is_shorter():
    values = counts(50, 2)
    xr.testing.assert_identical(choose_blocks(blocks_of(values), slice(10, 30)), blocks_of(values[10:30]))
    xr.testing.assert_identical(choose_blocks(blocks_of(values), time=(50.0, 150.0)), blocks_of(values[10:30]))
    mask = np.arange(50) % 2 == 0
    xr.testing.assert_identical(choose_blocks(blocks_of(values), mask), blocks_of(values[::2]))
    for wrong in ({}, {"which": [1], "time": (0, 1)}, {"time": (1e6, 2e6)}):
        with pytest.raises(InputError, match="choose_blocks"):
            choose_blocks(blocks_of(values), **wrong)
    with pytest.raises(InputError, match="times"):
        choose_blocks(blocks_of(values, spacing=np.nan), time=(0.0, 10.0))


def test_a_block_of_weight_two_counts_as_two():
    values = counts(10, 2)
    twice = reweight_blocks(blocks_of(values), np.where(np.arange(10) == 3, 2.0, 1.0))
    np.testing.assert_allclose(mean_of_blocks(twice)[0], np.vstack([values, values[3]]).mean(axis=0) / 2, rtol=1e-14)
    assert twice.square.values[3] == 4.0
    with pytest.raises(InputError, match="10 blocks"):
        reweight_blocks(blocks_of(values), [1.0])


def test_the_covariance_of_means_has_the_errors_on_its_diagonal_and_the_correlations_beside_it():
    random = np.random.default_rng(5)
    shared = random.normal(size=(4000, 1))
    found = []
    for chunk in np.split(50.0 + shared + random.normal(size=(4000, 3)), 20):
        result = covariance_of_means(blocks_of(chunk))
        found.append(result.covariance.values[0])
        np.testing.assert_allclose(np.diag(found[-1]), mean_of_errors(chunk) ** 2, rtol=0.25)
    mean = np.mean(found, axis=0)
    np.testing.assert_allclose(mean[~np.eye(3, dtype=bool)] / mean[0, 0], 0.5, atol=0.12)
    assert np.diag(mean) == pytest.approx(2.0 / 200 / 4, rel=0.25)


def mean_of_errors(values):
    return distribution_of_blocks(blocks_of(values), name="rdf", count="count").rdf_error.values[0]


def test_more_bins_than_parts_are_singular_until_they_are_shrunk():
    data = blocks_of(counts(200, 40))
    plain, shrunk = (covariance_of_means(data, shrink=shrink) for shrink in (False, True))
    assert np.linalg.matrix_rank(plain.covariance.values[0]) < 20
    assert np.linalg.cond(shrunk.covariance.values[0]) < 100
    np.testing.assert_allclose(np.diag(shrunk.covariance.values[0]), np.diag(plain.covariance.values[0]), rtol=1e-12)
    assert 0.5 < float(shrunk.shrinkage[0]) <= 1.0  # independent bins
    assert plain.parts.values.tolist() == [20]


def test_two_runs_joined_have_the_error_of_one_long_run():
    values = counts(256, 30, seed=9)
    joined = merge_blocks([blocks_of(values[:128]), blocks_of(values[128:])])
    np.testing.assert_allclose(
        jackknife(joined, mean_of_blocks).error, jackknife(blocks_of(values), mean_of_blocks).error, rtol=1e-12
    )
    apart = merge_blocks([blocks_of(values[:128]), blocks_of(values[128:] + 30)])
    error = jackknife(apart, mean_of_blocks).error.values
    assert np.isnan(error).all() or error.min() > 3.0


def test_too_few_blocks_have_no_error():
    assert np.isnan(jackknife(blocks_of(counts(3)), mean_of_blocks).error).all()
    assert np.isnan(jackknife(blocks_of(counts(1)), mean_of_blocks).error).all()
    assert np.isnan(covariance_of_means(blocks_of(counts(3))).covariance).all()
    with pytest.raises(InputError, match="bootstrap"):
        bootstrap(blocks_of(counts(3)), mean_of_blocks, length=4)
