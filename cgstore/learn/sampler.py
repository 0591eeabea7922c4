"""Sample tabulated pair potentials: many replicas of Langevin or Newton's motion, returned as a dataset.

Each starting frame is a replica in its own box. Starts with overlaps are first moved along their forces until no force
can give more than three thermal velocities in a step; starts without overlaps keep their places.
"""

import math
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.box import heights
from cgstore.errors import InputError, PhysicsError
from cgstore.frames import Frames
from cgstore.kernels import langevin
from cgstore.learn.interactions import Interaction, Model, PairModel
from cgstore.learn.kernel_tables import pair_name
from cgstore.learn.thermostat import rescaling, without_momentum
from cgstore.schema import SCHEMA, check_dataset, topology_of
from cgstore.tables import Table
from cgstore.topology import Topology
from cgstore.units import BOLTZMANN

__all__ = ["pair_name", "sample", "starting_frames"]

Float = NDArray[np.float64]

_SKIN = 0.1  # nm, fastest for liquids of small molecules; flat between 0.08 and 0.12
_CHUNK = 1000  # steps between looks at whether to stop
_OFTEN = 0.1  # of the time constant of a coupling: time between two rescalings
_MEANING = {
    "energy": ("potential energy", "kJ/mol"),
    "kinetic_energy": ("kinetic energy", "kJ/mol"),
    "replica": ("number of the replica, which is its starting frame", "1"),
}


@dataclass(frozen=True, slots=True, eq=False)
class _Motion:
    """What all replicas share: the potential as the kernel wants it, and how to move."""

    interaction: Interaction
    mass: Float  # (particle,)
    time_step: float
    friction: float
    thermal: float
    seed: int
    coupling: float | None


def starting_frames(ds: xr.Dataset, replicas: int) -> xr.Dataset:
    """Return evenly spaced frames in the mean shape of the box: starts of replicas at the mean density.

    Parameters
    ----------
    ds : dataset with positions and boxes
    replicas : how many; at most the frames of the dataset

    Raises
    ------
    InputError : too few frames
    """
    check_dataset(ds, needs=("position", "box"))
    if not 1 <= replicas <= ds.sizes["frame"]:
        raise InputError(f"starting_frames: found replicas = {replicas}, expected 1 to {ds.sizes['frame']} frames")
    chosen = ds.isel(frame=((np.arange(replicas) + 0.5) * ds.sizes["frame"] / replicas).astype(int)).load()
    mean = ds["box"].astype(np.float64).mean("frame").values
    strain = np.linalg.inv(chosen["box"].values.astype(np.float64)) @ mean
    position = chosen["position"].values.astype(np.float64) @ strain
    return chosen.assign(
        position=chosen["position"].copy(data=position.astype(np.float32)),
        box=chosen["box"].copy(data=np.broadcast_to(mean, strain.shape).astype(np.float32)),
    )


def sample(
    tables: Mapping[str, Table] | Model,
    start: xr.Dataset | Frames,
    *,
    temperature: float,
    equilibrate: float,
    duration: float,
    every: float,
    seed: int,
    types: Sequence[str] | NDArray[np.str_] | None = None,
    masses: Sequence[float] | Float | None = None,
    time_step: float = 0.005,
    friction: float = 1.0,
    coupling: float | None = None,
    threads: int = 2,
) -> xr.Dataset:
    """Sample the canonical ensemble of a pair potential: Langevin motion from each starting frame.

    Parameters
    ----------
    tables : potential of each pair of types, by its name "A-B", alphabetical; or any other model
    start : frames to start from, one replica each; a dataset also says what the particles are
    temperature : K
    equilibrate, duration, every : ps; time left out, time sampled, time between the frames kept
    seed : the same seed gives the same numbers, on any number of threads; a longer run begins with the shorter
    types, masses : (particle,) and u; those of the dataset by default
    time_step, friction : ps, 1/ps; without friction the energy is constant
    coupling : ps, with friction = 0: the kinetic energy as a whole is coupled to the temperature, with this time
        constant; momentum is conserved, and diffusion is that of the model
    threads : replicas that move at the same time

    Returns
    -------
    dataset with the frames of replica 0, then 1, …; positions wrapped into the box; velocities; the potential
    `energy (frame)` and `kinetic_energy (frame)` in kJ/mol; coordinate `replica (frame)`; `time` from the end of
    equilibration

    Raises
    ------
    InputError : bonds, no box, no table of a pair, times that are not positive
    PhysicsError : the cutoff is beyond half the box, or the motion explodes

    Notes
    -----
    BAOAB splitting, Leimkuhler & Matthews 2013, doi:10.1063/1.4802990. Friction does not conserve momentum: no
    diffusion coefficients with it. With a coupling see `cgstore.learn.thermostat`.

    Examples
    --------
    >>> r = np.linspace(0.0, 0.9, 451)
    >>> ideal = Table(r, 0.0 * r, 0.0 * r)
    >>> boxes = np.array([2.0 * np.eye(3)] * 2, np.float32)
    >>> frames = Frames(np.zeros((2, 5, 3), np.float32), np.zeros(2), np.zeros(2, int), box=boxes)
    >>> gas = sample({"A-A": ideal}, frames, types=["A"] * 5, masses=[18.0] * 5, temperature=300.0,
    ...              equilibrate=0.1, duration=1.0, every=0.1, seed=1)
    >>> dict(gas.sizes) == {"frame": 20, "particle": 5, "xyz": 3, "box_vector": 3}
    True
    """
    frames, topology = _begin(start, types, masses)
    assert frames.box is not None
    steps = _steps(time_step=time_step, equilibrate=equilibrate, duration=duration, every=every)
    if not (temperature > 0.0 and friction >= 0.0):
        raise InputError(f"sample: found temperature {temperature} K, friction {friction} 1/ps, expected > 0 and >= 0")
    if coupling is not None and not (coupling > 0.0 and friction == 0.0):
        raise InputError(f"sample: found coupling {coupling} ps, friction {friction} 1/ps, expected > 0 and friction 0")
    model = PairModel(tables) if isinstance(tables, Mapping) else tables
    interaction = model.interaction(topology)
    _check_boxes(frames.box, interaction.cutoff)
    motion = _Motion(interaction, topology.mass, time_step, friction, BOLTZMANN * temperature, seed, coupling)
    arrays = _empty(len(frames), steps[1], len(topology))
    _run_all(motion, frames, steps, arrays, threads)
    parameters = {"temperature": temperature, "time_step": time_step, "friction": friction, "seed": seed}
    parameters |= {} if coupling is None else {"coupling": coupling}
    return _dataset(arrays, frames.box, topology, steps, time_step).assign_attrs(parameters)


def _begin(
    start: xr.Dataset | Frames, types: Sequence[str] | NDArray[np.str_] | None, masses: Sequence[float] | Float | None
) -> tuple[Frames, Topology]:
    """Return the starting frames and what the particles are; refuse bonds and infinite space."""
    if isinstance(start, Frames):
        frames = start
        names = np.full(frames.position.shape[1], "X")
        nothing = xr.Dataset({"position": (("frame", "particle", "xyz"), frames.position)})
        topology = topology_of(nothing.assign_coords(name=("particle", names), type=("particle", names)))
        if types is None or masses is None:
            raise InputError("sample: frames do not say what the particles are; give types and masses, or a dataset")
    else:
        check_dataset(start, needs=("position", "box"))
        topology = topology_of(start)
        count = start.sizes["frame"]
        frames = Frames(
            np.asarray(start["position"].values, np.float32),
            np.zeros(count),
            np.zeros(count, np.int64),
            box=np.asarray(start["box"].values, np.float32),
        )
    if frames.box is None or len(frames) == 0:
        raise InputError("sample: found no box or no frame; the sampler needs periodic starting frames")
    if len(topology.bond):
        raise InputError(
            f"sample: found {len(topology.bond)} bonds; this sampler moves free particles, one bead per molecule; "
            "map molecules to one bead each"
        )
    return frames, _with(topology, types, masses)


def _with(
    topology: Topology, types: Sequence[str] | NDArray[np.str_] | None, masses: Sequence[float] | Float | None
) -> Topology:
    """Return the topology with the types and masses given."""
    arrays = topology.arrays()
    if types is not None:
        arrays["type"] = np.asarray(types, np.str_)
    if masses is not None:
        arrays["mass"] = np.asarray(masses, np.float64)
    for name in ("type", "mass"):
        if len(arrays[name]) != len(topology):
            raise InputError(f"sample: found {len(arrays[name])} of {name}, expected one for each of {len(topology)}")
    if not (arrays["mass"] > 0.0).all():
        raise InputError(f"sample: found a mass of {arrays['mass'].min():g} u, expected positive masses")
    return Topology(**arrays)


def _steps(*, time_step: float, equilibrate: float, duration: float, every: float) -> tuple[int, int, int]:
    """Return steps of equilibration, frames, and steps between frames."""
    if not (time_step > 0.0 and equilibrate >= 0.0 and duration > 0.0 and every >= time_step):
        raise InputError(
            f"sample: found time_step {time_step}, equilibrate {equilibrate}, duration {duration}, every {every} ps; "
            "expected positive times and every >= time_step"
        )
    between = round(every / time_step)
    frames = int(duration / (between * time_step) + 1e-9)
    if frames == 0:
        raise InputError(f"sample: duration {duration} ps holds no frame every {every} ps")
    return math.ceil(equilibrate / time_step - 1e-9), frames, between


def _check_boxes(box: NDArray[np.float32], cutoff: float) -> None:
    """Raise if the cutoff is beyond half the smallest height of any box."""
    half = 0.5 * heights(box).min(axis=-1)
    worst = int(half.argmin())
    if not cutoff <= half[worst] * (1.0 + 1e-6):
        raise PhysicsError(
            f"sample: the cutoff of {cutoff:g} nm is beyond half the smallest box height, {half[worst]:.4g} nm in "
            f"starting frame {worst}; use tables with a shorter cutoff, or larger boxes"
        )


def _empty(replicas: int, frames: int, particles: int) -> dict[str, NDArray]:
    """Return arrays for the results, replicas first."""
    return {
        "position": np.empty((replicas, frames, particles, 3), np.float32),
        "velocity": np.empty((replicas, frames, particles, 3), np.float32),
        "energy": np.empty((replicas, frames)),
        "kinetic_energy": np.empty((replicas, frames)),
    }


def _run_all(
    motion: _Motion, start: Frames, steps: tuple[int, int, int], arrays: dict[str, NDArray], threads: int
) -> None:
    """Move all replicas, several at a time; the first that fails, or Ctrl-C, stops the others."""
    stop = threading.Event()
    with ThreadPoolExecutor(max(threads, 1)) as pool:
        try:
            jobs = [pool.submit(_run_one, motion, start, replica, steps, arrays, stop) for replica in range(len(start))]
            for job in jobs:
                job.result()
        finally:
            stop.set()


def _run_one(
    motion: _Motion,
    start: Frames,
    replica: int,
    steps: tuple[int, int, int],
    arrays: dict[str, NDArray],
    stop: threading.Event,
) -> None:
    """Relax, equilibrate and sample one replica into its part of the arrays."""
    assert start.box is not None
    equilibration, frames, between = steps
    position = start.position[replica].astype(np.float64)
    box = start.box[replica].astype(np.float64)
    if not np.isfinite(position).all():
        raise InputError(f"sample: starting frame {replica} has positions that are not finite")
    draws, bits, heat = np.random.SeedSequence([motion.seed, replica]).spawn(3)
    normal = np.random.Generator(np.random.Philox(draws)).standard_normal(position.shape)
    velocity = normal * np.sqrt(motion.thermal / motion.mass)[:, None]
    key = np.uint64(bits.generate_state(1, np.uint64)[0])
    largest = 3.0 * math.sqrt(motion.thermal * float(motion.mass.min())) / motion.time_step
    motion.interaction.relax(position, box, largest)
    if motion.coupling is not None:
        velocity = without_momentum(velocity, motion.mass)
    random = np.random.Generator(np.random.Philox(heat))
    done = 0
    while done < equilibration:
        done += _move(motion, position, velocity, box, key, done, min(_CHUNK, equilibration - done), replica, random)
        if stop.is_set():
            return
    for frame in range(frames):
        done += _move(motion, position, velocity, box, key, done, between, replica, random)
        if stop.is_set():
            return
        arrays["position"][replica, frame] = position
        arrays["velocity"][replica, frame] = velocity
        arrays["energy"][replica, frame] = motion.interaction.measure(position, box)
        arrays["kinetic_energy"][replica, frame] = _kinetic(motion, velocity)


def _kinetic(motion: _Motion, velocity: Float) -> float:
    """Return the kinetic energy."""
    return 0.5 * float(motion.mass @ (velocity**2).sum(axis=1))


def _move(
    motion: _Motion, position: Float, velocity: Float, box: Float, key: np.uint64, done: int, steps: int, replica: int,
    random: np.random.Generator,
) -> int:  # fmt: skip
    """Do some steps in place, with rescaled velocities between them where there is a coupling; return their number."""
    if motion.coupling is None:
        return _advance(motion, position, velocity, box, key, done, steps, replica)
    stretch, freedom = max(round(_OFTEN * motion.coupling / motion.time_step), 1), 3 * len(position) - 3
    for first in range(0, steps, stretch):
        part = min(stretch, steps - first)
        _advance(motion, position, velocity, box, key, done + first, part, replica)
        passed = part * motion.time_step / motion.coupling
        kinetic = _kinetic(motion, velocity)
        velocity *= rescaling(kinetic, thermal=motion.thermal, freedom=freedom, passed=passed, random=random)
    return steps


def _advance(
    motion: _Motion, position: Float, velocity: Float, box: Float, key: np.uint64, done: int, steps: int, replica: int
) -> int:
    """Do some steps in place and return their number."""
    interaction = motion.interaction
    skin = min(_SKIN, 0.99 * (float(heights(box).min()) - interaction.cutoff))
    last = langevin.advance(
        interaction.arrays,
        interaction.cutoff,
        interaction.exclusions,
        position,
        velocity,
        box,
        motion.mass,
        skin,
        motion.time_step,
        motion.friction,
        motion.thermal,
        key,
        done,
        steps,
        langevin.NORMAL,
    )
    if last < 0:
        raise PhysicsError(
            f"sample: replica {replica} exploded in step {done - last}: a particle moved more than twenty times as far "
            f"as its thermal velocity allows; use a time step below {motion.time_step:g} ps, or look at the tables "
            "near r = 0 and for steps"
        )
    return steps


def _dataset(
    arrays: dict[str, NDArray], box: NDArray[np.float32], topology: Topology, steps: tuple[int, int, int], dt: float
) -> xr.Dataset:
    """Join the replicas to a dataset of the schema."""
    equilibration, frames, between = steps
    replicas = len(box)
    step = np.arange(1, frames + 1) * between
    joined: dict[str, NDArray] = {name: a.reshape(-1, *a.shape[2:]) for name, a in arrays.items()}
    joined |= {"box": np.repeat(box, frames, axis=0), "replica": np.repeat(np.arange(replicas), frames)}
    joined |= {"time": np.tile(step * dt, replicas), "step": np.tile(equilibration + step, replicas)}
    static = {k: v for k, v in topology.arrays().items() if k not in ("bond", "angle", "dihedral")}
    rows = {row.name: row for row in SCHEMA}
    variables: dict[str, Any] = {}
    coordinates: dict[str, Any] = {}
    for name, array in (joined | static).items():
        dims = rows[name].dims if name in rows else ("frame",)
        meaning, unit = (rows[name].meaning, rows[name].unit) if name in rows else _MEANING[name]
        variable = (dims, array, {"units": unit, "long_name": meaning} if unit else {"long_name": meaning})
        is_coordinate = name == "replica" or (name in rows and rows[name].coordinate)
        (coordinates if is_coordinate else variables)[name] = variable
    return xr.Dataset(variables, coords=coordinates, attrs={"title": "Langevin samples of tabulated pair potentials"})
