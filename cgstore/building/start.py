"""A system before it is simulated: its force field as a GROMACS topology, its particles and their box."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cgstore.frames import Frames
from cgstore.topology import Topology
from cgstore.writers.contents import Contents
from cgstore.writers.gro import write_gro

__all__ = ["Start", "write_start"]

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """A system before it is simulated; `topology` is the text of a GROMACS topology without `#include`."""

    topology: str
    name: NDArray[np.str_]  # (atom,)
    residue: NDArray[np.str_]  # (atom,)
    residue_id: NDArray[np.int32]  # (atom,)
    position: Float  # (atom, xyz) nm
    box: Float  # (box_vector, xyz) nm


def write_start(start: Start, folder: Path) -> None:
    """Write `system.top` and `start.gro`, which engines read.

    Examples
    --------
    >>> import tempfile
    >>> water = Start("[ defaults ]\\n", np.array(["OW"]), np.array(["SOL"]), np.array([1], np.int32),
    ...               np.zeros((1, 3)), 2.0 * np.eye(3))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_start(water, Path(folder))
    ...     print((Path(folder) / "start.gro").read_text().splitlines()[2])
        1SOL     OW    1   0.000   0.000   0.000
    """
    particles = len(start.name)
    empty = {size: np.empty((0, size), np.int32) for size in (2, 3, 4)}
    topology = Topology(
        name=start.name, type=start.name, residue=start.residue, residue_id=start.residue_id,
        molecule=start.residue_id, molecule_kind=start.residue, mass=np.ones(particles), charge=np.zeros(particles),
        bond=empty[2], angle=empty[3], dihedral=empty[4],
    )  # fmt: skip
    frame = Frames(
        position=start.position[None].astype(np.float32),
        time=np.zeros(1),
        step=np.zeros(1, np.int64),
        box=start.box[None].astype(np.float32),
    )
    contents = Contents(
        title="start", topology=topology, element=np.full(particles, ""), time=frame.time, step=frame.step,
        weight=None, variables=frozenset({"position", "box"}), precision=None,
    )  # fmt: skip
    (folder / "system.top").write_text(start.topology, encoding="utf-8")
    write_gro(folder / "start.gro", contents, [frame])
