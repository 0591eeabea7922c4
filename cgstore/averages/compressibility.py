"""How stiff a membrane is against stretching: the area compressibility modulus, from the fluctuations of the box."""

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.averages.counting import result_attrs
from cgstore.averages.estimates import mean_and_error
from cgstore.averages.framewise import box_area
from cgstore.errors import InputError, PhysicsError
from cgstore.units import BOLTZMANN

__all__ = ["area_compressibility", "stiffness_variables"]

_STIFFNESS = {"units": "kJ mol-1 nm-2", "long_name": "area compressibility modulus"}
_SAME_AREA = 1e-6  # relative scatter below which the box does not breathe; boxes are float32

Float = NDArray[np.float64]


def area_compressibility(ds: xr.Dataset, *, temperature: float | None = None, normal: str = "z") -> xr.Dataset:
    """Return the area compressibility modulus from the fluctuations of the box, with its jackknife error; lazy.

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
    1 kJ/mol/nm² is 1.6605 mN/m. The variance about the mean of a correlated run is too small by about 2τ/T; the
    jackknife over blocks longer than the correlation time takes that off to first order, and gives the error. Areas of
    bilayers fluctuate over nanoseconds: runs shorter than some hundred nanoseconds tell little. The barostat must
    sample the ensemble: Berendsen's does not. Undulations of large patches lower the modulus.
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
    """Return kT ⟨A⟩ / ⟨δA²⟩ and its standard error by the jackknife over blocks longer than the correlation time."""
    shifted = area - area.mean()
    moments = np.stack([np.ones(len(area)), shifted, shifted**2]) * weight
    if not moments[2].sum() > (_SAME_AREA * area.mean()) ** 2 * weight.sum():
        return np.array(np.nan), np.array(np.nan)
    # δA² remembers as long as A does, or less; the square is never correlated longer.
    estimate = mean_and_error(moments[1:, :, None], weight)
    number = int(estimate.blocks.min())

    def modulus(sums: Float) -> Float:
        mean = sums[1] / sums[0]
        return np.asarray(thermal * (area.mean() + mean) / (sums[2] / sums[0] - mean**2))

    whole = moments.sum(axis=1)
    if number < 4:  # no honest error, and no blocks to correct with
        return np.asarray(modulus(whole)), np.array(np.nan)
    starts = np.linspace(0, len(area), number, endpoint=False).astype(int)
    # Compliance, not modulus, is what is nearly linear in the data; leave one block out at a time.
    inverse = 1.0 / modulus(whole[:, None] - np.add.reduceat(moments, starts, axis=1))
    corrected = number / modulus(whole) - (number - 1) * inverse.mean()
    error = np.sqrt((number - 1) / number * ((inverse - inverse.mean()) ** 2).sum())
    return np.asarray(1.0 / corrected), np.asarray(error / corrected**2)
