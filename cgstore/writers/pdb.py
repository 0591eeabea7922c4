"""PDB files of one or many models: what every viewer opens; positions to 0.001 Å."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cgstore.frames import Frames
from cgstore.neighbours.cells import lengths_and_angles, require_aligned
from cgstore.topology import Topology
from cgstore.writers.columns import check_range, fill_in, fitted, notes_on_names
from cgstore.writers.contents import Contents

__all__ = ["notes_on_pdb", "write_pdb"]

_ANGSTROM = 10.0  # in one nm
_NAMES = 4  # letters; residue names have three in the standard, and a fourth in practice
_SERIALS, _RESIDUES, _MODELS = 100_000, 10_000, 10_000  # numbers start again
_POSITIONS = (-999.9995, 9999.9995)  # Å, eight columns with three decimals


def write_pdb(path: Path, contents: Contents, blocks: Iterable[Frames]) -> None:
    """Write frames as models, with TITLE (time and step) and CRYST1 before each; bonds follow at the end.

    Raises
    ------
    InputError : positions that do not fit into their columns, boxes that lengths and angles do not describe
    """
    template = _template(contents.topology, contents.element)
    many = len(contents.time) > 1
    number = 0
    with path.open("x", encoding="utf-8", newline="\n") as file:
        for frames in blocks:
            if frames.box is not None:
                require_aligned(frames.box, f"{contents.title} to PDB")
            for k, position in enumerate(frames.position):
                number += 1
                angstrom = position.astype(np.float64) * _ANGSTROM
                where = f"{contents.title} at {frames.time[k]:g} ps to PDB, positions in Å"
                check_range(angstrom, _POSITIONS, where, ["xtc", "h5md"])
                file.write(f"TITLE     {contents.title[:40]} t= {frames.time[k]:.5f} step= {frames.step[k]}\n")
                if frames.box is not None:
                    file.write(_cell_line(frames.box[k]))
                file.write(f"MODEL     {number % _MODELS:4d}\n" if many else "")
                file.write(fill_in(template, angstrom))
                file.write("ENDMDL\n" if many else "")
        file.writelines(_bond_lines(contents.topology))
        file.write("END\n")


def notes_on_pdb(contents: Contents) -> list[str]:
    """Say which names are cut, which numbers start again, and what becomes of the bonds."""
    topology = contents.topology
    notes = notes_on_names("atom names", topology.name, _NAMES)
    notes += notes_on_names("residue names", topology.residue, _NAMES)
    if len(topology) >= _SERIALS:
        bonds = "; bonds are left out, they would be ambiguous" if len(topology.bond) else ""
        notes.append(f"atom numbers start again after {_SERIALS - 1}{bonds}")
    if topology.residue_id.max() >= _RESIDUES:
        notes.append(f"residue numbers start again after {_RESIDUES - 1}")
    if len(contents.time) >= _MODELS:
        notes.append(f"model numbers start again after {_MODELS - 1}")
    return notes


def _template(topology: Topology, element: NDArray[np.str_]) -> str:
    """Return the lines of a model with places for its coordinates."""
    names, residues = fitted(topology.name, _NAMES), fitted(topology.residue, _NAMES)
    lines = []
    rows = zip(names, residues, topology.residue_id.tolist(), element.tolist(), strict=True)
    for k, (name, residue, number, symbol) in enumerate(rows, 1):
        # Elements of one letter begin in the second column of the name, so that CA is not calcium.
        shown = name if len(name) == _NAMES or len(symbol) == 2 else f" {name}"
        line = f"ATOM  {k % _SERIALS:5d} {shown:<4} {residue:<4} {number % _RESIDUES:4d}    "
        lines.append(line.replace("%", "%%") + "%8.3f%8.3f%8.3f" + f"  1.00  0.00          {symbol.upper():>2}  \n")
    return "".join(lines)


def _cell_line(box: NDArray[np.float32]) -> str:
    """Return the line of the unit cell."""
    lengths, angles = lengths_and_angles(box)
    a, b, c = (lengths * _ANGSTROM).tolist()
    alpha, beta, gamma = angles.tolist()
    return f"CRYST1{a:9.3f}{b:9.3f}{c:9.3f}{alpha:7.2f}{beta:7.2f}{gamma:7.2f} P 1           1\n"


def _bond_lines(topology: Topology) -> Iterable[str]:
    """Give the bonds of each atom, four to a line; none when atom numbers are not unique."""
    if len(topology) >= _SERIALS or not len(topology.bond):
        return
    ends = np.concatenate([topology.bond, topology.bond[:, ::-1]]) + 1
    ends = ends[np.lexsort((ends[:, 1], ends[:, 0]))]
    starts = np.flatnonzero(np.diff(ends[:, 0], prepend=0))
    for atom, partners in zip(ends[starts, 0], np.split(ends[:, 1], starts[1:]), strict=True):
        for first in range(0, len(partners), 4):
            yield f"CONECT{atom:5d}" + "".join(f"{partner:5d}" for partner in partners[first : first + 4]) + "\n"
