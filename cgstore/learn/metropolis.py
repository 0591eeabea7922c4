"""Sample tabulated pair potentials by Metropolis moves: no time step, no forces, an independent check of motion."""

import threading
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.box import volume
from cgstore.errors import InputError
from cgstore.frames import Frames
from cgstore.kernels.metropolis import sweep
from cgstore.kernels.verlet import wrap
from cgstore.learn.interactions import Interaction, PairModel
from cgstore.learn.replicas import run_all
from cgstore.learn.samples import empty, samples
from cgstore.learn.starts import begin, check_boxes
from cgstore.tables import Table
from cgstore.units import BAR, BOLTZMANN

__all__ = ["metropolis"]

Float = NDArray[np.float64]

_FIRST = 0.3  # of the mean distance of particles, the largest change of a coordinate at the beginning
_ROUND = 5  # sweeps between two looks at how many moves were kept
_FEWEST, _MOST = 0.4, 0.5  # of them
_CHANGE = 1.1
_OVERLAP = 1e4  # kT/nm, the largest force of a start


class _Plan(NamedTuple):
    """Numbers of sweeps."""

    equilibrate: int
    frames: int
    every: int
    thermal: float
    seed: int


def metropolis(
    tables: Mapping[str, Table],
    start: xr.Dataset | Frames,
    *,
    temperature: float,
    equilibrate: int,
    sweeps: int,
    every: int = 1,
    seed: int,
    types: Sequence[str] | NDArray[np.str_] | None = None,
    threads: int = 2,
) -> xr.Dataset:
    """Sample the canonical ensemble of a pair potential by moves of single particles, from each starting frame.

    Parameters
    ----------
    tables : potential of each pair of types, by its name "A-B", alphabetical
    start : frames to start from, one replica each; a dataset also says what the particles are
    temperature : K
    equilibrate, sweeps, every : sweeps left out, sweeps sampled, sweeps between the frames kept; in a sweep there are
        as many moves as particles
    seed : the same seed gives the same numbers, on any number of threads
    types : (particle,); those of the dataset by default
    threads : replicas that move at the same time

    Returns
    -------
    dataset as that of `cgstore.learn.sampler.sample` without velocities; `time` counts sweeps. Attribute `kept`, the
    part of the moves that were kept, 0.4 to 0.5 where the potential allows it: strides are tuned while the run
    equilibrates, and left alone then

    Raises
    ------
    InputError : bonds, no box, no table of a pair, numbers that are not positive
    PhysicsError : the cutoff is beyond half the box

    Examples
    --------
    >>> r = np.linspace(0.0, 0.9, 451)
    >>> ideal = Table(r, 0.0 * r, 0.0 * r)
    >>> frames = Frames(np.zeros((1, 5, 3), np.float32), np.zeros(1), np.zeros(1, int), box=2.0 * np.eye(3)[None])
    >>> gas = metropolis({"A-A": ideal}, frames, types=["A"] * 5, temperature=300.0, equilibrate=5, sweeps=20, seed=1)
    >>> gas.sizes["frame"], gas.attrs["kept"]
    (20, 1.0)
    """
    masses = None if isinstance(start, xr.Dataset) else np.ones(start.position.shape[1])
    frames, topology = begin(start, types, masses)
    if len(topology.bond):
        raise InputError(f"metropolis: found {len(topology.bond)} bonds; moves are of free particles, take `sample`")
    if not (temperature > 0.0 and equilibrate >= 0 and 0 < every <= sweeps):
        raise InputError(
            f"metropolis: found temperature {temperature} K, equilibrate {equilibrate}, sweeps {sweeps}, every {every}"
            "; expected positive numbers and every <= sweeps"
        )
    interaction = PairModel(tables).interaction(topology)
    check_boxes(frames.box, interaction.cutoff)
    plan = _Plan(equilibrate, sweeps // every, every, BOLTZMANN * temperature, seed)
    arrays = empty(len(frames), plan.frames, len(topology), velocities=False)
    kept = np.zeros(len(frames))

    def run(number: int, stop: threading.Event) -> None:
        part = {name: array[number] for name, array in arrays.items()}
        kept[number] = _run(interaction, frames, number, plan, part, stop)

    run_all(run, len(frames), threads)
    step = np.arange(1, plan.frames + 1) * every
    ds = samples(arrays, topology, time=step.astype(np.float64), step=equilibrate + step, title="Metropolis samples")
    return ds.assign_attrs(temperature=temperature, seed=seed, kept=float(kept.mean()))


def _run(
    interaction: Interaction,
    start: Frames,
    number: int,
    plan: _Plan,
    arrays: dict[str, NDArray],
    stop: threading.Event,
) -> float:
    """Equilibrate and sample one replica; return the part of moves that were kept."""
    assert start.box is not None
    assert interaction.pairs is not None
    position, box = start.position[number].astype(np.float64), start.box[number].astype(np.float64)
    if not np.isfinite(position).all():
        raise InputError(f"metropolis: starting frame {number} has positions that are not finite")
    interaction.relax(position, box, _OVERLAP * plan.thermal)
    key = np.uint64(np.random.SeedSequence([plan.seed, number]).generate_state(1, np.uint64)[0])
    particles, space = len(position), float(volume(box))
    stride, largest = _FIRST * (space / particles) ** (1 / 3), 0.5 * space ** (1 / 3)
    done = kept = 0
    while done < plan.equilibrate and not stop.is_set():
        some = min(_ROUND, plan.equilibrate - done)
        part = sweep(interaction.pairs, position, box, plan.thermal, stride, key, done, some) / (some * particles)
        stride = min(stride * (1.0 / _CHANGE if part < _FEWEST else _CHANGE if part > _MOST else 1.0), largest)
        done += some
    for frame in range(plan.frames):
        if stop.is_set():
            break
        kept += sweep(interaction.pairs, position, box, plan.thermal, stride, key, done, plan.every)
        done += plan.every
        wrap(position, box, np.linalg.inv(box))
        measured = interaction.measure(position, box)
        pressure = BAR * (particles * plan.thermal + np.diagonal(measured.virial)) / space
        arrays["position"][frame], arrays["box"][frame], arrays["energy"][frame] = position, box, measured.energy
        arrays["pressure"][frame], arrays["pressure_along"][frame] = pressure.mean(), pressure
    return kept / (plan.frames * plan.every * particles)
