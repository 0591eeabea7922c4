"""Potentials for MagiC: all tables in one .pot file, points in the middle of bins, in Å, degrees and kJ/mol.

The format is that of MagiC 3 and its Python tools, Mirzoev & Lyubartsev 2013, doi:10.1021/ct301019v.
"""

import numpy as np
from numpy.typing import NDArray

from cgstore.errors import InputError
from cgstore.exchange.molecules import Molecule, molecules_of
from cgstore.exchange.potentials import Potentials
from cgstore.tables import BondedTable, Term, interpolate, interpolate_bonded

__all__ = ["magic_files"]

Float = NDArray[np.float64]

_ANGSTROM = 10.0  # in one nm
_RANGE: dict[Term, tuple[str, str]] = {"bond": ("B", "Pairs"), "angle": ("A", "Triplets")}


def magic_files(potentials: Potentials) -> dict[str, str | bytes]:
    """Return the file for MagiC by name.

    Raises
    ------
    InputError : there are dihedrals, which MagiC does not have; or other terms, and no system to say of which molecule
    """
    if potentials.dihedrals:
        raise InputError(
            f"write_potential: found dihedrals {', '.join(potentials.terms('dihedral'))}; magic has none, give tables "
            "without them if the model may lose them"
        )
    if potentials.bonded and potentials.particles is None:
        raise InputError(
            "write_potential: found bonds or angles; magic files say of which particles of a molecule they are, give "
            "system="
        )
    pairs = [_pair_section(potentials, pair) for pair in sorted(potentials.pairs)]
    bonded: dict[Term, list[str]] = {"bond": [], "angle": []}
    molecules = molecules_of(potentials.particles.topology)[0] if potentials.particles is not None else []
    for term, sections in bonded.items():
        for molecule in molecules:
            first = 1 if term == "bond" else 1 + len(set(molecule.kinds("bond")))
            sections += _term_sections(potentials, molecule, term, first=first)
    cutoff, spacing = potentials.cutoff, min(table.spacing for table in potentials.pairs.values())
    points = round(cutoff / spacing)
    general = f"""! Potentials of cgstore: Angstrom, degrees, kJ/mol; no pair potential {_excluded(potentials)}
&General
NTypes={len(potentials.types)}
Types={", ".join(potentials.types)}
N_NB={len(pairs)}
N_B={len(bonded["bond"])}
N_A={len(bonded["angle"])}
Max={cutoff * _ANGSTROM:.6f}
Min=0.000000
NPoints={points}
{_exclusions(potentials, molecules)}&EndGeneral
"""
    return {"potential.pot": "\n".join([general, *pairs, *bonded["bond"], *bonded["angle"]])}


def _excluded(potentials: Potentials) -> str:
    """Say which pairs have no pair potential."""
    near = potentials.exclude_bonded
    return "within molecules" if near == "molecule" else f"up to {near} bonds apart"


def _exclusions(potentials: Potentials, molecules: list[Molecule]) -> str:
    """Return how many bonds apart pairs are excluded, of each kind of molecules.

    MagiC counts neighbours along bonds (1) and angles (1), so three bonds apart has no name in it.
    """
    if not potentials.bonded or not molecules:
        return ""
    near = potentials.exclude_bonded
    bonds = [f"{m.name}:{len(m.type) if near == 'molecule' else near}" for m in molecules]
    return f"NPairBondsExclude={','.join(bonds)}\n"


def _pair_section(potentials: Potentials, pair: str) -> str:
    """Return the table of a pair, from zero to its cutoff."""
    table = potentials.pairs[pair]
    points = round(table.cutoff / table.spacing)
    r = (np.arange(points) + 0.5) * table.cutoff / points
    head = f"AtomTypes={', '.join(pair.split('-'))}\n"
    ends = (0.0, table.cutoff * _ANGSTROM)
    return _section(pair.replace("-", "--"), "NB", head, ends, r * _ANGSTROM, interpolate(table, r)[0])


def _term_sections(potentials: Potentials, molecule: Molecule, term: Term, *, first: int) -> list[str]:
    """Return a table for each kind of bonds or angles of a molecule, numbered from the first."""
    letter, word = _RANGE[term]
    groups: dict[str, list[str]] = {}
    for kind, ends in zip(molecule.kinds(term), getattr(molecule, term), strict=True):
        groups.setdefault(kind, []).append("-".join(str(end + 1) for end in ends))
    sections = []
    for number, (kind, members) in enumerate(sorted(groups.items()), first):
        table = potentials.terms(term)[kind]
        head = f"MolType={molecule.name}\nBondNumber={number}\nN{word}={len(members)}\n{word}={', '.join(members)}\n"
        x = _middles(table)
        scale = _ANGSTROM if term == "bond" else 1.0
        ends_of = (float(table.x[0]) * scale, float(table.x[-1]) * scale)
        name = f"{letter}.{molecule.name}.{number}"
        sections.append(_section(name, letter, head, ends_of, x * scale, interpolate_bonded(table, x)[0]))
    return sections


def _middles(table: BondedTable) -> Float:
    """Return the middles between nodes, where MagiC has its points."""
    return 0.5 * (table.x[1:] + table.x[:-1])


def _section(name: str, letter: str, more: str, ends: tuple[float, float], x: Float, energy: Float) -> str:
    """Return one potential."""
    rows = "\n".join(f"{place:.7f} {value:.8e}" for place, value in zip(x, energy, strict=True))
    return f"""&Potential
Name={name}
Type={letter}
Min={ends[0]:.6f}
Max={ends[1]:.6f}
NPoints={len(x)}
{more}&Table
{rows}
&EndTable
&EndPotential
"""
