"""Tabulated pair potentials as the kernel of the sampler wants them: cubic polynomials in r² for each pair of types."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cgstore.documents import did_you_mean
from cgstore.errors import InputError
from cgstore.kernels.forces_pairs import PairTables
from cgstore.tables import Table, interpolate

__all__ = ["pair_name", "pair_tables"]

Float = NDArray[np.float64]

_INTERVALS = 2048  # of the kernel's table in r²: below 0.001 nm from 0.25 nm on, for a cutoff of 1 nm


def pair_name(first: str, second: str) -> str:
    """Return the name of a pair of types, alphabetical: `pair_name("PO4", "NC3")` is `"NC3-PO4"`."""
    return "-".join(sorted((first, second)))


def pair_tables(tables: Mapping[str, Table], types: NDArray[np.str_]) -> PairTables:
    """Return the tables of all pairs of these types (particle,).

    Raises
    ------
    InputError : no table of a pair of particles, or no pair
    """
    names, index = np.unique(types, return_inverse=True)
    pairs = [(a, b, pair_name(str(names[a]), str(names[b]))) for a in range(len(names)) for b in range(len(names))]
    count = np.bincount(index, minlength=len(names))
    missing = sorted({p for a, b, p in pairs if p not in tables and (a != b or count[a] > 1)})
    if missing:
        raise InputError(
            "sample: no table of the pair " + ", ".join(f"{pair}{did_you_mean(pair, tables)}" for pair in missing)
        )
    cutoff = max((tables[pair].cutoff for _, _, pair in pairs if pair in tables), default=0.0)
    if cutoff == 0.0:
        raise InputError("sample: found no pair of particles, expected two at least")
    table = np.zeros((len(names), len(names), _INTERVALS + 1, 4))
    for a, b, pair in pairs:
        if pair in tables:
            table[a, b, :-1] = _polynomials(tables[pair], cutoff)
    return PairTables(index.astype(np.uint32), table, cutoff)


def _polynomials(table: Table, cutoff: float) -> Float:
    """Return (interval, 4): energy at the node and force/r as a parabola in s = r², from the cubic in s."""
    s = np.linspace(0.0, cutoff**2, _INTERVALS + 1)
    h = s[1]
    r = np.sqrt(s)
    energy, force = interpolate(table, r)
    slope = np.empty_like(s)
    slope[1:] = -0.5 * force[1:] / r[1:]
    slope[0] = (energy[1] - energy[0]) / h  # dU/ds is infinite at r = 0 where a force is left
    rise, left, right = np.diff(energy), h * slope[:-1], h * slope[1:]
    square, cube = 3.0 * rise - 2.0 * left - right, left + right - 2.0 * rise
    return np.stack([energy[:-1], *(-2.0 / h * c for c in (left, 2.0 * square, 3.0 * cube))], axis=1)
