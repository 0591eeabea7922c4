"""How quickly tabulated models are moved: a liquid of 512 beads and a DMPC bilayer, beside OpenMM with the same tables.

Run it in the folder of the repository: the bilayer model is made from the shipped run, by potentials of mean force of
pairs, bonds, angles and dihedrals. One thread each, by the clock of the processor: what else runs does not count.
"""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import xarray as xr
from _timing import compare, processor, report

import cgstore
from cgstore.learn.interactions import interaction_of
from cgstore.learn.molecular import Molecular, mean_force_model, term_kinds
from cgstore.learn.sampler import sample, starting_frames
from cgstore.schema import topology_of
from cgstore.tables import Table, interpolate, table_of
from cgstore.topology import Topology, pairs_within_bonds

STEPS = 1000
EVERY = 0.25  # of the steps: time between frames


def liquid() -> tuple[Molecular, xr.Dataset, float, float]:
    """Return a Lennard-Jones liquid of 512 beads at ρσ³ = 0.82 and its temperature and time step."""
    sigma, epsilon, edge = 0.34, 0.996, 8
    r = np.arange(0.22, 0.8505, 0.001)
    table = table_of(r, 4.0 * epsilon * ((sigma / r) ** 12 - (sigma / r) ** 6), 0.85)
    box = np.eye(3) * (edge**3 / 0.82) ** (1 / 3) * sigma
    grid = np.stack(np.meshgrid(*[np.arange(edge)] * 3), -1).reshape(-1, 3) / edge
    ds = xr.Dataset(
        {
            "position": (("frame", "particle", "xyz"), (grid @ box)[None].astype(np.float32)),
            "box": (("frame", "box_vector", "xyz"), box[None].astype(np.float32)),
            "mass": ("particle", np.full(edge**3, 39.948)),
        },
        {name: ("particle", ["A"] * edge**3) for name in ("type", "name")},
    )
    return Molecular({"A-A": table}), warmed(Molecular({"A-A": table}), ds, 120.0, 0.005), 120.0, 0.005


def bilayer(folder: Path) -> tuple[Molecular, xr.Dataset, float, float]:
    """Return the DMPC bilayer of the archive, 64 lipids of 10 beads in implicit solvent."""
    cgstore.ingest("ingest/recipes/dmpc_303k.toml", archive="archive", store=folder)
    ds = cgstore.open_catalog(folder)["dmpc_303k/r1/cg"].open().load()
    g = cgstore.rdf(ds, r_max=1.3, bin_width=0.02).compute()
    b = cgstore.bonded(ds, bond_width=0.005, angle_width=2.0, dihedral_width=4.0).compute()
    tables = mean_force_model([g, b], temperature=303.0, cutoff=1.2, exclude_bonded=3)
    return tables, warmed(tables, starting_frames(ds, 1), 303.0, 0.02), 303.0, 0.02


def warmed(tables: Molecular, ds: xr.Dataset, temperature: float, dt: float) -> xr.Dataset:
    """Return one frame of equilibrium, whole enough for both programs."""
    run = sample(
        tables, ds, temperature=temperature, equilibrate=2000 * dt, duration=dt, every=dt, seed=1, time_step=dt
    )
    return run.isel(frame=[-1])


def of_cgstore(tables: Molecular, ds: xr.Dataset, temperature: float, dt: float) -> Callable[[], object]:
    """Return a function that moves it."""
    options = {"temperature": temperature, "equilibrate": 0.0, "seed": 1, "threads": 1, "time_step": dt}
    return lambda: sample(tables, ds, duration=STEPS * dt, every=EVERY * STEPS * dt, **options)


def of_openmm(tables: Molecular, ds: xr.Dataset, temperature: float, dt: float) -> Callable[[], object]:
    """Return a function that moves it with OpenMM, CPU platform, one thread; energies of both are the same."""
    import openmm

    topology, system = topology_of(ds), openmm.System()
    system.setDefaultPeriodicBoxVectors(*ds["box"].values[0].astype(float))
    for mass in topology.mass:
        system.addParticle(float(mass))
    system.addForce(nonbonded(openmm, tables, topology))
    parts: Mapping[str, tuple[str, Mapping, float]] = {
        "bond": ("distance(p1, p2)", tables.bonds, 1.0),
        "angle": ("angle(p1, p2, p3)", tables.angles, np.pi / 180),
        "dihedral": ("dihedral(p1, p2, p3, p4)", tables.dihedrals, np.pi / 180),
    }
    for term, (expression, known, unit) in parts.items():
        ends = getattr(topology, term)
        kinds = term_kinds(topology.type, ends)
        for kind in sorted(set(kinds)):
            table = known[kind]
            force = openmm.CustomCompoundBondForce(ends.shape[1], f"u({expression})")
            force.setUsesPeriodicBoundaryConditions(True)
            ranges = (table.x[0] * unit, table.x[-1] * unit, term == "dihedral")
            force.addTabulatedFunction("u", openmm.Continuous1DFunction(table.energy, *ranges))
            for which, members in zip(kinds, ends, strict=True):
                if which == kind:
                    force.addBond(members.tolist())
            system.addForce(force)
    integrator = openmm.LangevinMiddleIntegrator(temperature, 1.0, dt)
    platform = openmm.Platform.getPlatformByName("CPU")
    context = openmm.Context(system, integrator, platform, {"Threads": "1"})
    position = ds["position"].values[0].astype(float)
    context.setPositions(position)
    context.setVelocitiesToTemperature(temperature, 1)
    theirs = context.getState(getEnergy=True).getPotentialEnergy().value_in_unit(openmm.unit.kilojoule_per_mole)
    plain = replace(tables, fade=0.0)  # OpenMM has dihedrals of straight angles as well
    ours = interaction_of(plain, topology).measure(position, ds["box"].values[0].astype(float)).energy
    print(f"  energy of the first frame: {ours:.2f} kJ/mol here, {theirs:.2f} in OpenMM")

    def move() -> None:
        context.getIntegrator().step(STEPS)  # the context would be gone if nobody held it

    return move


def nonbonded(openmm, tables: Molecular, topology: Topology):  # type: ignore[no-untyped-def]
    """Return all pair tables as one force, by a table of (r, pair of types)."""
    names = sorted(set(topology.type.tolist()))
    cutoff = max(table.cutoff for table in tables.pairs.values())
    nodes = np.linspace(0.0, cutoff, 1201)

    def values(a: str, b: str) -> np.ndarray:
        table: Table | None = tables.pairs.get("-".join(sorted((a, b))))
        return np.zeros_like(nodes) if table is None else interpolate(table, nodes)[0]

    count = len(names)
    if count == 1:
        force = openmm.CustomNonbondedForce("u(r)")
        force.addTabulatedFunction("u", openmm.Continuous1DFunction(values(*names * 2), 0.0, cutoff))
        for _ in topology.type:
            force.addParticle()
    else:
        force = openmm.CustomNonbondedForce("u(r, pair(t1, t2))")
        number = {name: k for k, name in enumerate(names)}
        pairs = [(a, b) for k, a in enumerate(names) for b in names[k:]]
        where = np.zeros((count, count))
        for k, (a, b) in enumerate(pairs):
            where[number[a], number[b]] = where[number[b], number[a]] = k
        table = np.stack([values(a, b) for a, b in pairs], axis=1)  # (node, pair)
        function = openmm.Continuous2DFunction(*table.shape, table.T.ravel(), 0.0, cutoff, 0.0, len(pairs) - 1.0)
        force.addTabulatedFunction("u", function)
        force.addTabulatedFunction("pair", openmm.Discrete2DFunction(count, count, where.ravel()))
        force.addPerParticleParameter("t")
        for name in topology.type:
            force.addParticle([number[name]])
    force.setNonbondedMethod(openmm.CustomNonbondedForce.CutoffPeriodic)
    force.setCutoffDistance(cutoff)
    for i, j in pairs_within_bonds(topology.bond, len(topology), distance=int(tables.exclude_bonded)):
        force.addExclusion(int(i), int(j))
    return force


def main() -> None:
    """Measure both systems."""
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        systems = {"Lennard-Jones liquid": liquid(), "DMPC bilayer": bilayer(Path(folder) / "store")}
        for name, system in systems.items():
            beads = system[1].sizes["particle"]
            functions = {"cgstore": of_cgstore(*system), "OpenMM, CPU": of_openmm(*system)}
            title = f"{name}, {beads} beads, {STEPS} steps, one thread"
            results[name] = compare(title, functions, amount=STEPS * beads, unit="bead steps", clock=processor)
            print(", ".join(f"{key}: {rate / beads:.0f} steps/s" for key, rate in results[name].items()))
    report(results)


if __name__ == "__main__":
    main()
