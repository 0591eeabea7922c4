"""Deferring: a function of a dataset in memory becomes, for a lazy one, a single task that is run when computed."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.delayed import delayed

__all__ = ["deferred"]


def deferred(function: Callable[[xr.Dataset], xr.Dataset], blocks: xr.Dataset) -> xr.Dataset:
    """Return function(blocks); lazy if the blocks are, and then one task, however many operations the function has.

    Written with lazy arrays, an estimate would be hundreds of tasks, which take longer than the numbers in them.

    Parameters
    ----------
    function : of a dataset in memory, so that dims (but `block`), dtypes, coordinates and attributes of what it returns
        follow from those of its argument
    blocks : on `block` and other dims; of a lazy one, the function is shown one block of zeros to learn what it returns

    Examples
    --------
    >>> blocks = xr.Dataset({"count": (("block", "r"), np.arange(6).reshape(2, 3))}).chunk()
    >>> lazy = deferred(lambda ds: ds[["count"]].sum("block"), blocks)
    >>> lazy.chunks, lazy.compute()["count"].values.tolist()
    (Frozen({'r': (3,)}), [3, 5, 7])
    """
    if not blocks.chunks:
        return function(blocks)
    lazy = {str(name): array.chunk(-1) for name, array in blocks.variables.items() if array.chunks}
    rest = blocks.drop_vars(lazy)
    few = {
        name: (
            array.dims,
            np.zeros([array.sizes[dim] if dim != "block" else 1 for dim in array.dims], array.dtype),
            array.attrs,
        )
        for name, array in lazy.items()
    }
    known = function(rest.isel(block=slice(0, 1), missing_dims="ignore").assign(few))
    # Arrays are handed over one by one: a whole lazy dataset would be optimised by itself, and counted by itself.
    values = [array.data.to_delayed(optimize_graph=False).item() for array in lazy.values()]
    labels = {name: (array.dims, array.attrs) for name, array in lazy.items()}
    done: Any = delayed(partial(_call, function, rest, labels), pure=False)(values)
    take = delayed(_values, pure=False)
    found = {
        name: (array.dims, da.from_delayed(take(done, name), array.shape, array.dtype), array.attrs)
        for name, array in known.data_vars.items()
    }
    return xr.Dataset(found, known.coords, known.attrs)


def _call(
    function: Callable[[xr.Dataset], xr.Dataset],
    rest: xr.Dataset,
    labels: Mapping[str, tuple[Any, Any]],
    values: Sequence[np.ndarray],
) -> xr.Dataset:
    """Put a dataset together again and return what the function makes of it."""
    arrays = zip(labels.items(), values, strict=True)
    return function(rest.assign({name: (dims, array, attrs) for (name, (dims, attrs)), array in arrays}))


def _values(ds: xr.Dataset, name: str) -> np.ndarray:
    """Return the values of a variable."""
    return np.asarray(ds[name].values)
