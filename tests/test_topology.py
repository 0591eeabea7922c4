"""Angles, dihedrals, exclusions, molecules and the order of walking, against brute force over random bond graphs."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgstore.topology import (
    angles_of_bonds,
    dihedrals_of_bonds,
    molecules_of_bonds,
    pairs_within_bonds,
    spanning_tree,
)

PARTICLES = 9
graphs = st.sets(
    st.tuples(st.integers(0, PARTICLES - 1), st.integers(0, PARTICLES - 1)).filter(lambda ends: ends[0] != ends[1]),
    max_size=14,
).map(lambda bonds: np.array(sorted(bonds), np.int32).reshape(-1, 2))


def neighbours(bond):
    """Return the set of neighbours of each particle."""
    found = [set() for _ in range(PARTICLES)]
    for i, j in bond:
        found[i].add(int(j))
        found[j].add(int(i))
    return found


def bonds_apart(bond):
    """Return the number of bonds between all particles by relaxing until nothing changes; infinite if none."""
    distance = np.where(np.eye(PARTICLES, dtype=bool), 0.0, np.inf)
    for i, j in bond:
        distance[i, j] = distance[j, i] = 1
    for k in range(PARTICLES):
        distance = np.minimum(distance, distance[:, [k]] + distance[[k]])
    return distance


@given(graphs)
def test_angles_are_all_chains_of_three_once_each(bond):
    near = neighbours(bond)
    expected = {(i, j, k) for j in range(PARTICLES) for i, k in itertools.combinations(sorted(near[j]), 2)}
    found = [tuple(angle) for angle in angles_of_bonds(bond, PARTICLES).tolist()]
    assert len(found) == len(set(found))
    assert set(found) == expected


@given(graphs)
def test_dihedrals_are_all_chains_of_four_different_particles_once_each(bond):
    near = neighbours(bond)
    expected = {
        (i, j, k, m)
        for j in range(PARTICLES)
        for k in near[j]
        if j < k
        for i in near[j] - {k}
        for m in near[k] - {j}
        if i != m
    }
    found = [tuple(dihedral) for dihedral in dihedrals_of_bonds(bond, PARTICLES).tolist()]
    assert len(found) == len(set(found))
    assert set(found) == expected


@given(graphs, st.integers(0, 5))
def test_pairs_within_bonds_are_those_of_the_shortest_paths(bond, distance):
    apart = bonds_apart(bond)
    expected = [[i, j] for i in range(PARTICLES) for j in range(i + 1, PARTICLES) if apart[i, j] <= distance]
    assert pairs_within_bonds(bond, PARTICLES, distance=distance).tolist() == expected


@given(graphs)
def test_molecules_are_the_connected_parts_numbered_by_their_first_particle(bond):
    molecule = molecules_of_bonds(bond, PARTICLES)
    np.testing.assert_array_equal(molecule[:, None] == molecule[None], np.isfinite(bonds_apart(bond)))
    first = [int(np.flatnonzero(molecule == number)[0]) for number in range(molecule.max() + 1)]
    assert first == sorted(first)


@given(graphs, st.booleans())
def test_a_walk_visits_each_particle_after_a_neighbour_of_its_molecule(bond, by_bonds):
    # Molecules known from bonds, or residues that hold several unbonded parts.
    part = molecules_of_bonds(bond, PARTICLES)
    molecule = part if by_bonds else part // 2
    order, parent = spanning_tree(bond, molecule)
    assert sorted(order.tolist()) == list(range(PARTICLES))
    place = np.empty(PARTICLES, int)
    place[order] = np.arange(PARTICLES)
    near = neighbours(bond)
    roots = [i for i in range(PARTICLES) if parent[i] == i]
    assert len(roots) == len(set(molecule.tolist()))
    for i in set(range(PARTICLES)) - set(roots):
        assert place[parent[i]] < place[i]
        assert molecule[parent[i]] == molecule[i]
        assert int(parent[i]) in near[i] or part[parent[i]] != part[i]


def test_nothing_follows_from_no_bonds():
    none = np.empty((0, 2), np.int32)
    assert angles_of_bonds(none, 5).shape == (0, 3)
    assert dihedrals_of_bonds(none, 5).shape == (0, 4)
    assert pairs_within_bonds(none, 5, distance=3).shape == (0, 2)
    assert molecules_of_bonds(none, 5).tolist() == [0, 1, 2, 3, 4]
    assert spanning_tree(none, np.arange(5))[1].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("distance", [1, 2, 3])
def test_a_long_chain_is_quick(distance):
    chain = np.stack([np.arange(49_999), np.arange(1, 50_000)], 1)
    assert len(pairs_within_bonds(chain, 50_000, distance=distance)) == sum(50_000 - k for k in range(1, distance + 1))
