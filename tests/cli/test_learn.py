"""Train, validate and export from the command line, on thinned methane and a network of eight neurons."""

import json
import os
import shutil
from pathlib import Path

import pytest

from cgstore.cli.app import main

ROOT = Path(__file__).parents[2]
FIT = """
name  = "methane"
split = "../splits/methane.toml"
spec  = "../specs/liquid.toml"
seed  = 1
[potential]
cutoff = "0.9 nm"
spacing = "0.005 nm"
features = 6
hidden = [8]
[sampling]
replicas = 4
equilibrate = "0.5 ps"
duration = "1 ps"
[training]
rounds = 2
iterations = 3
[validation]
tolerance = 10.0
equilibrate = "0.5 ps"
duration = "2 ps"
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """Make a folder with a store of methane beads at three temperatures, a fit file, and a fit made of them."""
    folder = tmp_path_factory.mktemp("project")
    for part in ("ingest/recipes", "ingest/mappings", "catalogs/splits", "catalogs/specs"):
        shutil.copytree(ROOT / part, folder / part)
    for recipe in (folder / "ingest" / "recipes").glob("methane_*.toml"):
        text = recipe.read_text().replace("stride     = 1", "stride     = 8")
        recipe.write_text(text.replace('levels    = ["atoms", "cg"]', 'levels    = ["cg"]'))
    (folder / "catalogs" / "fits").mkdir()
    (folder / "catalogs" / "fits" / "methane.toml").write_text(FIT)
    recipes = [f"ingest/recipes/methane_{temperature}k.toml" for temperature in (112, 130, 150)]
    here = Path.cwd()
    os.chdir(folder)
    try:
        assert main(["ingest", *recipes, "--archive", str(ROOT / "archive"), "--quiet"]) == 0
        assert main(["train", "catalogs/fits/methane.toml", "-o", "fits/methane", "--quiet"]) == 0
    finally:
        os.chdir(here)
    return folder


@pytest.fixture
def own_project(project, tmp_path, monkeypatch) -> Path:
    folder = Path(shutil.copytree(project, tmp_path / "own"))
    monkeypatch.chdir(folder)
    return folder


def answer(capsys) -> dict:
    return json.loads(capsys.readouterr().out)


def test_a_finished_fit_is_left_as_it_is(own_project, capsys):
    before = {path: path.read_bytes() for path in (own_project / "fits").rglob("*") if path.is_file()}
    assert main(["train", "catalogs/fits/methane.toml", "-o", "fits/methane", "--json"]) == 0
    assert answer(capsys) == {"fit": "fits/methane"}
    assert {path: path.read_bytes() for path in (own_project / "fits").rglob("*") if path.is_file()} == before


def test_validate_is_0_within_the_tolerance_and_3_outside(own_project, capsys):
    assert main(["validate", "fits/methane", "--json"]) == 0
    loose = answer(capsys)
    assert loose["passed"] is True
    assert {row["dataset"] for row in loose["rows"]} == {"methane_130k/r1/cg"}
    assert all(row["rmsd_error"] > 0 for row in loose["rows"])
    file = own_project / "catalogs" / "fits" / "methane.toml"
    file.write_text(file.read_text().replace("tolerance = 10.0", "tolerance = 1e-6"))
    assert main(["train", str(file), "-o", "fits/strict", "--quiet"]) == 0
    capsys.readouterr()
    assert main(["validate", "fits/strict"]) == 3
    out = capsys.readouterr().out
    assert "outside the tolerance of 1e-06 on heldout data" in out
    assert "methane_130k/r1/cg  CH4-CH4  network" in out


def test_a_potential_leaves_with_the_masses_of_its_beads(own_project, capsys):
    assert main(["potential", "fits/methane", "--to", "gromacs", "-o", "out/gromacs", "--json"]) == 0
    assert all(Path(path).is_file() for path in answer(capsys)["written"])
    assert main(["potential", "fits/methane", "--to", "lammps", "-o", "out/lammps"]) == 0
    script = Path("out/lammps/in.lammps").read_text()
    assert "16.04" in script
    assert (
        main(["potential", "fits/methane", "--to", "openmm", "-o", "out/openmm", "--dataset", "methane_150k/r1/cg"])
        == 0
    )
    assert "temperature, time_step = 150 * unit.kelvin" in Path("out/openmm/run.py").read_text()
    for program in ("hoomd", "votca", "magic"):
        assert main(["potential", "fits/methane", "--to", program, "-o", f"out/{program}"]) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "nothing.toml", "-o", "x"], "no such file"),
        (["train", "catalogs/fits/methane.toml", "-o", "store"], "holds another fit or other files"),
        (["validate", "nothing"], "no fit"),
        (["validate", "fits/methane", "--on", "validation"], "has no part"),
        (["validate", "fits/methane", "--on", "elsewhere"], "Invalid value"),
        (["validate", "fits/methane", "--store", "nowhere"], "no such store"),
        (["potential", "fits/methane", "--to", "gromax", "-o", "x"], 'did you mean "gromacs"'),
        (["potential", "fits/methane", "--to", "gromacs", "-o", "x", "--curve", "ibi"], "no potential 'ibi'"),
    ],
)
def test_a_wrong_word_is_exit_code_2_and_one_message(own_project, capsys, words, message):
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("cgstore: ")
    assert message in captured.err


def test_a_leak_is_refused(own_project, capsys):
    split = own_project / "catalogs" / "splits" / "methane.toml"
    split.write_text(split.read_text() + '\n[[train]]\ndataset = "methane_130k/r1/cg"\n')
    assert main(["train", "catalogs/fits/methane.toml", "-o", "fits/leak"]) == 2
    assert "methane_130k/r1/cg" in capsys.readouterr().err
    assert not (own_project / "fits" / "leak").exists()
