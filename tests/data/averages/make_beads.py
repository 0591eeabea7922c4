"""Map frames of the shipped archive to beads with MDAnalysis alone: unwrapped molecules, centres of mass, XTC out."""

import sys
import tomllib
import warnings
from pathlib import Path

import MDAnalysis as mda
import numpy as np


def write(out, name, universe, beads, frames):
    """Write beads, given as atom groups by (residue, bead) name, as GRO of the first frame and XTC."""
    n = len(beads)
    residues = [group.residues[0].resindex for _, _, group in beads]
    index = np.unique(residues, return_inverse=True)[1]
    cg = mda.Universe.empty(n, n_residues=index.max() + 1, atom_resindex=index, trajectory=True)
    cg.add_TopologyAttr("name", [bead for _, bead, _ in beads])
    cg.add_TopologyAttr("resname", [beads[list(index).index(k)][0] for k in range(index.max() + 1)])
    cg.add_TopologyAttr("resid", np.arange(1, index.max() + 2))
    molecules = universe.atoms[np.unique(np.concatenate([group.residues[0].atoms.ix for _, _, group in beads]))]
    with mda.Writer(str(out / f"{name}.xtc"), n) as writer:
        for k, ts in enumerate(universe.trajectory[frames]):
            molecules.unwrap(compound="residues")
            cg.atoms.positions = np.array([group.center_of_mass() for _, _, group in beads])
            cg.dimensions = ts.dimensions
            cg.trajectory.ts.time, cg.trajectory.ts.frame = ts.time, k
            writer.write(cg.atoms)
            if k == 0:
                cg.atoms.write(str(out / f"{name}.gro"))


def main(root, out):
    """Map both systems."""
    u = mda.Universe(root / "archive/dmpc_303k/system.tpr", root / "archive/dmpc_303k/traj.xtc")
    mapping = tomllib.loads((root / "ingest/mappings/dmpc_10bead.toml").read_text())
    lipids = [r for r in u.residues if "DMPC" in r.resname or r.atoms.n_atoms == 118]
    beads = []
    for residue in lipids:
        for bead in mapping["bead"]:
            heavy = residue.atoms.select_atoms("name " + " ".join(bead["atoms"]))
            assert len(heavy) == len(bead["atoms"])
            hydrogens = [b for a in heavy for b in a.bonded_atoms if b.mass < 4.5 and b.name.startswith("H")]
            beads.append(("DMPC", bead["name"], heavy + mda.AtomGroup(hydrogens) if hydrogens else heavy))
    n = len(u.trajectory)
    write(out, "dmpc", u, beads, slice(n - 20 * (n // 20), n, n // 20))
    u = mda.Universe(root / "archive/methane_112k/system.tpr", root / "archive/methane_112k/traj.xtc")
    n = len(u.trajectory)
    write(out, "methane", u, [("CH4", "CH4", r.atoms) for r in u.residues], slice(n - 20 * (n // 20), n, n // 20))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
