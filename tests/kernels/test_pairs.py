"""The pair kernel against plain float64 NumPy: every pair, its minimum image, numpy.histogram."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cgstore.box import heights
from cgstore.kernels import pairs as kernel
from cgstore.kernels.pairs import count_pairs

BOXES = {
    "cubic": np.diag([3.0, 3.0, 3.0]),
    "slab": np.diag([3.0, 5.0, 9.0]),
    "sheared": np.array([[4.0, 0, 0], [1.3, 3.8, 0], [-1.1, 1.7, 4.2]]),
    "octahedron": np.array([[6.0, 0, 0], [0, 6.0, 0], [3.0, 3.0, 4.2426]]),
    "rotated and far from reduced": np.array([[3.0, 0.2, 0], [-0.4, 2.7, 0.4], [4.1, 4.7, 9.2]]),
}


def random_frames(box, particles, types, seed, frames=2):
    """Return positions spread over several images, types, and the box of each frame."""
    random = np.random.default_rng(seed)
    position = ((random.random((frames, particles, 3)) * 3 - 1) @ box).astype(np.float32)
    return position, random.integers(0, types, particles), np.repeat(box[None], frames, axis=0)


def rows_of(types):
    """Number the pairs of types."""
    row = np.zeros((types, types), np.int64)
    row[np.triu_indices(types)] = np.arange(types * (types + 1) // 2)
    return np.maximum(row, row.T)


def by_kernel(position, box, type_index, types, r_max, bins, excluded=(), group=None):
    """Count with the kernel, all in one block."""
    particles = position.shape[1]
    both = np.array([*excluded, *[(j, i) for i, j in excluded]], np.int64).reshape(-1, 2)
    both = both[np.argsort(both[:, 0], kind="stable")]
    start = np.searchsorted(both[:, 0], np.arange(particles + 1))
    row = rows_of(types)
    count = np.zeros((1, row.max() + 1, bins), np.int64)
    total = np.zeros(count.shape)
    members = np.arange(particles) if group is None else group
    chosen = np.arange(particles)
    factor = np.ones(len(position))
    bad = count_pairs(
        position, box, factor, 2**40, chosen, type_index.astype(np.int32), members.astype(np.int32), start,
        np.ascontiguousarray(both[:, 1]), row, r_max / bins, count, total,
    )  # fmt: skip
    assert bad == -1
    np.testing.assert_array_equal(total, count)
    return count[0]


def by_numpy(position, box, type_index, types, r_max, bins, excluded=(), group=None):
    """Count every pair in float64."""
    i, j = np.triu_indices(position.shape[1], 1)
    allowed = np.ones(len(i), bool) if group is None else group[i] != group[j]
    for a, b in excluded:
        allowed &= ~((i == min(a, b)) & (j == max(a, b)))
    i, j = i[allowed], j[allowed]
    r = []
    for x, edges in zip(position.astype(np.float64), box, strict=True):
        d = x[j] - x[i]
        d -= np.rint(d @ np.linalg.inv(edges)) @ edges
        r.append(np.sqrt((d**2).sum(axis=1)))
    row = rows_of(types)[type_index[i], type_index[j]]
    return np.array([np.histogram(np.array(r)[:, row == k], bins, (0, r_max))[0] for k in range(row.max() + 1)])


@pytest.mark.parametrize("name", BOXES)
@pytest.mark.parametrize("particles", [40, 700])
def test_counts_are_those_of_every_pair_in_float64_in_any_box_up_to_half_its_height(name, particles):
    position, type_index, box = random_frames(BOXES[name], particles, 3, seed=particles)
    limit = heights(BOXES[name]).min() / 2
    for r_max in (0.2 * limit, 0.55 * limit, 0.9999 * limit):
        expected = by_numpy(position, box, type_index, 3, r_max, 150)
        np.testing.assert_array_equal(by_kernel(position, box, type_index, 3, r_max, 150), expected)
    assert expected.sum() > 0


@pytest.mark.parametrize("name", ["cubic", "octahedron"])
def test_columns_of_cells_and_all_pairs_count_the_same(name):
    position, type_index, boxes = random_frames(BOXES[name], 300, 2, seed=5, frames=1)
    box, bins, r_max = boxes[0], 100, 1.2
    inverse, at = np.linalg.inv(box), np.empty((3, 300))
    cell, rank, who = np.empty(300, np.int64), np.empty(300, np.int64), np.empty(300, np.int64)
    nothing, group = np.zeros(301, np.int64), np.arange(300, dtype=np.int32)
    counted = []
    for shape in ([1, 1, 1], [1, 2, 7], [2, 2, 20], [5, 6, 3], [9, 9, 40]):
        cells, stencil = np.array(shape), np.empty((400, 4), np.int64)
        columns, _ = kernel._stencil(box, cells, r_max, stencil)
        start = np.empty(cells.prod() + 2, np.int64)
        chosen = np.arange(300)
        assert kernel._sort(position[0], chosen, box, inverse, cells, start, cell, np.empty((300, 3)), at, rank)
        who[rank] = chosen
        offset = (type_index[who] * bins).astype(np.int32)
        rest = (offset, group, who, rank, nothing, nothing[:0], bins / r_max, np.int32(2), bins)
        h = np.zeros(4 * bins + kernel.SPILL * bins, np.uint32)
        kernel._count_columns(box, cells, stencil, columns, start, at, *rest, np.empty(301, np.int32), h)
        counted.append(h[: 4 * bins].reshape(2, 2, bins))
        h = np.zeros_like(h)
        kernel._count_all(box, inverse, at, *rest, np.empty(301, np.int32), h)
        counted.append(h[: 4 * bins].reshape(2, 2, bins))
    for h in counted[1:]:
        np.testing.assert_array_equal(h[0, 1].astype(int) + h[1, 0], counted[0][0, 1].astype(int) + counted[0][1, 0])
        np.testing.assert_array_equal(h[[0, 1], [0, 1]], counted[0][[0, 1], [0, 1]])


@pytest.mark.parametrize("particles", [40, 700])
def test_excluded_pairs_and_groups_are_left_out_exactly(particles):
    position, type_index, box = random_frames(BOXES["sheared"], particles, 2, seed=9)
    chain = [(i, i + step) for step in (1, 2) for i in range(0, particles - step, 3)]
    group = np.arange(particles) // 5
    for choice in ({"excluded": chain}, {"group": group}, {"excluded": chain, "group": group}):
        expected = by_numpy(position, box, type_index, 2, 1.5, 60, **choice)
        assert expected.sum() < by_numpy(position, box, type_index, 2, 1.5, 60).sum()
        np.testing.assert_array_equal(by_kernel(position, box, type_index, 2, 1.5, 60, **choice), expected)


@settings(max_examples=40, deadline=None)
@given(
    tilt=st.tuples(*[st.floats(-1.5, 1.5)] * 3),
    edges=st.tuples(*[st.floats(1.0, 6.0)] * 3),
    fraction=st.floats(0.05, 0.999),
    particles=st.integers(2, 120),
    seed=st.integers(0, 2**31),
)
def test_no_pair_is_lost_or_doubled_in_boxes_found_by_hypothesis(tilt, edges, fraction, particles, seed):
    box = np.array([[edges[0], 0, 0], [tilt[0], edges[1], 0], [tilt[1], tilt[2], edges[2]]])
    position, type_index, boxes = random_frames(box, particles, 2, seed, frames=1)
    r_max = fraction * heights(box).min() / 2
    expected = by_numpy(position, boxes, type_index, 2, r_max, 20)
    counted = by_kernel(position, boxes, type_index, 2, r_max, 20)
    # Sums of a row, because a distance may round to either side of an edge between bins.
    np.testing.assert_array_equal(counted.sum(axis=1)[: len(expected)], expected.sum(axis=1))


def test_a_handful_of_particles_in_a_huge_box_needs_little_memory():
    box = np.diag([1e4, 1e4, 1e4])
    position, type_index, boxes = random_frames(box, 30, 1, seed=3)
    position[:, 1] = position[:, 0] + np.float32(0.25)
    assert by_kernel(position, boxes, type_index, 1, 1.0, 10).sum() == 2


def test_weights_blocks_and_rows_nobody_asks_for():
    position, type_index, box = random_frames(BOXES["cubic"], 60, 2, seed=1, frames=5)
    factor, row = np.array([1.0, 2.0, 0.5, 0.0, 3.0]), np.array([[-1, 0], [0, -1]])
    count, total = np.zeros((3, 1, 15), np.int64), np.zeros((3, 1, 15))
    alone, start = np.arange(60, dtype=np.int32), np.zeros(61, np.int64)
    kinds = type_index.astype(np.int32)
    count_pairs(position, box, factor, 2, np.arange(60), kinds, alone, start, start[:0], row, 0.1, count, total)
    single = [by_numpy(position[f : f + 1], box[:1], type_index, 2, 1.5, 15)[1] for f in range(5)]
    np.testing.assert_array_equal(count[:, 0], [single[0] + single[1], single[2] + single[3], single[4]])
    np.testing.assert_array_equal(total[:, 0], [single[0] + 2 * single[1], 0.5 * single[2], 3 * single[4]])


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_position_that_is_not_finite_is_reported_with_its_frame(wrong):
    position, type_index, box = random_frames(BOXES["sheared"], 50, 1, seed=2, frames=4)
    position[2, 17, 1] = wrong
    count, start = np.zeros((1, 1, 10), np.int64), np.zeros(51, np.int64)
    alone = np.arange(50, dtype=np.int32)
    bad = count_pairs(
        position, box, np.ones(4), 4, np.arange(50), type_index.astype(np.int32), alone, start, start[:0],
        np.zeros((1, 1), np.int64), 0.1, count, np.zeros((1, 1, 10)),
    )  # fmt: skip
    assert bad == 2
