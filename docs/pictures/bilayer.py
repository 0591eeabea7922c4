"""Draw a peptide through a bilayer, cut open, as a campaign would start it: python docs/pictures/bilayer.py."""

from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.collections import EllipseCollection
from PIL import Image

from cgstore.building.forcefields import load_forcefield, start_of
from cgstore.building.insertion import insert
from cgstore.building.membranes import BILAYER_FORCEFIELD, bilayer
from cgstore.building.peptides import helix

HERE = Path(__file__).parent
RADIUS = {"H": 0.08, "C": 0.13, "N": 0.12, "O": 0.12, "P": 0.15}  # nm, three quarters of van der Waals'
COLOR = {"C": "#b9b4a7", "O": "#d98c6a", "P": "#e0832d", "N": "#3b6fb6"}
WATER, ION, BACKBONE, SIDE = "#a9cbe8", "#7a3fa8", "#1c7a52", "#2f9e6e"
CUT = -0.2  # nm; of what is nearer than this, only the peptide is shown


def drawn() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return positions seen from the peptide, radii, colours, what is peptide, and the edges of the box."""
    forcefield = load_forcefield(*BILAYER_FORCEFIELD)
    model = insert(helix("GKKLALALALALAKKA", forcefield), bilayer("DMPC", per_leaflet=32, water=25), forcefield)
    start = start_of(model, forcefield)
    box = start.box.diagonal()
    peptide = ~np.isin(start.residue, ["DMPC", "HOH", "CL"])
    molecule = np.where(peptide, 0, start.residue_id)
    centre = np.stack([np.bincount(molecule, axis) for axis in start.position.T], 1)
    centre /= np.maximum(np.bincount(molecule), 1)[:, None]
    position = start.position - centre[0]
    position -= (box * np.round((centre - centre[0]) / box))[molecule]
    element = np.array([name[0] for name in start.name])
    radius = np.array([RADIUS[symbol] for symbol in element]) * np.where(start.residue == "HOH", 0.62, 1.0)
    color = np.array([COLOR.get(symbol, WATER) for symbol in element])
    color[start.residue == "HOH"], color[start.residue == "CL"] = WATER, ION
    color[peptide] = np.where(np.isin(start.name, ["N", "CA", "C", "O", "CH3"]), BACKBONE, SIDE)[peptide]
    color[start.name == "NZ"] = COLOR["N"]
    shown = (element != "H") | (start.residue == "HOH")
    shown &= (position[:, 1] > CUT) | peptide
    return position[shown], radius[shown], color[shown], peptide[shown], box


def main() -> None:
    """Draw it."""
    position, radius, color, peptide, box = drawn()
    order = np.lexsort((-position[:, 1], peptide))
    position, radius, peptide = position[order], radius[order], peptide[order]
    rgb = np.array([matplotlib.colors.to_rgb(name) for name in color[order]])
    far = np.where(peptide, 0, 0.65 * np.clip((position[:, 1] - CUT) / (box[1] / 2 - CUT), 0, 1))[:, None]
    rgb = rgb * (1 - far) + far  # what is far fades
    figure, axes = plt.subplots(figsize=(4.6, 5.2))
    axes.add_collection(
        EllipseCollection(
            2 * radius, 2 * radius, np.zeros(len(radius)), units="x", offsets=position[:, [0, 2]],
            offset_transform=axes.transData, facecolors=rgb, edgecolors=0.62 * rgb, linewidths=0.35,
        )
    )  # fmt: skip
    axes.set(aspect="equal", xlim=(-box[0] / 2 - 0.15, box[0] / 2 + 0.15), ylim=(-box[2] / 2 - 0.15, box[2] / 2 + 0.15))
    axes.axis("off")
    axes.plot([-box[0] / 2, -box[0] / 2 + 1], [-box[2] / 2 - 0.05] * 2, color="black", lw=2)
    axes.text(-box[0] / 2 + 0.5, -box[2] / 2, "1 nm", ha="center", va="bottom", fontsize=8)
    figure.subplots_adjust(0, 0, 1, 1)
    figure.savefig(HERE / "bilayer_peptide.png", dpi=110)
    with Image.open(HERE / "bilayer_peptide.png") as image:
        small = image.convert("RGB").quantize(128)
    small.save(HERE / "bilayer_peptide.png", optimize=True)


if __name__ == "__main__":
    main()
