"""The campaign kind `lennard_jones`: fluids of one kind of particle, swept over σ, ε, temperature and box."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, field_validator

from cgstore.averages.phases import structure
from cgstore.averages.series import mean_of_series
from cgstore.campaigns.equilibrium import settled_from
from cgstore.campaigns.kinds import Outcome, Run
from cgstore.campaigns.states import CRITICAL_TEMPERATURE, TRIPLE_TEMPERATURE, freezing_density, liquid_density
from cgstore.documents import Document, Mass
from cgstore.engines.fluid import Fluid, Trajectory, pressure_of, tails
from cgstore.engines.fluid_lammps import lammps_program, lammps_trajectory
from cgstore.engines.fluid_openmm import openmm_trajectory
from cgstore.topology import Topology
from cgstore.units import BOLTZMANN
from cgstore.writers.contents import Contents
from cgstore.writers.gro import write_gro
from cgstore.writers.xtc import write_xtc

__all__ = ["DEFAULTS", "ENGINES", "PARAMETERS", "Settings", "fluid_of", "refused", "simulate"]

PARAMETERS = {"sigma": "length", "epsilon": "energy", "temperature": "temperature", "edge": "length"}
DEFAULTS: dict[str, float | str] = {}
ENGINES = ("lammps", "openmm")

_NAME = "LJ"
_FRAMES = 32  # at least: fewer do not show a drift
_WARM = 0.05  # of the temperature; its mean may be off by this before the integrator is not believed


class Settings(Document):
    """What all systems have in common; reduced units where the comment says so."""

    particles: Annotated[int, Field(ge=20, strict=True)] = 343
    mass: Annotated[Mass, Field(gt=0, allow_inf_nan=False)] = 39.948
    cutoff: Annotated[float, Field(ge=2, le=10)] = 3.0  # σ
    timestep: Annotated[float, Field(gt=0, le=0.02)] = 0.005  # σ √(m/ε), or σ √(m/kT) where that is shorter
    equilibration: Annotated[int, Field(ge=0, strict=True)] = 10_000  # steps
    production: Annotated[int, Field(ge=1, strict=True)] = 40_000  # steps
    every: Annotated[int, Field(ge=1, strict=True)] = 250  # steps between frames
    stable: Annotated[bool, Field(strict=True)] = True  # leave out points where no single fluid phase is stable

    @field_validator("every")
    @classmethod
    def _several_frames(cls, every: int, info: Any) -> int:
        """Ask for as many frames as a drift can be seen in."""
        production = info.data.get("production", every * _FRAMES)
        if production % every or production < _FRAMES * every:
            raise ValueError(
                f"found {every}, expected a part of production, {production} steps, for at least {_FRAMES} frames"
            )
        return every


def refused(point: Mapping[str, float], settings: Settings) -> str:
    """Say why a point is not simulated: no liquid or supercritical fluid is stable there, or the cutoff does not fit.

    Examples
    --------
    >>> point = {"sigma": 0.34, "epsilon": 1.0, "temperature": 100.0, "edge": 2.55}
    >>> refused(point, Settings()), refused({**point, "edge": 3.4}, Settings())
    ('', 'two phases: ρ* = 0.343 is below that of the liquid, 0.786, at T* = 0.83')
    """
    warm = BOLTZMANN * point["temperature"] / point["epsilon"]
    dense = settings.particles * (point["sigma"] / point["edge"]) ** 3
    if settings.cutoff * point["sigma"] >= point["edge"] / 2:
        return f"the cutoff, {settings.cutoff:g} σ, is beyond half the box"
    if not settings.stable:
        return ""
    if warm < TRIPLE_TEMPERATURE:
        return f"below the triple point: T* = {warm:.2f}"
    if dense >= freezing_density(warm):
        return f"freezing: ρ* = {dense:.3f} at T* = {warm:.2f}"
    if warm < CRITICAL_TEMPERATURE and dense <= liquid_density(warm):
        return (
            f"two phases: ρ* = {dense:.3f} is below that of the liquid, {liquid_density(warm):.3f}, at T* = {warm:.2f}"
        )
    return ""


def fluid_of(point: Mapping[str, float], settings: Settings, *, seed: int) -> Fluid:
    """Return the simulation of a point, reduced settings in real units."""
    strength = max(point["epsilon"], BOLTZMANN * point["temperature"])
    return Fluid(
        particles=settings.particles,
        sigma=point["sigma"],
        epsilon=point["epsilon"],
        mass=settings.mass,
        edge=point["edge"],
        temperature=point["temperature"],
        cutoff=settings.cutoff * point["sigma"],
        timestep=settings.timestep * point["sigma"] * (settings.mass / strength) ** 0.5,
        equilibration=settings.equilibration,
        production=settings.production,
        every=settings.every,
        seed=seed,
    )


def simulate(point: Mapping[str, float], settings: Settings, *, seed: int, engine: str, folder: Path) -> Outcome:
    """Simulate one system; leave `system.gro`, `trajectory.xtc` and `series.csv` in the folder."""
    fluid = fluid_of(point, settings, seed=seed)
    if engine == "lammps" or (engine == "auto" and lammps_program()):
        run = lammps_trajectory(fluid, folder)
    else:
        run = openmm_trajectory(fluid)
    measured, discard, failure = _judge(fluid, run)
    if not failure.startswith("exploded"):
        _write(fluid, run, folder)
    density = fluid.particles / fluid.edge**3
    return Outcome(
        failure=failure,
        engine=run.engine,
        measured=measured,
        system={
            "title": f"Lennard-Jones fluid, σ {fluid.sigma:g} nm, ε {fluid.epsilon:g} kJ/mol, {density:.4g} per nm³",
            "kind": "liquid",
            "forcefield": "Lennard-Jones",
            "temperature": f"{fluid.temperature!r} K",
            "ensemble": "NVT",
            "composition": {_NAME: fluid.particles},
            "parameters": {
                "sigma": fluid.sigma,  # nm
                "epsilon": fluid.epsilon,  # kJ/mol
                "density": float(f"{density:.6g}"),  # per nm³
                "reduced_temperature": float(f"{BOLTZMANN * fluid.temperature / fluid.epsilon:.6g}"),
                "reduced_density": float(f"{density * fluid.sigma**3:.6g}"),
                "cutoff": float(f"{fluid.cutoff:.6g}"),  # nm
                "timestep": float(f"{fluid.timestep:.6g}"),  # ps
            },
        },
        mapping={_NAME: "keep"},
        runs=(Run(discard),),
        masses={_NAME: f"{fluid.mass!r} u"},
    )


def _judge(fluid: Fluid, run: Trajectory) -> tuple[dict[str, Any], float, str]:
    """Return what was measured, the time from which it is equilibrated, and what is wrong."""
    energy = run.energy + tails(fluid)[0]
    pressure = pressure_of(fluid, run.virial)
    series = np.array([energy / fluid.particles, pressure, run.temperature])
    if not (np.isfinite(series).all() and np.isfinite(run.frames.position).all()):
        return {}, 0.0, "exploded: a position, an energy or a pressure is not finite"
    start, drifting = settled_from({"energy": energy, "pressure": pressure})
    kept = mean_of_series(series[:, start:])
    names = ("energy", "pressure", "kinetic_temperature")  # kJ/mol per particle, bar, K
    measured: dict[str, Any] = {name: _plain(value) for name, value in zip(names, kept.mean, strict=True)}
    measured |= {f"{name}_error": _plain(value) for name, value in zip(names, kept.error, strict=True)}
    found = structure(run.frames.position[start:], edge=fluid.edge, sigma=fluid.sigma)
    measured |= {"longest_waves": _plain(found.longest), "peak": _plain(found.peak), "unsettled_frames": start}
    failure = found.failure or drifting
    # One standard deviation of the instantaneous temperature more: short runs of few particles are believed too.
    if abs(kept.mean[2] / fluid.temperature - 1) > _WARM + (2 / (3 * fluid.particles)) ** 0.5:
        failure = f"exploded: the mean temperature is {kept.mean[2]:.1f} K, {fluid.temperature:g} K were wanted"
    return measured, float(run.frames.time[start]) if start else 0.0, failure


def _plain(value: float) -> float | None:
    """Return a number with the digits it deserves, or None when it is not known."""
    return float(f"{value:.7g}") if np.isfinite(value) else None


def _write(fluid: Fluid, run: Trajectory, folder: Path) -> None:
    """Write the topology, the frames and the series."""
    names = np.full(fluid.particles, _NAME)
    number = np.arange(fluid.particles, dtype=np.int32)
    none = {"bond": np.empty((0, 2), np.int32), "angle": np.empty((0, 3), np.int32)}
    topology = Topology(
        name=names, type=names, residue=names, residue_id=number + 1, molecule=number, molecule_kind=names,
        mass=np.full(fluid.particles, fluid.mass), charge=np.zeros(fluid.particles),
        dihedral=np.empty((0, 4), np.int32), **none,
    )  # fmt: skip
    frames = run.frames
    contents = Contents(
        title="Lennard-Jones fluid", topology=topology, element=np.full(fluid.particles, ""), time=frames.time,
        step=frames.step, weight=None, variables=frozenset({"position", "box"}), precision=None,
    )  # fmt: skip
    write_gro(folder / "system.gro", contents, [frames[:1]])
    write_xtc(folder / "trajectory.xtc", contents, [frames])
    with (folder / "series.csv").open("x", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["time_ps", "energy_kJ_per_mol", "pressure_bar", "temperature_K"])
        energy, pressure = run.energy + tails(fluid)[0], pressure_of(fluid, run.virial)
        for row in zip(frames.time, energy, pressure, run.temperature, strict=True):
            table.writerow([f"{value:.8g}" for value in row])
