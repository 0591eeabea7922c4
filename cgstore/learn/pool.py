"""The pool: decoded blocks of frames in memory, read by threads, never more bytes than it may hold.

A block is held while a window that is being used needs it. After that it stays as long as nobody needs its room: data
that fit are decoded once, not once per epoch. Threads do the reading because checksums, decompression and turning hold
no lock; worker processes would have to copy every batch through a pipe.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Block", "Pool"]

Block = tuple[NDArray[Any], ...]  # one array per variable, its frames first


class Pool:
    """Blocks by number. Only one thread may call it; the reading is done by threads of its own.

    Parameters
    ----------
    read : gives a block; called by several threads at a time
    sizes : (block,) bytes
    most : bytes; what is held may exceed it only when one batch needs more
    threads : that read
    """

    def __init__(self, read: Callable[[int], Block], sizes: NDArray[np.int64], *, most: int, threads: int) -> None:
        self._read, self._sizes, self._most = read, sizes, most
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="cgstore-read")
        self._blocks: dict[int, Future[Block]] = {}
        self._holders: dict[int, int] = {}
        self._unused: OrderedDict[int, None] = OrderedDict()  # the one that was used longest ago comes first
        self.bytes = 0  # of all blocks
        self.peak = 0
        self._held = 0  # bytes that cannot be given up

    def fits(self, blocks: Iterable[int]) -> bool:
        """Tell whether blocks can be held beside those that are held now."""
        return self._held + sum(int(self._sizes[n]) for n in set(blocks) if n not in self._holders) <= self._most

    def hold(self, blocks: Iterable[int]) -> list[Future[Block]]:
        """Hold blocks; those that are not there are read, in this order."""
        return [self._hold(number) for number in blocks]

    def _hold(self, number: int) -> "Future[Block]":
        """Hold a block."""
        size = int(self._sizes[number])
        if number not in self._holders:
            self._held += size
        self._holders[number] = self._holders.get(number, 0) + 1
        self._unused.pop(number, None)
        if number not in self._blocks:
            self._make_room(size)
            self.bytes += size
            self.peak = max(self.peak, self.bytes)
            self._blocks[number] = self._executor.submit(self._read, number)
        return self._blocks[number]

    def release(self, blocks: Iterable[int]) -> None:
        """Hold blocks no longer; what is not being read yet will not be, what is being read is waited for."""
        free = []
        for number in blocks:
            self._holders[number] -= 1
            if not self._holders[number]:
                del self._holders[number]
                self._held -= int(self._sizes[number])
                free.append(number)
                self._blocks[number].cancel()
        for number in free:
            block = self._blocks[number]
            if block.cancelled() or block.exception() is not None:  # the epoch was left, or reading failed
                self._drop(number)
            else:
                self._unused[number] = None
        self._make_room(0)

    def _make_room(self, size: int) -> None:
        """Give up blocks that nobody uses until there is room."""
        while self._unused and self.bytes + size > self._most:
            self._drop(self._unused.popitem(last=False)[0])

    def _drop(self, number: int) -> None:
        """Forget a block."""
        del self._blocks[number]
        self.bytes -= int(self._sizes[number])
