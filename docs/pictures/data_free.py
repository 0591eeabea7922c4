"""Draw an ensemble that was generated from energies alone beside molecular dynamics, and what its latent variables say.

python docs/pictures/data_free.py GENERATED_STORE MD_STORE
"""

import sys
from pathlib import Path

import numpy as np

import cgstore
from cgstore.building.dipeptide import PHI, PSI
from cgstore.campaigns.basins import BASINS, basins, torsion
from cgstore.features import kept, read_kept
from cgstore.plot.canvas import COLOURS, FONT, canvas, save_figure
from cgstore.units import BOLTZMANN

HERE = Path(__file__).parent
WIDTH = 10.0  # degrees of a bin
EDGES = np.arange(-180.0, 180.0 + WIDTH, WIDTH)
DEEPEST = 25.0  # kJ/mol
NAME = "alanine_dipeptide_generated/rounds2/atoms"


def angles(ds: object) -> tuple[np.ndarray, np.ndarray]:
    """Return φ and ψ of every frame, degrees."""
    position = ds["position"].values
    return torsion(position, PHI), torsion(position, PSI)


def free_energy(phi: np.ndarray, psi: np.ndarray, weight: np.ndarray, temperature: float) -> np.ndarray:
    """Return −kT ln p above its minimum, NaN where nothing is: (ψ, φ) kJ/mol."""
    count = np.histogram2d(phi, psi, [EDGES, EDGES], weights=weight)[0]
    with np.errstate(divide="ignore"):
        energy = -BOLTZMANN * temperature * np.log(count / count.max())
    return np.where(count > 0, energy, np.nan).T


def main(store: Path, reference: Path) -> None:
    """Draw four panels."""
    ds = cgstore.open_catalog(store)[NAME].open()
    (item,) = [one for one in kept(store / NAME) if one.name == "generated"]
    z, weight, temperature = read_kept(item)["z"].values, ds["weight"].values, float(ds.attrs["temperature"])
    runs = cgstore.open_catalog(reference).search(campaign="alanine_dipeptide").values()
    dynamics = np.concatenate([angles(entry.open()) for entry in runs], axis=1)
    phi, psi = angles(ds)
    figure, axes = canvas(2, 2, 6.2)
    shown = (
        (f"dynamics, {dynamics.shape[1]} frames", free_energy(*dynamics, np.ones(dynamics.shape[1]), temperature)),
        (f"generated, {len(phi)} weighted samples", free_energy(phi, psi, weight, temperature)),
    )
    for panel, (title, energy) in zip(axes[0], shown, strict=True):
        mesh = panel.pcolormesh(EDGES, EDGES, energy, cmap="viridis", vmin=0, vmax=DEEPEST, rasterized=True)
        panel.set_title(title, fontsize=FONT)
        panel.set(
            aspect="equal", xlabel="φ / °", ylabel="ψ / °", xticks=range(-180, 181, 90), yticks=range(-180, 181, 90)
        )
    bar = figure.colorbar(mesh, ax=axes[0])
    bar.set_label("−kT ln p / (kJ/mol)", fontsize=FONT)
    bar.ax.tick_params(labelsize=FONT - 1)
    where, some = basins(phi, psi), slice(0, 4000)
    for place, (name, colour) in enumerate(zip(BASINS, COLOURS, strict=False)):
        mine = where[some] == place
        axes[1, 0].plot(*z[some][mine].T, ".", markersize=2, color=colour, label=name, rasterized=True)
    axes[1, 0].set(aspect="equal", xlabel="z₁", ylabel="z₂", xlim=(-4, 4), ylim=(-4, 4))
    axes[1, 0].set_title("latent variables of samples as drawn", fontsize=FONT)
    axes[1, 0].legend(fontsize=FONT - 2, markerscale=4, frameon=False, loc="upper left")
    bins = np.quantile(z[:, 0], np.linspace(0, 1, 21))
    middle, cell = 0.5 * (bins[1:] + bins[:-1]), np.clip(np.searchsorted(bins, z[:, 0]) - 1, 0, 19)
    for place, (name, colour) in enumerate(zip(BASINS, COLOURS, strict=False)):
        part = np.bincount(cell, weight * (where == place), 20) / np.bincount(cell, weight, 20)
        axes[1, 1].plot(middle, part, color=colour, label=name)
    axes[1, 1].set(xlabel="z₁", ylabel="population given z₁, weighted", ylim=(0, 1))
    axes[1, 1].set_title("along z₁", fontsize=FONT)
    save_figure(figure, HERE / "data_free.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
