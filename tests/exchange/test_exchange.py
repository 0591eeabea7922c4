"""Written potentials read back by plain NumPy, and run by the programs they are for."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from cgstore.errors import InputError
from cgstore.exchange import write_potential
from cgstore.tables import Table, interpolate, table_of

POINT = Path(__file__).parents[1] / "data" / "lammps_table"
KCAL = 4.184  # kJ
MASSES = {"A": 16.043, "B": 39.948}


def lj_table(sigma: float, epsilon: float, cutoff: float = 1.0) -> Table:
    r = np.arange(0.22, cutoff + 0.0005, 0.001)
    return table_of(r, 4.0 * epsilon * ((sigma / r) ** 12 - (sigma / r) ** 6), cutoff)


def mixture() -> dict[str, Table]:
    return {"A-A": lj_table(0.34, 1.0), "A-B": lj_table(0.36, 1.4), "B-B": lj_table(0.38, 0.7)}


def lammps_sections(path: Path) -> dict[str, tuple[str, np.ndarray]]:
    sections, keyword = {}, ""
    for line in path.read_text().splitlines():
        words = line.split()
        if not words or words[0] == "#":
            continue
        if len(words) == 1:
            keyword, rows = words[0], []
        elif words[0] == "N":
            sections[keyword] = (line, rows)
        else:
            rows.append([float(word) for word in words])
    return {name: (head, np.array(rows)) for name, (head, rows) in sections.items()}


def single_point() -> tuple[np.ndarray, np.ndarray, float]:
    lines = (POINT / "system.data").read_text().split("Atoms")[1].strip().splitlines()
    rows = np.array([line.split() for line in lines], float)
    return rows[:, 1].astype(int) - 1, rows[:, 2:] / 10.0, 2.4


def energy_and_force(tables: dict[str, Table]) -> tuple[float, np.ndarray]:
    kind, position, edge = single_point()
    energy, force = 0.0, np.zeros_like(position)
    i, j = np.triu_indices(len(position), 1)
    d = position[i] - position[j]
    d -= edge * np.rint(d / edge)
    r = np.linalg.norm(d, axis=1)
    for a, b, pair in ((0, 0, "A-A"), (0, 1, "A-B"), (1, 1, "B-B")):
        chosen = (np.minimum(kind[i], kind[j]) == a) & (np.maximum(kind[i], kind[j]) == b)
        u, f = interpolate(tables[pair], r[chosen])
        energy += u.sum()
        vector = (f / r[chosen])[:, None] * d[chosen]
        np.add.at(force, i[chosen], vector)
        np.subtract.at(force, j[chosen], vector)
    return energy, force


def test_the_lammps_table_is_the_potential_in_kcal_and_angstrom(tmp_path: Path) -> None:
    tables = mixture()
    written = write_potential(tables, "lammps", tmp_path, masses=MASSES)
    assert [path.name for path in written] == ["in.lammps", "potential.table"]
    sections = lammps_sections(tmp_path / "potential.table")
    assert set(sections) == {"A_A", "A_B", "B_B"}
    for keyword, (head, rows) in sections.items():
        assert head.split() == ["N", "500", "R", "0.02", "10"]
        np.testing.assert_array_equal(rows[:, 0], np.arange(1, 501))
        np.testing.assert_allclose(rows[:, 1], np.linspace(0.02, 10.0, 500), rtol=1e-9)
        energy, force = interpolate(tables[keyword.replace("_", "-")], rows[:, 1] / 10.0)
        np.testing.assert_allclose(rows[:, 2] * KCAL, energy, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(rows[:, 3] * KCAL * 10.0, force, rtol=1e-9, atol=1e-9)


def test_energy_and_forces_are_those_that_lammps_finds_with_our_files() -> None:
    energy, force = energy_and_force(mixture())
    expected = float((POINT / "energy.txt").read_text().split()[1]) * KCAL
    lammps = np.loadtxt(POINT / "forces.dump", skiprows=9)[:, 1:] * KCAL * 10.0
    assert energy == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(force, lammps, atol=1e-5 * abs(force).max())


@pytest.mark.skipif(shutil.which("lmp") is None, reason="LAMMPS is not installed")
def test_lammps_runs_our_files_and_still_finds_the_same(tmp_path: Path) -> None:
    write_potential(mixture(), "lammps", tmp_path, masses=MASSES, temperature=112.0)
    shutil.copy(POINT / "system.data", tmp_path)
    script = tmp_path / "in.lammps"
    written = script.read_text()
    head = (POINT / "in.point").read_text().split("thermo_modify")[0]
    assert written.startswith(head)
    script.write_text(written.replace("run             200000", "run             50"))
    shutil.copy(POINT / "in.point", tmp_path)
    for name in ("in.point", "in.lammps"):
        subprocess.run(["lmp", "-in", name], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    found, expected = ((folder / "energy.txt").read_text().split()[1] for folder in (tmp_path, POINT))
    assert float(found) == pytest.approx(float(expected), rel=1e-9)


def test_the_gromacs_table_has_the_potential_in_its_last_columns(tmp_path: Path) -> None:
    tables = mixture() | {"B-B": lj_table(0.38, 0.7, cutoff=0.8)}
    written = write_potential(tables, "gromacs", tmp_path, masses=MASSES)
    names = ["README.md", "table.xvg", "table_A_A.xvg", "table_A_B.xvg", "table_B_B.xvg", "grompp.mdp"]
    assert [path.name for path in written] == names
    for pair, table in tables.items():
        columns = np.loadtxt(tmp_path / f"table_{pair.replace('-', '_')}.xvg").T
        assert len(columns) == 7
        np.testing.assert_allclose(columns[0], np.arange(1001) * 0.002, atol=1e-12)
        energy, force = interpolate(table, columns[0])
        np.testing.assert_allclose(columns[5], energy, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(columns[6], force, rtol=1e-9, atol=1e-12)
        far = columns[0] >= 0.04
        np.testing.assert_allclose(columns[1][far], 1.0 / columns[0][far], rtol=1e-9)
        np.testing.assert_allclose(columns[2][far], columns[0][far] ** -2.0, rtol=1e-9)
        assert not columns[1:3, ~far].any()
        assert not columns[3:5].any()
    assert not np.loadtxt(tmp_path / "table.xvg")[:, 5:].any()
    assert "energygrp-table  = A A A B B B" in (tmp_path / "grompp.mdp").read_text()


def test_one_type_needs_only_the_default_table_of_gromacs(tmp_path: Path) -> None:
    write_potential({"CH4-CH4": lj_table(0.37, 1.2)}, "gromacs", tmp_path, masses={"CH4": 16.043}, temperature=112.0)
    np.testing.assert_array_equal(np.loadtxt(tmp_path / "table.xvg"), np.loadtxt(tmp_path / "table_CH4_CH4.xvg"))
    readme = (tmp_path / "README.md").read_text()
    assert "CH4  16.043  0.0  A  0.0  1.0" in readme
    assert "GROMACS 2019 or earlier" in readme
    assert "ref-t            = 112\n" in (tmp_path / "grompp.mdp").read_text()


@pytest.mark.skipif(shutil.which("gmx") is None, reason="GROMACS is not installed")
def test_gromacs_reads_energy_and_force_of_our_table(tmp_path: Path) -> None:
    """GROMACS 2020 and later have no user tables for pairs, but still for bonds: make every pair a bond."""
    table = lj_table(0.37, 1.2)
    write_potential({"M-M": table}, "gromacs", tmp_path)
    np.savetxt(tmp_path / "bond_b0.xvg", np.loadtxt(tmp_path / "table_M_M.xvg")[:, [0, 5, 6]], fmt="%.10e")
    rng = np.random.default_rng(1)
    grid = np.stack(np.meshgrid(*[np.arange(3)] * 3), -1).reshape(-1, 3)
    position = np.round(3.0 + 0.38 * grid + 0.02 * rng.normal(size=(27, 3)), 3)
    i, j = np.triu_indices(27, 1)
    atoms = "".join(f"{k + 1:5d}M        M{k + 1:5d}{x:8.3f}{y:8.3f}{z:8.3f}\n" for k, (x, y, z) in enumerate(position))
    (tmp_path / "conf.gro").write_text(f"M\n27\n{atoms}   8.0   8.0   8.0\n")
    (tmp_path / "topol.top").write_text(
        "[ defaults ]\n1 1 no 1 1\n[ atomtypes ]\nM 16 0 A 0 0\n[ moleculetype ]\nM 0\n[ atoms ]\n"
        + "".join(f"{k + 1} M 1 M M 1 0 16\n" for k in range(27))
        + "[ bonds ]\n"
        + "".join(f"{a + 1} {b + 1} 9 0 1.0\n" for a, b in zip(i, j, strict=True))
        + "[ system ]\nM\n[ molecules ]\nM 1\n"
    )
    (tmp_path / "md.mdp").write_text("integrator = md\nnsteps = 0\nnstcalcenergy = 1\nnstenergy = 1\n")
    grompp = ["gmx", "grompp", "-f", "md.mdp", "-c", "conf.gro", "-p", "topol.top", "-o", "run.tpr", "-maxwarn", "9"]
    mdrun = ["gmx", "mdrun", "-s", "run.tpr", "-tableb", "bond_b0.xvg", "-nt", "1", "-g", "run.log"]
    for command in (grompp, mdrun):
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=60)
    lines = (tmp_path / "run.log").read_text().splitlines()
    place = next(k for k, line in enumerate(lines) if "Tab. Bonds" in line)
    found = float(lines[place + 1].split()[0])
    d = position[i] - position[j]
    assert found == pytest.approx(interpolate(table, np.linalg.norm(d, axis=1))[0].sum(), rel=5e-5)


@pytest.mark.parametrize(
    ("tables", "program", "message"),
    [
        ({"A-A": lj_table(0.34, 1.0)}, "gromac", 'did you mean "gromacs"'),
        ({"A-A": lj_table(0.34, 1.0)}, "lammps", "needs the masses of A"),
        ({}, "gromacs", "expected names like"),
        ({"A-B-C": lj_table(0.34, 1.0)}, "gromacs", "rename types that contain a hyphen"),
        ({"A-A": lj_table(0.34, 1.0), "A-B": lj_table(0.34, 1.0)}, "gromacs", r"\['A-A', 'A-B', 'B-B'\]"),
        (
            {"A-A": lj_table(0.34, 1.0), "B-A": lj_table(0.34, 1.0), "B-B": lj_table(0.3, 1.0)},
            "gromacs",
            "alphabetical",
        ),
    ],
)
def test_what_cannot_be_written_is_refused(tables: dict, program: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        write_potential(tables, program, tmp_path / "out")
    assert not (tmp_path / "out").exists()
