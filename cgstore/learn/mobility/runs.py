"""Runs of beads with a potential: their structure and how fast they move, beside what was wanted."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cgstore.averages.diffusion import diffusion_coefficient
from cgstore.averages.displacement import mean_squared_displacement
from cgstore.averages.pair import rdf
from cgstore.averages.phases import structure
from cgstore.errors import InputError
from cgstore.frames import Frames
from cgstore.learn.sampler import sample
from cgstore.tables import Table
from cgstore.units import BOLTZMANN

__all__ = ["Liquid", "Moved", "simulated", "start_of"]

Float = NDArray[np.float64]

_COUPLING = 2.0  # ps, of the kinetic energy as a whole; momentum is conserved


@dataclass(frozen=True, slots=True)
class Liquid:
    """A box of beads."""

    edge: float  # nm
    number: int
    mass: float  # u
    temperature: float  # K


@dataclass(frozen=True, slots=True, eq=False)
class Moved:
    """What a run of beads showed."""

    g: Float  # (r,)
    g_error: Float
    diffusion: float  # nm²/ps, of the box as it is; NaN where `reason` says why, which also judges a given `fit`
    diffusion_error: float
    temperature: float  # K, the mean
    reason: str
    phase: str = ""  # what it is if not one liquid: frozen, or separated

    def rmsd(self, g: Float, error: Float) -> tuple[float, float]:
        """Return √⟨(g − wanted)²⟩ over all distances, with the error that those of both g give it.

        Notes
        -----
        The error is that of independent bins. Two samples of the same g have an rmsd of √⟨σ² + σ'²⟩, not of zero.
        """
        apart = self.g - g
        scatter = np.hypot(np.nan_to_num(self.g_error), np.nan_to_num(error))
        found = float(np.sqrt((apart**2).mean()))
        return found, float(np.sqrt(((apart * scatter) ** 2).sum()) / len(apart) / max(found, 1e-12))

    def acceleration(self, slow: float, error: float) -> tuple[float, float]:
        """Return α = D / D of the molecules, with its error."""
        value = self.diffusion / slow
        return value, value * float(np.hypot(self.diffusion_error / self.diffusion, error / slow))


def start_of(liquid: Liquid, seed: int) -> Frames:
    """Return beads on places of a cubic lattice, drawn by chance, in a box.

    Examples
    --------
    >>> start_of(Liquid(3.0, 130, 100.0, 300.0), 1).position.shape
    (1, 130, 3)
    """
    cells = int(np.ceil(liquid.number ** (1 / 3) - 1e-9))
    sites = np.stack(np.meshgrid(*[np.arange(cells)] * 3, indexing="ij"), -1).reshape(-1, 3)
    taken = np.random.default_rng(seed).permutation(len(sites))[: liquid.number]
    position = (sites[taken] + 0.5)[None] * liquid.edge / cells
    box = liquid.edge * np.eye(3, dtype=np.float32)[None]
    return Frames(position.astype(np.float32), np.zeros(1), np.zeros(1, np.int64), box=box)


def simulated(
    table: Table,
    liquid: Liquid,
    *,
    seed: int,
    duration: float = 1000.0,
    equilibrate: float = 30.0,
    every: float = 0.5,
    time_step: float = 0.01,
    bin_width: float = 0.01,
    fit: tuple[float, float] | None = None,
) -> Moved:
    """Run beads with a potential by Newton's motion, the kinetic energy as a whole coupled to the temperature.

    Parameters
    ----------
    table : the potential, to its cutoff; g(r) is counted as far
    liquid : the box
    seed : of places and velocities
    duration, equilibrate, every, time_step : ps
    bin_width : nm
    fit : ps, where the displacement is a straight line, as in `cgstore.diffusion_coefficient`; found by itself in runs
        that are long enough, of a nanosecond for a hundred beads

    Raises
    ------
    PhysicsError : the cutoff is beyond half the box, or the motion explodes
    """
    run = sample(
        {"A-A": table},
        start_of(liquid, seed),
        types=["A"] * liquid.number,
        masses=[liquid.mass] * liquid.number,
        temperature=liquid.temperature,
        equilibrate=equilibrate,
        duration=duration,
        every=every,
        seed=seed,
        time_step=time_step,
        friction=0.0,
        coupling=_COUPLING,
        threads=1,
    ).drop_vars("replica")
    pairs = rdf(run, r_max=table.cutoff, bin_width=bin_width, exclude_bonded=0).compute()
    try:
        d = diffusion_coefficient(mean_squared_displacement(run), fit=fit).isel(kind=0).compute()
        value, error, reason = float(d["diffusion"]), float(d["diffusion_error"]), str(d["reason"].values)
    except InputError as problem:
        value, error, reason = np.nan, np.nan, str(problem)
    kinetic = run["kinetic_energy"].values / (1.5 * (liquid.number - 1))
    spacing = liquid.edge / liquid.number ** (1 / 3)
    phase = structure(run["position"].values, edge=liquid.edge, sigma=spacing).failure
    g, g_error = pairs["rdf"].values[0], pairs["rdf_error"].values[0]
    return Moved(g, g_error, value, error, float(kinetic.mean() / BOLTZMANN), reason, phase)
