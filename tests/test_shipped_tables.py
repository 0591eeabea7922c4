"""The tables that ship: they open, they are sealed, and what they hold is physics."""

from pathlib import Path

import numpy as np
import pytest

from cgstore.campaigns.campaign import load_campaign
from cgstore.feature_tables import open_table
from cgstore.feature_tables.storage import content_digest, read_published, tables
from cgstore.units import BOLTZMANN

ROOT = Path(__file__).parents[1]
CATALOGS, CAMPAIGNS = ROOT / "catalogs", ROOT / "ingest" / "campaigns"
SHIPPED = ["lennard_jones", "molecular_liquids", "trimethylpentane"]


def column(table, label):
    """Return one of the parameters (system,)."""
    return table["parameters"].sel(parameters_parameter=label).values


@pytest.mark.parametrize("name", SHIPPED)
def test_tables_are_what_was_published(name):
    published = read_published(CATALOGS, name)
    table = open_table(CATALOGS, name)
    assert published.digest == content_digest(table.drop_attrs())
    assert published.rows == table.sizes["system"] == len(set(table["system"].values.tolist()))
    assert (CATALOGS / "tables" / f"{name}.toml").exists()
    assert published.bytes < 5e6


def test_all_tables_are_listed():
    assert [item.name for item in tables(CATALOGS)] == SHIPPED


def test_lennard_jones_fluids_are_those_of_the_campaign():
    table = open_table(CATALOGS, "lennard_jones").load()
    assert table.sizes["system"] == 1797
    sigma, epsilon, temperature = column(table, "sigma"), column(table, "epsilon"), table["temperature"].values
    soft = np.char.startswith(table["system"].values.astype(str), "lennard_jones_soft")
    assert soft.sum() == 200
    for campaign, of in (("lennard_jones", ~soft), ("lennard_jones_soft", soft)):
        sweep = load_campaign(CAMPAIGNS / f"{campaign}.toml").sweep
        for name, values in (("sigma", sigma[of]), ("epsilon", epsilon[of]), ("temperature", temperature[of])):
            low, high = sweep.values[name]
            assert low <= values.min() < low + 0.05 * (high - low)
            assert high >= values.max() > high - 0.1 * (high - low)
    r, g = table["rdf_r"].values, table["rdf"].values
    # Particles meet at the minimum of the potential, nearer where it is hot or dense; flat peaks are noisy.
    nearest = r[np.nanargmax(g, axis=1)] / sigma
    clear = np.nanmax(g, axis=1) > 1.4
    assert clear.mean() > 0.85
    assert ((nearest > np.where(soft, 0.8, 0.92)) & (nearest < 1.25))[clear].all()
    core = r < (np.where(soft, 0.6, 0.75) * sigma)[:, None]
    assert np.nanmax(np.where(core, g, 0)) == 0
    dilute = (table["number_density"].values * sigma**3 < 0.08) & (BOLTZMANN * temperature > 2 * epsilon)
    assert dilute.sum() >= 5
    # At low density g is exp(−u/kT), to first order in the density.
    shell = (r > 0.9 * sigma[dilute][:, None]) & (r < 1.6 * sigma[dilute][:, None])
    ratio = (sigma[dilute][:, None] / r) ** 6
    ideal = np.exp(-4 * epsilon[dilute][:, None] * (ratio**2 - ratio) / (BOLTZMANN * temperature[dilute][:, None]))
    assert np.sqrt(np.mean((g[dilute] - ideal)[shell] ** 2)) < 0.1


def test_molecular_liquids_have_the_densities_of_the_liquids():
    table = open_table(CATALOGS, "molecular_liquids").load()
    fraction = table["parameters"].sel(parameters_parameter="fraction").values
    species = table["state_component"].values.tolist()
    count = table["composition"].values
    # Liquids at 1 bar or a little more; OPLS-AA methane is a tenth too dense. Setzmann and Wagner 1991, Lemmon and
    # Span 2006; methanol at 298 K has 786 kg/m³.
    expected = {("CH4", 112.0): 426.3, ("CO", 82.0): 793.9, ("F2", 85.0): 1504.5, ("MEOH", 298.15): 786.0}
    found = 0
    for row in range(table.sizes["system"]):
        state = species[int(np.nanargmax(count[row]))], float(table["temperature"][row])
        if fraction[row] == 1.0 and state in expected:
            found += 1
            assert table["mass_density"][row] == pytest.approx(expected[state], rel=0.11)
    assert found == len(expected)
    mixed = table.isel(system=np.flatnonzero(np.char.startswith(table["system"].values.astype(str), "methanol")))
    order = mixed["parameters"].sel(parameters_parameter="fraction").values.argsort()
    assert (np.diff(mixed["number_density"].values[order]) > 0).all()  # of methanols
    # The fewer methanols, the higher their first peak: 20, 40 and 100 % of them.
    assert (np.diff(mixed["rdf"].values.max(axis=1)[order][[1, 2, 4]]) < 0).all()
