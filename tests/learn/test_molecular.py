"""Molecules in tabulated potentials: forces against differences and OpenMM, distributions against closed forms."""

import itertools
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import cgstore
from cgstore.errors import InputError
from cgstore.learn.molecular import Molecular, mean_force_model, term_kinds
from cgstore.learn.sampler import sample
from cgstore.schema import check_dataset, topology_of
from cgstore.tables import BondedTable, bonded_table_of, interpolate
from cgstore.topology import pairs_within_bonds
from cgstore.units import BAR, BOLTZMANN

sys.path.insert(0, str(Path(__file__).parent))
import molecules as made

SHEARED = np.array([[3.0, 0.0, 0.0], [0.7, 3.0, 0.0], [-0.5, 0.6, 3.0]])
T = 300.0
KT = BOLTZMANN * T


def measured(tables: Molecular, ds: xr.Dataset, position: np.ndarray, box: np.ndarray):
    return tables.interaction(topology_of(ds)).measure(position, box)


def first(ds: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    return ds["position"].values[0].astype(float), ds["box"].values[0].astype(float)


@pytest.mark.parametrize("fade", [0.0, 12.0, 45.0])
def test_forces_and_virial_are_derivatives_of_the_energy_of_all_terms_in_a_sheared_box(fade: float) -> None:
    ds = made.chains(["ABBA", "ABBBBA", "CDDC", "A"], SHEARED, seed=1)
    position, box = first(ds)
    interaction = made.model(fade=fade).interaction(topology_of(ds))
    found = interaction.measure(position, box)
    expected = np.empty_like(position)
    for i, x in np.ndindex(*position.shape):
        step = np.zeros_like(position)
        step[i, x] = 1e-6
        ends = [interaction.measure(position + sign * step, box).energy for sign in (1.0, -1.0)]
        expected[i, x] = -(ends[0] - ends[1]) / 2e-6
    np.testing.assert_allclose(found.force, expected, atol=1e-5 * abs(expected).max() * 1e-2)
    for x in range(3):
        factor = np.ones(3)
        factor[x] = 1e-6
        ends = [
            interaction.measure(position * f, box * f).energy
            for f in (1.0 + 1e-6 * (factor == 1e-6), 1.0 - 1e-6 * (factor == 1e-6))
        ]
        assert found.virial[x, x] == pytest.approx(-(ends[0] - ends[1]) / 2e-6, rel=1e-5)


def test_the_pressure_is_minus_dU_dV_and_the_ideal_part() -> None:
    ds = made.chains(["ABBA"] * 12, np.eye(3) * 2.4, seed=2)
    run = sample(made.model(), ds, temperature=T, equilibrate=2.0, duration=1.0, every=0.5, seed=1)
    position, box = run["position"].values[-1].astype(float), run["box"].values[-1].astype(float)
    interaction = made.model().interaction(topology_of(ds))
    volume, ends = np.linalg.det(box), []
    for f in (1.0 + 1e-6, 1.0 - 1e-6):
        ends.append(interaction.measure(position * f, box * f).energy)
    slope = (ends[0] - ends[1]) / (volume * 6e-6)
    assert float(run["pressure"][-1]) == pytest.approx(BAR * (48 * KT / volume - slope), rel=1e-3)
    np.testing.assert_allclose(run["pressure_along"].mean("xyz"), run["pressure"])


def test_straight_chains_and_beads_on_each_other_have_energies_and_forces_that_are_numbers() -> None:
    ds = made.chains(["ABBBBA"], np.eye(3) * 3.0, seed=3)
    position, box = np.zeros((6, 3)), np.eye(3) * 3.0
    line = np.arange(6) * 0.3
    tables = made.model(pairs={})
    for way in (np.array([1.0, 0.0, 0.0]), np.ones(3) / np.sqrt(3.0)):
        position[:] = line[:, None] * way
        found = measured(tables, ds, position, box)
        assert np.isfinite([found.energy, *found.force.ravel()]).all()
        # No direction is better than another: nothing pulls out of the line.
        assert abs(np.cross(found.force, way)).max() < 1e-6
        folded = position.copy()
        folded[2] = folded[0]
        assert np.isfinite(measured(tables, ds, folded, box).force).all()
    same = measured(tables, ds, np.zeros((6, 3)), box)
    assert np.isfinite([same.energy, *same.force.ravel()]).all()


def test_a_dihedral_fades_smoothly_between_its_limits() -> None:
    ds = made.chains(["ABBA"], np.eye(3) * 3.0, seed=3)
    bend = np.radians(np.linspace(0.5, 20.0, 400))
    found = []
    for fade in (0.0, 12.0):
        tables = made.model(pairs={}, fade=fade)
        energies = []
        for x in bend:  # the last bead comes nearer to the line of the two before it
            last = [0.6 + 0.3 * np.cos(x), 0.3 * np.sin(x), 0.0]
            position = np.array([[0.3, 0.15, 0.26], [0.3, 0.0, 0.0], [0.6, 0.0, 0.0], last])
            energies.append(measured(tables, ds, position, np.eye(3) * 3.0).energy)
        found.append(np.array(energies))
    table = made.dihedral()
    mean, here = table.energy[:-1].mean(), np.interp(np.degrees(np.arctan2(0.26, 0.15)), table.x, table.energy)
    other = np.interp(-np.degrees(np.arctan2(0.26, 0.15)), table.x, table.energy)
    change = found[1] - found[0]
    np.testing.assert_allclose(change[bend > np.radians(12.0)], 0.0, atol=1e-9)
    gone = change[bend < np.radians(6.0)]
    assert min(abs(gone - (mean - here)).max(), abs(gone - (mean - other)).max()) < 1e-3
    assert abs(np.diff(change, 2)).max() < 0.01 * abs(gone).max()


def test_a_chain_that_is_held_straight_is_moved_for_long_and_keeps_the_distribution_of_its_angles() -> None:
    ds = made.chains(["ABBBBA"] * 10, np.eye(3) * 4.0, seed=4)
    bend = 50.0 * (1.0 + np.cos(np.radians(made.ANGLES)))
    straight = {name: bonded_table_of("angle", made.ANGLES, bend) for name in ("A-B-B", "B-B-B")}
    ds["position"][0] = (ds["position"].values[0, ::6][:, None] + np.arange(6)[:, None] * [0.3, 0.0, 0.0]).reshape(
        -1, 3
    )
    nothing = {name: made.dihedral(0.0) for name in ("A-B-B-B", "B-B-B-B")}
    options = {"temperature": T, "equilibrate": 10.0, "duration": 200.0, "every": 0.2, "seed": 1}
    run = sample(made.model(pairs={}, angles=straight, dihedrals=nothing), ds, **options)
    angle = cgstore.bonded(run).compute()["angle"].sel(angle_kind="B-B-B")
    weight = np.sin(np.radians(angle.theta)) * np.exp(-50.0 * (1.0 + np.cos(np.radians(angle.theta))) / KT)
    weight /= weight.sum()
    assert float((angle * angle.theta).sum()) == pytest.approx(float((weight * weight.theta).sum()), abs=0.4)
    # With dihedrals, whose force is infinite at a straight angle, the motion goes on as well.
    sample(made.model(pairs={}, angles=straight), ds, **options)


@pytest.fixture(scope="module")
def free_chains() -> xr.Dataset:
    """Chains that do not feel each other: their bonds, angles and dihedrals are independent of each other, exactly."""
    ds = made.chains(["ABBA"] * 60 + ["CDDC"] * 60, np.eye(3) * 4.0, seed=5, replicas=2)
    return sample(
        made.model(pairs={}), ds, temperature=T, equilibrate=20.0, duration=300.0, every=0.5, seed=6, time_step=0.01,
        friction=2.0,
    )  # fmt: skip


def compared(found: xr.DataArray, error: xr.DataArray, weight: np.ndarray) -> np.ndarray:
    """Return deviations from a density in units of the errors, where it is large enough to be normally distributed."""
    width = float(found[found.dims[-1]][1] - found[found.dims[-1]][0])
    expected = weight / weight.sum() / width
    often = expected > 0.05 * expected.max()
    return ((found.values - expected) / error.values)[often]


def fine(low: float, high: float, bins: int) -> np.ndarray:
    """Return 50 points of each bin (bin, point)."""
    return low + (high - low) * ((np.arange(bins * 50) + 0.5) / (bins * 50)).reshape(bins, 50)


def test_bonds_angles_and_dihedrals_are_distributed_as_boltzmann_says(free_chains: xr.Dataset) -> None:
    b = cgstore.bonded(free_chains, bond_width=0.01, angle_width=6.0, dihedral_width=15.0).compute()
    r, theta, phi = fine(0.0, 1.0, 100), fine(0.0, 180.0, 30), fine(-180.0, 180.0, 24)
    bond = (r**2 * np.exp(-2500.0 * (r - 0.3) ** 2 / KT)).sum(axis=1)
    for kind in ("A-B", "B-B"):
        z = compared(b["bond"].sel(bond_kind=kind), b["bond_error"].sel(bond_kind=kind), bond)
        assert abs(z).max() < 4.5, z
    for kind, stiffness, at in (("A-B-B", 40.0, 120.0), ("C-D-D", 30.0, 100.0)):
        energy = 0.5 * stiffness * np.radians(theta - at) ** 2
        angle = (np.sin(np.radians(theta)) * np.exp(-energy / KT)).sum(axis=1)
        z = compared(b["angle"].sel(angle_kind=kind), b["angle_error"].sel(angle_kind=kind), angle)
        assert abs(z).max() < 4.5, z
    for kind, scale in (("A-B-B-A", 1.0), ("C-D-D-C", 0.0)):  # the second turns freely
        turn = np.exp(-scale * made.dihedral_energy(phi) / KT).sum(axis=1)
        found, error = b["dihedral"].sel(dihedral_kind=kind), b["dihedral_error"].sel(dihedral_kind=kind)
        z = compared(found, error, turn)
        assert abs(z).max() < 4.5, z
        assert np.nanmax(error) < 0.15 * float(found.max())


def test_the_free_energy_of_one_well_of_a_dihedral_against_the_other_is_that_of_quadrature(
    free_chains: xr.Dataset,
) -> None:
    phi = (np.arange(3600) + 0.5) * 0.1 - 180.0
    weight = np.exp(-made.dihedral_energy(phi) / KT)
    inside = (phi > -20.0) & (phi < 160.0)
    expected = np.log(weight[inside].sum() / weight[~inside].sum())
    d = cgstore.bonded(free_chains, dihedral_width=20.0).compute()["dihedral"].sel(dihedral_kind="A-B-B-A")
    by_replica = []
    for k in range(2):
        part = free_chains.isel(frame=free_chains["replica"].values == k)
        d = cgstore.bonded(part, dihedral_width=20.0).compute()["dihedral"].sel(dihedral_kind="A-B-B-A")
        here = (d.phi > -20.0) & (d.phi < 160.0)
        by_replica.append(np.log(float(d.where(here).sum()) / float(d.where(~here).sum())))
    assert abs(expected) > 0.3
    assert np.mean(by_replica) == pytest.approx(expected, abs=0.12)


def test_every_degree_of_freedom_has_half_kT(free_chains: xr.Dataset) -> None:
    ds = free_chains
    velocity = ds["velocity"].values.astype(float)
    bond = ds["bond"].values
    # Along a bond of two beads of 50 u the reduced mass is 25 u; across it, and of the beads, the same temperature.
    along = ds["position"].values.astype(float)[:, bond]
    d = along[:, :, 1] - along[:, :, 0]
    d -= 4.0 * np.rint(d / 4.0)
    d /= np.linalg.norm(d, axis=-1, keepdims=True)
    relative = velocity[:, bond[:, 1]] - velocity[:, bond[:, 0]]
    parallel = (relative * d).sum(axis=-1)
    across = relative - parallel[..., None] * d
    assert 25.0 * (parallel**2).mean() / KT == pytest.approx(1.0, abs=0.015)
    assert 25.0 * (across**2).sum(axis=-1).mean() / 2.0 / KT == pytest.approx(1.0, abs=0.015)
    for x in range(3):
        assert 50.0 * (velocity[..., x] ** 2).mean() / KT == pytest.approx(1.0, abs=0.015)


def test_without_friction_energy_is_conserved_and_its_error_is_of_second_order() -> None:
    ds = made.chains(["ABBBA"] * 20, np.eye(3) * 2.6, seed=7)
    tables = made.model(angles={"A-B-B": made.harmonic_angle(), "B-B-B": made.harmonic_angle(30.0, 110.0)})
    warm = sample(tables, ds, temperature=T, equilibrate=20.0, duration=0.1, every=0.1, seed=1, friction=5.0).isel(
        frame=[-1]
    )
    spread, drift = [], []
    for dt in (0.008, 0.004, 0.002):
        run = sample(
            tables, warm, temperature=T, equilibrate=0.0, duration=20.0, every=0.2, seed=2, friction=0.0, time_step=dt
        )
        total = (run["energy"] + run["kinetic_energy"]).values
        spread.append(np.std(total))
        drift.append(abs(np.polyfit(run["time"].values, total, 1)[0]))
    kinetic = 1.5 * 100 * KT
    assert 3.0 < spread[0] / spread[1] < 5.3
    assert 3.0 < spread[1] / spread[2] < 5.3
    assert spread[2] < 2e-3 * kinetic
    assert drift[2] < 1e-4 * kinetic  # per ps


@pytest.mark.parametrize("exclude", [0, 1, 2, 3, "molecule"])
def test_pairs_so_many_bonds_apart_have_no_pair_potential(exclude) -> None:
    ds = made.chains(["ABBBBA", "ABBA", "A"], np.eye(3) * 3.0, seed=8)
    position, box = first(ds)
    nothing = made.model(exclude_bonded=exclude, pairs={})
    found = (
        measured(made.model(exclude_bonded=exclude), ds, position, box).energy
        - measured(nothing, ds, position, box).energy
    )
    types, molecule, expected = ds["type"].values, ds["molecule"].values, 0.0
    for i, j in itertools.combinations(range(len(types)), 2):
        same = molecule[i] == molecule[j]
        if same and (exclude == "molecule" or j - i <= exclude):
            continue
        d = position[i] - position[j]
        r = np.linalg.norm(d - 3.0 * np.rint(d / 3.0))
        expected += float(interpolate(made.model().pairs["-".join(sorted((types[i], types[j])))], r)[0])
    assert found == pytest.approx(expected, rel=1e-5)


def test_two_images_of_an_excluded_partner_are_both_excluded() -> None:
    box = np.diag([1.85, 4.0, 4.0])
    ds = made.chains(["AB"], box, seed=9)
    position = np.array([[0.1, 0.5, 0.5], [1.0, 0.5, 0.5]])  # 0.9 to one side, 0.95 to the other
    tables = made.model(pairs={name: made.soft(0.92) for name in ("A-A", "A-B", "B-B")}, exclude_bonded=1)
    assert measured(tables, ds, position, box).energy == measured(made.model(pairs={}), ds, position, box).energy


def test_energies_and_forces_are_those_of_openmm_with_the_same_tables() -> None:
    openmm = pytest.importorskip("openmm")
    ds = made.chains(["ABBBBA"] * 10, np.eye(3) * 2.6, seed=10)
    tables = made.model(exclude_bonded=2, fade=0.0)
    run = sample(tables, ds, temperature=T, equilibrate=2.0, duration=0.1, every=0.1, seed=1)
    position = run["position"].values[-1].astype(float)
    found = measured(tables, ds, position, np.eye(3) * 2.6)
    topology, system = topology_of(ds), openmm.System()
    system.setDefaultPeriodicBoxVectors(*(np.eye(3) * 2.6))
    for mass in topology.mass:
        system.addParticle(mass)
    near = pairs_within_bonds(topology.bond, len(topology), distance=2)
    nodes = np.linspace(0.25, 0.9, 14001)
    for name, table in tables.pairs.items():
        groups = [np.flatnonzero(topology.type == part) for part in name.split("-")]
        if not all(map(len, groups)):
            continue
        force = openmm.CustomNonbondedForce("u(r)")
        force.addTabulatedFunction("u", openmm.Continuous1DFunction(interpolate(table, nodes)[0], nodes[0], nodes[-1]))
        force.setNonbondedMethod(openmm.CustomNonbondedForce.CutoffPeriodic)
        force.setCutoffDistance(0.9)
        for _ in topology.mass:
            force.addParticle()
        for i, j in near:
            force.addExclusion(int(i), int(j))
        force.addInteractionGroup(*(group.tolist() for group in groups))
        system.addForce(force)
    forces = {
        "bond": ("distance(p1, p2)", tables.bonds, 1.0),
        "angle": ("angle(p1, p2, p3)", tables.angles, np.pi / 180),
        "dihedral": ("dihedral(p1, p2, p3, p4)", tables.dihedrals, np.pi / 180),
    }
    for term, (expression, known, unit) in forces.items():
        ends = getattr(topology, term)
        kinds = term_kinds(topology.type, ends)
        for kind in set(kinds):
            table = known[kind]
            force = openmm.CustomCompoundBondForce(ends.shape[1], f"u({expression})")
            force.setUsesPeriodicBoundaryConditions(True)
            low, high = table.x[0] * unit, table.x[-1] * unit
            force.addTabulatedFunction("u", openmm.Continuous1DFunction(table.energy, low, high, term == "dihedral"))
            for which, members in zip(kinds, ends, strict=True):
                if which == kind:
                    force.addBond(members.tolist())
            system.addForce(force)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(position)
    state = context.getState(getEnergy=True, getForces=True)
    unit = openmm.unit
    energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
    force = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer)
    assert found.energy == pytest.approx(energy, rel=1e-5)
    np.testing.assert_allclose(found.force, force, atol=2e-4 * np.sqrt((force**2).mean()))


def test_the_result_is_an_ordinary_dataset_with_its_terms_and_the_same_on_any_number_of_threads() -> None:
    ds = made.chains(["ABBA"] * 6, np.eye(3) * 2.2, seed=11, replicas=3)
    runs = [
        sample(made.model(), ds, temperature=T, equilibrate=1.0, duration=1.0, every=0.2, seed=4, threads=threads)
        for threads in (1, 3)
    ]
    xr.testing.assert_identical(*runs)
    check_dataset(runs[0])
    for term in ("bond", "angle", "dihedral"):
        np.testing.assert_array_equal(runs[0][term], ds[term])
    assert cgstore.bonded(runs[0]).compute()["bond"].sel(bond_kind="A-B").max() > 5.0


def test_what_has_no_table_is_refused_by_name() -> None:
    ds = made.chains(["ABBA"], np.eye(3) * 2.2, seed=12)
    options = {"temperature": T, "equilibrate": 0.0, "duration": 0.1, "every": 0.1, "seed": 1}
    with pytest.raises(InputError, match='no table of the angle A-B-B; did you mean "A-B-C"'):
        sample(made.model(angles={"A-B-C": made.harmonic_angle()}), ds, **options)
    with pytest.raises(InputError, match="table of a bond for the angle A-B-B"):
        sample(made.model(angles={"A-B-B": made.harmonic_bond()}), ds, **options)
    with pytest.raises(InputError, match="no table of the dihedral A-B-B-A"):
        sample(made.model(dihedrals={}), ds, **options)
    with pytest.raises(InputError, match="3 bonds and tables of pairs only"):
        sample(made.model().pairs, ds, **options)
    with pytest.raises(InputError, match="exclude_bonded = -1"):
        sample(made.model(exclude_bonded=-1), ds, **options)


def test_tables_of_bonded_terms_say_what_is_wrong_with_them() -> None:
    x = made.DIHEDRALS
    with pytest.raises(InputError, match="another energy or force at -180"):
        BondedTable("dihedral", x, 0.01 * x, -0.01 + 0.0 * x)
    with pytest.raises(InputError, match=r"expected \(0.0, 180.0\) degrees"):
        BondedTable("angle", made.ANGLES[:100], made.ANGLES[:100], made.ANGLES[:100])
    with pytest.raises(InputError, match="all over 0 to 180"):
        bonded_table_of("angle", np.arange(60.0, 180.0), np.zeros(120))
    with pytest.raises(InputError, match="3 of 120 energies of a bond are not finite"):
        bonded_table_of("bond", 0.3 + np.arange(120) * 0.001, np.r_[[np.nan] * 3, np.zeros(117)])
    with pytest.raises(InputError, match="no negative distance"):
        BondedTable("bond", made.LENGTHS - 0.2, made.LENGTHS, made.LENGTHS)


def test_potentials_of_mean_force_of_free_chains_give_back_their_potentials(free_chains: xr.Dataset) -> None:
    found = mean_force_model([cgstore.bonded(free_chains).compute()], temperature=T, exclude_bonded=2)
    assert set(found.angles) == {"A-B-B", "C-D-D"}
    assert found.pairs == {}
    table = found.dihedrals["A-B-B-A"]
    expected = made.dihedral_energy(table.x)
    often = expected < expected.min() + 3.0 * KT
    deviation = (table.energy - expected)[often]
    assert np.std(deviation) < 0.15 * KT
    ds = made.chains(["ABBA", "CDDC"], np.eye(3) * 4.0, seed=13)
    again = sample(found, ds, temperature=T, equilibrate=1.0, duration=1.0, every=0.5, seed=1)
    assert np.isfinite(again["energy"]).all()
