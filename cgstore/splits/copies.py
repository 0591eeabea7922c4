"""Copies: frames of two datasets that are the same but for the precision in which they were stored.

A frame is known by the distances of some fixed pairs of particles, by the nearest image, which moving, wrapping and
rounding leave as they are. Found are copies with the same particles in the same order. Not found are copies in which
particles were reordered, left out or mapped to beads, or coordinates scaled, mirrored or moved by more than rounding.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgstore.splits.fingerprint import times_of
from cgstore.splits.members import Member

__all__ = ["copied_frames"]

_PAIRS = 24  # distances that stand for a frame
_FEWEST_PAIRS = 6  # fewer would agree by chance
_LIVELY = 4.0  # a distance tells frames apart when it scatters by so many tolerances
_GRIDS = (0.1, 0.01, 0.001, 0.0001)  # nm, on which a frame may lie
_LOSSLESS = 1e-5  # nm, where it lies on none: more than what float32 rounds in boxes of tens of nm
_SAMPLE = 64  # particles that tell the grid
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
    Two distances agree when they differ by at most √3 (p + q), with p and q the grids of both frames, read off their
    coordinates: each is off by at most half a grid. Only distances that scatter over the run by four times that are
    compared, by all of them; with fewer than six of them nothing can be said and nothing is found.
    """
    sizes = {}
    for place in {place for pair in pairs for place in pair}:
        sizes[place] = int(items[place][0].open().sizes["particle"])
    marks: dict[int, tuple[Float, Float]] = {}
    for a, b in pairs:
        if sizes[a] != sizes[b]:
            continue
        for place in (a, b):
            if place not in marks:
                marks[place] = _marks(*items[place])
        if number := _agreeing(marks[a], marks[b]):
            yield (a, b), number


def _agreeing(one: tuple[Float, Float], two: tuple[Float, Float]) -> int:
    """Count the frames of the second that are somewhere in the first."""
    from scipy.spatial import cKDTree  # takes long to load, and is for the deep look only

    (ours, our_grids), (theirs, their_grids) = one, two
    scatter = np.array([marks.std(axis=0) for marks in (ours, theirs) if len(marks) > 1]).min(axis=0, initial=np.inf)
    found = np.zeros(len(theirs), np.bool_)
    for p in np.unique(our_grids):
        for q in np.unique(their_grids):
            tolerance = float(np.sqrt(3.0) * (p + q))
            lively = scatter > _LIVELY * tolerance
            if int(lively.sum()) < _FEWEST_PAIRS:
                continue
            these = np.flatnonzero(their_grids == q)
            tree = cKDTree(ours[our_grids == p][:, lively])
            distance, _ = tree.query(theirs[these][:, lively], p=np.inf, distance_upper_bound=1.001 * tolerance)
            found[these] |= np.isfinite(distance)
    return int(found.sum())


def _marks(entry: Any, member: Member) -> tuple[Float, Float]:
    """Return the distances of the frames, (frame, pair) nm, and the grid of each, (frame,) nm."""
    ds = entry.open()
    chosen = member.frames(times_of(ds))
    particles = ds.sizes["particle"]
    first, second = _pairs(particles)
    length = max(1, _BLOCK // (3 * particles))
    parts, grids = [], []
    for start in range(chosen.start, chosen.stop, length):
        block = ds.isel(frame=slice(start, min(start + length, chosen.stop)))
        x = np.asarray(block["position"].values, np.float64)
        grids.append(_grid(x[:, :_SAMPLE]))
        apart = x[:, first] - x[:, second]
        if "box" in block:
            apart = _nearest(apart, np.asarray(block["box"].values, np.float64))
        parts.append(np.sqrt((apart**2).sum(axis=-1)))
    return np.concatenate(parts), np.concatenate(grids)


def _grid(x: Float) -> Float:
    """Return the coarsest grid on which all coordinates (frame, particle, xyz) of a frame lie, (frame,) nm."""
    grids = np.full(len(x), _LOSSLESS)
    for grid in sorted(_GRIDS):
        off = np.abs(x - grid * np.round(x / grid))
        grids[(off <= 1.2e-7 * np.abs(x) + 1e-7).all(axis=(1, 2))] = grid
    return grids


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
