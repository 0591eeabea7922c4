import csv
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

import cgstore
from cgstore.averages.spec import load_spec
from cgstore.cli.app import main
from cgstore.documents import load_document
from cgstore.errors import InputError, IntegrityError
from cgstore.frames import Frames
from cgstore.learn import feature_keys
from cgstore.learn.comparison import highest_peak, jackknife
from cgstore.learn.folder import UNFINISHED
from cgstore.learn.potential_file import write_tables
from cgstore.learn.sampler import sample
from cgstore.learn.settings import FitFile
from cgstore.learn.trainset import FILE as TRAINSET
from cgstore.learn.trainset import TrainingSet
from cgstore.learn.validation import validate
from cgstore.provenance import digest_of_file
from cgstore.splits.split import Split
from cgstore.whole_files import write_json


@pytest.fixture
def copy(fitted, tmp_path):
    return shutil.copytree(fitted, tmp_path / "fit")


def _sign(folder, **changed):
    """Give a folder that a test has changed a lock that fits."""
    lock = json.loads((folder / "lock.json").read_text())
    lock["files"] = {name: digest_of_file(folder / name) for name in lock["files"]}
    write_json(folder / "lock.json", lock | changed)


def _learn_again(folder, store):
    """Give a folder whose spec or seed a test has changed the locks of a fit that was made with them."""
    (folder / TRAINSET).unlink()
    split, seed = Split.load(folder / "split.toml"), load_document(folder / "fit.toml", FitFile).seed
    spec = load_spec(folder / "spec.toml")
    TrainingSet.of(cgstore.open_catalog(store), split, features=spec, seed=seed).write(folder)
    _sign(folder)


def _frames(liquid, name):
    return cgstore.open_catalog(liquid.store)[name].open().isel(frame=[50, 150]).load()


def test_the_jackknife_of_a_mean_is_its_standard_error():
    rng = np.random.default_rng(1)
    x, w = rng.normal(size=(40, 3)), np.ones(40)
    mean, error = jackknife(lambda m: m, (x, w))
    np.testing.assert_allclose(mean, x.mean(0))
    np.testing.assert_allclose(error, x.std(0, ddof=1) / np.sqrt(40))


def test_the_jackknife_adds_the_errors_of_independent_groups():
    rng = np.random.default_rng(2)
    a, b = rng.normal(3.0, 0.1, (30, 1)), rng.normal(2.0, 0.2, (50, 1))
    value, error = jackknife(lambda x, y: x * y, (a, np.ones(30)), (b, np.ones(50)))
    expected = np.hypot(2.0 * 0.1 / np.sqrt(30), 3.0 * 0.2 / np.sqrt(50))
    assert value[0] == pytest.approx(6.0, abs=0.3)
    assert error[0] == pytest.approx(expected, rel=0.25)


def test_the_peak_of_noisy_data_is_where_it_is():
    r = np.arange(0.005, 1.0, 0.01)
    g = 1 + 1.7 * np.exp(-(((r - 0.4137) / 0.06) ** 2)) + 0.004 * np.random.default_rng(3).normal(size=100)
    height, position = highest_peak(g, r)
    assert height == pytest.approx(2.7, abs=0.02)
    assert position == pytest.approx(0.4137, abs=0.002)


def test_a_peak_at_the_end_of_the_bins_is_still_a_number():
    r = np.arange(0.005, 1.0, 0.01)
    assert highest_peak(r, r) == (pytest.approx(0.975, abs=0.03), pytest.approx(0.975, abs=0.03))


def test_the_true_potential_agrees_with_the_reference_within_the_noise(liquid, copy):
    write_tables(copy / "potential.nc", {"network": {"A-A": liquid.truth}}, {})
    _sign(copy)
    (row,) = validate(copy, store=liquid.store).rows
    assert row.dataset == "l150/r1/cg"
    assert row.temperature == 150.0
    assert 0.4 < row.chi2 < 2.0
    assert row.rmsd < 1.6 * row.noise_floor
    assert abs(row.peak - row.peak_reference) < 4 * np.hypot(row.peak_error, row.peak_reference_error)


def test_the_true_potential_moves_as_the_reference_and_has_its_pressure(liquid, copy):
    write_tables(copy / "potential.nc", {"network": {"A-A": liquid.truth}}, {})
    _sign(copy)
    answer = validate(copy, store=liquid.store)
    by_name = {row.what: row for row in answer.observables}
    assert list(by_name) == ["pressure", "diffusion coefficient", "acceleration factor"]
    pressure = by_name["pressure"]
    known = sample({"A-A": liquid.truth}, _frames(liquid, "l150/r1/cg"), temperature=150.0, equilibrate=2.0,
                   duration=60.0, every=0.5, seed=9)["pressure"]  # fmt: skip
    assert abs(pressure.value - float(known.mean())) < 5.0 * pressure.error + 30.0
    assert (pressure.unit, np.isnan(pressure.reference)) == ("bar", True)
    diffusion, alpha = by_name["diffusion coefficient"], by_name["acceleration factor"]
    assert diffusion.value > 3.0 * diffusion.error > 0.0
    assert (diffusion.of, diffusion.unit) == ("A", "nm^2/ps")
    # The reference was moved with friction, which slows it down.
    assert alpha.value > 1.0
    assert alpha.error == pytest.approx(
        alpha.value * np.hypot(diffusion.error / diffusion.value, diffusion.reference_error / diffusion.reference)
    )


def test_distances_of_the_true_potential_are_noise_and_those_of_a_wrong_one_are_not(liquid, copy):
    truth = liquid.truth
    softer = type(truth)(truth.r, 0.6 * truth.energy, 0.6 * truth.force)
    write_tables(copy / "potential.nc", {"network": {"A-A": truth}, "ibi": {"A-A": softer}}, {})
    _sign(copy)
    good, bad = validate(copy, store=liquid.store).rows
    for name in ("deviation", "total_variation", "divergence"):
        value, error, noise = (getattr(good, f"{name}{end}") for end in ("", "_error", "_noise"))
        assert 0.0 < value < 2.0 * noise + 3.0 * error
        assert getattr(bad, name) > 2.5 * getattr(bad, f"{name}_noise")


def test_a_wrong_potential_is_told_from_the_reference(liquid, copy):
    truth = liquid.truth
    softer = type(truth)(truth.r, 0.6 * truth.energy, 0.6 * truth.force)
    write_tables(copy / "potential.nc", {"network": {"A-A": softer}}, {})
    _sign(copy)
    answer = validate(copy, store=liquid.store)
    assert not answer.passed
    assert answer.rows[0].chi2 > 5
    assert answer.rows[0].rmsd > 3 * answer.rows[0].noise_floor
    assert "outside the tolerance" in answer.verdict


def test_the_fit_predicts_what_it_has_not_seen_and_the_answer_is_kept(liquid, copy):
    told = []
    answer = validate(copy, store=liquid.store, progress=lambda *step: told.append(step))
    assert answer.passed
    assert [(row.model, row.pair) for row in answer.rows] == [("network", "A-A"), ("ibi", "A-A")]
    assert told[-1] == ("validation", 2, 2)
    kept = json.loads((copy / "validation-heldout.json").read_text())
    assert kept == answer.to_dict()
    assert kept["on"] == "heldout"
    with (copy / "validation-heldout.csv").open(newline="") as file:
        assert [float(row["rmsd"]) for row in csv.DictReader(file)] == [row.rmsd for row in answer.rows]
    with xr.open_dataset(copy / "validation-heldout.nc", engine="scipy") as curves:
        assert curves["rdf"].dims == ("curve", "dataset", "pair", "r")
        assert curves["curve"].values.tolist() == ["reference", "network", "ibi"]
        reference = cgstore.rdf(
            cgstore.open_catalog(liquid.store)["l150/r1/cg"].open(), r_max=0.9, bin_width=0.02
        ).compute()
        mine = curves.sel(curve="reference", dataset="l150/r1/cg")
        np.testing.assert_allclose(mine["rdf"], reference["rdf"])
        np.testing.assert_allclose(mine["rdf_error"], reference["rdf_error"])
        for row in answer.rows:
            difference = curves["rdf"].sel(curve=row.model) - curves["rdf"].sel(curve="reference")
            assert row.rmsd == pytest.approx(float(np.sqrt((difference**2).mean())))


def test_a_spec_without_r_max_is_compared_as_far_as_the_box_allows(liquid, copy):
    (copy / "spec.toml").write_text('[rdf]\nbin_width = "0.02 nm"\n')
    _sign(copy)
    with pytest.raises(InputError, match=r"feature statistics of l130/r1/cg   found key \w+; made with"):
        validate(copy, store=liquid.store)
    _learn_again(copy, liquid.store)
    answer = validate(copy, store=liquid.store)
    np.testing.assert_allclose(answer.curves["r"][-1] + 0.01, 0.92)  # the box is 1.88 nm wide


def test_the_tolerance_decides(liquid, copy):
    text = (copy / "fit.toml").read_text()
    (copy / "fit.toml").write_text(text.replace("tolerance = 0.06", "tolerance = 0.0001"))
    _sign(copy)
    assert not validate(copy, store=liquid.store).passed


def test_the_same_question_has_the_same_answer(liquid, copy):
    one = validate(copy, store=liquid.store, on="train")
    two = validate(copy, store=liquid.store, on="train")
    assert one.to_dict() == two.to_dict()
    assert {row.dataset for row in one.rows} == {"l130/r1/cg", "l170/r1/cg"}


def test_the_error_of_the_rmsd_is_the_scatter_of_repeated_sampling(liquid, copy):
    """The wrong potential again, sampled with other seeds: only the model varies, the reference stays."""
    truth = liquid.truth
    write_tables(
        copy / "potential.nc", {"network": {"A-A": type(truth)(truth.r, 0.8 * truth.energy, 0.8 * truth.force)}}, {}
    )
    found = []
    for seed in range(8):
        text = (liquid.folder / "fit.toml").read_text().replace("seed = 4", f"seed = {seed}")
        (copy / "fit.toml").write_text(text.replace('duration = "20 ps"', 'duration = "10 ps"'))
        _learn_again(copy, liquid.store)
        found.append(validate(copy, store=liquid.store).rows[0])
    scatter = np.std([row.rmsd for row in found], ddof=1)
    stated = np.sqrt(np.mean([row.rmsd_error**2 for row in found]))
    assert 0.5 * scatter < stated < 4 * scatter  # the stated one also holds the error of the reference


def test_a_dataset_that_has_changed_is_refused_with_what_changed(liquid, copy, tmp_path, capsys):
    store = tmp_path / "store"
    shutil.copytree(liquid.store, store)
    more = cgstore.open_catalog(store)["l150/r1/cg"].open()
    frames = Frames(
        more["position"].values[:5],
        more["time"].values[-5:] + 2.5,
        more["step"].values[-5:] + 250,
        more["box"].values[:5],
    )
    liquid.publish(store, "l150/r1/cg", frames, base=1)
    with pytest.raises(InputError, match=r"heldout l150/r1/cg   found version 2, digest .* made with version 1"):
        validate(copy, store=store)
    assert main(["validate", str(copy), "--store", str(store)]) == 2
    said = capsys.readouterr().err
    assert "heldout l150/r1/cg   found version 2" in said
    assert "Traceback" not in said
    shutil.rmtree(store / "l170")
    with pytest.raises(InputError, match="train l170/r1/cg   is not in this store"):
        validate(copy, store=store)
    assert not (copy / "validation-heldout.json").exists()


@pytest.mark.parametrize("which", ["seed", "software of the statistics"])
def test_another_seed_and_statistics_of_another_version_are_refused(liquid, copy, monkeypatch, which):
    if which == "seed":
        (copy / "fit.toml").write_text((copy / "fit.toml").read_text().replace("seed = 4", "seed = 5"))
        _sign(copy)
        line = "seed   found 5; made with 4"
    else:
        monkeypatch.setattr(feature_keys, "VERSION", 99)
        line = "feature statistics   found version 99; made with version"
    with pytest.raises(InputError, match=rf"trainset\.lock: the training set is another one now.*\n  {line}"):
        validate(copy, store=liquid.store)


def test_a_fit_whose_training_set_is_gone_or_edited_is_not_validated(liquid, copy):
    lock = copy / TRAINSET
    lock.write_text(lock.read_text().replace('"version": 1', '"version": 2', 1))
    with pytest.raises(IntegrityError, match=r"trainset\.lock: changed since the fit was finished"):
        validate(copy, store=liquid.store)
    _sign(copy)
    with pytest.raises(IntegrityError, match=r"trainset\.lock: edited by hand or damaged"):
        validate(copy, store=liquid.store)


def test_a_split_that_was_changed_afterwards_is_refused(liquid, copy):
    text = (copy / "split.toml").read_text()
    (copy / "split.toml").write_text(text.replace("l150", "l130"))
    with pytest.raises(IntegrityError, match=r"split\.toml: changed since the fit was finished"):
        validate(copy, store=liquid.store)


def test_a_fit_that_is_not_finished_is_not_validated(liquid, copy):
    (copy / UNFINISHED).write_text("")
    with pytest.raises(InputError, match="not finished"):
        validate(copy, store=liquid.store)


def test_a_part_that_the_split_does_not_have_is_an_error(liquid, copy):
    with pytest.raises(InputError, match="has no part 'validation'; it has train, heldout"):
        validate(copy, store=liquid.store, on="validation")


def test_validating_does_not_need_torch(liquid, copy):
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from cgstore.learn import validate\n"
        f"print(validate({str(copy)!r}, store={str(liquid.store)!r}).passed)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


def test_samples_of_replicas_do_not_depend_on_the_number_of_threads(liquid):
    ds = cgstore.open_catalog(liquid.store)["l150/r1/cg"].open().isel(frame=[0, 100, 200]).load()
    options = {"temperature": 150.0, "equilibrate": 0.5, "duration": 1.0, "every": 0.5, "seed": 3}
    one, two = (sample({"A-A": liquid.truth}, ds, threads=threads, **options) for threads in (1, 2))
    assert one["position"].values.tobytes() == two["position"].values.tobytes()
