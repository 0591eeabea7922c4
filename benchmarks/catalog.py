"""How long a store of many datasets takes to open, to search and to list again after an ingest."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import intake
from _timing import REPEATS, compare, processor, report

from cgstore.catalog import open_catalog, write_catalog
from cgstore.documents import digest
from cgstore.intake_files import Listed, render_listing
from cgstore.store.integrity import version_folder
from cgstore.store.layout import FORMAT
from cgstore.store.manifests import write_sealed
from cgstore.store_index import INDEX, scan

DATASETS = int(os.environ.get("CGSTORE_BENCHMARK_DATASETS", "10000"))
LIPIDS = ("DMPC", "DPPC", "POPC", "POPE", "DOPC")


def main() -> None:
    """Compare on a store of manifests as an ingest writes them: two levels of two runs of each system."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder, "store")
        for number in range(DATASETS):
            make_dataset(store, number)
        write_catalog(store)
        results = {"open": measure_open(store), "search": measure_search(store), "list": measure_listing(store)}
    report(results)


def make_dataset(store: Path, number: int) -> None:
    """Seal the manifest of a dataset with what a recipe says; nobody reads the arrays here."""
    system, run, level = f"system_{number // 4:05d}", f"r{number // 2 % 2 + 1}", ("atoms", "cg")[number % 2]
    lipid = LIPIDS[number // 4 % len(LIPIDS)]
    attrs = {
        "system": system, "run": run, "level": level, "kind": "bilayer", "title": f"{lipid} bilayer, 64 lipids",
        "temperature": 300.0 + number // 4 % 50, "pressure": 1.0, "ensemble": "NPT", "forcefield": "Lipid21, TIP3P",
        "composition": {lipid: 64, "HOH": 1907}, "authors": ["A. Author"], "license": "CC-BY-4.0", "doi": "",
        "tags": ["hydrated", "benchmark"], "parameters": {}, "precision": 0.001, "software": "GROMACS 2022.5",
        "recipe": f"{system}.toml", "recipe_digest": digest(system), "topology_digest": digest(lipid),
        "mapping_digest": digest(level), "lineage": digest(number), "created": "2026-01-01T00:00:00+00:00",
        "created_with": {"cgstore": "0.1.0", "numpy": "2.4.6", "zarr": "3.1.6"},
        "sources": [{"path": f"{system}/traj.xtc", "size": 10**9, "digest": digest([number])}],
    }  # fmt: skip
    arrays = ("position", "box", "time", "step", "frame_digest", "mass", "charge", "name", "type", "residue", "bond")
    names = [f"{array}/{file}" for array in arrays for file in ("zarr.json", "c/0/0/0")]
    files = {name: {"size": 1000, "sha256": digest([number, name])} for name in names}
    folder = version_folder(store / system / run / level, 1)
    folder.mkdir(parents=True)
    known = {"frames": 1000, "particles": 640, "time_ps": 10**5, "bytes": 22000, "files": files, "attrs": attrs}
    own = {"cgstore_format": FORMAT, "name": f"{system}/{run}/{level}", "version": 1, "digest": digest(number)}
    write_sealed(folder, {**own, **known})


def measure_open(store: Path) -> dict[str, float]:
    """Open in a new Python, then in this one; what takes a minute is done once."""

    def python(program: str) -> None:
        subprocess.run([sys.executable, "-c", program, str(store)], check=True)

    ours = "import sys, cgstore; cgstore.open_catalog(sys.argv[1])"
    driver = "import sys, intake; intake.open_cgstore_catalog(sys.argv[1])"
    top = "import sys, intake; intake.open_catalog(sys.argv[1] + '/catalog.yaml')"
    functions = {"cgstore": lambda: python(ours), "intake, catalog.yaml of systems": lambda: python(top)}
    if "cgstore_catalog" in intake.source.registry:
        functions["intake, our driver"] = lambda: python(driver)
    rates = compare(f"open {DATASETS} datasets in a new Python", functions, amount=1, unit="stores", clock=processor)

    rows = scan(store).rows
    flat = Path(store, "flat.yaml")
    flat.write_text(render_listing([Listed(name, f"{store}/{name}", rows[name]) for name in rows], folder=str(store)))
    again = once(
        f"open {DATASETS} datasets, all imported",
        {
            "cgstore, index": lambda: open_catalog(store),
            "cgstore, every manifest": lambda: scan(store),
            "intake, one YAML of all": lambda: intake.from_yaml_file(str(flat)),
        },
    )
    flat.unlink()
    return {**rates, **again}


def measure_search(store: Path) -> dict[str, float]:
    """Search a new catalog, in which no facet was asked for, and one in which it was."""
    question = {"lipid": "DMPC", "temperature": (310, 320), "level": "cg"}
    catalog = open_catalog(store)
    fresh = [open_catalog(store) for _ in range(REPEATS + 1)]
    assert len(catalog.search(**question)) > 0
    functions = {
        "the first search of a catalog": lambda: fresh.pop().search(**question),
        "the next": lambda: catalog.search(**question),
        "one after the other, by hand": lambda: [
            entry
            for entry in catalog.values()
            if "DMPC" in entry.metadata["lipid"]
            and 310 <= entry.metadata["temperature"] <= 320
            and entry.metadata["level"] == "cg"
        ],
        "every facet": catalog.facets,
        "shown as text": lambda: repr(catalog),
    }
    return compare(f"search {DATASETS} datasets by three facets", functions, amount=1, unit="stores", clock=processor)


def measure_listing(store: Path) -> dict[str, float]:
    """Write the lists again after an ingest that published one dataset, or nothing; and once from nothing."""
    number = DATASETS

    def after_one() -> None:
        nonlocal number
        make_dataset(store, number)
        number += 1
        write_catalog(store)

    functions = {"after one new dataset": after_one, "after an ingest of nothing new": lambda: write_catalog(store)}
    rates = compare(f"list {DATASETS} datasets", functions, amount=1, unit="stores", clock=processor)

    def from_nothing() -> None:
        (store / INDEX).unlink()
        write_catalog(store)

    return {**rates, **once("the same without an index", {"from nothing": from_nothing})}


def once(title: str, functions: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Compare what takes too long to be repeated."""
    seconds = {}
    print(title)
    for name, function in functions.items():
        begin = processor()
        function()
        seconds[name] = processor() - begin
        ratio = seconds[name] / next(iter(seconds.values()))
        print(f"  {name:34s} {1 / seconds[name]:12.4g} stores/s   the first is {ratio:.3g} times as fast")
    return {name: 1 / taken for name, taken in seconds.items()}


if __name__ == "__main__":
    main()
