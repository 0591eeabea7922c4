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
        latent : number of latent variables that the layer is given, the first ones
        hidden : sizes of the layers of its network
        pieces : of the splines; 0 for a layer that only stretches and shifts
        """
        super().__init__()
        self.register_buffer("moved", moved)
        self.register_buffer("given", given)
        self.register_buffer("periodic", periodic[given])
        self.circular, self.pieces, self.latent = bool(periodic[moved].all()), pieces, latent
        inputs = len(given) + int(periodic[given].sum()) + latent
        bent = spline_parameters(pieces, circular=self.circular) if pieces else 0
        self.each = bent + (1 if self.circular else 2)
        self.net = network(inputs, hidden, self.each * len(moved), quiet=0.0)

    def forward(self, x: torch.Tensor, z: torch.Tensor, *, inverse: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """Move coordinates, or move them back.

        Returns
        -------
        (sample, coordinate) on the other side, and the logarithm of the volume (sample,) of moving them forth
        """
        seen = torch.cat([features(x[:, self.given], self.periodic), z[:, : self.latent]], dim=-1)
        said = self.net(seen).unflatten(-1, (len(self.moved), self.each))
        old = x[:, self.moved]
        if inverse:
            new, volume = self._bent(old, said, inverse=True)
            new, stretched = self._stretched(new, said, inverse=True)
        else:
            new, stretched = self._stretched(old, said, inverse=False)
            new, volume = self._bent(new, said, inverse=False)
        return x.index_copy(1, self.moved, new), volume + stretched

    def _stretched(self, x: torch.Tensor, said: torch.Tensor, *, inverse: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """Turn angles; stretch and shift other coordinates."""
        if self.circular:
            return wrapped(x - said[..., 0] if inverse else x + said[..., 0]), x.new_zeros(len(x))
        stretch = _STRETCH * torch.tanh(said[..., 0] / _STRETCH)
        new = (x - said[..., 1]) * (-stretch).exp() if inverse else x * stretch.exp() + said[..., 1]
        return new, stretch.sum(dim=-1)

    def _bent(self, x: torch.Tensor, said: torch.Tensor, *, inverse: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """Bend coordinates by splines, where there are any."""
        if not self.pieces:
            return x, x.new_zeros(len(x))
        reach = math.pi if self.circular else _REACH
        raw = said[..., 1:] if self.circular else said[..., 2:]
        new, slope = rational_quadratic(x, raw, reach=reach, circular=self.circular, inverse=inverse)
        return new, slope.sum(dim=-1)
