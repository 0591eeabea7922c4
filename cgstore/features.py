"""Features: results kept beside the dataset they were computed from, so that no question is answered twice.

The key of a result is the digest of what was asked (name, version of the feature, parameters) and of the content it
was asked about; the same question finds the same folder, whatever the path, the clock or the chunking.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import xarray as xr
import zarr

from cgstore.documents import digest
from cgstore.errors import ConflictError, InputError, IntegrityError, StoreError
from cgstore.store.claims import array_of, check_claims, read_zarr
from cgstore.store.folders import publish_folder, staging
from cgstore.store.layout import (
    FORMAT,
    attributes_of,
    check_format,
    consolidate,
    decode_text,
    dims_of,
    open_group,
    plain,
    put_array,
)
from cgstore.store.manifests import check_files, describe_files, read_sealed, write_sealed
from cgstore.store.stopping import StoppableStore
from cgstore.store.trees import tree_of

__all__ = ["Kept", "is_kept", "keep", "kept", "key_of", "read_kept"]

Result = TypeVar("Result", xr.Dataset, xr.DataTree)
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_FOLDER = "features"


@dataclass(frozen=True, slots=True)
class Kept:
    """One kept result: the question, and where the answer lies."""

    name: str
    version: int
    parameters: dict[str, Any]
    dataset_digest: str
    key: str
    bytes: int
    folder: Path


def keep(
    dataset_dir: Path,
    *,
    name: str,
    version: int,
    parameters: dict[str, Any],
    dataset_digest: str,
    compute: Callable[[], Result],
) -> tuple[Result, bool]:
    """Return a kept result, or compute it and keep it.

    Parameters
    ----------
    dataset_dir : folder of the dataset, `STORE/system/run/level`
    name, version : of the feature; the version changes when the same parameters give other numbers
    parameters : all that the result depends on besides the content, plain JSON data
    dataset_digest : digest of the content it is computed from
    compute : called when the result is not there; all variables are numbers or text

    Returns
    -------
    the result, in memory, and whether it was computed now

    Raises
    ------
    InputError : name or parameters cannot be used
    IntegrityError : the kept result is damaged
    """
    question = {"name": name, "version": version, "parameters": plain(parameters), "dataset_digest": dataset_digest}
    key = _key(question)
    folder = _folder(dataset_dir, name, key)
    if folder.is_dir():
        return _read(folder, key), False
    result = compute().load()
    with staging(folder.parent) as staged:
        _write(staged, result)
        files = describe_files(staged)
        size = sum(entry["size"] for entry in files.values())
        own = {"cgstore_format": FORMAT, "key": key, "tree": isinstance(result, xr.DataTree)}
        write_sealed(staged, {**own, **question, "files": files, "bytes": size})
        try:
            publish_folder(staged, folder)
        except ConflictError:
            # Somebody else answered the same question meanwhile: equal content, so either answer will do.
            return _read(folder, key), True
    return _read(folder, key), True


def is_kept(
    dataset_dir: Path, *, name: str, version: int, parameters: dict[str, Any], dataset_digest: str
) -> str | None:
    """Return the key of a question if its answer is kept, else None; parameters as `keep`."""
    key = key_of(name=name, version=version, parameters=parameters, dataset_digest=dataset_digest)
    return key if _folder(dataset_dir, name, key).is_dir() else None


def key_of(*, name: str, version: int, parameters: dict[str, Any], dataset_digest: str) -> str:
    """Return the key of a question, whether or not its answer is kept; parameters as `keep`."""
    return _key({"name": name, "version": version, "parameters": plain(parameters), "dataset_digest": dataset_digest})


def read_kept(item: Kept) -> Any:
    """Return a kept result that `kept` listed, in memory.

    Raises
    ------
    IntegrityError : it is damaged, or gone meanwhile
    """
    return _read(item.folder, item.key)


def _key(question: dict[str, Any]) -> str:
    """Return the digest of a question."""
    if not _NAME.fullmatch(question["name"]):
        raise InputError(f"feature {question['name']!r}: expected a name of lower-case letters, digits and _")
    return digest(question)


def _folder(dataset_dir: Path, name: str, key: str) -> Path:
    """Return the folder of a result, which is inside the dataset."""
    folder = Path(dataset_dir) / _FOLDER / f"{name}-{key[:16]}"
    if linked := [path for path in (folder, folder.parent) if path.is_symlink()]:
        raise StoreError(f"{linked[0]}: is a symbolic link, expected a folder; results are kept inside the dataset")
    return folder


def kept(dataset_dir: Path) -> list[Kept]:
    """Return the kept results of a dataset, sorted by name and key.

    Raises
    ------
    IntegrityError : a manifest is missing or changed
    """
    found = []
    results = tree_of(Path(dataset_dir)).below(_FOLDER)
    for name in (name for name in results.folders() if not name.startswith(".")):
        content = read_sealed(results.below(name))
        if missing := [field for field in Kept.__slots__ if field not in {"folder", *content}]:
            raise IntegrityError(f"{results.title}/{name}: the manifest has no {missing[0]}")
        fields = {field: content[field] for field in Kept.__slots__ if field != "folder"}
        found.append(Kept(**fields, folder=Path(dataset_dir, _FOLDER, name)))
    return found


def _write(folder: Path, result: xr.Dataset | xr.DataTree) -> None:
    """Write a result as a zarr group, a tree as groups in groups."""
    tree = result if isinstance(result, xr.DataTree) else xr.DataTree(result)
    store = StoppableStore(folder)
    try:
        _write_tree(zarr.create_group(store, zarr_format=3), tree)
    finally:
        store.stop()
    consolidate(folder)


def _write_tree(root: zarr.Group, tree: xr.DataTree) -> None:
    """Write the nodes of a tree."""
    for node in tree.subtree:
        path = node.path.strip("/")
        group = root.require_group(path) if path else root
        ds = node.to_dataset(inherit=False)
        # Attributes under one key: the coordinates are ours, and a result may call an attribute as it likes.
        group.attrs.put({**plain(ds.attrs), "coordinates": " ".join(sorted(map(str, ds.coords)))})
        for variable, array in ds.variables.items():
            put_array(group, str(variable), array.values, tuple(map(str, array.dims)), plain(array.attrs))


def _read(folder: Path, key: str) -> Any:
    """Read a kept result whole, after checking every bit of it."""
    content = read_sealed(folder)
    check_format(content, where=str(folder))
    damage = check_files(folder, content.get("files", {}), deep=True)
    if damage or content.get("key") != key:
        what = "; ".join(f"{path} {problem}" for path, problem in damage.items()) or "it answers another question"
        raise IntegrityError(f"{folder}: {what}; delete this folder, the result is then computed again")
    root = open_group(folder)
    try:
        groups = {path: group for path, group in root.members(max_depth=None) if isinstance(group, zarr.Group)}
        arrays = [array_of(group, name) for group in (root, *groups.values()) for name in group.array_keys()]
        check_claims(arrays, 0, sum(entry["size"] for entry in content["files"].values()), where=str(folder))
        nodes = {"/": _read_group(root)} | {path: _read_group(group) for path, group in groups.items()}
        return xr.DataTree.from_dict(nodes) if content["tree"] else nodes["/"]
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise IntegrityError(f"{folder}: not a kept result: {error}; delete this folder") from error


def _read_group(group: zarr.Group) -> xr.Dataset:
    """Read the arrays of one group."""
    variables = {}
    for name in group.array_keys():
        array = array_of(group, name)
        attrs = attributes_of(array)
        values = read_zarr(array, ..., where=f"{group.store_path}/{name}")
        if "flag_meanings" in attrs:
            values = decode_text(values, attrs)
            del attrs["flag_meanings"], attrs["flag_values"]
        variables[name] = xr.Variable(dims_of(array), values, attrs)
    attrs = attributes_of(group)
    own = {name: variables.pop(name) for name in attrs.pop("coordinates").split()}
    return xr.Dataset(variables, own, attrs)
