"""From frames to block statistics, lazily: one task loads a group of frames once and counts everything asked for.

Nothing here knows what is counted; `pair`, `bonded` and `profile` describe it as a `Counter`. Everything is counted
frame by frame; sums over blocks, weights and covariances are arithmetic on these counts.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast
from uuid import uuid4

import dask.array as da
import numpy as np
import xarray as xr
from dask.delayed import delayed
from numpy.typing import NDArray

from cgstore.averages.blocks import block_length
from cgstore.averages.covariance import MOST_BYTES, Moment, merge_moments, moment, part_length
from cgstore.box import heights
from cgstore.errors import InputError, PhysicsError
from cgstore.kernels.sums import sum_blocks

__all__ = ["Counter", "Histogram", "count_blocks", "count_statistics", "frame_spacing", "result_attrs"]

_TASK_BYTES = 2**24  # positions that one task holds
_TASKS = 16  # at least so many, for threads to share, while blocks allow it
# A matrix is written once per task, whatever its frames: it takes many of them to make that cheap.
_COVARIANCE_TASK_BYTES, _COVARIANCE_TASKS = 2**26, 4
_COUNT_BYTES = 2**24  # counts of single frames that one task holds

Count = Callable[..., Sequence[tuple[NDArray[np.uint32], NDArray[np.float64]]]]


@dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """What is counted in one block dataset: its labels, its bins, its normalisation."""

    name: str  # of the distribution
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

    `count(position, box, first)` gets (frame, particle, xyz) float32 or float64, (frame, 3, 3) float64 or None, and the
    index of its first frame in the dataset, for messages. It returns for each histogram the counts
    (frame, kind, bin) uint32 of every frame, and (frame,) float64 what they are multiplied with before they are
    averaged: the volume for pairs, 1 for bonds. `r_max` is the longest distance whose nearest image must be known, nm;
    `question` opens messages about it.
    """

    question: str
    histograms: tuple[Histogram, ...]
    count: Count
    r_max: float | None = None


def result_attrs(ds: xr.Dataset, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attrs of a result: what it is about, down to the digest of the content, and what was asked."""
    kept = {key: ds.attrs[key] for key in ("name", "title", "version", "digest", "temperature") if key in ds.attrs}
    return {**kept, "frames": ds.sizes["frame"], "parameters": dict(parameters)}


def frame_spacing(ds: xr.Dataset) -> xr.Variable:
    """Return the mean time between frames in ps, NaN where times are not known; lazy if the times are."""
    frames = ds.sizes["frame"]
    if "time" not in ds or frames < 2:
        return xr.Variable((), np.nan, {"units": "ps"})
    return xr.Variable((), ((ds["time"][-1] - ds["time"][0]) / (frames - 1)).data, {"units": "ps"})


def count_blocks(ds: xr.Dataset, counters: Sequence[Counter], *, length: int | None = None) -> list[list[xr.Dataset]]:
    """Return for each counter the block datasets of its histograms; nothing is computed.

    Parameters
    ----------
    ds : dataset of the schema, in memory or lazy
    counters : what is counted, all on the same loaded positions
    length : frames per block, a power of two; by default what `block_length` says

    Raises
    ------
    InputError : there are no frames
    PhysicsError : now for what is in memory, else when it is computed: a position that is not finite, a box without
        volume or too small for a counter
    """
    return count_statistics(ds, counters, length=length)[0]


def count_statistics(
    ds: xr.Dataset, counters: Sequence[Counter], *, length: int | None = None, covariance: int = 0
) -> tuple[list[list[xr.Dataset]], xr.Dataset | None]:
    """Return the block datasets of every counter and the covariance of all bins of some of them; lazy.

    Parameters
    ----------
    ds, counters, length : as `count_blocks`
    covariance : of how many of the first counters

    Raises
    ------
    InputError : the covariance of so many bins does not fit into memory
    """
    frames, particles = ds.sizes["frame"], ds.sizes["particle"]
    if frames == 0:
        raise InputError(f"{_title(ds)}: found no frames, expected at least one")
    numbers, entries = _numbers(counters), _numbers(counters[:covariance])
    if 8 * entries**2 > MOST_BYTES:
        raise InputError(
            f"covariance of {_title(ds)}: found {entries} bins of all kinds, whose matrix takes "
            f"{8e-9 * entries**2:.1f} GB; expected at most {math.isqrt(MOST_BYTES // 8)} bins: "
            "use fewer pairs, wider bins or a smaller r_max"
        )
    length = length or block_length(frames, numbers=numbers)
    limits = (_COVARIANCE_TASK_BYTES, _COVARIANCE_TASKS) if covariance else (_TASK_BYTES, _TASKS)
    task = _task_frames(frames, particles, length, *limits)
    tasks = _tasks(ds, counters, task, min(length, task), covariance)
    sums = [delayed(_first, pure=False)(done) for done in tasks]
    results = delayed(_assemble, pure=False)(sums, max(length // task, 1))
    blocks = -(-frames // length)
    lazy: Any = da  # dask has no types
    weights = [lazy.from_delayed(results[place], (blocks,), np.float64) for place in (0, 1)]
    statistics, place = [], 2
    for counter in counters:
        found = []
        for histogram in counter.histograms:
            shape = (blocks, *histogram.norm.shape)
            count = lazy.from_delayed(results[place], shape, np.int64)
            total = lazy.from_delayed(results[place + 1], shape, np.float64)
            found.append(_label(ds, histogram, length, weights, count, total))
            place += 2
        statistics.append(found)
    if not covariance:
        return statistics, None
    part = part_length(frames, entries=entries, least=max(task, length))
    moments = [delayed(_second, pure=False)(done) for done in tasks]
    return statistics, _label_covariance(moments, counters[:covariance], part, part // task)


def _numbers(counters: Sequence[Counter]) -> int:
    """Return how many numbers counters count in a frame."""
    return sum(histogram.norm.size for counter in counters for histogram in counter.histograms)


def _title(ds: xr.Dataset) -> str:
    """Return the name of a dataset for messages."""
    return str(ds.attrs.get("name", "this dataset"))


def _task_frames(frames: int, particles: int, length: int, most_bytes: int, least_tasks: int) -> int:
    """Return the frames of a task, a power of two: many blocks, or a part of one where frames are large."""
    task = length
    while 2 * task * particles * 12 <= most_bytes and 2 * task * least_tasks <= frames:
        task *= 2
    while task > 1 and task * particles * 12 > most_bytes:
        task //= 2
    return task


def _tasks(ds: xr.Dataset, counters: Sequence[Counter], task: int, length: int, covariance: int) -> list[Any]:
    """Make one delayed count for every `task` frames; boxes and weights are checked before any of them starts."""
    frames = ds.sizes["frame"]
    # With a name of their own, positions in memory are not hashed: that takes as long as to count them.
    position = ds["position"].chunk({"frame": task, "particle": -1, "xyz": -1}, token=uuid4().hex).data
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
            covariance,
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
    covariance: int,
) -> tuple[list[np.ndarray], Moment | None]:
    """Count one group of frames: sums of every histogram over blocks, and the covariance of all counts."""
    dtype = np.float64 if position.dtype == np.float64 else np.float32
    frames = np.ascontiguousarray(position, dtype)
    step = _count_frames(_numbers(counters), len(frames))
    related = sum(len(counter.histograms) for counter in counters[:covariance])
    parts, joined = [], None
    for start in range(0, len(frames), step):
        some = slice(start, start + step)
        found = [
            pair
            for counter in counters
            for pair in counter.count(frames[some], None if box is None else box[some], first + start)
        ]
        parts.append(_sum_blocks(found, weight[some], min(length, step)))
        if covariance:
            flat = [counts.reshape(len(counts), -1) for counts, _ in found[:related]]
            new = moment(np.concatenate(flat, axis=1), weight[some])
            joined = new if joined is None else merge_moments(joined, new)
    return _assemble(parts, max(length // step, 1)), joined


def _count_frames(numbers: int, frames: int) -> int:
    """Return of how many frames the counts are kept at a time, a power of two."""
    step = 1
    while step < frames and 2 * step * numbers * 4 <= _COUNT_BYTES:
        step *= 2
    return step


def _sum_blocks(
    found: Sequence[tuple[NDArray[np.uint32], NDArray[np.float64]]], weight: NDArray[np.float64], length: int
) -> list[np.ndarray]:
    """Sum weights, squares of weights, and the counts of each histogram, over blocks of frames."""
    blocks = -(-len(weight) // length)
    one = np.ones((len(weight), 1), np.uint32)
    sums: list[np.ndarray] = []
    for factor in (weight, weight**2):
        total = np.empty((blocks, 1))
        sum_blocks(one, factor, length, np.empty((blocks, 1), np.int64), total)
        sums.append(total[:, 0])
    for counts, factor in found:
        flat = counts.reshape(len(counts), -1)
        count, total = np.empty((blocks, flat.shape[1]), np.int64), np.empty((blocks, flat.shape[1]))
        sum_blocks(flat, weight * factor, length, count, total)
        shape = (blocks, *counts.shape[1:])
        sums += [count.reshape(shape), total.reshape(shape)]
    return sums


def _first(result: tuple[Any, Any]) -> Any:
    """Return the sums of a task; apart, so that its covariance can be freed."""
    return result[0]


def _second(result: tuple[Any, Any]) -> Any:
    """Return the covariance of a task."""
    return result[1]


def _assemble(parts: Sequence[Sequence[np.ndarray]], per_block: int) -> list[np.ndarray]:
    """Join results in order; add up each `per_block` of them along the tree of `sum_blocks`, which fixes the bits."""
    if per_block > 1:
        starts = range(0, len(parts), per_block)
        parts = [list(map(_sum, zip(*parts[start : start + per_block], strict=True))) for start in starts]
    return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]


def _sum(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Add arrays up along a binary tree; who has no partner waits."""
    while len(arrays) > 1:
        pairs = [arrays[k] + arrays[k + 1] for k in range(0, len(arrays) - 1, 2)]
        arrays = pairs + list(arrays[len(pairs) * 2 :])
    return arrays[0]


def _label_covariance(moments: Sequence[Any], counters: Sequence[Counter], part: int, per_part: int) -> xr.Dataset:
    """Make the covariance dataset: the moments of the tasks of each part are merged in their order."""
    rows = [
        (histogram.name, kind, x)
        for counter in counters
        for histogram in counter.histograms
        for kind in histogram.kinds
        for x in 0.5 * (histogram.edges[1:] + histogram.edges[:-1])
    ]
    merge, merged = delayed(merge_moments, pure=False), []
    for start in range(0, len(moments), per_part):
        whole = moments[start]
        for other in moments[start + 1 : start + per_part]:
            whole = merge(whole, other)
        merged.append(whole)
    fields = delayed(_stack, pure=False)(merged)
    entries, parts, lazy = len(rows), len(merged), cast(Any, da)
    shapes = {"mean": (entries,), "comoment": (entries, entries), "weight": (), "square": (), "frames": ()}
    variables = {
        name: (
            ("part", "entry", "other")[: len(shape) + 1],
            lazy.from_delayed(fields[name], (parts, *shape), np.int64 if name == "frames" else np.float64),
            {"units": "1"},
        )
        for name, shape in shapes.items()
    }
    names, kinds, centres = (list(column) for column in zip(*rows, strict=True)) if rows else ([], [], [])
    coords = {
        "distribution": ("entry", np.array(names, np.str_)),
        "kind": ("entry", np.array(kinds, np.str_)),
        "x": ("entry", np.array(centres, np.float64), {"long_name": "centre of the bin"}),
    }
    return xr.Dataset(variables, coords, {"part_length": part})


def _stack(moments: Sequence[Moment]) -> dict[str, np.ndarray]:
    """Return the fields of moments by name, one behind the other; a single one is not copied."""
    if len(moments) == 1:
        return {name: np.asarray(getattr(moments[0], name))[None] for name in Moment.__slots__}
    return {name: np.stack([getattr(part, name) for part in moments]) for name in Moment.__slots__}


def _label(
    ds: xr.Dataset, histogram: Histogram, length: int, weights: Sequence[Any], count: Any, total: Any
) -> xr.Dataset:
    """Make the block dataset of one histogram."""
    frames, dims = ds.sizes["frame"], (histogram.kind, histogram.bin)
    centres = 0.5 * (histogram.edges[1:] + histogram.edges[:-1])
    in_block = np.minimum(length, frames - np.arange(0, frames, length))
    return xr.Dataset(
        {
            "count": (("block", *dims), count, {"units": "1"}),
            "sum": (("block", *dims), total),
            "weight": ("block", weights[0], {"units": "1"}),
            "square": ("block", weights[1], {"units": "1"}),
            "frames": ("block", in_block, {"units": "1"}),
            "norm": (dims, histogram.norm, dict(histogram.attrs)),
            "frame_spacing": frame_spacing(ds),
        },
        {
            histogram.kind: (histogram.kind, np.array(histogram.kinds, np.str_)),
            histogram.bin: (histogram.bin, centres, dict(histogram.bin_attrs)),
        },
        {"block_length": length},
    )
