"""From frames to blocks: one reading, any size of task, the same numbers."""

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from cgstore.averages import counting
from cgstore.averages.onepass import BondedSpec, RdfSpec, Spec, distributions
from cgstore.averages.pair import rdf, rdf_blocks


def test_blocks_larger_than_a_task_are_added_up_exactly(gas, monkeypatch):
    ds = gas(1024, 20, 2 * np.eye(3), seed=1, weight=np.random.default_rng(1).random(1024))
    whole = rdf_blocks(ds, r_max=0.9).compute()
    assert whole.sizes["block"] == 128
    monkeypatch.setattr(counting, "_TASK_BYTES", 2 * 20 * 12)  # two frames, a quarter of a block
    parts = rdf_blocks(ds, r_max=0.9).compute()
    xr.testing.assert_equal(parts["count"], whole["count"])
    xr.testing.assert_allclose(parts, whole, rtol=1e-13)


def test_what_many_tasks_count_together_does_not_depend_on_how_many_blocks_each_has(gas, monkeypatch):
    ds = gas(700, 15, 2 * np.eye(3), seed=1, weight=np.random.default_rng(1).random(700))
    expected = rdf_blocks(ds, r_max=0.9).compute()
    assert expected.frames.values.tolist() == [8] * 87 + [4]
    for tasks in (1, 3, 700):
        monkeypatch.setattr(counting, "_TASKS", tasks)
        xr.testing.assert_identical(rdf_blocks(ds, r_max=0.9).compute(), expected)


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
