"""Collective variables: what latent variables say of basins, against shuffled labels, and what they stand for."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cgstore.learn.generative.model import Model

__all__ = ["Agreement", "agreement", "reconstructed"]

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Agreement:
    """What z says of labels."""

    information: float  # nats: mutual information of labels and the cell of z
    entropy: float  # nats: of the labels, the most there is to know
    shuffled: float  # nats: the mean information of shuffled labels, which is what noise gives
    chance: float  # part of the shuffled sets with as much information; never below 1 / (sets + 1)
    right: float  # weighted part of held-out samples whose label is that of the majority in their cell
    majority: float  # that part when every sample is given the commonest label


def agreement(
    z: Float, label: NDArray[np.int64], weight: Float, *, cells: int = 10, sets: int = 99, seed: int = 0
) -> Agreement:
    """Measure how much latent variables say of a label, such as the basin, with weights.

    Parameters
    ----------
    z : (sample, latent), one or two dimensions
    label : (sample,) numbers of classes
    weight : (sample,) not negative
    cells : along each dimension, equally many samples in each
    sets : of shuffled labels; weights go with the labels
    seed : of the shuffling, and of which half of the samples is held out

    Notes
    -----
    The information Σ p(c, b) ln p(c, b) / p(c) p(b) of finite samples is too large, by as much as shuffled labels have
    on average. Cells are chosen without labels and weights; for the classification the majority in each cell is that
    of one half of the samples, and the other half is counted.

    Examples
    --------
    >>> z = np.random.default_rng(1).normal(size=(2000, 1))
    >>> found = agreement(z, (z[:, 0] > np.median(z)).astype(int), np.ones(2000))
    >>> round(found.information, 2), round(found.entropy, 2), found.chance, found.right > 0.99
    (0.69, 0.69, 0.01, True)
    """
    random = np.random.default_rng(seed)
    cell = np.zeros(len(z), np.int64)
    for values in z.T:
        edges = np.quantile(values, np.linspace(0, 1, cells + 1)[1:-1])
        cell = cell * cells + np.searchsorted(edges, values)
    shape = (int(cell.max()) + 1, int(label.max()) + 1)
    found = _information(_table(cell, label, weight, shape))
    shuffled = np.empty(sets)
    for place in range(sets):
        order = random.permutation(len(label))
        shuffled[place] = _information(_table(cell, label[order], weight[order], shape))
    known = random.random(len(label)) < 0.5
    learned = _table(cell[known], label[known], weight[known], shape)
    common = int(learned.sum(axis=0).argmax())
    guess = np.where(learned.sum(axis=1) > 0, learned.argmax(axis=1), common)[cell[~known]]
    part = np.bincount(label, weight) / weight.sum()
    some = part[part > 0]
    return Agreement(
        information=found,
        entropy=float(-(some * np.log(some)).sum()),
        shuffled=float(shuffled.mean()),
        chance=float((1 + (shuffled >= found).sum()) / (sets + 1)),
        right=float(np.average(guess == label[~known], weights=weight[~known])),
        majority=float(np.average(label[~known] == common, weights=weight[~known])),
    )


def reconstructed(model: Model, z: Float, *, samples: int = 100, seed: int = 0) -> Float:
    """Return what latent variables stand for: coordinates drawn at each z.

    Parameters
    ----------
    z : (point, latent), such as points of a line

    Returns
    -------
    (point, sample, coordinate)

    Examples
    --------
    >>> from cgstore.learn.generative.model import Architecture, model_of
    >>> model = model_of(torch.zeros(3, dtype=torch.bool), Architecture(latent=1, rounds=0), seed=0)
    >>> reconstructed(model, np.linspace(-2, 2, 5)[:, None], samples=7).shape
    (5, 7, 3)
    """
    dtype = next(model.parameters()).dtype
    each = torch.as_tensor(z).to(dtype).repeat_interleave(samples, dim=0)
    with torch.no_grad():
        x, _ = model.decoder(each, torch.Generator().manual_seed(seed))
    return np.asarray(x.numpy().reshape(len(z), samples, -1), np.float64)


def _table(cell: NDArray[np.int64], label: NDArray[np.int64], weight: Float, shape: tuple[int, int]) -> Float:
    """Return the weight in each cell and class: (cell, class)."""
    flat = np.bincount(cell * shape[1] + label, weight, minlength=shape[0] * shape[1])
    return np.asarray(flat.reshape(shape), np.float64)


def _information(table: Float) -> float:
    """Return the mutual information of rows and columns in nats."""
    part = table / table.sum()
    independent = part.sum(axis=1, keepdims=True) * part.sum(axis=0)
    hit = part > 0
    return float((part[hit] * np.log(part[hit] / independent[hit])).sum())
