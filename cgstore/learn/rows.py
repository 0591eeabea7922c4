"""Rows: batches of the rows of a feature table, in the same kind of order as frames, and refused by the same door.

Any dataset with a dim `system`, whose coordinate names datasets of the catalog, is such a table. Rows are small: the
columns that are asked for are in memory.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from cgstore.documents import did_you_mean
from cgstore.errors import InputError
from cgstore.learn.plan import Plan, Series
from cgstore.learn.ranks import rank_of
from cgstore.learn.streams import Int
from cgstore.splits.split import Catalog, Selection

__all__ = ["RowLoader"]

_SHOWN = 5  # names in a message


class RowLoader:
    """Batches of rows of a table, epoch after epoch; it is used as a `Loader` is, and has its state and its ranks.

    A batch is a dict of tensors on `device`: each column (row, …), float32, int64 or bool as it is a number, a whole
    number or a truth; and `dataset`, int64 (row,), which of `loader.names`.

    Parameters
    ----------
    table : has a dim `system` with a coordinate of names of datasets, as feature tables have
    catalog : names and entries; what the split chooses from
    selection : `split.train` or `split.validation`
    batch_size : rows in a batch, of all ranks together
    columns : variables of the table with the dim `system`; all that are numbers by default
    seed : decides the order; nothing else does
    device : where the tensors go
    streams : parts of an epoch that ranks share; the number of ranks divides it
    rank, world_size : of this process, those of the process group of torch by default
    drop_last : leave out the last batch of an epoch when it is smaller

    Raises
    ------
    InputError : the selection reaches held-out data, takes a block of time of a dataset (a row is made of all its
        frames), or names datasets without a row; a column is missing or is no number

    Examples
    --------
    >>> loader = RowLoader(table, catalog, split.train, batch_size=32, seed=1)  # doctest: +SKIP
    >>> for batch in loader: g = batch["rdf"]  # doctest: +SKIP
    """

    def __init__(
        self,
        table: xr.Dataset,
        catalog: Catalog,
        selection: Selection,
        *,
        batch_size: int,
        columns: Sequence[str] | None = None,
        seed: int = 0,
        device: str | torch.device = "cpu",
        streams: int = 8,
        rank: int | None = None,
        world_size: int | None = None,
        drop_last: bool = False,
    ) -> None:
        self.names, rows = _rows(table, catalog, selection)
        arrays = _columns(table, columns, rows)
        series = tuple(Series(name, _digest(arrays, row), row, row + 1, 1) for row, name in enumerate(self.names))
        self.plan = Plan(series, batch_size, seed, max(1, len(rows)), streams, selection.split_digest)
        self.device, self.drop_last = torch.device(device), drop_last
        self.rank = rank_of(rank, world_size)
        self._streams = self.rank.streams(streams)
        self._tensors = {name: torch.from_numpy(array).to(self.device) for name, array in arrays.items()}
        self._epoch, self._step = 0, 0

    def __len__(self) -> int:
        """Return the number of batches of an epoch, the same on every rank."""
        return self.plan.samples // self.plan.batch_size if self.drop_last else len(self.plan)

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        """Yield the batches that are left of this epoch; afterwards the next epoch is the current one."""
        order = self._order(self._epoch)
        for step in range(self._step, len(self)):
            self._step = step + 1
            shares = self.plan.shares(step).tolist()
            rows = np.concatenate([order[stream][slice(*shares[stream])] for stream in self._streams])
            chosen = torch.from_numpy(rows).to(self.device)
            yield {name: tensor[chosen] for name, tensor in self._tensors.items()} | {"dataset": chosen}
        self._epoch, self._step = self._epoch + 1, 0

    def endless(self) -> Iterator[dict[str, torch.Tensor]]:
        """Yield batches without end."""
        while True:
            yield from self

    def state_dict(self) -> dict[str, Any]:
        """Return the place before the next batch, as plain data; it holds on any number of ranks."""
        return self.plan.state(self._epoch, self._step)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a place given by `state_dict`; the next batch is the one that would have come.

        Raises
        ------
        InputError : the state is of a loader with other rows or settings; the message says which
        """
        self._epoch, self._step = self.plan.place(state)

    def _order(self, epoch: int) -> dict[int, Int]:
        """Return the rows of each stream of this process; a window is as long as a stream."""
        layout = self.plan.epoch(epoch)
        order = {stream: np.empty(0, np.int64) for stream in self._streams}
        for number, stream in enumerate(layout.windows[:, 0].tolist()):
            if stream in order:
                order[stream] = layout.samples(number)[:, 1]
        return order


def _rows(table: xr.Dataset, catalog: Catalog, selection: Selection) -> tuple[tuple[str, ...], Int]:
    """Return the datasets that are meant, and their rows."""
    if "system" not in table.dims or "system" not in table.coords:
        raise InputError(f"found a table with dims {tuple(table.dims)}; expected a dim system that names datasets")
    members = selection.members(catalog)
    if parts := [member.words for member in members if np.isfinite([member.start, member.stop]).any()]:
        raise InputError(
            f"{selection.part} of {selection.where}: takes {parts[0]}; a row of a table is made of all frames of its "
            "dataset: take whole datasets, or make a table of that time"
        )
    known = {str(name): row for row, name in enumerate(table["system"].values)}
    if missing := [member.name for member in members if member.name not in known]:
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        raise InputError(
            f"{selection.part} of {selection.where}: the table has no row for {', '.join(missing[:_SHOWN])}{more}; "
            "build it again, or change the split"
        )
    names = tuple(member.name for member in members)
    return names, np.array([known[name] for name in names], np.int64)


def _columns(table: xr.Dataset, columns: Sequence[str] | None, rows: Int) -> dict[str, NDArray[Any]]:
    """Return columns of a table in memory, (row, …), as the tensors will have them."""
    numbers = [
        str(name) for name, array in table.data_vars.items() if "system" in array.dims and array.dtype.kind in "fiub"
    ]
    if "dataset" in (columns or numbers):
        raise InputError("columns: found 'dataset', which says in a batch which row it is; rename the column")
    for name in columns or ():
        if name not in numbers:
            raise InputError(f"columns: found {name!r}, no numbers per system{did_you_mean(name, numbers)}")
    chosen = table[list(columns) if columns is not None else numbers].isel(system=rows)
    kinds = {"f": np.float32, "i": np.int64, "u": np.int64, "b": np.bool_}
    return {
        str(name): np.ascontiguousarray(array.transpose("system", ...).values, kinds[array.dtype.kind])
        for name, array in chosen.data_vars.items()
    }


def _digest(arrays: dict[str, NDArray[Any]], row: int) -> str:
    """Return what tells the content of a row from another one."""
    found = hashlib.sha256()
    for name, array in arrays.items():
        found.update(name.encode() + array[row].tobytes())
    return found.hexdigest()
