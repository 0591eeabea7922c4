"""Pairs of rows whose values agree within their errors, found on sorted values and made block by block when read.

"All (i, j) with |D_AA(i) − D_CG(j)| < k σ" for ten thousand rows each is a hundred million comparisons, and a matrix of
that size; here each row is compared with those that can be near enough, and pairs come in pieces.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.delayed import delayed
from numpy.typing import NDArray

from cgstore.documents import did_you_mean
from cgstore.errors import InputError, NotFound

__all__ = ["join", "match"]

Float = NDArray[np.float64]
Index = NDArray[np.int64]
_CANDIDATES = 2**20  # compared at once: some 50 MB
_PIECE_BYTES = 2**26  # of a gathered column
_OCTAVES = 40  # of errors that are told apart
_MARGIN = 1e-9  # of a bound: what rounding might lose is looked at


def match(
    left: xr.Dataset,
    right: xr.Dataset,
    *,
    on: str | tuple[str, str],
    errors: tuple[str | None, str | None] | None = None,
    within: float = 1.0,
    dim: str = "system",
) -> xr.Dataset:
    """Return all pairs of rows with |left − right| < within · √(σ_left² + σ_right²); the pairs are made when read.

    Parameters
    ----------
    left, right : tables, or any datasets on `dim`; they may be the same
    on : a column on `dim` alone, or one of each
    errors : columns of the standard errors, None for exact values; by default `NAME_error`
    within : how many standard errors of the difference
    dim : of the rows

    Returns
    -------
    dataset on (pair), in the order of left and then right rows, lazy, in pieces: `left` and `right`, places of the
    rows; `difference`, left − right; and `error`, √(σ_left² + σ_right²). A row whose value or error is NaN is in no
    pair; nor is one with errors of zero on both sides, whatever its values

    Raises
    ------
    NotFound : no such column
    InputError : a column is not on `dim` alone, an error is negative, `within` is not positive

    Notes
    -----
    The right rows are sorted in groups of errors within a factor of two of each other, so that few rows are compared
    that do not match. All pairs are counted now, without being kept; memory is that of a piece, a million comparisons.

    Examples
    --------
    >>> aa = xr.Dataset({"D": ("system", [1.0, 2.0, 3.0]), "D_error": ("system", [0.1, 0.1, 0.1])})
    >>> cg = xr.Dataset({"D": ("system", [2.05, 9.0, 1.1]), "D_error": ("system", [0.1, 0.1, 0.1])})
    >>> pairs = match(aa, cg, on="D", within=2.0)
    >>> list(zip(pairs.left.values.tolist(), pairs.right.values.tolist()))
    [(0, 2), (1, 0)]
    """
    if not (within > 0.0 and np.isfinite(within)):
        raise InputError(f"match: found within = {within}, expected a positive number of standard errors")
    names = (on, on) if isinstance(on, str) else on
    given = (f"{names[0]}_error", f"{names[1]}_error") if errors is None else errors
    search = _Search.of(
        [_column(ds, name, dim) for ds, name in zip((left, right), names, strict=True)],
        [_errors(ds, name, dim) for ds, name in zip((left, right), given, strict=True)],
        within,
    )
    blocks = [(start, stop, len(search.pairs(start, stop)[0])) for start, stop in search.blocks()]
    attrs = {"on": " and ".join(names), "within": float(within), "units": "rows"}
    return xr.Dataset(_lazy(search, [block for block in blocks if block[2]]), attrs=attrs)


def _column(ds: xr.Dataset, name: str, dim: str) -> Float:
    """Return a column of numbers, in memory."""
    if name not in ds.variables:
        raise NotFound(f"match: found no column {name!r}{did_you_mean(name, map(str, ds.variables))}")
    if ds[name].dims != (dim,) or ds[name].dtype.kind not in "fiu":
        raise InputError(f"match: found {name} on {ds[name].dims}, expected numbers on {dim} alone; choose with sel")
    return np.asarray(ds[name].values, np.float64)


def _errors(ds: xr.Dataset, name: str | None, dim: str) -> Float:
    """Return standard errors, zero where there are none."""
    if name is None:
        return np.zeros(ds.sizes[dim])
    error = _column(ds, name, dim)
    if (error < 0.0).any():
        raise InputError(f"match: found {name} = {error[error < 0.0][0]:g}, expected standard errors, none negative")
    return error


@dataclass(frozen=True, slots=True, eq=False)
class _Search:
    """The left rows as they are, and the right ones sorted by value in groups of like errors."""

    value: Float  # (left,)
    error: Float
    groups: tuple[tuple[Index, Float, Float], ...]  # place, value and error of the right rows of each group
    within: float

    @classmethod
    def of(cls, values: Sequence[Float], errors: Sequence[Float], within: float) -> "_Search":
        """Sort the right rows; those without value or error are left out."""
        value, error = values[1], errors[1]
        known = np.flatnonzero(np.isfinite(value) & np.isfinite(error))
        largest = error[known].max(initial=0.0)
        with np.errstate(divide="ignore"):
            octave = np.floor(np.log2(np.fmax(error[known], largest * 2.0**-_OCTAVES)))
        groups = []
        for this in np.unique(octave):
            place = known[octave == this]
            place = place[np.argsort(value[place], kind="stable")]
            groups.append((place, value[place], error[place]))
        return cls(values[0], errors[0], tuple(groups), within)

    def ranges(self, start: int, stop: int) -> Iterator[tuple[Index, Index]]:
        """Yield for each group between which of its rows all partners of left rows lie."""
        a, sigma = self.value[start:stop], self.error[start:stop]
        unknown = ~(np.isfinite(a) & np.isfinite(sigma))
        for _, b, error in self.groups:
            bound = self.within * np.hypot(sigma, error.max()) * (1.0 + _MARGIN)
            bound += _MARGIN * np.abs(a)  # the sums below are rounded
            low = np.searchsorted(b, a - bound, "left")
            high = np.searchsorted(b, a + bound, "right")
            yield np.where(unknown, 0, low), np.where(unknown, 0, high)

    def blocks(self) -> list[tuple[int, int]]:
        """Return consecutive left rows that are compared with about a million right ones at most, one row at least."""
        rows = len(self.value)
        candidates = np.zeros(rows, np.int64)
        for low, high in self.ranges(0, rows):
            candidates += high - low
        ends = np.cumsum(candidates)
        found, start = [], 0
        while start < rows:
            before = ends[start - 1] if start else 0
            stop = max(start + 1, int(np.searchsorted(ends, before + _CANDIDATES, "right")))
            found.append((start, stop))
            start = stop
        return found

    def pairs(self, start: int, stop: int) -> tuple[Index, Index, Float, Float]:
        """Return left and right rows, differences and their errors, of the left rows from start to stop."""
        found = []
        for (place, b, error), (low, high) in zip(self.groups, self.ranges(start, stop), strict=True):
            number = high - low
            left = np.repeat(np.arange(start, stop), number)
            inside = np.arange(len(left)) - np.repeat(np.cumsum(number) - number, number) + np.repeat(low, number)
            difference = self.value[left] - b[inside]
            sigma = np.hypot(self.error[left], error[inside])
            near = np.abs(difference) < self.within * sigma
            found.append((left[near], place[inside[near]], difference[near], sigma[near]))
        if not found:
            return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0), np.empty(0)
        left, right, difference, sigma = (np.concatenate(part) for part in zip(*found, strict=True))
        order = np.lexsort((right, left))
        return left[order], right[order], difference[order], sigma[order]


def _lazy(search: _Search, blocks: Sequence[tuple[int, int, int]]) -> dict[str, xr.Variable]:
    """Return the pairs of blocks of known size as lazy variables."""
    shared = delayed(search, traverse=False, pure=False)
    made = [delayed(_Search.pairs, pure=False)(shared, start, stop) for start, stop, _ in blocks]
    names = {
        "left": (np.int64, "place of the left row"),
        "right": (np.int64, "place of the right row"),
        "difference": (np.float64, "left value less the right one"),
        "error": (np.float64, "standard error of the difference"),
    }
    lazy: Any = da  # dask has no types
    found = {}
    for place, (name, (dtype, meaning)) in enumerate(names.items()):
        pieces = [
            lazy.from_delayed(pairs[place], (number,), dtype)
            for pairs, (_, _, number) in zip(made, blocks, strict=True)
        ]
        values = lazy.concatenate(pieces) if pieces else lazy.zeros(0, dtype=dtype)
        found[name] = xr.Variable(("pair",), values, {"long_name": meaning})
    return found


def join(
    pairs: xr.Dataset,
    left: xr.Dataset,
    right: xr.Dataset,
    *,
    take: tuple[Sequence[str], Sequence[str]],
    dim: str = "system",
) -> xr.Dataset:
    """Return columns of both rows of each pair, lazily: the parameters of i beside the potential of j, for example.

    Parameters
    ----------
    pairs : result of `match`
    left, right : the datasets that were matched
    take : names of columns of the left and of the right rows
    dim : of the rows; the coordinate of this name is taken, too, where there is one

    Returns
    -------
    dataset on (pair, …): `left_NAME` and `right_NAME`, and what `pairs` has. A column is read once, a piece of pairs
    is gathered from it when it is read

    Raises
    ------
    NotFound : no such column

    Examples
    --------
    >>> table = xr.Dataset({"D": ("system", [1.0, 1.1]), "u": (("system", "r"), [[1.0, 2.0], [3.0, 4.0]])})
    >>> pairs = match(table, table, on="D", errors=(None, None), within=1.0)
    >>> pairs.sizes["pair"]
    0
    >>> near = match(table.assign(D_error=("system", [0.2, 0.2])), table, on="D", errors=("D_error", None))
    >>> join(near, table, table, take=(["D"], ["u"])).right_u.values.tolist()
    [[1.0, 2.0], [3.0, 4.0], [1.0, 2.0], [3.0, 4.0]]
    """
    wanted = []
    for side, ds, names in (("left", left, take[0]), ("right", right, take[1])):
        for name in [*names, *([dim] if dim in ds.coords else [])]:
            if name not in ds.variables:
                raise NotFound(f"join: found no column {name!r}{did_you_mean(name, map(str, ds.variables))}")
            if ds[name].dims[:1] != (dim,):
                raise InputError(f"join: found {name} on {ds[name].dims}, expected {dim} as the first dim")
            wanted.append((side, name, ds[name]))
    row = max([1, *(column.nbytes // max(len(column), 1) for _, _, column in wanted)])
    # No piece is larger than those of the pairs themselves, however wide the columns.
    most = min(max(_PIECE_BYTES // row, 1), max(pairs.chunksizes.get("pair", (pairs.sizes["pair"],)), default=1) or 1)
    found = pairs.chunk(pair=most)
    return found.assign({f"{side}_{name}": _gathered(found[side], column) for side, name, column in wanted})


def _gathered(rows: xr.DataArray, column: xr.DataArray) -> xr.DataArray:
    """Return rows of a column, gathered piece by piece."""
    values = column.values
    lazy: Any = da
    trailing = list(range(1, values.ndim))
    taken = lazy.map_blocks(
        lambda piece: values[piece],
        rows.data,
        dtype=values.dtype,
        chunks=(rows.data.chunks[0], *((size,) for size in values.shape[1:])),
        new_axis=trailing or None,
    )
    own = {key: coord for key, coord in column.coords.items() if column.dims[0] not in coord.dims}
    return xr.DataArray(taken, own, ("pair", *column.dims[1:]), attrs=column.attrs)
