"""The dataset as a table: every variable with its dims, dtype, unit and meaning; and the check against it."""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from cgstore.errors import InputError
from cgstore.topology import Topology

__all__ = ["SCHEMA", "Variable", "check_dataset", "topology_of"]


@dataclass(frozen=True, slots=True)
class Variable:
    """One row of the schema; `kind` is a NumPy kind code, as in `numpy.dtype.kind`."""

    name: str
    dims: tuple[str, ...]
    dtype: str
    unit: str
    meaning: str
    coordinate: bool = False
    required: bool = False


_XYZ = ("frame", "particle", "xyz")
SCHEMA = (
    Variable("position", _XYZ, "float32", "nm", "positions; molecules are whole at mapped levels", required=True),
    Variable("velocity", _XYZ, "float32", "nm/ps", "velocities, if the source has them"),
    Variable("force", _XYZ, "float32", "kJ/mol/nm", "forces, if the source has them"),
    Variable("box", ("frame", "box_vector", "xyz"), "float32", "nm", "rows are box vectors; absent without a box"),
    Variable("time", ("frame",), "float64", "ps", "time as in the source", coordinate=True),
    Variable("step", ("frame",), "int64", "1", "MD step as in the source", coordinate=True),
    Variable("weight", ("frame",), "float64", "1", "statistical weight of the frame, one when absent"),
    Variable("name", ("particle",), "str", "", "name of the particle in its molecule", coordinate=True),
    Variable("type", ("particle",), "str", "", "type: what distributions are grouped by", coordinate=True),
    Variable("residue", ("particle",), "str", "", "residue name", coordinate=True),
    Variable("residue_id", ("particle",), "int32", "", "residue number as in the source", coordinate=True),
    Variable("molecule", ("particle",), "int32", "", "number of the molecule, from 0", coordinate=True),
    Variable("molecule_kind", ("particle",), "str", "", "kind of the molecule, as in the composition", coordinate=True),
    Variable("mass", ("particle",), "float64", "u", "mass"),
    Variable("charge", ("particle",), "float64", "e", "charge"),
    Variable("bond", ("bond", "bond_end"), "int32", "", "particle indices of bonds"),
    Variable("angle", ("angle", "angle_end"), "int32", "", "particle indices of angles"),
    Variable("dihedral", ("dihedral", "dihedral_end"), "int32", "", "particle indices of dihedrals"),
)
_BY_NAME = {variable.name: variable for variable in SCHEMA}


def check_dataset(ds: xr.Dataset, *, needs: tuple[str, ...] = ("position",)) -> xr.Dataset:
    """Return `ds` if it fits the schema and has the variables that are needed; nothing is computed.

    Datasets made by hand may lack what is not needed; the trailing dims of term variables may have any name.

    Raises
    ------
    InputError : every missing variable, wrong number of dims or leading dim, wrong kind of dtype, at once
    """
    problems = [
        f"{name}   missing; expected dims ({', '.join(_BY_NAME[name].dims)})" for name in needs if name not in ds
    ]
    for name in (name for name in _BY_NAME if name in ds.variables):
        row, array = _BY_NAME[name], ds[name]
        trailing_free = name in ("bond", "angle", "dihedral")
        expected = row.dims[:1] if trailing_free else row.dims
        if array.ndim != len(row.dims) or array.dims[: len(expected)] != expected:
            problems.append(f"{name}   found dims {array.dims}, expected {row.dims}")
        elif row.dtype != "str" and not np.can_cast(array.dtype, row.dtype, "same_kind"):
            problems.append(f"{name}   found dtype {array.dtype}, expected {row.dtype}")
    if problems:
        title = ds.attrs.get("name", "dataset")
        raise InputError(f"{title}: {len(problems)} problems\n" + "\n".join(f"  {line}" for line in sorted(problems)))
    return ds


def topology_of(ds: xr.Dataset) -> Topology:
    """Return the static part of a dataset; what a dataset made by hand lacks gets its neutral value.

    Missing bonds, angles and dihedrals are none, missing molecules are one per particle, a missing type is the
    name, missing masses are 1 u and missing charges 0 e.

    Raises
    ------
    InputError : a bond, angle or dihedral is of a particle that is not there
    """
    particles = ds.sizes["particle"]
    name = _text(ds, "name", ds.get("type"), particles)
    return Topology(
        name=name,
        type=name if "type" not in ds else _text(ds, "type", None, particles),
        residue=_text(ds, "residue", None, particles),
        residue_id=_numbers(ds, "residue_id", np.zeros(particles, np.int32)),
        molecule=_numbers(ds, "molecule", np.arange(particles, dtype=np.int32)),
        molecule_kind=_text(ds, "molecule_kind", None, particles),
        mass=_numbers(ds, "mass", np.ones(particles)),
        charge=_numbers(ds, "charge", np.zeros(particles)),
        bond=_numbers(ds, "bond", np.empty((0, 2), np.int32)),
        angle=_numbers(ds, "angle", np.empty((0, 3), np.int32)),
        dihedral=_numbers(ds, "dihedral", np.empty((0, 4), np.int32)),
    )


def _numbers(ds: xr.Dataset, name: str, default: np.ndarray) -> np.ndarray:
    """Return a static numeric variable, or its neutral value."""
    values = np.asarray(ds[name].values, default.dtype) if name in ds else default
    if default.ndim == 2:
        _check_term(str(ds.attrs.get("name", "dataset")), name, values, default.shape[1], ds.sizes["particle"])
    return values


def _check_term(title: str, name: str, term: np.ndarray, ends: int, particles: int) -> None:
    """Refuse terms of particles that are not there: kernels look them up without a check."""
    if term.shape[1:] != (ends,):
        raise InputError(f"{title}: {name}: found shape {term.shape}, expected {ends} particles each")
    beyond = term[(term < 0) | (term >= particles)]
    if beyond.size:
        raise InputError(
            f"{title}: found a {name} of particle {beyond.max()}, there are {particles} particles; when particles "
            "are left out, the bonds, angles and dihedrals have to be renumbered or dropped"
        )


def _text(ds: xr.Dataset, name: str, default: xr.DataArray | None, particles: int) -> np.ndarray:
    """Return a static text variable, or its neutral value."""
    if name in ds:
        return np.asarray(ds[name].values, np.str_)
    return np.full(particles, "X") if default is None else np.asarray(default.values, np.str_)
