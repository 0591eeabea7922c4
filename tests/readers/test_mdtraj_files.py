"""Formats through mdtraj: units, boxes, times, and errors that name the file."""

import importlib.util
import warnings
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from cgstore.errors import InputError, MissingExtra
from cgstore.readers.mdtraj_files import open_with_mdtraj

FRAMES, PARTICLES = 5, 6


@pytest.fixture
def trajectory() -> mdtraj.Trajectory:
    topology = mdtraj.Topology()
    chain = topology.add_chain()
    for _ in range(PARTICLES):
        topology.add_atom("C", mdtraj.element.carbon, topology.add_residue("MOL", chain))
    position = np.random.default_rng(1).uniform(0, 3, (FRAMES, PARTICLES, 3)).astype(np.float32)
    lengths = np.tile(np.float32([3.0, 3.2, 3.5]), (FRAMES, 1))
    angles = np.tile(np.float32([90.0, 80.0, 110.0]), (FRAMES, 1))
    return mdtraj.Trajectory(position, topology, np.arange(FRAMES) * 2.5, lengths, angles)


def save(trajectory: mdtraj.Trajectory, path: Path) -> Path:
    """Write with mdtraj, which warns that SciPy writes NetCDF slowly."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trajectory.save(str(path))
    return path


@pytest.mark.parametrize(
    ("suffix", "tolerance", "has_time", "has_box"),
    [
        (".nc", 1e-6, True, True),
    ],
)
def test_a_format_is_read_in_our_units(
    tmp_path: Path, trajectory: mdtraj.Trajectory, suffix: str, tolerance: float, has_time: bool, has_box: bool
) -> None:
    reader = open_with_mdtraj(save(trajectory, tmp_path / f"a{suffix}"))
    assert (reader.particles, len(reader.time), reader.flaw) == (PARTICLES, FRAMES, "")
    assert reader.time.tolist() == [2.5 * k if has_time else 0.0 for k in range(FRAMES)]
    chosen = np.array([3, 4, 0, 2])
    frames = reader.read(chosen)
    assert frames.position.dtype == np.float32
    np.testing.assert_allclose(frames.position, trajectory.xyz[chosen], atol=tolerance)
    assert (frames.box is not None) == has_box
    if frames.box is not None:
        np.testing.assert_allclose(frames.box, trajectory.unitcell_vectors[chosen], atol=2e-3)
    assert frames.step.tolist() == chosen.tolist()


@pytest.mark.parametrize("content", [b"", b"nonsense\n" * 40, bytes(range(256)) * 4])
def test_what_is_no_trajectory_is_an_input_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.nc").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.nc: "):
        open_with_mdtraj(tmp_path / "a.nc")


def test_a_truncated_netcdf_is_an_input_error(tmp_path: Path, trajectory: mdtraj.Trajectory) -> None:
    path = save(trajectory, tmp_path / "a.nc")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"a\.nc: mdtraj cannot read it"):
        open_with_mdtraj(path)


@pytest.mark.skipif(importlib.util.find_spec("tables") is not None, reason="PyTables is installed")
def test_hdf5_without_pytables_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.h5").write_bytes(b"x")
    with pytest.raises(MissingExtra, match=r"a\.h5 needs PyTables, which is not installed; pip install tables$"):
        open_with_mdtraj(tmp_path / "a.h5")
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(importlib.util.find_spec("tables") is None, reason="needs PyTables")
def test_hdf5_is_read_in_our_units(tmp_path: Path, trajectory: mdtraj.Trajectory) -> None:
    reader = open_with_mdtraj(save(trajectory, tmp_path / "a.h5"))
    assert reader.time.tolist() == [2.5 * k for k in range(FRAMES)]
    assert (reader.read(np.array([3, 1])).position == trajectory.xyz[[3, 1]]).all()
