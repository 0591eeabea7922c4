"""TRR against mdtraj and MDAnalysis, and against bytes that lie."""

from pathlib import Path

import MDAnalysis
import mdtraj
import numpy as np
import pytest

from cgstore.errors import InputError
from cgstore.readers.trr import open_trr

BOX = np.array([[3.0, 0, 0], [0.7, 2.9, 0], [-0.4, 0.9, 3.3]], np.float32)
FRAMES, PARTICLES = 8, 7


def by_mdanalysis(path: Path, *, velocities: bool, forces: bool, every: int = 1) -> dict[str, np.ndarray]:
    """Write a TRR with velocities and forces; return what went in, in our units."""
    random = np.random.default_rng(1)
    arrays = {name: random.normal(size=(FRAMES, PARTICLES, 3)).astype(np.float32) for name in ("x", "v", "f")}
    system = MDAnalysis.Universe.empty(PARTICLES, trajectory=True, velocities=velocities, forces=forces)
    with MDAnalysis.Writer(str(path), PARTICLES) as writer:
        for k in range(FRAMES):
            system.trajectory.ts.dimensions = [30, 30, 40, 90, 90, 90]
            system.trajectory.ts.time = 2.0 * k
            system.trajectory.ts.data["step"] = 100 * k
            system.atoms.positions = arrays["x"][k] * 10
            if velocities and k % every == 0:
                system.atoms.velocities = arrays["v"][k] * 10
            if forces:
                system.atoms.forces = arrays["f"][k] / 10
            writer.write(system)
    return arrays


def test_positions_velocities_and_forces_are_those_written_by_mdanalysis(tmp_path: Path) -> None:
    arrays = by_mdanalysis(tmp_path / "a.trr", velocities=True, forces=True)
    reader = open_trr(tmp_path / "a.trr")
    chosen = np.array([6, 0, 3])
    frames = reader.read(chosen)
    assert reader.particles == PARTICLES
    assert frames.time.tolist() == [12.0, 0.0, 6.0]
    np.testing.assert_allclose(frames.position, arrays["x"][chosen], rtol=3e-7)
    np.testing.assert_allclose(frames.velocity, arrays["v"][chosen], rtol=3e-7)
    np.testing.assert_allclose(frames.force, arrays["f"][chosen], rtol=3e-7)
    np.testing.assert_allclose(frames.box, np.tile(np.diag([3.0, 3.0, 4.0]), (3, 1, 1)), atol=1e-6)


def test_positions_times_steps_and_boxes_have_the_bits_of_mdtraj(tmp_path: Path) -> None:
    position = np.random.default_rng(2).normal(size=(5, 11, 3)).astype(np.float32)
    with mdtraj.formats.TRRTrajectoryFile(str(tmp_path / "a.trr"), "w") as file:
        step = np.arange(5, dtype=np.int32) * 10
        file.write(position, time=(step * 0.1).astype(np.float32), step=step, box=np.tile(BOX, (5, 1, 1)))
    frames = open_trr(tmp_path / "a.trr").read(np.arange(5))
    assert frames.position.tobytes() == position.tobytes()
    assert frames.box is not None
    assert (frames.box == BOX).all()
    assert frames.step.tolist() == [0, 10, 20, 30, 40]
    assert frames.time.tolist() == (np.arange(5) * 10 * 0.1).astype(np.float32).astype(float).tolist()
    assert frames.velocity is None
    assert frames.force is None


def test_a_double_precision_file_is_read(tmp_path: Path) -> None:
    tag = np.array([1993, 13, 12], ">i4").tobytes() + b"GMX_trn_file"
    position = np.random.default_rng(3).normal(size=(4, 3))
    sizes = np.array([0, 0, 72, 0, 0, 0, 0, 96, 0, 0, 4, 17, 0], ">i4").tobytes()
    numbers = np.concatenate([[2.5, 0.0], np.eye(3).ravel(), position.ravel()]).astype(">f8").tobytes()
    (tmp_path / "a.trr").write_bytes(tag + sizes + numbers)
    frames = open_trr(tmp_path / "a.trr").read(np.array([0]))
    assert (frames.position[0] == position.astype(np.float32)).all()
    assert (frames.time.tolist(), frames.step.tolist()) == ([2.5], [17])


def test_frames_without_positions_are_left_out_and_rare_velocities_dropped(tmp_path: Path) -> None:
    by_mdanalysis(tmp_path / "a.trr", velocities=True, forces=False)
    by_mdanalysis(tmp_path / "b.trr", velocities=False, forces=False)
    tag = np.array([1993, 13, 12], ">i4").tobytes() + b"GMX_trn_file"
    only_box = tag + np.array([0, 0, 36, 0, 0, 0, 0, 0, 0, 0, PARTICLES, 5, 0], ">i4").tobytes() + bytes(8 + 36)
    (tmp_path / "c.trr").write_bytes((tmp_path / "a.trr").read_bytes() + only_box + (tmp_path / "b.trr").read_bytes())
    reader = open_trr(tmp_path / "c.trr")
    assert len(reader.time) == 2 * FRAMES
    assert reader.read(np.array([0])).velocity is None


def test_frames_of_several_kinds_are_read_in_any_order(tmp_path: Path) -> None:
    """As GROMACS writes them when positions, velocities and forces are asked for at different steps."""
    single = []
    position = np.random.default_rng(5).normal(size=(40, PARTICLES, 3))
    for k, x in enumerate(position):
        real = ">f8" if k % 7 == 3 else ">f4"
        velocity = x * 2 if k % 3 == 0 else None
        single.append(by_hand(x, velocity, real=real, step=k))
    (tmp_path / "a.trr").write_bytes(b"".join(single))
    reader = open_trr(tmp_path / "a.trr")
    assert (reader.flaw, reader.step.tolist()) == ("", list(range(40)))
    assert reader.time.tolist() == [0.5 * k for k in range(40)]
    for chosen in (np.arange(40), np.random.default_rng(6).permutation(40), np.array([3, 3, 38])):
        frames = reader.read(chosen)
        assert (frames.position == position[chosen].astype(np.float32)).all()
        assert frames.velocity is None


def by_hand(
    position: np.ndarray, velocity: np.ndarray | None = None, *, real: str = ">f4", step: int = 0, time: float = 0.5
) -> bytes:
    """Return one frame with a box of 3 nm; its time is a multiple of its step."""
    width = np.dtype(real).itemsize
    size = 3 * width * len(position)
    sizes = [0, 0, 9 * width, 0, 0, 0, 0, size, 0 if velocity is None else size, 0, len(position), step, 0]
    numbers = [[time * step, 0.0], (np.eye(3) * 3).ravel(), position.ravel()]
    numbers += [] if velocity is None else [velocity.ravel()]
    tag = np.array([1993, 13, 12], ">i4").tobytes() + b"GMX_trn_file"
    return tag + np.array(sizes, ">i4").tobytes() + np.concatenate(numbers).astype(real).tobytes()


def test_many_small_and_some_large_frames_are_indexed_alike(tmp_path: Path) -> None:
    """Headers are compared in batches: small frames through windows of the file, large ones one by one."""
    random = np.random.default_rng(7)
    for particles, count in ((1, 9000), (500, 90)):
        position = random.normal(size=(count, particles, 3)).astype(np.float32)
        raw = b"".join(by_hand(x, step=k) for k, x in enumerate(position))
        (tmp_path / "a.trr").write_bytes(raw)
        reader = open_trr(tmp_path / "a.trr")
        assert (len(reader.time), reader.flaw) == (count, "")
        assert (reader.read(np.arange(count)).position == position).all()
        chosen = random.permutation(count)[:20]
        assert (reader.read(chosen).position == position[chosen]).all()


def test_a_file_cut_anywhere_has_the_frames_before_the_cut(tmp_path: Path) -> None:
    arrays = by_mdanalysis(tmp_path / "a.trr", velocities=True, forces=True)
    raw = (tmp_path / "a.trr").read_bytes()
    length = len(raw) // FRAMES
    for cut in range(0, len(raw), 5):
        (tmp_path / "a.trr").write_bytes(raw[:cut])
        if cut < length:
            with pytest.raises(InputError):
                open_trr(tmp_path / "a.trr")
            continue
        reader = open_trr(tmp_path / "a.trr")
        whole = cut // length
        assert (len(reader.time), reader.flaw != "") == (whole, cut % length != 0)
        np.testing.assert_allclose(reader.read(np.arange(whole)).force, arrays["f"][:whole], rtol=3e-7)


def test_sizes_that_no_memory_has_are_a_flaw(tmp_path: Path) -> None:
    frame = by_hand(np.zeros((3, 3)))
    for particles in (2**31 - 1, 2**28):
        sizes = np.frombuffer(frame[24:76], ">i4").copy()
        sizes[[7, 10]] = min(12 * particles, 2**31 - 4), particles
        lying = frame[:24] + sizes.tobytes() + frame[76:]
        (tmp_path / "a.trr").write_bytes(frame + lying)
        reader = open_trr(tmp_path / "a.trr")
        assert len(reader.time) == 1
        assert "frame 1" in reader.flaw


def test_a_file_that_shrinks_is_an_input_error(tmp_path: Path) -> None:
    by_mdanalysis(tmp_path / "a.trr", velocities=True, forces=True)
    reader = open_trr(tmp_path / "a.trr")
    (tmp_path / "a.trr").write_bytes((tmp_path / "a.trr").read_bytes()[:-1])
    with pytest.raises(InputError, match="became shorter"):
        reader.read(np.arange(FRAMES))


def test_a_truncated_file_tells_its_complete_frames(tmp_path: Path) -> None:
    by_mdanalysis(tmp_path / "a.trr", velocities=True, forces=False)
    raw = (tmp_path / "a.trr").read_bytes()
    for cut, count in ((1, FRAMES - 1), (len(raw) // FRAMES - 20, FRAMES - 1), (len(raw) // FRAMES, FRAMES - 1)):
        (tmp_path / "a.trr").write_bytes(raw[:-cut])
        reader = open_trr(tmp_path / "a.trr")
        assert len(reader.time) == count
        assert (reader.flaw == "") == (cut == len(raw) // FRAMES)


def test_damaged_files_give_an_error_or_frames(tmp_path: Path) -> None:
    by_mdanalysis(tmp_path / "a.trr", velocities=True, forces=True)
    raw = (tmp_path / "a.trr").read_bytes()
    random = np.random.default_rng(4)
    refused = 0
    for _ in range(600):
        damaged = bytearray(raw)
        for _ in range(random.integers(1, 4)):
            damaged[random.integers(92) if random.random() < 0.5 else random.integers(len(raw))] = random.integers(256)
        (tmp_path / "b.trr").write_bytes(damaged[: random.integers(1, len(raw) + 1)])
        try:
            reader = open_trr(tmp_path / "b.trr")
            assert reader.read(np.arange(len(reader.time))).position.shape[1:] == (reader.particles, 3)
        except InputError:
            refused += 1
    assert refused > 50
