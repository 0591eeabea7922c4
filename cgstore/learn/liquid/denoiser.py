"""A denoiser: from g(r) of a single frame, and the state, to the g(r) that a long run would have given.

What liquids of a sweep look like is a surface of few dimensions: a network finds the place of a snapshot on it, as the
principal components of the mean g(r), with their errors. Moradzadeh and Aluru 2019, doi:10.1021/acs.jpclett.9b02820,
did it with autoencoders.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.errors import InputError
from cgstore.learn.liquid.model import mixture
from cgstore.learn.liquid.network import Batch, Heads, train_heads
from cgstore.learn.liquid.range import components_of

__all__ = ["Denoiser", "Snapshots", "snapshots_of_table", "train_denoiser"]

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Snapshots:
    """Noisy g(r) of systems, several of each, and the mean that they should give."""

    r: Float  # (bin,) nm
    noisy: Float  # (row, snapshot, bin)
    mean: Float  # (row, bin)
    state: Float  # (row, 2) ln T and ln ρ

    def take(self, rows: NDArray[np.integer[Any]]) -> "Snapshots":
        """Return some systems."""
        return Snapshots(self.r, self.noisy[rows], self.mean[rows], self.state[rows])


@dataclass(frozen=True, slots=True, eq=False)
class Denoiser:
    """A trained denoiser; `apply` gives the mean g(r) with its error."""

    mean: Float  # (bin,) of g
    components: Float  # (component, bin)
    feature_mean: Float
    feature_scale: Float
    answer_mean: Float
    answer_scale: Float
    heads: Heads

    def apply(self, noisy: Float, state: Float) -> tuple[Float, Float]:
        """Return g(r) and its standard error, (row, bin) each, for noisy g (row, bin) and ln T, ln ρ (row, 2)."""
        x = (self._features(noisy, state) - self.feature_mean) / self.feature_scale
        mean, scale, _ = mixture(self.heads.weights, self.heads.biases, x)
        g = self.mean + (self.answer_mean + self.answer_scale * mean) @ self.components
        error = np.sqrt((self.answer_scale * scale) ** 2 @ self.components**2)
        return np.maximum(g, 0.0), np.asarray(error, np.float64)

    def _features(self, noisy: Float, state: Float) -> Float:
        """Return what the networks see."""
        return np.concatenate([(noisy - self.mean) @ self.components.T, state], axis=1)


def snapshots_of_table(table: xr.Dataset, names: list[str], *, rdf: str = "rdf", few: str = "snapshots") -> Snapshots:
    """Return snapshots and means of the rows of a feature table with these names, in this order.

    Parameters
    ----------
    table : columns of the features `rdf` and `rdf_snapshots` on the same bins, `temperature`, `number_density`
    names : of datasets
    rdf, few : what the columns are called

    Raises
    ------
    InputError : the bins differ, or a system lacks a value
    """
    part = table.sel(system=names)
    r, other = (np.asarray(part[f"{name}_r"].values, np.float64) for name in (rdf, few))
    if len(r) != len(other) or not np.allclose(r, other):
        raise InputError(f"found {rdf!r} and {few!r} on different bins; give both features the same r_min, r_max, bins")
    noisy = part[few].transpose("system", f"{few}_snapshot", f"{few}_r").values.astype(np.float64)
    mean = part[rdf].values.astype(np.float64)
    state = np.log(np.stack([part["temperature"].values, part["number_density"].values], 1))
    bad = ~(np.isfinite(noisy).all(axis=(1, 2)) & np.isfinite(mean).all(axis=1) & np.isfinite(state).all(axis=1))
    if bad.any():
        raise InputError(f"{names[int(np.flatnonzero(bad)[0])]}: lacks a value, as do {int(bad.sum()) - 1} others")
    return Snapshots(r, noisy, mean, state)


def train_denoiser(
    training: Snapshots,
    *,
    components: int = 24,
    hidden: tuple[int, ...] = (96, 96),
    members: int = 3,
    epochs: int = 60,
    batch_size: int = 128,
    rate: float = 3e-3,
    seed: int = 0,
    tell: Callable[[int, float], None] = lambda epoch, loss: None,
) -> Denoiser:
    """Return a denoiser that learned from the snapshots of training systems.

    Parameters
    ----------
    training : of the training part of a split, whole systems
    components : principal components of the mean g(r)
    hidden, members, epochs, batch_size, rate, seed : of the networks
    tell : is told each epoch and its loss
    """
    mean, directions = components_of(training.mean, components)
    systems, each = training.noisy.shape[:2]
    noisy = training.noisy.reshape(systems * each, -1)
    features = np.concatenate([(noisy - mean) @ directions.T, np.repeat(training.state, each, axis=0)], axis=1)
    answers = np.repeat((training.mean - mean) @ directions.T, each, axis=0)
    middle, width = features.mean(axis=0), features.std(axis=0)
    centre, scale = answers.mean(axis=0), answers.std(axis=0)
    x, y = (features - middle) / width, (answers - centre) / scale
    rng = np.random.default_rng(seed)

    def batches(epoch: int) -> Iterator[Batch]:
        order = np.stack([rng.permutation(len(x)) for _ in range(members)])
        for start in range(0, len(x), batch_size):
            rows = order[:, start : start + batch_size]
            yield x[rows], y[rows]

    found = Heads((), ())
    sizes = (x.shape[1], *hidden, y.shape[1])
    steps = -(-len(x) // batch_size)
    rounds = train_heads(batches, sizes=sizes, members=members, epochs=epochs, steps=steps, rate=rate, seed=seed)
    for epoch, (loss, done) in enumerate(rounds):
        tell(epoch, loss)
        found = done or found
    return Denoiser(mean, directions, middle, width, centre, scale, found)
