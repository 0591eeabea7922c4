"""Canvases: figures that belong to nobody's global state, curves with bands, titles, and the bytes of a file."""

import io
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from cgstore.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "COLOURS",
    "FONT",
    "canvas",
    "curve",
    "encode_figure",
    "error_of",
    "format_of",
    "grid",
    "head",
    "hide",
    "save_figure",
    "style",
    "values_of",
]

# Okabe and Ito, https://jfly.uni-koeln.de/color/: told apart with any colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
FONT = 9.0
_DASHES = ("-", "--", "-.", ":")
_FORMATS = ("png", "svg", "pdf")
_LETTERS = 80  # in a line of a title
_WIDTH = 6.4  # inch; on a page 16 cm wide letters have their true size


def canvas(rows: int, columns: int, height: float, **options: Any) -> tuple["Figure", np.ndarray]:
    """Make a figure of panels that belongs to nobody's global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    for panel in axes.flat:
        panel.tick_params(labelsize=FONT - 1)
        panel.spines[["top", "right"]].set_visible(False)
    return figure, axes


def grid(number: int) -> tuple[int, int]:
    """Return rows and columns of a grid of many panels."""
    columns = 3 if number <= 9 else 4
    return -(-number // columns), columns


def head(figure: "Figure", result: xr.Dataset, what: str, note: str = "") -> None:
    """Write the title: what is shown, and of what; below it what is wrong with the run."""
    name = result.attrs.get("name")
    title = f"{what}, {name}" if name else what
    lines = [title, *textwrap.wrap(note, _LETTERS)]
    figure.suptitle("\n".join(lines), fontsize=FONT + 1, x=0.01, ha="left")


def curve(panel: "Axes", x: np.ndarray, y: np.ndarray, error: np.ndarray | None, **style: Any) -> None:
    """Draw a line and its error as a band; where no error is known there is no band."""
    (line,) = panel.plot(x, y, **{"linewidth": 1.3, **style})
    if error is not None:
        known = np.isfinite(error)
        low, high = y - np.where(known, error, 0.0), y + np.where(known, error, 0.0)
        panel.fill_between(x, low, high, where=known, color=line.get_color(), alpha=0.35, linewidth=0)


def style(index: int) -> dict[str, str]:
    """Return colour and dash of the n-th curve: told apart in grey, too."""
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": _DASHES[index % len(_DASHES)]}


def hide(axes: np.ndarray, used: int) -> None:
    """Take the panels that nothing was drawn in out of a grid, and give the ticks to those above them."""
    rows, columns = axes.shape
    for index in range(used, rows * columns):
        axes.flat[index].set_axis_off()
        if index >= columns:
            axes.flat[index - columns].tick_params(labelbottom=True)


def values_of(result: xr.Dataset, name: str, **where: str) -> np.ndarray:
    """Return the numbers of a variable at labels."""
    return np.asarray(result[name].sel(where).values, np.float64)


def error_of(result: xr.Dataset, name: str, **where: str) -> np.ndarray | None:
    """Return the errors of a variable at labels, or None when the result has none."""
    return values_of(result, f"{name}_error", **where) if f"{name}_error" in result else None


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
    content = encode_figure(figure, format_of(output))
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_bytes(content)
    return output


def format_of(output: Path) -> str:
    """Return the format that a suffix asks for.

    Raises
    ------
    InputError : it is none of ours
    """
    format = output.suffix.lower().removeprefix(".")
    if format not in _FORMATS:
        raise InputError(f'{output}: found the suffix "{output.suffix}", expected .{", .".join(_FORMATS)}')
    return format
