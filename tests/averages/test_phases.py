"""Two phases and crystals are told from fluids."""

import numpy as np
import pytest

from cgstore.averages.phases import structure
from cgstore.campaigns.states import freezing_density, liquid_density

RNG = np.random.default_rng


def fluid_like(frames: int, particles: int, edge: float) -> np.ndarray:
    """Return a lattice with random offsets of half a spacing: no long waves, no Bragg peaks of the first shell."""
    count = round(particles ** (1 / 3))
    sites = np.stack(np.meshgrid(*[np.arange(count)] * 3), -1).reshape(-1, 3) * edge / count
    return sites + RNG(1).uniform(-0.5, 0.5, (frames, len(sites), 3)) * edge / count


def crystal(cells: int, edge: float, *, shake: float) -> np.ndarray:
    base = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    corner = np.stack(np.meshgrid(*[np.arange(cells)] * 3), -1).reshape(-1, 1, 3)
    sites = (corner + base).reshape(-1, 3) * edge / cells
    return sites + RNG(2).normal(0, shake, (20, len(sites), 3))


def test_structure_is_the_sum_over_particles():
    position = RNG(3).uniform(0, 2.0, (4, 50, 3))
    k = 2 * np.pi / 2.0
    axes = [np.mean(np.abs(np.exp(1j * k * position[..., axis]).sum(axis=1)) ** 2) / 50 for axis in range(3)]
    assert structure(position, edge=2.0, sigma=0.3).longest == pytest.approx(max(axes))


def test_a_dense_disordered_fluid_is_one_fluid():
    found = structure(fluid_like(20, 343, 2.5), edge=2.5, sigma=0.34)
    assert found.failure == ""
    assert found.peak > 1


def test_a_slab_of_liquid_is_two_phases_wherever_it_lies():
    for shift in (0.0, 0.7, 1.9):
        slab = RNG(4).uniform(0, 3.0, (20, 300, 3)) * [1, 0.4, 1] + [0, shift, 0]
        assert structure(slab, edge=3.0, sigma=0.3).failure.startswith("separated")


def test_a_crystal_is_frozen_even_when_it_shakes():
    edge = 0.34 * (256 / 1.0) ** (1 / 3)  # ρ* = 1
    shaken = 0.1 * edge / 4 / np.sqrt(2) / np.sqrt(3)  # Lindemann: a tenth of the distance of neighbours, at melting
    assert structure(crystal(4, edge, shake=shaken), edge=edge, sigma=0.34).failure.startswith("frozen")


def test_the_phase_diagram_has_the_order_of_nature():
    for temperature in np.linspace(0.7, 1.3, 7):
        assert 0.31 < liquid_density(temperature) < freezing_density(temperature) < 1
    # Triple point: both meet, 0.661 and 0.86 (Thol et al. 2016; Mastny and de Pablo 2007, 0.694 and 0.84).
    assert liquid_density(0.694) == pytest.approx(freezing_density(0.694), abs=0.005)
    assert liquid_density(2.0) == 0.31
