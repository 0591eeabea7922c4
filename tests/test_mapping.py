"""Atoms to beads: invariance, what mappings say, and every way a recipe and a topology can disagree."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cgstore.errors import InputError
from cgstore.frames import Frames
from cgstore.mapping import bead_map, composition_of
from cgstore.readers.topologies import read_topology
from cgstore.recipe import MappingFile, Recipe, System
from cgstore.topology import Topology, molecules_of_bonds

# ---- systems made by hand ----


def topology(names: str, bonds: list[tuple[int, int]] = [], **columns: Any) -> Topology:  # noqa: B006
    """Make a topology; what is not given is one kind M, one residue R, mass 12 (hydrogens 1), no charge."""
    name = np.array(names.split())
    count = len(name)
    bond = np.array(bonds, np.int32).reshape(-1, 2)
    default = {
        "residue": np.full(count, "R"),
        "residue_id": np.ones(count, np.int32),
        "molecule": molecules_of_bonds(bond, count),
        "molecule_kind": np.full(count, "M"),
        "mass": np.where(np.char.startswith(name, "H"), 1.0, 12.0),
        "charge": np.zeros(count),
    }
    chosen = {key: np.array(columns.get(key, value), value.dtype.type) for key, value in default.items()}
    none = {"angle": np.empty((0, 3), np.int32), "dihedral": np.empty((0, 4), np.int32)}
    return Topology(name=name, type=name, bond=bond, **chosen, **none)


def recipe(mapping: dict[str, str], *beads: tuple[str, str, str], composition: Any = None, **file: Any) -> Recipe:
    """Make a recipe; each bead is its name, its atoms and the beads it is bonded to."""
    rows = [{"name": name, "atoms": atoms.split(), "bonded_to": to.split()} for name, atoms, to in beads]
    files = {"file": MappingFile.model_validate({"molecule": "M", "bead": rows, **file})} if rows else {}
    system = System.model_validate({"name": "s", "kind": "liquid", "composition": composition or {}})
    empty: Any = SimpleNamespace()
    return Recipe(Path("s.toml"), system, (), mapping, files, empty, "", "")


def frames(position: Any, box: Any = None, **arrays: Any) -> Frames:
    """Make frames from positions (frame, particle, xyz) and one box."""
    position = np.asarray(position, np.float32)
    count = len(position)
    boxes = None if box is None else np.broadcast_to(np.asarray(box, np.float32), (count, 3, 3))
    return Frames(position, np.arange(count, dtype=np.float64), np.arange(count), boxes, **arrays)


# ---- invariance ----


def random_chain(seed: int) -> tuple[Topology, np.ndarray, np.ndarray]:
    """Make a branched polymer several boxes long, in a skewed box, with atoms in any order."""
    random = np.random.default_rng(seed)
    count = 40
    parent = np.array([random.integers(max(0, k - 3), k) if k else 0 for k in range(count)])
    whole = np.zeros((count, 3))
    for k in range(1, count):
        step = random.normal([1.5, 0.5, 0])
        whole[k] = whole[parent[k]] + 0.5 * step / np.linalg.norm(step)
    shuffle = np.concatenate([[0], 1 + random.permutation(count - 1)])
    names = np.empty(count, object)
    names[shuffle] = [f"C{k}" for k in range(count)]
    position = np.empty((count, 3))
    position[shuffle] = whole + random.normal(size=3)
    bonds = [(int(shuffle[k]), int(shuffle[parent[k]])) for k in range(1, count)]
    mass = random.uniform(5, 40, count)
    box = np.array([[2.0, 0, 0], [0.9, 1.8, 0], [-0.8, 0.7, 2.2]])
    return topology(" ".join(names), bonds, mass=mass), position, box


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), spread=st.integers(1, 5))
def test_a_molecule_longer_than_the_box_is_whole_however_its_atoms_are_wrapped(seed: int, spread: int) -> None:
    source, whole, box = random_chain(seed)
    rows = [(f"B{b}", " ".join(f"C{k}" for k in range(5 * b, 5 * b + 5)), "") for b in range(8)]
    beads = bead_map(source, recipe({"M": "file"}, *rows))
    lattice = np.random.default_rng(seed + 1).integers(-spread, spread + 1, whole.shape)
    mapped = beads.apply(frames([whole + lattice @ box], box)).position[0]
    place = {name: k for k, name in enumerate(source.name)}
    for b in range(8):
        members = [place[f"C{k}"] for k in range(5 * b, 5 * b + 5)]
        mass = source.mass[members, None]
        centre = (whole[members] * mass).sum(0) / mass.sum()
        # The image is the one in which the first atom of the molecule lies.
        np.testing.assert_allclose(mapped[b], centre + lattice[0] @ box, atol=5e-6)
    assert np.ptp(whole, axis=0).max() > box.max()


# Cubic, hexagonal, truncated octahedron and rhombic dodecahedron as GROMACS writes them, and one skewed at will.
ROOT = np.sqrt
BOXES = {
    "cubic": np.diag([2.0, 2.0, 2.0]),
    "flat": np.diag([6.0, 2.0, 1.6]),
    "hexagonal": np.array([[2.2, 0, 0], [1.1, 1.1 * ROOT(3), 0], [0, 0, 3.0]]),
    "octahedron": 2.4 * np.array([[1, 0, 0], [1 / 3, ROOT(8) / 3, 0], [-1 / 3, ROOT(2) / 3, ROOT(6) / 3]]),
    "dodecahedron": 2.4 * np.array([[1, 0, 0], [0, 1, 0], [0.5, 0.5, ROOT(0.5)]]),
    "skewed": np.array([[2.0, 0, 0], [0.9, 1.8, 0], [-0.8, 0.7, 2.2]]),
}


def solution(seed: int) -> tuple[Topology, np.ndarray]:
    """Make water with a massless site that no bond holds, and a chain of 3 nm with Drude-like and lone-pair sites."""
    random = np.random.default_rng(seed)
    water = np.array([[0, 0, 0], [0.08, 0.06, 0], [-0.08, 0.06, 0], [0, 0.015, 0]])
    chain = np.cumsum(np.stack([[0.15 * (-1) ** k, 0.2, 0.12] for k in range(12)]), axis=0)
    sites = chain + 0.02
    position = np.concatenate([*(water + 3 * random.random(3) for _ in range(5)), chain, sites])
    names = ["O", "H1", "H2", "M"] * 5 + [f"C{k}" for k in range(12)] + [f"L{k}" for k in range(12)]
    bonds = [(4 * k, 4 * k + h) for k in range(5) for h in (1, 2)]
    bonds += [(20 + k, 21 + k) for k in range(11)] + [(20 + k, 32 + k) for k in range(12)]
    molecule = np.repeat([0, 1, 2, 3, 4, 5], [4] * 5 + [24])
    kind = np.where(molecule < 5, "W", "M")
    mass = [16.0, 1, 1, 0] * 5 + [12.0] * 12 + [0.4, 0.0] * 6
    order = {"molecule": molecule, "molecule_kind": kind, "residue_id": molecule, "residue": kind, "mass": mass}
    return topology(" ".join(names), bonds, **order), position


@pytest.mark.parametrize("box", BOXES.values(), ids=BOXES)
@pytest.mark.parametrize("mapping", ["molecule", "residue", "keep", "file"])
def test_wrapped_and_unwrapped_copies_of_the_same_frames_give_the_same_beads(box: np.ndarray, mapping: str) -> None:
    source, whole = solution(3)
    rows = [(f"B{b}", " ".join(f"C{k}" for k in range(3 * b, 3 * b + 3)), "") for b in range(4)]
    beads = bead_map(source, recipe({"W": "molecule", "M": mapping}, *rows, hydrogens="follow"))
    drift = np.arange(3)[:, None, None] * np.array([0.7, -1.3, 2.9])
    unwrapped = whole + drift
    fractional = unwrapped @ np.linalg.inv(box)
    wrapped = (fractional - np.floor(fractional)) @ box
    expected = beads.apply(frames(unwrapped)).position.astype(np.float64)
    for copy in (frames(unwrapped, box), frames(wrapped, box)):
        found = beads.apply(copy).position.astype(np.float64)
        # Apart from whole boxes, which are the same for all beads of a molecule.
        shift = (found - expected) @ np.linalg.inv(box)
        np.testing.assert_allclose(shift, np.rint(shift), atol=1e-5)
        for molecule in range(6):
            own = np.rint(shift[:, beads.topology.molecule == molecule])
            assert (own == own[:, :1]).all()


def test_blocks_of_frames_give_the_same_bits_as_all_at_once() -> None:
    source, whole, box = random_chain(7)
    beads = bead_map(source, recipe({"M": "molecule"}))
    block = frames(whole + np.random.default_rng(0).normal(0, 0.01, (9, *whole.shape)), box)
    parts = Frames.concatenate([beads.apply(block[:4]), beads.apply(block[4:])])
    assert (parts.position == beads.apply(block).position).all()
    assert (beads.apply(block[::2]).position == beads.apply(block).position[::2]).all()


def test_without_a_box_positions_are_taken_as_they_are() -> None:
    source = topology("C1 C2", [(0, 1)])
    beads = bead_map(source, recipe({"M": "molecule"}))
    far = [[[0, 0, 0], [10.0, 0, 0]]]
    for block in (frames(far), frames(far, np.zeros((3, 3)))):
        mapped = beads.apply(block)
        np.testing.assert_allclose(mapped.position, [[[5.0, 0, 0]]])
    assert beads.apply(frames(far)).box is None


# ---- what a mapping says ----


def test_velocities_are_mass_weighted_means_and_forces_are_sums() -> None:
    source = topology("C1 H1 C2 H2", [(0, 1), (0, 2), (2, 3)])
    beads = bead_map(source, recipe({"M": "file"}, ("A", "C1 H1", "B"), ("B", "C2", ""), weight="equal"))
    random = np.random.default_rng(5)
    v, f = random.normal(size=(2, 3, 4, 3)).astype(np.float32)
    x = random.normal(size=(3, 4, 3))
    mapped = beads.apply(frames(x, velocity=v, force=f))
    assert mapped.velocity is not None
    assert mapped.force is not None
    np.testing.assert_allclose(mapped.position[:, 0], (x[:, 0] + x[:, 1]) / 2, atol=1e-6)
    np.testing.assert_allclose(mapped.velocity[:, 0], (12 * v[:, 0] + v[:, 1]) / 13, atol=1e-6)
    np.testing.assert_allclose(mapped.force[:, 0], f[:, 0] + f[:, 1], atol=1e-6)
    np.testing.assert_array_equal(mapped.velocity[:, 1], v[:, 2])
    assert mapped.time.tolist() == [0, 1, 2]


def test_hydrogens_follow_their_heavy_atom_or_are_left_out() -> None:
    source = topology("C1 H1 H2 C2 H3", [(1, 0), (2, 0), (0, 3), (3, 4)], charge=[-0.2, 0.1, 0.1, -0.1, 0.1])
    rows = ("A", "C1", "B"), ("B", "C2", "")
    follow = bead_map(source, recipe({"M": "file"}, *rows, hydrogens="follow")).topology
    assert follow.mass.tolist() == [14, 13]
    np.testing.assert_allclose(follow.charge, 0, atol=1e-12)
    listed = bead_map(source, recipe({"M": "file"}, *rows, hydrogens="listed")).topology
    assert listed.mass.tolist() == [12, 12]
    assert listed.charge.tolist() == [-0.2, -0.1]


def test_a_hydrogen_that_is_named_stays_where_it_is_named() -> None:
    source = topology("O H1 H2", [(0, 1), (0, 2)], mass=[16, 1, 1])
    rows = ("A", "O", "B"), ("B", "H1", "")
    beads = bead_map(source, recipe({"M": "file"}, *rows, hydrogens="follow")).topology
    assert beads.mass.tolist() == [17, 1]


def test_repartitioned_hydrogens_and_massless_sites_follow_too() -> None:
    source = topology("O H1 H2 L", [(0, 1), (0, 2), (0, 3)], mass=[9.9, 4.0, 4.0, 0.0], charge=[0, 0.5, 0.5, -1])
    beads = bead_map(source, recipe({"M": "file"}, ("W", "O", ""), hydrogens="follow")).topology
    assert beads.mass.tolist() == [17.9]
    assert beads.charge.tolist() == [0.0]


def test_sites_follow_the_atom_that_they_belong_to() -> None:
    # As CHARMM has SWM4 (bonded), as GROMACS has TIP4P (no bond), and a lone pair on a hydrogen.
    rows = (("W", "O", ""),)
    for bonds in ([(0, 1), (0, 2), (0, 3)], [(0, 1), (0, 2)], [(0, 1), (0, 2), (2, 3)]):
        source = topology("O H1 H2 L", bonds, mass=[16, 1, 1, 0], charge=[0, 0.5, 0.5, -1], molecule=[0] * 4)
        beads = bead_map(source, recipe({"M": "file"}, *rows, hydrogens="follow")).topology
        assert (beads.mass.tolist(), beads.charge.tolist()) == ([18.0], [0.0])


@pytest.mark.parametrize(
    ("suffix", "kind", "oxygen"),
    [("tpr", "SOL", "OW"), ("prmtop", "SOL", "OW"), ("psf", "SWM4", "OH2"), ("h5", "SOL", "OW")],
)
def test_water_with_sites_is_one_neutral_bead_at_its_centre_of_mass(suffix: str, kind: str, oxygen: str) -> None:
    source = read_topology(Path(__file__).parent / "data" / "topologies" / f"system.{suffix}")
    others = {other: "drop" for other in composition_of(source) if other != kind}
    x = np.random.default_rng(1).random((1, len(source), 3)).astype(np.float32)
    water = np.flatnonzero(source.molecule_kind == kind).reshape(3, -1)
    centre = (x[0, water] * source.mass[water][:, :, None]).sum(1) / source.mass[water].sum(1)[:, None]
    for mapping in ("molecule", "file"):
        beads = bead_map(source, recipe({**others, kind: mapping}, ("W", oxygen, ""), hydrogens="follow"))
        np.testing.assert_allclose(beads.topology.mass, 18.0154, atol=2e-3)
        np.testing.assert_allclose(beads.topology.charge, 0, atol=1e-5)
        np.testing.assert_allclose(beads.apply(frames(x)).position[0], centre, atol=1e-6)


def test_sites_without_bonds_follow_the_heavy_atom_before_them_in_their_residue() -> None:
    source = topology(
        "L0 C1 L1 C2 L2 C1 L3",
        [(1, 3), (3, 5)],
        mass=[0, 12, 0, 12, 0.4, 12, 0],
        charge=[1, 0, 2, 0, 4, 0, 8],
        residue_id=[1, 1, 1, 1, 1, 2, 2],
        molecule=[0] * 7,
    )
    rows = ("A", "1:C1", ""), ("B", "C2", ""), ("C", "2:C1", "")
    beads = bead_map(source, recipe({"M": "file"}, *rows, hydrogens="follow")).topology
    assert beads.charge.tolist() == [3, 4, 8]
    assert beads.mass.tolist() == [12, 12.4, 12]
    # What belongs to an atom outside all beads is left out with it.
    only = bead_map(source, recipe({"M": "file"}, ("A", "1:C1", ""), hydrogens="follow")).topology
    assert only.charge.tolist() == [3]


def test_a_bead_of_massless_sites_lies_in_their_middle_when_weights_are_equal() -> None:
    source = topology("C L1 L2", [(0, 1), (0, 2)], mass=[12, 0, 0])
    beads = bead_map(source, recipe({"M": "file"}, ("A", "L1 L2", ""), weight="equal"))
    assert beads.topology.mass.tolist() == [0]
    velocity = np.array([[[9, 9, 9], [1, 0, 0], [3, 0, 0]]], np.float32)
    mapped = beads.apply(frames([[[0, 0, 0], [1, 0, 0], [0, 1, 0]]], velocity=velocity))
    assert mapped.position.tolist() == [[[0.5, 0.5, 0]]]
    assert mapped.velocity is not None
    assert mapped.velocity.tolist() == [[[2, 0, 0]]]


def test_beads_follow_the_order_of_the_molecules_then_of_the_mapping_file() -> None:
    # Molecules M (atoms 0, 2), N (atom 1), M (atoms 4, 3): interleaved, the second M listed backwards.
    source = topology(
        "C1 X C2 C2 C1", [(0, 2), (3, 4)], molecule=[0, 1, 0, 2, 2], molecule_kind=["M", "N", "M", "M", "M"]
    )
    made = recipe({"M": "file", "N": "molecule"}, ("B", "C2", "A"), ("A", "C1", ""), composition={"M": 2, "N": 1})
    beads = bead_map(source, made)
    assert beads.topology.name.tolist() == ["B", "A", "N", "B", "A"]
    assert beads.topology.molecule.tolist() == [0, 0, 1, 2, 2]
    assert beads.topology.molecule_kind.tolist() == ["M", "M", "N", "M", "M"]
    assert beads.topology.bond.tolist() == [[0, 1], [3, 4]]
    x = np.arange(15.0).reshape(1, 5, 3)
    assert beads.apply(frames(x)).position[0, :, 0].tolist() == [6, 0, 3, 9, 12]
    assert composition_of(source) == {"M": 2, "N": 1}
    assert composition_of(beads.topology) == {"M": 2, "N": 1}


def test_dropped_molecules_leave_no_gap_in_the_numbering() -> None:
    source = topology("X C Y D", molecule_kind=["N", "M", "N", "M"])
    beads = bead_map(source, recipe({"M": "molecule", "N": "drop"})).topology
    assert beads.molecule.tolist() == [0, 1]
    assert beads.residue_id.dtype == np.int32


def test_one_bead_for_each_residue_with_bonds_between_bonded_residues() -> None:
    source = topology(
        "C1 C2 C1 C2 C1 C2",
        [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)],
        residue=["ALA", "ALA", "GLY", "GLY", "ALA", "ALA"],
        residue_id=[7, 7, 8, 8, 9, 9],
    )
    beads = bead_map(source, recipe({"M": "residue"})).topology
    assert beads.name.tolist() == beads.type.tolist() == ["ALA", "GLY", "ALA"]
    assert beads.residue_id.tolist() == [7, 8, 9]
    assert beads.bond.tolist() == [[0, 1], [1, 2]]
    assert beads.angle.tolist() == [[0, 1, 2]]
    assert beads.mass.tolist() == [24, 24, 24]


def test_keep_keeps_atoms_bonds_and_massless_sites_but_makes_molecules_whole() -> None:
    source = topology("C1 C2 L", [(0, 1), (1, 2)], mass=[12, 12, 0])
    beads = bead_map(source, recipe({"M": "keep"}))
    assert beads.topology.name.tolist() == ["C1", "C2", "L"]
    assert beads.topology.bond.tolist() == [[0, 1], [1, 2]]
    assert beads.topology.angle.tolist() == [[0, 1, 2]]
    mapped = beads.apply(frames([[[0.125, 0, 0], [1.875, 0, 0], [1.75, 0, 0]]], 2 * np.eye(3)))
    assert mapped.position[0, :, 0].tolist() == [0.125, -0.125, -0.25]


def test_ions_are_one_bead_of_their_kind() -> None:
    source = topology("Na Cl", molecule_kind=["NA", "CL"], charge=[1, -1])
    beads = bead_map(source, recipe({"NA": "molecule", "CL": "molecule"})).topology
    assert beads.name.tolist() == ["NA", "CL"]
    assert beads.charge.tolist() == [1, -1]


def test_molecules_of_one_kind_may_differ_in_their_atoms() -> None:
    source = topology("C1 C2 C1 C2 C3", [(0, 1), (2, 3), (3, 4)])
    beads = bead_map(source, recipe({"M": "molecule"})).topology
    assert beads.mass.tolist() == [24, 36]


REPEATED = topology(
    "C1 C2 P C1 C2",
    [(0, 1), (1, 2), (2, 3), (3, 4)],
    residue=["PA", "PA", "PC", "PA", "PA"],
    residue_id=[1, 1, 2, 3, 3],
)


def test_atoms_may_be_named_by_residue_or_by_index() -> None:
    for rows in (
        [("A", "1:C1 1:C2", ""), ("P", "PC:P", ""), ("B", "3:C1 3:C2", "")],
        [("A", "1-2", ""), ("P", "3-3", ""), ("B", "4-5", "")],
    ):
        beads = bead_map(REPEATED, recipe({"M": "file"}, *rows))
        x = np.arange(15.0).reshape(1, 5, 3)
        assert beads.apply(frames(x)).position[0, :, 0].tolist() == [1.5, 6, 10.5]


def test_atoms_between_beads_carry_the_image_along_even_if_no_bead_has_them() -> None:
    source = topology("C1 C2 H2 C3 C4 C5", [(0, 1), (1, 2), (1, 3), (3, 4), (4, 5)])
    beads = bead_map(source, recipe({"M": "file"}, ("A", "C5", "")))
    assert len(beads.atom) == 5  # not the hydrogen: no bead lies behind it
    whole = np.zeros((1, 6, 3))
    whole[0, :, 0] = [0.25, 0.75, 0.75, 1.25, 1.75, 2.25]
    mapped = beads.apply(frames(whole - [2.0, 0, 0] * np.array([[[0], [3], [2], [5], [1], [4]]]), 2 * np.eye(3)))
    assert mapped.position[0, 0].tolist() == [2.25, 0, 0]


def test_a_hydrogen_never_follows_a_hydrogen() -> None:
    # Rigid water of some force fields has a bond between its hydrogens.
    source = topology("H2 H1 O", [(0, 1), (0, 2), (1, 2)], mass=[1, 1, 16])
    rows = ("A", "O", "B"), ("B", "H1", "")
    beads = bead_map(source, recipe({"M": "file"}, *rows, hydrogens="follow")).topology
    assert beads.mass.tolist() == [17, 1]


# ---- refusals ----


@pytest.mark.parametrize(
    ("source", "made", "said"),
    [
        (topology("CA C2", [(0, 1)]), recipe({"M": "file"}, ("A", "C2 CAA", "")), '"CAA" in M; did you mean "CA"?'),
        (REPEATED, recipe({"M": "file"}, ("A", "C1", "")), '2 atoms of M are named "C1"; write "1:C1" or "3:C1"'),
        (REPEATED, recipe({"M": "file"}, ("A", "PA:C1", "")), '2 atoms of M are named "PA:C1"; write "1:C1" or "3:C1"'),
        (topology("A A", [(0, 1)]), recipe({"M": "file"}, ("A", "A", "")), 'write "1-1" or "2-2"'),
        (REPEATED, recipe({"M": "file"}, ("A", "2-6", "")), 'found the range "2-6", expected one inside 1-5'),
        (REPEATED, recipe({"M": "file"}, ("A", "0-2", "")), "expected one inside 1-5"),
        (REPEATED, recipe({"M": "file"}, ("A", "1-2", ""), ("B", "1:C2", "")), '"1:C2" is already in bead "A"'),
        (REPEATED, recipe({"M": "file"}, ("A", "PX:C1", "")), 'no atom "PX:C1"'),
        (
            topology("C H", molecule=[0, 0]),
            recipe({"M": "file"}, ("A", "C", ""), hydrogens="follow"),
            "the topology has no bonds in M",
        ),
        (
            topology("L", mass=[0]),
            recipe({"M": "molecule"}),
            'bead "M" has no mass: it has only massless sites; use "keep"',
        ),
        (
            topology("C L", [(0, 1)], mass=[12, 0]),
            recipe({"M": "file"}, ("A", "L", "")),
            'bead "A" has no mass: it has only massless sites; add atoms, or write weight = "equal"',
        ),
        (topology("C"), recipe({"N": "molecule"}), "no line for M, of which the topology has 1"),
        (topology("C", molecule_kind=["DMPC"]), recipe({"DMPX": "molecule"}), 'did you mean "DMPC"?'),
        (topology("C"), recipe({"M": "drop"}), "every kind of molecule is dropped"),
        (
            topology("C"),
            recipe({"M": "keep"}, composition={"M": 2}),
            "system.composition.M   found 2, the topology has 1",
        ),
        (
            topology("C"),
            recipe({"M": "keep"}, composition={"N": 1}),
            "system.composition.N   found 1, the topology has 0",
        ),
    ],
)
def test_a_recipe_that_does_not_fit_the_topology_is_refused(source: Topology, made: Recipe, said: str) -> None:
    with pytest.raises(InputError) as caught:
        bead_map(source, made)
    assert str(caught.value).startswith("s.toml: ")
    assert said in str(caught.value)


def test_all_disagreements_are_reported_at_once() -> None:
    source = topology("C1 C2 X", [(0, 1)], molecule_kind=["M", "M", "N"])
    made = recipe({"M": "file", "Q": "drop"}, ("A", "C3", ""), ("B", "C4", ""), composition={"M": 3, "N": 1})
    with pytest.raises(InputError) as caught:
        bead_map(source, made)
    lines = str(caught.value).splitlines()
    assert lines[0] == "s.toml: 5 problems"
    for said in ("no line for N", "mapping.Q", "composition.M", '"C3"', '"C4"'):
        assert any(said in line for line in lines)


def test_frames_of_another_number_of_particles_are_refused() -> None:
    beads = bead_map(topology("C1 C2"), recipe({"M": "molecule"}))
    with pytest.raises(InputError, match="frames of 3 particles, the topology has 2"):
        beads.apply(frames(np.zeros((1, 3, 3))))
