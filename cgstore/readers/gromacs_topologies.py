"""Topologies of GROMACS (`.top`) that are whole: text with molecule types and how often each occurs.

The ITP parser of MDAnalysis is not used: it opens whatever files `#include` names, has the names of residues as kinds
of molecules, and repeats molecules as often as a file claims before anybody can object.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cgstore.errors import InputError
from cgstore.readers.molecule_types import MoleculeType, repeated
from cgstore.readers.stated_topologies import Stated, as_text

__all__ = ["read_gromacs"]

Line = tuple[int, list[str]]  # its number in the file, its words

_SECTION = re.compile(r"\[\s*(\w+)\s*\]$")
_ELSEWHERE = ("system", "intermolecular_interactions")  # a title; terms that bind nothing
_IMPROPER = ("2", "4")  # functions of dihedrals
_PARTICLES = ("A", "D", "S", "V", "N", "B")  # kinds of them in [ atomtypes ]
_LONGEST = 64  # characters of a name
_BYTES = 2**31  # that the columns of all particles may take: counts in a file are cheap, particles are not
_ROW = 64  # bytes of the numbers of one particle


def read_gromacs(path: Path) -> Stated:
    """Read what a topology of GROMACS states; nothing is allocated before its counts are added up.

    Bonds of all functions are bonds, with constraints and SETTLE; improper dihedrals are none, as in a TPR.

    Raises
    ------
    InputError : the file includes others or has conditions, which are decided by options that are not in it
    ValueError, KeyError, IndexError : it is no such topology, or a damaged one
    """
    types: dict[str, tuple[float, float]] = {}
    kinds: dict[str, dict[str, list[Line]]] = {}
    counts: list[tuple[str, int]] = []
    current: dict[str, list[Line]] = {}
    for section, number, words in _lines(path):
        if section == "atomtypes":
            types[words[0]] = _mass_and_charge(words, number)
        elif section == "moleculetype":
            if words[0] in kinds:
                raise ValueError(f"line {number} describes the molecule {words[0]} again")
            current = kinds[words[0]] = {}
        elif section == "molecules":
            counts.append((words[0], _count(words, number)))
        else:
            current.setdefault(section, []).append((number, words))
    if not counts:
        raise ValueError("it has no section [ molecules ]")
    if unknown := next((name for name, _ in counts if name not in kinds), None):
        raise ValueError(f"[ molecules ] has {unknown}, which no [ moleculetype ] describes")
    wanted = {name: _kind(name, kinds[name], types) for name in dict(counts)}
    blocks = [(wanted[name], count) for name, count in counts if count]
    _check_size(blocks)
    return repeated(blocks)


def _lines(path: Path) -> Iterator[tuple[str, int, list[str]]]:
    """Yield section, number and words of each line that is no comment, continued lines as one."""
    section, begun = "", ""
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        text = begun + line.split(";", 1)[0].strip()
        if text.endswith("\\"):
            begun = text[:-1] + " "
            continue
        begun = ""
        if not text:
            continue
        if text.startswith("#"):
            raise InputError(
                f"{path}: found {text[:80]!r} in line {number}, expected one file that is whole, without conditions; "
                "give the .tpr that was made of it, or what `gmx grompp -pp whole.top` writes"
            )
        if found := _SECTION.fullmatch(text):
            section = found[1].lower()
        elif not section:
            raise ValueError(f"line {number} is {text[:40]!r}, expected a section such as [ defaults ]")
        elif section not in _ELSEWHERE:
            yield section, number, text.split()


def _mass_and_charge(words: list[str], number: int) -> tuple[float, float]:
    """Return both of an atom type; they stand before the kind of particle, whatever is left out."""
    for place in (3, 4, 5):
        if place < len(words) and words[place] in _PARTICLES:
            return float(words[place - 2]), float(words[place - 1])
    raise ValueError(f"line {number}, an atom type, has none of {', '.join(_PARTICLES)} where expected")


def _count(words: list[str], number: int) -> int:
    """Return how many molecules there are."""
    if len(words) != 2 or not re.fullmatch(r"\d{1,12}", words[1]):
        raise ValueError(f"line {number} is {' '.join(words)[:40]!r}, expected a molecule and how many there are")
    return int(words[1])


def _kind(name: str, sections: dict[str, list[Line]], types: dict[str, tuple[float, float]]) -> MoleculeType:
    """Turn the sections of a molecule into columns."""
    rows = sections.get("atoms", [])
    if not rows:
        raise ValueError(f"the molecule {name} has no atoms")
    for k, (number, words) in enumerate(rows, 1):
        if len(words) < 5 or words[0] != str(k):
            raise ValueError(f"line {number} is {' '.join(words)[:40]!r}, expected atom {k} of {name}")
    columns = [row for _, row in rows]
    if (longest := max(len(word) for row in columns for word in (name, row[1], row[3], row[4]))) > _LONGEST:
        raise ValueError(f"the molecule {name[:40]} has a name of {longest} characters")
    own = [types[row[1]] if row[1] in types or len(row) < 8 else (0.0, 0.0) for row in columns]
    residues = [(row[2], row[3]) for row in columns]
    starts = [k > 0 and residues[k] != residues[k - 1] for k in range(len(residues))]
    first = _terms(sections, "settles", 1)
    rigid = np.concatenate([np.hstack([first, first + k]) for k in (1, 2)])
    return MoleculeType(
        kind=name,
        name=as_text(row[4] for row in columns),
        type=as_text(row[1] for row in columns),
        residue=as_text(row[3] for row in columns),
        number=np.cumsum(starts),
        charge=np.array([float(row[6]) if len(row) > 6 else own[k][1] for k, row in enumerate(columns)]),
        mass=np.array([float(row[7]) if len(row) > 7 else own[k][0] for k, row in enumerate(columns)]),
        bond=np.concatenate([_terms(sections, "bonds", 2), _terms(sections, "constraints", 2), rigid]),
        angle=_terms(sections, "angles", 3),
        dihedral=_terms(sections, "dihedrals", 4),
    )


def _terms(sections: dict[str, list[Line]], name: str, size: int) -> NDArray[np.int64]:
    """Return the atoms of terms, counted from 0, without improper dihedrals."""
    found = []
    for number, words in sections.get(name, []):
        if len(words) <= size:
            raise ValueError(f"line {number} of [ {name} ] has {len(words)} words, expected atoms and a function")
        if name != "dihedrals" or words[size] not in _IMPROPER:
            found.append([int(word) - 1 for word in words[:size]])
    return np.array(found, np.int64).reshape(-1, size)


def _check_size(blocks: list[tuple[MoleculeType, int]]) -> None:
    """Refuse counts whose particles do not fit into memory.

    Raises
    ------
    ValueError : there are too many, or none
    """
    particles = sum(count * len(kind) for kind, count in blocks)
    letters = sum(
        max(int(getattr(kind, name).dtype.itemsize) for kind, _ in blocks) for name in ("name", "type", "residue")
    ) if blocks else 0  # fmt: skip
    letters += 4 * max((len(kind.kind) for kind, _ in blocks), default=0)
    terms = sum(8 * count * (kind.bond.size + kind.angle.size + kind.dihedral.size) for kind, count in blocks)
    if not particles or particles * (_ROW + letters) + terms > _BYTES:
        raise ValueError(
            f"its molecules have {particles} atoms together, expected some, in no more than {_BYTES >> 30} GiB"
        )
