"""Topologies in HDF5 files: the JSON tree of MDTraj, and the particles and connectivity of H5MD."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgstore.errors import InputError, MissingExtra
from cgstore.readers.stated_topologies import Stated, as_text, no_terms

__all__ = ["read_hdf5_topology"]

# Names of what programs write for each particle, besides mass, charge and species of the H5MD specification.
_NAMES = ("name", "names", "atom_name", "atomname")
_RESIDUES = ("residue_name", "resname", "residue")
_RESIDUE_IDS = ("residue_id", "resid", "resnum")
_MOLECULES = ("molecule", "molecule_id", "molecule_index", "mol_id")
_EXPANSION = 4096  # how much larger than its file compressed data may be
_TERMS = {"bond": 2, "angle": 3, "dihedral": 4}
# To nm, in the units that H5MD files are written with.
_LENGTHS = {"": 1.0, "nm": 1.0, "angstrom": 0.1, "Angstrom": 0.1, "A": 0.1, "pm": 0.001}


def read_hdf5_topology(path: Path) -> Stated:
    """Read what an HDF5 file states about its particles.

    Parameters
    ----------
    path : written by MDTraj (with its topology) or after the H5MD specification, with one group of particles

    Raises
    ------
    MissingExtra : h5py is not installed
    InputError : the file is neither of both, or has several groups of particles
    OSError, KeyError, ValueError : it is damaged
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingExtra.of("h5py", extra="ingest", purpose=f"reading {path.name}") from error
    with h5py.File(path, "r", locking=False) as file:
        tree: dict[str, Any] = {}
        file.visititems(tree.__setitem__)  # follows no link that leads out of the file
        if "particles" in tree:
            return _h5md(tree, path)
        if "topology" in tree:
            return _mdtraj(_values(tree, "topology", path))
    raise InputError(f"{path}: it has neither /particles (H5MD) nor /topology (MDTraj); give another topology file")


def _dataset(tree: Mapping[str, Any], name: str) -> Any:
    """Return a dataset, whether or not it varies in time; None where there is none."""
    import h5py

    item = tree.get(f"{name}/value", tree.get(name))
    return item if isinstance(item, h5py.Dataset) else None


def _values(tree: Mapping[str, Any], name: str, path: Path) -> NDArray[Any]:
    """Return a dataset, or the first frame of one that varies in time, if the file can hold what it claims."""
    item = _dataset(tree, name)
    if item is None:
        raise ValueError(f"{name} is missing")
    first = f"{name}/value" in tree
    if item.external or item.is_virtual:
        raise InputError(f"{path}: {name} lies in another file, which is not read; give a file that is complete")
    if first and not (item.shape and item.shape[0]):
        raise ValueError(f"{name} has no frame")
    size = int(np.prod(item.shape[1:] if first else item.shape, dtype=object)) * item.dtype.itemsize
    if size > _EXPANSION * path.stat().st_size:
        raise ValueError(f"{name} claims {size} bytes")
    return np.asarray(item[0] if first else item[()])


def _mdtraj(content: NDArray[Any]) -> Stated:
    """Read the tree of chains, residues and atoms that MDTraj keeps as JSON."""
    text = content.reshape(-1)[0]
    tree = json.loads(text if isinstance(text, bytes | str) else bytes(text))
    residues = [residue for chain in tree["chains"] for residue in chain["residues"]]
    rows = [(atom, number, residue) for number, residue in enumerate(residues) for atom in residue["atoms"]]
    rows.sort(key=lambda row: int(row[0]["index"]))
    if [row[0]["index"] for row in rows] != list(range(len(rows))):
        raise ValueError("its atoms are not numbered 0, 1, 2 …")
    number = np.array([row[1] for row in rows], np.int64)
    symbols = as_text(str(row[0].get("element") or "") for row in rows)
    return Stated(
        name=as_text(row[0]["name"] for row in rows),
        residue=as_text(row[2]["name"] for row in rows),
        residue_number=number,
        residue_id=np.array([int(row[2].get("resSeq", row[1] + 1)) for row in rows], np.int64),
        together=number,
        element=np.where(symbols == "VS", "", symbols),
        mass=None,
        bond=np.array([bond[:2] for bond in tree["bonds"]], np.int64).reshape(-1, 2),
    )


def _h5md(tree: Mapping[str, Any], path: Path) -> Stated:
    """Read the only group of particles and the terms between them."""
    groups = [name for name in tree if name.count("/") == 1 and _dataset(tree, f"{name}/position") is not None]
    groups = [name for name in groups if name.startswith("particles/")]
    if len(groups) != 1:
        raise InputError(f"{path}: found the groups of particles {groups}, expected one with positions")
    group = groups[0]
    position = _values(tree, f"{group}/position", path)
    columns = {name: _column(tree, group, names, len(position), path) for name, names in _COLUMNS.items()}
    species = columns["species"]
    name = columns["name"] if columns["name"] is not None else species
    if name is None:
        name = np.full(len(position), "X")
    residue_id, molecule = (
        None if columns[key] is None else _numbers(columns[key]) for key in ("residue_id", "molecule")
    )
    scale = _LENGTHS.get(_unit(tree, f"{group}/position"))
    return Stated(
        name=_words(name),
        type=_words(species if species is not None else name),
        residue=None if columns["residue"] is None else _words(columns["residue"]),
        residue_number=residue_id,
        residue_id=residue_id,
        together=molecule if molecule is not None else residue_id,
        mass=None if columns["mass"] is None else columns["mass"].astype(np.float64),
        charge=None if columns["charge"] is None else columns["charge"].astype(np.float64),
        position=None if scale is None else position.astype(np.float64) * scale,
        box=None if scale is None else _box(tree, group, path) * scale,
        bond=_connectivity(tree, "bond", columns["id"], path),
        angle=_connectivity(tree, "angle", columns["id"], path),
        dihedral=_connectivity(tree, "dihedral", columns["id"], path),
    )


_COLUMNS: dict[str, Sequence[str]] = {
    "name": _NAMES,
    "species": ("species", "type"),
    "residue": _RESIDUES,
    "residue_id": _RESIDUE_IDS,
    "molecule": _MOLECULES,
    "mass": ("mass",),
    "charge": ("charge",),
    "id": ("id",),
}


def _column(tree: Mapping[str, Any], group: str, names: Sequence[str], particles: int, path: Path) -> Any:
    """Return one value per particle, None where the file has none; an enumeration becomes its words."""
    import h5py

    name = next((f"{group}/{name}" for name in names if _dataset(tree, f"{group}/{name}") is not None), None)
    if name is None:
        return None
    values = _values(tree, name, path)
    if values.shape != (particles,):
        raise ValueError(f"{name} has the shape {values.shape}, expected {particles} values")
    if enum := h5py.check_enum_dtype(_dataset(tree, name).dtype):
        words = {number: word for word, number in enum.items()}
        return np.array([words.get(int(number), str(number)) for number in values])
    return values


def _numbers(values: NDArray[Any]) -> NDArray[np.int64]:
    """Return whole numbers; words are numbered."""
    if values.dtype.kind in "iuf":
        return values.astype(np.int64)
    return np.unique(_words(values), return_inverse=True)[1].reshape(-1).astype(np.int64)


def _words(values: NDArray[Any]) -> NDArray[np.str_]:
    """Return numbers or bytes as text."""
    return as_text(value.decode("utf-8", "replace") if isinstance(value, bytes) else value for value in values.tolist())


def _unit(tree: Mapping[str, Any], name: str) -> str:
    """Return the unit of an element, which stands at its values or at the element itself."""
    for place in (f"{name}/value", name):
        if place in tree and "unit" in tree[place].attrs:
            unit = tree[place].attrs["unit"]
            return unit.decode("utf-8", "replace") if isinstance(unit, bytes) else str(unit)
    return ""


def _box(tree: Mapping[str, Any], group: str, path: Path) -> NDArray[np.float64]:
    """Return the box vectors of the first frame in the unit of the file; zeros where there is no box."""
    if _dataset(tree, f"{group}/box/edges") is None:
        return np.zeros((3, 3))
    edges = _values(tree, f"{group}/box/edges", path).astype(np.float64)
    return np.diag(edges) if edges.shape == (3,) else edges.reshape(3, 3)


def _connectivity(tree: Mapping[str, Any], kind: str, ids: NDArray[Any] | None, path: Path) -> NDArray[np.int64]:
    """Return bonds, angles or dihedrals; they name particles by id where there are ids, else by place."""
    size = _TERMS[kind]
    names = [name for name in tree if name.startswith("connectivity/") and kind in name.lower()]
    tables = [_values(tree, name.removesuffix("/value"), path) for name in names if _is_table(tree, name, size)]
    terms = np.concatenate([np.asarray(table, np.int64) for table in tables] or [no_terms(size)])
    terms = terms[(terms >= 0).all(axis=1)]  # rows of fill values are unused
    if ids is None or not len(terms):
        return terms
    order = np.argsort(ids, kind="stable")
    place = np.searchsorted(ids[order], terms).clip(0, len(ids) - 1)
    if (ids[order][place] != terms).any():
        raise ValueError(f"a {kind} names a particle that has no such id")
    return np.asarray(order[place], np.int64)


def _is_table(tree: Mapping[str, Any], name: str, size: int) -> bool:
    """Tell whether this is a dataset of terms of `size` particles, for one or for many times."""
    item = tree[name]
    return getattr(item, "shape", (0,))[-1:] == (size,) and len(item.shape) == 2 + name.endswith("/value")
