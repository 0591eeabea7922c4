"""Radial symmetry functions: which there are, chosen by hand or from a pair distribution, and what scales them.

A descriptor of a particle is the sum over its neighbours of one type of exp(−η (r − r_s)²) · ½ (cos(π r / cutoff) + 1),
G2 of Behler & Parrinello 2007, doi:10.1103/PhysRevLett.98.146401.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from cgstore.errors import InputError, PhysicsError

__all__ = ["Radial", "Scaling", "radial_of", "scaling_of"]

Float = NDArray[np.float64]

_GROWTH = 2.5  # of the spacing of centres, from the core to the cutoff
_RISEN = 0.1  # of g, where particles begin to be
_BEFORE = 0.93  # of that distance: the first centre is in the core, since a model may put particles where none were
_FLAT = 1e-6  # a descriptor that varies less than this says nothing


@dataclass(frozen=True, slots=True)
class Radial:
    """Radial functions, the same for every type of neighbours.

    Raises
    ------
    InputError : not as many widths as centres, none of them, a width that is negative, a cutoff that is not positive
    """

    cutoff: float  # nm
    eta: tuple[float, ...]  # nm⁻²
    shift: tuple[float, ...]  # nm

    def __post_init__(self) -> None:
        """Refuse what is no set of functions."""
        if len(self.eta) != len(self.shift) or not self.eta:
            raise InputError(f"descriptors: found {len(self.eta)} eta and {len(self.shift)} shift, expected as many")
        if min(self.eta) < 0 or not self.cutoff > 0:
            raise InputError(f"descriptors: found eta {min(self.eta):g}, cutoff {self.cutoff:g} nm; expected >= 0, > 0")

    def values(self, r: torch.Tensor) -> torch.Tensor:
        """Return the functions (…, function) at distances (…) in nm.

        Examples
        --------
        >>> Radial(1.0, (0.0,), (0.0,)).values(torch.tensor([0.0, 0.5, 1.0])).flatten().round(decimals=3).tolist()
        [1.0, 0.5, 0.0]
        """
        eta, shift = (r.new_tensor(numbers) for numbers in (self.eta, self.shift))
        smooth = 0.5 * (torch.cos(torch.pi * (r / self.cutoff).clamp(max=1.0)) + 1.0)
        return torch.exp(-eta * (r[..., None] - shift) ** 2) * smooth[..., None]


class Scaling(NamedTuple):
    """What makes descriptors numbers near one: their mean and standard deviation in a sample of the reference."""

    mean: Float  # (type, descriptor)
    spread: Float  # (type, descriptor)


def radial_of(g: ArrayLike, r: ArrayLike, *, functions: int, cutoff: float) -> Radial:
    """Return functions that see most where particles are first found: the first shells.

    The first function counts all neighbours. The centres of the others begin a little before g rises to a tenth and end
    a step before the cutoff; their spacing grows by 2.5 on the way, and is their standard deviation.

    Parameters
    ----------
    g, r : (bin,) pair distribution, of all types together or the one that begins first, and centres of the bins in nm
    functions : how many; cutoff : nm

    Raises
    ------
    InputError : fewer than 2 functions
    PhysicsError : g does not rise before the cutoff

    Examples
    --------
    >>> r = np.linspace(0.2, 1.0, 81)
    >>> radial_of(np.exp(-((0.4 / r) ** 12)), r, functions=5, cutoff=1.0).shift
    (0.0, 0.353, 0.45, 0.581, 0.759)
    """
    if functions < 2:
        raise InputError(f"descriptors: found {functions} functions, expected 2 at least")
    g, r = np.asarray(g, np.float64), np.asarray(r, np.float64)
    risen = np.flatnonzero((g >= _RISEN) & (r < 0.9 * cutoff))
    if not len(risen):
        raise PhysicsError(f"descriptors: found no rise of g to {_RISEN:g} before {0.9 * cutoff:g} nm")
    core = _BEFORE * float(r[risen[0]])
    step = _GROWTH ** np.linspace(0.0, 1.0, functions - 1)
    step *= (cutoff - core) / step.sum()
    shift = (core + np.cumsum(step) - step).round(3)
    eta = (0.5 / step**2).round(2)
    return Radial(cutoff, (0.0, *eta.tolist()), (0.0, *shift.tolist()))


def scaling_of(descriptor: ArrayLike, kind: ArrayLike, types: int) -> Scaling:
    """Return mean and spread of descriptors in a sample; a type that is not in it is left as it is.

    Parameters
    ----------
    descriptor : (frame, particle, descriptor); kind : (particle,) number of the type
    """
    values, kind = np.asarray(descriptor, np.float64), np.asarray(kind)
    mean, spread = np.zeros((types, values.shape[-1])), np.ones((types, values.shape[-1]))
    for number in range(types):
        if (kind == number).any():
            rows = values[:, kind == number].reshape(-1, values.shape[-1])
            deviation = rows.std(axis=0)
            mean[number], spread[number] = rows.mean(axis=0), np.where(deviation > _FLAT, deviation, 1.0)
    return Scaling(mean, spread)
