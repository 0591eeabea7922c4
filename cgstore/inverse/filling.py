"""Noisy energies on bins, some of them unknown, into a whole potential: smoothed by their errors, walls where no data.

The smoother is that of Whittaker: it minimises Σ (y − z)²/σ² + Σ λ (Δ³z)². Its stiff limit is a parabola; λ falls, in
each stretch by itself, until the residuals of the stretch are no larger than its errors.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Filled", "fill", "smoothed"]

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

_EDGE = 5  # known bins, at least, that decide how a wall goes on,
_LONG_EDGE = 25  # at most,
_FALL = 3.0  # kT, and as many as it takes the potential to fall so far
_NARROW = 2  # bins; holes up to this width are bridged by the smoother, wider ones are barriers
_CORE = 20.0  # kT, the least height of the wall below all data: nobody is there in 10⁸ frames
_SHALLOW = 20  # bins; over fewer the wall does not get as high as that
_LEAST_FORCE = 0.2  # kT per bin: a wall rises at least so much, nobody was there
_ERRORS = (1e-2, 1e2)  # of the typical one: errors beyond say more about themselves than about the bin
_STIFFEST = 1e7  # λ in units of the typical weight, smooth over about 15 bins; far beyond, rounding takes over
_SOFTEST = 1e-6  # nothing is smoothed
_SOFTER = 3.0
_ROUNDS = 30  # from the stiffest to the softest
_WINDOW = 9  # bins over which residuals are compared with errors: one λ for all would bend a steep core by many errors


class Filled(NamedTuple):
    """A potential without gaps."""

    energy: Float  # (bin,)
    extrapolated: Bool  # (bin,) no data there


def fill(
    energy: Float,
    error: Float,
    *,
    kT: float,
    walls: tuple[bool, bool] = (True, False),
    natural: bool = False,
    periodic: bool = False,
) -> Filled:
    """Return energies smoothed where they are known, and extended where not.

    Parameters
    ----------
    energy : (bin,) on even bins; NaN where nothing is known, 3 or more known
    error : (bin,) standard errors; where NaN the energy gets the median weight, all NaN: nothing is smoothed
    kT : same unit as the energies
    walls : whether there is a wall below and above the known bins; without one the last known value goes on
    natural : the bins end where the coordinate ends, as angles at 180 degrees; gaps of two bins there are bridged
    periodic : the last bin is followed by the first one; there are no walls then, only holes

    Notes
    -----
    A wall goes on with slope and curvature of a parabola through the outermost known bins, over the last 3 kT or five
    bins. Its force never falls and is 0.2 kT per bin at least, so it is monotone and repels whatever the noise; the
    wall below all data is at least 20 kT high at its far end, unless it is narrow. A hole wider than two bins is a
    barrier: both its sides rise as walls, and the lower one counts.
    """
    known = np.isfinite(energy)
    if known.all():
        return Filled(smoothed(energy, error, periodic=periodic), ~known)
    shift = 0
    if periodic:  # begin with a known bin whose predecessor is not, then every gap is inside or at the end
        shift = int(np.flatnonzero(known & ~np.roll(known, 1))[0])
        energy, error, known = (np.roll(array, -shift) for array in (energy, error, known))
    result = smoothed(energy, error, periodic=periodic)
    places = np.flatnonzero(known)
    low, high = int(places[0]), int(places[-1])
    core = 0.0 if natural else _CORE * kT
    for start, stop in _gaps(known):
        inside = low < start and stop <= high
        closed = inside or periodic
        if (closed or natural) and stop - start <= _NARROW:
            continue
        steps = np.arange(start, stop)
        left = _wall(result, error, known, start - 1, -1, kT)
        right = _wall(result, error, known, stop if stop < len(known) else 0, +1, kT)
        if closed:
            result[start:stop] = np.minimum(left(steps - start + 1.0), right(stop - steps * 1.0))
        elif start == 0:
            depth = stop - steps * 1.0
            least = core * (depth / max(stop, _SHALLOW)) ** 2
            result[start:stop] = np.maximum(right(depth), result[stop] + least) if walls[0] else result[stop]
        else:
            result[start:stop] = left(steps - start + 1.0) if walls[1] else result[start - 1]
    return Filled(np.roll(result, shift), np.roll(~known, shift))


def smoothed(values: Float, error: Float, *, periodic: bool = False) -> Float:
    """Return values (bin,) as smooth as their errors allow; NaN values are bridged, which is good for narrow gaps only.

    >>> noisy = np.array([0.1, 0.9, 4.1, 8.9, 16.1, 24.9])
    >>> smoothed(noisy, np.full(6, 0.2)).round(1).tolist()
    [0.0, 1.0, 4.0, 9.0, 16.0, 25.0]
    """
    known = np.isfinite(values)
    places, bins = np.flatnonzero(known), len(values)
    result = np.interp(np.arange(bins), places, values[known], period=bins if periodic else None)
    sigma = np.where(known, error, np.nan)
    if np.isnan(sigma).all():
        return np.asarray(result, np.float64)
    typical = float(np.nanmedian(sigma))
    sigma = np.clip(np.where(np.isnan(sigma), typical, sigma), _ERRORS[0] * typical, _ERRORS[1] * typical)
    weight = np.where(known & (sigma > 0.0), sigma, np.inf) ** -2.0
    wide = [(start, stop) for start, stop in _gaps(known) if stop - start > _NARROW]
    if periodic and not wide:
        return _stretch(result, weight, periodic=True)
    begin = [0, *(stop for _, stop in wide)]
    end = [*(start for start, _ in wide), bins]
    for start, stop in zip(begin, end, strict=True):  # what lies beyond a wide gap has no say
        if np.count_nonzero(known[start:stop]) >= _EDGE:
            result[start:stop] = _stretch(result[start:stop], weight[start:stop], periodic=False)
    return np.asarray(result, np.float64)


def _stretch(y: Float, weight: Float, *, periodic: bool) -> Float:
    """Return a stretch without wide gaps, smoothed; the weight is zero in narrow ones."""
    known = (weight > 0.0).astype(np.float64)
    scale = float(np.median(weight[weight > 0.0])) if known.any() else 0.0
    if scale == 0.0:
        return y
    weight = weight / scale
    stiffness = np.full(len(y), _STIFFEST)  # of the difference that begins at a bin
    z = y
    for _ in range(_ROUNDS):
        z = _whittaker(y, weight, stiffness, periodic)
        rough = _local(weight * scale * (y - z) ** 2, periodic) > _local(known, periodic)
        soft = np.roll(rough, -1) | np.roll(rough, -2)  # the middle of the four bins of a difference
        if not periodic:
            soft[0] |= rough[0]
            soft[-4] |= rough[-1]
        soft &= stiffness > _SOFTEST
        if not soft.any():
            break
        stiffness[soft] /= _SOFTER
    return z


def _local(values: Float, periodic: bool) -> Float:
    """Return sums over the window around each bin."""
    half = _WINDOW // 2
    padded = np.pad(values, half, mode="wrap" if periodic else "constant")
    return np.convolve(padded, np.ones(_WINDOW), mode="valid")


def _whittaker(y: Float, weight: Float, stiffness: Float, periodic: bool) -> Float:
    """Solve (W + Dᵀ Λ D) z = W y, with D the third difference and Λ the stiffness of each."""
    bins = len(y)
    stencil = np.array([-1.0, 3.0, -3.0, 1.0])
    if periodic:
        difference = sum((c * np.roll(np.eye(bins), k, axis=1) for k, c in enumerate(stencil)), np.zeros((bins, bins)))
        matrix = np.diag(weight) + difference.T @ (stiffness[:, None] * difference)
        return np.asarray(np.linalg.solve(matrix, weight * y), np.float64)
    from scipy.linalg import solveh_banded

    band = np.zeros((4, bins))  # upper form: band[3 - k, j] is the element (j - k, j)
    for a, left in enumerate(stencil):
        for b, right in enumerate(stencil[a:], start=a):
            band[3 - (b - a), b : b + bins - 3] += left * right * stiffness[: bins - 3]
    band[3] += weight
    return np.asarray(solveh_banded(band, weight * y), np.float64)


def _gaps(known: Bool) -> list[tuple[int, int]]:
    """Return the runs of unknown bins as (start, stop)."""
    steps = np.diff(np.concatenate([[True], known, [True]]).astype(np.int8))
    return list(zip(np.flatnonzero(steps == -1).tolist(), np.flatnonzero(steps == 1).tolist(), strict=True))


def _wall(energy: Float, error: Float, known: Bool, edge: int, direction: int, kT: float) -> np.poly1d:
    """Return the energy against the depth in bins beyond a known bin; `direction` leads back to the data."""
    if not 0 <= edge < len(known):
        return np.poly1d([0.0])
    data = [edge]
    while len(data) < _LONG_EDGE and 0 <= (following := data[-1] + direction) < len(known) and known[following]:
        data.append(following)
    enough = energy[data] <= max(energy[edge] - _FALL * kT, energy[data].min())
    data = data[: max(int(enough.argmax()) + 1, _EDGE)]
    depth, order = -np.arange(len(data), dtype=np.float64), min(2, len(data) - 1)
    trust = 1.0 / error[data] if (error[data] > 0.0).all() else None  # rare bins at the edge are biased, too
    fit = np.polynomial.polynomial.polyfit(depth, energy[data], order, w=trust)
    slope = float(fit[1]) if order else 0.0
    curvature = float(fit[2]) if order == 2 else 0.0
    return np.poly1d([max(curvature, 0.0), max(slope, _LEAST_FORCE * kT), energy[edge]])
