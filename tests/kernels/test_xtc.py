"""XTC against mdtraj, bit for bit, and against bytes that lie."""

import struct
from pathlib import Path

import mdtraj
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cgstore.kernels.xtc import ENDED, MORE, PADDING, REASONS, TRUNCATED, UNREADABLE, codes, decode, headers

WINDOW = 400


def written(path: Path, position: np.ndarray, **more: np.ndarray) -> bytes:
    with mdtraj.formats.XTCTrajectoryFile(str(path), "w") as file:
        file.write(position.astype(np.float32), **more)
    return path.read_bytes()


def by_mdtraj(path: Path) -> tuple[np.ndarray, ...]:
    with mdtraj.formats.XTCTrajectoryFile(str(path)) as file:
        return tuple(file.read())


def listed(raw: bytes, slots: int = 5) -> tuple[dict[str, np.ndarray], int, int]:
    """Index bytes window by window, with few slots, as a reader of a large file does."""
    numbers, reals = np.empty((slots, 4), np.int64), np.empty((slots, 11), np.float32)
    found: list[tuple[np.ndarray, np.ndarray]] = []
    position, why = 0, MORE
    while why == MORE:
        window = np.frombuffer(raw[position : position + WINDOW] + bytes(PADDING), np.uint8)
        before = position
        count, position, why = headers(window, position, len(raw), numbers, reals)
        found.append((numbers[:count].copy(), reals[:count].copy()))
        assert position > before or why != MORE, "no progress"
    table, real = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
    index = dict(zip(("offset", "length", "particles", "step"), table.T.copy(), strict=True))
    return index | {"time": real[:, 0].copy(), "box": real[:, 1:10].copy(), "precision": real[:, 10]}, position, why


def decoded(raw: bytes, offset: np.ndarray, length: np.ndarray, particles: int) -> tuple[np.ndarray, np.ndarray]:
    data = np.frombuffer(raw + bytes(PADDING), np.uint8)
    # Cells before and after the positions must not be touched.
    space = np.full((len(offset) + 2, particles, 3), 7.0, np.float32)
    status = decode(data, offset, length, space[1:-1])
    assert (space[[0, -1]] == 7.0).all()
    return space[1:-1], status


def as_codes(
    raw: bytes, offset: np.ndarray, length: np.ndarray, particles: int, precision: float = 1000.0
) -> tuple[np.ndarray, list[str]]:
    data = np.frombuffer(raw + bytes(PADDING), np.uint8)
    space = np.full((len(offset) + 2, particles, 3), 7, np.int32)
    status = codes(data, offset, length, np.float32(precision), space[1:-1])
    assert (space[[0, -1]] == 7).all()
    return space[1:-1], [REASONS[code] for code in status]


def assert_same_bits(path: Path, raw: bytes) -> None:
    index, _, why = listed(raw)
    position, time, step, box = by_mdtraj(path)
    ours, status = decoded(raw, index["offset"], index["length"], position.shape[1])
    assert why == ENDED
    assert not status.any()
    assert ours.tobytes() == position.tobytes()
    if position.shape[1] > 9:
        grid, reasons = as_codes(raw, index["offset"], index["length"], position.shape[1])
        assert set(reasons) == {"sound"}
        assert (grid.astype(np.float32) * np.float32(0.001)).tobytes() == position.tobytes()
    assert index["time"].tobytes() == time.tobytes()
    assert index["step"].tolist() == step.tolist()
    if box is None:  # mdtraj says so of boxes of zeros
        assert not index["box"].any()
    else:
        assert index["box"].reshape(-1, 3, 3).tobytes() == box.tobytes()


@pytest.mark.parametrize("particles", [*range(1, 51), 333])
def test_positions_times_steps_and_boxes_have_the_bits_of_mdtraj(tmp_path: Path, particles: int) -> None:
    random = np.random.default_rng(particles)
    position = random.normal(scale=10.0 ** random.integers(-2, 3), size=(7, particles, 3))
    box = np.tile(np.array([[3.0, 0, 0], [0.7, 2.9, 0], [-0.4, 0.9, 3.3]]), (7, 1, 1)) * random.uniform(1, 2, (7, 1, 1))
    raw = written(
        tmp_path / "a.xtc",
        position,
        time=np.linspace(-3, 1e6, 7).astype(np.float32),
        step=np.arange(-3, 4, dtype=np.int32) * 1000,
        box=box.astype(np.float32),
    )
    assert_same_bits(tmp_path / "a.xtc", raw)


@pytest.mark.parametrize(
    ("scale", "width"),
    [
        ((4, 4, 4), "differences of a few bits"),
        ((70, 70, 70), "more than 48 bits, value times size beyond 2^64"),
        ((600, 600, 600), "58 to 64 bits"),
        ((16000, 16000, 16000), "product of sizes beyond 2^64"),
        ((20000, 20000, 20000), "coordinates apart"),
        ((3, 20000, 3), "coordinates apart, two of them small"),
        ((5, 5, 0), "a size of one"),
        ((0, 0, 5), "two sizes of one"),
        ((0, 0, 0), "all at one place"),
        ((1e6, 1e6, 1e6), "31 bits"),
        ((65, 65, 65), "the largest box of the quick way"),
        ((0.002, 65, 65), "a narrow one"),
    ],
)
def test_every_width_of_coordinates_has_the_bits_of_mdtraj(tmp_path: Path, scale: tuple, width: str) -> None:
    random = np.random.default_rng(1)
    loose = random.uniform(-1, 1, (3, 400, 3)) * scale
    # Clusters make runs of differences, of every length.
    centre = np.repeat(random.uniform(-1, 1, (3, 40, 3)) * scale, 10, axis=1)
    tight = centre + random.normal(size=(3, 400, 3)) * np.minimum(scale, 0.1)
    middling = centre + random.normal(size=(3, 400, 3)) * np.array(scale) * 1e-2
    for position in (loose, tight, middling):
        assert_same_bits(tmp_path / "a.xtc", written(tmp_path / "a.xtc", position))


@pytest.mark.parametrize("side", [20.0, 40.0, 60.0])
def test_differences_as_large_as_the_box_have_the_bits_of_mdtraj(tmp_path: Path, side: float) -> None:
    """Between opposite corners differences are too wide for the quick way: at 20 nm, after some particles."""
    corners = np.tile([[0.0] * 3, [side] * 3], (3, 100, 1))
    raw = written(tmp_path / "a.xtc", corners + np.random.default_rng(9).uniform(0, 0.5, corners.shape))
    assert struct.unpack_from(">i", raw, 84)[0] >= 48
    assert_same_bits(tmp_path / "a.xtc", raw)


@settings(max_examples=60, deadline=None)
@given(
    position=hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 3), st.integers(1, 60), st.just(3)),
        elements=st.integers(-(2**21), 2**21).map(lambda k: k / 1024),
    )
)
def test_any_positions_have_the_bits_of_mdtraj(tmp_path_factory: pytest.TempPathFactory, position: np.ndarray) -> None:
    path = tmp_path_factory.mktemp("any") / "a.xtc"
    assert_same_bits(path, written(path, position))


def test_the_real_trajectories_have_the_bits_of_mdtraj() -> None:
    paths = sorted((Path(__file__).parents[2] / "archive").glob("**/*.xtc"))
    assert paths
    for path in paths:
        index, _, _ = listed(path.read_bytes())
        position = by_mdtraj(path)[0]
        ours, status = decoded(path.read_bytes(), index["offset"], index["length"], position.shape[1])
        assert not status.any()
        assert ours.tobytes() == position.tobytes()


def test_frames_of_magic_2023_have_a_length_of_64_bits(tmp_path: Path) -> None:
    position = np.random.default_rng(2).normal(size=(1, 30, 3))
    raw = written(tmp_path / "a.xtc", position)
    newer = struct.pack(">i", 2023) + raw[4:88] + struct.pack(">q", struct.unpack_from(">i", raw, 88)[0]) + raw[92:]
    index, _, why = listed(newer * 2)
    ours, status = decoded(newer * 2, index["offset"], index["length"], 30)
    assert why == ENDED
    assert not status.any()
    assert (ours == by_mdtraj(tmp_path / "a.xtc")[0]).all()


def test_another_precision_scales_by_its_float32_reciprocal(tmp_path: Path) -> None:
    position = np.random.default_rng(3).normal(size=(1, 30, 3))
    raw = bytearray(written(tmp_path / "a.xtc", position))
    raw[56:60] = struct.pack(">f", 377.0)
    index, _, _ = listed(bytes(raw))
    ours, _ = decoded(bytes(raw), index["offset"], index["length"], 30)
    grid = np.rint(by_mdtraj(tmp_path / "a.xtc")[0].astype(np.float64) * 1000)
    assert (ours == grid.astype(np.float32) * (np.float32(1) / np.float32(377.0))).all()
    index, _, _ = listed(bytes(raw) * 2)
    assert index["precision"].tolist() == [377.0, 377.0]
    same, reasons = as_codes(bytes(raw), np.array([0]), np.array([len(raw)]), 30, precision=377.0)
    assert reasons == ["sound"]
    assert (same == grid).all()
    _, reasons = as_codes(bytes(raw), np.array([0]), np.array([len(raw)]), 30)
    assert "precision" in reasons[0]


def test_frames_that_are_not_packed_have_no_integers(tmp_path: Path) -> None:
    raw = written(tmp_path / "a.xtc", np.ones((2, 9, 3)))
    index, _, _ = listed(raw)
    assert index["precision"].tolist() == [0.0, 0.0]
    assert all("not packed" in reason for reason in as_codes(raw, index["offset"], index["length"], 9)[1])


def test_numbers_of_small_frames_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    raw = written(tmp_path / "a.xtc", np.ones((1, 3, 3)))
    for number, sound in ((np.nan, False), (np.inf, False), (-np.inf, False), (-3e38, True), (1e-45, True)):
        changed = raw[:-4] + struct.pack(">f", number)
        ours, status = decoded(changed, np.array([0]), np.array([len(raw)]), 3)
        assert (status[0] == 0) == sound
        assert not sound or ours[0, 2, 2] == np.float32(number)


def test_the_index_says_where_and_why_it_stops(tmp_path: Path) -> None:
    raw = written(tmp_path / "a.xtc", np.random.default_rng(4).normal(size=(20, 30, 3)))
    offset = listed(raw)[0]["offset"]
    assert len(offset) == 20
    for cut in (1, 50, 70, 91, 100):
        index, position, why = listed(raw[: offset[9] + cut])
        assert (len(index["offset"]), position, why) == (9, offset[9], TRUNCATED)
    index, position, why = listed(raw[: offset[9]] + b"?" + raw[offset[9] + 1 :])
    assert (len(index["offset"]), position, why) == (9, offset[9], UNREADABLE)
    assert listed(b"")[1:] == (0, ENDED)


def test_a_frame_of_another_size_or_at_an_impossible_place_is_refused(tmp_path: Path) -> None:
    raw = written(tmp_path / "a.xtc", np.random.default_rng(5).normal(size=(1, 30, 3)))
    good = np.array([len(raw)])
    for offset, length, particles in [
        (0, good - 1, 30),
        (0, good + 4, 30),
        (-4, good, 30),
        (4, good, 30),
        (0, good, 29),
    ]:
        assert decoded(raw, np.array([offset]), np.asarray(length), particles)[1].all()
    assert decoded(raw, np.array([2**62]), good, 30)[1].all()


def test_a_damaged_precision_or_range_is_refused(tmp_path: Path) -> None:
    raw = written(tmp_path / "a.xtc", np.random.default_rng(6).normal(size=(1, 30, 3)))
    for place, number in [(56, np.nan), (56, 0.0), (56, -1000.0), (56, 1e-40), (56, 1e-38), (56, np.inf)]:
        damaged = raw[:place] + struct.pack(">f", number) + raw[place + 4 :]
        assert decoded(damaged, np.array([0]), np.array([len(raw)]), 30)[1].all(), number
    for number in (0, 8, 74, 2**31 - 1, -1):
        damaged = raw[:84] + struct.pack(">i", number) + raw[88:]
        assert decoded(damaged, np.array([0]), np.array([len(raw)]), 30)[1].all(), number


@pytest.mark.parametrize("scale", [0.3, 600.0, 16000.0, 20000.0])
def test_flipped_bytes_give_an_error_or_finite_positions_inside_the_range_of_the_frame(
    tmp_path: Path, scale: float
) -> None:
    random = np.random.default_rng(7)
    centre = np.repeat(random.uniform(-1, 1, (2, 10, 3)) * scale, 6, axis=1)
    raw = written(tmp_path / "a.xtc", centre + random.normal(size=(2, 60, 3)) * 0.05)
    refused = 0
    for _ in range(4000):
        damaged = bytearray(raw)
        for _ in range(random.integers(1, 4)):
            # Half of the hits go to the header.
            place = random.integers(96) if random.random() < 0.5 else random.integers(len(raw))
            damaged[place] = random.integers(256)
        index, _, _ = listed(bytes(damaged[: random.integers(len(raw) // 2, len(raw) + 1)]))
        if not len(index["offset"]) or index["particles"].max() > 10_000:
            continue
        ours, status = decoded(bytes(damaged), index["offset"], index["length"], int(index["particles"][0]))
        assert np.isfinite(ours[status == 0]).all()
        refused += int(status.any())
        grid, reasons = as_codes(bytes(damaged), index["offset"], index["length"], int(index["particles"][0]))
        sound = np.array([reason == "sound" for reason in reasons])
        assert (sound == ((status == 0) & (index["precision"] == 1000.0))).all()
        assert ((grid[sound].astype(np.float32) * np.float32(0.001)) == ours[sound]).all()
        for position, offset in zip(ours[status == 0], index["offset"][status == 0], strict=True):
            precision, *limits = struct.unpack_from(">f6i", bytes(damaged), int(offset) + 56)
            if len(position) > 9:
                low, high = np.array(limits).reshape(2, 3) / precision
                assert (position >= low - 1e-6 * np.abs(low)).all()
                assert (position <= high + 1e-6 * np.abs(high)).all()
    assert refused > 100


def test_a_header_that_promises_too_many_particles_is_no_frame() -> None:
    header = struct.pack(">3i10f", 1995, 2**30, 0, *[0.0] * 10) + struct.pack(">i", 2**30)
    raw = header + struct.pack(">f6ii", 1000.0, *[0] * 3, *[9] * 3, 9) + struct.pack(">i", 64) + bytes(64)
    assert listed(raw)[1:] == (0, UNREADABLE)


def test_random_bytes_behind_a_sound_header_never_do_harm() -> None:
    random = np.random.default_rng(8)
    for _ in range(3000):
        particles = int(random.integers(10, 40))
        low = random.integers(-(2**31), 2**31, 3) >> random.integers(0, 31)
        high = np.minimum(low + (random.integers(0, 2**31, 3) >> random.integers(0, 31, 3)), 2**31 - 1)
        count = int(random.integers(particles // 4 + 1, 400))
        raw = struct.pack(">3i10fi", 1995, particles, 0, *[0.0] * 10, particles)
        raw += struct.pack(">f6i2i", 1000.0, *low, *high, random.integers(9, 74), count)
        raw += random.bytes(count) + bytes(-count % 4)
        ours, status = decoded(raw, np.array([0]), np.array([len(raw)]), particles)
        assert status[0] or np.isfinite(ours).all()
