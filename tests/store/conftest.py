"""Small systems made by hand, and stores of them."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cgstore.frames import Frames
from cgstore.store import layout
from cgstore.store.integrity import Manifest
from cgstore.store.versions import stage
from cgstore.topology import Topology

PARTICLES = 6


def make_topology(particles: int = PARTICLES) -> Topology:
    index = np.arange(particles, dtype=np.int32)
    return Topology(
        name=np.array(["C 1", "O5'", "β", "", "100%", "H"])[index % 6],
        type=np.array(["A", "B"])[index % 2],
        residue=np.full(particles, "DMPC"),
        residue_id=index + 1,
        molecule=index // 2,
        molecule_kind=np.full(particles, "DMPC"),
        mass=1.0 + index,
        charge=np.linspace(-1, 1, particles),
        bond=np.array([[0, 1], [2, 3]], np.int32),
        angle=np.array([[0, 1, 2]], np.int32),
        dihedral=np.empty((0, 4), np.int32),
    )


def make_frames(
    count: int,
    *,
    seed: int = 0,
    particles: int = PARTICLES,
    reach: int = 3000,
    start: int = 0,
    extra: tuple[str, ...] = ("box",),
) -> Frames:
    """Frames on the grid of 0.001 nm, with the bits of an XTC decoder."""
    rng = np.random.default_rng([seed, start])
    codes = rng.integers(-reach, reach + 1, (count, particles, 3))
    arrays = {name: rng.normal(size=(count, particles, 3)).astype(np.float32) for name in ("velocity", "force")}
    arrays["box"] = (3 + rng.random((count, 3, 3))).astype(np.float32)
    return Frames(
        position=codes.astype(np.float32) * np.float32(0.001),
        time=np.arange(start, start + count) * 0.5,
        step=np.arange(start, start + count) * 250,
        **{name: arrays[name] for name in extra},
    )


def publish(
    dataset: Path, *parts: Frames, base: int | None = None, precision: float | None = 0.001, particles: int = PARTICLES
) -> Manifest:
    """Publish a version that consists of these parts, on top of `base`."""
    with stage(dataset, base=base) as staged:
        if base is None:
            staged.create(make_topology(particles), parts[0], precision=precision, attrs={"temperature": 303.0})
        for part in parts:
            staged.append(part)
        return staged.publish()


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """The folder of a dataset that is not there yet."""
    return tmp_path / "store" / "dmpc" / "r1" / "cg"


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Chunks of 2 and shards of 8 frames, of 4 and 16 without particles, so that few frames make many files."""
    monkeypatch.setattr(layout, "_CHUNK_BYTES", 6 * PARTICLES)
    monkeypatch.setattr(layout, "_SHARD_BYTES", 8 * 6 * PARTICLES)
    monkeypatch.setattr(layout, "_BLOCK_BYTES", 4 * 12 * PARTICLES)
    monkeypatch.setattr(layout, "_MOST_CHUNKS", 4)
    return monkeypatch.undo


@pytest.fixture(scope="session")
def make() -> SimpleNamespace:
    """The builders above, for tests."""
    return SimpleNamespace(topology=make_topology, frames=make_frames, publish=publish, particles=PARTICLES)
