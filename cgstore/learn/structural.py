"""Structural training: a potential learned from canonical averages, by the centred covariance of energy and structure.

With l = dL/d<g> and s_f = l · (g_f − <g>) the gradient of the loss is −β d/dθ Σ_f w_f s_f E_θ(x_f): the scores add up
to zero, so the covariance is centred by construction, and one backward pass gives it for any network. Frames drawn
under an older potential are reweighted until too few of them count; then new ones are drawn.

Lyubartsev & Laaksonen 1995, doi:10.1103/PhysRevE.52.3730, for the response of averages to a potential; Ivanov,
Posysoev & Lyubartsev 2023, doi:10.1021/acs.jctc.3c00516, for networks. The gradient printed and released with the
latter took the energy gradient at the mean descriptor, which is wrong for every network that is not linear.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from cgstore.box import volume
from cgstore.learn.newton import damped_step, flatten, unflatten
from cgstore.learn.potential import PairNetwork, pair_weights
from cgstore.learn.sampler import sample
from cgstore.learn.settings import Sampling, Training
from cgstore.units import BOLTZMANN

__all__ = [
    "Ensemble",
    "Place",
    "Response",
    "StatePoint",
    "Update",
    "curvature",
    "draw",
    "effective_sample_size",
    "gradient",
    "respond",
    "train_structure",
]

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class StatePoint:
    """What the model is to reproduce at one state point: g with the scale of deviations, and where replicas start."""

    name: str
    temperature: float  # K
    start: xr.Dataset  # one starting frame, with its box, per replica
    width: float  # nm, of the bins, which begin at zero
    g: Float  # (pair, bin)
    sigma: Float  # (pair, bin), errors of g with a floor

    @property
    def beta(self) -> float:
        """Return 1/kT in mol/kJ."""
        return 1.0 / (BOLTZMANN * self.temperature)


@dataclass(frozen=True, slots=True, eq=False)
class Ensemble:
    """Frames drawn under some parameters: what the potential and the loss need of them, and what g should be."""

    beta: float  # mol/kJ
    described: torch.Tensor  # (frame, …), what the model's energy takes
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


class Update(NamedTuple):
    """One row of the log; per state point in the order given, the watched ones last."""

    round: int
    step: int  # in the round; 0 right after drawing
    loss: tuple[float, ...]
    rmsd: tuple[float, ...]
    effective: tuple[float, ...]
    best: bool  # the best potential so far
    seconds: float


class Place(NamedTuple):
    """All that a training needs to go on from the beginning of a round, exactly as if it had never stopped."""

    round: int
    parameters: tuple[torch.Tensor, ...]
    starts: tuple[xr.Dataset, ...]
    best: tuple[torch.Tensor, ...]
    best_loss: float


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


def draw(
    model: PairNetwork, point: StatePoint, start: xr.Dataset, sampling: Sampling, seed: int
) -> tuple[Ensemble, xr.Dataset]:
    """Draw frames under the present parameters; return them, and the last frame of each replica.

    Parameters
    ----------
    model, point, sampling : the potential, what it should reproduce, and how to sample
    start : one starting frame per replica
    seed : the same seed gives the same frames

    Raises
    ------
    PhysicsError : the motion explodes, or the cutoff or the bins reach beyond half the box
    """
    samples = sample(
        model.tables(),
        start,
        temperature=point.temperature,
        seed=seed,
        **asdict(sampling),
    )
    described, g = measure(model, samples, width=point.width, bins=point.g.shape[1])
    with torch.no_grad():
        energy = model(described)
    ensemble = Ensemble(
        beta=point.beta,
        described=described,
        energy=energy,
        g=torch.from_numpy(g.reshape(len(g), -1)),
        target=torch.from_numpy(point.g.reshape(-1)),
        sigma=torch.from_numpy(point.sigma.reshape(-1)),
    )
    last = samples.isel(frame=np.flatnonzero(np.diff(samples["replica"].values, append=-1)))
    return ensemble, start.assign(position=start["position"].copy(data=last["position"].values))


def measure(model: PairNetwork, ds: xr.Dataset, *, width: float, bins: int) -> tuple[torch.Tensor, Float]:
    """Return what the model needs of frames (frame, pair, node), and their g (frame, pair, bin)."""
    types = ds["type"].values.tolist()
    box = ds["box"].values
    weight, count = pair_weights(
        ds["position"].values,
        box,
        types,
        known=model.types,
        spacing=model.spacing,
        nodes=len(model.r),
        width=width,
        bins=bins,
    )
    many = {name: types.count(name) for name in model.types}
    split = [pair.split("-") for pair in model.pairs]
    pairs = np.array([many[a] * (many[a] - 1) / 2 if a == b else many[a] * many[b] for a, b in split])
    shell = 4.0 / 3.0 * np.pi * np.diff((np.arange(bins + 1) * width) ** 3)
    with np.errstate(divide="ignore", invalid="ignore"):  # a pair that this system does not have has no g
        g = count * volume(box)[:, None, None] / (pairs[:, None] * shell)
    return torch.from_numpy(weight), np.nan_to_num(g, nan=0.0)


def train_structure(
    model: PairNetwork,
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
    watched : state points that are sampled too and choose the best potential instead, but give no gradient
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
        place = Place(0, _values(parameters), starts, _values(parameters), float("inf"))
    _set(parameters, place.parameters)
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
            place = place._replace(best=_values(parameters), best_loss=judged)
        yield _row(number, 0, everything, responses, best, time.perf_counter() - begin)
        for step in range(1, training.steps + 1) if number < training.rounds - 1 else ():
            _move(model, ensembles[: len(points)], responses[: len(points)], training)
            responses = [respond(model, ensemble) for ensemble in ensembles]
            yield _row(number, step, everything, responses, False, time.perf_counter() - begin)
            if min(response.effective for response in responses) < training.effective:
                break
        starts = tuple(last for _, last in drawn)
        place = place._replace(round=number + 1, parameters=_values(parameters), starts=starts)
    if on_round is not None:
        on_round(place)
    _set(parameters, place.best)


def _move(model: PairNetwork, ensembles: Sequence[Ensemble], responses: Sequence[Response], training: Training) -> None:
    """Take one damped Gauss–Newton step."""
    step = damped_step(
        lambda vector: curvature(model, ensembles, responses, vector),
        gradient(model, ensembles, responses),
        damping=training.damping,
        iterations=training.iterations,
    )
    parameters = list(model.parameters())
    _set(parameters, [p + d for p, d in zip(parameters, unflatten(step, parameters), strict=True)])


def _set(parameters: Sequence[torch.Tensor], values: Sequence[torch.Tensor]) -> None:
    """Give parameters new values in place."""
    with torch.no_grad():
        for parameter, value in zip(parameters, values, strict=True):
            parameter.copy_(value)


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
        float(np.sqrt(((response.g.numpy() - point.g.reshape(-1)) ** 2).mean()))
        for point, response in zip(points, responses, strict=True)
    ]
    losses, effective = zip(*((response.loss, response.effective) for response in responses), strict=True)
    return Update(number, step, losses, tuple(rmsd), effective, best, seconds)
