"""Folders that appear whole or not at all: staged under a lock, synced, renamed into place, swept when orphaned.

A stage is a hidden folder `.stage-…` beside its target, with a lock file of the same name. The lock is an flock, so
it dies with its process: a stage whose lock can be taken is an orphan.
"""

import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cgstore.errors import ConflictError, StoreError

__all__ = ["fleeting", "is_orphan", "link_or_copy", "publish_folder", "replace_file", "stages_in", "staging", "sweep"]

_PREFIX = ".stage-"
_LOCK = ".lock"
_fleeting: set[Path] = set()


@contextmanager
def staging(parent: Path) -> Iterator[Path]:
    """Make an empty folder inside `parent`; it is removed at the end unless it was published, whatever happened.

    Folders that had to be made for it are removed too if nothing else came into them.
    """
    made: list[Path] = []
    try:
        folder, lock = _claim(parent, made)
        try:
            folder.mkdir()
            yield folder
        finally:
            try:
                shutil.rmtree(folder, ignore_errors=True)  # what cannot be removed now is swept later
                os.unlink(_lock_of(folder))
            finally:
                os.close(lock)
    finally:
        with suppress(OSError):  # not empty: in use by now
            for path in reversed(made):
                path.rmdir()


def _claim(parent: Path, made: list[Path]) -> tuple[Path, int]:
    """Sweep `parent`, choose a new stage in it and return it with the descriptor of its lock."""
    for _ in range(100):
        _make_folders(parent, made)
        sweep(parent)
        folder = parent / f"{_PREFIX}{secrets.token_hex(8)}"
        try:
            lock = os.open(_lock_of(folder), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        except FileNotFoundError:  # another writer gave up and removed the empty parent
            continue
        if _take(lock) and _still_there(_lock_of(folder), lock):
            return folder, lock
        os.close(lock)  # a sweeper was quicker
    raise StoreError(f"{parent}: no stage could be made in 100 tries; another process removes the folder over and over")


def _make_folders(path: Path, made: list[Path]) -> None:
    """Make a folder and its parents, noting which were new."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        with suppress(FileExistsError):
            folder.mkdir()
            made.append(folder)
            _sync(folder.parent)


def _lock_of(stage: Path) -> Path:
    """Return the lock file of a stage."""
    return stage.with_name(stage.name + _LOCK)


def _take(lock: int) -> bool:
    """Take the lock unless another process holds it; where the file system has no locks, stages are never swept."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        return error.errno in (errno.ENOTSUP, errno.ENOLCK, errno.EINVAL, errno.ENOSYS)
    return True


def _still_there(path: Path, lock: int) -> bool:
    """Say whether the open file still is the one of that name: a sweeper may have removed it before it was locked."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(lock))
    except FileNotFoundError:
        return False


def sweep(parent: Path) -> list[Path]:
    """Remove the stages that died processes left in `parent`; return them."""
    swept = []
    for stage in stages_in(parent):
        try:
            lock = os.open(_lock_of(stage), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        except OSError:  # the parent itself is gone; or somebody put a link or a folder there
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(stage, ignore_errors=True)
            _lock_of(stage).unlink(missing_ok=True)
            swept.append(stage)
        except OSError:  # in use, or a file system without locks: not ours to remove
            continue
        finally:
            os.close(lock)
    return swept


def stages_in(parent: Path) -> list[Path]:
    """Return the stages in `parent`, whether somebody uses them or not."""
    return sorted({path.with_name(path.name.removesuffix(_LOCK)) for path in parent.glob(f"{_PREFIX}*")})


def is_orphan(stage: Path) -> bool:
    """Tell whether the process that made a stage is dead; it stays as it is."""
    try:
        lock = os.open(_lock_of(stage), os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        return True
    except OSError:  # a link or a folder: no lock that cgstore made
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(lock)
    return True


def replace_file(path: Path, content: bytes) -> None:
    """Give a file of a published folder another content in one step: it is whole or as it was, also after a power cut.

    The draft is staged beside the folder, so that it is swept like any stage if the process dies.
    """
    with staging(path.parent.parent) as staged:
        draft = staged / path.name
        draft.write_bytes(content)
        _sync(draft)
        draft.replace(path)
    _sync(path.parent)


def publish_folder(stage: Path, target: Path) -> None:
    """Make a staged folder durable and give it its final name, unless that name is taken.

    Raises
    ------
    ConflictError : the target is there already; the stage is unchanged
    """
    for folder, _, files in os.walk(stage, topdown=False):
        for name in files:
            _sync(Path(folder, name))
        _sync(Path(folder))
    try:
        # Renaming onto a folder that is not empty fails: this is the compare-and-swap.
        os.rename(stage, target)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            raise ConflictError(f"{target}: somebody else published it first; stage again on top of it") from error
        raise
    _sync(target.parent)


@contextmanager
def fleeting(root: Path) -> Iterator[None]:
    """Do not wait for the disk with anything below a folder that nobody will miss after a power cut."""
    _fleeting.add(root)
    try:
        yield
    finally:
        _fleeting.discard(root)


def _sync(path: Path) -> None:
    """Flush a file or folder to the disk; some network file systems cannot do folders."""
    if _fleeting and not _fleeting.isdisjoint(path.parents):
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(handle)


def link_or_copy(source: Path, target: Path) -> None:
    """Give a finished file a second name, or copy it where the file system has no hard links."""
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(source, target)
