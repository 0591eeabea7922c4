"""Training of networks that answer with a mean and its variance: an ensemble of them, all at once.

Lakshminarayanan, Pritzel and Blundell 2017, arXiv:1612.01474: several networks that differ by their beginning and by
the noise they saw; where they disagree, nobody told them.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["Heads", "train_heads"]

Float = NDArray[np.float64]
# (features (member, row, feature), answers (member, row, answer))
Batch = tuple[Float, Float]

_LEAST, _MOST = -12.0, 6.0  # of the logarithm of a variance, in units of that of the answers
_DECAY = 1e-2  # of the weights


@dataclass(frozen=True, slots=True, eq=False)
class Heads:
    """Networks with one hidden kind of layer: weights and biases, each with a first dim of members."""

    weights: tuple[Float, ...]  # each (member, in, out)
    biases: tuple[Float, ...]  # each (member, 1, out); the last ones: means, then logarithms of variances


def train_heads(
    batches: Callable[[int], Iterable[Batch]],
    *,
    sizes: tuple[int, ...],
    members: int,
    epochs: int,
    steps: int,
    rate: float,
    seed: int,
    device: str = "cpu",
) -> Iterator[tuple[float, Heads | None]]:
    """Train an ensemble; yield the mean loss of each epoch, with the last one the networks.

    Parameters
    ----------
    batches : gives the batches of an epoch, normalised
    sizes : number of features, of neurons of each layer, of answers
    members : networks
    epochs, steps : how often the data are seen, in how many batches
    rate : of Adam at the start; it falls to zero with a cosine
    seed : of the first weights
    device : "cuda" trains on a GPU

    Notes
    -----
    The loss is −ln of a normal density, ½ Σ (ln s² + (y − m)²/s²), with m and ln s² answered by the network.
    """
    generator = torch.Generator().manual_seed(seed)
    shapes = [*pairwise(sizes[:-1]), (sizes[-2], 2 * sizes[-1])]
    weights = [
        (torch.randn(members, a, b, generator=generator) * (1.0 / a) ** 0.5).to(device).requires_grad_()
        for a, b in shapes
    ]
    biases = [torch.zeros(members, 1, b, device=device, requires_grad=True) for _, b in shapes]
    optimiser = torch.optim.AdamW([*weights, *biases], lr=rate, weight_decay=_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs * steps)
    for epoch in range(epochs):
        losses = []
        for features, answers in batches(epoch):
            x = torch.from_numpy(np.asarray(features, np.float32)).to(device)
            y = torch.from_numpy(np.asarray(answers, np.float32)).to(device)
            loss = _loss(_forward(x, weights, biases), y)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_([*weights, *biases], 10.0)
            optimiser.step()
            schedule.step()
            losses.append(float(loss.detach()))
        done = _heads(weights, biases) if epoch == epochs - 1 else None
        yield float(np.mean(losses)), done


def _forward(x: torch.Tensor, weights: list[torch.Tensor], biases: list[torch.Tensor]) -> torch.Tensor:
    """Return the answers (member, row, 2 answers)."""
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        x = torch.nn.functional.silu(torch.baddbmm(bias, x, weight))
    return torch.baddbmm(biases[-1], x, weights[-1])


def _loss(answers: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Return the mean of −ln of the density, of every member for itself."""
    mean, log_variance = answers.chunk(2, dim=-1)
    log_variance = log_variance.clamp(_LEAST, _MOST)
    return 0.5 * (log_variance + (truth - mean) ** 2 * torch.exp(-log_variance)).mean()


def _heads(weights: list[torch.Tensor], biases: list[torch.Tensor]) -> Heads:
    """Return the parameters as arrays."""
    arrays = [[p.detach().cpu().numpy().astype(np.float64) for p in row] for row in (weights, biases)]
    return Heads(tuple(arrays[0]), tuple(arrays[1]))
