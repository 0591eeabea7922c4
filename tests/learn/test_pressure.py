"""The pressure as a part of the loss: its value, its gradient, and trainings that reach it."""

import csv
import sys
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from cgstore.averages.spec import load_spec
from cgstore.documents import parse_document
from cgstore.errors import InputError, PhysicsError
from cgstore.learn.atomic import AtomicNetwork
from cgstore.learn.descriptors import Radial
from cgstore.learn.drawing import StatePoint, draw, measure
from cgstore.learn.fit import train
from cgstore.learn.folder import read_curves
from cgstore.learn.molecular_network import MolecularNetwork
from cgstore.learn.moves import begin_memory, move
from cgstore.learn.newton import damped_step, dual_steps, flatten
from cgstore.learn.potential import PairNetwork, Prior
from cgstore.learn.pressure import PressureGoal, pressures, stretch
from cgstore.learn.reweighting import Ensemble, centred, curvature, frame_slopes, gradient, pressure_slope, respond
from cgstore.learn.sampler import sample
from cgstore.learn.settings import Sampling, Training, TrainingTable
from cgstore.learn.structural import train_structure
from cgstore.schema import topology_of
from cgstore.tables import table_of
from cgstore.units import BAR, BOLTZMANN

sys.path.insert(0, str(Path(__file__).parent))
import molecules as made

PRIOR = {"A-A": Prior(core=0.3, strength=4.0, exponent=12.0)}
RADIAL = Radial(0.7, (0.0, 80.0, 80.0, 60.0), (0.0, 0.3, 0.42, 0.58))
BETA = 0.8
GOAL = PressureGoal(100.0, 30.0)


def network(kind, *, spacing=0.002, seed=3):
    """A network far from linear."""
    if kind == "pair":
        model = PairNetwork("A", cutoff=0.7, priors=PRIOR, spacing=spacing, features=6, hidden=(5, 4))
    else:
        model = AtomicNetwork("A", radial=RADIAL, priors=PRIOR, hidden=(6, 5))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.3)
    return model


def gas(frames, *, edges=(1.7, 1.6, 1.9), particles=30, seed=0):
    """Frames of particles that do not overlap, in boxes that are no cubes."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(4)] * 3), -1).reshape(-1, 3)
    place = np.stack([grid[rng.permutation(64)[:particles]] for _ in range(frames)])
    box = np.diag(edges) + np.array([[0, 0, 0], [0.2, 0, 0], [-0.1, 0.15, 0]])
    position = (place + 0.12 * rng.normal(size=place.shape)) / 4 @ box
    return xr.Dataset(
        {
            "position": (("frame", "particle", "xyz"), position.astype(np.float32)),
            "box": (("frame", "box_vector", "xyz"), np.repeat(box[None].astype(np.float32), frames, 0)),
            "mass": ("particle", np.full(particles, 40.0)),
        },
        {"type": ("particle", ["A"] * particles)},
    )


def stretched(model, ds, goal=GOAL, thermal=1.0 / BETA):
    types = ds["type"].values.tolist()
    describe = lambda position, box: model.describe(position, box, types)  # noqa: E731
    return stretch(describe, ds["position"].values, ds["box"].values, thermal=thermal, goal=goal)


def ensemble_of(model, ds, *, weighted=True, seed=0, plane=False, replicas=1):
    """Frames with targets, drawn under other parameters than those that the model has now."""
    rng = np.random.default_rng(seed)
    described, g = measure(model, ds, width=0.05, bins=10, first=0.2)
    energy = model(described).detach()
    if weighted:
        energy = energy + torch.from_numpy(rng.normal(size=len(energy)))
    values = torch.from_numpy(g[:, 0])
    target = values.mean(0) + 0.2 * torch.from_numpy(rng.normal(size=values.shape[1]))
    frames = stretched(model, ds)
    near = float(pressures(model, frames).detach().mean())
    frames = stretched(model, ds, PressureGoal(near - 40.0, 30.0, plane))
    sigma = torch.from_numpy(rng.uniform(0.05, 0.3, len(target)))
    return Ensemble(BETA, described, energy, values, target, sigma, frames, replicas)


def factors(model, ensemble):
    """The weights of frames, of the same sum for each replica."""
    change = -ensemble.beta * (model(ensemble.described) - ensemble.energy)
    return torch.cat([torch.softmax(part, dim=0) for part in change.chunk(ensemble.replicas)]) / ensemble.replicas


def loss_by_definition(model, ensemble):
    """The loss of the reweighted averages, in one differentiable expression."""
    factor, frames = factors(model, ensemble), ensemble.pressure
    gain = (model(frames.larger) - model(frames.smaller)) / frames.change
    pressure = factor @ (frames.ideal - BAR * gain)
    structure = (((factor @ ensemble.g - ensemble.target) / ensemble.sigma) ** 2).mean()
    return structure + ((pressure - frames.goal.value) / frames.goal.error) ** 2


@pytest.mark.parametrize("kind", ["pair", "atomic"])
def test_frames_that_are_stretched_have_the_pressure_of_the_sampler(kind):
    model = network(kind, spacing=0.0005)
    tables = model.tables() if kind == "pair" else model
    run = sample(
        tables,
        gas(3, particles=60),
        temperature=150.0,
        equilibrate=0.5,
        duration=2.0,
        every=0.5,
        seed=2,
        time_step=0.002,
    )
    thermal = BOLTZMANN * 150.0
    found = pressures(model, stretched(model, run, thermal=thermal)).detach().numpy()
    known = run["pressure"].values
    assert known.std() > 30.0
    np.testing.assert_allclose(found, known, atol=0.5)  # bar; energies are right to float32
    plane = pressures(model, stretched(model, run, PressureGoal(0.0, 1.0, plane=True), thermal)).detach().numpy()
    along = run["pressure_along"].values
    np.testing.assert_allclose(plane, along[:, :2].mean(1), atol=0.5)
    assert np.abs(plane - found).max() > 30.0


def test_frames_of_molecules_that_are_stretched_have_the_pressure_of_the_sampler():
    box = np.array([[3.0, 0.0, 0.0], [0.7, 3.0, 0.0], [-0.5, 0.6, 3.0]])
    model = MolecularNetwork(made.model(), features=6, hidden=(5,), seed=3)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    start = made.chains(["ABBA", "ABBBBA", "CDDC"] * 3, box, seed=4, replicas=2)
    run = sample(model.tables(), start, temperature=300.0, equilibrate=1.0, duration=1.0, every=0.25, seed=2)
    topology, thermal = topology_of(run), BOLTZMANN * 300.0
    for plane in (False, True):
        frames = stretch(
            lambda position, box: model.describe(position, box, topology),
            run["position"].values,
            run["box"].values,
            thermal=thermal,
            goal=PressureGoal(0.0, 1.0, plane),
        )
        known = run["pressure_along"].values[:, : 2 if plane else 3].mean(1)
        assert known.std() > 30.0
        np.testing.assert_allclose(pressures(model, frames).detach().numpy(), known, atol=2.0)


def test_without_forces_the_pressure_is_that_of_an_ideal_gas():
    model = PairNetwork("A", cutoff=0.7, priors={"A-A": Prior(core=0.01, strength=1e-9, exponent=12.0)}, hidden=())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    ds = gas(2)
    volume = np.linalg.det(ds["box"].values.astype(float))
    found = pressures(model, stretched(model, ds)).detach().numpy()
    np.testing.assert_allclose(found, BAR * 30 / BETA / volume, rtol=1e-9)


def test_a_box_that_holds_the_cutoff_only_before_it_shrinks_is_refused():
    model, ds = network("pair"), gas(1, edges=(1.401, 1.401, 1.5))
    ds["box"] = ds["box"].copy(data=np.diag([1.401] * 3)[None].astype(np.float32))
    model.describe(ds["position"].values, ds["box"].values, ["A"] * 30)
    with pytest.raises(PhysicsError, match="half the smallest box height"):
        stretched(model, ds)


@pytest.mark.parametrize(("plane", "replicas"), [(False, 1), (True, 1), (False, 4)])
@pytest.mark.parametrize("kind", ["pair", "atomic"])
def test_the_gradient_is_the_finite_difference_of_the_reweighted_loss(kind, plane, replicas):
    model = network(kind)
    ensemble = ensemble_of(model, gas(40), plane=plane, replicas=replicas)
    assert respond(model, ensemble).loss == pytest.approx(float(loss_by_definition(model, ensemble).detach()))
    assert respond(model, ensemble).effective < 0.9
    found = gradient(model, [ensemble], [respond(model, ensemble)])
    parameters, h = list(model.parameters()), 1e-3
    before = [parameter.detach().clone() for parameter in parameters]
    generator = torch.Generator().manual_seed(1)
    for _ in range(4):
        ways = [torch.randn(p.shape, generator=generator, dtype=torch.float64) for p in parameters]
        f = {}
        for k in (-2, -1, 1, 2):
            with torch.no_grad():
                for parameter, old, way in zip(parameters, before, ways, strict=True):
                    parameter.copy_(old + 0.1 * k * h * way)
                f[k] = float(loss_by_definition(model, ensemble))
        slope = (f[-2] - 8 * f[-1] + 8 * f[1] - f[2]) / (12 * h)
        assert float(0.1 * found @ flatten(ways)) == pytest.approx(slope, rel=1e-5)


def test_replicas_by_themselves_keep_their_weight():
    model = network("pair")
    ensemble = ensemble_of(model, gas(40), replicas=4)
    response = respond(model, ensemble)
    np.testing.assert_allclose(response.weight.reshape(4, 10).sum(1), 0.25)
    assert response.effective < 0.95
    rest = response.weight[:, None] * centred(ensemble, response, ensemble.g)
    np.testing.assert_allclose(rest.reshape(4, 10, -1).sum(1), 0.0, atol=1e-12)


def test_the_gradient_is_that_of_the_exact_averages_of_an_enumerated_system():
    """Three particles on twelve sites: every state once, so that reweighting from nothing is the canonical average."""
    model = network("atomic")
    grid = np.stack(np.meshgrid(*[np.arange(2), np.arange(2), np.arange(3)]), -1).reshape(-1, 3) * 0.4
    states = np.array([grid[list(chosen)] for chosen in combinations(range(len(grid)), 3)])
    ds = gas(len(states), particles=3).assign(
        position=(("frame", "particle", "xyz"), (states + 0.2).astype(np.float32)),
        box=(("frame", "box_vector", "xyz"), np.repeat(1.75 * np.eye(3)[None], len(states), 0)),
    )
    ensemble = replace(ensemble_of(model, ds), energy=torch.zeros(len(states)))
    response = respond(model, ensemble)
    energy = [model(part).detach().numpy() for part in (ensemble.described, ensemble.pressure.larger)]
    smaller = model(ensemble.pressure.smaller).detach().numpy()
    weight = np.exp(-BETA * (energy[0] - energy[0].min()))
    weight /= weight.sum()
    growth = 1.75**3 * (1.002**3 - 0.998**3)
    pressure = BAR * (3 / BETA / 1.75**3 - weight @ (energy[1] - smaller) / growth)
    assert response.mean_pressure == pytest.approx(pressure, rel=1e-9)
    exact = flatten(torch.autograd.grad(loss_by_definition(model, ensemble), list(model.parameters())))
    found = gradient(model, [ensemble], [response])
    torch.testing.assert_close(found, exact, rtol=1e-9, atol=1e-9 * float(exact.abs().max()))


@pytest.mark.parametrize("replicas", [1, 3])
@pytest.mark.parametrize("kind", ["pair", "atomic"])
def test_slopes_of_frames_and_products_with_the_curvature_give_the_same_step(kind, replicas):
    model = network(kind)
    ensemble = ensemble_of(model, gas(30), replicas=replicas)
    response, goal = respond(model, ensemble), ensemble.pressure.goal
    slopes = frame_slopes(model, ensemble)
    steep = pressure_slope(model, ensemble, response, slopes)
    parameters = list(model.parameters())
    mean = factors(model, ensemble) @ pressures(model, ensemble.pressure)
    exact = flatten(torch.autograd.grad(mean, parameters))
    torch.testing.assert_close(steep, exact, rtol=1e-9, atol=1e-9 * float(exact.abs().max()))

    scale = (2.0 / len(response.g)) ** 0.5
    deviation = centred(ensemble, response, ensemble.g) / ensemble.sigma
    structure = -BETA * scale * (response.weight[:, None] * deviation).T @ slopes
    jacobian = torch.cat([structure, 2**0.5 / goal.error * steep[None]])
    rest = torch.cat(
        [
            scale * (response.g - ensemble.target) / ensemble.sigma,
            torch.tensor([2**0.5 * (response.mean_pressure - goal.value) / goal.error], dtype=torch.float64),
        ]
    )
    slope = gradient(model, [ensemble], [response])
    torch.testing.assert_close(jacobian.T @ rest, slope, rtol=1e-9, atol=1e-9 * float(slope.abs().max()))
    product = lambda vector: curvature(model, [ensemble], [response], vector)  # noqa: E731
    torch.testing.assert_close(product(slope), jacobian.T @ (jacobian @ slope), rtol=1e-9, atol=1e-6)
    (direct,) = dual_steps(torch.eye(len(jacobian), dtype=torch.float64), jacobian, rest, [1e-2])
    slowly = damped_step(product, slope, damping=1e-2, iterations=300, accuracy=1e-10)
    torch.testing.assert_close(direct, slowly, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("method", ["frames", "newton", "adam"])
def test_every_method_moves_the_pressure_towards_its_goal(method):
    model = network("atomic")
    ensemble = ensemble_of(model, gas(60), weighted=False)
    ensemble = replace(ensemble, target=ensemble.g.mean(0))
    training = Training(effective=0.3, method=method, rate=1e-2, damping=1e-2)
    memory = begin_memory(list(model.parameters()), training)
    before = respond(model, ensemble)
    for _ in range(5):
        memory = move(model, [ensemble], [respond(model, ensemble)], training, memory)
    after = respond(model, ensemble)
    goal = ensemble.pressure.goal.value
    assert abs(after.mean_pressure - goal) < 0.8 * abs(before.mean_pressure - goal)
    assert after.loss < before.loss


# The rest trains on a fluid of 64 particles whose potential is known.

QUICK = Sampling(time_step=0.01, equilibrate=1.0, duration=5.0, every=0.25, threads=1)
CUTOFF = 0.8


@pytest.fixture(scope="module")
def point():
    """A fluid at two thirds of the density of its liquid: g and pressure of longer sampling."""
    grid = np.stack(np.meshgrid(*[np.arange(4)] * 3), -1).reshape(-1, 3) * 0.42
    start = xr.Dataset(
        {
            "position": (("frame", "particle", "xyz"), np.repeat(grid[None], 6, 0).astype(np.float32)),
            "box": (("frame", "box_vector", "xyz"), np.repeat(1.68 * np.eye(3, dtype=np.float32)[None], 6, 0)),
            "mass": ("particle", np.full(64, 16.0)),
        },
        coords={"type": ("particle", ["A"] * 64)},
    )
    r = np.arange(0.25, CUTOFF + 0.002, 0.002)
    truth = table_of(r, 4.0 * ((0.34 / r) ** 12 - (0.34 / r) ** 6), CUTOFF)
    ds = sample({"A-A": truth}, start, temperature=150.0, equilibrate=5.0, duration=30.0, every=0.25, seed=5)
    _, g = measure(fluid(), ds, width=0.02, bins=41)
    sigma = np.full((1, 41), 0.03)
    goal = PressureGoal(float(ds["pressure"].mean()), 15.0)
    return StatePoint("fluid", 150.0, start, 0.02, g.mean(0), sigma, pressure=goal)


def fluid():
    priors = {"A-A": Prior(core=0.31, strength=4.0, exponent=14.0)}
    return PairNetwork(["A"], cutoff=CUTOFF, priors=priors, features=12, hidden=(12,), seed=1)


def sampled_pressure(model, point):  # of the sampler, with the scatter of its replicas
    run = sample(model.tables(), point.start, temperature=150.0, equilibrate=2.0, duration=12.0, every=0.25, seed=9)
    each = run["pressure"].values.reshape(6, -1).mean(1)
    return each.mean(), each.std(ddof=1) / 6**0.5


def test_a_training_finds_pressure_and_structure(point):
    model, wrong = fluid(), replace(point, pressure=point.pressure._replace(value=point.pressure.value - 150.0))
    rows = list(train_structure(model, [point], sampling=QUICK, training=Training(rounds=5), seed=3))
    assert rows[0].pressure[0] - point.pressure.value > 90.0
    value, error = sampled_pressure(model, point)
    assert abs(value - point.pressure.value) < 4 * np.hypot(error, 15.0)
    best = [row for row in rows if row.best][-1]
    assert best.rmsd[0] < 0.06
    assert abs(best.pressure[0] - point.pressure.value) < 60.0
    # Another pressure can be had from nearly the same structure.
    list(train_structure(model, [wrong], sampling=QUICK, training=Training(rounds=3), seed=4))
    lower, error = sampled_pressure(model, point)
    assert abs(lower - wrong.pressure.value) < 4 * np.hypot(error, 15.0)
    ensemble, _ = draw(model, wrong, point.start, replace(QUICK, duration=12.0), 8)
    assert float(((respond(model, ensemble).g.numpy() - point.g[0]) ** 2).mean() ** 0.5) < 0.06


def test_a_training_for_a_pressure_that_was_stopped_goes_on_exactly_where_it_was(point):
    training, short = Training(rounds=3, steps=1), replace(QUICK, duration=2.0)
    through, resumed = fluid(), fluid()
    places = []
    rows = list(
        train_structure(
            through, [point], sampling=short, training=training, seed=3, on_round=lambda p: places.append(p)
        )
    )
    rest = list(train_structure(resumed, [point], sampling=short, training=training, seed=3, place=places[1]))
    assert [row[:-1] for row in rest] == [row[:-1] for row in rows if row.round >= 1]
    assert torch.equal(resumed.node_energy(), through.node_energy())


def test_a_fit_for_a_pressure_logs_it_and_one_without_does_not_have_the_columns(liquid, fitted, tmp_path):
    asked = 'rounds = 2\npressure = "100 bar"\npressure_error = "30 bar"'
    out = train(_again(liquid, tmp_path, asked), store=liquid.store, out=tmp_path / "fit")
    names = ["l130/r1/cg", "l170/r1/cg"]
    with (out / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    logged = np.array([[float(row[f"pressure {name}"]) for row in rows] for name in names])
    np.testing.assert_array_equal(read_curves(out / "training.nc")["pressure"], logged)
    with (fitted / "log.csv").open(newline="") as file:
        assert not [name for name in next(csv.reader(file)) if name.startswith("pressure")]
    assert "pressure" not in read_curves(fitted / "training.nc")


def test_a_barostat_that_nobody_knows_is_asked_for_by_name(liquid, tmp_path):
    fit_file = _again(liquid, tmp_path, 'rounds = 2\npressure = "barostat"')
    with pytest.raises(InputError, match=r"l130/r1/cg: has no pressure, .*state it in the recipe"):
        train(fit_file, store=liquid.store, out=tmp_path / "fit")


def _again(liquid, tmp_path, training):
    """The files of the fit in another folder, with another training and without a baseline."""
    for name in ("split.toml", "spec.toml"):
        (tmp_path / name).write_text((liquid.folder / name).read_text())
    text = (liquid.folder / "fit.toml").read_text().replace("rounds = 5", training)
    before, _, after = text.partition("[baseline]")
    (tmp_path / "fit.toml").write_text(before + "[validation]" + after.partition("[validation]")[2])
    assert load_spec(tmp_path / "spec.toml")
    return tmp_path / "fit.toml"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"pressure": "2 K"}, 'expected a pressure with its unit; .*or "barostat" for that of each dataset'),
        ({"pressure": 50.0}, "expected a pressure with its unit"),
        ({"plane": True}, 'plane: needs a pressure, such as pressure = "barostat"'),
        ({"pressure_error": "9 bar"}, "pressure_error: needs a pressure"),
        ({"pressure": "1 bar", "pressure_error": "0 bar"}, "pressure_error must be positive"),
        ({"pressure": "1 bar", "loss": "forces", "rounds": 9, "steps": 9}, 'pressure: loss = "forces" has no use'),
    ],
)
def test_settings_without_a_meaning_are_refused(given, said):
    with pytest.raises(InputError, match=said):
        parse_document(given, TrainingTable, where="fit.toml")


def test_the_pressure_is_read_in_bar():
    table = parse_document({"pressure": "5 MPa", "pressure_error": "2000 kPa"}, TrainingTable, where="fit.toml")
    assert (table.pressure, table.pressure_error, table.plane) == (50.0, 20.0, False)
    assert parse_document({"pressure": "barostat"}, TrainingTable, where="fit.toml").pressure == "barostat"
