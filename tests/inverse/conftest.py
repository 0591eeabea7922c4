"""A system that can be enumerated: particles on a small ring, three A and two B, the B bonded to each other."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pytest
import xarray as xr

from cgstore.averages.covariance import dataset_of, moment
from cgstore.units import BOLTZMANN

TEMPERATURE = 300.0
SITES = 10


@dataclass(frozen=True)
class Ring:
    """All states of the ring, as the counts of pairs at distances 1, 2, … in each."""

    counts: np.ndarray  # (state, entry)
    entries: xr.Dataset
    true: np.ndarray  # (entry,) kJ/mol
    kT: float = BOLTZMANN * TEMPERATURE
    temperature: float = TEMPERATURE

    def probability(self, energy: np.ndarray) -> np.ndarray:
        """Return the Boltzmann weights of all states."""
        u = self.counts @ energy / self.kT
        p = np.exp(u.min() - u)
        return p / p.sum()

    def mean(self, energy: np.ndarray) -> np.ndarray:
        """Return exact mean counts (entry,)."""
        return self.probability(energy) @ self.counts

    def exact(self, energy: np.ndarray) -> xr.Dataset:
        """Return the exact covariance dataset: states are frames weighted with their probability."""
        attrs = {"part_length": len(self.counts)}
        return dataset_of([moment(self.counts, self.probability(energy))], self.entries.assign_attrs(attrs))

    def sampled(self, energy: np.ndarray, frames: int, *, seed: int, stay: float = 0.0, parts: int = 16) -> xr.Dataset:
        """Return the covariance dataset of a walk that stays where it is with the probability `stay`."""
        rng = np.random.default_rng(seed)
        drawn = rng.choice(len(self.counts), frames, p=self.probability(energy))
        kept = rng.random(frames) < stay
        kept[0] = False
        place = np.maximum.accumulate(np.where(kept, 0, np.arange(frames)))
        counts = self.counts[drawn[place]].astype(np.uint32)
        moments = [moment(part, np.ones(len(part))) for part in np.array_split(counts, parts)]
        return dataset_of(moments, self.entries.assign_attrs(part_length=frames // parts))

    def target(self, error: float | np.ndarray = 0.0) -> xr.Dataset:
        """Return the exact mean counts under the true potential."""
        mean = self.mean(self.true)
        return self.entries.assign(counts=("entry", mean), counts_error=("entry", np.broadcast_to(error, mean.shape)))

    def pmf(self) -> np.ndarray:
        """Return −kT ln of the target over what non-interacting particles have."""
        return -self.kT * np.log(self.mean(self.true) / self.mean(np.zeros(len(self.true))))

    def fixed(self, energy: np.ndarray) -> np.ndarray:
        """Return a potential without the constants that do nothing, its last bin of each kind zero."""
        kinds = self.entries["kind"].values
        result = energy.copy()
        for kind in np.unique(kinds):
            result[kinds == kind] -= energy[kinds == kind][-1]
        return result


def _ring(reach: int) -> Ring:
    """Enumerate the ring; pairs of A and of A and B are counted up to a distance, the bond always."""
    a = np.array(list(combinations(range(SITES), 3)))
    b = np.array(list(combinations(range(SITES), 2)))
    states = [(x, y) for x in a for y in b if not set(x) & set(y)]
    x, y = (np.array(parts) for parts in zip(*states, strict=True))

    def histogram(first: np.ndarray, second: np.ndarray, bins: int) -> np.ndarray:
        gap = np.abs(first - second)
        distance = np.minimum(gap, SITES - gap)  # (state, pair)
        return (distance[:, :, None] == np.arange(1, bins + 1)).sum(axis=1)

    i, j = np.triu_indices(3, 1)
    tables = [
        ("rdf", "A-A", histogram(x[:, i], x[:, j], reach)),
        ("rdf", "A-B", histogram(np.repeat(x, 2, axis=1), np.tile(y, (1, 3)), reach)),
        ("bond", "B-B", histogram(y[:, :1], y[:, 1:], SITES // 2)),
    ]
    label, kind, distance = [], [], []
    for name, pair, table in tables:
        label += [name] * table.shape[1]
        kind += [pair] * table.shape[1]
        distance += list(np.arange(1.0, table.shape[1] + 1))
    entries = xr.Dataset(coords={"distribution": ("entry", label), "kind": ("entry", kind), "x": ("entry", distance)})
    kT = BOLTZMANN * TEMPERATURE
    shapes = {"A-A": [0.8, -0.6, 0.0, 0.0, 0.0], "A-B": [-0.7, 0.4, 0.0, 0.0, 0.0], "B-B": [0.3, -0.6, 0.4, 0.9, 0.5]}
    true = kT * np.concatenate([shapes[pair][: table.shape[1]] for _, pair, table in tables])
    return Ring(np.concatenate([table for *_, table in tables], axis=1).astype(np.uint32), entries, true)


@pytest.fixture(scope="session")
def ring() -> Ring:
    """Pairs are counted up to a distance of three sites of five."""
    return _ring(3)


@pytest.fixture(scope="session")
def whole_ring() -> Ring:
    """All pairs are counted, so that constants in pair potentials do nothing."""
    return _ring(5)
