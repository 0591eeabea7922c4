"""The frames of a run as the files of many programs, and their way into a store."""

import contextlib
import shutil
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gsd.hoomd
import h5py
import MDAnalysis
import numpy as np
import pytest
import xarray as xr
from MDAnalysis.coordinates.memory import MemoryReader
from MDAnalysis.lib.formats.libmdaxdr import TRRFile
from MDAnalysis.lib.mdamath import triclinic_box
from mdtraj.formats import DCDTrajectoryFile, XTCTrajectoryFile

import cgstore
from cgstore.frames import Frames

ROOT = Path(__file__).parents[2]
FEMTO, KCAL = 1000.0, 4.184
RECIPE = """[system]
name = "made"
kind = "liquid"
[[run]]
name = "r1"
topology = "{topology}"
trajectory = {trajectory}
{run}
{masses}
[mapping]
{mapping}
[store]
precision = "{precision}"
"""


@contextlib.contextmanager
def silent() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture(scope="session")
def ingest() -> Callable[..., tuple[Any, xr.Dataset, xr.Dataset]]:
    """Give a function that ingests files of an archive, and returns the summary, the atoms and the beads."""

    def run_it(
        archive: Path,
        *names: str,
        topology: Path,
        mapping: str = 'CH4 = "molecule"',
        run: str = "",
        masses: str = "",
        precision: str = "lossless",
        store: str = "store",
    ) -> tuple[Any, xr.Dataset, xr.Dataset]:
        if topology.parent != archive:
            shutil.copy(topology, archive)
        (archive / "recipes").mkdir(exist_ok=True)
        shutil.copytree(ROOT / "ingest/mappings", archive / "mappings", dirs_exist_ok=True)
        trajectory = "[" + ", ".join(f'"{name}"' for name in names) + "]"
        known = {"trajectory": trajectory, "run": run, "masses": masses, "mapping": mapping, "precision": precision}
        recipe = archive / "recipes/made.toml"
        recipe.write_text(RECIPE.format(topology=topology.name, **known))
        (summary,) = cgstore.ingest(recipe, archive=archive, store=archive / store)
        assert cgstore.verify(archive / store, deep=True) == []
        catalog = cgstore.open_catalog(archive / store)
        return summary, catalog["made/r1/atoms"].open(), catalog["made/r1/cg"].open()

    return run_it


# ---- the programs that write them ----


def universe(frames: Frames) -> MDAnalysis.Universe:
    """Return the frames as MDAnalysis has them: Å, Å/ps, kJ/mol/Å."""
    u = MDAnalysis.Universe.empty(frames.position.shape[1], trajectory=True)
    cells = None if frames.box is None else np.array([triclinic_box(*cell) for cell in frames.box * 10])
    more = {"dimensions": cells} if cells is not None else {}
    if frames.velocity is not None and frames.force is not None:
        more |= {"velocities": frames.velocity * 10, "forces": frames.force / 10}
    u.load_new(frames.position * 10, format=MemoryReader, order="fac", dt=float(np.diff(frames.time)[0]), **more)
    u.trajectory.ts.time = frames.time[0]
    return u


def by_mdanalysis(path: Path, frames: Frames, **options: Any) -> None:
    with silent():
        u = universe(frames)
        with MDAnalysis.Writer(str(path), len(u.atoms), **options) as writer:
            for k, step in enumerate(u.trajectory):
                step.time, step.data["step"] = frames.time[k], frames.step[k]
                writer.write(u.atoms)


def cells_of(frames: Frames) -> tuple[Any, Any]:
    """Return lengths (Å) and angles (degrees)."""
    if frames.box is None:
        return None, None
    return np.split(np.array([triclinic_box(*cell) for cell in frames.box * 10]), 2, axis=1)


def xtc(path: Path, frames: Frames) -> None:
    with XTCTrajectoryFile(str(path), "w") as file:
        file.write(frames.position, frames.time.astype("f4"), frames.step.astype("i4"), frames.box)


def trr(path: Path, frames: Frames) -> None:
    with TRRFile(str(path), "w") as file:
        for k in range(len(frames)):
            row = {name: None if a is None else a[k] for name, a in frames.arrays().items()}
            box = np.zeros((3, 3), "f4") if row["box"] is None else row["box"]
            more = box, int(row["step"]), float(row["time"]), 0.0, frames.position.shape[1]
            file.write(row["position"], row["velocity"], row["force"], *more)


def dcd(path: Path, frames: Frames) -> None:
    with DCDTrajectoryFile(str(path), "w") as file:
        file.write(frames.position * 10, *cells_of(frames))


def netcdf(path: Path, frames: Frames) -> None:
    by_mdanalysis(path, frames, velocities=frames.velocity is not None, forces=frames.force is not None)


def h5md(path: Path, frames: Frames) -> None:
    units = {"length": "Angstrom", "velocity": "Angstrom/ps", "force": "kJ/(mol*Angstrom)", "time": "ps"}
    units = {f"{name}unit": unit for name, unit in units.items()}
    by_mdanalysis(path, frames, velocities=True, forces=True, **units)


def lammps(path: Path, frames: Frames) -> None:
    """Write what `dump custom` with `dump_modify sort no time yes` does (units real); no package writes velocities."""
    order = np.random.default_rng(2).permutation(frames.position.shape[1])
    scale = {"position": ("x y z", 10.0), "velocity": ("vx vy vz", 0.01), "force": ("fx fy fz", 0.1 / KCAL)}
    kept = [(values, *scale[name]) for name, values in frames.arrays().items() if name in scale and values is not None]
    with path.open("w") as file:
        for k in range(len(frames)):
            file.write(f"ITEM: TIMESTEP\n{frames.step[k]}\nITEM: TIME\n{frames.time[k] * FEMTO}\n")
            box = lammps_box(None if frames.box is None else frames.box[k])
            file.write(f"ITEM: NUMBER OF ATOMS\n{len(order)}\n{box}")
            file.write(f"ITEM: ATOMS id type {' '.join(names for _, names, _ in kept)}\n")
            rows = np.hstack([values[k] * np.float64(factor) for values, _, factor in kept])
            file.writelines(f"{n + 1} 1 {' '.join(f'{x:.9g}' for x in rows[n])}\n" for n in order)


def lammps_box(cell: np.ndarray | None) -> str:
    if cell is None:
        return "ITEM: BOX BOUNDS ff ff ff\n0 30\n0 30\n0 30\n"
    (lx, _, _), (xy, ly, _), (xz, yz, lz) = cell.astype(np.float64) * 10
    x = [min(0, xy, xz, xy + xz), lx + max(0, xy, xz, xy + xz)]
    y = [min(0, yz), ly + max(0, yz)]
    return f"ITEM: BOX BOUNDS xy xz yz pp pp pp\n{x[0]} {x[1]} {xy}\n{y[0]} {y[1]} {xz}\n0 {lz} {yz}\n"


def hoomd(path: Path, frames: Frames) -> None:
    """Write positions and box as they are: where HOOMD puts the origin of its box makes no difference to a reader."""
    with gsd.hoomd.open(str(path), "w") as file:
        for k in range(len(frames)):
            (lx, _, _), (xy, ly, _), (xz, yz, lz) = frames.box[k]
            frame = gsd.hoomd.Frame()
            frame.configuration.step = int(frames.step[k])
            frame.configuration.box = [lx, ly, lz, xy / ly, xz / lz, yz / lz]
            frame.particles.N = frames.position.shape[1]
            frame.particles.position = frames.position[k]
            frame.particles.velocity = None if frames.velocity is None else frames.velocity[k]
            file.append(frame)


def hdf5(path: Path, frames: Frames) -> None:
    """Write what mdtraj writes, which needs PyTables for it."""
    lengths, angles = cells_of(frames)
    tables = {"coordinates": (frames.position, "nanometers"), "time": (frames.time.astype("f4"), "picoseconds")}
    if lengths is not None:
        tables |= {"cell_lengths": (lengths.astype("f4") / 10, "nanometers"), "cell_angles": (angles, "degrees")}
    if frames.velocity is not None:
        tables["velocities"] = (frames.velocity, "nanometers/picosecond")
    with h5py.File(path, "w") as file:
        file.attrs["conventions"], file.attrs["conventionVersion"] = "Pande", "1.1"
        for name, (values, unit) in tables.items():
            file.create_dataset(name, data=values).attrs["units"] = unit


def joined(path: Path, frames: Frames) -> None:
    """Join files of single frames, each with its box, as GROMACS writes them; MDAnalysis writes no times."""
    with silent():
        u, one = universe(frames), path.with_name(f"one{path.suffix}")
        with path.open("wb") as file:
            for _ in u.trajectory:
                u.atoms.write(str(one))
                file.write(one.read_bytes())


@dataclass(frozen=True)
class Format:
    """Who writes it, what it keeps beside positions, and how far positions and boxes are from the source, in nm."""

    write: Callable[[Path, Frames], None]
    keeps: str  # of time, step, velocity, force
    position: float
    box: float
    loose: float = 2e-7  # relative, of velocities and forces


FORMATS = {
    "xtc": Format(xtc, "time step", 0, 0),
    "trr": Format(trr, "time step velocity force", 0, 0, loose=0),
    "dcd": Format(dcd, "", 3e-7, 1e-6),  # float32 in Å, which the next ones are too
    "nc": Format(netcdf, "time velocity force", 3e-7, 1e-6),
    "h5md": Format(h5md, "time step velocity force", 3e-7, 1e-6),
    "h5": Format(hdf5, "time velocity", 0, 1e-6),
    "gsd": Format(hoomd, "step velocity", 0, 3e-7),
    "lammpstrj": Format(lammps, "time step velocity force", 3e-7, 1e-6),
    "gro": Format(joined, "velocity", 3e-7, 5.1e-6, loose=2e-4),  # three digits, as the source; velocities four
    "pdb": Format(joined, "", 3e-7, 4e-4),  # 0.001 Å; angles have two digits
    "xyz": Format(by_mdanalysis, "", 5.1e-7, 0),
}  # fmt: skip


@pytest.fixture(scope="session")
def formats() -> dict[str, Format]:
    """Give the formats by suffix."""
    return FORMATS
