"""Molecules of a system as programs describe them: each kind once, and how many of which follow each other."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cgstore.errors import InputError
from cgstore.tables import Term
from cgstore.topology import Topology

__all__ = ["Molecule", "molecules_of"]

_TERMS: tuple[Term, ...] = ("bond", "angle", "dihedral")


@dataclass(frozen=True, slots=True, eq=False)
class Molecule:
    """One kind of molecules; ends of terms are numbers of its particles, from 0."""

    name: str
    type: tuple[str, ...]  # (particle,)
    mass: tuple[float, ...]  # (particle,) u
    bond: tuple[tuple[int, ...], ...]
    angle: tuple[tuple[int, ...], ...]
    dihedral: tuple[tuple[int, ...], ...]

    def kinds(self, term: Term) -> list[str]:
        """Return the kind of each term: its types, in the direction that comes first in the alphabet."""
        walks = [[self.type[end] for end in ends] for ends in getattr(self, term)]
        return ["-".join(min(walk, walk[::-1])) for walk in walks]


def molecules_of(topology: Topology) -> tuple[list[Molecule], list[tuple[int, int]]]:
    """Return the kinds of molecules, and runs of them in order: number of the kind, and how many follow each other.

    Raises
    ------
    InputError : the particles of a molecule do not follow each other
    """
    steps = np.diff(topology.molecule)
    if not ((steps == 0) | (steps == 1)).all():
        raise InputError("write_potential: particles of a molecule do not follow each other; sort them by molecule")
    edges = np.flatnonzero(np.concatenate([[1], steps, [1]]))
    terms = {term: _by_molecule(getattr(topology, term), edges) for term in _TERMS}
    known: dict[tuple[object, ...], int] = {}
    kinds: list[Molecule] = []
    runs: list[tuple[int, int]] = []
    for number, (begin, end) in enumerate(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)):
        types = tuple(topology.type[begin:end].tolist())
        masses = tuple(topology.mass[begin:end].tolist())
        ends = [terms[term][number] for term in _TERMS]
        key = (types, masses, *ends)
        if key not in known:
            known[key] = len(kinds)
            label = "".join(c if c.isalnum() else "_" for c in str(topology.molecule_kind[begin])) or "molecule"
            kinds.append(Molecule(_unlike(label, [kind.name for kind in kinds]), types, masses, *ends))
        if runs and runs[-1][0] == known[key]:
            runs[-1] = (known[key], runs[-1][1] + 1)
        else:
            runs.append((known[key], 1))
    return kinds, runs


def _by_molecule(ends: NDArray[np.int32], edges: NDArray[np.int64]) -> list[tuple[tuple[int, ...], ...]]:
    """Return the terms of each molecule, in the numbers of its particles."""
    place = np.searchsorted(edges, ends[:, 0], side="right") - 1
    found: list[list[tuple[int, ...]]] = [[] for _ in edges[:-1]]
    for number, row in zip(place.tolist(), ends.tolist(), strict=True):
        found[number].append(tuple(int(end - edges[number]) for end in row))
    return [tuple(rows) for rows in found]


def _unlike(name: str, others: Sequence[str]) -> str:
    """Return a name that no other has."""
    number, chosen = 1, name
    while chosen in others:
        number += 1
        chosen = f"{name}_{number}"
    return chosen
