"""The catalog: every dataset of a store with what is known of it, found by name or by facets, opened lazily.

A catalog of a folder is what its manifests say, remembered by the index of the store; that of a URL is the index, or
the intake YAML that each store keeps beside its data. A catalog is a snapshot: an entry opens the version it lists.
"""

import json
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from cgstore.documents import did_you_mean
from cgstore.errors import InputError, IntegrityError, NotFound, StoreError
from cgstore.facets import check_question, column_of, counted, facets_of, in_order, matcher
from cgstore.intake_files import (
    Listed,
    is_remote,
    plan_files,
    read_bytes,
    read_listing,
    remove_stale,
    render_nest,
    stale_files,
    write_text,
)
from cgstore.printable import one_line
from cgstore.store.locations import checked
from cgstore.store_index import INDEX, MOST_BYTES, Index, check_row, index_of, parse_index, write_catalog

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "COLUMNS",
    "Catalog",
    "Entry",
    "check_collections",
    "open_catalog",
    "plain_text",
    "without_credentials",
    "write_catalog",
    "write_collections",
]

_log = logging.getLogger(__name__)

COLUMNS = {  # of tables: heading and unit
    "name": "name",
    "kind": "kind",
    "version": "version",
    "frames": "frames",
    "particles": "particles",
    "time_ps": "time (ps)",
    "temperature": "T (K)",
    "bytes": "size (MB)",
    "composition": "composition",
}
_LEFT = 'style="text-align:left"'
_BACKGROUND = ("chunk_frames", "created_with", "lineage", "sources", "versions")  # not for tables
_MOST_ROWS, _ENDS = 60, 10  # a longer table shows its ends
_KIND = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True, slots=True)
class Entry:
    """One dataset of a catalog: its `name`, its `metadata`, and its `location`, a folder or a URL."""

    name: str
    metadata: Mapping[str, Any] = field(repr=False)
    location: str

    @property
    def path(self) -> Path:
        """The folder of the dataset.

        Raises
        ------
        InputError : the dataset is not on this machine
        """
        if is_remote(self.location):
            raise InputError(f"{self.name}: found {self.location}, expected a dataset on this machine; copy the store")
        return Path(self.location)

    def versions(self) -> list[int]:
        """Return the versions that can be opened, the oldest first."""
        from cgstore.store.integrity import list_versions

        return list(self.metadata["versions"]) if is_remote(self.location) else list_versions(self.path)

    def open(self, version: int | None = None) -> "xr.Dataset":
        """Open a version lazily, the listed one by default; see `cgstore schema` for the variables.

        Raises
        ------
        NotFound : there is no such version
        IntegrityError : the version is damaged
        """
        from cgstore.store.opening import open_version

        wanted = self.metadata["version"] if version is None else version
        if version is not None and version not in (known := self.versions()):
            raise NotFound(f"{self.name}: found no version {version}; there are {', '.join(map(str, known)) or 'none'}")
        return open_version(f"{self.location}/v{wanted:06d}")

    def _repr_html_(self) -> str:
        """Show a card: what is known, and the line that opens the dataset."""
        rows = "".join(
            f"<tr><th {_LEFT}>{escape(key)}</th><td {_LEFT}>{escape(plain_text(value))}</td></tr>"
            for key, value in self.metadata.items()
            if key not in _BACKGROUND and value not in (None, "", [], {})
        )
        return f"<table>{rows}</table><code>catalog[&quot;{escape(self.name)}&quot;].open()</code>"


@dataclass(frozen=True, slots=True)
class Catalog:
    """Datasets by name, like a read-only dictionary of `Entry`; `search` gives a smaller one.

    `damaged` says for each dataset that could not be listed what is wrong with it.
    """

    location: str
    entries: Mapping[str, Entry] = field(default_factory=dict)
    damaged: Mapping[str, str] = field(default_factory=dict)
    _columns: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __getitem__(self, name: str) -> Entry:
        """Return a dataset by its name.

        Raises
        ------
        NotFound : there is no such dataset; the message names the nearest one
        IntegrityError : it is there, but cannot be read
        """
        if name in self.damaged:
            raise IntegrityError(f"{self.damaged[name]}; run cgstore verify --store {self.location}")
        if name not in self.entries:
            known = did_you_mean(name, self.entries) or "; the catalog is empty"
            many = len(self) > _MOST_ROWS and not known.startswith("; did you")
            hint = f" among {len(self)}; find it with search" if many else known
            raise NotFound(f"{self.location}: found no dataset {name!r}{hint}")
        return self.entries[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self.entries)

    def __len__(self) -> int:
        """Count the datasets."""
        return len(self.entries)

    def __contains__(self, name: object) -> bool:
        """Tell whether a dataset is listed."""
        return name in self.entries

    def keys(self) -> list[str]:
        """Return the names."""
        return list(self.entries)

    def values(self) -> list[Entry]:
        """Return the entries."""
        return list(self.entries.values())

    def items(self) -> list[tuple[str, Entry]]:
        """Return names and entries."""
        return list(self.entries.items())

    def rows(self) -> list[dict[str, Any]]:
        """Return the metadata of each dataset as plain data, what `cgstore ls --json` prints."""
        return [{k: v for k, v in entry.metadata.items() if k not in _BACKGROUND} for entry in self._listed()]

    def facets(self) -> dict[str, list[Any]]:
        """Return every facet that `search` knows here, with the values that occur, sorted."""
        return facets_of(entry.metadata for entry in self.entries.values())

    def search(self, **facets: Any) -> "Catalog":
        """Return the datasets to which every facet applies.

        Parameters
        ----------
        facets : a value (equal to it, exactly), a list (one of them) or a tuple of two numbers (a closed range;
            None leaves an end open). `component` and `lipid` match a species of the composition, `tags` one of the
            tags; the parameters of a recipe are facets under their own names. What is known of a name: `facets()`.

        Raises
        ------
        NotFound : no dataset has this facet; the message says which there are
        InputError : a text where the facet is a number, or a range where it is a text
        """
        columns = {key: self._column(key) for key in (facets if self.entries else ())}
        for key, column in columns.items():
            values = in_order({value for found in column for value in found})
            check_question(key, facets[key], {key: values} if values else self.facets(), where=self.location)
        places = list(range(len(self)))
        for key, column in columns.items():
            is_wanted = matcher(facets[key])
            places = [place for place in places if is_wanted(column[place])]
        items = self.items()
        return Catalog(self.location, dict(items[place] for place in places))

    def _column(self, key: str) -> list[tuple[Any, ...]]:
        """Return the values of one facet of every dataset, made once."""
        if key not in self._columns:
            self._columns[key] = column_of((entry.metadata for entry in self.entries.values()), key)
        return self._columns[key]

    def table(self, *, whole: bool = True) -> str:
        """Return the datasets as a text table: all of them, or only its ends where it is long."""
        cells = [[cell for _, cell in _cells(entry)] if entry else ["…"] + [""] * (len(COLUMNS) - 1)
                 for entry in (self._listed() if whole else self._shown())]  # fmt: skip
        rows = [list(COLUMNS.values()), *cells]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
        return "\n".join([self._title(), *(lines if self.entries else ())])

    def __repr__(self) -> str:
        """Show the datasets as a text table, of a long one the ends."""
        return self.table(whole=False)

    def _repr_html_(self) -> str:
        """Show the datasets as a table in a notebook, of a long one the ends."""
        head = "".join(f"<th>{escape(title)}</th>" for title in COLUMNS.values())
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in ([c for _, c in _cells(entry)] if entry else "…"))
            + "</tr>" for entry in self._shown()
        )  # fmt: skip
        return f"<div>{escape(self._title())}<table><tr>{head}</tr>{body}</table></div>"

    def _shown(self) -> list[Entry | None]:
        """Return the entries that a table shows; None stands for those that it leaves out."""
        entries = self._listed()
        return [*entries[:_ENDS], None, *entries[-_ENDS:]] if len(entries) > _MOST_ROWS else list(entries)

    def _listed(self) -> list[Entry]:
        """Return the entries in the order in which people count: r2 before r10."""
        return sorted(self.values(), key=lambda entry: counted(entry.name))

    def _ipython_key_completions_(self) -> list[str]:
        """Complete names after `catalog["`."""
        return list(self.entries)

    def _title(self) -> str:
        """Say where the catalog comes from and how many datasets it has."""
        return f"Catalog of {self.location}: {len(self)} dataset{'' if len(self) == 1 else 's'}"


def open_catalog(location: str | os.PathLike[str]) -> Catalog:
    """Open the catalog of a store.

    Parameters
    ----------
    location : folder or URL (s3://, file:// …) of a store, or an intake YAML written by cgstore

    Raises
    ------
    InputError : there is no store or catalog at this place, or the URL carries credentials
    StoreError : it cannot be read
    """
    text = os.fspath(location)
    if text.startswith("file://"):
        text = unquote(urlsplit(text).path)
    if is_remote(text):
        return _open_url(without_credentials(text))
    path = Path(text)
    if path.is_dir():
        return _catalog(text, index_of(path))
    if path.is_file():
        return _from_listing(text)
    raise InputError(
        f"{text}: no such store; make one with cgstore ingest RECIPE --archive DIR --store {text}, "
        "or name another with --store or the variable CGSTORE_STORE"
    )


def without_credentials(location: str) -> str:
    """Return a folder or URL, without closing slashes, if it may be shown and written down.

    Raises
    ------
    InputError : a URL, or one in a chain such as `simplecache::s3://…`, has a user, a password or a query

    Examples
    --------
    >>> without_credentials("simplecache::s3://bucket/store/")
    'simplecache::s3://bucket/store'
    """
    return "::".join(checked(link) for link in location.split("::"))


def write_collections(store: str | os.PathLike[str], folder: Path) -> list[Path]:
    """Write one intake YAML per kind of system into `folder`, and `catalog.yaml`, which nests them; return these files.

    A kind of 1 000 datasets or more is one file per system, nested by that of the kind. Files that an earlier call
    wrote for what is no longer there are removed.
    """
    expected = _collections(open_catalog(store), folder)
    for name, render in expected.items():
        write_text(folder / name, render(), sync="/" not in name)
    remove_stale(folder, expected)
    return [folder / name for name in expected if "/" not in name]


def check_collections(store: str | os.PathLike[str], folder: Path) -> list[str]:
    """Return what `write_collections` would change, as sentences; empty when the files are up to date."""
    expected = _collections(open_catalog(store), folder)
    problems = []
    for name, render in expected.items():
        path = folder / name
        if not path.is_file():
            problems.append(f"{path}: missing; run cgstore catalog")
        elif path.read_text(encoding="utf-8", errors="replace") != render():
            problems.append(f"{path}: differs from the store {store}; run cgstore catalog")
    stale = stale_files(folder, expected)
    return problems + [f"{path}: the store has no such datasets any more; run cgstore catalog" for path in stale]


def _catalog(location: str, index: Index) -> Catalog:
    """Make the catalog of a store from what was seen of it."""
    entries = {name: Entry(name, row, f"{location}/{name}") for name, row in index.rows.items()}
    return Catalog(location, entries, index.damaged)


def _open_url(url: str) -> Catalog:
    """Open the store or the catalog file at a URL."""
    if url.endswith((".yaml", ".yml")):
        return _from_listing(url)
    try:
        text = read_bytes(f"{url}/{INDEX}", most=MOST_BYTES)
        return _catalog(url, parse_index(text, where=f"{url}/{INDEX}"))
    except (InputError, StoreError) as error:  # of an older cgstore; or a place that is known only by its files
        _log.info("%s is not used: %s", INDEX, error)
    return _from_listing(f"{url}/catalog.yaml", store=url)


def _from_listing(file: str, *, store: str | None = None) -> Catalog:
    """Read a catalog from an intake YAML; that of a store lists what is inside the store, and nothing else."""
    entries = {}
    for item in read_listing(file, check=without_credentials):
        name = str(item.name)
        try:
            check_row(name, item.metadata, where=file)
            json.dumps(item.metadata, allow_nan=False)
        except (IntegrityError, TypeError, ValueError) as error:
            raise InputError(f"{file}: entry {name[:80]!r} is not one that cgstore wrote: {error}") from error
        inside = item.location == f"{store}/{name}" if store else f"/{item.location}".endswith(f"/{name}")
        if not inside:
            raise InputError(f"{file}: entry {name!r} leads to another place than …/{name}")
        entries[name] = Entry(name, item.metadata, item.location)
    return Catalog(store or file, entries)


def _collection(entry: Entry) -> str:
    """Name the collection of an entry: its kind of system, if that can be the name of a file beside catalog.yaml."""
    kind = entry.metadata.get("kind")
    return kind if isinstance(kind, str) and _KIND.fullmatch(kind) and kind != "catalog" else "other"


def _collections(catalog: Catalog, folder: Path) -> dict[str, Callable[[], str]]:
    """Return what makes every file that belongs into `catalogs/`."""
    kinds: dict[str, list[Listed]] = {}
    for entry in catalog.values():
        kinds.setdefault(_collection(entry), []).append(Listed(entry.name, entry.location, entry.metadata))
    files: dict[str, Callable[[], str]] = {}
    for kind in sorted(kinds):
        files |= plan_files(kinds[kind], folder, kind)
    return {**files, "catalog.yaml": partial(render_nest, {kind: f"{kind}.yaml" for kind in kinds})}


def _cells(entry: Entry) -> list[tuple[str, str]]:
    """Return the columns of a table with the text of each cell."""
    row = entry.metadata
    return [(key, f"{row[key] / 1e6:.2f}" if key == "bytes" else plain_text(row.get(key))) for key in COLUMNS]


def plain_text(value: Any) -> str:
    """Show a value of the metadata to people."""
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return ", ".join(f"{one_line(str(key))} {plain_text(inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(plain_text, value))
    return f"{value:g}" if isinstance(value, float) else one_line(str(value))
