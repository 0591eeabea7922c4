"""Flags: what stored blocks tell about a run that has not settled, drifts, is too short or left bins unsampled."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from cgstore.averages.correlation import MOST_PARTS, doubtful, inefficiencies, inefficiency_of, merged_length, parts_of
from cgstore.averages.deferring import deferred
from cgstore.averages.settling import first_tame, settled

__all__ = ["FLAGS", "flags_of_blocks", "warnings_of"]

FLAGS = {
    "equilibration": ("ps", "time after the first frame that should be left out"),
    "equilibration_frames": ("1", "first frames that should be left out"),
    "drift": ("1", "trend over the run in standard errors"),
    "short": ("1", "too short to know its error"),
    "effective_frames": ("1", "effective number of frames"),
    "unsampled": ("1", "bins never hit between bins that were"),
    "unsampled_fraction": ("1", "fraction of all bins never hit"),
}
_FEWEST_BLOCKS = 16  # fewer say nothing about settling and drift
_SIGNIFICANT_DRIFT = 5.0  # standard errors
_SHOWN = 4  # kinds named in a warning
_FEWEST_HITS = 40  # independent ones: sparser bins are taken together, up to thirds of all
_LARGEST_SHARE = 1 / 3

Float = NDArray[np.float64]


def flags_of_blocks(blocks: xr.Dataset) -> xr.Dataset:
    """Return what the blocks of a run tell about its quality, per kind; lazy if the blocks are.

    Parameters
    ----------
    blocks : block dataset, see `cgstore.averages.blocks`

    Returns
    -------
    dataset on (kind)
        `equilibration` in ps and `equilibration_frames`: what should be left out at the start, 0 when nothing, NaN
        when it is not known (fewer than 16 blocks), when more than half of the run would go, and in ps when times are
        not known; whole blocks
        `drift`: the trend over the run in its own standard errors, positive where the highest bin grows; NaN when the
        run is too short
        `short`: whether the error is unknown because fewer than four independent parts are left
        `effective_frames`: (Σ W)² / Σ W² of the blocks over their inefficiency; at most the number of blocks, which
        know nothing of shorter times
        `unsampled`, `unsampled_fraction`: bins never hit between the first and the last that were, and the fraction
        of all bins

    Notes
    -----
    Neighbouring bins are taken together until they have 40 independent hits, up to a third of all. Each of a block
    is then taken relative to the mean and in units of the scatter of the second half, z. First blocks
    whose distance (mean z²)^⅓ is wildly off go first: a lattice. For all slower changes a block is represented by one
    number, its projection on the first principal component of the parts of the run (at most 20), in which what is
    slow stands out from the noise of counting: see `cgstore.averages.series.equilibration` for settling; the drift is
    the slope of a straight line through parts longer than the correlation time of what the line leaves.

    Examples
    --------
    >>> counts = np.random.default_rng(1).poisson(20.0, (64, 1, 30))
    >>> counts[0] *= 3
    >>> blocks = xr.Dataset(
    ...     {"count": (("block", "pair", "r"), counts), "sum": (("block", "pair", "r"), counts * 1.0),
    ...      "weight": ("block", np.ones(64)), "frames": ("block", np.ones(64, int)),
    ...      "norm": (("pair", "r"), np.ones((1, 30))), "frame_spacing": 2.0},
    ...     {"pair": ["A-A"]}, {"block_length": 1})
    >>> float(flags_of_blocks(blocks).equilibration[0])
    2.0
    """
    return deferred(_flags_of, blocks)


def _flags_of(blocks: xr.Dataset) -> xr.Dataset:
    """Return the flags of blocks in memory."""
    kind, bin = (str(dim) for dim in blocks["norm"].dims)
    sums = blocks["sum"].transpose(kind, "block", bin).values
    leave, drift, short, effective = _flags(sums, blocks["weight"].values, blocks["frames"].values)
    spacing, possible = float(blocks["frame_spacing"]), blocks["norm"].values > 0
    hit = np.asarray(blocks["count"].transpose("block", kind, bin).values.any(axis=0))
    after, before = hit.cumsum(axis=1) > 0, hit[:, ::-1].cumsum(axis=1)[:, ::-1] > 0
    bins = possible.sum(axis=1)
    values = {
        "equilibration": np.where(leave == 0, 0.0, leave * (spacing if spacing > 0 else np.nan)),
        "equilibration_frames": leave,
        "drift": drift,
        "short": short,
        "effective_frames": effective,
        "unsampled": (~hit & after & before).sum(axis=1),
        "unsampled_fraction": np.where(bins > 0, (~hit & possible).sum(axis=1) / np.maximum(bins, 1), np.nan),
    }
    flags = {name: (kind, values[name], {"units": units, "long_name": text}) for name, (units, text) in FLAGS.items()}
    return xr.Dataset(flags, blocks[kind].coords if kind in blocks.coords else None)


def _flags(sum: ArrayLike, weight: ArrayLike, frames: ArrayLike) -> tuple[np.ndarray, ...]:
    """Return frames to leave out, drift, shortness and effective frames of (kind, block, bin) sums."""
    sums, weights, number = np.asarray(sum, np.float64), np.asarray(weight, np.float64), np.asarray(frames)
    kinds = len(sums)
    leave, drift, effective = (np.full(kinds, np.nan) for _ in range(3))
    short = np.zeros(kinds, np.bool_)
    heavy = weights > 0  # a block of no weight says nothing
    for kind in range(kinds):
        values = sums[kind][heavy]
        hit = values.any(axis=0)
        if not hit.any():
            continue
        values, share = values[:, hit], weights[heavy]
        mean = values.sum(axis=0) / share.sum()
        g = float(inefficiencies(values - share[:, None] * mean, mean)[0])
        short[kind] = not parts_of(int(merged_length(g, len(share))), share).enough
        effective[kind] = parts_of(1, share).effective / g
        if len(share) >= _FEWEST_BLOCKS:
            first, drift[kind] = _start_and_drift(_dense(values, share, g), share)
            left_out = float(number[: np.flatnonzero(heavy)[first]].sum())
            leave[kind] = left_out if left_out <= 0.5 * number.sum() else np.nan
    return leave, drift, short, effective


def _dense(values: Float, weight: Float, inefficiency: float) -> Float:
    """Return (block, group) sums over neighbouring bins, as many as have enough independent hits to be judged.

    A bin that is hit in one stretch of the run only would be a start of its own wherever that stretch is the first.
    """
    mean = values.sum(axis=0) / weight.sum()
    scatter = ((values - weight[:, None] * mean) ** 2 / weight[:, None]).mean(axis=0)
    hit = scatter.sum() / mean.sum()  # what a single one adds to a sum, if they are independent
    share = min(_FEWEST_HITS * inefficiency * hit / values.sum(), _LARGEST_SHARE)
    if share <= 0.0:
        return values
    group = np.minimum(np.floor(mean.cumsum() / mean.sum() / share * (1 - 1e-12)), np.floor(1 / share) - 1)
    starts = np.flatnonzero(np.diff(group, prepend=-1.0))
    return np.asarray(np.add.reduceat(values, starts, axis=1))


def _start_and_drift(values: Float, weight: Float) -> tuple[int, float]:
    """Return the first settled block and the drift of (block, bin) sums."""
    half = len(weight) // 2
    reference = values[half:].sum(axis=0) / weight[half:].sum()
    off = (values - weight[:, None] * reference) / np.sqrt(weight)[:, None]
    scatter = (off[half:] ** 2).mean(axis=0)
    mean = values.sum(axis=0) / weight.sum()
    if scatter.sum() <= 0.0:
        return 0, 0.0
    # Half from the bin, half from what its mean lets expect: bins that the second half never hit count too.
    scale = np.sqrt(0.5 * (scatter + np.abs(mean) * scatter.sum() / np.abs(mean).sum()))
    wild = first_tame(np.cbrt(((off / scale) ** 2).mean(axis=1)))
    series = _principal(values[wild:] / scale, weight[wild:])
    return wild + settled(series), _drift(series, weight[wild:])


def _principal(values: Float, weight: Float) -> Float:
    """Return the projection of (block, bin) means on the first principal component of parts, (block,)."""
    mean = values.sum(axis=0) / weight.sum()
    starts = np.arange(0, len(weight), -(-len(weight) // MOST_PARTS))
    residual = values - weight[:, None] * mean
    parts = np.add.reduceat(residual, starts, axis=0) / np.sqrt(np.add.reduceat(weight, starts))[:, None]
    _, vectors = np.linalg.eigh(parts @ parts.T)  # at most 20 by 20, whatever the number of bins
    direction = parts.T @ vectors[:, -1]
    direction *= np.sign(direction[int(np.abs(mean).argmax())]) or 1.0
    return np.asarray(residual @ direction / weight)


def _drift(series: Float, weight: Float) -> float:
    """Return the slope of a straight line in its standard errors, from parts longer than the correlation."""
    time = np.arange(len(series), dtype=np.float64)
    fit = _line(time, series, weight)
    left = (series - fit[0] - fit[1] * time) * weight
    g = inefficiency_of(left)
    length = int(merged_length(float(doubtful(g, len(series))), len(series)))
    starts = np.arange(0, len(series), length)
    if len(starts) < 5:
        return float("nan")
    share = np.add.reduceat(weight, starts)
    when, what = (np.add.reduceat(weight * array, starts) / share for array in (time, series))
    level, slope = _line(when, what, share)
    spread = (share * (what - level - slope * when) ** 2).sum() / (len(starts) - 2)
    centred = (share * (when - (share * when).sum() / share.sum()) ** 2).sum()
    return float(slope / np.sqrt(spread / centred)) if spread > 0 else 0.0


def _line(time: Float, series: Float, weight: Float) -> tuple[float, float]:
    """Return level and slope of a weighted straight line."""
    middle, mean = ((weight * array).sum() / weight.sum() for array in (time, series))
    slope = (weight * (time - middle) * (series - mean)).sum() / (weight * (time - middle) ** 2).sum()
    return float(mean - slope * middle), float(slope)


def warnings_of(flags: xr.Dataset, title: str, *, prefix: str = "") -> list[str]:
    """Return what is wrong in a few readable lines: what, in which kinds, and what to do; none when all is well.

    Parameters
    ----------
    flags : from `flags_of_blocks`, or a distribution that has these variables
    title : of the lines, for example "rdf of methane_112k/r1/cg"
    prefix : of the variables, for example "bond_"

    Examples
    --------
    >>> flags = xr.Dataset({"short": ("pair", [True, False])}, {"pair": ["A-A", "A-B"]})
    >>> warnings_of(flags, "rdf of x/r1/cg")
    ['rdf of x/r1/cg: too short to know the errors of A-A; a longer run is needed, until then they are NaN']
    """
    known = {name: flags[f"{prefix}{name}"] for name in FLAGS if f"{prefix}{name}" in flags}
    values = {name: np.atleast_1d(array.values) for name, array in known.items()}
    if not values:
        return []
    (dim,) = next(iter(known.values())).dims or ("",)
    kinds = [str(kind) for kind in flags[dim].values] if dim in flags.coords else [""]
    lines = []
    leave = values.get("equilibration_frames", np.zeros(len(kinds)))
    if (late := leave > 0).any():
        times = values.get("equilibration", np.full(len(kinds), np.nan))[late]
        most = int(leave[late].max())
        time = f"{times.max():g} ps, " if np.isfinite(times).all() else ""
        lines.append(
            f"the start differs from the rest in {_names(kinds, late)}; leave out the first {time}"
            f"{most} frame{'s' * (most > 1)}, with a later discard in the recipe"
        )
    drift = values.get("drift", np.zeros(len(kinds)))
    if (moving := (np.abs(drift) > _SIGNIFICANT_DRIFT) & ~(leave > 0)).any():
        lines.append(
            f"a drift through the whole run, of up to {np.abs(drift[moving]).max():.0f} standard errors, in "
            f"{_names(kinds, moving)}; the run has not settled, a longer one or a later discard is needed"
        )
    if (short := values.get("short", np.zeros(len(kinds), np.bool_)).astype(bool)).any():
        lines.append(
            f"too short to know the errors of {_names(kinds, short)}; a longer run is needed, until then they are NaN"
        )
    gaps = values.get("unsampled", np.zeros(len(kinds)))
    if (gap := gaps > 0).any():
        number = int(gaps.sum())
        lines.append(
            f"{number} bin{'s' * (number > 1)} between sampled ones never hit, in {_names(kinds, gap)}; "
            "what is there is unknown, not zero; a longer run or wider bins fill them"
        )
    return [f"{title}: {line}" for line in lines]


def _names(kinds: Sequence[str], chosen: np.ndarray) -> str:
    """Return the names of some kinds, not more than four."""
    names = [kind for kind, one in zip(kinds, chosen, strict=True) if one]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
