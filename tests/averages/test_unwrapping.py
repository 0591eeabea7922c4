"""Unwrapped trajectories: wrapped, whole, sheared, breathing; and frames that are too far apart."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from cgstore.averages.unwrapping import unwrap
from cgstore.errors import InputError, NotFound, PhysicsError

SHEARED = np.array([[2.2, 0, 0], [0.9, 2.0, 0], [-0.7, 0.8, 2.4]])


def walk(frames, bodies, *, seed, step=0.1):
    """Return the way of independent walkers (frame, body, xyz)."""
    random = np.random.default_rng(seed)
    start = random.random((1, bodies, 3)) * 2
    return start + np.cumsum(random.normal(0, step, (frames, bodies, 3)), axis=0)


def wrapped(way, box):
    """Put every particle into the box of its frame."""
    fraction = way @ np.linalg.inv(box)
    return (fraction - np.floor(fraction)) @ box


def way_of(ds, **options):
    """Return the way relative to the first frame."""
    u = unwrap(ds, **options).position.values
    return u - u[0]


@settings(deadline=None, max_examples=30)
@given(
    edges=st.lists(st.floats(1.5, 4), min_size=3, max_size=3),
    tilts=st.lists(st.floats(-0.7, 0.7), min_size=3, max_size=3),
    seed=st.integers(0, 99),
)
def test_the_way_through_a_constant_box_is_found_again(edges, tilts, seed):
    box = np.diag(edges) + np.array([[0, 0, 0], [tilts[0], 0, 0], [tilts[1], tilts[2], 0]])
    way = walk(60, 5, seed=seed)
    variables = {
        "position": (("frame", "particle", "xyz"), wrapped(way, box).astype(np.float32)),
        "box": (("frame", "box_vector", "xyz"), np.broadcast_to(box, (60, 3, 3))),
    }
    np.testing.assert_allclose(way_of(xr.Dataset(variables)), way - way[0], atol=2e-5)


def test_without_a_box_positions_are_the_way(dataset):
    way = walk(20, 3, seed=1)
    u = unwrap(dataset(way))
    assert u.attrs["unwrapped"] == "no box"
    np.testing.assert_allclose(u.position, way, atol=1e-6)


def test_molecules_are_moved_as_one_wherever_their_particles_are(dataset):
    way = walk(80, 4, seed=2)
    shape = np.array([[0, 0, 0], [0.3, 0, 0], [0.3, 0.4, 0]])
    atoms = (way[:, :, None] + shape).reshape(80, 12, 3)
    mass = np.tile([1.0, 2.0, 5.0], 4)
    rest = {"molecule": np.repeat(np.arange(4), 3), "molecule_kind": ["W"] * 12, "mass": mass}
    rest |= {"bond": [(3 * m + k, 3 * m + k + 1) for m in range(4) for k in range(2)]}
    broken = unwrap(dataset(wrapped(atoms, SHEARED), SHEARED, **rest))
    whole = unwrap(dataset(atoms, SHEARED, **rest))
    centre = (way[:, :, None] + np.average(shape, axis=0, weights=mass[:3])).reshape(80, 4, 3)
    for found in broken, whole:
        assert found.position.dims == ("frame", "molecule", "xyz")
        assert found.kind.values.tolist() == ["W"] * 4
        assert found.mass.values.tolist() == [8.0] * 4
        u = found.position.values
        np.testing.assert_allclose(u - u[0], centre - centre[0], atol=2e-5)
        # It begins inside the box.
        assert ((u[0] @ np.linalg.inv(SHEARED) >= 0) & (u[0] @ np.linalg.inv(SHEARED) < 1)).all()


def breathing_walk(frames, bodies, *, seed, swing):
    """Return wrapped positions and boxes of walkers that a breathing box takes along, at constant pressure.

    In the coordinates of the box they are walkers of steps 0.1 nm / ⟨L⟩, so that D = 0.005 nm² per frame.
    """
    random = np.random.default_rng(seed)
    edge = 2.0 * (1 + swing * random.normal(size=frames))
    fraction = random.random((1, bodies, 3)) + np.cumsum(random.normal(0, 0.05, (frames, bodies, 3)), axis=0)
    box = edge[:, None, None] * np.eye(3)
    return (fraction - np.floor(fraction)) * edge[:, None, None], box, fraction * edge[:, None, None]


def toroidal(position, box):
    """Say the definition in NumPy: the nearest image, in the newer box, of the step between wrapped positions."""
    inside = wrapped(position, box)
    way = [inside[0]]
    for old, new, edges in zip(inside[:-1], inside[1:], box[1:], strict=True):
        step = new - old
        way.append(way[-1] + step - np.rint(step @ np.linalg.inv(edges)) @ edges)
    return np.array(way)


@pytest.mark.parametrize("drift", [True, False])
def test_the_kernel_does_what_the_definition_says_in_a_box_that_changes_shape(dataset, drift):
    random = np.random.default_rng(12)
    box = SHEARED * (1 + 0.02 * random.normal(size=(150, 3, 3)))
    position = (random.random((1, 9, 3)) + np.cumsum(random.normal(0, 0.06, (150, 9, 3)), axis=0)) @ box
    mass = random.random(9)
    expected = toroidal(position.astype(np.float32).astype(np.float64), box.astype(np.float32).astype(np.float64))
    if drift:
        centre = np.average(expected, axis=1, weights=mass)
        expected -= (centre - centre[0])[:, None]
    found = unwrap(dataset(position, box, mass=mass), of="particle", remove_drift=drift).position
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_a_breathing_box_does_not_carry_far_molecules_away(dataset):
    position, box, heuristic = breathing_walk(4000, 100, seed=3, swing=0.02)
    u = unwrap(dataset(position, box), of="particle").position.values

    def spread(x, lag):
        return ((x[lag:] - x[:-lag]) ** 2).sum(axis=2)

    # Two frames apart the box has hardly a say: what whole boxes add is seen in molecules that are boxes away.
    late = spread(u, 1)[-500:].mean() / spread(u, 1)[:500].mean()
    assert late == pytest.approx(1, abs=0.05)
    assert spread(heuristic, 1)[-500:].mean() / spread(heuristic, 1)[:500].mean() > 1.4
    assert spread(u, 100).mean() == pytest.approx(3.0, rel=0.1)


def test_images_do_not_matter_however_far(dataset):
    # Positions that somebody else has unwrapped with whole boxes give the same way as wrapped ones.
    position, box, heuristic = breathing_walk(300, 10, seed=4, swing=0.02)
    np.testing.assert_allclose(
        way_of(dataset(heuristic, box), of="particle"), way_of(dataset(position, box), of="particle"), atol=1e-4
    )


def test_drift_of_the_system_is_taken_off_by_mass(dataset):
    way = walk(50, 6, seed=5) + np.linspace(0, 3, 50)[:, None, None]
    mass = np.arange(1.0, 7.0)
    ds = dataset(wrapped(way, 2 * np.eye(3)), 2 * np.eye(3), mass=mass)
    u = unwrap(ds, remove_drift=True).position
    centre = np.average(u, axis=1, weights=mass)
    np.testing.assert_allclose(centre, np.broadcast_to(centre[0], centre.shape), atol=1e-5)
    # Those that are not asked for belong to the system too.
    types = ["A", "B", "A", "B", "A", "B"]
    some = unwrap(ds.assign_coords(type=("particle", types)), kinds=["B"], remove_drift=True)
    np.testing.assert_array_equal(some.position, u.values[:, 1::2])
    assert some.molecule.values.tolist() == [1, 3, 5]


def test_nothing_is_computed_early_and_chunks_do_not_matter(dataset, no_computing, monkeypatch):
    way = walk(70, 5, seed=6)
    position = wrapped(way, SHEARED)
    whole = unwrap(dataset(position, SHEARED)).compute()
    monkeypatch.setattr("cgstore.averages.unwrapping._TASK_BYTES", 12 * 5 * 16)
    for chunk in (7, 64):
        with no_computing():
            lazy = unwrap(dataset(position, SHEARED, chunk=chunk))
        assert len(lazy.position.chunks[0]) == 5
        np.testing.assert_allclose(lazy.position.compute(scheduler="threads"), whole.position, rtol=1e-13)


@pytest.mark.parametrize("lazy", [None, 50])
def test_frames_too_far_apart_are_refused(dataset, lazy):
    position = wrapped(walk(200, 10, seed=7, step=0.5), 2 * np.eye(3))
    ds = dataset(position, 2 * np.eye(3), chunk=lazy)
    with pytest.raises(PhysicsError, match=r'steps of "A" in the first 200 frames go 0.45 or more of a height'):
        unwrap(ds).compute()


def test_a_few_slow_ones_do_not_hide_the_fast(dataset):
    slow, fast = walk(200, 50, seed=8, step=0.02), walk(200, 2, seed=9, step=0.5)
    position = wrapped(np.concatenate([slow, fast], axis=1), 2 * np.eye(3))
    ds = dataset(position, 2 * np.eye(3), type=["A"] * 50 + ["B"] * 2)
    with pytest.raises(PhysicsError, match='steps of "B"'):
        unwrap(ds).compute()
    assert np.isfinite(unwrap(ds, kinds=["A"]).position.values).all()


def test_what_cannot_be_unwrapped_is_said(dataset):
    way = walk(10, 3, seed=1)
    with pytest.raises(NotFound, match='no molecule of kind "C"; known are A'):
        unwrap(dataset(way), kinds=["C"])
    with pytest.raises(InputError, match="expected a list of kinds"):
        unwrap(dataset(way), kinds="A")
    with pytest.raises(InputError, match="found of = 'residue', expected"):
        unwrap(dataset(way), of="residue")
    with pytest.raises(InputError, match="found no frames"):
        unwrap(dataset(way).isel(frame=slice(0)))
    way[4, 1, 2] = np.nan
    with pytest.raises(PhysicsError, match="frame 4 has a position that is not finite"):
        unwrap(dataset(way)).compute()
    box = np.broadcast_to(np.eye(3), (10, 3, 3)).copy()
    box[6] = 0
    with pytest.raises(PhysicsError, match="the box of frame 6"):
        unwrap(dataset(walk(10, 3, seed=1), box)).compute()
