"""Structural training: a potential learned from canonical averages of one or several state points.

Frames drawn under an older potential are reweighted, `cgstore.learn.reweighting`, until too few of them count; then new
ones are drawn, `cgstore.learn.drawing`. How parameters move is told in `cgstore.learn.moves`.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from cgstore.learn.drawing import Potential, StatePoint, draw
from cgstore.learn.moves import Memory, begin_memory, move, set_parameters
from cgstore.learn.reweighting import Response, respond
from cgstore.learn.settings import Sampling, Training

__all__ = ["Place", "Update", "train_structure"]

Float = NDArray[np.float64]


class Update(NamedTuple):
    """One row of the log; per state point in the order given, the watched ones last."""

    round: int
    step: int  # in the round; 0 right after drawing
    loss: tuple[float, ...]
    rmsd: tuple[float, ...]
    effective: tuple[float, ...]
    pressure: tuple[float | None, ...]  # bar, where it is to be matched
    best: bool  # the best potential so far
    seconds: float


class Place(NamedTuple):
    """All that a training needs to go on from the beginning of a round, exactly as if it had never stopped."""

    round: int
    parameters: tuple[torch.Tensor, ...]
    starts: tuple[xr.Dataset, ...]
    best: tuple[torch.Tensor, ...]
    best_loss: float
    best_round: int = 0
    memory: Memory = ()  # of the way of moving: what earlier steps left behind


def train_structure(
    model: Potential,
    points: Sequence[StatePoint],
    *,
    watched: Sequence[StatePoint] = (),
    sampling: Sampling,
    training: Training,
    seed: int,
    place: Place | None = None,
    on_round: Callable[[Place], None] | None = None,
) -> Iterator[Update]:
    """Train the model in place, yielding a row for the log after each step; at the end it is the best one met.

    Parameters
    ----------
    model : the potential
    points : state points to learn from, all at once
    watched : state points that are sampled too and choose the best potential instead, but give no gradient; they also
        say when to stop, with `training.patience`
    sampling, training : how to draw frames and how to move
    seed : of all sampling
    place : where to go on; from the beginning by default
    on_round : is given the place at the beginning of each round, and after the last one

    Notes
    -----
    Only averages over newly drawn frames choose the best potential: a step is fitted to the noise of its own frames.
    """
    everything, begin = [*points, *watched], time.perf_counter()
    parameters = list(model.parameters())
    if place is None:
        starts = tuple(point.start for point in everything)
        memory = begin_memory(parameters, training)
        place = Place(0, _values(parameters), starts, _values(parameters), float("inf"), 0, memory)
    set_parameters(parameters, place.parameters)
    for number in range(place.round, training.rounds):
        if on_round is not None:
            on_round(place)
        drawn = [
            draw(model, point, start, sampling, _seed(seed, number, index))
            for index, (point, start) in enumerate(zip(everything, place.starts, strict=True))
        ]
        ensembles = [ensemble for ensemble, _ in drawn]
        responses = [respond(model, ensemble) for ensemble in ensembles]
        judged = sum(response.loss for response in responses[len(points) if watched else 0 :])
        if best := judged < place.best_loss:
            place = place._replace(best=_values(parameters), best_loss=judged, best_round=number)
        yield _row(number, 0, everything, responses, best, time.perf_counter() - begin)
        if watched and training.patience and number - place.best_round >= training.patience:
            break
        for step in range(1, training.steps + 1) if number < training.rounds - 1 else ():
            memory = move(model, ensembles[: len(points)], responses[: len(points)], training, place.memory)
            place = place._replace(memory=memory)
            responses = [respond(model, ensemble) for ensemble in ensembles]
            yield _row(number, step, everything, responses, False, time.perf_counter() - begin)
            if min(response.effective for response in responses) < training.effective:
                break
        starts = tuple(last for _, last in drawn)
        place = place._replace(round=number + 1, parameters=_values(parameters), starts=starts)
    if on_round is not None:
        on_round(place)
    set_parameters(parameters, place.best)


def _values(parameters: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """Return copies of parameters."""
    return tuple(parameter.detach().clone() for parameter in parameters)


def _seed(seed: int, number: int, index: int) -> int:
    """Return the seed of the sampling of one state point in one round."""
    return int(np.random.SeedSequence([seed, number, index]).generate_state(1)[0])


def _row(
    number: int, step: int, points: Sequence[StatePoint], responses: Sequence[Response], best: bool, seconds: float
) -> Update:
    """Return a row of the log."""
    rmsd = [
        float(np.sqrt(((response.g.numpy()[: point.g.size] - point.g.reshape(-1)) ** 2).mean()))  # of g alone
        for point, response in zip(points, responses, strict=True)
    ]
    losses, effective = zip(*((response.loss, response.effective) for response in responses), strict=True)
    pressure = tuple(None if response.pressure is None else response.mean_pressure for response in responses)
    return Update(number, step, losses, tuple(rmsd), effective, pressure, best, seconds)
