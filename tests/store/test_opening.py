"""Opening: lazy, by path or URL, and the same numbers for plain zarr, xarray and intake."""

import pickle
import warnings

import dask
import fsspec
import intake
import numpy as np
import pytest
import xarray as xr
import zarr

from cgstore.errors import IntegrityError, NotFound, StoreError
from cgstore.schema import check_dataset, topology_of
from cgstore.store.integrity import version_folder
from cgstore.store.layout import consolidate
from cgstore.store.opening import open_arrays, open_version, read_marks


def refuse(*_args, **_kwargs):
    raise AssertionError("something was computed")


def test_nothing_is_computed_until_it_is_asked_for(make, dataset):
    make.publish(dataset, make.frames(9, extra=("box", "velocity")))
    with dask.config.set(scheduler=refuse):
        ds = check_dataset(open_version(version_folder(dataset, 1)))
        part = ds.sel(frame=ds.time > 1).isel(particle=slice(2))
        assert part.position.shape == (6, 2, 3)
        with pytest.raises(AssertionError, match="computed"):
            part.position.compute()
    assert {name for name in ds.variables if ds[name].chunks} == {"position", "box", "velocity"}


def test_the_dataset_is_that_of_the_schema(make, dataset):
    make.publish(dataset, make.frames(9, extra=("box", "velocity", "force")))
    ds = open_version(str(version_folder(dataset, 1)))
    assert ds.position.dims == ("frame", "particle", "xyz")
    assert ds.box.dims == ("frame", "box_vector", "xyz")
    units = {name: ds[name].attrs["units"] for name in ("position", "velocity", "force", "box", "time", "mass")}
    assert units == {
        "position": "nm",
        "velocity": "nm/ps",
        "force": "kJ/mol/nm",
        "box": "nm",
        "time": "ps",
        "mass": "u",
    }
    assert {"time", "step", "name", "type", "residue", "molecule", "molecule_kind"} <= set(ds.coords)
    assert "frame_digest" not in ds
    assert not {"scale_factor", "_FillValue"} & set(ds.position.attrs)
    for name, values in make.topology().arrays().items():
        assert np.array_equal(getattr(topology_of(ds), name), values), name
        assert ds[name].dtype.kind == values.dtype.kind


def test_times_and_digests_of_frames_are_read_without_the_rest(make, dataset):
    make.publish(dataset, make.frames(9))
    folder = version_folder(dataset, 1)
    ds, kept = open_version(folder), open_arrays(folder)[0]["frame_digest"][:]
    time, digests, attrs = read_marks(folder)
    assert np.array_equal(time, ds["time"].values)
    assert np.array_equal(digests, kept)
    assert len(digests) == 9
    assert attrs["digest"] == ds.attrs["digest"]
    assert len(read_marks(folder, digests=False)[1]) == 0
    zarr.open_group(folder, mode="r+", use_consolidated=False)["frame_digest"].resize((7,))
    consolidate(folder)
    with pytest.raises(IntegrityError, match=r"frame_digest \(7,\), expected the time of each frame and its digest"):
        read_marks(folder)


def test_dask_chunks_are_along_the_frames_only_and_agree(make, dataset, small_shards):
    make.publish(dataset, make.frames(19, extra=("box", "velocity")))
    ds = open_version(version_folder(dataset, 1))
    assert ds.chunks["frame"] == (2,) * 9 + (1,)
    assert ds.position.data.numblocks == (10, 1, 1)


@pytest.mark.parametrize(
    "key",
    [
        slice(3, 17, 4),
        slice(None, None, -1),
        slice(15, 2, -3),
        slice(5, 5),
        -1,
        [1, 0, 18, 3],
        np.arange(19) % 5 == 0,
    ],
)
def test_any_choice_of_frames_gives_what_numpy_gives(make, dataset, small_shards, key):
    frames = make.frames(19)
    make.publish(dataset, frames)
    ds = open_version(version_folder(dataset, 1))
    assert np.array_equal(ds.position[key].values, frames.position[key])
    assert np.array_equal(ds.position[key, 1:4, ::-1].values, frames.position[key][..., 1:4, ::-1])
    assert np.array_equal(ds.box.isel(frame=key).values, frames.box[key])


def test_it_can_be_sent_to_another_process(make, dataset):
    frames = make.frames(9)
    make.publish(dataset, frames)
    ds = pickle.loads(pickle.dumps(open_version(version_folder(dataset, 1))))
    assert np.array_equal(ds.position.values, frames.position)


def test_task_names_depend_on_content_and_place_only(make, dataset):
    make.publish(dataset, make.frames(9))
    make.publish(dataset, make.frames(2, start=9), base=1)
    names = [open_version(version_folder(dataset, version)).position.data.name for version in (1, 1, 2)]
    assert names[0] == names[1] != names[2]


@pytest.mark.parametrize("precision", [0.001, None])
def test_plain_xarray_reads_nm_in_float64_without_a_warning(make, dataset, precision):
    frames = make.frames(9, extra=("box", "force"))
    make.publish(dataset, frames, precision=precision)
    folder = version_folder(dataset, 1)
    for chunks in ({}, None, {"frame": 1024}):
        ds = xr.open_zarr(folder, chunks=chunks)
        assert ds.position.dims == ("frame", "particle", "xyz")
        assert ds.position.dtype == (np.float32 if precision is None else np.float64)
        assert ds.position.attrs["units"] == "nm"
        assert np.abs(ds.position.values - frames.position).max() < 1e-6
        assert np.array_equal(ds.box.values, frames.box)
        assert np.array_equal(ds.force.values, frames.force)
        assert np.array_equal(ds.time.values, frames.time)
        assert np.array_equal(ds.step.values, frames.step)
        assert "time" in ds.coords
        meanings = dict(zip(ds.type.attrs["flag_values"], ds.type.attrs["flag_meanings"].split(), strict=True))
        assert [meanings[code] for code in ds.type.values.tolist()] == make.topology().type.tolist()
        ds.chunks  # noqa: B018 - all variables agree on their chunks, or this raises


def test_plain_zarr_reads_integers_on_the_grid(make, dataset):
    frames = make.frames(9)
    make.publish(dataset, frames)
    group = zarr.open_group(version_folder(dataset, 1), mode="r")
    codes = group["position"][:]
    assert codes.dtype == np.int16
    assert np.array_equal(codes, np.rint(frames.position.astype(np.float64) / 0.001))
    assert group["position"].attrs["scale_factor"] == 0.001
    assert group["position"].attrs["rounding_error"] == 0.0
    names = [codec["name"] for codec in group["position"].metadata.to_dict()["codecs"][0]["configuration"]["codecs"]]
    assert names == ["transpose", "bytes", "blosc", "crc32c"]
    for name, array in group.arrays():
        codecs = array.metadata.to_dict()["codecs"]
        inner = codecs[0]["configuration"]["codecs"] if codecs[0]["name"] == "sharding_indexed" else codecs
        assert inner[-1]["name"] == "crc32c", name


def test_positions_off_the_grid_say_how_far_they_were_moved(make, dataset):
    frames = make.frames(9)
    frames.position[:] += np.float32(0.0003)
    make.publish(dataset, frames)
    ds = open_version(version_folder(dataset, 1))
    error = np.abs(ds.position.values.astype(np.float64) - frames.position).max()
    assert 0.00029 < error < 0.00031
    assert ds.position.attrs["rounding_error"] == pytest.approx(error, rel=1e-5)


def test_plain_intake_reads_it(make, dataset):
    frames = make.frames(9)
    make.publish(dataset, frames)
    data = intake.readers.datatypes.Zarr(url=str(version_folder(dataset, 1)))
    ds = intake.readers.readers.XArrayDatasetReader(data).read()
    assert ds.position.dtype == np.float64
    assert np.abs(ds.position.values - frames.position).max() < 1e-6


def test_a_version_opens_from_file_and_memory_urls(make, dataset):
    frames = make.frames(9)
    make.publish(dataset, frames)
    folder = version_folder(dataset, 1)
    remote = fsspec.filesystem("memory")
    remote.put(str(folder), "/bucket/dmpc/r1/cg/", recursive=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for url in (folder.as_uri(), "memory://bucket/dmpc/r1/cg/v000001"):
            ds = open_version(url)
            assert np.array_equal(ds.position.values, frames.position)
            assert ds.type.values.tolist() == make.topology().type.tolist()
    remote.rm("/bucket", recursive=True)


def test_a_lost_shard_is_an_error_and_never_a_number(make, dataset, small_shards):
    make.publish(dataset, make.frames(19, extra=("box", "velocity")))
    folder = version_folder(dataset, 1)
    for name, file in (("position", "c/1/0/0"), ("box", "c/1/0/0"), ("velocity", "c/2/0/0")):
        (folder / name / file).unlink()
        ds = open_version(folder)
        assert np.isfinite(ds[name][:8].values).all()
        with pytest.raises(IntegrityError, match=rf"dmpc/r1/cg v000001: {name}\[.*the file is missing"):
            ds[name].compute()
    (folder / "time/c/1").unlink()
    with pytest.raises(IntegrityError, match="time"):
        open_version(folder)


def test_a_flipped_bit_is_an_error_when_it_is_read(make, dataset, small_shards):
    make.publish(dataset, make.frames(19))
    path = version_folder(dataset, 1) / "position/c/1/0/0"
    content = bytearray(path.read_bytes())
    content[3] ^= 4
    path.write_bytes(content)
    ds = open_version(version_folder(dataset, 1))
    assert np.array_equal(ds.position[:8].values, make.frames(19).position[:8])
    with pytest.raises(IntegrityError, match=r"position\[8:10\]: .*its checksum is not that of its bytes"):
        ds.position[8:].compute()


def test_what_is_not_a_version_is_refused(make, dataset, tmp_path):
    make.publish(dataset, make.frames(2))
    with pytest.raises(NotFound, match="no such folder"):
        open_version(dataset / "v000002")
    with pytest.raises(StoreError, match="expected one version"):
        open_version(dataset)
    with pytest.raises(StoreError, match="expected one version"):
        open_version("memory://nothing/here")
    zarr.create_group(tmp_path / "foreign")
    with pytest.raises(StoreError, match="cgstore_format"):
        open_version(tmp_path / "foreign")
