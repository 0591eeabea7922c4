"""Area per lipid, thickness and compressibility against closed forms, and against a published series."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import cgstore
from cgstore.averages.compressibility import area_compressibility
from cgstore.averages.membrane import area_per_lipid, membrane, thickness
from cgstore.errors import InputError, NotFound, PhysicsError
from cgstore.units import BOLTZMANN

ROOT = Path(__file__).parents[2]
UPPER, LOWER = 16, 9  # lipids


def bilayer(frames, *, plane=5.0, seed=1, thick=4.0, undulation=0.0, kind="DMPC"):
    """Make an asymmetric bilayer of lipids with head, middle and tail; (frame,) or one edge and thickness."""
    random = np.random.default_rng(seed)
    plane, thick = np.broadcast_to(plane, frames), np.broadcast_to(thick, frames)
    place = np.concatenate([np.stack(np.divmod(np.arange(n * n), n), 1) / n for n in (4, 3)]) + 0.1
    side = np.repeat([1.0, -1.0], [UPPER, LOWER])
    xy = np.broadcast_to((place * plane[:, None, None])[:, :, None], (frames, UPPER + LOWER, 3, 2))
    wave = undulation * np.sin(2.0 * np.pi * place[:, 0])
    depth = np.stack([0.5 * thick, 0.25 * thick, np.full(frames, 0.2)], 1)  # (frame, bead)
    centre = random.uniform(0.0, 10.0, frames)  # the bilayer drifts through the box
    z = centre[:, None, None] + wave[:, None] + side[:, None] * depth[:, None]
    position = np.concatenate([xy, z[..., None]], -1).reshape(frames, -1, 3)
    box = np.stack([plane, plane, np.full(frames, 10.0)], 1)[:, None] * np.eye(3)
    position[..., 2] %= 10.0
    first = 3 * np.arange(UPPER + LOWER)
    return xr.Dataset(
        {
            "position": (("frame", "particle", "xyz"), position),
            "box": (("frame", "box_vector", "xyz"), box),
            "bond": (("bond", "bond_end"), np.stack([first + one for one in (0, 1, 1, 2)], 1).reshape(-1, 2)),
        },
        {
            "name": ("particle", np.tile(["PO4", "GL", "C1"], UPPER + LOWER)),
            "molecule": ("particle", np.repeat(np.arange(UPPER + LOWER), 3)),
            "molecule_kind": ("particle", np.repeat(np.broadcast_to(kind, UPPER + LOWER), 3)),
            "time": ("frame", 20.0 * np.arange(frames)),
        },
        {"name": "bilayer_300k/r1/cg", "temperature": 300.0},
    )


def correlated(frames, *, time, seed):
    """Return an AR(1) series of variance 1 with a correlation time of so many frames."""
    random = np.random.default_rng(seed)
    phi = np.exp(-1.0 / time)
    noise = random.normal(0.0, np.sqrt(1.0 - phi**2), frames)
    noise[0] = random.normal()
    for frame in range(1, frames):
        noise[frame] += phi * noise[frame - 1]
    return noise


def test_area_and_thickness_of_each_frame_are_those_that_were_put_in():
    plane, thick = np.linspace(4.8, 5.2, 40), np.linspace(3.6, 4.4, 40)
    found = membrane(bilayer(40, plane=plane, thick=thick)).compute()
    np.testing.assert_allclose(found.area_per_lipid_series, 2 * plane**2 / (UPPER + LOWER), rtol=1e-12)
    np.testing.assert_allclose(found.thickness_series, thick, rtol=1e-9)
    per_leaflet = plane[:, None] ** 2 / [UPPER, LOWER]
    np.testing.assert_allclose(found.leaflet_area_per_lipid_series, per_leaflet, rtol=1e-12)
    np.testing.assert_allclose(found.leaflet_area_per_lipid, per_leaflet.mean(axis=0), rtol=1e-12)
    assert found.leaflet_lipids.values.tolist() == [UPPER, LOWER]
    assert found.lipids_in_neither == 0
    assert found.area_per_lipid.units == "nm^2"
    assert found.thickness.units == "nm"


def test_undulations_leave_the_thickness_as_it_is():
    ds = bilayer(4, undulation=0.8)
    # The same places on both sides, so that the waves cancel exactly.
    both = [*range(3 * UPPER), *range(3 * UPPER)]
    position = ds.position.values[:, both].copy()
    centre = position[:, 2 : 3 * UPPER : 3, 2] - 0.2
    lower = position[:, 3 * UPPER :, 2].reshape(4, UPPER, 3)
    position[:, 3 * UPPER :, 2] = (2 * centre[..., None] - lower).reshape(4, -1)
    first = 3 * np.arange(2 * UPPER)
    mirrored = xr.Dataset(
        {
            "position": (ds.position.dims, position),
            "box": ds.box.variable,
            "bond": (ds.bond.dims, np.stack([first + one for one in (0, 1, 1, 2)], 1).reshape(-1, 2)),
        },
        {
            "name": ("particle", np.tile(["PO4", "GL", "C1"], 2 * UPPER)),
            "molecule": ("particle", np.repeat(np.arange(2 * UPPER), 3)),
            "molecule_kind": ("particle", ["DMPC"] * (6 * UPPER)),
        },
    )
    np.testing.assert_allclose(thickness(mirrored).thickness, 4.0, rtol=1e-9)


def test_sterols_count_for_the_area_and_not_for_the_thickness():
    kind = np.array(["POPC"] * (UPPER + LOWER))
    kind[[2, 20]] = "CHOL"
    ds = bilayer(5, kind=kind)
    position, name = ds.position.values.copy(), ds.name.values.copy()
    middle = position[:, [8, 62], 2]
    position[:, [6, 60], 2] = middle + np.array([1.0, -1.0])  # heads deeper
    name[[6, 60]] = "ROH"
    ds = ds.assign(position=(ds.position.dims, position)).assign_coords(name=("particle", name))
    found = membrane(ds).compute()
    np.testing.assert_allclose(found.thickness, 4.0, rtol=1e-9)
    np.testing.assert_allclose(found.area_per_lipid, 2 * 25.0 / (UPPER + LOWER))
    without = area_per_lipid(ds, lipids=("POPC",))
    np.testing.assert_allclose(without.area_per_lipid, 2 * 25.0 / (UPPER + LOWER - 2))


def test_the_error_covers_the_correlation():
    random = np.random.default_rng(3)
    off, times = [], []
    for _ in range(60):
        plane = np.sqrt(25.0 + 0.5 * correlated(2000, time=10.0, seed=random.integers(10**9)))
        ds = bilayer(1).isel(frame=[0] * 2000)
        ds = ds.assign(box=(ds.box.dims, np.stack([plane, plane, np.full(2000, 10.0)], 1)[:, None] * np.eye(3)))
        found = area_per_lipid(ds.assign_coords(time=("frame", 5.0 * np.arange(2000))))
        off.append(float((found.area_per_lipid - 2.0) / found.area_per_lipid_error))
        times.append(float(found.area_per_lipid_correlation_time))
    assert 35.0 < np.median(times) < 70.0  # ps; it is 50
    assert np.isnan(off).mean() < 0.1  # a run of a hundred correlation times is not always known to be long enough
    assert 0.7 < np.nanstd(off) < 1.5  # 4.5 without the correlation


def test_frames_count_with_their_weight():
    plane = np.array([5.0, 5.0, 6.0, 6.0] * 8)
    weight = np.where(plane == 6.0, 0.0, 1.0)
    ds = bilayer(32, plane=plane).assign(weight=("frame", weight))
    np.testing.assert_allclose(membrane(ds).area_per_lipid, 2.0)
    assert np.isnan(area_compressibility(ds).area_compressibility)


def test_compressibility_of_a_breathing_box_is_recovered_with_its_error():
    random = np.random.default_rng(5)
    expected = BOLTZMANN * 300.0 * 25.0 / 0.25
    values, errors = [], []
    for _ in range(40):
        plane = np.sqrt(25.0 + 0.5 * correlated(1500, time=8.0, seed=random.integers(10**9)))
        box = np.stack([plane, plane, np.full(1500, 10.0)], 1)[:, None] * np.eye(3)
        found = area_compressibility(xr.Dataset({"box": (("frame", "box_vector", "xyz"), box)}), temperature=300.0)
        values.append(float(found.area_compressibility))
        errors.append(float(found.area_compressibility_error))
    assert np.mean(values) == pytest.approx(expected, rel=0.06)  # without the jackknife 1.5 % more, and noise of 2 %
    assert 0.7 < np.std((np.array(values) - expected) / errors) < 1.4


def test_what_short_runs_take_for_the_mean_is_added_to_the_variance():
    random = np.random.default_rng(8)
    compliance = []
    for _ in range(200):
        plane = np.sqrt(25.0 + 0.5 * correlated(200, time=8.0, seed=random.integers(10**9)))
        box = np.stack([plane, plane, np.full(200, 10.0)], 1)[:, None] * np.eye(3)
        found = area_compressibility(xr.Dataset({"box": (("frame", "box_vector", "xyz"), box)}), temperature=300.0)
        compliance.append(1.0 / float(found.area_compressibility))
    ratio = np.mean(compliance) * BOLTZMANN * 300.0 * 25.0 / 0.25
    assert ratio == pytest.approx(1.0, abs=0.05)  # 0.92 without that


def test_a_box_that_does_not_change_has_no_compressibility_and_no_temperature_is_said():
    found = membrane(bilayer(20)).compute()
    assert np.isnan(found.area_compressibility)
    assert np.isnan(found.area_compressibility_error)
    ds = bilayer(20, plane=np.linspace(5.0, 5.1, 20))
    with pytest.raises(InputError, match=r"temperature=303\.0"):
        area_compressibility(ds.drop_attrs())
    with pytest.raises(PhysicsError, match="positive"):
        area_compressibility(ds, temperature=-3.0)


def test_results_do_not_depend_on_chunks_and_nothing_is_computed_early(no_computing):
    ds = bilayer(37, plane=np.linspace(4.9, 5.1, 37), thick=np.linspace(3.6, 4.4, 37))
    lazy = ds.assign({name: ds[name].chunk(frame=5) for name in ("position", "box")})
    with no_computing():
        asked = membrane(lazy)
    xr.testing.assert_identical(asked.compute(), membrane(ds).compute())
    xr.testing.assert_identical(area_per_lipid(lazy).compute(), area_per_lipid(ds).compute())


def test_a_monolayer_is_refused():
    ds = bilayer(3).isel(particle=slice(0, 3 * UPPER)).isel(bond=slice(0, 2 * UPPER))
    with pytest.raises(PhysicsError, match=r"frame \d has no lipids in the lower leaflet \(found 16 upper, 0 lower"):
        thickness(ds).compute()


def test_what_is_missing_is_said():
    ds = bilayer(3)
    with pytest.raises(PhysicsError, match="no box"):
        area_per_lipid(ds.drop_vars("box"))
    with pytest.raises(PhysicsError, match="no box"):
        membrane(ds.drop_vars("box"))
    with pytest.raises(InputError, match="no frames"):
        membrane(ds.isel(frame=slice(0, 0)))
    with pytest.raises(InputError, match="molecule   missing"):
        area_per_lipid(ds.drop_vars("molecule"))
    with pytest.raises(NotFound, match="25 HOH"):
        area_per_lipid(bilayer(3, kind="HOH").assign_coords(name=("particle", ["OW"] * 75)))


def test_dmpc_of_the_archive_is_a_bilayer_at_both_levels(tmp_path):
    cgstore.ingest(ROOT / "ingest/recipes/dmpc_303k.toml", archive=ROOT / "archive", store=tmp_path)
    catalog = cgstore.open_catalog(tmp_path)
    atoms = membrane(catalog["dmpc_303k/r1/atoms"].open()).compute()
    beads = membrane(catalog["dmpc_303k/r1/cg"].open()).compute()
    assert 0.62 < atoms.area_per_lipid < 0.645  # archive/README.md: 0.63 nm²
    assert beads.area_per_lipid == atoms.area_per_lipid
    assert atoms.leaflet_lipids.values.tolist() == [32, 32]
    assert 3.3 < atoms.thickness < 3.5  # P–P
    assert abs(beads.thickness - atoms.thickness) < 0.1  # the bead is at the centre of the whole phosphate
    assert np.isnan(atoms.area_per_lipid_error)  # 1.7 ns are a few correlation times


@pytest.mark.skipif("CGSTORE_ARCHIVE" not in os.environ, reason="needs files that are not part of cgstore")
def test_area_per_lipid_of_dppc_is_the_published_series(tmp_path):
    """ingest/README.md says how to get md.tpr and short.xtc; apl.json lies in Simulations.2/aa0 of the same wheel."""
    archive = Path(os.environ["CGSTORE_ARCHIVE"])
    published = np.array(json.loads((archive / "dppc_323k/apl.json").read_text()))  # ps, Å²
    cgstore.ingest(ROOT / "ingest/recipes/dppc_323k.toml", archive=archive, store=tmp_path)
    found = area_per_lipid(cgstore.open_catalog(tmp_path)["dppc_323k/r1/atoms"].open()).compute()
    np.testing.assert_array_equal(found.time, published[:, 0])
    np.testing.assert_allclose(100 * found.area_per_lipid_series, published[:, 1], rtol=0, atol=5.1e-5)
