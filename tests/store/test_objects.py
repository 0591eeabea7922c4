"""Stores on S3, as moto plays it: whole versions or none, whoever else writes and whatever breaks in between."""

import contextlib
import os
import threading
from pathlib import Path

import fsspec
import numpy as np
import pytest

from cgstore.catalog import open_catalog, write_catalog
from cgstore.errors import ConflictError, InputError, IntegrityError, NotFound, StoreError
from cgstore.frames import Frames
from cgstore.store import objects
from cgstore.store.collecting import collect
from cgstore.store.integrity import list_datasets, list_versions, read_manifest, verify
from cgstore.store.mirrors import local_store, write_lists
from cgstore.store.objects import objects_at
from cgstore.store.opening import open_version
from cgstore.store.placeholders import waiting

NAME = "dmpc/r1/cg"


def everything(url: str) -> dict[str, bytes]:
    """All objects of a store."""
    tree = objects_at(url)
    return {path: tree.read(path) for path in tree.sizes()}


@pytest.fixture
def publish(make):
    """Publish frames as a new version of a dataset at a URL, on top of the newest one unless told otherwise."""

    def push(url: str, *parts: Frames, again: bool = False, precision: float | None = 0.001):
        with local_store(url, [NAME]) as folder:
            versions = list_versions(folder / NAME)
            base = versions[-1] if versions and not again else None
            return make.publish(folder / NAME, *parts, base=base, precision=precision)

    return push


def test_versions_grow_and_older_ones_stay_readable(bucket, make, publish, small_shards):
    first, more = make.frames(11), make.frames(9, start=11)
    assert publish(bucket, first).version == 1
    assert publish(bucket, more).version == 2
    assert list_datasets(bucket) == [NAME]
    assert list_versions(f"{bucket}/{NAME}") == [1, 2]
    assert read_manifest(f"{bucket}/{NAME}/v000002").frames == 20
    old, new = (open_version(f"{bucket}/{NAME}/v00000{number}") for number in (1, 2))
    assert np.array_equal(old.position.values, first.position)
    assert np.array_equal(new.position.values, np.concatenate([first.position, more.position]))
    assert verify(bucket, deep=True) == []


def test_the_layout_is_that_of_a_folder(memory, make, publish, small_shards, tmp_path):
    publish(memory, make.frames(11))
    publish(memory, make.frames(9, start=11))
    for start, count, base in ((0, 11, None), (11, 9, 1)):
        make.publish(tmp_path / NAME, make.frames(count, start=start), base=base)
    local = {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    remote = {path: content for path, content in everything(memory).items() if "/.claims/" not in path}
    assert remote == local


def test_a_copy_in_a_folder_is_a_sound_store_and_back(memory, make, publish, tmp_path):
    publish(memory, make.frames(3))
    publish(memory, make.frames(3, start=3))
    collect(memory, keep=1)
    objects_at(memory).download(objects_at(memory).sizes(), tmp_path / "copy")
    assert verify(tmp_path / "copy", deep=True) == []
    assert list_versions(tmp_path / "copy" / NAME) == [2]
    make.publish(tmp_path / "copy" / NAME, make.frames(1, start=6), base=2)
    assert list_versions(tmp_path / "copy" / NAME) == [2, 3]


def test_appending_does_not_fetch_full_shards_of_positions_until_they_must_be_rewritten(
    memory, make, publish, small_shards, monkeypatch
):
    fetched: list[str] = []
    download = objects.Objects.download

    def noted(self, paths, folder) -> None:
        fetched.extend(paths := list(paths))
        download(self, paths, folder)

    monkeypatch.setattr(objects.Objects, "download", noted)
    first = make.frames(20)
    publish(memory, first)
    publish(memory, make.frames(1, start=20))
    assert {path for path in fetched if path.startswith("position/c/")} == {"position/c/2/0/0"}
    fetched.clear()
    with local_store(memory, [NAME]) as folder:
        assert read_manifest(folder / NAME / "v000002").frames == 21
    assert fetched == ["MANIFEST.json"]
    fetched.clear()
    publish(memory, make.frames(2, start=21, reach=50_000))  # int16 no longer holds them
    assert {path for path in fetched if path.startswith("position/c/")} == {f"position/c/{n}/0/0" for n in (0, 1, 2)}
    assert np.array_equal(open_version(f"{memory}/{NAME}/v000003").position.values[:20], first.position)
    assert verify(memory, deep=True) == []


def test_a_placeholder_is_no_placeholder_once_the_store_is_closed(memory, make, publish, small_shards):
    publish(memory, make.frames(8))
    with local_store(memory, [NAME]) as folder:
        shard = folder / NAME / "v000001/position/c/0/0/0"
        assert waiting(shard)
        assert shard.stat().st_blocks == 0 or shard.stat().st_size == 0
    assert not waiting(shard)
    assert not shard.exists()


def test_of_two_writers_the_second_gets_a_conflict_and_loses_nothing_by_trying_again(memory, make, publish):
    publish(memory, make.frames(2))

    def late() -> None:
        with local_store(memory, [NAME]) as folder:
            make.publish(folder / NAME, make.frames(1, start=50), base=1)
            publish(memory, make.frames(1, start=2))

    with pytest.raises(ConflictError):
        late()
    assert list_versions(f"{memory}/{NAME}") == [1, 2]
    publish(memory, make.frames(1, start=50))
    steps = open_version(f"{memory}/{NAME}/v000003").step.values
    assert steps.tolist() == [0, 250, 500, 12500]
    assert verify(memory, deep=True) == []


def test_whoever_publishes_first_wins_also_over_one_who_claimed_an_earlier_number(memory, make, publish, monkeypatch):
    from cgstore.store import mirrors

    publish(memory, make.frames(1))
    send, slow = mirrors._send, threading.Event()

    def overtaken(mirror, manifest, own):
        send(mirror, manifest, own)
        if not slow.is_set():
            slow.set()
            assert publish(memory, make.frames(1, start=1)).version == 3  # number 2 is claimed

    monkeypatch.setattr(mirrors, "_send", overtaken)
    with pytest.raises(ConflictError):
        publish(memory, make.frames(1, start=9))
    assert list_versions(f"{memory}/{NAME}") == [1, 3]
    assert list(objects_at(f"{memory}/{NAME}/v000002").sizes()) == ["MANIFEST.json"]
    assert publish(memory, make.frames(1, start=9)).version == 4
    assert open_version(f"{memory}/{NAME}/v000004").step.values.tolist() == [0, 250, 2250]
    assert verify(memory, deep=True) == []


@pytest.mark.slow
def test_four_writers_at_once_lose_nothing(bucket, make, publish):
    publish(bucket, make.frames(1))
    failures: list[BaseException] = []

    def write(number: int) -> None:
        done = 0
        while done < 1:
            try:
                publish(bucket, make.frames(1, start=100 * number + done))
                done += 1
            except ConflictError:
                continue
            except BaseException as error:
                failures.append(error)
                return

    threads = [threading.Thread(target=write, args=(number,)) for number in (1, 2, 3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    newest = list_versions(f"{bucket}/{NAME}")[-1]
    steps = open_version(f"{bucket}/{NAME}/v{newest:06d}").step.values.tolist()
    assert sorted(steps) == sorted([0, *(250 * (100 * number + done) for number in (1, 2, 3, 4) for done in (0,))])
    assert len(list_versions(f"{bucket}/{NAME}")) == 5
    assert verify(bucket) == []


WRITES = ("pipe_file", "put_file", "cp_file", "rm_file")


class Breakable:
    """A file system whose k-th change fails, or all from the k-th on."""

    def __init__(self, fs) -> None:
        self.fs, self.seen, self.fail_at, self.dead, self.after = fs, 0, 0, False, False
        self.lock = threading.Lock()

    def __getattr__(self, name: str):
        act = getattr(self.fs, name)
        if name not in WRITES:
            return act

        def change(*words, **options):
            with self.lock:
                self.seen += 1
                broken = self.seen == self.fail_at or (self.dead and self.seen >= self.fail_at > 0)
            if broken and not self.after:
                raise KeyboardInterrupt
            done = act(*words, **options)
            if broken:
                raise KeyboardInterrupt  # it is done, but nobody says so
            return done

        return change


SCHEDULES = [(start, after, dead) for start in range(1, 7) for after in (False, True) for dead in (False, True)]
FAST = [(1, False, False), (2, True, False), (3, False, True), (4, True, True)]


@pytest.mark.parametrize(
    ("start", "after", "dead"),
    [pytest.param(*schedule, marks=[] if schedule in FAST else pytest.mark.slow) for schedule in SCHEDULES],
)
def test_a_push_that_is_interrupted_at_any_request_leaves_the_old_or_the_new_version(
    memory, make, publish, small_shards, monkeypatch, start, after, dead
):
    first = make.frames(9)
    publish(memory, first)
    before = everything(memory)
    opened, breakable = objects.objects_at, Breakable(fsspec.filesystem("memory"))

    def broken(url: str, *, writing: bool = False):
        tree = opened(url, writing=writing)
        return objects.Objects(tree.url, breakable, tree.root)

    def interrupted(k: int) -> None:
        breakable.seen, breakable.fail_at, breakable.dead, breakable.after = 0, k, dead, after
        with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
            patch.setattr("cgstore.store.mirrors.objects_at", broken)
            publish(memory, make.frames(1, start=9))

    for k in range(start, 200, 6):
        breakable.fs.store.clear()
        for path, content in before.items():
            objects_at(memory).write(path, content)
        interrupted(k)
        versions = list_versions(f"{memory}/{NAME}")
        assert versions in ([1], [1, 2])
        assert verify(memory) == []
        assert {path: content for path, content in everything(memory).items() if path in before} == before
        if breakable.seen < k:
            break
        publish(memory, make.frames(1, start=30))
        # What the dead writer sent is invisible, and swept once it is old.
        collect(memory, older_than=0.0)
        left = {path.split("/")[3] for path in objects_at(memory).sizes() if not path.endswith("MANIFEST.json")}
        assert left == {".claims", *(f"v{number:06d}" for number in list_versions(f"{memory}/{NAME}"))}
        steps = open_version(f"{memory}/{NAME}/v{list_versions(f'{memory}/{NAME}')[-1]:06d}").step.values
        assert steps.tolist() == [*range(0, 2250, 250), *([2250] if 2 in versions else []), 7500]
    assert k > 30
    assert verify(memory, deep=True) == []


def test_verify_finds_a_lost_a_resized_and_a_changed_object_and_a_lost_version(memory, make, publish):
    publish(memory, make.frames(5))
    publish(memory, make.frames(5, start=5))
    tree = objects_at(memory)
    path = f"{NAME}/v000002/position/c/0/0/0"
    content = tree.read(path)
    tree.remove([path])
    assert verify(memory) == [f"{NAME} v000002: position/c/0/0/0 is missing"]
    tree.write(path, content + b"x")
    assert [problem for problem in verify(memory) if "position/c/0/0/0 has" in problem]
    flipped = bytearray(content)
    flipped[len(content) // 3] ^= 4
    tree.write(path, bytes(flipped))
    assert verify(memory) == []
    assert any("position/c/0/0/0" in problem for problem in verify(memory, [NAME], deep=True))
    tree.write(path, content)
    tree.write(f"{NAME}/v000002/extra", b"")
    assert verify(memory) == [f"{NAME} v000002: extra is not in the manifest"]
    tree.remove(
        [f"{NAME}/v000002/extra", *(f"{NAME}/v000001/{path}" for path in tree.below(f"{NAME}/v000001").sizes())]
    )
    assert [problem.split(";")[0] for problem in verify(memory, deep=True)] == [f"{NAME} v000001: it is missing"]
    with pytest.raises(NotFound, match="did you mean"):
        verify(memory, ["dmpc/r1/cgg"])
    with pytest.raises(NotFound, match="no such store"):
        verify(f"{memory}/nowhere")


def test_a_damaged_version_is_not_continued(memory, make, publish, small_shards):
    publish(memory, make.frames(9))
    objects_at(memory).remove([f"{NAME}/v000001/position/c/0/0/0"])  # a full shard: it would not be fetched
    with pytest.raises(IntegrityError, match="position/c/0/0/0: it is missing"):
        publish(memory, make.frames(1, start=9))


def test_the_catalog_beside_the_data_opens_lazily_and_no_object_holds_credentials(bucket, make, publish, server):
    publish(bucket, make.frames(4))
    publish(bucket, make.frames(2, start=4))
    write_lists(bucket, write_catalog)
    entry = open_catalog(bucket)[NAME]
    assert entry.versions() == [1, 2]
    ds = entry.open()
    assert ds.position.chunks is not None
    assert np.array_equal(ds.position[4:].values, make.frames(2, start=4).position)
    assert entry.open(1).sizes["frame"] == 4
    words = [*map(os.environb.get, (b"AWS_SECRET_ACCESS_KEY", b"AWS_ACCESS_KEY_ID")), server.encode()]
    for path, content in everything(bucket).items():
        assert not any(word in content for word in words), path


def test_lists_in_folders_are_sent_and_stale_ones_removed(memory, make, publish):
    publish(memory, make.frames(1))
    tree = objects_at(memory)
    tree.write("catalog/gone.yaml", b"old")
    tree.write("catalog.yaml", b"old")
    tree.write("notes/mine.txt", b"of somebody else")

    def write(folder: Path) -> None:
        assert list_versions(folder / NAME) == [1]
        (folder / "catalog").mkdir()
        for name in ("catalog/dmpc.yaml", "catalog.yaml", ".draft"):
            (folder / name).write_text("new")

    before = {path for path in tree.sizes() if path.startswith("dmpc/")}
    write_lists(memory, write)
    content = everything(memory)
    assert {path for path in content if not path.startswith("dmpc/")} == {
        "catalog/dmpc.yaml",
        "catalog.yaml",
        "notes/mine.txt",
    }
    assert content["catalog.yaml"] == b"new"
    assert {path for path in content if path.startswith("dmpc/")} == before


def test_no_message_holds_credentials(monkeypatch, server, forget):
    SECRET, KEY = (os.environ[f"AWS_{name}"] for name in ("SECRET_ACCESS_KEY", "ACCESS_KEY_ID"))
    for url in (f"s3://{KEY}:{SECRET}@bucket/store", f"s3://bucket/store?X-Amz-Signature={SECRET}"):
        for act in (verify, list_datasets, objects_at):
            with pytest.raises(InputError) as caught:
                act(url)
            assert SECRET not in str(caught.value)
            assert KEY not in str(caught.value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    forget()
    with pytest.raises(StoreError) as caught:
        objects_at("s3://nobody/there").read("x")
    assert SECRET not in str(caught.value)
    forget()


def test_a_bucket_that_is_not_there_and_a_protocol_that_cannot_be_written_are_refused(server, make, publish, tmp_path):
    with pytest.raises(StoreError, match="is there such a bucket"):
        publish("s3://nowhere-at-all/store", make.frames(1))
    with pytest.raises(InputError, match="only if it is not there"):
        publish("https://example.org/store", make.frames(1))
    with pytest.raises(InputError, match="expected a folder"):
        verify("nonsense://store")


def test_an_object_store_without_put_if_absent_is_refused(memory, make, publish, monkeypatch):
    fs = fsspec.filesystem("memory")
    pipe = type(fs).pipe_file
    monkeypatch.setattr(type(fs), "pipe_file", lambda self, path, value, mode="overwrite": pipe(self, path, value))
    with pytest.raises(StoreError, match="ignores If-None-Match"):
        publish(memory, make.frames(1))
    assert list_datasets(memory) == []


def test_a_lost_answer_to_put_if_absent_is_no_conflict(bucket):
    tree = objects_at(bucket)
    assert tree.create("a", b"mine")
    assert tree.create("a", b"mine")
    assert not tree.create("a", b"another's")
    assert tree.read("a") == b"mine"
