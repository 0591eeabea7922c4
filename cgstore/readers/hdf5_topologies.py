"""Topologies in HDF5 files: the JSON tree of MDTraj, and the particles and connectivity of H5MD."""

import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgstore.errors import InputError, MissingExtra
from cgstore.readers import hdf5_columns
from cgstore.readers.stated_topologies import Stated, as_text, no_terms
from cgstore.readers.stated_units import factor_of

__all__ = ["read_hdf5_topology"]

# What programs call the columns of particles, besides mass, charge, species and id of the H5MD specification.
_COLUMNS: dict[str, Sequence[str]] = {
    "name": ("name", "names", "atom_name", "atomname"),
    "species": ("species", "type"),
    "residue": ("residue_name", "resname", "residue"),
    "residue_id": ("residue_id", "resid", "resnum"),
    "molecule": ("molecule", "molecule_id", "molecule_index", "mol_id"),
    "mass": ("mass",),
    "charge": ("charge",),
}


def read_hdf5_topology(path: Path) -> Stated:
    """Read what an HDF5 file states about its particles.

    Parameters
    ----------
    path : written by MDTraj (with its topology) or after the H5MD specification; of several groups of particles the
        one called `trajectory` is read, else the largest, as with trajectories

    Raises
    ------
    MissingExtra : h5py is not installed
    InputError : the file is neither of both, is damaged, or keeps its numbers in other files
    """
    arrays = _arrays(path)
    if any(name.startswith("particles/") for name in arrays):
        return _h5md(arrays, path)
    if "topology" in arrays:
        return _mdtraj(arrays["topology"])
    raise InputError(f"{path}: it has neither /particles (H5MD) nor /topology (MDTraj); give another topology file")


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Return the static arrays of the file by name, copied by a process that may die of it."""
    size = path.stat().st_size
    program = [sys.executable, "-P", hdf5_columns.__file__, os.path.abspath(path)]
    environment = {**os.environ, "HDF5_PLUGIN_PRELOAD": "::", "OPENBLAS_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    try:
        done = subprocess.run(program, capture_output=True, env=environment, timeout=60 + size / 1e7, check=False)
        with np.load(io.BytesIO(done.stdout), allow_pickle=False) as found:
            arrays = {name: found[name] for name in found.files}
    except subprocess.TimeoutExpired as error:
        raise InputError(f"{path}: libhdf5 did not come to an end with it; the file is damaged") from error
    except (EOFError, OSError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: libhdf5 failed on it ({done.returncode}); the file is damaged") from error
    if "missing" in arrays:
        raise MissingExtra.of("h5py", extra="ingest", purpose=f"reading {path.name}")
    if "error" in arrays:
        raise InputError(f"{path}: not an HDF5 file, or one that is cut off or damaged: {arrays['error']}")
    return arrays


def _mdtraj(content: NDArray[Any]) -> Stated:
    """Read the tree of chains, residues and atoms that MDTraj keeps as JSON."""
    tree = json.loads(str(content.reshape(-1)[0]))
    residues = [residue for chain in tree["chains"] for residue in chain["residues"]]
    rows = [(atom, number, residue) for number, residue in enumerate(residues) for atom in residue["atoms"]]
    rows.sort(key=lambda row: int(row[0]["index"]))
    if [row[0]["index"] for row in rows] != list(range(len(rows))) or not rows:
        raise ValueError("its atoms are not numbered 0, 1, 2 …")
    number = np.array([row[1] for row in rows], np.int64)
    symbols = as_text(str(row[0].get("element") or "") for row in rows)
    return Stated(
        name=as_text(row[0]["name"] for row in rows),
        residue=as_text(row[2]["name"] for row in rows),
        residue_number=number,
        residue_id=np.array([int(row[2].get("resSeq", row[1] + 1)) for row in rows], np.int64),
        together=number,
        element=np.where(symbols == "VS", "", symbols),  # virtual sites
        bond=np.array([bond[:2] for bond in tree["bonds"]], np.int64).reshape(-1, 2),
    )


def _h5md(arrays: Mapping[str, NDArray[Any]], path: Path) -> Stated:
    """Read one group of particles and the terms between them, in the order that frames are read in."""
    group = _group(arrays, path)
    position = arrays[f"{group}/position/value"].astype(np.float64)
    particles = len(position)
    ids = arrays.get(f"{group}/id/value", arrays.get(f"{group}/id"))
    # Where ids may change from frame to frame, every frame is put in their order; so are the particles here.
    varies = f"{group}/id/value" in arrays
    order = np.argsort(ids, kind="stable") if ids is not None and varies else np.arange(particles)
    columns = {name: _column(arrays, group, names, order) for name, names in _COLUMNS.items()}
    species = columns["species"]
    name = columns["name"] if columns["name"] is not None else species
    name = np.full(particles, "X") if name is None else _words(name)
    residue_id, molecule = (
        None if columns[key] is None else _numbers(columns[key]) for key in ("residue_id", "molecule")
    )
    unit = str(arrays.get(f"{group}/position/value unit", "nm"))
    scale = factor_of(unit, "position", f"{path}: {group}/position")
    number = None if ids is None else ids[order]
    return Stated(
        name=name,
        type=name if species is None else _words(species),
        residue=None if columns["residue"] is None else as_text(columns["residue"].tolist()),
        residue_number=residue_id,
        residue_id=residue_id,
        together=molecule if molecule is not None else residue_id,
        mass=None if columns["mass"] is None else columns["mass"].astype(np.float64),
        charge=None if columns["charge"] is None else columns["charge"].astype(np.float64),
        position=position[order] * scale,
        box=_box(arrays, group) * scale,
        bond=_terms(arrays, "bond", 2, number),
        angle=_terms(arrays, "angle", 3, number),
        dihedral=_terms(arrays, "dihedral", 4, number),
    )


def _group(arrays: Mapping[str, NDArray[Any]], path: Path) -> str:
    """Choose the group of particles as the reader of trajectories does."""
    found = {}
    for name, array in arrays.items():
        parts = name.split("/")
        if len(parts) == 4 and parts[0] == "particles" and parts[2:] == ["position", "value"] and array.ndim == 2:
            found["/".join(parts[:2])] = len(array)
    if "particles/trajectory" in found:
        return "particles/trajectory"
    largest = [name for name, particles in found.items() if particles == max(found.values())]
    if len(largest) != 1 or not found[largest[0]]:
        raise InputError(f"{path}: found the groups {sorted(found)} with positions, expected one that is the largest")
    return largest[0]


def _column(arrays: Mapping[str, NDArray[Any]], group: str, names: Sequence[str], order: NDArray[Any]) -> Any:
    """Return one value per particle, None where the file has none."""
    keys = [f"{group}/{name}{end}" for name in names for end in ("/value", "")]
    key = next((key for key in keys if key in arrays), None)
    if key is None:
        return None
    if arrays[key].shape != order.shape:
        raise ValueError(f"{key} has the shape {arrays[key].shape}, expected {len(order)} values")
    return arrays[key][order]


def _numbers(values: NDArray[Any]) -> NDArray[np.int64]:
    """Return whole numbers; words are numbered."""
    if values.dtype.kind in "iuf":
        return values.astype(np.int64)
    return np.unique(values, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _words(values: NDArray[Any]) -> NDArray[np.str_]:
    """Return text; species may be whole numbers that are kept as floats."""
    if values.dtype.kind == "f" and (values == np.rint(values)).all():
        values = values.astype(np.int64)
    return as_text(values.tolist())


def _box(arrays: Mapping[str, NDArray[Any]], group: str) -> NDArray[np.float64]:
    """Return the box vectors of the first frame in the unit of the file; zeros where there is no box."""
    edges = arrays.get(f"{group}/box/edges/value", arrays.get(f"{group}/box/edges", np.zeros(3))).astype(np.float64)
    return np.diag(edges) if edges.shape == (3,) else edges.reshape(3, 3)


def _terms(arrays: Mapping[str, NDArray[Any]], kind: str, size: int, ids: NDArray[Any] | None) -> NDArray[np.int64]:
    """Return bonds, angles or dihedrals; they name particles by id where there are ids, else by place."""
    found = [no_terms(size)]
    for name, table in arrays.items():
        if name.startswith("connectivity/") and kind in name.lower() and table.shape[1:] == (size,):
            found.append(table.astype(np.int64))
    terms = np.concatenate(found)
    terms = terms[(terms >= 0).all(axis=1)]  # rows of fill values are unused
    if ids is None or not len(terms):
        return terms
    order = np.argsort(ids, kind="stable")
    place = np.searchsorted(ids[order], terms).clip(0, len(ids) - 1)
    if (ids[order][place] != terms).any():
        raise ValueError(f"a {kind} names a particle that has no such id")
    return np.asarray(order[place], np.int64)
