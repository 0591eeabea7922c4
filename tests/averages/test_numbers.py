"""Single numbers are told from curves; what is unknown is said in words."""

import numpy as np
import xarray as xr

from cgstore.averages.numbers import single_numbers


def test_numbers_of_leaflets_and_kinds_are_single_and_curves_are_not():
    result = xr.Dataset(
        {
            "area": ("leaflet", [0.61, 0.63], {"long_name": "area per lipid", "units": "nm^2"}),
            "area_error": ("leaflet", [0.01, np.nan]),
            "area_correlation_time": ("leaflet", [2.5, np.nan]),
            "msd": ("time", [0.1, 0.2]),
            "msd_error": ("time", [0.01, 0.02]),
            "slope": 3.0,
        },
        {"leaflet": ["upper", "lower"]},
    )
    upper, lower = single_numbers(result)
    assert (upper.what, upper.of, upper.value, upper.error, upper.unit) == (
        "area per lipid",
        ("upper",),
        0.61,
        0.01,
        "nm^2",
    )
    assert (upper.correlation_time, upper.remark()) == (2.5, "")
    assert (lower.of, lower.remark()) == (("lower",), "error not known: too short a run")


def test_a_coefficient_that_cannot_be_told_says_why():
    result = xr.Dataset(
        {
            "diffusion": ("kind", [np.nan]),
            "diffusion_error": ("kind", [np.nan]),
            "reason": ("kind", ["the fit window is empty"]),
        },
        {"kind": ["SOL"]},
    )
    (number,) = single_numbers(result)
    assert (number.of, number.remark()) == (("SOL",), "the fit window is empty")
