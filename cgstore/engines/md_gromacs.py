"""Molecular dynamics by GROMACS, a program on PATH, in five runs: minimise, heat, condense, equilibrate, produce."""

import os
import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from cgstore.engines.conditions import Conditions, Measured
from cgstore.engines.gromacs_options import stages_of
from cgstore.errors import EngineFailure, InputError

__all__ = ["gromacs_program", "gromacs_version", "run_gromacs"]

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
        for stage, options in stages_of(conditions).items():
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
