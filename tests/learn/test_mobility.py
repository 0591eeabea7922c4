"""Pairs, models and runs of mobility, against closed forms and with what must be kept apart kept apart."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from dask.callbacks import Callback

from cgstore.averages.diffusion import finite_size_diffusion
from cgstore.errors import InputError, NotFound
from cgstore.feature_tables.spec import asked_of, spec_of
from cgstore.learn.mobility.folds import folds, predicted, predicted_potentials, resolved
from cgstore.learn.mobility.models import basis_of, gaussian_process, linear, nearest
from cgstore.learn.mobility.network import Network, train_potentials
from cgstore.learn.mobility.pairs import PairLoader, pairs_of
from cgstore.learn.mobility.runs import Liquid, Moved, simulated
from cgstore.learn.mobility.sets import infinite_box, potential_error, sets_of
from cgstore.learn.mobility.tradeoff import pareto_front, stretched
from cgstore.learn.rows import RowLoader
from cgstore.splits.split import Split
from cgstore.tables import table_of
from cgstore.units import BOLTZMANN

R = np.arange(0.305, 1.4, 0.01)
SHAPE = 1.0 / R**6


def made(number: int, seed: int = 0, speed: float = 2.0) -> xr.Dataset:
    """Sets whose potential is amplitude · r⁻⁶ with an amplitude linear in the parameters, and decides both speeds."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, (number, 2))
    amplitude = 2.0 + 0.5 * x[:, 0] + 0.2 * x[:, 1]
    d = np.exp(-amplitude)
    return xr.Dataset(
        {
            "x": (("system", "parameter"), x),
            "u": (("system", "r"), -amplitude[:, None] * SHAPE),
            "u_error": (("system", "r"), np.full((number, len(R)), 0.01)),
            "D_AA": ("system", d),
            "D_AA_error": ("system", 0.005 * d),
            "D_CG": ("system", speed * d),
            "D_CG_error": ("system", 0.005 * speed * d),
            "alpha": ("system", np.full(number, speed)),
        },
        {"system": [f"s{n:04d}/atomistic/cg" for n in range(number)], "parameter": ["a", "b"], "r": R},
    )


def entries(sets: xr.Dataset) -> dict[str, None]:
    """A catalog with both runs of each set."""
    names = [str(name) for name in sets["system"].values]
    return dict.fromkeys(sorted(names + [name.replace("atomistic", "coarse") for name in names]))


def test_no_set_of_a_held_out_pair_is_in_training_pairs() -> None:
    sets = made(60)
    assert pairs_of(sets).sizes["pair"] > 20
    for split in folds([str(name) for name in sets["system"].values], groups=4):
        loader = PairLoader(sets, entries(sets), split.train, batch_size=16, seed=1)
        out = {str(rule.system) for rule in split.heldout.rules}
        kept = {name.split("/")[0] for name in loader.names}
        assert len(out) == 15
        assert not out & kept
        for batch in loader:
            for side in ("left", "right"):
                assert batch[side].max() < len(loader.names)
            i, j = (sets.sel(system=[loader.names[n] for n in batch[side].tolist()]) for side in ("left", "right"))
            np.testing.assert_allclose(batch["x"], i["x"], rtol=1e-6)
            np.testing.assert_allclose(batch["u"], j["u"], rtol=1e-6)
            sigma = np.hypot(i["D_AA_error"].values, j["D_CG_error"].values)
            assert (np.abs(i["D_AA"].values - j["D_CG"].values) < 2 * sigma).all()


def test_held_out_sets_are_refused_at_the_door() -> None:
    sets = made(20)
    split = Split.from_dict({"train": [{"system": "s000*"}], "validation": [{"system": "s001*"}]})
    assert len(PairLoader(sets, entries(sets), split.train, within=50.0).names) == 10
    overlapping = {"train": [{"system": "s000*"}], "heldout": [{"dataset": "s0003/coarse/cg"}]}
    with pytest.raises(InputError, match="s0003"):
        PairLoader(sets, entries(sets), Split.from_dict(overlapping).train, within=50.0)
    with pytest.raises(InputError, match="wider ranges"):
        PairLoader(made(20, speed=50.0), entries(sets), split.train)


def test_pairs_are_made_piece_by_piece_when_they_are_asked_for() -> None:
    sets = made(3000, speed=1.0)
    split = Split.from_dict({"train": [{"system": "s*"}]})
    gathered = []
    with Callback(posttask=lambda key, result, *_: gathered.append(np.shape(result))):
        loader = PairLoader(sets, entries(sets), split.train, within=8.0, batch_size=128)
        pieces = len(loader.pairs.chunksizes["pair"])
        assert len(loader) > 300_000
        assert pieces >= 3
        assert gathered == []
        batch = next(iter(loader))
    assert batch["u"].shape == (128, len(R))
    rows = sum(shape[0] for shape in gathered if len(shape) == 2 and shape[1] == len(R))  # gathered, and handed on
    assert 128 <= rows <= 3 * max(loader.pairs.chunksizes["pair"]) < len(loader)


def test_the_order_is_that_of_the_seed_and_each_pair_comes_once_in_an_epoch() -> None:
    sets = made(60)
    split = Split.from_dict({"train": [{"system": "s*"}]})

    def epoch(seed: int) -> list[tuple[int, int]]:
        batches = list(PairLoader(sets, entries(sets), split.train, seed=seed, batch_size=7))
        return [pair for b in batches for pair in zip(b["left"].tolist(), b["right"].tolist(), strict=True)]

    one = epoch(1)
    assert one == epoch(1) != epoch(2)
    expected = pairs_of(sets)
    assert sorted(one) == sorted(zip(expected["left"].values.tolist(), expected["right"].values.tolist(), strict=True))


def test_networks_learn_the_structure_and_the_mobility_of_sets_they_have_not_seen() -> None:
    sets = made(300, seed=3)
    names = [str(name) for name in sets["system"].values]
    split = Split.from_dict({"train": [{"system": "s00*"}, {"system": "s01*"}], "heldout": [{"system": "s02*"}]})
    known, new = sets.isel(system=slice(0, 200)), sets.isel(system=slice(200, 300))
    basis = basis_of(known["u"].values, np.full(len(R), 0.01), modes=1)
    catalog = dict.fromkeys(names)
    how = Network(members=4, steps=400, rate=1e-2)
    rows = RowLoader(sets, catalog, split.train, batch_size=64, columns=["x", "u"], streams=1)
    a, spread = train_potentials(rows.endless(), basis, known["x"].values, how).predict(new["x"].values)
    found, truth = -a[:, 0] / SHAPE[0], -new["u"].values[:, 0] / SHAPE[0]
    assert np.sqrt(((found - truth) ** 2).mean()) < 0.02
    assert spread.shape == a.shape
    pairs = PairLoader(sets, catalog, split.train, within=4.0)
    b, _ = train_potentials(pairs.endless(), basis, known["x"].values, how).predict(new["x"].values)
    reached = truth < 2.6 - np.log(2.0)  # ln D_CG = ln 2 − amplitude: beads of amplitude + ln 2 have D_AA
    assert reached.sum() > 20
    assert np.sqrt(((-b[:, 0] / SHAPE[0] - truth - np.log(2.0))[reached] ** 2).mean()) < 0.05


@pytest.mark.parametrize("regression", [nearest, linear, gaussian_process])
def test_errors_of_baselines_are_those_that_are_made(regression) -> None:
    rng = np.random.default_rng(5)
    x = rng.uniform(-1, 1, (80, 2))
    y = np.column_stack([x[:, 0] + 0.5 * x[:, 1], 3.0 - x[:, 1]]) + rng.normal(0, 0.05, (80, 2))
    value, error = regression(x[:50], y[:50], x[50:])
    scatter = np.sqrt((((value - y[50:]) / error) ** 2).mean())
    assert 0.7 < scatter < 1.4
    if regression is not nearest:
        assert np.sqrt(((value - y[50:]) ** 2).mean()) < 0.07


def test_predictions_of_sets_are_exact_where_the_truth_is_a_line() -> None:
    sets = resolved(made(40))
    known, new = sets.isel(system=slice(0, 30)), sets.isel(system=slice(30, 40))
    u, error = predicted_potentials(linear, known, new, modes=2)
    np.testing.assert_allclose(u, new["u"].values, rtol=1e-3)
    assert error.shape == u.shape
    d, d_error = predicted(linear, known, new, "D_CG")  # ln D is linear, too
    np.testing.assert_allclose(d, new["D_CG"].values, rtol=1e-3)
    assert (d_error > 0).all()


def test_each_set_is_held_out_once_and_never_trained_on_then() -> None:
    names = [f"s{n}/atomistic/cg" for n in range(11)]
    catalog = dict.fromkeys(names)
    out = []
    for split in folds(names, groups=4, seed=2):
        train = {member.name for member in split.train.members(catalog)}
        held = {f"{rule.system}/atomistic/cg" for rule in split.heldout.rules}
        assert not train & held
        assert train | held == set(names)
        out += sorted(held)
    assert sorted(out) == sorted(names)
    assert all(len(split.train.members(catalog)) == 5 for split in folds(names, groups=4, sets=5))
    with pytest.raises(InputError, match="12 groups"):
        folds(names, groups=12)


def test_errors_of_potentials_are_the_scatter_of_the_next_step_of_the_search() -> None:
    rng = np.random.default_rng(2)
    g, first, second = 1.7, 0.03, 0.04
    steps = BOLTZMANN * 300.0 * np.log((g + second * rng.normal(size=4000)) / (g + first * rng.normal(size=4000)))
    one = {"g": g, "g_beads": g, "g_error": first, "g_beads_error": second}
    sets = xr.Dataset({name: (("system", "r"), [[value]]) for name, value in one.items()})
    error = potential_error(sets.assign(temperature=("system", [300.0])))
    assert abs(steps.std() / error[0, 0] - 1.0) < 0.05


def test_an_infinite_box_without_a_viscosity_is_that_with_the_viscosity_it_implies() -> None:
    number, edge, temperature, s = 130, 3.2, 298.15, 0.15
    value, error = infinite_box(2e-3, 0.0, number=number, stokes_einstein=(s, 0.0))
    eta = s * BOLTZMANN * temperature / (float(value) * edge / number ** (1 / 3))
    assert float(finite_size_diffusion(2e-3, edge=edge, temperature=temperature, viscosity=eta)) == pytest.approx(value)
    assert float(error) == 0.0
    with pytest.raises(InputError, match="less than a half"):
        infinite_box(1.0, 0.1, number=2)


def test_a_table_with_two_runs_of_a_system_becomes_one_set() -> None:
    names = ["D_AA", "D_AA_error", "D_CG", "D_CG_error", "alpha", "alpha_error", "edge", "rdf_rmsd", "epsilon"]
    systems = ["a/atomistic/cg", "a/coarse/cg", "b/atomistic/cg"]
    values = np.tile([1.0, 0.1, 3.0, 0.1, 3.0, 0.3, 3.2, 0.015, 0.9], (3, 1))
    g = np.stack([np.full(5, 1.0), np.full(5, 1.1), np.full(5, 2.0)])
    table = xr.Dataset(
        {
            "p": (("system", "p_parameter"), values),
            "u": (("system", "u_r"), np.zeros((3, 5))),
            "g": (("system", "g_r"), g),
            "g_error": (("system", "g_r"), 0.01 * g),
            "temperature": ("system", [300.0] * 3),
            "molecules": ("system", [125.0] * 3),
            "number_density": ("system", [3.8] * 3),
            "mass_density": ("system", [3.8 * 114.0 / 0.602214076] * 3),
        },
        {"system": systems, "p_parameter": names, "u_r": np.arange(5.0), "g_r": np.arange(5.0)},
    )
    sets = sets_of(table, ["epsilon"])
    assert sets["system"].values.tolist() == ["a/atomistic/cg"]
    assert sets["x"].values.tolist() == [[0.9]]
    assert float(sets["mass"][0]) == pytest.approx(114.0)
    assert sets["g"].values[0, 0] == 1.0
    assert sets["g_beads"].values[0, 0] == 1.1
    assert (sets["D_CG_infinite"] / sets["D_AA_infinite"]).values == pytest.approx(3.0)
    with pytest.raises(NotFound, match="torsion"):
        sets_of(table, ["torsion"])
    with pytest.raises(NotFound, match="runs fine and coarse"):
        sets_of(table, ["epsilon"], liquid="fine")


def test_the_shipped_table_is_a_spec() -> None:
    spec = spec_of(Path(__file__).parents[2] / "catalogs" / "tables" / "trimethylpentane.toml")
    assert {asked.name: asked.feature.name for asked in asked_of(spec)} == {
        "p": "parameters",
        "state": "state_point",
        "u": "potential",
        "g": "rdf",
    }


def test_the_front_is_what_nothing_beats() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.random(40), rng.random(40)
    a[3] = np.nan
    beaten = [
        any((a[m] <= a[n] and b[m] <= b[n]) and (a[m] < a[n] or b[m] < b[n]) for m in range(40)) for n in range(40)
    ]
    front = pareto_front({"a": a, "b": b})
    assert set(front.tolist()) == {n for n in range(40) if not beaten[n] and n != 3}
    assert (np.diff(b[front]) < 0).all()


def test_larger_beads_have_the_same_potential_at_larger_distances() -> None:
    u = 4.0 * ((0.5 / R) ** 12 - (0.5 / R) ** 6)
    larger = stretched(R, u, 1.05)
    inside = 1.05 * R[0] < R
    exact = 4.0 * ((0.525 / R) ** 12 - (0.525 / R) ** 6)
    np.testing.assert_allclose(larger[inside], exact[inside], rtol=0.02, atol=0.002)
    assert larger[0] > larger[1] > u[0]


def test_an_acceleration_has_the_relative_errors_of_both_coefficients() -> None:
    moved = Moved(np.ones(3), np.zeros(3), 6e-3, 3e-4, 300.0, "")
    assert moved.acceleration(2e-3, 1e-4) == pytest.approx((3.0, 3.0 * np.hypot(0.05, 0.05)))


def test_beads_that_are_run_diffuse_and_the_deeper_ones_more_slowly() -> None:
    r = np.arange(0.3, 0.851, 0.005)
    u = 4.0 * 0.996 * ((0.34 / r) ** 12 - (0.34 / r) ** 6)
    argon = Liquid(edge=1.85, number=108, mass=39.948, temperature=180.0)
    slow, fast = (
        simulated(table_of(r, k * u, 0.85), argon, seed=1, duration=160.0, equilibrate=10.0, every=0.2, fit=(2.0, 16.0))
        for k in (2.0, 1.0)
    )
    assert abs(fast.temperature - 180.0) < 9.0
    assert slow.diffusion < 0.9 * fast.diffusion
    itself, _ = fast.rmsd(fast.g, fast.g_error)
    apart, sigma = fast.rmsd(slow.g, slow.g_error)
    assert itself == 0.0
    assert apart > 5 * sigma > 0.0


@pytest.mark.slow
def test_a_lennard_jones_liquid_diffuses_as_published_after_the_correction_for_its_box() -> None:
    # T* = 0.722, ρ* = 0.8442: η* = 3.258, doi:10.1063/1.1770695; D* = 0.0325 of 1372 atoms, doi:10.1063/1.1786579
    sigma, kelvin, mass, number = 0.3405, 119.8, 39.948, 256
    epsilon = BOLTZMANN * kelvin
    tau = sigma * (mass / epsilon) ** 0.5
    r = np.arange(0.24, 3.3 * sigma, 0.001)
    table = table_of(r, 4 * epsilon * ((sigma / r) ** 12 - (sigma / r) ** 6), 3.3 * sigma)
    edge = sigma * (number / 0.8442) ** (1 / 3)
    argon = Liquid(edge, number, mass, 0.722 * kelvin)
    runs = [
        simulated(
            table, argon, seed=seed, duration=500.0, equilibrate=60.0, every=0.4, time_step=0.008, fit=(4.0, 50.0)
        )
        for seed in (1, 2, 3)
    ]
    eta = 3.258 * mass / (sigma * tau)
    found = np.array([[run.diffusion, run.diffusion_error] for run in runs])
    infinite = finite_size_diffusion(
        found[:, 0].mean(), edge=edge, temperature=argon.temperature, viscosity=eta
    ) / (sigma**2 / tau)  # fmt: skip
    error = np.sqrt((found[:, 1] ** 2).sum()) / len(runs) / (sigma**2 / tau)
    target = 0.0325 + 2.837297 * 0.722 / (6 * np.pi * 3.258 * (1372 / 0.8442) ** (1 / 3))
    assert error < 0.03 * target
    assert abs(float(infinite) - target) < 3 * np.hypot(error, 0.01 * target)  # published with one percent
