from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cgstore.errors import InputError
from cgstore.learn.moments import Shape, series_of


def source(time, *, first=0, last=None, chunk=8, name="a/r1/cg"):
    time = np.asarray(time, float)
    return SimpleNamespace(
        name=name, digest="d", first=first, last=len(time) if last is None else last, chunk=chunk, time=time
    )


def starts(sources, shape):
    series, owners = series_of(tuple(sources), shape)
    pairs = zip(series, owners, strict=True)
    return [(owner, start) for item, owner in pairs for start in range(item.first, item.last)]


@settings(max_examples=60)
@given(
    st.lists(st.sampled_from([2.0, 2.0, 2.0, 2.0, 7.0]), min_size=12, max_size=40),
    st.integers(1, 3),
    st.integers(0, 4),
    st.booleans(),
)
def test_samples_are_all_that_cross_no_gap_and_no_border_of_the_member(steps, span, margin, window):
    time = np.concatenate([[0.0], np.cumsum(steps)])
    shape = Shape(length=span + 1) if window else Shape(lag=span)
    item = source(time, first=margin, last=len(time) - margin)
    usual = np.median(np.diff(time[item.first : item.last]))
    expected = [
        (0, start)
        for start in range(item.first, item.last - span)
        if np.allclose(np.diff(time[start : start + span + 1]), usual)
    ]
    if expected:
        assert starts([item], shape) == expected
    else:
        with pytest.raises(InputError, match="no stretch of frames without a gap"):
            series_of((item,), shape)


def test_single_frames_cross_nothing():
    assert starts([source([0, 1, 2, 50, 51])], Shape()) == [(0, n) for n in range(5)]


def test_times_mean_frames():
    item = source(np.arange(100) * 2.5)
    assert Shape(lag="10 ps").moments(item) == (0, 4)
    assert Shape(length="10 ps").moments(item) == (0, 1, 2, 3, 4)
    assert Shape(length="0.01 ns").moments(item) == Shape(length=5).moments(item)
    with pytest.raises(InputError, match=r"a/r1/cg: lag = '4 ps' is no multiple of the time step, 2.5 ps"):
        Shape(lag="4 ps").moments(item)
    with pytest.raises(InputError, match="expected a time with its unit"):
        Shape(lag="4").moments(item)


def test_a_lag_in_time_is_another_number_of_frames_where_frames_are_nearer():
    series, _ = series_of((source(np.arange(50) * 1.0), source(np.arange(50) * 5.0, name="b")), Shape(lag="10 ps"))
    assert [item.moments for item in series] == [(0, 10), (0, 2)]
    with pytest.raises(InputError, match="11 frames in a/r1/cg, 3 frames in b"):
        series_of((source(np.arange(50) * 1.0), source(np.arange(50) * 5.0, name="b")), Shape(length="10 ps"))


def test_times_rounded_to_float32_are_no_gaps():
    time = (1e6 + np.arange(200) * 0.1).astype(np.float32).astype(float)
    assert len(starts([source(time)], Shape(lag=1))) == 199


def test_long_windows_have_long_blocks_so_that_frames_are_not_read_often():
    (item,), _ = series_of((source(np.arange(500)),), Shape(length=100))
    assert item.chunk == 104
    (pair,), _ = series_of((source(np.arange(500)),), Shape(lag=100))
    assert pair.chunk == 8


@pytest.mark.parametrize("wrong", [{"lag": 0}, {"length": 0}, {"lag": 1, "length": 2}])
def test_what_is_no_sample_is_refused(wrong):
    with pytest.raises(InputError, match=r"at least 1 frame|both lag and length"):
        Shape(**wrong)
