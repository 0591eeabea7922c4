"""Intake catalogs of version 2 as text: listed datasets to YAML and back, so that they open without cgstore.

A file lists each dataset by an alias, because intake shows nothing else; its URLs are relative to `{CATALOG_DIR}`, so
that a store can be moved; its chunks are those of the disk, so that opening is lazy. Checked with intake 2.0.9.
"""

import os
import posixpath
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cgstore.errors import InputError, MissingExtra

__all__ = [
    "HEADER",
    "Listed",
    "is_remote",
    "read_listing",
    "read_text",
    "render_collections",
    "render_listing",
    "write_text",
]

HEADER = "# Written by cgstore; changes made by hand are lost. Opens with intake.open_catalog, without cgstore.\n"
_ZARR = "intake.readers.datatypes:Zarr"
_XARRAY = "intake.readers.readers:XArrayDatasetReader"
_YAML_FILE = "intake.readers.datatypes:YAMLFile"
_YAML_CATALOG = "intake.readers.readers:YAMLCatalogReader"


@dataclass(frozen=True, slots=True)
class Listed:
    """One dataset as a catalog file lists it: the folder or URL of the dataset, its version, what is known of it."""

    name: str
    location: str
    metadata: Mapping[str, Any]


def is_remote(location: str) -> bool:
    """Return whether a location is a URL and not a path of this machine.

    >>> is_remote("s3://bucket/store"), is_remote("store")
    (True, False)
    """
    return "://" in location


def render_listing(listed: Sequence[Listed], *, folder: str) -> str:
    """Return the YAML of one catalog file that will lie in `folder` (a path or a URL).

    Every `Listed.metadata` has `version` and `chunk_frames`, the frames of one chunk to be read at once.
    """
    document = _empty_document()
    for number, item in enumerate(sorted(listed, key=lambda item: item.name)):
        url = f"{_relative(item.location, folder)}/v{item.metadata['version']:06d}"
        arguments = {
            "args": [f"{{data(d{number})}}"],
            "chunks": {"frame": item.metadata["chunk_frames"]},
            "consolidated": True,
        }
        document["aliases"][item.name] = f"e{number}"
        document["data"][f"d{number}"] = _part("datatype", _ZARR, {"url": url}, {})
        document["entries"][f"e{number}"] = {
            **_part("reader", _XARRAY, arguments, dict(item.metadata)),
            "output_instance": "xarray:Dataset",
        }
    return _dump(document)


def render_collections(names: Sequence[str]) -> str:
    """Return the YAML of the top file, which nests the file `NAME.yaml` beside it for every name."""
    document = _empty_document()
    for number, name in enumerate(sorted(names)):
        document["aliases"][name] = f"e{number}"
        document["data"][f"d{number}"] = _part("datatype", _YAML_FILE, {"url": f"{{CATALOG_DIR}}/{name}.yaml"}, {})
        document["entries"][f"e{number}"] = {
            **_part("reader", _YAML_CATALOG, {"args": [f"{{data(d{number})}}"]}, {}),
            "output_instance": "intake.readers.entry:Catalog",
        }
    return _dump(document)


def read_listing(location: str) -> list[Listed]:
    """Read the datasets of a catalog file and of the files nested in it; `location` is a path or a URL.

    Raises
    ------
    InputError : there is no such file, or it is not an intake catalog of version 2 that lists cgstore datasets
    """
    return list(_walk(location, seen=set()))


def _walk(location: str, seen: set[str]) -> Iterator[Listed]:
    """Yield what a file and the files nested in it list; a file that nests itself is read once."""
    if location in seen:
        return
    seen.add(location)
    document = _parse(read_text(location), location)
    folder = posixpath.dirname(location) or "."
    for alias, token in document["aliases"].items():
        try:
            entry = document["entries"][token]
            data = document["data"][entry["kwargs"]["args"][0].removeprefix("{data(").removesuffix(")}")]
            url, reader, metadata = data["kwargs"]["url"], entry["reader"], entry["metadata"]
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            raise InputError(
                f"{location}: entry {alias!r} is not one that cgstore wrote; open this file with intake"
            ) from error
        url = _absolute(url.replace("{CATALOG_DIR}", folder))
        if reader == _YAML_CATALOG:
            yield from _walk(url, seen)
        else:
            yield Listed(alias, posixpath.dirname(url), metadata)


def _parse(text: str, location: str) -> dict[str, Any]:
    """Read the YAML text of an intake catalog of version 2."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"{location}: not a YAML file: {error}") from error
    parts = ("aliases", "data", "entries")
    if (
        not isinstance(document, dict)
        or document.get("version") != 2
        or not all(isinstance(document.get(part), dict) for part in parts)
    ):
        raise InputError(
            f"{location}: not an intake catalog of version 2; expected the keys version, {', '.join(parts)}"
        )
    return document


def read_text(location: str) -> str:
    """Read a text file from a path or a URL.

    Raises
    ------
    InputError : it is not there
    MissingExtra : the package for this kind of URL is not installed
    """
    import fsspec

    try:
        with fsspec.open(location, "rt", encoding="utf-8") as stream:
            return str(stream.read())
    except FileNotFoundError as error:
        raise InputError(f"{location}: no such file; expected a catalog written by cgstore") from error
    except ImportError as error:
        scheme = location.split("://")[0]
        raise MissingExtra.of(
            f"the fsspec package for {scheme}://", extra="s3", purpose=f"opening {location}"
        ) from error
    except ValueError as error:
        raise InputError(f"{location}: {error}; expected a path, or a URL such as s3://bucket/store") from error


def write_text(path: Path, text: str) -> None:
    """Replace a text file in one step: it is whole or as it was, whenever the process stops."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        with draft.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _relative(location: str, folder: str) -> str:
    """Return a location as seen from a catalog file in `folder`."""
    if is_remote(location):
        return location
    return "{CATALOG_DIR}/" + Path(os.path.relpath(location, folder)).as_posix()


def _absolute(location: str) -> str:
    """Remove `a/../` from a path or URL."""
    scheme, separator, path = location.rpartition("://")
    return scheme + separator + posixpath.normpath(path)


def _empty_document() -> dict[str, Any]:
    """Return the frame of an intake catalog."""
    return {"version": 2, "metadata": {}, "aliases": {}, "user_parameters": {}, "data": {}, "entries": {}}


def _part(key: str, kind: str, arguments: dict[str, Any], metadata: dict[str, Any]) -> dict[str, Any]:
    """Return what data and readers have in common."""
    return {key: kind, "kwargs": arguments, "metadata": metadata, "user_parameters": {}}


class _Dumper(yaml.SafeDumper):
    """Writes shared values twice instead of as YAML anchors, which nobody wants to read."""

    def ignore_aliases(self, data: Any) -> bool:
        """Return that no value is written as an anchor."""
        return True


def _dump(document: dict[str, Any]) -> str:
    """Return the YAML text, keys in the order given."""
    body: str = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return HEADER + body
