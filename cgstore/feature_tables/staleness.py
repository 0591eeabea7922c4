"""Why a table is not what its spec asks for today: value by value, the version before held against what is now."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from cgstore.catalog import Entry, open_catalog
from cgstore.feature_tables.build import made_with
from cgstore.feature_tables.spec import Asked, TableSpec, asked_of, input_digest, rows_of, spec_of
from cgstore.feature_tables.storage import open_table, read_published, texts_of

__all__ = ["TableExplanation", "Value", "explain_table"]

CURRENT, STALE, NEW, FAILED, GONE = "current", "stale", "new", "failed", "gone"


@dataclass(frozen=True, slots=True)
class Value:
    """One feature of one system that is not current: its state and why."""

    system: str
    column: str
    state: str  # stale | new | failed | gone
    why: str


@dataclass(frozen=True, slots=True)
class TableExplanation:
    """What a build would do to a table, and why."""

    name: str
    version: int
    rows: int
    states: Mapping[str, int]  # values in each state
    values: tuple[Value, ...]  # those that are not current
    warnings: tuple[str, ...]  # code that changed without a new version


def explain_table(
    store: str | Path, name: str, spec: TableSpec | Path | str | Mapping[str, Any] | None = None
) -> TableExplanation:
    """Return what of a table is stale and why; nothing is computed.

    Parameters
    ----------
    store : folder of the store
    name : of the table
    spec : what is asked for now; by default what the table was built from

    Returns
    -------
    explanation : a value is `current`; `stale` because the content or metadata of its system, the parameters, the
        version of its feature, or a file that it depends on have changed; `new` where the table has no such row or
        column; `failed` where it has a reason instead of a value; or `gone`, where the spec asks for it no more

    Raises
    ------
    NotFound : there is no such table, or the spec finds no datasets
    """
    found = read_published(Path(store), name)
    asked_spec = spec_of(found.about["spec"] if spec is None else spec)
    asked, entries = asked_of(asked_spec), rows_of(asked_spec, open_catalog(store))
    ds = open_table(store, name, found.version).coords.to_dataset().compute()
    made, now = found.about["columns"], made_with(asked)
    before = _Before(ds, made)
    values = [value for entry in entries for one in asked if (value := before.look_at(entry, one)).state != CURRENT]
    wanted, columns = {entry.name for entry in entries}, {one.name for one in asked}
    gone_rows = [system for system in before.place if system not in wanted]
    gone = [
        Value(system, column, GONE, "the spec finds no such dataset any more")
        for system in gone_rows
        for column in made
    ]
    gone += [
        Value(system, column, GONE, "the spec has no such column any more")
        for column in made
        if column not in columns
        for system in before.place
        if system in wanted
    ]
    states = Counter(value.state for value in [*values, *gone])
    states[CURRENT] = len(entries) * len(asked) - len(values)
    return TableExplanation(name, found.version, found.rows, dict(states), (*values, *gone), _changed_code(made, now))


class _Before:
    """A version of a table as it is compared with what is asked now."""

    def __init__(self, ds: xr.Dataset, made: Mapping[str, Any]) -> None:
        self.made = made
        self.place = {str(name): row for row, name in enumerate(ds["system"].values)}
        self.column = {str(name): number for number, name in enumerate(ds["feature"].values)}
        self.key, self.version = ds["key"].values, ds["dataset_version"].values
        self.reason, self.digest = texts_of(ds["reason"]), texts_of(ds["digest"])
        self.metadata = texts_of(ds["metadata_digest"])

    def look_at(self, entry: Entry, asked: Asked) -> Value:
        """Return the state of one value."""
        row, column = self.place.get(entry.name), self.column.get(asked.name)
        if row is None or column is None:
            what = "dataset" if row is None else "column"
            return Value(entry.name, asked.name, NEW, f"a {what} that the table does not have yet")
        if int(self.key[row, column]) != asked.key(entry):
            return Value(entry.name, asked.name, STALE, "; ".join(self._reasons(entry, asked, row)))
        if self.reason[row, column]:
            return Value(entry.name, asked.name, FAILED, str(self.reason[row, column]))
        return Value(entry.name, asked.name, CURRENT, "")

    def _reasons(self, entry: Entry, asked: Asked, row: int) -> list[str]:
        """Say why a key is another one."""
        made, found = self.made[asked.name], []
        if made["feature"] != asked.feature.name:
            return [f"the feature is {asked.feature.name}, was {made['feature']}"]
        if made["version"] != asked.feature.version:
            found.append(f"feature {asked.feature.name} has version {asked.feature.version}, was {made['version']}")
        found += _differences(made["parameters"], asked.plain)
        if "content" in asked.feature.inputs and self.digest[row] != input_digest(entry, "content"):
            found.append(f"the dataset has version {entry.metadata['version']}, was {self.version[row]}")
        if "metadata" in asked.feature.inputs and self.metadata[row] != input_digest(entry, "metadata"):
            found.append("the metadata of the dataset have changed: temperature, composition, parameters …")
        return found or ["a file that it depends on has changed"]


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Say which parameters have changed."""
    names = sorted({*before, *now})
    return [f"{name} is {now.get(name)}, was {before.get(name)}" for name in names if before.get(name) != now.get(name)]


def _changed_code(made: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a warning for each column whose code has changed though its version has not."""
    return tuple(
        f"column {name}: the code of the feature {own['feature']} has changed, its version {own['version']} has not"
        for name, own in now.items()
        if (old := made.get(name))
        and (old["feature"], old["version"]) == (own["feature"], own["version"])
        and old["code"]
        and own["code"]
        and old["code"] != own["code"]
    )
