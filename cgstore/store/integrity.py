"""Manifests of versions, and `verify`: is everything there, and is it what was published?"""

import datetime
import json
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from cgstore.documents import did_you_mean
from cgstore.errors import IntegrityError, NotFound, StoreError
from cgstore.store.decoding import read_array, stored_array
from cgstore.store.digests import dataset_digest, frame_digests, static_digest
from cgstore.store.layout import (
    DIGEST,
    FORMAT,
    FRAME_VARIABLES,
    STATIC_VARIABLES,
    array_of,
    check_format,
    layout_of,
    references_of,
)
from cgstore.store.manifests import MANIFEST, check_files, describe_files, read_sealed, seal, write_sealed
from cgstore.store.opening import arrays_of
from cgstore.store.trees import Folder, Tree, tree_of

__all__ = [
    "GIVEN_UP",
    "Manifest",
    "content_digest",
    "list_datasets",
    "list_versions",
    "note_of",
    "numbered",
    "read_manifest",
    "read_note",
    "verify",
    "version_folder",
    "version_name",
    "write_manifest",
]

_VERSION = re.compile(r"v([0-9]{6}|[1-9][0-9]{6,17})")
_KINDS: dict[str, type | tuple[type, ...]] = {
    "name": str, "version": int, "digest": str, "frames": int, "particles": int, "bytes": int, "time_ps": (int, float),
    "attrs": dict,
}  # fmt: skip

REMOVED, GIVEN_UP = "removed", "given up"
NOTE_BYTES = 1024  # no manifest of a version is as small: it names a dozen arrays
_METADATA = "zarr.json"
_REQUESTS = 16
_BLOCK_BYTES = 2**26  # of decoded positions in memory


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a version is and which files it consists of."""

    name: str
    version: int
    digest: str
    frames: int
    particles: int
    files: dict[str, dict[str, Any]]  # size and sha256 by path
    bytes: int
    time_ps: float  # between the earliest and the latest frame
    attrs: dict[str, Any]


def version_folder(dataset: Path, version: int) -> Path:
    """Return the folder of a version.

    >>> version_folder(Path("store/dmpc/r1/cg"), 7).as_posix()
    'store/dmpc/r1/cg/v000007'
    """
    return dataset / version_name(version)


def version_name(version: int) -> str:
    """Return the name of the folder of a version."""
    return f"v{version:06d}"


def numbered(names: Iterable[str]) -> list[int]:
    """Return the numbers of those names that are names of versions, sorted.

    >>> numbered(["v000010", "v000002", "features", ".stage-01"])
    [2, 10]
    """
    return sorted(int(match[1]) for match in map(_VERSION.fullmatch, names) if match)


def list_versions(dataset: str | Path | Tree) -> list[int]:
    """Return the published versions of a dataset, oldest first; none where there is no such folder or URL.

    On disk every folder of a version counts, since it came there whole. On an object store only one with a manifest
    does, which is put there last. What was removed or given up on purpose has a note in place of the manifest.
    """
    tree = _tree(dataset)
    return [number for number in numbered(tree.folders()) if _is_visible(tree, number)]


def _is_visible(dataset: Tree, number: int) -> bool:
    """Tell whether a folder of a version is a version."""
    folder = dataset.below(version_name(number))
    size = folder.size(MANIFEST)
    if size is None:
        return isinstance(folder, Folder)
    return size > NOTE_BYTES or read_note(folder) is None


def list_datasets(store: str | Path | Tree) -> list[str]:
    """Return the names `system/run/level` of the datasets of a store that have a version."""
    tree = _tree(store)
    return [name for name in _dataset_folders(tree) if list_versions(tree.below(name))]


def _dataset_folders(store: Tree) -> list[str]:
    """Return the names of all folders that can be datasets; nothing hidden is one."""
    names = [""]
    for _ in range(3):
        places = {name: store.below(name) if name else store for name in names}
        names = [f"{name}/{inner}".lstrip("/") for name in names for inner in places[name].folders() if inner[0] != "."]
    return sorted(names)


def _tree(location: str | Path | Tree) -> Tree:
    """Return the files at a location; those of a URL are listed once."""
    if not isinstance(location, str | Path):
        return location
    tree = tree_of(location)
    return tree.listed()


def read_manifest(version_dir: str | Path | Tree) -> Manifest:
    """Read the manifest of a version, in a folder or at a URL.

    Raises
    ------
    IntegrityError : it is missing or changed
    NotFound : the version was removed
    StoreError : a newer cgstore wrote it
    """
    tree = tree_of(version_dir) if isinstance(version_dir, str | Path) else version_dir
    content = read_sealed(tree)
    check_format(content, where=tree.title)
    if REMOVED in content:
        raise NotFound(f"{tree.title}: this version was {content[REMOVED]} on {content['created']}")
    del content["cgstore_format"]
    try:
        manifest = Manifest(**content)
    except TypeError as error:
        raise IntegrityError(f"{tree.title}: not the manifest of a version: {error}") from error
    for key, kind in _KINDS.items():
        if not isinstance(content[key], kind) or isinstance(content[key], bool):
            raise IntegrityError(f"{tree.title}: the manifest has {key} {str(content[key])[:80]!r}, not of its kind")
    return manifest


def note_of(name: str, version: int, *, what: str, digest: str = "") -> bytes:
    """Return what stands in place of the manifest of a version that is no more: so that its number is never used again.

    Parameters
    ----------
    name, version : of the dataset and the version
    what : "collected" (by cgstore gc), "given up" (never published)
    digest : of the dataset that was there
    """
    created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    known = {"cgstore_format": FORMAT, "name": name, "version": version, "digest": digest}
    return seal({**known, REMOVED: what, "created": created})


def read_note(version_dir: Tree) -> dict[str, Any] | None:
    """Return the note of a version that was removed or given up; None where there is a version, sound or not."""
    if (version_dir.size(MANIFEST) or NOTE_BYTES + 1) > NOTE_BYTES:
        return None
    try:
        content = read_sealed(version_dir)
    except IntegrityError:
        return None
    return content if REMOVED in content else None


def write_manifest(
    folder: Path, content: dict[str, Any], *, base: Path | None = None, known: dict[str, dict[str, Any]] | None = None
) -> Manifest:
    """Write the manifest of a staged version; `content` is all of it but the files and their bytes."""
    files = describe_files(folder, base=base, known=known)
    manifest = Manifest(**content, files=files, bytes=sum(entry["size"] for entry in files.values()))
    write_sealed(folder, {"cgstore_format": FORMAT, **asdict(manifest)})
    return manifest


def content_digest(group: zarr.Group, per_frame: dict[str, Any], *, where: str) -> str:
    """Return the digest of a dataset from its static arrays and its frame digests, times, steps and weights."""
    static = {name: read_array(group, name, where=where) for name in STATIC_VARIABLES if name in group}
    variables = tuple(name for name in FRAME_VARIABLES if name in group)
    return dataset_digest(static_digest(static), per_frame, variables=variables)


def verify(store: str | Path, names: list[str] | None = None, *, deep: bool = False) -> list[str]:
    """Check all versions and kept results of a store.

    Parameters
    ----------
    store : folder or URL of the store
    names : datasets to check, all by default
    deep : read every file, decode every chunk and compute every digest again; otherwise only names and sizes of
        files are compared with the manifests

    Returns
    -------
    problems as sentences that name the dataset, version and file; empty when the store is sound

    Raises
    ------
    NotFound : there is no such store or dataset
    """
    root = _tree(store)
    there, listed = list_datasets(root), _listed(root)
    known = sorted({*there, *listed})
    if not known and not (isinstance(root, Folder) and root.path.is_dir()):
        raise NotFound(f"{root.title}: no such store; give its folder or URL, or make it with cgstore ingest")
    for name in names or ():
        if name not in known:
            raise NotFound(f"{root.title}: no dataset {name!r}{did_you_mean(name, known)}")
    tasks = [(root.below(name), name) for name in (known if names is None else names)]
    # Shallow, a URL is bounded by one request per manifest.
    with ThreadPoolExecutor(1 if deep or isinstance(root, Folder) else _REQUESTS) as pool:
        problems = pool.map(lambda task: _verify_dataset(*task, listed=listed.get(task[1], 0), deep=deep), tasks)
        return [problem for found in problems for problem in found]


def _listed(store: Tree) -> dict[str, int]:
    """Return the newest version of each dataset that the index of the store lists; nothing where there is none."""
    try:
        rows = json.loads(store.read("index.json"))["content"]["datasets"]
        return {str(name): int(row["version"]) for name, row in rows.items()}
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}  # it is only a list, made anew by each ingest


def _verify_dataset(dataset: Tree, name: str, *, listed: int, deep: bool) -> list[str]:
    """Return what is wrong with the versions and kept results of a dataset."""
    problems = []
    numbers = numbered(dataset.folders())
    newest = max(list_versions(dataset), default=0)
    if listed > newest:
        problems.append(
            f"{name} {version_name(listed)}: the index of the store lists it, and it is not there; restore it from a "
            "copy, or say with cgstore gc that it is not needed"
        )
    expected = 1
    for version in (number for number in numbers if number <= newest):
        if version > expected:
            missing = " … ".join(version_name(number) for number in sorted({expected, version - 1}))
            problems.append(
                f"{name} {missing}: it is missing; restore it from a copy, or say with cgstore gc --keep that older "
                "versions are not needed"
            )
        expected = version + 1
        folder = dataset.below(version_name(version))
        if (note := read_note(folder)) is None:
            problems += _verify_version(folder, name, version, deep=deep)
        else:
            problems += _verify_note(folder, note, name, version)
    return problems + _verify_features(dataset, name, deep=deep)


def _verify_note(folder: Tree, note: dict[str, Any], name: str, version: int) -> list[str]:
    """Return what is wrong with the note of a version that was removed."""
    title = f"{name} {version_name(version)}"
    if (note["name"], note["version"]) != (name, version):
        return [f"{title}: the note on its removal is of {note['name']} version {note['version']}"]
    left = [path for path in folder.sizes() if path != MANIFEST]
    if not left or note[REMOVED] == GIVEN_UP:  # a writer may still be at it; what it leaves is invisible
        return []
    return [f"{title}: {len(left)} files are left of a removed version; run cgstore gc"]


def _verify_version(folder: Tree, name: str, version: int, *, deep: bool) -> list[str]:
    """Return what is wrong with one version."""
    title = f"{name} {version_name(version)}"
    try:
        manifest = read_manifest(folder)
    except StoreError as error:
        return [f"{title}: {error}"]
    found = check_files(folder, manifest.files, deep=deep)
    problems = [f"{title}: {path} {problem}" for path, problem in found.items()]
    if (manifest.name, manifest.version) != (name, version):
        problems.append(f"{title}: the manifest is of {manifest.name} version {manifest.version}; the folder was moved")
    if any(path.endswith("zarr.json") for path in found):
        return problems
    try:
        if manifest.attrs.get("copied") is False:
            lost = _lost_references(folder.group(), manifest, title)
            if lost:
                return problems + lost
        if deep:
            problems += _verify_metadata(folder, manifest, title) + _verify_content(folder.group(), manifest, title)
    except (StoreError, KeyError, ValueError, TypeError, AttributeError, ArithmeticError, MemoryError) as error:
        problems.append(f"{title}: cannot be examined: {error}")
    return problems


def _verify_metadata(folder: Tree, manifest: Manifest, title: str) -> list[str]:
    """Return which arrays are described in two ways: by their own metadata, and by those that the group repeats."""
    repeated = json.loads(folder.read(_METADATA))["consolidated_metadata"]["metadata"]
    own = {path.removesuffix(f"/{_METADATA}"): path for path in manifest.files if path.endswith(f"/{_METADATA}")}
    names = sorted(set(own) ^ set(repeated)) or [
        name for name, path in own.items() if json.loads(folder.read(path)) != repeated[name]
    ]
    return [f"{title}: {name}/{_METADATA} is not what {_METADATA} says of it" for name in names]


def _lost_references(group: zarr.Group, manifest: Manifest, title: str) -> list[str]:
    """Return what is wrong with the files in which the positions of a version stay."""
    references = references_of(array_of(group, "position"))
    lost = references.lost(manifest.attrs["sources"]) if references else {}
    return [f"{title}: {path} {problem}" for path, problem in lost.items()]


def _verify_content(group: zarr.Group, manifest: Manifest, title: str) -> list[str]:
    """Decode everything once; return what is not as the digests say."""
    problems, per_frame = [], {}
    arrays_of(group, where=title)
    for name in (DIGEST, "time", "step", "weight"):
        if name in group:
            try:
                per_frame[name] = read_array(group, name, where=title)
            except IntegrityError as error:
                problems.append(str(error))
    frames = int(array_of(group, "position").shape[0])
    if frames != manifest.frames:
        problems.append(f"{title}: found {frames} frames, the manifest says {manifest.frames}")
    layout = layout_of(group)
    block = layout.chunk * max(1, _BLOCK_BYTES // (12 * layout.particles * layout.chunk))
    for start in range(0, frames, block):
        problems += _verify_frames(group, per_frame.get(DIGEST), slice(start, min(start + block, frames)), title)
    try:
        if not problems and content_digest(group, per_frame, where=title) != manifest.digest:
            problems.append(f"{title}: the digest of the content is not the one in the manifest")
    except IntegrityError as error:
        problems.append(str(error))
    return problems


def _verify_frames(group: zarr.Group, expected: Any, part: slice, title: str) -> list[str]:
    """Decode some frames; return what is lost, not finite or not as its frame digest says."""
    arrays, problems = {}, []
    for name in FRAME_VARIABLES:
        if name in group:
            try:
                arrays[name] = stored_array(group, name, where=title)[part]
            except IntegrityError as error:
                problems.append(str(error))
                continue
            wrong = ~np.isfinite(arrays[name].reshape(len(arrays[name]), -1)).all(1)
            if wrong.any():
                problems.append(f"{title}: {name} of frame {part.start + wrong.argmax()} is not finite")
    if not problems and expected is not None:
        wrong = frame_digests(arrays) != expected[part]
        if wrong.any():
            problems.append(
                f"{title}: {wrong.sum()} frames are not as their digests say, first {part.start + wrong.argmax()}"
            )
    return problems


def _verify_features(dataset: Tree, name: str, *, deep: bool) -> list[str]:
    """Return what is wrong with the kept results of a dataset."""
    problems = []
    features = dataset.below("features")
    for key in (key for key in features.folders() if not key.startswith(".")):
        title, folder = f"{name} features/{key}", features.below(key)
        try:
            found = check_files(folder, read_sealed(folder)["files"], deep=deep)
        except IntegrityError as error:
            problems.append(f"{title}: {error}")
            continue
        problems += [f"{title}: {path} {problem}" for path, problem in found.items()]
    return problems
