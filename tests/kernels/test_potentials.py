"""Any class of potentials is moved by the same kernel; sums are sums."""

from typing import Any, NamedTuple

import numpy as np
import pytest

from cgstore.kernels import langevin
from cgstore.kernels.potentials import Both, evaluate, measure, potential
from cgstore.kernels.verlet import NOTHING_EXCLUDED


class Springs(NamedTuple):
    """Each particle is held at a place by a spring."""

    place: Any  # (particle, xyz) nm
    stiffness: Any  # (particle,) kJ/mol/nm²


@potential(Springs)
def _springs(springs, position, neighbours, force, virial, measured):
    energy = 0.0
    for i in range(position.shape[0]):
        for x in range(3):
            d = position[i, x] - springs.place[i, x]
            force[i, x] -= springs.stiffness[i] * d
            energy += 0.5 * springs.stiffness[i] * d * d
            virial[x, x] -= springs.stiffness[i] * d * d
    return energy


PLACE = np.random.default_rng(1).random((7, 3)) * 0.2 + 0.9
SPRINGS = Springs(PLACE, np.full(7, 100.0))
BOX = np.eye(3) * 2.0


def test_a_potential_of_ones_own_oscillates_at_its_frequency() -> None:
    mass, dt = np.full(7, 4.0), 0.001
    position, velocity = PLACE + 0.05, np.zeros((7, 3))
    omega = np.sqrt(100.0 / 4.0)
    steps = round(1.25 * 2.0 * np.pi / omega / dt)  # five quarters of a period: all energy is kinetic
    status = langevin.advance(
        SPRINGS, 0.1, NOTHING_EXCLUDED, position, velocity, BOX, mass, 0.1, dt, 0.0, 1.0, np.uint64(1), 0, steps,
        langevin.NORMAL,
    )  # fmt: skip
    assert status == 0
    np.testing.assert_allclose(position, PLACE, atol=2e-4)
    np.testing.assert_allclose(velocity, -0.05 * omega, rtol=1e-4)


def test_the_sum_of_two_potentials_has_both_energies_forces_and_virials() -> None:
    position = PLACE + np.random.default_rng(2).normal(size=PLACE.shape) * 0.01
    found = []
    for arrays in (SPRINGS, Both(SPRINGS, SPRINGS), Both(SPRINGS, Both(SPRINGS, SPRINGS))):
        force, virial = np.empty_like(position), np.empty((3, 3))
        energy = measure(arrays, 0.1, NOTHING_EXCLUDED, position, BOX, force, virial)
        found.append((energy, force, virial))
    for factor, (energy, force, virial) in zip((1.0, 2.0, 3.0), found, strict=True):
        assert energy == pytest.approx(factor * found[0][0])
        np.testing.assert_allclose(force, factor * found[0][1])
        np.testing.assert_allclose(virial, factor * found[0][2])
    assert found[0][0] == pytest.approx(50.0 * ((position - PLACE) ** 2).sum())


def test_evaluate_is_for_compiled_kernels() -> None:
    with pytest.raises(NotImplementedError, match="compiled kernels"):
        evaluate(SPRINGS, PLACE, None, PLACE, BOX, True)
