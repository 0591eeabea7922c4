"""Density profiles of systems whose answer is known."""

import warnings
from pathlib import Path

import mdtraj
import numpy as np
import pytest
import xarray as xr

from cgstore.averages.blocks import merge_blocks
from cgstore.averages.counting import count_blocks
from cgstore.averages.profile import density_profile, profile_blocks, profile_counter, profile_from_blocks
from cgstore.errors import InputError, NotFound, PhysicsError

DATA = Path(__file__).parents[1] / "data" / "averages"
SHEARED = np.array([[3.0, 0, 0], [1.1, 2.8, 0], [-1.3, 1.2, 4.2]])
BOTH = {"axis": "z", "by": "type", "density": "number", "symmetric": False}


def breathing(frames, box=SHEARED):
    """Return boxes of very different areas and heights."""
    return box * np.random.default_rng(7).uniform(0.8, 1.4, (frames, 3, 1))


@pytest.fixture
def slab(dataset):
    """Return a function that makes a layer of lipids between walls of water, anywhere in the box.

    Lipids fill |z| < 1.2 nm evenly, heads lie at ±0.9 nm, waters beyond 1.4 nm.
    """

    def make(frames=200, box=SHEARED, *, seed=1, shift=None, images=True, **rest):
        random = np.random.default_rng(seed)
        boxes = np.broadcast_to(box, (frames, 3, 3)).astype(np.float64)
        height = 1 / np.linalg.norm(np.linalg.inv(boxes)[:, :, 2], axis=1)[:, None]
        lipid = np.tile(np.linspace(-1.2, 1.2, 25), (frames, 4)) + random.uniform(-0.05, 0.05, (frames, 100))
        lipid -= lipid.mean(axis=1, keepdims=True)
        head = np.tile([-0.9, 0.9], (frames, 10))
        water = random.uniform(1.4, height - 1.4, (frames, 60))
        fraction = random.random((frames, 180, 3))
        fraction[:, :, 2] = np.concatenate([lipid, head, water], axis=1) / height
        fraction[:, :, 2] += random.random((frames, 1)) if shift is None else shift
        fraction += random.integers(-2, 3, fraction.shape) if images else 0
        kinds = ["DMPC"] * 120 + ["HOH"] * 60
        return dataset(fraction @ boxes, boxes, type=["C"] * 100 + ["P"] * 20 + ["O"] * 60, molecule_kind=kinds, **rest)

    return make


@pytest.mark.parametrize("shape", ["sheared", "breathing"])
def test_a_slab_has_the_density_of_its_frames_whatever_the_box(slab, shape):
    boxes = SHEARED if shape == "sheared" else breathing(200)
    ds = slab(box=boxes)
    p = density_profile(ds, width=0.25, reach=1.5).compute()
    area = np.linalg.norm(np.cross(*np.moveaxis(ds.box.values[:, :2], 1, 0)), axis=1)
    # ⟨n / A⟩: the mean of the densities of the frames, not the mean number by the mean area.
    head = 10 * (1 / area).mean() / 0.25
    assert p.profile.sel(type="P").values.tolist() == pytest.approx(
        [0, 0, head, 0, 0, 0, 0, 0, 0, head, 0, 0], rel=1e-6
    )
    assert p["count"].sel(type="P").values[[2, 9]].tolist() == [2000, 2000]
    inner = p.isel(z=slice(2, 10)).sel(type="C")
    exact = 100 / 2.5 * (1 / area).mean()
    assert inner.profile.values.mean() == pytest.approx(exact, rel=0.01)
    assert (p.profile.sel(type="O").values[1:-1] == 0).all()
    assert (p["count"].dtype, p.profile.attrs["units"]) == (np.int64, "1/nm^3")


def test_where_the_box_is_cut_does_not_matter(slab):
    one, other = (density_profile(slab(shift=shift), width=0.2).compute() for shift in (0.0, 0.47))
    assert one.sizes["z"] == 2 * int(0.5 * 4.2 / 0.2)
    # Positions are rounded to float32 in another place, so that a few particles change bins.
    assert abs(one["count"] - other["count"]).sum() <= 4
    assert one["count"].sel(type="P").sum() == 4000


def test_an_ideal_gas_has_its_mean_density_in_every_bin(gas):
    box = breathing(400)
    ds = gas(400, 80, box, seed=3, type=["A"] * 79 + ["M"])
    p = density_profile(ds, centre="M", width=0.1, reach=1.6).compute().sel(type="A")
    # ⟨n / A⟩ / Δz of particles that fill a height h evenly is ⟨N / V⟩.
    exact = 79 * (1 / np.linalg.det(box)).mean()
    assert (((p.profile - exact) / p.profile_error) ** 2).mean() < 2
    assert p.profile.mean() == pytest.approx(exact, rel=0.02)


def test_both_sides_add_up_to_the_symmetric_profile(slab):
    ds = slab(box=breathing(100), frames=100)
    whole, folded = (density_profile(ds, width=0.1, reach=1.5, symmetric=s).compute() for s in (False, True))
    right, left = whole.isel(z=slice(15, None)), whole.isel(z=slice(None, 15)).isel(z=slice(None, None, -1))
    assert folded.z.values == pytest.approx(right.z.values)
    np.testing.assert_array_equal(folded["count"], right["count"].values + left["count"].values)
    np.testing.assert_allclose(folded.profile, (right.profile.values + left.profile.values) / 2)


@pytest.mark.parametrize("axis", ["x", "y", "z"])
def test_any_box_vector_can_be_the_normal(gas, axis):
    place = "xyz".index(axis)
    box = np.roll(SHEARED, place - 2, axis=0)  # rows: the third vector becomes the one named
    ds = gas(50, 40, SHEARED, seed=2, type=["A"] * 39 + ["M"])
    turned = ds.assign(box=(ds.box.dims, np.broadcast_to(box, (50, 3, 3)).astype(np.float32)))
    expected = density_profile(ds, centre="M", width=0.2)
    xr.testing.assert_allclose(
        density_profile(turned, centre="M", width=0.2, axis=axis).drop_vars("z"), expected.drop_vars("z")
    )


def test_masses_and_charges_are_summed_with_their_error(slab):
    random = np.random.default_rng(4)
    mass, charge = random.choice([1.0, 12.011, 15.999], 180), random.choice([-0.8, 0.0, 0.4], 180)
    mass[100:120] = 30.97
    ds = slab(frames=256, mass=mass, charge=charge)
    for density, weight, unit in (("mass", mass, "u/nm^3"), ("charge", charge, "e/nm^3")):
        for by, names in (("type", ["C", "O", "P"]), ("molecule_kind", ["DMPC", "HOH"]), ("all", ["all"])):
            p = density_profile(ds, width=0.2, by=by, density=density).compute()
            assert p[p.profile.dims[0]].values.tolist() == names
            assert p.profile.attrs == {"units": unit, "long_name": f"{density} density"}
            # Each particle a type of its own: the sums of all of them are what is wanted.
            each = ds.assign_coords(type=("particle", [f"{k:03d}" for k in range(180)]))
            single = density_profile(each, width=0.2).compute()
            group = ds[p.profile.dims[0]].values if by != "all" else np.full(180, "all")
            for name in names:
                chosen = group == name
                exact = (single.profile.values * weight[:, None])[chosen].sum(axis=0)
                np.testing.assert_allclose(p.profile.values[names.index(name)], exact, atol=1e-9)
                count = single["count"].values[chosen].sum(axis=0)
                np.testing.assert_array_equal(p["count"].values[names.index(name)], count)


def test_the_error_of_a_sum_knows_how_its_parts_go_together(dataset):
    # Two particles of opposite charge always in the same bin: the charge density is zero, and so is its error.
    random = np.random.default_rng(1)
    z = random.uniform(0, 2, (256, 1, 1))
    position = np.concatenate([np.zeros((256, 1, 1)), z, z], axis=1) * np.ones(3)
    ds = dataset(position, 2 * np.eye(3), type=["M", "A", "B"], charge=[0.0, 1.0, -1.0])
    parts = density_profile(ds, centre="M", width=0.25, density="charge").compute()
    assert (parts.profile_error.sel(type=["A", "B"]) > 0).all()
    whole = density_profile(ds, centre="M", width=0.25, density="charge", by="all").compute()
    assert (whole.profile == 0).all()
    assert np.isnan(whole.profile_error).all()


def test_weights_choose_frames(slab):
    weight = np.repeat([1.0, 0.0], 64)
    ds = slab(frames=128, box=breathing(128), weight=weight)
    half = density_profile(ds.isel(frame=slice(64)).drop_vars("weight"), width=0.2, reach=1.5).compute()
    np.testing.assert_allclose(density_profile(ds, width=0.2, reach=1.5).profile, half.profile, rtol=1e-12)


@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_chunks_do_not_change_a_bit(slab, chunk):
    ds = slab(frames=150, box=breathing(150), mass=np.random.default_rng(3).choice([1.0, 12.0], 180))
    whole = density_profile(ds, reach=1.5, density="mass").compute()
    lazy = density_profile(ds.chunk(frame=chunk), reach=1.5, density="mass").compute(scheduler="threads")
    xr.testing.assert_identical(lazy, whole)


def test_blocks_of_two_halves_merge_to_the_whole(slab):
    ds = slab(frames=128, box=breathing(128), mass=np.random.default_rng(3).choice([1.0, 12.0], 180))
    for density in ("number", "mass"):
        parts = [
            profile_blocks(ds.isel(frame=part), reach=1.5, density=density) for part in (slice(64), slice(64, 128))
        ]
        merged = profile_from_blocks(merge_blocks(parts)).compute()
        whole = density_profile(ds, reach=1.5, density=density).compute()
        np.testing.assert_array_equal(merged["count"], whole["count"])
        np.testing.assert_allclose(merged.profile, whole.profile, rtol=1e-12)


def test_nothing_is_read_before_it_is_computed(slab, no_computing):
    ds = slab(frames=20, chunk=5)
    with no_computing():
        p = density_profile(ds, reach=1.5)
        assert all(array.chunks for array in p.data_vars.values())
    # Without a reach the boxes are looked at, and nothing else.
    assert density_profile(ds).sizes["z"] == 84


def test_many_counters_share_one_pass(slab):
    ds = slab(frames=40, chunk=16)
    ways = [{"density": "number", "by": "type"}, {"density": "number", "by": "molecule_kind"}]
    counters = [profile_counter(ds, **BOTH | way | {"centre": None, "width": 0.1, "reach": None}) for way in ways]
    found = [profile_from_blocks(blocks) for (blocks,) in count_blocks(ds, counters)]
    for way, one in zip(ways, found, strict=True):
        xr.testing.assert_equal(one.compute(), density_profile(ds, width=0.1, **way).compute())


def test_mdanalysis_finds_the_same_densities(dataset):
    mda = pytest.importorskip("MDAnalysis")
    from MDAnalysis.analysis.lineardensity import LinearDensity
    from MDAnalysis.coordinates.memory import MemoryReader

    random = np.random.default_rng(8)
    edges = np.array([3.0, 3.5, 4.0])
    position = (random.random((30, 50, 3)) * edges).astype(np.float32)
    position[:, 0] = edges / 2  # their bins begin at the edge of the box, so the centre stays in its middle
    mass, charge = random.choice([1.0, 12.0], 50), random.choice([-0.5, 0.5], 50)
    ds = dataset(position, np.diag(edges), type=["M"] + ["A"] * 49, mass=mass, charge=charge)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        universe = mda.Universe.empty(50, trajectory=False)
        universe.add_TopologyAttr("masses", mass)
        universe.add_TopologyAttr("charges", charge)
        universe.load_new(
            position * 10,
            format=MemoryReader,
            dimensions=np.tile([*(edges * 10), 90, 90, 90], (30, 1)).astype(np.float32),
        )
        theirs = LinearDensity(universe.atoms, binsize=1.0).run().results.z
    for density, values in (("mass", theirs.mass_density), ("charge", theirs.charge_density)):
        ours = density_profile(ds, centre=["M"], width=0.1, reach=2.0, by="all", density=density)
        # Theirs are mol times u or e per cm³, that is 602.214 per nm³.
        np.testing.assert_allclose(ours.profile.values[0], values * 602.214076, rtol=1e-6, atol=1e-9)


def test_questions_that_make_no_sense_are_refused(slab):
    ds = slab(frames=3)
    for wrong, said in (
        ({"axis": "w"}, "found axis = 'w', expected one of x, y, z"),
        ({"by": "residue"}, "found by = 'residue', expected one of type, molecule_kind, all"),
        ({"density": "volume"}, "found density = 'volume', expected one of number, mass, charge"),
        ({"density": "charge"}, "found no variable charge"),
        ({"width": 0.0}, "found width = 0.0, expected a positive length"),
        ({"reach": 0.01}, r"found width = 0.05 and reach = 0.01, expected 0 < width <= reach"),
        ({"reach": np.nan}, "found width = 0.05 and reach = nan"),
    ):
        with pytest.raises(InputError, match=f"density_profile of gas_300k/r1/cg: {said}"):
            density_profile(ds, **wrong)
    with pytest.raises(NotFound, match="found no molecule kind or type"):
        density_profile(ds, centre=["POPC"])
    with pytest.raises(InputError, match="not known what lies in the middle"):
        density_profile(ds.drop_vars("molecule_kind"))
    with pytest.raises(PhysicsError, match="found no box, so there is no cross-section"):
        density_profile(ds.drop_vars("box"))


@pytest.mark.parametrize("lazy", [False, True])
def test_a_reach_beyond_half_the_box_names_the_frame_and_what_is_allowed(slab, lazy):
    boxes = np.repeat(SHEARED[None], 30, axis=0)
    boxes[17] *= 0.98
    ds = slab(frames=30, box=boxes)
    said = r"reach = 2.1 nm is beyond half the smallest box height, 2.058 nm at frame 17; use reach <= 2.058"
    with pytest.raises(PhysicsError, match=said):
        density_profile(ds.chunk(frame=8) if lazy else ds, reach=2.1).compute()
    assert density_profile(ds, reach=2.058, width=0.001).sizes["z"] == 4116


def test_broken_frames_are_named(slab):
    ds = slab(frames=30, chunk=8)
    position = ds.position.values.copy()
    position[21, 150] = np.nan
    with pytest.raises(PhysicsError, match="frame 21 has a position that is not finite"):
        density_profile(ds.assign(position=(ds.position.dims, position))).compute()
    flat = ds.box.values.copy()
    flat[3, 2] = 0
    with pytest.raises(PhysicsError, match=r"box of frame 3 is .* expected three vectors"):
        density_profile(ds.assign(box=(ds.box.dims, flat)))


@pytest.mark.parametrize("cut", [0.0, 0.5])
def test_phosphates_of_a_real_bilayer_lie_where_they_should(cut):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trajectory = mdtraj.load(str(DATA / "dmpc.xtc"), top=str(DATA / "dmpc.gro"))
    box = trajectory.unitcell_vectors
    wrapped = (trajectory.xyz + cut * box[:, None, 2]) % np.einsum("fkk->fk", box)[:, None]  # cuts lipids and bilayer
    ds = xr.Dataset(
        {"position": (("frame", "particle", "xyz"), wrapped), "box": (("frame", "box_vector", "xyz"), box)},
        {
            "type": ("particle", [atom.name for atom in trajectory.topology.atoms]),
            "molecule_kind": ("particle", ["DMPC"] * trajectory.n_atoms),
        },
    )
    p = density_profile(ds).compute()
    phosphate = p.sel(type="PO4")
    for side in (slice(None, 0), slice(0, None)):
        leaflet = phosphate.sel(z=side)
        assert leaflet["count"].sum() == 32 * trajectory.n_frames
        mean = (leaflet.profile * leaflet.z).sum() / leaflet.profile.sum()
        assert abs(mean.item()) == pytest.approx(1.7, abs=0.1)
    ends = p.profile.sel(type=["C3A", "C3B"]).sum("type")
    assert abs(ends.z.values[ends.values.argmax()]) < 0.4
