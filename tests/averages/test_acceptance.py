"""What averages must do, seen from outside: ideal gases are one, counts are exact, errors cover, faults are told.

Seeds are fixed; the bounds say how rarely a sound library would miss them with others.
"""

import itertools

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter
from scipy.stats import chi2, maxwell

import cgstore
from cgstore.averages.bonded import bonded_blocks
from cgstore.averages.onepass import warnings_about
from cgstore.averages.pair import rdf_blocks
from cgstore.averages.spec import BondedSpec, RdfSpec, Spec
from cgstore.box import heights, volume

SHAPES = {
    "orthorhombic": np.diag([1.0, 1.3, 1.1]),
    "hexagonal": np.array([[1.0, 0, 0], [0.5, 0.75**0.5, 0], [0, 0, 1.2]]),
    "truncated octahedron": np.array([[1, 0, 0], [1 / 3, 8**0.5 / 3, 0], [-1 / 3, 2**0.5 / 3, 6**0.5 / 3]]),
    "triclinic": np.array([[1.0, 0, 0], [0.41, 0.95, 0], [-0.32, 0.37, 1.05]]),
}


def boxes_of(shape, frames, random, *, edge=2.5, breathing=False):
    """Return the box of every frame; breathing ones differ in volume by up to a factor of five."""
    scale = random.uniform(0.75, 1.3, (frames, 1, 1)) if breathing else np.ones((frames, 1, 1))
    return (edge * SHAPES[shape] * scale).astype(np.float32).astype(np.float64)


def reach(boxes, width):
    """Return the largest whole number of bins below half the smallest height."""
    return width * int(heights(boxes).min() / 2 / width)


def number_of_pairs(g, types):
    """Return how many pairs of particles every kind has."""
    number = {str(name): int((types == name).sum()) for name in np.unique(types)}
    ends = [str(label).split("-") for label in g.pair.values]
    return np.array([number[a] * (number[a] - 1) / 2 if a == b else number[a] * number[b] for a, b in ends])


def off_one(level, shell, pairs, volumes):
    """Return by how many exact standard deviations ⟨V h⟩ / (n v) of an ideal gas is off one.

    Distances of two pairs are independent even when the pairs share a particle, so that the variance of h is the
    binomial one, and that of the mean of V h is Σ V n v (1 − v / V) over frames, over their number squared.
    """
    spread = (volumes[:, None, None] - shell).sum(axis=0) / (len(volumes) ** 2 * pairs[:, None] * shell)
    return (level - 1) / np.sqrt(spread)


def in_range(squares, number, *, once_in=10_000):
    """Say whether a sum of squares of standard normal numbers is one that misses once in so many times."""
    low, high = chi2.ppf([0.5 / once_in, 1 - 0.5 / once_in], number)
    return low < squares < high


def test_an_ideal_gas_of_any_size_in_any_box_is_one_within_the_errors_that_are_told(dataset):
    exact, told, level, without_self, mean_volume = [], [], [], [], []

    @settings(max_examples=40, phases=[Phase.generate])
    @given(
        particles=st.one_of(st.integers(2, 20), st.sampled_from([33, 64, 150])),
        shape=st.sampled_from(sorted(SHAPES)),
        breathing=st.booleans(),
        second=st.floats(0.0, 0.6),
        seed=st.integers(0, 2**31),
    )
    def one(particles, shape, breathing, second, seed):
        random = np.random.default_rng([seed, particles])
        types = np.where(np.arange(particles) < int(second * particles), "B", "A")
        frames = max(128, min(4000, 100_000 // (particles * (particles - 1) // 2)))
        boxes = boxes_of(shape, frames, random, breathing=breathing)
        position = (random.random((frames, particles, 3)) * 3 - 1) @ boxes
        r_max = reach(boxes, 0.1)
        g = cgstore.rdf(dataset(position, boxes, type=types), r_max=r_max, bin_width=0.1).compute()
        pairs, volumes = number_of_pairs(g, types), volume(boxes)
        assert np.isnan(g.rdf.values[pairs == 0]).all()
        some = pairs > 0
        edges = np.arange(g.sizes["r"] + 1) * 0.1
        shell = 4 / 3 * np.pi * np.diff(edges**3)
        off = off_one(g.rdf.values[some], shell, pairs[some], volumes)
        # The same quantity by two wrong formulas, to see that they would be found.
        whole = np.array([shell.sum()])
        mean = (g.rdf.values[some] @ shell / whole)[:, None]
        flat = g["count"].values[some].sum(axis=1)[:, None] * volumes.mean() / frames / pairs[some, None] / whole
        like = np.array([a == b for a, b in (str(label).split("-") for label in g.pair.values[some])])
        size = np.array([(types == str(label)[0]).sum() for label in g.pair.values[some]])
        halved = mean * np.where(like, (size - 1) / size, 1.0)[:, None]
        for found, value in ((level, mean), (without_self, halved), (mean_volume, flat)):
            found.extend(off_one(value, whole, pairs[some], volumes).ravel())
        often = g["count"].values[some] > 50  # close to normal
        exact.extend(off[often])
        known = often & np.isfinite(g.rdf_error.values[some])
        told.extend(((g.rdf.values[some] - 1) / g.rdf_error.values[some])[known])
        assert known.sum() > 0.9 * often.sum()
        assert np.abs(off[often]).max(initial=0.0) < 6  # 10⁻⁹ each
        assert np.abs(level[-len(mean) :]).max() < 5

    one()
    assert len(exact) > 400
    assert in_range((np.array(exact) ** 2).sum(), len(exact))
    assert in_range((np.array(level) ** 2).sum(), len(level))
    # Errors from 20 parts make the quotient Student's t with 19 degrees of freedom, over 1.027: its square is 1.06.
    squares = np.array(told) ** 2
    uncertainty = np.sqrt(2.5 / len(told))
    assert uncertainty < 0.08
    assert squares.mean() == pytest.approx(1.06, abs=4 * uncertainty)
    assert (squares < 1).mean() == pytest.approx(0.683, abs=4 * 0.466 / np.sqrt(len(told)))
    for wrong in (without_self, mean_volume):
        assert (np.array(wrong) ** 2).mean() > 5


def crossings(g, position, box, types, width):
    """Count in float64, by the nearest of 27 images; return how many counts are on another side of an edge."""
    i, j = np.triu_indices(len(types), 1)
    images = np.array(list(itertools.product((-1, 0, 1), repeat=3)))
    moved, bins = 0, g.sizes["r"]
    label = np.array(["-".join(sorted((types[a], types[b]))) for a, b in zip(i, j, strict=True)])
    known = np.zeros(g["count"].shape, np.int64)
    for x, edges in zip(position.astype(np.float64), box.astype(np.float64), strict=True):
        fraction = (x[j] - x[i]) @ np.linalg.inv(edges)
        fraction -= np.rint(fraction)
        square = np.full(len(i), np.inf)
        for image in images:
            square = np.minimum(square, (((fraction + image) @ edges) ** 2).sum(axis=1))
        # Edges are as they are asked for: whole multiples of the width.
        slot = np.searchsorted(np.arange(bins + 1) * width, np.sqrt(square), side="right") - 1
        for row, pair in enumerate(g.pair.values):
            known[row] += np.bincount(slot[(label == pair) & (slot < bins)], minlength=bins)
    moved = np.abs(np.cumsum(g["count"].values - known, axis=1)).sum()
    return int(moved), int(known.sum())


def test_counts_are_those_of_float64_but_for_one_in_ten_thousand_at_edges_of_bins(dataset):
    moved, total = 0, 0
    sizes = [*range(2, 21), 250, 251, 252, 253]
    for (number, particles), two in zip(enumerate(sizes), itertools.cycle([True, False])):
        random = np.random.default_rng(particles)
        shape = list(SHAPES)[number % 4]
        boxes = boxes_of(shape, 40 if particles < 100 else 6, random, edge=3.0, breathing=number % 3 == 0)
        position = ((random.random((len(boxes), particles, 3)) * 3 - 1) @ boxes).astype(np.float32)
        types = np.array(["A", "B"])[random.integers(0, 2, particles)] if two else np.array(["A"] * particles)
        width = float(heights(boxes).min()) / 2 / 200
        g = cgstore.rdf(dataset(position, boxes, type=types), r_max=200 * width, bin_width=width).compute()
        assert g.sizes["r"] == 200
        off, pairs = crossings(g, position, boxes, types, width)
        moved, total = moved + off, total + pairs
    assert total > 150_000
    assert 0 <= moved <= 1e-4 * total, f"{moved} of {total} distances crossed an edge"


@pytest.mark.parametrize(("particles", "types"), [(1, ["A"]), (2, ["A", "B"]), (6, ["A"] * 6)])
def test_kinds_without_pairs_are_unknown_and_those_beside_them_are_right(gas, particles, types):
    ds = gas(64, particles, 2 * np.eye(3), seed=3, type=types, molecule=np.zeros(particles, int))
    g = cgstore.rdf(ds, r_max=1.0, bin_width=0.1).compute()
    empty = [label for label in g.pair.values if particles < 6 and label != "A-B"]
    assert np.isnan(g.rdf.sel(pair=empty)).all()
    assert np.isnan(g.rdf_error.sel(pair=empty)).all()
    assert g["count"].sel(pair=empty).sum() == 0
    if particles > 1:
        assert g["count"].sum() > 20
    none = cgstore.rdf(ds, r_max=1.0, bin_width=0.1, exclude_bonded="molecule").compute()
    assert np.isnan(none.rdf).all()
    assert np.isnan(none.rdf_error).all()
    assert none["count"].sum() == 0


def labels(runs, letter):
    """Name the type of every one of many runs that share a dataset."""
    return np.array([f"{letter}{run:03d}" for run in range(runs)])


def leaping(dataset, runs, frames, time, *, seed, particles=12, breathing=False):
    """Return runs of an ideal gas side by side, each of its own type, which must be one.

    Particles rest and leap anywhere now and then: every product of counts falls as exp(−t / time), in every bin.
    """
    random = np.random.default_rng(seed)
    number = runs * particles
    leap = random.random((frames, number)) > np.exp(-0.5 / time)
    leap[0] = True
    last = np.maximum.accumulate(np.where(leap, np.arange(frames)[:, None], 0), axis=0)
    position = random.random((frames, number, 3))[last, np.arange(number)]
    scale = np.exp(0.05 * oscillator(random, frames, (), time)) if breathing else np.ones(frames)
    boxes = (2.0 * scale)[:, None, None] * SHAPES["triclinic"]
    ds = dataset(position @ boxes, boxes, type=np.repeat(labels(runs, "T"), particles))
    return ds, {"pairs": [f"{name}-{name}" for name in labels(runs, "T")], "r_max": 0.7, "bin_width": 0.14}


def oscillator(random, frames, shape, time):
    """Return series of variance one whose correlation falls as exp(−t / time)."""
    phi = np.exp(-1.0 / time)
    noise = random.normal(size=(frames, *shape))
    noise[1:] *= np.sqrt(1 - phi**2)
    return lfilter([1.0], [1.0, -phi], noise, axis=0)


SPRING = 0.25  # nm, of each component of the vector between two bonded particles


def tethered(dataset, runs, frames, time, *, seed, spring=SPRING):
    """Return runs side by side of two particles on a spring, overdamped, in a box they do not notice."""
    random = np.random.default_rng(seed)
    vector = np.broadcast_to(spring, (frames,))[:, None, None] * oscillator(random, frames, (runs, 3), time)
    start = random.random((frames, runs, 3)) * 4
    position = np.stack([start, start + vector], axis=2).reshape(frames, 2 * runs, 3)
    types = np.stack([labels(runs, "A"), labels(runs, "B")], axis=1).ravel()
    bond = np.arange(2 * runs).reshape(runs, 2)
    return dataset(position, 4 * np.eye(3), type=types, bond=bond)


PAIR = {"r_max": 0.7, "bin_width": 0.1, "exclude_bonded": 0}
RUNS = {  # process, frames, correlation time in frames
    "gas, run/120": ("gas", 240, 2),
    "gas, run/20": ("gas", 240, 12),
    "gas, NPT, run/50": ("npt", 500, 10),
    "spring as pair, run/24": ("pair", 240, 10),
    "spring as bond, run/24": ("bond", 240, 10),
    "spring as bond, run/60": ("bond", 900, 15),
}


def answer(process, ds, question):
    """Return the distribution of every run: mean, error, hits, naive error, and the flags."""
    if process == "bond":
        result = cgstore.bonded(ds, bond_width=0.1, bond_max=2.0).compute()
        blocks = bonded_blocks(ds, bond_width=0.1, bond_max=2.0)["bond"].to_dataset().compute()
        result = result.isel(r=slice(0, 7))
        blocks = blocks.isel(r=slice(0, 7))
        names = ("bond", "bond_error", "bond_count", "bond_")
    else:
        result, blocks = cgstore.rdf(ds, **question).compute(), rdf_blocks(ds, **question).compute()
        names = ("rdf", "rdf_error", "count", "")
    each = (blocks["sum"] / blocks["weight"]).values
    naive = each.std(axis=0, ddof=1) / np.sqrt(len(each)) / blocks["norm"].values
    flags = {flag: result[f"{names[3]}{flag}"].values for flag in ("short", "drift", "equilibration_frames")}
    return *(result[name].values for name in names[:3]), naive, flags


def repeated(dataset, process, frames, time):
    """Return what is found of some hundred runs, and the distribution they have."""
    found = []
    for seed in range({"gas": 4, "npt": 3, "pair": 3, "bond": 1}[process]):
        if process in ("gas", "npt"):
            ds, question = leaping(dataset, 90, frames, time, seed=seed, breathing=process == "npt")
            exact = np.ones(5)
        else:
            number = 100 if process == "pair" else 400
            ds = tethered(dataset, number, frames, time, seed=seed)
            question = {"pairs": [f"A{run:03d}-B{run:03d}" for run in range(number)], **PAIR}
            edges = np.arange(8) * 0.1
            density = np.diff(maxwell.cdf(edges, scale=SPRING))
            exact = density / 0.1 if process == "bond" else density * 64.0 / (4 / 3 * np.pi * np.diff(edges**3))
        found.append((*answer(process, ds, question), exact))
    return found


def coverage(found, which, least):
    """Return which part of mean ± error cover the truth, its uncertainty from run to run, and which part is known."""
    inside, known, hit = [], [], []
    for mean, error, count, naive, _, exact in found:
        often = count >= least
        finite = often & np.isfinite(error)
        off = np.abs(mean - exact) <= {"told": error, "naive": naive}[which]
        inside.extend((finite & off).sum(axis=1))
        known.extend(finite.sum(axis=1))
        hit.append(often.sum())
    inside, known = np.array(inside), np.array(known)
    part = inside.sum() / known.sum()
    # The bins of a run hang together; runs do not.
    uncertainty = np.sqrt(((inside - part * known) ** 2).sum()) / known.sum()
    return part, uncertainty, known.sum() / sum(hit)


@pytest.mark.parametrize("case", RUNS)
def test_errors_cover_the_truth_in_68_percent_of_correlated_runs_and_false_alarms_are_rare(dataset, case):
    process, frames, time = RUNS[case]
    found = repeated(dataset, process, frames, time)
    # Ten independent hits; resting particles hit a bin for a correlation time on end.
    least = 20 * time if process in ("gas", "npt") else 20
    part, uncertainty, known = coverage(found, "told", least)
    assert uncertainty < 0.0167, "of runs and bins: ± 5 % is three standard errors at least"
    assert part == pytest.approx(0.683, abs=0.05)
    assert known > (0.95 if frames / time > 20 else 0.7)
    # An error from single frames, as if they were independent, is found out by the same count.
    assert coverage(found, "naive", least)[0] < 0.683 - 0.05 - 5 * uncertainty
    flags = {name: np.concatenate([flags[name] for *_, flags, _ in found]) for name in found[0][4]}
    for alarms, rate in ((flags["equilibration_frames"] != 0, 0.05), (np.abs(flags["drift"]) > 5, 0.013)):
        assert alarms.mean() < rate + 3 * np.sqrt(rate * (1 - rate) / len(alarms))


def warned(ds, **question):
    """Return what is said about a run when it is asked for everything."""
    spec = Spec(rdf=RdfSpec(exclude_bonded=0, **question), bonded=BondedSpec(bond_max="2 nm", bond_width="0.1 nm"))
    tree = cgstore.distributions(ds, spec).compute()
    return tree, warnings_about(tree)


@pytest.mark.parametrize(("frames", "time", "least"), [(3, 1, 1.0), (60, 30, 0.8)])
def test_a_run_that_is_too_short_has_no_errors_and_says_so(dataset, frames, time, least):
    ds, question = leaping(dataset, 40, frames, time, seed=5, particles=20)
    tree, lines = warned(ds, pairs=question["pairs"], r_max="0.8 nm", bin_width="0.1 nm")
    g = tree["rdf"].to_dataset()
    short = g.short.values
    assert (g["count"].sum("r") > 50).all()
    assert short.mean() >= least
    assert np.isnan(g.rdf_error.values[short]).all()
    np.testing.assert_array_equal(g.blocks == 0, short)
    (line,) = [line for line in lines if "too short to know the errors" in line]
    assert f"rdf {g.pair.values[short][0]}, " in line
    assert f" and {short.sum() - 4} more" in line


def test_bins_that_were_never_hit_are_marked_and_no_zero_has_an_error(dataset):
    random = np.random.default_rng(4)
    vector = random.normal(size=(400, 1, 3))
    length = np.where(random.random(400) < 0.5, random.uniform(0.2, 0.4, 400), random.uniform(0.7, 0.9, 400))
    vector *= (length / np.linalg.norm(vector[:, 0], axis=-1))[:, None, None]
    ds = dataset(np.concatenate([0 * vector, vector], axis=1) + 1, 3 * np.eye(3), type=["A", "B"], bond=[(0, 1)])
    tree, lines = warned(ds, r_max="1.2 nm", bin_width="0.1 nm")
    g, b = tree["rdf"].to_dataset(), tree["bonded"].to_dataset()
    for value, error, count in ((g.rdf, g.rdf_error, g["count"]), (b.bond, b.bond_error, b.bond_count)):
        np.testing.assert_array_equal((count == 0) & value.notnull(), value == 0)
        np.testing.assert_array_equal(error.isnull(), count == 0)
        assert (error.values[count.values > 0] > 0).all()
    pair = g.sel(pair="A-B")
    assert pair["count"].values.nonzero()[0].tolist() == [2, 3, 7, 8]
    assert (int(pair.unsampled), float(pair.unsampled_fraction)) == (3, pytest.approx(8 / 12))
    assert int(b.bond_unsampled[0]) == 3
    assert np.isnan(g.sel(pair=["A-A", "B-B"]).rdf).all()  # no pairs: not zero either
    assert lines == []  # tails are never sampled; the marks are where they are


@pytest.mark.parametrize("frames", [200, 1000])
def test_a_lattice_as_the_first_frame_is_caught_and_leaving_it_out_is_enough(gas, frames):
    ds = gas(frames, 64, 2 * np.eye(3), seed=6)
    assert warned(ds, r_max="1 nm", bin_width="0.02 nm")[1] == []
    side = np.arange(4) * 0.5
    ds["position"][0] = np.stack(np.meshgrid(side, side, side), axis=-1).reshape(64, 3)
    tree, (line,) = warned(ds, r_max="1 nm", bin_width="0.02 nm")
    length = -(-frames // 256) if frames > 256 else 1
    assert tree["rdf"].equilibration_frames.values.tolist() == [length]
    assert f"leave out the first {2 * length} ps" in line
    assert warned(ds.isel(frame=slice(length, None)), r_max="1 nm", bin_width="0.02 nm")[1] == []


def test_a_drift_is_caught_in_pairs_and_bonds(dataset):
    ds = tethered(dataset, 12, 1600, 2, seed=7, spring=np.linspace(0.15, 0.35, 1600))
    pairs = [f"A{run:03d}-B{run:03d}" for run in range(12)]
    tree, lines = warned(ds, r_max="0.7 nm", bin_width="0.1 nm", pairs=pairs)
    for drift in (tree["rdf"].drift, tree["bonded"].bond_drift):
        assert (np.abs(drift) > 5).mean() > 0.9
    (line,) = [line for line in lines if "a drift through the whole run" in line]
    assert line.count("rdf ") == 4  # names four, and says how many more
    assert " more; the run has not settled" in line
