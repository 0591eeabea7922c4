"""Molecular dynamics by OpenMM, inside this process; on a GPU where there is one."""

import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgstore.box import minimum_image
from cgstore.engines.conditions import Conditions, Measured
from cgstore.engines.openmm_platforms import context_of, load_openmm
from cgstore.errors import EngineFailure
from cgstore.frames import Frames
from cgstore.readers.text_gro import open_gro
from cgstore.topology import Topology, spanning_tree
from cgstore.units import BOLTZMANN
from cgstore.writers.contents import Contents
from cgstore.writers.xtc import write_xtc

__all__ = ["run_openmm", "system_of"]

Float = NDArray[np.float64]

_SEEDS = 2**31 - 8
_HEATING = 5_000  # steps, of a quarter of the timestep
_SLICE = 250  # steps
_FRICTION = 10.0  # 1/ps, of the heating
_COLLISIONS = 1.0  # 1/ps, of the Nosé–Hoover chain
_ATTEMPTS = 25  # steps between those of the barostat
_ACCURACY = 5e-4  # of PME, the relative error of the force that OpenMM aims at
_FAR = 1e5  # nm; no particle gets there


def run_openmm(folder: Path, conditions: Conditions, contents: Contents, *, platform: str = "") -> Measured:
    """Run what lies in `system.top` and `start.gro`; leave `trajectory.xtc`.

    Parameters
    ----------
    platform : CPU, CUDA …; the fastest that works without it; CPU takes one thread

    Raises
    ------
    MissingExtra : OpenMM is not installed
    EngineFailure : OpenMM gave up, or a position or an energy is not finite
    """
    openmm = load_openmm()
    start = open_gro(folder / "start.gro").read(np.array([0]))
    try:
        system = system_of(folder / "system.top", start, conditions)
        whole = _whole(start, contents.topology)
        position, box, velocity = _heated(openmm, system, whole, conditions, platform)
        barostat = _add_barostat(openmm, system, conditions)
        context = context_of(openmm, system, partial(_integrator, openmm, conditions), platform)
        context.setPeriodicBoxVectors(*box)
        context.setPositions(position)
        context.setVelocities(velocity)
        _advance(context, conditions.equilibration, "equilibration")
        engine = f"OpenMM {openmm.version.short_version} {context.getPlatform().getName()}"
        series: list[tuple[float, float, float]] = []
        write_xtc(folder / "trajectory.xtc", contents, _frames(openmm, context, barostat, conditions, series))
    except openmm.OpenMMException as error:
        raise EngineFailure(f"OpenMM: {' '.join(str(error).split())}") from error
    energy, temperature, pressure = np.array(series).T
    return Measured(engine, energy, temperature, pressure if barostat is not None else None)


def system_of(path: Path, start: Frames, conditions: Conditions) -> Any:
    """Read a GROMACS topology as a system of OpenMM in the box of a frame."""
    from openmm import Vec3, app

    methods = {"pme": app.PME, "none": app.CutoffPeriodic}
    constraints = {"none": None, "h-bonds": app.HBonds, "all-bonds": app.AllBonds}
    assert start.box is not None
    box = [Vec3(*map(float, row)) for row in start.box[0]]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # it leaves the file open
            topology = app.GromacsTopFile(str(path), periodicBoxVectors=box, includeDir=str(path.parent))
        return topology.createSystem(
            nonbondedMethod=methods[conditions.electrostatics],
            nonbondedCutoff=conditions.cutoff,
            constraints=constraints[conditions.constraints],
            rigidWater=False,  # SETTLE and constraints are in the file; flexible water stays flexible
            ewaldErrorTolerance=_ACCURACY,
            useDispersionCorrection=conditions.tails,
        )
    except (ValueError, KeyError, IndexError) as error:
        raise EngineFailure(f"OpenMM cannot read {path.name}: {error}") from error


def _whole(start: Frames, topology: Topology) -> Float:
    """Put molecules together that the box breaks: OpenMM knows no images of bonded neighbours.

    Returns
    -------
    (particle, xyz) nm
    """
    assert start.box is not None
    order, parent = spanning_tree(topology.bond, topology.molecule)
    position: Float = start.position[0].astype(np.float64)
    step = minimum_image(position - position[parent], start.box[0])
    for k in order:
        if parent[k] != k:
            position[k] = position[parent[k]] + step[k]
    return position


def _heated(openmm: Any, system: Any, whole: Float, conditions: Conditions, platform: str) -> tuple[Any, Any, Any]:
    """Minimise and heat at constant volume with friction and small steps; return positions, box and velocities."""
    seed = conditions.seed % _SEEDS
    slowly = replace(conditions, friction=_FRICTION, timestep=conditions.timestep / 4, seed=conditions.seed + 3)
    context = context_of(openmm, system, partial(_integrator, openmm, slowly), platform)
    context.setPositions(whole)
    openmm.LocalEnergyMinimizer.minimize(context, 100.0, 1000)
    context.setVelocitiesToTemperature(conditions.temperature, seed + 1)
    _advance(context, _HEATING, "heating")
    state = context.getState(positions=True, velocities=True)
    return state.getPositions(asNumpy=True), state.getPeriodicBoxVectors(), state.getVelocities(asNumpy=True)


def _integrator(openmm: Any, conditions: Conditions) -> Any:
    """Return Langevin motion where there is friction, else a Nosé–Hoover chain."""
    if conditions.friction == 0:
        return openmm.NoseHooverIntegrator(conditions.temperature, _COLLISIONS, conditions.timestep)
    integrator = openmm.LangevinMiddleIntegrator(conditions.temperature, conditions.friction, conditions.timestep)
    integrator.setRandomNumberSeed(conditions.seed % _SEEDS + 1)
    return integrator


def _add_barostat(openmm: Any, system: Any, conditions: Conditions) -> Any:
    """Add the barostat, one that never acts at constant volume; return it if it knows the pressure, else None."""
    pressure, temperature = conditions.pressure, conditions.temperature
    often = 0 if pressure is None else _ATTEMPTS
    if conditions.membrane and pressure is not None:
        kind = openmm.MonteCarloMembraneBarostat
        barostat = kind(pressure, 0.0, temperature, kind.XYIsotropic, kind.ZFree, often)
    else:
        barostat = openmm.MonteCarloBarostat(pressure or 0.0, temperature, often)
    barostat.setRandomNumberSeed(conditions.seed % _SEEDS + 2)
    system.addForce(barostat)
    return barostat if hasattr(barostat, "computeCurrentPressure") else None


def _advance(context: Any, steps: int, stage: str) -> None:
    """Make steps, few at a time: an interrupt waits until OpenMM returns.

    Raises
    ------
    EngineFailure : a position or an energy is not finite
    """
    for begin in range(0, steps, _SLICE):
        context.getIntegrator().step(min(_SLICE, steps - begin))
        state = context.getState(positions=True, energy=True)
        energy = [state.getPotentialEnergy()._value, state.getKineticEnergy()._value]
        if not (np.isfinite(energy).all() and np.abs(state.getPositions(asNumpy=True)._value).max() < _FAR):
            raise EngineFailure(f"OpenMM, {stage}: a position or an energy is not finite")


def _frames(
    openmm: Any, context: Any, barostat: Any, conditions: Conditions, series: list[tuple[float, float, float]]
) -> Iterator[Frames]:
    """Yield the frames of the production one by one; energy, temperature and pressure are appended to the series."""
    unit = openmm.unit
    freedom = _freedom(context.getSystem())
    for k in range(conditions.frames):
        _advance(context, conditions.every if k else 0, "production")
        state = context.getState(positions=True, energy=True)
        position = state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
        energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
        kinetic = state.getKineticEnergy().value_in_unit(unit.kilojoule_per_mole)
        pressure = 0.0 if barostat is None else _mean_pressure(barostat.computeCurrentPressure(context))
        series.append((energy, 2 * kinetic / (freedom * BOLTZMANN), pressure))
        box = state.getPeriodicBoxVectors(asNumpy=True).value_in_unit(unit.nanometer)
        yield Frames(
            position=position[None].astype(np.float32),
            time=np.array([k * conditions.every * conditions.timestep]),
            step=np.array([k * conditions.every]),
            box=box[None].astype(np.float32),
        )


def _freedom(system: Any) -> int:
    """Return the number of degrees of freedom: the momentum is zero, massless particles do not move by themselves."""
    moving = sum(system.getParticleMass(k)._value > 0 for k in range(system.getNumParticles()))
    return 3 * int(moving) - int(system.getNumConstraints()) - 3


def _mean_pressure(found: Any) -> float:
    """Return a pressure in bar, the mean of those along the axes where there are three."""
    value = getattr(found, "_value", found)
    return float(np.mean([value[k] for k in range(3)]) if hasattr(value, "__len__") else value)
