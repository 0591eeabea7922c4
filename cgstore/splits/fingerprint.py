"""Fingerprints: what tells that two datasets hold the same data under different names."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.store.layout import DIGEST
from cgstore.store.opening import open_arrays

__all__ = ["Fingerprint", "fingerprint", "times_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Fingerprint:
    """What the chosen frames of a dataset are made of."""

    sources: frozenset[str]  # SHA-256 of the source files
    frames: NDArray[np.uint64]  # (frame,) digest of each frame, sorted; empty when the dataset keeps none
    times: NDArray[np.float64]  # (frame,) ps

    @property
    def first(self) -> float:
        """Return the time of the first frame in ps; without frames it is after everything."""
        return float(self.times[0]) if len(self.times) else np.inf

    @property
    def last(self) -> float:
        """Return the time of the last frame in ps; without frames it is before everything."""
        return float(self.times[-1]) if len(self.times) else -np.inf


def fingerprint(entry: Any, choose: Callable[[NDArray[np.float64]], slice]) -> Fingerprint:
    """Read the digests and times of a dataset; `choose(time)` says which frames are meant.

    Parameters
    ----------
    entry : a catalog entry with `metadata` and `open()`
    choose : times (frame,) in ps → slice of frames
    """
    ds = entry.open()
    time = times_of(ds)
    chosen = choose(time)
    times = time[chosen]
    sources = ds.attrs.get("sources") or entry.metadata.get("sources") or []
    digests = _frame_digests(entry, ds.attrs.get("version"))
    return Fingerprint(
        sources=frozenset(source["digest"] for source in sources),
        frames=np.sort(digests[chosen]) if len(digests) else digests,
        times=times,
    )


def times_of(ds: xr.Dataset) -> NDArray[np.float64]:
    """Return the time of each frame in ps, (frame,); the number of the frame where no times are known."""
    if "time" in ds.variables:
        return np.asarray(ds["time"].values, np.float64)
    return np.arange(float(ds.sizes["frame"]))


def _frame_digests(entry: Any, version: Any) -> NDArray[np.uint64]:
    """Return the digest of each frame from the store, or none for a dataset that is in no store."""
    location = getattr(entry, "location", None)
    if location is None or version is None:
        return np.empty(0, np.uint64)
    arrays, _ = open_arrays(f"{location}/v{int(version):06d}")
    return np.asarray(arrays[DIGEST][:], np.uint64) if DIGEST in arrays else np.empty(0, np.uint64)
