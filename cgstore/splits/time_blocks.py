"""Time blocks: one run cut in time into parts with given shares and a gap between them that no part uses."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cgstore.errors import InputError
from cgstore.splits.rules import PartName

__all__ = ["cut", "least_gap"]

_MORE_THAN_A_FRAME = 1.5  # intervals between frames; so much apart, two parts are not neighbours in time


def least_gap(time: NDArray[np.float64], gap: float) -> float:
    """Return the time between two parts of a run: the gap, and more than a frame.

    Parameters
    ----------
    time : (frame,) ps, increasing
    gap : ps

    Examples
    --------
    >>> least_gap(np.arange(5.0), 0.0), least_gap(np.arange(5.0), 40.0)
    (1.5, 40.0)
    """
    interval = float(np.diff(time).max()) if len(time) > 1 else 0.0
    return max(gap, _MORE_THAN_A_FRAME * interval)


def cut(
    time: NDArray[np.float64], shares: Mapping[PartName, float], gap: float, *, name: str
) -> dict[PartName, tuple[float, float]]:
    """Return the block of each part, `start <= time < stop` in ps, in the order of the shares; the ends are open.

    The time that the gaps leave is divided by the shares; there are as many gaps as borders.

    Parameters
    ----------
    time : (frame,) ps, increasing
    shares : of the parts, adding up to 1
    gap : ps, at least, between the last frame of a part and the first of the next
    name : of the dataset, for messages

    Raises
    ------
    InputError : the run is too short for the gaps, or a part gets no frame

    Examples
    --------
    >>> cut(np.arange(0.0, 110.0), {"train": 0.8, "heldout": 0.2}, 9.0, name="a/r1/cg")
    {'train': (-inf, 80.0), 'heldout': (89.0, inf)}
    """
    length = float(time[-1] - time[0]) if len(time) else 0.0
    between = least_gap(time, gap)
    left = length - between * (len(shares) - 1)
    if left <= 0:
        raise InputError(
            f"{name}: {length:g} ps in {len(time)} frames are too short for {len(shares)} blocks with gaps of "
            f"{between:g} ps; name the whole run in one part, or leave it out"
        )
    blocks: dict[PartName, tuple[float, float]] = {}
    begin, parts = float(time[0]), list(shares)
    for part in parts:
        end = begin + shares[part] * left
        blocks[part] = (begin if part != parts[0] else -np.inf, end if part != parts[-1] else np.inf)
        begin = end + between
    for part, (start, stop) in blocks.items():
        if not ((time >= start) & (time < stop)).any():
            raise InputError(
                f"{name}: no frame for {part}, {shares[part]:.0%} of {length:g} ps in {len(time)} frames; "
                "larger shares are needed, or a longer run"
            )
    return blocks
