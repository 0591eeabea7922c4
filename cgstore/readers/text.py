"""Text trajectories: an index of where the frames lie, made in one pass, and the frames asked for parsed from bytes.

What formats share. A format says how its frames begin and end (a function that reads one frame's lines from `Lines`
and gives an `Entry`) and how the bytes of a frame become numbers (a `Layout`). No more than a window of the file is in
memory at opening, no more than the text of one frame beside the arrays that are returned at reading, and nothing is
written beside the file.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cgstore.errors import InputError
from cgstore.frames import Frames
from cgstore.kernels.text import after_lines, columns, records
from cgstore.readers.compressed import Contents
from cgstore.readers.sources import damage

__all__ = [
    "Cut",
    "Entry",
    "Flaw",
    "Layout",
    "Lines",
    "TextReader",
    "as_count",
    "as_number",
    "ended_well",
    "index",
    "line_of",
    "reader",
    "table",
    "time_and_step",
]

Int = NDArray[np.int64]
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


@dataclass(frozen=True, slots=True)
class Entry:
    """One frame in the index: where its particles are, and what its header says."""

    offset: int  # of the first line with a particle
    length: int  # bytes of these lines
    particles: int
    time: float | None = None  # ps
    step: int | None = None
    box: tuple[float, ...] | None = None  # nm, the nine numbers of the box vectors
    form: tuple[Any, ...] = ()  # how the particles are written, for the layout


class Layout(Protocol):
    """How the particles of a frame are written."""

    def arrays(self, data: Bytes, frame: int) -> Mapping[str, NDArray[np.floating]]:
        """Parse one frame: `position` and, always or never, `velocity` and `force`; raise Flaw on damage."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class TextReader:
    """One text trajectory; `flaw` says what is wrong after its last complete frame, empty when nothing is."""

    path: Path
    particles: int
    time: NDArray[np.float64]  # (frame,) ps; zero where the file has none
    step: Int  # (frame,)
    flaw: str
    box: NDArray[np.float32] | None  # (frame, box_vector, xyz) nm
    offset: Int  # (frame,) bytes
    length: Int  # (frame,) bytes
    contents: Contents
    layout: Layout
    kept: tuple[str, ...]  # the arrays that every frame has

    def read(self, frames: Int) -> Frames:
        """Parse these frames.

        Raises
        ------
        InputError : a frame is damaged, or the file is no longer what it was at opening
        """
        chosen = np.asarray(frames, np.int64)
        arrays = {name: np.empty((len(chosen), self.particles, 3), np.float32) for name in self.kept}
        with self.contents.opened() as descriptor, np.errstate(over="ignore", invalid="ignore"):
            for place, frame in enumerate(chosen.tolist()):
                data = np.empty(self.length[frame], np.uint8)
                self.contents.fill(descriptor, int(self.offset[frame]), data)
                try:
                    found = self.layout.arrays(data, frame)
                except Flaw as flaw:
                    raise damage(self.path, f"frame {frame} is damaged: {flaw}", good=frame) from flaw
                for name, target in arrays.items():
                    target[place] = found[name]
        box = None if self.box is None else self.box[chosen]
        return Frames(time=self.time[chosen], step=self.step[chosen], box=box, **arrays)


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


def index(path: Path, kind: str, next_frame: Callable[[Lines], Entry | None]) -> tuple[Contents, list[Entry], str]:
    """List the complete frames of a file, up to the first place that cannot be read.

    Parameters
    ----------
    path : the file, plain or compressed
    kind : what it should be, for messages: "a GRO trajectory"
    next_frame : reads the lines of one frame; None at the end of the file, Flaw where the file is wrong

    Returns
    -------
    the bytes of the file, the frames (at least one, all with the same number of particles), and why the list ends
    before the file does, in words; empty when it does not

    Raises
    ------
    InputError : the file cannot be read or does not begin with a complete frame
    """
    contents = Contents(path)
    found: list[Entry] = []
    flaw = ""
    with contents.opened() as descriptor:
        lines = Lines(contents, descriptor)
        while True:
            place = f"frame {len(found)} (byte {lines.position} of {contents.size})"
            try:
                entry = next_frame(lines)
                if entry is not None and entry.particles != (found or [entry])[0].particles:
                    raise Flaw(f"has {entry.particles} particles, the frames before it {found[0].particles}")
            except Cut:
                flaw = f"the file ends in the middle of {place}"
                break
            except Flaw as error:
                flaw = f"{place} {error}"
                break
            if entry is None:
                break
            found.append(entry)
    if not found:
        raise InputError(f"{path}: not {kind}: {flaw or 'it has no frames'}")
    return contents, found, flaw


def reader(contents: Contents, found: list[Entry], flaw: str, layout: Layout, kept: tuple[str, ...]) -> TextReader:
    """Make the reader of the frames in an index; times and boxes that only some frames have are NaN and zero."""
    frames = len(found)
    time = np.array([np.nan if entry.time is None else entry.time for entry in found])
    step = [frame if entry.step is None else entry.step for frame, entry in enumerate(found)]
    boxes = [entry.box or (0.0,) * 9 for entry in found]
    with np.errstate(over="ignore"):
        box = np.array(boxes, np.float64).astype(np.float32).reshape(frames, 3, 3)
    return TextReader(
        path=contents.path,
        particles=found[0].particles,
        time=np.zeros(frames) if np.isnan(time).all() else time,
        step=np.array(step, np.int64),
        flaw=flaw,
        box=box if any(entry.box for entry in found) else None,
        offset=np.array([entry.offset for entry in found], np.int64),
        length=np.array([entry.length for entry in found], np.int64),
        contents=contents,
        layout=layout,
        kept=kept,
    )


def table(data: Bytes, wanted: Int, width: int, rows: int) -> NDArray[np.float64]:
    """Parse columns (ascending) of a table of `width` columns; raise Flaw at a line that does not fit."""
    values = np.empty((rows, len(wanted)))
    wrong = columns(data, wanted, width, values)
    if wrong >= 0:
        raise Flaw(f"expected {width} columns with numbers, found {line_of(data, wrong)}")
    return values


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
        raise Flaw(f"has {_shown(text)} where a number belongs") from None


def as_count(text: bytes) -> int:
    """Read the number of particles; raise Flaw when it is none."""
    word = text.strip()
    if not word.isdigit() or len(word) > 12 or not int(word):
        raise Flaw(f"has {_shown(text)} where the number of particles belongs")
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


def _shown(text: bytes) -> str:
    """Return a piece of a line as a message shows it."""
    return repr(text.strip()[:_SHOWN].decode("utf-8", "replace"))
