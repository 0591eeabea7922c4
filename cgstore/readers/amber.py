"""The conventions of Amber trajectories, which MDTraj's HDF5 shares: names of variables, their units, their cells."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgstore.errors import InputError
from cgstore.frames import Frames
from cgstore.readers.boxes import box_vectors
from cgstore.readers.stated_units import factor_of

__all__ = ["AMBER", "Quantity", "factor", "frames_of", "without_fill"]

_FILL = 1e35  # more than any number of a simulation; NetCDF puts 9.97e36, before units, where nothing was written


@dataclass(frozen=True, slots=True)
class Quantity:
    """What a variable of the conventions is to us."""

    name: str
    kind: str  # what its unit measures
    unit: str  # where the file states none
    shape: tuple[int | None, ...]  # of one frame, None for the particles

    def of(self, particles: int) -> tuple[int, ...]:
        """Return the shape of one frame."""
        return tuple(particles if n is None else n for n in self.shape)


AMBER: dict[str, Quantity] = {
    "coordinates": Quantity("position", "position", "angstrom", (None, 3)),
    "velocities": Quantity("velocity", "velocity", "angstrom/picosecond", (None, 3)),
    "forces": Quantity("force", "force", "kilocalorie/mole/angstrom", (None, 3)),
    "cell_lengths": Quantity("lengths", "position", "angstrom", (3,)),
    "cell_angles": Quantity("angles", "angle", "degree", (3,)),
    "time": Quantity("time", "time", "picosecond", ()),
}


def factor(quantity: Quantity, attrs: Mapping[str, Any], place: str) -> float:
    """Return by what the numbers of a variable are to be multiplied: its unit times its own scale factor.

    Parameters
    ----------
    quantity : what the variable is
    attrs : its attributes; `scale_factor` is 20.455 where Amber counts time in its own unit
    place : the file and the variable, for the message

    Raises
    ------
    InputError : the unit is not known, or the scale factor is no number

    Examples
    --------
    >>> factor(AMBER["velocities"], {"units": "angstrom/picosecond", "scale_factor": 20.455}, "here")
    2.0455
    """
    stated, scale = attrs.get("units") or quantity.unit, attrs.get("scale_factor", 1.0)
    if not isinstance(stated, str) or not isinstance(scale, float | int) or not 0 < abs(scale) < math.inf:
        raise InputError(f"{place}: units {stated!r} and scale_factor {scale!r}; expected text and a number")
    if quantity.kind != "angle":
        return float(f"{scale * factor_of(stated, quantity.kind, place):.12g}")
    return scale * 180.0 / math.pi if stated.strip().lower().startswith("rad") else float(scale)


def frames_of(arrays: dict[str, NDArray[Any]], time: NDArray[np.float64], step: NDArray[np.int64]) -> Frames:
    """Make frames of arrays by our names, in our units; `lengths` and `angles` (right ones if absent) become a box."""
    arrays = {name: without_fill(array) for name, array in arrays.items()}
    lengths, angles = arrays.pop("lengths", None), arrays.pop("angles", None)
    box = None
    if lengths is not None:
        box = box_vectors(lengths, np.full(lengths.shape, 90.0) if angles is None else angles)
    return Frames(time=time, step=step, box=box, **arrays)


def without_fill(array: NDArray[Any]) -> NDArray[Any]:
    """Replace in place what NetCDF puts where nothing was written by NaN, which whoever checks for damage finds."""
    if array.size and array.max() > _FILL:
        array[array > _FILL] = np.nan
    return array
