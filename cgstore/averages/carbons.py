"""Carbons of lipids: the chains in the bond graph, their hydrogens, and where hydrogens that are left out would be."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cgstore.averages.lipids import hydrogens_of
from cgstore.box import minimum_image
from cgstore.documents import did_you_mean
from cgstore.errors import InputError, NotFound
from cgstore.molecules import Variant, variants_of
from cgstore.topology import Topology

__all__ = ["Carbon", "Group", "ch_groups", "ch_vectors"]

_CARBON = (5.0, 16.5)  # u; a repartitioned methyl carbon is 6 u, a united methyl 15 u
_SHORTEST_CHAIN = 6  # carbons; glycerol has three
_CARBON_MASS, _HYDROGEN_MASS = 12.011, 1.008  # u
_TETRAHEDRAL = np.arccos(-1.0 / 3.0)

Float = NDArray[np.float64]
Index = NDArray[np.int64]


class Carbon(NamedTuple):
    """A carbon of one kind of lipid."""

    kind: str  # of the molecule
    residue: int  # number of the residue in the molecule, from 1; some force fields cut lipids in three
    name: str
    chain: int  # from 1, 0 where the carbon is in no chain
    number: int  # in the chain, from 1 at the end that is bonded to something else, the carbonyl


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """One carbon in all lipids that have it, and the particles from which its C–H directions follow."""

    carbon: Carbon
    hydrogen: tuple[str, ...]  # their names; H1, H2 … where they are built
    geometry: str  # "explicit", "CH", "CH=", "CH2" or "CH3"
    particle: Index  # (lipid, member): the carbon, then its hydrogens or the neighbours that they are built from
    molecule: Index  # (lipid,)


def ch_groups(
    topology: Topology,
    title: str,
    kinds: Sequence[str],
    *,
    carbons: str | Iterable[str] | None,
    hydrogens: Mapping[str, int] | None,
) -> list[Group]:
    """Find carbons with hydrogens, chain after chain.

    Parameters
    ----------
    topology : of the atoms
    title : name of the dataset, for messages
    kinds : of molecules
    carbons : names; by default those in chains, unbranched paths of six carbons or more; "all" for all with hydrogens
    hydrogens : how many hydrogens carbons have, by name, where they are left out and masses do not tell

    Raises
    ------
    NotFound : a name that no carbon has
    InputError : no carbon with hydrogens; or the bonds do not tell where they are
    """
    wanted = None if carbons is None or carbons == "all" else [carbons] if isinstance(carbons, str) else list(carbons)
    found: dict[tuple[Carbon, tuple[str, ...], str], list[tuple[Index, Index]]] = {}
    names: set[str] = set()
    for variant in variants_of(topology, kinds):
        shape = _Shape(variant)
        names |= set(shape.names)
        for place, carbon in shape.carbons():
            chosen = carbon.chain > 0 if carbons is None else wanted is None or carbon.name in wanted
            if not chosen:
                continue
            labels, geometry, members = shape.directions(place, (hydrogens or {}).get(carbon.name), title)
            if labels:
                key = (carbon, labels, geometry)
                found.setdefault(key, []).append((variant.atoms[:, members], variant.molecules))
    for name in [*(wanted or ()), *(hydrogens or ())]:
        if name not in names:
            raise NotFound(f"{title}: found no carbon called {name!r}{did_you_mean(name, names)}")
    if not found:
        raise InputError(
            f"{title}: found no carbons with hydrogens in {', '.join(kinds)}, expected C–H bonds, or united atoms of "
            '13 to 15 u; say how many there are: hydrogens={"C22": 2, …}; for beads there is bond_order'
        )
    groups = [
        Group(*key, np.concatenate([atoms for atoms, _ in parts]), np.concatenate([number for _, number in parts]))
        for key, parts in found.items()
    ]
    return sorted(groups, key=lambda group: (group.carbon.kind, group.carbon.chain, group.carbon.number))


class _Shape:
    """One molecule as a graph of atoms."""

    def __init__(self, variant: Variant) -> None:
        number = len(variant.name)
        self.variant = variant
        self.name = [str(name) for name in variant.name]
        alone = Topology(
            name=variant.name, type=variant.type, residue=variant.residue,
            residue_id=variant.number.astype(np.int32), molecule=np.zeros(number, np.int32),
            molecule_kind=variant.residue, mass=variant.mass, charge=variant.charge,
            bond=variant.bond.astype(np.int32), angle=np.empty((0, 3), np.int32), dihedral=np.empty((0, 4), np.int32),
        )  # fmt: skip
        hydrogen = hydrogens_of(alone)
        light = (variant.mass < _CARBON[0]) & (variant.mass != 1.0)  # Drude particles, lone pairs
        named = np.array([bool(re.match(r"\d*C", name)) for name in self.name], bool)
        heavy_enough = ((variant.mass > _CARBON[0]) & (variant.mass < _CARBON[1])) | (variant.mass == 1.0)
        self.carbon = named & heavy_enough & ~hydrogen
        self.heavy: list[list[int]] = [[] for _ in range(number)]
        self.light: list[list[int]] = [[] for _ in range(number)]
        for ends in variant.bond.tolist():
            for one, other in (ends, ends[::-1]):
                if hydrogen[other]:
                    self.light[one].append(other)
                elif not light[other]:
                    self.heavy[one].append(other)

    @property
    def names(self) -> list[str]:
        """Return the names of the carbons."""
        return [self.name[place] for place in np.flatnonzero(self.carbon)]

    def carbons(self) -> Iterator[tuple[int, Carbon]]:
        """Give all carbons with their place in a chain, if any."""
        where = {place: (c, n) for c, chain in enumerate(self._chains(), 1) for n, place in enumerate(chain, 1)}
        for place in np.flatnonzero(self.carbon).tolist():
            chain, number = where.get(place, (0, place))
            yield place, Carbon(self.variant.kind, int(self.variant.number[place]), self.name[place], chain, number)

    def _chains(self) -> list[list[int]]:
        """Return unbranched paths of carbons, each from its polar end."""
        beside = {
            place: [other for other in self.heavy[place] if self.carbon[other]]
            for place in np.flatnonzero(self.carbon).tolist()
        }
        chains, seen = [], set()
        for start in beside:
            if start in seen or len(beside[start]) != 1:
                continue
            path, last = [start], None
            while True:
                ahead = [other for other in beside[path[-1]] if other != last]
                if len(ahead) != 1:
                    break
                last = path[-1]
                path.append(ahead[0])
            if ahead or len(path) < _SHORTEST_CHAIN:  # it branches, or is the glycerol
                continue
            seen |= {path[0], path[-1]}
            polar = [len(self.heavy[end]) - len(beside[end]) for end in (path[0], path[-1])]
            chains.append(path if polar[0] >= polar[1] else path[::-1])
        return sorted(chains, key=lambda chain: chain[0])

    def directions(self, place: int, number: int | None, title: str) -> tuple[tuple[str, ...], str, list[int]]:
        """Return the hydrogens of a carbon, the geometry, and the particles that tell where they are."""
        if self.light[place]:
            return tuple(self.name[one] for one in self.light[place]), "explicit", [place, *self.light[place]]
        mass = float(self.variant.mass[place])
        if number is None:
            number = max(round((mass - _CARBON_MASS) / _HYDROGEN_MASS), 0)
            if mass == 1.0 or abs(mass - _CARBON_MASS - number * _HYDROGEN_MASS) > 0.1:
                number = 0
        beside = self._ordered(place)
        geometry = {(1, 3): "CH", (1, 2): "CH=", (2, 2): "CH2", (3, 1): "CH3"}.get((number, len(beside)))
        if geometry == "CH3":
            beyond = [other for other in self._ordered(beside[0]) if other != place]
            beside, geometry = [beside[0], *beyond[:1]], geometry if beyond else None
        if number == 0:
            return (), "", []
        if geometry is None:
            raise InputError(
                f"{title}: found {number} hydrogens on carbon {self.name[place]} of {self.variant.kind}, which is "
                f"bonded to {len(self.heavy[place])} other atoms; expected CH3 with one, CH2 with two, CH with two or "
                "three; leave it out: carbons=(…)"
            )
        return tuple(f"H{one + 1}" for one in range(number)), geometry, [place, *beside]

    def _ordered(self, place: int) -> list[int]:
        """Return the neighbours of an atom, those that are no carbons first, then in the order of the molecule.

        Carbonyl and head come first in the order of most force fields; what matters is that it is the same order for
        all lipids of a kind, since it decides which of two hydrogens is the first.
        """
        carbons = sorted(other for other in self.heavy[place] if self.carbon[other])
        return sorted(other for other in self.heavy[place] if not self.carbon[other]) + carbons


def ch_vectors(group: Group, position: np.ndarray, box: Float | None) -> Float:
    """Return the C–H directions of a group: bond vectors, or unit vectors where hydrogens are built.

    Parameters
    ----------
    group : one carbon in all lipids
    position : (frame, particle, xyz) nm
    box : (frame, box_vector, xyz) nm, or None

    Returns
    -------
    (frame, lipid, hydrogen, xyz)

    Notes
    -----
    Built hydrogens have ideal geometry: CH opposite to the sum of the unit vectors to the neighbours (three: sp3, two:
    a double bond); CH2 in the plane across that of the neighbours, at 109.47° to each other; CH3 at 109.47° to the bond
    and staggered with respect to the bond after it. The length of the bond does not matter for angles.

    Examples
    --------
    >>> x = np.array([[[0.0, 0, 0], [1, 0, 0], [-1 / 3, 8**0.5 / 3, 0], [-1 / 3, -(2**0.5) / 3, (2 / 3) ** 0.5]]])
    >>> carbon = Carbon("DMPC", 1, "C2", 0, 1)
    >>> group = Group(carbon, ("H1",), "CH", np.array([[0, 1, 2, 3]]), np.array([0]))
    >>> ch_vectors(group, x, None).round(3).tolist()
    [[[[-0.333, -0.471, -0.816]]]]
    """
    origin = np.asarray(position[:, group.particle[:, 0]], np.float64)
    if group.geometry == "CH3":
        base = np.asarray(position[:, group.particle[:, 1]], np.float64)
        along = _step(origin, base, box)
        return _methyl(_unit(along), _step(base, np.asarray(position[:, group.particle[:, 2]], np.float64), box))
    to = [
        _step(origin, np.asarray(position[:, group.particle[:, member]], np.float64), box)
        for member in range(1, group.particle.shape[1])
    ]
    if group.geometry == "explicit":
        return np.stack(to, axis=2)
    beside = [_unit(vector) for vector in to]
    outward = _unit(-np.sum(beside, axis=0))
    if group.geometry != "CH2":
        return outward[:, :, None]
    across = _unit(np.cross(beside[0], beside[1]))
    half = 0.5 * _TETRAHEDRAL
    return np.stack([np.cos(half) * outward + sign * np.sin(half) * across for sign in (1.0, -1.0)], axis=2)


def _step(start: Float, end: Float, box: Float | None) -> Float:
    """Return vectors between positions, nearest images if there is a box."""
    return end - start if box is None else minimum_image(end - start, box)


def _unit(vector: Float) -> Float:
    """Return vectors of length one; NaN for those of none."""
    with np.errstate(invalid="ignore"):
        return np.asarray(vector / np.linalg.norm(vector, axis=-1, keepdims=True))


def _methyl(along: Float, beyond: Float) -> Float:
    """Return three directions: from the unit vector to the only neighbour, and the bond after it."""
    forward = _unit(-(beyond - (beyond * along).sum(axis=-1, keepdims=True) * along))  # the first one is trans
    across = np.cross(along, forward)
    cosine, sine = np.cos(_TETRAHEDRAL), np.sin(_TETRAHEDRAL)
    turns = np.arange(3) * 2.0 * np.pi / 3.0
    return np.stack([cosine * along + sine * (np.cos(a) * forward + np.sin(a) * across) for a in turns], axis=2)
