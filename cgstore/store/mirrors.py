"""Mirrors: a store at a URL as a store on this machine for as long as it is written to, then pushed as new versions.

A mirror holds the newest version of each dataset; its files are placeholders. What is published in it is pushed
under a number that this writer alone claims, so that no object is ever written by two; its manifest, put last and only
where none is, makes it visible. Who publishes gives up all lower numbers that are not published, and a number that was
given up can never be published: so of two writers who began with the same version the second gets a ConflictError.
"""

import secrets
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cgstore.errors import ConflictError, IntegrityError, NotFound, StoreError
from cgstore.store.folders import fleeting
from cgstore.store.integrity import (
    GIVEN_UP,
    Manifest,
    list_datasets,
    list_versions,
    note_of,
    numbered,
    read_manifest,
    version_folder,
    version_name,
)
from cgstore.store.locations import is_url
from cgstore.store.manifests import MANIFEST, check_files, unseal
from cgstore.store.objects import Objects, objects_at
from cgstore.store.placeholders import placeholders

__all__ = ["CLAIMS", "local_store", "write_lists"]

CLAIMS = ".claims"
_ROUNDS = 10


@dataclass(frozen=True, slots=True)
class _Mirror:
    """A dataset at a URL, its folder on this machine, and its newest version when it was fetched."""

    remote: Objects
    folder: Path
    name: str
    base: Manifest | None

    @property
    def newest(self) -> int:
        """Return the number of the newest version; 0 when there was none."""
        return self.base.version if self.base else 0


@contextmanager
def local_store(store: str | Path, names: Iterable[str]) -> Iterator[Path]:
    """Give a folder in which the newest versions of some datasets can be continued; what is published there is pushed.

    Parameters
    ----------
    store : folder, which is given as it is, or URL
    names : the datasets, system/run/level, whether they are there yet or not

    Yields
    ------
    the folder of the store; that of a URL lies where TMPDIR says and is removed at the end

    Raises
    ------
    ConflictError : at the end, when somebody else published a version meanwhile; begin again
    StoreError : the object store does not answer; nothing new is visible, or all of it
    """
    if not is_url(store):
        yield Path(str(store).removeprefix("file://"))
        return
    root = objects_at(str(store), writing=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cgstore-")))
        stack.enter_context(fleeting(folder))
        mirrors = [_fetch(root.below(name), folder / name, name, stack) for name in names]
        yield folder
        for mirror in mirrors:
            for number in list_versions(mirror.folder):
                if number > mirror.newest:
                    _push(mirror, read_manifest(version_folder(mirror.folder, number)))


def _fetch(remote: Objects, folder: Path, name: str, stack: ExitStack) -> _Mirror:
    """Fetch what continuing a dataset needs: its newest version, and which numbers are taken."""
    dataset = remote.listed()
    versions = list_versions(dataset)
    taken = numbered([*dataset.folders(), *dataset.below(CLAIMS).sizes()])
    newest = versions[-1] if versions else 0
    for number in (number for number in taken if number > newest):
        target = version_folder(folder, number)
        target.mkdir(parents=True, exist_ok=True)
        (target / MANIFEST).write_bytes(note_of(name, number, what=GIVEN_UP))
    if not versions:
        return _Mirror(remote, folder, name, None)
    source, target = dataset.below(version_name(newest)), version_folder(folder, newest)
    with _unless_collected(source):
        return _fetch_newest(remote, source, target, name, stack)


@contextmanager
def _unless_collected(version: Objects) -> Iterator[None]:
    """Turn the loss of a version that was there a moment ago into a conflict: it was removed by gc."""
    try:
        yield
    except (FileNotFoundError, NotFound) as error:
        raise ConflictError(f"{version.url}: it was removed meanwhile; begin again") from error


def _fetch_newest(remote: Objects, source: Objects, target: Path, name: str, stack: ExitStack) -> _Mirror:
    """Fetch what continuing a version needs."""
    manifest = read_manifest(source)
    problems = check_files(source, manifest.files, deep=False)
    if problems:
        path, problem = next(iter(problems.items()))
        raise IntegrityError(f"{source.title}/{path}: it {problem}; run verify, restore it from a copy")
    source.download([MANIFEST], target)
    sizes = {target / path: entry["size"] for path, entry in manifest.files.items()}
    fetch = lambda path: source.download([path.relative_to(target).as_posix()], target)  # noqa: E731
    stack.enter_context(placeholders(sizes, fetch))
    return _Mirror(remote, target.parent, name, manifest)


def _push(mirror: _Mirror, manifest: Manifest) -> None:
    """Publish a version of a mirror, or leave nothing that anybody sees."""
    own = mirror.remote.below(version_name(manifest.version))
    _claim(mirror, manifest.version)
    try:
        _send(mirror, manifest, own)
        _commit(mirror, manifest, own)
    except BaseException:
        with suppress(StoreError, OSError):
            _give_up(own, mirror.name, manifest.version)
        raise


def _claim(mirror: _Mirror, number: int) -> None:
    """Take a number for this writer alone, for ever."""
    path, mine = f"{CLAIMS}/{version_name(number)}", secrets.token_hex(16).encode()
    try:
        won = mirror.remote.create(path, mine)
    except FileNotFoundError as error:
        raise StoreError(f"{mirror.remote.url}: cannot be written; is there such a bucket?") from error
    if not won:
        raise ConflictError(f"{mirror.remote.url}: somebody else is about to publish version {number}; begin again")
    if mirror.remote.create(path, mine[::-1] + b"\n"):
        raise StoreError(
            f"{mirror.remote.url}: this object store ignores If-None-Match, so that two writers would overwrite each "
            "other; write to a folder and copy it there"
        )


def _send(mirror: _Mirror, manifest: Manifest, own: Objects) -> None:
    """Bring the files of a version to the object store: what the base has is copied there, the rest uploaded."""
    base = mirror.base
    known = base.files if base else {}
    shared = [path for path, entry in manifest.files.items() if known.get(path) == entry]
    folder = version_folder(mirror.folder, manifest.version)
    own.upload({path: folder / path for path in manifest.files if path not in set(shared)})
    if base:
        old, new = version_name(base.version), version_name(manifest.version)
        with _unless_collected(mirror.remote.below(old)):
            mirror.remote.copy((f"{old}/{path}", f"{new}/{path}") for path in shared)
    problems = check_files(own, manifest.files, deep=False)
    if problems:
        path, problem = next(iter(problems.items()))
        raise StoreError(f"{own.url}/{path}: after it was sent it {problem}; try again")


def _commit(mirror: _Mirror, manifest: Manifest, own: Objects) -> None:
    """Give up all unpublished numbers since the base, then put the manifest, if this number was not given up."""
    for number in range(mirror.newest + 1, manifest.version):
        other = mirror.remote.below(version_name(number))
        if not other.create(MANIFEST, note_of(mirror.name, number, what=GIVEN_UP)) and not _is_note(other):
            raise ConflictError(f"{other.url}: somebody else published it first; begin again on top of it")
    text = (version_folder(mirror.folder, manifest.version) / MANIFEST).read_bytes()
    if not own.create(MANIFEST, text):
        raise ConflictError(f"{own.url}: somebody else published another version first; begin again on top of it")


def _is_note(version: Objects) -> bool:
    """Tell whether what stands in place of a manifest says that the version is no more."""
    return "removed" in unseal(version.read(MANIFEST), where=version.url)


def _give_up(own: Objects, name: str, number: int) -> None:
    """Make sure that a number is never published, and remove what was sent; unless it is published after all."""
    if own.create(MANIFEST, note_of(name, number, what=GIVEN_UP)) or _is_note(own):
        own.remove(path for path in own.sizes() if path != MANIFEST)


def write_lists(store: str | Path, write: Callable[[Path], object]) -> None:
    """Write the files that list a store, such as its catalog, into it: in a folder or at a URL.

    Parameters
    ----------
    store : folder or URL
    write : called with the folder of a store; for a URL, one that holds the manifests of the newest versions only, and
        whose new files are uploaded
    """
    if not is_url(store):
        folder = Path(str(store).removeprefix("file://"))
        if list_datasets(folder):
            write(folder)
        return
    root = objects_at(str(store), writing=True)
    before: dict[str, list[int]] = {}
    # Another ingest may publish between our listing and our upload; whoever writes last has seen everything.
    for _ in range(_ROUNDS):
        listing = root.listed()
        found = {name: list_versions(listing.below(name)) for name in list_datasets(listing)}
        if found == before:
            return
        before = found
        with tempfile.TemporaryDirectory(prefix="cgstore-") as place:
            folder = Path(place)
            _fetch_manifests(root, found, folder)
            write(folder)
            _send_lists(root, listing, folder)


def _fetch_manifests(root: Objects, found: Mapping[str, list[int]], folder: Path) -> None:
    """Make a store of manifests: the newest versions with theirs, older ones as empty folders."""
    newest = []
    for name, versions in found.items():
        for number in versions:
            version_folder(folder / name, number).mkdir(parents=True)
        newest.append(f"{name}/{version_name(versions[-1])}/{MANIFEST}")
    root.download(newest, folder)


def _send_lists(root: Objects, listing: Objects, folder: Path) -> None:
    """Upload what was written beside the datasets, and remove lists of an earlier time that were not written again."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    lists = {path: file for path, file in found.items() if path.count("/") < 2 and "." not in (path[0], file.name[0])}
    root.upload(lists)
    folders = {path.split("/")[0] for path in lists if "/" in path}
    root.remove(
        path for path in listing.sizes() if path.count("/") == 1 and path.split("/")[0] in folders and path not in lists
    )
