"""Potentials of mean force against closed forms."""

import numpy as np
import pytest
import xarray as xr

import cgstore
from cgstore.errors import InputError, PhysicsError
from cgstore.inverse.mean_force import potential_of_mean_force
from cgstore.units import BOLTZMANN

T = 300.0
KT = BOLTZMANN * T


def pairs(position: np.ndarray, edge: float, weight: np.ndarray | None = None) -> xr.Dataset:
    frames, particles = position.shape[:2]
    ds = xr.Dataset(
        {
            "position": (("frame", "particle", "xyz"), position.astype(np.float32)),
            "box": (("frame", "box_vector", "xyz"), np.tile(np.eye(3) * edge, (frames, 1, 1))),
        },
        {"type": ("particle", ["A"] * particles)},
    )
    return ds if weight is None else ds.assign(weight=("frame", weight))


def lennard_jones(r: np.ndarray) -> np.ndarray:
    return 4.0 * 2.0 * ((0.4 / r) ** 12 - (0.4 / r) ** 6)


def test_the_pmf_of_a_dilute_gas_is_its_pair_potential_within_calibrated_errors() -> None:
    rng, edge = np.random.default_rng(7), 2.0
    position = rng.uniform(0.0, edge, (40_000, 2, 3))
    gap = position[:, 0] - position[:, 1]
    r = np.linalg.norm(gap - edge * np.rint(gap / edge), axis=1)
    weight = np.exp(-lennard_jones(np.maximum(r, 0.2)) / KT)  # uniform frames, weighted to the ensemble
    u = potential_of_mean_force(
        cgstore.rdf(pairs(position, edge, weight), r_max=1.0, bin_width=0.02), temperature=T, fewest=20
    )
    known = u["r"].values > 0.38  # below, the potential is steep within a bin
    true = lennard_jones(u["r"].values) + KT * np.log(weight.mean())
    z = ((u["pmf"][0] - true) / u["pmf_error"][0]).values[known]
    assert np.isfinite(z).all()
    assert 0.5 < (z**2).mean() < 1.6
    smooth = ((u["potential"][0] - true) / u["pmf_error"][0]).values[known]
    assert (smooth**2).mean() < 0.7 * (z**2).mean()
    core = u["extrapolated"][0].values
    assert core[0]
    assert (np.diff(u["potential"][0].values[: np.flatnonzero(~core)[0] + 1]) < 0.0).all()


def test_an_exact_distribution_gives_the_potential_back_and_a_core_that_goes_on_as_steep_as_it_is() -> None:
    r = np.arange(0.005, 1.0, 0.01)
    g = np.exp(-lennard_jones(r) / KT)
    sampled = g > 0.01
    given = xr.Dataset({"rdf": (("pair", "r"), [np.where(sampled, g, 0.0)])}, {"pair": ["A-A"], "r": r})
    energy = potential_of_mean_force(given, temperature=T)["potential"][0].values
    np.testing.assert_allclose(energy[sampled], lennard_jones(r)[sampled], atol=1e-9)
    first = int(sampled.argmax())
    assert (np.diff(energy[: first + 1]) < 0.0).all()
    assert (np.diff(energy[: first + 1], 2) > -1e-9).all()
    true = lennard_jones(r[first - 1]) - lennard_jones(r[first])
    assert energy[first - 1] - energy[first] == pytest.approx(true, rel=0.5)


def test_the_pmf_of_an_ideal_gas_of_any_size_is_zero_within_errors() -> None:
    for particles in (2, 12):
        x = np.random.default_rng(1).uniform(0.0, 2.0, (4_000, particles, 3))
        u = potential_of_mean_force(cgstore.rdf(pairs(x, 2.0), r_max=1.0, bin_width=0.05), temperature=T)
        z = (u["pmf"] / u["pmf_error"]).values
        assert 0.4 < np.nanmean(z**2) < 1.8


def bond_of(k: float, *, noise: int | None = None, low: float = 0.2, seed: int = 1) -> xr.Dataset:
    edges = low + 0.002 * np.arange(201)
    fine = np.linspace(edges[:-1], edges[1:], 21).T
    p = (fine**2 * np.exp(-0.5 * k * (fine - 0.4) ** 2 / KT)).mean(axis=1)
    p /= p.sum() * 0.002
    label = {"bond_kind": ["A-A"], "r": 0.5 * (edges[1:] + edges[:-1])}
    if noise is None:
        return xr.Dataset({"bond": (("bond_kind", "r"), [p])}, label)
    count = np.random.default_rng(seed).poisson(p * 0.002 * noise)
    scale = 1.0 / (noise * 0.002)
    names = {"bond": count * scale, "bond_error": np.where(count, np.sqrt(count) * scale, np.nan), "bond_count": count}
    return xr.Dataset({name: (("bond_kind", "r"), [values]) for name, values in names.items()}, label)


def test_a_harmonic_bond_gives_its_force_constant_back() -> None:
    found = potential_of_mean_force(bond_of(8000.0), temperature=T)
    near = abs(found["r"].values - 0.4) < 0.05
    fit = np.polynomial.Polynomial.fit(found["r"].values[near], found["potential"][0].values[near], 2).convert().coef
    assert 2.0 * fit[2] == pytest.approx(8000.0, rel=2e-3)
    assert -0.5 * fit[1] / fit[2] == pytest.approx(0.4, abs=1e-4)
    assert float(found["potential"].min()) == 0.0


def test_a_noisy_harmonic_bond_is_smooth_and_goes_on_as_a_parabola_where_nothing_was_sampled() -> None:
    found = potential_of_mean_force(bond_of(8000.0, noise=100_000), temperature=T)
    r, u = found["r"].values, found["potential"][0].values
    assert (~found["extrapolated"][0].values).sum() < 100
    near = abs(r - 0.4) < 0.09  # the outer half of it was not sampled
    np.testing.assert_allclose(u[near], 4000.0 * (r[near] - 0.4) ** 2, rtol=0.3, atol=0.4)
    assert (np.diff(u[r > 0.46]) > 0.0).all()
    assert (np.diff(u[r < 0.34]) < 0.0).all()


def test_errors_of_the_pmf_cover_the_truth_in_two_thirds_of_repetitions() -> None:
    inside = []
    for seed in range(60):
        found = potential_of_mean_force(bond_of(8000.0, noise=20_000, seed=seed), temperature=T)
        centre = abs(found["r"].values - 0.4) < 0.03
        exact = potential_of_mean_force(bond_of(8000.0), temperature=T)
        shift = np.median((found["pmf"] - exact["pmf"])[0].values[centre])
        z = (found["pmf"][0] - exact["pmf"][0] - shift).values / found["pmf_error"][0].values
        inside.append(abs(z[centre]) < 1.0)
    assert 0.63 < np.mean(inside) < 0.75


def test_free_angles_and_dihedrals_have_a_constant_potential() -> None:
    theta, phi = np.arange(0.5, 180.0), np.arange(-179.0, 180.0, 2.0)
    edges = np.radians(np.arange(181.0))
    free = xr.Dataset(
        {
            "angle": (("angle_kind", "theta"), [(np.cos(edges[:-1]) - np.cos(edges[1:])) / 2.0]),
            "dihedral": (("dihedral_kind", "phi"), [np.full(180, 1.0 / 360.0)]),
        },
        {"angle_kind": ["A-B-A"], "theta": theta, "dihedral_kind": ["A-B-B-A"], "phi": phi},
    )
    for kind in ("angle", "dihedral"):
        u = potential_of_mean_force(free, temperature=T, kind=kind)["potential"]
        np.testing.assert_allclose(u, 0.0, atol=1e-9)
    with pytest.raises(InputError, match="say which with `kind`"):
        potential_of_mean_force(free, temperature=T)


def gas(values: list[list[float]], kinds: list[str]) -> xr.Dataset:
    r = 0.05 + 0.1 * np.arange(len(values[0]))
    return xr.Dataset({"rdf": (("pair", "r"), np.array(values, float))}, {"pair": kinds, "r": r})


def test_a_kind_that_was_never_sampled_is_named_and_one_without_pairs_stays_unknown() -> None:
    with pytest.raises(PhysicsError, match=r"rdf of A-B is all zero.*leave the kind out"):
        potential_of_mean_force(gas([[0, 1, 1, 1, 1], [0] * 5], ["A-A", "A-B"]), temperature=T)
    with pytest.raises(PhysicsError, match="A-A is sampled in 2 of 5 bins"):
        potential_of_mean_force(gas([[0, 0, 0, 1, 1]], ["A-A"]), temperature=T)
    with pytest.raises(PhysicsError, match=r"-1 for A-A at r = 0.25 nm"):
        potential_of_mean_force(gas([[0, 1, -1, 1, 1]], ["A-A"]), temperature=T)
    with pytest.raises(PhysicsError, match="temperature of 0"):
        potential_of_mean_force(gas([[0, 1, 1, 1, 1]], ["A-A"]), temperature=0.0)
    u = potential_of_mean_force(gas([[0, 1, 1, 1, 1], [np.nan] * 5], ["A-A", "NP-NP"]), temperature=T)
    assert u["potential"].sel(pair="NP-NP").isnull().all()
    assert u["potential"].sel(pair="A-A").notnull().all()
