"""Distributions of terms whose density is known in closed form."""

import numpy as np
import pytest
import xarray as xr
from scipy.stats import norm

from cgstore.averages.blocks import merge_blocks
from cgstore.averages.bonded import bonded, bonded_blocks, bonded_from_blocks
from cgstore.errors import InputError, PhysicsError


def chains(dataset, frames, *, seed=1, box=None, **rest):
    """Make four-atom chains: bonds of a harmonic distribution, directions independent and uniform."""
    random = np.random.default_rng(seed)
    direction = random.normal(size=(frames, 5, 3, 3))
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    length = random.normal(0.37, 0.02, size=(frames, 5, 3, 1))
    start = random.random((frames, 5, 1, 3)) * 3
    position = np.concatenate([start, start + np.cumsum(direction * length, axis=2)], axis=2).reshape(frames, 20, 3)
    terms = {
        "bond": [(4 * m + k, 4 * m + k + 1) for m in range(5) for k in range(3)],
        "angle": [(4 * m + k, 4 * m + k + 1, 4 * m + k + 2) for m in range(5) for k in range(2)],
        "dihedral": [(4 * m, 4 * m + 1, 4 * m + 2, 4 * m + 3) for m in range(5)],
    }
    return dataset(position, box, type=["B", "A", "A", "C"] * 5, **terms, **rest)


def deviations(result, name, kind, exact):
    """Return the mean square deviation from the exact density in units of the error."""
    often = result[f"{name}_count"].sel({f"{name}_kind": kind}).values > 50
    off = (result[name] - exact) / result[f"{name}_error"]
    assert often.sum() > 10
    return float((off.sel({f"{name}_kind": kind}).values[often] ** 2).mean())


def test_harmonic_bonds_free_angles_and_free_dihedrals_have_their_densities(dataset):
    b = bonded(chains(dataset, 3000), dihedral_width=6.0, angle_width=3.0, bond_width=0.01).compute()
    edges = np.arange(101) * 0.01
    gauss = np.diff(norm.cdf(edges, 0.37, 0.02)) / 0.01
    assert deviations(b, "bond", "A-A", gauss) < 2
    cosine = np.cos(np.radians(np.arange(61) * 3.0))
    assert deviations(b, "angle", "A-A-B", (cosine[:-1] - cosine[1:]) / 2 / 3.0) < 2
    assert deviations(b, "dihedral", "B-A-A-C", 1 / 360) < 2


def test_every_density_integrates_to_one_over_nm_and_degrees(dataset):
    b = bonded(chains(dataset, 50, weight=np.random.default_rng(0).random(50))).compute()
    np.testing.assert_allclose(b.bond.sum("r") * 0.002, 1, rtol=1e-12)
    np.testing.assert_allclose(b.angle.sum("theta") * 1.0, 1, rtol=1e-12)
    np.testing.assert_allclose(b.dihedral.sum("phi") * 2.0, 1, rtol=1e-12)
    assert b.bond_count.sum("r").values.tolist() == [250, 250, 250]


def test_kinds_are_read_in_the_direction_that_comes_first_in_the_alphabet(dataset):
    b = bonded(chains(dataset, 4))
    assert b.bond_kind.values.tolist() == ["A-A", "A-B", "A-C"]
    assert b.angle_kind.values.tolist() == ["A-A-B", "A-A-C"]
    assert b.dihedral_kind.values.tolist() == ["B-A-A-C"]
    assert [b[name].dims for name in ("bond", "angle", "dihedral")] == [
        ("bond_kind", "r"),
        ("angle_kind", "theta"),
        ("dihedral_kind", "phi"),
    ]
    assert (b.r.values[0], b.theta.values[0], b.phi.values[0]) == (0.001, 0.5, -179.0)


def test_a_dihedral_read_backwards_is_the_same_dihedral(dataset):
    ds = chains(dataset, 30)
    backwards = ds.assign(dihedral=(ds.dihedral.dims, ds.dihedral.values[:, ::-1]))
    xr.testing.assert_allclose(bonded(backwards).compute(), bonded(ds).compute(), rtol=1e-12)


def test_molecules_broken_across_the_box_give_the_same_numbers_as_whole_ones(dataset):
    box = np.array([[2.5, 0, 0], [0.7, 2.4, 0], [-0.9, 0.5, 2.3]])
    ds = chains(dataset, 200, box=box)
    exact = ds.assign(position=(ds.position.dims, np.round(ds.position.values * 4096) / 4096))
    broken = exact.position.values - np.floor(exact.position.values @ np.linalg.inv(box)) @ box
    b = bonded(ds.assign(position=(ds.position.dims, broken.astype(np.float32))), bond_width=0.02).compute()
    whole = bonded(exact, bond_width=0.02).compute()
    for name in ("bond", "angle", "dihedral"):
        moved = np.abs(b[f"{name}_count"] - whole[f"{name}_count"]).sum()
        assert moved <= 4, name  # float32 puts single values on the other side of an edge
    far = ds.drop_vars("box").assign(position=(ds.position.dims, broken.astype(np.float32)))
    with pytest.raises(PhysicsError, match="see whether the molecule is broken"):
        bonded(far).compute()


def test_a_bond_beyond_bond_max_is_named_with_its_frame(dataset):
    ds = chains(dataset, 40)
    ds["position"][17, 6, 2] += 3.0
    with pytest.raises(PhysicsError) as error:
        bonded(ds.assign_coords(name=("particle", [f"X{k}" for k in range(20)]))).compute()
    assert "bonded of gas_300k/r1/cg: the bond X5(5)-X6(6) is" in str(error.value)
    assert "nm long in frame 17, beyond bond_max = 1 nm" in str(error.value)
    assert bonded(ds, bond_max=5.0).compute().bond_count.sum() == 600


def test_a_position_that_is_not_finite_names_the_term(dataset):
    ds = chains(dataset, 40)
    ds["position"][7, 0, 0] = np.nan
    with pytest.raises(PhysicsError, match=r"the bond B\(0\)-A\(1\) of frame 7 has a position that is not finite"):
        bonded(ds).compute()


def test_without_terms_there_are_no_kinds(gas):
    b = bonded(gas(20, 5, 2 * np.eye(3), seed=1)).compute()
    assert [b.sizes[f"{name}_kind"] for name in ("bond", "angle", "dihedral", "improper")] == [0, 0, 0, 0]


@pytest.mark.parametrize("chunk", [1, 9, 64])
def test_chunks_do_not_change_a_bit(dataset, chunk):
    weight = np.random.default_rng(2).random(150)
    xr.testing.assert_identical(
        bonded(chains(dataset, 150, weight=weight, chunk=chunk)).compute(scheduler="threads"),
        bonded(chains(dataset, 150, weight=weight)).compute(),
    )


def test_nothing_is_read_before_it_is_computed(dataset, no_computing):
    ds = chains(dataset, 60, chunk=10, box=3 * np.eye(3))
    with no_computing():
        assert all(array.chunks for array in bonded(ds).data_vars.values())


def test_blocks_of_two_halves_merge_to_the_whole(dataset):
    ds = chains(dataset, 128)
    halves = [bonded_blocks(ds.isel(frame=half)) for half in (slice(0, 64), slice(64, 128))]
    names = ("bond", "angle", "dihedral", "improper")
    merged = {name: merge_blocks([half[name].to_dataset() for half in halves]) for name in names}
    result = bonded_from_blocks(xr.DataTree.from_dict(merged)).compute()
    xr.testing.assert_allclose(result.drop_attrs(), bonded(ds).compute().drop_attrs(), rtol=1e-12)


def test_every_array_says_its_unit_and_the_result_says_what_was_asked(dataset):
    b = bonded(chains(dataset, 4))
    units = {name: b[name].attrs["units"] for name in b.variables if not name.endswith("_kind")}
    assert (units["bond"], units["angle_error"], units["dihedral"]) == ("1/nm", "1/degree", "1/degree")
    assert (units["r"], units["theta"], units["phi"], units["bond_correlation_time"]) == (
        "nm",
        "degree",
        "degree",
        "ps",
    )
    assert b.attrs["parameters"] == {
        "bond_width": 0.002,
        "bond_max": 1.0,
        "angle_width": 1.0,
        "dihedral_width": 2.0,
        "improper_width": 2.0,
    }
    assert (b.attrs["name"], b.attrs["digest"]) == ("gas_300k/r1/cg", "d1")


@pytest.mark.parametrize(
    "wrong",
    [
        {"bond_width": 0.0},
        {"bond_width": 0.3},
        {"angle_width": 7.0},
        {"dihedral_width": -2.0},
        {"improper_width": 7.0},
        {"bond_max": np.inf},
    ],
)
def test_bins_that_do_not_fit_are_refused(dataset, wrong):
    with pytest.raises(InputError, match=r"bonded of gas_300k/r1/cg: found .*_width"):
        bonded(chains(dataset, 4), **wrong)


def star(dataset, corners, types, *, height=0.0, turned=1, **rest):
    """Make a centre at a height above three corners of a triangle in the plane z = 0, anticlockwise seen from above."""
    turn = np.radians(90.0 + turned * np.array([0.0, 120.0, 240.0]))
    position = np.zeros((6, 4, 3))
    position[:, 3, 2] = height
    position[:, corners, :2] = 0.3 * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    return dataset(position, None, type=[*types, "C"], bond=[(3, 0), (1, 3), (3, 2)], **rest)


def test_planar_centres_are_at_zero_and_tetrahedral_ones_at_35_degrees(dataset):
    flat = bonded(star(dataset, [0, 1, 2], "AAA"), improper_width=1.0).compute()
    assert flat.improper_kind.values.tolist() == ["C-A-A-A"]
    assert float(flat.improper.sel(xi=0.5)[0]) == 1.0
    # From a centre above the plane the corners, anticlockwise from above, run anticlockwise too: ξ < 0.
    for height, turned, xi in ((0.1, 1, -35.5), (-0.1, 1, 35.5), (0.1, -1, 35.5)):
        # Corners at 0.3 nm from the axis: tetrahedral at a height of 0.3 / √8.
        found = bonded(
            star(dataset, [0, 1, 2], "AAA", height=height * 3 / np.sqrt(8), turned=turned), improper_width=1.0
        )
        counts = found.improper_count[0].compute()
        assert float(counts.xi[counts.argmax("xi")]) == xi
        assert int(counts.sum()) == 6


def test_neighbours_of_a_centre_are_taken_in_the_order_of_their_types_then_of_their_indices(dataset):
    first = bonded(star(dataset, [0, 1, 2], "ABD", height=0.1)).compute()
    assert first.improper_kind.values.tolist() == ["C-A-B-D"]
    # The same corners numbered otherwise: the types keep the sign.
    moved = bonded(star(dataset, [2, 0, 1], "BDA", height=0.1)).compute()
    xr.testing.assert_identical(moved.improper_count, first.improper_count)
    # The mirror image, by which two types change places, has the other sign.
    mirror = bonded(star(dataset, [0, 2, 1], "ABD", height=0.1)).compute()
    np.testing.assert_array_equal(mirror.improper_count.values[:, ::-1], first.improper_count.values)
    # Two equal types: the lower index comes first.
    same = [bonded(star(dataset, corners, "AAD", height=0.1)).compute() for corners in ([0, 1, 2], [1, 0, 2])]
    np.testing.assert_array_equal(same[0].improper_count.values[:, ::-1], same[1].improper_count.values)


def test_impropers_have_the_sign_and_size_of_dihedrals_of_other_programs(dataset):
    random = np.random.default_rng(12)
    position = random.random((50, 8, 3)) * 0.4 + 0.4
    bond = [(0, 1), (0, 2), (0, 3), (3, 4), (4, 5), (4, 6), (6, 7)]
    ds = dataset(position, None, type=list("CBADCABD"), bond=bond)
    b = bonded(ds, improper_width=10.0).compute()
    assert b.improper_kind.values.tolist() == ["C-A-B-D"]
    mdtraj = pytest.importorskip("mdtraj")
    topology = mdtraj.Topology()
    residue = topology.add_residue("MOL", topology.add_chain())
    for _ in range(8):
        topology.add_atom("B", mdtraj.element.virtual, residue)
    trajectory = mdtraj.Trajectory(ds.position.values, topology)
    values = np.degrees(mdtraj.compute_dihedrals(trajectory, [[0, 2, 1, 3], [4, 5, 6, 3]]))
    np.testing.assert_array_equal(b.improper_count[0], np.histogram(values, np.arange(-180, 181, 10.0))[0])


def test_bins_that_no_frame_hit_have_no_error(dataset):
    b = bonded(star(dataset, [0, 1, 2], "AAA")).compute()
    for name in ("bond", "improper"):
        hit = b[f"{name}_count"].values > 0
        assert hit.any()
        assert np.isnan(b[f"{name}_error"].values[~hit]).all()


def test_large_numbers_of_float64_are_said_to_be_not_finite(dataset):
    ds = chains(dataset, 4)
    wide = ds.position.values.astype(np.float64)
    wide[2, 1, 1] = 1e300
    with pytest.raises(PhysicsError, match="of frame 2 has a position that is not finite"):
        bonded(ds.assign(position=(ds.position.dims, wide))).compute()
