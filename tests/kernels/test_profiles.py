"""The kernels of profiles against plain NumPy, which looks at many images of every particle."""

import itertools

import numpy as np
import pytest

from cgstore.kernels.profiles import count_cells, count_planes, count_shells, periodic_means, project

CUBOID = np.diag([3.0, 2.6, 5.0])
SHEARED = np.array([[3.0, 0, 0], [1.1, 2.8, 0], [-1.3, 1.2, 4.2]])
ROTATED = SHEARED @ np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))[0]  # the plane is not that of x and y
BOXES = pytest.mark.parametrize("box", [CUBOID, SHEARED, ROTATED], ids=["cuboid", "sheared", "rotated"])


def scene(box, *, frames=7, particles=200, seed=1):
    """Return positions in several images, boxes that breathe, centres and rows."""
    random = np.random.default_rng(seed)
    boxes = box * random.uniform(0.95, 1.05, (frames, 1, 1))
    fraction = random.random((frames, particles, 3)) + random.integers(-2, 3, (frames, particles, 3))
    centre = (random.random((frames, 1, 3)) @ boxes)[:, 0]
    return (fraction @ boxes).astype(np.float32), boxes, centre, random.integers(0, 3, particles)


def geometry(boxes):
    """Return what the kernels need of boxes: inverse, reciprocal vectors in the plane, normal, height."""
    normal = np.cross(boxes[:, 0], boxes[:, 1])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    flat = np.stack([boxes[:, 0], boxes[:, 1], normal], 1)
    height = np.einsum("fk,fk->f", boxes[:, 2], normal)
    return np.linalg.inv(boxes), np.ascontiguousarray(np.linalg.inv(flat)[:, :, :2]), normal, height


def images(position, boxes, centre):
    """Return the vectors from the centre to all images of each particle that could be near."""
    reach = range(-6, 7)
    shifts = np.array(list(itertools.product(reach, reach, reach)), float)
    start = np.floor((position - centre[:, None]) @ np.linalg.inv(boxes))
    near = position.astype(float) - centre[:, None] - start @ boxes
    return near[:, :, None] - (shifts @ boxes)[:, None]


def histogram(values, inside, row, edges):
    """Count images by frame and row; each particle once at most."""
    assert inside.sum(axis=2).max() == 1
    result = np.zeros((len(values), row.max() + 1, len(edges) - 1), np.uint32)
    for f, r in np.ndindex(result.shape[:2]):
        result[f, r] = np.histogram(values[f, row == r][inside[f, row == r]], edges)[0]
    return result


@BOXES
@pytest.mark.parametrize("folded", [False, True])
def test_planes_are_those_of_the_image_within_half_a_box(box, folded):
    position, boxes, centre, row = scene(box)
    inverse, _, normal, height = geometry(boxes)
    across = np.ascontiguousarray(inverse[:, :, 2])
    counts = np.zeros((7, 3, 15 if folded else 30), np.uint32)
    at = np.einsum("fk,fk->f", centre, across)
    assert count_planes(position, across, height, at, row, 0.1, folded, counts) == -1
    z = np.einsum("fpk,fk->fp", position - centre[:, None], normal)
    z = z - height[:, None] * np.rint(z / height[:, None])
    edges = 0.1 * np.arange(0 if folded else -15, 16)
    values = (np.abs(z) if folded else z)[:, :, None]
    np.testing.assert_array_equal(counts, histogram(values, np.abs(values) < 1.5, row, edges))


@BOXES
def test_shells_hold_the_nearest_image(box):
    position, boxes, centre, row = scene(box)
    inverse, plane, _, _ = geometry(boxes)
    counts = np.zeros((7, 3, 11), np.uint32)
    assert count_shells(position, boxes, inverse, plane, centre, row, 0.1, counts) == -1
    r = np.linalg.norm(images(position, boxes, centre), axis=-1)
    np.testing.assert_array_equal(counts, histogram(r, r < 1.1, row, 0.1 * np.arange(12)))


@BOXES
def test_cells_hold_the_image_that_is_nearest_to_the_axis(box):
    position, boxes, centre, row = scene(box)
    inverse, plane, normal, _ = geometry(boxes)
    rings, layers = 6, 18
    counts = np.zeros((7, 3, rings * layers), np.uint32)
    assert count_cells(position, boxes, inverse, plane, normal, centre, row, 0.2, rings, counts) == -1
    vector = images(position, boxes, centre)
    z = np.einsum("fpik,fk->fpi", vector, normal)
    r = np.linalg.norm(vector - z[..., None] * normal[:, None, None], axis=-1)
    ring, layer = np.floor(r / 0.2), np.floor(z / 0.2 + layers / 2)
    inside = (ring < rings) & (layer >= 0) & (layer < layers)
    np.testing.assert_array_equal(
        counts, histogram(ring * layers + layer, inside, row, np.arange(rings * layers + 1) - 0.5)
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_positions_that_are_not_finite_are_told_by_frame(bad):
    position, boxes, centre, row = scene(SHEARED)
    inverse, plane, normal, height = geometry(boxes)
    position[4, 17, 1] = bad
    across, at = np.ascontiguousarray(inverse[:, :, 2]), np.zeros(7)
    assert count_planes(position, across, height, at, row, 0.1, True, np.zeros((7, 3, 10), np.uint32)) == 4
    assert count_shells(position, boxes, inverse, plane, centre, row, 0.1, np.zeros((7, 3, 10), np.uint32)) == 4
    cells = np.zeros((7, 3, 100), np.uint32)
    assert count_cells(position, boxes, inverse, plane, normal, centre, row, 0.1, 10, cells) == 4
    fraction = project(position, np.arange(200), across)
    assert np.isnan(periodic_means(fraction, np.ones(200))).tolist() == [False] * 4 + [True] + [False] * 2


def test_counts_are_added_and_rows_kept_apart():
    position = np.zeros((1, 2, 3), np.float32)
    counts = np.full((1, 2, 2), 5, np.uint32)
    count_planes(position, np.array([[0, 0, 0.5]]), np.full(1, 2.0), np.zeros(1), np.array([1, 1]), 0.5, False, counts)
    assert counts.tolist() == [[[5, 5], [5, 7]]]


def test_means_are_the_best_of_all_cuts():
    # The specification: unwrap at every possible cut, take the mean where the variance is smallest.
    random = np.random.default_rng(3)
    fraction = (0.8 + 0.28 * random.random((30, 40)) ** 2 + random.integers(-3, 4, (30, 40))) % 7
    weight = random.uniform(1, 100, 40)
    means = periodic_means(fraction, weight)
    for f, found in enumerate(means):
        wrapped = np.sort(fraction[f] % 1)
        order = np.argsort(fraction[f] % 1)
        choices = []
        for cut in range(40):
            unwrapped = wrapped + (np.arange(40) < cut)
            mean = np.average(unwrapped, weights=weight[order])
            choices.append((np.average((unwrapped - mean) ** 2, weights=weight[order]), mean % 1))
        assert found == pytest.approx(min(choices)[1], abs=1e-12)
