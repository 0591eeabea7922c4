"""Kept results: computed once per question, whole or absent."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from cgstore.errors import InputError, IntegrityError
from cgstore.features import keep, kept
from cgstore.store.manifests import MANIFEST


def distribution() -> xr.Dataset:
    return xr.Dataset(
        {
            "rdf": (("pair", "r"), np.array([[0.0, np.nan, 1.5]]), {"units": "1"}),
            "count": (("pair", "r"), np.array([[0, 2, 2**60]], np.int64)),
            "bonded": ((), np.bool_(True)),
        },
        {"pair": ("pair", ["NC3-PO 4"]), "r": ("r", [0.1, 0.2, 0.3], {"units": "nm"})},
        {"r_max": np.float64(1.5), "title": "g(r)"},
    )


def tree() -> xr.DataTree:
    return xr.DataTree.from_dict(
        {"/": xr.Dataset(attrs={"frames": 3}), "/rdf": distribution(), "/bonded/bond": distribution()}
    )


class Counter:
    def __init__(self, result):
        self.result, self.calls = result, 0

    def __call__(self):
        self.calls += 1
        return self.result


def ask(folder: Path, compute, **changes):
    question = {"name": "rdf", "version": 1, "parameters": {"r_max": 1.5}, "dataset_digest": "d1"}
    return keep(folder, **{**question, **changes}, compute=compute)


def test_a_known_result_is_not_computed_again_and_is_the_same(tmp_path):
    compute = Counter(distribution())
    first, now = ask(tmp_path, compute)
    again, later = ask(tmp_path, compute)
    assert (now, later, compute.calls) == (True, False, 1)
    for result in (first, again):
        xr.testing.assert_identical(result, distribution())
        assert {name: result[name].dtype.kind for name in result} == {"rdf": "f", "count": "i", "bonded": "b"}
    assert set(again.coords) == {"pair", "r"}


def test_a_tree_comes_back_as_a_tree(tmp_path):
    first, _ = ask(tmp_path, tree)
    again, later = ask(tmp_path, tree)
    assert not later
    for result in (first, again):
        xr.testing.assert_identical(result, tree())


def test_every_part_of_the_question_makes_another_result(tmp_path):
    compute = Counter(distribution())
    ask(tmp_path, compute)
    for change in (
        {"name": "rdf_fine"},
        {"version": 2},
        {"parameters": {"r_max": 1.25}},
        {"parameters": {"r_max": 1.5, "bin": 1}},
        {"dataset_digest": "d2"},
    ):
        assert ask(tmp_path, compute, **change)[1], change
    assert compute.calls == 6
    assert len(kept(tmp_path)) == 6


def test_lazy_results_are_computed_before_they_are_kept(tmp_path):
    result, _ = ask(tmp_path, lambda: distribution().chunk({"r": 1}))
    assert result.rdf.chunks is None


def test_kept_results_are_listed_with_their_question(tmp_path):
    ask(tmp_path, distribution)
    (entry,) = kept(tmp_path)
    assert (entry.name, entry.version, entry.parameters, entry.dataset_digest) == ("rdf", 1, {"r_max": 1.5}, "d1")
    assert entry.folder.name == f"rdf-{entry.key[:16]}"
    assert entry.bytes == sum(
        path.stat().st_size for path in entry.folder.rglob("*") if path.is_file() and path.name != MANIFEST
    )
    assert kept(tmp_path / "nothing") == []


def test_a_failed_computation_leaves_nothing(tmp_path):
    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ask(tmp_path, fail)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="JSON"):
        ask(tmp_path, lambda: distribution().assign_attrs(x=object()))
    assert list(tmp_path.iterdir()) == []


def test_when_somebody_else_was_quicker_their_answer_is_taken(tmp_path):
    def slow():
        ask(tmp_path, distribution)
        return distribution() * 2

    result, computed = ask(tmp_path, slow)
    assert computed
    xr.testing.assert_identical(result, distribution())
    assert len(kept(tmp_path)) == 1


def test_a_damaged_result_is_refused_with_what_to_do(tmp_path):
    ask(tmp_path, distribution)
    (entry,) = kept(tmp_path)
    chunk = next(path for path in entry.folder.rglob("rdf/c/*/*") if path.is_file())
    content = bytearray(chunk.read_bytes())
    content[7] ^= 1
    chunk.write_bytes(content)
    with pytest.raises(IntegrityError, match="delete this folder"):
        ask(tmp_path, distribution)


def test_names_and_parameters_are_checked(tmp_path):
    with pytest.raises(InputError, match="name"):
        ask(tmp_path, distribution, name="../rdf")
    with pytest.raises(InputError, match="JSON"):
        ask(tmp_path, distribution, parameters={"r_max": float("inf")})
