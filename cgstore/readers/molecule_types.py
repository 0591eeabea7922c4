"""Molecule types and how often each occurs: how GROMACS describes a system, laid out particle by particle."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgstore.readers.stated_topologies import Stated

__all__ = ["MoleculeType", "repeated"]

Int = NDArray[np.int64]
Text = NDArray[np.str_]


@dataclass(frozen=True, slots=True, eq=False)
class MoleculeType:
    """One kind of molecule as columns; terms count its atoms from 0."""

    kind: str
    name: Text  # (atom,)
    type: Text  # (atom,)
    residue: Text  # (atom,)
    number: Int  # (atom,) of the residue, from 0
    mass: NDArray[np.float64]  # (atom,) u
    charge: NDArray[np.float64]  # (atom,) e
    bond: Int  # (bond, 2)
    angle: Int  # (angle, 3)
    dihedral: Int  # (dihedral, 4)

    def __post_init__(self) -> None:
        for terms in (self.bond, self.angle, self.dihedral):
            if terms.size and not 0 <= terms.min() <= terms.max() < len(self):
                raise ValueError(f"a term names an atom outside its molecule, {self.kind}, which has {len(self)}")

    def __len__(self) -> int:
        """Return the number of atoms."""
        return len(self.name)


def repeated(blocks: Sequence[tuple[MoleculeType, int]]) -> Stated:
    """Lay molecules one after the other; residues are numbered through from 1.

    Parameters
    ----------
    blocks : molecule types with how many follow; the caller knows that so many fit into memory
    """
    number = _counted(blocks, lambda kind: kind.number, lambda kind: int(kind.number.max()) + 1)
    return Stated(
        name=_column(blocks, "name"),
        type=_column(blocks, "type"),
        residue=_column(blocks, "residue"),
        residue_number=number,
        residue_id=number + 1,
        together=_counted(blocks, lambda kind: np.zeros(len(kind), np.int64), lambda kind: 1),
        kind=np.concatenate([np.full(count * len(kind), kind.kind) for kind, count in blocks]),
        mass=_column(blocks, "mass"),
        charge=_column(blocks, "charge"),
        bond=_counted(blocks, lambda kind: kind.bond, len),
        angle=_counted(blocks, lambda kind: kind.angle, len),
        dihedral=_counted(blocks, lambda kind: kind.dihedral, len),
    )


def _column(blocks: Sequence[tuple[MoleculeType, int]], name: str) -> Any:
    """Repeat a column."""
    return np.concatenate([np.tile(getattr(kind, name), count) for kind, count in blocks])


def _counted(
    blocks: Sequence[tuple[MoleculeType, int]],
    of: Callable[[MoleculeType], Int],
    each: Callable[[MoleculeType], int],
) -> Int:
    """Join tables that grow by `each(kind)` from molecule to molecule."""
    parts, start = [], 0
    for kind, count in blocks:
        starts = start + each(kind) * np.arange(count)
        table = of(kind)
        parts.append((starts.reshape(-1, *[1] * table.ndim) + table).reshape(-1, *table.shape[1:]))
        start += count * each(kind)
    return np.concatenate(parts)
