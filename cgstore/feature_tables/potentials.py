"""Features that are pair potentials on a common grid: of mean force, what a fit has found, or what a file holds."""

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import xarray as xr
from pydantic import AfterValidator

from cgstore.catalog import Entry
from cgstore.errors import InputError, NotFound
from cgstore.feature_tables.grids import PairGrid, centres_of, grid_of_pairs, on_pairs, placed, rdf_on_grid
from cgstore.feature_tables.registry import Column, Feature
from cgstore.feature_tables.sources import Source
from cgstore.inverse.mean_force import potential_of_mean_force
from cgstore.plain_files import read_plain
from cgstore.provenance import digest_of_file
from cgstore.tables import Table, interpolate

__all__ = ["FEATURES"]

_PLACES = ("name", "system", "run", "level")
_MOST_BYTES = 2**26  # of a lock
_CURVES = "potential.nc"
_HEAD = ["r_nm", "u_kJ_per_mol", "force_kJ_per_mol_nm"]


def _pattern(value: str) -> str:
    """Refuse the pattern of a path with places that no dataset has."""
    try:
        value.format(**dict.fromkeys(_PLACES, "x"))
    except (KeyError, IndexError, ValueError) as error:
        raise ValueError(f"found {value!r}, expected a path, with {{system}}, {{run}}, {{level}} in it") from error
    return value


class _Potential(PairGrid):
    """Whose potential: of mean force, of the fits in these folders, `fits/{system}` for example, or of these files."""

    source: Literal["mean_force", "fit", "file"] = "mean_force"
    fits: Annotated[str, AfterValidator(_pattern)] | None = None
    file: Annotated[str, AfterValidator(_pattern)] | None = None
    curve: str = "network"

    def model_post_init(self, context: Any) -> None:
        """Refuse a fit without a folder, a folder without a fit, and so for a file, which has one pair."""
        PairGrid.model_post_init(self, context)
        for source, key, value in (("fit", "fits", self.fits), ("file", "file", self.file)):
            if (self.source == source) != (value is not None):
                raise ValueError(f'found one of source = "{source}" and {key} = "PATH", expected both or none')
        if self.source == "file" and (self.pair is not None or self.pairs is not None):
            raise ValueError('found pair or pairs with source = "file", expected none: a file has one potential')


def _columns(parameters: _Potential) -> tuple[Column, ...]:
    """Return the columns of a pair potential."""
    dims = on_pairs(parameters, "r")
    names = {"mean_force": "potential of mean force", "fit": f"pair potential {parameters.curve}"}
    what = names.get(parameters.source, "pair potential of a file")
    return (
        Column("{}", dims, "kJ/mol", what, "float32"),
        Column("{}_error", dims, "kJ/mol", f"standard error of the {what}", "float32"),
    )


def _potential(source: Source, parameters: _Potential) -> xr.Dataset:
    """Return energies; their errors are known for potentials of mean force only."""
    if parameters.source == "fit":
        return _of_fit(source, parameters)
    if parameters.source == "file":
        return _of_file(source.entry, parameters)
    found = potential_of_mean_force(rdf_on_grid(source, parameters), temperature=source.temperature)
    return placed(found, parameters, {"{}": "potential", "{}_error": "pmf_error"})


def _of_fit(source: Source, parameters: _Potential) -> xr.Dataset:
    """Return what a finished fit has found, zero beyond its cutoff."""
    folder = _fit_of(source.entry, parameters)
    curves = _read(folder)
    known = [str(name) for name in curves["curve"].values]
    if parameters.curve not in known:
        raise NotFound(f"{folder}: has no potential {parameters.curve!r}; there are {', '.join(known)}")
    mine = curves.sel(curve=parameters.curve)
    pairs = [str(pair) for pair in mine["pair"].values]
    if parameters.pair or isinstance(parameters.pairs, tuple):
        asked = (parameters.pair,) if parameters.pair else parameters.pairs or ()
        wanted = ["-".join(sorted(str(pair).split("-"))) for pair in asked]
    elif parameters.pairs is None and len(pairs) > 1:
        raise InputError(f'{folder}: has the pairs {", ".join(pairs)}; say one as pair = "A-B", or pairs = "all"')
    else:
        wanted = pairs
    if missing := [pair for pair in wanted if pair not in pairs]:
        raise NotFound(f"{folder}: has no pair {missing[0]}; there are {', '.join(pairs)}")
    r = curves["r"].values
    tables = [Table(r, mine["energy"].sel(pair=pair).values, mine["force"].sel(pair=pair).values) for pair in wanted]
    energy = np.array([interpolate(table, centres_of(parameters))[0] for table in tables])
    found = xr.Dataset(
        {"energy": (("pair", "r"), energy), "error": (("pair", "r"), np.full_like(energy, np.nan))}, {"pair": wanted}
    )
    return placed(found, parameters, {"{}": "energy", "{}_error": "error"})


def _of_file(entry: Entry, parameters: _Potential) -> xr.Dataset:
    """Return the potential that stands in a file as a campaign writes it, zero beyond its end."""
    path = _path(str(parameters.file), entry)
    try:
        lines = read_plain(path, most=_MOST_BYTES).decode("utf-8").splitlines()
        if lines[:1] != [",".join(_HEAD)]:
            raise InputError(f"{path}: found {lines[:1]}, expected the columns {','.join(_HEAD)}")
        r, energy, force = np.array([line.split(",") for line in lines[1:]], np.float64).T
        table = Table(r, energy, force)
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not a pair potential: {error}") from error
    values = interpolate(table, centres_of(parameters))[0]
    return xr.Dataset({"{}": ("r", values), "{}_error": ("r", np.full_like(values, np.nan))})


def _path(pattern: str, entry: Entry) -> Path:
    """Return the path that a pattern means for a dataset."""
    system, run, level = entry.name.split("/")
    return Path(pattern.format(name=entry.name, system=system, run=run, level=level))


def _fit_of(entry: Entry, parameters: _Potential) -> Path:
    """Return the folder of the fit of a dataset.

    Raises
    ------
    InputError : there is none, or it is not finished
    """
    folder = _path(str(parameters.fits), entry)
    if not (folder / "lock.json").is_file() or (folder / "UNFINISHED").exists():
        raise InputError(f"{folder}: no finished fit; make one with cgstore train FIT.toml -o {folder}")
    return folder


def _lock(entry: Entry, parameters: _Potential) -> Any:
    """Return the digest of the lock of a fit, which says all it was made of, or of a file; None where there is none."""
    if parameters.source == "file":
        path = _path(str(parameters.file), entry)
        return digest_of_file(path) if path.is_file() else None
    if parameters.source != "fit":
        return None
    try:
        return digest_of_file(_fit_of(entry, parameters) / "lock.json")
    except InputError:
        return None


def _read(folder: Path) -> xr.Dataset:
    """Read the curves of a fit, if they are those that its lock names."""
    import json

    try:
        lock = json.loads(read_plain(folder / "lock.json", most=_MOST_BYTES))
        if digest_of_file(folder / _CURVES) != lock["files"][_CURVES]:
            raise InputError(f"{folder / _CURVES}: changed since the fit was finished; train again")
        with xr.open_dataset(folder / _CURVES, engine="scipy") as ds:
            return ds.load()
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{folder}: not a fit of pair potentials: {error}; train again") from error


FEATURES = (
    Feature(
        name="potential",
        version=1,
        compute=_potential,
        columns=_columns,
        meaning="pair potential: of mean force, of a fit, or of a file",
        parameters=_Potential,
        grids=grid_of_pairs,
        others=_lock,
    ),
)
