"""gc: what nobody needs goes, what anybody may need stays, and nothing that is gone is mistaken for lost."""

import json
import os
import shutil
import time
from pathlib import Path

import fsspec
import numpy as np
import pytest
import xarray as xr

from cgstore.catalog import write_catalog
from cgstore.cli.app import main
from cgstore.errors import ConflictError, InputError, IntegrityError, NotFound
from cgstore.features import keep, kept
from cgstore.store.collecting import Collected, collect, pinned_digests
from cgstore.store.folders import staging
from cgstore.store.integrity import list_versions, read_manifest, verify, version_folder
from cgstore.store.mirrors import local_store, write_lists
from cgstore.store.objects import objects_at
from cgstore.store.opening import open_version
from cgstore.store.versions import stage

NAME = "dmpc/r1/cg"


@pytest.fixture
def store(make, dataset, small_shards) -> Path:
    """A store with one dataset of four versions that share shards, and a kept result about the newest."""
    for base in range(4):
        make.publish(dataset, make.frames(10, start=10 * base), base=base or None)
    answer(dataset, 4)
    return dataset.parents[2]


def answer(dataset: Path, version: int) -> None:
    """Keep a result about a version."""
    digest = read_manifest(version_folder(dataset, version)).digest
    result = xr.Dataset({"rdf": ("r", np.arange(4.0))})
    keep(dataset, name="rdf", version=1, parameters={}, dataset_digest=digest, compute=lambda: result)


def occupied(folder: Path) -> int:
    """The bytes of all files, hard links counted once."""
    states = [path.stat() for path in folder.rglob("*") if path.is_file()]
    return sum({(state.st_dev, state.st_ino): state.st_size for state in states}.values())


def snapshot(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def kinds(found: list[Collected]) -> list[tuple[str, str]]:
    return [(item.kind, item.what) for item in found]


def test_without_options_a_sound_store_stays_as_it_is(store):
    before = snapshot(store)
    assert collect(store) == []
    assert snapshot(store) == before


def test_old_versions_go_and_what_is_freed_is_what_was_said(store, dataset):
    newest = open_version(version_folder(dataset, 4)).position.values
    before, size = snapshot(store), occupied(store)
    promised = collect(store, keep=2, dry_run=True)
    assert snapshot(store) == before
    done = collect(store, [NAME], keep=2)
    assert done == promised
    assert kinds(done) == [("version", "v000001"), ("version", "v000002")]
    notes = sum((version_folder(dataset, number) / "MANIFEST.json").stat().st_size for number in (1, 2))
    manifests = sum(len(before[f"{NAME}/v00000{number}/MANIFEST.json"]) for number in (1, 2))
    assert sum(item.bytes for item in done) == size - occupied(store) + notes
    assert manifests > notes
    assert list_versions(dataset) == [3, 4]
    assert [path.name for path in version_folder(dataset, 1).iterdir()] == ["MANIFEST.json"]
    assert np.array_equal(open_version(version_folder(dataset, 4)).position.values, newest)
    assert verify(store, deep=True) == []
    assert collect(store, keep=2) == []
    with pytest.raises(NotFound, match="was collected on 20"):
        read_manifest(version_folder(dataset, 1))


def test_the_newest_version_never_goes(store, dataset):
    with pytest.raises(InputError, match="never removed"):
        collect(store, keep=0)
    collect(store, keep=1)
    assert list_versions(dataset) == [4]


def test_what_a_fit_or_a_catalog_names_stays(store, dataset, tmp_path):
    fit = tmp_path / "fit"
    fit.mkdir()
    rows = [{"name": NAME, "version": 2, "digest": read_manifest(version_folder(dataset, 2)).digest}]
    (fit / "trainset.lock").write_text(json.dumps({"parts": {"train": rows}}))
    collect(store, keep=1, pinned=pinned_digests([fit]))
    assert list_versions(dataset) == [2, 4]
    assert verify(store, deep=True) == []
    (tmp_path / "empty").mkdir()
    for place in (tmp_path / "empty", tmp_path / "nowhere.json"):
        with pytest.raises(InputError):
            pinned_digests([place])


def test_young_versions_stay(store, dataset):
    manifest = version_folder(dataset, 1) / "MANIFEST.json"
    os.utime(manifest, (time.time() - 40 * 86400,) * 2)
    assert kinds(collect(store, keep=1, older_than=30 * 86400.0)) == [("version", "v000001")]


def test_results_about_content_that_is_gone_go_too(store, dataset):
    answer(dataset, 1)
    assert len(kept(dataset)) == 2
    found = collect(store, keep=1)
    assert [item.kind for item in found].count("kept result") == 1
    (left,) = kept(dataset)
    assert left.dataset_digest == read_manifest(version_folder(dataset, 4)).digest
    assert verify(store, deep=True) == []


def test_numbers_are_not_used_again_and_a_writer_whose_base_went_gets_a_conflict(store, dataset, make, monkeypatch):
    with stage(dataset, base=4) as staged:
        staged.append(make.frames(1, start=40))
        assert [item.kind for item in collect(store, keep=1)] == ["busy"]
        assert list_versions(dataset) == [1, 2, 3, 4]
        make.publish(dataset, make.frames(1, start=50), base=4)
        # Where the file system has no locks, gc cannot know.
        monkeypatch.setattr("cgstore.store.collecting.is_orphan", lambda stage: True)
        monkeypatch.setattr("cgstore.store.collecting.sweep", lambda parent: [])
        collect(store, keep=1)
        assert list_versions(dataset) == [5]
        with pytest.raises(ConflictError):
            staged.publish()
    with pytest.raises(ConflictError, match="was collected"):
        make.publish(dataset, make.frames(1), base=3)
    make.publish(dataset, make.frames(1, start=60), base=5)
    assert list_versions(dataset) == [5, 6]
    assert open_version(version_folder(dataset, 6)).sizes["frame"] == 42
    assert verify(store, deep=True) == []


def test_a_base_that_goes_while_it_is_taken_over_is_a_conflict(store, dataset, make, monkeypatch):
    from cgstore.store import versions

    take, taken = versions._take, []

    def collected(*words, **options):
        taken.append(words)
        if len(taken) == 3:
            make.publish(dataset, make.frames(1, start=50), base=4)
            monkeypatch.setattr("cgstore.store.collecting.is_orphan", lambda stage: True)
            monkeypatch.setattr("cgstore.store.collecting.sweep", lambda parent: [])
            collect(store, keep=1)
        return take(*words, **options)

    monkeypatch.setattr(versions, "_take", collected)
    with pytest.raises(ConflictError):
        make.publish(dataset, make.frames(1, start=40), base=4)
    assert verify(store, deep=True) == []


def test_a_lost_version_is_found_and_can_be_let_go(store, dataset):
    shutil.rmtree(version_folder(dataset, 2))
    assert [problem.split(";")[0] for problem in verify(store)] == [f"{NAME} v000002: it is missing"]
    collect(store)
    collect(store, keep=3)
    assert len(verify(store)) == 1, "only what need not be there may be let go"
    collect(store, keep=2)
    assert verify(store) == []
    assert list_versions(dataset) == [3, 4]


def test_a_lost_newest_version_and_a_lost_dataset_are_found_by_the_index(store, dataset, make, capsys):
    make.publish(dataset.with_name("atoms"), make.frames(2))
    write_lists(store, write_catalog)
    assert verify(store) == []
    shutil.rmtree(version_folder(dataset, 4))
    shutil.rmtree(dataset.with_name("atoms"))
    expected = ["dmpc/r1/atoms v000001: the index", f"{NAME} v000004: the index"]
    assert [problem.split(" of the")[0] for problem in verify(store)] == expected
    assert len(verify(store, ["dmpc/r1/atoms"])) == 1
    assert main(["gc", "--store", str(store)]) == 0
    assert verify(store) == []
    (store / "index.json").write_text("[" * 100_000)
    assert verify(store) == []


def test_a_number_that_a_name_claims_is_not_counted_up_to(store, dataset):
    version_folder(dataset, 4).rename(dataset / "v999999999999")
    problems = verify(store)
    assert any("v000004 … v999999999998: it is missing" in problem for problem in problems)
    assert any("the folder was moved" in problem for problem in problems)
    with pytest.raises(IntegrityError, match="run verify"):
        collect(store, keep=1)


def test_stages_of_the_dead_go_and_those_of_the_living_stay(store, dataset):
    orphan = dataset / ".stage-0123"
    with staging(dataset) as living:
        (living / "file").write_text("x")
        (orphan / "deep").mkdir(parents=True)
        (orphan / "deep" / "file").write_bytes(b"x" * 1000)
        assert collect(store, dry_run=True) == [Collected(NAME, "stage", ".stage-0123", 1000)]
        assert orphan.is_dir()
        assert kinds(collect(store)) == [("stage", ".stage-0123")]
        assert living.is_dir()
    assert not orphan.exists()


def test_files_left_of_a_removed_version_are_told_and_removed(store, dataset):
    collect(store, keep=1)
    (version_folder(dataset, 2) / "time").mkdir()
    (version_folder(dataset, 2) / "time" / "0").write_bytes(b"123")
    assert verify(store) == [f"{NAME} v000002: 1 files are left of a removed version; run cgstore gc"]
    assert collect(store) == [Collected(NAME, "remains", "v000002", 3)]
    assert verify(store) == []


def test_damaged_versions_and_results_are_left_for_verify(store, dataset):
    (version_folder(dataset, 1) / "MANIFEST.json").write_bytes(b"")
    collect(store, keep=1)
    assert list_versions(dataset) == [1, 4]
    assert any("v000001" in problem for problem in verify(store))
    assert len(kept(dataset)) == 1


def test_unknown_names_and_stores_are_refused(store, tmp_path):
    with pytest.raises(NotFound, match="did you mean"):
        collect(store, ["dmpc/r1/cgg"])
    with pytest.raises(NotFound, match="no such store"):
        collect(tmp_path / "nowhere")


def test_an_object_store_is_collected_the_same_way(make, tmp_path, small_shards):
    url = f"memory://{tmp_path.name}/store"
    for base in range(3):
        with local_store(url, [NAME]) as folder:
            make.publish(folder / NAME, make.frames(10, start=10 * base), base=base or None)
    sizes = objects_at(url).sizes()
    promised = collect(url, keep=1, dry_run=True)
    assert objects_at(url).sizes() == sizes
    assert collect(url, keep=1) == promised
    assert sum(item.bytes for item in promised) > sum(sizes.values()) / 3
    assert list_versions(f"{url}/{NAME}") == [3]
    assert verify(url, deep=True) == []
    tree = objects_at(f"{url}/{NAME}")
    tree.write(".claims/v000004", b"somebody")  # and died
    tree.write("v000004/zarr.json", b"{}")
    assert collect(url) == []
    assert kinds(collect(url, older_than=0.0)) == [("unfinished push", "v000004")]
    with local_store(url, [NAME]) as folder:
        make.publish(folder / NAME, make.frames(1, start=30), base=3)
    assert list_versions(f"{url}/{NAME}") == [3, 5]
    assert verify(url, deep=True) == []
    fsspec.filesystem("memory").store.clear()


def test_the_command_says_what_it_frees(store, dataset, capsys):
    def run(*words: str) -> tuple[int, str]:
        code = main(["gc", *words, "--store", str(store)])
        return code, capsys.readouterr().out

    assert run() == (0, "nothing to remove\n")
    code, out = run("--keep", "1", "--dry-run")
    assert code == 0
    assert out.count("version, ") == 3
    assert out.splitlines()[-1].startswith("would free")
    assert run("--keep", "1", "--older-than", "30 days")[1] == "nothing to remove\n"
    assert main(["gc", "--keep", "1", "--older-than", "soon", "--store", str(store)]) == 2
    capsys.readouterr()
    answers = json.loads(run(NAME, "--keep", "1", "--json")[1])
    assert [item["what"] for item in answers["collected"]] == ["v000001", "v000002", "v000003"]
    assert list_versions(dataset) == [4]
