"""Validation: the models of a fit sampled where no fit has looked, in units of what can be known at all.

Every number of the table has an error from the jackknife over the blocks of the reference and the replicas of the
model, whatever the correlations between the bins are. Nothing here needs torch.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.averages.pair import rdf_blocks, rdf_from_blocks
from cgstore.averages.spec import Spec, load_spec, rdf_parameters
from cgstore.catalog import open_catalog
from cgstore.documents import load_document
from cgstore.errors import InputError, PhysicsError
from cgstore.learn.folder import PAIR_PART, read_curves, read_lock, read_tables, write_dataset, write_rows
from cgstore.learn.interactions import Model
from cgstore.learn.sampler import sample
from cgstore.learn.settings import FitFile
from cgstore.learn.source import inputs_of, open_source, spread_frames, temperature_of
from cgstore.learn.trainset import TrainingSet
from cgstore.splits.split import Catalog, Member, PartName, Split, members_of
from cgstore.tables import Table
from cgstore.whole_files import write_json

__all__ = ["Row", "Validation", "highest_peak", "jackknife", "validate"]

Float = NDArray[np.float64]
Progress = Callable[[str, int, int], None]

_FLOOR = 0.01  # of g: bins below are the core, where nothing can be said in units of errors


class _Network(Protocol):
    """A network of atoms, which is told of the system."""

    def under(self, inputs: Mapping[str, float]) -> Model:
        """Return what can be sampled."""


@dataclass(frozen=True, slots=True, eq=False)
class Validation:
    """The answer: a row per dataset, pair and model; the network decides on `passed`."""

    fit: str
    on: PartName
    tolerance: float  # of the rmsd
    rows: tuple[Row, ...]
    curves: xr.Dataset  # rdf and rdf_error on (curve, dataset, pair, r), the reference first

    @property
    def passed(self) -> bool:
        """Tell whether the network is within the tolerance everywhere."""
        return all(row.rmsd <= self.tolerance for row in self.rows if row.model == "network")

    @property
    def verdict(self) -> str:
        """Say in a sentence how the network did, and how the baseline."""
        words = []
        for model in dict.fromkeys(row.model for row in self.rows):
            worst = max((row for row in self.rows if row.model == model), key=lambda row: row.rmsd)
            words.append(f"{model} rmsd {worst.rmsd:.4f} ± {worst.rmsd_error:.4f} (noise {worst.noise_floor:.4f})")
        place = "within" if self.passed else "outside"
        return f"The network is {place} the tolerance of {self.tolerance:g} on {self.on} data: {', '.join(words)}"

    def to_dict(self) -> dict[str, Any]:
        """Return the answer as plain data, without the curves."""
        rows = [asdict(row) for row in self.rows]
        return {
            "fit": self.fit,
            "on": self.on,
            "passed": self.passed,
            "tolerance": self.tolerance,
            "verdict": self.verdict,
            "rows": rows,
        }


def validate(
    folder: str | Path, *, store: str | Path, on: PartName = "heldout", progress: Progress | None = None
) -> Validation:
    """Sample the models of a fit at the datasets of a part of its split and hold them against the reference.

    Parameters
    ----------
    folder : the fit folder; `validation-PART.json`, `.csv` and `.nc` are written into it
    store : folder of the store that the fit was made from
    on : "heldout", "validation" or "train"
    progress : called as `progress("dataset model", done, total)`

    Raises
    ------
    InputError : the fit is not finished, the split has no such part, or its `trainset.lock` says something else than
        what is now: a dataset, a block of time, statistics of another version
    IntegrityError : a file of the fit was changed
    PhysicsError : the cutoff reaches beyond half a box, the motion explodes

    Examples
    --------
    >>> validate("fits/methane", store="store").passed  # doctest: +SKIP
    True
    """
    path, tell = Path(folder), progress or (lambda name, done, total: None)
    lock, catalog = read_lock(path), open_catalog(str(store))
    file, split = load_document(path / "fit.toml", FitFile), Split.load(path / "split.toml")
    spec = load_spec(path / "spec.toml")
    TrainingSet.read(path).verify(catalog, split, features=spec, seed=file.seed)
    members = _members(split, on, catalog)
    models = _models(path, file)
    rows: list[Row] = []
    curves = []
    for number, member in enumerate(members):
        blocks = _reference_blocks(catalog, member, spec)
        start = _start(catalog, member, file)
        temperature = temperature_of(catalog, member.name)
        found = {}
        for place, (name, tables) in enumerate(models.items()):
            tell(f"{member.name} {name}", number * len(models) + place, len(members) * len(models))
            found[name] = _replica_g(_samples(tables, start, file, temperature), spec, blocks["r"].values)
        curves.append(_curves_of(member.name, blocks, found))
        rows += _rows(member.name, temperature, blocks, found, curves[-1])
    tell("validation", len(members) * len(models), len(members) * len(models))
    joined = xr.concat(curves, "dataset", join="outer").transpose("curve", "dataset", "pair", "r")
    answer = Validation(
        lock["name"], on, file.validation.tolerance, tuple(rows), joined.assign_attrs(name=lock["name"])
    )
    _write(path, answer)
    return answer


def _members(split: Split, on: PartName, catalog: Catalog) -> tuple[Member, ...]:
    """Return the datasets to validate on."""
    selections = {part.part: part for part in split.parts()}
    if on not in selections or not selections[on].rules:
        there = ", ".join(part.part for part in split.parts() if part.rules)
        raise InputError(f"the split of this fit has no part {on!r}; it has {there}")
    return members_of(selections[on], catalog)


def _models(folder: Path, file: FitFile) -> dict[str, Mapping[str, Table] | _Network]:
    """Return the models of a fit: tables, or a network of atoms."""
    models: dict[str, Mapping[str, Table] | _Network] = {}
    if file.potential.kind == "atomic":
        from cgstore.learn.atomic_files import read_network  # nothing else here needs torch

        models["network"] = read_network(folder / "weights.npz")
    curves = [str(name) for name in read_curves(folder / "potential.nc")["curve"].values]
    return models | {name: read_tables(folder, name) for name in curves if name != PAIR_PART}


def _frames_of(catalog: Catalog, member: Member) -> xr.Dataset:
    """Return the frames of a reference."""
    ds = catalog[member.name].open()
    return ds.isel(frame=member.frames(ds["time"].values)) if "time" in ds.variables else ds


def _start(catalog: Catalog, member: Member, file: FitFile) -> xr.Dataset:
    """Return starting frames, in the boxes of the reference."""
    source = open_source(catalog[member.name], member, needs=("position", "box"))
    return spread_frames(source, file.sampling.replicas, seed=file.seed)


def _samples(model: Mapping[str, Table] | _Network, start: xr.Dataset, file: FitFile, temperature: float) -> xr.Dataset:
    """Sample a model at a state point; every model gets the same starting frames and random numbers."""
    asked = file.validation
    sampling = replace(file.sampling.sampling(), equilibrate=asked.equilibrate, duration=asked.duration)
    told = model if isinstance(model, Mapping) else model.under(inputs_of(start, temperature))
    return sample(told, start, temperature=temperature, seed=file.seed, **asdict(sampling))


def _write(folder: Path, answer: Validation) -> None:
    """Write the answer into the fit folder: first what it rests on, then the verdict."""
    name = f"validation-{answer.on}"
    write_dataset(folder / f"{name}.nc", answer.curves)
    write_rows(folder / f"{name}.csv", [asdict(row) for row in answer.rows])
    write_json(folder / f"{name}.json", answer.to_dict())
