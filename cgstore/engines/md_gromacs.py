"""Molecular dynamics by GROMACS, a program on PATH, in five runs: minimise, heat, condense, equilibrate, produce."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from math import gcd
from pathlib import Path

import numpy as np

from cgstore.engines.conditions import Conditions, Measured
from cgstore.errors import EngineFailure, InputError

__all__ = ["gromacs_program", "gromacs_version", "run_gromacs"]

Options = Mapping[str, str | int | float]

_SEEDS = 2**31 - 8
_HEATING = 5_000  # steps, of a quarter of the timestep
_CONDENSING = 5_000  # steps; starts may be much thinner than the liquid
_SOFT = 5.0  # how many times the compressibility is assumed then: so much quicker the volume follows
_TERMS = ("Potential", "Temperature", "Pressure")
_MOST = 400  # characters of what GROMACS says that are repeated


def gromacs_program() -> str | None:
    """Return the program, if it is on PATH."""
    return shutil.which("gmx")


def run_gromacs(folder: Path, conditions: Conditions) -> Measured:
    """Run what lies in `system.top` and `start.gro`; leave `trajectory.xtc`.

    Raises
    ------
    InputError : there is no gmx on PATH
    EngineFailure : GROMACS gave up; the message has the end of what it said
    """
    program = gromacs_program()
    if program is None:
        raise InputError('engine: found "gromacs", but gmx is not on PATH; install GROMACS, or use "openmm"')
    engine = gromacs_version(program)
    with tempfile.TemporaryDirectory(prefix="gromacs-", dir=folder) as name:
        place = Path(name)
        start = ["-c", str((folder / "start.gro").absolute())]
        for stage, options in _stages(conditions).items():
            text = "".join(f"{key} = {value}\n" for key, value in options.items())
            (place / f"{stage}.mdp").write_text(text, encoding="ascii")
            words = ["-f", f"{stage}.mdp", "-p", str((folder / "system.top").absolute()), "-o", f"{stage}.tpr"]
            _call([program, "-quiet", "grompp", *words, *start], place, f"{engine}, grompp, {stage}")
            words = ["-deffnm", stage, "-ntmpi", "1", "-ntomp", "1", "-pin", "off", "-reprod"]
            _call([program, "-quiet", "mdrun", *words], place, f"{engine}, {stage}")
            # The checkpoint has all digits and the velocities; a minimisation leaves none.
            start = ["-c", f"{stage}.gro", *(["-t", f"{stage}.cpt"] if (place / f"{stage}.cpt").exists() else [])]
        energy, temperature, pressure = _series(program, place, engine)
        (place / "production.xtc").replace(folder / "trajectory.xtc")
    return Measured(engine, energy, temperature, pressure)


@cache
def gromacs_version(program: str) -> str:
    """Return name and version of the program."""
    text = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"^GROMACS version:\s*(\S+)", text, re.MULTILINE)
    return f"GROMACS {found[1] if found else 'of unknown version'}"


def _stages(conditions: Conditions) -> dict[str, Options]:
    """Return the options of each run."""
    seed = conditions.seed % _SEEDS
    shared: Options = {
        "cutoff-scheme": "Verlet",
        "rcoulomb": conditions.cutoff,
        "rvdw": conditions.cutoff,
        "vdw-modifier": "None",  # energies as in OpenMM; forces are the same
        "coulombtype": "PME" if conditions.electrostatics == "pme" else "Cut-off",
        "DispCorr": "EnerPres" if conditions.tails else "no",
        "nstxout": 0,
    }
    moving: Options = {
        **shared,
        "integrator": "md",
        "constraints": conditions.constraints,
        "tcoupl": "v-rescale",
        "tc-grps": "System",
        "ref-t": conditions.temperature,
        "dt": conditions.timestep,
    }
    # With friction: stiff modes begin without potential energy, and a thermostat of the whole system would pay for it
    # from the motion of the molecules, for hundreds of ps in methane.
    heating: Options = {
        **moving,
        "integrator": "sd",
        "tcoupl": "no",
        "dt": conditions.timestep / 4,
        "nsteps": _HEATING,
        "tau-t": 0.1,
        "gen-vel": "yes",
        "gen-temp": conditions.temperature,
        "gen-seed": seed + 1,
        "ld-seed": seed + 1,
    }
    going_on: Options = {**moving, "tau-t": 1.0, "gen-vel": "no", "continuation": "yes"}
    soft = replace(conditions, compressibility=_SOFT * conditions.compressibility)
    condensing: Options = {**going_on, **_barostat(soft, 0.5), "nsteps": _CONDENSING, "ld-seed": seed + 4}
    return {
        "minimisation": {**shared, "integrator": "steep", "nsteps": 1000, "emtol": 500.0, "emstep": 0.01},
        "heating": heating,
        **({} if conditions.pressure is None else {"condensation": condensing}),
        "equilibration": {
            **going_on, **_barostat(conditions, 1.0), "nsteps": conditions.equilibration, "ld-seed": seed + 2
        },
        "production": {
            **going_on,
            **_barostat(conditions, 2.0),
            "nsteps": conditions.production,
            "ld-seed": seed + 3,
            "nstxout-compressed": conditions.every,
            "compressed-x-precision": 1000,
            "nstenergy": conditions.every,
            "nstcalcenergy": gcd(conditions.every, 100),
        },
    }  # fmt: skip


def _barostat(conditions: Conditions, time: float) -> Options:
    """Return the options of the barostat with a time in ps; GROMACS wants it to be a hundred steps at least."""
    if conditions.pressure is None:
        return {"pcoupl": "no"}
    sides = 2 if conditions.membrane else 1
    return {
        "pcoupl": "C-rescale",
        "pcoupltype": "semiisotropic" if conditions.membrane else "isotropic",
        "tau-p": max(time, 100 * conditions.timestep),
        "ref-p": " ".join([repr(conditions.pressure)] * sides),
        "compressibility": " ".join([repr(conditions.compressibility)] * sides),
    }


def _call(words: list[str], place: Path, what: str, *, asked: str = "") -> None:
    """Run GROMACS in one thread; whatever interrupts this process ends it too."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GMX_MAXBACKUP": "-1"}
    done = subprocess.run(
        words, cwd=place, capture_output=True, text=True, errors="replace", check=False, env=environment, input=asked
    )
    if done.returncode:
        raise EngineFailure(f"{what}: {_why(done.stderr + done.stdout) or f'exit code {done.returncode}'}")


def _why(said: str) -> str:
    """Return the error that GROMACS reports, or the end of what it said.

    >>> _why("Step 3\\n---\\nFatal error:\\nToo many LINCS warnings (1000)\\n\\nFor more information and tips")
    'Too many LINCS warnings (1000)'
    """
    parts = re.findall(r"(?:rror|nconsistency in user input):\n(.*?)\n\s*For more information", said, re.DOTALL)
    errors = re.findall(r"^(?:ERROR|WARNING) \d+ \[.*?\]:\n(.*?)\n\s*\n", said, re.DOTALL | re.MULTILINE)
    found = " ".join(" ".join([*errors, *parts]).split())
    return found[:_MOST] or " ".join(said.split())[-_MOST:]


def _series(program: str, place: Path, engine: str) -> list[np.ndarray]:
    """Return potential energy, temperature and pressure of each frame."""
    words = ["energy", "-f", "production.edr", "-o", "series.xvg"]
    _call([program, "-quiet", *words], place, f"{engine}, energy", asked="\n".join([*_TERMS, "", ""]))
    lines = (place / "series.xvg").read_text(encoding="utf-8").splitlines()
    legends = [found[1] for line in lines if (found := re.match(r'@ s\d+ legend "(.*)"', line))]
    rows = np.array([line.split() for line in lines if line[:1] not in ("#", "@")], np.float64)
    return [rows[:, 1 + legends.index(term)] for term in _TERMS]
