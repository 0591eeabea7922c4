"""How quickly trajectories become positions: whole, by blocks, single frames, and the opening of a file.

Readers take one core, so seconds of processor are counted; only threads are timed by the wall. Programs that are not
installed are left out.
"""

import importlib.util
import shutil
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from _timing import compare, processor, report
from correlated import correlated

from cgstore.readers.dcd import open_dcd
from cgstore.readers.parts import open_run
from cgstore.readers.sources import source_of
from cgstore.readers.trr import open_trr
from cgstore.readers.xtc import XtcReader, open_xtc

ROOT = Path(__file__).parents[1]
BLOCK = 25  # frames
Functions = dict[str, Callable[[], object]]


def main() -> None:
    """Compare on the shipped bilayer and methane, and on correlated beads."""
    warnings.simplefilter("ignore")
    beads = correlated()
    results: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # MDAnalysis writes index files beside the trajectory; the archive is only read.
        files = {"dmpc": ROOT / "archive/dmpc_303k", "methane": ROOT / "archive/methane_112k", "beads": beads.folder}
        for word, source in files.items():
            path = Path(shutil.copy(source / "traj.xtc", folder / f"{word}.xtc"))
            results |= reading(word, path)
            if word == "dmpc":
                results |= other_formats(path)
                results |= threads(path)
        results |= opening(folder / "methane.xtc", 40)
        results |= opening(folder / "dmpc.xtc", 16)
    report(results)


def reading(word: str, path: Path) -> dict[str, dict[str, float]]:
    """Read one XTC file whole, by blocks and at random."""
    reader = open_xtc(path)
    frames = len(reader.time)
    title = f"{word} XTC, {reader.particles} particles, {frames} frames"
    chosen = np.random.default_rng(1).permutation(frames)[:50]
    measured = {"unit": "frames", "clock": processor}
    return {
        f"{word} whole": compare(f"{title}, whole", whole(reader, path), amount=frames, **measured),
        f"{word} blocks": compare(f"{title}, {BLOCK} at a time", blocks(reader, path), amount=frames, **measured),
        f"{word} random": compare(f"{title}, single ones", single(reader, path, chosen), amount=50, **measured),
    }


def whole(reader: XtcReader, path: Path) -> Functions:
    """List what reads a file from its first to its last frame."""
    import mdtraj

    frames = len(reader.time)
    run = open_run(path.parent, trajectory=[path.name], particles=reader.particles)
    memory = np.empty((frames, reader.particles, 3), np.float32)
    functions: Functions = {
        "cgstore": lambda: run.read(0, frames),
        "cgstore, into given memory": lambda: reader.read(np.arange(frames), out=memory),
        "cgstore, integers": lambda: reader.read_codes(np.arange(frames)),
        "mdtraj": lambda: mdtraj.formats.XTCTrajectoryFile(str(path)).read(),
        "MDAnalysis": lambda: mdanalysis_reads(path),
    }
    if importlib.util.find_spec("chemfiles"):
        functions["chemfiles"] = lambda: chemfiles_reads(path)
    if shutil.which("gmx"):
        functions["gmx check"] = lambda: subprocess.run(
            ["gmx", "-quiet", "check", "-f", path], check=True, capture_output=True
        )
    return functions


def blocks(reader: XtcReader, path: Path) -> Functions:
    """List what reads a file block by block."""
    import mdtraj

    run = open_run(path.parent, trajectory=[path.name], particles=reader.particles)

    def ours() -> None:
        for start in range(0, len(run), BLOCK):
            run.read(start, min(start + BLOCK, len(run)))

    def theirs() -> None:
        with mdtraj.formats.XTCTrajectoryFile(str(path)) as file:
            while len(file.read(BLOCK)[0]):
                pass

    return {"cgstore": ours, "mdtraj": theirs}


def single(reader: XtcReader, path: Path, chosen: np.ndarray) -> Functions:
    """List what reads frames in any order."""
    import MDAnalysis
    import mdtraj

    file = mdtraj.formats.XTCTrajectoryFile(str(path))
    opened = MDAnalysis.coordinates.XTC.XTCReader(str(path))

    def by_mdtraj() -> None:
        for k in chosen.tolist():
            file.seek(k)
            file.read(1)

    functions: Functions = {
        "cgstore": lambda: [reader.read(np.array([k])) for k in chosen],
        "mdtraj": by_mdtraj,
        "MDAnalysis": lambda: [opened[k] for k in chosen.tolist()],
    }
    if importlib.util.find_spec("chemfiles"):
        import chemfiles

        trajectory = chemfiles.Trajectory(str(path))
        functions["chemfiles"] = lambda: [trajectory.read_step(k).positions for k in chosen.tolist()]
    return functions


def mdanalysis_reads(path: Path) -> None:
    """Iterate over all frames; the reader has its index already after the first time."""
    import MDAnalysis

    kind: dict[str, Any] = {".xtc": "XTC", ".trr": "TRR", ".dcd": "DCD"}
    word = kind[path.suffix]
    for _ in getattr(getattr(MDAnalysis.coordinates, word), f"{word}Reader")(str(path)):
        pass


def chemfiles_reads(path: Path) -> None:
    """Read all frames."""
    import chemfiles

    with chemfiles.Trajectory(str(path)) as trajectory:
        for _ in range(trajectory.nsteps):
            trajectory.read().positions  # noqa: B018 - the access is what is measured


def other_formats(path: Path) -> dict[str, dict[str, float]]:
    """Write the frames of an XTC file as TRR and DCD, and read these."""
    import mdtraj

    position, time_, step, box = mdtraj.formats.XTCTrajectoryFile(str(path)).read()
    trr, dcd = path.with_suffix(".trr"), path.with_suffix(".dcd")
    with mdtraj.formats.TRRTrajectoryFile(str(trr), "w") as file:
        file.write(position, time=time_, step=step, box=box)
    with mdtraj.formats.DCDTrajectoryFile(str(dcd), "w") as file:
        file.write(10 * position, 10 * np.diagonal(box, axis1=1, axis2=2), np.full((len(box), 3), 90.0))
    opened = {"TRR": (trr, open_trr(trr), "TRRTrajectoryFile"), "DCD": (dcd, open_dcd(dcd), "DCDTrajectoryFile")}
    results = {}
    for word, (file_, reader, name) in opened.items():
        functions: Functions = {
            "cgstore": lambda reader=reader: reader.read(np.arange(len(position))),
            "mdtraj": lambda file_=file_, name=name: getattr(mdtraj.formats, name)(str(file_)).read(),
            "MDAnalysis": lambda file_=file_: mdanalysis_reads(file_),
        }
        if importlib.util.find_spec("chemfiles"):
            functions["chemfiles"] = lambda file_=file_: chemfiles_reads(file_)
        title = f"dmpc {word}, {reader.particles} particles, {len(position)} frames, whole"
        results[f"dmpc {word}"] = compare(title, functions, amount=len(position), unit="frames", clock=processor)
    return results


def threads(path: Path) -> dict[str, dict[str, float]]:
    """Read blocks in one and in two threads: this is wall time, and means something on idle cores only."""
    reader = open_xtc(path)
    frames = len(reader.time)
    starts = [start for _ in range(8) for start in range(0, frames, BLOCK)]

    def read(mine: list[int]) -> None:
        memory = np.empty((BLOCK, reader.particles, 3), np.float32)
        for start in mine:
            stop = min(start + BLOCK, frames)
            reader.read(np.arange(start, stop), out=memory[: stop - start])

    def two() -> None:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(read, (starts[::2], starts[1::2])))

    functions: Functions = {"two threads": two, "one thread": lambda: read(starts)}
    return {"dmpc threads": compare("dmpc XTC, threads, by the wall", functions, amount=8 * frames, unit="frames")}


def opening(path: Path, times: int) -> dict[str, dict[str, float]]:
    """Open a long file, made of a short one many times: its index, and the digest that provenance asks for."""
    long = path.with_name(f"long_{path.name}")
    long.write_bytes(path.read_bytes() * times)
    reader = open_xtc(long)
    size = long.stat().st_size / 1e9
    begin = time.perf_counter()
    open_xtc(long)
    frames = len(reader.time) / (time.perf_counter() - begin)
    functions: Functions = {"index": lambda: open_xtc(long), "SHA-256": lambda: source_of(long.parent, long)}
    title = (
        f"opening {path.stem}, {len(reader.time)} frames, {size:.2f} GB in memory; {frames:.3g} frames indexed per s"
    )
    results = compare(title, functions, amount=size, unit="GB", clock=processor)
    long.unlink()
    return {f"{path.stem} opening": results | {"frames": frames}}


if __name__ == "__main__":
    main()
