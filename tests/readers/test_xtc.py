"""The XTC reader: any frames in any order, nothing written, damage reported."""

import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from cgstore.errors import InputError
from cgstore.readers.xtc import open_xtc

SHIPPED = Path(__file__).parents[2] / "archive"
BOX = np.array([[3.0, 0, 0], [0.7, 2.9, 0], [-0.4, 0.9, 3.3]], np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    position = np.random.default_rng(1).normal(size=(300, 12, 3)).astype(np.float32)
    with mdtraj.formats.XTCTrajectoryFile(str(tmp_path / "a.xtc"), "w") as file:
        step = np.arange(300, dtype=np.int32) * 50
        file.write(position, time=(step * 0.002).astype(np.float32), step=step, box=np.tile(BOX, (300, 1, 1)))
    return tmp_path / "a.xtc"


def test_frames_come_in_the_order_asked_for_with_their_times_steps_and_boxes(path: Path) -> None:
    reader = open_xtc(path)
    with mdtraj.formats.XTCTrajectoryFile(str(path)) as file:
        position, time, step, box = file.read()
    assert reader.particles == 12
    assert reader.flaw == ""
    for chosen in ([5], [299, 0, 7, 8, 9, 9, 8], range(300), range(0, 300, 7), []):
        frames = reader.read(np.array(chosen, np.int64))
        assert frames.position.tobytes() == position[list(chosen)].tobytes()
        assert frames.time.tolist() == time[list(chosen)].astype(np.float64).tolist()
        assert frames.step.tolist() == step[list(chosen)].tolist()
        assert frames.box is not None
        assert frames.box.tobytes() == box[list(chosen)].tobytes()


def test_positions_come_into_memory_that_is_given(path: Path) -> None:
    reader = open_xtc(path)
    memory = np.full((40, 12, 3), np.nan, np.float32)
    for start in (0, 40, 160):
        frames = np.arange(start, start + 40)
        assert reader.read(frames, out=memory).position is memory
        assert (memory == reader.read(frames).position).all()
    for wrong in (memory[:39], memory.astype(np.float64), np.asfortranarray(memory), memory[:, :, ::-1]):
        with pytest.raises(InputError, match=r"out: found .* expected \(40, 12, 3\) float32"):
            reader.read(np.arange(40), out=wrong)


def test_integers_are_the_positions_on_the_grid(path: Path) -> None:
    reader = open_xtc(path)
    for chosen in ([5], [299, 0, 7, 8, 9, 9, 8], range(300), []):
        codes = reader.read_codes(np.array(chosen, np.int64))
        position = reader.read(np.array(chosen, np.int64)).position
        assert codes is not None
        assert (codes.astype(np.float32) * np.float32(0.001)).tobytes() == position.tobytes()
        assert (codes == np.rint(position.astype(np.float64) / 0.001)).all()


def test_frames_of_another_precision_have_no_integers_on_the_grid(path: Path) -> None:
    before = open_xtc(path)
    raw = bytearray(path.read_bytes())
    place = int(before.offset[20]) + 56
    raw[place : place + 4] = struct.pack(">f", 100.0)
    path.write_bytes(raw)
    reader = open_xtc(path)
    assert set(reader.precision.tolist()) == {1000.0, 100.0}
    assert reader.read_codes(np.arange(20)) is not None
    assert reader.read_codes(np.arange(21)) is None
    with pytest.raises(InputError, match="frame 20 is damaged: its positions are not packed with the precision"):
        before.read_codes(np.arange(30))


def test_small_frames_are_not_packed_and_have_no_integers(tmp_path: Path) -> None:
    position = np.random.default_rng(3).normal(size=(5, 9, 3)).astype(np.float32)
    with mdtraj.formats.XTCTrajectoryFile(str(tmp_path / "a.xtc"), "w") as file:
        file.write(position)
    reader = open_xtc(tmp_path / "a.xtc")
    assert (reader.read(np.arange(5)).position == position).all()
    assert reader.read_codes(np.arange(5)) is None


def test_frames_of_every_size_are_found(tmp_path: Path) -> None:
    """Small frames are found in large windows, of large ones only the headers are read; a batch may be one frame."""
    random = np.random.default_rng(5)
    for particles, frames in ((10, 9000), (3000, 120), (40_000, 5), (400_000, 2)):
        position = random.uniform(0, 5, (frames, particles, 3)).astype(np.float32)
        path = tmp_path / f"{particles}.xtc"
        with mdtraj.formats.XTCTrajectoryFile(str(path), "w") as file:
            file.write(position, step=np.arange(frames, dtype=np.int32))
        reader = open_xtc(path)
        assert reader.step.tolist() == list(range(frames))
        assert int(reader.length.sum()) == path.stat().st_size
        for chosen in (np.arange(frames), random.permutation(frames)):
            assert np.abs(reader.read(chosen).position - position[chosen]).max() < 0.000501


def test_a_box_that_is_not_finite_ends_the_good_part(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    place = int(open_xtc(path).offset[40]) + 16
    raw[place : place + 4] = struct.pack(">f", np.nan)
    path.write_bytes(raw)
    reader = open_xtc(path)
    assert len(reader.time) == 40
    assert reader.flaw == "frame 40 has a box that is not finite"


def test_threads_read_the_same_frames(path: Path) -> None:
    reader = open_xtc(path)
    whole = reader.read(np.arange(300)).position
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda k: reader.read(np.arange(k, 300, 8)).position, range(8)))
    assert all((part == whole[k::8]).all() for k, part in enumerate(parts))


def test_the_shipped_bilayer_is_read_as_mdtraj_reads_it() -> None:
    reader = open_xtc(SHIPPED / "dmpc_303k" / "traj.xtc")
    with mdtraj.formats.XTCTrajectoryFile(str(SHIPPED / "dmpc_303k" / "traj.xtc")) as file:
        position = file.read()[0]
    assert (reader.read(np.arange(len(reader.time))).position == position).all()
    assert reader.time.tolist() == [15.0 * k for k in range(115)]


def test_nothing_is_written_beside_the_file(path: Path) -> None:
    before = [(entry.name, entry.stat().st_mtime_ns) for entry in path.parent.iterdir()]
    open_xtc(path).read(np.arange(300))
    assert [(entry.name, entry.stat().st_mtime_ns) for entry in path.parent.iterdir()] == before


@pytest.mark.parametrize(
    "content", [b"", b"x", b"not an xtc file at all" * 20, struct.pack(">2i", 1995, 5), bytes(500)]
)
def test_what_is_no_xtc_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.xtc").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.xtc: not an XTC trajectory"):
        open_xtc(tmp_path / "a.xtc")


def test_a_truncated_file_tells_its_complete_frames(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])
    reader = open_xtc(path)
    assert len(reader.time) == 299
    assert "middle of frame 299" in reader.flaw


def test_damage_inside_a_frame_is_named_with_the_frame(path: Path) -> None:
    reader = open_xtc(path)
    raw = bytearray(path.read_bytes())
    place = int(reader.offset[20]) + 60
    raw[place : place + 24] = raw[place + 12 : place + 24] + raw[place : place + 12]  # smallest and largest exchanged
    path.write_bytes(raw)
    reader.read(np.arange(20))
    with pytest.raises(InputError, match=r"frame 20 is damaged: .* 20 frames before"):
        reader.read(np.arange(10, 30))


def test_frames_of_another_size_or_without_box_end_the_good_part(path: Path) -> None:
    for particles, box in ((13, BOX), (12, 0 * BOX)):
        other = path.with_name("b.xtc")
        with mdtraj.formats.XTCTrajectoryFile(str(other), "w") as file:
            file.write(np.ones((1, particles, 3), np.float32), box=box[None])
        joined = path.with_name("c.xtc")
        joined.write_bytes(path.read_bytes() + other.read_bytes() + path.read_bytes())
        reader = open_xtc(joined)
        assert len(reader.time) == 300
        assert f"frame 300 has {particles} particles and {'a' if box.any() else 'no'} box" in reader.flaw


def test_a_file_that_shrinks_after_opening_is_an_error_not_a_crash(path: Path) -> None:
    reader = open_xtc(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match="became shorter"):
        reader.read(np.arange(300))


def test_damaged_files_give_an_error_or_finite_frames(tmp_path: Path) -> None:
    for name, particles in (("a.xtc", 5), ("b.xtc", 40)):
        with mdtraj.formats.XTCTrajectoryFile(str(tmp_path / name), "w") as file:
            file.write(np.random.default_rng(2).normal(size=(3, particles, 3)).astype(np.float32))
    random = np.random.default_rng(3)
    outcomes = {"refused": 0, "read": 0}
    for raw in ((tmp_path / "a.xtc").read_bytes(), (tmp_path / "b.xtc").read_bytes()):
        for _ in range(400):
            damaged = bytearray(raw)
            for _ in range(random.integers(1, 3)):
                damaged[random.integers(len(raw))] = random.integers(256)
            (tmp_path / "c.xtc").write_bytes(damaged[: random.integers(1, len(raw) + 1)])
            try:
                reader = open_xtc(tmp_path / "c.xtc")
                frames = reader.read(np.arange(len(reader.time)))
            except InputError:
                outcomes["refused"] += 1
            else:
                assert np.isfinite(frames.position).all()
                outcomes["read"] += 1
    assert min(outcomes.values()) > 50


@pytest.mark.parametrize("wanted", [1, 2, 9, 10, 11, 500, 1109, 1110, 2000])
def test_the_first_particles_are_those_of_all(wanted: int) -> None:
    reader = open_xtc(SHIPPED / "methane_112k/traj.xtc")
    frames = np.arange(0, 40, 3)
    whole, beginning = reader.read(frames).position, reader.read(frames, particles=wanted).position
    assert beginning.shape == (14, min(wanted, 1110), 3)
    assert beginning.tobytes() == whole[:, :wanted].tobytes()
