"""Entries of the FAIRMD Lipids databank as recipes; the texts here are written after its schema, none is copied."""

import json
import shutil
from pathlib import Path

import pytest

from cgstore.cli.app import main
from cgstore.errors import InputError
from cgstore.fairmd import import_fairmd
from cgstore.recipe import Recipe, load_recipe

DATA = Path(__file__).parent / "data" / "topologies"

README = """
DOI: 10.5281/zenodo.1234567
SOFTWARE: gromacs
SOFTWARE_VERSION: 2021.3
TRJ:
- - run.xtc
TPR:
- - run.tpr
GRO:
- - run.gro
PREEQTIME: 100
TIMELEFTOUT: 60
UNITEDATOM_DICT: null
TYPEOFSYSTEM: lipid bilayer
COMPOSITION:
  POPC:
    NAME: PC
    MAPPING: mappingPOPCexample.yaml
    COUNT:
    - 64
    - 63
  SOL:
    NAME: WAT
    MAPPING: mappingWater.yaml
    COUNT: 4000
  SOD:
    NAME: Na+
    MAPPING: mappingSOD.yaml
    COUNT: 8
PUBLICATION: Someone et al., "A membrane", J. Ex. 1 (2020)
AUTHORS_CONTACT: "Määttä, J\\u00E4"
SYSTEM: 127POPC_4000SOL_303K
FF: Lipid21
FFSOD: Joung-Cheatham
FF_DATE: 2021-05-04
TEMPERATURE: 303.15
NUMBER_OF_ATOMS: 30000
ID: 99
EXPERIMENT:
  ORDERPARAMETER:
    POPC: {}
"""


def imported(folder: Path, text: str = README, **options: Path) -> tuple[Recipe, tuple[str, ...]]:
    """Import a README and load the recipe that comes out."""
    folder.mkdir(exist_ok=True)
    (folder / "README.yaml").write_text(text, encoding="utf-8")
    made = import_fairmd(folder / "README.yaml", **options)
    (folder / "made.toml").write_text(made.text, encoding="utf-8")
    return load_recipe(folder / "made.toml"), made.remarks


def test_what_the_entry_says_stands_in_the_recipe(tmp_path: Path) -> None:
    recipe, remarks = imported(tmp_path)
    system, run = recipe.system, recipe.run[0]
    assert system.name == "fairmd_127popc_4000sol_303k"
    assert system.composition == {"PC": 127, "WAT": 4000, "Na+": 8}
    assert (system.kind, system.temperature, system.doi) == ("bilayer", 303.15, "10.5281/zenodo.1234567")
    assert (system.forcefield, system.software) == ("Lipid21; SOD Joung-Cheatham", "GROMACS 2021.3")
    assert system.authors == ("Määttä, Jä",)
    assert system.parameters == {
        "fairmd_id": 99,
        "publication": 'Someone et al., "A membrane", J. Ex. 1 (2020)',
        "simulated_before": "100 ns",
        "nmrlipids_name_POPC": "PC",
        "nmrlipids_mapping_POPC": "mappingPOPCexample.yaml",
        "nmrlipids_name_SOL": "WAT",
        "nmrlipids_mapping_SOL": "mappingWater.yaml",
        "nmrlipids_name_SOD": "Na+",
        "nmrlipids_mapping_SOD": "mappingSOD.yaml",
    }
    assert (run.topology, run.trajectory) == ("run.tpr", ("run.xtc",))
    # TIMELEFTOUT is absolute: what was simulated before the file begins is not added.
    assert run.discard == 60_000.0
    assert recipe.store.levels == ("atoms",)
    assert any("run.tpr is not beside it" in remark for remark in remarks)


def test_paths_are_relative_to_the_archive(tmp_path: Path) -> None:
    recipe, _ = imported(tmp_path / "aa0", archive=tmp_path)
    assert (recipe.run[0].topology, recipe.run[0].trajectory) == ("aa0/run.tpr", ("aa0/run.xtc",))
    with pytest.raises(InputError, match="outside the archive"):
        import_fairmd(tmp_path / "aa0" / "README.yaml", archive=DATA)


def test_the_composition_is_that_of_the_topology_where_it_is_there(tmp_path: Path) -> None:
    shutil.copy(DATA / "system.tpr", tmp_path / "run.tpr")
    recipe, remarks = imported(tmp_path)
    assert recipe.system.composition == {"MeOH": 2, "SOL": 3, "NA": 1}
    assert any('the README says { PC = 127, WAT = 4000, "Na+" = 8 }' in remark for remark in remarks)


@pytest.mark.parametrize(
    ("old", "new", "topology", "trajectory"),
    [
        ("TPR:\n- - run.tpr", "TPR: run.tpr", "run.tpr", ("run.xtc",)),
        ("TPR:\n- - run.tpr", "TPR: null", "run.gro", ("run.xtc",)),
        ("TPR:\n- - run.tpr", "PSF:\n- - a.psf\n  - https://example.org/a.psf", "a.psf", ("run.xtc",)),
        ("TRJ:\n- - run.xtc", "TRJ:\n- - a.nc\n- - b.nc", "run.tpr", ("a.nc", "b.nc")),
        ("TPR:\n- - run.tpr", "AMBERTOP:\n- a.prmtop", "a.prmtop", ("run.xtc",)),
    ],
)
def test_files_are_found_however_they_are_listed(
    tmp_path: Path, old: str, new: str, topology: str, trajectory: tuple[str, ...]
) -> None:
    recipe, _ = imported(tmp_path, README.replace(old, new))
    assert (recipe.run[0].topology, recipe.run[0].trajectory) == (topology, trajectory)


def test_what_is_not_stated_is_left_out(tmp_path: Path) -> None:
    text = "TRJ: a.xtc\nGRO: a.gro\nCOMPOSITION:\n  SOL: {COUNT: 5}\nDOI: localhost\nTYPEOFSYSTEM: miscellaneous\n"
    recipe, remarks = imported(tmp_path, text)
    assert recipe.system.composition == {"SOL": 5}
    assert (recipe.system.doi, recipe.system.temperature, recipe.run[0].discard) == ("", None, 0.0)
    assert any("a.gro has no masses" in remark for remark in remarks)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no table COMPOSITION"),
        ("- 1\n- 2\n", "no table COMPOSITION"),
        ("a: [", "not a YAML file"),
        ("[" * 20_000, "not a YAML file"),
        ("!!python/object/apply:os.system ['touch owned']", "not a YAML file"),
        ("COMPOSITION: {SOL: {COUNT: 1}}\n", "it names no file as TPR or PSF"),
        ("COMPOSITION: {SOL: {COUNT: 1}}\nTPR: a.tpr\n", "it names no file as TRJ"),
        (README.replace("- - run.xtc", "- - ../run.xtc"), r"TRJ   found '\.\./run\.xtc'"),
        (README.replace("- - run.tpr", "- - /etc/passwd"), "TPR   found '/etc/passwd'"),
        (README.replace("TIMELEFTOUT: 60", "TIMELEFTOUT: soon"), "TIMELEFTOUT   found 'soon', expected a number"),
        (README.replace("COUNT: 4000", "COUNT: many"), r"COMPOSITION\.SOL\.COUNT   found 'many'"),
        ("x" * 300_000, "larger than 256 kB"),
    ],
)
def test_what_is_no_entry_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "README.yaml").write_text(text)
    with pytest.raises(InputError, match=said):
        import_fairmd(tmp_path / "README.yaml")
    assert not list(tmp_path.glob("**/owned"))


def test_aliases_that_would_multiply_cost_nothing(tmp_path: Path) -> None:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]" for k in range(1, 12)]
    text = "\n".join(rows) + README.replace("PUBLICATION: ", "PUBLICATION: *a11 #").replace(
        "SYSTEM: ", "SYSTEM: *a11 #"
    )
    recipe, _ = imported(tmp_path, text)
    assert "publication" not in recipe.system.parameters


# ---- the commands ----


def test_the_commands_write_a_recipe_or_show_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "README.yaml").write_text(README)
    written = tmp_path / "a.toml"
    assert main(["recipe", "fairmd", str(tmp_path / "README.yaml"), "-o", str(written)]) == 0
    captured = capsys.readouterr()
    assert captured.out.strip() == str(written)
    assert captured.err.startswith("check: run.tpr is not beside it")
    assert load_recipe(written).system.parameters["fairmd_id"] == 99
    assert main(["recipe", "fairmd", str(tmp_path / "README.yaml"), "-o", str(written)]) == 2
    assert "it exists; give another name" in capsys.readouterr().err
    assert main(["recipe", "fairmd", str(tmp_path / "README.yaml"), "--json", "--quiet"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert json.loads(captured.out)["recipe"] == written.read_text()


def test_a_draft_is_written_and_what_it_lacks_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(DATA / "system.gsd", tmp_path / "system.gsd")
    (tmp_path / "broken.xtc").write_bytes(b"no")
    assert main(["recipe", "new", str(tmp_path), "-o", str(tmp_path / "new.toml")]) == 0
    captured = capsys.readouterr()
    assert "left out: " in captured.err
    assert "broken.xtc" in captured.err
    assert load_recipe(tmp_path / "new.toml").run[0].topology == "system.gsd"
    assert main(["recipe", "new", str(tmp_path / "none")]) == 2
    assert "no such folder" in capsys.readouterr().err
    assert main(["recipe", "new", str(tmp_path), "-o", str(tmp_path / "another" / "new.toml")]) == 0
    assert (tmp_path / "another" / "new.toml").read_bytes() == (tmp_path / "new.toml").read_bytes()
    assert main(["recipe", "new", str(tmp_path), "-o", str(tmp_path / "new.toml")]) == 2
    assert "it exists" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["new", "fairmd"])
def test_commands_on_recipes_have_help_and_the_shared_options(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipe", command, "--help"]) == 0
    text = capsys.readouterr().out
    assert all(option in text for option in ("--store", "--json", "--quiet", "--debug", "--archive"))
