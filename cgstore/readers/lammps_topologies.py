"""Data files of LAMMPS: particles in the order of their ids, masses in u whatever units the simulation had."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cgstore.documents import did_you_mean
from cgstore.errors import InputError
from cgstore.readers.stated_topologies import Stated, as_text, leading_number, no_terms

__all__ = ["read_lammps_data"]

Rows = list[list[str]]

# Columns before x y z, by atom style; what else a style may have stands behind them.
_STYLES = {
    "atomic": ("id", "type"),
    "charge": ("id", "type", "q"),
    "bond": ("id", "mol", "type"),
    "angle": ("id", "mol", "type"),
    "molecular": ("id", "mol", "type"),
    "full": ("id", "mol", "type", "q"),
}
_OTHER_STYLES = ("body", "dipole", "edpd", "electron", "ellipsoid", "hybrid", "line", "sphere", "template", "tri")
_MASS = {"real": 1.0, "metal": 1.0, "nano": 602214.076, "lj": 1.0}  # u in the unit of the file; nano has attograms
_LENGTH = {"real": 0.1, "metal": 0.1, "nano": 1.0, "lj": 1.0}  # nm
_TERMS = {"Bonds": 2, "Angles": 3, "Dihedrals": 4}
_SECTION = re.compile(r"[A-Z][A-Za-z0-9/]*(?: [A-Z][A-Za-z0-9/]*)*")


def read_lammps_data(path: Path, *, units: str = "real") -> Stated:
    """Read what a data file states.

    Parameters
    ----------
    path : of a file written by write_data, msi2lmp, moltemplate, VMD …
    units : real, metal, nano or lj; an error where the file itself says another one

    Raises
    ------
    InputError : units or atom style are others than expected
    ValueError, KeyError : it is no data file, or a damaged one
    """
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    if lines and (stated := re.search(r"units = (\w+)", lines[0])) and stated[1] != units:
        raise InputError(
            f"{path}: found units = {stated[1]} in its first line, expected {units}; "
            f'write units = "{stated[1]}" in [[run]]'
        )
    counts, edges, sections, styles = _cut(lines)
    labels = {row[0]: row[1] for row in sections.get("Atom Type Labels", [])}
    rows = sections["Atoms"]
    if counts.get("atoms") != len(rows) or not rows:
        raise ValueError(f"found {len(rows)} atoms, the header announces {counts.get('atoms', 'none')}")
    columns = _columns(rows, styles.get("Atoms", ""), labels, path)
    ids = np.array([int(one) for one in columns["id"]], np.int64)
    order = np.argsort(ids, kind="stable")
    if (np.diff(ids[order]) == 0).any():
        raise ValueError("two atoms have the same id")
    place = {int(one): k for k, one in enumerate(ids[order])}
    kind = as_text([labels.get(one, one) for one in np.array(columns["type"])[order]])
    position = np.array([columns[axis] for axis in "xyz"], np.float64).T[order] * _LENGTH[units]
    molecule = np.array([leading_number(one) for one in columns["mol"]])[order] if "mol" in columns else None
    terms = {}
    for name, size in _TERMS.items():
        listed = sections.get(name, [])
        if counts.get(name.lower(), 0) != len(listed):
            raise ValueError(f"found {len(listed)} {name.lower()}, the header announces {counts.get(name.lower(), 0)}")
        found = [[place[int(one)] for one in row[2 : 2 + size]] for row in listed]
        terms[name] = np.array(found, np.int64).reshape(-1, size) if found else no_terms(size)
    return Stated(
        name=kind,
        type=kind,
        residue_number=molecule,
        residue_id=molecule,
        together=_together(molecule, len(rows)) if not len(terms["Bonds"]) else None,
        mass=_masses(sections.get("Masses"), kind, labels, units),
        charge=np.array(columns["q"], np.float64)[order] if "q" in columns else None,
        bond=terms["Bonds"],
        angle=terms["Angles"],
        dihedral=terms["Dihedrals"],
        position=position,
        box=_box(edges) * _LENGTH[units],
    )


def _cut(lines: Sequence[str]) -> tuple[dict[str, int], dict[str, list[float]], dict[str, Rows], dict[str, str]]:
    """Return the counts and edges of the header, the rows of each section, and the hint behind its name."""
    counts: dict[str, int] = {}
    edges: dict[str, list[float]] = {}
    sections: dict[str, Rows] = {}
    hints: dict[str, str] = {}
    rows: Rows | None = None
    for line in lines[1:]:  # the first line is free text
        text, _, comment = line.partition("#")
        text = text.strip()
        if not text:
            continue
        if _SECTION.fullmatch(text):
            rows = sections.setdefault(text, [])
            hints[text] = comment.strip()
        elif rows is not None:
            rows.append(text.split())
        elif found := re.fullmatch(r"(\d+)\s+([a-z]+)", text):
            counts[found[2]] = int(found[1])
        elif found := re.fullmatch(r"([-+.\deE\s]+?)\s+(xlo xhi|ylo yhi|zlo zhi|xy xz yz)", text):
            edges[found[2]] = [float(one) for one in found[1].split()]
    return counts, edges, sections, hints


def _columns(rows: Rows, hint: str, labels: Mapping[str, str], path: Path) -> dict[str, Sequence[str]]:
    """Name the columns of the atoms, by the style behind the word Atoms or by their number."""
    width = len(rows[0])
    if any(len(row) != width for row in rows):
        raise ValueError("the atoms have different numbers of columns")
    said = hint.split()[0] if hint else ""  # what stands there may be any comment
    style = said if said in _STYLES or said in _OTHER_STYLES else _guess_style(rows)
    if style not in _STYLES:
        raise InputError(
            f'{path}: found the atom style "{style}", expected {" | ".join(_STYLES)}{did_you_mean(style, _STYLES)}'
        )
    names = (*_STYLES[style], "x", "y", "z")
    if width not in (len(names), len(names) + 3):  # image flags
        raise ValueError(f"atoms of style {style} have {len(names)} or {len(names) + 3} columns, found {width}")
    return dict(zip(names, zip(*rows, strict=True), strict=False))


def _guess_style(rows: Rows) -> str:
    """Tell the atom style of a file that does not say it; charges are no whole numbers, molecules are."""
    width = len(rows[0])
    if width in (6, 9):
        whole = all(re.fullmatch(r"\d+", row[2]) and row[2] != "0" for row in rows)
        return "molecular" if whole else "charge"
    return {5: "atomic", 8: "atomic", 7: "full", 10: "full"}.get(width, f"with {width} columns")


def _together(molecule: NDArray[np.int64] | None, atoms: int) -> NDArray[np.int64] | None:
    """Return molecule ids as groups, for files without bonds; 0 means none, and one id for all says nothing."""
    if molecule is None or len(set(molecule.tolist()) - {0}) < 2:
        return None
    own = molecule.max() + 1 + np.arange(atoms)
    return np.where(molecule > 0, molecule, own)


def _masses(
    rows: Rows | None, kind: NDArray[np.str_], labels: Mapping[str, str], units: str
) -> NDArray[np.float64] | None:
    """Return the mass of each particle, None where the file has none."""
    if rows is None:
        return None
    by_type = {labels.get(row[0], row[0]): float(row[1]) for row in rows}
    if missing := sorted(set(kind.tolist()) - set(by_type)):
        raise ValueError(f"it has no mass for the type {missing[0]}")
    return np.array([by_type[one] for one in kind.tolist()]) * _MASS[units]


def _box(edges: Mapping[str, list[float]]) -> NDArray[np.float64]:
    """Return the box vectors in the unit of the file; zeros where the file has no box."""
    try:
        low_high = [edges[f"{axis}lo {axis}hi"] for axis in "xyz"]
    except KeyError:
        return np.zeros((3, 3))
    box = np.diag([high - low for low, high in low_high])
    box[1, 0], box[2, 0], box[2, 1] = edges.get("xy xz yz", (0.0, 0.0, 0.0))
    return box
