"""Covariances of counts: against NumPy, merged in any order, exact where counts are integers."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from cgstore.averages import counting
from cgstore.averages import covariance as module
from cgstore.averages.bonded import bonded_counter
from cgstore.averages.counting import count_statistics
from cgstore.averages.covariance import (
    merge_covariances,
    merge_moments,
    merged_covariance,
    moment,
    part_length,
)
from cgstore.averages.pair import rdf_counter
from cgstore.errors import InputError

BOX = 2.0 * np.eye(3)


def counters(ds, width=0.1):
    pair = rdf_counter(ds, pairs=None, r_max=0.9, bin_width=width, exclude_bonded=1)
    terms = bonded_counter(ds, bond_width=0.25, bond_max=2.0, angle_width=30.0, dihedral_width=60.0)
    return [pair, terms]


@pytest.fixture
def molecules(gas):
    """Return an ideal gas with bonds and angles of random length, and random weights."""

    def make(frames, **rest):
        return gas(frames, 12, BOX, seed=5, bond=[(0, 1), (1, 2)], angle=[(0, 1, 2)], type=["A", "B"] * 6, **rest)

    return make


def counts_of(ds):
    """Return the counts of every frame, and the weights."""
    pieces = []
    for counter in counters(ds):
        found = counter.count(ds.position.values, ds.box.values.astype(float), 0)
        pieces += [counts.reshape(len(counts), -1) for counts, _ in found]
    return np.concatenate(pieces, axis=1)


@pytest.mark.parametrize("weighted", [False, True])
def test_it_is_the_covariance_of_the_counts_of_frames(molecules, weighted):
    weight = np.random.default_rng(1).random(300) if weighted else np.ones(300)
    ds = molecules(300, **({"weight": weight} if weighted else {}))
    _, covariance = count_statistics(ds, counters(ds), covariance=2)
    result = merged_covariance(covariance)
    counts = counts_of(ds)
    np.testing.assert_allclose(result["mean"], np.average(counts, axis=0, weights=weight), rtol=1e-12)
    expected = np.cov(counts.T, ddof=0, aweights=weight)
    np.testing.assert_allclose(result["covariance"], expected, rtol=1e-9, atol=1e-12)
    assert float(result.effective_frames) == pytest.approx(weight.sum() ** 2 / (weight**2).sum())
    assert result.sizes["entry"] == counts.shape[1]
    assert sorted(set(result.distribution.values)) == ["angle", "bond", "rdf"]
    first = result.isel(entry=0)
    assert (str(first.kind.values), float(first.x)) == ("A-A", pytest.approx(0.05))


def test_it_depends_neither_on_tasks_nor_on_how_many_frames_are_held(molecules, monkeypatch):
    ds = molecules(500)
    _, whole = count_statistics(ds, counters(ds), covariance=2)
    whole = merged_covariance(whole)
    monkeypatch.setattr(counting, "_COUNT_BYTES", 4 * 16 * whole.sizes["entry"])
    monkeypatch.setattr(counting, "_COVARIANCE_TASK_BYTES", 64 * 12 * 12)
    _, parts = count_statistics(ds.chunk(frame=50), counters(ds), covariance=2)
    assert parts.sizes["part"] > 4
    again = merged_covariance(parts)
    scale = np.sqrt(np.diag(whole.covariance))
    difference = np.abs(again.covariance - whole.covariance) / np.maximum(np.outer(scale, scale), 1e-30)
    assert float(difference.max()) < 1e-12  # of the standard deviations: the stated tolerance of merging


def test_frames_appended_later_give_the_same_matrix(molecules):
    ds = molecules(512)
    pieces = [count_statistics(ds.isel(frame=part), counters(ds), covariance=2)[1].compute()
              for part in (slice(0, 256), slice(256, 512))]  # fmt: skip
    merged = merged_covariance(merge_covariances(pieces))
    whole = merged_covariance(count_statistics(ds, counters(ds), covariance=2)[1])
    np.testing.assert_allclose(merged.covariance, whole.covariance, rtol=1e-10, atol=1e-13)
    other = pieces[1].assign_coords(x=pieces[1].x + 0.1)
    with pytest.raises(InputError, match="other kinds or bins"):
        merge_covariances([pieces[0], other])


@given(st.integers(0, 10**6), st.integers(2, 40), st.integers(1, 39), st.sampled_from([1, 10**3, 10**8]))
def test_moments_merge_as_if_never_parted(seed, frames, cut, size):
    random = np.random.default_rng(seed)
    counts = (size + random.integers(0, 50, (frames, 3))).astype(np.uint32)
    whole = moment(counts, np.ones(frames))
    cut = min(cut, frames - 1)
    merged = merge_moments(moment(counts[:cut], np.ones(cut)), moment(counts[cut:], np.ones(frames - cut)))
    exact = [[int(a) for a in row] for row in counts]  # Python integers do not round
    for i in range(3):
        for j in range(3):
            si, sj = sum(row[i] for row in exact), sum(row[j] for row in exact)
            numerator = frames * sum(row[i] * row[j] for row in exact) - si * sj
            for found in (whole, merged):
                assert found.comoment[i, j] == pytest.approx(numerator / frames, rel=1e-9, abs=1e-6)


def test_frames_without_weight_change_nothing():
    counts = np.array([[1, 2], [5, 1], [9, 9]], np.uint32)
    some, none = moment(counts, np.array([1.0, 1.0, 0.0])), moment(counts, np.zeros(3))
    assert none.weight == 0.0
    for merged in (merge_moments(some, none), merge_moments(none, some)):
        np.testing.assert_array_equal(merged.comoment, some.comoment)
        assert merged.frames == 6
    np.testing.assert_allclose(some.mean, [3.0, 1.5])


def test_large_counts_are_exact_in_float64():
    counts = np.array([[0, 4_000_000], [4_000_000, 0]], np.uint32)
    assert moment(counts, np.ones(2)).comoment.tolist() == [[8e12, -8e12], [-8e12, 8e12]]


def test_a_matrix_that_does_not_fit_is_refused_before_anything_is_read(molecules, monkeypatch):
    ds = molecules(8)
    monkeypatch.setattr(counting, "MOST_BYTES", 10**4)
    with pytest.raises(InputError, match=r"covariance of gas_300k/r1/cg: found \d+ bins .* use fewer pairs"):
        count_statistics(ds, counters(ds), covariance=2)


def test_the_parts_are_few_where_matrices_are_large():
    assert part_length(10**6, entries=5000, least=64) == 2**18
    assert part_length(10**6, entries=12000, least=64) >= 10**6
    assert module.MOST_BYTES >= 8 * 10_000**2


def test_nothing_is_read_before_it_is_computed(molecules, no_computing):
    ds = molecules(64, chunk=8)
    with no_computing():
        _, covariance = count_statistics(ds, counters(ds), covariance=2)
        assert covariance.comoment.chunks is not None
    assert isinstance(covariance.compute(), xr.Dataset)
