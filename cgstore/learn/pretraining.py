"""Pretraining: a network of atoms begins as a pair potential, of mean force or from an inversion.

Without it the first rounds of a structural training only find out that there is an attraction. The energy of each
particle in a pair potential is half the sum over its neighbours; the network learns these from its descriptors, on
frames of the reference whose particles were moved a little, so that it also sees what it must avoid.
"""

from collections.abc import Mapping

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from cgstore.learn.atomic import AtomicNetwork, Described
from cgstore.learn.kernel_tables import pair_name
from cgstore.tables import Table, interpolate

__all__ = ["pretrain"]

Float = NDArray[np.float64]

_MOVED = (0.0, 0.01, 0.03)  # nm, standard deviations of displacements
_STEEP = 5.0  # kT above the median, from where on energies count less


def pretrain(
    model: AtomicNetwork,
    frames: xr.Dataset,
    tables: Mapping[str, Table],
    *,
    inputs: Mapping[str, float] | None = None,
    thermal: float = 1.0,
    iterations: int = 200,
    seed: int = 0,
) -> float:
    """Fit the network in place so that particles have their energy in a pair potential; return the rms error.

    Parameters
    ----------
    model : the network; its prior stays as it is, so the network learns what the tables have beyond it
    frames : a few frames of the reference, with types and boxes
    tables : potential of each pair
    inputs : what the network is told of the system
    thermal : kT in kJ/mol; errors of particles whose energy is by more than some of these too high count little
    iterations : of L-BFGS
    seed : of the displacements

    Returns
    -------
    root mean square of the weighted errors of energies of particles in kJ/mol
    """
    rng = np.random.default_rng(seed)
    types = [str(name) for name in frames["type"].values]
    box = np.asarray(frames["box"].values, np.float64)
    position = np.asarray(frames["position"].values, np.float64)
    moved = np.concatenate([position + size * rng.normal(size=position.shape) for size in _MOVED])
    boxes = np.concatenate([box] * len(_MOVED))
    described = model.describe(moved, boxes, types, inputs)
    kind = described.kind.numpy()
    goal = torch.from_numpy(np.stack([_energies(model, x, b, kind, tables) for x, b in zip(moved, boxes, strict=True)]))
    median = goal.median()
    weight = 1.0 / (1.0 + ((goal - median).clamp(min=0.0) / (_STEEP * thermal)) ** 2)
    return _fit(model, described, goal, weight, iterations)


def _energies(model: AtomicNetwork, position: Float, box: Float, kind: NDArray, tables: Mapping[str, Table]) -> Float:
    """Return what particles (particle,) should have from the network: half of tables less prior, over all partners."""
    total = np.zeros(len(position))
    inverse = np.linalg.inv(box)
    for a, first in enumerate(model.types):
        for b, second in enumerate(model.types):
            delta = position[kind == a][:, None] - position[kind == b][None]
            delta -= np.rint(delta @ inverse) @ box
            r = np.sqrt((delta**2).sum(-1))
            pair = pair_name(first, second)
            energy, _ = interpolate(tables[pair], np.minimum(r, tables[pair].cutoff).ravel())
            beyond = energy.reshape(r.shape) - model.prior_at(pair, r)
            near = (r < max(model.cutoff, tables[pair].cutoff)) & (r > 0.0)
            total[kind == a] += 0.5 * np.where(near, beyond, 0.0).sum(1)
    return total


def _fit(
    model: AtomicNetwork, described: Described, goal: torch.Tensor, weight: torch.Tensor, iterations: int
) -> float:
    """Fit the energies of particles (frame, particle) by weighted least squares; return the rms error."""
    parameters = list(model.parameters())
    descent = torch.optim.LBFGS(parameters, max_iter=iterations, history_size=20, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        descent.zero_grad()
        error = (weight * (model.particle_energy(described) - goal) ** 2).sum() / weight.sum()
        error.backward()  # type: ignore[no-untyped-call]
        return error

    with torch.no_grad():  # constants cost nothing to learn this way, and many iterations the other
        for number, network in enumerate(model.networks):
            mine = described.kind == number
            if mine.any():
                rest = (weight * (goal - model.particle_energy(described)))[:, mine].sum() / weight[:, mine].sum()
                last = list(network.children())[-1]
                assert isinstance(last, torch.nn.Linear)
                last.bias.add_(rest)
    descent.step(loss)  # type: ignore[no-untyped-call]
    found = loss().detach().sqrt().item()
    for parameter in parameters:
        parameter.grad = None
    return float(found)
