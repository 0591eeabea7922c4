"""Distances between distributions: how much of one is elsewhere in the other, and what noise alone would make of that.

All work on the bins of one distribution. Probabilities are p_k = w_k f_k / Σ w f, with the weights w = r² of shells for
radial distribution functions, and w = 1 for densities of bonds, angles and dihedrals.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "kullback_leibler",
    "kullback_leibler_noise",
    "mean_size",
    "probabilities",
    "total_deviation",
    "total_variation",
]

Float = NDArray[np.float64]


def probabilities(values: ArrayLike, weight: ArrayLike = 1.0) -> Float:
    """Return the probability of each bin (bin,): Σ p = 1; negative values count as none.

    Parameters
    ----------
    values : (bin,) distribution
    weight : (bin,) of the bins; r² for a radial distribution function: p is that of 4πr² g Δr up to the last bin

    Examples
    --------
    >>> probabilities([1.0, 1.0], [1.0, 3.0]).tolist()
    [0.25, 0.75]
    """
    product = np.clip(np.asarray(values, np.float64), 0.0, None) * np.asarray(weight, np.float64)
    return np.asarray(product / product.sum(), np.float64)


def total_deviation(values: ArrayLike, reference: ArrayLike, width: float) -> float:
    """Return Σ |f − f_ref| Δ; of radial distribution functions in nm, as Moradzadeh & Aluru 2019 count it.

    Parameters
    ----------
    values, reference : (bin,)
    width : of a bin

    Notes
    -----
    doi:10.1021/acs.jpclett.8b03872. Of densities that integrate to one it is twice the total variation.

    Examples
    --------
    >>> total_deviation([1.0, 2.0], [1.5, 1.5], 0.5)
    0.5
    """
    return float(np.abs(np.asarray(values, np.float64) - np.asarray(reference, np.float64)).sum() * width)


def total_variation(p: ArrayLike, q: ArrayLike) -> float:
    """Return ½ Σ |p − q| of probabilities: the part that would have to move to make them equal, from 0 to 1.

    Examples
    --------
    >>> total_variation([0.5, 0.5], [0.75, 0.25])
    0.25
    """
    return 0.5 * float(np.abs(np.asarray(p, np.float64) - np.asarray(q, np.float64)).sum())


def kullback_leibler(reference: ArrayLike, model: ArrayLike) -> float:
    """Return Σ p_ref ln(p_ref / p) of probabilities, in nats.

    Parameters
    ----------
    reference, model : (bin,) probabilities

    Notes
    -----
    A bin that a finite sample of the model never hit would make it infinite. Such a bin is taken together with the
    next one that was hit, the last ones with the last: joining bins makes it never larger, so that this is a lower
    bound, and it is what it is where every bin was hit. Kullback & Leibler 1951, doi:10.1214/aoms/1177729694

    Examples
    --------
    >>> round(kullback_leibler([0.5, 0.5], [0.75, 0.25]), 6)
    0.143841
    >>> kullback_leibler([0.25, 0.25, 0.5], [0.0, 0.5, 0.5])
    0.0
    """
    p, q = np.asarray(reference, np.float64), np.asarray(model, np.float64)
    hit = np.flatnonzero(q > 0.0)
    if not len(hit):
        return float("inf")
    place = np.minimum(np.searchsorted(hit, np.arange(len(q))), len(hit) - 1)
    joined, others = (np.bincount(place, weights=part).astype(np.float64) for part in (p, q))
    some = joined > 0.0
    return float((joined[some] * np.log(joined[some] / others[some])).sum())


def mean_size(sigma: ArrayLike) -> float:
    """Return Σ E|x| of independent or dependent normal numbers with these standard deviations: √(2/π) Σ σ.

    Half of it, of errors of probabilities, is the total variation of two samples of the same distribution.

    Examples
    --------
    >>> round(mean_size([1.0]), 6)
    0.797885
    """
    return float(np.sqrt(2.0 / np.pi) * np.nansum(np.asarray(sigma, np.float64)))


def kullback_leibler_noise(p: ArrayLike, sigma: ArrayLike) -> float:
    """Return ½ Σ σ² / p, what two samples of the same distribution would give on average.

    Parameters
    ----------
    p, sigma : (bin,) probabilities, and the errors of the difference between the samples

    Examples
    --------
    >>> round(kullback_leibler_noise([0.5, 0.5], [0.1, 0.1]), 6)
    0.02
    """
    p, sigma = np.asarray(p, np.float64), np.nan_to_num(np.asarray(sigma, np.float64))
    some = p > 0.0
    return 0.5 * float((sigma[some] ** 2 / p[some]).sum())
