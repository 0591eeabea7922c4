"""Feature tables of thousands of systems: rows per second, a table renewed, opened, one column read, rows matched."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import xarray as xr
from _timing import compare, processor, report

from cgstore.catalog import write_catalog
from cgstore.documents import digest
from cgstore.feature_tables import Column, Feature, build_table, explain_table, match, open_table, register
from cgstore.frames import Frames
from cgstore.store.folders import fleeting
from cgstore.store.integrity import version_folder
from cgstore.store.layout import FORMAT
from cgstore.store.manifests import write_sealed
from cgstore.store.versions import stage
from cgstore.topology import Topology

SYSTEMS = int(os.environ.get("CGSTORE_BENCHMARK_SYSTEMS", "2000"))  # of which only the manifests are there
RUNS = int(os.environ.get("CGSTORE_BENCHMARK_RUNS", "40"))  # systems with frames
PARTICLES, FRAMES, EDGE, BINS = 100, 40, 3.2, 251

CURVE = register(
    Feature(
        name="curve",
        version=1,
        compute=lambda source, parameters: {"{}": ("r", np.sin(source.metadata["temperature"] * np.arange(BINS)))},
        columns=lambda parameters: (Column("{}", ("r",), dtype="float32"),),
        grids=lambda parameters: {"r": (np.arange(BINS) * 0.005, "nm")},
        inputs=("metadata",),
    )
)
QUICK = {"force_field": {"feature": "parameters"}, "g": {"feature": "curve"}}
COUNTED = {"g": {"feature": "rdf", "r_min": "0.2475 nm", "r_max": "1.5025 nm", "bins": BINS}}


def main() -> None:
    """Measure the table itself on many systems, and what computing costs on some."""
    with tempfile.TemporaryDirectory() as folder, fleeting(Path(folder)):
        many, some = Path(folder, "many"), Path(folder, "some")
        seal_systems(many)
        make_systems(some)
        results = {"table": measure_table(many), "read": measure_reading(many), "rdf": measure_features(some)}
    report({**results, "match": measure_matching()})


def measure_table(store: Path) -> dict[str, float]:
    """Build a table of values that cost nothing, and look what is stale."""
    print(f"table of {SYSTEMS} systems, 2 columns of {1 + BINS} numbers, processor seconds")
    return {
        "build": once("build", SYSTEMS, lambda: build(store, QUICK)),
        "nothing new": once("build again, nothing new", SYSTEMS, lambda: build(store, QUICK)),
        "another column": once("build with one column more", SYSTEMS, lambda: build(store, {**QUICK, "h": QUICK["g"]})),
        "explain": once("explain", SYSTEMS, lambda: explain_table(store, "benchmark")),
    }


def measure_features(store: Path) -> dict[str, float]:
    """Count RDFs, and take them from what is kept."""
    print(f"RDF of {PARTICLES} particles in {FRAMES} frames, processor seconds")
    build(store, COUNTED, tags="warm")
    counted = once("counted and kept", RUNS - 1, lambda: build(store, COUNTED))
    kept = once("from kept counts", RUNS, lambda: build(store, COUNTED, recompute=("g",)))
    return {"counted": counted, "kept": kept}


def once(title: str, amount: float, function: Callable[[], object]) -> float:
    """Time what is done once, by the clock of the processor; return how many per second."""
    begin = processor()
    function()
    rate = amount / (processor() - begin)
    print(f"  {title:34s} {rate:12.4g} systems/s")
    return rate


def build(store: Path, columns: dict, *, recompute: tuple[str, ...] = (), **facets: object) -> None:
    """Build the table."""
    spec = {"name": "benchmark", "datasets": {"kind": "liquid", **facets}, "columns": columns}
    built = build_table(store, spec, recompute=recompute)
    assert not built.failures, next(iter(built.failures.items()))


def attributes(system: int, rng: np.random.Generator) -> dict:
    """Return what a recipe of a campaign says."""
    return {
        "system": f"lj_{system:05d}", "run": "r1", "level": "cg", "kind": "liquid", "composition": {"LJ": PARTICLES},
        "tags": ["warm"] if system == 0 else [], "temperature": float(rng.uniform(195, 510)), "pressure": 1.0,
        "parameters": {"sigma": float(rng.uniform(0.28, 0.48)), "epsilon": float(rng.uniform(60, 300))},
    }  # fmt: skip


def seal_systems(store: Path) -> None:
    """Write manifests only."""
    rng = np.random.default_rng(1)
    for system in range(SYSTEMS):
        attrs = attributes(system, rng)
        name = f"{attrs['system']}/r1/cg"
        folder = version_folder(store / name, 1)
        folder.mkdir(parents=True)
        own = {"cgstore_format": FORMAT, "name": name, "version": 1, "digest": digest(system), "attrs": attrs}
        sizes = {"frames": FRAMES, "particles": PARTICLES, "time_ps": 78.0, "bytes": 1000, "files": {}}
        write_sealed(folder, {**own, **sizes})
    write_catalog(store)


def make_systems(store: Path) -> None:
    """Publish systems with frames: beads that diffuse."""
    rng = np.random.default_rng(1)
    none = {"bond": 2, "angle": 3, "dihedral": 4}
    name, number = np.full(PARTICLES, "LJ"), np.arange(PARTICLES, dtype=np.int32)
    topology = Topology(
        name=name, type=name, residue=name, residue_id=number, molecule=number, molecule_kind=name,
        mass=np.full(PARTICLES, 40.0), charge=np.zeros(PARTICLES),
        **{term: np.empty((0, width), np.int32) for term, width in none.items()},
    )  # fmt: skip
    start = rng.uniform(0, EDGE, (1, PARTICLES, 3))
    for system in range(RUNS):
        position = start + rng.normal(0, 0.05, (FRAMES, PARTICLES, 3)).cumsum(axis=0)
        frames = Frames(
            position=np.round(position, 3).astype(np.float32),
            time=np.arange(FRAMES) * 2.0,
            step=np.arange(FRAMES) * 1000,
            box=np.tile(np.eye(3, dtype=np.float32) * EDGE, (FRAMES, 1, 1)),
        )
        with stage(store / f"lj_{system:05d}" / "r1" / "cg") as staged:
            staged.create(topology, frames, precision=0.001, attrs=attributes(system, rng))
            staged.append(frames)
            staged.publish()
    write_catalog(store)


def measure_reading(store: Path) -> dict[str, float]:
    """Open, read one column of all systems, and one row."""
    functions = {
        "open": lambda: open_table(store, "benchmark"),
        "open, parameters of all": lambda: open_table(store, "benchmark").force_field.values,
        f"open, a curve of {BINS} bins of all": lambda: open_table(store, "benchmark").g.values,
        "open, the curve of one": lambda: open_table(store, "benchmark").g[SYSTEMS // 2].values,
    }
    return compare(f"read a table of {SYSTEMS} systems", functions, amount=1, unit="times", clock=processor)


def measure_matching() -> dict[str, float]:
    """Find pairs of ten thousand rows each, beside the matrix of all differences."""
    rng = np.random.default_rng(1)
    left, right = (
        xr.Dataset({"D": ("system", rng.normal(5, 1, 10_000)), "D_error": ("system", rng.lognormal(-5, 1, 10_000))})
        for _ in range(2)
    )

    def matrix() -> np.ndarray:
        difference = left.D.values[:, None] - right.D.values
        return np.argwhere(np.abs(difference) < np.hypot(left.D_error.values[:, None], right.D_error.values))

    pairs = match(left, right, on="D").compute()
    assert np.array_equal(np.stack([pairs.left, pairs.right], 1), matrix())
    title = f"match 10 000 x 10 000 rows, {pairs.sizes['pair']} pairs"
    ways = {"match": lambda: match(left, right, on="D").compute(), "matrix of differences": matrix}
    return compare(title, ways, amount=1, unit="times", clock=processor)


if __name__ == "__main__":
    main()
