"""Boxes: volume, heights and nearest images against geometry and against trying all images."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgstore.box import heights, minimum_image, volume

edge = st.floats(0.5, 10.0)
tilt = st.floats(-6.0, 6.0)
boxes = st.tuples(edge, tilt, edge, tilt, tilt, edge).map(
    lambda b: np.array([[b[0], 0, 0], [b[1], b[2], 0], [b[3], b[4], b[5]]])
)


@given(boxes)
def test_volume_is_height_times_face_for_every_pair_of_faces(box):
    faces = [np.linalg.norm(np.cross(box[(d + 1) % 3], box[(d + 2) % 3])) for d in range(3)]
    np.testing.assert_allclose(heights(box) * faces, volume(box), rtol=1e-9)


def test_heights_of_a_straight_box_are_its_edges():
    assert heights(np.diag([2.0, 3.0, 4.0])).tolist() == pytest.approx([2, 3, 4])
    assert volume(np.diag([2.0, 3.0, 4.0])) == pytest.approx(24)


def test_a_left_handed_box_has_a_positive_volume():
    assert volume([[0, 1.0, 0], [2.0, 0, 0], [0, 0, 3.0]]) == pytest.approx(6)


def test_many_boxes_are_handled_at_once():
    stack = np.random.default_rng(1).normal(size=(4, 5, 3, 3))
    assert volume(stack).shape == (4, 5)
    assert heights(stack).shape == (4, 5, 3)
    np.testing.assert_allclose(heights(stack)[2, 3], heights(stack[2, 3]))


@given(boxes, st.integers(0, 2**31))
def test_vectors_shorter_than_half_the_smallest_height_are_found_again_from_any_image(box, seed):
    random = np.random.default_rng(seed)
    short = random.normal(size=(20, 3))
    short *= 0.999 * random.random((20, 1)) * heights(box).min() / 2 / np.linalg.norm(short, axis=1, keepdims=True)
    images = random.integers(-5, 6, (20, 3)) @ box
    np.testing.assert_allclose(minimum_image(short + images, box), short, atol=1e-11)


@given(boxes, st.integers(0, 2**31))
def test_the_image_returned_is_a_lattice_vector_away(box, seed):
    vector = np.random.default_rng(seed).normal(size=(10, 3)) * 20
    moved = (vector - minimum_image(vector, box)) @ np.linalg.inv(box)
    np.testing.assert_allclose(moved, np.rint(moved), atol=1e-8)


def test_in_a_reduced_box_no_other_image_of_a_short_vector_is_nearer():
    box = np.array([[3.0, 0, 0], [1.0, 3.0, 0], [-1.2, 1.0, 3.0]])
    vector = np.random.default_rng(3).normal(size=(500, 3)) * 4
    nearest = minimum_image(vector, box)
    shifts = np.array(list(itertools.product((-1, 0, 1), repeat=3))) @ box
    best = np.linalg.norm(nearest[:, None] + shifts, axis=-1).min(axis=1)
    short = best < heights(box).min() / 2
    assert short.sum() > 100
    np.testing.assert_allclose(np.linalg.norm(nearest, axis=1)[short], best[short], rtol=1e-12)
