"""Shear viscosity of isotropic fluids from how the differences of pressure along the axes forget themselves."""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.box import volume
from cgstore.errors import InputError
from cgstore.units import BAR, BOLTZMANN

__all__ = ["shear_viscosity"]

Float = NDArray[np.float64]

_AXES = ((0, 1), (1, 2), (2, 0))


def shear_viscosity(ds: xr.Dataset, *, temperature: float, until: float, blocks: int = 16) -> xr.Dataset:
    """Return the viscosity of a run at constant volume from its pressures along x, y and z, in u/(nm ps).

    Parameters
    ----------
    ds : `pressure_along (frame, xyz)` in bar, `box` and `time`, of one replica; frames much closer than the stress
        relaxes, as `cgstore.learn.sampler.sample` returns them with `friction=0` and a small `every`
    temperature : K
    until : ps, where the integral ends: on its plateau, which `running` shows
    blocks : of time, whose scatter is the error; each is much longer than `until`

    Returns
    -------
    dataset: `viscosity`, `viscosity_error`; `running` and `running_error` on (lag), the integral to each lag.
    1 mPa s = 602.2 u/(nm ps)

    Raises
    ------
    InputError : several replicas, blocks shorter than five times `until`, or an interval between frames longer than it

    Notes
    -----
    Green and Kubo, η = V/kT ∫₀ ⟨τ(0) τ(t)⟩ dt, with τ = (P_xx − P_yy)/2 and the same of yz and zx: in axes turned
    by 45° each is P_xy. Their sum is zero, so they are two independent numbers. Newton's motion only.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> box = np.tile(2.0 * np.eye(3), (4000, 1, 1))
    >>> ds = xr.Dataset(
    ...     {"pressure_along": (("frame", "xyz"), rng.normal(0, 500, (4000, 3))), "box": (("frame", "a", "xyz"), box)},
    ...     {"time": ("frame", 0.1 * np.arange(4000))},
    ... )
    >>> found = shear_viscosity(ds, temperature=300.0, until=1.0)  # white noise: V/kT (500 bar)²/2 · 0.05 ps
    >>> exact = 8.0 / (BOLTZMANN * 300.0) * 500.0**2 / 2 / BAR**2 * 0.05
    >>> bool(abs(found.viscosity - exact) < 3 * found.viscosity_error)
    True
    """
    time = ds["time"].values
    spacing = float(time[1] - time[0])
    if not np.allclose(np.diff(time), spacing, rtol=1e-3):
        raise InputError("shear_viscosity: found times that are not in equal steps, expected one replica of one run")
    lags, length = round(until / spacing), len(time) // blocks
    if lags < 1 or length < 5 * lags:
        raise InputError(
            f"shear_viscosity: found {len(time)} frames every {spacing:g} ps, expected an interval below until = "
            f"{until:g} ps and {blocks} blocks of five times that; run longer or take fewer blocks"
        )
    along = ds["pressure_along"].values[: length * blocks] / BAR  # (frame, xyz) kJ/mol/nm³
    stress = np.stack([along[:, a] - along[:, b] for a, b in _AXES]) / 2.0
    correlation = _correlation(stress.reshape(len(_AXES), blocks, length), lags).mean(axis=0)
    steps = 0.5 * spacing * (correlation[:, 1:] + correlation[:, :-1])
    factor = float(volume(ds["box"].values[:1])[0]) / (BOLTZMANN * temperature)
    running = factor * np.concatenate([np.zeros((blocks, 1)), np.cumsum(steps, axis=1)], axis=1)
    value, error = running.mean(axis=0), running.std(axis=0, ddof=1) / np.sqrt(blocks)
    unit = {"units": "u/(nm ps)"}
    return xr.Dataset(
        {
            "viscosity": ((), value[-1], unit | {"long_name": "shear viscosity"}),
            "viscosity_error": ((), error[-1], unit | {"long_name": "standard error of the shear viscosity"}),
            "running": ("lag", value, unit),
            "running_error": ("lag", error, unit),
        },
        {"lag": ("lag", spacing * np.arange(lags + 1), {"units": "ps"})},
    )


def _correlation(series: Float, lags: int) -> Float:
    """Return ⟨a(0) a(t)⟩ of the last dim for lags 0 … lags, without taking a mean off: it is zero by symmetry."""
    length = series.shape[-1]
    spectrum = np.abs(np.fft.rfft(series, 2 * length, axis=-1)) ** 2
    product = np.fft.irfft(spectrum, axis=-1)[..., : lags + 1]
    return np.asarray(product / (length - np.arange(lags + 1)), np.float64)
