"""Relative entropy on a system that can be enumerated."""

import numpy as np
import pytest
import xarray as xr

from cgstore.errors import InputError, PhysicsError
from cgstore.inverse.cross import imc_update
from cgstore.inverse.relative_entropy import relative_entropy_gradient, relative_entropy_step, spline_basis


def entropy(ring, energy: np.ndarray) -> float:
    p, q = ring.probability(ring.true), ring.probability(energy)
    return float(p @ np.log(p / q))


def test_the_gradient_is_that_of_the_enumerated_relative_entropy(ring) -> None:
    matrix = np.random.default_rng(1).normal(size=(len(ring.true), 4))
    basis = xr.DataArray(matrix, dims=("entry", "parameter"))
    energy = ring.pmf()
    found = relative_entropy_gradient(ring.mean(energy), ring.mean(ring.true), basis, temperature=ring.temperature)
    h = 1e-4
    for parameter in range(4):
        step = h * matrix[:, parameter]
        slope = (entropy(ring, energy + step) - entropy(ring, energy - step)) / (2.0 * h)
        assert float(found[parameter]) == pytest.approx(slope, rel=1e-6, abs=1e-9)


def test_in_the_basis_of_the_bins_the_newton_step_is_that_of_inverse_monte_carlo(ring) -> None:
    sample = ring.sampled(ring.pmf(), 4_096, seed=3)
    basis = xr.DataArray(np.eye(len(ring.true)), dims=("entry", "parameter"))
    for option in ({}, {"regularisation": 0.1}):
        newton = relative_entropy_step(sample, ring.target(), basis, temperature=300.0, **option)
        matrix = imc_update(sample, ring.target(), temperature=300.0, cutoff="free", response="linear", **option)
        np.testing.assert_allclose(newton["change"], matrix["change"], rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(newton["change_error"], matrix["change_error"], rtol=1e-6)


def test_steps_with_few_splines_find_the_minimum_and_stop_there(whole_ring) -> None:
    ring = whole_ring
    basis = spline_basis(ring.exact(ring.true), knots={"rdf": 1, "bond": 1})
    assert basis.shape == (15, 2 + 2 + 4)
    energy = np.zeros(len(ring.true))
    steps = []
    for _ in range(8):
        update = relative_entropy_step(
            ring.exact(energy), ring.target(), basis, temperature=300.0, regularisation=0.0, tolerance=1e-6, fewest=0
        )
        steps.append(entropy(ring, energy))
        if update.attrs["converged"]:
            break
        energy = energy + update["change"].fillna(0.0).values
    assert update.attrs["converged"]
    assert (np.diff(steps) <= 1e-12).all()  # downhill each time
    slope = relative_entropy_gradient(ring.mean(energy), ring.mean(ring.true), basis, temperature=300.0)
    assert abs(slope).max() < 1e-6
    assert 0.0 < steps[-1] < 0.5 * steps[0]


def test_sampled_steps_of_splines_stop_by_their_errors(whole_ring) -> None:
    ring = whole_ring
    basis = spline_basis(ring.exact(ring.true), knots={"rdf": 1, "bond": 1}, target=ring.target())
    # A target that splines can have, so that the errors alone decide.
    true = basis.values @ np.random.default_rng(4).normal(0.0, 2.0, basis.sizes["parameter"])
    goal = ring.target()
    goal["counts"] = ("entry", ring.mean(true))
    energy = np.zeros(len(true))
    for number in range(8):
        update = relative_entropy_step(ring.sampled(energy, 8_192, seed=number), goal, basis, temperature=300.0)
        if update.attrs["converged"]:
            break
        energy = energy + update["change"].fillna(0.0).values
    assert update.attrs["converged"]
    assert abs(ring.mean(energy) - ring.mean(true)).max() < 0.1
    assert np.isfinite(update["parameter_error"]).all() or np.isinf(update.attrs["ridge"])


def test_splines_add_up_to_one_and_pairs_end_at_zero_with_zero_slope() -> None:
    x = np.arange(0.005, 1.0, 0.01)
    label = {"distribution": ("entry", ["rdf"] * 100 + ["bond"] * 100), "kind": ("entry", ["A-A"] * 200)}
    hits = np.ones((1, 200))
    hits[0, :30] = hits[0, 100:110] = 0.0
    entries = xr.Dataset({"mean": (("part", "entry"), hits)}, label | {"x": ("entry", np.tile(x, 2))})
    basis = spline_basis(entries, knots={"rdf": 10, "bond": 4})
    assert basis.shape == (200, 11 + 7)
    assert (basis.values[:30] == 0.0).all()
    total = basis.values.sum(axis=1)
    np.testing.assert_allclose(total[30:85], 1.0)
    assert abs(total[99]) < 1e-12
    assert abs(total[98] - total[99]) < 0.05
    np.testing.assert_allclose(total[110:], 1.0)
    with pytest.raises(InputError, match="0 intervals for rdf"):
        spline_basis(entries, knots=0)


@pytest.mark.parametrize("hit", [45, 44])
def test_splines_of_dihedrals_are_periodic_where_the_whole_circle_was_hit(hit: int) -> None:
    x = np.arange(-176.0, 180.0, 8.0)
    hits = (np.arange(45) < hit)[None].astype(float)
    label = {"distribution": ("entry", ["dihedral"] * 45), "kind": ("entry", ["A-A-A-A"] * 45)}
    entries = xr.Dataset({"mean": (("part", "entry"), hits)}, label | {"x": ("entry", x)})
    basis = spline_basis(entries, knots=9).values
    assert basis.shape == (45, 9 if hit == 45 else 12)
    np.testing.assert_allclose(basis[:hit].sum(axis=1), 1.0)
    if hit == 45:  # each is the next one, turned by 40 degrees
        np.testing.assert_allclose(np.roll(basis[:, 0], 5), basis[:, 1], atol=1e-12)
        np.testing.assert_allclose(np.roll(basis[:, 8], 5), basis[:, 0], atol=1e-12)


def test_a_basis_on_which_nothing_depends_is_an_error(ring) -> None:
    nothing = xr.DataArray(np.zeros((11, 2)), dims=("entry", "parameter"))
    with pytest.raises(PhysicsError, match="depend on no parameter"):
        relative_entropy_step(ring.exact(ring.true), ring.target(), nothing, temperature=300.0, regularisation=0.0)
    with pytest.raises(InputError, match="same entries"):
        relative_entropy_gradient(np.ones(11), np.ones(10), nothing, temperature=300.0)
