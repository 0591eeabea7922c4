"""Series: means with errors, and where the equilibrated part begins."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import lfilter

from cgstore.averages.series import equilibration, mean_of_series
from cgstore.errors import InputError


def correlated(runs, frames, time, seed):
    """Return stationary series of variance one whose correlation falls as exp(−t / time)."""
    noise = np.random.default_rng(seed).normal(size=(runs, frames))
    phi = np.exp(-1 / time) if time else 0.0
    noise[:, 1:] *= np.sqrt(1 - phi**2)
    return lfilter([1.0], [1.0, -phi], noise, axis=1)


@pytest.mark.parametrize("frames", [150, 5000])
def test_the_error_of_a_series_covers_the_truth_in_68_percent_of_runs(frames):
    time = frames / 60
    found = mean_of_series(5.0 + correlated(800, frames, time, seed=frames))
    known = np.isfinite(found.error)
    assert known.mean() > 0.9
    assert 0.62 < (np.abs(found.mean - 5.0) <= found.error)[known].mean() < 0.75
    assert np.median(found.inefficiency) == pytest.approx(2 * time, rel=0.3)


def test_weights_and_a_large_level_change_nothing_but_the_mean():
    x = correlated(3, 1000, 2.0, seed=1)
    plain = mean_of_series(x)
    for found in (mean_of_series(1e9 + x), mean_of_series(x, weight=np.full(1000, 7.0))):
        np.testing.assert_allclose(found.error, plain.error, rtol=1e-6)
    weight = np.random.default_rng(2).uniform(0, 1, 1000)
    np.testing.assert_allclose(mean_of_series(x, weight=weight).mean, (x * weight).sum(1) / weight.sum(), rtol=1e-9)


def test_a_constant_has_no_error_and_one_frame_has_an_unknown_one():
    assert mean_of_series(np.full((1, 50), 3.0)).error.tolist() == [0.0]
    one = mean_of_series([[3.0], [4.0]])
    assert one.mean.tolist() == [3.0, 4.0]
    assert one.blocks.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("values", "weight", "words"),
    [
        ([1.0, 2.0], None, r"shape \(2,\)"),
        ([[1.0, np.nan]], None, "nan in frame 1 of series 0"),
        ([[1.0, 2.0]], [1.0, -1.0], "weights"),
    ],
)
def test_what_is_no_series_is_refused(values, weight, words):
    with pytest.raises(InputError, match=words):
        mean_of_series(values, weight=weight)
    with pytest.raises(InputError):
        equilibration([[1.0]])


@given(seed=st.integers(0, 10**6), frames=st.integers(30, 400), off=st.floats(20, 1e6), wild=st.integers(1, 3))
def test_wild_first_frames_are_left_out_and_no_others(seed, frames, off, wild):
    x = np.random.default_rng(seed).normal(size=frames)
    first = equilibration(x)
    x[:wild] = off
    assert equilibration(x) == wild or first > 0


@pytest.mark.parametrize(
    ("frames", "time", "most"), [(201, 0, 0.01), (201, 2, 0.015), (2000, 20, 0.015), (201, 10, 0.06)]
)
def test_a_stationary_series_is_seldom_cut_however_correlated(frames, time, most):
    cut = [equilibration(series) > 0 for series in correlated(200, frames, time, seed=frames + time)]
    assert np.mean(cut) <= most


def test_a_relaxation_is_cut_where_it_has_decayed():
    x = correlated(50, 2000, 1.0, seed=5) + 4.0 * np.exp(-np.arange(2000) / 100)
    found = np.array([equilibration(series) for series in x])
    assert (found > 0).all()
    assert 100 < np.median(found) < 500


def test_scale_and_shift_do_not_move_the_cut():
    x = correlated(1, 500, 2.0, seed=3)[0] + 6.0 * (np.arange(500) < 40)
    assert 30 <= equilibration(x) <= 64
    assert equilibration(x) == equilibration(1e-3 * x - 7.0)


def test_few_frames_are_not_judged_and_constants_are_settled():
    assert equilibration([1.0, 2.0, 3.0]) == 0
    assert equilibration(np.ones(100)) == 0
