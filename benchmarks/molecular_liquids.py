"""Campaigns of molecular liquids beside references: every number of docs/campaign-liquids.md that no record has.

    python benchmarks/molecular_liquids.py heat SYSTEM [SYSTEM …]        temperatures of angles and molecules of methane
    python benchmarks/molecular_liquids.py pair STORE NAME STORE NAME    g(r) of one dataset against another
    python benchmarks/molecular_liquids.py methanol ARCHIVE STORE DATA   methanol in water against the published g(r)

SYSTEM is a folder of the campaign with trajectory.xtc and record.json, ARCHIVE the folder of the campaign, DATA the
folder configs/methanol-data of https://github.com/mikhail-a-ivanov/ML-IMC (GPL-3, not part of this project).
"""

import argparse
import json
from pathlib import Path

import numpy as np
import xarray as xr

import cgstore
from cgstore.averages.series import mean_of_series
from cgstore.readers.xtc import open_xtc
from cgstore.units import BOLTZMANN

STIFFNESS, ANGLE = 276.144, np.deg2rad(107.8)  # kJ/mol/rad², of H–C–H in OPLS-AA
TETRAHEDRON = np.arccos(-1.0 / 3.0)
ANGLES, BENDS = 6, 5  # of a methane; degrees of freedom of its angles, of 11 in all with rigid bonds
REACH, WIDTH = 1.1, 0.02  # nm, of methanol; its boxes are 2.4 nm and more
PUBLISHED_WIDTH = 0.005


def heat(folders: list[Path]) -> None:
    """Print the temperatures of the angles and of the molecules of methane."""
    print("| system | T / K | T(angles) | T(molecules) |\n|---|---|---|---|")
    for folder in folders:
        record = json.loads((folder / "record.json").read_text())
        file = open_xtc(folder / "trajectory.xtc")
        frames = file.read(np.arange(len(file.time)))
        energy = bend(frames.position.astype(np.float64), frames.box[:, 0, 0].astype(np.float64))
        angles = mean_of_series(energy[None] / (0.5 * BENDS * BOLTZMANN))
        whole = record["measured"]["kinetic_temperature"]
        print(
            f"| {folder.name} | {record['parameters']['temperature']} | {angles.mean[0]:.1f} ± {angles.error[0]:.1f} | "
            f"{(11 * whole - BENDS * angles.mean[0]) / 6:.1f} |"
        )


def bend(position: np.ndarray, edge: np.ndarray) -> np.ndarray:
    """Return the energy of the angles of a molecule above the lowest one, mean of each frame: (frame,) kJ/mol."""
    atoms = position.reshape(len(position), -1, 5, 3)  # carbon first
    arm = atoms[:, :, 1:] - atoms[:, :, :1]
    arm -= edge[:, None, None, None] * np.round(arm / edge[:, None, None, None])
    arm /= np.linalg.norm(arm, axis=-1, keepdims=True)
    i, j = np.triu_indices(4, k=1)
    angle = np.arccos((arm[:, :, i] * arm[:, :, j]).sum(axis=-1))
    energy = 0.5 * STIFFNESS * ((angle - ANGLE) ** 2).sum(axis=-1).mean(axis=1)
    return energy - ANGLES * 0.5 * STIFFNESS * (TETRAHEDRON - ANGLE) ** 2  # six angles cannot all be 107.8 degrees


def pair(one: xr.Dataset, two: xr.Dataset) -> None:
    """Print how far two RDFs are apart up to 1 nm."""
    one, two = (cgstore.rdf(ds, r_max=1.0, bin_width=WIDTH).compute().isel(pair=0) for ds in (one, two))
    deviation, error = one.rdf - two.rdf, np.hypot(one.rdf_error, two.rdf_error)
    chi2 = float(((deviation / error).where(error > 0) ** 2).mean())
    rms = [float((values**2).mean() ** 0.5) for values in (deviation, error)]
    print(f"root mean square deviation {rms[0]:.4f}, combined error {rms[1]:.4f}, χ² per bin {chi2:.2f}")


def methanol(archive: Path, store: Path, data: Path) -> None:
    """Print densities and RDFs of methanol in water beside the published RDFs."""
    catalog = cgstore.open_catalog(store)
    print(
        "| methanol | methanols | density | off by | our error | χ² per bin | maximum | published |\n"
        + "|---" * 8
        + "|"
    )
    for folder in sorted((archive / "methanol_water").glob("methanol_water_*")):
        record = json.loads((folder / "record.json").read_text())
        percent = round(100 * record["parameters"]["fraction"])
        if record["failure"]:
            print(f"| {percent} % | | {record['failure']} | | | | | |")
            continue
        ds = catalog[f"{record['name']}/r1/cg"].open()
        found = cgstore.rdf(ds, r_max=REACH, bin_width=WIDTH).compute().isel(pair=0)
        g, error = found.rdf.values, found.rdf_error.values
        known, hit, top = published(data, percent), error > 0, int(g.argmax())
        measured = record["measured"]
        density = f"{measured['density']:.1f} ± {measured['density_error']:.1f}"
        print(
            f"| {percent} % | {ds.sizes['particle']} | {density} | {rms(g - known):.3f} | {rms(error[hit]):.3f} | "
            f"{rms(((g - known) / error)[hit]) ** 2:.1f} | {g[top]:.3f} ± {error[top]:.3f} | {known.max():.3f} |"
        )


def published(data: Path, percent: int) -> np.ndarray:
    """Return the published RDF in our bins: (bin,), each the mean of its narrow bins by volume."""
    (path,) = data.rglob(f"{percent}CH3OH*.rdf")
    r, g = np.loadtxt(path).T  # Å
    each, bins = round(WIDTH / PUBLISHED_WIDTH), round(REACH / WIDTH)
    g, weight = (values[: bins * each].reshape(bins, each) for values in (g, r**2))
    return (g * weight).sum(axis=1) / weight.sum(axis=1)


def rms(values: np.ndarray) -> float:
    """Return the root mean square."""
    return float((values**2).mean() ** 0.5)


def main() -> None:
    """Do what the first word says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="what", required=True)
    parts.add_parser("heat").add_argument("folders", type=Path, nargs="+", metavar="SYSTEM")
    two = parts.add_parser("pair")
    for name in ("store", "name", "other_store", "other_name"):
        two.add_argument(name)
    three = parts.add_parser("methanol")
    for name in ("archive", "store", "data"):
        three.add_argument(name, type=Path)
    asked = parser.parse_args()
    if asked.what == "heat":
        heat(asked.folders)
    elif asked.what == "pair":
        places = ((asked.store, asked.name), (asked.other_store, asked.other_name))
        pair(*(cgstore.open_catalog(store)[name].open() for store, name in places))
    else:
        methanol(asked.archive, asked.store, asked.data)


if __name__ == "__main__":
    main()
