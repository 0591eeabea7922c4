"""Trajectories of mdtraj made from datasets, against those that it reads itself."""

import warnings
from pathlib import Path

import mdtraj
import numpy as np
import pytest
import xarray as xr

import cgstore
from cgstore.errors import InputError
from cgstore.neighbours.mdtraj import to_mdtraj
from cgstore.writers import export

ROOT = Path(__file__).parents[2]


def test_a_trajectory_is_as_mdtraj_reads_it(store: Path, tmp_path: Path) -> None:
    ds = cgstore.open_catalog(store)["dmpc_303k/r1/atoms"].open().isel(frame=slice(10, 100, 30))
    ours = to_mdtraj(ds)
    export(ds.isel(frame=slice(0, 1)), tmp_path / "a.gro")
    topology = mdtraj.load(str(tmp_path / "a.gro")).topology
    theirs = mdtraj.load(str(ROOT / "archive/dmpc_303k/traj.xtc"), top=topology)[10:100:30]
    assert ours.xyz.tobytes() == theirs.xyz.tobytes()
    assert ours.time.tolist() == theirs.time.tolist()
    np.testing.assert_allclose(ours.unitcell_lengths, theirs.unitcell_lengths, rtol=1e-7)
    np.testing.assert_allclose(ours.unitcell_angles, theirs.unitcell_angles)
    assert [str(atom) for atom in ours.topology.atoms] == [str(atom) for atom in topology.atoms]
    assert ours.topology.n_chains == 64 + 1907
    symbols = {atom.name: atom.element.symbol for atom in ours.topology.atoms}
    assert {symbols[name] for name in ("N", "P", "C13", "H13A", "O")} == {"N", "P", "C", "H", "O"}
    bonds = {(one.index, other.index) for one, other in ours.topology.bonds}
    assert bonds == set(map(tuple, ds["bond"].values.tolist()))


def test_beads_are_virtual_and_can_be_computed_with(store: Path, tmp_path: Path) -> None:
    ds = cgstore.open_catalog(store)["dmpc_303k/r1/cg"].open().isel(frame=slice(0, 100, 25))
    trajectory = to_mdtraj(ds)
    assert {atom.element for atom in trajectory.topology.atoms} == {mdtraj.element.virtual}
    pairs = trajectory.topology.select_pairs("name NC3", "name PO4")
    r, g = mdtraj.compute_rdf(trajectory, pairs, r_range=(0, 1.5), bin_width=0.02)
    assert 0.3 < r[g.argmax()] < 0.6
    bond = np.array(ds["bond"].values[:50])
    lengths = mdtraj.compute_distances(trajectory, bond)
    ends = ds["position"].values[:, bond]
    np.testing.assert_allclose(lengths, np.linalg.norm(ends[:, :, 0] - ends[:, :, 1], axis=-1), atol=1e-5)
    for name in ("a.gro", "a.pdb", "a.xtc"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trajectory.save(str(tmp_path / name))


def test_interrupted_molecules_keep_the_order_of_particles() -> None:
    random = np.random.default_rng(1)
    ds = xr.Dataset(
        {"position": (("frame", "particle", "xyz"), random.normal(size=(2, 6, 3)).astype("f4"))},
        {"molecule": ("particle", [0, 1, 0, 1, 2, 2]), "name": ("particle", list("abcdef"))},
    )
    trajectory = to_mdtraj(ds)
    assert [atom.name for atom in trajectory.topology.atoms] == list("abcdef")
    assert [atom.index for atom in trajectory.topology.atoms] == list(range(6))
    assert (trajectory.xyz == ds["position"].values).all()
    assert trajectory.unitcell_vectors is None
    assert trajectory.time.tolist() == [0, 1]


def test_tilted_boxes_are_kept_and_turned_ones_refused() -> None:
    box = np.tile(np.array([[3.0, 0, 0], [0.7, 2.9, 0], [-0.4, 0.9, 3.3]], "f4"), (2, 1, 1))
    ds = xr.Dataset({"position": (("frame", "particle", "xyz"), np.ones((2, 6, 3), "f4"))})
    tilted = ds.assign(box=(("frame", "box_vector", "xyz"), box))
    np.testing.assert_allclose(to_mdtraj(tilted).unitcell_vectors, box, atol=1e-6)
    with pytest.raises(InputError, match="in mdtraj: only boxes with a along x"):
        to_mdtraj(ds.assign(box=(("frame", "box_vector", "xyz"), box[:, [1, 2, 0]])))
