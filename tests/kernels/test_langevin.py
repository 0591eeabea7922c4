"""The kernel against plain float64 NumPy, against its own gradient, and against the physics of free particles."""

import itertools

import numpy as np
import pytest

from cgstore.kernels import forces_pairs, langevin, potentials, verlet
from cgstore.kernels.verlet import NOTHING_EXCLUDED

CUTOFF = 1.0
BOXES = {
    "cubic": np.eye(3) * 2.6,
    "barely large enough": np.eye(3) * 2.0,
    "flat": np.diag([2.05, 3.0, 4.0]),
    "sheared": np.array([[2.6, 0.0, 0.0], [1.2, 2.4, 0.0], [-1.1, 0.9, 2.5]]),
    "general": np.array([[2.0, 0.9, 0.3], [-0.4, 2.3, 0.8], [0.7, -0.6, 2.2]]),
}


def polynomial_energy(s: np.ndarray, depth: float) -> np.ndarray:
    """A potential that is a cubic in s = r², so that the table holds it exactly: depth (1 − s)³."""
    return depth * (1.0 - s) ** 3


def table_of_cubics(depths: np.ndarray, intervals: int = 64) -> np.ndarray:
    h = 1.0 / intervals
    s = np.arange(intervals) * h
    table = np.zeros((*depths.shape, intervals + 1, 4))
    for a, b in np.ndindex(depths.shape):
        d = depths[a, b]
        table[a, b, :-1, 0] = polynomial_energy(s, d)
        # force/r = −2 dU/ds = 6 d (1 − s − t h)² as a polynomial in t
        table[a, b, :-1, 1] = 6.0 * d * (1.0 - s) ** 2
        table[a, b, :-1, 2] = -12.0 * d * (1.0 - s) * h
        table[a, b, :-1, 3] = 6.0 * d * h * h
    return table


def all_images(position: np.ndarray, box: np.ndarray, kind: np.ndarray, depths: np.ndarray) -> tuple[float, np.ndarray]:
    energy, force = 0.0, np.zeros_like(position)
    vectors = np.array(list(itertools.product(range(-3, 4), repeat=3))) @ box
    for i, j in itertools.combinations(range(len(position)), 2):
        d = position[i] - position[j] + vectors
        s = (d**2).sum(axis=1)
        near = s < CUTOFF**2
        depth = depths[kind[i], kind[j]]
        energy += polynomial_energy(s[near], depth).sum()
        pull = (6.0 * depth * (1.0 - s[near, None]) ** 2 * d[near]).sum(axis=0)
        force[i] += pull
        force[j] -= pull
    return energy, force


def wrapped(position: np.ndarray, box: np.ndarray) -> np.ndarray:
    copy = position.copy()
    verlet.wrap(copy, box, np.linalg.inv(box))
    return copy


def pairs(kind: np.ndarray, table: np.ndarray) -> forces_pairs.PairTables:
    return forces_pairs.PairTables(kind, table, CUTOFF)


def energy_and_force(position, box, kind, table, force) -> float:
    virial = np.empty((3, 3))
    return potentials.measure(pairs(kind, table), CUTOFF, NOTHING_EXCLUDED, position, box, force, virial)


def relax(position, box, kind, table, largest) -> int:
    return langevin.relax(pairs(kind, table), CUTOFF, NOTHING_EXCLUDED, position, box, largest, 0.005, 500)


def run(
    position,
    velocity,
    box,
    kind,
    mass,
    table,
    *,
    steps,
    skin=0.1,
    wide=0.0,
    dt=0.005,
    friction=0.0,
    kT=1.0,
    first=0,
    key=7,
):
    return langevin.advance(
        pairs(kind, table),
        CUTOFF,
        NOTHING_EXCLUDED,
        position,
        velocity,
        box,
        mass,
        skin,
        dt,
        friction,
        kT,
        np.uint64(key),
        first,
        steps,
        langevin.NORMAL,
        wide,
    )


@pytest.mark.parametrize("name", BOXES)
def test_energy_and_forces_are_those_of_the_sum_over_all_images(name: str) -> None:
    rng = np.random.default_rng(3)
    box = BOXES[name]
    position = rng.random((40, 3)) @ box + 5.0 * rng.integers(-1, 2, (40, 3)) @ box
    kind = rng.integers(0, 2, 40).astype(np.uint32)
    depths = np.array([[1.0, 2.5], [2.5, -4.0]])
    force = np.empty_like(position)
    energy = energy_and_force(position, box, kind, table_of_cubics(depths), force)
    expected_energy, expected_force = all_images(wrapped(position, box), box, kind, depths)
    assert energy == pytest.approx(expected_energy, rel=1e-11)
    np.testing.assert_allclose(force, expected_force, atol=1e-10)


@pytest.mark.parametrize("name", ["cubic", "barely large enough", "sheared", "general"])
def test_the_verlet_list_misses_no_pair_while_particles_move(name: str) -> None:
    rng = np.random.default_rng(4)
    box = BOXES[name]
    height = 1.0 / np.linalg.norm(np.linalg.inv(box), axis=0)
    skin = 0.9 * (height.min() - CUTOFF)
    start, speed = rng.random((60, 3)) @ box, rng.normal(size=(60, 3))
    kind, mass = np.zeros(60, np.uint32), np.full(60, 10.0)
    table = table_of_cubics(np.array([[20.0]]))
    ends = []
    for chosen, wide in ((1e-9, 0.0), (skin, 0.0), (1e-9, skin), (0.2 * skin, skin)):
        position, velocity = start.copy(), speed.copy()
        assert run(position, velocity, box, kind, mass, table, steps=100, skin=chosen, wide=wide) == 0
        ends.append(position)
    for end in ends[1:]:
        np.testing.assert_allclose(ends[0], end, atol=1e-9)


def test_the_force_is_minus_the_gradient_of_the_energy() -> None:
    rng = np.random.default_rng(5)
    box = BOXES["sheared"]
    position = rng.random((12, 3)) @ box
    kind, table = np.zeros(12, np.uint32), table_of_cubics(np.array([[3.0]]))
    force, scratch = np.empty_like(position), np.empty_like(position)
    energy_and_force(position, box, kind, table, force)
    for i, x in np.ndindex(position.shape):
        shifted = [position.copy(), position.copy()]
        shifted[0][i, x] -= 1e-5
        shifted[1][i, x] += 1e-5
        low, high = (energy_and_force(p, box, kind, table, scratch) for p in shifted)
        assert force[i, x] == pytest.approx(-(high - low) / 2e-5, abs=1e-6)


def test_without_friction_energy_and_momentum_are_kept_and_the_error_is_of_second_order() -> None:
    rng = np.random.default_rng(6)
    box = BOXES["sheared"]
    start, speed = rng.random((60, 3)) @ box, 0.3 * rng.normal(size=(60, 3))
    kind, mass = np.zeros(60, np.uint32), rng.uniform(10.0, 20.0, 60)
    table, force = table_of_cubics(np.array([[20.0]])), np.empty((60, 3))
    errors = []
    for dt in (0.02, 0.01, 0.005):
        position, velocity, energies = start.copy(), speed.copy(), []
        for _ in range(200):
            run(position, velocity, box, kind, mass, table, steps=round(0.1 / dt), dt=dt)
            potential = energy_and_force(position, box, kind, table, force)
            energies.append(potential + 0.5 * (mass[:, None] * velocity**2).sum())
        errors.append(np.std(energies))
        np.testing.assert_allclose(mass @ velocity, mass @ speed, atol=1e-10)
    assert errors[2] < 1e-4 * 0.5 * (mass[:, None] * speed**2).sum()
    assert 3.0 < errors[0] / errors[1] < 5.0
    assert 3.0 < errors[1] / errors[2] < 5.0


def test_free_particles_forget_their_velocity_at_the_rate_of_the_friction() -> None:
    particles, friction, dt, kT, mass = 20_000, 2.0, 0.01, 2.5, 18.0
    rng = np.random.default_rng(8)
    position, velocity = np.zeros((particles, 3)), rng.normal(size=(particles, 3)) * np.sqrt(kT / mass)
    first = velocity.copy()
    table = np.zeros((1, 1, 2, 4))
    # No pairs: the box is so large that nobody meets, the list would otherwise be quadratic in 20 000.
    for start in range(0, particles, 200):
        part = slice(start, start + 200)
        run(
            position[part],
            velocity[part],
            np.eye(3) * 1e3,
            np.zeros(200, np.uint32),
            np.full(200, mass),
            table,
            steps=50,
            dt=dt,
            friction=friction,
            kT=kT,
            key=start + 1,
        )
    error = 5.0 / np.sqrt(3 * particles)
    assert mass * (velocity**2).mean() / kT == pytest.approx(1.0, abs=1.5 * error)
    assert (velocity**4).mean() / (velocity**2).mean() ** 2 == pytest.approx(3.0, abs=5.0 * error)
    assert (velocity * first).mean() * mass / kT == pytest.approx(np.exp(-friction * 50 * dt), abs=error)
    covariance = np.cov(velocity.T) * mass / kT
    np.testing.assert_allclose(covariance, np.eye(3), atol=1.5 * error)


def test_random_numbers_are_normal_and_independent_between_steps_particles_and_keys() -> None:
    assert langevin.NORMAL.mean() == pytest.approx(0.0, abs=1e-12)
    assert langevin.NORMAL.var() == pytest.approx(1.0, rel=1e-12)
    draws = []
    table = np.zeros((1, 1, 2, 4))
    for key, first in [(1, 0), (1, 1), (2, 0)]:
        position, velocity = np.zeros((500, 3)), np.zeros((500, 3))
        box, kind = np.eye(3) * 100.0, np.zeros(500, np.uint32)
        # So much friction that each velocity is the last random number.
        run(position, velocity, box, kind, np.ones(500), table, steps=1, dt=0.01, friction=1e5, key=key, first=first)
        draws.append(velocity.ravel())
    assert abs(np.corrcoef(draws) - np.eye(3)).max() < 5.0 / np.sqrt(1500)
    neighbours = np.corrcoef(draws[0].reshape(500, 3)[:-1].ravel(), draws[0].reshape(500, 3)[1:].ravel())
    assert abs(neighbours[0, 1]) < 5.0 / np.sqrt(1500)


def test_a_step_that_is_far_too_long_is_reported_with_its_number() -> None:
    rng = np.random.default_rng(9)
    position = rng.random((60, 3)) @ BOXES["cubic"]
    kind, mass = np.zeros(60, np.uint32), np.full(60, 1.0)
    status = run(
        position, np.zeros((60, 3)), BOXES["cubic"], kind, mass, table_of_cubics(np.array([[1e5]])), steps=1000, dt=0.05
    )
    assert -1000 <= status < 0


def test_relaxing_removes_overlaps_and_leaves_the_rest_alone() -> None:
    rng = np.random.default_rng(10)
    box, kind, table = BOXES["cubic"], np.zeros(100, np.uint32), table_of_cubics(np.array([[50.0]]))
    position, force = rng.random((100, 3)) @ box, np.empty((100, 3))
    before = energy_and_force(position, box, kind, table, force)
    largest = 0.5 * np.linalg.norm(force, axis=1).max()
    assert 0 < relax(position, box, kind, table, largest) < 500
    assert energy_and_force(position, box, kind, table, force) < before
    assert np.linalg.norm(force, axis=1).max() <= largest
    settled = position.copy()
    assert relax(position, box, kind, table, largest) == 0
    np.testing.assert_array_equal(position, settled)
