"""Features that are pair potentials on a common grid: of mean force, or what a fit has found."""

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


def _folder(value: str) -> str:
    """Refuse the pattern of a folder with places that no dataset has."""
    try:
        value.format(**dict.fromkeys(_PLACES, "x"))
    except (KeyError, IndexError, ValueError) as error:
        raise ValueError(f"found {value!r}, expected a folder, with {{system}}, {{run}}, {{level}} in it") from error
    return value


class _Potential(PairGrid):
    """Whose potential: of mean force, or of the fits in these folders, `fits/{system}` for example."""

    source: Literal["mean_force", "fit"] = "mean_force"
    fits: Annotated[str, AfterValidator(_folder)] | None = None
    curve: str = "network"

    def model_post_init(self, context: Any) -> None:
        """Refuse a fit without a folder, and a folder without a fit."""
        PairGrid.model_post_init(self, context)
        if (self.source == "fit") != (self.fits is not None):
            raise ValueError('found one of source = "fit" and fits = "FOLDER", expected both or none')


def _columns(parameters: _Potential) -> tuple[Column, ...]:
    """Return the columns of a pair potential."""
    dims = on_pairs(parameters, "r")
    what = "potential of mean force" if parameters.source == "mean_force" else f"pair potential {parameters.curve}"
    return (
        Column("{}", dims, "kJ/mol", what, "float32"),
        Column("{}_error", dims, "kJ/mol", f"standard error of the {what}", "float32"),
    )


def _potential(source: Source, parameters: _Potential) -> xr.Dataset:
    """Return energies; their errors are known for potentials of mean force only."""
    if parameters.source == "fit":
        return _of_fit(source, parameters)
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


def _fit_of(entry: Entry, parameters: _Potential) -> Path:
    """Return the folder of the fit of a dataset.

    Raises
    ------
    InputError : there is none, or it is not finished
    """
    system, run, level = entry.name.split("/")
    folder = Path(str(parameters.fits).format(name=entry.name, system=system, run=run, level=level))
    if not (folder / "lock.json").is_file() or (folder / "UNFINISHED").exists():
        raise InputError(f"{folder}: no finished fit; make one with cgstore train FIT.toml -o {folder}")
    return folder


def _lock(entry: Entry, parameters: _Potential) -> Any:
    """Return the digest of the lock of a fit, which says all it was made of; None where there is no fit."""
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
        meaning="pair potential: of mean force, or of a fit",
        parameters=_Potential,
        grids=grid_of_pairs,
        others=_lock,
    ),
)
