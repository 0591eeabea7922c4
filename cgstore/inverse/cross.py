"""Inverse Monte Carlo: one correction of all potentials at once, from the covariance of all counts with each other."""

from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from cgstore.errors import InputError, PhysicsError
from cgstore.inverse.correction import COVERAGE, corrected, covered, energies_of
from cgstore.inverse.deviations import chi2_limit
from cgstore.inverse.entries import entries_of, from_entries
from cgstore.inverse.layout import Kind, thermal_energy, values_of
from cgstore.inverse.moments import Moments, moments_of
from cgstore.inverse.ridge import NEIGHBOURS, Parts, Regularisation, Step, newton_step
from cgstore.inverse.sampled import FEWEST

__all__ = [
    "Response",
    "changes",
    "checked_target",
    "errors_of",
    "imc_update",
    "logarithmic",
    "verdict",
    "with_change",
]

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]
Cutoff = Literal["zero", "free"]
Response = Literal["logarithm", "linear"]

_CONSTANT = 1e-6  # of the variance of bins by themselves: below it their sum does not fluctuate


def imc_update(
    covariance: xr.Dataset,
    target: xr.Dataset,
    *,
    temperature: float,
    regularisation: Regularisation = "discrepancy",
    largest: float = 2.0,
    cutoff: Cutoff = "zero",
    response: Response = "logarithm",
    tolerance: float = 0.0,
    inefficiency: ArrayLike | None = None,
    fewest: float = FEWEST,
) -> xr.Dataset:
    """Return the changes of all potentials, bin by bin, that give a model the mean counts of a target, to first order.

    Parameters
    ----------
    covariance : covariance dataset of the model, over all its distributions
    target : `counts` and `counts_error` on (entry), of `on_entries`; an error of 0 means exact
    temperature : K
    regularisation : "discrepancy": a ridge so large that the step makes up for no more than the errors say; or a
        number, the ridge in units of the mean eigenvalue of the correlations, 0 for none
    largest : kT, the largest change of a bin
    cutoff : "zero" holds the last bin of each pair of types, so that the potential stays zero there; "free" does not
    response : what is taken to be linear in the potential: the logarithm of mean counts, which it is for bins that do
        not feel each other, or the counts themselves, as published
    tolerance : kT; a step that is nowhere larger counts as converged, whatever the errors
    inefficiency : frames per independent frame; by default from the parts of the covariance
    fewest : hits that make a bin of the model sampled

    Returns
    -------
    dataset on (entry): `change` and `change_error` in kJ/mol, NaN in bins that were left out; `coverage`, why: who
        sampled the bin; `counts` of the model and `predicted` ones. Attributes: `converged`, `chi2` per mode before the
        step with its `limit`, `modes`, `ridge`

    Raises
    ------
    PhysicsError : model and target sampled no bin of a kind in common
    InputError : errors are needed and not known; other entries; a number that makes no sense

    Notes
    -----
    Solves Σ_γ A_αγ ΔV_γ = ⟨S_α⟩_target − ⟨S_α⟩ with A = −β cov(S, S) over non-bonded and bonded bins together.
    Lyubartsev & Laaksonen 1995, doi:10.1103/PhysRevE.52.3730. It is the Newton step of the relative entropy (Frommer &
    Hanke 2022, doi:10.1007/s11005-022-01563-w), whose Hessian β² cov(S, S) is never negative, so with a ridge the step
    always goes downhill.

    With "logarithm" the left side is ⟨S⟩ ln(⟨S⟩_target/⟨S⟩) instead: the same Newton step at the solution, but it does
    not overshoot in rare bins, and where bins do not feel each other it is iterative Boltzmann inversion.

    Converged: chi2 of the modes is at most 1 + 2√(2/modes), and √(2/8(parts − 1)) more, because errors from few parts
    are not well known either. Modes that remember long are found by the scatter of the parts and count less.

    Null modes: the bins of a bonded kind add up to the number of its terms, so a constant potential does nothing; such
    directions are left out. The number of pairs within a cutoff is not constant, so a constant pair potential within it
    is not nothing: that is why the last bin is held at zero instead of shifting the solution afterwards. Only when the
    cutoff holds all pairs is it a null mode. Bins that model or target never sampled have no equation; see
    `with_change`. The error of a change is that of the means at this ridge, without the bias of the ridge and the noise
    of A; it is NaN when the ridge is infinite, because nothing was left to do.
    """
    question = "imc_update"
    kT = thermal_energy(temperature, question=question)
    if response not in ("logarithm", "linear"):
        raise InputError(f'{question}: found response {response!r}, expected "logarithm" or "linear"')
    if cutoff not in ("zero", "free") or not largest > 0.0:
        raise InputError(
            f'{question}: found cutoff {cutoff!r} and largest {largest}, expected "zero" or "free", and > 0'
        )
    moments = moments_of(covariance, inefficiency=inefficiency, question=question)
    there = (moments.hits >= fewest) & (np.diag(moments.covariance) > 0.0)
    wanted, given = checked_target(covariance, target, question)
    common = _common(covariance, there, wanted > 0.0, question)
    used = common & ~_last(covariance, common) if cutoff == "zero" else common
    lack = wanted - moments.mean
    if response == "logarithm":
        lack, given = logarithmic(covariance, moments, wanted, given, used, largest)
    error = errors_of(moments, given, used, covariance, regularisation, question)
    step = newton_step(
        moments.covariance[np.ix_(used, used)],
        lack[used],
        None if error is None else error[used],
        effective=moments.independent,
        kT=kT,
        regularisation=regularisation,
        largest=largest * kT,
        parts=Parts(moments.residual[:, used], moments.share) if len(moments.share) else None,
    )
    change, spread = np.full(len(used), np.nan), np.full(len(used), np.nan)
    change[used] = step.change
    if step.spread is not None:
        spread[used] = np.sqrt(np.diag(step.spread))
    held = common & ~used
    change[held], spread[held] = 0.0, 0.0
    attrs = verdict(step, len(moments.share), tolerance * kT, step.change) | {"temperature": temperature}
    predicted = moments.mean - moments.covariance @ np.nan_to_num(change) / kT
    count = {"units": "1"}
    return changes(covariance, change, spread, covered(there, wanted > 0.0), attrs).assign(
        counts=("entry", moments.mean, count | {"long_name": "mean count of the model"}),
        predicted=("entry", predicted, count | {"long_name": "mean count after the change, to first order"}),
    )


def changes(
    covariance: xr.Dataset, change: Float, error: Float, coverage: NDArray[np.int8], attrs: dict[str, float | int]
) -> xr.Dataset:
    """Return what `with_change` takes: the change of the potential in each bin, with its error and who sampled it."""
    energy = {"units": "kJ/mol"}
    return xr.Dataset(
        {
            "change": ("entry", change, energy | {"long_name": "change of the potential"}),
            "change_error": ("entry", error, energy | {"long_name": "standard error of the change"}),
            "coverage": ("entry", coverage, COVERAGE),
        },
        {name: covariance[name] for name in ("distribution", "kind", "x")},
        attrs,
    )


def with_change(
    potential: xr.Dataset,
    update: xr.Dataset,
    target: xr.Dataset,
    *,
    temperature: float,
    kind: Kind | None = None,
    fewest: float = FEWEST,
) -> xr.Dataset:
    """Return a potential with the change that `imc_update` or `relative_entropy_step` found for it.

    Parameters
    ----------
    potential : `potential` on (kind, bin), with which the model was run
    update : result on (entry)
    target : distribution of the reference, as for `ibi_update`: where it was sampled the potential means something
    temperature : K
    kind, fewest : as in `ibi_update`

    Returns
    -------
    dataset on (kind, bin): `potential` and where it is `extrapolated`, `change`, `change_error`, `coverage`; smoothed
    and extended as in `ibi_update`

    Raises
    ------
    InputError : other kinds or bins
    NotFound : the update has none of this distribution
    """
    question = "with_change"
    kT = thermal_energy(temperature, question=question)
    wanted = values_of(target, kind, question=question)
    energy = energies_of(potential, wanted, question=question)
    names = ["change", "change_error", "coverage"]
    found = from_entries(update[names], wanted.name)
    rows, bins = map(str, found["change"].dims)
    found = found.reindex({rows: list(wanted.kinds)}, fill_value={"coverage": 0})
    found = found.reindex({bins: wanted.x}, method="nearest", tolerance=1e-3, fill_value={"coverage": 0})
    change, error = found["change"].values, found["change_error"].values
    keep = wanted.sampled(fewest)
    result, extrapolated = corrected(wanted, energy, change, error, keep, kT=kT, question=question)
    dims, unit = (wanted.kind, wanted.bin), {"units": "kJ/mol"}
    return xr.Dataset(
        {
            "potential": (dims, result, unit | {"long_name": "corrected potential"}),
            "extrapolated": (dims, extrapolated, {"long_name": "bins without data"}),
            **{name: (dims, found[name].values, dict(update[name].attrs)) for name in names},
        },
        {wanted.kind: list(wanted.kinds), wanted.bin: (wanted.bin, wanted.x, dict(target[wanted.bin].attrs))},
        {**update.attrs, "distribution": wanted.name},
    )


def checked_target(covariance: xr.Dataset, target: xr.Dataset, question: str) -> tuple[Float, Float]:
    """Return counts and errors (entry,) of a target.

    A bin that is slower than its kind has no error of its own: it gets the largest of its kind, relative to shot noise.

    Raises
    ------
    InputError : it has other entries, or counts that are not finite
    """
    if "counts" not in target or "counts_error" not in target or target["counts"].dims != ("entry",):
        raise InputError(
            f"{question}: found a target with {sorted(map(str, target.data_vars))}, expected counts and "
            "counts_error on (entry); make them by `counts_of_distribution` and `on_entries`"
        )
    for mine, its in zip(entries_of(covariance), entries_of(target), strict=True):
        same = mine.shape == its.shape and (mine == its if mine.dtype.kind == "U" else np.isclose(mine, its)).all()
        if not same:
            raise InputError(f"{question}: the target has other entries than the covariance; use `on_entries`")
    counts, error = (np.asarray(target[name].values, np.float64) for name in ("counts", "counts_error"))
    if not np.isfinite(counts).all():
        raise InputError(
            f"{question}: the counts of the target are not finite in {_name(target, ~np.isfinite(counts))}"
        )
    return counts, _completed(covariance, counts, error)


def _completed(covariance: xr.Dataset, counts: Float, error: Float) -> Float:
    """Return errors (entry,), NaN only for kinds of which none is known and where nothing was counted."""
    labels, kinds, _ = entries_of(covariance)
    result, shot = error.copy(), np.sqrt(counts)
    for label, kind in dict.fromkeys(zip(labels.tolist(), kinds.tolist(), strict=True)):
        here = (labels == label) & (kinds == kind) & (counts > 0.0)
        known, unknown = here & np.isfinite(error), here & np.isnan(error)
        if known.any() and unknown.any():
            result[unknown] = shot[unknown] * (error[known] / shot[known]).max()
    return result


def errors_of(
    moments: Moments,
    error: Float,
    used: Bool,
    covariance: xr.Dataset,
    regularisation: Regularisation,
    question: str,
) -> Float | None:
    """Return the standard error (entry,) of target less model, None where not known and not needed.

    Raises
    ------
    InputError : it is needed and not known
    """
    if isinstance(regularisation, str) and regularisation != "discrepancy":
        raise InputError(f'{question}: found regularisation {regularisation!r}, expected "discrepancy" or a number')
    if not isinstance(regularisation, str) and not 0.0 <= regularisation < np.inf:
        raise InputError(f"{question}: found a ridge of {regularisation}, expected 0 or a positive number")
    model, target = np.isnan(moments.inefficiency) & used, np.isnan(error) & used
    if not (model.any() or target.any()):
        return np.hypot(moments.error, error)
    if regularisation != "discrepancy":
        return None
    if model.any():
        raise InputError(
            f"{question}: the covariance has {covariance.sizes['part']} parts, too few to know its errors; give "
            "`inefficiency`, 2 · correlation time / frame spacing, or a number as `regularisation`"
        )
    raise InputError(
        f"{question}: the errors of the target are not known for {_name(covariance, target)}; use a longer reference, "
        "give errors yourself, or a number as `regularisation`"
    )


def verdict(step: Step, parts: int, tolerance: float, change: Float) -> dict[str, float | int]:
    """Return the attributes that say how a step was found and whether it was the last one."""
    limit = chi2_limit(step.modes)
    if parts:  # the errors themselves are known only so well
        limit *= 1.0 + float(np.sqrt(2.0 / (NEIGHBOURS * (parts - 1))))
    small = float(np.abs(change).max(initial=0.0)) <= tolerance
    return {
        "converged": int(step.chi2 <= limit or small),
        "chi2": step.chi2,
        "limit": limit,
        "modes": step.modes,
        "ridge": step.ridge,
    }


def logarithmic(
    covariance: xr.Dataset, moments: Moments, wanted: Float, given: Float, used: Bool, largest: float
) -> tuple[Float, Float]:
    """Return ⟨S⟩ ln(⟨S⟩_target/⟨S⟩) and the error of it that comes from the target (entry,)."""
    mean = moments.mean
    ratio = np.divide(wanted, mean, out=np.ones_like(wanted), where=used)
    log = np.clip(np.log(ratio), -largest, largest)
    labels, kinds, _ = entries_of(covariance)
    # Where the number of terms or pairs is constant, what adds up to more than nothing would be a mere constant.
    for label, kind in dict.fromkeys(zip(labels.tolist(), kinds.tolist(), strict=True)):
        here = (labels == label) & (kinds == kind) & used
        block = moments.covariance[np.ix_(here, here)]
        if here.any() and (label != "rdf" or block.sum() < _CONSTANT * np.trace(block)):
            log[here] -= mean[here] @ log[here] / mean[here].sum()
    return mean * log, given / ratio


def _common(covariance: xr.Dataset, there: Bool, sampled: Bool, question: str) -> Bool:
    """Return the bins that both sampled; raise PhysicsError for a kind of which only one has any."""
    common = there & sampled
    labels, kinds, _ = entries_of(covariance)
    for label, kind in dict.fromkeys(zip(labels.tolist(), kinds.tolist(), strict=True)):
        here = (labels == label) & (kinds == kind)
        if common[here].any() or not (there[here].any() or sampled[here].any()):
            continue
        who = "the model" if not there[here].any() else "the target" if not sampled[here].any() else ""
        found = f"{who} never sampled {label} {kind}" if who else f"model and target of {label} {kind} do not overlap"
        raise PhysicsError(
            f"{question}: {found}, expected counts of both in some bins; use more frames, or start again from the "
            "potential of mean force of the target"
        )
    return common


def _last(covariance: xr.Dataset, common: Bool) -> Bool:
    """Return the last used bin of each pair of types."""
    labels, kinds, x = entries_of(covariance)
    last = np.zeros_like(common)
    for kind in dict.fromkeys(kinds[labels == "rdf"].tolist()):
        here = np.flatnonzero((labels == "rdf") & (kinds == kind) & common)
        if len(here):
            last[here[x[here].argmax()]] = True
    return last


def _name(entries: xr.Dataset, where: Bool) -> str:
    """Return how messages name the first of some entries."""
    labels, kinds, x = entries_of(entries)
    first = int(np.argmax(where))
    return f"{labels[first]} {kinds[first]} at {x[first]:.4g}"
