"""Pretraining: a network of atoms begins as a pair potential, of mean force or from an inversion.

Without it the first rounds of a structural training only find out that there is an attraction. The energy of each
particle in a pair potential is half the sum over its neighbours; the network learns these from its descriptors, on
frames of the reference whose particles were moved a little, so that it also sees what it must avoid.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from cgstore.learn.atomic import AtomicNetwork, Described
from cgstore.learn.kernel_tables import pair_name
from cgstore.tables import Table, interpolate

__all__ = ["Known", "pretrain"]

Float = NDArray[np.float64]

_MOVED = (0.0, 0.01, 0.03)  # nm, standard deviations of displacements
_STEEP = 5.0  # kT above the median, from where on energies count less


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """A system of which a pair potential is known that the network begins as."""

    frames: xr.Dataset  # a few frames of the reference, with types and boxes
    tables: Mapping[str, Table]  # potential of each pair of its types
    thermal: float  # kT in kJ/mol
    inputs: Mapping[str, float] = field(default_factory=dict)  # what the network is told of the system


def pretrain(model: AtomicNetwork, systems: Sequence[Known], *, iterations: int = 200, seed: int = 0) -> float:
    """Fit the network in place so that particles have their energy in pair potentials; return the rms error.

    Parameters
    ----------
    model : the network; its prior stays as it is, so the network learns what the tables have beyond it
    systems : with their tables; those of several systems may differ, as far as the network can tell them apart
    iterations : of L-BFGS
    seed : of the displacements

    Returns
    -------
    root mean square of the weighted errors of energies of particles in kJ/mol

    Notes
    -----
    Energies more than some kT above the median of a system count little: no particle will be there.
    """
    rng = np.random.default_rng(seed)
    return _fit(model, [_lesson(model, system, rng) for system in systems], iterations)


class _Lesson(NamedTuple):
    """What the network is to learn of a system."""

    described: Described
    goal: torch.Tensor  # (frame, particle) kJ/mol
    weight: torch.Tensor  # (frame, particle)


def _lesson(model: AtomicNetwork, system: Known, rng: np.random.Generator) -> _Lesson:
    """Return energies of particles in frames whose particles were moved by different lengths."""
    types = [str(name) for name in system.frames["type"].values]
    box = np.asarray(system.frames["box"].values, np.float64)
    position = np.asarray(system.frames["position"].values, np.float64)
    moved = np.concatenate([position + size * rng.normal(size=position.shape) for size in _MOVED])
    boxes = np.concatenate([box] * len(_MOVED))
    described = model.describe(moved, boxes, types, system.inputs)
    kind = described.kind.numpy()
    energies = [_energies(model, x, b, kind, system.tables) for x, b in zip(moved, boxes, strict=True)]
    goal = torch.from_numpy(np.stack(energies))
    above = (goal - goal.median()).clamp(min=0.0) / (_STEEP * system.thermal)
    return _Lesson(described, goal, 1.0 / (1.0 + above**2))


def _energies(model: AtomicNetwork, position: Float, box: Float, kind: NDArray, tables: Mapping[str, Table]) -> Float:
    """Return what particles (particle,) should have from the network: half of tables less prior, over all partners."""
    total = np.zeros(len(position))
    inverse = np.linalg.inv(box)
    for a, first in enumerate(model.types):
        for b, second in enumerate(model.types):
            if not ((kind == a).any() and (kind == b).any()):
                continue
            delta = position[kind == a][:, None] - position[kind == b][None]
            delta -= np.rint(delta @ inverse) @ box
            r = np.sqrt((delta**2).sum(-1))
            pair = pair_name(first, second)
            energy, _ = interpolate(tables[pair], np.minimum(r, tables[pair].cutoff).ravel())
            beyond = energy.reshape(r.shape) - model.prior_at(pair, r)
            near = (r < max(model.cutoff, tables[pair].cutoff)) & (r > 0.0)
            total[kind == a] += 0.5 * np.where(near, beyond, 0.0).sum(1)
    return total


def _fit(model: AtomicNetwork, lessons: Sequence[_Lesson], iterations: int) -> float:
    """Fit the energies of particles by weighted least squares; return the rms error."""
    parameters = list(model.parameters())
    descent = torch.optim.LBFGS(parameters, max_iter=iterations, history_size=20, line_search_fn="strong_wolfe")
    total = torch.stack([lesson.weight.sum() for lesson in lessons]).sum()

    def loss() -> torch.Tensor:
        descent.zero_grad()
        errors = [(one.weight * (model.particle_energy(one.described) - one.goal) ** 2).sum() for one in lessons]
        error = torch.stack(errors).sum() / total
        error.backward()  # type: ignore[no-untyped-call]
        return error

    _set_constants(model, lessons)
    descent.step(loss)  # type: ignore[no-untyped-call]
    found = loss().detach().sqrt().item()
    for parameter in parameters:
        parameter.grad = None
    return float(found)


def _set_constants(model: AtomicNetwork, lessons: Sequence[_Lesson]) -> None:
    """Give each network its mean: constants cost nothing to learn this way, and many iterations the other."""
    with torch.no_grad():
        rests = [one.weight * (one.goal - model.particle_energy(one.described)) for one in lessons]
        for number, network in enumerate(model.networks):
            mine = [one.described.kind == number for one in lessons]
            many = sum(float(one.weight[:, own].sum()) for one, own in zip(lessons, mine, strict=True))
            if many > 0.0:
                last = list(network.children())[-1]
                assert isinstance(last, torch.nn.Linear)
                last.bias.add_(sum(float(rest[:, own].sum()) for rest, own in zip(rests, mine, strict=True)) / many)
