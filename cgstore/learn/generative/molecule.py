"""A molecule as a target: torsions that turn freely as angles, all else as stiff coordinates about a minimum."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from cgstore.errors import InputError
from cgstore.learn.generative.internal import Internal, Zmatrix
from cgstore.learn.generative.targets import Ask, queried
from cgstore.units import BOLTZMANN

__all__ = ["Molecule"]

Float = NDArray[np.float64]

_STEP = 1e-4  # nm or radians, of the differences that stiffness is from


class Molecule:
    """The target of a molecule in internal coordinates, in kT; its stiff coordinates are those of independent springs.

    Coordinates are the free torsions (radians), then 3N − 6 less these stiff ones: y = L⁻¹ (q − q₀), where q are bonds,
    angles and all other torsions, q₀ their values at a minimum of the energy, and L Lᵀ = kT H⁻¹ with H the curvature
    there, free torsions held. So at the target temperature y are about normal with width one, for the harmonic part
    of the force field. Everything comes from the force field; no data are read.
    """

    def __init__(self, zmatrix: Zmatrix, free: Sequence[int], minimum: Float, ask: Ask, *, temperature: float) -> None:
        """Measure the stiffness.

        Parameters
        ----------
        free : atoms whose torsion, in the rows of the matrix, turns freely
        minimum : (atom, xyz) nm, at a minimum of the energy
        ask : energies kJ/mol and forces kJ/mol/nm of (conformation, atom, xyz) nm
        temperature : K

        Raises
        ------
        InputError : the positions are at no minimum
        """
        self.zmatrix, self.ask, self.thermal = zmatrix, ask, BOLTZMANN * temperature
        self.atoms = len(minimum)
        torsions = [zmatrix.torsion_of(atom) for atom in free]
        bonds, angles = self.atoms - 1, self.atoms - 2
        self.free = torch.tensor([bonds + angles + torsion for torsion in torsions], dtype=torch.int64)
        self.stiff = torch.tensor(
            [place for place in range(3 * self.atoms - 6) if place not in set(self.free.tolist())]
        )
        self.periodic = np.arange(3 * self.atoms - 6) < len(free)
        self._start = _flat(zmatrix.internal(torch.as_tensor(minimum, dtype=torch.float64)[None]))[0]
        self.lowest = float(ask(minimum[None])[0][0])  # kJ/mol
        curvature = self._curvature()
        values, vectors = np.linalg.eigh(curvature)
        if values[0] <= 0:
            raise InputError(
                f"the energy falls along a stiff coordinate (curvature {values[0]:.3g} kT): the positions are at no "
                "minimum, or a torsion that turns freely is missing among the free ones"
            )
        self._spread = torch.as_tensor(np.linalg.cholesky((vectors / values) @ vectors.T))
        self.log_spread = float(torch.log(torch.diagonal(self._spread)).sum())

    def internal(self, x: torch.Tensor) -> Internal:
        """Return bonds, angles and torsions of coordinates: x (sample, coordinate)."""
        turning = x[:, : len(self.free)]
        stiff = self._start[self.stiff].to(x.dtype) + x[:, len(self.free) :] @ self._spread.to(x.dtype).T
        flat = torch.cat([turning, stiff], dim=-1)[:, torch.argsort(torch.cat([self.free, self.stiff]))]
        bonds, angles = self.atoms - 1, self.atoms - 2
        return Internal(flat[:, :bonds], flat[:, bonds : bonds + angles], flat[:, bonds + angles :])

    def positions(self, x: torch.Tensor) -> torch.Tensor:
        """Return positions of coordinates: (sample, atom, xyz) nm."""
        return self.zmatrix.positions(self.internal(x))

    def coordinates(self, position: torch.Tensor) -> torch.Tensor:
        """Return coordinates of positions (sample, atom, xyz) nm: (sample, coordinate)."""
        flat = _flat(self.zmatrix.internal(position))
        away = flat[:, self.stiff] - self._start[self.stiff].to(flat.dtype)
        turned = self.stiff >= 2 * self.atoms - 3
        away = torch.where(turned, torch.atan2(torch.sin(away), torch.cos(away)), away)
        spread = self._spread.to(flat.dtype)
        stiff = torch.linalg.solve_triangular(spread, away.T, upper=False).T
        return torch.cat([flat[:, self.free], stiff], dim=-1)

    def __call__(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the energy above the minimum in kT, and the logarithm of the volume: (sample,) each."""
        values = self.internal(x)
        energy = queried(self.zmatrix.positions(values), self.ask)
        return (energy - self.lowest) / self.thermal, values.log_volume + self.log_spread

    def _curvature(self) -> Float:
        """Return the second derivatives of the energy along stiff coordinates: (stiff, stiff) kT."""
        size = len(self.stiff)
        step = torch.zeros(2 * size, 3 * self.atoms - 6, dtype=torch.float64)
        for row, place in enumerate(self.stiff.tolist()):
            step[row, place], step[size + row, place] = _STEP, -_STEP
        flat = (self._start + step).requires_grad_()
        bonds, angles = self.atoms - 1, self.atoms - 2
        values = Internal(flat[:, :bonds], flat[:, bonds : bonds + angles], flat[:, bonds + angles :])
        energy = queried(self.zmatrix.positions(values), self.ask).sum()
        (slope,) = torch.autograd.grad(energy, flat)
        slope = slope[:, self.stiff] / self.thermal
        curvature = ((slope[:size] - slope[size:]) / (2.0 * _STEP)).numpy()
        return np.asarray(0.5 * (curvature + curvature.T), np.float64)


def _flat(values: Internal) -> torch.Tensor:
    """Return bonds, angles and torsions side by side: (sample, coordinate)."""
    return torch.cat([values.bond, values.angle, values.torsion], dim=-1)
