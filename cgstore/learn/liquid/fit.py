"""Fits of models of simple liquids: from FIT.toml and a feature table to a folder with the model and its card."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from cgstore.catalog import Catalog, open_catalog
from cgstore.documents import did_you_mean, load_document
from cgstore.errors import InputError
from cgstore.feature_tables.storage import open_table, read_published
from cgstore.learn.folder import UNFINISHED, read_lock, stage_of, write_arrays, write_rows
from cgstore.learn.liquid.model import LEVELS, LiquidModel
from cgstore.learn.liquid.rows import rows_of_table
from cgstore.learn.liquid.settings import LiquidFit
from cgstore.learn.liquid.training import Ensemble, train_model
from cgstore.learn.rows import RowLoader
from cgstore.learn.trainset import pinned_parts
from cgstore.provenance import digest_of_file
from cgstore.splits.freezing import Pinned, lock_path, write_lock
from cgstore.splits.split import PartName, Split, check_leak
from cgstore.whole_files import write_bytes, write_json

__all__ = ["card_of", "ensemble_of", "fit_model", "train_liquid"]

Progress = Callable[[str, int, int], None]

_STATE = ("temperature", "number_density")
_FILES = ("fit.toml", "split.toml", "split.lock", "model.npz", "card.json")


def train_liquid(fit_file: str | Path, *, store: str | Path, out: str | Path, progress: Progress | None = None) -> Path:
    """Train the model of a fit file of the kind `liquid_state`; the folder is like that of any fit.

    Parameters
    ----------
    fit_file : FIT.toml
    store : folder of the store, which has the table
    out : the fit folder. One with the same fit finished is left as it is; an unfinished one begins again, it is quick
    progress : called as `progress("ensemble", epochs done, of how many)`

    Returns
    -------
    the fit folder, with `model.npz`, `card.json` and `log.csv` in it

    Raises
    ------
    InputError : a file is wrong, the split leaks or has no validation part, the table lacks a row or a column, or the
        folder holds something else
    NotFound : there is no such table
    PhysicsError : g(r) of a row is not known as far as the networks look

    Examples
    --------
    >>> train_liquid("catalogs/fits/lennard_jones.toml", store="store", out="fits/lj")  # doctest: +SKIP
    PosixPath('fits/lj')
    """
    source, folder, tell = Path(fit_file), Path(out), progress or (lambda name, done, total: None)
    file = load_document(source, LiquidFit)
    split = Split.load(source.parent / file.split)
    if _finished_before(folder, file, split):
        return folder
    catalog = open_catalog(str(store))
    _begin(folder, source, file, split, pinned_parts(split, catalog, known=check_leak(split, catalog)))
    log: list[dict[str, float]] = []

    def note(epoch: int, loss: float) -> None:
        log.append({"epoch": epoch, "loss": loss})
        tell("ensemble", epoch + 1, file.training.epochs)

    table, about = open_table(store, file.model.table), _about(file, split, store)
    model = fit_model(file, split, catalog, table, about=about, tell=note)
    write_arrays(folder / "model.npz", model.arrays())
    write_json(folder / "card.json", card_of(model))
    write_rows(folder / "log.csv", log)
    files = {name: digest_of_file(folder / name) for name in _FILES}
    write_json(folder / "lock.json", {"name": file.name, "files": files, "split_digest": split.digest})
    (folder / UNFINISHED).unlink()
    return folder


def card_of(model: LiquidModel) -> dict[str, Any]:
    """Return what is to be known of a model as plain data: what it was made of, and the range that it holds in."""
    low, high = model.range.state.T.tolist()
    state = {"rho sigma^3": [low[0], high[0]], "kT / epsilon": [low[1], high[1]]}
    limits = dict(zip(("nearest neighbour", "deviation of g"), model.range.limits.tolist(), strict=True))
    widths = {"levels": LEVELS.tolist(), "sigma": model.quantiles[0].tolist(), "epsilon": model.quantiles[1].tolist()}
    return {**model.about, "range": state, "limits": limits, "half widths": widths}


def fit_model(
    file: LiquidFit,
    split: Split,
    catalog: Catalog,
    table: xr.Dataset,
    *,
    about: Mapping[str, Any],
    tell: Callable[[int, float], None] = lambda epoch, loss: None,
) -> LiquidModel:
    """Train a model on the rows of the training part, calibrate it on those of the validation part.

    Parameters
    ----------
    file, split, catalog, table : the fit, with what it names
    about : what the card says beside numbers of systems and their ranges
    tell : is told each epoch and its loss

    Raises
    ------
    InputError : as `train_liquid`
    """
    if not split.validation.rules:
        raise InputError(f"{split.where}: has no validation part; the uncertainty is calibrated on one")
    columns = [file.model.rdf, f"{file.model.rdf}_error", file.model.parameters, *_STATE]
    if missing := [name for name in columns if name not in table]:
        raise InputError(f"the table has no column {missing[0]!r}{did_you_mean(missing[0], map(str, table.data_vars))}")
    batch_size, seed = file.training.batch_size, file.seed
    train, watched = (
        RowLoader(table, catalog, part, batch_size=batch_size, columns=columns, seed=seed)
        for part in (split.train, split.validation)
    )
    training, validation = (
        rows_of_table(table, loader.names, rdf=file.model.rdf, parameters=file.model.parameters)
        for loader in (train, watched)
    )

    def order(epoch: int) -> Iterator[NDArray[np.int64]]:
        for batch in train:
            yield batch["dataset"].numpy()

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the same bits on any number of cores
    try:
        ensemble = ensemble_of(file)
        counts = {"systems": {"train": len(training), "validation": len(validation)}}
        return train_model(order, training, validation, ensemble, seed=file.seed, about={**about, **counts}, tell=tell)
    finally:
        torch.set_num_threads(threads)


def ensemble_of(file: LiquidFit) -> Ensemble:
    """Return how the networks of a fit are built and trained; on a GPU if there is one."""
    model, training = file.model, file.training
    return Ensemble(
        scaling=model.scaling,
        components=model.components,
        hidden=model.hidden,
        members=model.members,
        **training.model_dump(),
        device="cuda" if torch.cuda.is_available() else "cpu",
    )


def _about(file: LiquidFit, split: Split, store: str | Path) -> dict[str, Any]:
    """Return what a card says of its origin."""
    table = read_published(Path(store), file.model.table)
    return {
        "name": file.name,
        "fit": file.model_dump(mode="json", exclude={"split"}),
        "split_digest": split.digest,
        "table": {"name": table.name, "version": table.version, "digest": table.digest, "rows": table.rows},
    }


def _finished_before(folder: Path, file: LiquidFit, split: Split) -> bool:
    """Tell whether the folder holds this fit, finished; refuse one that holds anything else."""
    if stage_of(folder) != "finished":
        return False
    lock = read_lock(folder)
    before = load_document(folder / "fit.toml", LiquidFit)
    if before.model_copy(update={"split": file.split}) != file or lock.get("split_digest") != split.digest:
        raise InputError(f"{folder}: holds another fit; choose a new folder or remove this one")
    return True


def _begin(
    folder: Path, source: Path, file: LiquidFit, split: Split, pinned: Mapping[PartName, Sequence[Pinned]]
) -> None:
    """Make the folder with its mark, the files of the user, and what the split means now."""
    folder.mkdir(parents=True, exist_ok=True)
    words = "This fit is not finished. Repeat the cgstore train that began it.\n"
    write_bytes(folder / UNFINISHED, words.encode())
    write_bytes(folder / "fit.toml", source.read_bytes())
    write_bytes(folder / "split.toml", (source.parent / file.split).read_bytes())
    if split.lock is not None:
        write_bytes(folder / "split.lock", lock_path(source.parent / file.split).read_bytes())
    else:
        write_lock(folder / "split.toml", split.train.contract.file.meaning(), pinned)
