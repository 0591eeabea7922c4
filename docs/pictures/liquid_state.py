"""Draw how well σ and ε are found, from what benchmarks/liquid_state.py wrote: liquid_state.py FOLDER."""

import json
import sys
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).parent
BLUE, ORANGE, GREY = "#2f6db3", "#d9772b", "#8a8a8a"


def main(folder: Path) -> None:
    """Draw parity, calibration and the learning curve side by side."""
    figure, axes = plt.subplots(1, 4, figsize=(14.0, 3.5), layout="constrained")
    lines = json.loads((folder / "parity.json").read_text())
    for axis, name, unit, color in zip(axes, ("sigma", "epsilon"), ("nm", "kJ/mol"), (BLUE, ORANGE), strict=False):
        true, found, error = (
            np.array([line[key] for line in lines]) for key in (f"{name}_true", name, f"{name}_error")
        )
        axis.axline((true.min(), true.min()), slope=1.0, color=GREY, lw=0.8)
        axis.errorbar(true, found, error, fmt="o", ms=2.0, lw=0.6, color=color)
        axis.set(xlabel=f"{name} of the simulation ({unit})", ylabel=f"{name} from g(r) ({unit})")
    axes[0].set_title(f"{len(lines)} held-out systems", fontsize=9)
    covered = json.loads((folder / "coverage.json").read_text())["result"]
    nominal = np.array(covered["levels"])
    axes[2].axline((0.5, 0.5), slope=1.0, color=GREY, lw=0.8)
    axes[2].fill_between([0.4, 1.0], [0.35, 0.95], [0.45, 1.05], color=GREY, alpha=0.2, lw=0.0)
    for n, (name, color) in enumerate((("sigma", BLUE), ("epsilon", ORANGE))):
        axes[2].plot(nominal, np.array(covered["coverage"])[:, n], "o-", ms=4, color=color, label=name)
        axes[2].plot(nominal, np.array(covered["uncalibrated"])[:, n], "x:", ms=4, color=color, label=f"{name}, raw")
    axes[2].set(xlim=(0.45, 1.0), ylim=(0.35, 1.0), xlabel="nominal probability", ylabel="share of systems inside")
    axes[2].legend(fontsize=7)
    axes[2].set_title(f"{covered['systems']} systems, each held out once", fontsize=9)
    sizes = json.loads((folder / "sizes.json").read_text())["result"]
    for name, color in (("sigma", BLUE), ("epsilon", ORANGE)):
        x, y, e = (np.array(a) for a in zip(*[(line["train"], *line[name]) for line in sizes], strict=True))
        axes[3].errorbar(x, 100 * y, 100 * e, fmt="o", ms=3, lw=0.8, color=color, label=name)
    axes[3].axhline(4.4, color=GREY, lw=0.8, ls="--", label="wanted, 4.4 %")
    axes[3].set(xscale="log", yscale="log", xlabel="training systems", ylabel="mean relative error (%)")
    counts = sorted({line["train"] for line in sizes})
    axes[3].set_xticks(counts, [f"{count}" for count in counts])
    axes[3].minorticks_off()
    axes[3].legend(fontsize=7)
    figure.savefig(HERE / "liquid_state.png", dpi=110)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
