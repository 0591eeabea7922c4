"""Networks from force-field parameters to the potential of a bead: an ensemble with a straight line beside each."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cgstore.learn.mobility.models import Basis

__all__ = ["Network", "PotentialNetwork", "train_potentials"]

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Network:
    """How networks are built and trained."""

    hidden: int = 24
    members: int = 8
    steps: int = 200
    rate: float = 2e-2
    decay: float = 0.03
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class PotentialNetwork:
    """Trained networks; where they disagree, nobody told them."""

    basis: Basis
    middle: Float  # (parameter,)
    width: Float
    unit: float  # of the amplitudes
    weights: tuple[Float, ...]  # line (member, parameter, mode), in (member, parameter, hidden), out, and two biases

    def predict(self, x: Float) -> tuple[Float, Float]:
        """Return potentials (row, r) and how far the networks are apart, for parameters (row, parameter)."""
        line, into, out, bias, end = self.weights
        z = ((x - self.middle) / self.width)[None]
        amplitude = self.unit * (z @ line + np.tanh(z @ into + bias) @ out + end)  # (member, row, mode)
        u = np.stack([self.basis.decode(one) for one in amplitude])
        return u.mean(axis=0), u.std(axis=0, ddof=1)


def train_potentials(
    batches: Iterator[dict[str, torch.Tensor]], basis: Basis, x: Float, network: Network | None = None
) -> PotentialNetwork:
    """Train an ensemble on batches without end, of a `RowLoader` or a `PairLoader` of sets.

    Parameters
    ----------
    batches : `x` (row, parameter) and `u` (row, r), on the distances of the basis
    basis : of the potentials
    x : (set, parameter) all parameters of the training part, which say what is far
    network : how

    Notes
    -----
    The loss is the mean square of the amplitudes' errors, which is that of the potential in units of its own error.
    Members differ by their first weights and by the rows they see: each row counts for each member 0, 1, 2, … times,
    by chance (Poisson), as in a bootstrap.
    """
    how = network or Network()
    generator = torch.Generator().manual_seed(how.seed)
    middle, width = x.mean(axis=0), x.std(axis=0)
    width = np.where(width > 1e-9, width, 1.0)
    modes, names = len(basis.modes), x.shape[1]
    shapes = [(names, modes), (names, how.hidden), (how.hidden, modes), (1, how.hidden), (1, modes)]
    sizes = [0.1, 0.5 * names**-0.5, 0.5 * how.hidden**-0.5, 0.1, 0.0]
    weights = [
        (size * torch.randn(how.members, *shape, generator=generator)).requires_grad_()
        for shape, size in zip(shapes, sizes, strict=True)
    ]
    line, into, out, bias, end = weights
    curved = [{"params": [into, out], "weight_decay": how.decay}, {"params": [line, bias, end], "weight_decay": 1e-4}]
    optimiser = torch.optim.AdamW(curved, lr=how.rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, how.steps)
    unit = 0.0
    for _ in range(how.steps):
        batch = next(batches)
        amplitude = basis.encode(batch["u"].numpy().astype(np.float64))
        unit = unit or float(np.sqrt((amplitude**2).mean())) or 1.0
        z = torch.from_numpy(((batch["x"].numpy() - middle) / width).astype(np.float32))
        wanted = torch.from_numpy((amplitude / unit).astype(np.float32))
        found = z @ line + torch.tanh(z @ into + bias) @ out + end  # (member, row, mode)
        counts = torch.poisson(torch.ones(how.members, len(z), 1), generator=generator)
        loss = (counts * (found - wanted) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    arrays = tuple(weight.detach().numpy().astype(np.float64) for weight in weights)
    return PotentialNetwork(basis, middle, width, unit, arrays)
