"""Network potentials of atoms: E = Σ_i NN_type(i)(G_i) + pairs of a fixed prior, one network per type of particles.

Behler & Parrinello 2007, doi:10.1103/PhysRevLett.98.146401; trained on canonical averages by Ivanov, Posysoev &
Lyubartsev 2023, doi:10.1021/acs.jctc.3c00516. Descriptors do not depend on the parameters: a training computes them
once per frame. Here is the reference, in float64 and with gradients; samplers get the fused kernel of
`cgstore.kernels.atomic`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from cgstore.box import heights
from cgstore.errors import InputError, PhysicsError
from cgstore.kernels.atomic import BATCH, Network, atomic_descriptors
from cgstore.kernels.atomic_pairs import Kinds
from cgstore.kernels.forces_pairs import PairTables
from cgstore.learn.angular import Angular, angles_of
from cgstore.learn.descriptors import Radial, Scaling
from cgstore.learn.interactions import Interaction
from cgstore.learn.kernel_tables import pair_tables
from cgstore.learn.potential import Prior, pair_names, tanh_layers
from cgstore.tables import Table
from cgstore.topology import Topology

__all__ = ["AtomicNetwork", "Described"]

Float = NDArray[np.float64]
_SPACING = 0.001  # nm, of the tables of the prior


class Described(NamedTuple):
    """What frames are to a network: nothing of it depends on the parameters."""

    descriptor: torch.Tensor  # (frame, particle, descriptor), scaled
    prior: torch.Tensor  # (frame,) kJ/mol
    kind: torch.Tensor  # (particle,)
    told: torch.Tensor  # (input,), scaled

    def part(self, frames: slice) -> "Described":
        """Return some of the frames."""
        return Described(self.descriptor[frames], self.prior[frames], self.kind, self.told)


class AtomicNetwork(torch.nn.Module):
    """An energy of each particle in its surroundings, by a tanh network per type; parameters are float64.

    Parameters
    ----------
    types : the types of particles
    radial : the descriptors; those of type i are of each type of neighbours in turn
    angular : more of them, of each pair of types of neighbours; their cutoff is not beyond that of the radial ones
    scaling : mean and spread of the descriptors
    priors : the repulsion of each pair, `"A-B"`; it ends at the cutoff by (1 − (r / cutoff)²)²
    hidden : width of each hidden layer; none for a linear network, with radial functions alone a sum over pairs
    told : what the networks are told of a system besides, with its mean and spread: `{"temperature": (300.0, 50.0)}`
    seed : of the initial weights

    Raises
    ------
    InputError : a pair has no prior, the scaling is of other descriptors, or angles are seen beyond the cutoff
    """

    mean: torch.Tensor  # (type, descriptor)
    spread: torch.Tensor  # (type, descriptor)

    def __init__(
        self,
        types: Sequence[str],
        *,
        radial: Radial,
        angular: Angular | None = None,
        scaling: Scaling | None = None,
        priors: Mapping[str, Prior],
        hidden: Sequence[int] = (20, 20),
        told: Mapping[str, tuple[float, float]] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.types, self.pairs = tuple(sorted(set(types))), pair_names(sorted(set(types)))
        self.radial, self.cutoff, self.told = radial, radial.cutoff, dict(told or {})
        self.angular, self.hidden = angular, tuple(hidden)
        if angular is not None and angular.radial.cutoff > self.cutoff:
            raise InputError(
                f"found angular functions up to {angular.radial.cutoff:g} nm, expected no more than the cutoff, "
                f"{self.cutoff:g} nm"
            )
        if missing := [pair for pair in self.pairs if pair not in priors]:
            raise InputError(f"no prior for the pairs {', '.join(missing)}")
        self.priors = {pair: priors[pair] for pair in self.pairs}
        count = len(self.types) * len(radial.eta) + self._angles()
        shape = (len(self.types), count)
        mean, spread = (np.zeros(shape), np.ones(shape)) if scaling is None else scaling
        if mean.shape != shape or spread.shape != shape:
            raise InputError(f"found a scaling of shape {mean.shape} and {spread.shape}, expected {shape}")
        self.register_buffer("mean", torch.as_tensor(mean, dtype=torch.float64))
        self.register_buffer("spread", torch.as_tensor(spread, dtype=torch.float64))
        generator = torch.Generator().manual_seed(seed)
        self.networks = torch.nn.ModuleList(
            tanh_layers([count + len(self.told), *hidden, 1], generator) for _ in self.types
        )

    def forward(self, described: Described) -> torch.Tensor:
        """Return the energy of frames (frame,) in kJ/mol from what `describe` gave."""
        return described.prior + self.particle_energy(described).sum(dim=1)

    def particle_energy(self, described: Described) -> torch.Tensor:
        """Return what the networks give for each particle (frame, particle) in kJ/mol, without the prior."""
        energy = described.descriptor.new_zeros(described.descriptor.shape[:2])
        for number, network in enumerate(self.networks):
            mine = torch.nonzero(described.kind == number)[:, 0]
            x = described.descriptor[:, mine]
            told = described.told.expand(*x.shape[:2], -1)
            energy = energy.index_copy(1, mine, network(torch.cat([x, told], dim=-1))[..., 0])
        return energy

    def describe(
        self, position: ArrayLike, box: ArrayLike, types: Sequence[str], inputs: Mapping[str, float] | None = None
    ) -> Described:
        """Return what frames are to the network, by the kernel: right to float32.

        Parameters
        ----------
        position, box : (frame, particle, xyz) and (frame, box_vector, xyz) nm
        types : (particle,)
        inputs : what the network is told of the system

        Raises
        ------
        PhysicsError : the cutoff is beyond half the smallest box height
        InputError : a type is not known, or an input is missing
        """
        boxes = np.ascontiguousarray(box, np.float64)
        half = 0.5 * float(heights(boxes).min())
        if self.cutoff > half * (1.0 + 1e-6):
            raise PhysicsError(
                f"the cutoff of {self.cutoff:g} nm is beyond half the smallest box height, {half:.4g} nm"
            )
        kind = self._kinds(types)
        silent = self._arrays(kind, self._told(inputs), silent=True)
        frames = np.ascontiguousarray(position, np.float64)
        found = [atomic_descriptors(silent, x, b) for x, b in zip(frames, boxes, strict=True)]
        kinds = torch.from_numpy(kind.astype(np.int64))
        raw = torch.from_numpy(np.array([descriptor for descriptor, _ in found], np.float64))
        prior = torch.tensor([energy for _, energy in found], dtype=torch.float64)
        return Described((raw - self.mean[kinds]) / self.spread[kinds], prior, kinds, self._told(inputs))

    def energy_at(
        self,
        position: torch.Tensor,
        box: torch.Tensor,
        types: Sequence[str],
        inputs: Mapping[str, float] | None = None,
    ) -> torch.Tensor:
        """Return the energy in kJ/mol of positions (particle, xyz) in a box, differentiable; for small systems.

        Parameters
        ----------
        position, box : nm, float64; the cutoff must not be beyond half the smallest box height
        types, inputs : as in `describe`
        """
        kind = torch.from_numpy(self._kinds(types).astype(np.int64))
        delta = position[:, None] - position[None]
        delta = delta - torch.round(delta @ torch.linalg.inv(box)) @ box
        near = ((delta**2).sum(-1) < self.cutoff**2) & ~torch.eye(len(kind), dtype=torch.bool)
        first, second = torch.nonzero(near, as_tuple=True)  # each pair both ways
        vector = delta[first, second]
        r = vector.norm(dim=-1)
        descriptor = (self._descriptors(vector, r, first, kind[second], len(kind)) - self.mean[kind]) / self.spread[
            kind
        ]
        table = torch.stack([self._prior(pair, r) for pair in self.pairs])  # (prior, pair)
        names = [["-".join(sorted((a, b))) for b in self.types] for a in self.types]
        numbers = torch.tensor([[self.pairs.index(name) for name in row] for row in names])
        prior = 0.5 * table.gather(0, numbers[kind[first], kind[second]][None]).sum()
        energy: torch.Tensor = self(Described(descriptor[None], prior[None], kind, self._told(inputs)))
        return energy[0]

    def under(self, inputs: Mapping[str, float]) -> "Told":
        """Return the potential of systems of which the network is told this; `sample` takes it."""
        self._told(inputs)
        return Told(self, dict(inputs))

    def interaction(self, topology: Topology) -> Interaction:
        """Return the potential for these particles, for the kernels of the sampler; the parameters are copied."""
        return self.under({}).interaction(topology)

    def pair_part(self) -> dict[str, Table]:
        """Return the energy of two particles alone, beyond that of each by itself: what a table can show of a network.

        Systems of which the network is told something are taken as the mean of all. In a liquid this is not the
        potential: the network sees all neighbours together.
        """
        r = self._nodes().requires_grad_(True)
        value, nothing = self.radial.values(r), torch.zeros(len(r), len(self.radial.eta), dtype=torch.float64)
        no_angles = torch.zeros(len(r), self._angles(), dtype=torch.float64)
        tables = {}
        for a, b in (pair.split("-") for pair in self.pairs):
            kind = torch.tensor([self.types.index(a), self.types.index(b)])
            both = [[value if t == other else nothing for t in self.types] for other in (b, a)]
            near = torch.stack([torch.cat([*row, no_angles], dim=1) for row in both], dim=1)  # (node, particle, …)
            told = torch.zeros(len(self.told), dtype=torch.float64)
            together, alone = (
                self.particle_energy(
                    Described((x - self.mean[kind]) / self.spread[kind], torch.zeros(len(r)), kind, told)
                ).sum(1)
                for x in (near, torch.zeros_like(near))
            )
            energy = together - alone + self._prior(f"{a}-{b}", r)
            (slope,) = torch.autograd.grad(energy.sum(), r, retain_graph=True)
            rows = np.stack([energy.detach().numpy(), -slope.numpy()])
            rows[:, -1] = 0.0  # up to rounding they are
            tables[f"{a}-{b}"] = Table(r.detach().numpy().copy(), *rows)
        return tables

    def _descriptors(
        self, vector: torch.Tensor, r: torch.Tensor, first: torch.Tensor, second: torch.Tensor, particles: int
    ) -> torch.Tensor:
        """Return the descriptors (particle, descriptor), not scaled, of pairs each both ways; `second` is a type."""
        value, types = self.radial.values(r), len(self.types)
        sums = value.new_zeros(particles * types, value.shape[1]).index_add(0, first * types + second, value)
        radial = sums.reshape(particles, -1)
        if self.angular is None:
            return radial
        near = r < self.angular.radial.cutoff
        return torch.cat([radial, self.angular.values(vector[near], first[near], second[near], particles, types)], 1)

    def prior_at(self, pair: str, r: Float) -> Float:
        """Return the prior of a pair in kJ/mol at distances in nm."""
        return np.asarray(self._prior(pair, torch.as_tensor(r, dtype=torch.float64)).numpy())

    def _angles(self) -> int:
        """Return how many descriptors are of angles."""
        return 0 if self.angular is None else self.angular.count(len(self.types))

    def _nodes(self) -> torch.Tensor:
        """Return the nodes of tables in nm, from zero to the cutoff."""
        return torch.linspace(0.0, self.cutoff, round(self.cutoff / _SPACING) + 1, dtype=torch.float64)

    def _prior(self, pair: str, r: torch.Tensor) -> torch.Tensor:
        """Return the prior of a pair with its cutoff."""
        cut = (1 - (r / self.cutoff).clamp(max=1.0) ** 2) ** 2
        return self.priors[pair].energy(r) * cut

    def _kinds(self, types: Sequence[str]) -> NDArray[np.uint32]:
        """Return the number of the type of each particle."""
        if strange := sorted(set(map(str, types)) - set(self.types)):
            raise InputError(f"the potential knows the types {', '.join(self.types)}, not {', '.join(strange)}")
        return np.array([self.types.index(str(name)) for name in types], np.uint32)

    def _told(self, inputs: Mapping[str, float] | None) -> torch.Tensor:
        """Return what the network is told, scaled."""
        given = inputs or {}
        if missing := sorted(set(self.told) - set(given)):
            raise InputError(f"the network must be told {', '.join(missing)}")
        return torch.tensor([(given[k] - m) / s for k, (m, s) in self.told.items()], dtype=torch.float64)

    def _pair_tables(self, kind: NDArray[np.uint32]) -> PairTables:
        """Return the priors as the kernels want them."""
        r = self._nodes()
        r.requires_grad_(True)
        tables = {}
        for pair in self.pairs:
            energy = self._prior(pair, r)
            (slope,) = torch.autograd.grad(energy.sum(), r)
            tables[pair] = Table(r.detach().numpy().copy(), energy.detach().numpy(), -slope.numpy())
        return pair_tables(tables, np.repeat(self.types, 2))._replace(kind=kind)

    def _arrays(self, kind: NDArray[np.uint32], told: torch.Tensor, *, silent: bool = False) -> Network:
        """Return the network as the kernel wants it; a silent one gives the energy of the pairs only."""
        weights, turned, biases = [], [], []
        for number, network in enumerate(self.networks):
            layers = [layer for layer in network.children() if isinstance(layer, torch.nn.Linear)]
            matrices = [layer.weight.detach().clone() for layer in layers]
            rows = [layer.bias.detach().clone() for layer in layers]
            descriptors = self.mean.shape[1]
            rows[0] += matrices[0][:, descriptors:] @ told
            matrices[0] = matrices[0][:, :descriptors] / self.spread[number]
            rows[0] -= matrices[0] @ self.mean[number]
            if silent:
                matrices[-1], rows[-1] = torch.zeros_like(matrices[-1]), torch.zeros_like(rows[-1])
            weights.append(_joined(matrices))
            turned.append(_joined([matrix.T for matrix in matrices]))
            biases.append(_joined(rows))
        order = np.argsort(kind, kind="stable")
        rank = np.empty(len(kind), np.uint32)
        rank[order] = np.arange(len(kind))
        pairs = self._pair_tables(kind)
        return Network(
            kinds=Kinds(kind, order.astype(np.uint32), rank, len(self.types)),
            batch=_batches(kind[order]),
            eta=np.array(self.radial.eta, np.float32),
            shift=np.array(self.radial.shift, np.float32),
            angles=angles_of(self.angular),
            width=np.array([self.mean.shape[1], *(len(row) for row in rows)], np.int64),
            weight=np.stack(weights),
            turned=np.stack(turned),
            bias=np.stack(biases),
            pair=pairs.table,
            cutoff=pairs.cutoff,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """A network that is told something of a system: a model that can be sampled."""

    network: AtomicNetwork
    inputs: dict[str, float]

    def interaction(self, topology: Topology) -> Interaction:
        """Return the potential for these particles; see `cgstore.learn.interactions.Model`."""
        kind = self.network._kinds(topology.type.tolist())
        arrays = self.network._arrays(kind, self.network._told(self.inputs))
        return Interaction(arrays, self.network.cutoff, pairs=self.network._pair_tables(kind))


def _joined(tensors: Sequence[torch.Tensor]) -> NDArray[np.float32]:
    """Return the numbers of some tensors in one row."""
    return np.concatenate([np.asarray(tensor.numpy(), np.float32).reshape(-1) for tensor in tensors])


def _batches(kind: NDArray[Any]) -> NDArray[np.int64]:
    """Return where batches begin among particles sorted by type (particle,), and the end."""
    edges = [0]
    for place in range(1, len(kind) + 1):
        if place == len(kind) or kind[place] != kind[edges[-1]] or place - edges[-1] == BATCH:
            edges.append(place)
    return np.array(edges, np.int64)
