"""Figures: units on the axes, errors as bands, formats by suffix, helpful refusals, no global state."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from cgstore.errors import InputError, NotFound
from cgstore.plot import KINDS, figure_of, save_figure, save_plot

R = np.arange(0.005, 1.0, 0.01)


def distributions(kind: str, along: str, axis: str, count: int) -> xr.Dataset:
    """Bell curves with an error that is unknown in the first half of the axis."""
    x = R if axis == "r" else np.arange(1.0, 180.0, 2.0)
    y = np.array([np.exp(-(((x - x.mean()) / (0.05 * x[-1] * (n + 1))) ** 2)) for n in range(count)])
    error = np.where(x < x.mean(), np.nan, 0.1)
    return xr.Dataset(
        {kind: ((along, axis), y), f"{kind}_error": ((along, axis), np.broadcast_to(error, y.shape).copy())},
        coords={along: [f"A-B{n}" for n in range(count)], axis: x},
        attrs={"name": "toy/r1/cg"},
    )


def curves(variable: str, names: list[str], pairs: int = 1) -> xr.Dataset:
    """Lennard-Jones curves of growing depth."""
    well = np.array([4 * (n + 1) * ((0.3 / R) ** 12 - (0.3 / R) ** 6) for n in range(len(names))])
    values = np.repeat((well if variable == "energy" else np.exp(-well / 2))[:, None], pairs, axis=1)
    return xr.Dataset(
        {variable: (("curve", "pair", "r"), values), f"{variable}_error": (("curve", "pair", "r"), 0.02 + 0 * values)},
        coords={"curve": names, "pair": [f"A-B{n}" for n in range(pairs)], "r": R},
    )


def training() -> xr.Dataset:
    """A loss that falls."""
    steps = np.arange(1, 30)
    return xr.Dataset(
        {
            "loss": ("iteration", 9.0 / steps),
            "part_loss": (("part", "iteration"), np.array([8.0 / steps, 10.0 / steps])),
            "effective": ("iteration", np.full(29, 0.8)),
        },
        coords={"iteration": steps, "part": ["cold", "hot"]},
    )


RESULTS = {
    "rdf": distributions("rdf", "pair", "r", 2),
    "bond": distributions("bond", "bond_kind", "r", 2),
    "angle": distributions("angle", "angle_kind", "theta", 7),
    "dihedral": distributions("dihedral", "dihedral_kind", "phi", 1),
    "potential": curves("energy", ["network", "IBI", "PMF"]),
    "validation": curves("rdf", ["reference", "network", "IBI"], pairs=2),
    "training": training(),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("suffix", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_every_kind_is_written_in_every_format_and_equal_results_give_equal_bytes(
    tmp_path: Path, kind: str, suffix: str, magic: bytes
) -> None:
    first = save_figure(figure_of(RESULTS[kind], kind), tmp_path / "new" / f"a.{suffix}").read_bytes()
    second = save_figure(figure_of(RESULTS[kind], kind), tmp_path / f"b.{suffix}").read_bytes()
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
    ],
)
def test_every_axis_has_its_quantity_and_unit(kind: str, x_label: str, y_label: str) -> None:
    panel = figure_of(RESULTS[kind], kind).axes[0]
    assert (panel.get_xlabel(), panel.get_ylabel()) == (x_label, y_label)


def test_the_unit_on_the_axis_is_the_one_in_the_attributes() -> None:
    result = RESULTS["rdf"].copy()
    result["r"] = result["r"].assign_attrs(units="pm")
    assert figure_of(result, "rdf").axes[0].get_xlabel() == "r / pm"


def test_a_grid_has_one_panel_per_kind_and_its_labels_once() -> None:
    figure = figure_of(RESULTS["angle"], "angle")
    titles = [panel.get_title() for panel in figure.axes if panel.axison]
    assert titles == [f"A-B{n}" for n in range(7)]
    assert figure.get_supxlabel() == "θ / °"
    assert figure.get_supylabel() == "p(θ) / (1/°)"


def test_the_band_is_one_error_wide_where_the_error_is_known_and_absent_elsewhere() -> None:
    result = RESULTS["rdf"].isel(pair=[0])
    (band,) = figure_of(result, "rdf").axes[0].collections
    corners = np.concatenate([path.vertices for path in band.get_paths()])
    known = R.mean() <= R
    assert corners[:, 0].min() == pytest.approx(R[known][0])
    assert corners[:, 1].max() == pytest.approx((result["rdf"].values[0] + 0.1)[known].max())


def test_one_pair_is_found_in_either_direction() -> None:
    for pair in ("A-B1", "B1-A"):
        lines = figure_of(RESULTS["rdf"], "rdf", pair).axes[0].lines
        assert [line.get_label() for line in lines if not line.get_label().startswith("_")] == ["A-B1"]


def test_the_wall_of_a_potential_is_cut_off_but_not_its_well() -> None:
    panel = figure_of(RESULTS["potential"], "potential").axes[0]
    low, high = panel.get_ylim()
    assert -6 < low < -3.0 < 0 < high < 10
    assert 0.1 < panel.get_xlim()[0] < 0.3


def test_the_lower_panel_of_a_validation_shows_model_minus_reference() -> None:
    result = RESULTS["validation"]
    upper, lower = figure_of(result, "validation", "A-B0").axes
    shown = {line.get_label(): line for line in upper.lines}
    assert {"reference", "network", "IBI"} <= set(shown)
    difference = result["rdf"].sel(curve="IBI", pair="A-B0") - result["rdf"].sel(curve="reference", pair="A-B0")
    np.testing.assert_allclose(lower.lines[-1].get_ydata(), difference)


@pytest.mark.parametrize("pairs", [1, 3, 4])
def test_a_validation_shows_every_pair(pairs: int) -> None:
    figure = figure_of(curves("rdf", ["reference", "network"], pairs), "validation")
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
def test_an_unknown_kind_or_pair_is_answered_with_what_there_is(kind: str, pair: str | None, message: str) -> None:
    with pytest.raises(NotFound) as error:
        figure_of(RESULTS["rdf"], kind, pair)
    assert str(error.value) == message


def test_an_unknown_suffix_is_refused_before_anything_is_computed(tmp_path: Path) -> None:
    class Untouched:
        """An entry that must not be opened."""

        name = "toy/r1/cg"

    with pytest.raises(InputError, match=r'found the suffix "\.gif", expected \.png, \.svg, \.pdf'):
        save_plot(Untouched(), "rdf", output=tmp_path / "g.gif")
    with pytest.raises(NotFound, match='no plot of kind "rdff"; did you mean "rdf"'):
        save_plot(Untouched(), "rdff", output=tmp_path / "g.png")
    assert not list(tmp_path.iterdir())


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
