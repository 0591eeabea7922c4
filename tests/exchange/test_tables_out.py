"""Tables written for HOOMD-blue, VOTCA and MagiC: read as these programs read them."""

import runpy
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest

from cgstore.drafts.votca_tables import pair_table
from cgstore.exchange import write_potential
from cgstore.schema import topology_of
from cgstore.tables import interpolate, interpolate_bonded


class Recorded:
    """Stands for a force of HOOMD-blue: keeps what it is given."""

    def __init__(self, **given) -> None:
        self.given, self.params, self.r_cut = given, {}, {}


def recording() -> SimpleNamespace:
    """Return what the script calls of `hoomd`."""
    table = SimpleNamespace(Table=Recorded)
    return SimpleNamespace(
        md=SimpleNamespace(nlist=SimpleNamespace(Cell=Recorded), pair=table, bond=table, angle=table, dihedral=table),
        Snapshot=lambda: SimpleNamespace(configuration=SimpleNamespace(), **parts_of_a_snapshot()),
    )


def parts_of_a_snapshot() -> dict:
    parts = {}
    for name in ("particles", "bonds", "angles", "dihedrals"):
        parts[name] = SimpleNamespace(typeid=np.zeros(96, int), mass=np.zeros(96), position=np.zeros((96, 3)))
    for name, ends, count in (("bonds", 2, 72), ("angles", 3, 48), ("dihedrals", 4, 24)):
        parts[name] = SimpleNamespace(group=np.zeros((count, ends), int), typeid=np.zeros(count, int))
    return parts


def linear(values: np.ndarray, low: float, high: float, x: np.ndarray, *, last: bool) -> np.ndarray:
    """Interpolate as HOOMD-blue does: the last point of a pair is one before the cutoff, and zero follows."""
    nodes = np.linspace(low, high, len(values) + (not last))
    return np.interp(x, nodes, values if last else np.append(values, 0.0))


def test_the_forces_of_hoomd_are_our_tables(liquid_chains, tmp_path) -> None:
    write_potential(liquid_chains.model, "hoomd", tmp_path, temperature=310.0)
    script = runpy.run_path(str(tmp_path / "run.py"))
    assert script["KT"] == pytest.approx(0.008314462618 * 310.0)
    pair, bond, angle, dihedral = script["forces"](recording(), tmp_path / "potential.npz")
    assert pair.given["nlist"].given["exclusions"] == ("bond", "1-3")
    r = np.linspace(0.2, 1.0, 4001)
    for (a, b), told in pair.params.items():
        table, cut = liquid_chains.model.pairs[f"{a}-{b}"], pair.r_cut[(a, b)]
        for name, ours in zip("UF", interpolate(table, r), strict=True):
            theirs = np.where(r < cut, linear(told[name], told["r_min"], cut, r, last=False), 0.0)
            np.testing.assert_allclose(theirs, ours, atol=2e-3 * np.abs(ours).max())
    x = np.linspace(0.0, 1.2, 3001)
    for kind, told in bond.params.items():
        ours = interpolate_bonded(liquid_chains.model.bonds[kind], x)
        assert len(told["U"]) == bond.given["width"]
        for name, values in zip("UF", ours, strict=True):
            theirs = linear(told[name], told["r_min"], told["r_max"], x, last=True)
            np.testing.assert_allclose(theirs, values, atol=1e-3 * np.abs(values).max())
    for force, tables, low in ((angle, "angles", 0.0), (dihedral, "dihedrals", -180.0)):
        x = np.linspace(low, 180.0, 2001)
        for kind, told in force.params.items():
            energy, slope = interpolate_bonded(getattr(liquid_chains.model, tables)[kind], x)
            scale = np.abs(slope).max() * 180.0 / np.pi
            np.testing.assert_allclose(linear(told["U"], low, 180.0, x, last=True), energy, atol=1e-4 * scale)
            theirs = linear(told["tau"], low, 180.0, x, last=True)
            np.testing.assert_allclose(theirs, slope * 180.0 / np.pi, atol=2e-2 * scale + 1e-12)


def test_the_snapshot_of_hoomd_is_the_system(liquid_chains, tmp_path) -> None:
    write_potential(liquid_chains.model, "hoomd", tmp_path, system=liquid_chains.system)
    script = runpy.run_path(str(tmp_path / "run.py"))
    snap, topology = script["snapshot"](recording(), tmp_path / "potential.npz"), topology_of(liquid_chains.system)
    assert np.array(script["TYPES"])[snap.particles.typeid].tolist() == topology.type.tolist()
    np.testing.assert_array_equal(snap.particles.mass, topology.mass)
    np.testing.assert_array_equal(snap.dihedrals.group, topology.dihedral)
    box = liquid_chains.system["box"].values[0].astype(float)
    lx, ly, lz, xy, xz, yz = snap.configuration.box
    np.testing.assert_allclose([[lx, 0, 0], [xy * ly, ly, 0], [xz * lz, yz * lz, lz]], box, rtol=1e-6)
    place = snap.particles.position @ np.linalg.inv(box)
    assert np.abs(place).max() <= 0.5
    moved = (liquid_chains.system["position"].values[0] - snap.particles.position) @ np.linalg.inv(box) - 0.5
    np.testing.assert_allclose(moved, np.rint(moved), atol=1e-5)


def votca_table(path: Path) -> tuple[np.ndarray, np.ndarray, set[str]]:
    rows = [line.split() for line in path.read_text().splitlines() if line and line[0] not in "#@"]
    numbers = np.array([row[:2] for row in rows], float)
    return numbers[:, 0], numbers[:, 1], {row[2] for row in rows}


def test_the_tables_of_votca_are_ours(liquid_chains, tmp_path) -> None:
    written = write_potential(liquid_chains.model, "votca", tmp_path, temperature=310.0)
    settings = ElementTree.parse(tmp_path / "settings.xml")
    assert float(settings.findtext("inverse/kBT")) == pytest.approx(2.5774834)
    names = [entry.text for entry in settings.iter("name")]
    assert [path.name for path in written] == ["settings.xml", *(f"{name}.pot" for name in names)]
    entry = next(e for e in settings.iter("non-bonded") if e.findtext("name") == "B-C")
    assert (entry.findtext("type1"), entry.findtext("type2"), float(entry.findtext("max"))) == ("B", "C", 0.9)
    r, energy, flags = votca_table(tmp_path / "B-C.pot")
    np.testing.assert_allclose(energy, interpolate(liquid_chains.model.pairs["B-C"], r)[0], rtol=1e-9, atol=1e-9)
    assert flags == {"i"}
    x, energy, _ = votca_table(tmp_path / "dihedral-A-B-B-A.pot")
    table = liquid_chains.model.dihedrals["A-B-B-A"]
    np.testing.assert_allclose(np.degrees(x), table.x, atol=1e-8)
    np.testing.assert_allclose(energy, table.energy, rtol=1e-9, atol=1e-9)


@pytest.mark.skipif(shutil.which("csg_resample") is None, reason="VOTCA is not installed")
def test_votca_reads_our_tables_and_splines_them_to_our_energies_and_forces(liquid_chains, tmp_path) -> None:
    write_potential(liquid_chains.model, "votca", tmp_path)
    table = liquid_chains.model.pairs["A-B"]
    command = ["csg_resample", "--in", "A-B.pot", "--out", "fine.pot", "--derivative", "slope.pot"]
    subprocess.run([*command, "--grid", "0.3:0.0005:0.88"], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    r, energy, _ = votca_table(tmp_path / "fine.pot")
    ours, force = interpolate(table, r)
    np.testing.assert_allclose(energy, ours, atol=1e-4 * np.abs(ours).max())
    np.testing.assert_allclose(-votca_table(tmp_path / "slope.pot")[1], force, atol=5e-3 * np.abs(force).max())


@pytest.mark.skipif(shutil.which("csg_call") is None, reason="VOTCA is not installed")
def test_votca_makes_of_our_tables_those_that_we_write_for_gromacs(liquid_chains, tmp_path) -> None:
    write_potential(liquid_chains.model, "votca", tmp_path)
    write_potential(liquid_chains.model, "gromacs", tmp_path / "ours")
    command = ["csg_call", "--options", "settings.xml", "--ia-type", "non-bonded", "--ia-name", "A-B"]
    convert = ["convert_potential", "gromacs", "--clean", "A-B.pot", "table.xvg"]
    done = subprocess.run([*command, *convert], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    theirs = np.array(
        [line.split() for line in (tmp_path / "table.xvg").read_text().splitlines() if line[0] not in "#@"]
    )
    theirs = theirs.astype(float)
    ours = np.loadtxt(tmp_path / "ours" / "table_A_B.xvg")
    np.testing.assert_allclose(theirs[:, 0], ours[: len(theirs), 0], atol=1e-9)
    near = (ours[: len(theirs), 0] > 0.25) & (ours[: len(theirs), 0] < 0.9)
    for column in (5, 6):
        scale = np.abs(ours[: len(theirs)][near, column]).max()
        np.testing.assert_allclose(theirs[near, column], ours[: len(theirs)][near, column], atol=2e-3 * scale)


def magic_sections(path: Path) -> list[tuple[dict[str, str], np.ndarray]]:
    sections = []
    for part in path.read_text().split("&Potential\n")[1:]:
        head, rest = part.split("&Table\n")
        rows = rest.split("&EndTable")[0].strip().splitlines()
        words = dict(line.split("=") for line in head.strip().splitlines())
        sections.append((words, np.array([row.split() for row in rows], float)))
    return sections


def test_the_file_of_magic_has_pairs_bonds_and_angles_in_its_units(liquid_chains, tmp_path) -> None:
    tables = replace(liquid_chains.model, dihedrals={})
    system = liquid_chains.system.drop_vars("dihedral")
    (path,) = write_potential(tables, "magic", tmp_path, system=system)
    general = path.read_text().split("&EndGeneral")[0]
    for line in ("NTypes=4", "Types=A, B, C, D", "N_NB=10", "N_B=4", "N_A=2", "Max=9.000000", "NPoints=450"):
        assert f"\n{line}\n" in general
    assert "NPairBondsExclude=X:2,X_2:2" in general
    sections = magic_sections(path)
    assert [s["Type"] for s, _ in sections] == ["NB"] * 10 + ["B"] * 4 + ["A"] * 2
    head, rows = sections[1]
    assert (head["AtomTypes"], head["Min"], head["Max"], head["NPoints"]) == ("A, B", "0.000000", "9.000000", "450")
    assert rows[0, 0] == pytest.approx(0.01)  # Angstrom, the middle of the first bin
    energy = interpolate(tables.pairs["A-B"], rows[:, 0] / 10.0)[0]
    np.testing.assert_allclose(rows[:, 1], energy, rtol=1e-6, atol=1e-6)
    head, rows = sections[10]
    assert (head["MolType"], head["BondNumber"], head["Pairs"]) == ("X", "1", "1-2, 3-4")
    np.testing.assert_allclose(
        rows[:, 1], interpolate_bonded(tables.bonds["A-B"], rows[:, 0] / 10.0)[0], rtol=1e-5, atol=1e-6
    )
    head, rows = sections[14]
    assert (head["BondNumber"], head["Triplets"]) == ("3", "1-2-3, 2-3-4")
    np.testing.assert_allclose(
        rows[:, 1], interpolate_bonded(tables.angles["A-B-B"], rows[:, 0])[0], rtol=1e-6, atol=1e-6
    )


def test_our_reader_of_votca_reads_our_tables(liquid_chains, tmp_path) -> None:
    write_potential(liquid_chains.model, "votca", tmp_path)
    table, again = liquid_chains.model.pairs["B-C"], pair_table(tmp_path / "B-C.pot", 0.9)
    np.testing.assert_allclose(again.r, table.r, atol=1e-9)
    inner = table.r < 0.85  # beyond it the reader switches off again what is off already
    np.testing.assert_allclose(again.energy[inner], table.energy[inner], atol=1e-6 * table.energy.max())
