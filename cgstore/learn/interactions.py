"""Potentials as the kernels want them, for particular particles: what a sampler asks of any model.

A model is whatever answers `interaction(topology)`; `sample` takes it in place of tables.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from cgstore.errors import InputError
from cgstore.kernels import forces_pairs, langevin, potentials
from cgstore.kernels.forces_pairs import PairTables
from cgstore.kernels.verlet import NOTHING_EXCLUDED, Exclusions
from cgstore.learn.kernel_tables import pair_tables
from cgstore.tables import Table
from cgstore.topology import Topology

__all__ = ["Interaction", "Measured", "Model", "PairModel", "interaction_of"]

Float = NDArray[np.float64]

_STRIDE = 0.01  # nm, of a move that removes overlaps
_MOVES = 500  # to remove them


class Measured(NamedTuple):
    """What a potential says of one frame."""

    energy: float  # kJ/mol
    force: Float  # (particle, xyz) kJ/mol/nm
    virial: Float  # (xyz, xyz) kJ/mol, Σ vector ⊗ force; its trace is −3 V dU/dV


@dataclass(frozen=True, slots=True, eq=False)
class Interaction:
    """A potential for particular particles: arrays of a class that `cgstore.kernels.potentials` knows."""

    arrays: Any
    cutoff: float  # nm, of the pairs that it must get to see
    exclusions: Exclusions = NOTHING_EXCLUDED
    pairs: PairTables | None = None  # the part of it in which particles at the same place feel no force

    def measure(self, position: Float, box: Float) -> Measured:
        """Return energy, force (particle, xyz) and virial (xyz, xyz) of positions (particle, xyz)."""
        force, virial = np.empty_like(position), np.empty((3, 3))
        energy = potentials.measure(self.arrays, self.cutoff, self.exclusions, position, box, force, virial)
        return Measured(float(energy), force, virial)

    def relax(self, position: Float, box: Float, largest: float) -> None:
        """Remove overlaps in place: no force exceeds `largest` kJ/mol/nm afterwards, if that can be reached."""
        for _ in range(_MOVES):
            if self.pairs is None or not forces_pairs.part(
                self.pairs, self.exclusions, position, box, largest, _STRIDE
            ):
                break
        langevin.relax(self.arrays, self.cutoff, self.exclusions, position, box, largest, _STRIDE, _MOVES)


class Model(Protocol):
    """What can be sampled."""

    def interaction(self, topology: Topology) -> Interaction:
        """Return the potential for these particles.

        Raises
        ------
        InputError : it does not know some of them
        """


@dataclass(frozen=True, slots=True, eq=False)
class PairModel:
    """Tabulated pair potentials by the name of the pair of types, "A-B"."""

    tables: Mapping[str, Table]

    def interaction(self, topology: Topology) -> Interaction:
        """Return the potential for these particles; see `Model`."""
        arrays = pair_tables(self.tables, topology.type)
        return Interaction(arrays, arrays.cutoff, pairs=arrays)


def interaction_of(tables: Mapping[str, Table] | Model, topology: Topology) -> Interaction:
    """Return the potential of tables of pairs, or of a model, for these particles.

    Raises
    ------
    InputError : tables of pairs only, and there are bonds; as `Model`
    """
    if not isinstance(tables, Mapping):
        return tables.interaction(topology)
    if len(topology.bond):
        raise InputError(
            f"sample: found {len(topology.bond)} bonds and tables of pairs only; give all tables as a "
            "`cgstore.learn.molecular.Molecular`, or map molecules to one bead each"
        )
    return PairModel(tables).interaction(topology)
