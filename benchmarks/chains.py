"""Short chains of beads, made once by GROMACS: what bonded terms and all distributions together are measured on.

625 chains of eight beads, each of another type, as dense as the single beads of `correlated`: 36 pairs of types, 4 375
bonds, 3 750 angles and 3 125 dihedrals in 300 K, a frame every 2 ps.
"""

import itertools
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
from correlated import DT, EDGE, FRAMES, MDP, STEPS, TYPES, Correlated, run

CHAINS = 625
WORDS = f"{CHAINS} chains of {TYPES} beads, {TYPES} types, 2 ps apart"


def chains() -> Correlated | None:
    """Return the trajectory, made now if it was not before; nothing where GROMACS is not installed."""
    folder = Path(tempfile.gettempdir(), f"cgstore-chains-{os.getuid()}")
    if not (folder / "traj.xtc").exists():
        if shutil.which("gmx") is None:
            return None
        with tempfile.TemporaryDirectory() as scratch:
            simulate(Path(scratch))
            folder.mkdir(exist_ok=True)
            for name in ("system.tpr", "traj.xtc"):
                shutil.copy(Path(scratch, name), folder / name)
    return Correlated(folder, "system.tpr", "traj.xtc", WORDS)


def start() -> np.ndarray:
    """Lay the chains along a path that visits every site of a lattice, one site left free after each."""
    side = int(np.ceil((CHAINS * (TYPES + 1)) ** (1 / 3)))
    turn = [range(side), range(side - 1, -1, -1)]
    plane = [(y, z) for y in range(side) for z in turn[y % 2]]
    path = [(x, *yz) for x in range(side) for yz in (plane if x % 2 == 0 else plane[::-1])]
    places = np.array(path[: len(path) // (TYPES + 1) * (TYPES + 1)]).reshape(-1, TYPES + 1, 3)
    chosen = np.sort(np.random.default_rng(1).permutation(len(places))[:CHAINS])
    return (places[chosen, :TYPES] * (EDGE / side)).reshape(-1, 3)


def topology() -> str:
    """Write the force field: bonds of 0.4 nm, angles of 120 degrees, no torsions."""
    inside = range(1, TYPES + 1)
    return "\n".join([
        *("[ defaults ]", "1 2 no 1.0 1.0", "[ atomtypes ]"),
        *(f"B{t} 0 72.0 0.0 A {0.40 + 0.01 * t:.3f} {2.0 + 0.25 * t:.3f}" for t in range(TYPES)),
        *("[ moleculetype ]", "CHAIN 3", "[ atoms ]"),
        *(f"{i} B{i - 1} 1 CHAIN B{i - 1} {i} 0.0 72.0" for i in inside),
        *("[ bonds ]", *(f"{i} {i + 1} 1 0.40 4000" for i in inside[:-1])),
        *("[ angles ]", *(f"{i} {i + 1} {i + 2} 1 120 50" for i in inside[:-2])),
        *("[ system ]", "chains", "[ molecules ]", f"CHAIN {CHAINS}", ""),
    ])  # fmt: skip


def simulate(folder: Path) -> None:
    """Minimise, equilibrate for 0.1 ns, then sample."""
    lines = [
        f"{m % 99999 + 1:5d}{'CHAIN':<5s}{f'B{t}':>5s}{(m * TYPES + t + 1) % 100000:5d}{x:8.3f}{y:8.3f}{z:8.3f}"
        for (m, t), (x, y, z) in zip(itertools.product(range(CHAINS), range(TYPES)), start(), strict=True)
    ]
    (folder / "start.gro").write_text("\n".join(["chains", str(len(lines)), *lines, f"{EDGE} {EDGE} {EDGE}", ""]))
    (folder / "topol.top").write_text(topology())
    steps = (
        ("minimise", "start.gro", 500, "no"),
        ("equilibrate", "minimise.gro", 5_000, "yes"),
        ("system", "equilibrate.gro", FRAMES * STEPS, "no"),
    )
    for name, before, number, fresh in steps:
        words = MDP.format(dt=DT, steps=number, every=STEPS, fresh=fresh)
        if name == "minimise":
            words = words.replace("integrator = md", "integrator = steep").replace("tcoupl = v-rescale", "tcoupl = no")
        (folder / f"{name}.mdp").write_text(words)
        run(
            folder, "grompp", "-f", f"{name}.mdp", "-c", before, "-p", "topol.top", "-o", f"{name}.tpr", "-maxwarn", "9"
        )
        run(folder, "mdrun", "-deffnm", name, "-ntmpi", "1", "-ntomp", str(os.cpu_count() or 1))
    (folder / "system.xtc").rename(folder / "traj.xtc")


if __name__ == "__main__":
    made = chains()
    print(f"{made.folder / made.trajectory}: {made.words}" if made else "needs GROMACS")
