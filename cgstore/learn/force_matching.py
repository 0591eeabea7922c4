"""Force matching of networks: the mean squared error of mapped forces, on minibatches of a loader.

A second loss beside the structural one of `cgstore.learn.structural`: nothing is sampled. The best force field by it is
the projection of the forces of the frames, most of which no potential of beads has, so the loss ends at their noise.
"""

import io
import json
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from cgstore.box import heights
from cgstore.errors import InputError, IntegrityError, PhysicsError
from cgstore.kernels.verlet import NOTHING_EXCLUDED, near, wrap
from cgstore.learn.atomic import AtomicNetwork
from cgstore.learn.folder import write_arrays
from cgstore.learn.loader import Loader
from cgstore.learn.moves import set_parameters
from cgstore.learn.potential import PairNetwork
from cgstore.plain_files import read_plain

__all__ = ["ForcePlace", "ForceUpdate", "force_error", "network_forces", "read_place", "train_forces", "write_place"]

Float = NDArray[np.float64]
Network = PairNetwork | AtomicNetwork
Inputs = Mapping[str, Mapping[str, float]]  # by dataset: what a network is told of a system

_DECAY = (0.9, 0.999)
_EPSILON = 1e-8
_MOST_BYTES = 2**30  # of a place


class ForceUpdate(NamedTuple):
    """One row of the log."""

    step: int
    error: float  # root mean square of the batch before the step, kJ/mol/nm
    held: float | None  # the same of the validation data after it, where they were looked at
    best: bool  # the best potential so far
    seconds: float


class ForcePlace(NamedTuple):
    """All that a training needs to go on exactly as if it had never stopped."""

    step: int
    loader: dict[str, Any]  # the place of the loader
    parameters: tuple[torch.Tensor, ...]
    first: tuple[torch.Tensor, ...]  # moments of Adam
    second: tuple[torch.Tensor, ...]
    best: tuple[torch.Tensor, ...]
    best_error: float = float("inf")
    best_step: int = 0


def train_forces(
    model: Network,
    loader: Loader,
    *,
    steps: int,
    rate: float = 1e-3,
    validation: Loader | None = None,
    every: int = 50,
    patience: int = 0,
    inputs: Inputs | None = None,
    place: ForcePlace | None = None,
    on_place: Callable[[ForcePlace], None] | None = None,
) -> Iterator[ForceUpdate]:
    """Train the model in place on forces, yielding a row for the log after each step.

    Parameters
    ----------
    model : the potential
    loader : batches of the training data, with the variables "position" and "force", and boxes
    steps : batches in all; Adam makes one step with each
    rate : of Adam; it falls to nothing over the steps as half a cosine
    validation : batches of the validation data, each once; they choose the best potential, which is what the model is
        at the end, and give no gradient. Without them the last potential is kept
    every : steps between looks at the validation data, and between places
    patience : looks without a better potential, after which it ends; 0: never
    inputs : what an `AtomicNetwork` is told of each dataset, by name
    place : where to go on; from the beginning by default
    on_place : is given the place at each look and at the end, after the row of that step

    Raises
    ------
    InputError : the loader has no forces or no boxes, patience without validation data, other data than of the place

    Notes
    -----
    L = Σ (f − f_θ)² / n over all n components of the forces of a batch, Izvekov & Voth 2005, doi:10.1021/jp044629q;
    its gradient is exact, through the derivative of the energy. Adam: Kingma & Ba 2015, arXiv:1412.6980.
    """
    _check(loader, "training")
    if validation is not None:
        _check(validation, "validation")
    elif patience:
        raise InputError("train_forces: found patience without validation data; only they can end a training early")
    parameters, begin = list(model.parameters()), time.perf_counter()
    if place is None:
        start, zero = _values(parameters), tuple(torch.zeros_like(p) for p in parameters)
        place = ForcePlace(0, loader.state_dict(), start, zero, zero, start)
    set_parameters(parameters, place.parameters)
    loader.load_state_dict(place.loader)
    ended = place.step == steps or (patience and place.step - place.best_step >= patience * every)
    for batch in () if ended else loader.endless():
        loss = _loss(model, loader, batch, inputs)
        # Forces know nothing of the constant of an energy.
        slopes = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
        number = place.step + 1
        share = 0.5 * (1.0 + np.cos(np.pi * place.step / steps))
        place = _moved(place, parameters, slopes, rate * share)._replace(loader=loader.state_dict())
        look = number % every == 0 or number == steps
        held = force_error(model, validation, inputs=inputs) if validation is not None and look else None
        best = held is not None and held < place.best_error
        if best:
            place = place._replace(best=place.parameters, best_error=float(held or 0.0), best_step=number)
        yield ForceUpdate(number, float(loss.detach()) ** 0.5, held, best, time.perf_counter() - begin)
        if look and on_place is not None:
            on_place(place)
        if number == steps or (patience and look and number - place.best_step >= patience * every):
            break
    if validation is not None and place.best_step:
        set_parameters(parameters, place.best)


def force_error(model: Network, loader: Loader, *, inputs: Inputs | None = None) -> float:
    """Return the root mean square error of the components of forces over one epoch of a loader, kJ/mol/nm."""
    loader.load_state_dict({**loader.state_dict(), "epoch": 0, "step": 0})
    total = number = 0.0
    for batch in loader:
        count = float(batch["force"].numel())
        total += float(_loss(model, loader, batch, inputs, create=False).detach()) * count
        number += count
    return float((total / number) ** 0.5)


def network_forces(
    model: Network,
    position: torch.Tensor,
    box: torch.Tensor,
    types: list[str],
    inputs: Mapping[str, float] | None = None,
    *,
    create: bool = True,
) -> torch.Tensor:
    """Return the forces (particle, xyz) of a network on one frame in kJ/mol/nm; gradients can go through them.

    Parameters
    ----------
    model : the potential
    position, box : (particle, xyz) and (box_vector, xyz) nm
    types : (particle,)
    inputs : what an `AtomicNetwork` is told of the system
    create : whether the parameters need the gradient of something made of them

    Raises
    ------
    PhysicsError : the cutoff is beyond half the smallest box height
    InputError : a type is not known
    """
    half = 0.5 * float(heights(box.numpy()).min())
    if model.cutoff > half * (1.0 + 1e-6):
        raise PhysicsError(f"the cutoff of {model.cutoff:g} nm is beyond half the smallest box height, {half:.4g} nm")
    if isinstance(model, PairNetwork):
        return _pair_forces(model, position, box, types, create)
    place = position.to(torch.float64).clone().requires_grad_(True)
    energy = model.energy_at(place, box.to(torch.float64), types, inputs)
    (slope,) = torch.autograd.grad(energy, place, create_graph=create)
    return -slope


def _pair_forces(
    model: PairNetwork, position: torch.Tensor, box: torch.Tensor, types: list[str], create: bool
) -> torch.Tensor:
    """Return the forces of pairs: those of the table that the sampler gets, a cubic between nodes."""
    if strange := sorted(set(types) - set(model.types)):
        raise InputError(f"the potential knows the types {', '.join(model.types)}, not {', '.join(strange)}")
    frame, space = (x.numpy().astype(np.float64) for x in (position, box))
    first, second, vector = _neighbours(frame, space, model.cutoff)
    distance = vector.norm(dim=1)
    kind = torch.tensor([model.types.index(name) for name in types])
    names = [["-".join(sorted((a, b))) for b in model.types] for a in model.types]
    pair = torch.tensor([[model.pairs.index(name) for name in row] for row in names])[kind[first], kind[second]]
    nodes = model.r.clone().requires_grad_(True)
    energy = model.energy_at(nodes)  # (pair, node)
    slope = torch.stack(
        [torch.autograd.grad(row.sum(), nodes, create_graph=create, retain_graph=True)[0] for row in energy]
    )
    h = model.spacing
    place = (distance / h).long().clamp(max=len(nodes) - 2)
    t = distance / h - place
    low, high = energy[pair, place], energy[pair, place + 1]
    left, right = h * slope[pair, place], h * slope[pair, place + 1]
    square, cube = 3.0 * (high - low) - 2.0 * left - right, 2.0 * (low - high) + left + right
    along = -(left + t * (2.0 * square + t * (3.0 * cube))) / h
    pull = (along / distance)[:, None] * vector
    zero = torch.zeros(position.shape, dtype=torch.float64)
    return zero.index_add(0, first, pull).index_add(0, second, -pull)


def _neighbours(position: Float, box: Float, cutoff: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the pairs within the cutoff, (pair,) twice, and the vectors (pair, xyz) from the second to the first."""
    inverse = np.linalg.inv(box)
    wrap(position, box, inverse)
    found = near(position, box, inverse, cutoff, NOTHING_EXCLUDED, 64 * len(position))
    count = int(found.start[-1])
    first = np.repeat(np.arange(len(position)), np.diff(found.start.astype(np.int64)).astype(np.int64))
    second = found.partner[:count].astype(np.int64)
    vector = position[first] - position[second] + found.shift[found.code[:count].astype(np.int64)]
    apart = (vector**2).sum(axis=1) > 0.0
    parts = (first[apart], second[apart], vector[apart])
    return torch.from_numpy(parts[0]), torch.from_numpy(parts[1]), torch.from_numpy(parts[2])


def _loss(
    model: Network, loader: Loader, batch: Mapping[str, torch.Tensor], inputs: Inputs | None, *, create: bool = True
) -> torch.Tensor:
    """Return the mean square error of the components of forces of a batch."""
    ends = batch["offsets"].tolist() if "offsets" in batch else None
    square, number = torch.zeros((), dtype=torch.float64), 0
    for k, dataset in enumerate(batch["dataset"].tolist()):
        here: Any = k if ends is None else slice(ends[k], ends[k + 1])
        types = [loader.types[code] for code in batch["type"][here].tolist()]
        told = None if inputs is None else inputs[loader.names[dataset]]
        found = network_forces(model, batch["position"][here], batch["box"][k], types, told, create=create)
        square = square + ((found - batch["force"][here].to(torch.float64)) ** 2).sum()
        number += found.numel()
    return square / number


def _moved(
    place: ForcePlace, parameters: list[torch.nn.Parameter], slopes: tuple[torch.Tensor, ...], rate: float
) -> ForcePlace:
    """Take a step of Adam in place and return where it led."""
    number = place.step + 1
    first = tuple(_DECAY[0] * m + (1.0 - _DECAY[0]) * g for m, g in zip(place.first, slopes, strict=True))
    second = tuple(_DECAY[1] * v + (1.0 - _DECAY[1]) * g**2 for v, g in zip(place.second, slopes, strict=True))
    fair = [1.0 - decay**number for decay in _DECAY]
    moved = [
        p - rate * (m / fair[0]) / (torch.sqrt(v / fair[1]) + _EPSILON)
        for p, m, v in zip(place.parameters, first, second, strict=True)
    ]
    set_parameters(parameters, moved)
    return place._replace(step=number, parameters=tuple(moved), first=first, second=second)


def _values(parameters: list[torch.nn.Parameter]) -> tuple[torch.Tensor, ...]:
    """Return copies of parameters."""
    return tuple(parameter.detach().clone() for parameter in parameters)


def _check(loader: Loader, part: str) -> None:
    """Refuse a loader that lacks what forces need."""
    if missing := sorted({"position", "force", "box"} - set(loader.variables)):
        raise InputError(
            f"train_forces: found no {' and no '.join(missing)} in the {part} batches; make the loader with "
            'variables=["position", "force"], of datasets that have forces and boxes'
        )


def write_place(path: Path, place: ForcePlace) -> None:
    """Keep a place as plain arrays; the file appears whole."""
    plain = {"step": place.step, "loader": place.loader, "best_error": place.best_error, "best_step": place.best_step}
    arrays = {"place": np.frombuffer(json.dumps(plain).encode(), np.uint8)}
    for name in ("parameters", "first", "second", "best"):
        arrays |= {f"{name}_{n}": value.numpy() for n, value in enumerate(getattr(place, name))}
    write_arrays(path, arrays)


def read_place(path: Path, model: Network) -> ForcePlace | None:
    """Return the place that was kept in a file, None if there is none.

    Raises
    ------
    IntegrityError : the file is damaged, or of another network
    """
    if not path.is_file():
        return None
    shapes = [tuple(parameter.shape) for parameter in model.parameters()]
    try:
        with np.load(io.BytesIO(read_plain(path, most=_MOST_BYTES)), allow_pickle=False) as kept:
            plain = json.loads(kept["place"].tobytes())
            parts = {
                name: tuple(torch.from_numpy(kept[f"{name}_{n}"]) for n in range(len(shapes)))
                for name in ("parameters", "first", "second", "best")
            }
        if any([tuple(value.shape) for value in part] != shapes for part in parts.values()):
            raise ValueError("the network has other layers")
        return ForcePlace(
            step=int(plain["step"]),
            loader=dict(plain["loader"]),
            parameters=parts["parameters"],
            first=parts["first"],
            second=parts["second"],
            best=parts["best"],
            best_error=float(plain["best_error"]),
            best_step=int(plain["best_step"]),
        )
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise IntegrityError(f"{path}: no place of this training: {error}; remove it to begin again") from error
