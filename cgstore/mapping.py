"""Atoms to beads: molecules made whole, weighted centres, and the topology of the beads.

Molecules that are equal atom by atom share one plan, made once and repeated for each of them; what is dropped costs
nothing. A bead lies in the image of its molecule in which the molecule's first atom lies in the source.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgstore.documents import did_you_mean
from cgstore.errors import InputError
from cgstore.frames import Frames
from cgstore.kernels.mapping import map_positions, sum_values
from cgstore.molecules import Variant, variants_of
from cgstore.recipe import MappingFile, Recipe
from cgstore.topology import Topology, angles_of_bonds, dihedrals_of_bonds, spanning_tree

__all__ = ["BeadMap", "bead_map", "composition_of"]

# Hydrogen mass repartitioning goes up to 4 u; the lightest atom of another element that forms bonds has 6.9 u. Drude
# particles and massless sites are below it too and follow their atom like hydrogens.
_LIGHT = 4.1
_SITE = 0.9  # u; lighter than a hydrogen are only virtual sites, lone pairs and Drude particles
Index = NDArray[np.int64]
_contiguous = partial(np.ascontiguousarray, dtype=np.float32)  # the one layout that kernels are compiled for


@dataclass(frozen=True, slots=True, eq=False)
class BeadMap:
    """What turns frames of atoms into frames of beads; arrays as in `kernels.mapping.map_positions`."""

    topology: Topology  # of the beads
    particles: int  # of the source
    atom: Index  # (listed,)
    parent: Index  # (listed,)
    first_atom: Index  # (molecule + 1,)
    first_bead: Index  # (molecule + 1,)
    first_member: Index  # (bead + 1,)
    member: Index  # (members,) place in the molecule
    source: Index  # (members,) particle
    weight: NDArray[np.float64]  # (members,) for positions
    mass_weight: NDArray[np.float64]  # (members,) for velocities

    @property
    def needed(self) -> int:
        """Return how many of the source's particles are looked at: those behind the last one in a bead are not."""
        return int(max(self.atom.max(initial=-1), self.source.max(initial=-1))) + 1

    def apply(self, frames: Frames) -> Frames:
        """Map a block of frames; the particles that are not needed may be missing from it.

        Positions are weighted centres of whole molecules, velocities mass-weighted means, forces sums over the atoms
        of a bead: the force on a bead when its atoms belong to no other, which mapping files guarantee.

        Raises
        ------
        InputError : another number of particles than in the topology
        """
        found = frames.position.shape[1]
        if not self.needed <= found <= self.particles:
            raise InputError(f"mapping: found frames of {found} particles, the topology has {self.particles}")
        box, inverse = _boxes(frames)
        position = np.empty((len(frames), len(self.topology), 3), np.float32)
        places = self.atom, self.parent, self.first_atom, self.first_bead, self.first_member, self.member
        map_positions(_contiguous(frames.position), box, inverse, *places, self.weight, position)
        velocity = self._sums(frames.velocity, self.mass_weight)
        force = self._sums(frames.force, np.ones(len(self.source)))
        return replace(frames, position=position, velocity=velocity, force=force)

    def _sums(self, values: NDArray[np.float32] | None, weight: NDArray[np.float64]) -> NDArray[np.float32] | None:
        """Return weighted sums over the members of each bead, None of None."""
        if values is None:
            return None
        out = np.empty((len(values), len(self.topology), 3), np.float32)
        sum_values(_contiguous(values), self.source, self.first_member, weight, out)
        return out


def _boxes(frames: Frames) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the boxes and their inverses in float64; a zero inverse, where there is no box, moves nothing."""
    box = np.zeros((len(frames), 3, 3)) if frames.box is None else np.array(frames.box, np.float64)
    periodic = np.linalg.det(box) != 0
    inverse = np.zeros_like(box)
    inverse[periodic] = np.linalg.inv(box[periodic])
    return box, inverse


@dataclass(frozen=True, slots=True, eq=False)
class _Beads:
    """The beads of one molecule."""

    name: list[str]
    type: list[str]
    members: list[Index]  # places in the molecule, for each bead
    weight: str  # mass | equal
    bond: NDArray[np.int32]  # (bond, 2) beads


def composition_of(topology: Topology) -> dict[str, int]:
    """Count the molecules of each kind, in the order of their first appearance.

    Parameters
    ----------
    topology : of atoms or beads
    """
    _, first = np.unique(topology.molecule, return_index=True)
    kinds, places, counts = np.unique(topology.molecule_kind[first], return_index=True, return_counts=True)
    return {str(kinds[k]): int(counts[k]) for k in np.argsort(places)}


def bead_map(topology: Topology, recipe: Recipe) -> BeadMap:
    """Make the map from the atoms of a topology to the beads of a recipe.

    Parameters
    ----------
    topology : of the atoms
    recipe : with its mapping files

    Returns
    -------
    BeadMap : beads in the order of the molecules in the topology, within a molecule of the mapping file

    Raises
    ------
    InputError : recipe and topology do not fit; the message lists every unknown or twice used atom, every kind of
        molecule that is missing on either side, every difference to the composition
    """
    counts = composition_of(topology)
    problems = _kind_problems(counts, recipe)
    plans = []
    for variant in variants_of(topology, [kind for kind in counts if recipe.mapping.get(kind, "drop") != "drop"]):
        beads = _beads_of(variant, recipe.mapping[variant.kind], recipe.beads, problems)
        if beads is not None:
            plans.append(_plan(variant, beads))
    if not plans and not problems:
        problems.append("mapping   every kind of molecule is dropped; keep at least one, or make only the level atoms")
    if problems:
        lines = [f"\n  {line}" for line in dict.fromkeys(problems)]
        raise InputError(f"{recipe.path}: {len(lines)} problem{'s' if len(lines) > 1 else ''}{''.join(lines)}")
    return _assemble(topology, plans)


def _kind_problems(counts: dict[str, int], recipe: Recipe) -> list[str]:
    """Compare the kinds of molecules of the topology with the mapping and the composition of the recipe."""
    problems = [
        f'mapping   no line for {kind}, of which the topology has {count}; add {kind} = "drop", "molecule" or a file'
        for kind, count in counts.items()
        if kind not in recipe.mapping
    ]
    for kind in recipe.mapping:
        if kind not in counts:
            problems.append(f"mapping.{kind}   no such kind of molecule in the topology{did_you_mean(kind, counts)}")
    stated = recipe.system.composition
    for kind in dict.fromkeys([*stated, *counts]) if stated else ():
        found, present = stated.get(kind, 0), counts.get(kind, 0)
        if found != present:
            problems.append(f"system.composition.{kind}   found {found}, the topology has {present}")
    return problems


def _beads_of(variant: Variant, mapping: str, files: dict[str, MappingFile], problems: list[str]) -> _Beads | None:
    """Plan the beads of one molecule; None, and a line in `problems`, when that fails."""
    before = len(problems)
    every = np.arange(len(variant.name))
    if mapping == "keep":
        bond = variant.bond.astype(np.int32)
        return _Beads(list(variant.name), list(variant.type), list(every[:, None]), "equal", bond)
    if mapping == "molecule":
        beads = _Beads([variant.kind], [variant.kind], [every], "mass", np.empty((0, 2), np.int32))
    elif mapping == "residue":
        members = [np.flatnonzero(variant.number == k) for k in range(1, int(variant.number.max()) + 1)]
        names = [str(variant.residue[m[0]]) for m in members]
        ends = np.sort(variant.number[variant.bond] - 1, axis=1).reshape(-1, 2)
        bond = np.unique(ends[ends[:, 0] != ends[:, 1]], axis=0).astype(np.int32)
        beads = _Beads(names, names, members, "mass", bond)
    else:
        beads = _beads_of_file(variant, files[mapping], f"mapping.{variant.kind}   {mapping}", problems)
    for name, m in zip(beads.name, beads.members, strict=True):
        if beads.weight == "mass" and len(m) and not variant.mass[m].sum() > 0:
            advice = 'add atoms, or write weight = "equal"' if mapping in files else 'use "keep" or "drop"'
            problems.append(f'mapping.{variant.kind}   bead "{name}" has no mass: it has only massless sites; {advice}')
    return beads if len(problems) == before else None


def _beads_of_file(variant: Variant, file: MappingFile, where: str, problems: list[str]) -> _Beads:
    """Plan the beads that a mapping file describes."""
    owner = np.full(len(variant.name), -1)
    for b, bead in enumerate(file.bead):
        for atom in bead.atoms:
            places, problem = _find_atoms(atom, variant)
            if problem:
                problems.append(f'{where}: bead "{bead.name}"   {problem}')
            for place in places:
                if owner[place] >= 0:
                    other = file.bead[owner[place]].name
                    problems.append(f'{where}: bead "{bead.name}"   atom "{atom}" is already in bead "{other}"')
                owner[place] = b
    if file.hydrogens == "follow" and (problem := _follow(variant, owner)):
        problems.append(f"{where}   {problem}")
    names = [bead.name for bead in file.bead]
    pairs = {tuple(sorted((b, names.index(to)))) for b, bead in enumerate(file.bead) for to in bead.bonded_to}
    bond = np.array(sorted(pairs), np.int32).reshape(-1, 2)
    members = [np.flatnonzero(owner == b) for b in range(len(names))]
    return _Beads(names, [bead.type for bead in file.bead], members, file.weight, bond)


def _follow(variant: Variant, owner: Index) -> str:
    """Give light particles that are not named the bead of the heavy atom they belong to; return what prevents it.

    That is the heavy atom they are bonded to. Sites bonded to a hydrogen go with it; sites without any bond, as GROMACS
    has them, with the nearest heavy atom before them in their residue, else with the first one behind.
    """
    light, site = variant.mass <= _LIGHT, variant.mass < _SITE
    free = light & (owner < 0)
    if (free & ~site).any() and not len(variant.bond):
        advice = 'use one with bonds (tpr, psf, prmtop), or name the hydrogens and write hydrogens = "listed"'
        return f'found hydrogens = "follow", but the topology has no bonds in {variant.kind}; {advice}'
    either_way = np.concatenate([variant.bond, variant.bond[:, ::-1]])
    held = np.zeros(len(free), bool)
    for follower, heavy in either_way:
        if free[follower] and owner[follower] < 0 and not light[heavy]:
            owner[follower], held[follower] = owner[heavy], True
    for follower, hydrogen in either_way:
        if free[follower] and site[follower] and not held[follower] and not site[hydrogen]:
            owner[follower], held[follower] = owner[hydrogen], True
    bonded = np.zeros(len(free), bool)
    bonded[variant.bond] = True
    for follower in np.flatnonzero(free & site & ~bonded):
        hosts = np.flatnonzero(~light & (variant.number == variant.number[follower]))
        if len(hosts):
            owner[follower] = owner[hosts[max(0, int(np.searchsorted(hosts, follower)) - 1)]]
    return ""


def _find_atoms(text: str, variant: Variant) -> tuple[Index, str]:
    """Return the places in the molecule that `"C12"`, `"PC:C12"`, `"2:C12"` or `"1-5"` means, or what is wrong."""
    nothing = np.empty(0, np.int64)
    hits = np.flatnonzero(variant.name == text)
    residue, _, atom = text.rpartition(":")
    if not len(hits) and residue:
        inside = variant.residue == residue
        if not inside.any() and residue.isdecimal():
            inside = variant.number == int(residue)
        hits = np.flatnonzero(inside & (variant.name == atom))
    if len(hits) > 1:
        choice = " or ".join(f'"{variant.number[k]}:{variant.name[k]}"' for k in hits[:4])
        if len(set(variant.number[hits])) < len(hits):
            choice = " or ".join(f'"{k + 1}-{k + 1}"' for k in hits[:4])
        return nothing, f'{len(hits)} atoms of {variant.kind} are named "{text}"; write {choice}'
    if len(hits):
        return hits, ""
    if span := re.fullmatch(r"(\d+)-(\d+)", text):
        low, high = int(span[1]), int(span[2])
        if 1 <= low <= high <= len(variant.name):
            return np.arange(low - 1, high), ""
        return nothing, f'found the range "{text}", expected one inside 1-{len(variant.name)} of {variant.kind}'
    hint = did_you_mean(text, map(str, variant.name))
    return nothing, f'no atom "{text}" in {variant.kind}{hint if len(hint) < 200 else ""}'


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """The beads of one molecule and its atoms that are needed, each after the one it is bonded to."""

    variant: Variant
    beads: _Beads
    listed: Index  # (listed,) places in the molecule
    parent: Index  # (listed,) places in `listed`
    member: Index  # (members,) places in `listed`, bead after bead


def _plan(variant: Variant, beads: _Beads) -> _Plan:
    """Plan how to make one molecule whole, leaving out branches without any atom of a bead."""
    atoms = len(variant.name)
    order, parent = spanning_tree(variant.bond.astype(np.int32), np.zeros(atoms, np.int32))
    members = np.concatenate(beads.members)
    needed = np.zeros(atoms, bool)
    needed[members] = True
    for k in order[::-1]:
        needed[parent[k]] |= needed[k]
    listed = order[needed[order]].astype(np.int64)
    place = np.zeros(atoms, np.int64)
    place[listed] = np.arange(len(listed))
    return _Plan(variant, beads, listed, place[parent[listed]], place[members])


def _gather(plans: list[_Plan], of: Callable[[_Plan], NDArray[Any]]) -> NDArray[Any]:
    """Join arrays (molecule, n, …) of all plans in the order of the molecules; n rows for each molecule."""
    parts = [of(plan) for plan in plans]
    molecule = [np.repeat(plan.variant.molecules, part.shape[1]) for plan, part in zip(plans, parts, strict=True)]
    joined = np.concatenate([part.reshape(-1, *part.shape[2:]) for part in parts])
    return np.asarray(joined[np.argsort(np.concatenate(molecule), kind="stable")])


def _repeat(plans: list[_Plan], of: Callable[[_Plan], Any]) -> NDArray[Any]:
    """Join arrays (n, …) that are the same for each molecule of a plan, in the order of the molecules."""
    return _gather(plans, lambda p: np.stack([np.asarray(of(p))] * len(p.variant.molecules)))


def _starts(plans: list[_Plan], lengths: Callable[[_Plan], list[int]]) -> Index:
    """Return where each of some consecutive pieces begins, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(_repeat(plans, lengths))]).astype(np.int64)


def _assemble(topology: Topology, plans: list[_Plan]) -> BeadMap:
    """Repeat each plan for all its molecules, in the order of the molecules."""
    first_bead = _starts(plans, lambda p: [len(p.beads.name)])
    return BeadMap(
        topology=_bead_topology(topology, plans, first_bead),
        particles=len(topology),
        atom=_gather(plans, lambda p: p.variant.atoms[:, p.listed]),
        parent=_repeat(plans, lambda p: p.parent),
        first_atom=_starts(plans, lambda p: [len(p.listed)]),
        first_bead=first_bead,
        first_member=_starts(plans, lambda p: [len(m) for m in p.beads.members]),
        member=_repeat(plans, lambda p: p.member),
        source=_gather(plans, lambda p: p.variant.atoms[:, np.concatenate(p.beads.members)]),
        weight=_repeat(plans, lambda p: _weights(p, p.beads.weight)),
        mass_weight=_repeat(plans, lambda p: _weights(p, "mass")),
    )


def _weights(plan: _Plan, weight: str) -> NDArray[np.float64]:
    """Return the weights of the members of each bead, sum 1; equal where no member has a mass."""
    mass, members = plan.variant.mass, plan.beads.members
    values = [mass[m] if weight == "mass" and mass[m].any() else np.ones(len(m)) for m in members]
    return np.concatenate([value / value.sum() for value in values])


def _bead_topology(topology: Topology, plans: list[_Plan], first_bead: Index) -> Topology:
    """Describe the beads; angles and dihedrals come from their bonds."""
    molecules = _gather(plans, lambda p: p.variant.molecules[:, None])
    heads = _gather(plans, lambda p: p.variant.atoms[:, [m[0] for m in p.beads.members]])

    def terms(of: Callable[[NDArray[np.int32], int], NDArray[np.int32]]) -> NDArray[np.int32]:
        def shifted(plan: _Plan) -> NDArray[np.int32]:
            offset = first_bead[np.searchsorted(molecules, plan.variant.molecules)]
            return (offset[:, None, None] + of(plan.beads.bond, len(plan.beads.name))).astype(np.int32)

        return _gather(plans, shifted)

    return Topology(
        name=_repeat(plans, lambda p: p.beads.name),
        type=_repeat(plans, lambda p: p.beads.type),
        residue=topology.residue[heads],
        residue_id=topology.residue_id[heads],
        molecule=np.repeat(np.arange(len(molecules), dtype=np.int32), np.diff(first_bead)),
        molecule_kind=topology.molecule_kind[heads],
        mass=_repeat(plans, lambda p: [p.variant.mass[m].sum() for m in p.beads.members]),
        charge=_repeat(plans, lambda p: [p.variant.charge[m].sum() for m in p.beads.members]),
        bond=terms(lambda bond, _: bond),
        angle=terms(angles_of_bonds),
        dihedral=terms(dihedrals_of_bonds),
    )
