"""GSD against the package gsd, and against bytes that lie."""

from pathlib import Path

import numpy as np
import pytest

from cgstore.errors import InputError
from cgstore.readers.gsd_files import open_gsd

gsd = pytest.importorskip("gsd")
hoomd = pytest.importorskip("gsd.hoomd")

FRAMES, PARTICLES = 7, 9
TILTED = [4.0, 5.0, 6.0, 0.3, -0.4, 0.2]


def written(path: Path, *, velocity: bool = True, particles: dict[int, int] | None = None, dimensions: int = 3) -> Path:
    """Write a file with the package gsd; frame 3 has the positions of the first frame."""
    random = np.random.default_rng(1)
    with hoomd.open(str(path), "w") as file:
        for k in range(FRAMES):
            count = (particles or {}).get(k, PARTICLES)
            frame = hoomd.Frame()
            frame.configuration.step = 100 * k
            frame.configuration.dimensions = dimensions
            frame.configuration.box = TILTED if k < 5 else [7, 8, 9, 0, 0, 0]
            frame.particles.N = count
            x = random.uniform(-2, 2, (count, 3)).astype(np.float32)
            first = x if k == 0 else first  # noqa: F821
            frame.particles.position = first if k == 3 else x
            if velocity:
                frame.particles.velocity = random.normal(size=(count, 3)).astype(np.float32)
            frame.particles.image = np.ones((count, 3), np.int32)
            frame.log = {"energy": np.arange(3.0)}
            file.append(frame)
    return path


@pytest.mark.parametrize("velocity", [True, False])
def test_frames_are_those_that_gsd_reads(tmp_path: Path, velocity: bool) -> None:
    path = written(tmp_path / "a.gsd", velocity=velocity)
    reader = open_gsd(path)
    assert (reader.particles, reader.flaw, reader.time.tolist()) == (PARTICLES, "", [0.0] * FRAMES)
    chosen = np.array([5, 3, 0, 1, 2, 6])
    frames = reader.read(chosen)
    with hoomd.open(str(path), "r") as file:
        theirs = [file[int(k)] for k in chosen]
    assert frames.step.tolist() == [int(frame.configuration.step) for frame in theirs]
    assert (frames.position == np.stack([frame.particles.position for frame in theirs])).all()
    if velocity:
        assert frames.velocity is not None
        assert (frames.velocity == np.stack([frame.particles.velocity for frame in theirs])).all()
    else:
        assert frames.velocity is None


def test_a_tilted_box_becomes_rows_of_vectors(tmp_path: Path) -> None:
    frames = open_gsd(written(tmp_path / "a.gsd")).read(np.array([0, 6]))
    assert frames.box is not None
    lx, ly, lz, xy, xz, yz = TILTED
    expected = [[lx, 0, 0], [xy * ly, ly, 0], [xz * lz, yz * lz, lz]]
    np.testing.assert_allclose(frames.box[0], expected, rtol=1e-6)
    assert (frames.box[1] == np.diag([7.0, 8.0, 9.0])).all()


def test_another_number_of_particles_ends_the_frames(tmp_path: Path) -> None:
    reader = open_gsd(written(tmp_path / "a.gsd", particles={4: 5}))
    assert len(reader.time) == 4
    assert reader.flaw == f"frame 4 has 5 particles, the frames before it {PARTICLES}"


def test_two_dimensions_and_other_schemas_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a system of 2 dimensions"):
        open_gsd(written(tmp_path / "a.gsd", dimensions=2))
    with gsd.fl.open(str(tmp_path / "b.gsd"), "w", application="x", schema="other", schema_version=[1, 0]) as file:
        file.write_chunk("particles/N", np.array([4], np.uint32))
        file.end_frame()
    with pytest.raises(InputError, match='schema "other"'):
        open_gsd(tmp_path / "b.gsd")


@pytest.mark.parametrize("content", [b"", b"nonsense\n" * 40, bytes(range(256)) * 4])
def test_what_is_no_gsd_file_is_an_input_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.gsd").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.gsd: not a GSD file"):
        open_gsd(tmp_path / "a.gsd")


def test_long_indices_are_read_in_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "a.gsd")
    whole = open_gsd(path).read(np.arange(FRAMES))
    monkeypatch.setattr("cgstore.readers.gsd_files._WINDOW", 5)
    frames = open_gsd(path).read(np.arange(FRAMES))
    assert frames.position.tobytes() == whole.position.tobytes()
    assert frames.velocity is not None
    assert frames.step.tolist() == whole.step.tolist()


def test_a_file_cut_anywhere_is_refused_or_has_whole_frames(tmp_path: Path) -> None:
    raw = written(tmp_path / "a.gsd").read_bytes()
    whole = open_gsd(tmp_path / "a.gsd").read(np.arange(FRAMES))
    path = tmp_path / "b.gsd"
    seen = set()
    for cut in range(0, len(raw), 37):
        path.write_bytes(raw[:cut])
        try:
            reader = open_gsd(path)
        except InputError:
            continue
        seen.add(len(reader.time))
        assert (reader.flaw == "") == (len(reader.time) == FRAMES)
        frames = reader.read(np.arange(len(reader.time)))
        assert frames.position.tobytes() == whole.position[: len(frames)].tobytes()
    assert len(seen) > 3


def test_damaged_files_give_an_error_or_frames(tmp_path: Path) -> None:
    raw = written(tmp_path / "a.gsd").read_bytes()
    index = int(np.frombuffer(raw, "<u8", 1, 8)[0])
    random = np.random.default_rng(4)
    refused = flawed = 0
    for _ in range(800):
        damaged = bytearray(raw)
        for _ in range(random.integers(1, 4)):
            place = random.choice([random.integers(256), index + random.integers(32 * 40), random.integers(len(raw))])
            damaged[int(place) % len(raw)] = random.integers(256)
        (tmp_path / "b.gsd").write_bytes(damaged)
        try:
            reader = open_gsd(tmp_path / "b.gsd")
            flawed += reader.flaw != ""
            assert reader.read(np.arange(len(reader.time))).position.shape[1:] == (reader.particles, 3)
        except InputError:
            refused += 1
    assert refused > 50
    assert flawed > 50
