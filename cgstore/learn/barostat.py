"""A Monte Carlo barostat: the volume of a box is changed at random, and kept or not so that the pressure is constant.

Centres of mass of molecules are scaled, so that a change of volume bends no bond.
"""

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cgstore.box import heights, volume
from cgstore.errors import PhysicsError
from cgstore.kernels.scaling import Molecules, scale
from cgstore.learn.interactions import Interaction
from cgstore.topology import Topology, spanning_tree

__all__ = ["Barostat", "Membrane", "Strides", "attempt", "molecules_of"]

Float = NDArray[np.float64]
# True: the area in the plane xy and the height change by themselves, both at the pressure, without surface tension;
# "area": the height stays, for bilayers in empty space, whose height nothing holds; False: the box keeps its shape.
Membrane = bool | Literal["area"]

_FIRST = 0.01  # of the volume, the largest change of the first attempts
_LARGEST = 0.3
_ROUND = 10  # attempts of a kind between two looks at how many were kept
_FEWEST, _MOST = 0.4, 0.5  # of them
_CHANGE = 2.0  # at most, of a stride at a look


@dataclass(frozen=True, slots=True, eq=False)
class Barostat:
    """What all replicas share."""

    interaction: Interaction
    molecules: Molecules
    pressure: float  # kJ/mol/nm³
    thermal: float  # kT, kJ/mol
    membrane: Membrane = False

    @property
    def ways(self) -> tuple[tuple[float, float, float], ...]:
        """Return how much each axis takes of the logarithm of a change of volume, for each kind of attempt."""
        area, height, shape = (0.5, 0.5, 0.0), (0.0, 0.0, 1.0), (1 / 3, 1 / 3, 1 / 3)
        if self.membrane == "area":
            return (area,)
        return (area, height) if self.membrane else (shape,)


@dataclass(slots=True)
class Strides:
    """How far attempts go: tuned while a run equilibrates, then left alone."""

    size: list[float] = field(default_factory=lambda: [_FIRST, _FIRST])  # of ln V
    tried: list[int] = field(default_factory=lambda: [0, 0])
    kept: list[int] = field(default_factory=lambda: [0, 0])

    def tune(self, way: int) -> None:
        """Change the stride of one kind of attempt when enough are counted."""
        if self.tried[way] >= _ROUND:
            part = self.kept[way] / self.tried[way]
            if not _FEWEST <= part <= _MOST:
                factor = min(max(2.0 * part / (_FEWEST + _MOST), 1.0 / _CHANGE), _CHANGE)
                self.size[way] = min(self.size[way] * factor, _LARGEST)
            self.tried[way] = self.kept[way] = 0


def molecules_of(topology: Topology) -> Molecules:
    """Return the molecules of a topology for the kernel that scales them."""
    order, parent = spanning_tree(topology.bond, topology.molecule)
    molecule = np.asarray(topology.molecule, np.int64)
    mass = np.asarray(topology.mass, np.float64)
    return Molecules(order.astype(np.int64), parent.astype(np.int64), molecule, mass, int(molecule.max()) + 1)


def attempt(
    barostat: Barostat, position: Float, box: Float, strides: Strides, random: np.random.Generator, *, tune: bool
) -> None:
    """Try one change of volume, in place; positions are wrapped or whole.

    Raises
    ------
    PhysicsError : the box has become so small that the cutoff is beyond half of it

    Notes
    -----
    A change from V to V exp(u), u uniform, is kept with probability min(1, exp(−(ΔU + P ΔV)/kT + (N + 1) u)) for N
    molecules: the ensemble of uniform changes (McDonald 1972, doi:10.1080/00268977200100031) in steps that scale.
    """
    way = int(random.integers(len(barostat.ways)))
    u, chance = strides.size[way] * random.uniform(-1.0, 1.0), random.random()
    factor = np.exp(u * np.asarray(barostat.ways[way]))
    moved = np.asarray(scale(position, box, barostat.molecules, factor), np.float64)
    changed = box * factor
    half = 0.5 * float(heights(changed).min())
    if barostat.interaction.cutoff > half:
        raise PhysicsError(
            f"the box has shrunk: its smallest half height is {half:.4g} nm, and the cutoff of "
            f"{barostat.interaction.cutoff:g} nm is beyond it; use tables with a shorter cutoff, or more molecules"
        )
    work = barostat.interaction.measure(moved, changed).energy - barostat.interaction.measure(position, box).energy
    work += barostat.pressure * float(volume(changed) - volume(box))
    exponent = -work / barostat.thermal + (barostat.molecules.number + 1) * u
    strides.tried[way] += 1
    if exponent >= 0.0 or chance < math.exp(exponent):
        position[:], box[:] = moved, changed
        strides.kept[way] += 1
    if tune:
        strides.tune(way)
