"""The index of a store: what its manifests say, in one file that is believed only where folders are as they were.

Manifests are the truth. `index.json` keeps what was read from them together with the times of folders and manifests, so
that a store that did not change is listed by asking for times alone. An index that is damaged, old, of another store or
absent costs time and nothing else; it is written after an ingest, never by reading.
"""

import gc
import hashlib
import json
import logging
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import sleep
from typing import Any

from cgstore.errors import InputError, IntegrityError, NotFound, StoreError
from cgstore.facets import lipids
from cgstore.intake_files import NESTED_FROM, Listed, plan_files, read_bytes, remove_stale, write_text

__all__ = [
    "INDEX",
    "MOST_BYTES",
    "Index",
    "check_row",
    "clock_of",
    "index_of",
    "parse_index",
    "read_index",
    "render_index",
    "scan",
    "write_catalog",
]

_log = logging.getLogger(__name__)

INDEX = "index.json"
MOST_BYTES = 2**28  # of an index; ten thousand datasets take 13 MB
_FORMAT = 1
_MANIFEST = "MANIFEST.json"  # of cgstore.store.manifests, which brings zarr with it: not for those who only look
_PART = "[A-Za-z0-9][A-Za-z0-9_.+-]*"
_NAME = re.compile(f"{_PART}/{_PART}/{_PART}")
_FRAMING = re.compile(rb'\{"cgstore_index": (\d{1,9}), "sha256": "([0-9a-f]{64})", "content":\n')
# Clocks of file systems tick every few ms, or in whole seconds, up to two: what changes within one tick of being
# looked at looks as it did before.
_TICK, _LONG_TICK, _SECOND = 20_000_000, 2_000_000_000, 1_000_000_000  # ns
_MOST_WARNINGS = 10
_SHOWN = 6  # names of what lies in a folder that is no store
_ROW: dict[str, type | tuple[type, ...]] = {
    "name": str, "version": int, "frames": int, "particles": int, "time_ps": (int, float), "bytes": int,
    "digest": str, "composition": dict, "versions": list, "chunk_frames": int,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Index:
    """A store as it was seen.

    `rows` is the metadata of each dataset, `damaged` what is wrong with those that have none. `folders` is for each
    folder, down to those of datasets, `TIME/NAME/NAME …` with the names of the folders in it, `manifests` time and size
    of the manifest of every version. Times are in ns by the clock of the file system; `clock` is when looking began.
    """

    clock: int = 0
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)
    folders: dict[str, str] = field(default_factory=dict)
    manifests: dict[str, list[int]] = field(default_factory=dict)
    listing: list[int] | None = None  # time and size of the catalog.yaml that says the same

    def settled(self, time: int) -> bool:
        """Tell whether a time is so long before the index that nothing can have changed since unseen."""
        return time < self.clock - (_TICK if time % _SECOND else _LONG_TICK)

    def is_settled(self) -> bool:
        """Tell whether all times are settled."""
        times = [int(seen.partition("/")[0]) for seen in self.folders.values()]
        return all(map(self.settled, times)) and all(self.settled(max(signs)) for signs in self.manifests.values())

    def remembered(self, path: str, time: int) -> list[str] | None:
        """Return what was in a folder if that is in it still; None if it must be looked at."""
        then, *names = self.folders.get(path, "").split("/")
        if then != str(time) or not self.settled(time):
            return None
        return None if any(name[:1] in ("", ".") or "\0" in name for name in names) else names


def scan(store: Path, known: Index | None = None, *, clock: int = 0) -> Index:
    """List a store; only what is not as `known` says is read from its manifests.

    Parameters
    ----------
    store : folder of the store; nothing is written to it
    known : an earlier look at the same store, or a copy of it
    clock : the time by the clock of the file system, `clock_of`, if the answer will be kept

    Raises
    ------
    StoreError : the folder cannot be read
    """
    known = known or Index()
    new = Index(clock=clock)
    root = os.fspath(store)
    try:
        systems = _folders_in(root)
    except OSError as error:
        raise StoreError(f"{store}: the store cannot be read: {error}") from error
    for system in systems:
        for run in _inside(root, system, known, new):
            for level in _inside(root, f"{system}/{run}", known, new):
                _look_at(root, f"{system}/{run}/{level}", known, new)
    for name, problem in list(new.damaged.items())[:_MOST_WARNINGS]:
        _log.warning("%s is not listed: %s; run cgstore verify", name, problem)
    if len(new.damaged) > _MOST_WARNINGS:
        _log.warning("%d more are not listed; run cgstore verify", len(new.damaged) - _MOST_WARNINGS)
    return new


def index_of(store: Path) -> Index:
    """List a store with the help of its own index; an empty folder is one, of other things InputError is raised."""
    index = scan(store, read_index(store))
    there = sorted(name for name in os.listdir(store) if name[0] != ".")
    if there and not (index.rows or index.damaged or {INDEX, "catalog.yaml"}.intersection(there)):
        raise InputError(
            f"{store}: no store: found {', '.join(there[:_SHOWN])}{', …' if len(there) > _SHOWN else ''}, expected "
            "SYSTEM/RUN/LEVEL with a dataset; name a store with --store or the variable CGSTORE_STORE, or make one "
            "with cgstore ingest"
        )
    return index


def clock_of(store: Path) -> int:
    """Return the time in ns by the clock of the file system, which on a network disk is not that of this machine."""
    with tempfile.NamedTemporaryFile(dir=store, prefix=".clock-") as file:
        return os.fstat(file.fileno()).st_mtime_ns


def _folders_in(path: str) -> list[str]:
    """Return the names of the folders in a folder, sorted, without hidden ones and without symbolic links."""
    with os.scandir(path) as found:
        return sorted(item.name for item in found if item.is_dir(follow_symlinks=False) and item.name[0] != ".")


def _inside(root: str, path: str, known: Index, new: Index) -> list[str]:
    """Return the folders in a folder; remembered where its time is as it was."""
    try:
        time = os.stat(f"{root}/{path}").st_mtime_ns  # before listing: what comes in between changes it
        names = known.remembered(path, time)
        if names is None:
            names = _folders_in(f"{root}/{path}")
    except (FileNotFoundError, NotADirectoryError):  # it went away meanwhile
        return []
    except OSError as error:
        new.damaged[path] = str(error)
        return []
    new.folders[path] = "/".join([str(time), *names])
    return names


def _look_at(root: str, name: str, known: Index, new: Index) -> None:
    """Note one folder that may be a dataset: as it is known if all is as it was, else read anew."""
    inside = _inside(root, name, known, new)
    if name not in new.folders:
        return
    try:
        row = known.rows.get(name)
        versions = row["versions"] if row else []
        signs = _signs(root, name, versions)
        # A stage or a kept result changes the time of the folder and no version; what is collected leaves a note in
        # place of a manifest, and the time as it was.
        found = _versions_of(inside)
        as_before = found == _versions_of(known.folders.get(name, "").split("/")) and (row is not None or not found)
        if not as_before or signs != known.manifests.get(name, []) or not known.settled(max(signs, default=0)):
            row, versions = _read(Path(root, name), name, known)
            signs = _signs(root, name, versions)
        if row is not None:
            new.rows[name], new.manifests[name] = row, signs
    except (IntegrityError, NotFound, OSError, ValueError, TypeError, RecursionError) as error:
        new.damaged[name] = f"{root}/{name}: {error}"


def _versions_of(names: list[str]) -> list[str]:
    """Return the names that may be of versions."""
    return [name for name in names if name[:1] == "v"]


def _signs(root: str, name: str, versions: Sequence[int]) -> list[int]:
    """Return time and size of the manifest of every version, one after the other; zeros where there is none."""
    signs = []
    for number in versions:
        try:
            found = os.stat(f"{root}/{name}/v{number:06d}/{_MANIFEST}")
            signs += [found.st_mtime_ns, found.st_size]
        except OSError:
            signs += [0, 0]
    return signs


def _read(dataset: Path, name: str, known: Index) -> tuple[dict[str, Any] | None, list[int]]:
    """Return the metadata and the versions of a dataset as they are now; no metadata where there is no version."""
    from cgstore.store.integrity import list_versions

    versions = list_versions(dataset)
    if not versions:
        return None, []
    if not _NAME.fullmatch(name):
        raise IntegrityError("found a name that is not system/run/level of letters, digits and _.+-")
    row = known.rows.get(name)
    newest = _signs(os.fspath(dataset.parents[2]), name, versions[-1:])
    if row and row["version"] == versions[-1] and known.settled(newest[0]) and known.manifests[name][-2:] == newest:
        return {**row, "versions": versions}, versions  # an older version came or went, or a stage
    return _describe(name, dataset, versions), versions


def _describe(name: str, dataset: Path, versions: list[int]) -> dict[str, Any]:
    """Gather what the manifest of the newest version says of a dataset."""
    from cgstore.store.integrity import read_manifest, version_folder
    from cgstore.store.layout import chunk_frames, longest_block

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
        "version": versions[-1],
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
    rest = {key: value for key, value in attrs.items() if key not in facts}
    row = {**facts, **rest, "chunk_frames": 1}
    check_row(name, row, where=str(folder))
    chunk = chunk_frames(manifest.particles, str(attrs.get("profile", "fast")))
    return {**row, "chunk_frames": longest_block(manifest.particles, chunk)}


def check_row(name: str, row: Any, *, where: str) -> None:
    """Check that the metadata of a dataset are of the kinds that every user of a catalog relies on.

    Raises
    ------
    IntegrityError : they are not; the message begins with `where`
    """
    if not isinstance(row, Mapping) or not _NAME.fullmatch(name):
        raise IntegrityError(f"{where}: found no metadata of a dataset system/run/level under the name {name[:80]!r}")
    for key, kind in _ROW.items():
        value = row.get(key)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise IntegrityError(f"{where}: {name}: found {key} {str(value)[:80]!r}, which is not of its kind")
    numbers = (row["version"], row["frames"] - 1, row["particles"] - 1, row["chunk_frames"] - 1, row["bytes"])
    if row["name"] != name or min(numbers) < 0 or not _are_whole(row["versions"]):
        raise IntegrityError(f"{where}: {name}: found another name, or a number that cannot be")


def _are_whole(values: list[Any]) -> bool:
    """Tell whether all values are numbers of versions, and there is one."""
    return bool(values) and all(type(value) is int and value >= 0 for value in values)


def render_index(index: Index) -> str:
    """Return the text of an index: JSON that carries the SHA-256 of its own content."""
    content = {
        "clock": index.clock,
        "listing": index.listing,
        "folders": index.folders,
        "manifests": index.manifests,
        "datasets": index.rows,
    }
    body = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    digest = hashlib.sha256(body.encode()).hexdigest()
    return f'{{"cgstore_index": {_FORMAT}, "sha256": "{digest}", "content":\n{body}\n}}\n'


def parse_index(text: bytes, *, where: str) -> Index:
    """Read the text of an index.

    Raises
    ------
    IntegrityError : it is not what `render_index` made, is of another format, or has names that lead elsewhere
    """
    framing = _FRAMING.match(text)
    if framing is None or int(framing[1]) != _FORMAT:
        raise IntegrityError(f"{where}: not an index of cgstore, or one of another format")
    body = text[framing.end() : -3]
    if text[-3:] != b"\n}\n" or hashlib.sha256(body).hexdigest().encode() != framing[2]:
        raise IntegrityError(f"{where}: its content is not what was written")
    try:
        with _without_collector():
            content = json.loads(body)
        index = Index(
            content["clock"], content["datasets"], {}, content["folders"], content["manifests"], content["listing"]
        )
        if type(index.clock) is not int or not all(type(item) is str for item in index.folders.values()):
            raise ValueError("found times of folders that are none")
        for name, row in index.rows.items():
            check_row(name, row, where=where)
            if type(index.manifests[name]) is not list:
                raise ValueError(f"found no times of the manifests of {name}")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise IntegrityError(f"{where}: not an index of cgstore: {type(error).__name__} {error}") from error
    return index


@contextmanager
def _without_collector() -> Iterator[None]:
    """Put off garbage collection: a hundred thousand new objects of which none is garbage take half as long again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def read_index(store: Path) -> Index:
    """Read the index of a store; an empty one where there is none, or none that can be believed."""
    path = Path(store, INDEX)
    if not path.exists():
        return Index()
    try:
        return parse_index(read_bytes(os.fspath(path), most=MOST_BYTES), where=str(path))
    except (InputError, StoreError) as error:
        _log.info("%s is not used: %s", path, error)
        return Index()


def write_catalog(store: Path) -> None:
    """Write what lists a store: `catalog.yaml` for plain intake, then `index.json`, both of the newest versions.

    From 1 000 datasets on, `catalog.yaml` nests one file per system, `catalog/SYSTEM.yaml`.
    """
    sleep(_TICK / _SECOND)  # what was published a moment ago is settled then, and need not be read again
    known = read_index(store)
    # Another ingest may publish between our scan and our write; whoever writes last has seen everything.
    while not _is_same(known, seen := scan(store, known, clock=clock_of(store)), store):
        known = replace(seen, listing=_write_listing(store, known, seen))
        write_text(store / INDEX, render_index(known))


def _is_same(known: Index, seen: Index, store: Path) -> bool:
    """Tell whether the lists of a store say what was seen just now, and as surely as can be."""
    equal = known.rows == seen.rows and known.manifests == seen.manifests
    listed = known.listing is not None and known.listing == _sign(store / "catalog.yaml")
    return equal and listed and (known.is_settled() or not seen.is_settled())


def _write_listing(store: Path, known: Index, seen: Index) -> list[int]:
    """Write the files of the intake catalog that are not as before; return time and size of the top one."""
    top = store / "catalog.yaml"
    listing = known.listing if known.listing is not None and _sign(top) == known.listing else None
    before = known.rows if listing else {}
    if (store / "catalog").is_symlink():
        raise StoreError(f"{store / 'catalog'}: is a symbolic link, expected a folder, or nothing; remove it")
    changed = {_system(name) for name in {*before, *seen.rows} if before.get(name) != seen.rows.get(name)}
    if not changed and listing:
        return listing
    listed = [Listed(name, f"{os.fspath(store)}/{name}", row) for name, row in seen.rows.items()]
    plan = plan_files(listed, store, "catalog")
    nested_before = len(plan) > 1 and len(before) >= NESTED_FROM
    same_top = nested_before and {*map(_system, before)} == {*map(_system, seen.rows)}
    for name, render in plan.items():
        kept = same_top if name == top.name else Path(name).stem not in changed
        if not kept or not (store / name).is_file():
            written = write_text(store / name, render(), sync=name == top.name)
            listing = written if name == top.name else listing
    remove_stale(store, plan, ["catalog/*.yaml"])
    return listing or []


def _system(name: str) -> str:
    """Return the system of the name of a dataset."""
    return name.partition("/")[0]


def _sign(file: Path) -> list[int] | None:
    """Return time and size of a file; None where there is none."""
    with suppress(OSError):
        found = file.stat()
        return [found.st_mtime_ns, found.st_size]
    return None
