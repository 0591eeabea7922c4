"""Frames of a Lennard-Jones solid with noise on its forces, the same everywhere; as files for VOTCA when run.

    python tests/data/force_matching/frames.py FOLDER
    cd FOLDER
    csg_fmatch --top topol.xml --trj traj.trr --options fmatch.xml --no-map

made Ar-Ar.force with VOTCA 2022.1 (Debian).
"""

import sys
from pathlib import Path

import numpy as np
import xarray as xr

SIGMA, EPSILON, CUTOFF, SIDE, CELLS = 0.34, 1.0, 0.9, 2.2, 4  # nm, kJ/mol, nm, nm, fcc cells along a side


def force(r: np.ndarray) -> np.ndarray:
    """Return −dU/dr of 4 ε ((σ/r)¹² − (σ/r)⁶) that ends smoothly at the cutoff, times (1 − (r / cutoff)²)²."""
    r = np.maximum(np.asarray(r, float), 0.1)
    six = (SIGMA / r) ** 6
    energy, slope = 4.0 * EPSILON * (six**2 - six), -24.0 * EPSILON * (2.0 * six**2 - six) / r
    x = (r / CUTOFF) ** 2
    end, fall = (1.0 - x) ** 2, -4.0 * (1.0 - x) * r / CUTOFF**2
    return np.where(r < CUTOFF, -(slope * end + energy * fall), 0.0)


def frames(count: int, *, noise: float, seed: int = 1) -> xr.Dataset:
    """Return frames of 256 particles around the places of an fcc lattice; noise in kJ/mol/nm."""
    rng = np.random.default_rng(seed)
    cell = np.stack(np.meshgrid(*[np.arange(CELLS)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    lattice = (cell + np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])).reshape(-1, 3) * SIDE / CELLS
    position = (lattice + rng.normal(0.0, 0.025, (count, len(lattice), 3))).astype(np.float32)
    forces = np.empty(position.shape)
    for k, x in enumerate(position.astype(float)):
        d = x[:, None] - x[None]
        d -= SIDE * np.rint(d / SIDE)
        r = np.sqrt((d**2).sum(-1)) + 2.0 * CUTOFF * np.eye(len(x))
        forces[k] = ((force(r) / r)[..., None] * d).sum(axis=1)
    forces += rng.normal(0.0, noise, forces.shape)
    box = np.repeat(SIDE * np.eye(3, dtype=np.float32)[None], count, axis=0)
    return xr.Dataset(
        {
            "position": (("frame", "particle", "xyz"), position),
            "force": (("frame", "particle", "xyz"), forces.astype(np.float32)),
            "box": (("frame", "box_vector", "xyz"), box),
        },
        {"type": ("particle", ["Ar"] * len(lattice)), "time": ("frame", np.arange(float(count)))},
    )


TOPOLOGY = """<topology>
  <molecules>
    <molecule name="Ar" nmols="256" nbeads="1"><bead name="Ar" type="Ar" mass="39.948" q="0.0"/></molecule>
  </molecules>
  <box xx="2.2" yy="2.2" zz="2.2"/>
</topology>
"""
OPTIONS = """<cg>
  <fmatch><frames_per_block>8</frames_per_block><constrainedLS>false</constrainedLS></fmatch>
  <non-bonded>
    <name>Ar-Ar</name><type1>Ar</type1><type2>Ar</type2>
    <fmatch><min>0.25</min><max>0.9</max><step>0.025</step><out_step>0.01</out_step></fmatch>
  </non-bonded>
</cg>
"""

if __name__ == "__main__":
    from cgstore.writers import export

    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "topol.xml").write_text(TOPOLOGY)
    (folder / "fmatch.xml").write_text(OPTIONS)
    export(frames(32, noise=100.0), folder / "traj.trr")
