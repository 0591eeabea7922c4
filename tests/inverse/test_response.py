"""The covariance is the derivative of mean counts: against exact enumeration."""

import numpy as np
import pytest
import xarray as xr

from cgstore.averages.covariance import dataset_of, moment
from cgstore.errors import InputError, PhysicsError
from cgstore.inverse.moments import moments_of
from cgstore.inverse.response import ensemble_gradient, predicted_counts


def test_the_covariance_gradient_is_the_finite_difference_of_exact_averages(ring) -> None:
    gradient = ensemble_gradient(ring.exact(ring.true), temperature=ring.temperature).values
    h = 1e-4
    for entry, step in enumerate(h * np.eye(len(ring.true))):
        difference = (ring.mean(ring.true + step) - ring.mean(ring.true - step)) / (2.0 * h)
        np.testing.assert_allclose(gradient[:, entry], difference, rtol=1e-6, atol=1e-9)


def test_the_gradient_of_a_basis_is_that_of_the_bins_times_the_basis(ring) -> None:
    matrix = np.random.default_rng(1).normal(size=(len(ring.true), 4))
    basis = xr.DataArray(matrix, dims=("entry", "parameter"), coords={"parameter": list("abcd")})
    found = ensemble_gradient(ring.exact(ring.true), temperature=ring.temperature, basis=basis)
    direction, h = np.array([0.3, -0.2, 0.5, 0.1]), 1e-4
    low, high = (ring.mean(ring.true + sign * h * matrix @ direction) for sign in (-1.0, 1.0))
    np.testing.assert_allclose(found.values @ direction, (high - low) / (2.0 * h), rtol=1e-6, atol=1e-9)
    assert found["parameter"].values.tolist() == list("abcd")


def test_frames_of_another_ensemble_give_the_same_gradient_by_their_weights(ring) -> None:
    uniform = ring.probability(0.3 * ring.true)
    frames = np.random.default_rng(5).choice(len(ring.counts), 60_000, p=uniform)
    weight = (ring.probability(ring.true) / uniform)[frames]
    like = ring.entries.assign_attrs(part_length=60_000)
    parts = [
        moment(ring.counts[part].astype(np.uint32), w)
        for part, w in zip(np.array_split(frames, 8), np.array_split(weight, 8), strict=True)
    ]
    gradient = ensemble_gradient(dataset_of(parts, like), temperature=ring.temperature).values
    exact = ensemble_gradient(ring.exact(ring.true), temperature=ring.temperature).values
    assert abs(gradient - exact).max() < 0.04 * abs(exact).max()


def test_a_sampled_gradient_agrees_within_its_noise(ring) -> None:
    exact = ensemble_gradient(ring.exact(ring.true), temperature=ring.temperature).values
    runs = [
        ensemble_gradient(ring.sampled(ring.true, 4096, seed=seed), temperature=ring.temperature) for seed in range(30)
    ]
    z = (np.mean(runs, axis=0) - exact) / (np.std(runs, axis=0, ddof=1) / np.sqrt(30))
    assert abs(np.nanmean(z**2) - 1.0) < 0.5


def test_linear_response_predicts_small_changes_and_says_when_a_change_is_large(ring) -> None:
    small = 0.05 * ring.kT * np.random.default_rng(2).normal(size=len(ring.true))
    found = predicted_counts(ring.exact(ring.true), small, temperature=ring.temperature)
    moved = abs(ring.mean(ring.true + small) - ring.mean(ring.true)).max()
    assert abs(found["counts"].values - ring.mean(ring.true + small)).max() < 0.1 * moved
    assert found.attrs["linear"] == 1
    u = ring.counts @ small / ring.kT
    p = ring.probability(ring.true)
    assert found.attrs["variance"] == pytest.approx(p @ (u - p @ u) ** 2)
    large = predicted_counts(ring.exact(ring.true), 60.0 * small, temperature=ring.temperature)
    assert large.attrs["linear"] == 0


def test_the_inefficiency_of_a_walk_that_stays_is_found_from_the_parts(ring) -> None:
    found = [
        moments_of(ring.sampled(ring.true, 8192, seed=seed, stay=0.5), question="test").inefficiency.mean()
        for seed in range(10)
    ]
    assert np.mean(found) == pytest.approx(3.0, rel=0.25)  # (1 + φ) / (1 − φ)
    few = moments_of(ring.sampled(ring.true, 1024, seed=1, parts=3), question="test")
    assert np.isnan(few.inefficiency).all()  # nobody knows
    assert np.isnan(few.error).all()


def test_predicted_errors_are_those_of_repetitions(ring) -> None:
    nothing = np.zeros(len(ring.true))
    runs = [
        predicted_counts(ring.sampled(ring.true, 2048, seed=s, stay=0.5), nothing, temperature=ring.temperature)
        for s in range(60)
    ]
    z = np.array([(run["counts"].values - ring.mean(ring.true)) / run["counts_error"].values for run in runs])
    assert 0.6 < (abs(z) < 1.0).mean() < 0.76


def test_what_is_no_covariance_is_refused(ring) -> None:
    exact = ring.exact(ring.true)
    with pytest.raises(InputError, match="expected a covariance dataset"):
        ensemble_gradient(exact.drop_vars("comoment"), temperature=300.0)
    with pytest.raises(PhysicsError, match="weight 0"):
        ensemble_gradient(exact.assign(weight=exact["weight"] * 0, square=exact["square"] * 0), temperature=300.0)
    with pytest.raises(InputError, match="expected one for each of 11 bins"):
        predicted_counts(exact, np.zeros(3), temperature=300.0)
    with pytest.raises(InputError, match=r"inefficiency of 0.5"):
        predicted_counts(exact, np.zeros(11), temperature=300.0, inefficiency=0.5)
    with pytest.raises(InputError, match=r"\(entry, parameter\) with 11 entries"):
        ensemble_gradient(exact, temperature=300.0, basis=xr.DataArray(np.eye(3), dims=("entry", "parameter")))
