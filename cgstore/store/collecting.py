"""Collecting garbage: what nobody can need any more is removed from a store, and old versions when that is asked for.

A version is removed by putting a note in place of its manifest, in one step, and deleting its files afterwards. The
note keeps the number taken: so a version that is missing without a note was lost, and a writer who began with a version
that is gone gets a ConflictError. The newest version is never removed, nor one whose digest is pinned.
"""

import re
import secrets
import shutil
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cgstore.documents import did_you_mean
from cgstore.errors import InputError, IntegrityError, NotFound
from cgstore.plain_files import read_plain
from cgstore.store.folders import is_orphan, publish_folder, stages_in, staging, sweep
from cgstore.store.integrity import (
    GIVEN_UP,
    list_datasets,
    list_versions,
    note_of,
    numbered,
    read_manifest,
    read_note,
    version_name,
)
from cgstore.store.locations import is_url
from cgstore.store.manifests import MANIFEST, read_sealed
from cgstore.store.mirrors import CLAIMS
from cgstore.store.objects import objects_at
from cgstore.store.trees import Folder, Tree

__all__ = ["Collected", "collect", "pinned_digests"]

ABANDONED = 7 * 86400.0  # seconds after which a push that was not finished counts as given up

_DIGEST = re.compile(r"[0-9a-f]{64}")
_TEXTS = (".json", ".lock", ".yaml", ".yml", ".toml")
_GOING = ".going-"
_MOST_BYTES = 2**28
_MOST_GAPS = 10_000  # a name can claim any number


@dataclass(frozen=True, slots=True)
class Collected:
    """What was removed, or would be: a `kind` of thing, where it was, and the bytes that this frees.

    `kind` is "version", "kept result", "stage", "unfinished push" or "remains"; a "busy" dataset was left alone.
    """

    dataset: str
    kind: str
    what: str
    bytes: int = 0


def pinned_digests(places: Iterable[str | Path]) -> frozenset[str]:
    """Return every digest that files name: fits, catalogs, locks, or any JSON, YAML or TOML.

    Parameters
    ----------
    places : folders, of which the files directly inside are read, and files

    Raises
    ------
    InputError : a place names no digest at all
    """
    found: set[str] = set()
    for place in map(Path, places):
        files = sorted(file for file in place.glob("*") if file.suffix in _TEXTS) if place.is_dir() else [place]
        mine: set[str] = set()
        for file in files:
            if not file.is_file() or file.stat().st_size > _MOST_BYTES:
                raise InputError(f"{file}: no file that could name datasets; --pin takes fits and catalogs")
            mine |= set(_DIGEST.findall(read_plain(file, most=_MOST_BYTES).decode("utf-8", "replace")))
        if not mine:
            raise InputError(
                f"{place}: found no digest of a dataset in it, expected the folder of a fit or of catalogs"
            )
        found |= mine
    return frozenset(found)


def collect(
    store: str | Path,
    names: Collection[str] | None = None,
    *,
    keep: int | None = None,
    older_than: float | None = None,
    pinned: Collection[str] = (),
    dry_run: bool = False,
) -> list[Collected]:
    """Remove what nobody can need any more, and old versions if `keep` says so.

    Always: stages of writers that died, unfinished pushes, what an interrupted removal left, and kept results whose
    dataset digest no version has any more.

    Parameters
    ----------
    store : folder or URL
    names : datasets, system/run/level; all by default
    keep : remove versions but this many of the newest of each dataset, at least 1; None: no version is removed
    older_than : seconds; younger versions stay, and pushes count as given up after this time (7 days by default)
    pinned : digests of datasets; versions with these stay
    dry_run : only say what would be removed

    Returns
    -------
    what was removed, in the order of datasets; and datasets that were left alone since somebody writes to them

    Raises
    ------
    NotFound : there is no such store or dataset
    InputError : `keep` is less than 1
    """
    if keep is not None and keep < 1:
        raise InputError(f"keep: found {keep}, expected at least 1; the newest version is never removed")
    root = objects_at(str(store), writing=True).listed() if is_url(store) else Folder(Path(store))
    known = _dataset_names(root)
    for name in names or ():
        if name not in known:
            raise NotFound(f"{root.title}: no dataset {name!r}{did_you_mean(name, known)}")
    if not known and not (isinstance(root, Folder) and root.path.is_dir()):
        raise NotFound(f"{root.title}: no such store, or nothing in it")
    rules = _Rules(keep, older_than, frozenset(pinned), dry_run)
    return [item for name in (names or known) for item in _Dataset(root.below(name), name, rules).collect()]


def _dataset_names(root: Tree) -> list[str]:
    """Return the datasets of a store, those included that only hold an unfinished push."""
    if isinstance(root, Folder):
        return list_datasets(root)
    begun = {"/".join(path.split("/")[:3]) for path in root.sizes() if path.split("/")[3:4] == [CLAIMS]}
    return sorted({*list_datasets(root), *begun})


@dataclass(frozen=True, slots=True)
class _Rules:
    """What may go."""

    keep: int | None
    older_than: float | None
    pinned: frozenset[str]
    dry_run: bool


@dataclass(frozen=True, slots=True)
class _Dataset:
    """The garbage of one dataset."""

    tree: Tree
    name: str
    rules: _Rules

    def collect(self) -> Iterator[Collected]:
        """Remove it, and say what it was."""
        yield from self._stages()
        numbers = numbered(self.tree.folders())
        versions = list_versions(self.tree)
        yield from self._remains(numbers)
        yield from self._unfinished(numbers, versions)
        going = self._old(versions)
        busy = isinstance(self.tree, Folder) and any(not is_orphan(stage) for stage in stages_in(self.tree.path))
        if going and busy:
            yield Collected(self.name, "busy", f"{len(going)} old versions stay: somebody is writing; run gc again")
            going = {}
        yield from self._versions(going)
        if self.rules.keep is not None and versions:
            self._note_gaps(numbers, versions)
        with suppress(IntegrityError):  # of a damaged version nobody knows which results are about it
            staying = {read_manifest(self._folder(number)).digest for number in versions if number not in going}
            yield from self._results(staying)

    def _folder(self, number: int) -> Tree:
        """Return the files of a version."""
        return self.tree.below(version_name(number))

    def _item(self, kind: str, what: str, freed: int) -> Collected:
        """Describe what goes."""
        return Collected(self.name, kind, what, freed)

    def _stages(self) -> Iterator[Collected]:
        """Sweep what died writers left in a folder."""
        if not isinstance(self.tree, Folder):
            return
        for parent in (self.tree.path, self.tree.path / "features"):
            orphans = [stage for stage in stages_in(parent) if is_orphan(stage)]
            found = [self._item("stage", stage.name, _freed([Folder(stage)])) for stage in orphans]
            if orphans and not self.rules.dry_run:
                sweep(parent)
            yield from found

    def _remains(self, numbers: list[int]) -> Iterator[Collected]:
        """Finish removals that were interrupted."""
        for number in numbers:
            folder = self._folder(number)
            if (note := read_note(folder)) is None:
                continue
            left = [path for path in folder.sizes() if path != MANIFEST]
            if left and (note["removed"] != GIVEN_UP or self._abandoned(number)):
                yield self._item("remains", version_name(number), _freed([folder], but=[MANIFEST]))
                self._remove(folder, left)
        features = self.tree.below("features")
        for key in (key for key in features.folders() if key.startswith(_GOING)):
            yield self._item("remains", f"features/{key}", _freed([features.below(key)]))
            self._remove_folder(features, key)

    def _unfinished(self, numbers: list[int], versions: list[int]) -> Iterator[Collected]:
        """Give up pushes that were begun long ago, and remove what they sent."""
        if isinstance(self.tree, Folder):
            return
        for number in (n for n in numbers if n not in versions and self._folder(n).size(MANIFEST) is None):
            if not self._abandoned(number):
                continue
            folder = objects_at(self._folder(number).title, writing=True)
            if not self.rules.dry_run and not folder.create(MANIFEST, note_of(self.name, number, what=GIVEN_UP)):
                continue  # published or given up this very moment
            yield self._item("unfinished push", version_name(number), _freed([folder], but=[MANIFEST]))
            self._remove(folder, [path for path in folder.sizes() if path != MANIFEST])

    def _abandoned(self, number: int) -> bool:
        """Tell whether a push was begun so long ago that its writer must be dead."""
        limit = ABANDONED if self.rules.older_than is None else self.rules.older_than
        claims = self.tree.below(CLAIMS)
        if claims.size(version_name(number)) is None:
            return True
        return time.time() - claims.modified(version_name(number)) > limit

    def _old(self, versions: list[int]) -> dict[int, Any]:
        """Return the manifests of the versions that shall go, by number."""
        if self.rules.keep is None:
            return {}
        found = {}
        for number in versions[: -self.rules.keep]:
            try:
                manifest = read_manifest(self._folder(number))
            except IntegrityError:
                continue  # damaged: verify says so, and somebody may want to look at it
            if manifest.digest not in self.rules.pinned and self._is_old(number, manifest.attrs):
                found[number] = manifest
        return found

    def _is_old(self, number: int, attrs: dict[str, Any]) -> bool:
        """Tell whether a version is older than the rules say."""
        if self.rules.older_than is None:
            return True
        try:
            made = datetime.fromisoformat(attrs["created"]).timestamp()
        except (KeyError, TypeError, ValueError):
            made = self._folder(number).modified(MANIFEST)
        return time.time() - made > self.rules.older_than

    def _versions(self, going: dict[int, Any]) -> Iterator[Collected]:
        """Remove versions, the oldest first."""
        done: list[Tree] = []
        before = 0
        for number, manifest in going.items():
            folder = self._folder(number)
            done.append(folder)
            # In a folder, what versions share goes with the last of them.
            freed = _freed([*done]) if self.rules.dry_run else _freed([folder])
            yield self._item("version", version_name(number), freed - (before if self.rules.dry_run else 0))
            before = freed
            if not self.rules.dry_run:
                files = [path for path in folder.sizes() if path != MANIFEST]
                folder.write(MANIFEST, note_of(self.name, number, what="collected", digest=manifest.digest))
                folder.remove(files)

    def _note_gaps(self, numbers: list[int], versions: list[int]) -> None:
        """Note older versions that are missing already: whoever keeps only the newest does not want them back."""
        if self.rules.dry_run:
            return
        first_kept = versions[-(self.rules.keep or 1) :][0]
        if first_kept > len(numbers) + _MOST_GAPS:
            raise IntegrityError(f"{self.tree.title}: found version {first_kept} of {len(numbers)}; run verify")
        for number in set(range(1, first_kept)) - set(numbers):
            note = note_of(self.name, number, what="collected")
            if not isinstance(self.tree, Folder):
                self._folder(number).write(MANIFEST, note)
                continue
            with staging(self.tree.path) as staged:
                (staged / MANIFEST).write_bytes(note)
                publish_folder(staged, self.tree.path / version_name(number))

    def _results(self, digests: set[str]) -> Iterator[Collected]:
        """Remove kept results about content that no version has."""
        features = self.tree.below("features")
        for key in (key for key in features.folders() if not key.startswith(".")):
            folder = features.below(key)
            try:
                about = read_sealed(folder)["dataset_digest"]
            except (IntegrityError, KeyError):
                continue  # damaged: verify says so
            if about not in digests:
                yield self._item("kept result", f"features/{key}", _freed([folder]))
                self._remove_folder(features, key)

    def _remove_folder(self, parent: Tree, name: str) -> None:
        """Remove a folder: gone at once under its name, and from the disk after that."""
        if self.rules.dry_run:
            return
        if not isinstance(parent, Folder):
            folder = parent.below(name)
            folder.remove(sorted(folder.sizes(), key=lambda path: path != MANIFEST))
            return
        hidden = name if name.startswith(_GOING) else f"{_GOING}{name}-{secrets.token_hex(4)}"
        if hidden != name:
            (parent.path / name).rename(parent.path / hidden)
        shutil.rmtree(parent.path / hidden)

    def _remove(self, folder: Tree, paths: list[str]) -> None:
        """Remove files, unless nothing shall be removed."""
        if not self.rules.dry_run:
            folder.remove(paths)


def _freed(folders: Iterable[Tree], *, but: Collection[str] = ()) -> int:
    """Return the bytes that go when folders go; what is linked from elsewhere too stays."""
    links: dict[Any, int] = {}
    files: dict[Any, tuple[int, int]] = {}
    for folder in folders:
        found = folder.occupied([path for path in folder.sizes() if path not in but])
        files |= found
        for key in found:
            links[key] = links.get(key, 0) + 1
    return sum(size for key, (size, names) in files.items() if links[key] >= names)
