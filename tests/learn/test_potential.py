import numpy as np
import pytest
import torch

from cgstore.errors import InputError, PhysicsError
from cgstore.learn.potential import PairNetwork, Prior, pair_names, pair_weights, prior_of
from cgstore.tables import interpolate
from cgstore.units import BOLTZMANN

PRIOR = Prior(core=0.3, strength=4.0, exponent=12.0)
SHEARED = np.array([[2.4, 0, 0], [0.5, 2.3, 0], [-0.4, 0.6, 2.5]])


def network(types=("A", "B"), **options):
    priors = {pair: PRIOR for pair in pair_names(sorted(types))}
    model = PairNetwork(types, cutoff=1.0, priors=priors, seed=3, **options)
    with torch.no_grad():  # as if trained: the potential of a new network is little more than its prior
        for parameter in model.parameters():
            parameter.mul_(3.0)
    return model


@pytest.fixture
def frames():
    rng = np.random.default_rng(1)
    position = (rng.random((3, 30, 3)) @ SHEARED).astype(np.float32)
    return position, np.tile(SHEARED, (3, 1, 1)), ["AB"[k] for k in rng.integers(0, 2, 30)]


def _distances(position):
    shifts = np.array([[i, j, k] for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)]) @ SHEARED
    i, j = np.triu_indices(len(position), 1)
    vector = position[j].astype(float) - position[i].astype(float)
    return i, j, np.linalg.norm(vector[:, None] + shifts, axis=2).min(1)


def test_the_energy_of_a_frame_is_the_sum_over_its_pairs(frames):
    position, box, types = frames
    model = network(spacing=0.0005)
    position %= 1.0  # in the first octant one shift is enough to find the nearest image
    energy = model.energy_of(position, box, types)
    for f in range(3):
        i, j, r = _distances(position[f])
        pairs = ["-".join(sorted((types[a], types[b]))) for a, b in zip(i, j, strict=True)]
        with torch.no_grad():
            all_pairs = model.energy_at(torch.from_numpy(r)).numpy()
        exact = sum(all_pairs[model.pairs.index(pair), n] for n, pair in enumerate(pairs) if r[n] < 1.0)
        assert energy[f].item() == pytest.approx(exact, rel=1e-5)


def test_what_a_frame_contributes_does_not_depend_on_the_parameters(frames):
    one, two = PairNetwork(["A", "B"], cutoff=1.0, priors=dict.fromkeys(pair_names("AB"), PRIOR), seed=5), network()
    assert torch.equal(one.describe(*frames), two.describe(*frames))
    assert not torch.allclose(one.energy_of(*frames), two.energy_of(*frames))


def test_tables_hold_the_energy_of_the_network_and_its_exact_derivative():
    model = network()
    r = torch.linspace(0.2, 0.9999, 400, dtype=torch.float64)
    r = r[(r - PRIOR.core).abs() > model.spacing]  # where the prior begins, its force has a kink
    with torch.no_grad():
        step = 1e-6
        energy = model.energy_at(r).numpy()
        force = ((model.energy_at(r - step) - model.energy_at(r + step)) / (2 * step)).numpy()
    for number, pair in enumerate(model.pairs):
        table_energy, table_force = interpolate(model.tables()[pair], r.numpy())
        np.testing.assert_allclose(table_energy, energy[number], atol=1e-4, rtol=1e-5)
        np.testing.assert_allclose(table_force, force[number], atol=2e-2, rtol=1e-3)


def test_energy_and_force_end_at_zero_and_the_core_repels():
    for table in network().tables().values():
        assert table.energy[-1] == table.force[-1] == 0.0
        assert abs(table.energy[-2]) < 1e-3
        core = table.r < 0.28
        assert (table.force[core] > 0).all()


def test_node_energies_are_those_at_the_nodes():
    model = network()
    with torch.no_grad():
        torch.testing.assert_close(model.node_energy(), model.energy_at(model.r))


def test_the_seed_alone_decides_the_first_weights():
    torch.manual_seed(0)
    one = PairNetwork(["A"], cutoff=1.0, priors={"A-A": PRIOR}, seed=7)
    torch.manual_seed(1)
    two = PairNetwork(["A"], cutoff=1.0, priors={"A-A": PRIOR}, seed=7)
    other = PairNetwork(["A"], cutoff=1.0, priors={"A-A": PRIOR}, seed=8)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(one.node_energy(), other.node_energy())


def test_a_prior_is_found_again_in_the_distribution_that_it_gives():
    r = np.arange(0.005, 1.0, 0.01)
    for prior in (Prior(0.3, 8.0, 12.0), Prior(0.4, 8.0, 8.0)):
        with torch.no_grad():
            energy = prior.energy(torch.from_numpy(r)).numpy()
        found = prior_of(np.exp(-energy / (BOLTZMANN * 150.0)), r, 150.0)
        assert found.exponent == pytest.approx(prior.exponent, rel=0.02)


def test_a_distribution_without_a_core_has_no_prior():
    with pytest.raises(PhysicsError, match="no repulsive core"):
        prior_of(np.ones(100), np.arange(100) * 0.01, 300.0)


def test_mistakes_are_refused(frames):
    position, box, types = frames
    with pytest.raises(InputError, match="A, B, not C"):
        network().describe(position, box, ["C", *types[1:]])
    with pytest.raises(PhysicsError, match="half the smallest box height"):
        network().describe(position, 0.8 * box, types)
    with pytest.raises(InputError, match="whole number of spacings"):
        PairNetwork(["A"], cutoff=1.0, spacing=0.003, priors={"A-A": PRIOR})
    with pytest.raises(InputError, match="no prior for the pairs A-B"):
        PairNetwork(["A", "B"], cutoff=1.0, priors={"A-A": PRIOR, "B-B": PRIOR})


def test_one_frame_and_odd_numbers_of_frames_are_divided_among_threads_without_loss(frames):
    position, box, types = frames
    together, _ = pair_weights(position, box, types, known=["A", "B"], spacing=0.01, nodes=91)
    for f in range(3):
        alone, _ = pair_weights(position[f : f + 1], box[:1], types, known=["A", "B"], spacing=0.01, nodes=91)
        assert np.array_equal(together[f], alone[0])
