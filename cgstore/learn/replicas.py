"""Replicas that move at the same time: each is relaxed, equilibrated and sampled from a starting frame of its own."""

import math
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cgstore.box import heights, volume
from cgstore.errors import InputError, PhysicsError
from cgstore.frames import Frames
from cgstore.kernels import langevin
from cgstore.learn.barostat import Barostat, Strides, attempt
from cgstore.learn.interactions import Interaction
from cgstore.learn.thermostat import rescaling, without_momentum
from cgstore.units import BAR

__all__ = ["Motion", "Plan", "run_all", "run_replica"]

Float = NDArray[np.float64]
Arrays = dict[str, NDArray]

_SKIN = 0.1  # nm, fastest for liquids of small molecules; flat between 0.08 and 0.12
_WIDE = 0.5  # nm, of the list of a list: a quarter more steps per second for a bilayer of 640 beads
_MANY = 400  # beads that make it worth while
_CHUNK = 1000  # steps between looks at whether to stop
_OFTEN = 0.1  # of the time constant of a coupling: time between two rescalings
_ATTEMPTS = 20  # steps between changes of volume


@dataclass(frozen=True, slots=True)
class Plan:
    """How many steps, and which of them are frames."""

    equilibration: int
    frames: int
    between: int


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """What all replicas share: the potential for the kernels, and how to move."""

    interaction: Interaction
    mass: Float  # (particle,)
    time_step: float
    friction: float
    thermal: float
    seed: int
    coupling: float | None
    barostat: Barostat | None


@dataclass(slots=True, eq=False)
class _Replica:
    """Where one replica is; arrays change in place."""

    number: int
    position: Float  # (particle, xyz)
    velocity: Float  # (particle, xyz)
    box: Float  # (box_vector, xyz)
    key: np.uint64
    heat: np.random.Generator  # of the coupling
    space: np.random.Generator  # of the barostat
    strides: Strides = field(default_factory=Strides)
    done: int = 0  # steps


def run_all(run: Callable[[int, threading.Event], None], replicas: int, threads: int) -> None:
    """Run all replicas, several at a time; the first that fails, or Ctrl-C, stops the others."""
    stop = threading.Event()
    with ThreadPoolExecutor(max(threads, 1)) as pool:
        try:
            jobs = [pool.submit(run, replica, stop) for replica in range(replicas)]
            for job in jobs:
                job.result()
        finally:
            stop.set()


def run_replica(motion: Motion, start: Frames, number: int, plan: Plan, arrays: Arrays, stop: threading.Event) -> None:
    """Relax, equilibrate and sample one replica into its part of the arrays (replica, frame, …).

    Raises
    ------
    InputError : a position is not finite
    PhysicsError : the motion explodes, or the box shrinks below twice the cutoff
    """
    replica = _begin(motion, start, number)
    while replica.done < plan.equilibration:
        _move(motion, replica, min(_CHUNK, plan.equilibration - replica.done), tune=True)
        if stop.is_set():
            return
    for frame in range(plan.frames):
        _move(motion, replica, plan.between, tune=False)
        if stop.is_set():
            return
        _record(motion, replica, {name: array[number, frame, ...] for name, array in arrays.items()})


def _begin(motion: Motion, start: Frames, number: int) -> _Replica:
    """Return a replica without overlaps, with velocities."""
    assert start.box is not None
    position, box = start.position[number].astype(np.float64), start.box[number].astype(np.float64)
    if not np.isfinite(position).all():
        raise InputError(f"sample: starting frame {number} has positions that are not finite")
    draws, bits, heat, space = np.random.SeedSequence([motion.seed, number]).spawn(4)
    normal = np.random.Generator(np.random.Philox(draws)).standard_normal(position.shape)
    velocity = normal * np.sqrt(motion.thermal / motion.mass)[:, None]
    key = np.uint64(bits.generate_state(1, np.uint64)[0])
    largest = 3.0 * math.sqrt(motion.thermal * float(motion.mass.min())) / motion.time_step
    motion.interaction.relax(position, box, largest)
    if motion.coupling is not None:
        velocity = without_momentum(velocity, motion.mass)
    other = [np.random.Generator(np.random.Philox(seed)) for seed in (heat, space)]
    return _Replica(number, position, velocity, box, key, heat=other[0], space=other[1])


def _record(motion: Motion, replica: _Replica, frame: Arrays) -> None:
    """Write the frame."""
    measured = motion.interaction.measure(replica.position, replica.box)
    twice = motion.mass @ replica.velocity**2  # (xyz,)
    # With friction the mean of the kinetic part is known, and its fluctuations would be noise.
    moved = np.full(3, len(replica.position) * motion.thermal) if motion.friction > 0.0 else twice
    pressure = BAR * (moved + np.diagonal(measured.virial)) / float(volume(replica.box))
    found = {"position": replica.position, "velocity": replica.velocity, "box": replica.box}
    found |= {"energy": np.asarray(measured.energy), "kinetic_energy": 0.5 * twice.sum()}
    found |= {"pressure": pressure.mean(), "pressure_along": pressure}
    for name, array in frame.items():
        array[...] = found[name]


def _kinetic(motion: Motion, velocity: Float) -> float:
    """Return the kinetic energy."""
    return 0.5 * float(motion.mass @ (velocity**2).sum(axis=1))


def _move(motion: Motion, replica: _Replica, steps: int, *, tune: bool) -> None:
    """Do some steps in place, with rescaled velocities and changes of volume between them where there are any."""
    stretch = steps
    if motion.coupling is not None:
        stretch = min(stretch, max(round(_OFTEN * motion.coupling / motion.time_step), 1))
    if motion.barostat is not None:
        stretch = min(stretch, _ATTEMPTS)
    freedom = 3 * len(replica.position) - 3
    for first in range(0, steps, stretch):
        part = min(stretch, steps - first)
        _advance(motion, replica, part)
        if motion.coupling is not None:
            passed, kinetic = part * motion.time_step / motion.coupling, _kinetic(motion, replica.velocity)
            replica.velocity *= rescaling(
                kinetic, thermal=motion.thermal, freedom=freedom, passed=passed, random=replica.heat
            )
        if motion.barostat is not None:
            attempt(motion.barostat, replica.position, replica.box, replica.strides, replica.space, tune=tune)


def _advance(motion: Motion, replica: _Replica, steps: int) -> None:
    """Do some steps in place."""
    interaction = motion.interaction
    room = 0.99 * (float(heights(replica.box).min()) - interaction.cutoff)
    wide = min(_WIDE, room) if len(motion.mass) >= _MANY else 0.0
    last = langevin.advance(
        interaction.arrays,
        interaction.cutoff,
        interaction.exclusions,
        replica.position,
        replica.velocity,
        replica.box,
        motion.mass,
        min(_SKIN, room),
        motion.time_step,
        motion.friction,
        motion.thermal,
        replica.key,
        replica.done,
        steps,
        langevin.NORMAL,
        wide,
    )
    if last < 0:
        raise PhysicsError(
            f"sample: replica {replica.number} exploded in step {replica.done - last}: a particle moved more than "
            "twenty times as far as its thermal velocity allows; use a time step below "
            f"{motion.time_step:g} ps, or look at the tables near r = 0 and for steps"
        )
    replica.done += steps
