"""Mean squared displacements of motion whose answer is known, and beside another program."""

import warnings

import numpy as np
import pytest
import xarray as xr

from cgstore.averages.displacement import mean_squared_displacement
from cgstore.errors import InputError, NotFound, PhysicsError


def walk(frames, bodies, *, seed, step=0.1):
    """Return the way of independent walkers (frame, body, xyz), from the middle of a box of 2 nm."""
    return 1 + np.cumsum(np.random.default_rng(seed).normal(0, step, (frames, bodies, 3)), axis=0)


def plain_msd(way, lag, dims="xyz"):
    """Say it in NumPy: the mean over origins and bodies."""
    columns = ["xyz".index(letter) for letter in dims]
    return ((way[lag:] - way[:-lag])[..., columns] ** 2).sum(axis=2).mean()


@pytest.mark.parametrize("dims", ["xyz", "xy", "z"])
def test_msd_is_the_mean_over_origins_and_molecules_per_kind(dataset, dims):
    way = walk(101, 7, seed=1)
    kinds = ["W", "L", "W", "L", "L", "W", "W"]
    ds = dataset(way % 2, 2 * np.eye(3), molecule=np.arange(7), molecule_kind=kinds, type=["A", "B", *"ABABA"])
    m = mean_squared_displacement(ds, dims=dims, lags=[2, 20, 100], remove_drift=False).compute()
    assert m.kind.values.tolist() == ["L", "W"]
    assert m.lag.values.tolist() == [2.0, 20.0, 100.0]
    for kind in "LW":
        chosen = way[:, np.array(kinds) == kind]
        expected = [plain_msd(chosen, lag, dims) for lag in (1, 10, 50)]
        np.testing.assert_allclose(m.msd.sel(kind=kind), expected, rtol=1e-4)
    assert m.msd.attrs["units"] == m.msd_error.attrs["units"] == "nm^2"
    assert (m.attrs["dims"], m.attrs["unwrapped"], m.attrs["frame_spacing"]) == (dims, "toroidal", 2.0)
    one = mean_squared_displacement(ds, of="particle", kinds=["B"], dims=dims, lags=[2], remove_drift=False)
    np.testing.assert_allclose(one.msd[0, 0], plain_msd(way[:, [1, 3, 5]], 1, dims), rtol=1e-4)


def test_drift_is_taken_off(dataset):
    way = walk(101, 5, seed=2)
    flowing = dataset((way + np.linspace(0, 5, 101)[:, None, None]) % 2, 2 * np.eye(3))
    m = mean_squared_displacement(flowing).msd.values
    relative = way - way.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(m[0, :3], [plain_msd(relative, lag) for lag in (1, 2, 3)], rtol=1e-4)
    assert mean_squared_displacement(flowing, remove_drift=False).msd.values[0, -1] > 2 * m[0, -1]


def test_default_lags_are_ten_per_decade_to_a_quarter_of_the_run(dataset):
    m = mean_squared_displacement(dataset(walk(1001, 1, seed=1)))
    lags = m.lag_frames.values.tolist()
    assert lags[:7] == [1, 2, 3, 4, 5, 6, 8]
    assert lags[-1] == 200
    assert sum(10 <= lag < 100 for lag in lags) == 10


def test_errors_of_a_random_walk_cover_its_msd(dataset):
    # 60 kinds of walkers in one dataset: the 1 σ interval must cover 0.03 t in about 68 % of them, at every lag.
    way = walk(800, 60 * 16, seed=3)
    types = np.repeat([f"K{k:02}" for k in range(60)], 16)
    m = mean_squared_displacement(dataset(way, type=types), of="particle", remove_drift=False).compute()
    inside = abs(m.msd - 0.03 * m.lag_frames) < m.msd_error
    assert float(inside.mean()) == pytest.approx(0.68, abs=0.07)
    assert inside.mean("kind").values.min() > 0.45
    assert (m.blocks.sel(lag=slice(0, 60)) >= 4).mean() > 0.9
    assert (m.blocks.sel(lag=slice(120, None)) == 0).all()


def test_the_error_of_one_molecule_at_long_lags_is_not_known(dataset):
    m = mean_squared_displacement(dataset(walk(800, 1, seed=4)), remove_drift=False).compute()
    assert np.isfinite(m.msd_error.sel(lag=slice(0, 40))).all()
    assert np.isnan(m.msd_error.sel(lag=slice(120, None))).all()
    assert np.isfinite(m.msd).all()


def test_nothing_is_computed_early_and_chunks_and_threads_do_not_matter(dataset, no_computing):
    position = walk(200, 6, seed=5) % 2
    whole = mean_squared_displacement(dataset(position, 2 * np.eye(3))).compute(scheduler="synchronous")
    with no_computing():
        lazy = mean_squared_displacement(dataset(position, 2 * np.eye(3), chunk=17))
    xr.testing.assert_identical(lazy.compute(scheduler="threads"), whole)


def test_msd_is_that_of_mdanalysis_in_a_constant_box(dataset):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import MDAnalysis
        from MDAnalysis.analysis.msd import EinsteinMSD
        from MDAnalysis.transformations import NoJump

        way = walk(120, 12, seed=6) % 2
        universe = MDAnalysis.Universe.empty(12, trajectory=True)
        box = np.broadcast_to([20.0, 20, 20, 90, 90, 90], (120, 6))
        universe.load_new((10 * way).astype(np.float32), dimensions=box.copy(), order="fac")
        universe.trajectory.add_transformations(NoJump())
        theirs = EinsteinMSD(universe, msd_type="xy", fft=False).run().results.timeseries / 100
    m = mean_squared_displacement(dataset(way, 2 * np.eye(3)), dims="xy", remove_drift=False)
    np.testing.assert_allclose(m.msd[0], theirs[m.lag_frames.values], rtol=1e-4)


def test_what_has_no_msd_is_said(dataset, monkeypatch):
    ds = dataset(walk(40, 4, seed=7))
    with pytest.raises(InputError, match="found dims = 'xw'"):
        mean_squared_displacement(ds, dims="xw")
    with pytest.raises(NotFound, match='no molecule of kind "C"'):
        mean_squared_displacement(ds, kinds=["C"])
    for lag in (3.0, 0.0, 42.0):
        with pytest.raises(InputError, match=f"lag of {lag:g} ps, expected multiples of 2 ps"):
            mean_squared_displacement(ds, lags=[lag])
    with pytest.raises(InputError, match="found no times"):
        mean_squared_displacement(ds.drop_vars("time"))
    with pytest.raises(InputError, match="found 2 frames"):
        mean_squared_displacement(ds.isel(frame=slice(2)))
    with pytest.raises(PhysicsError, match="not evenly spaced: 8 ps from frame 9 to 10, 2 ps elsewhere; take an even"):
        mean_squared_displacement(ds.isel(frame=[*range(10), *range(13, 40)]))
    with pytest.raises(PhysicsError, match="found weights of frames"):
        mean_squared_displacement(ds.assign(weight=("frame", np.ones(40))))
    monkeypatch.setattr("cgstore.averages.lagged._MOST_BYTES", 1000)
    with pytest.raises(InputError, match="the trajectories of 4 bodies in 40 frames take"):
        mean_squared_displacement(ds)
