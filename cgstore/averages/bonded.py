"""Distributions of bond lengths, angles and dihedrals, per kind of term, with their errors."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.averages.counting import Counter, Histogram, count_blocks, result_attrs
from cgstore.averages.estimates import distribution_of_blocks
from cgstore.errors import InputError, PhysicsError
from cgstore.kernels.bonded import count_terms
from cgstore.schema import check_dataset, topology_of
from cgstore.topology import Topology

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
)


def bonded(
    ds: xr.Dataset,
    *,
    bond_width: float = 0.002,
    bond_max: float = 1.0,
    angle_width: float = 1.0,
    dihedral_width: float = 2.0,
) -> xr.Dataset:
    """Return distributions of bonds, angles and dihedrals; nothing is read until they are computed.

    Parameters
    ----------
    ds : dataset of the schema with `position`, `type` and any of `bond`, `angle`, `dihedral`; `box`, `weight` if any
    bond_width, bond_max : nm; bins of bond lengths, from 0
    angle_width, dihedral_width : degrees; must divide 180 and 360

    Returns
    -------
    dataset, lazy: `bond` (bond_kind, r) in 1/nm, `angle` (angle_kind, theta) and `dihedral` (dihedral_kind, phi) in
    1/degree, each with `_error`, `_count`, `_correlation_time` in ps and `_blocks`; they integrate to 1. `r`, `theta`
    in 0..180 and `phi` in -180..180 are the centres of the bins. Kinds are the types of a term, read in the direction
    that comes first in the alphabet; without terms of a name the dim of its kinds has length 0

    Raises
    ------
    InputError : the bins make no sense
    PhysicsError : when computed: a bond longer than bond_max, or a position that is not finite

    Notes
    -----
    Vectors along bonds are nearest images if there is a box. Angles are plain densities, without the factor sin θ.
    Dihedrals have the sign of IUPAC: 0 is cis, and positive when, looking along the middle bond, the far bond is
    turned clockwise. doi:10.1351/goldbook.T06406

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
    widths = {"bond_width": bond_width, "bond_max": bond_max}
    widths |= {"angle_width": angle_width, "dihedral_width": dihedral_width}
    return bonded_from_blocks(bonded_blocks(ds, **widths))


def bonded_blocks(
    ds: xr.Dataset,
    *,
    bond_width: float = 0.002,
    bond_max: float = 1.0,
    angle_width: float = 1.0,
    dihedral_width: float = 2.0,
) -> xr.DataTree:
    """Return the block statistics that `bonded` is made from: nodes `bond`, `angle` and `dihedral`.

    Parameters and errors as `bonded`; see `cgstore.averages.blocks`.
    """
    parameters = {"bond_width": bond_width, "bond_max": bond_max}
    parameters |= {"angle_width": angle_width, "dihedral_width": dihedral_width}
    (blocks,) = count_blocks(ds, [bonded_counter(ds, **parameters)])
    attrs = result_attrs(ds, parameters)
    return xr.DataTree.from_dict(
        {term.name: part.assign_attrs(attrs) for term, part in zip(_TERMS, blocks, strict=True)}
    )


def bonded_from_blocks(blocks: xr.DataTree) -> xr.Dataset:
    """Return the distributions of block statistics; lazy if those are."""
    parts = [
        distribution_of_blocks(blocks[term.name].to_dataset(), name=term.name, count=f"{term.name}_count")
        for term in _TERMS
    ]
    return xr.merge(parts, combine_attrs="override", compat="override", join="exact")


def bonded_counter(
    ds: xr.Dataset, *, bond_width: float, bond_max: float, angle_width: float, dihedral_width: float
) -> Counter:
    """Return how the frames of a dataset are counted; parameters and errors as `bonded`."""
    check_dataset(ds)
    title = str(ds.attrs.get("name", "this dataset"))
    topology = topology_of(ds)
    widths = {"bond": bond_width, "angle": angle_width, "dihedral": dihedral_width}
    histograms, questions = [], []
    for term in _TERMS:
        high = bond_max if term.name == "bond" else term.high
        edges = _edges(title, term, widths[term.name], high)
        ends = getattr(topology, term.name)
        kinds, row = _kinds(topology, ends)
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
        questions.append((term, ends, row, edges))
    return Counter("bonded", tuple(histograms), partial(_count, title, topology.name, histograms, questions))


def _edges(title: str, term: _Term, width: float, high: float) -> NDArray[np.float64]:
    """Return the edges of the bins of one term."""
    span = high - term.low
    bins = round(span / width) if 0 < width <= span < np.inf else 0
    if bins < 1 or abs(bins * width - span) > 1e-6 * span:
        reason = f"a width that divides {span:g} {term.unit}"
        raise InputError(f"bonded of {title}: found {term.name}_width = {width}, expected {reason}")
    return np.asarray(term.low + np.arange(bins + 1) * (span / bins), np.float64)


def _kinds(topology: Topology, ends: NDArray[np.int32]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Return the kinds of terms in alphabetical order, and the kind of each term."""
    names = [tuple(str(name) for name in types) for types in topology.type[ends]]
    found = [min(types, types[::-1]) for types in names]
    kinds = sorted(set(found))
    place = {kind: number for number, kind in enumerate(kinds)}
    return tuple("-".join(kind) for kind in kinds), np.array([place[kind] for kind in found], np.int64)


def _count(
    title: str,
    names: NDArray[np.str_],
    histograms: Sequence[Histogram],
    questions: Sequence[tuple[_Term, NDArray[np.int32], NDArray[np.int64], NDArray[np.float64]]],
    position: np.ndarray,
    box: NDArray[np.float64] | None,
    first: int,
) -> list[tuple[NDArray[np.uint32], NDArray[np.float64]]]:
    """Count the terms of every frame."""
    frames = len(position)
    boxes = np.zeros((frames, 3, 3)) if box is None else box
    inverse = boxes if box is None else np.ascontiguousarray(np.linalg.inv(box))
    results, one = [], np.ones(frames)
    for histogram, (term, ends, row, edges) in zip(histograms, questions, strict=True):
        shape = (frames, *histogram.norm.shape)
        counts, total = np.zeros(shape, np.int64), np.zeros(shape)
        if len(ends):
            width = edges[1] - edges[0]
            frame, place, value = count_terms(
                position, boxes, inverse, one, 1, ends, row, edges[0], width, counts, total
            )
            if frame >= 0:
                raise _failure(title, names, term, ends[place], first + frame, value, float(edges[-1]))
        results.append((counts.astype(np.uint32), one))
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
