"""Copies: frames of two datasets that are the same but for the precision in which they were stored.

A frame is known by the distances of some fixed pairs of particles, by the nearest image, which moving, wrapping and
rounding leave as they are. Found are copies with the same particles in the same order. Not found are copies in which
particles were reordered, left out or mapped to beads, or coordinates scaled, mirrored or moved by more than rounding.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from cgstore.learn.fingerprint import times_of
from cgstore.learn.members import Member

__all__ = ["copied_frames"]

_PAIRS = 24  # distances that stand for a frame
_FEWEST_PAIRS = 6  # fewer would agree by chance
_LIVELY = 4.0  # a distance tells frames apart when it scatters by so many tolerances
_LOSSLESS = 2e-6  # nm, rounding of float32 in boxes of tens of nm
_BLOCK = 2**24  # numbers of positions in memory

Float = NDArray[np.float64]


def copied_frames(
    items: Sequence[tuple[Any, Member]], pairs: Sequence[tuple[int, int]]
) -> Iterator[tuple[tuple[int, int], int]]:
    """Give the pairs of datasets that share frames within the precision of storing, and how many.

    Parameters
    ----------
    items : an entry of a catalog, and which of its frames are meant
    pairs : places of the items to be compared

    Notes
    -----
    Two distances agree when they differ by at most √3 (p + q), with p and q the precisions (the grid) of the datasets:
    each coordinate of each particle is off by at most half a grid. Only distances that scatter over the run by four
    times that are compared, by all of them; with fewer than six of them nothing can be said and nothing is found.
    """
    sizes = {}
    for place in {place for pair in pairs for place in pair}:
        sizes[place] = int(items[place][0].open().sizes["particle"])
    marks: dict[int, tuple[Float, float]] = {}
    for a, b in pairs:
        if sizes[a] != sizes[b]:
            continue
        for place in (a, b):
            if place not in marks:
                marks[place] = _marks(*items[place])
        if number := _agreeing(marks[a], marks[b]):
            yield (a, b), number


def _agreeing(one: tuple[Float, float], two: tuple[Float, float]) -> int:
    """Count the frames of the second that are somewhere in the first."""
    (ours, p), (theirs, q) = one, two
    tolerance = np.sqrt(3.0) * (p + q)
    lively = np.minimum(ours.std(axis=0), theirs.std(axis=0)) > _LIVELY * tolerance if len(theirs) > 1 else ...
    if lively is ...:
        lively = ours.std(axis=0) > _LIVELY * tolerance
    if int(lively.sum()) < _FEWEST_PAIRS:
        return 0
    tree = cKDTree(ours[:, lively])
    distance, _ = tree.query(theirs[:, lively], p=np.inf, distance_upper_bound=tolerance)
    return int(np.isfinite(distance).sum())


def _marks(entry: Any, member: Member) -> tuple[Float, float]:
    """Return the distances of the frames, (frame, pair) nm, and the precision of the positions."""
    ds = entry.open()
    chosen = member.frames(times_of(ds))
    particles = ds.sizes["particle"]
    first, second = _pairs(particles)
    length = max(1, _BLOCK // (3 * particles))
    parts = []
    for start in range(chosen.start, chosen.stop, length):
        block = ds.isel(frame=slice(start, min(start + length, chosen.stop)))
        x = np.asarray(block["position"].values, np.float64)
        apart = x[:, first] - x[:, second]
        if "box" in block:
            apart = _nearest(apart, np.asarray(block["box"].values, np.float64))
        parts.append(np.sqrt((apart**2).sum(axis=-1)))
    return np.concatenate(parts), _precision(ds.attrs)


def _nearest(apart: Float, box: Float) -> Float:
    """Return vectors (frame, pair, xyz) to the nearest image, near enough in a skew box: the same for every copy."""
    if not (np.abs(np.linalg.det(box)) > 0).all():
        return apart
    fraction = apart @ np.linalg.inv(box)
    return (fraction - np.round(fraction)) @ box


def _pairs(particles: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return pairs of particles that are far apart in the order of the file: different ones, as many as there are."""
    number = np.arange(_PAIRS)
    first = number * particles // _PAIRS
    second = (first + particles // 2 + number % 3) % max(particles, 1)
    pairs = np.unique(np.sort(np.stack([first, second], axis=1), axis=1), axis=0)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    return pairs[:, 0], pairs[:, 1]


def _precision(attrs: Mapping[str, Any]) -> float:
    """Return the grid of the positions in nm."""
    stated = attrs.get("precision")
    return max(float(stated), _LOSSLESS) if isinstance(stated, int | float) else _LOSSLESS
