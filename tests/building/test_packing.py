"""Molecules from their files to a box of them: one topology that stands for itself, nothing overlaps, seeds decide."""

import subprocess
from pathlib import Path

import numpy as np
import pytest

from cgstore.building.molecule_files import Molecule, read_molecule, topology_of
from cgstore.building.packing import CONTACT, pack
from cgstore.building.start import write_start
from cgstore.engines import md_openmm
from cgstore.engines.conditions import Conditions
from cgstore.engines.md_gromacs import gromacs_program
from cgstore.errors import InputError, PhysicsError
from cgstore.readers.text_gro import open_gro
from cgstore.readers.topologies import read_topology

MOLECULES = Path(__file__).parents[2] / "ingest" / "campaigns" / "molecules"
SHIPPED = {
    "CH4": ("methane_opls", "methane"),
    "MEOH": ("methanol_opls", "methanol"),
    "HOH": ("water_spce", "water"),
    "CO": ("carbon_monoxide", "carbon_monoxide"),
    "F2": ("fluorine", "fluorine"),
}


def texts(name: str) -> tuple[str, str]:
    """Return topology and geometry of a molecule that ships."""
    topology, geometry = SHIPPED[name]
    return (MOLECULES / f"{topology}.itp").read_text(), (MOLECULES / f"{geometry}.gro").read_text()


def shipped(name: str) -> Molecule:
    """Return a molecule that ships."""
    return read_molecule(*texts(name))


@pytest.mark.parametrize(
    ("name", "mass"), [("CH4", 16.043), ("MEOH", 32.042), ("HOH", 18.015), ("CO", 28.010), ("F2", 37.996)]
)
def test_molecules_that_ship_are_neutral_and_have_the_geometry_of_their_model(name, mass):
    molecule = shipped(name)
    assert molecule.name == name
    assert molecule.charge == 0
    assert molecule.mass.sum() == pytest.approx(mass, abs=2e-3)
    np.testing.assert_allclose(molecule.mass @ molecule.position, 0, atol=1e-12)
    for title in ("bonds", "constraints"):
        for line in molecule.text.partition(f"[ {title} ]\n")[2].partition("\n\n")[0].splitlines():
            i, j, _, length, *_ = line.split()
            apart = np.linalg.norm(molecule.position[int(i) - 1] - molecule.position[int(j) - 1])
            assert apart == pytest.approx(float(length), abs=2e-5)


def test_charges_of_the_diatomic_models_have_the_published_moments():
    debye_angstrom = 0.0208194 * 0.1  # e nm²
    fluorine, charge = shipped("F2"), np.array([0.186055, 0.186055, -0.372110])
    axis = fluorine.position[:, 0]
    assert charge @ axis**2 == pytest.approx(0.8920 * debye_angstrom, rel=1e-4)
    monoxide = shipped("CO").position[:, 0]
    assert abs(np.array([-0.134683, 0.134683]) @ monoxide) == pytest.approx(0.7378 * 0.0208194, rel=1e-4)


@pytest.mark.parametrize(
    ("species", "density"),
    [([("CH4", 61)], 10.0), ([("MEOH", 40), ("HOH", 60)], 15.0), ([("F2", 30)], 16.0), ([("CO", 1)], 1.0)],
)
def test_a_box_has_all_molecules_whole_and_apart(species, density):
    counted = [(shipped(name), count) for name, count in species]
    box = pack(counted, density=density, title="test", seed=5)
    kinds = [molecule for molecule, count in counted for _ in range(count)]
    assert len(box.position) == sum(len(molecule.atom) for molecule in kinds)
    assert len(kinds) / box.box[0, 0] ** 3 == pytest.approx(density)
    assert box.name.tolist() == [atom for molecule in kinds for atom in molecule.atom]
    number = box.residue_id
    for k, molecule in enumerate(kinds, start=1):
        here = box.position[number == k]
        between = [np.linalg.norm(x[:, None] - x, axis=-1) for x in (here, molecule.position)]
        np.testing.assert_allclose(*between, atol=1e-12)
    apart = box.position[:, None] - box.position
    apart -= box.box[0, 0] * np.round(apart / box.box[0, 0])
    distance = np.linalg.norm(apart, axis=-1)[number[:, None] != number]
    assert distance.min(initial=1.0) > CONTACT


def test_seeds_decide_and_kinds_are_mixed():
    species = [(shipped("MEOH"), 30), (shipped("HOH"), 90)]
    one, same, other = (pack(species, density=15.0, title="test", seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.position, same.position)
    assert np.abs(one.position - other.position).max() > 0.1
    # Each kind is spread over the box: its centre is in the middle, within 4 standard errors of a uniform distribution.
    for start, end in ((0, 180), (180, 450)):
        middle = one.position[start:end].mean(axis=0) / one.box[0, 0]
        assert np.abs(middle - 0.5).max() < 4 * (12 * 30) ** -0.5


def test_orientations_are_uniform():
    box = pack([(shipped("CO"), 1000)], density=1e-3, title="test", seed=3)
    axis = box.position[1::2] - box.position[::2]
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    np.testing.assert_allclose(axis.mean(axis=0), 0, atol=4 / 3000**0.5)
    np.testing.assert_allclose(axis.T @ axis / 1000, np.eye(3) / 3, atol=4 * (4 / 45 / 1000) ** 0.5)


def test_what_does_not_fit_is_refused():
    with pytest.raises(PhysicsError, match="start from a lower density"):
        pack([(shipped("MEOH"), 64)], density=60.0, title="test", seed=1)


@pytest.mark.parametrize(("species", "count"), [(("CH4",), 5), (("MEOH", "HOH"), 9), (("F2",), 3)])
def test_the_topology_of_a_mixture_is_read_by_cgstore(tmp_path, species, count):
    box = pack([(shipped(name), 2) for name in species], density=2.0, title="test", seed=1)
    write_start(box, tmp_path)
    topology = read_topology(tmp_path / "system.top")
    assert len(topology) == 2 * count
    assert topology.molecule.max() == 2 * len(species) - 1
    assert list(dict.fromkeys(topology.molecule_kind)) == list(species)
    assert topology.mass.sum() == pytest.approx(2 * sum(shipped(name).mass.sum() for name in species))
    assert topology.charge.sum() == pytest.approx(0, abs=1e-6)


@pytest.mark.skipif(gromacs_program() is None, reason="no GROMACS")
@pytest.mark.parametrize("species", [("CH4",), ("MEOH", "HOH"), ("CO",), ("F2",)])
def test_gromacs_takes_the_topology_without_a_warning(tmp_path, species):
    write_start(pack([(shipped(name), 100) for name in species], density=2.0, title="test", seed=1), tmp_path)
    (tmp_path / "run.mdp").write_text("integrator = md\ncoulombtype = PME\nconstraints = h-bonds\n")
    words = ["grompp", "-f", "run.mdp", "-p", "system.top", "-c", "start.gro", "-o", "run.tpr", "-maxwarn", "0"]
    done = subprocess.run(["gmx", "-quiet", *words], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr


@pytest.mark.skipif(gromacs_program() is None, reason="no GROMACS")
@pytest.mark.parametrize(
    ("species", "density"), [(("CH4",), 10.0), (("MEOH", "HOH"), 15.0), (("CO",), 12.0), (("F2",), 16.0)]
)
def test_both_engines_compute_the_same_energy(tmp_path, species, density, monkeypatch):
    openmm = pytest.importorskip("openmm")
    write_start(pack([(shipped(name), 150) for name in species], density=density, title="test", seed=1), tmp_path)
    options = "coulombtype = PME\nfourierspacing = 0.06\npme-order = 6\nvdw-modifier = none\ncoulomb-modifier = none\n"
    options += "constraints = none\ncontinuation = yes\n"
    (tmp_path / "one.mdp").write_text(f"integrator = md\nnsteps = 0\nrvdw = 1.0\nrcoulomb = 1.0\n{options}")
    for words, asked in (
        ("grompp -f one.mdp -p system.top -c start.gro -o one.tpr", ""),
        ("mdrun -s one.tpr -deffnm one -ntmpi 1 -ntomp 1 -pin off", ""),
        ("energy -f one.edr -o one.xvg -xvg none", "Potential\n"),
    ):
        command = ["gmx", "-quiet", *words.split()]
        subprocess.run(command, cwd=tmp_path, input=asked, text=True, check=True, capture_output=True)
    theirs = float((tmp_path / "one.xvg").read_text().split()[1])
    monkeypatch.setattr(md_openmm, "_ACCURACY", 1e-5)
    start = open_gro(tmp_path / "start.gro").read(np.array([0]))
    conditions = Conditions(300.0, None, constraints="none", tails=False)
    system = md_openmm.system_of(tmp_path / "system.top", start, conditions)
    platform = openmm.Platform.getPlatformByName("CPU")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform, {"Threads": "1"})
    context.setPositions(start.position[0].astype(float))
    context.computeVirtualSites()
    ours = context.getState(energy=True).getPotentialEnergy()._value
    assert ours == pytest.approx(theirs, abs=0.3)  # of 150 or 300 molecules; what is left are PME and rounding
    assert abs(ours) > 100


def _without(section: str, text: str) -> str:
    """Return a topology without one section."""
    head, _, rest = text.partition(f"[ {section} ]")
    return head + "[" + rest.partition("\n[")[2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: _without("atomtypes", t), r"found no \[ atomtypes \]"),
        (lambda t: t.replace(" 0.418 ", " 0.518 "), "charges sum to 0.1 e"),
        (lambda t: t.replace("0.418  1.0080", "0.418"), "without a charge or a mass"),
        (lambda t: t.replace("MEOH HO 1  0.418  1.0080", "MEOH HO 1  0.418  0.0"), r"found the mass 0\.0"),
        (lambda t: t.replace("5 6 1 0.0945 462750.4", "5 6 1"), r"\[ bonds \]: found '5 6 1' without parameters"),
        (lambda t: t.replace("5 6 1 0.0945", "5 7 1 0.0945"), "expected 2 of 6 atoms"),
        (lambda t: "#include \"oplsaa.ff/forcefield.itp\"\n" + t, "line 1: found '#include"),
        (lambda t: t.replace("[ bonds ]", "[ bond ]"), r"found \[ bond \]"),
        (lambda t: t.replace("1 opls_157 1", "1 opls_158 1"), "found the type opls_158"),
    ],
)  # fmt: skip
def test_wrong_topologies_are_named(change, message):
    topology, geometry = texts("MEOH")
    with pytest.raises(InputError, match=message):
        read_molecule(change(topology), geometry, where="methanol")


def test_a_geometry_of_another_molecule_is_named():
    with pytest.raises(InputError, match="found 6 atoms in its topology and 3 in its geometry"):
        read_molecule(texts("MEOH")[0], texts("HOH")[1])
    with pytest.raises(InputError, match="found no number of atoms"):
        read_molecule(texts("MEOH")[0], "a\nb\n")
    with pytest.raises(InputError, match="expected 3 lines of atoms"):
        read_molecule(texts("HOH")[0], "\n".join(texts("HOH")[1].splitlines()[:4]))


def test_a_geometry_may_be_an_xyz_file():
    topology, _ = texts("CO")
    molecule = read_molecule(topology, "2\ncarbon monoxide, in angstrom\nC 0.0 0.0 1.0\nO 0.0 0.0 2.1405\n")
    np.testing.assert_allclose(molecule.position[1] - molecule.position[0], [0, 0, 0.11405], atol=1e-12)


def test_molecules_that_do_not_go_together_are_named():
    methanol, water, fluorine = shipped("MEOH"), shipped("HOH"), shipped("F2")
    with pytest.raises(InputError, match=r"MEOH has \[ defaults \] 1 3 yes 0.5 0.5, F2 has 1 2 no"):
        topology_of([(methanol, 1), (fluorine, 1)], title="test")
    with pytest.raises(InputError, match="give them other names"):
        topology_of([(water, 1), (water, 1)], title="test")
    topology, geometry = texts("HOH")
    other = read_molecule(topology.replace("0.650194", "0.7").replace("\nHOH 2", "\nDOD 2"), geometry)
    with pytest.raises(InputError, match=r"the atom type OW_spce is .* 0\.650194 in HOH and .* 0\.7 in DOD"):
        topology_of([(water, 1), (other, 1)], title="test")
