"""Topology files (TPR, GRO, PDB, PSF, PRMTOP, LAMMPS data …) to `Topology`, through the parsers of MDAnalysis.

What a file does not say is not guessed, with one exception: formats without masses (GRO, PDB) get those of the
elements, from the element column or from the atom name. Beads of coarse-grained models have no element; they need a
topology with masses.
"""

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgstore.errors import InputError, MissingExtra
from cgstore.topology import Topology, molecules_of_bonds

__all__ = ["read_topology"]

Int = NDArray[np.int32]
Text = NDArray[np.str_]

# Formats that list every bond: what no bond connects is another molecule. In the others bonds are optional, and the
# atoms of one residue belong together.
_WITH_ALL_BONDS = ("PSF", "TOP", "PRMTOP", "PARM7", "DATA", "MOL2", "ITP", "XML", "HOOMDXML")
# Two-letter elements that an atom of a larger residue can be called after; CA, CD, HG, NA … are C, C, H, N there.
_TWO_LETTERS = ("Ag", "Al", "Au", "Br", "Cl", "Cu", "Fe", "Li", "Mg", "Mn", "Pt", "Se", "Si", "Ti", "Zn")
_ONE_LETTER = "BCFHINOPS"
# Ions as CHARMM calls them.
_IONS = {
    "SOD": "Na",
    "POT": "K",
    "CLA": "Cl",
    "CAL": "Ca",
    "CES": "Cs",
    "LIT": "Li",
    "RUB": "Rb",
    "BAR": "Ba",
    "CAD": "Cd",
}


def read_topology(path: Path) -> Topology:
    """Read the static part of a system.

    Parameters
    ----------
    path : a file that MDAnalysis has a topology parser for; nothing is written beside it

    Returns
    -------
    Topology : `type` is the atom name. `molecule_kind` is the molecule type where the file knows it (TPR), otherwise
        the residue name, or the residue names joined by `-`; kinds without a name are called `MOL1`, `MOL2` …
        Bonds (constraints and SETTLE among them), angles and dihedrals are those of the file.

    Raises
    ------
    InputError : the file is missing, cannot be read, or has neither masses nor known elements
    MissingExtra : MDAnalysis is not installed
    """
    if not path.is_file():
        raise InputError(f"{path}: no such topology file")
    parsed, kind = _parse(path)
    atoms = parsed.n_atoms
    residue = np.asarray(parsed.tt.atoms2residues(np.arange(atoms)))
    name = _text(_values(parsed, "names", "types", default=np.full(atoms, "X")))
    residue_name = _text(_values(parsed, "resnames", default=np.full(parsed.n_residues, "")))[residue]
    bond = _terms(parsed, "bonds", 2)
    molecule = _molecules(parsed, residue, bond, kind)
    moltype = _values(parsed, "moltypes", default=None)
    molecule_kind = _text(moltype)[residue] if moltype is not None else _kinds(molecule, residue_name, name)
    residue_name = np.where(residue_name == "", molecule_kind, residue_name)
    charge = _values(parsed, "charges", default=np.zeros(atoms))
    return Topology(
        name=name,
        type=name,
        residue=residue_name,
        residue_id=np.asarray(_values(parsed, "resids", default=np.arange(parsed.n_residues)), np.int32)[residue],
        molecule=molecule,
        molecule_kind=molecule_kind,
        mass=_masses(parsed, path, name, residue),
        charge=np.asarray(charge, np.float64),
        bond=bond,
        angle=_terms(parsed, "angles", 3),
        dihedral=_terms(parsed, "dihedrals", 4),
    )


def _parse(path: Path) -> tuple[Any, str]:
    """Run the parser of MDAnalysis; return its topology and the name of the format."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from MDAnalysis.core._get_readers import get_parser_for
        except ImportError as error:
            raise MissingExtra.of("MDAnalysis", extra="ingest", purpose=f"reading {path.name}") from error
        try:
            parser = get_parser_for(str(path))
            with parser(str(path)) as opened:
                parsed = opened.parse()
        # Parsers raise whatever a damaged or foreign file leads them to, from IndexError to UnicodeDecodeError.
        except Exception as error:
            raise InputError(
                f"{path}: not a topology that MDAnalysis can read: {type(error).__name__}: {error}"
            ) from error
    if not parsed.n_atoms:
        raise InputError(f"{path}: the topology has no atoms")
    formats = parser.format if isinstance(parser.format, str) else parser.format[0]
    return parsed, str(formats).upper()


def _values(parsed: Any, *names: str, default: Any) -> Any:
    """Return the first of these attributes that the file has."""
    return next((getattr(parsed, name).values for name in names if hasattr(parsed, name)), default)


def _text(values: Any) -> Text:
    """Return values as an array of strings, TPR's running number `seg_0_` removed."""
    return np.array([re.sub(r"^seg_\d+_", "", str(value)) for value in values], np.str_)


def _terms(parsed: Any, name: str, size: int) -> Int:
    """Return bonds, angles or dihedrals, each once (a dihedral with several terms is listed once per term)."""
    found = np.array(_values(parsed, name, default=()), np.int32).reshape(-1, size)
    turned = found[:, 0] > found[:, -1]
    found[turned] = found[turned, ::-1]
    return np.unique(found, axis=0)


def _molecules(parsed: Any, residue: NDArray[Any], bond: Int, kind: str) -> Int:
    """Number the molecules in the order of their first particle."""
    numbers = _values(parsed, "molnums", default=None)
    if numbers is not None:
        return _linked(np.asarray(numbers)[residue], np.empty((0, 2), np.int32))
    if kind in _WITH_ALL_BONDS:
        return molecules_of_bonds(bond, len(residue))
    return _linked(residue, bond)


def _linked(group: NDArray[Any], bond: Int) -> Int:
    """Number what belongs together because it is in one group or bonded."""
    order = np.argsort(group, kind="stable")
    same = group[order][1:] == group[order][:-1]
    neighbours = np.stack([order[:-1][same], order[1:][same]], 1)
    return molecules_of_bonds(np.concatenate([bond, neighbours.astype(np.int32)]), len(group))


def _kinds(molecule: Int, residue: Text, name: Text) -> Text:
    """Name the kind of each molecule after its residues, or number the kinds that have no short name."""
    order = np.argsort(molecule, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(molecule[order])) + 1)
    known: dict[tuple[str, ...], str] = {}
    kinds = np.empty(len(molecule), object)
    for part in parts:
        residues = tuple(dict.fromkeys(residue[part].tolist()))
        if all(residues) and len(residues) <= 4:
            kinds[part] = "-".join(residues)
        elif len(part) == 1:
            kinds[part] = name[part[0]]
        else:
            kinds[part] = known.setdefault(tuple(name[part].tolist()), f"MOL{len(known) + 1}")
    return kinds.astype(np.str_)


def _masses(parsed: Any, path: Path, name: Text, residue: NDArray[Any]) -> NDArray[np.float64]:
    """Return the masses of the file, or those of the elements."""
    masses = _values(parsed, "masses", default=None)
    if masses is not None:
        return np.asarray(masses, np.float64)
    from MDAnalysis.guesser.tables import masses as table

    columns = _text(_values(parsed, "elements", default=np.full(len(name), "")))
    alone = np.bincount(residue)[residue] == 1
    element = [column or _element(*key) for column, *key in zip(columns, name, alone, strict=True)]
    found = [table.get(symbol.upper(), table.get(symbol.capitalize())) for symbol in element]
    unknown = sorted({str(name[k]) for k, mass in enumerate(found) if mass is None})
    if unknown:
        shown = ", ".join(unknown[:8]) + (" …" if len(unknown) > 8 else "")
        raise InputError(
            f"{path}: no masses in the file, and no element is known for the atoms {shown}; "
            "use a topology with masses (tpr, psf, prmtop, LAMMPS data)"
        )
    return np.array(found, np.float64)


def _element(name: str, alone: bool) -> str:
    """Return the element that an atom is called after, empty when there is none; `alone` in its residue."""
    letters = re.sub(r"^[^A-Za-z]*([A-Za-z]*).*$", r"\1", name)
    if alone and letters.upper() in _IONS:
        return _IONS[letters.upper()]
    # Alone a name is that of an ion or a noble gas as a whole; a W is the water bead of Martini, not tungsten.
    if alone and len(letters) <= 2 and letters.upper() != "W":
        return letters
    if letters[:2].capitalize() in _TWO_LETTERS or letters[1:2].islower():
        return letters[:2]
    return letters[:1].upper() if letters[:1].upper() in _ONE_LETTER and not alone else ""
