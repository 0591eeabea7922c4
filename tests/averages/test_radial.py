"""Densities around a nanoparticle, of systems whose answer is known."""

import numpy as np
import pytest
import xarray as xr

from cgstore.averages.blocks import merge_blocks
from cgstore.averages.counting import count_blocks
from cgstore.averages.radial import (
    map_blocks,
    map_counter,
    map_from_blocks,
    radial_blocks,
    radial_counter,
    radial_from_blocks,
    radial_map,
    radial_profile,
)
from cgstore.errors import InputError, NotFound, PhysicsError

SHEARED = np.array([[3.0, 0, 0], [1.1, 2.8, 0], [-1.3, 1.2, 4.2]])
CUBE = 3 * np.eye(3)


def breathing(frames, box=SHEARED):
    """Return boxes of very different volumes."""
    return box * np.random.default_rng(7).uniform(0.95, 1.3, (frames, 1, 1))


@pytest.fixture
def particle(dataset):
    """Return a function that makes a gold cluster in a gas: anywhere, cut by the boundary, in any images.

    The cluster is an octahedron with a heavy atom in the middle; water sits on its axis at -0.8 and 0.5 nm too.
    """

    def make(frames=100, box=SHEARED, *, seed=1, gas=60, images=True, **rest):
        random = np.random.default_rng(seed)
        boxes = np.broadcast_to(box, (frames, 3, 3)).astype(np.float64)
        normal = np.cross(boxes[:, 0], boxes[:, 1])
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        octahedron = 0.3 * np.concatenate([np.zeros((1, 3)), np.eye(3), -np.eye(3)])
        at = random.random((frames, 1, 3)) @ boxes
        bound = at + np.array([-0.8, 0.5])[:, None] * normal[:, None]
        free = random.random((frames, gas, 3)) @ boxes
        position = np.concatenate([at + octahedron, bound, free], axis=1)
        if images:
            position = position + random.integers(-2, 3, position.shape) @ boxes
        kinds = ["AU"] * 7 + ["HOH"] * (2 + gas)
        types = ["Au"] * 7 + ["B"] * 2 + ["O"] * gas
        return dataset(
            position, boxes, type=types, molecule_kind=kinds, mass=[100.0] + [197.0] * 6 + [16.0] * (2 + gas), **rest
        )

    return make


@pytest.mark.parametrize("shape", ["cubic", "sheared", "breathing"])
def test_shells_around_a_cluster_hold_what_is_there(particle, shape):
    box = {"cubic": CUBE, "sheared": SHEARED, "breathing": breathing(400)}[shape]
    p = radial_profile(particle(400, box), centre=["AU"], width=0.1, reach=1.2).compute()
    shell = 4 / 3 * np.pi * np.diff((0.1 * np.arange(13)) ** 3)
    gold = p["count"].sel(type="Au").values
    assert gold[[0]].tolist() == [400]
    assert gold[2:4].sum() == 2400  # at 0.3 nm, an edge
    bound = p["count"].sel(type="B").values
    assert (bound[4:6].sum(), bound[7:9].sum()) == (400, 400)
    np.testing.assert_allclose(p.profile, p["count"] / 400 / shell, rtol=1e-12)
    exact = 60 * (1 / np.linalg.det(np.broadcast_to(box, (400, 3, 3)))).mean()
    free = p.sel(type="O")
    often = free["count"].values > 20
    assert often.sum() > 8
    assert (((free.profile - exact) / free.profile_error).values[often] ** 2).mean() < 2.5
    assert free["count"].sum() / 400 / shell.sum() == pytest.approx(exact, rel=0.03)
    assert (p["count"].dtype, p.profile.attrs) == (np.int64, {"units": "1/nm^3", "long_name": "number density"})


@pytest.mark.parametrize("shape", ["cubic", "sheared", "breathing"])
def test_rings_around_a_cluster_hold_what_is_there(particle, shape):
    box = {"cubic": CUBE, "sheared": SHEARED, "breathing": breathing(400)}[shape]
    m = radial_map(particle(400, box), centre=["AU"], width=0.2, reach=1.2, reach_z=1.2).compute()
    assert m["map"].dims == ("type", "r", "z")
    assert m.r.values.tolist() == pytest.approx([0.1, 0.3, 0.5, 0.7, 0.9, 1.1])
    assert m.z.values[[0, -1]].tolist() == pytest.approx([-1.1, 1.1])
    bound = m["count"].sel(type="B")
    assert bound.isel(r=0).sel(z=0.5, method="nearest") == 400
    assert bound.isel(r=0).sel(z=slice(-1.0, -0.6)).sum() == 400  # at an edge
    assert bound.sum() == 800
    ring = np.pi * np.diff((0.2 * np.arange(7)) ** 2) * 0.2
    np.testing.assert_allclose(m["map"], m["count"] / 400 / ring[:, None], rtol=1e-12)
    exact = 60 * (1 / np.linalg.det(np.broadcast_to(box, (400, 3, 3)))).mean()
    free = m.sel(type="O")
    often = free["count"].values > 50
    assert often.sum() > 20
    assert (((free["map"] - exact) / free.map_error).values[often] ** 2).mean() < 2
    assert free["count"].sum() / 400 / ring.sum() / 12 == pytest.approx(exact, rel=0.03)


def test_both_reaches_go_as_far_as_the_box_allows(particle):
    m = radial_map(particle(20), centre=["AU"], width=0.1)
    parallelogram = 3.0 * 2.8 / np.hypot(1.1, 2.8)  # height over the longer side
    assert m.sizes["r"] == int(parallelogram / 2 / 0.1)
    assert m.sizes["z"] == 2 * int(4.2 / 2 / 0.1)
    assert m.attrs["parameters"]["reach_z"] == pytest.approx(2.1)
    p = radial_profile(particle(20), centre=["AU"], width=0.1)
    smallest = (1 / np.linalg.norm(np.linalg.inv(SHEARED), axis=0)).min()
    assert p.sizes["r"] == int(smallest / 2 / 0.1) < m.sizes["r"]


def test_images_and_the_place_of_the_cluster_do_not_matter(particle):
    whole, images = (particle(60, images=i) for i in (False, True))
    for result, types in ((radial_profile, ["Au", "B", "O"]), (radial_map, ["B", "O"])):
        ways = (result(ds, centre=["AU"], width=0.22, reach=1.1).compute() for ds in (whole, images))
        one, other = (way["count"].sel(type=types) for way in ways)
        assert abs(one - other).sum() <= 4  # who lies on an edge is rounded to float32 elsewhere
        assert one.sum() > 60 * 9


def test_shells_and_rings_count_the_same_particles_within_a_sphere(particle):
    ds = particle(100, CUBE)
    ball = radial_profile(ds, centre=["AU"], width=0.01, reach=1.4)["count"].sel(type="O").sum().compute().item()
    m = radial_map(ds, centre=["AU"], width=0.02, reach=1.4, reach_z=1.4)["count"].sel(type="O")
    inside = m.where(np.hypot(m.r, m.z) < 1.4, 0).sum().compute().item()
    assert inside == pytest.approx(ball, rel=0.01)


def test_along_another_axis_the_map_is_turned(particle):
    ds = particle(50, np.diag([3.0, 3.2, 3.6]))
    turned = ds.assign(
        position=(ds.position.dims, np.roll(ds.position.values, 1, axis=2)),
        box=(ds.box.dims, np.roll(ds.box.values, (1, 1), axis=(1, 2))),
    )
    expected = radial_map(ds, centre=["AU"], width=0.3)
    found = radial_map(turned, centre=["AU"], width=0.3, axis="x")
    np.testing.assert_array_equal(found["count"], expected["count"])
    assert found.z.attrs["long_name"] == "distance along x from the centre of AU"


def test_without_a_box_the_reach_is_free(particle):
    ds = particle(30, images=False, gas=5)
    free = ds.drop_vars("box")
    p = radial_profile(free, centre=["AU"], reach=30.0, width=0.5).compute()
    assert p["count"].sum() == 30 * 14
    m = radial_map(free, centre=["AU"], reach=20.0, reach_z=20.0, width=0.5).compute()
    assert m["count"].sum() == 30 * 14
    with pytest.raises(InputError, match="found neither a box nor reach; say how far it reaches"):
        radial_profile(free, centre=["AU"])


@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_chunks_do_not_change_a_bit(particle, chunk):
    ds = particle(100, breathing(100), weight=np.random.default_rng(2).random(100))
    for result in (radial_profile, radial_map):
        whole = result(ds, centre=["AU"], reach=1.2, by="molecule_kind").compute()
        lazy = result(ds.chunk(frame=chunk), centre=["AU"], reach=1.2, by="molecule_kind").compute(scheduler="threads")
        xr.testing.assert_identical(lazy, whole)
        assert whole.molecule_kind.values.tolist() == ["AU", "HOH"]


def test_weights_choose_frames(particle):
    ds = particle(64, weight=np.repeat([2.0, 0.0], 32))
    half = ds.isel(frame=slice(32)).drop_vars("weight")
    for result, name in ((radial_profile, "profile"), (radial_map, "map")):
        found, expected = (result(d, centre=["AU"], by="all")[name].compute() for d in (ds, half))
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_blocks_merge_and_counters_share_one_pass(particle):
    ds = particle(128, breathing(128), chunk=32)
    shell = {"centre": ["AU"], "width": 0.1, "reach": 1.2, "by": "type"}
    cell = shell | {"reach_z": 1.2, "axis": "z"}
    halves = [ds.isel(frame=part) for part in (slice(64), slice(64, 128))]
    (shells,), (cells,) = count_blocks(ds, [radial_counter(ds, **shell), map_counter(ds, **cell)])
    for blocks, whole, from_blocks, parts in (
        (shells, radial_profile(ds, **shell), radial_from_blocks, [radial_blocks(half, **shell) for half in halves]),
        (cells, radial_map(ds, **cell), map_from_blocks, [map_blocks(half, **cell) for half in halves]),
    ):
        expected = whole.compute()
        xr.testing.assert_equal(from_blocks(blocks).compute(), expected)
        merged = from_blocks(merge_blocks(parts)).compute()
        np.testing.assert_array_equal(merged["count"], expected["count"])
        xr.testing.assert_allclose(merged, expected)
        assert merged[next(iter(merged))].attrs["units"] == "1/nm^3"


def test_nothing_is_read_before_it_is_computed(particle, no_computing):
    ds = particle(20, chunk=5)
    with no_computing():
        m = radial_map(ds, centre=["AU"], reach=1.0, reach_z=1.0)
        p = radial_profile(ds, centre=["AU"], reach=1.0)
        assert all(array.chunks for result in (m, p) for array in result.data_vars.values())


@pytest.mark.parametrize("lazy", [False, True])
def test_a_reach_beyond_half_the_box_names_the_frame_and_what_is_allowed(particle, lazy):
    boxes = np.repeat(CUBE[None], 30, axis=0)
    boxes[17] *= 0.98
    ds = particle(30, boxes, chunk=8 if lazy else None)
    said = "reach = 1.5 nm is beyond half the smallest box height, 1.470 nm at frame 17; use reach <= 1.470"
    with pytest.raises(PhysicsError, match=f"radial_profile of gas_300k/r1/cg: {said}"):
        radial_profile(ds, centre=["AU"], reach=1.5).compute()
    with pytest.raises(PhysicsError, match=f"radial_map of gas_300k/r1/cg: {said}"):
        radial_map(ds, centre=["AU"], reach=1.5, reach_z=1.0).compute()
    with pytest.raises(PhysicsError, match=said.replace("reach", "reach_z")):
        radial_map(ds, centre=["AU"], reach=1.0, reach_z=1.5).compute()


def test_questions_that_make_no_sense_are_refused(particle):
    ds = particle(3)
    with pytest.raises(NotFound, match=r'found no molecule kind or type "AG" for the centre; known are AU, Au'):
        radial_profile(ds, centre=["AG"])
    with pytest.raises(InputError, match="found axis = 'r'"):
        radial_map(ds, centre=["AU"], axis="r")
    with pytest.raises(InputError, match=r"found width = 5 and reach_z = 1.5"):
        radial_map(ds.drop_vars("box"), centre=["AU"], width=5, reach=5, reach_z=1.5)
    position = ds.position.values.copy()
    position[1, 3] = np.inf
    broken = ds.assign(position=(ds.position.dims, position))
    for result in (radial_profile, radial_map):
        with pytest.raises(PhysicsError, match="frame 1 has a position that is not finite"):
            result(broken, centre=["AU"]).compute()
