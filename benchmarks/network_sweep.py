"""Layers × descriptors of networks of atoms: what each reaches with the same sampling, and what it costs.

    python benchmarks/network_sweep.py ML-IMC/LJ-data/95K --out sweep.csv
    python benchmarks/network_sweep.py ML-IMC/configs/methanol-data --out sweep.csv --replicas 4 --time-step 0.01

Every network begins as the same pair potential, from iterations of IBI, and has the same rounds of training and the
same frames in the end. Of methanol it is one potential for 100, 60, 40 and 10 % that is not told which, begins as that
of one of them, and has as its SSE the mean of the four. A row is written for each; those that are there already are not
made again. Seconds are of the processor, steps those of all replicas in the last sampling.
"""

import argparse
import csv
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from _liquids import EIGHT, TRAINED, Liquid, argon, begun_all, judged, methanol, model_of

from cgstore.learn.descriptors import Radial, radial_of
from cgstore.learn.pretraining import Known, pretrain
from cgstore.learn.settings import Sampling, Training
from cgstore.learn.structural import train_structure

CUTOFF = 1.0  # nm
CELLS = [f"{functions}:{hidden}" for hidden in ("", "20-20", "20-20-20", "40-40-40") for functions in (8, 24)]


def parsed() -> argparse.Namespace:
    """Return what the user wants."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="csv")
    parser.add_argument("--cells", nargs="*", default=CELLS, help='functions:layers, as "8:20-20"; "8:" is linear')
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--inversions", type=int, default=3)
    parser.add_argument(
        "--one", type=int, choices=TRAINED, default=60, help="%%, of methanol: begin everywhere as this"
    )
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--replicas", type=int, default=6)
    parser.add_argument("--equilibrate", type=float, default=2.0, help="ps")
    parser.add_argument("--duration", type=float, default=8.0, help="ps of each replica and round")
    parser.add_argument("--final", type=float, default=24.0, help="ps of each replica in the end")
    parser.add_argument("--time-step", type=float, default=0.02, help="ps")
    return parser.parse_args()


def radial_for(liquids: Sequence[Liquid], functions: int) -> Radial:
    """Return the functions: the published eight of argon, or those that g suggests."""
    if functions == len(EIGHT.eta) and liquids[0].name == "argon":
        return EIGHT
    mean = np.mean([one.g for one in liquids], axis=0)
    return radial_of(mean, liquids[0].r, functions=functions, cutoff=CUTOFF)


def made(
    asked: argparse.Namespace,
    liquids: Sequence[Liquid],
    known: Sequence[Known],
    sampling: Sampling,
    cell: str,
    seed: int,
) -> dict[str, object]:
    """Train one network and return its row."""
    functions, hidden = int(cell.split(":")[0]), [int(width) for width in cell.split(":")[1].split("-") if width]
    start = time.process_time()
    model = model_of(liquids, radial=radial_for(liquids, functions), hidden=hidden, told=[{}] * len(liquids), seed=seed)
    fitted = pretrain(model, known, seed=seed)
    points = [one.point(asked.replicas, np.full(len(one.g), 0.01), {}) for one in liquids]
    rounds = Training(asked.rounds, 3, 0.3, 1e-4, method="frames")
    first = None
    for row in train_structure(model, points, sampling=sampling, training=rounds, seed=seed):
        sse = float(np.mean(np.array(row.rmsd) ** 2 * len(liquids[0].g)))
        first = sse if first is None else first
        if row.step == 0:
            print(
                f"{cell:12s} seed {seed} round {row.round}: {sse:.4f}, {time.process_time() - start:.0f} s", flush=True
            )
    trained = time.process_time()
    last = Sampling(asked.time_step, 1.0, 4.0, asked.final, sampling.every, 1)
    found = [judged(model, one, sampling=last, replicas=asked.replicas, inputs={}, seed=seed + 1000) for one in liquids]
    steps = len(liquids) * asked.replicas * round((asked.final + 4.0) / asked.time_step)
    errors = [one.error for one in found]
    return {
        "system": "methanol" if len(liquids) > 1 else liquids[0].name,
        "functions": functions,
        "hidden": "-".join(map(str, hidden)),
        "seed": seed,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "fitted": round(fitted, 4),
        "begun": round(first or 0.0, 4),
        "sse": round(float(np.mean([one.sse for one in found])), 4),
        "error": round(float(np.hypot.reduce(errors)) / len(errors), 4),
        "noise": round(float(np.mean([one.noise for one in found])), 4),
        "each": " ".join(f"{one.sse:.4f}" for one in found),
        "seconds": round(trained - start, 1),
        "steps_per_second": round(steps / (time.process_time() - trained)),
        "rounds": asked.rounds,
        "frames": sum(one.frames for one in found),
    }


def main() -> None:
    """Add the rows that are missing."""
    asked = parsed()
    torch.set_num_threads(1)
    published = (asked.folder / "rdf-mean-p6.dat").is_file()
    liquids = [argon(asked.folder)] if published else [methanol(asked.folder, percent) for percent in TRAINED]
    sampling = Sampling(asked.time_step, 1.0, asked.equilibrate, asked.duration, 0.4, 1)
    rows = list(csv.DictReader(asked.out.open())) if asked.out.is_file() else []
    name = liquids[0].name if published else "methanol"
    there = {(row["system"], f"{row['functions']}:{row['hidden']}", int(row["seed"])) for row in rows}
    for seed in asked.seeds:
        missing = [cell for cell in asked.cells if (name, cell, seed) not in there]
        if missing:
            known = begun_all(
                liquids,
                one=None if published else TRAINED.index(asked.one),
                cutoff=CUTOFF,
                iterations=asked.inversions,
                sampling=sampling,
                replicas=asked.replicas,
                seed=seed,
            )
        for cell in missing:
            row = made(asked, liquids, known, sampling, cell, seed)
            with asked.out.open("a", newline="") as file:
                writer = csv.DictWriter(file, list(row), lineterminator="\n")
                if file.tell() == 0:
                    writer.writeheader()
                writer.writerow(row)
            print(row, flush=True)


if __name__ == "__main__":
    main()
