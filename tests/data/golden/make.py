"""Write the golden store of the disk format that this cgstore has: `python tests/data/golden/make.py`.

Each dataset has 21 frames of six particles in chunks of 2 and shards of 8 frames (from format 2 on, 4 and 16 where
there are no particles), the last nine appended as a second version: as integers on a grid, lossless, and from format 2
on in the profile `small`; with velocities, forces and weights. `golden_frames` says what a reader must see. A format
that was in use is never rewritten: a new one gets a folder of its own.
"""

import sys
from pathlib import Path

import numpy as np

from cgstore.frames import Frames
from cgstore.store import layout
from cgstore.store.versions import stage
from cgstore.topology import Topology

PARTICLES = 6


def golden_topology() -> Topology:
    index = np.arange(PARTICLES, dtype=np.int32)
    return Topology(
        name=np.array(["C 1", "O5'", "β", "", "100%", "H"]),
        type=np.array(["A", "B"])[index % 2],
        residue=np.full(PARTICLES, "DMPC"),
        residue_id=index + 1,
        molecule=index // 2,
        molecule_kind=np.full(PARTICLES, "DMPC"),
        mass=1.0 + index,
        charge=np.linspace(-1, 1, PARTICLES),
        bond=np.array([[0, 1], [2, 3]], np.int32),
        angle=np.array([[0, 1, 2]], np.int32),
        dihedral=np.empty((0, 4), np.int32),
    )


def golden_frames(*, gridded: bool) -> tuple[Frames, np.ndarray]:
    """Positions from integer arithmetic alone, so that they are the same on every machine and for every NumPy."""
    count = np.arange(21 * PARTICLES * 3, dtype=np.int64).reshape(21, PARTICLES, 3)
    codes = (count * 2_654_435_761) % 6001 - 3000
    position = codes.astype(np.float32) * np.float32(0.001)
    if not gridded:
        position = position + (count % 7).astype(np.float32) * np.float32(2.0**-12)
    box = np.tile(np.diag([6.0, 6.25, 6.5]).astype(np.float32), (21, 1, 1))
    box[:, 2, 0] = 1.5
    frames = Frames(
        position=position,
        time=np.arange(21) * 0.5,
        step=np.arange(21, dtype=np.int64) * 250,
        box=box,
        velocity=(codes[::-1] / 4096).astype(np.float32),
        force=(codes * 0.125).astype(np.float32),
    )
    return frames, 1.0 + np.arange(21) / 8


DATASETS = {"grid": (0.001, "fast"), "lossless": (None, "fast"), "small": (0.001, "small")}


def write_store(folder: Path) -> None:
    """Write the datasets, each in two versions."""
    layout._CHUNK_BYTES, layout._SHARD_BYTES = 6 * PARTICLES, 8 * 6 * PARTICLES
    layout._BLOCK_BYTES, layout._MOST_CHUNKS = 4 * 12 * PARTICLES, 4
    for name, (precision, profile) in DATASETS.items():
        frames, weight = golden_frames(gridded=precision is not None)
        dataset, attrs = folder / "golden" / "r1" / name, {"kind": "liquid"}
        with stage(dataset) as first:
            first.create(golden_topology(), frames, precision=precision, attrs=attrs, weighted=True, profile=profile)
            first.append(frames[:12], weight=weight[:12])
            first.publish()
        with stage(dataset, base=1) as second:
            second.append(frames[12:], weight=weight[12:])
            second.publish()


if __name__ == "__main__":
    here = Path(__file__).parent
    target = here / f"format{layout.FORMAT}"
    if target.exists():
        sys.exit(f"{target} is there already; a released format is never rewritten")
    write_store(target)
