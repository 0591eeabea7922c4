"""Fluids by LAMMPS, a program on PATH, in its reduced units: no constant of another program enters."""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import numpy as np

from cgstore.engines.fluid import Fluid, Trajectory, lattice
from cgstore.errors import EngineFailure, InputError
from cgstore.frames import Frames
from cgstore.units import BOLTZMANN

__all__ = ["lammps_facts", "lammps_program", "lammps_trajectory"]

_NAMES = ("lmp", "lmp_serial", "lammps")
_SKIN = 0.45  # σ; 0.3 is LAMMPS' default, this was 7 % quicker for 343 particles at ρ* = 0.84
_SCRIPT = """\
units lj
atom_style atomic
boundary p p p
region box block 0 {edge!r} 0 {edge!r} 0 {edge!r}
create_box 1 box
read_dump start.xyz 0 x y z box no add yes format xyz
mass 1 1.0
pair_style {style} {cutoff!r}
pair_coeff 1 1 1.0 1.0
neighbor {skin} bin
timestep {timestep!r}
velocity all create {temperature!r} {seed} mom yes dist gaussian
fix move all nvt temp {temperature!r} {temperature!r} {damping!r}
thermo 1000
run {equilibration}
reset_timestep 0
compute forces all pressure NULL virial
fix measure all ave/time {every} 1 {every} c_thermo_temp c_thermo_pe c_forces file series.txt format " %.10g"
dump frames all custom {every} frames.txt id xu yu zu
dump_modify frames sort id format float %.7g
run {production}
"""


def lammps_program() -> str | None:
    """Return the program, if it is on PATH."""
    return next((found for name in _NAMES if (found := shutil.which(name))), None)


@cache
def lammps_facts(program: str) -> tuple[str, str]:
    """Return the version of a program and its quickest style of pairs."""
    text = subprocess.run([program, "-h"], capture_output=True, text=True, check=False).stdout
    version = next((line.split(" - ", 1)[1] for line in text.splitlines() if " - " in line), "of unknown version")
    return f"LAMMPS {version.strip()}", "lj/cut/opt" if "lj/cut/opt" in text.split() else "lj/cut"


def lammps_trajectory(fluid: Fluid, folder: Path) -> Trajectory:
    """Simulate a fluid with a Nosé–Hoover chain and velocity Verlet; `in.lammps` and `log.lammps` stay in the folder.

    Raises
    ------
    InputError : there is no LAMMPS on PATH
    EngineFailure : LAMMPS gave up; the message is the end of its log
    """
    program = lammps_program()
    if program is None:
        raise InputError('engine: found "lammps", but none of lmp, lmp_serial, lammps is on PATH; use "openmm"')
    engine, style = lammps_facts(program)
    _write_input(fluid, folder, style)
    words = [program, "-in", "in.lammps", "-log", "log.lammps", "-screen", "none"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, env=_alone())
    if done.returncode:
        log = folder / "log.lammps"
        lines = (log.read_text(errors="replace") if log.exists() else done.stdout + done.stderr).splitlines()
        why = next((line for line in reversed(lines) if "ERROR" in line), " / ".join(lines[-2:]))
        raise EngineFailure(f"{engine}: {why.strip() or f'exit code {done.returncode}'}")
    return _read_output(fluid, folder, engine)


def _alone() -> dict[str, str]:
    """Return an environment in which LAMMPS takes one thread: campaigns fill a machine with several systems."""
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def _write_input(fluid: Fluid, folder: Path, style: str) -> None:
    """Write the script and the start, lengths in σ, times in σ√(m/ε)."""
    time = fluid.sigma * (fluid.mass / fluid.epsilon) ** 0.5
    start = lattice(fluid.particles, fluid.edge, seed=fluid.seed) / fluid.sigma
    lines = "".join(f"1 {x:.7f} {y:.7f} {z:.7f}\n" for x, y, z in start)
    (folder / "start.xyz").write_text(f"{fluid.particles}\n Atoms. Timestep: 0\n{lines}")
    script = _SCRIPT.format(
        edge=fluid.edge / fluid.sigma,
        style=style,
        cutoff=fluid.cutoff / fluid.sigma,
        skin=_SKIN,
        timestep=fluid.timestep / time,
        temperature=BOLTZMANN * fluid.temperature / fluid.epsilon,
        damping=fluid.damping / time,
        seed=fluid.seed,
        equilibration=fluid.equilibration,
        production=fluid.production,
        every=fluid.every,
    )
    (folder / "in.lammps").write_text(script)


def _read_output(fluid: Fluid, folder: Path, engine: str) -> Trajectory:
    """Read frames and series back, without the frame before the first step."""
    step, temperature, energy, pressure = np.loadtxt(folder / "series.txt", ndmin=2).T[:, 1:]
    lines = (folder / "frames.txt").read_text().splitlines()
    height = fluid.particles + 9
    words = " ".join(" ".join(lines[k + 9 : k + height]) for k in range(height, len(lines), height))
    numbers = np.array(words.split(), np.float64).reshape(-1, fluid.particles, 4)
    for name in ("frames.txt", "series.txt", "start.xyz"):
        (folder / name).unlink()
    frames = Frames(
        position=(numbers[:, :, 1:] * fluid.sigma).astype(np.float32),
        time=step * fluid.timestep,
        step=step.astype(np.int64),
        box=np.tile(np.eye(3, dtype=np.float32) * np.float32(fluid.edge), (len(step), 1, 1)),
    )
    virial = 3 * pressure * (fluid.edge / fluid.sigma) ** 3 * fluid.epsilon
    kelvin = temperature * fluid.epsilon / BOLTZMANN
    return Trajectory(frames, energy * fluid.epsilon, virial, kelvin, engine)
