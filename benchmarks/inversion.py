"""Three methods of inversion on the same data: how near they come to the known potential, and what that costs.

    python benchmarks/inversion.py liquid      # one Lennard-Jones fluid
    python benchmarks/inversion.py chains      # molecules of four beads: pairs, bonds, an angle, a dihedral

The reference is sampled with the true potential; the inversions begin with potentials of mean force and get the same
number of corrections and the same length of samples. Seconds are those of the processor, of one thread.
"""

import argparse
import time

import numpy as np
import xarray as xr

import cgstore
from cgstore.learn.binned import energies_of, first_model
from cgstore.learn.goal import goal_of
from cgstore.learn.inversion import invert
from cgstore.learn.molecular import Molecular
from cgstore.learn.sampler import sample
from cgstore.learn.settings import Sampling
from cgstore.tables import Table, bonded_table_of, table_of
from cgstore.topology import angles_of_bonds, dihedrals_of_bonds
from cgstore.units import BOLTZMANN

METHODS = ("ibi", "imc", "re")
CUTOFF, SPACE = 0.9, 0.02  # nm, of pairs
HOW = {"equilibrate": 20.0, "every": 0.5, "seed": 11, "time_step": 0.01, "threads": 1}


def main() -> None:
    """Print one line per method and iteration."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("system", choices=("liquid", "chains"))
    parser.add_argument("--corrections", type=int, default=4)
    asked = parser.parse_args()
    true, reference, start, temperature = liquid() if asked.system == "liquid" else chains()
    sampling = Sampling(time_step=0.01, equilibrate=5.0, duration=60.0, every=0.25, threads=1)
    goal, kT = goal_of(reference, None), BOLTZMANN * temperature
    begun = first_model(goal, None, temperature=temperature, spacing=0.002)
    print(f"potential of mean force: off by {furthest(begun, true, goal, kT):.3f} kT")
    for method in METHODS:
        cpu = time.process_time()
        model, history = invert(
            reference,
            start,
            temperature=temperature,
            method=method,
            iterations=asked.corrections,
            sampling=sampling,
            seed=5,
        )
        cpu = time.process_time() - cpu
        parts = {"rdf": history} if isinstance(history, xr.Dataset) else history.children
        deviation = np.concatenate([parts[name]["deviation"].values.T for name in goal.parts]).T.mean(axis=1)
        chi2 = np.concatenate([parts[name]["chi2"].values.T for name in goal.parts]).T.mean(axis=1)
        best = history.attrs["best"]
        print(
            f"{method}: deviation {' '.join(f'{value:.4f}' for value in deviation)}; best {best}: "
            f"{deviation[best]:.4f}, chi2 {chi2[best]:.2f}, potential off by "
            f"{furthest(model, true, goal, kT):.3f} kT, {cpu:.0f} s"
        )


def liquid() -> tuple[dict[str, Table], xr.Dataset, xr.Dataset, float]:
    """Return the true table, reference, starts and temperature of a dense Lennard-Jones fluid of 108 particles."""
    r, edge, count = np.arange(0.22, CUTOFF + 0.0005, 0.001), 2.0, 108
    true = {"A-A": table_of(r, 4.0 * ((0.34 / r) ** 12 - (0.34 / r) ** 6), CUTOFF)}
    grid = np.stack(np.meshgrid(*[np.arange(5)] * 3), -1).reshape(-1, 3)[:count] * edge / 5
    ds = system(np.repeat(grid[None], 4, axis=0), edge, ["A"] * count, [], 39.9)
    run = sample(true, ds, temperature=200.0, duration=400.0, **HOW)
    reference = cgstore.rdf(run, r_max=CUTOFF, bin_width=SPACE, exclude_bonded=0).compute()
    return true, reference, run.isel(frame=np.flatnonzero(np.diff(run["replica"], append=-1))), 200.0


def chains() -> tuple[Molecular, xr.DataTree, xr.Dataset, float]:
    """Return the true model, reference, starts and temperature of a liquid of 24 chains A-B-B-A."""
    r = np.arange(0.25, CUTOFF + 0.0005, 0.001)
    depths = {"A-A": 1.5, "A-B": 1.0, "B-B": 2.0}  # kJ/mol
    pairs = {name: table_of(r, 4.0 * e * ((0.35 / r) ** 9 - (0.35 / r) ** 6), CUTOFF) for name, e in depths.items()}
    length, angle, turn = np.arange(0.05, 1.0, 0.001), np.linspace(0.0, 180.0, 721), np.linspace(-180.0, 180.0, 1441)
    bond = bonded_table_of("bond", length, 2500.0 * (length - 0.3) ** 2)
    bend = bonded_table_of("angle", angle, 20.0 * np.radians(angle - 120.0) ** 2)
    phi = np.radians(turn)
    twist = bonded_table_of("dihedral", turn, 3.0 * np.cos(2.0 * phi + 0.3) + 1.2 * np.cos(phi - 0.5))
    true = Molecular(pairs, {"A-B": bond, "B-B": bond}, {"A-B-B": bend}, {"A-B-B-A": twist}, exclude_bonded=2)
    rng, edge, bonds = np.random.default_rng(1), 2.1, [(4 * m + k, 4 * m + k + 1) for m in range(24) for k in range(3)]
    step = rng.normal(size=(4, 24, 4, 3))
    step *= 0.3 / np.linalg.norm(step, axis=-1, keepdims=True)
    position = (rng.random((4, 24, 1, 3)) * edge + np.cumsum(step, axis=2)).reshape(4, 96, 3)
    run = sample(true, system(position, edge, list("ABBA") * 24, bonds, 50.0), temperature=300.0, duration=300.0, **HOW)
    rdf = cgstore.rdf(run, r_max=CUTOFF, bin_width=SPACE, exclude_bonded=2)
    terms = cgstore.bonded(run, bond_width=0.01, bond_max=0.5, angle_width=4.0, dihedral_width=10.0)
    start = run.isel(frame=np.flatnonzero(np.diff(run["replica"], append=-1)))
    return true, xr.DataTree.from_dict({"rdf": rdf, "bonded": terms}).compute(), start, 300.0


def system(
    position: np.ndarray, edge: float, types: list[str], bonds: list[tuple[int, int]], mass: float
) -> xr.Dataset:
    """Return frames (replica, particle, xyz) in cubic boxes as a dataset."""
    bond, count = np.array(bonds, np.int32).reshape(-1, 2), len(types)
    box = np.repeat(np.eye(3, dtype=np.float32)[None] * np.float32(edge), len(position), axis=0)
    variables = {
        "position": (("frame", "particle", "xyz"), position.astype(np.float32)),
        "box": (("frame", "box_vector", "xyz"), box),
        "mass": ("particle", np.full(count, mass)),
    }
    if len(bond):
        variables |= {
            "bond": (("bond", "bond_end"), bond),
            "angle": (("angle", "angle_end"), angles_of_bonds(bond, count)),
            "dihedral": (("dihedral", "dihedral_end"), dihedrals_of_bonds(bond, count)),
        }
    return xr.Dataset(variables, {"type": ("particle", types), "name": ("particle", types)})


def furthest(model, true, goal, kT: float) -> float:  # type: ignore[no-untyped-def]
    """Return how far the worst potential is from the true one, in kT: pairs at 0.33 to 0.75 nm, terms where they are.

    Terms are compared but for a constant, where their density is at least a tenth of its largest value.
    """
    found, wanted, worst = energies_of(model, goal), energies_of(true, goal), 0.0
    for name, part in goal.parts.items():
        kind, bin = goal.dims(name)
        for row in part[kind].values:
            density = part[name].sel({kind: row}).values
            error = (found[name] - wanted[name])["potential"].sel({kind: row}).values
            if name == "rdf":
                use = (part[bin].values > 0.33) & (part[bin].values < 0.75)
            else:
                use = density > 0.1 * density.max()
                error = error - np.average(error[use], weights=density[use])
            worst = max(worst, float(abs(error[use]).max()) / kT)
    return worst


if __name__ == "__main__":
    main()
