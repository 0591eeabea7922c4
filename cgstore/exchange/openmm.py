"""Potentials for OpenMM: the system with tabulated forces as XML, where it starts, and a script that runs it.

OpenMM puts natural cubic splines through the energies of our nodes. Angles get mirror images beyond 0 and 180 degrees,
so that they end as ours do; bonds go on linearly beyond their nodes; dihedrals fade next to straight angles.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgstore.errors import InputError, MissingExtra
from cgstore.exchange.potentials import TERMS, Particles, Potentials, pair_of
from cgstore.neighbours.cells import require_aligned
from cgstore.tables import BondedTable, Table, Term, interpolate
from cgstore.topology import pairs_within_bonds

__all__ = ["bare_system", "openmm_files", "reduced", "run_script", "start_state"]

Float = NDArray[np.float64]

_MIRRORED = 16  # nodes of an angle beyond each end


def openmm_files(potentials: Potentials) -> dict[str, str | bytes]:
    """Return the files for OpenMM by name.

    Raises
    ------
    InputError : no system, whose particles the forces need; or its box is turned
    MissingExtra : OpenMM is not installed
    """
    if potentials.particles is None:
        raise InputError("write_potential: openmm files are of one system; give system=, a dataset with its particles")
    openmm, particles = load_openmm(), potentials.particles
    system = bare_system(openmm, particles)
    system.addForce(_pair_force(openmm, potentials, particles))
    for term in TERMS:
        for kind, table in potentials.terms(term).items():
            chosen = np.array([name == kind for name in particles.kinds(term)], bool)
            if chosen.any():
                ends = getattr(particles.topology, term)[chosen].tolist()
                system.addForce(_term_force(openmm, term, table, ends, potentials.fade, kind))
    return {
        "run.py": run_script(potentials.temperature),
        "system.xml": openmm.XmlSerializer.serialize(system),
        "start.xml": start_state(openmm, particles),
    }


def load_openmm() -> Any:
    """Return the package.

    Raises
    ------
    MissingExtra : it is not installed
    """
    try:
        import openmm
    except ImportError as error:
        raise MissingExtra.of("openmm", extra="simulate", purpose="writing a potential for OpenMM") from error
    return openmm


def bare_system(openmm: Any, particles: Particles) -> Any:
    """Return the system without forces: masses and box."""
    system = openmm.System()
    for mass in particles.topology.mass.tolist():
        system.addParticle(mass)
    system.setDefaultPeriodicBoxVectors(*reduced(particles.box).tolist())
    return system


def start_state(openmm: Any, particles: Particles) -> str:
    """Return positions and box as the XML of a state."""
    integrator = openmm.VerletIntegrator(0.001)
    bare = bare_system(openmm, particles)
    context = openmm.Context(bare, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(particles.position)
    return str(openmm.XmlSerializer.serialize(context.getState(positions=True)))


def reduced(box: Float) -> Float:
    """Return the same lattice (box_vector, xyz) by the vectors that OpenMM wants, the shortest.

    Raises
    ------
    InputError : a does not lie along x, or b not in the plane xy

    Examples
    --------
    >>> reduced(np.array([[2.0, 0.0, 0.0], [1.5, 2.0, 0.0], [0.0, 0.0, 3.0]])).tolist()
    [[2.0, 0.0, 0.0], [-0.5, 2.0, 0.0], [0.0, 0.0, 3.0]]
    """
    require_aligned(box[None].astype(np.float32), "write_potential: openmm")
    a, b, c = np.tril(box)
    c = c - b * np.round(c[1] / b[1])
    c = c - a * np.round(c[0] / a[0])
    return np.stack([a, b - a * np.round(b[0] / a[0]), c])


def _pair_force(openmm: Any, potentials: Potentials, particles: Particles) -> Any:
    """Return the force of all pairs: a spline in r for each pair of types, side by side in one function."""
    types, cutoff = potentials.types, potentials.cutoff
    names = [pair_of(a, b) for k, a in enumerate(types) for b in types[k:]]
    points = round(cutoff / min(table.spacing for table in potentials.pairs.values())) + 1
    energy = np.array([_sampled(potentials.pairs[name], cutoff, points) for name in names])  # (pair, node)
    if len(names) == 1:
        force = openmm.CustomNonbondedForce("U(r)")
        force.addTabulatedFunction("U", openmm.Continuous1DFunction(energy[0].tolist(), 0.0, cutoff))
    else:
        # At a whole number of the pair nothing of the other pairs is left in the bicubic spline.
        force = openmm.CustomNonbondedForce("U(r, pair(kind1, kind2))")
        numbers = np.array([[names.index(pair_of(a, b)) for a in types] for b in types])
        count = len(types)
        force.addTabulatedFunction(
            "U",
            openmm.Continuous2DFunction(
                points, len(names), energy.ravel().tolist(), 0.0, cutoff, 0.0, len(names) - 1.0
            ),
        )
        force.addTabulatedFunction("pair", openmm.Discrete2DFunction(count, count, numbers.ravel().astype(float)))
        force.addPerParticleParameter("kind")
    kind = np.searchsorted(types, particles.topology.type).tolist()
    for number in kind:
        force.addParticle([] if len(names) == 1 else [float(number)])
    for first, second in _excluded(potentials, particles):
        force.addExclusion(first, second)
    force.setNonbondedMethod(openmm.CustomNonbondedForce.CutoffPeriodic)
    force.setCutoffDistance(cutoff)
    force.setName("pairs")
    return force


def _sampled(table: Table, cutoff: float, points: int) -> Float:
    """Return the energies of a table to a common cutoff."""
    return interpolate(table, np.linspace(0.0, cutoff, points))[0]


def _excluded(potentials: Potentials, particles: Particles) -> list[list[int]]:
    """Return the pairs of particles that have no pair potential."""
    near, topology = potentials.exclude_bonded, particles.topology
    if near != "molecule":
        return pairs_within_bonds(topology.bond, len(topology), distance=near).tolist() if len(topology.bond) else []
    groups = [np.flatnonzero(topology.molecule == number) for number in np.unique(topology.molecule)]
    return [[int(i), int(j)] for group in groups for k, i in enumerate(group) for j in group[k + 1 :]]


def _term_force(openmm: Any, term: Term, table: BondedTable, ends: list[list[int]], fade: float, kind: str) -> Any:
    """Return the force of all bonds, angles or dihedrals of one kind."""
    words = {
        "bond": _bond_energy(table),
        "angle": "U(angle(p1,p2,p3))",
        "dihedral": _fading_energy(table, fade) if fade else "U(dihedral(p1,p2,p3,p4))",
    }
    force = openmm.CustomCompoundBondForce(len(ends[0]), words[term])
    force.addTabulatedFunction("U", _function(openmm, table))
    for row in ends:
        force.addBond(row, [])
    force.setUsesPeriodicBoundaryConditions(True)
    force.setName(f"{term} {kind}")
    return force


def _bond_energy(table: BondedTable) -> str:
    """Return the energy of a bond, which goes on linearly beyond its nodes."""
    (first, last), (low, high) = table.x[[0, -1]].tolist(), table.force[[0, -1]].tolist()
    return (
        f"U(c) - ({low!r}*step({first!r}-r) + {high!r}*step(r-{last!r}))*(r-c);"
        f"c = min(max(r, {first!r}), {last!r}); r = distance(p1,p2)"
    )


def _fading_energy(table: BondedTable, fade: float) -> str:
    """Return the energy of a dihedral, which fades to its mean next to straight angles; as in the sampler."""
    level = float(table.energy[:-1].mean())
    gone, begins = (np.sin(np.radians([0.5 * fade, fade])) ** 2).tolist()
    part = f"min(1, max(0, (sin(angle({{}}))^2 - {gone!r})/{begins - gone!r}))"
    return (
        f"{level!r} + a*a*(3-2*a)*b*b*(3-2*b)*(U(dihedral(p1,p2,p3,p4)) - {level!r});"
        f"a = {part.format('p1,p2,p3')}; b = {part.format('p2,p3,p4')}"
    )


def _function(openmm: Any, table: BondedTable) -> Any:
    """Return the energies of a table as a spline in nm or radians."""
    if table.term == "bond":
        return openmm.Continuous1DFunction(table.energy.tolist(), float(table.x[0]), float(table.x[-1]))
    low, high = np.radians(table.x[[0, -1]]).tolist()
    if table.term == "dihedral":
        energy = table.energy.copy()
        energy[-1] = energy[0]
        return openmm.Continuous1DFunction(energy.tolist(), low, high, True)
    beyond = min(_MIRRORED, len(table.x) - 1)
    energy = np.pad(table.energy, beyond, mode="reflect")
    more = beyond * (high - low) / (len(table.x) - 1)
    return openmm.Continuous1DFunction(energy.tolist(), low - more, high + more)


def run_script(temperature: float, more: str = "") -> str:
    """Return a script that runs the system; `more` adds to it before the integrator is made."""
    return f'''"""Langevin motion of the tabulated system of cgstore: python run.py [STEPS]"""

import sys

import openmm
from openmm import app, unit

with open("system.xml") as file:
    system = openmm.XmlSerializer.deserialize(file.read())
with open("start.xml") as file:
    start = openmm.XmlSerializer.deserialize(file.read())
{more}topology = app.Topology()
residue = topology.addResidue("X", topology.addChain())
for number in range(system.getNumParticles()):
    topology.addAtom(f"X{{number}}", None, residue)
topology.setPeriodicBoxVectors(system.getDefaultPeriodicBoxVectors())

temperature, time_step = {temperature:g} * unit.kelvin, 0.005 * unit.picosecond
integrator = openmm.LangevinMiddleIntegrator(temperature, 1 / unit.picosecond, time_step)
simulation = app.Simulation(topology, system, integrator)
simulation.context.setPeriodicBoxVectors(*start.getPeriodicBoxVectors())
simulation.context.setPositions(start.getPositions())
print("energy of the start:", simulation.context.getState(energy=True).getPotentialEnergy())
simulation.context.setVelocitiesToTemperature(temperature)
simulation.reporters.append(app.DCDReporter("frames.dcd", 200))
simulation.reporters.append(
    app.StateDataReporter(sys.stdout, 1000, step=True, potentialEnergy=True, temperature=True, speed=True)
)
simulation.step(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000)
'''
