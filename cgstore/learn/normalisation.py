"""Normalisation: mean and scatter of what a network sees, from the training part alone, bound to its split.

Fitted in one pass over frames or over the rows of a table, by the formula of Chan, Golub and LeVeque, so that blocks
of any size give the same. The result carries the digest of the split and of every dataset it was fitted on, and
neither is loaded nor applied with another split.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from cgstore.documents import did_you_mean
from cgstore.errors import InputError, IntegrityError
from cgstore.plain_files import read_plain
from cgstore.splits.fingerprint import times_of
from cgstore.splits.members import Catalog, Member
from cgstore.splits.split import Selection, Split
from cgstore.whole_files import write_json

__all__ = ["Moments", "Normalisation", "fit_normalisation", "fit_table_normalisation"]

_FORMAT = 1
_BLOCK = 2**22  # numbers in memory
_MOST_BYTES = 2**26
_SHOWN = 12  # characters of a digest

Values = TypeVar("Values")  # an array of NumPy or a tensor


@dataclass(frozen=True, slots=True)
class Moments:
    """How many values there are, their mean, and the sum of their squared distances from it."""

    count: int
    mean: float
    squares: float

    @property
    def std(self) -> float:
        """Return the standard deviation, √(Σ (x − mean)² / n)."""
        return math.sqrt(self.squares / self.count) if self.count else math.nan

    def joined(self, other: "Moments") -> "Moments":
        """Return the moments of the values of both.

        Notes
        -----
        Chan, Golub and LeVeque 1983, doi:10.1080/00031305.1983.10483115

        Examples
        --------
        >>> whole = Moments.of([1.0, 2.0, 6.0]).joined(Moments.of([3.0]))
        >>> whole.count, whole.mean, round(whole.std, 6)
        (4, 3.0, 1.870829)
        """
        count = self.count + other.count
        if not count:
            return self
        step = other.mean - self.mean
        mean = self.mean + step * other.count / count
        return Moments(count, mean, self.squares + other.squares + step**2 * self.count * other.count / count)

    @classmethod
    def of(cls, values: ArrayLike) -> "Moments":
        """Return the moments of values of any shape."""
        x = np.asarray(values, np.float64)
        mean = float(x.mean()) if x.size else 0.0
        return cls(int(x.size), mean, float(((x - mean) ** 2).sum()))


_NOTHING = Moments(0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Normalisation:
    """Moments by name of variable or column, the split they belong to, and the data behind them with their digests."""

    moments: Mapping[str, Moments]
    split_digest: str
    fitted_on: tuple[tuple[Member, str], ...]

    def apply(self, values: Mapping[str, Values], split: Split | Selection) -> dict[str, Values]:
        """Return values less their mean, over their standard deviation; those of other names as they are.

        Parameters
        ----------
        values : arrays or tensors by name, for example a batch of the loader
        split : that the values come from

        Raises
        ------
        InputError : the split is not the one that this was fitted on

        Notes
        -----
        What never varied is only shifted. Components of vectors share one mean and one standard deviation.
        """
        self.check(split)
        return {name: self._scaled(name, array) if name in self.moments else array for name, array in values.items()}

    def undo(self, values: Mapping[str, Values], split: Split | Selection) -> dict[str, Values]:
        """Return what `apply` was given.

        Raises
        ------
        InputError : as `apply`
        """
        self.check(split)
        return {name: self._restored(name, array) if name in self.moments else array for name, array in values.items()}

    def check(self, split: Split | Selection) -> None:
        """Refuse another split than the one that this was fitted on.

        Raises
        ------
        InputError : it is another one
        """
        contract = split.contract if isinstance(split, Selection) else split.train.contract
        if contract.digest != self.split_digest:
            raise InputError(
                f"{split.where}: digest {contract.digest[:_SHOWN]}, but the normalisation was fitted on the training "
                f"part of the split with digest {self.split_digest[:_SHOWN]}; its numbers may know what this split "
                "holds out; fit it again"
            )
        if contract.lock is None:
            return
        pinned = {(row.member, row.digest) for row in contract.lock.parts.get("train", ())}
        if other := sorted(pinned ^ set(self.fitted_on), key=lambda row: row[0].words):
            raise InputError(
                f"{split.where}: frozen with other training data than the normalisation was fitted on, for example "
                f"{other[0][0].words} with digest {other[0][1][:_SHOWN]}; fit it again"
            )

    def plain(self) -> dict[str, Any]:
        """Return it as plain data."""
        moments = {name: asdict(moments) for name, moments in self.moments.items()}
        rows = [{**member.plain(), "digest": digest} for member, digest in self.fitted_on]
        return {"cgstore_normalisation": _FORMAT, "split": self.split_digest, "fitted_on": rows, "moments": moments}

    def save(self, path: str | Path) -> None:
        """Write it as JSON."""
        write_json(Path(path), self.plain())

    @classmethod
    def load(cls, path: str | Path, split: Split | Selection, *, catalog: Catalog | None = None) -> "Normalisation":
        """Read what `save` wrote.

        Parameters
        ----------
        path : of the file
        split : that it is to be used with
        catalog : to make sure that the datasets behind it are what they were

        Raises
        ------
        InputError : the file is missing, belongs to another split, or a dataset behind it changed
        IntegrityError : it is no normalisation
        """
        found = _read(Path(path))
        found.check(split)
        if catalog is not None and (changed := _changed(found.fitted_on, catalog)):
            raise InputError(
                f"{path}: fitted on other data; fit it again\n" + "\n".join(f"  {line}" for line in changed)
            )
        return found

    def _scaled(self, name: str, array: Any) -> Any:
        """Normalise one array or tensor."""
        return (array - self.moments[name].mean) / (self.moments[name].std or 1.0)

    def _restored(self, name: str, array: Any) -> Any:
        """Undo it."""
        return array * (self.moments[name].std or 1.0) + self.moments[name].mean


def fit_normalisation(catalog: Catalog, selection: Selection, variables: Sequence[str]) -> Normalisation:
    """Return mean and standard deviation of per-frame variables over the frames of the training part.

    Parameters
    ----------
    catalog : names and entries
    selection : `split.train`; other parts are refused
    variables : of the schema, for example `force`; each frame and each component counts alike, weights do not

    Raises
    ------
    InputError : the selection is not for training or reaches held-out data, a dataset lacks a variable, or a value is
        not finite

    Examples
    --------
    >>> norm = fit_normalisation(catalog, split.train, ["force"])  # doctest: +SKIP
    >>> batch = norm.apply(batch, split)  # doctest: +SKIP
    """
    _check_train(selection)
    moments = dict.fromkeys(variables, _NOTHING)
    members = selection.members(catalog)
    for member in members:
        ds = catalog[member.name].open()
        for name in variables:
            for block in _blocks(ds, member, name):
                moments[name] = moments[name].joined(_finite(block, f"{member.name}: {name}"))
    return _checked(moments, selection, members, catalog)


def fit_table_normalisation(
    table: xr.Dataset, catalog: Catalog, selection: Selection, columns: Sequence[str]
) -> Normalisation:
    """Return mean and standard deviation of columns of a feature table over the rows of the training part.

    Parameters
    ----------
    table : columns with the dim `system`, whose coordinate is the name of the dataset, `system/run/level`
    catalog, selection : as `fit_normalisation`
    columns : names; further dims of a column count alike

    Raises
    ------
    InputError : as `fit_normalisation`; a row is missing; or only a block of time of a run is for training, while a
        row of a table knows all of it

    Examples
    --------
    >>> norm = fit_table_normalisation(table, catalog, split.train, ["rdf", "density"])  # doctest: +SKIP
    """
    _check_train(selection)
    members = selection.members(catalog)
    if cut := [member.words for member in members if member.words != member.name]:
        raise InputError(
            f"{selection.where}: a row of a table is made of a whole run, but for training is only {cut[0]}"
        )
    if "system" not in table.coords:
        raise InputError("the table has no coordinate 'system' with the names of datasets")
    place = {str(name): row for row, name in enumerate(table["system"].values)}
    if missing := [member.name for member in members if member.name not in place]:
        raise InputError(f"the table has no row of {missing[0]}{did_you_mean(missing[0], place)}")
    if unknown := [name for name in columns if name not in table.variables]:
        raise InputError(f"the table has no column {unknown[0]!r}{did_you_mean(unknown[0], map(str, table.data_vars))}")
    rows = table.isel(system=[place[member.name] for member in members])
    moments = {name: _finite(rows[name].values, f"column {name}") for name in columns}
    return _checked(moments, selection, members, catalog)


def _check_train(selection: Selection) -> None:
    """Refuse a part that nothing may be fitted to."""
    if selection.part != "train":
        raise InputError(
            f"{selection.where}: found the part {selection.part}; statistics are fitted on split.train only, since "
            "they would carry what they have seen of the other parts into training"
        )


def _blocks(ds: xr.Dataset, member: Member, name: str) -> Iterable[NDArray[np.float64]]:
    """Give the values of a variable in stretches of frames."""
    if name not in ds or ds[name].dims[:1] != ("frame",):
        per_frame = [str(key) for key in ds.data_vars if ds[key].dims[:1] == ("frame",)]
        raise InputError(f"{member.name}: has no {name!r} per frame{did_you_mean(name, per_frame)}")
    chosen = member.frames(times_of(ds))
    size = max(1, math.prod(ds[name].shape[1:]))
    length = max(1, _BLOCK // size)
    for start in range(chosen.start, chosen.stop, length):
        yield np.asarray(ds[name][start : min(start + length, chosen.stop)].values, np.float64)


def _finite(values: NDArray[np.float64], where: str) -> Moments:
    """Return the moments of values, if all are numbers."""
    if values.dtype.kind not in "fiub" or not np.isfinite(values).all():
        raise InputError(f"{where}: found what is no finite number; leave the dataset or the column out")
    return Moments.of(values)


def _checked(
    moments: dict[str, Moments], selection: Selection, members: Sequence[Member], catalog: Catalog
) -> Normalisation:
    """Return the result, if there were values."""
    if any(not found.count for found in moments.values()):
        raise InputError(f"{selection.where}: the training part has no frame; check start and stop of the split")
    fitted_on = tuple((member, _digest(catalog[member.name])) for member in members)
    return Normalisation(moments, selection.split_digest, fitted_on)


def _digest(entry: Any) -> str:
    """Return the digest of a dataset, "" of one that lies in no store."""
    return str(entry.metadata.get("digest") or entry.open().attrs.get("digest") or "")


def _changed(fitted_on: Sequence[tuple[Member, str]], catalog: Catalog) -> list[str]:
    """Say which datasets are gone or have other content."""
    there, lines = set(catalog), []
    for name, known in {member.name: digest for member, digest in fitted_on}.items():
        if name not in there:
            lines.append(f"{name}   is not in this store")
        elif (now := _digest(catalog[name])) != known:
            lines.append(f"{name}   found digest {now[:_SHOWN]}, it was fitted on {known[:_SHOWN]}")
    return lines


def _read(path: Path) -> Normalisation:
    """Read a file."""
    try:
        content = json.loads(read_plain(path, most=_MOST_BYTES))
    except (FileNotFoundError, IsADirectoryError) as error:
        raise InputError(f"{path}: no such file") from error
    except (OSError, ValueError, RecursionError) as error:
        raise IntegrityError(f"{path}: cannot be read: {error}") from error
    try:
        moments = {name: Moments(int(m["count"]), float(m["mean"]), float(m["squares"]))
                   for name, m in content["moments"].items()}  # fmt: skip
        fitted_on = tuple((Member.of(row), str(row["digest"])) for row in content["fitted_on"])
        sound = content["cgstore_normalisation"] == _FORMAT and isinstance(content["split"], str)
        sound = sound and all(math.isfinite(m.mean) and m.squares >= 0 and m.count > 0 for m in moments.values())
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise IntegrityError(f"{path}: not a normalisation: {error}; fit it again") from error
    if not sound:
        raise IntegrityError(f"{path}: not a normalisation that this cgstore knows; fit it again")
    return Normalisation(moments, content["split"], fitted_on)
