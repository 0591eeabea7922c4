"""Velocity autocorrelation functions of molecules or particles, and their Green–Kubo integrals, with errors."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.delayed import delayed
from numpy.typing import NDArray

from cgstore.averages.bodies import Bodies, bodies_of
from cgstore.averages.lagged import (
    Lagged,
    estimate_all,
    frame_spacing,
    frames_of_lags,
    lagged_dataset,
    linear_estimate,
)
from cgstore.averages.unwrapping import task_frames
from cgstore.errors import InputError, PhysicsError
from cgstore.kernels.lagged import sum_products
from cgstore.schema import check_dataset

__all__ = ["velocity_autocorrelation"]

Float = NDArray[np.float64]
_LONGEST = 10  # part of the run
_MOST_LAGS = 400


def velocity_autocorrelation(
    ds: xr.Dataset,
    *,
    of: str = "molecule",
    kinds: Sequence[str] | None = None,
    lags: Sequence[float] | None = None,
    normalise: bool = False,
) -> xr.Dataset:
    """Return velocity autocorrelation functions per kind, and their integrals; nothing is read until they are computed.

    Parameters
    ----------
    ds : dataset of the schema with `velocity`, and `time` evenly spaced; `mass` and `molecule` if any
    of : "molecule" for velocities of centres of mass of molecules, or "particle"
    kinds : which kinds of molecules, or types of particles; all by default
    lags : ps, multiples of the time between frames up to half the run; by default every frame up to a tenth of the
        run, at most 400
    normalise : divide by the value at lag 0

    Returns
    -------
    dataset, lazy: `vacf` and `vacf_error` (kind, lag) in nm²/ps², or 1 if normalised; `diffusion` and `diffusion_error`
    (kind, lag) nm²/ps, the Green–Kubo integral up to each lag; beside them the statistics these are made from, see
    `cgstore.averages.lagged`

    Raises
    ------
    InputError, NotFound : there are no velocities, or arguments make no sense
    PhysicsError : frames are not evenly spaced; when computed: a velocity that is not finite

    Notes
    -----
    C(t) = ⟨ v(t₀) · v(t₀ + t) ⟩ and D(t) = ⅓ ∫₀ᵗ C, by the trapezoidal rule through the lags. Velocities are those
    relative to the centre of mass of the whole system. C(0) is 3 kT/m of a molecule as a whole. The integral is right
    only if frames are much closer than the time in which C decays, and D is its plateau: read it off where it no longer
    rises; its error grows with the lag. NaN where the lags do not begin with 0. Kubo 1957,
    doi:10.1143/JPSJ.12.570

    Examples
    --------
    >>> v = np.random.default_rng(1).normal(0, 0.2, (500, 40, 3))
    >>> ds = xr.Dataset(
    ...     {"position": (("frame", "particle", "xyz"), 0 * v), "velocity": (("frame", "particle", "xyz"), v)},
    ...     {"time": ("frame", 0.1 * np.arange(500)), "type": ("particle", ["A"] * 40)},
    ... )
    >>> c = velocity_autocorrelation(ds, lags=[0.0, 0.1]).compute()
    >>> c.vacf.sel(kind="A").values.round(2).tolist()
    [0.12, 0.0]
    """
    title = f"velocity autocorrelation of {ds.attrs.get('name', 'this dataset')}"
    check_dataset(ds)
    if "velocity" not in ds:
        raise InputError(f"{title}: found no velocities; ingest them from a trajectory that has them (TRR, H5MD, DUMP)")
    spacing, frames = frame_spacing(ds, "velocity autocorrelation"), ds.sizes["frame"]
    lag = (
        np.arange(min(max(frames // _LONGEST, 1), _MOST_LAGS) + 1)
        if lags is None
        else frames_of_lags(title, lags, spacing, frames, least=0)
    )
    bodies = bodies_of(ds, of)
    _, chosen = bodies.of_kinds(title, kinds)
    velocity = xr.DataArray(
        _velocities(ds, title, bodies, chosen), dims=("frame", of, "xyz"), coords={"kind": (of, bodies.kind[chosen])}
    )
    statistics = lagged_dataset(velocity, lag, spacing, sum_products, title=title, factor=np.ones(3), units="nm^2/ps^2")
    estimate = partial(_of_each_lag, _trapezoids(lag) * spacing / 3.0, normalise)
    unit = {"units": "1" if normalise else "nm^2/ps^2", "long_name": "velocity autocorrelation"}
    rate = {"units": "nm^2/ps", "long_name": "Green–Kubo integral"}
    outputs = {
        "vacf": (("lag",), np.float64, unit),
        "vacf_error": (("lag",), np.float64, unit | {"long_name": f"standard error of the {unit['long_name']}"}),
        "diffusion": (("lag",), np.float64, rate),
        "diffusion_error": (("lag",), np.float64, rate | {"long_name": f"standard error of the {rate['long_name']}"}),
    }
    attrs = {name: ds.attrs[name] for name in ("name", "title", "version", "digest", "temperature") if name in ds.attrs}
    about = {"of": of, "normalised": int(normalise), "drift_removed": 1}
    results = estimate_all(statistics, estimate, outputs).assign(statistics.data_vars)
    return results.assign_attrs(attrs | statistics.attrs | about)


def _velocities(ds: xr.Dataset, title: str, bodies: Bodies, chosen: NDArray[np.int64]) -> Any:
    """Return velocities of the chosen bodies relative to the centre of mass of all, as a lazy array."""
    frames, task = ds.sizes["frame"], task_frames(ds.sizes["particle"])
    blocks = ds["velocity"].chunk({"frame": task, "particle": -1, "xyz": -1}).data.to_delayed(optimize_graph=False)
    shared = delayed((bodies, chosen, title), traverse=False, pure=False)
    centred = delayed(_centred, pure=False)
    lazy: Any = da  # dask has no types
    parts = [
        lazy.from_delayed(centred(shared, block, start), (min(task, frames - start), len(chosen), 3), np.float64)
        for start, block in zip(range(0, frames, task), blocks.ravel(), strict=True)
    ]
    return lazy.concatenate(parts)


def _centred(shared: tuple[Any, ...], velocity: np.ndarray, first: int) -> Float:
    """Return the velocities of a group of frames."""
    bodies, chosen, title = shared
    found: Float = bodies.velocities(velocity)
    if not np.isfinite(found.sum()):
        frame = first + int((~np.isfinite(found).all(axis=(1, 2))).argmax())
        raise PhysicsError(
            f"{title}: frame {frame} has a velocity that is not finite; leave out all frames from there on"
        )
    drift = np.einsum("b,fbx->fx", bodies.share(), found)
    return np.asarray(found[:, chosen] - drift[:, None])


def _trapezoids(lag: NDArray[np.int64]) -> Float:
    """Return the weights (upper, lag) of the trapezoidal rule from lag 0 up to each lag; NaN without a lag 0."""
    rows = np.zeros((len(lag), len(lag)))
    for upper in range(1, len(lag)):
        rows[upper] = rows[upper - 1]
        rows[upper, upper - 1 : upper + 1] += 0.5 * (lag[upper] - lag[upper - 1])
    return rows if lag[0] == 0 else np.full_like(rows, np.nan)


def _of_each_lag(integral: Float, normalise: bool, lagged: Lagged) -> tuple[Float, Float, Float, Float]:
    """Return the function and its integral up to each lag, with their errors."""
    mean, lags = lagged.mean(), len(lagged.lag)
    rows = np.eye(lags)
    if normalise:
        scale = mean[0] if lagged.lag[0] == 0 else np.nan
        # C(t)/C(0) changes with both: δ(C(t)/C(0)) = (δC(t) − C(t)/C(0) δC(0)) / C(0)
        rows[:, 0] -= mean / scale
        rows /= scale
        value = mean / scale
    else:
        value = mean
    error = [_error(lagged, row) for row in rows]
    area = [linear_estimate(lagged, row)[0] if np.isfinite(row).all() else np.nan for row in integral]
    area_error = [_error(lagged, row) for row in integral]
    return value, np.array(error), np.array(area), np.array(area_error)


def _error(lagged: Lagged, row: Float) -> float:
    """Return the error of a combination, NaN if that is not known itself."""
    return linear_estimate(lagged, row)[1] if np.isfinite(row).all() else np.nan
