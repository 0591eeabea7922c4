"""Frames to the end of a staged group: checked, put on the grid, cut into chunks that threads encode, written in order.

`prepare` is a pure function of a block of frames and may run in any thread; `take` has to be called in the order of the
frames. Only `take` and `flush` touch files, and only in the thread of the caller.
"""

from collections import deque
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from cgstore.errors import InputError, StoreError
from cgstore.frames import Frames
from cgstore.kernels.quantise import LARGEST_CODE, dequantise, quantise
from cgstore.store.chunks import encode_chunk
from cgstore.store.decoding import read_array, stored_chunks
from cgstore.store.digests import frame_digests
from cgstore.store.layout import DIGEST, FRAME_VARIABLES, array_of, attributes_of, create_position, layout_of
from cgstore.store.shards import ShardEnd

__all__ = ["FrameWriter", "Prepared", "position_dtype"]

_INT16 = np.iinfo(np.int16).max
_THREADS = 2
_MOST_PENDING = 32  # chunks that are being encoded or wait to be written, some MB


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A block of frames as it is stored, before it is cut into chunks."""

    first: int  # number of its first frame
    arrays: dict[str, NDArray[Any]]  # positions as int32 codes, as float32, or as a table of references
    largest: int  # |code|
    error: float  # largest difference between a position and what a reader will see, nm


def position_dtype(position: NDArray[np.float32], precision: float | None, *, where: str) -> np.dtype[Any]:
    """Return the smallest dtype that holds these positions on the grid: int16, int32, or float32 without a grid.

    Raises
    ------
    InputError : a position is NaN, infinite or too far out for the grid
    """
    if precision is None:
        return np.dtype(np.float32)
    _, largest, _ = _on_grid(position, precision, where=where, first=0)
    return np.dtype(np.int16 if largest <= _INT16 else np.int32)


def _on_grid(
    position: NDArray[np.float32], precision: float, *, where: str, first: int
) -> tuple[NDArray[np.int32], int, float]:
    """Return the codes of positions, the largest |code| and the largest rounding error; refuse what has no code."""
    codes = np.empty(position.shape, np.int32)
    bad, largest, error = quantise(np.ascontiguousarray(position, np.float32), precision, codes)
    if bad >= 0:
        refuse_bad("position", position[bad], where=where, frame=first + bad)
        reach = LARGEST_CODE * precision
        raise InputError(
            f"{where}: frame {first + bad}: found a position beyond {reach:g} nm, which a grid of {precision:g} nm "
            'cannot hold; check the units of the source, or store it with precision = "lossless"'
        )
    return codes, largest, error


def refuse_bad(name: str, values: NDArray[Any], *, where: str, frame: int) -> None:
    """Raise the error for NaN or infinity in one frame of a variable, if there is any."""
    wrong = np.argwhere(~np.isfinite(values))
    if len(wrong):
        value = values[tuple(wrong[0])]
        place = f" of particle {wrong[0][0]}" if "particle" in FRAME_VARIABLES[name].dims else ""
        raise InputError(f"{where}: frame {frame}: found {value} in {name}{place}, expected finite numbers")


class FrameWriter:
    """The end of the per-frame arrays of a staged group; `take` and `flush` are not for two threads at once."""

    def __init__(self, folder: Path, group: zarr.Group, *, where: str, workers: Executor | None = None) -> None:
        self._folder, self._group, self._where = folder, group, where
        self._layout = layout_of(group)
        self.particles, self.variables = self._layout.particles, self._layout.variables
        position = array_of(group, "position")
        self.frames = int(position.shape[0])  # of the staged version, those in memory included
        self._error = float(attributes_of(position).get("rounding_error", 0.0))
        self._ends = {name: self._end(name) for name in (*self.variables, DIGEST)}
        self._trailing = {name: array_of(group, name).shape[1:] for name in self.variables}
        self._own = ThreadPoolExecutor(_THREADS, thread_name_prefix="cgstore-encoder") if workers is None else None
        self._workers: Executor = workers or self._own  # type: ignore[assignment]
        self._pending: deque[tuple[ShardEnd, Future[bytes]]] = deque()
        self._failure: BaseException | None = None

    def _end(self, name: str) -> ShardEnd:
        """Return the end of an array; referenced positions end as the tables that they are on disk."""
        return ShardEnd(stored_chunks(self._folder / name, array_of(self._group, name)))

    def prepare(
        self,
        frames: Frames,
        *,
        weight: NDArray[np.float64] | None = None,
        references: NDArray[np.int64] | None = None,
        first: int,
    ) -> Prepared:
        """Bring a block of frames into the form in which it is stored; for any thread.

        Parameters
        ----------
        frames : any number of frames, with the variables of the dataset
        weight : (frame,)
        references : (frame, column) where positions stay in their files
        first : number of its first frame, for messages

        Raises
        ------
        InputError : NaN, other particles, a variable missing or extra
        """
        found = {**frames.arrays(), "weight": weight}
        self._check(found, first)
        position, precision = found.pop("position"), self._layout.precision
        # A copy: the caller may use its block again before this is encoded.
        others = [name for name in self.variables if name != "position"]
        arrays = {name: np.array(found[name], FRAME_VARIABLES[name].dtype) for name in others}
        stored: NDArray[Any]
        largest, error = 0, 0.0
        if self._layout.references is not None:
            if references is None or len(references) != len(frames):
                raise StoreError(f"{self._where}: positions stay in their files; found no references to them")
            stored, seen = np.asarray(references, np.int64), np.asarray(position, np.float32)
        elif precision is not None:
            stored, largest, error = _on_grid(position, precision, where=self._where, first=first)
            seen = np.empty(stored.shape, np.float32)
            dequantise(stored.reshape(-1), np.float32(precision), seen.reshape(-1))
        else:
            stored = seen = np.array(position, np.float32)
        arrays["position"] = stored
        arrays[DIGEST] = frame_digests({**arrays, "position": seen})
        return Prepared(first, arrays, largest, error)

    def _check(self, arrays: dict[str, Any], first: int) -> None:
        """Refuse a block that does not continue this dataset."""
        present = {name for name, array in arrays.items() if array is not None}
        if present != set(self.variables):
            raise InputError(
                f"{self._where}: found frames with {', '.join(sorted(present))}, "
                f"expected {', '.join(sorted(self.variables))}; all frames of a dataset have the same variables"
            )
        count = len(arrays["position"])
        for name in self.variables:
            expected = (count, *self._trailing[name])
            if arrays[name].shape != expected:
                raise InputError(f"{self._where}: {name}: found shape {arrays[name].shape}, expected {expected}")
            gridded = name == "position" and self._layout.precision is not None
            if not gridded and not np.isfinite(arrays[name]).all():
                for frame, values in enumerate(arrays[name]):
                    refuse_bad(name, np.asarray(values), where=self._where, frame=first + frame)

    def take(self, block: Prepared) -> None:
        """Append a block; it is whole on disk when `flush` has returned.

        Raises
        ------
        StoreError : it does not follow the frames so far
        OSError : writing failed, now or before
        """
        self._raise_failure()
        if block.first != self.frames:
            raise StoreError(f"{self._where}: found frames from {block.first} on, expected {self.frames}")
        if block.largest > _INT16 and self._ends["position"].chain.dtype == np.int16:
            self._widen()
        self._error = max(self._error, block.error)
        for name, values in block.arrays.items():
            end = self._ends[name]
            for part in end.whole_chunks(values):
                self._encode(end, part)
        self.frames += len(block.arrays[DIGEST])

    def _encode(self, end: ShardEnd, part: NDArray[Any]) -> None:
        """Have a chunk encoded, and write those that are ready when there are many."""
        self._pending.append((end, self._workers.submit(encode_chunk, part, end.chain)))
        self._write_pending(_MOST_PENDING)

    def _write_pending(self, most: int) -> None:
        """Write encoded chunks in their order until at most so many are left."""
        try:
            while len(self._pending) > most:
                end, future = self._pending.popleft()
                end.write(future.result())
        except BaseException as error:
            self._failure = error
            raise

    def _raise_failure(self) -> None:
        """Raise what went wrong before, each time again: there is a hole in the frames."""
        if self._failure is not None:
            raise self._failure

    def _finish(self, names: tuple[str, ...]) -> None:
        """Write what is held of some arrays, with the index of their shards, and their length."""
        self._raise_failure()
        for name in names:
            for part in self._ends[name].rest():
                self._encode(self._ends[name], part)
        self._write_pending(0)
        for name in names:
            self._ends[name].finish()
            array = array_of(self._group, name)
            array.resize((self.frames, *array.shape[1:]))

    def _widen(self) -> None:
        """Rewrite int16 positions as int32; readers see the same numbers."""
        self._finish(("position",))
        (self._folder / "position").rename(self._folder / "position_int16")
        narrow = stored_chunks(self._folder / "position_int16", array_of(self._group, "position_int16"))
        narrow = replace(narrow, scale=None)
        create_position(self._group, self._layout, np.int32)
        end = self._ends["position"] = self._end("position")
        for start in range(0, self.frames, end.chain.shape[0]):
            codes = narrow.read(start, min(start + end.chain.shape[0], self.frames))
            for part in end.whole_chunks(codes):
                self._encode(end, part)
        self._write_pending(0)
        del self._group["position_int16"]

    def flush(self) -> dict[str, NDArray[Any]]:
        """Write what is held, and return the frame digests, times, steps and weights of the whole dataset."""
        self._finish((*self.variables, DIGEST))
        array_of(self._group, "position").attrs["rounding_error"] = self._error
        names = (DIGEST, *(name for name in ("time", "step", "weight") if name in self.variables))
        return {name: read_array(self._group, name, where=self._where) for name in names}

    def close(self) -> None:
        """Give up what is not written."""
        for _, future in self._pending:
            future.cancel()
        if self._own is not None:
            self._own.shutdown(wait=True, cancel_futures=True)
