"""Draw by how much coarse-grained models are too fast, and say what a mobility campaign found.

python docs/pictures/mobility.py ARCHIVE/trimethylpentane
"""

import csv
import json
import sys
from pathlib import Path

import numpy as np

from cgstore.plot.canvas import FONT, canvas, save_figure

HERE = Path(__file__).parent
SWEPT = ("bond_length", "angle", "angle_stiffness", "torsion", "epsilon")
FOUND = ("density", "edge", "D_AA", "D_AA_error", "D_CG", "D_CG_error", "alpha", "alpha_error", "rdf_rmsd")
UNIT = 1e3  # nm²/ps in 10⁻⁹ m²/s


def main(campaign: Path) -> None:
    """Read the records of all systems; write a table of the sound ones, a picture and a summary."""
    records = [json.loads(path.read_text()) for path in sorted(campaign.glob("*/record.json"))]
    sound = [record for record in records if not record["failure"]]
    for record in records:
        if record["failure"]:
            print(f"failed: {record['name']}: {record['failure']}")
    with (HERE / "trimethylpentane.csv").open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["system", *SWEPT, *FOUND])
        for record in sound:
            swept, found = ([record[part].get(name) for name in names] for part, names in
                            (("parameters", SWEPT), ("measured", FOUND)))  # fmt: skip
            table.writerow([record["name"], *swept, *found])
    rows = {name: np.array([r["measured"].get(name) or np.nan for r in sound], float) for name in FOUND}
    minutes = sum(record["seconds"] for record in records) / 60
    print(f"{len(records)} sets, {len(sound)} sound, {minutes:.0f} minutes of all processes together")
    for name, values in rows.items():
        low, middle, high = (f"{value:.4g}" for value in np.nanpercentile(values, (0, 50, 100)))
        print(f"{name}: {low} … {high}, median {middle}, {np.isfinite(values).sum()} known")
    known = np.isfinite(rows["alpha"])
    correlation = np.corrcoef(np.log(rows["D_AA"][known]), np.log(rows["alpha"][known]))[0, 1]
    print(f"correlation of ln alpha and ln D_AA: {correlation:.2f}")
    apart = np.abs(rows["D_AA"][:, None] - rows["D_CG"])
    near = (apart < 2 * np.hypot(rows["D_AA_error"][:, None], rows["D_CG_error"])).sum()
    print(f"{near} of {apart.size} pairs (i, j) have |D_AA(i) - D_CG(j)| < 2 sigma")
    sensitivity(sound, rows)
    draw(sound, rows)


def sensitivity(sound: list[dict], rows: dict[str, np.ndarray]) -> None:
    """Print by how much ln D changes over the range of each parameter, in a linear model of all."""
    x = np.array([[record["parameters"][name] for name in SWEPT] for record in sound])
    reach = np.ptp(x, axis=0)
    scaled = np.column_stack([np.ones(len(x)), (x - x.mean(axis=0)) / reach])
    for name in ("D_AA", "D_CG", "alpha"):
        known = np.isfinite(rows[name])
        y, a = np.log(rows[name][known]), scaled[known]
        if len(y) <= a.shape[1] + 1:
            continue
        slope, *_ = np.linalg.lstsq(a, y, rcond=None)
        rest = y - a @ slope
        error = np.sqrt(np.diag(np.linalg.inv(a.T @ a)) * (rest @ rest) / (len(y) - a.shape[1]))
        parts = ", ".join(f"{p} {s:+.2f} ± {e:.2f}" for p, s, e in zip(SWEPT, slope[1:], error[1:], strict=True))
        print(f"ln {name} over the range of each: {parts}; scatter of the rest {rest.std():.3f}")


def draw(sound: list[dict], rows: dict[str, np.ndarray]) -> None:
    """Draw α against D of the molecules, with standard errors."""
    figure, axes = canvas(1, 1, 5.2)
    panel = axes[0, 0]
    x, y = UNIT * rows["D_AA"], rows["alpha"]
    errors = {"xerr": UNIT * rows["D_AA_error"], "yerr": rows["alpha_error"]}
    panel.errorbar(x, y, **errors, fmt="none", ecolor="0.6", elinewidth=0.8, zorder=1)
    epsilon = [record["parameters"]["epsilon"] for record in sound]
    shown = panel.scatter(x, y, c=epsilon, cmap="viridis", s=22, zorder=2)
    panel.set(
        xlabel="D of the molecules / 10⁻⁹ m² s⁻¹", ylabel="α = D(beads) / D(molecules)", xlim=(0, None), ylim=(1, None)
    )
    figure.colorbar(shown, ax=panel).set_label("factor of ε", fontsize=FONT)
    title = f"2,3,4-trimethylpentane, one bead per molecule by IBI: {np.isfinite(y).sum()} force fields"
    figure.suptitle(title, fontsize=FONT + 1, x=0.01, ha="left")
    save_figure(figure, HERE / "mobility.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
