"""Smoothing by errors, walls, barriers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgstore.inverse.filling import fill, smoothed


def test_smoothing_takes_noise_away_and_bends_a_steep_core_by_few_errors() -> None:
    r = np.arange(0.325, 1.2, 0.01)
    true = 8.0 * ((0.37 / r) ** 12 - (0.37 / r) ** 6)
    rng = np.random.default_rng(3)
    for sigma in (0.02, 0.2):
        error = sigma * np.exp(np.clip(true, 0.0, 8.0) / 5.0)
        runs = np.array([smoothed(true + rng.normal(0.0, error), error) - true for _ in range(20)]) / error
        assert (runs**2).mean() < 0.5
        assert abs(runs.mean(axis=0)).max() < 2.0


def test_a_parabola_survives_any_error_and_exact_values_stay() -> None:
    x = np.arange(30.0)
    np.testing.assert_allclose(smoothed((x - 12.0) ** 2, np.full(30, 5.0)), (x - 12.0) ** 2, atol=1e-6)
    values = np.random.default_rng(1).normal(size=30)
    np.testing.assert_allclose(smoothed(values, np.zeros(30)), values)
    np.testing.assert_allclose(smoothed(values, np.full(30, np.nan)), values)


def test_the_smoothing_of_a_dihedral_does_not_depend_on_where_the_circle_begins() -> None:
    phi = np.arange(-179.0, 180.0, 2.0)
    noisy = np.cos(np.radians(phi)) + np.random.default_rng(2).normal(0.0, 0.1, len(phi))
    error = np.full(len(phi), 0.1)
    moved = fill(np.roll(noisy, 50), error, kT=1.0, periodic=True).energy
    np.testing.assert_allclose(np.roll(fill(noisy, error, kT=1.0, periodic=True).energy, 50), moved, atol=1e-6)
    assert abs(moved - np.roll(np.cos(np.radians(phi)), 50)).mean() < 0.06


@given(st.integers(0, 10_000), st.integers(1, 18), st.floats(0.01, 3.0))
def test_walls_rise_away_from_the_data_whatever_the_noise(seed: int, empty: int, noise: float) -> None:
    energy = np.random.default_rng(seed).normal(0.0, noise, 40)
    energy[:empty] = energy[-empty:] = np.nan
    error = np.where(np.isfinite(energy), noise, np.nan)
    result = fill(energy, error, kT=2.5, walls=(True, True))
    assert result.extrapolated.tolist() == np.isnan(energy).tolist()
    assert (np.diff(result.energy[: empty + 1]) <= -0.2 * 2.5 * 0.999).all()
    assert (np.diff(result.energy[-empty - 1 :]) >= 0.2 * 2.5 * 0.999).all()


def test_narrow_holes_are_bridged_and_wide_ones_are_barriers() -> None:
    x = np.arange(30.0)
    energy = 0.05 * (x - 15.0) ** 2
    holed = energy.copy()
    holed[8:10] = np.nan
    bridged = fill(holed, np.full(30, 0.01), kT=1.0)
    np.testing.assert_allclose(bridged.energy, energy, atol=0.05)
    holed[6:14] = np.nan
    barrier = fill(holed, np.full(30, 0.01), kT=1.0)
    np.testing.assert_allclose(barrier.energy, energy, atol=1.0)  # the wall of the right side, the lower one
    assert barrier.extrapolated[6:14].all()
    assert barrier.energy[13] > energy[14]


def test_a_dihedral_with_one_sampled_stretch_has_a_barrier_across_the_seam() -> None:
    phi = np.arange(-179.0, 180.0, 2.0)
    energy = np.where(abs(phi) < 60.0, 1e-3 * phi**2, np.nan)
    result = fill(energy, np.full(len(phi), 0.01), kT=2.5, periodic=True).energy
    assert result[0] == pytest.approx(result[-1], rel=0.05)
    assert result[0] > 10.0
    beyond = np.flatnonzero(phi > 60.0)
    assert (np.diff(result[beyond[:50]]) > 0.0).all()


def test_without_a_wall_the_last_value_goes_on() -> None:
    energy = np.where(np.arange(20) < 15, 1.0, np.nan)
    assert fill(energy, np.full(20, np.nan), kT=1.0).energy.tolist() == [1.0] * 20
