"""Moments: which frames make a sample: one, two a lag apart, or a window of consecutive ones; and where they may start.

A sample lies within its member of the split and on one stretch of even time steps: it crosses no gap of the run.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cgstore.errors import InputError
from cgstore.learn.plan import Series
from cgstore.learn.source import Source
from cgstore.units import parse_quantity

__all__ = ["Shape", "series_of"]

_UNEVEN = 1e-3  # of a time step: times are written with few digits


@dataclass(frozen=True, slots=True)
class Shape:
    """What a sample is: one frame, a pair `lag` apart, or `length` consecutive frames.

    Both are numbers of frames, or times with a unit such as "10 ps"; a window of that time has both its ends in it.
    """

    lag: int | str | None = None
    length: int | str | None = None

    def __post_init__(self) -> None:
        """Refuse what is no sample."""
        if self.lag is not None and self.length is not None:
            raise InputError("found both lag and length; expected one: a lag gives pairs, a length gives windows")
        for name in ("lag", "length"):
            value = getattr(self, name)
            if isinstance(value, int) and value < 1:
                raise InputError(f'{name} = {value}; expected at least 1 frame, or a time such as "10 ps"')

    def moments(self, source: Source) -> tuple[int, ...]:
        """Return the frames of a sample of a source, counted from its start.

        Raises
        ------
        InputError : a time is no whole number of its time steps
        """
        if self.lag is not None:
            return (0, _frames(self.lag, source, "lag"))
        if self.length is not None:
            more = 0 if isinstance(self.length, int) else 1
            return tuple(range(_frames(self.length, source, "length") + more))
        return (0,)


def series_of(sources: tuple[Source, ...], shape: Shape) -> tuple[tuple[Series, ...], tuple[int, ...]]:
    """Return the series of all samples of some sources, and of which source each series is.

    Parameters
    ----------
    sources : opened, each with the frames that are meant
    shape : what a sample is

    Raises
    ------
    InputError : a lag or length is no number of frames of a source, windows would differ in their number of frames, or
        a source has no sample
    """
    series: list[Series] = []
    owners: list[int] = []
    counts: dict[int, str] = {}
    for number, source in enumerate(sources):
        moments = shape.moments(source)
        counts.setdefault(len(moments), source.name)
        found = [
            Series(source.name, source.digest, first, last - moments[-1], _chunk(source.chunk, moments), moments)
            for first, last in _stretches(source, moments)
            if last - moments[-1] > first
        ]
        if not found and source.last > source.first and len(moments) > 1:
            raise InputError(
                f"{source.name}: a sample spans {moments[-1] + 1} frames, and no stretch of frames without a gap in "
                f"time is that long among the {source.last - source.first} that are meant"
            )
        series += found
        owners += [number] * len(found)
    if len(counts) > 1:
        words = ", ".join(f"{count} frames in {name}" for count, name in counts.items())
        raise InputError(f"length = {shape.length!r} means {words}; expected as many everywhere; state it in frames")
    return tuple(series), tuple(owners)


def _stretches(source: Source, moments: tuple[int, ...]) -> list[tuple[int, int]]:
    """Cut the frames that are meant where a time step is not the usual one; single frames need no cut."""
    if source.last <= source.first:
        return []
    if len(moments) == 1:
        return [(source.first, source.last)]
    steps = np.diff(source.time[source.first : source.last])
    usual = _usual(source)
    cuts = source.first + 1 + np.flatnonzero(np.abs(steps - usual) > _UNEVEN * usual + _rounding(source.time))
    edges = [source.first, *cuts.tolist(), source.last]
    return list(pairwise(edges))


def _usual(source: Source) -> float:
    """Return the usual time step of the frames that are meant, ps."""
    steps = np.diff(source.time[source.first : source.last])
    return float(np.median(steps)) if len(steps) else 0.0


def _rounding(time: NDArray[np.float64]) -> float:
    """Return by how much times read from float32 may be off, ps."""
    return 4.0 * float(np.spacing(np.float32(np.abs(time).max(initial=0.0))))


def _frames(value: int | str, source: Source, name: str) -> int:
    """Return a lag or length as a number of frames."""
    if isinstance(value, int):
        return value
    wanted, step = parse_quantity(value, "time"), _usual(source)
    if step <= 0:
        raise InputError(f"{source.name}: has no time step; state {name} in frames")
    frames = round(wanted / step)
    if frames < 1 or abs(wanted - frames * step) > 0.01 * step:
        raise InputError(
            f"{source.name}: {name} = {value!r} is no multiple of the time step, {step:g} ps; expected a multiple of it"
        )
    return frames


def _chunk(chunk: int, moments: tuple[int, ...]) -> int:
    """Return the starts in a block: of windows longer than a chunk as many as their frames, or each is read often."""
    contiguous = moments[-1] == len(moments) - 1
    return chunk * max(1, -(-len(moments) // chunk)) if contiguous else chunk
