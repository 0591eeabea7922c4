"""Networks of atoms trained on averages: gradients, steps, exact resume, and a beginning from pair potentials."""

from itertools import combinations

import numpy as np
import pytest
import torch
import xarray as xr

from cgstore.learn.atomic import AtomicNetwork
from cgstore.learn.descriptors import Radial, scaling_of
from cgstore.learn.drawing import StatePoint, measure
from cgstore.learn.moves import begin_memory, move
from cgstore.learn.newton import damped_step, dual_steps, flatten
from cgstore.learn.potential import Prior
from cgstore.learn.pretraining import Known, pretrain
from cgstore.learn.reweighting import Ensemble, curvature, frame_slopes, gradient, respond
from cgstore.learn.settings import Sampling, Training
from cgstore.learn.structural import train_structure
from cgstore.tables import table_of

PRIOR = {"A-A": Prior(core=0.3, strength=4.0, exponent=12.0)}
RADIAL = Radial(0.8, (0.0, 80.0, 80.0, 60.0), (0.0, 0.3, 0.42, 0.58))
GRID = {"width": 0.05, "bins": 14, "first": 0.1}
BETA = 0.8


def network(hidden=(6, 5), seed=3):
    """A network far from linear."""
    model = AtomicNetwork("A", radial=RADIAL, priors=PRIOR, hidden=hidden, told={"temperature": (100.0, 50.0)})
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.3)
    return model


def gas(frames, particles=16, edge=1.8, seed=0, spread=0.12):
    """Frames of particles that do not overlap."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(4)] * 3), -1).reshape(-1, 3)
    place = np.stack([grid[rng.permutation(64)[:particles]] for _ in range(frames)])
    position = (place + spread * rng.normal(size=place.shape)) / 4 * edge
    return xr.Dataset(
        {
            "position": (("frame", "particle", "xyz"), position.astype(np.float32)),
            "box": (("frame", "box_vector", "xyz"), np.repeat(edge * np.eye(3, dtype=np.float32)[None], frames, 0)),
            "time": ("frame", np.arange(frames, dtype=np.float64)),
        },
        {
            "type": ("particle", np.full(particles, "A")),
            "name": ("particle", np.full(particles, "A")),
            "mass": ("particle", np.full(particles, 40.0)),
        },
    )


def ensemble_of(model, ds, *, weighted, seed=0):
    """Frames with targets, drawn under the parameters that the model has, or under others."""
    rng = np.random.default_rng(seed)
    described, g = measure(model, ds, **GRID, inputs={"temperature": 120.0})
    energy = model(described).detach()
    if weighted:
        energy = energy + torch.from_numpy(rng.normal(size=len(energy)))
    values = torch.from_numpy(g[:, 0])
    target = values.mean(0) + 0.2 * torch.from_numpy(rng.normal(size=values.shape[1]))
    return Ensemble(BETA, described, energy, values, target, torch.from_numpy(rng.uniform(0.05, 0.3, len(target))))


def loss_by_definition(model, ensemble):
    """The loss of the reweighted averages, in one differentiable expression."""
    factor = torch.softmax(-ensemble.beta * (model(ensemble.described) - ensemble.energy), dim=0)
    return (((factor @ ensemble.g - ensemble.target) / ensemble.sigma) ** 2).mean()


def along(model, ensemble, direction, step):
    """The loss a step away."""
    moved = AtomicNetwork("A", radial=RADIAL, priors=PRIOR, hidden=(6, 5), told=model.told)
    moved.load_state_dict(model.state_dict())
    offset = 0
    with torch.no_grad():
        for parameter in moved.parameters():
            size = parameter.numel()
            parameter.add_(step * direction[offset : offset + size].view_as(parameter))
            offset += size
        return float(loss_by_definition(moved, ensemble))


@pytest.mark.parametrize("weighted", [False, True])
def test_the_gradient_is_the_finite_difference_of_the_reweighted_average(weighted):
    model = network()
    ensemble = ensemble_of(model, gas(40), weighted=weighted)
    found = gradient(model, [ensemble], [respond(model, ensemble)])
    generator, h = torch.Generator().manual_seed(1), 1e-3
    for _ in range(4):
        direction = torch.randn(len(found), generator=generator, dtype=torch.float64)
        direction /= direction.norm()
        f = {k: along(model, ensemble, direction, k * h) for k in (-2, -1, 1, 2)}
        slope = (f[-2] - 8 * f[-1] + 8 * f[1] - f[2]) / (12 * h)
        assert float(found @ direction) == pytest.approx(slope, rel=1e-5)


def test_the_gradient_is_that_of_the_exact_averages_of_an_enumerated_system():
    model = network()
    grid = np.stack(np.meshgrid(*[np.arange(2), np.arange(2), np.arange(4)]), -1).reshape(-1, 3) * 0.4
    states = np.array([grid[list(chosen)] for chosen in combinations(range(len(grid)), 3)])
    ds = xr.Dataset(
        {
            "position": (("frame", "particle", "xyz"), (states + 0.2).astype(np.float32)),
            "box": (("frame", "box_vector", "xyz"), np.repeat(1.75 * np.eye(3)[None], len(states), 0)),
        },
        {"type": ("particle", ["A"] * 3)},
    )
    ensemble = ensemble_of(model, ds, weighted=False)
    uniform = Ensemble(
        BETA, ensemble.described, torch.zeros(len(states)), ensemble.g, ensemble.target, ensemble.sigma
    )  # every state once: reweighting from nothing is the exact canonical average
    found = gradient(model, [uniform], [respond(model, uniform)])
    exact = flatten(torch.autograd.grad(loss_by_definition(model, uniform), list(model.parameters())))
    energy = model(uniform.described).detach().numpy()
    weight = np.exp(-BETA * (energy - energy.min()))
    g = (weight / weight.sum()) @ uniform.g.numpy()
    np.testing.assert_allclose(respond(model, uniform).g.numpy(), g, rtol=1e-12)
    np.testing.assert_allclose(found.numpy(), exact.numpy(), rtol=1e-6, atol=1e-6 * float(exact.abs().max()))


def test_slopes_of_frames_give_the_gradient_and_the_step_of_products():
    model = network()
    ensemble = ensemble_of(model, gas(30), weighted=True)
    response = respond(model, ensemble)
    slopes = frame_slopes(model, ensemble)
    score = response.weight * ((ensemble.g - response.g) @ response.slope)
    slope = gradient(model, [ensemble], [response])
    torch.testing.assert_close(-BETA * score @ slopes, slope, rtol=1e-10, atol=1e-12)
    centred = slopes - response.weight @ slopes
    scale = (2.0 / len(response.g)) ** 0.5
    spread = -BETA * scale * response.weight[:, None] * (ensemble.g - response.g) / ensemble.sigma
    (direct,) = dual_steps(spread, centred, scale * (response.g - ensemble.target) / ensemble.sigma, [1e-2])
    product = lambda vector: curvature(model, [ensemble], [response], vector)  # noqa: E731
    slowly = damped_step(product, slope, damping=1e-2, iterations=200, accuracy=1e-9)
    torch.testing.assert_close(direct, slowly, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("method", ["frames", "newton", "adam"])
def test_every_method_lowers_the_loss_on_frames_in_hand(method):
    model = network()
    ensemble = ensemble_of(model, gas(60), weighted=False)
    ensemble = Ensemble(
        BETA,
        ensemble.described,
        ensemble.energy,
        ensemble.g,
        ensemble.g.mean(0) * 0.9 + 0.1 * ensemble.g[:10].mean(0),
        ensemble.sigma,
    )
    training = Training(effective=0.3, method=method, rate=2e-3, damping=1e-2)
    memory = begin_memory(list(model.parameters()), training)
    before = respond(model, ensemble)
    for _ in range(5):
        memory = move(model, [ensemble], [respond(model, ensemble)], training, memory)
    after = respond(model, ensemble)
    assert after.loss < 0.95 * before.loss
    assert after.effective > 0.3


@pytest.mark.parametrize("method", ["frames", "adam"])
def test_a_training_goes_on_as_if_it_had_never_stopped(method):
    start = gas(4)
    g = np.exp(-((0.35 / (GRID["first"] + (np.arange(14) + 0.5) * 0.05)) ** 12))[None]
    point = StatePoint("gas", 150.0, start, 0.05, g, np.full_like(g, 0.05), first=0.1, inputs={"temperature": 150.0})
    sampling = Sampling(0.01, 1.0, 0.2, 0.6, 0.1, 1)
    training = Training(rounds=4, steps=2, effective=0.2, damping=1e-2, method=method, rate=1e-2)
    rows, places, ends = [], [], []
    for begin in (None, 2):
        model = network(hidden=(4,))
        place = None if begin is None else places[begin]
        kept = []
        rows.append(
            list(
                train_structure(
                    model, [point], sampling=sampling, training=training, seed=5, place=place, on_round=kept.append
                )
            )
        )
        places = places or kept
        ends.append(flatten([p.detach() for p in model.parameters()]))
    assert [row._replace(seconds=0) for row in rows[0] if row.round >= 2] == [
        row._replace(seconds=0) for row in rows[1]
    ]
    assert torch.equal(*ends)
    assert len({row.loss for row in rows[0]}) > 4


def test_patience_ends_a_training_that_its_watched_points_do_not_follow():
    start = gas(4)
    far = StatePoint("gas", 150.0, start, 0.05, np.full((1, 14), 9.0), np.full((1, 14), 1e9), 0.1, {"temperature": 1.0})
    training = Training(rounds=9, steps=1, effective=0.2, damping=1e-2, method="adam", rate=0.0, patience=2)
    sampling = Sampling(0.01, 1.0, 0.1, 0.2, 0.1, 1)
    rows = list(train_structure(network(hidden=()), [far], watched=[far], sampling=sampling, training=training, seed=5))
    best = max(row.round for row in rows if row.best)
    assert max(row.round for row in rows) == min(best + 2, 8)


def test_a_network_begins_as_a_pair_potential():
    frames = gas(6, particles=40, edge=1.7, spread=0.05)
    r = np.linspace(0.2, 0.8, 61)
    table = {"A-A": table_of(r, 4.0 * ((0.3 / r) ** 12) - 3.0 * np.exp(-40 * (r - 0.45) ** 2), 0.8, spacing=0.002)}
    blank = AtomicNetwork("A", radial=RADIAL, priors=PRIOR, hidden=())
    described, _ = measure(blank, frames, **GRID)
    scaling = scaling_of(described.descriptor, described.kind, 1)
    errors = []
    for hidden in ((), (12,)):
        model = AtomicNetwork("A", radial=RADIAL, priors=PRIOR, hidden=hidden, scaling=scaling)
        errors.append(pretrain(model, [Known(frames, table, thermal=1.0)]))
        energy = model.particle_energy(model.describe(frames["position"], frames["box"], ["A"] * 40)).detach().numpy()
        assert np.corrcoef(energy.sum(1), _pair_energy(frames, table, model))[0, 1] > 0.95
    assert errors[1] < errors[0] < 1.0


def _pair_energy(frames, table, model):
    """The energy of frames in a pair potential, less that of the prior."""
    total = []
    for x in frames["position"].values.astype(float):
        i, j = np.triu_indices(len(x), 1)
        d = x[i] - x[j]
        d -= 1.7 * np.rint(d / 1.7)
        r = np.sqrt((d**2).sum(1))
        r = r[r < 0.8]
        total.append((np.interp(r, table["A-A"].r, table["A-A"].energy) - model.prior_at("A-A", r)).sum())
    return np.array(total)
