"""Layers are invertible with the volume they claim; densities are densities."""

import numpy as np
import pytest
import torch

from cgstore.learn.generative.couplings import Coupling, wrapped
from cgstore.learn.generative.drawing import draw, effective, log_partition, weights_of
from cgstore.learn.generative.model import Architecture, model_of
from cgstore.learn.generative.splines import rational_quadratic, spline_parameters
from cgstore.learn.generative.targets import analytic


def random(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def shaken(module: torch.nn.Module) -> torch.nn.Module:
    """Give all weights values as after training: a new layer is the identity, which tests nothing."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for values in module.parameters():
            values.add_(0.3 * torch.randn(values.shape, generator=generator))
    return module.double()


@pytest.mark.parametrize("circular", [True, False])
def test_a_spline_rises_everywhere_with_the_slope_it_claims(circular: bool) -> None:
    raw = random(1, spline_parameters(6, circular=circular)) * 2.0
    x = torch.linspace(-3.1, 3.1, 400, dtype=torch.float64).requires_grad_()
    bent, slope = rational_quadratic(x, raw.expand(400, -1), reach=3.0, circular=circular)
    (gradient,) = torch.autograd.grad(bent.sum(), x)
    inside = x.abs() < 3.0
    torch.testing.assert_close(slope.exp()[inside], gradient[inside])
    assert (bent[inside].diff() > 0).all()
    assert not torch.allclose(bent[inside], x[inside], atol=0.1)
    ends, steep = rational_quadratic(
        torch.tensor([-3.0, 3.0], dtype=torch.float64), raw.expand(2, -1), reach=3.0, circular=circular
    )
    torch.testing.assert_close(ends, torch.tensor([-3.0, 3.0], dtype=torch.float64))
    torch.testing.assert_close(steep[0], steep[1])
    if not circular:
        torch.testing.assert_close(bent[~inside], x[~inside])


@pytest.mark.parametrize("moved", [[0, 2], [1, 3, 4]])
@pytest.mark.parametrize("pieces", [0, 5])
def test_the_volume_of_a_layer_is_that_of_its_derivatives(moved: list[int], pieces: int) -> None:
    periodic = torch.tensor([True, False, True, False, False])
    given = torch.tensor([place for place in range(5) if place not in moved])
    layer = shaken(Coupling(torch.tensor(moved), given, periodic, latent=2, hidden=(8,), pieces=pieces))
    x, z = random(7, 5), random(7, 2, seed=2)
    _, volume = layer(x, z)
    jacobian = torch.func.vmap(torch.func.jacrev(lambda a, b: layer(a[None], b[None])[0][0]))(x, z)
    torch.testing.assert_close(volume, torch.linalg.slogdet(jacobian).logabsdet)


@pytest.mark.parametrize("rounds", [0, 2])
def test_decoders_and_encoders_are_densities(rounds: int) -> None:
    """E[1/q] over samples of q is the volume of a box, where everything lies within it; of z given x it is one."""
    periodic = np.array([True, True])
    model = shaken(model_of(torch.as_tensor(periodic), Architecture(latent=1, hidden=(8,), rounds=rounds), seed=1))
    z = torch.full((200_000, 1), 0.4, dtype=torch.float64)
    with torch.no_grad():
        x, log_q = model.decoder(z, torch.Generator().manual_seed(5))
        assert (x.abs() <= np.pi).all()
        inverse = torch.exp(-log_q)
        error = inverse.std() / len(z) ** 0.5
        assert error < 2.0
        assert abs(inverse.mean() - (2 * np.pi) ** 2) < 4 * error
        grid = torch.linspace(-30, 30, 20_001, dtype=torch.float64)[:, None]
        density = model.encoder.log_density(grid, x[:1].expand(len(grid), -1)).exp()
    assert float(torch.trapezoid(density, grid[:, 0])) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("rounds", [0, 1])
def test_weights_are_right_for_a_model_that_was_never_trained(rounds: int) -> None:
    """ln Z and the mean of a shifted Gaussian, from samples of another density with an encoder that knows nothing."""
    target = analytic(lambda x: 0.5 * ((x - 0.5) ** 2).sum(dim=-1))
    model = model_of(torch.zeros(2, dtype=torch.bool), Architecture(latent=1, hidden=(8,), rounds=rounds), seed=2)
    drawn = draw(model, target, 40_000, seed=3)
    value, error = log_partition(drawn.log_weight)
    assert error < 0.02
    assert abs(value - np.log(2 * np.pi)) < 4 * error
    weight = weights_of(drawn.log_weight)
    assert weight.mean() == pytest.approx(1.0)
    assert 0.1 < effective(weight) < 0.99
    np.testing.assert_allclose(np.average(drawn.x, axis=0, weights=weight), 0.5, atol=0.04)


def test_the_same_seed_gives_the_same_samples() -> None:
    target = analytic(lambda x: (x**2).sum(dim=-1))
    first, second = (
        draw(model_of(torch.zeros(2, dtype=torch.bool), Architecture(rounds=1), seed=7), target, 10, seed=1)
        for _ in range(2)
    )
    np.testing.assert_array_equal(first.x, second.x)


def test_a_sample_without_an_energy_counts_nothing() -> None:
    weight = weights_of(np.array([0.0, -np.inf, np.nan, 0.0]))
    np.testing.assert_allclose(weight, [2.0, 0.0, 0.0, 2.0])


def test_angles_are_wrapped() -> None:
    assert wrapped(torch.tensor([3.5])).item() == pytest.approx(3.5 - 2 * np.pi)
