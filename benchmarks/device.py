"""How quickly pairs and bonded terms are counted with torch on a GPU, beside the compiled kernels on one core.

Without a GPU the tensors are counted on the processor, and fewer of them: that shows that it works, not how fast.
"""

import numpy as np
import torch
import xarray as xr
from _timing import compare, report

from cgstore.averages.bonded import bonded_counter
from cgstore.averages.device import pair_kernel, term_kernel
from cgstore.averages.pair import rdf_counter
from cgstore.kernels.tensor_pairs import count_pairs

BEADS, TYPES, R_MAX, BIN, DENSITY = 5000, 8, 1.5, 0.01, 8.3  # beads per nm³, as water of four molecules per bead


def chains(frames: int) -> xr.Dataset:
    """Make chains of four beads, bonds of about 0.35 nm, anywhere in a cube; eight types in turn."""
    random = np.random.default_rng(1)
    edge = (BEADS / DENSITY) ** (1 / 3)
    start = random.random((frames, BEADS // 4, 1, 3)) * edge
    steps = random.normal(0.0, 0.2, (frames, BEADS // 4, 3, 3)).cumsum(axis=2)
    position = np.concatenate([start, start + steps], axis=2).reshape(frames, BEADS, 3).astype(np.float32)
    first = np.arange(0, BEADS, 4, dtype=np.int32)
    bond = np.concatenate([np.stack([first + i, first + i + 1], axis=1) for i in range(3)])
    angle = np.concatenate([np.stack([first + i, first + i + 1, first + i + 2], axis=1) for i in range(2)])
    dihedral = np.stack([first, first + 1, first + 2, first + 3], axis=1)
    return xr.Dataset(
        {
            "position": (("frame", "particle", "xyz"), position),
            "box": (("frame", "box_vector", "xyz"), np.repeat(np.eye(3)[None] * edge, frames, axis=0)),
            "bond": (("bond", "end"), bond),
            "angle": (("angle", "end3"), angle),
            "dihedral": (("dihedral", "end4"), dihedral),
        },
        {"type": ("particle", [f"T{i % TYPES}" for i in range(BEADS)])},
    )


def main() -> None:
    """Compare on 5 000 beads of 8 types, 36 pairs of types, r_max 1.5 nm, frames in memory."""
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    frames = 256 if device == "cuda" else 16
    ds = chains(frames)
    position, box = ds.position.values, ds.box.values
    kinds = (np.arange(BEADS) % TYPES).astype(np.int32)
    row = np.zeros((TYPES, TYPES), np.int64)
    row[np.triu_indices(TYPES)] = np.arange(TYPES * (TYPES + 1) // 2)
    row = np.maximum(row, row.T)
    bins = round(R_MAX / BIN)
    everybody, start, nobody = np.arange(BEADS), np.zeros(BEADS + 1, np.int64), np.empty(0, np.int64)
    alone = everybody.astype(np.int32)
    rdf = rdf_counter(ds, pairs=None, r_max=R_MAX, bin_width=BIN, exclude_bonded=0)
    bonded = bonded_counter(ds, bond_width=0.002, bond_max=2.0, angle_width=1.0, dihedral_width=2.0)
    on_pairs, on_terms = pair_kernel(device), term_kernel(device)
    there = [torch.tensor(array, device=device) for array in (position, box, kinds, row)]

    def pairs_from_memory() -> np.ndarray:
        counts = np.zeros((frames, row.max() + 1, bins), np.uint32)
        on_pairs(position, box, everybody, kinds, alone, start, nobody, row, BIN, counts)
        return counts

    def pairs_on_device() -> None:
        count_pairs(*there, width=BIN, bins=bins, memory=2**30 if device == "cuda" else 2**22)
        if device == "cuda":
            torch.cuda.synchronize()

    def terms_from_memory() -> None:
        inverse = np.linalg.inv(box)
        for name, low, width, size in (
            ("bond", 0.0, 0.002, 1000),
            ("angle", 0.0, 1.0, 180),
            ("dihedral", -180.0, 2.0, 180),
        ):
            term = ds[name].values
            counts = np.zeros((frames, 1, size), np.uint32)
            on_terms(position, box, inverse, term, np.zeros(len(term), np.int64), low, width, counts)

    compiled = rdf.count(position, box, 0)[0][0]
    differ = np.abs(pairs_from_memory().astype(np.int64) - compiled).sum()
    print(f"of {compiled.sum()} distances {differ / 2:g} are in the bin beside that of the compiled kernel")
    print(f"tensors on {torch.cuda.get_device_name() if device == 'cuda' else 'the processor'}")
    results = {
        "pairs": compare(
            f"{row.max() + 1} pairs of types, {BEADS} beads, r_max {R_MAX} nm",
            {
                "tensors, from memory and back": pairs_from_memory,
                "tensors, that stay there": pairs_on_device,
                "compiled kernel, one core": lambda: rdf.count(position, box, 0),
            },
            amount=frames,
            unit="frames",
        ),
        "terms": compare(
            f"{sum(ds.sizes[name] for name in ('bond', 'angle', 'dihedral'))} bonds, angles and dihedrals",
            {
                "tensors, from memory and back": terms_from_memory,
                "compiled kernel, one core": lambda: bonded.count(position, box, 0),
            },
            amount=frames,
            unit="frames",
        ),
    }
    report(results)


if __name__ == "__main__":
    main()
