"""Ingest crashed at any file operation, killed, and run by many: no frame is lost, no version is half."""

import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import cgstore
from cgstore.store.integrity import list_versions, read_manifest, verify, version_folder

ROOT = Path(__file__).parents[1]
LEVELS = ("atoms", "cg")
RUN = "methane_112k/r1"
RECIPES = ("methane", "left")


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """An archive with the beginning of the shipped run, and its recipe."""
    (tmp_path / "archive/methane_112k").mkdir(parents=True)
    shutil.copy(ROOT / "archive/methane_112k/system.tpr", tmp_path / "archive/methane_112k")
    shutil.copytree(ROOT / "ingest/mappings", tmp_path / "mappings")
    (tmp_path / "recipes").mkdir()
    recipe = (ROOT / "ingest/recipes/methane_112k.toml").read_text().replace('"100 ps"', '"0 ps"')
    (tmp_path / "recipes/methane.toml").write_text(recipe)
    (tmp_path / "recipes/left.toml").write_text(recipe.replace("[store]", "[store]\ncopy = false"))
    return tmp_path


def set_frames(work: Path, frames: int) -> None:
    """Let the trajectory have so many frames."""
    data, offset = (ROOT / "archive/methane_112k/traj.xtc").read_bytes(), 0
    for _ in range(frames):
        offset += 92 + (int.from_bytes(data[offset + 88 : offset + 92], "big") + 3) // 4 * 4
    (work / "archive/methane_112k/traj.xtc").write_bytes(data[:offset])


def ingest(work: Path, recipe: str = "methane", store: str = "store"):
    return cgstore.ingest(work / f"recipes/{recipe}.toml", archive=work / "archive", store=work / store, jobs=2)[0]


def frames_of(store: Path) -> dict[str, list[int]]:
    """Return the frames of every version, by level."""
    versions = {level: store / RUN / level for level in LEVELS}
    return {
        level: [read_manifest(version_folder(folder, version)).frames for version in list_versions(folder)]
        for level, folder in versions.items()
    }


# Which file operations fail: the first one, every so many after it; alone, or with all that follow.
SCHEDULES = [
    *(pytest.param(recipe, 3, 29, dead, id=f"{recipe}-few-{dead}") for recipe in RECIPES for dead in (False, True)),
    pytest.param("methane", 1, 1, False, marks=pytest.mark.slow, id="methane-all-False"),
    pytest.param("left", 1, 4, True, marks=pytest.mark.slow, id="left-many-True"),
]


@pytest.mark.parametrize(("recipe", "start", "stride", "stay_dead"), SCHEDULES)
def test_a_crash_at_any_file_operation_leaves_the_old_or_the_new_frames_and_the_next_ingest_has_all(
    audited, work, recipe, start, stride, stay_dead
):
    set_frames(work, 12)
    store = work / "store"

    def first() -> None:
        ingest(work, recipe)

    def none_or_all(k: int) -> None:
        for versions in frames_of(store).values():
            assert versions in ([], [12])
        if store.exists():
            assert verify(store, deep=True) == [] or not any(frames_of(store).values())
            shutil.rmtree(store)

    none = lambda k: none_or_all(k) if any(map(any, frames_of(store).values())) else None  # noqa: E731
    count = audited.crashes(store, first, start=start, stride=stride, stay_dead=stay_dead, check=none)
    assert count * stride > 100
    assert frames_of(store) == {"atoms": [12], "cg": [12]}

    set_frames(work, 20)
    shutil.copytree(store, work / "before")

    def old_or_new(k: int) -> None:
        for versions in frames_of(store).values():
            assert versions in ([12], [12, 20])
        assert verify(store, deep=True) == []
        shutil.rmtree(store)
        shutil.copytree(work / "before", store)

    count = audited.crashes(store, first, start=start, stride=stride, stay_dead=stay_dead, check=old_or_new)
    assert count * stride > 100
    assert frames_of(store) == {"atoms": [12, 20], "cg": [12, 20]}
    assert verify(store, deep=True) == []
    assert audited.overwritten == []
    ingest(work, recipe, "fresh")
    for level in LEVELS:
        one, other = (version_folder(work / s / RUN / level, n) for s, n in (("store", 2), ("fresh", 1)))
        assert read_manifest(one).digest == read_manifest(other).digest


PROGRAM = """
import sys, cgstore
print("ready", flush=True)
cgstore.ingest(sys.argv[1], archive=sys.argv[2], store=sys.argv[3], jobs=2)
"""


def start(work: Path) -> subprocess.Popen:
    arguments = [str(work / part) for part in ("recipes/methane.toml", "archive", "store")]
    return subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments], stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("kills", [3, pytest.param(12, marks=pytest.mark.slow)])
def test_killed_at_random_moments_it_goes_on_from_what_was_published(work, kills):
    rng = random.Random(7)
    known = 0
    for number in range(1, kills + 1):
        set_frames(work, 30 * number)
        with start(work) as process:
            process.stdout.readline()
            time.sleep(rng.random() * 1.5)
            process.send_signal(signal.SIGKILL)
        if (work / "store").exists() and any(frames_of(work / "store").values()):
            assert verify(work / "store", deep=True) == []
            frames = [max(versions, default=0) for versions in frames_of(work / "store").values()]
            assert min(frames) >= known
            known = min(frames)
    summary = ingest(work)
    assert summary.frames == 30 * kills
    assert verify(work / "store", deep=True) == []
    assert not list((work / "store").rglob(".stage-*"))
    ingest(work, store="fresh")
    for level in LEVELS:
        datasets = [work / store / RUN / level for store in ("store", "fresh")]
        one, other = (read_manifest(version_folder(dataset, list_versions(dataset)[-1])) for dataset in datasets)
        assert one.digest == other.digest


def test_four_ingests_at_once_of_a_growing_run_lose_nothing(work):
    set_frames(work, 10)
    ingest(work)
    set_frames(work, 60)
    processes = [start(work) for _ in range(4)]
    assert [process.wait(timeout=120) for process in processes] == [0] * 4
    for process in processes:
        process.stdout.close()
    assert frames_of(work / "store") == {"atoms": [10, 60], "cg": [10, 60]}
    assert verify(work / "store", deep=True) == []
    ds = cgstore.open_catalog(work / "store")[f"{RUN}/cg"].open()
    assert np.array_equal(ds.time.values, np.arange(60.0))
