"""Phases: whether frames of a simple fluid are one fluid, two phases, or a crystal, from the structure factor.

S(k) = |Σ exp(ik·r)|² / N, each wave vector for itself, averaged over frames. At the longest waves that fit the box it
is the fluctuation of the number of particles in slabs: of order one in a fluid, by S(0) = ρ kT κ_T, and of order N when
part of the box is liquid and part vapour. Around its first peak it stays near 3 in a liquid (Hansen and Verlet 1969,
doi:10.1103/PhysRev.184.151: one freezes at 2.85) and is of order N at the Bragg peaks of a crystal.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Structure", "structure"]

_FRAMES = 20  # so many are enough: they are far apart
_PEAK = (5.0, 9.0)  # k σ around the first peak of a dense liquid
_DENSE = 0.6  # ρ*; nothing thinner can be a crystal that fills the box
_SEPARATED = 10.0  # of the longest waves; beside vapour we saw 20 to 120, in a fluid near the critical point 3
_FROZEN = 15.0  # of a single wave vector; we saw 154 and 272 in crystals, and chance makes 5 of the 3 of a liquid

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Structure:
    """The largest S(k) of a wave vector among the longest waves, and around the first peak (NaN if too thin)."""

    longest: float
    peak: float

    @property
    def failure(self) -> str:
        """Say what is wrong for a single fluid phase; empty when nothing is."""
        if self.longest > _SEPARATED:
            return f"separated: S(k) = {self.longest:.1f} at the longest waves of the box, above {_SEPARATED:g}"
        if self.peak > _FROZEN:
            return f"frozen: S(k) = {self.peak:.1f} at one wave vector of the first peak, above {_FROZEN:g}"
        return ""


def structure(position: NDArray[np.float32], *, edge: float, sigma: float) -> Structure:
    """Return what S(k) says about the phase.

    Parameters
    ----------
    position : (frame, particle, xyz) nm, in a cubic box of this edge; at most 20 frames are looked at
    edge, sigma : nm

    Examples
    --------
    >>> gas = np.random.default_rng(1).uniform(0, 3, (20, 200, 3))
    >>> half = gas * [0.5, 1, 1]
    >>> structure(gas, edge=3.0, sigma=0.3).failure, structure(half, edge=3.0, sigma=0.3).failure[:9]
    ('', 'separated')
    """
    frames, particles = position.shape[:2]
    chosen = np.unique(np.linspace(0, frames - 1, _FRAMES).round().astype(int))
    dense = particles * (sigma / edge) ** 3 >= _DENSE
    most = int(_PEAK[1] * edge / (2 * np.pi * sigma)) if dense else 1
    waves = np.arange(-most, most + 1)
    # By symmetry half of the vectors are enough: those that do not point to the left.
    grid = np.stack(np.meshgrid(waves[most:], waves, waves, indexing="ij"), axis=-1)
    mean = np.mean([_powers(position[k], waves, most, edge) for k in chosen], axis=0)
    length = np.sqrt((grid**2).sum(axis=-1))
    longest = float(mean[(length > 0) & (length < 1.1)].max())
    wave = length * (2 * np.pi * sigma / edge)
    near = (wave >= _PEAK[0]) & (wave <= _PEAK[1])
    return Structure(longest, float(mean[near].max()) if dense else float("nan"))


def _powers(position: NDArray[np.float32], waves: NDArray[np.int64], most: int, edge: float) -> Float:
    """Return S(k) of one frame on the grid of wave vectors."""
    x, y, z = np.exp(2j * np.pi / edge * waves[:, None] * np.asarray(position, np.float64).T[:, None, :])
    plane = x[most:, None, :] * y[None, :, :]  # (wave, wave, particle)
    found: Float = np.abs(plane @ z.T) ** 2 / len(position)
    return found
