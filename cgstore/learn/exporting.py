"""Networks of atoms handed on: energy and forces of one system as a program of torch.export, and a way into OpenMM.

What is written needs neither cgstore nor the classes of its networks: torch reads it, and OpenMM calls torch. Forces
are written out here, not differentiated, because what torch.export writes has no gradients.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import numpy as np
import torch
import xarray as xr

from cgstore.documents import did_you_mean
from cgstore.errors import InputError
from cgstore.exchange.openmm import bare_system, load_openmm, run_script, start_state
from cgstore.exchange.potentials import Particles
from cgstore.learn.atomic import AtomicNetwork
from cgstore.learn.written_out import AngularSlopes, bells

__all__ = ["NETWORK_PROGRAMS", "ForceProgram", "write_network"]

NETWORK_PROGRAMS = ("torch", "openmm")

_ROWS = 512  # particles whose distances to all others are in memory at a time
_FILE = "network.pt2"


class ForceProgram(torch.nn.Module):
    """Energy and forces of particles whose types are given once; every tensor is float64.

    Parameters
    ----------
    network : trained
    types : (particle,)
    inputs : what the network is told of the system

    Raises
    ------
    InputError : a type is not known, or an input is missing

    Notes
    -----
    E = Σ_i NN(G_i) + pairs of the prior, and F_i = Σ_j (dE/dr_ij) (x_j − x_i) / r_ij over both directions of a pair,
    with dE/dG_i from the layers backwards; angular functions add forces that are not along x_j − x_i.
    """

    kind: torch.Tensor  # (particle,)
    pair: torch.Tensor  # (type · type,) number of the pair
    prior: torch.Tensor  # (pair, 3) core, strength, exponent
    eta: torch.Tensor  # (function,)
    shift: torch.Tensor  # (function,)
    mean: torch.Tensor  # (particle, descriptor)
    spread: torch.Tensor  # (particle, descriptor)
    told: torch.Tensor  # (input,), scaled

    def __init__(self, network: AtomicNetwork, types: list[str], inputs: Mapping[str, float] | None = None) -> None:
        super().__init__()
        kind = torch.from_numpy(network._kinds(types).astype(np.int64))
        self.cutoff, self.count = network.cutoff, len(network.types)
        self.depth = len(network.hidden) + 1
        self.angles = None if network.angular is None else AngularSlopes(network.angular, self.count)
        numbers = {(a, b): k for k, (a, b) in enumerate(pair.split("-") for pair in network.pairs)}
        table = [[numbers[min(a, b), max(a, b)] for b in network.types] for a in network.types]
        priors = [(prior.core, prior.strength, prior.exponent) for prior in network.priors.values()]
        constants = {
            "kind": kind,
            "pair": torch.tensor(table).reshape(-1),
            "prior": torch.tensor(priors, dtype=torch.float64),
            "eta": torch.tensor(network.radial.eta, dtype=torch.float64),
            "shift": torch.tensor(network.radial.shift, dtype=torch.float64),
            "mean": network.mean[kind].clone(),
            "spread": network.spread[kind].clone(),
            "told": network._told(inputs),
        }
        for number in range(self.count):
            constants[f"of_{number}"] = torch.nonzero(kind == number)[:, 0]
            layers = [layer for layer in network.networks[number].children() if isinstance(layer, torch.nn.Linear)]
            for depth, layer in enumerate(layers):
                constants[f"weight_{number}_{depth}"] = layer.weight.detach().clone()
                constants[f"bias_{number}_{depth}"] = layer.bias.detach().clone()
        for name, value in constants.items():
            self.register_buffer(name, value)

    def forward(self, position: torch.Tensor, box: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return energy () in kJ/mol and forces (particle, xyz) in kJ/mol/nm.

        Parameters
        ----------
        position, box : (particle, xyz) and (box_vector, xyz) nm; the cutoff must not be beyond half a box height
        """
        first, second, vector = self._near(position, box)
        r = torch.sqrt((vector**2).sum(-1))
        value, rise = bells(r, self.eta, self.shift, self.cutoff)
        place, particles = first * self.count + self.kind[second], len(self.kind)
        sums = value.new_zeros(particles * self.count, value.shape[1]).index_add(0, place, value)
        radial = sums.reshape(particles, -1)
        if self.angles is None:
            energy, gradient = self._networks(radial)
        else:
            close = torch.nonzero(r < self.angles.cutoff)[:, 0]
            angular, seen = self.angles(vector[close], place[close], particles)
            energy, gradient = self._networks(torch.cat([radial, angular], dim=1))
        by_radial = gradient[:, : radial.shape[1]].reshape(particles * self.count, -1)
        slope = (by_radial[place] * rise).sum(-1)
        pairs, steep = self._prior(r, self.pair[self.kind[first] * self.count + self.kind[second]])
        pull = ((slope + 0.5 * steep) / r)[:, None] * vector
        force = torch.zeros_like(position).index_add(0, first, pull).index_add(0, second, -pull)
        if self.angles is not None:
            turn = self.angles.pull(gradient[:, radial.shape[1] :], seen)
            force = force.index_add(0, first[close], turn).index_add(0, second[close], -turn)
        return energy + 0.5 * pairs.sum(), force

    def _near(self, position: torch.Tensor, box: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the pairs within the cutoff, both ways, and the vectors (pair, xyz) from the first to the second."""
        inverse, found = torch.linalg.inv(box), []
        everyone = torch.arange(len(self.kind))
        for begin in range(0, len(self.kind), _ROWS):
            mine = everyone[begin : begin + _ROWS]
            delta = position[None] - position[mine][:, None]
            delta = delta - torch.round(delta @ inverse) @ box
            near = ((delta**2).sum(-1) < self.cutoff**2) & (mine[:, None] != everyone[None])
            rows, columns = torch.nonzero(near, as_tuple=True)
            found.append((mine[rows], columns, delta[rows, columns]))
        first, second, vector = (torch.cat(parts) for parts in zip(*found, strict=True))
        return first, second, vector

    def _networks(self, descriptor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the energy of all networks, and its gradient (particle, descriptor)."""
        scaled = (descriptor - self.mean) / self.spread
        energy, gradient = descriptor.new_zeros(()), torch.zeros_like(descriptor)
        for number in range(self.count):
            mine = cast(torch.Tensor, getattr(self, f"of_{number}"))
            if not len(mine):
                continue
            x = torch.cat([scaled[mine], self.told.expand(len(mine), -1)], dim=1)
            output, back = self._network(number, x)
            energy = energy + output
            gradient = gradient.index_copy(0, mine, back[:, : descriptor.shape[1]])
        return energy, gradient / self.spread

    def _network(self, number: int, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the sum of the outputs of one network, and its gradient (particle, input)."""
        layers = [
            cast(
                tuple[torch.Tensor, torch.Tensor], tuple(getattr(self, f"{w}_{number}_{d}") for w in ("weight", "bias"))
            )
            for d in range(self.depth)
        ]
        active = []
        for weight, bias in layers[:-1]:
            x = torch.tanh(x @ weight.T + bias)
            active.append(x)
        weight, bias = layers[-1]
        output = (x @ weight.T + bias).sum()
        back = weight.expand(len(x), -1)
        for (weight, _), y in zip(reversed(layers[:-1]), reversed(active), strict=True):
            back = (back * (1.0 - y**2)) @ weight
        return output, back

    def _prior(self, r: torch.Tensor, pair: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the energies of the prior (pair,) and their slopes."""
        core, strength, exponent = self.prior[pair].T
        outside = torch.maximum(r, core)
        power = (core / outside) ** exponent
        energy = strength * (power + exponent * (outside - r) / core)
        slope = -strength * exponent / core * power * (core / outside)
        x = r / self.cutoff
        cut = (1.0 - x**2) ** 2
        return energy * cut, slope * cut - energy * 4.0 * x * (1.0 - x**2) / self.cutoff


def write_network(
    network: AtomicNetwork,
    program: str,
    folder: Path | str,
    *,
    system: xr.Dataset,
    temperature: float,
    inputs: Mapping[str, float] | None = None,
) -> list[Path]:
    """Write a network of atoms for the particles of a system.

    Parameters
    ----------
    network : trained
    program : "torch", the file alone, or "openmm", with system, start and script
    folder : made if it is not there; files of the same names are replaced
    system : the particles in a box; their first frame is where OpenMM starts
    temperature : K, for the script
    inputs : what the network is told of the system

    Returns
    -------
    the files written, the one to read first in front

    Raises
    ------
    InputError : a program that takes no networks; a type that the network does not know
    MissingExtra : OpenMM is wanted and not installed
    """
    if program not in NETWORK_PROGRAMS:
        raise InputError(
            f'found program "{program}"{did_you_mean(program, NETWORK_PROGRAMS)}; a network of atoms sees all '
            "neighbours together and is no table"
        )
    particles, target = Particles.of(system), Path(folder)
    exported = _exported(ForceProgram(network, particles.topology.type.tolist(), inputs), particles)
    files = {"README.md": _README}
    if program == "openmm":
        files = {"run.py": run_script(temperature, _FORCE)}
        openmm = load_openmm()
        files["system.xml"] = openmm.XmlSerializer.serialize(bare_system(openmm, particles))
        files["start.xml"] = start_state(openmm, particles)
    target.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (target / name).write_text(text, encoding="utf-8")
    torch.export.save(exported, target / _FILE)
    return [target / name for name in [*files, _FILE]]


def _exported(program: ForceProgram, particles: Particles) -> torch.export.ExportedProgram:
    """Return the program with its constants, for any positions and boxes."""
    example = (torch.from_numpy(particles.position), torch.from_numpy(particles.box))
    with torch.no_grad():
        return torch.export.export(program, example, strict=False)


_FORCE = f'''
import torch  # no cgstore is needed

network = torch.export.load("{_FILE}").module()


def compute(state):
    """Return energy and forces by the network."""
    position = state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
    box = state.getPeriodicBoxVectors(asNumpy=True).value_in_unit(unit.nanometer)
    energy, force = network(torch.from_numpy(position).double(), torch.from_numpy(box).double())
    return energy.item(), force.numpy()


force = openmm.PythonForce(compute)  # of OpenMM 8.4 or later
force.setUsesPeriodicBoundaryConditions(True)
system.addForce(force)

'''

_README = f"""# A network potential

`{_FILE}` gives the energy and the forces of one system, whose particles have the types they had when it was written:

    import torch

    network = torch.export.load("{_FILE}").module()
    energy, force = network(position, box)

`position` (particle, xyz) and `box` (box_vector, xyz) are float64 tensors in nm, the energy is in kJ/mol, the forces
are in kJ/mol/nm. Positions need not be wrapped. The box may be of any size and shape whose half heights are not below
the cutoff. Distances of all pairs are looked at in every call: for some thousands of particles, not for a million.
"""
