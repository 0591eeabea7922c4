"""What lies in a folder: topologies and trajectories, opened, and why the others could not be."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cgstore.errors import CgstoreError
from cgstore.mapping import composition_of
from cgstore.readers.compressed import plain_suffix
from cgstore.readers.elements import MassesMissing
from cgstore.readers.parts import TRAJECTORY_SUFFIXES, open_part
from cgstore.readers.topologies import TOPOLOGY_SUFFIXES, read_topology
from cgstore.recipe import UNITS
from cgstore.topology import Topology

__all__ = ["Found", "Part", "Static", "find"]

_MOST = 20_000  # files that are looked at
# Structures of one frame beside a trajectory: where a simulation began or ended.
_STRUCTURES = (".gro", ".pdb", ".ent", ".xyz")
# Which topology of a system is preferred: those that know molecule types, then bonds and masses.
_RANK = (
    ".tpr",
    ".prmtop",
    ".parm7",
    ".top",
    ".psf",
    ".data",
    ".lmp",
    ".lammps",
    ".h5",
    ".hdf5",
    ".h5md",
    ".gsd",
    ".mol2",
)


@dataclass(frozen=True, slots=True, eq=False)
class Static:
    """A topology file; without a topology where it has no masses for some names."""

    path: Path
    rank: int
    particles: int
    topology: Topology | None
    units: str = "real"
    massless: tuple[str, ...] = ()  # names whose masses have to be stated

    @property
    def composition(self) -> dict[str, int]:
        """Return the molecules of each kind."""
        return composition_of(self.topology) if self.topology is not None else {}


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A trajectory file."""

    path: Path
    particles: int
    time: NDArray[np.float64]  # (frame,) ps
    step: NDArray[np.int64]  # (frame,)
    flaw: str

    @property
    def timed(self) -> bool:
        """Tell whether its times tell its frames apart."""
        return bool(np.isfinite(self.time).all()) and (len(self.time) < 2 or self.time[0] != self.time[-1])


@dataclass(slots=True)
class Found:
    """Everything of interest in a folder."""

    topologies: list[Static] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)  # inputs and logs that say more
    left_out: list[str] = field(default_factory=list)  # why a file is not used


def find(folder: Path) -> Found:
    """Look into every file of a folder and its folders that may be a topology or a trajectory.

    Hidden files are passed over, symbolic links to folders are not followed.
    """
    found = Found()
    structures: list[Part] = []
    for path in _files(folder):
        suffix = plain_suffix(path)
        if suffix in (".mdp", ".log"):
            found.others.append(path)
        if suffix in TOPOLOGY_SUFFIXES:
            _add_topology(path, found)
        if suffix in TRAJECTORY_SUFFIXES:
            part = _part(path, found)
            (structures if suffix in _STRUCTURES else found.parts).extend(part)
    long = [part for part in structures if len(part.time) > 1]
    found.parts += long if found.parts or long else structures
    return found


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder in natural order of their folders."""
    seen = 0
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(root) / name
            if not name.startswith(".") and path.is_file() and _printable(str(path)):
                seen += 1
                if seen > _MOST:
                    return
                yield path


def _printable(text: str) -> bool:
    """Tell whether a name can be written into a recipe."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return text.isprintable()


def _add_topology(path: Path, found: Found) -> None:
    """Read a topology, in the units that it says it has."""
    suffix = plain_suffix(path)
    rank = _RANK.index(suffix) if suffix in _RANK else len(_RANK)
    failure = ""
    for units in UNITS if suffix in (".data", ".lmp", ".lammps") else UNITS[:1]:
        try:
            topology = read_topology(path, units=units)
        except MassesMissing as error:
            placeholders = dict.fromkeys(error.names, 1.0)
            found.topologies.append(_without_masses(path, rank, placeholders, units))
            return
        except CgstoreError as error:
            failure = failure or str(error)
            continue
        found.topologies.append(Static(path, rank, len(topology), topology, units))
        return
    if suffix != ".top":  # of GROMACS, as a rule: the .tpr made of it is what counts
        found.left_out.append(failure)


def _without_masses(path: Path, rank: int, placeholders: dict[str, float], units: str) -> Static:
    """Describe a topology whose masses have to be stated; its molecules do not depend on them."""
    topology = read_topology(path, masses=placeholders, units=units)
    return Static(path, rank + 1, len(topology), topology, units, tuple(placeholders))


def _part(path: Path, found: Found) -> list[Part]:
    """Open a trajectory; what cannot be opened is remarked on."""
    try:
        opened = open_part(path)
    except CgstoreError as error:
        found.left_out.append(str(error))
        return []
    if not len(opened.time):
        found.left_out.append(f"{path}: it has no frames")
        return []
    return [Part(path, opened.particles, np.array(opened.time), np.array(opened.step), opened.flaw)]
