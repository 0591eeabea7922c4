"""Frames to the end of a staged group: checked, put on the grid, written shard by shard in the background.

One worker thread encodes and writes a shard while the caller reads the next frames; at most two shards are in memory.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from cgstore.errors import InputError
from cgstore.frames import Frames
from cgstore.kernels.quantise import LARGEST_CODE, dequantise, quantise
from cgstore.store.decoding import StoredArray, read_array
from cgstore.store.digests import frame_digests
from cgstore.store.layout import DIGEST, FRAME_VARIABLES, array_of, attributes_of, create_position, layout_of

__all__ = ["FrameWriter", "position_dtype"]

_INT16 = np.iinfo(np.int16).max


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
    """The end of the per-frame arrays of a staged group; not to be used from two threads at once."""

    def __init__(self, folder: Path, group: zarr.Group, *, where: str) -> None:
        self._folder, self._group, self._where = folder, group, where
        self._layout = layout_of(group)
        self.particles, self.precision = self._layout.particles, self._layout.precision
        self.variables, self._shard = self._layout.variables, self._layout.shard
        position = array_of(group, "position")
        self.frames = int(position.shape[0])  # of the staged version, those in memory included
        self._written = self.frames
        self._error = float(attributes_of(position).get("rounding_error", 0.0))
        self._held: list[dict[str, NDArray[Any]]] = []
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="cgstore-writer")
        self._pending: Future[None] | None = None

    def append(self, frames: Frames, weight: NDArray[np.float64] | None) -> None:
        """Take a block of frames; it is whole on disk when `flush` has returned.

        Raises
        ------
        InputError : NaN, other particles, a variable missing or extra; nothing of the block is taken
        """
        arrays = {**frames.arrays(), "weight": weight}
        self._check(arrays)
        if self.precision is not None:
            codes, largest, error = _on_grid(arrays["position"], self.precision, where=self._where, first=self.frames)
            arrays["position"] = codes
            if largest > _INT16 and array_of(self._group, "position").dtype == np.int16:
                self._widen()
            self._error = max(self._error, error)
        block = {
            name: np.asarray(arrays[name], None if name == "position" else FRAME_VARIABLES[name].dtype)
            for name in self.variables
        }
        self._hold(block)

    def _check(self, arrays: dict[str, Any]) -> None:
        """Refuse a block that does not continue this dataset."""
        present = {name for name, array in arrays.items() if array is not None}
        if present != set(self.variables):
            raise InputError(
                f"{self._where}: found frames with {', '.join(sorted(present))}, "
                f"expected {', '.join(sorted(self.variables))}; all frames of a dataset have the same variables"
            )
        count = len(arrays["position"])
        for name in self.variables:
            expected = (count, *array_of(self._group, name).shape[1:])
            if arrays[name].shape != expected:
                raise InputError(f"{self._where}: {name}: found shape {arrays[name].shape}, expected {expected}")
            gridded = name == "position" and self.precision is not None
            if not gridded and not np.isfinite(arrays[name]).all():
                for frame, values in enumerate(arrays[name]):
                    refuse_bad(name, np.asarray(values), where=self._where, frame=self.frames + frame)

    def _hold(self, block: dict[str, NDArray[Any]]) -> None:
        """Keep a block in memory, and hand over every shard that has become full."""
        start, count = 0, len(block["position"])
        while start < count:
            room = self._shard - self.frames % self._shard
            part = {name: array[start : start + room] for name, array in block.items()}
            # A copy: the caller may use its block again, and a view would keep all of it in memory.
            self._held.append({name: array.copy() for name, array in part.items()})
            taken = len(part["position"])
            self.frames += taken
            start += taken
            if self.frames % self._shard == 0:
                self._hand_over()

    def _hand_over(self) -> None:
        """Give what is held to the worker, which first finishes what it has."""
        self.wait()
        held, self._held = self._held, []
        if held:
            self._pending = self._worker.submit(self._write, held)

    def wait(self) -> None:
        """Wait for the worker; raise what it raised, each time again."""
        if self._pending is not None:
            self._pending.result()

    def _write(self, held: list[dict[str, NDArray[Any]]]) -> None:
        """Write blocks behind what is on disk: in the worker."""
        block = {name: np.concatenate([part[name] for part in held]) for name in self.variables}
        start, stop = self._written, self._written + len(block["position"])
        block[DIGEST] = frame_digests({**block, "position": self._decoded(block["position"])})
        for name, values in block.items():
            array = array_of(self._group, name).with_config({"write_empty_chunks": True})
            array.resize((stop, *array.shape[1:]))
            array[start:stop] = values.astype(array.dtype, copy=False)
        self._written = stop

    def _decoded(self, stored: NDArray[Any]) -> NDArray[np.float32]:
        """Return the positions as a reader will see them."""
        if self.precision is None:
            return stored
        position = np.empty(stored.shape, np.float32)
        dequantise(stored.reshape(-1), np.float32(self.precision), position.reshape(-1))
        return position

    def _widen(self) -> None:
        """Rewrite int16 positions as int32; readers see the same numbers."""
        self.wait()
        narrow_folder = self._folder / "position_int16"
        (self._folder / "position").rename(narrow_folder)
        narrow = array_of(self._group, "position_int16")
        wide = create_position(self._group, self._layout, np.int32)
        wide.resize(narrow.shape)
        fill = np.iinfo(np.int16).min
        for start in range(0, narrow.shape[0], self._shard):
            codes = np.asarray(narrow[start : start + self._shard])
            if (codes == fill).any():
                StoredArray(narrow, self._where)[start : start + self._shard]  # says what is lost
            wide[start : start + self._shard] = codes.astype(np.int32)
        del self._group["position_int16"]

    def flush(self) -> dict[str, NDArray[Any]]:
        """Write what is held, and return the frame digests, times, steps and weights of the whole dataset."""
        self._hand_over()
        self.wait()
        if self.precision is not None:
            array_of(self._group, "position").attrs["rounding_error"] = self._error
        names = (DIGEST, *(name for name in ("time", "step", "weight") if name in self.variables))
        return {name: read_array(self._group, name, where=self._where) for name in names}

    def close(self) -> None:
        """Stop the worker; nothing is written after this has returned."""
        self._worker.shutdown(wait=True, cancel_futures=True)
