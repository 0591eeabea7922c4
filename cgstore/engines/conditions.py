"""Conditions of a simulation of molecules, and what comes out of it: the same for every engine."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cgstore.documents import did_you_mean
from cgstore.errors import InputError

__all__ = ["Conditions", "Measured", "Motion"]

Float = NDArray[np.float64]

_ELECTROSTATICS = ("pme", "none")
_CONSTRAINTS = ("none", "h-bonds", "all-bonds")


@dataclass(frozen=True, slots=True)
class Conditions:
    """How a system is simulated; nm, ps, K, bar.

    Raises
    ------
    InputError : a word is unknown, or the production is no multiple of `every`

    Examples
    --------
    >>> Conditions(temperature=300.0, pressure=1.0, production=1000, every=100).frames
    11
    """

    temperature: float  # K
    pressure: float | None  # bar; None: constant volume
    membrane: bool = False  # pressure: x and y together, z by itself, no surface tension
    timestep: float = 0.002  # ps
    equilibration: int = 25_000  # steps, left out
    production: int = 250_000  # steps
    every: int = 500  # steps between frames
    cutoff: float = 1.0  # nm, of Lennard-Jones and of the direct part of PME
    electrostatics: str = "pme"  # pme | none (no charges)
    constraints: str = "h-bonds"  # none | h-bonds | all-bonds; SETTLE and [ constraints ] always hold
    tails: bool = True  # dispersion correction of energy and pressure
    friction: float = 0.0  # 1/ps, of Langevin motion; 0: a thermostat that leaves diffusion alone, and stiff modes too
    compressibility: float = 4.5e-5  # 1/bar, that the barostat of GROMACS assumes; water's
    seed: int = 1

    def __post_init__(self) -> None:
        for name, known in (("electrostatics", _ELECTROSTATICS), ("constraints", _CONSTRAINTS)):
            if (found := getattr(self, name)) not in known:
                raise InputError(f'{name}: found "{found}"{did_you_mean(found, known)}')
        if not 0 <= self.friction < np.inf:
            raise InputError(f"friction: found {self.friction:g}, expected a number that is not negative")
        if self.every < 1 or self.production < 1 or self.production % self.every:
            raise InputError(
                f"production: found {self.production} steps, expected a multiple of every, which is {self.every}"
            )

    @property
    def frames(self) -> int:
        """Return how many frames there will be, that at the begin of the production among them."""
        return self.production // self.every + 1


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What an engine says of each frame."""

    engine: str  # name, version, platform
    energy: Float  # (frame,) kJ/mol, potential
    temperature: Float  # (frame,) K
    pressure: Float | None  # (frame,) bar; None where the engine does not know it


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """What a simulation returns; its frames are in `trajectory.xtc`.

    `series` has energy (potential, kJ/mol), temperature (K), pressure (bar, where the engine knows it), density (kg/m³)
    and, of membranes, area (nm²) of the box in x and y.
    """

    time: Float  # (frame,) ps, from the begin of the production, which is the first frame
    series: dict[str, Float]  # (frame,)
    engine: str  # name, version, platform
