"""Descriptors with their derivatives written out, not differentiated: what torch.export writes has no gradients.

Each function is told in `cgstore.learn.descriptors` and `cgstore.learn.angular`; derivatives of angular ones go back
through the moments, and through the products that monomials are made by.
"""

from typing import NamedTuple

import torch

from cgstore.kernels.angular import monomials
from cgstore.learn.angular import Angular

__all__ = ["AngularSlopes", "Seen", "bells"]


def bells(r: torch.Tensor, eta: torch.Tensor, shift: torch.Tensor, cutoff: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return exp(−η (r − r_s)²) · ½ (cos(π r / cutoff) + 1), (pair, function), and their slopes; r (pair,) nm."""
    x, away = torch.pi / cutoff * r[:, None], r[:, None] - shift
    cut, steep = 0.5 * (torch.cos(x) + 1.0), -0.5 * torch.pi / cutoff * torch.sin(x)
    bell = torch.exp(-eta * away**2)
    return bell * cut, bell * (steep - 2.0 * eta * away * cut)


class Seen(NamedTuple):
    """Pairs within the cutoff of angular functions, and the moments of their particles."""

    place: torch.Tensor  # (pair,) first particle · types + type of the second
    r: torch.Tensor  # (pair,) nm
    unit: torch.Tensor  # (pair, xyz)
    value: torch.Tensor  # (pair, part) f
    rise: torch.Tensor  # (pair, part)
    power: list[torch.Tensor]  # monomials of the unit vectors, (pair,) each
    moment: torch.Tensor  # (particle, type, part, monomial)


class AngularSlopes(torch.nn.Module):
    """Angular functions and what they add to the derivatives by vectors; every tensor is float64.

    Parameters
    ----------
    angular : the functions
    types : how many
    """

    eta: torch.Tensor
    shift: torch.Tensor
    factor: torch.Tensor  # (function, monomial)
    straight: torch.Tensor  # (function,)

    def __init__(self, angular: Angular, types: int) -> None:
        super().__init__()
        known, series = monomials(max(angular.powers)), torch.from_numpy(angular.series())
        self.cutoff, self.types = angular.radial.cutoff, types
        self.parent, self.axis = known.parent.tolist(), known.axis.tolist()
        self.register_buffer("eta", torch.tensor(angular.radial.eta, dtype=torch.float64))
        self.register_buffer("shift", torch.tensor(angular.radial.shift, dtype=torch.float64))
        self.register_buffer("factor", series[:, torch.from_numpy(known.degree)] * torch.from_numpy(known.weight))
        self.register_buffer("straight", series.sum(1))

    def forward(self, vector: torch.Tensor, place: torch.Tensor, particles: int) -> tuple[torch.Tensor, Seen]:
        """Return the functions (particle, function) of particles with neighbours at vectors (pair, xyz) nm."""
        r = torch.sqrt((vector**2).sum(-1))
        unit, (value, rise) = vector / r[:, None], bells(r, self.eta, self.shift, self.cutoff)
        power = [torch.ones_like(r)]
        for parent, axis in zip(self.parent[1:], self.axis[1:], strict=True):
            power.append(power[parent] * unit[:, axis])
        terms = value[:, :, None] * torch.stack(power, dim=1)[:, None]
        rows, shape = particles * self.types, (particles, self.types, value.shape[1])
        moment = value.new_zeros(rows, *terms.shape[1:]).index_add(0, place, terms).reshape(*shape, -1)
        square = value.new_zeros(rows, value.shape[1]).index_add(0, place, value**2).reshape(shape)
        found = []
        for a in range(self.types):
            for b in range(a, self.types):
                both = (moment[:, a] * moment[:, b]) @ self.factor.T  # (particle, part, function)
                found.append(0.5 * (both - square[:, a, :, None] * self.straight) if a == b else both)
        functions = torch.cat([one.reshape(particles, -1) for one in found], dim=1)
        return functions, Seen(place, r, unit, value, rise, power, moment)

    def pull(self, gradient: torch.Tensor, seen: Seen) -> torch.Tensor:
        """Return the derivatives by the vectors (pair, xyz) from those by the functions (particle, function)."""
        slope, bare = self._by_moments(gradient, seen.moment)
        weight = slope.flatten(0, 1)[seen.place]  # (pair, part, monomial)
        power = torch.stack(seen.power, dim=1)
        total = (weight * power[:, None]).sum(-1) + 2.0 * bare.flatten(0, 1)[seen.place] * seen.value
        along = (seen.rise * total).sum(-1)
        back = list((weight * seen.value[:, :, None]).sum(1).unbind(1))
        across = [torch.zeros_like(along) for _ in range(3)]
        for c in range(len(back) - 1, 0, -1):
            before, x = self.parent[c], self.axis[c]
            across[x] = across[x] + back[c] * seen.power[before]
            back[before] = back[before] + back[c] * seen.unit[:, x]
        turn = torch.stack(across, dim=1)
        turn = turn - (turn * seen.unit).sum(-1, keepdim=True) * seen.unit
        return along[:, None] * seen.unit + turn / seen.r[:, None]

    def _by_moments(self, gradient: torch.Tensor, moment: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the derivatives by moments, and by the sums of f² (particle, type, part)."""
        pairs = self.types * (self.types + 1) // 2
        rows = gradient.reshape(len(moment), pairs, moment.shape[2], -1)  # (particle, pair of types, part, function)
        slope: list[torch.Tensor] = [torch.zeros_like(moment[:, 0]) for _ in range(self.types)]
        bare, number = [], 0
        for a in range(self.types):
            for b in range(a, self.types):
                back = (0.5 if a == b else 1.0) * rows[:, number] @ self.factor
                slope[a] = slope[a] + back * moment[:, b]
                slope[b] = slope[b] + back * moment[:, a]
                if a == b:
                    bare.append(-0.5 * rows[:, number] @ self.straight)
                number += 1
        return torch.stack(slope, dim=1), torch.stack(bare, dim=1)
