"""The training of a fit: on averages or on forces, with its log and its checkpoint in the fit folder."""

import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cgstore.errors import IntegrityError
from cgstore.learn.atomic import AtomicNetwork
from cgstore.learn.drawing import Potential, StatePoint
from cgstore.learn.folder import write_arrays
from cgstore.learn.force_matching import ForcePlace, read_place, train_forces, write_place
from cgstore.learn.loader import Loader
from cgstore.learn.log import ForceLog, Log
from cgstore.learn.potential import PairNetwork
from cgstore.learn.settings import FitFile
from cgstore.learn.structural import Place, train_structure
from cgstore.splits.split import PartName

__all__ = ["CHECKPOINT", "train_on_averages", "train_on_forces"]

CHECKPOINT = ".checkpoint.npz"  # in the fit folder, while it trains

Tell = Callable[[str, int, int], None]
Points = Mapping[PartName, Sequence[StatePoint]]


def train_on_averages(folder: Path, file: FitFile, model: Potential, points: Points, tell: Tell) -> None:
    """Train a model in place on distributions, or go on with that, keeping log and checkpoint in the folder.

    Parameters
    ----------
    folder, file : of the fit
    model : as it begins
    points : the state points of each part that is read
    tell : called as `tell("network", done, total)` at each round
    """
    watched = points.get("validation", ())
    everything = [*points["train"], *watched]
    log = Log(folder / "log.csv", [point.name for point in everything])
    place = _read_checkpoint(folder / CHECKPOINT, model, everything)
    if place is not None:
        log.go_back(place.round)

    def keep(now: Place) -> None:
        tell("network", now.round, file.training.rounds)
        _write_checkpoint(folder / CHECKPOINT, now)

    rows = train_structure(
        model,
        points["train"],
        watched=watched,
        sampling=file.sampling.sampling(),
        training=file.training.training(file.potential.kind),
        seed=file.seed,
        place=place,
        on_round=keep,
    )
    for row in rows:
        log.add(row)
    log.save_curves(folder / "training.nc", title=file.name)


def train_on_forces(
    folder: Path,
    file: FitFile,
    model: PairNetwork | AtomicNetwork,
    loaders: Mapping[PartName, Loader],
    points: Points,
    tell: Tell,
) -> None:
    """Train a model in place on forces, or go on with that, keeping log and checkpoint in the folder.

    Parameters
    ----------
    folder, file, model, points, tell : as `train_on_averages`; of the points it needs what a network is told
    loaders : of positions and forces, for each part that is read
    """
    asked = file.training
    log = ForceLog(folder / "log.csv", asked.steps)
    place = read_place(folder / CHECKPOINT, model)
    log.go_back(0 if place is None else place.step)

    def keep(now: ForcePlace) -> None:
        log.save()
        write_place(folder / CHECKPOINT, now)
        tell("network", -(-now.step // asked.steps), asked.rounds)

    rows = train_forces(
        model,
        loaders["train"],
        steps=asked.rounds * asked.steps,
        rate=asked.rate,
        validation=loaders.get("validation"),
        every=asked.steps,
        patience=asked.patience,
        inputs={point.name: point.inputs for part in points.values() for point in part},
        place=place,
        on_place=keep,
    )
    for row in rows:
        log.add(row)
    log.save()
    log.save_curves(folder / "training.nc", title=file.name)


def _write_checkpoint(path: Path, place: Place) -> None:
    """Keep the beginning of a round."""
    arrays: dict[str, NDArray[Any]] = {"round": np.array(place.round), "best_loss": np.array(place.best_loss)}
    arrays |= {f"parameter_{n}": value.numpy() for n, value in enumerate(place.parameters)}
    arrays |= {f"best_{n}": value.numpy() for n, value in enumerate(place.best)}
    arrays |= {"best_round": np.array(place.best_round)}
    arrays |= {f"memory_{n}": value.numpy() for n, value in enumerate(place.memory)}
    arrays |= {f"start_{n}": start["position"].values for n, start in enumerate(place.starts)}
    write_arrays(path, arrays)


def _read_checkpoint(path: Path, model: Potential, points: Sequence[StatePoint]) -> Place | None:
    """Return the place to go on, if there is one."""
    if not path.is_file():
        return None
    count = len(list(model.parameters()))
    try:
        with np.load(path, allow_pickle=False) as kept:
            return Place(
                round=int(kept["round"]),
                parameters=tuple(torch.from_numpy(kept[f"parameter_{n}"]) for n in range(count)),
                starts=tuple(
                    point.start.assign(position=point.start["position"].copy(data=kept[f"start_{n}"]))
                    for n, point in enumerate(points)
                ),
                best=tuple(torch.from_numpy(kept[f"best_{n}"]) for n in range(count)),
                best_loss=float(kept["best_loss"]),
                best_round=int(kept["best_round"]),
                memory=tuple(torch.from_numpy(kept[f"memory_{n}"]) for n in range(_remembered(kept.files))),
            )
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise IntegrityError(f"{path}: no checkpoint of this fit: {error}; remove it to begin again") from error


def _remembered(names: Sequence[str]) -> int:
    """Return how many tensors of memory a checkpoint has."""
    return sum(name.startswith("memory_") for name in names)
