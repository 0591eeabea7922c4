"""Radial distribution functions of systems whose answer is known."""

import itertools

import numpy as np
import pytest
import xarray as xr
from scipy.integrate import quad

import cgstore
from cgstore.averages.blocks import merge_blocks
from cgstore.averages.pair import rdf, rdf_blocks, rdf_from_blocks
from cgstore.errors import InputError, NotFound, PhysicsError

SHEARED = np.array([[2.2, 0, 0], [0.9, 2.0, 0], [-0.7, 0.8, 2.4]])


def breathing(frames, low, high):
    """Return cubic boxes with very different volumes, as no constant-volume formula would survive."""
    edges = np.random.default_rng(77).uniform(low, high, frames)
    return edges[:, None, None] * np.eye(3)


def chi2_of_one(g):
    """Return how far g is from 1 in units of its error, squared, per bin that was hit often."""
    often = g["count"].values > 200
    assert often.sum() > 5
    return float((((g.rdf.values - 1) / g.rdf_error.values)[often] ** 2).mean())


@pytest.mark.parametrize("particles", [2, 3, 20, 150])
@pytest.mark.parametrize("shape", ["cubic", "sheared", "breathing"])
def test_rdf_of_an_ideal_gas_is_one_for_any_number_of_particles_in_any_box(gas, particles, shape):
    frames = max(128, min(60_000, 250_000 // particles**2))
    box = {"cubic": 2 * np.eye(3), "sheared": SHEARED, "breathing": breathing(frames, 2.0, 4.0)}[shape]
    g = rdf(gas(frames, particles, box, seed=particles), r_max=0.85, bin_width=0.05).compute()
    assert chi2_of_one(g) < 2.5
    heavy = g["count"].values[0] > 200
    mean = np.average(g.rdf.values[0][heavy], weights=g["count"].values[0][heavy])
    assert mean == pytest.approx(1, abs=5 / np.sqrt(g["count"].values.sum()))


def test_a_mixture_of_ideal_gases_is_one_for_every_pair(gas):
    types = np.array(["B"] * 5 + ["A"] * 12 + ["B"] * 20 + ["C"])
    g = rdf(gas(1500, 38, SHEARED, seed=5, type=types), r_max=0.8, bin_width=0.1).compute()
    assert g.pair.values.tolist() == ["A-A", "A-B", "A-C", "B-B", "B-C", "C-C"]
    assert np.isnan(g.rdf.sel(pair="C-C")).all()
    assert np.isnan(g.rdf_error.sel(pair="C-C")).all()
    assert (g["count"].sel(pair="C-C") == 0).all()
    known = g.sel(pair=["A-A", "A-B", "A-C", "B-B", "B-C"])
    assert chi2_of_one(known) < 2.0
    assert known.rdf.values[:, 4:].mean(axis=1) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("exclude", [1, 2, 3, "molecule"])
def test_excluded_pairs_leave_the_counts_and_the_normalisation(gas, exclude):
    # Molecules of four whose atoms do not feel each other: whatever is left out, what remains is an ideal gas.
    bond = [(4 * m + k, 4 * m + k + 1) for m in range(3) for k in range(3)]
    rest = {"type": ["A", "A", "B", "A"] * 3, "molecule": np.repeat(np.arange(3), 4), "bond": bond}
    ds = gas(4000, 12, 2 * np.eye(3), seed=3, **rest)
    g = rdf(ds, r_max=0.9, bin_width=0.1, exclude_bonded=exclude).compute()
    assert chi2_of_one(g) < 2.5
    within = {1: 9, 2: 15, 3: 18, "molecule": 18}[exclude]
    blocks = rdf_blocks(ds, r_max=0.9, bin_width=0.1, exclude_bonded=exclude)
    shell = 4 / 3 * np.pi * 0.1**3
    assert blocks.norm.isel(r=0).sum().item() / shell == pytest.approx(66 - within)
    everything = rdf(ds, r_max=0.9, bin_width=0.1, exclude_bonded=0)["count"].sum().values
    assert g["count"].sum().item() / everything == pytest.approx((66 - within) / 66, rel=0.02)


def test_excluded_neighbours_vanish_where_they_alone_are_counted(dataset):
    position = np.zeros((4, 3, 3))
    position[:, 1, 0], position[:, 2, 1] = 0.25, 0.45
    ds = dataset(position, 2 * np.eye(3), bond=[(0, 1)])
    assert rdf(ds, r_max=0.5, bin_width=0.1, exclude_bonded=0)["count"].values.tolist() == [[0, 0, 4, 0, 4]]
    assert rdf(ds, r_max=0.5, bin_width=0.1, exclude_bonded=1)["count"].values.tolist() == [[0, 0, 0, 0, 4]]


def test_shells_of_a_lattice_have_their_coordination_numbers(dataset):
    grid = np.stack(np.meshgrid(*[np.arange(6)] * 3, indexing="ij"), -1).reshape(1, -1, 3) * 0.5
    ds = dataset(np.repeat(grid, 8, axis=0), 3 * np.eye(3))
    g = rdf(ds, r_max=1.5, bin_width=0.04, exclude_bonded=0).compute()
    neighbours = {0.5: 6, 0.5 * np.sqrt(2): 12, 0.5 * np.sqrt(3): 8, 1.0: 6, 0.5 * np.sqrt(5): 24}
    for r, number in neighbours.items():
        at = int(r / 0.04)
        assert g["count"].values[0, at] == 8 * 216 * number / 2
        shell = 4 / 3 * np.pi * ((at + 1) ** 3 - at**3) * 0.04**3
        assert g.rdf.values[0, at] == pytest.approx(number / 215 * 27 / shell, rel=1e-6)
        assert g.rdf_error.values[0, at] == pytest.approx(0, abs=1e-6)
    assert g["count"].isel(r=slice(0, int(1.1 / 0.04))).sum() == 8 * 216 * 32 / 2


def test_frame_weights_turn_an_ideal_gas_into_a_dilute_lennard_jones_fluid(gas):
    # Two particles: g(r) = exp(-u/kT) / Z exactly, with Z the mean of exp(-u/kT) over the box.
    ds = gas(60_000, 2, 3 * np.eye(3), seed=12)
    ds["position"] = (ds["position"].dims, ds["position"].values.astype(np.float32))
    d = (ds.position.values[:, 1] - ds.position.values[:, 0]).astype(np.float64)
    d -= 3 * np.rint(d / 3)
    boltzmann = lambda r: np.exp(-4 * 1.2 * ((0.34 / r) ** 12 - (0.34 / r) ** 6)) if r < 1.4 else 1.0  # noqa: E731
    ds["weight"] = ("frame", np.array([boltzmann(max(r, 0.05)) for r in np.linalg.norm(d, axis=1)]))
    g = rdf(ds, r_max=1.4, bin_width=0.1).compute()
    z = 1 + quad(lambda r: (boltzmann(r) - 1) * 4 * np.pi * r**2, 0.05, 1.4, limit=200)[0] / 27
    edges = np.arange(15) * 0.1
    exact = [
        quad(lambda r: boltzmann(r) * 3 * r**2, max(a, 0.05), b)[0] / (b**3 - a**3) / z
        for a, b in itertools.pairwise(edges)
    ]
    off = (g.rdf.values[0] - exact)[3:] / g.rdf_error.values[0, 3:]
    assert (off**2).mean() < 2.5
    assert g.rdf.values[0].max() > 1.8


def test_frames_that_repeat_themselves_do_not_make_the_error_smaller(gas):
    box = 2 * np.eye(3)
    few = gas(512, 30, box, seed=21)
    repeated = few.isel(frame=np.repeat(np.arange(512), 16)).assign_coords(time=("frame", np.arange(8192.0)))
    one, many = (rdf(ds, r_max=1.0, bin_width=0.1).compute() for ds in (few, repeated))
    np.testing.assert_allclose(many.rdf.values, one.rdf.values, rtol=1e-12)
    assert np.median(many.rdf_error.values[0, 3:] / one.rdf_error.values[0, 3:]) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("chunk", [1, 7, 64, 300, (100, 3, 197)])
def test_chunks_do_not_change_a_bit(gas, chunk):
    weight = np.random.default_rng(2).random(300)
    ds = gas(300, 25, breathing(300, 2.0, 3.0), seed=6, weight=weight, type=["A", "B"] * 12 + ["A"])
    whole = rdf(ds, r_max=0.9).compute()
    xr.testing.assert_identical(rdf(ds.chunk(frame=chunk), r_max=0.9).compute(scheduler="threads"), whole)


def test_wrapped_shifted_and_reordered_particles_give_the_same_counts(gas):
    ds = gas(40, 30, 2 * np.eye(3), seed=8, type=["A", "B", "B"] * 10)
    grid = np.round(ds.position.values * 1024) / 1024  # so that adding whole boxes is exact in float32
    expected = rdf(ds.assign(position=(ds.position.dims, grid)), r_max=0.95)
    images = np.random.default_rng(1).integers(-2, 3, grid.shape) * 2
    order = np.random.default_rng(4).permutation(30)
    other = ds.assign(position=(ds.position.dims, (grid + images).astype(np.float32))).isel(particle=order)
    xr.testing.assert_allclose(rdf(other, r_max=0.95).compute(), expected.compute(), rtol=1e-12)
    xr.testing.assert_equal(rdf(other, r_max=0.95)["count"].compute(), expected["count"].compute())


def test_blocks_of_two_halves_merge_to_the_whole(gas):
    ds = gas(256, 20, breathing(256, 2.0, 3.0), seed=10)
    parts = [rdf_blocks(ds.isel(frame=part), r_max=0.9) for part in (slice(0, 128), slice(128, 256))]
    merged, whole = rdf_from_blocks(merge_blocks(parts)).compute(), rdf(ds, r_max=0.9).compute()
    np.testing.assert_array_equal(merged["count"], whole["count"])
    np.testing.assert_allclose(merged.rdf, whole.rdf, rtol=1e-13)


def test_a_subset_of_pairs_is_that_part_of_all_pairs(gas):
    ds = gas(64, 30, SHEARED, seed=4, type=["A", "B", "C"] * 10)
    everything = rdf(ds, r_max=0.9).compute()
    some = rdf(ds, pairs=[("C", "A"), "B-B"], r_max=0.9).compute()
    assert some.pair.values.tolist() == ["A-C", "B-B"]
    for name in everything.data_vars:
        xr.testing.assert_equal(some[name], everything[name].sel(pair=["A-C", "B-B"]))


def test_nothing_is_read_before_it_is_computed(gas, no_computing):
    ds = gas(100, 10, SHEARED, seed=1, weight=np.ones(100), chunk=10)
    with no_computing():
        g = rdf(ds, r_max=0.9)
        blocks = rdf_blocks(ds, r_max=0.9)
        assert all(g[name].chunks for name in ("rdf", "rdf_error", "count"))
        with pytest.raises(AssertionError, match="too early"):
            g.compute()
    assert np.isfinite(g.rdf.values).any()
    assert int(blocks.frames.sum()) == 100


def test_every_array_says_its_unit_and_the_result_says_what_was_asked(gas):
    g = cgstore.rdf(gas(8, 10, SHEARED, seed=1), r_max=0.9)
    assert {name: g[name].attrs["units"] for name in ("rdf", "rdf_error", "count", "r", "correlation_time")} == {
        "rdf": "1", "rdf_error": "1", "count": "1", "r": "nm", "correlation_time": "ps",
    }  # fmt: skip
    assert all(g[name].attrs["long_name"] for name in (*g.data_vars, "r"))
    assert g.attrs["name"] == "gas_300k/r1/cg"
    assert (g.attrs["version"], g.attrs["digest"], g.attrs["frames"]) == (1, "d1", 8)
    assert g.attrs["parameters"] == {"pairs": ["A-A"], "r_max": 0.9, "bin_width": 0.01, "exclude_bonded": 3}
    np.testing.assert_allclose(g.r[:2], [0.005, 0.015])


@pytest.mark.parametrize("chunk", [None, 5])
def test_r_max_beyond_half_the_smallest_box_names_the_frame_and_the_limit(gas, chunk):
    boxes = np.repeat(SHEARED[None], 20, axis=0)
    boxes[13] *= 0.9
    ds = gas(20, 10, boxes, seed=1, chunk=chunk)
    with pytest.raises(PhysicsError) as error:
        rdf(ds, r_max=1.1).compute()
    assert str(error.value) == (
        "rdf of gas_300k/r1/cg: r_max = 1.1 nm is beyond half the smallest box height, 0.837 nm at frame 13; "
        "use r_max <= 0.837"
    )
    assert rdf(ds, r_max=0.837, bin_width=0.01).compute()["count"].sum() > 0


def test_exactly_half_of_a_box_that_float32_makes_a_hair_smaller_is_allowed(gas):
    ds = gas(4, 10, 2.3 * np.eye(3), seed=1)
    assert float(ds.box[0, 0, 0]) < 2.3
    assert rdf(ds, r_max=1.15).sizes["r"] == 115


def test_without_a_box_there_is_no_rdf(dataset):
    with pytest.raises(PhysicsError, match=r"rdf of gas_300k/r1/cg: found no box"):
        rdf(dataset(np.zeros((2, 3, 3))))


def test_a_flat_box_is_refused_with_its_frame(gas):
    boxes = np.repeat(SHEARED[None], 5, axis=0)
    boxes[3, 2] = 0
    with pytest.raises(PhysicsError, match="the box of frame 3 is"):
        rdf(gas(5, 4, boxes, seed=1), r_max=0.5)


@pytest.mark.parametrize("chunk", [None, 5])
def test_a_position_that_is_not_finite_names_its_frame(gas, chunk):
    ds = gas(40, 10, SHEARED, seed=1)
    ds["position"][33, 2, 1] = np.nan
    ds = ds if chunk is None else ds.chunk(frame=chunk)
    with pytest.raises(PhysicsError, match="frame 33 has a position that is not finite"):
        rdf(ds, r_max=0.5).compute()


@pytest.mark.parametrize("weight", [-1.0, np.nan, np.inf])
def test_a_weight_that_is_none_is_refused(gas, weight):
    weights = np.ones(6)
    weights[4] = weight
    with pytest.raises(PhysicsError, match="the weight of frame 4 is"):
        rdf(gas(6, 4, SHEARED, seed=1, weight=weights), r_max=0.5)


def test_unknown_types_get_a_suggestion(gas):
    ds = gas(3, 4, SHEARED, seed=1, type=["NC3", "PO4", "GL", "GL"])
    with pytest.raises(NotFound, match='found no pair of types "NC3-P04"; did you mean "PO4"'):
        rdf(ds, pairs=[("NC3", "P04")], r_max=0.5)
    with pytest.raises(NotFound, match="known are GL, NC3, PO4"):
        rdf(ds, pairs=[("NC3", "W")], r_max=0.5)
    with pytest.raises(InputError, match="empty list of pairs"):
        rdf(ds, pairs=[], r_max=0.5)


@pytest.mark.parametrize(
    "wrong",
    [{"bin_width": 0.0}, {"bin_width": 2.0}, {"r_max": -1.0}, {"r_max": np.nan}, {"exclude_bonded": -1},
     {"exclude_bonded": "molecules"}, {"exclude_bonded": 1.5}, {"exclude_bonded": True}],
)  # fmt: skip
def test_questions_that_make_no_sense_are_refused(gas, wrong):
    with pytest.raises(InputError, match="rdf of gas_300k/r1/cg: found"):
        rdf(gas(3, 4, SHEARED, seed=1), **{"r_max": 0.5} | wrong)


def test_no_frames_are_refused(gas):
    with pytest.raises(InputError, match="found no frames"):
        rdf(gas(3, 4, SHEARED, seed=1).isel(frame=slice(0)), r_max=0.5)
