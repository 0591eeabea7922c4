"""How averages read and keep: every chunk once, in bounded memory, the same bits by any way; then never again."""

import shutil
import subprocess
import sys
import threading

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import cgstore
from cgstore.averages.blocks import merge_blocks
from cgstore.averages.covariance import merge_covariances, merged_covariance
from cgstore.averages.keeping import kept_statistics
from cgstore.averages.onepass import distributions_of, statistics
from cgstore.averages.pair import rdf_blocks, rdf_from_blocks
from cgstore.averages.resampling import bootstrap, choose_blocks, jackknife, mean_of_blocks
from cgstore.averages.spec import BondedSpec, MapSpec, ProfileSpec, RdfSpec, Spec
from cgstore.errors import CgstoreError
from cgstore.features import kept, read_kept

NAME = "gas_300k/r1/cg"
EVERYTHING = Spec(
    rdf=RdfSpec(r_max="0.9 nm", bin_width="0.1 nm", exclude_bonded=0),
    bonded=BondedSpec(bond_width="0.25 nm", bond_max="2 nm", angle_width="30 degree", dihedral_width="60 degree"),
    profile=ProfileSpec(centre=("A",), width="0.1 nm"),
    radial_map=MapSpec(centre=("B",), width="0.2 nm"),
    covariance=True,
)
TERMS = {"bond": [(0, 1), (1, 2), (2, 3)], "angle": [(0, 1, 2), (1, 2, 3)], "dihedral": [(0, 1, 2, 3)]}


@pytest.fixture
def run(gas):
    """Return a function that makes frames with everything to count: types, terms, boxes that breathe, weights."""

    def make(frames, *, particles=12, **rest):
        random = np.random.default_rng(8)
        boxes = random.uniform(1.9, 2.2, (frames, 1, 1)) * np.array([[1.0, 0, 0], [0.2, 1.0, 0], [-0.1, 0.1, 1.0]])
        types = ["A", "B"] * (particles // 2)
        ds = gas(frames, particles, boxes, seed=9, type=types, weight=random.random(frames), **TERMS, **rest)
        # Particles 1, 2, 3 follow 0 in bonds shorter than half the box, in all directions.
        step = random.normal(size=(frames, 3, 3))
        step *= random.uniform(0.1, 0.8, (frames, 3, 1)) / np.linalg.norm(step, axis=-1, keepdims=True)
        ds["position"][:, 1:4] = ds["position"].values[:, :1] + step.cumsum(axis=1)
        return ds

    return make


def assert_same_bits(found, expected):
    assert set(found.children) == set(expected.children)
    for name, node in expected.children.items():
        xr.testing.assert_identical(found[name].to_dataset(), node.to_dataset())


def trees(data, parts, merge):
    """Join neighbours in an order that hypothesis draws."""
    while len(parts) > 1:
        place = data.draw(st.integers(0, len(parts) - 2))
        parts[place : place + 2] = [merge(parts[place : place + 2])]
    return parts[0]


def test_parts_cut_anywhere_and_joined_along_any_tree_have_the_bits_of_the_whole(run):
    blocks = statistics(run(60), EVERYTHING)["rdf"].to_dataset().compute()
    longer = {length: merge_blocks([blocks], length=length) for length in (1, 2, 8, 64)}
    # Against sums in another order: a tree that loses or doubles a block would be the same bits as itself.
    np.testing.assert_allclose(longer[64]["sum"][0], blocks["sum"].sum("block"), rtol=1e-13)
    np.testing.assert_array_equal(longer[64]["count"][0], blocks["count"].sum("block"))

    @settings(max_examples=15)
    @given(data=st.data())
    def one(data):
        cuts = sorted(data.draw(st.sets(st.integers(1, 59), max_size=6)))
        parts = [blocks.isel(block=slice(a, b)) for a, b in zip([0, *cuts], [*cuts, 60], strict=True)]
        joined = trees(data, parts, merge_blocks)
        for length, expected in longer.items():
            xr.testing.assert_identical(merge_blocks([joined], length=length), expected)

    one()


def test_parts_in_any_order_keep_the_bits_of_their_blocks_and_the_mean_but_for_rounding(run):
    ds = run(128)
    whole = rdf_blocks(ds, r_max=0.9, bin_width=0.1).compute()
    parts = [
        rdf_blocks(ds.isel(frame=slice(at, at + 16)), r_max=0.9, bin_width=0.1).compute() for at in range(0, 128, 16)
    ]
    expected = merge_blocks([whole], length=16)

    @settings(max_examples=10)
    @given(order=st.permutations(range(8)))
    def one(order):
        shuffled = merge_blocks([parts[place] for place in order], length=16)
        back = shuffled.isel(block=np.argsort(order))
        for name in ("count", "sum", "weight", "square", "frames"):
            xr.testing.assert_identical(back[name], expected[name])
        g = rdf_from_blocks(shuffled)
        np.testing.assert_allclose(g.rdf, rdf_from_blocks(expected).rdf, rtol=1e-14)
        assert (g["count"] == whole["count"].sum("block")).all()

    one()


def test_covariances_merge_in_any_order_along_any_tree_to_1e_12_of_the_deviations(run):
    ds = run(256)
    whole = merged_covariance(statistics(ds, EVERYTHING)["covariance"].to_dataset())
    scale = np.sqrt(np.maximum(np.diag(whole.covariance), 1e-12))
    parts = [
        statistics(ds.isel(frame=slice(at, at + 32)), EVERYTHING)["covariance"].to_dataset().compute()
        for at in range(0, 256, 32)
    ]

    @settings(max_examples=15)
    @given(data=st.data(), order=st.permutations(range(8)))
    def one(data, order):
        found = merged_covariance(trees(data, [parts[place] for place in order], merge_covariances))
        assert float(found.weight) == pytest.approx(float(whole.weight), rel=1e-14)
        off = np.abs(found.covariance - whole.covariance) / np.outer(scale, scale)
        assert float(off.max()) < 1e-12

    one()


def test_chosen_blocks_are_those_of_a_run_of_their_frames_alone(run):
    ds = run(200)
    blocks = rdf_blocks(ds, r_max=0.9, bin_width=0.1).compute()

    @settings(max_examples=12)
    @given(which=st.one_of(st.sets(st.integers(0, 199), min_size=1).map(sorted), st.just(list(range(40, 170)))))
    def one(which):
        chosen = choose_blocks(blocks, which)
        counted = rdf_blocks(ds.isel(frame=which), r_max=0.9, bin_width=0.1).compute()
        for name in ("count", "sum", "weight", "square", "frames"):
            xr.testing.assert_identical(chosen[name], counted[name])
        some, alone = rdf_from_blocks(chosen), rdf_from_blocks(counted)
        for name in ("rdf", "rdf_error", "count", "blocks"):
            xr.testing.assert_identical(some[name], alone[name])

    one()


def test_what_is_kept_answers_when_the_trajectory_is_gone(add_dataset, tmp_path):
    position = np.random.default_rng(3).uniform(0, 3, (300, 20, 3))
    add_dataset(tmp_path, NAME, position=position)
    entry, spec = cgstore.open_catalog(tmp_path)[NAME], Spec(rdf=RdfSpec(r_max="1.2 nm", bin_width="0.1 nm"))
    kept_statistics(entry.path, entry.open(), spec)
    fresh = cgstore.distributions(entry.open(), spec).compute()["rdf"].to_dataset()
    lazy = entry.open()
    for array in (entry.path / "v000001").rglob("position"):
        shutil.rmtree(array)
    with pytest.raises((CgstoreError, OSError)):
        cgstore.rdf(lazy, r_max=1.2, bin_width=0.1).compute()
    shutil.rmtree(entry.path / "v000001")
    (item,) = kept(entry.path)
    tree = read_kept(item)
    again = distributions_of(tree)["rdf"].to_dataset()
    for name in ("rdf", "rdf_error", "count", "drift", "short"):
        xr.testing.assert_identical(again[name].compute(), fresh[name])
    blocks = tree["rdf"].to_dataset().compute()
    often = fresh["count"].values > 100
    assert often.sum() > 15
    knife, boot = jackknife(blocks, mean_of_blocks), bootstrap(blocks, mean_of_blocks, draws=100, seed=1)
    for found, within in ((knife, 0.35), (boot, 0.45)):  # their parts are those of the slowest kind
        np.testing.assert_allclose(found.value, fresh.rdf, rtol=1e-13)
        assert np.median(found.error.values[often] / fresh.rdf_error.values[often]) == pytest.approx(1, abs=within)
    half = rdf_from_blocks(choose_blocks(blocks, slice(0, 64)))
    assert 0 < int(half["count"].sum()) < int(fresh["count"].sum())


@pytest.mark.parametrize("chunk", [1, 7, 64, (100, 3, 97)])
def test_chunks_change_no_bit_of_anything(run, chunk):
    ds = run(200)
    assert_same_bits(
        cgstore.distributions(ds.chunk(frame=chunk), EVERYTHING).compute(),
        cgstore.distributions(ds, EVERYTHING).compute(scheduler="synchronous"),
    )


@pytest.mark.parametrize("way", ["threads", "processes", "distributed"])
def test_threads_processes_and_distributed_workers_give_the_same_bits(run, way):
    ds = run(300)
    expected = cgstore.distributions(ds, EVERYTHING).compute(scheduler="synchronous")
    assert int(expected["rdf"]["count"].sum()) > 1000
    lazy = cgstore.distributions(ds.chunk(frame=50), EVERYTHING)
    if way != "distributed":
        assert_same_bits(lazy.compute(scheduler=way, num_workers=2), expected)
        return
    distributed = pytest.importorskip("distributed")
    with (
        dask.config.set({"distributed.admin.large-graph-warning-threshold": "1GB"}),
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        assert len(client.scheduler_info()["workers"]) == 2
        assert_same_bits(lazy.compute(), expected)


def test_every_stored_frame_is_read_once_for_all_distributions_together(add_dataset, tmp_path, monkeypatch):
    from cgstore.store.decoding import StoredArray

    random = np.random.default_rng(3)
    position = random.uniform(0, 3, (700, 400, 3))
    add_dataset(tmp_path, NAME, position=position)
    ds = cgstore.open_catalog(tmp_path)[NAME].open()
    ds = ds.drop_dims(list(TERMS)).assign({name: ((name, f"{name}_end"), ends) for name, ends in TERMS.items()})
    assert len(ds.chunks["frame"]) > 1
    read, lock, original = [], threading.Lock(), StoredArray.__getitem__

    def record(self, key):
        found = original(self, key)
        if self.array.name.endswith("position"):
            with lock:
                read.extend(np.arange(700)[key[0]])
                assert found.shape[1:] == (400, 3)
        return found

    monkeypatch.setattr(StoredArray, "__getitem__", record)
    bonded = BondedSpec(bond_width="1 nm", bond_max="6 nm", angle_width="30 degree", dihedral_width="60 degree")
    tree = cgstore.distributions(ds, EVERYTHING.model_copy(update={"bonded": bonded}))
    assert read == []
    tree = tree.compute(scheduler="threads")
    assert set(tree.children) == {"rdf", "bonded", "profile", "radial_map", "covariance"}
    assert sorted(read) == list(range(700))


def counted_by_hand(ds):
    """Count pairs, bonds, angles and dihedrals of every frame in float64: (frame, entry)."""
    x, boxes = ds.position.values.astype(float), ds.box.values.astype(float)
    types, frames = ds.type.values, []
    i, j = np.triu_indices(len(types), 1)
    label = np.array(["-".join(sorted((types[a], types[b]))) for a, b in zip(i, j, strict=True)])
    for r, edges in zip(x, boxes, strict=True):
        images = np.stack(np.meshgrid(*[(-1, 0, 1)] * 3), axis=-1).reshape(-1, 1, 3) @ edges

        def arrow(a, b, r=r, edges=edges, images=images):
            d = r[b] - r[a]
            d = d - np.rint(d @ np.linalg.inv(edges)) @ edges + images
            return np.take_along_axis(d, (d**2).sum(axis=-1).argmin(axis=0)[None, :, None], axis=0)[0]

        distance = np.linalg.norm(arrow(i, j), axis=1)
        row = [np.histogram(distance[label == pair], np.arange(10) * 0.1)[0] for pair in ("A-A", "A-B", "B-B")]
        p = {name: np.array(ends).T for name, ends in TERMS.items()}
        row.append(np.histogram(np.linalg.norm(arrow(*p["bond"]), axis=1), np.arange(9) * 0.25)[0])
        left, right = arrow(p["angle"][1], p["angle"][0]), arrow(p["angle"][1], p["angle"][2])
        cosine = (left * right).sum(axis=1) / np.linalg.norm(left, axis=1) / np.linalg.norm(right, axis=1)
        angle = np.degrees(np.arccos(cosine))
        row += [np.histogram(angle[kind : kind + 1], np.arange(7) * 30.0)[0] for kind in (0, 1)]
        a, b, c = (arrow(p["dihedral"][k], p["dihedral"][k + 1])[0] for k in range(3))
        m, n = np.cross(a, b), np.cross(b, c)
        phi = np.degrees(np.arctan2(np.linalg.norm(b) * a @ n, m @ n))
        row.append(np.histogram([phi], np.arange(7) * 60.0 - 180)[0])
        frames.append(np.concatenate(row))
    return np.array(frames)


@pytest.mark.parametrize("weighted", [True, False])
def test_the_covariance_is_that_of_counts_of_frames_made_by_hand(run, weighted):
    ds = run(500)
    ds = ds if weighted else ds.drop_vars("weight")
    weight = ds["weight"].values if weighted else np.ones(500)
    tree = cgstore.distributions(ds, EVERYTHING).compute()
    covariance = tree["covariance"].to_dataset()
    found, counts = merged_covariance(covariance), counted_by_hand(ds)
    kinds = list(dict.fromkeys(zip(found.distribution.values, found.kind.values, strict=True)))
    assert kinds == [*(("rdf", pair) for pair in ("A-A", "A-B", "B-B")), ("bond", "A-B"), ("angle", "A-B-A"),
                     ("angle", "B-A-B"), ("dihedral", "A-B-A-B")]  # fmt: skip
    np.testing.assert_allclose(found["mean"], np.average(counts, axis=0, weights=weight), rtol=1e-12)
    np.testing.assert_allclose(found.covariance, np.cov(counts.T, ddof=0, aweights=weight), rtol=1e-9, atol=1e-12)
    hits = np.concatenate([tree["rdf"]["count"].values.ravel(), tree["bonded"]["bond_count"].values.ravel()])
    np.testing.assert_array_equal(counts.sum(axis=0)[: len(hits)], hits)
    assert covariance.sizes["part"] >= 4


MEMORY = """
import resource

import dask.array as da
import numpy as np
import xarray as xr

import cgstore
from cgstore.averages.spec import BondedSpec, ProfileSpec, RdfSpec, Spec

PARTICLES, CHUNK = 20_000, 64
SPEC = Spec(
    rdf=RdfSpec(r_max="0.1 nm", bin_width="0.05 nm"),
    bonded=BondedSpec(bond_max="40 nm", bond_width="10 nm"),
    profile=ProfileSpec(centre=("B",), width="0.5 nm"),
    covariance=True,
)
FRAMES = np.random.default_rng(1).random((CHUNK, PARTICLES, 3), np.float32) * 30


def peak(frames):
    chunks = ((CHUNK,) * (frames // CHUNK), PARTICLES, 3)
    position = da.map_blocks(lambda block_info=None: FRAMES + np.float32(0.001), chunks=chunks, dtype=np.float32)
    boxes = np.broadcast_to(30 * np.eye(3, dtype=np.float32), (frames, 3, 3))
    data = {
        "position": (("frame", "particle", "xyz"), position),
        "box": (("frame", "box_vector", "xyz"), boxes),
        "bond": (("bond", "end"), [[0, 1], [1, 2]]),
    }
    ds = xr.Dataset(data, {"type": ("particle", ["A"] * (PARTICLES - 10) + ["B"] * 10)})
    tree = cgstore.distributions(ds, SPEC).compute(scheduler="threads", num_workers=2)
    assert int(tree["bonded"]["bond_count"].sum()) == 2 * frames
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


print(peak(1024), peak(4096))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory is in KiB on Linux only")
def test_memory_does_not_grow_with_the_number_of_frames():
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, timeout=300, check=True)
    few, many = (int(word) * 1024 for word in done.stdout.split())
    more = (4096 - 1024) * 20_000 * 12  # bytes of positions
    assert many - few < 0.05 * more
