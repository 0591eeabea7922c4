"""Amber NetCDF against mdtraj, MDAnalysis and SciPy, and against bytes that lie."""

import pickle
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import MDAnalysis
import mdtraj
import numpy as np
import pytest
from MDAnalysis.lib.mdamath import triclinic_vectors
from scipy.io import netcdf_file

from cgstore.errors import InputError
from cgstore.readers.amber import AMBER
from cgstore.readers.netcdf import open_netcdf
from cgstore.readers.netcdf_header import read_header

FRAMES, PARTICLES = 6, 7
OCTAHEDRON = [40.0, 40.0, 40.0, 109.4712190, 109.4712190, 109.4712190]
RANDOM = np.random.default_rng(1)
ARRAYS = {name: RANDOM.normal(scale=20, size=(FRAMES, PARTICLES, 3)).astype(np.float32) for name in ("x", "v", "f")}


def by_scipy(
    path: Path,
    *,
    version: int = 2,
    unlimited: bool = True,
    velocity: dict[str, Any] | None = None,
    units: dict[str, str] | None = None,
    cell: Sequence[float] = OCTAHEDRON,
    spare: bool = False,
) -> Path:
    """Write a trajectory by the Amber conventions, in Å, Å/ps and kcal/mol/Å unless said otherwise."""
    with netcdf_file(path, "w", version=version) as file:
        file.Conventions = "AMBER"
        file.createDimension("frame", None if unlimited else FRAMES)
        file.createDimension("atom", PARTICLES)
        file.createDimension("spatial", 3)
        variables = {
            "time": ("f4", ("frame",), np.arange(FRAMES) * 2.5, "picosecond"),
            "coordinates": ("f4", ("frame", "atom", "spatial"), ARRAYS["x"], "angstrom"),
            "cell_lengths": ("f8", ("frame", "spatial"), np.tile(cell[:3], (FRAMES, 1)), "angstrom"),
            "cell_angles": ("f8", ("frame", "spatial"), np.tile(cell[3:], (FRAMES, 1)), "degree"),
            "velocities": ("f4", ("frame", "atom", "spatial"), ARRAYS["v"], "angstrom/picosecond"),
            "forces": ("f8", ("frame", "atom", "spatial"), ARRAYS["f"], "kilocalorie/mole/angstrom"),
        }
        if spare:  # a variable of two bytes, which is padded
            variables = {"replica": ("i2", ("frame",), np.arange(FRAMES), "one"), **variables}
        for name, (kind, dims, values, unit) in variables.items():
            variable = file.createVariable(name, kind, dims)
            variable[:] = values
            variable.units = (units or {}).get(name, unit)
            for key, value in (velocity or {}).items() if name == "velocities" else ():
                setattr(variable, key, value)
    return path


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("unlimited", [True, False])
@pytest.mark.parametrize("spare", [True, False])
def test_positions_velocities_and_forces_have_our_units(
    tmp_path: Path, version: int, unlimited: bool, spare: bool
) -> None:
    path = by_scipy(tmp_path / "a.nc", version=version, unlimited=unlimited, spare=spare)
    reader = open_netcdf(path)
    assert (reader.particles, reader.flaw) == (PARTICLES, "")
    assert reader.time.tolist() == [2.5 * k for k in range(FRAMES)]
    chosen = np.array([4, 0, 1, 2])
    frames = reader.read(chosen)
    np.testing.assert_allclose(frames.position, ARRAYS["x"][chosen] / 10, rtol=2e-7)
    np.testing.assert_allclose(frames.velocity, ARRAYS["v"][chosen] / 10, rtol=2e-7)
    np.testing.assert_allclose(frames.force, ARRAYS["f"][chosen] * 41.84, rtol=2e-7)


def test_velocities_in_the_time_unit_of_amber_are_scaled(tmp_path: Path) -> None:
    path = by_scipy(tmp_path / "a.nc", velocity={"scale_factor": 20.455})
    velocity = open_netcdf(path).read(np.arange(FRAMES)).velocity
    np.testing.assert_allclose(velocity, ARRAYS["v"] * 2.0455, rtol=2e-7)
    # In the unit of Amber m v² is in kcal/mol, in ours in kJ/mol.
    assert np.sum(velocity**2) / np.sum(ARRAYS["v"] ** 2) == pytest.approx(4.184, rel=1e-4)


def test_stated_units_are_converted_and_unknown_ones_refused(tmp_path: Path) -> None:
    path = by_scipy(tmp_path / "a.nc", units={"coordinates": "nanometer", "time": "femtosecond"})
    reader = open_netcdf(path)
    assert (reader.read(np.arange(2)).position == ARRAYS["x"][:2]).all()
    np.testing.assert_allclose(reader.time, np.arange(FRAMES) * 2.5e-3)
    with pytest.raises(InputError, match=r'a\.nc: forces: the unit "stone" is not known'):
        open_netcdf(by_scipy(path, units={"forces": "stone"}))


def test_a_truncated_octahedron_has_the_vectors_of_mdanalysis(tmp_path: Path) -> None:
    box = open_netcdf(by_scipy(tmp_path / "a.nc")).read(np.arange(1)).box
    assert box is not None
    np.testing.assert_allclose(box[0], triclinic_vectors(OCTAHEDRON) / 10, atol=2e-6)
    volume = np.linalg.det(box[0].astype(float))
    assert volume == pytest.approx(4.0**3 * 16 / (12 * np.sqrt(3)), rel=1e-5)


def test_files_of_mdtraj_have_the_numbers_of_mdtraj(tmp_path: Path) -> None:
    topology = mdtraj.Topology()
    chain = topology.add_chain()
    for _ in range(PARTICLES):
        topology.add_atom("C", mdtraj.element.carbon, topology.add_residue("MOL", chain))
    lengths, angles = np.tile(np.float32([3.0, 3.2, 3.5]), (FRAMES, 1)), np.tile([90.0, 80.0, 110.0], (FRAMES, 1))
    theirs = mdtraj.Trajectory(ARRAYS["x"], topology, np.arange(FRAMES) * 2.5, lengths, angles)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs.save(str(tmp_path / "a.nc"))
        theirs = mdtraj.load(str(tmp_path / "a.nc"), top=topology)
    frames = open_netcdf(tmp_path / "a.nc").read(np.arange(FRAMES))
    np.testing.assert_allclose(frames.position, theirs.xyz, rtol=2e-7)
    np.testing.assert_allclose(frames.box, theirs.unitcell_vectors, atol=2e-6)
    assert frames.time.tolist() == theirs.time.tolist()
    assert (frames.velocity, frames.force) == (None, None)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_files_of_mdanalysis_keep_velocities_and_forces(tmp_path: Path) -> None:
    system = MDAnalysis.Universe.empty(PARTICLES, trajectory=True, velocities=True, forces=True)
    writer = {"velocities": True, "forces": True, "scale_factor": 20.455}
    with MDAnalysis.coordinates.TRJ.NCDFWriter(str(tmp_path / "a.nc"), PARTICLES, **writer) as file:
        for k in range(FRAMES):
            system.dimensions = [30, 40, 50, 80, 90, 100]
            system.trajectory.ts.time = 2.0 * k
            system.atoms.positions, system.atoms.velocities = ARRAYS["x"][k], ARRAYS["v"][k]
            system.atoms.forces = ARRAYS["f"][k]
            file.write(system)
    frames = open_netcdf(tmp_path / "a.nc").read(np.arange(FRAMES))
    np.testing.assert_allclose(frames.position, ARRAYS["x"] / 10, rtol=3e-7)
    np.testing.assert_allclose(frames.velocity, ARRAYS["v"] / 10, rtol=3e-7)
    # MDAnalysis counts forces in kJ/mol/Å.
    np.testing.assert_allclose(frames.force, ARRAYS["f"] * 10, rtol=4e-7)
    assert frames.box is not None
    np.testing.assert_allclose(frames.box[0], triclinic_vectors([30, 40, 50, 80, 90, 100]) / 10, atol=2e-6)


def test_a_restart_is_one_frame(tmp_path: Path) -> None:
    with netcdf_file(tmp_path / "a.nc", "w") as file:
        file.createDimension("atom", PARTICLES)
        file.createDimension("spatial", 3)
        file.createVariable("coordinates", "f8", ("atom", "spatial"))[:] = ARRAYS["x"][0]
        file.createVariable("cell_lengths", "f8", ("spatial",))[:] = [30, 40, 50]
        file.createVariable("time", "f8", ())[...] = 12.5
    reader = open_netcdf(tmp_path / "a.nc")
    frames = reader.read(np.arange(1))
    assert reader.time.tolist() == [12.5]
    np.testing.assert_allclose(frames.position[0], ARRAYS["x"][0] / 10, rtol=2e-7)
    assert frames.box is not None
    np.testing.assert_allclose(frames.box[0], np.diag([3.0, 4.0, 5.0]), rtol=1e-6)


def test_what_was_never_written_is_not_finite(tmp_path: Path) -> None:
    path = by_scipy(tmp_path / "a.nc")
    raw = bytearray(path.read_bytes())
    header = read_header(path)
    place = header.variables["coordinates"].begin + 2 * header.record_size
    raw[place : place + 12 * PARTICLES] = np.full(3 * PARTICLES, 9.96921e36, ">f4").tobytes()
    path.write_bytes(raw)
    position = open_netcdf(path).read(np.arange(FRAMES)).position
    assert np.isfinite(position).all(axis=(1, 2)).tolist() == [k != 2 for k in range(FRAMES)]


def test_a_file_cut_anywhere_has_the_frames_before_the_cut(tmp_path: Path) -> None:
    path = by_scipy(tmp_path / "a.nc", spare=True)
    raw, header = path.read_bytes(), read_header(path)
    ends = header.record_begin + header.record_size * np.arange(1, FRAMES + 1)
    assert ends[-1] == len(raw)
    for cut in [*range(0, len(raw), 11), *ends, *(ends - 1)]:
        path.write_bytes(raw[:cut])
        whole = int((ends <= cut).sum())
        if not whole:
            with pytest.raises(InputError):
                open_netcdf(path)
            continue
        reader = open_netcdf(path)
        assert (len(reader.time), reader.flaw != "") == (whole, cut != len(raw))
        np.testing.assert_allclose(reader.read(np.arange(whole)).position, ARRAYS["x"][:whole] / 10, rtol=2e-7)


def test_a_count_of_records_that_is_too_small_or_absent(tmp_path: Path) -> None:
    path = by_scipy(tmp_path / "a.nc")
    raw = bytearray(path.read_bytes())
    raw[4:8] = np.array([FRAMES - 2], ">i4").tobytes()
    path.write_bytes(raw)
    reader = open_netcdf(path)
    assert len(reader.time) == FRAMES - 2
    assert f"after the {FRAMES - 2} frames that its header counts" in reader.flaw
    raw[4:8] = b"\xff" * 4  # as of a stream that was not finished
    path.write_bytes(raw)
    assert (len(open_netcdf(path).time), open_netcdf(path).flaw) == (FRAMES, "")
    path.write_bytes(raw[:-5])
    assert (len(open_netcdf(path).time), open_netcdf(path).flaw[:26]) == (FRAMES - 1, "the file ends in the middl")


def test_damaged_files_give_an_error_or_frames(tmp_path: Path) -> None:
    path = by_scipy(tmp_path / "a.nc", spare=True)
    raw = path.read_bytes()
    random = np.random.default_rng(4)
    begin = read_header(path).record_begin
    refused = 0
    for _ in range(1200):
        damaged = bytearray(raw)
        for _ in range(random.integers(1, 4)):
            damaged[random.integers(begin if random.random() < 0.7 else len(raw))] = random.integers(256)
        path.write_bytes(damaged[: len(raw) if random.random() < 0.7 else random.integers(1, len(raw))])
        try:
            reader = open_netcdf(path)
            assert len(reader.time) * 12 * reader.particles <= len(raw)
            assert reader.read(np.arange(len(reader.time))).position.shape[1:] == (reader.particles, 3)
        except InputError:
            refused += 1
    assert refused > 100


def test_other_netcdf_files_are_refused_with_a_reason(tmp_path: Path) -> None:
    with netcdf_file(tmp_path / "a.nc", "w") as file:
        file.createDimension("time", 3)
        file.createVariable("temperature", "f4", ("time",))[:] = 1.0
    with pytest.raises(InputError, match="no variable `coordinates`"):
        open_netcdf(tmp_path / "a.nc")
    (tmp_path / "a.nc").write_bytes(b"CDF\x03" + bytes(100))
    with pytest.raises(InputError, match="does not begin with CDF"):
        open_netcdf(tmp_path / "a.nc")


def test_a_reader_is_pickled_and_used_by_threads(tmp_path: Path) -> None:
    reader = pickle.loads(pickle.dumps(open_netcdf(by_scipy(tmp_path / "a.nc"))))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda k: reader.read(np.array([k % FRAMES])).position[0], range(60)))
    for k, position in enumerate(found):
        np.testing.assert_allclose(position, ARRAYS["x"][k % FRAMES] / 10, rtol=2e-7)


def test_every_variable_of_the_conventions_has_a_unit_that_is_known() -> None:
    from cgstore.readers.amber import factor

    expected = {
        "coordinates": 0.1,
        "velocities": 0.1,
        "forces": 41.84,
        "cell_lengths": 0.1,
        "cell_angles": 1,
        "time": 1,
    }
    assert {name: factor(quantity, {}, name) for name, quantity in AMBER.items()} == expected
