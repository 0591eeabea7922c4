"""Diffusion and viscosity of the Lennard-Jones liquid near its triple point, beside what was published.

python benchmarks/diffusion.py [--runs 4] [--duration 500]

State: T* = 0.722, ρ* = 0.8442. Published: η* = 3.258, Meier, Laesecke and Kabelac 2004, doi:10.1063/1.1770695, and
D* = 0.0325 of 1372 particles, the same 2004, doi:10.1063/1.1786579; both as quoted by the tests of RUMD. Each box is
corrected for its size with the published viscosity, and so is the published coefficient.
"""

import argparse

import numpy as np

from cgstore.averages.diffusion import diffusion_coefficient, finite_size_diffusion
from cgstore.averages.displacement import mean_squared_displacement
from cgstore.averages.viscosity import shear_viscosity
from cgstore.learn.mobility.runs import Liquid, start_of
from cgstore.learn.sampler import sample
from cgstore.tables import Table, table_of
from cgstore.units import BOLTZMANN

SIGMA, KELVIN, MASS = 0.3405, 119.8, 39.948  # nm, K, u: argon, so that times are in ps
EPSILON = BOLTZMANN * KELVIN
TEMPERATURE = 0.722 * KELVIN
TAU = SIGMA * (MASS / EPSILON) ** 0.5  # ps
SPEED = SIGMA**2 / TAU  # of D*
STICKY = MASS / (SIGMA * TAU)  # of η*
PUBLISHED = {"viscosity": 3.258, "D": 0.0325, "particles": 1372}
BOXES = ((108, 2.5), (256, 2.5), (256, 3.3))  # particles, cutoff/σ below half the box


def main() -> None:
    """Measure boxes of several sizes and print them beside the published numbers."""
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--runs", type=int, default=4, help="independent ones, of each size")
    asked.add_argument("--duration", type=float, default=500.0, help="ps of each run")
    given = asked.parse_args()
    edge = (PUBLISHED["particles"] / 0.8442) ** (1 / 3)
    target = PUBLISHED["D"] + 2.837297 * 0.722 / (6 * np.pi * PUBLISHED["viscosity"] * edge)
    print(f"published: D* = {PUBLISHED['D']} of {PUBLISHED['particles']} particles, so {target:.5f} of an infinite box")
    for number, cutoff in BOXES:
        measured(number, cutoff, given.runs, given.duration)


def measured(number: int, cutoff: float, runs: int, duration: float) -> None:
    """Print D*, D* of an infinite box, and η*, with standard errors over independent runs."""
    found = np.array([one(number, cutoff, duration, seed) for seed in range(runs)])
    mean, error = found.mean(axis=0), found.std(axis=0, ddof=1) / runs**0.5
    own = float(np.sqrt((found[:, 1] ** 2).mean() / runs))
    edge = (number / 0.8442) ** (1 / 3)
    infinite = float(
        finite_size_diffusion(
            mean[0], edge=edge * SIGMA, temperature=TEMPERATURE, viscosity=PUBLISHED["viscosity"] * STICKY
        )
    )
    print(
        f"{number:5} particles, cutoff {cutoff} σ: D* {mean[0] / SPEED:.5f} ± {error[0] / SPEED:.5f} (its own error "
        f"{own / SPEED:.5f}), infinite {infinite / SPEED:.5f}, "
        f"η* {mean[2] / STICKY:.3f} ± {error[2] / STICKY:.3f}, T* {mean[3] / KELVIN:.4f}",
        flush=True,
    )


def one(number: int, cutoff: float, duration: float, seed: int) -> tuple[float, float, float, float]:
    """Run a box once: D, its error, η, and the kinetic temperature."""
    ds = sample(
        {"A-A": lennard_jones(cutoff * SIGMA)},
        start_of(Liquid(SIGMA * (number / 0.8442) ** (1 / 3), number, MASS, TEMPERATURE), seed),
        types=["A"] * number,
        masses=[MASS] * number,
        temperature=TEMPERATURE,
        equilibrate=60.0,
        duration=duration,
        every=0.04,
        time_step=0.008,
        friction=0.0,
        coupling=2.0,
        seed=1000 * number + seed,
        threads=1,
    )
    eta = shear_viscosity(ds, temperature=TEMPERATURE, until=5.0, blocks=16)
    slow = ds[["position", "box", "type", "mass"]].isel(frame=slice(None, None, 10)).load()
    d = diffusion_coefficient(mean_squared_displacement(slow), fit=(4.0, duration / 10)).isel(kind=0).compute()
    warmth = float((2 * ds["kinetic_energy"] / (3 * (number - 1) * BOLTZMANN)).mean())
    found = float(d["diffusion"]) / SPEED, float(d["diffusion_error"]) / SPEED, float(eta["viscosity"]) / STICKY
    print(f"  run {seed}: D* {found[0]:.5f} ± {found[1]:.5f}, η* {found[2]:.3f}", flush=True)
    return float(d["diffusion"]), float(d["diffusion_error"]), float(eta["viscosity"]), warmth


def lennard_jones(cutoff: float) -> Table:
    """Return the potential, shifted to zero at the cutoff and smooth there."""
    r = np.arange(0.24, cutoff + 0.0005, 0.001)
    return table_of(r, 4 * EPSILON * ((SIGMA / r) ** 12 - (SIGMA / r) ** 6), cutoff)


if __name__ == "__main__":
    main()
