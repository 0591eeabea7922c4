"""How quickly canonical averages come from frames, beside other programs, each on one thread; what the cost depends on.

All pairs of types of 5 000 beads of 8 types and of a mapped bilayer. cgstore reads its store, GROMACS and VOTCA read
XTC, the others have the frames in memory. What they find is compared bin by bin before anything is timed.
"""

import importlib.util
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import dask
import numpy as np
import xarray as xr
from _peers import (
    Beads,
    Run,
    csg_stat,
    freud_rdf,
    gmx_rdf,
    mdanalysis_rdf,
    mdtraj_rdf,
    one_thread,
    rates,
    repeated,
    simulated,
    stored,
)
from _timing import processor, report
from correlated import ROOT

import cgstore
from cgstore.averages.pair import rdf_blocks, rdf_counter, rdf_from_blocks

R_MAX, BIN = 1.5, 0.005  # nm
DENSITY = 9.17  # beads per nm³ of the correlated beads
# What a program is expected to find: like pairs are N²/2, volumes are averaged, bins are centred on multiples
CONVENTIONS = {
    "gmx rdf": {"squared": True, "mean_volume": False, "centred": True},
    "csg_stat": {"squared": True, "mean_volume": True, "centred": False},
    "mdtraj": {"squared": False, "mean_volume": False, "centred": False},
    "MDAnalysis": {"squared": False, "mean_volume": True, "centred": False},
    "freud": {"squared": True, "mean_volume": True, "centred": False},
}
Results = dict[str, dict[str, float]]
Peers = dict[str, tuple[Callable[[int], np.ndarray], int]]


def main() -> None:
    """Compare on the correlated beads and on the bilayer; then vary one thing at a time."""
    one_thread()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as name, dask.config.set(scheduler="synchronous"):
        results = liquid(Path(name)) | bilayer(Path(name)) | bonded(Path(name))
        report(results | cost())


def liquid(folder: Path) -> Results:
    """Count all 36 pairs of types of the correlated beads."""
    made = simulated()
    if made is None:
        return {}
    lazy = stored(made, folder)
    beads = Beads(lazy.compute(), made.folder / made.trajectory, R_MAX, BIN)
    peers: Peers = {}
    if shutil.which("gmx"):
        peers["gmx rdf"] = gmx_rdf(beads, folder), 32
    if shutil.which("csg_stat"):
        peers["csg_stat"] = csg_stat(beads, made.folder / made.topology, folder), 24
    peers["mdtraj"] = mdtraj_rdf(beads), 8
    if importlib.util.find_spec("MDAnalysis"):
        peers["MDAnalysis"] = mdanalysis_rdf(beads), 4
    if importlib.util.find_spec("freud"):
        peers["freud"] = freud_rdf(beads), 3
    return {"rdf": pairs(f"rdf, {made.words}", beads, repeated(lazy, 4), peers)}


def bilayer(folder: Path) -> Results:
    """Count all 15 pairs of types of the shipped DMPC bilayer: 640 beads, 115 frames."""
    shipped = ROOT / "ingest/recipes/dmpc_303k.toml"
    cgstore.ingest(shipped, archive=ROOT / "archive", store=folder / "bilayer")
    lazy = cgstore.open_catalog(folder / "bilayer")["dmpc_303k/r1/cg"].open()
    beads = Beads(lazy.compute(), folder / "beads.xtc", R_MAX, BIN)
    write_xtc(beads)
    frames = beads.ds.sizes["frame"]
    peers: Peers = {}
    if shutil.which("gmx"):
        peers["gmx rdf"] = gmx_rdf(beads, folder), frames
    peers["mdtraj"] = mdtraj_rdf(beads), frames
    return {"bilayer rdf": pairs("rdf, bilayer of 640 beads, 5 types", beads, repeated(lazy, 9), peers)}


def write_xtc(beads: Beads) -> None:
    """Write the beads in memory as XTC, in the precision that they have."""
    import mdtraj

    with mdtraj.formats.XTCTrajectoryFile(str(beads.trajectory), "w") as file:
        ds = beads.ds
        frames = np.arange(ds.sizes["frame"], dtype=np.int32)
        time = ds["time"].values.astype(np.float32)
        file.write(ds["position"].values, time=time, step=frames, box=ds["box"].values.astype(np.float32))


def pairs(title: str, beads: Beads, lazy: xr.Dataset, peers: Peers) -> dict[str, float]:
    """See whether all programs find the same, then how quickly."""
    print(f"{title}, {len(beads.pairs)} pairs of types, {beads.bins} bins of {beads.width} nm")
    for name, (call, frames) in peers.items():
        found, expected = call(frames), beads.expected(frames, **CONVENTIONS[name])
        apart = np.abs(found[:, : beads.bins] - expected[:, : found.shape[1]])
        mean = apart.mean() / expected.mean()
        print(f"  {name:34s} g differs from that of cgstore by {apart.max():.2g} at most, {mean:.2g} of g on average")
    ds = beads.ds
    parameters = {"r_max": beads.r_max, "bin_width": beads.width, "exclude_bonded": 0}
    counter = rdf_counter(ds, pairs=None, **parameters)
    position = np.ascontiguousarray(ds["position"].values)
    box = np.ascontiguousarray(ds["box"].values, np.float64)
    runs = {
        "cgstore": Run(lambda n: cgstore.rdf(lazy.isel(frame=slice(0, n)), **parameters).load(), lazy.sizes["frame"]),
        "cgstore, counting alone": Run(lambda n: counter.count(position[:n], box[:n], 0), min(256, len(position))),
    }
    runs |= {name: Run(call, frames) for name, (call, frames) in peers.items()}
    return rates("  counted", runs)


def bonded(folder: Path) -> Results:
    """Count all bonds, angles and dihedrals of the bilayer, beside mdtraj with histograms of NumPy."""
    import mdtraj

    lazy = cgstore.open_catalog(folder / "bilayer")["dmpc_303k/r1/cg"].open()
    long, ds = repeated(lazy, 9), lazy.compute()
    topology = mdtraj.Topology()
    residue = topology.add_residue("DMPC", topology.add_chain())
    for name in ds["name"].values:
        topology.add_atom(str(name), mdtraj.element.virtual, residue)
    whole = mdtraj.Trajectory(ds["position"].values, topology)
    whole.unitcell_vectors = ds["box"].values

    def by_mdtraj(frames: int) -> None:
        some = whole[:frames]
        np.histogram(mdtraj.compute_distances(some, ds["bond"].values), 500, (0, 1))
        np.histogram(mdtraj.compute_angles(some, ds["angle"].values), 180, (0, np.pi))
        np.histogram(mdtraj.compute_dihedrals(some, ds["dihedral"].values), 180, (-np.pi, np.pi))

    terms = sum(ds.sizes[name] for name in ("bond", "angle", "dihedral"))
    runs = {
        "cgstore": Run(lambda n: cgstore.bonded(long.isel(frame=slice(0, n))).load(), long.sizes["frame"]),
        "mdtraj and NumPy": Run(by_mdtraj, ds.sizes["frame"]),
    }
    return {"bilayer bonded": rates(f"bonded, bilayer of 640 beads, {terms} terms", runs)}


def gas(*, frames: int, beads: int, types: int) -> xr.Dataset:
    """Make beads anywhere in a cube, as dense as the correlated ones; only their density matters for the cost."""
    edge = (beads / DENSITY) ** (1 / 3)
    position = np.random.default_rng(1).random((frames, beads, 3), np.float32) * np.float32(edge)
    return xr.Dataset(
        {
            "position": (("frame", "particle", "xyz"), position),
            "box": (("frame", "box_vector", "xyz"), np.repeat(np.eye(3)[None] * edge, frames, axis=0)),
        },
        {"type": ("particle", [f"T{i % types}" for i in range(beads)])},
    )


def cost() -> Results:
    """Vary frames, beads, types, r_max and threads one at a time, around 5 000 beads of 8 types and 1.5 nm.

    Seconds of processor, but for threads, which need cores that nothing else uses, those of the clock on the wall. The
    errors are apart: they are made of at most 256 blocks, however many frames there were.
    """
    usual = {"frames": 512, "beads": 5000, "types": 8, "r_max": 1.5, "threads": 1}
    varied = {
        "frames": {64: {}, 256: {}, 1024: {}, 4096: {}},
        "beads": {500: {"frames": 4096}, 1000: {"frames": 2048}, 2000: {}, 5000: {}, 20_000: {"frames": 128}},
        "types": {1: {}, 2: {}, 4: {}, 8: {}, 16: {}},
        "r_max": {0.5: {"frames": 2048}, 1.0: {"frames": 1024}, 1.5: {}, 2.0: {"frames": 256}, 3.0: {"frames": 128}},
        "threads": {1: {}, 2: {}},
    }
    print(f"milliseconds per frame of cgstore.rdf in memory, without errors, bins of {BIN} nm; usually {usual}")
    results = {}
    for name, values in varied.items():
        clock = time.perf_counter if name == "threads" else processor
        found = {str(value): _per_frame(**usual | {name: value} | more, clock=clock) for value, more in values.items()}
        print("  | " + " | ".join([name, *found]) + " |")
        print("  | " + " | ".join(["ms", *(f"{milliseconds:.3g}" for milliseconds in found.values())]) + " |")
        results[f"cost of {name}"] = found
    blocks = rdf_blocks(gas(frames=256, beads=5000, types=8), r_max=1.5, bin_width=BIN).load()
    errors = 1e3 * _best(lambda: rdf_from_blocks(blocks).load(), processor)
    print(f"  errors of 36 pairs and 300 bins: {errors:.3g} ms, once")
    return results | {"cost of errors": {"ms": errors}}


def _per_frame(*, frames: int, beads: int, types: int, r_max: float, threads: int, clock: Callable[[], float]) -> float:
    """Return the milliseconds that a frame takes."""
    ds = gas(frames=frames, beads=beads, types=types)
    with dask.config.set(scheduler="threads" if threads > 1 else "synchronous", num_workers=threads):
        return 1e3 * _best(lambda: rdf_blocks(ds, r_max=r_max, bin_width=BIN).load(), clock) / frames


def _best(function: Callable[[], object], clock: Callable[[], float]) -> float:
    """Return the seconds of the best of three times."""
    taken = []
    for _ in range(4):
        begin = clock()
        function()
        taken.append(clock() - begin)
    return min(taken[1:])


if __name__ == "__main__":
    main()
