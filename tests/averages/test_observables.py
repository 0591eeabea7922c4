"""Observables of a spec: kept beside the statistics, each under its own question."""

import numpy as np
import pytest
import xarray as xr

import cgstore
from cgstore.averages.keeping import explain, kept_distributions
from cgstore.averages.observables import asked_observables
from cgstore.averages.spec import BondedSpec, MembraneSpec, MobilitySpec, RdfSpec, Spec, TiltSpec, load_spec
from cgstore.errors import InputError
from cgstore.features import kept

PLAIN = {"rdf": RdfSpec(r_max="0.9 nm"), "bonded": BondedSpec(bond_max="3 nm")}


@pytest.fixture
def bilayer(dataset):
    """Return four lipids of two beads, two a leaflet, in a box that breathes."""
    random = np.random.default_rng(1)
    place = np.array([[0.5, 0.5], [1.5, 0.5], [0.5, 1.5], [1.5, 1.5]])
    side = np.array([1, -1, 1, -1])
    whole = np.empty((40, 8, 3))
    for lipid in range(4):
        for bead, height in enumerate((1.9, 0.3)):
            whole[:, 2 * lipid + bead] = [*place[lipid], side[lipid] * height]
    whole += random.normal(0, 0.02, whole.shape)
    box = np.eye(3) * [2.0, 2.0, 8.0] * (1 + random.normal(0, 0.005, (40, 1, 1)))
    names = {"name": ["PO4", "C1"] * 4, "molecule": np.repeat(range(4), 2), "molecule_kind": ["DMPC"] * 8}
    ds = dataset(whole, box, type=["PO4", "C1"] * 4, bond=[(0, 1), (2, 3), (4, 5), (6, 7)], **names)
    return ds.assign_attrs(kind="bilayer", temperature=300.0)


def test_what_is_asked_is_kept_under_its_own_question(bilayer, tmp_path):
    spec = Spec(**PLAIN, mobility=MobilitySpec(dims="xy"), tilt=TiltSpec())
    tree, computed = kept_distributions(tmp_path, bilayer, spec)
    assert computed
    assert {"membrane", "tilt", "mobility"} < set(tree)
    assert sorted(item.name for item in kept(tmp_path)) == ["membrane", "mobility", "statistics", "tilt"]
    xr.testing.assert_equal(tree["membrane"].to_dataset(), cgstore.membrane(bilayer).compute())
    assert float(tree["membrane"]["area_per_lipid"]) == pytest.approx(2.0, rel=0.01)
    displacement = cgstore.mean_squared_displacement(bilayer, dims="xy").compute()
    xr.testing.assert_equal(tree["mobility"]["msd"], displacement["msd"])
    assert {"diffusion", "diffusion_error", "reason"} < set(tree["mobility"].data_vars)
    again, computed = kept_distributions(tmp_path, bilayer, spec)
    assert not computed
    for name in ("membrane", "tilt", "mobility"):
        xr.testing.assert_identical(again[name].to_dataset(), tree[name].to_dataset())
    assert kept_distributions(tmp_path, bilayer, Spec(**PLAIN, tilt=TiltSpec(normal="x")))[1]


def test_it_is_explained_which_of_them_are_known(bilayer, tmp_path):
    kept_distributions(tmp_path, bilayer, Spec(**PLAIN))
    found = explain(tmp_path, bilayer, Spec(**PLAIN, tilt=TiltSpec())).observables
    assert found["tilt"] == ""
    assert len(found["membrane"]) == 64


def test_only_bilayers_are_asked_unasked(bilayer):
    assert list(asked_observables(bilayer, Spec())) == ["membrane"]
    assert asked_observables(bilayer.assign_attrs(kind="liquid"), Spec()) == {}
    assert asked_observables(bilayer, Spec(membrane=MembraneSpec(normal="x")))["membrane"]["normal"] == "x"
    unknown = bilayer.assign_coords(molecule_kind=("particle", ["HOH"] * 8))
    assert asked_observables(unknown, Spec()) == {}


def test_tables_are_read_from_a_file(tmp_path):
    path = tmp_path / "spec.toml"
    path.write_text('[mobility]\ndims = "xy"\nfit = ["10 ps", "1 ns"]\n[order]\nof = "bonds"\n[velocity]\n')
    spec = load_spec(path)
    assert (spec.mobility.dims, spec.mobility.fit, spec.order.of) == ("xy", (10.0, 1000.0), "bonds")
    path.write_text('[mobility]\ndims = "yx"\n')
    with pytest.raises(InputError, match=r"mobility\.dims"):
        load_spec(path)
