"""Tables on disk: `STORE/tables/NAME/v000001`, plain zarr folders that appear whole, with a sealed manifest each.

Any program that reads zarr 3 opens them; `STORE/tables/catalog.yaml` lists the newest versions for intake.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.documents import did_you_mean, digest
from cgstore.errors import CgstoreError, ConflictError, InputError, IntegrityError, NotFound
from cgstore.intake_files import HEADER, write_text
from cgstore.store.claims import no_links
from cgstore.store.folders import publish_folder, staging
from cgstore.store.integrity import numbered
from cgstore.store.layout import FORMAT, check_format, consolidate, plain
from cgstore.store.manifests import check_files, describe_files, read_sealed, write_sealed
from cgstore.store.stopping import StoppableStore

__all__ = [
    "FOLDER",
    "Published",
    "content_digest",
    "open_table",
    "publish",
    "read_published",
    "table_folder",
    "tables",
    "texts_of",
]

FOLDER = "tables"
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_CHUNK_BYTES = 2**22  # of a column, read at once
_ROWS = 2**16  # in a chunk at most
_TRIES = 20
_CODECS = frozenset({"bytes", "blosc", "crc32c", "vlen-utf8", "zstd"})
_PACKED = [
    {
        "name": "blosc",
        "configuration": {"cname": "zstd", "clevel": 5, "shuffle": "shuffle", "typesize": 4, "blocksize": 0},
    },
    {"name": "crc32c"},
]


@dataclass(frozen=True, slots=True)
class Published:
    """One version of a table, as its manifest says it; `about` is the spec and how each column was made."""

    name: str
    version: int
    digest: str
    rows: int
    columns: tuple[str, ...]
    failed: int  # rows that lack a value
    bytes: int
    about: Mapping[str, Any]
    folder: Path


def table_folder(store: Path, name: str) -> Path:
    """Return the folder of a table.

    Raises
    ------
    InputError : this cannot be the name of a table
    """
    if not _NAME.fullmatch(name):
        raise InputError(f"table {name[:80]!r}: expected lower-case letters, digits and _, a letter first")
    return Path(store) / FOLDER / name


def tables(store: Path) -> list[Published]:
    """Return the newest version of every table of a store, sorted by name."""
    folder = Path(store) / FOLDER
    names = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    return [read_published(store, name) for name in names if _NAME.fullmatch(name) and _versions(folder / name)]


def _versions(folder: Path) -> list[int]:
    """Return the versions of a table, the oldest first."""
    return sorted(numbered(path.name for path in folder.iterdir())) if folder.is_dir() else []


def read_published(store: Path, name: str, version: int | None = None) -> Published:
    """Return what the manifest of a version says, of the newest by default.

    Raises
    ------
    NotFound : there is no such table or version
    IntegrityError : the manifest is damaged
    """
    folder = table_folder(store, name)
    known = _versions(folder)
    if not known:
        others = [path.name for path in folder.parent.iterdir()] if folder.parent.is_dir() else []
        hint = did_you_mean(name, [other for other in others if _NAME.fullmatch(other)])
        raise NotFound(f"{store}: found no table {name!r}{hint}; make one with cgstore table build SPEC.toml")
    if version is not None and version not in known:
        raise NotFound(f"table {name}: found no version {version}; there are {', '.join(map(str, known))}")
    number = version or known[-1]
    place = folder / f"v{number:06d}"
    content = read_sealed(place)
    check_format(content, where=str(place))
    try:
        fields = {key: content[key] for key in ("name", "version", "digest", "rows", "failed", "bytes", "about")}
        sound = (fields["name"], fields["version"]) == (name, number) and isinstance(fields["about"], dict)
        columns = tuple(map(str, content["columns"]))
    except (KeyError, TypeError) as error:
        raise IntegrityError(f"{place}: not a table: its manifest lacks {error}") from error
    if not sound:
        raise IntegrityError(f"{place}: not this table: its manifest is that of {fields['name']} v{fields['version']}")
    return Published(**fields, columns=columns, folder=place)


def open_table(store: str | Path, name: str, version: int | None = None) -> xr.Dataset:
    """Open a table lazily: a dataset with the dim `system`, one row for each dataset of its spec.

    Parameters
    ----------
    store : folder of the store
    name : of the table
    version : the newest by default

    Returns
    -------
    dataset, read when it is computed. Its variables are the columns on (system, …), with `units` and `long_name`; as
    coordinates it has `dataset_version`, `digest` of the content that each row was computed from, `metadata_digest`,
    and `key` and `reason` (system, feature), the digest of all that a value depends on, and why there is none

    Raises
    ------
    NotFound : there is no such table or version
    IntegrityError : a file is missing, or has another size than when it was published
    """
    found = read_published(Path(store), name, version)
    no_links(found.folder, where=str(found.folder))
    content = read_sealed(found.folder)
    if damage := check_files(found.folder, content["files"], deep=False):
        raise IntegrityError(f"{found.folder}: {_sentence(damage)}; delete this folder and build the table again")
    _check_codecs(found.folder)
    try:
        ds: xr.Dataset = xr.open_zarr(found.folder, consolidated=True)
    except Exception as error:  # zarr has many ways to say that metadata are not its own
        raise IntegrityError(f"{found.folder}: not a table: {error}; delete this folder and build it again") from error
    labels = [dim for dim in ds.dims if dim in ds.coords and ds[dim].dtype.kind in "TO"]
    return ds.assign_coords({dim: (dim, texts_of(ds[dim]).astype(np.str_), ds[dim].attrs) for dim in labels})


def texts_of(array: xr.DataArray) -> NDArray[np.object_]:
    """Return text of any kind as Python text; the variable-width one of NumPy does not become the other kinds."""
    return np.array(array.values.tolist(), np.object_).reshape(array.shape)


def _sentence(damage: Mapping[str, str]) -> str:
    """Say what is wrong with files."""
    return "; ".join(f"{path} {problem}" for path, problem in list(damage.items())[:3])


def _check_codecs(folder: Path) -> None:
    """Refuse arrays that cgstore would not have written: codecs can be any program that is installed."""
    try:
        arrays = json.loads((folder / "zarr.json").read_bytes())["consolidated_metadata"]["metadata"]
        names = {codec["name"] for array in arrays.values() for codec in array["codecs"]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityError(f"{folder}: not a table: {error!r}; delete this folder and build it again") from error
    if strange := names - _CODECS:
        raise IntegrityError(f"{folder}: found the codec {sorted(strange)[0]!r}; cgstore does not write tables with it")


def content_digest(ds: xr.Dataset) -> str:
    """Return the digest of all values and labels of a table, whatever their order on disk."""
    parts = {}
    for name, array in ds.variables.items():
        values = np.ascontiguousarray(array.values)
        raw = json.dumps(values.tolist()).encode() if values.dtype.kind in "UTO" else values.tobytes()
        parts[str(name)] = [list(map(str, array.dims)), list(values.shape), hashlib.sha256(raw).hexdigest()]
    return digest(parts)


def publish(store: Path, name: str, ds: xr.Dataset, about: Mapping[str, Any], *, columns: tuple[str, ...]) -> Published:
    """Write a table as its next version and list it for intake; if another process takes that number, as the one after.

    Raises
    ------
    ConflictError : others take every number
    """
    failed = int((texts_of(ds["reason"]) != "").any(axis=1).sum()) if ds.sizes["system"] else 0
    facts = {"digest": content_digest(ds), "rows": ds.sizes["system"], "failed": failed, "columns": list(columns)}
    for left in reversed(range(_TRIES)):
        try:
            version = _publish(table_folder(store, name), ds, {**facts, "name": name, "about": plain(about)})
            break
        except ConflictError:
            if not left:
                raise
    _list(store)
    return read_published(store, name, version)


def _publish(folder: Path, ds: xr.Dataset, facts: Mapping[str, Any]) -> int:
    """Publish a table under the next number, and return it."""
    version = max(_versions(folder), default=0) + 1
    own = {"cgstore_format": FORMAT, "name": facts["name"], "version": version, "digest": facts["digest"]}
    with staging(folder) as staged:
        _write(staged, ds.assign_attrs({**own, "about": json.dumps(facts["about"])}))
        files = describe_files(staged)
        size = sum(entry["size"] for entry in files.values())
        write_sealed(staged, {**facts, **own, "files": files, "bytes": size})
        publish_folder(staged, folder / f"v{version:06d}")
    return version


def _write(folder: Path, ds: xr.Dataset) -> None:
    """Write a dataset as a zarr group: every number in chunks with a checksum, text as text."""
    encoding: dict[str, dict[str, Any]] = {}
    texts = {}
    for key, array in ds.variables.items():
        row = max(1, array.nbytes // max(1, len(array)) if array.ndim else 1)
        rows = max(1, min(len(array), _CHUNK_BYTES // row, _ROWS)) if array.ndim else 1
        chunks = (rows, *(max(1, size) for size in array.shape[1:])) if array.ndim else ()
        encoding[str(key)] = {"chunks": chunks} if array.ndim else {}
        if array.dtype.kind in "UTO":
            texts[key] = (array.dims, array.values.astype(object), array.attrs)
        else:
            encoding[str(key)]["compressors"] = _PACKED
    store = StoppableStore(folder)
    try:
        plainly = ds.drop_encoding().assign({key: value for key, value in texts.items() if key not in ds.coords})
        plainly = plainly.assign_coords({key: value for key, value in texts.items() if key in ds.coords})
        plainly.to_zarr(store, zarr_format=3, consolidated=False, mode="w", encoding=encoding)
    finally:
        store.stop()
    consolidate(folder)


def _list(store: Path) -> None:
    """Write the intake catalog of all tables; JSON is YAML."""
    document: dict[str, Any] = {
        "version": 2,
        "metadata": {},
        "aliases": {},
        "user_parameters": {},
        "data": {},
        "entries": {},
    }
    for number, item in enumerate(_sound(store)):
        url = f"{{CATALOG_DIR}}/{item.name}/v{item.version:06d}"
        about = {
            "title": item.about.get("title", ""),
            "version": item.version,
            "rows": item.rows,
            "digest": item.digest,
        }
        document["aliases"][item.name] = f"e{number}"
        document["data"][f"d{number}"] = _part("datatype", "intake.readers.datatypes:Zarr", {"url": url}, {})
        arguments = {"args": [f"{{data(d{number})}}"], "chunks": {}, "consolidated": True}
        document["entries"][f"e{number}"] = {
            **_part("reader", "intake.readers.readers:XArrayDatasetReader", arguments, about),
            "output_instance": "xarray:Dataset",
        }
    write_text(Path(store) / FOLDER / "catalog.yaml", HEADER + json.dumps(document, indent=1) + "\n")


def _sound(store: Path) -> list[Published]:
    """Return the tables that can be listed."""
    found = []
    for path in sorted((Path(store) / FOLDER).iterdir()):
        try:
            if path.is_dir() and _NAME.fullmatch(path.name) and _versions(path):
                found.append(read_published(store, path.name))
        except CgstoreError:
            continue  # whoever opens it is told
    return found


def _part(key: str, kind: str, arguments: dict[str, Any], metadata: dict[str, Any]) -> dict[str, Any]:
    """Return what data and readers of intake have in common."""
    return {key: kind, "kwargs": arguments, "metadata": metadata, "user_parameters": {}}
