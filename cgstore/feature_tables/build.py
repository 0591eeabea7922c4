"""Tables made from specs: rows that are known are taken over, the others computed, and a new version is published."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.catalog import Entry, open_catalog
from cgstore.errors import NotFound
from cgstore.feature_tables.code import code_digest
from cgstore.feature_tables.computing import Task, compute_cells
from cgstore.feature_tables.journal import forget, note, noted
from cgstore.feature_tables.rows import Cell, Part, join_rows, stack_cells
from cgstore.feature_tables.spec import Asked, TableSpec, asked_of, columns_of, input_digest, rows_of, spec_of
from cgstore.feature_tables.storage import (
    Published,
    content_digest,
    open_table,
    publish,
    read_published,
    table_folder,
    texts_of,
)
from cgstore.store.layout import plain

__all__ = ["Built", "build_table", "failures_of", "made_with"]

_NOTE_AFTER = 5.0  # seconds between notes in the journal
_NOTE_ROWS = 512
_KEY = "digest of all that the value depends on"
_REASON = "why there is no value; empty where there is one"
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Built:
    """What a build did: a version, new or as it was, how many values it computed and took over, and what failed."""

    name: str
    version: int
    rows: int
    published: bool
    computed: int  # values of features for systems
    known: int
    dropped: tuple[str, ...] = ()  # rows of the version before that are gone
    failures: Mapping[str, str] = field(default_factory=dict)  # "system column": the reason
    warnings: tuple[str, ...] = ()


def build_table(
    store: str | Path,
    spec: TableSpec | Path | str | Mapping[str, Any],
    *,
    jobs: int = 1,
    retry: bool = False,
    recompute: Sequence[str] = (),
    progress: Progress | None = None,
) -> Built:
    """Make or renew a table of a store; what is known is not computed again.

    A value is known if the newest version of the table, or the journal of a build that was stopped, has it for the same
    content, metadata, parameters and version of the feature. A system that fails has NaN, and a `reason`.

    Parameters
    ----------
    store : folder of the store
    spec : a TOML file, or its content
    jobs : processes
    retry : compute again what failed the last time
    recompute : names of columns of the spec that are computed again whatever is known
    progress : is told a label, how many systems are done, and of how many

    Raises
    ------
    InputError, NotFound : the spec is wrong, or finds no datasets
    """
    wanted = spec_of(spec)
    asked, entries = asked_of(wanted), rows_of(wanted, open_catalog(store))
    if unknown := [name for name in recompute if name not in wanted.columns]:
        raise NotFound(f"table {wanted.name}: found no column {unknown[0]!r}; there are {', '.join(wanted.columns)}")
    folder, before = table_folder(Path(store), wanted.name), _newest(Path(store), wanted.name)
    journal = noted(folder)
    sources = [Known(ds, about) for ds, about in journal.values()]
    if before is not None:
        sources.insert(0, Known(open_table(store, wanted.name, before.version).compute(), before.about["columns"]))
    made = made_with(asked)
    keys = {one.name: np.array([one.key(entry) for entry in entries], np.uint64) for one in asked}
    names = [entry.name for entry in entries]
    parts = [_part(source, names, keys, retry=retry, without=set(recompute)) for source in sources]
    tasks = _missing(entries, parts, keys)
    for ds in _computed(asked, tasks, jobs, progress, folder, made, journal):
        sources.append(Known(ds, made))
        parts.append(_part(sources[-1], names, keys))
    table = _assembled(asked, entries, keys, parts)
    made, warnings = _codes(made, sources, parts)
    about = {"title": wanted.title, "spec": wanted.model_dump(mode="json"), "columns": made}
    return _finish(Path(store), wanted.name, table, about, before, tasks, list(journal), warnings)


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """Rows that were computed earlier, and how each of their columns was made."""

    ds: xr.Dataset
    made: Mapping[str, Mapping[str, Any]]


def _newest(store: Path, name: str) -> Published | None:
    """Return the newest version of a table, None before the first."""
    try:
        return read_published(store, name)
    except NotFound:
        return None


def _part(
    source: Known,
    systems: Sequence[str],
    keys: Mapping[str, NDArray[np.uint64]],
    *,
    retry: bool = False,
    without: Collection[str] = (),
) -> Part:
    """Return which rows of a source have the values that are wanted: those with the same key."""
    place = {str(name): row for row, name in enumerate(source.ds["system"].values)}
    rows = np.array([place.get(name, -1) for name in systems], np.int64)
    there = {str(name): column for column, name in enumerate(source.ds["feature"].values)}
    found = {}
    for name, key in keys.items():
        if name in there and name not in without and len(source.ds["system"]):
            same = (rows >= 0) & (source.ds["key"].values[rows, there[name]] == key)
            if retry:
                same &= texts_of(source.ds["reason"])[rows, there[name]] == ""
            found[name] = np.where(same, rows, -1)
    return Part(source.ds, found)


def _missing(entries: Sequence[Entry], parts: Sequence[Part], keys: Mapping[str, Any]) -> list[Task]:
    """Return for each system the columns that no part has."""
    known = {
        name: np.any([part.rows[name] >= 0 for part in parts if name in part.rows] or [np.zeros(len(entries), bool)], 0)
        for name in keys
    }
    wanted = ((entry, tuple(name for name in keys if not known[name][row])) for row, entry in enumerate(entries))
    return [(entry, names) for entry, names in wanted if names]


def _computed(
    asked: Sequence[Asked],
    tasks: Sequence[Task],
    jobs: int,
    progress: Progress | None,
    folder: Path,
    made: Mapping[str, Any],
    journal: dict[Path, Any],
) -> Iterator[xr.Dataset]:
    """Yield computed rows, noted in the journal on the way: whatever stops the build, they are known the next time."""
    entries = {entry.name: entry for entry, _ in tasks}
    waiting: dict[str, dict[str, Cell]] = {}
    last, done = time.monotonic(), 0
    try:
        for name, cells in compute_cells(asked, tasks, jobs=jobs):
            waiting[name] = cells
            done += 1
            if progress is not None:
                progress("table", done, len(tasks))
            if time.monotonic() - last > _NOTE_AFTER or len(waiting) >= _NOTE_ROWS:
                ds = _stacked(asked, entries, waiting)
                journal[note(folder, ds, made)] = None
                waiting, last = {}, time.monotonic()
                yield ds
    except BaseException:
        if waiting:
            note(folder, _stacked(asked, entries, waiting), made)
        raise
    if waiting:
        yield _stacked(asked, entries, waiting)


def _stacked(
    asked: Sequence[Asked], entries: Mapping[str, Entry], cells: Mapping[str, Mapping[str, Cell]]
) -> xr.Dataset:
    """Return computed rows with their keys and reasons."""
    keys = {one.name: [one.key(entries[name]) if one.name in cells[name] else 0 for name in cells] for one in asked}
    reasons = {
        one.name: [cells[name][one.name].reason if one.name in cells[name] else "" for name in cells] for one in asked
    }
    return stack_cells(asked, cells).assign_coords(_about_cells(keys, reasons))


def _about_cells(keys: Mapping[str, Any], reasons: Mapping[str, Any]) -> dict[str, xr.DataArray]:
    """Return `key` and `reason` on (system, feature)."""
    coords = {"feature": np.array(list(keys), np.str_)}
    key = np.stack([np.asarray(column, np.uint64) for column in keys.values()], axis=1)
    reason = np.stack([np.asarray(column, np.str_) for column in reasons.values()], axis=1)
    return {
        "key": xr.DataArray(key, coords, ("system", "feature"), attrs={"long_name": _KEY}),
        "reason": xr.DataArray(reason, coords, ("system", "feature"), attrs={"long_name": _REASON}),
    }


def _assembled(
    asked: Sequence[Asked], entries: Sequence[Entry], keys: Mapping[str, NDArray[np.uint64]], parts: Sequence[Part]
) -> xr.Dataset:
    """Return the whole table."""
    reasons = {}
    for name in keys:
        reasons[name] = np.full(len(entries), "", object)
        for part in (part for part in parts if name in part.rows):
            taken = part.rows[name]
            column = texts_of(part.ds["reason"].sel(feature=name))
            reasons[name][taken >= 0] = column[taken[taken >= 0]]
    ds = join_rows(asked, [entry.name for entry in entries], parts)
    of_rows = {
        "dataset_version": np.array([entry.metadata["version"] for entry in entries], np.int64),
        "digest": np.array([entry.metadata["digest"] for entry in entries], np.str_),
        "metadata_digest": np.array([input_digest(entry, "metadata") for entry in entries], np.str_),
    }
    about = {name: ("system", values) for name, values in of_rows.items()}
    return ds.assign_coords(about | _about_cells(keys, reasons))


def _codes(
    made: Mapping[str, dict[str, Any]], sources: Sequence[Known], parts: Sequence[Part]
) -> tuple[dict[str, dict[str, Any]], tuple[str, ...]]:
    """Return how the columns were made, with the code that values taken over were computed with, and what is odd."""
    found, warnings = {}, []
    for name, own in made.items():
        older = ""
        for source, part in zip(sources, parts, strict=True):
            code = source.made.get(name, {}).get("code", "")
            if code and code != own["code"] and (part.rows.get(name, np.empty(0)) >= 0).any():
                older = older or code
        if older and own["code"]:
            warnings.append(
                f"column {name}: the code of the feature {own['feature']} has changed since values were computed, its "
                f"version {own['version']} has not; give it another version, or compute again (--recompute {name})"
            )
        found[name] = {**own, "code": older or own["code"]}
    return found, tuple(warnings)


def _finish(
    store: Path,
    name: str,
    table: xr.Dataset,
    about: Mapping[str, Any],
    before: Published | None,
    tasks: Sequence[Task],
    files: list[Path],
    warnings: tuple[str, ...],
) -> Built:
    """Publish the table if it is another one than before, and say what was done."""
    is_new = before is None or before.digest != content_digest(table) or before.about != plain(about)
    systems = set(map(str, table["system"].values))
    dropped: tuple[str, ...] = ()
    if before is not None:
        dropped = tuple(sorted(set(map(str, open_table(store, name, before.version)["system"].values)) - systems))
    variables = tuple(variable for column in about["columns"].values() for variable in column["variables"])
    found = publish(store, name, table, about, columns=variables) if is_new or before is None else before
    forget(table_folder(store, name), files)
    computed = sum(len(names) for _, names in tasks)
    return Built(
        name=name,
        version=found.version,
        rows=found.rows,
        published=is_new,
        computed=computed,
        known=found.rows * len(about["columns"]) - computed,
        dropped=dropped,
        failures=failures_of(table),
        warnings=warnings,
    )


def failures_of(table: xr.Dataset) -> dict[str, str]:
    """Return the reasons of all values that a table lacks, by `system column`."""
    reason = texts_of(table["reason"])
    rows, columns = np.nonzero(reason != "")
    systems, names = table["system"].values, table["feature"].values
    return {
        f"{systems[row]} {names[column]}": str(reason[row, column]) for row, column in zip(rows, columns, strict=True)
    }


def made_with(asked: Sequence[Asked]) -> dict[str, dict[str, Any]]:
    """Return how each column of a table is made: feature, version, parameters, digest of the code, variables."""
    return {
        one.name: {
            "feature": one.feature.name,
            "version": one.feature.version,
            "parameters": one.plain,
            "locality": one.feature.locality,
            "code": code_digest(one.feature.compute),
            "variables": list(columns_of(one)),
        }
        for one in asked
    }
