"""Statistics are those of the training part, whatever the blocks, and belong to one split."""

import json

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from cgstore.catalog import open_catalog
from cgstore.errors import InputError, IntegrityError
from cgstore.learn import normalisation
from cgstore.learn.normalisation import Moments, Normalisation, fit_normalisation, fit_table_normalisation
from cgstore.splits.split import Split, freeze

SPLIT = {"train": [{"system": "a"}, {"system": "b", "stop": "10 ps"}], "heldout": [{"system": "c"}]}


@pytest.fixture
def catalog(tmp_path, add_dataset):
    for seed, name in enumerate("abc"):
        add_dataset(tmp_path / "store", f"{name}/r1/cg", seed=seed, frames=12, particles=5 + seed)
    return open_catalog(tmp_path / "store")


@pytest.fixture
def table():
    names = ["a/r1/cg", "b/r1/cg", "c/r1/cg"]
    return xr.Dataset(
        {"density": ("system", [1.0, 3.0, 500.0]), "rdf": (("system", "r"), [[0.0, 2.0], [0.0, 2.0], [9.0, 9.0]])},
        {"system": names},
    )


@given(st.lists(st.lists(st.floats(-1e3, 1e3), max_size=30), min_size=1, max_size=8))
def test_moments_of_blocks_are_those_of_the_whole(blocks):
    joined = Moments(0, 0.0, 0.0)
    for block in blocks:
        joined = joined.joined(Moments.of(block))
    whole = np.concatenate([np.asarray(block, float) for block in blocks])
    assert joined.count == len(whole)
    if len(whole):
        assert joined.mean == pytest.approx(whole.mean(), abs=1e-9)
        assert joined.std == pytest.approx(whole.std(), abs=1e-6)


def test_a_small_scatter_of_large_numbers_is_kept():
    x = 1e9 + np.random.default_rng(1).normal(size=10_000)
    joined = Moments(0, 0.0, 0.0)
    for block in np.array_split(x, 7):
        joined = joined.joined(Moments.of(block))
    assert joined.std == pytest.approx(x.std(), rel=1e-6)


@pytest.mark.parametrize("block", [1, 50, 2**22])
def test_the_statistics_are_those_of_the_training_frames(catalog, monkeypatch, block):
    monkeypatch.setattr(normalisation, "_BLOCK", block)
    norm = fit_normalisation(catalog, Split.from_dict(SPLIT).train, ["position"])
    parts = [catalog["a/r1/cg"].open()["position"].values, catalog["b/r1/cg"].open()["position"].values[:5]]
    x = np.concatenate([part.ravel() for part in parts]).astype(float)
    assert norm.moments["position"].count == len(x)
    assert norm.moments["position"].mean == pytest.approx(x.mean())
    assert norm.moments["position"].std == pytest.approx(x.std())
    assert {member.name for member, _ in norm.fitted_on} == {"a/r1/cg", "b/r1/cg"}


def test_what_is_applied_can_be_undone_for_arrays_and_tensors(catalog):
    torch = pytest.importorskip("torch")
    split = Split.from_dict(SPLIT)
    norm = fit_normalisation(catalog, split.train, ["position"])
    for make in (np.asarray, torch.from_numpy):
        x = make(np.random.default_rng(1).random((4, 5, 3), np.float32))
        batch = norm.apply({"position": x, "frame": "as it is"}, split)
        assert batch["frame"] == "as it is"
        assert batch["position"].dtype == x.dtype
        expected = (np.asarray(x) - norm.moments["position"].mean) / norm.moments["position"].std
        np.testing.assert_allclose(np.asarray(batch["position"]), expected, rtol=1e-5)
        np.testing.assert_allclose(np.asarray(norm.undo(batch, split.train)["position"]), np.asarray(x), atol=1e-5)


def test_the_parts_of_a_split_share_a_normalisation_but_it_is_fitted_on_train_alone(catalog):
    split = Split.from_dict(SPLIT)
    norm = fit_normalisation(catalog, split.train, ["position"])
    norm.apply({}, split.heldout)
    with pytest.raises(InputError, match=r"fitted on split\.train only"):
        fit_normalisation(catalog, split.heldout, ["position"])
    leaky = Split.from_dict({**SPLIT, "train": [{"system": "*"}]})
    with pytest.raises(InputError, match="held-out data"):
        fit_normalisation(catalog, leaky.train, ["position"])


def test_another_split_is_refused_when_applied_and_when_loaded(catalog, tmp_path):
    split, other = Split.from_dict(SPLIT), Split.from_dict({"train": [{"system": "c"}]}, where="other.toml")
    norm = fit_normalisation(catalog, split.train, ["position"])
    norm.save(tmp_path / "norm.json")
    assert Normalisation.load(tmp_path / "norm.json", split, catalog=catalog) == norm
    for refused in (lambda: norm.apply({}, other), lambda: norm.undo({}, other.train),
                    lambda: Normalisation.load(tmp_path / "norm.json", other)):  # fmt: skip
        with pytest.raises(InputError, match=r"other\.toml: digest .* fitted on the training part of the split with"):
            refused()


def test_other_data_than_those_behind_it_are_refused(catalog, tmp_path, add_dataset):
    split = Split.from_dict(SPLIT)
    fit_normalisation(catalog, split.train, ["position"]).save(tmp_path / "norm.json")
    add_dataset(tmp_path / "other", "a/r1/cg", seed=77, frames=12, particles=5)
    with pytest.raises(InputError) as caught:
        Normalisation.load(tmp_path / "norm.json", split, catalog=open_catalog(tmp_path / "other"))
    assert "a/r1/cg   found digest" in str(caught.value)
    assert "b/r1/cg   is not in this store" in str(caught.value)


def test_a_split_frozen_with_other_data_is_refused(catalog, tmp_path, add_dataset):
    path = tmp_path / "s.toml"
    path.write_text('[[train]]\nsystem = "*"\n')
    split, _ = freeze(path, catalog)
    norm = fit_normalisation(catalog, split.train, ["position"])
    norm.apply({}, split)
    add_dataset(tmp_path / "store", "d/r1/cg", seed=9)
    again, _ = freeze(path, open_catalog(tmp_path / "store"), again=True)
    assert again.digest == split.digest
    with pytest.raises(InputError, match=r"frozen with other training data .* d/r1/cg"):
        norm.apply({}, again)


def test_columns_of_a_table_are_normalised_by_their_training_rows(catalog, table):
    split = Split.from_dict({"train": [{"system": "[ab]"}], "heldout": [{"system": "c"}]})
    norm = fit_table_normalisation(table, catalog, split.train, ["density", "rdf"])
    assert (norm.moments["density"].mean, norm.moments["density"].std) == (2.0, 1.0)
    assert norm.apply({"density": table["density"].values}, split)["density"].tolist() == [-1.0, 1.0, 498.0]
    assert norm.moments["rdf"].count == 4


def test_a_table_whose_rows_know_more_than_the_training_part_is_refused(catalog, table):
    with pytest.raises(InputError, match=r"made of a whole run, but for training is only b/r1/cg \[-inf, 10\) ps"):
        fit_table_normalisation(table, catalog, Split.from_dict(SPLIT).train, ["density"])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda table: table.isel(system=[0, 2]), "no row of b/r1/cg"),
        (lambda table: table.rename(density="rho"), "no column 'density'"),
        (lambda table: table.drop_vars("system"), "no coordinate 'system'"),
        (lambda table: table.where(table.density < 2), "no finite number"),
    ],
)
def test_a_table_that_lacks_something_is_refused(catalog, table, change, says):
    split = Split.from_dict({"train": [{"system": "[ab]"}]})
    with pytest.raises(InputError, match=says):
        fit_table_normalisation(change(table), catalog, split.train, ["density"])


def test_what_never_varies_is_only_shifted(catalog, table):
    split = Split.from_dict({"train": [{"system": "a"}]})
    norm = fit_table_normalisation(table, catalog, split.train, ["density"])
    assert norm.apply({"density": np.array([1.0, 4.0])}, split)["density"].tolist() == [0.0, 3.0]


def test_a_variable_that_is_not_there_is_an_error_with_a_suggestion(catalog):
    with pytest.raises(InputError, match='did you mean "position"'):
        fit_normalisation(catalog, Split.from_dict(SPLIT).train, ["positoin"])


@pytest.mark.parametrize(
    "change",
    [{"moments": {"x": {"count": 0, "mean": 0.0, "squares": 0.0}}}, {"moments": {"x": [1]}}, {"fitted_on": [{}]},
     {"moments": {"x": {"count": 1, "mean": float("nan"), "squares": 0.0}}}, {"cgstore_normalisation": 2},
     {"split": 3}],
)  # fmt: skip
def test_a_file_that_is_no_normalisation_is_refused(catalog, tmp_path, change):
    split = Split.from_dict(SPLIT)
    path = tmp_path / "norm.json"
    fit_normalisation(catalog, split.train, ["position"]).save(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(IntegrityError, match=r"norm\.json: not a normalisation"):
        Normalisation.load(path, split)


def test_a_missing_file_and_one_that_is_no_json_are_refused(tmp_path):
    split = Split.from_dict(SPLIT)
    with pytest.raises(InputError, match="no such file"):
        Normalisation.load(tmp_path / "none.json", split)
    (tmp_path / "norm.json").write_bytes(b"\x93NUMPY")
    with pytest.raises(IntegrityError, match="cannot be read"):
        Normalisation.load(tmp_path / "norm.json", split)
