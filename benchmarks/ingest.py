"""What it costs to bring trajectories into a store, what they weigh there, and how quickly they come back.

One worker; seconds of processor are counted, so what runs in the background counts too. `csg_map` of VOTCA reads the
same XTC and writes the same beads as XTC, where it is installed.
"""

import itertools
import shutil
import subprocess
import tempfile
import warnings
from pathlib import Path

import dask
import numpy as np
import xarray as xr
from _timing import compare, processor, report
from correlated import Correlated, correlated

import cgstore
from cgstore.mapping import BeadMap, bead_map
from cgstore.readers.parts import open_run
from cgstore.readers.topologies import read_topology
from cgstore.readers.xtc import open_xtc
from cgstore.recipe import load_recipe
from cgstore.store.opening import open_arrays
from cgstore.topology import Topology

ROOT = Path(__file__).parents[1]
ATOMS_TIMES, BEADS_TIMES = 6, 36  # the shipped run is short: its frames are repeated
BLOCK = 50  # frames
Results = dict[str, dict[str, float]]


def main() -> None:
    """Compare on the shipped bilayer and on correlated beads."""
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as name, dask.config.set(scheduler="synchronous"):
        results = bilayer(Path(name)) | beads(Path(name), correlated())
    report(results)


def recipe(file: Path, system: str, store: str, *, mapping: str = "") -> Path:
    """Write a recipe for `system.tpr` and `traj.xtc` in a folder called archive."""
    lines = [
        "[system]",
        *(f'name = "{system}"', f'title = "{system}"', 'kind = "liquid"'),
        "[[run]]",
        *('name = "r1"', 'topology = "system.tpr"', 'trajectory = ["traj.xtc"]', 'interval = "2 ps"'),
        mapping,
        "[store]",
        *('precision = "0.001 nm"', store),
    ]
    file.write_text("\n".join(lines) + "\n")
    return file


def bilayer(folder: Path) -> Results:
    """Ingest the bilayer as atoms and as beads."""
    archive, few = copies(folder / "archive", BEADS_TIMES), copies(folder / "few", ATOMS_TIMES)
    frames, few_frames = (len(open_xtc(place / "traj.xtc").time) for place in (archive, few))
    shutil.copytree(ROOT / "ingest/mappings", folder / "mappings")
    (folder / "recipes").mkdir()
    mapping = '[mapping]\nDMPC = "dmpc_10bead"\nHOH = "drop"\n'
    cg = recipe(folder / "recipes/cg.toml", "cg", 'levels = ["cg"]', mapping=mapping)
    atoms = recipe(folder / "recipes/atoms.toml", "atoms", 'levels = ["atoms"]')
    small = recipe(folder / "recipes/small.toml", "small", 'levels = ["atoms"]\nprofile = "small"')
    new = itertools.count()

    def ingest(what: Path, place: Path) -> None:
        store = folder / f"store{next(new)}"
        cgstore.ingest(what, archive=place, store=store)
        shutil.rmtree(store)

    topology = read_topology(archive / "system.tpr")
    functions = {"cgstore, XTC to beads in the store": lambda: ingest(cg, archive)}
    if shutil.which("csg_map"):
        plan = bead_map(topology, load_recipe(cg))
        (folder / "map.xml").write_text(votca_mapping(topology, plan))
        words = ["csg_map", "--top", "archive/system.tpr", "--trj", "archive/traj.xtc", "--cg", "map.xml"]
        functions["csg_map, XTC to beads as XTC"] = lambda: subprocess.run(
            [*words, "--out", "beads.xtc"], cwd=folder, check=True, capture_output=True
        )
    title = f"bilayer, {len(topology)} atoms"
    measured = {"unit": "frames", "clock": processor}
    return {
        "map": compare(f"{title}, {frames} frames, to 640 beads of whole lipids", functions, amount=frames, **measured),
        "steps": steps(archive, topology, cg, title),
        "atoms": compare(
            f"{title}, {few_frames} frames, all atoms",
            {"cgstore, profile fast": lambda: ingest(atoms, few), "cgstore, profile small": lambda: ingest(small, few)},
            amount=few_frames,
            **measured,
        ),
        "bytes": weigh(folder / "weighed", {"fast": atoms, "small": small}, few),
    }


def copies(folder: Path, times: int) -> Path:
    """Make an archive of the shipped bilayer, its frames several times."""
    folder.mkdir()
    source = ROOT / "archive/dmpc_303k"
    shutil.copy(source / "system.tpr", folder)
    (folder / "traj.xtc").write_bytes((source / "traj.xtc").read_bytes() * times)
    return folder


def steps(archive: Path, topology: Topology, cg: Path, title: str) -> dict[str, float]:
    """Time reading and mapping alone; what an ingest takes beyond them is coding, digests, writing and opening."""
    run = open_run(archive, trajectory=["traj.xtc"], particles=len(topology), interval=2.0)
    plan = bead_map(topology, load_recipe(cg))
    part = run.read(0, BLOCK)

    def read() -> None:
        for start in range(0, len(run), BLOCK):
            run.read(start, min(start + BLOCK, len(run)))

    def map_all() -> None:
        for _ in range(0, len(run), BLOCK):
            plan.apply(part)

    functions = {"read": read, "map": map_all}
    return compare(f"{title}, steps alone", functions, amount=len(run), unit="frames", clock=processor)


def votca_mapping(topology: Topology, plan: BeadMap) -> str:
    """Write the beads of the first lipid as VOTCA wants them."""
    beads, maps = [], []
    for b in np.flatnonzero(plan.topology.molecule == 0):
        members = plan.source[plan.first_member[b] : plan.first_member[b + 1]]
        atoms = " ".join(f"1:{topology.residue[k]}:{topology.name[k]}" for k in members)
        mass = " ".join(f"{topology.mass[k]:.4f}" for k in members)
        kind = f"<name>{plan.topology.name[b]}</name><type>{plan.topology.type[b]}</type>"
        beads.append(f"<cg_bead>{kind}<mapping>M{b}</mapping><beads>{atoms}</beads></cg_bead>")
        maps.append(f"<map><name>M{b}</name><weights>{mass}</weights></map>")
    inside = f"<topology><cg_beads>{''.join(beads)}</cg_beads></topology><maps>{''.join(maps)}</maps>"
    return f"<cg_molecule><name>DMPC</name><ident>DMPC</ident>{inside}</cg_molecule>"


def weigh(store: Path, recipes: dict[str, Path], archive: Path) -> dict[str, float]:
    """Ingest with each profile, say what a particle takes, and return the bytes."""
    opened = open_xtc(archive / "traj.xtc")
    amount = len(opened.time) * opened.particles
    weights = {"XTC": int(opened.length.sum()) / amount}
    for name, file in recipes.items():
        [summary] = cgstore.ingest(file, archive=archive, store=store)
        weights[name] = summary.bytes_stored / amount
    print("bytes per particle and frame, everything included")
    for name, weight in weights.items():
        print(f"  {name:34s} {weight:12.3g}   {weight / weights['XTC']:.3g} times the XTC")
    return weights


def beads(folder: Path, made: Correlated) -> Results:
    """Ingest correlated particles, weigh them, and read them back."""
    import mdtraj

    archive, store = made.folder, folder / "correlated"
    profiles = {p: recipe(folder / f"{p}.toml", p, f'levels = ["atoms"]\nprofile = "{p}"') for p in ("fast", "small")}
    results = {"correlated bytes": weigh(store, profiles, archive)}
    catalog = cgstore.open_catalog(store)
    opened: dict[str, xr.Dataset] = {p: catalog[f"{p}/r1/atoms"].open() for p in profiles}
    reader = open_xtc(archive / "traj.xtc")
    frames, gigabytes = len(reader.time), len(reader.time) * reader.particles * 12e-9
    xtc = str(archive / "traj.xtc")
    chunks = {p: open_arrays(catalog[f"{p}/r1/atoms"].path / "v000001")[0]["position"] for p in profiles}
    whole = {f"store, {p}": lambda ds=ds: ds.position.values for p, ds in opened.items()}
    whole |= {f"chunks of the store, {p}": lambda array=array: array[:] for p, array in chunks.items()}
    whole["XTC by cgstore"] = lambda: reader.read(np.arange(frames))
    whole["XTC by mdtraj"] = lambda: mdtraj.formats.XTCTrajectoryFile(xtc).read()
    title = f"{made.words}, {frames} frames, read"
    results["correlated whole"] = compare(
        f"{title} whole, as float32", whole, amount=gigabytes, unit="GB", clock=processor
    )
    chosen = np.random.default_rng(1).permutation(frames)[:50].tolist()
    file = mdtraj.formats.XTCTrajectoryFile(xtc)

    def by_mdtraj() -> None:
        for k in chosen:
            file.seek(k)
            file.read(1)

    single = {f"store, {p}": lambda ds=ds: [ds.position[k].values for k in chosen] for p, ds in opened.items()}
    single |= {f"chunks of the store, {p}": lambda a=array: [a[k] for k in chosen] for p, array in chunks.items()}
    single["XTC by cgstore"] = lambda: [reader.read(np.array([k])) for k in chosen]
    single["XTC by mdtraj"] = by_mdtraj
    results["correlated random"] = compare(f"{title} one by one", single, amount=50, unit="frames", clock=processor)
    return results


if __name__ == "__main__":
    main()
