"""A folder that zarr writes to until it is told to stop, so that nothing comes back after a stage was removed.

When one of many concurrent writes fails, or Ctrl-C ends the waiting for them, zarr lets the others go on in the
background; each makes the folders it needs anew.
"""

import asyncio
import threading
from pathlib import Path

from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore

from cgstore.errors import StoreError
from cgstore.store.placeholders import fill, waiting

__all__ = ["StoppableStore"]


class StoppableStore(LocalStore):
    """A local store of zarr with an end; zarr's stores are extended by inheritance."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._change = threading.Condition()
        self._writing, self._stopped = 0, False

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Read a file, or a part of it; one that only holds a place for an object is fetched first."""
        if waiting(self.root / key):
            await asyncio.to_thread(fill, self.root / key)
        return await super().get(key, prototype, byte_range)

    async def set(self, key: str, value: Buffer) -> None:
        """Write one file, unless the store was stopped."""
        self._begin(key)
        try:
            await super().set(key, value)
        finally:
            self._end()

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        """Write one file that is not there, unless the store was stopped."""
        self._begin(key)
        try:
            await super().set_if_not_exists(key, value)
        finally:
            self._end()

    def _begin(self, key: str) -> None:
        """Count a write that begins."""
        with self._change:
            if self._stopped:
                raise StoreError(f"{self.root}/{key}: not written, the stage was given up")
            self._writing += 1

    def _end(self) -> None:
        """Count a write that is over."""
        with self._change:
            self._writing -= 1
            self._change.notify_all()

    def stop(self) -> None:
        """Refuse every further write, and wait for those that have begun."""
        with self._change:
            self._stopped = True
            self._change.wait_for(lambda: self._writing == 0)
