"""The potential of a fit before its first step: priors, descriptors and scaling as the training data show them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cgstore.learn.atomic import AtomicNetwork
from cgstore.learn.descriptors import Radial, Scaling, radial_of, scaling_of
from cgstore.learn.drawing import Potential, StatePoint
from cgstore.learn.potential import PairNetwork, Prior, pair_names, prior_of
from cgstore.learn.settings import FitFile

__all__ = ["model_of"]

Float = NDArray[np.float64]


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
    temperatures = np.array([point.temperature for point in points])
    # One temperature has no spread; it is told in units of its tenth.
    told = {name: (temperatures.mean(), temperatures.std() or 0.1 * temperatures.mean()) for name in asked.inputs}
    radial = _radial(points, asked.features, asked.cutoff)
    return AtomicNetwork(
        types,
        radial=radial,
        scaling=_scaling(AtomicNetwork(types, radial=radial, priors=priors, hidden=()), points),
        priors=priors,
        hidden=asked.hidden,
        told={name: (float(mean), float(spread)) for name, (mean, spread) in told.items()},
        seed=file.seed,
    )


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


def _radial(points: Sequence[StatePoint], functions: int, cutoff: float) -> Radial:
    """Return the functions that begin with the pair that comes nearest."""
    found = [
        radial_of(_mean_g(points, pair), _r(points), functions=functions, cutoff=cutoff)
        for pair in range(len(points[0].g))
    ]
    return min(found, key=lambda radial: radial.shift[1])


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
