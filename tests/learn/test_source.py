import shutil
from types import SimpleNamespace

import numpy as np
import pytest

import cgstore
from cgstore.errors import InputError, IntegrityError
from cgstore.learn.loader import Loader
from cgstore.learn.source import open_source, spread_frames, temperature_of
from cgstore.learn.split import Member, Split

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
