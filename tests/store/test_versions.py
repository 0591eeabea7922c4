"""Versions: staged, appended to, published, left alone."""

import errno
import os
import shutil
import threading
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from cgstore.errors import ConflictError, InputError, IntegrityError, NotFound, StoreError
from cgstore.frames import Frames
from cgstore.store import layout
from cgstore.store.integrity import read_manifest, verify, version_folder
from cgstore.store.opening import open_version
from cgstore.store.versions import list_datasets, list_versions, stage


def same_bits(one: np.ndarray, other: np.ndarray) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


def assert_holds(ds: xr.Dataset, frames: Frames) -> None:
    for name, array in frames.arrays().items():
        if array is not None:
            assert same_bits(ds[name].values, array), name
        else:
            assert name not in ds


def snapshot(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("extra", [(), ("box",), ("box", "velocity", "force")])
@pytest.mark.parametrize("precision", [0.001, None])
def test_what_is_published_is_read_back_bit_for_bit(make, dataset, extra, precision):
    frames = make.frames(21, extra=extra)
    manifest = make.publish(dataset, frames, precision=precision)
    ds = open_version(version_folder(dataset, 1))
    assert_holds(ds, frames)
    assert (manifest.name, manifest.version, manifest.frames, manifest.particles) == ("dmpc/r1/cg", 1, 21, 6)
    assert manifest.time_ps == 10.0
    assert manifest == read_manifest(version_folder(dataset, 1))
    files = [path for path in version_folder(dataset, 1).rglob("*") if path.is_file()]
    assert manifest.bytes == sum(path.stat().st_size for path in files if path.name != "MANIFEST.json")
    assert ds.attrs["digest"] == manifest.digest
    assert ds.attrs["temperature"] == manifest.attrs["temperature"] == 303.0
    assert list_versions(dataset) == [1]
    assert list_datasets(dataset.parents[2]) == ["dmpc/r1/cg"]
    assert verify(dataset.parents[2], deep=True) == []


@settings(max_examples=8, deadline=None)
@given(
    st.lists(st.integers(0, 13), min_size=1, max_size=6).filter(any),
    st.integers(0, 3),
    st.sampled_from([3000, 40_000]),
    st.integers(0, 40),
)
def test_frames_appended_in_any_parts_and_versions_are_those_of_one_go(
    tmp_path_factory, make, sizes, versions, reach, far
):
    store = tmp_path_factory.mktemp("store")
    ends = np.cumsum(sizes)
    frames = make.frames(int(ends[-1]), reach=3000)
    frames.position[far:] *= np.float32(reach // 3000)  # from here on perhaps beyond int16
    frames.position[:] = np.rint(frames.position.astype(np.float64) / 0.001).astype(np.float32) * np.float32(0.001)
    parts = [frames[end - size : end] for size, end in zip(sizes, ends, strict=True)]
    small = patch.multiple(layout, _CHUNK_BYTES=36, _SHARD_BYTES=288)  # chunks of 2, shards of 8 frames
    with small:
        whole = make.publish(store / "a" / "r1" / "cg", frames)
        dataset = store / "b" / "r1" / "cg"
        split = min(versions, len(parts))
        first = [part for part in parts[: max(split, 1)]]
        if not sum(map(len, first)):
            first, parts, split = parts, [], len(parts)
        manifest = make.publish(dataset, *first)
    for part in parts[max(split, 1) :]:  # with other sizes in the program than in the store
        manifest = make.publish(dataset, part, base=manifest.version)
    assert manifest.digest == whole.digest
    ds = open_version(version_folder(dataset, manifest.version))
    assert_holds(ds, frames)
    assert verify(store, deep=True) == []


def test_the_digest_is_that_of_the_content_and_of_nothing_else(make, dataset):
    frames = make.frames(5)
    digest = make.publish(dataset, frames).digest
    root = dataset.parent
    assert make.publish(root / "lossless", frames, precision=None).digest == digest
    with stage(root / "other-attrs") as staged:
        staged.create(make.topology(), frames, precision=0.001, attrs={"title": "another"})
        staged.append(frames)
        assert staged.publish().digest == digest
    changes = []
    for name in ("position", "box", "time", "step"):
        other = make.frames(5)
        array = getattr(other, name)
        array[(3,) + (0,) * (array.ndim - 1)] += 1
        changes.append(make.publish(root / f"with-another-{name}", other).digest)
    changes.append(make.publish(root / "without-box", make.frames(5, extra=())).digest)
    topology = make.topology()
    topology.charge[2] += 0.5
    with stage(root / "with-another-charge") as staged:
        staged.create(topology, frames, precision=0.001, attrs={})
        staged.append(frames)
        changes.append(staged.publish().digest)
    assert len({digest, *changes}) == 7


def test_a_frame_repeated_at_another_time_has_the_same_frame_digest(make, dataset):
    frames = make.frames(4)
    make.publish(dataset, frames, Frames(**{**frames.arrays(), "time": frames.time + 100}))
    digests = xr.open_zarr(version_folder(dataset, 1)).frame_digest.values
    assert digests.dtype == np.uint64
    assert len(set(digests[:4])) == 4
    assert np.array_equal(digests[:4], digests[4:])


def test_positions_are_int16_where_they_fit_and_int32_where_they_do_not(make, dataset):
    reach = 32767

    def dtype() -> np.dtype:
        encoding = xr.open_zarr(version_folder(dataset, list_versions(dataset)[-1])).position.encoding
        return encoding["dtype"]

    near, edge, far = make.frames(3), make.frames(1, reach=0, start=3), make.frames(1, reach=0, start=4)
    edge.position[0, 0, 0] = np.float32(-reach) * np.float32(0.001)
    far.position[0, 0, 0] = np.float32(-reach - 1) * np.float32(0.001)
    make.publish(dataset, near, edge)
    assert dtype() == np.int16
    make.publish(dataset, far, base=1)
    assert dtype() == np.int32
    assert_holds(open_version(version_folder(dataset, 2)), Frames.concatenate([near, edge, far]))
    assert xr.open_zarr(version_folder(dataset, 1)).position.encoding["dtype"] == np.int16
    assert verify(dataset.parents[2], deep=True) == []


def test_full_shards_are_shared_and_the_old_version_stays_bit_identical(make, dataset, small_shards):
    make.publish(dataset, make.frames(19))
    before = snapshot(version_folder(dataset, 1))
    small_shards()  # the program has other sizes now; the store keeps its own
    manifest = make.publish(dataset, make.frames(9, start=19), base=1)
    assert snapshot(version_folder(dataset, 1)) == before
    one, two = version_folder(dataset, 1), version_folder(dataset, 2)
    shared = {path for path in before if (two / path).exists() and os.path.samefile(one / path, two / path)}
    assert {f"position/c/{shard}/0/0" for shard in (0, 1)} <= shared
    assert "position/c/2/0/0" not in shared
    assert not any(path.endswith(".json") for path in shared)
    assert manifest.files["position/c/0/0/0"] == read_manifest(one).files["position/c/0/0/0"]
    assert_holds(open_version(one), make.frames(19))
    assert_holds(open_version(two), Frames.concatenate([make.frames(19), make.frames(9, start=19)]))


def test_without_hard_links_files_are_copied(make, dataset, small_shards, monkeypatch):
    def no_link(*_args, **_kwargs):
        raise OSError(errno.EPERM, "no links here")

    make.publish(dataset, make.frames(19))
    monkeypatch.setattr(os, "link", no_link)
    manifest = make.publish(dataset, make.frames(9, start=19), base=1)
    assert_holds(
        open_version(version_folder(dataset, 2)), Frames.concatenate([make.frames(19), make.frames(9, start=19)])
    )
    assert version_folder(dataset, 2).joinpath("position/c/0/0/0").stat().st_nlink == 1
    assert manifest.frames == 28
    assert verify(dataset.parents[2], deep=True) == []


def test_files_are_synced_before_and_the_parent_after_the_rename(make, dataset, monkeypatch):
    order: list[tuple[str, str]] = []
    fsync, rename = os.fsync, os.rename

    def watch_sync(handle):
        order.append(("sync", os.readlink(f"/proc/self/fd/{handle}")))
        fsync(handle)

    def watch_rename(source, target):
        if str(target).endswith("v000001"):
            order.append(("rename", str(source)))
        rename(source, target)

    monkeypatch.setattr(os, "fsync", watch_sync)
    monkeypatch.setattr(os, "rename", watch_rename)
    manifest = make.publish(dataset, make.frames(3))
    place = next(i for i, (what, _) in enumerate(order) if what == "rename")
    staged = order[place][1]
    synced = {path for what, path in order[:place] if what == "sync"}
    assert {f"{staged}/{path}" for path in (*manifest.files, "MANIFEST.json")} <= synced
    assert {staged, f"{staged}/position", f"{staged}/position/c"} <= synced
    assert ("sync", str(dataset)) in order[place:]
    assert {("sync", str(parent)) for parent in dataset.parents[:3]} <= set(order)


def test_leaving_without_publishing_leaves_nothing(make, dataset):
    with stage(dataset) as staged:
        staged.create(make.topology(), make.frames(1), precision=0.001, attrs={})
        staged.append(make.frames(30))
    assert not dataset.parents[2].exists()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_any_exception_inside_the_context_removes_the_stage(make, dataset, error, small_shards):
    make.publish(dataset, make.frames(3))
    before = snapshot(dataset.parents[2])

    def interrupted() -> None:
        with stage(dataset, base=1) as staged:
            staged.append(make.frames(100, start=3))
            raise error

    with pytest.raises(error):
        interrupted()
    assert snapshot(dataset.parents[2]) == before
    assert not list(dataset.glob(".stage-*"))


def test_an_error_of_an_encoding_thread_reaches_the_caller_and_nothing_is_published(make, dataset, small_shards):
    with stage(dataset) as staged:
        staged.create(make.topology(), make.frames(1), precision=0.001, attrs={})
        with patch("cgstore.store.appending.encode_chunk", side_effect=OSError("disk full")):
            staged.append(make.frames(8))
            with pytest.raises(OSError, match="disk full"):
                staged.append(make.frames(500, start=8))
        with pytest.raises(OSError, match="disk full"):
            staged.publish()
    assert not dataset.exists()


def test_of_two_writers_the_second_gets_a_conflict_and_loses_nothing_by_trying_again(make, dataset):
    make.publish(dataset, make.frames(3))
    one, two = make.frames(2, start=3), make.frames(4, start=5)
    with stage(dataset, base=1) as first, stage(dataset, base=1) as second:
        second.append(two)
        first.append(one)
        assert first.publish().version == 2
        with pytest.raises(ConflictError, match="somebody else"):
            second.publish()
    make.publish(dataset, two, base=2)
    assert_holds(open_version(version_folder(dataset, 3)), Frames.concatenate([make.frames(3), one, two]))
    assert sorted(path.name for path in dataset.iterdir()) == ["v000001", "v000002", "v000003"]
    assert verify(dataset.parents[2], deep=True) == []


def test_many_writers_at_once_lose_nothing(make, dataset):
    make.publish(dataset, make.frames(1))

    def write(number: int) -> None:
        done = 0
        while done < 3:
            try:
                start = 100 * number + done
                make.publish(dataset, make.frames(1, start=start), base=list_versions(dataset)[-1])
                done += 1
            except ConflictError:
                continue

    threads = [threading.Thread(target=write, args=(number,)) for number in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list_versions(dataset) == list(range(1, 11))
    steps = open_version(version_folder(dataset, 10)).step.values
    expected = {0} | {250 * (100 * number + done) for number in (1, 2, 3) for done in range(3)}
    assert set(steps.tolist()) == expected
    assert len(steps) == 10
    assert verify(dataset.parents[2], deep=True) == []


def test_a_version_without_a_base_begins_again(make, dataset):
    make.publish(dataset, make.frames(3))
    manifest = make.publish(dataset, make.frames(2, seed=9))
    assert (manifest.version, manifest.frames) == (2, 2)


def test_attributes_are_continued_and_changed(make, dataset):
    make.publish(dataset, make.frames(3))
    with stage(dataset, base=1) as staged:
        staged.set_attrs({"title": "longer", "name": "somebody else's"})
        staged.append(make.frames(2, start=3))
        assert staged.frames == 5
        staged.publish()
    attrs = open_version(version_folder(dataset, 2)).attrs
    assert (attrs["title"], attrs["temperature"], attrs["name"], attrs["version"]) == ("longer", 303.0, "dmpc/r1/cg", 2)


def test_weights_are_kept_and_asked_for(make, dataset):
    weight = np.array([0.5, 2.0, 1.0])
    with stage(dataset) as staged:
        staged.create(make.topology(), make.frames(1), precision=0.001, attrs={}, weighted=True)
        staged.append(make.frames(3), weight=weight)
        with pytest.raises(InputError, match="weight"):
            staged.append(make.frames(3))
        first = staged.publish()
    assert np.array_equal(open_version(version_folder(dataset, 1)).weight.values, weight)
    assert first.digest != make.publish(dataset, make.frames(3)).digest


@pytest.mark.parametrize("precision", [0.001, None])
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["position", "box", "velocity", "force", "time"])
def test_numbers_that_are_not_finite_are_refused_with_their_frame(make, dataset, name, value, precision):
    frames = make.frames(4, start=3, extra=("box", "velocity", "force"))
    array = getattr(frames, name)
    array[(2,) + (1,) * (array.ndim - 1)] = value
    with stage(dataset) as staged:
        good = make.frames(3, extra=("box", "velocity", "force"))
        staged.create(make.topology(), good, precision=precision, attrs={})
        staged.append(good)
        with pytest.raises(InputError, match=rf"dmpc/r1/cg v000001: frame 5: found {value} in {name}"):
            staged.append(frames)
        staged.append(make.frames(1, start=3, extra=("box", "velocity", "force")))
        assert staged.publish().frames == 4


def test_frames_that_do_not_continue_the_dataset_are_refused(make, dataset):
    with stage(dataset) as staged:
        staged.create(make.topology(), make.frames(1), precision=0.001, attrs={})
        with pytest.raises(InputError, match="shape"):
            staged.append(make.frames(2, particles=5))
        with pytest.raises(InputError, match="expected box, position"):
            staged.append(make.frames(2, extra=()))
        with pytest.raises(InputError, match="velocity"):
            staged.append(make.frames(2, extra=("box", "velocity")))
        far = make.frames(1)
        far.position[0, 0, 0] = 1e6
        with pytest.raises(InputError, match="lossless"):
            staged.append(far)
        with pytest.raises(InputError, match="no frames"):
            staged.publish()


def test_wrong_use_is_answered_with_what_to_do(make, dataset):
    with pytest.raises(InputError, match="system/run/level"), stage(dataset.parent / "a b"):
        pass
    with pytest.raises(NotFound, match="no version 3"), stage(dataset, base=3):
        pass
    with stage(dataset) as staged:
        with pytest.raises(StoreError, match="create"):
            staged.append(make.frames(1))
        with pytest.raises(InputError, match="7 as in the topology"):
            staged.create(make.topology(7), make.frames(1), precision=0.001, attrs={})
        with pytest.raises(InputError, match="precision"):
            staged.create(make.topology(), make.frames(1), precision=-0.001, attrs={})
        staged.create(make.topology(), make.frames(1), precision=0.001, attrs={})
        with pytest.raises(StoreError, match="laid out before"):
            staged.create(make.topology(), make.frames(1), precision=0.001, attrs={})
        staged.append(make.frames(1))
        staged.publish()
        with pytest.raises(StoreError, match="published already"):
            staged.append(make.frames(1))
    assert list_versions(dataset) == [1]


def test_a_damaged_base_is_not_continued(make, dataset, small_shards):
    make.publish(dataset, make.frames(19))
    target = version_folder(dataset, 1) / "position/c/1/0/0"
    kept = target.read_bytes()
    target.unlink()
    with pytest.raises(IntegrityError, match="missing"):
        make.publish(dataset, make.frames(1, start=19), base=1)
    target.write_bytes(kept[:-1])
    with pytest.raises(IntegrityError, match="bytes"):
        make.publish(dataset, make.frames(1, start=19), base=1)
    tail = version_folder(dataset, 1) / "position/c/2/0/0"
    target.write_bytes(kept)
    content = bytearray(tail.read_bytes())
    content[5] ^= 16
    tail.write_bytes(content)
    with pytest.raises(IntegrityError, match="SHA-256"):
        make.publish(dataset, make.frames(6, start=19), base=1)
    assert [path.name for path in dataset.iterdir()] == ["v000001"]


def test_a_store_can_be_moved_and_copied(make, dataset, tmp_path):
    make.publish(dataset, make.frames(3))
    shutil.copytree(dataset.parents[2], tmp_path / "copy")
    assert verify(tmp_path / "copy", deep=True) == []
    make.publish(tmp_path / "copy" / "dmpc/r1/cg", make.frames(1, start=3), base=1)
    assert list_versions(dataset) == [1]
