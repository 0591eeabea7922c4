"""Shipped frames in every trajectory format: positions, boxes, times, motion and beads are those of the XTC file."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from mdtraj.formats import XTCTrajectoryFile

import cgstore
from cgstore.errors import InputError
from cgstore.frames import Frames
from cgstore.readers.topologies import read_topology

ROOT = Path(__file__).parents[2]
METHANE = ROOT / "archive/methane_112k/system.tpr"
SKEWED = np.array([[2.6, 0, 0], [0.7, 2.9, 0], [-0.4, 0.9, 2.5]])
SUFFIXES = ("xtc", "trr", "dcd", "nc", "h5md", "h5", "gsd", "lammpstrj", "gro", "pdb", "xyz")


def methane(box: str, *, frames: int = 4) -> Frames:
    """Return shipped frames in the box they were simulated in, wrapped atom by atom into another one, or in none."""
    with XTCTrajectoryFile(str(ROOT / "archive/methane_112k/traj.xtc")) as file:
        file.seek(200)
        position, time, step, edges = file.read(frames)
    random = np.random.default_rng(1)
    velocity, force = random.normal(0, 0.5, position.shape), random.normal(0, 300, position.shape)
    moving = {"velocity": velocity.astype(np.float32), "force": force.astype(np.float32)}
    source = Frames(position, time.astype(np.float64), step.astype(np.int64), edges, **moving)
    if box == "cubic":
        return source
    whole = offsets(source) + np.repeat(source.position[:, ::5].astype(np.float64), 5, axis=1)
    if box == "none":
        return replace(source, position=on_grid(whole), box=None)
    cells = np.array([SKEWED * (1 + 0.01 * k) for k in range(frames)])
    fractional = whole @ np.linalg.inv(cells)
    wrapped = (fractional - np.floor(fractional)) @ cells
    return replace(source, position=on_grid(wrapped), box=cells.astype(np.float32))


def on_grid(position: np.ndarray) -> np.ndarray:
    return np.rint(position * 1000).astype(np.float32) * np.float32(0.001)


def offsets(frames: Frames) -> np.ndarray:
    """Return the vectors from the first atom of each methane to its five atoms, nearest images, in float64."""
    position = frames.position.astype(np.float64)
    apart = position - np.repeat(position[:, ::5], 5, axis=1)
    if frames.box is None:
        return apart
    cells = frames.box.astype(np.float64)
    return apart - np.rint(apart @ np.linalg.inv(cells)) @ cells


def beads_of(frames: Frames) -> dict[str, np.ndarray]:
    """Return what a bead at the centre of mass of each methane must have."""
    mass = read_topology(METHANE).mass[:5] / read_topology(METHANE).mass[:5].sum()

    def per_molecule(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
        return np.einsum("fmax,a->fmx", values.reshape(len(values), -1, 5, 3).astype(np.float64), weight)

    found = {"position": frames.position[:, ::5] + per_molecule(offsets(frames), mass)}
    if frames.velocity is not None:
        found["velocity"] = per_molecule(frames.velocity, mass)
    if frames.force is not None:
        found["force"] = per_molecule(frames.force, np.ones(5))
    return found


def agrees(found: xr.Dataset, expected: dict[str, Any], format: Any, *, more: float = 0.0) -> None:
    """Compare positions, velocities and forces of a dataset with what they should be."""
    for name in ("position", "velocity", "force"):
        array = expected.get(name)
        if array is None:
            assert name not in found
            continue
        assert found[name].dtype == np.float32
        tolerance = format.position + more
        if name != "position":
            tolerance = (format.loose + (1e-6 if more else 0)) * float(np.abs(array).max())
        assert np.abs(found[name].values - array).max() <= tolerance, name


# A GSD file always has a box, an XYZ file as MDAnalysis writes it never.
CASES = [(suffix, box) for suffix in SUFFIXES for box in ("cubic", "skewed", "none")
         if (suffix != "gsd" or box != "none") and (suffix != "xyz" or box == "none")]  # fmt: skip


@pytest.mark.parametrize(("suffix", "box"), CASES)
def test_each_format_holds_the_run_that_was_written(
    tmp_path: Path, formats: dict[str, Any], ingest: Callable[..., Any], suffix: str, box: str
) -> None:
    format = formats[suffix]
    source = methane(box)
    format.write(tmp_path / f"a.{suffix}", source)
    keeps = format.keeps.split()
    run = "" if "time" in keeps else 'interval = "1 ps"'
    _, atoms, beads = ingest(tmp_path, f"a.{suffix}", topology=METHANE, run=run)
    kept = replace(source, **{name: None for name in ("velocity", "force") if name not in keeps})
    agrees(atoms, kept.arrays(), format)
    agrees(beads, beads_of(kept), format, more=1e-6 + format.box / 2)  # half a box at most, where molecules are broken
    for ds in (atoms, beads):
        assert ds.time.values.tolist() == (source.time if "time" in keeps else np.arange(4.0)).tolist()
        if "step" in keeps:
            assert ds.step.values.tolist() == source.step.tolist()
        assert ("box" in ds) == (box != "none")
        if source.box is not None:
            assert np.abs(ds.box.values - source.box).max() <= format.box
        assert ds.position.attrs["rounding_error"] == 0


def test_on_the_grid_other_formats_have_the_positions_of_the_xtc_file(
    tmp_path: Path, formats: dict[str, Any], ingest: Callable[..., Any]
) -> None:
    source = replace(methane("cubic", frames=2), velocity=None, force=None)
    digests = {}
    for suffix in ("xtc", "trr", "dcd", "h5", "pdb"):
        format, archive = formats[suffix], tmp_path / suffix
        archive.mkdir()
        format.write(archive / f"a.{suffix}", source)
        run = "" if "time" in format.keeps.split() else 'interval = "1 ps"'
        _, atoms, _ = ingest(archive, f"a.{suffix}", topology=METHANE, run=run, precision="0.001 nm")
        assert (atoms.position.values == source.position).all(), suffix
        assert (atoms.position.attrs["rounding_error"] == 0) == (format.position == 0), suffix
        assert atoms.position.attrs["rounding_error"] <= format.position, suffix
        digests[suffix] = atoms.attrs["digest"]
    assert digests["trr"] == digests["xtc"]
    assert digests["pdb"] != digests["xtc"]  # it has other times and boxes


def test_what_was_exported_comes_back_as_the_same_dataset(tmp_path: Path, ingest: Callable[..., Any]) -> None:
    archive = tmp_path / "first"
    archive.mkdir()
    (archive / "a.xtc").write_bytes((ROOT / "archive/methane_112k/traj.xtc").read_bytes())
    _, atoms, _ = ingest(archive, "a.xtc", topology=METHANE, run='stride = 100\ndiscard = "50 ps"')
    for suffix in ("xtc", "trr", "h5md"):
        again = tmp_path / suffix
        again.mkdir()
        cgstore.export(atoms, again / f"a.{suffix}")
        _, found, _ = ingest(again, f"a.{suffix}", topology=METHANE)
        assert found.attrs["digest"] == atoms.attrs["digest"], suffix


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_that_was_cut_off_is_an_error_and_no_store(
    tmp_path: Path, formats: dict[str, Any], ingest: Callable[..., Any], suffix: str
) -> None:
    path = tmp_path / f"a.{suffix}"
    formats[suffix].write(path, methane("none" if suffix == "xyz" else "cubic", frames=3))
    path.write_bytes(path.read_bytes()[:-2500])
    with pytest.raises(InputError, match=rf"a\.{suffix}: .*(frame|truncated|cut off|end of file)"):
        ingest(tmp_path, path.name, topology=METHANE, run='interval = "1 ps"')
    assert not list((tmp_path / "store").rglob("MANIFEST.json"))
