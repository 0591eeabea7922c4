"""Inversion by sampling: a model is sampled, held against a reference and corrected, until both are equal.

The corrections are those of `cgstore.inverse`; here they get samples, and become tables that can be sampled.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Literal, NamedTuple, overload

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.averages.onepass import statistics
from cgstore.averages.series import mean_of_series
from cgstore.box import volume
from cgstore.errors import InputError
from cgstore.frames import Frames
from cgstore.inverse.layout import Kind
from cgstore.learn.binned import Model, energies_of, first_model, model_of
from cgstore.learn.corrections import by_bins, by_response, ramped
from cgstore.learn.goal import Goal, compared, found_in, goal_of
from cgstore.learn.molecular import Molecular
from cgstore.learn.sampler import sample, starting_frames
from cgstore.learn.settings import Sampling
from cgstore.tables import Table

__all__ = ["Method", "invert"]

Float = NDArray[np.float64]
Method = Literal["ibi", "imc", "re"]
Types = Sequence[str] | NDArray[np.str_] | None
Masses = Sequence[float] | Float | None
Progress = Callable[[int, float, float], None]

_STEP = {"ibi": 0.7, "imc": 1.0, "re": 1.0}
_TOLD = ("deviation", "chi2")
_NEAR = 0.1  # mean deviation; a model further away responds to nothing as the target would, it may have another phase
_SAMPLING = Sampling(equilibrate=5.0, duration=40.0, every=0.25)


class _Found(NamedTuple):
    """What the samples of one model say."""

    statistics: xr.DataTree
    parts: dict[Kind, xr.Dataset]
    reports: dict[Kind, xr.Dataset]
    frames: int
    volume: float  # nm³
    pressure: float  # bar
    pressure_error: float

    @property
    def deviation(self) -> float:
        """Return the mean deviation of all kinds."""
        return float(np.nanmean(np.concatenate([report["deviation"].values for report in self.reports.values()])))


@overload
def invert(
    reference: xr.Dataset,
    start: xr.Dataset | Frames,
    *,
    temperature: float,
    method: Method = "ibi",
    iterations: int = 8,
    step: float | None = None,
    tolerance: float = 0.0,
    cutoff: float | None = None,
    spacing: float = 0.002,
    guess: Mapping[str, Table] | None = None,
    pressure: float | None = None,
    membrane: bool = False,
    types: Types = None,
    masses: Masses = None,
    sampling: Sampling = _SAMPLING,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[dict[str, Table], xr.Dataset]: ...


@overload
def invert(
    reference: xr.DataTree,
    start: xr.Dataset,
    *,
    temperature: float,
    method: Method = "ibi",
    iterations: int = 8,
    step: float | None = None,
    tolerance: float = 0.0,
    cutoff: float | None = None,
    spacing: float = 0.002,
    guess: Molecular | None = None,
    pressure: float | None = None,
    membrane: bool = False,
    sampling: Sampling = _SAMPLING,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[Molecular, xr.DataTree]: ...


def invert(
    reference: xr.Dataset | xr.DataTree,
    start: xr.Dataset | Frames,
    *,
    temperature: float,
    method: Method = "ibi",
    iterations: int = 8,
    step: float | None = None,
    tolerance: float = 0.0,
    cutoff: float | None = None,
    spacing: float = 0.002,
    guess: Mapping[str, Table] | Molecular | None = None,
    pressure: float | None = None,
    membrane: bool = False,
    types: Types = None,
    masses: Masses = None,
    sampling: Sampling = _SAMPLING,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[dict[str, Table] | Molecular, xr.Dataset | xr.DataTree]:
    """Find tables whose distributions are those of a reference.

    Parameters
    ----------
    reference : result of `cgstore.rdf` on (pair, r), every pair of types of free particles; or the tree of
        `cgstore.distributions`, whose bonds, angles and dihedrals are then found as well
    start : frames of the same system to start replicas from, for example of `starting_frames`
    temperature : K, of the reference
    method : "ibi", iterative Boltzmann inversion, each bin by itself; "imc", inverse Monte Carlo, all bins at once;
        "re", the relative entropy, whose Newton steps are made of splines
    iterations : corrections at most; fewer when the distributions are equal as far as one can know
    step : part of a correction that is made; by default 0.7 of "ibi", since with all of it dense liquids overshoot
    tolerance : a deviation that is small enough, whatever the errors
    cutoff : nm, the end of the reference by default
    spacing : nm, of the nodes of the tables of pairs
    guess : tables to begin with, potentials of mean force of the reference by default
    pressure : bar, that the model is to have besides; all pairs get a ramp for it. No matter without it
    membrane : the pressure meant is that in the plane xy; 0 bar is no tension, where there is no solvent
    types, masses, seed : as in `sample`
    sampling : how each model is sampled
    progress : is told iteration, largest deviation and largest chi2 of all kinds

    Returns
    -------
    tables : by pair; or a `Molecular`, where the reference is a tree. They are those of the iteration with the smallest
        mean deviation of all kinds, times |excess| / (2 errors) of a pressure that is further off; not always the last
    history : dataset on (iteration, pair, r) with `rdf`, `rdf_error`, `energy`, on (iteration, pair) what
        `cgstore.inverse.deviations.agreement` says, `rmsd` and `chi2` among it, and `deviation`, the rmsd of g; on
        (iteration) `pressure` and `pressure_error` in bar. Iteration 0 is the guess; attrs `best`, and `converged`,
        whether that one agrees with the reference. Of molecules it is a tree of such datasets in `rdf`, `bond`,
        `angle`, `dihedral`; their deviations are relative to the root mean square of the reference

    Raises
    ------
    PhysicsError : the reference is empty or does not reach the cutoff, the box is too small, the motion explodes
    InputError : errors that inverse Monte Carlo needs are not known; as `sample`

    Notes
    -----
    The potential is unique up to a constant (Henderson 1974, doi:10.1016/0375-9601(74)90847-0), but in a dense liquid
    very different potentials have nearly the same g. Inverse Monte Carlo and the relative entropy respond to what the
    counts of all bins have in common, and different volumes of replicas are no such response: with both all replicas
    have the mean box. While the mean deviation is above 0.1 their steps are those of "ibi".
    """
    if method not in _STEP:
        raise InputError(f'invert: found method {method!r}, expected "ibi", "imc" or "re"')
    goal, how = goal_of(reference, cutoff), {"temperature": temperature, "tolerance": tolerance}
    replicas = start if method == "ibi" else _one_box(start)
    model = first_model(goal, guess, temperature=temperature, spacing=spacing)
    tried: list[tuple[Model, _Found]] = []
    for iteration in range(iterations + 1):
        samples = sample(
            model,
            replicas,
            types=types,
            masses=masses,
            temperature=temperature,
            seed=seed + iteration,
            **asdict(sampling),
        )
        replicas = samples.isel(frame=np.flatnonzero(np.diff(samples["replica"], append=-1)))  # goes on from there
        found = _look(samples, goal, tolerance=tolerance, covariance=method != "ibi", membrane=membrane)
        tried.append((model, found))
        if progress is not None:
            worst = [max(float(report[name].max()) for report in found.reports.values()) for name in _TOLD]
            progress(iteration, *worst)
        if iteration == iterations or _agrees(found, goal, pressure):
            break
        model = _corrected(model, found, goal, method, step, pressure, spacing=spacing, **how)
    best = _best([found for _, found in tried], pressure)
    history = _history(tried, goal)
    history.attrs |= {"best": best, "converged": int(_agrees(tried[best][1], goal, pressure)), "method": method}
    history.attrs |= {"temperature": temperature, "cutoff": goal.end}
    return tried[best][0], history


def _one_box(start: xr.Dataset | Frames) -> xr.Dataset | Frames:
    """Return the starting frames in their mean box."""
    if isinstance(start, xr.Dataset):
        return starting_frames(start, start.sizes["frame"])
    if start.box is not None and not np.allclose(start.box, start.box[:1], rtol=1e-6, atol=0.0):
        raise InputError('invert: found starting frames in different boxes; for "imc" and "re" give them as a dataset')
    return start


def _look(samples: xr.Dataset, goal: Goal, *, tolerance: float, covariance: bool, membrane: bool) -> _Found:
    """Count samples and hold them against the goal."""
    counted = statistics(samples, goal.spec(covariance=covariance)).compute()
    parts = found_in(counted, goal)
    along = samples["pressure_along"].values[:, : 2 if membrane else 3].mean(axis=1)
    pressure = mean_of_series(along[None])
    space = float(volume(samples["box"].values).mean())
    reports, frames = compared(parts, goal, tolerance), samples.sizes["frame"]
    return _Found(counted, parts, reports, frames, space, float(pressure.mean[0]), float(pressure.error[0]))


def _corrected(
    model: Model,
    found: _Found,
    goal: Goal,
    method: Method,
    step: float | None,
    pressure: float | None,
    *,
    temperature: float,
    tolerance: float,
    spacing: float,
) -> Model:
    """Return the next model."""
    before = energies_of(model, goal)
    if method == "ibi" or found.deviation > _NEAR:
        size = _STEP["ibi"] if step is None or method != "ibi" else step
        after = by_bins(before, found.parts, goal, temperature=temperature, step=size, tolerance=tolerance)
    else:
        basis: Literal["bins", "splines"] = "bins" if method == "imc" else "splines"
        size = _STEP[method] if step is None else step
        space = found.volume
        after = by_response(
            before, found.parts, found.statistics, goal, temperature=temperature, step=size, volume=space, basis=basis
        )
    if pressure is not None and not abs(found.pressure - pressure) <= found.pressure_error:
        excess = found.pressure - pressure
        frames, space = found.frames, found.volume
        after = ramped(
            after, found.parts["rdf"], goal, frames=frames, volume=space, excess=excess, temperature=temperature
        )
    return model_of(after, goal, spacing=spacing)


def _agrees(found: _Found, goal: Goal, pressure: float | None) -> bool:
    """Say whether a model is equal to the reference as far as one can know, in all kinds that there are."""
    equal = all(bool(report["converged"].values[goal.exists(name)].all()) for name, report in found.reports.items())
    return equal and (pressure is None or abs(found.pressure - pressure) <= 2.0 * found.pressure_error)


def _best(tried: Sequence[_Found], pressure: float | None) -> int:
    """Return the model with the smallest deviation, times |excess| / (2 errors) of its pressure if that is above 1."""
    deviation = np.array([found.deviation for found in tried])
    if pressure is not None:
        excess = np.array([abs(found.pressure - pressure) for found in tried])
        deviation *= np.fmax(excess / [2.0 * found.pressure_error for found in tried], 1.0)
    return int(deviation.argmin())


def _history(tried: Sequence[tuple[Model, _Found]], goal: Goal) -> xr.Dataset | xr.DataTree:
    """Return what was tried, and how far it was off."""
    number = {"iteration": np.arange(len(tried))}
    nodes: dict[str, xr.Dataset] = {}
    for name, part in goal.parts.items():
        bins = part[goal.dims(name)[1]]
        entries = []
        for model, found in tried:
            here = found.parts[name][[name, f"{name}_error"]].assign_coords({str(bins.name): bins})
            energy = energies_of(model, goal)[name]["potential"]
            entries.append(here.assign(energy=energy).merge(found.reports[name]))
        nodes[name] = xr.concat(entries, "iteration").assign_coords(number)
    unit = {"units": "bar", "long_name": "pressure of the model"}
    pressures = xr.Dataset(
        {
            "pressure": ("iteration", [found.pressure for _, found in tried], unit),
            "pressure_error": ("iteration", [found.pressure_error for _, found in tried], unit),
        },
        number,
    )
    if not goal.molecular:
        return nodes["rdf"].merge(pressures)
    tree: dict[str, xr.Dataset] = {"/": pressures}
    return xr.DataTree.from_dict(tree | {name: node for name, node in nodes.items()})
