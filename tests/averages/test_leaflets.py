"""Leaflets of bilayers that are bent, cut, asymmetric, flip-flopping, and of what is no part of them."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import cgstore
from cgstore.averages.leaflets import leaflets
from cgstore.averages.lipids import find_lipids
from cgstore.errors import InputError, NotFound, PhysicsError

ARCHIVE = Path(__file__).parents[2] / "archive"
RECIPES = Path(__file__).parents[2] / "ingest" / "recipes"
DISTANCE = np.array([2.0, 1.5, 1.0, 0.6, 0.2])  # nm from the midplane, head first
NAMES = ["PO4", "GL", "C1", "C2", "C3"]


def lipids_at(place, side, box, *, amplitude=0.0, wave=1):
    """Return (lipid, bead, xyz): straight lipids at places (lipid, 2), fractions of a box, on a wavy surface."""
    edges = np.diag(box)
    x = place[:, 0] * edges[0]
    k = 2.0 * np.pi * wave / edges[0]
    surface = np.stack([x, place[:, 1] * edges[1], 0.5 * edges[2] + amplitude * np.sin(k * x)], 1)
    slope = amplitude * k * np.cos(k * x)
    normal = np.stack([-slope, np.zeros_like(x), np.ones_like(x)], 1) / np.sqrt(1.0 + slope[:, None] ** 2)
    return surface[:, None] + normal[:, None] * side[:, None, None] * DISTANCE[:, None]


def grid(number):
    """Return (number², 2) places in fractions of a box."""
    return (np.stack(np.divmod(np.arange(number**2), number), 1) + 0.5) / number


def as_dataset(lipid, box, *, kind="DMPC", extra=None, **variables):
    """Make a dataset of one frame, or of more, from (…, lipid, bead, xyz)."""
    lipid = np.asarray(lipid)
    lipid = lipid if lipid.ndim == 4 else lipid[None]
    frames, number, beads = lipid.shape[:3]
    first = beads * np.arange(number)[:, None]
    bond = np.stack([first + np.arange(beads - 1), first + np.arange(1, beads)], 2).reshape(-1, 2)
    boxes = np.broadcast_to(np.asarray(box, np.float32), (frames, 3, 3))
    return xr.Dataset(
        {
            "position": (("frame", "particle", "xyz"), lipid.reshape(frames, -1, 3).astype(np.float32)),
            "box": (("frame", "box_vector", "xyz"), boxes),
            "bond": (("bond", "bond_end"), bond.astype(np.int32)),
        },
        {
            "name": ("particle", np.tile(NAMES[:beads], number)),
            "molecule": ("particle", np.repeat(np.arange(number), beads)),
            "molecule_kind": ("particle", np.repeat(np.broadcast_to(kind, number), beads)),
            "time": ("frame", 10.0 * np.arange(frames)),
        },
        {"name": "bilayer_300k/r1/cg", **variables},
    )


def wrapped(ds):
    """Put every bead into the box on its own."""
    box = ds.box.values.astype(np.float64)
    fraction = ds.position.values @ np.linalg.inv(box)
    return ds.assign(position=(ds.position.dims, ((fraction % 1.0) @ box).astype(np.float32)))


@settings(max_examples=40)
@given(
    amplitude=st.floats(-2.0, 2.0),
    shift=st.tuples(*[st.floats(-30.0, 30.0)] * 3),
    shear=st.tuples(*[st.floats(-0.3, 0.3)] * 3),
    seed=st.integers(0, 10**6),
)
def test_undulating_sheared_bilayers_are_divided_wherever_the_box_is_cut(amplitude, shift, shear, seed):
    box = np.diag([13.0, 6.5, 11.0])
    side = np.repeat([1, -1], 100)
    place = np.concatenate([grid(10)] * 2) + np.random.default_rng(seed).uniform(-0.02, 0.02, (200, 2))
    lipid = lipids_at(place, side, box, amplitude=amplitude)
    lower = np.array([[1.0, 0, 0], [shear[0], 1.0, 0], [shear[1], shear[2], 1.0]])
    sheared = as_dataset((lipid @ np.linalg.inv(box)) @ (box @ lower) + shift, box @ lower)
    np.testing.assert_array_equal(leaflets(wrapped(sheared)), side)
    np.testing.assert_array_equal(leaflets(sheared), side)


def test_any_box_vector_may_cross_the_bilayer():
    side = np.repeat([1, -1], 36)
    box = np.diag([5.0, 5.0, 8.0])
    lipid = lipids_at(np.concatenate([grid(6)] * 2), side, box)
    for turn, normal in ((1, "x"), (2, "y")):
        turned = as_dataset(np.roll(lipid, turn, axis=-1), np.diag(np.roll(np.diag(box), turn)))
        np.testing.assert_array_equal(leaflets(wrapped(turned), normal=normal), side)


def test_leaflets_may_hold_different_numbers():
    side = np.array([1] * 49 + [-1] * 25)
    box = np.diag([5.5, 5.5, 8.0])
    lipid = lipids_at(np.concatenate([grid(7), grid(5)]), side, box)
    assert leaflets(as_dataset(lipid, box)).values.tolist() == side.tolist()


def test_flip_flop_is_seen_in_the_frame_in_which_it_happens():
    side = np.tile(np.repeat([1, -1], 36), (4, 1))
    side[2:, 5] = -1
    box = np.diag([5.0, 5.0, 8.0])
    place = np.concatenate([grid(6)] * 2)
    frames = np.stack([lipids_at(place, one, box) for one in side])
    frames[1, 5, :, 2] = 4.0 + 0.1 * np.arange(5)  # on its way, lying in the middle
    side[1, 5] = 0
    ds = as_dataset(frames, box)
    found = leaflets(ds, frame=None)
    assert found.dims == ("frame", "molecule")
    np.testing.assert_array_equal(found, side)
    np.testing.assert_array_equal(leaflets(ds, frame=-1), side[-1])
    np.testing.assert_array_equal(leaflets(ds, frame=slice(0, None, 2)), side[::2])


def test_sterols_between_the_leaflets_and_lipids_in_the_water_are_in_neither():
    box = np.diag([5.0, 5.0, 12.0])
    side = np.repeat([1, -1], 36)
    lipid = lipids_at(np.concatenate([grid(6)] * 2), side, box)
    flat = lipid[[0, 40]].copy()
    flat[:, :, 2] = 6.0 + np.array([[0.2], [-0.3]])  # lie in the middle
    flat[:, :, 0] += np.linspace(0.0, 0.8, 5)
    away = lipid[[3, 60]].copy()
    away[:, :, 2] = 10.0 + DISTANCE, 2.1 - DISTANCE  # upright in the water, the first one across the cut
    ds = as_dataset(np.concatenate([lipid, flat, away]), box)
    np.testing.assert_array_equal(leaflets(ds), [*side, 0, 0, 0, 0])


def test_a_sterol_within_a_leaflet_is_found_by_its_hydroxyl():
    box = np.diag([5.0, 5.0, 8.0])
    side = np.repeat([1, -1], 36)
    kind = np.array(["POPC"] * 72)
    kind[[3, 50]] = "CHOL"
    lipid = lipids_at(np.concatenate([grid(6)] * 2), side, box)
    lipid[[3, 50], :, 2] = 4.0 + 0.75 * (lipid[[3, 50], :, 2] - 4.0)  # its head is deeper
    ds = as_dataset(lipid, box, kind=kind)
    name = ds.name.values.copy()
    name[[15, 250]] = "ROH"
    found = leaflets(ds.assign_coords(name=("particle", name)))
    np.testing.assert_array_equal(found, side)
    assert found.molecule_kind.values[3] == "CHOL"


def test_heads_may_be_named_for_all_or_for_each_kind():
    box = np.diag([5.0, 5.0, 8.0])
    side = np.repeat([1, -1], 36)
    lipid = lipids_at(np.concatenate([grid(6)] * 2), side, box)
    ds = as_dataset(lipid, box, kind="LIPX")
    for head in ("GL", ("PO4", "GL"), {"LIPX": "GL"}):
        np.testing.assert_array_equal(leaflets(ds, lipids="LIPX", head=head), side)


def test_nothing_is_computed_before_it_is_asked_for(no_computing):
    box = np.diag([5.0, 5.0, 8.0])
    ds = as_dataset(lipids_at(grid(6), np.ones(36), box), box)
    ds = ds.assign({name: ds[name].chunk(frame=1) for name in ("position", "box")})
    with no_computing():
        assert leaflets(ds, frame=None).chunks is not None


def test_tails_end_where_the_bonds_end_and_not_at_the_head_group():
    ds = xr.Dataset(
        {
            "position": (("frame", "particle", "xyz"), np.zeros((1, 8, 3))),
            "bond": (("bond", "bond_end"), [[0, 1], [1, 2], [2, 3], [3, 4], [2, 5], [4, 6], [4, 7]]),
            "mass": ("particle", [72.0] * 6 + [1.008, 0.4]),
        },
        {
            "name": ("particle", ["NC3", "PO4", "GL", "C1A", "C2A", "C1B", "H1", "DC2A"]),  # a Drude particle
            "molecule": ("particle", [0] * 8),
            "molecule_kind": ("particle", ["DMPC"] * 8),
        },
    )
    found = find_lipids(ds)
    assert found.particle[found.head[0]].tolist() == [1]
    assert sorted(found.particle[found.tail[0]].tolist()) == [4, 5]


@pytest.mark.parametrize(
    ("change", "options", "error", "says"),
    [
        ({"kind": "HOH"}, {}, NotFound, "among its molecules (36 HOH)"),
        ({}, {"lipids": "DMPX"}, NotFound, 'did you mean "DMPC"'),
        ({}, {"lipids": ()}, InputError, "empty list"),
        ({}, {"head": "PO5"}, NotFound, 'did you mean "PO4"'),
        ({}, {"head": {"POPC": "PO4"}}, NotFound, "no lipid here"),
        ({}, {"head": {"DMPC": "XX"}}, NotFound, "no particle of DMPC called XX"),
        ({}, {"frame": 7}, InputError, "expected one of 0 to 0"),
        ({}, {"normal": "w"}, InputError, "normal 'w'"),
        ({}, {"middle": -1.0}, InputError, "0 <= middle"),
        ({}, {"reach": 0.0}, InputError, "0 < reach"),
    ],
)
def test_questions_without_an_answer_say_what_there_is(change, options, error, says):
    box = np.diag([5.0, 5.0, 8.0])
    ds = as_dataset(lipids_at(grid(6), np.ones(36), box), box, **change)
    if change:
        ds = ds.assign_coords(name=("particle", ["OW"] * 180))
    with pytest.raises(error) as raised:
        leaflets(ds, **options)
    assert says in str(raised.value)


def test_positions_and_boxes_that_are_none_name_the_frame():
    box = np.diag([5.0, 5.0, 8.0])
    ds = as_dataset(np.stack([lipids_at(grid(6), np.ones(36), box)] * 3), box)
    broken = ds.position.values.copy()
    broken[2, 7] = np.nan
    with pytest.raises(PhysicsError, match="frame 2"):
        leaflets(ds.assign(position=(ds.position.dims, broken)), frame=None).compute()
    flat = ds.box.values.copy()
    flat[1, 2] = 0.0
    with pytest.raises(PhysicsError, match="box of frame 1"):
        leaflets(ds.assign(box=(ds.box.dims, flat)), frame=None).compute()


@pytest.mark.filterwarnings("ignore")  # of MDAnalysis
def test_dmpc_is_divided_as_mdanalysis_does_at_both_levels(tmp_path):
    MDAnalysis = pytest.importorskip("MDAnalysis")
    leaflet = pytest.importorskip("MDAnalysis.analysis.leaflet")
    cgstore.ingest(RECIPES / "dmpc_303k.toml", archive=ARCHIVE, store=tmp_path)
    catalog = cgstore.open_catalog(tmp_path)
    found = {level: leaflets(catalog[f"dmpc_303k/r1/{level}"].open(), frame=20).values for level in ("atoms", "cg")}
    universe = MDAnalysis.Universe(str(ARCHIVE / "dmpc_303k/system.tpr"), str(ARCHIVE / "dmpc_303k/traj.xtc"))
    universe.trajectory[20]
    groups = leaflet.LeafletFinder(universe, "name P", pbc=True, cutoff=15.0).groups()
    upper = max(groups, key=lambda group: group.positions[:, 2].mean())
    assert len(groups) == 2
    theirs = np.isin(np.arange(64), upper.resindices)
    for ours in found.values():
        np.testing.assert_array_equal(ours, np.where(theirs, 1, -1))
