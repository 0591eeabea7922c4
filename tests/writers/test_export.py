"""What is exported, when it is refused, and that a stop leaves nothing."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import xarray as xr

import cgstore
from cgstore.cli.app import main
from cgstore.errors import InputError, NotFound
from cgstore.ingestion import ingest
from cgstore.readers.xtc import open_xtc
from cgstore.writers import export
from cgstore.writers.formats import FORMATS

ROOT = Path(__file__).parents[2]
Make = Callable[..., xr.Dataset]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("desk")
    recipes = [ROOT / f"ingest/recipes/{name}.toml" for name in ("methane_112k", "dmpc_303k")]
    ingest(recipes, archive=ROOT / "archive", store=folder / "store")
    return folder


@pytest.mark.parametrize("name", ["methane_112k", "dmpc_303k"])
def test_what_came_as_xtc_leaves_as_the_same_bytes(desk: Path, tmp_path: Path, name: str) -> None:
    done = export(cgstore.open_catalog(desk / "store")[f"{name}/r1/atoms"], tmp_path / "a.xtc")
    assert done.frames > 100
    # The recipe discards the start.
    assert (ROOT / f"archive/{name}/traj.xtc").read_bytes().endswith((tmp_path / "a.xtc").read_bytes())


@pytest.mark.skipif(shutil.which("gmx") is None, reason="needs GROMACS")
@pytest.mark.parametrize("suffix", ["xtc", "trr", "gro", "pdb"])
def test_gromacs_finds_the_same_frames(desk: Path, tmp_path: Path, suffix: str) -> None:
    frames = export(f"{desk}/store::methane_112k/r1/atoms", tmp_path / f"a.{suffix}", stride=40).frames
    words = ["gmx", "check", "-f", tmp_path / f"a.{suffix}", "-f2", tmp_path / "b.trr", "-tol", "1e-5"]
    export(f"{desk}/store::methane_112k/r1/atoms", tmp_path / "b.trr", stride=40)
    quiet = {**os.environ, "GMX_MAXBACKUP": "-1"}
    alone = subprocess.run(words[:4], capture_output=True, text=True, check=False, cwd=tmp_path, env=quiet)
    assert alone.returncode == 0, alone.stderr
    assert ["Coords", str(frames), "40"] in [line.split() for line in alone.stderr.splitlines()]
    if suffix == "xtc":
        both = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path, env=quiet)
        assert both.returncode == 0, both.stderr
        assert not [line for line in both.stdout.splitlines() if line.startswith(("x[", "box[", "time", "step"))]


def test_the_command_writes_says_where_and_what_is_left_out(
    desk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["export", "dmpc_303k/r1/cg", "--store", str(desk / "store"), "-o", str(tmp_path / "sub/a.xtc")]
    assert main([*words, "--from", "100 ps", "--until", "0.2 ns", "--stride", "2", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["frames"] == 4
    assert answer["bytes"] == (tmp_path / "sub/a.xtc").stat().st_size
    assert open_xtc(tmp_path / "sub/a.xtc").time.tolist() == [105.0, 135.0, 165.0, 195.0]
    assert main(words) == 2
    assert "the file exists" in capsys.readouterr().err
    assert main([*words, "--force"]) == 0
    assert "115 frames of 640 particles" in capsys.readouterr().out
    assert len(open_xtc(tmp_path / "sub/a.xtc").time) == 115
    assert main([*words[:-1], str(tmp_path / "b.trj")]) == 2
    assert 'did you mean ".trr"' in capsys.readouterr().err
    assert main([*words[:-1], str(tmp_path / "b.xtc"), "--version", "7"]) == 2
    assert main([*words[:-1], str(tmp_path / "b.xtc"), "--from", "soon"]) == 2
    assert os.listdir(tmp_path / "sub") == ["a.xtc"]


def test_a_weight_is_named_when_it_is_lost(tmp_path: Path, make: Make) -> None:
    ds = make().assign(weight=("frame", np.ones(7)))
    assert export(ds, tmp_path / "a.xtc").notes == ("XTC has no place for velocity and force and weight: left out",)
    assert export(ds, tmp_path / "a.trr").notes == ("TRR has no place for weight: left out",)
    assert export(make(motion=False), tmp_path / "b.xtc").notes == ()
    lossless = make(motion=False).assign_attrs(precision=None)
    assert export(lossless, tmp_path / "c.xtc").notes == ("positions are rounded to 0.001 nm",)


def test_frames_are_chosen_by_time_then_by_stride(tmp_path: Path, make: Make) -> None:
    ds = make(frames=41, motion=False)  # 5 ps to 105 ps, every 2.5 ps

    def times(**chosen: str | float | int) -> list[float]:
        export(ds, tmp_path / "a.xtc", force=True, **chosen)
        return open_xtc(tmp_path / "a.xtc").time.tolist()

    assert times(start="20 ps", until="30 ps") == [20.0, 22.5, 25.0, 27.5, 30.0]
    assert times(start=20, until=0.03e3, stride=2) == [20.0, 25.0, 30.0]
    assert times(until="0.01 ns") == [5.0, 7.5, 10.0]
    assert times(stride=20) == [5.0, 55.0, 105.0]
    assert times(start=105.0) == [105.0]
    with pytest.raises(InputError, match="no frame from 200 ps; the dataset has 5 ps to 105 ps"):
        times(start=200.0)
    with pytest.raises(InputError, match="no frame from 1 ps until 2 ps; the dataset has"):
        times(start=1.0, until=2.0)
    with pytest.raises(InputError, match="stride: found 0"):
        times(stride=0)
    with pytest.raises(InputError, match="expected a time with its unit"):
        times(start="20")


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_file_does_not_depend_on_chunks(tmp_path: Path, make: Make, suffix: str) -> None:
    ds = make("tilted", frames=23)
    export(ds, tmp_path / f"a{suffix}")
    for k, chunks in enumerate([1, 5, 23, (1, 20, 2)]):
        export(ds.chunk(frame=chunks), tmp_path / f"{k}{suffix}")
        assert (tmp_path / f"{k}{suffix}").read_bytes() == (tmp_path / f"a{suffix}").read_bytes()


def lazily(ds: xr.Dataset, block: Callable[[int], None], frames: int) -> xr.Dataset:
    """Repeat the first frame of a dataset many times; `block` is told when a chunk is computed."""
    first = ds["position"].values[:1]

    def compute(block_id: tuple[int, ...]) -> np.ndarray:
        block(block_id[0])
        return np.repeat(first, 10, axis=0)

    chunks = ((10,) * (frames // 10), first.shape[1:2], (3,))
    position = da.map_blocks(compute, chunks=chunks, dtype=np.float32, meta=np.empty((0, 0, 0), np.float32))
    made = ds[["mass", "charge", "bond"]]
    return made.assign(position=(("frame", "particle", "xyz"), position))


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, OSError])
def test_a_stop_in_the_middle_leaves_nothing(
    tmp_path: Path, make: Make, suffix: str, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cgstore.writers.contents._BLOCK", 10 * 12 * 32)
    seen: list[int] = []

    def block(number: int) -> None:
        seen.append(number)
        if number == 5:
            raise error("stop")

    with pytest.raises(error):
        export(lazily(make(motion=False), block, 1000), tmp_path / f"a{suffix}")
    assert max(seen) == 5
    assert os.listdir(tmp_path) == []
    (tmp_path / f"a{suffix}").write_text("precious")
    with pytest.raises(error):
        export(lazily(make(motion=False), block, 1000), tmp_path / f"a{suffix}", force=True)
    assert (tmp_path / f"a{suffix}").read_text() == "precious"
    assert os.listdir(tmp_path) == [f"a{suffix}"]


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_block_is_written_before_the_next_but_one_is_read(
    tmp_path: Path, make: Make, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cgstore.writers.contents._BLOCK", 10 * 12 * 32)
    done, ahead = [0], []

    def progress(label: str, frames: int, total: int) -> None:
        assert total == 400
        done[0] = frames

    ds = lazily(make(motion=False), lambda number: ahead.append(10 * number - done[0]), 400)
    export(ds, tmp_path / f"a{suffix}", progress=progress)
    assert len(ahead) == 40
    assert max(ahead) <= 0
    assert done == [400]


def test_nothing_is_computed_before_the_file_is_known_to_be_possible(tmp_path: Path, make: Make) -> None:
    def never(number: int) -> None:
        raise AssertionError("computed")

    ds = lazily(make(motion=False), never, 100)
    (tmp_path / "a.xtc").write_text("here")
    (tmp_path / "b.xtc").mkdir()
    for name, message in (("a.xtc", "the file exists"), ("b.xtc", "found a folder"), ("a.doc", "found the suffix")):
        with pytest.raises(InputError, match=message):
            export(ds, tmp_path / name)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("name", ["position", "velocity", "box"])
def test_what_is_not_finite_is_refused_with_its_place(tmp_path: Path, make: Make, suffix: str, name: str) -> None:
    ds = make()
    ds[name].values[3, 2, 1] = np.nan
    with pytest.raises(InputError, match=rf"frame 3 \(at 12.5 ps\) has a {name} that is not finite, of \w+ 2"):
        export(ds, tmp_path / f"a{suffix}")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("suffix", "where", "message"),
    [
        (".gro", 10_000.0, "found 10000, the columns hold"),
        (".gro", -1000.0, "found -1000, the columns hold"),
        (".pdb", 1000.0, "found 10000, the columns hold"),
        (".xtc", 3e6, "found a coordinate of 3e[+]06 nm"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(
    tmp_path: Path, make: Make, suffix: str, where: float, message: str
) -> None:
    ds = make()
    ds["position"].values[6, 0, 0] = where
    with pytest.raises(InputError, match=message):
        export(ds, tmp_path / f"a{suffix}")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("suffix", [".dcd", ".pdb", ".lammpstrj"])
def test_a_turned_box_is_refused_where_only_lengths_and_angles_are_held(
    tmp_path: Path, make: Make, suffix: str
) -> None:
    ds = make()
    ds["box"] = ds["box"].isel(box_vector=[1, 2, 0])
    with pytest.raises(InputError, match="turn box and positions"):
        export(ds, tmp_path / f"a{suffix}")
    export(ds, tmp_path / "a.trr")


def test_long_names_and_large_numbers_are_cut_and_said(tmp_path: Path, make: Make) -> None:
    particles = 100_010
    ds = make(motion=False, frames=1, particles=32).isel(particle=np.zeros(particles, int)).drop_vars("bond")
    ds = ds.assign_coords(
        name=("particle", np.where(np.arange(particles) % 2, "CHOLA1", "CHOLA2")),
        residue_id=("particle", np.arange(particles)),
    )
    notes = export(ds, tmp_path / "a.gro").notes
    assert "atom names longer than 5 letters are cut: CHOLA1, CHOLA2; 2 names become 1" in notes
    lines = (tmp_path / "a.gro").read_text().splitlines()
    assert lines[2 + 100_001].startswith("    1LIP  CHOLA    2")
    assert len(set(map(len, lines[2:-1]))) == 1
    notes = export(ds, tmp_path / "a.pdb").notes
    assert "residue numbers start again after 9999" in notes
    lines = [line for line in (tmp_path / "a.pdb").read_text().splitlines() if line.startswith("ATOM")]
    assert set(map(len, lines)) == {80}
    assert lines[100_001][6:26] == "    2 CHOL LIP     1"


def test_steps_beyond_32_bits_wrap_and_are_said(tmp_path: Path, make: Make) -> None:
    ds = make(motion=False).assign_coords(step=("frame", 2**31 - 2 + np.arange(7)))
    for suffix in ("xtc", "trr"):
        assert "wrap around" in export(ds, tmp_path / f"a.{suffix}").notes[0]
    assert open_xtc(tmp_path / "a.xtc").step.tolist()[:3] == [2**31 - 2, 2**31 - 1, -(2**31)]


def test_uneven_times_are_said_where_there_is_one_interval(tmp_path: Path, make: Make) -> None:
    ds = make(motion=False).assign_coords(time=("frame", [0.0, 1, 2, 3, 5, 8, 13]))
    assert "one interval" in export(ds, tmp_path / "a.dcd").notes[0]


def test_a_dataset_made_by_hand_needs_positions_only(tmp_path: Path) -> None:
    ds = xr.Dataset({"position": (("frame", "particle", "xyz"), np.zeros((3, 12, 3), np.float32))})
    for suffix in FORMATS:
        assert export(ds, tmp_path / f"a{suffix}").frames == 3
    with pytest.raises(InputError, match="no times to choose frames by"):
        export(ds, tmp_path / "b.xtc", start="1 ps")


def test_what_cannot_be_a_system_is_refused(tmp_path: Path, make: Make) -> None:
    ds = make()
    for broken, message in (
        (ds.isel(frame=[]), "found 0 frames"),
        (ds.isel(particle=slice(0, 10)), "bond of particle 31, there are 10 particles"),
        (ds.drop_vars("position"), "position   missing"),
    ):
        with pytest.raises(InputError, match=message):
            export(broken, tmp_path / "a.xtc")
    with pytest.raises(InputError, match="expected STORE::NAME"):
        export("dmpc_303k/r1/cg", tmp_path / "a.xtc")


def test_an_address_names_a_store_a_dataset_and_a_version(desk: Path, tmp_path: Path) -> None:
    assert export(f"{desk}/store::dmpc_303k/r1/cg@1", tmp_path / "a.trr", stride=100).frames == 2
    with pytest.raises(NotFound, match="found no version 3"):
        export(f"{desk}/store::dmpc_303k/r1/cg@3", tmp_path / "b.trr")
