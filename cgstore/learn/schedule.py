"""Schedules: which windows of blocks which batches need, in the order in which they have to be read.

Windows that end before a place are not in its schedule: a loader that goes on in the middle of an epoch reads nothing
of what came before.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from cgstore.learn.plan import Plan
from cgstore.learn.streams import Epoch, Int

__all__ = ["Visit", "share", "steps", "visits"]


@dataclass(frozen=True, slots=True, eq=False)
class Visit:
    """A window of a stream in an epoch, needed from one batch to another, both included."""

    layout: Epoch
    window: int
    stream: int
    position: int  # of its first sample in the stream
    first: tuple[int, int]  # epoch and step
    last: tuple[int, int]

    def blocks(self) -> list[int]:
        """Return its blocks."""
        _, first, last, _, _ = self.layout.windows[self.window].tolist()
        return [int(block) for block in self.layout.pieces[first:last, 0]]


def visits(plan: Plan, streams: range, place: tuple[int, int], *, endless: bool = False) -> Iterator[Visit]:
    """Yield the windows of some streams that are needed from a place on, those needed first before the others.

    Parameters
    ----------
    plan : the order
    streams : of this process
    place : epoch and step of the first batch
    endless : go on with the next epoch
    """
    epoch, step = place
    while True:
        layout = plan.epoch(epoch)
        stream, _, _, begin, end = layout.windows.T
        first = (begin * plan.streams + stream) // plan.batch_size
        last = ((end - 1) * plan.streams + stream) // plan.batch_size
        mine = np.flatnonzero((stream >= streams.start) & (stream < streams.stop) & (last >= step))
        for number in mine[np.lexsort([stream[mine], first[mine]])].tolist():
            yield Visit(
                layout,
                number,
                int(stream[number]),
                int(begin[number]),
                (epoch, int(first[number])),
                (epoch, int(last[number])),
            )
        if not endless:
            return
        epoch, step = epoch + 1, 0


def steps(plan: Plan, place: tuple[int, int], *, endless: bool = False) -> Iterator[tuple[int, int]]:
    """Yield epoch and step of each batch from a place on."""
    epoch, step = place
    while True:
        for number in range(step, len(plan)):
            yield epoch, number
        if not endless:
            return
        epoch, step = epoch + 1, 0


def share(visit: Visit, shares: Int) -> slice:
    """Return which samples of a window a batch takes, of the shares that it takes of the streams."""
    first, last = shares[visit.stream].tolist()
    return slice(max(0, first - visit.position), max(0, last - visit.position))
