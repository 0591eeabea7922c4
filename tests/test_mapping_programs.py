"""Beads of the shipped systems, from their files, against MDAnalysis and VOTCA."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cgstore.frames import Frames
from cgstore.mapping import bead_map
from cgstore.readers.topologies import read_topology
from cgstore.recipe import load_recipe

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning:MDAnalysis")


def same_up_to_lattice(a: np.ndarray, b: np.ndarray, box: np.ndarray, tolerance: float) -> bool:
    """Compare positions modulo box vectors."""
    difference = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    difference -= np.rint(difference @ np.linalg.inv(box)) @ box
    return bool(np.abs(difference).max() < tolerance)


def universe(folder: Path, name: str) -> Any:
    """Open a shipped system with MDAnalysis, on a copy because it writes index files beside the trajectory."""
    MDAnalysis = pytest.importorskip("MDAnalysis")
    for file in ("system.tpr", "traj.xtc"):
        shutil.copy(ROOT / "archive" / name / file, folder)
    return MDAnalysis.Universe(folder / "system.tpr", folder / "traj.xtc")


def frames_of_universe(u: Any, chosen: list[int]) -> Frames:
    """Read some frames with MDAnalysis; positions go back to the grid of the XTC file."""
    position, box = [], []
    for k in chosen:
        step = u.trajectory[k]
        position.append(np.rint(step.positions.astype(np.float64) * 100) / 1000)
        box.append(step.triclinic_dimensions / 10)
    arrays = np.asarray(position, np.float32), np.asarray(box, np.float32)
    return Frames(arrays[0], np.arange(len(chosen), dtype=np.float64), np.arange(len(chosen)), arrays[1])


@pytest.fixture(scope="module")
def dmpc(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return universe(tmp_path_factory.mktemp("dmpc"), "dmpc_303k")


DMPC = load_recipe(ROOT / "ingest/recipes/dmpc_303k.toml")


def test_dmpc_beads_are_the_centres_of_mass_that_mdanalysis_finds_after_unwrapping(dmpc: Any) -> None:
    beads = bead_map(read_topology(Path(dmpc.filename)), DMPC)
    chosen = [0, 40, 114]
    mapped = beads.apply(frames_of_universe(dmpc, chosen))
    lipids = dmpc.select_atoms("resname DMPC")
    groups = []
    for bead in DMPC.beads["dmpc_10bead"].bead:
        names = " ".join(bead.atoms)
        groups.append(lipids.select_atoms(f"name {names} or (prop mass < 4 and bonded name {names})"))
    assert sum(len(group) for group in groups) == len(lipids)
    broken = 0
    for row, k in enumerate(chosen):
        dmpc.trajectory[k]
        before = lipids.positions
        lipids.unwrap(compound="fragments", reference=None)
        broken += int((np.abs(lipids.positions - before) > 1).any(axis=1).sum())
        expected = np.stack([group.center_of_mass(compound="residues") for group in groups], axis=1).reshape(-1, 3) / 10
        assert np.abs(mapped.position[row] - expected).max() < 2e-6
    assert broken > 1000  # atoms that had to be moved: the comparison is about whole molecules


def test_methane_beads_are_the_centres_of_mass_that_mdanalysis_finds(tmp_path: Path) -> None:
    u = universe(tmp_path, "methane_130k")
    beads = bead_map(read_topology(Path(u.filename)), load_recipe(ROOT / "ingest/recipes/methane_130k.toml"))
    mapped = beads.apply(frames_of_universe(u, [0, 500]))
    for row, k in enumerate([0, 500]):
        u.trajectory[k]
        expected = u.atoms.center_of_mass(compound="fragments", unwrap=True) / 10
        box = u.trajectory.ts.triclinic_dimensions / 10
        assert same_up_to_lattice(mapped.position[row], expected, box, 2e-6)
    assert (beads.topology.name == "CH4").all()
    np.testing.assert_allclose(beads.topology.mass, 16.043, atol=1e-4)
    np.testing.assert_allclose(beads.topology.charge, 0, atol=1e-6)


def test_dmpc_beads_are_those_of_csg_map(dmpc: Any, tmp_path: Path) -> None:
    MDAnalysis = pytest.importorskip("MDAnalysis")
    shutil.copy(ROOT / "tests/data/dmpc_10bead_votca.trr", tmp_path)
    votca = MDAnalysis.coordinates.TRR.TRRReader(tmp_path / "dmpc_10bead_votca.trr", convert_units=False)
    chosen = [111, 112, 113]
    ours = frames_of_universe(dmpc, chosen)
    mapped = bead_map(read_topology(Path(dmpc.filename)), DMPC).apply(ours)
    assert ours.box is not None
    for row, step in enumerate(votca):
        assert step.time == 15.0 * chosen[row]
        assert same_up_to_lattice(mapped.position[row], step.positions, ours.box[row].astype(np.float64), 1e-6)
    votca.close()


def test_dmpc_beads_have_the_masses_charges_and_bonds_of_their_molecule(dmpc: Any) -> None:
    source = read_topology(Path(dmpc.filename))
    beads = bead_map(source, DMPC).topology
    lipid = source.molecule_kind == "DMPC"
    assert len(beads) == 640
    assert beads.mass.sum() == pytest.approx(source.mass[lipid].sum(), abs=1e-8)
    assert beads.charge.sum() == pytest.approx(source.charge[lipid].sum(), abs=1e-8)
    first = beads.molecule == 0
    assert beads.name[first].tolist() == ["NC3", "PO4", "GL1", "GL2", "C1A", "C2A", "C3A", "C1B", "C2B", "C3B"]
    assert beads.type[first].tolist() == ["NC3", "PO4", "GL", "GL", "CM", "CM", "CT", "CM", "CM", "CT"]
    assert (len(beads.bond), len(beads.angle), len(beads.dihedral)) == (64 * 9, 64 * 9, 64 * 9)
    assert (beads.molecule[beads.bond[:, 0]] == beads.molecule[beads.bond[:, 1]]).all()


def test_dmpc_bonds_are_never_broken_by_the_box(dmpc: Any) -> None:
    beads = bead_map(read_topology(Path(dmpc.filename)), DMPC)
    mapped = beads.apply(frames_of_universe(dmpc, list(range(0, 115, 19))))
    bond = beads.topology.bond
    length = np.linalg.norm(mapped.position[:, bond[:, 0]] - mapped.position[:, bond[:, 1]], axis=-1)
    assert 0.2 < length.min() < length.max() < 0.65
