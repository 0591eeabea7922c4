"""TRR files: positions, velocities and forces of GROMACS in full float32 precision."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from cgstore.frames import Frames
from cgstore.writers.contents import Contents

__all__ = ["write_trr"]

_NAMES = ("box", "position", "velocity", "force")


def write_trr(path: Path, contents: Contents, blocks: Iterable[Frames]) -> None:
    """Write frames; each has its box, positions, and the velocities and forces that there are."""
    particles = len(contents.topology)
    # Without a box there is one of zeros, as in files of GROMACS: other readers take a missing one from memory that
    # nobody has written.
    there = {"box", *contents.variables}
    shapes = {name: (3, 3) if name == "box" else (particles, 3) for name in _NAMES if name in there}
    sizes = {name: 4 * int(np.prod(shape)) for name, shape in shapes.items()}
    box, x, v, f = (sizes.get(name, 0) for name in _NAMES)
    # Sizes of ir, e, box, virial, pressure, top, sym, x, v, f; particles, step and nre; time and lambda.
    head = [("tag", ">i4", 3), ("name", "S12"), ("sizes", ">i4", 10), ("numbers", ">i4", 3), ("times", ">f4", 2)]
    layout = np.dtype([*head, *((name, ">f4", shape) for name, shape in shapes.items())])
    with path.open("xb") as file:
        for frames in blocks:
            for k in range(len(frames)):
                record = np.zeros((), layout)
                record["tag"] = 1993, 13, 12
                record["name"] = b"GMX_trn_file"
                record["sizes"] = 0, 0, box, 0, 0, 0, 0, x, v, f
                record["numbers"] = particles, frames.step[k].astype(np.int32), 0
                record["times"] = frames.time[k], 0.0
                for name in contents.variables:
                    record[name] = getattr(frames, name)[k]
                file.write(record.tobytes())
