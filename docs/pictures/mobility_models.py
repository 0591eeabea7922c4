"""Draw what held-out potentials are worth: α before and after, what it costs in structure, and how much sets teach.

python docs/pictures/mobility_models.py RESULT.json, as `benchmarks/mobility.py ARCHIVE --json RESULT.json` writes it
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from cgstore.plot.canvas import COLOURS, FONT, canvas, save_figure

HERE = Path(__file__).parent
KINDS = {
    "IBI": ("inversion of the liquid itself", "k", "o"),
    "network A": ("network A, structure", COLOURS[0], "^"),
    "network B": ("network B, mobility", COLOURS[1], "v"),
    "linear B": ("straight line B", COLOURS[4], "s"),
}


def main(said: dict[str, Any]) -> None:
    """Draw all panels."""
    figure, axes = canvas(2, 2, 6.2)
    accelerations(axes[0, 0], said["runs"])
    runs(axes[0, 1], said)
    fronts(axes[1, 0], said["tradeoff"])
    learning(axes[1, 1], said)
    title = "2,3,4-trimethylpentane, one bead per molecule: force fields that no model has seen"
    figure.suptitle(title, fontsize=FONT + 1, x=0.01, ha="left")
    save_figure(figure, HERE / "mobility_models.png")


def points(lines: list[dict[str, Any]], kind: str) -> dict[str, np.ndarray]:
    """Return D of the molecules (10⁻⁹ m²/s), α, its error and rmsd of g of the runs that were liquids."""
    known = [(line["D_AA"], line[kind]) for line in lines if kind in line and not line[kind]["phase"]]
    columns = {"D": [1e3 * d for d, _ in known], "rmsd": [one["rmsd"][0] for _, one in known]}
    columns |= {"alpha": [one["alpha"][0] for _, one in known], "error": [one["alpha"][1] for _, one in known]}
    return {name: np.array(values, float) for name, values in columns.items()}


def accelerations(panel: Any, lines: list[dict[str, Any]]) -> None:
    """Draw α against D of the molecules."""
    for kind, (label, colour, marker) in KINDS.items():
        one = points(lines, kind)
        panel.errorbar(one["D"], one["alpha"], yerr=one["error"], fmt=marker, color=colour, ms=4, lw=0.8, label=label)
    panel.axhline(1.0, color="0.7", lw=0.8, zorder=0)
    panel.set(xlabel="D of the molecules / (10⁻⁹ m² s⁻¹)", ylabel="α = D(beads) / D(molecules)", ylim=(0, None))
    panel.legend(fontsize=FONT - 2, frameon=False)


def runs(panel: Any, said: dict[str, Any]) -> None:
    """Draw rmsd of g against α of all runs."""
    for kind, (_, colour, marker) in KINDS.items():
        one = points(said["runs"], kind)
        panel.errorbar(one["alpha"], one["rmsd"], xerr=one["error"], fmt=marker, color=colour, ms=4, lw=0.8)
    panel.axvline(1.0, color="0.7", lw=0.8, zorder=0)
    panel.set(xlabel="α", ylabel="rmsd of g(r)", ylim=(0, None))


def fronts(panel: Any, sets: list[dict[str, Any]]) -> None:
    """Draw the fronts of rmsd of g and α, and what is behind them."""
    for number, one in enumerate(sets):
        colour = COLOURS[number]
        liquids = {name: p for name, p in one["points"].items() if not p["phase"]}
        x, y = (np.array([p[key][0] for p in liquids.values()], float) for key in ("alpha", "rmsd"))
        panel.plot(x, y, ".", color=colour, ms=5)
        front = np.array([[liquids[name][key][0] for key in ("alpha", "rmsd")] for name in one["front"]])
        panel.plot(front[:, 0], front[:, 1], "-", color=colour, lw=1, label=f"D = {1e3 * one['D_AA']:.2f}")
    panel.axvline(1.0, color="0.7", lw=0.8, zorder=0)
    panel.set(xlabel="α", ylabel="rmsd of g(r), fronts of single sets", ylim=(0, None))
    panel.legend(fontsize=FONT - 2, frameon=False, title="molecules, 10⁻⁹ m² s⁻¹", title_fontsize=FONT - 2)


def learning(panel: Any, said: dict[str, Any]) -> None:
    """Draw held-out errors against the number of sets."""
    curves = {
        "potential by network A, kJ/mol": {n: one["network A"] for n, one in said["learning curve"].items()},
        "ln α by a straight line": {n: one["alpha"] for n, one in said["learning curve"].items()},
        "ln α that network B leaves": {
            n: one["ln alpha"] for n, one in said["curve of B"].items() if "ln alpha" in one
        },
    }  # fmt: skip
    for colour, (label, known) in zip(COLOURS, curves.items(), strict=False):
        value, error = np.array(list(known.values())).T
        panel.errorbar([int(n) for n in known], value, yerr=error, fmt="o-", ms=4, lw=1, color=colour, label=label)
    panel.set(xlabel="force fields learned from", ylabel="held-out error", xlim=(0, None), ylim=(0, None))
    panel.legend(fontsize=FONT - 2, frameon=False)


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
