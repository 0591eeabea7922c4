"""Curves of distributions, errors as bands: few share one panel, many make a grid, very many are rows of colours."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from cgstore.plot.canvas import COLOURS, FONT, canvas, curve, error_of, grid, head, hide, style, values_of
from cgstore.plot.rows import draw_rows
from cgstore.plot.shapes import SHAPES, Shape
from cgstore.plot.wording import label, note_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["MOST_PANELS", "draw_distribution", "frame"]

_OVERLAID = 4  # curves in one panel that an eye can follow; more go into a grid
MOST_PANELS = 40  # of a grid; atoms have hundreds of kinds of dihedrals
_PROFILES_OVERLAID = 8  # profiles lie beside each other and have their legend beside the panel
_INNERMOST = 0.1  # part of the radius, a thousandth of the volume
_CIRCLES = ("dihedral", "improper")
_DENSITIES = ("profile", "radial_profile")


def draw_distribution(result: xr.Dataset, kind: str, chosen: list[str]) -> "Figure":
    """Draw distributions: up to four in one panel, more in a grid, of densities up to eight; very many as colours."""
    shape = SHAPES[kind]
    along = _along(result, shape)
    x = result[shape.axis].values
    curves = [values_of(result, shape.variable, **{along: name}) for name in chosen]
    errors = [error_of(result, shape.variable, **{along: name}) for name in chosen]
    labels = label(shape.letter, result[shape.axis], shape.x_unit), _quantity(result, shape)
    flags = "" if shape.variable in ("rdf", "profile") else f"{kind}_"
    note = note_of(result, along, chosen, flags)
    if len(chosen) <= (_PROFILES_OVERLAID if kind in _DENSITIES else _OVERLAID):
        figure = _overlaid(x, curves, errors, chosen, labels, kind)
    elif len(chosen) <= MOST_PANELS:
        figure = _side_by_side(x, curves, errors, chosen, labels, kind)
    else:
        limits = _limits(x, curves, kind)
        figure = draw_rows(x, curves, chosen, limits=limits, x_label=labels[0], y_label=labels[1])
    head(figure, result, shape.title, note)
    return figure


def _overlaid(
    x: np.ndarray,
    curves: list[np.ndarray],
    errors: list[np.ndarray | None],
    names: list[str],
    labels: tuple[str, str],
    kind: str,
) -> "Figure":
    """Draw all curves in one panel."""
    figure, axes = canvas(1, 1, 3.4)
    panel = axes[0, 0]
    for index, (name, y, error) in enumerate(zip(names, curves, errors, strict=True)):
        curve(panel, x, y, error, label=name, **style(index))
    frame(panel, x, curves, kind)
    if kind in _DENSITIES:
        figure.legend(loc="outside right upper", fontsize=FONT, frameon=False)
    else:
        panel.legend(fontsize=FONT, frameon=False)
    panel.set_xlabel(labels[0], fontsize=FONT)
    panel.set_ylabel(labels[1], fontsize=FONT)
    return figure


def _side_by_side(
    x: np.ndarray,
    curves: list[np.ndarray],
    errors: list[np.ndarray | None],
    names: list[str],
    labels: tuple[str, str],
    kind: str,
) -> "Figure":
    """Draw each curve in a panel of its own."""
    rows, columns = grid(len(names))
    shared = kind == "rdf" or kind in (*_CIRCLES, *_DENSITIES)
    figure, axes = canvas(rows, columns, 0.7 + 1.3 * rows, sharex=shared)
    for panel, name, y, error in zip(axes.flat, names, curves, errors, strict=False):
        curve(panel, x, y, error, color=COLOURS[0], linewidth=0.9)
        frame(panel, x, [y], kind)
        panel.set_title(name, fontsize=FONT - 1, pad=2)
    hide(axes, len(names))
    figure.supxlabel(labels[0], fontsize=FONT)
    figure.supylabel(labels[1], fontsize=FONT)
    return figure


def _along(result: xr.Dataset, shape: Shape) -> str:
    """Return the dim of which there is one curve each."""
    return next(along for along in shape.along if along in result[shape.variable].dims)


def _quantity(result: xr.Dataset, shape: Shape) -> str:
    """Return the label of the vertical axis; densities of number, mass or charge say themselves which they are."""
    array = result[shape.variable]
    return label(shape.symbol or str(array.attrs.get("long_name", "density")), array, shape.y_unit)


def frame(panel: "Axes", x: np.ndarray, curves: list[np.ndarray], kind: str) -> None:
    """Set the limits: a g(r) from 0 with its asymptote, a density over its whole range, others where they live."""
    panel.set_xlim(_limits(x, curves, kind))
    if kind in _DENSITIES:
        if any((y < 0).any() for y in curves):  # charges
            panel.axhline(0.0, color="0.6", linewidth=0.6, zorder=0)
        else:
            panel.set_ylim(0.0, _top(x, curves) if kind == "radial_profile" else None)
        return
    panel.set_ylim(bottom=0.0)
    if kind == "rdf":
        panel.axhline(1.0, color="0.6", linewidth=0.6, zorder=0)
    elif kind in _CIRCLES:
        panel.set_xticks(np.arange(-180.0, 181.0, 90.0))
    elif kind == "angle":
        low, high = panel.get_xlim()
        step = 30.0 if high - low > 45.0 else 10.0
        panel.set_xticks(np.arange(step * np.ceil(low / step), high, step))


def _limits(x: np.ndarray, curves: list[np.ndarray], kind: str) -> tuple[float, float]:
    """Return the ends of the horizontal axis: all of it, or where there is something."""
    if kind in _CIRCLES:
        return -180.0, 180.0
    if kind == "rdf" or kind in _DENSITIES:
        return (0.0 if x[0] > 0 else float(x[0])), float(x[-1])
    return _support(x, curves)


def _top(x: np.ndarray, curves: list[np.ndarray]) -> float | None:
    """Return the end of the scale of densities around a point: the innermost shells are tiny, and may leave it."""
    outer = [y[x > _INNERMOST * x[-1]] for y in curves]
    highest = max((float(np.nanmax(y)) for y in outer if np.isfinite(y).any()), default=0.0)
    return 1.15 * highest or None


def _support(x: np.ndarray, curves: list[np.ndarray]) -> tuple[float, float]:
    """Return the part of the axis where there is something, with a margin of a twentieth."""
    seen = x[np.nan_to_num(np.array(curves)).any(axis=0)]
    low, high = (float(seen[0]), float(seen[-1])) if seen.size else (float(x[0]), float(x[-1]))
    margin = 0.05 * (high - low) + float(x[1] - x[0])
    return max(low - margin, 0.0), high + margin
