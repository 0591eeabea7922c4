"""How many shuffled frames per second reach a training loop, as float32 tensors, and what that costs in memory.

The correlated beads of `correlated.py`, several times in a row, so that a loader with little memory has to decode
again what it decoded before. Beside it: what people write first (a torch Dataset with one zarr read per frame),
xbatcher, and memory maps of the decoded frames, which the processor has in memory already.
"""

import importlib.util
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import xarray as xr
import zarr
from _peers import Run, rates, stored
from _timing import report
from correlated import correlated

import cgstore
from cgstore.frames import Frames
from cgstore.learn import Loader, Split
from cgstore.learn.mixing import mixing
from cgstore.learn.plan import Plan
from cgstore.schema import topology_of
from cgstore.store.versions import stage

BATCH, COPIES = 64, 8
NAME = "beads/r2/atoms"
TRAIN = Split.from_dict({"train": [{"dataset": NAME}]}).train
Results = dict[str, dict[str, float]]


def main() -> None:
    """Make the store, measure rates in turn, then the first batch, the memory and the shuffle."""
    torch.set_num_threads(1)  # multiplying 4 MB is not worth a second thread, in none of the ways
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        words = long_run(folder)
        results = {"samples": samples(folder, words)} | first_batch(folder) | memory(folder) | shuffle(folder)
        report(results)


def long_run(folder: Path) -> str:
    """Publish the frames of the trajectory several times in a row, and write them as plain arrays."""
    made = correlated()
    ds = stored(made, folder).load()
    count = ds.sizes["frame"]
    time_step = float(np.diff(ds["time"].values[:2])[0])
    with stage(folder / "store" / NAME, base=None) as staged:
        for copy in range(COPIES):
            times = (copy * count + np.arange(count)) * time_step
            frames = Frames(ds["position"].values, times, np.arange(count) + copy * count, box=ds["box"].values)
            if not copy:
                staged.create(topology_of(ds), frames, precision=0.001, attrs={"kind": "liquid"})
            staged.append(frames)
        staged.publish()
    array = zarr.open_array(f"{folder}/store/{NAME}/v000001/position", mode="r")
    whole = np.lib.format.open_memmap(folder / "int16.npy", "w+", array.dtype, array.shape)
    plain = np.lib.format.open_memmap(folder / "float32.npy", "w+", np.float32, array.shape)
    for copy in range(COPIES):
        part = slice(copy * count, (copy + 1) * count)
        whole[part] = array[part]
        plain[part] = whole[part] * np.float32(0.001)
    return f"{made.words}, {COPIES * count} frames"


def loader(folder: Path, memory: int, **made: int) -> Loader:
    """Return a loader with that many bytes of memory."""
    catalog = cgstore.open_catalog(folder / "store")
    return Loader(catalog, TRAIN, batch_size=BATCH, variables=["position"], seed=1, memory=memory, **made)


class OneRead(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """What one writes first: a frame is a read of the zarr array."""

    def __init__(self, folder: Path) -> None:
        self.array = zarr.open_array(f"{folder}/store/{NAME}/v000001/position", mode="r")

    def __len__(self) -> int:
        """Return the number of frames."""
        return int(self.array.shape[0])

    def __getitem__(self, frame: int) -> torch.Tensor:
        """Read a frame."""
        return torch.from_numpy(self.array[frame]).to(torch.float32) * 0.001


def naive(folder: Path) -> Iterator[torch.Tensor]:
    """Yield batches of the first thing one writes."""
    return iter(torch.utils.data.DataLoader(OneRead(folder), batch_size=BATCH, shuffle=True))


def mapped(folder: Path, name: str) -> Iterator[torch.Tensor]:
    """Yield shuffled batches of a memory map."""
    array = np.load(folder / name, mmap_mode="r")
    order = np.random.default_rng(1).permutation(len(array))
    for start in range(0, len(array), BATCH):
        rows = torch.from_numpy(array[order[start : start + BATCH]])
        yield rows if rows.dtype == torch.float32 else rows.to(torch.float32).mul_(0.001)


def batched(folder: Path) -> Iterator[torch.Tensor]:
    """Yield batches of xbatcher, which does not shuffle."""
    import xbatcher

    ds = xr.open_zarr(f"{folder}/store/{NAME}/v000001", chunks=None)[["position"]].drop_vars(["time", "step"])
    for part in xbatcher.BatchGenerator(ds, {"frame": BATCH}):
        yield torch.from_numpy(part["position"].values.astype(np.float32))


def ways(folder: Path) -> dict[str, Run]:
    """Return each way to have batches, and how many frames are enough to time it."""

    def draw(batches: Callable[[], Iterator[object]]) -> Callable[[int], None]:
        def run(frames: int) -> None:
            found = batches()
            for _ in islice(found, frames // BATCH):
                pass
            getattr(found, "close", lambda: None)()

        return run

    small, large = loader(folder, 2**26, window=4), loader(folder, 2**30)
    runs = {
        "Loader, 64 MiB: decodes each epoch": Run(draw(small.endless), 125 * BATCH),
        "Loader, 1 GiB: decodes once": Run(draw(large.endless), 125 * BATCH),
        "one zarr read per frame": Run(draw(lambda: naive(folder)), BATCH),
        "xbatcher, in order": Run(draw(lambda: batched(folder)), 4 * BATCH),
        "memory map of int16": Run(draw(lambda: mapped(folder, "int16.npy")), 62 * BATCH),
        "memory map of float32": Run(draw(lambda: mapped(folder, "float32.npy")), 62 * BATCH),
    }
    return runs if importlib.util.find_spec("xbatcher") else {k: v for k, v in runs.items() if "xbatcher" not in k}


def samples(folder: Path, words: str) -> dict[str, float]:
    """Time all ways in turn; the loader with much memory has seen an epoch before."""
    runs = ways(folder)
    name = "Loader, 1 GiB: decodes once"
    runs[name].call(10**6)
    found = rates(f"shuffled batches of {BATCH}, {words}", runs, clock=time.perf_counter)
    for way in list(found)[:2]:
        print(
            f"  {way}: {found[way] / found['one zarr read per frame']:.0f} × one zarr read per frame, "
            f"{found[way] / found['memory map of int16']:.2f} × a memory map of int16"
        )
    return found


def first_batch(folder: Path) -> Results:
    """Time from nothing to the first batch, catalog and all, and from a place in the middle of an epoch."""
    whole = loader(folder, 2**30)
    found: dict[str, list[float]] = {"from the start": [], "from the middle": [], "one zarr read per frame": []}
    for _ in range(5):
        for name, taken in found.items():
            begin = time.perf_counter()
            if name == "one zarr read per frame":
                next(naive(folder))
            else:
                made = loader(folder, 2**30)
                if name == "from the middle":
                    made.load_state_dict(whole.plan.state(0, len(whole) // 2))
                next(iter(made))
            taken.append(time.perf_counter() - begin)
    print("time to the first batch, s")
    for name, taken in found.items():
        print(f"  {name:34s} {np.median(taken):10.3f}")
    return {"first batch": {name: float(np.median(taken)) for name, taken in found.items()}}


def memory(folder: Path) -> Results:
    """Follow the memory of this process while an epoch passes through a small pool."""
    made = loader(folder, 2**26, window=4)
    for batch in made:  # what libraries and allocators take once
        del batch
    before, most = resident(), 0
    for _ in made:
        most = max(most, resident())
    found = {
        "frames as float32": 12.0 * len(made.sources[0].type) * made.plan.samples / 2**20,
        "pool at most, by its own count": made.pool.peak / 2**20,
        "grown in a second epoch": (most - before) / 2**20,
    }
    print("memory of a pool of 64 MiB, MiB")
    for name, size in found.items():
        print(f"  {name:34s} {size:10.1f}")
    return {"memory": found}


def resident() -> int:
    """Return the memory of this process in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def shuffle(folder: Path) -> Results:
    """Measure how often two frames of a batch are of one chunk."""
    series = loader(folder, 2**30).plan.series
    plans = {
        "8 streams of 16 blocks": Plan(series, BATCH),
        "8 streams of 4 blocks": Plan(series, BATCH, window=4),
        "8 streams of 1 block": Plan(series, BATCH, window=1),
        "1 stream of 1 block": Plan(series, BATCH, streams=1, window=1),
    }
    uniform = mixing(plans["1 stream of 1 block"]).uniform
    print(f"share of pairs of a batch that are of one chunk; by chance {uniform:.4f}")
    found = {name: mixing(plan).found for name, plan in plans.items()}
    for name, share in found.items():
        print(f"  {name:34s} {share:10.4f}")
    return {"shuffle": found | {"by chance": uniform}}


if __name__ == "__main__":
    main()
