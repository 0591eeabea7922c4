"""Draw the free energy of the torsions of alanine dipeptide, and say how populated its basins are.

python docs/pictures/ramachandran.py STORE
"""

import sys
from pathlib import Path

import numpy as np

import cgstore
from cgstore.building.dipeptide import PHI, PSI
from cgstore.campaigns.basins import populations, torsion
from cgstore.plot.canvas import FONT, canvas, save_figure
from cgstore.units import BOLTZMANN

HERE = Path(__file__).parent
WIDTH = 10.0  # degrees of a bin


def main(store: Path) -> None:
    """Draw −kT ln p of all replicas, and list what is in each basin."""
    catalog = cgstore.open_catalog(store).search(campaign="alanine_dipeptide")
    runs, names = {}, ("phi_positive", "alpha_left", "alpha_right", "beta")
    print("| replica | from |", " | ".join(names), "| passages |")
    for name, entry in catalog.items():
        ds = entry.open()
        position = ds["position"].values
        runs[name] = torsion(position, PHI), torsion(position, PSI)
        found = populations(*runs[name])
        cells = [f"{found.part[basin]:.3f} ± {found.error[basin]:.3f}" for basin in names]
        print(
            f"| {name.split('/')[0][-1]} | {ds.attrs['parameters']['basin']} |",
            " | ".join(cells),
            f"| {found.passages} |",
        )
    parts = np.array([[populations(*angles).part[basin] for basin in names] for angles in runs.values()])
    spread = parts.std(axis=0, ddof=1) / len(parts) ** 0.5
    print(
        "| all | |",
        " | ".join(f"{mean:.3f} ± {error:.3f}" for mean, error in zip(parts.mean(axis=0), spread, strict=True)),
    )
    phi, psi = np.concatenate(list(runs.values()), axis=1)
    draw(phi, psi, float(ds.attrs["temperature"]))


def draw(phi: np.ndarray, psi: np.ndarray, temperature: float) -> None:
    """Draw the free energy, in kJ/mol above its minimum; white where no frame is."""
    edges = np.arange(-180.0, 180.0 + WIDTH, WIDTH)
    count = np.histogram2d(phi, psi, [edges, edges])[0]
    with np.errstate(divide="ignore"):
        energy = -BOLTZMANN * temperature * np.log(count / count.max())
    figure, axes = canvas(1, 1, 4.6)
    panel = axes[0, 0]
    shown = panel.pcolormesh(edges, edges, np.where(count > 0, energy, np.nan).T, cmap="viridis", rasterized=True)
    panel.set(aspect="equal", xlabel="φ / °", ylabel="ψ / °", xticks=range(-180, 181, 60), yticks=range(-180, 181, 60))
    bar = figure.colorbar(shown, ax=panel)
    bar.set_label("−kT ln p / (kJ/mol), above its minimum", fontsize=FONT)
    bar.ax.tick_params(labelsize=FONT - 1)
    title = f"Alanine dipeptide, AMBER96 and OBC2, {temperature:g} K: {len(phi)} frames in bins of {WIDTH:g}°"
    figure.suptitle(title, fontsize=FONT + 1, x=0.01, ha="left")
    save_figure(figure, HERE / "ramachandran.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
