"""Masses and bonds that a topology file does not list: what is certain, what is refused, what may be stated."""

from pathlib import Path

import MDAnalysis
import numpy as np
import pytest

from cgstore.errors import InputError
from cgstore.readers.topologies import read_topology

DATA = Path(__file__).parents[1] / "data" / "topologies"


def gro(path: Path, *residues: str, box: str = "5 5 5", at: np.ndarray | None = None) -> Path:
    """Write a GRO; a residue is its name followed by those of its atoms."""
    rows = [(n + 1, words.split()[0], name) for n, words in enumerate(residues) for name in words.split()[1:]]
    x = np.zeros((len(rows), 3)) if at is None else at
    lines = [
        f"{n:5d}{r:<5}{a:>5}{k + 1:5d}{x[k, 0]:8.3f}{x[k, 1]:8.3f}{x[k, 2]:8.3f}" for k, (n, r, a) in enumerate(rows)
    ]
    path.write_text("\n".join(["made by hand", str(len(rows)), *lines, box, ""]))
    return path


POPC = "POPC NC3 PO4 GL1 GL2 C1A D2A C3A C4A C1B C2B C3B C4B"


@pytest.mark.parametrize(
    ("residues", "named"),
    [
        ((POPC, "W W"), "C1A, C1B, C2B, C3A, C3B, C4A, C4B, D2A …"),  # Martini lipid and water
        (("W W", "NA NA+", "CL CL-"), "CL-, NA+, W"),  # its ions are hydrated, not bare
        (("ALA BB", "LEU BB SC1"), "BB, SC1"),  # its proteins
        (("DOD C1 C2 C3",), "C1, C2, C3"),  # its dodecane
        (("BENZ R1 R2 R3",), "R1, R2, R3"),
        (
            ("DPPC C1 C2 C3 N4 C5 C6 O7 P8 O9 O10", "SOL OW HW1 HW2"),
            "C1, C2, C3, C5, C6, N4, O10, O7 …",
        ),  # united atoms
        (("DMSO S O C1 C2",), "C1, C2, O, S"),
        (("MET C",), "C"),
        (("P4 P4",), "P4"),
        (("DPPC PO4",), "PO4"),
        (("POPC NC3", "POPC PO4"), "NC3, PO4"),
        (("ALA CA", "GLY CA"), "CA"),  # a trace of alpha carbons is no calcium
        (("SWM4 OH2 DOH2 OM H1 H2",), "DOH2, OM"),
    ],
)
def test_beads_and_united_atoms_are_refused_instead_of_taken_for_elements(
    tmp_path: Path, residues: tuple[str, ...], named: str
) -> None:
    with pytest.raises(InputError) as caught:
        read_topology(gro(tmp_path / "a.gro", *residues))
    assert f"no element is certain for the particles {named}, which may be beads or united atoms" in str(caught.value)
    assert "[masses] " in str(caught.value)


@pytest.mark.parametrize(
    ("residues", "masses"),
    [
        (("SOL OW HW1 HW2 MW", "SOL OW HW1 HW2 MW"), [15.999, 1.008, 1.008, 0] * 2),  # TIP4P
        (("WAT O H1 H2 EPW",), [15.999, 1.008, 1.008, 0]),
        (("WAT O H1 H2 LP1 LP2",), [15.999, 1.008, 1.008, 0, 0]),  # TIP5P
        (("CO2 C O1 O2",), [12.011, 15.999, 15.999]),
        (("CO C O",), [12.011, 15.999]),
        (("CCL4 C1 CL1 CL2 CL3 CL4",), [12.011] + [35.45] * 4),
        (("AR AR",), [39.95]),
        (("CA CA", "CAL CAL", "CLA CLA", "ION K"), [40.08, 40.08, 35.45, 39.098]),
        (("MOL C1 C2 H1 H2 Br1",), [12.011, 12.011, 1.008, 1.008, 79.904]),
    ],
)
def test_what_is_certain_has_the_mass_of_its_element(
    tmp_path: Path, residues: tuple[str, ...], masses: list[float]
) -> None:
    found = read_topology(gro(tmp_path / "a.gro", *residues)).mass
    np.testing.assert_allclose(found, masses, atol=5e-3)


def test_stated_masses_win_over_elements_and_over_the_file(tmp_path: Path) -> None:
    stated = {"C1": 15.035, "OH": 17.007}
    assert read_topology(gro(tmp_path / "a.gro", "MET C1 OH"), masses=stated).mass.tolist() == [15.035, 17.007]
    beads = {name: 72.0 for name in POPC.split()[1:]} | {"W": 72.0}
    assert set(read_topology(gro(tmp_path / "b.gro", POPC, "W W"), masses=beads).mass) == {72.0}
    # In the TPR by name and by type; others stay as they are.
    heavy = read_topology(DATA / "system.tpr", masses={"HC": 3.0, "MW": 0.5, "NA": 23.5})
    assert heavy.mass[:6].tolist() == [
        pytest.approx(12.011),
        3.0,
        3.0,
        3.0,
        pytest.approx(15.9994),
        pytest.approx(1.008),
    ]
    assert heavy.mass[[15, 24]].tolist() == [0.5, 23.5]


def test_a_mass_for_a_name_that_is_not_there_is_refused() -> None:
    with pytest.raises(
        InputError, match=r'masses   found "C11", no particle has this name or type; did you mean "C1"\?'
    ):
        read_topology(DATA / "system.gro", masses={"C11": 12.0})


def test_masses_may_be_given_only_where_the_file_leaves_them_open(tmp_path: Path) -> None:
    hydrated = gro(tmp_path / "a.gro", "SOL OW HW1 HW2", "LIG C1 H1 QQ")
    with pytest.raises(InputError, match="particles QQ,"):
        read_topology(hydrated)
    np.testing.assert_allclose(read_topology(hydrated, masses={"QQ": 50.0}).mass[3:], [12.011, 1.008, 50.0])
    # Without any hydrogen in the file a stated bead does not vouch for its ions.
    beads = gro(tmp_path / "b.gro", "W W", "ION NA")
    with pytest.raises(InputError, match="particles NA,"):
        read_topology(beads, masses={"W": 72.0})
    assert read_topology(beads, masses={"W": 72.0, "NA": 72.0}).mass.tolist() == [72.0, 72.0]


@pytest.mark.parametrize("mass", ["-1.0", "nan", "inf"])
def test_a_mass_that_cannot_be_is_refused(tmp_path: Path, mass: str) -> None:
    text = (DATA / "system.data").read_text().replace("MW 0.0\n", f"MW {mass}\n")
    (tmp_path / "a.data").write_text(text)
    with pytest.raises(InputError, match=r"particle 16 \(MW\) has the mass"):
        read_topology(tmp_path / "a.data")


# ---- bonds that are guessed only when asked for ----


def test_guessed_bonds_are_those_of_the_force_field_and_of_mdanalysis() -> None:
    path = DATA / "system.gro"
    assert len(read_topology(path).bond) == 0
    guessed = read_topology(path, guess_bonds=True).bond.tolist()
    # Atoms are wrapped into the box one by one: bonds go across it. Sites of the water get none.
    chemical = [pair for pair in read_topology(DATA / "system.prmtop").bond.tolist() if pair[1] not in (15, 19, 23)]
    assert guessed == chemical
    universe = MDAnalysis.Universe(str(path), to_guess=("elements",))
    atoms = universe.select_atoms("not name MW NA")
    atoms.guess_bonds()
    assert guessed == np.unique(np.sort(universe.bonds.indices, axis=1), axis=0).tolist()


def test_guessed_bonds_go_across_a_skewed_box(tmp_path: Path) -> None:
    # v1x v2y v3z v1y v1z v2x v2z v3x v3y
    box = np.array([[2.0, 0, 0], [0.9, 1.8, 0], [-0.8, 0.7, 2.2]])
    place = np.array([[0.02, 0.02, 0.02], [0.1, 0.05, 0.05]]) + 0.001
    place[1] += box[2] - box[1]
    path = gro(tmp_path / "a.gro", "MOL C1 H1", box="2.0 1.8 2.2 0 0 0.9 0 -0.8 0.7", at=place)
    assert read_topology(path, guess_bonds=True).bond.tolist() == [[0, 1]]


def test_bonds_cannot_be_guessed_without_positions_or_elements(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="guess_bonds   bonds can only be guessed from a file with positions"):
        read_topology(DATA / "system.psf", guess_bonds=True)
    with pytest.raises(InputError, match="guess_bonds   no element, or no radius of it, is known for W; "):
        read_topology(gro(tmp_path / "a.gro", "W W", "W W"), masses={"W": 72.0}, guess_bonds=True)


def test_guessed_bonds_join_residues_to_molecules(tmp_path: Path) -> None:
    at = np.array([[0, 0, 0], [0.1, 0, 0.02], [0.14, 0, 0], [0.2, 0, 0.08]])
    path = gro(tmp_path / "a.gro", "AAA C1 H1", "BBB O1 H2", at=at)
    assert read_topology(path).molecule.tolist() == [0, 0, 1, 1]
    joined = read_topology(path, guess_bonds=True)
    assert joined.molecule.tolist() == [0, 0, 0, 0]
    assert set(joined.molecule_kind.tolist()) == {"AAA-BBB"}
