"""DCD against mdtraj and MDAnalysis, and against bytes that lie."""

from pathlib import Path

import MDAnalysis
import mdtraj
import numpy as np
import pytest

from cgstore.errors import InputError
from cgstore.readers.dcd import open_dcd

FRAMES, PARTICLES = 6, 9


@pytest.fixture
def path(tmp_path: Path) -> Path:
    random = np.random.default_rng(1)
    with mdtraj.formats.DCDTrajectoryFile(str(tmp_path / "a.dcd"), "w") as file:
        file.write(
            random.normal(scale=20, size=(FRAMES, PARTICLES, 3)).astype(np.float32),
            cell_lengths=random.uniform(30, 40, (FRAMES, 3)).astype(np.float32),
            cell_angles=random.uniform(70, 110, (FRAMES, 3)).astype(np.float32),
        )
    return tmp_path / "a.dcd"


def test_positions_and_triclinic_boxes_are_those_of_mdtraj(path: Path) -> None:
    theirs = mdtraj.load(str(path), top=mdtraj.Topology.from_dataframe(_atoms()))
    reader = open_dcd(path)
    assert reader.flaw == ""
    frames = reader.read(np.array([4, 0, 1]))
    np.testing.assert_allclose(frames.position, theirs.xyz[[4, 0, 1]], rtol=2e-7)
    np.testing.assert_allclose(frames.box, theirs.unitcell_vectors[[4, 0, 1]], atol=2e-6)


def _atoms():  # type: ignore[no-untyped-def]
    import pandas as pd

    columns = {"serial": 1, "name": "C", "element": "C", "resSeq": 1, "resName": "X", "chainID": 0, "segmentID": ""}
    return pd.DataFrame({key: [value] * PARTICLES for key, value in columns.items()})


@pytest.mark.filterwarnings("ignore:No dimensions set:UserWarning")
def test_files_of_mdanalysis_are_read_with_and_without_a_box(tmp_path: Path) -> None:
    position = np.random.default_rng(2).normal(size=(3, PARTICLES, 3)).astype(np.float32)
    for name, box in (("a.dcd", [30, 40, 50, 90, 90, 90]), ("b.dcd", None)):
        system = MDAnalysis.Universe.empty(PARTICLES, trajectory=True)
        with MDAnalysis.Writer(str(tmp_path / name), PARTICLES) as writer:
            for x in position:
                system.dimensions = box
                system.atoms.positions = 10 * x
                writer.write(system)
        frames = open_dcd(tmp_path / name).read(np.arange(3))
        np.testing.assert_allclose(frames.position, position, rtol=3e-7)
        assert frames.box is not None
        expected = np.diag([3.0, 4.0, 5.0]).astype(np.float32) if box else np.zeros((3, 3))
        assert (frames.box == expected).all()


def test_the_other_byte_order_is_read(path: Path) -> None:
    ours = open_dcd(path).read(np.arange(FRAMES))
    raw = path.read_bytes()
    begin = open_dcd(path).begin
    words = np.frombuffer(raw[:begin], "<i4").astype(">i4").tobytes()
    layout = open_dcd(path).layouts[1]
    swapped = np.frombuffer(raw[begin:], layout).astype(layout.newbyteorder(">")).tobytes()
    # Text is not turned round.
    title = words[:4] + raw[4:8] + words[8:]
    path.write_bytes(title + swapped)
    assert open_dcd(path).read(np.arange(FRAMES)).position.tobytes() == ours.position.tobytes()


def test_a_truncated_file_tells_its_complete_frames(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])
    reader = open_dcd(path)
    assert len(reader.time) == FRAMES - 1
    assert f"middle of frame {FRAMES - 1}" in reader.flaw


def test_a_damaged_record_is_named_with_its_frame(path: Path) -> None:
    reader = open_dcd(path)
    raw = bytearray(path.read_bytes())
    raw[reader.begin + 2 * reader.layouts[1].itemsize] ^= 1
    path.write_bytes(raw)
    with pytest.raises(InputError, match="frame 2 is damaged"):
        open_dcd(path).read(np.arange(FRAMES))


def by_hand(path: Path, *, mark: str = "i4", order: str = "<", fixed: int = 0, fourth: bool = False) -> np.ndarray:
    """Write a DCD record by record; return the positions that a reader should find, in nm."""
    random = np.random.default_rng(5)
    position = random.normal(scale=20, size=(FRAMES, PARTICLES, 3)).astype(np.float32)
    free = np.sort(random.permutation(PARTICLES)[: PARTICLES - fixed])
    held = np.setdiff1d(np.arange(PARTICLES), free)
    position[1:, held] = position[0, held]

    def record(data: bytes) -> bytes:
        size = np.array([len(data)], order + mark).tobytes()
        return size + data + size

    numbers = np.zeros(20, f"{order}i4")
    numbers[[0, 1, 2, 8, 10, 11, 19]] = FRAMES, 500, 50, fixed, 1, fourth, 24
    title = np.array([1], f"{order}i4").tobytes() + b"by hand".ljust(80)
    raw = record(b"CORD" + numbers.tobytes()) + record(title) + record(np.array([PARTICLES], f"{order}i4").tobytes())
    if fixed:
        raw += record((free + 1).astype(f"{order}i4").tobytes())
    for k, frame in enumerate(position):
        raw += record(np.array([30, 90, 31, 90, 90, 32], f"{order}f8").tobytes())
        axes = [*frame.T, np.full(PARTICLES, 7.0)] if fourth else frame.T
        for axis in axes:
            raw += record((axis[free] if fixed and k else axis).astype(f"{order}f4").tobytes())
    path.write_bytes(raw)
    return (position * 0.1).astype(np.float32)


@pytest.mark.parametrize("mark", ["i4", "i8"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("fixed", [0, 1, 5])
@pytest.mark.parametrize("fourth", [False, True])
def test_kinds_of_records(tmp_path: Path, mark: str, order: str, fixed: int, fourth: bool) -> None:
    position = by_hand(tmp_path / "a.dcd", mark=mark, order=order, fixed=fixed, fourth=fourth)
    reader = open_dcd(tmp_path / "a.dcd")
    assert (reader.particles, len(reader.time), reader.flaw) == (PARTICLES, FRAMES, "")
    assert reader.step.tolist() == [500 + 50 * k for k in range(FRAMES)]
    for chosen in ([0, 1, 2, 3, 4, 5], [4, 3, 0, 5], [2]):
        frames = reader.read(np.array(chosen))
        np.testing.assert_allclose(frames.position, position[chosen], rtol=2e-7)
        assert frames.box is not None
        np.testing.assert_allclose(frames.box[0], np.diag([3.0, 3.1, 3.2]), rtol=1e-6)


@pytest.mark.parametrize("fixed", [0, 4])
def test_fixed_particles_are_where_mdanalysis_and_mdtraj_see_them(tmp_path: Path, fixed: int) -> None:
    by_hand(tmp_path / "a.dcd", fixed=fixed)
    ours = open_dcd(tmp_path / "a.dcd").read(np.arange(FRAMES)).position
    with mdtraj.formats.DCDTrajectoryFile(str(tmp_path / "a.dcd")) as file:
        np.testing.assert_allclose(ours, file.read()[0] * 0.1, rtol=3e-7)
    with MDAnalysis.lib.formats.libdcd.DCDFile(str(tmp_path / "a.dcd")) as file:
        np.testing.assert_allclose(ours, np.stack([frame.xyz.copy() for frame in file]) * 0.1, rtol=3e-7)


def test_a_list_of_free_particles_that_lies_is_refused(tmp_path: Path) -> None:
    by_hand(tmp_path / "a.dcd", fixed=4)
    raw = (tmp_path / "a.dcd").read_bytes()
    place = 92 + 92 + 12 + 4
    for index in (-1, 0, 10**6):
        (tmp_path / "a.dcd").write_bytes(raw[:place] + np.array([index], "<i4").tobytes() + raw[place + 4 :])
        with pytest.raises(InputError, match="list of 5 particles that are not fixed is damaged"):
            open_dcd(tmp_path / "a.dcd")
    (tmp_path / "a.dcd").write_bytes(raw[: 8 + 4 * 8] + np.array([10**9], "<i4").tobytes() + raw[8 + 4 * 9 :])
    with pytest.raises(InputError, match="not fixed is damaged"):
        open_dcd(tmp_path / "a.dcd")


def test_a_file_cut_anywhere_has_the_frames_before_the_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.dcd"
    position = by_hand(path, fixed=3)
    raw, reader = path.read_bytes(), open_dcd(path)
    ends = reader.begin + reader.layouts[0].itemsize + reader.layouts[1].itemsize * np.arange(FRAMES)
    for cut in range(0, len(raw), 7):
        path.write_bytes(raw[:cut])
        whole = int((ends <= cut).sum())
        if not whole:
            with pytest.raises(InputError):
                open_dcd(path)
            continue
        short = open_dcd(path)
        assert (len(short.time), short.flaw != "") == (whole, cut not in ends)
        np.testing.assert_allclose(short.read(np.arange(whole)).position, position[:whole], rtol=2e-7)


@pytest.mark.parametrize("fixed", [0, 4])
def test_damaged_files_give_an_error_or_frames(path: Path, fixed: int) -> None:
    if fixed:
        by_hand(path, fixed=fixed)
    raw = path.read_bytes()
    random = np.random.default_rng(4)
    refused = 0
    for _ in range(600):
        damaged = bytearray(raw)
        for _ in range(random.integers(1, 4)):
            damaged[random.integers(300) if random.random() < 0.5 else random.integers(len(raw))] = random.integers(256)
        path.write_bytes(damaged[: random.integers(1, len(raw) + 1)])
        try:
            reader = open_dcd(path)
            assert reader.read(np.arange(len(reader.time))).position.shape[1:] == (reader.particles, 3)
        except InputError:
            refused += 1
    assert refused > 50


def test_the_symmetric_matrix_of_charmm_is_the_box(path: Path) -> None:
    plain = open_dcd(path).read(np.arange(FRAMES)).position
    layout = open_dcd(path).layouts[1]
    matrix = np.array([[30.8, 14.6, 9.6], [14.6, 31.8, -2.6], [9.6, -2.6, 32.7]])
    small = np.array([[30.0, 0.5, 0], [0.5, 30.0, 0], [0, 0, 40.0]])  # could be cosines too: the version decides
    head, frames = bytearray(path.read_bytes()[: open_dcd(path).begin]), path.read_bytes()[open_dcd(path).begin :]
    for version, cell, symmetric in ((36, matrix, True), (24, matrix, True), (36, small, True), (24, small, False)):
        head[84:88] = version.to_bytes(4, "little")
        changed = np.frombuffer(frames, layout).copy()
        changed["cell"] = cell[np.tril_indices(3)]
        path.write_bytes(bytes(head) + changed.tobytes())
        found = open_dcd(path).read(np.arange(FRAMES))
        assert (found.position == plain).all()
        assert found.box is not None
        assert np.allclose(found.box, cell / 10, atol=1e-6) == symmetric
    # A cell of zeros is no box, whoever wrote it.
    changed["cell"] = 0
    path.write_bytes(bytes(head) + changed.tobytes())
    box = open_dcd(path).read(np.arange(FRAMES)).box
    assert box is not None
    assert not box.any()
