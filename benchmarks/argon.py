"""Networks trained on the published argon of Ivanov, Posysoev & Lyubartsev 2023, doi:10.1021/acs.jctc.3c00516.

The data are not part of this project: they lie in the folder LJ-data of https://github.com/mikhail-a-ivanov/ML-IMC
(GPL-3). Give the folder of one temperature:

    python benchmarks/argon.py ML-IMC/LJ-data/95K

What must be known of them: frame 0 of the trajectory is the lattice; its times are all zero; the label of a bin is its
centre, so the first bin begins at 0.00125 nm. The sum of squared errors is over the 400 bins of the published file.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from _liquids import EIGHT, argon, begun, judged, model_of

from cgstore.learn.descriptors import radial_of
from cgstore.learn.pretraining import pretrain
from cgstore.learn.settings import Sampling, Training
from cgstore.learn.structural import train_structure


def parsed() -> argparse.Namespace:
    """Return what the user wants."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--functions", type=int, default=0, help="chosen from g; without it the published eight")
    parser.add_argument("--hidden", type=int, nargs="*", default=[20, 20])
    parser.add_argument("--loss", choices=("chi2", "sse"), default="sse")
    parser.add_argument("--method", choices=("frames", "newton", "adam"), default="frames")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--replicas", type=int, default=8)
    parser.add_argument("--duration", type=float, default=20.0, help="ps of each replica and round")
    parser.add_argument("--final", type=float, default=100.0, help="ps of each replica in the end")
    parser.add_argument("--damping", type=float, default=1e-3)
    parser.add_argument("--effective", type=float, default=0.3)
    parser.add_argument("--inversions", type=int, default=3, help="iterations of IBI to begin with; -1: from nothing")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def main() -> None:
    """Train, sample at length, and say how far the published distribution is."""
    asked = parsed()
    torch.set_num_threads(asked.threads)
    liquid = argon(asked.folder)
    frames = liquid.measured(liquid.frames)
    print(f"noise of 200 frames of the reference: SSE {((frames.mean(0) - liquid.g) ** 2).sum():.4f}")
    radial = radial_of(liquid.g, liquid.r, functions=asked.functions, cutoff=1.0) if asked.functions else EIGHT
    model = model_of([liquid], radial=radial, hidden=asked.hidden, told=[{}], seed=asked.seed)
    print(f"{radial}\n{model.priors}")
    sigma = np.full(len(liquid.g), 0.01)
    if asked.loss == "chi2":
        sigma = np.hypot(frames.std(0) / len(frames) ** 0.5, 0.005)
    sampling = Sampling(0.02, 1.0, 4.0, asked.duration, 0.4, asked.threads)
    begin, cpu = time.perf_counter(), time.process_time()
    if asked.inversions >= 0:
        inversion = Sampling(0.02, 1.0, 4.0, 0.5 * asked.duration, 0.4, asked.threads)
        known, rmsd = begun(
            liquid,
            cutoff=1.0,
            iterations=asked.inversions,
            sampling=inversion,
            replicas=asked.replicas,
            seed=asked.seed,
        )
        error = pretrain(model, [known])
        print(
            f"inversion: rmsd {rmsd.round(4).tolist()}; network fitted to {error:.3f} kJ/mol;"
            f" {time.perf_counter() - begin:.0f} s, of processor {time.process_time() - cpu:.0f} s"
        )
    training = Training(asked.rounds, asked.steps, asked.effective, asked.damping, method=asked.method, rate=3e-3)
    point = liquid.point(asked.replicas, sigma, {})
    for row in train_structure(model, [point], sampling=sampling, training=training, seed=asked.seed):
        print(
            f"round {row.round} step {row.step} loss {row.loss[0]:9.4f} SSE {row.rmsd[0] ** 2 * len(sigma):8.4f} "
            f"effective {row.effective[0]:.2f} {row.seconds:7.1f} s, of processor {time.process_time() - cpu:7.1f} s",
            flush=True,
        )
    trained = time.perf_counter() - begin, time.process_time() - cpu
    found = judged(
        model,
        liquid,
        sampling=Sampling(0.01, 1.0, 10.0, asked.final, 0.4, asked.threads),
        replicas=asked.replicas,
        inputs={},
        seed=asked.seed + 1000,
    )
    print(
        f"SSE {found.sse:.4f} ± {found.error:.4f} of {found.frames} frames, of which noise about {found.noise:.4f}; "
        f"first peak {found.g.max():.3f} against {liquid.g.max():.3f}; "
        f"training {trained[0]:.0f} s, of processor {trained[1]:.0f} s"
    )
    if asked.out:
        state = {name: value.numpy() for name, value in model.state_dict().items()}
        np.savez(asked.out, r=liquid.r, reference=liquid.g, model=found.g, error=found.scatter, **state)


if __name__ == "__main__":
    main()
