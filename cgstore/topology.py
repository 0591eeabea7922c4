"""The static part of a system: particles, molecules and the terms between them.

Angles, dihedrals and exclusions follow from the bond graph by the functions below.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # who only lists or opens datasets need not wait for scipy
    from scipy.sparse import csr_array

__all__ = [
    "Topology",
    "angles_of_bonds",
    "dihedrals_of_bonds",
    "impropers_of_bonds",
    "molecules_of_bonds",
    "pairs_within_bonds",
    "spanning_tree",
]

Int = NDArray[np.int32]
Text = NDArray[np.str_]


@dataclass(frozen=True, slots=True, eq=False)
class Topology:
    """Particles and terms; arrays named as the variables of the dataset.

    `molecule` numbers the molecules from 0 in the order of their first particle; the terms hold particle indices.
    """

    name: Text  # (particle,)
    type: Text  # (particle,)
    residue: Text  # (particle,)
    residue_id: Int  # (particle,)
    molecule: Int  # (particle,)
    molecule_kind: Text  # (particle,)
    mass: NDArray[np.float64]  # (particle,) u
    charge: NDArray[np.float64]  # (particle,) e
    bond: Int  # (bond, 2)
    angle: Int  # (angle, 3)
    dihedral: Int  # (dihedral, 4)

    def __len__(self) -> int:
        """Return the number of particles."""
        return len(self.name)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays by name."""
        return {name: getattr(self, name) for name in self.__slots__}


def _adjacency(bond: Int, particles: int) -> "csr_array":
    """Return the symmetric bond graph."""
    from scipy.sparse import coo_array, csr_array

    ends = np.asarray(bond, np.int64).reshape(-1, 2)
    rows, columns = np.concatenate([ends, ends[:, ::-1]]).T
    graph = coo_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(particles, particles))
    return csr_array(graph)


def molecules_of_bonds(bond: Int, particles: int) -> Int:
    """Number the connected parts of the bond graph in the order of their first particle.

    Parameters
    ----------
    bond : (bond, 2) particle indices
    particles : number of particles

    Returns
    -------
    (particle,) molecule of each particle

    Examples
    --------
    >>> molecules_of_bonds(np.array([[3, 0], [1, 2]]), 5).tolist()
    [0, 1, 1, 0, 2]
    """
    from scipy.sparse.csgraph import connected_components

    _, label = connected_components(_adjacency(bond, particles), directed=False)
    _, first, inverse = np.unique(label, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int32)
    rank[np.argsort(first)] = np.arange(len(first), dtype=np.int32)
    return np.asarray(rank[inverse], np.int32)


def angles_of_bonds(bond: Int, particles: int) -> Int:
    """Return all angles i–j–k of the bond graph, i < k, ordered by j, i, k.

    >>> angles_of_bonds(np.array([[0, 1], [1, 2], [1, 3]]), 4).tolist()
    [[0, 1, 2], [0, 1, 3], [2, 1, 3]]
    """
    graph = _adjacency(bond, particles)
    found = []
    for centre in range(particles):
        ends = np.sort(graph.indices[graph.indptr[centre] : graph.indptr[centre + 1]])
        first, second = np.triu_indices(len(ends), 1)
        found.append(np.stack([ends[first], np.full(len(first), centre), ends[second]], 1))
    return np.concatenate(found or [np.empty((0, 3))]).astype(np.int32)


def dihedrals_of_bonds(bond: Int, particles: int) -> Int:
    """Return all proper dihedrals i–j–k–l of the bond graph, once each, j < k; rings of three give none.

    >>> dihedrals_of_bonds(np.array([[0, 1], [1, 2], [2, 3]]), 4).tolist()
    [[0, 1, 2, 3]]
    """
    graph = _adjacency(bond, particles)
    found = []
    ends = np.unique(np.sort(np.asarray(bond).reshape(-1, 2), axis=1), axis=0)
    for j, k in ends:
        before = np.sort(graph.indices[graph.indptr[j] : graph.indptr[j + 1]])
        after = np.sort(graph.indices[graph.indptr[k] : graph.indptr[k + 1]])
        found += [(i, j, k, m) for i in before if i != k for m in after if m not in (i, j)]
    return np.array(found, np.int32).reshape(-1, 4)


def impropers_of_bonds(bond: Int, particles: int) -> Int:
    """Return an improper dihedral of every particle with exactly three bonded neighbours: it, then they, in order.

    Centres of four neighbours make none: their angles alone keep them in shape. Those of rings and branches of rings
    are as any other.

    >>> impropers_of_bonds(np.array([[3, 1], [1, 0], [1, 2], [2, 4]]), 5).tolist()
    [[1, 0, 2, 3]]
    """
    graph = _adjacency(bond, particles)
    centre = np.flatnonzero(np.diff(graph.indptr) == 3)
    ends = np.sort(graph.indices[graph.indptr[centre][:, None] + np.arange(3)], axis=1)
    return np.concatenate([centre[:, None], ends], axis=1).astype(np.int32)


def pairs_within_bonds(bond: Int, particles: int, *, distance: int) -> Int:
    """Return the pairs i < j that are at most `distance` bonds apart, sorted.

    >>> pairs_within_bonds(np.array([[0, 1], [1, 2], [2, 3]]), 4, distance=2).tolist()
    [[0, 1], [0, 2], [1, 2], [1, 3], [2, 3]]
    """
    step = _adjacency(bond, particles).astype(bool)
    reached = step
    for _ in range(distance - 1):
        reached = (reached + reached @ step).astype(bool)
    if distance < 1:
        return np.empty((0, 2), np.int32)
    rows, columns = reached.nonzero()
    pairs = np.stack([rows, columns], 1)[rows < columns]
    return np.asarray(pairs[np.lexsort(pairs.T[::-1])], np.int32)


def spanning_tree(bond: Int, molecule: Int) -> tuple[Int, Int]:
    """Return an order in which each particle follows a neighbour of its own molecule: to make molecules whole.

    Particles of one molecule that no bond connects follow the particle before them in the molecule, so that
    residues without bond information (GRO, PDB) become whole too.

    Parameters
    ----------
    bond : (bond, 2)
    molecule : (particle,)

    Returns
    -------
    order : (particle,) particles, parents first
    parent : (particle,) for each particle the one it follows; itself for the first of a molecule

    Examples
    --------
    >>> order, parent = spanning_tree(np.array([[0, 2], [2, 1]]), np.array([0, 0, 0, 1]))
    >>> order.tolist(), parent.tolist()
    ([0, 3, 2, 1], [0, 2, 0, 3])
    """
    from scipy.sparse import coo_array, csr_array
    from scipy.sparse.csgraph import breadth_first_order

    particles = len(molecule)
    part = molecules_of_bonds(bond, particles)
    graph = _adjacency(bond, particles)
    # One extra bond from the first particle of each part to the particle before it in the same molecule, and one
    # from a virtual root to the first particle of each molecule: then one breadth-first search orders everything.
    by_molecule = np.argsort(molecule, kind="stable")
    previous = np.full(particles, -1)
    same = molecule[by_molecule][1:] == molecule[by_molecule][:-1]
    previous[by_molecule[1:][same]] = by_molecule[:-1][same]
    _, first_of_part = np.unique(part, return_index=True)
    linked = first_of_part[previous[first_of_part] >= 0]
    roots = np.flatnonzero(previous < 0)
    rows = np.concatenate(
        [np.repeat(np.arange(particles), np.diff(graph.indptr)), linked, np.full(len(roots), particles)]
    )
    columns = np.concatenate([graph.indices, previous[linked], roots])
    joined = csr_array(coo_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(particles + 1, particles + 1)))
    order, parent = breadth_first_order(joined, particles, directed=False)
    order, parent = order[1:], parent[:particles]
    parent = np.where(parent == particles, np.arange(particles), parent)
    return np.asarray(order, np.int32), np.asarray(parent, np.int32)
