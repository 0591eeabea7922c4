"""The kernel of bonded terms against float64 NumPy, other programs and geometry one can do by hand."""

import math
import platform
import re
import threading
import time

import numpy as np
import pytest
from numba import njit

from cgstore.kernels import bonded
from cgstore.kernels.bonded import LANES, arctangent, count_arranged, count_terms
from cgstore.kernels.terms import arrange

BOX = np.array([[4.0, 0, 0], [1.3, 3.8, 0], [-1.1, 1.7, 4.2]])
ULP = 2.0**-24
BINS = {2: (0.0, 0.002, 2500), 3: (0.0, 1.0, 180), 4: (-180.0, 2.0, 180)}


def arrow(x, box, term, i, j):
    """Return the vectors to nearest images in float64, and by how much float32 may be wrong about them."""
    raw = x[:, term[:, j]] - x[:, term[:, i]]
    d = raw if box is None else raw - np.rint(raw @ np.linalg.inv(box)) @ box
    return d, 4 * ULP * np.maximum(np.linalg.norm(raw, axis=-1), np.linalg.norm(d, axis=-1))


def measure(position, box, term):
    """Measure terms in float64; return values and tolerances, as the kernel derives them."""
    x = position.astype(np.float64)
    if term.shape[1] == 2:
        a, wrong = arrow(x, box, term, 0, 1)
        value = np.linalg.norm(a, axis=-1)
        return value, wrong + 2 * ULP * value
    walk = [(1, 0), (1, 2)] if term.shape[1] == 3 else [(0, 1), (1, 2), (2, 3)]
    vectors, wrong = zip(*[arrow(x, box, term, i, j) for i, j in walk], strict=True)
    length = [np.linalg.norm(d, axis=-1) for d in vectors]
    off = sum(e / r for e, r in zip(wrong, length, strict=True)) + 4 * ULP
    m = np.cross(vectors[0], vectors[1])
    if term.shape[1] == 3:
        value = np.arctan2(np.linalg.norm(m, axis=-1), (vectors[0] * vectors[1]).sum(-1))
        return np.degrees(value), np.degrees(off) + 3e-5
    n = np.cross(vectors[1], vectors[2])
    sines = np.linalg.norm(m, axis=-1) * np.linalg.norm(n, axis=-1) / (length[0] * length[1] ** 2 * length[2])
    value = np.arctan2(length[1] * (vectors[0] * n).sum(-1), (m * n).sum(-1))
    return np.degrees(value), np.degrees(off / sines) + 3e-5


def count(position, box, term, low, width, bins, row=None):
    """Call the kernel for some terms; return counts and what it says."""
    frames = len(position)
    boxes = np.zeros((frames, 3, 3)) if box is None else np.repeat(box[None], frames, axis=0)
    inverse = boxes if box is None else np.linalg.inv(boxes)
    rows = np.zeros(len(term), np.int64) if row is None else row
    counts = np.zeros((frames, rows.max() + 1, bins), np.uint32)
    return counts, count_terms(position, boxes, inverse, term, rows, low, width, counts)


def slots(value, low, width, bins):
    """Return the bins of values."""
    return np.minimum(((value - low) / width).astype(int), bins - 1)


def tally(slot, row, chosen, rows, bins):
    """Count the chosen values of every frame into (frame, row, bin)."""
    counts = np.zeros((len(slot), rows, bins), int)
    frame = np.broadcast_to(np.arange(len(slot))[:, None], slot.shape)
    np.add.at(counts, (frame[chosen], np.broadcast_to(row, slot.shape)[chosen], slot[chosen]), 1)
    return counts


def chains(random, frames, molecules=8, beads=12):
    """Make chains of bonds of 0.25 to 0.45 nm in all directions, whole molecules in the box; float32."""
    step = random.normal(size=(frames, molecules, beads, 3))
    step *= random.uniform(0.25, 0.45, (frames, molecules, beads, 1)) / np.linalg.norm(step, axis=-1, keepdims=True)
    start = random.random((1, molecules, 1, 3)) @ BOX
    return (start + np.cumsum(step, axis=2)).reshape(frames, -1, 3).astype(np.float32)


def terms_of(ends, molecules=8, beads=12):
    """Return all terms of so many particles of the chains."""
    first = (np.arange(molecules)[:, None] * beads + np.arange(beads - ends + 1)).reshape(-1, 1)
    return (first + np.arange(ends)).astype(np.int32)


@pytest.mark.parametrize("ends", [2, 3, 4])
@pytest.mark.parametrize("way", ["no box", "whole", "broken"])
def test_only_counts_within_the_tolerance_of_an_edge_differ_from_float64(ends, way):
    random = np.random.default_rng(ends)
    position, term, (low, width, bins) = chains(random, 250), terms_of(ends), BINS[ends]
    box = None if way == "no box" else BOX
    if way == "broken":
        position = (position - np.floor(position @ np.linalg.inv(BOX)) @ BOX).astype(np.float32)
    row = random.integers(0, 3, len(term))
    counts, said = count(position, box, term, low, width, bins, row)
    assert said == (-1, -1, 0.0)
    value, tolerance = measure(position, box, term)
    assert np.median(tolerance) < 2e-4
    below, above = (slots(np.clip(value + sign * tolerance, low, None), low, width, bins) for sign in (-1, 1))
    if ends == 4:  # 180 and -180 degrees are one edge
        above = np.where(value + tolerance > 180, 0, above)
        below = np.where(value - tolerance < -180, bins - 1, below)
    sure = tally(below, row, below == above, 3, bins)
    unsure = tally(below, row, below != above, 3, bins) + tally(above, row, below != above, 3, bins)
    assert (counts >= sure).all()
    assert (counts <= sure + unsure).all()
    differing = (
        np.abs(counts.astype(int) - tally(slots(value, low, width, bins), row, value == value, 3, bins)).sum() / 2
    )
    assert differing <= {2: 1e-3 if way == "broken" else 2e-4, 3: 1e-4, 4: 1e-4}[ends] * value.size + 1


def test_other_programs_count_the_same_in_a_triclinic_box():
    mdtraj = pytest.importorskip("mdtraj")
    distances = pytest.importorskip("MDAnalysis.lib.distances")
    random = np.random.default_rng(9)
    position = chains(random, 48)
    position = (position - np.floor(position @ np.linalg.inv(BOX)) @ BOX).astype(np.float32)
    topology = mdtraj.Topology()
    residue = topology.add_residue("CHN", topology.add_chain())
    for _ in range(position.shape[1]):
        topology.add_atom("B", mdtraj.element.virtual, residue)
    trajectory = mdtraj.Trajectory(position, topology)
    trajectory.unitcell_vectors = np.repeat(BOX[None], len(position), axis=0).astype(np.float32)
    sides = np.linalg.norm(BOX, axis=1)
    cosines = [BOX[i] @ BOX[j] / sides[i] / sides[j] for i, j in ((1, 2), (0, 2), (0, 1))]
    dimensions = np.concatenate([sides, np.degrees(np.arccos(cosines))]).astype(np.float32)
    theirs = {2: mdtraj.compute_distances, 3: mdtraj.compute_angles, 4: mdtraj.compute_dihedrals}
    names = {2: distances.calc_bonds, 3: distances.calc_angles, 4: distances.calc_dihedrals}
    for ends, (low, width, bins) in BINS.items():
        term = terms_of(ends)
        counts, _ = count(position, BOX, term, low, width, bins)
        unit = 1.0 if ends == 2 else 180 / math.pi
        wide = np.append(low + width * np.arange(bins), np.inf)
        for values in (
            unit * theirs[ends](trajectory, term),
            unit * np.array([names[ends](*(x[term[:, k]] for k in range(ends)), box=dimensions) for x in position]),
        ):
            seen = np.array([np.histogram(one, wide)[0] for one in np.clip(values, low, None)])
            # mdtraj's angles are arccosines in float32: they are off by up to 0.02 degrees near 0 and 180.
            assert np.abs(seen - counts[:, 0].astype(int)).sum() / 2 <= 2e-3 * values.size, ends


def test_arctangents_are_within_two_and_a_half_ulp_and_right_on_the_axes():
    random = np.random.default_rng(4)
    y, x = (random.normal(size=(2, 20000)) * 10.0 ** random.uniform(-7, 3, (2, 20000))).astype(np.float32)
    found = np.array([arctangent(a, b) for a, b in zip(y, x, strict=True)])
    exact = np.degrees(np.arctan2(y.astype(float), x.astype(float)))
    assert (np.abs(found - exact) / np.spacing(np.abs(exact).astype(np.float32))).max() < 2.5
    axes = {(0, 0): 0, (0, 1): 0, (1, 1): 45, (1, 0): 90, (1, -1): 135, (0, -1): 180, (-1, 0): -90}
    for (a, b), angle in axes.items():
        assert arctangent(np.float32(a), np.float32(b)) == angle
    for a, b in ((np.nan, 1), (1, np.nan), (np.nan, np.nan), (np.inf, np.inf)):
        assert np.isnan(arctangent(np.float32(a), np.float32(b)))


def test_the_same_bits_whether_images_are_looked_for_or_not():
    random = np.random.default_rng(5)
    position = chains(random, 40)
    far = position.copy()
    far[:, 1] += (BOX[1] - BOX[2]).astype(np.float32)  # in the first group of vectors, so that all of it has images
    for ends, (low, width, bins) in BINS.items():
        term = terms_of(ends)
        row = np.isin(term, [1]).any(axis=1).astype(np.int64)
        alone, _ = count(position, None, term, low, width, bins, row)
        skipped, _ = count(position, BOX, term, low, width, bins, row)
        searched, _ = count(far, BOX, term, low, width, bins, row)
        np.testing.assert_array_equal(skipped, alone)
        np.testing.assert_array_equal(searched[:, 0], alone[:, 0])


@pytest.mark.parametrize("frames", [1, LANES - 1, LANES, LANES + 1, 50])
def test_frames_are_counted_by_themselves(frames):
    position, term = chains(np.random.default_rng(6), 50), terms_of(3)
    counts, _ = count(position[:frames], BOX, term, *BINS[3])
    alone = np.concatenate([count(position[f : f + 1], BOX, term, *BINS[3])[0] for f in range(frames)])
    np.testing.assert_array_equal(counts, alone)
    assert (counts.sum(axis=(1, 2)) == len(term)).all()


def test_terms_read_backwards_and_in_any_order_count_the_same():
    random = np.random.default_rng(7)
    position = chains(random, 20)
    for ends in (2, 3, 4):
        term = terms_of(ends)
        counts, _ = count(position, BOX, term, *BINS[ends])
        names = random.permutation(position.shape[1])  # other numbers of the particles, other directions of the arrows
        moved = np.empty_like(position)
        moved[:, names] = position
        shuffled = random.permutation(names[term][:, ::-1].astype(np.int32))
        np.testing.assert_array_equal(count(moved, BOX, shuffled, *BINS[ends])[0], counts)


@pytest.mark.parametrize("phi", [-179.5, -120.5, -60.5, -0.5, 0.5, 59.5, 90.5, 179.5])
def test_dihedrals_are_positive_when_the_far_bond_is_turned_clockwise(phi):
    # Looking along +z, from atom 2 to atom 3, clockwise is from +x towards +y.
    turn = np.radians(phi)
    position = np.array([[[1, 0, 0], [0, 0, 0], [0, 0, 1], [np.cos(turn), np.sin(turn), 1]]], np.float32)
    counts, _ = count(position, None, np.array([[0, 1, 2, 3]], np.int32), -180.0, 1.0, 360)
    assert np.flatnonzero(counts[0, 0])[0] == int(phi + 180)


@pytest.mark.parametrize("theta", [0.0, 1e-4, 90.0 + 1e-4, 179.9, 180.0])
def test_angles_keep_their_accuracy_where_the_arccosine_loses_it(theta):
    turn = np.radians(theta)
    position = np.array([[[1, 0, 0], [0, 0, 0], [np.cos(turn), np.sin(turn), 0]]], np.float32)
    counts, _ = count(position, None, np.array([[0, 1, 2]], np.int32), 0.0, 0.00005, 3_600_000)
    assert abs(np.flatnonzero(counts[0, 0])[0] - theta / 0.00005) <= 1


@pytest.mark.parametrize("width", [1.0, 2.0, 3.0, 5.0, 7.5, 0.1, 180 / 7])
def test_right_and_straight_angles_fall_into_the_bins_that_begin_and_end_there(width):
    bins = round(180 / width)
    position = np.array([[[1, 0, 0], [0, 0, 0], [0, 1, 0], [-1, 0, 0]]], np.float32)
    for end, slot in ((2, math.floor(90 / width + 1e-9)), (3, bins - 1)):
        counts, said = count(position, None, np.array([[0, 1, end]], np.int32), 0.0, width, bins)
        assert said[0] == -1
        assert np.flatnonzero(counts[0, 0]).tolist() == [slot]


def test_a_bond_across_the_box_is_measured_to_its_nearest_image():
    position = np.array([[[0.1, 0.1, 0.1], [0.1, 0.1, 0.35]]], np.float32)
    position[0, 1] += (BOX[0] - 2 * BOX[1] + BOX[2]).astype(np.float32)
    counts, said = count(position, BOX, np.array([[0, 1]], np.int32), 0.0, 0.1, 10)
    assert said[0] == -1
    assert np.flatnonzero(counts[0, 0]).tolist() == [2]


@pytest.mark.parametrize("ends", [2, 3, 4])
def test_a_position_that_is_not_finite_is_reported_by_every_kind_of_term(ends):
    term = terms_of(ends)
    for bad in (np.nan, np.inf, -np.inf):
        for box in (None, BOX):
            position = chains(np.random.default_rng(8), 40)
            position[21, term[5, -1], 1] = bad
            _, said = count(position, box, term, *BINS[ends])
            first = np.flatnonzero((term == term[5, -1]).any(axis=1))[0]
            assert said[:2] == (21, first)
            assert not np.isfinite(said[2])


def test_the_first_value_beyond_the_bins_is_reported_with_frame_and_term():
    position = np.zeros((70, 4, 3), np.float32)
    position[:, 1::2, 0] = 0.3
    position[55, 3, 0] = 1.25
    term = np.array([[0, 1], [2, 3]], np.int32)
    _, said = count(position, None, term, 0.0, 0.1, 10)
    assert said == (55, 1, 1.25)
    position[55, 1, 0] = 1.5
    assert count(position, None, term, 0.0, 0.1, 10, np.array([1, 0]))[1][:2] == (55, 1)  # row 0 comes first
    position[40, 0, 2] = np.nan
    _, said = count(position, None, term, 0.0, 0.1, 10)
    assert said[:2] == (40, 0)
    assert np.isnan(said[2])


def everything(frames):
    """Return the arguments of one call that counts bonds, angles and dihedrals together."""
    position, boxes = chains(np.random.default_rng(3), frames), np.repeat(BOX[None], frames, axis=0)
    ends = [terms_of(n) for n in (2, 3, 4)]
    rows = [np.arange(len(term)) % 3 for term in ends]
    terms = arrange(ends, rows, [BINS[n][0] for n in BINS], [BINS[n][1] for n in BINS])
    counts = (*(np.zeros((frames, 3, BINS[n][2]), np.uint32) for n in BINS), np.zeros((frames, 0, 0), np.uint32))
    inverse = np.linalg.inv(boxes)
    parts = (terms.arrow, terms.term, terms.sign, terms.kind, terms.low, terms.scale, counts)
    return (position, boxes, inverse, *parts), ends, rows


def test_all_terms_in_one_call_count_as_they_do_apart():
    arguments, ends, rows = everything(37)
    assert count_arranged(*arguments)[0] == -1
    for term, row, counts in zip(ends, rows, arguments[-1], strict=False):
        np.testing.assert_array_equal(counts, count(arguments[0], BOX, term, *BINS[term.shape[1]], row)[0])
    assert len(arguments[3]) == 8 * 11  # bonds, angles and dihedrals share their vectors


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="reads the assembly of x86")
def test_terms_are_computed_in_vector_registers_and_without_contraction():
    arguments, _, _ = everything(1)
    vector, slot, wrong = np.zeros(48 * 88, np.float32), np.zeros(32 * LANES, np.int32), np.zeros(LANES, np.uint32)
    find = njit(nogil=True, error_model="numpy")(bonded._find.py_func)
    bins = tuple(np.float32(n) for n in (0, 1, 179, 180))
    find(vector, arguments[4][:8], arguments[5][:8], 2, bins, slot, wrong)
    (assembly,) = find.inspect_asm().values()
    assert len(re.findall(r"\bv?sqrtps\b", assembly)) >= 3  # bond, angle, dihedral
    assert len(re.findall(r"\bv?divps\b", assembly)) >= 2
    assert not re.findall(r"\bvfn?m(?:add|sub)", assembly)


def test_threads_count_at_the_same_time():
    position, term = chains(np.random.default_rng(3), 4000), terms_of(3)
    inside, seen = threading.Event(), 0
    count(position[:1], BOX, term, *BINS[3])  # compiled before

    def work():
        inside.set()
        for _ in range(40):
            count(position, BOX, term, *BINS[3])
        inside.clear()

    thread = threading.Thread(target=work)
    thread.start()
    while thread.is_alive():  # if counting held the lock of Python, this thread would wake some times per second only
        seen += inside.is_set()
        time.sleep(0)
    thread.join()
    assert seen > 300
