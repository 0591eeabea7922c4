"""How stiff a membrane is against stretching: the area compressibility modulus, from the fluctuations of the box."""

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.averages.counting import result_attrs
from cgstore.averages.framewise import box_area
from cgstore.averages.series import mean_of_series
from cgstore.errors import InputError, PhysicsError
from cgstore.units import BOLTZMANN

__all__ = ["area_compressibility", "stiffness_variables"]

_STIFFNESS = {"units": "kJ/mol/nm^2", "long_name": "area compressibility modulus"}
_SAME_AREA = 1e-6  # relative scatter below which the box does not breathe; boxes are float32

Float = NDArray[np.float64]


def area_compressibility(ds: xr.Dataset, *, temperature: float | None = None, normal: str = "z") -> xr.Dataset:
    """Return the area compressibility modulus from the fluctuations of the box, with its error; lazy.

    Parameters
    ----------
    ds : dataset of the schema with `box`, of a run at constant lateral pressure
    temperature : K; by default that of the dataset
    normal : the box vector that crosses the bilayer

    Returns
    -------
    dataset with `area_compressibility` () in kJ/mol/nm² and `area_compressibility_error`; NaN where the box does not
    change, and an error of NaN where the run is too short compared to its own correlation time

    Raises
    ------
    InputError : no temperature
    PhysicsError : no box, or the temperature is not positive

    Notes
    -----
    K_A = kT ⟨A⟩ / ⟨δA²⟩ with the area A of the box, which is kT ⟨a⟩ / (n ⟨δa²⟩) for n lipids of area a per leaflet.
    1 kJ/mol/nm² is 1.6605 mN/m. The variance about the mean of a correlated run is too small by the variance of that
    mean, which is added. The error is that of the mean of the pseudo-values K (1 + δA/⟨A⟩ − (δA² − ⟨δA²⟩)/⟨δA²⟩) of
    the frames, the jackknife to first order, from blocks longer than their correlation time. Areas of bilayers
    fluctuate over nanoseconds: runs shorter than some hundred nanoseconds tell little, and too large a modulus. The
    barostat must sample the ensemble: Berendsen's does not. Undulations of large patches lower the modulus.
    Feller and Pastor 1999, doi:10.1063/1.479313

    Examples
    --------
    >>> plane = np.random.default_rng(1).normal(20.0, 0.4, 1024)
    >>> box = [np.diag([np.sqrt(area), np.sqrt(area), 8.0]) for area in plane]
    >>> ds = xr.Dataset({"box": (("frame", "box_vector", "xyz"), box)})
    >>> found = area_compressibility(ds, temperature=300.0)
    >>> bool(abs(found.area_compressibility - 0.00831446 * 300 * 20 / 0.4**2) < 3 * found.area_compressibility_error)
    True
    """
    area = box_area(ds, normal)
    if temperature is None and "temperature" not in ds.attrs:
        title = ds.attrs.get("name", "this dataset")
        raise InputError(f"{title}: found no temperature among its attrs; give it: temperature=303.0, in K")
    return xr.Dataset(stiffness_variables(ds, area, temperature), attrs=result_attrs(ds, {"normal": normal}))


def stiffness_variables(ds: xr.Dataset, area: Any, temperature: float | None) -> dict[str, xr.DataArray]:
    """Return the modulus and its error as variables, NaN if nobody knows the temperature; lazy if the areas are.

    Parameters
    ----------
    ds : the dataset; its `weight` and temperature are used
    area : (frame,) nm², of the box in the plane of the membrane
    temperature : K; by default that of the dataset

    Raises
    ------
    PhysicsError : the temperature is not positive

    Examples
    --------
    >>> found = stiffness_variables(xr.Dataset({"time": ("frame", np.arange(9.0))}), np.arange(9.0) + 40, 303.0)
    >>> float(found["area_compressibility"].round(1)), float(found["area_compressibility_error"])
    (16.6, nan)
    """
    kelvin = ds.attrs.get("temperature", np.nan) if temperature is None else temperature
    if kelvin <= 0 or np.isinf(kelvin):
        title = ds.attrs.get("name", "this dataset")
        raise PhysicsError(f"{title}: found a temperature of {kelvin} K, expected a positive number")
    weight = ds["weight"].variable.data if "weight" in ds else np.ones(ds.sizes["frame"])
    arrays = [xr.DataArray(array, dims="frame") for array in (area, weight)]
    value, error = xr.apply_ufunc(
        _modulus,
        *[array.chunk(-1) if array.chunks else array for array in arrays],
        kwargs={"thermal": BOLTZMANN * float(kelvin)},
        input_core_dims=[["frame"], ["frame"]],
        output_core_dims=[[], []],
        dask="parallelized",
        output_dtypes=[np.float64, np.float64],
    )
    label = f"standard error of {_STIFFNESS['long_name']}"
    return {
        "area_compressibility": value.assign_attrs(_STIFFNESS),
        "area_compressibility_error": error.assign_attrs({**_STIFFNESS, "long_name": label}),
    }


def _modulus(area: Float, weight: Float, *, thermal: float) -> tuple[Float, Float]:
    """Return kT ⟨A⟩ / ⟨δA²⟩ and its standard error; NaN where the area does not change or the error is not known."""
    counted = weight > 0
    area, weight = area[counted], weight[counted]
    middle = np.average(area, weights=weight) if len(area) else np.nan
    scatter = (area - middle) ** 2
    variance = np.average(scatter, weights=weight) if len(area) else np.nan
    if not variance > (_SAME_AREA * middle) ** 2:
        return np.array(np.nan), np.array(np.nan)
    # The variance about the mean of the run lacks the variance of that mean, unknown in a run that is too short.
    of_mean = mean_of_series(area[None], weight=weight).error[0]
    variance += 0.0 if np.isnan(of_mean) else of_mean**2
    value = thermal * middle / variance
    pseudo = value * (1.0 + (area - middle) / middle - (scatter - variance) / variance)
    error = mean_of_series(pseudo[None], weight=weight).error[0]
    return np.asarray(value), np.asarray(error if np.isfinite(of_mean) else np.nan)
