"""The network potential: a sum over pairs of prior(r) + fc(r) · network(r), known exactly by its values at table nodes.

A pair potential needs its network at the nodes of a table only, a few hundred points, never at the pairs of a frame:
what a frame contributes, `describe`, does not depend on the parameters and is computed once.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations_with_replacement, pairwise

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from cgstore.box import heights
from cgstore.errors import InputError, PhysicsError
from cgstore.kernels.nodes import node_weights
from cgstore.tables import Table
from cgstore.units import BOLTZMANN

__all__ = ["Begun", "PairNetwork", "Prior", "pair_names", "pair_weights", "prior_of", "tanh_layers"]


_EXPONENTS = (6.0, 24.0)  # from soft beads to hard ones
_CORE = 10.0  # kJ/mol


@dataclass(frozen=True, slots=True)
class Prior:
    """The fixed repulsion strength · (core / r)^exponent, continued as a straight line below `core`."""

    core: float  # nm
    strength: float  # kJ/mol, the energy at the core
    exponent: float

    def energy(self, r: torch.Tensor) -> torch.Tensor:
        """Return the energy in kJ/mol at distances in nm."""
        outside = r.clamp(min=self.core)
        return self.strength * ((self.core / outside) ** self.exponent + self.exponent * (outside - r) / self.core)

    def ended(self, r: torch.Tensor, cutoff: float) -> torch.Tensor:
        """Return the energy in kJ/mol, brought to zero at the cutoff."""
        return self.energy(r) * _end(r, cutoff)


@dataclass(frozen=True, slots=True, eq=False)
class Begun:
    """A table that a network begins as, and corrects; it ends by itself."""

    table: Table

    @property
    def core(self) -> float:
        """Return the distance in nm below which the table is higher than 10 kJ/mol; zero if it never is."""
        high = np.flatnonzero(self.table.energy > _CORE)
        return float(self.table.r[high[-1]]) if len(high) else 0.0

    def ended(self, r: torch.Tensor, cutoff: float) -> torch.Tensor:
        """Return the energy in kJ/mol at distances in nm: the cubic of the table."""
        h = self.table.spacing
        energy, force = torch.from_numpy(self.table.energy), torch.from_numpy(self.table.force)
        n = (r.detach() / h).long().clamp(0, len(energy) - 2)
        t = r / h - n
        low, high, left, right = energy[n], energy[n + 1], -h * force[n], -h * force[n + 1]
        square, cube = 3.0 * (high - low) - 2.0 * left - right, 2.0 * (low - high) + left + right
        return torch.where(r < self.table.cutoff, low + t * (left + t * (square + t * cube)), 0.0)


def prior_of(g: ArrayLike, r: ArrayLike, temperature: float) -> Prior:
    """Return the repulsion that the core of a pair distribution shows: a power law through two points of -kT ln g.

    Parameters
    ----------
    g, r : (bin,) pair distribution and centres of the bins in nm
    temperature : K

    Raises
    ------
    PhysicsError : g does not rise from (nearly) nothing, so there is no core to see

    Examples
    --------
    >>> r = np.linspace(0.2, 1.0, 801)
    >>> round(prior_of(np.exp(-((0.4 / r) ** 12)), r, temperature=1 / 0.008314462618).exponent, 2)
    12.0
    """
    g, r = np.asarray(g, np.float64), np.asarray(r, np.float64)
    rise = int(np.argmax(g >= 0.9))
    # Below 1 % the bins hold a handful of counts.
    flank = np.flatnonzero((g > 0.01) & (np.arange(len(g)) < rise))
    if not (len(flank) and g[0] < 0.1):
        raise PhysicsError("no repulsive core: found no rise of g from below 0.1 to 0.9; look at the distribution")
    energy = -BOLTZMANN * temperature * np.log(g[flank])
    slope = np.polyfit(np.log(r[flank]), np.log(energy), 1)[0] if len(flank) > 1 else -12.0
    exponent = float(np.clip(-slope, *_EXPONENTS))
    return Prior(core=float(r[flank[0]]), strength=float(energy[0]), exponent=exponent)


def pair_names(types: Sequence[str]) -> tuple[str, ...]:
    """Return the pairs of types, `"A-B"` in alphabetical order.

    >>> pair_names(["B", "A"])
    ('A-A', 'A-B', 'B-B')
    """
    return tuple("-".join(pair) for pair in combinations_with_replacement(sorted(types), 2))


class PairNetwork(torch.nn.Module):
    """A pair potential U(r) = prior(r) + fc(r) · network(r), one output of the network per pair of types.

    In the place of a prior may be a table that it begins as. The network sees r through Gaussians between the core and
    the cutoff and is constant below the core; fc = (1 − (r / cutoff)²)² brings energy and force to zero at the cutoff.
    Parameters are float64.

    Parameters
    ----------
    types : the types of particles
    cutoff, spacing : nm; the cutoff is a whole number of spacings
    priors : the repulsion of each pair, `"A-B"`, or the table that it begins as
    features : Gaussians
    hidden : width of each hidden layer
    seed : of the initial weights

    Raises
    ------
    InputError : the cutoff does not fit the spacing, or a pair has no prior
    """

    r: torch.Tensor  # (node,) nm
    centre: torch.Tensor  # (feature,) nm
    _fixed: torch.Tensor  # (pair, node) kJ/mol, the prior with its cutoff
    _basis: torch.Tensor  # (node, feature), with the cutoff function

    def __init__(
        self,
        types: Sequence[str],
        *,
        cutoff: float,
        priors: Mapping[str, Prior | Begun],
        spacing: float = 0.002,
        features: int = 24,
        hidden: Sequence[int] = (32, 32),
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.types, self.pairs = tuple(sorted(set(types))), pair_names(sorted(set(types)))
        self.cutoff, self.spacing = cutoff, spacing
        nodes = round(cutoff / spacing) + 1
        if abs((nodes - 1) * spacing - cutoff) > 1e-9:
            raise InputError(f"cutoff {cutoff:g} nm is not a whole number of spacings of {spacing:g} nm")
        if missing := [pair for pair in self.pairs if pair not in priors]:
            raise InputError(f"no prior for the pairs {', '.join(missing)}")
        self._priors = [priors[pair] for pair in self.pairs]
        self._core = min(prior.core for prior in self._priors)
        self.register_buffer("r", torch.arange(nodes, dtype=torch.float64) * spacing)
        self.register_buffer("centre", torch.linspace(self._core, cutoff, features, dtype=torch.float64))
        widths = [features, *hidden, len(self.pairs)]
        self.network = tanh_layers(widths, torch.Generator().manual_seed(seed))
        self.register_buffer("_fixed", self._prior(self.r))
        self.register_buffer("_basis", self._features(self.r))

    def _prior(self, r: torch.Tensor) -> torch.Tensor:
        """Return the priors (pair, distance) in kJ/mol."""
        return torch.stack([prior.ended(r, self.cutoff) for prior in self._priors])

    def _features(self, r: torch.Tensor) -> torch.Tensor:
        """Return what the network sees of distances, (distance, feature)."""
        width = self.centre[1] - self.centre[0]
        return torch.exp(-0.5 * ((r.clamp(min=self._core)[:, None] - self.centre) / width) ** 2)

    def energy_at(self, r: torch.Tensor) -> torch.Tensor:
        """Return the energy (pair, distance) in kJ/mol at distances (distance,) in nm."""
        outputs: torch.Tensor = self.network(self._features(r))
        return self._prior(r) + _end(r, self.cutoff) * outputs.T

    def node_energy(self) -> torch.Tensor:
        """Return the energy (pair, node) in kJ/mol at the nodes of the table."""
        outputs: torch.Tensor = self.network(self._basis)
        return self._fixed + _end(self.r, self.cutoff) * outputs.T

    def describe(self, position: ArrayLike, box: ArrayLike, types: Sequence[str]) -> torch.Tensor:
        """Return what frames contribute to each node, (frame, pair, node); it does not depend on the parameters.

        Parameters
        ----------
        position : (frame, particle, xyz) nm
        box : (frame, box_vector, xyz) nm
        types : (particle,)

        Raises
        ------
        PhysicsError : the cutoff is beyond half the smallest box height
        """
        weight, _ = pair_weights(position, box, types, known=self.types, spacing=self.spacing, nodes=len(self.r))
        return torch.from_numpy(weight)

    def forward(self, described: torch.Tensor) -> torch.Tensor:
        """Return the energy of frames (frame,) in kJ/mol from what `describe` gave."""
        return torch.einsum("fpn,pn->f", described, self.node_energy())

    def energy(self, described: torch.Tensor) -> torch.Tensor:
        """Return the energy of frames (frame,) in kJ/mol from what `describe` gave."""
        return self.forward(described)

    def energy_of(self, position: ArrayLike, box: ArrayLike, types: Sequence[str]) -> torch.Tensor:
        """Return the energy of frames (frame,) in kJ/mol."""
        return self.energy(self.describe(position, box, types))

    def tables(self) -> dict[str, Table]:
        """Return the potential of each pair as a table; the forces are derivatives of the network, not differences."""
        r = self.r.clone().requires_grad_(True)
        energy = self.energy_at(r)
        tables = {}
        for pair, row in zip(self.pairs, energy, strict=True):
            (slope,) = torch.autograd.grad(row.sum(), r, retain_graph=True)
            tables[pair] = Table(self.r.numpy().copy(), row.detach().numpy().copy(), -slope.numpy())
        return tables


def _end(r: torch.Tensor, cutoff: float) -> torch.Tensor:
    """Return the function that ends potentials, (1 − (r / cutoff)²)²."""
    return (1 - (r / cutoff).clamp(max=1.0) ** 2) ** 2


def tanh_layers(widths: Sequence[int], generator: torch.Generator) -> torch.nn.Sequential:
    """Return a tanh network in float64 with layers of these widths; the last layer begins near zero."""
    layers: list[torch.nn.Module] = []
    for number, (before, after) in enumerate(pairwise(widths)):
        layer = torch.nn.Linear(before, after, dtype=torch.float64)
        last = number == len(widths) - 2
        with torch.no_grad():
            layer.weight.normal_(0.0, (0.1 if last else 1.0) / before**0.5, generator=generator)
            layer.bias.zero_()
        layers += [layer] if last else [layer, torch.nn.Tanh()]
    return torch.nn.Sequential(*layers)


def pair_weights(
    position: ArrayLike,
    box: ArrayLike,
    types: Sequence[str],
    *,
    known: Sequence[str],
    spacing: float,
    nodes: int,
    width: float = 1.0,
    bins: int = 0,
    first: float = 0.0,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the weight of every node (frame, pair, node) and the count in every bin (frame, pair, bin) of frames.

    Parameters
    ----------
    position, box : (frame, particle, xyz) and (frame, box_vector, xyz) nm
    types : (particle,)
    known : the types in the order of the pairs
    spacing, nodes, width, bins, first : nodes at n * spacing, bins first + [b, b + 1) * width in nm

    Raises
    ------
    InputError : a type is not known
    PhysicsError : the last node or bin is beyond half the smallest box height
    """
    boxes = np.ascontiguousarray(box, np.float64)
    farthest, half = max((nodes - 1) * spacing, first + bins * width), 0.5 * float(heights(boxes).min())
    if farthest > half * (1.0 + 1e-6):
        raise PhysicsError(f"distances up to {farthest:g} nm are beyond half the smallest box height, {half:.4g} nm")
    if strange := sorted(set(types) - set(known)):
        raise InputError(f"the potential knows the types {', '.join(known)}, not {', '.join(strange)}")
    order = list(known)
    kind = np.array([order.index(name) for name in types], np.int64)
    names = pair_names(order)
    pair = np.array([[names.index("-".join(sorted((a, b)))) for b in order] for a in order], np.int64)
    frames = np.ascontiguousarray(position, np.float32)
    cut = len(frames) // 2
    with ThreadPoolExecutor(2) as pool:
        halves = pool.map(
            lambda part: node_weights(
                frames[part], boxes[part], kind, pair, spacing, nodes, width, bins, len(names), first
            ),
            (slice(None, cut), slice(cut, None)),
        )
        weights, counts = zip(*halves, strict=True)
    return np.concatenate(weights), np.concatenate(counts)
