"""Cells computed, one system after the other or in several processes; what fails is a reason and not the end."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from importlib import import_module
from itertools import islice
from multiprocessing import get_context
from typing import Any

from cgstore.catalog import Entry
from cgstore.documents import Document
from cgstore.errors import CgstoreError, InputError
from cgstore.feature_tables.framewise import frame_means
from cgstore.feature_tables.registry import feature_named
from cgstore.feature_tables.rows import Cell, cell_of
from cgstore.feature_tables.sources import Source
from cgstore.feature_tables.spec import Asked

__all__ = ["Task", "compute_cells"]

_log = logging.getLogger(__name__)

Task = tuple[Entry, tuple[str, ...]]  # a dataset, and which features of it
_TOGETHER = 4  # systems that a process is given at once
_AHEAD = 2  # tasks waiting for each process

_mine: dict[str, Asked] = {}  # in a worker: the features by the name of their column
_missing: dict[str, str] = {}  # in a worker: why one is not there


def compute_cells(
    asked: Sequence[Asked], tasks: Sequence[Task], *, jobs: int = 1
) -> Iterator[tuple[str, dict[str, Cell]]]:
    """Yield the name of each system with its cells, as they get ready; in the order of the tasks with one job.

    Raises
    ------
    InputError : several jobs, and a feature that other processes do not find when they import its module
    """
    if jobs <= 1 or len(tasks) <= 1:
        by_name = {one.name: one for one in asked}
        for entry, names in tasks:
            yield entry.name, _cells(entry, [by_name[name] for name in names])
        return
    # Fresh processes: threads of zarr and of the kernels do not survive a fork.
    pool = ProcessPoolExecutor(min(jobs, len(tasks)), get_context("spawn"), _begin, (_addresses(asked),))
    try:
        together = [tasks[start : start + _TOGETHER] for start in range(0, len(tasks), _TOGETHER)]
        for done in _in_flight(pool, together, _AHEAD * jobs):
            yield from done
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _in_flight(
    pool: ProcessPoolExecutor, tasks: Iterable[Any], most: int
) -> Iterator[list[tuple[str, dict[str, Cell]]]]:
    """Yield results as they come, with no more than so many tasks given out."""
    left = iter(tasks)
    flying: set[Future[Any]] = {pool.submit(_work, task) for task in islice(left, most)}
    while flying:
        done, flying = wait(flying, return_when=FIRST_COMPLETED)
        flying |= {pool.submit(_work, task) for task in islice(left, len(done))}
        for future in done:
            yield future.result()


def _addresses(asked: Sequence[Asked]) -> list[tuple[str, str, str, Document]]:
    """Return what other processes find features by: name of the column and of the feature, module, parameters."""
    return [
        (one.name, one.feature.name, str(getattr(one.feature.compute, "__module__", "")), one.parameters)
        for one in asked
    ]


def _begin(addresses: Sequence[tuple[str, str, str, Document]]) -> None:
    """Prepare a worker: as there is one for each core, it reads with one thread."""
    import dask

    dask.config.set(scheduler="synchronous")
    for name, feature, module, parameters in addresses:
        try:
            import_module(module)
            _mine[name] = Asked(name, feature_named(feature), parameters)
        except Exception as error:  # told when the first system is asked for: here it would only break the pool
            _missing[name] = f"feature {feature}: not found in other processes ({error})"


def _work(tasks: Sequence[Task]) -> list[tuple[str, dict[str, Cell]]]:
    """Compute the cells of some systems in a worker."""
    if _missing:
        raise InputError(
            f"{next(iter(_missing.values()))}; register it at the top of the module that defines its function, or use "
            "one job"
        )
    return [(entry.name, _cells(entry, [_mine[name] for name in names])) for entry, names in tasks]


def _cells(entry: Entry, asked: Sequence[Asked]) -> dict[str, Cell]:
    """Compute features of one system; an error is the reason of a cell without values."""
    source = Source(entry)
    found = {}
    for one in asked:
        try:
            compute = one.feature.compute
            is_framewise = one.feature.locality == "frame"
            value = (
                frame_means(source, one.feature, one.parameters) if is_framewise else compute(source, one.parameters)
            )
            found[one.name] = cell_of(one, value)
        except CgstoreError as error:
            found[one.name] = Cell({}, {}, str(error).removeprefix(f"{entry.name}: "))
        except Exception as error:  # a feature may be anybody's; one bad system must not end thousands
            _log.debug("%s of %s", one.name, entry.name, exc_info=True)
            found[one.name] = Cell({}, {}, f"{type(error).__name__}: {error}")
    return found
