"""From frames to block statistics, lazily: one task loads a group of frames once and counts everything asked for.

Nothing here knows what is counted; `pair` and `bonded` describe it as a `Counter`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.delayed import delayed
from numpy.typing import NDArray

from cgstore.averages.blocks import block_length
from cgstore.box import heights
from cgstore.errors import InputError, PhysicsError

__all__ = ["Counter", "Histogram", "count_blocks", "result_attrs"]

_TASK_BYTES = 2**24  # positions that one task holds
_TASKS = 16  # at least so many, for threads to share, while blocks allow it

Count = Callable[..., Sequence[tuple[NDArray[np.int64], NDArray[np.float64]]]]


@dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """What is counted in one block dataset: its labels, its bins, its normalisation."""

    kind: str  # name of the dim of kinds
    kinds: tuple[str, ...]
    bin: str  # name of the dim of bins
    edges: NDArray[np.float64]  # (bin + 1,)
    norm: NDArray[np.float64]  # (kind, bin)
    bin_attrs: Mapping[str, str]
    attrs: Mapping[str, str]  # units and long_name of the distribution


@dataclass(frozen=True, slots=True, eq=False)
class Counter:
    """How frames are counted.

    `count(position, box, weight, length, first)` gets (frame, particle, xyz) float32, (frame, 3, 3) float64 or None,
    (frame,) float64, the frames per block and the index of its first frame in the dataset, for messages; it returns
    (block, kind, bin) counts and weighted sums for each histogram. `r_max` is the longest distance whose nearest image
    must be known, nm; `question` opens messages about it.
    """

    question: str
    histograms: tuple[Histogram, ...]
    count: Count
    r_max: float | None = None


def result_attrs(ds: xr.Dataset, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attrs of a result: what it is about, down to the digest of the content, and what was asked."""
    kept = {key: ds.attrs[key] for key in ("name", "title", "version", "digest", "temperature") if key in ds.attrs}
    return {**kept, "frames": ds.sizes["frame"], "parameters": dict(parameters)}


def count_blocks(ds: xr.Dataset, counters: Sequence[Counter]) -> list[list[xr.Dataset]]:
    """Return for each counter the block datasets of its histograms; nothing is computed.

    Parameters
    ----------
    ds : dataset of the schema, in memory or lazy
    counters : what is counted, all on the same loaded positions

    Raises
    ------
    InputError : there are no frames
    PhysicsError : now for what is in memory, else when it is computed: a position that is not finite, a box without
        volume or too small for a counter
    """
    frames, particles = ds.sizes["frame"], ds.sizes["particle"]
    if frames == 0:
        raise InputError(f"{_title(ds)}: found no frames, expected at least one")
    numbers = sum(histogram.norm.size for counter in counters for histogram in counter.histograms)
    length = block_length(frames, numbers=numbers)
    task = _task_frames(frames, particles, length)
    tasks = _tasks(ds, counters, task, min(length, task))
    results = delayed(_assemble, pure=False)(tasks, max(length // task, 1))
    blocks = -(-frames // length)
    lazy: Any = da  # dask has no types
    weight = lazy.from_delayed(results[0], (blocks,), np.float64)
    statistics, place = [], 1
    for counter in counters:
        found = []
        for histogram in counter.histograms:
            shape = (blocks, *histogram.norm.shape)
            count = lazy.from_delayed(results[place], shape, np.int64)
            total = lazy.from_delayed(results[place + 1], shape, np.float64)
            found.append(_label(ds, histogram, length, weight, count, total))
            place += 2
        statistics.append(found)
    return statistics


def _title(ds: xr.Dataset) -> str:
    """Return the name of a dataset for messages."""
    return str(ds.attrs.get("name", "this dataset"))


def _task_frames(frames: int, particles: int, length: int) -> int:
    """Return the frames of a task, a power of two: many blocks, or a part of one where frames are large."""
    task = length
    while 2 * task * particles * 12 <= _TASK_BYTES and 2 * task * _TASKS <= frames:
        task *= 2
    while task > 1 and task * particles * 12 > _TASK_BYTES:
        task //= 2
    return task


def _tasks(ds: xr.Dataset, counters: Sequence[Counter], task: int, length: int) -> list[Any]:
    """Make one delayed count for every `task` frames; boxes and weights are checked before any of them starts."""
    frames = ds.sizes["frame"]
    position = ds["position"].chunk({"frame": task, "particle": -1, "xyz": -1}).data
    limits = [(counter.question, counter.r_max) for counter in counters if counter.r_max is not None]
    box = _checked(ds["box"], _check_box, _title(ds), limits) if "box" in ds else None
    weight = _checked(ds["weight"], _check_weight, _title(ds)) if "weight" in ds else np.ones(frames)
    shared = delayed(tuple(counters), traverse=False, pure=False)
    count = delayed(_count, pure=False)
    return [
        count(
            shared,
            block,
            None if box is None else box[start : start + task],
            weight[start : start + task],
            length,
            start,
        )
        for start, block in zip(range(0, frames, task), position.to_delayed(optimize_graph=False).ravel(), strict=True)
    ]


def _checked(array: xr.DataArray, check: Callable[..., Any], *arguments: Any) -> Any:
    """Check a small array now if it is in memory, else when it is computed."""
    if array.chunks is None:
        return check(array.values, *arguments)
    (whole,) = array.chunk(-1).data.to_delayed(optimize_graph=False).ravel()
    return delayed(check, pure=False)(whole, *arguments)


def _check_box(box: np.ndarray, title: str, limits: Sequence[tuple[str, float]]) -> NDArray[np.float64]:
    """Return boxes as float64, or say which one has no volume or is too small."""
    boxes = np.ascontiguousarray(box, np.float64)
    flat = ~(np.isfinite(boxes).all(axis=(1, 2)) & (np.abs(np.linalg.det(boxes)) > 0))
    if flat.any():
        frame = int(flat.argmax())
        raise PhysicsError(
            f"{title}: the box of frame {frame} is {boxes[frame].tolist()}, expected three vectors that span a volume; "
            "leave that frame out, or drop the variable box if there is none"
        )
    smallest = heights(boxes).min(axis=1)
    frame = int(smallest.argmin())
    limit = smallest[frame] / 2
    for question, r_max in limits:
        # A box of 2.3 nm is 2.29999995 nm in float32; nobody who asks for 1.15 nm is to be told about that.
        if r_max > limit * (1 + 1e-6):
            shown = np.floor(limit * (1 + 1e-6) * 1000) / 1000
            raise PhysicsError(
                f"{question} of {title}: r_max = {r_max:g} nm is beyond half the smallest box height, "
                f"{shown:.3f} nm at frame {frame}; use r_max <= {shown:.3f}"
            )
    return boxes


def _check_weight(weight: np.ndarray, title: str) -> NDArray[np.float64]:
    """Return weights as float64, or say which one is no weight."""
    weights = np.asarray(weight, np.float64)
    wrong = ~(np.isfinite(weights) & (weights >= 0))
    if wrong.any():
        frame = int(wrong.argmax())
        raise PhysicsError(f"{title}: the weight of frame {frame} is {weights[frame]}, expected 0 or a positive number")
    return weights


def _count(
    counters: Sequence[Counter],
    position: np.ndarray,
    box: NDArray[np.float64] | None,
    weight: NDArray[np.float64],
    length: int,
    first: int,
) -> tuple[np.ndarray, ...]:
    """Count one group of frames: the weights of its blocks, then count and sum of every histogram."""
    dtype = np.float64 if position.dtype == np.float64 else np.float32
    frames = np.ascontiguousarray(position, dtype)
    results: list[np.ndarray] = [np.add.reduceat(weight, np.arange(0, len(weight), length))]
    for counter in counters:
        for pair in counter.count(frames, box, weight, length, first):
            results += pair
    return tuple(results)


def _assemble(parts: Sequence[tuple[np.ndarray, ...]], per_block: int) -> list[np.ndarray]:
    """Join the results of all tasks; add up each `per_block` of them in order, which fixes the bits."""
    if per_block > 1:
        starts = range(0, len(parts), per_block)
        parts = [tuple(map(_sum, zip(*parts[start : start + per_block], strict=True))) for start in starts]
    return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]


def _sum(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Add arrays up in their order."""
    return np.asarray(sum(arrays[1:], start=arrays[0]))


def _label(ds: xr.Dataset, histogram: Histogram, length: int, weight: Any, count: Any, total: Any) -> xr.Dataset:
    """Make the block dataset of one histogram."""
    frames, dims = ds.sizes["frame"], (histogram.kind, histogram.bin)
    centres = 0.5 * (histogram.edges[1:] + histogram.edges[:-1])
    spacing = (ds["time"][-1] - ds["time"][0]) / (frames - 1) if "time" in ds and frames > 1 else np.nan
    in_block = np.minimum(length, frames - np.arange(0, frames, length))
    return xr.Dataset(
        {
            "count": (("block", *dims), count, {"units": "1"}),
            "sum": (("block", *dims), total),
            "weight": ("block", weight, {"units": "1"}),
            "frames": ("block", in_block, {"units": "1"}),
            "norm": (dims, histogram.norm, dict(histogram.attrs)),
            "frame_spacing": ((), spacing.data if isinstance(spacing, xr.DataArray) else spacing, {"units": "ps"}),
        },
        {
            histogram.kind: (histogram.kind, np.array(histogram.kinds, np.str_)),
            histogram.bin: (histogram.bin, centres, dict(histogram.bin_attrs)),
        },
        {"block_length": length},
    )
