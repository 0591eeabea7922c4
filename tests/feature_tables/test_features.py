"""The built-in features are the numbers of the functions they are made from, on common grids."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from cgstore.averages.bonded import bonded
from cgstore.averages.diffusion import diffusion_coefficient
from cgstore.averages.displacement import mean_squared_displacement
from cgstore.averages.keeping import kept_distributions
from cgstore.averages.pair import rdf
from cgstore.averages.spec import RdfSpec, Spec
from cgstore.catalog import open_catalog
from cgstore.errors import InputError
from cgstore.feature_tables import sources
from cgstore.feature_tables.computing import compute_cells
from cgstore.feature_tables.grids import PairGrid
from cgstore.feature_tables.registry import feature_named
from cgstore.feature_tables.rows import Cell
from cgstore.feature_tables.spec import Asked
from cgstore.feature_tables.symmetry import g2
from cgstore.features import kept
from cgstore.frames import Frames
from cgstore.ingestion import ingest
from cgstore.inverse.mean_force import potential_of_mean_force
from cgstore.provenance import digest_of_file
from cgstore.store.versions import stage

ROOT = Path(__file__).parents[2]


def cell(store: Path, name: str, feature: str, **parameters) -> Cell:
    """Compute one feature of one dataset."""
    one = feature_named(feature)
    asked = Asked("x", one, one.parameters.model_validate(parameters))
    ((_, cells),) = compute_cells([asked], [(open_catalog(store)[name], ("x",))])
    return cells["x"]


@pytest.fixture(scope="module")
def beads(add_dataset, tmp_path_factory) -> Path:
    """A gas of two types in a box of 3 nm."""
    store = tmp_path_factory.mktemp("beads")
    known = {"composition": {"A": 30, "B": 30}, "parameters": {"sigma": 0.34, "label": "x"}}
    add_dataset(store, "mix/r1/cg", frames=40, particles=60, temperature=300.0, pressure=1.0, **known)
    return store


@pytest.fixture(scope="module")
def methane(tmp_path_factory) -> Path:
    """Methane of the archive, its atoms and one bead for each molecule."""
    store = tmp_path_factory.mktemp("methane")
    ingest(ROOT / "ingest/recipes/methane_112k.toml", archive=ROOT / "archive", store=store, jobs=1)
    return store


def test_state_point(beads: Path) -> None:
    found = cell(beads, "mix/r1/cg", "state_point")
    values = {name: float(array) for name, array in found.arrays.items() if array.ndim == 0}
    assert (values["temperature"], values["pressure"], values["particles"], values["molecules"]) == (300, 1, 60, 60)
    assert values["volume"] == pytest.approx(27.0)
    assert values["number_density"] == pytest.approx(60 / 27)
    assert values["mass_density"] == pytest.approx(60 * 16 * 1.66053906660 / 27)
    assert found.labels == {"x_component": ("A", "B")}
    assert found.arrays["composition"].tolist() == [30, 30]


def test_rdf_is_that_of_cgstore_in_the_bins_asked_for(beads: Path) -> None:
    ds = open_catalog(beads)["mix/r1/cg"].open()
    found = cell(beads, "mix/r1/cg", "rdf", pair="B-A", bins=100)
    direct = rdf(ds, pairs=["A-B"], r_max=1.5, bin_width=0.015).compute()
    np.testing.assert_allclose(found.arrays["x"], direct.rdf[0], rtol=1e-6)
    np.testing.assert_allclose(found.arrays["x_error"], direct.rdf_error[0], rtol=1e-6)


def test_bins_centred_on_multiples_of_their_width_are_counted_in_halves_and_added_up(beads: Path) -> None:
    ds = open_catalog(beads)["mix/r1/cg"].open()
    found = cell(beads, "mix/r1/cg", "rdf", pair="A-A", r_min="0.225 nm", r_max="1.475 nm", bins=25)
    fine = rdf(ds, pairs=["A-A"], r_max=1.475, bin_width=0.025).compute()
    shells = np.diff((np.arange(60) * 0.025) ** 3)
    counts = (fine.rdf[0].values * shells)[9:].reshape(25, 2).sum(1) / shells[9:].reshape(25, 2).sum(1)
    np.testing.assert_allclose(found.arrays["x"], counts, rtol=1e-6)
    assert np.isfinite(found.arrays["x_error"]).sum() > 20


def test_bins_beyond_half_of_the_box_are_nan(methane: Path) -> None:
    found = cell(methane, "methane_112k/r1/cg", "rdf")
    known = np.isfinite(found.arrays["x"])
    half = sources.Source(open_catalog(methane)["methane_112k/r1/cg"]).half_box
    last = np.flatnonzero(known).max()
    assert known[: last + 1].all()
    assert half - 1.5 / 251 < (last + 1) * 1.5 / 251 <= half
    assert found.arrays["x"][known].max() == pytest.approx(2.7, abs=0.2)


def test_kept_statistics_are_used_and_nothing_is_counted_again(beads: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = open_catalog(beads)["mix/r1/cg"]
    kept_distributions(entry.path, entry.open(), Spec(rdf=RdfSpec(bin_width="0.05 nm", r_max="1.5 nm")))
    before = {item.key for item in kept(entry.path)}

    def count(*arguments: object) -> None:
        raise AssertionError("counted again")

    monkeypatch.setattr(sources, "kept_statistics", count)
    assert cell(beads, "mix/r1/cg", "rdf", bins=30, pair="A-A").reason == ""
    assert cell(beads, "mix/r1/cg", "rdf", bins=20, r_max="1 nm", pairs=["A-A", "A-B"]).reason == ""
    assert cell(beads, "mix/r1/cg", "rdf", bins=40, pair="A-A").reason.startswith("AssertionError")
    assert {item.key for item in kept(entry.path)} == before


def test_centres_of_mass_of_atoms_are_the_beads_of_whole_molecules(methane: Path) -> None:
    atoms = cell(methane, "methane_112k/r1/atoms", "rdf", of="molecules", bins=50, exclude_bonded=0)
    beads = cell(methane, "methane_112k/r1/cg", "rdf", bins=50)
    assert atoms.reason == ""
    known = np.isfinite(beads.arrays["x"])
    # Beads are stored to 0.001 nm, so a few pairs are in the next bin.
    np.testing.assert_allclose(atoms.arrays["x"][known], beads.arrays["x"][known], atol=0.03)


def test_potential_of_mean_force(beads: Path) -> None:
    ds = open_catalog(beads)["mix/r1/cg"].open()
    found = cell(beads, "mix/r1/cg", "potential", pairs="all", bins=30)
    g = rdf(ds, r_max=1.5, bin_width=0.05).compute()
    expected = potential_of_mean_force(g, temperature=300.0)
    assert found.labels == {"x_pair": ("A-A", "A-B", "B-B")}
    np.testing.assert_allclose(found.arrays["x"], expected.potential, rtol=1e-5)
    np.testing.assert_allclose(found.arrays["x_error"], expected.pmf_error, rtol=1e-5)


def test_potential_of_a_fit(beads: Path, tmp_path: Path) -> None:
    nodes = np.linspace(0.0, 1.0, 101)
    energy, force = 50.0 * (nodes - 1.0) ** 2, -100.0 * (nodes - 1.0)
    values = {"energy": (("curve", "pair", "r"), [[energy]]), "force": (("curve", "pair", "r"), [[force]])}
    folder = tmp_path / "fits/mix"
    folder.mkdir(parents=True)
    xr.Dataset(values, {"curve": ["network"], "pair": ["A-A"], "r": nodes}).to_netcdf(
        folder / "potential.nc", engine="scipy"
    )
    (folder / "lock.json").write_text(json.dumps({"files": {"potential.nc": digest_of_file(folder / "potential.nc")}}))
    where = {"source": "fit", "fits": f"{tmp_path}/fits/{{system}}", "bins": 15}
    found = cell(beads, "mix/r1/cg", "potential", **where)
    r = (np.arange(15) + 0.5) * 0.1
    np.testing.assert_allclose(found.arrays["x"], np.where(r < 1.0, 50.0 * (r - 1.0) ** 2, 0.0), atol=1e-4)
    assert "no potential 'ibi'" in cell(beads, "mix/r1/cg", "potential", **where, curve="ibi").reason
    (folder / "potential.nc").write_bytes(b"x")
    assert "changed since" in cell(beads, "mix/r1/cg", "potential", **where).reason
    (folder / "UNFINISHED").touch()
    assert "no finished fit" in cell(beads, "mix/r1/cg", "potential", **where).reason


def test_potential_of_a_file(beads: Path, tmp_path: Path) -> None:
    nodes = np.linspace(0.0, 1.0, 101)
    path = tmp_path / "mix/potential.csv"
    where = {"source": "file", "file": f"{tmp_path}/{{system}}/potential.csv", "bins": 15}
    one, entry = feature_named("potential"), open_catalog(beads)["mix/r1/cg"]
    parameters = one.parameters.model_validate(where)
    assert "No such file" in cell(beads, "mix/r1/cg", "potential", **where).reason
    assert one.others(entry, parameters) is None
    path.parent.mkdir()
    rows = np.stack([nodes, 50.0 * (nodes - 1.0) ** 2, -100.0 * (nodes - 1.0)], axis=1)
    np.savetxt(path, rows, delimiter=",", header="r_nm,u_kJ_per_mol,force_kJ_per_mol_nm", comments="")
    found = cell(beads, "mix/r1/cg", "potential", **where)
    r = (np.arange(15) + 0.5) * 0.1
    np.testing.assert_allclose(found.arrays["x"], np.where(r < 1.0, 50.0 * (r - 1.0) ** 2, 0.0), atol=1e-4)
    assert np.isnan(found.arrays["x_error"]).all()
    before = one.others(entry, parameters)
    path.write_text("r,u\n0,1\n")
    assert "expected the columns r_nm" in cell(beads, "mix/r1/cg", "potential", **where).reason
    assert one.others(entry, parameters) not in (None, before)  # another file, another value
    path.write_text("r_nm,u_kJ_per_mol,force_kJ_per_mol_nm\n0,1\n")
    assert "not a pair potential" in cell(beads, "mix/r1/cg", "potential", **where).reason


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"source": "file"}, 'source = "file" and file = "PATH"'),
        ({"source": "fit", "file": "x"}, "expected both or none"),
        ({"source": "file", "file": "x", "pair": "A-A"}, "a file has one potential"),
        ({"source": "file", "file": "{other}"}, "expected a path"),
    ],
)
def test_a_potential_has_one_source(parameters: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        feature_named("potential").parameters.model_validate(parameters)


def test_bonded_distributions(methane: Path) -> None:
    direct = bonded(open_catalog(methane)["methane_112k/r1/atoms"].open()).compute()
    angle = cell(methane, "methane_112k/r1/atoms", "bonded", term="angle", kinds="all")
    assert angle.labels["x_kind"] == tuple(direct.angle_kind.values)
    np.testing.assert_allclose(angle.arrays["x"], direct.angle, rtol=1e-6)
    kind = str(direct.bond_kind.values[0])
    bond = cell(methane, "methane_112k/r1/atoms", "bonded", kind=kind)
    np.testing.assert_allclose(bond.arrays["x"], direct.bond.sel(bond_kind=kind), rtol=1e-6)
    assert "found no bonds" in cell(methane, "methane_112k/r1/cg", "bonded").reason


def test_diffusion_coefficient(add_dataset, tmp_path: Path) -> None:
    steps = np.random.default_rng(2).normal(0, 0.1, (1200, 20, 3))
    add_dataset(tmp_path, "walk/r1/cg", position=1.5 + np.cumsum(steps, axis=0), temperature=300.0)
    ds = open_catalog(tmp_path)["walk/r1/cg"].open()
    direct = diffusion_coefficient(mean_squared_displacement(ds)).sel(kind="A").compute()
    found = cell(tmp_path, "walk/r1/cg", "diffusion", kind="A", remove_drift=True)
    both = cell(tmp_path, "walk/r1/cg", "diffusion", kinds="all")
    assert found.arrays["x"] == float(direct.diffusion)
    assert found.arrays["x_error"] == float(direct.diffusion_error)
    assert both.labels == {"x_kind": ("A", "B")}
    large = cell(tmp_path, "walk/r1/cg", "diffusion", kind="A", viscosity=0.5)
    kT, edge = 0.008314462618 * 300.0, 3.0
    assert large.arrays["x"] - found.arrays["x"] == pytest.approx(2.837297 * kT / (6 * np.pi * 0.5 * 602.214076 * edge))


def test_symmetry_functions_are_sums_over_neighbours(beads: Path) -> None:
    ds = open_catalog(beads)["mix/r1/cg"].open()
    found = cell(beads, "mix/r1/cg", "symmetry", eta=(10.0, 100.0), shift=("0 nm", "0.5 nm"))
    assert found.labels == {"x_pair": ("A-A", "A-B", "B-A", "B-B")}
    x = ds.position.values.astype(float)
    d = x[:, :, None] - x[:, None]
    d -= 3.0 * np.rint(d / 3.0)
    r = np.sqrt((d**2).sum(-1)) + 10.0 * np.eye(60)
    for number, (eta, shift) in enumerate([(10.0, 0.0), (100.0, 0.5)]):
        values = g2(r, eta=eta, shift=shift, cutoff=1.0)
        mean = values[:, ::2][:, :, 1::2].sum(2).mean(1)  # neighbours B of particles A, by frame
        assert found.arrays["x"][1, number] == pytest.approx(mean.mean(), rel=1e-3)


def test_frames_that_come_later_are_computed_alone(
    add_dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(3)
    position = rng.uniform(0, 3, (1, 20, 3)) + rng.normal(0, 0.05, (30, 20, 3)).cumsum(0)
    add_dataset(tmp_path, "a/r1/cg", position=position[:20])
    add_dataset(tmp_path, "whole/r1/cg", position=position)
    one = feature_named("symmetry")
    seen = []

    def compute(ds: xr.Dataset, parameters: object) -> object:
        seen.append(ds.sizes["frame"])
        return one.compute(ds, parameters)

    asked = Asked("x", replace(one, compute=compute), one.parameters())
    entry = open_catalog(tmp_path)["a/r1/cg"]
    list(compute_cells([asked], [(entry, ("x",))]))
    later = slice(20, 30)
    with stage(tmp_path / "a/r1/cg", base=1) as staged:
        staged.append(
            Frames(
                position=np.round(position[later], 3).astype(np.float32),
                time=np.arange(30)[later] * 2.0,
                step=np.arange(30)[later] * 1000,
                box=np.tile(np.eye(3, dtype=np.float32) * 3, (10, 1, 1)),
            )
        )
        staged.publish()
    catalog = open_catalog(tmp_path)
    ((_, grown),) = compute_cells([asked], [(catalog["a/r1/cg"], ("x",))])
    assert seen == [20, 10]
    ((_, whole),) = compute_cells([asked], [(catalog["whole/r1/cg"], ("x",))])
    np.testing.assert_array_equal(grown["x"].arrays["x"], whole["x"].arrays["x"])
    np.testing.assert_array_equal(grown["x"].arrays["x_error"], whole["x"].arrays["x_error"])


def test_parameters_and_types(beads: Path) -> None:
    assert cell(beads, "mix/r1/cg", "parameters").labels == {"x_parameter": ("sigma",)}
    assert cell(beads, "mix/r1/cg", "parameters", names=["sigma"]).arrays["x"].tolist() == [0.34]
    assert "expected epsilon" in cell(beads, "mix/r1/cg", "parameters", names=["epsilon"]).reason
    types = cell(beads, "mix/r1/cg", "types")
    assert types.labels == {"x_type": ("A", "B")}
    assert types.arrays["x_number"].tolist() == [30, 30]
    assert types.arrays["x_mass"].tolist() == [16, 16]


@pytest.mark.parametrize(
    ("feature", "parameters", "message"),
    [
        ("rdf", {}, "say one as pair"),
        ("rdf", {"pair": "A-C"}, "found no pair"),
        ("diffusion", {}, "say one as kind"),
        ("diffusion", {"kind": "C"}, "no molecule of kind"),
        ("symmetry", {"pairs": ["A-C"]}, "no pair of types 'A-C'"),
    ],
)
def test_what_cannot_be_answered_is_a_reason(beads: Path, feature: str, parameters: dict, message: str) -> None:
    found = cell(beads, "mix/r1/cg", feature, **parameters)
    assert message in found.reason
    assert not found.arrays


@pytest.mark.parametrize(
    "wrong",
    [
        {"r_min": "2 nm"},
        {"pair": "A-A", "pairs": "all"},
        {"r_min": "0.1 nm", "r_max": "1 nm", "bins": 7},
        {"bins": 0},
    ],
)
def test_grids_that_are_none_are_refused(wrong: dict) -> None:
    with pytest.raises((InputError, ValueError)):
        PairGrid.model_validate(wrong)
