"""Intake catalogs of version 2 as text: listed datasets to YAML and back, so that they open without cgstore.

A file lists each dataset by an alias, because intake shows nothing else; its URLs are relative to `{CATALOG_DIR}`, so
that a store can be moved; its chunks are those of the disk, so that opening is lazy. Checked with intake 2.0.9.

Intake takes a millisecond per entry, so a long list is a file that nests one file per system. A file that is read is
not trusted: plain data without aliases of YAML, of bounded size and depth, and a file of the network leads nowhere
but to its own host.
"""

import io
import os
import posixpath
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from cgstore.errors import InputError, MissingExtra, StoreError
from cgstore.plain_files import open_plain

try:
    from yaml import CSafeDumper as SafeDumper
    from yaml import CSafeLoader as SafeLoader
except ImportError:  # PyYAML without its C library: ten times slower
    from yaml import SafeDumper, SafeLoader  # type: ignore[assignment]

__all__ = [
    "HEADER",
    "NESTED_FROM",
    "Listed",
    "is_remote",
    "plan_files",
    "read_bytes",
    "read_listing",
    "remove_stale",
    "render_listing",
    "render_nest",
    "stale_files",
    "write_text",
]

NESTED_FROM = 1000  # datasets: one file of intake that lists more takes seconds to open
HEADER = "# Written by cgstore; changes made by hand are lost. Opens with intake.open_catalog, without cgstore.\n"
_ZARR = "intake.readers.datatypes:Zarr"
_XARRAY = "intake.readers.readers:XArrayDatasetReader"
_YAML_FILE = "intake.readers.datatypes:YAMLFile"
_YAML_CATALOG = "intake.readers.readers:YAMLCatalogReader"
_MOST_BYTES = 2**26
_MOST_DEPTH = 32  # of lists in lists
_MOST_NESTED = 3  # files in files


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


def render_nest(files: Mapping[str, str]) -> str:
    """Return the YAML of a file that nests others; `files` gives for each name a path beside the file."""
    document = _empty_document()
    for number, (name, path) in enumerate(sorted(files.items())):
        document["aliases"][name] = f"e{number}"
        document["data"][f"d{number}"] = _part("datatype", _YAML_FILE, {"url": f"{{CATALOG_DIR}}/{path}"}, {})
        document["entries"][f"e{number}"] = {
            **_part("reader", _YAML_CATALOG, {"args": [f"{{data(d{number})}}"]}, {}),
            "output_instance": "intake.readers.entry:Catalog",
        }
    return _dump(document)


def plan_files(listed: Sequence[Listed], folder: Path, stem: str) -> dict[str, Callable[[], str]]:
    """Return the files that list datasets, each with what makes its text, by path inside `folder`.

    They are `STEM.yaml`; for a long list, one `STEM/SYSTEM.yaml` per system and, last, `STEM.yaml`, which nests them.
    """
    if len(listed) < NESTED_FROM:
        return {f"{stem}.yaml": partial(render_listing, listed, folder=str(folder))}
    systems: dict[str, list[Listed]] = {}
    for item in listed:
        systems.setdefault(item.name.partition("/")[0], []).append(item)
    files = {name: f"{stem}/{name}.yaml" for name in systems}
    inside = str(folder / stem)
    plan = {files[name]: partial(render_listing, members, folder=inside) for name, members in systems.items()}
    return {**plan, f"{stem}.yaml": partial(render_nest, files)}


def stale_files(
    folder: Path, expected: Collection[str], patterns: Sequence[str] = ("*.yaml", "*/*.yaml")
) -> list[Path]:
    """Return the files in a folder, and in folders in it, that cgstore wrote and that are not expected."""
    found = [path for pattern in patterns for path in sorted(folder.glob(pattern))]
    return [path for path in found if path.relative_to(folder).as_posix() not in expected and _is_ours(path)]


def remove_stale(folder: Path, expected: Collection[str], patterns: Sequence[str] = ("*.yaml", "*/*.yaml")) -> None:
    """Remove what `stale_files` returns, and the folders that become empty."""
    for path in stale_files(folder, expected, patterns):
        path.unlink(missing_ok=True)
        with suppress(OSError):
            path.parent.rmdir()


def _is_ours(path: Path) -> bool:
    """Tell whether cgstore wrote a file."""
    with suppress(OSError), path.open("rb") as file:
        return file.read(len(HEADER.encode())) == HEADER.encode()
    return False


def read_listing(location: str, *, check: Callable[[str], object]) -> list[Listed]:
    """Read the datasets of a catalog file and of the files nested in it.

    Parameters
    ----------
    location : path or URL of the file
    check : called with every location before it is read or returned; raises an error for one that must not be used

    Raises
    ------
    InputError : there is no such file, or it is not an intake catalog of version 2 that lists cgstore datasets, or it
        leads to another host
    """
    return list(_walk(location, set(), check, 0))


def _walk(location: str, seen: set[str], check: Callable[[str], object], depth: int) -> Iterator[Listed]:
    """Yield what a file and the files nested in it list; a file that nests itself is read once."""
    check(location)
    if location in seen:
        return
    seen.add(location)
    document = _parse(read_bytes(location, most=_MOST_BYTES), location)
    folder = posixpath.dirname(location) or "."
    for alias, token in document["aliases"].items():
        try:
            entry = document["entries"][token]
            data = document["data"][entry["kwargs"]["args"][0].removeprefix("{data(").removesuffix(")}")]
            url = _absolute(data["kwargs"]["url"].replace("{CATALOG_DIR}", folder))
            reader, metadata = entry["reader"], dict(entry["metadata"])
        except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
            raise InputError(
                f"{location}: entry {str(alias)[:80]!r} is not one that cgstore wrote; open this file with intake"
            ) from error
        if is_remote(location) and _host(url) != _host(location):
            raise InputError(f"{location}: entry {str(alias)[:80]!r} leads to another place; open that one by its URL")
        if reader == _YAML_CATALOG:
            if depth == _MOST_NESTED:
                raise InputError(f"{location}: found files nested more than {_MOST_NESTED} deep")
            yield from _walk(url, seen, check, depth + 1)
        else:
            check(url)
            yield Listed(alias, posixpath.dirname(url), metadata)


def _host(location: str) -> tuple[str, str]:
    """Return what two URLs on one host have in common; a chain of protocols is a host of its own."""
    if "::" in location:
        return location, ""
    parts = urlsplit(location)
    return parts.scheme, parts.netloc


def _parse(text: bytes, location: str) -> dict[str, Any]:
    """Read the YAML text of an intake catalog of version 2."""
    try:
        _check_plain(text, location)
        document = yaml.load(text, Loader=SafeLoader)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
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


def _check_plain(text: bytes, location: str) -> None:
    """Refuse YAML that grows when it is written out again, runs code in careless readers, or breaks the C reader."""
    depth = 0
    for event in yaml.parse(text, Loader=SafeLoader):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) or getattr(event, "tag", None):
            raise InputError(f"{location}: found an alias, anchor or tag of YAML; catalogs of cgstore have none")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _MOST_DEPTH:
            raise InputError(f"{location}: found lists nested more than {_MOST_DEPTH} deep; catalogs have few levels")


def read_bytes(location: str, *, most: int) -> bytes:
    """Read a file from a path or a URL without credentials in it.

    Raises
    ------
    InputError : it is not there, or has more than `most` bytes
    MissingExtra : the package for this kind of URL is not installed
    StoreError : it cannot be read
    """
    try:
        with _open(location) as stream:
            content: bytes = stream.read(most + 1)
    except FileNotFoundError as error:
        raise InputError(f"{location}: no such file; expected a catalog written by cgstore") from error
    except ImportError as error:
        scheme = location.split("://")[0]
        raise MissingExtra.of(
            f"the fsspec package for {scheme}://", extra="s3", purpose=f"opening {location}"
        ) from error
    except ValueError as error:
        raise InputError(f"{location}: {error}; expected a path, or a URL such as s3://bucket/store") from error
    except Exception as error:  # each protocol has its own errors; what they say may hold secrets
        kind = type(error).__name__
        raise StoreError(f"{location}: cannot be read ({kind}); check the address and your permissions") from error
    if len(content) > most:
        raise InputError(f"{location}: found more than {most // 2**20} MiB, expected a catalog written by cgstore")
    return content


def _open(location: str) -> Any:
    """Open a file for reading; what others wrote a moment ago is seen."""
    if not is_remote(location):
        return io.BufferedReader(open_plain(location))
    import fsspec

    return fsspec.open(location, "rb", use_listings_cache=False)


def write_text(path: Path, text: str, *, sync: bool = True) -> list[int]:
    """Replace a text file in one step: whole or as it was, whenever the process stops or, with `sync`, the machine.

    Return its time in ns and its size, those of what was written here and not of what another may write meanwhile.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        with draft.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            if sync:
                os.fsync(stream.fileno())
            written = os.fstat(stream.fileno())
        draft.replace(path)
        return [written.st_mtime_ns, written.st_size]
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


class _Dumper(SafeDumper):
    """Writes shared values twice instead of as YAML anchors, which nobody wants to read."""

    def ignore_aliases(self, data: Any) -> bool:
        """Return that no value is written as an anchor."""
        return True


def _dump(document: dict[str, Any]) -> str:
    """Return the YAML text, keys in the order given."""
    body: str = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return HEADER + body
