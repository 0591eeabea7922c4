"""Frames of molecules: how often each node of each table counts in a frame, and the distributions of every frame.

With linear weights the energy of a frame is one dot product with the energies at the nodes, whatever the potentials
are, so the weights are computed once: for pairs by `cgstore.learn.potential.pair_weights`, from which those that are
left to the bonds are taken off, for bonds, angles and dihedrals here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cgstore.box import minimum_image
from cgstore.learn.molecular import Exclusion, excluded_pairs, term_kinds
from cgstore.learn.potential import pair_names, pair_weights
from cgstore.tables import Term
from cgstore.topology import Topology

__all__ = ["PairFrames", "TermGoal", "TermNodes", "pair_frames", "term_densities", "term_values", "term_weights"]

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class PairFrames:
    """What the pairs of some frames say."""

    weight: Float  # (frame, pair, node)
    count: Float  # (frame, pair, bin)
    countable: Float  # (pair,) pairs of particles that may be counted


@dataclass(frozen=True, slots=True)
class TermNodes:
    """The nodes of the table of one kind of bond, angle or dihedral."""

    term: Term
    kind: str  # "A-B", "A-B-C", "A-B-C-D" as in `cgstore.bonded`
    low: float  # nm or degrees
    high: float
    nodes: int


@dataclass(frozen=True, slots=True, eq=False)
class TermGoal:
    """The densities of the kinds of one term that a model is to reproduce, with the scale of deviations."""

    term: Term
    kinds: tuple[str, ...]
    low: float  # where the first bin begins, nm or degrees
    width: float
    value: Float  # (kind, bin) 1/nm or 1/degree
    sigma: Float  # (kind, bin)


def pair_frames(
    position: ArrayLike,
    box: ArrayLike,
    topology: Topology,
    *,
    exclude_bonded: Exclusion,
    known: Sequence[str],
    spacing: float,
    nodes: int,
    width: float = 1.0,
    bins: int = 0,
) -> PairFrames:
    """Return weights of nodes and counts in bins of the pairs that are not left to the bonds.

    Parameters
    ----------
    position, box : (frame, particle, xyz) and (frame, box_vector, xyz) nm
    topology : of the particles
    exclude_bonded : as in `cgstore.rdf`
    known : the types in the order of the pairs
    spacing, nodes, width, bins : nodes at n * spacing, bins [b, b + 1) * width in nm

    Raises
    ------
    InputError : a type is not known
    PhysicsError : the last node or bin is beyond half the smallest box height
    """
    types = topology.type.tolist()
    weight, count = pair_weights(
        position, box, types, known=known, spacing=spacing, nodes=nodes, width=width, bins=bins
    )
    names, many = pair_names(known), {name: types.count(name) for name in known}
    split = [name.split("-") for name in names]
    countable = np.array([many[a] * (many[a] - 1) / 2.0 if a == b else float(many[a] * many[b]) for a, b in split])
    left_out = excluded_pairs(topology, exclude_bonded)
    if not len(left_out):
        return PairFrames(weight, count.astype(np.float64), countable)
    kind = np.array([names.index("-".join(sorted(types[i] for i in pair))) for pair in left_out])
    r, _ = term_values(position, box, left_out)
    weight -= _spread(r, np.ones_like(r), kind, 0.0, spacing, weight.shape[1:], beyond=False)
    inside = np.floor(r / width)
    place = np.where(inside < bins, inside, -1.0)
    taken = _counted(place, kind, count.shape[1:])
    return PairFrames(weight, count - taken, countable - np.bincount(kind, minlength=len(names)))


def term_values(
    position: ArrayLike, box: ArrayLike, ends: NDArray[np.int32], *, fade: float = 0.0
) -> tuple[Float, Float]:
    """Return the values of terms (frame, term) in nm or degrees, and how much of each one there is, 0 to 1.

    Parameters
    ----------
    position, box : (frame, particle, xyz) and (frame, box_vector, xyz) nm
    ends : (term, 2), (term, 3) or (term, 4) particles, of bonds, angles or dihedrals
    fade : degrees from straight at which a dihedral begins to fade, as `cgstore.learn.molecular.Molecular` says

    Examples
    --------
    >>> x = [[[0.0, 0.0, 0.0], [0.3, 0.0, 0.0], [0.3, 0.4, 0.0]]]
    >>> value, _ = term_values(x, [np.eye(3)], np.array([[0, 1, 2]]))
    >>> value.round(6).tolist()
    [[90.0]]
    """
    places, boxes = np.asarray(position, np.float64), np.asarray(box, np.float64)
    arrows = minimum_image(
        places[:, ends[:, 1:]] - places[:, ends[:, :-1]], boxes[:, None]
    )  # (frame, term, arrow, xyz)
    a = arrows[:, :, 0]
    whole = np.ones(a.shape[:2])
    if ends.shape[1] == 2:
        return _length(a), whole
    b = arrows[:, :, 1]
    m = np.cross(a, b)
    if ends.shape[1] == 3:
        return np.degrees(np.arctan2(_length(m), -(a * b).sum(-1))), whole
    c = arrows[:, :, 2]
    n = np.cross(b, c)
    angle = np.degrees(np.arctan2(_length(b) * (a * n).sum(-1), (m * n).sum(-1)))
    if fade == 0.0:
        return angle, whole
    gone, begins = np.sin(np.radians([0.5 * fade, fade])) ** 2
    for normal, first, second in ((m, a, b), (n, b, c)):
        sine = (normal**2).sum(-1) / ((first**2).sum(-1) * (second**2).sum(-1))
        x = np.clip((sine - gone) / (begins - gone), 0.0, 1.0)
        whole = whole * x * x * (3.0 - 2.0 * x)
    return angle, whole


def term_weights(
    position: ArrayLike, box: ArrayLike, topology: Topology, tables: Sequence[TermNodes], *, fade: float
) -> Float:
    """Return the weights of the nodes of all tables, one table after the other (frame, node).

    Parameters
    ----------
    position, box : (frame, particle, xyz) and (frame, box_vector, xyz) nm
    topology : of the particles; kinds that it does not have weigh nothing
    tables : where the nodes of each kind are; beyond the last ones of a bond its energy goes on as a line
    fade : of `term_values`; what has faded of a dihedral has the mean energy of its table
    """
    frames = len(np.asarray(position))
    parts = [np.zeros((frames, table.nodes)) for table in tables]
    for term in dict.fromkeys(table.term for table in tables):
        ends = getattr(topology, term)
        kinds = np.array(term_kinds(topology.type, ends), np.str_)
        for part, table in zip(parts, tables, strict=True):
            if table.term != term or not (mine := kinds == table.kind).any():
                continue
            value, left = term_values(position, box, ends[mine], fade=fade)
            step = (table.high - table.low) / (table.nodes - 1)
            one = np.zeros(int(mine.sum()), np.int64)
            part += _spread(value, left, one, table.low, step, (1, table.nodes), beyond=True)[:, 0]
            part[:, :-1] += (1.0 - left).sum(axis=1, keepdims=True) / (table.nodes - 1)
    return np.concatenate(parts, axis=1) if parts else np.zeros((frames, 0))


def term_densities(
    position: ArrayLike,
    box: ArrayLike,
    topology: Topology,
    term: Term,
    kinds: Sequence[str],
    *,
    low: float,
    width: float,
    bins: int,
) -> Float:
    """Return the density of each kind of a term in every frame (frame, kind, bin), as `cgstore.bonded` counts it.

    Parameters
    ----------
    position, box : (frame, particle, xyz) and (frame, box_vector, xyz) nm
    topology : of the particles
    term, kinds : what is asked for; kinds that there are none of have a density of zero
    low, width, bins : bins low + [b, b + 1) * width in nm or degrees; what is beyond them is not counted
    """
    ends = getattr(topology, term)
    number = {kind: k for k, kind in enumerate(kinds)}
    row = np.array([number.get(kind, -1) for kind in term_kinds(topology.type, ends)], np.int64)
    ends, row = ends[row >= 0], row[row >= 0]
    if not len(row):
        return np.zeros((len(np.asarray(position)), len(kinds), bins))
    value, _ = term_values(position, box, ends)
    place = np.floor((value - low) / width)
    last = np.isclose(value, low + bins * width, rtol=0.0, atol=1e-9)  # 180 degrees belong to the last bin
    place = np.where(last, bins - 1.0, np.where(place < bins, place, -1.0))
    many = np.maximum(np.bincount(row, minlength=len(kinds)), 1)
    return _counted(place, row, (len(kinds), bins)) / (many[:, None] * width)


def _length(vector: Float) -> Float:
    """Return the lengths of vectors (..., xyz)."""
    return np.asarray(np.sqrt((vector**2).sum(-1)))


def _spread(
    value: Float, part: Float, row: NDArray[np.int64], low: float, step: float, shape: tuple[int, ...], *, beyond: bool
) -> Float:
    """Return values (frame, term) spread over the nodes of their rows (frame, row, node), by linear weights.

    What is beyond the nodes extrapolates, or counts for nothing.
    """
    rows, nodes = shape
    s = (value - low) / step
    n = np.clip(s.astype(np.int64), 0, nodes - 2)
    t, part = s - n, part if beyond else np.where(s < nodes - 1, part, 0.0)
    place = (np.arange(len(value))[:, None] * rows + row) * nodes + n
    size = len(value) * rows * nodes
    low_node = np.bincount(place.ravel(), (part * (1.0 - t)).ravel(), size)
    high_node = np.bincount(place.ravel() + 1, (part * t).ravel(), size)
    return np.asarray(low_node + high_node, np.float64).reshape(len(value), rows, nodes)


def _counted(place: Float, row: NDArray[np.int64], shape: tuple[int, ...]) -> Float:
    """Return how often each bin of each row was hit (frame, row, bin); negative places are no bin."""
    rows, bins = shape
    index = (np.arange(len(place))[:, None] * rows + row) * bins + place.astype(np.int64)
    counted = np.bincount(index[place >= 0], minlength=len(place) * rows * bins).astype(np.float64)
    return counted.reshape(len(place), rows, bins)
