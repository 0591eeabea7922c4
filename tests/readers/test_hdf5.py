"""H5MD, MDTraj's HDF5 and NetCDF-4 against h5py, MDAnalysis and mdtraj; and files that lie, lead elsewhere or crash."""

import contextlib
import importlib.util
import os
import pickle
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import MDAnalysis
import mdtraj
import numpy as np
import pytest
from MDAnalysis.lib.mdamath import triclinic_vectors

from cgstore.errors import InputError, MissingExtra
from cgstore.readers import hdf5_arrays, hdf5_inventory
from cgstore.readers.hdf5 import open_hdf5
from cgstore.readers.netcdf import open_netcdf

h5py = pytest.importorskip("h5py")

FRAMES, PARTICLES = 8, 25
RANDOM = np.random.default_rng(1)
X, V, F = (RANDOM.normal(size=(FRAMES, PARTICLES, 3)).astype(np.float32) for _ in range(3))
BOX = np.array([[3.0, 0, 0], [0.7, 2.9, 0], [-0.4, 0.9, 3.3]])
ALL = np.arange(FRAMES)
FULL = ("position", "velocity", "force")


def h5md(
    path: Path,
    *,
    group: str = "trajectory",
    units: dict[str, str] | None = None,
    velocity_every: int = 1,
    edges: np.ndarray | None = None,
    fixed_edges: np.ndarray | None = None,
    boundary: str = "periodic",
    counted: bool = True,
    also: Callable[[Any], None] = lambda group: None,
    libver: str = "earliest",
    **options: Any,
) -> Path:
    """Write an H5MD file; positions and so on are X, V and F in the units given."""
    units = {"position": "nm", "velocity": "nm ps-1", "force": "kJ mol-1 nm-1", "time": "ps"} | (units or {})
    with h5py.File(path, "w", libver=libver) as file:
        file.create_group("h5md").attrs["version"] = [1, 1]
        particles = file.create_group(f"particles/{group}")

        def element(name: str, values: np.ndarray, every: int = 1, unit: str = "") -> None:
            place = particles.create_group(name)
            place.create_dataset("value", data=values[::every], **(options if name in FULL else {}))
            if unit:
                place["value"].attrs["unit"] = unit
            if counted:
                place["step"], place["time"] = ALL[::every] * 50, ALL[::every] * 0.5
            else:
                place["step"], place["time"] = 50 * every, 0.5 * every
            place["time"].attrs["unit"] = units["time"]

        element("position", X, unit=units["position"])
        element("velocity", V, velocity_every, unit=units["velocity"])
        element("force", F, unit=units["force"])
        box = particles.create_group("box")
        box.attrs["dimension"], box.attrs["boundary"] = 3, [boundary] * 3
        if fixed_edges is not None:
            box["edges"] = fixed_edges
        elif boundary == "periodic":
            element("box/edges", np.tile(BOX, (FRAMES, 1, 1)) if edges is None else edges)
        also(particles)
    return path


CHUNKS = {
    "contiguous": {},
    "frames": {"chunks": (1, PARTICLES, 3)},
    "pieces": {"chunks": (3, 7, 2)},
    "gzip": {"chunks": (3, 25, 3), "compression": "gzip"},
    "shuffled": {"chunks": (2, 11, 3), "compression": "gzip", "shuffle": True, "fletcher32": True},
    "summed": {"chunks": (5, 9, 1), "fletcher32": True},
}


@pytest.mark.parametrize("kind", CHUNKS)
@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_numbers_are_those_written_by_h5py(tmp_path: Path, kind: str, libver: str) -> None:
    options = CHUNKS[kind]
    edges = np.tile(BOX, (FRAMES, 1, 1))
    path = h5md(tmp_path / "a.h5md", libver=libver, fixed_edges=edges[0], **options)
    reader = open_hdf5(path)
    assert (reader.particles, reader.flaw, len(reader.time)) == (PARTICLES, "", FRAMES)
    chosen = np.array([5, 0, 1, 7, 2])
    frames = reader.read(chosen)
    assert (frames.position == X[chosen]).all()
    assert (frames.velocity == V[chosen]).all()
    assert (frames.force == F[chosen]).all()
    assert frames.step.tolist() == (chosen * 50).tolist()
    assert frames.time.tolist() == (chosen * 0.5).tolist()
    np.testing.assert_allclose(frames.box, edges[chosen], rtol=1e-6)


def test_units_are_converted(tmp_path: Path) -> None:
    units = {"position": "Angstrom", "velocity": "Angstrom fs-1", "force": "kcal mol-1 Angstrom-1", "time": "fs"}
    reader = open_hdf5(h5md(tmp_path / "a.h5md", units=units, edges=np.tile([3.0, 4.0, 5.0], (FRAMES, 1))))
    frames = reader.read(ALL)
    np.testing.assert_allclose(frames.position, X / 10, rtol=1e-6)
    np.testing.assert_allclose(frames.velocity, V * 100, rtol=1e-6)
    np.testing.assert_allclose(frames.force, F * 41.84, rtol=1e-6)
    np.testing.assert_allclose(frames.time, ALL * 5e-4)
    assert frames.box is not None
    assert (frames.box[3] == np.diag([3.0, 4.0, 5.0])).all()
    with pytest.raises(InputError, match='position/value: the unit "ell" is not known'):
        open_hdf5(h5md(tmp_path / "a.h5md", units={"position": "ell"}))
    with pytest.raises(InputError, match='velocity/value: the unit "nm" is not one of velocity'):
        open_hdf5(h5md(tmp_path / "a.h5md", units={"velocity": "nm"}))


def test_steps_may_be_one_increment_and_velocities_rarer(tmp_path: Path) -> None:
    reader = open_hdf5(h5md(tmp_path / "a.h5md", counted=False, velocity_every=2, boundary="none"))
    frames = reader.read(ALL)
    assert frames.step.tolist() == (ALL * 50).tolist()
    assert frames.time.tolist() == (ALL * 0.5).tolist()
    assert (frames.velocity, frames.box) == (None, None)
    assert (frames.force == F).all()


def test_boxes_that_are_not_those_of_the_frames_are_refused(tmp_path: Path) -> None:
    def fewer(group: Any) -> None:
        del group["box/edges"]
        group["box/edges/value"], group["box/edges/step"] = np.tile(BOX, (3, 1, 1)), [0, 50, 100]

    with pytest.raises(InputError, match=f"3 boxes, which are not those of its {FRAMES} frames"):
        open_hdf5(h5md(tmp_path / "a.h5md", also=fewer))


def test_particles_are_put_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    number = np.stack([random.permutation(PARTICLES) for _ in ALL])

    def shuffled(group: Any) -> None:
        group["id/value"], group["id/step"] = number, ALL * 50
        for name, values in (("position", X), ("force", F)):
            group[f"{name}/value"][...] = np.stack([x[order] for x, order in zip(values, number, strict=True)])

    path = h5md(tmp_path / "a.h5md", also=shuffled)
    frames = open_hdf5(path).read(ALL[2:])
    assert (frames.position == X[2:]).all()
    assert (frames.force == F[2:]).all()
    with h5py.File(path, "r+") as file:
        file["particles/trajectory/id/value"][5, 3] = 99
    with pytest.raises(InputError, match="frame 5 has other particles"):
        open_hdf5(path).read(ALL)


def test_the_group_of_particles_is_chosen(tmp_path: Path) -> None:
    def another(name: str, particles: int) -> Callable[[Any], None]:
        def add(group: Any) -> None:
            group.parent[f"{name}/position/value"] = np.zeros((FRAMES, particles, 3), np.float32)

        return add

    assert open_hdf5(h5md(tmp_path / "a.h5md", group="all", also=another("few", 3))).particles == PARTICLES
    assert open_hdf5(h5md(tmp_path / "a.h5md", also=another("many", 30))).particles == PARTICLES
    with pytest.raises(InputError, match="particles/a and particles/b have equally many particles"):
        open_hdf5(h5md(tmp_path / "a.h5md", group="a", also=another("b", PARTICLES)))


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("compression", [None, "gzip"])
def test_files_of_mdanalysis_have_the_numbers_of_mdanalysis(tmp_path: Path, compression: str | None) -> None:
    path = tmp_path / "a.h5md"
    system = MDAnalysis.Universe.empty(PARTICLES, trajectory=True, velocities=True, forces=True)
    units = {
        "lengthunit": "Angstrom",
        "timeunit": "ps",
        "velocityunit": "Angstrom/ps",
        "forceunit": "kJ/(mol*Angstrom)",
    }
    options: dict[str, Any] = {"compression": compression, "creator": "me", "n_frames": FRAMES, **units}
    with MDAnalysis.Writer(str(path), PARTICLES, **options) as file:
        for k in ALL:
            system.dimensions = [30, 40, 50, 80, 90, 100]
            system.trajectory.ts.time, system.trajectory.ts.data["step"] = 2.0 * k, 10 * k
            system.atoms.positions, system.atoms.velocities, system.atoms.forces = 10 * X[k], 10 * V[k], F[k] / 10
            file.write(system)
        file.h5md_file.close()  # MDAnalysis forgets to
    reader = open_hdf5(path)
    frames = reader.read(ALL)
    system.load_new(str(path))
    for k, theirs in enumerate(system.trajectory):
        np.testing.assert_allclose(frames.position[k], theirs.positions / 10, rtol=3e-7)
        assert frames.velocity is not None
        np.testing.assert_allclose(frames.velocity[k], theirs.velocities / 10, rtol=3e-7)
        assert frames.force is not None
        np.testing.assert_allclose(frames.force[k], theirs.forces * 10, rtol=3e-7)
        assert frames.box is not None
        np.testing.assert_allclose(frames.box[k], triclinic_vectors(theirs.dimensions) / 10, atol=2e-6)
        assert frames.time[k] == theirs.time
    assert frames.step.tolist() == (10 * ALL).tolist()


def mdtraj_like(path: Path) -> Path:
    """Write the arrays of an MDTraj HDF5 file, as PyTables does."""
    with h5py.File(path, "w") as file:
        file.attrs["conventions"], file.attrs["program"] = "Pande", "MDTraj"
        packed = {"compression": "gzip", "shuffle": True, "maxshape": (None, PARTICLES, 3)}
        file.create_dataset("coordinates", data=X, **packed).attrs["units"] = np.bytes_("nanometers")
        file.create_dataset("velocities", data=V, **packed)
        file.create_dataset("time", data=np.float32(ALL * 2.5)).attrs["units"] = np.bytes_("picoseconds")
        file["cell_lengths"] = np.tile(np.float32([3.0, 3.2, 3.5]), (FRAMES, 1))
        file["cell_angles"] = np.tile(np.float32([90.0, 80.0, 110.0]), (FRAMES, 1))
        file["topology"] = np.array([b"{}"])
    return path


def test_hdf5_of_mdtraj_is_read_without_pytables(tmp_path: Path) -> None:
    frames = open_hdf5(mdtraj_like(tmp_path / "a.h5")).read(ALL)
    assert (frames.position == X).all()
    assert (frames.velocity == V).all()
    assert frames.time.tolist() == (ALL * 2.5).tolist()
    expected = triclinic_vectors([3.0, 3.2, 3.5, 90.0, 80.0, 110.0])
    np.testing.assert_allclose(frames.box, np.tile(expected, (FRAMES, 1, 1)), atol=1e-6)


@pytest.mark.skipif(importlib.util.find_spec("tables") is None, reason="mdtraj writes HDF5 with PyTables")
def test_files_of_mdtraj_have_the_numbers_of_mdtraj(tmp_path: Path) -> None:
    topology = mdtraj.Topology()
    chain = topology.add_chain()
    for _ in range(PARTICLES):
        topology.add_atom("C", mdtraj.element.carbon, topology.add_residue("MOL", chain))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mdtraj.Trajectory(X, topology, ALL * 2.5).save(str(tmp_path / "a.h5"))
    frames = open_hdf5(tmp_path / "a.h5").read(ALL)
    assert (frames.position == X).all()
    assert frames.box is None


def test_netcdf_4_is_read_by_the_conventions_of_amber(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.nc", "w") as file:
        file.attrs["Conventions"] = "AMBER"
        file.create_dataset("coordinates", data=X, chunks=(1, PARTICLES, 3))
        file["velocities"] = V
        file["velocities"].attrs["scale_factor"] = np.array([20.455])
        file["time"] = ALL * 1.5
    frames = open_netcdf(tmp_path / "a.nc").read(ALL)
    np.testing.assert_allclose(frames.position, X / 10, rtol=1e-6)
    np.testing.assert_allclose(frames.velocity, V * 2.0455, rtol=1e-6)
    assert frames.time.tolist() == (ALL * 1.5).tolist()


def test_nothing_outside_of_the_file_is_read(tmp_path: Path) -> None:
    other = h5md(tmp_path / "other.h5md")
    value = "particles/trajectory/position/value"

    def refused(change: Callable[[Any], None]) -> str:
        path = h5md(tmp_path / "a.h5md")
        with h5py.File(path, "r+") as file:
            change(file)
        with pytest.raises(InputError, match=r"only what is in the file itself is read|no group of") as caught:
            open_hdf5(path)
        return str(caught.value)

    def external(file: Any) -> None:
        del file[value]
        file[value] = h5py.ExternalLink(str(other), value)

    def whole(file: Any) -> None:
        del file["particles/trajectory"]
        file["particles/trajectory"] = h5py.ExternalLink("other.h5md", "particles/trajectory")

    def by_way_of_soft(file: Any) -> None:
        file["out"] = h5py.ExternalLink("other.h5md", "/")
        del file[value]
        file[value] = h5py.SoftLink(f"/out/{value}")

    def virtual(file: Any) -> None:
        del file[value]
        layout = h5py.VirtualLayout(X.shape, X.dtype)
        layout[...] = h5py.VirtualSource(str(other), value, X.shape)
        file.create_virtual_dataset(value, layout)

    def stored_elsewhere(file: Any) -> None:
        (tmp_path / "raw").write_bytes(X.tobytes())
        del file[value]
        file.create_dataset(value, X.shape, X.dtype, external=[(str(tmp_path / "raw"), 0, X.nbytes)])

    def turning(file: Any) -> None:
        del file[value]
        file[value] = h5py.SoftLink(f"/{value}")

    for change in (external, whole, by_way_of_soft, virtual, stored_elsewhere):
        assert "other" in refused(change)
    assert "leads to itself" in refused(turning)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in the file system")
def test_the_file_behind_a_link_is_not_even_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5_arrays, "_SECONDS", 20)
    os.mkfifo(tmp_path / "pipe")  # to open it would wait forever

    def add(group: Any) -> None:
        group["charge"] = h5py.ExternalLink(str(tmp_path / "pipe"), "x")
        group["mass"] = h5py.SoftLink("/particles/trajectory/charge/value")

    assert len(open_hdf5(h5md(tmp_path / "a.h5md", also=add)).time) == FRAMES


def test_a_soft_link_inside_of_the_file_is_followed(tmp_path: Path) -> None:
    def add(group: Any) -> None:
        del group["velocity/step"]
        group["velocity/step"] = h5py.SoftLink("../position/step")
        del group["force/step"]
        group["force/step"] = h5py.SoftLink("/particles/trajectory/position/step")

    with pytest.raises(InputError, match=r"`particles/trajectory/velocity/step` is a link to \.\./position/step"):
        open_hdf5(h5md(tmp_path / "a.h5md", also=add))  # HDF5 knows no ..

    def absolute(group: Any) -> None:
        add(group)
        del group["velocity/step"]
        group["velocity/step"] = group["position/step"]

    assert (open_hdf5(h5md(tmp_path / "a.h5md", also=absolute)).read(ALL).force == F).all()


def test_filters_that_are_not_known_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="packed with the filter lzf, which is not known; repack"):
        open_hdf5(h5md(tmp_path / "a.h5md", compression="lzf"))


def test_frames_that_were_never_written_are_a_flaw(tmp_path: Path) -> None:
    def claim(group: Any) -> None:
        del group["position/value"]
        value = group.create_dataset("position/value", (10**12, PARTICLES, 3), "f4", chunks=(2, PARTICLES, 3))
        value[:5] = X[:5]

    reader = open_hdf5(h5md(tmp_path / "a.h5md", also=claim))
    assert len(reader.time) == 6  # the last chunk has a frame of zeros, as far as HDF5 knows
    assert "frame 6 (of 1000000000000) was never written" in reader.flaw
    assert (reader.read(ALL[:5]).position == X[:5]).all()


def test_fewer_velocities_than_their_steps_say_are_a_flaw(tmp_path: Path) -> None:
    def shorten(group: Any) -> None:
        del group["velocity/value"]
        group["velocity/value"] = V[:5]

    reader = open_hdf5(h5md(tmp_path / "a.h5md", also=shorten))
    assert (len(reader.time), reader.flaw[:40]) == (5, "`particles/trajectory/velocity/value` of")
    assert (reader.read(ALL[:5]).velocity == V[:5]).all()


def test_huge_claims_take_no_memory(tmp_path: Path) -> None:
    def claim(group: Any) -> None:
        for name in ("position", "velocity", "force"):
            del group[f"{name}/value"]
            group.create_dataset(f"{name}/value", (10**15, PARTICLES, 3), "f4", chunks=(1, PARTICLES, 3))
            del group[f"{name}/step"]
            group[f"{name}/step"] = 10

    with pytest.raises(InputError, match="it has no frames"):
        open_hdf5(h5md(tmp_path / "a.h5md", also=claim))


@pytest.mark.parametrize("kind", ["gzip", "shuffled", "summed"])
def test_a_damaged_chunk_is_found(tmp_path: Path, kind: str) -> None:
    path = h5md(tmp_path / "a.h5md", **CHUNKS[kind])
    reader = open_hdf5(path)
    array = reader.elements["position"].array
    raw = path.read_bytes()
    random = np.random.default_rng(4)
    unnoticed = 0
    for k in range(len(array.size)):
        damaged = bytearray(raw)
        damaged[int(array.offset[k]) + int(random.integers(array.size[k]))] ^= 1 << int(random.integers(8))
        path.write_bytes(damaged)
        # Deflate has bits that mean nothing.
        with contextlib.suppress(InputError):
            assert (reader.read(ALL).position == X).all(), "a changed number passed a checksum"
            unnoticed += 1
    assert unnoticed <= (1 if kind == "gzip" else 0)


@pytest.mark.parametrize("cut", [1, 0.5, -1])
def test_a_file_that_was_cut_off_is_an_input_error(tmp_path: Path, cut: float) -> None:
    raw = h5md(tmp_path / "a.h5md").read_bytes()
    (tmp_path / "a.h5md").write_bytes(raw[: int(cut * len(raw)) if 0 < cut < 1 else int(cut)])
    with pytest.raises(InputError, match=r"a\.h5md: not an HDF5 file, or one that is cut off or damaged"):
        open_hdf5(tmp_path / "a.h5md")


def test_a_file_that_shrinks_is_an_input_error(tmp_path: Path) -> None:
    path = h5md(tmp_path / "a.h5md", chunks=(1, PARTICLES, 3))
    reader = open_hdf5(path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match="became shorter"):
        reader.read(ALL)


@pytest.mark.parametrize("seed", range(6))
def test_damaged_files_give_an_error_or_frames(tmp_path: Path, seed: int) -> None:
    raw = bytearray(h5md(tmp_path / "a.h5md", libver=("earliest", "latest")[seed % 2], **CHUNKS["gzip"]).read_bytes())
    random = np.random.default_rng(seed)
    for _ in range(3):
        raw[random.integers(len(raw) // 4)] = random.integers(256)
    (tmp_path / "b.h5md").write_bytes(raw)
    with contextlib.suppress(InputError):
        reader = open_hdf5(tmp_path / "b.h5md")
        assert reader.read(np.arange(len(reader.time))).position.shape[1:] == (reader.particles, 3)


def test_libhdf5_may_crash_or_never_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = h5md(tmp_path / "a.h5md")
    program = tmp_path / "program.py"
    monkeypatch.setattr(hdf5_inventory, "__file__", str(program))
    monkeypatch.setattr(hdf5_arrays, "_SECONDS", 1)
    program.write_text("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    with pytest.raises(InputError, match=r"a\.h5md: .*libhdf5 failed on it"):
        open_hdf5(path)
    program.write_text("while True: pass")
    with pytest.raises(InputError, match="libhdf5 did not come to an end"):
        open_hdf5(path)
    program.write_text("import json; print(json.dumps({'missing': 'h5py'}))")
    with pytest.raises(MissingExtra, match="needs h5py, which is not installed"):
        open_hdf5(path)


def test_h5py_is_not_loaded_into_the_process_that_reads(tmp_path: Path) -> None:
    import subprocess

    path = h5md(tmp_path / "a.h5md", **CHUNKS["gzip"])
    code = (
        "import sys, numpy, pathlib; from cgstore.readers.hdf5 import open_hdf5\n"
        f"open_hdf5(pathlib.Path({str(path)!r})).read(numpy.arange(3)); assert 'h5py' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_reader_is_pickled_and_used_by_threads(tmp_path: Path) -> None:
    reader = pickle.loads(pickle.dumps(open_hdf5(h5md(tmp_path / "a.h5md", **CHUNKS["shuffled"]))))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda k: reader.read(np.array([k % FRAMES])).position[0], range(60)))
    assert all((position == X[k % FRAMES]).all() for k, position in enumerate(found))


def test_other_hdf5_files_are_refused_with_a_reason(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["weights"] = np.zeros(5)
    with pytest.raises(InputError, match="neither H5MD"):
        open_hdf5(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["coordinates"] = np.zeros((4, 5, 2))
    with pytest.raises(InputError, match=r"`coordinates` has the shape \(4, 5, 2\)"):
        open_hdf5(tmp_path / "a.h5")
