"""Systems with known answers, and a scheduler that refuses to compute."""

import dask
import numpy as np
import pytest
import xarray as xr

_FRAME = ("position", "box", "weight")


def make_dataset(position, box=None, *, type=None, chunk=None, **variables):
    """Make a dataset by hand: arrays by name, terms as lists."""
    frames, particles = position.shape[:2]
    data = {"position": (("frame", "particle", "xyz"), np.asarray(position, np.float32))}
    if box is not None:
        boxes = np.broadcast_to(np.asarray(box, np.float32), (frames, 3, 3))
        data["box"] = (("frame", "box_vector", "xyz"), boxes)
    for name in {"bond", "angle", "dihedral"} & set(variables):
        data[name] = ((name, f"{name}_end"), np.asarray(variables.pop(name), np.int32))
    if "weight" in variables:
        data["weight"] = ("frame", np.asarray(variables.pop("weight"), np.float64))
    coords = {"type": ("particle", np.asarray(["A"] * particles if type is None else type))}
    coords["time"] = ("frame", 2.0 * np.arange(frames))
    coords |= {name: ("particle", np.asarray(values)) for name, values in variables.items()}
    ds = xr.Dataset(data, coords, {"name": "gas_300k/r1/cg", "version": 1, "digest": "d1"})
    lazy = {} if chunk is None else {name: ds[name].chunk(frame=chunk) for name in ds.data_vars if name in _FRAME}
    return ds.assign(lazy)


@pytest.fixture
def dataset():
    return make_dataset


@pytest.fixture
def gas():
    """Return a function that makes an ideal gas: independent frames, uniform in each box."""

    def make(frames, particles, box, *, seed, **rest):
        random = np.random.default_rng(seed)
        boxes = np.broadcast_to(np.asarray(box, np.float64), (frames, 3, 3))
        return make_dataset(random.random((frames, particles, 3)) @ boxes, boxes, **rest)

    return make


@pytest.fixture
def no_computing():
    """Return a context in which dask raises when anything computes."""

    def refuse(*_args, **_options):
        raise AssertionError("something was computed too early")

    return lambda: dask.config.set(scheduler=refuse)
