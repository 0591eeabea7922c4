"""PDB files of many models, as GROMACS, VMD, OpenMM, MDAnalysis and mdtraj write them.

A frame is what MODEL and ENDMDL enclose, or what an END closes, or all there is. Only ATOM and HETATM records count,
each with its coordinates (Å) in columns 31 to 54; serial numbers may overflow as they like. The cell of a CRYST1
record is that of the models after it, until the next one; "1 1 1 90 90 90" is no cell. GROMACS tells the time in the
title (`t= 10.0 step= 5000`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cgstore.kernels.text import atom_lines, fields
from cgstore.readers.boxes import box_vectors
from cgstore.readers.text import Entry, TextReader, index
from cgstore.readers.text_lines import Cut, Flaw, Lines, as_number, line_of, time_and_step

__all__ = ["open_pdb"]

_ANGSTROM = 0.1  # nm
_COORDINATES, _WIDTH = 30, 8  # where x begins in a line, and characters per coordinate
_CELL = ((6, 15), (15, 24), (24, 33), (33, 40), (40, 47), (47, 54))  # a, b, c, alpha, beta, gamma
_ATOMS = (b"ATOM", b"HETATM")
_END = _COORDINATES + 3 * _WIDTH


@dataclass(frozen=True, slots=True, eq=False)
class _PdbLayout:
    """Fixed columns of the lines that are atoms."""

    particles: int

    def arrays(self, data: NDArray[np.uint8], frame: int) -> Mapping[str, NDArray[np.floating]]:
        """Parse one frame."""
        starts = np.empty(self.particles, np.int64)
        found = atom_lines(data, starts)
        if found != self.particles:
            raise Flaw(f"has {found} atoms, expected {self.particles}; is it still written?")
        values = np.empty((self.particles, 3))
        wrong = fields(data, starts, _COORDINATES, _WIDTH, values)
        if wrong >= 0:
            raise Flaw(f"expected x, y and z in columns 31 to 54, found {line_of(data[starts[wrong] :], 0)}")
        return {"position": values * _ANGSTROM}


@dataclass(slots=True)
class _Models:
    """Reads the lines of one frame after the other, and remembers the cell for the next."""

    box: tuple[float, ...] | None = None

    def __call__(self, lines: Lines) -> Entry | None:
        """Read the lines of one frame."""
        time: float | None = None
        step: int | None = None
        opened, particles, offset, stop = False, 0, lines.position, lines.position
        while True:
            begin = lines.position
            if atoms := lines.records():
                offset, stop = offset if particles else begin, lines.position
                particles += atoms
            line = lines.line()
            record = line[:6].rstrip()
            ended, closed = not line.endswith(b"\n"), record in (b"END", b"ENDMDL")
            if ended and _is_atom(line):
                offset, stop = offset if particles else begin, lines.position
                particles += 1
            if (ended or closed) and particles:
                break
            if ended and not opened:
                return None
            if record == b"MODEL":
                if particles:
                    raise Flaw("goes on with another MODEL before its ENDMDL")
                opened = True
            elif record == b"CRYST1":
                self.box = _cell(line)
            elif record == b"TITLE":
                time, step = time_and_step(line)
            if ended:
                raise Cut
        if opened and not closed:
            raise Cut
        return Entry(offset, stop - offset, particles, time, step, self.box)


def open_pdb(path: Path) -> TextReader:
    """Index a PDB file.

    Parameters
    ----------
    path : the file, plain or compressed; nothing is written beside it

    Returns
    -------
    TextReader : positions in nm; a model without `t=` in a title before it has no time, one without `step=` its
        number, from 0, as step

    Raises
    ------
    InputError : the file is missing, empty, or does not begin with a complete model
    """
    found = index(path, "a PDB trajectory", _Models())
    return found.reader(_PdbLayout(found.particles), "position")


def _is_atom(line: bytes) -> bool:
    """Tell whether the last line of a file, which has no end, is an atom; raise Cut when it is a part of one."""
    record = line[:6].rstrip()
    if record in _ATOMS and len(line.rstrip()) >= _END:
        return True
    if record and any(atom.startswith(record) for atom in _ATOMS):
        raise Cut
    return False


def _cell(line: bytes) -> tuple[float, ...] | None:
    """Return the nine numbers of the box vectors from a CRYST1 record."""
    words = [line[begin:end] for begin, end in _CELL]
    try:
        numbers = [as_number(word) for word in words]
    except Flaw:
        # Some programs do not keep to the columns.
        words = line[6:].split()[:6]
        if len(words) < 6:
            raise Flaw("has a CRYST1 record without three lengths and three angles") from None
        numbers = [as_number(word) for word in words]
    lengths, angles = numbers[:3], numbers[3:]
    if lengths == [1.0, 1.0, 1.0]:
        return None
    box = box_vectors([[_ANGSTROM * length for length in lengths]], [angles])
    return tuple(box.ravel().tolist())
