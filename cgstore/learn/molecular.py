"""Models of molecules: tables of pairs, bonds, angles and dihedrals, and which pairs are left to the bonds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.documents import did_you_mean
from cgstore.errors import InputError
from cgstore.inverse.mean_force import potential_of_mean_force
from cgstore.kernels.forces_bonded import BondedTables
from cgstore.kernels.potentials import Both
from cgstore.kernels.verlet import NOTHING_EXCLUDED, Exclusions
from cgstore.learn.interactions import Interaction
from cgstore.learn.kernel_tables import pair_tables
from cgstore.tables import BondedTable, Table, Term, bonded_table_of, table_of
from cgstore.topology import Topology, pairs_within_bonds

__all__ = ["Molecular", "excluded_pairs", "mean_force_model", "term_kinds"]

Float = NDArray[np.float64]
Exclusion = int | Literal["molecule"]

Distribution = Literal["rdf", "bond", "angle", "dihedral"]

_TERMS: tuple[Term, ...] = ("bond", "angle", "dihedral")
_DISTRIBUTIONS: tuple[Distribution, ...] = ("rdf", "bond", "angle", "dihedral")


@dataclass(frozen=True, slots=True, eq=False)
class Molecular:
    """Tables of a system of molecules; the dataset that is sampled says the terms, here are their potentials.

    Names are those of `cgstore.rdf` and `cgstore.bonded`: "A-B", "A-B-C", "A-B-C-D", read in the direction that comes
    first in the alphabet. A kind of term without a table is an error; a table that no term needs is not. Without any
    tables of pairs there are terms only.
    """

    pairs: Mapping[str, Table]
    bonds: Mapping[str, BondedTable] = field(default_factory=dict)
    angles: Mapping[str, BondedTable] = field(default_factory=dict)
    dihedrals: Mapping[str, BondedTable] = field(default_factory=dict)
    exclude_bonded: Exclusion = 3  # bonds; pairs so near or nearer have no pair potential, as in `cgstore.rdf`
    fade: float = 12.0  # degrees from straight: so near a dihedral begins to fade, at half of it it has; 0: never

    @property
    def terms(self) -> dict[Term, Mapping[str, BondedTable]]:
        """Return the tables of bonds, angles and dihedrals."""
        return {"bond": self.bonds, "angle": self.angles, "dihedral": self.dihedrals}

    def interaction(self, topology: Topology) -> Interaction:
        """Return the potential for these particles.

        Raises
        ------
        InputError : there is no table of a pair or a kind of term, or it is a table of something else
        """
        if not self.pairs:
            return Interaction(bonded_tables(self.terms, topology, self.fade), 0.0)
        pairs = pair_tables(self.pairs, topology.type)
        exclusions = excluded(topology, self.exclude_bonded)
        if not any(len(getattr(topology, term)) for term in _TERMS):
            return Interaction(pairs, pairs.cutoff, exclusions, pairs)
        return Interaction(Both(pairs, bonded_tables(self.terms, topology, self.fade)), pairs.cutoff, exclusions, pairs)


def mean_force_model(
    distributions: Sequence[xr.Dataset], *, temperature: float, cutoff: float | None = None, exclude_bonded: Exclusion
) -> Molecular:
    """Return the model of the potentials of mean force of all distributions of a system: where an inversion starts.

    Parameters
    ----------
    distributions : results of `cgstore.rdf` and `cgstore.bonded`
    temperature : K
    cutoff : nm, of the pairs; the end of the rdf by default
    exclude_bonded : as in the rdf

    Raises
    ------
    PhysicsError, InputError : as `cgstore.inverse.mean_force.potential_of_mean_force`
    """
    found: dict[str, dict[str, Any]] = {"rdf": {}, **{term: {} for term in _TERMS}}
    for ds in distributions:
        for kind in _DISTRIBUTIONS:
            if kind in ds and ds[kind].size:
                found[kind] |= _tables_of(potential_of_mean_force(ds, temperature=temperature, kind=kind), kind, cutoff)
    return Molecular(found["rdf"], found["bond"], found["angle"], found["dihedral"], exclude_bonded)


def _tables_of(found: xr.Dataset, kind: Distribution, cutoff: float | None) -> dict[str, Table | BondedTable]:
    """Return the tables of potentials (kind, bin); a kind of which there are no terms has none."""
    names, bins = map(str, found["potential"].dims)
    x = np.asarray(found[bins].values, np.float64)
    rows = {str(name): found["potential"].sel({names: name}).values for name in found[names].values}
    tables: dict[str, Table | BondedTable] = {}
    for name, energy in rows.items():
        if np.isnan(energy).all():
            continue
        if kind == "rdf":
            tables[name] = table_of(x, energy, cutoff or float(x[-1] + 0.5 * (x[1] - x[0])))
        else:
            tables[name] = bonded_table_of(kind, x, energy)
    return tables


def term_kinds(types: NDArray[np.str_], ends: NDArray[np.int32]) -> list[str]:
    """Return the kind of each term (term, end): its types, in the direction that comes first in the alphabet.

    >>> term_kinds(np.array(["C", "B", "A"]), np.array([[0, 1, 2], [1, 2, 1]]))
    ['A-B-C', 'B-A-B']
    """
    walks = types[ends].tolist()
    return ["-".join(min(walk, walk[::-1])) for walk in walks]


def excluded_pairs(topology: Topology, exclude_bonded: Exclusion) -> NDArray[np.int32]:
    """Return the pairs i < j (pair, 2) that are so many bonds apart or fewer, or in one molecule, in order.

    Raises
    ------
    InputError : neither a number of bonds nor "molecule"
    """
    if exclude_bonded == "molecule":
        same = [np.flatnonzero(topology.molecule == k) for k in np.unique(topology.molecule)]
        pairs = np.concatenate([np.stack([a[i] for i in np.triu_indices(len(a), 1)], axis=1) for a in same])
    elif isinstance(exclude_bonded, bool) or not isinstance(exclude_bonded, int) or exclude_bonded < 0:
        raise InputError(f'found exclude_bonded = {exclude_bonded!r}, expected a number of bonds or "molecule"')
    else:
        pairs = pairs_within_bonds(topology.bond, len(topology), distance=exclude_bonded)
    return np.asarray(pairs[np.lexsort(pairs.T[::-1])], np.int32)


def excluded(topology: Topology, exclude_bonded: Exclusion) -> Exclusions:
    """Return the pairs that are so many bonds apart or fewer, or in one molecule, for the kernels.

    Raises
    ------
    InputError : neither a number of bonds nor "molecule"
    """
    pairs = excluded_pairs(topology, exclude_bonded)
    if not len(pairs):
        return NOTHING_EXCLUDED
    start = np.searchsorted(pairs[:, 0], np.arange(len(topology) + 1))
    return Exclusions(start.astype(np.uint32), np.ascontiguousarray(pairs[:, 1], np.uint32))


def bonded_tables(tables: Mapping[Term, Mapping[str, BondedTable]], topology: Topology, fade: float) -> BondedTables:
    """Return the terms of a topology with their tables for the kernels."""
    if not 0.0 <= fade <= 45.0:
        raise InputError(f"found fade = {fade} degrees, expected 0 to 45")
    ends: dict[Term, NDArray[np.int32]] = {term: getattr(topology, term) for term in _TERMS}
    curves: list[BondedTable] = []
    curve: list[int] = []
    for term in _TERMS:
        kinds = term_kinds(topology.type, ends[term])
        known = tables[term]
        missing = sorted(set(kinds) - set(known))
        if missing:
            raise InputError(
                f"sample: no table of the {term} " + ", ".join(f"{kind}{did_you_mean(kind, known)}" for kind in missing)
            )
        wrong = sorted(kind for kind in set(kinds) if known[kind].term != term)
        if wrong:
            raise InputError(f"sample: found a table of a {known[wrong[0]].term} for the {term} {wrong[0]}")
        number = {kind: len(curves) + k for k, kind in enumerate(sorted(set(kinds)))}
        curves += [known[kind] for kind in sorted(set(kinds))]
        curve += [number[kind] for kind in kinds]
    arrow, term_arrows, way = _arrows([ends[term] for term in _TERMS])
    rows = [_cubics(table) for table in curves]
    lengths = np.array([len(row) for row in rows])
    unit = np.array([1.0 if table.term == "bond" else np.pi / 180.0 for table in curves])
    low, high = np.array([table.x[[0, -1]] for table in curves]).reshape(-1, 2).T * unit
    return BondedTables(
        arrow=arrow,
        term=term_arrows,
        way=way,
        begin=np.cumsum([len(ends["bond"]), len(ends["angle"])]).astype(np.uint32),
        curve=np.array(curve, np.uint32),
        first=(np.cumsum(lengths) - lengths).astype(np.uint32),
        intervals=lengths.astype(np.uint32),
        low=low,
        scale=lengths / (high - low),
        row=np.concatenate(rows),
        level=np.array([table.energy[:-1].mean() for table in curves]),
        fade=np.sin(np.radians([0.5 * fade, fade])) ** 2,
    )


def _cubics(table: BondedTable) -> Float:
    """Return (interval, 4): the coefficients of the cubic with the energies and forces of the nodes."""
    rise = np.diff(table.energy)
    left, right = -table.spacing * table.force[:-1], -table.spacing * table.force[1:]
    return np.stack([table.energy[:-1], left, 3.0 * rise - 2.0 * left - right, left + right - 2.0 * rise], axis=1)


def _arrows(
    groups: Sequence[NDArray[np.int32]],
) -> tuple[NDArray[np.uint32], NDArray[np.uint32], Float]:
    """Return the different arrows (arrow, 2) of terms, and which of them (term, 3) a term walks along, which way."""
    walks = [np.stack([group[:, :-1], group[:, 1:]], axis=2) for group in groups]  # (term, arrow, 2)
    flat = np.concatenate([walk.reshape(-1, 2) for walk in walks]).astype(np.int64)
    arrow, number = np.unique(np.sort(flat, axis=1), axis=0, return_inverse=True)
    number = number.reshape(-1)
    forward = np.where(flat[:, 0] < flat[:, 1], 1.0, -1.0)
    total, done, place = sum(map(len, walks)), 0, 0
    term, way = np.zeros((total, 3), np.uint32), np.ones((total, 3))
    for walk in walks:
        size = walk.shape[0] * walk.shape[1]
        where = (slice(done, done + len(walk)), slice(0, walk.shape[1]))
        term[where] = number[place : place + size].reshape(walk.shape[:2])
        way[where] = forward[place : place + size].reshape(walk.shape[:2])
        done, place = done + len(walk), place + size
    return arrow.astype(np.uint32), term, way
