"""Universes over a store: the same as MDAnalysis' own over the files that the store was made of."""

import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import MDAnalysis
import numpy as np
import pytest
import xarray as xr
from MDAnalysis.analysis.rms import RMSF
from MDAnalysis.transformations import translate

import cgstore
from cgstore.errors import CgstoreError, InputError, NotFound
from cgstore.neighbours.mdanalysis import StoreReader, to_universe

ROOT = Path(__file__).parents[2]
ARCHIVE = ROOT / "archive/dmpc_303k"


@pytest.fixture
def theirs(tmp_path: Path) -> Any:
    # MDAnalysis writes an index beside the trajectory.
    (tmp_path / "traj.xtc").symlink_to(ARCHIVE / "traj.xtc")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield MDAnalysis.Universe(str(ARCHIVE / "system.tpr"), str(tmp_path / "traj.xtc"))


def test_an_address_opens_as_the_files_do(store: Path, theirs: Any) -> None:
    ours = MDAnalysis.Universe(f"{store}::dmpc_303k/r1/atoms")
    assert (ours.trajectory.n_frames, ours.trajectory.dt) == (theirs.trajectory.n_frames, theirs.trajectory.dt)
    for one, other in zip(ours.trajectory[::23], theirs.trajectory[::23], strict=True):
        assert one.positions.tobytes() == other.positions.tobytes()
        assert one.dimensions.tobytes() == other.dimensions.tobytes()
        assert (one.time, one.frame, one.data["step"]) == (other.time, other.frame, other.data["step"])
    for name in ("names", "resnames", "resids", "moltypes", "molnums"):
        assert (getattr(ours.atoms, name) == getattr(theirs.atoms, name)).all(), name
    for name in ("masses", "charges"):
        np.testing.assert_allclose(getattr(ours.atoms, name), getattr(theirs.atoms, name), rtol=1e-12)
    assert len(ours.residues) == len(theirs.residues)
    for name in ("bonds", "angles"):
        found = {tuple(sorted(term)) for term in getattr(ours, name).indices.tolist()}
        assert found == {tuple(sorted(term)) for term in getattr(theirs, name).indices.tolist()}
    # The masses of hydrogens are repartitioned; the TPR has the elements.
    assert (ours.atoms.elements == [symbol.capitalize() for symbol in theirs.atoms.elements]).all()


def test_a_topology_of_ones_own_goes_with_an_address(store: Path, theirs: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mixed = MDAnalysis.Universe(str(ARCHIVE / "system.tpr"), f"{store}::dmpc_303k/r1/atoms@1")
    assert isinstance(mixed.trajectory, StoreReader)
    group, reference = (universe.select_atoms("resname DMPC and name P") for universe in (mixed, theirs))
    mixed.trajectory[50], theirs.trajectory[50]
    assert len(group)
    assert (group.positions == reference.positions).all()


def test_frames_come_in_any_order_and_block_by_block(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ds = cgstore.open_catalog(store)["dmpc_303k/r1/atoms"].open().chunk(frame=20)
    expected = (ds["position"].values * np.float32(10)).astype(np.float32)
    reader = StoreReader(ds)
    loads = []
    inside = xr.Dataset.compute
    monkeypatch.setattr(xr.Dataset, "compute", lambda self: loads.append(self.sizes["frame"]) or inside(self))
    assert [step.frame for step in reader] == list(range(115))
    assert loads == [20, 20, 20, 20, 15, 20]  # the first was there, and is again after the end
    for frame in (114, 0, 37, -1, 38):
        assert (reader[frame].positions == expected[frame]).all()
    assert [step.frame for step in reader[100:3:-30]] == [100, 70, 40, 10]
    assert [step.frame for step in reader[[5, 99, 5]]] == [5, 99, 5]
    with pytest.raises(IndexError):
        reader[115]
    reader.rewind()
    assert reader.frame == 0
    assert reader.next().frame == 1


def test_a_universe_travels_and_is_copied(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(store.parent)
    universe = MDAnalysis.Universe("store::dmpc_303k/r1/cg")
    universe.trajectory[60]
    sent = pickle.dumps(universe)
    assert len(sent) < 2_000_000
    monkeypatch.chdir(tmp_path)
    for other in (pickle.loads(sent), to_universe(f"{store}::dmpc_303k/r1/cg").copy()):
        other.trajectory[60]
        assert (other.atoms.positions == universe.atoms.positions).all()
        assert other.trajectory[100].time == 1500.0
    assert universe.trajectory.frame == 60


def test_transformations_and_analyses_work(store: Path) -> None:
    universe = to_universe(cgstore.open_catalog(store)["dmpc_303k/r1/cg"])
    plain = [step.positions.copy() for step in universe.trajectory[:40:10]]
    result = RMSF(universe.select_atoms("name PO4")).run(step=10).results.rmsf
    assert result.shape == (64,)
    assert np.isfinite(result).all()
    moved = to_universe(f"{store}::dmpc_303k/r1/cg")
    moved.trajectory.add_transformations(translate([1.0, 2.0, 3.0]))
    for step, before in zip(moved.trajectory[:40:10], plain, strict=True):
        np.testing.assert_allclose(step.positions - before, np.tile([1.0, 2.0, 3.0], (640, 1)), atol=2e-5)


def test_beads_have_what_the_dataset_says(store: Path) -> None:
    ds = cgstore.open_catalog(store)["dmpc_303k/r1/cg"].open()
    universe = to_universe(ds)
    assert universe.atoms.names.tolist() == ds["name"].values.tolist()
    assert universe.atoms.types.tolist() == ds["type"].values.tolist()
    assert universe.atoms.masses.tolist() == ds["mass"].values.tolist()
    assert universe.bonds.indices.tolist() == ds["bond"].values.tolist()
    assert len(universe.dihedrals) == ds.sizes["dihedral"]
    assert len(universe.atoms.fragments) == 64
    assert set(universe.residues.moltypes) == {"DMPC"}
    assert not hasattr(universe.atoms, "elements")


def made(frames: int = 5, **more: Any) -> xr.Dataset:
    random = np.random.default_rng(1)
    shape = (frames, 6, 3)
    names = ("position", "velocity", "force")
    arrays = {name: (("frame", "particle", "xyz"), random.normal(size=shape).astype("f4")) for name in names}
    return xr.Dataset({**arrays, **more}, {"time": ("frame", 3.0 + np.arange(frames))})


def test_units_are_those_of_mdanalysis_or_with_a_word_ours() -> None:
    box = np.tile(np.array([[3.0, 0, 0], [0.7, 2.9, 0], [-0.4, 0.9, 3.3]], "f4"), (5, 1, 1))
    ds = made(box=(("frame", "box_vector", "xyz"), box), weight=("frame", np.linspace(1, 2, 5)))
    step = to_universe(ds).trajectory[2]
    np.testing.assert_allclose(step.positions, ds["position"].values[2] * 10, rtol=1e-6)
    np.testing.assert_allclose(step.velocities, ds["velocity"].values[2] * 10, rtol=1e-6)
    np.testing.assert_allclose(step.forces, ds["force"].values[2] / 10, rtol=1e-6)
    np.testing.assert_allclose(step.triclinic_dimensions, box[2] * 10, atol=2e-5)
    assert (step.time, step.data["weight"]) == (5.0, 1.5)
    plain = StoreReader(ds, convert_units=False)[2]
    assert (plain.positions == ds["position"].values[2]).all()
    assert (plain.forces == ds["force"].values[2]).all()
    np.testing.assert_allclose(plain.dimensions[0], 3.0)


def test_without_a_box_there_are_no_dimensions() -> None:
    universe = to_universe(made())
    assert universe.dimensions is None
    assert [step.time for step in universe.trajectory] == [3.0, 4.0, 5.0, 6.0, 7.0]
    with pytest.raises(InputError, match="found no frames"):
        StoreReader(made().isel(frame=[]))


def test_a_damaged_store_is_no_end_of_the_trajectory(tmp_path: Path, add_dataset: Callable[..., Any]) -> None:
    add_dataset(tmp_path, "a/r1/cg", frames=400, particles=3000)
    universe = MDAnalysis.Universe(f"{tmp_path}::a/r1/cg")
    files = sorted(path for path in (tmp_path / "a/r1/cg/v000001/position").rglob("*") if path.is_file())
    data = max(files, key=lambda path: path.stat().st_size)
    data.chmod(0o644)
    data.write_bytes(data.read_bytes()[:-2000] + bytes(2000))
    with pytest.raises(CgstoreError):
        [step.frame for step in universe.trajectory]


def test_addresses_that_lead_nowhere_say_so(store: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match='did you mean "dmpc_303k/r1/cg"'):
        to_universe(f"{store}::dmpc_303k/r1/gc")
    with pytest.raises(InputError, match="no such store"):
        to_universe(f"{tmp_path}/nothing::dmpc_303k/r1/cg")
    with pytest.raises(InputError, match="expected STORE::NAME"):
        to_universe("traj.xtc")
