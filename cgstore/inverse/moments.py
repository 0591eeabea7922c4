"""What inversion needs of a covariance dataset: mean counts, their covariance, and how well the means are known."""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from cgstore.averages.covariance import merged_covariance
from cgstore.errors import InputError, PhysicsError

__all__ = ["Moments", "moments_of"]

Float = NDArray[np.float64]

_FEWEST_PARTS = 4  # fewer do not tell how long frames remember


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Mean counts of a frame with their covariance."""

    mean: Float  # (entry,)
    covariance: Float  # (entry, entry) of the counts of a frame
    effective: float  # (Σw)² / Σw², frames as if all weights were equal
    inefficiency: Float  # (entry,) of their kind, NaN where not known
    residual: Float  # (part, entry) means of parts less the mean; no parts where they are not needed or too few
    share: Float  # (part,) of the weight

    @property
    def hits(self) -> Float:
        """Return how often a bin was hit (entry,), in frames of equal weight."""
        return self.mean * self.effective

    @property
    def error(self) -> Float:
        """Return the standard error of the mean (entry,), NaN where not known."""
        return np.sqrt(np.diag(self.covariance) * self.inefficiency / self.effective)

    @property
    def independent(self) -> float:
        """Return how many independent frames there are; where nobody knows, as if all were."""
        return self.effective / float(np.nan_to_num(self.inefficiency, nan=1.0).mean())


def moments_of(covariance: xr.Dataset, *, inefficiency: ArrayLike | None = None, question: str) -> Moments:
    """Return mean counts and covariance over all parts of a covariance dataset.

    Parameters
    ----------
    covariance : covariance dataset, see `cgstore.averages.covariance`
    inefficiency : how many frames are worth one independent frame, 2 · correlation time / frame spacing; from the
        scatter of the parts by default, per kind, where there are four parts
    question : opens messages

    Raises
    ------
    InputError : it is no covariance dataset, or the inefficiency is below one
    PhysicsError : no frame has a weight
    """
    lacking = [name for name in ("mean", "comoment", "weight", "square") if name not in covariance]
    if lacking or not {"distribution", "kind", "x"} <= set(covariance.coords):
        raise InputError(
            f"{question}: found {sorted(map(str, covariance.data_vars))}, expected a covariance dataset with mean, "
            "comoment, weight and square, and distribution, kind and x on its entries"
        )
    covariance = covariance.compute()
    merged = merged_covariance(covariance)
    effective = float(merged["effective_frames"])
    if not effective > 0.0:
        raise PhysicsError(f"{question}: all frames of the covariance have weight 0, expected some with more")
    mean, matrix = (np.asarray(merged[name].values, np.float64) for name in ("mean", "covariance"))
    weight = np.asarray(covariance["weight"].values, np.float64)
    share = weight[weight > 0.0] / weight.sum()
    residual = covariance["mean"].values[weight > 0.0] - mean
    if inefficiency is not None or len(share) < _FEWEST_PARTS:
        share, residual = share[:0], residual[:0]
    known = inefficiency
    if known is None:
        known = _inefficiency(covariance, residual, share, mean, np.diag(matrix) / effective)
    factor = np.broadcast_to(np.asarray(known, np.float64), mean.shape)
    if (factor < 1.0).any():
        raise InputError(f"{question}: found an inefficiency of {np.nanmin(factor):g}, expected 1 or more")
    return Moments(mean, matrix, effective, factor, residual, share)


def _inefficiency(covariance: xr.Dataset, residual: Float, share: Float, mean: Float, expected: Float) -> Float:
    """Return per entry how much more the means of parts scatter than those of independent frames, by kind."""
    result = np.full(mean.shape, np.nan)
    if not len(share):
        return result
    scatter = ((share[:, None] * residual) ** 2).sum(axis=0) / (1.0 - (share**2).sum())
    shot = np.divide(1.0, mean, out=np.zeros_like(mean), where=mean > 0.0)  # shot noise then counts alike in every bin
    names = np.char.add(np.char.add(covariance["distribution"].values.astype(str), " "), covariance["kind"].values)
    for name in np.unique(names):
        here = names == name
        single = float((expected * shot)[here].sum())
        result[here] = max(float((scatter * shot)[here].sum()) / single, 1.0) if single > 0.0 else 1.0
    return result
