"""The system written for OpenMM, read and run by it: energies and forces are ours."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cgstore.exchange import write_potential
from cgstore.exchange.openmm import reduced

openmm = pytest.importorskip("openmm")


def energy_and_force(folder: Path, platform: str = "Reference") -> tuple[float, np.ndarray]:
    system = openmm.XmlSerializer.deserialize((folder / "system.xml").read_text())
    start = openmm.XmlSerializer.deserialize((folder / "start.xml").read_text())
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName(platform))
    context.setPeriodicBoxVectors(*start.getPeriodicBoxVectors())
    context.setPositions(start.getPositions())
    state = context.getState(energy=True, forces=True)
    units = openmm.unit.kilojoule_per_mole
    force = state.getForces(asNumpy=True).value_in_unit(units / openmm.unit.nanometer)
    return state.getPotentialEnergy().value_in_unit(units), force


@pytest.mark.parametrize("near", [2, "molecule"])
def test_openmm_finds_our_energy_and_forces_of_chains(liquid_chains, tmp_path, near) -> None:
    tables = replace(liquid_chains.model, exclude_bonded=near)
    written = write_potential(tables, "openmm", tmp_path, system=liquid_chains.system)
    assert [path.name for path in written] == ["run.py", "system.xml", "start.xml"]
    ours = liquid_chains.measure(exclude_bonded=near)
    energy, force = energy_and_force(tmp_path)
    assert energy == pytest.approx(ours.energy, rel=1e-6, abs=1e-3)
    np.testing.assert_allclose(force, ours.force, atol=1e-4 * np.abs(ours.force).max())
    energy, force = energy_and_force(tmp_path, "CPU")  # single precision
    assert energy == pytest.approx(ours.energy, rel=1e-5, abs=1e-2)
    np.testing.assert_allclose(force, ours.force, atol=1e-3 * np.abs(ours.force).max())


def test_dihedrals_fade_as_ours_do(liquid_chains, tmp_path) -> None:
    wide = replace(liquid_chains.model, fade=45.0, pairs=liquid_chains.model.pairs)
    write_potential(wide, "openmm", tmp_path, system=liquid_chains.system)
    ours, in_full = liquid_chains.measure(fade=45.0), liquid_chains.measure(fade=0.0)
    assert abs(ours.energy - in_full.energy) > 1.0  # some of them do
    energy, force = energy_and_force(tmp_path)
    assert energy == pytest.approx(ours.energy, rel=1e-6, abs=1e-3)
    np.testing.assert_allclose(force, ours.force, atol=1e-4 * np.abs(ours.force).max())
    write_potential(replace(wide, fade=0.0), "openmm", tmp_path, system=liquid_chains.system)
    assert energy_and_force(tmp_path)[0] == pytest.approx(in_full.energy, rel=1e-6)


def test_a_bond_goes_on_linearly_beyond_its_nodes(liquid_chains, tmp_path) -> None:
    longest = {name: replace(t, **{k: getattr(t, k)[100:240] for k in ("x", "energy", "force")})
               for name, t in liquid_chains.model.bonds.items()}  # fmt: skip
    tables = replace(liquid_chains.model, bonds=longest)
    write_potential(tables, "openmm", tmp_path, system=liquid_chains.system)
    ours = liquid_chains.measure(bonds=longest)
    assert abs(ours.energy - liquid_chains.measure().energy) > 1.0
    assert energy_and_force(tmp_path)[0] == pytest.approx(ours.energy, rel=1e-6, abs=1e-3)


def test_one_type_needs_one_function(liquid_chains, tmp_path) -> None:
    alone = liquid_chains.system.drop_vars(["bond", "angle", "dihedral"])
    alone = alone.assign_coords(type=("particle", ["A"] * alone.sizes["particle"]))
    table = {"A-A": liquid_chains.model.pairs["A-A"]}
    write_potential(table, "openmm", tmp_path, system=alone)
    from cgstore.learn.interactions import PairModel
    from cgstore.schema import topology_of

    position, box = (alone[name].values[0].astype(np.float64) for name in ("position", "box"))
    ours = PairModel(table).interaction(topology_of(alone)).measure(position, box)
    assert energy_and_force(tmp_path)[0] == pytest.approx(ours.energy, rel=1e-6, abs=1e-3)


def test_the_script_runs(liquid_chains, tmp_path) -> None:
    write_potential(liquid_chains.model, "openmm", tmp_path, system=liquid_chains.system)
    done = subprocess.run(
        [sys.executable, "run.py", "10"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    energy = float(done.stdout.split("energy of the start:")[1].split()[0])
    assert energy == pytest.approx(liquid_chains.measure().energy, rel=1e-4)
    assert (tmp_path / "frames.dcd").is_file()


def test_a_box_is_given_by_its_shortest_vectors() -> None:
    box = np.array([[2.0, 0.0, 0.0], [1.5, 2.0, 0.0], [1.4, 1.6, 3.0]])
    small = reduced(box)
    assert np.abs(np.rint(small @ np.linalg.inv(box)) - small @ np.linalg.inv(box)).max() < 1e-12
    assert abs(small[1, 0]) <= 1.0
    assert (np.abs(small[2, :2]) <= 1.0).all()
