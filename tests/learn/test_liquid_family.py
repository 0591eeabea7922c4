"""The family of Lennard-Jones fluids: g at states between those it was learned from, and the one closest to others."""

from pathlib import Path

import numpy as np
import pytest

from cgstore.feature_tables import open_table
from cgstore.learn.liquid.family import Family, calibrated_on, closest, family_of
from cgstore.learn.liquid.features import Curves
from cgstore.learn.liquid.model import read_model
from cgstore.learn.liquid.rows import Rows, rows_of_table
from cgstore.units import BOLTZMANN

ROOT = Path(__file__).parents[2]
R = 0.25 + 0.005 * np.arange(251)


def gases(count, seed, *, noise=0.01):
    """Dilute Lennard-Jones gases, g = exp(−u/kT), with independent errors."""
    rng = np.random.default_rng(seed)
    ends = ((0.3, 0.45), (0.8, 2.5), (200.0, 400.0), (0.5, 2.0))
    sigma, epsilon, temperature, density = (rng.uniform(a, b, count) for a, b in ends)
    x = (sigma[:, None] / R) ** 6
    exact = np.exp(-4.0 * (epsilon / (BOLTZMANN * temperature))[:, None] * (x**2 - x))
    error = noise * np.sqrt(exact)
    g = np.maximum(exact + error * rng.standard_normal(exact.shape), 0.0)
    return Rows(Curves.of(R, g, error, temperature, density), np.stack([sigma, epsilon], 1)), exact


def test_it_tells_g_of_fluids_that_it_has_not_seen_better_than_any_one_run_does():
    family = family_of(gases(300, 1)[0])
    new, exact = gases(50, 2)
    c = new.curves
    told = np.stack([
        family.g(R, sigma=s, epsilon=e, temperature=t, density=d)
        for (s, e), t, d in zip(new.truth, c.temperature, c.density, strict=True)
    ])  # fmt: skip
    near = 3.0 * new.truth[:, :1] > R
    assert np.sqrt(((told - exact)[near] ** 2).mean()) < 0.6 * np.sqrt(((c.g - exact)[near] ** 2).mean())


def test_the_closest_fluid_is_the_true_one_within_its_errors():
    family = calibrated_on(family_of(gases(300, 1)[0]), gases(60, 5)[0])
    new, _ = gases(60, 3)
    found = closest(family, new.curves)
    values = np.array([[one.sigma, one.epsilon] for one in found])
    errors = np.array([[one.sigma_error, one.epsilon_error] for one in found])
    assert np.abs(values / new.truth - 1.0).mean(axis=0) == pytest.approx([0.0, 0.0], abs=0.02)
    assert 0.6 < np.sqrt((((values - new.truth) / errors) ** 2).mean()) < 1.6
    assert np.median([one.rmsd / one.noise for one in found]) == pytest.approx(1.0, abs=0.15)


def test_what_is_no_such_fluid_has_a_closest_one_that_is_told_to_be_far():
    """Square wells: g is e inside, one outside, and no Lennard-Jones gas has that."""
    family = family_of(gases(300, 1)[0])
    g = np.where(R < 0.36, 0.0, np.where(R < 0.54, np.e, 1.0))[None]
    (found,) = closest(family, Curves.of(R, g, 0.01 * np.sqrt(g), [300.0], [1.0]))
    assert found.rmsd > 10 * found.noise
    steps = [(a * found.sigma, b * found.epsilon) for a, b in ((1.02, 1.0), (0.98, 1.0), (1.0, 1.1), (1.0, 0.9))]
    seen = R < 0.9
    far = [
        np.sqrt(((family.g(R, sigma=s, epsilon=e, temperature=300.0, density=1.0) - g[0])[seen] ** 2).mean())
        for s, e in [(found.sigma, found.epsilon), *steps]
    ]
    assert far[0] == min(far) or found.at_limit


def test_units_do_not_matter():
    family = family_of(gases(300, 1)[0])
    row = gases(1, 4)[0].curves
    (here,) = closest(family, row)
    hot = Curves.of(R, row.g, row.error, 2.0 * row.temperature, row.density)
    (there,) = closest(family, hot)
    assert there.epsilon == pytest.approx(2.0 * here.epsilon, rel=1e-6)
    assert there.sigma == pytest.approx(here.sigma, rel=1e-6)


def test_arrays_that_do_not_fit_are_refused():
    arrays = family_of(gases(60, 1)[0]).arrays()
    assert Family.of_arrays(arrays).at(0.05, 2.0).shape == (121,)
    with pytest.raises(ValueError, match="polynomials of shape"):
        Family.of_arrays({**arrays, "coefficients": arrays["coefficients"][:, 1:]})
    with pytest.raises(ValueError, match="not finite"):
        Family.of_arrays({**arrays, "spread": arrays["spread"] * np.nan})


def test_the_shipped_family_has_the_g_of_the_simulated_fluids():
    table = open_table(ROOT / "catalogs", "lennard_jones").load()
    rows = rows_of_table(table, [str(name) for name in table["system"].values])
    family, c = read_model().family, rows.curves
    off = np.array([
        np.sqrt(np.mean((family.g(R, sigma=s, epsilon=e, temperature=t, density=d) - g)[3.0 * s > R] ** 2))
        for (s, e), t, d, g in zip(rows.truth, c.temperature, c.density, c.g, strict=True)
    ])  # fmt: skip
    noise = np.sqrt((c.error**2).mean(axis=1))
    assert np.median(off / noise) < 1.2
    dense = c.density * rows.truth[:, 0] ** 3 > 0.7
    assert dense.sum() > 150
    assert np.quantile(off[dense], 0.95) < 0.03
