"""Does a network need angles? mW water, forces matched at 300 K by radial functions alone and by angular ones as well.

    python benchmarks/water.py FOLDER

mW (Molinero & Moore 2009, doi:10.1021/jp805227c) is water of one bead with a three-body potential, so its forces are
exact and no potential of pairs has its structure. The thermostat is a Nosé–Hoover chain: LAMMPS would write the random
forces of Langevin motion with those of the potential. LAMMPS (`lmp`, with MANYBODY) makes two runs of 216 beads at
300 K, one to train on and one that chooses the best network, and two each at 260 K and 360 K, which no training reads.
The volume is that of 0.997 g/cm³ everywhere. Networks with as many inputs learn from the same batches, are sampled at
all three temperatures from the frames at 300 K, and compared with one of the two runs; the other is what a perfect
model would be off by. Runs are kept in FOLDER. Times are of the processor.
"""

import argparse
import subprocess
import time
from pathlib import Path

import numpy as np
import torch
import xarray as xr

import cgstore
from cgstore.frames import Frames
from cgstore.learn.angular import angular_of
from cgstore.learn.atomic import AtomicNetwork
from cgstore.learn.descriptors import radial_of, scaling_of
from cgstore.learn.force_matching import force_error, train_forces
from cgstore.learn.loader import Loader
from cgstore.learn.potential import prior_of
from cgstore.learn.sampler import sample, starting_frames
from cgstore.splits.split import Split
from cgstore.store.versions import stage
from cgstore.topology import Topology

BEADS, MASS, TRAINED = 216, 18.015, 300
EDGE = round((BEADS * MASS / 0.997 / 602.214) ** (1 / 3), 4)  # nm
TEMPERATURES, SEEDS = (260, TRAINED, 360), (1, 2)
CUTOFF, ANGLES, NEIGHBOUR = 0.6, 0.45, 0.35  # nm: of radial and angular functions, and of first neighbours
FORCE = 41.84  # kcal/mol/Å in kJ/mol/nm

MW = "W W W 6.189 2.3925 1.8 23.15 1.2 -0.333333333333 7.049556277 0.6022245584 4.0 0.0 0.0\n"
INPUT = """
units real
atom_style atomic
read_data start.data
pair_style sw
pair_coeff * * mW.sw W
velocity all create {temperature} {seed} mom yes
fix 1 all nvt temp {temperature} {temperature} 500.0
timestep 10.0
thermo 10000
run 10000
reset_timestep 0
dump 1 all custom 200 {name}.dump id x y z fx fy fz
dump_modify 1 sort id format float %.6f
run 20000
"""


def simulate(folder: Path, temperature: int, seed: int) -> Frames:
    """Return 100 frames of 200 ps by LAMMPS, after 100 ps."""
    folder.mkdir(parents=True, exist_ok=True)
    name, lines = f"w{temperature}_{seed}", 9 + BEADS
    if not (folder / f"{name}.dump").is_file():
        grid = (np.stack(np.meshgrid(*[np.arange(6)] * 3), -1).reshape(-1, 3) + 0.5) * EDGE * 10.0 / 6.0
        sides = "".join(f"0.0 {10.0 * EDGE:.6f} {x}lo {x}hi\n" for x in "xyz")
        atoms = "".join(f"{n + 1} 1 {x:.6f} {y:.6f} {z:.6f}\n" for n, (x, y, z) in enumerate(grid))
        head = f"mW\n\n{BEADS} atoms\n1 atom types\n\n{sides}\nMasses\n\n1 {MASS}\n\nAtoms\n\n"
        (folder / "start.data").write_text(head + atoms)
        (folder / "mW.sw").write_text(MW)
        (folder / f"{name}.in").write_text(INPUT.format(temperature=temperature, seed=seed * 7919, name=name))
        words = ["lmp", "-in", f"{name}.in", "-log", f"{name}.log", "-screen", "none"]
        subprocess.run(words, cwd=folder, check=True)
    text = (folder / f"{name}.dump").read_text().splitlines()
    frames = [text[at : at + lines] for at in range(lines, len(text), lines)]  # the first is where the others begin
    step = np.array([int(frame[1]) for frame in frames])
    rows = np.array([[line.split()[1:] for line in frame[9:]] for frame in frames], np.float64)
    position, force = (0.1 * rows[..., :3]) % EDGE, FORCE * rows[..., 3:]
    boxes = np.repeat(EDGE * np.eye(3, dtype=np.float32)[None], len(frames), 0)
    return Frames(position.astype(np.float32), 0.01 * step, step, box=boxes, force=force.astype(np.float32))


def keep(store: Path, name: str, temperature: int, frames: Frames) -> None:
    """Write the frames as a dataset."""
    index, text = np.arange(BEADS, dtype=np.int32), np.full(BEADS, "W")
    none = {name: np.empty((0, n), np.int32) for name, n in (("bond", 2), ("angle", 3), ("dihedral", 4))}
    topology = Topology(text, text, text, index, index, text, np.full(BEADS, MASS), np.zeros(BEADS), **none)
    known = {"kind": "liquid", "composition": {"W": BEADS}, "temperature": float(temperature)}
    with stage(store / f"{name}/r1/cg") as staged:
        sources = [{"path": f"{name}.dump", "size": 1, "digest": name}]
        staged.create(topology, frames, precision=None, attrs=known | {"sources": sources})
        staged.append(frames)
        staged.publish()


def structure(ds: xr.Dataset) -> dict[str, np.ndarray]:
    """Return g (bin,), and the distribution (bin,) of cos θ between first neighbours."""
    g = cgstore.rdf(ds, r_max=0.9, bin_width=0.005).compute()["rdf"].values[0]
    count = np.zeros(40)
    for x, box in zip(ds["position"].values.astype(float), ds["box"].values.astype(float), strict=True):
        delta = x[None] - x[:, None]
        delta -= np.rint(delta @ np.linalg.inv(box)) @ box
        r = np.sqrt((delta**2).sum(-1))
        for i in range(len(x)):
            near = np.flatnonzero((r[i] < NEIGHBOUR) & (r[i] > 0.0))
            unit = delta[i, near] / r[i, near][:, None]
            cosines = (unit @ unit.T)[np.triu_indices(len(near), 1)]
            count += np.histogram(cosines, 40, (-1.0, 1.0))[0]
    return {"g": g, "angle": count / count.sum()}


def apart(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> np.ndarray:
    """Return the rmsd of g, and the total variation between the distributions of angles."""
    rmsd = np.sqrt(((one["g"] - other["g"])[44:] ** 2).mean())  # from 0.22 nm on
    return np.array([rmsd, 0.5 * np.abs(one["angle"] - other["angle"]).sum()])


def networks(train: xr.Dataset) -> dict[str, AtomicNetwork]:
    """Return networks with as many inputs: radial alone, as pairs and with layers, and with angles."""
    g = cgstore.rdf(train, r_max=0.9, bin_width=0.005).compute()
    curve = (g["rdf"].values[0], g["r"].values)
    priors = {"W-W": prior_of(*curve, float(TRAINED))}
    few, many = (radial_of(*curve, functions=n, cutoff=CUTOFF) for n in (12, 24))
    angular = angular_of(*curve, widths=2, cutoff=ANGLES, powers=(1, 2, 4))
    kinds = {"radial": (many, None, (20, 20)), "angular": (few, angular, (20, 20)), "pairs": (many, None, ())}
    position, box, found = train["position"].values[::10], train["box"].values[::10], {}
    for name, (radial, angles, hidden) in kinds.items():
        functions = {"radial": radial, "angular": angles, "priors": priors}
        blank = AtomicNetwork("W", hidden=(), **functions)
        described = blank.describe(position, box, ["W"] * BEADS)
        scaling = scaling_of(described.descriptor, described.kind, 1)
        found[name] = AtomicNetwork("W", hidden=hidden, scaling=scaling, seed=1, **functions)
    return found


def scored(model: AtomicNetwork, start: xr.Dataset, temperature: int, truth: dict[str, np.ndarray]) -> np.ndarray:
    """Return how far samples of a model are off, and the jackknife error over its replicas: (2, quantity)."""
    options = {"equilibrate": 10.0, "duration": 25.0, "every": 0.5, "time_step": 0.01, "seed": 3, "threads": 1}
    run = sample(model, start, temperature=float(temperature), **options)
    replicas = run["replica"].values
    parts = [structure(run.isel(frame=np.flatnonzero(replicas == k))) for k in np.unique(replicas)]
    mean = {name: np.mean([part[name] for part in parts], axis=0) for name in truth}
    count, left = len(parts), []
    for k in range(count):
        left.append(apart({n: (count * mean[n] - parts[k][n]) / (count - 1) for n in truth}, truth))
    error = np.sqrt((count - 1) * np.var(left, axis=0))
    return np.stack([apart(mean, truth), error])


def main() -> None:
    """Simulate, train, sample and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=800)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    store = asked.folder / "store"
    for temperature in TEMPERATURES:
        for seed in SEEDS:
            if not (store / f"w{temperature}_{seed}").is_dir():
                keep(store, f"w{temperature}_{seed}", temperature, simulate(asked.folder, temperature, seed))
    catalog = cgstore.open_catalog(str(store))
    runs = {(t, s): catalog[f"w{t}_{s}/r1/cg"].open().load() for t in TEMPERATURES for s in SEEDS}
    known = {key: structure(run) for key, run in runs.items()}
    options = {"batch_size": 4, "variables": ["position", "force"], "seed": 1, "threads": 1}

    def loader(name: str) -> Loader:
        split = Split.from_dict({"train": [{"system": name}]})
        return Loader(catalog, split.train, **options)

    print("forces, rms:", {t: round(float(runs[t, 1]["force"].std()), 1) for t in TEMPERATURES}, "kJ/mol/nm")
    for t in TEMPERATURES:
        rmsd, angle = apart(known[t, 1], known[t, 2])
        print(f"{t} K, two runs of LAMMPS: rmsd of g {rmsd:.4f}, angles {angle:.4f}", flush=True)
    start = starting_frames(runs[TRAINED, 1], 4)
    for name, model in networks(runs[TRAINED, 1]).items():
        begin = time.process_time()
        options_of = {"steps": asked.steps, "rate": 0.01, "validation": loader(f"w{TRAINED}_2"), "every": 250}
        *_, last = train_forces(model, loader(f"w{TRAINED}_1"), **options_of)
        spent = time.process_time() - begin
        print(f"{name}: {model.mean.shape[1]} functions, {last.step} steps, {spent:.0f} s")
        for t in TEMPERATURES:
            left, begin = force_error(model, loader(f"w{t}_1")), time.process_time()
            (rmsd, angle), (a, b) = scored(model, start, t, known[t, 1])
            print(
                f"  {t} K: forces {left:.2f} kJ/mol/nm, rmsd of g {rmsd:.4f} +- {a:.4f}, "
                f"angles {angle:.4f} +- {b:.4f}, {time.process_time() - begin:.0f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
