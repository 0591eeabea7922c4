"""The formats: by suffix what writes them, what they hold of a dataset, and what is said about the rest."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from cgstore.frames import Frames
from cgstore.writers.contents import Contents
from cgstore.writers.dcd import notes_on_dcd, write_dcd
from cgstore.writers.gro import notes_on_gro, write_gro
from cgstore.writers.h5md import write_h5md
from cgstore.writers.lammps import notes_on_dump, write_dump
from cgstore.writers.pdb import notes_on_pdb, write_pdb
from cgstore.writers.trr import write_trr
from cgstore.writers.xtc import notes_on_steps, notes_on_xtc, write_xtc

__all__ = ["FORMATS", "Format"]


def _nothing(contents: Contents) -> list[str]:
    """Say nothing."""
    return []


@dataclass(frozen=True, slots=True)
class Format:
    """One format: its name, its writer, and what of velocity, force and weight it has a place for."""

    name: str
    write: Callable[[Path, Contents, Iterable[Frames]], None]
    holds: frozenset[str] = frozenset()
    remarks: Callable[[Contents], list[str]] = _nothing

    def notes(self, contents: Contents) -> list[str]:
        """Say what of these contents is lost or changed in the file."""
        present = contents.variables | ({"weight"} if contents.weight is not None else set())
        lost = [name for name in ("velocity", "force", "weight") if name in present and name not in self.holds]
        left_out = f"{self.name} has no place for {' and '.join(lost)}: left out"
        return [*([left_out] if lost else []), *self.remarks(contents)]


_MOTION = frozenset({"velocity", "force"})
FORMATS = {
    ".xtc": Format("XTC", write_xtc, remarks=notes_on_xtc),
    ".trr": Format("TRR", write_trr, holds=_MOTION, remarks=notes_on_steps),
    ".dcd": Format("DCD", write_dcd, remarks=notes_on_dcd),
    ".h5md": Format("H5MD", write_h5md, holds=_MOTION | {"weight"}),
    ".gro": Format("GRO", write_gro, holds=frozenset({"velocity"}), remarks=notes_on_gro),
    ".pdb": Format("PDB", write_pdb, remarks=notes_on_pdb),
    ".lammpstrj": Format("a LAMMPS dump", write_dump, holds=_MOTION, remarks=notes_on_dump),
}
