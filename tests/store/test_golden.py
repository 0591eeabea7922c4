"""Golden stores: what every disk format holds is read bit for bit, by us and by other implementations of zarr."""

import runpy
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

from cgstore.frames import Frames
from cgstore.store.integrity import list_datasets, read_manifest, verify, version_folder
from cgstore.store.layout import FORMAT
from cgstore.store.opening import open_version
from cgstore.store.versions import stage

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
STORES = sorted(path for path in GOLDEN.iterdir() if path.is_dir() and path.name.startswith("format"))
VERSIONS = [
    pytest.param(store / name, version, id=f"{store.name}-{name.split('/')[-1]}-v{version}")
    for store in STORES
    for name in list_datasets(store)
    for version in (1, 2)
]
CORE = [param for param in VERSIONS if "small" not in param.id]


@pytest.fixture(scope="module")
def golden() -> SimpleNamespace:
    """What the golden stores were written from."""
    return SimpleNamespace(**runpy.run_path(str(GOLDEN / "make.py")))


def expected(golden: SimpleNamespace, dataset: Path, version: int) -> tuple[Frames, np.ndarray]:
    frames, weight = golden.golden_frames(gridded="lossless" not in dataset.name)
    last = 12 if version == 1 else 21
    return frames[:last], weight[:last]


def same_bits(one: Any, other: np.ndarray) -> bool:
    return np.asarray(one).dtype == other.dtype and np.asarray(one).tobytes() == other.tobytes()


def test_there_is_a_golden_store_of_every_format():
    assert [store.name for store in STORES] == [f"format{number}" for number in range(1, FORMAT + 1)]
    for number, store in enumerate(STORES, 1):
        metadata = zarr.open_group(store / "golden/r1/grid/v000002", mode="r").attrs
        assert metadata["cgstore_format"] == number


@pytest.mark.parametrize("store", STORES, ids=lambda store: store.name)
def test_they_are_sound(store):
    assert verify(store, deep=True) == []


@pytest.mark.parametrize(("dataset", "version"), VERSIONS)
def test_we_read_every_bit(golden, dataset, version):
    frames, weight = expected(golden, dataset, version)
    ds = open_version(version_folder(dataset, version))
    for name, array in {**frames.arrays(), "weight": weight}.items():
        assert same_bits(ds[name].values, array), name
    topology = golden.golden_topology()
    for name, array in topology.arrays().items():
        assert np.array_equal(ds[name].values, array), name


@pytest.mark.parametrize("store", STORES, ids=lambda store: store.name)
def test_they_can_be_continued_and_the_digest_is_that_of_one_go(golden, store, tmp_path):
    for name in list_datasets(store):
        shutil.copytree(store / name, tmp_path / name)
        precision, profile = golden.DATASETS[name.split("/")[-1]]
        frames, weight = golden.golden_frames(gridded=precision is not None)
        with stage(tmp_path / name, base=1) as staged:
            staged.append(frames[12:], weight=weight[12:])
            shutil.rmtree(version_folder(tmp_path / name, 2))
            assert staged.publish().digest == read_manifest(version_folder(store / name, 2)).digest
        with stage(tmp_path / f"{name}-anew") as staged:
            staged.create(
                golden.golden_topology(), frames, precision=precision, attrs={}, weighted=True, profile=profile
            )
            staged.append(frames, weight=weight)
            assert staged.publish().digest == read_manifest(version_folder(store / name, 2)).digest
    assert verify(tmp_path, deep=True) == []


@pytest.mark.parametrize(("dataset", "version"), VERSIONS)
def test_plain_zarr_and_xarray_read_it(golden, dataset, version):
    frames, _ = expected(golden, dataset, version)
    folder = version_folder(dataset, version)
    assert_zarr(zarr.open_group(folder, mode="r").__getitem__, frames)
    ds = xr.open_zarr(folder)
    assert np.abs(ds.position.values - frames.position).max() < 1e-6
    assert ds.position.attrs["units"] == "nm"
    assert same_bits(ds.velocity.values, frames.velocity)


@pytest.mark.parametrize(("dataset", "version"), CORE)
def test_tensorstore_reads_it(golden, dataset, version):
    tensorstore = pytest.importorskip("tensorstore")
    folder = version_folder(dataset, version)

    def read(name: str) -> Any:
        kvstore = {"driver": "file", "path": str(folder / name)}
        return tensorstore.open({"driver": "zarr3", "kvstore": kvstore}, read=True).result().read().result()

    assert_zarr(read, expected(golden, dataset, version)[0])


@pytest.mark.parametrize(("dataset", "version"), CORE)
def test_zarrs_reads_it(golden, dataset, version):
    pytest.importorskip("zarrs")
    with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}):
        group = zarr.open_group(version_folder(dataset, version), mode="r")
        read = {name: np.asarray(group[name][...]) for name in ("position", "velocity", "box", "time", "step")}
        pipeline = type(group["position"].async_array.codec_pipeline).__name__
    assert pipeline == "ZarrsCodecPipeline"
    assert_zarr(read.__getitem__, expected(golden, dataset, version)[0])


def assert_zarr(read: Any, frames: Frames) -> None:
    """Compare what an implementation of zarr gives with what was written; positions as they are on disk."""
    position = np.asarray(read("position"))
    if position.dtype.kind == "i":
        assert position.dtype == np.int16
        position = position.astype(np.float32) * np.float32(0.001)
    assert same_bits(position, frames.position)
    for name in ("velocity", "box", "time", "step"):
        assert same_bits(np.asarray(read(name)[...]), getattr(frames, name)), name
