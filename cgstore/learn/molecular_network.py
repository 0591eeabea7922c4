"""The trainable potential of molecules: pairs by a network, terms by splines, both on the tables that it begins as.

It begins as tables, those of an inversion, and learns what they lack. The energy is linear in the energies at the nodes
of all tables, so frames are described once, whatever the parameters are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from cgstore.errors import InputError
from cgstore.inverse.force_basis import Curve
from cgstore.learn.molecular import Molecular
from cgstore.learn.molecular_frames import PairFrames, TermNodes, pair_frames, term_weights
from cgstore.learn.potential import Begun, PairNetwork, pair_names
from cgstore.schema import topology_of
from cgstore.tables import BondedTable, Table, Term, interpolate_bonded
from cgstore.topology import Topology

__all__ = ["MolecularNetwork"]

Float = NDArray[np.float64]

_TERMS: tuple[Term, ...] = ("bond", "angle", "dihedral")
_KNOTS: Mapping[Term, float] = {"bond": 0.02, "angle": 6.0, "dihedral": 15.0}  # nm, degrees
_FINER: Mapping[Term, int] = {"bond": 20, "angle": 12, "dihedral": 15}  # nodes in an interval: 0.001 nm, 0.5°, 1°


@dataclass(frozen=True, slots=True, eq=False)
class _Spline:
    """What one kind of bond, angle or dihedral begins as, and how it can change."""

    nodes: TermNodes
    x: Float  # (node,) nm or degrees
    energy: Float  # (node,) of the beginning, kJ/mol
    slope: Float
    values: Float  # (node, parameter) of the splines
    slopes: Float


class MolecularNetwork(torch.nn.Module):
    """U = start + Σ_pairs fc(r) · network(r) + Σ_terms spline(x): a model of molecules that begins as tables.

    Splines of bonds have a knot every 0.02 nm, those of angles and dihedrals every 6 and 15 degrees.

    Parameters
    ----------
    start : the tables that it begins as, which also say which pairs are left to the bonds
    features, hidden, seed : of the network of the pairs, as `cgstore.learn.potential.PairNetwork`

    Raises
    ------
    InputError : there are no pairs, or their tables differ in cutoff or spacing

    Notes
    -----
    The splines are cubic, zero in the beginning; those of angles are mirrored at 0 and 180 degrees, those of dihedrals
    close (`cgstore.inverse.force_basis`). All parameters are float64.
    """

    def __init__(
        self, start: Molecular, *, features: int = 24, hidden: Sequence[int] = (32, 32), seed: int = 0
    ) -> None:
        super().__init__()
        if len({(round(table.cutoff, 9), len(table.r)) for table in start.pairs.values()}) != 1:
            raise InputError(
                "found tables of pairs with different nodes, or none; expected the tables of one inversion"
            )
        some = next(iter(start.pairs.values()))
        types = sorted({name for pair in start.pairs for name in pair.split("-")})
        nothing = Table(some.r, 0.0 * some.r, 0.0 * some.r)
        self.start = start
        self.pair = PairNetwork(
            types,
            cutoff=some.cutoff,
            spacing=some.spacing,
            features=features,
            hidden=hidden,
            priors={pair: Begun(start.pairs.get(pair, nothing)) for pair in pair_names(types)},
            seed=seed,
        )
        self.types, self.pairs = self.pair.types, self.pair.pairs
        self._splines = [
            _spline(term, kind, tables[kind]) for term, tables in start.terms.items() for kind in sorted(tables)
        ]
        self.coefficients = torch.nn.ParameterList(
            [torch.zeros(spline.values.shape[1], dtype=torch.float64) for spline in self._splines]
        )

    def node_energy(self) -> torch.Tensor:
        """Return the energies in kJ/mol at all nodes (node,): of pairs, then of the terms."""
        parts = [self.pair.node_energy().reshape(-1)]
        for spline, change in zip(self._splines, self.coefficients, strict=True):
            parts.append(torch.from_numpy(spline.energy) + torch.from_numpy(spline.values) @ change)
        return torch.cat(parts)

    def describe(self, position: ArrayLike, box: ArrayLike, topology: Topology) -> torch.Tensor:
        """Return how often each node counts in frames (frame, node); it does not depend on the parameters.

        Parameters
        ----------
        position, box : (frame, particle, xyz) and (frame, box_vector, xyz) nm
        topology : of the particles

        Raises
        ------
        PhysicsError : the cutoff is beyond half the smallest box height
        """
        return self.joined(self.pairs_of(position, box, topology).weight, position, box, topology)

    def pairs_of(
        self, position: ArrayLike, box: ArrayLike, topology: Topology, *, width: float = 1.0, bins: int = 0
    ) -> PairFrames:
        """Return weights and counts of the pairs of frames, see `cgstore.learn.molecular_frames.pair_frames`."""
        return pair_frames(
            position,
            box,
            topology,
            exclude_bonded=self.start.exclude_bonded,
            known=self.types,
            spacing=self.pair.spacing,
            nodes=len(self.pair.r),
            width=width,
            bins=bins,
        )

    def joined(self, weight: Float, position: ArrayLike, box: ArrayLike, topology: Topology) -> torch.Tensor:
        """Return the weights of pairs (frame, pair, node) and those of the terms as one row for each frame."""
        nodes = [spline.nodes for spline in self._splines]
        terms = term_weights(position, box, topology, nodes, fade=self.start.fade)
        return torch.from_numpy(np.concatenate([weight.reshape(len(weight), -1), terms], axis=1))

    def forward(self, described: torch.Tensor) -> torch.Tensor:
        """Return the energy of frames (frame,) in kJ/mol from what `describe` gave."""
        return described @ self.node_energy()

    def energy_of(self, ds: xr.Dataset) -> torch.Tensor:
        """Return the energy of the frames of a dataset (frame,) in kJ/mol."""
        energy: torch.Tensor = self(self.describe(ds["position"].values, ds["box"].values, topology_of(ds)))
        return energy

    def tables(self) -> Molecular:
        """Return the model as tables, which can be sampled and exported; forces are derivatives, not differences."""
        terms: dict[Term, dict[str, BondedTable]] = {term: {} for term in _TERMS}
        for spline, parameter in zip(self._splines, self.coefficients, strict=True):
            change, nodes = parameter.detach().numpy(), spline.nodes
            energy, force = spline.energy + spline.values @ change, -(spline.slope + spline.slopes @ change)
            if nodes.term == "angle":
                force[[0, -1]] = 0.0  # but for the rounding of the rules
            terms[nodes.term][nodes.kind] = BondedTable(nodes.term, spline.x, energy, force)
        return replace(
            self.start,
            pairs={pair: table for pair, table in self.pair.tables().items() if pair in self.start.pairs},
            bonds=terms["bond"],
            angles=terms["angle"],
            dihedrals=terms["dihedral"],
        )


def _spline(term: Term, kind: str, table: BondedTable) -> _Spline:
    """Return the splines on what one table begins as; beyond its nodes that goes on as a line."""
    low, high = (0.0, float(table.x[-1])) if term == "bond" else (float(table.x[0]), float(table.x[-1]))
    intervals = max(4, int(np.ceil((high - low) / _KNOTS[term] - 1e-9)))
    curve = Curve(term, kind, low, low + intervals * _KNOTS[term] if term == "bond" else high, intervals)
    x = curve.places(_FINER[term])
    energy, force = interpolate_bonded(table, x)
    values, slopes = (curve.values(x, derivative) @ curve.rules() for derivative in (False, True))
    return _Spline(TermNodes(term, kind, curve.low, curve.high, len(x)), x, energy, -force, values, slopes)
