"""Estimates: the mean of block statistics and its standard error, from blocks longer than the correlation time."""

from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

__all__ = ["Estimate", "distribution_of_blocks", "mean_and_error"]

_FEWEST_BLOCKS = 4  # fewer give no error
_ENOUGH_BLOCKS = 16  # the longest blocks are wanted only while so many are left
_MARGIN = 4.0  # wanted length of a block in units of the statistical inefficiency
_WINDOW = 3.0  # Sokal's window in units of the statistical inefficiency: an exponential has fallen to e⁻⁶

Float = NDArray[np.float64]


class Estimate(NamedTuple):
    """Mean of a sum per weight; NaN where unknown."""

    mean: Float  # (kind, bin)
    error: Float  # (kind, bin) standard error of the mean
    inefficiency: Float  # (kind,) statistical inefficiency in blocks, 1 when they are independent
    blocks: NDArray[np.int64]  # (kind,) how many merged blocks the error comes from, 0 when there is no error


def mean_and_error(sum: ArrayLike, weight: ArrayLike) -> Estimate:
    """Return means with their standard errors, from blocks merged until they are longer than the correlation time.

    Parameters
    ----------
    sum : (kind, block, bin) consecutive blocks
    weight : (block,) not negative; the last block may be shorter, and so lighter, than the others

    Returns
    -------
    Estimate : error is NaN where a bin was never hit, and where fewer than four blocks are left

    Notes
    -----
    With m = Σ S_b / Σ W_b and residuals d_b = S_b − m W_b, the error is

        δm² = Σ d_b² / (Σ W_b)² / (1 − Σ W_b² / (Σ W_b)²) / (1 − κ)

    over merged blocks, which is exact for independent frames and blocks of any weight. The statistical inefficiency
    g = 1 + 2 Σ_t ρ(t) of a kind comes from the autocorrelation of the residuals, summed over its bins, each divided by
    its mean (shot noise then counts alike in every bin), in Sokal's window t <= 3 g, and with Wolff's factor for the
    mean that is taken off. Blocks of at least 4 g are taken
    while 16 of them are left, else the longest that leave 16 and exceed g. κ = (g² − 1)(1 − φ^n) / (2 g n) is what
    neighbouring blocks of length n still share if the correlation is exponential, with φ = (g − 1) / (g + 1).
    Flyvbjerg & Petersen 1989, doi:10.1063/1.457480; Sokal 1997, doi:10.1007/978-1-4899-0319-8_6;
    Wolff 2004, doi:10.1016/S0010-4655(03)00467-3

    Examples
    --------
    >>> x = np.random.default_rng(1).normal(10.0, 1.0, (1, 128, 1))
    >>> estimate = mean_and_error(x, np.ones(128))
    >>> bool(abs(estimate.error[0, 0] - 1 / np.sqrt(128)) < 0.02)
    True
    """
    sums, weights = np.asarray(sum, np.float64), np.asarray(weight, np.float64)
    kinds, _, bins = sums.shape
    heavy = weights.sum()
    mean = sums.sum(axis=1) / heavy if heavy > 0 else np.full((kinds, bins), np.nan)
    error = np.full((kinds, bins), np.nan)
    inefficiency, blocks = np.full(kinds, np.nan), np.zeros(kinds, np.int64)
    for kind in range(kinds):
        hit = sums[kind].any(axis=0)
        if not (hit.any() and heavy > 0):
            continue
        residual = sums[kind][:, hit] - weights[:, None] * mean[kind, hit]
        inefficiency[kind] = _inefficiency(residual / np.sqrt(np.abs(mean[kind, hit]) + np.finfo(float).tiny))
        length = _merged_length(inefficiency[kind], len(weights))
        starts = np.arange(0, len(weights), length)
        merged, share = np.add.reduceat(residual, starts), np.add.reduceat(weights, starts) / heavy
        independent = 1.0 - (share**2).sum()
        if independent < 1.0 - 1.0 / (_FEWEST_BLOCKS - 1e-6):
            continue
        variance = (merged**2).sum(axis=0) / heavy**2 / independent
        error[kind, hit] = np.sqrt(variance / (1.0 - _shared(inefficiency[kind], length)))
        blocks[kind] = len(starts)
    return Estimate(mean, error, inefficiency, blocks)


def _inefficiency(residual: Float) -> float:
    """Return 1 + 2 Σ ρ(t) of (block, bin) residuals, in Sokal's window; 1 where nothing varies."""
    blocks = len(residual)
    variance = (residual**2).sum()
    g, t = 1.0, 0
    if variance <= 0.0:
        return g
    while t + 1 < blocks and t + 1 <= max(1.0, _WINDOW * g):
        t += 1
        # Divided by the number of products: a sum over few pairs of blocks must not look like a decay.
        covariance = (residual[:-t] * residual[t:]).sum() / (blocks - t) * blocks
        g += 2.0 * covariance / variance
    return max(g * (1.0 + (2.0 * t + 1.0) / blocks), 1.0)


def _merged_length(inefficiency: float, blocks: int) -> int:
    """Return how many blocks to merge, a power of two: long compared to the inefficiency, with enough of them left."""
    length = 1
    while length < _MARGIN * inefficiency and blocks >= 2 * length * _ENOUGH_BLOCKS:
        length *= 2
    while length <= inefficiency and inefficiency > 1.0:
        length *= 2
    return length


def _shared(inefficiency: float, length: int) -> float:
    """Return which part of the variance merged blocks hide because neighbours are still correlated."""
    phi = (inefficiency - 1.0) / (inefficiency + 1.0)
    return float((inefficiency**2 - 1.0) * (1.0 - phi**length) / (2.0 * inefficiency * length))


def distribution_of_blocks(blocks: xr.Dataset, *, name: str, count: str) -> xr.Dataset:
    """Turn a block dataset into the distribution with its error; lazy if the blocks are.

    Parameters
    ----------
    blocks : block dataset; the attrs of `norm` become those of the distribution, with `units` and `long_name`
    name, count : of the variables `NAME`, `NAME_error` and of the number of hits

    Returns
    -------
    dataset with these on (kind, bin), `correlation_time` in ps and the number of `blocks` on (kind); both of the
    latter begin with `NAME_` when `count` does

    Notes
    -----
    The correlation time is the integral of the autocorrelation, half the statistical inefficiency; one below half a
    block cannot be told from none and reads as half a block.
    """
    kind, bin = blocks["norm"].dims
    spacing = blocks["frame_spacing"] * blocks.attrs["block_length"]
    whole = blocks.chunk(block=-1) if blocks.chunks else blocks
    mean, error, inefficiency, number = xr.apply_ufunc(
        mean_and_error,
        whole["sum"].transpose(kind, "block", bin),
        whole["weight"],
        input_core_dims=[["block", bin], ["block"]],
        output_core_dims=[[bin], [bin], [], []],
        dask="parallelized",
        output_dtypes=[np.float64, np.float64, np.float64, np.int64],
        vectorize=False,
    )
    # A kind that has no pairs or terms has norm 0; it has no distribution either.
    norm = blocks["norm"].where(blocks["norm"] > 0)
    prefix = f"{name}_" if count.startswith(f"{name}_") else ""
    meaning = dict(blocks["norm"].attrs)
    label = meaning["long_name"]
    return xr.Dataset(
        {
            name: (mean / norm).assign_attrs(meaning),
            f"{name}_error": (error / norm).assign_attrs(meaning | {"long_name": f"standard error of {label}"}),
            count: blocks["count"].sum("block").assign_attrs(units="1", long_name="number of values in the bin"),
            f"{prefix}correlation_time": (0.5 * inefficiency * spacing).assign_attrs(
                units="ps", long_name="correlation time"
            ),
            f"{prefix}blocks": number.assign_attrs(units="1", long_name="blocks behind the error"),
        },
        attrs={key: value for key, value in blocks.attrs.items() if key != "block_length"},
    )
