"""GRO, XYZ and PDB of many frames: what other programs wrote is read as they read it, and damage is told."""

import pickle
import tracemalloc
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import MDAnalysis
import mdtraj
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cgstore.errors import InputError
from cgstore.frames import Frames
from cgstore.readers import text_lines
from cgstore.readers.lammps import open_lammps
from cgstore.readers.text import TextReader
from cgstore.readers.text_gro import open_gro
from cgstore.readers.text_pdb import open_pdb
from cgstore.readers.text_xyz import open_xyz

FRAMES, PARTICLES = 5, 6
OPENERS: dict[str, Callable[[Path], TextReader]] = {
    ".gro": open_gro,
    ".xyz": open_xyz,
    ".pdb": open_pdb,
    ".lammpstrj": open_lammps,
}


def trajectory(frames: int = FRAMES, particles: int = PARTICLES) -> mdtraj.Trajectory:
    topology = mdtraj.Topology()
    chain = topology.add_chain()
    for _ in range(particles):
        topology.add_atom("C", mdtraj.element.carbon, topology.add_residue("MOL", chain))
    position = np.random.default_rng(1).uniform(-0.5, 3, (frames, particles, 3)).astype(np.float32)
    lengths = np.tile(np.float32([3.0, 3.2, 3.5]), (frames, 1)) + np.arange(frames, dtype=np.float32)[:, None] / 100
    angles = np.tile(np.float32([90.0, 80.0, 110.0]), (frames, 1))
    return mdtraj.Trajectory(position, topology, np.arange(frames) * 2.5, lengths, angles)


def saved(path: Path, **sizes: int) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trajectory(**sizes).save(str(path))
    return path


def opened(path: Path) -> TextReader:
    return OPENERS[path.suffix](path)


def everything(reader: TextReader) -> Frames:
    return reader.read(np.arange(len(reader.time)))


def is_beginning(part: Frames, whole: Frames) -> bool:
    pairs = zip(part.arrays().values(), whole[: len(part)].arrays().values(), strict=True)
    return all(a is b is None or (a is not None and b is not None and (a == b).all()) for a, b in pairs)


@pytest.mark.parametrize(
    ("suffix", "tolerance", "has_time", "box_frames"),
    [
        (".gro", 5e-4, True, FRAMES),
        (".pdb", 6e-5, False, 1),
        (".lammpstrj", 6e-5, False, FRAMES),
        (".xyz", 6e-5, False, 0),
    ],
)
def test_files_of_mdtraj_are_read_in_our_units(
    tmp_path: Path, suffix: str, tolerance: float, has_time: bool, box_frames: int
) -> None:
    reader, theirs = opened(saved(tmp_path / f"a{suffix}")), trajectory()
    assert (reader.particles, len(reader.time), reader.flaw) == (PARTICLES, FRAMES, "")
    assert reader.time.tolist() == [2.5 * k if has_time else 0.0 for k in range(FRAMES)]
    chosen = np.array([3, 4, 0, 2])
    frames = reader.read(chosen)
    assert frames.position.dtype == np.float32
    expected = theirs.xyz[chosen]
    if suffix == ".lammpstrj":  # mdtraj puts the corner of the box at the lowest coordinates
        expected = expected - expected.min(axis=1, keepdims=True)
    np.testing.assert_allclose(frames.position, expected, atol=tolerance + 3e-7)
    assert (frames.box is not None) == (box_frames > 0)
    if frames.box is not None:
        expected = theirs.unitcell_vectors[chosen if box_frames > 1 else [0, 0, 0, 0]]
        np.testing.assert_allclose(frames.box, expected, atol=1e-4)
    assert frames.step.tolist() == chosen.tolist()


@pytest.mark.parametrize("suffix", [".gro", ".xyz", ".pdb"])
def test_the_readers_of_mdtraj_agree_to_the_bit(tmp_path: Path, suffix: str) -> None:
    path = saved(tmp_path / f"a{suffix}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = mdtraj.load(str(path), **({"top": trajectory().topology} if suffix == ".xyz" else {}))
    np.testing.assert_allclose(everything(opened(path)).position, theirs.xyz, rtol=1.2e-7)


def system(*, velocities: bool = False) -> MDAnalysis.Universe:
    made = MDAnalysis.Universe.empty(
        PARTICLES, 2, atom_resindex=[0, 0, 0, 1, 1, 1], trajectory=True, velocities=velocities
    )
    for name, values in (
        ("names", ["C1", "C2", "O"] * 2),
        ("resnames", ["A", "B"]),
        ("resids", [1, 2]),
        ("elements", ["C", "C", "O"] * 2),
    ):
        made.add_TopologyAttr(name, values)
    return made


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("suffix", [".gro", ".xyz", ".pdb"])
def test_files_of_mdanalysis_are_read_as_it_reads_them(tmp_path: Path, suffix: str) -> None:
    random = np.random.default_rng(2)
    made = system(velocities=True)
    frames = 1 if suffix == ".gro" else 3
    path = str(tmp_path / f"a{suffix}")
    with MDAnalysis.Writer(path, PARTICLES, multiframe=frames > 1) as writer:
        for _ in range(frames):
            made.dimensions = [30, 40, 50, 80, 95, 110]
            made.atoms.positions = random.normal(scale=20, size=(PARTICLES, 3))
            made.atoms.velocities = random.normal(size=(PARTICLES, 3))
            writer.write(made)
    theirs = MDAnalysis.Universe(path)
    ours = everything(opened(Path(path)))
    assert len(ours) == len(theirs.trajectory)
    for frame, step in enumerate(theirs.trajectory):
        np.testing.assert_allclose(ours.position[frame], step.positions / 10, atol=1e-6)
        if suffix != ".xyz":
            assert ours.box is not None
            np.testing.assert_allclose(ours.box[frame], made.trajectory.ts.triclinic_dimensions / 10, atol=1e-3)
        if suffix == ".gro":
            assert ours.velocity is not None
            np.testing.assert_allclose(ours.velocity[frame], step.velocities / 10, atol=1e-6)


def write_gro(path: Path, *, precision: int, frames: int, velocity: bool, box: int, seed: int) -> Frames:
    """Write what GROMACS writes; return what it says."""
    random = np.random.default_rng(seed)
    width = precision + 5
    position = random.uniform(-99, 999, (frames, 4, 3)).round(precision)
    velocities = random.uniform(-9, 9, (frames, 4, 3)).round(precision + 1)
    edges = random.uniform(3, 9, (frames, 9)).round(5)
    with path.open("w") as file:
        for k in range(frames):
            file.write(f"Set=3 of t=abc in water t= {k * 0.5:9.5f} step= {k * 250}\n4\n")
            for i in range(4):
                numbers = "".join(f"{x:{width}.{precision}f}" for x in position[k, i])
                if velocity:
                    numbers += "".join(f"{v:{width}.{precision + 1}f}" for v in velocities[k, i])
                file.write(f"{99999:5d}{'MOL':<5s}{'C1':>5s}{99999:5d}{numbers}\n")
            file.write(" ".join(f"{x:9.5f}" for x in edges[k, :box]) + "\n")
    vectors = np.zeros((frames, 3, 3))
    vectors[:, [0, 1, 2], [0, 1, 2]] = edges[:, :3]
    if box == 9:
        vectors[:, [0, 0, 1, 1, 2, 2], [1, 2, 0, 2, 0, 1]] = edges[:, 3:]
    return Frames(
        position.astype(np.float32),
        np.arange(frames) * 0.5,
        np.arange(frames) * 250,
        vectors.astype(np.float32),
        velocities.astype(np.float32) if velocity else None,
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(
    precision=st.integers(1, 9),
    frames=st.integers(1, 4),
    velocity=st.booleans(),
    box=st.sampled_from([3, 9]),
    seed=st.integers(0, 99),
    end=st.sampled_from([b"\n", b"\r\n"]),
    last=st.booleans(),
    window=st.integers(160, 900),
)
def test_gro_in_any_precision_through_any_window(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    precision: int,
    frames: int,
    velocity: bool,
    box: int,
    seed: int,
    end: bytes,
    last: bool,
    window: int,
) -> None:
    path = tmp_path / "a.gro"
    expected = write_gro(path, precision=precision, frames=frames, velocity=velocity, box=box, seed=seed)
    raw = path.read_bytes().replace(b"\n", end)
    path.write_bytes(raw if last else raw[: -len(end)])
    monkeypatch.setattr(text_lines, "_WINDOW", window)
    if frames == 1 and box == 3 and not last:  # it may have been a box of nine numbers
        with pytest.raises(InputError, match="the file ends in the middle of frame 0"):
            open_gro(path)
        return
    reader = open_gro(path)
    assert reader.flaw == ""
    assert is_beginning(everything(reader), expected)
    assert len(reader.time) == frames


def test_gro_titles_and_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.gro"
    write_gro(path, precision=3, frames=2, velocity=False, box=3, seed=1)
    lines = path.read_text().splitlines()
    path.write_text("\n".join(["", *lines[1:7], "t= 1.5e1", *lines[8:], "", "  ", ""]))
    reader = open_gro(path)
    assert (len(reader.time), reader.flaw) == (2, "")
    assert np.isnan(reader.time[0])
    assert reader.time[1] == 15
    assert reader.step.tolist() == [0, 1]


def test_velocities_are_kept_when_every_frame_has_them(tmp_path: Path) -> None:
    for name, velocity in (("a.gro", True), ("b.gro", False)):
        write_gro(tmp_path / name, precision=3, frames=2, velocity=velocity, box=3, seed=1)
    both = tmp_path / "c.gro"
    both.write_bytes((tmp_path / "a.gro").read_bytes() + (tmp_path / "b.gro").read_bytes())
    assert everything(open_gro(tmp_path / "a.gro")).velocity is not None
    frames = everything(open_gro(both))
    assert frames.velocity is None
    assert (frames.position[:2] == frames.position[2:]).all()


EXTENDED = (
    '2\nLattice="30 0 0 5 40 0 0 0 50" Properties=species:S:1:pos:R:3:charge:R:1:forces:R:3 pbc="T T T"\n'
    "H 1.0 2.0 3.0 0.4 1.0 0.0 0.0\nO 1e1 -2.0 3.5 -0.4 0.0 -2.0 0.5\n"
)


def test_extended_xyz_has_a_box_and_forces(tmp_path: Path) -> None:
    path = tmp_path / "a.xyz"
    path.write_text(EXTENDED)
    frames = everything(open_xyz(path))
    assert frames.position.tolist() == pytest.approx(np.array([[[0.1, 0.2, 0.3], [1.0, -0.2, 0.35]]]))
    np.testing.assert_allclose(frames.box, [[[3, 0, 0], [0.5, 4, 0], [0, 0, 5]]], rtol=1e-6)
    np.testing.assert_allclose(frames.force, np.array([[[1, 0, 0], [0, -2, 0.5]]]) * 964.853, rtol=1e-5)
    path.write_text(EXTENDED.replace("T T T", "F F F"))
    assert everything(open_xyz(path)).box is None
    path.write_text(EXTENDED + EXTENDED.replace("forces:R:3", "momenta:R:3"))
    assert everything(open_xyz(path)).force is None
    for wrong in ("species:S:1:pos:R:2", "species:S:x:pos:R:3", "species:S:1:pos:R:30"):
        path.write_text(EXTENDED.replace("species:S:1:pos:R:3", wrong))
        with pytest.raises(InputError, match=r"a\.xyz: "):
            everything(open_xyz(path))


def test_xyz_of_cp2k_has_times(tmp_path: Path) -> None:
    path = tmp_path / "a.xyz"
    frame = "       1\n i = {:8d}, time = {:12.3f}, E = -17.1\n  H  1.0000000000  2.0000000000  3.0000000000\n"
    path.write_text(frame.format(0, 0) + frame.format(10, 5))
    reader = open_xyz(path)
    assert reader.time.tolist() == [0, 0.005]
    assert reader.step.tolist() == [0, 10]


def atom(number: int, x: float) -> str:
    return f"ATOM  {number % 100000:5d}  C   MOL A   1    {x:8.3f}{1.5:8.3f}{-999.5:8.3f}  1.00  0.00           C\n"


@pytest.mark.parametrize(
    ("content", "times", "edges"),
    [
        (atom(1, 1) + atom(2, 2), [0], None),
        (atom(1, 1) + atom(2, 2) + "END\n" + atom(1, 3) + "TER\n" + atom(2, 4) + "END", [0, 0], None),
        ("MODEL        1\n" + atom(1, 1) + "ANISOU\n" + atom(99999, 2) + "ENDMDL\nEND\n", [0], None),
        ("CRYST1    1.000    1.000    1.000  90.00  90.00  90.00 P 1\n" + atom(1, 1) + atom(2, 2) + "END\n", [0], None),
        (
            "".join(
                f"TITLE     Water t= {5 * k:9.5f} step= {k}\n"
                f"CRYST1{10 + k:9.3f}{20:9.3f}{30:9.3f}  90.00  90.00  90.00 P 1\n"
                f"MODEL     {k}\n{atom(1, k)}{atom(2, k)}TER\nENDMDL\n"
                for k in range(3)
            ),
            [0, 5, 10],
            [1.0, 1.1, 1.2],
        ),
        (
            "CRYST1   10.000   10.000   10.000  90.00  90.00  90.00 P 1\nMODEL 1\n"
            f"{atom(1, 1)}{atom(2, 1)}ENDMDL\nMODEL 2\n{atom(1, 2)}{atom(2, 2)}ENDMDL\nCONECT    1    2\nEND\n",
            [0, 0],
            [1.0, 1.0],
        ),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_pdb_as_many_programs_write_it(
    tmp_path: Path, content: str, times: list[float], edges: list[float] | None, end: str
) -> None:
    path = tmp_path / "a.pdb"
    path.write_bytes(content.replace("\n", end).encode())
    reader = open_pdb(path)
    assert (reader.flaw, reader.particles, reader.time.tolist()) == ("", 2, times)
    frames = everything(reader)
    assert (frames.position[:, :, 2] == np.float32(-99.95)).all()
    assert (None if frames.box is None else frames.box[:, 0, 0].tolist()) == (edges and pytest.approx(edges))


@pytest.mark.parametrize("suffix", OPENERS)
def test_a_file_cut_anywhere_gives_its_complete_frames(tmp_path: Path, suffix: str) -> None:
    path = saved(tmp_path / f"a{suffix}", frames=3, particles=3)
    raw = path.read_bytes()
    whole = everything(opened(path))
    counts = set()
    for length in range(len(raw)):
        path.write_bytes(raw[:length])
        try:
            reader = opened(path)
        except InputError:
            counts.add(0)
            continue
        counts.add(len(reader.time))
        if reader.particles == 3:  # a PDB without MODEL ends anywhere
            assert is_beginning(everything(reader), whole)
    assert counts == {0, 1, 2, 3} if suffix != ".lammpstrj" else {0, 1, 2}


@pytest.mark.parametrize("suffix", OPENERS)
def test_a_cut_file_says_so(tmp_path: Path, suffix: str) -> None:
    path = saved(tmp_path / f"a{suffix}")
    raw = path.read_bytes()
    path.write_bytes(raw[: raw.rindex(b".") - 30])
    reader = opened(path)
    assert len(reader.time) == FRAMES - 1
    assert f"the file ends in the middle of frame {FRAMES - 1}" in reader.flaw


@pytest.mark.parametrize("suffix", OPENERS)
def test_flipped_bytes_give_an_error_or_frames(tmp_path: Path, suffix: str) -> None:
    path = saved(tmp_path / f"a{suffix}")
    raw = path.read_bytes()
    random = np.random.default_rng(3)
    refused = 0
    for _ in range(500):
        damaged = bytearray(raw)
        for place in random.integers(len(raw), size=random.integers(1, 4)):
            damaged[place] = random.choice([random.integers(256), *b"\n -.9eE"])
        path.write_bytes(damaged[: random.integers(1, len(raw) + 1)] if random.random() < 0.3 else damaged)
        try:
            reader = opened(path)
            frames = everything(reader)
            assert frames.position.shape == (len(reader.time), reader.particles, 3)
        except InputError:
            refused += 1
    assert refused > 100


@pytest.mark.parametrize("suffix", OPENERS)
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n\n",
        b"nonsense\n" * 40,
        bytes(range(256)) * 40,
        b"\0" * 10**6,
        b"9" * 3 * 10**6,
        b"title\n999999999999\n",
    ],
)
def test_what_is_no_trajectory_is_an_input_error(tmp_path: Path, suffix: str, content: bytes) -> None:
    (tmp_path / f"a{suffix}").write_bytes(content)
    with pytest.raises(InputError, match=rf"a\{suffix}: not an? "):
        opened(tmp_path / f"a{suffix}")


@pytest.mark.parametrize("suffix", OPENERS)
def test_a_file_that_is_gone_or_a_folder_is_an_input_error(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(InputError, match="No such file"):
        opened(tmp_path / f"a{suffix}")
    (tmp_path / f"b{suffix}").mkdir()
    with pytest.raises(InputError, match="cannot be read"):
        opened(tmp_path / f"b{suffix}")
    path = saved(tmp_path / f"c{suffix}")
    reader = opened(path)
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(InputError, match="became shorter"):
        everything(reader)


def overwrite(path: Path, frame: int, number: bytes) -> None:
    """Put something in the place of a number in the middle of a frame."""
    reader, raw = opened(path), bytearray(path.read_bytes())
    line = raw.index(b"\n", int(reader.offset[frame] + reader.length[frame] // 2))
    point = raw.index(b".", line)
    raw[point - 3 : point + 4] = number
    path.write_bytes(raw)


@pytest.mark.parametrize("suffix", OPENERS)
@pytest.mark.parametrize("wrong", [b"      x", b"       ", b"  1.2.3", b"1,00000"])
def test_a_wrong_number_is_named_with_its_frame_and_line(tmp_path: Path, suffix: str, wrong: bytes) -> None:
    path = saved(tmp_path / f"a{suffix}")
    overwrite(path, 3, wrong)
    damaged = opened(path)
    assert len(damaged.read(np.array([0, 1, 2, 4]))) == 4
    with pytest.raises(InputError, match=r"frame 3 is damaged: expected .* found '.*there are 3 frames before"):
        everything(damaged)


@pytest.mark.parametrize("suffix", OPENERS)
def test_not_a_number_is_read_as_such(tmp_path: Path, suffix: str) -> None:
    path = saved(tmp_path / f"a{suffix}")
    overwrite(path, 3, b"    nan")
    assert np.isnan(everything(opened(path)).position).nonzero()[0].tolist() == [3]


@pytest.mark.parametrize("suffix", OPENERS)
def test_another_number_of_particles_ends_the_frames(tmp_path: Path, suffix: str) -> None:
    path = saved(tmp_path / f"a{suffix}")
    more = saved(tmp_path / f"b{suffix}", particles=4)
    path.write_bytes(path.read_bytes() + more.read_bytes())
    reader = opened(path)
    assert len(reader.time) == FRAMES
    assert "4 particles, the frames before it 6" in reader.flaw


@pytest.mark.parametrize("suffix", OPENERS)
def test_threads_and_other_processes_read_the_same(tmp_path: Path, suffix: str) -> None:
    reader = opened(saved(tmp_path / f"a{suffix}"))
    whole = everything(reader)
    with ThreadPoolExecutor(4) as pool:
        blocks = list(pool.map(lambda k: reader.read(np.array([k % FRAMES])), range(40)))
    assert all((block.position[0] == whole.position[k % FRAMES]).all() for k, block in enumerate(blocks))
    again = pickle.loads(pickle.dumps(reader))
    assert is_beginning(everything(again), whole)
    assert again.flaw == reader.flaw
    assert len(reader.read(np.array([], np.int64))) == 0


@pytest.mark.parametrize("suffix", OPENERS)
def test_memory_is_that_of_the_window_and_the_frames_asked_for(tmp_path: Path, suffix: str) -> None:
    path = saved(tmp_path / f"a{suffix}", frames=2, particles=3000)
    reader = opened(path)
    frame = path.read_bytes()[: int(reader.offset[1] - reader.offset[0])]
    if suffix == ".pdb":
        frame = path.read_bytes()[: int(reader.offset[0] + reader.length[0])] + b"ENDMDL\n"
    with path.open("wb") as file:
        for _ in range(80):
            file.write(frame)
    size = path.stat().st_size
    assert size > 6e6
    tracemalloc.start()
    reader = opened(path)
    _, opening = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    reader.read(np.arange(78, 80))
    _, reading = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(reader.time) == 80
    assert opening < 1.5 * 2**20
    assert reading < 2**20
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
