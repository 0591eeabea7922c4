"""Inversion of distributions whose potential is known, because the sampler made them."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

import cgstore
from cgstore.errors import InputError, PhysicsError
from cgstore.frames import Frames
from cgstore.inverse.mean_force import potential_of_mean_force
from cgstore.learn.fit import gather, train
from cgstore.learn.inversion import invert
from cgstore.learn.potential_file import read_tables
from cgstore.learn.sampler import sample
from cgstore.learn.settings import Sampling
from cgstore.tables import Table, interpolate, table_of
from cgstore.units import BOLTZMANN

# Supercritical and not dense: in a cold liquid, potentials that differ by a ramp of a third of a kT have the same g
# within noise.
TEMPERATURE, EDGE, COUNT = 200.0, 2.6, 108


def lj_table(sigma: float = 0.34, epsilon: float = 1.0) -> Table:
    r = np.arange(0.22, 0.9005, 0.001)
    return table_of(r, 4.0 * epsilon * ((sigma / r) ** 12 - (sigma / r) ** 6), 0.9)


def sampled(duration: float, equilibrate: float = 5.0, threads: int = 2) -> Sampling:
    return Sampling(equilibrate=equilibrate, duration=duration, every=0.25, threads=threads)


def liquid(tables: dict[str, Table], types: list[str], duration: float, edge: float = EDGE) -> xr.Dataset:
    grid = np.stack(np.meshgrid(*[np.arange(5)] * 3), -1).reshape(-1, 3)[:COUNT] * edge / 5
    start = Frames(
        np.repeat(grid[None], 4, axis=0).astype(np.float32),
        np.zeros(4),
        np.zeros(4, np.int64),
        box=np.repeat(np.eye(3, dtype=np.float32)[None] * np.float32(edge), 4, axis=0),
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


MIXTURE = {"A-A": lj_table(), "A-B": lj_table(0.33, 1.3), "B-B": lj_table(0.32, 0.8)}


@pytest.fixture(scope="module")
def mixture() -> tuple[xr.Dataset, xr.Dataset]:
    ds = liquid(MIXTURE, ["A"] * (COUNT // 2) + ["B"] * (COUNT // 2), 256.0)
    return cgstore.rdf(ds, r_max=0.9, bin_width=0.02).compute(), first_frames(ds)


@pytest.fixture
def liquid_store(request: pytest.FixtureRequest) -> SimpleNamespace:
    """The store of the quick fit; `liquid` is a function here."""
    return request.getfixturevalue("liquid")


def furthest(found: Table, true: Table, *, low: float = 0.33) -> float:
    """Return how far a potential is from the true one where it matters, in kT."""
    r = np.arange(low, 0.75, 0.01)
    return float(abs(interpolate(found, r)[0] - interpolate(true, r)[0]).max() / (BOLTZMANN * TEMPERATURE))


def test_the_potential_is_recovered_from_its_distribution(argon: tuple[xr.Dataset, xr.Dataset]) -> None:
    reference, start = argon
    told = []
    tables, history = invert(
        reference,
        start,
        temperature=TEMPERATURE,
        iterations=6,
        sampling=sampled(60.0),
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
    start_energy = potential_of_mean_force(reference, temperature=TEMPERATURE)["potential"]
    guess = table_of(reference["r"], start_energy[0], 0.9)
    assert furthest(tables["A-A"], lj_table()) < 0.06
    assert furthest(tables["A-A"], lj_table()) < 0.5 * furthest(guess, lj_table())
    r = np.arange(0.33, 0.75, 0.01)
    minimum = [r[interpolate(table, r)[0].argmin()] for table in (tables["A-A"], lj_table())]
    assert abs(np.diff(minimum)[0]) < 0.011


@pytest.mark.slow
def test_in_a_dense_liquid_methods_that_see_all_bins_need_fewer_samples_and_find_the_potential() -> None:
    ds = liquid({"A-A": lj_table()}, ["A"] * COUNT, 400.0, edge=2.0)
    reference, start = cgstore.rdf(ds, r_max=0.9, bin_width=0.02).compute(), first_frames(ds)
    found = {
        method: invert(
            reference,
            start,
            temperature=TEMPERATURE,
            method=method,
            iterations=3,
            tolerance=0.009,
            sampling=sampled(60.0),
            seed=5,
        )
        for method in ("ibi", "imc", "re")
    }
    (boltzmann, slow), (cross, fast), (splines, entropy) = found["ibi"], found["imc"], found["re"]
    for history, method in ((fast, "imc"), (entropy, "re")):
        assert history.attrs["converged"]
        assert history.attrs["method"] == method
        assert history.sizes["iteration"] <= 3  # the guess and two corrections
    assert not slow.attrs["converged"]
    assert float(fast["rmsd"][1, 0]) < 0.6 * float(slow["rmsd"][1, 0])
    for tables in (cross, splines):
        assert furthest(tables["A-A"], lj_table()) < 0.11
        assert furthest(tables["A-A"], lj_table()) < 0.6 * furthest(boltzmann["A-A"], lj_table())


@pytest.mark.parametrize("method", ["ibi", "imc"])
def test_a_mixture_is_inverted_for_all_pairs_at_once(method: str, mixture: tuple[xr.Dataset, xr.Dataset]) -> None:
    reference, start = mixture
    tables, history = invert(
        reference, start, temperature=TEMPERATURE, method=method, iterations=4, sampling=sampled(40.0)
    )
    assert set(tables) == set(MIXTURE)
    rmsd = history["rmsd"].transpose("iteration", "pair").values
    best = history.attrs["best"]
    assert rmsd[best].max() < 0.7 * rmsd[0].max()
    assert rmsd[best].mean() == rmsd.mean(axis=1).min()
    assert max(furthest(tables[pair], true) for pair, true in MIXTURE.items()) < 0.15
    depth = {pair: table.energy.min() for pair, table in tables.items()}
    assert depth["A-B"] < depth["A-A"] < depth["B-B"]


def test_the_right_guess_is_recognised_and_returned(argon: tuple[xr.Dataset, xr.Dataset]) -> None:
    reference, start = argon
    tables, history = invert(
        reference, start, temperature=TEMPERATURE, guess={"A-A": lj_table()}, tolerance=0.012, sampling=sampled(60.0)
    )
    assert history.sizes["iteration"] == 1
    assert history.attrs["best"] == 0
    assert history.attrs["converged"] == 1
    assert furthest(tables["A-A"], lj_table(), low=0.325) < 0.012


@pytest.mark.parametrize("method", ["ibi", "imc"])
def test_the_same_seed_gives_the_same_potential(method: str, argon: tuple[xr.Dataset, xr.Dataset]) -> None:
    reference, start = argon
    first, second = (
        invert(
            reference,
            start,
            temperature=TEMPERATURE,
            method=method,
            iterations=1,
            sampling=sampled(2.0, equilibrate=1.0, threads=threads),
        )[0]
        for threads in (1, 3)
    )
    np.testing.assert_array_equal(first["A-A"].energy, second["A-A"].energy)


def test_a_particle_without_its_like_needs_no_potential_with_itself() -> None:
    types = ["A"] * (COUNT - 1) + ["B"]
    ds = liquid({"A-A": lj_table(), "A-B": lj_table(), "B-B": lj_table()}, types, 40.0)
    reference = cgstore.rdf(ds, r_max=0.9, bin_width=0.03).compute()
    tables, history = invert(
        reference, first_frames(ds), temperature=TEMPERATURE, iterations=1, sampling=sampled(10.0), tolerance=10.0
    )
    assert not tables["B-B"].energy.any()
    assert history.attrs["converged"] == 1
    assert np.isfinite(history["rmsd"].sel(pair=["A-A", "A-B"])).all()


def test_replicas_of_inverse_monte_carlo_share_their_mean_box(argon: tuple[xr.Dataset, xr.Dataset]) -> None:
    _, start = argon
    uneven = start.copy(deep=True)
    for number, scale in enumerate((0.97, 0.99, 1.01, 1.03)):
        for name in ("position", "box"):
            uneven[name][number] *= scale
    frames = Frames(
        start["position"].values, np.zeros(4), np.zeros(4, np.int64), box=uneven["box"].values.astype(np.float32)
    )
    options = {
        "temperature": TEMPERATURE,
        "method": "imc",
        "iterations": 1,
        "sampling": sampled(2.0, equilibrate=1.0),
    }
    one, other = (invert(argon[0], frames, **options)[0]["A-A"] for frames in (start, uneven))
    np.testing.assert_allclose(one.energy[one.r > 0.33], other.energy[one.r > 0.33], atol=0.5)
    with pytest.raises(InputError, match="different boxes"):
        invert(argon[0], frames, types=["A"] * COUNT, masses=[39.9] * COUNT, **options)


def test_references_that_say_too_little_are_refused(argon: tuple[xr.Dataset, xr.Dataset]) -> None:
    reference, start = argon
    with pytest.raises(PhysicsError, match=r"ends at 0\.9 nm, before the cutoff at 1\.2 nm"):
        invert(reference, start, temperature=TEMPERATURE, cutoff=1.2)
    with pytest.raises(PhysicsError, match="more frames"):
        invert(reference * 0.0, start, temperature=TEMPERATURE)
    with pytest.raises(InputError, match=r"expected the result of `cgstore\.rdf`"):
        invert(reference.drop_vars("rdf_error"), start, temperature=TEMPERATURE)
    with pytest.raises(InputError, match="found method 'relent'"):
        invert(reference, start, temperature=TEMPERATURE, method="relent")


def test_a_fit_may_have_inverse_monte_carlo_as_its_baseline(liquid_store: SimpleNamespace, tmp_path: Path) -> None:
    for name in ("fit.toml", "split.toml", "spec.toml"):
        text = (liquid_store.folder / name).read_text().replace("rounds = 5", "rounds = 2")
        (tmp_path / name).write_text(text.replace("[baseline]", '[baseline]\nmethod = "imc"'))
    told = []
    folder = train(
        tmp_path / "fit.toml",
        store=liquid_store.store,
        out=tmp_path / "fit",
        progress=lambda *numbers: told.append(numbers),
    )
    truth, found = liquid_store.truth, read_tables(folder, "imc")["A-A"]
    well = (truth.r > 0.34) & (truth.r < 0.6)
    assert np.array_equal(found.r, truth.r)
    assert abs(found.energy - truth.energy)[well].max() < 0.5  # kJ/mol, of a well of 1
    assert ("imc", 0, 2) in told
    with pytest.raises(InputError, match="there are network, imc"):
        read_tables(folder, "ibi")


def test_saying_the_usual_method_makes_no_other_fit(liquid_store: SimpleNamespace, tmp_path: Path) -> None:
    fits = {}
    for method in ("", 'method = "ibi"\n', 'method = "imc"\n'):
        for name in ("fit.toml", "split.toml", "spec.toml"):
            text = (liquid_store.folder / name).read_text()
            (tmp_path / name).write_text(text.replace("[baseline]\n", f"[baseline]\n{method}"))
        fits[method] = gather(tmp_path / "fit.toml", store=liquid_store.store).meaning()["fit"]
    assert fits[""] == fits['method = "ibi"\n'] != fits['method = "imc"\n']


def test_inverse_monte_carlo_comes_back_from_a_guess_of_another_phase(argon: tuple[xr.Dataset, xr.Dataset]) -> None:
    reference, start = argon
    tables, history = invert(
        reference,
        start,
        temperature=TEMPERATURE,
        method="imc",
        guess={"A-A": lj_table(epsilon=4.0)},  # droplets
        iterations=8,
        sampling=sampled(30.0),
    )
    rmsd = history["rmsd"].values[:, 0]
    assert rmsd[0] > 0.5
    assert rmsd.min() < 0.04
    assert furthest(tables["A-A"], lj_table()) < 0.25
