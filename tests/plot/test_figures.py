"""What all figures have in common: formats, units on the axes, panels, titles, helpful refusals, no global state."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from cgstore.averages.flags import warnings_of
from cgstore.errors import NotFound
from cgstore.plot import KINDS, figure_of, save_figure
from cgstore.plot.wording import note_of


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("suffix", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_every_kind_is_written_in_every_format_and_equal_results_give_equal_bytes(
    results: dict[str, xr.Dataset], tmp_path: Path, kind: str, suffix: str, magic: bytes
) -> None:
    first = save_figure(figure_of(results[kind], kind), tmp_path / "new" / f"a.{suffix}").read_bytes()
    second = save_figure(figure_of(results[kind], kind), tmp_path / f"b.{suffix}").read_bytes()
    assert first.startswith(magic)
    assert first == second


@pytest.mark.parametrize(
    ("kind", "x_label", "y_label"),
    [
        ("rdf", "r / nm", "g(r)"),
        ("bond", "r / nm", "p(r) / nm⁻¹"),
        ("dihedral", "φ / °", "p(φ) / (1/°)"),
        ("potential", "r / nm", "U(r) / kJ/mol"),
        ("training", "", "loss"),
        ("improper", "ξ / °", "p(ξ) / (1/°)"),
        ("profile", "z / nm", "number density / nm⁻³"),
        ("area", "t / ps", "area per lipid / nm²"),
        ("thickness", "t / ps", "thickness / nm"),
        ("msd", "t / ps", "MSD / nm²"),
        ("vacf", "", "C(t) / (nm²/ps²)"),
        ("tilt", "", "mean tilt / °"),
        ("order", "number of the carbon in its chain", "$-S_\\mathrm{CD}$"),
        ("validation", "", "g(r)"),
    ],
)
def test_every_axis_has_its_quantity_and_unit(
    results: dict[str, xr.Dataset], kind: str, x_label: str, y_label: str
) -> None:
    panel = figure_of(results[kind], kind).axes[0]
    assert (panel.get_xlabel(), panel.get_ylabel()) == (x_label, y_label)


@pytest.mark.parametrize(
    ("kind", "x_label", "y_label"),
    [
        ("angle", "θ / °", "p(θ) / (1/°)"),
        ("radial_profile", "r / nm", "number density / nm⁻³"),
        ("map", "z / nm", "r / nm"),
        ("pmf", "", "U(r) / kJ/mol"),
    ],
)
def test_panels_share_the_quantity_and_unit_of_their_axes(
    results: dict[str, xr.Dataset], kind: str, x_label: str, y_label: str
) -> None:
    figure = figure_of(results[kind], kind)
    assert (figure.get_supxlabel(), figure.get_supylabel()) == (x_label, y_label)


def test_the_lower_panels_have_their_quantity_and_unit_too(results: dict[str, xr.Dataset]) -> None:
    velocity = figure_of(results["vacf"], "vacf").axes[1]
    assert (velocity.get_xlabel(), velocity.get_ylabel()) == ("t / ps", "⅓ ∫ C dt / (nm²/ps)")
    validation = figure_of(results["validation"], "validation").axes[2]
    assert (validation.get_xlabel(), validation.get_ylabel()) == ("r / nm", "g(r) − reference")
    training = figure_of(results["training"], "training").axes[1]
    assert (training.get_xlabel(), training.get_ylabel()) == ("step", "effective\nsample share")
    assert figure_of(results["covariance"], "covariance").axes[1].get_ylabel() == "correlation of counts"


def test_the_unit_on_the_axis_is_the_one_in_the_attributes(results: dict[str, xr.Dataset]) -> None:
    result = results["rdf"].copy()
    result["r"] = result["r"].assign_attrs(units="pm")
    assert figure_of(result, "rdf").axes[0].get_xlabel() == "r / pm"


def test_a_grid_has_one_panel_per_kind_and_its_labels_once(results: dict[str, xr.Dataset]) -> None:
    figure = figure_of(results["angle"], "angle")
    titles = [panel.get_title() for panel in figure.axes if panel.axison]
    assert titles == [f"A-B{n}" for n in range(7)]
    assert figure.get_supxlabel() == "θ / °"
    assert figure.get_supylabel() == "p(θ) / (1/°)"


def test_one_pair_is_found_in_either_direction(results: dict[str, xr.Dataset]) -> None:
    for pair in ("A-B1", "B1-A"):
        lines = figure_of(results["rdf"], "rdf", pair).axes[0].lines
        assert [line.get_label() for line in lines if not line.get_label().startswith("_")] == ["A-B1"]


def test_the_lower_panel_of_a_validation_shows_model_minus_reference(results: dict[str, xr.Dataset]) -> None:
    result = results["validation"]
    upper, lower = figure_of(result, "validation", "A-B0").axes
    shown = {line.get_label(): line for line in upper.lines}
    assert {"reference", "network", "IBI"} <= set(shown)
    difference = result["rdf"].sel(curve="IBI", pair="A-B0") - result["rdf"].sel(curve="reference", pair="A-B0")
    np.testing.assert_allclose(lower.lines[-1].get_ydata(), difference)


@pytest.mark.parametrize("pairs", [1, 3, 4])
def test_a_validation_shows_every_pair(toy: Any, pairs: int) -> None:
    figure = figure_of(toy.curves("rdf", ["reference", "network"], pairs), "validation")
    assert [panel.get_title() for panel in figure.axes if panel.get_title()] == [f"A-B{n}" for n in range(pairs)]


@pytest.mark.parametrize(
    ("kind", "pair", "message"),
    [
        ("rdv", None, 'no plot of kind "rdv"; did you mean "rdf"?'),
        ("rdf", "A-B11", 'toy/r1/cg has no pair "A-B11"; did you mean "A-B1"?'),
        ("rdf", "X", 'toy/r1/cg has no pair "X"; known are A-B0, A-B1'),
        ("bond", None, "toy/r1/cg has no bond: nothing of this kind was found in it"),
    ],
)
def test_an_unknown_kind_or_pair_is_answered_with_what_there_is(
    results: dict[str, xr.Dataset], kind: str, pair: str | None, message: str
) -> None:
    with pytest.raises(NotFound) as error:
        figure_of(results["rdf"], kind, pair)
    assert str(error.value) == message


def test_drawing_leaves_the_settings_of_matplotlib_alone_and_never_loads_pyplot() -> None:
    program = """
import sys, tempfile, pathlib
import numpy as np, xarray as xr, matplotlib
# Reading the key `backend` would load pyplot.
settings = lambda: {key: matplotlib.rcParams[key] for key in matplotlib.rcParams if key != 'backend'}
before = settings()
from cgstore.plot import figure_of, save_figure
r = np.arange(0.0, 1.0, 0.1)
result = xr.Dataset({"rdf": (("pair", "r"), np.ones((1, 10)))}, coords={"pair": ["A-A"], "r": r})
with tempfile.TemporaryDirectory() as folder:
    save_figure(figure_of(result, "rdf"), pathlib.Path(folder) / "a.svg")
assert settings() == before
assert "matplotlib.pyplot" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_title_says_what_is_wrong_with_the_run_in_a_few_words(toy: Any) -> None:
    title = figure_of(toy.flagged(2), "profile").get_suptitle()
    assert title == "Density profile, toy/r1/cg\nfirst 20 ps not equilibrated (T1); drifts: 6.3 errors (T0)"
    assert figure_of(toy.flagged(2), "profile", "T1").get_suptitle().endswith("\nfirst 20 ps not equilibrated")
    assert figure_of(toy.flagged(1), "profile").get_suptitle() == "Density profile, toy/r1/cg"


@pytest.mark.parametrize("drift", [0.0, 4.9, -5.1, 30.0, np.nan])
@pytest.mark.parametrize("late", [0.0, 3.0, np.nan])
@pytest.mark.parametrize("short", [False, True])
def test_a_note_is_made_of_the_same_flags_as_a_warning(drift: float, late: float, short: bool) -> None:
    flags = xr.Dataset(
        {"drift": ("pair", [drift]), "equilibration_frames": ("pair", [late]), "short": ("pair", [short])},
        {"pair": ["A-A"]},
    )
    note, lines = note_of(flags, "pair", ["A-A"]), " ".join(warnings_of(flags, "rdf"))
    assert ("drifts" in note) == ("a drift" in lines)
    assert ("not equilibrated" in note) == ("leave out" in lines)
    assert ("too short" in note) == ("too short" in lines)
