"""Drifts are found, and slow starts left out; fluctuations are neither."""

import numpy as np
import pytest

from cgstore.averages.series import drift
from cgstore.campaigns.equilibrium import settled_from

NOISE = np.random.default_rng(7).normal(size=(50, 160))


def test_noise_does_not_drift():
    assert np.std([drift(values) for values in NOISE]) == pytest.approx(1, abs=0.35)
    assert all(settled_from({"energy": values}) == (0, "") for values in NOISE)


def test_a_constant_does_not_drift():
    assert settled_from({"energy": np.full(100, 3.0)}) == (0, "")


@pytest.mark.parametrize("shape", [np.linspace(0, 3, 160), np.linspace(9, 0, 160) ** 2, np.linspace(0, 30, 160)])
def test_a_drift_is_found_in_whichever_series_it_is(shape):
    start, failure = settled_from({"energy": NOISE[0], "pressure": 1e3 + NOISE[1] + shape})
    assert failure.startswith("drifting")
    assert start >= 0


def test_a_start_is_left_out():
    start, failure = settled_from({"energy": NOISE[0], "pressure": NOISE[1] + 6 * (np.arange(160) < 20)})
    assert 16 <= start <= 28
    assert failure == ""
