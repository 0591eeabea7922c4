"""Angular symmetry functions: what a particle sees of the angles between its neighbours, from moments, by torch.

For each pair of types of neighbours, each f(r) = exp(−η (r − r_s)²) · ½ (cos(π r / cutoff) + 1) and each power ζ,

    G_i = 2^(1−ζ) Σ_{j<k} (1 ± cos θ_jik)^ζ f(r_ij) f(r_ik),

G5 of Behler 2011, doi:10.1063/1.3553717, which leaves out the distance of the neighbours j and k, with a centre r_s of
the Gaussian besides. How moments give it is told in `cgstore.kernels.angular`; this is the reference in float64.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from cgstore.errors import InputError
from cgstore.kernels.angular import Angles, monomials
from cgstore.learn.descriptors import Radial, radial_of

__all__ = ["Angular", "angles_of", "angular_of"]

_MOST = 8  # the power: (ζ + 1)(ζ + 2)(ζ + 3) / 6 moments, and what cancels in them, grow


@dataclass(frozen=True, slots=True)
class Angular:
    """Angular functions, the same for every pair of types of neighbours; both signs of the cosine for each power.

    Raises
    ------
    InputError : no powers, or some that are not 1 to 8
    """

    radial: Radial  # the Gaussians, and the cutoff
    powers: tuple[int, ...] = (1, 2, 4)  # ζ

    def __post_init__(self) -> None:
        """Refuse what is no set of functions."""
        if not self.powers or not all(1 <= power <= _MOST for power in self.powers):
            raise InputError(f"angular functions: found powers {list(self.powers)}, expected some of 1 to {_MOST}")

    def count(self, types: int) -> int:
        """Return how many there are for so many types of neighbours."""
        return types * (types + 1) // 2 * len(self.radial.eta) * 2 * len(self.powers)

    def series(self) -> NDArray[np.float64]:
        """Return the factors (function, power) of cosⁿ θ in 2^(1−ζ) (1 ± cos θ)^ζ: plus, then minus, for each ζ."""
        rows = [
            [2.0 ** (1 - zeta) * math.comb(zeta, n) * sign**n for n in range(max(self.powers) + 1)]
            for zeta in self.powers
            for sign in (1.0, -1.0)
        ]
        return np.array(rows)

    def values(
        self, vector: torch.Tensor, first: torch.Tensor, second: torch.Tensor, particles: int, types: int
    ) -> torch.Tensor:
        """Return the functions (particle, function) of particles.

        Parameters
        ----------
        vector : (pair, xyz) nm, between neighbours, all from the particle or all to it
        first, second : (pair,) number of the particle, and of the type of its neighbour
        particles, types : how many

        Examples
        --------
        >>> vector = torch.tensor([[0.2, 0.0, 0.0], [0.0, 0.2, 0.0]], dtype=torch.float64)  # a right angle
        >>> nobody = torch.zeros(2, dtype=torch.int64)
        >>> Angular(Radial(0.4, (0.0,), (0.0,)), (1,)).values(vector, nobody, nobody, 1, 1).tolist()
        [[0.25, 0.25]]
        """
        r = vector.norm(dim=-1)
        unit, f = vector / r[:, None], self.radial.values(r)  # (pair, part)
        known = monomials(max(self.powers))
        powers = [torch.ones_like(r)]
        for parent, axis in zip(known.parent[1:].tolist(), known.axis[1:].tolist(), strict=True):
            powers.append(powers[parent] * unit[:, axis])
        terms = f[:, :, None] * torch.stack(powers, dim=1)[:, None]
        place, shape = first * types + second, (particles, types, f.shape[1])
        moment = f.new_zeros(particles * types, *terms.shape[1:]).index_add(0, place, terms).view(*shape, -1)
        square = f.new_zeros(particles * types, f.shape[1]).index_add(0, place, f**2).view(shape)
        return self._joined(moment, square)

    def _joined(self, moment: torch.Tensor, square: torch.Tensor) -> torch.Tensor:
        """Return the functions from moments (particle, type, part, monomial) and sums of f² (particle, type, part)."""
        known, series = monomials(max(self.powers)), moment.new_tensor(self.series())
        factor = series[:, torch.from_numpy(known.degree)] * moment.new_tensor(known.weight)  # (function, monomial)
        found = []
        for a in range(moment.shape[1]):
            for b in range(a, moment.shape[1]):
                value = (moment[:, a] * moment[:, b]) @ factor.T  # (particle, part, function)
                if a == b:
                    value = 0.5 * (value - square[:, a, :, None] * series.sum(1))
                found.append(value.flatten(1))
        return torch.cat(found, dim=1)


def angular_of(g: ArrayLike, r: ArrayLike, *, widths: int, cutoff: float, powers: tuple[int, ...]) -> Angular:
    """Return functions whose Gaussians begin where particles are first found, as `radial_of` sets them.

    Parameters
    ----------
    g, r : as there
    widths : how many Gaussians; the first is as wide as the cutoff, so one counts all neighbours alike
    cutoff : nm; powers : ζ

    Examples
    --------
    >>> r = np.linspace(0.2, 1.0, 81)
    >>> angular_of(np.exp(-((0.4 / r) ** 12)), r, widths=2, cutoff=0.6, powers=(1, 2)).radial.shift
    (0.0, 0.353)
    """
    if widths == 1:
        return Angular(Radial(cutoff, (0.0,), (0.0,)), powers)
    return Angular(radial_of(g, r, functions=widths, cutoff=cutoff), powers)


def angles_of(angular: Angular | None) -> Angles:
    """Return the functions as the kernel wants them."""
    used = Angular(Radial(1.0, (0.0,), (0.0,)), (1,)) if angular is None else angular
    series, parts = used.series(), slice(0 if angular is None else None)
    return Angles(
        cutoff=0.0 if angular is None else used.radial.cutoff,
        eta=np.array(used.radial.eta, np.float32)[parts],
        shift=np.array(used.radial.shift, np.float32)[parts],
        monomial=monomials(max(used.powers)),
        series=series.astype(np.float32),
        straight=series.sum(1).astype(np.float32),
    )
