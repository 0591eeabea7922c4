"""Drawing from a model: samples with their importance weights, what they say of ln Z, and how many they are worth."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cgstore.learn.generative.model import Model
from cgstore.learn.generative.targets import Target

__all__ = ["Drawn", "draw", "effective", "log_partition", "weights_of"]

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """Samples of a model; weights are exact on average, whatever the model."""

    z: Float  # (sample, latent)
    x: Float  # (sample, coordinate)
    energy: Float  # (sample,) kT
    log_q: Float  # (sample,) log q(x|z) + log q(z) − log r(z|x), per volume of positions

    @property
    def log_weight(self) -> Float:
        """Return log of p r / q: (sample,), up to log Z."""
        return -self.energy - self.log_q


def draw(model: Model, target: Target, samples: int, *, seed: int, encodings: int = 1, batch: int = 5000) -> Drawn:
    """Draw independent samples.

    Parameters
    ----------
    target : the potential that they are weighted for, not softened
    seed : the same gives the same samples
    encodings : z that q(x) is estimated from: the one that x was drawn from, and others from the encoder; more of them
        make weights more even where the encoder is not exact, and ask for no more energies
    batch : so many at a time

    Notes
    -----
    For any model and encoder E_q[p(x) r(z|x) / (q(x|z) q(z))] = Z, so that averages with these weights are those of
    exp(−U): z is one more coordinate, whose distribution given x is r. The better the encoder, the more even are they.
    With more encodings q(x|z) q(z) / r(z|x) is a mean over z₀, of which x was drawn, and others from r; the mean of one
    over it is still 1 / q(x) exactly (Sobolev and Vetrov 2019, arXiv:1905.03290).
    """
    generator = torch.Generator().manual_seed(seed)
    parts = []
    with torch.no_grad():
        for first in range(0, samples, batch):
            z, x, log_q = model(min(batch, samples - first), generator)
            ratios = [log_q, *(model.log_ratio(x, generator) for _ in range(encodings - 1))]
            log_q = torch.logsumexp(torch.stack(ratios), dim=0) - math.log(encodings)
            energy, volume = target(x)
            parts.append([part.numpy().astype(np.float64) for part in (z, x, energy, log_q - volume)])
    return Drawn(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def weights_of(log_weight: Float) -> Float:
    """Return weights whose mean is one: (sample,); samples without a finite energy count nothing."""
    finite = np.where(np.isfinite(log_weight), log_weight, -np.inf)
    weight = np.exp(finite - finite.max())
    return np.asarray(weight / weight.mean(), np.float64)


def effective(weight: Float) -> float:
    """Return how many samples of equal weight these are worth, as a part of them: (Σ w)² / (n Σ w²).

    Examples
    --------
    >>> effective(np.array([1.0, 1.0, 0.0, 0.0]))
    0.5
    """
    return float(weight.sum() ** 2 / (weight**2).sum() / len(weight))


def log_partition(log_weight: Float) -> tuple[float, float]:
    """Return ln Z and its standard error, that of a mean of independent weights."""
    finite = np.where(np.isfinite(log_weight), log_weight, -np.inf)
    weight = weights_of(log_weight)
    value = finite.max() + np.log(np.exp(finite - finite.max()).mean())
    return float(value), float(weight.std(ddof=1) / len(weight) ** 0.5)
