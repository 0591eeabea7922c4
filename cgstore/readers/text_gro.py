"""GRO files of GROMACS with any number of frames, in any precision, with or without velocities.

A frame is a title, which may tell time and step (`t= 10.0 step= 5000`), the number of particles, a line of fixed
columns per particle, and the box. The columns of all numbers are as wide as the distance of two decimal points.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cgstore.kernels.text import fields
from cgstore.readers.text import Entry, TextReader, index
from cgstore.readers.text_lines import Cut, Flaw, Lines, as_count, as_number, ended_well, line_of, time_and_step

__all__ = ["open_gro"]

_NAMES = 20  # characters with the numbers and names of residue and particle
# Where the numbers of a box line go: v1x v2y v3z v1y v1z v2x v2z v3x v3y
_PLACES = (0, 4, 8, 1, 2, 3, 5, 6, 7)


@dataclass(frozen=True, slots=True, eq=False)
class _GroLayout:
    """Fixed columns; every frame may have its own precision."""

    particles: int
    width: NDArray[np.int64]  # (frame,) characters per number
    velocity: bool

    def arrays(self, data: NDArray[np.uint8], frame: int) -> Mapping[str, NDArray[np.floating]]:
        """Parse one frame."""
        values = np.empty((self.particles, 6 if self.velocity else 3))
        wrong = fields(data, _starts(data, self.particles), _NAMES, int(self.width[frame]), values)
        if wrong >= 0:
            raise Flaw(f"expected numbers of {self.width[frame]} characters, found {line_of(data, wrong)}")
        return {"position": values[:, :3]} | ({"velocity": values[:, 3:]} if self.velocity else {})


def open_gro(path: Path) -> TextReader:
    """Index a GRO file.

    Parameters
    ----------
    path : the file, plain or compressed; nothing is written beside it

    Returns
    -------
    TextReader : positions in nm, velocities in nm/ps when every frame has them; a frame without `t=` in its title has
        no time, one without `step=` its number as step; a box of zeros is none

    Raises
    ------
    InputError : the file is missing, empty, or does not begin with a complete GRO frame
    """
    found = index(path, "a GRO trajectory", _Structures())
    width, velocity = found.form.astype(np.int64).T
    layout = _GroLayout(found.particles, width, bool(velocity.all()))
    return found.reader(layout, "position", *(["velocity"] if layout.velocity else []))


@dataclass(slots=True)
class _Structures:
    """Reads the lines of one frame after the other, and remembers how many numbers a box has."""

    numbers: int = 9

    def __call__(self, lines: Lines) -> Entry | None:
        """Read the lines of one frame."""
        if lines.blank():  # a title may be blank, so what is blank up to the end is looked for first
            return None
        title = lines.whole_line()
        particles = as_count(lines.whole_line())
        offset = lines.position
        first = lines.peek()
        if lines.skip(particles) < particles:
            raise Cut
        length = lines.position - offset
        line = lines.line()
        words = line.split()
        # Without an end it may be the beginning of a longer line.
        if not words or not (line.endswith(b"\n") or (len(words) == self.numbers and ended_well(line))):
            raise Cut
        self.numbers = len(words)
        return Entry(offset, length, particles, *time_and_step(title), _box(words), _form(first.rstrip()))


def _form(line: bytes) -> tuple[int, bool]:
    """Return the width of the numbers of a frame and whether it has velocities, from its first particle."""
    one = line.find(b".", _NAMES)
    two = line.find(b".", one + 1)
    width = two - one
    if one < 0 or two < 0 or width < 3 or len(line) < _NAMES + 3 * width:
        raise Flaw(f"has no positions in its first line, {line[:60].decode('utf-8', 'replace')!r}")
    return width, len(line) >= _NAMES + 6 * width


def _box(words: list[bytes]) -> tuple[float, ...]:
    """Return the nine numbers of the box vectors from the three or nine of a box line."""
    if len(words) not in (3, 9):
        raise Flaw(f"has {len(words)} numbers in its box line, expected 3 or 9; is its number of particles right?")
    box = [0.0] * 9
    for place, word in zip(_PLACES, words, strict=False):
        box[place] = as_number(word)
    return tuple(box)


def _starts(data: NDArray[np.uint8], lines: int) -> NDArray[np.int64]:
    """Return where the lines begin."""
    ends = np.flatnonzero(data == ord("\n"))
    return np.concatenate([[0], ends[: lines - 1] + 1])
