"""One network for methanol in implicit water at ten compositions, trained at four and asked about all.

The data of Ivanov, Posysoev & Lyubartsev 2023, doi:10.1021/acs.jctc.3c00516, are not part of this project: they lie in
configs/methanol-data of https://github.com/mikhail-a-ivanov/ML-IMC (GPL-3). Give that folder:

    python benchmarks/methanol.py ML-IMC/configs/methanol-data --out methanol.npz

One site per methanol, 512 of them, 298.15 K; 300 bins of 0.005 nm from zero, normalised by N(N - 1)/2 pairs and the
volume of each frame. Trained on 100, 60, 40 and 10 % of methanol; 20, 30, 50, 70, 80 and 90 % are held out: nothing of
them is read before the training has ended. Settings are chosen without them, too: by the trained ones, or by one of
these that gives no gradient (`--train 100 60 10 --watch 40`). The file keeps the best network so far, or with
`--average` the mean of the last rounds, each of which was fitted to the noise of its frames; `--judge` only asks that.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from _liquids import HELD_OUT, TRAINED, Liquid, begun_all, judged, methanol, model_of

from cgstore.learn.atomic import AtomicNetwork
from cgstore.learn.atomic_files import network_arrays, read_network
from cgstore.learn.descriptors import radial_of
from cgstore.learn.moves import set_parameters
from cgstore.learn.pretraining import pretrain
from cgstore.learn.settings import Sampling, Training
from cgstore.learn.structural import Place, train_structure


def parsed() -> argparse.Namespace:
    """Return what the user wants."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="the network, as npz")
    parser.add_argument("--judge", action="store_true", help="do not train; ask the network of --out")
    parser.add_argument("--functions", type=int, default=12)
    parser.add_argument("--cutoff", type=float, default=1.0, help="nm")
    parser.add_argument("--hidden", type=int, nargs="*", default=[20, 20])
    parser.add_argument("--tell", action="store_true", help="tell the network the number density of the system")
    parser.add_argument("--inversions", type=int, default=3, help="iterations of IBI to begin with")
    parser.add_argument("--one", type=int, choices=TRAINED, help="%%, begin everywhere as the potential of this one")
    parser.add_argument("--begin", type=Path, help="npz of a network to go on from, in place of iterations of IBI")
    parser.add_argument("--train", type=int, nargs="*", choices=TRAINED, default=list(TRAINED), help="%% to learn from")
    parser.add_argument(
        "--watch", type=int, nargs="*", choices=TRAINED, default=[], help="%% that choose the best round"
    )
    parser.add_argument("--patience", type=int, default=0, help="rounds without a better one of --watch, then it ends")
    parser.add_argument("--rounds", type=int, default=14)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--average", type=int, default=0, help="keep the mean of the last rounds, not the best one")
    parser.add_argument("--replicas", type=int, default=4)
    parser.add_argument("--equilibrate", type=float, default=1.0, help="ps left out in each round")
    parser.add_argument("--duration", type=float, default=6.0, help="ps of each replica and round")
    parser.add_argument("--every", type=float, default=0.3, help="ps between frames")
    parser.add_argument("--time-step", type=float, default=0.01, help="ps")
    parser.add_argument("--damping", type=float, default=1e-4)
    parser.add_argument("--effective", type=float, default=0.3)
    parser.add_argument("--final", type=float, default=30.0, help="ps of each replica in the end")
    parser.add_argument("--final-replicas", type=int, default=6)
    parser.add_argument("--ask", type=int, nargs="*", default=[*TRAINED, *HELD_OUT], help="%% to sample in the end")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def told_of(names: Sequence[str], liquid: Liquid) -> dict[str, float]:
    """Return what the network is told of a system."""
    return {name: float(getattr(liquid, name)) for name in names}


def begin(asked: argparse.Namespace, liquids: Sequence[Liquid], sampling: Sampling) -> AtomicNetwork:
    """Return the network as pair potentials, of the liquids that it is trained on."""
    mean = np.mean([one.g for one in liquids], axis=0)
    radial = radial_of(mean, liquids[0].r, functions=asked.functions, cutoff=asked.cutoff)
    told = [told_of(["density"] if asked.tell else [], liquid) for liquid in liquids]
    model = model_of(liquids, radial=radial, hidden=asked.hidden, told=told, seed=asked.seed)
    known = begun_all(
        liquids,
        one=asked.train.index(asked.one) if asked.one else None,
        cutoff=asked.cutoff,
        iterations=asked.inversions,
        sampling=sampling,
        replicas=asked.replicas,
        seed=asked.seed,
    )
    error = pretrain(
        model, [replace(one, inputs=inputs) for one, inputs in zip(known, told, strict=True)], seed=asked.seed
    )
    print(f"network fitted to {error:.3f} kJ/mol; {time.process_time():.0f} s", flush=True)
    return model


def trained(asked: argparse.Namespace) -> None:
    """Train on some compositions and keep the network."""
    liquids = [methanol(asked.folder, percent) for percent in asked.train]
    watched = [methanol(asked.folder, percent) for percent in asked.watch]
    sampling = Sampling(asked.time_step, 1.0, asked.equilibrate, asked.duration, asked.every, asked.threads)
    model = read_network(asked.begin) if asked.begin else begin(asked, liquids, sampling)
    np.savez(asked.out, **network_arrays(model))
    sigma = np.full(len(liquids[0].g), 0.01)
    points = [one.point(asked.replicas, sigma, told_of(list(model.told), one)) for one in [*liquids, *watched]]

    met: list[Sequence[torch.Tensor]] = []

    def on_round(place: Place) -> None:
        """Keep the best network so far, and remember what each round began with."""
        met.append(place.parameters)
        best = {name: value.numpy() for (name, _), value in zip(model.named_parameters(), place.best, strict=True)}
        np.savez(asked.out, **network_arrays(model) | best)

    rows = train_structure(
        model,
        points[: len(liquids)],
        watched=points[len(liquids) :],
        sampling=sampling,
        training=Training(
            asked.rounds, asked.steps, asked.effective, asked.damping, method="frames", patience=asked.patience
        ),
        seed=asked.seed,
        on_round=on_round,
    )
    for row in rows:
        sse = np.array(row.rmsd) ** 2 * len(sigma)
        print(
            f"round {row.round} step {row.step} SSE {sse.round(3).tolist()} mean of the trained "
            f"{sse[: len(liquids)].mean():.4f} effective {np.round(row.effective, 2).tolist()} "
            f"{'best ' if row.best else ''}{time.process_time():.0f} s",
            flush=True,
        )
    if asked.average:
        last = met[:-1][-asked.average :]  # the last call comes after the last round, which moves nothing
        set_parameters(list(model.parameters()), [torch.stack(each).mean(0) for each in zip(*last, strict=True)])
    np.savez(asked.out, **network_arrays(model))


def judge(asked: argparse.Namespace, name: str, percents: Sequence[int]) -> None:
    """Sample compositions with the network that was kept, and say how far the published distributions are."""
    model = read_network(asked.out)
    sampling = Sampling(asked.time_step, 1.0, 5.0, asked.final, asked.every, asked.threads)
    found = []
    for percent in percents:
        liquid = methanol(asked.folder, percent)
        verdict = judged(
            model,
            liquid,
            sampling=sampling,
            replicas=asked.final_replicas,
            inputs=told_of(list(model.told), liquid),
            seed=asked.seed + 1000 + percent,
        )
        floor = float(((liquid.measured(liquid.frames).mean(0) - liquid.g) ** 2).sum())
        found.append((verdict.sse, verdict.error, verdict.noise, floor))
        print(
            f"{name:8s} {liquid.name:5s} SSE {verdict.sse:.4f} ± {verdict.error:.4f}, noise of the samples "
            f"{verdict.noise:.4f}, of 201 frames of the reference {floor:.4f}; highest peak {verdict.g.max():.3f} "
            f"against {liquid.g.max():.3f}; {verdict.frames} frames, {time.process_time():.0f} s",
            flush=True,
        )
    sse, error, noise, floor = np.array(found).T
    print(
        f"{name}: mean SSE {sse.mean():.4f} ± {float(np.hypot.reduce(error)) / len(error):.4f}, noise of the samples "
        f"{noise.mean():.4f}, of the references {floor.mean():.4f}",
        flush=True,
    )


def main() -> None:
    """Train, then sample all compositions."""
    asked = parsed()
    torch.set_num_threads(asked.threads)
    if not asked.judge:
        trained(asked)
    for name, percents in (("trained", TRAINED), ("held out", HELD_OUT)):
        if wanted := [percent for percent in percents if percent in asked.ask]:
            judge(asked, name, wanted)


if __name__ == "__main__":
    main()
