"""Fluids by OpenMM, inside this process; on a GPU where there is one."""

from typing import Any

import numpy as np

from cgstore.engines.fluid import Fluid, Trajectory, lattice, velocities
from cgstore.engines.openmm_platforms import context_of, load_openmm
from cgstore.errors import EngineFailure
from cgstore.frames import Frames
from cgstore.units import BOLTZMANN

__all__ = ["openmm_trajectory"]

_REPORTED = 1  # force group that is evaluated for frames only


def openmm_trajectory(fluid: Fluid, *, platform: str = "") -> Trajectory:
    """Simulate a fluid with a Nosé–Hoover chain and the leapfrog of OpenMM.

    Parameters
    ----------
    platform : Reference, CPU, CUDA …; the fastest that works without it. CPU takes one thread: campaigns fill a machine
        with several systems at a time, which is quicker for some hundred particles.

    Raises
    ------
    MissingExtra : OpenMM is not installed
    EngineFailure : OpenMM gave up, or a position or an energy is not finite

    Notes
    -----
    The virial is exact, not a finite difference: both parts of the potential are powers of r, so that the sum of r·f is
    12 U₁₂ + 6 U₆ = 6 U + 6 U₁₂, and U₁₂ is measured by a second force that does not act.
    """
    openmm = load_openmm()
    try:
        context = _context(openmm, fluid, platform)
        integrator = context.getIntegrator()
        context.setPositions(lattice(fluid.particles, fluid.edge, seed=fluid.seed))
        context.setVelocities(velocities(fluid))
        integrator.step(fluid.equilibration)
        measured = []
        for _ in range(fluid.production // fluid.every):
            integrator.step(fluid.every)
            measured.append(_measure(openmm, context))
    except openmm.OpenMMException as error:
        raise EngineFailure(f"OpenMM: {error}") from error
    name = context.getPlatform().getName()
    return _trajectory(fluid, measured, f"OpenMM {openmm.version.short_version} {name}")


def _context(openmm: Any, fluid: Fluid, platform: str) -> Any:
    """Make a context on the platform that is wanted, or on the first that works."""

    def chain() -> Any:
        integrator = openmm.NoseHooverIntegrator(fluid.temperature, 1 / fluid.damping, fluid.timestep)
        integrator.setIntegrationForceGroups({0})
        return integrator

    return context_of(openmm, _system(openmm, fluid), chain, platform)


def _system(openmm: Any, fluid: Fluid) -> Any:
    """Describe the particles, their interaction, and the repulsive part of it that is only measured."""
    system = openmm.System()
    edge = fluid.edge
    system.setDefaultPeriodicBoxVectors((edge, 0, 0), (0, edge, 0), (0, 0, edge))
    acting = openmm.NonbondedForce()
    acting.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
    acting.setUseDispersionCorrection(False)
    measured = openmm.CustomNonbondedForce(f"{4 * fluid.epsilon!r}*({fluid.sigma!r}/r)^12")
    measured.setNonbondedMethod(openmm.CustomNonbondedForce.CutoffPeriodic)
    measured.setForceGroup(_REPORTED)
    for force in (acting, measured):
        force.setCutoffDistance(fluid.cutoff)
        system.addForce(force)
    system.addForce(openmm.CMMotionRemover(1000))  # by rounding only; the thermostat then counts 3N − 3
    for _ in range(fluid.particles):
        system.addParticle(fluid.mass)
        acting.addParticle(0.0, fluid.sigma, fluid.epsilon)
        measured.addParticle([])
    return system


def _measure(openmm: Any, context: Any) -> tuple[Any, float, float, float]:
    """Return positions, energy, its repulsive part and the kinetic energy."""
    state = context.getState(positions=True, energy=True, groups={0})
    repulsive = context.getState(energy=True, groups={_REPORTED})
    unit = openmm.unit.kilojoule_per_mole
    return (
        state.getPositions(asNumpy=True).value_in_unit(openmm.unit.nanometer),
        state.getPotentialEnergy().value_in_unit(unit),
        repulsive.getPotentialEnergy().value_in_unit(unit),
        state.getKineticEnergy().value_in_unit(unit),
    )


def _trajectory(fluid: Fluid, measured: list[tuple[Any, float, float, float]], engine: str) -> Trajectory:
    """Gather what was measured."""
    positions, *numbers = zip(*measured, strict=True)
    energy, repulsive, kinetic = np.array(numbers)
    step = np.arange(1, len(measured) + 1) * fluid.every
    frames = Frames(
        position=np.array(positions, np.float32),
        time=np.asarray(step * fluid.timestep, np.float64),
        step=step,
        box=np.tile(np.eye(3, dtype=np.float32) * np.float32(fluid.edge), (len(step), 1, 1)),
    )
    temperature = 2 * kinetic / (3 * (fluid.particles - 1) * BOLTZMANN)
    return Trajectory(frames, energy, 6 * energy + 6 * repulsive, temperature, engine)
