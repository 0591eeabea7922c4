"""Topologies of GROMACS say what the TPR made of them says; what is not whole, damaged or too large is refused."""

import resource
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from cgstore.errors import InputError
from cgstore.mapping import composition_of
from cgstore.readers.topologies import read_topology
from cgstore.topology import Topology

DATA = Path(__file__).parents[1] / "data"
ARCHIVE = Path(__file__).parents[2] / "archive"

TEXT = """\
; a comment
[ defaults ]
1 2 yes 0.5 0.5
[ATOMTYPES]                     ; name, bonded type and number may be left out
C  12.011 0.1 A 0.35 0.276
opls_1 CT 6 12.011 0.25 A 0.35 0.276
D  0 0 0.0 D 0 0
[ moleculetype ]
Chain_A 3
[ atoms ]
1 C      4 ALA C1 1
2 opls_1 4 ALA C2 1 -0.5
3 opls_1 4B ALA \\
  C3 1 -0.75 13.5               ; continued
4 opls_1 4B GLY C4 1
[ bonds ]
1 2 1
2 3 6 0.15 1000
[ constraints ]
3 4 2 0.2
[ dihedrals ]
1 2 3 4 9
1 2 3 4 9 180 1 2
[ dihedrals ]
2 1 3 4 2
[ moleculetype ]
unused 1
[ atoms ]
1 D 1 X D 1
[ intermolecular_interactions ]
[ bonds ]
1 9 6 0.2 500
[ system ]
9 not even a number
[ molecules ]
Chain_A 1
Chain_A 2
"""


def read(folder: Path, text: str) -> Topology:
    """Read a topology."""
    (folder / "a.top").write_text(text)
    return read_topology(folder / "a.top")


def same(ours: Topology, theirs: Topology) -> None:
    for name, values in theirs.arrays().items():
        np.testing.assert_array_equal(ours.arrays()[name], values, err_msg=name)


def test_a_top_says_what_its_tpr_says() -> None:
    ours, theirs = (read_topology(DATA / "topologies" / f"system.{suffix}") for suffix in ("top", "tpr"))
    assert ours.charge[:6] == pytest.approx(theirs.charge[:6], abs=1e-7)  # a TPR has single precision
    assert ours.mass == pytest.approx(theirs.mass, abs=1e-6)
    for name in ("name", "type", "residue", "residue_id", "molecule", "molecule_kind", "bond", "angle", "dihedral"):
        np.testing.assert_array_equal(ours.arrays()[name], theirs.arrays()[name], err_msg=name)


@pytest.mark.skipif(shutil.which("gmx") is None, reason="GROMACS is not on PATH")
def test_what_grompp_makes_whole_is_the_methane_of_the_archive(tmp_path: Path) -> None:
    shutil.copy(ARCHIVE / "methane_112k/topol.top", tmp_path)
    (tmp_path / "a.mdp").write_text("")
    subprocess.run(
        ["gmx", "-quiet", "editconf", "-f", ARCHIVE / "methane_112k/system.tpr", "-o", "a.gro"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    with pytest.raises(InputError, match=r'found .#include "oplsaa.* in line 1.*gmx grompp -pp whole\.top'):
        read_topology(tmp_path / "topol.top")
    subprocess.run(
        ["gmx", "-quiet", "grompp", "-f", "a.mdp", "-c", "a.gro", "-p", "topol.top", "-pp", "whole.top"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    ours, theirs = read_topology(tmp_path / "whole.top"), read_topology(ARCHIVE / "methane_112k/system.tpr")
    assert composition_of(ours) == {"CH4": 222}
    np.testing.assert_allclose(ours.charge, theirs.charge, atol=1e-7)
    np.testing.assert_allclose(ours.mass, theirs.mass, rtol=1e-7)
    same(ours, Topology(**{**theirs.arrays(), "charge": ours.charge, "mass": ours.mass}))


def test_what_may_be_left_out_comes_from_the_types(tmp_path: Path) -> None:
    topology = read(tmp_path, TEXT)
    assert composition_of(topology) == {"Chain_A": 3}
    assert topology.name[:4].tolist() == ["C1", "C2", "C3", "C4"]
    assert topology.charge[:4].tolist() == [0.1, -0.5, -0.75, 0.25]
    assert topology.mass[:4].tolist() == [12.011, 12.011, 13.5, 12.011]
    assert topology.residue[:4].tolist() == ["ALA", "ALA", "ALA", "GLY"]
    assert topology.residue_id[:8].tolist() == [1, 1, 2, 3, 4, 4, 5, 6]
    assert topology.bond[:3].tolist() == [[0, 1], [1, 2], [2, 3]]
    assert topology.dihedral.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[ defaults ]", '  #include "/etc/passwd"\n[ defaults ]', "found '#include \"/etc/passwd\"' in line 2"),
        ("[ bonds ]\n1 2 1\n", "#ifdef FLEXIBLE\n[ bonds ]\n1 2 1\n#endif\n", "found '#ifdef FLEXIBLE'"),
        ("Chain_A 2", "Chain_A -2", "is 'Chain_A -2', expected a molecule and how many"),
        ("Chain_A 2", "Chain_A 2.5", "is 'Chain_A 2.5', expected a molecule and how many"),
        ("Chain_A 2", "Chain_A", "is 'Chain_A', expected a molecule and how many"),
        ("Chain_A 2", "Chain_A 40000000", "have 160000004 atoms together"),
        ("Chain_A 2", "Chain_A 999999999999", "atoms together"),
        ("Chain_A 2", "Chain_A " + "9" * 5000, "how many there are"),
        ("Chain_A 1\nChain_A 2", "Chain_A 0", "have 0 atoms together"),
        ("Chain_A 2", "Chain_B 2", "[ molecules ] has Chain_B"),
        ("[ molecules ]", "[ molecule ]", "no section [ molecules ]"),
        ("[ moleculetype ]\nunused", "[ moleculetype ]\nChain_A", "describes the molecule Chain_A again"),
        ("2 opls_1 4 ALA", "7 opls_1 4 ALA", "expected atom 2 of Chain_A"),
        ("2 opls_1 4 ALA C2 1 -0.5", "2 opls_1 4", "expected atom 2 of Chain_A"),
        ("2 opls_1 4 ALA C2 1 -0.5", "2 opls_1 4 ALA C2 1 minus", "could not convert"),
        ("2 opls_1 4 ALA C2 1 -0.5", "2 opls_1 4 ALA C2 1 nan", "not finite"),
        ("2 opls_1 4 ALA C2 1 -0.5", "2 opls_1 4 ALA C2 1 0 nan", "mass"),
        ("2 opls_1 4 ALA", "2 opls_2 4 ALA", "opls_2"),
        ("ALA C2", "ALA C2" + "x" * 70, "name of 72 characters"),
        ("1 2 1\n", "1 5 1\n", "outside its molecule"),
        ("1 2 1\n", "0 2 1\n", "outside its molecule"),
        ("1 2 1\n", "1 99999999999999999999 1\n", "OverflowError"),
        ("1 2 1\n", "1 2\n", "has 2 words"),
        ("1 2 1\n", "1 1 1\n", "together with itself"),
        ("C  12.011 0.1 A 0.35 0.276", "C 12.011", "an atom type, has none of A"),
        ("[ defaults ]\n", "", "expected a section"),
    ],
)
def test_what_is_wrong_is_one_message(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert TEXT.count(old) >= 1
    with pytest.raises(InputError) as found:
        read(tmp_path, TEXT.replace(old, new, 1))
    assert str(found.value).startswith(f"{tmp_path / 'a.top'}: ")
    assert said in str(found.value)
    assert len(str(found.value)) < 500


def test_counts_take_no_memory(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for count in (10**7, 10**9, 10**12 - 1):
        with pytest.raises(InputError, match="atoms together"):
            read(tmp_path, TEXT.replace("Chain_A 2", f"Chain_A {count}"))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


def test_a_million_waters_are_read(tmp_path: Path) -> None:
    water = (
        "[ atomtypes ]\nW 18 0 A 1 1\n[ moleculetype ]\nSOL 1\n[ atoms ]\n1 W 1 SOL W 1\n[ molecules ]\nSOL 1000000\n"
    )
    topology = read(tmp_path, water)
    assert len(topology) == 10**6
    assert topology.molecule[-1] == 10**6 - 1


def test_a_top_of_amber_is_told_by_its_first_line(tmp_path: Path) -> None:
    shutil.copy(DATA / "topologies/system.prmtop", tmp_path / "a.top")
    same(read_topology(tmp_path / "a.top"), read_topology(DATA / "topologies/system.prmtop"))
    with pytest.raises(InputError, match="not a GROMACS or Amber topology file"):
        read(tmp_path, "an old PRMTOP\n   12    3\n")
