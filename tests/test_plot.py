"""Figures: units on the axes, errors as bands, formats by suffix, helpful refusals, no global state."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from cgstore.averages.flags import warnings_of
from cgstore.averages.spec import MapSpec, RdfSpec, Spec
from cgstore.catalog import open_catalog
from cgstore.cli.app import main
from cgstore.errors import InputError, NotFound, PhysicsError
from cgstore.ingestion import ingest
from cgstore.plot import KINDS, KINDS_OF_DATASETS, figure_of, save_figure, save_plot
from cgstore.plot.maps import correlations
from cgstore.plot.mean_force import mean_force
from cgstore.plot.wording import note_of

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


def flagged(count: int = 2) -> xr.Dataset:
    """Profiles of particles, the first of which drifts and the second begins far off."""
    z = np.arange(-0.95, 1.0, 0.1)
    y = np.array([np.exp(-((z - 0.3 * n) ** 2)) for n in range(count)])
    return xr.Dataset(
        {
            "profile": (("type", "z"), y, {"units": "1/nm^3", "long_name": "number density"}),
            "profile_error": (("type", "z"), 0.05 + 0 * y),
            "drift": ("type", np.arange(count)[::-1] * 6.3),
            "equilibration": ("type", np.arange(count) * 20.0),
            "equilibration_frames": ("type", np.arange(count) * 4.0),
        },
        {"type": [f"T{n}" for n in range(count)], "z": ("z", z, {"units": "nm"})},
        {"name": "toy/r1/cg"},
    )


def around() -> xr.Dataset:
    """A density that falls with the distance from the axis, of two types."""
    r, z = np.arange(0.05, 1.0, 0.1), np.arange(-1.95, 2.0, 0.1)
    density = np.exp(-r)[None, :, None] * np.array([1.0, 3.0])[:, None, None] * np.ones(len(z))
    attrs = {"units": "1/nm^3", "long_name": "number density"}
    return xr.Dataset({"map": (("type", "r", "z"), density, attrs)}, {"type": ["AU", "W"], "r": r, "z": z})


def series(error: float = 0.01) -> xr.Dataset:
    """A membrane of equal leaflets, and its tilt."""
    area = 0.63 + 0.01 * np.sin(np.arange(50.0))
    return xr.Dataset(
        {
            "area_per_lipid": ((), 0.63, {"units": "nm^2"}),
            "area_per_lipid_error": error,
            "area_per_lipid_series": ("frame", area),
            "leaflet_area_per_lipid_series": (("frame", "leaflet"), np.stack([area, area], 1)),
            "thickness": ((), 3.4, {"units": "nm"}),
            "thickness_error": error,
            "thickness_series": ("frame", 3.4 + 0.1 * np.cos(np.arange(50.0))),
            "tilt": ("molecule_kind", [20.0, 25.0], {"units": "degree"}),
            "tilt_error": ("molecule_kind", [error, np.nan]),
            "tilt_series": (("frame", "molecule_kind"), np.stack([20.0 + 0 * area, 25.0 + area], 1)),
        },
        {"time": ("frame", 10.0 * np.arange(50)), "leaflet": ["upper", "lower"], "molecule_kind": ["DMPC", "CHL1"]},
        {"name": "toy/r1/cg"},
    )


def order() -> xr.Dataset:
    """Two chains of seven carbons, one error of which is not known, and one carbon of the head."""
    number = np.array([*range(2, 9), *range(2, 9), 0])
    error = np.full(15, 0.01)
    error[3] = np.nan
    return xr.Dataset(
        {
            "order_parameter": ("carbon", -0.2 + 0.01 * number),
            "order_parameter_error": ("carbon", error),
            "order_parameter_lipid_error": ("carbon", np.full(15, np.nan)),
        },
        {
            "carbon": [f"C{n}" for n in range(15)],
            "chain": ("carbon", [1] * 7 + [2] * 7 + [0]),
            "number": ("carbon", number),
            "molecule_kind": ("carbon", ["DMPC"] * 15),
        },
    )


def displacements(dims: str = "xyz") -> xr.Dataset:
    """Straight lines with an offset: MSD = 0.02 + 2 d D t; of the second kind there is no coefficient."""
    lag = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])
    msd = 0.02 + 2 * len(dims) * np.array([[1e-3], [2e-3]]) * lag
    return xr.Dataset(
        {
            "msd": (("kind", "lag"), msd, {"units": "nm^2"}),
            "msd_error": (("kind", "lag"), [[0.001] * 6, [0.001] * 5 + [np.nan]]),
            "diffusion": ("kind", [1e-3, np.nan], {"units": "nm^2/ps"}),
            "diffusion_error": ("kind", [5e-5, np.nan]),
            "fit_start": ("kind", [2.0, np.nan]),
            "fit_stop": ("kind", [16.0, np.nan]),
            "reason": ("kind", ["", "too few frames: no window in the first tenth of the run"]),
        },
        {"kind": ["A", "B"], "lag": ("lag", lag, {"units": "ps"})},
        {"dims": dims},
    )


def velocities() -> xr.Dataset:
    """An exponential and its integral."""
    lag = np.arange(0.0, 2.0, 0.1)
    c = np.exp(-lag / 0.3)[None]
    return xr.Dataset(
        {
            "vacf": (("kind", "lag"), c, {"units": "nm^2/ps^2"}),
            "vacf_error": (("kind", "lag"), 0.01 + 0 * c),
            "diffusion": (("kind", "lag"), 0.1 * (1 - c), {"units": "nm^2/ps"}),
            "diffusion_error": (("kind", "lag"), 0.002 + 0 * c),
        },
        {"kind": ["A"], "lag": ("lag", lag, {"units": "ps"})},
    )


def covariance(parts: int = 2) -> tuple[xr.Dataset, np.ndarray]:
    """Counts of two pairs and a bond, of which one bin is never hit."""
    rng = np.random.default_rng(3)
    counts = rng.poisson(8.0, (parts, 40, 12)).astype(float)
    counts[..., 1] += 2.0 * counts[..., 0]
    counts[..., 5] = 0.0
    mean = counts.mean(axis=1)
    step = counts - mean[:, None]
    return xr.Dataset(
        {
            "mean": (("part", "entry"), mean),
            "comoment": (("part", "entry", "other"), np.einsum("pfa,pfb->pab", step, step)),
            "weight": ("part", np.full(parts, 40.0)),
            "square": ("part", np.full(parts, 40.0)),
            "frames": ("part", np.full(parts, 40)),
        },
        {
            "distribution": ("entry", ["rdf"] * 8 + ["bond"] * 4),
            "kind": ("entry", ["A-A"] * 4 + ["A-B"] * 4 + ["A-B"] * 4),
            "x": ("entry", np.tile(0.1 * np.arange(1, 5), 3)),
        },
    ), counts.reshape(-1, 12)


def liquid(count: int = 2) -> xr.Dataset:
    """g(r) with an empty core."""
    g = np.array([np.where(R < 0.3, 0.0, 1.0 + 0.5 * np.cos(20 * R) * np.exp(-3 * R)) for _ in range(count)])
    return xr.Dataset(
        {"rdf": (("pair", "r"), g), "rdf_error": (("pair", "r"), np.where(g > 0, 0.02, np.nan))},
        {"pair": [f"A-B{n}" for n in range(count)], "r": R},
        {"name": "toy/r1/cg", "temperature": 300.0},
    )


RESULTS = {
    "rdf": distributions("rdf", "pair", "r", 2),
    "bond": distributions("bond", "bond_kind", "r", 2),
    "angle": distributions("angle", "angle_kind", "theta", 7),
    "dihedral": distributions("dihedral", "dihedral_kind", "phi", 1),
    "improper": distributions("improper", "improper_kind", "xi", 1),
    "profile": flagged(5),
    "radial_profile": flagged(9).rename(z="r").assign_coords(r=np.arange(0.05, 2.0, 0.1)),
    "map": around(),
    "area": series(),
    "thickness": series(np.nan),
    "tilt": series(),
    "order": order(),
    "msd": displacements(),
    "vacf": velocities(),
    "pmf": mean_force(liquid(), "rdf"),
    "covariance": covariance()[0],
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
def test_every_axis_has_its_quantity_and_unit(kind: str, x_label: str, y_label: str) -> None:
    panel = figure_of(RESULTS[kind], kind).axes[0]
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
def test_panels_share_the_quantity_and_unit_of_their_axes(kind: str, x_label: str, y_label: str) -> None:
    figure = figure_of(RESULTS[kind], kind)
    assert (figure.get_supxlabel(), figure.get_supylabel()) == (x_label, y_label)


def test_the_lower_panels_have_their_quantity_and_unit_too() -> None:
    velocity = figure_of(RESULTS["vacf"], "vacf").axes[1]
    assert (velocity.get_xlabel(), velocity.get_ylabel()) == ("t / ps", "⅓ ∫ C dt / (nm²/ps)")
    validation = figure_of(RESULTS["validation"], "validation").axes[2]
    assert (validation.get_xlabel(), validation.get_ylabel()) == ("r / nm", "g(r) − reference")
    training = figure_of(RESULTS["training"], "training").axes[1]
    assert (training.get_xlabel(), training.get_ylabel()) == ("step", "effective\nsample share")
    assert figure_of(RESULTS["covariance"], "covariance").axes[1].get_ylabel() == "correlation of counts"


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
    with pytest.raises(NotFound, match=r'"flux"; there are rdf, bond, .*, msd, vacf, pmf, covariance$'):
        save_plot(Untouched(), "flux", output=tmp_path / "g.png")
    assert not list(tmp_path.iterdir())


def test_the_help_of_plot_names_every_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plot", "--help"]) == 0
    words = set(re.findall(r"\w+", capsys.readouterr().out))
    assert set(KINDS_OF_DATASETS) <= words


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


def words(figure) -> list[str]:
    """Return what the legends say."""
    legends = [*figure.legends, *(panel.get_legend() for panel in figure.axes if panel.get_legend())]
    return [text.get_text() for legend in legends for text in legend.get_texts()]


def test_the_title_says_what_is_wrong_with_the_run_in_a_few_words() -> None:
    title = figure_of(flagged(2), "profile").get_suptitle()
    assert title == "Density profile, toy/r1/cg\nfirst 20 ps not equilibrated (T1); drifts: 6.3 errors (T0)"
    assert figure_of(flagged(2), "profile", "T1").get_suptitle().endswith("\nfirst 20 ps not equilibrated")
    assert figure_of(flagged(1), "profile").get_suptitle() == "Density profile, toy/r1/cg"


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


def test_a_map_has_a_panel_and_a_colour_bar_per_type_and_a_chosen_one_its_unit_beside_it() -> None:
    every, one = figure_of(around(), "map"), figure_of(around(), "map", "W")
    assert [panel.get_title() for panel in every.axes] == ["AU", "W", "", ""]
    panel, bar = one.axes
    assert (panel.get_title(), bar.get_ylabel(), one.get_supxlabel(), one.get_supylabel()) == (
        "W", "number density / nm⁻³", "z / nm", "r / nm",
    )  # fmt: skip
    colours = panel.collections[0].get_array()
    np.testing.assert_allclose(colours, around()["map"].sel(type="W").values)


def test_a_series_has_its_mean_and_a_band_one_error_wide_or_says_that_it_is_not_known() -> None:
    panel = figure_of(series(0.01), "area").axes[0]
    corners = panel.patches[0].get_extents().transformed(panel.transData.inverted())
    assert (corners.y0, corners.y1) == (pytest.approx(0.62), pytest.approx(0.64))
    assert words(panel.figure) == ["each frame", "mean (0.630 ± 0.010) nm²"]
    unknown = figure_of(series(np.nan), "area")
    assert words(unknown)[1] == "mean 0.63 nm², error not known: too short a run"
    assert not unknown.axes[0].patches


def test_leaflets_are_drawn_where_they_differ_and_a_long_run_as_means_over_nanoseconds() -> None:
    result = series()
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


def test_every_kind_of_lipid_has_its_tilt_in_a_panel() -> None:
    figure = figure_of(series(), "tilt")
    assert words(figure) == [
        "DMPC", "mean (20.000 ± 0.010)°", "CHL1", "mean 25°, error not known: too short a run",
    ]  # fmt: skip


def test_order_is_drawn_per_chain_with_the_larger_error_and_hollow_where_none_is_known() -> None:
    result = order()
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
def test_the_line_of_the_coefficient_lies_on_the_displacements_in_its_window(dims: str) -> None:
    figure = figure_of(displacements(dims), "msd")
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


def test_displacements_without_an_error_are_hollow_and_the_others_have_bars() -> None:
    panel = figure_of(displacements(), "msd").axes[0]
    hollow = [line for line in panel.lines if line.get_markerfacecolor() == "white" and len(line.get_xdata())]
    assert [line.get_xdata().tolist() for line in hollow] == [[32.0]]
    bars = [container.lines[2][0].get_segments() for container in panel.containers]
    assert [len(segments) for segments in bars] == [6, 5]
    (low, high) = bars[0][0][:, 1]
    assert (low, high) == (pytest.approx(0.026 - 0.001), pytest.approx(0.026 + 0.001))


@pytest.mark.parametrize("kind", ["rdf", "bond", "angle", "dihedral", "improper", "profile", "radial_profile", "vacf"])
def test_curves_have_a_band_where_the_error_is_known_and_none_without_errors(kind: str) -> None:
    result = RESULTS[kind]
    bare = result.drop_vars([str(name) for name in result.data_vars if str(name).endswith("_error")])
    with_errors, without = figure_of(result, kind), figure_of(bare, kind)
    panels = [panel for panel in with_errors.axes if panel.lines]
    assert all(len(panel.collections) == len([x for x in panel.lines if len(x.get_xdata()) > 2]) for panel in panels)
    assert all(len(path.vertices) for panel in panels for band in panel.collections for path in band.get_paths())
    assert not any(panel.collections for panel in without.axes)
    unknown = result.assign({name: np.nan * result[name] for name in result.data_vars if str(name).endswith("_error")})
    bands = [band for panel in figure_of(unknown, kind).axes for band in panel.collections]
    assert not any(len(path.vertices) for band in bands for path in band.get_paths())


def test_very_many_kinds_are_rows_of_colours_relative_to_their_highest_value() -> None:
    result = distributions("bond", "bond_kind", "r", 70)
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


def test_charges_in_rows_of_colours_keep_their_sign() -> None:
    result = flagged(45)
    result["profile"] = -result["profile"]
    panel = figure_of(result, "profile").axes[0]
    assert panel.collections[0].get_clim() == (-1.0, 1.0)
    assert panel.collections[0].get_array().min() == -1.0
    assert panel.get_xlim() == pytest.approx((-0.95, 0.95))


def test_of_very_many_maps_the_densest_are_drawn_and_the_title_says_so() -> None:
    one = around().isel(type=[0])
    many = xr.concat([one.assign(map=one["map"] * n).assign_coords(type=[f"T{n}"]) for n in range(20)], "type")
    figure = figure_of(many, "map")
    titles = [panel.get_title() for panel in figure.axes if panel.get_title()]
    assert titles == [f"T{n}" for n in range(8, 20)]
    assert figure.get_suptitle().endswith("12 densest of 20 kinds")


def test_too_many_potentials_of_mean_force_ask_for_a_name() -> None:
    with pytest.raises(
        InputError, match="has 41 potentials of mean force, and a figure has room for 40; name one, A-B"
    ):
        figure_of(mean_force(liquid(41), "rdf"), "pmf")


def test_potentials_of_mean_force_are_dashed_where_nothing_was_measured() -> None:
    result = mean_force(liquid(1), "rdf")
    panel = figure_of(result, "pmf").axes[0]
    measured, smooth, beyond = panel.lines[:3]
    assert (smooth.get_linestyle(), beyond.get_linestyle()) == ("-", "--")
    r = beyond.get_xdata()[np.isfinite(beyond.get_ydata())]
    assert r.max() == pytest.approx(0.305)  # joined with the first bin that was measured
    assert np.isfinite(measured.get_ydata()).sum() == np.isfinite(smooth.get_ydata()).sum() == (R >= 0.3).sum()
    kT = 0.0083144626 * 300.0
    np.testing.assert_allclose(measured.get_ydata()[-1], -kT * np.log(liquid(1)["rdf"].values[0, -1]), rtol=1e-6)


def test_a_pmf_needs_a_temperature_and_leaves_out_pairs_that_were_never_seen() -> None:
    cold = liquid()
    del cold.attrs["temperature"]
    with pytest.raises(InputError, match=r"toy/r1/cg has no temperature, and so no potential of mean force"):
        mean_force(cold, "rdf")
    apart = liquid()
    apart["rdf"][1] = 0.0
    assert mean_force(apart, "rdf")["pair"].values.tolist() == ["A-B0"]
    with pytest.raises(PhysicsError, match="A-B1 is all zero"):
        mean_force(apart, "rdf", "B1-A")


def test_correlations_are_those_of_the_counts_without_bins_that_are_never_hit() -> None:
    kept, counts = covariance()
    found = correlations(kept, ["rdf"])
    mine = [0, 1, 2, 3, 4, 6, 7]
    np.testing.assert_allclose(found.matrix, np.corrcoef(counts[:, mine].T), atol=1e-12)
    assert found.kind == ("A-A",) * 4 + ("A-B",) * 3
    assert correlations(kept, ["bond"]).distribution == ("bond",) * 4
    kept["comoment"] = 0 * kept["comoment"]
    with pytest.raises(PhysicsError, match="no count of A-A fluctuates"):
        correlations(kept.isel(part=[0]), ["A-A"])


def test_many_bins_are_added_up_before_they_are_correlated(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, counts = covariance(1)
    monkeypatch.setattr("cgstore.plot.maps._CELLS", 6)
    found = correlations(kept, ["A-A", "bond"])  # two cells for each of A-A, A-B and the bond A-B
    sums = [counts[:, [0, 1]], counts[:, [2, 3]], counts[:, [8, 9]], counts[:, [10, 11]]]
    np.testing.assert_allclose(found.matrix, np.corrcoef([part.sum(axis=1) for part in sums]), atol=1e-12)
    np.testing.assert_allclose(found.x, [0.15, 0.35, 0.15, 0.35])


@pytest.fixture(scope="module")
def bilayer(tmp_path_factory: pytest.TempPathFactory):
    """The entry of a bilayer in a store of its own."""
    root = Path(__file__).parent.parent
    store = tmp_path_factory.mktemp("plot") / "store"
    ingest(root / "ingest/recipes/dmpc_303k.toml", archive=root / "archive", store=store)
    return open_catalog(store)["dmpc_303k/r1/cg"]


CHOSEN = {
    "rdf": "NC3-PO4", "bond": "NC3-PO4", "angle": "GL-PO4-NC3", "dihedral": "GL-GL-PO4-NC3", "improper": None,
    "profile": "PO4", "area": None, "thickness": None, "tilt": None, "order": None, "msd": "DMPC", "pmf": "PO4-PO4",
}  # fmt: skip


def test_what_is_not_kept_is_computed_with_the_defaults_and_kept(bilayer, tmp_path: Path) -> None:
    for kind, name in CHOSEN.items():
        assert save_plot(bilayer, kind, name, output=tmp_path / f"{kind}.svg").stat().st_size > 5000
    kept = {path.name.split("-")[0]: path.stat().st_mtime_ns for path in (bilayer.path / "features").iterdir()}
    assert set(kept) == {"statistics", "membrane", "order", "tilt", "mobility"}
    save_plot(bilayer, "order", output=tmp_path / "again.svg")
    assert (tmp_path / "order.svg").read_bytes() == (tmp_path / "again.svg").read_bytes()
    assert kept == {path.name.split("-")[0]: path.stat().st_mtime_ns for path in (bilayer.path / "features").iterdir()}


def test_densities_around_a_particle_need_to_be_told_which(bilayer, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r'write \[radial_map\] with centre = \["KIND"\] into a file and give it with'):
        save_plot(bilayer, "map", output=tmp_path / "map.png")
    spec = Spec(radial_map=MapSpec(centre=("PO4",), width="0.5 nm"), rdf=RdfSpec(pairs=("PO4-PO4",)))
    assert save_plot(bilayer, "map", "CT", output=tmp_path / "map.png", spec=spec).is_file()
    assert save_plot(bilayer, "map", "NC3", output=tmp_path / "again.png").is_file()  # it is kept now


def test_pmf_of_terms_are_found_by_their_particles(bilayer, tmp_path: Path) -> None:
    for name in ("NC3-PO4-GL", "improper", "PO4-NC3", "PO4-GL-CM-GL"):
        assert save_plot(bilayer, "pmf", name, output=tmp_path / f"{name}.png").is_file()
    with pytest.raises(NotFound, match='has no pair "NC3-XX"'):
        save_plot(bilayer, "pmf", "NC3-XX", output=tmp_path / "x.png")
