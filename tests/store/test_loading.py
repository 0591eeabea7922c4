"""Loaders of stores on S3, as moto plays it: the batches of a local store, and a lost shard named."""

from itertools import chain

import fsspec
import pytest

from cgstore.catalog import open_catalog, write_catalog
from cgstore.errors import IntegrityError
from cgstore.learn.loader import Loader
from cgstore.splits.split import Split
from cgstore.store.mirrors import local_store, write_lists

NAMES = ("a/r1/cg", "b/r1/cg")
SPLIT = Split.from_dict({"train": [{"dataset": "*"}]})


@pytest.fixture
def stores(bucket, tmp_path, add_dataset, small_shards):
    """The same two datasets in a folder and in a bucket."""
    for seed, name in enumerate(NAMES):
        add_dataset(tmp_path, name, frames=21 + seed, particles=6, seed=seed)
        with local_store(bucket, [name]) as folder:
            add_dataset(folder, name, frames=21 + seed, particles=6, seed=seed)
    write_lists(bucket, write_catalog)
    return tmp_path, bucket


def test_a_bucket_gives_the_batches_of_a_folder(stores):
    for shape in ({}, {"lag": 3}):
        local, remote = (Loader(open_catalog(place), SPLIT.train, batch_size=8, seed=1, **shape) for place in stores)
        for one, two in zip(local, remote, strict=True):
            for name in one:
                assert one[name].numpy().tobytes() == two[name].numpy().tobytes()


def test_a_shard_that_is_lost_in_a_bucket_is_an_error_that_names_the_dataset(stores):
    catalog = open_catalog(stores[1])
    fsspec.filesystem("s3").rm(f"{stores[1]}/b/r1/cg/v000001/position/c/1/0/0")
    with pytest.raises(IntegrityError, match=r"b/r1/cg v000001: position\[.*values are lost"):
        list(chain(Loader(catalog, SPLIT.train, batch_size=8, seed=1)))
