"""Pictures of colours: densities on (r, z) around a particle, and the correlations between counts of bins."""

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.averages.covariance import merged_covariance
from cgstore.errors import PhysicsError
from cgstore.plot.canvas import FONT, canvas, head, hide
from cgstore.plot.shapes import SHAPES, name_of
from cgstore.plot.wording import label, note_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Correlations", "correlations", "draw_covariance", "draw_map"]

_DENSITY, _SIGNED = "viridis", "RdBu_r"  # perceptually uniform; told apart with any colour vision
_MOST_MAPS = 12  # of a figure
_BRIGHTEST = 99.5  # per cent of the cells; the few in the smallest rings fluctuate most, and would set the scale
_CELLS = 240  # of a picture of correlations, in each direction
_FAINTEST = 0.05  # smallest range of correlations that is shown
_NARROW = 0.12  # part of the picture that the name of a distribution needs
_ROOM = {1: 7.0, 20: 6.0, 40: 5.0}  # size of letters for so many labels and more

Float = NDArray[np.float64]


def draw_map(result: xr.Dataset, kind: str, chosen: list[str]) -> "Figure":
    """Draw densities on (r, z), a panel per type with its own colours."""
    shape = SHAPES[kind]
    along = next(dim for dim in shape.along if dim in result["map"].dims)
    chosen, of = _densest(result, along, chosen)
    r, z = (np.asarray(result[axis].values, np.float64) for axis in ("r", "z"))
    tall = float(np.clip(np.ptp(z) / np.ptp(r), 0.8, 5.0)) if len(r) > 1 and len(z) > 1 else 1.0
    columns = min(2, len(chosen))
    rows = -(-len(chosen) // columns)
    height = 0.6 + min(4.0, (5.2 if columns == 1 else 2.3) / tall)
    figure, axes = canvas(rows, columns, 0.8 + rows * height, sharex=True, sharey=True)
    what = label(str(result["map"].attrs.get("long_name", "density")), result["map"], shape.y_unit)
    for panel, name in zip(axes.flat, chosen, strict=False):
        density = np.asarray(result["map"].sel({along: name}).transpose("r", "z").values, np.float64)
        known = density[np.isfinite(density)]
        top = float(np.percentile(known, _BRIGHTEST)) if known.size else 1.0
        mesh = panel.pcolormesh(
            z, r, density, cmap=_DENSITY, vmin=0.0, vmax=top or None, shading="nearest", rasterized=True
        )
        bar = figure.colorbar(
            mesh, ax=panel, aspect=15, extend="max" if known.size and known.max() > top else "neither"
        )
        bar.ax.tick_params(labelsize=FONT - 2)
        if columns == 1:
            bar.set_label(what, fontsize=FONT)
        panel.set_aspect("equal")
        panel.set_title(name, fontsize=FONT, pad=3)
    hide(axes, len(chosen))
    figure.supxlabel(label("z", result["z"], "nm"), fontsize=FONT)
    figure.supylabel(label("r", result["r"], "nm"), fontsize=FONT)
    title = shape.title if columns == 1 else f"{shape.title}, {what}{of}"
    head(figure, result, title, note_of(result, along, chosen))
    return figure


def _densest(result: xr.Dataset, along: str, chosen: list[str]) -> tuple[list[str], str]:
    """Return the kinds that there are panels for, those with the highest densities, and how to say so in a title."""
    if len(chosen) <= _MOST_MAPS:
        return chosen, ""
    highest = result["map"].sel({along: chosen}).max(("r", "z")).fillna(0.0).values
    kept = sorted(np.argsort(-highest, kind="stable")[:_MOST_MAPS])
    return [chosen[place] for place in kept], f", {_MOST_MAPS} densest of {len(chosen)} kinds"


@dataclass(frozen=True, slots=True, eq=False)
class Correlations:
    """Correlations between the counts of neighbouring bins, added up until a picture has room for them."""

    matrix: Float  # (cell, cell)
    distribution: tuple[str, ...]  # of each cell
    kind: tuple[str, ...]
    x: Float  # (cell,) centres


def correlations(covariance: xr.Dataset, chosen: list[str]) -> Correlations:
    """Return the correlations of the bins of chosen kinds or distributions, of those that were ever hit.

    Parameters
    ----------
    covariance : covariance dataset, see `cgstore.averages.covariance`
    chosen : kinds or distributions

    Raises
    ------
    PhysicsError : no count of them fluctuates, or there are fewer than two frames

    Examples
    --------
    >>> ds = xr.Dataset(
    ...     {"mean": (("part", "entry"), [[1.0, 1.0]]), "weight": ("part", [4.0]), "square": ("part", [4.0]),
    ...      "comoment": (("part", "entry", "other"), [[[4.0, -2.0], [-2.0, 4.0]]]), "frames": ("part", [4])},
    ...     {"distribution": ("entry", ["rdf"] * 2), "kind": ("entry", ["A-A"] * 2), "x": ("entry", [0.1, 0.2])})
    >>> correlations(ds, ["A-A"]).matrix.tolist()
    [[1.0, -0.5], [-0.5, 1.0]]
    """
    asked = np.isin(covariance["kind"].values, chosen) | np.isin(covariance["distribution"].values, chosen)
    varies = (np.einsum("pee->pe", covariance["comoment"].values) > 0).any(axis=0)
    varies |= np.ptp(covariance["mean"].values, axis=0) > 0
    mine = np.flatnonzero(asked & varies)
    if not len(mine):
        raise PhysicsError(
            f"{name_of(covariance)}: no count of {', '.join(chosen[:4])} fluctuates; more frames are needed"
        )
    part = covariance.isel(entry=mine, other=mine)
    full = merged_covariance(part)["covariance"].values
    of = list(zip(part["distribution"].values.tolist(), part["kind"].values.tolist(), strict=True))
    starts = _cells(of)
    number = np.diff([*starts, len(of)])
    summed = np.add.reduceat(np.add.reduceat(full, starts, axis=0), starts, axis=1)
    scale = np.sqrt(np.diag(summed))
    with np.errstate(invalid="ignore", divide="ignore"):  # NaN where a sum of bins never changes
        matrix = summed / scale[:, None] / scale
    centre = np.add.reduceat(part["x"].values, starts) / number
    return Correlations(matrix, tuple(of[i][0] for i in starts), tuple(of[i][1] for i in starts), centre)


def _cells(of: list[tuple[str, str]]) -> list[int]:
    """Return the first entry of each cell: neighbours of one kind, as many as make the picture small enough."""
    begin = [i for i, one in enumerate(of) if i == 0 or one != of[i - 1]]
    share = max(1, _CELLS // len(begin))
    groups = pairwise([*begin, len(of)])
    return [start for low, high in groups for start in range(low, high, -(-(high - low) // share))]


def draw_covariance(result: xr.Dataset, kind: str, chosen: list[str]) -> "Figure":
    """Draw correlations as colours, entries by distribution and kind."""
    found = correlations(result, chosen)
    figure, axes = canvas(1, 1, 5.0)
    panel = axes[0, 0]
    size = len(found.matrix)
    beside = np.abs(found.matrix[~np.eye(size, dtype=bool)])
    beside = beside[np.isfinite(beside)]
    limit = min(1.0, max(_FAINTEST, float(np.percentile(beside, 99.0)) if beside.size else 1.0))
    panel.set_facecolor("0.85")  # cells without a correlation
    image = panel.imshow(found.matrix, cmap=_SIGNED, vmin=-limit, vmax=limit, interpolation="nearest")
    bar = figure.colorbar(image, ax=panel, extend="both" if limit < 1.0 else "neither", shrink=0.8)
    bar.set_label("correlation of counts", fontsize=FONT)
    bar.ax.tick_params(labelsize=FONT - 2)
    if len(set(zip(found.distribution, found.kind, strict=True))) == 1:
        _bins(panel, found)
    else:
        _groups(panel, found)
    head(figure, result, SHAPES[kind].title)
    return figure


def _bins(panel: "Axes", found: Correlations) -> None:
    """Label the bins of a single kind by where they are."""
    from matplotlib.ticker import MaxNLocator

    ticks = [x for x in MaxNLocator(6).tick_values(found.x[0], found.x[-1]) if found.x[0] <= x <= found.x[-1]]
    places, names = np.interp(ticks, found.x, np.arange(len(found.x))), [f"{x:g}" for x in ticks]
    distance = found.distribution[0] in ("rdf", "bond")
    text = f"{found.kind[0]}, {'r / nm' if distance else 'angle / °'}"
    panel.set_xticks(places, names, fontsize=FONT - 1)
    panel.set_yticks(places, names, fontsize=FONT - 1)
    panel.set_xlabel(text, fontsize=FONT)
    panel.set_ylabel(text, fontsize=FONT)


def _groups(panel: "Axes", found: Correlations) -> None:
    """Label kinds at the left and below, distributions above, with lines between them."""
    kinds = _spans(list(zip(found.distribution, found.kind, strict=True)))
    font = min(font for least, font in _ROOM.items() if len(kinds) >= least)
    centres = [0.5 * (low + high - 1) for low, high in kinds]
    names = [found.kind[low] for low, _ in kinds]
    panel.set_xticks(centres, names, fontsize=font, rotation=90)
    panel.set_yticks(centres, names, fontsize=font)
    for low, _ in kinds[1:]:
        _cross(panel, low, color="0.6", linewidth=0.3)
    distributions = _spans(found.distribution)
    for low, _ in distributions[1:]:
        _cross(panel, low, color="black", linewidth=0.9)
    above = panel.secondary_xaxis("top")
    tight = min(high - low for low, high in distributions) < _NARROW * len(found.x)
    places = [low if tight else 0.5 * (low + high - 1) for low, high in distributions]
    look: dict[str, Any] = {"rotation": 30, "ha": "left"} if tight else {}
    above.set_xticks(places, [found.distribution[low] for low, _ in distributions], fontsize=FONT - 1, **look)
    above.tick_params(length=0)
    above.spines["top"].set_visible(False)


def _spans(names: Any) -> list[tuple[int, int]]:
    """Return where equal neighbours begin and end."""
    begin = [i for i in range(len(names)) if i == 0 or names[i] != names[i - 1]]
    return list(pairwise([*begin, len(names)]))


def _cross(panel: "Axes", place: int, **look: Any) -> None:
    """Draw a horizontal and a vertical line before a cell."""
    panel.axhline(place - 0.5, **look)
    panel.axvline(place - 0.5, **look)
