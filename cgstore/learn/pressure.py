"""The pressure of frames under any parameters: what the energy gains when a frame is stretched, volume by volume.

A potential is asked for the energy of each frame made a little larger and a little smaller, positions and box alike.
What it needs of these frames does not depend on its parameters, so the pressure and its gradient cost two more
evaluations of the energy, whatever the potential is, and no kernel of their own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from cgstore.box import volume
from cgstore.units import BAR

__all__ = ["PressureGoal", "Stretched", "part_of", "pressures", "stretch"]

Float = NDArray[np.float64]

# Of lengths. It moves the pairs that matter by about the spacing of tables, between whose nodes energies are straight
# lines; the next term of r^-12 is 10^-4 of it.
_STRAIN = 2e-3


class PressureGoal(NamedTuple):
    """The pressure that a model should have at a state point, and the scale of deviations from it."""

    value: float  # bar
    error: float  # bar
    plane: bool = False  # along x and y only, as in bilayers without tension


@dataclass(frozen=True, slots=True, eq=False)
class Stretched:
    """Frames made larger and smaller: what the pressure needs of them."""

    goal: PressureGoal
    ideal: torch.Tensor  # (frame,) bar, N kT / V
    change: torch.Tensor  # (frame,) nm³, between the smaller and the larger volume
    larger: Any  # what the model's energy takes, as `cgstore.learn.reweighting.Ensemble.described`
    smaller: Any

    def part(self, frames: slice) -> "Stretched":
        """Return some of the frames."""
        larger, smaller = (part_of(described, frames) for described in (self.larger, self.smaller))
        return Stretched(self.goal, self.ideal[frames], self.change[frames], larger, smaller)


def part_of(described: Any, frames: slice) -> Any:
    """Return some of the frames of what a model's energy takes: an array (frame, …), or a thing with a `part`."""
    return described[frames] if torch.is_tensor(described) else described.part(frames)


def stretch(
    describe: Callable[[Float, Float], Any],
    position: ArrayLike,
    box: ArrayLike,
    *,
    thermal: float,
    goal: PressureGoal,
) -> Stretched:
    """Return frames made larger and smaller.

    Parameters
    ----------
    describe : what a model needs of positions (frame, particle, xyz) and boxes (frame, box_vector, xyz)
    position, box : nm
    thermal : kT in kJ/mol
    goal : what the pressure should be; in the plane, only x and y are stretched

    Raises
    ------
    PhysicsError : of `describe`, the cutoff is beyond half the smaller box
    """
    x, cell = np.asarray(position, np.float64), np.asarray(box, np.float64)
    ways = [1.0 + strain * np.array([1.0, 1.0, 0.0 if goal.plane else 1.0]) for strain in (_STRAIN, -_STRAIN)]
    larger, smaller = ways
    return Stretched(
        goal=goal,
        ideal=torch.from_numpy(BAR * x.shape[1] * thermal / volume(cell)),
        change=torch.from_numpy(volume(cell * larger) - volume(cell * smaller)),
        larger=describe(x * larger, cell * larger),
        smaller=describe(x * smaller, cell * smaller),
    )


def pressures(model: torch.nn.Module, frames: Stretched) -> torch.Tensor:
    """Return the pressure of frames (frame,) in bar, P = N kT / V − dU / dV; differentiable by the parameters.

    Parameters
    ----------
    model : called with what `describe` gave, gives the energy of the frames (frame,) in kJ/mol
    frames : of `stretch`

    Notes
    -----
    With positions scaled like the box, −3V dU/dV is the virial Σ r·F of all terms, of many bodies and of bonds too.
    With x and y scaled alone, the volume grows by the area only, and the same quotient gives the mean of the pressures
    along x and y. The kinetic part is its mean, N kT / V of all particles, as that of `cgstore.learn.sampler.sample`
    with friction.
    """
    gain: torch.Tensor = model(frames.larger) - model(frames.smaller)
    return frames.ideal - BAR * gain / frames.change
