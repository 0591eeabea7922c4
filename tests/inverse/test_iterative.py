"""Iterative Boltzmann inversion, its end, and the correction of the pressure."""

import numpy as np
import pytest
import xarray as xr

from cgstore.errors import InputError, PhysicsError
from cgstore.inverse.deviations import agreement
from cgstore.inverse.iterative import ibi_update, pressure_ramp
from cgstore.inverse.mean_force import potential_of_mean_force
from cgstore.units import BAR, BOLTZMANN

T = 300.0
KT = BOLTZMANN * T
R = np.arange(0.01, 1.0, 0.02)


def dilute(energy: np.ndarray, *, total: float | None = None, seed: int = 0) -> xr.Dataset:
    """Return g = exp(−u/kT), or a sample of it of about so many counts."""
    g = np.exp(-energy / KT)
    label = {"pair": ["A-A"], "r": R}
    if total is None:
        return xr.Dataset({"rdf": (("pair", "r"), [g])}, label)
    expected = R**2 * total / (R**2).sum()
    count = np.random.default_rng(seed).poisson(g * expected)
    error = np.where(count > 0, np.sqrt(count) / expected, np.nan)
    found = {"rdf": count / expected, "rdf_error": error, "count": count}
    return xr.Dataset({name: (("pair", "r"), [values]) for name, values in found.items()}, label)


def lennard_jones(depth: float) -> np.ndarray:
    return 4.0 * depth * ((0.4 / R) ** 12 - (0.4 / R) ** 6)


def test_one_step_is_exact_at_vanishing_density() -> None:
    start = potential_of_mean_force(dilute(lennard_jones(1.0)), temperature=T)
    new = ibi_update(start, dilute(lennard_jones(1.0)), dilute(lennard_jones(2.0)), temperature=T, largest=100.0)
    both = (new["coverage"][0] == 3).values & (R > 0.36)
    np.testing.assert_allclose(new["potential"][0].values[both], lennard_jones(2.0)[both], atol=1e-9)
    assert not new["converged"].any()  # nobody knows: there are no errors


def test_noise_of_a_step_is_in_its_error_and_is_smoothed() -> None:
    z, smooth = [], []
    start = potential_of_mean_force(dilute(lennard_jones(1.5)), temperature=T)
    well = R > 0.39
    for seed in range(30):
        model = dilute(lennard_jones(1.5), total=2e4, seed=seed)
        target = dilute(lennard_jones(2.0), total=2e4, seed=seed + 1000)
        new = ibi_update(start, model, target, temperature=T)
        true = lennard_jones(2.0) - lennard_jones(1.5)
        z.append((new["change"][0].values - true)[well] / new["change_error"][0].values[well])
        smooth.append((new["potential"][0].values - lennard_jones(2.0))[well] / new["change_error"][0].values[well])
    assert 0.63 < (np.abs(z) < 1.0).mean() < 0.73
    assert np.mean(np.square(smooth)) < 0.7 * np.mean(np.square(z))


def test_errors_that_bins_have_in_common_do_not_smooth_away_what_the_counts_show() -> None:
    ripple = 0.1 * KT * np.sin(2.0 * np.pi * R / 0.2)
    model, target = dilute(0.0 * R, total=1e7), dilute(ripple, total=1e7, seed=1)
    model["rdf_error"] = 0.02 * model["rdf"]  # as of a run that moves all bins up and down together
    start = xr.Dataset({"potential": (("pair", "r"), [0.0 * R])}, {"pair": ["A-A"], "r": R})
    new = ibi_update(start, model, target, temperature=T)
    often = R > 0.2
    assert new["change_error"].values[0, often].min() > 0.019 * KT
    np.testing.assert_allclose(new["potential"].values[0, often], ripple[often], atol=0.015 * KT)


def test_equal_distributions_have_converged_and_are_left_alone() -> None:
    stopped = []
    for seed in range(40):
        target = dilute(lennard_jones(2.0), total=2e4, seed=seed + 500)
        start = potential_of_mean_force(dilute(lennard_jones(2.0)), temperature=T)
        new = ibi_update(start, dilute(lennard_jones(2.0), total=2e4, seed=seed), target, temperature=T)
        stopped.append(bool(new["converged"][0]))
        kept = (new["coverage"][0] == 3).values
        if stopped[-1]:
            np.testing.assert_allclose(new["potential"].values[0, kept], start["potential"].values[0, kept], atol=1e-9)
    assert np.mean(stopped) > 0.9
    other = ibi_update(start, dilute(lennard_jones(1.5), total=2e4), target, temperature=T)
    assert not other["converged"].any()
    assert ibi_update(start, dilute(lennard_jones(1.5), total=2e4), target, temperature=T, tolerance=1.0)[
        "converged"
    ].all()


def test_bins_that_one_of_both_never_sampled_are_named_and_get_a_wall_or_their_neighbour() -> None:
    model, target = dilute(0.0 * R, total=1e5), dilute(np.where(R < 0.3, 50.0, 0.0), total=1e5, seed=1)
    model["rdf"][0, 40] = model["count"][0, 40] = 0.0
    start = xr.Dataset({"potential": (("pair", "r"), [0.0 * R])}, {"pair": ["A-A"], "r": R})
    new = ibi_update(start, model, target, temperature=T)
    assert new["coverage"].values[0, [10, 14, 20, 40]].tolist() == [2, 2, 3, 1]
    assert new["change"].isnull().values[0, [10, 40]].all()
    assert (np.diff(new["potential"].values[0, :16]) < 0.0).all()  # a wall where the target never was
    assert new["extrapolated"].values[0, :15].all()
    assert abs(float(new["potential"][0, 40])) < 0.5
    assert np.isfinite(new["potential"]).all()


def test_what_cannot_be_compared_is_an_error_that_names_it() -> None:
    good = dilute(lennard_jones(1.0))
    start = potential_of_mean_force(good, temperature=T)
    empty = good.assign(rdf=good["rdf"] * 0.0)
    with pytest.raises(PhysicsError, match="rdf of A-A in the model is all zero"):
        ibi_update(start, empty, good, temperature=T)
    with pytest.raises(PhysicsError, match="rdf of A-A in the target is all zero"):
        ibi_update(start, good, empty, temperature=T)
    left, right = (good.assign(rdf=good["rdf"].where(side, 0.0)) for side in (R < 0.5, R > 0.5))
    with pytest.raises(PhysicsError, match="no bin that model and target both sampled"):
        ibi_update(start, left, right, temperature=T)
    with pytest.raises(InputError, match="expected the same bins"):
        ibi_update(start, good.isel(r=slice(10)), good, temperature=T)
    with pytest.raises(InputError, match="expected the same kinds"):
        ibi_update(start, good.assign_coords(pair=["B-B"]), good, temperature=T)
    with pytest.raises(InputError, match=r"A-A at r = 0.01 nm is not finite"):
        ibi_update(start.where(start["r"] > 0.02), good, good, temperature=T)
    with pytest.raises(InputError, match="expected one of A-A"):
        ibi_update(start.assign_coords(pair=["B-B"]), good, good, temperature=T)
    with pytest.raises(InputError, match="step 0"):
        ibi_update(start, good, good, temperature=T, step=0)


def test_agreement_counts_in_units_of_the_combined_error() -> None:
    def flat(level: float, error: float) -> xr.Dataset:
        values = {"rdf": np.full((1, 50), level), "rdf_error": np.full((1, 50), error)}
        return xr.Dataset({name: (("pair", "r"), v) for name, v in values.items()}, {"pair": ["A-A"], "r": R})

    found = agreement(flat(1.0, 0.03), flat(1.1, 0.04))
    assert float(found["chi2"][0]) == pytest.approx(4.0)
    assert float(found["rmsd"][0]) == pytest.approx(0.1)
    assert int(found["bins"][0]) == 50
    assert float(found["limit"][0]) == pytest.approx(1.4)
    unknown = agreement(flat(1.0, np.nan), flat(1.0, 0.04))
    assert np.isnan(unknown["chi2"]).all()
    assert unknown["converged"].all()  # equal to the last digit


def test_the_ramp_changes_the_virial_pressure_by_what_is_asked() -> None:
    r = np.arange(0.005, 1.2, 0.01)
    counts, volume = 4e4 * r**2, 27.0
    ramp = pressure_ramp(r, counts, volume=volume, excess=20.0, temperature=T, cutoff=1.0)
    force = np.where(r < 1.0, (ramp[0] - ramp[1]) / 0.01, 0.0)
    assert (counts * r * force).sum() / (3.0 * volume) * BAR == pytest.approx(-20.0)
    assert (ramp[r > 1.0] == 0.0).all()
    assert abs(pressure_ramp(r, counts, volume=volume, excess=1e6, temperature=T)).max() <= 0.1 * KT
    with pytest.raises(PhysicsError, match="no pair, no pressure"):
        pressure_ramp(r, 0.0 * counts, volume=volume, excess=20.0, temperature=T)
    with pytest.raises(InputError, match=r"expected \(bin,\)"):
        pressure_ramp(r, counts[:3], volume=volume, excess=20.0, temperature=T)
