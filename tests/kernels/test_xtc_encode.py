"""Packing XTC: what mdtraj (the xdrfile library) writes, byte for byte, and what any reader gets back."""

from pathlib import Path

import mdtraj
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cgstore.kernels.xtc import PADDING, decode
from cgstore.kernels.xtc_encode import LARGEST, encode, words_for

HEAD = 56  # bytes before the precision of a frame


def packed(position: np.ndarray, precision: float = 1000.0) -> tuple[bytes, np.ndarray]:
    particles = len(position)
    words = np.full(words_for(particles) + 2, 7, np.uint64)  # the last two must not be touched
    head = np.empty(7, np.int64)
    count = encode(position, precision, np.empty((particles, 3), np.int32), words[:-2], head)
    assert (words[-2:] == 7).all()
    return words.astype(">u8").tobytes()[:count] if count >= 0 else b"", head


def by_mdtraj(path: Path, position: np.ndarray) -> bytes:
    with mdtraj.formats.XTCTrajectoryFile(str(path), "w") as file:
        file.write(position[None])
    return path.read_bytes()


def decoded(stream: bytes, head: np.ndarray, particles: int) -> np.ndarray:
    numbers = np.array([1000.0], ">f4").tobytes() + np.array([*head, len(stream)], ">i4").tobytes()
    start = np.array([1995, particles, 0], ">i4").tobytes() + bytes(40) + np.array([particles], ">i4").tobytes()
    raw = start + numbers + stream + bytes(-len(stream) % 4)
    position = np.empty((1, particles, 3), np.float32)
    data = np.frombuffer(raw + bytes(PADDING), np.uint8)
    assert decode(data, np.array([0]), np.array([len(raw)]), position).tolist() == [0]
    return position[0]


def on_grid(position: np.ndarray) -> np.ndarray:
    return np.rint(position * 1000.0).astype(np.float32) * np.float32(0.001)


@pytest.mark.parametrize("scale", [0.01, 0.1, 0.5, 1.0, 3.0, 10.0, 70.0, 300.0, 2000.0])
@pytest.mark.parametrize("kind", ["gas", "water", "chains", "lattice", "plane"])
def test_the_bytes_are_those_of_xdrfile(tmp_path: Path, scale: float, kind: str) -> None:
    random = np.random.default_rng(int(scale * 100))
    position = random.uniform(-scale, scale, (303, 3))
    if kind == "water":
        position = np.repeat(position[:101], 3, axis=0) + random.normal(scale=0.05, size=(303, 3))
    if kind == "chains":
        position = position[0] + random.normal(scale=0.1 * scale, size=(303, 3)).cumsum(axis=0)
    if kind == "lattice":
        position = np.stack(np.meshgrid(*[np.arange(7) * scale / 7] * 3), axis=-1).reshape(-1, 3)
    if kind == "plane":
        position[:, 2] = 0.0
    position = on_grid(position)
    expected = by_mdtraj(tmp_path / "a.xtc", position)
    stream, head = packed(position)
    numbers = np.frombuffer(expected[HEAD + 4 : HEAD + 36], ">i4")
    assert [*head.tolist(), len(stream)] == numbers.tolist()
    assert stream + bytes(-len(stream) % 4) == expected[HEAD + 36 :]


@given(
    position=hnp.arrays(
        np.float32,
        st.tuples(st.integers(10, 60), st.just(3)),
        elements=st.integers(-(2**21), 2**21).map(lambda k: k / 1000),
    ),
    clustered=st.booleans(),
)
def test_any_positions_come_back(position: np.ndarray, clustered: bool) -> None:
    if clustered:
        position = position * np.float32(1e-3)
    stream, head = packed(position)
    assert (decoded(stream, head, len(position)) == on_grid(position.astype(np.float64))).all()


@pytest.mark.parametrize("span", [16_000.0, 17_000.0, 1_000_000.0])
def test_wide_systems_come_back(span: float) -> None:
    position = on_grid(np.random.default_rng(1).uniform(-span / 2, span / 2, (200, 3)))
    stream, head = packed(position)
    # Beyond four metres float32 is coarser than the grid.
    assert np.abs(decoded(stream, head, 200) / position - 1).max() < 2e-7


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, (LARGEST + 300) / 1000, -3e9])
def test_what_the_format_cannot_hold_is_refused(bad: float) -> None:
    position = np.ones((20, 3), np.float32)
    position[13, 1] = bad
    assert packed(position)[0] == b""


def test_a_range_of_coordinates_beyond_31_bits_is_refused() -> None:
    position = np.zeros((20, 3), np.float32)
    position[0], position[1] = -1.2e6, 1.2e6
    assert packed(position)[0] == b""
