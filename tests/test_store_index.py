"""The index of a store against its manifests: it saves reading them, and it never changes what is listed."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cgstore.store_index
from cgstore.catalog import open_catalog, write_catalog
from cgstore.store.integrity import note_of
from cgstore.store.manifests import unseal, write_sealed
from cgstore.store_index import Index, parse_index, read_index, render_index, scan

NAMES = [f"sys_{number:02d}/r{run}/{level}" for number in range(5) for run in (1, 2) for level in ("atoms", "cg")]
HOUR = 3600 * 10**9


def age(store: Path, by: int = HOUR) -> None:
    """Make all of a store older than the ticks of a clock."""
    for path in [store, *store.rglob("*")]:
        when = path.stat().st_mtime_ns - by
        os.utime(path, ns=(when, when))


@pytest.fixture
def store(tmp_path, seal_datasets) -> Path:
    folder = tmp_path / "store"
    seal_datasets(folder, NAMES)
    seal_datasets(folder, NAMES[:4], version=2)
    age(folder)
    write_catalog(folder)
    return folder


@pytest.fixture
def manifests_read(monkeypatch) -> list[str]:
    """List the versions whose manifests are read from now on."""
    import cgstore.store.integrity as module

    read, seen = module.read_manifest, []

    def note(folder: Path):
        seen.append(Path(folder).relative_to(Path(folder).parents[3]).as_posix())
        return read(folder)

    monkeypatch.setattr(module, "read_manifest", note)
    return seen


def listed(store: Path) -> dict:
    """List a store from its manifests alone."""
    return scan(store).rows


def rows(store: Path) -> dict:
    return {name: dict(entry.metadata) for name, entry in open_catalog(store).items()}


def test_an_unchanged_store_is_opened_without_reading_a_manifest(store, manifests_read):
    known = listed(store)
    assert len(manifests_read) == len(known) == len(NAMES)
    manifests_read.clear()
    assert rows(store) == known
    assert manifests_read == []
    assert open_catalog(store)[NAMES[0]].metadata["versions"] == [1, 2]


def test_only_what_changed_is_read(store, seal_datasets, manifests_read):
    seal_datasets(store, [NAMES[7]], version=2)
    seal_datasets(store, ["argon/r1/cg"])
    (store / NAMES[9] / "features").mkdir()
    (store / NAMES[10] / ".stage-0123").mkdir()
    (store / NAMES[11] / ".stage-0123").mkdir()
    (store / NAMES[11] / ".stage-0123").rmdir()
    found = rows(store)
    assert sorted(manifests_read) == ["argon/r1/cg/v000001", f"{NAMES[7]}/v000002"]
    assert found[NAMES[7]]["frames"] == 20
    assert found == listed(store)


def replace_by_note(store: Path, name: str) -> None:
    """Remove an old version as a collection does: its folder stays, with a note as manifest."""
    file = store / name / "v000001" / "MANIFEST.json"
    if file.is_file():
        file.write_bytes(note_of(name, 1, what="collected"))


def damage(store: Path, name: str) -> None:
    for file in (store / name).glob("v*/MANIFEST.json"):
        file.write_text("{")


CHANGES: dict[str, Callable[..., object]] = {
    "remove the dataset": lambda store, name, _: shutil.rmtree(store / name, ignore_errors=True),
    "remove the run": lambda store, name, _: shutil.rmtree((store / name).parent, ignore_errors=True),
    "remove the system": lambda store, name, _: shutil.rmtree((store / name).parents[1], ignore_errors=True),
    "remove a version": lambda store, name, _: shutil.rmtree(store / name / "v000002", ignore_errors=True),
    "empty a version": lambda store, name, _: (store / name / "v000001/MANIFEST.json").unlink(missing_ok=True),
    "collect a version": lambda store, name, _: replace_by_note(store, name),
    "damage": lambda store, name, _: damage(store, name),
    "publish": lambda store, name, seal: seal(store, [name], version=1 + len(list((store / name).glob("v*")))),
    "add a level": lambda store, name, seal: seal(store, [f"{name}_{time.time_ns()}"]),
    "add a run": lambda store, name, seal: seal(store, [name.replace("/", f"/x{time.time_ns()}_", 1)]),
    "add a system": lambda store, name, seal: seal(store, [f"new_{time.time_ns()}/r1/cg"]),
    "keep a result": lambda store, name, _: (store / name / "features/rdf").mkdir(parents=True, exist_ok=True),
    "strange folder": lambda store, name, _: (
        (store / name).parent.joinpath("a b", "v000001").mkdir(parents=True, exist_ok=True)
    ),
    "write the lists": lambda store, name, _: write_catalog(store),
    "age": lambda store, name, _: age(store),
}


@settings(max_examples=40)
@given(changes=st.lists(st.tuples(st.sampled_from(sorted(CHANGES)), st.sampled_from(NAMES[:6])), max_size=6))
def test_whatever_happens_the_index_lists_what_the_manifests_say(tmp_path_factory, seal_datasets, changes):
    folder = tmp_path_factory.mktemp("index") / "store"
    seal_datasets(folder, NAMES[:6])
    age(folder)
    write_catalog(folder)
    for change, name in changes:
        CHANGES[change](folder, name, seal_datasets)
        truth, found = scan(folder), scan(folder, read_index(folder))
        assert found.rows == truth.rows
        assert found.damaged == truth.damaged


@pytest.mark.parametrize("change", sorted(CHANGES))
def test_a_change_with_times_of_long_ago_is_seen(store, seal_datasets, change):
    CHANGES[change](store, NAMES[0], seal_datasets)
    age(store)
    truth, found = scan(store), scan(store, read_index(store))
    assert found.rows == truth.rows
    assert found.damaged == truth.damaged


def times_of(path: Path) -> tuple[int, int]:
    return path.stat().st_atime_ns, path.stat().st_mtime_ns


def reseal(store: Path, name: str, **attrs: object) -> None:
    """Change a manifest where it lies, under the same time."""
    file = store / name / "v000001" / "MANIFEST.json"
    before, content = times_of(file), unseal(file.read_bytes(), where="")
    write_sealed(file.parent, {**content, "attrs": {**content["attrs"], **attrs}})
    os.utime(file, ns=before)


@pytest.fixture(params=["fine", "whole seconds"])
def stopped_clock(request, monkeypatch) -> Callable[[Path], None]:
    """Give a function that writes the lists of a store in the very tick in which it changed last."""

    def write(store: Path) -> None:
        if request.param == "whole seconds":
            for path in [store, *store.rglob("*")]:
                when = path.stat().st_mtime_ns // 10**9 * 10**9
                os.utime(path, ns=(when, when))
        last = max(path.stat().st_mtime_ns for path in store.rglob("*"))
        late = 10**6 if request.param == "fine" else 10**9
        monkeypatch.setattr(cgstore.store_index, "clock_of", lambda store: last + late)
        write_catalog(store)

    return write


def test_a_manifest_that_changes_within_the_tick_of_the_clock_is_read_again(store, stopped_clock):
    reseal(store, NAMES[5], kind="gas___")
    os.utime(store / NAMES[5] / "v000001" / "MANIFEST.json")
    stopped_clock(store)
    assert rows(store)[NAMES[5]]["kind"] == "gas___"
    reseal(store, NAMES[5], kind="solid_")
    assert rows(store)[NAMES[5]]["kind"] == "solid_"


def test_a_folder_that_changes_within_the_tick_of_the_clock_is_listed_again(tmp_path, seal_datasets, stopped_clock):
    folder = tmp_path / "store"
    seal_datasets(folder, ["a/r1/cg"])
    stopped_clock(folder)
    for name, place in (("a/r1/atoms", "a/r1"), ("a/r2/cg", "a"), ("a/r1/cg", "a/r1/cg")):
        before = times_of(folder / place)
        seal_datasets(folder, [name], version=2)
        os.utime(folder / place, ns=before)
        assert rows(folder) == listed(folder)
    assert set(rows(folder)) == {"a/r1/atoms", "a/r1/cg", "a/r2/cg"}
    assert rows(folder)["a/r1/cg"]["versions"] == [1, 2]


def test_what_an_ingest_published_a_moment_ago_is_not_read_again(tmp_path, seal_datasets, manifests_read):
    seal_datasets(tmp_path / "store", NAMES)
    write_catalog(tmp_path / "store")
    manifests_read.clear()
    assert list(open_catalog(tmp_path / "store")) == NAMES
    assert manifests_read == []


def test_lists_that_say_what_is_there_are_not_written_again(store):
    seen = {path: path.stat().st_mtime_ns for path in store.iterdir() if path.is_file()}
    (store / NAMES[3] / ".stage-0123").mkdir()  # of an ingest that failed
    (store / NAMES[4] / "features").mkdir()
    write_catalog(store)
    assert {path: path.stat().st_mtime_ns for path in store.iterdir() if path.is_file()} == seen


def test_a_moved_store_and_a_copy_with_times_need_no_manifest(store, tmp_path, manifests_read):
    known = rows(store)
    shutil.copytree(store, tmp_path / "copy")
    store.rename(tmp_path / "moved")
    assert rows(tmp_path / "copy") == rows(tmp_path / "moved") == known
    assert manifests_read == []
    entry = open_catalog(tmp_path / "moved")[NAMES[0]]
    assert entry.path == tmp_path / "moved" / NAMES[0]


def test_a_copy_without_times_and_the_index_of_another_store_are_read_anew(store, tmp_path, seal_datasets):
    copy = tmp_path / "copy"
    for file in store.rglob("*"):
        if file.is_file():
            (copy / file.relative_to(store)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy / file.relative_to(store))
    assert rows(copy) == rows(store)
    other = tmp_path / "other"
    seal_datasets(other, [*NAMES[:3], "argon/r1/cg"], kind="gas")
    age(other, 2 * HOUR)
    shutil.copy2(store / "index.json", other)
    assert rows(other) == listed(other)
    assert {row["kind"] for row in rows(other).values()} == {"gas"}


def test_opening_writes_nothing(store):
    def state() -> dict[str, int]:
        return {str(path): path.stat().st_mtime_ns for path in [store, *store.rglob("*")]}

    (store / "index.json").unlink()
    before = state()
    open_catalog(store).search(kind="liquid")
    assert state() == before


def test_a_damaged_index_is_not_used(store):
    file = store / "index.json"
    sound, known = file.read_bytes(), listed(store)
    assert parse_index(sound, where="").rows == known
    for place in range(0, len(sound), 97):
        file.write_bytes(sound[:place] + bytes([sound[place] ^ 1]) + sound[place + 1 :])
        assert read_index(store) == Index()
    for text in (b"", b"{}", sound[:-1], sound[: len(sound) // 2], sound + b" ", b"\xff" * 100, b"[" * 10**6):
        file.write_bytes(text)
        assert read_index(store) == Index()
    with file.open("wb") as stream:
        stream.truncate(2**40)  # takes no space on the disk
    assert rows(store) == known
    file.unlink()
    file.mkdir()
    assert rows(store) == known


def sealed(content: object, number: int = 1) -> bytes:
    """Write any content as an index that seems to be in order."""
    body = json.dumps(content, separators=(",", ":")).encode()
    return b'{"cgstore_index": %d, "sha256": "%s", "content":\n%s\n}\n' % (
        number,
        hashlib.sha256(body).hexdigest().encode(),
        body,
    )


def test_an_index_is_plain_json_of_one_format(store):
    text = (store / "index.json").read_bytes()
    assert sealed(json.loads(text)["content"]) == text
    assert set(json.loads(text)["content"]["datasets"]) == set(NAMES)
    (store / "index.json").write_bytes(sealed(json.loads(text)["content"], number=99))
    assert read_index(store) == Index()


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("datasets",), []),
        (("datasets", "../../../etc/x"), {}),
        (("datasets", "/etc/x/y"), {}),
        (("datasets", NAMES[0], "name"), "../x/y"),
        (("datasets", NAMES[0], "version"), "../../../x"),
        (("datasets", NAMES[0], "version"), -1),
        (("datasets", NAMES[0], "versions"), [1, "../x"]),
        (("datasets", NAMES[0], "particles"), True),
        (("datasets", NAMES[0], "composition"), ["CH4"]),
        (("datasets", NAMES[0]), None),
        (("manifests", NAMES[0]), 3),
        (("manifests",), {}),
        (("folders", "sys_00"), 3),
        (("clock",), "now"),
        (("clock",), None),
    ],
)
def test_a_hostile_index_is_not_used(store, place, value):
    content = json.loads((store / "index.json").read_bytes())["content"]
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    (store / "index.json").write_bytes(sealed(content))
    assert read_index(store) == Index()


@pytest.mark.parametrize("inside", ["../../../outside", "..", ".hidden", "r1//r2", "r1/\0"])
def test_names_in_an_index_do_not_lead_out_of_the_store(store, tmp_path, seal_datasets, inside):
    seal_datasets(tmp_path / "outside", ["x/y/z"])
    content = json.loads((store / "index.json").read_bytes())["content"]
    when = content["folders"]["sys_00"].split("/")[0]
    content["folders"]["sys_00"] = f"{when}/{inside}"
    (store / "index.json").write_bytes(sealed(content))
    assert set(read_index(store).rows) == set(NAMES)  # it is well-formed, and yet
    found = scan(store, read_index(store))
    assert set(found.rows) <= set(NAMES)
    assert not [path for path in found.folders if ".." in path or "outside" in path]


def test_what_cannot_be_described_is_set_aside_with_few_words(tmp_path, seal_datasets, caplog):
    seal_datasets(tmp_path, ["good/r1/cg", *(f"bad_{number}/r1/cg" for number in range(30))])
    for number in range(30):
        damage(tmp_path, f"bad_{number}/r1/cg")
    assert list(open_catalog(tmp_path)) == ["good/r1/cg"]
    assert len(open_catalog(tmp_path).damaged) == 30
    assert len(caplog.records) == 2 * 11
    assert "20 more are not listed" in caplog.text


@pytest.mark.parametrize(
    "wrong",
    [{"composition": ["CH4"]}, {"composition": "CH4"}],
)
def test_sealed_manifests_of_the_wrong_kind_are_damaged_and_not_a_traceback(tmp_path, seal_datasets, wrong):
    seal_datasets(tmp_path, ["good/r1/cg"])
    seal_datasets(tmp_path, ["bad/r1/cg"], **wrong)
    catalog = open_catalog(tmp_path)
    assert list(catalog) == ["good/r1/cg"]
    assert "composition" in catalog.damaged["bad/r1/cg"]


def test_a_remote_catalog_is_its_index_or_else_its_yaml(store):
    memory = fsspec.filesystem("memory")
    index, listing = (store / "index.json").read_bytes(), (store / "catalog.yaml").read_bytes()
    known = rows(store)
    for number, (files, expected) in enumerate(
        [
            ({"index.json": index}, known),
            ({"index.json": b"damaged", "catalog.yaml": listing}, known),
            ({"catalog.yaml": listing}, known),
            ({"index.json": render_index(Index(rows={NAMES[0]: known[NAMES[0]]})).encode()}, {}),
            ({"index.json": index.replace(b"liquid", b"solid!"), "catalog.yaml": listing}, known),
        ]
    ):
        url = f"memory://bucket/index-{number}"
        for name, text in files.items():
            memory.pipe_file(f"{url}/{name}", text)
        if not expected:  # rows without times are no index
            with pytest.raises(ValueError, match="no such file"):
                open_catalog(url)
            continue
        assert rows(url) == expected
        assert {entry.location for entry in open_catalog(url).values()} == {f"{url}/{name}" for name in NAMES}
