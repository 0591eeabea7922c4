"""Reweighted ensembles: averages of stored frames under the present parameters, their loss, gradient and curvature.

With l = dL/d<g> and s_f = l · (g_f − <g>) the gradient of the loss is −β d/dθ Σ_f w_f s_f E_θ(x_f): the scores add up
to zero, so the covariance is centred by construction, and one backward pass gives it for any network. A pressure, where
one is asked for, answers twice: d<P>/dθ = <∂P/∂θ> − β (<P ∂E> − <P><∂E>), because frames and their pressures change.
Replicas in boxes of different volume are then reweighted each by itself. Together, weight would go over from dense to
dilute boxes, which the sampler never does, and the pressure is what differs most between them.

Lyubartsev & Laaksonen 1995, doi:10.1103/PhysRevE.52.3730, for the response of averages to a potential; Ivanov,
Posysoev & Lyubartsev 2023, doi:10.1021/acs.jctc.3c00516, for networks. The gradient printed and released with the
latter took the energy gradient at the mean descriptor, which is wrong for every network that is not linear.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from cgstore.learn.newton import flatten, unflatten
from cgstore.learn.pressure import Stretched, part_of, pressures

__all__ = [
    "Ensemble",
    "Response",
    "centred",
    "curvature",
    "effective_sample_size",
    "frame_slopes",
    "gradient",
    "pressure_slope",
    "respond",
]

_TOGETHER = 16  # frames whose pressures are differentiated at once: a network of atoms keeps all its layers for it


@dataclass(frozen=True, slots=True, eq=False)
class Ensemble:
    """Frames drawn under some parameters: what the potential and the loss need of them, and what g should be."""

    beta: float  # mol/kJ
    described: Any  # what the model's energy takes: an array (frame, …), or `cgstore.learn.atomic.Described`
    energy: torch.Tensor  # (frame,) kJ/mol under the parameters of drawing
    g: torch.Tensor  # (frame, value)
    target: torch.Tensor  # (value,)
    sigma: torch.Tensor  # (value,)
    pressure: Stretched | None = None  # where the pressure is to be matched as well
    replicas: int = 1  # equal parts of the frames, one after another, each reweighted by itself


class Response(NamedTuple):
    """The averages of an ensemble under the present parameters."""

    g: torch.Tensor  # (value,)
    loss: float  # mean(((<g> − target) / sigma)²), and ((<P> − goal) / error)² of the pressure
    slope: torch.Tensor  # (value,), dL/d<g>
    weight: torch.Tensor  # (frame,), of sum 1
    effective: float  # effective sample size as a part of the frames
    pressure: torch.Tensor | None = None  # (frame,) bar, where it is to be matched

    @property
    def mean_pressure(self) -> float:
        """Return <P> in bar, not a number where no pressure is to be matched."""
        return float("nan") if self.pressure is None else float(self.weight @ self.pressure)


def effective_sample_size(weight: torch.Tensor) -> float:
    """Return exp(−Σ w ln w) / F of weights (frame,) of sum 1: one when all frames count alike.

    >>> round(effective_sample_size(torch.tensor([0.5, 0.5, 0.0, 0.0])), 6)
    0.5
    """
    return float(torch.exp(torch.special.entr(weight).sum())) / len(weight)


def respond(model: torch.nn.Module, ensemble: Ensemble) -> Response:
    """Return the reweighted averages of an ensemble, w_f ∝ exp(−β (E_θ(x_f) − E_drawn(x_f))), and their loss.

    Parameters
    ----------
    model : called with `ensemble.described`, gives the energy of the frames (frame,) in kJ/mol
    ensemble : frames with their energy under the parameters they were drawn with
    """
    with torch.no_grad():
        energy = model(ensemble.described)
    weight = _weights(ensemble, energy)
    g = weight @ ensemble.g
    deviation = (g - ensemble.target) / ensemble.sigma
    slope = 2.0 * deviation / ensemble.sigma / len(deviation)
    response = Response(g, float((deviation**2).mean()), slope, weight, effective_sample_size(weight))
    if ensemble.pressure is None:
        return response
    with torch.no_grad():
        response = response._replace(pressure=pressures(model, ensemble.pressure))
    goal = ensemble.pressure.goal
    return response._replace(loss=response.loss + ((response.mean_pressure - goal.value) / goal.error) ** 2)


def _weights(ensemble: Ensemble, energy: torch.Tensor) -> torch.Tensor:
    """Return the weights of frames (frame,) under other energies, of sum 1."""
    exponent = -ensemble.beta * (energy - ensemble.energy)
    if ensemble.replicas == 1:
        return torch.softmax(exponent, dim=0)
    return torch.softmax(exponent.reshape(ensemble.replicas, -1), dim=1).reshape(-1) / ensemble.replicas


def centred(ensemble: Ensemble, response: Response, values: torch.Tensor) -> torch.Tensor:
    """Return the deviation of values (frame, …) from their mean, that of each replica where these are by themselves."""
    if ensemble.replicas == 1:
        return values - response.weight @ values
    weight = response.weight.reshape(ensemble.replicas, -1) * ensemble.replicas
    parts = values.reshape(*weight.shape, *values.shape[1:])
    mean = torch.einsum("rf,rf...->r...", weight, parts)
    return (parts - mean[:, None]).reshape(values.shape)


def gradient(model: torch.nn.Module, ensembles: Sequence[Ensemble], responses: Sequence[Response]) -> torch.Tensor:
    """Return the gradient (parameter,) of the summed loss of some ensembles: the centred covariance, exactly.

    Parameters
    ----------
    model : as in `respond`
    ensembles, responses : per state point; the responses under the present parameters

    Notes
    -----
    ∂<g>/∂θ = −β (<g ∂E> − <g><∂E>), contracted with dL/d<g>; no array of bins × parameters is made.
    """
    pulled = [
        _pull(model, ensemble, response, response.slope, _steepness(ensemble, response.mean_pressure))
        for ensemble, response in zip(ensembles, responses, strict=True)
    ]
    return flatten(torch.autograd.grad(torch.stack(pulled).sum(), list(model.parameters())))


def _steepness(ensemble: Ensemble, pressure: float) -> float:
    """Return dL/d<P> at a mean pressure; none where no pressure is to be matched."""
    if ensemble.pressure is None:
        return 0.0
    goal = ensemble.pressure.goal
    return 2.0 * (pressure - goal.value) / goal.error**2


def _pull(
    model: torch.nn.Module, ensemble: Ensemble, response: Response, slope: torch.Tensor, steepness: float
) -> torch.Tensor:
    """Return the scalar whose gradient is slope · d<g>/dθ + steepness · d<P>/dθ; its value has no meaning."""
    score = centred(ensemble, response, ensemble.g) @ slope  # (frame,); Σ w s = 0, whatever the slope
    energy: torch.Tensor = model(ensemble.described)
    if ensemble.pressure is None or response.pressure is None:
        return -ensemble.beta * ((response.weight * score) @ energy)
    score = score + steepness * centred(ensemble, response, response.pressure)
    directly = response.weight @ pressures(model, ensemble.pressure)
    return steepness * directly - ensemble.beta * ((response.weight * score) @ energy)


def curvature(
    model: torch.nn.Module, ensembles: Sequence[Ensemble], responses: Sequence[Response], vector: torch.Tensor
) -> torch.Tensor:
    """Return the Gauss–Newton curvature of the summed loss times a vector (parameter,).

    The curvature is Σ_s Jᵀ (2 / (K σ²)) J with J = d<g>/dθ. J v is a covariance of g with the derivative of the energy
    along v, and Jᵀ u is what the gradient already is. A pressure is one more row of J, with 2 / error².
    """
    parameters = list(model.parameters())
    along = unflatten(vector, parameters)
    pulled = []
    for ensemble, response in zip(ensembles, responses, strict=True):
        change = _along(model(ensemble.described), parameters, along)
        shift = -ensemble.beta * ((response.weight * change) @ centred(ensemble, response, ensemble.g))  # J v
        slope, steepness = 2.0 * shift / ensemble.sigma**2 / len(shift), 0.0
        if ensemble.pressure is not None and response.pressure is not None:
            directly = _along(pressures(model, ensemble.pressure), parameters, along)
            raised = directly - ensemble.beta * change * centred(ensemble, response, response.pressure)
            steepness = 2.0 * float(response.weight @ raised) / ensemble.pressure.goal.error**2
        pulled.append(_pull(model, ensemble, response, slope, steepness))
    return flatten(torch.autograd.grad(torch.stack(pulled).sum(), parameters))


def _along(values: torch.Tensor, parameters: Sequence[torch.Tensor], along: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the derivative of values (frame,) along a vector, by two backward passes: uᵀ values is linear in u."""
    u = torch.zeros_like(values, requires_grad=True)
    slopes = torch.autograd.grad(u @ values, parameters, create_graph=True)
    inner = torch.stack([(slope * part).sum() for slope, part in zip(slopes, along, strict=True)]).sum()
    return torch.autograd.grad(inner, u)[0]


def frame_slopes(model: torch.nn.Module, ensemble: Ensemble) -> torch.Tensor:
    """Return the derivative of the energy of every frame by every parameter, (frame, parameter).

    It costs one backward pass over all frames, one frame at a time, and is the whole response of any average: with it
    a step needs no other pass. For some hundred frames and some thousand parameters that is a few megabytes.
    """
    parameters = list(model.parameters())
    rows = []
    for number in range(len(ensemble.energy)):
        part = part_of(ensemble.described, slice(number, number + 1))
        rows.append(flatten(torch.autograd.grad(model(part).sum(), parameters)))
    return torch.stack(rows)


def pressure_slope(
    model: torch.nn.Module, ensemble: Ensemble, response: Response, slopes: torch.Tensor
) -> torch.Tensor:
    """Return d<P>/dθ (parameter,), in bar, of an ensemble whose pressure is to be matched.

    Parameters
    ----------
    model, ensemble, response : as in `gradient`
    slopes : (frame, parameter) of `frame_slopes`
    """
    assert ensemble.pressure is not None
    assert response.pressure is not None
    parameters, weight = list(model.parameters()), response.weight
    found = -ensemble.beta * (weight * centred(ensemble, response, response.pressure)) @ slopes
    for first in range(0, len(weight), _TOGETHER):
        few = slice(first, first + _TOGETHER)
        directly = weight[few] @ pressures(model, ensemble.pressure.part(few))
        found = found + flatten(torch.autograd.grad(directly, parameters))
    return found
