"""Plans: the order in which a loader visits samples, a pure function of (seed, epoch) and of what is loaded.

A sample starts at a frame. The starts are cut into blocks that are read whole (chunks of the store), the blocks of an
epoch become streams, and every batch takes its share of each stream. Any place of any epoch is found without
reading anything, so a loader resumes exactly, on any number of ranks.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from cgstore.documents import digest
from cgstore.errors import InputError
from cgstore.learn.streams import Epoch, Int, lay_out, shares

__all__ = ["Plan", "Series"]

_MOST_SEED = 2**64 - 1
_SHOWN = 5  # differences in a message


@dataclass(frozen=True, slots=True)
class Series:
    """Samples of one dataset that start at `first <= frame < last`, stored in chunks of `chunk` frames."""

    name: str
    digest: str
    first: int
    last: int
    chunk: int
    moments: tuple[int, ...] = (0,)  # the frames of a sample, counted from its start

    def blocks(self) -> Int:
        """Return the blocks (block, 2) as first and last start, cut where the chunks are cut."""
        inner = np.arange(self.first // self.chunk + 1, -(-self.last // self.chunk)) * self.chunk
        edges = np.concatenate([[self.first], inner, [self.last]]).astype(np.int64)
        return np.stack([edges[:-1], edges[1:]], axis=1) if self.last > self.first else np.empty((0, 2), np.int64)


@dataclass(frozen=True)
class Plan:
    """The order of all samples of some series, epoch by epoch.

    Parameters
    ----------
    series : what is visited
    batch_size : samples in a batch, of all ranks together; the last batch of an epoch may be smaller
    seed : the same seed gives the same order on every machine
    window : blocks that each stream mixes in memory at a time
    streams : parts of an epoch that ranks share; the number of ranks divides it
    split : digest of the split that chose the series

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
    streams: int = 8
    split: str = ""

    def __post_init__(self) -> None:
        """Refuse sizes without a meaning."""
        for name in ("batch_size", "window", "streams"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} = {getattr(self, name)}; expected a whole number of at least 1")
        if not 0 <= self.seed <= _MOST_SEED:
            raise InputError(f"seed = {self.seed}; expected a whole number from 0 to {_MOST_SEED}")
        if not len(self.blocks):
            raise InputError("nothing to load: the selection has no sample; check start and stop of the split")

    @cached_property
    def blocks(self) -> Int:
        """Return all blocks (block, 3): number of the series, first and last start."""
        parts = [
            np.concatenate([np.full((len(blocks), 1), number), blocks], axis=1)
            for number, blocks in enumerate(series.blocks() for series in self.series)
        ]
        return np.concatenate(parts) if parts else np.empty((0, 3), np.int64)

    @cached_property
    def digest(self) -> str:
        """Return what tells this plan from another one."""
        return digest(self._identity())

    @cached_property
    def samples(self) -> int:
        """Return the number of samples of an epoch."""
        return int((self.blocks[:, 2] - self.blocks[:, 1]).sum())

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        return -(-self.samples // self.batch_size)

    def epoch(self, number: int) -> Epoch:
        """Return the layout of an epoch."""
        return lay_out(self.blocks[:, 1:], streams=self.streams, window=self.window, seed=self.seed, epoch=number)

    def shares(self, step: int) -> Int:
        """Return what batch `step` takes of each stream (stream, 2): first and last position."""
        end = min((step + 1) * self.batch_size, self.samples)
        return shares(min(step * self.batch_size, end), end, self.streams)

    def order(self, epoch: int) -> Int:
        """Return all samples (sample, 2) of an epoch, series and start, in their order, batch after batch.

        Batch n is samples n * batch_size and on: first what it takes of stream 0, then of stream 1 …
        """
        layout = self.epoch(epoch)
        samples = np.concatenate([layout.samples(window) for window in range(len(layout.windows))])
        places = [
            np.stack([np.arange(first, last) * self.streams + stream, np.full(last - first, stream)], axis=1)
            for stream, _, _, first, last in layout.windows.tolist()
        ]
        number, stream = np.concatenate(places).T
        samples = samples[np.lexsort([number, stream, number // self.batch_size])]
        return np.stack([self.blocks[samples[:, 0], 0], samples[:, 1]], axis=1)

    def state(self, epoch: int, step: int) -> dict[str, Any]:
        """Return the place before batch `step` of `epoch` as plain data, with what it was made of."""
        return {"epoch": epoch, "step": step, "plan": self.digest, **self._identity()}

    def place(self, state: dict[str, Any]) -> tuple[int, int]:
        """Return epoch and step of a state.

        Raises
        ------
        InputError : the state belongs to other data, another split, seed, batch size or window; the message says to
            which
        """
        if state.get("plan") != self.digest:
            found = "\n".join(f"  {line}" for line in self._differences(state))
            raise InputError(
                "this state was made by a loader of other data or settings; resume with what it was made with\n" + found
            )
        epoch, step = int(state["epoch"]), int(state["step"])
        if epoch < 0 or not 0 <= step <= len(self):
            raise InputError(f"this state is at epoch {epoch}, step {step}; expected 0 to {len(self)} steps")
        return epoch, step

    def _identity(self) -> dict[str, Any]:
        """Return as plain data what decides on the order."""
        settings = {name: getattr(self, name) for name in ("seed", "batch_size", "window", "streams", "split")}
        known: dict[str, list[Any]] = {}
        for item in self.series:
            known.setdefault(item.name, []).append([item.digest, item.first, item.last, item.chunk, item.moments])
        return settings | {"data": [[name, digest(parts)[:16]] for name, parts in known.items()]}

    def _differences(self, state: dict[str, Any]) -> list[str]:
        """Say in what a state differs from this plan."""
        here = self._identity()
        lines = [
            f"{name}   there {_short(state.get(name))}, here {_short(here[name])}"
            for name in ("seed", "batch_size", "window", "streams", "split")
            if state.get(name) != here[name]
        ]
        theirs, ours = dict(state.get("data", [])), dict(here["data"])
        for name in sorted({*theirs, *ours}):
            if name not in ours:
                lines.append(f"{name}   was there, is not here")
            elif name not in theirs:
                lines.append(f"{name}   was not there, is here")
            elif theirs[name] != ours[name]:
                lines.append(f"{name}   changed: another version, other frames, or another lag or length")
        more = len(lines) - _SHOWN
        return [*lines[:_SHOWN], f"and {more} more"] if more > 0 else lines or ["data   in another order"]


def _short(value: Any) -> str:
    """Return a setting as a few characters: digests are long."""
    return str(value)[:12] if isinstance(value, str) else str(value)
