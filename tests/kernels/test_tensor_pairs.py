"""The pair counts of tensors against plain float64 NumPy: every pair, its minimum image, numpy.histogram."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cgstore.box import heights
from cgstore.kernels.tensor_pairs import count_pairs

torch = pytest.importorskip("torch")
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]
BOXES = {
    "cubic": np.diag([3.0, 3.0, 3.0]),
    "slab": np.diag([3.0, 5.0, 9.0]),
    "sheared": np.array([[4.0, 0, 0], [1.3, 3.8, 0], [-1.1, 1.7, 4.2]]),
    "octahedron": np.array([[6.0, 0, 0], [0, 6.0, 0], [3.0, 3.0, 4.2426]]),
    "rotated and far from reduced": np.array([[3.0, 0.2, 0], [-0.4, 2.7, 0.4], [4.1, 4.7, 9.2]]),
}


def random_frames(box, particles, types, seed, frames=2):
    """Return positions spread over several images, types, and the box of each frame, each a little larger."""
    random = np.random.default_rng(seed)
    boxes = box * (1.0 + 0.02 * np.arange(frames))[:, None, None]
    position = ((random.random((frames, particles, 3)) * 3 - 1) @ boxes).astype(np.float32)
    return position, random.integers(0, types, particles), boxes


def rows_of(types):
    """Number the pairs of types."""
    row = np.zeros((types, types), np.int64)
    row[np.triu_indices(types)] = np.arange(types * (types + 1) // 2)
    return np.maximum(row, row.T)


def by_tensors(position, box, kinds, row, r_max, bins, device="cpu", **options):
    """Count with tensors on a device; return (frame, row, bin)."""
    position, box, kinds, row = (torch.tensor(array, device=device) for array in (position, box, kinds, row))
    options = {name: torch.tensor(value, device=device) if name != "memory" else value
               for name, value in options.items()}  # fmt: skip
    return count_pairs(position, box, kinds, row, width=r_max / bins, bins=bins, **options).cpu().numpy()


def by_numpy(position, box, kinds, row, r_max, bins, excluded=(), group=None):
    """Count every pair in float64; return the counts, and how many pairs are within 1e-6 nm of an edge."""
    i, j = np.triu_indices(position.shape[1], 1)
    allowed = np.ones(len(i), bool) if group is None else group[i] != group[j]
    for a, b in excluded:
        allowed &= ~((i == min(a, b)) & (j == max(a, b)))
    i, j = i[allowed], j[allowed]
    counts, near = np.zeros((len(position), row.max() + 1, bins), int), 0
    for f, (x, edges) in enumerate(zip(position.astype(np.float64), box, strict=True)):
        d = x[j] - x[i]
        d -= np.rint(d @ np.linalg.inv(edges)) @ edges
        r = np.sqrt((d**2).sum(axis=1))
        near += (np.abs(r - np.rint(r / r_max * bins) * r_max / bins)[r < r_max + 1e-6] < 1e-6).sum()
        for k in range(row.max() + 1):
            counts[f, k] = np.histogram(r[row[kinds[i], kinds[j]] == k], bins, (0, r_max))[0]
    return counts, near


def assert_equal_up_to_edges(counted, expected, near):
    """Each pair near an edge may be in the bin on its other side, or lost beyond the last one."""
    assert counted.shape == expected.shape
    assert np.abs(counted - expected).sum() <= 2 * near


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", BOXES)
@pytest.mark.parametrize("particles", [40, 301])
def test_counts_are_those_of_every_pair_in_float64_in_any_box_up_to_half_its_height(name, particles, device):
    position, kinds, box = random_frames(BOXES[name], particles, 3, seed=particles)
    limit = heights(BOXES[name]).min() / 2
    for r_max in (0.2 * limit, 0.55 * limit, 0.9999 * limit):
        expected, near = by_numpy(position, box, kinds, rows_of(3), r_max, 150)
        counted = by_tensors(position, box, kinds, rows_of(3), r_max, 150, device)
        assert_equal_up_to_edges(counted, expected, near)
        assert near <= 0.003 * expected.sum() + 3
    assert expected.sum() > 0


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("particles", [41, 300])
def test_excluded_pairs_and_groups_are_left_out_exactly(particles, device):
    position, kinds, box = random_frames(BOXES["sheared"], particles, 2, seed=9)
    chain = np.array([(i, i + step)[:: (-1) ** i] for step in (1, 2) for i in range(0, particles - step, 3)])
    group = np.arange(particles) // 5
    everything, _ = by_numpy(position, box, kinds, rows_of(2), 1.5, 60)
    for choice in ({"excluded": chain}, {"group": group}, {"excluded": chain, "group": group}):
        expected, near = by_numpy(position, box, kinds, rows_of(2), 1.5, 60, **choice)
        assert expected.sum() < everything.sum()
        for memory in (2**28, 4000):
            counted = by_tensors(position, box, kinds, rows_of(2), 1.5, 60, device, memory=memory, **choice)
            assert_equal_up_to_edges(counted, expected, near)


@settings(max_examples=40, deadline=None)
@given(
    tilt=st.tuples(*[st.floats(-1.5, 1.5)] * 3),
    edges=st.tuples(*[st.floats(1.0, 6.0)] * 3),
    fraction=st.floats(0.05, 0.999),
    particles=st.integers(2, 60),
    seed=st.integers(0, 2**31),
    memory=st.integers(1, 2**17),
)
def test_no_pair_is_lost_or_doubled_in_boxes_found_by_hypothesis(tilt, edges, fraction, particles, seed, memory):
    box = np.array([[edges[0], 0, 0], [tilt[0], edges[1], 0], [tilt[1], tilt[2], edges[2]]])
    position, kinds, boxes = random_frames(box, particles, 2, seed, frames=3)
    r_max = fraction * heights(box).min() / 2
    expected, near = by_numpy(position, boxes, kinds, rows_of(2), r_max, 20)
    counted = by_tensors(position, boxes, kinds, rows_of(2), r_max, 20)
    assert_equal_up_to_edges(counted, expected, near)
    np.testing.assert_array_equal(by_tensors(position, boxes, kinds, rows_of(2), r_max, 20, memory=memory), counted)


@pytest.mark.parametrize("particles", range(2, 21))
def test_a_handful_of_particles_with_every_pair_in_reach(particles):
    box = np.diag([2.0, 2.0, 2.0])[None]
    position = (np.random.default_rng(particles).random((1, particles, 3)) * 0.5).astype(np.float32)
    kinds, pairs = np.zeros(particles, int), particles * (particles - 1) // 2
    assert by_tensors(position, box, kinds, np.zeros((1, 1), int), 0.9999, 1).sum() == pairs
    excluded = np.array(np.triu_indices(particles, 1)).T[::-1].copy()
    assert by_tensors(position, box, kinds, np.zeros((1, 1), int), 0.9999, 1, excluded=excluded).sum() == 0


def test_particles_at_the_same_place_and_at_the_seam_of_the_box():
    box = np.diag([2.0, 2.0, 2.0])[None]
    position = np.array([[[0.0, 0, 0], [2.0, 0, 0], [-1e-9, 0, 0], [1.94, 2.0, -2.0], [4.03, 0, 0]]], np.float32)
    counted = by_tensors(position, box, np.zeros(5, int), np.zeros((1, 1), int), 0.5, 10)
    assert counted[0, 0].tolist() == [6, 4, 0, 0, 0, 0, 0, 0, 0, 0]


def test_rows_nobody_asks_for_and_bins_much_shorter_than_the_box():
    position, kinds, box = random_frames(np.diag([50.0, 50.0, 50.0]), 200, 2, seed=1)
    position[:, 100:] = position[:, :100] + np.float32(0.05)
    row = np.array([[-1, 0], [0, -1]])
    expected, near = by_numpy(position, box, kinds, row, 0.2, 10)
    assert_equal_up_to_edges(by_tensors(position, box, kinds, row, 0.2, 10), expected, near)
    assert expected.sum() > 20


def test_one_particle_no_frame_and_no_row():
    row, box = np.zeros((1, 1), int), np.eye(3)
    assert by_tensors(np.zeros((3, 1, 3), np.float32), np.array([box] * 3), np.zeros(1, int), row, 0.4, 5).sum() == 0
    no_frame = by_tensors(np.zeros((0, 4, 3), np.float32), np.zeros((0, 3, 3)), np.zeros(4, int), row, 0.4, 5)
    assert no_frame.shape == (0, 1, 5)
    assert by_tensors(np.zeros((1, 4, 3), np.float32), box[None], np.zeros(4, int), row - 1, 0.4, 5).shape == (1, 0, 5)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_frame_with_a_position_that_is_not_finite_is_marked_throughout(wrong):
    position, kinds, box = random_frames(BOXES["sheared"], 50, 2, seed=2, frames=4)
    sound = by_tensors(position, box, kinds, rows_of(2), 1.5, 10)
    position[2, 17, 1] = wrong
    counted = by_tensors(position, box, kinds, rows_of(2), 1.5, 10)
    assert (counted[2] == -1).all()
    np.testing.assert_array_equal(counted[[0, 1, 3]], sound[[0, 1, 3]])


def test_positions_in_a_graph_are_counted_without_one():
    position = torch.rand(1, 10, 3, requires_grad=True)
    counted = count_pairs(
        position, torch.eye(3)[None], torch.zeros(10, dtype=torch.int64), torch.zeros((1, 1), dtype=torch.int64),
        width=0.1, bins=4,
    )  # fmt: skip
    assert not counted.requires_grad
