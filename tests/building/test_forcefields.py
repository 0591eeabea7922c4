"""Force fields as GROMACS topologies: OpenMM and GROMACS find in them the energies of the original."""

import shutil
import subprocess
import warnings

import numpy as np
import pytest

from cgstore.building.forcefields import load_forcefield, start_of
from cgstore.building.membranes import BILAYER_FORCEFIELD, bilayer
from cgstore.building.peptides import helix
from cgstore.building.start import write_start
from cgstore.errors import InputError

openmm = pytest.importorskip("openmm")
app = pytest.importorskip("openmm.app")
unit = pytest.importorskip("openmm.unit")


@pytest.fixture(scope="module")
def forcefield():
    return load_forcefield(*BILAYER_FORCEFIELD)


@pytest.fixture(scope="module")
def patch():
    return bilayer("DMPC")


def part(modeller, keep):
    """Return a part of a system in a wide box."""
    made = app.Modeller(modeller.topology, modeller.positions)
    made.delete([residue for residue in made.topology.residues() if not keep(residue)])
    made.topology.setUnitCellDimensions(openmm.Vec3(20, 20, 20) * unit.nanometer)
    return made


def energies(system, positions):
    """Return the energy of each force by its name, kJ/mol."""
    for group, force in enumerate(system.getForces()):
        force.setForceGroup(group)
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(positions)
    return {
        force.getName(): context.getState(getEnergy=True, groups={group}).getPotentialEnergy()._value
        for group, force in enumerate(system.getForces())
        if force.getName() != "CMMotionRemover"
    }


def gromacs(words, folder, asked=""):
    """Run GROMACS and return what it says."""
    command = ["gmx", *words.split()]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, input=asked).stdout


def read_back(start, tmp_path):
    """Return what OpenMM reads of the topology."""
    write_start(start, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves the file open
        return app.GromacsTopFile(str(tmp_path / "system.top"), periodicBoxVectors=start.box * unit.nanometer)


@pytest.mark.parametrize("of", ["lipids and water", "peptide"])
def test_energies_of_all_terms_are_those_of_the_force_field(of, forcefield, patch, tmp_path):
    if of == "peptide":
        modeller = helix("AHWKDPCRG", forcefield)
        modeller.topology.setUnitCellDimensions(openmm.Vec3(20, 20, 20) * unit.nanometer)
    else:
        modeller = part(patch, lambda residue: residue.index < 4 or 128 <= residue.index < 200)
    expected = energies(forcefield.createSystem(modeller.topology), modeller.positions)
    topology = read_back(start_of(modeller, forcefield), tmp_path)
    found = energies(topology.createSystem(), modeller.positions)
    assert set(found) == set(expected)
    for name, energy in expected.items():
        assert found[name] == pytest.approx(energy, rel=1e-5)
    assert abs(expected["PeriodicTorsionForce"]) > 10
    assert abs(expected["NonbondedForce"]) > 10


def test_constraints_and_masses_are_those_of_the_force_field(forcefield, patch, tmp_path):
    modeller = part(patch, lambda residue: residue.index < 2 or residue.index == 128)
    options = {"constraints": app.HBonds, "rigidWater": True}
    expected = forcefield.createSystem(modeller.topology, hydrogenMass=3.0, **options)
    found = read_back(start_of(modeller, forcefield, hydrogen_mass=3.0), tmp_path).createSystem(**options)
    assert found.getNumConstraints() == expected.getNumConstraints()
    masses = [
        [system.getParticleMass(i)._value for i in range(system.getNumParticles())] for system in (found, expected)
    ]
    np.testing.assert_allclose(masses[0], masses[1], rtol=1e-9)
    assert masses[0].count(3.0) == 2 * 72  # of DMPC; water keeps its hydrogens
    assert sum(masses[0]) == pytest.approx(2 * 677.9 + 18.0, rel=1e-3)


@pytest.mark.skipif(shutil.which("gmx") is None, reason="GROMACS is not on PATH")
def test_gromacs_finds_the_same_energy(forcefield, patch, tmp_path):
    start = start_of(patch, forcefield)
    topology = read_back(start, tmp_path)
    (tmp_path / "point.mdp").write_text(
        "nsteps = 0\ncoulombtype = PME\nrcoulomb = 0.9\nrvdw = 0.9\nvdw-modifier = none\ncoulomb-modifier = none\n"
    )
    gromacs("grompp -f point.mdp -p system.top -c start.gro -o point.tpr -maxwarn 1", tmp_path)
    gromacs("mdrun -deffnm point -nt 1 -pin off -rerun start.gro", tmp_path)
    said = gromacs("energy -f point.edr", tmp_path, asked="Bond\nAngle\nPotential\n\n")
    found = {words[0]: float(words[1]) for words in map(str.split, said.splitlines()) if words[-1:] == ["(kJ/mol)"]}
    system = topology.createSystem(nonbondedMethod=app.PME, nonbondedCutoff=0.9)
    next(force for force in system.getForces() if force.getName() == "NonbondedForce").setUseDispersionCorrection(False)
    positions = app.GromacsGroFile(str(tmp_path / "start.gro")).positions
    expected = energies(system, positions)
    assert found["Bond"] == pytest.approx(expected["HarmonicBondForce"], rel=1e-4)
    assert found["Angle"] == pytest.approx(expected["HarmonicAngleForce"], rel=1e-4)
    assert found["Potential"] == pytest.approx(sum(expected.values()), rel=1e-4)


def test_equal_molecules_are_one_kind_and_are_counted(forcefield, patch):
    start = start_of(part(patch, lambda residue: residue.index in (0, 1, 128, 129, 130)), forcefield)
    assert start.topology.count("[ moleculetype ]") == 2
    assert start.topology.endswith("[ molecules ]\nDMPC 2\nHOH 3\n")
    assert "#include" not in start.topology
    assert start.topology.count("[ settles ]") == 1
    assert start.residue_id.tolist() == sorted(start.residue_id.tolist())


def test_molecules_that_share_a_residue_name_are_told_apart(forcefield):
    modeller = helix("A", forcefield)
    modeller.add((other := helix("G", forcefield)).topology, other.positions)
    modeller.topology.setUnitCellDimensions(openmm.Vec3(5, 5, 5) * unit.nanometer)
    text = start_of(modeller, forcefield, names={"ACE": "PEP"}).topology
    assert text.endswith("[ molecules ]\nPEP 1\nPEP_2 1\n")


def test_what_is_not_written_is_named(forcefield, patch):
    peptide = helix("AAA", forcefield)
    with pytest.raises(InputError, match="without a box"):
        start_of(peptide, forcefield)
    peptide.topology.setUnitCellDimensions(openmm.Vec3(5, 5, 5) * unit.nanometer)
    with pytest.raises(InputError, match="CMAPTorsionForce"):
        start_of(peptide, load_forcefield("amber19/protein.ff19SB.xml"))
    with pytest.raises(InputError, match="No template"):
        start_of(peptide, load_forcefield("amber19/tip3p.xml"))
    water = app.Modeller(app.Topology(), [] * unit.nanometer)
    four = load_forcefield("tip4pew.xml")
    water.addSolvent(four, model="tip4pew", boxSize=openmm.Vec3(2, 2, 2) * unit.nanometer)
    with pytest.raises(InputError, match="virtual sites"):
        start_of(water, four)


def test_a_molecule_in_pieces_is_refused(forcefield):
    topology = app.Topology()
    chain = topology.addChain()
    atoms = [topology.addAtom("CL", app.element.chlorine, topology.addResidue("CL", chain)) for _ in range(3)]
    topology.addBond(atoms[0], atoms[2])
    topology.setUnitCellDimensions(openmm.Vec3(2, 2, 2) * unit.nanometer)
    with pytest.raises(InputError, match="one after the other"):
        start_of(app.Modeller(topology, np.zeros((3, 3)) * unit.nanometer), forcefield)
