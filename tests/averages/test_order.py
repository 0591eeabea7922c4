"""Order parameters: closed forms, a naive twin on the archive, rebuilt hydrogens, and published ones."""

import json
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import cgstore
from cgstore.averages.lipids import hydrogens_of
from cgstore.averages.order import bond_order, order_parameters
from cgstore.errors import InputError, NotFound, PhysicsError
from cgstore.schema import topology_of

ROOT = Path(__file__).parents[2]
MASS = {"C": 12.011, "H": 1.008, "O": 15.999, "P": 30.974}


def molecules(position, name, bond, *, mass=None, number=1, kind="LIP", box=None):
    """Make a dataset of equal molecules: positions (frame, number × atom, xyz), names and bonds of one."""
    atoms = len(name)
    first = atoms * np.arange(number)[:, None, None]
    data = {
        "position": (("frame", "particle", "xyz"), np.asarray(position, np.float64)),
        "bond": (("bond", "bond_end"), (first + np.asarray(bond)).reshape(-1, 2)),
        "mass": ("particle", np.tile([MASS[n[0]] for n in name] if mass is None else mass, number)),
    }
    if box is not None:
        boxes = np.broadcast_to(box, (len(position), 3, 3))
        data["box"] = (("frame", "box_vector", "xyz"), boxes)
    return xr.Dataset(
        data,
        {
            "name": ("particle", np.tile(name, number)),
            "molecule": ("particle", np.repeat(np.arange(number), atoms)),
            "molecule_kind": ("particle", [kind] * (atoms * number)),
            "time": ("frame", 1.0 * np.arange(len(position))),
        },
        {"name": "order_300k/r1/atoms"},
    )


@pytest.fixture(scope="module")
def dmpc(tmp_path_factory):
    store = tmp_path_factory.mktemp("store")
    cgstore.ingest(ROOT / "ingest/recipes/dmpc_303k.toml", archive=ROOT / "archive", store=store)
    return cgstore.open_catalog(store)


def united(ds):
    """Take the hydrogens off the lipids and give their mass to the carbons."""
    topology = topology_of(ds)
    hydrogen = hydrogens_of(topology)
    mass = np.where(np.char.find(topology.name, "C") >= 0, 12.011, topology.mass)
    for one, other in topology.bond:
        mass[one] += 1.008 * hydrogen[other]
        mass[other] += 1.008 * hydrogen[one]
    kept = np.flatnonzero((topology.molecule_kind == "DMPC") & ~hydrogen)
    place = np.full(len(topology), -1)
    place[kept] = np.arange(len(kept))
    bond = place[topology.bond]
    return (
        ds.isel(particle=kept)
        .drop_vars(["bond", "angle", "dihedral"])
        .assign(bond=(("bond", "bond_end"), bond[(bond >= 0).all(axis=1)]), mass=("particle", mass[kept]))
    )


def test_bonds_without_any_preference_have_none_and_the_error_says_so():
    random = np.random.default_rng(2)
    vector = random.normal(size=(400, 50, 3))
    position = np.stack([np.zeros_like(vector), 0.1 * vector], 2).reshape(400, -1, 3)
    ds = molecules(position, ["C1", "H1"], [[0, 1]], number=50)
    found = order_parameters(ds, lipids="LIP", carbons="C1").compute()
    expected = np.sqrt(0.2 / (400 * 50))  # ⟨P2²⟩ = 1/5
    assert float(found.order_parameter_error.squeeze()) == pytest.approx(expected, rel=0.25)
    assert float(found.order_parameter_lipid_error.squeeze()) == pytest.approx(expected, rel=0.25)
    assert abs(float(found.order_parameter.squeeze())) < 3.5 * expected
    assert found.lipids == 50


@pytest.mark.parametrize("angle", [0.0, 30.0, 54.7356, 90.0])
def test_a_bond_at_an_angle_to_the_normal_has_the_second_legendre_polynomial(angle):
    a = np.radians(angle)
    box = np.array([[3.0, 0, 0], [1.0, 3.0, 0], [0.4, -0.8, 4.0]])
    position = np.array([[[0.01, 0.02, 3.97], [0.01 + np.sin(a) / 10, 0.02, 3.97 + np.cos(a) / 10]]])
    position[0, 1] -= box[2]  # the hydrogen in the next box
    ds = molecules(position, ["C1", "H1"], [[0, 1]], box=box)
    found = order_parameters(ds, lipids="LIP", carbons="C1").order_parameter
    np.testing.assert_allclose(found, 1.5 * np.cos(a) ** 2 - 0.5, atol=1e-12)


def test_lipids_that_differ_for_ever_show_in_the_scatter_among_lipids():
    position = np.zeros((64, 8, 3))
    position[:, 1::2, 2] = 0.1
    position[:, 5::2] = [0.1, 0, 0]  # half of them lie down
    found = order_parameters(molecules(position, ["C1", "H1"], [[0, 1]], number=4), lipids="LIP", carbons="all")
    assert found.order_parameter.values.tolist() == [0.25]
    assert found.order_parameter_error.values.tolist() == [0.0]
    np.testing.assert_allclose(found.order_parameter_lipid_error, np.std([1, 1, -0.5, -0.5], ddof=1) / 2)


def test_frames_count_with_their_weight():
    position = np.zeros((6, 4, 3))
    position[:, 1::2, 2] = 0.1
    position[3:, 1::2] = [0.1, 0, 0]
    position[3:, 3] = [0.1, 0, 0.1]
    ds = molecules(position, ["C1", "H1"], [[0, 1]], number=2)
    found = order_parameters(ds.assign(weight=("frame", [1.0] * 3 + [0.5] * 3)), lipids="LIP", carbons="all")
    lipid = np.array([(3 * 1.0 - 1.5 * 0.5) / 4.5, (3 * 1.0 + 1.5 * 0.25) / 4.5])
    np.testing.assert_allclose(found.order_parameter, lipid.mean())
    np.testing.assert_allclose(found.order_parameter_lipid_error, np.std(lipid, ddof=1) / np.sqrt(2))


# The neighbours of a carbon at ideal angles, and where its hydrogens are.
_T = np.array([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3.0)
_CASES = {
    "CH": (13.019, _T[:3], _T[3:]),
    "CH2": (14.027, _T[:2], _T[2:]),
    "CH=": (13.019, np.array([[1.0, 0, 0], [-0.5, 0.75**0.5, 0]]), np.array([[-0.5, -(0.75**0.5), 0]])),
}


@pytest.mark.parametrize("case", _CASES)
def test_hydrogens_are_built_where_ideal_geometry_has_them(case):
    mass, beside, expected = _CASES[case]
    turn = np.linalg.qr(np.random.default_rng(4).normal(size=(3, 3)))[0]
    box = 2.0 * np.eye(3)
    position = (np.vstack([[[0, 0, 0]], 0.15 * beside]) @ turn + 1.99) % 2.0
    name = ["C1", "C2", "C3", "O4"][: len(position)]
    masses = [mass, 12.011, 12.011, 15.999][: len(position)]
    bond = [[0, one] for one in range(1, len(position))]
    ds = molecules(position[None], name, bond, mass=masses, box=box)
    found = order_parameters(ds, lipids="LIP", carbons="C1").hydrogen_order_parameter
    np.testing.assert_allclose(sorted(found.values), sorted(1.5 * (expected @ turn)[:, 2] ** 2 - 0.5), atol=1e-12)


def test_a_built_methyl_is_staggered():
    turn = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))[0]
    position = np.array([0.15 * _T[0], [0, 0, 0], 0.15 * _T[1]]) @ turn
    ds = molecules(position[None], ["C1", "C2", "C3"], [[0, 1], [1, 2]], mass=[15.035, 12.011, 12.011])
    found = order_parameters(ds, lipids="LIP", carbons="C1").hydrogen_order_parameter
    # Of a staggered methyl the hydrogens point opposite to the three bonds of the neighbour other than the one to it.
    expected = 1.5 * (-_T[1:] @ turn)[:, 2] ** 2 - 0.5
    np.testing.assert_allclose(sorted(found.values), sorted(expected), atol=1e-12)


def test_explicit_hydrogens_agree_with_a_naive_loop_over_raw_positions(dmpc):
    ds = dmpc["dmpc_303k/r1/atoms"].open().isel(frame=slice(0, 30, 10)).compute()
    found = order_parameters(ds)
    assert found.chain.values.tolist() == [1] * 13 + [2] * 13
    assert found.number.values.tolist() == [*range(2, 15)] * 2  # the carbonyl is number 1 and has no hydrogen
    position, box = ds.position.values.astype(np.float64), ds.box.values.astype(np.float64)
    name, number = ds.name.values, ds.molecule.values
    for carbon, hydrogen in (("C22", "H2R"), ("4C31", "H14Z"), ("C35", "H5X")):
        values = []
        for molecule in range(64):
            one, other = (int(np.flatnonzero((number == molecule) & (name == n))[0]) for n in (carbon, hydrogen))
            for x, b in zip(position, box, strict=True):
                vector = x[other] - x[one]
                vector -= np.rint(vector / np.diag(b)) * np.diag(b)
                values.append(1.5 * vector[2] ** 2 / (vector**2).sum() - 0.5)
        ours = found.hydrogen_order_parameter.sel(hydrogen=f"{carbon} {hydrogen}")
        np.testing.assert_allclose(ours, np.mean(values), atol=1e-12)


def test_rebuilt_hydrogens_are_within_a_hundredth_of_the_explicit_ones(dmpc):
    ds = dmpc["dmpc_303k/r1/atoms"].open()
    explicit = order_parameters(ds, carbons="all").compute()
    built = order_parameters(united(ds), carbons="all").compute()
    assert explicit.parameters["built"] == 0
    assert built.parameters["built"] == explicit.sizes["hydrogen"] == 72
    assert built.carbon.values.tolist() == explicit.carbon.values.tolist()
    off = abs(built.order_parameter - explicit.order_parameter)
    assert off.max() < 0.01  # 0.005, at the glycerol
    assert off.mean() < 0.002
    plateau = explicit.order_parameter.where((explicit.number >= 4) & (explicit.number <= 8)).mean()
    assert -0.22 < plateau < -0.15


def test_masses_may_be_missing_if_the_hydrogens_are_said(dmpc):
    ds = united(dmpc["dmpc_303k/r1/atoms"].open().isel(frame=[0]).compute())
    with_mass = order_parameters(ds, carbons=("C23", "C24"))
    without = order_parameters(ds.drop_vars("mass"), carbons=("C23", "C24"), hydrogens={"C23": 2, "C24": 2})
    np.testing.assert_array_equal(without.order_parameter, with_mass.order_parameter)


def test_results_do_not_depend_on_chunks_and_nothing_is_computed_early(dmpc, no_computing):
    lazy = dmpc["dmpc_303k/r1/cg"].open()
    with no_computing():
        asked = bond_order(lazy)
    xr.testing.assert_identical(asked.compute(), bond_order(lazy.compute()).compute())


def test_bonds_of_beads_lie_along_the_normal_in_the_tails_and_across_it_between_them(dmpc):
    found = bond_order(dmpc["dmpc_303k/r1/cg"].open()).compute().bond_order
    assert found.sel(bond_kind="PO4-GL1") > 0.3
    assert found.sel(bond_kind="C1A-C2A") > 0.3
    assert found.sel(bond_kind="GL1-GL2") < -0.15
    assert found.sizes["bond_kind"] == 9


def test_bonds_without_any_preference_have_no_order():
    vector = np.random.default_rng(6).normal(size=(300, 40, 3))
    position = np.stack([np.zeros_like(vector), vector], 2).reshape(300, -1, 3)
    ds = molecules(position, ["B1", "B2"], [[0, 1]], number=40, mass=[72.0, 72.0])
    found = bond_order(ds, lipids="LIP").compute()
    assert abs(found.bond_order) < 3.5 * found.bond_order_error
    assert float(found.bond_order_error.squeeze()) == pytest.approx(np.sqrt(0.2 / 12000), rel=0.25)


def test_what_is_not_there_is_said(dmpc):
    ds = molecules(np.zeros((2, 2, 3)), ["C1", "H1"], [[0, 1]])
    with pytest.raises(NotFound, match='did you mean "C1"'):
        order_parameters(ds, lipids="LIP", carbons="C11")
    with pytest.raises(
        NotFound, match=r'no lipids among its molecules .* \["KIND"\] into the table \[membrane\].* --spec'
    ):
        order_parameters(ds)
    with pytest.raises(InputError, match="for beads there is bond_order"):
        order_parameters(dmpc["dmpc_303k/r1/cg"].open())
    with pytest.raises(PhysicsError, match=r"frame \d has positions of lipids that are not finite, or two"):
        order_parameters(ds, lipids="LIP", carbons="all").compute()
    with pytest.raises(InputError, match="found 2 hydrogens on carbon C1 of LIP, which is bonded to 1 other"):
        order_parameters(
            molecules(np.zeros((1, 2, 3)), ["C1", "C2"], [[0, 1]], mass=[14.027, 12.011]), lipids="LIP", carbons="C1"
        )
    with pytest.raises(InputError, match="no bonds in LIP"):
        bond_order(ds.isel(bond=slice(0, 0)), lipids="LIP")


@pytest.mark.skipif("CGSTORE_ARCHIVE" not in os.environ, reason="needs files that are not part of cgstore")
def test_order_parameters_of_dppc_are_the_published_ones(tmp_path):
    """As test_membrane; DPPCOrderParameters.json beside apl.json, mappingDPPCberger.yaml in Molecules/membrane/DPPC."""
    archive = Path(os.environ["CGSTORE_ARCHIVE"])
    published = json.loads((archive / "dppc_323k/DPPCOrderParameters.json").read_text())
    lines = (archive / "dppc_323k/mappingDPPCberger.yaml").read_text().splitlines()
    atom = {a.rstrip(":"): b.split()[1] for a, b in pairwise(lines) if "ATOMNAME" in b}
    cgstore.ingest(ROOT / "ingest/recipes/dppc_323k.toml", archive=archive, store=tmp_path)
    ds = cgstore.open_catalog(tmp_path)["dppc_323k/r1/atoms"].open()
    found = order_parameters(ds, carbons="all").compute()
    theirs = {}
    for label, ((value, _, _),) in published.items():
        theirs.setdefault(atom[label.split()[0]], []).append(value)
    assert len(theirs) > 30
    for carbon, values in theirs.items():
        ours = found.hydrogen_order_parameter.where(found.of_carbon == carbon, drop=True)
        np.testing.assert_allclose(sorted(ours.values), sorted(values), atol=2e-5)
