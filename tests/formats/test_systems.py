"""Every kind of topology with a trajectory of its world: beads of broken, long and partly massless molecules."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import MDAnalysis
import numpy as np
import pytest

from cgstore.frames import Frames
from cgstore.mapping import composition_of
from cgstore.readers.topologies import read_topology
from cgstore.recipe import load_recipe
from cgstore.topology import Topology

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests/data/topologies"
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning:MDAnalysis")

# Orthogonal, hexagonal, a truncated octahedron, and no box; in nm.
BOXES = {
    "orthogonal": np.diag([2.0, 2.2, 2.4]),
    "hexagonal": np.array([[2.2, 0, 0], [1.1, 1.1 * 3**0.5, 0], [0, 0, 2.5]]),
    "octahedron": 2.4 * np.array([[1, 0, 0], [1 / 3, 8**0.5 / 3, 0], [-1 / 3, 2**0.5 / 3, 6**0.5 / 3]]),
    "none": None,
}


def wrapped(position: np.ndarray, cell: np.ndarray) -> np.ndarray:
    fractional = position @ np.linalg.inv(cell)
    return (fractional - np.floor(fractional)) @ cell


def frames(position: np.ndarray, cell: np.ndarray | None) -> Frames:
    count = len(position)
    box = None if cell is None else np.tile(cell.astype(np.float32), (count, 1, 1))
    return Frames(position.astype(np.float32), 5.0 + np.arange(count), 10 + np.arange(count), box)


def centres(topology: Topology, whole: np.ndarray) -> np.ndarray:
    """Return the centre of mass of each molecule."""
    weight = np.zeros((topology.molecule.max() + 1, len(topology)))
    weight[topology.molecule, np.arange(len(topology))] = topology.mass
    return np.einsum("ma,fax->fmx", weight / weight.sum(1, keepdims=True), whole)


# Topologies and the trajectories that the same programs write.
PAIRS = [("tpr", "xtc"), ("tpr", "trr"), ("prmtop", "nc"), ("psf", "dcd"), ("data", "lammpstrj"), ("gsd", "gsd"),
         ("h5md", "h5md"), ("h5", "h5"), ("mol2", "pdb"), ("gro", "gro"), ("gro", "xyz")]  # fmt: skip


@pytest.mark.parametrize(("topology", "trajectory"), PAIRS)
def test_topologies_of_many_programs_give_the_same_beads(
    tmp_path: Path, formats: dict[str, Any], ingest: Callable[..., Any], topology: str, trajectory: str
) -> None:
    path = DATA / f"system.{topology}"
    known = read_topology(path)
    random = np.random.default_rng(4)
    middle = random.uniform(0, 2, (3, known.molecule.max() + 1, 3))
    whole = middle[:, known.molecule] + random.uniform(-0.1, 0.1, (3, len(known), 3))
    cell = None if trajectory == "xyz" else BOXES["octahedron"]
    format = formats[trajectory]
    broken = whole if cell is None else wrapped(whole, cell)
    formats[trajectory].write(tmp_path / f"a.{trajectory}", frames(broken, cell))
    kinds = composition_of(known)
    mapping = "\n".join(f'{kind} = "{"molecule" if count > 1 else "keep"}"' for kind, count in kinds.items())
    run = "" if "time" in format.keeps.split() else 'interval = "1 ps"'
    _, atoms, beads = ingest(tmp_path, f"a.{trajectory}", topology=path, mapping=mapping, run=run)
    # A bead is in the image in which the first atom of its molecule is.
    first = np.unique(known.molecule, return_index=True)[1]
    expected = centres(known, whole) + (broken - whole)[:, first]
    rounding = {"xtc": 5.1e-4, "gro": 5.1e-4, "pdb": 5.1e-5}.get(trajectory, 1e-6)
    assert np.abs(beads.position.values - expected).max() < rounding + format.box
    assert np.abs(atoms.position.values - broken).max() < rounding
    assert beads.molecule_kind.values.tolist() == [kind for kind, count in kinds.items() for _ in range(count)]
    np.testing.assert_allclose(beads.mass, np.bincount(known.molecule, known.mass), rtol=1e-12)


# ---- lipids that are longer than their box ----


@pytest.fixture(scope="module")
def lipids(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Two shipped DMPC molecules as MDAnalysis makes them whole, and the beads that it finds: (frame, …) nm."""
    folder = tmp_path_factory.mktemp("dmpc")
    for name in ("system.tpr", "traj.xtc"):
        shutil.copy(ROOT / "archive/dmpc_303k" / name, folder)
    u = MDAnalysis.Universe(folder / "system.tpr", folder / "traj.xtc")
    two = u.select_atoms("index 0:235")
    whole = []
    for _ in u.trajectory[:40:20]:
        two.unwrap(compound="fragments", reference=None)
        whole.append(two.positions / 10)
    two.write(folder / "two.pdb", bonds="conect")
    return folder / "two.pdb", np.array(whole), dict(zip(two.names, two.masses, strict=True))


def beads_of_lipids(whole: np.ndarray, masses: dict[str, float], rows: list[Any]) -> np.ndarray:
    """Return the centres of mass of the atoms that a mapping file lists, their hydrogens among them."""
    names, mass = list(masses), np.array(list(masses.values()))
    expected = []
    for lipid in np.split(whole, 2, axis=1):
        for bead in rows:
            listed = [names.index(name) for name in bead.atoms]
            near = np.linalg.norm(lipid[0][:, None] - lipid[0][None, listed], axis=-1).min(1) < 0.125
            chosen = sorted({*listed, *np.flatnonzero(near & (mass < 4)).tolist()})
            expected.append(np.average(lipid[:, chosen], axis=1, weights=mass[chosen]))
    return np.stack(expected, axis=1)


@pytest.mark.parametrize("box", BOXES)
def test_lipids_longer_than_the_box_give_the_same_beads_wrapped_and_unwrapped(
    tmp_path: Path, formats: dict[str, Any], ingest: Callable[..., Any], lipids: Any, box: str
) -> None:

    topology, whole, masses = lipids
    # The PDB has the masses of the elements; in this system hydrogens weigh 3 u.
    stated = "[masses]\n" + "\n".join(f'"{name}" = "{mass:.6f} u"' for name, mass in masses.items())
    rows = load_recipe(ROOT / "ingest/recipes/dmpc_303k.toml").beads["dmpc_10bead"].bead
    reference = beads_of_lipids(whole, masses, list(rows))
    cell = BOXES[box]
    copies = [whole] if cell is None else [whole, wrapped(whole, cell)]
    found = []
    for number, (copy, suffix) in enumerate(zip(copies, ("nc", "h5"), strict=False)):
        (archive := tmp_path / str(number)).mkdir()
        formats[suffix].write(archive / f"a.{suffix}", frames(copy, cell))
        options = {"mapping": 'DMPC = "dmpc_10bead"', "masses": stated, "topology": topology}
        _, _, beads = ingest(archive, f"a.{suffix}", **options)
        image = np.repeat((copy - whole)[:, ::118], 10, axis=1)
        assert np.abs(beads.position.values - reference - image).max() < 3e-6
        found.append(beads)
    if cell is not None:
        assert np.ptp(whole, axis=1).max() > np.diag(cell).min() / 2
        assert np.abs(copies[1] - copies[0]).max() > 1
    assert all(len(beads.bond) == 18 for beads in found)
