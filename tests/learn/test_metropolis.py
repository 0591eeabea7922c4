"""Two samplers that share nothing but the tables agree; and each does what it says."""

import numpy as np
import pytest
import xarray as xr

import cgstore
from cgstore.errors import InputError
from cgstore.frames import Frames
from cgstore.learn.metropolis import metropolis
from cgstore.learn.sampler import sample
from cgstore.learn.samples import settled
from cgstore.tables import Table, table_of

TEMPERATURE, EDGE, COUNT = 180.0, 2.0, 100  # about ρσ³ = 0.5, kT = 1.5 ε
BOX = np.array([[EDGE, 0.0, 0.0], [0.5, EDGE, 0.0], [-0.4, 0.3, EDGE]])


def lj(cutoff: float = 0.85) -> Table:
    r = np.arange(0.22, cutoff + 0.0005, 0.001)
    return table_of(r, 4.0 * 0.996 * ((0.34 / r) ** 12 - (0.34 / r) ** 6), cutoff)


def frames(replicas: int, seed: int = 1) -> Frames:
    grid = np.stack(np.meshgrid(*[np.arange(5)] * 3), -1).reshape(-1, 3)[:COUNT] / 5
    position = (grid + 0.02 * np.random.default_rng(seed).normal(size=(replicas, COUNT, 3))) @ BOX
    boxes = np.repeat(BOX[None], replicas, axis=0).astype(np.float32)
    return Frames(position.astype(np.float32), np.zeros(replicas), np.zeros(replicas, np.int64), box=boxes)


@pytest.fixture(scope="module")
def moves() -> xr.Dataset:
    return metropolis(
        {"A-A": lj()}, frames(4), types=["A"] * COUNT, temperature=TEMPERATURE, equilibrate=300, sweeps=1600, every=4,
        seed=1,
    )  # fmt: skip


@pytest.fixture(scope="module")
def motion() -> xr.Dataset:
    return sample(
        {"A-A": lj()}, frames(4), types=["A"] * COUNT, masses=[39.948] * COUNT, temperature=TEMPERATURE,
        equilibrate=10.0, duration=100.0, every=0.25, seed=2, time_step=0.01,
    )  # fmt: skip


def test_metropolis_moves_and_langevin_motion_have_the_same_structure(moves: xr.Dataset, motion: xr.Dataset) -> None:
    g = [cgstore.rdf(ds, r_max=0.9, bin_width=0.03).compute().sel(pair="A-A") for ds in (moves, motion)]
    error = np.hypot(g[0]["rdf_error"], g[1]["rdf_error"])
    bins = g[0]["rdf"].values > 0.05
    z = ((g[0]["rdf"] - g[1]["rdf"]) / error).values[bins]
    assert float(error.max()) < 0.03
    assert abs(z).max() < 4.5
    assert np.mean(z**2) < 2.5


@pytest.mark.parametrize("name", ["energy", "pressure"])
def test_they_have_the_same_energy_and_pressure(moves: xr.Dataset, motion: xr.Dataset, name: str) -> None:
    means = [ds[name].groupby("replica").mean().values for ds in (moves, motion)]
    error = np.hypot(*(mean.std(ddof=1) / 2.0 for mean in means))
    assert abs(means[0].mean() - means[1].mean()) < 5.0 * error
    assert error < 0.03 * abs(motion[name]).mean()


def test_strides_are_tuned_so_that_four_to_five_of_ten_moves_are_kept(moves: xr.Dataset) -> None:
    assert 0.37 < moves.attrs["kept"] < 0.53
    assert "velocity" not in moves


def test_the_seed_decides_whatever_the_threads() -> None:
    options = {"types": ["A"] * COUNT, "temperature": TEMPERATURE, "equilibrate": 5, "sweeps": 10}
    first, again, other = (
        metropolis({"A-A": lj()}, frames(3), seed=seed, threads=threads, **options)
        for seed, threads in ((1, 1), (1, 3), (2, 1))
    )
    xr.testing.assert_identical(first, again)
    assert not np.array_equal(first["position"], other["position"])
    assert not np.array_equal(first["position"][:10], first["position"][10:20])


def test_bonds_and_senseless_numbers_are_refused() -> None:
    ds = metropolis({"A-A": lj()}, frames(1), types=["A"] * COUNT, temperature=200.0, equilibrate=0, sweeps=2, seed=1)
    bonded = ds.assign(bond=(("bond", "bond_end"), np.array([[0, 1]], np.int32)))
    with pytest.raises(InputError, match="found 1 bonds"):
        metropolis({"A-A": lj()}, bonded, temperature=200.0, equilibrate=0, sweeps=2, seed=1)
    with pytest.raises(InputError, match="every 3; expected positive numbers and every <= sweeps"):
        metropolis({"A-A": lj()}, ds, temperature=200.0, equilibrate=0, sweeps=2, every=3, seed=1)


def test_what_settles_and_what_drifts_is_told_apart(moves: xr.Dataset) -> None:
    assert moves.attrs["drifts"] == 0
    noise = np.random.default_rng(3).normal(size=(2, 400))
    decay = 20.0 * np.exp(-np.arange(400) / 10.0)
    found = settled(noise + decay)
    assert 20 <= found.frame <= 100
    assert not found.drifts
    assert settled(noise + np.linspace(0.0, 2.0, 400)).drifts
    assert settled(np.zeros((1, 4))) == (0, False)
