"""Energies and pressures of a campaign of Lennard-Jones fluids beside a published equation of state.

    python benchmarks/equation_of_state.py archive/lennard_jones

Of each sound system: how many of its standard errors the pressure is off, and how far the energy per particle, in ε.
"""

import itertools
import json
import sys
from pathlib import Path

import numpy as np

from cgstore.campaigns.equation_of_state import kolafa_nezbeda
from cgstore.units import BAR, BOLTZMANN

DENSITIES = (0.0, 0.1, 0.3, 0.5, 0.7, 1.2)  # ρ*


def main(campaign: Path) -> None:
    """Print the deviations of all systems, and by density."""
    records = [json.loads(path.read_text()) for path in sorted(campaign.glob("*/record.json"))]
    rows = []
    for record in records:
        if record["failure"]:
            print(f"failed: {record['name']}: {record['failure']}")
            continue
        swept, found = record["parameters"], record["measured"]
        sigma, epsilon = swept["sigma"], swept["epsilon"]
        density = record["settings"]["particles"] * (sigma / swept["edge"]) ** 3
        energy, pressure = kolafa_nezbeda(BOLTZMANN * swept["temperature"] / epsilon, density)
        off = (found["pressure"] - pressure * epsilon / sigma**3 * BAR) / found["pressure_error"]
        rows.append((density, off, found["energy"] / epsilon - energy))
    density, off, energy = np.array(rows).T
    print(f"{len(records)} systems, {len(rows)} sound; pressure off by standard errors (rms), energy by epsilon (mean)")
    print(f"all: {np.sqrt((off**2).mean()):.2f}, {energy.mean():.4f}")
    for low, high in itertools.pairwise(DENSITIES):
        of = (density >= low) & (density < high)
        print(f"{low} to {high}, {of.sum()} systems: {np.sqrt((off[of] ** 2).mean()):.2f}, {energy[of].mean():.4f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
