"""Alanine dipeptide in implicit solvent: its potential by other routes, Boltzmann's distribution, what a store gets."""

import json
import shutil
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from cgstore.building.dipeptide import PHI, PSI, alanine_dipeptide, dipeptide_positions
from cgstore.campaigns.basins import BASINS, basins, populations, torsion
from cgstore.campaigns.campaign import load_campaign
from cgstore.campaigns.peptide import Settings, refused, simulate
from cgstore.campaigns.simulating import simulate as run_campaign
from cgstore.catalog import open_catalog
from cgstore.engines.implicit_openmm import Langevin, Sampled, implicit_system, sampled
from cgstore.units import BOLTZMANN

ROOT = Path(__file__).parents[2]
TEMPERATURE = 330.0
COULOMB = 138.935458  # kJ/mol nm/e²
OMEGA = (1, 4, 6, 8)

openmm = pytest.importorskip("openmm")
needs_gromacs = pytest.mark.skipif(shutil.which("gmx") is None, reason="GROMACS is not on PATH")


def energy(system, position: np.ndarray, *names: str) -> float:
    """Return the potential energy in kJ/mol, of some kinds of forces or of all."""
    for number, force in enumerate(system.getForces()):
        force.setForceGroup(number)
    groups = {n for n, force in enumerate(system.getForces()) if not names or force.getName() in names}
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(position)
    return context.getState(energy=True, groups=groups).getPotentialEnergy()._value


@cache
def run() -> Sampled:
    """Return 15 ps with strong friction, whose frames are nearly independent."""
    system = implicit_system(alanine_dipeptide(*BASINS["beta"]).topology, solvent="obc2")
    langevin = Langevin(TEMPERATURE, 20.0, 0.001, equilibration=1000, production=15_000, every=50, seed=4)
    return sampled(system, dipeptide_positions(*BASINS["beta"]), langevin)


@pytest.mark.parametrize(("phi", "psi"), [(-65.0, -40.0), (55.0, 45.0), (-170.0, 175.0)])
def test_the_molecule_is_built_at_its_torsions_and_left_handed(phi, psi):
    position = dipeptide_positions(phi, psi)
    found = [torsion(position[None], atoms)[0] for atoms in (PHI, PSI, OMEGA)]
    assert found == pytest.approx([phi, psi, 180.0])
    apart = np.linalg.norm(position[:, None] - position, axis=-1)[np.triu_indices(22, 1)]
    assert apart.min() > 0.1
    # Where C-beta of L-residues is, from the backbone: Dauparas et al. 2022, doi:10.1126/science.add2187.
    nitrogen, alpha, carbon, beta = position[[6, 8, 14, 10]] * 10
    b, c = alpha - nitrogen, carbon - alpha
    ideal = -0.58273431 * np.cross(b, c) + 0.56802827 * b - 0.54067466 * c + alpha
    assert beta == pytest.approx(ideal, abs=0.1)  # Å


@needs_gromacs
def test_the_energy_without_solvent_is_that_of_gromacs_with_its_own_amber96(tmp_path):
    modeller = alanine_dipeptide(-80.0, 70.0)
    system = implicit_system(modeller.topology, solvent="obc2")
    place = sampled(system, modeller.positions, Langevin(TEMPERATURE, 1.0, 0.001, 0, 200, 200, seed=1))
    position = place.frames.position[0].astype(float)
    position -= position.min(axis=0) - 4.0
    position = np.round(position, 4)
    with (tmp_path / "in.pdb").open("w") as file:
        openmm.app.PDBFile.writeFile(modeller.topology, position * openmm.unit.nanometer, file, keepIds=True)
    lines = [
        f"{n.residue.index + 1:5d}{n.residue.name:<5}{n.name:>5}{n.index + 1:5d}" for n in modeller.topology.atoms()
    ]
    rows = "".join(f"{a}{x:9.4f}{y:9.4f}{z:9.4f}\n" for a, (x, y, z) in zip(lines, position, strict=True))
    (tmp_path / "in.gro").write_text(f"peptide\n22\n{rows}  10.0 10.0 10.0\n")
    # Every pair is within the cutoff; what is added to make the energy zero there sums up to the squared net charge.
    (tmp_path / "run.mdp").write_text(
        "integrator = md\nnsteps = 0\ncoulombtype = cut-off\nvdwtype = cut-off\nvdw-modifier = none\n"
        "coulomb-modifier = none\nrcoulomb = 4.5\nrvdw = 4.5\nrlist = 4.5\nverlet-buffer-tolerance = -1\n"
        "continuation = yes\nconstraints = none\nnstenergy = 1\nnstcalcenergy = 1\n"
    )
    gmx("pdb2gmx", "-f", "in.pdb", "-ff", "amber96", "-water", "none", "-o", "made.gro", folder=tmp_path)
    gmx("grompp", "-f", "run.mdp", "-c", "in.gro", "-p", "topol.top", "-maxwarn", "2", folder=tmp_path)
    gmx("mdrun", "-s", "topol.tpr", "-nt", "1", "-pin", "off", "-e", "out.edr", folder=tmp_path)
    table = gmx("energy", "-f", "out.edr", folder=tmp_path, answer="Potential\n")
    (found,) = [float(line.split()[1]) for line in table.splitlines() if line.startswith("Potential")]
    vacuum = ("HarmonicBondForce", "HarmonicAngleForce", "PeriodicTorsionForce", "NonbondedForce")
    assert energy(system, position, *vacuum) == pytest.approx(found, abs=0.02)


def gmx(*words: str, folder: Path, answer: str = "") -> str:
    """Run GROMACS and return what it says."""
    done = subprocess.run(["gmx", *words], cwd=folder, input=answer, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def born_energy(charge, radius, scale, position, *, constants, solvent=78.3) -> float:
    """Return polar and surface energy of Onufriev, Bashford and Case 2004, doi:10.1002/prot.20033, pair by pair."""
    alpha, beta, gamma = constants
    inner = radius - 0.009  # nm
    other = scale * inner
    apart = np.linalg.norm(position[:, None] - position, axis=-1)
    descreening = np.zeros(len(charge))
    for i, j in np.argwhere(~np.eye(len(charge), dtype=bool)):
        r, lower, upper = apart[i, j], max(inner[i], abs(apart[i, j] - other[j])), apart[i, j] + other[j]
        if upper <= inner[i]:
            continue
        part = 1 / lower - 1 / upper + (r - other[j] ** 2 / r) * (1 / upper**2 - 1 / lower**2) / 4
        part += np.log(lower / upper) / (2 * r)
        descreening[i] += part + 2 * (1 / inner[i] - 1 / lower) * (inner[i] < other[j] - r)
    psi = descreening * inner / 2
    born = 1 / (1 / inner - np.tanh(alpha * psi - beta * psi**2 + gamma * psi**3) / radius)
    product = np.outer(born, born)
    distance = np.sqrt(apart**2 + product * np.exp(-(apart**2) / (4 * product)))
    polar = -0.5 * COULOMB * (1 - 1 / solvent) * (np.outer(charge, charge) / distance).sum()
    surface = 4 * np.pi * 2.25936 * ((radius + 0.14) ** 2 * (radius / born) ** 6).sum()
    return polar + surface


def test_the_energy_of_the_solvent_is_the_sum_over_pairs():
    system = implicit_system(alanine_dipeptide(0, 0).topology, solvent="obc2")
    (force,) = [force for force in system.getForces() if force.getName() == "GBSAOBCForce"]
    units = openmm.unit.elementary_charge, openmm.unit.nanometer, openmm.unit.dimensionless
    rows = [
        [value / unit for value, unit in zip(force.getParticleParameters(k), units, strict=True)] for k in range(22)
    ]
    for point in BASINS.values():
        position = dipeptide_positions(*point)
        expected = born_energy(*np.array(rows).T, position, constants=(1.0, 0.8, 4.85))
        assert energy(system, position, "GBSAOBCForce") == pytest.approx(expected, abs=1e-3)


def test_the_other_solvent_differs_in_the_constants():
    topology = alanine_dipeptide(0, 0).topology
    first, second = (implicit_system(topology, solvent=name) for name in ("obc1", "obc2"))
    position = dipeptide_positions(*BASINS["beta"])
    assert energy(first, position, "CustomGBForce") != pytest.approx(energy(second, position, "GBSAOBCForce"), abs=1)
    vacuum = ("HarmonicBondForce", "HarmonicAngleForce", "PeriodicTorsionForce", "NonbondedForce")
    assert energy(first, position, *vacuum) == pytest.approx(energy(second, position, *vacuum), abs=1e-9)


def test_velocities_have_the_temperature_and_bonds_its_distribution():
    found = run()
    assert found.temperature.mean() == pytest.approx(TEMPERATURE, abs=4 * TEMPERATURE * (2 / 66 / 300) ** 0.5)
    system = implicit_system(alanine_dipeptide(0, 0).topology, solvent="obc2")
    (force,) = [force for force in system.getForces() if force.getName() == "HarmonicBondForce"]
    first, second, _, strength = zip(*(force.getBondParameters(k) for k in range(21)), strict=True)
    strength = np.array([k._value for k in strength])
    position = found.frames.position.astype(float)
    length = np.linalg.norm(position[:, first] - position[:, second], axis=-1)
    # Bonds are stiff: each has the variance kT/k, up to what angles and pairs add, which is below a percent.
    ratio = length.var(axis=0) * strength / (BOLTZMANN * TEMPERATURE)
    assert ratio.mean() == pytest.approx(1, abs=4 * (2 / 300 / 21) ** 0.5 + 0.01)
    assert ratio == pytest.approx(np.ones(21), abs=0.5)


def test_rigid_bonds_to_hydrogen_do_not_move():
    modeller = alanine_dipeptide(*BASINS["alpha_right"])
    system = implicit_system(modeller.topology, solvent="obc2", constraints="h-bonds")
    found = sampled(system, modeller.positions, Langevin(TEMPERATURE, 10.0, 0.002, 500, 3200, 50, seed=2))
    length = np.linalg.norm(found.frames.position[:, 9] - found.frames.position[:, 8], axis=-1)  # HA–CA
    assert length == pytest.approx(np.full(64, 0.109), abs=1e-5)
    assert found.temperature.mean() == pytest.approx(TEMPERATURE, abs=4 * TEMPERATURE * (2 / 54 / 64) ** 0.5)


def test_basins_are_parts_of_all_frames_and_left_has_phi_above_zero():
    phi, psi = np.random.default_rng(1).uniform(-180, 180, (2, 5000))
    assert set(basins(phi, psi).tolist()) == {0, 1, 2}
    found = populations(phi, psi)
    assert sum(found.part[name] for name in BASINS) == pytest.approx(1)
    assert found.part["alpha_left"] == pytest.approx(1 / 3, abs=4 * found.error["alpha_left"])
    assert found.error["alpha_left"] == pytest.approx((2 / 9 / 5000) ** 0.5, rel=0.3)
    assert found.part["phi_positive"] == pytest.approx(1 / 2, abs=0.04)


def test_what_never_changes_has_no_known_error():
    found = populations(np.full(100, -70.0), np.full(100, 140.0))
    assert (found.part["beta"], found.passages) == (1.0, 0)
    assert np.isnan(found.error["beta"])


def test_a_run_leaves_frames_whose_forces_are_those_of_the_potential_it_leaves(tmp_path):
    settings = Settings(equilibration=500, production=3200, every=100)
    found = simulate(
        {"basin": "alpha_left", "temperature": TEMPERATURE}, settings, seed=3, engine="auto", folder=tmp_path
    )
    assert found.failure == ""
    assert found.measured["frames"] + found.measured["unsettled_frames"] == 32
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "series.csv",
        "system.top",
        "system.xml",
        "trajectory.trr",
    ]
    assert json.dumps(found.measured, allow_nan=False)
    rows = np.loadtxt(tmp_path / "series.csv", delimiter=",", skiprows=1)
    system = openmm.XmlSerializer.deserialize((tmp_path / "system.xml").read_text())
    import mdtraj

    with mdtraj.formats.TRRTrajectoryFile(str(tmp_path / "trajectory.trr")) as file:
        position, time, *_ = file.read()
    assert position.shape == (32, 22, 3)
    assert time == pytest.approx(rows[:, 0])
    assert energy(system, position[5].astype(float)) == pytest.approx(rows[5, 1], abs=0.01)


def test_a_campaign_brings_all_atoms_and_their_forces_into_the_store(tmp_path):
    text = (ROOT / "ingest/campaigns/alanine_dipeptide.toml").read_text()
    for old, new in (
        ("= 100000", "= 4000"),
        ("= 2000000", "= 6400"),
        ("= 500 ", "= 100 "),
        ("= 1.0 ", "= 20.0 "),
        ("systems = 6", "systems = 1"),
    ):
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "try.toml").write_text(text.replace('"alanine_dipeptide"', '"try"'))
    run_campaign(tmp_path / "try.toml", archive=tmp_path / "archive", store=tmp_path / "store", jobs=1)
    catalog = open_catalog(tmp_path / "store")
    assert sorted(catalog) == ["try_00000/r1/atoms"]
    ds = catalog["try_00000/r1/atoms"].open()
    assert ds.attrs["parameters"]["basin"] == "beta"
    assert (len(ds.bond), len(ds.angle), float(ds.mass.sum())) == (21, 36, pytest.approx(144.17, abs=0.01))
    assert float(ds.charge.sum()) == pytest.approx(0, abs=1e-4)
    assert set(ds.molecule_kind.values) == {"ACE-ALA-NME"}
    system = openmm.XmlSerializer.deserialize((tmp_path / "archive/try/try_00000/system.xml").read_text())
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(ds.position[9].values.astype(float))
    force = context.getState(forces=True).getForces(asNumpy=True)._value
    # Bonds have up to 5e5 kJ/mol/nm², positions 24 bits.
    assert ds.force[9].values == pytest.approx(force, abs=0.5)


def test_a_basin_that_is_not_known_is_refused_with_what_is():
    assert "alpha_left" in refused({"basin": "alpha_lefd", "temperature": TEMPERATURE}, Settings())
    assert (
        load_campaign(ROOT / "ingest/campaigns/alanine_dipeptide.toml", size="full").settings.production == 200_000_000
    )
