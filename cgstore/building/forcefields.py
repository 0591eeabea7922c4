"""Force fields of OpenMM as self-contained GROMACS topologies, which GROMACS and OpenMM run and cgstore reads."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cgstore.building.start import Start
from cgstore.errors import InputError, MissingExtra

__all__ = ["load_forcefield", "start_of"]

_WRITTEN = ("HarmonicBondForce", "HarmonicAngleForce", "PeriodicTorsionForce", "NonbondedForce", "CMMotionRemover")
_EXCLUDED = 3  # bonds: nrexcl of every molecule, as in Amber and OPLS
_UNIFORM = 1e-5  # relative spread of the scale of 1-4 charges: more than files of force fields are rounded by
_COLUMNS = {
    "bonds": "i j funct length/nm k",
    "pairs": "i j funct sigma/nm epsilon/(kJ/mol)",
    "angles": "i j k funct angle/degree k",
    "dihedrals": "i j k l funct phase/degree k periodicity",
    "settles": "oxygen funct OH/nm HH/nm",
    "exclusions": "i j …",
}


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of molecule: its atoms and, numbered within it, its bonds."""

    name: str
    atoms: list[Any]
    bonds: tuple[tuple[int, int], ...]


@dataclass(slots=True)
class _Terms:
    """What a system says of one molecule: lines of its sections by name; `bonded` and `scales` are for checks."""

    lines: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in _COLUMNS})
    bonded: list[tuple[int, int]] = field(default_factory=list)
    exceptions: set[tuple[int, int]] = field(default_factory=set)
    constraints: dict[tuple[int, int], float] = field(default_factory=dict)  # nm


def load_forcefield(*files: str) -> Any:
    """Return the `openmm.app.ForceField` of files that OpenMM ships, such as "amber19/lipid21.xml", or of own ones.

    Raises
    ------
    MissingExtra : OpenMM is not installed
    """
    try:
        from openmm.app import ForceField
    except ImportError as error:
        raise MissingExtra.of("openmm", extra="simulate", purpose="building an atomistic system") from error
    return ForceField(*files)


def start_of(
    modeller: Any, forcefield: Any, *, hydrogen_mass: float | None = None, names: Mapping[str, str] | None = None
) -> Start:
    """Return a system of OpenMM with its force field as the text of a GROMACS topology.

    Parameters
    ----------
    modeller : `openmm.app.Modeller`: a topology with box, bonds and hydrogens, and positions
    forcefield : `openmm.app.ForceField`
    hydrogen_mass : u; hydrogens get this mass and the atoms that they are bonded to lose it, water excepted
        (Hopkins et al. 2015, doi:10.1021/ct5010406); as in the force field by default
    names : residue name → name of the molecules that begin with it; by default they are called after it

    Raises
    ------
    InputError : there is no box; there are virtual sites; a residue has no template; the atoms of a molecule are not
        consecutive; the force field has terms that are not written, which the message names

    Notes
    -----
    Written are Lennard-Jones terms with Lorentz-Berthelot rules, charges, harmonic bonds and angles, periodic
    torsions, and rigid three-site water; all other bonds are flexible, because the engine chooses constraints. Every
    1-4 pair carries its own σ and ε; their charges are scaled by one factor, `fudgeQQ`. Each kind of molecule is
    parameterised once: parameters follow from residues, elements and bonds.
    """
    from openmm import unit

    topology = modeller.topology
    vectors = topology.getPeriodicBoxVectors()
    if vectors is None:
        raise InputError("found a system without a box; set the periodic box vectors of its topology")
    if any(atom.element is None for atom in topology.atoms()):
        raise InputError("found virtual sites, expected atoms only; choose a three-site water")
    kinds, sequence = _kinds(topology, names or {})
    residue = [atom.residue for atom in topology.atoms()]
    return Start(
        topology=_text(kinds, sequence, _system(kinds, forcefield, hydrogen_mass)),
        name=np.array([atom.name for atom in topology.atoms()]),
        residue=np.array([each.name for each in residue]),
        residue_id=np.array([each.index + 1 for each in residue], np.int32),
        position=np.array(modeller.positions.value_in_unit(unit.nanometer), np.float64),
        box=np.array(vectors.value_in_unit(unit.nanometer), np.float64),
    )


def _kinds(topology: Any, names: Mapping[str, str]) -> tuple[list[_Kind], list[tuple[str, int]]]:
    """Find the kinds of molecules in the order of their first appearance, and the sequence of (name, count)."""
    atoms = list(topology.atoms())
    pairs = np.sort(np.array([(a.index, b.index) for a, b in topology.bonds()], int).reshape(-1, 2), axis=1)
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(atoms), len(atoms)))
    count, label = connected_components(graph, directed=False)
    first = np.flatnonzero(np.diff(label, prepend=-1))
    if len(first) != count:
        raise InputError("found a molecule whose atoms are not one after the other; add one molecule after the other")
    pairs = pairs[np.lexsort(pairs.T[::-1])]
    ends = np.append(first[1:], len(atoms))
    known: dict[Any, _Kind] = {}
    order = []
    for begin, end, low, high in zip(
        first.tolist(), ends.tolist(), *np.searchsorted(pairs[:, 0], [first, ends]).tolist(), strict=True
    ):
        members, residue = atoms[begin:end], atoms[begin].residue
        bonds = tuple(map(tuple, (pairs[low:high] - begin).tolist()))
        key = tuple((a.name, a.element, a.residue.name, a.residue.index - residue.index) for a in members), bonds
        if key not in known:
            name = names.get(residue.name, residue.name)
            taken = sum(kind.name.rsplit("_", 1)[0] == name for kind in known.values())
            known[key] = _Kind(name if not taken else f"{name}_{taken + 1}", members, bonds)
        order.append(known[key].name)
    return list(known.values()), [(name, len(list(group))) for name, group in groupby(order)]


def _system(kinds: list[_Kind], forcefield: Any, hydrogen_mass: float | None) -> Any:
    """Return the `openmm.System` of one molecule of each kind."""
    from openmm import unit
    from openmm.app import NoCutoff, Topology

    topology = Topology()
    for kind in kinds:
        chain, residues, copies = topology.addChain(), {}, []
        for atom in kind.atoms:
            if atom.residue not in residues:
                residues[atom.residue] = topology.addResidue(atom.residue.name, chain)
            copies.append(topology.addAtom(atom.name, atom.element, residues[atom.residue]))
        for i, j in kind.bonds:
            topology.addBond(copies[i], copies[j])
    try:
        system = forcefield.createSystem(
            topology,
            nonbondedMethod=NoCutoff,
            constraints=None,
            rigidWater=True,
            hydrogenMass=None if hydrogen_mass is None else hydrogen_mass * unit.dalton,
        )
    except ValueError as error:  # no template of a residue
        raise InputError(f"the force field does not fit: {error}") from error
    for force in system.getForces():
        if force.getName() not in _WRITTEN and not _empty(force):
            raise InputError(
                f"the force field has a {force.getName()}, expected {', '.join(_WRITTEN[:-1])} only; "
                "choose one without (ff14SB has no CMAP)"
            )
    return system


def _empty(force: Any) -> bool:
    """Whether a force of a kind that is not written has no terms, as CMAP without a protein."""
    return bool(force.getName() == "CMAPTorsionForce" and force.getNumTorsions() == 0)


def _text(kinds: list[_Kind], sequence: list[tuple[str, int]], system: Any) -> str:
    """Write the topology."""
    ends = np.cumsum([len(kind.atoms) for kind in kinds])
    owner = np.repeat(np.arange(len(kinds)), [len(kind.atoms) for kind in kinds])
    local = np.arange(ends[-1]) - np.repeat(ends - [len(kind.atoms) for kind in kinds], np.bincount(owner)) + 1
    forces = {force.getName(): force for force in system.getForces()}
    nonbonded = _particles(forces["NonbondedForce"])
    terms = [_Terms() for _ in kinds]
    _bonded_terms(forces, terms, owner, local)
    fudge = _exceptions(forces["NonbondedForce"], nonbonded[:, 0], terms, owner, local)
    for index in range(system.getNumConstraints()):
        i, j, length = system.getConstraintParameters(index)
        terms[owner[i]].constraints[int(local[i]), int(local[j])] = length._value
    elements = [atom.element for kind in kinds for atom in kind.atoms]
    types = _types(nonbonded, elements)
    blocks = [
        f"[ defaults ]\n; nbfunc comb-rule gen-pairs fudgeLJ fudgeQQ; all pairs are listed\n1 2 no 1 {fudge:.10g}",
        "\n".join(["[ atomtypes ]", "; name at.num mass charge ptype sigma/nm epsilon/(kJ/mol)", *_type_lines(types)]),
    ]
    names = [types[key] for key in _type_keys(nonbonded, elements)]
    masses = [system.getParticleMass(i)._value for i in range(len(owner))]
    for index, kind in enumerate(kinds):
        rows = np.flatnonzero(owner == index)
        atoms = list(_atom_lines(kind, [(names[i], nonbonded[i, 0], masses[i]) for i in rows]))
        blocks += _molecule_blocks(kind, atoms, terms[index])
    blocks += ["[ system ]\n" + ", ".join(f"{count} {name}" for name, count in sequence)]
    blocks += ["\n".join(["[ molecules ]", *(f"{name} {count}" for name, count in sequence)])]
    return "\n\n".join(blocks) + "\n"


def _particles(force: Any) -> np.ndarray:
    """Return charge, σ and ε of each particle, (particle, 3)."""
    if force.getNumParticleParameterOffsets() or force.getNumExceptionParameterOffsets():
        raise InputError("the force field has offsets of parameters in its NonbondedForce, expected fixed parameters")
    return np.array([[p._value for p in force.getParticleParameters(i)] for i in range(force.getNumParticles())])


def _bonded_terms(forces: dict[str, Any], terms: list[_Terms], owner: np.ndarray, local: np.ndarray) -> None:
    """Add the lines of bonds, angles and torsions."""
    if bonds := forces.get("HarmonicBondForce"):
        for index in range(bonds.getNumBonds()):
            i, j, length, k = bonds.getBondParameters(index)
            a, b = int(local[i]), int(local[j])
            terms[owner[i]].bonded.append((a, b))
            terms[owner[i]].lines["bonds"].append(f"{a} {b} 1 {length._value:.10g} {k._value:.10g}")
    if angles := forces.get("HarmonicAngleForce"):
        for index in range(angles.getNumAngles()):
            *atoms, angle, k = angles.getAngleParameters(index)
            text = " ".join(str(local[i]) for i in atoms)
            line = f"{text} 1 {math.degrees(angle._value):.10g} {k._value:.10g}"
            terms[owner[atoms[0]]].lines["angles"].append(line)
    if torsions := forces.get("PeriodicTorsionForce"):
        bonded = [{frozenset(pair) for pair in each.bonded} for each in terms]
        for index in range(torsions.getNumTorsions()):
            *atoms, periodicity, phase, k = torsions.getTorsionParameters(index)
            numbers, molecule = [int(local[i]) for i in atoms], owner[atoms[0]]
            chain = all(frozenset(pair) in bonded[molecule] for pair in pairwise(numbers))
            text = " ".join(map(str, numbers))  # 9: proper, several to one bond; 4: improper, of the same form
            line = f"{text} {9 if chain else 4} {math.degrees(phase._value):.10g} {k._value:.10g} {periodicity}"
            terms[molecule].lines["dihedrals"].append(line)


def _exceptions(force: Any, charge: np.ndarray, terms: list[_Terms], owner: np.ndarray, local: np.ndarray) -> float:
    """Add the lines of 1-4 pairs and note all exceptions; return the scale of the charges of pairs."""
    scales = []
    for index in range(force.getNumExceptions()):
        i, j, product, sigma, epsilon = force.getExceptionParameters(index)
        molecule, pair = terms[owner[i]], tuple(sorted((int(local[i]), int(local[j]))))
        molecule.exceptions.add((pair[0], pair[1]))
        if product._value == 0 and epsilon._value == 0:
            continue
        if full := charge[i] * charge[j]:
            scales.append(product._value / full)
        molecule.lines["pairs"].append(f"{pair[0]} {pair[1]} 1 {sigma._value:.10g} {epsilon._value:.10g}")
    if scales and np.ptp(scales) > _UNIFORM * abs(np.mean(scales)):
        raise InputError(
            f"the force field scales charges of 1-4 pairs by {min(scales):.6g} to {max(scales):.6g}, expected one "
            "factor, fudgeQQ, for all molecules"
        )
    return float(np.mean(scales)) if scales else 1.0


def _type_keys(nonbonded: np.ndarray, elements: list[Any]) -> list[tuple[float, float, Any]]:
    """Return what makes an atom type: σ, ε and element of each atom."""
    return [(float(sigma), float(epsilon), el) for (_, sigma, epsilon), el in zip(nonbonded, elements, strict=True)]


def _types(nonbonded: np.ndarray, elements: list[Any]) -> dict[tuple[float, float, Any], str]:
    """Name the atom types by element and a running number."""
    types: dict[tuple[float, float, Any], str] = {}
    for key in _type_keys(nonbonded, elements):
        if key not in types:
            like = sum(known[2] is key[2] for known in types)
            types[key] = f"{key[2].symbol}{like + 1}"
    return types


def _type_lines(types: Mapping[tuple[float, float, Any], str]) -> Iterator[str]:
    """Write [ atomtypes ]; charges, and masses that count, are in [ atoms ].

    The charge is "0.0": OpenMM takes a fourth column of one character for the type of particle.
    """
    for (sigma, epsilon, element), name in types.items():
        yield f"{name} {element.atomic_number} {element.mass._value:.10g} 0.0 A {sigma:.10g} {epsilon:.10g}"


def _atom_lines(kind: _Kind, parameters: list[tuple[str, float, float]]) -> Iterator[str]:
    """Write [ atoms ] of a molecule from type, charge and mass of each."""
    first = kind.atoms[0].residue.index
    for number, (atom, (name, charge, mass)) in enumerate(zip(kind.atoms, parameters, strict=True), 1):
        residue = f"{atom.residue.index - first + 1} {atom.residue.name}"
        yield f"{number} {name} {residue} {atom.name} {number} {charge:.10g} {mass:.10g}"


def _molecule_blocks(kind: _Kind, atoms: list[str], terms: _Terms) -> Iterator[str]:
    """Write the sections of a molecule."""
    near = _within(terms.bonded, len(atoms))
    if missing := near - terms.exceptions:
        i, j = min(missing)
        raise InputError(
            f"{kind.name}: atoms {i} and {j}, within {_EXCLUDED} bonds, interact like those of two molecules; "
            "expected a force field that excludes them or lists them as a pair"
        )
    terms.lines["settles"] = _settles(kind, terms)
    terms.lines["exclusions"] = [f"{i} {j}" for i, j in sorted(terms.exceptions - near)]
    yield f"[ moleculetype ]\n; name nrexcl\n{kind.name} {_EXCLUDED}"
    yield "\n".join(["[ atoms ]", "; nr type resnr residue atom cgnr charge mass/u", *atoms])
    for name, lines in terms.lines.items():
        if lines:
            yield "\n".join([f"[ {name} ]", f"; {_COLUMNS[name]}", *lines])


def _within(bonded: list[tuple[int, int]], count: int) -> set[tuple[int, int]]:
    """Return the pairs of atoms, numbered from 1, that are at most `_EXCLUDED` bonds apart."""
    i, j = np.array(bonded, int).reshape(-1, 2).T - 1
    graph = coo_array((np.ones(2 * len(i), int), (np.r_[i, j], np.r_[j, i])), shape=(count, count)).tocsr()
    reached = power = graph
    for _ in range(_EXCLUDED - 1):
        power = power @ graph
        reached = reached + power
    rows, columns = reached.nonzero()
    return {(int(a) + 1, int(b) + 1) for a, b in zip(rows, columns, strict=True) if a < b}


def _settles(kind: _Kind, terms: _Terms) -> list[str]:
    """Return the line of a rigid water, none for a molecule without constraints."""
    found = terms.constraints
    if not found:
        return []
    lengths = {frozenset(pair): length for pair, length in found.items()}
    arms = [lengths.get(frozenset((1, k))) for k in (2, 3)]
    base = lengths.get(frozenset((2, 3)))
    if len(kind.atoms) != 3 or len(found) != 3 or base is None or arms[0] is None or arms[0] != arms[1]:
        raise InputError(f"{kind.name}: found {len(found)} constraints, expected those of a rigid water O, H, H only")
    return [f"1 1 {arms[0]:.10g} {base:.10g}"]
