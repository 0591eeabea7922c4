"""Features of single frames: their values are kept, so that of a longer run only the new frames are read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.averages.series import mean_of_series
from cgstore.errors import InputError, IntegrityError
from cgstore.feature_tables.registry import Feature, as_dataset
from cgstore.feature_tables.sources import Source
from cgstore.features import keep, kept, read_kept
from cgstore.schema import SCHEMA
from cgstore.store.digests import static_digest
from cgstore.store.layout import DIGEST
from cgstore.store.opening import open_arrays

__all__ = ["frame_means"]

_FRAMES = "frame_digest"
_STATIC = tuple(row.name for row in SCHEMA if row.dims[0] != "frame")


@dataclass(frozen=True, slots=True)
class _Frames:
    """What decides on the values of frames."""

    digests: NDArray[np.uint64]  # (frame,)
    particles: str


def frame_means(source: Source, feature: Feature, parameters: Any) -> xr.Dataset:
    """Return mean and standard error, `NAME_error`, over frames of each column of a feature of locality `frame`.

    The error is NaN where the run is too short to know it; see `cgstore.averages.series.mean_of_series`.

    Raises
    ------
    InputError : the values are not those of all frames, or not finite
    """
    asked = {
        "name": f"frames_{feature.name}",
        "version": feature.version,
        "parameters": parameters.model_dump(mode="json"),
    }
    digest, frames = str(source.metadata["digest"]), _frames_of(source)

    def compute() -> xr.Dataset:
        known = _known(source.path, asked, frames)
        first = 0 if known is None else known.sizes["frame"]
        rest = as_dataset(feature.compute(source.ds.isel(frame=slice(first, None)), parameters)).compute()
        values = rest if known is None else xr.concat([known, rest], "frame", join="exact")
        return values.assign({_FRAMES: ("frame", frames.digests)}).assign_attrs(particles=frames.particles)

    values, _ = keep(source.path, **asked, dataset_digest=digest, compute=compute)
    weight = source.ds["weight"].values if "weight" in source.ds else None
    found = {}
    for name, array in values.drop_vars(_FRAMES).data_vars.items():
        if array.dims[:1] != ("frame",):
            raise InputError(f"feature {feature.name}: found {name} on {array.dims}, expected frame as the first dim")
        mean = mean_of_series(array.values.reshape(len(array), -1).T, weight=weight)
        shape = array.shape[1:]
        found[name] = (array.dims[1:], mean.mean.reshape(shape))
        found[f"{name}_error"] = (array.dims[1:], mean.error.reshape(shape))
    return xr.Dataset(found, {name: values[name] for name in values.coords})


def _frames_of(source: Source) -> _Frames:
    """Return the digest of every frame and of what does not move."""
    arrays, _ = open_arrays(source.path / f"v{int(source.metadata['version']):06d}")
    static = static_digest({name: source.ds[name].values for name in _STATIC if name in source.ds.variables})
    return _Frames(np.asarray(arrays[DIGEST][...], np.uint64), static)


def _known(path: Path, asked: dict[str, Any], frames: _Frames) -> xr.Dataset | None:
    """Return the kept values of most of the first frames of this version; None if there are none."""
    best = None
    for item in kept(path):
        if (item.name, item.version, item.parameters) != (asked["name"], asked["version"], asked["parameters"]):
            continue
        try:
            values = read_kept(item)
        except IntegrityError:
            continue  # it is only not used
        before = values[_FRAMES].values
        shorter = min(len(before), len(frames.digests))
        same = before[:shorter] == frames.digests[:shorter]
        known = shorter if same.all() else int(np.argmin(same))
        if values.attrs["particles"] == frames.particles and known > (0 if best is None else best.sizes["frame"]):
            best = values.isel(frame=slice(0, known)).drop_vars(_FRAMES)
    return best
