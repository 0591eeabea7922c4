"""Catalogs that want harm, and credentials that must not be kept: nothing runs, leaves its place, or is repeated."""

import json
import logging
import os
from pathlib import Path

import fsspec
import pytest
import yaml

from cgstore.catalog import open_catalog, write_catalog, write_collections
from cgstore.errors import CgstoreError, InputError

NAME = "dmpc_303k/r1/cg"


@pytest.fixture
def store(tmp_path, seal_datasets) -> Path:
    folder = tmp_path / "store"
    seal_datasets(folder, [NAME, "argon/r1/cg"])
    write_catalog(folder)
    return folder


@pytest.mark.parametrize(
    "url",
    [
        "s3://AKIAKEY:hunter2@bucket/store",
        "https://hunter2@host/store",
        "https://user:hunter2@host/store/catalog.yaml",
        "https://host/store?X-Amz-Signature=hunter2",
        "https://host/store/catalog.yaml?sig=hunter2",
        "https://host/store#hunter2",
        "ftp://me:hunter2@host/store",
        "simplecache::s3://key:hunter2@bucket/store",
        "memory://me:hunter2@bucket/store",
    ],
)
def test_a_url_with_credentials_is_refused_and_not_repeated(url, caplog):
    caplog.set_level(logging.DEBUG)
    with pytest.raises(InputError, match=r"found a (user or password|query or signature)") as caught:
        open_catalog(url)
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in caplog.text
    assert "environment" in str(caught.value)


def edited(store: Path, tmp_path: Path, change) -> Path:
    """Return a catalog file beside a store, changed."""
    document = yaml.safe_load((store / "catalog.yaml").read_text())
    document = change(document) or document
    file = store / "edited.yaml"
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    return file


def with_url(url: str):
    def change(document: dict) -> None:
        document["data"]["d1"]["kwargs"]["url"] = url

    return change


def with_metadata(**known: object):
    def change(document: dict) -> None:
        document["entries"]["e1"]["metadata"] |= known

    return change


def test_credentials_in_a_catalog_file_go_nowhere(store, tmp_path):
    def change(document: dict) -> None:
        for data in document["data"].values():
            data["kwargs"]["storage_options"] = {"key": "AKIAKEY", "secret": "hunter2"}

    file = edited(store, tmp_path, change)
    catalog = open_catalog(file)
    assert "hunter2" not in repr(catalog) + catalog._repr_html_() + json.dumps(catalog.rows()) + repr(catalog.values())
    write_collections(file, tmp_path / "catalogs")
    assert "hunter2" not in "".join(path.read_text() for path in (tmp_path / "catalogs").iterdir())
    with pytest.raises(InputError, match="user or password") as caught:
        open_catalog(edited(store, tmp_path, with_url(f"s3://key:hunter2@bucket/{NAME}/v000001")))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system ['touch HACKED']",
        "version: 2\naliases: {a: !!python/name:os.system }\ndata: {}\nentries: {}\n",
        "version: 2\nmetadata: !!binary aGFja2Vk\naliases: {}\ndata: {}\nentries: {}\n",
        "version: 2\naliases: &a {}\ndata: *a\nentries: {}\n",
        "a: &a [x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c]\n",
        "a: " + "[" * 200_000,
        "a: " + "{a: " * 200_000,
        "\n".join(" " * depth + "a:" for depth in range(2000)),
        "- " * 100_000,
        "? " * 100_000,
        "version: " + "9" * 10_000,
        "version: 2020-99-99",
        "version: 2\nversion: 2\x00",
        "\ufeff%YAML 9.9\n---\na",
        "---\na\n---\nb\n",
        "version: 2\naliases: {[a]: b}\ndata: {}\nentries: {}\n",
        "<<: 3",
    ],
)
def test_a_hostile_yaml_is_an_input_error(tmp_path, text, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "catalog.yaml").write_text(text)
    with pytest.raises(InputError, match=r"catalog\.yaml"):
        open_catalog("catalog.yaml")
    assert os.listdir() == ["catalog.yaml"]


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"\x80abc", os.urandom(4096)])
def test_bytes_that_are_no_text_are_an_input_error(tmp_path, content):
    (tmp_path / "catalog.yaml").write_bytes(content)
    with pytest.raises(InputError, match=r"catalog\.yaml"):
        open_catalog(tmp_path / "catalog.yaml")


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    with (tmp_path / "catalog.yaml").open("wb") as file:
        file.truncate(2**40)  # takes no space on the disk
    with pytest.raises(InputError, match="more than 64 MiB"):
        open_catalog(tmp_path / "catalog.yaml")


@pytest.mark.parametrize(
    "change",
    [
        with_metadata(version="../../../../x"),
        with_metadata(version=-3),
        with_metadata(versions=["../x"]),
        with_metadata(name="../../x"),
        with_metadata(bytes="many"),
        with_metadata(particles=None),
        with_metadata(composition=[["CH4"]]),
        with_metadata(created=__import__("datetime").date(2020, 1, 1)),
        with_metadata(temperature=float("nan")),
        lambda document: document["aliases"].update({"../../x/y/z": "e1"}),
        lambda document: document["aliases"].update({3: "e1"}),
        lambda document: document["aliases"].update({"a/b/c": "e1"}),
        lambda document: document["entries"].update(e1=[]),
        lambda document: document["entries"]["e1"].update(metadata="x"),
        lambda document: document["entries"]["e1"]["kwargs"].update(args=[3]),
        lambda document: document["data"]["d1"]["kwargs"].update(url=3),
        with_url("/etc"),
        with_url("{CATALOG_DIR}/elsewhere/v000001"),
        with_url(f"{{CATALOG_DIR}}/{NAME}/../../../x/y/z/v000001"),
    ],
)
def test_an_entry_that_cgstore_did_not_write_is_an_input_error(store, tmp_path, change):
    assert len(open_catalog(edited(store, tmp_path, lambda document: None))) == 2
    with pytest.raises(InputError, match=r"edited\.yaml"):
        open_catalog(edited(store, tmp_path, change))


def put(url: str, text: str) -> None:
    fsspec.filesystem("memory").pipe_file(url, text.encode())


@pytest.mark.parametrize(
    "url",
    [
        f"/data/store/{NAME}/v000001",
        f"file:///data/store/{NAME}/v000001",
        f"s3://bucket/store/{NAME}/v000001",
        f"memory://other/store/{NAME}/v000001",
        f"simplecache::memory://lonely/store/{NAME}/v000001",
        f"{{CATALOG_DIR}}/../../other/{NAME}/v000001",
        f"memory://lonely/elsewhere/{NAME}/v000001",
        "{CATALOG_DIR}/../argon/r1/cg/v000001",
    ],
)
def test_a_store_on_the_network_lists_only_itself(store, tmp_path, url):
    document = yaml.safe_load((store / "catalog.yaml").read_text())
    put("memory://lonely/store/catalog.yaml", yaml.safe_dump(document))
    assert len(open_catalog("memory://lonely/store")) == 2
    with_url(url)(document)
    put("memory://lonely/store/catalog.yaml", yaml.safe_dump(document))
    with pytest.raises(InputError, match="leads to another place"):
        open_catalog("memory://lonely/store")


def test_a_file_on_the_network_nests_files_of_its_host_only(store, tmp_path):
    write_collections(store, tmp_path / "catalogs")
    put("memory://host/store/catalog.yaml", (store / "catalog.yaml").read_text())
    for file in (tmp_path / "catalogs").iterdir():
        put(f"memory://host/catalogs/{file.name}", file.read_text())
    assert open_catalog("memory://host/catalogs/catalog.yaml")[NAME].location == f"memory://host/store/{NAME}"
    top = yaml.safe_load((tmp_path / "catalogs/catalog.yaml").read_text())
    for url in (str(store / "catalog.yaml"), "memory://other/catalogs/liquid.yaml", "{CATALOG_DIR}/../../x.yaml"):
        top["data"]["d0"]["kwargs"]["url"] = url
        put("memory://host/catalogs/catalog.yaml", yaml.safe_dump(top))
        with pytest.raises(InputError, match="leads to another place"):
            open_catalog("memory://host/catalogs/catalog.yaml")


def test_files_that_nest_each_other_for_ever_end(tmp_path):
    def nest(target: str) -> str:
        data = {"datatype": "intake.readers.datatypes:YAMLFile", "kwargs": {"url": f"{{CATALOG_DIR}}/{target}"}}
        entry = {
            "reader": "intake.readers.readers:YAMLCatalogReader",
            "kwargs": {"args": ["{data(d)}"]},
            "metadata": {},
        }
        return yaml.safe_dump({"version": 2, "aliases": {"x": "e"}, "data": {"d": data}, "entries": {"e": entry}})

    (tmp_path / "self.yaml").write_text(nest("self.yaml"))
    assert list(open_catalog(tmp_path / "self.yaml")) == []
    for number in range(9):
        (tmp_path / f"{number}.yaml").write_text(nest(f"{number + 1}.yaml"))
    with pytest.raises(InputError, match="nested more than 3 deep"):
        open_catalog(tmp_path / "0.yaml")


@pytest.mark.parametrize("kind", ["../../escaped", "catalog", "a/b", ".hidden", "", ["x"], {"a": 1}, 3])
def test_the_kind_of_a_system_does_not_choose_where_files_are_written(tmp_path, seal_datasets, kind):
    seal_datasets(tmp_path / "store", [NAME], kind=kind)
    write_collections(tmp_path / "store", tmp_path / "a/b/catalogs")
    written = sorted(path.relative_to(tmp_path).as_posix() for path in (tmp_path).rglob("*.yaml"))
    assert written == ["a/b/catalogs/catalog.yaml", "a/b/catalogs/other.yaml"]
    assert open_catalog(tmp_path / "a/b/catalogs/catalog.yaml").rows() == open_catalog(tmp_path / "store").rows()


def test_a_place_that_does_not_answer_is_one_error_without_its_words(monkeypatch):
    from fsspec.implementations.memory import MemoryFileSystem

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("denied for key=AKIAKEY secret=hunter2")

    monkeypatch.setattr(MemoryFileSystem, "open", refuse)
    with pytest.raises(CgstoreError, match="cannot be read") as caught:
        open_catalog("memory://bucket/store")
    assert "hunter2" not in str(caught.value)


def test_titles_are_not_programs(tmp_path, seal_datasets):
    title = "<script>{{ 7*7 }}</script> {env(HOME)} %s {0}"
    seal_datasets(tmp_path, [NAME], title=title)
    write_catalog(tmp_path)
    catalog = open_catalog(tmp_path / "catalog.yaml")
    assert catalog[NAME].metadata["title"] == title
    assert "<script>" not in catalog[NAME]._repr_html_()
