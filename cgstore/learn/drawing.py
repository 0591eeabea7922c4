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
from cgstore.learn.potential import PairNetwork, pair_weights
from cgstore.learn.reweighting import Ensemble
from cgstore.learn.sampler import sample
from cgstore.learn.settings import Sampling
from cgstore.units import BOLTZMANN

__all__ = ["Potential", "StatePoint", "draw", "measure"]

Float = NDArray[np.float64]
Potential = PairNetwork | AtomicNetwork


@dataclass(frozen=True, slots=True, eq=False)
class StatePoint:
    """What the model is to reproduce at one state point: g with the scale of deviations, and where replicas start."""

    name: str
    temperature: float  # K
    start: xr.Dataset  # one starting frame, with its box, per replica
    width: float  # nm, of the bins
    g: Float  # (pair, bin)
    sigma: Float  # (pair, bin), errors of g with a floor; all alike for the plain sum of squares
    first: float = 0.0  # nm, where the first bin begins
    inputs: Mapping[str, float] = field(default_factory=dict)  # what a network is told of this system

    @property
    def beta(self) -> float:
        """Return 1/kT in mol/kJ."""
        return 1.0 / (BOLTZMANN * self.temperature)


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
        model.tables() if isinstance(model, PairNetwork) else model.under(point.inputs),
        start,
        temperature=point.temperature,
        seed=seed,
        **asdict(sampling),
    )
    described, g = measure(
        model, samples, width=point.width, bins=point.g.shape[1], first=point.first, inputs=point.inputs
    )
    with torch.no_grad():
        energy = model(described)
    ensemble = Ensemble(
        beta=point.beta,
        described=described,
        energy=energy,
        g=torch.from_numpy(g.reshape(len(g), -1)),
        target=torch.from_numpy(point.g.reshape(-1)),
        sigma=torch.from_numpy(point.sigma.reshape(-1)),
    )
    last = samples.isel(frame=np.flatnonzero(np.diff(samples["replica"].values, append=-1)))
    return ensemble, start.assign(position=start["position"].copy(data=last["position"].values))


def measure(
    model: Potential,
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
    shell = 4.0 / 3.0 * np.pi * np.diff((first + np.arange(bins + 1) * width) ** 3)
    with np.errstate(divide="ignore", invalid="ignore"):  # a pair that this system does not have has no g
        g = count * volume(box)[:, None, None] / (partners[:, None] * shell)
    if isinstance(model, PairNetwork):
        return torch.from_numpy(weight), np.nan_to_num(g, nan=0.0)
    return model.describe(position, box, types, inputs), np.nan_to_num(g, nan=0.0)
