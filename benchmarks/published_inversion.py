"""Pair potentials of published argon and methanol: IBI, inverse Monte Carlo, relative entropy, judged as networks are.

The data are not part of this project: they lie in the folders LJ-data and configs/methanol-data of
https://github.com/mikhail-a-ivanov/ML-IMC (GPL-3). Give one of them:

    python benchmarks/published_inversion.py ML-IMC/LJ-data/95K
    python benchmarks/published_inversion.py ML-IMC/configs/methanol-data --time-step 0.01

Each method begins at the potential of mean force and keeps the best of its iterations, which 200 frames of the
reference choose. Methanol has a potential for each composition by itself. The sum of squared errors is over the
published bins, of longer samples in the end, as that of networks. Seconds are of the processor.
"""

import argparse
import time
from pathlib import Path

from _liquids import TRAINED, Liquid, argon, judged, methanol

from cgstore.averages.pair import rdf
from cgstore.learn.inversion import invert
from cgstore.learn.settings import Sampling


def main() -> None:
    """Invert each liquid by each method, and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--methods", nargs="*", default=["ibi", "imc", "re"])
    parser.add_argument("--iterations", type=int, default=8)
    parser.add_argument("--replicas", type=int, default=6)
    parser.add_argument("--duration", type=float, default=8.0, help="ps of each replica and iteration")
    parser.add_argument("--final", type=float, default=24.0, help="ps of each replica in the end")
    parser.add_argument("--time-step", type=float, default=0.02, help="ps")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    of_argon = any(asked.folder.glob("rdf-mean*"))
    for liquid in [argon(asked.folder)] if of_argon else [methanol(asked.folder, percent) for percent in TRAINED]:
        for method in asked.methods:
            print(row_of(liquid, method, asked), flush=True)


def row_of(liquid: Liquid, method: str, asked: argparse.Namespace) -> str:
    """Invert, sample at length, and return a row."""
    cpu = time.process_time()
    tables, history = invert(
        rdf(liquid.frames, r_max=1.0, bin_width=0.01).compute(),
        liquid.start(asked.replicas),
        temperature=liquid.temperature,
        method=method,
        iterations=asked.iterations,
        sampling=Sampling(asked.time_step, 1.0, 4.0, asked.duration, 0.4, 1),
        seed=asked.seed,
    )
    seconds = time.process_time() - cpu
    found = judged(
        tables,
        liquid,
        sampling=Sampling(0.01, 1.0, 10.0, asked.final, 0.4, 1),
        replicas=asked.replicas,
        inputs={},
        seed=asked.seed + 1000,
    )
    rmsd, best = history["rmsd"].values[:, 0], history.attrs["best"]
    words = "converged" if history.attrs["converged"] else "not converged"
    return (
        f"{liquid.name} {method}: rmsd {' '.join(f'{x:.4f}' for x in rmsd)}; best {best}, chi2 "
        f"{float(history['chi2'][best, 0]):.2f}, {words}; SSE {found.sse:.4f} +- {found.error:.4f}, noise "
        f"{found.noise:.4f}, of {found.frames} frames; first peak {found.g.max():.3f} against {liquid.g.max():.3f}; "
        f"{seconds:.0f} s"
    )


if __name__ == "__main__":
    main()
