"""Networks trained on the published argon of Ivanov, Posysoev & Lyubartsev 2023, doi:10.1021/acs.jctc.3c00516.

The data are not part of this project: they lie in the folder LJ-data of https://github.com/mikhail-a-ivanov/ML-IMC
(GPL-3). Give the folder of one temperature:

    python benchmarks/argon.py ML-IMC/LJ-data/95K

What must be known of them: frame 0 of the trajectory is the lattice; its times are all zero; the label of a bin is its
centre, so the first bin begins at 0.00125 nm. The sum of squared errors is over the 400 bins of the published file.
"""

import argparse
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from cgstore.averages.pair import rdf
from cgstore.learn.atomic import AtomicNetwork
from cgstore.learn.descriptors import Radial, radial_of, scaling_of
from cgstore.learn.drawing import StatePoint, measure
from cgstore.learn.inversion import invert
from cgstore.learn.potential import prior_of
from cgstore.learn.pretraining import pretrain
from cgstore.learn.sampler import sample
from cgstore.learn.settings import Sampling, Training
from cgstore.learn.structural import train_structure
from cgstore.readers.xtc import open_xtc
from cgstore.units import BOLTZMANN

MASS = 39.792  # u
# The published ones: doi:10.1021/acs.jctc.3c00516, of argon.
PUBLISHED = Radial(1.0, (12.5, *(400.0,) * 7), (0.0, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6))


def frames_of(folder: Path, chosen: np.ndarray) -> xr.Dataset:
    """Return frames of the reference as a dataset."""
    frames = open_xtc(next(folder.glob("*.xtc"))).read(chosen)
    particles = frames.position.shape[1]
    names = np.full(particles, "Ar")
    return xr.Dataset(
        {
            "position": (("frame", "particle", "xyz"), frames.position),
            "box": (("frame", "box_vector", "xyz"), frames.box),
        },
        {
            "time": ("frame", np.arange(len(chosen), dtype=np.float64)),
            "type": ("particle", names),
            "name": ("particle", names),
            "mass": ("particle", np.full(particles, MASS)),
        },
    )


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
    temperature = float(asked.folder.name.removesuffix("K"))
    r, g = 0.1 * np.loadtxt(asked.folder / "rdf-mean-p6.dat")[:, 0], np.loadtxt(asked.folder / "rdf-mean-p6.dat")[:, 1]
    width = round(float(r[1] - r[0]), 9)
    grid = {"width": width, "bins": len(r), "first": float(r[0]) - 0.5 * width}
    reference = frames_of(asked.folder, np.arange(1, 201))
    radial = radial_of(g, r, functions=asked.functions, cutoff=1.0) if asked.functions else PUBLISHED
    prior = {"Ar-Ar": prior_of(g, r, temperature)}
    blank = AtomicNetwork(["Ar"], radial=radial, priors=prior, hidden=())
    described, noisy = measure(blank, reference.isel(frame=slice(0, 200, 10)), **grid)
    scaling = scaling_of(described.descriptor, described.kind, 1)
    model = AtomicNetwork(["Ar"], radial=radial, priors=prior, hidden=asked.hidden, scaling=scaling, seed=asked.seed)
    sse = ((measure(blank, reference, **grid)[1].mean(0)[0] - g) ** 2).sum()
    print(f"{radial}\n{prior}\nnoise of 200 frames of the reference: SSE {sse:.4f}")
    sigma = np.hypot(noisy[:, 0].std(0) / 200**0.5, 0.005) if asked.loss == "chi2" else np.full(len(r), 0.01)
    start = reference.isel(frame=np.linspace(20, 199, asked.replicas).astype(int))
    point = StatePoint("argon", temperature, start, width, g[None], sigma[None], first=grid["first"])
    sampling = Sampling(0.02, 1.0, 4.0, asked.duration, 0.4, asked.threads)
    training = Training(asked.rounds, asked.steps, asked.effective, asked.damping, method=asked.method, rate=3e-3)
    begin, cpu = time.perf_counter(), time.process_time()
    if asked.inversions >= 0:
        inversion = Sampling(0.02, 1.0, 4.0, 0.5 * asked.duration, 0.4, asked.threads)
        tables, history = invert(
            rdf(reference, r_max=1.0, bin_width=0.005).compute(),
            start,
            temperature=temperature,
            iterations=asked.inversions,
            sampling=inversion,
            seed=asked.seed,
        )
        error = pretrain(model, reference.isel(frame=[20, 80, 140]), tables, thermal=BOLTZMANN * temperature)
        print(
            f"inversion: rmsd {history['rmsd'].values.ravel().round(4).tolist()}; network fitted to {error:.3f} kJ/mol;"
            f" {time.perf_counter() - begin:.0f} s, of processor {time.process_time() - cpu:.0f} s"
        )
    for row in train_structure(model, [point], sampling=sampling, training=training, seed=asked.seed):
        print(
            f"round {row.round} step {row.step} loss {row.loss[0]:9.4f} SSE {row.rmsd[0] ** 2 * len(r):8.4f} "
            f"effective {row.effective[0]:.2f} {row.seconds:7.1f} s, of processor {time.process_time() - cpu:7.1f} s",
            flush=True,
        )
    trained = time.perf_counter() - begin, time.process_time() - cpu
    final = replace(sampling, duration=asked.final, equilibrate=10.0, time_step=0.01)
    found = sample(model, start, temperature=temperature, seed=asked.seed + 1000, **asdict(final))
    each = measure(blank, found, **grid)[1][:, 0].reshape(asked.replicas, -1, len(r)).mean(1)
    error = each.std(0, ddof=1) / asked.replicas**0.5
    total = ((each.mean(0) - g) ** 2).sum()
    print(
        f"SSE {total:.4f} of {found.sizes['frame']} frames, of which noise about {(error**2).sum():.4f}; "
        f"first peak {each.mean(0).max():.3f} against {g.max():.3f}; "
        f"training {trained[0]:.0f} s, of processor {trained[1]:.0f} s"
    )
    if asked.out:
        np.savez(
            asked.out,
            r=r,
            reference=g,
            model=each.mean(0),
            error=error,
            **{k: v.numpy() for k, v in model.state_dict().items()},
        )


if __name__ == "__main__":
    main()
