"""Text trajectories: an index of where the frames lie, made in one pass, and the frames asked for parsed from bytes.

What formats share. A format says how its frames begin and end (a function that reads one frame's lines from `Lines`
and gives an `Entry`) and how the bytes of a frame become numbers (a `Layout`). No more than a window of the file is in
memory at opening, no more than the text of one frame beside the arrays that are returned at reading, and nothing is
written beside the file.
"""

from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cgstore.errors import InputError
from cgstore.frames import Frames
from cgstore.kernels.text import columns
from cgstore.readers.compressed import Contents
from cgstore.readers.sources import damage
from cgstore.readers.text_lines import Cut, Flaw, Lines, line_of

__all__ = ["Entry", "Index", "Layout", "TextReader", "index", "table"]

Int = NDArray[np.int64]
Bytes = NDArray[np.uint8]

_NO_BOX = (0.0,) * 9


@dataclass(frozen=True, slots=True)
class Entry:
    """One frame in the index: where its particles are, and what its header says."""

    offset: int  # of the first line with a particle
    length: int  # bytes of these lines
    particles: int
    time: float | None = None  # ps
    step: int | None = None
    box: tuple[float, ...] | None = None  # nm, the nine numbers of the box vectors
    form: tuple[float, ...] = ()  # how the particles are written, for the layout; as many numbers in every frame


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


@dataclass(frozen=True, slots=True, eq=False)
class Index:
    """The complete frames of a file, at least one: 100 to 250 bytes for each, whatever its size."""

    contents: Contents
    particles: int
    flaw: str  # why the list ends before the file does; empty when it does not
    offset: Int  # (frame,) bytes
    length: Int  # (frame,) bytes
    step: Int  # (frame,)
    time: NDArray[np.float64]  # (frame,) ps; NaN where there is none
    box: NDArray[np.float64]  # (frame, box_vector, xyz) nm; zero where there is none
    form: NDArray[np.float64]  # (frame, n) of the entries

    def reader(self, layout: Layout, *kept: str) -> TextReader:
        """Make the reader of these frames, of the arrays that every frame has."""
        with np.errstate(over="ignore"):
            box = self.box.astype(np.float32)
        return TextReader(
            path=self.contents.path,
            particles=self.particles,
            time=np.zeros(len(self.time)) if np.isnan(self.time).all() else self.time,
            step=self.step,
            flaw=self.flaw,
            box=box if box.any() else None,
            offset=self.offset,
            length=self.length,
            contents=self.contents,
            layout=layout,
            kept=kept,
        )


def index(path: Path, kind: str, next_frame: Callable[[Lines], Entry | None]) -> Index:
    """List the complete frames of a file, up to the first place that cannot be read.

    Parameters
    ----------
    path : the file, plain or compressed
    kind : what it should be, for messages: "a GRO trajectory"
    next_frame : reads the lines of one frame; None at the end of the file, Flaw where the file is wrong

    Raises
    ------
    InputError : the file cannot be read or does not begin with a complete frame
    """
    contents = Contents(path)
    places, numbers = array("q"), array("d")
    frames, particles, flaw = 0, 0, ""
    with contents.opened() as descriptor:
        lines = Lines(contents, descriptor)
        while True:
            begin = lines.position
            try:
                entry = next_frame(lines)
                if entry is not None and frames and entry.particles != particles:
                    raise Flaw(f"has {entry.particles} particles, the frames before it {particles}")
            except Flaw as error:
                place = f"frame {frames} (byte {begin} of {contents.size})"
                flaw = f"the file ends in the middle of {place}" if isinstance(error, Cut) else f"{place} {error}"
                break
            if entry is None:
                break
            particles = entry.particles
            places.extend((entry.offset, entry.length, frames if entry.step is None else entry.step))
            numbers.append(np.nan if entry.time is None else entry.time)
            numbers.extend(entry.box or _NO_BOX)
            numbers.extend(entry.form)
            frames += 1
    if not frames:
        raise InputError(f"{path}: not {kind}: {flaw or 'it has no frames'}")
    offset, length, step = np.array(places, np.int64).reshape(frames, 3).T.copy()
    time, box, form = np.split(np.array(numbers, np.float64).reshape(frames, -1), [1, 10], axis=1)
    return Index(contents, particles, flaw, offset, length, step, time[:, 0], box.reshape(frames, 3, 3), form)


def table(data: Bytes, wanted: Int, width: int, rows: int) -> NDArray[np.float64]:
    """Parse columns (ascending) of a table of `width` columns; raise Flaw at a line that does not fit."""
    values = np.empty((rows, len(wanted)))
    wrong = columns(data, wanted, width, values)
    if wrong >= 0:
        raise Flaw(f"expected {width} columns with numbers, found {line_of(data, wrong)}")
    return values
