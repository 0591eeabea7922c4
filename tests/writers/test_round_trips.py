"""What independent programs read from exported files, and what our own readers do."""

import contextlib
import shutil
import subprocess
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import MDAnalysis
import mdtraj
import numpy as np
import pytest
import xarray as xr

from cgstore.readers.dcd import open_dcd
from cgstore.readers.parts import open_run
from cgstore.readers.topologies import read_topology
from cgstore.writers import export

Read = dict[str, Any]
KCAL = 4.184


@contextlib.contextmanager
def silent() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def by_mdtraj(path: Path, ds: xr.Dataset) -> Read:
    with silent():
        topology = mdtraj.load(str(topology_file(path, ds))).topology
        more = {} if path.suffix in (".gro", ".pdb") else {"top": topology}
        found = mdtraj.load(str(path), **more)
    boxes = None if found.unitcell_vectors is None else found.unitcell_vectors
    timed = path.suffix in (".xtc", ".trr", ".gro")
    return {"position": found.xyz, "box": boxes, "time": found.time if timed else None}


def by_mdanalysis(path: Path, ds: xr.Dataset) -> Read:
    form = {".lammpstrj": "LAMMPSDUMP"}.get(path.suffix)
    with silent():
        universe = MDAnalysis.Universe(str(topology_file(path, ds)), str(path), format=form)
        rows = [frame_of(step) for step in universe.trajectory]
    result = {name: np.array([row[name] for row in rows]) if rows[0][name] is not None else None for name in rows[0]}
    if path.suffix in (".pdb", ".lammpstrj"):
        result["time"] = None
    if path.suffix == ".lammpstrj" and result["velocity"] is not None:  # it takes the numbers as they are
        result["velocity"] = result["velocity"] * 1000.0
        result["force"] = result["force"] * KCAL
    return result


def frame_of(step: Any) -> Read:
    box = None if step.dimensions is None else MDAnalysis.lib.mdamath.triclinic_vectors(step.dimensions) / 10
    return {
        "position": step.positions / 10,
        "box": None if box is None or not box.any() else box,
        "time": step.time,
        "velocity": step.velocities / 10 if step.has_velocities else None,
        "force": step.forces * 10 if step.has_forces else None,
    }


def by_us(path: Path, ds: xr.Dataset) -> Read:
    if path.suffix == ".h5md":
        reader = pytest.importorskip("cgstore.readers.hdf5").open_hdf5(path)
        return reader.read(np.arange(len(reader.time))).arrays()
    interval = 2.5 if path.suffix in (".lammpstrj", ".dcd") else None
    run = open_run(path.parent, trajectory=[path.name], particles=ds.sizes["particle"], interval=interval)
    frames = run.read(0, len(run)).arrays()
    return {**frames, "time": None if interval else frames["time"]}


def topology_file(path: Path, ds: xr.Dataset) -> Path:
    if path.suffix in (".gro", ".pdb"):
        return path
    place = path.parent / "first" / "topology.gro"
    if not place.exists():
        export(ds.isel(frame=[0]), place)
    return place


# Largest errors of positions, boxes, velocities and forces in nm, nm, nm/ps and kJ/mol/nm; None: not in the format.
FORMATS: dict[str, tuple[float, float, float | None, float | None]] = {
    "xtc": (0, 0, None, None),
    "trr": (0, 0, 0, 0),
    "dcd": (1e-6, 1e-6, None, None),
    "h5md": (0, 0, 0, 0),
    "gro": (5e-7, 1e-5, 5.1e-5, None),
    "pdb": (5e-7, 5e-4, None, None),  # angles have two decimals
    "lammpstrj": (5e-7, 1e-6, 1e-5, 1e-4),
}
PROGRAMS: dict[str, Callable[[Path, xr.Dataset], Read]] = {
    "mdtraj": by_mdtraj,
    "MDAnalysis": by_mdanalysis,
    "cgstore": by_us,
}
CASES = [
    (suffix, program)
    for suffix in FORMATS
    for program in PROGRAMS
    if (suffix, program) not in (("h5md", "mdtraj"), ("gro", "MDAnalysis"))  # the latter reads one frame
]


@pytest.mark.parametrize("box", ["right", "tilted", "none"])
@pytest.mark.parametrize(("suffix", "program"), CASES)
def test_programs_read_what_was_exported(
    tmp_path: Path, make: Callable[..., xr.Dataset], suffix: str, program: str, box: str
) -> None:
    ds = make(box)
    path = tmp_path / f"a.{suffix}"
    export(ds, path)
    found = PROGRAMS[program](path, ds)
    # Programs that compute in float64 or in Å leave one or two digits of float32.
    slack = 1e-6 if program != "cgstore" else 0.0 if suffix in ("xtc", "trr", "h5md") else 1e-7
    for name, error in zip(("position", "box", "velocity", "force"), FORMATS[suffix], strict=True):
        got = found.get(name)
        if name not in ds or error is None:
            if not (suffix == "lammpstrj" and name == "box" and program != "cgstore"):  # it always has one
                assert got is None, name
        elif got is not None or program != "mdtraj":
            if suffix == "pdb" and name == "box" and program == "mdtraj":
                got = got[:1]  # it keeps one box
                assert np.abs(got - ds[name].values).max(axis=(1, 2)).min() <= error
                continue
            large = np.abs(ds[name].values).max()
            assert np.shape(got) == ds[name].shape, name
            assert np.abs(got - ds[name].values).max() <= max(error, slack * large), name
    if found["time"] is not None:
        np.testing.assert_allclose(found["time"], ds["time"], rtol=1e-6)


@pytest.mark.parametrize("suffix", ["xtc", "trr", "h5md"])
@pytest.mark.parametrize("box", ["right", "tilted", "none"])
def test_binary_files_give_back_every_bit(
    tmp_path: Path, make: Callable[..., xr.Dataset], suffix: str, box: str
) -> None:
    ds = make(box)
    path = tmp_path / f"a.{suffix}"
    export(ds, path)
    found = by_us(path, ds)
    for name in ("position", "box"):
        assert (found[name] is None) == (name not in ds)
        if name in ds:
            assert found[name].tobytes() == ds[name].values.tobytes()
    assert found["time"].tolist() == ds["time"].values.tolist()
    assert found["step"].tolist() == ds["step"].values.tolist()


@pytest.mark.parametrize("particles", [1, 2, 9, 10, 11])
def test_small_systems_are_packed_or_not_as_xtc_demands(
    tmp_path: Path, make: Callable[..., xr.Dataset], particles: int
) -> None:
    ds = make(particles=particles)
    export(ds, tmp_path / "a.xtc")
    with mdtraj.formats.XTCTrajectoryFile(str(tmp_path / "a.xtc")) as file:
        assert file.read()[0].tobytes() == ds["position"].values.tobytes()


@pytest.mark.parametrize("precision", [0.01, 0.0001])
def test_an_xtc_file_has_the_grid_of_the_dataset(
    tmp_path: Path, make: Callable[..., xr.Dataset], precision: float
) -> None:
    ds = make().assign_attrs(precision=precision)
    grid = np.rint(ds["position"].values.astype(np.float64) / precision * 0.999)
    ds["position"] = (ds["position"].dims, grid.astype(np.float32) * np.float32(precision))
    export(ds, tmp_path / "a.xtc")
    assert (by_us(tmp_path / "a.xtc", ds)["position"] == ds["position"].values).all()


@pytest.mark.parametrize(
    ("time", "step"),
    [
        ([0.0, 2.0, 4.0], [0, 1000, 2000]),
        ([10.0, 12.0, 14.0], [5000, 6000, 7000]),
        ([10.0, 12.0, 14.0], [0, 0, 0]),
        ([10.0, 12.0, 14.0], [3, 4, 5]),
        ([7.0], [70]),
    ],
)
def test_times_of_a_dcd_file_are_those_of_the_dataset(
    tmp_path: Path, make: Callable[..., xr.Dataset], time: list[float], step: list[int]
) -> None:
    ds = make(frames=len(time)).assign_coords(time=("frame", time), step=("frame", step))
    assert not [note for note in export(ds, tmp_path / "a.dcd").notes if "interval" in note]
    if len(time) > 1:
        np.testing.assert_allclose(by_mdanalysis(tmp_path / "a.dcd", ds)["time"], time, rtol=1e-6)
    assert len(open_dcd(tmp_path / "a.dcd").time) == len(time)


def test_names_residues_and_bonds_are_in_the_formats_that_hold_them(
    tmp_path: Path, make: Callable[..., xr.Dataset]
) -> None:
    ds = make()
    for suffix in ("gro", "pdb"):
        export(ds, tmp_path / f"a.{suffix}")
        with silent():
            universe = MDAnalysis.Universe(str(tmp_path / f"a.{suffix}"))
            topology = mdtraj.load(str(tmp_path / f"a.{suffix}")).topology
        assert universe.atoms.names.tolist() == [str(name).replace(" ", "_") for name in ds["name"].values]
        assert [atom.name for atom in topology.atoms] == universe.atoms.names.tolist()
        assert universe.atoms.resids.tolist() == ds["residue_id"].values.tolist()
        assert set(universe.atoms.resnames) == {"LIP"}
    assert sorted(map(tuple, universe.bonds.indices.tolist())) == sorted(map(tuple, ds["bond"].values.tolist()))


def test_a_file_of_h5md_holds_the_whole_dataset(tmp_path: Path, make: Callable[..., xr.Dataset]) -> None:
    import h5py

    ds = make("tilted").assign(weight=("frame", np.linspace(0.5, 1.5, 7)))
    assert export(ds, tmp_path / "a.h5md").notes == ()
    with h5py.File(tmp_path / "a.h5md") as file:
        group = file["particles/trajectory"]
        kinds = {number: name for name, number in h5py.check_enum_dtype(group["species"].dtype).items()}
        assert [kinds[number] for number in group["species"][:]] == ds["type"].values.tolist()
        for name in ("mass", "charge", "residue_id", "molecule"):
            assert group[name][:].tolist() == ds[name].values.tolist()
        for name in ("name", "residue", "molecule_kind"):
            assert group[name].asstr()[:].tolist() == ds[name].values.tolist()
        assert file["connectivity/bonds"][:].tolist() == ds["bond"].values.tolist()
        assert file[file["connectivity/bonds"].attrs["particles_group"]] == group
        assert file["observables/weight/value"][:].tolist() == ds["weight"].values.tolist()
        units = {name: group[name]["value"].attrs["unit"] for name in ("position", "velocity", "force")}
        assert units == {"position": "nm", "velocity": "nm ps-1", "force": "kJ mol-1 nm-1"}
        assert group["box"].attrs["dimension"] == 3
        assert set(group["box"].attrs["boundary"]) == {"periodic"}
        assert group["box/edges/value"].shape == (7, 3, 3)
        for name in ("position", "velocity", "box/edges"):
            assert group[name]["time"][:].tolist() == ds["time"].values.tolist()
            assert group[name]["step"][:].tolist() == ds["step"].values.tolist()


@pytest.mark.parametrize("box", ["tilted", "none"])
def test_a_file_of_h5md_is_a_topology_too(tmp_path: Path, make: Callable[..., xr.Dataset], box: str) -> None:
    ds = make(box)
    export(ds, tmp_path / "a.h5md")
    found = read_topology(tmp_path / "a.h5md")
    for name in ("name", "residue", "residue_id", "molecule", "mass", "charge", "bond"):
        assert getattr(found, name).tolist() == ds[name].values.tolist()


SCRIPT = """units real
atom_style full
region made {shape} 0 1 0 1 0 1 {tilt}
create_box 4 made
read_dump a.lammpstrj 2000 x y z vx vy vz q box yes add yes format native
mass * 1
run 0
print "found $(count(all)) $(lx) $(ly) $(lz) $(x[3]) $(vy[3]) $(q[3])"
"""


@pytest.mark.skipif(shutil.which("lmp") is None, reason="needs LAMMPS")
@pytest.mark.parametrize("box", ["right", "tilted"])
def test_lammps_reads_its_dump(tmp_path: Path, make: Callable[..., xr.Dataset], box: str) -> None:
    ds = make(box)
    export(ds, tmp_path / "a.lammpstrj")
    shape, tilt = ("block", "") if box == "right" else ("prism", "0.1 0 0")
    (tmp_path / "in.lmp").write_text(SCRIPT.format(shape=shape, tilt=tilt))
    words = ["lmp", "-in", "in.lmp", "-log", "none"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("found")]
    edges = np.diagonal(ds["box"].values[2]) * 10
    position = ds["position"].values[2, 2] * 10
    inside = np.linalg.solve(ds["box"].values[2].T * 10.0, position)
    wrapped = (inside - np.floor(inside)) @ ds["box"].values[2] * 10
    expected = [32, *edges, wrapped[0], ds["velocity"].values[2, 2, 1] / 100, ds["charge"].values[2]]
    np.testing.assert_allclose(np.array(line.split()[1:], float), expected, rtol=1e-5)
