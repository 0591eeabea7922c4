"""How quickly bonded terms become histograms: 12 000 terms of chains of beads, against mdtraj and MDAnalysis."""

import threading
import time
import warnings
from collections.abc import Callable

import dask
import numpy as np
import xarray as xr
from _timing import compare, processor, report

import cgstore
from cgstore.averages.bonded import bonded_counter

TYPES = "AAABBBCCCDDD"  # of one chain: 7 kinds of bonds, 10 of angles, 9 of dihedrals
CHAINS, FRAMES = 400, 512
SIDE = 8.0  # nm
WIDTHS = {"bond_width": 0.002, "bond_max": 1.0, "angle_width": 1.0, "dihedral_width": 2.0}


def chains() -> xr.Dataset:
    """Return whole chains of stiff bonds with a preferred direction, which cross the box here and there."""
    random = np.random.default_rng(1)
    beads = len(TYPES)
    step = random.normal([1.2, 0.0, 0.0], 1.0, (FRAMES, CHAINS, beads, 3))
    step *= random.normal(0.3, 0.01, (FRAMES, CHAINS, beads, 1)) / np.linalg.norm(step, axis=-1, keepdims=True)
    position = random.random((1, CHAINS, 1, 3)) * SIDE + np.cumsum(step, axis=2)
    first = np.arange(CHAINS)[:, None] * beads
    terms = {
        name: (
            (name, f"{name}_end"),
            ((first + np.arange(beads - ends + 1)).reshape(-1, 1) + np.arange(ends)).astype(np.int32),
        )
        for name, ends in (("bond", 2), ("angle", 3), ("dihedral", 4))
    }
    return xr.Dataset(
        {
            "position": (("frame", "particle", "xyz"), position.reshape(FRAMES, -1, 3).astype(np.float32)),
            "box": (("frame", "box_vector", "xyz"), np.repeat(SIDE * np.eye(3, dtype=np.float32)[None], FRAMES, 0)),
            **terms,
        },
        {"type": ("particle", list(TYPES * CHAINS))},
    )


def rivals(ds: xr.Dataset) -> dict[str, Callable[[], object]]:
    """Return the same work done by mdtraj and MDAnalysis, with one histogram of all bonds, angles, dihedrals each."""
    import mdtraj
    from MDAnalysis.lib import distances

    topology = mdtraj.Topology()
    residue = topology.add_residue("CHN", topology.add_chain())
    for _ in range(ds.sizes["particle"]):
        topology.add_atom("B", mdtraj.element.virtual, residue)
    trajectory = mdtraj.Trajectory(ds.position.values, topology)
    trajectory.unitcell_vectors = ds.box.values
    bond, angle, dihedral = ds.bond.values, ds.angle.values, ds.dihedral.values
    box = np.array([SIDE, SIDE, SIDE, 90, 90, 90], np.float32)

    def of_mdtraj() -> None:
        np.histogram(mdtraj.compute_distances(trajectory, bond), 500, (0, 1))
        np.histogram(mdtraj.compute_angles(trajectory, angle), 180, (0, np.pi))
        np.histogram(mdtraj.compute_dihedrals(trajectory, dihedral), 180, (-np.pi, np.pi))

    def of_mdanalysis() -> None:
        for x in ds.position.values:
            np.histogram(distances.calc_bonds(*(x[bond[:, k]] for k in range(2)), box=box), 500, (0, 1))
            np.histogram(distances.calc_angles(*(x[angle[:, k]] for k in range(3)), box=box), 180, (0, np.pi))
            np.histogram(
                distances.calc_dihedrals(*(x[dihedral[:, k]] for k in range(4)), box=box), 180, (-np.pi, np.pi)
            )

    return {"mdtraj and NumPy": of_mdtraj, "MDAnalysis and NumPy": of_mdanalysis}


def together(work: Callable[[], object], threads: int) -> float:
    """Return the seconds that so many threads need to do the work once each."""
    crew = [threading.Thread(target=work) for _ in range(threads)]
    begin = time.perf_counter()
    for one in crew:
        one.start()
    for one in crew:
        one.join()
    return time.perf_counter() - begin


def main() -> None:
    """Compare distributions with their errors, and counting alone, on one core; and two threads with one."""
    warnings.simplefilter("ignore")
    ds = chains()
    counter = bonded_counter(ds, **WIDTHS)
    position, box = ds.position.values, ds.box.values.astype(np.float64)

    def count() -> None:
        for start in range(0, FRAMES, 128):
            counter.count(position[start : start + 128], box[start : start + 128], start)

    terms = sum(ds.sizes[name] for name in ("bond", "angle", "dihedral"))
    other = rivals(ds)
    with dask.config.set(scheduler="synchronous"):
        results = {
            "bonded": compare(
                f"distributions of {terms} terms with their errors",
                {"cgstore": lambda: cgstore.bonded(ds, **WIDTHS).load(), **other},
                amount=FRAMES,
                unit="frames",
                clock=processor,
            ),
            "counts": compare(
                f"histograms of {terms} terms, frame by frame",
                {"cgstore": count, **other},
                amount=FRAMES,
                unit="frames",
                clock=processor,
            ),
        }
    ratios = [2 * together(count, 1) / together(count, 2) for _ in range(15)]
    gain = float(np.median(ratios))
    print(f"two threads count {gain:.3g} times as fast as one (at best {max(ratios):.3g})")
    report(results | {"threads": {"two to one": gain}})


if __name__ == "__main__":
    main()
