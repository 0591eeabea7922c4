"""Tables of chains written for programs that are installed, run there, and held against our own energies."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cgstore.errors import InputError
from cgstore.exchange import write_potential
from cgstore.schema import topology_of

KCAL = 4.184  # kJ


def run(*command: str, folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


@pytest.mark.skipif(shutil.which("lmp") is None, reason="LAMMPS is not installed")
@pytest.mark.parametrize("near", [0, 1, 2, 3, "molecule"])
def test_lammps_finds_our_energy_and_forces_of_chains(liquid_chains, tmp_path, near) -> None:
    tables = replace(liquid_chains.model, exclude_bonded=near)
    write_potential(tables, "lammps", tmp_path, temperature=300.0, system=liquid_chains.system)
    script = (tmp_path / "in.lammps").read_text()
    point = script.split("velocity")[0] + (
        "thermo_style custom step evdwl ebond eangle edihed pe\nthermo_modify format float %.15g\n"
        "dump forces all custom 1 forces.dump id fx fy fz\n"
        'dump_modify forces sort id format line "%d %.12g %.12g %.12g"\nrun 0\n'
        'print "$(evdwl) $(ebond) $(eangle) $(edihed)" file energies.txt\n'
    )
    (tmp_path / "in.point").write_text(point)
    run("lmp", "-in", "in.point", folder=tmp_path)
    found = np.array((tmp_path / "energies.txt").read_text().split(), float) * KCAL
    terms = [liquid_chains.of(term) for term in ("bond", "angle", "dihedral")]
    ours = liquid_chains.measure(exclude_bonded=near, fade=0.0)
    assert found[1:] == pytest.approx(terms, rel=1e-5)
    assert found.sum() == pytest.approx(ours.energy, rel=1e-5)
    force = np.loadtxt(tmp_path / "forces.dump", skiprows=9)[:, 1:] * KCAL * 10.0
    np.testing.assert_allclose(force, ours.force, atol=2e-3 * np.abs(ours.force).max())


@pytest.mark.skipif(shutil.which("lmp") is None, reason="LAMMPS is not installed")
def test_the_input_for_lammps_runs_as_it_is(liquid_chains, tmp_path) -> None:
    write_potential(liquid_chains.model, "lammps", tmp_path, temperature=300.0, system=liquid_chains.system)
    script = tmp_path / "in.lammps"
    script.write_text(script.read_text().replace("run             200000", "run             20"))
    run("lmp", "-in", "in.lammps", folder=tmp_path)
    assert (tmp_path / "frames.lammpstrj").is_file()


@pytest.mark.skipif(shutil.which("gmx") is None, reason="GROMACS is not installed")
def test_gromacs_finds_our_energies_of_bonds_angles_and_dihedrals(liquid_chains, tmp_path) -> None:
    written = write_potential(liquid_chains.model, "gromacs", tmp_path, system=liquid_chains.system)
    tables = [path.name for path in written if path.name.startswith(("table_a", "table_b", "table_d"))]
    assert "| dihedral C-D-D-C | `table_d3.xvg` |" in (tmp_path / "README.md").read_text()
    (tmp_path / "md.mdp").write_text(
        "integrator = md\nnsteps = 0\nnstcalcenergy = 1\nnstenergy = 1\nrvdw = 1.0\nrcoulomb = 1.0\nrlist = 1.0\n"
    )
    topology = ["-c", "conf.gro", "-p", "topol.top", "-o", "run.tpr", "-maxwarn", "9"]
    run("gmx", "grompp", "-f", "md.mdp", *topology, folder=tmp_path)
    run("gmx", "mdrun", "-s", "run.tpr", "-tableb", *tables, "-nt", "1", "-g", "run.log", folder=tmp_path)
    lines = (tmp_path / "run.log").read_text().splitlines()
    place = next(k for k, line in enumerate(lines) if "Tab. Bonds" in line)
    names = [lines[place][k : k + 15].strip() for k in range(0, 75, 15)]
    found = dict(zip(names, map(float, lines[place + 1].split()), strict=False))
    assert found["Tab. Bonds"] == pytest.approx(liquid_chains.of("bond"), rel=2e-4)
    assert found["Tab. Angles"] == pytest.approx(liquid_chains.of("angle"), rel=2e-5)
    assert found["Tab. Dih."] == pytest.approx(liquid_chains.of("dihedral"), rel=2e-5)
    text = (tmp_path / "topol.top").read_text()
    assert text.count("[ moleculetype ]") == 2
    assert text.endswith("[ molecules ]\nX 16\nX_2 8\n")


def test_a_term_without_a_table_is_named(liquid_chains, tmp_path) -> None:
    tables = replace(liquid_chains.model, angles={k: v for k, v in liquid_chains.model.angles.items() if k != "A-B-B"})
    with pytest.raises(InputError, match=r"has an? angle A-B-B, and there is no table of it; did you mean"):
        write_potential(tables, "lammps", tmp_path / "out", system=liquid_chains.system)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "program", "message"),
    [
        ({"exclude_bonded": 4}, "lammps", "found exclude_bonded = 4, expected 3 at most"),
        ({"exclude_bonded": "molecule"}, "hoomd", "found exclude_bonded = 'molecule', expected 3 at most"),
        ({}, "magic", "found dihedrals A-B-B-A, .*; magic has none"),
        ({"dihedrals": {}}, "magic", "say of which particles"),
        ({}, "openmm", "are of one system"),
    ],
)
def test_what_a_program_does_not_have_is_refused(liquid_chains, tmp_path, changes, program, message) -> None:
    tables = replace(liquid_chains.model, **changes)
    with pytest.raises(InputError, match=message):
        write_potential(tables, program, tmp_path / "out", masses=dict.fromkeys("ABCD", 50.0))
    assert not (tmp_path / "out").exists()


def test_a_system_without_a_box_or_of_other_types_is_refused(liquid_chains, tmp_path) -> None:
    with pytest.raises(InputError, match="found a system without box"):
        write_potential(liquid_chains.model, "lammps", tmp_path, system=liquid_chains.system.drop_vars("box"))
    other = liquid_chains.system.assign_coords(type=("particle", ["E"] * liquid_chains.system.sizes["particle"]))
    with pytest.raises(InputError, match="particles of type 'E', the tables do not"):
        write_potential(liquid_chains.model, "lammps", tmp_path, system=other)


def test_the_types_of_the_system_are_those_of_its_particles(liquid_chains, tmp_path) -> None:
    write_potential(liquid_chains.model, "lammps", tmp_path, system=liquid_chains.system)
    lines = (tmp_path / "system.data").read_text().split("Atoms  # molecular")[1].split("Bonds")[0].strip().splitlines()
    numbers = [int(line.split()[2]) for line in lines]
    assert ["ABCD"[n - 1] for n in numbers] == topology_of(liquid_chains.system).type.tolist()
    assert "mass            1 40  # A" in (tmp_path / "in.lammps").read_text()
