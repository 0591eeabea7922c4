"""The XTC reader: any frames in any order, nothing written, damage reported."""

import struct
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
