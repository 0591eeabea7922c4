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
    layout = open_dcd(path).layout
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
    raw[reader.begin + 2 * reader.layout.itemsize] ^= 1
    path.write_bytes(raw)
    with pytest.raises(InputError, match="frame 2 is damaged"):
        open_dcd(path).read(np.arange(FRAMES))


def test_fixed_atoms_are_refused(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[8 + 4 * 8] = 3
    path.write_bytes(raw)
    with pytest.raises(InputError, match="fixed atoms"):
        open_dcd(path)


def test_damaged_files_give_an_error_or_frames(path: Path) -> None:
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
