import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import cgstore
from cgstore.errors import InputError, IntegrityError
from cgstore.frames import Frames
from cgstore.learn.loader import Loader
from cgstore.learn.source import open_source, spread_frames, temperature_of
from cgstore.splits.split import Member, Split

NAME = "l150/r1/cg"


@pytest.fixture
def catalog(liquid):
    return cgstore.open_catalog(liquid.store)


def test_a_source_reads_the_bits_that_the_dataset_shows(catalog):
    source = open_source(catalog[NAME], Member(NAME))
    ds = catalog[NAME].open()
    for variable in ("position", "box"):
        assert source.read(variable, 3, 90).tobytes() == ds[variable].values[3:90].tobytes()
    assert (source.first, source.last) == (0, 400)
    assert source.type.tolist() == ds["type"].values.tolist()
    assert np.array_equal(source.time, ds["time"].values)


def test_a_loader_of_a_store_gives_the_frames_of_the_dataset(catalog):
    split = Split.from_dict({"train": [{"dataset": NAME}], "heldout": [{"dataset": "l130*"}]})
    ds = catalog[NAME].open().load()
    seen = []
    for batch in Loader(catalog, split.train, batch_size=32, seed=1):
        frame = batch["frame"].numpy()
        assert batch["position"].numpy().tobytes() == ds["position"].values[frame].tobytes()
        seen += frame.tolist()
    assert sorted(seen) == list(range(400))


def test_a_lost_chunk_is_an_error_and_no_fill_value(liquid, tmp_path):
    shutil.copytree(liquid.store, tmp_path / "store")
    for path in (tmp_path / "store" / NAME / "v000001" / "position").rglob("*"):
        if path.is_file() and path.name != "zarr.json":
            path.unlink()
    source = open_source(cgstore.open_catalog(tmp_path / "store")[NAME], Member(NAME))
    with pytest.raises(IntegrityError, match=r"position\[0:10\]: .*the file is missing; run verify"):
        source.read("position", 0, 10)


def test_starting_frames_are_spread_over_the_time_that_is_meant(catalog):
    source = open_source(catalog[NAME], Member(NAME, 50.0, 150.0))
    start = spread_frames(source, 10, seed=3)
    assert start.sizes["frame"] == 10
    edges = np.linspace(source.time[source.first], source.time[source.last - 1] + 0.5, 11)
    assert np.histogram(start["time"].values, edges)[0].tolist() == [1] * 10
    assert start.equals(spread_frames(source, 10, seed=3))
    assert not start["time"].equals(spread_frames(source, 10, seed=4)["time"])
    known = catalog[NAME].open()["position"].values
    frame = int(np.flatnonzero(source.time == start["time"].values[4])[0])
    assert start["position"].values[4].tobytes() == known[frame].tobytes()
    with pytest.raises(InputError, match="500 starting frames are wanted"):
        spread_frames(source, 500, seed=3)


def test_a_dataset_without_a_temperature_says_so(catalog):
    assert temperature_of(catalog, NAME) == 150.0
    with pytest.raises(InputError, match="state it in the recipe"):
        temperature_of({"x": SimpleNamespace(metadata={"temperature": None})}, "x")


def test_numbers_as_stored_times_the_step_are_what_the_dataset_shows(catalog):
    source = open_source(catalog[NAME], Member(NAME))
    numbers = source.numbers["position"]
    assert (numbers.dtype, numbers.shape, numbers.bytes) == (np.int16, (64, 3), 384)
    values = np.empty((87, 64, 3), np.int16)
    numbers.read(3, 90, values)
    assert (np.float32(values) * numbers.step).tobytes() == catalog[NAME].open()["position"].values[3:90].tobytes()


def test_integers_that_are_multiplied_on_the_device_have_the_bits_of_the_store(catalog, tmp_path, add_dataset):
    add_dataset(tmp_path, "a/r1/cg", frames=30, particles=5)
    add_dataset(tmp_path, "b/r1/cg", frames=20, particles=4, seed=2, position=np.full((20, 4, 3), 50.0) * np.ones(3))
    for data, names in ((catalog, "l130*"), (cgstore.open_catalog(tmp_path), "*")):
        split = Split.from_dict({"train": [{"dataset": names}]})
        shipped, direct = (Loader(data, split.train, batch_size=16, seed=1) for _ in range(2))
        shipped._batches = replace(shipped._batches, integers=True)
        for one, two in zip(shipped, direct, strict=True):
            assert one.keys() == two.keys()
            for name in one:
                assert one[name].dtype == two[name].dtype
                assert one[name].numpy().tobytes() == two[name].numpy().tobytes()
    kinds = {shipped._batches._forms[name].dtype for name in ("position", "box")}
    assert kinds == {torch.int32, torch.float32}  # the narrow integers of one dataset travel as those of the other


def test_each_dataset_is_multiplied_with_its_own_step(liquid, tmp_path):
    for name, precision in (("a/r1/cg", 0.001), ("b/r1/cg", 0.01)):
        ds = cgstore.open_catalog(liquid.store)[NAME].open().isel(frame=slice(0, 20), particle=slice(0, 64))
        rounded = (np.rint(ds["position"].values / np.float32(precision)) * np.float32(precision)).astype(np.float32)
        frames = Frames(rounded, ds["time"].values, ds["step"].values, box=ds["box"].values)
        liquid.publish(tmp_path, name, frames, precision=precision)
    catalog, split = cgstore.open_catalog(tmp_path), Split.from_dict({"train": [{"dataset": "*"}]})
    loader = Loader(catalog, split.train, batch_size=16, seed=1)
    loader._batches = replace(loader._batches, integers=True)
    for batch in loader:
        for n, (number, frame) in enumerate(zip(batch["dataset"], batch["frame"], strict=True)):
            expected = catalog[loader.names[number]].open()["position"].values[int(frame)]
            assert batch["position"][n].numpy().tobytes() == expected.tobytes()
