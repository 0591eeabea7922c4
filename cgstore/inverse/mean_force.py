"""Potentials of mean force: −kT ln of a distribution, with errors, smoothed by them, and whole where no data are."""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.errors import PhysicsError
from cgstore.inverse.filling import fill
from cgstore.inverse.layout import Kind, Values, thermal_energy, values_of
from cgstore.inverse.sampled import FEWEST

__all__ = ["jacobian", "potential_of_mean_force", "refill"]

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

_FEWEST_BINS = 3


def potential_of_mean_force(
    distribution: xr.Dataset, *, temperature: float, kind: Kind | None = None, fewest: float = FEWEST
) -> xr.Dataset:
    """Return the potentials of mean force of every pair of types, or of every kind of bond, angle or dihedral.

    Parameters
    ----------
    distribution : result of `cgstore.rdf` or `cgstore.bonded`; for another program's, `rdf` on (pair, r) is enough
    temperature : K
    kind : which distribution, where a dataset has several: rdf, bond, angle, dihedral, improper
    fewest : counts that make a bin sampled

    Returns
    -------
    dataset on (kind, bin), in kJ/mol: `pmf` and `pmf_error`, NaN where the bin was not sampled; `potential`, smoothed
    as far as the errors allow, with walls where there are no data; `extrapolated`, where that is. An rdf is relative
    to g = 1, bonded ones have their minimum at 0. A kind of which there are no pairs or terms (NaN) stays NaN

    Raises
    ------
    PhysicsError : a kind with pairs or terms that was sampled in fewer than three bins, all zero for example; a
        negative value; the temperature is not positive
    InputError : not one distribution

    Notes
    -----
    U = −kT ln g; −kT ln(p/r²) for bonds and −kT ln(p/sin θ) for angles, with the mean of r² and sin θ over the bin,
    so that a free pair has a constant potential; −kT ln p for dihedrals. Errors are δU = kT δg/g. The logarithm is
    biased by kT/2 (δg/g)², which is small against δU while δg/g < 0.5; rarer bins are left out by `fewest`. Where
    blocks were too few for errors they are NaN, and the smoothing takes counts as independent.

    It is a start, not a potential: all other particles are in it. Soper 1996, doi:10.1016/0301-0104(95)00357-6, for
    the start of an inversion; Whittaker's smoother: Eilers 2003, doi:10.1021/ac034173t; as smooth as the errors allow:
    Reinsch 1967, doi:10.1007/BF02162161. Walls: see `filling.fill`.

    Examples
    --------
    >>> r = np.arange(20) * 0.01 + 0.305
    >>> p = (r**2 + 0.01**2 / 12.0) * np.exp(-0.5 * 5000.0 * (r - 0.4) ** 2 / (0.008314462618 * 300.0))
    >>> bond = xr.Dataset({"bond": (("bond_kind", "r"), [p])}, {"bond_kind": ["A-A"], "r": r})
    >>> u = potential_of_mean_force(bond, temperature=300.0)["potential"][0]
    >>> float((np.diff(u, 2).mean() / 0.01**2).round(3))  # the force constant, kJ/mol/nm²
    5000.0
    """
    question = "potential_of_mean_force"
    kT = thermal_energy(temperature, question=question)
    found = values_of(distribution, kind, question=question)
    sampled = found.sampled(fewest)
    density = found.value / jacobian(found)
    safe = np.where(sampled, density, 1.0)
    energy = np.where(sampled, -kT * np.log(safe), np.nan)
    error = np.where(sampled, kT * found.error / np.where(sampled, found.value, 1.0), np.nan)
    counted = np.where(sampled, kT / np.sqrt(np.fmax(found.count, 1.0)), np.nan)
    unknown = np.isnan(error).all(axis=1, keepdims=True) & ~np.isnan(found.count)
    potential, extrapolated = refill(found, energy, np.where(unknown, counted, error), kT, question)
    if found.name != "rdf":
        with np.errstate(invalid="ignore"):
            zero = np.nan_to_num(np.fmin.reduce(potential, axis=1, initial=np.inf), posinf=np.nan)[:, None]
        energy, potential = energy - zero, potential - zero
    return _dataset(found, energy, error, potential, extrapolated, temperature, distribution)


def jacobian(found: Values) -> Float:
    """Return what a constant potential has for a density in each bin (bin,), up to a factor: r², sin θ or 1."""
    low, high = found.edges[:-1], found.edges[1:]
    if found.name == "bond":
        return np.asarray((high**3 - low**3) / (3.0 * (high - low)), np.float64)
    if found.name == "angle":
        low, high = np.radians(low), np.radians(np.minimum(high, 180.0))
        return np.asarray((np.cos(low) - np.cos(high)) / (high - low), np.float64)
    return np.ones_like(low)


def refill(found: Values, energy: Float, error: Float, kT: float, question: str) -> tuple[Float, Bool]:
    """Return smooth energies (kind, bin) without gaps, and where they are extrapolated; kinds of NaN stay NaN.

    Raises
    ------
    PhysicsError : energies of a kind are known in fewer than three bins, though it has pairs or terms
    """
    potential, extrapolated = np.full_like(energy, np.nan), np.ones(energy.shape, np.bool_)
    for row, name in enumerate(found.kinds):
        if np.isnan(found.value[row]).all():
            continue
        known = np.count_nonzero(np.isfinite(energy[row]))
        if known < _FEWEST_BINS:
            zero = "all zero" if not found.value[row].any() else f"sampled in {known} of {len(found.x)} bins"
            raise PhysicsError(
                f"{question}: the {found.title} of {name} is {zero}, expected {_FEWEST_BINS} sampled bins at least; "
                "use more frames, wider bins or a larger range, or leave the kind out"
            )
        potential[row], extrapolated[row] = fill(
            energy[row],
            error[row],
            kT=kT,
            walls=(True, found.name != "rdf"),
            natural=found.name == "angle",
            periodic=_is_circle(found),
        )
    return potential, extrapolated


def _is_circle(found: Values) -> bool:
    """Say whether the bins close: dihedrals over 360 degrees."""
    span = found.edges[-1] - found.edges[0]
    return found.name in ("dihedral", "improper") and abs(span - 360.0) < 0.01 * (found.edges[1] - found.edges[0])


def _dataset(
    found: Values,
    energy: Float,
    error: Float,
    potential: Float,
    extrapolated: Bool,
    temperature: float,
    source: xr.Dataset,
) -> xr.Dataset:
    """Return the result with its labels."""
    dims = (found.kind, found.bin)
    zero = "g = 1" if found.name == "rdf" else "its minimum"
    return xr.Dataset(
        {
            "pmf": (dims, energy, {"units": "kJ/mol", "long_name": "potential of mean force"}),
            "pmf_error": (
                dims,
                error,
                {"units": "kJ/mol", "long_name": "standard error of the potential of mean force"},
            ),
            "potential": (dims, potential, {"units": "kJ/mol", "long_name": "smooth potential without gaps"}),
            "extrapolated": (dims, extrapolated, {"long_name": "bins without data"}),
        },
        {found.kind: list(found.kinds), found.bin: (found.bin, found.x, dict(source[found.bin].attrs))},
        {"distribution": found.name, "temperature": temperature, "zero": zero}
        | {key: source.attrs[key] for key in ("name", "digest", "version") if key in source.attrs},
    )
