"""How many frames per second reach a training loop, shuffled, as float32 tensors."""

import tempfile
from pathlib import Path

import numpy as np
import torch
import xarray as xr
import zarr
from _timing import compare, report

import cgstore
from cgstore.learn import Loader, Split

ROOT = Path(__file__).parents[1]
BATCH = 32


def main() -> None:
    """Compare on the atoms of the shipped methane at 112 K: 1 110 particles, 401 frames."""
    with tempfile.TemporaryDirectory() as folder:
        cgstore.ingest(ROOT / "ingest/recipes/methane_112k.toml", archive=ROOT / "archive", store=folder)
        catalog = cgstore.open_catalog(folder)
        name = "methane_112k/r1/atoms"
        version = f"{folder}/{name}/v000001"
        array = zarr.open_array(f"{version}/position", mode="r")
        plain = xr.open_zarr(version)
        frames = array.shape[0]
        train = Split.from_dict({"train": [{"dataset": name}]}).train
        order = np.random.default_rng(1).permutation(frames)

        def loader() -> None:
            for batch in Loader(catalog, train, batch_size=BATCH, variables=["position"], seed=1):
                batch["position"].sum()

        def zarr_reads() -> None:
            for start in range(0, frames, BATCH):
                rows = [array[i] for i in order[start : start + BATCH]]
                torch.from_numpy(np.stack(rows).astype(np.float32) * np.float32(0.001)).sum()

        def xarray_reads() -> None:
            for start in range(0, frames, BATCH):
                rows = np.sort(order[start : start + BATCH])
                torch.from_numpy(plain.position.isel(frame=rows).values.astype(np.float32)).sum()

        results = {
            "samples": compare(
                f"shuffled batches of {BATCH}, {array.shape[1]} particles",
                {"cgstore Loader": loader, "one zarr read per sample": zarr_reads, "xarray per batch": xarray_reads},
                amount=frames,
                unit="frames",
            )
        }
    report(results)


if __name__ == "__main__":
    main()
