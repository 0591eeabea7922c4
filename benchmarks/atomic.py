"""Steps of networks of atoms per second: the fused kernel, and torch beside it.

    python benchmarks/atomic.py

512 particles at the density of liquid argon; time of the processor, so that others on the machine count less.
"""

import time

import numpy as np
import torch

from cgstore.kernels import langevin
from cgstore.kernels.verlet import NOTHING_EXCLUDED
from cgstore.learn.angular import Angular
from cgstore.learn.atomic import AtomicNetwork
from cgstore.learn.descriptors import Radial
from cgstore.learn.potential import Prior

PARTICLES, DENSITY = 512, 20.72  # nm⁻³
RADIAL = ((8, (20, 20), 1.0), (8, (20, 20, 20), 1.0), (24, (40, 40, 40), 1.0), (8, (20, 20, 20), 1.4))
NARROW, WIDE = Radial(0.55, (0.0,), (0.0,)), Radial(0.55, (0.0, 50.0), (0.0, 0.35))
ANGULAR = (Angular(NARROW, (1, 2)), Angular(WIDE, (1, 2)), Angular(WIDE, (1, 2, 4)))
CASES = (*((*case, None) for case in RADIAL), *((*RADIAL[0], angular) for angular in ANGULAR))
STEPS = 200


def network(functions: int, hidden: tuple[int, ...], cutoff: float, angular: Angular | None) -> AtomicNetwork:
    """Return a network that hardly disturbs its prior."""
    shift = np.linspace(0.3, 0.9 * cutoff, functions)
    radial = Radial(cutoff, (200.0,) * functions, tuple(shift.tolist()))
    priors = {"A-A": Prior(0.315, 3.3, 12.0)}
    return AtomicNetwork("A", radial=radial, angular=angular, priors=priors, hidden=hidden)


def main() -> None:
    """Print a row per network."""
    torch.set_num_threads(1)
    edge = (PARTICLES / DENSITY) ** (1 / 3)
    grid = np.stack(np.meshgrid(*[np.arange(8)] * 3), -1).reshape(-1, 3)
    place = (grid + 0.5 + 0.05 * np.random.default_rng(1).normal(size=grid.shape)) / 8 * edge
    mass, box, types = np.full(PARTICLES, 39.948), edge * np.eye(3), ["A"] * PARTICLES
    print("functions  angular  layers            cutoff/nm   steps/s   torch: forces/s   ratio")
    for functions, hidden, cutoff, angular in CASES:
        model = network(functions, hidden, cutoff, angular)
        arrays = model._arrays(model._kinds(types), model._told({}))
        position, velocity = place.copy(), np.zeros_like(place)
        times = []
        for repeat in range(4):
            begin = time.process_time()
            langevin.advance(
                arrays, cutoff, NOTHING_EXCLUDED, position, velocity, box, mass, 0.1, 0.01, 1.0, 0.79, np.uint64(1),
                repeat * STEPS, STEPS, langevin.NORMAL,
            )  # fmt: skip
            times.append((time.process_time() - begin) / STEPS)
        slow = []
        for _ in range(2):
            begin = time.process_time()
            x = torch.tensor(position, requires_grad=True)
            torch.autograd.grad(model.energy_at(x, torch.tensor(box), types), x)
            slow.append(time.process_time() - begin)
        fast, angles = min(times[1:]), 0 if angular is None else angular.count(1)
        print(
            f"{functions:9d}  {angles:7d}  {hidden!s:16s}  {cutoff:9g}  {1 / fast:8.0f}  {1 / min(slow):15.1f}  "
            f"{min(slow) / fast:6.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
