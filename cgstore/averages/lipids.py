"""Lipids: which molecules they are, their heads and the ends of their tails, and where these are in a frame."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.box import minimum_image
from cgstore.documents import did_you_mean
from cgstore.errors import InputError, NotFound
from cgstore.facets import lipids as known_lipids
from cgstore.schema import check_dataset, topology_of
from cgstore.topology import Topology, spanning_tree

__all__ = ["Head", "Lipids", "find_lipids", "hydrogens_of", "lipid_kinds", "named_topology", "skeleton_of"]

Float = NDArray[np.float64]
Index = NDArray[np.int64]
Mask = NDArray[np.bool_]
Head = str | Sequence[str] | Mapping[str, str | Sequence[str]] | None

_PHOSPHATE_BEADS = ("PO4", "PO3")
_HYDROXYL_BEADS = ("ROH",)
_PHOSPHORUS = (30.0, 32.0)  # u; hydrogen mass repartitioning does not touch it
_OXYGEN = (12.0, 18.0)  # u; alone, repartitioned, or with the hydrogen of a united atom
_LIGHT = 5.0  # u; the carbon of a repartitioned methyl is 6
_HYDROGEN = (0.9, 4.5)  # u; lighter are Drude particles, heavier repartitioned ones are not in use


@dataclass(frozen=True, slots=True, eq=False)
class Lipids:
    """The lipids of a system, one entry per molecule, and how their heads and tail ends are found in a frame."""

    kind: NDArray[np.str_]  # (lipid,)
    molecule: Index  # (lipid,) their numbers
    amphiphilic: Mask  # (lipid,) whose heads are at the surface: all but the sterols, unless the user named the heads
    particle: Index  # (kept,) particles on the way from head to tail ends, each after the one it follows
    parent: Index  # (kept,) place of the one it follows, itself for the first of a lipid
    level: tuple[Index, ...]  # places in the order in which they can be made whole
    head: tuple[Index, Index]  # places, and the lipids that they belong to in order
    tail: tuple[Index, Index]

    def __len__(self) -> int:
        """Return the number of lipids."""
        return len(self.kind)

    def ends(self, position: np.ndarray, box: Float | None) -> tuple[Float, Float]:
        """Return where heads and tail ends are: the mean of each, both of the same whole lipid.

        Parameters
        ----------
        position : (frame, particle, xyz) nm, whole or wrapped
        box : (frame, box_vector, xyz) nm, or None

        Returns
        -------
        two arrays (frame, lipid, xyz) nm
        """
        whole = self.whole(position, box)
        return self._mean(whole, self.head), self._mean(whole, self.tail)

    def whole(self, position: np.ndarray, box: Float | None) -> Float:
        """Return the kept particles (frame, kept, xyz) in nm, each lipid in one piece; parameters as `ends`."""
        chosen = np.asarray(position[:, self.particle], np.float64)
        step = chosen - chosen[:, self.parent]
        if box is not None:
            step = minimum_image(step, box)
        whole = np.where((self.parent == np.arange(len(self.parent)))[:, None], chosen, step)
        for places in self.level:
            whole[:, places] += whole[:, self.parent[places]]
        return whole

    def _mean(self, whole: Float, of: tuple[Index, Index]) -> Float:
        """Average positions of each lipid."""
        places, lipid = of
        number = np.bincount(lipid, minlength=len(self))
        first = np.cumsum(number) - number
        return np.asarray(np.add.reduceat(whole[:, places], first, axis=1) / number[:, None])


def named_topology(ds: xr.Dataset) -> Topology:
    """Return the topology of a dataset; without `molecule_kind` a molecule is of the kind of its first residue.

    Examples
    --------
    >>> ds = xr.Dataset(coords={"molecule": ("particle", [0, 0]), "residue": ("particle", ["MY", "PC"])})
    >>> named_topology(ds).molecule_kind.tolist()
    ['MY', 'MY']
    """
    topology = topology_of(ds)
    if "molecule_kind" in ds or "residue" not in ds:
        return topology
    _, first, molecule = np.unique(topology.molecule, return_index=True, return_inverse=True)
    return replace(topology, molecule_kind=topology.residue[first][molecule])


def lipid_kinds(topology: Topology, title: str, lipids: Iterable[str] | None) -> list[str]:
    """Return the molecule kinds that are lipids: those that are named, else those known by name or by one phosphate.

    Raises
    ------
    NotFound : a kind that is not there, or none is a lipid
    """
    first = np.unique(topology.molecule, return_index=True)[1]
    kinds, number = np.unique(topology.molecule_kind[first], return_counts=True)
    there = ", ".join(f"{count} {kind}" for kind, count in zip(kinds, number, strict=True))
    if lipids is not None:
        wanted = [lipids] if isinstance(lipids, str) else list(lipids)
        for kind in wanted:
            if kind not in kinds:
                raise NotFound(f"{title}: found no molecules {kind!r}{did_you_mean(kind, kinds.tolist())}")
        if wanted:
            return wanted
        raise InputError(f"{title}: found an empty list of lipids; leave it out to have them found, or name some")
    found = known_lipids(kinds.tolist())
    phosphate = _phosphates(topology)
    for kind, count in zip(kinds.tolist(), number.tolist(), strict=True):
        if kind not in found:
            inside = topology.molecule_kind == kind
            # One phosphate each, and something to be a tail; nucleic acids have many, ions nothing else.
            if (phosphate & inside).sum() == count and inside.sum() >= 8 * count:
                found.append(kind)
    if not found:
        raise NotFound(
            f"{title}: found no lipids among its molecules ({there}), expected a name like DMPC or CHOL, or molecules "
            'with one phosphate; if some are lipids all the same, write lipids = ["KIND"] into the table [membrane], '
            '[order] or [tilt] of a file that --spec names, or in Python lipids=("KIND",)'
        )
    return sorted(found)


def hydrogens_of(topology: Topology) -> Mask:
    """Tell which particles are hydrogens: by name and mass, with one bond at most; (particle,)."""
    bonds = np.bincount(topology.bond.ravel(), minlength=len(topology))
    named = _matching(topology.name, r"\d*[HD].*")
    light = (topology.mass > _HYDROGEN[0]) & (topology.mass < _HYDROGEN[1])
    return np.asarray(named & light & (bonds <= 1))


def skeleton_of(topology: Topology) -> Mask:
    """Tell which particles chains are made of: beads and heavy atoms, no hydrogens, lone pairs or Drude particles."""
    light = (topology.mass < _LIGHT) & (topology.mass != 1.0)  # 1 u is what a dataset without masses has
    return np.asarray(~light & ~hydrogens_of(topology))


def _matching(names: NDArray[np.str_], pattern: str) -> Mask:
    """Tell which names match a pattern as a whole; each distinct name is looked at once."""
    distinct, place = np.unique(names, return_inverse=True)
    return np.array([bool(re.fullmatch(pattern, name)) for name in distinct.tolist()], bool)[place]


def _phosphates(topology: Topology) -> Mask:
    """Tell which particles are phosphorus atoms or phosphate beads."""
    inside = (topology.mass > _PHOSPHORUS[0]) & (topology.mass < _PHOSPHORUS[1])
    unknown = topology.mass == 1.0  # what a dataset without masses has
    atom = _matching(topology.name, r"\d*P\d*[A-Z]?")
    bead = np.isin(topology.name, _PHOSPHATE_BEADS) | np.isin(topology.type, _PHOSPHATE_BEADS)
    return np.asarray((atom & (inside | unknown)) | bead)


def _hydroxyls(topology: Topology) -> Mask:
    """Tell which particles may be the hydroxyl of a sterol."""
    inside = (topology.mass > _OXYGEN[0]) & (topology.mass < _OXYGEN[1])
    atom = _matching(topology.name, r"\d*O.*")
    bead = np.isin(topology.name, _HYDROXYL_BEADS) | np.isin(topology.type, _HYDROXYL_BEADS)
    return np.asarray((atom & inside) | bead)


def find_lipids(ds: xr.Dataset, *, lipids: Iterable[str] | None = None, head: Head = None) -> Lipids:
    """Find the lipids of a dataset, their heads and the ends of their tails.

    Parameters
    ----------
    ds : dataset of the schema with `molecule`; `molecule_kind` and `bond` if there are any
    lipids : kinds of molecules; by default those with the name of a phospholipid or sterol, and those that have one
        phosphate each
    head : name or type of the head particles, several, or these by kind of molecule; by default the phosphorus (P) or
        its bead (PO4), for sterols the oxygen or its bead (ROH)

    Raises
    ------
    NotFound : no lipids, or no heads
    InputError : variables are missing

    Notes
    -----
    Tail ends are the particles at the ends of the bond graph, hydrogens aside, that are at least half as many bonds
    from the head as the farthest one; without bonds they are all particles but the head.
    """
    check_dataset(ds, needs=("position", "molecule"))
    title = str(ds.attrs.get("name", "this dataset"))
    topology = named_topology(ds)
    kinds = lipid_kinds(topology, title, lipids)
    inside = np.isin(topology.molecule_kind, kinds)
    is_head, amphiphilic = np.zeros(len(topology), bool), {}
    for kind in kinds:
        found, amphiphilic[kind] = _heads(topology, title, kind, head)
        is_head |= found
    _check_heads(topology, title, kinds, is_head, head)
    is_tail = _tails(topology, inside, is_head)
    molecule, first, lipid = np.unique(topology.molecule[inside], return_index=True, return_inverse=True)
    kind_of = topology.molecule_kind[inside][first]
    particle, parent, level = _ways(topology, np.flatnonzero(inside), is_head | is_tail)
    whose = np.full(len(topology), -1)
    whose[inside] = lipid
    return Lipids(
        kind=kind_of,
        molecule=np.asarray(molecule, np.int64),
        amphiphilic=np.array([amphiphilic[str(kind)] for kind in kind_of]) | (not any(amphiphilic.values())),
        particle=particle,
        parent=parent,
        level=level,
        head=_members(is_head[particle], whose[particle]),
        tail=_members(is_tail[particle], whose[particle]),
    )


def _heads(topology: Topology, title: str, kind: str, head: Head) -> tuple[Mask, bool]:
    """Return the heads of one kind, named or guessed, and whether they lie at the surface of a membrane."""
    inside = topology.molecule_kind == kind
    names = head.get(kind) if isinstance(head, Mapping) else head
    if names is not None:
        wanted = [names] if isinstance(names, str) else list(names)
        named = inside & (np.isin(topology.name, wanted) | np.isin(topology.type, wanted))
        if named.any():
            return named, True
        if isinstance(head, Mapping):
            there = np.unique(topology.name[inside]).tolist()
            raise NotFound(f"{title}: found no particle of {kind} called {', '.join(wanted)}{_like(wanted, there)}")
    phosphate = inside & _phosphates(topology)
    if phosphate.any():
        return phosphate, True
    hydroxyl = inside & _hydroxyls(topology)
    if hydroxyl.sum() == len(np.unique(topology.molecule[inside])):
        return hydroxyl, False
    there = ", ".join(dict.fromkeys(topology.name[inside].tolist()))
    raise NotFound(
        f"{title}: found no phosphate (P, PO4) and no single hydroxyl among the particles of {kind} ({there}); "
        f'name its head: head={{"{kind}": "NAME"}}'
    )


def _check_heads(topology: Topology, title: str, kinds: Sequence[str], is_head: Mask, head: Head) -> None:
    """Refuse names that occur nowhere, kinds that are not there, and molecules without a head."""
    if isinstance(head, Mapping):
        for kind in head:
            if kind not in kinds:
                raise NotFound(f"{title}: found a head for {kind!r}, which is no lipid here{did_you_mean(kind, kinds)}")
    elif head is not None:
        wanted = [head] if isinstance(head, str) else list(head)
        inside = np.isin(topology.molecule_kind, kinds)
        there = np.unique([topology.name[inside], topology.type[inside]]).tolist()
        if not set(wanted) & set(there):
            raise NotFound(f"{title}: found no particle of a lipid called {', '.join(wanted)}{_like(wanted, there)}")
    chosen = np.isin(topology.molecule_kind, kinds)
    without = np.setdiff1d(topology.molecule[chosen], topology.molecule[is_head])
    if len(without):
        kind = topology.molecule_kind[topology.molecule == without[0]][0]
        raise InputError(
            f"{title}: found no head in molecule {without[0]} of kind {kind}, while others of its kind have one; "
            "expected one name that all of them have"
        )


def _like(wanted: Sequence[str], there: Sequence[str]) -> str:
    """Return a hint for names that are not there."""
    return did_you_mean(wanted[0], there) if wanted else ""


def _tails(topology: Topology, inside: Mask, is_head: Mask) -> Mask:
    """Tell which particles are the ends of tails."""
    from scipy.sparse import coo_array, csr_array
    from scipy.sparse.csgraph import dijkstra

    number = len(topology)
    heavy = inside & skeleton_of(topology)
    bond = np.asarray(topology.bond, np.int64)
    bond = bond[heavy[bond].all(axis=1)]
    degree = np.bincount(bond.ravel(), minlength=number)
    graph = csr_array(coo_array((np.ones(len(bond)), (bond[:, 0], bond[:, 1])), shape=(number, number)))
    away = np.full(number, np.inf)
    if is_head.any():
        away = dijkstra(graph, directed=False, indices=np.flatnonzero(is_head), unweighted=True, min_only=True)
    reached = np.where(np.isfinite(away) & inside, away, 0.0)
    farthest = np.zeros(int(topology.molecule.max()) + 1)
    np.maximum.at(farthest, topology.molecule, reached)
    far = np.isfinite(away) & (away >= 0.5 * farthest[topology.molecule])
    tail = heavy & (degree == 1) & far & ~is_head
    # Without bonds there are no ends: the tail is then the rest of the molecule, or the head if that is all.
    for rest in (heavy & ~is_head, is_head):
        has = np.zeros(len(farthest), bool)
        has[topology.molecule[tail]] = True
        tail |= rest & ~has[topology.molecule]
    return np.asarray(tail)


def _ways(topology: Topology, chosen: Index, wanted: Mask) -> tuple[Index, Index, tuple[Index, ...]]:
    """Return the particles that connect the wanted ones, parents first, their parents, and their levels."""
    place = np.full(len(topology), -1, np.int64)
    place[chosen] = np.arange(len(chosen))
    bond = place[topology.bond]
    bond = bond[(bond >= 0).all(axis=1)]
    _, molecule = np.unique(topology.molecule[chosen], return_inverse=True)
    order, parent = spanning_tree(bond.astype(np.int32), molecule.astype(np.int32))
    needed = wanted[chosen].copy()
    for one in order[::-1]:
        needed[parent[one]] |= needed[one]
    kept = np.asarray(order[needed[order]], np.int64)
    new = np.full(len(chosen), -1, np.int64)
    new[kept] = np.arange(len(kept))
    followed = new[parent[kept]]
    depth = np.zeros(len(kept), np.int64)
    for one in range(len(kept)):
        depth[one] = 0 if followed[one] == one else depth[followed[one]] + 1
    levels = tuple(np.flatnonzero(depth == value) for value in range(1, int(depth.max(initial=0)) + 1))
    return chosen[kept], followed, levels


def _members(mask: Mask, lipid: Index) -> tuple[Index, Index]:
    """Return the places of a mask, lipid after lipid, and their lipids."""
    places = np.flatnonzero(mask)
    order = np.argsort(lipid[places], kind="stable")
    return places[order], lipid[places][order]
