"""Bonded terms arranged for counting: sorted by kind, and made of arrows between particles that terms share.

A chain of n beads has n − 1 bonds, n − 2 angles and n − 3 dihedrals, with 6n − 14 arrows, but n − 1 different ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Terms", "arrange"]

# The arrows of a bond, an angle (both from its middle) and a dihedral, by the number of their particles.
_WALKS = {2: [[0, 1]], 3: [[1, 0], [1, 2]], 4: [[0, 1], [1, 2], [2, 3]]}


@dataclass(frozen=True, slots=True, eq=False)
class Terms:
    """Terms of several histograms: bonds, angles, dihedrals, as `cgstore.kernels.bonded.count_arranged` takes them."""

    arrow: NDArray[np.int32]  # (arrow, 2) from the lower to the higher particle, each once
    term: NDArray[np.int32]  # (term, 3) arrows of a term, as many as it has
    sign: NDArray[np.float32]  # (term, 2) factors of the sine and the cosine for arrows that are walked backwards
    kind: NDArray[np.int64]  # (kind, 5) histogram, row, arrows of a term, its first term, and the term after its last
    origin: NDArray[np.int64]  # (term,) where it was among the terms of its histogram
    low: NDArray[np.float32]  # (histogram,) first edge
    scale: NDArray[np.float32]  # (histogram,) bins per nm or degree


def arrange(
    ends: Sequence[NDArray[np.int32]], row: Sequence[NDArray[np.int64]], low: Sequence[float], width: Sequence[float]
) -> Terms:
    """Arrange the terms of histograms.

    Parameters
    ----------
    ends : for each histogram (term, 2 | 3 | 4) particles of bonds, angles or dihedrals
    row : for each histogram (term,) the row that a term counts in
    low, width : for each histogram the first edge and the width of its bins, nm or degrees

    Examples
    --------
    >>> bonds, angles = np.array([[0, 1], [2, 1]], np.int32), np.array([[0, 1, 2]], np.int32)
    >>> terms = arrange([bonds, angles], [np.array([1, 0]), np.array([0])], [0.0, 0.0], [0.002, 1.0])
    >>> terms.arrow.tolist(), terms.term.tolist(), terms.sign[2].tolist()
    ([[0, 1], [1, 2]], [[1, 0, 0], [0, 0, 0], [0, 1, 0]], [-1.0, -1.0])
    >>> terms.kind.tolist(), terms.origin.tolist()
    ([[0, 0, 1, 0, 1], [0, 1, 1, 1, 2], [1, 0, 2, 2, 3]], [1, 0, 0])
    """
    orders = [np.argsort(rows, kind="stable") for rows in row]
    walks = [part[order][:, _WALKS[part.shape[1]]] for part, order in zip(ends, orders, strict=True)]
    flat = np.concatenate([np.empty((0, 2), np.int32), *(walk.reshape(-1, 2) for walk in walks)])
    size = int(flat.max(initial=0)) + 1
    key, number = np.unique(flat.min(axis=1).astype(np.int64) * size + flat.max(axis=1), return_inverse=True)
    arrow, forward = np.stack([key // size, key % size], axis=1), np.where(flat[:, 0] > flat[:, 1], -1.0, 1.0)
    total, place, done = sum(map(len, walks)), 0, 0
    term, sign = np.zeros((total, 3), np.int32), np.ones((total, 2), np.float32)
    kind = []
    for histogram, (walk, rows, order) in enumerate(zip(walks, row, orders, strict=True)):
        count, length = walk.shape[:2]
        part, numbers = slice(place, place + count), slice(done, done + count * length)
        term[part, :length] = number[numbers].reshape(count, length)
        turns = forward[numbers].reshape(count, length)
        sign[part, 0], sign[part, 1] = turns.prod(axis=1), turns[:, 0] * turns[:, -1]
        found, first = np.unique(rows[order], return_index=True)
        stop = np.append(first[1:], count)
        kind += [(histogram, r, length, place + a, place + b) for r, a, b in zip(found, first, stop, strict=False)]
        place, done = place + count, done + count * length
    return Terms(
        arrow=np.ascontiguousarray(arrow, np.int32),
        term=term,
        sign=sign,
        kind=np.array(kind, np.int64).reshape(-1, 5),
        origin=np.concatenate([*orders, np.empty(0, np.int64)]).astype(np.int64),
        low=np.array(low, np.float32),
        scale=np.array([_reciprocal(one) for one in width], np.float32),
    )


def _reciprocal(width: float) -> np.float32:
    """Return the smallest float32 that is not below 1 / width, so that no value on an edge falls into the bin below."""
    nearest = np.float32(1.0 / width)
    return nearest if float(nearest) >= 1.0 / width else np.nextafter(nearest, np.float32(np.inf))
