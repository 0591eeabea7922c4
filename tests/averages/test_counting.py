"""From frames to blocks: one reading, any size of task, the same numbers."""

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from cgstore.averages import counting
from cgstore.averages.blocks import merge_blocks
from cgstore.averages.counting import count_blocks
from cgstore.averages.onepass import distributions
from cgstore.averages.pair import rdf, rdf_blocks, rdf_counter
from cgstore.averages.spec import BondedSpec, RdfSpec, Spec

PARTS = (slice(0, 256), slice(256, None))


def test_blocks_larger_than_a_task_have_the_same_bits(gas, monkeypatch):
    ds = gas(2047, 20, 2 * np.eye(3), seed=1, weight=np.random.default_rng(1).random(2047))
    whole = rdf_blocks(ds, r_max=0.9).compute()
    assert whole.sizes["block"] == 256
    monkeypatch.setattr(counting, "_TASK_BYTES", 2 * 20 * 12)  # two frames, a quarter of a block
    xr.testing.assert_identical(rdf_blocks(ds, r_max=0.9).compute(), whole)
    monkeypatch.setattr(counting, "_COUNT_BYTES", 1)  # frame by frame
    xr.testing.assert_identical(rdf_blocks(ds, r_max=0.9).compute(), whole)


def test_what_many_tasks_count_together_does_not_depend_on_how_many_blocks_each_has(gas, monkeypatch):
    ds = gas(700, 15, 2 * np.eye(3), seed=1, weight=np.random.default_rng(1).random(700))
    expected = rdf_blocks(ds, r_max=0.9).compute()
    assert expected.frames.values.tolist() == [4] * 175
    for tasks in (1, 3, 700):
        monkeypatch.setattr(counting, "_TASKS", tasks)
        xr.testing.assert_identical(rdf_blocks(ds, r_max=0.9).compute(), expected)


@pytest.mark.parametrize("length", [1, 2, 4])
def test_merged_blocks_have_the_bits_of_longer_ones(gas, length):
    boxes = np.eye(3) * np.random.default_rng(2).uniform(2.0, 2.1, (701, 1, 1))
    ds = gas(701, 15, boxes, seed=1, weight=np.random.default_rng(1).random(701))
    counter = rdf_counter(ds, pairs=None, r_max=0.9, bin_width=0.1, exclude_bonded=0)
    ((fine,),) = count_blocks(ds, [counter], length=length)
    ((coarse,),) = count_blocks(ds, [counter], length=8)
    xr.testing.assert_identical(merge_blocks([fine], length=8).compute(), coarse.compute())
    first, second = (count_blocks(ds.isel(frame=part), [counter], length=length) for part in PARTS)
    merged = merge_blocks([first[0][0], second[0][0]], length=8).compute()
    xr.testing.assert_identical(merged.drop_vars("frame_spacing"), coarse.drop_vars("frame_spacing").compute())


@pytest.mark.parametrize("chunk", [8, 50, 400])
def test_each_chunk_is_read_once_for_all_distributions(gas, chunk):
    ds = gas(400, 10, 2 * np.eye(3), seed=1, bond=[(0, 1)])
    read = []

    def load(block, block_info=None):
        read.append(block_info[0]["array-location"][0])
        return block

    source = da.from_array(ds.position.values, chunks=(chunk, -1, -1)).map_blocks(load, dtype=np.float32)
    lazy = ds.assign(position=(ds.position.dims, source))
    read.clear()
    spec = Spec(rdf=RdfSpec(r_max="0.9 nm"), bonded=BondedSpec(bond_max="2 nm"))
    tree = distributions(lazy, spec)
    assert read == []
    tree.compute(scheduler="threads")
    assert sorted(read) == [(start, min(start + chunk, 400)) for start in range(0, 400, chunk)]


def test_positions_opened_without_dask_work_too(gas, tmp_path):
    ds = gas(30, 10, 2 * np.eye(3), seed=1)
    ds[["position", "box"]].drop_vars("type").to_zarr(tmp_path / "x.zarr", consolidated=False)
    opened = xr.open_zarr(tmp_path / "x.zarr", chunks=None, consolidated=False).assign_coords(type=ds.type)
    xr.testing.assert_equal(rdf(opened, r_max=0.9).compute(), rdf(ds, r_max=0.9).compute())


def test_correlation_times_are_in_ps_of_the_frames(gas):
    g = rdf(gas(256, 20, 2 * np.eye(3), seed=3), r_max=0.9).compute()
    assert g.correlation_time.values[0] == pytest.approx(0.5 * 2 * 2.0, rel=0.5)
    timeless = rdf(gas(256, 20, 2 * np.eye(3), seed=3).drop_vars("time"), r_max=0.9).compute()
    assert np.isnan(timeless.correlation_time).all()
    xr.testing.assert_equal(timeless.rdf_error, g.rdf_error)
