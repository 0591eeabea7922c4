"""A run of several parts: seams, discard, stride, and every way in which its files can be wrong."""

import bz2
import gzip
import hashlib
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mdtraj
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cgstore.errors import InputError
from cgstore.readers.parts import RunReader, open_run

PARTICLES = 15


def write(path: Path, times: Sequence[float], *, particles: int = PARTICLES, box: float = 3.0, seed: int = 0) -> None:
    """Write an XTC whose positions are a function of the time."""
    position = np.stack([np.random.default_rng([seed, int(t * 1000) + 10**9]).random((particles, 3)) for t in times])
    with mdtraj.formats.XTCTrajectoryFile(str(path), "w") as file:
        file.write(
            position.astype(np.float32),
            time=np.array(times, np.float32),
            step=np.round(np.array(times) * 500).astype(np.int32),
            box=np.tile(np.eye(3, dtype=np.float32) * np.float32(box), (len(times), 1, 1)),
        )


def run(archive: Path, *names: str, particles: int = PARTICLES, **options: object) -> RunReader:
    return open_run(archive, trajectory=names, particles=particles, **options)  # type: ignore[arg-type]


def test_parts_become_one_run_without_the_repeated_frames_at_seams(tmp_path: Path) -> None:
    write(tmp_path / "t.part1.xtc", [0, 1, 2, 3])
    write(tmp_path / "t.part2.xtc", [3, 4, 5], seed=1)  # begins with the last frame
    write(tmp_path / "t.part10.xtc", [4, 5, 6, 7], seed=2)  # begins at an earlier checkpoint
    reader = run(tmp_path, "t.part*.xtc")
    assert reader.time.tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert reader.step.tolist() == [500 * k for k in range(8)]
    assert reader.part.tolist() == [0, 0, 0, 0, 1, 1, 2, 2]
    assert [source.path for source in reader.sources] == ["t.part1.xtc", "t.part2.xtc", "t.part10.xtc"]
    whole = reader.read(0, 8)
    assert whole.time.tolist() == reader.time.tolist()
    with mdtraj.formats.XTCTrajectoryFile(str(tmp_path / "t.part10.xtc")) as file:
        assert (whole.position[6:] == file.read()[0][2:]).all()


@settings(max_examples=30, deadline=None)
@given(
    cuts=st.lists(st.tuples(st.integers(1, 6), st.integers(0, 3)), min_size=1, max_size=4),
    discard=st.integers(-2, 12),
    stride=st.integers(1, 4),
    start=st.integers(0, 9),
    length=st.integers(0, 9),
)
def test_seams_then_discard_then_stride_whatever_the_parts(
    tmp_path_factory: pytest.TempPathFactory,
    cuts: list[tuple[int, int]],
    discard: int,
    stride: int,
    start: int,
    length: int,
) -> None:
    archive = tmp_path_factory.mktemp("run")
    end = 0
    for number, (count, overlap) in enumerate(cuts):
        first = max(end - overlap, 1 if number else 0)
        write(archive / f"{number}.xtc", [t * 0.1 for t in range(first, end + count)])
        end = max(end, end + count)
    reader = run(archive, "*.xtc", discard=discard * 0.1, stride=stride)
    expected = [t for t in range(end) if t >= discard][::stride]
    np.testing.assert_allclose(reader.time, np.array(expected) * 0.1, rtol=1e-6)
    frames = reader.read(start, start + length)
    assert frames.time.tolist() == reader.time[start : start + length].tolist()
    for t, position in zip(frames.time, frames.position, strict=True):
        again = np.random.default_rng([0, int(round(t * 10) * 0.1 * 1000) + 10**9]).random((PARTICLES, 3))
        np.testing.assert_allclose(position, again, atol=6e-4)


def test_discard_is_absolute_and_keeps_the_frame_at_that_very_time(tmp_path: Path) -> None:
    write(tmp_path / "a.xtc", [70000.1, 70000.7, 70001.3])
    assert len(run(tmp_path, "a.xtc", discard=70000.7)) == 2
    assert len(run(tmp_path, "a.xtc", discard=70000.2)) == 2
    write(tmp_path / "b.xtc", [0.1 * k for k in range(20)])
    for k in range(20):  # float32 of 0.7 is less than 0.7
        assert len(run(tmp_path, "b.xtc", discard=k / 10)) == 20 - k


def test_until_is_absolute_and_keeps_the_frame_at_that_very_time(tmp_path: Path) -> None:
    write(tmp_path / "a.xtc", [70000.1, 70000.7, 70001.3])
    assert len(run(tmp_path, "a.xtc", until=70000.7)) == 2
    assert run(tmp_path, "a.xtc", discard=70000.7, until=70000.8).time.tolist() == [np.float32(70000.7)]
    assert len(run(tmp_path, "a.xtc", until=1.0)) == 0
    write(tmp_path / "b.xtc", [0.1 * k for k in range(20)])
    for k in range(20):
        assert len(run(tmp_path, "b.xtc", until=k / 10)) == k + 1
    window = run(tmp_path, "b.xtc", discard=0.5, until=1.6, stride=3)
    np.testing.assert_allclose(window.time, [0.5, 0.8, 1.1, 1.4], rtol=1e-6)
    np.testing.assert_allclose(run(tmp_path, "b.xtc", interval=2.0, until=5.0).time, [0, 2, 4])


def test_the_end_of_a_window_can_lie_in_any_part(tmp_path: Path) -> None:
    for part in range(3):
        write(tmp_path / f"{part}.xtc", [part * 3 + k for k in range(4)])
    for until in range(10):
        reader = run(tmp_path, "*.xtc", until=until)
        assert reader.read(0, len(reader)).time.tolist() == list(range(until + 1))
        assert len(reader.sources) == 3


def test_blocks_read_by_threads_are_those_read_one_by_one(tmp_path: Path) -> None:
    for part in range(3):
        write(tmp_path / f"{part}.xtc", range(part * 30, part * 30 + 31))
    reader = run(tmp_path, "*.xtc", stride=2)
    blocks = [(k, k + 7) for k in range(0, len(reader), 7)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda block: reader.read(*block).position, blocks))
    assert np.concatenate(together).tobytes() == reader.read(0, len(reader)).position.tobytes()


def test_without_box_the_box_is_absent(tmp_path: Path) -> None:
    write(tmp_path / "a.xtc", [0, 1], box=0)
    assert run(tmp_path, "a.xtc").read(0, 2).box is None
    assert len(run(tmp_path, "a.xtc").read(1, 1)) == 0


def test_parts_with_and_without_box_do_not_join(tmp_path: Path) -> None:
    write(tmp_path / "a.xtc", [0, 1])
    write(tmp_path / "b.xtc", [2, 3], box=0)
    with pytest.raises(InputError, match=r"b\.xtc: it has no box"):
        run(tmp_path, "a.xtc", "b.xtc").read(0, 4)


def test_equal_times_need_an_interval(tmp_path: Path) -> None:
    write(tmp_path / "a.xtc", [0, 0, 0])
    with pytest.raises(InputError, match=r'a\.xtc: all 3 frames have the time 0 ps.* interval = "1 ps"'):
        run(tmp_path, "a.xtc")
    reader = run(tmp_path, "a.xtc", interval=2.5)
    assert reader.time.tolist() == [0, 2.5, 5]
    assert reader.read(1, 3).time.tolist() == [2.5, 5]
    write(tmp_path / "b.xtc", [0, 0])
    assert run(tmp_path, "a.xtc", "b.xtc", interval=1.0, discard=1.0, stride=2).time.tolist() == [1, 3]


def test_times_that_are_not_finite_need_an_interval(tmp_path: Path) -> None:
    write(tmp_path / "a.xtc", [0, 1, 2])
    raw = bytearray((tmp_path / "a.xtc").read_bytes())
    raw[12:16] = np.array(np.nan, ">f4").tobytes()
    (tmp_path / "a.xtc").write_bytes(raw)
    with pytest.raises(InputError, match="frame 0 has no finite time"):
        run(tmp_path, "a.xtc")
    assert len(run(tmp_path, "a.xtc", interval=1.0)) == 3


def test_a_dcd_has_no_usable_times(tmp_path: Path) -> None:
    with mdtraj.formats.DCDTrajectoryFile(str(tmp_path / "a.dcd"), "w") as file:
        file.write(np.ones((3, PARTICLES, 3), np.float32))
    with pytest.raises(InputError, match="or the format has none"):
        run(tmp_path, "a.dcd")
    assert len(run(tmp_path, "a.dcd", interval=10.0).read(0, 3)) == 3


def test_another_run_among_the_parts_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.xtc", [0, 1, 2])
    write(tmp_path / "b.xtc", [0, 1, 2], seed=1)
    with pytest.raises(InputError, match=r"b\.xtc: it begins at 0 ps, not after a\.xtc does"):
        run(tmp_path, "a.xtc", "b.xtc")


def test_parts_in_the_wrong_order_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.xtc", [0, 1, 2])
    write(tmp_path / "b.xtc", [2, 3, 4], seed=1)
    with pytest.raises(InputError, match="in the order of time"):
        run(tmp_path, "b.xtc", "a.xtc")


def test_another_number_of_particles_names_both_numbers(tmp_path: Path) -> None:
    write(tmp_path / "a.xtc", [0, 1])
    with pytest.raises(InputError, match=r"a\.xtc: it has 15 particles, the topology has 16"):
        run(tmp_path, "a.xtc", particles=16)


def test_an_unknown_format_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "a.xtcc").write_bytes(b"x")
    with pytest.raises(InputError, match=r'"\.xtcc" cannot be read; did you mean "\.xtc"'):
        run(tmp_path, "a.xtcc")


@pytest.mark.parametrize(
    ("option", "value"),
    [("stride", 0), ("interval", 0.0), ("interval", float("nan")), ("truncated", "maybe"), ("until", float("nan"))],
)
def test_impossible_options_are_input_errors(tmp_path: Path, option: str, value: object) -> None:
    write(tmp_path / "a.xtc", [0, 1])
    with pytest.raises(InputError, match=f"{option}: found"):
        run(tmp_path, "a.xtc", **{option: value})


def test_a_truncated_file_is_refused_unless_kept(tmp_path: Path) -> None:
    write(tmp_path / "a.xtc", [0, 1, 2, 3])
    write(tmp_path / "b.xtc", [2, 3, 4], seed=1)
    whole = run(tmp_path, "a.xtc").read(0, 4)
    (tmp_path / "a.xtc").write_bytes((tmp_path / "a.xtc").read_bytes()[:-7])
    with pytest.raises(InputError, match=r'a\.xtc: .* middle of frame 3 .* 3 frames before .* truncated = "keep"'):
        run(tmp_path, "a.xtc", "b.xtc")
    reader = run(tmp_path, "a.xtc", "b.xtc", truncated="keep")
    assert reader.time.tolist() == [0, 1, 2, 3, 4]
    assert (reader.read(0, 3).position == whole.position[:3]).all()


@pytest.mark.parametrize("interval", [None, 1.0])
def test_a_file_without_a_sound_frame_leaves_nothing(tmp_path: Path, interval: float | None) -> None:
    write(tmp_path / "a.xtc", [0, 1], box=float("nan"))
    reader = run(tmp_path, "a.xtc", truncated="keep", interval=interval)
    assert len(reader) == len(reader.read(0, 5)) == 0


@pytest.mark.parametrize("count", [4, 15])
def test_damage_in_the_middle_keeps_the_frames_before_it(tmp_path: Path, count: int) -> None:
    write(tmp_path / "a.xtc", range(9), particles=count)
    reader = run(tmp_path, "a.xtc", particles=count)
    before = reader.read(0, 5).position
    raw = bytearray((tmp_path / "a.xtc").read_bytes())
    opened = reader.parts[0]
    place = int(opened.offset[5]) + 56  # type: ignore[attr-defined]
    raw[place : place + 4] = np.array(np.nan, ">f4").tobytes()  # a coordinate of 4 particles, the precision of 15
    (tmp_path / "a.xtc").write_bytes(raw)
    damaged = run(tmp_path, "a.xtc", particles=count)
    assert len(damaged.read(0, 5)) == 5
    with pytest.raises(InputError, match=r'a\.xtc: frame 5 .* 5 frames before .* truncated = "keep"'):
        damaged.read(0, 9)
    kept = run(tmp_path, "a.xtc", particles=count, truncated="keep")
    assert kept.time.tolist() == [0, 1, 2, 3, 4]
    assert (kept.read(0, 5).position == before).all()


def test_numbers_that_are_not_finite_are_named_with_their_frame(tmp_path: Path) -> None:
    position = np.ones((4, PARTICLES, 3), np.float32)
    position[2, 7, 1] = np.inf
    with mdtraj.formats.TRRTrajectoryFile(str(tmp_path / "a.trr"), "w") as file:
        file.write(position, time=np.arange(4, dtype=np.float32))
    with pytest.raises(InputError, match=r"a\.trr: frame 2 has a position that is not finite"):
        run(tmp_path, "a.trr", stride=2).read(0, 2)
    assert len(run(tmp_path, "a.trr", truncated="keep")) == 2
    write(tmp_path / "b.xtc", [0, 1], box=float("nan"))
    with pytest.raises(InputError, match=r"b\.xtc: frame 0 has a box that is not finite"):
        run(tmp_path, "b.xtc").read(0, 2)


def test_numbers_whose_sum_is_not_finite_may_be_finite(tmp_path: Path) -> None:
    position = np.full((3, PARTICLES, 3), 3e38, np.float32)
    with mdtraj.formats.TRRTrajectoryFile(str(tmp_path / "a.trr"), "w") as file:
        file.write(position, time=np.arange(3, dtype=np.float32))
    assert (run(tmp_path, "a.trr").read(0, 3).position == position).all()


GRO = "frame t= {}\n 15\n" + "".join(f"    1SOL   ATOM{k:5d}   {k / 10:.3f}   1.000   2.000\n" for k in range(15))


def test_a_run_of_text_parts_plain_and_compressed(tmp_path: Path) -> None:
    for name, times in (("a.part2.gro", (1, 2, 3)), ("a.part10.gro", (3, 4)), ("a.part11.gro", (4, 5, 6))):
        (tmp_path / name).write_text("".join(GRO.format(t) + f" {3 + t}.0 3.0 3.0\n" for t in times))
    plain = run(tmp_path, "a.part*", stride=2)
    whole = plain.read(0, 9)
    for name, pack in (("a.part10.gro", gzip.compress), ("a.part11.gro", bz2.compress)):
        suffix = ".gz" if pack is gzip.compress else ".BZ2"
        (tmp_path / (name + suffix)).write_bytes(pack((tmp_path / name).read_bytes()))
        (tmp_path / name).unlink()
    reader = run(tmp_path, "a.part*", stride=2)
    assert reader.time.tolist() == plain.time.tolist() == [1, 3, 5]
    assert [source.path for source in reader.sources] == ["a.part2.gro", "a.part10.gro.gz", "a.part11.gro.BZ2"]
    raw = (tmp_path / "a.part10.gro.gz").read_bytes()
    assert (reader.sources[1].size, reader.sources[1].digest) == (len(raw), hashlib.sha256(raw).hexdigest())
    frames = reader.read(0, 9)
    assert frames.position.tobytes() == whole.position.tobytes()
    assert frames.box is not None
    assert frames.box[:, 0, 0].tolist() == [4, 6, 8]


def test_repeated_frames_without_times_are_told_by_their_steps(tmp_path: Path) -> None:
    head = "ITEM: TIMESTEP\n{0}\nITEM: NUMBER OF ATOMS\n1\nITEM: BOX BOUNDS pp pp pp\n" + "0 999 \n" * 3
    frame = head + "ITEM: ATOMS id x y z\n1 {0} 5 5\n"
    parts = {
        "a": (100, 110, 120),
        "b": (120, 130, 140),
        "c": (130, 140),
        "d": (140, 150),
        "e": (100, 110),
        "f": (110, 120),
    }
    for name, steps in parts.items():
        (tmp_path / f"{name}.dump").write_text("".join(frame.format(step) for step in steps))
    reader = run(tmp_path, "*.dump", particles=1, interval=2.0, units="lj")
    assert reader.step.tolist() == [100, 110, 120, 130, 140, 150, 100, 110, 120]
    assert reader.time.tolist() == [2.0 * k for k in range(9)]
    assert reader.part.tolist() == [0, 0, 0, 1, 1, 3, 4, 4, 5]
    frames = reader.read(0, 9)
    assert frames.position[:, 0, 0].tolist() == frames.step.tolist() == reader.step.tolist()
    late = run(tmp_path, "[ab].dump", particles=1, interval=2.0, discard=4.0, stride=2)
    assert late.step.tolist() == [120, 140]


def test_binary_formats_are_not_unpacked(tmp_path: Path) -> None:
    write(tmp_path / "a.xtc", [0, 1])
    (tmp_path / "a.xtc.gz").write_bytes(gzip.compress((tmp_path / "a.xtc").read_bytes()))
    with pytest.raises(InputError, match=r"a\.xtc\.gz: only text may be compressed"):
        run(tmp_path, "a.xtc.gz")
    (tmp_path / "a.gz").write_bytes(b"x")
    with pytest.raises(InputError, match=r'of kind "\.gz" cannot be read'):
        run(tmp_path, "a.gz")


def test_a_dump_is_in_the_units_that_are_stated(tmp_path: Path) -> None:
    head = "ITEM: TIMESTEP\n{0}\nITEM: NUMBER OF ATOMS\n1\nITEM: BOX BOUNDS pp pp pp\n" + "0 10\n" * 3
    (tmp_path / "a.lammpstrj").write_text(
        "".join((head + "ITEM: ATOMS id x y z\n1 5 5 5\n").format(k) for k in range(3))
    )
    with pytest.raises(InputError, match="or the format has none; state the time between frames"):
        run(tmp_path, "a.lammpstrj", particles=1)
    for units, length in (("real", 0.5), ("metal", 0.5), ("nano", 5.0), ("lj", 5.0)):
        frames = run(tmp_path, "a.lammpstrj", particles=1, interval=2.0, units=units).read(0, 3)
        assert frames.position[:, 0, 0].tolist() == [length] * 3
        assert frames.time.tolist() == [0, 2, 4]
    with pytest.raises(InputError, match="units: found 'si'"):
        run(tmp_path, "a.lammpstrj", particles=1, interval=2.0, units="si")


@pytest.mark.parametrize("end", ["xyz", "9.999   1.000", " 9.9"])
def test_damaged_text_keeps_the_frames_before_it(tmp_path: Path, end: str) -> None:
    content = "".join(GRO.format(t) + " 3.0 3.0 3.0\n" for t in range(6))
    lines = content.splitlines(keepends=True)
    lines[3 * 18 + 9] = lines[3 * 18 + 9][:30] + end + "\n"
    (tmp_path / "a.gro").write_text("".join(lines))
    with pytest.raises(InputError, match=r"a\.gro: frame 3 is damaged: .* there are 3 frames before the damage"):
        run(tmp_path, "a.gro").read(0, 6)
    assert run(tmp_path, "a.gro", truncated="keep").time.tolist() == [0, 1, 2]


def test_formats_can_be_mixed(tmp_path: Path) -> None:
    write(tmp_path / "a.xtc", [0, 1])
    position = np.ones((2, PARTICLES, 3), np.float32)
    box = np.tile(np.eye(3, dtype=np.float32), (2, 1, 1))
    with mdtraj.formats.TRRTrajectoryFile(str(tmp_path / "b.trr"), "w") as file:
        file.write(position, time=np.array([2, 3], np.float32), box=box)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mdtraj warns that SciPy is slow
        with mdtraj.formats.NetCDFTrajectoryFile(str(tmp_path / "c.nc"), "w") as file:
            file.write(
                position, time=np.array([4.0, 5.0]), cell_lengths=np.full((2, 3), 10), cell_angles=np.full((2, 3), 90)
            )
    frames = run(tmp_path, "a.xtc", "b.trr", "c.nc").read(1, 6)
    assert frames.time.tolist() == [1, 2, 3, 4, 5]
    np.testing.assert_allclose(frames.position[1:, 0, 0], [1, 1, 0.1, 0.1])
