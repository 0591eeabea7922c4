"""Potentials for HOOMD-blue: arrays of tables, and a script that makes the forces of them.

HOOMD interpolates linearly, in energies and in forces, so its tables are finer than ours.
"""

import io

import numpy as np
from numpy.typing import NDArray

from cgstore.errors import InputError
from cgstore.exchange.potentials import TERMS, Particles, Potentials
from cgstore.tables import interpolate, interpolate_bonded
from cgstore.units import BOLTZMANN

__all__ = ["hoomd_files"]

Arrays = dict[str, NDArray]

_SPACING = 0.0005  # nm
_POINTS = 3601  # of angles and dihedrals
_EXTENSION = 0.5  # nm beyond the end of a bond, where HOOMD would stop
_NEAR = ("bond", "1-3", "1-4")  # its names of pairs one, two and three bonds apart


def hoomd_files(potentials: Potentials) -> dict[str, str | bytes]:
    """Return the files for HOOMD-blue 3 or later by name: nm, kJ/mol, u, and so ps.

    Raises
    ------
    InputError : pairs are excluded farther than three bonds
    """
    near = potentials.exclude_bonded
    if potentials.bonded and (near == "molecule" or near > len(_NEAR)):
        raise InputError(
            f"write_potential: found exclude_bonded = {near!r}, expected {len(_NEAR)} at most: HOOMD leaves out no "
            "pairs farther apart"
        )
    arrays = _pairs(potentials) | _terms(potentials)
    if potentials.particles is not None:
        arrays |= _particles(potentials, potentials.particles)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return {"run.py": _script(potentials), "potential.npz": buffer.getvalue()}


def _pairs(potentials: Potentials) -> Arrays:
    """Return the tables of pairs; the last point is one before the cutoff, as HOOMD has it."""
    arrays: Arrays = {}
    for pair in sorted(potentials.pairs):
        table = potentials.pairs[pair]
        points = max(round(table.cutoff / _SPACING), len(table.r) - 1)
        energy, force = interpolate(table, np.arange(points) * table.cutoff / points)
        arrays |= {f"pair {pair} U": energy, f"pair {pair} F": force, f"pair {pair} r_cut": np.array(table.cutoff)}
    return arrays


def _terms(potentials: Potentials) -> Arrays:
    """Return the tables of bonds, from zero and all of one length, and of angles and dihedrals, per radian."""
    arrays: Arrays = {}
    if bonds := potentials.terms("bond"):
        end = max(float(table.x[-1]) for table in bonds.values()) + _EXTENSION
        x = np.linspace(0.0, end, round(end / _SPACING) + 1)
        arrays["bond r_max"] = np.array(end)
        for kind, table in bonds.items():
            arrays[f"bond {kind} U"], arrays[f"bond {kind} F"] = interpolate_bonded(table, x)
    for tables in (potentials.terms("angle"), potentials.terms("dihedral")):
        for kind, table in tables.items():
            energy, force = interpolate_bonded(table, np.linspace(table.x[0], table.x[-1], _POINTS))
            arrays[f"{table.term} {kind} U"], arrays[f"{table.term} {kind} tau"] = energy, force * 180.0 / np.pi
    return arrays


def _particles(potentials: Potentials, particles: Particles) -> Arrays:
    """Return the system; numbers of kinds are places in their alphabetical lists."""
    topology = particles.topology
    arrays: Arrays = {"position": particles.position, "box": particles.box, "mass": topology.mass}
    arrays["typeid"] = np.searchsorted(potentials.types, topology.type)
    for term in TERMS:
        names = list(potentials.terms(term))
        arrays[f"{term} group"] = getattr(topology, term)
        arrays[f"{term} typeid"] = np.array([names.index(kind) for kind in particles.kinds(term)], np.int64)
    return arrays


def _script(potentials: Potentials) -> str:
    """Return a script that makes the forces, and runs the system where there is one."""
    kinds = {term: list(potentials.terms(term)) for term in TERMS}
    near = potentials.exclude_bonded
    excluded = tuple(_NEAR[:near]) if potentials.bonded and near != "molecule" else ()
    fading = (
        f"# In the model a dihedral fades where an angle of it is within {potentials.fade:g} degrees of straight;\n"
        "# here it acts in full, and needs a smaller dt where that happens.\n"
        if potentials.dihedrals and potentials.fade
        else ""
    )
    return f'''"""Tabulated potentials of cgstore for HOOMD-blue 3 or later: nm, kJ/mol, u, ps.

forces() is what a script of yours wants; its particles, bonds, angles and dihedrals must have the types named here.
"""

import numpy as np

TYPES = {potentials.types!r}
BONDS, ANGLES, DIHEDRALS = {kinds["bond"]!r}, {kinds["angle"]!r}, {kinds["dihedral"]!r}
KT = {potentials.temperature * BOLTZMANN:.10g}  # kJ/mol
{fading}

def forces(hoomd, path="potential.npz"):
    """Return the forces of the tables."""
    tables = np.load(path)
    nlist = hoomd.md.nlist.Cell(buffer=0.1, exclusions={excluded!r})
    pair = hoomd.md.pair.Table(nlist=nlist)
    for k, a in enumerate(TYPES):
        for b in TYPES[k:]:
            name = f"pair {{a}}-{{b}}"
            pair.params[(a, b)] = dict(r_min=0.0, U=tables[f"{{name}} U"], F=tables[f"{{name}} F"])
            pair.r_cut[(a, b)] = float(tables[f"{{name}} r_cut"])
    found = [pair]
    if BONDS:
        bond = hoomd.md.bond.Table(width=len(tables[f"bond {{BONDS[0]}} U"]))
        for kind in BONDS:
            ends = dict(r_min=0.0, r_max=float(tables["bond r_max"]))
            bond.params[kind] = dict(ends, U=tables[f"bond {{kind}} U"], F=tables[f"bond {{kind}} F"])
        found.append(bond)
    for term, kinds, module in (("angle", ANGLES, hoomd.md.angle), ("dihedral", DIHEDRALS, hoomd.md.dihedral)):
        if kinds:
            force = module.Table(width={_POINTS})
            for kind in kinds:
                force.params[kind] = dict(U=tables[f"{{term}} {{kind}} U"], tau=tables[f"{{term}} {{kind}} tau"])
            found.append(force)
    return found
{_SYSTEM if potentials.particles is not None else ""}'''


_SYSTEM = '''

def snapshot(hoomd, path="potential.npz"):
    """Return the system; its box has a along x and b in the plane xy."""
    system = np.load(path)
    (lx, _, _), (xy, ly, _), (xz, yz, lz) = system["box"]
    snap = hoomd.Snapshot()
    snap.configuration.box = [lx, ly, lz, xy / ly, xz / lz, yz / lz]
    snap.particles.N = len(system["mass"])
    snap.particles.types = TYPES
    snap.particles.typeid[:] = system["typeid"]
    snap.particles.mass[:] = system["mass"]
    # HOOMD has its origin in the middle of the box and wants positions inside.
    place = system["position"] @ np.linalg.inv(system["box"])
    snap.particles.position[:] = (place - np.floor(place) - 0.5) @ system["box"]
    for term, kinds in (("bond", BONDS), ("angle", ANGLES), ("dihedral", DIHEDRALS)):
        part = getattr(snap, term + "s")
        part.N = len(system[term + " group"])
        part.types = kinds
        part.group[:] = system[term + " group"]
        part.typeid[:] = system[term + " typeid"]
    return snap


if __name__ == "__main__":
    import hoomd

    simulation = hoomd.Simulation(device=hoomd.device.auto_select(), seed=1)
    simulation.create_state_from_snapshot(snapshot(hoomd))
    langevin = hoomd.md.methods.Langevin(filter=hoomd.filter.All(), kT=KT)
    simulation.operations.integrator = hoomd.md.Integrator(dt=0.005, methods=[langevin], forces=forces(hoomd))
    writer = hoomd.write.GSD(trigger=hoomd.trigger.Periodic(200), filename="frames.gsd", mode="wb")
    simulation.operations.writers.append(writer)
    simulation.state.thermalize_particle_momenta(filter=hoomd.filter.All(), kT=KT)
    simulation.run(200_000)
'''
