"""Relative entropy: its gradient and its Newton step for potentials that are linear in a basis, such as B-splines."""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from cgstore.errors import InputError, PhysicsError
from cgstore.inverse.correction import covered
from cgstore.inverse.cross import Response, changes, checked_target, errors_of, logarithmic, verdict
from cgstore.inverse.entries import entries_of
from cgstore.inverse.layout import thermal_energy
from cgstore.inverse.moments import moments_of
from cgstore.inverse.response import basis_matrix
from cgstore.inverse.ridge import Parts, Regularisation, newton_step
from cgstore.inverse.sampled import FEWEST

__all__ = ["relative_entropy_gradient", "relative_entropy_step", "spline_basis"]

Float = NDArray[np.float64]

_DEGREE = 3
_CIRCLE = 360.0  # degrees


def spline_basis(
    covariance: xr.Dataset, *, knots: int | Mapping[str, int] = 20, target: xr.Dataset | None = None
) -> xr.DataArray:
    """Return cubic B-splines for each kind of each distribution at the centres of the bins.

    Parameters
    ----------
    covariance : covariance dataset, for its entries and for which bins were hit
    knots : number of intervals of each kind, or per distribution
    target : `counts` on (entry); the splines then begin and end where model and target both were

    Returns
    -------
    (entry, parameter), with `distribution` and `kind` of each parameter; U(x) = Σ λ B(x). Splines of pairs end at zero
    with zero slope at the last bin; those of dihedrals are periodic if bins at both ends were hit

    Raises
    ------
    InputError : not one interval

    Notes
    -----
    Bins outside of the range have no splines: below it the potential is a wall, see `with_change`. A kind that was hit
    in fewer bins than it would have splines gets fewer intervals.

    Examples
    --------
    >>> x = np.arange(0.05, 1.0, 0.1)
    >>> c = xr.Dataset({"mean": (("part", "entry"), np.ones((1, 10)))},
    ...                {"distribution": ("entry", ["rdf"] * 10), "kind": ("entry", ["A-A"] * 10), "x": ("entry", x)})
    >>> b = spline_basis(c, knots=4)
    >>> b.shape, bool(b[0].sum() == 1.0), float(b[-1].sum().round(3))
    ((10, 5), True, 0.0)
    """
    labels, kinds, x = entries_of(covariance)
    there = covariance["mean"].values.sum(axis=0) > 0.0
    if target is not None:
        there &= target["counts"].values > 0.0
    columns: list[Float] = []
    names: list[tuple[str, str]] = []
    for label, kind in dict.fromkeys(zip(labels.tolist(), kinds.tolist(), strict=True)):
        here = np.flatnonzero((labels == label) & (kinds == kind) & there)
        wanted = knots if isinstance(knots, int) else knots.get(label, 20)
        if wanted < 1:
            raise InputError(f"spline_basis: found {wanted} intervals for {label}, expected one or more")
        intervals = min(wanted, len(here) - _DEGREE)
        if intervals < 1:
            continue
        low, high = float(x[here].min()), float(x[here].max())
        inside = (labels == label) & (kinds == kind) & (x >= low) & (x <= high)
        splines = _splines(x[inside], intervals, label)
        block = np.zeros((len(x), splines.shape[1]))
        block[inside] = splines
        columns.append(block)
        names += [(label, kind)] * block.shape[1]
    matrix = np.concatenate(columns, axis=1) if columns else np.zeros((len(x), 0))
    return xr.DataArray(
        matrix,
        {"distribution": ("parameter", [a for a, _ in names]), "kind": ("parameter", [b for _, b in names])},
        ("entry", "parameter"),
        attrs={"units": "1", "long_name": "cubic B-splines at the centres of bins"},
    )


def _splines(x: Float, intervals: int, label: str) -> Float:
    """Return cubic B-splines (bin, spline) of one kind at the centres of its bins, as its coordinate wants them."""
    from scipy.interpolate import BSpline

    low, high = float(x.min()), float(x.max())
    circle = label in ("dihedral", "improper") and high - low > _CIRCLE - 1.5 * _CIRCLE / len(x)
    if circle and intervals >= _DEGREE:
        points = _CIRCLE * (np.arange(-_DEGREE, intervals + _DEGREE + 1) / intervals - 0.5)
        block = BSpline.design_matrix(x, points, _DEGREE).toarray()
        block[:, :_DEGREE] += block[:, intervals:]  # what begins before the end goes on at the beginning
        return np.asarray(block[:, :intervals], np.float64)
    points = np.concatenate([[low] * _DEGREE, np.linspace(low, high, intervals + 1), [high] * _DEGREE])
    block = BSpline.design_matrix(x, points, _DEGREE).toarray()
    return np.asarray(block[:, : intervals + _DEGREE - 2] if label == "rdf" else block, np.float64)


def relative_entropy_gradient(
    model: ArrayLike, target: ArrayLike, basis: xr.DataArray, *, temperature: float
) -> xr.DataArray:
    """Return the gradient of the relative entropy, β (⟨∂U/∂λ⟩_target − ⟨∂U/∂λ⟩_model), of U = Σ λ B.

    Parameters
    ----------
    model, target : (entry,) mean counts of a frame
    basis : (entry, parameter), of `spline_basis` for example
    temperature : K

    Returns
    -------
    (parameter), per kJ/mol

    Notes
    -----
    S_rel = ⟨ln(p_target/p_model)⟩_target, in units of k; its Hessian β² Bᵀ C B is never negative, so there is one
    minimum. Shell 2008, doi:10.1063/1.2992060; Chaimovich & Shell 2011, doi:10.1063/1.3557038

    Examples
    --------
    >>> hats = xr.DataArray(np.eye(2), dims=("entry", "parameter"))
    >>> slope = relative_entropy_gradient([3.0, 5.0], [4.0, 5.0], hats, temperature=300.0)
    >>> slope.values.round(3).tolist()  # less of the potential where the target has more
    [0.401, 0.0]
    """
    question = "relative_entropy_gradient"
    found, wanted = np.asarray(model, np.float64), np.asarray(target, np.float64)
    matrix = basis_matrix(basis, len(found), question)
    if found.shape != wanted.shape:
        raise InputError(f"{question}: found counts {found.shape} and {wanted.shape}, expected the same entries")
    slope = matrix.T @ (wanted - found) / thermal_energy(temperature, question=question)
    parameter = str(basis.dims[1])
    kept = {name: coord for name, coord in basis.coords.items() if coord.dims == (parameter,)}
    return xr.DataArray(
        slope, kept, (parameter,), attrs={"units": "mol/kJ", "long_name": "gradient of the relative entropy"}
    )


def relative_entropy_step(
    covariance: xr.Dataset,
    target: xr.Dataset,
    basis: xr.DataArray,
    *,
    temperature: float,
    regularisation: Regularisation = "discrepancy",
    largest: float = 2.0,
    response: Response = "linear",
    tolerance: float = 0.0,
    inefficiency: ArrayLike | None = None,
    fewest: float = FEWEST,
) -> xr.Dataset:
    """Return the Newton step of the relative entropy for a potential that is linear in a basis.

    Parameters
    ----------
    covariance, target, temperature, regularisation, tolerance, inefficiency, fewest : as in `imc_update`
    basis : (entry, parameter), for example of `spline_basis`
    largest : kT, the largest change of the potential in a bin
    response : "linear", the Newton step; "logarithm" as in `imc_update`: bins that only one of both sampled have no
        say, and rare ones do not overshoot

    Returns
    -------
    dataset: `parameter_change` and `parameter_error` on (parameter), in kJ/mol; `change`, what they make of the bins,
    `change_error` and `coverage` on (entry), as `with_change` takes them; attributes as of `imc_update`

    Raises
    ------
    InputError, PhysicsError : as `imc_update`; no parameter that the counts depend on

    Notes
    -----
    −kT (Bᵀ C B + μ)⁻¹ Bᵀ (⟨S⟩_target − ⟨S⟩) from the same covariance as inverse Monte Carlo, which is this step in the
    basis of the bins (Frommer & Hanke 2022, doi:10.1007/s11005-022-01563-w). Fewer parameters than bins need fewer
    frames. Bins without splines have no say and no change.
    """
    question = "relative_entropy_step"
    kT = thermal_energy(temperature, question=question)
    moments = moments_of(covariance, inefficiency=inefficiency, question=question)
    matrix = basis_matrix(basis, len(moments.mean), question)
    wanted, given = checked_target(covariance, target, question)
    inside = (matrix != 0.0).any(axis=1)
    projected = matrix.T @ moments.covariance @ matrix
    used = np.diag(projected) > 0.0
    if not used.any():
        raise PhysicsError(
            f"{question}: the counts depend on no parameter of the basis; use more frames or fewer knots"
        )
    # Zero counts of the target are exact here: the splines have them too.
    error = errors_of(moments, np.where(wanted > 0.0, given, 0.0), inside, covariance, regularisation, question)
    narrow, lack = matrix[:, used], wanted - moments.mean
    if response == "logarithm":
        common = inside & (moments.hits >= fewest) & (wanted > 0.0)
        lack, given = logarithmic(covariance, moments, wanted, given, common, largest)
        error = errors_of(moments, np.where(common, given, 0.0), inside, covariance, regularisation, question)
    step = newton_step(
        projected[np.ix_(used, used)],
        narrow.T @ lack,
        None if error is None else _projected_error(moments.covariance, error, narrow),
        effective=moments.independent,
        kT=kT,
        regularisation=regularisation,
        largest=largest * kT,
        basis=narrow,
        parts=Parts(moments.residual @ narrow, moments.share) if len(moments.share) else None,
    )
    parameters, spread = np.zeros(matrix.shape[1]), np.full(matrix.shape[1], np.nan)
    parameters[used] = step.change
    change, blur = np.where(inside, matrix @ parameters, np.nan), np.full(len(inside), np.nan)
    if step.spread is not None:
        spread[used] = np.sqrt(np.diag(step.spread))
        blur[inside] = np.sqrt(np.einsum("ij,jk,ik->i", narrow, step.spread, narrow, optimize=True))[inside]
    attrs = verdict(step, len(moments.share), tolerance * kT, change[inside]) | {"temperature": temperature}
    parameter, unit = str(basis.dims[1]), {"units": "kJ/mol"}
    return changes(covariance, change, blur, covered(moments.hits >= fewest, wanted > 0.0), attrs).assign(
        parameter_change=(parameter, parameters, unit | {"long_name": "change of the parameter"}),
        parameter_error=(parameter, spread, unit | {"long_name": "standard error of the change"}),
    )


def _projected_error(covariance: Float, error: Float, basis: Float) -> Float:
    """Return the standard error (parameter,) of Bᵀ S, with errors of S that are correlated as the counts are."""
    scale = np.sqrt(np.diag(covariance))
    relative = np.divide(np.nan_to_num(error), scale, out=np.zeros_like(scale), where=scale > 0.0)
    weighted = relative[:, None] * basis
    return np.asarray(np.sqrt(np.einsum("ij,ij->j", weighted, covariance @ weighted)), np.float64)
