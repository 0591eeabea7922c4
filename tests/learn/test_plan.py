import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cgstore.errors import InputError
from cgstore.learn.mixing import mixing
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
    streams=st.sampled_from([1, 2, 3, 8]),
)


def by_rank(plan, epoch, step, ranks):
    """What each rank finds in its own streams for one batch, from the shares alone."""
    layout, streams = plan.epoch(epoch), plan.streams // ranks
    parts = []
    for rank in range(ranks):
        part = []
        for stream in range(rank * streams, (rank + 1) * streams):
            first, last = plan.shares(step)[stream].tolist()
            for number, (owner, _, _, begin, end) in enumerate(layout.windows.tolist()):
                if owner == stream and begin < last and first < end:
                    part += layout.samples(number)[max(first, begin) - begin : min(last, end) - begin].tolist()
        parts.append([(int(plan.blocks[block, 0]), start) for block, start in part])
    return parts


@settings(max_examples=60)
@given(plans, st.integers(0, 3))
def test_every_sample_comes_exactly_once_in_an_epoch(plan, epoch):
    expected = [(n, f) for n, item in enumerate(plan.series) for f in range(item.first, item.last)]
    assert sorted(map(tuple, plan.order(epoch).tolist())) == expected
    assert plan.samples == len(expected)
    assert len(plan) == -(-len(expected) // plan.batch_size)


@settings(max_examples=40)
@given(plans, st.data())
def test_any_batch_of_any_epoch_is_found_without_the_ones_before(plan, data):
    epoch, step = data.draw(st.integers(0, 5)), data.draw(st.integers(0, len(plan) - 1))
    expected = plan.order(epoch)[step * plan.batch_size : (step + 1) * plan.batch_size]
    assert by_rank(plan, epoch, step, 1) == [list(map(tuple, expected.tolist()))]


@settings(max_examples=40)
@given(plans.filter(lambda plan: plan.streams == 8), st.data())
def test_ranks_in_a_row_see_the_batch_that_one_sees(plan, data):
    epoch, step = data.draw(st.integers(0, 5)), data.draw(st.integers(0, len(plan) - 1))
    (alone,) = by_rank(plan, epoch, step, 1)
    for ranks in (2, 4, 8):
        parts = by_rank(plan, epoch, step, ranks)
        assert list(itertools.chain(*parts)) == alone
        sizes = [len(part) for part in parts]
        assert max(sizes) - min(sizes) <= 8 // ranks  # as even as the streams


@settings(max_examples=30)
@given(plans)
def test_blocks_are_cut_where_the_chunks_of_the_store_are_cut(plan):
    for number, first, last in plan.blocks:
        chunk = plan.series[number].chunk
        assert first // chunk == (last - 1) // chunk


@settings(max_examples=30)
@given(plans, st.integers(0, 3))
def test_streams_are_equal_and_a_window_has_no_more_blocks_than_it_may(plan, epoch):
    windows = plan.epoch(epoch).windows
    sizes = [int((windows[windows[:, 0] == stream][:, 4]).max(initial=0)) for stream in range(plan.streams)]
    assert sum(sizes) == plan.samples
    assert max(sizes) - min(sizes) <= 1
    assert (windows[:, 2] - windows[:, 1]).max() <= plan.window


def test_windows_of_the_streams_end_at_different_times():
    windows = Plan((Series("a", "", 0, 65536, 8),), batch_size=64, window=16).epoch(0).windows
    ends = [windows[windows[:, 0] == stream][0, 4] for stream in range(8)]
    assert len(set(ends)) == 8


def test_seed_and_epoch_decide_the_order_and_nothing_else_does():
    def order(seed, epoch):
        return Plan((Series("a", "", 0, 64, 8),), batch_size=4, seed=seed).order(epoch).tolist()

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(2, 0)
    assert order(1, 0) != order(1, 1)


def test_the_order_is_the_one_it_was_when_it_was_first_written():
    plan = Plan((Series("a", "", 2, 9, 4), Series("b", "", 0, 5, 2)), batch_size=4, seed=7, window=2, streams=2)
    order = plan.order(3).tolist()
    assert order == [[0, 8], [1, 1], [0, 6], [1, 3], [1, 0], [1, 4], [0, 4], [0, 5], [0, 3], [0, 2], [1, 2], [0, 7]]


@pytest.mark.parametrize(("chunks", "batch_size"), [(16, 64), (128, 64), (128, 256), (1024, 64)])
def test_batches_are_mixed_nearly_as_by_a_full_shuffle(chunks, batch_size):
    plan = Plan((Series("a", "", 0, 32 * chunks, 32),), batch_size=batch_size, seed=3)
    mixed = mixing(plan)
    assert mixed.found < mixed.uniform + 0.01
    assert mixing(Plan(plan.series, batch_size, streams=1, window=1)).found > 5 * mixed.found


def test_mixing_of_a_full_shuffle_is_what_chance_gives():
    plan = Plan((Series("a", "", 0, 4096, 32),), batch_size=64, streams=1, window=4096)
    assert mixing(plan).found == pytest.approx(mixing(plan).uniform, rel=0.1)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"seed": 2}, "seed   there 1, here 2"),
        ({"batch_size": 8}, "batch_size   there 4, here 8"),
        ({"window": 3}, "window   there 16, here 3"),
        ({"streams": 4}, "streams   there 8, here 4"),
        ({"split": "f" * 64}, "split   there , here ffffffffffff"),
        ({"series": (Series("a", "y", 0, 64, 8), Series("b", "x", 0, 8, 8))}, "a   changed: another version"),
        ({"series": (Series("a", "x", 0, 63, 8), Series("b", "x", 0, 8, 8))}, "a   changed: another version"),
        ({"series": (Series("a", "x", 0, 64, 8), Series("b", "x", 0, 8, 8, (0, 1)))}, "b   changed.*another lag"),
        ({"series": (Series("a", "x", 0, 64, 8),)}, "b   was there, is not here"),
        ({"series": (Series("b", "x", 0, 8, 8), Series("a", "x", 0, 64, 8))}, "data   in another order"),
    ],
)
def test_a_state_of_another_plan_is_refused_and_the_message_says_what_differs(changed, words):
    known = {"series": (Series("a", "x", 0, 64, 8), Series("b", "x", 0, 8, 8)), "batch_size": 4, "seed": 1}
    plan = Plan(**known)
    state = json.loads(json.dumps(plan.state(2, 3)))
    assert plan.place(state) == (2, 3)
    with pytest.raises(InputError, match=f"(?s)other data or settings.*{words}"):
        Plan(**known | changed).place(state)


def test_a_message_about_many_changes_is_short():
    plan = Plan(tuple(Series(f"a{n}", "x", 0, 4, 4) for n in range(40)), batch_size=4)
    other = Plan(tuple(Series(f"a{n}", "y", 0, 4, 4) for n in range(40)), batch_size=4)
    with pytest.raises(InputError, match="and 35 more") as caught:
        other.place(plan.state(0, 0))
    assert len(str(caught.value).splitlines()) == 7


def test_a_state_beyond_the_epoch_is_refused():
    plan = Plan((Series("a", "x", 0, 64, 8),), batch_size=4)
    with pytest.raises(InputError, match="expected 0 to 16 steps"):
        plan.place(plan.state(0, 17))


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"window": 0}, {"streams": 0}])
def test_sizes_without_a_meaning_are_refused(wrong):
    with pytest.raises(InputError, match="at least 1"):
        Plan((Series("a", "", 0, 64, 8),), **{"batch_size": 4, **wrong})


def test_a_seed_below_zero_is_refused():
    with pytest.raises(InputError, match="seed = -1"):
        Plan((Series("a", "", 0, 64, 8),), batch_size=4, seed=-1)


def test_a_selection_without_a_sample_is_refused():
    with pytest.raises(InputError, match="no sample"):
        Plan((Series("a", "", 5, 5, 8),), batch_size=4)


def test_an_epoch_is_laid_out_without_steps_in_python():
    order = Plan((Series("a", "", 0, 200_000, 32),), batch_size=64).order(0)
    assert np.array_equal(np.sort(order[:, 1]), np.arange(200_000))
