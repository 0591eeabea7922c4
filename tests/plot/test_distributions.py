"""Figures of distributions: bands, rows of colours, potentials of mean force, correlations of counts."""

from typing import Any

import numpy as np
import pytest
import xarray as xr

from cgstore.errors import InputError, PhysicsError
from cgstore.plot import figure_of
from cgstore.plot.maps import correlations
from cgstore.plot.mean_force import mean_force

R = np.arange(0.005, 1.0, 0.01)


def test_the_band_is_one_error_wide_where_the_error_is_known_and_absent_elsewhere(
    results: dict[str, xr.Dataset],
) -> None:
    result = results["rdf"].isel(pair=[0])
    (band,) = figure_of(result, "rdf").axes[0].collections
    corners = np.concatenate([path.vertices for path in band.get_paths()])
    known = R.mean() <= R
    assert corners[:, 0].min() == pytest.approx(R[known][0])
    assert corners[:, 1].max() == pytest.approx((result["rdf"].values[0] + 0.1)[known].max())


def test_the_wall_of_a_potential_is_cut_off_but_not_its_well(results: dict[str, xr.Dataset]) -> None:
    panel = figure_of(results["potential"], "potential").axes[0]
    low, high = panel.get_ylim()
    assert -6 < low < -3.0 < 0 < high < 10
    assert 0.1 < panel.get_xlim()[0] < 0.3


@pytest.mark.parametrize("kind", ["rdf", "bond", "angle", "dihedral", "improper", "profile", "radial_profile", "vacf"])
def test_curves_have_a_band_where_the_error_is_known_and_none_without_errors(
    results: dict[str, xr.Dataset], kind: str
) -> None:
    result = results[kind]
    bare = result.drop_vars([str(name) for name in result.data_vars if str(name).endswith("_error")])
    with_errors, without = figure_of(result, kind), figure_of(bare, kind)
    panels = [panel for panel in with_errors.axes if panel.lines]
    assert all(len(panel.collections) == len([x for x in panel.lines if len(x.get_xdata()) > 2]) for panel in panels)
    assert all(len(path.vertices) for panel in panels for band in panel.collections for path in band.get_paths())
    assert not any(panel.collections for panel in without.axes)
    unknown = result.assign({name: np.nan * result[name] for name in result.data_vars if str(name).endswith("_error")})
    bands = [band for panel in figure_of(unknown, kind).axes for band in panel.collections]
    assert not any(len(path.vertices) for band in bands for path in band.get_paths())


def test_very_many_kinds_are_rows_of_colours_relative_to_their_highest_value(toy: Any) -> None:
    result = toy.distributions("bond", "bond_kind", "r", 70)
    result["bond"][3] = 0.0
    result["bond"][4] = np.nan
    figure = figure_of(result, "bond")
    left, right, bar = figure.axes
    assert (figure.get_supxlabel(), bar.get_xlabel()) == ("r / nm", "p(r), relative to its highest value")
    names = [tick.get_text() for panel in (left, right) for tick in panel.get_yticklabels()]
    assert names == result["bond_kind"].values.tolist()
    colours = np.ma.vstack([panel.collections[0].get_array() for panel in (left, right)])
    assert colours.shape == (70, len(R))
    seen = np.isin(np.arange(70), (3, 4), invert=True)
    np.testing.assert_allclose(colours[seen], (result["bond"] / result["bond"].max("r")).values[seen])
    assert not colours[3].any()
    assert colours.mask[4].all()  # not known is not zero


def test_charges_in_rows_of_colours_keep_their_sign(toy: Any) -> None:
    result = toy.flagged(45)
    result["profile"] = -result["profile"]
    panel = figure_of(result, "profile").axes[0]
    assert panel.collections[0].get_clim() == (-1.0, 1.0)
    assert panel.collections[0].get_array().min() == -1.0
    assert panel.get_xlim() == pytest.approx((-0.95, 0.95))


def test_of_very_many_maps_the_densest_are_drawn_and_the_title_says_so(toy: Any) -> None:
    one = toy.around().isel(type=[0])
    many = xr.concat([one.assign(map=one["map"] * n).assign_coords(type=[f"T{n}"]) for n in range(20)], "type")
    figure = figure_of(many, "map")
    titles = [panel.get_title() for panel in figure.axes if panel.get_title()]
    assert titles == [f"T{n}" for n in range(8, 20)]
    assert figure.get_suptitle().endswith("12 densest of 20 kinds")


def test_too_many_potentials_of_mean_force_ask_for_a_name(toy: Any) -> None:
    with pytest.raises(
        InputError, match="has 41 potentials of mean force, and a figure has room for 40; name one, A-B"
    ):
        figure_of(mean_force(toy.liquid(41), "rdf"), "pmf")


def test_potentials_of_mean_force_are_dashed_where_nothing_was_measured(toy: Any) -> None:
    result = mean_force(toy.liquid(1), "rdf")
    panel = figure_of(result, "pmf").axes[0]
    measured, smooth, beyond = panel.lines[:3]
    assert (smooth.get_linestyle(), beyond.get_linestyle()) == ("-", "--")
    r = beyond.get_xdata()[np.isfinite(beyond.get_ydata())]
    assert r.max() == pytest.approx(0.305)  # joined with the first bin that was measured
    assert np.isfinite(measured.get_ydata()).sum() == np.isfinite(smooth.get_ydata()).sum() == (R >= 0.3).sum()
    kT = 0.0083144626 * 300.0
    np.testing.assert_allclose(measured.get_ydata()[-1], -kT * np.log(toy.liquid(1)["rdf"].values[0, -1]), rtol=1e-6)


def test_a_pmf_needs_a_temperature_and_leaves_out_pairs_that_were_never_seen(toy: Any) -> None:
    cold = toy.liquid()
    del cold.attrs["temperature"]
    with pytest.raises(InputError, match=r"toy/r1/cg has no temperature, and so no potential of mean force"):
        mean_force(cold, "rdf")
    apart = toy.liquid()
    apart["rdf"][1] = 0.0
    assert mean_force(apart, "rdf")["pair"].values.tolist() == ["A-B0"]
    with pytest.raises(PhysicsError, match="A-B1 is all zero"):
        mean_force(apart, "rdf", "B1-A")


def test_correlations_are_those_of_the_counts_without_bins_that_are_never_hit(toy: Any) -> None:
    kept, counts = toy.covariance()
    found = correlations(kept, ["rdf"])
    mine = [0, 1, 2, 3, 4, 6, 7]
    np.testing.assert_allclose(found.matrix, np.corrcoef(counts[:, mine].T), atol=1e-12)
    assert found.kind == ("A-A",) * 4 + ("A-B",) * 3
    assert correlations(kept, ["bond"]).distribution == ("bond",) * 4
    kept["comoment"] = 0 * kept["comoment"]
    with pytest.raises(PhysicsError, match="no count of A-A fluctuates"):
        correlations(kept.isel(part=[0]), ["A-A"])


def test_many_bins_are_added_up_before_they_are_correlated(toy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, counts = toy.covariance(1)
    monkeypatch.setattr("cgstore.plot.maps._CELLS", 6)
    found = correlations(kept, ["A-A", "bond"])  # two cells for each of A-A, A-B and the bond A-B
    sums = [counts[:, [0, 1]], counts[:, [2, 3]], counts[:, [8, 9]], counts[:, [10, 11]]]
    np.testing.assert_allclose(found.matrix, np.corrcoef([part.sum(axis=1) for part in sums]), atol=1e-12)
    np.testing.assert_allclose(found.x, [0.15, 0.35, 0.15, 0.35])
