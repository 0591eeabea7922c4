"""What a model drew before, drawn again by its weight at any β: so that a training does not forget modes."""

import torch

__all__ = ["Memory", "truncated"]


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
        self.x = torch.empty(0)
        self.energy, self.log_q = torch.empty(0), torch.empty(0)

    def add(self, x: torch.Tensor, energy: torch.Tensor, log_q: torch.Tensor) -> None:
        """Take samples: coordinates (sample, coordinate), energies in kT and log densities (sample,)."""
        keep = torch.isfinite(energy) & torch.isfinite(log_q)
        new = (x[keep].detach(), energy[keep].detach(), log_q[keep].detach())
        old = (self.x.reshape(-1, x.shape[1]), self.energy, self.log_q)
        self.x, self.energy, self.log_q = (
            torch.cat([was.to(now.dtype), now])[-self.size :] for was, now in zip(old, new, strict=True)
        )

    def draw(self, beta: float, samples: int, generator: torch.Generator) -> torch.Tensor:
        """Draw with replacement, in proportion to weights at β that are truncated: (sample, coordinate)."""
        weight = truncated(-beta * self.energy - self.log_q)
        return self.x[torch.multinomial(weight, samples, replacement=True, generator=generator)]


def truncated(log_weight: torch.Tensor) -> torch.Tensor:
    """Return weights none of which is above √n times their mean: (sample,).

    Notes
    -----
    Ionides 2008, doi:10.1198/106186008X320456: the variance is finite then, and what is cut off vanishes as n grows.

    Examples
    --------
    >>> [round(value, 3) for value in truncated(torch.tensor([0.0, 0.0, 0.0, 9.0])).tolist()]
    [0.0, 0.0, 0.0, 2.0]
    """
    weight = torch.softmax(log_weight, dim=0) * len(log_weight)
    return weight.clamp(max=len(log_weight) ** 0.5)
