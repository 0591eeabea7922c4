"""Molecules of a topology sorted into variants: groups that are equal atom by atom and bond by bond."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgstore.topology import Topology

__all__ = ["Variant", "variants_of"]

Index = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Variant:
    """Molecules of one kind that are equal atom by atom; the arrays are those of one molecule."""

    kind: str
    molecules: Index  # (molecule,) their numbers
    atoms: Index  # (molecule, atom) their particles
    name: NDArray[np.str_]  # (atom,)
    type: NDArray[np.str_]  # (atom,)
    residue: NDArray[np.str_]  # (atom,)
    number: Index  # (atom,) which residue of the molecule, from 1
    mass: NDArray[np.float64]  # (atom,) u
    charge: NDArray[np.float64]  # (atom,) e
    bond: Index  # (bond, 2) places in the molecule


def variants_of(topology: Topology, kinds: Sequence[str]) -> list[Variant]:
    """Sort the molecules of some kinds into groups that are equal atom by atom and bond by bond.

    Parameters
    ----------
    topology : of the atoms
    kinds : of molecules, in the order in which their variants are returned

    Examples
    --------
    >>> from cgstore.readers.topologies import read_topology
    >>> from pathlib import Path
    >>> (methane,) = variants_of(read_topology(Path("archive/methane_112k/system.tpr")), ["CH4"])
    >>> methane.atoms.shape, methane.bond.tolist()
    ((222, 5), [[0, 1], [0, 2], [0, 3], [0, 4]])
    """
    order = np.argsort(topology.molecule, kind="stable")
    size = np.bincount(topology.molecule)
    start = np.cumsum(size) - size
    place = np.empty(len(topology), np.int64)
    place[order] = np.arange(len(topology)) - np.repeat(start, size)
    ends = np.sort(place[topology.bond], axis=1).reshape(-1, 2)
    of_bond = topology.molecule[topology.bond[:, 0]]
    sorted_bonds = ends[np.lexsort((ends[:, 1], ends[:, 0], of_bond))]
    bonds = np.bincount(of_bond, minlength=len(size))
    bond_start = np.cumsum(bonds) - bonds
    atom_code = _codes(topology.name, topology.type, topology.residue, topology.mass, topology.charge)
    kind_of = topology.molecule_kind[order[start]]
    found = []
    for kind in kinds:
        for shape in np.unique(np.stack([size, bonds], 1)[kind_of == kind], axis=0):
            molecules = np.flatnonzero((kind_of == kind) & (size == shape[0]) & (bonds == shape[1]))
            atoms = order[start[molecules, None] + np.arange(shape[0])]
            bond = sorted_bonds[bond_start[molecules, None] + np.arange(shape[1])]
            residue = topology.residue_id[atoms] - topology.residue_id[atoms[:, :1]]
            key = np.concatenate([atom_code[atoms], residue, bond.reshape(len(bond), -1)], axis=1)
            _, group = np.unique(key, axis=0, return_inverse=True)
            for g in range(int(group.max()) + 1):
                chosen = np.flatnonzero(group.reshape(-1) == g)
                found.append(_variant(topology, kind, molecules[chosen], atoms[chosen], bond[chosen[0]]))
    return found


def _codes(*columns: NDArray[Any]) -> Index:
    """Number the distinct rows of several columns."""
    inverse = [np.unique(column, return_inverse=True)[1].reshape(-1) for column in columns]
    return np.asarray(np.unique(np.stack(inverse, 1), axis=0, return_inverse=True)[1].reshape(-1), np.int64)


def _variant(topology: Topology, kind: str, molecules: Index, atoms: Index, bond: Index) -> Variant:
    """Describe a group of equal molecules by the first of them."""
    first = atoms[0]
    key = _codes(topology.residue_id[first], topology.residue[first])
    _, appears = np.unique(key, return_index=True)
    number = 1 + np.argsort(np.argsort(appears))[key]
    picked = {name: getattr(topology, name)[first] for name in ("name", "type", "residue", "mass", "charge")}
    return Variant(kind=kind, molecules=molecules, atoms=atoms, number=number, bond=bond, **picked)
