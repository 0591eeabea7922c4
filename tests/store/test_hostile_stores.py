"""Stores that somebody sends: refused with a sentence before anything is followed, allocated, run or deleted."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import google_crc32c
import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numcodecs.blosc import Blosc

from cgstore.catalog import open_catalog, write_catalog
from cgstore.errors import CgstoreError, InputError, IntegrityError, StoreError
from cgstore.features import keep, kept
from cgstore.schema import topology_of
from cgstore.store.chunks import Chain, decode_chunk, encode_chunk
from cgstore.store.collecting import collect
from cgstore.store.integrity import list_datasets, verify
from cgstore.store.manifests import MANIFEST, describe_files, seal
from cgstore.store.opening import open_version
from cgstore.store.references import XtcReferences
from cgstore.store.shards import split_chunks
from cgstore.store.versions import stage

NAME = "argon/r1/cg"


@pytest.fixture(autouse=True)
def _in_time() -> Iterator[None]:
    """Fail instead of hanging."""

    def stop(*_: object) -> None:
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


# Stores that somebody sends -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sound(tmp_path_factory, add_dataset) -> Path:
    store = tmp_path_factory.mktemp("sound") / "store"
    add_dataset(store, NAME)
    return store


@pytest.fixture
def store(sound, tmp_path) -> Path:
    shutil.copytree(sound, tmp_path / "store")
    return tmp_path / "store"


@pytest.fixture
def version(store) -> Path:
    return store / NAME / "v000001"


def reseal(version: Path, **changes: Any) -> None:
    """Give a changed version a manifest that fits, as whoever means harm would."""
    content = json.loads((version / MANIFEST).read_text())
    del content["seal"]
    content |= {"files": describe_files(version), **changes}
    (version / MANIFEST).write_bytes(seal(content))


def change_array(version: Path, name: str, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the metadata of an array where the group repeats them and where they are its own."""
    for file, inside in ((version / "zarr.json", True), (version / name / "zarr.json", False)):
        document = json.loads(file.read_text())
        change(document["consolidated_metadata"]["metadata"][name] if inside else document)
        file.write_text(json.dumps(document))
    reseal(version)


def sharding(document: dict[str, Any]) -> dict[str, Any]:
    return document["codecs"][0]["configuration"]


def huge_chunks(document: dict[str, Any]) -> None:
    document["chunk_grid"]["configuration"]["chunk_shape"][0] = 2**60
    sharding(document)["chunk_shape"][0] = 2**60


def many_slots(document: dict[str, Any]) -> None:
    document["chunk_grid"]["configuration"]["chunk_shape"][0] *= 2**40


ARRAYS: list[tuple[str, Callable[[dict[str, Any]], Any], str]] = [
    ("time", huge_chunks, "larger than any"),
    ("position", huge_chunks, "larger than any"),
    ("position", many_slots, "larger than any"),
    ("time", lambda d: d.update(shape=[2**40]), "sizes of the other arrays"),
    ("position", lambda d: d["shape"].__setitem__(1, 2**40), "sizes of the other arrays"),
    ("mass", lambda d: d.update(shape=[2**40]), "sizes of the other arrays"),
    ("mass", lambda d: d["chunk_grid"]["configuration"].update(chunk_shape=[2**50]), "larger than any"),
    ("mass", lambda d: d["chunk_grid"]["configuration"].update(chunk_shape=[0]), "found chunks|found no zarr"),
    ("mass", lambda d: d.update(codecs=[d["codecs"][0], {"name": "gzip", "configuration": {"level": 1}}]), "GzipCodec"),
    ("mass", lambda d: d.update(codecs=[{"name": "somebody.runs_code"}]), "somebody.runs_code"),
    ("mass", lambda d: d.update(storage_transformers=[{"name": "x"}]), "storage transformers"),
    ("mass", lambda d: d.update(data_type={"name": "fixed_length_utf32", "configuration": {"length_bytes": 2**40}}),
     "type|found no zarr"),
    ("mass", lambda d: d.update(data_type="string", fill_value=""), "type|found no zarr|codec"),
    ("mass", lambda d: d.update(chunk_key_encoding={"name": "v2", "configuration": {"separator": "."}}), "other names"),
    ("mass", lambda d: d.update(zarr_format=2), "zarr"),
    ("mass", lambda d: d.update(dimension_names=["frame"]), "found dims"),
    ("mass", lambda d: d["attributes"].update(scale_factor=0.1), "scale_factor"),
    ("position", lambda d: d["attributes"].update(scale_factor="x"), "scale_factor"),
    ("name", lambda d: d["attributes"].update(flag_meanings="x" * 10_000 + " b"), "meanings"),
    ("name", lambda d: d["attributes"].update(flag_meanings="A", flag_values=[0]), "codes of text"),
    ("name", lambda d: d["attributes"].update(flag_meanings=3), "meanings"),
    ("position", lambda d: sharding(d).update(index_codecs=[{"name": "bytes"}]), "index|found no zarr"),
    ("position", lambda d: sharding(d).update(chunk_shape=[256, 20, 2]), "chunk"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "said"), ARRAYS, ids=range(len(ARRAYS)))
def test_metadata_that_cgstore_would_not_write_are_refused_before_memory_is_taken(version, store, name, change, said):
    change_array(version, name, change)
    with pytest.raises(StoreError, match=said):
        open_version(version)
    assert verify(store, deep=True)
    with pytest.raises(StoreError), stage(version.parent, base=1) as staged:
        staged.publish()


def test_sizes_that_agree_with_each_other_are_held_against_the_files(version):
    particles = 2**40

    def larger(document: dict[str, Any]) -> None:
        place = document["dimension_names"].index("particle")
        document["shape"][place] = particles
        if document["codecs"][0]["name"] == "sharding_indexed":  # one frame of so many would be a larger chunk
            document["chunk_grid"]["configuration"]["chunk_shape"] = [1, 2**20, 3]
            sharding(document)["chunk_shape"] = [1, 2**20, 3]

    whole = json.loads((version / "zarr.json").read_text())["consolidated_metadata"]["metadata"]
    for name in [name for name, array in whole.items() if "particle" in array["dimension_names"]]:
        change_array(version, name, larger)
    with pytest.raises(IntegrityError, match="claim"):
        open_version(version)


def test_frames_that_are_only_claimed_are_refused(version):
    for name in ("position", "box", "time", "step", "frame_digest"):
        change_array(version, name, lambda document: document["shape"].__setitem__(0, 2**50))
    with pytest.raises(IntegrityError, match="claim"):
        open_version(version)
    for name in ("position", "box", "time", "step", "frame_digest"):
        change_array(version, name, lambda document: document["shape"].__setitem__(0, 2**26))
    with pytest.raises(IntegrityError):
        open_version(version)


def test_pickles_in_arrays_of_zarr_2_are_refused_by_cgstore_itself(version, monkeypatch):
    pickles = pytest.importorskip("numcodecs.pickles")
    monkeypatch.setattr(pickles, "ALLOW_UNSAFE_PICKLE_DECODE", True, raising=False)  # as numcodecs was until recently

    def old(document: dict[str, Any]) -> None:
        attributes = document["attributes"]
        document.clear()
        document |= {"zarr_format": 2, "shape": [12], "chunks": [12], "dtype": "|O", "fill_value": "", "order": "C"}
        document |= {"filters": [{"id": "vlen-utf8"}, {"id": "pickle"}], "compressor": None, "attributes": attributes}

    monkeypatch.chdir(version.parent)
    change_array(version, "time", old)
    (version / "time" / "0").write_bytes(b"cos\nsystem\n(S'touch HACKED'\ntR.")
    reseal(version)
    with pytest.raises(IntegrityError, match="zarr format 3"):
        open_version(version)
    assert any("zarr format 3" in problem for problem in verify(version.parents[3], deep=True))
    assert not os.path.exists("HACKED")


def places(value: Any, *way: Any) -> list[tuple[Any, ...]]:
    """Return the way to everything inside plain data."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, item in inner for found in [(*way, key), *places(item, *way, key)]]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([2**60, -1, "../x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_metadata_are_opened_or_refused(sound, tmp_path_factory, data):
    version = tmp_path_factory.mktemp("fuzz") / "v000001"
    shutil.copytree(sound / NAME / "v000001", version)
    document = json.loads((version / "zarr.json").read_text())
    *way, last = data.draw(st.sampled_from(places(document)))
    place: Any = document
    for key in way:
        place = place[key]
    place[last] = data.draw(JSON)
    (version / "zarr.json").write_text(json.dumps(document))
    try:
        ds = open_version(version)
        ds["position"].values  # noqa: B018
    except (StoreError, CgstoreError):
        pass


def test_no_bytes_in_a_chunk_end_the_process(tmp_path):
    program = """
import sys
import google_crc32c, numpy as np
from numcodecs.blosc import Blosc
from cgstore.store.chunks import Chain, decode_chunk, encode_chunk
rng = np.random.default_rng(4)
for shuffle in ("shuffle", "bitshuffle"):
    chain = Chain(np.dtype("<i2"), (64, 50, 3), -32768, True, True, ("zstd", 3, shuffle))
    values = np.cumsum(rng.integers(-3, 4, (64, 50, 3)), 0).astype(np.int32)
    good, out = encode_chunk(values, chain), np.empty((64, 50, 3), np.int16)
    for _ in range(4000):
        body = bytearray(good[:-4])
        for place in rng.integers(0, 40, rng.integers(1, 4)):
            body[place] = rng.integers(0, 256)
        body = bytes(body[: rng.integers(12, len(body))] if rng.random() < 0.3 else body)
        try:
            data = body + int(google_crc32c.value(body)).to_bytes(4, "little")
            decode_chunk(data, chain, first=0, values=out)
        except ValueError:
            pass
print("alive")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "alive", done.stderr[-500:]


def test_a_chunk_whose_blosc_header_lies_is_refused_wherever_it_is_read(version):
    file = version / "mass" / "c" / "0"
    body = bytearray(file.read_bytes()[:-4])
    body[12:16] = (2**31 - 1).to_bytes(4, "little")  # as many bytes would be read behind the end
    file.write_bytes(bytes(body) + int(google_crc32c.value(bytes(body))).to_bytes(4, "little"))
    with pytest.raises(IntegrityError, match="blosc header"):
        open_version(version)


@pytest.mark.parametrize("name", ["position", "mass"])
def test_chunks_behind_a_url_are_looked_at_too(version, name):
    """There zarr reads them, in shards and without."""
    memory = fsspec.filesystem("memory")
    place = f"/hostile/{name}"
    memory.put(str(version), place, recursive=True)
    assert open_version(f"memory:/{place}")["position"].values.shape == (12, 20, 3)
    path = {"position": "position/c/0/0/0", "mass": "mass/c/0"}[name]
    shard = memory.cat_file(f"{place}/{path}")
    chunk = split_chunks(shard, slots=256)[0] if name == "position" else shard
    body = bytearray(chunk[:-4])
    body[12:16] = (2**31 - 1).to_bytes(4, "little")
    lying = bytes(body) + int(google_crc32c.value(bytes(body))).to_bytes(4, "little")
    memory.pipe_file(f"{place}/{path}", lying + shard[len(chunk) :])
    with pytest.raises(IntegrityError, match="blosc header"):
        open_version(f"memory:/{place}")["position"].values  # noqa: B018


def test_chunks_of_a_shard_that_overlap_are_refused():
    table = np.array([[0, 3], [0, 3]], "<u8").tobytes()
    shard = b"one" + table + int(google_crc32c.value(table)).to_bytes(4, "little")
    with pytest.raises(ValueError, match="overlap"):
        split_chunks(shard, slots=2)


# Paths --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["../../x", "/etc/passwd", "a/../../x", "./zarr.json", "a//b", "", "..", "a\0b"])
def test_a_manifest_names_files_of_its_folder_only(version, store, path):
    outside = store.parent / "x"
    outside.write_text("mine")
    files = describe_files(version) | {path: {"size": 4, "sha256": "0" * 64}}
    reseal(version, files=files)
    with pytest.raises(IntegrityError, match="the manifest names"), stage(version.parent, base=1) as staged:
        staged.publish()
    assert any("the manifest names" in problem for problem in verify(store))
    collect(store, keep=1)
    assert outside.read_text() == "mine"


@pytest.mark.parametrize(
    "change",
    [
        {"files": []},
        {"files": {"a": 3}},
        {"files": {"a": {"size": "x"}}},
        {"frames": "x"},
        {"attrs": []},
        {"bytes": None},
    ],
)
def test_a_manifest_of_other_kinds_is_refused(version, store, change):
    reseal(version, **change)
    assert verify(store, deep=True)
    assert open_catalog(store).damaged
    with pytest.raises(StoreError), stage(version.parent, base=1) as staged:
        staged.publish()


@pytest.fixture
def victim(tmp_path, add_dataset) -> Path:
    """Somebody's own store, with versions, a kept result and the stage of a dead writer."""
    folder = tmp_path / "victim"
    add_dataset(folder, NAME)
    add_dataset(folder, NAME, seed=2)
    keep_one(folder / NAME)
    (folder / NAME / ".stage-0123456789abcdef").mkdir()
    return folder


def keep_one(dataset: Path, digest: str = "0" * 64, **parameters: Any) -> xr.Dataset:
    answer = lambda: xr.Dataset({"x": ("i", np.arange(3.0))})  # noqa: E731
    return keep(dataset, name="count", version=1, parameters=parameters, dataset_digest=digest, compute=answer)[0]


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(
    "link", ["evil", "evil/r1", "argon/r2", "argon/r1/cg2", "argon/r1/cg/v000002", "argon/r1/cg/features"]
)
def test_links_inside_a_store_lead_nowhere(store, victim, link):
    (store / link).parent.mkdir(parents=True, exist_ok=True)
    inner = {"features": NAME + "/features", "v000002": NAME + "/v000001"}.get(Path(link).name)
    target = victim / (inner or "/".join(NAME.split("/")[: link.count("/")]))
    (store / link).symlink_to(target)
    before = content(victim)
    assert list_datasets(store) == [NAME] == list(open_catalog(store))
    verify(store, deep=True)
    collect(store, keep=1, older_than=0.0)
    write_catalog(store)
    for dataset in ("evil/r1/cg", "argon/r2/cg", "argon/r1/cg2"):
        if any(part.is_symlink() for part in ((store / dataset), *(store / dataset).parents[:2])):
            with pytest.raises(StoreError, match="symbolic link"), stage(store / dataset) as staged:
                staged.publish()
    if link.endswith("features"):
        assert kept(store / NAME) == []
        with pytest.raises(StoreError, match="symbolic link"):
            keep_one(store / NAME)
    assert content(victim) == before
    assert (victim / NAME / ".stage-0123456789abcdef").is_dir()


@pytest.mark.parametrize("path", ["position/c/0/0/0", "mass", "zarr.json", "extra", "MANIFEST.json"])
@pytest.mark.parametrize("target", ["/dev/zero", "pipe", "secret"])
def test_links_pipes_and_devices_inside_a_version_are_not_read(store, version, tmp_path, path, target):
    place = version / path
    shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
    (tmp_path / "secret").write_text("mine")
    if target == "pipe":
        os.mkfifo(place)
    else:
        place.symlink_to(tmp_path / target)
    assert verify(store, deep=True)
    with pytest.raises(StoreError):
        open_version(version)
    if path != "extra":
        with pytest.raises(StoreError), stage(version.parent, base=1) as staged:
            staged.publish()
    collect(store, keep=1)
    assert (tmp_path / "secret").read_text() == "mine"


def test_a_version_with_a_number_beyond_all_others_costs_no_time(store, version):
    shutil.copytree(version, version.with_name("v999999999999999999"))
    for name in ("v000000", "v00000001", "v\u0661\u0661\u0661\u0661\u0661\u0661", "v-00001", "v" + "9" * 200):
        (version.with_name(name)).mkdir()
    assert len(verify(store)) < 10
    with pytest.raises(IntegrityError):
        collect(store, keep=1)
    assert len(list(version.parent.iterdir())) == 7


def test_group_and_arrays_that_tell_different_stories_are_found(version, store):
    file = version / "charge" / "zarr.json"
    document = json.loads(file.read_text())
    document["attributes"]["units"] = "C"
    file.write_text(json.dumps(document))
    reseal(version)
    assert verify(store) == []
    assert any("charge/zarr.json is not what zarr.json says" in problem for problem in verify(store, deep=True))


# Kept results and bonds of others ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x/zarr.json", "zarr.json"])
def test_kept_results_are_held_against_their_files(store, name):
    dataset = store / NAME
    keep_one(dataset)
    (folder,) = (dataset / "features").iterdir()
    for file in (folder / "zarr.json", folder / "x" / "zarr.json"):
        text = file.read_text().replace('"shape": [\n    3', f'"shape": [\n    {2**50}')
        text = re.sub(r'("shape": \[\s*)3', rf"\g<1>{2**50}", text)
        file.write_text(text)
    reseal(folder)
    with pytest.raises(IntegrityError, match="claim"):
        keep_one(dataset)


@pytest.mark.parametrize("change", [{"files": None}, {"tree": True, "key": "0"}, {"files": {"../x": {}}}])
def test_a_manifest_of_a_kept_result_is_not_believed(store, change):
    keep_one(store / NAME)
    (folder,) = (store / NAME / "features").iterdir()
    reseal(folder, **change)
    with pytest.raises(IntegrityError):
        keep_one(store / NAME)


@pytest.mark.parametrize("bond", [[[0, 10**9]], [[-1, 2]], [[0, 20]], [[0, 1, 2]]])
def test_bonds_of_particles_that_are_not_there_are_refused(sound, bond):
    ds = open_version(sound / NAME / "v000001").drop_vars("bond")
    with pytest.raises(InputError, match="bond"):
        topology_of(ds.assign(bond=(("bond", "end"), np.array(bond, np.int32))))


# References ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "", "a\\..\\x", "a\0b", 3, None, ["x"]])
def test_references_lead_nowhere_but_into_the_archive(name):
    with pytest.raises(StoreError, match="found a reference"):
        XtcReferences("archive", (name,))


def test_references_do_not_wait_allocate_or_show_what_they_do_not_know(tmp_path):
    (tmp_path / "large").write_bytes(b"secret" * 1000)
    os.mkfifo(tmp_path / "pipe")
    codec = XtcReferences(str(tmp_path), ("large", "pipe", "zero"))
    (tmp_path / "zero").symlink_to("/dev/zero")
    position = np.empty((1, 3, 3), np.float32)
    for row in ([0, 0, 6000, 0], [0, 0, 100, 0], [0, -1, 5, 0], [0, 2**62, 2**62, 0], [0, 0, -1, 0]):
        with pytest.raises(IntegrityError, match="not what it was") as caught:
            codec.read(np.array([row]), position)
        assert "secret" not in str(caught.value)
    for source in (1, 2):
        with pytest.raises(StoreError, match="pipe or device"):
            codec.read(np.array([[source, 0, 100, 0]]), position)
    for source in (3, -1, 2**40):
        with pytest.raises(IntegrityError, match="there are 3"):
            codec.read(np.array([[source, 0, 100, 0]]), position)


def test_a_sound_store_is_not_refused(sound, tmp_path):
    """The tests above change one thing of this store; unchanged, all of it works."""
    shutil.copytree(sound, tmp_path / "store")
    dataset = tmp_path / "store" / NAME
    assert verify(tmp_path / "store", deep=True) == []
    assert open_version(dataset / "v000001")["position"].values.shape == (12, 20, 3)
    keep_one(dataset)
    assert np.array_equal(keep_one(dataset)["x"], np.arange(3.0))
    linked = tmp_path / "linked"
    linked.symlink_to(tmp_path / "store")  # a link to a whole store is the user's own
    assert list(open_catalog(linked)) == [NAME]
    with stage(linked / NAME, base=1) as staged:
        staged.publish()
    assert verify(linked, deep=True) == []


def test_chunks_are_what_they_were():
    """The looks at headers change no number."""
    chain = Chain(np.dtype("<i2"), (4, 2, 3), -32768, True, False, ("zstd", 3, "bitshuffle"))
    values, out = np.arange(24, dtype=np.int32).reshape(4, 2, 3), np.empty((4, 2, 3), np.int16)
    data = encode_chunk(values, chain)
    assert not decode_chunk(data, chain, first=0, values=out)
    assert np.array_equal(out, values)
    assert len(Blosc().decode(data[:-4])) == values.size * 2
