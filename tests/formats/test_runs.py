"""Runs of several files in several formats, and files that grow: each frame once, and nothing read twice."""

import gzip
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mdtraj.formats import LAMMPSTrajectoryFile, XTCTrajectoryFile

from cgstore.errors import InputError
from cgstore.frames import Frames

ROOT = Path(__file__).parents[2]
METHANE = ROOT / "archive/methane_112k/system.tpr"


@pytest.fixture(scope="module")
def source() -> Frames:
    """Twelve shipped frames, 1 ps apart."""
    with XTCTrajectoryFile(str(ROOT / "archive/methane_112k/traj.xtc")) as file:
        position, time, step, box = file.read(12)
    return Frames(position, time.astype(np.float64), step.astype(np.int64), box)


# Each part repeats frames of the one before it, as a simulation does that was continued from a checkpoint.
PARTS = (("a.xtc", 0, 5), ("b.trr", 4, 8), ("c.h5", 6, 10), ("d.lammpstrj", 8, 12))


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        ("", range(12)),
        ('discard = "2 ps"\nuntil = "9 ps"\nstride = 3', [2, 5, 8]),
        ('discard = "3 ps"\nstride = 2', [3, 5, 7, 9, 11]),
        ('until = "0.007 ns"', range(8)),
    ],
)
def test_parts_in_several_formats_are_one_run(
    tmp_path: Path, formats: dict[str, Any], ingest: Callable[..., Any], source: Frames, run: str, expected: Any
) -> None:
    for name, start, stop in PARTS:
        formats[name.split(".")[1]].write(tmp_path / name, source[start:stop])
    names = [name for name, *_ in PARTS]
    _, atoms, beads = ingest(tmp_path, *names, topology=METHANE, run=run, precision="0.001 nm")
    chosen = np.array(list(expected))
    assert atoms.time.values.tolist() == source.time[chosen].tolist() == beads.time.values.tolist()
    assert (atoms.position.values == source.position[chosen]).all()
    assert source.box is not None
    assert np.abs(atoms.box.values - source.box[chosen]).max() < 1e-6
    assert [part["path"] for part in atoms.attrs["sources"]] == names


def test_parts_of_which_only_some_have_velocities_are_refused(
    tmp_path: Path, formats: dict[str, Any], ingest: Callable[..., Any], source: Frames
) -> None:
    formats["xtc"].write(tmp_path / "a.xtc", source[:5])
    formats["trr"].write(tmp_path / "b.trr", replace(source, velocity=np.zeros_like(source.position))[4:])
    with pytest.raises(InputError, match=r"a\.xtc: it has no velocity, other parts of the run have"):
        ingest(tmp_path, "a.xtc", "b.trr", topology=METHANE)


@pytest.mark.parametrize("suffix", ["lammpstrj", "gro", "xtc", "trr"])
def test_a_trajectory_that_grew_is_continued(
    tmp_path: Path, formats: dict[str, Any], ingest: Callable[..., Any], source: Frames, suffix: str
) -> None:
    path, format = tmp_path / f"a.{suffix}", formats[suffix]
    run = "stride = 2" if "time" in format.keeps else 'interval = "2 ps"\nstride = 2'
    format.write(path, source[:7])
    first, old, _ = ingest(tmp_path, path.name, topology=METHANE, run=run)
    before = path.read_bytes()
    format.write(path, source)
    assert path.read_bytes().startswith(before)
    second, new, _ = ingest(tmp_path, path.name, topology=METHANE, run=run)
    assert (first.action, first.frames) == ("created", 4)
    assert (second.action, second.frames, second.new_frames) == ("appended", 6, 2)
    _, fresh, _ = ingest(tmp_path, path.name, topology=METHANE, run=run, store="fresh")
    assert new.attrs["digest"] == fresh.attrs["digest"] != old.attrs["digest"]


@pytest.mark.parametrize(("how", "action"), [("packed again", "rebuilt"), ("a member more", "appended")])
def test_a_packed_dump_that_grew_is_read_again_or_continued(
    tmp_path: Path, ingest: Callable[..., Any], source: Frames, how: str, action: str
) -> None:
    def dump(start: int, stop: int) -> bytes:
        with LAMMPSTrajectoryFile(str(tmp_path / "plain.lammpstrj"), "w", force_overwrite=True) as file:
            lengths = np.diagonal(source.box[start:stop], axis1=1, axis2=2) * 10  # type: ignore[index]
            file.write(source.position[start:stop] * 10, lengths, np.full_like(lengths, 90))
        return (tmp_path / "plain.lammpstrj").read_bytes()

    (archive := tmp_path / "archive").mkdir()
    path, options = archive / "a.lammpstrj.gz", {"topology": METHANE, "run": 'interval = "1 ps"'}
    path.write_bytes(gzip.compress(dump(0, 6)))
    ingest(archive, path.name, **options)
    path.write_bytes(
        gzip.compress(dump(0, 12)) if how == "packed again" else path.read_bytes() + gzip.compress(dump(6, 12))
    )
    summary, atoms, _ = ingest(archive, path.name, **options)
    assert (summary.action, summary.frames) == (action, 12)
    # mdtraj puts the corner of the box where the smallest coordinate is; positions are relative to the corner.
    shift = atoms.position.values - source.position
    assert np.abs(shift - shift[:, :1]).max() < 6e-7
    _, fresh, _ = ingest(archive, path.name, store="fresh", **options)
    assert atoms.attrs["digest"] == fresh.attrs["digest"]
