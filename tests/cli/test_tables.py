"""`cgstore table`: built from a file, listed, shown and explained, for people and as JSON."""

import json
import sys
from pathlib import Path

import pytest

from cgstore.cli.app import main
from cgstore.feature_tables import registry

SPEC = """
name = "gas"
title = "A gas"
[datasets]
kind = "liquid"
temperature = "290..310"
[columns.state]
feature = "state_point"
[columns.rdf]
feature = "rdf"
pair = "A-B"
bins = 30
[columns.force_field]
feature = "parameters"
"""
OWN = """
from cgstore.feature_tables import Column, Feature, register

register(
    Feature(
        name="mean_mass",
        version=1,
        compute=lambda source, parameters: {"{}": source.ds["mass"].mean()},
        columns=lambda parameters: (Column("{}", units="u"),),
    )
)
"""


@pytest.fixture
def store(add_dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_known", {})
    monkeypatch.setattr(sys, "path", [*sys.path])
    add_dataset(tmp_path / "store", "a/r1/cg", frames=4, temperature=300.0, parameters={"sigma": 0.3})
    add_dataset(tmp_path / "store", "b/r1/cg", frames=4, temperature=305.0, seed=2)
    add_dataset(tmp_path / "store", "c/r1/cg", frames=4, temperature=350.0, seed=3)
    (tmp_path / "gas.toml").write_text(SPEC)
    return tmp_path / "store"


def run(capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    assert main(["table", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_from_a_spec_to_an_answer(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    built = run(capsys, "build", "gas.toml")
    assert (built["version"], built["rows"], built["computed"], list(built["failures"])) == (
        1,
        2,
        6,
        ["b/r1/cg force_field"],
    )
    (listed,) = run(capsys, "ls")
    assert (listed["name"], listed["rows"], listed["failed"]) == ("gas", 2, 1)
    shown = {column["variable"]: column for column in run(capsys, "show", "gas")["columns"]}
    assert (shown["temperature"]["lowest"], shown["temperature"]["highest"]) == (300, 305)
    assert shown["rdf"]["dims"] == {"rdf_r": 30}
    assert shown["force_field"]["known"] == 1
    explained = run(capsys, "explain", "gas")
    assert explained["states"] == {"current": 5, "failed": 1}
    assert "found no numbers" in explained["values"][0]["why"]


def test_people_read_lines_and_remarks_go_elsewhere(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", "ls"]) == 0
    assert "no tables" in capsys.readouterr().out
    assert main(["table", "build", "gas.toml"]) == 0
    answer = capsys.readouterr()
    assert answer.out == "gas v1, published: 2 rows, 6 values computed, 0 known, 1 without a value\n"
    assert answer.err.startswith("no value: b/r1/cg force_field: found no numbers")
    for words, expected in (("ls", "A gas"), ("show gas", "number_density"), ("explain gas", "failed  b/r1/cg")):
        assert main(["table", *words.split()]) == 0
        assert expected in capsys.readouterr().out


def test_own_features_come_from_a_module_also_in_several_processes(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("own_features.py").write_text(OWN)
    Path("gas.toml").write_text(SPEC + '[columns.m]\nfeature = "mean_mass"\n')
    assert main(["table", "build", "gas.toml"]) == 2
    assert "--import MODULE" in capsys.readouterr().err
    built = run(capsys, "build", "gas.toml", "--jobs", "2", "--import", "own_features")
    assert built["computed"] == 8
    assert {"name": "mean_mass", "version": 1}.items() <= next(
        item for item in run(capsys, "features", "--import", "own_features") if item["name"] == "mean_mass"
    ).items()
    assert main(["table", "features", "--import", "no_such_module"]) == 2


def test_mistakes_are_one_message(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ("build none.toml", "show none", "explain none", "show gas --version 3"):
        assert main(["table", *words.split()]) in (1, 2)
        assert capsys.readouterr().err.startswith("cgstore: ")


def test_a_table_without_a_single_value_is_a_failure(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("gas.toml").write_text(SPEC.split("[columns.state]")[0] + '[columns.b]\nfeature = "bonded"\n')
    assert main(["table", "build", "gas.toml"]) == 1
    assert "found no bonds" in capsys.readouterr().err
