"""How quickly the pair kernel counts, each of its ways beside mdtraj and gmx rdf, on one core; and on two.

5 000 beads of eight types (36 pairs of types) in a cube of 8.17 nm, as dense as coarse-grained liquids: soft spheres
that push each other apart from random places, so that frames are independent. `distributions.py` measures what users
call, from the store; this is the kernel alone, with the longest distance and the number of beads varied.
"""

import shutil
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import xarray as xr
from _peers import Beads, Run, gmx_rdf, mdtraj_rdf, one_thread, rates
from _timing import report
from distributions import write_xtc
from scipy.spatial import cKDTree

from cgstore.kernels.pairs import count_pairs, paths

BEADS, TYPES, EDGE, BIN = 5000, 8, 8.17, 0.005  # nm


def main() -> None:
    """Compare at three longest distances, then vary the number of beads and of threads."""
    one_thread()
    warnings.simplefilter("ignore")
    results = {}
    ds = dataset(liquid(BEADS, EDGE, frames=4), EDGE)
    for r_max in (1.5, 2.0, 4.0):
        with tempfile.TemporaryDirectory() as name:
            beads = Beads(ds, Path(name) / "beads.xtc", r_max, BIN)
            write_xtc(beads)
            runs = {f"cgstore {path}": Run(counting(ds, r_max, path), 64) for path in paths()}
            if shutil.which("gmx"):
                runs["gmx rdf"] = Run(gmx_rdf(beads, Path(name)), 13, 1)
            runs["mdtraj"] = Run(mdtraj_rdf(beads), 4)
            moved(ds.isel(frame=slice(0, 4)), r_max)
            results[f"pairs {r_max}"] = rates(f"36 pairs of types, r_max {r_max} nm", runs)
    report(results | {"beads": by_beads(), "threads": by_threads()})


def moved(ds: xr.Dataset, r_max: float) -> None:
    """Print how many pairs are in another bin than in float64."""
    kinds, bins = np.unique(ds["type"].values, return_inverse=True)[1], round(r_max / BIN)
    row = np.zeros((TYPES, TYPES), np.int64)
    upper = np.triu_indices(TYPES)
    row[upper] = row.T[upper] = np.arange(len(upper[0]))
    expected = np.zeros((ds.sizes["frame"], len(upper[0]), bins), np.int64)
    for place, x in zip(expected, np.mod(ds["position"].values.astype(np.float64), EDGE), strict=True):
        i, j = cKDTree(x, boxsize=EDGE).query_pairs(r_max + BIN, output_type="ndarray").T
        d = x[j] - x[i]
        r = np.sqrt(((d - EDGE * np.rint(d / EDGE)) ** 2).sum(axis=1))
        near = r < r_max
        np.add.at(place, (row[kinds[i], kinds[j]][near], (r[near] / BIN).astype(int)), 1)
    found = counting(ds, r_max)(ds.sizes["frame"]).astype(np.int64)
    apart = np.abs(found - expected).sum() // 2
    print(f"r_max {r_max} nm: {apart} of {expected.sum()} counts of {len(found)} frames are in another bin in float64")


def liquid(beads: int, edge: float, *, frames: int) -> np.ndarray:
    """Return places of soft spheres that have pushed each other apart: (frame, particle, xyz) float32 nm."""
    random, apart = np.random.default_rng(1), 0.95 * edge / beads ** (1 / 3)
    found = np.empty((4 * frames, beads, 3), np.float32)
    for f in range(frames):
        x = random.random((beads, 3)) * edge
        for _ in range(30):
            i, j = cKDTree(x % edge, boxsize=edge).query_pairs(apart, output_type="ndarray").T
            d = x[j] - x[i]
            d -= edge * np.rint(d / edge)
            r = np.sqrt((d**2).sum(axis=1))
            push = (0.2 * (apart - r) / r)[:, None] * d
            for k in range(3):
                x[:, k] += np.bincount(j, push[:, k], beads) - np.bincount(i, push[:, k], beads)
        found[4 * f : 4 * f + 4] = np.mod([x, x + edge / 3, x[:, [1, 2, 0]], x[:, [2, 0, 1]]], edge)
    return found


def dataset(position: np.ndarray, edge: float) -> xr.Dataset:
    """Label places of beads, their types in turn."""
    frames, beads = position.shape[:2]
    return xr.Dataset(
        {
            "position": (("frame", "particle", "xyz"), position),
            "box": (("frame", "box_vector", "xyz"), np.repeat(np.eye(3)[None] * edge, frames, axis=0)),
        },
        {"type": ("particle", [f"T{i % TYPES}" for i in range(beads)]), "time": ("frame", 1.0 * np.arange(frames))},
    )


def counting(ds: xr.Dataset, r_max: float, path: str = "auto") -> Callable[[int], np.ndarray]:
    """Return what counts so many frames in one way, those there are again and again: (frame, row, bin)."""
    kinds = np.unique(ds["type"].values, return_inverse=True)[1].astype(np.int32)
    upper = np.triu_indices(TYPES)
    row = np.zeros((TYPES, TYPES), np.int64)
    row[upper] = row[upper[::-1]] = np.arange(len(upper[0]))
    alone, none = np.arange(len(kinds)), np.zeros(len(kinds) + 1, np.int64)
    question = (alone, kinds, alone.astype(np.int32), none, none[:0], row, BIN)
    position, box = ds["position"].values, ds["box"].values

    def call(frames: int) -> np.ndarray:
        some = np.arange(frames) % len(position)
        counts = np.zeros((frames, len(upper[0]), round(r_max / BIN)), np.uint32)
        count_pairs(position[some], box[some], *question, counts, path=path)
        return counts

    return call


def by_beads() -> dict[str, float]:
    """Vary the number of beads at the same density, r_max 1.5 nm or half the box."""
    found = {}
    for beads in (222, 640, 2000, 5000, 20_000):
        edge = EDGE * (beads / BEADS) ** (1 / 3)
        ds, r_max = dataset(liquid(beads, edge, frames=1), edge), min(1.5, BIN * int(edge / 2 / BIN))
        frames, call, taken = round(64 * BEADS / beads), counting(ds, r_max), []
        for _ in range(6):
            begin = time.perf_counter()
            call(frames)
            taken.append(time.perf_counter() - begin)
        found[str(beads)] = frames / min(taken)
    print("frames per second by number of beads:", {beads: round(rate) for beads, rate in found.items()})
    return found


def by_threads() -> dict[str, float]:
    """Count on one thread and on two, on the wall: they need cores that nothing else uses."""
    call, found = counting(dataset(liquid(BEADS, EDGE, frames=4), EDGE), 1.5), {}
    for threads in (1, 2):
        taken = []
        with ThreadPoolExecutor(threads) as pool:
            for _ in range(6):
                begin = time.perf_counter()
                list(pool.map(call, [32] * 8))
                taken.append(time.perf_counter() - begin)
        found[str(threads)] = 8 * 32 / min(taken)
    print("frames per second by threads:", {threads: round(rate) for threads, rate in found.items()})
    return found


if __name__ == "__main__":
    main()
