"""Particles of silica: composition, charge and distances follow from the crystal and from the model."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree
from scipy.spatial.distance import pdist, squareform

from cgstore.building.clayff import charges, silica_molecule, silica_types
from cgstore.building.crystals import QUARTZ, density, sites
from cgstore.building.particles import Particle, silica_sphere
from cgstore.errors import InputError

radii = st.floats(0.5, 1.2)


def test_the_crystal_has_the_published_density_and_distances() -> None:
    # Levien, Prewitt and Weidner 1980: 2.646 g/cm³, Si-O 0.1605 and 0.1614 nm
    assert density(QUARTZ) == pytest.approx(2.646, abs=5e-4)
    element, position = sites(QUARTZ, 1.5)
    silicon, oxygen = position[element == "Si"], position[element == "O"]
    inner = silicon[np.linalg.norm(silicon, axis=1) < 1.2]
    nearest = cKDTree(oxygen).query(inner, k=5)[0]
    np.testing.assert_allclose(nearest[:, :4], np.tile([0.1605, 0.1605, 0.1614, 0.1614], (len(inner), 1)), atol=1e-4)
    assert nearest[:, 4].min() > 0.3
    angle = [
        np.rad2deg(np.arccos(np.dot(*((o - s) / np.linalg.norm(o - s) for o in oxygen[near[:2]]))))
        for s, near in zip(inner, cKDTree(oxygen).query(inner, k=4)[1], strict=True)
    ]
    assert 105 < min(angle) < max(angle) < 113


@pytest.mark.parametrize("radius", [0.9, 1.7])
def test_a_sphere_of_the_lattice_holds_as_many_sites_as_its_volume(radius: float) -> None:
    expected = 4 / 3 * np.pi * radius**3 * 9 / np.linalg.det(QUARTZ.cell)
    assert len(sites(QUARTZ, radius)[0]) == pytest.approx(expected, rel=0.05)


def formal_links(particle: Particle) -> tuple[np.ndarray, np.ndarray]:
    """Count, by distances alone, the oxygens of each silicon and the silicons of each oxygen."""
    silicon = particle.position[particle.role == "silicon"]
    oxygen = particle.position[np.isin(particle.role, ["bridge", "hydroxyl"])]
    near = cKDTree(silicon).query_ball_tree(cKDTree(oxygen), 0.2)
    return np.array([len(some) for some in near]), np.bincount(np.concatenate(near), minlength=len(oxygen))


@settings(max_examples=10, deadline=None)
@given(radii)
def test_any_sphere_is_neutral_silica_and_water(radius: float) -> None:
    particle = silica_sphere(radius)
    silicon, hydrogen = particle.count("silicon"), particle.count("hydrogen")
    oxygen = particle.count("bridge") + particle.count("hydroxyl")
    assert hydrogen == particle.count("hydroxyl")
    assert 2 * oxygen == 4 * silicon + hydrogen  # n SiO2 + m H2O
    assert abs(sum(charges(particle))) < 1e-9
    of_silicon, of_oxygen = formal_links(particle)
    assert (of_silicon == 4).all()
    assert (of_oxygen == 2).sum() == particle.count("bridge")
    assert (of_oxygen == 1).sum() == particle.count("hydroxyl")


@settings(max_examples=10, deadline=None)
@given(radii)
def test_groups_are_one_silicon_each_with_half_of_its_bridges(radius: float) -> None:
    particle = silica_sphere(radius)
    count = {role: np.bincount(particle.group_id[particle.role == role] - 1, minlength=particle.group_id.max())
             for role in ("silicon", "bridge", "hydroxyl", "hydrogen")}  # fmt: skip
    assert (count["silicon"] == 1).all()
    np.testing.assert_array_equal(count["hydroxyl"], count["hydrogen"])
    bridges = 4 - count["hydroxyl"]
    assert (np.abs(2 * count["bridge"] - bridges) <= 1).all()
    names = particle.group[particle.role == "silicon"].tolist()
    assert names == [f"SQ{n}" for n in bridges]
    assert set(names) <= {"SQ2", "SQ3", "SQ4"}
    # So what is not odd is neutral.
    charge = np.bincount(particle.group_id - 1, weights=charges(particle))
    np.testing.assert_allclose(charge[bridges % 2 == 0], 0, atol=1e-9)
    np.testing.assert_allclose(np.abs(charge[bridges % 2 == 1]), 0.525, atol=1e-9)


@settings(max_examples=10, deadline=None)
@given(radii)
def test_atoms_keep_apart_and_neighbours_in_order_are_neighbours_in_space(radius: float) -> None:
    particle = silica_sphere(radius)
    distance = squareform(pdist(particle.position))
    first, second = particle.bond.T
    bonded = np.eye(len(distance), dtype=bool)
    bonded[first, second] = bonded[second, first] = True
    assert distance[~bonded].min() > 0.2
    hydroxyl = particle.hydroxyls()
    np.testing.assert_allclose(distance[tuple(hydroxyl.T)], 0.1, atol=1e-9)
    extent = particle.extent()
    assert extent < radius + 0.3
    # Half of a box with 1 nm of water on each side: whoever makes it whole finds the right image.
    assert np.linalg.norm(np.diff(particle.position, axis=0), axis=1).max() < extent + 1.0


def test_the_sphere_is_one_piece_and_grows_with_its_radius() -> None:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    sizes = []
    for radius in (0.5, 0.7, 1.0, 1.4):
        particle = silica_sphere(radius)
        atoms = len(particle.name)
        graph = coo_array((np.ones(len(particle.bond)), tuple(particle.bond.T)), shape=(atoms, atoms))
        assert connected_components(graph, directed=False)[0] == 1
        sizes.append(particle.count("silicon"))
    assert sizes == sorted(sizes)
    assert sizes[-1] == pytest.approx(4 / 3 * np.pi * 1.4**3 * 3 / np.linalg.det(QUARTZ.cell), rel=0.1)


@pytest.mark.parametrize("radius", [0.0, 0.49, float("nan")])
def test_a_radius_too_small_for_a_particle_is_refused(radius: float) -> None:
    with pytest.raises(InputError, match=r"expected at least 0\.5 nm"):
        silica_sphere(radius)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # OpenMM leaves the file open
def test_openmm_finds_the_energy_of_the_model(tmp_path: Path) -> None:
    app = pytest.importorskip("openmm.app")
    import openmm

    particle = silica_sphere(0.6)
    text = "[ defaults ]\n1 2 no 1.0 1.0\n\n[ atomtypes ]\n" + silica_types() + "\n" + silica_molecule(particle)
    (tmp_path / "system.top").write_text(text + "[ system ]\nsilica\n\n[ molecules ]\nSILICA 1\n")
    system = app.GromacsTopFile(str(tmp_path / "system.top")).createSystem(nonbondedMethod=app.NoCutoff)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    stretched = particle.position * 1.01
    context.setPositions(stretched)
    found = context.getState(getEnergy=True).getPotentialEnergy()._value
    assert found == pytest.approx(_energy(particle, stretched), rel=1e-5)


def _energy(particle: Particle, position: np.ndarray) -> float:
    """Write the model out pair by pair, with the numbers of the publication in its own units."""
    first, second = np.triu_indices(len(position), k=1)
    role = np.array([{"silicon": 0, "bridge": 1, "hydroxyl": 2, "hydrogen": 3}[word] for word in particle.role])
    deep, far = np.array([1.8405e-6, 0.1554, 0.1554, 0.0])[role], np.array([3.7064, 3.5532, 3.5532, 0.0])[role]
    charge = np.array([2.1, -1.05, -0.95, 0.425])[role]
    distance = 10 * np.linalg.norm(position[first] - position[second], axis=1)  # Å
    ratio = (far[first] + far[second]) / 2 / distance
    pairs = np.sqrt(deep[first] * deep[second]) * (ratio**12 - 2 * ratio**6)
    pairs += 332.0637 * charge[first] * charge[second] / distance
    hydroxyl = {tuple(sorted(pair)) for pair in particle.hydroxyls().tolist()}
    bonded = np.array([pair in hydroxyl for pair in zip(first.tolist(), second.tolist(), strict=True)])
    return 4.184 * float(pairs[~bonded].sum() + (554.1349 * (distance[bonded] - 1.0) ** 2).sum())
