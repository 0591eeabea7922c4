"""What all tests share."""

import hashlib
import os
import re
import shutil
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from cgstore.documents import digest
from cgstore.frames import Frames
from cgstore.store.integrity import Manifest, version_folder
from cgstore.store.layout import FORMAT, chunk_frames, longest_block, shard_frames
from cgstore.store.manifests import write_sealed
from cgstore.store.versions import stage
from cgstore.topology import Topology

collect_ignore_glob = ["data/*"]  # programs that made the data; some need what the tests do not

# The first call of a kernel compiles it; how long an example takes says nothing.
# The same examples each time, so that a test fails for the change that broke it; CGSTORE_EXAMPLES=new looks for others.
settings.register_profile("cgstore", deadline=None, derandomize=os.environ.get("CGSTORE_EXAMPLES") != "new")
settings.load_profile("cgstore")


@pytest.fixture(autouse=True)
def _doctest_names(doctest_namespace: dict[str, object]) -> None:
    doctest_namespace["np"] = np


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Give a function that makes a folder; one that was made of the same before, for another test, is copied."""
    made: dict[str, tuple[Path, Any]] = {}

    def make(folder: Path, build: Callable[[], Any], *made_of: object) -> Any:
        parts = [part.tobytes() if isinstance(part, np.ndarray) else repr(part).encode() for part in made_of]
        key = hashlib.sha256(b"\0".join(parts)).hexdigest()
        if folder.exists():
            return build()
        if key not in made:
            made[key] = tmp_path_factory.mktemp("made"), build()
            shutil.copytree(folder, made[key][0], dirs_exist_ok=True)
        else:
            shutil.copytree(made[key][0], folder)
        return made[key][1]

    return make


@pytest.fixture(scope="session")
def add_dataset(once: Callable[..., Any]) -> Callable[..., Manifest]:
    """Give a function that publishes a small dataset: particles that diffuse in a box of 3 nm, or that are put."""

    def add(
        store: Path,
        name: str,
        *,
        frames: int = 12,
        particles: int = 20,
        seed: int = 1,
        position: np.ndarray | None = None,
        **attrs: Any,
    ) -> Manifest:
        rng = np.random.default_rng(seed)
        if position is None:
            position = rng.uniform(0, 3, (1, particles, 3)) + rng.normal(0, 0.05, (frames, particles, 3)).cumsum(axis=0)
        frames, particles = position.shape[:2]
        data = Frames(
            position=np.round(position, 3).astype(np.float32),
            time=np.arange(frames) * 2.0,
            step=np.arange(frames) * 1000,
            box=np.tile(np.eye(3, dtype=np.float32) * 3, (frames, 1, 1)),
        )
        system, run, level = name.split("/")
        known = {"kind": "liquid", "system": system, "run": run, "level": level, **attrs}

        def publish() -> Manifest:
            with stage(store / name, base=None) as staged:
                staged.create(_beads(particles), data, precision=0.001, attrs=known)
                staged.append(data)
                return staged.publish()

        chunk = chunk_frames(particles)  # tests make them small
        sizes = chunk, shard_frames(particles, chunk), longest_block(particles, chunk)
        return once(store / name, publish, name, sizes, position.shape, position, known)

    return add


@pytest.fixture(scope="session")
def seal_datasets() -> Callable[..., None]:
    """Give a function that makes datasets of nothing but a manifest: many, quickly, for whoever only lists them."""

    def make(store: Path, names: Iterable[str], *, version: int = 1, **attrs: Any) -> None:
        for number, name in enumerate(names):
            folder = version_folder(store / name, version)
            folder.mkdir(parents=True)
            known = {"kind": "liquid", "temperature": 300.0 + number, "composition": {"CH4": 222}, **attrs}
            sizes = {"frames": 10 * version, "particles": 222, "files": {}, "bytes": 1000, "time_ps": 9.0}
            own = {"name": name, "version": version, "digest": digest([name, version]), "attrs": known}
            write_sealed(folder, {"cgstore_format": FORMAT, **own, **sizes})

    return make


def _beads(particles: int) -> Topology:
    """Return beads of two types, each a molecule."""
    name = np.array(["A", "B"])[np.arange(particles) % 2]
    number = np.arange(particles, dtype=np.int32)
    none = {"bond": 2, "angle": 3, "dihedral": 4}
    return Topology(
        name=name,
        type=name,
        residue=name,
        residue_id=number,
        molecule=number,
        molecule_kind=name,
        mass=np.full(particles, 16.0),
        charge=np.zeros(particles),
        **{term: np.empty((0, width), np.int32) for term, width in none.items()},
    )


class Crash(BaseException):
    """What the audit hook raises; no `except Exception` can swallow it."""


class Hook:
    """Counts the operations that change files below `root`, and fails one of them, or all from one on."""

    published = re.compile(r"/(v\d{6}|features/[a-z]+-[0-9a-f]{16})/")
    changes = frozenset({"os.rename", "os.link", "os.mkdir", "os.remove", "os.rmdir", "os.truncate"})
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

    def __init__(self) -> None:
        self.root, self.seen, self.fail_at, self.stay_dead, self.failed = "", 0, 0, False, ""
        self.overwritten: list[str] = []
        self.lock = threading.Lock()

    def __call__(self, event: str, arguments: tuple) -> None:
        if not self.root or (event not in self.changes and event != "open"):
            return
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & self.writing):
            return
        paths = [os.fsdecode(path) for path in arguments[:2] if isinstance(path, (str, bytes, os.PathLike))]
        dead = self.stay_dead and self.seen >= self.fail_at > 0
        # Removing a tree uses names relative to open folders.
        if not any(path.startswith(self.root) or (dead and not path.startswith("/")) for path in paths):
            return
        if event == "open" and self.published.search(paths[0]):
            self.overwritten.append(paths[0])
        with self.lock:
            self.seen += 1
            if self.seen == self.fail_at or dead:
                self.failed = event
                raise Crash(f"{event} {paths}")

    def crashes(
        self, root: Path, operation: Callable[[], object], *, start: int, stride: int, stay_dead: bool, check: Callable
    ) -> int:
        """Fail the start-th, start + stride-th … change of files until `operation` succeeds; count the crashes."""
        for count, k in enumerate(range(start, 10_000, stride)):
            self.root, self.seen, self.fail_at, self.stay_dead = str(root), 0, k, stay_dead
            try:
                operation()
            except Crash:
                pass
            else:
                assert self.seen < k, "a crash was swallowed"
                return count
            finally:
                self.root = ""
            check(k)
        raise AssertionError("never succeeds")

    def could_not_clean(self) -> bool:
        """Say whether the crash hit the cleaning up itself, so that an orphan is left for the next writer to sweep."""
        return self.stay_dead or self.failed in ("os.remove", "os.rmdir")


@pytest.fixture(scope="session")
def audited() -> Hook:
    """The hook; it cannot be removed again, so there is one per process and it sleeps between tests."""
    hook = Hook()
    sys.addaudithook(hook)
    return hook
