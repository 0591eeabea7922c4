"""Molecules in implicit solvent by OpenMM: Langevin dynamics without a box, frames with forces."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgstore.errors import EngineFailure, MissingExtra
from cgstore.frames import Frames
from cgstore.units import BOLTZMANN

__all__ = [
    "CONSTRAINTS",
    "SOLVENTS",
    "Langevin",
    "Sampled",
    "implicit_context",
    "implicit_system",
    "potential_text",
    "sampled",
]

Float = NDArray[np.float64]

SOLVENTS = {"obc1": "implicit/obc1.xml", "obc2": "amber96_obc.xml"}  # files that OpenMM ships
CONSTRAINTS = ("none", "h-bonds")
_FORCE_FIELD = "amber96.xml"


@dataclass(frozen=True, slots=True)
class Langevin:
    """How a molecule is moved; ps, K."""

    temperature: float
    friction: float  # 1/ps
    timestep: float
    equilibration: int  # steps, left out
    production: int  # steps
    every: int  # steps between frames
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class Sampled:
    """What was sampled: frames of the production, their centre of mass at the origin, and numbers of each of them."""

    frames: Frames  # positions and forces, no box
    energy: Float  # (frame,) kJ/mol, potential with the solvation
    temperature: Float  # (frame,) K, of the velocities
    engine: str  # name, version, platform


def implicit_system(topology: Any, *, solvent: str, constraints: str = "none") -> Any:
    """Return the `openmm.System` of a molecule: AMBER96 in a generalised Born solvent, every pair, nothing cut off.

    Parameters
    ----------
    topology : `openmm.app.Topology`, with hydrogens and bonds
    solvent : obc2 (`amber96_obc.xml`: the second set of constants of the source below) or obc1 (`implicit/obc1.xml`:
        the first)
    constraints : none, or h-bonds: bonds to hydrogen are rigid

    Raises
    ------
    MissingExtra : OpenMM is not installed

    Notes
    -----
    AMBER96: Kollman 1996, Acc. Chem. Res. 29, 461. Solvent: Onufriev, Bashford and Case 2004, doi:10.1002/prot.20033.
    The motion of the centre of mass is not removed: there are 3N degrees of freedom, less the constraints.
    """
    app = _openmm().app
    field = app.ForceField(_FORCE_FIELD, SOLVENTS[solvent])
    rigid = app.HBonds if constraints == "h-bonds" else None
    return field.createSystem(
        topology, nonbondedMethod=app.NoCutoff, constraints=rigid, rigidWater=False, removeCMMotion=False
    )


def sampled(system: Any, position: Float, langevin: Langevin) -> Sampled:
    """Minimise the energy, then move a molecule with the middle scheme of Langevin dynamics.

    Parameters
    ----------
    system : `openmm.System` without a box, as of `implicit_system`
    position : (atom, xyz) nm

    Raises
    ------
    MissingExtra : OpenMM is not installed
    EngineFailure : OpenMM gave up

    Notes
    -----
    Zhang et al. 2019, doi:10.1021/acs.jpca.9b02771: the positions of this scheme have the Boltzmann distribution of
    a harmonic oscillator whatever the time step.
    """
    openmm = _openmm()
    try:
        integrator = openmm.LangevinMiddleIntegrator(langevin.temperature, langevin.friction, langevin.timestep)
        integrator.setRandomNumberSeed(langevin.seed)
        context = implicit_context(system, integrator)
        context.setPositions(position)
        openmm.LocalEnergyMinimizer.minimize(context)
        context.setVelocitiesToTemperature(langevin.temperature, langevin.seed)
        integrator.step(langevin.equilibration)
        measured = []
        for _ in range(langevin.production // langevin.every):
            integrator.step(langevin.every)
            measured.append(_measure(openmm, context))
    except openmm.OpenMMException as error:
        raise EngineFailure(f"OpenMM: {error}") from error
    positions, forces, energy, kinetic = (np.array(values) for values in zip(*measured, strict=True))
    step = np.arange(1, len(measured) + 1, dtype=np.int64) * langevin.every
    atoms = range(system.getNumParticles())
    mass = np.array([system.getParticleMass(k).value_in_unit(openmm.unit.dalton) for k in atoms])
    frames = Frames(
        position=_centred(positions, mass),
        time=np.asarray(step * langevin.timestep, np.float64),
        step=step,
        force=np.asarray(forces, np.float32),
    )
    freedom = 3 * len(mass) - system.getNumConstraints()
    name = f"OpenMM {openmm.version.short_version} {context.getPlatform().getName()}"
    return Sampled(frames, energy, 2 * kinetic / (freedom * BOLTZMANN), name)


def implicit_context(system: Any, integrator: Any) -> Any:
    """Make an `openmm.Context` on the platform that is quickest for some dozen atoms on one core.

    That is Reference, in double precision, for 22 atoms 31 000 steps per second against 7 000 of CPU; but it interprets
    expressions, which the solvent obc1 is written in and CPU compiles: 700 against 4 200.
    """
    openmm = _openmm()
    expressions = any(isinstance(force, openmm.CustomGBForce) for force in system.getForces())
    name, properties = ("CPU", {"Threads": "1"}) if expressions else ("Reference", {})
    return openmm.Context(system, integrator, openmm.Platform.getPlatformByName(name), properties)


def potential_text(system: Any) -> str:
    """Return all of a potential as XML; `openmm.XmlSerializer.deserialize` makes an `openmm.System` of it again."""
    return str(_openmm().XmlSerializer.serialize(system))


def _openmm() -> Any:
    """Import OpenMM, now that it is needed."""
    try:
        import openmm.app
    except ImportError as error:
        raise MissingExtra.of("openmm", extra="simulate", purpose="implicit solvent") from error
    return openmm


def _measure(openmm: Any, context: Any) -> tuple[Float, Float, float, float]:
    """Return positions, forces, potential and kinetic energy."""
    state = context.getState(positions=True, forces=True, energy=True)
    energy = openmm.unit.kilojoule_per_mole
    return (
        state.getPositions(asNumpy=True).value_in_unit(openmm.unit.nanometer),
        state.getForces(asNumpy=True).value_in_unit(energy / openmm.unit.nanometer),
        state.getPotentialEnergy().value_in_unit(energy),
        state.getKineticEnergy().value_in_unit(energy),
    )


def _centred(position: Float, mass: Float) -> NDArray[np.float32]:
    """Return positions less their centre of mass, which diffuses; forces and energies do not depend on it."""
    centre = np.einsum("fax,a->fx", position, mass / mass.sum())
    return np.asarray(position - centre[:, None], np.float32)
