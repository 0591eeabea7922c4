"""Single numbers of a result: means and coefficients with their errors, one or one for each kind, and their remarks."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import xarray as xr

__all__ = ["Number", "single_numbers"]

_SINGLE = ((), ("leaflet",), ("kind",), ("molecule_kind",))  # dims of what is a number, or one for each


@dataclass(frozen=True, slots=True)
class Number:
    """One number; NaN is what is not known."""

    what: str  # in words
    of: tuple[str, ...]  # leaflet or kind, if there is one of each
    value: float
    error: float  # standard error
    correlation_time: float  # ps
    unit: str
    reason: str  # why a coefficient cannot be told

    def remark(self) -> str:
        """Say why the value or its error is not known; nothing when both are."""
        short = math.isfinite(self.value) and not math.isfinite(self.error)
        return self.reason or ("error not known: too short a run" if short else "")


def single_numbers(result: xr.Dataset) -> Iterator[Number]:
    """Yield the numbers of a result that have an error and are not a curve.

    Examples
    --------
    >>> area = xr.Dataset({"area": 0.62, "area_error": np.nan})
    >>> [(number.what, number.value, number.remark()) for number in single_numbers(area)]
    [('area', 0.62, 'error not known: too short a run')]
    """
    for name in [str(name) for name in result.data_vars if f"{name}_error" in result]:
        array, error, time = result[name], result[f"{name}_error"], result.get(f"{name}_correlation_time")
        if array.dims not in _SINGLE:
            continue
        for place in product(*map(range, array.shape)):
            yield Number(
                what=str(array.attrs.get("long_name", name)),
                of=tuple(str(array[dim].values[at]) for dim, at in zip(array.dims, place, strict=True)),
                value=float(array.values[place]),
                error=float(error.values[place]),
                correlation_time=float(time.values[place]) if time is not None else np.nan,
                unit=str(array.attrs.get("units", "1")),
                reason=str(result["reason"].values[place]) if name == "diffusion" and "reason" in result else "",
            )
