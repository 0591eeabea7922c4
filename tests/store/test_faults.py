"""Crashes at any file operation, kills and interrupts: the store is at the old or at the new version, never between."""

import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from cgstore.features import keep, kept
from cgstore.store.folders import staging, sweep
from cgstore.store.integrity import verify, version_folder
from cgstore.store.opening import open_version
from cgstore.store.versions import list_versions, stage


def snapshot(folder: Path) -> dict[str, bytes]:
    """All files but those of stages."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if ".stage-" not in name}


FAST = [(1, 6, False), (2, 6, True)]
ALL = [(start, 6, dead) for start in range(1, 7) for dead in (False, True)]
SCHEDULES = [pytest.param(*s, marks=[] if s in FAST else pytest.mark.slow) for s in ALL]
GC_SCHEDULES = [pytest.param(*s, marks=[] if s == FAST[1] else pytest.mark.slow) for s in ALL]  # ten seconds each


@pytest.mark.parametrize(("start", "stride", "stay_dead"), SCHEDULES)
def test_a_crash_at_any_file_operation_of_the_first_version_leaves_none_or_all_of_it(
    audited, make, dataset, small_shards, start, stride, stay_dead
):
    frames = make.frames(9)

    def check(k: int) -> None:
        if list_versions(dataset):  # crashed after the rename
            assert verify(dataset.parents[2], deep=True) == []
            make.publish(dataset, make.frames(1, start=9), base=1)
            assert verify(dataset.parents[2], deep=True) == []
            for version in list_versions(dataset):
                version_folder(dataset, version).rename(dataset.parents[3] / f"done-{k}-{version}")
        else:
            assert audited.could_not_clean() or not dataset.exists()

    first_version = lambda: make.publish(dataset, frames)  # noqa: E731
    count = audited.crashes(
        dataset.parents[2], first_version, start=start, stride=stride, stay_dead=stay_dead, check=check
    )
    assert count * stride > 100
    assert list_versions(dataset) == [1]
    assert [path.name for path in dataset.iterdir()] == ["v000001"]
    assert verify(dataset.parents[2], deep=True) == []
    assert audited.overwritten == []


@pytest.mark.parametrize(("start", "stride", "stay_dead"), SCHEDULES)
def test_a_crash_at_any_file_operation_of_an_append_leaves_the_old_or_the_new_version(
    audited, make, dataset, small_shards, start, stride, stay_dead
):
    make.publish(dataset, make.frames(11))
    before = snapshot(dataset)
    far = make.frames(3, reach=50_000, start=11)  # int16 is rewritten as int32 on the way

    def check(k: int) -> None:
        if list_versions(dataset) != [1]:
            assert verify(dataset.parents[2], deep=True) == []
            assert {name: content for name, content in snapshot(dataset).items() if "v000001" in name} == before
            version_folder(dataset, 2).rename(dataset.parents[3] / f"done-{k}")
        assert snapshot(dataset) == before
        assert audited.could_not_clean() or not list(dataset.glob(".stage-*"))

    append = lambda: make.publish(dataset, far, base=1)  # noqa: E731
    count = audited.crashes(dataset.parents[2], append, start=start, stride=stride, stay_dead=stay_dead, check=check)
    assert count * stride > 100
    # The last try succeeded on top of whatever the crashes before it had left, and swept it.
    assert sorted(path.name for path in dataset.iterdir()) == ["v000001", "v000002"]
    assert verify(dataset.parents[2], deep=True) == []
    assert np.array_equal(open_version(version_folder(dataset, 2)).position.values[11:], far.position)
    assert audited.overwritten == []


def test_a_crash_at_any_file_operation_of_keeping_a_result_leaves_none_or_all_of_it(audited, tmp_path):
    result = xr.Dataset({"rdf": ("r", np.arange(4.0))})
    question = {"name": "rdf", "version": 1, "parameters": {}, "dataset_digest": "d"}

    def answer() -> None:
        keep(tmp_path / "d", **question, compute=lambda: result)

    def check(k: int) -> None:
        for entry in kept(tmp_path / "d"):
            assert k > 10
            entry.folder.rename(tmp_path / f"done-{k}")

    assert audited.crashes(tmp_path, answer, start=1, stride=1, stay_dead=False, check=check) > 10
    assert len(kept(tmp_path / "d")) == 1
    assert audited.overwritten == []


@pytest.mark.parametrize(("start", "stride", "stay_dead"), GC_SCHEDULES)
def test_a_crash_at_any_file_operation_of_gc_leaves_each_version_whole_or_gone(
    audited, make, tmp_path, small_shards, start, stride, stay_dead
):
    from cgstore.store.collecting import collect

    sound = tmp_path / "sound" / "dmpc" / "r1" / "cg"
    for base in range(3):
        make.publish(sound, make.frames(5, start=5 * base), base=base or None)
    stale = {"name": "rdf", "version": 1, "parameters": {}, "dataset_digest": "0" * 64}
    keep(sound, **stale, compute=lambda: xr.Dataset({"rdf": ("r", np.arange(4.0))}))
    before = snapshot(sound)
    store = tmp_path / "store"

    def fresh() -> None:
        shutil.rmtree(store, ignore_errors=True)
        shutil.copytree(sound.parents[2], store)

    def check(k: int) -> None:
        dataset = store / "dmpc" / "r1" / "cg"
        now = snapshot(dataset)
        assert {name: now[name] for name in before if name.startswith("v000003")} == {
            name: content for name, content in before.items() if name.startswith("v000003")
        }
        for version in list_versions(dataset):
            assert open_version(version_folder(dataset, version)).sizes["frame"] == 5 * version
        assert all("left of a removed version" in problem for problem in verify(store, deep=True))
        collect(store, keep=1)
        assert list_versions(dataset) == [3]
        assert verify(store, deep=True) == []
        assert sorted(path.name for path in (dataset / "features").iterdir()) == []
        fresh()

    fresh()
    count = audited.crashes(
        store,
        lambda: collect(store, keep=1),
        start=start,
        stride=stride,
        stay_dead=stay_dead,
        check=check,
    )
    assert count * stride > 60


WRITER = """
import runpy, sys
from pathlib import Path
make = runpy.run_path(sys.argv[1])
dataset, start = Path(sys.argv[2]), int(sys.argv[3])
from cgstore.store.versions import list_versions
while True:
    base = list_versions(dataset)[-1]
    make["publish"](dataset, make["make_frames"](1, start=base), base=base)
    print(base + 1, flush=True)
"""


def test_what_was_acknowledged_survives_kill_9_and_appending_goes_on(make, dataset):
    make.publish(dataset, make.frames(1))
    rng = random.Random(20)
    for _ in range(2):
        command = [sys.executable, "-c", WRITER, str(Path(__file__).with_name("conftest.py")), str(dataset), "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            acknowledged = int(process.stdout.readline())
            time.sleep(rng.random() * 0.3)
            process.send_signal(signal.SIGKILL)
            acknowledged = max([acknowledged, *map(int, process.stdout.read().split())])
        versions = list_versions(dataset)
        assert versions == list(range(1, len(versions) + 1))
        assert versions[-1] in (acknowledged, acknowledged + 1)
        assert verify(dataset.parents[2], deep=True) == []
    last = make.publish(dataset, make.frames(1, start=versions[-1]), base=versions[-1])
    assert not list(dataset.glob(".stage-*"))
    assert open_version(version_folder(dataset, last.version)).step.values.tolist() == [
        250 * frame for frame in range(last.version)
    ]


def test_an_interrupt_while_the_writer_is_busy_leaves_nothing_behind(make, dataset, small_shards, monkeypatch):
    from cgstore.store import appending

    digests, writing = appending.frame_digests, threading.Event()

    def slow(arrays):
        writing.set()
        time.sleep(0.3)
        return digests(arrays)

    monkeypatch.setattr(appending, "frame_digests", slow)

    def interrupted() -> None:
        with stage(dataset) as staged:
            staged.create(make.topology(), make.frames(1), precision=0.001, attrs={})
            staged.append(make.frames(8))
            writing.wait()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    time.sleep(0.5)
    assert not dataset.exists()


def test_stages_in_use_are_never_swept_and_orphans_are(tmp_path):
    with staging(tmp_path) as one, staging(tmp_path) as two:
        (one / "file").write_text("x")
        assert sweep(tmp_path) == []
        assert one.is_dir()
        assert two.is_dir()
    assert list(tmp_path.iterdir()) == []
    orphan = tmp_path / ".stage-0123"
    (orphan / "deep").mkdir(parents=True)
    (tmp_path / ".stage-4567.lock").touch()
    assert sweep(tmp_path) == [orphan, tmp_path / ".stage-4567"]
    assert list(tmp_path.iterdir()) == []
