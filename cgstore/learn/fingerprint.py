"""Fingerprints: what tells that two datasets hold the same data under different names."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgstore.store.layout import DIGEST
from cgstore.store.opening import open_arrays

__all__ = ["Fingerprint", "fingerprint"]


@dataclass(frozen=True, slots=True, eq=False)
class Fingerprint:
    """What the chosen frames of a dataset are made of."""

    sources: frozenset[str]  # SHA-256 of the source files
    frames: NDArray[np.uint64]  # (frame,) digest of each frame, sorted; empty when the dataset keeps none
    first: float  # ps
    last: float  # ps
    interval: float  # ps, the longest time between two of the frames


def fingerprint(entry: Any, choose: Callable[[NDArray[np.float64]], slice]) -> Fingerprint:
    """Read the digests and times of a dataset; `choose(time)` says which frames are meant.

    Parameters
    ----------
    entry : a catalog entry with `metadata` and `open()`
    choose : times (frame,) in ps → slice of frames
    """
    ds = entry.open()
    time = np.asarray(ds["time"].values, np.float64) if "time" in ds.variables else np.arange(float(ds.sizes["frame"]))
    chosen = choose(time)
    times = time[chosen]
    sources = ds.attrs.get("sources") or entry.metadata.get("sources") or []
    digests = _frame_digests(entry, ds.attrs.get("version"))
    return Fingerprint(
        sources=frozenset(source["digest"] for source in sources),
        frames=np.sort(digests[chosen]) if len(digests) else digests,
        first=float(times[0]) if len(times) else np.inf,
        last=float(times[-1]) if len(times) else -np.inf,
        interval=float(np.diff(times).max()) if len(times) > 1 else 0.0,
    )


def _frame_digests(entry: Any, version: Any) -> NDArray[np.uint64]:
    """Return the digest of each frame from the store, or none for a dataset that is in no store."""
    location = getattr(entry, "location", None)
    if location is None or version is None:
        return np.empty(0, np.uint64)
    arrays, _ = open_arrays(f"{location}/v{int(version):06d}")
    return np.asarray(arrays[DIGEST][:], np.uint64) if DIGEST in arrays else np.empty(0, np.uint64)
