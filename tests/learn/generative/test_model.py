"""Layers are invertible with the volume they claim; densities are densities."""

from pathlib import Path

import numpy as np
import pytest
import torch

from cgstore.errors import InputError, NotFound
from cgstore.learn.generative.couplings import Coupling, wrapped
from cgstore.learn.generative.coverage import shortfall
from cgstore.learn.generative.drawing import draw, effective, log_partition, weights_of
from cgstore.learn.generative.ensembles import digest_of
from cgstore.learn.generative.files import load_model, save_model
from cgstore.learn.generative.model import Architecture, model_of
from cgstore.learn.generative.splines import rational_quadratic, spline_parameters
from cgstore.learn.generative.targets import analytic


def random(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def shaken(module: torch.nn.Module, much: float = 0.3) -> torch.nn.Module:
    """Give all weights values as after training: a new layer is the identity, which tests nothing."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for values in module.parameters():
            values.add_(much * torch.randn(values.shape, generator=generator))
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
    back, again = rational_quadratic(bent, raw.expand(400, -1), reach=3.0, circular=circular, inverse=True)
    torch.testing.assert_close(back[inside], x[inside])
    torch.testing.assert_close(again[inside], slope[inside])
    if not circular:
        torch.testing.assert_close(back, x)


@pytest.mark.parametrize("moved", [[0, 2], [1, 3, 4]])
@pytest.mark.parametrize("pieces", [0, 5])
def test_the_volume_of_a_layer_is_that_of_its_derivatives(moved: list[int], pieces: int) -> None:
    periodic = torch.tensor([True, False, True, False, False])
    given = torch.tensor([place for place in range(5) if place not in moved])
    layer = shaken(Coupling(torch.tensor(moved), given, periodic, latent=2, hidden=(8,), pieces=pieces))
    x, z = random(7, 5), random(7, 2, seed=2)
    y, volume = layer(x, z)
    back, again = layer(y, z, inverse=True)
    away = back - x
    away[:, periodic] = wrapped(away[:, periodic])
    torch.testing.assert_close(away, torch.zeros_like(away))
    torch.testing.assert_close(again, volume)
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


@pytest.mark.parametrize("by_latent", [0, 2])
def test_the_density_of_any_coordinates_is_that_by_which_they_are_drawn(by_latent: int) -> None:
    periodic = torch.tensor([True, True, True, False, False, False])
    shape = Architecture(latent=1, hidden=(8,), rounds=2, by_latent=by_latent)
    model = shaken(model_of(periodic, shape, seed=1), 0.1)
    z = random(500, 1)
    with torch.no_grad():
        x, log_q = model.decoder(z, torch.Generator().manual_seed(5))
        torch.testing.assert_close(model.decoder.log_density(x, z), log_q)
        # Of one x, over z from the encoder, against the integral over z.
        ratio = model.log_ratio(x[:1].expand(20_000, -1), torch.Generator().manual_seed(6)).exp()
        grid = torch.linspace(-8, 8, 801, dtype=torch.float64)[:, None]
        joint = torch.exp(model.decoder.log_density(x[:1].expand(801, -1), grid) - 0.5 * grid[:, 0] ** 2)
    exact = float(torch.trapezoid(joint, grid[:, 0])) / (2 * np.pi) ** 0.5
    assert float(ratio.std()) < 20 * exact
    assert abs(float(ratio.mean()) - exact) < 4 * float(ratio.std()) / 20_000**0.5


def test_coordinates_that_z_gives_are_moved_by_nothing_else() -> None:
    """Given z the first two are independent normals about the mean that z gives, and z says nothing of the others."""
    periodic = torch.tensor([True, True, True, False, False])
    shape = Architecture(latent=2, hidden=(8,), rounds=2, by_latent=2, turn=0.2)
    model = shaken(model_of(periodic, shape, seed=1), 0.1)
    z = torch.tensor([[0.3, -0.2], [0.4, 0.1]], dtype=torch.float64).repeat_interleave(20_000, dim=0)
    with torch.no_grad():
        x, _ = model.decoder(z, torch.Generator().manual_seed(5))
        mean, log_width = (part[::20_000, :2] for part in model.decoder._base(z))
        first = wrapped(x[:, :2].reshape(2, -1, 2) - mean[:, None])
        np.testing.assert_allclose(first.mean(dim=1), 0.0, atol=0.01)
        np.testing.assert_allclose(first.std(dim=1), log_width.exp(), rtol=0.02)
        moved = model.decoder.log_density(x, z) - model.decoder.log_density(x, z + 0.5)
        other = x.clone()
        other[:, 2:] = x[:, 2:].flip(0)
        torch.testing.assert_close(
            moved, model.decoder.log_density(other, z) - model.decoder.log_density(other, z + 0.5), atol=1e-6, rtol=1e-6
        )
        torch.testing.assert_close(model.encoder(x)[0], model.encoder(other)[0])


def test_z_cannot_give_more_coordinates_than_there_are() -> None:
    with pytest.raises(InputError, match="by_latent = 3, expected 0 to 2"):
        model_of(torch.zeros(2, dtype=torch.bool), Architecture(by_latent=3), seed=0)


@pytest.mark.parametrize("encodings", [1, 6])
@pytest.mark.parametrize("rounds", [0, 1])
def test_weights_are_right_for_a_model_that_was_never_trained(rounds: int, encodings: int) -> None:
    """ln Z and the mean of a shifted Gaussian, from samples of another density with an encoder that knows nothing."""
    target = analytic(lambda x: 0.5 * ((x - 0.5) ** 2).sum(dim=-1))
    model = model_of(torch.zeros(2, dtype=torch.bool), Architecture(latent=1, hidden=(8,), rounds=rounds), seed=2)
    drawn = draw(model, target, 40_000, seed=3, encodings=encodings)
    value, error = log_partition(drawn.log_weight)
    assert error < 0.02
    assert abs(value - np.log(2 * np.pi)) < 4 * error
    weight = weights_of(drawn.log_weight)
    assert weight.mean() == pytest.approx(1.0)
    assert 0.1 < effective(weight) < 0.99
    np.testing.assert_allclose(np.average(drawn.x, axis=0, weights=weight), 0.5, atol=0.04)


def test_more_encodings_make_weights_more_even() -> None:
    """A decoder that follows z closely with an encoder that knows nothing: one z is worth little, many much more."""
    shape = Architecture(latent=1, hidden=(8,), rounds=0, spread=4.0, width=0.3)
    model = model_of(torch.zeros(1, dtype=torch.bool), shape, seed=3)
    target = analytic(lambda x: 0.5 * (x[:, 0] / 0.5) ** 2)
    worth = [effective(weights_of(draw(model, target, 5000, seed=1, encodings=n).log_weight)) for n in (1, 30)]
    assert worth[1] > worth[0] + 0.1


def test_the_density_of_samples_that_were_not_drawn_is_right() -> None:
    """KL(p ‖ q) of two Gaussians, whose divergence is known."""
    model = model_of(torch.zeros(2, dtype=torch.bool), Architecture(latent=1, rounds=0, spread=0.0), seed=0).double()
    width = 0.5
    x = np.random.default_rng(1).normal(0, width, (20_000, 2))
    target = analytic(lambda x: 0.5 * (x**2).sum(dim=-1) / width**2)
    away = shortfall(model, target, x, log_z=np.log(2 * np.pi * width**2), encodings=20)
    exact = 2 * (-np.log(width) + 0.5 * width**2 - 0.5)
    assert away.mean() == pytest.approx(exact, abs=0.02)


def test_a_model_is_read_with_the_bits_it_was_written_with(tmp_path: Path) -> None:
    shape = Architecture(latent=1, hidden=(8, 4), rounds=1, by_latent=1)
    model = shaken(model_of(torch.tensor([True, False, False]), shape, seed=3))
    save_model(model, tmp_path / "m.npz", told={"seed": 3})
    read, told = load_model(tmp_path / "m.npz")
    assert (digest_of(read), told, read.shape) == (digest_of(model), {"seed": 3}, shape)
    with pytest.raises(NotFound, match="no model at"):
        load_model(tmp_path / "other.npz")
    np.savez(tmp_path / "other.npz", told="{}", shape="{}")
    with pytest.raises(InputError, match="holds no model"):
        load_model(tmp_path / "other.npz")


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
