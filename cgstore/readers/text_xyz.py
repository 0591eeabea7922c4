"""XYZ files with any number of frames, plain or extended; lengths in Å.

A frame is the number of particles, a comment, and a line per particle: its name, x, y and z, in the extended format
what `Properties=` in the comment says. `Lattice=` gives the box, unless `pbc=` says that no direction is periodic.
Forces (`forces` or `force`, eV/Å, as all programs of the extended format have them) are kept. Velocities are not:
programs do not agree on their unit; neither are times, except those of CP2K (`i = 100, time = 50.0`, in fs).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cgstore.readers.text import Entry, TextReader, index, table
from cgstore.readers.text_lines import Cut, Flaw, Lines, as_count, as_number, ended_well, shown

__all__ = ["open_xyz"]

_ANGSTROM = 0.1  # nm
_FEMTOSECOND = 0.001  # ps
_ELECTRONVOLT_PER_ANGSTROM = 964.853321233  # kJ/mol/nm
_LATTICE = re.compile(rb"""\blattice\s*=\s*(?:"([^"]*)"|'([^']*)'|\{([^}]*)\})""", re.IGNORECASE)
_PROPERTIES = re.compile(rb"""\bproperties\s*=\s*["']?([^\s"']+)""", re.IGNORECASE)
_OPEN = re.compile(rb"""\bpbc\s*=\s*["'\[]?\s*F\w*[\s,]+F\w*[\s,]+F""", re.IGNORECASE)
_CP2K = re.compile(rb"^\s*i\s*=\s*(\d{1,18})\s*,\s*time\s*=\s*([-+.\deE]+)")
_LAMMPS = re.compile(rb"^\s*Atoms\. Timestep:\s*(\d{1,18})")


@dataclass(frozen=True, slots=True, eq=False)
class _XyzLayout:
    """Columns between blanks; every frame may have its own."""

    particles: int
    form: NDArray[np.int64]  # (frame, 3): how many columns, which is x, which is the x of the force, -1 for none
    force: bool

    def arrays(self, data: NDArray[np.uint8], frame: int) -> Mapping[str, NDArray[np.floating]]:
        """Parse one frame."""
        width, *begins = self.form[frame, : 3 if self.force else 2].tolist()
        wanted = np.concatenate([np.arange(begin, begin + 3) for begin in begins])
        order = np.argsort(wanted)
        values = np.empty((self.particles, len(wanted)))
        values[:, order] = table(data, wanted[order], width, self.particles)
        arrays = {"position": values[:, :3] * _ANGSTROM}
        return arrays | ({"force": values[:, 3:] * _ELECTRONVOLT_PER_ANGSTROM} if self.force else {})


def open_xyz(path: Path) -> TextReader:
    """Index an XYZ file.

    Parameters
    ----------
    path : the file, plain or compressed; nothing is written beside it

    Returns
    -------
    TextReader : positions in nm, forces in kJ/mol/nm when every frame has them; the box is that of `Lattice=`

    Raises
    ------
    InputError : the file is missing, empty, or does not begin with a complete XYZ frame
    """
    found = index(path, "an XYZ trajectory", _next_frame)
    form = found.form.astype(np.int64)
    layout = _XyzLayout(found.particles, form, bool((form[:, 2] >= 0).all()))
    return found.reader(layout, "position", *(["force"] if layout.force else []))


def _next_frame(lines: Lines) -> Entry | None:
    """Read the lines of one frame."""
    while not (line := lines.line()).strip():
        if not line:
            return None
    if not line.endswith(b"\n"):
        raise Cut
    particles = as_count(line)
    comment = lines.whole_line()
    offset = lines.position
    first = lines.peek()
    if (missing := particles - lines.skip(particles)) > 0:
        last = lines.line()
        if missing > 1 or len(last.split()) != len(first.split()) or not ended_well(last):
            raise Cut
    cp2k, lammps = _CP2K.search(comment), _LAMMPS.search(comment)
    step = cp2k or lammps
    return Entry(
        offset=offset,
        length=lines.position - offset,
        particles=particles,
        time=as_number(cp2k[2]) * _FEMTOSECOND if cp2k else None,
        step=int(step[1]) if step else None,
        box=_box(comment),
        form=_form(comment, len(first.split())),
    )


def _box(comment: bytes) -> tuple[float, ...] | None:
    """Return the nine numbers of `Lattice`, the vectors one after the other."""
    found = _LATTICE.search(comment)
    if not found or _OPEN.search(comment):
        return None
    words = next(group for group in found.groups() if group is not None).split()
    if len(words) != 9:
        raise Flaw(f"has a Lattice of {len(words)} numbers, expected 9")
    return tuple(as_number(word) * _ANGSTROM for word in words)


def _form(comment: bytes, width: int) -> tuple[int, int, int]:
    """Return how many columns there are, where x is, and where the x of the force is, -1 for nowhere."""
    found = _PROPERTIES.search(comment)
    if not found:
        if width < 4:
            raise Flaw(f"has {width} columns, expected a name, x, y and z")
        return width, 1, -1
    words = found[1].split(b":")
    begins: dict[bytes, int] = {}
    total = 0
    for name, kind, count in zip(words[::3], words[1::3], words[2::3], strict=False):
        if not count.isdigit() or len(count) > 3:
            raise Flaw(f"has Properties that cannot be read, {shown(found[1])}")
        if kind == b"R" and int(count) == 3:
            begins[name.lower()] = total
        total += int(count)
    if b"pos" not in begins:
        raise Flaw("has Properties without pos:R:3")
    return total, begins[b"pos"], begins.get(b"forces", begins.get(b"force", -1))
