"""Covariances of counts between all bins of all distributions, kept centred, merged by the formula of Chan.

A covariance dataset has the dims (part, entry, other), where an entry is one bin of one kind of one distribution and
`other` runs over the same entries:

    mean     (part, entry)         weighted mean of the counts of a frame
    comoment (part, entry, other)  Σ_f w_f (s_f − mean) (s_f − mean)ᵀ
    weight, square, frames (part)  Σ w, Σ w² and the number of frames of the part

with `distribution`, `kind` and `x` (centre of the bin) on entry, and the attribute `part_length` in frames, a power
of two; parts may be of fewer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.errors import InputError

__all__ = ["MOST_BYTES", "Moment", "merge_covariances", "merge_moments", "merged_covariance", "moment", "part_length"]

MOST_BYTES = 2**31  # of one matrix; more is no covariance anybody inverts
_PARTS_BYTES = 2**30  # of the matrices of all parts
_MOST_PARTS, _FEWEST_PARTS = 16, 4
_SMALL = 512  # a matrix of more entries costs as much as to count some dozen frames
_ROWS = 16
_EXACT = 2.0**24  # integers below it are exact in float32

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """Weight, mean and centred second moment of the counts of some frames."""

    weight: float
    square: float
    frames: int
    mean: Float  # (entry,)
    comoment: Float  # (entry, entry)


def part_length(frames: int, *, entries: int, least: int) -> int:
    """Return how many frames share a matrix: a power of two of at least `least`.

    It gives at most 16 parts, and 4, the fewest that have an error, where matrices are large; all together fit in 1 GiB
    if a few of them do.

    Examples
    --------
    >>> part_length(2000, entries=2700, least=16), part_length(2000, entries=100, least=16)
    (512, 128)
    """
    most = min(_MOST_PARTS if entries <= _SMALL else _FEWEST_PARTS, max(1, _PARTS_BYTES // (8 * max(entries, 1) ** 2)))
    length = 1
    while length < least or frames > most * length:
        length *= 2
    return length


def moment(counts: NDArray[np.uint32], weight: Float) -> Moment:
    """Return the moment of frames.

    Parameters
    ----------
    counts : (frame, entry) how often each bin was hit in each frame
    weight : (frame,) not negative

    Notes
    -----
    The integers nearest to the mean are taken off before the matrix product, so that for frames of equal weight all
    products and sums are integers below 2²⁴ (2⁵³ where they grow larger): the result is exact in float32.

    Examples
    --------
    >>> m = moment(np.array([[1, 2], [3, 2], [5, 8]], np.uint32), np.ones(3))
    >>> m.mean.tolist(), m.comoment.tolist()
    ([3.0, 4.0], [[8.0, 12.0], [12.0, 24.0]])
    """
    total, frames = float(weight.sum()), len(counts)
    mean = counts.mean(axis=0) if frames else np.zeros(counts.shape[1])
    level = np.rint(mean)
    if total <= 0.0:
        return Moment(0.0, 0.0, frames, level, np.zeros((len(level), len(level))))
    product = np.empty((len(level), len(level)))
    if (weight == weight[0]).all():
        shift = mean - level
        step = counts.astype(np.float32) - level.astype(np.float32)  # (frame, entry)
        if counts.max(initial=0) >= _EXACT or frames * float(np.abs(step).max(initial=0.0)) ** 2 >= _EXACT:
            step = counts - level  # too large for float32
        np.multiply(step.T @ step, weight[0], out=product)
    else:
        shift = weight @ (counts - level) / total
        root = np.sqrt(weight)[:, None] * (counts - level)
        np.matmul(root.T, root, out=product)
    _add_outer(product, -total * shift, shift)
    return Moment(total, float((weight**2).sum()), frames, level + shift, product)


def merge_moments(first: Moment, second: Moment) -> Moment:
    """Join the moments of two sets of frames: C = C₁ + C₂ + δδᵀ W₁W₂ / (W₁ + W₂) with δ the difference of the means.

    Chan, Golub & LeVeque 1979, Stanford report STAN-CS-79-773; the sum of uncentred squares, which loses the digits of
    small fluctuations, is never formed.

    Examples
    --------
    >>> counts = np.random.default_rng(1).integers(0, 9, (64, 3)).astype(np.uint32)
    >>> parts = [moment(part, np.ones(len(part))) for part in (counts[:20], counts[20:])]
    >>> bool(np.allclose(merge_moments(*parts).comoment / 64, np.cov(counts.T, ddof=0), rtol=1e-12))
    True
    """
    weight = first.weight + second.weight
    frames, square = first.frames + second.frames, first.square + second.square
    if second.weight <= 0.0 or first.weight <= 0.0:
        heavy = second if first.weight <= 0.0 else first
        return Moment(heavy.weight, square, frames, heavy.mean, heavy.comoment)
    delta = second.mean - first.mean
    mean = first.mean + delta * (second.weight / weight)
    comoment = first.comoment + second.comoment
    _add_outer(comoment, delta * (first.weight * second.weight / weight), delta)
    return Moment(weight, square, frames, mean, comoment)


def _add_outer(matrix: Float, left: Float, right: Float) -> None:
    """Add left rightᵀ to a matrix, some rows at a time: a second large matrix costs more than the arithmetic."""
    for start in range(0, len(matrix), _ROWS):
        rows = slice(start, start + _ROWS)
        matrix[rows] += left[rows, None] * right


def _moments(covariance: xr.Dataset) -> list[Moment]:
    """Return the moments of the parts of a covariance dataset."""
    return [
        Moment(
            float(part["weight"]),
            float(part["square"]),
            int(part["frames"]),
            np.asarray(part["mean"].values, np.float64),
            np.asarray(part["comoment"].values, np.float64),
        )
        for part in (covariance.isel(part=number) for number in range(covariance.sizes["part"]))
    ]


def merge_covariances(parts: Sequence[xr.Dataset]) -> xr.Dataset:
    """Join the covariances of parts of a run, or of several runs, of one system; their parts stay apart.

    Parameters
    ----------
    parts : covariance datasets of the same system and question; where the lengths of their parts differ, shorter ones
        are merged first

    Raises
    ------
    InputError : the entries differ
    """
    first = parts[0]
    for part in parts[1:]:
        if not all(part[name].equals(first[name]) for name in ("distribution", "kind", "x")):
            raise InputError(
                f"{part.attrs.get('name', 'covariance')}: found other kinds or bins than in "
                f"{first.attrs.get('name', 'the first part')}; only covariances of one system and one question merge"
            )
    longest = max(int(part.attrs["part_length"]) for part in parts)
    merged = [_coarsen(part, longest // int(part.attrs["part_length"])) for part in parts]
    joined = xr.concat(merged, "part", data_vars="minimal", coords="minimal", compat="override", join="exact")
    return joined.assign_attrs(first.attrs | {"part_length": longest})


def _coarsen(covariance: xr.Dataset, factor: int) -> xr.Dataset:
    """Merge every `factor` parts; the last one may be of fewer."""
    if factor == 1:
        return covariance
    moments = _moments(covariance)
    groups = [moments[start : start + factor] for start in range(0, len(moments), factor)]
    return dataset_of([_merge_all(group) for group in groups], covariance)


def _merge_all(moments: Sequence[Moment]) -> Moment:
    """Merge moments in their order."""
    merged = moments[0]
    for other in moments[1:]:
        merged = merge_moments(merged, other)
    return merged


def dataset_of(moments: Sequence[Moment], like: xr.Dataset) -> xr.Dataset:
    """Return moments as a covariance dataset with the entries of another one."""
    return xr.Dataset(
        {
            "mean": (("part", "entry"), np.stack([m.mean for m in moments]), {"units": "1"}),
            "comoment": (("part", "entry", "other"), np.stack([m.comoment for m in moments]), {"units": "1"}),
            "weight": ("part", np.array([m.weight for m in moments]), {"units": "1"}),
            "square": ("part", np.array([m.square for m in moments]), {"units": "1"}),
            "frames": ("part", np.array([m.frames for m in moments], np.int64), {"units": "1"}),
        },
        {name: like[name] for name in ("distribution", "kind", "x")},
        like.attrs,
    )


def merged_covariance(covariance: xr.Dataset) -> xr.Dataset:
    """Return the covariance of the counts over all parts: ⟨S_α S_γ⟩ − ⟨S_α⟩⟨S_γ⟩.

    Parameters
    ----------
    covariance : covariance dataset; lazy ones are computed

    Returns
    -------
    dataset with `mean` (entry), `covariance` (entry, other), `weight`, `square` and `frames`; `effective_frames` is
    (Σw)² / Σw², not yet divided by the statistical inefficiency

    Notes
    -----
    S are counts of a frame, not multiplied by its volume. With β = 1/kT the response of mean counts to a potential is
    ∂⟨S_α⟩/∂U_γ = −β times this matrix. Lyubartsev & Laaksonen 1995, doi:10.1103/PhysRevE.52.3730
    """
    merged = _merge_all(_moments(covariance.compute()))
    effective = merged.weight**2 / merged.square if merged.square > 0.0 else 0.0
    matrix = merged.comoment / merged.weight if merged.weight > 0.0 else np.full_like(merged.comoment, np.nan)
    return xr.Dataset(
        {
            "mean": ("entry", merged.mean, {"units": "1", "long_name": "mean count of a frame"}),
            "covariance": (("entry", "other"), matrix, {"units": "1", "long_name": "covariance of counts"}),
            "weight": merged.weight,
            "square": merged.square,
            "frames": merged.frames,
            "effective_frames": effective,
        },
        {name: covariance[name] for name in ("distribution", "kind", "x")},
        covariance.attrs,
    )
