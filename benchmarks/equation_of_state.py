"""Energies and pressures of a campaign of Lennard-Jones fluids beside a published equation of state.

    python benchmarks/equation_of_state.py archive/lennard_jones

Of each sound system: how many of its standard errors the pressure is off and by which part, and how far the energy per
particle, in ε. By density, and by temperature; the equation was fitted to simulations of kT/ε from 0.7 to 10.
"""

import itertools
import json
import sys
from pathlib import Path

import numpy as np

from cgstore.campaigns.equation_of_state import kolafa_nezbeda
from cgstore.units import BAR, BOLTZMANN

DENSITIES = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.1, 1.5)  # ρ*
TEMPERATURES = (0.7, 1.5, 3.0, 6.0, 10.0, 20.0, 50.0)  # T*


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
        temperature = BOLTZMANN * swept["temperature"] / epsilon
        energy, pressure = kolafa_nezbeda(temperature, density)
        away = found["pressure"] - pressure * epsilon / sigma**3 * BAR
        part = away / found["pressure"]
        rows.append((temperature, density, away / found["pressure_error"], part, found["energy"] / epsilon - energy))
    temperature, density, off, part, energy = np.array(rows).T
    print(
        f"{len(records)} systems, {len(rows)} sound; pressure off by standard errors (rms), by % (median), energy by ε"
    )
    for name, values, edges in (("T*", temperature, TEMPERATURES), ("ρ*", density, DENSITIES)):
        for low, high in [(edges[0], edges[-1]), *itertools.pairwise(edges)]:
            of = (values >= low) & (values < high)
            if of.any():
                numbers = (
                    f"{np.sqrt((off[of] ** 2).mean()):.2f}, {100 * np.median(part[of]):.2f} %, {energy[of].mean():.4f}"
                )
                print(f"{name} {low} to {high}, {of.sum()} systems: {numbers}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
