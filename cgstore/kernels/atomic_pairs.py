"""The pairs that a network of atoms sees: in half, and once more so that both partners have an entry each.

The column of the neighbours of type t of a particle is as long as a multiple of sixteen, so that loops over entries
need no rest. Where neighbours are few, rows have one neighbour of each of the particles that are treated together. What
fills columns and rows up is at the cutoff, where every function is zero.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cgstore.kernels.radial import LANES
from cgstore.kernels.verlet import Neighbours

__all__ = ["Columns", "Kinds", "Pairs", "Rows", "columns_of", "near_pairs", "nearest_pairs", "rows_of"]

Float = NDArray[np.floating[Any]]
Single = NDArray[np.float32]
Index = NDArray[np.unsignedinteger[Any]]


class Kinds(NamedTuple):
    """The types of particles."""

    kind: NDArray[np.uint32]  # (particle,) number of the type
    order: NDArray[np.uint32]  # (particle,) the particles sorted by their types
    rank: NDArray[np.uint32]  # (particle,) where each is in that order
    types: int  # how many


class Pairs(NamedTuple):
    """Pairs i, j once each: those of i at `first[i]` to the next."""

    half: Single  # (entry, 4) nm, nm²: vector from j to i, and squared distance
    who: Index  # (entry,) j
    first: Index  # (particle + 1,)
    many: Index  # (particle · types + 1,): 0, and how many neighbours of type t a particle has, at rank · types + t + 1


class Columns(NamedTuple):
    """The same pairs for both partners: the column of type t of a particle at `edge[rank · types + t]` to the next."""

    edge: Index  # (particle · types + 1,)
    slot: Index  # (pair, 2) the entries of i and of j
    square: Single  # (entry,) nm²


class Rows(NamedTuple):
    """The same pairs for both partners: a particle has a lane of rows `edge[batch · types + t]` to the next."""

    edge: NDArray[np.int64]  # (batch · types + 1,)
    slot: Index  # (pair, 2) row · lanes + lane of i and of j
    square: Single  # (row, lane) nm²
    vector: Single  # (row, xyz, lane) nm, from the particle to its neighbour; zero where there is none


@njit(nogil=True, cache=True, error_model="numpy")
def _blank(entries: int, particles: int, kinds: int) -> Pairs:
    """Return room for pairs."""
    half, who = np.empty((entries, 4), np.float32), np.empty(entries, np.uint32)
    return Pairs(half, who, np.zeros(particles + 1, np.uint32), np.zeros(particles * kinds + 1, np.uint32))


@njit(nogil=True, cache=True, error_model="numpy")
def near_pairs(kinds: Kinds, cutoff: float, position: Float, neighbours: Neighbours) -> Pairs:
    """Return the listed pairs that are within the cutoff."""
    particles, limit = position.shape[0], cutoff**2
    start, shift = neighbours.start, neighbours.shift
    found = _blank(int(start[particles]) + 1, particles, kinds.types)
    half, end = found.half, np.uint32(0)
    for i in range(particles):
        found.first[i] = end
        xi, yi, zi = position[i, 0], position[i, 1], position[i, 2]
        own, base = kinds.kind[i], np.uint32(kinds.rank[i] * kinds.types + 1)
        partners, codes = neighbours.partner[start[i] : start[i + 1]], neighbours.code[start[i] : start[i + 1]]
        for p in range(partners.shape[0]):
            j, c = partners[p], codes[p]
            dx = xi - position[j, 0] + shift[c, 0]
            dy = yi - position[j, 1] + shift[c, 1]
            dz = zi - position[j, 2] + shift[c, 2]
            r2 = dx * dx + dy * dy + dz * dz
            # Written always and kept by counting up: a branch would be mispredicted for every third pair.
            half[end, 0], half[end, 1], half[end, 2], half[end, 3] = dx, dy, dz, r2
            found.who[end] = j
            inside = np.uint32(r2 < limit)
            end += inside
            found.many[base + kinds.kind[j]] += inside
            found.many[np.uint32(kinds.rank[j] * kinds.types + 1) + own] += inside
    found.first[particles] = end
    return found


@njit(nogil=True, cache=True, error_model="numpy")
def nearest_pairs(kinds: Kinds, cutoff: float, pairs: Pairs) -> Pairs:
    """Return those of the pairs that are within a smaller cutoff, of which zero leaves none."""
    particles, limit = pairs.first.shape[0] - 1, np.float32(cutoff**2)
    if cutoff == 0.0:
        return _blank(0, particles, kinds.types)
    found = _blank(int(pairs.first[particles]) + 1, particles, kinds.types)
    end = np.uint32(0)
    for i in range(particles):
        found.first[i] = end
        own, base = kinds.kind[i], np.uint32(kinds.rank[i] * kinds.types + 1)
        for p in range(pairs.first[i], pairs.first[i + 1]):
            j = pairs.who[p]
            for x in range(4):
                found.half[end, x] = pairs.half[p, x]
            found.who[end] = j
            inside = np.uint32(pairs.half[p, 3] < limit)
            end += inside
            found.many[base + kinds.kind[j]] += inside
            found.many[np.uint32(kinds.rank[j] * kinds.types + 1) + own] += inside
    found.first[particles] = end
    return found


@njit(nogil=True, cache=True, error_model="numpy")
def columns_of(kinds: Kinds, cutoff: float, pairs: Pairs) -> Columns:
    """Return the columns of pairs that are within the cutoff."""
    edge, at = np.zeros_like(pairs.many), np.uint32(0)
    for place in range(1, edge.shape[0]):
        at += (pairs.many[place] + np.uint32(LANES - 1)) // np.uint32(LANES) * np.uint32(LANES)
        edge[place] = at
    there, slot = edge.copy(), np.empty((pairs.who.shape[0], 2), np.uint32)
    square = np.full(at, np.float32(cutoff**2), np.float32)
    for i in range(pairs.first.shape[0] - 1):
        own, base = kinds.kind[i], np.uint32(kinds.rank[i] * kinds.types)
        for p in range(pairs.first[i], pairs.first[i + 1]):
            j = pairs.who[p]
            mine, yours = base + kinds.kind[j], np.uint32(kinds.rank[j] * kinds.types) + own
            a, b = there[mine], there[yours]
            square[a] = pairs.half[p, 3]
            square[b] = pairs.half[p, 3]
            slot[p, 0], slot[p, 1] = a, b
            there[mine] = a + np.uint32(1)
            there[yours] = b + np.uint32(1)
    return Columns(edge, slot, square)


@njit(nogil=True, cache=True, error_model="numpy")
def rows_of(kinds: Kinds, batch: NDArray[np.int64], lanes: int, cutoff: float, pairs: Pairs) -> Rows:
    """Return the rows of pairs that are within the cutoff; `batch` (batch + 1,) is where batches begin by rank."""
    types = kinds.types
    edge, there = np.zeros((batch.shape[0] - 1) * types + 1, np.int64), np.empty_like(pairs.many)
    for number in range(batch.shape[0] - 1):
        for t in range(types):
            deepest = np.uint32(0)
            for rank in range(batch[number], batch[number + 1]):
                deepest = max(deepest, pairs.many[rank * types + t + 1])
                there[rank * types + t] = edge[number * types + t] * lanes + rank - batch[number]
            edge[number * types + t + 1] = edge[number * types + t] + deepest
    slot, stride = np.empty((pairs.who.shape[0], 2), np.uint32), np.uint32(lanes)
    square = np.full((edge[-1], lanes), np.float32(cutoff**2), np.float32)
    vector = np.zeros((edge[-1], 3, lanes), np.float32)
    for i in range(pairs.first.shape[0] - 1):
        own, base = kinds.kind[i], np.uint32(kinds.rank[i] * types)
        for p in range(pairs.first[i], pairs.first[i + 1]):
            j = pairs.who[p]
            mine, yours = base + kinds.kind[j], np.uint32(kinds.rank[j] * types) + own
            a, b = there[mine], there[yours]
            slot[p, 0], slot[p, 1] = a, b
            there[mine], there[yours] = a + stride, b + stride
            square[a // stride, a % stride] = square[b // stride, b % stride] = pairs.half[p, 3]
            for x in range(3):
                vector[a // stride, x, a % stride] = -pairs.half[p, x]
                vector[b // stride, x, b % stride] = pairs.half[p, x]
    return Rows(edge, slot, square, vector)
