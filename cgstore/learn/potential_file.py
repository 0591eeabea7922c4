"""The file potential.nc of a fit: the tables of all its models, of pairs and of molecules.

    energy, force             (curve, pair, r)               kJ/mol and kJ/mol/nm
    bond_energy, bond_force   (curve, bond_kind, bond_at)    of molecules; angle and dihedral likewise, at degrees

A curve is a model: the network, and the baseline beside it. Attributes: `exclude_bonded` and `fade` of molecules.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from cgstore.errors import InputError, IntegrityError
from cgstore.learn.folder import read_curves, read_lock, write_dataset
from cgstore.learn.molecular import Exclusion, Molecular
from cgstore.tables import BondedTable, Table, Term, interpolate, interpolate_bonded

__all__ = ["FILE", "Tables", "read_tables", "tables_in", "write_tables"]

FILE = "potential.nc"
Tables = Mapping[str, Table] | Molecular

_TERMS: tuple[Term, ...] = ("bond", "angle", "dihedral")
_UNITS = {"bond": ("nm", "length"), "angle": ("degree", "angle"), "dihedral": ("degree", "dihedral")}


def write_tables(path: Path, models: Mapping[str, Tables], attrs: Mapping[str, Any]) -> None:
    """Write the potentials of models, on the nodes and in the order of the kinds of the first.

    Parameters
    ----------
    path : of the file
    models : by the names of the curves; all of pairs, or all of molecules
    attrs : of the file
    """
    first = next(iter(models.values()))
    pairs = first.pairs if isinstance(first, Molecular) else first
    r = next(iter(pairs.values())).r
    each = [model.pairs if isinstance(model, Molecular) else model for model in models.values()]
    energy, force = np.moveaxis(np.array([[interpolate(one[pair], r) for pair in pairs] for one in each]), 2, 0)
    dims = ("curve", "pair", "r")
    ds = xr.Dataset(
        {
            "energy": (dims, energy, {"units": "kJ/mol", "long_name": "pair potential"}),
            "force": (dims, force, {"units": "kJ/mol/nm", "long_name": "minus its derivative"}),
        },
        coords={"curve": list(models), "pair": list(pairs), "r": ("r", r, {"units": "nm", "long_name": "distance"})},
        attrs=dict(attrs),
    )
    if isinstance(first, Molecular):
        ds.attrs |= {"exclude_bonded": first.exclude_bonded, "fade": first.fade}
        molecules = [model for model in models.values() if isinstance(model, Molecular)]
        ds = ds.merge(xr.merge([_terms_of(term, molecules) for term in _TERMS]))
    write_dataset(path, ds)


def _terms_of(term: Term, models: list[Molecular]) -> xr.Dataset:
    """Return the tables of one kind of term of all models, on the nodes of the first."""
    first = models[0].terms[term]
    if not first:
        return xr.Dataset()
    x = next(iter(first.values())).x
    each = [[interpolate_bonded(model.terms[term][kind], x) for kind in first] for model in models]
    values = np.moveaxis(np.array(each), 2, 0)
    unit, name = _UNITS[term]
    dims, at = ("curve", f"{term}_kind", f"{term}_at"), {"units": unit, "long_name": name}
    variables = {
        f"{term}_energy": (dims, values[0], {"units": "kJ/mol", "long_name": f"potential of {term}s"}),
        f"{term}_force": (dims, values[1], {"units": f"kJ/mol/{unit}", "long_name": "minus its derivative"}),
    }
    return xr.Dataset(variables, {f"{term}_kind": list(first), f"{term}_at": (f"{term}_at", x, at)})


def read_tables(folder: str | Path, curve: str = "network") -> dict[str, Table] | Molecular:
    """Return the potential of a finished fit: one table per pair of types, or the tables of molecules.

    Parameters
    ----------
    folder : of the fit
    curve : "network", or "ibi" for the baseline

    Raises
    ------
    InputError : the folder is no finished fit, or has no such curve
    IntegrityError : a file of the fit was lost or changed
    """
    read_lock(Path(folder))
    return tables_in(Path(folder) / FILE, curve)


def tables_in(path: Path, curve: str) -> dict[str, Table] | Molecular:
    """Return the tables of one curve of a file that `write_tables` wrote.

    Raises
    ------
    InputError : there is no such curve
    IntegrityError : the file is missing or damaged
    """
    ds = read_curves(path)
    try:
        curves = [str(name) for name in ds["curve"].values]
        if curve not in curves:
            raise InputError(f"{path.parent}: has no potential {curve!r}; there are {', '.join(curves)}")
        mine, r = ds.sel(curve=curve), ds["r"].values
        pairs = {
            str(pair): Table(r, mine["energy"].sel(pair=pair).values, mine["force"].sel(pair=pair).values)
            for pair in mine["pair"].values
        }
        if "exclude_bonded" not in ds.attrs:
            return pairs
        bonds, angles, dihedrals = (_read_terms(mine, term) for term in _TERMS)
        excluded = ds.attrs["exclude_bonded"]
        near: Exclusion = "molecule" if isinstance(excluded, str) else int(excluded)
        return Molecular(pairs, bonds, angles, dihedrals, near, float(ds.attrs["fade"]))
    except (KeyError, TypeError, IndexError) as error:
        raise IntegrityError(f"{path}: not the potential of a fit: {error}") from error


def _read_terms(mine: xr.Dataset, term: Term) -> dict[str, BondedTable]:
    """Return the tables of one kind of term of a model."""
    if f"{term}_energy" not in mine:
        return {}
    x, rows = mine[f"{term}_at"].values, [mine[f"{term}_{what}"].values for what in ("energy", "force")]
    kinds = [str(kind) for kind in mine[f"{term}_kind"].values]
    return {kind: BondedTable(term, x, *(row[k] for row in rows)) for k, kind in enumerate(kinds)}
