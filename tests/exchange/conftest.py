"""A box of chains with every kind of term, and its energies by our own kernels."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from cgstore.learn.interactions import Measured
from cgstore.learn.molecular import Molecular
from cgstore.learn.sampler import sample
from cgstore.schema import topology_of

sys.path.insert(0, str(Path(__file__).parents[1] / "learn"))
from molecules import chains, model


@dataclass(frozen=True)
class Chains:
    """One frame of ABBA and CDDC, and the model of them."""

    system: xr.Dataset
    model: Molecular

    def measure(self, **changes) -> Measured:
        """Return energy, force and virial, of a changed model if wanted."""
        changed = replace(self.model, **changes)
        position, box = (self.system[name].values[0].astype(np.float64) for name in ("position", "box"))
        return changed.interaction(topology_of(self.system)).measure(position, box)

    def of(self, term: str) -> float:
        """Return the energy of the bonds, angles or dihedrals alone."""
        topology = topology_of(self.system)
        none = {name: np.empty((0, k), np.int32) for k, name in enumerate(("bond", "angle", "dihedral"), 2)}
        alone = replace(topology, **none | {term: getattr(topology, term)})
        position, box = (self.system[name].values[0].astype(np.float64) for name in ("position", "box"))
        return replace(self.model, pairs={}, fade=0.0).interaction(alone).measure(position, box).energy


@pytest.fixture(scope="session")
def liquid_chains() -> Chains:
    box = np.array([[2.6, 0.0, 0.0], [0.4, 2.5, 0.0], [-0.3, 0.2, 2.4]])
    start = chains(["ABBA"] * 16 + ["CDDC"] * 8, box, seed=3)
    tables = model()
    samples = sample(tables, start, temperature=300.0, equilibrate=1.0, duration=0.5, every=0.5, seed=1, threads=1)
    masses = xr.where(samples["type"].isin(["A", "C"]), 40.0, 60.0).astype(float)
    return Chains(samples.isel(frame=[0]).assign(mass=masses).load(), tables)
