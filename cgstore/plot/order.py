"""Order parameters: of carbons against their number in the chain, or of bonds between beads by their names."""

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.plot.canvas import COLOURS, FONT, canvas, head, style
from cgstore.plot.shapes import SHAPES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_order"]

_MARKERS = ("o", "s", "^", "D", "v", "P")

Float = NDArray[np.float64]


def draw_order(result: xr.Dataset, kind: str, chosen: list[str]) -> "Figure":
    """Draw order parameters of the chosen kinds of molecules with their errors."""
    figure, axes = canvas(1, 1, 3.4)
    panel = axes[0, 0]
    if "order_parameter" in result:
        _carbons(panel, result, chosen)
    else:
        _bonds(panel, result, chosen)
    panel.axhline(0.0, color="0.6", linewidth=0.6, zorder=0)
    if len(panel.get_legend_handles_labels()[1]) > 1 or "order_parameter" in result:
        panel.legend(fontsize=FONT, frameon=False)
    head(figure, result, SHAPES[kind].title)
    return figure


def _carbons(panel: "Axes", result: xr.Dataset, chosen: list[str]) -> None:
    """Draw −S of carbons, a line per chain; those in no chain by their names behind the chains."""
    kinds, chains, numbers = (result[name].values for name in ("molecule_kind", "chain", "number"))
    value = -np.asarray(result["order_parameter"].values, np.float64)
    error = _larger_error(result)
    groups = [(kind, int(chain)) for kind in chosen for chain in np.unique(chains[kinds == kind]) if chain]
    for index, (kind, chain) in enumerate(groups):
        mine = np.flatnonzero((kinds == kind) & (chains == chain))
        mine = mine[np.argsort(numbers[mine])]
        _points(panel, numbers[mine], value[mine], error[mine], index, f"{kind} chain {chain}", joined=True)
    others = np.flatnonzero((chains == 0) & np.isin(kinds, chosen))
    if len(others):
        first = 2 + max((int(n) for n in numbers[np.isin(kinds, chosen)]), default=0)
        place = first + np.arange(len(others))
        _points(panel, place, value[others], error[others], len(groups), "other carbons", joined=False)
        chain_ticks = range(2, first - 1, 2)
        names = [*map(str, chain_ticks), *result["carbon"].values[others]]
        panel.set_xticks([*chain_ticks, *place], names, rotation=90, fontsize=FONT - 2)
    else:
        ends = numbers[np.isin(kinds, chosen)]
        panel.set_xticks(np.arange(2, int(ends.max(initial=2)) + 1, 2))
    panel.set_xlabel("number of the carbon in its chain", fontsize=FONT)
    panel.set_ylabel("$-S_\\mathrm{CD}$", fontsize=FONT)


def _larger_error(result: xr.Dataset) -> Float:
    """Return the error of blocks or that of the scatter among lipids, whichever is larger."""
    errors = [
        result[name].values for name in ("order_parameter_error", "order_parameter_lipid_error") if name in result
    ]
    return np.asarray(np.fmax.reduce(errors) if errors else np.full(result.sizes["carbon"], np.nan), np.float64)


def _bonds(panel: "Axes", result: xr.Dataset, chosen: list[str]) -> None:
    """Draw the order of bonds by their names, a colour per kind of molecule."""
    kinds = result["molecule_kind"].values
    mine = np.flatnonzero(np.isin(kinds, chosen))
    place = np.arange(len(mine))
    for index, kind in enumerate(chosen):
        of = kinds[mine] == kind
        value, error = (result[name].values[mine][of] for name in ("bond_order", "bond_order_error"))
        _points(panel, place[of], value, error, index, kind, joined=False)
    panel.set_xticks(place, [str(name) for name in result["bond_kind"].values[mine]], rotation=45, ha="right")
    panel.set_ylabel("$P_2$ of the bond", fontsize=FONT)


def _points(panel: "Axes", x: np.ndarray, y: Float, error: Float, index: int, name: str, *, joined: bool) -> None:
    """Draw points with their errors; those whose error is not known are hollow."""
    known = np.isfinite(error)
    colour, marker = COLOURS[index % len(COLOURS)], _MARKERS[index % len(_MARKERS)]
    if joined:
        panel.plot(x, y, linewidth=0.9, color=colour, linestyle=style(index)["linestyle"])
    look: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 4, "linestyle": "none"}
    if known.any():
        panel.errorbar(x[known], y[known], error[known], capsize=2, elinewidth=1.0, label=name, **look)
    if not known.all():
        text = f"{name}, error not known"
        panel.errorbar(x[~known], y[~known], label=text, markerfacecolor="white", **look)
