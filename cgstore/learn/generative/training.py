"""Training without data: the reverse Kullback–Leibler divergence from exp(−βU) is made small while β grows to one."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cgstore.errors import PhysicsError
from cgstore.learn.generative.checkpoint import read_state, write_state
from cgstore.learn.generative.memory import Memory
from cgstore.learn.generative.model import Architecture, Model, model_of
from cgstore.learn.generative.targets import Target, softened
from cgstore.learn.generative.tempering import Tempering, next_step, settled

__all__ = ["Settings", "Trained", "objective", "train"]

Float = NDArray[np.float64]

_PLAIN = ("now", "here", "beta", "objective", "evaluations")


@dataclass(frozen=True, slots=True)
class Settings:
    """How a model is trained; everything a run depends on but the target."""

    shape: Architecture = field(default_factory=Architecture)
    tempering: Tempering = field(default_factory=Tempering)
    prelude: int = 0  # iterations before all others, in which the encoder alone learns and no energy is asked for
    samples: int = 500  # of one iteration
    rate: float = 1e-3  # of Adam
    final: int = 2000  # iterations at β = 1, over which the rate falls to a hundredth
    clip: float = 100.0  # largest norm of the gradient
    ceiling: float = float("inf")  # kT: energies above it count by their logarithm
    covering: float = 0.0  # part of the forward divergence in what is made small, on samples of its own that it keeps
    kept: int = 10_000  # samples that are kept for that
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A model and how it came to be."""

    model: Model
    beta: Float  # (iteration,)
    objective: Float  # (iteration,) without log Z
    evaluations: int  # conformations whose energy was asked for


def objective(energy: torch.Tensor, log_q: torch.Tensor, beta: float) -> torch.Tensor:
    """Return E[log q(x|z) + log q(z) + βU(x) − log r(z|x)] over samples of the model, to be differentiated.

    Parameters
    ----------
    energy : (sample,) kT
    log_q : (sample,) log q(x|z) + log q(z) − log r(z|x), per volume of positions

    Notes
    -----
    Plus log Z_β this is KL(q(x|z) q(z) ‖ p_β(x) r(z|x)): Schöberl, Zabaras and Koutsourelakis 2020, arXiv:2002.10148.
    """
    mean: torch.Tensor = (log_q + beta * energy).mean()
    return mean


def train(
    target: Target,
    periodic: NDArray[np.bool_],
    settings: Settings,
    *,
    report: Callable[[int, float, float], None] = lambda iteration, beta, value: None,
    checkpoint: Path | None = None,
    every: int = 200,
) -> Trained:
    """Fit a model to a potential by asking for energies and forces where the model is; no data are read.

    Parameters
    ----------
    target : the potential
    periodic : (coordinate,) which coordinates are angles
    settings : everything else
    report : called after each iteration, with its number, β and the objective
    checkpoint : file for the state of the training; if it is there, the training goes on from it, to the same bits
    every : iterations between two states

    Raises
    ------
    PhysicsError : the objective is no longer a number
    InputError : the checkpoint is of other settings, or no checkpoint
    """
    model = model_of(torch.as_tensor(periodic), settings.shape, seed=settings.seed)
    run = _Run(model, target, settings, report)
    if checkpoint is not None and checkpoint.exists():
        run.take(read_state(checkpoint, settings))
    else:
        run.begin()

    def go_on() -> None:
        run.improve()
        if checkpoint is not None and len(run.objective) % every == 0:
            write_state(checkpoint, run.state(), settings)

    while run.now < 1.0:
        while not settled(run.objective[run.here :], settings.tempering):
            go_on()
        run.now += next_step(*run.drawn(), run.now, settings.tempering)
        run.here = len(run.objective)
    while len(run.objective) - run.here < settings.final:
        go_on()
    return Trained(model, np.array(run.beta), np.array(run.objective), run.evaluations)


class _Run:
    """What changes while a model is trained."""

    def __init__(
        self, model: Model, target: Target, settings: Settings, report: Callable[[int, float, float], None]
    ) -> None:
        self.model, self.settings, self.report = model, settings, report
        self.target = _soft(target, settings.ceiling)
        self.generator = torch.Generator().manual_seed(settings.seed)
        self.optimiser = torch.optim.Adam(model.parameters(), lr=settings.rate)
        self.memory = Memory(settings.kept)
        self.now, self.here = settings.tempering.start, 0  # β, and the iteration at which it became that
        self.beta: list[float] = []
        self.objective: list[float] = []
        self.evaluations = 0

    def state(self) -> dict[str, Any]:
        """Return all that changes."""
        plain = {name: getattr(self, name) for name in _PLAIN}
        return plain | {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "generator": self.generator.get_state(),
            "memory": [self.memory.z, self.memory.x, self.memory.energy, self.memory.log_q],
        }

    def take(self, state: Mapping[str, Any]) -> None:
        """Go back to a state."""
        for name in _PLAIN:
            setattr(self, name, state[name])
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.generator.set_state(state["generator"])
        self.memory.z, self.memory.x, self.memory.energy, self.memory.log_q = state["memory"]

    def begin(self) -> None:
        """Teach the encoder alone where samples of the decoder came from.

        Else what x says of z costs more than it is worth at first, and the decoder unlearns to listen to z.
        """
        for _ in range(self.settings.prelude):
            self.optimiser.zero_grad(set_to_none=True)
            with torch.no_grad():
                z, x, _ = self.model(self.settings.samples, self.generator)
            (-self.model.encoder.log_density(z, x).mean()).backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()

    def rate(self) -> float:
        """Return the rate of this iteration: at β = 1 it falls along a cosine, to a hundredth."""
        if self.now < 1.0:
            return self.settings.rate
        part = (len(self.objective) - self.here) / self.settings.final
        return self.settings.rate * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * part)))

    def improve(self) -> None:
        """Take one step of Adam."""
        beta, self.optimiser.param_groups[0]["lr"] = self.now, self.rate()
        self.optimiser.zero_grad(set_to_none=True)
        energy, log_q, z, x = self.sampled()
        value = objective(energy, log_q, beta)
        if not torch.isfinite(value):
            raise PhysicsError(
                f"the objective is {value.item()} at β = {beta:g} after {len(self.objective)} iterations; begin at a "
                "larger β, lower the rate of training, or give a ceiling for energies"
            )
        part = self.settings.covering
        whole = value
        if part:
            self.memory.add(z, x, energy, log_q)
            whole = (1.0 - part) * value + part * self.missed(beta)
        whole.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip)
        if torch.isfinite(norm):  # else overlapping atoms: this batch teaches nothing
            self.optimiser.step()
        self.beta.append(beta)
        self.objective.append(value.item())
        self.report(len(self.beta), beta, self.objective[-1])

    def missed(self, beta: float) -> torch.Tensor:
        """Return −E[log q(x|z)] over samples of p(x) r(z|x): large where too little is drawn.

        But for a constant this is KL(p r ‖ q). Samples of p r are those that the model drew lately, by their weight.
        """
        z, x = self.memory.draw(beta, self.settings.samples, self.generator)
        return -self.model.decoder.log_density(x, z).mean()

    def sampled(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return energies, densities per volume of positions, z and coordinates of new samples."""
        z, x, log_q = self.model(self.settings.samples, self.generator)
        energy, volume = self.target(x)
        self.evaluations += self.settings.samples
        return energy, log_q - volume, z, x

    def drawn(self) -> tuple[Float, Float]:
        """Return energies and densities of new samples, for the rule of tempering."""
        with torch.no_grad():
            energy, log_q, _, _ = self.sampled()
        return energy.numpy().astype(np.float64), log_q.numpy().astype(np.float64)


def _soft(target: Target, ceiling: float) -> Target:
    """Return a target whose energies are softened above a ceiling."""

    def soft(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        energy, volume = target(x)
        return softened(energy, ceiling), volume

    return soft if np.isfinite(ceiling) else target
