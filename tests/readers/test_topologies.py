"""Topologies against GROMACS' own numbers, MDAnalysis and mdtraj."""

import os
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import MDAnalysis
import numpy as np
import pytest

from cgstore.errors import InputError
from cgstore.readers.topologies import read_topology

SHIPPED = Path(__file__).parents[2] / "archive"

GRO = """two waters, an ion, a chloroform
   9
    1SOL     OW    1   0.230   0.628   0.113
    1SOL    HW1    2   0.137   0.626   0.150
    1SOL    HW2    3   0.231   0.589   0.021
    2SOL     OW    4   0.225   0.275   0.996
    2SOL    HW1    5   0.260   0.258   1.088
    2SOL    HW2    6   0.137   0.230   0.984
    3NA      NA    7   0.500   0.500   0.500
    4CLF     CA    8   0.700   0.500   0.500
    4CLF    CL1    9   0.800   0.500   0.500
   1.86206   1.86206   1.86206
"""


@pytest.fixture(scope="module")
def dmpc():  # type: ignore[no-untyped-def]
    return read_topology(SHIPPED / "dmpc_303k" / "system.tpr")


def test_a_tpr_knows_molecules_residues_masses_and_charges(dmpc) -> None:  # type: ignore[no-untyped-def]
    assert len(dmpc) == 13_273
    assert {kind: int(np.sum(dmpc.molecule_kind == kind)) for kind in set(dmpc.molecule_kind)} == {
        "DMPC": 64 * 118,
        "HOH": 1_907 * 3,
    }
    assert dmpc.molecule.tolist() == [k // 118 if k < 64 * 118 else 64 + (k - 64 * 118) // 3 for k in range(13_273)]
    assert (dmpc.type == dmpc.name).all()
    assert dmpc.name[:3].tolist() == ["N", "C13", "H13A"]
    # Hydrogens of the lipids were made heavier (3 u); a water weighs 18.015 u; everything is neutral.
    assert set(dmpc.mass[dmpc.name == "H13A"]) == {3.0}
    np.testing.assert_allclose(np.bincount(dmpc.molecule, dmpc.mass)[64:], 18.0154, atol=1e-3)
    np.testing.assert_allclose(np.bincount(dmpc.molecule, dmpc.charge), 0, atol=1e-4)


def test_the_bonds_of_a_tpr_connect_each_molecule_and_hold_constraints_and_settle(dmpc) -> None:  # type: ignore[no-untyped-def]
    water = dmpc.bond[dmpc.bond[:, 0] >= 64 * 118]
    assert len(water) == 2 * 1_907
    # A chain molecule without rings has one bond less than atoms.
    assert len(dmpc.bond) == 64 * 117 + 2 * 1_907
    assert (dmpc.molecule[dmpc.bond[:, 0]] == dmpc.molecule[dmpc.bond[:, 1]]).all()
    system = MDAnalysis.Universe(str(SHIPPED / "dmpc_303k" / "system.tpr"))
    lipids = [fragment for fragment in system.atoms.fragments if len(fragment) > 3]
    assert len(lipids) == 64


def test_terms_are_listed_once(dmpc) -> None:  # type: ignore[no-untyped-def]
    for terms in (dmpc.bond, dmpc.angle, dmpc.dihedral):
        assert (terms[:, 0] < terms[:, -1]).all()
        assert len(np.unique(terms, axis=0)) == len(terms)
    # 14 464 angles in the TPR; its 25 664 dihedrals are 19 392 different ones.
    assert (len(dmpc.angle), len(dmpc.dihedral)) == (14_464, 19_392)


def test_a_gro_has_the_masses_of_the_elements_and_one_molecule_per_residue(tmp_path: Path) -> None:
    (tmp_path / "a.gro").write_text(GRO)
    topology = read_topology(tmp_path / "a.gro")
    expected = [15.999, 1.008, 1.008, 15.999, 1.008, 1.008, 22.98977, 12.011, 35.45]
    np.testing.assert_allclose(topology.mass, expected, atol=2e-3)
    assert topology.molecule.tolist() == [0, 0, 0, 1, 1, 1, 2, 3, 3]
    assert topology.molecule_kind.tolist() == ["SOL"] * 6 + ["NA"] + ["CLF"] * 2
    assert topology.residue_id.tolist() == [1, 1, 1, 2, 2, 2, 3, 4, 4]
    assert [len(terms) for terms in (topology.bond, topology.angle, topology.dihedral)] == [0, 0, 0]
    assert not topology.charge.any()


def test_atoms_without_an_element_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.gro").write_text(GRO.replace("   HW2    6", "   XW2    6").replace("3NA      NA", "3W        W"))
    with pytest.raises(InputError, match=r"a\.gro: no masses .* particles W, XW2, .* use a topology with masses"):
        read_topology(tmp_path / "a.gro")


def test_a_pdb_takes_elements_from_their_column_and_molecules_from_residues_and_bonds(tmp_path: Path) -> None:
    place = "{x:8.3f}{x:8.3f}{x:8.3f}  1.00  0.00"
    atom = "{kind:6}{n:5d} {name:4} {residue:3} A{number:4d}    " + place + "          {element:>2}\n"
    rows = [
        ("CA", "CAL", 1, "CA"),
        ("CA", "ALA", 2, "C"),
        ("CB", "ALA", 2, "C"),
        ("C", "GLY", 3, "C"),
        ("Q", "XXX", 4, "O"),
    ]
    lines = [
        atom.format(kind="ATOM", n=k + 1, name=name, residue=residue, number=number, x=1.0 * k, element=element)
        for k, (name, residue, number, element) in enumerate(rows)
    ]
    (tmp_path / "a.pdb").write_text("".join(lines) + "CONECT    3    4\nEND\n")
    topology = read_topology(tmp_path / "a.pdb")
    np.testing.assert_allclose(topology.mass, [40.08, 12.011, 12.011, 12.011, 15.999], atol=2e-3)
    assert topology.bond.tolist() == [[2, 3]]
    assert topology.molecule.tolist() == [0, 1, 1, 1, 2]
    assert topology.molecule_kind.tolist() == ["CAL", "ALA-GLY", "ALA-GLY", "ALA-GLY", "XXX"]


def test_lammps_data_without_names_get_numbered_kinds_and_molecules_by_bonds(tmp_path: Path) -> None:
    (tmp_path / "a.data").write_text(
        "two dimers and an atom\n\n5 atoms\n2 bonds\n2 atom types\n1 bond types\n\n"
        "0 9 xlo xhi\n0 9 ylo yhi\n0 9 zlo zhi\n\n"
        "Masses\n\n1 14.0\n2 72.0\n\nAtoms # full\n\n"
        + "".join(f"{k} 1 {1 if k < 5 else 2} 0.{k} {k} {k} {k}\n" for k in range(1, 6))
        + "\nBonds\n\n1 1 1 2\n2 1 3 4\n"
    )
    topology = read_topology(tmp_path / "a.data")
    assert topology.mass.tolist() == [14.0] * 4 + [72.0]
    np.testing.assert_allclose(topology.charge, [0.1, 0.2, 0.3, 0.4, 0.5], rtol=1e-6)
    assert topology.molecule.tolist() == [0, 0, 1, 1, 2]
    assert topology.name.tolist() == ["1", "1", "1", "1", "2"]
    assert topology.molecule_kind.tolist() == ["MOL1"] * 4 + ["2"]
    assert (topology.residue == topology.molecule_kind).all()


@pytest.mark.parametrize("name", ["a.tpr", "a.gro", "a.pdb", "a.psf", "a.prmtop", "a.data", "a.unknown"])
@pytest.mark.parametrize("content", [b"", b"nonsense\n" * 30, bytes(range(256))])
def test_what_is_no_topology_is_an_input_error(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        read_topology(tmp_path / name)


def test_a_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.tpr: no such topology file"):
        read_topology(tmp_path / "gone.tpr")


def test_nothing_is_written_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.gro").write_text(GRO)
    read_topology(tmp_path / "a.gro")
    assert os.listdir(tmp_path) == ["a.gro"]


def test_threads_that_read_topologies_leave_the_filters_of_warnings_alone(tmp_path: Path) -> None:
    # MDAnalysis warns of columns 79-80, which hold no charge here; what is said of a file is said by us.
    line = "ATOM      1  C1  MET A   1       1.000   1.000   1.000  1.00  0.00           C T\n"
    (tmp_path / "a.pdb").write_text(line * 200)
    before, interval = list(warnings.filters), sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(4) as threads:
            found = list(threads.map(lambda _: len(read_topology(tmp_path / "a.pdb")), range(24)))
    finally:
        sys.setswitchinterval(interval)
    assert found == [200] * 24
    assert warnings.filters == before
