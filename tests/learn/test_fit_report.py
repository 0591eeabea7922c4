"""Reports and pictures of fits: what was learned from what, and the verdict, as the fit folder says."""

import html
import json
import re
import shutil

import numpy as np
import pytest
import xarray as xr

from cgstore.averages.keeping import kept_distributions
from cgstore.averages.spec import load_spec
from cgstore.catalog import open_catalog
from cgstore.errors import InputError
from cgstore.learn.validation import validate
from cgstore.plot import figure_of
from cgstore.report import write_fit_page, write_report
from cgstore.report.fits import _with_pmf
from cgstore.units import BOLTZMANN


@pytest.fixture(scope="module")
def validated(fitted, liquid, tmp_path_factory):
    """A copy of the fit with its validation."""
    folder = shutil.copytree(fitted, tmp_path_factory.mktemp("fits") / "liquid")
    validate(folder, store=liquid.store)
    return folder


def _text(page):
    """Return the words of a page, blanks as one."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page.read_text(encoding="utf-8"))).split())


def test_a_fit_is_shown_with_what_it_learned_from_and_what_it_never_read(fitted, liquid, tmp_path):
    text = _text(write_report(liquid.store, tmp_path, fits=[fitted]))
    assert "learned from l130/r1/cg, l170/r1/cg. Held out, and read by no part of the training: l150/r1/cg." in text
    assert "Not validated yet" in text
    lock, learned = (json.loads((fitted / name).read_text()) for name in ("lock.json", "trainset.lock"))
    for row in [row for rows in learned["parts"].values() for row in rows]:
        assert f"{row['name']} version {row['version']}, digest {row['digest']}" in text
    assert learned["split"] in text
    assert lock["files"]["weights.npz"] in text
    assert re.search(r"time of the training \d+ s, \d+ steps", text)


def test_the_verdict_and_every_row_of_the_validation_are_shown_with_errors(validated, liquid, tmp_path):
    page = write_report(liquid.store, tmp_path, fits=[validated])
    text = _text(page)
    answer = json.loads((validated / "validation-heldout.json").read_text())
    assert answer["verdict"] in text
    assert f"{'within' if answer['passed'] else 'outside'} tolerance The network" in text
    for row, model in zip(answer["rows"], ("network", "IBI at 130 K"), strict=True):
        rmsd = f"{row['rmsd']:.4f} ± {row['rmsd_error']:.4f}"
        assert f"l150/r1/cg A-A {model} {rmsd} {row['noise_floor']:.4f} {row['chi2']:.2f}" in text
    pictures = re.findall(r'alt="([^"]+)"', page.read_text())
    assert pictures[:3] == ["validation of l150/r1/cg", "potential of liquid", "training of liquid"]


def test_distances_and_observables_are_shown_with_their_errors_and_noise(validated, liquid, tmp_path):
    text = _text(write_report(liquid.store, tmp_path, fits=[validated]))
    answer = json.loads((validated / "validation-heldout.json").read_text())
    for row in answer["rows"]:
        distance = f"{row['total_variation']:.4f} ± {row['total_variation_error']:.4f}"
        assert f"{distance} ({row['total_variation_noise']:.4f})" in text
        assert f"({1000.0 * row['divergence_noise']:.2f})" in text
    assert "network pressure" in text
    assert "network acceleration factor of A" in text
    assert "Held-out beside training data" not in text


def test_the_page_of_a_fit_shows_its_parts_side_by_side_and_only_its_data(validated, liquid, tmp_path):
    folder = shutil.copytree(validated, tmp_path / "fit")
    validate(folder, store=liquid.store, on="train")
    page = write_fit_page(liquid.store, folder)
    assert page == folder / "validation.html"
    text = _text(page)
    assert (
        "Held-out beside training data distribution model held-out: rmsd (noise) χ² TV (noise) KL / 10⁻³ (noise)"
        in text
    )
    assert "training: rmsd (noise)" in text
    assert "Validation of liquid" in text
    assert 'src="http' not in page.read_text()
    for name in ("l130/r1/cg", "l150/r1/cg", "l170/r1/cg"):
        assert name in text


def test_training_data_stand_after_held_out_data_and_replace_nothing(validated, liquid, tmp_path):
    folder = shutil.copytree(validated, tmp_path / "fit")
    answer = validate(folder, store=liquid.store, on="train")
    text = _text(write_report(liquid.store, tmp_path / "out", fits=[folder]))
    assert text.index("Validation, held-out data") < text.index("Validation, training data")
    assert answer.verdict in text
    assert json.loads((folder / "validation-heldout.json").read_text())["verdict"] in text


def test_a_model_that_disagrees_is_called_so(validated, liquid, tmp_path):
    folder = shutil.copytree(validated, tmp_path / "fit")
    answer = json.loads((folder / "validation-heldout.json").read_text())
    (folder / "validation-heldout.json").write_text(json.dumps(answer | {"passed": False}))
    page = write_report(liquid.store, tmp_path / "out", fits=[folder])
    assert '<span class="verdict differs">outside tolerance</span>' in page.read_text()


def test_the_potential_of_mean_force_stands_beside_the_potentials(fitted, liquid):
    with xr.open_dataset(fitted / "potential.nc", engine="scipy") as ds:
        curves = ds.load()
    catalog = open_catalog(liquid.store)
    train = json.loads((fitted / "trainset.lock").read_text())["parts"]["train"]
    shown = _with_pmf(curves, fitted, catalog, train, {"ibi": "IBI", "network": "network"})
    assert shown["curve"].values.tolist() == ["network", "IBI", "PMF at 130 K", "PMF at 170 K"]
    np.testing.assert_array_equal(shown["energy"].sel(curve="network"), curves["energy"].sel(curve="network"))
    entry = catalog["l170/r1/cg"]
    g = kept_distributions(entry.path, entry.open(), load_spec(fitted / "spec.toml"))[0]["rdf"].to_dataset()
    energy = shown["energy"].sel(curve="PMF at 170 K", pair="A-A")
    assert np.isnan(energy.sel(r=slice(0.0, 0.25))).all()
    at = g.sel(pair="A-A", r=0.55, method="nearest")
    expected = -BOLTZMANN * 170 * np.log(at["rdf"])
    assert abs(float(energy.sel(r=at["r"], method="nearest")) - float(expected)) < 0.1  # between two bins
    error = shown["energy_error"].sel(pair="A-A")
    assert error.sel(curve=["network", "IBI"]).isnull().all()
    assert ((error.sel(curve="PMF at 170 K") > 0) == energy.notnull()).all()
    names = [line.get_label() for line in figure_of(shown, "potential").axes[0].lines]
    assert {"network", "IBI", "PMF at 130 K", "PMF at 170 K"} <= set(names)


def test_a_folder_that_is_no_fit_is_refused_and_no_page_is_written(liquid, tmp_path):
    with pytest.raises(InputError, match="not a finished fit"):
        write_report(liquid.store, tmp_path / "out", fits=[tmp_path])
    assert not list(tmp_path.iterdir())
