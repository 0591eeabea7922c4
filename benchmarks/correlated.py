"""A correlated trajectory of simple beads, made once by GROMACS: what sizes and speeds of a store are measured on.

5 000 Lennard-Jones beads of eight types, as dense and as heavy as those of common coarse-grained force fields, at
300 K; a frame every 2 ps, so that a bead moves some hundredths of its size from frame to frame. Where GROMACS is not
installed, the atoms of the shipped methane stand in, 1 ps apart.
"""

import itertools
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
BEADS, TYPES, EDGE = 5000, 8, 8.17  # nm
FRAMES, STEPS, DT = 500, 100, 0.02  # ps
MDP = """integrator = md
dt = {dt}
nsteps = {steps}
nstxout-compressed = {every}
compressed-x-precision = 1000
nstenergy = 5000
nstlog = 5000
cutoff-scheme = Verlet
coulombtype = cutoff
rcoulomb = 1.1
rvdw = 1.1
tcoupl = v-rescale
tc-grps = System
tau-t = 1.0
ref-t = 300
gen-vel = {fresh}
gen-temp = 300
gen-seed = 1
ld-seed = 1
"""


@dataclass(frozen=True, slots=True)
class Correlated:
    """A trajectory with its topology, both in one folder."""

    folder: Path
    topology: str
    trajectory: str
    words: str


def correlated() -> Correlated:
    """Return the trajectory, made now if it was not before; it stays in the folder for temporary files."""
    folder = Path(tempfile.gettempdir(), f"cgstore-correlated-{os.getuid()}")
    if not (folder / "traj.xtc").exists():
        if shutil.which("gmx") is None:
            shipped = ROOT / "archive/methane_112k"
            return Correlated(shipped, "system.tpr", "traj.xtc", "methane, atoms 1 ps apart")
        with tempfile.TemporaryDirectory() as scratch:
            simulate(Path(scratch))
            folder.mkdir(exist_ok=True)
            for name in ("system.tpr", "traj.xtc"):
                shutil.copy(Path(scratch, name), folder / name)
    return Correlated(folder, "system.tpr", "traj.xtc", f"{BEADS} beads of {TYPES} types, 2 ps apart")


def simulate(folder: Path) -> None:
    """Start on a lattice, equilibrate for 0.1 ns, then sample."""
    kinds = np.sort(np.arange(BEADS) % TYPES)
    side = int(np.ceil(BEADS ** (1 / 3)))
    corner = np.array(list(itertools.product(range(side), repeat=3)))
    # In the order of the lattice: neighbours in the file begin as neighbours in space, as in molecules.
    position = corner[np.sort(np.random.default_rng(1).permutation(len(corner))[:BEADS])] * (EDGE / side)
    lines = [
        f"{k + 1:5d}{f'B{t}':<5s}{f'B{t}':>5s}{k + 1:5d}{x:8.3f}{y:8.3f}{z:8.3f}"
        for k, (t, (x, y, z)) in enumerate(zip(kinds, position, strict=True))
    ]
    (folder / "start.gro").write_text("\n".join(["beads", str(BEADS), *lines, f"{EDGE} {EDGE} {EDGE}", ""]))
    rows = [f"B{t} 0 72.0 0.0 A {0.40 + 0.01 * t:.3f} {2.0 + 0.25 * t:.3f}" for t in range(TYPES)]
    kind = "[ moleculetype ]\nB{0} 0\n[ atoms ]\n1 B{0} 1 B{0} B{0} 1 0.0 72.0\n"
    (folder / "topol.top").write_text(
        "\n".join(["[ defaults ]", "1 2 no 1.0 1.0", "[ atomtypes ]", *rows, *map(kind.format, range(TYPES))])
        + "\n[ system ]\nbeads\n[ molecules ]\n"
        + "\n".join(f"B{t} {int((kinds == t).sum())}" for t in range(TYPES))
        + "\n"
    )
    for name, start, steps, fresh in (
        ("equilibrate", "start.gro", 5_000, "yes"),
        ("system", "equilibrate.gro", FRAMES * STEPS, "no"),
    ):
        (folder / f"{name}.mdp").write_text(MDP.format(dt=DT, steps=steps, every=STEPS, fresh=fresh))
        run(folder, "grompp", "-f", f"{name}.mdp", "-c", start, "-p", "topol.top", "-o", f"{name}.tpr", "-maxwarn", "5")
        run(folder, "mdrun", "-deffnm", name, "-ntmpi", "1", "-ntomp", str(os.cpu_count() or 1))
    (folder / "system.xtc").rename(folder / "traj.xtc")


def run(folder: Path, *words: str) -> None:
    """Run one command of GROMACS and show its words when it fails."""
    done = subprocess.run(["gmx", "-quiet", *words], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"gmx {' '.join(words)} failed:\n{done.stderr[-3000:]}")


if __name__ == "__main__":
    made = correlated()
    print(f"{made.folder / made.trajectory}: {made.words}")
