"""Manifests of versions, and `verify`: is everything there, and is it what was published?"""

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from cgstore.documents import did_you_mean
from cgstore.errors import IntegrityError, NotFound, StoreError
from cgstore.store.decoding import StoredArray, read_array
from cgstore.store.digests import dataset_digest, frame_digests, static_digest
from cgstore.store.layout import (
    DIGEST,
    FORMAT,
    FRAME_VARIABLES,
    STATIC_VARIABLES,
    array_of,
    check_format,
    layout_of,
    open_group,
)
from cgstore.store.manifests import check_files, describe_files, read_sealed, write_sealed

__all__ = [
    "Manifest",
    "content_digest",
    "list_datasets",
    "list_versions",
    "read_manifest",
    "verify",
    "version_folder",
    "write_manifest",
]

_VERSION = re.compile(r"v(\d{6,})")


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
    return dataset / f"v{version:06d}"


def list_versions(dataset: Path) -> list[int]:
    """Return the published versions of a dataset, oldest first; none where there is no such folder."""
    if not dataset.is_dir():
        return []
    found = (_VERSION.fullmatch(path.name) for path in dataset.iterdir() if path.is_dir())
    return sorted(int(match[1]) for match in found if match)


def list_datasets(store: Path) -> list[str]:
    """Return the names `system/run/level` of the datasets of a store that have a version."""
    folders = [path for path in store.glob("*/*/*") if path.is_dir()]
    hidden = [path for path in folders if any(part.startswith(".") for part in path.relative_to(store).parts)]
    return sorted(path.relative_to(store).as_posix() for path in folders if path not in hidden and list_versions(path))


def read_manifest(version_dir: Path) -> Manifest:
    """Read the manifest of a version.

    Raises
    ------
    IntegrityError : it is missing or changed
    StoreError : a newer cgstore wrote it
    """
    content = read_sealed(Path(version_dir))
    check_format(content, where=str(version_dir))
    del content["cgstore_format"]
    try:
        return Manifest(**content)
    except TypeError as error:
        raise IntegrityError(f"{version_dir}: not the manifest of a version: {error}") from error


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
    store : folder of the store
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
    root = Path(store)
    if not root.is_dir():
        raise NotFound(f"{store}: no such store; give its folder, or make it with cgstore ingest")
    known = list_datasets(root)
    for name in names or ():
        if name not in known:
            raise NotFound(f"{store}: no dataset {name!r}{did_you_mean(name, known)}")
    problems = []
    for name in known if names is None else names:
        for version in list_versions(root / name):
            problems += _verify_version(root / name, name, version, deep=deep)
        problems += _verify_features(root / name, name, deep=deep)
    return problems


def _verify_version(dataset: Path, name: str, version: int, *, deep: bool) -> list[str]:
    """Return what is wrong with one version."""
    folder = version_folder(dataset, version)
    title = f"{name} {folder.name}"
    try:
        manifest = read_manifest(folder)
    except StoreError as error:
        return [f"{title}: {error}"]
    found = check_files(folder, manifest.files, deep=deep)
    problems = [f"{title}: {path} {problem}" for path, problem in found.items()]
    if (manifest.name, manifest.version) != (name, version):
        problems.append(f"{title}: the manifest is of {manifest.name} version {manifest.version}; the folder was moved")
    if deep and not any(path.endswith("zarr.json") for path in found):
        problems += _verify_content(folder, manifest, title)
    return problems


def _verify_content(folder: Path, manifest: Manifest, title: str) -> list[str]:
    """Decode everything once; return what is not as the digests say."""
    group = open_group(folder)
    problems, per_frame = [], {}
    for name in (DIGEST, "time", "step", "weight"):
        if name in group:
            try:
                per_frame[name] = read_array(group, name, where=title)
            except IntegrityError as error:
                problems.append(str(error))
    frames = int(array_of(group, "position").shape[0])
    if frames != manifest.frames:
        problems.append(f"{title}: found {frames} frames, the manifest says {manifest.frames}")
    shard = layout_of(group).shard
    for start in range(0, frames, shard):
        problems += _verify_frames(group, per_frame.get(DIGEST), slice(start, min(start + shard, frames)), title)
    try:
        if not problems and content_digest(group, per_frame, where=title) != manifest.digest:
            problems.append(f"{title}: the digest of the content is not the one in the manifest")
    except IntegrityError as error:
        problems.append(str(error))
    return problems


def _verify_frames(group: zarr.Group, expected: Any, part: slice, title: str) -> list[str]:
    """Decode the frames of one shard; return what is lost, not finite or not as its frame digest says."""
    arrays, problems = {}, []
    for name in FRAME_VARIABLES:
        if name in group:
            try:
                arrays[name] = StoredArray(array_of(group, name), title)[part]
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


def _verify_features(dataset: Path, name: str, *, deep: bool) -> list[str]:
    """Return what is wrong with the kept results of a dataset."""
    problems = []
    for folder in sorted(path for path in dataset.glob("features/*") if not path.name.startswith(".")):
        title = f"{name} features/{folder.name}"
        try:
            found = check_files(folder, read_sealed(folder)["files"], deep=deep)
        except IntegrityError as error:
            problems.append(f"{title}: {error}")
            continue
        problems += [f"{title}: {path} {problem}" for path, problem in found.items()]
    return problems
