"""Training of a model of simple liquids on rows of a feature table: noise, ensemble, calibration, range."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgstore.learn.liquid.family import calibrated_on, family_of
from cgstore.learn.liquid.features import Scaling, Seen, noisier, seen
from cgstore.learn.liquid.model import LiquidModel, calibrated, inputs_of
from cgstore.learn.liquid.network import Batch, Heads, train_heads
from cgstore.learn.liquid.range import components_of, range_of
from cgstore.learn.liquid.rows import Rows

__all__ = ["Ensemble", "batches_of", "deviations", "train_model"]

Float = NDArray[np.float64]

_COPIES = 32  # of every row, each with other noise
_CLEAN = 0.3  # of the copies are seen as they were measured
_LEAST_NOISE = 0.3  # of their errors, added to the others


@dataclass(frozen=True, slots=True)
class Ensemble:
    """How networks are built and trained."""

    scaling: Scaling = "contact"
    components: int = 8  # principal components of g that are looked at
    hidden: tuple[int, ...] = (32, 32)
    members: int = 5
    epochs: int = 400
    batch_size: int = 64
    rate: float = 3e-3
    noise: float = 4.0  # times the errors are added at most: runs that are 1 + 16 times shorter
    device: str = "cpu"


def train_model(
    order: Callable[[int], Iterator[NDArray[np.int64]]],
    training: Rows,
    watched: Rows,
    ensemble: Ensemble,
    *,
    seed: int,
    about: Mapping[str, Any],
    tell: Callable[[int, float], None] = lambda epoch, loss: None,
) -> LiquidModel:
    """Return a trained model, calibrated on validation systems that no network learned from.

    Parameters
    ----------
    order : gives, for an epoch, the rows of each batch
    training, watched : systems to learn from, and to calibrate with
    ensemble : how
    seed : of the networks and of the noise
    about : the card of the model
    tell : is told each epoch and its loss
    """
    sight = seen(training.curves, ensemble.scaling)
    mean, components = components_of(sight.curve, ensemble.components)
    rng = np.random.default_rng(seed)
    pool = _pool_of(training, sight, ensemble, mean, components, rng)

    def batches(epoch: int) -> Iterator[Batch]:
        for rows in order(epoch):
            copy = rng.integers(_COPIES, size=(ensemble.members, len(rows)))
            yield pool.x[copy, rows], pool.y[copy, rows]

    heads = _trained(batches, pool, ensemble, seed, tell)
    model = LiquidModel(
        scaling=ensemble.scaling,
        r=training.curves.r,
        feature_mean=pool.middle,
        feature_scale=pool.width,
        answer_mean=pool.centre,
        answer_scale=pool.scale,
        weights=heads.weights,
        biases=heads.biases,
        quantiles=np.ones((2, 1)),
        range=range_of(
            (training.curves, sight, training.truth),
            (watched.curves, seen(watched.curves, ensemble.scaling)),
            mean,
            components,
        ),
        family=calibrated_on(family_of(training), watched),
        about=about,
    )
    return replace(model, quantiles=calibrated(deviations(model, watched)))


def deviations(model: LiquidModel, rows: Rows) -> Float:
    """Return (row, 2): how far ln σ and ln ε are off, in units of the scale that the model gives before calibration."""
    sight = seen(rows.curves, model.scaling)
    mean, scale, _ = model.answers(sight)
    return (_answers(rows.truth, sight) - mean) / scale


def batches_of(count: int, batch_size: int, seed: int) -> Callable[[int], Iterator[NDArray[np.int64]]]:
    """Return an order of rows for `train_model`: each once in an epoch, shuffled; of rows that come from no store."""

    def order(epoch: int) -> Iterator[NDArray[np.int64]]:
        rows = np.random.default_rng([seed, epoch]).permutation(count)
        yield from np.split(rows, range(batch_size, count, batch_size))

    return order


@dataclass(frozen=True, slots=True, eq=False)
class _Pool:
    """Copies of all systems with noise of their own, normalised."""

    x: Float  # (copy, row, feature)
    y: Float  # (copy, row, answer)
    middle: Float  # (feature,)
    width: Float
    centre: Float  # (answer,)
    scale: Float


def _pool_of(
    rows: Rows, sight: Seen, ensemble: Ensemble, mean: Float, components: Float, rng: np.random.Generator
) -> _Pool:
    """Return copies; answers are normalised by those of the systems as they were measured."""
    answers = _answers(rows.truth, sight)
    centre, scale = answers.mean(axis=0), answers.std(axis=0)
    copies = [_copy(rows, ensemble, mean, components, rng) for _ in range(_COPIES)]
    x, y = (np.stack(part) for part in zip(*copies, strict=True))
    middle, width = x.mean(axis=(0, 1)), x.std(axis=(0, 1))
    return _Pool((x - middle) / width, (y - centre) / scale, middle, width, centre, scale)


def _trained(
    batches: Callable[[int], Iterator[Batch]],
    pool: _Pool,
    ensemble: Ensemble,
    seed: int,
    tell: Callable[[int, float], None],
) -> Heads:
    """Return trained networks."""
    heads = Heads((), ())
    rounds = train_heads(
        batches,
        sizes=(len(pool.middle), *ensemble.hidden, 2),
        members=ensemble.members,
        epochs=ensemble.epochs,
        steps=-(-pool.x.shape[1] // ensemble.batch_size),
        rate=ensemble.rate,
        seed=seed,
        device=ensemble.device,
    )
    for epoch, (loss, done) in enumerate(rounds):
        tell(epoch, loss)
        heads = done or heads
    return heads


def _answers(truth: Float, sight: Seen) -> Float:
    """Return ln σ and ln ε in units of the liquids."""
    return np.log(truth / np.stack([sight.length, sight.energy], 1))


def _copy(rows: Rows, ensemble: Ensemble, mean: Float, components: Float, rng: np.random.Generator) -> Batch:
    """Return inputs and answers of all systems, with noise of their own."""
    copies = _noisy(rows, ensemble.noise, rng)
    sight = seen(copies.curves, ensemble.scaling)
    return inputs_of((sight.curve - mean) @ components.T, sight), _answers(rows.truth, sight)


def _noisy(rows: Rows, most: float, rng: np.random.Generator) -> Rows:
    """Return systems as shorter runs would show them, some of them as they are."""
    if most <= 0.0:
        return rows
    low = min(_LEAST_NOISE, most)
    factor = low * (most / low) ** rng.random(len(rows))
    factor[rng.random(len(rows)) < _CLEAN] = 0.0
    return Rows(noisier(rows.curves, factor, rng), rows.truth)
