"""Sampling against closed forms and published simulations, and what the user sees of it."""

import numpy as np
import pytest
import xarray as xr

import cgstore
from cgstore.errors import InputError, PhysicsError
from cgstore.frames import Frames
from cgstore.learn.sampler import pair_name, sample, starting_frames
from cgstore.schema import check_dataset
from cgstore.tables import Table, interpolate, table_of
from cgstore.units import BOLTZMANN

SIGMA, EPSILON, MASS = 0.34, 0.996, 39.948


def lennard_jones(r: np.ndarray, sigma: float = SIGMA, epsilon: float = EPSILON) -> np.ndarray:
    return 4.0 * epsilon * ((sigma / r) ** 12 - (sigma / r) ** 6)


def lj_table(cutoff: float = 0.85, **options) -> Table:
    r = np.arange(0.22, cutoff + 0.0005, 0.001)
    return table_of(r, lennard_jones(r), cutoff, **options)


def ideal_table(cutoff: float = 0.85) -> Table:
    r = np.linspace(0.0, cutoff, 10)
    return Table(r, 0.0 * r, 0.0 * r)


def lattice(edge: int, box: np.ndarray, replicas: int = 2) -> Frames:
    grid = np.stack(np.meshgrid(*[np.arange(edge)] * 3), -1).reshape(-1, 3) / edge
    position = np.repeat((grid @ box)[None], replicas, axis=0)
    return Frames(
        position.astype(np.float32),
        np.zeros(replicas),
        np.zeros(replicas, np.int64),
        box=np.repeat(box[None], replicas, axis=0).astype(np.float32),
    )


def argon(frames: Frames | None = None, **changes) -> xr.Dataset:
    frames = lattice(5, np.eye(3) * 2.0) if frames is None else frames
    particles = frames.position.shape[1]
    options = {
        "temperature": 120.0,
        "types": ["A"] * particles,
        "masses": [MASS] * particles,
        "equilibrate": 1.0,
        "duration": 2.0,
        "every": 0.2,
        "seed": 1,
    }
    return sample({"A-A": lj_table()}, frames, **(options | changes))


def test_the_result_is_an_ordinary_dataset() -> None:
    ds = check_dataset(argon())
    assert dict(ds.sizes) == {"frame": 20, "particle": 125, "xyz": 3, "box_vector": 3}
    assert ds["position"].dtype == np.float32
    assert ds["replica"].values.tolist() == [0] * 10 + [1] * 10
    np.testing.assert_allclose(ds["time"].values, np.tile(np.arange(1, 11) * 0.2, 2))
    np.testing.assert_array_equal(ds["step"].values, np.tile(200 + np.arange(1, 11) * 40, 2))
    assert ((ds["position"] >= 0.0) & (ds["position"] <= 2.0)).all()
    assert all("units" in ds[name].attrs for name in ("position", "velocity", "box", "time", "mass", "energy"))
    g = cgstore.rdf(ds, r_max=1.0, bin_width=0.02).compute()
    assert g["rdf"].sel(pair="A-A").max() > 1.5


def test_the_energy_is_that_of_the_table() -> None:
    ds = argon()
    table = lj_table()
    i, j = np.triu_indices(125, 1)
    for frame in (0, 13):
        x = ds["position"].values[frame].astype(np.float64)
        d = x[i] - x[j]
        d -= 2.0 * np.rint(d / 2.0)
        energy, _ = interpolate(table, np.linalg.norm(d, axis=1))
        assert ds["energy"].values[frame] == pytest.approx(energy.sum(), rel=1e-5)


def test_the_kinetic_energy_is_that_of_the_velocities_and_of_the_temperature() -> None:
    ds = argon(duration=60.0, every=0.5, equilibrate=5.0, friction=2.0, time_step=0.01)
    kinetic = 0.5 * (ds["mass"] * (ds["velocity"].astype(float) ** 2).sum("xyz")).sum("particle")
    np.testing.assert_allclose(ds["kinetic_energy"], kinetic, rtol=1e-5)
    temperature = 2.0 * ds["kinetic_energy"] / (3 * 125 * BOLTZMANN)
    # Standard deviation of one frame is T sqrt(2 / 3N) = 8.8 K; 240 frames, hardly correlated at this friction.
    assert float(temperature.mean()) == pytest.approx(120.0, abs=3.0)
    assert float(temperature.std()) == pytest.approx(120.0 * np.sqrt(2 / 375), rel=0.25)
    per_axis = (ds["mass"] * ds["velocity"].astype(float) ** 2).mean(("frame", "particle")) / BOLTZMANN
    np.testing.assert_allclose(per_axis, 120.0, atol=6.0)


def test_without_friction_the_energy_is_conserved_over_many_collisions() -> None:
    warm = argon(equilibrate=10.0, duration=1.0, every=1.0).isel(frame=[0])
    ds = sample(
        {"A-A": lj_table()},
        warm,
        temperature=120.0,
        equilibrate=0.0,
        duration=100.0,
        every=0.5,
        seed=2,
        friction=0.0,
        time_step=0.004,
    )
    total = (ds["energy"] + ds["kinetic_energy"]).values
    drift = np.polyfit(ds["time"].values, total, 1)[0] * 100.0
    fluctuation = float(ds["kinetic_energy"].std())
    assert fluctuation > 3.0
    assert np.std(total) < 0.001 * fluctuation
    assert abs(drift) < 0.001 * fluctuation


def test_coupled_as_a_whole_the_kinetic_energy_is_canonical_and_momentum_is_conserved() -> None:
    ds = argon(equilibrate=10.0, duration=150.0, every=0.5, friction=0.0, coupling=0.5, time_step=0.01)
    momentum = (ds["mass"] * ds["velocity"].astype(float)).sum("particle") / ds["mass"].sum()
    assert float(abs(momentum).max()) < 1e-6
    kinetic = ds["kinetic_energy"].values.reshape(2, 300)
    expected = 0.5 * 372 * BOLTZMANN * 120.0  # three of 375 degrees of freedom are those of the centre of mass
    # Standard deviation √(2 / 372) = 7.3 % of a frame; 600 frames with a correlation time of one.
    assert kinetic.mean() == pytest.approx(expected, rel=0.015)
    assert kinetic.std() == pytest.approx(expected * np.sqrt(2 / 372), rel=0.15)


@pytest.mark.slow
def test_a_coupling_does_not_change_how_fast_particles_diffuse() -> None:
    # The velocities forget their direction by collisions alone: with friction of the same rate diffusion halves.
    options = {"equilibrate": 10.0, "duration": 150.0, "every": 0.25, "time_step": 0.01, "friction": 0.0}
    found = []
    for coupling in (0.1, 5.0):
        ds = argon(coupling=coupling, **options)
        runs = [ds.isel(frame=ds["replica"].values == k).drop_vars("replica") for k in range(2)]
        one = [cgstore.diffusion_coefficient(cgstore.mean_squared_displacement(run)).compute() for run in runs]
        found.append((np.mean([d["diffusion"] for d in one]), np.mean([d["diffusion_error"] for d in one]) / 2**0.5))
    (strong, a), (weak, b) = found
    assert abs(strong - weak) < 3 * np.hypot(a, b)
    assert np.hypot(a, b) < 0.15 * weak


def test_pairs_that_meet_alone_are_distributed_by_their_boltzmann_factor() -> None:
    # A and B attract each other, A–A and B–B are ideal: without triangles the density corrects g only from its square.
    temperature, edge = 200.0, 4.4
    rng = np.random.default_rng(1)
    replicas, count = 4, 16
    frames = Frames(
        (rng.random((replicas, 2 * count, 3)) * edge).astype(np.float32),
        np.zeros(replicas),
        np.zeros(replicas, np.int64),
        box=np.repeat(np.eye(3)[None] * edge, replicas, axis=0).astype(np.float32),
    )
    table = lj_table()
    ds = sample(
        {"A-A": ideal_table(), "A-B": table, "B-B": ideal_table()},
        frames,
        types=["A"] * count + ["B"] * count,
        masses=[MASS] * (2 * count),
        temperature=temperature,
        equilibrate=20.0,
        duration=4096.0,
        every=2.0,
        seed=3,
        time_step=0.01,
    )
    g = cgstore.rdf(ds, r_max=1.0, bin_width=0.04, pairs=[("A", "B"), ("A", "A")]).compute()
    fine = (np.arange(25 * 50) + 0.5) * 0.04 / 50
    factor = (np.exp(-interpolate(table, fine)[0] / (BOLTZMANN * temperature)) * fine**2).reshape(25, 50).sum(1)
    expected = factor / (fine**2).reshape(25, 50).sum(1)
    mixed = g.sel(pair="A-B")
    bins = g["r"].values > 0.32
    error = mixed["rdf_error"].values[bins]
    z = (mixed["rdf"].values - expected)[bins] / error
    assert error.max() < 0.08
    assert abs(z).max() < 4.5
    assert np.mean(z**2) < 2.0
    assert (mixed["rdf"].values[g["r"].values < 0.26] == 0.0).all()
    ideal = g.sel(pair="A-A")
    assert float(abs((ideal["rdf"] - 1.0) / ideal["rdf_error"])[3:].max()) < 4.5


def test_a_lennard_jones_liquid_has_the_energy_that_nist_publishes() -> None:
    # NIST Standard Reference Simulation Website, Monte Carlo with r_c = 3σ and long-range correction, 500 particles:
    # T* = 0.85, ρ* = 0.820 (liquid), U* = −5.7947. https://www.nist.gov/mml/csd/chemical-informatics-group
    density, published, cutoff = 0.820, -5.7947, 3.0 * SIGMA
    edge = (6**3 / density) ** (1 / 3) * SIGMA
    ds = sample(
        {"A-A": lj_table(cutoff, switch=0.0)},
        lattice(6, np.eye(3) * edge),
        types=["A"] * 216,
        masses=[MASS] * 216,
        temperature=0.85 * EPSILON / BOLTZMANN,
        equilibrate=30.0,
        duration=128.0,
        every=1.0,
        time_step=0.01,
        seed=5,
    )
    # The published number is of the truncated potential; ours moves by the truncated and shifted one, which has the
    # same forces inside the cutoff. So count the energy of the truncated potential on our frames.
    i, j = np.triu_indices(216, 1)
    energies = []
    for x in ds["position"].values.astype(np.float64):
        d = x[i] - x[j]
        d -= edge * np.rint(d / edge)
        r = np.linalg.norm(d, axis=1)
        energies.append(lennard_jones(r[r < cutoff]).sum())
    tail = 8.0 / 3.0 * np.pi * density * (3.0**-9 / 3.0 - 3.0**-3)
    energy = np.mean(energies) / (216 * EPSILON) + tail
    error = np.std(np.array(energies).reshape(16, 16).mean(axis=1), ddof=1) / np.sqrt(16) / (216 * EPSILON)
    assert error < 0.01
    assert energy == pytest.approx(published, abs=3.0 * error + 0.005)


def test_the_result_does_not_depend_on_the_number_of_threads_and_does_on_the_seed() -> None:
    frames = lattice(4, np.eye(3) * 1.8, replicas=3)
    results = [argon(frames, threads=threads) for threads in (1, 2, 5)]
    for other in results[1:]:
        xr.testing.assert_identical(results[0], other)
    assert not np.array_equal(results[0]["position"], argon(frames, seed=2)["position"])
    assert not np.array_equal(results[0]["position"][:10], results[0]["position"][10:20])


def test_a_longer_run_begins_with_the_shorter_one() -> None:
    short, long = argon(duration=1.0), argon(duration=3.0)
    np.testing.assert_array_equal(short["position"][:5], long["position"][:5])
    np.testing.assert_array_equal(short["position"][5:], long["position"][15:20])


def test_a_sheared_box_gives_the_same_liquid_as_a_cube() -> None:
    cube = np.eye(3) * 2.0
    sheared = np.array([[2.0, 0.0, 0.0], [0.8, 2.0, 0.0], [-0.7, 0.6, 2.0]])
    found = []
    for box in (cube, sheared):
        ds = argon(lattice(5, box, replicas=4), duration=30.0, every=0.5, time_step=0.01, equilibrate=10.0)
        by_replica = ds["energy"].groupby("replica").mean().values
        found.append((by_replica.mean(), by_replica.std(ddof=1) / 2.0))
    (first, first_error), (second, second_error) = found
    assert abs(first - second) < 5.0 * np.hypot(first_error, second_error) + 1.0


def test_random_starts_with_overlaps_are_survived() -> None:
    rng = np.random.default_rng(2)
    frames = lattice(5, np.eye(3) * 2.0)
    overlapping = Frames(
        (rng.random(frames.position.shape) * 2.0).astype(np.float32), frames.time, frames.step, box=frames.box
    )
    overlapping.position[0, 1] = overlapping.position[0, 0]
    ds = argon(overlapping, equilibrate=10.0, duration=10.0, friction=2.0)
    reference = argon(equilibrate=10.0, duration=10.0, friction=2.0)
    assert float(ds["energy"].mean()) == pytest.approx(float(reference["energy"].mean()), rel=0.1)


def test_an_explosion_names_the_replica_and_says_what_to_do() -> None:
    frames = lattice(5, np.eye(3) * 1.72)
    with pytest.raises(PhysicsError, match=r"replica 0 exploded in step \d+.*time step below 0.2 ps"):
        argon(frames, time_step=0.2, every=0.2, friction=0.0)


def test_a_cutoff_beyond_half_the_box_names_the_frame() -> None:
    frames = lattice(5, np.eye(3) * 2.0)
    frames.box[1] *= 0.8
    with pytest.raises(PhysicsError, match=r"cutoff of 0.85 nm is beyond .* 0.8 nm in starting frame 1"):
        argon(frames)


def test_a_coupling_is_refused_beside_friction() -> None:
    with pytest.raises(InputError, match=r"coupling 1\.0 ps, friction 1\.0 1/ps"):
        argon(coupling=1.0)


def test_bonds_missing_tables_and_senseless_times_are_refused() -> None:
    ds = argon(duration=0.4)
    bonded = ds.assign(bond=(("bond", "bond_end"), np.array([[0, 1]], np.int32)))
    options = {"temperature": 120.0, "equilibrate": 0.0, "duration": 1.0, "every": 0.1, "seed": 1}
    with pytest.raises(InputError, match="1 bonds and tables of pairs only"):
        sample({"A-A": lj_table()}, bonded, **options)
    with pytest.raises(InputError, match="no table of the pair A-A; known are B-B"):
        sample({"B-B": lj_table()}, ds, **options)
    with pytest.raises(InputError, match="no frame every"):
        sample({"A-A": lj_table()}, ds, **(options | {"every": 2.0}))
    with pytest.raises(InputError, match="temperature -1"):
        sample({"A-A": lj_table()}, ds, **(options | {"temperature": -1.0}))
    with pytest.raises(InputError, match="give types and masses"):
        sample({"A-A": lj_table()}, lattice(4, np.eye(3) * 2.0), **options)
    with pytest.raises(InputError, match="box"):
        sample({"A-A": lj_table()}, ds.drop_vars("box"), **options)
    with pytest.raises(InputError, match="found 3 of mass, expected one for each of 125"):
        sample({"A-A": lj_table()}, ds, masses=[1.0] * 3, **options)
    with pytest.raises(InputError, match="starting frame 2 has positions that are not finite"):
        sample({"A-A": lj_table()}, ds.assign(position=ds["position"].where(ds["replica"] == 0)), **options)


def test_a_type_of_one_particle_needs_no_table_with_itself() -> None:
    frames = lattice(5, np.eye(3) * 2.0, replicas=1)
    ds = sample(
        {"A-A": lj_table(), "A-B": lj_table()},
        frames,
        types=["B"] + ["A"] * 124,
        masses=[MASS] * 125,
        temperature=100.0,
        equilibrate=0.0,
        duration=0.1,
        every=0.1,
        seed=1,
    )
    assert np.isfinite(ds["energy"]).all()


def test_starting_frames_are_spread_evenly_and_have_the_mean_box() -> None:
    edges = np.array([1.9, 2.0, 2.1, 2.2])
    fractional = np.random.default_rng(3).random((4, 6, 3))
    ds = xr.Dataset(
        {
            "position": (("frame", "particle", "xyz"), (fractional * edges[:, None, None]).astype(np.float32)),
            "box": (("frame", "box_vector", "xyz"), (np.eye(3) * edges[:, None, None]).astype(np.float32)),
        }
    )
    start = starting_frames(ds, 2)
    np.testing.assert_allclose(start["box"].values, np.repeat(np.eye(3)[None] * 2.05, 2, axis=0), rtol=1e-6)
    np.testing.assert_allclose(start["position"].values, fractional[[1, 3]] * 2.05, rtol=1e-5)
    with pytest.raises(InputError, match="expected 1 to 4"):
        starting_frames(ds, 5)


def test_pair_names_are_alphabetical() -> None:
    assert pair_name("PO4", "NC3") == "NC3-PO4"
