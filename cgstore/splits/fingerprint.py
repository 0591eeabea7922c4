"""Fingerprints: what tells that two datasets hold the same data under different names."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.store.opening import read_marks

__all__ = ["Fingerprint", "fingerprint", "times_in", "times_of"]

_NO_DIGESTS = np.empty(0, np.uint64)


@dataclass(frozen=True, slots=True, eq=False)
class Fingerprint:
    """What the chosen frames of a dataset are made of."""

    sources: frozenset[str]  # SHA-256 of the source files
    frames: NDArray[np.uint64]  # (frame,) digest of each frame, sorted; empty when the dataset keeps none
    times: NDArray[np.float64]  # (frame,) ps
    version: int  # of the dataset; 0 where none is known
    digest: str  # of the content of the dataset; empty where none is known

    @property
    def first(self) -> float:
        """Return the time of the first frame in ps; without frames it is after everything."""
        return float(self.times[0]) if len(self.times) else np.inf

    @property
    def last(self) -> float:
        """Return the time of the last frame in ps; without frames it is before everything."""
        return float(self.times[-1]) if len(self.times) else -np.inf


def fingerprint(entry: Any, choose: Callable[[NDArray[np.float64]], slice], *, digests: bool = True) -> Fingerprint:
    """Read the digests and times of a dataset, of one in a store nothing else.

    Parameters
    ----------
    entry : a catalog entry with `metadata` and `open()`
    choose : times (frame,) in ps → slice of the frames that are meant
    digests : read those of the frames too
    """
    time, marks, attrs = _marks(entry, digests=digests)
    chosen = choose(time)
    sources = attrs.get("sources") or entry.metadata.get("sources") or []
    version, content = (entry.metadata.get(name) or attrs.get(name) for name in ("version", "digest"))
    return Fingerprint(
        sources=frozenset(source["digest"] for source in sources),
        frames=np.sort(marks[chosen]),
        times=time[chosen],
        version=int(version or 0),
        digest=str(content or ""),
    )


def times_in(entry: Any) -> NDArray[np.float64]:
    """Return the time of each frame of a dataset in ps, (frame,), of one in a store without opening the rest."""
    return _marks(entry, digests=False)[0]


def times_of(ds: xr.Dataset) -> NDArray[np.float64]:
    """Return the time of each frame in ps, (frame,); the number of the frame where no times are known."""
    if "time" in ds.variables:
        return np.asarray(ds["time"].values, np.float64)
    return np.arange(float(ds.sizes["frame"]))


def _marks(entry: Any, *, digests: bool) -> tuple[NDArray[np.float64], NDArray[np.uint64], Mapping[str, Any]]:
    """Return the time and the digest of each frame, and the attributes of a dataset that may be in no store."""
    location, version = getattr(entry, "location", None), entry.metadata.get("version")
    if location is not None and version is not None:
        return read_marks(_folder(location, version), digests=digests)
    ds = entry.open()
    return times_of(ds), _frame_digests(location, ds.attrs.get("version")) if digests else _NO_DIGESTS, ds.attrs


def _frame_digests(location: Any, version: Any) -> NDArray[np.uint64]:
    """Return the digest of each frame from the store, or none for a dataset that is in no store."""
    if location is None or version is None:
        return _NO_DIGESTS
    return read_marks(_folder(location, version))[1]


def _folder(location: Any, version: Any) -> str:
    """Return the folder or URL of a version."""
    return f"{location}/v{int(version):06d}"
