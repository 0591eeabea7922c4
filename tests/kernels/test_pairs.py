"""The pair kernel against NumPy: the same bits by its own arithmetic, every pair within rounding in float64."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cgstore.box import heights
from cgstore.kernels.columns import grid, invert, plan
from cgstore.kernels.pairs import count_pairs, paths

BOXES = {
    "cubic": np.diag([3.0, 3.0, 3.0]),
    "slab": np.diag([3.0, 5.0, 9.0]),
    "hexagonal": np.array([[4.0, 0, 0], [2.0, 12**0.5, 0], [0, 0, 5.0]]),
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
    """Count with the kernel, all ways of this machine: (frame, row, bin)."""
    particles = position.shape[1]
    both = np.array([*excluded, *[(j, i) for i, j in excluded]], np.int64).reshape(-1, 2)
    both = both[np.argsort(both[:, 0], kind="stable")]
    start = np.searchsorted(both[:, 0], np.arange(particles + 1))
    row = rows_of(types)
    members = (np.arange(particles) if group is None else group).astype(np.int32)
    results = []
    for path in paths():
        counts = np.zeros((len(position), row.max() + 1, bins), np.uint32)
        bad = count_pairs(
            position, box, np.arange(particles), type_index.astype(np.int32), members, start,
            np.ascontiguousarray(both[:, 1]), row, r_max / bins, counts, path=path,
        )  # fmt: skip
        assert bad == -1
        results.append(counts)
    for counts in results[1:]:
        np.testing.assert_array_equal(counts, results[0])
    return results[0]


def allowed_pairs(particles, excluded, group):
    """List the pairs that count."""
    i, j = np.triu_indices(particles, 1)
    allowed = np.ones(len(i), bool) if group is None else group[i] != group[j]
    if len(excluded):
        pairs = np.sort(np.array(excluded), axis=1)
        allowed &= ~np.isin(i * particles + j, pairs[:, 0] * particles + pairs[:, 1])
    return i[allowed], j[allowed]


def distances(position, box, i, j):
    """Return the distances of pairs of one frame in float64."""
    d = position[j].astype(np.float64) - position[i]
    d -= np.rint(d @ np.linalg.inv(box)) @ box
    return np.sqrt((d**2).sum(axis=1))


def by_its_arithmetic(position, box, type_index, types, r_max, bins, excluded=(), group=None):
    """Count every pair by what the kernel promises: whole numbers of the grid, then float32."""
    i, j = allowed_pairs(position.shape[1], excluded, group)
    row = rows_of(types)
    counts = np.zeros((len(position), row.max() + 1, bins), np.uint32)
    for f, (x, edges) in enumerate(zip(position.astype(np.float64), box, strict=True)):
        lattice, inverse = np.empty((3, 3)), np.empty((3, 3))
        unit = grid(edges, lattice)
        invert(edges, inverse)
        at = np.rint((x - np.floor(x @ inverse) @ edges) * unit)
        d = at[j] - at[i]
        d = (d - np.rint(d @ inverse / unit) @ lattice).astype(np.float32)
        square = d[:, 0] * d[:, 0] + d[:, 1] * d[:, 1] + d[:, 2] * d[:, 2]
        place = (np.sqrt(square) * np.float32(1 / (r_max / bins * unit))).astype(np.int64)
        half = np.float32(max(heights(edges).min() / 2 * unit - 8, 0) ** 2)
        near = (place < bins) & (square < half)
        np.add.at(counts[f], (row[type_index[i], type_index[j]][near], place[near]), 1)
    return counts


def assert_pairs_moved_over_near_edges_only(counts, position, box, type_index, types, r_max, **choice):
    """Every difference from float64 is a pair that is nearer to the edge of a bin than six units of the grid."""
    i, j = allowed_pairs(position.shape[1], choice.get("excluded", ()), choice.get("group"))
    row, bins = rows_of(types)[type_index[i], type_index[j]], counts.shape[2]
    edges = np.arange(1, bins + 1) * (r_max / bins)
    for f in range(len(position)):
        r = distances(position[f], box[f], i, j)
        rounding = 6 / grid(box[f], np.empty((3, 3)))
        for k in range(counts.shape[1]):
            below = np.cumsum(counts[f, k], dtype=np.int64)
            known = np.sort(r[row == k])
            assert (np.searchsorted(known, edges - 2 * rounding) <= below).all()
            assert (below <= np.searchsorted(known, edges + rounding)).all()


@pytest.mark.parametrize("name", BOXES)
@pytest.mark.parametrize("particles", [40, 700])
def test_counts_are_those_of_every_pair_in_any_box_up_to_half_its_height(name, particles):
    position, type_index, box = random_frames(BOXES[name], particles, 3, seed=particles)
    limit = heights(BOXES[name]).min() / 2
    for r_max in (0.2 * limit, 0.55 * limit, limit):
        counts = by_kernel(position, box, type_index, 3, r_max, 150)
        np.testing.assert_array_equal(counts, by_its_arithmetic(position, box, type_index, 3, r_max, 150))
        assert_pairs_moved_over_near_edges_only(counts, position, box, type_index, 3, r_max)
    assert counts.sum() > 0


def test_columns_and_all_pairs_are_both_covered():
    box, inverse, shape = BOXES["cubic"], np.empty((3, 3)), np.ones(3, np.int64)
    invert(box, inverse)
    assert not plan(box, inverse, 40, 1.5, shape)
    assert not plan(box, inverse, 700, 1.5, shape)
    assert plan(box, inverse, 700, 0.3, shape)
    assert shape.prod() > 20
    invert(BOXES["sheared"], inverse)  # all pairs are for rectangular boxes
    assert plan(BOXES["sheared"], inverse, 40, 1.5, shape)


@pytest.mark.parametrize("name", ["cubic", "sheared"])
@pytest.mark.parametrize("particles", [40, 700])
def test_excluded_pairs_and_groups_are_left_out_exactly(name, particles):
    position, type_index, box = random_frames(BOXES[name], particles, 2, seed=9)
    chain = [(i, i + step) for step in (1, 2) for i in range(0, particles - step, 3)]
    position[:, 1::3] = position[:, ::3][:, : len(position[0, 1::3])]  # all of them within the first bin
    small, large = np.arange(particles) // 5, np.arange(particles) // (particles // 2)
    everything = by_kernel(position, box, type_index, 2, 1.3, 60)
    for choice in ({"excluded": chain}, {"group": small}, {"group": large}, {"excluded": chain, "group": small}):
        counts = by_kernel(position, box, type_index, 2, 1.3, 60, **choice)
        np.testing.assert_array_equal(counts, by_its_arithmetic(position, box, type_index, 2, 1.3, 60, **choice))
        assert (counts <= everything).all()
        assert counts.sum() < everything.sum()
    assert by_kernel(position, box, type_index, 2, 1.3, 60, group=np.zeros(particles)).sum() == 0


@settings(max_examples=60)
@given(
    tilt=st.tuples(*[st.floats(-1.5, 1.5)] * 3),
    edges=st.tuples(*[st.floats(1.0, 6.0)] * 3),
    fraction=st.floats(0.05, 1.0),
    particles=st.integers(0, 150),
    groups=st.integers(1, 200),
    seed=st.integers(0, 2**31),
)
def test_no_pair_is_lost_or_doubled_in_boxes_found_by_hypothesis(tilt, edges, fraction, particles, groups, seed):
    box = np.array([[edges[0], 0, 0], [tilt[0], edges[1], 0], [tilt[1], tilt[2], edges[2]]])
    position, type_index, boxes = random_frames(box, particles, 2, seed, frames=1)
    r_max = fraction * heights(box).min() / 2
    random = np.random.default_rng(seed)
    i, j = np.triu_indices(particles, 1)
    some = random.random(len(i)) < 0.02
    excluded = list(zip(i[some].tolist(), j[some].tolist(), strict=True))
    choice = {"excluded": excluded, "group": random.integers(0, groups, particles)}
    counts = by_kernel(position, boxes, type_index, 2, r_max, 20, **choice)
    np.testing.assert_array_equal(counts, by_its_arithmetic(position, boxes, type_index, 2, r_max, 20, **choice))
    assert_pairs_moved_over_near_edges_only(counts, position, boxes, type_index, 2, r_max, **choice)


@pytest.mark.parametrize("name", ["cubic", "octahedron"])
def test_neither_order_nor_image_of_the_particles_changes_a_bit(name):
    box = BOXES[name] * 4 / BOXES[name][0, 0]  # whole images of what float32 holds exactly
    box = np.rint(box * 64) / 64
    random = np.random.default_rng(3)
    inside = random.integers(0, 4096, (1, 300, 3)) / 1024
    for r_max in (0.5, 1.4):
        known = by_kernel(inside.astype(np.float32), box[None], np.zeros(300, int), 1, r_max, 40)
        shuffled = random.permutation(300)
        moved = inside[:, shuffled] + random.integers(-3, 4, (1, 300, 3)) @ box
        counted = by_kernel(moved.astype(np.float32), box[None], np.zeros(300, int), 1, r_max, 40)
        np.testing.assert_array_equal(counted, known)


@pytest.mark.parametrize("particles", [2, 3, 17, 20])
@pytest.mark.parametrize("name", ["cubic", "sheared"])
def test_particles_in_one_place_on_faces_and_far_outside(particles, name):
    box = BOXES[name]
    one_place = np.full((1, particles, 3), 0.7, np.float32)
    counts = by_kernel(one_place, box[None], np.zeros(particles, int), 1, 1.2, 4)
    assert counts.tolist() == [[[particles * (particles - 1) // 2, 0, 0, 0]]]
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1], [-5, 7, 2]])[np.arange(particles) % 6]
    faces = (corners @ box).astype(np.float32)[None]
    counts = by_kernel(faces, box[None], np.zeros(particles, int), 1, 1.2, 4)
    assert counts[0, 0].tolist() == [particles * (particles - 1) // 2, 0, 0, 0]
    outside = np.random.default_rng(1).normal(0, 1e7, (1, particles, 3)).astype(np.float32)
    counts = by_kernel(outside, box[None], np.zeros(particles, int), 1, 1.2, 4)
    np.testing.assert_array_equal(counts, by_its_arithmetic(outside, box[None], np.zeros(particles, int), 1, 1.2, 4))


def test_a_handful_of_particles_in_a_huge_box_and_a_lattice_that_meets_itself_at_half_the_box():
    box = np.diag([1e4, 1e4, 1e4])
    position, type_index, boxes = random_frames(box, 30, 1, seed=3)
    position[:, 1] = position[:, 0] + np.float32(0.25)
    assert by_kernel(position, boxes, type_index, 1, 1.0, 10).sum() == 2
    side = np.arange(8) * (8.17 / 8)
    lattice = np.stack(np.meshgrid(side, side, side), axis=-1).reshape(1, -1, 3).astype(np.float32)
    counts = by_kernel(lattice, np.diag([8.17] * 3)[None], np.zeros(512, int), 1, 8.17 / 2, 1)
    steps = np.minimum(np.arange(8), 8 - np.arange(8))
    squares = np.add.outer(np.add.outer(steps**2, steps**2), steps**2)
    assert counts.sum() == 512 * ((squares < 16).sum() - 1) // 2


def test_every_frame_has_its_box_counts_are_added_and_rows_may_be_left_out():
    position, type_index, box = random_frames(BOXES["cubic"], 60, 2, seed=1, frames=5)
    box = box * np.linspace(1.0, 1.2, 5)[:, None, None]
    alone, start = np.arange(60, dtype=np.int32), np.zeros(61, np.int64)
    row, kinds = np.array([[-1, 0], [0, -1]]), type_index.astype(np.int32)
    for path in paths():
        counts = np.full((5, 1, 15), 7, np.uint32)
        count_pairs(position, box, np.arange(60), kinds, alone, start, start[:0], row, 0.1, counts, path=path)
        for f in range(5):
            single = by_its_arithmetic(position[f : f + 1], box[f : f + 1], type_index, 2, 1.5, 15)
            np.testing.assert_array_equal(counts[f, 0], single[0, 1] + 7)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_position_that_is_not_finite_is_reported_with_its_frame(wrong):
    position, type_index, box = random_frames(BOXES["sheared"], 50, 1, seed=2, frames=4)
    position[2, 17, 1] = wrong
    alone, start = np.arange(50, dtype=np.int32), np.zeros(51, np.int64)
    arguments = (np.arange(50), type_index.astype(np.int32), alone, start, start[:0], np.zeros((1, 1), np.int64), 0.1)
    for path in paths():
        counts = np.zeros((4, 1, 10), np.uint32)
        assert count_pairs(position, box, *arguments, counts, path=path) == 2
        assert counts[:2].any(axis=(1, 2)).all()
        assert not counts[2:].any()
