"""Iterative Boltzmann inversion: correcting potentials by the logarithm of distributions, and by the pressure."""

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from cgstore.errors import InputError, PhysicsError
from cgstore.inverse.correction import COVERAGE, corrected, covered, energies_of
from cgstore.inverse.deviations import agreement_of
from cgstore.inverse.layout import Kind, Values, same_bins, thermal_energy, values_of
from cgstore.inverse.sampled import FEWEST
from cgstore.units import BAR

__all__ = ["ibi_update", "pressure_ramp"]

Float = NDArray[np.float64]


def ibi_update(
    potential: xr.Dataset,
    model: xr.Dataset,
    target: xr.Dataset,
    *,
    temperature: float,
    step: float = 1.0,
    largest: float = 2.0,
    kind: Kind | None = None,
    tolerance: ArrayLike = 0.0,
    fewest: float = FEWEST,
) -> xr.Dataset:
    """Return potentials corrected by iterative Boltzmann inversion: U + step · kT ln(g_model / g_target).

    Parameters
    ----------
    potential : what the model was run with: `potential` on (kind, bin), as `potential_of_mean_force` returns it
    model, target : distributions of `cgstore.rdf` or `cgstore.bonded`, on the same kinds and bins
    temperature : K
    step : part of the correction that is made; dense liquids overshoot with all of it
    largest : kT, the largest change of a bin
    kind : which distribution, where a dataset has several: rdf, bond, angle, dihedral, improper
    tolerance, fewest : as in `agreement`

    Returns
    -------
    dataset on (kind, bin): `potential`, in kJ/mol, and where it is `extrapolated`; `change` as the data say it with
    `change_error`, NaN where not known; `coverage`, who sampled the bin; on (kind) what `agreement` says: `rmsd`,
    `chi2`, `bins`, `limit`, `converged`. A kind that has converged is not changed

    Raises
    ------
    InputError : other kinds or bins, a potential that is not finite, a step that is not positive
    PhysicsError : a kind that the model or the target never sampled; the temperature is not positive

    Notes
    -----
    The error of a change is step · kT √((δg/g)² + (δg'/g')²); the change is smoothed as far as these errors allow, and
    no further than independent counts would allow: what errors exceed that by, neighbouring bins have in common, and
    the smoother would take it for noise. Bins that not both sampled: there is no change of their own. Where the target
    was, the nearest known change is carried on; where it was not, the potential is a wall, made anew from the bins
    beside it (`filling.fill`).

    Reith, Pütz & Müller-Plathe 2003, doi:10.1002/jcc.10307. The potential is unique up to a constant (Henderson 1974,
    doi:10.1016/0375-9601(74)90847-0), but in a dense liquid very different potentials have nearly the same g.

    Examples
    --------
    >>> r, u = np.arange(0.305, 0.8, 0.01), np.zeros((1, 50))
    >>> def gas(g): return xr.Dataset({"rdf": (("pair", "r"), g + u)}, {"pair": ["A-A"], "r": r})
    >>> start = xr.Dataset({"potential": (("pair", "r"), u)}, {"pair": ["A-A"], "r": r})
    >>> new = ibi_update(start, gas(1.0), gas(2.0), temperature=300.0)
    >>> float(new["potential"][0, 20].round(3))  # −kT ln 2
    -1.729
    """
    question = "ibi_update"
    if not (step > 0.0 and largest > 0.0):
        raise InputError(f"{question}: found step {step} and largest {largest}, expected positive numbers")
    kT = thermal_energy(temperature, question=question)
    found, wanted = (values_of(ds, kind, question=question) for ds in (model, target))
    same_bins(found, wanted, question=question)
    energy = energies_of(potential, wanted, question=question)
    there, sampled = found.sampled(fewest), wanted.sampled(fewest)
    _check_sampled(found, wanted, there, sampled, question)
    both = there & sampled
    ratio = np.where(both, found.value, 1.0) / np.where(both, wanted.value, 1.0)
    relative = np.hypot(
        found.error / np.where(both, found.value, 1.0), wanted.error / np.where(both, wanted.value, 1.0)
    )
    change = np.where(both, np.clip(step * kT * np.log(ratio), -largest * kT, largest * kT), np.nan)
    error = np.where(both, step * kT * relative, np.nan)
    report = agreement_of(found, wanted, tolerance=tolerance, fewest=fewest)
    moved = np.where(report["converged"].values[:, None], 0.0, change)
    alone = np.fmin(error, step * kT * np.hypot(_shot_noise(found), _shot_noise(wanted)))
    result, extrapolated = corrected(wanted, energy, moved, alone, sampled, kT=kT, question=question)
    dims = (wanted.kind, wanted.bin)
    return (
        report.assign_coords({wanted.bin: (wanted.bin, wanted.x, dict(target[wanted.bin].attrs))})
        .assign(
            potential=(dims, result, {"units": "kJ/mol", "long_name": "corrected potential"}),
            extrapolated=(dims, extrapolated, {"long_name": "bins without data"}),
            change=(dims, change, {"units": "kJ/mol", "long_name": "change of the potential"}),
            change_error=(dims, error, {"units": "kJ/mol", "long_name": "standard error of the change"}),
            coverage=(dims, covered(there, sampled), COVERAGE),
        )
        .assign_attrs(distribution=wanted.name, temperature=temperature, step=step)
    )


def _shot_noise(distribution: Values) -> Float:
    """Return the relative error (kind, bin) that independent counts would have, NaN where none are known."""
    return np.asarray(1.0 / np.sqrt(np.maximum(distribution.count, 1.0)), np.float64)


def _check_sampled(found: Values, wanted: Values, there: NDArray, sampled: NDArray, question: str) -> None:
    """Raise PhysicsError for a kind that exists and of which there is nothing to compare."""
    for row, name in enumerate(wanted.kinds):
        if np.isnan(wanted.value[row]).all():
            continue
        for who, values, where in (("model", found, there), ("target", wanted, sampled)):
            if not where[row].any():
                zero = (
                    "all zero" if not np.nan_to_num(values.value[row]).any() else "below the fewest counts everywhere"
                )
                raise PhysicsError(
                    f"{question}: the {wanted.title} of {name} in the {who} is {zero}, so there is nothing to compare; "
                    f"use more frames of the {who}, or leave the kind out"
                )
        if not (there & sampled)[row].any():
            raise PhysicsError(
                f"{question}: the {wanted.title} of {name} has no bin that model and target both sampled; "
                "start again from the potential of mean force of the target"
            )


def pressure_ramp(
    r: ArrayLike,
    counts: ArrayLike,
    *,
    volume: float,
    excess: float,
    temperature: float,
    cutoff: float | None = None,
    largest: float = 0.1,
) -> Float:
    """Return a linear change of all pair potentials, A (1 − r/r_c), that corrects the pressure of a model.

    Parameters
    ----------
    r : (bin,) nm, centres of bins
    counts : (bin,) mean number of pairs in a bin and frame, summed over the pairs of types that are changed
    volume : nm³
    excess : bar, pressure of the model less that of the target
    temperature : K
    cutoff : nm, the end of the last bin by default; the change is zero beyond
    largest : kT, of |A|

    Returns
    -------
    (bin,) kJ/mol

    Raises
    ------
    PhysicsError : no pair within the cutoff; volume or temperature not positive
    InputError : shapes differ

    Notes
    -----
    A pair force A/r_c adds A/(3 V r_c) Σ S(r) r to the pressure if the structure stays, so A = −3 V r_c ΔP / Σ S r.
    The structure does not stay: correct both in turn, and stop when the pressure is within its own error. Forces that
    reproduce structure and pressure spoil the compressibility. Wang, Junghans & Kremer 2009,
    doi:10.1140/epje/i2008-10413-5, with this factor instead of one found by trying.

    Examples
    --------
    >>> r = np.arange(0.05, 1.0, 0.1)
    >>> ramp = pressure_ramp(r, 1000.0 * r**2, volume=30.0, excess=100.0, temperature=300.0)
    >>> ramp.round(3).tolist()[:2], bool(ramp[-1] < 0.0)
    ([-0.207, -0.185], True)
    """
    distance, number = np.asarray(r, np.float64), np.nan_to_num(np.asarray(counts, np.float64))
    if distance.ndim != 1 or distance.shape != number.shape or len(distance) < 2:
        raise InputError(
            f"pressure_ramp: found r {distance.shape} and counts {number.shape}, expected (bin,) for both; "
            "sum the counts over pairs of types"
        )
    kT = thermal_energy(temperature, question="pressure_ramp")
    end = float(distance[-1] + 0.5 * (distance[-1] - distance[-2])) if cutoff is None else float(cutoff)
    lever = float((number * distance)[distance < end].sum())
    if not (volume > 0.0 and end > 0.0 and lever > 0.0):
        raise PhysicsError(
            f"pressure_ramp: found a volume of {volume:g} nm³ and {number.sum():g} pairs within {end:g} nm, "
            "expected both positive; no pair, no pressure"
        )
    height = np.clip(-3.0 * volume * end * (excess / BAR) / lever, -largest * kT, largest * kT)
    return np.asarray(np.where(distance < end, height * (1.0 - distance / end), 0.0), np.float64)
