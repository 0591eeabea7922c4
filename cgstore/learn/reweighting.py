"""Reweighted ensembles: averages of stored frames under the present parameters, their loss, gradient and curvature.

With l = dL/d<g> and s_f = l · (g_f − <g>) the gradient of the loss is −β d/dθ Σ_f w_f s_f E_θ(x_f): the scores add up
to zero, so the covariance is centred by construction, and one backward pass gives it for any network.

Lyubartsev & Laaksonen 1995, doi:10.1103/PhysRevE.52.3730, for the response of averages to a potential; Ivanov,
Posysoev & Lyubartsev 2023, doi:10.1021/acs.jctc.3c00516, for networks. The gradient printed and released with the
latter took the energy gradient at the mean descriptor, which is wrong for every network that is not linear.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from cgstore.learn.newton import flatten, unflatten

__all__ = ["Ensemble", "Response", "curvature", "effective_sample_size", "frame_slopes", "gradient", "respond"]


@dataclass(frozen=True, slots=True, eq=False)
class Ensemble:
    """Frames drawn under some parameters: what the potential and the loss need of them, and what g should be."""

    beta: float  # mol/kJ
    described: Any  # what the model's energy takes: an array (frame, …), or `cgstore.learn.atomic.Described`
    energy: torch.Tensor  # (frame,) kJ/mol under the parameters of drawing
    g: torch.Tensor  # (frame, value)
    target: torch.Tensor  # (value,)
    sigma: torch.Tensor  # (value,)


class Response(NamedTuple):
    """The averages of an ensemble under the present parameters."""

    g: torch.Tensor  # (value,)
    loss: float  # mean(((<g> − target) / sigma)²)
    slope: torch.Tensor  # (value,), dL/d<g>
    weight: torch.Tensor  # (frame,), of sum 1
    effective: float  # effective sample size as a part of the frames


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
    weight = torch.softmax(-ensemble.beta * (energy - ensemble.energy), dim=0)
    g = weight @ ensemble.g
    deviation = (g - ensemble.target) / ensemble.sigma
    slope = 2.0 * deviation / ensemble.sigma / len(deviation)
    return Response(g, float((deviation**2).mean()), slope, weight, effective_sample_size(weight))


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
        _pull(model, ensemble, response, response.slope)
        for ensemble, response in zip(ensembles, responses, strict=True)
    ]
    return flatten(torch.autograd.grad(torch.stack(pulled).sum(), list(model.parameters())))


def _pull(model: torch.nn.Module, ensemble: Ensemble, response: Response, slope: torch.Tensor) -> torch.Tensor:
    """Return the scalar whose gradient is slope · d<g>/dθ; its value has no meaning."""
    score = (ensemble.g - response.g) @ slope  # (frame,); Σ w s = 0, whatever the slope
    energy: torch.Tensor = model(ensemble.described)
    return -ensemble.beta * ((response.weight * score) @ energy)


def curvature(
    model: torch.nn.Module, ensembles: Sequence[Ensemble], responses: Sequence[Response], vector: torch.Tensor
) -> torch.Tensor:
    """Return the Gauss–Newton curvature of the summed loss times a vector (parameter,).

    The curvature is Σ_s Jᵀ (2 / (K σ²)) J with J = d<g>/dθ. J v is a covariance of g with the derivative of the energy
    along v, and Jᵀ u is what the gradient already is.
    """
    parameters = list(model.parameters())
    along = unflatten(vector, parameters)
    pulled = []
    for ensemble, response in zip(ensembles, responses, strict=True):
        # The derivative of the energies along the vector by two backward passes: uᵀ E is linear in u.
        u = torch.zeros_like(ensemble.energy, requires_grad=True)
        slopes = torch.autograd.grad(u @ model(ensemble.described), parameters, create_graph=True)
        inner = torch.stack([(slope * part).sum() for slope, part in zip(slopes, along, strict=True)]).sum()
        (change,) = torch.autograd.grad(inner, u)
        shift = -ensemble.beta * ((response.weight * change) @ (ensemble.g - response.g))  # J v
        slope = 2.0 * shift / ensemble.sigma**2 / len(shift)
        pulled.append(_pull(model, ensemble, response, slope))
    return flatten(torch.autograd.grad(torch.stack(pulled).sum(), parameters))


def frame_slopes(model: torch.nn.Module, ensemble: Ensemble) -> torch.Tensor:
    """Return the derivative of the energy of every frame by every parameter, (frame, parameter).

    It costs one backward pass over all frames, one frame at a time, and is the whole response of any average: with it
    a step needs no other pass. For some hundred frames and some thousand parameters that is a few megabytes.
    """
    parameters = list(model.parameters())
    rows = []
    for number in range(len(ensemble.energy)):
        one = slice(number, number + 1)
        part = ensemble.described[one] if torch.is_tensor(ensemble.described) else ensemble.described.part(one)
        rows.append(flatten(torch.autograd.grad(model(part).sum(), parameters)))
    return torch.stack(rows)
