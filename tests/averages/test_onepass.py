"""Specs, all distributions at once, and keeping them."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import cgstore
from cgstore.averages.keeping import kept_distributions
from cgstore.averages.onepass import distributions, warnings_about
from cgstore.averages.spec import BondedSpec, MapSpec, ProfileSpec, RadialSpec, RdfSpec, Spec, load_spec
from cgstore.errors import CgstoreError, InputError, IntegrityError, PhysicsError

SPEC = Spec(rdf=RdfSpec(r_max="9 angstrom", exclude_bonded="molecule"), bonded=BondedSpec(bond_max="2 nm"))


@pytest.fixture
def molecules(gas):
    return gas(
        60, 12, 2 * np.eye(3), seed=1, chunk=16, type=["A", "B", "A"] * 4, molecule=np.repeat(np.arange(4), 3),
        bond=[(3 * m + k, 3 * m + k + 1) for m in range(4) for k in range(2)],
        angle=[(3 * m, 3 * m + 1, 3 * m + 2) for m in range(4)],
    )  # fmt: skip


def test_one_pass_gives_what_rdf_and_bonded_give(molecules):
    tree = cgstore.distributions(molecules, SPEC).compute()
    xr.testing.assert_identical(
        tree["rdf"].to_dataset(), cgstore.rdf(molecules, r_max=0.9, exclude_bonded="molecule").compute()
    )
    xr.testing.assert_identical(tree["bonded"].to_dataset(), cgstore.bonded(molecules, bond_max=2.0).compute())


def test_nothing_is_read_before_it_is_computed(molecules, no_computing):
    with no_computing():
        tree = distributions(molecules, SPEC)
        assert all(array.chunks for node in tree.children.values() for array in node.data_vars.values())


def test_the_spec_that_ships_says_what_the_defaults_are():
    path = Path(__file__).parents[2] / "catalogs" / "specs" / "default.toml"
    assert load_spec(path) == Spec()


def test_without_r_max_distances_reach_as_far_as_the_box_allows(molecules, gas):
    assert distributions(molecules)["rdf"].attrs["parameters"]["r_max"] == 1.0  # half of 2 nm
    roomy = gas(5, 12, 4 * np.eye(3), seed=1)
    assert distributions(roomy)["rdf"].attrs["parameters"]["r_max"] == 1.5
    np.testing.assert_allclose(distributions(roomy)["rdf"].r[-1], 1.495)


def test_a_spec_is_read_from_a_file_with_units(molecules, tmp_path):
    path = tmp_path / "spec.toml"
    path.write_text('[rdf]\npairs = ["B-A"]\nr_max = "9 angstrom"\nbin_width = "0.1 nm"\n[bonded]\nbond_max = "2 nm"\n')
    tree = distributions(molecules, path).compute()
    assert tree["rdf"].pair.values.tolist() == ["A-B"]
    assert tree["rdf"].sizes["r"] == 9
    assert tree["rdf"].attrs["parameters"]["pairs"] == ["A-B"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[rdf]\nrmax = "1 nm"', r'rdf.rmax   unknown key; did you mean "r_max"'),
        ("[rdf]\nr_max = 1", "rdf.r_max   found 1, expected a length with its unit"),
        ('[bonded]\nangle_width = "1 nm"', 'expected an angle with its unit; write for example "20 degree"'),
        ('[bonded]\ndihedral_width = "0 degree"', "bonded.dihedral_width   found"),
        ('[rdf]\nexclude_bonded = "molecules"', "rdf.exclude_bonded"),
        ("[rdf]\nexclude_bonded = -1", "rdf.exclude_bonded"),
        ("[rdfs]", r'rdfs   unknown key; did you mean "rdf"'),
    ],
)
def test_a_wrong_spec_says_what_is_wrong(tmp_path, text, message):
    path = tmp_path / "spec.toml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        load_spec(path)
    assert message in str(error.value)
    assert str(error.value).startswith(str(path))


def test_the_same_question_is_computed_once(molecules, tmp_path):
    first, computed = kept_distributions(tmp_path, molecules, SPEC)
    assert computed
    again, computed = kept_distributions(tmp_path, molecules.chunk(frame=7), SPEC)
    assert not computed
    for name in ("rdf", "bonded"):
        xr.testing.assert_identical(again[name].to_dataset(), first[name].to_dataset())
    fresh = distributions(molecules, SPEC).compute()
    for name in ("rdf", "bonded"):
        xr.testing.assert_identical(again[name].to_dataset(), fresh[name].to_dataset())


def test_other_content_or_another_question_is_computed_again(molecules, tmp_path):
    kept_distributions(tmp_path, molecules, SPEC)
    assert kept_distributions(tmp_path, molecules.assign_attrs(digest="d2"), SPEC)[1]
    finer = SPEC.model_copy(update={"rdf": RdfSpec(r_max="0.9 nm")})
    assert kept_distributions(tmp_path, molecules, finer)[1]
    assert not kept_distributions(tmp_path, molecules, finer)[1]


def test_a_kept_result_that_was_changed_is_not_used(molecules, tmp_path):
    kept_distributions(tmp_path, molecules, SPEC)
    largest = max((path for path in tmp_path.rglob("c/*") if path.is_file()), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.chmod(0o644)
    largest.write_bytes(content)
    with pytest.raises(IntegrityError, match="delete this folder"):
        kept_distributions(tmp_path, molecules, SPEC)


def test_a_question_without_an_answer_keeps_nothing(molecules, tmp_path):
    with pytest.raises(PhysicsError):
        kept_distributions(tmp_path, molecules, Spec())
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_only_datasets_with_a_digest_can_be_kept(molecules, tmp_path):
    del molecules.attrs["digest"]
    with pytest.raises(InputError, match="found no digest"):
        kept_distributions(tmp_path, molecules, SPEC)


def test_profiles_come_from_the_same_reading(gas):
    ds = gas(40, 30, 2 * np.eye(3), seed=4, type=["A", "B"] * 15)
    spec = Spec(
        rdf=RdfSpec(r_max="0.9 nm"),
        profile=ProfileSpec(centre=["A"], width="0.1 nm"),
        radial_profile=RadialSpec(centre=["B"], width="0.1 nm"),
        radial_map=MapSpec(centre=["B"], width="0.25 nm"),
    )
    tree = distributions(ds, spec).compute()
    assert list(tree) == ["rdf", "bonded", "profile", "radial_profile", "radial_map"]
    alone = {
        "profile": cgstore.density_profile(ds, centre=["A"], width=0.1),
        "radial_profile": cgstore.radial_profile(ds, centre=["B"], width=0.1),
        "radial_map": cgstore.radial_map(ds, centre=["B"], width=0.25),
    }
    for name, result in alone.items():
        xr.testing.assert_equal(tree[name].to_dataset(), result.compute())
        asked = dict(tree[name].attrs["parameters"], centre=list(tree[name].attrs["parameters"]["centre"]))
        assert asked == result.attrs["parameters"]


def test_only_bilayers_have_a_profile_unasked_and_only_where_a_layer_is_found(gas):
    spec = Spec(rdf=RdfSpec(r_max="0.9 nm"))
    ds = gas(8, 6, 2 * np.eye(3), seed=4, molecule_kind=["DMPC"] * 6)
    assert "profile" not in distributions(ds, spec)
    assert "profile" in distributions(ds.assign_attrs(kind="bilayer"), spec)
    water = gas(8, 6, 2 * np.eye(3), seed=4, molecule_kind=["HOH"] * 6).assign_attrs(kind="bilayer")
    assert "profile" not in distributions(water, spec)
    with pytest.raises(CgstoreError, match="DMPX"):
        distributions(ds, Spec(rdf=spec.rdf, profile=ProfileSpec(centre=["DMPX"])))


def test_warnings_name_kinds_of_all_distributions_in_one_line_each(molecules):
    tree = distributions(molecules, SPEC).compute()
    for node in ("rdf", "bonded"):
        ds = tree[node].to_dataset()
        flags = [name for name in ds.data_vars if str(name).endswith(("equilibration", "_frames", "drift", "short"))]
        tree[node] = xr.DataTree(ds.assign({name: xr.zeros_like(ds[name]) for name in flags}))
    assert warnings_about(tree) == []
    rdf, bonded = tree["rdf"].to_dataset(), tree["bonded"].to_dataset()
    tree["rdf"] = xr.DataTree(rdf.assign(drift=rdf["drift"] - 9.0))
    tree["bonded"] = xr.DataTree(bonded.assign(angle_drift=bonded["angle_drift"] + 11.0))
    (line,) = warnings_about(tree)
    assert line.startswith("gas_300k/r1/cg: a drift through the whole run, of up to 11 standard errors, in rdf A-A, ")
    assert "angle A-B-A" in line
