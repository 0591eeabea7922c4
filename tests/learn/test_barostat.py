"""Pressure: measured against virial coefficients, kept constant against closed forms."""

import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import cgstore
from cgstore.errors import InputError, PhysicsError
from cgstore.learn.sampler import sample
from cgstore.tables import Table, interpolate
from cgstore.units import BAR, BOLTZMANN

sys.path.insert(0, str(Path(__file__).parent))
import molecules as made

T = 300.0
KT = BOLTZMANN * T


def ideal(cutoff: float = 0.3) -> Table:
    r = np.linspace(0.0, cutoff, 4)
    return Table(r, 0.0 * r, 0.0 * r)


def volumes(ds: xr.Dataset) -> np.ndarray:
    return np.linalg.det(ds["box"].values.astype(float))


@pytest.mark.parametrize("kind", ["A", "AB"])
def test_an_ideal_gas_has_the_volumes_of_the_gamma_distribution(kind: str) -> None:
    # P(V) ~ V^N exp(-PV/kT) for N molecules, whatever they are made of.
    count, pressure = 24, 25.0 * KT / 27.0 * BAR
    ds = made.chains([kind] * count, np.eye(3) * 3.0, seed=1, replicas=4)
    tables = made.model(pairs={name: ideal() for name in ("A-A", "A-B", "B-B")}, bonds={"A-B": made.harmonic_bond()})
    run = sample(
        tables,
        ds,
        temperature=T,
        equilibrate=20.0,
        duration=400.0,
        every=0.2,
        seed=2,
        time_step=0.01,
        pressure=pressure,
    )
    v = volumes(run)
    expected = (count + 1) * KT / (pressure / BAR)
    assert v.mean() == pytest.approx(expected, rel=0.02)
    assert v.var() == pytest.approx((count + 1) * (KT / (pressure / BAR)) ** 2, rel=0.15)
    assert run.attrs["pressure"] == pressure
    np.testing.assert_allclose(run["box"][:, 0, 0], run["box"][:, 2, 2], rtol=1e-5)
    # By particles: those of a dimer lose with their bond what they gain by their number.
    assert float(run["pressure"].mean()) == pytest.approx(pressure, rel=0.05)
    if kind == "AB":
        length = cgstore.bonded(run).compute()["bond"].sel(bond_kind="A-B")
        r = length.r.values
        weight = r**2 * np.exp(-2500.0 * (r - 0.3) ** 2 / KT)
        mean = float((r * weight).sum() / weight.sum())
        assert float((length * r).sum() * (r[1] - r[0])) == pytest.approx(mean, rel=1e-3)


def test_the_pressure_of_a_dilute_gas_is_that_of_its_second_virial_coefficient() -> None:
    count, edge, temperature = 64, 5.2, 160.0
    table = made.soft(cutoff=1.0, depth=1.8)
    r = (np.arange(20000) + 0.5) * 1.0 / 20000
    mayer = np.exp(-interpolate(table, r)[0] / (BOLTZMANN * temperature)) - 1.0
    second = -2.0 * np.pi * (mayer * r**2).sum() / 20000
    density = count / edge**3
    expected = BAR * BOLTZMANN * temperature * density * (1.0 + second * density)
    assert abs(second * density) > 0.05
    ds = made.chains(["A"] * count, np.eye(3) * edge, seed=3, replicas=8)
    run = sample(
        made.model(pairs={"A-A": table}), ds, temperature=temperature, equilibrate=20.0, duration=300.0, every=0.2,
        seed=4, time_step=0.01,
    )  # fmt: skip
    by_replica = run["pressure"].groupby("replica").mean().values
    error = by_replica.std(ddof=1) / np.sqrt(8)
    assert error < 0.012 * expected
    assert abs(by_replica.mean() - expected) < 4.0 * error


def test_the_mean_of_the_measured_pressure_is_the_pressure_of_the_barostat() -> None:
    ds = made.chains(["ABBA"] * 40, np.eye(3) * 2.8, seed=5, replicas=4)
    run = sample(
        made.model(), ds, temperature=T, equilibrate=40.0, duration=60.0, every=0.2, seed=6, time_step=0.01,
        pressure=300.0,
    )  # fmt: skip
    by_replica = run["pressure"].groupby("replica").mean().values
    error = by_replica.std(ddof=1) / 2.0
    assert error < 30.0
    assert abs(by_replica.mean() - 300.0) < max(4.0 * error, 30.0)
    assert run.attrs["drifts"] == 0


def test_the_area_of_a_membrane_and_its_height_change_by_themselves() -> None:
    ds = made.chains(["ABBA"] * 40, np.eye(3) * 2.8, seed=5)
    run = sample(
        made.model(), ds, temperature=T, equilibrate=2.0, duration=4.0, every=0.2, seed=6, pressure=300.0, membrane=True
    )
    box = run["box"].values.astype(float)
    np.testing.assert_allclose(box[:, 0, 0], box[:, 1, 1], rtol=1e-5)
    assert np.std(box[:, 2, 2] / box[:, 0, 0]) > 0.002
    assert abs(box[:, [0, 0, 1, 1, 2, 2], [1, 2, 0, 2, 0, 1]]).max() == 0.0


def test_without_solvent_the_area_changes_and_the_height_stays() -> None:
    ds = made.chains(["ABBA"] * 20, np.eye(3) * 2.8, seed=5)
    options = {"temperature": T, "equilibrate": 1.0, "duration": 2.0, "every": 0.2, "seed": 6, "pressure": 300.0}
    box = sample(made.model(), ds, membrane="area", **options)["box"].values.astype(float)
    np.testing.assert_allclose(box[:, 0, 0], box[:, 1, 1], rtol=1e-5)
    assert np.ptp(box[:, 2, 2]) == 0.0
    assert np.std(box[:, 0, 0]) > 0.001


def test_a_box_that_shrinks_below_twice_the_cutoff_is_refused() -> None:
    ds = made.chains(["A"] * 10, np.eye(3) * 2.0, seed=7)
    tables = made.model(pairs={"A-A": ideal(0.9)})
    with pytest.raises(PhysicsError, match="the box has shrunk: its smallest half height is"):
        sample(tables, ds, temperature=T, equilibrate=100.0, duration=1.0, every=1.0, seed=1, pressure=500.0)


def test_a_pressure_needs_a_temperature() -> None:
    ds = made.chains(["A"] * 10, np.eye(3) * 2.0, seed=8)
    with pytest.raises(InputError, match="neither friction nor coupling"):
        sample(
            made.model(),
            ds,
            temperature=T,
            equilibrate=0.0,
            duration=1.0,
            every=1.0,
            seed=1,
            pressure=1.0,
            friction=0.0,
        )


def test_the_seed_decides_on_all_volumes_whatever_the_threads() -> None:
    ds = made.chains(["ABBA"] * 8, np.eye(3) * 2.4, seed=9, replicas=3)
    options = {"temperature": T, "equilibrate": 1.0, "duration": 2.0, "every": 0.2, "pressure": 1.0}
    first, again, other = (
        sample(made.model(), ds, seed=seed, threads=threads, **options) for seed, threads in ((1, 1), (1, 3), (2, 1))
    )
    xr.testing.assert_identical(first, again)
    assert not np.array_equal(first["box"], other["box"])
