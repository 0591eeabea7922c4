import json
from itertools import islice, pairwise

import dask.array as da
import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from cgstore.errors import InputError, StoreError
from cgstore.learn import source as sources
from cgstore.learn.batches import Batches
from cgstore.learn.loader import Loader
from cgstore.splits.split import Split


class Entry:
    """A dataset made by hand: the x coordinate of particle 0 says which dataset and frame it is."""

    def __init__(self, number, frames, particles, *, types="X", box=True):
        position = np.random.default_rng(number).random((frames, particles, 3)).astype(np.float32)
        position[:, 0, 0] = 1000 * number + np.arange(frames)
        self.metadata: dict[str, object] = {}
        variables = {"position": (("frame", "particle", "xyz"), position)}
        if box:
            variables["box"] = (("frame", "box_vector", "xyz"), np.tile(np.eye(3, dtype=np.float32), (frames, 1, 1)))
        self.ds = xr.Dataset(
            variables,
            coords={
                "time": ("frame", 10.0 * np.arange(frames)),
                "type": ("particle", np.resize(np.array(list(types)), particles)),
            },
            attrs={"digest": f"d{number}"},
        )

    def open(self):
        return self.ds


@pytest.fixture
def catalog():
    return {"a/r1/cg": Entry(0, 150, 5), "b/r1/cg": Entry(1, 70, 5), "c/r1/cg": Entry(2, 30, 5)}


@pytest.fixture
def ragged():
    return {"a/r1/cg": Entry(0, 40, 5, types="AB"), "b/r1/cg": Entry(1, 30, 3, types="B")}


SPLIT = Split.from_dict({"train": [{"dataset": "a*"}, {"dataset": "b*"}], "heldout": [{"dataset": "c*"}]})
BOTH = Split.from_dict({"train": [{"dataset": "*"}]})


@pytest.fixture
def small_chunks(monkeypatch):
    """Read datasets made by hand in chunks of a few frames."""
    monkeypatch.setattr(sources, "_MEMORY_CHUNK", 600)


def _labels(batches):
    return [batch["position"][:, 0, 0].tolist() for batch in batches]


def test_each_frame_comes_once_per_epoch_with_its_own_labels(catalog):
    loader = Loader(catalog, SPLIT.train, batch_size=16, seed=1)
    seen = []
    for batch in loader:
        code = 1000.0 * batch["dataset"] + batch["frame"]
        assert torch.equal(batch["position"][:, 0, 0].double(), code)
        assert torch.equal(batch["time"], 10.0 * batch["frame"].double())
        seen += code.tolist()
    assert sorted(seen) == [*range(150), *range(1000, 1070)]
    assert len(loader) == 14


def test_the_values_are_those_of_the_dataset(catalog):
    batch = next(iter(Loader(catalog, SPLIT.train, batch_size=8, seed=4)))
    for n in range(8):
        ds = catalog[("a/r1/cg", "b/r1/cg")[batch["dataset"][n]]].ds
        assert batch["position"][n].numpy().tobytes() == ds["position"].values[batch["frame"][n]].tobytes()
        assert batch["box"][n].tolist() == np.eye(3).tolist()


def test_the_order_depends_on_seed_and_epoch_only(catalog):
    loader = Loader(catalog, SPLIT.train, batch_size=16, seed=1)
    first, second = _labels(loader), _labels(loader)
    assert first != second
    again = Loader(catalog, SPLIT.train, batch_size=16, seed=1)
    assert [_labels(again), _labels(again)] == [first, second]
    assert _labels(Loader(catalog, SPLIT.train, batch_size=16, seed=2)) != first


@pytest.mark.parametrize("stop", [0, 1, 5, 13, 14])
def test_a_loader_resumes_with_the_very_batch_that_would_have_come(catalog, stop):
    loader = Loader(catalog, SPLIT.train, batch_size=16, seed=1)
    through = _labels(loader) + _labels(loader)
    loader = Loader(catalog, SPLIT.train, batch_size=16, seed=1)
    rows = iter(loader)
    for _ in range(stop):
        next(rows)
    state = json.loads(json.dumps(loader.state_dict()))
    resumed = Loader(catalog, SPLIT.train, batch_size=16, seed=1)
    resumed.load_state_dict(state)
    assert (_labels(resumed) + _labels(resumed))[: len(through) - stop] == through[stop:]


def test_a_state_of_another_loader_is_refused(catalog):
    state = Loader(catalog, SPLIT.train, batch_size=16, seed=1).state_dict()
    with pytest.raises(InputError, match="other data"):
        Loader(catalog, SPLIT.train, batch_size=16, seed=2).load_state_dict(state)


def test_systems_of_different_size_are_joined_with_offsets(ragged):
    loader = Loader(ragged, BOTH.train, batch_size=7, seed=3)
    assert loader.types == ("A", "B")
    for batch in loader:
        offsets = batch["offsets"].tolist()
        assert offsets[-1] == len(batch["position"]) == len(batch["type"])
        for n, (first, last) in enumerate(pairwise(offsets)):
            ds = ragged[loader.names[batch["dataset"][n]]].ds
            assert np.array_equal(batch["position"][first:last].numpy(), ds["position"].values[batch["frame"][n]])
            assert [loader.types[code] for code in batch["type"][first:last]] == ds["type"].values.tolist()


def test_a_block_of_time_gives_its_frames_only(catalog):
    split = Split.from_dict({"train": [{"dataset": "a*", "start": "300 ps", "stop": "400 ps"}]})
    frames = [frame for batch in Loader(catalog, split.train, batch_size=4) for frame in batch["frame"].tolist()]
    assert sorted(frames) == list(range(30, 40))


def test_the_last_small_batch_can_be_left_out(catalog):
    loader = Loader(catalog, SPLIT.train, batch_size=16, drop_last=True)
    assert [len(batch["frame"]) for batch in loader] == [16] * 13
    assert len(loader) == 13


def test_a_loader_refuses_held_out_data(catalog):
    with pytest.raises(InputError, match="held out"):
        Loader(catalog, SPLIT.heldout, batch_size=16)
    leaky = Split.from_dict({"train": [{"dataset": "*"}], "heldout": [{"dataset": "c*"}]})
    with pytest.raises(InputError, match=r"c/r1/cg   held out"):
        Loader(catalog, leaky.train, batch_size=16)


def test_a_variable_that_is_not_there_is_an_error_that_says_so(catalog):
    with pytest.raises(InputError, match="a/r1/cg: has no force"):
        Loader(catalog, SPLIT.train, batch_size=16, variables=["position", "force"])
    with pytest.raises(InputError, match='did you mean "position"'):
        Loader(catalog, SPLIT.train, batch_size=16, variables=["positon"])


def test_without_boxes_there_is_no_box_in_the_batch():
    catalog = {"a/r1/cg": Entry(0, 10, 5, box=False)}
    assert "box" not in next(iter(Loader(catalog, BOTH.train, batch_size=4)))


def _joined(batches, name="position"):
    return [batch[name].numpy().tobytes() for batch in batches]


@pytest.mark.parametrize("ranks", [2, 4, 8])
@pytest.mark.parametrize("batch_size", [16, 5])
def test_batches_of_all_ranks_joined_are_those_of_one_process(catalog, ranks, batch_size):
    alone = list(Loader(catalog, SPLIT.train, batch_size=batch_size, seed=1))
    loaders = [
        Loader(catalog, SPLIT.train, batch_size=batch_size, seed=1, rank=n, world_size=ranks) for n in range(ranks)
    ]
    assert {len(loader) for loader in loaders} == {len(alone)}
    for whole, *parts in zip(alone, *loaders, strict=True):
        for name in ("position", "frame", "dataset", "time", "box"):
            assert torch.equal(torch.cat([part[name] for part in parts]), whole[name])


@pytest.mark.parametrize("threads", [1, 3, 8])
def test_the_number_of_threads_changes_nothing(catalog, threads):
    expected = _joined(Loader(catalog, SPLIT.train, batch_size=16, seed=1))
    assert _joined(Loader(catalog, SPLIT.train, batch_size=16, seed=1, threads=threads)) == expected


@settings(max_examples=8)
@given(
    batch_size=st.integers(1, 40),
    stop=st.integers(0, 30),
    seed=st.integers(0, 9),
    window=st.integers(1, 6),
    ranks=st.sampled_from([(1, 2), (4, 1), (2, 8)]),
    shape=st.sampled_from([{}, {"lag": 3}, {"length": 4}]),
)
def test_going_on_with_another_number_of_ranks_equals_never_having_stopped(
    batch_size, stop, seed, window, ranks, shape
):
    data = {"a/r1/cg": Entry(0, 61, 2), "b/r1/cg": Entry(1, 40, 3)}
    made = {"batch_size": batch_size, "seed": seed, "window": window, **shape}

    def loaders(number):
        return [Loader(data, BOTH.train, **made, rank=n, world_size=number) for n in range(number)]

    before, after = loaders(ranks[0]), loaders(ranks[1])
    stop = min(stop, len(before[0]))
    for loader in before:
        rows = iter(loader)
        for _ in range(stop):
            next(rows)
        rows.close()
    states = [json.loads(json.dumps(loader.state_dict())) for loader in before]
    assert all(state == states[0] for state in states)
    expected = _joined(Loader(data, BOTH.train, **made))[stop:]
    for loader in after:
        loader.load_state_dict(states[0])
    assert [b"".join(parts) for parts in zip(*map(_joined, after), strict=True)] == expected


def test_a_rank_may_have_nothing_of_the_last_batch():
    data = {"a/r1/cg": Entry(0, 17, 2)}
    sizes = [
        [len(batch["frame"]) for batch in Loader(data, BOTH.train, batch_size=8, rank=n, world_size=8)]
        for n in range(8)
    ]
    assert sizes == [[1, 1, 1], *[[1, 1, 0]] * 7]
    last = list(Loader(data, BOTH.train, batch_size=8, rank=7, world_size=8))[-1]
    assert last["position"].shape == (0, 2, 3)
    assert last["type"].shape == (0, 2)


def test_ranks_that_cannot_share_the_streams_are_told_how_many_would_do(catalog):
    with pytest.raises(InputError, match="streams = 8 cannot be shared by 3 processes; use streams=9"):
        Loader(catalog, SPLIT.train, batch_size=16, rank=0, world_size=3)
    with pytest.raises(InputError, match="only one of rank and world_size"):
        Loader(catalog, SPLIT.train, batch_size=16, rank=0)
    with pytest.raises(InputError, match="rank = 4 of world_size = 4"):
        Loader(catalog, SPLIT.train, batch_size=16, rank=4, world_size=4)


@pytest.mark.parametrize("which", ["catalog", "ragged"])
@pytest.mark.parametrize(
    ("shape", "frames"), [({"lag": 2}, [0, 2]), ({"lag": "200 ps"}, [0, 20]), ({"length": 5}, range(5))]
)
def test_pairs_and_windows_are_frames_of_one_dataset_in_their_order(request, which, shape, frames):
    data = request.getfixturevalue(which)
    loader = Loader(data, BOTH.train, batch_size=7, seed=2, **shape)
    seen = 0
    for batch in loader:
        assert batch["time"].tolist() == [[10.0 * (first + n) for n in frames] for first in batch["frame"].tolist()]
        offsets = batch["offsets"].tolist() if loader.ragged else None
        for n, (number, first) in enumerate(zip(batch["dataset"], batch["frame"], strict=True)):
            expected = data[loader.names[number]].ds["position"].values[[int(first) + shift for shift in frames]]
            found = (
                batch["position"][n]
                if offsets is None
                else batch["position"][offsets[n] : offsets[n + 1]].swapaxes(0, 1)
            )
            assert np.array_equal(found, expected)
            assert batch["box"][n].shape == (len(frames), 3, 3)
            seen += 1
    assert seen == sum(entry.ds.sizes["frame"] - frames[-1] for entry in data.values())


def test_particles_of_ragged_batches_know_their_sample(ragged):
    for batch in Loader(ragged, BOTH.train, batch_size=7, seed=3):
        counts = batch["offsets"].diff()
        assert torch.equal(batch["batch"], torch.arange(len(counts)).repeat_interleave(counts))


def test_endless_batches_are_those_of_epoch_after_epoch_and_can_be_resumed(catalog):
    loader = Loader(catalog, SPLIT.train, batch_size=16, seed=1)
    expected = _joined(loader) + _joined(loader) + _joined(loader)
    endless = Loader(catalog, SPLIT.train, batch_size=16, seed=1)
    assert _joined(islice(endless.endless(), 20)) == expected[:20]
    assert (endless.state_dict()["epoch"], endless.state_dict()["step"]) == (1, 6)
    assert _joined(islice(endless.endless(), 10)) == expected[20:30]
    small = Loader(catalog, SPLIT.train, batch_size=16, seed=1, drop_last=True)
    assert _joined(islice(small.endless(), 14)) == [*expected[:13], expected[14]]


def _counted(loader):
    """Count the blocks that a loader reads from now on."""
    seen, read = [], loader.pool._read
    loader.pool._read = lambda block: seen.append(block) or read(block)
    return seen


def test_resuming_reads_nothing_of_the_windows_that_came_before(small_chunks):
    data = {"a/r1/cg": Entry(0, 4000, 3)}
    made = {"batch_size": 16, "seed": 1, "window": 2, "memory": 10**6}
    loader = Loader(data, BOTH.train, **made)
    loader.load_state_dict(Loader(data, BOTH.train, **made).plan.state(0, len(loader) - 2))
    seen = _counted(loader)
    assert len(list(loader)) == 2
    assert len(seen) <= 8 * 2 * 2 < len(loader.plan.blocks) / 3


def test_memory_is_bounded_and_a_whole_epoch_passes_through_it(monkeypatch):
    monkeypatch.setattr(sources, "_MEMORY_CHUNK", 6000)
    data = {"a/r1/cg": Entry(0, 4000, 30)}
    loader = Loader(data, BOTH.train, batch_size=16, seed=1, window=2, memory=400_000)
    assert int(loader.pool._sizes.sum()) > 3 * 400_000
    assert sorted(frame for batch in loader for frame in batch["frame"].tolist()) == list(range(4000))
    assert loader.pool.peak <= 400_000
    with pytest.raises(InputError, match=r"window = 16 blocks in 8 streams take up to .* use window=7"):
        Loader(data, BOTH.train, batch_size=16, memory=400_000)


def test_an_epoch_that_is_left_gives_its_blocks_back_and_can_go_on(catalog):
    loader = Loader(catalog, SPLIT.train, batch_size=16, seed=1)
    through = _joined(Loader(catalog, SPLIT.train, batch_size=16, seed=1))
    for number, _ in enumerate(loader):
        if number == 3:
            break
    assert loader.pool._held == 0
    assert not loader.pool._holders
    assert _joined(loader) == through[4:]


class Broken(Entry):
    """A dataset whose frames cannot be read from the 60th on."""

    def open(self):
        def fail(block):
            if 60 in block:
                raise ConnectionError("the network is down")
            return self.ds["position"].values[block]

        frames = da.arange(self.ds.sizes["frame"], chunks=1)
        lazy = da.map_blocks(
            fail,
            frames,
            new_axis=[1, 2],
            chunks=(1, *self.ds["position"].shape[1:]),
            dtype=np.float32,
            meta=np.empty((0, 0, 0), np.float32),
        )
        return self.ds.assign(position=(("frame", "particle", "xyz"), lazy))


def test_what_cannot_be_read_ends_the_epoch_and_says_which_dataset(catalog):
    loader = Loader(catalog | {"b/r1/cg": Broken(1, 70, 5)}, SPLIT.train, batch_size=16, seed=1)
    with pytest.raises(
        StoreError, match=r"b/r1/cg: position\[0:70\] cannot be read: ConnectionError: the network is down"
    ):
        list(loader)
    assert loader.pool._held == 0


def test_an_interrupt_ends_the_epoch_at_once_and_leaves_nothing_behind(catalog, monkeypatch):
    loader = Loader(catalog, SPLIT.train, batch_size=16, seed=1)
    rows = iter(loader)
    next(rows)

    def interrupt(batches, batch):
        raise KeyboardInterrupt

    monkeypatch.setattr(Batches, "send", interrupt)
    with pytest.raises(KeyboardInterrupt):
        next(rows)
    assert loader.pool._held == 0
    assert not any(future.running() for future in loader.pool._blocks.values())


def test_the_split_is_a_part_of_the_place(catalog):
    state = Loader(catalog, SPLIT.train, batch_size=16).state_dict()
    other = Split.from_dict({"train": [{"dataset": "a*"}, {"dataset": "b*"}], "heldout": [{"dataset": "c/r1/cg"}]})
    with pytest.raises(InputError, match=r"split   there [0-9a-f]{12}, here [0-9a-f]{12}"):
        Loader(catalog, other.train, batch_size=16).load_state_dict(state)
    changed = catalog | {"b/r1/cg": Entry(5, 70, 5)}
    with pytest.raises(InputError, match="b/r1/cg   changed: another version"):
        Loader(changed, SPLIT.train, batch_size=16).load_state_dict(state)


@pytest.mark.parametrize("shape", [{}, {"length": 3}])
def test_weights_of_frames_come_too(catalog, shape):
    for entry in catalog.values():
        entry.ds["weight"] = ("frame", np.arange(entry.ds.sizes["frame"], dtype=float))
    for batch in Loader(catalog, SPLIT.train, batch_size=16, variables=["position", "weight"], **shape):
        expected = batch["frame"][:, None] + torch.arange(3) if shape else batch["frame"]
        assert torch.equal(batch["weight"], expected.float())
