"""Lines of text trajectories, read through a window that moves along the file, and what is written in them."""

import re

import numpy as np
from numpy.typing import NDArray

from cgstore.kernels.text import after_lines, records
from cgstore.readers.compressed import Contents

__all__ = ["Cut", "Flaw", "Lines", "as_count", "as_number", "ended_well", "line_of", "shown", "time_and_step"]

Bytes = NDArray[np.uint8]

_WINDOW = 2**20  # bytes of the file in memory while it is indexed; no header line is longer
_TIME = re.compile(rb"(?<![\w.])t\s*=\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?![\w.])")
_STEP = re.compile(rb"(?<![\w.])step\s*=\s*(\d{1,18})(?!\w)")
_VISIBLE = re.compile(rb"\S")
_SHOWN = 60  # characters of a wrong line that a message shows


class Flaw(Exception):
    """What is wrong with a frame, in words that continue "frame 3 …"."""


class Cut(Flaw):
    """The file ends in the middle of the frame."""


class Lines:
    """The lines of a file one after the other, through a window that moves with them."""

    __slots__ = ("_at", "_base", "_bytes", "_contents", "_descriptor", "_end", "_window")

    def __init__(self, contents: Contents, descriptor: int) -> None:
        self._contents, self._descriptor = contents, descriptor
        self._window = bytearray(min(_WINDOW, max(contents.size, 1)))
        self._bytes = np.frombuffer(self._window, np.uint8)
        self._base = self._at = self._end = 0

    @property
    def position(self) -> int:
        """Where in the file the next line begins."""
        return self._base + self._at

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._contents.size

    def line(self) -> bytes:
        """Return the next line with its end; without one at the end of the file, and empty behind it."""
        stop = self._window.find(b"\n", self._at, self._end) + 1
        if not stop:
            self._slide()
            stop = self._window.find(b"\n", 0, self._end) + 1
        if not stop:
            if self._base + self._end < self.size:
                raise Flaw("has a line of more than a megabyte")
            stop = self._end
        line = bytes(self._window[self._at : stop])
        self._at = stop
        return line

    def whole_line(self) -> bytes:
        """Return the next line, which must have an end."""
        line = self.line()
        if not line.endswith(b"\n"):
            raise Cut
        return line

    def peek(self) -> bytes:
        """Return what `line` will."""
        line = self.line()
        self._at -= len(line)
        return line

    def skip(self, count: int) -> int:
        """Pass over this many lines; return how many of them there were, complete ones only."""
        passed: int = 0
        while passed < count:
            self._at, more = after_lines(self._bytes, self._at, self._end, count - passed)
            passed += more
            if passed < count and not self._more():
                break
        return passed

    def records(self) -> int:
        """Pass over the lines of a PDB file that its reader need not look at; return how many of them were atoms."""
        total: int = 0
        while True:
            self._at, atoms, found = records(self._bytes, self._at, self._end)
            total += atoms
            if found or not self._more():
                return total

    def blank(self) -> bool:
        """Tell whether nothing but white space is left."""
        while not _VISIBLE.search(self._window, self._at, self._end):
            if self._base + self._end == self.size:
                return True
            if self._at == 0 and self._end == len(self._window):
                return False
            self._slide()
        return False

    def _more(self) -> bool:
        """Move on when there is more of the file than is in the window."""
        if self._base + self._end == self.size:
            return False
        if self._at == 0 and self._end == len(self._window):
            raise Flaw("has a line of more than a megabyte")
        self._slide()
        return True

    def _slide(self) -> None:
        """Begin the window with the next line, and fill it."""
        left = self._end - self._at
        self._window[:left] = self._window[self._at : self._end]
        self._base, self._at = self._base + self._at, 0
        more = min(len(self._window) - left, self.size - self._base - left)
        self._contents.fill(self._descriptor, self._base + left, self._bytes[left : left + more])
        self._end = left + more


def line_of(data: Bytes, row: int) -> str:
    """Return a line as a message shows it."""
    begin, _ = after_lines(data, 0, len(data), row)
    line = data[begin : begin + _SHOWN].tobytes().split(b"\n")[0].rstrip(b"\r")
    return repr(line.decode("utf-8", "replace"))


def as_number(text: bytes) -> float:
    """Read a number of a header; raise Flaw when it is none."""
    try:
        # Python takes 1_000 for a number, no program writes it.
        return float(text.replace(b"_", b"?"))
    except ValueError:
        raise Flaw(f"has {shown(text)} where a number belongs") from None


def as_count(text: bytes) -> int:
    """Read the number of particles; raise Flaw when it is none."""
    word = text.strip()
    if not word.isdigit() or len(word) > 12 or not int(word):
        raise Flaw(f"has {shown(text)} where the number of particles belongs")
    return int(word)


def time_and_step(title: bytes) -> tuple[float | None, int | None]:
    """Return the time (ps) and the step that GROMACS writes at the end of a title, None where there is none.

    >>> time_and_step(b"alpha=2 in water t=  10.50000 step= 5250")
    (10.5, 5250)
    """
    times, steps = _TIME.findall(title), _STEP.findall(title)
    return float(times[-1]) if times else None, int(steps[-1]) if steps else None


def ended_well(line: bytes) -> bool:
    """Tell whether the last line of a file, which has no end, is whole.

    Its last number may be cut. A number with as many characters behind the point as the one before it, and no fewer
    than three, is at least as precise as that one, so nothing is lost by taking it as it is.

    >>> ended_well(b"C 1.250 3.100 0.125"), ended_well(b"C 1.250 3.100 0.1")
    (True, False)
    """
    ends = [word.partition(b".")[2] for word in line.split()[-2:]]
    return len(ends) == 2 and len(ends[0]) == len(ends[1]) >= 3


def shown(text: bytes) -> str:
    """Return a piece of a line as a message shows it."""
    return repr(text.strip()[:_SHOWN].decode("utf-8", "replace"))
