"""The catalog against stores made through the store itself, and against plain intake and fsspec."""

import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import numpy as np
import pytest
import yaml

import cgstore.store_index as module_of_lists
from cgstore.catalog import Catalog, check_collections, open_catalog, write_catalog, write_collections
from cgstore.errors import InputError, IntegrityError, NotFound
from cgstore.facets import lipids, parse_questions
from cgstore.store_index import read_index

DMPC, DPPC, METHANE = "dmpc_303k/r1/cg", "dppc_323k/r1/cg", "methane_112k/r1/cg"


@pytest.fixture(scope="module")
def store(tmp_path_factory, add_dataset) -> Path:
    folder = tmp_path_factory.mktemp("catalog") / "store"
    add_dataset(
        folder,
        DMPC,
        kind="bilayer",
        temperature=303.0,
        forcefield="Lipid21",
        title='DMPC & <water> {x} "q"',
        composition={"DMPC": 64, "HOH": 1907},
        tags=["hydrated", "small"],
    )
    add_dataset(folder, DPPC, kind="bilayer", temperature=323.0, composition={"DPPC": 72, "SOL": 2864}, seed=2)
    add_dataset(folder, METHANE, temperature=112.0, composition={"CH4": 222}, parameters={"sigma": 0.34}, seed=3)
    add_dataset(folder, METHANE, temperature=112.0, composition={"CH4": 222}, parameters={"sigma": 0.34}, frames=20)
    write_catalog(folder)
    return folder


@pytest.fixture
def own_store(tmp_path, store) -> Path:
    return Path(shutil.copytree(store, tmp_path / "own"))


def test_tables_and_rows_count_the_numbers_in_names(tmp_path, add_dataset):
    for run in ("r10", "r2", "r1"):
        add_dataset(tmp_path, f"water/{run}/cg", temperature=300.0, composition={"SOL": 20})
    add_dataset(tmp_path, "water2/r1/cg", temperature=300.0, composition={"SOL": 20})
    catalog = open_catalog(tmp_path)
    ordered = ["water/r1/cg", "water/r2/cg", "water/r10/cg", "water2/r1/cg"]
    assert [row["name"] for row in catalog.rows()] == ordered
    assert [line.split()[0] for line in catalog.table().splitlines()[2:]] == ordered
    assert [line.split()[0] for line in repr(catalog).splitlines()[2:]] == ordered


def test_a_folder_of_other_things_is_no_store_and_an_empty_one_has_no_datasets(tmp_path):
    assert len(open_catalog(tmp_path)) == 0
    (tmp_path / "methane_112k").mkdir()
    (tmp_path / "methane_112k/system.tpr").touch()
    with pytest.raises(InputError, match=r"no store: found methane_112k, expected .* --store .* cgstore ingest"):
        open_catalog(tmp_path)
    write_catalog(tmp_path)
    assert len(open_catalog(tmp_path)) == 0


def test_a_store_lists_the_newest_version_of_each_dataset(store):
    catalog = open_catalog(store)
    assert list(catalog) == [DMPC, DPPC, METHANE]
    assert len(catalog) == 3
    assert METHANE in catalog
    row = catalog[METHANE].metadata
    assert (row["version"], row["frames"], row["particles"], row["time_ps"]) == (2, 20, 20, 38.0)
    assert catalog[METHANE].versions() == [1, 2]


def test_rows_are_plain_json_with_the_promised_keys(store):
    rows = json.loads(json.dumps(open_catalog(store).rows()))
    promised = "name kind system run level version frames particles time_ps bytes digest temperature composition"
    for row in rows:
        assert set(promised.split()) <= set(row)
    assert rows[0]["composition"] == {"DMPC": 64, "HOH": 1907}
    assert rows[0]["lipid"] == ["DMPC"]


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ({"kind": "bilayer"}, [DMPC, DPPC]),
        ({"kind": "Bilayer"}, []),
        ({"lipid": "DMPC"}, [DMPC]),
        ({"lipid": ["DPPC", "DMPC"]}, [DMPC, DPPC]),
        ({"component": "CH4"}, [METHANE]),
        ({"temperature": 303}, [DMPC]),
        ({"temperature": (303, 323)}, [DMPC, DPPC]),
        ({"temperature": (303.1, None)}, [DPPC]),
        ({"temperature": [112, 323.0]}, [DPPC, METHANE]),
        ({"tags": "small"}, [DMPC]),
        ({"sigma": (0.3, 0.4)}, [METHANE]),
        ({"kind": "bilayer", "temperature": (295, 310)}, [DMPC]),
        ({"name": METHANE}, [METHANE]),
        ({}, [DMPC, DPPC, METHANE]),
    ],
)
def test_search_finds(store, question, found):
    assert list(open_catalog(store).search(**question)) == found


def test_search_can_be_refined(store):
    assert list(open_catalog(store).search(kind="bilayer").search(lipid="DPPC")) == [DPPC]


@pytest.mark.parametrize(
    ("question", "error", "message"),
    [
        ({"temprature": 303}, NotFound, 'did you mean "temperature"'),
        ({"xyz": 303}, NotFound, "known are .*temperature"),
        ({"temperature": "303 K"}, InputError, "expected a number"),
        ({"kind": 3}, InputError, "expected a text; the values here are bilayer, liquid"),
        ({"kind": ("a", "b")}, InputError, "a range is two numbers"),
        ({"temperature": (1, 2, 3)}, InputError, "a range is two numbers"),
    ],
)
def test_a_question_of_the_wrong_kind_is_refused(store, question, error, message):
    with pytest.raises(error, match=message):
        open_catalog(store).search(**question)


def test_words_of_the_command_line_mean_what_search_means(store):
    known = open_catalog(store).facets()

    def asked(*words):
        return parse_questions(words, known, where="store")

    assert asked("temperature=295..325", "kind=bilayer,liquid") == {
        "temperature": (295.0, 325.0),
        "kind": ["bilayer", "liquid"],
    }
    assert asked("temperature=303") == {"temperature": 303.0}
    assert parse_questions(["copied=true"], {"copied": [False, True]}, where="store") == {"copied": True}
    for words, message in [
        (["temperature"], "expected KEY=VALUE"),
        (["kind=a", "kind=b"], "asked twice"),
        (["temperature=warm"], "expected a number"),
        (["temperature=1..warm"], "range is two numbers"),
        (["temperature=2..1"], "lower end first"),
        (["knd=a"], "did you mean"),
    ]:
        with pytest.raises((InputError, NotFound), match=message):
            asked(*words)


def test_lipids_are_phospholipids_and_sterols_and_not_water_or_ions():
    assert lipids(["POPE", "DMPC", "CHOL", "HOH", "SPCE", "NA", "CH4", "dmpc", "PC"]) == ["CHOL", "DMPC", "POPE"]


def test_an_entry_opens_its_version_and_older_ones(store):
    entry = open_catalog(store)[METHANE]
    assert entry.open().sizes["frame"] == 20
    assert entry.open(version=1).sizes["frame"] == 12
    assert entry.open().attrs["digest"] == entry.metadata["digest"]
    with pytest.raises(NotFound, match=r"no version 7; there are 1, 2"):
        entry.open(version=7)


def test_a_catalog_is_a_snapshot(own_store, add_dataset):
    catalog = open_catalog(own_store)
    add_dataset(own_store, DMPC, frames=15, kind="bilayer")
    assert catalog[DMPC].open().sizes["frame"] == 12
    assert open_catalog(own_store)[DMPC].open().sizes["frame"] == 15


def test_a_wrong_name_gets_a_suggestion(store):
    with pytest.raises(NotFound, match='did you mean "dmpc_303k/r1/cg"'):
        open_catalog(store)["dmpc_303k/r1/gc"]
    with pytest.raises(NotFound, match="catalog is empty"):
        Catalog("x")["a/b/c"]


def test_a_missing_store_says_what_to_do(tmp_path):
    with pytest.raises(InputError, match="make one with cgstore ingest"):
        open_catalog(tmp_path / "none")


def test_a_damaged_dataset_does_not_hide_the_others(own_store, caplog):
    (own_store / DMPC / "v000001" / "MANIFEST.json").write_text("{")
    catalog = open_catalog(own_store)
    assert list(catalog) == [DPPC, METHANE]
    assert "dmpc_303k/r1/cg is not listed" in caplog.text
    with pytest.raises(IntegrityError, match="run cgstore verify"):
        catalog[DMPC]


def test_tables_show_every_dataset_and_escape_html(store):
    catalog = open_catalog(store)
    text, html = repr(catalog), catalog._repr_html_()
    for name in catalog:
        assert name in text
        assert name in html
    assert text.splitlines()[0].endswith("3 datasets")
    card = catalog[DMPC]._repr_html_()
    assert "DMPC &amp; &lt;water&gt;" in card
    assert "<water>" not in card
    assert "catalog[&quot;dmpc_303k/r1/cg&quot;].open()" in card


def test_the_catalog_file_says_the_same_as_the_manifests(store):
    listed = open_catalog(store / "catalog.yaml")
    scanned = open_catalog(store)
    assert listed.rows() == scanned.rows()
    assert listed[METHANE].versions() == [1, 2]
    assert listed[DMPC].path.resolve() == (store / DMPC).resolve()
    np.testing.assert_array_equal(listed[DMPC].open().position, scanned[DMPC].open().position)


def test_a_catalog_opens_by_file_and_memory_urls(store):
    assert open_catalog(store.as_uri()).rows() == open_catalog(store).rows()
    memory = fsspec.filesystem("memory")
    for path in store.rglob("*"):
        if path.is_file() and "/." not in str(path):
            memory.pipe_file(f"/bucket/store/{path.relative_to(store).as_posix()}", path.read_bytes())
    remote = open_catalog("memory://bucket/store")
    assert remote.rows() == open_catalog(store).rows()
    assert remote[METHANE].versions() == [1, 2]
    assert remote[METHANE].location == f"memory://bucket/store/{METHANE}"
    with pytest.raises(InputError, match="copy the store"):
        _ = remote[METHANE].path
    with pytest.raises(NotFound):
        remote[METHANE].open(version=5)
    np.testing.assert_array_equal(
        remote[METHANE].open(version=1).position, open_catalog(store)[METHANE].open(version=1).position
    )


def test_a_url_without_a_store_is_an_input_error():
    with pytest.raises(InputError, match="no such file"):
        open_catalog("memory://bucket/nothing")
    with pytest.raises(InputError, match="Protocol not known"):
        open_catalog("nonsense://bucket/nothing")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "not a YAML file"),
        ("version: 1\nsources: {}\n", "not an intake catalog of version 2"),
        ("just text", "not an intake catalog of version 2"),
        ("{version: 2, aliases: {a: b}, data: {}, entries: {}}", "entry 'a' is not one that cgstore wrote"),
    ],
)
def test_a_foreign_yaml_is_refused(tmp_path, text, message):
    (tmp_path / "catalog.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        open_catalog(tmp_path / "catalog.yaml")


PLAIN_INTAKE = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "cgstore":
            raise ImportError("cgstore is not installed here")
sys.meta_path.insert(0, Block())
import intake, json
catalog = intake.open_catalog(sys.argv[1])
if sys.argv[2]:
    catalog = catalog[sys.argv[2]].read()
ds = catalog["{name}"].read()
assert ds.position.chunks is not None, "not lazy"
assert "cgstore" not in sys.modules
x = ds.position.values
print(json.dumps({"names": list(catalog), "sum": float(x.sum()), "shape": x.shape, "unit": ds.position.attrs["units"],
                  "lipid": catalog["{name}"].metadata["lipid"], "time": ds.time.values.tolist()}))
"""


def read_with_plain_intake(file: Path, nested: str, cwd: Path) -> dict:
    program = PLAIN_INTAKE.replace("{name}", DMPC)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, str(file), nested],
        cwd=cwd, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_plain_intake_reads_a_store_and_a_moved_store(own_store, tmp_path):
    here = read_with_plain_intake(own_store / "catalog.yaml", "", tmp_path)
    assert here["names"] == [DMPC, DPPC, METHANE]
    assert here["unit"] == "nm"
    assert here["lipid"] == ["DMPC"]
    assert here["time"][:2] == [0.0, 2.0]
    ours = open_catalog(own_store)[DMPC].open().position.values
    assert here["shape"] == list(ours.shape)
    assert here["sum"] == pytest.approx(float(ours.astype(float).sum()), rel=1e-6)
    own_store.rename(tmp_path / "moved")
    assert read_with_plain_intake(tmp_path / "moved" / "catalog.yaml", "", tmp_path) == here


def test_collections_nest_one_file_per_kind_and_open_with_plain_intake(own_store, tmp_path):
    folder = tmp_path / "catalogs"
    written = write_collections(own_store, folder)
    assert {path.name for path in written} == {"bilayer.yaml", "liquid.yaml", "catalog.yaml"}
    assert str(tmp_path) not in (folder / "bilayer.yaml").read_text()
    assert read_with_plain_intake(folder / "catalog.yaml", "bilayer", tmp_path)["names"] == [DMPC, DPPC]
    assert open_catalog(folder / "catalog.yaml").rows() == open_catalog(own_store).rows()
    assert list(open_catalog(folder / "liquid.yaml")) == [METHANE]


def test_collections_are_checked_and_files_that_others_wrote_stay(own_store, tmp_path, add_dataset):
    folder = tmp_path / "catalogs"
    assert len(check_collections(own_store, folder)) == 3
    write_collections(own_store, folder)
    (folder / "mine.yaml").write_text("version: 2\n")
    assert check_collections(own_store, folder) == []
    add_dataset(own_store, DMPC, frames=15, kind="bilayer")
    assert [line.split(":")[0] for line in check_collections(own_store, folder)] == [str(folder / "bilayer.yaml")]
    shutil.rmtree(own_store / "methane_112k")
    write_collections(own_store, folder)
    assert sorted(path.name for path in folder.iterdir()) == ["bilayer.yaml", "catalog.yaml", "mine.yaml"]


def test_writing_the_catalog_is_whole_or_absent(own_store, monkeypatch):
    before = (own_store / "catalog.yaml").read_bytes()
    shutil.rmtree(own_store / "methane_112k")

    def fail(descriptor: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_catalog(own_store)
    assert (own_store / "catalog.yaml").read_bytes() == before
    lists = [path.name for path in own_store.iterdir() if path.is_file()]
    assert sorted(lists) == ["catalog.yaml", "index.json"]


def test_a_dataset_published_while_the_catalog_is_written_is_listed(own_store, add_dataset, monkeypatch):
    write, calls = module_of_lists.write_text, []

    def write_late(path: Path, text: str, **options: bool) -> list[int]:
        if not calls:
            add_dataset(own_store, "argon/r1/cg")
        calls.append(path)
        return write(path, text, **options)

    monkeypatch.setattr(module_of_lists, "write_text", write_late)
    (own_store / "index.json").unlink()
    write_catalog(own_store)
    assert "argon/r1/cg" in yaml.safe_load((own_store / "catalog.yaml").read_text())["aliases"]
    assert "argon/r1/cg" in read_index(own_store).rows


@pytest.mark.parametrize("many", [1000, 5])
def test_of_many_ingests_at_once_all_are_listed(tmp_path, seal_datasets, monkeypatch, many):
    for module in ("intake_files", "store_index"):
        monkeypatch.setattr(f"cgstore.{module}.NESTED_FROM", many)

    write, rng = module_of_lists.write_text, np.random.default_rng(1)

    def write_late(path: Path, text: str, **options: bool) -> list[int]:
        time.sleep(rng.uniform(0, 0.02))
        return write(path, text, **options)

    monkeypatch.setattr(module_of_lists, "write_text", write_late)

    def ingest(number: int) -> None:
        for run in range(5):
            seal_datasets(tmp_path, [f"sys_{number}/r{run}/cg"])
            write_catalog(tmp_path)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ingest, range(4)))
    names = {f"sys_{number}/r{run}/cg" for number in range(4) for run in range(5)}
    assert set(read_index(tmp_path).rows) == names
    assert set(open_catalog(tmp_path / "catalog.yaml")) == names
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.fixture
def long_store(tmp_path, seal_datasets, monkeypatch) -> Path:
    """Give a store of 12 systems with 24 datasets, where 20 are many."""
    for module in ("intake_files", "store_index"):
        monkeypatch.setattr(f"cgstore.{module}.NESTED_FROM", 20)
    folder = tmp_path / "long"
    seal_datasets(folder, [f"sys_{number:02d}/r1/{level}" for number in range(12) for level in ("atoms", "cg")])
    write_catalog(folder)
    return folder


def listing_of(store: Path) -> dict[str, int]:
    """Return when each file of the catalog was written."""
    return {path.relative_to(store).as_posix(): path.stat().st_mtime_ns for path in store.glob("**/*.yaml")}


def test_the_catalog_of_a_long_store_nests_one_file_per_system(long_store):
    assert len(listing_of(long_store)) == 13
    assert yaml.safe_load((long_store / "catalog.yaml").read_text())["aliases"].keys() == {
        f"sys_{number:02d}" for number in range(12)
    }
    listed = open_catalog(long_store / "catalog.yaml")
    assert listed.rows() == open_catalog(long_store).rows()
    assert listed["sys_03/r1/cg"].path.resolve() == (long_store / "sys_03/r1/cg").resolve()


def test_plain_intake_reads_a_long_store(long_store, add_dataset, tmp_path):
    add_dataset(long_store, DMPC, composition={"DMPC": 64})
    write_catalog(long_store)
    long_store.rename(tmp_path / "moved")
    found = read_with_plain_intake(tmp_path / "moved" / "catalog.yaml", "dmpc_303k", tmp_path)
    assert found["names"] == [DMPC]
    assert found["lipid"] == ["DMPC"]


def test_an_ingest_rewrites_only_the_files_of_a_long_store_that_change(long_store, seal_datasets):
    before = listing_of(long_store)
    seal_datasets(long_store, ["sys_05/r2/cg"])
    write_catalog(long_store)
    after = listing_of(long_store)
    assert {name for name in after if after[name] != before[name]} == {"catalog/sys_05.yaml"}
    assert "sys_05/r2/cg" in open_catalog(long_store / "catalog.yaml")
    seal_datasets(long_store, ["sys_99/r1/cg"])
    (long_store / "catalog/sys_03.yaml").unlink()
    write_catalog(long_store)
    changed = {name for name, when in listing_of(long_store).items() if when != after.get(name)}
    assert changed == {"catalog/sys_99.yaml", "catalog/sys_03.yaml", "catalog.yaml"}
    assert open_catalog(long_store / "catalog.yaml").rows() == open_catalog(long_store).rows()


def test_the_catalog_of_a_store_that_shrinks_or_is_edited_is_whole_again(long_store):
    (long_store / "catalog/mine.yaml").write_text("version: 2\n")
    shutil.rmtree(long_store / "sys_00")
    write_catalog(long_store)
    assert "catalog/sys_00.yaml" not in listing_of(long_store)
    (long_store / "catalog.yaml").write_text("edited")
    write_catalog(long_store)
    assert len(open_catalog(long_store / "catalog.yaml")) == 22
    for number in range(1, 4):
        shutil.rmtree(long_store / f"sys_{number:02d}")
    write_catalog(long_store)
    assert listing_of(long_store).keys() == {"catalog.yaml", "catalog/mine.yaml"}
    assert len(open_catalog(long_store / "catalog.yaml")) == 16


def test_a_long_kind_is_a_file_that_nests_its_systems(long_store, tmp_path):
    folder = tmp_path / "catalogs"
    assert [path.name for path in write_collections(long_store, folder)] == ["liquid.yaml", "catalog.yaml"]
    assert len(list(folder.glob("liquid/*.yaml"))) == 12
    assert open_catalog(folder / "catalog.yaml").rows() == open_catalog(long_store).rows()
    assert check_collections(long_store, folder) == []
    shutil.rmtree(long_store / "sys_00")
    assert [line.split(":")[0] for line in check_collections(long_store, folder)] == [
        str(folder / name) for name in ("liquid.yaml", "liquid/sys_00.yaml")
    ]
    for number in range(1, 4):
        shutil.rmtree(long_store / f"sys_{number:02d}")
    write_collections(long_store, folder)
    assert sorted(path.name for path in folder.rglob("*")) == ["catalog.yaml", "liquid.yaml"]


def test_a_long_table_shows_its_ends_and_a_whole_one_all(tmp_path, seal_datasets):
    names = [f"sys_{number:02d}/r1/cg" for number in range(80)]
    seal_datasets(tmp_path, names)
    catalog = open_catalog(tmp_path)
    text, html = repr(catalog), catalog._repr_html_()
    assert text.splitlines()[0].endswith("80 datasets")
    assert len(text.splitlines()) == 2 + 21
    for shown in (text, html):
        assert names[9] in shown
        assert names[-10] in shown
        assert names[10] not in shown
        assert "…" in shown
    assert all(name in catalog.table() for name in names)
    with pytest.raises(NotFound, match="among 80; find it with search"):
        catalog["xyz"]


def test_search_asks_for_no_other_facets(store, monkeypatch):
    catalog = open_catalog(store)
    monkeypatch.setattr(Catalog, "facets", None)
    assert list(catalog.search(kind="bilayer", temperature=(300, 310))) == [DMPC]


def test_facets_are_what_search_finds(store):
    catalog = open_catalog(store)
    facets = catalog.facets()
    assert {"kind", "temperature", "tags", "sigma", "component", "lipid", "name"} <= set(facets)
    assert not {"title", "digest", "recipe_digest", "sources", "composition", "versions"} & set(facets)
    assert facets["tags"] == ["hydrated", "small"]
    for key, values in facets.items():
        assert all(len(catalog.search(**{key: value})) for value in values)
