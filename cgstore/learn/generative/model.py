"""The model q(z) q(x|z) with its encoder r(z|x): Gaussian as published, or bent by coupling layers."""

import math
from dataclasses import dataclass

import torch

from cgstore.errors import InputError
from cgstore.learn.generative.couplings import Coupling, features, network, wrapped

__all__ = ["Architecture", "Decoder", "Encoder", "Model", "model_of"]

_IMAGES = 4  # of a wrapped normal, on each side: enough for the widest one
_WIDEST = 3.0  # radians: a wrapped normal of this width is uniform to 2 %
_UNFOLDED = 1.5  # radians per unit of z, where coordinates are given by z: N(0, 1) is then over the whole circle
_LOG_2PI = math.log(2.0 * math.pi)


@dataclass(frozen=True, slots=True)
class Architecture:
    """What a model is made of."""

    latent: int = 2  # dimensions of z
    hidden: tuple[int, ...] = (64, 64)  # of every network
    rounds: int = 3  # of coupling layers; 0: the Gaussian decoder
    pieces: int = 8  # of the splines
    bend_lines: bool = True  # coordinates that are no angles get splines too, else they are stretched and shifted
    width: float = 1.0  # of those coordinates at first
    turn: float = 1.0  # width of angles at first, radians; of those that z gives, the largest there can be
    spread: float = 1.0  # how far means follow z at first
    by_latent: int = (
        0  # so many coordinates, the first ones, are given by z alone, and z speaks through them; 0: all are
    )


class Decoder(torch.nn.Module):
    """q(x|z): a Gaussian whose mean and width depend on z, wrapped where coordinates are angles, then coupling layers.

    Without layers this is the decoder N(μ(z), σ²(z)) as published. With `by_latent`, z gives the mean and width of the
    first coordinates, which no layer moves; all others depend on these and not on z. Their widths are bounded: a wide
    one would do without z as long as the temperature is high, and z is not listened to again later.
    """

    periodic: torch.Tensor
    widest: torch.Tensor

    def __init__(self, periodic: torch.Tensor, shape: Architecture) -> None:
        """Make a decoder of coordinates, of which some are angles: (coordinate,)."""
        super().__init__()
        self.register_buffer("periodic", periodic)
        self.led = shape.by_latent or len(periodic)
        width = torch.where(periodic, math.log(shape.turn), math.log(shape.width))
        self.base = network(shape.latent, shape.hidden, 2 * self.led, quiet=shape.spread)
        last = self.base[-1]
        assert isinstance(last, torch.nn.Linear)
        self.register_buffer("widest", width[: self.led])
        with torch.no_grad():
            last.bias[self.led :] = 0.0 if shape.by_latent else width[: self.led]
            last.weight[self.led :] *= 0.1
        rest = torch.where(periodic, math.log(_WIDEST), width)[self.led :]
        self.rest = torch.nn.Parameter(torch.stack([torch.zeros_like(rest), rest]))
        self.direct = min(shape.by_latent, shape.latent)
        self.layers = torch.nn.ModuleList(_layers(periodic, shape))

    def forward(self, z: torch.Tensor, generator: torch.Generator | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw one x for each z: (sample, coordinate) and log q(x|z) (sample,)."""
        mean, log_width = self._base(z)
        step = log_width.exp() * torch.randn(mean.shape, generator=generator, dtype=mean.dtype)
        x = torch.where(self.periodic, wrapped(mean + step), mean + step)
        log_q = self._log_base(step, log_width).sum(dim=-1)
        for layer in self.layers:
            x, volume = layer(x, z)
            log_q = log_q - volume
        return x, log_q

    def log_density(self, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """Return log q(x|z) of any x, by moving it back through all layers: (sample,)."""
        volume = x.new_zeros(len(x))
        for layer in reversed(self.layers):
            x, own = layer(x, z, inverse=True)
            volume = volume + own
        mean, log_width = self._base(z)
        log_q: torch.Tensor = self._log_base(x - mean, log_width).sum(dim=-1) - volume
        return log_q

    def _base(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return means and logarithms of widths before any layer: (sample, coordinate) each."""
        mean, log_width = self.base(z).chunk(2, dim=-1)
        if self.direct:  # what z gives is over the whole circle from the start, and too narrow to do without z
            mean = mean + torch.nn.functional.pad(_UNFOLDED * z[:, : self.direct], (0, self.led - self.direct))
            log_width = self.widest + torch.nn.functional.logsigmoid(log_width)
        rest = self.rest[:, None].expand(-1, len(z), -1)
        mean, log_width = torch.cat([mean, rest[0]], dim=-1), torch.cat([log_width, rest[1]], dim=-1)
        return mean, torch.where(self.periodic, log_width.clamp(max=math.log(_WIDEST)), log_width)

    def _log_base(self, step: torch.Tensor, log_width: torch.Tensor) -> torch.Tensor:
        """Return the logarithm of the density of steps from the means: (sample, coordinate)."""
        density = _log_normal(step * torch.exp(-log_width)) - log_width
        angle = torch.nonzero(self.periodic).ravel()
        return density.index_copy(1, angle, _log_wrapped(step[:, angle], log_width[:, angle]))


class Encoder(torch.nn.Module):
    """r(z|x): a Gaussian whose mean and width depend on x, or only on the coordinates that z gives."""

    periodic: torch.Tensor

    def __init__(self, periodic: torch.Tensor, shape: Architecture) -> None:
        """Make an encoder of coordinates, of which some are angles: (coordinate,)."""
        super().__init__()
        self.seen = shape.by_latent or len(periodic)
        self.register_buffer("periodic", periodic[: self.seen])
        inputs = self.seen + int(self.periodic.sum())
        self.net = network(inputs, shape.hidden, 2 * shape.latent, quiet=0.1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and logarithm of the width of z: (sample, latent) each."""
        mean, log_width = self.net(features(x[:, : self.seen], self.periodic)).chunk(2, dim=-1)
        return mean, log_width

    def draw(self, x: torch.Tensor, generator: torch.Generator | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw one z for each x: (sample, latent) and log r(z|x) (sample,)."""
        mean, log_width = self(x)
        noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype)
        return mean + log_width.exp() * noise, (_log_normal(noise) - log_width).sum(dim=-1)

    def log_density(self, z: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Return log r(z|x): (sample,)."""
        mean, log_width = self(x)
        density: torch.Tensor = (_log_normal((z - mean) * torch.exp(-log_width)) - log_width).sum(dim=-1)
        return density


class Model(torch.nn.Module):
    """Both, and q(z) = N(0, 1)."""

    def __init__(self, periodic: torch.Tensor, shape: Architecture) -> None:
        """Make a model of coordinates, of which some are angles: (coordinate,)."""
        super().__init__()
        self.shape = shape
        self.decoder, self.encoder = Decoder(periodic, shape), Encoder(periodic, shape)

    def forward(
        self, samples: int, generator: torch.Generator | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Draw z and x, and return with them log q(x|z) + log q(z) − log r(z|x): (sample,).

        That is log q(x) on average over z given x, never below it: the encoder makes up for the integral over z.
        """
        dtype = next(self.parameters()).dtype
        z = torch.randn(samples, self.shape.latent, generator=generator, dtype=dtype)
        x, log_q = self.decoder(z, generator)
        return z, x, log_q + _log_normal(z).sum(dim=-1) - self.encoder.log_density(z, x)

    def log_ratio(self, x: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """Return log q(x|z) + log q(z) − log r(z|x) of any x, with one z drawn from r for each: (sample,).

        Its exponential is q(x) on average; itself it is below log q(x) on average.
        """
        z, log_r = self.encoder.draw(x, generator)
        ratio: torch.Tensor = self.decoder.log_density(x, z) + _log_normal(z).sum(dim=-1) - log_r
        return ratio


def model_of(periodic: torch.Tensor, shape: Architecture, *, seed: int, dtype: torch.dtype = torch.float32) -> Model:
    """Return a model with random weights, the same ones for the same seed.

    Raises
    ------
    InputError : z is to give more coordinates than there are
    """
    if not 0 <= shape.by_latent <= len(periodic):
        raise InputError(
            f"found by_latent = {shape.by_latent}, expected 0 to {len(periodic)}, the number of coordinates"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Model(periodic, shape).to(dtype)


def _layers(periodic: torch.Tensor, shape: Architecture) -> list[Coupling]:
    """Return the coupling layers: angles given angles, then all others given angles, then halves of the others."""
    numbers = torch.arange(len(periodic))
    led, free = numbers[: shape.by_latent], numbers >= shape.by_latent
    angles, lines = numbers[periodic & free], numbers[~periodic & free]
    pairs = []
    for _ in range(shape.rounds):
        pairs += [(angles[0::2], angles[1::2]), (angles[1::2], angles[0::2])]
    if shape.rounds and len(angles) + len(led):
        pairs.append((lines, angles))
    for _ in range(shape.rounds):
        pairs += [(lines[0::2], torch.cat([angles, lines[1::2]])), (lines[1::2], torch.cat([angles, lines[0::2]]))]
    latent = 0 if shape.by_latent else shape.latent
    return [
        Coupling(
            moved,
            torch.cat([led, given]),
            periodic,
            latent=latent,
            hidden=shape.hidden,
            pieces=shape.pieces if periodic[moved].all() or shape.bend_lines else 0,
        )
        for moved, given in pairs
        if len(moved)
    ]


def _log_normal(x: torch.Tensor) -> torch.Tensor:
    """Return the logarithm of the density of a normal distribution of width one."""
    return -0.5 * x**2 - 0.5 * _LOG_2PI


def _log_wrapped(step: torch.Tensor, log_width: torch.Tensor) -> torch.Tensor:
    """Return the logarithm of the density of a normal distribution that is wrapped around a circle."""
    images = 2.0 * math.pi * torch.arange(-_IMAGES, _IMAGES + 1, dtype=step.dtype)
    away = (wrapped(step)[..., None] + images) * torch.exp(-log_width)[..., None]
    return torch.logsumexp(_log_normal(away), dim=-1) - log_width
