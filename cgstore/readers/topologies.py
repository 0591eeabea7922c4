"""Topology files to `Topology`: one reader per format states what the file says, here the rest follows from it.

What a file does not say is not guessed: bonds only when asked for, masses only where the elements are certain.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgstore.errors import InputError
from cgstore.readers.bond_guesses import guessed_bonds
from cgstore.readers.compressed import plain_file, plain_suffix
from cgstore.readers.elements import masses_of
from cgstore.readers.foreign_topologies import FOREIGN, read_foreign
from cgstore.readers.gromacs_topologies import read_gromacs
from cgstore.readers.gsd_topologies import read_gsd_topology
from cgstore.readers.hdf5_topologies import read_hdf5_topology
from cgstore.readers.lammps_topologies import read_lammps_data
from cgstore.readers.prmtop_topologies import read_prmtop
from cgstore.readers.psf_topologies import read_psf
from cgstore.readers.stated_topologies import Stated, as_terms, reading
from cgstore.readers.tpr_topologies import read_tpr
from cgstore.topology import Topology, molecules_of_bonds

__all__ = ["TOPOLOGY_SUFFIXES", "read_topology"]

Int = NDArray[np.int32]
Text = NDArray[np.str_]


def _read_top(path: Path) -> Stated:
    """Read a `.top`, which those of GROMACS and Amber are called: the latter begin with %VERSION."""
    with path.open("rb") as file:
        amber = file.read(4096).lstrip().startswith(b"%VERSION")
    return read_prmtop(path) if amber else read_gromacs(path)


_READERS: dict[str, tuple[str, Callable[[Path], Stated]]] = {
    ".tpr": ("TPR", read_tpr),
    ".psf": ("PSF", read_psf),
    ".gsd": ("GSD", read_gsd_topology),
    **dict.fromkeys((".prmtop", ".parm7"), ("PRMTOP", read_prmtop)),
    ".top": ("GROMACS or Amber topology", _read_top),
    **dict.fromkeys((".h5", ".hdf5", ".h5md"), ("HDF5", read_hdf5_topology)),
}
_LAMMPS = (".data", ".lmp", ".lammps")
TOPOLOGY_SUFFIXES = (*_READERS, *_LAMMPS, *FOREIGN)


def read_topology(
    path: Path, *, masses: Mapping[str, float] | None = None, units: str = "real", guess_bonds: bool = False
) -> Topology:
    """Read the static part of a system.

    Parameters
    ----------
    path : a TPR, PSF, PRMTOP, GROMACS `.top` that is whole, LAMMPS data, GSD, H5MD, MDTraj HDF5, GRO, PDB or MOL2
        file, or another one that MDAnalysis has a parser for; text also as .gz, .bz2 or .xz. Nothing is written beside
        it
    masses : u, by particle name or type; they win over those of the file
    units : of LAMMPS data files: real, metal, nano or lj
    guess_bonds : add bonds between atoms that are as near as bonded ones, in the positions of this file

    Returns
    -------
    Topology : `type` is the atom name. `molecule_kind` is the molecule type where the file knows it (TPR), otherwise
        the residue name, or the residue names joined by `-`; kinds without a name are called `MOL1`, `MOL2` …
        Bonds (constraints and SETTLE among them), angles and dihedrals are those of the file. Massless particles
        without a bond belong to the molecule of their residue.

    Raises
    ------
    InputError : the file is missing, cannot be read, is damaged, or has neither masses nor certain elements; a stated
        mass is for a name that is not there; bonds cannot be guessed
    MissingExtra : a package that reads this format is not installed

    Examples
    --------
    >>> topology = read_topology(Path("archive/methane_112k/system.tpr"))
    >>> len(topology), sorted(set(topology.molecule_kind.tolist())), len(topology.bond)
    (1110, ['CH4'], 888)
    """
    if not path.is_file():
        raise InputError(f"{path}: no such topology file")
    with plain_file(path) as plain:
        try:
            stated = _state(plain, units=units, positions=guess_bonds)
            with reading(plain, plain_suffix(path)):
                return _complete(stated, plain, masses or {}, guess_bonds)
        except InputError as error:
            if plain == path:
                raise
            raise InputError(str(error).replace(str(plain), str(path))) from error


def _state(path: Path, *, units: str, positions: bool) -> Stated:
    """Read what the file says with the reader of its format."""
    suffix = path.suffix.lower()
    if suffix in _LAMMPS:
        with reading(path, "LAMMPS data"):
            return read_lammps_data(path, units=units)
    if suffix in _READERS:
        format, read = _READERS[suffix]
        with reading(path, format):
            return read(path)
    return read_foreign(path, positions=positions)


def _complete(stated: Stated, path: Path, masses: Mapping[str, float], guess_bonds: bool) -> Topology:
    """Add what follows from what a file states: masses of elements, molecules and their kinds, names of residues."""
    particles = len(stated)
    mass = masses_of(stated, masses, path)
    bond = as_terms(stated.bond, 2, particles)
    if guess_bonds:
        bond = as_terms(np.concatenate([bond, guessed_bonds(stated, mass, path)]), 2, particles)
    molecule = _molecules(stated, bond, mass)
    residue = stated.residue if stated.residue is not None else np.full(particles, "")
    kind = stated.kind if stated.kind is not None else _kinds(molecule, residue, stated.name)
    number = stated.residue_id if stated.residue_id is not None else molecule + 1
    charge = stated.charge if stated.charge is not None else np.zeros(particles)
    if not np.isfinite(charge).all():
        raise ValueError(f"particle {int(np.argmin(np.isfinite(charge))) + 1} has a charge that is not finite")
    return Topology(
        name=stated.name,
        type=stated.name,
        residue=np.where(residue == "", kind, residue),
        residue_id=np.asarray(number).astype(np.int32),
        molecule=molecule,
        molecule_kind=kind,
        mass=mass,
        charge=np.asarray(charge, np.float64),
        bond=bond,
        angle=as_terms(stated.angle, 3, particles),
        dihedral=as_terms(stated.dihedral, 4, particles),
    )


def _molecules(stated: Stated, bond: Int, mass: NDArray[np.float64]) -> Int:
    """Number the molecules in the order of their first particle."""
    particles = len(stated)
    links = [bond]
    if stated.together is not None:
        links.append(_chain(np.asarray(stated.together), np.arange(particles)))
    if stated.residue_number is not None and stated.together is None:
        # Virtual sites that no bond holds stand behind the atoms of their residue.
        bonded = np.zeros(particles, bool)
        bonded[bond] = True
        for site in np.flatnonzero((mass == 0) & ~bonded):
            same = [k for k in (site - 1, site + 1) if 0 <= k < particles]
            same = [k for k in same if stated.residue_number[k] == stated.residue_number[site]]
            links.append(np.array([[site, same[0]]] if same else np.empty((0, 2)), np.int32))
    return molecules_of_bonds(np.concatenate(links), particles)


def _chain(group: NDArray[Any], particle: NDArray[Any]) -> Int:
    """Link each particle to the one before it in its group."""
    order = particle[np.argsort(group, kind="stable")]
    same = group[order][1:] == group[order][:-1]
    return np.stack([order[:-1][same], order[1:][same]], 1).astype(np.int32)


def _kinds(molecule: Int, residue: Text, name: Text) -> Text:
    """Name the kind of each molecule after its residues, or number the kinds that have no short name."""
    order = np.argsort(molecule, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(molecule[order])) + 1)
    known: dict[tuple[str, ...], str] = {}
    kinds = np.empty(len(molecule), object)
    for part in parts:
        residues = tuple(dict.fromkeys(residue[part].tolist()))
        if all(residues) and len(residues) <= 4:
            kinds[part] = "-".join(residues)
        elif len(part) == 1:
            kinds[part] = name[part[0]]
        else:
            kinds[part] = known.setdefault(tuple(name[part].tolist()), f"MOL{len(known) + 1}")
    return kinds.astype(np.str_)
