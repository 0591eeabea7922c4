"""Radial distribution functions of pairs of types, with their errors.

The normalisation is that of the pairs that could be counted: g → 1 for an ideal gas of any size and in any box.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import combinations_with_replacement
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array

from cgstore.averages.counting import Counter, Histogram, count_blocks, result_attrs
from cgstore.averages.device import pair_kernel
from cgstore.averages.estimates import distribution_of_blocks
from cgstore.box import volume
from cgstore.documents import did_you_mean
from cgstore.errors import InputError, NotFound, PhysicsError
from cgstore.kernels.pairs import count_pairs
from cgstore.schema import check_dataset, topology_of
from cgstore.topology import Topology, pairs_within_bonds

__all__ = ["Pair", "rdf", "rdf_blocks", "rdf_counter", "rdf_from_blocks"]

Pair = tuple[str, str] | str
Exclusion = int | Literal["molecule"]


def rdf(
    ds: xr.Dataset,
    *,
    pairs: Iterable[Pair] | None = None,
    r_max: float = 1.5,
    bin_width: float = 0.01,
    exclude_bonded: Exclusion = 3,
    device: str | None = None,
) -> xr.Dataset:
    """Return radial distribution functions; nothing is read until they are computed.

    Parameters
    ----------
    ds : dataset of the schema with `position`, `box` and `type`; `bond` or `molecule` for exclusions, `weight` if any
    pairs : two types each, `("NC3", "PO4")` or `"NC3-PO4"`, in any order; all pairs of types by default
    r_max, bin_width : nm; whole bins only, so r_max is rounded down to a multiple of bin_width
    exclude_bonded : leave out pairs up to so many bonds apart; "molecule" leaves out all within a molecule; 0 none
    device : "cuda" counts with torch on a GPU, see `cgstore.averages.device`; by default compiled code counts

    Returns
    -------
    dataset on (pair, r), lazy: `rdf` and `rdf_error` without unit, `count` of distances; on (pair): `correlation_time`
    in ps and how many `blocks` the error comes from. `r` is the centre of the bin [r − Δ/2, r + Δ/2) in nm. A pair of
    types of which no two particles may be counted is NaN

    Raises
    ------
    NotFound : a type that is not there
    InputError : r_max, bin_width or exclude_bonded make no sense
    PhysicsError : no box, or r_max beyond half the smallest height of any box (when computed, if `box` is lazy)

    Notes
    -----
    g(r) = ⟨ V h(r) ⟩ / (n · 4π/3 (r₊³ − r₋³)), where h counts the distances of a frame in the bin, V is its volume and
    n the number of pairs that may be counted: N (N − 1) / 2 for like types, N M for unlike ones, less the excluded.
    Programs that divide by N² / 2 (VOTCA) give (N − 1) / N times our g for like types. See `blocks` for errors.

    Examples
    --------
    >>> x = np.random.default_rng(1).random((200, 20, 3), np.float32)
    >>> gas = xr.Dataset(
    ...     {"position": (("frame", "particle", "xyz"), x), "box": (("frame", "box_vector", "xyz"), [np.eye(3)] * 200)},
    ...     {"type": ("particle", ["A"] * 20)},
    ... )
    >>> g = rdf(gas, r_max=0.5, bin_width=0.1)
    >>> g.rdf.sel(pair="A-A").values[1:].round(1).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    blocks = rdf_blocks(ds, pairs=pairs, r_max=r_max, bin_width=bin_width, exclude_bonded=exclude_bonded, device=device)
    return rdf_from_blocks(blocks)


def rdf_blocks(
    ds: xr.Dataset,
    *,
    pairs: Iterable[Pair] | None = None,
    r_max: float = 1.5,
    bin_width: float = 0.01,
    exclude_bonded: Exclusion = 3,
    device: str | None = None,
) -> xr.Dataset:
    """Return the block statistics that `rdf` is made from, see `cgstore.averages.blocks`; they can be merged.

    Parameters and errors as `rdf`; `sum` is weighted with the volume of the frame, in nm³.
    """
    counter = rdf_counter(
        ds, pairs=pairs, r_max=r_max, bin_width=bin_width, exclude_bonded=exclude_bonded, device=device
    )
    parameters = {
        "pairs": list(counter.histograms[0].kinds),
        "r_max": r_max,
        "bin_width": bin_width,
        "exclude_bonded": exclude_bonded,
    }
    ((blocks,),) = count_blocks(ds, [counter])
    return blocks.assign_attrs(result_attrs(ds, parameters))


def rdf_from_blocks(blocks: xr.Dataset) -> xr.Dataset:
    """Return the distribution functions of block statistics; lazy if those are."""
    return distribution_of_blocks(blocks, name="rdf", count="count")


def rdf_counter(
    ds: xr.Dataset,
    *,
    pairs: Iterable[Pair] | None,
    r_max: float,
    bin_width: float,
    exclude_bonded: Exclusion,
    device: str | None = None,
) -> Counter:
    """Return how the frames of a dataset are counted; parameters and errors as `rdf`."""
    check_dataset(ds)
    title = ds.attrs.get("name", "this dataset")
    if "box" not in ds:
        raise PhysicsError(
            f"rdf of {title}: found no box, so there is no volume to normalise with; "
            "give the dataset a variable box (frame, box_vector, xyz)"
        )
    edges = _edges(title, r_max, bin_width)
    topology = topology_of(ds)
    wanted = _wanted(title, np.unique(topology.type).tolist(), pairs)
    types = sorted({name for pair in wanted for name in pair})
    row = np.full((len(types), len(types)), -1, np.int64)
    for place, (a, b) in enumerate(wanted):
        row[types.index(a), types.index(b)] = row[types.index(b), types.index(a)] = place
    chosen = np.flatnonzero(np.isin(topology.type, types))
    type_index = np.searchsorted(np.array(types, np.str_), topology.type[chosen]).astype(np.int32)
    group, excluded = _exclusions(title, topology, chosen, exclude_bonded)
    countable = _countable(row, len(wanted), type_index, group, excluded)
    shells = 4.0 / 3.0 * np.pi * np.diff(edges**3)
    histogram = Histogram(
        name="rdf",
        kind="pair",
        kinds=tuple("-".join(pair) for pair in wanted),
        bin="r",
        edges=edges,
        norm=countable[:, None] * shells,
        bin_attrs={"units": "nm", "long_name": "distance r"},
        attrs={"units": "1", "long_name": "radial distribution function g(r)"},
    )
    start, partner = _partners(excluded, len(chosen))
    kernel = count_pairs if device is None else pair_kernel(device)
    count = partial(
        _count,
        title,
        kernel,
        (chosen, type_index, group, start, partner, row, float(edges[1])),
        (len(wanted), len(shells)),
    )
    return Counter("rdf", (histogram,), count, r_max=float(edges[-1]))


def _edges(title: str, r_max: float, bin_width: float) -> NDArray[np.float64]:
    """Return the edges of the bins from 0 to r_max."""
    if not (0 < bin_width <= r_max < np.inf):
        raise InputError(
            f"rdf of {title}: found bin_width {bin_width} and r_max {r_max}, expected 0 < bin_width <= r_max"
        )
    return np.asarray(np.arange(int(r_max / bin_width * (1 + 1e-9)) + 1) * bin_width, np.float64)


def _wanted(title: str, types: Sequence[str], pairs: Iterable[Pair] | None) -> list[tuple[str, str]]:
    """Return the pairs asked for, each in alphabetical order, without repetition."""
    known = {f"{a}-{b}": (a, b) for a, b in combinations_with_replacement(types, 2)}
    if pairs is None:
        return list(known.values())
    either_way = known | {f"{b}-{a}": (a, b) for a, b in known.values()}
    found: dict[tuple[str, str], None] = {}
    for pair in pairs:
        label = pair if isinstance(pair, str) else "-".join(pair)
        if label not in either_way:
            unknown = [name for name in label.split("-") if name not in types]
            hint = did_you_mean(unknown[0], types) if len(unknown) == 1 else did_you_mean(label, known)
            raise NotFound(f'rdf of {title}: found no pair of types "{label}"{hint}')
        found[either_way[label]] = None
    if not found:
        raise InputError(f"rdf of {title}: found an empty list of pairs; leave it out for all pairs")
    return list(found)


def _exclusions(
    title: str, topology: Topology, chosen: NDArray[np.int64], exclude_bonded: Exclusion
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return groups that make no pairs within themselves, and excluded pairs, in the numbering of `chosen`."""
    alone, none = np.arange(len(chosen), dtype=np.int32), np.empty((0, 2), np.int64)
    if exclude_bonded == "molecule":
        return topology.molecule[chosen].astype(np.int32), none
    if isinstance(exclude_bonded, bool) or not isinstance(exclude_bonded, int) or exclude_bonded < 0:
        raise InputError(
            f'rdf of {title}: found exclude_bonded = {exclude_bonded!r}, expected a number of bonds or "molecule"'
        )
    pairs = pairs_within_bonds(topology.bond, len(topology), distance=exclude_bonded)
    place = np.full(len(topology), -1, np.int64)
    place[chosen] = alone
    inside = place[pairs]
    return alone, inside[(inside >= 0).all(axis=1)]


def _countable(
    row: NDArray[np.int64],
    rows: int,
    type_index: NDArray[np.int32],
    group: NDArray[np.int32],
    excluded: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return how many pairs of each row may be counted: all, less those within groups, less the excluded ones."""
    types = len(row)
    _, number = np.unique(group, return_inverse=True)
    # (group, type) how many members; sparse, because at the level of atoms it is long and wide
    members = csr_array(coo_array((np.ones(len(number), np.int64), (number, type_index)), shape=(len(number), types)))
    everywhere = np.bincount(type_index, minlength=types)
    # Ordered pairs; that of a particle with itself is in both terms, since every particle is in a group.
    allowed = np.outer(everywhere, everywhere) - (members.T @ members).toarray()
    ends = type_index[excluded]
    np.subtract.at(allowed, (ends[:, 0], ends[:, 1]), 1)
    np.subtract.at(allowed, (ends[:, 1], ends[:, 0]), 1)
    countable = np.zeros(rows)
    for a, b in combinations_with_replacement(range(types), 2):
        if row[a, b] >= 0:
            countable[row[a, b]] = allowed[a, b] / (2 if a == b else 1)
    return countable


def _partners(excluded: NDArray[np.int64], particles: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return for each particle where its excluded partners begin, and the partners."""
    both = np.concatenate([excluded, excluded[:, ::-1]])
    both = both[np.lexsort(both.T[::-1])]
    start = np.concatenate([[0], np.cumsum(np.bincount(both[:, 0], minlength=particles))])
    return start.astype(np.int64), np.ascontiguousarray(both[:, 1])


def _count(
    title: str,
    kernel: Callable[..., int],
    question: tuple[Any, ...],
    shape: tuple[int, int],
    position: np.ndarray,
    box: NDArray[np.float64],
    first: int,
) -> list[tuple[NDArray[np.uint32], NDArray[np.float64]]]:
    """Count the pairs of every frame."""
    counts = np.zeros((len(position), *shape), np.uint32)
    bad = kernel(position, box, *question, counts)
    if bad >= 0:
        raise PhysicsError(
            f"rdf of {title}: frame {first + bad} has a position that is not finite; leave that frame out"
        )
    return [(counts, volume(box))]
