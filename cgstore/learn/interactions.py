"""Potentials as the kernels want them, for particular particles: what a sampler asks of any model.

A model is whatever answers `interaction(topology)`; `sample` takes it in place of tables.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cgstore.kernels import forces_pairs, langevin, potentials
from cgstore.kernels.forces_pairs import PairTables
from cgstore.kernels.verlet import NOTHING_EXCLUDED, Exclusions
from cgstore.learn.kernel_tables import pair_tables
from cgstore.tables import Table
from cgstore.topology import Topology

__all__ = ["Interaction", "Model", "PairModel"]

Float = NDArray[np.float64]

_STRIDE = 0.01  # nm, of a move that removes overlaps
_MOVES = 500  # to remove them


@dataclass(frozen=True, slots=True, eq=False)
class Interaction:
    """A potential for particular particles: arrays of a class that `cgstore.kernels.potentials` knows."""

    arrays: Any
    cutoff: float  # nm, of the pairs that it must get to see
    exclusions: Exclusions = NOTHING_EXCLUDED
    pairs: PairTables | None = None  # the part of it in which particles at the same place feel no force

    def measure(self, position: Float, box: Float) -> float:
        """Return the energy of positions (particle, xyz)."""
        force, virial = np.empty_like(position), np.empty((3, 3))
        return float(potentials.measure(self.arrays, self.cutoff, self.exclusions, position, box, force, virial))

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
