"""The engines simulate the Lennard-Jones fluid: sums over pairs, equations of state, and g(r) of another program."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from cgstore.averages.pair import rdf
from cgstore.averages.series import mean_of_series
from cgstore.campaigns.equation_of_state import kolafa_nezbeda
from cgstore.campaigns.lennard_jones import Settings, fluid_of
from cgstore.engines.fluid import Fluid, Trajectory, lattice, pressure_of, tails, velocities
from cgstore.engines.fluid_lammps import lammps_program, lammps_trajectory
from cgstore.engines.fluid_openmm import openmm_trajectory
from cgstore.units import BAR, BOLTZMANN

REFERENCE = Path(__file__).parents[1] / "data/campaigns/lj_rdf_lammps.txt"
SIGMA, EPSILON = 0.34, 1.0

needs_lammps = pytest.mark.skipif(lammps_program() is None, reason="LAMMPS is not on PATH")


def fluid(temperature: float, density: float, *, particles: int = 343, **changes) -> Fluid:
    """Return a fluid at a reduced state point."""
    edge = SIGMA * (particles / density) ** (1 / 3)
    point = {"sigma": SIGMA, "epsilon": EPSILON, "temperature": temperature * EPSILON / BOLTZMANN, "edge": edge}
    settings = Settings(particles=particles, **{"production": 640, "every": 20, **changes})
    return fluid_of(point, settings, seed=5)


def run(what: Fluid, engine: str, folder: Path) -> Trajectory:
    if engine == "lammps":
        return lammps_trajectory(what, folder)
    pytest.importorskip("openmm")
    return openmm_trajectory(what, platform=engine)


def sums(what: Fluid, position: np.ndarray) -> tuple[float, float]:
    """Return energy and virial of one frame, pair by pair."""
    first, second = np.triu_indices(what.particles, 1)
    apart = position[first].astype(float) - position[second]
    apart -= what.edge * np.rint(apart / what.edge)
    r = np.sqrt((apart**2).sum(axis=1))
    six = (what.sigma / r[r < what.cutoff]) ** 6
    return 4 * what.epsilon * (six**2 - six).sum(), 24 * what.epsilon * (2 * six**2 - six).sum()


@cache
def long_run(temperature: float, density: float, production: int) -> tuple[Fluid, Trajectory]:
    pytest.importorskip("openmm")
    what = fluid(temperature, density, equilibration=2000, production=production, every=50)
    return what, openmm_trajectory(what, platform="CPU")


@pytest.mark.parametrize("engine", ["Reference", "CPU", pytest.param("lammps", marks=needs_lammps)])
def test_energy_and_virial_are_sums_over_the_pairs_of_each_frame(engine, tmp_path):
    what = fluid(1.5, 0.5, particles=100, cutoff=2.5, equilibration=200)
    found = run(what, engine, tmp_path)
    assert found.frames.position.shape == (32, 100, 3)
    assert found.frames.time == pytest.approx(what.timestep * 20 * np.arange(1, 33))
    for frame in (0, 7, 15):
        # Positions are float32, and forces are steep.
        energy, virial = sums(what, found.frames.position[frame])
        assert found.energy[frame] == pytest.approx(energy, abs=0.01)
        assert found.virial[frame] == pytest.approx(virial, abs=0.2)
    assert found.temperature.mean() == pytest.approx(what.temperature, rel=0.2)


@pytest.mark.parametrize("engine", ["Reference", pytest.param("lammps", marks=needs_lammps)])
def test_the_seed_decides(engine, tmp_path):
    what = fluid(2.0, 0.5, particles=64, cutoff=2.0, equilibration=20)
    found = []
    for number, seed in enumerate((5, 5, 6)):
        (folder := tmp_path / str(number)).mkdir()
        found.append(run(replace(what, seed=seed), engine, folder).frames.position)
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


def test_the_start_fills_the_box_and_has_the_temperature():
    what = fluid(1.0, 0.7, particles=200)
    start = lattice(200, what.edge, seed=1)
    assert len({tuple(site) for site in start.round(6)}) == 200
    assert (start > 0).all()
    assert (start < what.edge).all()
    v = velocities(what)
    assert v.sum(axis=0) == pytest.approx([0, 0, 0], abs=1e-9)
    assert (what.mass * v**2).sum() / (3 * 199 * BOLTZMANN) == pytest.approx(what.temperature)


def test_tails_are_those_of_the_integral():
    what = fluid(1.0, 0.7)
    r = np.linspace(what.cutoff, 60 * SIGMA, 400_001)
    six = (SIGMA / r) ** 6
    density = what.particles / what.edge**3
    energy = 2 * np.pi * density * what.particles * np.trapezoid(r**2 * 4 * (six**2 - six), r)
    pressure = 2 * np.pi / 3 * density**2 * np.trapezoid(r**2 * 24 * (2 * six**2 - six), r) * BAR
    assert tails(what) == (pytest.approx(energy, rel=1e-3), pytest.approx(pressure, rel=1e-3))


def test_the_equation_of_state_is_the_published_one():
    # Values of the authors' program, at T* = 1.3.
    for density, energy, pressure in ((0.2, -1.5371511277, 0.1214793681), (0.4, -2.8060167251, 0.1125333457)):
        assert kolafa_nezbeda(1.3, density) == (pytest.approx(energy, abs=1e-5), pytest.approx(pressure, abs=1e-5))


@pytest.mark.parametrize(("temperature", "density", "production"), [(1.0, 0.8, 12_000), (2.0, 0.5, 6_000)])
def test_energy_and_pressure_are_those_of_the_equation_of_state(temperature, density, production):
    what, found = long_run(temperature, density, production)
    energy = (found.energy + tails(what)[0]) / what.particles / EPSILON
    pressure = pressure_of(what, found.virial) / BAR * SIGMA**3 / EPSILON
    wanted = kolafa_nezbeda(temperature, density)
    mean = mean_of_series(np.array([energy, pressure]))
    assert (mean.error < [0.02, 0.06]).all()
    # 0.01 and 0.03 are the accuracy of the equation and what a cutoff of 3 σ leaves.
    for value, error, right, accuracy in zip(mean.mean, mean.error, wanted, (0.01, 0.03), strict=True):
        assert abs(value - right) < 4 * error + accuracy


def test_g_of_r_is_that_of_lammps_within_errors():
    rows = [line.split() for line in REFERENCE.read_text().splitlines() if not line.startswith("#")]
    blocks = np.array([row for row in rows if len(row) == 3], float).reshape(10, 60, 3)
    wanted, wanted_error = blocks[:, :, 2].mean(axis=0), blocks[:, :, 2].std(axis=0, ddof=1) / np.sqrt(10)
    what, found = long_run(1.0, 0.8, 12_000)
    ds = xr.Dataset(
        {
            "position": (("frame", "particle", "xyz"), found.frames.position),
            "box": (("frame", "box_vector", "xyz"), found.frames.box),
        },
        coords={"time": ("frame", found.frames.time), "type": ("particle", np.full(what.particles, "LJ"))},
    )
    ours = rdf(ds, r_max=3 * SIGMA, bin_width=0.05 * SIGMA).compute()
    assert ours["r"].values / SIGMA == pytest.approx(blocks[0, :, 1], abs=1e-4)
    g, error = ours["rdf"].values[0], ours["rdf_error"].values[0]
    counted = wanted > 0.05
    off = (g - wanted)[counted] / np.hypot(error, wanted_error)[counted]
    assert np.abs(g - wanted).max() < 0.06  # the first peak is 2.65
    assert np.sqrt(np.mean(off**2)) < 1.6
    assert g[~counted].max() < 0.12
