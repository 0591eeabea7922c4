"""Internal coordinates have the volume they claim; the energy of a molecule is differentiable and asked for once."""

import numpy as np
import pytest
import torch

from cgstore.building.dipeptide import FREE, PHI, PSI, dipeptide_positions, dipeptide_rows
from cgstore.campaigns.basins import torsion
from cgstore.errors import InputError
from cgstore.learn.generative.internal import Internal, Zmatrix
from cgstore.learn.generative.molecule import Molecule
from cgstore.learn.generative.targets import queried, softened
from cgstore.units import BOLTZMANN

CHAIN = [(1, -1, -1, -1), (0, 1, -1, -1), (2, 1, 0, -1), (3, 2, 1, 0), (4, 2, 1, 0)]


def distances(position: np.ndarray) -> np.ndarray:
    return np.linalg.norm(position[..., :, None, :] - position[..., None, :, :], axis=-1)


def test_positions_come_back_from_internal_coordinates() -> None:
    zmatrix = Zmatrix(dipeptide_rows())
    position = dipeptide_positions(-75.0, 20.0) + np.random.default_rng(1).normal(0, 0.01, (5, 22, 3))
    values = zmatrix.internal(torch.as_tensor(position))
    again = zmatrix.positions(values)
    np.testing.assert_allclose(distances(again.numpy()), distances(position), atol=1e-9)
    phi = values.torsion[:, zmatrix.torsion_of(FREE[0])].numpy()
    np.testing.assert_allclose(np.degrees(phi), torsion(position, PHI), atol=1e-6)
    back = zmatrix.internal(again)
    torch.testing.assert_close(back.angle, values.angle)


def test_the_volume_is_the_determinant_of_all_derivatives() -> None:
    """Of 15 positions by 9 internal coordinates, 3 shifts and 3 turns; turns of Euler have sin β as their volume."""
    zmatrix = Zmatrix(CHAIN)
    inner = torch.tensor([0.11, 0.15, 0.13, 0.12, 1.9, 2.0, 1.7, 0.7, 2.1], dtype=torch.float64)
    shift, turn = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64), torch.tensor([0.4, 1.1, 0.5], dtype=torch.float64)

    def rotation(angles: torch.Tensor) -> torch.Tensor:
        def about(angle: torch.Tensor, axis: int) -> torch.Tensor:
            c, s, o, i = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle), torch.ones_like(angle)
            rows = ([i, o, o, o, c, -s, o, s, c], [c, o, s, o, i, o, -s, o, c], [c, -s, o, s, c, o, o, o, i])[axis]
            return torch.stack(rows).reshape(3, 3)

        return about(angles[0], 2) @ about(angles[1], 1) @ about(angles[2], 2)

    def atoms(all_of_it: torch.Tensor) -> torch.Tensor:
        own = all_of_it[None, :9]
        placed = zmatrix.positions(Internal(own[:, :4], own[:, 4:7], own[:, 7:]))[0]
        return (placed @ rotation(all_of_it[12:]).T + all_of_it[9:12]).ravel()

    matrix = torch.func.jacrev(atoms)(torch.cat([inner, shift, turn]))
    volume = Internal(inner[None, :4], inner[None, 4:7], inner[None, 7:]).log_volume[0] + torch.log(torch.sin(turn[1]))
    torch.testing.assert_close(torch.linalg.slogdet(matrix).logabsdet, volume)


def test_rows_that_hang_on_nothing_are_refused() -> None:
    with pytest.raises(InputError, match="row 3"):
        Zmatrix([*CHAIN[:3], (3, 4, 1, 0), (4, 2, 1, 0)])
    with pytest.raises(InputError, match="3 or more"):
        Zmatrix(CHAIN[:2])


def springs(position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return energy and forces of springs between all atoms, at rest in the chain below."""
    gap = position[:, :, None] - position[:, None]
    length = np.linalg.norm(gap, axis=-1) + np.eye(5)
    away = length - REST
    return 2e4 * 0.25 * (away**2).sum(axis=(1, 2)), -2e4 * ((away / length)[..., None] * gap).sum(axis=2)


AT_REST = np.array([[0.0, 0, 0], [0.12, 0, 0], [0.16, 0.13, 0], [0.28, 0.15, 0.05], [0.10, 0.22, -0.06]])
REST = distances(AT_REST) + np.eye(5)


def test_energies_of_another_program_have_gradients() -> None:
    position = torch.as_tensor(AT_REST + np.random.default_rng(2).normal(0, 0.01, (3, 5, 3))).requires_grad_()
    asked = []

    def ask(where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        asked.append(len(where))
        return springs(where)

    assert torch.autograd.gradcheck(lambda x: queried(x, ask), position)
    asked.clear()
    queried(position, ask).sum().backward()
    assert asked == [3]  # forces are not asked for again


def test_stiff_coordinates_of_springs_are_independent_and_of_width_one() -> None:
    """Of a stiff network of springs the energy is half the sum of squares; the curvature is in units of kT."""
    molecule = Molecule(Zmatrix(CHAIN), (), AT_REST, springs, temperature=300.0)
    x = 0.002 * torch.randn(50, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    energy, volume = molecule(x)
    torch.testing.assert_close(energy, 0.5 * (x**2).sum(dim=-1), rtol=0.03, atol=0)
    torch.testing.assert_close(molecule.coordinates(molecule.positions(x)), x)
    whole = torch.func.jacrev(lambda y: torch.cat([*vars_of(molecule.internal(y[None]))]))(x[0])
    expected = torch.linalg.slogdet(whole).logabsdet + molecule.internal(x[:1]).log_volume[0]
    torch.testing.assert_close(volume[0], expected)


def vars_of(values: Internal) -> list[torch.Tensor]:
    return [values.bond[0], values.angle[0], values.torsion[0]]


def test_a_point_that_is_no_minimum_is_refused() -> None:
    with pytest.raises(InputError, match="no minimum"):
        Molecule(Zmatrix(CHAIN), (), AT_REST, lambda x: (-springs(x)[0], -springs(x)[1]), temperature=300.0)


def test_energies_are_softened_only_above_the_ceiling() -> None:
    energy = torch.tensor([5.0, 20.0, float("inf"), float("nan")], dtype=torch.float64)
    soft = softened(energy, 10.0)
    assert soft[:2].tolist() == [5.0, pytest.approx(10.0 + np.log(11.0))]
    assert torch.isfinite(soft).all()


def test_the_force_field_of_alanine_dipeptide() -> None:
    openmm = pytest.importorskip("openmm")
    from cgstore.building.dipeptide import alanine_dipeptide
    from cgstore.engines.energies_openmm import Energies
    from cgstore.engines.implicit_openmm import implicit_system

    assert openmm
    energies = Energies(implicit_system(alanine_dipeptide(-70.0, 150.0).topology, solvent="obc2"))
    minimum = energies.minimised(dipeptide_positions(-70.0, 150.0))
    molecule = Molecule(Zmatrix(dipeptide_rows()), FREE, minimum, energies, temperature=330.0)
    x = molecule.coordinates(torch.as_tensor(minimum)[None]).repeat(200, 1)
    noise = torch.randn(200, 55, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x[:, 5:] += noise
    asked = energies.evaluations
    energy, _ = molecule(x)
    assert energies.evaluations == asked + 200
    # Stiff coordinates of width one have kT/2 each; what is not harmonic is small.
    assert float(energy.mean()) == pytest.approx(27.5, abs=1.5)
    one = x[:2].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda y: molecule(y)[0], one, eps=1e-6, rtol=1e-3, atol=1e-3, nondet_tol=1e-9)
    angles = np.degrees(x[:1, :2].numpy())
    position = molecule.positions(x[:1]).numpy()
    np.testing.assert_allclose([torsion(position, PHI), torsion(position, PSI)], angles.T, atol=1e-6)
    at_one_point = np.zeros((1, 22, 3))
    energy_there, force_there = energies(at_one_point)
    assert np.isfinite(force_there).all()
    assert not np.isfinite(energy_there[0]) or energy_there[0] > 1e6
    with pytest.raises(InputError, match="expected"):
        energies(np.zeros((1, 5, 3)))
    assert molecule.thermal == pytest.approx(BOLTZMANN * 330.0)
