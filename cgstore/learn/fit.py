"""A fit: from FIT.toml and a store to a folder with a trained potential, its baseline, and what both were made of."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cgstore.averages.spec import Spec, load_spec
from cgstore.catalog import open_catalog
from cgstore.documents import load_document
from cgstore.errors import InputError
from cgstore.learn.atomic import AtomicNetwork
from cgstore.learn.atomic_files import network_arrays
from cgstore.learn.beginning import begin_as_pairs, model_of
from cgstore.learn.beginning_molecules import begin_molecules
from cgstore.learn.drawing import Potential, StatePoint
from cgstore.learn.fit_training import CHECKPOINT, train_on_averages, train_on_forces
from cgstore.learn.folder import PAIR_PART, UNFINISHED, read_lock, stage_of, write_arrays
from cgstore.learn.inversion import invert
from cgstore.learn.loader import Loader
from cgstore.learn.molecular import Molecular
from cgstore.learn.molecular_network import MolecularNetwork
from cgstore.learn.potential_file import FILE, Tables, tables_in, write_tables
from cgstore.learn.references import reference_of, state_points
from cgstore.learn.settings import BaselineTable, FitFile
from cgstore.learn.trainset import FILE as TRAINSET
from cgstore.learn.trainset import TrainingSet, pinned_parts
from cgstore.provenance import digest_of_file
from cgstore.splits.freezing import changes_of_meaning, lock_path, write_lock
from cgstore.splits.split import Catalog, Selection, Split, check_leak
from cgstore.tables import Table
from cgstore.whole_files import write_bytes, write_json

__all__ = ["Ingredients", "gather", "reference_of", "train"]

Progress = Callable[[str, int, int], None]

START = ".start.nc"  # in the fit folder, while a potential of molecules trains: the tables that it began as

_RESULTS = ("weights.npz", FILE)


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
    points = {part: state_points(parts.file, parts.spec, parts.catalog, loader) for part, loader in loaders.items()}
    _check_baseline(parts.file, loaders["train"])
    free = None
    if parts.file.potential.kind == "molecular":
        _check_molecules(parts.file, loaders["train"])
    else:
        free = model_of(parts.file, points["train"], loaders["train"].types)
    _begin(folder, parts, loaders["train"])
    with _one_thread():
        model = free or _molecules(folder, parts, loaders["train"], points["train"], tell)
        _begin_as_pairs(folder, parts, model, loaders["train"], points["train"], tell)
        if isinstance(model, MolecularNetwork) or parts.file.training.loss != "forces":
            train_on_averages(folder, parts.file, model, points, tell)
        else:
            train_on_forces(folder, parts.file, model, loaders, points, tell)
    models: dict[str, Tables] = {}
    if isinstance(model, AtomicNetwork):
        models[PAIR_PART] = model.pair_part()
    else:
        models["network"] = model.tables()
    if isinstance(model, MolecularNetwork):
        models[parts.file.potential.start] = model.start
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


def _check_molecules(file: FitFile, loader: Loader) -> None:
    """Refuse data without molecules, and data of which no dataset shows every type."""
    if not any(len(source.topology.bond) for source in loader.sources):
        raise InputError(f'{file.name}: found no bonds in the data; kind = "molecular" is for molecules')
    if not any(set(source.type) == set(loader.types) for source in loader.sources):
        raise InputError(
            f"{file.name}: no training dataset has all of the types {', '.join(loader.types)}; "
            'kind = "molecular" begins as the tables of one that has'
        )


def _begin_as_pairs(
    folder: Path, parts: Ingredients, model: Potential, loader: Loader, points: Sequence[StatePoint], tell: Progress
) -> None:
    """Let a network of atoms begin as pair potentials where that is wanted; a begun training is beyond that."""
    kind = parts.file.potential.start
    if kind == "prior" or (folder / CHECKPOINT).is_file() or not isinstance(model, AtomicNetwork):
        return
    references = [reference_of(parts.catalog, member, parts.spec)["rdf"].to_dataset() for member in loader.members]
    begin_as_pairs(model, parts.file, points, references, lambda done, total: tell(f"start, {kind}", done, total))


def _molecules(
    folder: Path, parts: Ingredients, loader: Loader, points: Sequence[StatePoint], tell: Progress
) -> MolecularNetwork:
    """Return the potential of molecules as it begins; the tables that it begins as are kept while it trains."""
    asked, kept = parts.file.potential, folder / START
    if not kept.is_file():
        number = next(n for n, source in enumerate(loader.sources) if set(source.type) == set(loader.types))
        tables = begin_molecules(
            parts.file,
            reference_of(parts.catalog, loader.members[number], parts.spec),
            points[number],
            lambda done, total: tell(f"start, {asked.start}", done, total),
        )
        write_tables(kept, {asked.start: tables}, {})
    start = tables_in(kept, asked.start)
    assert isinstance(start, Molecular)
    return MolecularNetwork(start, features=asked.features, hidden=asked.hidden, seed=parts.file.seed)


def _baseline(
    parts: Ingredients, asked: BaselineTable, loader: Loader, points: Sequence[StatePoint], tell: Progress
) -> dict[str, Table]:
    """Return the tables of an inversion at one of the training datasets, sampled like the network."""
    number = loader.names.index(asked.dataset)
    tables, _ = invert(
        reference_of(parts.catalog, loader.members[number], parts.spec)["rdf"].to_dataset(),
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


def _finish(folder: Path, parts: Ingredients, model: Potential, models: dict[str, Tables]) -> None:
    """Write the results and the lock, and only then take the mark away."""
    name = parts.file.name
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    write_arrays(folder / "weights.npz", network_arrays(model) if isinstance(model, AtomicNetwork) else state)
    write_tables(folder / FILE, models, {"name": name, "split_digest": parts.split.digest})
    files = [*parts.texts, "split.lock", TRAINSET, *_RESULTS]
    write_json(folder / "lock.json", {"name": name, "files": {name: digest_of_file(folder / name) for name in files}})
    for name in (CHECKPOINT, START):
        (folder / name).unlink(missing_ok=True)
    (folder / UNFINISHED).unlink()
