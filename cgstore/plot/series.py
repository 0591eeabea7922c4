"""Series over the frames of a run, their mean and its error as a band: area per lipid, thickness, tilt."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.plot.canvas import COLOURS, FONT, canvas, head
from cgstore.plot.shapes import SHAPES
from cgstore.plot.wording import label, with_error, with_unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_series"]

_MOST_POINTS = 1000  # of a line; more are drawn as means of neighbours
_NANOSECONDS = 10_000.0  # ps, runs from there on have their axis in ns

Float = NDArray[np.float64]


def draw_series(result: xr.Dataset, kind: str, chosen: list[str]) -> "Figure":
    """Draw one panel per kind of molecule, or one; leaflets, too, where they differ."""
    shape = SHAPES[kind]
    mean = shape.variable.removesuffix("_series")
    time, x_label = _time(result)
    parts = [({"molecule_kind": name}, name) for name in chosen] if "molecule_kind" in shape.along else [({}, "all")]
    figure, axes = canvas(len(parts), 1, 0.9 + 2.3 * len(parts), sharex=True)
    for panel, (where, name) in zip(axes[:, 0], parts, strict=True):
        values = np.asarray(result[shape.variable].sel(where).values, np.float64)
        value, error = (float(result[variable].sel(where)) for variable in (mean, f"{mean}_error"))
        unit = str(result[mean].attrs.get("units", shape.y_unit))
        _line(panel, time, values, COLOURS[0], "each frame" if len(parts) == 1 and name == "all" else name)
        _level(panel, value, error, unit)
        if kind == "area":
            _leaflets(panel, result, time)
        panel.set_ylabel(label(shape.symbol, result[mean], shape.y_unit), fontsize=FONT)
        panel.set_xlim(time[0], time[-1] if time[-1] > time[0] else time[0] + 1.0)
        panel.margins(y=0.15)
        panel.ticklabel_format(axis="y", useOffset=False)
        panel.legend(fontsize=FONT - 1, frameon=False, ncols=2, loc="lower left", bbox_to_anchor=(0.0, 1.0))
    axes[-1, 0].set_xlabel(x_label, fontsize=FONT)
    head(figure, result, shape.title)
    return figure


def _time(result: xr.Dataset) -> tuple[Float, str]:
    """Return the horizontal axis and its label: time in ps or ns, numbers of frames where times are not known."""
    if "time" not in result:
        return np.arange(result.sizes["frame"], dtype=np.float64), "frame"
    time = np.asarray(result["time"].values, np.float64)
    if result["time"].attrs.get("units", "ps") == "ps" and np.ptp(time) >= _NANOSECONDS:
        return time / 1000.0, "t / ns"
    return time, label("t", result["time"], "ps")


def _line(panel: "Axes", time: Float, values: Float, colour: str, name: str) -> None:
    """Draw a series; a long one as means of neighbouring frames, which the legend says."""
    step = -(-len(values) // _MOST_POINTS)
    starts = np.arange(0, len(values), step)
    number = np.diff(np.append(starts, len(values)))
    time, values = (np.add.reduceat(array, starts) / number for array in (time, values))
    text = name if step == 1 else f"{name}, means of {step} frames"
    panel.plot(time, values, color=colour, linewidth=0.8, alpha=0.8, label=text)


def _level(panel: "Axes", value: float, error: float, unit: str) -> None:
    """Draw the mean and the band of its error; where that is not known the legend says so."""
    known = np.isfinite(error)
    text = with_unit(with_error(value, error), unit)
    text = f"mean {text}" if known else f"mean {text}, error not known: too short a run"
    panel.axhline(value, color="black", linewidth=1.2, label=text)
    if known:
        panel.axhspan(value - error, value + error, color="black", alpha=0.2, linewidth=0)


def _leaflets(panel: "Axes", result: xr.Dataset, time: Float) -> None:
    """Draw the leaflets, if they do not have the same number of lipids in all frames."""
    if "leaflet_area_per_lipid_series" not in result:
        return
    series = result["leaflet_area_per_lipid_series"].transpose("leaflet", "frame")
    values = np.asarray(series.values, np.float64)
    if np.ptp(values, axis=0).any():
        for index, name in enumerate(series["leaflet"].values):
            _line(panel, time, values[index], COLOURS[1 + index], f"{name} leaflet")
