"""Ensembles drawn from a potential: what it should reproduce at a state point, frames, and what is kept of them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from cgstore.box import volume
from cgstore.learn.atomic import AtomicNetwork
from cgstore.learn.molecular_frames import TermGoal, term_densities
from cgstore.learn.molecular_network import MolecularNetwork
from cgstore.learn.potential import PairNetwork, pair_weights
from cgstore.learn.pressure import PressureGoal, Stretched, stretch
from cgstore.learn.reweighting import Ensemble
from cgstore.learn.sampler import sample
from cgstore.learn.settings import Sampling
from cgstore.schema import topology_of
from cgstore.units import BOLTZMANN

__all__ = ["Potential", "StatePoint", "draw", "measure", "seen"]

Float = NDArray[np.float64]
Potential = PairNetwork | AtomicNetwork | MolecularNetwork


@dataclass(frozen=True, slots=True, eq=False)
class StatePoint:
    """What the model is to reproduce at one state point: g with the scale of deviations, and where replicas start.

    A pressure is matched besides where there is a goal.
    """

    name: str
    temperature: float  # K
    start: xr.Dataset  # one starting frame, with its box, per replica
    width: float  # nm, of the bins
    g: Float  # (pair, bin)
    sigma: Float  # (pair, bin), errors of g with a floor; all alike for the plain sum of squares
    first: float = 0.0  # nm, where the first bin begins
    inputs: Mapping[str, float] = field(default_factory=dict)  # what a network is told of this system
    pressure: PressureGoal | None = None  # whatever comes out, by default
    terms: tuple[TermGoal, ...] = ()  # of molecules

    @property
    def beta(self) -> float:
        """Return 1/kT in mol/kJ."""
        return 1.0 / (BOLTZMANN * self.temperature)

    @property
    def target(self) -> Float:
        """Return all values that are to be reproduced (value,): of g, then of the terms."""
        return np.concatenate([part.reshape(-1) for part in (self.g, *(term.value for term in self.terms))])

    @property
    def scale(self) -> Float:
        """Return the scale of the deviation of each value (value,)."""
        return np.concatenate([part.reshape(-1) for part in (self.sigma, *(term.sigma for term in self.terms))])


def draw(
    model: Potential, point: StatePoint, start: xr.Dataset, sampling: Sampling, seed: int
) -> tuple[Ensemble, xr.Dataset]:
    """Draw frames under the present parameters; return them, and the last frame of each replica.

    Parameters
    ----------
    model, point, sampling : the potential, what it should reproduce, and how to sample
    start : one starting frame per replica
    seed : the same seed gives the same frames

    Raises
    ------
    PhysicsError : the motion explodes, or the cutoff or the bins reach beyond half the box
    """
    samples = sample(
        model.under(point.inputs) if isinstance(model, AtomicNetwork) else model.tables(),
        start,
        temperature=point.temperature,
        seed=seed,
        **asdict(sampling),
    )
    described, values = seen(model, samples, point)
    with torch.no_grad():
        energy = model(described)
    ensemble = Ensemble(
        beta=point.beta,
        described=described,
        energy=energy,
        g=torch.from_numpy(values),
        target=torch.from_numpy(point.target),
        sigma=torch.from_numpy(point.scale),
        pressure=_stretched(model, point, samples),
        replicas=1 if point.pressure is None else start.sizes["frame"],
    )
    last = samples.isel(frame=np.flatnonzero(np.diff(samples["replica"].values, append=-1)))
    return ensemble, start.assign(position=start["position"].copy(data=last["position"].values))


def _stretched(model: Potential, point: StatePoint, samples: xr.Dataset) -> Stretched | None:
    """Return what the pressure needs of frames, if it is to be matched."""
    if point.pressure is None:
        return None
    topology = topology_of(samples)
    types = topology.type.tolist()

    def describe(position: Float, box: Float) -> Any:
        if isinstance(model, MolecularNetwork):
            return model.describe(position, box, topology)
        if isinstance(model, PairNetwork):
            return model.describe(position, box, types)
        return model.describe(position, box, types, point.inputs)

    return stretch(
        describe, samples["position"].values, samples["box"].values, thermal=1.0 / point.beta, goal=point.pressure
    )


def seen(model: Potential, ds: xr.Dataset, point: StatePoint) -> tuple[Any, Float]:
    """Return what the model needs of frames, and all values of each frame (frame, value) in the order of the target.

    Parameters
    ----------
    model, point : the potential, and what it should reproduce
    ds : frames with types and boxes, of molecules with their terms
    """
    if isinstance(model, MolecularNetwork):
        return _seen_of_molecules(model, ds, point)
    described, g = measure(model, ds, width=point.width, bins=point.g.shape[1], first=point.first, inputs=point.inputs)
    return described, g.reshape(len(g), -1)


def _seen_of_molecules(model: MolecularNetwork, ds: xr.Dataset, point: StatePoint) -> tuple[torch.Tensor, Float]:
    """Return the weights of the nodes, and the distributions of pairs and terms, of each frame."""
    position, box, topology = ds["position"].values, ds["box"].values, topology_of(ds)
    bins = point.g.shape[1]
    pairs = model.pairs_of(position, box, topology, width=point.width, bins=bins)
    parts = [_g(pairs.count, box, pairs.countable, point.width, bins)]
    for goal in point.terms:
        bounds = {"low": goal.low, "width": goal.width, "bins": goal.value.shape[1]}
        parts.append(term_densities(position, box, topology, goal.term, goal.kinds, **bounds))
    values = np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)
    return model.joined(pairs.weight, position, box, topology), values


def _g(count: NDArray[Any], box: Float, countable: Float, width: float, bins: int, first: float = 0.0) -> Float:
    """Return g of each frame (frame, pair, bin) from counts; a pair that there is none of has a g of zero."""
    shell = 4.0 / 3.0 * np.pi * np.diff((first + np.arange(bins + 1) * width) ** 3)
    with np.errstate(divide="ignore", invalid="ignore"):
        g = count * volume(box)[:, None, None] / (countable[:, None] * shell)
    return np.nan_to_num(g, nan=0.0)


def measure(
    model: PairNetwork | AtomicNetwork,
    ds: xr.Dataset,
    *,
    width: float,
    bins: int,
    first: float = 0.0,
    inputs: Mapping[str, float] | None = None,
) -> tuple[Any, Float]:
    """Return what the model needs of frames, and their g (frame, pair, bin).

    Parameters
    ----------
    model : the potential
    ds : frames with types and boxes
    width, bins, first : of the bins, first + [b, b + 1) * width in nm
    inputs : what the network is told of this system
    """
    types = ds["type"].values.tolist()
    position, box = ds["position"].values, ds["box"].values
    weight, count = pair_weights(
        position,
        box,
        types,
        known=model.types,
        spacing=model.spacing if isinstance(model, PairNetwork) else 1.0,
        nodes=len(model.r) if isinstance(model, PairNetwork) else 1,
        width=width,
        bins=bins,
        first=first,
    )
    many = {name: types.count(name) for name in model.types}
    split = [pair.split("-") for pair in model.pairs]
    partners = np.array([many[a] * (many[a] - 1) / 2 if a == b else many[a] * many[b] for a, b in split])
    g = _g(count, box, partners, width, bins, first)
    if isinstance(model, PairNetwork):
        return torch.from_numpy(weight), g
    return model.describe(position, box, types, inputs), g
