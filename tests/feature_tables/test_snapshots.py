"""Snapshots are the radial distribution functions of single frames."""

import numpy as np
import pytest

from cgstore.averages.pair import rdf
from cgstore.catalog import open_catalog
from cgstore.feature_tables.computing import compute_cells
from cgstore.feature_tables.registry import feature_named
from cgstore.feature_tables.spec import Asked


@pytest.fixture(scope="module")
def beads(add_dataset, tmp_path_factory):
    store = tmp_path_factory.mktemp("beads")
    add_dataset(store, "mix/r1/cg", frames=12, particles=60, temperature=300.0)
    return store


def cell(store, **parameters):
    feature = feature_named("rdf_snapshots")
    asked = Asked("x", feature, feature.parameters.model_validate(parameters))
    ((_, cells),) = compute_cells([asked], [(open_catalog(store)["mix/r1/cg"], ("x",))])
    return cells["x"]


def test_they_are_those_of_the_frames_and_their_mean_is_that_of_the_run(beads):
    bins = {"pair": "A-B", "r_min": "0.2475 nm", "r_max": "1.0025 nm", "bins": 151}
    single = cell(beads, snapshots=12, **bins).arrays["x"]
    ds = open_catalog(beads)["mix/r1/cg"].open()
    fine = rdf(ds, pairs=["A-B"], r_max=1.0025, bin_width=0.0025).compute()
    shells = np.diff((np.arange(402) * 0.0025) ** 3)
    whole = (fine.rdf.values[0] * shells)[99:].reshape(151, 2).sum(1) / shells[99:].reshape(151, 2).sum(1)
    assert single.shape == (12, 151)
    np.testing.assert_allclose(single.mean(axis=0), whole, rtol=1e-5, atol=1e-6)
    last = rdf(ds.isel(frame=[11]), pairs=["A-B"], r_max=1.0, bin_width=0.01).compute().rdf.values[0]
    coarse = cell(beads, snapshots=2, pair="A-B", r_max="1.0 nm", bins=100).arrays["x"]
    np.testing.assert_allclose(coarse[1], last, rtol=1e-5)


def test_of_several_frames_it_is_their_mean_and_bins_beyond_half_the_box_are_unknown(beads):
    one = cell(beads, snapshots=12, pair="A-B", r_max="2.0 nm", bins=200).arrays["x"]
    three = cell(beads, snapshots=4, frames=3, pair="A-B", r_max="2.0 nm", bins=200).arrays["x"]
    np.testing.assert_allclose(three, one.reshape(4, 3, 200).mean(axis=1), rtol=1e-5)
    assert np.isfinite(three[:, :150]).all()
    assert np.isnan(three[:, 150:]).all()


def test_what_cannot_be_is_said(beads):
    assert "has 12 frames, expected 16" in cell(beads, snapshots=16, pair="A-B").reason
    assert 'say one as pair = "A-B"' in cell(beads, snapshots=2).reason
