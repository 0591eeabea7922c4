"""Draw an ensemble that was generated from energies alone beside molecular dynamics, and what its latent variables say.

python docs/pictures/data_free.py FOLDER MD_STORE [NAME]

FOLDER is that of `benchmarks/data_free.py peptide`, NAME a model in it.
"""

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np

import cgstore
from cgstore.building.dipeptide import PHI, PSI
from cgstore.campaigns.basins import BASINS, basins, torsion
from cgstore.features import kept, read_kept
from cgstore.learn.generative.collective import reconstructed
from cgstore.learn.generative.files import load_model
from cgstore.plot.canvas import COLOURS, FONT, canvas, save_figure
from cgstore.units import BOLTZMANN

HERE = Path(__file__).parent
WIDTH = 10.0  # degrees of a bin
EDGES = np.arange(-180.0, 180.0 + WIDTH, WIDTH)
DEEPEST = 25.0  # kJ/mol
NAME = "angles0"
ENDS = ("beta", "alpha_right")  # basins that a line of z leads through


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


def line(z: np.ndarray, where: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return straight lines in z from the middle of one basin to that of the next: (point, latent)."""
    middles = []
    for name in ENDS:
        own = where == list(BASINS).index(name)
        middles.append(np.average(z[own], axis=0, weights=weight[own]))
    parts = [a + np.linspace(0, 1, 40)[:, None] * (b - a) for a, b in pairwise(middles)]
    return np.concatenate(parts)


def maps(figure: object, axes: np.ndarray, shown: tuple, way: np.ndarray) -> None:
    """Draw free energies over φ and ψ, with the way that the line of z takes in them."""
    for panel, (title, energy) in zip(axes, shown, strict=True):
        mesh = panel.pcolormesh(EDGES, EDGES, energy, cmap="viridis", vmin=0, vmax=DEEPEST, rasterized=True)
        panel.set_title(title, fontsize=FONT)
        panel.set(
            aspect="equal", xlabel="φ / °", ylabel="ψ / °", xticks=range(-180, 181, 90), yticks=range(-180, 181, 90)
        )
    axes[1].plot(*way.T, ".", markersize=2, color="#ff00aa")
    bar = figure.colorbar(mesh, ax=axes[1], shrink=0.8)
    bar.set_label("−kT ln p / (kJ/mol)", fontsize=FONT)
    bar.ax.tick_params(labelsize=FONT - 1)


def along(panel: object, x: np.ndarray) -> None:
    """Draw φ and ψ of what is decoded along the line of z."""
    for column, (name, colour) in enumerate(zip(("φ", "ψ"), COLOURS, strict=False)):
        values = np.degrees(x[:, ::10, column])
        point = np.repeat(np.linspace(0, len(ENDS) - 1, len(x)), values.shape[1])
        panel.plot(point, values.ravel(), ".", markersize=1, color=colour, rasterized=True)
        panel.plot([], [], "o", markersize=4, color=colour, label=name)
    panel.set(
        xlabel="along the line of z", ylabel="decoded φ and ψ / °", xticks=range(len(ENDS)), yticks=range(-180, 181, 90)
    )
    panel.set_xticklabels([name.replace("alpha_", "α ") for name in ENDS], fontsize=FONT - 1)
    panel.set_title("decoded along the line", fontsize=FONT)
    panel.legend(fontsize=FONT - 2, frameon=False)


def latent(figure: object, axes: np.ndarray, z: np.ndarray, angle: tuple, where: np.ndarray, path: np.ndarray) -> None:
    """Draw z of samples, coloured by φ, by ψ and by basins."""
    for panel, name, values in zip(axes, ("φ", "ψ"), angle, strict=False):
        dots = panel.scatter(*z.T, c=values, s=1, cmap="twilight", vmin=-180, vmax=180, rasterized=True)
        panel.set_title(f"z by {name}", fontsize=FONT)
        bar = figure.colorbar(dots, ax=panel, shrink=0.8, ticks=range(-180, 181, 90))
        bar.set_label(f"{name} / °", fontsize=FONT)
        bar.ax.tick_params(labelsize=FONT - 1)
    for place, (name, colour) in enumerate(zip(BASINS, COLOURS, strict=False)):
        axes[2].plot(*z[where == place].T, ".", markersize=2, color=colour, label=name, rasterized=True)
    axes[2].plot(*path.T, color="#ff00aa", linewidth=1.5)
    axes[2].set_title("z by basin, and the line", fontsize=FONT)
    axes[2].legend(
        fontsize=FONT - 2, markerscale=4, frameon=False, loc="upper center", ncols=3, handletextpad=0, columnspacing=0.6
    )
    for panel in axes:
        panel.set(aspect="equal", xlabel="z₁", ylabel="z₂", xlim=(-4, 4), ylim=(-4, 4.6), xticks=range(-4, 5, 2))


def main(folder: Path, reference: Path, name: str = NAME) -> None:
    """Draw six panels."""
    dataset = folder / "store" / "alanine_dipeptide_generated" / name / "atoms"
    ds = cgstore.open_catalog(folder / "store")["/".join(dataset.parts[-3:])].open()
    (item,) = [one for one in kept(dataset) if one.name == "generated"]
    z, weight, temperature = read_kept(item)["z"].values, ds["weight"].values, float(ds.attrs["temperature"])
    runs = cgstore.open_catalog(reference).search(campaign="alanine_dipeptide").values()
    dynamics = np.concatenate([angles(entry.open()) for entry in runs], axis=1)
    phi, psi = angles(ds)
    where, some = basins(phi, psi), slice(0, 6000)
    path = line(z, where, weight)
    x = reconstructed(load_model(folder / "models" / f"{name}.npz")[0], path)
    figure, axes = canvas(3, 2, 8.4)
    shown = (
        (f"dynamics, {dynamics.shape[1]} frames", free_energy(*dynamics, np.ones(dynamics.shape[1]), temperature)),
        ("generated, weighted", free_energy(phi, psi, weight, temperature)),
    )
    maps(figure, axes[0], shown, np.degrees(np.angle(np.exp(1j * x[..., :2]).mean(axis=1))))
    along(axes[2, 1], x)
    latent(figure, (*axes[1], axes[2, 0]), z[some], (phi[some], psi[some]), where[some], path)
    save_figure(figure, HERE / "data_free.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
