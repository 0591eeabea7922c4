"""Particles: spheres cut from a crystal of silica, whose open bonds end in silanol groups.

Every silicon keeps its four oxygens: those that it shares with another silicon of the sphere stay bridges, the others
get a hydrogen. So the composition is that of silica and water, and in a model whose silanol carries the charge of half
a bridge the particle is neutral, whatever its radius.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cgstore.building.crystals import QUARTZ, sites
from cgstore.errors import InputError

__all__ = ["BOND", "SMALLEST", "Particle", "silica_sphere"]

Float = NDArray[np.float64]
Int = NDArray[np.int64]

BOND = 0.2  # nm; between the distances of silicon to its own oxygens, 0.161 nm, and to the next one, 0.35 nm
SMALLEST = 0.5  # nm; below this radius little of a crystal is left
_HYDROXYL = 0.1  # nm, of the model
_TILT = np.deg2rad(109.47)  # angle at the hydroxyl oxygen in the start; the model leaves it to the charges
_TURNS = 24  # directions that are tried for a hydrogen
_SLAB = 0.5  # nm


@dataclass(frozen=True, slots=True, eq=False)
class Particle:
    """Atoms of one particle around the origin; its groups, one silicon each, are its residues.

    The groups are named by the bridges of their silicon, as in nuclear magnetic resonance: SQ4 inside, SQ3 and SQ2,
    which have one and two silanols, at the surface.
    """

    name: NDArray[np.str_]  # (atom,)
    role: NDArray[np.str_]  # (atom,) silicon | bridge | hydroxyl | hydrogen
    group: NDArray[np.str_]  # (atom,)
    group_id: NDArray[np.int32]  # (atom,) from 1
    position: Float  # (atom, xyz) nm
    bond: NDArray[np.int32]  # (bond, 2) silicon and oxygen, oxygen and hydrogen

    def count(self, role: str) -> int:
        """Return the number of atoms of one role."""
        return int((self.role == role).sum())

    def extent(self) -> float:
        """Return the distance in nm of the outermost atom from the origin."""
        return float(np.linalg.norm(self.position, axis=1).max())

    def hydroxyls(self) -> NDArray[np.int32]:
        """Return oxygen and hydrogen of each silanol, (silanol, 2)."""
        return np.asarray(self.bond[self.role[self.bond[:, 1]] == "hydrogen"])


def silica_sphere(radius: float) -> Particle:
    """Cut a sphere from α-quartz.

    Parameters
    ----------
    radius : nm, of the sphere in which silicon stays; oxygen and hydrogen stand out by 0.2 nm

    Raises
    ------
    InputError : the radius is too small for a particle

    Notes
    -----
    A silicon with less than two bridges would hang at the surface like a solved silicic acid; it is taken away, and so
    are those that lose their bridges by this. Neighbours in the order of the atoms are neighbours in space, so that a
    reader finds the image of each next to the one before it.

    Examples
    --------
    >>> particle = silica_sphere(1.0)
    >>> [particle.count(role) for role in ("silicon", "bridge", "hydroxyl", "hydrogen")]
    [110, 176, 88, 88]
    """
    if not radius >= SMALLEST:
        raise InputError(f"a particle of silica: found a radius of {radius:g} nm, expected at least {SMALLEST:g} nm")
    silicon, oxygen, link = _framework(radius)
    path = _serpentine(silicon)
    silicon, link = silicon[path], _renamed(link, np.argsort(path))
    bridges = np.bincount(link[:, 1], minlength=len(oxygen)) == 2
    owner = _owners(link, bridges, len(silicon))
    hydrogen = _hydrogens(silicon, oxygen, link, bridges)
    return _assembled(silicon, oxygen, hydrogen, link, bridges, owner)


def _framework(radius: float) -> tuple[Float, Float, Int]:
    """Return silicon, oxygen, and which are neighbours: (link, 2) silicon and oxygen."""
    from scipy.spatial import cKDTree

    element, position = sites(QUARTZ, radius + BOND)
    silicon, oxygen = position[element == "Si"], position[element == "O"]
    silicon = silicon[np.linalg.norm(silicon, axis=1) <= radius]
    near = cKDTree(silicon).query_ball_tree(cKDTree(oxygen), BOND)
    link = np.array([(s, o) for s, some in enumerate(near) for o in sorted(some)], np.int64)
    kept = _held(link, len(silicon), len(oxygen))
    link = link[kept[link[:, 0]]]
    used = np.unique(link[:, 1])
    link = np.stack([(np.cumsum(kept) - 1)[link[:, 0]], np.searchsorted(used, link[:, 1])], axis=1)
    return silicon[kept], oxygen[used], link


def _held(link: Int, silicon: int, oxygen: int) -> NDArray[np.bool_]:
    """Say which silicon has at least two bridges to others of the largest connected piece."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    kept = np.ones(silicon, bool)
    while True:
        inside = link[kept[link[:, 0]]]
        bridge = np.bincount(inside[:, 1], minlength=oxygen) == 2
        bridges = np.bincount(inside[bridge[inside[:, 1]], 0], minlength=silicon)
        loose = kept & (bridges < 2)
        if not loose.any():
            break
        kept &= ~loose
    ones = np.ones(len(inside), np.int8)
    graph = coo_array((ones, (inside[:, 0], silicon + inside[:, 1])), shape=(silicon + oxygen,) * 2)
    piece = connected_components(graph, directed=False)[1][:silicon]
    return np.asarray(kept & (piece == np.bincount(piece[kept]).argmax()))


def _serpentine(position: Float) -> Int:
    """Return an order in which neighbours are close: through slabs, in them through rows, to and fro."""
    slab, row = (np.floor(position[:, axis] / _SLAB).astype(int) for axis in (2, 1))
    back = slab % 2 == 1
    row = np.where(back, -row, row)
    along = np.where((row + slab) % 2 == 1, -position[:, 0], position[:, 0])
    return np.lexsort((along, row, slab))


def _renamed(link: Int, number: Int) -> Int:
    """Give the silicon of each link its new number."""
    return np.stack([number[link[:, 0]], link[:, 1]], axis=1)


def _owners(link: Int, bridges: NDArray[np.bool_], silicon: int) -> Int:
    """Give each oxygen to one silicon, so that a silicon has half of its bridges, rounded up or down.

    Notes
    -----
    Silicon atoms are the nodes of a graph, bridges its edges. A walk that uses each edge once and ends where it must
    leaves a node as often as it enters it, but for its two ends; each edge belongs to the node that it leaves.
    """
    owner = np.full(len(bridges), -1)
    owner[link[~bridges[link[:, 1]], 1]] = link[~bridges[link[:, 1]], 0]
    ends: dict[int, list[int]] = {}
    free: list[list[int]] = [[] for _ in range(silicon)]
    for s, o in link[bridges[link[:, 1]]]:
        ends.setdefault(int(o), []).append(int(s))
        free[int(s)].append(int(o))
    odd = [s for s in range(silicon) if len(free[s]) % 2]
    for start in [*odd, *range(silicon)]:  # walks from odd nodes end in odd nodes; the rest are circles
        node = start
        if start in odd and sum(owner[o] < 0 for o in free[start]) % 2 == 0:
            continue
        while open_ways := [o for o in free[node] if owner[o] < 0]:
            way = open_ways[0]
            owner[way] = node
            node = ends[way][1] if ends[way][0] == node else ends[way][0]
    return owner


def _hydrogens(silicon: Float, oxygen: Float, link: Int, bridges: NDArray[np.bool_]) -> Float:
    """Place a hydrogen at each oxygen with one silicon, as far from all other atoms as its bond allows."""
    from scipy.spatial import cKDTree

    solid = cKDTree(np.concatenate([silicon, oxygen]))
    placed: list[Float] = []
    angle = np.arange(_TURNS) * 2 * np.pi / _TURNS
    for s, o in link[~bridges[link[:, 1]]]:
        axis = (oxygen[o] - silicon[s]) / np.linalg.norm(oxygen[o] - silicon[s])
        side = np.cross(axis, np.eye(3)[np.abs(axis).argmin()])
        side /= np.linalg.norm(side)
        around = np.cos(angle)[:, None] * side + np.sin(angle)[:, None] * np.cross(axis, side)
        trial = oxygen[o] + _HYDROXYL * (-np.cos(_TILT) * axis + np.sin(_TILT) * around)
        room = np.asarray(solid.query(trial, k=2)[0])[:, 1]  # the nearest is its own oxygen
        if placed:
            room = np.minimum(room, cKDTree(np.array(placed)).query(trial)[0])
        placed.append(trial[room.argmax()])
    return np.array(placed).reshape(-1, 3)


def _assembled(
    silicon: Float, oxygen: Float, hydrogen: Float, link: Int, bridges: NDArray[np.bool_], owner: Int
) -> Particle:
    """Number all atoms, group after group: silicon, its bridges, its hydroxyls."""
    silanol = link[~bridges[link[:, 1]]]
    of_oxygen = {int(o): k for k, (_, o) in enumerate(silanol)}
    shared = np.bincount(link[bridges[link[:, 1]], 0], minlength=len(silicon))
    rows: list[tuple[str, str, int, Float]] = []
    place = np.empty(len(oxygen), np.int64)
    head = np.empty(len(silicon), np.int64)
    bond: list[tuple[int, int]] = []
    for s in range(len(silicon)):
        head[s] = len(rows)
        rows.append(("SI", "silicon", s, silicon[s]))
        mine = np.flatnonzero(owner == s)
        for number, o in enumerate(mine[bridges[mine]], start=1):
            place[o] = len(rows)
            rows.append((f"OB{number}", "bridge", s, oxygen[o]))
        for number, o in enumerate(mine[~bridges[mine]], start=1):
            place[o] = len(rows)
            bond.append((len(rows), len(rows) + 1))
            rows.append((f"OH{number}", "hydroxyl", s, oxygen[o]))
            rows.append((f"HO{number}", "hydrogen", s, hydrogen[of_oxygen[int(o)]]))
    bond += [(int(head[s]), int(place[o])) for s, o in link]
    group = np.array([row[2] for row in rows])
    return Particle(
        name=np.array([row[0] for row in rows]),
        role=np.array([row[1] for row in rows]),
        group=np.array([f"SQ{shared[s]}" for s in group]),
        group_id=(group + 1).astype(np.int32),
        position=np.array([row[3] for row in rows]),
        bond=np.array(sorted(bond), np.int32),
    )
