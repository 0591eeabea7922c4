"""Ingest into a store at a URL: the same as into a folder, by the same commands."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import cgstore
from cgstore.cli.app import main
from cgstore.store.integrity import list_versions, read_manifest

ROOT = Path(__file__).parents[2]
RUN, NAME = "methane_112k", "methane_112k/r1/cg"


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder with an archive of 40 frames of methane, its recipe and mapping."""
    (tmp_path / "archive" / RUN).mkdir(parents=True)
    shutil.copy(ROOT / "archive" / RUN / "system.tpr", tmp_path / "archive" / RUN)
    shutil.copytree(ROOT / "ingest", tmp_path / "ingest")
    recipe = tmp_path / f"ingest/recipes/{RUN}.toml"
    recipe.write_text(recipe.read_text().replace('"100 ps"', '"0 ps"'))
    grow(tmp_path, 40)
    return tmp_path


def grow(work: Path, frames: int) -> None:
    """Make the trajectory the first frames of the shipped one; a frame says its own length."""
    data, end = (ROOT / "archive" / RUN / "traj.xtc").read_bytes(), 0
    for _ in range(frames):
        end += 92 + (int.from_bytes(data[end + 88 : end + 92], "big") + 3) // 4 * 4
    (work / "archive" / RUN / "traj.xtc").write_bytes(data[:end])


def ingest(work: Path, store: str | Path):
    return cgstore.ingest(work / f"ingest/recipes/{RUN}.toml", archive=work / "archive", store=store, jobs=1)[0]


def test_a_run_is_created_left_alone_and_appended_as_in_a_folder(work, memory):
    for store in (work / "store", memory):
        grow(work, 40)
        assert ingest(work, store).action == "created"
        assert ingest(work, store).action == "unchanged"
        grow(work, 60)
        done = ingest(work, store)
        assert (done.action, done.frames, done.new_frames) == ("appended", 60, 20)
        assert done.versions == {"atoms": 2, "cg": 2}
    local, remote = (read_manifest(f"{store}/{NAME}/v000002") for store in (work / "store", memory))
    assert remote.digest == local.digest
    opened = [cgstore.open_catalog(store)[NAME] for store in (work / "store", memory)]
    for version in (1, 2):
        here, there = (entry.open(version=version) for entry in opened)
        assert np.array_equal(here.position.values, there.position.values)
    assert cgstore.verify(memory, deep=True) == []


def test_commands_take_a_url(work, memory, capsys):
    def run(*words: str) -> str:
        assert main([*words, "--store", memory]) == 0
        return capsys.readouterr().out

    assert "created" in run("ingest", str(work / f"ingest/recipes/{RUN}.toml"), "--archive", str(work / "archive"))
    grow(work, 50)
    assert "appended" in run("ingest", str(work / f"ingest/recipes/{RUN}.toml"), "--archive", str(work / "archive"))
    assert [row["frames"] for row in json.loads(run("ls", "--json"))] == [50, 50]
    assert "methane_112k/r1/atoms" in run("search", "kind=liquid")
    assert json.loads(run("show", NAME, "--version", "1", "--json"))["frames"] == 40
    assert "no file is lost" in run("verify")
    assert "sound" in run("verify", "--deep")
    assert run("gc", "--keep", "1").count("version, ") == 2
    assert json.loads(run("show", NAME, "--json"))["versions"] == [2]
    assert "no file is lost" in run("verify")


def test_a_url_with_a_password_is_refused_without_repeating_it(work, capsys):
    for words in (["ls"], ["verify"], ["gc"], ["ingest", "x.toml", "--archive", "archive"]):
        assert main([*words, "--store", "s3://me:hunter2@bucket/store"]) == 2
        said = capsys.readouterr().err
        assert "hunter2" not in said
        assert "environment" in said


def test_four_ingests_of_the_same_run_at_once_make_one_version(work, bucket):
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: ingest(work, bucket), range(4)))
    assert sorted(item.action for item in done).count("created") == 1
    assert {item.frames for item in done} == {40}
    assert len(list_versions(f"{bucket}/{NAME}")) == 1
    assert cgstore.verify(bucket) == []
    assert [row["frames"] for row in cgstore.open_catalog(bucket).rows()] == [40, 40]
