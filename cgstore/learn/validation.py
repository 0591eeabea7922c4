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
from cgstore.learn.source import open_source, spread_frames, temperature_of
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


@dataclass(frozen=True, slots=True)
class Row:
    """One pair of one dataset, as one model gives it; heights without unit, positions in nm."""

    dataset: str
    temperature: float  # K
    pair: str
    model: str  # "network" or "ibi"
    rmsd: float  # of g, over all bins
    rmsd_error: float
    noise_floor: float  # the rmsd that the errors of reference and model alone would give
    chi2: float  # mean over the bins of (g − g_ref)² / (σ² + σ_ref²); one means equal as far as one can know
    peak: float  # height of the highest maximum
    peak_error: float
    peak_reference: float
    peak_reference_error: float
    peak_position: float
    peak_position_error: float
    peak_position_reference: float
    peak_position_reference_error: float


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


def jackknife(statistic: Callable[..., Float], *blocks: tuple[Float, Float]) -> tuple[Float, Float]:
    """Return a function of means with its standard error, leaving out one block at a time.

    Parameters
    ----------
    statistic : called with one mean per group of blocks, gives (value,) or a number
    blocks : groups of independent blocks, each as sums (block, …) and weights (block,)

    Notes
    -----
    δ² = Σ_groups (B − 1) / B Σ_b (θ_(b) − θ_(·))². Quenouille 1956, doi:10.1093/biomet/43.3-4.353

    Examples
    --------
    >>> x = np.array([1.0, 2.0, 4.0, 5.0])
    >>> [float(v.round(4)) for v in jackknife(lambda mean: mean, (x, np.ones(4)))]  # the mean and its error
    [3.0, 0.9129]
    """
    means = [sums.sum(axis=0) / weights.sum() for sums, weights in blocks]
    variance = np.zeros_like(np.asarray(statistic(*means), np.float64))
    for group, (sums, weights) in enumerate(blocks):
        left = [
            statistic(*means[:group], (sums.sum(axis=0) - one) / (weights.sum() - share), *means[group + 1 :])
            for one, share in zip(sums, weights, strict=True)
        ]
        variance = variance + (len(sums) - 1) / len(sums) * ((np.array(left) - np.mean(left, axis=0)) ** 2).sum(axis=0)
    return np.asarray(statistic(*means), np.float64), np.sqrt(variance)


def highest_peak(g: Float, r: Float) -> tuple[float, float]:
    """Return height and position of the highest maximum of g (bin,), by a parabola through the five bins around it.

    >>> r = np.arange(0.005, 1.0, 0.01)
    >>> [round(value, 4) for value in highest_peak(2.0 - (r - 0.3721) ** 2, r)]
    [2.0, 0.3721]
    """
    top = int(np.clip(np.argmax(g), 2, len(g) - 3))
    x = r[top - 2 : top + 3] - r[top]
    c, b, a = np.polynomial.polynomial.polyfit(x, g[top - 2 : top + 3], 2)
    if not a < 0 or abs(b / (2 * a)) > x[-1]:
        return float(g[top]), float(r[top])
    return float(c - b * b / (4 * a)), float(r[top] - b / (2 * a))


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


def _reference_blocks(catalog: Catalog, member: Member, spec: Spec) -> xr.Dataset:
    """Return the block statistics of the reference."""
    ds = catalog[member.name].open()
    chosen = ds.isel(frame=member.frames(ds["time"].values)) if "time" in ds.variables else ds
    return rdf_blocks(chosen, **rdf_parameters(chosen, spec)).compute()


def _start(catalog: Catalog, member: Member, file: FitFile) -> xr.Dataset:
    """Return starting frames, in the boxes of the reference."""
    source = open_source(catalog[member.name], member, needs=("position", "box"))
    return spread_frames(source, file.sampling.replicas, seed=file.seed)


def _samples(model: Mapping[str, Table] | _Network, start: xr.Dataset, file: FitFile, temperature: float) -> xr.Dataset:
    """Sample a model at a state point; every model gets the same starting frames and random numbers."""
    asked = file.validation
    sampling = replace(file.sampling.sampling(), equilibrate=asked.equilibrate, duration=asked.duration)
    told = model if isinstance(model, Mapping) else model.under({"temperature": temperature})
    return sample(told, start, temperature=temperature, seed=file.seed, **asdict(sampling))


def _replica_g(samples: xr.Dataset, spec: Spec, r: Float) -> xr.Dataset:
    """Return `rdf (replica, pair, r)` on the bins of the reference; the scatter of the replicas is the error."""
    replica = samples["replica"].values
    asked = spec.rdf.model_dump() | {"r_max": float(r[-1] + 0.5 * (r[1] - r[0]))}
    each = [
        rdf_from_blocks(rdf_blocks(samples.isel(frame=replica == number), **asked))["rdf"]
        for number in np.unique(replica)
    ]
    return xr.concat(each, "replica").compute().to_dataset(name="rdf")


def _curves_of(name: str, blocks: xr.Dataset, found: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Return reference and models with their errors, `rdf` and `rdf_error` (curve, pair, r), of one dataset."""
    reference = rdf_from_blocks(blocks)[["rdf", "rdf_error"]]
    parts = [reference]
    for samples in found.values():
        replicas = samples.sizes["replica"]
        error = samples["rdf"].std("replica", ddof=1) / np.sqrt(replicas)
        parts.append(xr.Dataset({"rdf": samples["rdf"].mean("replica"), "rdf_error": error}))
    joined = xr.concat(parts, "curve", combine_attrs="drop", coords="minimal", compat="override", join="exact")
    for variable, words in (("rdf", "radial distribution function g(r)"), ("rdf_error", "standard error of g(r)")):
        joined[variable].attrs = {"units": "1", "long_name": words}
    return joined.assign_coords(curve=["reference", *found], dataset=name)


def _rows(
    name: str, temperature: float, blocks: xr.Dataset, found: Mapping[str, xr.Dataset], curves: xr.Dataset
) -> list[Row]:
    """Return the rows of one dataset."""
    independent = rdf_from_blocks(blocks)["blocks"]
    r = blocks["r"].values
    rows = []
    for pair in blocks["pair"].values.tolist():
        norm = blocks["norm"].sel(pair=pair).values
        if not (norm > 0).all():
            continue  # no two particles make this pair
        count = int(independent.sel(pair=pair))
        if count == 0:
            raise PhysicsError(f"{name}: {pair} has too few independent frames for an error; validate on a longer run")
        reference = _merged(blocks["sum"].sel(pair=pair).values / norm, blocks["weight"].values, count)
        for model, samples in found.items():
            g = samples["rdf"].sel(pair=pair).transpose("replica", "r").values
            value, error = jackknife(lambda a, b: _statistics(a, b, r), reference, (g, np.ones(len(g))))
            mine, known = (curves.sel(curve=curve, pair=pair) for curve in (model, "reference"))
            variance = np.nan_to_num(known["rdf_error"].values) ** 2 + mine["rdf_error"].values ** 2
            seen = (known["rdf"].values > _FLOOR) & (variance > 0)
            square = (mine["rdf"].values - known["rdf"].values) ** 2
            rows.append(
                Row(
                    dataset=name,
                    temperature=temperature,
                    pair=pair,
                    model=model,
                    rmsd=float(value[0]),
                    rmsd_error=float(error[0]),
                    noise_floor=float(np.sqrt(variance.mean())),
                    chi2=float((square[seen] / variance[seen]).mean()),
                    peak=float(value[1]),
                    peak_error=float(error[1]),
                    peak_reference=float(value[3]),
                    peak_reference_error=float(error[3]),
                    peak_position=float(value[2]),
                    peak_position_error=float(error[2]),
                    peak_position_reference=float(value[4]),
                    peak_position_reference_error=float(error[4]),
                )
            )
    return rows


def _statistics(reference: Float, model: Float, r: Float) -> Float:
    """Return rmsd, and height and position of the highest peak of model and reference, from their g (bin,)."""
    rmsd = np.sqrt(((model - reference) ** 2).mean())
    return np.array([rmsd, *highest_peak(model, r), *highest_peak(reference, r)])


def _merged(sums: Float, weights: Float, count: int) -> tuple[Float, Float]:
    """Return consecutive blocks merged to about `count`, which are independent of each other."""
    starts = np.arange(0, len(sums), -(-len(sums) // count))
    return np.add.reduceat(sums, starts), np.add.reduceat(weights, starts)


def _write(folder: Path, answer: Validation) -> None:
    """Write the answer into the fit folder: first what it rests on, then the verdict."""
    name = f"validation-{answer.on}"
    write_dataset(folder / f"{name}.nc", answer.curves)
    write_rows(folder / f"{name}.csv", [asdict(row) for row in answer.rows])
    write_json(folder / f"{name}.json", answer.to_dict())
