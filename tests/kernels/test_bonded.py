"""The kernel of bonded terms against plain float64 NumPy and against geometry one can do by hand."""

import numpy as np
import pytest

from cgstore.kernels.bonded import count_terms

BOX = np.array([[4.0, 0, 0], [1.3, 3.8, 0], [-1.1, 1.7, 4.2]])


def measure(position, box, term):
    """Measure terms in float64: arccosine for angles, the sign rule of IUPAC for dihedrals."""
    x = position.astype(np.float64)

    def arrow(i, j):
        d = x[:, term[:, j]] - x[:, term[:, i]]
        return d if box is None else d - np.rint(d @ np.linalg.inv(box)) @ box

    if term.shape[1] == 2:
        return np.linalg.norm(arrow(0, 1), axis=-1)
    if term.shape[1] == 3:
        a, b = arrow(1, 0), arrow(1, 2)
        cosine = (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
        return np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    a, b, c = arrow(0, 1), arrow(1, 2), arrow(2, 3)
    m, n = np.cross(a, b), np.cross(b, c)
    cosine = (m * n).sum(-1) / np.linalg.norm(m, axis=-1) / np.linalg.norm(n, axis=-1)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1))) * np.where((a * n).sum(-1) < 0, -1.0, 1.0)


def count(position, box, term, low, width, bins, row=None, factor=None, length=2**40):
    """Call the kernel for some terms; return counts, sums and what it says."""
    frames = len(position)
    boxes = np.zeros((frames, 3, 3)) if box is None else np.repeat(box[None], frames, axis=0)
    inverse = boxes if box is None else np.linalg.inv(boxes)
    rows = np.zeros(len(term), np.int64) if row is None else row
    weight = np.ones(frames) if factor is None else factor
    shape = (-(-frames // length), rows.max() + 1, bins)
    counts, total = np.zeros(shape, np.int64), np.zeros(shape)
    said = count_terms(position, boxes, inverse, weight, length, term, rows, low, width, counts, total)
    return counts, total, said


@pytest.mark.parametrize(("ends", "low", "width", "bins"), [(2, 0, 0.05, 80), (3, 0, 1.0, 180), (4, -180, 2.0, 180)])
@pytest.mark.parametrize("box", [None, BOX])
def test_counts_are_those_of_numpy_in_float64(ends, low, width, bins, box):
    random = np.random.default_rng(ends)
    position = (random.random((75, 40, 3)) @ BOX * (0.5 if box is None else 1.0)).astype(np.float32)
    term = np.array([random.choice(40, ends, replace=False) for _ in range(60)], np.int32)
    row, weight = random.integers(0, 3, 60), random.random(75)
    counts, total, said = count(position, box, term, low, width, bins, row, weight, length=16)
    assert said[0] == -1
    values = measure(position, box, term)
    for block in range(5):
        frames = slice(16 * block, 16 * block + 16)
        for kind in range(3):
            chosen = values[frames][:, row == kind]
            heavy = np.broadcast_to(weight[frames, None], chosen.shape)
            edges = low + width * np.arange(bins + 1)
            np.testing.assert_array_equal(counts[block, kind], np.histogram(chosen, edges)[0])
            np.testing.assert_allclose(
                total[block, kind], np.histogram(chosen, edges, weights=heavy)[0], rtol=1e-12, atol=1e-12
            )


@pytest.mark.parametrize("phi", [-179.5, -120.5, -60.5, -0.5, 0.5, 59.5, 90.5, 179.5])
def test_dihedrals_are_positive_when_the_far_bond_is_turned_clockwise(phi):
    # Looking along +z, from atom 2 to atom 3, clockwise is from +x towards +y.
    turn = np.radians(phi)
    position = np.array([[[1, 0, 0], [0, 0, 0], [0, 0, 1], [np.cos(turn), np.sin(turn), 1]]], np.float32)
    counts, _, _ = count(position, None, np.array([[0, 1, 2, 3]], np.int32), -180.0, 1.0, 360)
    assert np.flatnonzero(counts[0, 0])[0] == int(phi + 180)


@pytest.mark.parametrize("theta", [0.0, 1e-4, 90.0 + 1e-4, 179.9, 180.0])
def test_angles_keep_their_accuracy_where_the_arccosine_loses_it(theta):
    turn = np.radians(theta)
    position = np.array([[[1, 0, 0], [0, 0, 0], [np.cos(turn), np.sin(turn), 0]]])
    counts, _, _ = count(position, None, np.array([[0, 1, 2]], np.int32), 0.0, 0.00005, 3_600_000)
    assert abs(np.flatnonzero(counts[0, 0])[0] - theta / 0.00005) <= 1


def test_a_bond_across_the_box_is_measured_to_its_nearest_image():
    position = np.array([[[0.1, 0.1, 0.1], [0.1, 0.1, 0.3]]], np.float32)
    position[0, 1] += (BOX[0] - 2 * BOX[1] + BOX[2]).astype(np.float32)
    counts, _, said = count(position, BOX, np.array([[0, 1]], np.int32), 0.0, 0.1, 10)
    assert said[0] == -1
    assert np.flatnonzero(counts[0, 0] == 1).tolist() in ([1], [2])  # 0.2 nm, float32 on either side


def test_the_first_value_beyond_the_bins_is_reported_with_frame_and_term():
    position = np.zeros((70, 4, 3), np.float32)
    position[:, 1::2, 0] = 0.3
    position[55, 3, 0] = 1.25
    _, _, said = count(position, None, np.array([[0, 1], [2, 3]], np.int32), 0.0, 0.1, 10)
    assert said[:2] == (55, 1)
    assert said[2] == 1.25
    position[40, 0, 2] = np.nan
    _, _, said = count(position, None, np.array([[0, 1], [2, 3]], np.int32), 0.0, 0.1, 10)
    assert said[:2] == (40, 0)
    assert np.isnan(said[2])
