"""One system in the topology files of many programs: what each file says arrives, and damage never does."""

import bz2
import gzip
import lzma
import random
import warnings
from collections.abc import Callable
from pathlib import Path

import MDAnalysis
import numpy as np
import pytest

from cgstore.errors import InputError
from cgstore.mapping import composition_of
from cgstore.readers.topologies import read_topology

DATA = Path(__file__).parents[1] / "data" / "topologies"
METHANOL, WATER = 12.011 + 4 * 1.008 + 15.9994, 15.9994 + 2 * 1.008

# Molecules of each kind, bonds, angles, dihedrals. ParmEd 4.3.1 counts the same in the PRMTOP, the PSF, and (before
# SETTLE took bonds and angles of the water) the GROMACS topology of the TPR.
EXPECTED = {
    "tpr": ({"MeOH": 2, "SOL": 3, "NA": 1}, 16, 14, 6),
    "top": ({"MeOH": 2, "SOL": 3, "NA": 1}, 16, 14, 6),
    "prmtop": ({"MOH": 2, "SOL": 3, "NA": 1}, 19, 17, 6),
    "psf": ({"MOH": 2, "SWM4": 3, "SOD": 1}, 25, 17, 0),
    "data": ({"MOL1": 2, "MOL2": 3, "NA": 1}, 19, 17, 0),
    "gsd": ({"MOL1": 2, "MOL2": 3, "NA": 1}, 19, 17, 0),
    "h5md": ({"MOL1": 2, "MOL2": 3, "NA": 1}, 19, 17, 0),
    "h5": ({"MOH": 2, "SOL": 3, "NA": 1}, 19, 0, 0),
    "mol2": ({"MOH": 2, "SOL": 3, "NA": 1}, 19, 0, 0),
    "gro": ({"MOH": 2, "SOL": 3, "NA": 1}, 0, 0, 0),
}


@pytest.mark.parametrize("suffix", EXPECTED)
def test_each_format_says_the_same_of_the_system(suffix: str) -> None:
    topology = read_topology(DATA / f"system.{suffix}")
    kinds, *terms = EXPECTED[suffix]
    assert composition_of(topology) == kinds
    assert [len(topology.bond), len(topology.angle), len(topology.dihedral)] == terms
    # Every format has the masses to the digits of its source: force field (15.9994) or elements (15.999).
    mass = np.bincount(topology.molecule, topology.mass)
    np.testing.assert_allclose(mass, [METHANOL] * 2 + [WATER] * 3 + [22.98977], atol=2e-3)
    charge = np.bincount(topology.molecule, topology.charge)
    np.testing.assert_allclose(charge, [0, 0, 0, 0, 0, 0 if suffix in ("h5", "gro") else 1], atol=1e-5)
    assert (topology.mass == 0).sum() == 3
    assert (topology.molecule[topology.bond[:, 0]] == topology.molecule[topology.bond[:, 1]]).all()


@pytest.mark.parametrize("suffix", ["tpr", "prmtop", "mol2", "gro"])
def test_columns_are_those_that_mdanalysis_reads(suffix: str) -> None:
    path = DATA / f"system.{suffix}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        atoms = MDAnalysis.Universe(str(path), to_guess=()).atoms
    ours = read_topology(path)
    assert ours.name.tolist() == atoms.names.tolist()
    assert ours.residue.tolist() == atoms.resnames.tolist()
    assert ours.residue_id.tolist() == atoms.resids.tolist()
    if suffix in ("tpr", "prmtop"):
        np.testing.assert_array_equal(ours.mass, atoms.masses)
    if suffix != "gro":
        np.testing.assert_allclose(ours.charge, atoms.charges, atol=1e-6)
        assert ours.bond.tolist() == np.unique(np.sort(atoms.universe.bonds.indices, axis=1), axis=0).tolist()


def test_drude_particles_and_lone_pairs_are_bonded_to_their_atom() -> None:
    topology = read_topology(DATA / "system.psf")
    assert topology.name[12:17].tolist() == ["OH2", "DOH2", "OM", "H1", "H2"]
    assert topology.mass[12:17].tolist() == [15.5994, 0.4, 0.0, 1.008, 1.008]
    assert topology.charge[12:17].tolist() == [1.7164, -1.7164, -1.11466, 0.55733, 0.55733]
    assert [pair for pair in topology.bond.tolist() if pair[1] in (13, 14)] == [[12, 13], [12, 14]]
    assert topology.residue_id[[0, 6, 12, 27]].tolist() == [1, 2, 3, 6]


# ---- PSF in its dialects ----

PSF_ATOMS = [("C1", "CT1", -0.27, 12.011), ("H1", "HA", 0.27, 1.008), ("H2", "HA", 0.0, 1.008)]


def psf(flags: str, row: Callable[..., str], width: int, segment: str = "A") -> str:
    rows = [row(k + 1, segment, 7, "MET", *atom) for k, atom in enumerate(PSF_ATOMS)]
    bonds = "".join(f"{k:{width}d}" for k in (1, 2, 1, 3))
    return "\n".join([f"PSF {flags}", "", "1 !NTITLE", "REMARKS", "", "3 !NATOM", *rows, "", "2 !NBOND", bonds, ""])


def standard(n, segment, resid, residue, name, kind, charge, mass) -> str:  # type: ignore[no-untyped-def]
    return f"{n:8d} {segment:4} {resid:<4d} {residue:4} {name:4} {kind:4} {charge:14.6g}{mass:14.6g}{0:8d}"


def extended(n, segment, resid, residue, name, kind, charge, mass) -> str:  # type: ignore[no-untyped-def]
    return f"{n:10d} {segment:8} {resid:<8d} {residue:8} {name:8} {kind:4} {charge:14.6g}{mass:14.6g}{0:8d}"


def cheq(*columns) -> str:  # type: ignore[no-untyped-def]
    return standard(*columns) + f"{0:14.6f}{-0.00301:14.6g}"


def namd(n, segment, resid, residue, name, kind, charge, mass) -> str:  # type: ignore[no-untyped-def]
    return f"{n} {segment} {resid} {residue} {name} {kind} {charge:.6f} {mass:.4f} 0"


@pytest.mark.parametrize("segment", ["A", ""])
@pytest.mark.parametrize(
    ("flags", "row", "width"),
    [("", standard, 8), ("XPLOR", standard, 8), ("CHEQ", cheq, 8), ("EXT XPLOR", extended, 10), ("EXT NAMD", namd, 10)],
)
def test_psf_columns_are_found_in_every_dialect(
    tmp_path: Path, flags: str, row: Callable[..., str], width: int, segment: str
) -> None:
    if row is namd and not segment:
        pytest.skip("NAMD separates by blanks and always has a segment")
    (tmp_path / "a.psf").write_text(psf(flags, row, width, segment))
    topology = read_topology(tmp_path / "a.psf")
    assert topology.mass.tolist() == [12.011, 1.008, 1.008]
    assert topology.charge.tolist() == [-0.27, 0.27, 0.0]
    assert topology.residue_id.tolist() == [7, 7, 7]
    assert topology.residue.tolist() == ["MET"] * 3
    assert topology.bond.tolist() == [[0, 1], [0, 2]]


def test_a_psf_without_terms_has_its_residues_as_molecules(tmp_path: Path) -> None:
    text = psf("", standard, 8).split("2 !NBOND")[0] + "0 !NBOND\n"
    (tmp_path / "a.psf").write_text(text)
    assert read_topology(tmp_path / "a.psf").molecule.tolist() == [0, 0, 0]


# ---- LAMMPS in its units and atom styles ----


def data_file(atoms: list[str], style: str = "", masses: str = "1 10.0\n2 20.0\n", first: str = "two atoms") -> str:
    hint = f" # {style}" if style else ""
    head = f"{first}\n\n{len(atoms)} atoms\n2 atom types\n0 9 xlo xhi\n0 9 ylo yhi\n0 9 zlo zhi\n\n"
    return f"{head}Masses\n\n{masses}\nAtoms{hint}\n\n" + "\n".join(atoms) + "\n"


@pytest.mark.parametrize(
    ("style", "rows", "charges", "molecules"),
    [
        ("full", ["1 5 1 0.5 0 0 0", "2 5 2 -0.5 1 1 1", "3 6 2 0 2 2 2"], [0.5, -0.5, 0], [0, 0, 1]),
        ("molecular", ["1 5 1 0 0 0", "2 5 2 1 1 1", "3 6 2 2 2 2"], [0, 0, 0], [0, 0, 1]),
        ("charge", ["1 1 0.5 0 0 0 0 0 0", "2 2 -0.5 1 1 1 0 0 0", "3 2 0 2 2 2 0 0 0"], [0.5, -0.5, 0], [0, 1, 2]),
        ("atomic", ["1 1 0 0 0", "2 2 1 1 1", "3 2 2 2 2"], [0, 0, 0], [0, 1, 2]),
    ],
)
@pytest.mark.parametrize("hint", ["{style}", "", "I like comments"])
def test_lammps_columns_follow_from_the_atom_style(
    tmp_path: Path, style: str, rows: list[str], charges: list[float], molecules: list[int], hint: str
) -> None:
    (tmp_path / "a.data").write_text(data_file(rows[::-1], hint.format(style=style)))
    topology = read_topology(tmp_path / "a.data")
    assert topology.mass.tolist() == [10, 20, 20]
    assert topology.charge.tolist() == charges
    assert topology.molecule.tolist() == molecules


def test_lammps_masses_are_in_the_units_of_the_simulation(tmp_path: Path) -> None:
    path = tmp_path / "a.data"
    path.write_text(data_file(["1 1 0 0 0"], masses="1 2.988e-5\n2 1\n"))
    # One molecule of water weighs 2.99e-23 g, which is 2.99e-5 attogram.
    np.testing.assert_allclose(read_topology(path, units="nano").mass, 17.99, atol=0.01)
    assert read_topology(path, units="lj").mass.tolist() == [2.988e-5]


def test_lammps_units_that_contradict_the_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.data"
    path.write_text(data_file(["1 1 0 0 0"], first="LAMMPS data file via write_data, timestep = 0, units = lj"))
    with pytest.raises(
        InputError, match=r'a\.data: found units = lj in its first line, expected real; write units = "lj"'
    ):
        read_topology(path)
    assert read_topology(path, units="lj").mass.tolist() == [10.0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("Atoms # full", "Atoms # sphere"), 'atom style "sphere", expected atomic'),
        (("25 atoms", "26 atoms"), "found 25 atoms, the header announces 26"),
        (("19 bonds", "20 bonds"), "found 19 bonds, the header announces 20"),
        (("MW 0.0", "MX 0.0"), "no mass for the type MW"),
        (("25 6 NA", "24 6 NA"), "two atoms have the same id"),
    ],
)
def test_lammps_data_that_contradict_themselves_are_refused(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    text = (DATA / "system.data").read_text()
    assert change[0] in text
    (tmp_path / "a.data").write_text(text.replace(*change))
    with pytest.raises(InputError, match=said):
        read_topology(tmp_path / "a.data")


# ---- compressed, damaged, hostile ----


@pytest.mark.parametrize(("suffix", "module"), [("gz", gzip), ("bz2", bz2), ("xz", lzma)])
def test_compressed_files_are_read_and_named_in_messages(tmp_path: Path, suffix: str, module) -> None:  # type: ignore[no-untyped-def]
    packed = tmp_path / f"system.psf.{suffix}"
    packed.write_bytes(module.compress((DATA / "system.psf").read_bytes()))
    ours, plain = read_topology(packed), read_topology(DATA / "system.psf")
    assert all((ours.arrays()[key] == value).all() for key, value in plain.arrays().items())
    packed.write_bytes(module.compress(b"PSF\nnothing"))
    with pytest.raises(InputError, match=rf"system\.psf\.{suffix}: "):
        read_topology(packed)


@pytest.mark.parametrize("suffix", EXPECTED)
def test_damage_is_an_input_error_or_harmless(tmp_path: Path, suffix: str) -> None:
    content = (DATA / f"system.{suffix}").read_bytes()
    chance = random.Random(suffix)
    path = tmp_path / f"a.{suffix}"
    messages: list[str] = []
    slow = suffix in ("h5", "h5md")  # every one is read by a process of its own
    for _ in range(6 if slow else 60):
        damaged = bytearray(content)
        if chance.random() < 0.3:
            del damaged[chance.randrange(len(damaged)) :]
        else:
            for _ in range(chance.choice((1, 1, 3))):
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        path.write_bytes(damaged)
        try:
            found = read_topology(path)
        except InputError as error:
            messages.append(str(error))
            continue
        assert len(found) < 200
        assert np.isfinite(found.mass).all()
        assert not len(found.bond) or 0 <= found.bond.min() <= found.bond.max() < len(found)
    assert slow or len(messages) > 10
    assert all(message.startswith(f"{path}: ") for message in messages)


def test_nothing_is_allocated_for_what_a_file_merely_claims(tmp_path: Path) -> None:
    tpr = bytearray((DATA / "system.tpr").read_bytes())
    where = tpr.index((25).to_bytes(4, "big"))
    tpr[where : where + 4] = (2**31 - 1).to_bytes(4, "big")
    gro = (DATA / "system.gro").read_bytes().replace(b"\n   25\n", b"\n 2500000000\n")
    gsd = bytearray((DATA / "system.gsd").read_bytes())
    gsd[16:24] = (2**40).to_bytes(8, "little")
    psf_ = (DATA / "system.psf").read_bytes().replace(b"28 !NATOM", b"2800000000 !NATOM")
    top = (DATA / "system.top").read_bytes().replace(b"SOL 3", b"SOL 300000000000")
    prmtop = (DATA / "system.prmtop").read_bytes().replace(b"      25", b"99999999", 1)
    for name, content in (
        ("a.tpr", tpr),
        ("a.gro", gro),
        ("a.gsd", gsd),
        ("a.psf", psf_),
        ("a.prmtop", prmtop),
        ("a.top", top),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError):
            read_topology(tmp_path / name)


def test_hdf5_that_points_out_of_itself_is_refused(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    for kind in ("link", "huge"):
        path = tmp_path / f"{kind}.h5md"
        with h5py.File(path, "w") as file:
            group = file.create_group("particles/all")
            if kind == "link":
                group["position"] = h5py.ExternalLink(str(DATA / "system.h5md"), "/particles/all/position")
            else:
                group.create_dataset("position/value", shape=(1, 10**12, 3), chunks=(1, 10**4, 3), dtype="f4")
        with pytest.raises(InputError, match=path.name):
            read_topology(path)


def test_an_unknown_suffix_is_answered_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "a.psff").write_text("PSF\n")
    with pytest.raises(InputError, match=r'"\.psff" cannot be read; did you mean "\.psf"\?'):
        read_topology(tmp_path / "a.psff")
