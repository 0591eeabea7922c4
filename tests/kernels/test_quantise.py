"""Positions on the grid and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgstore.kernels.quantise import LARGEST_CODE, dequantise, quantise


def round_trip(position: np.ndarray, precision: float) -> tuple[tuple[int, int, float], np.ndarray, np.ndarray]:
    codes = np.empty(position.shape, np.int32)
    answer = quantise(position, precision, codes)
    decoded = np.empty(position.shape, np.float32)
    assert dequantise(codes.reshape(-1), np.float32(precision), decoded.reshape(-1)) == 0
    return answer, codes, decoded


@given(
    st.lists(st.integers(-LARGEST_CODE, LARGEST_CODE), min_size=3, max_size=30), st.sampled_from([0.001, 1e-4, 0.01])
)
def test_every_integer_of_the_grid_survives_with_the_bits_of_an_xtc_decoder(integers, precision):
    codes = np.array(integers[: len(integers) // 3 * 3], np.int32).reshape(1, -1, 3)
    position = codes.astype(np.float32) * np.float32(precision)
    (bad, largest, error), found, decoded = round_trip(position, precision)
    assert (bad, largest, error) == (-1, abs(codes).max(), 0.0)
    assert np.array_equal(found, codes)
    assert np.array_equal(decoded.view(np.int32), position.view(np.int32))


def test_all_codes_near_the_largest_and_around_zero_survive():
    for first in (-LARGEST_CODE, -30_000, LARGEST_CODE - 60_000):
        codes = np.arange(first, first + 60_000, dtype=np.int32).reshape(2, -1, 3)
        (bad, _, error), found, _ = round_trip(codes.astype(np.float32) * np.float32(0.001), 0.001)
        assert bad == -1
        assert error == 0.0
        assert np.array_equal(found, codes)


def test_positions_off_the_grid_round_as_float64_numpy_does_and_the_largest_error_is_known():
    position = np.random.default_rng(1).normal(0, 5, (4, 50, 3)).astype(np.float32)
    (bad, largest, error), codes, decoded = round_trip(position, 0.001)
    expected = np.rint(position.astype(np.float64) / 0.001).astype(np.int32)
    assert bad == -1
    assert np.array_equal(codes, expected)
    assert largest == abs(expected).max()
    exact = np.abs(decoded.astype(np.float64) - position).max()
    assert error == pytest.approx(exact, rel=1e-6)
    assert 0.00045 < error < 0.000505


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, (LARGEST_CODE + 2) * 0.001, -1e30])
@pytest.mark.parametrize("frame", [0, 2])
def test_the_first_frame_with_a_number_that_has_no_code_is_named(value, frame):
    position = np.ones((3, 40, 3), np.float32)
    position[frame, 17, 1] = value
    position[2, 3, 0] = value
    codes = np.empty(position.shape, np.int32)
    assert quantise(position, 0.001, codes)[0] == frame


@pytest.mark.parametrize("dtype", [np.int16, np.int32])
def test_fill_values_are_counted(dtype):
    codes = np.arange(100).astype(dtype)
    codes[[3, 70]] = np.iinfo(dtype).min
    assert dequantise(codes, np.float32(0.001), np.empty(100, np.float32)) == 2
