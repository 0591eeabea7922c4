"""The matrix of inverse Monte Carlo, and everything at once: from a store to all distributions and their covariances.

The covariances of the counts of all bins of 36 pairs of types, beside csg_stat --do-imc of VOTCA, with the same
numbers in the end; then short chains with bonds, angles and dihedrals, what each step of the way takes, and what a
second thread brings.
"""

import shutil
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import dask
import numpy as np
import xarray as xr
from _peers import Beads, Run, csg_stat, one_thread, rates, repeated, simulated, stored
from _timing import report
from chains import chains

from cgstore.averages.bonded import bonded_counter
from cgstore.averages.covariance import merged_covariance, moment
from cgstore.averages.onepass import statistics
from cgstore.averages.pair import rdf_counter
from cgstore.averages.spec import BondedSpec, RdfSpec, Spec

R_MAX, BIN = 1.5, 0.02  # nm
BONDED = {"bond_width": 0.02, "bond_max": 1.0, "angle_width": 6.0, "dihedral_width": 12.0}  # nm and degrees
FRAMES, START = 72, 8  # of csg_stat, whose start and output are taken off
TIMES = 8  # each frame of a trajectory: longer runs have larger tasks, each of which writes a matrix
AT_ONCE = 512  # frames of one task, and of one product of matrices
Results = dict[str, dict[str, float]]


def main() -> None:
    """Compare on the correlated beads, then on the chains."""
    one_thread()
    warnings.simplefilter("ignore")
    with dask.config.set(scheduler="synchronous"):
        results = liquid()
        made = chains()
        if made is not None:
            with tempfile.TemporaryDirectory() as name:
                results |= everything(stored(made, Path(name)), made.words)
    report(results)


def spec(r_max: float, width: float, *, covariance: bool = True, exclude: int = 0) -> Spec:
    """Ask for the pairs, the bonded terms and their covariance."""
    rdf = RdfSpec(r_max=f"{r_max} nm", bin_width=f"{width} nm", exclude_bonded=exclude)
    bonded = BondedSpec(
        bond_width=f"{BONDED['bond_width']} nm",
        bond_max=f"{BONDED['bond_max']} nm",
        angle_width=f"{BONDED['angle_width']} degrees",
        dihedral_width=f"{BONDED['dihedral_width']} degrees",
    )
    return Spec(rdf=rdf, bonded=bonded, covariance=covariance)


@dataclass(frozen=True, slots=True)
class Votca:
    """csg_stat with and without the matrix, in a folder where the targets that it asks for lie."""

    imc: Callable[[int], np.ndarray]
    plain: Callable[[int], np.ndarray]
    folder: Path

    def matrix(self) -> np.ndarray:
        """Return ⟨S_α S_γ⟩ − ⟨S_α⟩⟨S_γ⟩; VOTCA writes it with the other sign."""
        words = (self.folder / "all.gmc").read_text()
        numbers = np.fromstring(words, sep=" ")
        size = round(len(numbers) ** 0.5)
        return -numbers.reshape(size, size)


def votca(beads: Beads, topology: Path, folder: Path) -> Votca:
    """Prepare csg_stat; its own distributions are the targets."""
    folder.mkdir()
    plain = csg_stat(beads, topology, folder)
    plain(START)
    for file in folder.glob("*.dist.new"):
        shutil.copy(file, file.with_suffix(".tgt"))
    return Votca(csg_stat(beads, topology, folder, imc=True), plain, folder)


def liquid() -> Results:
    """Count pairs and their covariances of the correlated beads."""
    made, results = simulated(), {}
    if made is None:
        return {}
    with tempfile.TemporaryDirectory() as name:
        lazy = stored(made, Path(name))
        loaded = lazy.compute()
        # Half the distance for the matrix alone: as many bins, and counting hides less of what they cost.
        for r_max, width in ((R_MAX, BIN), (R_MAX / 2, BIN / 2)):
            beads = Beads(loaded, made.folder / made.trajectory, r_max, width)
            title = f"{len(beads.pairs)} pairs, {len(beads.pairs) * beads.bins} bins, r_max {r_max} nm, {made.words}"
            asked = spec(r_max, width)
            program = None
            if shutil.which("csg_stat"):
                program = votca(beads, made.folder / made.topology, Path(name, f"votca{r_max}"))
                agreement(title, program, statistics(loaded.isel(frame=slice(0, START)), asked))
            if r_max == R_MAX:
                results["imc"] = whole(title, repeated(lazy, TIMES), asked, program)
            else:
                results["imc matrix alone"] = alone(title, beads, program)
    return results


def agreement(title: str, program: Votca, found: xr.DataTree) -> None:
    """Print how far two matrices of the same frames are apart."""
    program.imc(START)
    theirs, ours = program.matrix(), merged_covariance(found["covariance"].to_dataset())["covariance"].values
    apart = np.abs(theirs - ours)
    print(
        f"{title}: covariances differ from those of csg_stat by {apart.max():.2g} at most, "
        f"{apart.sum() / np.abs(ours).sum():.2g} of them on average; the largest is {np.abs(ours).max():.4g}"
    )


def whole(title: str, lazy: xr.Dataset, asked: Spec, program: Votca | None) -> dict[str, float]:
    """Time distributions and matrix together."""
    runs = {
        "cgstore": Run(lambda n: statistics(lazy.isel(frame=slice(0, n)), asked).load(), lazy.sizes["frame"]),
    }
    if program is not None:
        runs["csg_stat --do-imc"] = Run(program.imc, FRAMES, START)
        runs["csg_stat --do-imc, with its start"] = Run(program.imc, FRAMES)
    return rates(f"{title}, distributions and covariances", runs)


def alone(title: str, beads: Beads, program: Votca | None) -> dict[str, float]:
    """Time the matrix alone: of counts in memory here, as a difference of programs there."""
    counter = rdf_counter(beads.ds, pairs=None, r_max=beads.r_max, bin_width=beads.width, exclude_bonded=0)
    ds = beads.ds.isel(frame=slice(0, AT_ONCE))
    [(counts, _)] = counter.count(np.ascontiguousarray(ds["position"].values), ds["box"].values.astype(float), 0)
    flat, one = counts.reshape(len(counts), -1), np.ones(len(counts))
    runs = {"cgstore, matrix alone": Run(lambda n: moment(flat[:n], one[:n]), AT_ONCE)}
    if program is not None:
        runs["csg_stat --do-imc"] = Run(program.imc, FRAMES, START)
        runs["csg_stat"] = Run(program.plain, FRAMES, START)
    found = rates(f"{title}, covariances alone", runs)
    if program is not None:
        found["difference"] = 1 / (1 / found["csg_stat --do-imc"] - 1 / found["csg_stat"])
        ratio = found["cgstore, matrix alone"] / found["difference"]
        name = "csg_stat --do-imc less csg_stat"
        print(f"  {name:34s} {found['difference']:10.4g}   cgstore is {ratio:.3g} times as fast")
    return found


def everything(lazy: xr.Dataset, words: str) -> Results:
    """Take all distributions and covariances of the chains from the store; then one step at a time."""
    lazy = repeated(lazy, TIMES)
    frames, asked = lazy.sizes["frame"], spec(R_MAX, BIN, exclude=3)
    some = lazy.isel(frame=slice(0, AT_ONCE)).load()
    position, box = np.ascontiguousarray(some["position"].values), some["box"].values.astype(float)
    pairs = rdf_counter(some, pairs=None, r_max=R_MAX, bin_width=BIN, exclude_bonded=3)
    terms = bonded_counter(some, **BONDED)
    found = [*pairs.count(position, box, 0), *terms.count(position, box, 0)]
    flat = np.concatenate([counts.reshape(len(counts), -1) for counts, _ in found], axis=1)
    number = sum(some.sizes[name] for name in ("bond", "angle", "dihedral"))
    title = f"{words}: 36 pairs to {R_MAX} nm, {number} bonded terms, covariances of {flat.shape[1]} bins"
    runs = {
        "cgstore, all from the store": Run(lambda n: statistics(lazy.isel(frame=slice(0, n)), asked).load(), frames),
        "without the covariances": Run(
            lambda n: statistics(lazy.isel(frame=slice(0, n)), spec(R_MAX, BIN, covariance=False, exclude=3)).load(),
            frames,
        ),
        "reading alone": Run(lambda n: lazy["position"][:n].data.map_blocks(_nothing, dtype=bool).compute(), frames),
        "pairs alone": Run(lambda n: pairs.count(position[:n], box[:n], 0), AT_ONCE),
        "bonded terms alone": Run(lambda n: terms.count(position[:n], box[:n], 0), AT_ONCE),
        "covariances alone": Run(lambda n: moment(flat[:n], np.ones(n)), AT_ONCE),
    }
    return {"everything": rates(title, runs), "threads": threads(title, lazy, asked)}


def _nothing(block: np.ndarray) -> np.ndarray:
    """Let a block go."""
    return np.zeros((1,) * block.ndim, bool)


def threads(title: str, lazy: xr.Dataset, asked: Spec) -> dict[str, float]:
    """Time one and two threads with the clock on the wall; they need two cores that nothing else uses."""

    def on(number: int) -> Callable[[int], object]:
        def call(frames: int) -> None:
            with dask.config.set(scheduler="threads", num_workers=number):
                statistics(lazy.isel(frame=slice(0, frames)), asked).load()

        return call

    runs = {f"{number} thread{'s' if number > 1 else ''}": Run(on(number), lazy.sizes["frame"]) for number in (2, 1)}
    return rates(title, runs, clock=time.perf_counter)


if __name__ == "__main__":
    main()
