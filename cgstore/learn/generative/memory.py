"""What a model drew before, drawn again by its weight at any β: so that a training does not forget modes."""

import torch

__all__ = ["Memory", "evened"]


class Memory:
    """The last samples of a model with their energies and densities; the oldest are forgotten.

    A sample keeps the density by which it was drawn, so that its weight exp(−βU) / q is right at every β, whatever
    became of the model since. No energy is asked for again.
    """

    def __init__(self, size: int) -> None:
        """Make an empty one.

        Parameters
        ----------
        size : samples that it holds at most
        """
        self.size = size
        self.z, self.x = torch.empty(0), torch.empty(0)
        self.energy, self.log_q = torch.empty(0), torch.empty(0)

    def add(self, z: torch.Tensor, x: torch.Tensor, energy: torch.Tensor, log_q: torch.Tensor) -> None:
        """Take samples: (sample, latent), (sample, coordinate), energies in kT and log densities (sample,)."""
        good = torch.isfinite(energy) & torch.isfinite(log_q)
        for name, values in (("z", z), ("x", x), ("energy", energy), ("log_q", log_q)):
            new = values[good].detach()
            old = getattr(self, name).reshape(-1, *new.shape[1:]).to(new.dtype)
            setattr(self, name, torch.cat([old, new])[-self.size :])

    def draw(self, beta: float, samples: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw z and x with replacement, in proportion to weights at β that are made even enough."""
        weight = evened(-beta * self.energy - self.log_q)
        drawn = torch.multinomial(weight, samples, replacement=True, generator=generator)
        return self.z[drawn], self.x[drawn]


def evened(log_weight: torch.Tensor, *, worth: float = 0.1) -> torch.Tensor:
    """Return weights w^a with mean one, a ≤ 1 the largest for which they are worth that part of the samples: (sample,).

    A few heavy samples would be all that a model learns from. With a below one, they stand for a distribution between
    the one they were drawn from and their target.

    Examples
    --------
    >>> [round(value, 2) for value in evened(torch.tensor([0.0, 0.0, 50.0]), worth=0.5).tolist()]
    [0.29, 0.29, 2.41]
    >>> [round(value, 2) for value in evened(torch.log(torch.tensor([1.0, 2.0, 3.0]))).tolist()]
    [0.5, 1.0, 1.5]
    """

    def raised(power: float) -> torch.Tensor:
        return torch.softmax(power * log_weight, dim=0)

    low, high = 0.0, 1.0
    if float(1.0 / (raised(1.0) ** 2).sum()) < worth * len(log_weight):
        for _ in range(20):
            middle = 0.5 * (low + high)
            enough = float(1.0 / (raised(middle) ** 2).sum()) >= worth * len(log_weight)
            low, high = (middle, high) if enough else (low, middle)
        return raised(low) * len(log_weight)
    return raised(1.0) * len(log_weight)
