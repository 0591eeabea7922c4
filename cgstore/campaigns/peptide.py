"""The campaign kind `peptide`: reference ensembles of alanine dipeptide in implicit solvent, with forces."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from cgstore.averages.series import mean_of_series
from cgstore.building.dipeptide import KIND, PHI, PSI, alanine_dipeptide
from cgstore.building.forcefields import load_forcefield, start_of
from cgstore.campaigns.basins import BASINS, basins, populations, torsion
from cgstore.campaigns.equilibrium import settled_from
from cgstore.campaigns.kinds import Outcome, Run
from cgstore.campaigns.sweep import one_of
from cgstore.documents import Document, Time, did_you_mean
from cgstore.engines.implicit_openmm import (
    CONSTRAINTS,
    SOLVENTS,
    Langevin,
    Sampled,
    implicit_system,
    potential_text,
    sampled,
)
from cgstore.readers.topologies import read_topology
from cgstore.writers.contents import Contents
from cgstore.writers.trr import write_trr

__all__ = ["DEFAULTS", "ENGINES", "PARAMETERS", "Settings", "refused", "simulate"]

PARAMETERS = {"basin": "word", "temperature": "temperature"}
DEFAULTS: dict[str, float | str] = {"basin": "beta"}
ENGINES = ("openmm",)

_FRAMES = 32  # at least: fewer do not show a drift
_WARM = 0.05  # of the temperature; its mean may be off by this before the integrator is not believed
_BOX = 10.0  # nm; there is none, but GROMACS wants to know of one


class Settings(Document):
    """What all systems of a campaign have in common."""

    solvent: Annotated[str, one_of(tuple(SOLVENTS))] = "obc2"
    constraints: Annotated[str, one_of(CONSTRAINTS)] = "none"
    timestep: Annotated[Time, Field(gt=0, le=0.004)] = 0.001  # ps
    friction: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0  # 1/ps
    equilibration: Annotated[int, Field(ge=0, strict=True)] = 100_000  # steps
    production: Annotated[int, Field(ge=1, strict=True)] = 3_000_000  # steps
    every: Annotated[int, Field(ge=1, strict=True)] = 1000  # steps between frames

    @field_validator("every")
    @classmethod
    def _several_frames(cls, every: int, info: Any) -> int:
        """Ask for as many frames as a drift can be seen in."""
        production = info.data.get("production", every * _FRAMES)
        if production % every or production < _FRAMES * every:
            raise ValueError(
                f"found {every}, expected a part of production, {production} steps, for at least {_FRAMES} frames"
            )
        return every


def refused(point: Mapping[str, Any], settings: Settings) -> str:
    """Say why a point is not simulated: there is no such basin to start from.

    Examples
    --------
    >>> refused({"basin": "alpha_right", "temperature": 330.0}, Settings())
    ''
    """
    basin = point["basin"]
    return "" if basin in BASINS else f'found the basin "{basin}"{did_you_mean(basin, BASINS)}'


def simulate(point: Mapping[str, Any], settings: Settings, *, seed: int, engine: str, folder: Path) -> Outcome:
    """Sample alanine dipeptide from one basin on.

    `system.top` (the force field without the solvent), `system.xml` (the whole potential, for OpenMM), `trajectory.trr`
    (positions and forces) and `series.csv` are left in the folder.
    """
    modeller = alanine_dipeptide(*BASINS[point["basin"]])
    system = implicit_system(modeller.topology, solvent=settings.solvent, constraints=settings.constraints)
    langevin = Langevin(
        temperature=point["temperature"],
        friction=settings.friction,
        timestep=settings.timestep,
        equilibration=settings.equilibration,
        production=settings.production,
        every=settings.every,
        seed=seed,
    )
    run = sampled(system, modeller.positions, langevin)
    torsions = {name: torsion(run.frames.position, atoms) for name, atoms in (("phi", PHI), ("psi", PSI))}
    measured, discard, failure = _judge(run, torsions, langevin)
    if not failure.startswith("exploded"):
        _write_potential(modeller, system, folder)
        _write(run, torsions, folder)
    return Outcome(
        failure=failure,
        engine=run.engine,
        measured=measured,
        system={
            "title": f"Alanine dipeptide, AMBER96 and {settings.solvent.upper()}, from {point['basin']}",
            "kind": "molecule",
            "forcefield": f"AMBER96 + {settings.solvent.upper()}",
            "temperature": f"{langevin.temperature!r} K",
            "ensemble": "NVT",
            "composition": {KIND: 1},
            "parameters": {
                "basin": point["basin"],
                "solvent": settings.solvent,
                "constraints": settings.constraints,
                "timestep": settings.timestep,  # ps
                "friction": settings.friction,  # 1/ps
            },
        },
        mapping={},
        levels=("atoms",),
        precision="lossless",  # 0.001 nm would change the energy of a frame by 2 kJ/mol
        runs=(Run(discard, topology="system.top", trajectory="trajectory.trr"),),
    )


def _judge(
    run: Sampled, torsions: dict[str, NDArray[np.float64]], langevin: Langevin
) -> tuple[dict[str, Any], float, str]:
    """Return what was measured, the time from which it is equilibrated, and what is wrong.

    Changes between basins are rare and no failure, so that the energy may not drift within the basins: the mean of the
    basin of each frame is taken off first.
    """
    series = np.array([run.energy, run.temperature])
    if not (np.isfinite(series).all() and np.isfinite(run.frames.position).all()):
        return {}, 0.0, "exploded: a position or an energy is not finite"
    phi, psi = torsions["phi"], torsions["psi"]
    where = basins(phi, psi)
    mean = np.bincount(where, run.energy) / np.maximum(np.bincount(where), 1)
    start, failure = settled_from({"energy": run.energy - mean[where]})
    kept = mean_of_series(series[:, start:])
    measured: dict[str, Any] = {}
    for name, value, error in zip(("energy", "kinetic_temperature"), kept.mean, kept.error, strict=True):
        measured |= {name: _plain(value), f"{name}_error": _plain(error)}
    found = populations(phi[start:], psi[start:])
    for name, value in found.part.items():
        measured |= {name: _plain(value), f"{name}_error": _plain(found.error[name])}
    measured |= {"passages": found.passages, "frames": len(phi) - start, "unsettled_frames": start}
    freedom = 3 * run.frames.position.shape[1]
    if abs(kept.mean[1] / langevin.temperature - 1) > _WARM + (2 / freedom) ** 0.5:
        failure = f"exploded: the mean temperature is {kept.mean[1]:.1f} K, {langevin.temperature:g} K were wanted"
    return measured, float(run.frames.time[start]) if start else 0.0, failure


def _plain(value: float) -> float | None:
    """Return a number with the digits it deserves, or None when it is not known."""
    return float(f"{value:.7g}") if np.isfinite(value) else None


def _write_potential(modeller: Any, system: Any, folder: Path) -> None:
    """Write the force field: what GROMACS and cgstore read of it, and all of it for OpenMM."""
    modeller.topology.setPeriodicBoxVectors(np.eye(3) * _BOX)
    start = start_of(modeller, load_forcefield("amber96.xml"), names={"ACE": KIND})
    (folder / "system.top").write_text(start.topology, encoding="utf-8")
    (folder / "system.xml").write_text(potential_text(system), encoding="utf-8")


def _write(run: Sampled, torsions: dict[str, NDArray[np.float64]], folder: Path) -> None:
    """Write the frames and the series."""
    frames = run.frames
    topology = read_topology(folder / "system.top")
    contents = Contents(
        title="alanine dipeptide", topology=topology, element=np.full(len(topology), ""), time=frames.time,
        step=frames.step, weight=None, variables=frozenset({"position", "force"}), precision=None,
    )  # fmt: skip
    write_trr(folder / "trajectory.trr", contents, [frames])
    with (folder / "series.csv").open("x", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["time_ps", "energy_kJ_per_mol", "temperature_K", "phi_degree", "psi_degree"])
        for row in zip(frames.time, run.energy, run.temperature, *torsions.values(), strict=True):
            table.writerow([f"{value:.8g}" for value in row])
