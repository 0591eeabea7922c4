"""One figure per kind of result: unit on every axis, error as band, format by suffix.

- rdf: `rdf (pair, r)`; few curves share one panel, many make a grid
- bond, angle, dihedral: `bond (bond_kind, r)`, `angle (angle_kind, theta)`, `dihedral (dihedral_kind, phi)`; the same
- potential: `energy (curve, pair, r)`; a panel per pair, a line per curve, the wall is cut off
- validation: `rdf (curve, pair, r)`, the first curve being the reference; below it the distance of the others from it
- training: `loss (iteration)`, if there `part_loss (part, iteration)`, `effective (iteration)` (share of the sample)

Errors are the variables that end in `_error`. No figure belongs to a global state: no window opens, nothing leaks.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from cgstore.documents import did_you_mean
from cgstore.errors import InputError, NotFound

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["DISTRIBUTIONS", "KINDS", "answers", "encode_figure", "figure_of", "save_figure", "save_plot"]

# Okabe and Ito, https://jfly.uni-koeln.de/color/: told apart with any colour vision.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_DASHES = ("-", "--", "-.", ":")
_FORMATS = ("png", "svg", "pdf")
_FONT = 9.0
_WIDTH = 6.4  # inch; on a page 16 cm wide letters have their true size
_OVERLAID = 4  # curves in one panel that an eye can follow; more go into a grid


@dataclass(frozen=True, slots=True)
class _Shape:
    """What a result is made of: variable and dims; the letters on the axes, and units where the attrs have none."""

    variable: str
    along: str
    axis: str
    letter: str = ""
    symbol: str = ""
    x_unit: str = ""
    y_unit: str = ""


_SHAPES = {
    "rdf": _Shape("rdf", "pair", "r", "r", "g(r)", "nm", "1"),
    "bond": _Shape("bond", "bond_kind", "r", "r", "p(r)", "nm", "1/nm"),
    "angle": _Shape("angle", "angle_kind", "theta", "θ", "p(θ)", "degree", "1/degree"),
    "dihedral": _Shape("dihedral", "dihedral_kind", "phi", "φ", "p(φ)", "degree", "1/degree"),
    "potential": _Shape("energy", "pair", "r"),
    "validation": _Shape("rdf", "pair", "r"),
    "training": _Shape("loss", "part", "iteration"),
}
KINDS = tuple(_SHAPES)
DISTRIBUTIONS = KINDS[:4]
_PRETTY = {
    "1": "", "": "", "degree": "°", "1/nm": "nm⁻¹", "nm-1": "nm⁻¹", "1/degree": "(1/°)", "degree-1": "(1/°)",
}  # fmt: skip


def figure_of(result: xr.Dataset, kind: str, pair: str | None = None) -> "Figure":
    """Draw a result.

    Parameters
    ----------
    result : dataset of the kind's shape, see the head of this module; lazy ones are computed
    kind : one of `KINDS`
    pair : one pair or kind of term, in either direction; all when None

    Raises
    ------
    NotFound : no such kind, no such pair, or the result has nothing of this kind

    Examples
    --------
    >>> r = np.arange(0.005, 1.0, 0.01)
    >>> gas = xr.Dataset({"rdf": (("pair", "r"), np.ones((1, 100)))}, coords={"pair": ["A-A"], "r": r})
    >>> figure_of(gas, "rdf").axes[0].get_xlabel()
    'r / nm'
    >>> figure_of(gas, "rdv")
    Traceback (most recent call last):
    cgstore.errors.NotFound: no plot of kind "rdv"; did you mean "rdf"?
    """
    if kind not in KINDS:
        raise NotFound(f'no plot of kind "{kind}"{did_you_mean(kind, KINDS)}')
    shape = _SHAPES[kind]
    if shape.variable not in result or (kind != "training" and not result.sizes[shape.along]):
        raise NotFound(f"{_name(result)} has no {kind}: nothing of this kind was found in it")
    return _DRAW.get(kind, _distribution)(result, kind, _choose(result, shape, pair))


def encode_figure(figure: "Figure", format: str) -> bytes:
    """Return a figure as the bytes of a png (200 dots per inch), svg or pdf; equal figures give equal bytes."""
    import matplotlib as mpl

    timeless: dict[str, Any] = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
    stream = io.BytesIO()
    # The ids inside an SVG are random without a salt; the context puts the setting back.
    with mpl.rc_context({"svg.hashsalt": "cgstore"}):
        figure.savefig(stream, format=format, dpi=200, metadata=timeless[format])
    return stream.getvalue()


def save_figure(figure: "Figure", output: Path) -> Path:
    """Write a figure; the suffix says how: png, svg or pdf.

    Raises
    ------
    InputError : another suffix
    """
    content = encode_figure(figure, _format_of(output))
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_bytes(content)
    return output


def _format_of(output: Path) -> str:
    """Return the format that a suffix asks for."""
    format = output.suffix.lower().removeprefix(".")
    if format not in _FORMATS:
        raise InputError(f'{output}: found the suffix "{output.suffix}", expected .{", .".join(_FORMATS)}')
    return format


def save_plot(entry: Any, kind: str, pair: str | None = None, *, output: Path, spec: Any = None) -> Path:
    """Draw a distribution of a catalog entry into a file.

    Parameters
    ----------
    entry : catalog entry, with `path`, `open()` and `name`
    kind : one of `DISTRIBUTIONS`
    pair : as `figure_of`
    output : file to write, png, svg or pdf
    spec : what to compute, a `Spec` or the file of one; without it what is kept already is drawn, and the default
        distributions are computed and kept where nothing is

    Raises
    ------
    NotFound : as `figure_of`; also for potentials and validations, which belong to a fit
    InputError : unknown suffix; nothing is computed then
    """
    if kind not in DISTRIBUTIONS:
        raise NotFound(f'{entry.name} has no plot of kind "{kind}"{did_you_mean(kind, DISTRIBUTIONS)}')
    _format_of(output)
    from cgstore.averages.keeping import kept_distributions

    ds = entry.open()
    known = [] if spec is not None else answers(entry, str(ds.attrs["digest"]))
    tree = known[0] if known else kept_distributions(entry.path, ds, spec)[0]
    result = tree["rdf" if kind == "rdf" else "bonded"].to_dataset().assign_attrs(name=entry.name)
    return save_figure(figure_of(result, kind, pair), output)


def answers(entry: Any, digest: str) -> list[xr.DataTree]:
    """Return the distributions that are kept for a content, those that reach farthest first."""
    from cgstore.averages.keeping import NAME, VERSION
    from cgstore.averages.onepass import distributions_of
    from cgstore.features import kept, read_kept

    found = [
        distributions_of(read_kept(item)).compute()
        for item in kept(entry.path)
        if (item.name, item.version, item.dataset_digest) == (NAME, VERSION, digest)
    ]
    return sorted(found, key=lambda tree: -float(tree["rdf"]["r"].max()))


def _name(result: xr.Dataset) -> str:
    """Return what the result is about, for titles and messages."""
    return str(result.attrs.get("name", "this result"))


def _choose(result: xr.Dataset, shape: _Shape, pair: str | None) -> list[str]:
    """Return the pairs to draw; one that was written backwards is found too."""
    known = [str(name) for name in result[shape.along].values] if shape.along in result.coords else []
    if pair is None:
        return known
    for name in (pair, "-".join(reversed(pair.split("-")))):
        if name in known:
            return [name]
    raise NotFound(f'{_name(result)} has no {shape.along.replace("_", " ")} "{pair}"{did_you_mean(pair, known)}')


def _label(symbol: str, array: xr.DataArray, default: str) -> str:
    """Return an axis label: quantity / unit of the array, or the quantity alone when it has no dimension."""
    unit = str(array.attrs.get("units", default))
    pretty = _PRETTY.get(unit, unit)
    return f"{symbol} / {pretty}" if pretty else symbol


def _canvas(rows: int, columns: int, height: float, **options: Any) -> tuple["Figure", np.ndarray]:
    """Make a figure of panels that belongs to nobody's global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    for panel in axes.flat:
        panel.tick_params(labelsize=_FONT - 1)
        panel.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _head(figure: "Figure", result: xr.Dataset, what: str) -> None:
    """Write the title: what is shown, and of what."""
    name = result.attrs.get("name")
    figure.suptitle(f"{what}, {name}" if name else what, fontsize=_FONT + 1, x=0.01, ha="left")


def _curve(panel: "Axes", x: np.ndarray, y: np.ndarray, error: np.ndarray | None, **style: Any) -> None:
    """Draw a line and its error as a band; where no error is known there is no band."""
    (line,) = panel.plot(x, y, **{"linewidth": 1.3, **style})
    if error is not None:
        known = np.isfinite(error)
        low, high = y - np.where(known, error, 0.0), y + np.where(known, error, 0.0)
        panel.fill_between(x, low, high, where=known, color=line.get_color(), alpha=0.35, linewidth=0)


def _values(result: xr.Dataset, name: str, **where: str) -> np.ndarray:
    """Return the numbers of a variable at labels."""
    return np.asarray(result[name].sel(where).values, np.float64)


def _error(result: xr.Dataset, name: str, **where: str) -> np.ndarray | None:
    """Return the errors of a variable at labels, or None when the result has none."""
    return _values(result, f"{name}_error", **where) if f"{name}_error" in result else None


def _support(x: np.ndarray, curves: list[np.ndarray]) -> tuple[float, float]:
    """Return the part of the axis where there is something, with a margin of a twentieth."""
    seen = x[np.nan_to_num(np.array(curves)).any(axis=0)]
    low, high = (float(seen[0]), float(seen[-1])) if seen.size else (float(x[0]), float(x[-1]))
    margin = 0.05 * (high - low) + float(x[1] - x[0])
    return max(low - margin, 0.0), high + margin


def _distribution(result: xr.Dataset, kind: str, chosen: list[str]) -> "Figure":
    """Draw distributions: up to four in one panel, more in a grid."""
    shape = _SHAPES[kind]
    x = result[shape.axis].values
    x_label = _label(shape.letter, result[shape.axis], shape.x_unit)
    y_label = _label(shape.symbol, result[kind], shape.y_unit)
    curves = [_values(result, kind, **{shape.along: name}) for name in chosen]
    errors = [_error(result, kind, **{shape.along: name}) for name in chosen]
    if len(chosen) <= _OVERLAID:
        figure, axes = _canvas(1, 1, 3.4)
        panel = axes[0, 0]
        for index, (name, y, error) in enumerate(zip(chosen, curves, errors, strict=True)):
            _curve(panel, x, y, error, label=name, **_style(index))
        _frame(panel, x, curves, kind)
        panel.legend(fontsize=_FONT, frameon=False)
        panel.set_xlabel(x_label, fontsize=_FONT)
        panel.set_ylabel(y_label, fontsize=_FONT)
    else:
        columns = 3 if len(chosen) <= 9 else 4
        rows = -(-len(chosen) // columns)
        figure, axes = _canvas(rows, columns, 0.7 + 1.3 * rows, sharex=kind in ("rdf", "dihedral"))
        for panel, name, y, error in zip(axes.flat, chosen, curves, errors, strict=False):
            _curve(panel, x, y, error, color=_COLOURS[0], linewidth=0.9)
            _frame(panel, x, [y], kind)
            panel.set_title(name, fontsize=_FONT - 1, pad=2)
        _hide(axes, len(chosen))
        figure.supxlabel(x_label, fontsize=_FONT)
        figure.supylabel(y_label, fontsize=_FONT)
    _head(figure, result, {"rdf": "Radial distribution"}.get(kind, f"{kind.capitalize()} distribution"))
    return figure


def _style(index: int) -> dict[str, str]:
    """Return colour and dash of the n-th curve: told apart in grey, too."""
    return {"color": _COLOURS[index % len(_COLOURS)], "linestyle": _DASHES[index % len(_DASHES)]}


def _hide(axes: np.ndarray, used: int) -> None:
    """Take the panels that nothing was drawn in out of a grid, and give the ticks to those above them."""
    rows, columns = axes.shape
    for index in range(used, rows * columns):
        axes.flat[index].set_axis_off()
        if index >= columns:
            axes.flat[index - columns].tick_params(labelbottom=True)


def _frame(panel: "Axes", x: np.ndarray, curves: list[np.ndarray], kind: str) -> None:
    """Set the limits: a g(r) from 0 with its asymptote, any other distribution where it lives."""
    panel.set_ylim(bottom=0.0)
    if kind == "rdf":
        panel.axhline(1.0, color="0.6", linewidth=0.6, zorder=0)
        panel.set_xlim(0.0, float(x[-1]))
        return
    low, high = (-180.0, 180.0) if kind == "dihedral" else _support(x, curves)
    if kind in ("angle", "dihedral"):
        panel.set_xticks(np.arange(-180.0, 181.0, 90.0 if kind == "dihedral" else 30.0))
    panel.set_xlim(low, high)


def _potential(result: xr.Dataset, kind: str, chosen: list[str]) -> "Figure":
    """Draw potentials of pairs; the scale follows the well, the wall leaves the picture."""
    columns = min(3, len(chosen))
    rows = -(-len(chosen) // columns)
    figure, axes = _canvas(rows, columns, 3.6 if rows == 1 else 0.6 + 2.4 * rows)
    x = result["r"].values
    for panel, name in zip(axes.flat, chosen, strict=False):
        curves = [str(curve) for curve in result["curve"].values]
        energies = [_values(result, "energy", curve=curve, pair=name) for curve in curves]
        for index, (curve, y) in enumerate(zip(curves, energies, strict=True)):
            _curve(panel, x, y, _error(result, "energy", curve=curve, pair=name), label=curve, **_style(index))
        depth = max(-min(float(np.nanmin(y)) for y in energies), 0.5)  # kJ/mol; a purely repulsive one has no well
        inside = [float(x[np.flatnonzero(y < 3 * depth)[0]]) for y in energies if (y < 3 * depth).any()]
        panel.set_xlim(max(0.0, min(inside, default=0.0) - 0.05), float(x[-1]))
        panel.set_ylim(-1.3 * depth, 2.0 * depth)
        panel.axhline(0.0, color="0.6", linewidth=0.6, zorder=0)
        panel.set_title(name, fontsize=_FONT, pad=3)
        panel.set_xlabel(_label("r", result["r"], "nm"), fontsize=_FONT)
        panel.set_ylabel(_label("U(r)", result["energy"], "kJ/mol"), fontsize=_FONT)
    axes[0, 0].legend(fontsize=_FONT - 1, frameon=False)
    _hide(axes, len(chosen))
    _head(figure, result, "Pair potential")
    return figure


def _validation(result: xr.Dataset, kind: str, chosen: list[str]) -> "Figure":
    """Draw the reference and the models, and below how far each model is from the reference."""
    columns = min(3, len(chosen))
    rows = -(-len(chosen) // columns)
    figure, axes = _canvas(2 * rows, columns, 4.6 * rows + 0.4, height_ratios=[2, 1] * rows)
    for index, name in enumerate(chosen):
        block, column = divmod(index, columns)
        _compare(axes[2 * block, column], axes[2 * block + 1, column], result, name, labelled=column == 0)
    for index in range(len(chosen), rows * columns):
        block, column = divmod(index, columns)
        axes[2 * block, column].set_axis_off()
        axes[2 * block + 1, column].set_axis_off()
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=_FONT, frameon=False
    )
    figure.align_ylabels()
    _head(figure, result, "Validation")
    return figure


def _compare(upper: "Axes", lower: "Axes", result: xr.Dataset, name: str, *, labelled: bool) -> None:
    """Draw one pair of a validation into its two panels."""
    x = result["r"].values
    reference, *models = [str(curve) for curve in result["curve"].values]
    truth = _values(result, "rdf", curve=reference, pair=name)
    noise = _error(result, "rdf", curve=reference, pair=name)
    _curve(upper, x, truth, noise, label=reference, color="black")
    _curve(lower, x, np.zeros_like(x), noise, color="black")
    for index, model in enumerate(models):
        y = _values(result, "rdf", curve=model, pair=name)
        error = _error(result, "rdf", curve=model, pair=name)
        _curve(upper, x, y, error, label=model, **_style(index))
        _curve(lower, x, y - truth, error, **_style(index))
    _frame(upper, x, [truth], "rdf")
    lower.set_xlim(upper.get_xlim())
    upper.tick_params(labelbottom=False)
    upper.set_title(name, fontsize=_FONT, pad=3)
    if labelled:
        upper.set_ylabel("g(r)", fontsize=_FONT)
        lower.set_ylabel("g(r) − reference", fontsize=_FONT)
    lower.set_xlabel(_label("r", result["r"], "nm"), fontsize=_FONT)


def _training(result: xr.Dataset, kind: str, chosen: list[str]) -> "Figure":
    """Draw the loss per iteration, and the effective sample size that decides when to sample again."""
    rows = 2 if "effective" in result else 1
    figure, axes = _canvas(rows, 1, 4.4 if rows == 2 else 3.2, sharex=True, height_ratios=[2, 1][:rows])
    x = result["iteration"].values
    upper = axes[0, 0]
    for index, name in enumerate(chosen):
        upper.plot(x, _values(result, "part_loss", part=name), linewidth=1.0, label=name, **_style(index))
    upper.plot(x, result["loss"].values, color="black", linewidth=1.3, label="all" if chosen else "loss")
    upper.set_yscale("log")
    upper.set_ylabel(_label("loss", result["loss"], "1"), fontsize=_FONT)
    upper.legend(fontsize=_FONT - 1, frameon=False)
    if rows == 2:
        axes[1, 0].plot(x, result["effective"].values, color=_COLOURS[2], linewidth=1.3)
        axes[1, 0].set_ylim(0.0, 1.05)
        axes[1, 0].set_ylabel("effective\nsample share", fontsize=_FONT)
    axes[-1, 0].set_xlabel("step", fontsize=_FONT)
    axes[-1, 0].xaxis.get_major_locator().set_params(integer=True)
    figure.align_ylabels()
    _head(figure, result, "Training")
    return figure


_DRAW = {"potential": _potential, "validation": _validation, "training": _training}
