"""Immutable versions: stage a new one, empty or on top of an old one, append, publish; or leave no trace.

A version that continues another shares its full shards by hard links and owns everything that may still change, so
that nothing published is ever opened for writing. Publishing is one rename; of two writers the second gets a
ConflictError.
"""

import re
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from cgstore.errors import ConflictError, InputError, IntegrityError, NotFound, StoreError
from cgstore.frames import Frames
from cgstore.schema import SCHEMA
from cgstore.store.appending import FrameWriter, Prepared, position_dtype
from cgstore.store.folders import link_or_copy, publish_folder, staging
from cgstore.store.integrity import (
    Manifest,
    content_digest,
    list_datasets,
    list_versions,
    read_manifest,
    version_folder,
    write_manifest,
)
from cgstore.store.layout import (
    DIGEST,
    FORMAT,
    FRAME_VARIABLES,
    Layout,
    array_of,
    chunk_frames,
    consolidate,
    create_group,
    open_stage,
    plain,
    references_of,
    set_references,
)
from cgstore.store.manifests import check_files, compare_file
from cgstore.store.opening import arrays_of
from cgstore.store.placeholders import fill
from cgstore.store.references import XtcReferences
from cgstore.store.stopping import StoppableStore
from cgstore.topology import Topology

__all__ = ["Stage", "list_datasets", "list_versions", "stage"]

_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
_SHARD = re.compile(r"(?P<array>[a-z_]+)/c/(?P<shard>\d+)(/0)*")
_RESERVED = ("name", "version", "digest", "cgstore_format", "coordinates")


@contextmanager
def stage(dataset: Path, *, base: int | None = None, workers: Executor | None = None) -> Iterator["Stage"]:
    """Begin a new version of the dataset in the folder `STORE/system/run/level`.

    Parameters
    ----------
    dataset : folder of the dataset; made if it is not there, removed again if nothing is published
    base : version to continue; None: begin without frames
    workers : threads that encode; its own by default

    Yields
    ------
    Stage; unless it is published inside the context, nothing of it remains

    Raises
    ------
    InputError : the name of the dataset cannot be used
    NotFound : there is no version `base`
    IntegrityError : `base` is damaged
    """
    folder = Path(dataset).absolute()
    name = "/".join(folder.parts[-3:])
    if len(folder.parts) < 4 or not all(_PART.fullmatch(part) for part in folder.parts[-3:]):
        raise InputError(
            f"{dataset}: found {name!r}, expected system/run/level of letters, digits and _.+-, as in dmpc_303k/r1/cg"
        )
    if linked := [part for part in (folder, *folder.parents[:2]) if part.is_symlink()]:
        raise StoreError(
            f"{linked[0]}: is a symbolic link, expected a folder inside the store; link to whole stores only"
        )
    number = _next_number(folder, base, name)
    with staging(folder) as staged:
        new = Stage(folder, staged, name=name, version=number, workers=workers)
        try:
            if base is not None:
                new._continue(base)
            yield new
        finally:
            new._close()


def _next_number(dataset: Path, base: int | None, name: str) -> int:
    """Return the number of the version after `base`, or after all; numbers that were given up are not used again."""
    versions = list_versions(dataset)
    if base is not None and base not in versions:
        if versions and base < versions[-1]:
            raise ConflictError(f"{name}: version {base} was collected, there is a newer one; stage again on top of it")
        raise NotFound(f"{name}: no version {base}; there are {versions or 'none'}")
    number = (base if base is not None else max(versions, default=0)) + 1
    while number not in versions and version_folder(dataset, number).is_dir():
        number += 1
    return number


class Stage:
    """A version that is being made; from `stage`."""

    def __init__(self, dataset: Path, folder: Path, *, name: str, version: int, workers: Executor | None) -> None:
        self._dataset, self._folder, self._workers = dataset, folder, workers
        self._store = StoppableStore(folder)
        self.name, self.version = name, version
        self._attrs: dict[str, Any] = {}
        self._base: Manifest | None = None
        self._group: zarr.Group | None = None
        self._writer: FrameWriter | None = None
        self._published = False

    @property
    def _where(self) -> str:
        """Open error messages with the dataset and version."""
        return f"{self.name} v{self.version:06d}"

    @property
    def frames(self) -> int:
        """Return the number of frames so far, those of the base included."""
        return self._writer.frames if self._writer else 0

    def create(
        self,
        topology: Topology,
        sample: Frames,
        *,
        precision: float | None,
        attrs: Mapping[str, Any],
        weighted: bool = False,
        profile: str = "fast",
        references: XtcReferences | None = None,
    ) -> None:
        """Lay out a new dataset; nothing of the sample is stored.

        Parameters
        ----------
        topology : the static part
        sample : one frame or more: says which variables there are and how far positions reach
        precision : grid of the positions, nm; None stores float32 without loss
        attrs : metadata, plain JSON data
        weighted : frames come with statistical weights
        profile : "fast", or "small" for a third less bytes that only zarr-python with cgstore reads
        references : the files that positions stay in; nothing else of a frame does

        Raises
        ------
        InputError : sample and topology do not fit, or an attribute is not plain data
        """
        if self._group is not None:
            raise StoreError(f"{self._where}: it was laid out before; stage another version")
        if sample.position.shape[1:] != (len(topology), 3) or not len(topology):
            raise InputError(
                f"{self._where}: found frames of {sample.position.shape[1]} particles, "
                f"expected {len(topology)} as in the topology, and at least 1"
            )
        if precision is not None and not (np.isfinite(precision) and precision > 0):
            raise InputError(f"{self._where}: found precision {precision} nm, expected a positive length")
        self.set_attrs(attrs)
        present = {name for name, array in sample.arrays().items() if array is not None}
        variables = tuple(name for name in FRAME_VARIABLES if name in present or (name == "weight" and weighted))
        dtype = position_dtype(sample.position, None if references else precision, where=self._where)
        chunk = chunk_frames(len(topology), profile)
        layout = Layout(len(topology), variables, precision, chunk, profile, references)
        self._group = create_group(self._store, topology, layout, position_dtype=dtype)
        self._writer = FrameWriter(self._folder, self._group, where=self._where, workers=self._workers)

    def _continue(self, base: int) -> None:
        """Become a copy-on-write of a published version.

        Raises
        ------
        IntegrityError : it is damaged
        ConflictError : it was collected meanwhile, because there is a newer one
        """
        try:
            self._take_over(base)
        except (IntegrityError, NotFound) as error:
            if base not in list_versions(self._dataset):
                raise ConflictError(f"{self._where}: version {base} was collected meanwhile; stage again") from error
            raise

    def _take_over(self, base: int) -> None:
        """Share the files of a published version that stay as they are, and copy the others."""
        source = version_folder(self._dataset, base)
        manifest = read_manifest(source)
        for path, problem in check_files(source, manifest.files, deep=False).items():
            if path in manifest.files:
                raise IntegrityError(f"{source / path}: it {problem}; run verify, restore it from a copy")
        metadata = [path for path in manifest.files if path.endswith("zarr.json")]
        fill(*(source / path for path in metadata))
        for path in metadata:
            _take(source, self._folder, path, manifest.files[path], share=False)
        group = open_stage(self._store)
        arrays_of(group, where=str(source))
        full = _full_shards(group)
        own = {path for path in manifest.files if _may_change(path, full)}
        fill(*(source / path for path in own))
        for path in sorted(set(manifest.files) - set(metadata)):
            _take(source, self._folder, path, manifest.files[path], share=path not in own)
        self._base, self._attrs = manifest, dict(manifest.attrs)
        self._group = open_stage(self._store)
        try:
            self._writer = FrameWriter(self._folder, self._group, where=self._where, workers=self._workers)
        except ValueError as error:
            raise IntegrityError(f"{source}: cannot be continued: {error}; run verify") from error

    def append(self, frames: Frames, *, weight: NDArray[np.float64] | None = None) -> None:
        """Add frames at the end.

        Parameters
        ----------
        frames : any number of frames, with the variables of the sample
        weight : (frame,) statistical weights, for datasets that have them

        Raises
        ------
        InputError : NaN, infinities, other particles or variables; nothing of the block is taken
        """
        self.take(self.prepare(frames, weight=weight, first=self.frames))

    def prepare(
        self,
        frames: Frames,
        *,
        weight: NDArray[np.float64] | None = None,
        references: NDArray[np.int64] | None = None,
        first: int,
    ) -> Prepared:
        """Do the part of appending that any thread can do, in any order; `take` does the rest.

        Parameters
        ----------
        frames, weight : as for `append`
        references : (frame, column) where the positions lie, for datasets that refer to files
        first : number of the first of these frames

        Raises
        ------
        InputError : as for `append`
        """
        return self._ready().prepare(frames, weight=weight, references=references, first=first)

    def take(self, block: Prepared) -> None:
        """Add a prepared block at the end.

        Raises
        ------
        StoreError : it does not follow the frames so far
        """
        self._ready().take(block)

    def refer(self, references: XtcReferences) -> None:
        """Name the files of referenced positions anew: more of them, or an archive that has moved.

        Raises
        ------
        StoreError : positions are stored, or a file that is referenced already has another place in the list
        """
        if self._group is None or (known := references_of(array_of(self._group, "position"))) is None:
            raise StoreError(f"{self._where}: positions are stored, not referenced")
        if references.sources[: len(known.sources)] != known.sources:
            raise StoreError(f"{self._where}: found the sources {references.sources}, expected {known.sources} first")
        set_references(self._folder, references)

    def set_attrs(self, attrs: Mapping[str, Any]) -> None:
        """Add or change metadata; name, version, digest and format are set by the store itself.

        Raises
        ------
        InputError : a value is not plain JSON data
        """
        self._attrs |= {key: value for key, value in plain(attrs).items() if key not in _RESERVED}

    def publish(self) -> Manifest:
        """Make the version visible, whole, in one step.

        Raises
        ------
        InputError : it has no frames
        ConflictError : somebody else published this version first; stage again on top of it
        """
        writer = self._ready()
        if not writer.frames:
            raise InputError(f"{self._where}: found no frames, expected at least one")
        per_frame = writer.flush()
        group = open_stage(self._store)
        digest = content_digest(group, per_frame, where=self._where)
        self._finish_group(group, digest)
        content = {
            "name": self.name,
            "version": self.version,
            "digest": digest,
            "frames": writer.frames,
            "particles": writer.particles,
            "time_ps": float(np.ptp(per_frame["time"])),
            "attrs": self._attrs,
        }
        base = version_folder(self._dataset, self._base.version) if self._base else None
        manifest = write_manifest(self._folder, content, base=base, known=self._base.files if self._base else None)
        publish_folder(self._folder, version_folder(self._dataset, self.version))
        self._published = True
        return manifest

    def _finish_group(self, group: zarr.Group, digest: str) -> None:
        """Write the attributes of the group and gather all metadata in one file."""
        coordinates = [variable.name for variable in SCHEMA if variable.coordinate and variable.name in group]
        own: dict[str, Any] = {"name": self.name, "version": self.version, "digest": digest, "cgstore_format": FORMAT}
        group.attrs.put({**self._attrs, **own, "coordinates": " ".join(sorted(coordinates))})
        consolidate(self._folder)

    def _ready(self) -> FrameWriter:
        """Return the writer of a stage that is laid out and not yet published."""
        if self._writer is None or self._published:
            state = "published already" if self._published else "not laid out; call create first"
            raise StoreError(f"{self._where}: it is {state}")
        return self._writer

    def _close(self) -> None:
        """Stop writing: when this has returned, nothing comes into the folder any more."""
        try:
            if self._writer is not None:
                self._writer.close()
        finally:
            self._store.stop()


def _take(source: Path, target: Path, path: str, expected: Mapping[str, Any], *, share: bool) -> None:
    """Bring one file of a published version into a stage: its own copy, or shared if it will not change."""
    (target / path).parent.mkdir(parents=True, exist_ok=True)
    try:
        (link_or_copy if share else shutil.copyfile)(source / path, target / path)
    except FileNotFoundError as error:
        raise IntegrityError(f"{source / path}: it is missing; run verify, restore it from a copy") from error
    # What is copied is read anyway, and would be sealed anew: damage must not become part of the next version.
    problem = compare_file(target / path, expected, deep=not share)
    if problem:
        raise IntegrityError(f"{source / path}: it {problem}; run verify, restore it from a copy")


def _full_shards(group: zarr.Group) -> dict[str, int]:
    """Return how many shards of each per-frame array are full, so that appending leaves them as they are."""
    arrays = {name: array_of(group, name) for name in (*FRAME_VARIABLES, DIGEST) if name in group}
    return {name: int(array.shape[0]) // (array.shards or array.chunks)[0] for name, array in arrays.items()}


def _may_change(path: str, full: Mapping[str, int]) -> bool:
    """Say whether appending may rewrite this file: a shard of frames that is not full."""
    match = _SHARD.fullmatch(path)
    return match is not None and match["array"] in full and int(match["shard"]) >= full[match["array"]]
