"""PRMTOP files of Amber (parm7), with extra points; those of CHAMBER too."""

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cgstore.readers.stated_topologies import Stated, as_text

__all__ = ["read_prmtop"]

_CHARGE = 18.2223  # Amber's unit: e times the square root of the Coulomb constant in kcal/mol Å
_FORMAT = re.compile(r"%FORMAT\s*\(\s*(\d*)\s*([aAiIeEfF])\s*(\d+)")
_NATOM, _NRES = 0, 11  # places in POINTERS


def read_prmtop(path: Path) -> Stated:
    """Read what a PRMTOP states; nothing is allocated for what POINTERS merely announces.

    Raises
    ------
    ValueError, KeyError : it is no PRMTOP, or a damaged one
    """
    sections = _sections(path.read_text(encoding="utf-8", errors="replace"))
    if "POINTERS" not in sections:
        raise ValueError("it has no section POINTERS")
    pointers = _integers(sections, "POINTERS")
    names = as_text(sections["ATOM_NAME"])
    atoms, residues = int(pointers[_NATOM]), int(pointers[_NRES])
    first = _integers(sections, "RESIDUE_POINTER") - 1
    labels = as_text(sections["RESIDUE_LABEL"])[:residues]
    mass, charge = _reals(sections, "MASS"), _reals(sections, "CHARGE") / _CHARGE
    types = as_text(sections.get("AMBER_ATOM_TYPE", names))
    found = (len(names), len(mass), len(charge), len(types))
    if {atoms} != set(found) or atoms < 1:
        raise ValueError(f"POINTERS announces {atoms} atoms, names, masses, charges and types have {found}")
    if not (
        len(first) == len(labels) == residues and first[0] == 0 and (np.diff(first) > 0).all() and first[-1] < atoms
    ):
        raise ValueError(f"the first atoms of its {residues} residues are not ascending numbers up to {atoms}")
    residue = np.searchsorted(first, np.arange(atoms), side="right") - 1
    dihedral = _terms(sections, "DIHEDRALS", 4, sign=True)
    return Stated(
        name=names,
        type=types,
        residue=labels[residue],
        residue_number=residue,
        residue_id=residue + 1,
        mass=mass,
        charge=charge,
        bond=_terms(sections, "BONDS", 2),
        angle=_terms(sections, "ANGLES", 3),
        dihedral=np.abs(dihedral[dihedral[:, 3] >= 0]),  # a negative last atom means an improper
    )


def _sections(text: str) -> dict[str, list[str]]:
    """Return the fields of each section, cut by the widths that its format gives."""
    if not text.lstrip().startswith("%VERSION"):
        raise ValueError("it does not begin with %VERSION")
    sections = {}
    for part in text.split("%FLAG")[1:]:
        lines = part.split("\n")
        format = next((found for line in lines[1:4] if (found := _FORMAT.match(line))), None)
        if format is None:
            continue
        width = int(format[3])
        if not 0 < width <= 80:
            raise ValueError(f"section {lines[0].strip()} has fields of width {width}")
        start = next(k for k, line in enumerate(lines) if line.startswith("%FORMAT")) + 1
        body = [line.rstrip("\r") for line in lines[start:] if not line.startswith("%")]
        # The last field of a line of names may be blank; that of numbers never is.
        cut = [line[k : k + width] for line in body for k in range(0, len(line), width)]
        sections[lines[0].strip()] = [one for one in cut if one.strip()]
    return sections


def _integers(sections: dict[str, list[str]], name: str) -> NDArray[np.int64]:
    """Return a section of whole numbers."""
    return np.array([int(one) for one in sections.get(name, [])], np.int64)


def _reals(sections: dict[str, list[str]], name: str) -> NDArray[np.float64]:
    """Return a section of numbers."""
    return np.array([float(one.replace("D", "E")) for one in sections.get(name, [])], np.float64)


def _terms(sections: dict[str, list[str]], name: str, size: int, *, sign: bool = False) -> NDArray[np.int64]:
    """Return terms with and without hydrogen; atoms are written as three times their number, behind them a type."""
    numbers = [_integers(sections, f"{name}_{which}_HYDROGEN") for which in ("INC", "WITHOUT")]
    terms = np.concatenate([one.reshape(-1, size + 1)[:, :size] for one in numbers])
    if (terms % 3 != 0).any():
        raise ValueError(f"a number in {name} is not three times that of an atom")
    return terms // 3 if sign else np.abs(terms) // 3
