"""How quickly canonical averages come from frames: all pairs of types, and all bonded terms, of a mapped bilayer."""

import tempfile
import warnings
from pathlib import Path

import dask
import numpy as np
import xarray as xr
from _timing import compare, report

import cgstore

ROOT = Path(__file__).parents[1]
R_MAX, BIN = 1.5, 0.01


def main() -> None:
    """Compare on the beads of the shipped DMPC bilayer: 640 beads, 5 types, 1 035 frames in memory, one thread."""
    import mdtraj

    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        cgstore.ingest(ROOT / "ingest/recipes/dmpc_303k.toml", archive=ROOT / "archive", store=folder)
        shipped = cgstore.open_catalog(folder)["dmpc_303k/r1/cg"].open().load()
    # The shipped run is short; repeated, the kernels weigh more than the set-up of the lazy graph.
    ds = xr.concat([shipped] * 9, "frame", data_vars="minimal")
    frames = ds.sizes["frame"]
    beads = mdtraj.Topology()
    residue = beads.add_residue("DMPC", beads.add_chain())
    for name in ds["name"].values:
        beads.add_atom(str(name), mdtraj.element.virtual, residue)
    trajectory = mdtraj.Trajectory(ds.position.values, beads)
    trajectory.unitcell_vectors = ds.box.values
    kinds = np.unique(ds["type"].values)
    members = {kind: np.flatnonzero(ds["type"].values == kind) for kind in kinds}
    pairs = [
        trajectory.topology.select_pairs(members[a], members[b])
        for i, a in enumerate(kinds)
        for b in kinds[i:]
    ]  # fmt: skip

    def mdtraj_rdf() -> None:
        for pair in pairs:
            mdtraj.compute_rdf(trajectory, pair, r_range=(0, R_MAX), bin_width=BIN)

    def mdtraj_bonded() -> None:
        np.histogram(mdtraj.compute_distances(trajectory, ds.bond.values), 500, (0, 1))
        np.histogram(mdtraj.compute_angles(trajectory, ds.angle.values), 180, (0, np.pi))
        np.histogram(mdtraj.compute_dihedrals(trajectory, ds.dihedral.values), 180, (-np.pi, np.pi))

    with dask.config.set(scheduler="synchronous"):
        results = {
            "rdf": compare(
                f"rdf, {len(pairs)} pairs of types, r_max {R_MAX} nm",
                {"cgstore": lambda: cgstore.rdf(ds, r_max=R_MAX, bin_width=BIN).load(), "mdtraj": mdtraj_rdf},
                amount=frames,
                unit="frames",
            ),
            "bonded": compare(
                f"bonded, {ds.sizes['bond'] + ds.sizes['angle'] + ds.sizes['dihedral']} terms",
                {"cgstore": lambda: cgstore.bonded(ds).load(), "mdtraj and NumPy": mdtraj_bonded},
                amount=frames,
                unit="frames",
            ),
        }
    report(results)


if __name__ == "__main__":
    main()
