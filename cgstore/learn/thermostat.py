"""A thermostat of the whole system: its kinetic energy is canonical, its motion stays Newton's."""

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["rescaling", "without_momentum"]

Float = NDArray[np.float64]


def rescaling(kinetic: float, *, thermal: float, freedom: int, passed: float, random: np.random.Generator) -> float:
    """Return the factor of all velocities with which the kinetic energy goes on by some time.

    Parameters
    ----------
    kinetic : kJ/mol, now
    thermal : kT in kJ/mol
    freedom : degrees of freedom
    passed : time in units of the time constant of the coupling

    Notes
    -----
    Stochastic velocity rescaling, Bussi, Donadio and Parrinello 2007, doi:10.1063/1.2408420, equation A7. It is exact
    for any time between two rescalings and leaves diffusion as it is without a thermostat.

    Examples
    --------
    >>> random = np.random.Generator(np.random.Philox(1))
    >>> energy, seen = 100.0, []
    >>> for _ in range(4000):
    ...     energy *= rescaling(energy, thermal=2.5, freedom=30, passed=0.5, random=random) ** 2
    ...     seen.append(energy)
    >>> round(float(np.mean(seen)), 0), round(float(np.var(seen)), -1)  # 30 kT / 2, 30 (kT)² / 2
    (38.0, 90.0)
    """
    kept = math.exp(-passed)
    share = (1.0 - kept) * 0.5 * thermal / kinetic
    along = random.standard_normal()
    others = 2.0 * random.standard_gamma(0.5 * (freedom - 1))  # the sum of the squares of freedom - 1 normal numbers
    return math.sqrt(kept + share * (others + along**2) + 2.0 * along * math.sqrt(kept * share))


def without_momentum(velocity: Float, mass: Float) -> Float:
    """Return velocities (particle, xyz) less that of the centre of mass."""
    return np.asarray(velocity - mass @ velocity / mass.sum(), np.float64)
