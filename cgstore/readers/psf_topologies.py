"""PSF files of CHARMM, NAMD, XPLOR and CHARMM-GUI, with Drude particles and lone pairs."""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cgstore.readers.stated_topologies import Stated, as_text, leading_number, no_terms

__all__ = ["read_psf"]

_HEADER = re.compile(r"\s*(\d+)(?:\s+\d+)*\s*!\s*([A-Z0-9]+)")
_WIDTHS = {False: (8, 4, 4, 4, 4), True: (10, 8, 8, 8, 8)}  # number, segment, residue id, residue, name
_SECTIONS = {"NBOND": 2, "NTHETA": 3, "NPHI": 4}


def read_psf(path: Path) -> Stated:
    """Read what a PSF states; columns are told apart by blanks, or by width where one of them is empty.

    Raises
    ------
    ValueError, EOFError : it is no PSF, or a damaged one
    """
    with path.open(encoding="utf-8", errors="replace") as file:
        first = file.readline().split()
        if not first or first[0] != "PSF":
            raise ValueError("the first word is not PSF")
        extended = "EXT" in first
        rows: list[tuple[str, ...]] = []
        terms = {}
        for count, section in _sections(file):
            if section == "NATOM":
                rows = [_atom(_line(file), extended) for _ in range(count)]
            elif section in _SECTIONS:
                terms[section] = _terms(file, count, _SECTIONS[section], extended)
    if not rows:
        raise EOFError
    number, segment, resid, residue, name, kind, charge, mass = zip(*rows, strict=True)
    if [int(one) for one in number] != list(range(1, len(rows) + 1)):
        raise ValueError("the atoms are not numbered 1, 2, 3 …")
    keys = list(zip(segment, resid, residue, strict=True))
    residue_number = np.cumsum([0] + [before != after for before, after in pairwise(keys)])
    bond = terms.get("NBOND", no_terms(2))
    return Stated(
        name=as_text(name),
        type=as_text(kind),
        residue=as_text(residue),
        residue_number=residue_number,
        together=None if len(bond) else residue_number,  # a PSF may come without its terms
        residue_id=np.array([leading_number(one) for one in resid]),
        mass=np.array(mass, np.float64),
        charge=np.array(charge, np.float64),
        bond=bond,
        angle=terms.get("NTHETA", no_terms(3)),
        dihedral=terms.get("NPHI", no_terms(4)),
    )


def _sections(file: Iterator[str]) -> Iterator[tuple[int, str]]:
    """Yield the count and name of each section; title lines, which may hold anything, are passed over."""
    for line in file:
        if found := _HEADER.match(line):
            if found[2] == "NTITLE":
                for _ in range(int(found[1])):
                    _line(file)
                continue
            yield int(found[1]), found[2]


def _line(file: Iterator[str]) -> str:
    """Return the next line, which must be there."""
    line = next(file, None)
    if line is None:
        raise EOFError
    return line


def _atom(line: str, extended: bool) -> tuple[str, ...]:
    """Return number, segment, residue id, residue, name, type, charge and mass of one atom."""
    words = line.split()
    # Behind the mass stands a whole number (imove); with an empty segment everything would be one column too early.
    if len(words) >= 9 and re.fullmatch(r"-?\d+", words[8]) and words[0].isdecimal():
        return tuple(words[:8])
    fields, start = [], 0
    for width in _WIDTHS[extended]:
        fields.append(line[start : start + width].strip())
        start += width + 1
    rest = line[start:].split()
    if len(rest) < 3:
        raise ValueError(f"an atom has too few columns: {line.strip()[:80]!r}")
    return (*fields, *rest[:3])


def _terms(file: Iterator[str], count: int, size: int, extended: bool) -> NDArray[np.int64]:
    """Read `count` terms of `size` particles, counted from 0."""
    numbers: list[int] = []
    width = 10 if extended else 8
    while len(numbers) < count * size:
        line = _line(file).rstrip("\n")
        words = line.split()
        if any(len(word) > width for word in words):  # columns without a blank between them
            words = [line[k : k + width] for k in range(0, len(line), width)]
        if not words and line == "" and numbers:
            raise ValueError(f"found {len(numbers) // size} terms of {size} particles, {count} are announced")
        numbers += map(int, words)
    return np.array(numbers[: count * size], np.int64).reshape(-1, size) - 1
