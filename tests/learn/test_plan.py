import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cgstore.errors import InputError
from cgstore.learn.plan import Plan, Series

series = st.builds(
    lambda first, length, chunk: Series("a", "", first, first + length, chunk),
    st.integers(0, 50),
    st.integers(1, 60),
    st.integers(1, 20),
)
plans = st.builds(
    Plan,
    st.lists(series, min_size=1, max_size=4).map(tuple),
    batch_size=st.integers(1, 17),
    seed=st.integers(0, 2**31),
    window=st.integers(1, 5),
)


@settings(max_examples=60, deadline=None)
@given(plans, st.integers(0, 3))
def test_every_frame_comes_exactly_once_in_an_epoch(plan, epoch):
    expected = [(n, f) for n, item in enumerate(plan.series) for f in range(item.first, item.last)]
    assert sorted(map(tuple, plan.order(epoch).tolist())) == expected
    assert plan.frames == len(expected)
    assert len(plan) == -(-len(expected) // plan.batch_size)


@settings(max_examples=60, deadline=None)
@given(plans, st.data())
def test_any_batch_of_any_epoch_is_found_without_the_ones_before(plan, data):
    epoch, step = data.draw(st.integers(0, 5)), data.draw(st.integers(0, len(plan)))
    number, skip = plan.locate(epoch, step)
    rest = [plan.samples(epoch, n) for n in range(number, len(plan.windows(epoch)))]
    joined = np.concatenate([np.empty((0, 2), np.int64), *rest])[skip:]
    assert joined.tolist() == plan.order(epoch)[step * plan.batch_size :].tolist()


@settings(max_examples=30, deadline=None)
@given(plans)
def test_blocks_are_cut_where_the_chunks_of_the_store_are_cut(plan):
    for number, first, last in plan.blocks:
        chunk = plan.series[number].chunk
        assert first // chunk == (last - 1) // chunk


def test_seed_and_epoch_decide_the_order_and_nothing_else_does():
    def order(seed, epoch):
        return Plan((Series("a", "", 0, 64, 8),), batch_size=4, seed=seed).order(epoch).tolist()

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(2, 0)
    assert order(1, 0) != order(1, 1)


def test_a_large_window_mixes_frames_as_well_as_a_full_shuffle():
    plan = Plan((Series("a", "", 0, 4096, 32),), batch_size=64, seed=3, window=32)
    chunk = plan.order(0)[:, 1].reshape(-1, 64) // 32
    same = np.mean([np.mean(row[:, None] == row[None, :]) - 1 / 64 for row in chunk])
    assert same < 0.04  # 1/64 of all pairs are of one sample; a window of one block gives 0.5


def test_a_state_of_another_plan_is_refused():
    one = Plan((Series("a", "x", 0, 64, 8),), batch_size=4, seed=1)
    for other in (
        Plan((Series("a", "x", 0, 64, 8),), batch_size=4, seed=2),
        Plan((Series("a", "x", 0, 64, 8),), batch_size=8, seed=1),
        Plan((Series("a", "y", 0, 64, 8),), batch_size=4, seed=1),
    ):
        with pytest.raises(InputError, match="other data, seed"):
            other.place(one.state(0, 3))
    assert one.place(one.state(2, 3)) == (2, 3)


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"window": 0}])
def test_sizes_without_a_meaning_are_refused(wrong):
    with pytest.raises(InputError, match="at least 1"):
        Plan((Series("a", "", 0, 64, 8),), **{"batch_size": 4, **wrong})


def test_a_selection_without_a_frame_is_refused():
    with pytest.raises(InputError, match="no frame"):
        Plan((Series("a", "", 5, 5, 8),), batch_size=4)
