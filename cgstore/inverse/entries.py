"""Counts and the entries of a covariance: from distributions to mean counts of a frame, and back to (kind, bin)."""

from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from cgstore.errors import InputError, NotFound, PhysicsError
from cgstore.inverse.layout import Kind, Values, values_of

__all__ = ["Convention", "counts_of_distribution", "entries_of", "from_entries", "on_entries"]

Float = NDArray[np.float64]
Convention = Literal["countable", "n_squared"]


def counts_of_distribution(
    distribution: xr.Dataset,
    norm: xr.DataArray,
    *,
    volume: ArrayLike | None = None,
    convention: Convention = "countable",
    particles: Mapping[str, int] | None = None,
    kind: Kind | None = None,
) -> xr.Dataset:
    """Return the mean counts of a frame that a distribution means for a system: what a model is to have.

    Parameters
    ----------
    distribution : of the reference, which may have another number of particles than the system
    norm : (kind, bin), `norm` of block statistics of the system: pairs that may be counted times shell in nm³, or terms
        times bin width
    volume : nm³, of the system, for an rdf; of every frame (frame,) where it changes
    convention : of the reference: "countable", ours, g → 1 in an ideal gas of any size; "n_squared", that of VOTCA and
        others, which divide by N²/2 for like types and N·M for unlike ones, whatever is excluded
    particles : number of particles per type of the system, for "n_squared"
    kind : which distribution, where a dataset has several: rdf, bond, angle, dihedral, improper

    Returns
    -------
    dataset with `counts` and `counts_error` on (kind, bin); the error is NaN where that of the distribution is

    Raises
    ------
    InputError : no volume for an rdf, no numbers of particles for "n_squared", other kinds or bins in `norm`
    PhysicsError : a volume that is not positive

    Notes
    -----
    S = g · norm · ⟨1/V⟩, which is exact at constant volume; in a box that changes, g = ⟨V h⟩/norm holds what counts
    and volume share. Invert at constant volume where you can. With "n_squared" a pair of like types is
    S = g · N²/2 · shell ⟨1/V⟩, so that N/(N−1) is no longer hidden in the potential.

    Examples
    --------
    >>> r = [0.05, 0.15, 0.25]
    >>> g = xr.Dataset({"rdf": (("pair", "r"), [[0.0, 0.5, 1.0]])}, {"pair": ["A-A"], "r": r})
    >>> norm = xr.DataArray([[0.2, 1.3, 3.6]], dims=("pair", "r"), coords={"pair": ["A-A"], "r": r})
    >>> counts_of_distribution(g, norm, volume=10.0)["counts"].values.round(3).tolist()
    [[0.0, 0.065, 0.36]]
    """
    question = "counts_of_distribution"
    found = values_of(distribution, kind, question=question)
    factor = _norm_on(found, norm, question)
    if found.name == "rdf":
        if volume is None:
            raise InputError(f"{question}: found no volume, expected that of the system in nm³; an rdf has none")
        volumes = np.atleast_1d(np.asarray(volume, np.float64))
        if not (volumes > 0.0).all():
            raise PhysicsError(f"{question}: found a volume of {volumes.min():g} nm³, expected a positive one")
        if convention == "n_squared":
            factor = _all_pairs(found, particles, question)
        factor = factor * float((1.0 / volumes).mean())
    dims = (found.kind, found.bin)
    label = {"units": "1", "long_name": "mean count of a frame"}
    return xr.Dataset(
        {
            "counts": (dims, np.nan_to_num(found.value) * factor, label),
            "counts_error": (dims, found.error * factor, label | {"long_name": "standard error of the mean count"}),
        },
        {found.kind: list(found.kinds), found.bin: found.x},
        {"distribution": found.name},
    )


def on_entries(counts: Iterable[xr.Dataset], covariance: xr.Dataset) -> xr.Dataset:
    """Return counts in the order of the entries of a covariance dataset.

    Parameters
    ----------
    counts : results of `counts_of_distribution`, one per distribution of the covariance
    covariance : covariance dataset, or a result on its entries

    Returns
    -------
    dataset with `counts` and `counts_error` on (entry)

    Raises
    ------
    InputError : a distribution, kind or bin of the covariance has no counts
    """
    given = {str(part.attrs["distribution"]): part for part in counts}
    labels, kinds, x = entries_of(covariance)
    mean, error = np.full(len(x), np.nan), np.full(len(x), np.nan)
    for label in dict.fromkeys(labels):
        if label not in given:
            raise InputError(f"on_entries: found counts of {', '.join(given) or 'nothing'}, expected some of {label}")
        part = given[label]
        rows, bins = map(str, part["counts"].dims)
        centres, known = part[bins].values, list(map(str, part[rows].values))
        for kind in dict.fromkeys(kinds[labels == label]):
            if kind not in known:
                raise InputError(f"on_entries: found {label} of {', '.join(known)}, expected that of {kind} as well")
            here = np.flatnonzero((labels == label) & (kinds == kind))
            place = np.abs(centres[None, :] - x[here, None]).argmin(axis=1)
            far = np.abs(centres[place] - x[here]) > 0.01 * (centres[1] - centres[0])
            if far.any():
                raise InputError(
                    f"on_entries: found no counts of {label} {kind} at {x[here][far][0]:g}; "
                    "compute the reference with the bins of the covariance"
                )
            mean[here] = part["counts"].values[known.index(kind), place]
            error[here] = part["counts_error"].values[known.index(kind), place]
    return xr.Dataset(
        {"counts": ("entry", mean, {"units": "1"}), "counts_error": ("entry", error, {"units": "1"})},
        {name: covariance[name] for name in ("distribution", "kind", "x")},
    )


def from_entries(result: xr.Dataset, distribution: Kind) -> xr.Dataset:
    """Return the variables on (entry) of one distribution on (kind, bin); what a kind has no entry for is NaN or zero.

    Raises
    ------
    NotFound : no entry is of that distribution
    """
    labels, kinds, x = entries_of(result)
    here = np.flatnonzero(labels == distribution)
    if not len(here):
        raise NotFound(f"from_entries: found entries of {', '.join(sorted(set(labels)))}, but none of {distribution}")
    names, row = list(dict.fromkeys(kinds[here])), {}
    row = {name: number for number, name in enumerate(names)}
    centres, column = np.unique(x[here].round(9), return_inverse=True)
    place = (np.array([row[name] for name in kinds[here]]), column)
    dims = _dims(distribution)
    variables = {}
    for name, array in result.data_vars.items():
        if array.dims == ("entry",):
            floating = np.issubdtype(array.dtype, np.floating)
            table = np.full((len(names), len(centres)), np.nan if floating else 0, array.dtype)
            table[place] = array.values[here]
            variables[name] = (dims, table, array.attrs)
    return xr.Dataset(variables, {dims[0]: names, dims[1]: centres}, result.attrs | {"distribution": distribution})


def entries_of(covariance: xr.Dataset) -> tuple[NDArray[np.str_], NDArray[np.str_], Float]:
    """Return distribution, kind and centre of the bin of each entry (entry,)."""
    labels, kinds = (np.asarray(covariance[name].values, np.str_) for name in ("distribution", "kind"))
    return labels, kinds, np.asarray(covariance["x"].values, np.float64)


def _dims(distribution: Kind) -> tuple[str, str]:
    """Return the dims that results of a distribution have."""
    if distribution == "rdf":
        return "pair", "r"
    return f"{distribution}_kind", {"bond": "r", "angle": "theta"}.get(distribution, "phi")


def _norm_on(found: Values, norm: xr.DataArray, question: str) -> Float:
    """Return the normalisation (kind, bin) of the kinds of a distribution."""
    array = np.asarray(norm.values, np.float64)
    known = list(map(str, norm[norm.dims[0]].values)) if norm.ndim == 2 else []
    lacking = [name for name in found.kinds if name not in known]
    if lacking or array.shape[1] != len(found.x):
        raise InputError(
            f"{question}: found a norm of {', '.join(known) or 'nothing'} {array.shape}, expected one of "
            f"{', '.join(found.kinds)} on {len(found.x)} bins; take `norm` of blocks with the same bins"
        )
    return array[[known.index(name) for name in found.kinds]]


def _all_pairs(found: Values, particles: Mapping[str, int] | None, question: str) -> Float:
    """Return N²/2 or N·M times the shells (kind, bin)."""
    pairs = []
    for name in found.kinds:
        known = particles or {}
        splits = [(name[:cut], name[cut + 1 :]) for cut, letter in enumerate(name) if letter == "-"]
        ends = [(a, b) for a, b in splits if a in known and b in known]
        if len(ends) != 1:
            raise InputError(
                f"{question}: found numbers of particles of {', '.join(known) or 'no type'}, expected those of both "
                f"types of {name}, since the reference divides by N squared"
            )
        a, b = ends[0]
        pairs.append(known[a] * known[b] / (2.0 if a == b else 1.0))
    return np.outer(pairs, 4.0 / 3.0 * np.pi * np.diff(found.edges**3))
