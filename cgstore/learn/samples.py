"""What a sampler returns: the frames of all replicas as a dataset of the schema, and from where they are settled."""

from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from cgstore.averages.series import drift, equilibration
from cgstore.schema import SCHEMA
from cgstore.topology import Topology

__all__ = ["Settled", "empty", "samples", "settled"]

_SIGNIFICANT = 4.0  # standard errors of a drift
_TERMS = ("bond", "angle", "dihedral")
_FEWEST = 16  # frames that say whether a series drifts

_MEANING = {
    "energy": ("potential energy", "kJ/mol", ("frame",)),
    "kinetic_energy": ("kinetic energy", "kJ/mol", ("frame",)),
    "pressure": ("pressure", "bar", ("frame",)),
    "pressure_along": ("pressure along x, y and z", "bar", ("frame", "xyz")),
    "replica": ("number of the replica, which is its starting frame", "1", ("frame",)),
}


class Settled(NamedTuple):
    """Whether a series is in equilibrium."""

    frame: int  # the first one from which it is settled
    drifts: bool  # what is left still rises or falls, or settles only in the second half of the run


def settled(series: ArrayLike) -> Settled:
    """Return from which frame a series (replica, frame) is settled, and whether it drifts after that.

    Replicas are averaged first: they start alike. A drift is a slope of more than four standard errors, those of
    correlated numbers; of fewer than 16 frames nobody can say, and none is flagged.

    Notes
    -----
    See `cgstore.averages.series.equilibration` and `drift` beside it.

    Examples
    --------
    >>> noise = np.random.default_rng(1).normal(size=(1, 400))
    >>> settled(noise), settled(noise + np.linspace(0.0, 3.0, 400)).drifts
    (Settled(frame=0, drifts=False), True)
    """
    mean = np.asarray(series, np.float64).mean(axis=0)
    if len(mean) < _FEWEST or np.ptp(mean) == 0.0:
        return Settled(0, False)
    first = equilibration(mean)
    if first > len(mean) / 2:
        return Settled(first, True)
    return Settled(first, abs(drift(mean[first:])) > _SIGNIFICANT)


def empty(replicas: int, frames: int, particles: int, *, velocities: bool) -> dict[str, NDArray]:
    """Return arrays for the results, replicas first."""
    shape = (replicas, frames)
    arrays: dict[str, NDArray] = {
        "position": np.empty((*shape, particles, 3), np.float32),
        "box": np.empty((*shape, 3, 3), np.float32),
        "energy": np.empty(shape),
        "pressure": np.empty(shape),
        "pressure_along": np.empty((*shape, 3)),
    }
    if velocities:
        arrays |= {"velocity": np.empty((*shape, particles, 3), np.float32), "kinetic_energy": np.empty(shape)}
    return arrays


def samples(
    arrays: dict[str, NDArray],
    topology: Topology,
    *,
    time: NDArray[np.floating[Any]],
    step: NDArray[np.int64],
    title: str,
) -> xr.Dataset:
    """Join the replicas to a dataset of the schema, with what `settled` says of their energy in its attributes.

    Parameters
    ----------
    arrays : those of `empty`; time, step : (frame,) of each replica
    """
    replicas, frames = arrays["energy"].shape
    joined: dict[str, NDArray] = {name: a.reshape(-1, *a.shape[2:]) for name, a in arrays.items()}
    joined |= {"replica": np.repeat(np.arange(replicas), frames)}
    joined |= {"time": np.tile(time, replicas), "step": np.tile(step, replicas)}
    static = {name: array for name, array in topology.arrays().items() if len(array) or name not in _TERMS}
    rows = {row.name: row for row in SCHEMA}
    variables: dict[str, Any] = {}
    coordinates: dict[str, Any] = {}
    for name, array in (joined | static).items():
        row = rows.get(name)
        meaning, unit, dims = (row.meaning, row.unit, row.dims) if row else _MEANING[name]
        variable = (dims, array, {"units": unit, "long_name": meaning} if unit else {"long_name": meaning})
        is_coordinate = name == "replica" or (row is not None and row.coordinate)
        (coordinates if is_coordinate else variables)[name] = variable
    found = settled(arrays["energy"])
    attrs = {"title": title, "settled_frame": found.frame, "drifts": int(found.drifts)}
    return xr.Dataset(variables, coords=coordinates, attrs=attrs)
