"""The publishing card: what Croissant requires, links that lead somewhere, digests of the files, text of strangers."""

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgstore.card import Card, make_card
from cgstore.card.terms import bibtex, doi_url, licence
from cgstore.catalog import open_catalog
from cgstore.cli.app import main
from cgstore.errors import InputError, IntegrityError

LIQUID, BILAYER, BARE = "methane_112k/r1/cg", "dmpc_303k/r1/cg", "neon/r1/atoms"
SOURCE = {"path": "methane_112k/traj.xtc", "size": 123, "digest": "ab" * 32}
STATED = {
    "title": "Liquid methane",
    "license": "CC-BY-4.0",
    "doi": "10.5281/zenodo.1234",
    "authors": ["Zoë Müller", "Bo Li"],
    "created": "2026-01-02T03:04:05+00:00",
    "recipe": "methane_112k.toml",
}
HOSTILE = '</script><script>alert("x")</script> \x1b[2J \u202e } \\end{document} "@id": "http://evil.example" \n{'


@pytest.fixture(scope="module")
def store(tmp_path_factory, add_dataset) -> Path:
    folder = tmp_path_factory.mktemp("cards") / "store"
    state = {"temperature": 112.0, "pressure": 50.0, "composition": {"CH4": 222}, "parameters": {"sigma": 0.34}}
    add_dataset(folder, LIQUID, **STATED, **state, sources=[SOURCE], tags=["demo"])
    add_dataset(folder, LIQUID, **STATED, **state, sources=[SOURCE], tags=["demo"], frames=16)
    add_dataset(
        folder, BILAYER, kind="bilayer", recipe="dmpc_303k.toml", license="own terms", authors=["Bo Li"], seed=2
    )
    add_dataset(folder, BARE, seed=3, copied=False)
    return folder


def card_of(store: Path, *names: str, **options: str) -> Card:
    catalog = open_catalog(store)
    return make_card([catalog[name] for name in names] if names else catalog.values(), **options)


def nodes_of(document: Any, kind: str) -> list[dict[str, Any]]:
    """Return every node of a type, wherever it is."""
    if isinstance(document, list):
        return [node for item in document for node in nodes_of(item, kind)]
    if not isinstance(document, dict):
        return []
    own = [document] if document.get("@type") == kind else []
    return own + [node for key, value in document.items() if key != "@context" for node in nodes_of(value, kind)]


def references_of(document: Any) -> set[str]:
    """Return every `@id` that stands alone: a reference."""
    if isinstance(document, list):
        return {name for item in document for name in references_of(item)}
    if not isinstance(document, dict):
        return set()
    if set(document) == {"@id"}:
        return {document["@id"]}
    return {name for key, value in document.items() if key != "@context" for name in references_of(value)}


def keys_of(document: Any) -> set[str]:
    if isinstance(document, list):
        return {key for item in document for key in keys_of(item)}
    if not isinstance(document, dict):
        return set()
    return set(document) | {key for name, value in document.items() if name != "@context" for key in keys_of(value)}


def test_a_card_has_what_croissant_requires(store):
    card = card_of(store, LIQUID)
    document = json.loads(card.render())
    assert document == card.document
    required = {"@context", "@type", "conformsTo", "description", "license", "name", "url", "creator", "datePublished"}
    assert required <= set(document)
    assert (document["@type"], document["conformsTo"]) == ("sc:Dataset", "http://mlcommons.org/croissant/1.1")
    assert document["license"] == ["https://spdx.org/licenses/CC-BY-4.0"]
    assert document["url"] == "https://doi.org/10.5281/zenodo.1234"
    assert [author["name"] for author in document["creator"]] == ["Zoë Müller", "Bo Li"]
    assert "author = {Zoë Müller and Bo Li}" in document["citeAs"]
    assert "doi = {10.5281/zenodo.1234}" in document["citeAs"]
    assert document["datePublished"] == "2026-01-02"
    assert {"CH4", "demo", "liquid", "molecular dynamics"} <= set(document["keywords"])
    assert re.fullmatch(r"2\.0\.0\+[0-9a-f]{12}", document["version"])
    assert card.problems == ()


def test_every_word_is_of_a_vocabulary_of_the_context(store):
    document = card_of(store).document
    prefixes = {
        key for key, value in document["@context"].items() if isinstance(value, str) and value.endswith(("/", "#"))
    }
    words = keys_of(document)
    assert {word.partition(":")[0] for word in words if ":" in word} == {"prov"} <= prefixes
    croissant = {"conformsTo", "recordSet", "field", "dataType", "isArray", "arrayShape", "source", "extract", "column"}
    assert croissant | {"fileSet", "includes", "citeAs"} <= words & set(document["@context"])
    for node in (document, *nodes_of(document, "cr:FileSet")):
        assert node["@type"].partition(":")[0] in prefixes
    assert "value" not in document["@context"]  # that of a property is the one of schema.org


def test_links_resolve_and_names_are_used_once(store):
    document = card_of(store).document
    kinds = ("cr:FileSet", "cr:FileObject", "cr:RecordSet", "cr:Field")
    names = [node["@id"] for kind in kinds for node in nodes_of(document, kind)]
    assert len(names) == len(set(names)) > 100
    assert references_of(document) == {LIQUID, BILAYER, BARE}
    assert references_of(document) <= set(names)
    assert not any(re.search(r"\s", name) for name in names)


def test_digests_and_sizes_are_those_of_the_files(store):
    document = card_of(store, LIQUID).document
    listed = {}
    for node in nodes_of(document, "cr:FileObject"):
        content = (store / unquote(node["contentUrl"])).read_bytes()
        assert node["sha256"] == hashlib.sha256(content).hexdigest()
        assert node["contentSize"] == f"{len(content)} B"
        listed[node["contentUrl"]] = node
    (files,) = nodes_of(document, "cr:FileSet")
    assert files["includes"] == f"{LIQUID}/v000002/**"
    there = {path.relative_to(store).as_posix() for path in (store / LIQUID / "v000002").rglob("*") if path.is_file()}
    assert set(listed) == there
    assert files["version"] == "2"
    assert files["identifier"] == f"sha256:{open_catalog(store)[LIQUID].metadata['digest']}"


def test_fields_are_the_variables_with_type_shape_and_unit(store):
    document = card_of(store, LIQUID).document
    ds = open_catalog(store)[LIQUID].open()
    fields = {node["name"]: node for node in nodes_of(document, "cr:Field")}
    assert set(fields) == {name for name, array in ds.variables.items() if array.size}
    for name, node in fields.items():
        shape = tuple(int(size) for size in node.get("arrayShape", "").split(",") if size)
        assert shape == ds[name].shape[1:]
        assert node.get("isArray", False) == bool(shape)
        assert node.get("unitText", "") == ds[name].attrs.get("units", "")
        assert f"dims ({', '.join(ds[name].dims)})" in node["description"]
        width = "sc:Text" if ds[name].dtype.kind == "U" else f"cr:{str(ds[name].dtype).capitalize()}"
        assert width in node["dataType"]
    assert fields["position"]["@id"] == f"{LIQUID}/frame/position"
    assert fields["position"]["unitCode"] == "http://qudt.org/vocab/unit/NanoM"
    assert [node["@id"] for node in document["recordSet"]] == [f"{LIQUID}/frame", f"{LIQUID}/particle"]


def test_lineage_state_point_and_composition_are_stated(store):
    (files,) = nodes_of(card_of(store, LIQUID).document, "cr:FileSet")
    stated = {(node.get("propertyID"), node["name"]): node for node in files["additionalProperty"]}
    assert (stated[None, "temperature"]["value"], stated[None, "temperature"]["unitText"]) == (112.0, "K")
    assert stated[None, "pressure"]["unitCode"] == "http://qudt.org/vocab/unit/BAR"
    assert stated["composition", "CH4"]["value"] == 222
    assert stated["parameter", "sigma"]["value"] == 0.34
    (source,) = files["prov:wasDerivedFrom"]
    assert (source["sha256"], source["name"], source["contentSize"]) == ("ab" * 32, SOURCE["path"], "123 B")
    assert source["@id"] == f"urn:sha256:{'ab' * 32}"
    assert files["prov:wasGeneratedBy"]["name"] == "cgstore ingest methane_112k.toml"


def test_equal_content_has_equal_bytes_wherever_it_lies(store, tmp_path):
    shutil.copytree(store, tmp_path / "copy")
    entries = open_catalog(store).values()
    text = make_card(entries).render()
    assert make_card(reversed(entries)).render() == text == card_of(tmp_path / "copy").render()
    assert str(store) not in text


def test_a_url_is_where_the_files_are(store):
    document = card_of(store, LIQUID, url="https://example.org/data/", name="Ours").document
    assert (document["url"], document["name"]) == ("https://example.org/data", "Ours")
    assert document["sameAs"] == "https://doi.org/10.5281/zenodo.1234"
    urls = [node["contentUrl"] for node in nodes_of(document, "cr:FileObject")]
    assert all(url.startswith(f"https://example.org/data/{LIQUID}/v000002/") for url in urls)
    with pytest.raises(InputError, match="user or password"):
        card_of(store, LIQUID, url="https://me:secret@example.org/data")
    with pytest.raises(InputError, match="expected one such as"):
        card_of(store, LIQUID, url="data")


def test_what_is_missing_is_said_with_what_to_do(store):
    problems = card_of(store).problems
    assert not [line for line in problems if line.startswith("methane_112k")]
    assert any("dmpc_303k: found no doi" in line and "of dmpc_303k.toml and ingest again" in line for line in problems)
    assert [line.partition(";")[0] for line in problems if line.startswith("neon")] == [
        "neon: found no license",
        "neon: found no doi",
        "neon: found no authors",
        f"{BARE}: its positions stay in source files outside the store",
    ]
    assert "--url" in problems[-1]  # one DOI, but not of all
    assert "url" not in card_of(store).document


def test_a_doi_that_is_none_is_no_link(tmp_path, add_dataset):
    add_dataset(tmp_path, LIQUID, **{**STATED, "doi": "javascript:alert(1)//10.5281/x"})
    card = card_of(tmp_path)
    assert "javascript" not in card.render()
    assert any("expected 10.NUMBER/NAME" in line for line in card.problems)


def test_hostile_text_stays_text(tmp_path, add_dataset):
    texts = dict.fromkeys(
        ("title", "license", "doi", "forcefield", "software", "recipe", "created", "ensemble"), HOSTILE
    )
    lists = {"authors": [HOSTILE, 3, None], "tags": [HOSTILE, {"@id": "x"}], "kind": ["liquid"]}
    tables = {"composition": {HOSTILE: 1, "CH4": {"@id": "x"}}, "parameters": {"a": {"@id": "x"}, "b": [1]}}
    sources = [{"path": HOSTILE, "size": "12", "digest": HOSTILE}, "text", {"path": {"@id": "x"}}]
    add_dataset(tmp_path, LIQUID, **texts, **{**lists, **tables}, sources=sources, created_with=HOSTILE)
    plain = tmp_path / "plain"
    add_dataset(plain, LIQUID, **STATED)
    card = card_of(tmp_path)
    text = card.render()
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e<]", text)
    document = json.loads(text)
    assert document["creator"][0]["name"] == HOSTILE
    assert document["license"] == [{"@type": "sc:CreativeWork", "name": HOSTILE.strip()}]
    assert references_of(document) == references_of(card_of(plain).document) == {LIQUID}
    assert "\n" not in "".join(card.problems)
    assert "\x1b" not in "".join(card.problems)


@given(st.text())
def test_bibtex_is_one_entry_whatever_is_in_it(text):
    entry = bibtex(text, {"title": text}, authors=[text])
    assert re.match(r"@misc\{[A-Za-z0-9_]*,?\n", entry)
    depth, low = 0, 1
    for character in re.sub(r"\\[{}]", "", entry)[:-1]:
        depth += {"{": 1, "}": -1}.get(character, 0)
        low = min(low, depth if depth or character == "}" else low)
    assert (depth, low) == (1, 1)


@given(st.text())
def test_text_becomes_a_link_only_if_it_is_one(text):
    found = licence(text)
    assert isinstance(found, dict) or found.startswith(("https://spdx.org/licenses/", "http"))
    link = doi_url(text)
    assert link is None or re.fullmatch(r"https://doi\.org/10\.[!-~]+", link)


def test_a_damaged_dataset_gets_no_card(store, tmp_path):
    shutil.copytree(store, tmp_path / "store")
    (tmp_path / "store" / LIQUID / "v000002/position/zarr.json").unlink()
    with pytest.raises(IntegrityError, match=r"position/zarr.json: is missing; run cgstore verify"):
        card_of(tmp_path / "store", LIQUID)


def run(capsys, store: Path, *words: object) -> tuple[int, str, str]:
    code = main(["card", *map(str, words), "--store", str(store)])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return code, captured.out, captured.err


def test_the_command_prints_or_writes_the_card_and_warns(store, tmp_path, capsys):
    code, out, err = run(capsys, store)
    assert code == 0
    assert out == card_of(store).render()
    assert "warning: neon: found no license; write license" in err
    assert run(capsys, store, "--quiet")[2] == ""
    assert json.loads(run(capsys, store, LIQUID, "--json")[1]) == card_of(store, LIQUID).document
    file = tmp_path / "card.json"
    code, out, err = run(capsys, store, LIQUID, "-o", file)
    assert (code, out, err) == (0, f"{file}: card of 1 dataset, 0 missing\n", "")
    assert file.read_bytes() == card_of(store, LIQUID).render().encode()


def test_the_command_takes_names_and_facets(store, capsys):
    def chosen(*words: str) -> set[str]:
        document = json.loads(run(capsys, store, *words, "--json")[1])
        return {node["@id"] for node in nodes_of(document, "cr:FileSet")}

    assert chosen() == {LIQUID, BILAYER, BARE}
    assert chosen("kind=bilayer") == {BILAYER}
    assert chosen("temperature=100..120", BARE) == {LIQUID, BARE}
    code, out, err = run(capsys, store, "kind=surface")
    assert (code, out) == (2, "")
    assert "found no dataset to describe" in err
    assert 'did you mean "methane_112k/r1/cg"' in run(capsys, store, "methane_112k/r1/gc")[2]


def test_strict_refuses_what_is_not_complete(store, tmp_path, capsys):
    file = tmp_path / "card.json"
    code, out, err = run(capsys, store, "--strict", "-o", file)
    assert (code, out, file.exists()) == (2, "", False)
    assert "neon: found no license" in err
    assert run(capsys, store, LIQUID, "--strict", "-o", file)[0] == 0
    assert file.exists()
