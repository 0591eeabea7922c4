"""How parameters move on frames in hand: damped Gauss–Newton steps by products or by frames, or Adam.

`newton` multiplies the curvature with vectors; `frames` needs the derivative of every frame's energy once, after which
a step is linear algebra in the space of the bins, and the damping can be chosen by trying: as little as leaves enough
frames that count. Both solve the same equations. `adam` is the plain gradient with its moments.
"""

from collections.abc import Sequence

import torch

from cgstore.learn.newton import damped_step, dual_steps, flatten, unflatten
from cgstore.learn.reweighting import (
    Ensemble,
    Response,
    centred,
    curvature,
    frame_slopes,
    gradient,
    pressure_slope,
    respond,
)
from cgstore.learn.settings import Training

__all__ = ["Memory", "begin_memory", "move", "set_parameters"]

Memory = tuple[torch.Tensor, ...]  # of Adam: both moments and the number of steps

_DECAY = (0.9, 0.999)
_EPSILON = 1e-8
_TRIALS = 8  # values of the damping, each ten times the one before


def begin_memory(parameters: Sequence[torch.Tensor], training: Training) -> Memory:
    """Return what a method remembers before its first step."""
    if training.method != "adam":
        return ()
    zero = torch.zeros_like(flatten([parameter.detach() for parameter in parameters]))
    return zero, zero.clone(), torch.zeros((), dtype=torch.float64)


def set_parameters(parameters: Sequence[torch.Tensor], values: Sequence[torch.Tensor]) -> None:
    """Give parameters new values in place."""
    with torch.no_grad():
        for parameter, value in zip(parameters, values, strict=True):
            parameter.copy_(value)


def move(
    model: torch.nn.Module,
    ensembles: Sequence[Ensemble],
    responses: Sequence[Response],
    training: Training,
    memory: Memory,
) -> Memory:
    """Take one step in place and return what the method remembers.

    Parameters
    ----------
    model : as in `respond`
    ensembles, responses : per state point; the responses under the present parameters
    training : method, damping, rate, and how many frames must still count
    memory : of `begin_memory`, or of the step before
    """
    if training.method == "adam":
        return _by_adam(model, gradient(model, ensembles, responses), training.rate, memory)
    if training.method == "frames":
        _by_frames(model, ensembles, responses, training)
        return memory
    step = damped_step(
        lambda vector: curvature(model, ensembles, responses, vector),
        gradient(model, ensembles, responses),
        damping=training.damping,
        iterations=training.iterations,
    )
    _add(model, step)
    return memory


def _add(model: torch.nn.Module, step: torch.Tensor) -> None:
    """Move the parameters by a step (parameter,)."""
    parameters = list(model.parameters())
    set_parameters(parameters, [p + d for p, d in zip(parameters, unflatten(step, parameters), strict=True)])


def _by_frames(
    model: torch.nn.Module, ensembles: Sequence[Ensemble], responses: Sequence[Response], training: Training
) -> None:
    """Take the least damped step after which enough frames still count and the loss is smaller."""
    spread, along, rest = (
        [],
        [],
        [],
    )  # of frames: their part in values, the slopes of their energies; of values: the rest
    for ensemble, response in zip(ensembles, responses, strict=True):
        slopes = frame_slopes(model, ensemble)
        deviation = centred(ensemble, response, ensemble.g) / ensemble.sigma
        scale = (2.0 / len(response.g)) ** 0.5
        spread.append(-ensemble.beta * scale * response.weight[:, None] * deviation)
        along.append(centred(ensemble, response, slopes))
        rest.append(scale * (response.g - ensemble.target) / ensemble.sigma)
        if ensemble.pressure is not None:
            goal, scale = ensemble.pressure.goal, 2.0**0.5 / ensemble.pressure.goal.error
            spread.append(torch.ones((1, 1), dtype=torch.float64))
            along.append(scale * pressure_slope(model, ensemble, response, slopes)[None])
            rest.append(torch.full((1,), scale * (response.mean_pressure - goal.value), dtype=torch.float64))
    before = [parameter.detach().clone() for parameter in model.parameters()]
    loss = sum(response.loss for response in responses)
    dampings = [training.damping * 10.0**n for n in range(_TRIALS)]
    for step in dual_steps(_diagonal(spread), torch.cat(along), torch.cat(rest), dampings):
        set_parameters(list(model.parameters()), before)
        _add(model, step)
        after = [respond(model, ensemble) for ensemble in ensembles]
        if min(one.effective for one in after) >= training.effective and sum(one.loss for one in after) < loss:
            return
    set_parameters(list(model.parameters()), before)


def _diagonal(blocks: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the matrix with these blocks along its diagonal, and zeros elsewhere."""
    rows, columns = (sum(block.shape[axis] for block in blocks) for axis in (0, 1))
    whole, row, column = blocks[0].new_zeros((rows, columns)), 0, 0
    for block in blocks:
        whole[row : row + block.shape[0], column : column + block.shape[1]] = block
        row, column = row + block.shape[0], column + block.shape[1]
    return whole


def _by_adam(model: torch.nn.Module, slope: torch.Tensor, rate: float, memory: Memory) -> Memory:
    """Take a step of Adam; Kingma & Ba 2015, https://arxiv.org/abs/1412.6980."""
    first, second, count = memory
    count = count + 1
    first = _DECAY[0] * first + (1 - _DECAY[0]) * slope
    second = _DECAY[1] * second + (1 - _DECAY[1]) * slope**2
    mean, square = first / (1 - _DECAY[0] ** count), second / (1 - _DECAY[1] ** count)
    _add(model, -rate * mean / (square.sqrt() + _EPSILON))
    return first, second, count
