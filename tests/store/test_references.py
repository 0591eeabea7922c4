"""Atoms that stay in the XTC files of the archive: the same frames as copied ones, and no change of a file unseen."""

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import cgstore
from cgstore.errors import InputError, IntegrityError, StoreError
from cgstore.store.integrity import read_manifest, verify, version_folder
from cgstore.store.references import ARCHIVE, XtcReferences

ROOT = Path(__file__).parents[2]
NAME = "methane_112k/r1/atoms"
FRAMES = 60


@pytest.fixture(scope="module")
def shipped() -> tuple[bytes, list[int]]:
    """The shipped trajectory and where its frames begin."""
    data, offsets = (ROOT / "archive/methane_112k/traj.xtc").read_bytes(), [0]
    while offsets[-1] < len(data):
        length = int.from_bytes(data[offsets[-1] + 88 : offsets[-1] + 92], "big")
        offsets.append(offsets[-1] + 92 + (length + 3) // 4 * 4)
    return data, offsets


@pytest.fixture
def work(tmp_path: Path, shipped) -> Path:
    """An archive of two parts that overlap by five frames, and a recipe that leaves the atoms in it."""
    data, offset = shipped
    folder = tmp_path / "archive/methane_112k"
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "archive/methane_112k/system.tpr", folder)
    (folder / "traj.part1.xtc").write_bytes(data[: offset[35]])
    (folder / "traj.part2.xtc").write_bytes(data[offset[30] : offset[FRAMES]])
    recipe = (ROOT / "ingest/recipes/methane_112k.toml").read_text()
    recipe = recipe.replace("traj.xtc", "traj.part*.xtc").replace('"100 ps"', '"3 ps"').replace("= 1\n", "= 2\n")
    write(tmp_path / "copied.toml", recipe)
    write(tmp_path / "left.toml", recipe.replace("[store]", "[store]\ncopy = false"))
    return tmp_path


def write(path: Path, recipe: str) -> None:
    path.parent.joinpath("recipes").mkdir(exist_ok=True)
    path.parent.joinpath("recipes", path.name).write_text(recipe)
    shutil.copytree(ROOT / "ingest/mappings", path.parent / "mappings", dirs_exist_ok=True)


def ingest(work: Path, kind: str = "left"):
    return cgstore.ingest(work / f"recipes/{kind}.toml", archive=work / "archive", store=work / kind)[0]


def test_frames_are_those_of_a_copy_and_the_digest_is_the_same(work):
    left, copied = ingest(work), ingest(work, "copied")
    assert left.frames == copied.frames == 29
    one, other = (read_manifest(version_folder(work / kind / NAME, 1)) for kind in ("left", "copied"))
    assert one.digest == other.digest
    sizes = [sum(f["size"] for path, f in m.files.items() if path.startswith("position/c/")) for m in (one, other)]
    assert sizes[0] < 0.05 * sizes[1]
    ds = cgstore.open_catalog(work / "left")[NAME].open()
    expected = cgstore.open_catalog(work / "copied")[NAME].open()
    assert ds.position.values.tobytes() == expected.position.values.tobytes()
    assert ds.position[7].values.tobytes() == expected.position[7].values.tobytes()
    assert np.array_equal(ds.position[3:25:4, 5].values, expected.position[3:25:4, 5].values)
    assert verify(work / "left", deep=True) == []


def test_plain_xarray_and_other_processes_see_the_frames(work):
    ingest(work)
    folder = version_folder(work / "left" / NAME, 1)
    ds = cgstore.open_catalog(work / "left")[NAME].open()
    assert np.array_equal(xr.open_zarr(folder).position.values, ds.position.values)
    again = pickle.loads(pickle.dumps(ds.position))
    assert np.array_equal(again.values, ds.position.values)


def test_a_grown_run_is_continued_also_by_another_part(work, shipped):
    data, offset = shipped
    ingest(work)
    (work / "archive/methane_112k/traj.part3.xtc").write_bytes(data[offset[58] : offset[90]])
    summary = ingest(work)
    assert (summary.action, summary.frames) == ("appended", 44)
    copied = ingest(work, "copied")
    assert copied.frames == 44
    one, other = (read_manifest(version_folder(work / kind / NAME, n)) for kind, n in (("left", 2), ("copied", 1)))
    assert one.digest == other.digest
    assert cgstore.open_catalog(work / "left")[NAME].open(version=1).position[-1].values.any()
    assert verify(work / "left", deep=True) == []


def test_a_missing_or_shorter_file_is_found_by_verify_and_named_when_it_is_read(work):
    ingest(work)
    ds = cgstore.open_catalog(work / "left")[NAME].open()
    part = work / "archive/methane_112k/traj.part2.xtc"
    content = part.read_bytes()
    part.write_bytes(content[:-8])
    (problem,) = verify(work / "left")
    assert "traj.part2.xtc has" in problem
    part.unlink()
    (problem,) = verify(work / "left")
    assert "traj.part2.xtc is missing" in problem
    with pytest.raises(IntegrityError, match=r"position.*traj\.part2\.xtc.*CGSTORE_ARCHIVE"):
        ds.position.compute()


def test_every_changed_byte_of_a_referenced_frame_is_an_error_and_never_a_number(work):
    ingest(work)
    ds = cgstore.open_catalog(work / "left")[NAME].open()
    part = work / "archive/methane_112k/traj.part1.xtc"
    content = part.read_bytes()
    (source,) = [s for s in ds.attrs["sources"] if s["path"].endswith("part1.xtc")]
    assert source["size"] == len(content)
    rng = np.random.default_rng(1)
    # Frame 5 of the file is the second one from 3 ps on in steps of 2.
    begin = sum(len(frame) for frame in frames_of(content)[:5])
    for place in rng.integers(begin, begin + len(frames_of(content)[5]), 25):
        part.write_bytes(content[:place] + bytes([content[place] ^ 1 << int(rng.integers(8))]) + content[place + 1 :])
        with pytest.raises(IntegrityError, match="not what it was"):
            ds.position[1].compute()
    assert any("not what it was" in problem for problem in verify(work / "left", deep=True))


def frames_of(content: bytes) -> list[bytes]:
    frames, start = [], 0
    while start < len(content):
        stop = start + 92 + (int.from_bytes(content[start + 88 : start + 92], "big") + 3) // 4 * 4
        frames.append(content[start:stop])
        start = stop
    return frames


def test_an_archive_that_moved_is_found_again(work, monkeypatch):
    ingest(work)
    (work / "archive").rename(work / "moved")
    with pytest.raises(IntegrityError, match=ARCHIVE):
        cgstore.open_catalog(work / "left")[NAME].open().position.compute()
    monkeypatch.setenv(ARCHIVE, str(work / "moved"))
    assert verify(work / "left", deep=True) == []


def test_turning_from_references_to_copies_makes_the_version_anew_with_the_same_content(work):
    ingest(work)
    shutil.copy(work / "recipes/copied.toml", work / "recipes/left.toml")
    second = ingest(work)
    assert (second.action, second.versions["atoms"]) == ("rebuilt", 2)
    one, two = (read_manifest(version_folder(work / "left" / NAME, version)) for version in (1, 2))
    assert one.digest == two.digest
    assert verify(work / "left", deep=True) == []


@pytest.mark.parametrize("name", ["/etc/hosts", "../secret.xtc", "a/../../b.xtc", "a\\..\\..\\b", ""])
def test_names_that_leave_the_archive_are_refused(name):
    with pytest.raises(StoreError, match="inside the archive"):
        XtcReferences("archive", (name,))


def test_a_table_that_points_anywhere_else_is_refused_before_memory_is_taken(work):
    file = work / "archive/methane_112k/traj.part1.xtc"
    references = XtcReferences(str(work / "archive"), ("methane_112k/traj.part1.xtc",))
    position = np.empty((1, 1110, 3), np.float32)
    size = os.path.getsize(file)
    for row in (
        [0, -8, 100, 0],
        [0, 0, 2**60, 0],
        [0, size - 4, 100, 0],
        [0, 2**62, 2**62, 0],
        [1, 0, 100, 0],
        [-1, 0, 9, 0],
    ):
        with pytest.raises(IntegrityError):
            references.read(np.array([row], np.int64), position)


def test_only_xtc_files_can_stay_in_the_archive(work):
    recipe = (work / "recipes/left.toml").read_text()
    (work / "recipes/left.toml").write_text(recipe.replace("traj.part*.xtc", "traj.trr"))
    with pytest.raises(InputError, match="xtc"):
        ingest(work)
