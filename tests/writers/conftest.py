"""A dataset of each kind of box, with everything that a dataset can have."""

from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr

BOXES = {
    "right": np.array([[3.0, 0, 0], [0, 3.5, 0], [0, 0, 4.0]]),
    "tilted": np.array([[3.0, 0, 0], [0.7, 2.9, 0], [-0.4, 0.9, 3.3]]),
    "none": None,
}


@pytest.fixture(scope="session")
def make() -> Callable[..., xr.Dataset]:
    """Give a function that makes chains of four beads in a box that breathes."""

    def dataset(box: str = "right", *, frames: int = 7, particles: int = 32, motion: bool = True) -> xr.Dataset:
        random = np.random.default_rng(3)
        shape = (frames, particles, 3)
        chain = np.arange(particles) // 4
        bond = np.array([(k, k + 1) for k in range(particles - 1) if chain[k] == chain[k + 1]])
        position = np.rint(random.uniform(-500, 3500, shape)).astype(np.float32) * np.float32(0.001)
        variables: dict[str, object] = {
            "position": (("frame", "particle", "xyz"), position),
            "mass": ("particle", 10.0 + np.arange(particles) % 4),
            "charge": ("particle", (np.arange(particles) % 4 - 1.5) / 2),
            "bond": (("bond", "bond_end"), bond.reshape(-1, 2).astype(np.int32)),
        }
        if motion:
            variables["velocity"] = (("frame", "particle", "xyz"), random.normal(size=shape).astype(np.float32))
            variables["force"] = (("frame", "particle", "xyz"), random.normal(0, 500, shape).astype(np.float32))
        if BOXES[box] is not None:
            scale = 1 + 0.01 * np.arange(frames)[:, None, None]
            variables["box"] = (("frame", "box_vector", "xyz"), (BOXES[box] * scale).astype(np.float32))
        names = np.array(["HD", "C 1", "GL12", "TL"])[np.arange(particles) % 4]
        coordinates = {
            "time": ("frame", 5.0 + 2.5 * np.arange(frames)),
            "step": ("frame", 1000 + 500 * np.arange(frames)),
            "name": ("particle", names),
            "type": ("particle", np.where(names == "TL", "T", names)),
            "residue": ("particle", np.full(particles, "LIP")),
            "residue_id": ("particle", chain.astype(np.int32) + 7),
            "molecule": ("particle", chain.astype(np.int32)),
            "molecule_kind": ("particle", np.full(particles, "LIPID")),
        }
        known = {"name": "made/r1/cg", "level": "cg", "precision": 0.001}
        return xr.Dataset(variables, coordinates, known)

    return dataset
