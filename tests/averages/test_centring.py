"""Centres of layers and particles, whole or cut by the boundary."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgstore.averages.centring import Body, body_of, centre_of, membrane_of, periodic_centre, plane_centre
from cgstore.errors import InputError, NotFound
from cgstore.schema import topology_of

SHEARED = np.array([[3.0, 0, 0], [1.1, 2.8, 0], [-1.3, 1.2, 4.2]])


def lopsided(frames=5, particles=300, seed=2):
    """Return fractions of a layer that is dense on one side and fills 0.7 of the box, and weights."""
    random = np.random.default_rng(seed)
    return 0.7 * random.random((frames, particles)) ** 2, random.uniform(1, 16, particles)


def apart(a, b):
    """Return how far fractions are apart, across the boundary too."""
    return np.abs((np.asarray(a) - b + 0.5) % 1 - 0.5).max()


def test_a_layer_within_half_a_box_of_its_middle_has_its_centre_of_mass():
    fraction, weight = lopsided()
    exact = np.average(fraction, axis=1, weights=weight)
    assert periodic_centre(fraction, weight) == pytest.approx(exact, abs=1e-12)
    # The angle of the mean phase alone is somewhere else; that is why it is not used.
    phase = np.angle(np.exp(2j * np.pi * fraction) @ weight) / (2 * np.pi)
    assert np.abs(phase - exact).max() > 0.01


@given(st.floats(-3, 3), st.integers(0, 2**32 - 1))
def test_a_shift_moves_the_centre_and_nothing_else(shift, seed):
    fraction, weight = lopsided(frames=2, particles=60, seed=5)
    images = np.random.default_rng(seed).integers(-3, 4, fraction.shape)
    moved = periodic_centre((fraction + shift) % 1 + images, weight)
    assert ((moved >= 0) & (moved < 1)).all()
    assert apart(moved, periodic_centre(fraction, weight) + shift) < 1e-12


@given(st.lists(st.floats(-2, 2, width=32), min_size=1, max_size=12))
def test_no_other_point_is_nearer_to_all(values):
    fraction = np.array([values], float)
    centre = periodic_centre(fraction, np.ones(len(values)))
    grid = np.linspace(0, 1, 1001)
    scatter = lambda c: (((fraction.T - c + 0.5) % 1 - 0.5) ** 2).sum(axis=0)  # noqa: E731
    # A start from 64 cuts may take one of two equally good centres, and nothing worse than a bin away from the best.
    assert scatter(centre)[0] <= scatter(grid).min() + len(values) / 64
    np.testing.assert_allclose(((fraction - centre + 0.5) % 1 - 0.5).mean(), 0, atol=1e-6)


def test_what_is_not_finite_or_without_weight_has_no_centre():
    assert np.isnan(periodic_centre([[0.1, np.nan], [0.1, np.inf]], [1.0, 1.0])).all()
    assert np.isnan(periodic_centre([[0.1, 0.2]], [0.0, 0.0])).all()
    assert np.isnan(periodic_centre(np.zeros((2, 0)), [])).all()
    assert periodic_centre([[-1e-17]], [1.0]).tolist() == [0.0]


def test_a_body_across_the_edges_of_a_sheared_box_is_made_whole():
    random = np.random.default_rng(4)
    shape = random.normal(size=(6, 50, 3)) * 0.25
    mass = random.uniform(1, 200, 50)
    at = np.array([0.02, -0.01, 0.97]) @ SHEARED
    whole = at + shape
    images = random.integers(-2, 3, (6, 50, 3)) @ SHEARED
    body = Body(np.arange(50), mass)
    boxes = np.repeat(SHEARED[None], 6, axis=0)
    found = centre_of((whole + images).astype(np.float32), boxes, body)
    exact = np.average(whole, axis=1, weights=mass)
    assert apart((found - exact) @ np.linalg.inv(SHEARED), 0) < 1e-6
    assert np.abs(centre_of(whole, None, body) - exact).max() < 1e-12
    along = plane_centre(whole, np.linalg.inv(boxes)[:, :, 2], body)
    assert apart(along, exact @ np.linalg.inv(SHEARED)[:, 2]) < 1e-6


@pytest.fixture
def mixture(dataset):
    """Return a function that makes three molecules of two bonded particles each, and two ions."""

    def make(kinds, **rest):
        bond = [(0, 1), (2, 3), (4, 5)]
        molecule = [0, 0, 1, 1, 2, 2, 3, 4]
        names = np.repeat([*kinds, "NA"], 2)
        return topology_of(
            dataset(
                np.zeros((1, 8, 3)), bond=bond, molecule=molecule, molecule_kind=names, type=list("abcdefgh"), **rest
            )
        )

    return make


def test_the_middle_are_the_lipids_or_what_has_bonds_and_is_no_solvent(mixture):
    middle = lambda *kinds: membrane_of(mixture(kinds), question="profile").particles.tolist()  # noqa: E731
    assert middle("PEPT", "DMPC", "HOH") == [2, 3]
    assert middle("CHOL", "DMPC", "HOH") == [0, 1, 2, 3]
    assert middle("SURF", "sol", "HOH") == [0, 1]
    with pytest.raises(InputError, match=r"profile: found no lipids.*centre = .*HOH, NA, SOL, W"):
        middle("HOH", "SOL", "W")


def test_the_centre_is_of_the_kinds_and_types_that_are_named(mixture):
    topology = mixture(("AU", "DMPC", "HOH"), mass=np.arange(8.0))
    body = body_of(topology, ("DMPC", "g"), question="profile")
    assert (body.particles.tolist(), body.mass.tolist()) == ([2, 3, 6], [2.0, 3.0, 6.0])
    assert body_of(topology, "AU", question="profile").particles.tolist() == [0, 1]
    with pytest.raises(NotFound, match=r'profile: found no molecule kind or type "DMPX" .*did you mean "DMPC"'):
        body_of(topology, ["DMPX"], question="profile")
    with pytest.raises(InputError, match="found no name in centre"):
        body_of(topology, [], question="profile")
    with pytest.raises(InputError, match="profile: found masses of 0 to 0 u at the centre"):
        body_of(topology, "a", question="profile")
