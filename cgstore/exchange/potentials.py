"""What is written for a program: tables of pairs and terms, masses, and the particles where they are known."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations_with_replacement
from typing import Literal, Protocol

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.documents import did_you_mean
from cgstore.errors import InputError
from cgstore.schema import topology_of
from cgstore.tables import BondedTable, Table, Term
from cgstore.topology import Topology

__all__ = ["TERMS", "Particles", "Potentials", "TablesOfMolecules", "columns", "gather", "pair_of"]

Float = NDArray[np.float64]

TERMS: tuple[Term, ...] = ("bond", "angle", "dihedral")
_TYPE = re.compile(r"[\w+*.:@^]+")


class TablesOfMolecules(Protocol):
    """Tables of molecules, such as `cgstore.learn.molecular.Molecular`."""

    @property
    def pairs(self) -> Mapping[str, Table]:
        """Return the pair potentials by the name "A-B"."""

    @property
    def bonds(self) -> Mapping[str, BondedTable]:
        """Return the potentials of bonds by the name "A-B"."""

    @property
    def angles(self) -> Mapping[str, BondedTable]:
        """Return the potentials of angles by the name "A-B-C"."""

    @property
    def dihedrals(self) -> Mapping[str, BondedTable]:
        """Return the potentials of dihedrals by the name "A-B-C-D"."""

    @property
    def exclude_bonded(self) -> int | Literal["molecule"]:
        """Return how many bonds apart pairs have no pair potential, at most."""

    @property
    def fade(self) -> float:
        """Return how many degrees from straight a dihedral begins to fade."""


@dataclass(frozen=True, slots=True, eq=False)
class Particles:
    """Particles in a box: what programs want whose files are of one system."""

    topology: Topology
    position: Float  # (particle, xyz) nm
    box: Float  # (box_vector, xyz) nm

    @classmethod
    def of(cls, ds: xr.Dataset) -> "Particles":
        """Return the first frame of a dataset.

        Raises
        ------
        InputError : it has no positions or no box
        """
        if missing := [name for name in ("position", "box") if name not in ds]:
            raise InputError(
                f"write_potential: found a system without {' and '.join(missing)}, expected a periodic one"
            )
        position, box = (np.asarray(ds[name].isel(frame=0).values, np.float64) for name in ("position", "box"))
        return cls(topology_of(ds), position, box)

    def kinds(self, term: Term) -> list[str]:
        """Return the kind of each term: its types, in the direction that comes first in the alphabet."""
        walks = self.topology.type[getattr(self.topology, term)].tolist()
        return ["-".join(min(walk, walk[::-1])) for walk in walks]


@dataclass(frozen=True, slots=True, eq=False)
class Potentials:
    """Tables by the names of their types; kinds of terms are read in the direction that comes first in the alphabet."""

    pairs: Mapping[str, Table]
    bonds: Mapping[str, BondedTable] = field(default_factory=dict)
    angles: Mapping[str, BondedTable] = field(default_factory=dict)
    dihedrals: Mapping[str, BondedTable] = field(default_factory=dict)
    exclude_bonded: int | Literal["molecule"] = 3  # bonds; pairs so near or nearer have no pair potential
    fade: float = 0.0  # degrees from straight, where a dihedral begins to fade; `cgstore.learn.molecular`
    masses: Mapping[str, float] = field(default_factory=dict)  # u
    temperature: float = 300.0  # K
    particles: Particles | None = None

    @property
    def types(self) -> list[str]:
        """Return the types of particles, alphabetical."""
        return sorted({name for pair in self.pairs for name in pair.split("-")})

    @property
    def cutoff(self) -> float:
        """Return the largest cutoff of the pairs, nm."""
        return max(table.cutoff for table in self.pairs.values())

    def terms(self, term: Term) -> Mapping[str, BondedTable]:
        """Return the tables of bonds, angles or dihedrals, those first that come first in the alphabet."""
        tables = {"bond": self.bonds, "angle": self.angles, "dihedral": self.dihedrals}[term]
        return {kind: tables[kind] for kind in sorted(tables)}

    @property
    def bonded(self) -> bool:
        """Tell whether there are tables of terms."""
        return any(self.terms(term) for term in TERMS)


def gather(
    tables: Mapping[str, Table] | TablesOfMolecules,
    *,
    masses: Mapping[str, float] | None,
    temperature: float,
    system: xr.Dataset | None,
) -> Potentials:
    """Return what is to be written, checked.

    Raises
    ------
    InputError : a pair without a table, names that cannot be read as pairs, a term of the system without a table
    """
    particles = None if system is None else Particles.of(system)
    known = dict(masses or {})
    if particles is not None:
        topology = particles.topology
        known = {str(k): float(m) for k, m in zip(topology.type, topology.mass, strict=True)} | known
    if isinstance(tables, Mapping):
        found = Potentials(tables, masses=known, temperature=temperature, particles=particles)
    else:
        found = Potentials(
            tables.pairs,
            tables.bonds,
            tables.angles,
            tables.dihedrals,
            tables.exclude_bonded,
            tables.fade,
            known,
            temperature,
            particles,
        )
    _check_pairs(found)
    _check_terms(found)
    return found


def pair_of(first: str, second: str) -> str:
    """Return the name of a pair of types.

    >>> pair_of("PO4", "NC3")
    'NC3-PO4'
    """
    return "-".join(sorted((first, second)))


def columns(rows: Iterable[Float], form: str) -> str:
    """Return rows of numbers as text.

    >>> columns(np.array([[1.0, 2.0]]), "%.2f")
    '1.00 2.00\\n'
    """
    return "\n".join(" ".join(form % number for number in row) for row in rows) + "\n"


def _check_pairs(found: Potentials) -> None:
    """Refuse names that are no pairs of types, and pairs without a table."""
    tables = found.pairs
    odd = sorted(pair for pair in tables if pair.count("-") != 1)
    if odd or not tables:
        raise InputError(
            f'write_potential: found pairs {odd}, expected names like "A-B"; rename types that contain a hyphen'
        )
    if strange := [name for name in found.types if not _TYPE.fullmatch(name)]:
        raise InputError(
            f"write_potential: found the type {strange[0][:80]!r}, expected letters, digits and _ + * . : @ ^; types "
            "become names of files and words of input files"
        )
    expected = {pair_of(a, b) for a, b in combinations_with_replacement(found.types, 2)}
    if expected != set(tables):
        raise InputError(
            f"write_potential: found tables of {sorted(tables)}, expected one of each pair, alphabetical: "
            f"{sorted(expected)}"
        )


def _check_terms(found: Potentials) -> None:
    """Refuse terms of other types than the pairs, and particles that the tables do not know."""
    types = set(found.types)
    for length, term in enumerate(TERMS, 2):
        for kind, table in found.terms(term).items():
            if kind.count("-") != length - 1 or not set(kind.split("-")) <= types or table.term != term:
                raise InputError(
                    f"write_potential: found a table of the {table.term} {kind[:80]!r} among those of {term}s, "
                    f"expected {length} of the types {', '.join(sorted(types))}"
                )
    if found.particles is None:
        return
    if strange := sorted(set(found.particles.topology.type.tolist()) - types):
        raise InputError(f"write_potential: the system has particles of type {strange[0]!r}, the tables do not")
    for term in TERMS:
        tables = found.terms(term)
        if missing := sorted(set(found.particles.kinds(term)) - set(tables)):
            raise InputError(
                f"write_potential: the system has a {term} {missing[0]}, and there is no table of it"
                f"{did_you_mean(missing[0], tables)}"
            )
