"""Streams: an epoch cut into equal parts that any number of ranks can share without changing what is seen together.

The blocks of an epoch are permuted, laid end to end and cut into equal streams; a block across a cut is read by both
sides, so that nothing is left out. A stream mixes a window of its blocks at a time. The windows of different streams
end at different times: reading goes on evenly, and little more than one window per stream is in memory.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

__all__ = ["Epoch", "Int", "lay_out", "shares", "shuffled"]

Int = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Epoch:
    """The order of one epoch: its pieces of blocks, and its windows of pieces; nothing is read to know it."""

    seed: int
    number: int
    pieces: Int  # (piece, 3) block, first and last start of a sample in it, in the order of reading
    windows: Int  # (window, 5) stream, first and last piece, first and last position in the stream

    def samples(self, window: int) -> Int:
        """Return the samples (sample, 2) of a window in their order: block and start."""
        _, first, last, _, _ = self.windows[window].tolist()
        starts = [
            np.stack([np.full(end - begin, block), np.arange(begin, end)], axis=1)
            for block, begin, end in self.pieces[first:last].tolist()
        ]
        joined = np.concatenate(starts)
        return joined[shuffled(len(joined), seed=self.seed, epoch=self.number, purpose=window + 1)]


def lay_out(sizes: Int, *, streams: int, window: int, seed: int, epoch: int) -> Epoch:
    """Lay the blocks of an epoch out.

    Parameters
    ----------
    sizes : (block, 2) first and last start of each block
    streams : how many
    window : blocks that a stream mixes
    seed, epoch : decide the order of the blocks

    Examples
    --------
    >>> epoch = lay_out(np.array([[0, 4], [4, 8], [8, 10]]), streams=2, window=8, seed=1, epoch=0)
    >>> epoch.windows[:, [0, 3, 4]].tolist()
    [[0, 0, 5], [1, 0, 5]]
    >>> sorted(start for window in range(2) for _, start in epoch.samples(window).tolist())
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    order = shuffled(len(sizes), seed=seed, epoch=epoch, purpose=0)
    first, last = sizes[order].T
    ends = np.cumsum(last - first)
    total = int(ends[-1])
    cuts = np.array([stream * (total // streams) + min(stream, total % streams) for stream in range(streams + 1)])
    edges = np.unique(np.concatenate([[0], ends, cuts]))  # of the pieces, counted in samples
    block = np.searchsorted(ends, edges[:-1], side="right")
    begin = first[block] + edges[:-1] - (ends[block] - (last - first)[block])
    pieces = np.stack([order[block], begin, begin + np.diff(edges)], axis=1)
    borders = np.searchsorted(edges, cuts).tolist()  # of the streams, counted in pieces
    windows = [
        (stream, start, stop, edges[start] - cuts[stream], edges[stop] - cuts[stream])
        for stream in range(streams)
        for start, stop in _windows(borders[stream], borders[stream + 1], window, (stream + 1) / streams)
    ]
    return Epoch(seed, epoch, pieces, np.array(windows, np.int64).reshape(-1, 5))


def _windows(first: int, last: int, window: int, phase: float) -> list[tuple[int, int]]:
    """Cut the pieces of a stream into windows; the first one ends earlier by a phase unless there is only one."""
    if last - first <= window:
        return [(first, last)] if last > first else []
    edges = [first, *range(first + max(1, int(window * phase)), last, window), last]
    return list(pairwise(edges))


def shares(begin: int, end: int, streams: int) -> Int:
    """Return what samples `begin` to `end` of an epoch take of each stream (stream, 2): first and last position.

    Sample k of an epoch is of stream k modulo the number of streams.

    Examples
    --------
    >>> shares(4, 10, 4).tolist()
    [[1, 3], [1, 3], [1, 2], [1, 2]]
    """
    stream = np.arange(streams)
    return np.stack([(begin - stream + streams - 1) // streams, (end - stream + streams - 1) // streams], axis=1)


def shuffled(count: int, *, seed: int, epoch: int, purpose: int) -> Int:
    """Return a permutation that seed, epoch and purpose decide, today and with any later version of NumPy.

    The raw bits of Philox are promised never to change; what NumPy makes of them is not.

    Examples
    --------
    >>> shuffled(6, seed=1, epoch=0, purpose=0).tolist()
    [3, 5, 2, 0, 1, 4]
    """
    bits = np.random.Philox(key=np.array([seed, epoch], np.uint64), counter=np.array([0, 0, 0, purpose], np.uint64))
    return np.argsort(bits.random_raw(count), kind="stable")
