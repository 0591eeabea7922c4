"""Resampling: subsets, weights, jackknife, bootstrap and covariances as sums over stored blocks, never over frames.

Blocks of several runs may be joined (`merge_blocks`): nothing is correlated across a seam, so that the correlation is
found a little too short, by the part t / (blocks of a run) of the pairs at lag t; runs that disagree make it longer,
and so the error larger, or unknown.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from cgstore.averages.correlation import Parts, error_factor, inefficiencies, merged_length, parts_of
from cgstore.errors import InputError

__all__ = [
    "Resampled",
    "bootstrap",
    "choose_blocks",
    "covariance_of_means",
    "jackknife",
    "mean_of_blocks",
    "reweight_blocks",
]

Statistic = Callable[[xr.Dataset], Any]
Float = NDArray[np.float64]


class Resampled(NamedTuple):
    """A statistic of all blocks with its error; arrays or datasets, as the statistic returns them."""

    value: Any
    error: Any  # calibrated as in `mean_and_error`; NaN when fewer than four parts are left
    bias: Any  # to be taken off the value; it is far below the error unless the statistic is very bent
    samples: tuple[Any, ...]  # the statistic of every resampled set


def choose_blocks(
    blocks: xr.Dataset, which: slice | ArrayLike | None = None, *, time: tuple[float, float] | None = None
) -> xr.Dataset:
    """Return some of the blocks of a run: by number, by a mask, or those within a range of time.

    Parameters
    ----------
    blocks : block dataset
    which : slice, (n,) numbers or (block,) mask
    time : ps after the first frame, from and to; only blocks that lie within it entirely

    Raises
    ------
    InputError : nothing is left, both or neither of `which` and `time` are given, or times are not known

    Examples
    --------
    >>> blocks = xr.Dataset({"frames": ("block", [4, 4, 4, 2]), "frame_spacing": 5.0})
    >>> choose_blocks(blocks, time=(20.0, 60.0)).frames.values.tolist()
    [4, 4]
    """
    if (which is None) == (time is None):
        raise InputError("choose_blocks takes either which or time: which blocks, or from when to when")
    chosen = which if isinstance(which, slice) else np.asarray(which)
    if time is not None:
        spacing = float(blocks["frame_spacing"])
        if not spacing > 0:
            raise InputError("choose_blocks: the times of the frames are not known; choose blocks by number")
        ends = np.cumsum(blocks["frames"].values) * spacing
        begins = ends - blocks["frames"].values * spacing
        slack = 1e-6 * spacing
        chosen = (begins >= time[0] - slack) & (ends <= time[1] + slack)
    some = blocks.isel(block=chosen)
    if some.sizes["block"] == 0:
        raise InputError(f"choose_blocks: found none of {blocks.sizes['block']} blocks in {which or time}")
    return some


def reweight_blocks(blocks: xr.Dataset, weight: ArrayLike) -> xr.Dataset:
    """Return blocks that count with a weight of their own, besides those of their frames; `count` stays.

    Parameters
    ----------
    blocks : block dataset
    weight : (block,) not negative

    Raises
    ------
    InputError : there are not as many weights as blocks, or one is negative or not finite

    Examples
    --------
    >>> blocks = xr.Dataset({"sum": ("block", [2.0, 4.0]), "weight": ("block", [1.0, 1.0])})
    >>> float(mean_of_blocks(reweight_blocks(blocks, [3.0, 1.0]).assign(norm=1.0)))
    2.5
    """
    weights = np.asarray(weight, np.float64)
    if weights.shape != (blocks.sizes["block"],) or not (np.isfinite(weights) & (weights >= 0)).all():
        raise InputError(
            f"reweight_blocks: found weights of shape {weights.shape}, expected one for each of the "
            f"{blocks.sizes['block']} blocks, none negative"
        )
    factor = xr.DataArray(weights, dims="block")
    powers = {"sum": factor, "weight": factor, "square": factor**2}
    return blocks.assign({name: blocks[name] * by for name, by in powers.items() if name in blocks})


def mean_of_blocks(blocks: xr.Dataset) -> xr.DataArray:
    """Return the distribution (kind, bin) of blocks without its error: Σ sum / Σ weight / norm."""
    norm = blocks["norm"]
    return blocks["sum"].sum("block") / blocks["weight"].sum("block") / norm.where(norm > 0)


def jackknife(blocks: xr.Dataset, statistic: Statistic) -> Resampled:
    """Return a statistic with its error from sets that lack one part of the run each.

    Parameters
    ----------
    blocks : block dataset
    statistic : from blocks to a number, array, DataArray or Dataset of numbers; smooth (no median, no maximum)

    Returns
    -------
    Resampled : `bias` is Quenouille's, `samples` one for each part

    Notes
    -----
    Parts are those of `mean_and_error`, for the slowest kind, and the error is the same: of n parts,
    δ² = f² (1 − 1/n) Σ (θ₋ₖ − θ)², so that for a mean both agree to the last digits. The bias is (n − 1)(θ̄₋ − θ).
    Quenouille 1956, doi:10.1093/biomet/43.3-4.353; Efron & Stein 1981, doi:10.1214/aos/1176345462

    Examples
    --------
    >>> x = np.random.default_rng(1).normal(5.0, 1.0, (100, 1, 1))
    >>> blocks = xr.Dataset({"sum": (("block", "kind", "bin"), x), "weight": ("block", np.ones(100)),
    ...                      "norm": (("kind", "bin"), np.ones((1, 1)))})
    >>> bool(0.05 < jackknife(blocks, lambda b: np.log(mean_of_blocks(b))).error[0, 0] * 5.0 < 0.2)
    True
    """
    inefficiency, parts = _slowest(blocks)
    number, length = len(parts.starts), parts.length
    value = statistic(blocks)
    inside = np.arange(blocks.sizes["block"]) // length
    samples = tuple(statistic(choose_blocks(blocks, inside != part)) for part in range(number)) if number > 1 else ()
    unknown = value * np.nan
    if not samples:
        return Resampled(value, unknown, unknown, samples)
    variance = sum((sample - value) ** 2 for sample in samples) * (1.0 - 1.0 / parts.effective)
    factor = float(error_factor(inefficiency, blocks.sizes["block"], parts)) if parts.enough else np.nan
    bias = (number - 1) * (sum(samples) / number - value)
    return Resampled(value, factor * variance**0.5, bias, samples)


def bootstrap(
    blocks: xr.Dataset, statistic: Statistic, *, draws: int = 200, seed: int = 0, length: int | None = None
) -> Resampled:
    """Return a statistic with its error from sets of blocks drawn with replacement, in stretches of a ring.

    Parameters
    ----------
    blocks : block dataset
    statistic : from blocks to a number, array, DataArray or Dataset of numbers
    draws : how many sets; the error is then known to 1 / √(2 draws), besides what the run itself leaves open
    seed : the same gives the same sets
    length : blocks in a stretch; by default as long as the parts of `mean_and_error`, for the slowest kind

    Returns
    -------
    Resampled : `bias` is the mean of the samples less the value; `samples` also give quantiles

    Raises
    ------
    InputError : fewer than two draws, or a length that is none

    Notes
    -----
    The circular block bootstrap: the run is a ring, so that every block is drawn equally often. Politis & Romano 1992,
    in Exploring the Limits of Bootstrap, Wiley, 263–270; Künsch 1989, doi:10.1214/aos/1176347265. The factor of
    `error_factor` stands here as well.
    """
    inefficiency, parts = _slowest(blocks)
    number = blocks.sizes["block"]
    length = parts.length if length is None else length
    if draws < 2 or not 1 <= length <= number:
        raise InputError(
            f"bootstrap: found {draws} draws in stretches of {length} of {number} blocks, expected at least two draws, "
            "and stretches not longer than the run"
        )
    random = np.random.Generator(np.random.Philox(seed))
    value = statistic(blocks)
    samples = []
    for _ in range(draws):
        starts = random.integers(0, number, -(-number // length))
        drawn = ((starts[:, None] + np.arange(length)) % number).ravel()[:number]
        samples.append(statistic(reweight_blocks(blocks, np.bincount(drawn, minlength=number))))
    middle = sum(samples) / draws
    cut = parts_of(length, blocks["weight"].values)
    factor = float(error_factor(inefficiency, number, cut)) if cut.enough else np.nan
    variance = sum((sample - middle) ** 2 for sample in samples) / (draws - 1) * (1.0 / (1.0 - 1.0 / cut.effective))
    return Resampled(value, factor * variance**0.5, middle - value, tuple(samples))


def _slowest(blocks: xr.Dataset) -> tuple[float, Parts]:
    """Return the largest inefficiency of all kinds, and the parts that are independent for it."""
    kind, bin = (str(dim) for dim in blocks["norm"].dims)
    weight = blocks["weight"].values
    found = [
        float(inefficiencies(*_residual(values, weight))[0])
        for values in blocks["sum"].transpose(kind, "block", bin).values
    ]
    largest = max(found, default=1.0)
    return largest, parts_of(int(merged_length(largest, len(weight))), weight)


def _residual(values: Float, weight: Float) -> tuple[Float, Float]:
    """Return (block, bin) sums less mean times weight, and the mean, of the bins that were hit."""
    hit = values[:, values.any(axis=0)]
    mean = hit.sum(axis=0) / weight.sum()
    return hit - weight[:, None] * mean, mean


def covariance_of_means(blocks: xr.Dataset, *, shrink: bool = False) -> xr.Dataset:
    """Return how the errors of the bins of a kind hang together, for χ² and for whatever is fitted to them.

    Parameters
    ----------
    blocks : block dataset
    shrink : draw the correlations towards none, so that the matrix can be inverted

    Returns
    -------
    dataset with `covariance` (kind, bin, bin_), in squared units of the distribution, NaN where a bin was never hit or
    the run is too short; `parts` (kind) behind it and `shrinkage` (kind), 0 without it

    Notes
    -----
    From the parts of `mean_and_error`, with the same factors. Of n parts the matrix has at most rank n − 1, and there
    are at most 20: with more bins it is singular, and its inverse meaningless, unless it is shrunk. Then its
    correlations are R = (1 − λ) R + λ 1 with λ = Σ‖zₖzₖᵀ − R‖² / n² / ‖R − 1‖², at most 1: Ledoit & Wolf 2004,
    doi:10.1016/S0047-259X(03)00096-4, applied to the scaled bins z, so that variances stay as they are.

    Examples
    --------
    >>> x = np.random.default_rng(1).poisson(9.0, (128, 1, 3)) * 1.0
    >>> blocks = xr.Dataset({"sum": (("block", "pair", "r"), x), "weight": ("block", np.ones(128)),
    ...                      "norm": (("pair", "r"), np.ones((1, 3)))})
    >>> covariance_of_means(blocks).covariance.sizes
    Frozen({'pair': 1, 'r': 3, 'r_': 3})
    """
    kind, bin = (str(dim) for dim in blocks["norm"].dims)
    weight = blocks["weight"].values
    sums = blocks["sum"].transpose(kind, "block", bin).values
    kinds, _, bins = sums.shape
    covariance = np.full((kinds, bins, bins), np.nan)
    number, shrinkage = np.zeros(kinds, np.int64), np.zeros(kinds)
    for row, values in enumerate(sums):
        hit = np.flatnonzero(values.any(axis=0))
        if not len(hit):
            continue
        residual, mean = _residual(values, weight)
        g = float(inefficiencies(residual, mean)[0])
        parts = parts_of(int(merged_length(g, len(weight))), weight)
        if not parts.enough:
            continue
        share = np.add.reduceat(weight, parts.starts) / weight.sum()
        without = np.add.reduceat(residual, parts.starts) / (1.0 - share)[:, None] / weight.sum()
        scale = float(error_factor(g, len(weight), parts)) ** 2 * (1.0 - 1.0 / parts.effective)
        matrix = scale * without.T @ without
        if shrink:
            shrinkage[row] = _shrinkage(without)
            matrix = (1.0 - shrinkage[row]) * matrix + shrinkage[row] * np.diag(np.diag(matrix))
        covariance[row][np.ix_(hit, hit)], number[row] = matrix, len(parts.starts)
    norm = blocks["norm"].where(blocks["norm"] > 0).values
    coords: dict[str, Any] = {name: blocks[name] for name in (kind, bin) if name in blocks.coords}
    if bin in coords:
        coords[f"{bin}_"] = (f"{bin}_", blocks[bin].values, dict(blocks[bin].attrs))
    return xr.Dataset(
        {
            "covariance": ((kind, bin, f"{bin}_"), covariance / (norm[:, :, None] * norm[:, None, :])),
            "parts": (kind, number, {"units": "1", "long_name": "independent parts behind the covariance"}),
            "shrinkage": (kind, shrinkage, {"units": "1", "long_name": "how far correlations are drawn to none"}),
        },
        coords,
    )


def _shrinkage(residual: Float) -> float:
    """Return the intensity of Ledoit and Wolf for (part, bin) residuals scaled to variance one."""
    parts = len(residual)
    scale = np.sqrt((residual**2).mean(axis=0))
    z = residual / np.where(scale > 0, scale, 1.0)
    correlation = z.T @ z / parts
    # ‖zzᵀ − R‖² without the matrices of all parts.
    scatter = ((z**2).sum(axis=1) ** 2).sum() - parts * (correlation**2).sum()
    distance = ((correlation - np.eye(len(correlation))) ** 2).sum()
    return float(min(scatter / parts**2 / distance, 1.0)) if distance > 0 else 1.0
