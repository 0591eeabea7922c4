"""A fit: from FIT.toml and a store to a folder with a trained potential, its baseline, and what both were made of."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from cgstore.averages.keeping import kept_distributions
from cgstore.averages.onepass import distributions
from cgstore.averages.spec import Spec, load_spec
from cgstore.box import heights
from cgstore.catalog import open_catalog
from cgstore.documents import load_document
from cgstore.errors import InputError, PhysicsError
from cgstore.learn.atomic import AtomicNetwork
from cgstore.learn.atomic_files import network_arrays
from cgstore.learn.beginning import begin_as_pairs, model_of
from cgstore.learn.drawing import Potential, StatePoint
from cgstore.learn.fit_training import CHECKPOINT, train_on_averages, train_on_forces
from cgstore.learn.folder import PAIR_PART, UNFINISHED, read_lock, stage_of, write_arrays, write_tables
from cgstore.learn.inversion import invert
from cgstore.learn.loader import Loader
from cgstore.learn.potential import PairNetwork
from cgstore.learn.settings import BaselineTable, FitFile
from cgstore.learn.source import inputs_of, spread_frames, temperature_of
from cgstore.learn.trainset import FILE as TRAINSET
from cgstore.learn.trainset import TrainingSet, pinned_parts
from cgstore.provenance import digest_of_file
from cgstore.splits.freezing import changes_of_meaning, lock_path, write_lock
from cgstore.splits.split import Catalog, Member, Selection, Split, check_leak
from cgstore.tables import Table
from cgstore.whole_files import write_bytes, write_json

__all__ = ["Ingredients", "gather", "reference_of", "train"]

Progress = Callable[[str, int, int], None]

_RESULTS = ("weights.npz", "potential.nc")


@dataclass(frozen=True, slots=True, eq=False)
class Ingredients:
    """The files of a fit and the catalog, read and checked against each other."""

    file: FitFile
    split: Split
    spec: Spec
    catalog: Catalog
    texts: dict[str, bytes]  # the files as they are, by their names in the fit folder

    def meaning(self) -> dict[str, Any]:
        """Return what the files say, as plain data; with the training set it decides on the result."""
        return {
            "fit": self.file.model_dump(mode="json", exclude={"split", "spec"}),
            "split": self.split.train.contract.file.meaning(),
            "spec": self.spec.model_dump(mode="json"),
        }


def gather(fit_file: Path, *, store: str | Path) -> Ingredients:
    """Read a fit file and the files that it names, and open the store.

    Raises
    ------
    InputError : a file is wrong or missing, or the split names what is not in the store
    """
    file = load_document(fit_file, FitFile)
    paths = {name: fit_file.parent / getattr(file, name) for name in ("split", "spec")}
    split, spec = Split.load(paths["split"]), load_spec(paths["spec"])
    texts = {"fit.toml": fit_file.read_bytes()} | {f"{name}.toml": path.read_bytes() for name, path in paths.items()}
    if split.lock is not None:
        texts["split.lock"] = lock_path(paths["split"]).read_bytes()
    return Ingredients(file, split, spec, open_catalog(str(store)), texts)


def train(fit_file: str | Path, *, store: str | Path, out: str | Path, progress: Progress | None = None) -> Path:
    """Train the potential of a fit file on the training part of its split, and the baseline beside it.

    Parameters
    ----------
    fit_file : FIT.toml
    store : folder or URL of the store
    out : the fit folder; made when missing. One with the same fit unfinished is continued exactly where it was,
        one with the same fit finished is left as it is
    progress : called as `progress("network" or the method of the baseline, done, total)`

    Returns
    -------
    the fit folder

    Raises
    ------
    InputError : a file is wrong, the split leaks, or the folder holds something else: a fit with other files, or one
        that began with other data
    PhysicsError : the cutoff or the bins reach beyond half a box, the motion explodes

    Examples
    --------
    >>> train("catalogs/fits/methane.toml", store="store", out="fits/methane")  # doctest: +SKIP
    PosixPath('fits/methane')
    """
    folder, tell = Path(out), progress or (lambda name, done, total: None)
    parts = gather(Path(fit_file), store=store)
    check_leak(parts.split, parts.catalog)
    if _finished_before(folder, parts):
        return folder
    loaders = {part.part: _loader(parts, part) for part in _readable(parts.split)}
    points = {part: _state_points(parts, loader) for part, loader in loaders.items()}
    _check_baseline(parts.file, loaders["train"])
    model = model_of(parts.file, points["train"], loaders["train"].types)
    _begin(folder, parts, loaders["train"])
    with _one_thread():
        _begin_as_pairs(folder, parts, model, loaders["train"], points["train"], tell)
        if parts.file.training.loss == "forces":
            train_on_forces(folder, parts.file, model, loaders, points, tell)
        else:
            train_on_averages(folder, parts.file, model, points, tell)
    models = {"network": model.tables()} if isinstance(model, PairNetwork) else {PAIR_PART: model.pair_part()}
    if parts.file.baseline is not None:
        models[parts.file.baseline.method] = _baseline(
            parts, parts.file.baseline, loaders["train"], points["train"], tell
        )
    _finish(folder, parts, model, models)
    return folder


def _readable(split: Split) -> list[Selection]:
    """Return the parts that a fit reads: train, and validation if there is one."""
    return [split.train, split.validation] if split.validation.rules else [split.train]


def _loader(parts: Ingredients, part: Selection) -> Loader:
    """Return the loader of a part, of forces where these are matched."""
    asked, seed = parts.file.training, parts.file.seed
    if asked.loss != "forces":
        return Loader(parts.catalog, part, batch_size=1, seed=seed)
    return Loader(parts.catalog, part, batch_size=asked.batch_size, variables=["position", "force"], seed=seed)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch add in one order: the same bits on any number of cores, so that resuming is exact."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _finished_before(folder: Path, parts: Ingredients) -> bool:
    """Tell whether the folder holds this very fit, finished; refuse one that holds anything else."""
    if (stage := stage_of(folder)) == "new":
        return False
    if stage == "finished":
        read_lock(folder)
    elif not any((folder / name).exists() for name in (TRAINSET, CHECKPOINT)):
        return False  # stopped before it began to train
    if changed := _changes(folder, parts):
        lines = "\n".join(f"  {line}" for line in changed)
        raise InputError(f"{folder}: holds another fit; choose a new folder or remove this one\n{lines}")
    TrainingSet.read(folder).verify(parts.catalog, parts.split, features=parts.spec, seed=parts.file.seed)
    return stage == "finished"


def _changes(folder: Path, parts: Ingredients) -> list[str]:
    """Say what the files of a fit say otherwise than their copies in its folder."""
    file, spec = load_document(folder / "fit.toml", FitFile), load_spec(folder / "spec.toml")
    before = Ingredients(file, Split.load(folder / "split.toml"), spec, parts.catalog, {}).meaning()
    now = parts.meaning()
    return [f"{name}.toml: {line}" for name in now for line in changes_of_meaning(before[name], now[name])]


def _begin(folder: Path, parts: Ingredients, loader: Loader) -> None:
    """Make the folder with its mark, the files of the user and what they mean now; of a begun fit, that is compared."""
    folder.mkdir(parents=True, exist_ok=True)
    words = "This fit is not finished. Repeat the cgstore train that began it: it goes on where it was.\n"
    write_bytes(folder / UNFINISHED, words.encode())
    for name, text in parts.texts.items():
        write_bytes(folder / name, text)
    if parts.split.lock is None:
        write_lock(folder / "split.toml", parts.meaning()["split"], pinned_parts(parts.split, parts.catalog))
    learned = TrainingSet.of(parts.catalog, parts.split, loader=loader, features=parts.spec, seed=parts.file.seed)
    learned.write(folder)


def _check_baseline(file: FitFile, loader: Loader) -> None:
    """Refuse a baseline on data that are not for training, or that do not show every pair of types."""
    if file.baseline is None:
        return
    name, types = file.baseline.dataset, set(loader.types)
    complete = {source.name for source in loader.sources if set(source.type) == types}
    if name not in loader.names:
        raise InputError(f"baseline.dataset   {name!r} is not in the train part, which has {', '.join(loader.names)}")
    if name not in complete:
        raise InputError(f"baseline.dataset   {name!r} lacks some of the types {', '.join(sorted(types))}")


def reference_of(catalog: Catalog, member: Member, spec: Spec) -> xr.Dataset:
    """Return the rdf of a dataset of a split: the kept one, or computed now for a block of time and for remote stores.

    Parameters
    ----------
    catalog, member : the dataset, and its block of time
    spec : what to compute
    """
    entry = catalog[member.name]
    ds = entry.open()
    if (member.start, member.stop) != (-np.inf, np.inf):
        ds = ds.isel(frame=member.frames(ds["time"].values))
    elif "://" not in entry.location:
        return kept_distributions(entry.path, ds, spec)[0]["rdf"].to_dataset()
    return distributions(ds, spec)["rdf"].to_dataset().compute()


def _state_points(parts: Ingredients, loader: Loader) -> list[StatePoint]:
    """Return what is to be reproduced at each dataset of a loader."""
    file = parts.file
    pairs = [f"{a}-{b}" for n, a in enumerate(loader.types) for b in loader.types[n:]]
    points = []
    for number, (source, member) in enumerate(zip(loader.sources, loader.members, strict=True)):
        reference = reference_of(parts.catalog, member, parts.spec)
        r = reference["r"].values
        start = spread_frames(source, file.sampling.replicas, seed=file.seed + number)
        _check_reach(start, file.potential.cutoff, float(r[-1] + 0.5 * (r[1] - r[0])))
        known = reference.reindex(pair=pairs)
        temperature = temperature_of(parts.catalog, source.name)
        g, error = known["rdf"].values, np.nan_to_num(known["rdf_error"].values)
        points.append(
            StatePoint(
                name=source.name,
                temperature=temperature,
                start=start,
                width=float(r[1] - r[0]),
                g=np.nan_to_num(g),
                # A pair that a system lacks says nothing.
                sigma=np.where(np.isnan(g), np.inf, _sigma(error, file)),
                inputs=inputs_of(start, temperature),
            )
        )
    return points


def _sigma(error: NDArray[np.float64], file: FitFile) -> NDArray[np.float64]:
    """Return the scale of deviations: the errors with their floor, or the floor for all when squares are just added."""
    if file.training.loss == "sse":
        return np.full_like(error, file.training.floor)
    return np.hypot(error, file.training.floor)


def _check_reach(start: xr.Dataset, cutoff: float, r_max: float) -> None:
    """Refuse a potential or bins that reach beyond half of a box."""
    half = 0.5 * float(heights(start["box"].values).min())
    for name, reach in (("potential.cutoff", cutoff), ("r_max of the spec", r_max)):
        if reach > half:
            raise PhysicsError(
                f"{start.attrs['name']}: {name} = {reach:g} nm is beyond half the smallest box height, {half:.4g} nm"
            )


def _begin_as_pairs(
    folder: Path, parts: Ingredients, model: Potential, loader: Loader, points: Sequence[StatePoint], tell: Progress
) -> None:
    """Let a network of atoms begin as pair potentials where that is wanted; a begun training is beyond that."""
    kind = parts.file.potential.start
    if kind == "prior" or (folder / CHECKPOINT).is_file() or not isinstance(model, AtomicNetwork):
        return
    references = [reference_of(parts.catalog, member, parts.spec) for member in loader.members]
    begin_as_pairs(model, parts.file, points, references, lambda done, total: tell(f"start, {kind}", done, total))


def _baseline(
    parts: Ingredients, asked: BaselineTable, loader: Loader, points: Sequence[StatePoint], tell: Progress
) -> dict[str, Table]:
    """Return the tables of an inversion at one of the training datasets, sampled like the network."""
    number = loader.names.index(asked.dataset)
    tables, _ = invert(
        reference_of(parts.catalog, loader.members[number], parts.spec),
        points[number].start,
        temperature=points[number].temperature,
        method=asked.method,
        iterations=asked.iterations,
        cutoff=parts.file.potential.cutoff,
        spacing=parts.file.potential.spacing,
        sampling=parts.file.sampling.sampling(),
        seed=parts.file.seed,
        progress=lambda iteration, rmsd, chi2: tell(asked.method, iteration, asked.iterations),
    )
    return tables


def _finish(folder: Path, parts: Ingredients, model: Potential, models: dict[str, dict[str, Table]]) -> None:
    """Write the results and the lock, and only then take the mark away."""
    name = parts.file.name
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    write_arrays(folder / "weights.npz", state if isinstance(model, PairNetwork) else network_arrays(model))
    write_tables(folder / "potential.nc", models, {"name": name, "split_digest": parts.split.digest})
    files = [*parts.texts, "split.lock", TRAINSET, *_RESULTS]
    write_json(folder / "lock.json", {"name": name, "files": {name: digest_of_file(folder / name) for name in files}})
    (folder / CHECKPOINT).unlink(missing_ok=True)
    (folder / UNFINISHED).unlink()
