"""Tables: made, renewed, resumed after a stop, explained; what fails is a reason; what is on disk opens anywhere."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import intake
import numpy as np
import pytest
import xarray as xr

from cgstore.errors import InputError, IntegrityError, NotFound
from cgstore.feature_tables import (
    Column,
    Feature,
    Parameters,
    build_table,
    explain_table,
    open_table,
    register,
    registry,
    storage,
    tables,
)

SPEC = {"name": "gas", "title": "A gas", "datasets": {"kind": "liquid"}, "columns": {"x": {"feature": "probe"}}}


class _Probe(Parameters):
    factor: float = 2.0


class Machine:
    """A feature that counts its calls, and breaks when told."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.breaks: dict[str, BaseException] = {}

    def compute(self, source, parameters) -> dict:
        self.calls.append(source.name)
        if source.name in self.breaks:
            raise self.breaks[source.name]
        return {"{}": parameters.factor * source.metadata["temperature"], "{}_curve": ("r", np.arange(3.0))}

    def feature(self, version: int = 1, **changes) -> Feature:
        return Feature(
            name="probe",
            version=version,
            compute=self.compute,
            columns=lambda parameters: (
                Column("{}", units="K", meaning="a number"),
                Column("{}_curve", ("r",), dtype="float32"),
            ),
            grids=lambda parameters: {"r": (np.arange(3.0), "nm")},
            parameters=_Probe,
            **changes,
        )


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(registry, "_known", {})
    machine = Machine()
    register(machine.feature())
    return machine


@pytest.fixture
def store(tmp_path: Path, seal_datasets: Callable[..., None]) -> Path:
    """Five datasets of nothing but manifests."""
    seal_datasets(tmp_path / "store", [f"s{k}/r1/cg" for k in range(5)])
    return tmp_path / "store"


def names(*numbers: int) -> list[str]:
    return [f"s{k}/r1/cg" for k in numbers]


def test_a_table_has_a_row_for_each_system_and_says_what_it_is(store: Path, machine: Machine) -> None:
    built = build_table(store, SPEC)
    assert (built.version, built.rows, built.published, built.computed, built.known) == (1, 5, True, 5, 0)
    ds = open_table(store, "gas")
    assert ds.x.chunks is not None
    assert ds.system.values.tolist() == names(*range(5))
    assert ds.x.values.tolist() == [600, 602, 604, 606, 608]
    assert ds.x.attrs == {"units": "K", "long_name": "a number"}
    assert ds.x_curve.dims == ("system", "x_r")
    assert ds.x_curve.dtype == np.float32
    assert ds.sel(system="s3/r1/cg").x.values == 606
    assert set(ds.reason.values.ravel().tolist()) == {""}
    assert all(len(digest) == 64 for digest in ds.digest.values.tolist())
    (listed,) = tables(store)
    assert (listed.name, listed.rows, listed.columns, listed.failed) == ("gas", 5, ("x", "x_curve"), 0)


def test_what_is_known_is_not_computed_again_and_nothing_new_is_no_version(store: Path, machine: Machine) -> None:
    build_table(store, SPEC)
    machine.calls.clear()
    again = build_table(store, SPEC)
    assert (again.published, again.version, again.computed, again.known) == (False, 1, 0, 5)
    assert machine.calls == []


def test_new_systems_are_appended_and_rows_of_systems_that_are_gone_are_dropped(
    store: Path, machine: Machine, seal_datasets: Callable[..., None]
) -> None:
    build_table(store, SPEC)
    machine.calls.clear()
    seal_datasets(store, names(7))
    narrow = {**SPEC, "datasets": {"temperature": "301..", "kind": "liquid"}}
    built = build_table(store, narrow)
    assert (built.rows, built.computed, built.dropped) == (4, 0, tuple(names(0)))
    built = build_table(store, SPEC)
    assert sorted(machine.calls) == names(0, 7)
    assert open_table(store, "gas").system.values.tolist() == names(0, 1, 2, 3, 4, 7)
    assert open_table(store, "gas", version=1).system.values.tolist() == names(0, 1, 2, 3, 4)


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), MemoryError("full"), SystemExit(1)])
def test_a_build_that_was_stopped_goes_on(store: Path, machine: Machine, stop: BaseException) -> None:
    machine.breaks["s3/r1/cg"] = stop
    if isinstance(stop, Exception):
        assert "MemoryError" in build_table(store, SPEC).failures["s3/r1/cg x"]
        return
    with pytest.raises(type(stop)):
        build_table(store, SPEC)
    with pytest.raises(NotFound):
        open_table(store, "gas")
    assert machine.calls == names(0, 1, 2, 3)
    machine.calls.clear()
    machine.breaks.clear()
    built = build_table(store, SPEC)
    assert machine.calls == names(3, 4)
    assert (built.computed, built.known) == (2, 3)
    assert open_table(store, "gas").x.values.tolist() == [600, 602, 604, 606, 608]
    assert not (store / "tables/gas/.journal").exists()


def test_a_damaged_journal_is_computed_again(store: Path, machine: Machine) -> None:
    machine.breaks["s4/r1/cg"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        build_table(store, SPEC)
    (file,) = (store / "tables/gas/.journal").iterdir()
    file.write_bytes(file.read_bytes()[:100])
    machine.breaks.clear()
    assert build_table(store, SPEC).computed == 5


def test_a_system_that_fails_is_a_reason_and_not_the_end(store: Path, machine: Machine) -> None:
    machine.breaks["s1/r1/cg"] = InputError("s1/r1/cg: found no box")
    built = build_table(store, SPEC)
    assert built.failures == {"s1/r1/cg x": "found no box"}
    ds = open_table(store, "gas")
    assert np.isnan(ds.x.values).tolist() == [False, True, False, False, False]
    assert np.isnan(ds.x_curve.values[1]).all()
    assert str(ds.reason.sel(system="s1/r1/cg", feature="x").values) == "found no box"
    assert tables(store)[0].failed == 1
    machine.calls.clear()
    assert build_table(store, SPEC).published is False
    assert machine.calls == []
    machine.breaks.clear()
    again = build_table(store, SPEC, retry=True)
    assert machine.calls == names(1)
    assert (again.failures, again.published) == ({}, True)


def test_explain_says_which_value_is_stale_and_why(
    store: Path, machine: Machine, seal_datasets: Callable[..., None]
) -> None:
    build_table(store, SPEC)
    assert explain_table(store, "gas").states == {"current": 5}
    seal_datasets(store, names(1), version=2, temperature=301.0)
    seal_datasets(store, names(2), version=2, temperature=999.0)
    seal_datasets(store, names(9))
    why = {value.system: (value.state, value.why) for value in explain_table(store, "gas").values}
    assert why["s1/r1/cg"] == ("stale", "the dataset has version 2, was 1")
    assert why["s2/r1/cg"][0] == "stale"
    assert "the dataset has version 2, was 1; the metadata of the dataset have changed" in why["s2/r1/cg"][1]
    assert why["s9/r1/cg"] == ("new", "a dataset that the table does not have yet")
    assert set(why) == set(names(1, 2, 9))
    other = {**SPEC, "columns": {"x": {"feature": "probe", "factor": 3.0}, "y": {"feature": "probe"}}}
    found = explain_table(store, "gas", {**other, "datasets": {"temperature": "301..303"}})
    reasons = {(value.system, value.column): (value.state, value.why) for value in found.values}
    assert reasons["s3/r1/cg", "x"] == ("stale", "factor is 3.0, was 2.0")
    assert reasons["s3/r1/cg", "y"] == ("new", "a column that the table does not have yet")
    assert reasons["s0/r1/cg", "x"] == ("gone", "the spec finds no such dataset any more")
    machine.calls.clear()
    assert build_table(store, SPEC).computed == len(machine.calls) == 3
    assert machine.calls == names(1, 2, 9)


def test_a_new_version_of_a_feature_makes_its_values_stale(store: Path, machine: Machine) -> None:
    build_table(store, SPEC)
    register(machine.feature(version=2))
    assert {value.why for value in explain_table(store, "gas").values} == {"feature probe has version 2, was 1"}
    assert build_table(store, SPEC).computed == 5


def test_what_else_a_feature_depends_on_is_part_of_its_key(store: Path, machine: Machine) -> None:
    state = {"s0/r1/cg": 1}
    register(machine.feature(others=lambda entry, parameters: state.get(entry.name)))
    build_table(store, SPEC)
    state["s0/r1/cg"] = 2
    (value,) = explain_table(store, "gas").values
    assert (value.system, value.why) == ("s0/r1/cg", "a file that it depends on has changed")
    assert build_table(store, SPEC).computed == 1


def test_code_that_changed_without_a_new_version_is_a_warning(store: Path, machine: Machine) -> None:
    build_table(store, SPEC)

    def other(source, parameters) -> dict:
        return {"{}": 1.0, "{}_curve": ("r", np.zeros(3))}

    register(replace(machine.feature(), compute=other))
    built = build_table(store, SPEC)
    assert built.computed == 0
    assert "column x: the code of the feature probe has changed" in built.warnings[0]
    assert "column x" in explain_table(store, "gas").warnings[0]
    again = build_table(store, SPEC, recompute=["x"])
    assert (again.computed, again.warnings) == (5, ())
    assert build_table(store, SPEC).warnings == ()
    assert open_table(store, "gas").x.values.tolist() == [1.0] * 5


def test_labels_are_those_of_all_rows_and_go_with_them(
    store: Path, machine: Machine, seal_datasets: Callable[..., None]
) -> None:
    seal_datasets(store, ["w/r1/cg"], composition={"WAT": 3}, temperature=1.0)
    spec = {**SPEC, "columns": {"p": {"feature": "counts"}}}
    register(
        Feature(
            name="counts",
            version=1,
            compute=lambda source, parameters: xr.Dataset(
                {"{}": ("kind", list(source.metadata["composition"].values()))},
                {"kind": list(source.metadata["composition"])},
            ),
            columns=lambda parameters: (Column("{}", ("kind",)),),
            locality="kind",
        )
    )
    build_table(store, spec)
    ds = open_table(store, "gas")
    assert ds.p_kind.values.tolist() == ["CH4", "WAT"]
    assert ds.sel(system="w/r1/cg").p.values.tolist() == pytest.approx([np.nan, 3.0], nan_ok=True)
    build_table(store, {**spec, "datasets": {"component": "CH4"}})
    assert open_table(store, "gas").p_kind.values.tolist() == ["CH4"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"columns": {"x": {"feature": "prob"}}}, 'did you mean "probe"'),
        ({"columns": {"x": {"feature": "probe", "factr": 1}}}, 'did you mean "factor"'),
        ({"columns": {"x": {"feature": "probe"}, "x_curve": {"feature": "probe"}}}, "has a variable 'x_curve', as has"),
        ({"columns": {"key": {"feature": "probe"}}}, "as has every table"),
        ({"columns": {"a b": {"feature": "probe"}}}, "expected letters"),
        ({"columns": {}}, "columns"),
        ({"name": "../x"}, "lower-case letters"),
        ({"datasets": {"kind": "bilayer"}}, "found no dataset"),
        ({"datasets": {"kid": "liquid"}}, 'did you mean "kind"'),
    ],
)
def test_wrong_specs_are_refused(store: Path, machine: Machine, change: dict, message: str) -> None:
    with pytest.raises((InputError, NotFound), match=message.replace("(", r"\(")):
        build_table(store, {**SPEC, **change})
    assert not (store / "tables").exists()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"{}": 1.0}, "no '{}_curve'"),
        ({"{}": 1.0, "{}_curve": 2.0}, "found {}_curve on"),
        ({"{}": 1.0, "{}_curve": ("r", np.zeros(4))}, "found 4 values on r, expected 3"),
        ({"{}": ("kind", [1.0]), "{}_curve": ("r", np.zeros(3))}, "found {} on"),
    ],
)
def test_answers_that_are_not_as_declared_are_reasons(
    store: Path, machine: Machine, answer: dict, message: str
) -> None:
    register(replace(machine.feature(), compute=lambda source, parameters: answer))
    assert message in build_table(store, SPEC).failures["s0/r1/cg x"]


def test_a_table_opens_without_cgstore_in_xarray_and_intake(store: Path, machine: Machine) -> None:
    build_table(store, SPEC)
    ours = open_table(store, "gas")
    plainly = xr.open_zarr(store / "tables/gas/v000001")
    assert plainly.x.values.tolist() == ours.x.values.tolist()
    assert plainly.system.values.tolist() == ours.system.values.tolist()
    read = intake.open_catalog(str(store / "tables/catalog.yaml"))["gas"].read()
    assert read.x.chunks is not None
    assert read.x_curve.values.tolist() == ours.x_curve.values.tolist()
    made = json.loads(ours.attrs["about"])["columns"]["x"]
    assert (made["feature"], made["version"], made["parameters"]) == ("probe", 1, {"factor": 2.0})


def test_the_same_table_has_the_same_digest_however_it_came_about(store: Path, machine: Machine) -> None:
    build_table(store, {**SPEC, "datasets": {"temperature": "302.."}})
    build_table(store, SPEC)
    machine.calls.clear()
    build_table(store, {**SPEC, "name": "other"})
    assert len(machine.calls) == 5
    assert len({item.digest for item in tables(store)}) == 1


def test_a_lost_file_a_strange_codec_and_a_changed_manifest_are_found(store: Path, machine: Machine) -> None:
    build_table(store, SPEC)
    folder = store / "tables/gas/v000001"
    text = (folder / "zarr.json").read_text()
    (folder / "zarr.json").write_text(text.replace('"crc32c"', '"pickle"'))
    with pytest.raises(IntegrityError, match=r"pickle"):
        storage._check_codecs(folder)
    (folder / "zarr.json").write_text(text)
    next((folder / "x/c").iterdir()).unlink()
    with pytest.raises(IntegrityError, match="is missing"):
        open_table(store, "gas")
    manifest = folder / "MANIFEST.json"
    manifest.write_text(manifest.read_text().replace('"rows": 5', '"rows": 6'))
    with pytest.raises(IntegrityError, match="not what was sealed"):
        open_table(store, "gas")
    with pytest.raises(NotFound, match='did you mean "gas"'):
        open_table(store, "gaz")
    with pytest.raises(InputError, match="lower-case"):
        open_table(store, "../gas")


def test_datasets_are_listed_as_before_beside_tables(store: Path, machine: Machine) -> None:
    from cgstore.catalog import open_catalog
    from cgstore.store.integrity import verify

    before = open_catalog(store).keys()
    build_table(store, SPEC)
    assert open_catalog(store).keys() == before
    assert not [problem for problem in verify(store) if "tables" in problem]


def test_two_builds_at_once_are_two_versions(store: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    write = storage._write
    other = {**SPEC, "columns": {"y": {"feature": "probe"}}}

    def slow(folder: Path, ds: xr.Dataset) -> None:
        monkeypatch.setattr(storage, "_write", write)
        build_table(store, other)
        write(folder, ds)

    monkeypatch.setattr(storage, "_write", slow)
    assert build_table(store, SPEC).version == 2
    assert "x" in open_table(store, "gas")
    assert "y" in open_table(store, "gas", version=1)


def test_rows_are_batches_of_tensors(store: Path, machine: Machine, tmp_path: Path) -> None:
    from cgstore.catalog import open_catalog
    from cgstore.learn import Split
    from cgstore.learn.rows import RowLoader

    build_table(store, SPEC)
    (tmp_path / "split.toml").write_text('[[train]]\nsystem = "s[0-2]"\n[[heldout]]\nsystem = "s4"\n')
    loader = RowLoader(
        open_table(store, "gas"), open_catalog(store), Split.load(tmp_path / "split.toml").train, batch_size=2
    )
    batches = list(loader)
    assert sorted(value for batch in batches for value in batch["x"].tolist()) == [600, 602, 604]
    assert batches[0]["x_curve"].shape == (2, 3)
    assert set(batches[0]) == {"x", "x_curve", "dataset"}
