"""Coupling layers: some coordinates are moved by what the others and the latent variables say; always invertible."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch

from cgstore.learn.generative.splines import rational_quadratic, spline_parameters

__all__ = ["Coupling", "features", "network", "wrapped"]

_REACH = 8.0  # of splines of coordinates that are no angles, in their units: widths at the target temperature or so
_STRETCH = 2.0  # a layer scales by e^−2 to e² at most


def wrapped(angle: torch.Tensor) -> torch.Tensor:
    """Return angles in [−π, π)."""
    return torch.remainder(angle + math.pi, 2.0 * math.pi) - math.pi


def features(x: torch.Tensor, periodic: torch.Tensor) -> torch.Tensor:
    """Return what networks see of coordinates: cosine and sine of angles, the others as they are.

    Parameters
    ----------
    x : (…, coordinate)
    periodic : (coordinate,) whether it is an angle in radians
    """
    angle = x[..., periodic]
    return torch.cat([torch.cos(angle), torch.sin(angle), x[..., ~periodic]], dim=-1)


def network(inputs: int, hidden: Sequence[int], outputs: int, *, quiet: float) -> torch.nn.Sequential:
    """Return a network with smooth layers, the weights of its last one scaled by `quiet`."""
    sizes = [inputs, *hidden]
    layers: list[torch.nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [torch.nn.Linear(before, after), torch.nn.SiLU()]
    last = torch.nn.Linear(sizes[-1], outputs)
    with torch.no_grad():
        last.weight.mul_(quiet)
        last.bias.zero_()
    return torch.nn.Sequential(*layers, last)


class Coupling(torch.nn.Module):
    """One layer: coordinates `moved`, all angles or none, by splines or affinely, given others; first the identity."""

    moved: torch.Tensor
    given: torch.Tensor
    periodic: torch.Tensor

    def __init__(
        self,
        moved: torch.Tensor,
        given: torch.Tensor,
        periodic: torch.Tensor,
        *,
        latent: int,
        hidden: Sequence[int],
        pieces: int,
    ) -> None:
        """Make a layer.

        Parameters
        ----------
        moved, given : numbers of coordinates, disjoint
        periodic : (coordinate,) whether it is an angle
        latent : number of latent variables, which every layer is given
        hidden : sizes of the layers of its network
        pieces : of the splines; 0 for a layer that only stretches and shifts
        """
        super().__init__()
        self.register_buffer("moved", moved)
        self.register_buffer("given", given)
        self.register_buffer("periodic", periodic[given])
        self.circular, self.pieces = bool(periodic[moved].all()), pieces
        inputs = len(given) + int(periodic[given].sum()) + latent
        bent = spline_parameters(pieces, circular=self.circular) if pieces else 0
        self.each = bent + (1 if self.circular else 2)
        self.net = network(inputs, hidden, self.each * len(moved), quiet=0.0)

    def forward(self, x: torch.Tensor, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return moved coordinates and the logarithm of the volume: (sample, coordinate), (sample,)."""
        seen = torch.cat([features(x[:, self.given], self.periodic), z], dim=-1)
        said = self.net(seen).unflatten(-1, (len(self.moved), self.each))
        old, volume = x[:, self.moved], x.new_zeros(len(x))
        if self.circular:
            new = wrapped(old + said[..., 0])
        else:
            stretch = _STRETCH * torch.tanh(said[..., 0] / _STRETCH)
            new, volume = old * stretch.exp() + said[..., 1], stretch.sum(dim=-1)
        if self.pieces:
            reach = math.pi if self.circular else _REACH
            raw = said[..., 1:] if self.circular else said[..., 2:]
            new, slope = rational_quadratic(new, raw, reach=reach, circular=self.circular)
            volume = volume + slope.sum(dim=-1)
        return x.index_copy(1, self.moved, new), volume
