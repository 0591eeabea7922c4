"""Draw what held-out potentials are worth: structure against mobility, and errors against the number of sets.

python docs/pictures/mobility_models.py RESULT.json, as `benchmarks/mobility.py ARCHIVE --json RESULT.json` writes it
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from cgstore.plot.canvas import FONT, canvas, save_figure

HERE = Path(__file__).parent
KINDS = {"IBI": ("k", "o"), "linear": ("C0", "s"), "network A": ("C2", "^"), "network B": ("C3", "v")}


def main(said: dict[str, Any]) -> None:
    """Draw both panels."""
    figure, axes = canvas(1, 2, 8.6)
    runs(axes[0, 0], said)
    learning(axes[0, 1], said["learning curve"])
    title = "2,3,4-trimethylpentane, one bead per molecule: force fields that no model has seen"
    figure.suptitle(title, fontsize=FONT + 1, x=0.01, ha="left")
    save_figure(figure, HERE / "mobility_models.png")


def runs(panel: Any, said: dict[str, Any]) -> None:
    """Draw rmsd of g against α of all runs, and the front of those between structure and mobility."""
    for kind, (colour, marker) in KINDS.items():
        known = [line[kind] for line in said["runs"] if kind in line]
        x, y, error = (np.array([one[key][n] or np.nan for one in known], float) for key, n in
                       (("alpha", 0), ("rmsd", 0), ("alpha", 1)))  # fmt: skip
        panel.errorbar(x, y, xerr=error, fmt=marker, color=colour, ms=4, lw=0.8, label=kind)
    for number, one in enumerate(said["tradeoff"]):
        points = np.array([[one["points"][name][key][0] for key in ("alpha", "rmsd")] for name in one["front"]])
        panel.plot(points[:, 0], points[:, 1], "-", color="0.6", lw=1, label="" if number else "front of a family")
        everything = np.array([[p[key][0] for key in ("alpha", "rmsd")] for p in one["points"].values()], float)
        panel.plot(everything[:, 0], everything[:, 1], ".", color="0.6", ms=4, zorder=1)
    panel.axvline(1.0, color="0.8", lw=0.8, zorder=0)
    panel.set(xlabel="α = D(beads) / D(molecules)", ylabel="rmsd of g(r)", xscale="log", yscale="log")
    panel.legend(fontsize=FONT - 1, frameon=False)


def learning(panel: Any, said: dict[str, Any]) -> None:
    """Draw held-out errors against the number of sets."""
    numbers = [int(number) for number in said]
    for key, label, colour in (("u", "potential, kJ/mol", "C0"), ("alpha", "ln α", "C1")):
        value, error = np.array([one[key] for one in said.values()]).T
        panel.errorbar(numbers, value, yerr=error, fmt="o-", ms=4, lw=1, color=colour, label=label)
    panel.set(xlabel="force fields learned from", ylabel="held-out rms error", xlim=(0, None), ylim=(0, None))
    panel.legend(fontsize=FONT - 1, frameon=False)


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
