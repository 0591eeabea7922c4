"""Diffusion coefficients with errors: from mean squared displacements, for infinite boxes, and as ratios."""

from collections.abc import Callable
from functools import partial
from typing import Any, overload

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from cgstore.averages.displacement import mean_squared_displacement
from cgstore.averages.lagged import Lagged, estimate_all, linear_estimate
from cgstore.errors import InputError, PhysicsError
from cgstore.units import BOLTZMANN

__all__ = ["YEH_HUMMER", "acceleration_factor", "diffusion_coefficient", "finite_size_diffusion"]

Float = NDArray[np.float64]
Index = NDArray[np.int64]
YEH_HUMMER = 2.837297  # of a cubic lattice
_LONGEST = 10  # part of the run that an automatic window may reach to
_LATER = 3.0  # a window is compared with the one that begins so many times later
_SAME = 2.0  # so many errors of their difference; a smaller number would throw good windows away, and shift the rest
_MARGIN = 2.0  # the window begins so many times later than where nothing can be told from the long times
_FEWEST_LAGS = 3
_SLOPE = 0.1  # how far the exponent may be from 1 beside its error: the offset of the straight line changes it
_SLOPE_KNOWN = 0.2  # largest error of an exponent that says something
_REASON = "<U160"


def diffusion_coefficient(ds: xr.Dataset, *, fit: tuple[float, float] | None = None) -> xr.Dataset:
    """Return diffusion coefficients per kind from the slope of the mean squared displacement; lazy.

    Parameters
    ----------
    ds : result of `mean_squared_displacement`; or a dataset of the schema, for all its kinds of molecules
    fit : ps, first and last lag of the straight line; chosen from the data by default

    Returns
    -------
    dataset, lazy, on (kind): `diffusion` and `diffusion_error` in nm²/ps (1 nm²/ps = 10⁻² cm²/s = 10⁻⁶ m²/s),
    `fit_start` and `fit_stop` in ps, `exponent` and `exponent_error`, the slope of log MSD over log t in the second
    half of the window, `blocks` behind the error (0 where it is the scatter of the molecules), and `reason`: empty if
    all is well; otherwise why there is no coefficient, which is then NaN, or, for a given `fit`, what is wrong with it

    Raises
    ------
    InputError : `fit` has fewer than three lags

    Notes
    -----
    MSD(t) = a + 2 d D t in d dimensions. The line is fitted by generalised least squares with the covariance that
    the MSD of a random walk has at its lags; most of what is known sits at the shortest lags of the window, where an
    ordinary fit would look at the longest. The weights do not depend on the data, so D is a fixed sum over the MSD, and
    its error is that of the time series of this sum, from blocks longer than its correlation time. The automatic
    window reaches to a tenth of the run. It begins two times later than the first lag from which on D does not
    differ, within two errors of the difference, from D of a window that begins three times later; the exponent must
    then be 1 within two errors and 0.1. A slow process with a time near the length of the run cannot be told from
    diffusion. Bullerjahn, von Bülow & Hummer 2020, doi:10.1063/5.0008312

    Examples
    --------
    >>> steps = np.random.default_rng(2).normal(0, 0.1, (2000, 50, 3))
    >>> walk = xr.Dataset(
    ...     {"position": (("frame", "particle", "xyz"), np.cumsum(steps, axis=0))},
    ...     {"time": ("frame", np.arange(2000.0)), "type": ("particle", ["A"] * 50)},
    ... )
    >>> d = diffusion_coefficient(mean_squared_displacement(walk, remove_drift=False)).sel(kind="A").compute()
    >>> bool(abs(d.diffusion - 0.005) < 2 * d.diffusion_error), float(d.fit_start)
    (True, 2.0)
    """
    msd = ds if "msd" in ds else mean_squared_displacement(ds)
    lag, spacing = msd["lag_frames"].values, float(msd.attrs["frame_spacing"])
    frames, directions = int(msd.attrs["frames"]), len(str(msd.attrs["dims"]))
    window = None if fit is None else _window(msd, fit)
    longest = frames // _LONGEST if window is None else int(lag[window[-1]])
    slope = partial(_slope, lag, _walk_covariance(lag[lag <= longest], frames))
    estimate = partial(_estimate, lag, longest, window, slope, 2.0 * directions * spacing, spacing)
    rate, time = {"units": "nm^2/ps"}, {"units": "ps"}
    error = "standard error of the"
    outputs = {
        "diffusion": ((), np.float64, rate | {"long_name": "diffusion coefficient"}),
        "diffusion_error": ((), np.float64, rate | {"long_name": f"{error} diffusion coefficient"}),
        "fit_start": ((), np.float64, time | {"long_name": "first lag of the fit"}),
        "fit_stop": ((), np.float64, time | {"long_name": "last lag of the fit"}),
        "exponent": ((), np.float64, {"units": "1", "long_name": "exponent of the mean squared displacement"}),
        "exponent_error": ((), np.float64, {"units": "1", "long_name": f"{error} exponent"}),
        "blocks": ((), np.int64, {"units": "1", "long_name": "blocks behind the error"}),
        "reason": ((), _REASON, {"long_name": "why there is no coefficient, or what is wrong with it"}),
    }
    found = estimate_all(msd, estimate, outputs).drop_vars(["lag", "lag_frames"])
    about = {name: value for name, value in msd.attrs.items() if name != "block_length"}
    about |= {"estimator": "generalised least squares of msd = a + 2 d D t, covariance of a random walk"}
    return found.assign_attrs(about | {"window": "chosen from the data" if fit is None else "given"})


def _window(msd: xr.Dataset, fit: tuple[float, float]) -> Index:
    """Return the places of the lags of a given window."""
    low, high = fit
    lag = msd["lag"].values
    places = np.flatnonzero((lag >= low * (1 - 1e-9)) & (lag <= high * (1 + 1e-9)))
    if len(places) < _FEWEST_LAGS:
        raise InputError(
            f"diffusion coefficient of {msd.attrs.get('name', 'this dataset')}: found {len(places)} lags between "
            f"{low:g} and {high:g} ps, expected {_FEWEST_LAGS} or more; lags go from {lag[0]:g} to {lag[-1]:g} ps"
        )
    return places


def _slope(lag: Index, covariance: Float, window: Index) -> Float:
    """Return c (lag) such that Σ c MSD is the slope per frame of the best straight line through the window."""
    design = np.stack([np.ones(len(window)), lag[window].astype(np.float64)], 1)
    weighted = np.linalg.solve(covariance[np.ix_(window, window)], design)
    c = np.zeros(len(lag))
    c[window] = (weighted @ np.linalg.inv(design.T @ weighted))[:, 1]
    return c


def _walk_covariance(lag: Index, frames: int) -> Float:
    """Return the covariance of the MSD of a random walk of unit steps at lags n and m, over all origins.

    Two stretches of the walk, n and m frames long, share what they overlap by: cov(Δ², Δ²) = 2 overlap².
    """
    size = len(lag)
    covariance = np.empty((size, size))
    for a in range(size):
        for b in range(a, size):
            n, m = int(lag[a]), int(lag[b])
            shift = np.arange(1 - m, n)  # from the origin of the first stretch to that of the second
            overlap = np.minimum(n, shift + m) - np.maximum(0, shift)
            pairs = np.minimum(frames - n, frames - m - shift) - np.maximum(0, -shift)
            total = (2.0 * overlap.astype(np.float64) ** 2 * np.maximum(pairs, 0)).sum()
            covariance[a, b] = covariance[b, a] = total / (frames - n) / (frames - m)
    return covariance


def _estimate(
    lag: Index,
    longest: int,
    given: Index | None,
    slope: Callable[[Index], Float],
    per_slope: float,
    spacing: float,
    lagged: Lagged,
) -> tuple[Any, ...]:
    """Return the diffusion coefficient of one kind, in the order of the outputs."""
    nothing = (np.nan,) * 6
    window, reason = (given, "") if given is not None else _choose(lag, longest, slope, lagged)
    if window is None:
        return (*nothing, 0, reason)
    value, error, blocks = linear_estimate(lagged, slope(window))
    exponent, exponent_error = _exponent(lag, window, lagged)
    reason = _objection(error, exponent, exponent_error)
    known = (value / per_slope, error / per_slope) if given is not None or not reason else (np.nan, np.nan)
    ends = lag[window[0]] * spacing, lag[window[-1]] * spacing
    return (*known, *ends, exponent, exponent_error, blocks, reason)


def _choose(lag: Index, longest: int, slope: Callable[[Index], Float], lagged: Lagged) -> tuple[Index | None, str]:
    """Return the window that begins where the slope has become that of long times, or None and why not.

    The slope of the longer window, if it is right, is the better estimate, and so independent of its difference from
    the slope of the shorter one: choosing by the difference does not spoil the error.
    """
    usable = np.flatnonzero(lag <= longest)
    starts = [place for place in usable if (lag[usable] >= _LATER * lag[place]).sum() >= _FEWEST_LAGS]
    if not starts:
        return None, "too few frames: no window in the first tenth of the run"
    distance = []
    for place in starts:
        later = usable[lag[usable] >= _LATER * lag[place]]
        difference, error, _ = linear_estimate(lagged, slope(usable[usable >= place]) - slope(later))
        distance.append(abs(difference) / error if error > 0 else np.nan)
    for place, far in zip(starts, distance, strict=True):
        if far <= _SAME:
            return usable[lag[usable] >= _MARGIN * lag[place]], ""
    if np.isnan(distance).all():
        return None, "no error is known: the run is too short, or the motion becomes faster or slower on the way"
    return None, "not diffusive yet: the slope still changes at a tenth of the run; run longer"


def _exponent(lag: Index, window: Index, lagged: Lagged) -> tuple[float, float]:
    """Return the slope of log MSD over log t in the second half, on the logarithmic axis, of a window."""
    middle = np.sqrt(float(lag[window[0]]) * float(lag[window[-1]]))
    late = window[-max(_FEWEST_LAGS, int((lag[window] >= middle).sum())) :]
    mean = lagged.mean()
    if not (mean[late] > 0).all():
        return np.nan, np.nan
    x = np.log(lag[late].astype(np.float64))
    row = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    c = np.zeros(len(lag))
    c[late] = row / mean[late]
    return float(row @ np.log(mean[late])), linear_estimate(lagged, c)[1]


def _objection(error: float, exponent: float, exponent_error: float) -> str:
    """Return why a window is not to be believed, or nothing."""
    if np.isnan(error) or np.isnan(exponent_error):
        return "no error is known: the run is too short, or the motion becomes faster or slower on the way"
    if exponent_error > _SLOPE_KNOWN:
        return (
            f"too short a run: the exponent is {exponent:.2f} ± {exponent_error:.2f}, it cannot be told whether it is 1"
        )
    if abs(exponent - 1.0) > _SLOPE + 2.0 * exponent_error:
        kind = "subdiffusive" if exponent < 1.0 else "superdiffusive"
        return f"{kind}: the exponent is {exponent:.2f} ± {exponent_error:.2f}, expected 1; run longer"
    return ""


@overload
def finite_size_diffusion(
    diffusion: xr.Dataset,
    *,
    edge: ArrayLike,
    temperature: float,
    viscosity: ArrayLike,
    viscosity_error: ArrayLike = ...,
) -> xr.Dataset: ...
@overload
def finite_size_diffusion(
    diffusion: ArrayLike,
    *,
    edge: ArrayLike,
    temperature: float,
    viscosity: ArrayLike,
    viscosity_error: ArrayLike = ...,
) -> np.ndarray: ...
def finite_size_diffusion(
    diffusion: xr.Dataset | ArrayLike,
    *,
    edge: ArrayLike,
    temperature: float,
    viscosity: ArrayLike,
    viscosity_error: ArrayLike = 0.0,
) -> xr.Dataset | np.ndarray:
    """Extrapolate a diffusion coefficient to an infinite box: D(∞) = D(L) + 2.837297 kT / (6 π η L).

    Parameters
    ----------
    diffusion : result of `diffusion_coefficient`; or (...,) nm²/ps
    edge : (...,) nm, L of the cubic box, its mean at constant pressure
    temperature : K
    viscosity, viscosity_error : (...,) u/(nm ps), of the model, not of the real liquid; 1 mPa s = 602.2 u/(nm ps)

    Returns
    -------
    (...,) nm²/ps; for a dataset the dataset with `diffusion` replaced, and `diffusion_error` with that of the viscosity

    Raises
    ------
    PhysicsError : an edge, a temperature or a viscosity is not positive

    Notes
    -----
    Needs momentum conservation: Langevin and Monte Carlo motion has no such term. Only for three dimensions and cubic
    boxes. In a bilayer the term is far larger and D grows with the box; that needs its thickness and surface viscosity,
    see Vögele & Hummer 2016, doi:10.1021/acs.jpcb.6b05102, which is not implemented. Yeh & Hummer 2004,
    doi:10.1021/jp0477147

    Examples
    --------
    >>> float(finite_size_diffusion(2.3e-3, edge=3.0, temperature=298.15, viscosity=512.0).round(6))
    0.002543
    """
    given = {"edge": edge, "temperature": temperature, "viscosity": viscosity}
    for name, value in given.items():
        if not (np.asarray(value, np.float64) > 0).all():
            raise PhysicsError(f"finite_size_diffusion: found {name} = {value}, expected positive numbers")
    length, eta = np.asarray(edge, np.float64), np.asarray(viscosity, np.float64)
    term = YEH_HUMMER * BOLTZMANN * temperature / (6.0 * np.pi * eta * length)
    if not isinstance(diffusion, xr.Dataset):
        return np.asarray(np.asarray(diffusion, np.float64) + term)
    if str(diffusion.attrs.get("dims", "xyz")) != "xyz":
        raise PhysicsError(
            f'finite_size_diffusion: found dims = "{diffusion.attrs["dims"]}", expected "xyz"; motion in a plane has '
            "another term, doi:10.1021/acs.jpcb.6b05102"
        )
    uncertain = term * np.asarray(viscosity_error, np.float64) / eta
    label, unit = "diffusion coefficient of an infinite box", "nm^2/ps"
    value, error = diffusion["diffusion"] + term, (diffusion["diffusion_error"] ** 2 + uncertain**2) ** 0.5
    corrected = diffusion.assign(
        diffusion=value.assign_attrs(units=unit, long_name=label),
        diffusion_error=error.assign_attrs(units=unit, long_name=f"standard error of the {label}"),
    )
    return corrected.assign_attrs(finite_size="Yeh-Hummer", finite_size_term=np.asarray(term).tolist())


def acceleration_factor(cg: xr.Dataset, atoms: xr.Dataset) -> xr.Dataset:
    """Return how much faster a coarse-grained model moves: α = D(cg) / D(atoms), per kind; lazy if those are.

    Parameters
    ----------
    cg, atoms : results of `diffusion_coefficient` of both levels, with kinds of the same names

    Returns
    -------
    dataset on (kind): `acceleration`, `acceleration_error`, and `acceleration_low`, `acceleration_high`, the
    68 % interval

    Raises
    ------
    InputError : no kind is in both, or they are of different directions

    Notes
    -----
    ln α = ln D(cg) − ln D(atoms), and its error is s² = (δD/D)² of both: δα = α s, and the interval is α exp(± s),
    which stays positive and is the better one when s is not small. Coefficients of two runs are independent; two from
    the same run are not. NaN where a coefficient is NaN or not positive.

    Examples
    --------
    >>> cg = xr.Dataset({"diffusion": ("kind", [6.0]), "diffusion_error": ("kind", [0.3])}, {"kind": ["CH4"]})
    >>> atoms = xr.Dataset({"diffusion": ("kind", [2.0]), "diffusion_error": ("kind", [0.1])}, {"kind": ["CH4"]})
    >>> a = acceleration_factor(cg, atoms).sel(kind="CH4")
    >>> float(a.acceleration), float(a.acceleration_error.round(3)), float(a.acceleration_high.round(3))
    (3.0, 0.212, 3.22)
    """
    ours, theirs = (str(ds.attrs.get("dims", "xyz")) for ds in (cg, atoms))
    if ours != theirs:
        raise InputError(f'acceleration_factor: found dims "{ours}" and "{theirs}", expected the same')
    fast, slow = xr.align(cg[["diffusion", "diffusion_error"]], atoms[["diffusion", "diffusion_error"]], join="inner")
    if fast.sizes["kind"] == 0:
        names = [", ".join(ds["kind"].values.tolist()) for ds in (cg, atoms)]
        raise InputError(
            f"acceleration_factor: found the kinds {names[0]} and {names[1]}, none of them in both; give them the same "
            "names with assign_coords(kind=[...])"
        )
    fast, slow = (ds.where(ds["diffusion"] > 0) for ds in (fast, slow))
    alpha = fast["diffusion"] / slow["diffusion"]
    ratios = [(ds["diffusion_error"] / ds["diffusion"]) ** 2 for ds in (fast, slow)]
    relative = (ratios[0] + ratios[1]) ** 0.5
    name = "acceleration factor D(cg) / D(atoms)"
    meaning = {
        "acceleration": (alpha, name),
        "acceleration_error": (alpha * relative, f"standard error of the {name}"),
        "acceleration_low": (alpha * np.exp(-relative), f"lower end of the 68 % interval of the {name}"),
        "acceleration_high": (alpha * np.exp(relative), f"upper end of the 68 % interval of the {name}"),
    }
    return xr.Dataset(
        {key: value.assign_attrs(units="1", long_name=label) for key, (value, label) in meaning.items()},
        attrs={"cg": str(cg.attrs.get("name", "")), "atoms": str(atoms.attrs.get("name", "")), "dims": ours},
    )
