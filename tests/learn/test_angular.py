"""Angular functions: against their definition, and the whole network with them, fused and by torch."""

import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch

from cgstore.errors import InputError, IntegrityError
from cgstore.frames import Frames
from cgstore.learn.angular import Angular, angular_of
from cgstore.learn.atomic import AtomicNetwork
from cgstore.learn.atomic_files import network_arrays, read_network
from cgstore.learn.descriptors import Radial
from cgstore.learn.folder import write_arrays
from cgstore.learn.sampler import sample

sys.path.insert(0, str(Path(__file__).parent))
from test_atomic import PRIOR, RADIAL, by_kernel, by_torch, liquid, network

ANGULAR = Angular(Radial(0.6, (0.0, 90.0), (0.0, 0.35)), (1, 2, 4))


def by_definition(angular: Angular, position, box, kind, types: int) -> np.ndarray:
    """The functions (particle, function) as they are written, over all pairs of neighbours."""
    delta = position[None] - position[:, None]
    delta -= np.rint(delta @ np.linalg.inv(box)) @ box
    r = np.sqrt((delta**2).sum(-1))
    cut = np.where(r < angular.radial.cutoff, 0.5 * (np.cos(np.pi * r / angular.radial.cutoff) + 1.0), 0.0)
    pairs = [(a, b) for a in range(types) for b in range(a, types)]
    found = np.zeros((len(position), len(pairs), len(angular.radial.eta), len(angular.powers), 2))
    for i in range(len(position)):
        near = [j for j in range(len(position)) if j != i and cut[i, j] > 0.0]
        for j, k in combinations(near, 2):
            cosine = delta[i, j] @ delta[i, k] / r[i, j] / r[i, k]
            pair = pairs.index(tuple(sorted((kind[j], kind[k]))))
            for m, (eta, shift) in enumerate(zip(angular.radial.eta, angular.radial.shift, strict=True)):
                f = np.exp(-eta * ((r[i, j] - shift) ** 2 + (r[i, k] - shift) ** 2)) * cut[i, j] * cut[i, k]
                for n, zeta in enumerate(angular.powers):
                    both = np.array([1.0 + cosine, 1.0 - cosine])
                    found[i, pair, m, n] += 2.0 ** (1 - zeta) * both**zeta * f
    return found.reshape(len(position), -1)


@pytest.mark.parametrize(("kinds", "powers"), [("A", (1, 2, 4)), ("AB", (2, 3)), ("AB", (8,))])
def test_the_functions_are_those_of_their_definition(kinds: str, powers: tuple[int, ...]) -> None:
    angular = Angular(ANGULAR.radial, powers)
    position, box, types = liquid(tilt=0.2)
    types = types if len(kinds) > 1 else ["A"] * len(types)
    model = AtomicNetwork(
        kinds, radial=RADIAL, angular=angular, priors={f"{a}-{b}": PRIOR for a in kinds for b in kinds}, hidden=()
    )
    expected = by_definition(angular, position, box, [kinds.index(t) for t in types], len(kinds))
    assert expected.max() > 0.1
    described = model.describe(position[None], box[None], types).descriptor[0].numpy()
    np.testing.assert_allclose(described[:, len(kinds) * 4 :], expected, atol=3e-6 * expected.max())


@pytest.mark.parametrize(("kinds", "hidden"), [("A", (7, 5)), ("AB", (20, 20)), ("ABC", ())])
@pytest.mark.parametrize("tilt", [0.0, 0.2])
def test_the_kernel_gives_the_energy_the_forces_and_the_virial_of_torch(kinds, hidden, tilt) -> None:
    model = network(kinds, hidden=hidden, angular=ANGULAR)
    position, box, types = liquid(tilt=tilt, count=100)
    types = types if len(kinds) > 1 else ["A"] * len(types)
    strain = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    x = torch.tensor(position, requires_grad=True)
    stretch = torch.eye(3, dtype=torch.float64) + strain
    energy = model.energy_at(x @ stretch, torch.tensor(box) @ stretch, types)
    slope, stress = torch.autograd.grad(energy, (x, strain))
    found, forces, virial = by_kernel(model, position, box, types)
    assert found == pytest.approx(energy.item(), rel=1e-5)
    np.testing.assert_allclose(forces, -slope.numpy(), atol=1e-4 * slope.abs().max())
    np.testing.assert_allclose(virial, -stress.numpy(), atol=2e-5 * np.abs(virial).max())
    assert abs(forces.sum(0)).max() < 1e-9 * np.abs(forces).max()
    # Without them forces differ by hundreds of times what was allowed: the angular part is not lost in the rest.
    with torch.no_grad():
        for net in model.networks:
            next(net.children()).weight[:, len(kinds) * 4 :] = 0.0
    assert np.abs(by_kernel(model, position, box, types)[1] - forces).max() > 0.02 * np.abs(forces).max()


def test_forces_are_finite_differences_of_the_energy_of_the_kernel_too() -> None:
    model = network(angular=ANGULAR)
    position, box, types = liquid(count=20, edge=1.7)
    _, force = by_torch(model, position, box, types)
    h = 1e-4
    for particle, axis in ((0, 0), (7, 1), (19, 2)):
        energies = []
        for sign in (-2, -1, 1, 2):
            moved = position.copy()
            moved[particle, axis] += sign * h
            energies.append(by_torch(model, moved, box, types)[0])
        slope = (energies[0] - 8 * energies[1] + 8 * energies[2] - energies[3]) / (12 * h)
        assert force[particle, axis] == pytest.approx(-slope, rel=1e-5, abs=1e-6 * np.abs(force).max())


def test_rotation_reflection_permutation_and_periodic_images_change_nothing() -> None:
    model = network(angular=ANGULAR)
    position, box, types = liquid(count=30, edge=1.7, tilt=0.1)
    energy, force = by_torch(model, position, box, types)
    rng = np.random.default_rng(1)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    order = rng.permutation(30)
    images = position + rng.integers(-2, 3, (30, 3)) @ box + rng.normal(size=3)
    for x, b, names, expected in (
        (position @ turn, box @ turn, types, force @ turn),
        (-position @ turn, box @ turn, types, -force @ turn),
        (position[order], box, [types[i] for i in order], force[order]),
        (images, box, types, force),
    ):
        found, forces, _ = by_kernel(model, x, b, names)
        assert found == pytest.approx(energy, rel=1e-5)
        np.testing.assert_allclose(forces, expected, atol=1e-4 * np.abs(force).max())


def test_an_angle_whose_ends_are_out_of_reach_is_seen_by_angular_functions_alone() -> None:
    legs = [np.array([np.cos(angle), np.sin(angle), 0.0]) for angle in np.radians([0.0, 130.0, 180.0])]
    bent, straight = (1.0 + 0.45 * np.array([legs[0], [0.0] * 3, leg]) for leg in legs[1:])  # ends 0.82 and 0.9 apart
    for angular, least, most in ((None, 0.0, 1e-12), (ANGULAR, 1e-3, np.inf)):
        model = network("A", hidden=(7,), angular=angular)
        energies = [by_torch(model, x, 2.0 * np.eye(3), ["A"] * 3)[0] for x in (bent, straight)]
        assert least <= abs(energies[0] - energies[1]) <= most


def test_the_part_of_pairs_has_no_angles() -> None:
    model = network("A", hidden=(6,), angular=ANGULAR)
    table = model.pair_part()["A-A"]
    box = 2.0 * np.eye(3)
    near, far = (by_torch(model, np.array([[0.1] * 3, [0.1, 0.1, 0.1 + d]]), box, ["A"] * 2)[0] for d in (0.4, 0.9))
    assert np.interp(0.4, table.r, table.energy) == pytest.approx(near - far, rel=1e-6)


def test_energy_is_conserved_without_friction() -> None:
    model = network("A", hidden=(8,), angular=ANGULAR)
    position, box, _ = liquid(count=64, edge=2.2)
    frames = Frames(position[None].astype(np.float32), np.zeros(1), np.zeros(1, int), box=box[None].astype(np.float32))
    motion = {"temperature": 100.0, "equilibrate": 1.0, "duration": 4.0, "every": 0.05, "seed": 1, "friction": 0.0}
    drift = {}
    for step in (0.004, 0.002):
        found = sample(model, frames, types=["A"] * 64, masses=[40.0] * 64, time_step=step, threads=1, **motion)
        total = (found["energy"] + found["kinetic_energy"]).values
        drift[step] = total.std() / found["kinetic_energy"].values.std()
    assert drift[0.004] < 0.02
    assert drift[0.002] < 0.5 * drift[0.004]  # what is left is that of the time step


def test_files_keep_angular_functions_and_older_ones_have_none(tmp_path) -> None:
    position, box, types = liquid()
    for model in (network(angular=ANGULAR), network()):
        write_arrays(tmp_path / "weights.npz", network_arrays(model))
        again = read_network(tmp_path / "weights.npz")
        assert again.angular == model.angular
        assert by_torch(again, position, box, types)[0] == by_torch(model, position, box, types)[0]
    assert not any(name.startswith("angular") for name in network_arrays(network()))
    arrays = network_arrays(network(angular=ANGULAR))
    write_arrays(tmp_path / "weights.npz", arrays | {"angular_powers": np.array([0])})
    with pytest.raises(IntegrityError, match=r"found powers \[0\], expected some of 1 to 8"):
        read_network(tmp_path / "weights.npz")


def test_functions_are_chosen_from_a_distribution_and_what_cannot_be_is_refused() -> None:
    r = np.linspace(0.2, 1.0, 161)
    g = np.exp(-((0.4 / r) ** 12))
    assert angular_of(g, r, widths=1, cutoff=0.6, powers=(2,)) == Angular(Radial(0.6, (0.0,), (0.0,)), (2,))
    found = angular_of(g, r, widths=3, cutoff=0.6, powers=(1, 2))
    assert found.radial.shift[1] == pytest.approx(0.93 * 0.375, abs=0.01)
    assert found.count(2) == 3 * 3 * 4
    for powers in ((), (9,)):
        with pytest.raises(InputError, match=r"expected some of 1 to 8"):
            Angular(found.radial, powers)
    with pytest.raises(InputError, match=r"angular functions up to 0\.9 nm, expected no more than the cutoff, 0\.8 nm"):
        network(angular=Angular(Radial(0.9, (0.0,), (0.0,))))
