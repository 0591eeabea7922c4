"""Draw what networks of different layers and descriptors reach and cost.

python docs/pictures/network_sweep.py SWEEP.csv

The rows are those of benchmarks/network_sweep.py; they are kept beside the picture, and printed as a table.
"""

import csv
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cgstore.plot.canvas import COLOURS, FONT, canvas, save_figure

HERE = Path(__file__).parent
MARKS = {"8": ("o", COLOURS[0]), "24": ("s", COLOURS[1])}
KNOWN = {
    "argon": (("published, linear: 0.0726", 0.0726), ("200 frames of the reference: 0.0270", 0.0270)),
    "methanol": (
        ("published, 24 functions, 40-40-40: 0.2697", 0.2697),
        ("201 frames of the references: 0.0277", 0.0277),
    ),
}

Row = dict[str, str]


def means(rows: Sequence[Row]) -> list[dict[str, object]]:
    """Return the mean of the seeds of each network; the error is the larger of their scatter and of their own."""
    found = []
    for key in dict.fromkeys((row["functions"], row["hidden"]) for row in rows):
        mine = [row for row in rows if (row["functions"], row["hidden"]) == key]
        sse, error, noise, seconds, speed = (
            np.array([float(row[name]) for row in mine])
            for name in ("sse", "error", "noise", "seconds", "steps_per_second")
        )
        scatter = sse.std(ddof=1) / len(sse) ** 0.5 if len(sse) > 1 else 0.0
        own = float(np.hypot.reduce(error)) / len(error)
        found.append(
            {"functions": key[0], "hidden": key[1] or "linear", "parameters": mine[0]["parameters"],
             "seeds": len(mine), "sse": sse.mean(), "error": max(scatter, own),
                "ratio": sse.mean() / noise.mean(),
             "seconds": seconds.mean(), "speed": speed.mean()}
        )  # fmt: skip
    return found


def main(path: Path) -> None:
    """Print the table of each system, and draw them side by side."""
    with path.open() as file:
        rows = list(csv.DictReader(file))
    if path.resolve() != HERE / "network_sweep.csv":
        shutil.copyfile(path, HERE / "network_sweep.csv")
    systems = list(dict.fromkeys(row["system"] for row in rows))
    figure, axes = canvas(len(systems), 1, 3.6 * len(systems))
    for panel, system in zip(axes[:, 0], systems, strict=True):
        found = means([row for row in rows if row["system"] == system])
        print(
            f"{system}\n| functions | layers | parameters | SSE | SSE / noise "
            "| seconds | steps per second |\n" + "|---" * 7 + "|"
        )
        for one in found:
            print(
                f"| {one['functions']} | {one['hidden'].replace('-', '–')} | {one['parameters']} | {one['sse']:.4f} ± "
                f"{one['error']:.4f} ({one['seeds']}) | {one['ratio']:.1f} | {one['seconds']:.0f} | "
                f"{one['speed']:.0f} |"
            )
            mark, color = MARKS[one["functions"]]
            label = f"{one['functions']} functions"
            there = panel.get_legend_handles_labels()[1]
            panel.errorbar(
                one["speed"], one["sse"], one["error"], fmt=mark, color=color, ms=5, elinewidth=0.8,
                label=None if label in there else label,
            )  # fmt: skip
            left = one["hidden"] in ("20-20", "40-40-40") and system == "argon"  # of neighbours that are near
            panel.annotate(
                one["hidden"], (one["speed"], one["sse"]), xytext=(-6, -10) if left else (6, 4),
                textcoords="offset points", ha="right" if left else "left", fontsize=FONT - 1,
            )  # fmt: skip
        for (text, value), style in zip(KNOWN[system], ("--", ":"), strict=True):
            panel.axhline(value, color="0.4", linestyle=style, linewidth=1, label=text)
        panel.set(
            xlabel="steps per second of one core",
            ylabel="SSE of g",
            ylim=(0, None),
            xlim=(0, 1.12 * panel.get_xlim()[1]),
        )
        panel.set_title(system, fontsize=FONT, loc="left")
        panel.legend(fontsize=FONT - 1, loc="center left")
    save_figure(figure, HERE / "network_sweep.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
