"""Other programs that count pair distances, each on one thread: how they are called, and what they would have to find.

Each counts the same bins of the same pairs of types and returns (pair, bin) g, normalised in its own way;
`Beads.expected` normalises the counts of cgstore in that way, so that what is left between them are distances that
round into the next bin, and the digits that are printed.
"""

import itertools
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import _timing
import numpy as np
import xarray as xr
from _timing import processor
from correlated import ROOT, Correlated, correlated

import cgstore

ALONE = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def one_thread() -> None:
    """Start this script again with libraries of linear algebra on one thread; they read it once, when loaded."""
    if any(os.environ.get(name) != "1" for name in ALONE):
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | dict.fromkeys(ALONE, "1"))


@dataclass(frozen=True, slots=True)
class Run:
    """One way to do something: `call` takes the number of frames. `less` frames are run too and taken off, if any."""

    call: Callable[[int], object]
    frames: int
    less: int = 0


def rates(title: str, runs: dict[str, Run], *, clock: Callable[[], float] = processor) -> dict[str, float]:
    """Time every run `_timing.REPEATS` times in turn after one warm-up; print and return frames per second of each.

    Slow programs get fewer frames: seconds are per frame. A run with `less` counts only the frames beyond those: its
    start and its output cost the same, however many frames there are, and are not part of the rate.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(-1, _timing.REPEATS):
        for name, run in runs.items():
            taken = []
            for frames in (run.frames, *([run.less] if run.less else [])):
                begin = clock()
                run.call(frames)
                taken.append(clock() - begin)
            if repeat >= 0:
                seconds[name].append((taken[0] - sum(taken[1:])) / (run.frames - run.less))
    first = next(iter(runs))
    print(f"{title}; frames per second of processor" if clock is processor else f"{title}; frames per second")
    found = {name: 1 / statistics.median(taken) for name, taken in seconds.items()}
    for name, rate in found.items():
        pairwise = statistics.median(a / b for a, b in zip(seconds[name], seconds[first], strict=True))
        ratio = "" if name == first else f"{first} is {pairwise:.3g} times as fast"
        less = f" less {runs[name].less}" if runs[name].less else ""
        print(f"  {name:34s} {rate:10.4g}   {runs[name].frames}{less} frames   {ratio}".rstrip())
    return found


def simulated() -> Correlated | None:
    """Return the correlated beads; nothing where the shipped methane stands in, because there is no GROMACS."""
    made = correlated()
    return None if made.folder.is_relative_to(ROOT) else made


def stored(made: Correlated, folder: Path) -> xr.Dataset:
    """Bring a trajectory into a store in the folder; return it lazily."""
    lines = [
        *("[system]", 'name = "beads"', 'title = "beads"', 'kind = "liquid"'),
        *("[[run]]", 'name = "r1"', f'topology = "{made.topology}"', f'trajectory = ["{made.trajectory}"]'),
        *("[store]", 'levels = ["atoms"]', 'precision = "0.001 nm"', ""),
    ]
    recipe = folder / "beads.toml"
    recipe.write_text("\n".join(lines))
    cgstore.ingest(recipe, archive=made.folder, store=folder / "store")
    return cgstore.open_catalog(folder / "store")["beads/r1/atoms"].open()


def repeated(ds: xr.Dataset, times: int) -> xr.Dataset:
    """Return the frames several times, lazily: with few frames the set-up of the lazy graph weighs too much."""
    return xr.concat([ds] * times, "frame", data_vars="minimal", coords="minimal", compat="override")


@dataclass(frozen=True, slots=True)
class Beads:
    """Beads in memory, and the XTC that programs read: `ds` has the frames of `trajectory`."""

    ds: xr.Dataset
    trajectory: Path
    r_max: float
    width: float

    @property
    def members(self) -> list[np.ndarray]:
        """Which beads are of each type, types in alphabetical order."""
        kinds = self.ds["type"].values
        return [np.flatnonzero(kinds == kind) for kind in np.unique(kinds)]

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Return all pairs of types, in the order of `cgstore.rdf`."""
        return list(itertools.combinations_with_replacement(range(len(self.members)), 2))

    @property
    def bins(self) -> int:
        """How many bins there are."""
        return round(self.r_max / self.width)

    def expected(self, frames: int, *, squared: bool, mean_volume: bool, centred: bool) -> np.ndarray:
        """Return the g (pair, bin) that a program with certain conventions finds in the first frames.

        Like pairs are N²/2 if `squared`, else N (N − 1)/2; the density is one over the mean volume, or the mean of one
        over the volume; the first bin is half a bin if `centred`, so that the others have multiples of the width in
        their centres.
        """
        ds = self.ds.isel(frame=slice(0, frames))
        width = self.width / 2 if centred else self.width
        found = cgstore.rdf(ds, r_max=self.r_max, bin_width=width, exclude_bonded=0)
        edges, count = np.arange(found.sizes["r"] + 1) * width, found["count"].values
        if centred:
            joined = count[:, 1:-1].reshape(len(count), -1, 2).sum(axis=2)
            count, edges = np.hstack([count[:, :1], joined]), np.append(edges[0], edges[1::2])
        volume = np.abs(np.linalg.det(ds["box"].values))
        size = [len(some) for some in self.members]
        number = np.array([
            size[a] * size[b] if a != b else size[a] * (size[a] - (not squared)) / 2 for a, b in self.pairs
        ])  # fmt: skip
        shells = 4 / 3 * np.pi * np.diff(edges**3)
        density = 1 / volume.mean() if mean_volume else (1 / volume).mean()
        return count / (frames * density * number[:, None] * shells)


def gmx_rdf(beads: Beads, folder: Path) -> Callable[[int], np.ndarray]:
    """`gmx rdf`: one call for each type, with the types that come after it; bins are centred on multiples."""
    index = folder / "types.ndx"
    index.write_text("".join(f"[ T{t} ]\n{_lines(some + 1)}\n" for t, some in enumerate(beads.members)))
    time = beads.ds["time"].values
    words = ["gmx", "-quiet", "rdf", "-f", str(beads.trajectory), "-n", str(index), "-xvg", "none", "-cn", "cn.xvg"]
    words += ["-bin", str(beads.width), "-rmax", str(beads.r_max)]

    def call(frames: int) -> np.ndarray:
        found = []
        for t in range(len(beads.members)):
            sel = [f'group "T{other}"' for other in range(t, len(beads.members))]
            file = folder / f"rdf{t}.xvg"
            file.unlink(missing_ok=True)
            end = str(time[frames - 1] + 1e-3)
            _run(folder, [*words, "-e", end, "-o", str(file), "-ref", f'group "T{t}"', "-sel", *sel])
            found.append(np.loadtxt(file)[:, 1:].T)
        return np.vstack(found)

    return call


def _lines(numbers: np.ndarray) -> str:
    """Write numbers, some to a line."""
    return "\n".join(" ".join(map(str, numbers[start : start + 15])) for start in range(0, len(numbers), 15))


def votca_options(beads: Beads, folder: Path) -> Path:
    """Write the options of csg_stat: centres of the first and last bin, one group of all for inverse Monte Carlo."""
    kinds, half = np.unique(beads.ds["type"].values), beads.width / 2
    grid = f"<min>{half:.6g}</min><max>{beads.r_max - half:.6g}</max><step>{beads.width:.6g}</step>"
    group = "<inverse><imc><group>all</group></imc></inverse>"
    parts = [
        f"<non-bonded><name>p{place}</name><type1>{kinds[a]}</type1><type2>{kinds[b]}</type2>{grid}{group}</non-bonded>"
        for place, (a, b) in enumerate(beads.pairs)
    ]
    file = folder / "options.xml"
    file.write_text("\n".join(["<cg>", *parts, "</cg>", ""]))
    return file


def csg_stat(beads: Beads, topology: Path, folder: Path, *, imc: bool = False) -> Callable[[int], np.ndarray]:
    """`csg_stat` of VOTCA; with `imc` the matrix goes into all.gmc, and targets must lie in the folder."""
    words = ["csg_stat", "--top", str(topology), "--trj", str(beads.trajectory), "--nt", "1"]
    words += ["--options", str(votca_options(beads, folder)), *(["--do-imc"] if imc else [])]

    def call(frames: int) -> np.ndarray:
        _run(folder, [*words, "--nframes", str(frames)])
        files = [folder / f"p{place}.dist.new" for place in range(len(beads.pairs))]
        return np.array([np.loadtxt(file, usecols=1) for file in files])

    return call


def _run(folder: Path, words: Sequence[str]) -> None:
    """Run a program and show its words when it fails."""
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} failed:\n{done.stdout[-1000:]}{done.stderr[-3000:]}")


def mdtraj_rdf(beads: Beads) -> Callable[[int], np.ndarray]:
    """`mdtraj.compute_rdf`, pair by pair, of a trajectory in memory."""
    import mdtraj

    topology = mdtraj.Topology()
    residue = topology.add_residue("BEADS", topology.add_chain())
    for name in beads.ds["type"].values:
        topology.add_atom(str(name), mdtraj.element.virtual, residue)
    whole = mdtraj.Trajectory(beads.ds["position"].values, topology)
    whole.unitcell_vectors = beads.ds["box"].values
    members = beads.members
    chosen = [topology.select_pairs(members[a], members[b]) for a, b in beads.pairs]
    grid = {"r_range": (0, beads.r_max), "n_bins": beads.bins}
    return lambda frames: np.array([mdtraj.compute_rdf(whole[:frames], some, **grid)[1] for some in chosen])


def mdanalysis_rdf(beads: Beads) -> Callable[[int], np.ndarray]:
    """`MDAnalysis.analysis.rdf.InterRDF`, pair by pair, of a trajectory in memory."""
    import MDAnalysis
    from MDAnalysis.analysis.rdf import InterRDF

    edges, angles = _lengths(beads.ds["box"].values)
    universe = MDAnalysis.Universe.empty(beads.ds.sizes["particle"], trajectory=True)
    box = np.hstack([edges * 10, angles])
    universe.load_new(beads.ds["position"].values * np.float32(10), dimensions=box)
    groups = [universe.atoms[some] for some in beads.members]

    def call(frames: int) -> np.ndarray:
        found = []
        for a, b in beads.pairs:
            itself = {"exclusion_block": (1, 1)} if a == b else {}
            rdf = InterRDF(groups[a], groups[b], nbins=beads.bins, range=(0, beads.r_max * 10), **itself)
            found.append(rdf.run(stop=frames).results.rdf)
        return np.array(found)

    return call


def _lengths(box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return edges and angles in degrees of boxes (frame, 3, 3)."""
    edges = np.linalg.norm(box, axis=2)
    cosine = np.einsum("fid,fjd->fij", box, box) / (edges[:, :, None] * edges[:, None, :])
    return edges, np.degrees(np.arccos(cosine[:, [1, 0, 0], [2, 2, 1]]))


def freud_rdf(beads: Beads) -> Callable[[int], np.ndarray]:
    """`freud.density.RDF`, pair by pair, of frames in memory."""
    import freud

    freud.parallel.set_num_threads(1)
    position, boxes = beads.ds["position"].values, beads.ds["box"].values
    # freud has its box from -L/2 to L/2, and the rows of ours as columns
    box = [freud.box.Box.from_matrix(one.T) for one in boxes]
    members = beads.members

    def call(frames: int) -> np.ndarray:
        found = []
        for a, b in beads.pairs:
            rdf = freud.density.RDF(beads.bins, beads.r_max)
            for f in range(frames):
                x = [box[f].wrap(position[f, members[k]]) for k in (a, b)]
                rdf.compute((box[f], x[0]), None if a == b else x[1], reset=f == 0)
            found.append(np.array(rdf.rdf))
        return np.array(found)

    return call
