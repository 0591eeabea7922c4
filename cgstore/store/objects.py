"""Objects: files of an object store below a URL, listed, read, copied where they lie, and put where nothing is yet.

fsspec knows the protocols. Nothing here trusts its caches: what another writer did a moment ago must be seen.
"""

import hashlib
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import zarr
from zarr.storage import FsspecStore

from cgstore.errors import CgstoreError, InputError, MissingExtra, StoreError
from cgstore.store.locations import checked, redacted

__all__ = ["Objects", "objects_at"]

# Put-if-absent is what makes a version appear once; these are known to have it.
_WRITABLE = ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "memory")
_PIECE = 2**24  # bytes of an object in memory while it is hashed
_AT_ONCE = 16  # requests
_UPLOADS = 4  # each holds a file in memory
_TRIES = 5

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, eq=False)
class Objects:
    """The objects below a URL; made by `objects_at`."""

    url: str
    fs: Any
    root: str
    listing: tuple[tuple[str, int], ...] | None = None  # sorted; set by `listed`

    @property
    def title(self) -> str:
        """The URL, for messages."""
        return self.url

    def below(self, name: str) -> "Objects":
        """Return the objects in a folder of this one."""
        listing = None if self.listing is None else _below(self.listing, f"{name}/")
        return Objects(f"{self.url}/{name}", self.fs, f"{self.root}/{name}", listing)

    def listed(self) -> "Objects":
        """Return the same, listed once now and never again."""
        return Objects(self.url, self.fs, self.root, tuple(self.sizes().items()))

    def folders(self) -> list[str]:
        """Return the names of the folders directly in it, sorted."""
        if self.listing is not None:
            return sorted({path.split("/", 1)[0] for path, _ in self.listing if "/" in path})
        with _told(self.url), suppress(FileNotFoundError):
            found = self.fs.ls(self.root, detail=True)
            return sorted(item["name"].rstrip("/").rsplit("/", 1)[-1] for item in found if item["type"] == "directory")
        return []

    def sizes(self) -> dict[str, int]:
        """Return the bytes of every object by path, sorted."""
        if self.listing is not None:
            return dict(self.listing)
        with _told(self.url):
            self.fs.invalidate_cache()
            try:
                found = self.fs.find(self.root, detail=True)
            except FileNotFoundError:
                return {}
        start = len(self.root) + 1
        return dict(sorted((path[start:], int(item["size"])) for path, item in found.items() if len(path) > start))

    def size(self, path: str) -> int | None:
        """Return the bytes of one object; None where there is none."""
        if self.listing is not None:
            place = bisect_left(self.listing, (path, -1))
            found = self.listing[place : place + 1]
            return found[0][1] if found and found[0][0] == path else None
        try:
            return int(self._info(path)["size"])
        except FileNotFoundError:
            return None

    def modified(self, path: str) -> float:
        """Return when an object was written, by the clock of the store, in seconds since 1970."""
        known = self._info(path)
        for key in ("LastModified", "mtime", "updated", "last_modified", "created"):
            if isinstance(when := known.get(key), datetime):
                return when.timestamp()
            if isinstance(when, int | float):
                return float(when)
        return datetime.now().timestamp()

    def _info(self, path: str) -> dict[str, Any]:
        """Return what the object store says about an object."""
        with _told(self.url):
            self.fs.invalidate_cache()
            known: dict[str, Any] = self.fs.info(f"{self.root}/{path}")
            if known["type"] != "file":
                raise FileNotFoundError(path)
            return known

    def read(self, path: str) -> bytes:
        """Return the content of an object; FileNotFoundError where there is none."""
        with _told(f"{self.url}/{path}"):
            return bytes(self.fs.cat_file(f"{self.root}/{path}"))

    def sha256(self, path: str) -> str:
        """Return the SHA-256 of an object, read piece by piece."""
        state = hashlib.sha256()
        size = self.size(path) or 0
        for start in range(0, size, _PIECE):
            with _told(f"{self.url}/{path}"):
                state.update(self.fs.cat_file(f"{self.root}/{path}", start=start, end=min(start + _PIECE, size)))
        return state.hexdigest()

    def write(self, path: str, content: bytes) -> None:
        """Put an object, whatever was there; readers see the old one or the new one."""
        with _told(f"{self.url}/{path}"):
            self.fs.pipe_file(f"{self.root}/{path}", content)

    def create(self, path: str, content: bytes) -> bool:
        """Put an object where none is; False where there is one, whoever put it.

        One that holds just this content is taken for our own, whose acknowledgement was lost on the way: callers give
        contents that nobody else would write.
        """
        for attempt in range(_TRIES):
            try:
                with _told(f"{self.url}/{path}"):
                    self.fs.pipe_file(f"{self.root}/{path}", content, mode="create")
                return True
            except FileExistsError:
                return self.read(path) == content
            except StoreError as error:
                code = _code_of(error.__cause__)
                if code in ("PreconditionFailed", "412"):
                    return self.read(path) == content
                # Two at the very same moment: the store asks both to try again.
                if code not in ("ConditionalRequestConflict", "409") or attempt == _TRIES - 1:
                    raise
        raise AssertionError("unreachable")

    def copy(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Copy objects (from, to) inside the object store."""
        _each(pairs, lambda pair: self.fs.cp_file(*(f"{self.root}/{path}" for path in pair)), self.url, _AT_ONCE)

    def upload(self, files: Mapping[str, Path]) -> None:
        """Put files of this machine, by path."""
        put = lambda item: self.fs.put_file(str(item[1]), f"{self.root}/{item[0]}")  # noqa: E731
        _each(files.items(), put, self.url, _UPLOADS)

    def download(self, paths: Iterable[str], folder: Path) -> None:
        """Copy objects into a folder, under the same paths."""

        def get(path: str) -> None:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            self.fs.get_file(f"{self.root}/{path}", str(folder / path))

        _each(paths, get, self.url, _UPLOADS)

    def remove(self, paths: Iterable[str]) -> None:
        """Remove objects; what is gone already is no error."""

        def remove(path: str) -> None:
            with suppress(FileNotFoundError):
                self.fs.rm_file(f"{self.root}/{path}")

        _each(paths, remove, self.url, _AT_ONCE)

    def occupied(self, paths: Collection[str]) -> dict[Any, tuple[int, int]]:
        """Return bytes and number of names of the stored objects behind paths: each is its own."""
        sizes = self.sizes()
        return {f"{self.url}/{path}": (sizes[path], 1) for path in paths if path in sizes}

    def group(self) -> zarr.Group:
        """Open the zarr group in it, for reading only."""
        with _told(self.url):
            return zarr.open_group(FsspecStore.from_url(self.url, read_only=True), mode="r")


def objects_at(url: str, *, writing: bool = False) -> Objects:
    """Return the objects below a URL.

    Raises
    ------
    InputError : the URL carries credentials, or names a protocol that cannot be read or, where asked for, written
    MissingExtra : the package for this protocol is not installed
    """
    text = checked(url)
    scheme = text.split("://")[0]
    if writing and scheme not in _WRITABLE:
        raise InputError(
            f"{text}: found a store at {scheme}://, expected a folder or one of {', '.join(_WRITABLE)}, which can put "
            "a file only if it is not there"
        )
    import fsspec

    try:
        fs, root = fsspec.url_to_fs(text, use_listings_cache=False)
    except ImportError as error:
        raise MissingExtra.of(f"the fsspec package for {scheme}://", extra="s3", purpose=text) from error
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{text}: {redacted(str(error))}; expected a folder or a URL such as s3://bucket/store"
        ) from error
    return Objects(text, fs, str(root).rstrip("/"))


def _below(listing: tuple[tuple[str, int], ...], prefix: str) -> tuple[tuple[str, int], ...]:
    """Return the part of a sorted listing below a prefix, without it."""
    start = bisect_left(listing, (prefix, -1))
    stop = bisect_left(listing, (prefix[:-1] + chr(ord("/") + 1), -1))
    return tuple((path[len(prefix) :], size) for path, size in listing[start:stop])


def _each(items: Iterable[Item], act: Callable[[Item], object], url: str, at_once: int) -> None:
    """Do something with each item, several at once; after the first failure nothing new is begun."""
    with _told(url), ThreadPoolExecutor(at_once) as pool:
        futures = [pool.submit(act, item) for item in items]
        try:
            for future in futures:
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


@contextmanager
def _told(url: str) -> Iterator[None]:
    """Turn what the packages of the protocols raise into a StoreError without secrets; a lost or present file stays."""
    try:
        yield
    except (CgstoreError, FileNotFoundError, FileExistsError):
        raise
    except Exception as error:  # each protocol has its own errors
        words = redacted(f"{type(error).__name__}: {error}")
        raise StoreError(
            f"{url}: the object store refuses or does not answer ({words}); check the address (AWS_ENDPOINT_URL), the "
            "network and the credentials in the environment"
        ) from error


def _code_of(error: BaseException | None) -> str:
    """Return the code that an object store gave, from whatever error of its package carries it."""
    while error is not None:
        response = getattr(error, "response", None)
        if isinstance(response, Mapping) and isinstance(response.get("Error"), Mapping):
            return str(response["Error"].get("Code", ""))
        error = error.__cause__
    return ""
