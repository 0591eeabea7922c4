"""Validation: the models of a fit sampled where no fit has looked, in units of what can be known at all.

Distributions are compared by `cgstore.learn.comparison`; pressure, diffusion and membranes are in
`cgstore.learn.observables`. Nothing here needs torch.
"""

import csv
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import xarray as xr

from cgstore.averages.spec import Spec, load_spec
from cgstore.catalog import open_catalog
from cgstore.documents import load_document
from cgstore.errors import InputError
from cgstore.learn.comparison import Row, blocks_of, curves_of, of_replicas, rows_of
from cgstore.learn.folder import PAIR_PART, read_curves, read_lock, write_dataset, write_rows
from cgstore.learn.interactions import Model
from cgstore.learn.molecular import Molecular
from cgstore.learn.observables import (
    Observable,
    last_frames,
    mobility_of,
    of_membrane,
    of_pressure,
    reference_mobility,
)
from cgstore.learn.potential_file import FILE, Tables, read_tables
from cgstore.learn.sampler import sample
from cgstore.learn.settings import FitFile
from cgstore.learn.source import inputs_of, open_source, spread_frames, temperature_of
from cgstore.learn.trainset import TrainingSet
from cgstore.splits.split import Catalog, Member, PartName, Split, members_of
from cgstore.whole_files import write_json

__all__ = ["Validation", "validate"]

Progress = Callable[[str, int, int], None]

_COUPLING = 1.0  # ps, of the kinetic energy as a whole where there is no friction


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
    observables: tuple[Observable, ...]
    made_of: dict[str, Any]  # data with digests, split, seed and time of the training
    curves: xr.Dataset  # rdf and rdf_error on (curve, dataset, pair, r), the reference first; bonds and so on likewise

    @property
    def passed(self) -> bool:
        """Tell whether the network is within the tolerance everywhere."""
        return all(row.rmsd <= self.tolerance for row in self._of_pairs() if row.model == "network")

    @property
    def verdict(self) -> str:
        """Say in a sentence how the network did, and how the baseline."""
        words = []
        for model in dict.fromkeys(row.model for row in self.rows):
            worst = max((row for row in self._of_pairs() if row.model == model), key=lambda row: row.rmsd)
            error = f" ± {worst.rmsd_error:.4f} (noise {worst.noise_floor:.4f})" if worst.rmsd_error >= 0.0 else ""
            words.append(f"{model} rmsd {worst.rmsd:.4f}{error}")
        place = "within" if self.passed else "outside"
        return f"The network is {place} the tolerance of {self.tolerance:g} on {self.on} data: {', '.join(words)}"

    def _of_pairs(self) -> list[Row]:
        """Return the rows of radial distribution functions, whose rmsd the tolerance is of."""
        return [row for row in self.rows if row.distribution == "rdf"]

    def to_dict(self) -> dict[str, Any]:
        """Return the answer as plain data, without the curves; None is what is not known."""
        return {
            "fit": self.fit,
            "on": self.on,
            "passed": self.passed,
            "tolerance": self.tolerance,
            "verdict": self.verdict,
            "rows": [_plain(row) for row in self.rows],
            "observables": [_plain(row) for row in self.observables],
            "made_of": self.made_of,
        }


def _plain(row: Row | Observable) -> dict[str, Any]:
    """Return a row as plain data."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in asdict(row).items()}


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
    members, models = _members(split, on, catalog), _models(path, file)
    asked = _Asked(catalog, file, spec, models)
    done, total = 0, len(members) * len(models)
    rows, observables, curves = [], [], []
    for member in members:
        reference = _Reference.of(asked, member)
        found = {}
        for name in models:
            tell(f"{member.name} {name}", done, total)
            found[name], others = _asked_of(asked, reference, name)
            observables += others
            done += 1
        curves.append(curves_of(member.name, reference.blocks, found))
        rows += rows_of(member.name, reference.temperature, reference.blocks, found, curves[-1])
    tell("validation", total, total)
    joined = xr.concat(curves, "dataset", join="outer").transpose("curve", "dataset", ...)
    made_of = _made_of(path)
    named = joined.assign_attrs(name=lock["name"])
    answer = Validation(lock["name"], on, file.validation.tolerance, tuple(rows), tuple(observables), made_of, named)
    _write(path, answer)
    return answer


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """What is validated, and how."""

    catalog: Catalog
    file: FitFile
    spec: Spec
    models: Mapping[str, Tables | _Network]


@dataclass(frozen=True, slots=True, eq=False)
class _Reference:
    """A dataset that models are held against."""

    name: str
    temperature: float  # K
    barostat: float  # bar, NaN where it is not known
    bilayer: bool
    frames: xr.Dataset
    start: xr.Dataset  # of the replicas
    blocks: dict[str, xr.Dataset]
    mobility: xr.Dataset | None
    immobile: str  # why there are no diffusion coefficients

    @classmethod
    def of(cls, asked: _Asked, member: Member) -> "_Reference":
        """Read and count a member of the part."""
        entry = asked.catalog[member.name]
        ds = entry.open()
        frames = ds.isel(frame=member.frames(ds["time"].values)) if "time" in ds.variables else ds
        pressure, mobility = entry.metadata.get("pressure"), reference_mobility(frames)
        return cls(
            member.name,
            temperature_of(asked.catalog, member.name),
            math.nan if pressure is None else float(pressure),
            entry.metadata.get("kind") == "bilayer",
            frames,
            _start(asked.catalog, member, asked.file),
            blocks_of(frames, asked.spec, membrane=entry.metadata.get("kind") == "bilayer"),
            *mobility,
        )


def _asked_of(asked: _Asked, reference: _Reference, name: str) -> tuple[dict[str, xr.DataArray], list[Observable]]:
    """Sample a model at a reference; return its distributions per replica, and what else it gives."""
    model = asked.models[name]
    free = reference.bilayer and asked.file.validation.area == "free"
    samples = _samples(model, reference.start, reference.start, asked.file, reference.temperature, free_area=free)
    found = [of_pressure(reference.name, name, samples, reference.barostat, plane=reference.bilayer)]
    if reference.bilayer:
        found += of_membrane(reference.name, name, samples, reference.frames)
    if reference.mobility is None:
        nothing = math.nan, math.nan, math.nan, math.nan
        found.append(
            Observable(reference.name, name, "diffusion coefficient", "", "nm^2/ps", *nothing, reference.immobile)
        )
    else:
        moved = _samples(
            model, last_frames(samples), reference.start, asked.file, reference.temperature, friction=False
        )
        found += mobility_of(reference.name, name, moved, reference.mobility)
    return of_replicas(samples, asked.spec, reference.blocks), found


def _members(split: Split, on: PartName, catalog: Catalog) -> tuple[Member, ...]:
    """Return the datasets to validate on."""
    selections = {part.part: part for part in split.parts()}
    if on not in selections or not selections[on].rules:
        there = ", ".join(part.part for part in split.parts() if part.rules)
        raise InputError(f"the split of this fit has no part {on!r}; it has {there}")
    return members_of(selections[on], catalog)


def _models(folder: Path, file: FitFile) -> dict[str, Tables | _Network]:
    """Return the models of a fit: tables, or a network of atoms."""
    models: dict[str, Tables | _Network] = {}
    if file.potential.kind == "atomic":
        from cgstore.learn.atomic_files import read_network  # nothing else here needs torch

        models["network"] = read_network(folder / "weights.npz")
    curves = [str(name) for name in read_curves(folder / FILE)["curve"].values]
    return models | {name: read_tables(folder, name) for name in curves if name != PAIR_PART}


def _start(catalog: Catalog, member: Member, file: FitFile) -> xr.Dataset:
    """Return starting frames, in the boxes of the reference."""
    source = open_source(catalog[member.name], member, needs=("position", "box"))
    return spread_frames(source, file.sampling.replicas, seed=file.seed)


def _samples(
    model: Tables | _Network,
    start: xr.Dataset,
    boxes: xr.Dataset,
    file: FitFile,
    temperature: float,
    *,
    friction: bool = True,
    free_area: bool = False,
) -> xr.Dataset:
    """Sample a model at a state point; every model gets the same starting frames and random numbers."""
    asked = file.validation
    sampling = replace(file.sampling.sampling(), equilibrate=asked.equilibrate, duration=asked.duration)
    options = asdict(sampling) if friction else asdict(sampling) | {"friction": 0.0, "coupling": _COUPLING}
    if free_area:
        options |= {"pressure": 0.0, "membrane": "area"}
    told = model if isinstance(model, Mapping | Molecular) else model.under(inputs_of(boxes, temperature))
    return sample(told, start, temperature=temperature, seed=file.seed, **options)


def _made_of(folder: Path) -> dict[str, Any]:
    """Return what a fit was trained on, and for how long, as plain data."""
    learned = TrainingSet.read(folder)
    with (folder / "log.csv").open(encoding="utf-8", newline="") as file:
        log = list(csv.DictReader(file))
    parts = {part: [used.plain() for used in rows] for part, rows in learned.parts.items()}
    seconds = float(log[-1]["seconds"]) if log else None
    return {"split": learned.split, "parts": parts, "seed": learned.seed, "steps": len(log), "seconds": seconds}


def _write(folder: Path, answer: Validation) -> None:
    """Write the answer into the fit folder: first what it rests on, then the verdict."""
    name = f"validation-{answer.on}"
    write_dataset(folder / f"{name}.nc", answer.curves)
    write_rows(folder / f"{name}.csv", [asdict(row) for row in answer.rows])
    write_rows(folder / f"{name}-observables.csv", [asdict(row) for row in answer.observables])
    write_json(folder / f"{name}.json", answer.to_dict())
