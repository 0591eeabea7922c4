"""Kept statistics: only new frames are read, the answer has the bits of a fresh one, and it can be explained."""

import json

import numpy as np
import pytest
import xarray as xr

from cgstore.averages import keeping
from cgstore.averages.covariance import merged_covariance
from cgstore.averages.keeping import explain, kept_distributions, kept_statistics
from cgstore.averages.onepass import statistics
from cgstore.averages.spec import RdfSpec, Spec
from cgstore.catalog import open_catalog
from cgstore.cli.app import main
from cgstore.errors import InputError
from cgstore.features import kept

NAME = "gas_300k/r1/cg"
SPEC = Spec(rdf=RdfSpec(r_max="1.2 nm", bin_width="0.05 nm"))


@pytest.fixture
def frames_read(monkeypatch):
    """Return the list of how many frames each counting was about."""
    read = []
    original = keeping.statistics_of

    def count(ds, question, **options):
        read.append(ds.sizes["frame"])
        return original(ds, question, **options)

    monkeypatch.setattr(keeping, "statistics_of", count)
    return read


@pytest.fixture
def grow(add_dataset, tmp_path):
    """Return a function that publishes the first frames of one run as a new version, and opens it."""
    position = np.random.default_rng(3).uniform(0, 3, (600, 20, 3))

    def publish(frames, *, start=0, **attrs):
        store = tmp_path / "store"
        add_dataset(store, NAME, position=position[start : start + frames], **attrs)
        entry = open_catalog(store)[NAME]
        return entry.path, entry.open()

    return publish


def assert_equals_fresh(tree, ds, spec=SPEC):
    fresh = statistics(ds, spec).compute()
    for name, node in fresh.children.items():
        if name != "covariance":
            xr.testing.assert_identical(tree[name].to_dataset(), node.to_dataset())


@pytest.mark.parametrize(("before", "after"), [(100, 130), (200, 300), (256, 600), (500, 520)])
def test_appended_frames_are_counted_alone_and_the_bits_are_those_of_all(grow, frames_read, before, after):
    kept_statistics(*grow(before), SPEC)
    folder, ds = grow(after)
    tree, computed = kept_statistics(folder, ds, SPEC)
    assert computed
    length = tree["rdf"].attrs["block_length"]
    assert frames_read == [before, after - before // length * length]
    assert_equals_fresh(tree, ds)
    again, computed = kept_statistics(folder, ds, SPEC)
    assert not computed
    xr.testing.assert_identical(again["rdf"].to_dataset(), tree["rdf"].to_dataset())


def test_covariances_of_appended_frames_join(grow, frames_read):
    spec = SPEC.model_copy(update={"covariance": True})
    kept_statistics(*grow(512), spec)
    folder, ds = grow(600)
    tree, _ = kept_statistics(folder, ds, spec)
    assert frames_read == [512, 88]
    assert_equals_fresh(tree, ds, spec)
    whole = merged_covariance(statistics(ds, spec)["covariance"].to_dataset())
    joined = merged_covariance(tree["covariance"].to_dataset())
    assert int(joined.frames) == 600
    np.testing.assert_allclose(joined.covariance, whole.covariance, rtol=1e-9, atol=1e-12)


def test_other_frames_are_all_counted(grow, frames_read):
    kept_statistics(*grow(200), SPEC)
    folder, ds = grow(300, start=1)
    assert_equals_fresh(kept_statistics(folder, ds, SPEC)[0], ds)
    assert frames_read == [200, 300]


def test_a_shorter_run_does_not_inherit_the_longer_blocks_of_a_longer_one(grow, frames_read):
    kept_statistics(*grow(600), SPEC)
    folder, ds = grow(100)
    assert_equals_fresh(kept_statistics(folder, ds, SPEC)[0], ds)
    assert frames_read == [600, 100]


def test_a_selection_of_frames_is_not_taken_for_the_version(grow):
    folder, ds = grow(50)
    with pytest.raises(InputError, match=r"found 20 frames, the version has 50; .* use cgstore\.distributions"):
        kept_statistics(folder, ds.isel(frame=slice(0, 20)), SPEC)


def test_damaged_statistics_are_not_continued(grow, frames_read):
    kept_statistics(*grow(100), SPEC)
    folder, ds = grow(120)
    (item,) = kept(folder)
    largest = max((path for path in item.folder.rglob("c/*") if path.is_file()), key=lambda path: path.stat().st_size)
    largest.chmod(0o644)
    largest.write_bytes(bytes(largest.stat().st_size))
    assert "damaged" in explain(folder, ds, SPEC).others[item.folder.name]
    kept_statistics(folder, ds, SPEC)
    assert frames_read == [100, 120]


def test_it_is_explained_what_is_known_and_what_is_stale_and_why(grow):
    folder, ds = grow(200)
    nothing = explain(folder, ds, SPEC)
    assert (nothing.known_frames, nothing.key, nothing.others) == (0, "", {})
    kept_distributions(folder, ds, SPEC)
    known = explain(folder, ds, SPEC)
    assert (known.known_frames, known.others) == (200, {})
    assert known.known_from == f"statistics-{known.key[:16]}"
    assert known.lineage["digest"] == ds.attrs["digest"]
    other = explain(folder, ds, Spec(rdf=RdfSpec(r_max="1 nm", bin_width="0.05 nm")))
    assert list(other.others.values()) == ["another question: rdf.r_max is 1.2, asked is 1"]
    folder, ds = grow(300)
    partly = explain(folder, ds, SPEC)
    assert (partly.known_frames, partly.known_from) == (200, known.known_from)
    assert partly.others == {
        known.known_from: "stale: about version 1, 200 frames; 200 of them are the first of this version"
    }


def test_old_statistics_say_that_they_are_old(grow, monkeypatch):
    folder, ds = grow(40)
    monkeypatch.setattr(keeping, "VERSION", 0)
    kept_statistics(folder, ds, SPEC)
    monkeypatch.undo()
    (reason,) = explain(folder, ds, SPEC).others.values()
    assert reason == f"stale: made by version 0 of the statistics, now {keeping.VERSION}"


def test_the_command_explains_in_words_and_in_json(grow, capsys, tmp_path):
    grow(40, recipe="gas.toml", sources=[{"path": "gas/traj.xtc", "size": 7, "digest": "abc"}])
    spec = tmp_path / "spec.toml"
    spec.write_text('[rdf]\nr_max = "1.2 nm"\n')
    words = ["distributions", NAME, "--spec", str(spec), "--store", str(tmp_path / "store")]
    assert main([*words, "--explain"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"{NAME} v1: not known; 40 frames will be read")
    assert "gas/traj.xtc, 7 B, sha256 abc" in text
    assert main(words) == 0
    capsys.readouterr()
    assert main([*words, "--explain", "--json"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)
    assert (answer["state"], answer["known_frames"], answer["lineage"]["recipe"]) == ("known", 40, "gas.toml")
