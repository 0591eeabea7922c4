"""Mapping files of VOTCA as mapping files of this project: beads, their atoms, bonds, and what the weights mean."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cgstore.documents import parse_document, toml_value
from cgstore.drafts.votca_xml import Node, read_xml
from cgstore.errors import InputError
from cgstore.recipe import MappingFile
from cgstore.topology import angles_of_bonds, dihedrals_of_bonds

__all__ = ["VotcaMapping", "import_mapping"]

_MASSES = {"H": 1.008, "C": 12.011, "N": 14.007, "O": 15.999, "F": 18.998, "P": 30.974, "S": 32.06, "CL": 35.45}
_NEAR = 0.02  # relative; masses are often written as whole numbers
_WORDS = {"bond": 2, "angle": 3, "dihedral": 4}


@dataclass(frozen=True, slots=True)
class VotcaMapping:
    """A mapping file as text, and what has to be checked in it."""

    molecule: str  # as the atomistic topology calls it
    text: str  # TOML
    types: dict[str, str]  # of the beads, by name
    groups: dict[str, tuple[str, tuple[str, ...]]]  # bond, angle or dihedral and the kinds of it, by VOTCA's name
    remarks: tuple[str, ...]


def import_mapping(path: Path) -> VotcaMapping:
    """Read the mapping of a molecule of VOTCA.

    Parameters
    ----------
    path : XML with <cg_molecule>

    Raises
    ------
    InputError : it is no such file, a bead names a map or a bond a bead that is not there, an atom is in two beads

    Notes
    -----
    Positions of beads are centres of mass or of geometry here; other weights are written as "mass" with a remark.
    Angles and dihedrals follow from the bonds, all of them.
    """
    root = read_xml(path, "cg_molecule")
    molecule = root.value("ident") or root.value("name") or ""
    remarks: list[str] = []
    if (other := root.value("name")) and other != molecule:
        remarks.append(f"name   {other} of the beads is not kept; molecules are called {molecule} at every level")
    maps = {node.value("name"): _numbers(path, node) for node in root.all("maps.map")}
    beads = [_bead(path, node) for node in root.all("topology.cg_beads.cg_bead")]
    names = [bead.name for bead in beads]
    weight = _weighting(path, beads, maps, remarks)
    _shift_residues(beads, remarks)
    bonds, groups = _bonded(path, root, beads, remarks)
    neighbours: dict[str, list[str]] = {name: [] for name in names}
    for a, b in sorted(bonds):
        neighbours[names[a]].append(names[b])
    remarks += [f"{where} = {text}   not understood" for where, text in root.unread()]
    content: dict[str, object] = {
        "molecule": molecule,
        "weight": weight,
        "hydrogens": "listed",
        "bead": [{"name": b.name, "type": b.type, "atoms": b.atoms, "bonded_to": neighbours[b.name]} for b in beads],
    }
    parse_document(content, MappingFile, where=f"{path}, as a mapping of cgstore")
    text = _toml(content, path)
    return VotcaMapping(molecule, text, {b.name: b.type for b in beads}, groups, tuple(remarks))


@dataclass(slots=True)
class _Bead:
    """A bead as it stands in the file."""

    name: str
    type: str
    map: str
    parts: list[tuple[int, str, str]]  # residue number, its name, atom
    atoms: list[str]


def _bead(path: Path, node: Node) -> _Bead:
    """Read one bead."""
    name = node.value("name") or ""
    parts = []
    for word in (node.value("beads") or "").split():
        pieces = word.split(":")
        if len(pieces) != 3 or not pieces[0].isdecimal():
            raise InputError(f'{path}: bead {name}: found the atom "{word[:80]}", expected RESID:RESNAME:ATOM')
        parts.append((int(pieces[0]), pieces[1], pieces[2]))
    return _Bead(name, node.value("type") or name, node.value("mapping") or "", parts, [part[2] for part in parts])


def _numbers(path: Path, node: Node) -> list[float]:
    """Return the weights of a map."""
    try:
        return [float(word) for word in (node.value("weights") or "").split()]
    except ValueError as error:
        raise InputError(f"{path}: map {node.value('name')}: weights that are no numbers: {error}") from error


def _weighting(path: Path, beads: Sequence[_Bead], maps: dict[str | None, list[float]], remarks: list[str]) -> str:
    """Say which weights all beads have, and leave out atoms of weight zero."""
    kinds: list[set[str]] = []
    for bead in beads:
        weights = maps.get(bead.map)
        if weights is None or len(weights) != len(bead.parts):
            found = "no such map" if weights is None else f"{len(weights)} weights"
            raise InputError(f'{path}: bead {bead.name}: map "{bead.map}": {found}, expected {len(bead.parts)} weights')
        if without := [part[2] for part, w in zip(bead.parts, weights, strict=True) if w == 0.0]:
            remarks.append(f"bead {bead.name}   left out {', '.join(without)}, of weight zero; their mass is gone too")
        kept = [(part, w) for part, w in zip(bead.parts, weights, strict=True) if w != 0.0]
        bead.parts, bead.atoms = [part for part, _ in kept], [part[2] for part, _ in kept]
        kinds.append(_kinds_of_weights([part[2] for part, _ in kept], [w for _, w in kept]))
    for kind in ("mass", "equal"):
        if all(kind in found for found in kinds):
            return kind
    odd = [bead.name for bead, found in zip(beads, kinds, strict=True) if "mass" not in found]
    remarks.append(
        f"weight   weights of {', '.join(odd)} are not masses of the elements; written as mass, please check"
    )
    return "mass"


def _kinds_of_weights(atoms: Sequence[str], weights: Sequence[float]) -> set[str]:
    """Return what weights may be: "mass", "equal", both or neither."""
    given = np.array(weights)
    found = {"equal"} if len(given) and np.allclose(given, given[0], rtol=1e-6) else set()
    masses = np.array([_MASSES["CL"] if atom[:2].upper() == "CL" else _mass(atom) for atom in atoms])
    if len(given) <= 1 or np.allclose(given / given.sum(), masses / masses.sum(), rtol=_NEAR):
        found.add("mass")
    return found


def _mass(atom: str) -> float:
    """Return the mass of the element that a name begins with, u; NaN where that is no element of organic molecules."""
    letters = atom.lstrip("0123456789").upper()
    return _MASSES.get(letters[:1], np.nan)


def _shift_residues(beads: Sequence[_Bead], remarks: list[str]) -> None:
    """Name atoms by their residue where one molecule has several; residues count from 1 in each molecule."""
    numbers = {part[0] for bead in beads for part in bead.parts}
    if len(numbers) < 2:
        return
    first = min(numbers)
    if first != 1:
        remarks.append(f"beads   residues {first} to {max(numbers)} are counted from 1 here: residue {first} is 1")
    for bead in beads:
        bead.atoms = [f"{part[0] - first + 1}:{part[2]}" for part in bead.parts]


def _bonded(
    path: Path, root: Node, beads: Sequence[_Bead], remarks: list[str]
) -> tuple[list[tuple[int, int]], dict[str, tuple[str, tuple[str, ...]]]]:
    """Return the bonds as pairs of beads, and what VOTCA's groups of terms are of."""
    place = {bead.name: k for k, bead in enumerate(beads)}
    bonds: list[tuple[int, int]] = []
    groups: dict[str, tuple[str, tuple[str, ...]]] = {}
    listed: dict[str, set[tuple[int, ...]]] = {term: set() for term in _WORDS}
    for term, ends in _WORDS.items():
        for node in root.all(f"topology.cg_bonded.{term}"):
            name, words = node.value("name") or "", (node.value("beads") or "").replace(",", " ").split()
            if missing := [word for word in words if word not in place]:
                raise InputError(f'{path}: {term} {name}: found the bead "{missing[0][:80]}", which is not there')
            if not words or len(words) % ends:
                raise InputError(f"{path}: {term} {name}: found {len(words)} beads, expected {ends} for each {term}")
            walks = [tuple(place[word] for word in words[k : k + ends]) for k in range(0, len(words), ends)]
            listed[term] |= {min(walk, walk[::-1]) for walk in walks}
            kinds = Counter("-".join(min(t, t[::-1])) for t in ([beads[k].type for k in walk] for walk in walks))
            groups[name] = (term, tuple(kinds))
            if len(kinds) > 1:
                remarks.append(
                    f"{term} {name}   is of {', '.join(kinds)}; here each of them has a potential of its own"
                )
    bonds = [(min(a, b), max(a, b)) for a, b in sorted(listed["bond"])]
    _compare_terms(bonds, len(beads), listed, [bead.name for bead in beads], remarks)
    return bonds, groups


def _compare_terms(
    bonds: Sequence[tuple[int, int]],
    count: int,
    listed: dict[str, set[tuple[int, ...]]],
    names: Sequence[str],
    remarks: list[str],
) -> None:
    """Say which angles and dihedrals are listed but do not follow from the bonds, and the other way round."""
    ends = np.array(bonds, np.int32).reshape(-1, 2)
    for term, of in (("angle", angles_of_bonds), ("dihedral", dihedrals_of_bonds)):
        follow = {min(tuple(walk), tuple(walk[::-1])) for walk in of(ends, count).tolist()}
        for walks, what in (
            (listed[term] - follow, "does not follow from the bonds and is left out"),
            (follow - listed[term], "follows from the bonds and is counted here, VOTCA has it not"),
        ):
            for walk in sorted(walks):
                remarks.append(f"{term} {' '.join(names[k] for k in walk)}   {what}")


def _toml(content: dict[str, object], path: Path) -> str:
    """Write a mapping file."""
    beads = content["bead"]
    assert isinstance(beads, list)
    lines = [f"# From {path.name} of VOTCA."]
    lines += [f"{key} = {toml_value(content[key])}" for key in ("molecule", "weight", "hydrogens")]
    for bead in beads:
        lines += ["", "[[bead]]"]
        lines += [f"{key} = {toml_value(value)}" for key, value in bead.items() if value or key != "bonded_to"]
    return "\n".join(lines) + "\n"
