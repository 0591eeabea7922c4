"""Draw what force matching found, from the curves that benchmarks/force_matching.py saved.

python docs/pictures/forces.py FLUID.nc METHANE.nc
"""

import sys
from pathlib import Path

import numpy as np
import xarray as xr

from cgstore.plot.canvas import FONT, canvas, save_figure

HERE = Path(__file__).parent


def main(fluid: Path, methane: Path) -> None:
    """Draw the force of a fluid with its error beside the truth, and potentials of methane."""
    with xr.open_dataset(fluid, engine="scipy") as known, xr.open_dataset(methane, engine="scipy") as found:
        figure, axes = canvas(1, 2, 3.0)
        left, right = axes[0]
        row = known.sel(noise=100.0)
        r, inside = row["r"].values, row["force_error"].values > 0.0
        force, error = row["force"].values, row["force_error"].values
        left.fill_between(r, force - error, force + error, where=inside, color="tab:blue", alpha=0.4, lw=0)
        left.plot(r[inside], force[inside], color="tab:blue", lw=1.0, label="matched, with its error")
        left.plot(r, row["truth"].values, "k--", lw=0.8, label="the force that moved the particles")
        left.set(xlim=(0.3, 0.9), ylim=(-15.0, 25.0), xlabel="r / nm", ylabel="force / (kJ/mol/nm)")
        left.set_title("Lennard-Jones fluid", fontsize=FONT)
        r, error = found["r"].values, found["error"].values
        for name, style in (("forces", "-"), ("ibi", "--"), ("mean force", ":")):
            energy = found["energy"].sel(model=name).values
            right.plot(r, energy, style, lw=1.2, label=name)
            if name == "forces":
                right.fill_between(r, energy - error, energy + error, where=np.isfinite(error), alpha=0.3, lw=0)
        right.set(xlim=(0.32, 1.05), ylim=(-2.2, 2.0), xlabel="r / nm", ylabel="energy / (kJ/mol)")
        right.set_title("methane as one bead, 112 K", fontsize=FONT)
        for panel in (left, right):
            panel.legend(fontsize=0.8 * FONT, frameon=False)
        save_figure(figure, HERE / "forces.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
