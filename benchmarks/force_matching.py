"""Force matching measured: a Lennard-Jones fluid, molecules of beads, and methane mapped from atoms.

    python benchmarks/force_matching.py fluid
    python benchmarks/force_matching.py molecules
    python benchmarks/force_matching.py methane STORE

Forces of the shipped frames of methane (GROMACS 2022.5), in a folder of its own, REPOSITORY being this one:

    gmx trjconv -s REPOSITORY/archive/methane_112k/system.tpr -f REPOSITORY/archive/methane_112k/traj.xtc -dump 500
        -o start.gro
    gmx grompp -f REPOSITORY/benchmarks/methane_forces.mdp -p REPOSITORY/archive/methane_112k/topol.top
        -c start.gro -o forces.tpr
    gmx mdrun -s forces.tpr -rerun REPOSITORY/archive/methane_112k/traj.xtc -o forces.trr -ntmpi 1 -ntomp 1
    cd REPOSITORY && cgstore ingest benchmarks/methane_forces.toml --archive THAT_FOLDER --store STORE

Positions rounded to 0.001 nm change the forces of bonds within a molecule, whose sum is zero.
`--save FILE.nc` keeps the curves, which docs/pictures/forces.py draws. Times are of the processor.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import xarray as xr

import cgstore
from cgstore.inverse.force_basis import force_basis
from cgstore.inverse.force_equations import force_equations
from cgstore.inverse.force_matching import MatchedForces, force_deviation, match_forces
from cgstore.inverse.mean_force import potential_of_mean_force
from cgstore.learn.interactions import interaction_of
from cgstore.learn.inversion import invert
from cgstore.learn.sampler import sample, starting_frames
from cgstore.learn.settings import Sampling
from cgstore.schema import topology_of
from cgstore.tables import Table, interpolate, table_of

SIGMA, EPSILON, CUTOFF = 0.3405, 0.99607, 0.9  # nm, kJ/mol, nm


def lennard_jones() -> Table:
    r = np.arange(0.2, CUTOFF + 0.0005, 0.001)
    return table_of(r, 4.0 * EPSILON * ((SIGMA / r) ** 12 - (SIGMA / r) ** 6), CUTOFF)


def with_forces(run: xr.Dataset, model, noise: float = 0.0, seed: int = 1) -> xr.Dataset:
    """Return frames of a run with the forces of its model, and noise as mapped forces have it."""
    interaction, rng = interaction_of(model, topology_of(run)), np.random.default_rng(seed)
    frames = zip(run["position"].values.astype(float), run["box"].values.astype(float), strict=True)
    force = np.array([interaction.measure(x, b).force for x, b in frames])
    force += rng.normal(0.0, noise, force.shape)
    return run.assign(force=run["position"].copy(data=force.astype(np.float32)))


def halves(ds: xr.Dataset) -> tuple[xr.Dataset, xr.Dataset]:
    """Return the frames of some replicas, and those of the others."""
    first = ds["replica"].values < ds["replica"].values.max() / 2.0
    return ds.isel(frame=np.flatnonzero(first)), ds.isel(frame=np.flatnonzero(~first))


def told(title: str, found: MatchedForces, other: xr.Dataset) -> None:
    """Print what is left of the forces."""
    own = found.deviation
    print(
        f"{title}: forces {float(own['force']):.2f}, left of them {float(own['deviation']):.3f}, of other replicas "
        f"{float(other['deviation']):.3f} +- {float(other['deviation_error']):.3f} kJ/mol/nm, "
        f"explained {float(other['explained']):.6f}, smoothing {found.smoothing:g}"
    )


def scores(found: MatchedForces, term: str, kind: str, truth, low: float, high: float) -> str:
    """Return how far a force is from the truth, in its unit and in errors."""
    row = found.curves[term].sel({f"{term}_kind": kind})
    x = row[row["potential"].dims[0]].values
    inside = (x >= low) & (x <= high) & (row["force_error"].values > 0.0)
    off = (row["force"].values - truth(x))[inside]
    score = off / row["force_error"].values[inside]
    return (
        f"{term} {kind} from {low:g} to {high:g}: off by {np.sqrt((off**2).mean()):.3f} {row['force'].attrs['units']} "
        f"rms, {np.sqrt((score**2).mean()):.2f} errors rms, {np.mean(abs(score) < 1.0):.2f} within one"
    )


def fluid(save: Path | None) -> None:
    """A Lennard-Jones fluid, as it is and with noise on its forces."""
    edge = 2.2
    cells = np.stack(np.meshgrid(*[np.arange(6)] * 3), -1).reshape(-1, 3) * edge / 6
    start = xr.Dataset(
        {
            "position": (("frame", "particle", "xyz"), np.repeat(cells[None], 8, 0).astype(np.float32)),
            "box": (("frame", "box_vector", "xyz"), np.repeat(edge * np.eye(3, dtype=np.float32)[None], 8, 0)),
            "mass": ("particle", np.full(len(cells), 39.948)),
        },
        {"type": ("particle", ["Ar"] * len(cells))},
    )
    truth = {"Ar-Ar": lennard_jones()}
    options = {"temperature": 120.0, "equilibrate": 10.0, "duration": 20.0, "every": 0.5, "seed": 1, "threads": 1}
    run, begin = sample(truth, start, **options), time.process_time()
    print(f"{len(cells)} particles, {run.sizes['frame']} frames of 8 replicas")
    curves = {}
    for noise in (0.0, 100.0):
        mine, other = halves(with_forces(run, truth, noise))
        basis = force_basis(mine, cutoff=CUTOFF, spacing=CUTOFF / 45)
        found = match_forces(force_equations(mine, basis), temperature=120.0)
        told(f"noise {noise:g}", found, force_deviation(found, force_equations(other, basis)))
        print(scores(found, "pair", "Ar-Ar", lambda r: interpolate(truth["Ar-Ar"], r)[1], 0.32, CUTOFF - 0.02))
        curves[f"noise {noise:g}"] = found.curves["pair"].sel(pair_kind="Ar-Ar")
    print(f"{time.process_time() - begin:.1f} s for forces, equations and matches")
    if save is not None:
        joined = xr.concat(curves.values(), "noise").assign_coords(noise=[0.0, 100.0])
        joined["truth"] = ("r", interpolate(truth["Ar-Ar"], joined["r"].values)[1])
        joined.drop_vars("extrapolated").to_netcdf(save, engine="scipy")


def molecules(save: Path | None) -> None:
    """A liquid of chains of four beads with bonds, angles and dihedrals, with noise on its forces."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "learn"))
    import molecules as made

    model, edge = made.model(exclude_bonded=3), 2.6
    start = made.chains(["ABBA"] * 50, edge * np.eye(3), seed=1, replicas=4)
    options = {"temperature": 300.0, "equilibrate": 20.0, "duration": 25.0, "every": 0.5, "seed": 1, "threads": 1}
    run, begin = sample(model, start, time_step=0.004, **options), time.process_time()
    print(f"50 chains ABBA, {run.sizes['frame']} frames of 4 replicas")
    for seed in range(1, 6):
        mine, other = halves(with_forces(run, model, 100.0, seed))
        basis = force_basis(mine, cutoff=0.9, spacing=0.03, exclude_bonded=3, bond_spacing=0.01, bond_max=0.5)
        found = match_forces(force_equations(mine, basis), temperature=300.0)
        told(f"noise 100, seed {seed}", found, force_deviation(found, force_equations(other, basis)))
        for pair in ("A-A", "A-B", "B-B"):
            print(scores(found, "pair", pair, lambda r, pair=pair: interpolate(model.pairs[pair], r)[1], 0.32, 0.88))
        for term, tables, low, high in (
            ("bond", model.bonds, 0.25, 0.35),
            ("angle", model.angles, 85.0, 155.0),
            ("dihedral", model.dihedrals, -179.0, 179.0),
        ):
            for kind in found.curves[term][f"{term}_kind"].values.tolist():
                table = tables[kind]
                print(scores(found, term, kind, lambda x, t=table: np.interp(x, t.x, t.force), low, high))
    print(f"{time.process_time() - begin:.1f} s for forces, equations and matches")


def methane(store: str, save: Path | None) -> None:
    """Methane as one bead: the potential of forces beside that of mean force and of iterative Boltzmann inversion."""
    ds = cgstore.open_catalog(store)["methane_forces/r1/cg"].open()
    half = ds.sizes["frame"] // 2
    basis, begin = force_basis(ds, cutoff=1.05, spacing=0.035), time.process_time()
    equations, other = (force_equations(ds.isel(frame=part), basis) for part in (slice(half), slice(half, None)))
    found = match_forces(equations, temperature=112.0)
    told(f"{half} frames", found, force_deviation(found, other))
    print(f"{time.process_time() - begin:.1f} s for equations and match")
    reference = cgstore.rdf(ds, r_max=1.05).compute()
    pmf = potential_of_mean_force(reference, temperature=112.0)
    start, begin = starting_frames(ds, 8), time.process_time()
    sampling = Sampling(equilibrate=3.0, duration=12.0, every=0.5)
    inverted, history = invert(reference, start, temperature=112.0, iterations=6, sampling=sampling, seed=1)
    print(f"ibi: rmsd {history['rmsd'].values.ravel().round(4).tolist()}, {time.process_time() - begin:.0f} s")
    models = {
        "forces": found.pairs,
        "ibi": inverted,
        "mean force": {"CH4-CH4": table_of(pmf["r"].values, pmf["potential"].values[0], 1.05)},
    }
    grid, rows = np.linspace(0.3, 1.05, 301), {}
    for name, tables in models.items():
        run = sample(
            tables,
            start,
            temperature=112.0,
            equilibrate=5.0,
            duration=20.0,
            every=0.5,
            seed=2,
            time_step=0.01,
            threads=1,
        )
        g = cgstore.rdf(run, r_max=1.05).compute()
        rmsd = float(np.sqrt(((g["rdf"] - reference["rdf"]) ** 2).mean()))
        rows[name] = interpolate(tables["CH4-CH4"], grid)[0]
        print(
            f"{name}: rmsd of g {rmsd:.4f}, first peak {float(g['rdf'].max()):.2f} against "
            f"{float(reference['rdf'].max()):.2f}, lowest energy {rows[name].min():.2f} kJ/mol at "
            f"{grid[rows[name].argmin()]:.3f} nm, pressure {float(run['pressure'].mean()):.0f} bar"
        )
    if save is not None:
        error = np.interp(grid, found.curves["pair"]["r"], found.curves["pair"]["potential_error"].values[0])
        xr.Dataset(
            {"energy": (("model", "r"), list(rows.values())), "error": ("r", error)},
            {"model": list(rows), "r": grid},
        ).to_netcdf(save, engine="scipy")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("system", nargs="?", default="fluid", choices=["fluid", "molecules", "methane"])
    parser.add_argument("store", nargs="?", default="store")
    parser.add_argument("--save", type=Path)
    asked = parser.parse_args()
    if asked.system == "methane":
        methane(asked.store, asked.save)
    else:
        {"fluid": fluid, "molecules": molecules}[asked.system](asked.save)
