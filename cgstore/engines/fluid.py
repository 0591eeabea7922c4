"""A fluid of Lennard-Jones particles at constant volume and temperature: what engines get, and what they return."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cgstore.frames import Frames
from cgstore.units import BAR, BOLTZMANN

__all__ = ["Fluid", "Trajectory", "lattice", "pressure_of", "tails", "velocities"]

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Fluid:
    """One simulation: u(r) = 4ε((σ/r)¹² − (σ/r)⁶), cut off without a shift; nm, ps, kJ/mol, u, K."""

    particles: int
    sigma: float
    epsilon: float
    mass: float
    edge: float  # of the cubic box
    temperature: float
    cutoff: float
    timestep: float
    equilibration: int  # steps
    production: int
    every: int  # steps between frames of the production
    seed: int

    @property
    def damping(self) -> float:
        """Return the time of the Nosé–Hoover chain in ps: a hundred steps, as the manuals of the engines advise."""
        return 100 * self.timestep


@dataclass(frozen=True, slots=True, eq=False)
class Trajectory:
    """What an engine returns: frames of the production and what it measured at each of them, without tails."""

    frames: Frames
    energy: Float  # (frame,) kJ/mol, potential
    virial: Float  # (frame,) kJ/mol, the sum of r·f over pairs
    temperature: Float  # (frame,) K, of the velocities
    engine: str  # name, version, platform


def lattice(particles: int, edge: float, *, seed: int) -> Float:
    """Return sites of a simple cubic lattice that fills the box, those that are left empty chosen by the seed.

    This lattice is not stable for Lennard-Jones particles: it melts at once.

    >>> lattice(2, 1.0, seed=1).shape
    (2, 3)
    """
    count = int(np.ceil(particles ** (1 / 3) - 1e-9))
    sites = np.stack(np.meshgrid(*[np.arange(count)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    chosen = np.random.Generator(np.random.Philox([seed, 0])).permutation(len(sites))[:particles]
    return np.asarray((sites[np.sort(chosen)] + 0.5) * (edge / count), np.float64)


def velocities(fluid: Fluid) -> Float:
    """Draw velocities of the temperature, in nm/ps, whose sum is zero."""
    drawn = np.random.Generator(np.random.Philox([fluid.seed, 1])).normal(size=(fluid.particles, 3))
    drawn -= drawn.mean(axis=0)
    freedom = 3 * (fluid.particles - 1)
    scale = freedom * BOLTZMANN * fluid.temperature / (fluid.mass * float((drawn**2).sum()))
    return np.asarray(drawn * scale**0.5, np.float64)


def tails(fluid: Fluid) -> tuple[float, float]:
    """Return what pairs beyond the cutoff add to the energy (kJ/mol) and to the pressure (bar), if g(r) = 1 there.

    Notes
    -----
    Allen and Tildesley, Computer Simulation of Liquids, section 2.8, doi:10.1093/oso/9780198803195.001.0001
    """
    density = fluid.particles / fluid.edge**3
    cube = (fluid.sigma / fluid.cutoff) ** 3
    scale = np.pi * density * fluid.epsilon * fluid.sigma**3
    energy = fluid.particles * scale * (8 / 9 * cube**3 - 8 / 3 * cube)
    pressure = density * scale * (32 / 9 * cube**3 - 16 / 3 * cube)
    return float(energy), float(pressure * BAR)


def pressure_of(fluid: Fluid, virial: Float) -> Float:
    """Return the pressure in bar from the virial, with that of the ideal gas at the wanted temperature and the tail."""
    ideal = fluid.particles * BOLTZMANN * fluid.temperature
    return (ideal + np.asarray(virial) / 3) / fluid.edge**3 * BAR + tails(fluid)[1]
