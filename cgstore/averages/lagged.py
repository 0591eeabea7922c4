"""Averages over time origins at a lag, and the errors of whatever is linear in them.

A lagged dataset has the dims (kind, block, lag) and holds, beside what it is about,

    sum     (kind, block, lag)      sums over the origins of a block, of the mean over the bodies of a kind
    origins (block, lag)            how many origins these are
    scatter (kind, lag, other_lag)  covariance of the mean if bodies were independent, from their scatter
    bodies  (kind)                  how many molecules or particles

Everything else (means, errors, fits, integrals) is linear algebra on these, and never reads a frame again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.delayed import delayed
from numpy.typing import ArrayLike, NDArray

from cgstore.averages.blocks import block_length
from cgstore.averages.estimates import mean_and_error
from cgstore.errors import InputError, PhysicsError

__all__ = ["Lagged", "estimate_all", "frame_spacing", "frames_of_lags", "lagged_dataset", "linear_estimate"]

Float = NDArray[np.float64]
Index = NDArray[np.int64]
_ENOUGH_BLOCKS = 8  # fewer know the error to less than a quarter
_ENOUGH_LAGS = 16  # in a run, for blocks of time to say anything
_ENOUGH_BODIES = 16
_MOST_BYTES = 2**31  # of trajectories in memory


@dataclass(frozen=True, slots=True, eq=False)
class Lagged:
    """The statistics of one kind."""

    sum: Float  # (block, lag)
    origins: Float  # (block, lag)
    scatter: Float  # (lag, lag)
    bodies: int
    lag: Index  # (lag,) in frames

    def mean(self) -> Float:
        """Return the mean at each lag."""
        return np.asarray(self.sum.sum(axis=0) / self.origins.sum(axis=0))


def linear_estimate(lagged: Lagged, coefficients: ArrayLike) -> tuple[float, float, int]:
    """Return Σ c(lag) · mean(lag), its standard error, and the number of blocks that it comes from.

    Parameters
    ----------
    lagged : statistics of a kind
    coefficients : (lag,) c

    Returns
    -------
    value, error, blocks : the error is NaN where nothing is known. `blocks` is 0 when it comes from the scatter of
        the bodies, of which there are 16 or more then

    Notes
    -----
    Blocks of time first, since they know of correlations between bodies, see `mean_and_error`: the series is that of
    the whole combination, so that the correlation between lags is in it. The scatter of the bodies takes these for
    independent. Where fewer than eight blocks longer than the correlation time are left, the error is the larger of
    both; where the run is not 16 times longer than the lag, blocks of time say nothing. Where these disagree along the
    whole run, the motion itself becomes faster or slower, and no error is given: the bodies would agree on a wrong
    mean.
    """
    c = np.asarray(coefficients, np.float64)
    mean = lagged.mean()
    value = float(c @ mean)
    if not c.any():
        return value, 0.0, 0
    parts = np.abs(c * mean)
    reach = float(parts @ lagged.lag / parts.sum()) if parts.any() else float(lagged.lag[-1])
    bodies = float(np.sqrt(max(float(c @ lagged.scatter @ c), 0.0))) if lagged.bodies >= _ENOUGH_BODIES else np.nan
    frames = lagged.origins[:, 0].sum() + lagged.lag[0]
    if reach * _ENOUGH_LAGS > frames:
        shortest = np.eye(len(c))[0]
        return value, np.nan if np.isnan(_error_of_time(lagged, mean, shortest)[0]) else bodies, 0
    error, blocks = _error_of_time(lagged, mean, c)
    return value, error if blocks >= _ENOUGH_BLOCKS or np.isnan(error) else float(np.fmax(error, bodies)), blocks


def _error_of_time(lagged: Lagged, mean: Float, c: Float) -> tuple[float, int]:
    """Return the standard error of Σ c mean from blocks of time, and how many parts it comes from."""
    residual = (lagged.sum - mean * lagged.origins) @ (c / lagged.origins.sum(axis=0))
    weight = lagged.origins[:, int(np.flatnonzero(c)[0])]
    series, share = residual[weight > 0], weight[weight > 0] / weight.sum()
    scale = float(np.sqrt((series**2).mean()))
    if scale == 0.0:
        return (0.0 if len(share) >= _ENOUGH_BLOCKS else np.nan), len(share)
    # The offset makes the mean of this series 1: the estimate of an error wants a mean, and this one does not matter.
    estimate = mean_and_error((series / scale + share)[None, :, None], share)
    return float(estimate.error[0, 0]) * scale, int(estimate.blocks[0])


def frame_spacing(ds: xr.Dataset, question: str) -> float:
    """Return the time between frames, ps, if it is always the same.

    Raises
    ------
    InputError : there are no times, or fewer than three frames
    PhysicsError : the times are not evenly spaced, or frames have weights
    """
    where = f"{question} of {ds.attrs.get('name', 'this dataset')}"
    frames = ds.sizes["frame"]
    if "time" not in ds.coords or frames < 3:
        found = "no times" if "time" not in ds.coords else f"{frames} frames"
        raise InputError(f"{where}: found {found}, expected a coordinate time (frame) in ps of three frames or more")
    if "weight" in ds:
        raise PhysicsError(f"{where}: found weights of frames; there is no motion between reweighted frames")
    time = np.asarray(ds["time"].values, np.float64)
    steps = np.diff(time)
    spacing = float(np.median(steps))
    # XTC and TRR have times in float32, which are rounded in the seventh digit.
    tolerance = 1e-3 * abs(spacing) + 4 * np.finfo(np.float32).eps * np.abs(time).max()
    odd = ~(np.abs(steps - spacing) <= tolerance)
    if not spacing > 0 or odd.any():
        frame = int(odd.argmax()) if odd.any() else 0
        raise PhysicsError(
            f"{where}: the times are not evenly spaced: {steps[frame]:g} ps from frame {frame} to {frame + 1}, "
            f"{spacing:g} ps elsewhere; take an even stretch, ds.isel(frame=slice(START, STOP)), or thin to common "
            "times, ds.isel(frame=[...])"
        )
    return float((time[-1] - time[0]) / (frames - 1))


def frames_of_lags(title: str, lags: Sequence[float], spacing: float, frames: int, *, least: int) -> Index:
    """Return lags in ps as numbers of frames, in order.

    Raises
    ------
    InputError : one is no multiple of the time between frames, or beyond half the run
    """
    given = np.unique(np.asarray(lags, np.float64))
    if not (given.size and np.isfinite(given).all()):
        raise InputError(f"{title}: found lags = {lags!r}, expected times in ps")
    found = np.rint(given / spacing).astype(np.int64)
    wrong = (np.abs(found * spacing - given) > 1e-3 * spacing) | (found < least) | (found > frames // 2)
    if wrong.any():
        raise InputError(
            f"{title}: found a lag of {given[wrong][0]:g} ps, expected multiples of {spacing:g} ps, the time between "
            f"frames, from {least * spacing:g} ps up to half the run, {frames // 2 * spacing:g} ps"
        )
    return found


def lagged_dataset(
    trajectory: xr.DataArray,
    lag: Index,
    spacing: float,
    kernel: Callable[..., None],
    *,
    title: str,
    factor: Float,
    units: str,
) -> xr.Dataset:
    """Return the lagged dataset of trajectories; nothing is computed.

    Parameters
    ----------
    trajectory : (frame, body, xyz), lazy, with the coordinate `kind` on the bodies, in groups
    lag : (lag,) in frames
    spacing : ps between frames
    kernel : `sum_squares` or `sum_products` of `kernels.lagged`
    factor : (xyz,) what each direction counts
    units : of the sums

    Raises
    ------
    InputError : the trajectories need more than 2 GiB
    """
    frames, bodies, _ = trajectory.shape
    if trajectory.size * 8 > _MOST_BYTES:
        raise InputError(
            f"{title}: the trajectories of {bodies} bodies in {frames} frames take {trajectory.size * 8 / 2**30:.1f} "
            f"GiB, expected at most {_MOST_BYTES / 2**30:g}; ask for fewer kinds at a time, thin the frames with "
            "ds.isel(frame=slice(None, None, 2)), or take some of the molecules"
        )
    body = str(trajectory.dims[1])
    kind = trajectory["kind"].values
    names, number = _groups(kind)
    length = block_length(frames, numbers=len(names) * len(lag))
    whole = trajectory.data.rechunk((-1, -1, -1)).to_delayed(optimize_graph=False).ravel()[0]
    parts = delayed(_count, pure=False)(whole, lag, length, np.cumsum([0, *number]), factor, kernel)
    starts = np.arange(0, frames, length)
    origins = np.clip(frames - lag - starts[:, None], 0, length)  # (block, lag)
    shape = (len(names), len(starts), len(lag))
    lazy: Any = da  # dask has no types
    total = lazy.from_delayed(parts[0], shape, np.float64)
    scatter = lazy.from_delayed(parts[1], (len(names), len(lag), len(lag)), np.float64)
    about = {"units": "ps", "long_name": "lag"}
    return xr.Dataset(
        {
            "sum": (("kind", "block", "lag"), total, {"units": units, "long_name": "sums over time origins"}),
            "origins": (("block", "lag"), origins, {"units": "1", "long_name": "time origins"}),
            "scatter": (
                ("kind", "lag", "other_lag"),
                scatter,
                {"units": f"({units})²", "long_name": "covariance of the mean of independent bodies"},
            ),
            "bodies": ("kind", np.array(number), {"units": "1", "long_name": f"number of {body}s"}),
        },
        {"kind": np.array(names, np.str_), "lag": ("lag", lag * spacing, about), "lag_frames": ("lag", lag)},
        {"frames": frames, "frame_spacing": spacing, "block_length": length},
    )


def _groups(kind: NDArray[np.str_]) -> tuple[list[str], list[int]]:
    """Return the names of consecutive equal kinds and their lengths."""
    starts = np.flatnonzero(np.concatenate([[True], kind[1:] != kind[:-1]]))
    return kind[starts].tolist(), np.diff(np.concatenate([starts, [len(kind)]])).tolist()


def _count(
    trajectory: Float, lag: Index, length: int, edges: Index, factor: Float, kernel: Callable[..., None]
) -> tuple[Float, Float]:
    """Run the kernel over each kind: sums per block of the mean over bodies, and the covariance over bodies."""
    frames, kinds = len(trajectory), len(edges) - 1
    blocks = -(-frames // length)
    total, scatter = np.empty((kinds, blocks, len(lag))), np.full((kinds, len(lag), len(lag)), np.nan)
    data = np.ascontiguousarray(trajectory)  # as it is in most cases
    for kind in range(kinds):
        bodies = int(edges[kind + 1] - edges[kind])
        per_body = np.empty((bodies, len(lag)))
        kernel(data, lag, length, int(edges[kind]), int(edges[kind + 1]), factor, per_body, total[kind])
        total[kind] /= bodies
        if bodies > 1:
            centred = per_body / (frames - lag)
            centred -= centred.mean(axis=0)
            scatter[kind] = centred.T @ centred / (bodies * (bodies - 1))
    return total, scatter


def estimate_all(
    ds: xr.Dataset,
    estimate: Callable[[Lagged], Sequence[Any]],
    outputs: Mapping[str, tuple[tuple[str, ...], Any, Mapping[str, str]]],
) -> xr.Dataset:
    """Return what a function makes of the statistics of each kind, as lazy variables.

    Parameters
    ----------
    ds : lagged dataset
    estimate : called with the statistics of a kind; returns one number, text or array for each output
    outputs : name → dims after `kind`, dtype, attrs
    """
    lazy: Any = da  # dask has no types
    parts = delayed(_estimate_kinds, pure=False)(
        [ds[name].data for name in ("sum", "origins", "scatter", "bodies", "lag_frames")], estimate, len(outputs)
    )
    variables = {}
    for place, (name, (dims, dtype, attrs)) in enumerate(outputs.items()):
        shape = (ds.sizes["kind"], *(ds.sizes[dim] for dim in dims))
        variables[name] = (("kind", *dims), lazy.from_delayed(parts[place], shape, dtype), dict(attrs))
    return xr.Dataset(variables, ds.coords)


def _estimate_kinds(arrays: Sequence[np.ndarray], estimate: Callable[[Lagged], Sequence[Any]], outputs: int) -> Any:
    """Call the function for each kind and stack what it returns."""
    total, origins, scatter, bodies, lag = arrays
    found = [
        estimate(Lagged(total[kind], origins.astype(np.float64), scatter[kind], int(bodies[kind]), lag))
        for kind in range(len(total))
    ]
    return [np.array([row[place] for row in found]) for place in range(outputs)]
