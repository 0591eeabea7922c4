"""The bimodal potential of the published method, against quadrature; the rule of tempering, against exact systems."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cgstore.errors import InputError, PhysicsError
from cgstore.learn.generative.drawing import draw, log_partition, weights_of
from cgstore.learn.generative.ensembles import digest_of
from cgstore.learn.generative.memory import Memory
from cgstore.learn.generative.model import Architecture
from cgstore.learn.generative.targets import analytic, double_well
from cgstore.learn.generative.tempering import Tempering, growth, next_step, settled
from cgstore.learn.generative.training import Settings, train

BARRIER = 0.1674


def exact(tilt: float = 1.0) -> tuple[float, float]:
    """Return ln Z and the part of the minor mode, by quadrature; the published potential has the tilt one."""
    first = np.linspace(-12.0, 12.0, 200_001)
    density = np.exp(-(first**4 / 4 - 3 * first**2 + tilt * first))
    whole = np.trapezoid(density, first)
    return float(np.log(whole * np.sqrt(2 * np.pi))), float(
        np.trapezoid(np.where(first > BARRIER, density, 0.0), first) / whole
    )


def test_the_reference_is_the_published_potential() -> None:
    assert exact() == pytest.approx((12.0649, 0.008346), rel=1e-4)


def test_a_short_training_finds_both_modes() -> None:
    """Of the potential with less of a tilt: a mode of 0.8 % needs the schedule of `benchmarks/data_free.py wells`."""
    settings = Settings(
        shape=Architecture(latent=1, hidden=(16,), rounds=1, width=2.0),
        tempering=Tempering(start=0.2, largest=0.2, increase=0.3, floor=0.2, longest=30),
        samples=300,
        rate=5e-3,
        final=100,
    )
    target = analytic(lambda x: double_well(x) - 0.9 * x[:, 0])
    seen = []
    found = train(target, np.zeros(2, bool), settings, report=lambda *now: seen.append(now))
    assert found.evaluations >= 300 * len(found.beta) == 300 * len(seen)
    assert (np.diff(found.beta) >= 0).all()
    assert found.beta[-1] == 1.0
    drawn = draw(found.model, target, 20_000, seed=1)
    value, error = log_partition(drawn.log_weight)
    assert abs(value - exact(0.1)[0]) < max(0.05, 4 * error)
    minor = np.average(drawn.x[:, 0] > BARRIER, weights=weights_of(drawn.log_weight))
    assert minor == pytest.approx(exact(0.1)[1], rel=0.15)


def test_what_was_drawn_before_is_drawn_again_by_its_weight_at_any_beta() -> None:
    """Samples of N(0, 1) and of N(1, 1), each with its own density, are N(0, 1/β) when drawn by weight."""
    generator, memory = torch.Generator().manual_seed(1), Memory(20_000)
    for middle in (5.0, 0.0, 1.0):
        x = middle + torch.randn(10_000, 1, generator=generator, dtype=torch.float64)
        log_q = -0.5 * (x[:, 0] - middle) ** 2 - 0.5 * np.log(2 * np.pi)
        memory.add(2.0 * x, x, 0.5 * x[:, 0] ** 2, log_q)
    one = torch.ones(1, 1, dtype=torch.float64)
    memory.add(one, one, torch.tensor([float("nan")]), torch.zeros(1))
    assert len(memory.x) == 20_000  # the first ones are forgotten, and what has no energy is not taken
    for beta in (1.0, 2.0):
        z, drawn = memory.draw(beta, 50_000, generator)
        torch.testing.assert_close(z, 2.0 * drawn)
        assert float(drawn.mean()) == pytest.approx(0.0, abs=0.04)
        assert float(drawn.std()) == pytest.approx(beta**-0.5, rel=0.04)


def test_a_mode_that_is_all_but_lost_comes_back_with_the_forward_divergence() -> None:
    """Two modes of equal mass far apart, of which the reverse divergence alone leaves one out."""
    target = analytic(lambda x: -torch.logsumexp(torch.stack([-8.0 * (x[:, 0] - m) ** 2 for m in (-1.5, 1.5)]), 0))
    parts = []
    for covering in (0.0, 0.5):
        settings = Settings(
            shape=Architecture(latent=1, hidden=(16,), rounds=1, width=1.0),
            tempering=Tempering(start=0.99, longest=5),
            samples=100,
            rate=1e-2,
            final=150,
            covering=covering,
            kept=2000,
            seed=1,
        )
        drawn = draw(train(target, np.zeros(1, bool), settings).model, target, 4000, seed=1)
        parts.append(np.minimum((drawn.x > 0).mean(), (drawn.x < 0).mean()))
    assert parts[0] < 0.1 < 0.35 < parts[1]


def test_a_training_is_the_same_for_the_same_seed() -> None:
    settings = Settings(
        shape=Architecture(latent=1, hidden=(8,), rounds=1),
        tempering=Tempering(start=0.5, largest=0.5, longest=5),
        samples=20,
        final=5,
    )
    runs = [train(analytic(double_well), np.zeros(2, bool), settings) for _ in range(2)]
    np.testing.assert_array_equal(runs[0].objective, runs[1].objective)


@pytest.mark.parametrize("stop", [7, 13])
def test_a_training_that_is_stopped_goes_on_to_the_same_bits(tmp_path: Path, stop: int) -> None:
    """Stopped while β grows, and in the last iterations."""
    settings = Settings(
        shape=Architecture(latent=1, hidden=(8,), rounds=1),
        tempering=Tempering(start=0.5, largest=0.5, increase=100.0, longest=5),
        samples=20,
        final=8,
        covering=0.5,
        kept=50,
    )
    target, periodic, path = analytic(double_well), np.zeros(2, bool), tmp_path / "state"
    whole = train(target, periodic, settings)

    def stopped(iteration: int, beta: float, value: float) -> None:
        if iteration == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(target, periodic, settings, report=stopped, checkpoint=path, every=3)
    seen = []
    again = train(target, periodic, settings, report=lambda *now: seen.append(now), checkpoint=path)
    assert len(seen) == len(whole.beta) - (stop - 1) // 3 * 3
    np.testing.assert_array_equal(again.objective, whole.objective)
    assert (digest_of(again.model), again.evaluations) == (digest_of(whole.model), whole.evaluations)
    with pytest.raises(InputError, match="other settings"):
        train(target, periodic, replace(settings, seed=1), checkpoint=path)
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match="no state"):
        train(target, periodic, settings, checkpoint=path)


def test_the_rise_of_the_divergence_is_that_of_exact_gaussians() -> None:
    """q = p at β: after a step of β the divergence of N(0, 1/β) from N(0, 1/β') is known."""
    beta, step = 2.0, 0.5
    x = np.random.default_rng(1).normal(0, beta**-0.5, 400_000)
    log_q = 0.5 * np.log(beta / (2 * np.pi)) - beta * x**2 / 2
    rise, divergence = growth(step, x**2 / 2, log_q, beta)
    ratio = (beta + step) / beta
    assert divergence == pytest.approx(0.0, abs=1e-12)
    assert rise == pytest.approx(0.5 * (ratio - 1 - np.log(ratio)), rel=0.03)


def test_a_step_is_as_large_as_the_rule_allows() -> None:
    x = np.random.default_rng(1).normal(0, 0.2**-0.5, 10_000)
    log_q = 0.5 * np.log(0.2 / (2 * np.pi)) - 0.1 * x**2
    rule = Tempering(largest=0.5, increase=0.1, floor=0.05)
    step = next_step(x**2 / 2, log_q, 0.2, rule)
    limit = 0.1 * max(growth(step, x**2 / 2, log_q, 0.2)[1], 0.05)
    assert growth(step, x**2 / 2, log_q, 0.2)[0] <= limit < growth(step / 0.6, x**2 / 2, log_q, 0.2)[0]
    assert next_step(x**2 / 2, log_q, 0.99, Tempering(increase=100.0)) == pytest.approx(0.01)


def test_a_model_is_settled_when_its_means_no_longer_fall() -> None:
    rule = Tempering(batch=2, patience=2, longest=100)
    falling = [float(-step) for step in range(20)]
    assert not settled(falling, rule)
    assert settled([*falling, 0.0, 0.0, 0.0, 0.0], rule)
    assert not settled([*falling, 0.0, 0.0], rule)  # one mean is not enough
    assert settled(falling, Tempering(longest=20))


def test_an_objective_that_explodes_is_said() -> None:
    with pytest.raises(PhysicsError, match="objective is nan"):
        train(analytic(lambda x: x[:, 0] * float("nan")), np.zeros(2, bool), Settings(samples=4))
