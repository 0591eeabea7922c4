"""Reading: a block of samples from its source into memory, and errors that say which dataset could not be read."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cgstore.errors import CgstoreError, StoreError
from cgstore.learn.plan import Plan
from cgstore.learn.pool import Block
from cgstore.learn.source import Source
from cgstore.learn.streams import Int

__all__ = ["BlockReader"]


@dataclass(frozen=True, slots=True, eq=False)
class BlockReader:
    """Reads the blocks of a plan: all frames that samples starting in a block need, as they are stored."""

    plan: Plan
    sources: tuple[Source, ...]
    owners: tuple[int, ...]  # the source of each series
    variables: tuple[str, ...]

    def __call__(self, block: int) -> Block:
        """Read a block; its frames are those of `stretches` in a row.

        Raises
        ------
        CgstoreError : it cannot be read; the message says which dataset and which frames
        """
        series = int(self.plan.blocks[block, 0])
        source, stretches = self.sources[self.owners[series]], self.stretches(block)
        rows = sum(last - first for first, last in stretches)
        arrays = []
        for variable in self.variables:
            numbers = source.numbers[variable]
            values = np.empty((rows, *numbers.shape), numbers.dtype)
            row = 0
            for first, last in stretches:
                _read(source, variable, first, last, values[row : row + last - first])
                row += last - first
            arrays.append(values)
        return tuple(arrays)

    def stretches(self, block: int) -> list[tuple[int, int]]:
        """Return the stretches of frames that a block holds: one, or two where the lag is longer than the block."""
        series, first, last = self.plan.blocks[block].tolist()
        moments = self.plan.series[series].moments
        if len(moments) == 2 and moments[1] > last - first:
            return [(first, last), (first + moments[1], last + moments[1])]
        return [(first, last + moments[-1])]

    def rows(self, block: int) -> Int:
        """Return where in a block the frames of a sample lie, counted from the row of its start."""
        series, first, last = self.plan.blocks[block].tolist()
        moments = self.plan.series[series].moments
        apart = len(moments) == 2 and moments[1] > last - first
        return np.array((0, last - first) if apart else moments, np.int64)

    def sizes(self) -> NDArray[np.int64]:
        """Return the bytes of each block."""
        per_frame = [sum(source.numbers[name].bytes for name in self.variables) for source in self.sources]
        owner = np.array(self.owners)[self.plan.blocks[:, 0]]
        moments = np.array([series.moments[-1] for series in self.plan.series])[self.plan.blocks[:, 0]]
        pairs = np.array([len(series.moments) == 2 for series in self.plan.series])[self.plan.blocks[:, 0]]
        starts = self.plan.blocks[:, 2] - self.plan.blocks[:, 1]
        rows = starts + np.where(pairs, np.minimum(moments, starts), moments)
        return np.asarray(rows * np.array(per_frame, np.int64)[owner])


def _read(source: Source, variable: str, first: int, last: int, values: NDArray[np.generic]) -> None:
    """Read frames of a variable; whatever goes wrong says where."""
    try:
        source.numbers[variable].read(first, last, values)
    except CgstoreError:
        raise
    except Exception as error:  # a network, a disk, somebody's own dataset: no type is known
        words = f"{source.name}: {variable}[{first}:{last}] cannot be read: {type(error).__name__}: {error}"
        raise StoreError(words) from error
