"""The drivers of intake against our own catalog; plain files of intake are tested with the catalog."""

import pickle
import subprocess
import sys
import tomllib
from pathlib import Path

import intake
import numpy as np
import pytest
from intake.source import import_name

from cgstore.catalog import open_catalog, write_catalog
from cgstore.errors import InputError, NotFound
from cgstore.intake_driver import CgstoreCatalog, CgstoreSource

ROOT = Path(__file__).parents[1]
DMPC, METHANE = "dmpc_303k/r1/cg", "methane_112k/r1/cg"
TITLE = "{{ 7*7 }} {{ env(HOME) }} DMPC"


@pytest.fixture(scope="module")
def store(tmp_path_factory, add_dataset) -> str:
    folder = tmp_path_factory.mktemp("intake") / "store"
    add_dataset(folder, DMPC, kind="bilayer", temperature=303.0, title=TITLE, tags=["small"])
    add_dataset(folder, METHANE, temperature=112.0)
    add_dataset(folder, METHANE, temperature=112.0, frames=20)
    write_catalog(folder)
    return str(folder)


@pytest.fixture(scope="module", autouse=True)
def _drivers() -> None:
    """Register what pyproject.toml names, whenever this environment was installed."""
    named = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["intake.drivers"]
    assert set(named) == {"cgstore", "cgstore_catalog"}
    for name, place in named.items():
        intake.register_driver(name, import_name(place), clobber=True)


def test_a_store_is_a_catalog_of_intake(store):
    catalog = intake.open_cgstore_catalog(store)
    assert list(catalog) == [DMPC, METHANE]
    assert len(catalog) == 2
    assert DMPC in catalog
    assert "x/y/z" not in catalog
    source = catalog[METHANE]
    ds = source.to_dask()
    assert ds.position.chunks is not None
    np.testing.assert_array_equal(ds.position, open_catalog(store)[METHANE].open().position)
    assert source.read().position.chunks is None
    assert source.metadata["temperature"] == 112.0
    assert source.describe()["metadata"]["versions"] == [1, 2]
    assert source.discover()["shape"]["position"] == (20, 20, 3)
    assert catalog[METHANE](at_version=1).to_dask().sizes["frame"] == 12
    assert [name for name, _ in catalog.items()] == [DMPC, METHANE]
    source.close()


def test_search_is_ours_and_can_be_refined_sent_and_reloaded(store, add_dataset):
    catalog = intake.open_cgstore_catalog(store)
    found = catalog.search(temperature=(300, 310))
    assert list(found) == [DMPC]
    assert list(found.search(tags="small")) == [DMPC]
    assert list(found.search(kind="bilayer").search(name=METHANE)) == []
    again = pickle.loads(pickle.dumps(found))
    assert list(again) == [DMPC]
    add_dataset(Path(store), "dppc_305k/r1/cg", kind="bilayer", temperature=305.0)
    assert list(found) == [DMPC]
    found.force_reload()
    assert list(found) == [DMPC, "dppc_305k/r1/cg"]
    with pytest.raises(NotFound, match="did you mean"):
        catalog.search(temprature=300)
    with pytest.raises(InputError, match="expected a number"):
        catalog.search(temperature="300 K")


def test_one_dataset_is_a_source(store):
    source = intake.open_cgstore(store, METHANE, at_version=1)
    assert source.to_dask().sizes["frame"] == 12
    assert source.metadata["kind"] == "liquid"
    assert pickle.loads(pickle.dumps(source)).to_dask().sizes["frame"] == 12
    with pytest.raises(NotFound, match="did you mean"):
        intake.open_cgstore(store, "methane_112k/r1/gc").to_dask()
    with pytest.raises(NotFound, match="no version 9"):
        intake.open_cgstore(store, METHANE, at_version=9).to_dask()
    with pytest.raises(InputError, match="no such store"):
        intake.open_cgstore_catalog(store + "/none")


def test_a_title_is_shown_and_not_filled_in(store):
    source = intake.open_cgstore_catalog(store)[DMPC]
    assert source.description == TITLE
    assert source.metadata["title"] == TITLE
    assert source.to_dask().attrs["title"] == TITLE


def test_files_of_intake_can_name_the_drivers(store, tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "sources:\n"
        f"  all: {{driver: cgstore_catalog, args: {{store: {store}, searches: [{{kind: liquid}}]}}}}\n"
        f"  one: {{driver: cgstore, args: {{store: {store}, dataset: {METHANE}}}}}\n"
    )
    catalog = intake.open_catalog(str(tmp_path / "mine.yaml"))
    assert list(catalog["all"]) == [METHANE]
    assert catalog["one"].to_dask().sizes["frame"] == 20
    assert catalog["all"][METHANE].to_dask().sizes["frame"] == 20


@pytest.mark.parametrize("make", [CgstoreCatalog, lambda store: CgstoreSource(store, DMPC)])
def test_credentials_are_refused_before_anything_shows_them(make):
    with pytest.raises(InputError, match="user or password") as caught:
        make("s3://key:hunter2@bucket/store")
    assert "hunter2" not in str(caught.value)


def test_importing_intake_does_not_import_cgstore_nor_the_other_way_round(tmp_path):
    for one, other in (("intake", "cgstore"), ("cgstore, cgstore.catalog", "intake")):
        program = f"import sys, {one}; sys.exit({other!r} in sys.modules)"
        assert subprocess.run([sys.executable, "-c", program], cwd=tmp_path, timeout=60, check=False).returncode == 0
