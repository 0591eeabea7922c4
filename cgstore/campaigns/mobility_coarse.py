"""Coarse-grained models of one bead per molecule: a potential by iterative Boltzmann inversion, and a run with it."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.averages.pair import rdf
from cgstore.learn.inversion import invert
from cgstore.learn.sampler import sample, starting_frames
from cgstore.learn.settings import Sampling
from cgstore.tables import Table
from cgstore.topology import Topology
from cgstore.units import BOLTZMANN
from cgstore.writers.contents import blocks_of, contents_of
from cgstore.writers.gro import write_gro
from cgstore.writers.xtc import write_xtc

__all__ = ["Coarse", "Coarsening", "coarsen", "write_coarse"]

_COUPLING = 2.0  # ps, of the kinetic energy; far longer than between collisions, far shorter than the run
_SEARCH = 2.0  # times the time step while the potential is searched: that it is stable and samples right is enough
_SETTLING = 5.0  # ps, left out of each model that is tried; it goes on from where the last one ended


@dataclass(frozen=True, slots=True)
class Coarsening:
    """How a coarse-grained model is found and run; nm, ps."""

    temperature: float  # K
    cutoff: float
    bin_width: float
    replicas: int  # of each model that is tried
    sampling: float  # ps, of each replica
    iterations: int
    tolerance: float  # rmsd of g at which the search ends
    timestep: float
    equilibration: float  # ps
    production: float
    every: float  # ps between frames
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class Coarse:
    """A coarse-grained model, and a run with it at the mean volume of the atomistic one."""

    table: Table
    reference: xr.Dataset  # rdf on (pair, r) of the atomistic run
    structure: xr.Dataset  # the same of the run with the table
    run: xr.Dataset
    temperature: float  # K, the mean of the run
    iterations: int
    rmsd: float  # of the two g


def coarsen(beads: xr.Dataset, how: Coarsening) -> Coarse:
    """Find the potential whose g(r) is that of the beads, and run it.

    Parameters
    ----------
    beads : frames of one kind of bead, such as centres of mass of molecules

    Raises
    ------
    PhysicsError : the box is smaller than twice the cutoff, a model explodes

    Notes
    -----
    The run keeps momentum and is coupled to the temperature by its kinetic energy as a whole, so that beads diffuse as
    without a thermostat; without any the temperature of a run of hundreds of beads is that of its start, some percent
    off. The rmsd is that of this run, which the search has not seen.
    """
    reference = rdf(beads, r_max=how.cutoff, bin_width=how.bin_width, exclude_bonded=0).compute()
    start = starting_frames(beads, min(how.replicas, beads.sizes["frame"]))
    tables, history = invert(
        reference,
        start,
        temperature=how.temperature,
        method="ibi",
        iterations=how.iterations,
        step=1.0,
        tolerance=how.tolerance,
        sampling=Sampling(
            time_step=_SEARCH * how.timestep, equilibrate=_SETTLING, duration=how.sampling, every=how.every, threads=1
        ),
        seed=how.seed,
    )
    run = sample(
        tables,
        start.isel(frame=[0]),
        temperature=how.temperature,
        equilibrate=how.equilibration,
        duration=how.production,
        every=how.every,
        seed=how.seed,
        time_step=how.timestep,
        friction=0.0,
        coupling=_COUPLING,
        threads=1,
    ).drop_vars("replica")
    structure = rdf(run, r_max=how.cutoff, bin_width=how.bin_width, exclude_bonded=0).compute()
    apart = structure["rdf"].values - reference["rdf"].values
    (table,) = tables.values()
    rmsd = float(np.sqrt((apart**2).mean()))
    return Coarse(table, reference, structure, run, float(_warmth(run).mean()), history.sizes["iteration"] - 1, rmsd)


def _warmth(run: xr.Dataset) -> NDArray[np.float64]:
    """Return the temperature of each frame in K."""
    return np.asarray(2 * run["kinetic_energy"].values / (3 * (run.sizes["particle"] - 1) * BOLTZMANN), np.float64)


def write_coarse(coarse: Coarse, folder: Path) -> None:
    """Write the run as `coarse.top`, `.gro`, `.xtc` and `.csv`, the potential, and both g(r) with their errors.

    The topology says what the beads are; their interaction is in `potential.csv`.
    """
    run, table = coarse.run, coarse.table
    frames = run.drop_vars("velocity")
    contents = contents_of(frames)
    (folder / "coarse.top").write_text(_topology(contents.topology), encoding="utf-8")
    write_gro(folder / "coarse.gro", contents, [block[:1] for block in blocks_of(frames.isel(frame=[0]), contents)])
    write_xtc(folder / "coarse.xtc", contents, blocks_of(frames, contents))
    _write(
        folder / "coarse.csv",
        time_ps=run["time"].values,
        energy_kJ_per_mol=run["energy"].values,
        temperature_K=_warmth(run),
    )
    _write(folder / "potential.csv", r_nm=table.r, u_kJ_per_mol=table.energy, force_kJ_per_mol_nm=table.force)
    curves: dict[str, np.ndarray] = {}
    for name, ds in (("atomistic", coarse.reference), ("coarse", coarse.structure)):
        curves |= {name: ds["rdf"].values[0], f"{name}_error": ds["rdf_error"].values[0]}
    _write(folder / "rdf.csv", r_nm=coarse.reference["r"].values, **curves)


def _topology(beads: Topology) -> str:
    """Write beads of one kind as a GROMACS topology without interactions."""
    name, mass = str(beads.name[0]), f"{beads.mass[0]:.9g}"
    sections = {
        "defaults": "1 2 no 1.0 1.0",
        "atomtypes": f"{name} 0 {mass} 0.0 A 0.0 0.0",
        "moleculetype": f"{name} 1",
        "atoms": f"1 {name} 1 {name} {name} 1 0.0 {mass}",
        "system": f"{name}, one bead each, interacting by potential.csv",
        "molecules": f"{name} {len(beads)}",
    }
    return "\n".join(f"[ {title} ]\n{line}\n" for title, line in sections.items())


def _write(path: Path, **columns: np.ndarray) -> None:
    """Write columns of numbers; what is not known is empty."""
    with path.open("x", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(columns)
        for row in zip(*columns.values(), strict=True):
            table.writerow([f"{value:.8g}" if np.isfinite(value) else "" for value in row])
