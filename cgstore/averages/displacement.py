"""Mean squared displacements of molecules or particles, with errors, right at constant pressure too."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.averages.lagged import (
    Lagged,
    estimate_all,
    frame_spacing,
    frames_of_lags,
    lagged_dataset,
    linear_estimate,
)
from cgstore.averages.unwrapping import unwrap
from cgstore.errors import InputError
from cgstore.kernels.lagged import sum_squares

__all__ = ["mean_squared_displacement"]

_PER_DECADE = 10  # lags
_LONGEST = 4  # part of the run: beyond a quarter of it there are hardly two independent stretches


def mean_squared_displacement(
    ds: xr.Dataset,
    *,
    of: str = "molecule",
    kinds: Sequence[str] | None = None,
    dims: str = "xyz",
    lags: Sequence[float] | None = None,
    remove_drift: bool = True,
) -> xr.Dataset:
    """Return mean squared displacements per kind of molecule or particle; nothing is read until they are computed.

    Parameters
    ----------
    ds : dataset of the schema, positions wrapped or whole, `time` evenly spaced; `box`, `mass`, `molecule` if any
    of : "molecule" for centres of mass of molecules, or "particle"
    kinds : which kinds of molecules, or types of particles; all by default
    dims : which directions: "xyz", or for example "xy" for motion in the plane of a bilayer
    lags : ps, multiples of the time between frames up to half the run; by default every frame at first, then ten per
        decade up to a quarter of the run
    remove_drift : take off the motion of the centre of mass of the whole system

    Returns
    -------
    dataset, lazy: `msd` and `msd_error` (kind, lag) nm², and `blocks` (kind, lag), how many blocks are behind the
    error, 0 where it comes from the scatter of the molecules; beside them the statistics these are made from, see
    `cgstore.averages.lagged`

    Raises
    ------
    InputError, NotFound : arguments make no sense, there are no times, or the trajectories do not fit into memory
    PhysicsError : frames are not evenly spaced or have weights; when computed: see `unwrap`

    Notes
    -----
    MSD(t) = ⟨ |u(t₀ + t) − u(t₀)|² ⟩ over all origins t₀ and molecules, of unwrapped positions u. The centre of mass
    that is taken off takes 1/N of the motion with it when particles move independently of each other (Brownian or
    Langevin dynamics); with momentum conserved that is in the motion already. Errors come from blocks of time
    longer than the correlation time, which is about the lag: beyond a tenth of the run they are rough, and neighbouring
    lags are strongly correlated. Memory: 24 bytes per molecule and frame, up to 2 GiB.

    Examples
    --------
    >>> steps = np.random.default_rng(1).normal(0, 0.1, (1000, 50, 3))
    >>> walk = xr.Dataset(
    ...     {"position": (("frame", "particle", "xyz"), np.cumsum(steps, axis=0))},
    ...     {"time": ("frame", 2.0 * np.arange(1000)), "type": ("particle", ["A"] * 50)},
    ... )
    >>> m = mean_squared_displacement(walk, lags=[2.0, 20.0], remove_drift=False).compute()
    >>> m.msd.sel(kind="A").values.round(2).tolist()
    [0.03, 0.31]
    """
    title = f"mean squared displacement of {ds.attrs.get('name', 'this dataset')}"
    spacing = frame_spacing(ds, "mean squared displacement")
    frames = ds.sizes["frame"]
    factor = _directions(title, dims)
    lag = _default_lags(frames) if lags is None else frames_of_lags(title, lags, spacing, frames, least=1)
    ways = unwrap(ds, of=of, kinds=kinds, remove_drift=remove_drift)
    statistics = lagged_dataset(ways["position"], lag, spacing, sum_squares, title=title, factor=factor, units="nm^2")
    direction = {"xyz": "mean squared displacement"}.get(dims, f"mean squared displacement along {dims}")
    unit = {"units": "nm^2", "long_name": direction}
    error = unit | {"long_name": f"standard error of the {direction}"}
    outputs = {
        "msd": (("lag",), np.float64, unit),
        "msd_error": (("lag",), np.float64, error),
        "blocks": (("lag",), np.int64, {"units": "1", "long_name": "blocks behind the error"}),
    }
    results = estimate_all(statistics, _of_each_lag, outputs)
    attrs = ways.attrs | statistics.attrs | {"dims": dims}
    return results.assign(statistics.data_vars).assign_attrs(attrs)


def _directions(title: str, dims: str) -> NDArray[np.float64]:
    """Return what each direction counts: 1 or 0."""
    if not isinstance(dims, str) or not dims or set(dims) - set("xyz") or len(set(dims)) < len(dims):
        raise InputError(f'{title}: found dims = {dims!r}, expected some of the letters x, y, z: "xyz", "xy", "z"')
    return np.array([float(letter in dims) for letter in "xyz"])


def _default_lags(frames: int) -> NDArray[np.int64]:
    """Return ten lags per decade, in frames, up to a quarter of the run."""
    longest = max(frames // _LONGEST, 1)
    exponents = np.arange(int(_PER_DECADE * np.log10(longest) + 1e-9) + 1) / _PER_DECADE
    return np.unique(np.rint(10**exponents).astype(np.int64))


def _of_each_lag(lagged: Lagged) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return mean, error and number of blocks at each lag."""
    value, error, blocks = zip(*(linear_estimate(lagged, row) for row in np.eye(len(lagged.mean()))), strict=True)
    return np.array(value), np.array(error), np.array(blocks, np.int64)
