"""The loader: batches of samples as tensors, shuffled, each sample once per epoch, resumable anywhere.

Threads read the blocks that the coming batches need, and gather the batches, while the current one is used. What
held-out means is decided by the split (`Selection.members`), not here.
"""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from cgstore.documents import did_you_mean
from cgstore.errors import InputError
from cgstore.learn.batches import Batches, HostBatch
from cgstore.learn.moments import Shape, series_of
from cgstore.learn.plan import Plan
from cgstore.learn.pool import Block, Pool
from cgstore.learn.ranks import rank_of
from cgstore.learn.reading import BlockReader
from cgstore.learn.schedule import Visit, share, steps, visits
from cgstore.learn.source import FRAME_ARRAYS, open_source
from cgstore.learn.streams import Int
from cgstore.splits.split import Catalog, Selection

__all__ = ["Loader"]

_MEMORY = 2**30  # bytes
_AHEAD = 2  # batches that are gathered before they are asked for
_WINDOWS_AHEAD = 0.5  # per stream: windows that are read before a batch needs them


class Loader:
    """Batches of the samples of a selection, epoch after epoch.

    Iterating gives the rest of the current epoch, then the next iteration starts the next epoch; `endless` goes on for
    ever. A batch is a dict of tensors on `device`:

    - each variable, float32: (sample, particle, xyz), or (particle, xyz) of all samples joined when the datasets differ
      in their number of particles; then `offsets` (sample + 1,) says where each sample begins, and `batch` (particle,)
      to which sample a particle belongs
    - `box` (sample, box_vector, xyz), when every dataset has one
    - `type`, int64, like a variable without xyz: codes into `loader.types`; not to be written into
    - `dataset` and `frame`, int64 (sample,): which frame of which of `loader.names`
    - `time`, float64 (sample,) ps

    With `lag` or `length` variables have a dim more, the moments of a sample: (sample, moment, particle, xyz), joined
    (particle, moment, xyz), `time` (sample, moment); `frame` is the first frame.

    Parameters
    ----------
    catalog : names and entries
    selection : `split.train` or `split.validation`
    batch_size : samples in a batch, of all ranks together
    variables : what to load per frame
    seed : decides the order; nothing else does
    device : where the tensors go
    lag : samples are pairs of frames that far apart: a number of frames, or a time such as "10 ps"
    length : samples are windows of so many consecutive frames, or of that time with both ends; they overlap
    window : blocks of the store that each stream mixes at a time
    streams : parts of an epoch that are mixed apart and that ranks share; the number of ranks divides it
    memory : bytes of blocks in memory at most, of each process; data that fit are decoded only once
    threads : that read; more than there are cores pay for stores on other machines only
    rank, world_size : of this process, those of the process group of torch by default
    drop_last : leave out the last batch of an epoch when it is smaller

    Raises
    ------
    InputError : the selection reaches held-out data, matches nothing, a dataset lacks a variable, a lag or length does
        not fit the time steps, the windows do not fit the memory, or the streams cannot be shared by the ranks

    Notes
    -----
    The batches of ranks 0, 1 … joined are those of one process. The last batch may have no sample on some ranks.

    Examples
    --------
    >>> loader = Loader(catalog, split.train, batch_size=64, seed=1)  # doctest: +SKIP
    >>> for batch in loader: positions = batch["position"]  # doctest: +SKIP
    """

    def __init__(
        self,
        catalog: Catalog,
        selection: Selection,
        *,
        batch_size: int,
        variables: Sequence[str] = ("position",),
        seed: int = 0,
        device: str | torch.device = "cpu",
        lag: int | str | None = None,
        length: int | str | None = None,
        window: int = 16,
        streams: int = 8,
        memory: int = _MEMORY,
        threads: int | None = None,
        rank: int | None = None,
        world_size: int | None = None,
        drop_last: bool = False,
    ) -> None:
        _check_variables(variables)
        shape = Shape(lag, length)
        self.members = selection.members(catalog)
        self.sources = tuple(
            open_source(catalog[member.name], member, needs=tuple(variables)) for member in self.members
        )
        self.names = tuple(source.name for source in self.sources)
        boxed = all("box" in source.variables for source in self.sources)
        self.variables = (*variables, "box") if boxed and "box" not in variables else tuple(variables)
        series, owners = series_of(self.sources, shape)
        self.plan = Plan(series, batch_size, seed, window, streams, selection.split_digest)
        self.device = torch.device(device)
        self.drop_last = drop_last
        self.rank = rank_of(rank, world_size)
        self._streams = self.rank.streams(streams)
        reader = BlockReader(self.plan, self.sources, owners, self.variables)
        sizes = reader.sizes()
        _check_memory(sizes, window, len(self._streams), memory)
        self.pool = Pool(reader, sizes, most=memory, threads=threads or min(4, os.cpu_count() or 1))
        self._batches = Batches(
            reader, self.device, windowed=lag is not None or length is not None, integers=self.device.type != "cpu"
        )
        self.types, self.ragged = self._batches.types, self._batches.ragged
        self._gatherer = ThreadPoolExecutor(1, "cgstore-gather")
        self._epoch, self._step = 0, 0

    def __len__(self) -> int:
        """Return the number of batches of an epoch, the same on every rank."""
        return self.plan.samples // self.plan.batch_size if self.drop_last else len(self.plan)

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        """Yield the batches that are left of this epoch; afterwards the next epoch is the current one."""
        yield from self._run(endless=False)

    def endless(self) -> Iterator[dict[str, torch.Tensor]]:
        """Yield batches without end; the first ones of an epoch are read while the last ones of the other are used."""
        yield from self._run(endless=True)

    def state_dict(self) -> dict[str, Any]:
        """Return the place before the next batch, as plain data; it holds on any number of ranks."""
        return self.plan.state(self._epoch, self._step)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a place given by `state_dict`; the next batch is the one that would have come.

        Raises
        ------
        InputError : the state is of a loader with other data or settings; the message says which
        """
        self._epoch, self._step = self.plan.place(state)

    def _run(self, *, endless: bool) -> Iterator[dict[str, torch.Tensor]]:
        """Yield the batches from the current place on."""
        place = self._epoch, self._step
        coming = visits(self.plan, self._streams, place, endless=endless)
        ahead = _Ahead(self.plan, self.pool, self._batches, self._gatherer, coming)
        places = (place for place in steps(self.plan, place, endless=endless) if place[1] < len(self))
        with ahead:
            for place, batch in ahead.batches(places, most=1 + int(_WINDOWS_AHEAD * len(self._streams))):
                self._epoch, self._step = place[0], place[1] + 1
                if endless and self._step == len(self):
                    self._epoch, self._step = self._epoch + 1, 0
                yield self._batches.send(batch)
        self._epoch, self._step = self._epoch + 1, 0


@dataclass(slots=True, eq=False)
class _Window:
    """A window whose blocks are held."""

    visit: Visit
    samples: Int  # (sample, 2) block and start
    blocks: list[int]
    futures: "dict[int, Future[Block]]"


@dataclass(slots=True, eq=False)
class _Pending:
    """A batch that is to be gathered."""

    place: tuple[int, int]
    samples: Int
    blocks: "dict[int, Future[Block]]"
    future: "Future[HostBatch]"


@dataclass(slots=True, eq=False)
class _Ahead:
    """Reads windows and gathers batches ahead of their use; leaving it gives every block back."""

    plan: Plan
    pool: Pool
    made: Batches
    gatherer: ThreadPoolExecutor
    coming: Iterator[Visit]
    held: list[_Window] = field(default_factory=list)
    pending: "deque[_Pending]" = field(default_factory=deque)
    next: Visit | None = None

    def __enter__(self) -> "_Ahead":
        """Look at the first window."""
        self.next = next(self.coming, None)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop gathering, then give the blocks back; what is being read is waited for, it takes milliseconds."""
        gathered = [batch.future for batch in self.pending if not batch.future.cancel()]
        for window in self.held:
            for future in window.futures.values():
                future.cancel()
        wait(gathered)
        for window in self.held:
            self.pool.release(window.blocks)

    def batches(self, places: Iterator[tuple[int, int]], *, most: int) -> Iterator[tuple[tuple[int, int], HostBatch]]:
        """Yield each place with its batch; at most some windows are read that no batch needs yet."""
        for place in places:
            self._submit(place)
            self._look_ahead(place, most)
            if len(self.pending) > _AHEAD:
                yield self._finish()
        while self.pending:
            yield self._finish()

    def _submit(self, place: tuple[int, int]) -> None:
        """Let a batch be gathered when its blocks are there."""
        while self.next is not None and self.next.first <= place:
            self._take()
        shares = self.plan.shares(place[1])
        now = [window for window in self.held if window.visit.first <= place <= window.visit.last]
        now.sort(key=lambda window: (window.visit.stream, window.visit.position))
        samples = [window.samples[share(window.visit, shares)] for window in now]
        blocks = {number: future for window in now for number, future in window.futures.items()}
        joined = np.concatenate([np.empty((0, 2), np.int64), *samples])
        future = self.gatherer.submit(self.made.gather, joined, blocks)
        self.pending.append(_Pending(place, joined, blocks, future))

    def _look_ahead(self, place: tuple[int, int], most: int) -> None:
        """Have windows read that later batches need, as far as there is room."""
        waiting = sum(window.visit.first > place for window in self.held)
        while self.next is not None and waiting < most and self.pool.fits(self.next.blocks()):
            self._take()
            waiting += 1

    def _take(self) -> None:
        """Hold the next window."""
        visit = self.next
        if visit is not None:
            blocks = visit.blocks()
            futures = dict(zip(blocks, self.pool.hold(blocks), strict=True))
            self.held.append(_Window(visit, visit.layout.samples(visit.window), blocks, futures))
        self.next = next(self.coming, None)

    def _finish(self) -> tuple[tuple[int, int], HostBatch]:
        """Return the oldest batch, and give back what no later one needs."""
        oldest = self.pending[0]
        # Who waits for a thread that has not begun does its work: two threads would only hand batches to and fro.
        waits = oldest.future.cancel()
        batch = self.made.gather(oldest.samples, oldest.blocks) if waits else oldest.future.result()
        self.pending.popleft()
        for window in [window for window in self.held if window.visit.last <= oldest.place]:
            self.held.remove(window)
            self.pool.release(window.blocks)
        return oldest.place, batch


def _check_variables(variables: Sequence[str]) -> None:
    """Refuse names that are not per-frame variables of the schema."""
    for name in variables:
        if name not in FRAME_ARRAYS:
            raise InputError(f"variables: found {name!r}{did_you_mean(name, FRAME_ARRAYS)}")


def _check_memory(sizes: Int, window: int, streams: int, memory: int) -> None:
    """Refuse windows that cannot be in memory at once."""
    largest, most = int(sizes.max()), int(sizes.sum())
    needed = min(most, largest * window * streams)
    if needed > memory:
        fits = memory // (largest * streams)
        words = f"use window={fits} (a part of the order)" if fits else f"a window of one takes {largest * streams:,}"
        raise InputError(
            f"memory = {memory:,} bytes; window = {window} blocks in {streams} streams take up to {needed:,} bytes; "
            f"{words}, or memory={needed}"
        )
