"""Kernels on a device: the arguments and answers of the compiled ones, and words for devices that are not there."""

import pickle
import sys

import numpy as np
import pytest

import cgstore
from cgstore.averages.device import check_device, pair_kernel, term_kernel
from cgstore.averages.spec import BondedSpec, RdfSpec, Spec
from cgstore.errors import InputError, MissingExtra, PhysicsError

torch = pytest.importorskip("torch")
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]
BOX = np.array([[4.0, 0, 0], [1.3, 3.8, 0], [-1.1, 1.7, 4.2]])


def chains(frames=4, particles=60, seed=1):
    """Return positions and boxes of some chains of three, read-only, as they may come from a store."""
    random = np.random.default_rng(seed)
    position = (random.random((frames, particles, 3)) @ BOX).astype(np.float32)
    position[:, 1::3] = position[:, ::3] + random.normal(0, 0.15, (frames, particles // 3, 3)).astype(np.float32)
    position[:, 2::3] = position[:, 1::3] + random.normal(0, 0.15, (frames, particles // 3, 3)).astype(np.float32)
    position.flags.writeable = False
    return position, np.repeat(BOX[None], frames, axis=0)


def pair_question(particles, chosen, excluded, group):
    """Return the arguments of a pair kernel between box and counts: two types in turn, all rows."""
    place = {particle: number for number, particle in enumerate(chosen)}
    inside = [(place[a], place[b]) for a, b in excluded if a in place and b in place]
    both = np.array(sorted([*inside, *((b, a) for a, b in inside)]), np.int64).reshape(-1, 2)
    start = np.searchsorted(both[:, 0], np.arange(len(chosen) + 1))
    kinds = (np.arange(particles) % 2).astype(np.int32)[chosen]
    row = np.array([[0, 1], [1, 2]])
    return chosen, kinds, group, start, np.ascontiguousarray(both[:, 1]), row, 0.05


def plain_pairs(position, box, question, shape):
    """Count pairs in float64 NumPy from the arguments of a kernel."""
    chosen, kinds, group, start, partner, row, width = question
    i, j = np.triu_indices(len(chosen), 1)
    allowed = np.array([b not in partner[start[a] : start[a + 1]] for a, b in zip(i, j, strict=True)])
    i, j = i[allowed & (group[i] != group[j])], j[allowed & (group[i] != group[j])]
    counts = np.zeros(shape, int)
    for f, x in enumerate(position[:, chosen].astype(np.float64)):
        d = x[j] - x[i]
        d -= np.rint(d @ np.linalg.inv(box[f])) @ box[f]
        place = (np.sqrt((d**2).sum(1)) / width).astype(int)
        near = place < shape[2]
        np.add.at(counts[f], (row[kinds[i], kinds[j]][near], place[near]), 1)
    return counts


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("exclude", ["nothing", "bonded", "molecule"])
@pytest.mark.parametrize("chosen", [np.arange(60), np.arange(7, 60, 2)])
def test_pairs_are_counted_and_added_as_the_compiled_kernel_does(device, exclude, chosen):
    position, box = chains()
    bonds = [(i, i + 1) for i in range(60) if i % 3 < 2] if exclude == "bonded" else []
    group = chosen // 3 if exclude == "molecule" else np.arange(len(chosen))
    question = pair_question(60, chosen, bonds, group.astype(np.int32))
    counts = np.full((4, 3, 30), 7, np.uint32)
    assert pair_kernel(device)(position, box, *question, counts) == -1
    expected = plain_pairs(position, box, question, counts.shape)
    assert np.abs(counts.astype(int) - 7 - expected).sum() <= 2
    assert expected.sum() > 50


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("box", [None, BOX])
def test_terms_are_counted_and_added_as_the_compiled_kernel_does(device, box):
    position, boxes = chains()
    no_box = np.zeros((4, 3, 3))
    both = (no_box, no_box) if box is None else (boxes, np.linalg.inv(boxes))
    first = np.arange(0, 60, 3, dtype=np.int32)
    angles, row = np.stack([first, first + 1, first + 2], axis=1), np.arange(20) % 2
    counts = np.full((4, 2, 180), 7, np.uint32)
    assert term_kernel(device)(position, *both, angles, row, 0.0, 1.0, counts) == (-1, -1, 0.0)
    x = position.astype(np.float64)
    a, b = x[:, ::3] - x[:, 1::3], x[:, 2::3] - x[:, 1::3]  # nowhere cut by the box
    cosine = (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
    theta = np.degrees(np.arccos(cosine))
    expected = [[np.histogram(theta[f, k::2], 180, (0, 180))[0] for k in range(2)] for f in range(4)]
    np.testing.assert_array_equal(counts - 7, expected)


def test_the_first_bad_frame_term_and_value_are_reported():
    position, box = (array.copy() for array in chains(frames=6))
    position[3:5, 17, 1] = np.nan
    question = pair_question(60, np.arange(60), [], np.arange(60, dtype=np.int32))
    assert pair_kernel("cpu")(position, box, *question, np.zeros((6, 3, 30), np.uint32)) == 3
    bonds, row = np.array([[0, 1], [16, 17], [3, 4]], np.int32), np.zeros(3, np.int64)
    counts = np.zeros((6, 1, 100), np.uint32)
    frame, term, value = term_kernel("cpu")(position, box, np.linalg.inv(box), bonds, row, 0.0, 0.05, counts)
    assert (frame, term) == (3, 1)
    assert np.isnan(value)
    position[1, 3] = position[1, 4] + np.float32([1.25, 0, 0])
    counts = np.zeros((6, 1, 20), np.uint32)
    frame, term, value = term_kernel("cpu")(position, box, np.linalg.inv(box), bonds, row, 0.0, 0.05, counts)
    assert (frame, term, value) == (1, 2, pytest.approx(1.25, abs=1e-6))


def test_kernels_on_a_device_can_be_sent_to_other_processes():
    position, box = chains()
    question = pair_question(60, np.arange(60), [], np.arange(60, dtype=np.int32))
    counts = [np.zeros((4, 3, 30), np.uint32) for _ in range(2)]
    kernel = pair_kernel("cpu")
    kernel(position, box, *question, counts[0])
    pickle.loads(pickle.dumps(kernel))(position, box, *question, counts[1])
    np.testing.assert_array_equal(*counts)


@pytest.mark.parametrize("device", ["cuda:99", "mps", "meta", "graphics card", ""])
def test_a_device_that_is_not_there_is_refused_with_those_that_are(device):
    with pytest.raises(InputError, match=f'found "{device}".*cpu.*leave it out'):
        check_device(device)


@pytest.mark.parametrize("name", ["cpu", "cpu:0"])
def test_the_processor_is_a_device(name):
    assert check_device(name) == "cpu"


def test_without_torch_the_message_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtra, match=r'device="cuda" needs torch.*pip install "cgstore\[learn\]"'):
        pair_kernel("cuda")


def test_the_public_calls_count_on_a_device(gas):
    bond = [(0, 1), (1, 2), (1, 3)]
    ds = gas(20, 40, 2 * np.eye(3), seed=3, type=["A", "B"] * 20, bond=bond, angle=[(0, 1, 2)], dihedral=[(0, 1, 2, 3)])
    spec = Spec(rdf=RdfSpec(r_max="0.9 nm", bin_width="0.1 nm"), bonded=BondedSpec(bond_max="2 nm"))
    here, there = cgstore.distributions(ds, spec).compute(), cgstore.distributions(ds, spec, device="cpu").compute()
    alone = cgstore.rdf(ds, r_max=0.9, bin_width=0.1, device="cpu"), cgstore.bonded(ds, bond_max=2.0, device="cpu")
    for result in (there["rdf"].to_dataset(), alone[0].compute()):
        assert int(abs(result["count"] - here["rdf"]["count"]).sum()) <= 4
    for result in (there["bonded"].to_dataset(), alone[1].compute()):
        for name in ("bond", "angle", "dihedral", "improper"):
            assert int(result[f"{name}_count"].sum()) == int(here["bonded"][f"{name}_count"].sum()) > 0
            assert int(abs(result[f"{name}_count"] - here["bonded"][f"{name}_count"]).sum()) <= 2
    with pytest.raises(InputError, match="no_such"):
        cgstore.rdf(ds, r_max=0.9, device="no_such")


def test_a_bond_that_is_too_long_is_named_from_a_device_too(gas):
    ds = gas(5, 6, 2 * np.eye(3), seed=3, bond=[(0, 1), (2, 3)])
    with pytest.raises(PhysicsError, match=r"bonded of gas_300k/r1/cg: the bond A\(\d\)-A\(\d\) is .* beyond bond_max"):
        cgstore.bonded(ds, bond_max=0.1, device="cpu").compute()
