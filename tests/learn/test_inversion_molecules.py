"""Inversion of liquids of molecules whose potentials are known, because the sampler made the reference."""

import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import cgstore
from cgstore.errors import InputError
from cgstore.learn.binned import energies_of, first_model
from cgstore.learn.corrections import by_bins
from cgstore.learn.goal import KINDS, Goal, goal_of
from cgstore.learn.inversion import invert
from cgstore.learn.molecular import Molecular
from cgstore.learn.sampler import sample
from cgstore.learn.settings import Sampling
from cgstore.units import BOLTZMANN

sys.path.insert(0, str(Path(__file__).parent))
import molecules as made

TEMPERATURE = 300.0
TRUE = made.model(pairs={"A-A": made.soft(depth=1.5), "A-B": made.soft(depth=1.0), "B-B": made.soft(depth=2.0)})
TERMS = {"bond A-B", "bond B-B", "angle A-B-B", "dihedral A-B-B-A"}
SHORT = Sampling(equilibrate=0.5, duration=2.0, every=0.5, threads=1)


@pytest.fixture(scope="module")
def chains() -> tuple[xr.DataTree, xr.Dataset]:
    """Return the distributions of a dense liquid of chains ABBA, and frames of it to start from."""
    begin = made.chains(["ABBA"] * 24, 2.1 * np.eye(3), seed=1, replicas=4)
    run = sample(TRUE, begin, temperature=TEMPERATURE, equilibrate=10.0, duration=120.0, every=0.5, seed=1, threads=1)
    pairs = cgstore.rdf(run, r_max=0.9, bin_width=0.02, exclude_bonded=2)
    terms = cgstore.bonded(run, bond_width=0.01, bond_max=0.5, angle_width=4.0, dihedral_width=10.0)
    start = run.isel(frame=np.flatnonzero(np.diff(run["replica"], append=-1)))
    return xr.DataTree.from_dict({"rdf": pairs, "bonded": terms}).compute(), start


def furthest(model: Molecular, goal: Goal) -> dict[str, float]:
    """Return how far each potential is from the true one where it matters, in kT; those of terms but for a constant."""
    found, true, result = energies_of(model, goal), energies_of(TRUE, goal), {}
    for name, part in goal.parts.items():
        kind, bin = goal.dims(name)
        for row in part[kind].values:
            density = part[name].sel({kind: row}).values
            error = (found[name] - true[name])["potential"].sel({kind: row}).values
            if name == "rdf":
                use = (part[bin].values > 0.33) & (part[bin].values < 0.75)
            else:
                use = density > 0.1 * density.max()
                error = error - np.average(error[use], weights=density[use])
            result[f"{name} {row}"] = float(abs(error[use]).max() / (BOLTZMANN * TEMPERATURE))
    return result


@pytest.mark.parametrize("method", ["ibi", "imc", pytest.param("re", marks=pytest.mark.slow)])
def test_potentials_of_pairs_and_terms_are_found_back(method: str, chains: tuple[xr.DataTree, xr.Dataset]) -> None:
    reference, start = chains
    told: list[tuple[int, float, float]] = []
    model, history = invert(
        reference,
        start,
        temperature=TEMPERATURE,
        method=method,
        iterations=4,
        sampling=Sampling(equilibrate=2.0, duration=30.0, every=0.25, threads=1),
        seed=3,
        progress=lambda *numbers: told.append(numbers),
    )
    goal = goal_of(reference, None)
    begun = furthest(first_model(goal, None, temperature=TEMPERATURE, spacing=0.002), goal)
    found = furthest(model, goal)
    assert set(found) == {"rdf A-A", "rdf A-B", "rdf B-B", *TERMS}
    assert max(begun.values()) > 0.6
    assert max(found.values()) < 0.2
    assert np.mean(list(found.values())) < 0.4 * np.mean(list(begun.values()))
    assert list(history.children) == list(KINDS)
    deviation = np.concatenate([history[name]["deviation"].values.T for name in KINDS]).T  # (iteration, kind)
    assert history.attrs["best"] == deviation.mean(axis=1).argmin()
    assert deviation.mean(axis=1).min() < 0.4 * deviation[0].mean()
    np.testing.assert_allclose([number[1] for number in told], deviation.max(axis=1))


def test_the_right_model_is_recognised(chains: tuple[xr.DataTree, xr.Dataset]) -> None:
    reference, start = chains
    sampling = Sampling(equilibrate=1.0, duration=20.0, every=0.25, threads=1)
    model, history = invert(
        reference, start, temperature=TEMPERATURE, guess=TRUE, tolerance=0.06, sampling=sampling, method="imc"
    )
    assert history.sizes["iteration"] == 1
    assert history.attrs["converged"] == 1
    assert max(furthest(model, goal_of(reference, None)).values()) < 0.02


def test_a_kind_that_the_model_never_met_keeps_its_potential(chains: tuple[xr.DataTree, xr.Dataset]) -> None:
    goal = goal_of(chains[0], None)
    before = energies_of(first_model(goal, None, temperature=TEMPERATURE, spacing=0.002), goal)
    found = {name: part.copy(deep=True) for name, part in goal.parts.items()}
    found["rdf"]["rdf"].loc["A-B"] = 0.0
    found["rdf"]["count"].loc["A-B"] = 0
    found["rdf"]["rdf"].loc["B-B"] *= 2.0
    after = by_bins(before, found, goal, temperature=TEMPERATURE, step=1.0, tolerance=0.0)
    change = (after["rdf"]["potential"] - before["rdf"]["potential"]).sel(r=slice(0.4, 0.7))
    assert not change.sel(pair="A-B").values.any()
    assert change.sel(pair="B-B").min() > 0.5 * np.log(2.0) * BOLTZMANN * TEMPERATURE
    unchanged = (after["bond"]["potential"] - before["bond"]["potential"]).sel(r=slice(0.28, 0.32))
    assert abs(unchanged).max() < 1e-6


def test_the_pressure_is_corrected_with_the_structure(chains: tuple[xr.DataTree, xr.Dataset]) -> None:
    reference, start = chains
    sampling = Sampling(equilibrate=1.0, duration=10.0, every=0.1, threads=1)
    options = {"temperature": TEMPERATURE, "guess": TRUE, "sampling": sampling, "tolerance": 1.0}
    _, free = invert(reference, start, **options)
    own, error = float(free["pressure"][0]), float(free["pressure_error"][0])
    wanted = own + 300.0
    assert free.sizes["iteration"] == 1  # nobody asked for a pressure
    model, history = invert(reference, start, pressure=wanted, iterations=3, **options)
    best = history.attrs["best"]
    assert 0.0 < error < 60.0
    assert float(history["pressure"][0]) == own
    assert abs(float(history["pressure"][best]) - wanted) < 150.0
    assert model.pairs["A-A"].energy[250] > TRUE.pairs["A-A"].energy[250]


def test_the_pressure_in_the_plane_is_that_of_x_and_y(chains: tuple[xr.DataTree, xr.Dataset]) -> None:
    reference, start = chains
    options = {"temperature": TEMPERATURE, "guess": TRUE, "sampling": SHORT, "iterations": 0}
    model = first_model(goal_of(reference, None), TRUE, temperature=TEMPERATURE, spacing=0.002)
    run = sample(model, start, temperature=TEMPERATURE, seed=0, **asdict(SHORT))
    along = run["pressure_along"].values.mean(axis=0)
    for membrane, expected in ((False, along.mean()), (True, along[:2].mean())):
        _, history = invert(reference, start, membrane=membrane, **options)
        assert float(history["pressure"][0]) == pytest.approx(expected, rel=1e-9)


def test_references_that_do_not_fit_are_refused(chains: tuple[xr.DataTree, xr.Dataset]) -> None:
    reference, start = chains
    pairs, terms = reference["rdf"].to_dataset(), reference["bonded"].to_dataset()
    options = {"temperature": TEMPERATURE, "iterations": 0, "sampling": SHORT}
    with pytest.raises(InputError, match="a tree of bonded, expected `rdf` and `bonded`"):
        invert(xr.DataTree.from_dict({"bonded": terms}), start, **options)
    silent = xr.DataTree.from_dict({"rdf": pairs.drop_attrs(deep=False), "bonded": terms})
    with pytest.raises(InputError, match="does not say which pairs it leaves out"):
        invert(silent, start, **options)
    named = terms.assign_coords(angle_kind=["A-B-A"])
    with pytest.raises(InputError, match="no table of the angle A-B-B"):
        invert(xr.DataTree.from_dict({"rdf": pairs, "bonded": named}), start, **options)
    more = xr.concat([terms, named], "angle_kind", data_vars="minimal")
    with pytest.raises(InputError, match="has the angle A-B-A, the starting frames have none"):
        invert(xr.DataTree.from_dict({"rdf": pairs, "bonded": more}), start, **options)
