"""Mixing: how near the order of a plan comes to a full shuffle, as the share of pairs in a batch that lie together.

Frames of one chunk are neighbours in time and alike. A full shuffle puts two of them into one batch as often as chance
does; an order that reads chunks whole does so more often.
"""

from dataclasses import dataclass

import numpy as np

from cgstore.learn.plan import Plan

__all__ = ["Mixing", "mixing"]

_FAR = 1 << 40  # frames between two series when all are put into one row


@dataclass(frozen=True, slots=True)
class Mixing:
    """Shares of the pairs of samples of a batch that are of one block, in the mean over batches."""

    found: float
    uniform: float  # what a full shuffle gives in the mean


def mixing(plan: Plan, *, epoch: int = 0) -> Mixing:
    """Measure how well an epoch of a plan is mixed.

    Parameters
    ----------
    plan : what is measured
    epoch : which order

    Examples
    --------
    >>> from cgstore.learn.plan import Series
    >>> series = (Series("a/r1/cg", "", 0, 4096, 32),)
    >>> good, poor = Plan(series, batch_size=64), Plan(series, batch_size=64, streams=1, window=1)
    >>> round(mixing(good).uniform, 3), round(mixing(good).found, 3), round(mixing(poor).found, 2)
    (0.008, 0.007, 0.49)
    """
    order = plan.order(epoch)
    starts = plan.blocks[:, 0] * _FAR + plan.blocks[:, 1]
    block = np.searchsorted(starts, order[:, 0] * _FAR + order[:, 1], side="right") - 1
    batch = np.arange(len(order)) // plan.batch_size
    _, counts = np.unique(batch * len(plan.blocks) + block, return_counts=True)
    sizes = np.bincount(batch)
    pairs = int((sizes * (sizes - 1)).sum())
    blocks = plan.blocks[:, 2] - plan.blocks[:, 1]
    return Mixing(
        found=float((counts * (counts - 1)).sum() / max(1, pairs)),
        uniform=float((blocks * (blocks - 1)).sum() / max(1, plan.samples * (plan.samples - 1))),
    )
