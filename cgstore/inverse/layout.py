"""Distributions as plain arrays: which variable holds one, its kinds and bins, and which bins were sampled."""

from dataclasses import dataclass
from typing import Literal, cast, get_args

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.errors import InputError, PhysicsError
from cgstore.units import BOLTZMANN

__all__ = ["Kind", "Values", "same_bins", "thermal_energy", "values_of"]

Float = NDArray[np.float64]
Kind = Literal["rdf", "bond", "angle", "dihedral", "improper"]
_KINDS: tuple[Kind, ...] = get_args(Kind)
_EVEN = 1e-4  # of a bin width: how far centres may be off, they may have been float32 or text


@dataclass(frozen=True, slots=True, eq=False)
class Values:
    """A distribution in memory; NaN is what is not known."""

    name: Kind
    kind: str  # name of the dim of kinds
    bin: str  # name of the dim of bins
    kinds: tuple[str, ...]
    edges: Float  # (bin + 1,)
    value: Float  # (kind, bin)
    error: Float  # (kind, bin)
    count: Float  # (kind, bin), NaN where the dataset has no counts

    @property
    def x(self) -> Float:
        """Return the centres of the bins (bin,)."""
        return 0.5 * (self.edges[1:] + self.edges[:-1])

    @property
    def title(self) -> str:
        """Return what messages call it."""
        return "rdf" if self.name == "rdf" else f"distribution of {self.name}s"

    def sampled(self, fewest: float) -> NDArray[np.bool_]:
        """Return which bins (kind, bin) hold at least `fewest` counts; without counts, which are above zero."""
        enough = np.isnan(self.count) | (self.count >= fewest)
        return np.asarray(enough & (np.nan_to_num(self.value, nan=0.0) > 0.0))

    def where(self, kind: int, bin: int) -> str:
        """Return how messages name a bin."""
        unit = "nm" if self.name in ("rdf", "bond") else "degree"
        return f"{self.kinds[kind]} at {self.bin} = {self.x[bin]:.4g} {unit}"


def values_of(distribution: xr.Dataset, kind: Kind | None = None, *, question: str) -> Values:
    """Return one distribution of a dataset as arrays, computed if it was lazy.

    Parameters
    ----------
    distribution : result of `cgstore.rdf` or `cgstore.bonded`, or one made by hand with the same names
    kind : which one; not needed if only one in the dataset has kinds
    question : opens messages

    Raises
    ------
    InputError : the dataset has no such distribution, several of them, or bins of different widths
    PhysicsError : a negative value
    """
    here = [name for name in _KINDS if name in distribution and distribution[name].size]
    if kind is None:
        if len(here) != 1:
            raise InputError(f"{question}: found {here or 'no distribution'}, expected one; say which with `kind`")
        kind = here[0]
    if kind not in _KINDS or kind not in distribution or distribution[kind].ndim != 2:
        raise InputError(
            f"{question}: found no {kind!r} on (kind, bin) among {sorted(map(str, distribution.data_vars))}; "
            "expected the result of `cgstore.rdf` or `cgstore.bonded`"
        )
    array = distribution[kind].compute()
    rows, bins = (str(dim) for dim in array.dims)
    counted = "count" if kind == "rdf" else f"{kind}_count"
    error, count = (_beside(distribution, name, array) for name in (f"{kind}_error", counted))
    value = np.asarray(array.values, np.float64)
    kinds = tuple(map(str, array[rows].values.tolist()))
    found = Values(kind, rows, bins, kinds, _edges(array[bins].values, kind, question), value, error, count)
    wrong = np.argwhere((value < 0.0) | np.isinf(value))
    if len(wrong):
        place = (int(wrong[0, 0]), int(wrong[0, 1]))
        raise PhysicsError(
            f"{question}: the {found.title} is {value[place]:g} for {found.where(*place)}, "
            "expected no negative or infinite value; is it a distribution?"
        )
    return found


def same_bins(model: Values, target: Values, *, question: str) -> None:
    """Raise InputError unless two distributions have the same kinds in the same order, and the same bins."""
    if model.name != target.name or model.kinds != target.kinds:
        raise InputError(
            f"{question}: found {model.name} of {', '.join(model.kinds)} and {target.name} of "
            f"{', '.join(target.kinds)}, expected the same kinds; select them by `.sel({model.kind}=…)`"
        )
    width = target.edges[1] - target.edges[0]
    if model.edges.shape != target.edges.shape or np.abs(model.edges - target.edges).max() > 0.01 * width:
        raise InputError(
            f"{question}: found {len(model.x)} bins from {model.x[0]:g} to {model.x[-1]:g} and {len(target.x)} "
            f"from {target.x[0]:g} to {target.x[-1]:g}, expected the same bins; compute both with one bin width"
        )


def thermal_energy(temperature: float, *, question: str) -> float:
    """Return kT in kJ/mol.

    Raises
    ------
    PhysicsError : the temperature is not positive
    """
    if not 0.0 < temperature < np.inf:
        raise PhysicsError(f"{question}: found a temperature of {temperature} K, expected a positive one")
    return BOLTZMANN * float(temperature)


def _beside(distribution: xr.Dataset, name: str, like: xr.DataArray) -> Float:
    """Return the variable that goes with a distribution, NaN where there is none."""
    if name not in distribution:
        return np.full(like.shape, np.nan)
    return np.asarray(distribution[name].transpose(*like.dims).values, np.float64)


def _edges(centres: NDArray, kind: Kind, question: str) -> Float:
    """Return the edges of even bins."""
    x = np.asarray(centres, np.float64)
    width = (x[-1] - x[0]) / max(len(x) - 1, 1)
    if len(x) < 3 or not width > 0.0 or np.abs(np.diff(x) - width).max() > _EVEN * width:
        raise InputError(f"{question}: the bins of {kind} are not of one width; expected 3 at least, evenly spaced")
    edges = x[0] + width * (np.arange(len(x) + 1) - 0.5)
    return cast(Float, np.maximum(edges, 0.0) if kind in ("rdf", "bond", "angle") else edges)
