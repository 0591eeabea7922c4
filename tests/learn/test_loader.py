import json
from itertools import pairwise

import numpy as np
import pytest
import torch
import xarray as xr

from cgstore.errors import InputError
from cgstore.learn.loader import Loader
from cgstore.learn.split import Split


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
