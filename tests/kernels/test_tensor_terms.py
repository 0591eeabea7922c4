"""Bonded terms of tensors against the compiled kernel and against geometry one can do by hand."""

from functools import partial

import numpy as np
import pytest

from cgstore.kernels.tensor_terms import count_terms, measure_terms

torch = pytest.importorskip("torch")
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]
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


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("ends", "low", "width", "bins"), [(2, 0, 0.05, 80), (3, 0, 1.0, 180), (4, -180, 2.0, 180)])
@pytest.mark.parametrize("box", [None, BOX])
def test_values_and_counts_are_those_of_numpy_in_float64(ends, low, width, bins, box, device):
    random = np.random.default_rng(ends)
    position = (random.random((75, 40, 3)) @ BOX * (0.5 if box is None else 1.0)).astype(np.float32)
    term = np.array([random.choice(40, ends, replace=False) for _ in range(60)], np.int32)
    row = random.integers(0, 3, 60)
    there = torch.tensor(position, device=device)
    boxes = None if box is None else torch.tensor(np.repeat(box[None], 75, axis=0), device=device)
    values = measure(position, box, term)
    np.testing.assert_allclose(measure_terms(there, boxes, torch.tensor(term)).cpu().numpy(), values, atol=2e-5)
    edges = low + width * np.arange(bins + 1)
    expected = [[np.histogram(values[f, row == kind], edges)[0] for kind in range(3)] for f in range(75)]
    for memory in (2**28, 200_000):
        counted = count_terms(
            there, boxes, torch.tensor(term), torch.tensor(row), low=low, width=width, bins=bins, memory=memory
        )
        np.testing.assert_array_equal(counted.cpu().numpy(), expected)


@pytest.mark.parametrize("phi", [-179.5, -120.5, -60.5, -0.5, 0.5, 59.5, 90.5, 179.5])
def test_dihedrals_are_positive_when_the_far_bond_is_turned_clockwise(phi):
    # Looking along +z, from atom 2 to atom 3, clockwise is from +x towards +y.
    turn = np.radians(phi)
    position = torch.tensor([[[1, 0, 0], [0, 0, 0], [0, 0, 1], [np.cos(turn), np.sin(turn), 1]]])
    assert float(measure_terms(position, None, torch.tensor([[0, 1, 2, 3]]))) == pytest.approx(phi, abs=1e-5)


@pytest.mark.parametrize("theta", [0.0, 1e-4, 90.0 + 1e-4, 179.9, 180.0])
def test_angles_keep_their_accuracy_where_the_arccosine_loses_it(theta):
    turn = np.radians(theta)
    position = torch.tensor([[[1, 0, 0], [0, 0, 0], [np.cos(turn), np.sin(turn), 0]]], dtype=torch.float64)
    assert float(measure_terms(position, None, torch.tensor([[0, 1, 2]]))) == pytest.approx(theta, abs=1e-12)


def test_a_straight_angle_is_in_the_last_bin():
    position = torch.tensor([[[-0.3, 0, 0], [0, 0, 0], [0.3, 0, 0]]])
    counted = count_terms(position, None, torch.tensor([[0, 1, 2]]), torch.tensor([0]), low=0.0, width=1.0, bins=180)
    assert torch.nonzero(counted[0, 0]).tolist() == [[179]]


@pytest.mark.parametrize("wrong", [1.25, np.nan, np.inf])
def test_a_frame_with_a_value_that_cannot_be_counted_is_marked_throughout(wrong):
    position = torch.zeros(7, 4, 3)
    position[:, 1::2, 0] = 0.35
    position[5, 3, 0] = wrong
    bonds, row = torch.tensor([[0, 1], [2, 3]]), torch.tensor([0, 1])
    counted = count_terms(position, None, bonds, row, low=0.0, width=0.1, bins=10)
    assert (counted[5] == -1).all()
    assert counted[[0, 1, 2, 3, 4, 6], :, 3].unique().tolist() == [1]


def test_gradients_of_values_are_those_of_finite_differences():
    random = np.random.default_rng(3)
    position = torch.tensor(random.random((2, 5, 3)) @ BOX, requires_grad=True)
    box = torch.tensor(np.repeat(BOX[None], 2, axis=0))
    for term in ([[0, 1], [3, 4]], [[0, 1, 2], [2, 3, 4]], [[0, 1, 2, 3], [1, 2, 3, 4]]):
        assert torch.autograd.gradcheck(partial(measure_terms, box=box, term=torch.tensor(term)), (position,))


def test_no_terms():
    none = torch.empty((0, 3), dtype=torch.int64)
    counted = count_terms(torch.zeros(2, 3, 3), None, none, none[:, 0], low=0.0, width=1.0, bins=180)
    assert counted.shape == (2, 0, 180)
