"""Velocity autocorrelation functions of Langevin motion, whose integral is known."""

import numpy as np
import pytest
import xarray as xr
from scipy.signal import lfilter

from cgstore.averages.velocity import velocity_autocorrelation
from cgstore.errors import InputError, NotFound, PhysicsError


def langevin(frames, bodies, *, seed, relaxation=10.0, speed=0.3):
    """Return velocities of an Ornstein–Uhlenbeck process: `speed` per direction, `relaxation` in frames."""
    a = np.exp(-1 / relaxation)
    kick = np.random.default_rng(seed).normal(0, speed * np.sqrt(1 - a * a), (frames, bodies, 3))
    kick[0] /= np.sqrt(1 - a * a)
    return lfilter([1], [1, -a], kick, axis=0)


@pytest.fixture
def moving(dataset):
    """Return a function that makes a dataset of velocities, two frames per ps."""

    def make(velocity, chunk=None, **rest):
        ds = dataset(np.zeros(velocity.shape), **rest)
        variable = xr.DataArray(velocity.astype(np.float32), dims=("frame", "particle", "xyz"))
        ds = ds.assign(velocity=variable if chunk is None else variable.chunk(frame=chunk))
        return ds.assign_coords(time=("frame", 0.5 * np.arange(len(velocity))))

    return make


def test_vacf_and_its_integral_are_those_of_langevin_motion_within_their_errors(moving):
    types = np.repeat([f"K{k:02}" for k in range(40)], 20)
    ds = moving(langevin(1200, 800, seed=1), type=types)
    c = velocity_autocorrelation(ds, of="particle", lags=np.arange(0, 31, 2) * 0.5).compute()
    t, a = c.lag_frames, np.exp(-0.1)
    # The drift that is taken off is that of 800 independent bodies.
    exact = 0.27 * np.exp(-t / 10) * (1 - 1 / 800)
    inside = abs(c.vacf - exact) < c.vacf_error
    assert float(inside.mean()) == pytest.approx(0.68, abs=0.08)
    # What the trapezoidal rule makes of an exponential, two frames (1 ps) at a time.
    integral = 0.09 * (1 + a**2) / (1 - a**2) / 2 * (1 - np.exp(-t / 10)) * (1 - 1 / 800)
    inside = abs(c.diffusion - integral) < c.diffusion_error
    assert float(inside.isel(lag=slice(1, None)).mean()) == pytest.approx(0.68, abs=0.12)
    assert (c.vacf.attrs["units"], c.diffusion.attrs["units"]) == ("nm^2/ps^2", "nm^2/ps")


def test_lags_are_every_frame_up_to_a_tenth_of_the_run(moving):
    c = velocity_autocorrelation(moving(langevin(100, 2, seed=1)))
    assert c.lag.values.tolist() == (0.5 * np.arange(11)).tolist()
    long = velocity_autocorrelation(moving(np.zeros((5000, 1, 3))))
    assert long.sizes["lag"] == 401


def test_a_normalised_function_begins_with_exactly_one(moving):
    ds = moving(langevin(600, 30, seed=2))
    plain = velocity_autocorrelation(ds, lags=[0, 2, 5]).compute()
    c = velocity_autocorrelation(ds, lags=[0, 2, 5], normalise=True).compute()
    assert (float(c.vacf[0, 0]), float(c.vacf_error[0, 0])) == (1.0, 0.0)
    np.testing.assert_allclose(c.vacf, plain.vacf / plain.vacf.sel(lag=0))
    assert c.vacf.attrs["units"] == "1"
    np.testing.assert_allclose(c.diffusion, plain.diffusion)
    assert np.isnan(velocity_autocorrelation(ds, lags=[2, 5]).diffusion).all()


def test_molecules_have_the_velocity_of_their_centre_of_mass(moving):
    v = langevin(200, 8, seed=3)
    mass = np.array([1.0, 3.0] * 4)
    rest = {"molecule": np.repeat(np.arange(4), 2), "molecule_kind": ["M"] * 8, "mass": mass}
    c = velocity_autocorrelation(moving(v, **rest), lags=[0, 4]).compute()
    centre = (v[:, ::2] + 3 * v[:, 1::2]) / 4
    centre -= centre.mean(axis=1, keepdims=True)
    expected = [(centre**2).sum(axis=2).mean(), (centre[8:] * centre[:-8]).sum(axis=2).mean()]
    np.testing.assert_allclose(c.vacf.sel(kind="M"), expected, rtol=1e-5)


def test_nothing_is_computed_early(moving, no_computing):
    v = langevin(200, 6, seed=4)
    whole = velocity_autocorrelation(moving(v)).compute()
    with no_computing():
        lazy = velocity_autocorrelation(moving(v, chunk=30))
    xr.testing.assert_identical(lazy.compute(), whole)


def test_what_has_no_autocorrelation_is_said(moving, dataset):
    with pytest.raises(InputError, match="found no velocities; ingest them"):
        velocity_autocorrelation(dataset(np.zeros((10, 2, 3))))
    v = langevin(50, 3, seed=5)
    with pytest.raises(NotFound, match='no molecule of kind "C"'):
        velocity_autocorrelation(moving(v), kinds=["C"])
    v[7, 1, 0] = np.inf
    with pytest.raises(PhysicsError, match="frame 7 has a velocity that is not finite"):
        velocity_autocorrelation(moving(v)).compute()
