"""DCD files as CHARMM writes them: positions in Å, a cell per frame, one time step for the whole file."""

import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from cgstore.errors import InputError
from cgstore.frames import Frames
from cgstore.neighbours.cells import lengths_and_angles, require_aligned
from cgstore.writers.contents import Contents
from cgstore.writers.xtc import LAST_STEP

__all__ = ["notes_on_dcd", "write_dcd"]

_ANGSTROM = 10.0  # in one nm
_AKMA = 0.04888821  # ps, the unit of time of CHARMM
_TITLE = 80  # letters of a line
_CELL = [0, 5, 1, 4, 3, 2]  # a γ b β α c, from a b c α β γ


def write_dcd(path: Path, contents: Contents, blocks: Iterable[Frames]) -> None:
    """Write frames.

    Raises
    ------
    InputError : boxes that lengths and angles do not describe
    """
    particles = len(contents.topology)
    has_box = "box" in contents.variables
    records = [("cell", "<f8", 6)] if has_box else []
    fields: list[tuple[str, str, int]] = []
    for name, kind, count in [*records, *((axis, "<f4", particles) for axis in "xyz")]:
        fields += [(f"before_{name}", "<i4", 1), (name, kind, count), (f"after_{name}", "<i4", 1)]
    layout = np.dtype(fields)
    with path.open("xb") as file:
        file.write(_header(contents, has_box=has_box))
        for frames in blocks:
            if frames.box is not None:
                require_aligned(frames.box, f"{contents.title} to DCD")
            for k, position in enumerate(frames.position):
                record = np.zeros((), layout)
                if frames.box is not None:
                    lengths, angles = lengths_and_angles(frames.box[k])
                    record["cell"] = np.concatenate([lengths * _ANGSTROM, angles])[_CELL]
                for axis, values in zip("xyz", position.T, strict=True):
                    record[axis] = values.astype(np.float64) * _ANGSTROM
                for name in layout.names or ():
                    side, _, of = name.partition("_")
                    if side in ("before", "after"):
                        record[name] = layout[of].itemsize
                file.write(record.tobytes())


def notes_on_dcd(contents: Contents) -> list[str]:
    """Say what becomes of the times."""
    time = contents.time
    if len(time) < 3 or np.allclose(np.diff(time), np.diff(time)[0], rtol=1e-3, atol=0):
        return []
    return [
        f"DCD has one interval for all frames: times of {time[0]:g}, {time[1]:g}, {time[2]:g} … ps will be read as "
        f"multiples of {_interval(contents):g} ps"
    ]


def _interval(contents: Contents) -> float:
    """Return the time between frames, ps."""
    return float(contents.time[1] - contents.time[0]) if len(contents.time) > 1 else 0.0


def _header(contents: Contents, *, has_box: bool) -> bytes:
    """Return the three records before the first frame."""
    frames, interval = len(contents.time), _interval(contents)
    # A reader takes the first time from the first step: steps are those of the dataset where they fit the times.
    between = int(contents.step[1] - contents.step[0]) if frames > 1 else 0
    first = int(contents.step[0])
    fits = between > 0 and 0 <= first <= LAST_STEP and np.isclose(first * interval, contents.time[0] * between)
    if not fits:
        between, first = 1, round(contents.time[0] / interval) if interval > 0 else 0
    numbers = np.zeros(20, "<i4")
    numbers[[0, 1, 2, 3]] = frames, min(max(first, 0), LAST_STEP), between, min(frames * between, LAST_STEP)
    numbers[9] = np.array(interval / between / _AKMA, "<f4").view("<i4")
    numbers[[10, 19]] = has_box, 24  # the version of CHARMM
    title = f"{contents.title}, written by cgstore".encode("ascii", "replace")[:_TITLE].ljust(_TITLE)
    parts = (b"CORD" + numbers.tobytes(), struct.pack("<i", 1) + title, struct.pack("<i", len(contents.topology)))
    if frames > LAST_STEP:
        raise InputError(f"{contents.title}: found {frames} frames, DCD counts up to {LAST_STEP}")
    return b"".join(struct.pack("<i", len(part)) + part + struct.pack("<i", len(part)) for part in parts)
