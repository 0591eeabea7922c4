"""Inverse Monte Carlo on a system that can be enumerated."""

import numpy as np
import pytest
import xarray as xr

from cgstore.errors import InputError, PhysicsError
from cgstore.inverse.cross import imc_update, with_change


def error_of(ring, energy: np.ndarray) -> float:
    return float(abs(ring.fixed(energy) - ring.fixed(ring.true)).max() / ring.kT)


@pytest.mark.parametrize("name", ["ring", "whole_ring"])
def test_exact_steps_from_the_pmf_converge_quadratically_to_the_true_potential(name, request) -> None:
    ring = request.getfixturevalue(name)
    energy, found = ring.fixed(ring.pmf()), []
    for _ in range(7):
        found.append(error_of(ring, energy))
        update = imc_update(
            ring.exact(energy), ring.target(), temperature=300.0, regularisation=0.0, cutoff="free", fewest=0
        )
        energy = energy + update["change"].values
    assert found[0] > 0.5
    assert found[5] < 1e-6
    assert found[4] < 10.0 * found[3] ** 2
    # the bond always, and with all pairs counted each kind of pair: directions that cannot fluctuate
    assert update.attrs["modes"] == len(ring.true) - (1 if name == "ring" else 3)


@pytest.mark.parametrize("name", ["ring", "whole_ring"])
def test_boltzmann_inversion_needs_many_more_steps(name, request) -> None:
    ring = request.getfixturevalue(name)
    goal = ring.mean(ring.true)

    def steps(scale: float, newton: bool) -> int:
        energy = ring.fixed(ring.pmf())
        for number in range(60):
            if abs(ring.mean(energy) - goal).max() < 1e-3:
                return number
            if newton:
                update = imc_update(ring.exact(energy), ring.target(), temperature=300.0, regularisation=0.0, fewest=0)
                energy = energy + np.nan_to_num(update["change"].values)
            else:
                energy = energy + scale * ring.kT * np.log(ring.mean(energy) / goal)
        return 60

    assert steps(0.0, True) <= 4
    assert steps(0.5, False) >= 30
    assert steps(1.0, False) == 60  # with the whole correction it never converges here


@pytest.mark.parametrize("frames", [1_000, 30_000])
@pytest.mark.parametrize("name", ["ring", "whole_ring"])
def test_sampled_steps_stop_by_their_errors_near_the_true_potential(name, frames, request) -> None:
    ring = request.getfixturevalue(name)
    energy = ring.fixed(ring.pmf())
    for number in range(10):
        sample = ring.sampled(energy, frames, seed=number, stay=0.5)
        update = imc_update(sample, ring.target(), temperature=300.0)
        assert (abs(update["change"]) <= 2.0 * ring.kT * 1.0001).where(update["change"].notnull(), True).all()
        if update.attrs["converged"]:
            break
        energy = energy + update["change"].fillna(0.0).values
    assert update.attrs["converged"]
    assert 2 <= number <= 8
    assert error_of(ring, energy) < (1.2 if frames == 1_000 else 0.2)
    lacking = ring.mean(energy) - ring.mean(ring.true)
    assert abs(lacking).max() < (0.25 if frames == 1_000 else 0.05)


def test_steps_at_the_true_potential_do_not_drift_away(ring) -> None:
    energy = ring.true.copy()
    for number in range(12):
        update = imc_update(ring.sampled(energy, 2_000, seed=100 + number), ring.target(), temperature=300.0)
        energy = energy + update["change"].fillna(0.0).values
    assert error_of(ring, energy) < 0.4


def test_the_criterion_holds_at_the_true_potential_and_not_elsewhere(ring) -> None:
    def stops(energy: np.ndarray) -> float:
        runs = [
            imc_update(ring.sampled(energy, 4_096, seed=s, stay=0.3), ring.target(), temperature=300.0)
            for s in range(40)
        ]
        return float(np.mean([run.attrs["converged"] for run in runs]))

    assert stops(ring.true) > 0.8
    assert stops(ring.fixed(ring.pmf())) == 0.0


def test_errors_of_the_change_are_those_of_repetitions(ring) -> None:
    z = []
    for seed in range(60):
        sample = ring.sampled(ring.true, 8_192, seed=seed, stay=0.3)
        update = imc_update(sample, ring.target(), temperature=300.0, regularisation=0.0)
        kinds = update["kind"].values
        pair = kinds != "B-B"  # the constant of a bond is a matter of taste
        z.append((update["change"] / update["change_error"]).values[pair])
    inside = np.abs(np.array(z)) < 1.0
    assert 0.6 < inside[:, ~np.isnan(np.array(z)).any(axis=0)].mean() < 0.76


def test_no_errors_ask_for_a_number_and_no_common_bin_is_an_error(ring) -> None:
    few = ring.sampled(ring.true, 600, seed=1, parts=2)
    with pytest.raises(InputError, match=r"2 parts, too few to know its errors.*`inefficiency`"):
        imc_update(few, ring.target(), temperature=300.0)
    assert imc_update(few, ring.target(), temperature=300.0, inefficiency=1.0).attrs["ridge"] > 0.0
    blind = imc_update(few, ring.target(), temperature=300.0, regularisation=0.1)
    assert np.isnan(blind["change_error"].where(blind["change"] != 0.0)).all()
    assert blind["change"].notnull().any()
    sample = ring.sampled(ring.true, 600, seed=1)
    with pytest.raises(InputError, match="errors of the target are not known for rdf A-A at 1"):
        imc_update(sample, ring.target(np.nan), temperature=300.0)
    some = ring.target(np.full(len(ring.true), 0.01)).copy(deep=True)
    some["counts_error"][1] = np.nan  # a bin slower than its kind is known as badly as the worst of it
    worst = (0.01 / np.sqrt(some["counts"].values[[0, 2]])).max() * np.sqrt(some["counts"].values[1])
    given = some.assign(counts_error=some["counts_error"].fillna(worst))
    xr.testing.assert_identical(*(imc_update(sample, target, temperature=300.0) for target in (some, given)))
    empty = ring.target()
    empty["counts"] = empty["counts"].where(empty["kind"] != "A-B", 0.0)
    with pytest.raises(PhysicsError, match="the target never sampled rdf A-B"):
        imc_update(sample, empty, temperature=300.0)
    for wrong in ({"regularisation": "l-curve"}, {"regularisation": -1.0}, {"cutoff": "shift"}, {"largest": 0.0}):
        with pytest.raises(InputError, match="imc_update: found"):
            imc_update(sample, ring.target(), temperature=300.0, **wrong)


def test_bins_without_samples_are_left_out_and_said(ring) -> None:
    target = ring.target()
    target["counts"][0] = 0.0
    sample = ring.sampled(ring.true, 4_096, seed=1)
    sample["mean"][:, 4] = 0.0  # nobody was there
    sample["comoment"][:, 4] = sample["comoment"][:, :, 4] = 0.0
    update = imc_update(sample, target, temperature=300.0)
    assert update["coverage"].values[[0, 1, 4]].tolist() == [2, 3, 1]
    assert update["change"].isnull().values.nonzero()[0].tolist() == [0, 4]
    assert update["coverage"].attrs["flag_meanings"].split()[1] == "target_only"


def test_a_change_is_added_to_its_potential_with_the_walls_made_anew(ring) -> None:
    r = np.array([1.0, 2.0, 3.0])
    goal = xr.Dataset({"rdf": (("pair", "r"), np.ones((2, 3)))}, {"pair": ["A-A", "A-B"], "r": r})
    start = ring.fixed(ring.pmf())
    potential = xr.Dataset({"potential": (("pair", "r"), start[:6].reshape(2, 3))}, {"pair": ["A-A", "A-B"], "r": r})
    update = imc_update(
        ring.exact(start), ring.target(), temperature=300.0, regularisation=0.0, fewest=0, cutoff="free"
    )
    moved = with_change(potential, update, goal, temperature=300.0, kind="rdf")
    np.testing.assert_allclose(moved["potential"].values.ravel(), start[:6] + update["change"].values[:6], rtol=1e-12)
    assert not moved["extrapolated"].any()
