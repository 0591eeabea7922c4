"""The mapping kernels against plain NumPy on small hand-made plans."""

import numpy as np
import pytest

from cgstore.kernels.mapping import map_positions, sum_values

# Two molecules of 3 and 2 atoms, walked 0-2-1 and 4-3; three beads: {0, 2}, {1} and {4, 3}.
ATOM = np.array([0, 2, 1, 4, 3])
PARENT = np.array([0, 0, 1, 0, 0])
FIRST_ATOM, FIRST_BEAD = np.array([0, 3, 5]), np.array([0, 2, 3])
FIRST_MEMBER, MEMBER = np.array([0, 2, 3, 5]), np.array([0, 1, 2, 0, 1])
WEIGHT = np.array([0.25, 0.75, 1.0, 0.5, 0.5])
SKEWED = [[4.0, 0, 0], [1.7, 3.5, 0], [-1.1, 0.9, 5.0]]


def beads_of(whole: np.ndarray) -> np.ndarray:
    """Give the three beads of atoms that are whole already."""
    return np.stack([0.25 * whole[0] + 0.75 * whole[2], whole[1], 0.5 * whole[4] + 0.5 * whole[3]])


@pytest.mark.parametrize("edges", [np.diag([4.0, 3.5, 5.0]), np.array(SKEWED)], ids=["orthorhombic", "triclinic"])
def test_scattered_images_give_the_beads_of_the_whole_molecules(edges: np.ndarray) -> None:
    random = np.random.default_rng(1)
    whole = np.cumsum(random.normal(0, 0.2, (6, 5, 3)), axis=1).astype(np.float32).astype(np.float64)
    lattice = random.integers(-3, 4, (6, 5, 3))
    lattice[:, [0, 4]] = 0  # the first atoms of the walks stay
    scattered = (whole + lattice @ edges).astype(np.float32)
    box = np.broadcast_to(edges, (6, 3, 3)).copy()
    out = np.empty((6, 3, 3), np.float32)
    map_positions(
        scattered, box, np.linalg.inv(box), ATOM, PARENT, FIRST_ATOM, FIRST_BEAD, FIRST_MEMBER, MEMBER, WEIGHT, out
    )
    expected = np.stack([beads_of(frame) for frame in whole])
    assert np.abs(out - expected).max() < 3e-6  # float32 of shifted coordinates up to 30 nm
    assert np.abs(beads_of(scattered[0]) - expected[0]).max() > 1  # the input was broken


def walked(position: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Make both molecules whole in plain NumPy, atom by atom."""
    whole = position.astype(np.float64)
    for atom, parent in ((2, 0), (1, 2), (3, 4)):
        images = np.rint((whole[atom] - whole[parent]) @ np.linalg.inv(edges))
        whole[atom] -= images @ edges
    return whole


@pytest.mark.parametrize("edges", [np.diag([4.0, 3.5, 5.0]), np.array(SKEWED)], ids=["orthorhombic", "triclinic"])
def test_bonds_of_every_length_are_taken_by_the_rule_of_nearest_images(edges: np.ndarray) -> None:
    """Some molecules are told to be whole by their bonds alone; the others are walked: no difference may be seen."""
    position = np.random.default_rng(4).uniform(-2.7, 2.7, (4000, 5, 3)).astype(np.float32)
    position[::2] *= 0.5
    box = np.broadcast_to(edges, (len(position), 3, 3)).copy()
    out = np.empty((len(position), 3, 3), np.float32)
    map_positions(
        position, box, np.linalg.inv(box), ATOM, PARENT, FIRST_ATOM, FIRST_BEAD, FIRST_MEMBER, MEMBER, WEIGHT, out
    )
    whole = np.stack([walked(frame, edges) for frame in position])
    moved = (whole != position).any(axis=(1, 2))
    assert 0.2 < moved.mean() < 0.9
    assert np.abs(out - np.stack([beads_of(frame) for frame in whole])).max() < 1e-6


def test_a_zero_inverse_leaves_positions_as_they_are() -> None:
    position = np.random.default_rng(2).normal(0, 50, (1, 5, 3)).astype(np.float32)
    out = np.empty((1, 3, 3), np.float32)
    zero = np.zeros((1, 3, 3))
    map_positions(position, zero, zero, ATOM, PARENT, FIRST_ATOM, FIRST_BEAD, FIRST_MEMBER, MEMBER, WEIGHT, out)
    np.testing.assert_allclose(out[0], beads_of(position[0].astype(np.float64)), rtol=1e-6)


def test_sums_take_the_particles_they_are_given() -> None:
    values = np.random.default_rng(3).normal(size=(4, 5, 3)).astype(np.float32)
    out = np.empty((4, 3, 3), np.float32)
    source = np.array([0, 2, 1, 4, 3])
    sum_values(values, source, FIRST_MEMBER, WEIGHT, out)
    np.testing.assert_allclose(out, np.stack([beads_of(v.astype(np.float64)) for v in values]), rtol=1e-5, atol=1e-6)
