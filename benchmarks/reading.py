"""How quickly an XTC becomes positions, and positions of whole molecules become beads."""

import shutil
import tempfile
import warnings
from pathlib import Path

import numpy as np
from _timing import compare, report

from cgstore.mapping import bead_map
from cgstore.readers.parts import open_run
from cgstore.readers.topologies import read_topology
from cgstore.recipe import load_recipe

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Compare on the shipped DMPC bilayer: 13 273 atoms."""
    import MDAnalysis
    import mdtraj

    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        # MDAnalysis writes index files beside the trajectory; the archive is only read.
        for name in ("system.tpr", "traj.xtc"):
            shutil.copy(ROOT / "archive/dmpc_303k" / name, folder)
        xtc = str(Path(folder, "traj.xtc"))
        topology = read_topology(Path(folder, "system.tpr"))
        run = open_run(Path(folder), trajectory=["traj.xtc"], particles=len(topology))
        beads = bead_map(topology, load_recipe(ROOT / "ingest/recipes/dmpc_303k.toml"))
        universe = MDAnalysis.Universe(str(Path(folder, "system.tpr")), xtc)
        lipids = universe.select_atoms("resname DMPC")
        frames = len(run)

        def mdanalysis_reads() -> None:
            for _ in universe.trajectory:
                pass

        def mdanalysis_maps() -> None:
            for _ in universe.trajectory[:5]:
                lipids.center_of_mass(compound="residues", unwrap=True)

        results = {
            "decode": compare(
                f"decode XTC, {len(topology)} atoms, one thread",
                {
                    "cgstore": lambda: run.read(0, frames),
                    "mdtraj": lambda: mdtraj.formats.XTCTrajectoryFile(xtc).read(),
                    "MDAnalysis": mdanalysis_reads,
                },
                amount=frames,
                unit="frames",
            )
        }
        part = run.read(0, 5)
        results["map"] = compare(
            "make whole and take centres of mass: all 10 beads (cgstore), one per lipid (MDAnalysis, with decoding)",
            {"cgstore": lambda: beads.apply(part), "MDAnalysis, unwrap=True": mdanalysis_maps},
            amount=5,
            unit="frames",
        )
        assert np.isfinite(beads.apply(part).position).all()
    report(results)


if __name__ == "__main__":
    main()
