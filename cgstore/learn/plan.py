"""Plans: the order in which a loader visits frames, a pure function of (seed, epoch) and of what is loaded.

The frames are cut into blocks that are read whole (chunks of the store). An epoch permutes the blocks, takes
`window` of them into memory at a time and permutes the frames inside the window: nearly a full shuffle, at the cost
of reading each block once. Any place of any epoch is found without reading anything, so a loader resumes exactly.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgstore.documents import digest
from cgstore.errors import InputError

__all__ = ["Plan", "Series"]

Int = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Series:
    """Consecutive frames of one dataset: `first <= frame < last`, stored in chunks of `chunk` frames."""

    name: str
    digest: str
    first: int
    last: int
    chunk: int

    def blocks(self) -> Int:
        """Return the blocks (block, 2) as first and last frame, cut where the chunks are cut."""
        inner = np.arange(self.first // self.chunk + 1, -(-self.last // self.chunk)) * self.chunk
        edges = np.concatenate([[self.first], inner, [self.last]]).astype(np.int64)
        return np.stack([edges[:-1], edges[1:]], axis=1) if self.last > self.first else np.empty((0, 2), np.int64)


@dataclass(frozen=True)
class Plan:
    """The order of all frames of some series, epoch by epoch.

    Parameters
    ----------
    series : what is visited
    batch_size : frames in a batch; the last batch of an epoch may be smaller
    seed : the same seed gives the same order on every machine
    window : blocks in memory at a time; 1 shuffles only inside blocks, 16 is as good as a full shuffle

    Examples
    --------
    >>> plan = Plan((Series("a/r1/cg", "", 0, 10, 4),), batch_size=4, seed=1)
    >>> len(plan), sorted(plan.order(epoch=0)[:, 1].tolist())
    (3, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    """

    series: tuple[Series, ...]
    batch_size: int
    seed: int = 0
    window: int = 16

    def __post_init__(self) -> None:
        """Refuse sizes without a meaning."""
        for name in ("batch_size", "window"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} = {getattr(self, name)}; expected a whole number of at least 1")
        if not len(self.blocks):
            raise InputError("nothing to load: the selection has no frame; check start and stop of the split")

    @cached_property
    def blocks(self) -> Int:
        """Return all blocks (block, 3): number of the series, first and last frame."""
        parts = [
            np.concatenate([np.full((len(blocks), 1), number), blocks], axis=1)
            for number, blocks in enumerate(series.blocks() for series in self.series)
        ]
        return np.concatenate(parts) if parts else np.empty((0, 3), np.int64)

    @cached_property
    def digest(self) -> str:
        """Return what tells this plan from another one."""
        series = [[item.name, item.digest, item.first, item.last, item.chunk] for item in self.series]
        return digest([series, self.batch_size, self.seed, self.window])

    @property
    def frames(self) -> int:
        """Return the number of frames of an epoch."""
        return int((self.blocks[:, 2] - self.blocks[:, 1]).sum())

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        return -(-self.frames // self.batch_size)

    def windows(self, epoch: int) -> list[Int]:
        """Return the blocks (block, 3) of each window of an epoch, in the order of reading."""
        order = self._generator(epoch, 0).permutation(len(self.blocks))
        return [self.blocks[order[start : start + self.window]] for start in range(0, len(order), self.window)]

    def samples(self, epoch: int, number: int) -> Int:
        """Return the frames (sample, 2) of one window, shuffled: number of the series and frame."""
        frames = [
            np.stack([np.full(last - first, series), np.arange(first, last)], axis=1)
            for series, first, last in self.windows(epoch)[number]
        ]
        return np.asarray(self._generator(epoch, number + 1).permutation(np.concatenate(frames)))

    def order(self, epoch: int) -> Int:
        """Return all frames (sample, 2) of an epoch in their order; batch n is samples n * batch_size and on."""
        return np.concatenate([self.samples(epoch, number) for number in range(len(self.windows(epoch)))])

    def locate(self, epoch: int, step: int) -> tuple[int, int]:
        """Return the window where batch `step` begins and the samples of that window that come before it."""
        skip = step * self.batch_size
        for number, blocks in enumerate(self.windows(epoch)):
            size = int((blocks[:, 2] - blocks[:, 1]).sum())
            if skip < size:
                return number, skip
            skip -= size
        return number + 1, 0

    def state(self, epoch: int, step: int) -> dict[str, Any]:
        """Return the place before batch `step` of `epoch` as plain data."""
        return {"epoch": epoch, "step": step, "seed": self.seed, "plan": self.digest}

    def place(self, state: dict[str, Any]) -> tuple[int, int]:
        """Return epoch and step of a state.

        Raises
        ------
        InputError : the state belongs to other data, another seed, batch size or window
        """
        if state.get("plan") != self.digest:
            raise InputError(
                "this state was made by a loader of other data, seed, batch size or window "
                f"(plan {str(state.get('plan'))[:12]}, here {self.digest[:12]}); resume with what it was made with"
            )
        return int(state["epoch"]), int(state["step"])

    def _generator(self, epoch: int, purpose: int) -> np.random.Generator:
        """Return the counter-based generator of one epoch and purpose."""
        return np.random.Generator(np.random.Philox(key=[self.seed, epoch], counter=[0, 0, 0, purpose]))
