"""Distributions of bond lengths, angles, dihedrals and improper dihedrals, per kind of term, with their errors."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.averages.counting import Counter, Histogram, count_blocks, result_attrs
from cgstore.averages.device import TermKernel, term_kernel
from cgstore.averages.estimates import distribution_of_blocks
from cgstore.errors import InputError, PhysicsError
from cgstore.kernels.bonded import count_arranged
from cgstore.kernels.terms import Terms, arrange
from cgstore.schema import check_dataset, topology_of
from cgstore.topology import Topology, impropers_of_bonds

__all__ = ["bonded", "bonded_blocks", "bonded_counter", "bonded_from_blocks"]


@dataclass(frozen=True, slots=True)
class _Term:
    """What is common to all terms of one name."""

    name: str
    bin: str  # name of the dim of bins
    low: float  # first edge
    high: float  # last edge; infinite where the user says how far
    unit: str
    quantity: str


_TERMS = (
    _Term("bond", "r", 0.0, np.inf, "nm", "bond length r"),
    _Term("angle", "theta", 0.0, 180.0, "degree", "angle θ"),
    _Term("dihedral", "phi", -180.0, 180.0, "degree", "dihedral φ"),
    _Term("improper", "xi", -180.0, 180.0, "degree", "improper dihedral ξ"),
)


def bonded(
    ds: xr.Dataset,
    *,
    bond_width: float = 0.002,
    bond_max: float = 1.0,
    angle_width: float = 1.0,
    dihedral_width: float = 2.0,
    improper_width: float = 2.0,
    device: str | None = None,
) -> xr.Dataset:
    """Return distributions of bonds, angles, dihedrals and impropers; nothing is read until they are computed.

    Parameters
    ----------
    ds : dataset of the schema with `position`, `type` and any of `bond`, `angle`, `dihedral`; `box`, `weight` if any
    bond_width, bond_max : nm; bins of bond lengths, from 0
    angle_width, dihedral_width, improper_width : degrees; must divide 180, 360 and 360
    device : "cuda" counts with torch on a GPU, see `cgstore.averages.device`; by default compiled code counts

    Returns
    -------
    dataset, lazy: `bond` (bond_kind, r) in 1/nm, `angle` (angle_kind, theta), `dihedral` (dihedral_kind, phi) and
    `improper` (improper_kind, xi) in 1/degree, each with `_error`, `_count`, `_correlation_time` in ps and `_blocks`;
    they integrate to 1. `r`, `theta` in 0..180, `phi` and `xi` in -180..180 are the centres of the bins. Kinds are the
    types of a term, read in the direction that comes first in the alphabet, those of impropers the type of the centre
    and then the other three in alphabetical order; without terms of a name the dim of its kinds has length 0. Bins
    that no frame has hit have `_count` 0 and an `_error` of NaN

    Raises
    ------
    InputError : the bins make no sense
    PhysicsError : when computed: a bond longer than bond_max, or a position that is not finite

    Notes
    -----
    Vectors along bonds are nearest images if there is a box, certainly so up to half its smallest height. Angles are
    plain densities p(θ), without the factor sin θ; the potential of mean force of an angle is −kT ln(p(θ) / sin θ),
    that of a bond −kT ln(p(r) / r²), that of dihedrals −kT ln p(φ). Rühle et al. 2009, doi:10.1021/ct900369w

    Dihedrals have the sign of IUPAC: 0 is cis, and positive when, looking along the middle bond, the far bond is
    turned clockwise. doi:10.1351/goldbook.T06406

    Every particle i with exactly three bonded neighbours makes an improper: ξ is the angle between the planes (i, j, k)
    and (j, k, l) with the sign of the dihedral i-j-k-l, as GROMACS (manual, "Improper dihedrals") and CHARMM define it:
    0 when the four lie in one plane, about ±35.3 at a tetrahedral centre, positive when j, k, l run clockwise as seen
    from the centre. j, k, l are the neighbours in the alphabetical order of their types; equal types are in the order
    of their indices, so of neighbours that the types do not tell apart the sign says only how they are numbered.
    Centres of four neighbours make none; in rings there is nothing special.

    Counting is in float32 and the same on every machine. Values are wrong by 10⁻⁶ nm and some 10⁻⁴ degrees at most in
    boxes of 10 nm, by 3 · 10⁻⁵ degrees where molecules are whole; dihedrals by more where one of their angles is nearly
    straight and they are hardly defined. `cgstore.kernels.bonded` has the bounds.

    Examples
    --------
    >>> x = np.zeros((10, 3, 3), np.float32)
    >>> x[:, 0, 0], x[:, 2, 1] = 0.301, 0.401
    >>> three = xr.Dataset(
    ...     {"position": (("frame", "particle", "xyz"), x), "bond": (("bond", "end"), [[0, 1], [1, 2]]),
    ...      "angle": (("angle", "end3"), [[0, 1, 2]])}, {"type": ("particle", ["B", "A", "B"])})
    >>> b = bonded(three)
    >>> b.bond_kind.values.tolist(), b.angle_kind.values.tolist()
    (['A-B'], ['B-A-B'])
    >>> float(b.angle.sel(angle_kind="B-A-B", theta=90.5))
    1.0
    """
    widths = {"bond_width": bond_width, "bond_max": bond_max, "angle_width": angle_width}
    widths |= {"dihedral_width": dihedral_width, "improper_width": improper_width}
    return bonded_from_blocks(bonded_blocks(ds, **widths, device=device))


def bonded_blocks(
    ds: xr.Dataset,
    *,
    bond_width: float = 0.002,
    bond_max: float = 1.0,
    angle_width: float = 1.0,
    dihedral_width: float = 2.0,
    improper_width: float = 2.0,
    device: str | None = None,
) -> xr.DataTree:
    """Return the block statistics that `bonded` is made from: nodes `bond`, `angle`, `dihedral`, `improper`.

    Parameters and errors as `bonded`; see `cgstore.averages.blocks`.
    """
    parameters = {"bond_width": bond_width, "bond_max": bond_max, "angle_width": angle_width}
    parameters |= {"dihedral_width": dihedral_width, "improper_width": improper_width}
    (blocks,) = count_blocks(ds, [bonded_counter(ds, **parameters, device=device)])
    attrs = result_attrs(ds, parameters)
    return xr.DataTree.from_dict(
        {term.name: part.assign_attrs(attrs) for term, part in zip(_TERMS, blocks, strict=True)}
    )


def bonded_from_blocks(blocks: xr.DataTree) -> xr.Dataset:
    """Return the distributions of block statistics, of those terms that are there; lazy if those are."""
    parts = [
        distribution_of_blocks(blocks[term.name].to_dataset(), name=term.name, count=f"{term.name}_count")
        for term in _TERMS
        if term.name in blocks.children
    ]
    return xr.merge(parts, combine_attrs="override", compat="override", join="exact")


def bonded_counter(
    ds: xr.Dataset,
    *,
    bond_width: float,
    bond_max: float,
    angle_width: float,
    dihedral_width: float,
    improper_width: float = 2.0,
    device: str | None = None,
) -> Counter:
    """Return how the frames of a dataset are counted; parameters and errors as `bonded`."""
    check_dataset(ds)
    title = str(ds.attrs.get("name", "this dataset"))
    topology = topology_of(ds)
    widths = {"bond": bond_width, "angle": angle_width, "dihedral": dihedral_width, "improper": improper_width}
    histograms, ends, rows = [], [], []
    for term in _TERMS:
        high = bond_max if term.name == "bond" else term.high
        edges = _edges(title, term, widths[term.name], high)
        members = _impropers(topology) if term.name == "improper" else getattr(topology, term.name)
        kinds, row = _kinds(topology, members, either=term.name != "improper")
        ends.append(members)
        rows.append(row)
        terms_of_kind = np.bincount(row, minlength=len(kinds)).astype(np.float64)
        histograms.append(
            Histogram(
                name=term.name,
                kind=f"{term.name}_kind",
                kinds=kinds,
                bin=term.bin,
                edges=edges,
                norm=terms_of_kind[:, None] * np.diff(edges),
                bin_attrs={"units": term.unit, "long_name": term.quantity},
                attrs={"units": f"1/{term.unit}", "long_name": f"density of the {term.quantity}"},
            )
        )
    low, width = [h.edges[0] for h in histograms], [h.edges[1] - h.edges[0] for h in histograms]
    terms = arrange(ends, rows, low, width)
    count = partial(_count, title, topology.name, histograms, ends, terms)
    if device is not None:
        count = partial(_count_on, term_kernel(device), title, topology.name, histograms, ends, rows)
    return Counter("bonded", tuple(histograms), count)


def _edges(title: str, term: _Term, width: float, high: float) -> NDArray[np.float64]:
    """Return the edges of the bins of one term."""
    span = high - term.low
    bins = round(span / width) if 0 < width <= span < np.inf else 0
    if bins < 1 or abs(bins * width - span) > 1e-6 * span:
        reason = f"a width that divides {span:g} {term.unit}"
        raise InputError(f"bonded of {title}: found {term.name}_width = {width}, expected {reason}")
    return np.asarray(term.low + np.arange(bins + 1) * (span / bins), np.float64)


def _impropers(topology: Topology) -> NDArray[np.int32]:
    """Return the impropers of the bonds, the neighbours of each centre in the order of their types."""
    found = impropers_of_bonds(topology.bond, len(topology))
    order = np.argsort(topology.type[found[:, 1:]], axis=1, kind="stable")
    return np.concatenate([found[:, :1], np.take_along_axis(found[:, 1:], order, axis=1)], axis=1)


def _kinds(topology: Topology, ends: NDArray[np.int32], *, either: bool) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Return the kinds of terms in alphabetical order, and the kind of each term, read in `either` direction."""
    names, code = np.unique(topology.type, return_inverse=True)
    walked = code[ends]  # (term, end), numbers in the order of the alphabet
    if either and len(ends):
        differs = walked != walked[:, ::-1]
        first = differs.argmax(axis=1)[:, None]
        forward = np.take_along_axis(walked, first, 1) <= np.take_along_axis(walked[:, ::-1], first, 1)
        walked = np.where(forward, walked, walked[:, ::-1])
    _, chosen, row = np.unique(_ranks(walked, len(names)), return_index=True, return_inverse=True)
    return tuple("-".join(names[kind].tolist()) for kind in walked[chosen]), np.asarray(row, np.int64)


def _ranks(walked: NDArray[np.intp], types: int) -> NDArray[np.int64]:
    """Return one number per row of type numbers, in the order of the rows."""
    rank = np.zeros(len(walked), np.int64)
    for column in walked.T:  # ranks stay below the number of rows, so nothing overflows
        rank = np.unique(rank * types + column, return_inverse=True)[1].astype(np.int64)
    return rank


def _count(
    title: str,
    names: NDArray[np.str_],
    histograms: Sequence[Histogram],
    ends: Sequence[NDArray[np.int32]],
    terms: Terms,
    position: np.ndarray,
    box: NDArray[np.float64] | None,
    first: int,
) -> list[tuple[NDArray[np.uint32], NDArray[np.float64]]]:
    """Count the terms of every frame."""
    frames = len(position)
    with np.errstate(over="ignore"):  # what is beyond float32 is said to be not finite
        single = np.ascontiguousarray(position, np.float32)
    boxes = np.zeros((frames, 3, 3)) if box is None else box
    inverse = boxes if box is None else np.ascontiguousarray(np.linalg.inv(box))
    counts = tuple(np.zeros((frames, *histogram.norm.shape), np.uint32) for histogram in histograms)
    frame, place, value = count_arranged(
        single, boxes, inverse, terms.arrow, terms.term, terms.sign, terms.kind, terms.low, terms.scale, counts
    )
    if frame >= 0:
        number = int(terms.kind[terms.kind[:, 4] > place][0, 0])
        which = ends[number][terms.origin[place]]
        high = float(histograms[number].edges[-1])
        raise _failure(title, names, _TERMS[number], which, first + frame, float(value), high)
    one = np.ones(frames)
    return [(part, one) for part in counts]


def _count_on(
    kernel: TermKernel,
    title: str,
    names: NDArray[np.str_],
    histograms: Sequence[Histogram],
    ends: Sequence[NDArray[np.int32]],
    rows: Sequence[NDArray[np.int64]],
    position: np.ndarray,
    box: NDArray[np.float64] | None,
    first: int,
) -> list[tuple[NDArray[np.uint32], NDArray[np.float64]]]:
    """Count the terms of every frame on a device."""
    frames = len(position)
    boxes = np.zeros((frames, 3, 3)) if box is None else box
    inverse = boxes if box is None else np.ascontiguousarray(np.linalg.inv(box))
    results, one = [], np.ones(frames)
    for number, (histogram, members, row) in enumerate(zip(histograms, ends, rows, strict=True)):
        counts = np.zeros((frames, *histogram.norm.shape), np.uint32)
        if len(members):
            low, width = histogram.edges[0], histogram.edges[1] - histogram.edges[0]
            frame, place, value = kernel(position, boxes, inverse, members, row, low, width, counts)
            if frame >= 0:
                high = float(histogram.edges[-1])
                raise _failure(title, names, _TERMS[number], members[place], first + frame, float(value), high)
        results.append((counts, one))
    return results


def _failure(title: str, names: Any, term: _Term, ends: Any, frame: int, value: float, high: float) -> PhysicsError:
    """Say which term of which frame cannot be counted."""
    which = "-".join(f"{names[end]}({end})" for end in ends)
    if not np.isfinite(value):
        return PhysicsError(
            f"bonded of {title}: the {term.name} {which} of frame {frame} has a position that is not finite; "
            "leave that frame out"
        )
    return PhysicsError(
        f"bonded of {title}: the bond {which} is {value:.4g} nm long in frame {frame}, beyond bond_max = {high:g} nm; "
        "use a larger bond_max, or see whether the molecule is broken across the box"
    )
