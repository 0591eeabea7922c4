import threading
import time
from concurrent.futures import wait

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cgstore.learn.pool import Pool


def fill(number):
    return (np.full(10, number, np.uint8),)


@settings(max_examples=40)
@given(st.lists(st.lists(st.integers(0, 9), max_size=3, unique=True), max_size=12), st.integers(30, 60))
def test_what_nobody_holds_goes_before_there_is_more_than_there_may_be(windows, most):
    pool = Pool(fill, np.full(10, 10), most=most, threads=2)
    for blocks in windows:
        assert pool.fits(blocks)
        for number, future in zip(blocks, pool.hold(blocks), strict=True):
            assert future.result()[0][0] == number
        assert pool.bytes <= most
        pool.release(blocks)
    assert pool.peak <= most


def test_data_that_fit_are_read_once():
    seen = []
    pool = Pool(lambda number: seen.append(number) or fill(number), np.full(10, 10), most=100, threads=3)
    for _ in range(3):
        for future in pool.hold(range(10)):
            future.result()
        pool.release(range(10))
    assert sorted(seen) == list(range(10))


def test_what_was_used_longest_ago_goes_first():
    seen = []
    pool = Pool(lambda number: seen.append(number) or fill(number), np.full(4, 10), most=30, threads=1)
    for number in (0, 1, 2, 0, 3, 0, 1):
        pool.hold([number])[0].result()
        pool.release([number])
    assert seen == [0, 1, 2, 3, 1]


def test_more_than_there_may_be_is_held_only_when_it_is_needed_at_once():
    pool = Pool(fill, np.full(4, 10), most=20, threads=1)
    begun = pool.hold([0, 1])
    assert not pool.fits([2])
    assert pool.fits([0, 1])
    begun += pool.hold([2])
    assert pool.bytes == 30
    wait(begun)
    pool.release([0, 1, 2])
    assert pool.bytes == 20


def test_a_block_that_could_not_be_read_is_tried_again():
    answers = [OSError("down"), fill(0)]

    def read(number):
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    pool = Pool(read, np.full(1, 10), most=20, threads=1)
    (future,) = pool.hold([0])
    with pytest.raises(OSError, match="down"):
        future.result()
    pool.release([0])
    assert pool.bytes == 0
    assert pool.hold([0])[0].result()[0][0] == 0


def test_reading_that_has_not_begun_is_given_up_with_its_block():
    go, seen = threading.Event(), []

    def read(number):
        go.wait(5)
        seen.append(number)
        return fill(number)

    pool = Pool(read, np.full(5, 10), most=50, threads=1)
    pool.hold(range(5))
    threading.Timer(0.05, go.set).start()
    pool.release(range(5))
    time.sleep(0.02)
    assert seen == [0]
    assert pool.bytes == 10
