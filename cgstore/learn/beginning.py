"""The potential of a fit before its first step: priors, descriptors and scaling as the training data show them.

A network of atoms may begin as pair potentials besides, those of mean force or of a short inversion at each dataset.
"""

from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.inverse.mean_force import potential_of_mean_force
from cgstore.learn.angular import Angular, angular_of
from cgstore.learn.atomic import AtomicNetwork
from cgstore.learn.descriptors import Radial, Scaling, radial_of, scaling_of
from cgstore.learn.drawing import Potential, StatePoint
from cgstore.learn.inversion import invert
from cgstore.learn.potential import PairNetwork, Prior, pair_names, prior_of
from cgstore.learn.pretraining import Known, pretrain
from cgstore.learn.settings import FitFile, PotentialTable
from cgstore.tables import Table, table_of
from cgstore.units import BOLTZMANN

__all__ = ["begin_as_pairs", "model_of"]

Float = NDArray[np.float64]

_SHOWN = 3  # frames of each dataset that particles have their energies in


def model_of(file: FitFile, points: Sequence[StatePoint], types: Sequence[str]) -> Potential:
    """Return the network as it starts: the repulsion that the training data show, and next to nothing else.

    Parameters
    ----------
    file : of the fit
    points : the state points to learn from
    types : of all particles

    Raises
    ------
    PhysicsError : a pair shows no repulsive core
    """
    asked = file.potential
    priors = {pair: _prior(points, number) for number, pair in enumerate(pair_names(types))}
    if asked.kind == "pair":
        return PairNetwork(
            types,
            cutoff=asked.cutoff,
            spacing=asked.spacing,
            features=asked.features,
            hidden=asked.hidden,
            priors=priors,
            seed=file.seed,
        )
    told = {name: np.array([point.inputs[name] for point in points]) for name in asked.inputs}
    radial, angular = _functions(points, asked)
    return AtomicNetwork(
        types,
        radial=radial,
        angular=angular,
        scaling=_scaling(AtomicNetwork(types, radial=radial, angular=angular, priors=priors, hidden=()), points),
        priors=priors,
        hidden=asked.hidden,
        # A number that is the same everywhere has no spread; it is told in units of its tenth.
        told={name: (float(x.mean()), float(x.std() or 0.1 * abs(x.mean()))) for name, x in told.items()},
        seed=file.seed,
    )


def begin_as_pairs(
    model: AtomicNetwork,
    file: FitFile,
    points: Sequence[StatePoint],
    references: Sequence[xr.Dataset],
    tell: Callable[[int, int], None],
) -> float:
    """Fit a network in place to the pair potentials that each dataset gives; return the rms error in kJ/mol.

    Parameters
    ----------
    model : of `model_of`
    file : of the fit; what it starts as is "pmf", "ibi" or "imc"
    points, references : the state points to learn from, and the rdf of each
    tell : is told how many of them are done, and how many there are
    """
    known = []
    for number, (point, reference) in enumerate(zip(points, references, strict=True)):
        tables = _pair_tables(file, point, reference, file.seed + number)
        few = point.start.isel(frame=slice(0, _SHOWN))
        known.append(Known(few, tables, BOLTZMANN * point.temperature, point.inputs))
        tell(number + 1, len(points))
    return pretrain(model, known, seed=file.seed)


def _pair_tables(file: FitFile, point: StatePoint, reference: xr.Dataset, seed: int) -> dict[str, Table]:
    """Return the pair potentials of one dataset."""
    asked = file.potential
    if asked.start in ("ibi", "imc"):
        return invert(
            reference,
            point.start,
            temperature=point.temperature,
            method=asked.start,
            iterations=asked.start_iterations,
            cutoff=asked.cutoff,
            spacing=asked.spacing,
            sampling=file.sampling.sampling(),
            seed=seed,
        )[0]
    energy = potential_of_mean_force(reference, temperature=point.temperature)["potential"]
    r = energy["r"].values
    end = round(asked.cutoff / point.width) * point.width
    near = r < min(end, r[-1] + point.width)
    rows = {str(pair): np.nan_to_num(energy.sel(pair=pair).values[near]) for pair in energy["pair"].values}
    return {pair: table_of(r[near], row, end, spacing=asked.spacing) for pair, row in rows.items()}


def _mean_g(points: Sequence[StatePoint], pair: int) -> Float:
    """Return the mean distribution of a pair over the state points that have it."""
    having = [point.g[pair] for point in points if np.isfinite(point.sigma[pair]).all()]
    return np.asarray(np.mean(having, axis=0))


def _r(points: Sequence[StatePoint]) -> Float:
    """Return the centres of the bins in nm."""
    return np.asarray(points[0].first + (np.arange(points[0].g.shape[1]) + 0.5) * points[0].width, np.float64)


def _prior(points: Sequence[StatePoint], pair: int) -> Prior:
    """Return the repulsion of a pair from its mean distribution."""
    having = [point.temperature for point in points if np.isfinite(point.sigma[pair]).all()]
    return prior_of(_mean_g(points, pair), _r(points), float(np.mean(having)))


def _functions(points: Sequence[StatePoint], asked: PotentialTable) -> tuple[Radial, Angular | None]:
    """Return the functions that begin with the pair that comes nearest."""
    r, found = _r(points), []
    for pair in range(len(points[0].g)):
        g = _mean_g(points, pair)
        found.append((radial_of(g, r, functions=asked.features, cutoff=asked.cutoff), g))
    radial, g = min(found, key=lambda one: one[0].shift[1])
    if (angles := asked.angular) is None:
        return radial, None
    return radial, angular_of(g, r, widths=angles.widths, cutoff=angles.cutoff, powers=angles.powers)


def _scaling(blank: AtomicNetwork, points: Sequence[StatePoint]) -> Scaling:
    """Return the scaling of descriptors over the starting frames of all state points."""
    values, kinds = [], []
    for point in points:
        start = point.start
        names = [str(name) for name in start["type"].values]
        described = blank.describe(start["position"].values, start["box"].values, names)
        values.append(described.descriptor.numpy().reshape(-1, described.descriptor.shape[-1]))
        kinds.append(np.tile(described.kind.numpy(), len(described.prior)))
    return scaling_of(np.concatenate(values)[None], np.concatenate(kinds), len(blank.types))
