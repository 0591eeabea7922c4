"""Very many distributions as rows of colours: what is where, when there are more kinds than panels have room."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cgstore.plot.canvas import FONT, canvas

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_rows"]

_DENSITY, _SIGNED = "viridis", "RdBu_r"
_IN_A_COLUMN = 60  # rows; more than that many go beside each other
_COLUMNS = 3
_ROW = 0.085  # inch, room for letters of 5 points
_LETTERS = 5.0

Float = NDArray[np.float64]


def draw_rows(
    x: Float, curves: list[Float], names: list[str], *, limits: tuple[float, float], x_label: str, y_label: str
) -> "Figure":
    """Draw each curve as a row of colours relative to its own highest value; unknown values stay grey.

    Parameters
    ----------
    x : (bin,) centres
    curves : (bin,) each
    names : of the curves
    limits : of the horizontal axis
    x_label, y_label : quantities with their units
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.ticker import MaxNLocator, MultipleLocator

    columns = min(_COLUMNS, -(-len(names) // _IN_A_COLUMN))
    rows = -(-len(names) // columns)
    figure, axes = canvas(1, columns, 1.4 + _ROW * rows)
    values = np.array(curves, np.float64)  # (curve, bin)
    highest = np.fmax.reduce(np.abs(values), axis=1, initial=0.0)[:, None]
    relative = values / np.where(highest > 0, highest, 1.0)
    signed = bool((relative < 0).any())
    colours = ScalarMappable(Normalize(-1.0 if signed else 0.0, 1.0), _SIGNED if signed else _DENSITY)
    edges = np.append(1.5 * x[0] - 0.5 * x[1], x + 0.5 * (x[1] - x[0])) if len(x) > 1 else np.array([0.0, 2.0 * x[0]])
    for column, panel in enumerate(axes[0]):
        mine = slice(column * rows, (column + 1) * rows)
        here = names[mine]
        panel.set_facecolor("0.85")
        panel.pcolormesh(
            edges, np.arange(len(here) + 1), relative[mine], cmap=colours.cmap, norm=colours.norm, rasterized=True
        )
        panel.set_yticks(np.arange(len(here)) + 0.5, here, fontsize=_LETTERS)
        panel.tick_params(axis="y", length=0, pad=1)
        panel.set_ylim(rows, 0)  # equal heights, though the last column is shorter
        panel.set_xlim(limits)
        turn = limits == (-180.0, 180.0)
        panel.xaxis.set_major_locator(MultipleLocator(90.0) if turn else MaxNLocator(9 // columns))
    bar = figure.colorbar(colours, ax=axes[0].tolist(), location="top", aspect=60, fraction=0.02, pad=0.01)
    bar.set_label(f"{y_label.split(' / ')[0]}, relative to its highest value", fontsize=FONT)
    bar.ax.tick_params(labelsize=FONT - 2)
    figure.supxlabel(x_label, fontsize=FONT)
    return figure
