"""Networks of atoms handed on: the same energies and forces, read by torch alone and moved by OpenMM."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from cgstore.errors import InputError
from cgstore.learn.angular import Angular
from cgstore.learn.descriptors import Radial
from cgstore.learn.exporting import ForceProgram, write_network

sys.path.insert(0, str(Path(__file__).parent))
from test_atomic import by_torch, liquid, network


def system_of(position: np.ndarray, box: np.ndarray, types: list[str]) -> xr.Dataset:
    return xr.Dataset(
        {
            "position": (("frame", "particle", "xyz"), position[None]),
            "box": (("frame", "box_vector", "xyz"), box[None]),
            "mass": ("particle", np.full(len(types), 30.0)),
        },
        {"type": ("particle", types), "name": ("particle", types)},
    )


@pytest.mark.parametrize("angular", [None, Angular(Radial(0.6, (0.0, 90.0), (0.0, 0.35)), (1, 3))])
@pytest.mark.parametrize(("kinds", "hidden"), [("A", ()), ("AB", (7,)), ("AB", (7, 5)), ("ABC", (6, 6, 6))])
def test_energy_and_forces_are_those_of_the_network(kinds, hidden, angular) -> None:
    model = network(kinds, hidden=hidden, angular=angular)
    position, box, types = liquid(tilt=0.2)
    types = types if len(kinds) > 1 else ["A"] * len(types)
    energy, force = by_torch(model, position, box, types)
    found, forces = ForceProgram(model, types)(torch.from_numpy(position), torch.from_numpy(box))
    assert found.item() == pytest.approx(energy, rel=1e-12)
    np.testing.assert_allclose(forces.numpy(), force, atol=1e-10 * np.abs(force).max())


def test_the_file_needs_torch_alone_and_takes_other_positions_and_boxes(tmp_path) -> None:
    angular = Angular(Radial(0.5, (0.0,), (0.0,)), (2,))
    model = network(told={"temperature": (300.0, 50.0)}, angular=angular)
    position, box, types = liquid()
    inputs = {"temperature": 320.0}
    system = system_of(position, box, types)
    written = write_network(model, "torch", tmp_path, system=system, temperature=320.0, inputs=inputs)
    assert [path.name for path in written] == ["README.md", "network.pt2"]
    other, shape, _ = liquid(seed=4, edge=2.2, tilt=0.1)
    np.savez(tmp_path / "other.npz", position=other, box=shape)
    code = (
        "import sys, numpy as np, torch\n"
        "given = np.load('other.npz')\n"
        "network = torch.export.load('network.pt2').module()\n"
        "energy, force = network(*(torch.from_numpy(given[name]) for name in ('position', 'box')))\n"
        "np.savez('found.npz', energy=energy.item(), force=force.numpy())\n"
        "assert not any(name.startswith('cgstore') for name in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = np.load(tmp_path / "found.npz")
    energy, force = by_torch(model, other, shape, types, inputs)
    assert float(found["energy"]) == pytest.approx(energy, rel=1e-12)
    np.testing.assert_allclose(found["force"], force, atol=1e-10 * np.abs(force).max())


def test_openmm_finds_the_energy_and_the_forces_of_the_network_and_moves_it(tmp_path) -> None:
    openmm = pytest.importorskip("openmm")
    model = network()
    position, box, types = liquid()
    write_network(model, "openmm", tmp_path, system=system_of(position, box, types), temperature=300.0)
    energy, force = by_torch(model, position, box, types)
    script = (tmp_path / "run.py").read_text()
    told = script.replace("energy=True)", "energy=True, forces=True)").replace(
        "simulation.context.setVelocities",
        "import numpy\nfound = simulation.context.getState(energy=True, forces=True)\n"
        "numpy.savez('found.npz', energy=found.getPotentialEnergy()._value,\n"
        "            force=found.getForces(asNumpy=True)._value)\nsimulation.context.setVelocities",
    )
    (tmp_path / "told.py").write_text(told)
    done = subprocess.run([sys.executable, "told.py", "3"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = np.load(tmp_path / "found.npz")
    assert float(found["energy"]) == pytest.approx(energy, rel=1e-6)
    np.testing.assert_allclose(found["force"], force, atol=1e-5 * np.abs(force).max())
    assert (tmp_path / "frames.dcd").is_file()
    assert openmm.XmlSerializer.deserialize((tmp_path / "system.xml").read_text()).getNumForces() == 0


def test_a_network_is_no_table(tmp_path) -> None:
    position, box, types = liquid()
    with pytest.raises(InputError, match="is no table"):
        write_network(network(), "lammps", tmp_path / "x", system=system_of(position, box, types), temperature=300.0)
    assert not (tmp_path / "x").exists()
