"""The spec of a table: which datasets are its rows, by facets, and which features with which parameters its columns."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field

from cgstore.catalog import Catalog, Entry
from cgstore.documents import Document, digest, load_document, parse_document
from cgstore.errors import InputError, NotFound
from cgstore.feature_tables.registry import Column, Feature, feature_named

__all__ = ["Asked", "TableSpec", "asked_of", "columns_of", "input_digest", "rows_of", "spec_of"]

_RESERVED = ("system", "dataset_version", "digest", "metadata_digest", "feature", "key", "reason")
_METADATA = ("kind", "temperature", "pressure", "ensemble", "forcefield", "composition", "parameters")
_RANGE = ".."


class _Column(Document):
    """The table `[columns.NAME]`: a feature, and its parameters beside it."""

    model_config = ConfigDict(extra="allow", frozen=True)

    feature: str


def _name(value: str) -> str:
    """Refuse what cannot be the name of a folder."""
    if not re.fullmatch("[a-z][a-z0-9_]*", value):
        raise ValueError(f"found {value!r}, expected lower-case letters, digits and _, a letter first")
    return value


class TableSpec(Document):
    """A TOML file: `name`, `title`, facets in `[datasets]`, one `[columns.NAME]` for each feature."""

    name: Annotated[str, AfterValidator(_name)]
    title: str = ""
    datasets: dict[str, Any] | tuple[dict[str, Any], ...]
    columns: Annotated[dict[str, _Column], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Asked:
    """A feature of a spec, its parameters, and the name it has in the table."""

    name: str
    feature: Feature
    parameters: Document

    @property
    def plain(self) -> dict[str, Any]:
        """The parameters as plain data, defaults and all."""
        return self.parameters.model_dump(mode="json")

    def key(self, entry: Entry) -> int:
        """Return the leading 64 bits of the digest of all that the value for a dataset depends on."""
        inputs: dict[str, Any] = {name: input_digest(entry, name) for name in self.feature.inputs}
        if self.feature.others is not None:
            inputs["others"] = self.feature.others(entry, self.parameters)
        own = {"name": self.feature.name, "version": self.feature.version, "parameters": self.plain}
        return int(digest({**own, "inputs": inputs})[:16], 16)


def input_digest(entry: Entry, name: str) -> str:
    """Return the digest of the content of a dataset, or of what of its metadata features depend on.

    >>> entry = Entry("a/r1/cg", {"digest": "12", "temperature": 300.0, "title": "A"}, "store/a/r1/cg")
    >>> input_digest(entry, "content"), len(input_digest(entry, "metadata"))
    ('12', 64)
    """
    if name == "content":
        return str(entry.metadata["digest"])
    return digest({key: entry.metadata[key] for key in _METADATA if entry.metadata.get(key) is not None})


def spec_of(spec: TableSpec | Path | str | Mapping[str, Any]) -> TableSpec:
    """Return a spec as it is, from its file, or from plain data.

    Raises
    ------
    InputError : the file is missing or wrong; the message lists every problem
    """
    if isinstance(spec, TableSpec):
        return spec
    if isinstance(spec, Mapping):
        return parse_document(dict(spec), TableSpec, where="table")
    return load_document(Path(spec), TableSpec)


def asked_of(spec: TableSpec) -> tuple[Asked, ...]:
    """Return the features of a spec with their parameters.

    Raises
    ------
    NotFound : there is no such feature
    InputError : parameters are wrong, two features want the same variable, or a name means something else
    """
    found, owner = [], dict.fromkeys(_RESERVED, "every table")
    for name, column in spec.columns.items():
        if not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name):
            raise InputError(f"table {spec.name}: found the column {name!r}, expected letters, digits and _")
        feature = feature_named(column.feature)
        where = f"table {spec.name}, columns.{name} ({feature.name})"
        asked = Asked(name, feature, parse_document(dict(column.model_extra or {}), feature.parameters, where=where))
        for variable in columns_of(asked):
            if variable in owner:
                raise InputError(f"{where}: has a variable {variable!r}, as has {owner[variable]}; rename one of them")
            owner[variable] = f"columns.{name}"
        found.append(asked)
    return tuple(found)


def columns_of(asked: Asked) -> dict[str, Column]:
    """Return the variables that a feature has in the table, by name, with the names of its columns in `Column.name`.

    Of a feature of locality `frame` each is followed by its error.
    """
    found = {}
    for column in asked.feature.columns(asked.parameters):
        found[column.name.format(asked.name)] = column
        if asked.feature.locality == "frame":
            what = f"standard error of the {column.meaning}" if column.meaning else ""
            error = Column(f"{column.name}_error", column.dims, column.units, what, column.dtype)
            found[error.name.format(asked.name)] = error
    return found


def rows_of(spec: TableSpec, catalog: Catalog) -> list[Entry]:
    """Return the datasets that a spec asks for, sorted by name.

    A facet is a value, a list of alternatives, or a range of numbers as text, "195..510", of which an end may be left
    open; several `[[datasets]]` are joined.

    Raises
    ------
    InputError, NotFound : as `Catalog.search`; or no dataset has all facets
    """
    wanted = [spec.datasets] if isinstance(spec.datasets, dict) else list(spec.datasets)
    found: dict[str, Entry] = {}
    for facets in wanted:
        found |= catalog.search(**{key: _facet(value) for key, value in facets.items()}).entries
    if not found:
        raise NotFound(f"table {spec.name}: found no dataset in {catalog.location} that has all the facets {wanted}")
    return [found[name] for name in sorted(found)]


def _facet(value: Any) -> Any:
    """Return a facet as `Catalog.search` takes it."""
    if not isinstance(value, str) or _RANGE not in value:
        return value
    low, _, high = value.partition(_RANGE)
    try:
        return tuple(float(end) if end.strip() else None for end in (low, high))
    except ValueError:
        return value  # a name with two dots
