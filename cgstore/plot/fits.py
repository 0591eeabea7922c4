"""Figures of fits: potentials, their validation against a reference, and how the training went."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from cgstore.plot.canvas import COLOURS, FONT, canvas, curve, error_of, head, hide, style, values_of
from cgstore.plot.distributions import frame
from cgstore.plot.wording import label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_potential", "draw_training", "draw_validation"]


def draw_potential(result: xr.Dataset, kind: str, chosen: list[str]) -> "Figure":
    """Draw potentials of pairs; the scale follows the well, the wall leaves the picture."""
    columns = min(3, len(chosen))
    rows = -(-len(chosen) // columns)
    figure, axes = canvas(rows, columns, 3.6 if rows == 1 else 0.6 + 2.4 * rows)
    x = result["r"].values
    for panel, name in zip(axes.flat, chosen, strict=False):
        models = [str(model) for model in result["curve"].values]
        energies = [values_of(result, "energy", curve=model, pair=name) for model in models]
        for index, (model, y) in enumerate(zip(models, energies, strict=True)):
            curve(panel, x, y, error_of(result, "energy", curve=model, pair=name), label=model, **style(index))
        depth = max(-min(float(np.nanmin(y)) for y in energies), 0.5)  # kJ/mol; a purely repulsive one has no well
        inside = [float(x[np.flatnonzero(y < 3 * depth)[0]]) for y in energies if (y < 3 * depth).any()]
        panel.set_xlim(max(0.0, min(inside, default=0.0) - 0.05), float(x[-1]))
        panel.set_ylim(-1.3 * depth, 2.0 * depth)
        panel.axhline(0.0, color="0.6", linewidth=0.6, zorder=0)
        panel.set_title(name, fontsize=FONT, pad=3)
        panel.set_xlabel(label("r", result["r"], "nm"), fontsize=FONT)
        panel.set_ylabel(label("U(r)", result["energy"], "kJ/mol"), fontsize=FONT)
    axes[0, 0].legend(fontsize=FONT - 1, frameon=False)
    hide(axes, len(chosen))
    head(figure, result, "Pair potential")
    return figure


def draw_validation(result: xr.Dataset, kind: str, chosen: list[str]) -> "Figure":
    """Draw the reference and the models, and below how far each model is from the reference."""
    columns = min(3, len(chosen))
    rows = -(-len(chosen) // columns)
    figure, axes = canvas(2 * rows, columns, 4.6 * rows + 0.4, height_ratios=[2, 1] * rows)
    for index, name in enumerate(chosen):
        block, column = divmod(index, columns)
        _compare(axes[2 * block, column], axes[2 * block + 1, column], result, name, labelled=column == 0)
    for index in range(len(chosen), rows * columns):
        block, column = divmod(index, columns)
        axes[2 * block, column].set_axis_off()
        axes[2 * block + 1, column].set_axis_off()
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=FONT, frameon=False
    )
    figure.align_ylabels()
    head(figure, result, "Validation")
    return figure


def _compare(upper: "Axes", lower: "Axes", result: xr.Dataset, name: str, *, labelled: bool) -> None:
    """Draw one pair of a validation into its two panels."""
    x = result["r"].values
    reference, *models = [str(model) for model in result["curve"].values]
    truth = values_of(result, "rdf", curve=reference, pair=name)
    noise = error_of(result, "rdf", curve=reference, pair=name)
    curve(upper, x, truth, noise, label=reference, color="black")
    curve(lower, x, np.zeros_like(x), noise, color="black")
    for index, model in enumerate(models):
        y = values_of(result, "rdf", curve=model, pair=name)
        error = error_of(result, "rdf", curve=model, pair=name)
        curve(upper, x, y, error, label=model, **style(index))
        curve(lower, x, y - truth, error, **style(index))
    frame(upper, x, [truth], "rdf")
    lower.set_xlim(upper.get_xlim())
    upper.tick_params(labelbottom=False)
    upper.set_title(name, fontsize=FONT, pad=3)
    if labelled:
        upper.set_ylabel("g(r)", fontsize=FONT)
        lower.set_ylabel("g(r) − reference", fontsize=FONT)
    lower.set_xlabel(label("r", result["r"], "nm"), fontsize=FONT)


def draw_training(result: xr.Dataset, kind: str, chosen: list[str]) -> "Figure":
    """Draw the loss per iteration, and the effective sample size that decides when to sample again."""
    rows = 2 if "effective" in result else 1
    figure, axes = canvas(rows, 1, 4.4 if rows == 2 else 3.2, sharex=True, height_ratios=[2, 1][:rows])
    x = result["iteration"].values
    upper = axes[0, 0]
    for index, name in enumerate(chosen):
        upper.plot(x, values_of(result, "part_loss", part=name), linewidth=1.0, label=name, **style(index))
    upper.plot(x, result["loss"].values, color="black", linewidth=1.3, label="all" if chosen else "loss")
    upper.set_yscale("log")
    upper.set_ylabel(label("loss", result["loss"], "1"), fontsize=FONT)
    upper.legend(fontsize=FONT - 1, frameon=False)
    if rows == 2:
        axes[1, 0].plot(x, result["effective"].values, color=COLOURS[2], linewidth=1.3)
        axes[1, 0].set_ylim(0.0, 1.05)
        axes[1, 0].set_ylabel("effective\nsample share", fontsize=FONT)
    axes[-1, 0].set_xlabel("step", fontsize=FONT)
    axes[-1, 0].xaxis.get_major_locator().set_params(integer=True)
    figure.align_ylabels()
    head(figure, result, "Training")
    return figure
