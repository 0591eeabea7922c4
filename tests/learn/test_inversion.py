"""Inversion of distributions whose potential is known, because the sampler made them."""

import numpy as np
import pytest
import xarray as xr

import cgstore
from cgstore.errors import InputError, PhysicsError
from cgstore.frames import Frames
from cgstore.learn.inversion import deviation, ibi
from cgstore.learn.sampler import sample
from cgstore.tables import Table, interpolate, pmf, table_of
from cgstore.units import BOLTZMANN

# Supercritical and not dense: in a cold liquid, potentials that differ by a ramp of a third of a kT have the same g
# within noise.
TEMPERATURE, EDGE, COUNT = 200.0, 2.6, 108


def lj_table(sigma: float = 0.34, epsilon: float = 1.0) -> Table:
    r = np.arange(0.22, 0.9005, 0.001)
    return table_of(r, 4.0 * epsilon * ((sigma / r) ** 12 - (sigma / r) ** 6), 0.9)


def liquid(tables: dict[str, Table], types: list[str], duration: float) -> xr.Dataset:
    grid = np.stack(np.meshgrid(*[np.arange(5)] * 3), -1).reshape(-1, 3)[:COUNT] * EDGE / 5
    start = Frames(
        np.repeat(grid[None], 4, axis=0).astype(np.float32),
        np.zeros(4),
        np.zeros(4, np.int64),
        box=np.repeat(np.eye(3, dtype=np.float32)[None] * np.float32(EDGE), 4, axis=0),
    )
    return sample(
        tables,
        start,
        types=types,
        masses=[39.9] * COUNT,
        temperature=TEMPERATURE,
        equilibrate=20.0,
        duration=duration,
        every=0.5,
        seed=11,
        time_step=0.01,
    )


def first_frames(ds: xr.Dataset) -> xr.Dataset:
    return ds.isel(frame=np.flatnonzero(np.diff(ds["replica"].values, prepend=-1)))


@pytest.fixture(scope="module")
def argon() -> tuple[xr.Dataset, xr.Dataset]:
    ds = liquid({"A-A": lj_table()}, ["A"] * COUNT, 512.0)
    return cgstore.rdf(ds, r_max=0.9, bin_width=0.01).compute(), first_frames(ds)


def test_the_potential_is_recovered_from_its_distribution(argon: tuple[xr.Dataset, xr.Dataset]) -> None:
    reference, start = argon
    told = []
    tables, history = ibi(
        reference,
        start,
        temperature=TEMPERATURE,
        iterations=6,
        duration=60.0,
        seed=1,
        progress=lambda *numbers: told.append(numbers),
    )
    best = history.attrs["best"]
    rmsd = history["rmsd"].sel(pair="A-A").values
    noise = float((reference["rdf_error"] ** 2).mean() ** 0.5)
    assert noise < 0.01
    assert rmsd[0] > 4.0 * noise
    assert rmsd[best] < 0.5 * rmsd[0]
    assert rmsd[best] == rmsd.min()
    assert [t[0] for t in told] == list(range(history.sizes["iteration"]))
    np.testing.assert_allclose([t[1] for t in told], rmsd)
    r = np.arange(0.33, 0.75, 0.01)
    true = interpolate(lj_table(), r)[0]
    found = interpolate(tables["A-A"], r)[0]
    guess = interpolate(table_of(reference["r"], pmf(reference["rdf"][0], reference["r"], TEMPERATURE), 0.9), r)[0]
    assert abs(found - true).max() < 0.06 * BOLTZMANN * TEMPERATURE
    assert abs(found - true).max() < 0.5 * abs(guess - true).max()
    assert abs(r[found.argmin()] - r[true.argmin()]) < 0.011


def test_a_mixture_is_inverted_for_all_pairs_at_once() -> None:
    types = ["A"] * (COUNT // 2) + ["B"] * (COUNT // 2)
    true = {"A-A": lj_table(), "A-B": lj_table(0.33, 1.3), "B-B": lj_table(0.32, 0.8)}
    ds = liquid(true, types, 256.0)
    reference = cgstore.rdf(ds, r_max=0.9, bin_width=0.02).compute()
    tables, history = ibi(reference, first_frames(ds), temperature=TEMPERATURE, iterations=6)
    assert set(tables) == set(true)
    rmsd = history["rmsd"].transpose("iteration", "pair").values
    best = history.attrs["best"]
    assert rmsd[best].max() < 0.6 * rmsd[0].max()
    assert rmsd[best].mean() == rmsd.mean(axis=1).min()
    depth = {pair: table.energy.min() for pair, table in tables.items()}
    assert depth["A-B"] < depth["A-A"] < depth["B-B"]


def test_the_right_guess_is_recognised_and_returned(argon: tuple[xr.Dataset, xr.Dataset]) -> None:
    reference, start = argon
    tables, history = ibi(
        reference, start, temperature=TEMPERATURE, guess={"A-A": lj_table()}, tolerance=2.0, duration=60.0
    )
    assert history.sizes["iteration"] == 1
    assert history.attrs["best"] == 0
    assert history.attrs["converged"] == 1
    r = np.arange(0.325, 0.84, 0.01)
    np.testing.assert_allclose(interpolate(tables["A-A"], r)[0], interpolate(lj_table(), r)[0], atol=0.02)


def test_the_same_seed_gives_the_same_potential(argon: tuple[xr.Dataset, xr.Dataset]) -> None:
    reference, start = argon
    options = {"temperature": TEMPERATURE, "iterations": 1, "duration": 2.0, "equilibrate": 1.0}
    first, _ = ibi(reference, start, threads=1, **options)
    second, _ = ibi(reference, start, threads=3, **options)
    np.testing.assert_array_equal(first["A-A"].energy, second["A-A"].energy)


def test_deviation_counts_in_units_of_both_errors_and_pairs_bins_by_place() -> None:
    r = np.arange(0.005, 0.1, 0.01)
    rng = np.random.default_rng(1)

    def distribution(g: np.ndarray, error: float, shift: float) -> xr.Dataset:
        return xr.Dataset(
            {"rdf": (("pair", "r"), g), "rdf_error": (("pair", "r"), np.full_like(g, error))},
            coords={"pair": ["A-A"], "r": r + shift},
        )

    g = 1.0 + rng.random((1, 10))
    g[0, :2] = 0.0
    found = deviation(distribution(g + 0.3, 0.3, 1e-15), distribution(g, 0.4, 0.0))
    assert float(found["rmsd"][0]) == pytest.approx(0.3)
    assert float(found["chi2"][0]) == pytest.approx(0.3**2 / (0.3**2 + 0.4**2))
    with pytest.raises(InputError, match="the 10 bins to"):
        deviation(distribution(g, 0.3, 0.02), distribution(g, 0.4, 0.0))


def test_references_that_say_too_little_are_refused(argon: tuple[xr.Dataset, xr.Dataset]) -> None:
    reference, start = argon
    with pytest.raises(PhysicsError, match=r"ends at 0\.9 nm, before the cutoff at 1\.2 nm"):
        ibi(reference, start, temperature=TEMPERATURE, cutoff=1.2)
    with pytest.raises(PhysicsError, match="more frames"):
        ibi(reference * 0.0, start, temperature=TEMPERATURE)
    with pytest.raises(InputError, match=r"expected the result of `cgstore\.rdf`"):
        ibi(reference.drop_vars("rdf_error"), start, temperature=TEMPERATURE)
