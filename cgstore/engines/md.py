"""Molecular dynamics of a system that lies in a folder, by GROMACS or OpenMM: the same files and numbers come out.

The force field is `system.top`, a GROMACS topology that is whole. Both engines compute the same energy from it when it
keeps to what they share: combination rule 2 or 3; `nrexcl` 3 with all 1-4 pairs in `[ pairs ]`, or `gen-pairs` no;
hydrogens by atomic number in `[ atomtypes ]` and by an H that begins their name; no residue number twice in a row for
different residues.
"""

import csv
from pathlib import Path

import numpy as np

from cgstore.documents import did_you_mean
from cgstore.engines.conditions import Conditions, Measured, Motion
from cgstore.engines.md_gromacs import gromacs_program, run_gromacs
from cgstore.engines.md_openmm import run_openmm
from cgstore.errors import EngineFailure, InputError
from cgstore.readers.topologies import read_topology
from cgstore.readers.xtc import open_xtc
from cgstore.topology import Topology
from cgstore.writers.contents import Contents
from cgstore.writers.gro import write_gro

__all__ = ["ENGINES", "Conditions", "Motion", "run_md"]

ENGINES = ("auto", "gromacs", "openmm")

_KG_PER_M3 = 1.66053906660  # of one u/nm³ (CODATA 2018)
_COLUMNS = {
    "energy": "energy_kJ_per_mol",
    "temperature": "temperature_K",
    "pressure": "pressure_bar",
    "density": "density_kg_per_m3",
    "area": "area_nm2",
}


def run_md(folder: Path, conditions: Conditions, *, engine: str = "auto") -> Motion:
    """Minimise, heat, equilibrate and run what lies in `system.top` and `start.gro`.

    Parameters
    ----------
    folder : gets `system.gro` (the first frame), `trajectory.xtc` (0.001 nm) and `series.csv`; of what was there only
        `system.top` stays
    engine : auto (GROMACS where gmx is on PATH, else OpenMM), gromacs or openmm; one thread, or a GPU that OpenMM finds

    Returns
    -------
    Motion : `conditions.frames` frames, the first at the begin of the production

    Raises
    ------
    InputError : the engine is unknown or not on PATH; the topology is wrong, or has charges that are to be left out
    MissingExtra : OpenMM is not installed
    EngineFailure : the engine gave up; the message says at what and why

    Notes
    -----
    Temperature: the stochastic velocity rescaling of GROMACS with 1 ps (Bussi 2007, doi:10.1063/1.2408420), a
    Nosé–Hoover chain of OpenMM with 1/ps (Martyna 1992, doi:10.1063/1.463940): neither slows diffusion as friction
    would. Both hold the kinetic energy as a whole: stiff angles, which meet the motion of molecules rarely, keep for
    hundreds of ps what energy they have, and the molecules are as much too cold. With `conditions.friction` the motion
    is Langevin's, and every mode has its temperature (sd of GROMACS, Goga 2012, doi:10.1021/ct3000876; the middle
    scheme of OpenMM, Zhang 2019, doi:10.1021/acs.jpca.9b02771). Pressure: stochastic cell rescaling of GROMACS with 2
    ps (Bernetti and Bussi 2020, doi:10.1063/5.0020514), a Monte Carlo barostat of OpenMM every 25 steps (Åqvist 2004,
    doi:10.1016/j.cplett.2003.12.039). On one machine the same seed gives the same trajectory, with GROMACS and on
    OpenMM's CPU platform.
    """
    if engine not in ENGINES:
        raise InputError(f'engine: found "{engine}"{did_you_mean(engine, ENGINES)}')
    topology = read_topology(folder / "system.top")
    if conditions.electrostatics == "none" and topology.charge.any():
        raise InputError(f'{folder / "system.top"}: found charges, but electrostatics = "none"; use "pme"')
    contents = _contents(topology)
    if engine == "gromacs" or (engine == "auto" and gromacs_program()):
        measured = run_gromacs(folder, conditions)
    else:
        measured = run_openmm(folder, conditions, contents)
    motion = _motion(folder, conditions, topology, measured)
    frames = open_xtc(folder / "trajectory.xtc")
    write_gro(folder / "system.gro", contents, [frames.read(np.array([0]))])
    (folder / "start.gro").unlink()
    _write_series(folder / "series.csv", motion)
    return motion


def _contents(topology: Topology) -> Contents:
    """Return what files of the system are about."""
    particles = len(topology)
    return Contents(
        title="cgstore", topology=topology, element=np.full(particles, ""), time=np.zeros(1),
        step=np.zeros(1, np.int64), weight=None, variables=frozenset({"position", "box"}), precision=None,
    )  # fmt: skip


def _motion(folder: Path, conditions: Conditions, topology: Topology, measured: Measured) -> Motion:
    """Join what the engine measured with what follows from the boxes of the frames."""
    frames = open_xtc(folder / "trajectory.xtc")
    found = (len(frames.time), len(measured.energy))
    if frames.flaw or found != (conditions.frames, conditions.frames):
        raise EngineFailure(
            f"{measured.engine}: stopped after {min(found)} of {conditions.frames} frames {frames.flaw}"
        )
    box = frames.box.astype(np.float64)
    series = {"energy": measured.energy, "temperature": measured.temperature}
    if measured.pressure is not None:
        series["pressure"] = measured.pressure
    series["density"] = topology.mass.sum() * _KG_PER_M3 / np.abs(np.linalg.det(box))
    if conditions.membrane:
        series["area"] = np.linalg.norm(np.cross(box[:, 0], box[:, 1]), axis=1)
    return Motion(time=frames.time - frames.time[0], series=series, engine=measured.engine)


def _write_series(path: Path, motion: Motion) -> None:
    """Write the series, one line per frame."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["time_ps", *(_COLUMNS[name] for name in motion.series)])
        for row in zip(motion.time, *motion.series.values(), strict=True):
            table.writerow([f"{value:.8g}" for value in row])
