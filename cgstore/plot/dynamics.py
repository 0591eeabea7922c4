"""Functions of the lag: mean squared displacements with the line behind D, and autocorrelations of velocities."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from cgstore.plot.canvas import COLOURS, FONT, canvas, curve, error_of, head, style, values_of
from cgstore.plot.shapes import SHAPES
from cgstore.plot.wording import label, with_error, with_unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_msd", "draw_vacf"]

_MARKERS = ("o", "s", "^", "D", "v", "P")
_LINE_POINTS = 50


def draw_msd(result: xr.Dataset, kind: str, chosen: list[str]) -> "Figure":
    """Draw displacements on logarithmic axes, and in its window the straight line that gave the coefficient."""
    figure, axes = canvas(1, 1, 3.8)
    panel = axes[0, 0]
    lag = np.asarray(result["lag"].values, np.float64)
    hollow = False
    for index, name in enumerate(chosen):
        value, error = values_of(result, "msd", kind=name), error_of(result, "msd", kind=name)
        colour = COLOURS[index % len(COLOURS)]
        seen = (lag > 0) & (value > 0)
        known = seen & np.isfinite(error) if error is not None else np.zeros_like(seen)
        look = {"color": colour, "marker": _MARKERS[index % len(_MARKERS)], "markersize": 4, "linestyle": "none"}
        panel.plot(lag[seen & ~known], value[seen & ~known], markerfacecolor="white", **look)
        if error is not None:
            panel.errorbar(lag[known], value[known], error[known], capsize=2, elinewidth=1.0, **look)
        hollow |= bool((seen & ~known).any())
        panel.plot([], [], label=_coefficient(result, name), **look)
        _fitted(panel, result, name, colour)
    if hollow:
        panel.plot([], [], "ok", markerfacecolor="white", markersize=4, label="hollow: error not known")
    _logarithmic(panel)
    shape = SHAPES[kind]
    dims = str(result.attrs.get("dims", "xyz"))
    symbol = shape.symbol if dims == "xyz" else f"{shape.symbol} in {dims}"
    panel.set_xlabel(label(shape.letter, result["lag"], shape.x_unit), fontsize=FONT)
    panel.set_ylabel(label(symbol, result["msd"], shape.y_unit), fontsize=FONT)
    panel.legend(fontsize=FONT - 1, frameon=False, loc="upper left")
    head(figure, result, shape.title)
    return figure


def _logarithmic(panel: "Axes") -> None:
    """Make both axes logarithmic, with plain numbers that have room."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    panel.set_xscale("log")
    panel.set_yscale("log")
    for axis in (panel.xaxis, panel.yaxis):
        low, high = axis.get_view_interval()
        decades = np.log10(high / low) if low > 0 else 3.0
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 2.5 else (1.0,)))
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_formatter(NullFormatter())


def _coefficient(result: xr.Dataset, name: str) -> str:
    """Return what the legend says of a kind: its coefficient with the error, or why there is none."""
    if "diffusion" not in result:
        return name
    at = result.sel(kind=name)
    value, error = float(at["diffusion"]), float(at["diffusion_error"])
    if np.isfinite(value):
        return (
            f"{name}: D = {with_unit(with_error(value, error), str(result['diffusion'].attrs.get('units', 'nm^2/ps')))}"
        )
    reason = str(at["reason"].values).split(":")[0] if "reason" in at else ""
    return f"{name}: no D, {reason}" if reason else f"{name}: no D"


def _fitted(panel: "Axes", result: xr.Dataset, name: str, colour: str) -> None:
    """Draw a + 2 d D t in the window of the fit, with the offset a that fits the displacements there."""
    if not {"diffusion", "fit_start", "fit_stop"} <= set(result.variables):
        return
    at = result.sel(kind=name)
    slope = 2.0 * len(str(result.attrs.get("dims", "xyz"))) * float(at["diffusion"])
    start, stop = float(at["fit_start"]), float(at["fit_stop"])
    if not np.isfinite([slope, start, stop]).all():
        return
    lag = np.asarray(result["lag"].values, np.float64)
    window = (lag >= start * (1 - 1e-9)) & (lag <= stop * (1 + 1e-9))
    offset = float(np.mean(np.asarray(at["msd"].values)[window] - slope * lag[window]))
    t = np.geomspace(max(start, lag[lag > 0].min()), stop, _LINE_POINTS)
    panel.plot(t, offset + slope * t, color=colour, linewidth=2.5, alpha=0.55, zorder=1)


def draw_vacf(result: xr.Dataset, kind: str, chosen: list[str]) -> "Figure":
    """Draw autocorrelations of velocities, and below their integrals up to each lag."""
    integral = "diffusion" in result and np.isfinite(result["diffusion"].values).any()
    rows = 2 if integral else 1
    figure, axes = canvas(rows, 1, 4.8 if integral else 3.2, sharex=True)
    shape = SHAPES[kind]
    lag = np.asarray(result["lag"].values, np.float64)
    for panel, name, symbol in zip(axes[:, 0], ("vacf", "diffusion"), (shape.symbol, "⅓ ∫ C dt"), strict=False):
        for index, of in enumerate(chosen):
            y, error = values_of(result, name, kind=of), error_of(result, name, kind=of)
            curve(panel, lag, y, error, label=of, **style(index))
        panel.axhline(0.0, color="0.6", linewidth=0.6, zorder=0)
        relative = name == "vacf" and str(result["vacf"].attrs.get("units")) == "1"
        panel.set_ylabel("C(t) / C(0)" if relative else label(symbol, result[name], shape.y_unit), fontsize=FONT)
        panel.set_xlim(lag[0], lag[-1] if len(lag) > 1 else lag[0] + 1.0)
    axes[0, 0].legend(fontsize=FONT, frameon=False)
    axes[-1, 0].set_xlabel(label(shape.letter, result["lag"], shape.x_unit), fontsize=FONT)
    figure.align_ylabels()
    head(figure, result, shape.title)
    return figure
