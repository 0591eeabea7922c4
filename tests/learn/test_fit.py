import csv
import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from cgstore.averages.spec import load_spec
from cgstore.catalog import open_catalog
from cgstore.cli.app import main
from cgstore.documents import load_document
from cgstore.errors import InputError, IntegrityError
from cgstore.features import kept
from cgstore.frames import Frames
from cgstore.learn import Loader, feature_keys, fit
from cgstore.learn.fit import train
from cgstore.learn.folder import UNFINISHED, read_lock, stage_of
from cgstore.learn.liquid.settings import is_liquid_fit
from cgstore.learn.log import Log
from cgstore.learn.potential_file import read_tables
from cgstore.learn.settings import FitFile
from cgstore.learn.validation import validate
from cgstore.splits.split import Split, freeze

CATALOGS = Path(__file__).parents[2] / "catalogs"


FITS = [path for path in sorted((CATALOGS / "fits").glob("*.toml")) if not is_liquid_fit(path)]


@pytest.mark.parametrize("path", FITS, ids=lambda path: path.stem)
def test_the_fits_that_are_shipped_are_sound(path):
    file = load_document(path, FitFile)
    split = Split.load(path.parent / file.split)
    load_spec(path.parent / file.spec)
    assert file.name == path.stem
    assert split.heldout.rules
    assert file.potential.kind == "molecular" or file.baseline.dataset in {rule.pattern for rule in split.train.rules}


def _files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _again(liquid, tmp_path, **replaced):
    """The files of the fit in another folder, some texts replaced."""
    for name in ("fit.toml", "split.toml", "spec.toml"):
        text = (liquid.folder / name).read_text()
        for old, new in replaced.items():
            text = text.replace(old, new)
        (tmp_path / name).write_text(text)
    return tmp_path / "fit.toml"


def test_the_fit_folder_holds_inputs_results_and_what_they_were_made_of(liquid, fitted):
    assert {path.name for path in fitted.iterdir()} >= {
        *("fit.toml", "split.toml", "split.lock", "spec.toml", "trainset.lock", "lock.json", "log.csv"),
        *("weights.npz", "potential.nc", "training.nc"),
    }
    assert not [path.name for path in fitted.iterdir() if path.name.startswith(".")]
    assert (fitted / "fit.toml").read_bytes() == liquid.fit_file.read_bytes()
    lock = json.loads((fitted / "lock.json").read_text())
    assert set(lock["files"]) >= {"fit.toml", "split.lock", "trainset.lock", "weights.npz", "potential.nc"}
    learned = json.loads((fitted / "trainset.lock").read_text())
    assert [row["name"] for row in learned["parts"]["train"]] == ["l130/r1/cg", "l170/r1/cg"]
    assert [row["frames"] for row in learned["parts"]["train"]] == [400, 400]
    assert [set(row) for row in learned["parts"]["heldout"]] == [{"name", "version", "digest"}]
    assert learned["parts"]["heldout"][0]["name"] == "l150/r1/cg"
    assert all(len(row["digest"]) == 64 for rows in learned["parts"].values() for row in rows)
    assert learned["seed"] == 4
    assert learned["split"] == Split.load(liquid.folder / "split.toml").digest
    assert set(learned["software"]) >= {"cgstore", "torch", "numpy"}
    for name, key in learned["features"]["statistics"]["keys"].items():
        assert key in [item.key for item in kept(liquid.store / name)]


def test_the_weights_are_plain_arrays(fitted):
    with np.load(fitted / "weights.npz", allow_pickle=False) as kept:
        assert {kept[name].dtype for name in kept.files} == {np.dtype(np.float64)}


def test_the_log_has_a_row_per_step_and_the_loss_falls(fitted):
    with (fitted / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    drawn = [row for row in rows if row["drawn"] == "1"]
    assert [int(row["round"]) for row in drawn] == list(range(5))
    loss = [float(row["loss l130/r1/cg"]) + float(row["loss l170/r1/cg"]) for row in drawn]
    assert min(loss) < loss[0] / 10
    best = max(n for n, row in enumerate(drawn) if row["best"] == "1")
    assert loss[best] == min(loss)
    with xr.open_dataset(fitted / "training.nc", engine="scipy") as curves:
        np.testing.assert_allclose(curves["loss"], curves["part_loss"].sum("part"))
        assert curves.sizes["iteration"] == len(rows)
        assert (curves["effective"] > 0).all()


def test_both_potentials_come_back_as_tables_near_the_true_one(liquid, fitted):
    truth = liquid.truth
    well = (truth.r > 0.34) & (truth.r < 0.6)
    for curve in ("network", "ibi"):
        table = read_tables(fitted, curve)["A-A"]
        assert np.array_equal(table.r, truth.r)
        assert np.abs(table.energy - truth.energy)[well].max() < 0.5  # kJ/mol, of a well of 1
    with pytest.raises(InputError, match="there are network, ibi"):
        read_tables(fitted, "imc")


def test_the_same_fit_again_is_left_as_it_is(liquid, fitted):
    before = {name: (fitted / name).stat().st_mtime_ns for name in _files(fitted)}
    assert train(liquid.fit_file, store=liquid.store, out=fitted) == fitted
    assert before == {name: (fitted / name).stat().st_mtime_ns for name in _files(fitted)}


def test_another_fit_is_not_written_over_one_that_is_there(liquid, fitted, tmp_path):
    before = _files(fitted)
    with pytest.raises(InputError, match="holds another fit"):
        train(_again(liquid, tmp_path, **{"seed = 4": "seed = 5"}), store=liquid.store, out=fitted)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="holds another fit or other files"):
        train(liquid.fit_file, store=liquid.store, out=tmp_path / "mine")
    assert _files(fitted) == before
    assert _files(tmp_path / "mine") == {"thesis.tex": b"years of work"}


@pytest.mark.parametrize(("name", "after"), [("network", 2), ("ibi", 1)])
def test_a_fit_that_was_interrupted_says_so_and_goes_on_to_the_same_result(liquid, fitted, tmp_path, name, after):
    folder = tmp_path / "fit"

    def interrupt(stage, done, total):
        if (stage, done) == (name, after):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(liquid.fit_file, store=liquid.store, out=folder, progress=interrupt)
    assert (folder / UNFINISHED).is_file()
    assert stage_of(folder) != "finished"
    assert not (folder / "lock.json").exists()
    assert not [path for path in folder.iterdir() if path.name.startswith(".") and "checkpoint" not in path.name]
    with pytest.raises(InputError, match=r"no fit|not finished"):
        read_lock(folder)

    train(liquid.fit_file, store=liquid.store, out=folder)
    assert stage_of(folder) == "finished"
    for result in ("weights.npz", "potential.nc", "training.nc"):
        assert (folder / result).read_bytes() == (fitted / result).read_bytes()
    strip = lambda path: [  # noqa: E731 - all columns but the seconds
        {key: value for key, value in row.items() if key != "seconds"}
        for row in csv.DictReader(path.read_text().splitlines())
    ]
    assert strip(folder / "log.csv") == strip(fitted / "log.csv")


def _grow(liquid, store, name):
    """Append five frames to a dataset of a store."""
    ds = open_catalog(store)[name].open().isel(frame=slice(-5, None)).load()
    frames = Frames(ds["position"].values, ds["time"].values + 2.5, ds["step"].values + 250, ds["box"].values)
    liquid.publish(store, name, frames, base=1)


def _double(liquid, store, name, new):
    """Publish the frames of a dataset, shifted a little, as another system."""
    ds = open_catalog(store)[name].open().load()
    moved = ds["position"].values + np.float32(0.1)
    frames = Frames(moved, ds["time"].values, ds["step"].values, ds["box"].values)
    liquid.publish(store, new, frames, temperature=ds.attrs["temperature"])


def _interrupted(fit_file, store, folder):
    """Begin a fit and stop it after its first round."""

    def interrupt(stage, done, total):
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(fit_file, store=store, out=folder, progress=interrupt)


def test_a_fit_does_not_go_on_with_other_data(liquid, tmp_path, capsys):
    store, folder = shutil.copytree(liquid.store, tmp_path / "store"), tmp_path / "fit"
    _interrupted(liquid.fit_file, store, folder)
    before = _files(folder)
    _grow(liquid, store, "l170/r1/cg")
    digests = [open_catalog(each)["l170/r1/cg"].metadata["digest"][:12] for each in (store, liquid.store)]
    assert main(["train", str(liquid.fit_file), "-o", str(folder), "--store", str(store)]) == 2
    said = capsys.readouterr().err
    line = f"train l170/r1/cg   found version 2, digest {digests[0]}; made with version 1, digest {digests[1]}"
    assert line in said
    assert "Traceback" not in said
    assert _files(folder) == before


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("seed = 4", "seed = 5", "fit.toml: seed   was 4, is 5"),
        ('"0.02 nm"', '"0.03 nm"', "spec.toml: rdf.bin_width   was 0.02, is 0.03"),
        ("l150", "l15*", "split.toml: heldout[0].dataset   was 'l150/r1/cg', is 'l15*/r1/cg'"),
    ],
)
def test_a_fit_does_not_go_on_with_other_files(liquid, fitted, tmp_path, old, new, line):
    with pytest.raises(InputError, match="holds another fit") as caught:
        train(_again(liquid, tmp_path, **{old: new}), store=liquid.store, out=fitted)
    assert line in str(caught.value)


def test_a_fit_does_not_go_on_with_statistics_of_another_version(liquid, fitted, monkeypatch):
    monkeypatch.setattr(feature_keys, "VERSION", 99)
    with pytest.raises(InputError, match="feature statistics   found version 99; made with version 1"):
        train(liquid.fit_file, store=liquid.store, out=fitted)


def test_a_fit_does_not_go_on_with_another_plan(liquid, tmp_path, monkeypatch):
    folder = tmp_path / "fit"
    _interrupted(liquid.fit_file, liquid.store, folder)
    monkeypatch.setattr(fit, "Loader", partial(Loader, streams=4))
    with pytest.raises(InputError, match="loader streams   found 4; made with 8"):
        train(liquid.fit_file, store=liquid.store, out=folder)


@pytest.mark.parametrize("frozen", [True, False])
def test_the_fit_keeps_what_its_split_meant_when_it_began(liquid, tmp_path, frozen):
    """A system comes that the split would take in: the fit is about those it was made from."""
    store, folder = shutil.copytree(liquid.store, tmp_path / "store"), tmp_path / "fit"
    text = {"rounds = 5": "rounds = 2", "iterations = 2": "iterations = 0", 'duration = "20 ps"': 'duration = "2 ps"'}
    text['[[train]]\ndataset = "l130/r1/cg"\n[[train]]\ndataset = "l170/r1/cg"'] = '[[train]]\nsystem = "l1[37]*"'
    fit_file = _again(liquid, tmp_path, **text, l150="l15*")
    if frozen:
        freeze(tmp_path / "split.toml", open_catalog(store))
    train(fit_file, store=store, out=folder)
    if frozen:
        assert (folder / "split.lock").read_bytes() == (tmp_path / "split.lock").read_bytes()
    for name, new in (("l130/r1/cg", "l135/r1/cg"), ("l150/r1/cg", "l155/r1/cg")):
        _double(liquid, store, name, new)
    split = Split.load(folder / "split.toml")
    assert [member.name for member in split.train.members(open_catalog(store))] == ["l130/r1/cg", "l170/r1/cg"]
    assert [row.dataset for row in validate(folder, store=store).rows if row.model == "network"] == ["l150/r1/cg"]
    if frozen:
        assert train(fit_file, store=store, out=folder) == folder
        return
    with pytest.raises(InputError, match="train l135/r1/cg   was no part of it; found version 1"):
        train(fit_file, store=store, out=folder)


def test_training_does_not_read_the_held_out_positions(liquid, tmp_path):
    store = tmp_path / "store"
    shutil.copytree(liquid.store, store)
    chunks = [path for path in (store / "l150/r1/cg/v000001/position").rglob("*") if path.is_file()]
    data = [path for path in chunks if path.name != "zarr.json"]
    assert data
    for path in data:
        path.write_bytes(b"no fit may see this")
    fit_file = _again(liquid, tmp_path, **{"rounds = 5": "rounds = 2"})
    assert stage_of(train(fit_file, store=store, out=tmp_path / "fit")) == "finished"


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('[[heldout]]\ndataset = "l150/r1/cg"', '[[heldout]]\ndataset = "l130/r1/cg"', "the same run at the same time"),
        ('dataset = "l170/r1/cg"', 'dataset = "l1[57]0/r1/cg"', "the same run at the same time"),
        ('dataset = "l170/r1/cg"', 'dataset = "l180/r1/cg"', 'did you mean "l1'),
        (
            'dataset = "l130/r1/cg"\n            iter',
            'dataset = "l150/r1/cg"\n            iter',
            "not in the train part",
        ),
        ("features = 12", "featurs = 12", 'did you mean "features"'),
        ('cutoff = "0.8 nm"', "cutoff = 0.8", "expected a length with its unit"),
        ('cutoff = "0.8 nm"', 'cutoff = "1 nm"', "half the smallest box height"),
        ('every = "0.25 ps"', 'every = "9 ps"', "time_step <= every <= duration"),
        ('split = "split.toml"', 'split = "splt.toml"', "no such file"),
    ],
)
def test_a_mistake_is_found_before_any_folder_is_made(liquid, tmp_path, old, new, reason):
    with pytest.raises(ValueError, match=reason.replace("[", r"\[")):
        train(_again(liquid, tmp_path, **{old: new}), store=liquid.store, out=tmp_path / "fit")
    assert not (tmp_path / "fit").exists()


def test_a_damaged_fit_is_refused(fitted, tmp_path):
    shutil.copytree(fitted, tmp_path / "fit")
    weights = tmp_path / "fit" / "weights.npz"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(IntegrityError, match=r"weights\.npz: changed"):
        read_lock(tmp_path / "fit")
    weights.unlink()
    with pytest.raises(IntegrityError, match="the file is gone"):
        read_lock(tmp_path / "fit")


def test_a_folder_that_is_no_fit_is_named(tmp_path):
    with pytest.raises(InputError, match="no fit; make one with cgstore train"):
        read_lock(tmp_path)


def test_a_block_of_time_of_one_run_can_be_learned_and_another_watched(liquid, tmp_path):
    (tmp_path / "split.toml").write_text(
        'gap = "20 ps"\n[[train]]\ndataset = "l130/r1/cg"\nstop = "100 ps"\n'
        '[[validation]]\ndataset = "l130/r1/cg"\nstart = "130 ps"\n[[heldout]]\ndataset = "l150/r1/cg"\n'
    )
    for name in ("fit.toml", "spec.toml"):
        (tmp_path / name).write_text((liquid.folder / name).read_text().replace("rounds = 5", "rounds = 2"))
    folder = train(tmp_path / "fit.toml", store=liquid.store, out=tmp_path / "fit")
    assert Log(folder / "log.csv", []).rows
