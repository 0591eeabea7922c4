"""Diffusion coefficients of motion whose coefficient is known: values, errors, and when there is none."""

import numpy as np
import pytest
import xarray as xr
from scipy.signal import lfilter

from cgstore.averages.diffusion import acceleration_factor, diffusion_coefficient, finite_size_diffusion
from cgstore.averages.displacement import mean_squared_displacement
from cgstore.errors import InputError, PhysicsError


def breathing_walkers(frames, bodies, *, seed, swing=0.005):
    """Return wrapped positions of Brownian walkers at constant pressure, D = 0.005 nm² per frame, and their boxes."""
    random = np.random.default_rng(seed)
    scale = 1 + swing * lfilter([1], [1, -0.9], random.normal(size=frames)) * np.sqrt(1 - 0.9**2)
    box = scale[:, None, None] * np.array([[2.2, 0, 0], [0.9, 2.0, 0], [-0.7, 0.8, 2.4]])
    way = random.random((1, bodies, 3)) * 2 + np.cumsum(random.normal(0, 0.1, (frames, bodies, 3)), axis=0)
    fraction = way @ np.linalg.inv(box.mean(axis=0))
    return (fraction - np.floor(fraction)) @ box, box


def langevin(frames, bodies, *, seed, relaxation):
    """Return positions of exact Langevin motion with ⟨v²⟩ = 1 per direction: D = relaxation time, in frames."""
    a, t = np.exp(-1 / relaxation), relaxation
    covariance = [[1 - a * a, t * (1 - a) ** 2], [t * (1 - a) ** 2, t * t * (2 / t - 3 + 4 * a - a * a)]]
    noise = np.linalg.cholesky(covariance) @ np.random.default_rng(seed).normal(size=(frames * bodies * 3, 2)).T
    kick, push = noise.reshape(2, frames, bodies, 3)
    kick[0] /= np.sqrt(1 - a * a)
    velocity = lfilter([1], [1, -a], kick, axis=0)
    return np.cumsum(t * (1 - a) * velocity[:-1] + push[1:], axis=0)


def kinds_of(kinds, each):
    return np.repeat([f"K{k:04}" for k in range(kinds)], each)


def coverage(ds, true):
    """Return the coefficients, and in which part of the kinds the 1 σ interval covers the true one."""
    d = diffusion_coefficient(mean_squared_displacement(ds, of="particle")).compute()
    known = d.where(np.isfinite(d.diffusion), drop=True)
    return d, float((abs(known.diffusion - true) < known.diffusion_error).mean())


def test_errors_cover_the_coefficient_of_walkers_in_a_breathing_sheared_box(dataset):
    position, box = breathing_walkers(400, 200 * 12, seed=1)
    d, part = coverage(dataset(position, box, type=kinds_of(200, 12)), 0.0025)
    assert (d.reason == "").mean() > 0.9
    assert part == pytest.approx(0.68, abs=0.1)
    assert float(d.diffusion.mean()) == pytest.approx(0.0025, rel=0.006)
    assert d.diffusion.attrs["units"] == d.diffusion_error.attrs["units"] == "nm^2/ps"
    assert float(d.fit_start.median()) == 4.0
    assert (d.fit_stop == 80.0).all()


def test_errors_cover_the_coefficient_of_motion_that_is_ballistic_first(dataset):
    way = langevin(1500, 60 * 20, seed=2, relaxation=5.0)
    d, part = coverage(dataset(way, type=kinds_of(60, 20)), 2.5)
    assert (d.reason == "").mean() > 0.85
    assert part == pytest.approx(0.68, abs=0.17)
    assert float(d.diffusion.mean()) == pytest.approx(2.5, rel=0.02)
    # The window begins where the memory e⁻ᵗ is gone, in most of them after five relaxation times.
    assert 30 <= float(d.fit_start.median()) <= 120


@pytest.mark.slow
def test_errors_cover_the_coefficient_in_68_percent(dataset):
    position, box = breathing_walkers(1000, 400 * 16, seed=3)
    assert coverage(dataset(position, box, type=kinds_of(400, 16)), 0.0025)[1] == pytest.approx(0.68, abs=0.07)
    way = langevin(2000, 200 * 16, seed=4, relaxation=5.0)
    assert coverage(dataset(way, type=kinds_of(200, 16)), 2.5)[1] == pytest.approx(0.68, abs=0.07)


def test_motion_that_is_not_diffusive_yet_has_no_coefficient(dataset):
    ballistic = langevin(2001, 100, seed=5, relaxation=100.0)
    caged = np.random.default_rng(6).normal(0, 0.05, (2000, 100, 3))
    types = ["B"] * 100 + ["C"] * 100
    ds = dataset(np.concatenate([ballistic, caged], axis=1), type=types)
    # The drift of the fast ones would carry the others along.
    d = diffusion_coefficient(mean_squared_displacement(ds, of="particle", remove_drift=False)).compute()
    assert np.isnan(d.diffusion).all()
    assert np.isnan(d.diffusion_error).all()
    assert "not diffusive yet" in str(d.reason.sel(kind="B").values)
    assert "subdiffusive: the exponent is " in str(d.reason.sel(kind="C").values)


def test_a_given_window_is_used_and_judged(dataset):
    way = langevin(400, 100, seed=7, relaxation=200.0)
    msd = mean_squared_displacement(dataset(way))
    d = diffusion_coefficient(msd, fit=(20, 80)).sel(kind="A").compute()
    assert np.isfinite(d.diffusion)
    assert (float(d.fit_start), float(d.fit_stop)) == (20.0, 80.0)
    assert str(d.reason.values).startswith("superdiffusive: the exponent is 1.9")
    assert d.attrs["window"] == "given"
    with pytest.raises(InputError, match="found 1 lags between 20 and 21 ps, expected 3 or more; lags go from 2 to"):
        diffusion_coefficient(msd, fit=(20, 21))


def test_the_fit_of_a_straight_line_is_exact(dataset):
    msd = mean_squared_displacement(dataset(langevin(300, 30, seed=8, relaxation=2.0)))
    straight = msd.compute()
    origins = straight["origins"]
    straight["sum"] = 0 * straight["sum"] + (0.7 + 6 * 0.05 * straight.lag) * origins
    d = diffusion_coefficient(straight, fit=(4, 40)).compute()
    assert float(d.diffusion[0]) == pytest.approx(0.05, rel=1e-9)


def test_a_short_run_says_so(dataset):
    d = diffusion_coefficient(mean_squared_displacement(dataset(langevin(30, 10, seed=9, relaxation=1.0)))).compute()
    assert np.isnan(d.diffusion).all()
    assert "too few frames" in str(d.reason[0].values)


def test_of_a_dataset_it_is_that_of_its_molecules_and_lazy(dataset, no_computing):
    ds = dataset(langevin(600, 30, seed=10, relaxation=1.0), chunk=100)
    with no_computing():
        lazy = diffusion_coefficient(ds)
    xr.testing.assert_identical(
        lazy.compute(), diffusion_coefficient(mean_squared_displacement(ds).compute()).compute()
    )


def test_an_infinite_box_adds_the_term_of_yeh_and_hummer_and_the_error_of_the_viscosity():
    ds = xr.Dataset({"diffusion": ("kind", [2.3e-3]), "diffusion_error": ("kind", [3e-5])}, {"kind": ["W"]})
    ds.attrs["dims"] = "xyz"
    found = finite_size_diffusion(ds, edge=3.0, temperature=298.15, viscosity=512.0, viscosity_error=51.2)
    term = 2.837297 * 0.00831446 * 298.15 / (6 * np.pi * 512 * 3)
    assert float(found.diffusion[0]) == pytest.approx(2.3e-3 + term, rel=1e-6)
    assert float(found.diffusion_error[0]) == pytest.approx(np.hypot(3e-5, 0.1 * term), rel=1e-6)
    np.testing.assert_allclose(
        finite_size_diffusion([1e-3, 2e-3], edge=[2.0, 4.0], temperature=298.15, viscosity=512.0),
        [1e-3 + 1.5 * term, 2e-3 + 0.75 * term],
        rtol=1e-6,
    )
    with pytest.raises(PhysicsError, match=r"found viscosity = -1.0, expected positive"):
        finite_size_diffusion(1e-3, edge=3.0, temperature=300.0, viscosity=-1.0)
    with pytest.raises(PhysicsError, match='found dims = "xy", expected "xyz"'):
        finite_size_diffusion(ds.assign_attrs(dims="xy"), edge=3.0, temperature=300.0, viscosity=512.0)


def test_the_interval_of_the_acceleration_factor_covers_the_ratio():
    random = np.random.default_rng(11)
    fast, slow = 6 * (1 + 0.15 * random.normal(size=2000)), 2 * (1 + 0.1 * random.normal(size=2000))

    def estimates(values, part):
        true = values.mean()
        return xr.Dataset({"diffusion": ("kind", values), "diffusion_error": ("kind", np.full(2000, part * true))})

    names = [f"K{k}" for k in range(2000)]
    a = acceleration_factor(
        estimates(fast, 0.15).assign_coords(kind=names), estimates(slow, 0.1).assign_coords(kind=names)
    )
    assert float(((a.acceleration_low < 3) & (a.acceleration_high > 3)).mean()) == pytest.approx(0.68, abs=0.04)
    assert float((abs(a.acceleration - 3) < a.acceleration_error).mean()) == pytest.approx(0.68, abs=0.05)


def test_ratios_are_of_the_same_kinds_and_directions():
    def one(kind, value, dims="xyz"):
        variables = {"diffusion": ("kind", [value]), "diffusion_error": ("kind", [0.1])}
        return xr.Dataset(variables, {"kind": [kind]}, {"dims": dims})

    with pytest.raises(InputError, match="the kinds A and B, none of them in both"):
        acceleration_factor(one("A", 1.0), one("B", 1.0))
    with pytest.raises(InputError, match='found dims "xyz" and "xy"'):
        acceleration_factor(one("A", 1.0), one("A", 1.0, "xy"))
    for value in (np.nan, -0.1, 0.0):
        unknown = acceleration_factor(one("A", 1.0), one("A", value))
        assert all(np.isnan(unknown[name]).all() for name in unknown)
