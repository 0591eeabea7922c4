"""Models of simple liquids, on gases whose g(r) is known in closed form: g = exp(−u/kT)."""

import json
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from cgstore.cli.app import main
from cgstore.errors import InputError, IntegrityError, PhysicsError
from cgstore.learn.liquid.denoiser import Snapshots, snapshots_of_table, train_denoiser
from cgstore.learn.liquid.features import SCALINGS, Curves, contact_distance, noisier, seen
from cgstore.learn.liquid.model import LEVELS, SHIPPED, calibrated, read_model
from cgstore.learn.liquid.rows import Rows, rows_of_table
from cgstore.learn.liquid.settings import is_liquid_fit
from cgstore.learn.liquid.training import Ensemble, batches_of, deviations, train_model
from cgstore.learn.liquid.validation import CHECKED, LiquidValidation, score
from cgstore.units import BOLTZMANN

R = 0.25 + 0.005 * np.arange(251)


def gas(sigma, epsilon, temperature, density, *, noise=0.02, seed=0):
    """Dilute Lennard-Jones gases with independent errors."""
    x = (np.asarray(sigma)[:, None] / R) ** 6
    exact = np.exp(-4.0 * np.asarray(epsilon)[:, None] * (x**2 - x) / (BOLTZMANN * np.asarray(temperature)[:, None]))
    error = noise * np.sqrt(exact) * np.ones_like(exact)
    g = np.maximum(exact + error * np.random.default_rng(seed).standard_normal(exact.shape), 0.0)
    return Rows(Curves.of(R, g, error, temperature, density), np.stack([sigma, epsilon], 1))


def many(count, seed, *, temperatures=(200.0, 400.0), noise=0.02):
    rng = np.random.default_rng(seed)
    spread = [rng.uniform(a, b, count) for a, b in ((0.3, 0.45), (0.8, 2.5), temperatures, (0.5, 2.0))]
    return gas(*spread, noise=noise, seed=seed + 1)


@pytest.fixture(scope="module")
def model():
    rows = many(300, 1)
    ensemble = Ensemble(components=6, hidden=(32, 32), members=3, epochs=60, batch_size=50, noise=2.0)
    return train_model(batches_of(300, 50, 1), rows, many(200, 3), ensemble, seed=1, about={"name": "gas"})


def test_it_finds_sigma_and_epsilon_with_errors_that_hold(model):
    found, outside, lines = score(model, many(400, 5), [f"s{n}" for n in range(400)])
    assert [row.parameter for row in found] == ["sigma", "epsilon"]
    assert found[0].mape < 0.01
    assert found[1].mape < 0.03
    for row in found:
        # two binomial errors of 400 systems, two of the 200 that it was calibrated with
        assert np.abs(np.array(row.coverage) - CHECKED).max() < 0.09
    assert outside < 0.1
    assert len(lines) == 400


def test_without_units_it_holds_at_temperatures_and_sizes_that_it_never_saw(model):
    cold = many(100, 7)
    c = cold.curves
    hot = Curves.of(R, c.g, c.error, 3.0 * c.temperature, c.density)  # the same g at three times kT: three times ε
    once, thrice = model.predict(c), model.predict(hot)
    np.testing.assert_allclose(thrice.epsilon, 3.0 * once.epsilon, rtol=1e-9)
    np.testing.assert_allclose(thrice.sigma, once.sigma, rtol=1e-9)
    with pytest.raises(InputError, match="the model takes 251"):
        model.predict(Curves.of(R[:-1], c.g[:, :-1], c.error[:, :-1], c.temperature, c.density))


def test_noisier_curves_get_larger_errors_that_still_hold(model):
    noisy = many(400, 9, noise=0.04)
    quiet, loud = model.predict(many(400, 9).curves), model.predict(noisy.curves)
    assert np.median(loud.epsilon_error / quiet.epsilon_error) > 1.5
    assert (
        0.6
        < np.sqrt((deviations(model, noisy) ** 2).mean()) / np.sqrt((deviations(model, many(400, 9)) ** 2).mean())
        < 1.6
    )


def test_what_it_was_not_trained_on_is_said(model):
    usual = many(200, 11)
    assert np.mean([bool(words) for words in model.predict(usual.curves).outside]) < 0.1
    hot = gas(*([value] for value in (0.34, 1.0, 3000.0, 1.0)))
    assert "kT/ε is" in " ".join(model.predict(hot.curves).outside[0])
    c = usual.take(np.arange(1)).curves
    dense = Curves.of(R, c.g, c.error, c.temperature, 40.0 * c.density)
    assert any("ρσ³" in words for words in model.predict(dense).outside[0])
    shoulder = c.g + 0.8 * np.exp(-(((R - 0.62) / 0.03) ** 2))
    strange = model.predict(Curves.of(R, shoulder, c.error, c.temperature, c.density))
    assert any("not that of such a liquid" in words for words in strange.outside[0])


def test_a_model_is_what_was_written(model, tmp_path):
    np.savez(tmp_path / "model.npz", **model.arrays())
    again, curves = read_model(tmp_path / "model.npz"), many(20, 13).curves
    np.testing.assert_allclose(again.predict(curves).sigma, model.predict(curves).sigma, rtol=1e-5)
    np.testing.assert_allclose(again.predict(curves).epsilon_error, model.predict(curves).epsilon_error, rtol=1e-4)
    assert again.about == {"name": "gas"}
    (tmp_path / "broken.npz").write_bytes((tmp_path / "model.npz").read_bytes()[:-2000])
    with pytest.raises(IntegrityError, match="not a model of liquids"):
        read_model(tmp_path / "broken.npz")
    with pytest.raises(InputError, match="no such file"):
        read_model(tmp_path / "none.npz")


def test_contact_is_where_g_rises_to_a_half_and_scalings_see_the_same_liquid_alike():
    rise = 1.0 / (1.0 + np.exp(-(R - 0.4) / 0.01))
    assert contact_distance(R, rise[None])[0] == pytest.approx(0.4, abs=1e-4)
    small = gas([0.30], [1.2], [300.0], [1.0], noise=0.0)
    large = gas([0.36], [1.2 * 1.1], [330.0], [1.0 / 1.2**3], noise=0.0)
    one, two = (seen(rows.curves, "contact") for rows in (small, large))
    np.testing.assert_allclose(one.curve, two.curve, atol=0.02)
    np.testing.assert_allclose(one.state[:, 0], two.state[:, 0], atol=0.01)
    assert two.length / one.length == pytest.approx(1.2, abs=0.002)
    assert {seen(small.curves, scaling).curve.shape[1] for scaling in SCALINGS} == {102, 101, 251}


def test_noise_is_as_large_as_it_says_and_unknown_g_is_refused():
    rows = gas([0.34] * 500, [1.0] * 500, [300.0] * 500, [1.0] * 500, noise=0.0)
    error = np.full((500, 251), 0.1)
    curves = replace(rows.curves, error=error)
    loud = noisier(curves, np.full(500, 2.0), np.random.default_rng(1))
    there = rows.curves.g[0] > 0.9
    assert (loud.g - curves.g)[:, there].std() == pytest.approx(0.2, rel=0.02)
    np.testing.assert_allclose(loud.error, 0.1 * 5**0.5)
    g = curves.g.copy()
    g[:, 100:] = np.nan
    with pytest.raises(PhysicsError, match="not known up to"):
        seen(replace(curves, g=g), "contact")
    with pytest.raises(InputError, match="unequal steps"):
        Curves.of(R**2, curves.g, error, curves.temperature, curves.density)


def test_intervals_come_from_ranks():
    z = np.abs(np.random.default_rng(2).standard_t(4, (1000, 2)))
    widths = calibrated(z)
    for level, width in zip(LEVELS, widths[0], strict=True):
        assert (z[:, 0] <= width).mean() == pytest.approx(level, abs=0.002)


def table_of(rows, names):
    count = len(rows)
    c = rows.curves
    few = noisier(
        Curves.of(
            R, np.repeat(c.g, 4, 0), np.repeat(c.error, 4, 0), *(np.repeat(a, 4) for a in (c.temperature, c.density))
        ),
        np.full(4 * count, 6.0),
        np.random.default_rng(1),
    )
    return xr.Dataset(
        {
            "rdf": (("system", "rdf_r"), c.g),
            "rdf_error": (("system", "rdf_r"), c.error),
            "snapshots": (("system", "snapshots_snapshot", "snapshots_r"), few.g.reshape(count, 4, -1)),
            "temperature": ("system", c.temperature),
            "number_density": ("system", c.density),
            "parameters": (("system", "parameters_parameter"), rows.truth),
        },
        {"system": names, "rdf_r": R, "snapshots_r": R, "parameters_parameter": ["sigma", "epsilon"]},
    )


def test_rows_of_a_table_keep_their_names_and_lacking_values_are_said():
    rows, names = many(6, 1), [f"lj_{n}/r1/cg" for n in range(6)]
    table = table_of(rows, names)
    some = rows_of_table(table, [names[4], names[1]])
    np.testing.assert_array_equal(some.truth, rows.truth[[4, 1]])
    np.testing.assert_array_equal(some.curves.g, rows.curves.g[[4, 1]])
    table["temperature"][2] = np.nan
    with pytest.raises(InputError, match="lj_2/r1/cg: lacks a value"):
        rows_of_table(table, names)
    with pytest.raises(InputError, match="no parameter 'sigma'"):
        rows_of_table(table.assign_coords(parameters_parameter=["a", "epsilon"]), names)


def test_a_denoiser_is_nearer_to_the_mean_than_its_snapshots_with_errors_of_the_right_size():
    names = [f"s{n}" for n in range(160)]
    whole = snapshots_of_table(table_of(many(160, 1, noise=0.01), names), names)
    learned = train_denoiser(
        whole.take(np.arange(120)), components=8, hidden=(32,), members=2, epochs=150, batch_size=60
    )
    new = whole.take(np.arange(120, 160))
    flat = Snapshots(R, new.noisy, new.mean, new.state)
    g, error = learned.apply(flat.noisy[:, 0], flat.state)
    noise = np.abs(flat.noisy[:, 0] - flat.mean).mean()
    left = np.abs(g - flat.mean)
    assert left.mean() < 0.5 * noise
    peak = flat.mean > 1.1
    assert 0.4 < np.sqrt((left[peak] ** 2).mean() / (error[peak] ** 2).mean()) < 2.0


def test_a_fit_file_says_its_kind(tmp_path):
    file = tmp_path / "fit.toml"
    assert not is_liquid_fit(file)
    file.write_text('name = "x"\n[model]\nkind = "liquid_state"\n')
    assert is_liquid_fit(file)
    assert is_liquid_fit(tmp_path)
    file.write_text('name = "x"\n[potential]\nkind = "atomic"\n')
    assert not is_liquid_fit(file)


def test_a_verdict_says_what_was_missed():
    found, outside, _ = score_of(0.02)
    good = LiquidValidation("lj", "heldout", 0.044, 0.05, found, outside)
    bad = LiquidValidation("lj", "heldout", 0.01, 0.05, found, outside)
    assert "outside its tolerances" in bad.verdict
    assert not bad.passed
    assert good.to_dict()["rows"][0]["parameter"] == "sigma"


def score_of(noise):
    rows = many(60, 21, noise=noise)
    ensemble = Ensemble(components=5, hidden=(16,), members=2, epochs=10, batch_size=30)
    small = train_model(batches_of(60, 30, 1), rows, many(40, 22), ensemble, seed=1, about={})
    return score(small, many(40, 23), [str(n) for n in range(40)])


@pytest.mark.skipif(not SHIPPED.is_file(), reason="the model is not in this copy")
def test_the_shipped_model_answers_for_methane(tmp_path, capsys):
    import cgstore

    for name in ("methane_112k", "methane_150k"):
        cgstore.ingest(f"ingest/recipes/{name}.toml", archive="archive", store=tmp_path / "store", jobs=1)
    store = str(tmp_path / "store")
    assert main(["invert", "methane_150k/r1/cg", "--pair", "CH4", "CH4", "--store", store, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    low, high = answer["sigma_interval"]
    assert low < answer["sigma"] < high
    assert 0.36 < answer["sigma"] < 0.46
    assert answer["outside"]  # no Lennard-Jones fluid has the g of molecules
    assert answer["closest"]["rmsd"] > 2 * answer["closest"]["noise"]
    assert 0.36 < answer["closest"]["sigma"] < 0.42
    assert main(["invert", "methane_150k/r1/cg", "--pair", "CH4", "CH3", "--store", store]) == 2
    assert "CH3" in capsys.readouterr().err
    assert SHIPPED.stat().st_size < 2_000_000
