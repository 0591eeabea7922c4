"""Figures of what moves or is layered: maps, series of membranes, order along chains, displacements."""

from typing import Any

import numpy as np
import pytest
import xarray as xr

from cgstore.plot import figure_of


def words(figure) -> list[str]:
    """Return what the legends say."""
    legends = [*figure.legends, *(panel.get_legend() for panel in figure.axes if panel.get_legend())]
    return [text.get_text() for legend in legends for text in legend.get_texts()]


def test_a_map_has_a_panel_and_a_colour_bar_per_type_and_a_chosen_one_its_unit_beside_it(toy: Any) -> None:
    every, one = figure_of(toy.around(), "map"), figure_of(toy.around(), "map", "W")
    assert [panel.get_title() for panel in every.axes] == ["AU", "W", "", ""]
    panel, bar = one.axes
    assert (panel.get_title(), bar.get_ylabel(), one.get_supxlabel(), one.get_supylabel()) == (
        "W", "number density / nm⁻³", "z / nm", "r / nm",
    )  # fmt: skip
    colours = panel.collections[0].get_array()
    np.testing.assert_allclose(colours, toy.around()["map"].sel(type="W").values)


def test_a_series_has_its_mean_and_a_band_one_error_wide_or_says_that_it_is_not_known(toy: Any) -> None:
    panel = figure_of(toy.series(0.01), "area").axes[0]
    corners = panel.patches[0].get_extents().transformed(panel.transData.inverted())
    assert (corners.y0, corners.y1) == (pytest.approx(0.62), pytest.approx(0.64))
    assert words(panel.figure) == ["each frame", "mean (0.630 ± 0.010) nm²"]
    unknown = figure_of(toy.series(np.nan), "area")
    assert words(unknown)[1] == "mean 0.63 nm², error not known: too short a run"
    assert not unknown.axes[0].patches


def test_leaflets_are_drawn_where_they_differ_and_a_long_run_as_means_over_nanoseconds(toy: Any) -> None:
    result = toy.series()
    result["leaflet_area_per_lipid_series"] = result["leaflet_area_per_lipid_series"] * [1.0, 1.1]
    assert words(figure_of(result, "area"))[2:] == ["upper leaflet", "lower leaflet"]
    frames = 4000
    long = xr.Dataset(
        {"thickness": 3.4, "thickness_error": 0.1, "thickness_series": ("frame", np.arange(frames) % 4.0)},
        {"time": ("frame", 10.0 * np.arange(frames))},
    )
    panel = figure_of(long, "thickness").axes[0]
    assert panel.get_xlabel() == "t / ns"
    assert words(panel.figure)[0] == "each frame, means of 4 frames"
    np.testing.assert_allclose(panel.lines[0].get_ydata(), 1.5)
    np.testing.assert_allclose(panel.lines[0].get_xdata()[:2], [0.015, 0.055])


def test_every_kind_of_lipid_has_its_tilt_in_a_panel(toy: Any) -> None:
    figure = figure_of(toy.series(), "tilt")
    assert words(figure) == [
        "DMPC", "mean (20.000 ± 0.010)°", "CHL1", "mean 25°, error not known: too short a run",
    ]  # fmt: skip


def test_order_is_drawn_per_chain_with_the_larger_error_and_hollow_where_none_is_known(toy: Any) -> None:
    result = toy.order()
    result["order_parameter_lipid_error"][0] = 0.05
    panel = figure_of(result, "order").axes[0]
    assert words(panel.figure) == [
        "DMPC chain 1", "DMPC chain 1, error not known", "DMPC chain 2", "other carbons",
    ]  # fmt: skip
    first = panel.lines[0]
    np.testing.assert_allclose(first.get_ydata(), 0.2 - 0.01 * np.arange(2, 9))
    (low, high) = panel.containers[0].lines[2][0].get_segments()[0][:, 1]
    assert high - low == pytest.approx(0.1)


def test_order_of_bonds_is_drawn_by_their_names() -> None:
    result = xr.Dataset(
        {"bond_order": ("bond_kind", [0.4, -0.1]), "bond_order_error": ("bond_kind", [0.01, 0.02])},
        {"bond_kind": ["A-B", "B-C"], "molecule_kind": ("bond_kind", ["DMPC", "DMPC"])},
    )
    panel = figure_of(result, "order").axes[0]
    assert [tick.get_text() for tick in panel.get_xticklabels()] == ["A-B", "B-C"]


@pytest.mark.parametrize("dims", ["xyz", "xy"])
def test_the_line_of_the_coefficient_lies_on_the_displacements_in_its_window(toy: Any, dims: str) -> None:
    figure = figure_of(toy.displacements(dims), "msd")
    panel = figure.axes[0]
    assert (panel.get_xscale(), panel.get_yscale()) == ("log", "log")
    assert words(figure) == [
        "A: D = (1.000 ± 0.050)·10⁻³ nm²/ps", "B: no D, too few frames", "hollow: error not known",
    ]  # fmt: skip
    (line,) = [line for line in panel.lines if line.get_linewidth() == 2.5]
    t = line.get_xdata()
    assert (t[0], t[-1]) == (pytest.approx(2.0), pytest.approx(16.0))
    np.testing.assert_allclose(line.get_ydata(), 0.02 + 2 * len(dims) * 1e-3 * t)
    assert panel.get_ylabel() == ("MSD / nm²" if dims == "xyz" else "MSD in xy / nm²")


def test_displacements_without_an_error_are_hollow_and_the_others_have_bars(toy: Any) -> None:
    panel = figure_of(toy.displacements(), "msd").axes[0]
    hollow = [line for line in panel.lines if line.get_markerfacecolor() == "white" and len(line.get_xdata())]
    assert [line.get_xdata().tolist() for line in hollow] == [[32.0]]
    bars = [container.lines[2][0].get_segments() for container in panel.containers]
    assert [len(segments) for segments in bars] == [6, 5]
    (low, high) = bars[0][0][:, 1]
    assert (low, high) == (pytest.approx(0.026 - 0.001), pytest.approx(0.026 + 0.001))
