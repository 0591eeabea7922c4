"""Energies and forces of many conformations by OpenMM: what a model that is trained on a potential asks for."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgstore.engines.implicit_openmm import implicit_context
from cgstore.errors import EngineFailure, InputError, MissingExtra

__all__ = ["Energies"]

Float = NDArray[np.float64]


class Energies:
    """A potential that is asked for the energies and forces of a batch of conformations; it counts them.

    Calls go one conformation after the other to one context on one core: 40 µs each for 22 atoms on the platform
    Reference, in double precision. Nothing is kept: conformations that are drawn at random never come again.
    """

    def __init__(self, system: Any) -> None:
        """Take the `openmm.System` of a molecule without a box, as of `implicit_openmm.implicit_system`.

        Raises
        ------
        MissingExtra : OpenMM is not installed
        """
        try:
            import openmm
        except ImportError as error:
            raise MissingExtra.of("openmm", extra="simulate", purpose="energies of a force field") from error
        self._openmm = openmm
        self._context = implicit_context(system, openmm.VerletIntegrator(0.001))
        self.particles = int(system.getNumParticles())
        self.evaluations = 0  # conformations so far

    def __call__(self, position: Float) -> tuple[Float, Float]:
        """Return energies and forces.

        Parameters
        ----------
        position : (conformation, particle, xyz) nm

        Returns
        -------
        energy : (conformation,) kJ/mol; NaN where OpenMM has none, as where two atoms are at one point
        force : (conformation, particle, xyz) kJ/mol/nm, 0 where it is not finite

        Raises
        ------
        InputError : the positions are not of this molecule
        """
        if position.ndim != 3 or position.shape[1:] != (self.particles, 3):
            raise InputError(f"found positions of shape {position.shape}, expected (conformation, {self.particles}, 3)")
        energy, force = np.full(len(position), np.nan), np.zeros(position.shape)
        for place in np.flatnonzero(np.isfinite(position).all(axis=(1, 2))):
            energy[place], force[place] = self._one(position[place])
        self.evaluations += len(position)
        return energy, np.nan_to_num(force, nan=0.0, posinf=0.0, neginf=0.0)

    def minimised(self, position: Float) -> Float:
        """Return the positions of the nearest minimum: (particle, xyz) nm.

        Raises
        ------
        EngineFailure : OpenMM gave up
        """
        try:
            self._context.setPositions(np.asarray(position, np.float64))
            self._openmm.LocalEnergyMinimizer.minimize(self._context, 1e-3)
        except self._openmm.OpenMMException as error:
            raise EngineFailure(f"OpenMM: {error}") from error
        found = self._context.getState(positions=True).getPositions(asNumpy=True)
        return np.array(found.value_in_unit(self._openmm.unit.nanometer))

    def _one(self, position: Float) -> tuple[float, Float]:
        """Return energy and forces of one conformation."""
        kilojoule = self._openmm.unit.kilojoule_per_mole
        self._context.setPositions(np.ascontiguousarray(position))
        state = self._context.getState(energy=True, forces=True)
        force = state.getForces(asNumpy=True).value_in_unit(kilojoule / self._openmm.unit.nanometer)
        return state.getPotentialEnergy().value_in_unit(kilojoule), force
