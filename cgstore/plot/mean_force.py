"""Potentials of mean force: the measured one with its error, the smooth one, and what is extrapolated dashed."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.errors import InputError, PhysicsError
from cgstore.inverse.layout import Kind
from cgstore.inverse.mean_force import potential_of_mean_force
from cgstore.plot.canvas import COLOURS, FONT, canvas, curve, grid, head, hide
from cgstore.plot.distributions import MOST_PANELS
from cgstore.plot.shapes import SHAPES, choose, name_of
from cgstore.plot.wording import label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_mean_force", "mean_force"]

Float = NDArray[np.float64]


def mean_force(distribution: xr.Dataset, kind: Kind, pair: str | None = None) -> xr.Dataset:
    """Return the potentials of mean force of a distribution at its own temperature, of one kind or of all.

    Parameters
    ----------
    distribution : result of `cgstore.rdf` or `cgstore.bonded` with the attribute `temperature`, K
    kind : rdf, bond, angle, dihedral or improper
    pair : one pair or kind of term; without it all, but those that were sampled in too few bins, unless it is all of
        them

    Raises
    ------
    InputError : the temperature is not known
    NotFound : no such pair
    PhysicsError : as `cgstore.inverse.mean_force.potential_of_mean_force`

    Examples
    --------
    >>> r = np.arange(0.005, 1.0, 0.01)
    >>> gas = xr.Dataset({"rdf": (("pair", "r"), np.ones((1, 100)))}, {"pair": ["A-A"], "r": r}, {"temperature": 300.0})
    >>> mean_force(gas, "rdf").sizes["pair"]
    1
    """
    try:
        temperature = float(distribution.attrs["temperature"])
    except (KeyError, TypeError, ValueError):
        raise InputError(
            f"{name_of(distribution)} has no temperature, and so no potential of mean force; "
            "put the temperature into the recipe and ingest again"
        ) from None
    along = SHAPES[kind].along[0]
    found, last = [], None
    for name in choose(distribution, SHAPES[kind], pair):
        try:
            one = distribution.sel({along: [name]})
            found.append(potential_of_mean_force(one, temperature=temperature, kind=kind))
        except PhysicsError as error:
            last = error
    if not found and last is not None:
        raise last
    joined: xr.Dataset = xr.concat(found, along, data_vars="minimal", coords="minimal", compat="override", join="exact")
    return joined


def draw_mean_force(result: xr.Dataset, kind: str, chosen: list[str]) -> "Figure":
    """Draw a panel per pair or kind of term.

    Raises
    ------
    InputError : more than a figure has room for
    """
    from matplotlib.ticker import MaxNLocator

    along, axis = (str(dim) for dim in result["pmf"].dims)
    if len(chosen) > MOST_PANELS:
        raise InputError(
            f"{name_of(result)} has {len(chosen)} potentials of mean force, and a figure has room for {MOST_PANELS}; "
            f"name one, {chosen[0]} for example"
        )
    distribution = str(result.attrs.get("distribution", "rdf"))
    many = len(chosen) > 4
    rows, columns = grid(len(chosen)) if many else (-(-len(chosen) // 2), min(2, len(chosen)))
    figure, axes = canvas(rows, columns, 0.7 + (1.5 if many else 2.7) * rows)
    x = np.asarray(result[axis].values, np.float64)
    shape = SHAPES[distribution]
    for index, (panel, name) in enumerate(zip(axes.flat, chosen, strict=False)):
        at = result.sel({along: name})
        _panel(panel, x, at, distribution)
        panel.set_title(name, fontsize=FONT - 1 if many else FONT, pad=2)
        if distribution in ("rdf", "bond"):
            panel.xaxis.set_major_locator(MaxNLocator(4 if many else 7))
        if index + columns >= len(chosen):  # nothing is below
            panel.set_xlabel(label(shape.letter, result[axis], shape.x_unit), fontsize=FONT)
    hide(axes, len(chosen))
    where = "" if distribution == "rdf" else f", {distribution}s"
    figure.supylabel(label(f"U({shape.letter})", result["pmf"], SHAPES[kind].y_unit), fontsize=FONT)
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=FONT, frameon=False
    )
    temperature = result.attrs.get("temperature")
    state = "" if temperature is None else f" at {float(temperature):g} K"
    head(figure, result, f"{SHAPES[kind].title}{where}{state}")
    return figure


def _panel(panel: "Axes", x: Float, at: xr.Dataset, distribution: str) -> None:
    """Draw one potential; the scale follows what was measured, extrapolated walls leave the picture."""
    measured, error, smooth = (np.asarray(at[name].values, np.float64) for name in ("pmf", "pmf_error", "potential"))
    beyond = np.asarray(at["extrapolated"].values, np.bool_)
    curve(panel, x, measured, error, color=COLOURS[5], linewidth=1.0, label="measured")
    panel.plot(x, np.where(beyond, np.nan, smooth), color=COLOURS[0], linewidth=1.3, label="smooth")
    edge = beyond | np.append(beyond[1:], False) | np.append(False, beyond[:-1])  # joined with what was measured
    panel.plot(
        x, np.where(edge & beyond.any(), smooth, np.nan), color=COLOURS[1], linestyle="--", linewidth=1.3,
        label="extrapolated",
    )  # fmt: skip
    seen = np.flatnonzero(np.isfinite(measured))
    if not len(seen):
        return
    low, high = float(measured[seen].min()), float(measured[seen].max())
    room = max(0.15 * (high - low), 0.25)  # kJ/mol
    panel.set_ylim(low - room, high + 2.0 * room)
    if distribution == "rdf":
        panel.axhline(0.0, color="0.6", linewidth=0.6, zorder=0)
        panel.set_xlim(max(0.0, float(x[seen[0]]) - 0.05), float(x[-1]))
    elif distribution in ("bond", "angle"):
        margin = 0.1 * float(x[seen[-1]] - x[seen[0]]) + float(x[1] - x[0])
        panel.set_xlim(max(0.0, float(x[seen[0]]) - margin), float(x[seen[-1]]) + margin)
    else:
        panel.set_xlim(-180.0, 180.0)
        panel.set_xticks(np.arange(-180.0, 181.0, 90.0))
