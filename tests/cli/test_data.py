"""Commands on a small store, as a user types them."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from cgstore.cli.app import main

LIQUID, BILAYER = "methane_112k/r1/cg", "dmpc_303k/r1/cg"


@pytest.fixture(scope="module")
def store(tmp_path_factory, add_dataset) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "store"
    add_dataset(folder, LIQUID, temperature=112.0, composition={"CH4": 222})
    add_dataset(folder, BILAYER, kind="bilayer", temperature=303.0, composition={"DMPC": 64}, frames=8, seed=5)
    add_dataset(folder, LIQUID, temperature=112.0, composition={"CH4": 222}, frames=16)
    return folder


@pytest.fixture
def cgstore(store, capsys):
    """Run a command on the store: `(exit code, stdout, stderr)`."""

    def run(*words: object) -> tuple[int, str, str]:
        code = main([*map(str, words), "--store", str(store)])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.out, captured.err

    return run


def answer(outcome: tuple[int, str, str], code: int = 0):
    assert outcome[0] == code, outcome[2]
    return json.loads(outcome[1])


def test_ls_lists_datasets_as_a_table_and_as_objects(cgstore):
    code, out, err = cgstore("ls")
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()[2:]] == [BILAYER, LIQUID]
    rows = answer(cgstore("ls", "--json"))
    assert [row["name"] for row in rows] == [BILAYER, LIQUID]
    promised = "name kind system run level version frames particles time_ps bytes digest temperature composition"
    assert set(promised.split()) <= set(rows[0])
    assert (rows[1]["version"], rows[1]["frames"], rows[1]["temperature"]) == (2, 16, 112.0)


def test_search_takes_values_lists_and_ranges(cgstore):
    def names(*words: str) -> list[str]:
        return [row["name"] for row in answer(cgstore("search", *words, "--json"))]

    assert names("kind=bilayer") == [BILAYER]
    assert names("kind=bilayer,liquid", "temperature=100..200") == [LIQUID]
    assert names("lipid=DMPC") == [BILAYER]
    assert names("kind=surface") == []
    code, out, err = cgstore("search", "kind=liqid")
    assert (code, err) == (0, 'no dataset has kind "liqid"; did you mean "liquid"?\n')
    assert "0 datasets" in out
    assert cgstore("search", "kind=liqid", "--quiet")[2] == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["search", "knd=liquid"], 'did you mean "kind"'),
        (["search", "liquid"], "expected KEY=VALUE"),
        (["search", "temperature=cold"], "expected a number"),
        (["search", "temperature=300..200"], "found the range 300 to 200, expected the lower end first"),
        (["gc", "--older-than", "30"], "--older-than: found '30', expected a time with its unit, as in \"30 days\""),
        (["show", "methane_112k/r1/gc"], f'did you mean "{LIQUID}"'),
        (["show", LIQUID, "--version", "9"], "no version 9; there are 1, 2"),
        (["verify", "no/such/set"], "no/such/set"),
        (["plot", LIQUID, "rdff", "-o", "x.png"], 'did you mean "rdf"'),
        (["distributions", "no/such/set"], "found no dataset"),
    ],
)
def test_a_wrong_question_is_answered_by_exit_code_2_and_what_to_write(cgstore, words, message):
    code, out, err = cgstore(*words)
    assert (code, out) == (2, "")
    assert err.startswith("cgstore: ")
    assert message in err


def test_show_tells_versions_variables_and_units(cgstore):
    shown = answer(cgstore("show", LIQUID, "--json"))
    assert shown["versions"] == [1, 2]
    variables = {row["name"]: row for row in shown["variables"]}
    assert variables["position"]["shape"] == [16, 20, 3]
    assert variables["position"]["unit"] == "nm"
    older = answer(cgstore("show", LIQUID, "--version", 1, "--json"))
    assert older["version"] == 1
    assert older["frames"] == 12
    assert older["digest"] != shown["digest"]
    assert re.search(r"^temperature +112 K$", cgstore("show", LIQUID)[1], re.MULTILINE)
    assert re.search(r"^position +frame, particle, xyz", cgstore("show", LIQUID)[1], re.MULTILINE)


def test_schema_shows_variables_and_search_keys(cgstore, tmp_path, capsys):
    known = answer(cgstore("schema", "--json"))
    assert {"position", "box", "dihedral"} <= {row["name"] for row in known["variables"]}
    assert known["facets"]["temperature"] == [112.0, 303.0]
    assert "112 … 303" in cgstore("schema")[1]
    assert main(["schema", "--json", "--store", str(tmp_path / "none")]) == 0
    assert json.loads(capsys.readouterr().out)["facets"] == {}


def test_verify_is_0_for_a_sound_store_and_1_for_a_damaged_one(cgstore, tmp_path, add_dataset, capsys):
    assert answer(cgstore("verify", "--json"))["problems"] == []
    assert cgstore("verify", LIQUID, "--deep")[0] == 0
    damaged = tmp_path / "damaged"
    add_dataset(damaged, LIQUID)
    shard = next(
        path for path in (damaged / LIQUID / "v000001" / "position").rglob("*") if path.is_file() and path.name == "0"
    )
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.chmod(0o644)
    shard.write_bytes(content)
    assert main(["verify", "--store", str(damaged)]) == 0
    assert main(["verify", "--deep", "--json", "--store", str(damaged)]) == 1
    out = capsys.readouterr().out
    problems = json.loads(out[out.index("{") :])["problems"]
    assert problems
    assert all(LIQUID in problem for problem in problems)
    shard.unlink()
    assert main(["verify", "--store", str(damaged)]) == 1


def test_catalog_writes_and_checks(cgstore, tmp_path):
    folder = tmp_path / "catalogs"
    assert cgstore("catalog", "--check", "--folder", folder)[0] == 1
    written = answer(cgstore("catalog", "--folder", folder, "--json"))["written"]
    assert sorted(Path(path).name for path in written) == ["bilayer.yaml", "catalog.yaml", "liquid.yaml"]
    assert cgstore("catalog", "--check", "--folder", folder)[0] == 0


@pytest.mark.parametrize("words", [["distributions", LIQUID], ["report", "-o", "x"]])
def test_commands_that_work_on_files_refuse_a_url(words, capsys):
    assert main([*words, "--store", "s3://bucket/store"]) == 2
    assert "expected a folder" in capsys.readouterr().err


def test_doctor_says_what_is_there(cgstore, monkeypatch):
    import importlib.metadata

    found = {row["what"]: row for row in answer(cgstore("doctor", "--json"))}
    assert found["zarr"]["found"] == importlib.metadata.version("zarr")
    assert "cores" in found["threads"]["found"]
    version = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.0.1.post0" if name == "zfpy" else version(name))
    code, out, _ = cgstore("doctor")
    assert code == 1
    assert "pip uninstall zfpy" in out


def test_doctor_names_the_engines_or_says_how_to_get_them(cgstore, monkeypatch):
    openmm = pytest.importorskip("openmm")
    rows = {row["what"]: row for row in answer(cgstore("doctor", "--json"))}
    assert rows["openmm"]["found"].startswith(f"{openmm.version.short_version} on ")
    assert rows["openmm"]["found"].endswith("CPU")
    for name, programs in (("gromacs", ["gmx"]), ("lammps", ["lmp", "lmp_serial", "lammps"])):
        assert rows[name]["found"].startswith(name.upper() if any(map(shutil.which, programs)) else "not on PATH")
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setitem(sys.modules, "openmm", None)
    code, out, _ = cgstore("doctor")
    assert code == 0
    for line in (r"openmm +not installed", r"gromacs +not on PATH", r"lammps +not on PATH"):
        assert re.search(line, out)
    assert 'pip install "cgstore[simulate]"' in out
    assert "conda-forge have it as gromacs" in out


def test_distributions_are_computed_once(cgstore):
    first = answer(cgstore("distributions", LIQUID, "--json"))
    assert first[0]["computed"] is True
    assert first[0]["distributions"]["pair"] == 3
    assert answer(cgstore("distributions", LIQUID, "--json"))[0]["computed"] is False
    assert "known already" in cgstore("distributions", LIQUID)[1]


def test_plot_writes_a_picture(cgstore, tmp_path):
    picture = tmp_path / "rdf.png"
    assert cgstore("plot", LIQUID, "rdf", "A-B", "-o", picture)[0] == 0
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_report_writes_a_page(cgstore, tmp_path):
    written = answer(cgstore("report", "-o", tmp_path / "report", "--json"))["written"]
    assert Path(written).is_file()
