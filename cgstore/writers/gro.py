"""GRO files of one or many frames: names, residues, positions to 0.001 nm, velocities and boxes of GROMACS."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from cgstore.frames import Frames
from cgstore.topology import Topology
from cgstore.writers.columns import check_range, fill_in, fitted, notes_on_names
from cgstore.writers.contents import Contents

__all__ = ["notes_on_gro", "write_gro"]

_WIDTH = 5  # of names and numbers
_AROUND = 100_000  # numbers start again
_POSITIONS = (-999.9995, 9999.9995)  # nm, eight columns with three decimals
_VELOCITIES = (-99.99995, 999.99995)  # nm/ps, eight columns with four decimals
_BOX = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1))  # order of its numbers


def write_gro(path: Path, contents: Contents, blocks: Iterable[Frames]) -> None:
    """Write frames one after the other; the line of the title has the time and the step.

    Raises
    ------
    InputError : numbers that do not fit into their columns
    """
    template = _template(contents.topology, velocities="velocity" in contents.variables)
    title = contents.title.replace("t=", "t =").replace("\n", " ")
    with path.open("x", encoding="utf-8", newline="\n") as file:
        for frames in blocks:
            for k, position in enumerate(frames.position):
                where = f"{contents.title} at {frames.time[k]:g} ps to GRO"
                check_range(position, _POSITIONS, f"{where}, positions in nm", ["xtc", "h5md"])
                columns = [position]
                if frames.velocity is not None:
                    check_range(frames.velocity[k], _VELOCITIES, f"{where}, velocities in nm/ps", ["trr", "h5md"])
                    columns.append(frames.velocity[k])
                file.write(f"{title} t= {frames.time[k]:.5f} step= {frames.step[k]}\n{len(contents.topology):5d}\n")
                file.write(fill_in(template, *columns))
                file.write(_box_line(None if frames.box is None else frames.box[k]))


def notes_on_gro(contents: Contents) -> list[str]:
    """Say which names are cut, and that numbers start again."""
    topology = contents.topology
    notes = notes_on_names("atom names", topology.name, _WIDTH)
    notes += notes_on_names("residue names", topology.residue, _WIDTH)
    if len(topology) >= _AROUND or topology.residue_id.max() >= _AROUND:
        notes.append(f"atom and residue numbers start again after {_AROUND - 1}")
    return notes


def _template(topology: Topology, *, velocities: bool) -> str:
    """Return the lines of a frame with places for its numbers."""
    numbers = "%8.3f" * 3 + ("%8.4f" * 3 if velocities else "") + "\n"
    names, residues = fitted(topology.name, _WIDTH), fitted(topology.residue, _WIDTH)
    lines = []
    for k, (number, residue, name) in enumerate(zip(topology.residue_id.tolist(), residues, names, strict=True), 1):
        line = f"{number % _AROUND:5d}{residue:<5}{name:>5}{k % _AROUND:5d}"
        lines.append(line.replace("%", "%%") + numbers)
    return "".join(lines)


def _box_line(box: np.ndarray | None) -> str:
    """Return the last line of a frame: three numbers, or nine when the box is not a right one."""
    if box is None:
        return "   0.00000   0.00000   0.00000\n"
    count = 9 if any(box[place] != 0 for place in _BOX[3:]) else 3
    return "".join(f"{box[place]:10.5f}" for place in _BOX[:count]) + "\n"
