from itertools import permutations, product

import numpy as np
import pytest
import torch
import xarray as xr

from cgstore.averages.pair import rdf
from cgstore.learn.drawing import StatePoint, measure
from cgstore.learn.newton import damped_step, flatten
from cgstore.learn.potential import PairNetwork, Prior, pair_names
from cgstore.learn.reweighting import Ensemble, curvature, effective_sample_size, gradient, respond
from cgstore.learn.sampler import sample
from cgstore.learn.settings import Sampling, Training
from cgstore.learn.structural import train_structure
from cgstore.tables import table_of

PRIOR = Prior(core=0.3, strength=4.0, exponent=12.0)


class ManyBody(torch.nn.Module):
    """E = Σ_i NN(G_i): not linear in the descriptors, so that a gradient at their mean is not the mean gradient."""

    def __init__(self, features, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.net = torch.nn.Sequential(torch.nn.Linear(features, 6), torch.nn.Tanh(), torch.nn.Linear(6, 1)).double()

    def forward(self, described):  # (frame, particle, feature)
        return self.net(described).sum(dim=(1, 2))


def _ensemble(described, g, model, *, beta=0.7, seed=0):
    """An ensemble drawn under other parameters than those that the model has now."""
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        energy = model(described) + 0.3 * torch.from_numpy(rng.normal(size=len(described)))
    target = g.mean(0) + 0.1 * torch.from_numpy(rng.normal(size=g.shape[1]))
    sigma = torch.from_numpy(rng.uniform(0.05, 0.2, g.shape[1]))
    return Ensemble(beta, described, energy, g, target, sigma)


@pytest.fixture
def pair_model():
    """A network of pairs with random frames of random boxes, 12 particles of two types."""
    rng = np.random.default_rng(2)
    model = PairNetwork(
        ["A", "B"], cutoff=0.8, priors=dict.fromkeys(pair_names("AB"), PRIOR), spacing=0.01, features=6, hidden=(5, 4)
    )
    box = np.stack([np.diag(rng.uniform(1.7, 2.0, 3)) for _ in range(40)])
    grid = np.stack(np.meshgrid(*[np.arange(3)] * 3), -1).reshape(-1, 3)[rng.permutation(27)[:12]] / 3
    position = (grid + 0.08 * rng.normal(size=(40, 12, 3))) @ box
    types = list("AABBABABBAAB")
    ds = xr.Dataset(
        {
            "position": (("frame", "particle", "xyz"), position.astype(np.float32)),
            "box": (("frame", "box_vector", "xyz"), box),
        },
        coords={"type": ("particle", types)},
    )
    described, g = measure(model, ds, width=0.05, bins=16)
    return model, _ensemble(described, torch.from_numpy(g.reshape(40, -1)), model)


@pytest.fixture
def body_model():
    rng = np.random.default_rng(4)
    described = torch.from_numpy(rng.normal(size=(50, 7, 3)))
    model = ManyBody(3)
    g = torch.cat([(described**2).mean(1), torch.sin(3 * described).sum(1)], dim=1)
    return model, _ensemble(described, g, model)


def _reweighted_loss(model, ensembles):
    """The loss as a reader of the definition would write it, in NumPy."""
    total = 0.0
    for ensemble in ensembles:
        with torch.no_grad():
            change = (model(ensemble.described) - ensemble.energy).numpy()
        factor = np.exp(-ensemble.beta * (change - change.min()))
        g = (factor[:, None] * ensemble.g.numpy()).sum(0) / factor.sum()
        total += np.mean(((g - ensemble.target.numpy()) / ensemble.sigma.numpy()) ** 2)
    return total


def _along(model, ensembles, direction, step):
    """The loss a step away in parameter space."""
    old = [p.detach().clone() for p in model.parameters()]
    offset = 0
    with torch.no_grad():
        for parameter in model.parameters():
            size = parameter.numel()
            parameter.add_(step * direction[offset : offset + size].view_as(parameter))
            offset += size
    loss = _reweighted_loss(model, ensembles)
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), old, strict=True):
            parameter.copy_(value)
    return loss


def _slope(model, ensembles, direction):
    """The derivative of the loss along a direction by a five-point difference."""
    h = 1e-3
    f = {k: _along(model, ensembles, direction, k * h) for k in (-2, -1, 1, 2)}
    return (f[-2] - 8 * f[-1] + 8 * f[1] - f[2]) / (12 * h)


def _directions(model, count=4):
    generator = torch.Generator().manual_seed(9)
    size = sum(p.numel() for p in model.parameters())
    for _ in range(count):
        direction = torch.randn(size, generator=generator, dtype=torch.float64)
        yield direction / direction.norm()


@pytest.mark.parametrize("which", ["pair_model", "body_model"])
def test_the_gradient_is_the_finite_difference_of_the_reweighted_loss_for_a_nonlinear_network(which, request):
    model, ensemble = request.getfixturevalue(which)
    found = gradient(model, [ensemble], [respond(model, ensemble)])
    for direction in _directions(model):
        assert float(found @ direction) == pytest.approx(_slope(model, [ensemble], direction), rel=1e-5)


def test_the_gradients_of_several_state_points_add_up(pair_model):
    model, one = pair_model
    two = _ensemble(one.described, one.g, model, beta=0.4, seed=8)
    found = gradient(model, [one, two], [respond(model, one), respond(model, two)])
    for direction in _directions(model):
        assert float(found @ direction) == pytest.approx(_slope(model, [one, two], direction), rel=1e-5)


def _published(model, ensemble):
    """The gradient as printed in 2023: <g> · dE/dθ at the mean descriptor in place of the mean of dE/dθ."""
    response = respond(model, ensemble)
    parameters = list(model.parameters())
    weighted = (response.weight * (ensemble.g @ response.slope)) @ model(ensemble.described)
    mean = torch.einsum("f,f...->...", response.weight, ensemble.described)[None]
    at_mean = (response.g @ response.slope) * model(mean).sum()
    return -ensemble.beta * flatten(torch.autograd.grad(weighted - at_mean, parameters))


def test_the_published_uncentred_gradient_fails_where_ours_does_not(body_model):
    model, ensemble = body_model
    wrong = _published(model, ensemble)
    right = gradient(model, [ensemble], [respond(model, ensemble)])
    slopes = [(_slope(model, [ensemble], d), float(wrong @ d), float(right @ d)) for d in _directions(model)]
    assert all(good == pytest.approx(exact, rel=1e-5) for exact, _, good in slopes)
    assert all(bad != pytest.approx(exact, rel=0.1) for exact, bad, _ in slopes)


def test_the_published_gradient_is_right_for_a_linear_network(body_model):
    _, ensemble = body_model

    class Linear(ManyBody):
        def __init__(self):
            super().__init__(3)
            self.net = torch.nn.Linear(3, 1).double()

    model = Linear()
    torch.testing.assert_close(_published(model, ensemble), gradient(model, [ensemble], [respond(model, ensemble)]))


def test_on_a_toy_whose_states_are_enumerated_the_gradient_is_exact():
    """Four particles on eight sites of a ring, two of each type: all states, their exact Boltzmann averages."""
    sites, beta = 8, 1.3
    states = {(frozenset(s[:2]), frozenset(s[2:])) for s in permutations(range(sites), 4)}
    described, g = [], []
    for a, b in sorted(states, key=lambda s: (sorted(s[0]), sorted(s[1]))):
        particles = [*a, *b]
        distance = lambda i, j: min(abs(i - j), sites - abs(i - j))  # noqa: E731
        described.append([[sum(distance(i, j) == d for j in particles) for d in (1, 2, 3)] for i in particles])
        g.append([sum(distance(i, j) == d for i, j in product(a, b)) for d in (1, 2, 3, 4)])
    described, g = torch.tensor(described, dtype=torch.float64), torch.tensor(g, dtype=torch.float64)
    assert len(described) == 420  # 8! / (4! 2! 2!)
    model = ManyBody(3, seed=5)
    # Every state once and nothing to reweight from: the weights are the Boltzmann factors themselves.
    target, sigma = torch.tensor([0.9, 0.8, 1.1, 0.4]).double(), torch.tensor([0.1, 0.2, 0.1, 0.3]).double()
    ensemble = Ensemble(beta, described, torch.zeros(len(described)).double(), g, target, sigma)

    weights = [layer.detach().numpy() for layer in model.parameters()]

    def exact_loss(parameters):
        w1, b1, w2, b2 = parameters
        energy = (np.tanh(described.numpy() @ w1.T + b1) @ w2.T + b2).sum((1, 2))
        factor = np.exp(-beta * energy)
        mean = factor @ g.numpy() / factor.sum()
        return np.mean(((mean - target.numpy()) / sigma.numpy()) ** 2)

    found = gradient(model, [ensemble], [respond(model, ensemble)]).numpy()
    assert respond(model, ensemble).loss == pytest.approx(exact_loss(weights), rel=1e-12)
    h, offset = 1e-3, 0
    for number, array in enumerate(weights):
        for place in np.ndindex(array.shape):
            values = []
            for k in (-2, -1, 1, 2):
                moved = [w.copy() for w in weights]
                moved[number][place] += k * h
                values.append(exact_loss(moved))
            slope = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * h)
            assert found[offset] == pytest.approx(slope, rel=1e-6, abs=1e-6 * np.abs(found).max())
            offset += 1
    assert offset == len(found)


def test_the_scores_of_frames_add_up_to_zero_whatever_the_weights(pair_model):
    model, ensemble = pair_model
    response = respond(model, ensemble)
    score = (ensemble.g - response.g) @ response.slope
    assert abs(float(response.weight @ score)) < 1e-12 * float(score.abs().max())
    assert response.effective < 1.0


def test_a_constant_in_the_energy_changes_nothing(body_model):
    model, ensemble = body_model
    before = gradient(model, [ensemble], [respond(model, ensemble)])
    with torch.no_grad():
        model.net[-1].bias.add_(5.0)
    after = gradient(model, [ensemble], [respond(model, ensemble)])
    torch.testing.assert_close(before, after)
    assert abs(float(after[-1])) < 1e-9 * float(after.abs().max())


def test_the_curvature_is_that_of_the_explicit_jacobian(body_model):
    model, ensemble = body_model
    response = respond(model, ensemble)
    jacobian = []
    for k in range(ensemble.g.shape[1]):
        energy = model(ensemble.described)
        covariance = -ensemble.beta * ((response.weight * (ensemble.g[:, k] - response.g[k])) @ energy)
        jacobian.append(flatten(torch.autograd.grad(covariance, list(model.parameters()))))
    J = torch.stack(jacobian)
    matrix = J.T @ ((2 / len(J) / ensemble.sigma**2)[:, None] * J)
    for direction in _directions(model):
        torch.testing.assert_close(curvature(model, [ensemble], [response], direction), matrix @ direction)


def test_a_damped_step_solves_the_damped_equations():
    generator = torch.Generator().manual_seed(1)
    half = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    matrix, g = half @ half.T, torch.randn(6, generator=generator, dtype=torch.float64)
    step = damped_step(lambda v: matrix @ v, g, damping=0.1, iterations=50, accuracy=1e-12)
    shift = 0.1 * (g @ matrix @ g) / (g @ g)
    torch.testing.assert_close(step, torch.linalg.solve(matrix + shift * torch.eye(6).double(), -g))
    assert damped_step(lambda v: matrix @ v, torch.zeros(6).double(), damping=0.1, iterations=5).norm() == 0


def test_the_effective_sample_size_counts_frames_that_matter():
    assert effective_sample_size(torch.full((50,), 0.02)) == pytest.approx(1.0)
    assert effective_sample_size(torch.tensor([1.0, 0, 0, 0])) == pytest.approx(0.25)
    weight = torch.tensor([0.7, 0.2, 0.1]).double()
    entropy = -sum(w * np.log(w) for w in (0.7, 0.2, 0.1))
    assert effective_sample_size(weight) == pytest.approx(np.exp(entropy) / 3)


# The rest trains on a dilute gas of 64 particles whose potential is known.

SIGMA, EPSILON, TEMPERATURE = 0.34, 1.0, 150.0
QUICK = Sampling(time_step=0.01, equilibrate=1.0, duration=6.0, every=0.25)


def _truth(cutoff=0.8):
    r = np.arange(0.25, cutoff + 0.002, 0.002)
    return table_of(r, 4 * EPSILON * ((SIGMA / r) ** 12 - (SIGMA / r) ** 6), cutoff)


@pytest.fixture(scope="module")
def start():
    grid = np.stack(np.meshgrid(*[np.arange(4)] * 3), -1).reshape(-1, 3) * 0.47
    return xr.Dataset(
        {
            "position": (("frame", "particle", "xyz"), np.repeat(grid[None], 6, 0).astype(np.float32)),
            "box": (("frame", "box_vector", "xyz"), np.repeat(1.88 * np.eye(3, dtype=np.float32)[None], 6, 0)),
            "mass": ("particle", np.full(64, 16.0)),
        },
        coords={"type": ("particle", ["A"] * 64)},
    )


def _model(seed=1):
    prior = Prior(core=0.31, strength=4.0, exponent=14.0)
    return PairNetwork(["A"], cutoff=0.8, priors={"A-A": prior}, features=12, hidden=(12,), seed=seed)


@pytest.fixture(scope="module")
def points(start):
    """Two state points of one potential: reference averages from its own, longer sampling."""
    made = []
    for temperature in (130.0, TEMPERATURE):
        ds = sample(
            {"A-A": _truth()}, start, temperature=temperature, equilibrate=5.0, duration=60.0, every=0.25, seed=5
        )
        _, g = measure(_model(), ds, width=0.02, bins=45)
        blocks = g.reshape(6, -1, 1, 45).mean(1)
        sigma = np.hypot(blocks.std(0, ddof=1) / 6**0.5, 0.02)
        made.append(StatePoint(f"{temperature:g} K", temperature, start, 0.02, g.mean(0), sigma))
    return made


def test_the_distribution_of_frames_is_that_of_cgstore_rdf(start):
    ds = sample({"A-A": _truth()}, start, temperature=200.0, equilibrate=1.0, duration=2.0, every=0.5, seed=5)
    _, g = measure(_model(), ds, width=0.02, bins=45)
    known = rdf(ds, r_max=0.9, bin_width=0.02).rdf.values
    np.testing.assert_allclose(g.mean(0), known, atol=2e-3 * known.max())  # float32 moves single pairs over an edge


def test_training_finds_a_potential_with_the_averages_of_the_true_one(points):
    model = _model()
    rows = list(train_structure(model, points, sampling=QUICK, training=Training(rounds=7), seed=3))
    first, best = rows[0], min((row for row in rows if row.step == 0), key=lambda row: sum(row.loss))
    assert sum(first.loss) > 30 * sum(best.loss)
    assert max(best.rmsd) < 0.04
    assert best.best
    table, truth = model.tables()["A-A"], _truth()
    well = (table.r > 0.33) & (table.r < 0.6)
    assert np.abs(table.energy - truth.energy)[well].max() < 0.25  # kJ/mol, of a well of 1


def test_training_that_was_stopped_goes_on_exactly_where_it_was(points):
    training = Training(rounds=4, steps=2)
    through, stopped, resumed = _model(), _model(), _model(seed=99)
    all_rows = list(train_structure(through, points, sampling=QUICK, training=training, seed=3))
    places = []
    for row in train_structure(
        stopped, points, sampling=QUICK, training=training, seed=3, on_round=lambda place: places.append(place)
    ):
        if row.round == 2:
            break
    rest = list(train_structure(resumed, points, sampling=QUICK, training=training, seed=3, place=places[-1]))
    begin, later = (place.starts[0]["position"].values for place in places[:2])
    assert not np.array_equal(begin, later)  # replicas go on from where they are
    strip = lambda rows: [row[:-1] for row in rows]  # noqa: E731 - all but the seconds
    assert strip(rest) == strip([row for row in all_rows if row.round >= 2])
    assert torch.equal(resumed.node_energy(), through.node_energy())


def test_a_watched_state_point_chooses_the_best_but_gives_no_gradient(points):
    one, two = _model(), _model()
    alone = list(train_structure(one, points[:1], sampling=QUICK, training=Training(rounds=3), seed=3))
    watched = list(
        train_structure(two, points[:1], watched=points[1:], sampling=QUICK, training=Training(rounds=3), seed=3)
    )
    assert [row.loss[0] for row in alone if row.round == 0] == [row.loss[0] for row in watched if row.round == 0][
        : sum(row.round == 0 for row in alone)
    ]
    assert all(len(row.loss) == 2 for row in watched)
    fresh = [row.loss[1] for row in watched if row.step == 0]
    assert [row.best for row in watched if row.step == 0] == [
        value < min([np.inf, *fresh[:n]]) for n, value in enumerate(fresh)
    ]
