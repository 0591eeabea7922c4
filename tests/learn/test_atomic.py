"""The network of atoms: invariances, forces, and the fused kernel held against torch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cgstore.errors import InputError, PhysicsError
from cgstore.frames import Frames
from cgstore.kernels import potentials
from cgstore.kernels.verlet import NOTHING_EXCLUDED
from cgstore.learn.atomic import AtomicNetwork
from cgstore.learn.descriptors import Radial, Scaling, radial_of, scaling_of
from cgstore.learn.potential import Prior, pair_names
from cgstore.learn.sampler import sample

PRIOR = Prior(core=0.3, strength=4.0, exponent=12.0)
RADIAL = Radial(0.8, (2.0, 60.0, 60.0, 120.0), (0.0, 0.3, 0.45, 0.6))


def network(types="AB", *, hidden=(7, 5), seed=1, told=None, radial=RADIAL, angular=None):
    """A network with weights large enough for its energy to be far from linear, and a scaling that is not trivial."""
    angles = 0 if angular is None else angular.count(len(types))
    shape = (len(types), len(types) * len(radial.eta) + angles)
    rng = np.random.default_rng(seed)
    scaling = Scaling(rng.uniform(0.5, 2.0, shape), rng.uniform(0.5, 1.5, shape))
    priors = dict.fromkeys(pair_names(types), PRIOR)
    functions = {"radial": radial, "angular": angular, "scaling": scaling, "priors": priors}
    model = AtomicNetwork(types, hidden=hidden, told=told, seed=seed, **functions)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.4)
    return model


def liquid(count=60, edge=2.0, seed=0, *, tilt=0.0):
    """Particles of two types that do not overlap, in a box that may be triclinic."""
    rng = np.random.default_rng(seed)
    cells = int(np.ceil(count ** (1 / 3)))
    grid = np.stack(np.meshgrid(*[np.arange(cells)] * 3), -1).reshape(-1, 3)[rng.permutation(cells**3)[:count]]
    box = edge * np.array([[1.0, 0.0, 0.0], [tilt, 1.0, 0.0], [-tilt, tilt, 1.1]])
    fraction = (grid + 0.5 + 0.15 * rng.normal(size=(count, 3))) / cells
    return fraction @ box, box, [str(t) for t in rng.choice(["A", "B"], count)]


def by_torch(model, position, box, types, inputs=None):
    """Energy and forces by the reference."""
    x = torch.tensor(position, dtype=torch.float64, requires_grad=True)
    energy = model.energy_at(x, torch.tensor(box, dtype=torch.float64), types, inputs)
    (slope,) = torch.autograd.grad(energy, x)
    return float(energy.detach()), -slope.numpy()


def by_kernel(model, position, box, types, inputs=None):
    """Energy, forces and virial as the sampler gets them."""
    kind = model._kinds(types)
    arrays = model._arrays(kind, model._told(inputs))
    force, virial = np.empty_like(position), np.empty((3, 3))
    energy = potentials.measure(arrays, model.cutoff, NOTHING_EXCLUDED, position, box, force, virial)
    return energy, force, virial


@pytest.mark.parametrize("hidden", [(), (7, 5), (20, 20, 20)])
@pytest.mark.parametrize("tilt", [0.0, 0.2])
def test_the_kernel_gives_the_energy_and_the_forces_of_torch(hidden, tilt):
    model = network(hidden=hidden)
    position, box, types = liquid(tilt=tilt, count=100)
    energy, force = by_torch(model, position, box, types)
    found, forces, _ = by_kernel(model, position, box, types)
    assert found == pytest.approx(energy, rel=1e-5)
    np.testing.assert_allclose(forces, force, atol=1e-4 * np.abs(force).max())


def test_the_kernel_knows_one_type_and_a_type_without_particles():
    position, box, _ = liquid()
    for model, types in ((network("A"), ["A"] * 60), (network("AB"), ["B"] * 60)):
        energy, force = by_torch(model, position, box, types)
        found, forces, _ = by_kernel(model, position, box, types)
        assert found == pytest.approx(energy, rel=1e-5)
        np.testing.assert_allclose(forces, force, atol=1e-4 * np.abs(force).max())


def test_forces_are_finite_differences_of_the_energy():
    model = network()
    position, box, types = liquid(count=20, edge=1.7)
    _, force = by_torch(model, position, box, types)
    h = 1e-5
    for particle, axis in ((0, 0), (7, 1), (19, 2)):
        shifted = [position.copy() for _ in range(2)]
        shifted[0][particle, axis] -= h
        shifted[1][particle, axis] += h
        low, high = (by_torch(model, x, box, types)[0] for x in shifted)
        assert force[particle, axis] == pytest.approx(-(high - low) / (2 * h), rel=1e-6, abs=1e-6)


def test_the_virial_is_the_derivative_by_the_strain():
    model = network()
    position, box, types = liquid(count=40, tilt=0.1)
    _, _, virial = by_kernel(model, position, box, types)
    strain = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    stretch = torch.eye(3, dtype=torch.float64) + strain
    energy = model.energy_at(torch.tensor(position) @ stretch, torch.tensor(box) @ stretch, types)
    (slope,) = torch.autograd.grad(energy, strain)
    np.testing.assert_allclose(virial, -slope.numpy(), atol=2e-5 * np.abs(virial).max())


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_rotation_permutation_and_periodic_images_change_nothing(seed):
    model = network()
    position, box, types = liquid(count=30, edge=1.7, tilt=0.1, seed=seed % 7)
    energy, force = by_torch(model, position, box, types)
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    order = rng.permutation(30)
    images = position + rng.integers(-2, 3, (30, 3)) @ box + rng.normal(size=3)
    cases = [
        (position @ turn, box @ turn, types, force @ turn),
        (position[order], box, [types[i] for i in order], force[order]),
        (images, box, types, force),
    ]
    for x, b, names, expected in cases:
        again, forces = by_torch(model, x, b, names)
        assert again == pytest.approx(energy, rel=1e-10)
        np.testing.assert_allclose(forces, expected, atol=1e-8 * np.abs(force).max())
        found, forces, _ = by_kernel(model, x, b, names)
        assert found == pytest.approx(energy, rel=1e-5)
        np.testing.assert_allclose(forces, expected, atol=1e-4 * np.abs(force).max())


def test_what_frames_are_to_the_network_gives_their_energies():
    model = network(told={"temperature": (300.0, 20.0), "part": (0.5, 0.25)})
    inputs = {"temperature": 310.0, "part": 0.1}
    frames = [liquid(seed=seed) for seed in range(3)]
    types = frames[0][2]
    described = model.describe([x for x, _, _ in frames], [b for _, b, _ in frames], types, inputs)
    expected = [by_torch(model, x, b, types, inputs)[0] for x, b, _ in frames]
    np.testing.assert_allclose(model(described).detach().numpy(), expected, rtol=1e-5)
    np.testing.assert_allclose(model(described.part(slice(1, 2))).detach().numpy(), expected[1:2], rtol=1e-5)
    for (x, b, _), energy in zip(frames, expected, strict=True):
        assert by_kernel(model, x, b, types, inputs)[0] == pytest.approx(energy, rel=1e-5)
    with pytest.raises(InputError, match="must be told part"):
        model.describe(frames[0][0][None], frames[0][1][None], types, {"temperature": 300.0})


def test_a_linear_network_is_a_sum_over_pairs():
    model = network("A", hidden=())
    energies = []
    for shift in (0.0, 0.6):  # a third particle, out of reach of the first
        position = np.array([[0.1, 0.1, 0.1], [0.5, 0.1, 0.1], [0.5, 0.1, 0.5 + shift]])
        energies.append([by_torch(model, position[:n], 2.0 * np.eye(3), ["A"] * n)[0] for n in (1, 2, 3)])
    one, two = energies[0][0], energies[0][1]
    alone = energies[1][2]
    near = by_torch(model, np.array([[0.1, 0.1, 0.1], [0.1, 0.1, 0.5]]), 2.0 * np.eye(3), ["A"] * 2)[0]
    diagonal = by_torch(model, np.array([[0.1, 0.1, 0.1], [0.5, 0.1, 0.5]]), 2.0 * np.eye(3), ["A"] * 2)[0]
    assert energies[0][2] == pytest.approx(two + near + diagonal - 3 * one, rel=1e-12)
    assert alone != pytest.approx(energies[0][2])


def test_energy_is_conserved_without_friction():
    model = network("A", hidden=(8,))
    position, box, _ = liquid(count=64, edge=2.2)
    frames = Frames(position[None].astype(np.float32), np.zeros(1), np.zeros(1, int), box=box[None].astype(np.float32))
    motion = {"temperature": 100.0, "equilibrate": 1.0, "duration": 4.0, "every": 0.05, "seed": 1, "friction": 0.0}
    drift = {}
    for step in (0.005, 0.0025):
        found = sample(model, frames, types=["A"] * 64, masses=[40.0] * 64, time_step=step, threads=1, **motion)
        total = (found["energy"] + found["kinetic_energy"]).values
        drift[step] = total.std() / found["kinetic_energy"].values.std()
    assert drift[0.005] < 0.02
    assert drift[0.0025] < 0.5 * drift[0.005]  # what is left is that of the time step


def test_what_is_no_network_is_refused():
    with pytest.raises(InputError, match="no prior for the pairs A-B"):
        AtomicNetwork("AB", radial=RADIAL, priors={"A-A": PRIOR, "B-B": PRIOR})
    with pytest.raises(InputError, match="scaling of shape"):
        AtomicNetwork("A", radial=RADIAL, priors={"A-A": PRIOR}, scaling=Scaling(np.zeros((1, 3)), np.ones((1, 3))))
    position, box, types = liquid(edge=1.5)
    with pytest.raises(PhysicsError, match="beyond half the smallest box height"):
        network().describe(position[None], box[None], types)
    with pytest.raises(InputError, match="knows the types A, not B"):
        network("A").describe(position[None], 2 * box[None], types)


def test_functions_from_a_distribution_begin_at_the_core_and_grow_wider():
    r = np.linspace(0.2, 1.0, 161)
    found = radial_of(np.exp(-((0.4 / r) ** 12)), r, functions=9, cutoff=1.0)
    assert (found.eta[0], found.shift[0]) == (0.0, 0.0)
    assert found.shift[1] == pytest.approx(0.93 * 0.375, abs=0.01)
    steps = np.diff(found.shift[1:])
    assert (np.diff(steps) > 0).all()
    np.testing.assert_allclose(2.0 * np.array(found.eta[1:-1]) * steps**2, 1.0, rtol=0.05)
    with pytest.raises(PhysicsError, match="no rise"):
        radial_of(np.zeros(10), np.linspace(0, 1, 10), functions=5, cutoff=1.0)
    with pytest.raises(InputError, match="2 at least"):
        radial_of(np.ones(10), np.linspace(0, 1, 10), functions=1, cutoff=1.0)
    with pytest.raises(InputError, match="expected as many"):
        Radial(1.0, (1.0,), ())


def test_a_scaling_is_of_each_type_and_leaves_constants_alone():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(4, 10, 3)) * [2.0, 1.0, 0.0] + [5.0, 0.0, 1.0]
    kind = np.array([0] * 6 + [1] * 4)
    mean, spread = scaling_of(values, kind, 3)
    np.testing.assert_allclose(mean[0], values[:, :6].reshape(-1, 3).mean(0))
    np.testing.assert_allclose(spread[1, :2], values[:, 6:].reshape(-1, 3).std(0)[:2])
    assert (mean[2] == 0).all()
    assert (spread[2] == 1).all()
    assert spread[0, 2] == 1.0
