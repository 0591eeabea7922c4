"""Distances between distributions against closed forms, and noise against samples of one distribution."""

import math

import numpy as np
import pytest

from cgstore.averages.distances import (
    kullback_leibler,
    kullback_leibler_noise,
    mean_size,
    probabilities,
    total_deviation,
    total_variation,
)

X = np.linspace(-12.0, 12.0, 6001)


def gauss(mean: float, sigma: float) -> np.ndarray:
    return np.exp(-0.5 * ((X - mean) / sigma) ** 2) / (sigma * math.sqrt(2.0 * math.pi))


@pytest.mark.parametrize("apart", [0.1, 1.0, 3.0])
def test_two_gaussians_of_one_width_are_as_far_apart_as_the_error_function_says(apart) -> None:
    a, b = gauss(0.0, 1.3), gauss(apart, 1.3)
    expected = math.erf(apart / (2.0 * math.sqrt(2.0) * 1.3))
    assert total_variation(probabilities(a), probabilities(b)) == pytest.approx(expected, abs=1e-6)
    assert total_deviation(a, b, X[1] - X[0]) == pytest.approx(2.0 * expected, abs=1e-6)


@pytest.mark.parametrize(("apart", "narrow"), [(0.5, 1.0), (1.0, 0.7), (0.0, 1.4)])
def test_the_divergence_of_two_gaussians(apart, narrow) -> None:
    p, q = probabilities(gauss(0.0, narrow)), probabilities(gauss(apart, 1.0))
    expected = -math.log(narrow) + 0.5 * (narrow**2 + apart**2) - 0.5
    assert kullback_leibler(p, q) == pytest.approx(expected, rel=1e-6)


def test_joining_bins_that_were_never_hit_makes_a_lower_bound() -> None:
    p, q = probabilities(gauss(0.0, 1.0)), probabilities(gauss(0.5, 1.0))
    moved = q.copy()
    moved[1::2] += moved[:-1:2]
    moved[:-1:2] = 0.0  # every second bin is empty now, and its neighbour has what was in it
    assert 0.9 * kullback_leibler(p, q) < kullback_leibler(p, moved) < kullback_leibler(p, q)
    assert math.isinf(kullback_leibler(p, 0.0 * q))
    assert kullback_leibler(p, p) == 0.0


def test_shells_weigh_with_the_square_of_their_radius() -> None:
    r = np.array([1.0, 2.0])
    assert probabilities([2.0, 1.0], r**2).tolist() == pytest.approx([1 / 3, 2 / 3])
    assert probabilities([-1.0, 1.0]).tolist() == [0.0, 1.0]


def test_noise_is_what_samples_of_one_distribution_give() -> None:
    rng = np.random.default_rng(1)
    p, size = probabilities([1.0, 4.0, 2.0, 3.0]), 4000
    apart, divergence = [], []
    for _ in range(2000):
        a, b = (rng.multinomial(size, p) / size for _ in range(2))
        apart.append(total_variation(a, b))
        divergence.append(kullback_leibler(a, b))
    sigma = np.sqrt(2.0 * p * (1.0 - p) / size)
    assert np.mean(apart) == pytest.approx(0.5 * mean_size(sigma), rel=0.05)
    assert np.mean(divergence) == pytest.approx(kullback_leibler_noise(p, sigma), rel=0.1)
