"""Sample tabulated models: many replicas of Langevin or Newton's motion, returned as a dataset.

Each starting frame is a replica in its own box. Starts with overlaps are first moved along their forces until no force
can give more than three thermal velocities in a step; starts without overlaps keep their places.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.errors import InputError
from cgstore.frames import Frames
from cgstore.learn.barostat import Barostat, Membrane, molecules_of
from cgstore.learn.interactions import Model, interaction_of
from cgstore.learn.kernel_tables import pair_name
from cgstore.learn.replicas import Motion, Plan, run_all, run_replica
from cgstore.learn.samples import empty, samples
from cgstore.learn.starts import begin, check_boxes, starting_frames
from cgstore.tables import Table
from cgstore.units import BAR, BOLTZMANN

__all__ = ["pair_name", "sample", "starting_frames"]

Float = NDArray[np.float64]


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
    pressure: float | None = None,
    membrane: Membrane = False,
    threads: int = 2,
) -> xr.Dataset:
    """Sample a tabulated model at constant temperature, volume or pressure: Langevin motion from each starting frame.

    Parameters
    ----------
    tables : potential of each pair of types, by its name "A-B", alphabetical; or any other model, with bonds
        `cgstore.learn.molecular.Molecular`
    start : frames to start from, one replica each; a dataset also says what the particles are
    temperature : K
    equilibrate, duration, every : ps; time left out, time sampled, time between the frames kept
    seed : the same seed gives the same numbers, on any number of threads; a longer run begins with the shorter
    types, masses : (particle,) and u; those of the dataset by default
    time_step, friction : ps, 1/ps; without friction the energy is constant
    coupling : ps, with friction = 0: the kinetic energy as a whole is coupled to the temperature, with this time
        constant; momentum is conserved, and diffusion is that of the model
    pressure : bar; the volume is constant without it
    membrane : the area in the plane xy and the height change by themselves, both at this pressure; "area": the height
        stays, for bilayers in empty space, whose height nothing holds; otherwise the box keeps its shape
    threads : replicas that move at the same time

    Returns
    -------
    dataset with the frames of replica 0, then 1, …; positions wrapped into the box; velocities; the potential
    `energy (frame)` and `kinetic_energy (frame)` in kJ/mol; `pressure (frame)` and `pressure_along (frame, xyz)` in
    bar; coordinate `replica (frame)`; `time` from the end of equilibration. Attributes `settled_frame`, from which
    frame of each replica the energy is settled, and `drifts`, 1 if it is not in equilibrium even there

    Raises
    ------
    InputError : bonds without tables, no box, no table of a pair, times that are not positive
    PhysicsError : the cutoff is beyond half the box, or the motion explodes

    Notes
    -----
    BAOAB splitting, Leimkuhler & Matthews 2013, doi:10.1063/1.4802990. Friction does not conserve momentum: no
    diffusion coefficients with it. With a coupling see `cgstore.learn.thermostat`, at constant pressure
    `cgstore.learn.barostat`.

    The pressure is that of particles, (Σ m v² + Σ r·F) / 3V with all terms; with friction the first sum is taken as
    3 N kT, its mean. It has no correction for what is beyond the cutoff: nothing is, in a table.

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
    frames, topology = begin(start, types, masses)
    plan = _plan(time_step=time_step, equilibrate=equilibrate, duration=duration, every=every)
    if not (temperature > 0.0 and friction >= 0.0):
        raise InputError(f"sample: found temperature {temperature} K, friction {friction} 1/ps, expected > 0 and >= 0")
    if coupling is not None and not (coupling > 0.0 and friction == 0.0):
        raise InputError(f"sample: found coupling {coupling} ps, friction {friction} 1/ps, expected > 0 and friction 0")
    if pressure is not None and friction == 0.0 and coupling is None:
        raise InputError("sample: found a pressure, but neither friction nor coupling; give one of them")
    thermal, interaction = BOLTZMANN * temperature, interaction_of(tables, topology)
    check_boxes(frames.box, interaction.cutoff)
    barostat = None
    if pressure is not None:
        barostat = Barostat(interaction, molecules_of(topology), pressure / BAR, thermal, membrane)
    motion = Motion(interaction, topology.mass, time_step, friction, thermal, seed, coupling, barostat)
    arrays = empty(len(frames), plan.frames, len(topology), velocities=True)
    run_all(lambda k, stop: run_replica(motion, frames, k, plan, arrays, stop), len(frames), threads)
    step = np.arange(1, plan.frames + 1) * plan.between
    title = "Langevin samples of tabulated potentials" if friction > 0.0 else "Newton's motion in tabulated potentials"
    ds = samples(arrays, topology, time=step * time_step, step=plan.equilibration + step, title=title)
    asked = {"coupling": coupling, "pressure": pressure}
    asked |= {"temperature": temperature, "time_step": time_step, "friction": friction, "seed": seed}
    return ds.assign_attrs({name: value for name, value in asked.items() if value is not None})


def _plan(*, time_step: float, equilibrate: float, duration: float, every: float) -> Plan:
    """Return how many steps of what."""
    if not (time_step > 0.0 and equilibrate >= 0.0 and duration > 0.0 and every >= time_step):
        raise InputError(
            f"sample: found time_step {time_step}, equilibrate {equilibrate}, duration {duration}, every {every} ps; "
            "expected positive times and every >= time_step"
        )
    between = round(every / time_step)
    frames = int(duration / (between * time_step) + 1e-9)
    if frames == 0:
        raise InputError(f"sample: duration {duration} ps holds no frame every {every} ps")
    return Plan(math.ceil(equilibrate / time_step - 1e-9), frames, between)
