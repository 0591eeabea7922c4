"""The catalog: every dataset of a store with what is known of it, found by name or by facets, opened lazily.

A catalog of a folder is read from the manifests, which are the truth; elsewhere it is read from the intake YAML that
each store keeps beside its data. A catalog is a snapshot: an entry opens the version that it lists.
"""

import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import xarray as xr

from cgstore.documents import did_you_mean
from cgstore.errors import InputError, IntegrityError, NotFound
from cgstore.facets import check_question, facets_of, lipids, matches
from cgstore.intake_files import (
    HEADER,
    Listed,
    is_remote,
    read_listing,
    render_collections,
    render_listing,
    write_text,
)
from cgstore.store.integrity import list_datasets, list_versions, read_manifest, version_folder
from cgstore.store.layout import block_frames
from cgstore.store.opening import open_version

__all__ = [
    "COLUMNS",
    "Catalog",
    "Entry",
    "check_collections",
    "open_catalog",
    "plain_text",
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
        return list(self.metadata["versions"]) if is_remote(self.location) else list_versions(self.path)

    def open(self, version: int | None = None) -> xr.Dataset:
        """Open a version lazily, the listed one by default; see `cgstore schema` for the variables.

        Raises
        ------
        NotFound : there is no such version
        IntegrityError : the version is damaged
        """
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
            raise NotFound(f"{self.location}: found no dataset {name!r}{known}")
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
        return [{k: v for k, v in entry.metadata.items() if k not in _BACKGROUND} for entry in self.values()]

    def facets(self) -> dict[str, list[Any]]:
        """Return every facet that `search` knows here, with the values that occur, sorted."""
        found: dict[str, set[Any]] = {}
        for entry in self.values():
            for key, values in facets_of(entry.metadata).items():
                found.setdefault(key, set()).update(values)
        return {
            key: sorted(values, key=lambda value: (str(type(value)), value)) for key, values in sorted(found.items())
        }

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
        known = self.facets()
        for key, wanted in facets.items() if self.entries else ():
            check_question(key, wanted, known, where=self.location)
        kept = {
            name: entry
            for name, entry in self.entries.items()
            if all(matches(facets_of(entry.metadata).get(key, ()), wanted) for key, wanted in facets.items())
        }
        return Catalog(self.location, kept)

    def __repr__(self) -> str:
        """Show the datasets as a text table."""
        table = [list(COLUMNS.values()), *([cell for _, cell in _cells(entry)] for entry in self.values())]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = (
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table
        )
        return "\n".join([self._title(), *(lines if self.entries else ())])

    def _repr_html_(self) -> str:
        """Show the datasets as a table in a notebook."""
        head = "".join(f"<th>{escape(title)}</th>" for title in COLUMNS.values())
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for _, cell in _cells(entry)) + "</tr>"
            for entry in self.values()
        )
        return f"<div>{escape(self._title())}<table><tr>{head}</tr>{body}</table></div>"

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
    InputError : there is no store or catalog at this place
    """
    text = os.fspath(location)
    if text.startswith("file://"):
        text = text.removeprefix("file://")
    if is_remote(text):
        file = text if text.endswith((".yaml", ".yml")) else f"{text.rstrip('/')}/catalog.yaml"
        return Catalog(text, {item.name: Entry(item.name, item.metadata, item.location) for item in read_listing(file)})
    path = Path(text)
    if path.is_dir():
        return _scan(path)
    if path.is_file():
        return Catalog(text, {item.name: Entry(item.name, item.metadata, item.location) for item in read_listing(text)})
    raise InputError(
        f"{text}: no such store; make one with cgstore ingest RECIPE --archive DIR --store {text}, "
        "or name another with --store or the variable CGSTORE_STORE"
    )


def write_catalog(store: Path) -> None:
    """Write `catalog.yaml` of a store: the newest version of each dataset, for plain intake and for URLs."""
    written = None
    # Another ingest may publish between our scan and our write; whoever writes last has seen everything.
    while (text := _render(_scan(store), store)) != written:
        write_text(store / "catalog.yaml", text)
        written = text


def write_collections(store: str | os.PathLike[str], folder: Path) -> list[Path]:
    """Write one intake YAML per kind of system into `folder`, and `catalog.yaml`, which nests them.

    Files that an earlier call wrote for a kind that is no longer there are removed.
    """
    expected = _collections(open_catalog(store), folder)
    for name, text in expected.items():
        write_text(folder / name, text)
    for path in _written_before(folder):
        if path.name not in expected:
            path.unlink()
    return [folder / name for name in expected]


def check_collections(store: str | os.PathLike[str], folder: Path) -> list[str]:
    """Return what `write_collections` would change, as sentences; empty when the files are up to date."""
    expected = _collections(open_catalog(store), folder)
    problems = []
    for name, text in expected.items():
        path = folder / name
        if not path.is_file():
            problems.append(f"{path}: missing; run cgstore catalog")
        elif path.read_text(encoding="utf-8") != text:
            problems.append(f"{path}: differs from the store {store}; run cgstore catalog")
    stale = [path for path in _written_before(folder) if path.name not in expected]
    return problems + [f"{path}: the store has no such datasets any more; run cgstore catalog" for path in stale]


def _scan(store: Path) -> Catalog:
    """List a store from its manifests; what cannot be read is set aside with a warning."""
    entries, damaged = {}, {}
    for name in list_datasets(store):
        try:
            entries[name] = Entry(name, _metadata(name, store / name), str(store / name))
        except (IntegrityError, OSError, KeyError, ValueError) as error:
            damaged[name] = f"{store / name}: {error}"
            _log.warning("%s is not listed: %s; run cgstore verify", name, error)
    return Catalog(str(store), entries, damaged)


def _metadata(name: str, dataset: Path) -> dict[str, Any]:
    """Gather what is known of the newest version of a dataset."""
    versions = list_versions(dataset)
    folder = version_folder(dataset, versions[-1])
    manifest = read_manifest(folder)
    attrs = dict(manifest.attrs)
    system, run, level = name.split("/")
    composition = attrs.get("composition") or {}
    facts = {
        "name": name,
        "kind": attrs.get("kind"),
        "system": system,
        "run": run,
        "level": level,
        "version": manifest.version,
        "frames": manifest.frames,
        "particles": manifest.particles,
        "time_ps": manifest.time_ps,
        "bytes": manifest.bytes,
        "digest": manifest.digest,
        "temperature": attrs.get("temperature"),
        "composition": composition,
        "lipid": lipids(composition),
        "versions": versions,
    }
    chunk = block_frames(manifest.particles, manifest.frames)
    return {**facts, **{key: value for key, value in attrs.items() if key not in facts}, "chunk_frames": chunk}


def _listed(catalog: Catalog, kind: str | None = None) -> list[Listed]:
    """Return the entries of a catalog, or of one kind of system, as catalog files list them."""
    entries = [entry for entry in catalog.values() if kind is None or _collection(entry) == kind]
    return [Listed(entry.name, entry.location, entry.metadata) for entry in entries]


def _render(catalog: Catalog, folder: Path) -> str:
    """Return the YAML of a whole catalog."""
    return render_listing(_listed(catalog), folder=str(folder))


def _collection(entry: Entry) -> str:
    """Name the collection of an entry: its kind of system."""
    return entry.metadata.get("kind") or "other"


def _collections(catalog: Catalog, folder: Path) -> dict[str, str]:
    """Return the text of every file that belongs into `catalogs/`."""
    kinds = sorted({_collection(entry) for entry in catalog.values()})
    files = {f"{kind}.yaml": render_listing(_listed(catalog, kind), folder=str(folder)) for kind in kinds}
    return {**files, "catalog.yaml": render_collections(kinds)}


def _written_before(folder: Path) -> list[Path]:
    """Return the files of a folder that cgstore wrote."""
    return [path for path in sorted(folder.glob("*.yaml")) if path.read_text(encoding="utf-8").startswith(HEADER)]


def _cells(entry: Entry) -> list[tuple[str, str]]:
    """Return the columns of a table with the text of each cell."""
    row = entry.metadata
    return [(key, f"{row[key] / 1e6:.2f}" if key == "bytes" else plain_text(row.get(key))) for key in COLUMNS]


def plain_text(value: Any) -> str:
    """Show a value of the metadata to people."""
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {plain_text(inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(plain_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
