"""verify: every kind of damage to every file is found, and a sound store has no problems."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr

import cgstore
from cgstore.errors import IntegrityError, NotFound, StoreError
from cgstore.features import keep
from cgstore.store.digests import dataset_digest, frame_digests
from cgstore.store.integrity import read_manifest, verify, version_folder, write_manifest
from cgstore.store.layout import FORMAT
from cgstore.store.manifests import read_sealed, write_sealed


@pytest.fixture(scope="module")
def sound(make, tmp_path_factory) -> Path:
    """A store with two versions and a kept result."""
    store = tmp_path_factory.mktemp("sound") / "store"
    dataset = store / "dmpc" / "r1" / "cg"
    make.publish(dataset, make.frames(5, extra=("box", "velocity")))
    manifest = make.publish(dataset, make.frames(3, start=5, extra=("box", "velocity")), base=1)
    result = cgstore_result()
    keep(
        dataset,
        name="rdf",
        version=1,
        parameters={"r_max": 1.5},
        dataset_digest=manifest.digest,
        compute=lambda: result,
    )
    return store


def cgstore_result():
    import xarray as xr

    return xr.Dataset({"rdf": ("r", np.arange(4.0), {"units": "1"})}, {"pair": ("pair", ["A-B"])})


@pytest.fixture
def store(sound, tmp_path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "store"))


def files_of(store: Path) -> list[Path]:
    return sorted(path for path in store.rglob("*") if path.is_file())


def test_a_sound_store_has_no_problems(sound):
    assert verify(sound) == []
    assert cgstore.verify(str(sound), ["dmpc/r1/cg"], deep=True) == []


def test_one_flipped_bit_in_any_file_is_found_deep(store):
    rng = np.random.default_rng(7)
    for number, path in enumerate(files_of(store)):
        content = path.read_bytes()
        place = len(content) - 1 if number % 2 else int(rng.integers(len(content)))
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        problems = verify(store, deep=True)
        assert problems, f"{path} byte {place}"
        assert path.parent.name in " ".join(problems) or path.name in " ".join(problems)
        assert all(problem.startswith("dmpc/r1/cg ") for problem in problems)
        path.write_bytes(content)
    assert verify(store, deep=True) == []


def test_every_bit_of_a_manifest_counts(store):
    path = version_folder(store / "dmpc/r1/cg", 1) / "MANIFEST.json"
    content = path.read_bytes()
    for place in range(0, len(content), 37):
        for bit in range(8):
            damaged = bytearray(content)
            damaged[place] ^= 1 << bit
            path.write_bytes(damaged)
            with pytest.raises((IntegrityError, StoreError)):
                read_manifest(path.parent)


def test_a_missing_resized_or_extra_file_is_found_without_reading(store):
    for path in files_of(store):
        content = path.read_bytes()
        place = path.relative_to(store / "dmpc/r1/cg").parts[0]
        path.unlink()
        assert any("missing" in problem and place in problem for problem in verify(store)), path
        for other in (content[:-1], content + b"\0", b""):
            path.write_bytes(other)
            assert any(place in problem for problem in verify(store)), path
        path.write_bytes(content)
        extra = path.with_name(path.name + "x")
        extra.write_bytes(b"")
        assert any("not in the manifest" in problem and extra.name in problem for problem in verify(store))
        extra.unlink()
    assert verify(store) == []


def test_problems_name_dataset_version_and_file(store):
    folder = store / "dmpc/r1/cg/v000002"
    (folder / "position/c/0/0/0").unlink()
    assert verify(store) == ["dmpc/r1/cg v000002: position/c/0/0/0 is missing"]
    shutil.rmtree(folder / "velocity")
    assert len(verify(store)) == 3
    (folder / "MANIFEST.json").unlink()
    assert len(verify(store)) == 1
    assert "manifest is missing" in verify(store)[0]


def test_a_moved_version_is_found(store):
    dataset = store / "dmpc/r1/cg"
    (dataset / "v000002").rename(dataset / "v000003")
    missing, moved = verify(store)
    assert "v000002: it is missing" in missing
    assert "version 2" in moved


def reseal(folder: Path) -> None:
    """Write a manifest that fits whatever is in the folder, as a forger would."""
    content = {field: getattr(read_manifest(folder), field) for field in ("name", "version", "digest", "frames")}
    content |= {field: getattr(read_manifest(folder), field) for field in ("particles", "time_ps", "attrs")}
    write_manifest(folder, content)


def test_content_that_is_not_as_the_digests_say_is_found_even_when_all_files_are_as_the_manifest_says(store):
    folder = store / "dmpc/r1/cg/v000002"
    group = zarr.open_group(folder, mode="r+", use_consolidated=False)
    changes = [
        ("position", (3, 2, 1), 1, "1 frames are not as their digests say, first 3"),
        ("velocity", (4, 0, 0), np.nan, "values are lost"),
        ("box", (0, 1, 1), np.inf, "box of frame 0 is not finite"),
        ("time", 3, 17.25, "digest of the content"),
        ("mass", 3, 17.25, "digest of the content"),
        ("type", 0, 1, "digest of the content"),
        ("frame_digest", 5, 1, "first 5"),
    ]
    for name, key, value, expected in changes:
        before = group[name][key]
        group[name][key] = value
        reseal(folder)
        assert any(expected in problem for problem in verify(store, deep=True)), name
        assert verify(store) == []
        group[name][key] = before
    reseal(folder)
    assert verify(store, deep=True) == []


def test_unknown_names_and_stores_are_refused(store, tmp_path):
    with pytest.raises(NotFound, match="did you mean"):
        verify(store, ["dmpc/r1/cgg"])
    with pytest.raises(NotFound, match="no such store"):
        verify(tmp_path / "nowhere")


@pytest.mark.parametrize("path", ["../../../secret", "/etc/hostname", "a/../../b", "./a", "a//b", ".."])
def test_a_manifest_cannot_name_files_elsewhere(store, make, path):
    (store / "secret").write_bytes(b"")
    folder = store / "dmpc/r1/cg/v000002"
    content = read_sealed(folder)
    content["files"][path] = {"size": 0, "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}
    write_sealed(folder, content)
    with pytest.raises(IntegrityError, match="expected files of this folder"):
        make.publish(folder.parent, make.frames(1, start=8, extra=("box", "velocity")), base=2)
    assert any("expected files of this folder" in problem for problem in verify(store))


def test_manifests_of_a_newer_format_are_refused(store):
    folder = store / "dmpc/r1/cg/v000001"
    write_sealed(folder, {**read_sealed(folder), "cgstore_format": FORMAT + 1})
    with pytest.raises(StoreError, match="update cgstore"):
        read_manifest(folder)
    assert len(verify(store)) == 1


def test_a_manifest_is_json_that_others_can_read(sound):
    content = json.loads((sound / "dmpc/r1/cg/v000002/MANIFEST.json").read_text())
    assert content["name"] == "dmpc/r1/cg"
    assert content["frames"] == 8
    assert set(content["files"]["position/c/0/0/0"]) == {"size", "sha256"}


def test_frame_digests_are_the_leading_bits_of_sha256_written_out_by_hand():
    import hashlib

    position = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
    box = np.eye(3, dtype=np.float32)[None]
    text = b"position" + position.tobytes() + b"box" + box.tobytes()
    expected = int.from_bytes(hashlib.sha256(text).digest()[:8], "little")
    assert frame_digests({"position": position, "box": box, "time": np.zeros(1)}).tolist() == [expected]
    assert frame_digests({"position": position.astype(">f4"), "box": box}).tolist() == [expected]


def test_the_dataset_digest_tells_a_weight_from_none():
    arrays = {"time": np.zeros(1)}
    digest = dataset_digest("x", arrays, variables=("position",))
    assert digest != dataset_digest("x", {**arrays, "weight": np.ones(1)}, variables=("position",))
    assert digest != dataset_digest("x", arrays, variables=("position", "box"))
    assert digest != dataset_digest("y", arrays, variables=("position",))
