"""Force fields of OpenMM as self-contained GROMACS topologies, which GROMACS and OpenMM run and cgstore reads."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cgstore.building.start import Start
from cgstore.errors import InputError, MissingExtra

__all__ = ["load_forcefield", "start_of"]

_FORCES = ("HarmonicBondForce", "HarmonicAngleForce", "PeriodicTorsionForce", "NonbondedForce", "CMMotionRemover")
_UNIFORM = 1e-6  # relative spread of the scale of 1-4 charges: more than rounding of the file of a force field


@dataclass(slots=True)
class _Molecule:
    """One kind of molecule: lines of its sections, atoms numbered from 1; `scales` are those of 1-4 charges."""

    name: str
    atoms: list[str]
    sections: dict[str, list[str]] = field(default_factory=dict)
    scales: list[float] = field(default_factory=list)


def load_forcefield(*files: str) -> Any:
    """Return the `openmm.app.ForceField` of files that OpenMM ships, such as "amber19/lipid21.xml", or of own ones.

    Raises
    ------
    MissingExtra : OpenMM is not installed
    """
    try:
        from openmm.app import ForceField
    except ImportError as error:
        raise MissingExtra.of("openmm", extra="simulate", purpose="Building an atomistic system") from error
    return ForceField(*files)


def start_of(
    modeller: Any, forcefield: Any, *, hydrogen_mass: float | None = None, names: Mapping[str, str] | None = None
) -> Start:
    """Return a system of OpenMM with its force field as text.

    Parameters
    ----------
    modeller : `openmm.app.Modeller`: a topology with box, bonds and hydrogens, and positions
    forcefield : `openmm.app.ForceField`
    hydrogen_mass : u; if given, hydrogens get this mass and the atoms they are bonded to lose it, water excepted
        (Hopkins et al. 2015, doi:10.1021/ct5010406)
    names : residue name → name of the molecules that begin with it; the residue name by default, which
        molecules of several residues need not be called after

    Raises
    ------
    InputError : there is no box; a residue has no template; a molecule is not contiguous; the force field has terms
        that are not written, which the message names

    Notes
    -----
    Written are Lennard-Jones terms with Lorentz-Berthelot rules, charges, harmonic bonds and angles, periodic
    torsions, and rigid three-site water; all bonds are flexible otherwise, because the engine chooses constraints. Every
    1-4 pair carries its own σ and ε; their charges are scaled by one factor, `fudgeQQ`. Each kind of molecule
    is parameterised once: in OpenMM parameters follow from elements, bonds and residues.
    """
    from openmm import unit

    topology = modeller.topology
    vectors = topology.getPeriodicBoxVectors()
    if vectors is None:
        raise InputError("found a system without a box, expected periodic box vectors; set them in its topology")
    atoms = list(topology.atoms())
    kinds, sequence = _kinds(topology, atoms, names or {})
    small, offsets = _one_of_each(kinds)
    system = _system(forcefield, small, hydrogen_mass)
    molecules, types = _molecules(system, list(small.atoms()), list(kinds), offsets)
    residues = [atom.residue for atom in atoms]
    number = {residue: index + 1 for index, residue in enumerate(topology.residues())}
    return Start(
        topology=_text(molecules, types, sequence),
        name=np.array([atom.name for atom in atoms]),
        residue=np.array([residue.name for residue in residues]),
        residue_id=np.array([number[residue] for residue in residues], np.int32),
        position=np.array(modeller.positions.value_in_unit(unit.nanometer), np.float64),
        box=np.array(vectors.value_in_unit(unit.nanometer), np.float64),
    )


def _kinds(
    topology: Any, atoms: list[Any], names: Mapping[str, str]
) -> tuple[dict[str, tuple[list[Any], list[tuple[int, int]]]], list[tuple[str, int]]]:
    """Find the kinds of molecules: name → atoms and bonds of the first of them; and the sequence of (name, count)."""
    pairs = np.array([(a.index, b.index) for a, b in topology.bonds()], int).reshape(-1, 2)
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(atoms), len(atoms)))
    label = connected_components(graph, directed=False)[1]
    first = np.flatnonzero(np.diff(label, prepend=-1))
    if len(np.unique(label)) != len(first):
        raise InputError("found a molecule whose atoms are not one after the other; add molecules one at a time")
    start, begin, end = first[label], first, [*first[1:], len(atoms)]
    bonds: dict[int, list[tuple[int, int]]] = {}
    ordered = np.sort(pairs, axis=1)
    for i, j in ordered[np.lexsort(ordered.T[::-1])].tolist():
        bonds.setdefault(int(start_of_first(start, i)), []).append((i - int(start[i]), j - int(start[i])))
    kinds: dict[str, tuple[list[Any], list[tuple[int, int]]]] = {}
    known: dict[Any, str] = {}
    order: list[str] = []
    for i, j in zip(begin.tolist(), end, strict=True):
        members, bonded = atoms[i:j], bonds.get(i, [])
        residue = members[0].residue.index
        shape = tuple((a.name, a.element, a.residue.name, a.residue.index - residue) for a in members)
        key = (shape, tuple(bonded))
        if key not in known:
            known[key] = _free(names.get(members[0].residue.name, members[0].residue.name), kinds)
            kinds[known[key]] = (members, bonded)
        order.append(known[key])
    return kinds, [(name, len(list(group))) for name, group in groupby(order)]
