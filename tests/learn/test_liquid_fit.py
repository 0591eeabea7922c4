"""Fits of models of simple liquids, from a table of a store to answers; the liquids are ideal gases."""

import json
from pathlib import Path

import numpy as np
import pytest

from cgstore.cli.app import main
from cgstore.documents import load_document
from cgstore.errors import InputError
from cgstore.feature_tables import build_table
from cgstore.learn import train_liquid, validate_liquid
from cgstore.learn.folder import UNFINISHED
from cgstore.learn.liquid.model import read_model
from cgstore.learn.liquid.settings import LiquidFit
from cgstore.splits.split import Split

ROOT = Path(__file__).parents[2]

FIT = """
name  = "gases"
split = "split.toml"

[model]
kind       = "liquid_state"
table      = "gases"
components = 3
hidden     = [8]
members    = 2

[training]
epochs = 3
"""
SPLIT = """
[[train]]
system = "gas_0?"
[[validation]]
system = "gas_1[0-2]"
[[heldout]]
system = "gas_1[3-4]"
"""


@pytest.fixture(scope="module")
def gases(add_dataset, tmp_path_factory):
    """A store of fifteen ideal gases with made-up parameters, and their table."""
    store = tmp_path_factory.mktemp("gases")
    rng = np.random.default_rng(1)
    for n in range(15):
        known = {"temperature": 300.0 + n, "parameters": {"sigma": 0.3 + 0.01 * n, "epsilon": 1.0 + 0.1 * n}}
        place = rng.uniform(0.0, 3.0, (4, 40 + 4 * n, 3))
        add_dataset(store, f"gas_{n:02d}/r1/cg", position=place, seed=n, composition={"A": 20, "B": 20}, **known)
    grid = {"pair": "A-B", "r_min": "0.2475 nm", "r_max": "1.4975 nm", "bins": 250}
    columns = {"state": {"feature": "state_point"}, "parameters": {"feature": "parameters"}}
    build_table(
        store,
        {"name": "gases", "datasets": {"kind": "liquid"}, "columns": {**columns, "rdf": {"feature": "rdf", **grid}}},
    )
    return store


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    (folder / "split.toml").write_text(SPLIT)
    (folder / "fit.toml").write_text(FIT)
    return folder


@pytest.fixture(scope="module")
def fitted(gases, files):
    out = files / "fit"
    assert main(["train", str(files / "fit.toml"), "-o", str(out), "--store", str(gases)]) == 0
    return out


def test_the_folder_says_what_the_model_was_made_of(fitted, gases, files):
    card = json.loads((fitted / "card.json").read_text())
    assert card["systems"] == {"train": 10, "validation": 3}
    assert card["table"]["rows"] == 15
    assert not (fitted / UNFINISHED).exists()
    assert {"split.lock", "lock.json", "log.csv"} <= {path.name for path in fitted.iterdir()}
    before = (fitted / "model.npz").stat().st_mtime_ns
    train_liquid(files / "fit.toml", store=gases, out=fitted)
    assert (fitted / "model.npz").stat().st_mtime_ns == before
    again = train_liquid(files / "fit.toml", store=gases, out=files / "again")
    assert (again / "model.npz").read_bytes() == (fitted / "model.npz").read_bytes()


def test_held_out_systems_are_asked_about_by_validation_alone(fitted, gases, capsys):
    assert main(["validate", str(fitted), "--store", str(gases), "--json"]) == 3  # there is nothing to be learned
    answer = json.loads(capsys.readouterr().out)
    assert [row["systems"] for row in answer["rows"]] == [2, 2]
    assert len((fitted / "validation-heldout.csv").read_text().splitlines()) == 3
    with pytest.raises(InputError, match="has no part 'test'"):
        validate_liquid(fitted, store=gases, on="test")


def test_any_dataset_can_be_asked_about(fitted, gases, capsys):
    ask = ["invert", "gas_13/r1/cg", "--pair", "B", "A", "--model", str(fitted), "--store", str(gases)]
    assert main([*ask, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["pair"] == "A-B"
    low, high = answer["sigma_interval"]
    assert low < answer["sigma"] < high
    assert answer["density"] == pytest.approx((40 + 52) / 27.0, rel=1e-4)
    assert "two kinds of particles" in answer["remarks"][0]
    assert main(ask) == 0
    assert "sigma" in capsys.readouterr().out


def test_the_fit_that_is_shipped_is_sound():
    path = ROOT / "catalogs/fits/lennard_jones.toml"
    file = load_document(path, LiquidFit)
    split = Split.load(path.parent / file.split)
    assert split.validation.rules
    assert split.heldout.rules
    about = read_model().about
    assert about["fit"] == file.model_dump(mode="json", exclude={"split"})
    assert about["split_digest"] == split.digest


def test_wrong_files_are_refused(gases, fitted, tmp_path):
    (tmp_path / "split.toml").write_text(SPLIT.replace("[[validation]]", "[[heldout]]"))
    (tmp_path / "fit.toml").write_text(FIT)
    with pytest.raises(InputError, match="no validation part"):
        train_liquid(tmp_path / "fit.toml", store=gases, out=tmp_path / "fit")
    (tmp_path / "fit.toml").write_text(FIT.replace("epochs = 3", "epochs = 4"))
    (tmp_path / "split.toml").write_text(SPLIT)
    with pytest.raises(InputError, match="holds another fit"):
        train_liquid(tmp_path / "fit.toml", store=gases, out=fitted)
