import numpy as np
import pytest

from cgstore.kernels.nodes import node_weights

SHEARED = np.array([[2.2, 0, 0], [0.6, 2.2, 0], [-0.5, 0.7, 2.4]])


def _distances(position, box):
    """All pair distances by brute force over the 27 nearest images."""
    shifts = np.array([[i, j, k] for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)]) @ box
    i, j = np.triu_indices(len(position), 1)
    vector = position[j].astype(float) - position[i].astype(float)
    vector -= np.floor(vector @ np.linalg.inv(box)) @ box
    return i, j, np.linalg.norm(vector[:, None] + shifts, axis=2).min(1)


@pytest.fixture
def frames():
    rng = np.random.default_rng(3)
    return (rng.random((4, 40, 3)) @ SHEARED).astype(np.float32), rng.integers(0, 2, 40)


def _run(position, kind, *, spacing=0.01, nodes=91, width=0.05, bins=17):
    box = np.broadcast_to(SHEARED, (len(position), 3, 3)).copy()
    return node_weights(position, box, kind, np.array([[0, 1], [1, 2]]), spacing, nodes, width, bins, 3)


def test_the_weights_give_the_energy_of_a_linear_potential_exactly(frames):
    position, kind = frames
    weight, _ = _run(position, kind)
    for f in range(len(position)):
        i, j, r = _distances(position[f], SHEARED)
        for p, (a, b) in enumerate([(0, 0), (0, 1), (1, 1)]):
            mine = (np.minimum(kind[i], kind[j]) == a) & (np.maximum(kind[i], kind[j]) == b) & (r < 0.9)
            assert weight[f, p].sum() == pytest.approx(mine.sum(), abs=1e-9)
            assert weight[f, p] @ (np.arange(91) * 0.01) == pytest.approx(r[mine].sum(), rel=1e-12)


def test_a_curved_potential_is_right_to_second_order_in_the_spacing(frames):
    position, kind = frames
    u = lambda r: (0.9 - r) ** 2 * np.cos(4 * r)  # noqa: E731
    exact = sum(u(r[r < 0.9]).sum() for r in (_distances(x, SHEARED)[2] for x in position))
    errors = []
    for spacing in (0.02, 0.01, 0.005):
        nodes = round(0.9 / spacing) + 1
        weight, _ = _run(position, kind, spacing=spacing, nodes=nodes)
        errors.append(abs(np.sum(weight @ u(np.arange(nodes) * spacing)) - exact))
    assert errors[0] < 0.05
    assert errors[2] < errors[0] / 8


def test_the_counts_are_those_of_a_histogram(frames):
    position, kind = frames
    _, count = _run(position, kind)
    for f in range(len(position)):
        _, _, r = _distances(position[f], SHEARED)
        assert count[f].sum(0).tolist() == np.histogram(r, np.arange(18) * 0.05)[0].tolist()


def test_moving_particles_by_box_vectors_changes_nothing(frames):
    position, kind = frames
    rng = np.random.default_rng(5)
    moved = (position + rng.integers(-2, 3, position.shape) @ SHEARED).astype(np.float32)
    one, two = _run(position, kind), _run(moved, kind)
    np.testing.assert_allclose(one[0].sum(2), two[0].sum(2))
    np.testing.assert_allclose(one[0], two[0], atol=1e-3)  # float32 rounding of the moved positions
