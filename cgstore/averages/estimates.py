"""Estimates: the mean of block statistics and its calibrated standard error, from parts longer than its correlation."""

from functools import partial
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from cgstore.averages.correlation import Parts, error_factor, inefficiencies, merged_length, parts_of
from cgstore.averages.deferring import deferred
from cgstore.averages.flags import flags_of_blocks

__all__ = ["Estimate", "distribution_of_blocks", "jackknife_scatter", "mean_and_error"]

_ROUNDING = 1e-12  # of a sum: what scatters less does not vary

Float = NDArray[np.float64]


class Estimate(NamedTuple):
    """Mean of a sum per weight; NaN where unknown."""

    mean: Float  # (kind, bin)
    error: Float  # (kind, bin) standard error of the mean
    inefficiency: Float  # (kind,) statistical inefficiency in blocks, 1 when they are independent
    blocks: NDArray[np.int64]  # (kind,) how many merged blocks the error comes from, 0 when there is no error; a bin
    #                            that is slower than its kind may have fewer


def mean_and_error(sum: ArrayLike, weight: ArrayLike) -> Estimate:
    """Return means with their standard errors, from parts of the run that are longer than the correlation time.

    Parameters
    ----------
    sum : (kind, block, bin) consecutive blocks
    weight : (block,) not negative; the last block may be shorter, and so lighter, than the others

    Returns
    -------
    Estimate : error is NaN where a bin was never hit, and where fewer than four independent parts are left

    Notes
    -----
    Blocks are merged to at most 20 parts, each at least as long as the statistical inefficiency may be, of the kind
    (all bins together, shot noise alike in each) and of the bin. With m = Σ S / Σ W and h = W / Σ W the error is that
    of the jackknife over n parts, n = 1 / Σ h² of them where weights differ,

        δm² = f² (1 − 1/n) Σ ((S − m W) / (1 − h))² / (Σ W)²

    which is exact for independent parts of any weight; f is close to one, see `error_factor`: mean ± error covers
    the truth in 68.3 % of runs, however few the parts. Measured by `benchmarks/calibration.py`.
    Flyvbjerg & Petersen 1989, doi:10.1063/1.457480; Efron & Stein 1981, doi:10.1214/aos/1176345462

    Examples
    --------
    >>> x = np.random.default_rng(1).normal(10.0, 1.0, (1, 256, 1))
    >>> estimate = mean_and_error(x, np.ones(256))
    >>> bool(abs(estimate.error[0, 0] - 1 / np.sqrt(256)) < 0.03)
    True
    """
    sums, weights = np.asarray(sum, np.float64), np.asarray(weight, np.float64)
    kinds, blocks, bins = sums.shape
    heavy = weights.sum()
    mean = sums.sum(axis=1) / heavy if heavy > 0 else np.full((kinds, bins), np.nan)
    error = np.full((kinds, bins), np.nan)
    inefficiency, number = np.full(kinds, np.nan), np.zeros(kinds, np.int64)
    for kind in range(kinds):
        hit = sums[kind].any(axis=0)
        if not (hit.any() and heavy > 0):
            continue
        residual = sums[kind][:, hit] - weights[:, None] * mean[kind, hit]
        residual[np.abs(residual) < _ROUNDING * np.abs(sums[kind][:, hit])] = 0.0
        found = inefficiencies(residual, mean[kind, hit])
        inefficiency[kind] = found[0]
        error[kind, hit] = _errors(residual, weights, found)
        parts = parts_of(int(merged_length(found[0], blocks)), weights)
        if parts.enough:
            number[kind] = len(parts.starts)
    return Estimate(mean, error, inefficiency, number)


def _errors(residual: Float, weight: Float, inefficiency: Float) -> Float:
    """Return the error of each bin, from residuals (block, bin) and the inefficiencies (1 + bin,) of kind and bins."""
    error = np.full(residual.shape[1], np.nan)
    kind, own = inefficiency[0], inefficiency[1:]
    # A slow motion that only some bins see is hidden in the kind; one bin alone does not know its inefficiency well.
    length = merged_length(np.maximum(kind, own), len(weight))
    for merged in np.unique(length):
        parts, these = parts_of(int(merged), weight), length == merged
        if parts.enough:
            factor = error_factor(0.5 * (kind + own[these]), len(weight), parts)
            error[these] = factor * jackknife_scatter(residual[:, these], weight, parts)
    return error


def jackknife_scatter(residual: Float, weight: Float, parts: Parts) -> Float:
    """Return the standard error of a mean from the means that lack one part each, (bin,).

    Parameters
    ----------
    residual : (block, bin) sums less mean times weight
    weight : (block,)
    parts : of the blocks
    """
    share = np.add.reduceat(weight, parts.starts) / weight.sum()
    # The mean without a part is off by this; a part that weighs all there is has no such mean.
    without = np.add.reduceat(residual, parts.starts) / np.maximum(1.0 - share, 1e-12)[:, None] / weight.sum()
    return np.asarray(np.sqrt((without**2).sum(axis=0) * (1.0 - 1.0 / parts.effective)))


def distribution_of_blocks(blocks: xr.Dataset, *, name: str, count: str) -> xr.Dataset:
    """Turn a block dataset into the distribution with its error; lazy if the blocks are.

    Parameters
    ----------
    blocks : block dataset; the attrs of `norm` become those of the distribution, with `units` and `long_name`
    name, count : of the variables `NAME`, `NAME_error` and of the number of hits

    Returns
    -------
    dataset with these on (kind, bin); on (kind) `correlation_time` in ps, the number of `blocks`, and the flags of
    `cgstore.averages.flags.flags_of_blocks`, which all begin with `NAME_` when `count` does

    Notes
    -----
    The correlation time is the integral of the autocorrelation, half the statistical inefficiency; one below half a
    block cannot be told from none and reads as half a block.
    """
    return deferred(partial(_distribution, name=name, count=count), blocks)


def _distribution(blocks: xr.Dataset, *, name: str, count: str) -> xr.Dataset:
    """Return the distribution of blocks in memory."""
    kind, bin = (str(dim) for dim in blocks["norm"].dims)
    # Without times, which some files have as zeros, no time is known either.
    spacing = float(blocks["frame_spacing"])
    length = blocks.attrs["block_length"] * (spacing if spacing > 0 else np.nan)
    found = mean_and_error(blocks["sum"].transpose(kind, "block", bin).values, blocks["weight"].values)
    # A kind that has no pairs or terms has norm 0; it has no distribution either.
    norm = np.where(blocks["norm"].values > 0, blocks["norm"].values, np.nan)
    hits = blocks["count"].transpose("block", kind, bin).values.sum(axis=0)
    prefix = f"{name}_" if count.startswith(f"{name}_") else ""
    meaning, both = dict(blocks["norm"].attrs), (kind, bin)
    wrong = meaning | {"long_name": f"standard error of {meaning['long_name']}"}
    return xr.Dataset(
        {
            name: (both, found.mean / norm, meaning),
            f"{name}_error": (both, found.error / norm, wrong),
            count: (both, hits, {"units": "1", "long_name": "number of values in the bin"}),
            f"{prefix}correlation_time": (
                kind,
                0.5 * found.inefficiency * length,
                {"units": "ps", "long_name": "correlation time"},
            ),
            f"{prefix}blocks": (kind, found.blocks, {"units": "1", "long_name": "blocks behind the error"}),
            **{f"{prefix}{flag}": array.variable for flag, array in flags_of_blocks(blocks).data_vars.items()},
        },
        blocks["norm"].coords,
        {key: value for key, value in blocks.attrs.items() if key != "block_length"},
    )
