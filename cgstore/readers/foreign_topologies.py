"""Topologies through the parsers of MDAnalysis: GRO, PDB, MOL2 and whatever else it knows."""

import re
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from cgstore.documents import did_you_mean
from cgstore.errors import InputError, MissingExtra
from cgstore.readers.stated_topologies import Stated, as_text, reading

__all__ = ["FOREIGN", "read_foreign"]

# MDAnalysis knows more; among them are data bases and containers, in which a file may do more than be read.
FOREIGN = (".gro", ".pdb", ".ent", ".mol2", ".crd", ".pqr", ".cif", ".itp", ".xml")
# Formats that list every bond: what no bond connects is another molecule. In the others bonds are optional, and the
# atoms of one residue belong together.
_ALL_BONDS = ("MOL2", "ITP", "XML", "HOOMDXML")
_GRO_LINE = 20  # bytes that an atom in a GRO has at the very least
# The filters of warnings belong to the process: two threads that change them at once show some, and leave them changed.
_QUIETLY = threading.Lock()


def read_foreign(path: Path, *, positions: bool = False) -> Stated:
    """Read what a file states with the parser that MDAnalysis has for its suffix.

    Parameters
    ----------
    path : nothing is written beside it
    positions : read those of the first frame too, where the file has some

    Raises
    ------
    InputError : no parser is known for the suffix; the file is damaged or foreign
    MissingExtra : MDAnalysis is not installed
    """
    with _QUIETLY, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from MDAnalysis.core._get_readers import get_parser_for
        except ImportError as error:
            raise MissingExtra.of("MDAnalysis", extra="ingest", purpose=f"reading {path.name}") from error
        _check_claim(path)
        try:
            if path.suffix.lower() not in FOREIGN:
                raise ValueError(path.suffix)
            parser = get_parser_for(str(path))
        except ValueError as error:
            hint = did_you_mean(path.suffix, (*FOREIGN, ".tpr", ".psf", ".prmtop", ".data", ".gsd", ".h5"))
            raise InputError(f'{path}: topologies of kind "{path.suffix}" cannot be read{hint}') from error
        formats = parser.format if isinstance(parser.format, str) else parser.format[0]
        with reading(path, str(formats).upper()):
            with parser(str(path)) as opened:
                parsed = opened.parse()
            if not parsed.n_atoms:
                raise ValueError("it has no atoms")
            place = _place(path, parsed.n_atoms) if positions else {}
            return _stated_by(parsed, str(formats).upper() in _ALL_BONDS, place)


def _check_claim(path: Path) -> None:
    """Refuse a GRO that announces more atoms than its bytes can hold, and an ITP that reads other files."""
    if path.suffix.lower() == ".itp":
        with path.open("rb") as file:
            included = next((line for line in file if line.strip().startswith(b"#include")), b"")
        if included:
            raise InputError(
                f"{path}: found {included.strip()[:80].decode('utf-8', 'replace')!r}, expected one file that is whole; "
                "give the .tpr that was made of it"
            )
    if path.suffix.lower() != ".gro":
        return
    with path.open("rb") as file:
        file.readline(4096)
        announced = file.readline(4096).strip()
    if not re.fullmatch(rb"\d{1,12}", announced) or int(announced) * _GRO_LINE > path.stat().st_size:
        raise InputError(
            f"{path}: its second line is {announced[:40]!r}, expected the number of atoms that follow; "
            "it is truncated, damaged, or no GRO file"
        )


def _stated_by(parsed: Any, all_bonds: bool, place: dict[str, Any]) -> Stated:
    """Turn a topology of MDAnalysis into columns; what it guesses itself is not used."""

    def values(*names: str) -> Any:
        return next((getattr(parsed, name).values for name in names if hasattr(parsed, name)), None)

    atoms = parsed.n_atoms
    residue = np.asarray(parsed.tt.atoms2residues(np.arange(atoms)))
    per_residue = {name: values(name) for name in ("resnames", "resids")}
    per_atom = {name: values(name) for name in ("types", "elements", "masses", "charges")}
    names = values("names", "types")
    return Stated(
        name=as_text(names if names is not None else np.full(atoms, "X")),
        type=None if per_atom["types"] is None else as_text(per_atom["types"]),
        residue=None if per_residue["resnames"] is None else as_text(per_residue["resnames"])[residue],
        residue_number=residue,
        residue_id=None if per_residue["resids"] is None else np.asarray(per_residue["resids"], np.int64)[residue],
        together=None if all_bonds else residue,
        element=None if per_atom["elements"] is None else as_text(per_atom["elements"]),
        mass=None if per_atom["masses"] is None else np.asarray(per_atom["masses"], np.float64),
        charge=None if per_atom["charges"] is None else np.asarray(per_atom["charges"], np.float64),
        bond=values("bonds"),
        angle=values("angles"),
        dihedral=values("dihedrals"),
        **place,
    )


def _place(path: Path, atoms: int) -> dict[str, Any]:
    """Return the positions and the box of the file in nm, nothing where it has none for all its atoms."""
    from MDAnalysis.core._get_readers import get_reader_for

    try:
        with get_reader_for(str(path))(str(path)) as frames:
            first = frames.ts
            position = np.asarray(first.positions, np.float64) / 10
            box = np.asarray(first.triclinic_dimensions, np.float64) / 10 if first.dimensions is not None else None
    except Exception:  # positions are only needed to guess bonds, which says what is missing
        return {}
    return {"position": position, "box": box} if position.shape == (atoms, 3) else {}
