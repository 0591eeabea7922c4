"""Settling: where a series leaves its start behind, a wild first frame or a slow relaxation."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cgstore.averages.correlation import doubtful, inefficiency_of

__all__ = ["first_tame", "settled"]

_WILD = 8.0  # robust standard deviations from the median: no fluctuation, but a lattice or a bad start
_RARE = 0.99  # of the second half is less far off: series with long tails are no lattices
_SIGNIFICANT = 4.0  # standard errors between what is left out and what is kept

Float = NDArray[np.float64]


def first_tame(series: Float) -> int:
    """Return the first value that is within 8 robust standard deviations of the median of the second half.

    What is no further off than the furthest 1 % of that half is tame as well.

    Parameters
    ----------
    series : (frame,) near to normal; fewer than eight values are all tame

    Examples
    --------
    >>> first_tame(np.array([70.0, 1.0, 2.0, 1.5, 1.2, 1.9, 1.4, 1.1]))
    1
    """
    half = series[len(series) // 2 :]
    if len(half) < 4:
        return 0
    middle = np.median(half)
    # The median of the absolute deviations is 0.6745 standard deviations of a normal distribution.
    scale = max(float(np.median(np.abs(half - middle))) / 0.6745, 1e-12 * float(np.abs(half).max()))
    usual = max(_WILD * scale, float(np.quantile(np.abs(half - middle), _RARE)))
    tame = np.abs(series[: len(series) // 2] - middle) <= usual
    return int(tame.argmax()) if tame.any() else 0


def settled(series: ArrayLike) -> int:
    """Return from which block on a series of at most some hundred blocks is equilibrated, as `equilibration`.

    Parameters
    ----------
    series : (block,) means of blocks, without wild first ones

    Notes
    -----
    The start that leaves the most effective blocks (Chodera 2016, doi:10.1021/acs.jctc.5b00784), if what it leaves
    out differs from the rest by more than 4 standard errors. Fewer than 16 blocks are not judged.

    Examples
    --------
    >>> x = np.random.default_rng(1).normal(size=200)
    >>> settled(x), 12 <= settled(x + 5.0 * (np.arange(200) < 16)) <= 24
    (0, True)
    """
    values = np.asarray(series, np.float64)
    blocks = len(values)
    starts = [0, *(t for k in range(12) for t in (2**k, 3 * 2**k // 2) if t <= 0.75 * blocks)]
    starts = sorted(set(starts))
    if blocks < 16:
        return 0
    if not any(_differ(values[:t], values[t:], 1.0) for t in starts[1:]):
        return 0  # not even if the blocks were independent
    effective = np.array([(blocks - t) / inefficiency_of(values[t:]) for t in starts])
    best = starts[int(effective.argmax())]
    kept = values[best:]
    g = float(doubtful(inefficiency_of(kept), len(kept)))
    return best if best and _differ(values[:best], kept, g) else 0


def _differ(left_out: Float, kept: Float, inefficiency: float) -> bool:
    """Return whether the means of both parts differ by more than what correlated fluctuations explain."""
    # The mean of a part that is shorter than the correlation scatters like a single value.
    shares = (min(1.0, inefficiency / len(part)) for part in (left_out, kept))
    variance = kept.var(ddof=1) * sum(shares)
    return bool((left_out.mean() - kept.mean()) ** 2 > _SIGNIFICANT**2 * variance)
