"""Text dumps of LAMMPS, units real: Å, Å/fs, kcal/mol/Å; particles in order, steps but no times."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cgstore.frames import Frames
from cgstore.neighbours.cells import require_aligned
from cgstore.topology import Topology
from cgstore.writers.columns import fill_in, fitted
from cgstore.writers.contents import Contents

__all__ = ["notes_on_dump", "write_dump"]

_ANGSTROM = 10.0  # in one nm
_ANGSTROM_PER_FS = 0.01  # in one nm/ps
_KCAL_PER_ANGSTROM = 1.0 / (4.184 * 10.0)  # in one kJ/mol/nm
_NAMES = 16  # letters; only blanks are not allowed


def write_dump(path: Path, contents: Contents, blocks: Iterable[Frames]) -> None:
    """Write frames; types are numbered in alphabetical order, and their names are the column `element`.

    Raises
    ------
    InputError : boxes that LAMMPS cannot have: a along x, b in the x-y plane, c above it
    """
    motion = [name for name in ("velocity", "force") if name in contents.variables]
    template = _template(contents.topology, 3 * (1 + len(motion)))
    names = {"velocity": "vx vy vz", "force": "fx fy fz"}
    columns = " ".join(["id mol type element mass q x y z", *(names[name] for name in motion)])
    with path.open("x", encoding="utf-8", newline="\n") as file:
        for frames in blocks:
            if frames.box is not None:
                require_aligned(frames.box, f"{contents.title} to a LAMMPS dump")
            for k in range(len(frames)):
                position = frames.position[k].astype(np.float64) * _ANGSTROM
                numbers = [position]
                if frames.velocity is not None:
                    numbers.append(frames.velocity[k] * _ANGSTROM_PER_FS)
                if frames.force is not None:
                    numbers.append(frames.force[k] * _KCAL_PER_ANGSTROM)
                file.write(f"ITEM: TIMESTEP\n{frames.step[k]}\nITEM: NUMBER OF ATOMS\n{len(position)}\n")
                file.write(_open_bounds(position) if frames.box is None else _bounds(frames.box[k]))
                file.write(f"ITEM: ATOMS {columns}\n")
                file.write(fill_in(template, *numbers))


def notes_on_dump(contents: Contents) -> list[str]:
    """Say what becomes of times and of systems without a box."""
    notes = []
    if len(np.unique(contents.step)) < len(contents.step):
        notes.append("frames are told apart by steps only, and the dataset has equal ones")
    if "box" not in contents.variables:
        notes.append("a dump must have a box: it gets an open one (ff) from the origin to the farthest particle")
    return notes


def _template(topology: Topology, numbers: int) -> str:
    """Return the lines of the atoms with places for their numbers."""
    kinds = {kind: number for number, kind in enumerate(sorted(set(topology.type.tolist())), 1)}
    rows = zip(
        topology.molecule.tolist(),
        topology.type.tolist(),
        fitted(topology.type, _NAMES),
        topology.mass.tolist(),
        topology.charge.tolist(),
        strict=True,
    )
    places = " %.8g" * numbers + "\n"
    return "".join(
        f"{k} {molecule + 1} {kinds[kind]} {name} {mass:.8g} {charge:.8g}".replace("%", "%%") + places
        for k, (molecule, kind, name, mass, charge) in enumerate(rows, 1)
    )


def _bounds(box: NDArray[np.float32]) -> str:
    """Return the lines of a periodic box; those of a tilted one enclose it, as LAMMPS has them."""
    (lx, _, _), (xy, ly, _), (xz, yz, lz) = (box.astype(np.float64) * _ANGSTROM).tolist()
    if not (xy or xz or yz):
        return f"ITEM: BOX BOUNDS pp pp pp\n0 {lx:.9g}\n0 {ly:.9g}\n0 {lz:.9g}\n"
    low, high = min(0.0, xy, xz, xy + xz), max(0.0, xy, xz, xy + xz)
    return (
        f"ITEM: BOX BOUNDS xy xz yz pp pp pp\n{low:.9g} {lx + high:.9g} {xy:.9g}\n"
        f"{min(0.0, yz):.9g} {ly + max(0.0, yz):.9g} {xz:.9g}\n0 {lz:.9g} {yz:.9g}\n"
    )


def _open_bounds(position: NDArray[np.float64]) -> str:
    """Return bounds for particles that have no box.

    They begin at the origin wherever the particles are: MDAnalysis moves the lower corner there, with the particles.
    """
    return "ITEM: BOX BOUNDS ff ff ff\n" + "".join(f"0 {high:g}\n" for high in np.ceil(position.max(0)).clip(min=1.0))
