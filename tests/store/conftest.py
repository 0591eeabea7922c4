"""Small systems made by hand, and stores of them."""

from collections.abc import Callable, Iterator
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


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of an S3 server, in the environment as users have it."""
    from moto.server import ThreadedMotoServer

    own = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    own.start()
    host, port = own.get_host_and_port()
    known = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in known.items():
            patch.setenv(name, value)
        yield known["AWS_ENDPOINT_URL"]
        close_connections()
        own.stop()


def close_connections() -> None:
    """Close the connections to S3 and forget what they were made with: fsspec keeps them for the next who asks."""
    import fsspec.asyn
    import zarr.core.sync

    kind = fsspec.get_filesystem_class("s3")
    for fs in kind._cache.values():
        if fs._s3 is not None:
            if fs.asynchronous:  # one of zarr's, which has its own loop
                zarr.core.sync.sync(fs._s3.close())
            else:
                fsspec.asyn.sync(fs.loop, fs._s3.close)
    kind.clear_instance_cache()


@pytest.fixture
def forget() -> Callable[[], None]:
    """What makes the next connection to S3 look into the environment again."""
    return close_connections


@pytest.fixture
def bucket(server, request) -> str:
    """The URL of an empty store on S3."""
    import fsspec

    name = f"b{abs(hash(request.node.nodeid))}"
    fsspec.filesystem("s3").mkdir(name)
    return f"s3://{name}/group/store"


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[str]:
    """The URL of an empty store in memory."""
    import fsspec

    yield f"memory://{tmp_path.name}/store"
    fsspec.filesystem("memory").store.clear()
