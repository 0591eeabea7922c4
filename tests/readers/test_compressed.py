"""Compressed text: read like plain text, nothing left behind, bombs and damage refused."""

import bz2
import gc
import gzip
import lzma
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from cgstore.errors import InputError
from cgstore.readers import compressed
from cgstore.readers.compressed import Contents, plain_file
from cgstore.readers.lammps import open_lammps

DUMP = Path(__file__).parents[1] / "data" / "lammps_dumps" / "x.lammpstrj"
PACKERS: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the folder that temporary files go to."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def packed(folder: Path, suffix: str, content: bytes | None = None) -> Path:
    path = folder / f"a.lammpstrj{suffix}"
    path.write_bytes(PACKERS[suffix](DUMP.read_bytes() if content is None else content))
    return path


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else 0


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_compressed_trajectory_is_that_trajectory(tmp_path: Path, scratch: Path, suffix: str) -> None:
    whole = open_lammps(DUMP).read(np.arange(4))
    gc.collect()  # what tests before this one left open
    before = descriptors()
    reader = open_lammps(packed(tmp_path, suffix))
    assert (reader.read(np.array([3, 1])).position == whole.position[[3, 1]]).all()
    with ThreadPoolExecutor(4) as pool:
        frames = list(pool.map(reader.read, [np.array([k % 4]) for k in range(40)]))
    assert all((frame.position[0] == whole.position[k % 4]).all() for k, frame in enumerate(frames))
    again = pickle.loads(pickle.dumps(reader))
    assert (again.read(np.arange(4)).position == whole.position).all()
    assert list(scratch.iterdir()) == []  # the temporary file has no name
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [f"a.lammpstrj{suffix}", "scratch"]
    del reader, again
    gc.collect()
    assert descriptors() == before


@pytest.mark.parametrize("suffix", PACKERS)
def test_damaged_data_are_an_input_error_wherever_the_damage_is(tmp_path: Path, scratch: Path, suffix: str) -> None:
    path = packed(tmp_path, suffix)
    raw = path.read_bytes()
    for length in [*range(0, len(raw), max(1, len(raw) // 60)), len(raw) - 1]:
        path.write_bytes(raw[:length])
        with pytest.raises(InputError, match=r"a\.lammpstrj\.\w+: (its compressed data are damaged|not a LAMMPS dump)"):
            open_lammps(path)
    random = np.random.default_rng(1)
    whole = open_lammps(DUMP).read(np.arange(4)).position
    refused = 0
    for _ in range(200):
        damaged = bytearray(raw)
        damaged[random.integers(len(raw))] ^= 1 << int(random.integers(8))
        path.write_bytes(damaged)
        try:
            assert (open_lammps(path).read(np.arange(4)).position == whole).all()
        except InputError:
            refused += 1
    assert refused > 150
    assert list(scratch.iterdir()) == []


def test_what_is_not_compressed_at_all_is_an_input_error(tmp_path: Path) -> None:
    for suffix in PACKERS:
        path = tmp_path / f"a.lammpstrj{suffix}"
        path.write_bytes(DUMP.read_bytes())
        with pytest.raises(InputError, match="compressed data are damaged"):
            open_lammps(path)
        path.unlink()
        with pytest.raises(InputError, match="No such file"):
            open_lammps(path)


@pytest.mark.parametrize("suffix", PACKERS)
def test_files_packed_one_after_the_other_are_one(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.xyz{suffix}"
    padding = bytes(8) if suffix != ".bz2" else b""
    path.write_bytes(PACKERS[suffix](b"one\n" * 50) + padding + PACKERS[suffix](b"two\n") + padding)
    with plain_file(path) as plain:
        assert plain.read_bytes() == b"one\n" * 50 + b"two\n"


def test_xz_that_asks_for_too_much_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.lammpstrj.xz"
    path.write_bytes(lzma.compress(DUMP.read_bytes(), preset=9))
    assert Contents(path).size == DUMP.stat().st_size
    monkeypatch.setattr(compressed, "_MEMORY", 2**24)
    with pytest.raises(InputError, match="Memory usage limit"):
        Contents(path)


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_bomb_is_refused(tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    monkeypatch.setattr(compressed, "_HARMLESS", 2**20)
    monkeypatch.setattr(compressed, "_PIECE", 2**18)
    path = packed(tmp_path, suffix, bytes(2**24))
    with pytest.raises(InputError, match=r"unpacks to more than .* MiB from .* bytes"):
        Contents(path)
    with pytest.raises(InputError, match="unpacks to more than"), plain_file(path):
        pass
    assert list(scratch.iterdir()) == []


def test_a_full_disk_is_not_filled_further(tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compressed, "_SPARE", 2**62)
    with pytest.raises(InputError, match=r"no room to unpack it.* set TMPDIR"):
        open_lammps(packed(tmp_path, ".gz"))
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("suffix", PACKERS)
def test_programs_that_want_a_name_get_one_while_they_need_it(tmp_path: Path, scratch: Path, suffix: str) -> None:
    def interrupted(path: Path) -> None:
        with plain_file(path) as plain:
            assert plain.name == "a.lammpstrj"
            assert plain.read_bytes() == DUMP.read_bytes()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted(packed(tmp_path, suffix))
    assert list(scratch.iterdir()) == []
    with plain_file(DUMP) as plain:
        assert plain == DUMP


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_killed_process_leaves_nothing_behind(tmp_path: Path, scratch: Path, how: signal.Signals) -> None:
    program = (
        "import signal, sys, time; from pathlib import Path; from cgstore.readers.compressed import Contents\n"
        # Whatever runs the tests in the background has made it ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "kept = Contents(Path(sys.argv[1])); print('open', flush=True); time.sleep(60)"
    )
    environment = {**os.environ, "TMPDIR": str(scratch)}
    command = [sys.executable, "-c", program, str(packed(tmp_path, ".gz"))]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        process.send_signal(how)
        process.wait(30)
    assert list(scratch.iterdir()) == []


def test_contents_are_filled_by_threads_at_once(tmp_path: Path) -> None:
    raw = np.random.default_rng(1).integers(0, 256, 10**5, dtype=np.uint8).tobytes()
    contents = Contents(packed(tmp_path, ".gz", raw))
    assert contents.size == len(raw)
    wrong = []

    def work(seed: int) -> None:
        random = np.random.default_rng(seed)
        with contents.opened() as descriptor:
            for _ in range(200):
                offset = int(random.integers(len(raw) - 50))
                target = np.empty(50, np.uint8)
                contents.fill(descriptor, offset, target)
                if target.tobytes() != raw[offset : offset + 50]:
                    wrong.append(offset)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
