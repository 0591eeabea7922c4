"""Linear response of mean counts to a potential: the covariance of counts is the derivative of their means."""

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from cgstore.errors import InputError
from cgstore.inverse.layout import thermal_energy
from cgstore.inverse.moments import moments_of

__all__ = ["basis_matrix", "ensemble_gradient", "predicted_counts"]

Float = NDArray[np.float64]

_LINEAR = 1.0  # variance of ΔU/kT up to which the first order is worth something


def ensemble_gradient(covariance: xr.Dataset, *, temperature: float, basis: xr.DataArray | None = None) -> xr.DataArray:
    """Return how mean counts change with a potential: ∂⟨S_α⟩/∂λ = −β ⟨(S_α − ⟨S_α⟩)(∂U/∂λ − ⟨∂U/∂λ⟩)⟩.

    Parameters
    ----------
    covariance : covariance dataset, of weighted frames too
    temperature : K, at which the frames were drawn, or to which they are weighted
    basis : (entry, parameter), ∂U(x)/∂λ at the centre of each bin; the bins themselves by default

    Returns
    -------
    (entry, parameter), or (entry, other) without a basis: change of a mean count per kJ/mol

    Raises
    ------
    InputError : a basis of other entries
    PhysicsError : the temperature is not positive, or no frame has a weight

    Notes
    -----
    Exact for the ensemble of the frames, as long as U = Σ λ B(x) over the pairs and terms that are counted; of a sample
    its error is about that of the covariance. Lyubartsev & Laaksonen 1995, doi:10.1103/PhysRevE.52.3730

    Examples
    --------
    >>> counts = np.array([[2.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    >>> entry = {"distribution": ("entry", ["rdf"] * 2), "kind": ("entry", ["A-A"] * 2), "x": ("entry", [0.1, 0.2])}
    >>> c = xr.Dataset(
    ...     {"mean": (("part", "entry"), [counts.mean(0)]), "weight": ("part", [3.0]), "square": ("part", [3.0]),
    ...      "comoment": (("part", "entry", "other"), [3 * np.cov(counts.T, ddof=0)]), "frames": ("part", [3])}, entry)
    >>> (ensemble_gradient(c, temperature=300.0) * 0.008314462618 * 300.0).values.round(3).tolist()
    [[-0.667, 0.667], [0.667, -0.667]]
    """
    kT = thermal_energy(temperature, question="ensemble_gradient")
    moments = moments_of(covariance, question="ensemble_gradient")
    coords = {name: covariance[name] for name in ("distribution", "kind", "x")}
    attrs = {"units": "mol/kJ", "long_name": "change of a mean count with the potential"}
    if basis is None:
        return xr.DataArray(moments.covariance / -kT, coords, ("entry", "other"), attrs=attrs)
    response = moments.covariance @ basis_matrix(basis, len(moments.mean), "ensemble_gradient") / -kT
    parameter = str(basis.dims[1])
    kept = {name: coord for name, coord in basis.coords.items() if coord.dims == (parameter,)}
    return xr.DataArray(response, coords | kept, ("entry", parameter), attrs=attrs)


def predicted_counts(
    covariance: xr.Dataset, change: ArrayLike, *, temperature: float, inefficiency: float | None = None
) -> xr.Dataset:
    """Return the mean counts that a changed potential will have, to first order: ⟨S⟩ − β C ΔU.

    Parameters
    ----------
    covariance : covariance dataset
    change : (entry,) kJ/mol, of the potential of each bin; NaN counts as zero
    temperature : K
    inefficiency : as in `moments_of`

    Returns
    -------
    dataset on (entry): `counts` and `counts_error`, the latter without the error of the covariance and NaN where not
    known; the attributes `variance`, that of ΔU/kT of a frame, and `linear`, whether that is at most 1

    Raises
    ------
    InputError : as many changes as entries are expected

    Notes
    -----
    Averages are what can be changed to first order; frames can be reweighted exactly, but only while they are at hand.
    exp(−variance) is about the part of the frames that still counted if they were; beyond a variance of 1 ask for a new
    sample instead.
    """
    question = "predicted_counts"
    kT = thermal_energy(temperature, question=question)
    moments = moments_of(covariance, inefficiency=inefficiency, question=question)
    delta = np.nan_to_num(np.asarray(change, np.float64))
    if delta.shape != moments.mean.shape:
        raise InputError(f"{question}: found changes {delta.shape}, expected one for each of {len(moments.mean)} bins")
    response = moments.covariance @ delta / kT
    variance = float(delta @ response) / kT
    return xr.Dataset(
        {
            "counts": ("entry", moments.mean - response, {"units": "1", "long_name": "predicted mean count"}),
            "counts_error": ("entry", moments.error, {"units": "1", "long_name": "standard error of the mean count"}),
        },
        {name: covariance[name] for name in ("distribution", "kind", "x")},
        {"variance": variance, "linear": int(variance <= _LINEAR)},
    )


def basis_matrix(basis: xr.DataArray, entries: int, question: str) -> Float:
    """Return a basis (entry, parameter) as an array.

    Raises
    ------
    InputError : it has other dims or another number of entries
    """
    if basis.ndim != 2 or basis.dims[0] != "entry" or basis.sizes["entry"] != entries:
        raise InputError(
            f"{question}: found a basis on {dict(basis.sizes)}, expected (entry, parameter) with {entries} entries; "
            "make it of the same covariance"
        )
    return np.asarray(basis.values, np.float64)
