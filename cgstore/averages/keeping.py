"""Kept statistics: a question about a dataset is answered from what is kept, and only new frames are counted.

What is kept are block statistics with the digest of every frame. When the same question comes about a content that
begins with the same frames, the blocks they fill are taken over and counting goes on behind them.
"""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.averages.blocks import block_length, merge_blocks
from cgstore.averages.counting import frame_spacing, result_attrs
from cgstore.averages.covariance import merge_covariances
from cgstore.averages.observables import OBSERVABLES, asked_observables
from cgstore.averages.onepass import distributions_of, question_of, statistics_of
from cgstore.averages.spec import Spec, spec_of
from cgstore.errors import InputError, IntegrityError
from cgstore.features import Kept, is_kept, keep, kept, key_of, read_kept
from cgstore.schema import SCHEMA
from cgstore.store.digests import static_digest
from cgstore.store.layout import DIGEST
from cgstore.store.opening import open_arrays

__all__ = ["NAME", "VERSION", "Explanation", "explain", "kept_distributions", "kept_statistics", "statistics_key"]

NAME = "statistics"
VERSION = 1  # of the numbers: a change of kernels or statistics that changes any of them changes this
_STATIC = tuple(row.name for row in SCHEMA if row.dims[0] != "frame")


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is known of a question about a dataset, what is stale and why, and where its answer comes from."""

    name: str
    version: int
    frames: int
    known_frames: int  # whose statistics are kept, all of them if the question was answered
    key: str  # of the answer, "" if there is none
    known_from: str  # which kept result they come from, "" if none
    observables: dict[str, str] = field(default_factory=dict)  # asked besides: the key of each, "" if it is not known
    others: dict[str, str] = field(default_factory=dict)  # kept statistics that answer something else: folder, and why
    lineage: dict[str, Any] = field(default_factory=dict)


def kept_distributions(
    dataset_dir: Path, ds: xr.Dataset, spec: Spec | Path | str | None = None
) -> tuple[xr.DataTree, bool]:
    """Return everything in a spec about a stored dataset, computed only where nobody has done so before.

    Parameters and errors as `kept_statistics`

    Returns
    -------
    the tree of `cgstore.distributions`, in memory, with a node for each of the observables `membrane` (bilayers have it
    unasked), `order`, `tilt`, `mobility` and `velocity` that the spec asks for; and whether frames were read now
    """
    asked = spec_of(spec)
    statistics, computed = kept_statistics(dataset_dir, ds, asked)
    tree = distributions_of(statistics).compute()
    for name, question in _observables(ds, asked).items():
        compute = partial(OBSERVABLES[name].compute, ds, **question["parameters"])
        result, now = keep(dataset_dir, **question, compute=compute)
        tree[name] = xr.DataTree(result.assign_attrs(result_attrs(ds, question["parameters"])))
        computed |= now
    return tree, computed


def _observables(ds: xr.Dataset, spec: Spec) -> dict[str, dict[str, Any]]:
    """Return for each observable what `keep` wants to know."""
    asked = {"dataset_digest": str(ds.attrs["digest"])}
    return {
        name: {**asked, "name": name, "version": OBSERVABLES[name].version, "parameters": parameters}
        for name, parameters in asked_observables(ds, spec).items()
    }


def kept_statistics(
    dataset_dir: Path, ds: xr.Dataset, spec: Spec | Path | str | None = None
) -> tuple[xr.DataTree, bool]:
    """Return the block statistics of a stored dataset, counted only where nobody has counted before.

    Parameters
    ----------
    dataset_dir : folder of the dataset in its store
    ds : one version of it, opened
    spec : as `cgstore.distributions`

    Returns
    -------
    the tree, in memory, and whether frames were read now

    Raises
    ------
    InputError : the dataset has no digest, so it does not come from a store; else as `cgstore.distributions`
    """
    asked = _question(ds, spec)
    return keep(dataset_dir, **asked, compute=lambda: _count(dataset_dir, ds, asked))


def statistics_key(ds: xr.Dataset, spec: Spec | Path | str | None = None) -> str:
    """Return the key of the block statistics of a stored dataset, whether or not they are kept; no frame is read.

    It is the digest of what is asked, of the version of the statistics and of the content. Errors as `kept_statistics`
    """
    return key_of(**_question(ds, spec))


def _question(ds: xr.Dataset, spec: Spec | Path | str | None) -> dict[str, Any]:
    """Return what `keep` wants to know."""
    if "digest" not in ds.attrs:
        raise InputError(f"{ds.attrs.get('name', 'this dataset')}: found no digest, expected a dataset from a store")
    parameters = question_of(ds, spec_of(spec))
    return {"name": NAME, "version": VERSION, "parameters": parameters, "dataset_digest": str(ds.attrs["digest"])}


def _count(dataset_dir: Path, ds: xr.Dataset, asked: dict[str, Any]) -> xr.DataTree:
    """Count the frames that no kept statistics of the same question hold, and join them."""
    digests, question = _frame_digests(dataset_dir, ds), asked["parameters"]
    begun, known = _best(dataset_dir, ds, asked, digests)
    if begun is None or known == 0:
        tree = statistics_of(ds, question)
    elif known == ds.sizes["frame"]:
        tree = begun
    else:
        length = _length(begun)
        tree = _join(begun, statistics_of(ds.isel(frame=slice(known, None)), question, length=length))
    for node in tree.children.values():
        if "frame_spacing" in node:
            node["frame_spacing"] = frame_spacing(ds)  # times may be others though the frames are the same
    tree.attrs.update(result_attrs(ds, question))
    if digests is not None:
        tree["frame"] = xr.DataTree(xr.Dataset({"digest": ("frame", digests)}, attrs={"particles": _particles(ds)}))
    return tree


def _particles(ds: xr.Dataset) -> str:
    """Return the digest of the static part, which decides on what is counted."""
    return static_digest({name: ds[name].values for name in _STATIC if name in ds.variables})


def _frame_digests(dataset_dir: Path, ds: xr.Dataset) -> NDArray[np.uint64] | None:
    """Return a digest of every frame and its weight; None where the dataset lies in no store."""
    folder = Path(dataset_dir) / f"v{int(ds.attrs.get('version', 0)):06d}"
    if not folder.is_dir():
        return None
    arrays, _ = open_arrays(folder)
    digests = np.asarray(arrays[DIGEST][...], np.uint64)
    if len(digests) != ds.sizes["frame"]:
        raise InputError(
            f"{ds.attrs['name']} v{ds.attrs['version']}: found {ds.sizes['frame']} frames, the version has "
            f"{len(digests)}; results are kept for whole versions, use cgstore.distributions for a selection"
        )
    if "weight" in ds:
        digests = digests ^ (np.ascontiguousarray(ds["weight"].values, np.float64).view(np.uint64) * np.uint64(3))
    return digests


def _best(
    dataset_dir: Path, ds: xr.Dataset, asked: dict[str, Any], digests: NDArray[np.uint64] | None
) -> tuple[xr.DataTree | None, int]:
    """Return the kept statistics that hold most of the frames, cut to the blocks that these fill, and how many."""
    best, most = None, 0
    for item in kept(dataset_dir) if digests is not None else []:
        if (item.name, item.version) != (NAME, VERSION) or _differences(item.parameters, asked["parameters"]):
            continue
        try:
            tree = read_kept(item)
        except IntegrityError:
            continue  # it is only not used; whoever asks its own question is told
        same = _same_frames(tree, ds, digests)
        begun, known = _cut(tree, same, ds.sizes["frame"])
        if known > most:
            best, most = begun, known
    return best, most


def _same_frames(tree: xr.DataTree, ds: xr.Dataset, digests: NDArray[np.uint64] | None) -> int:
    """Return how many frames of kept statistics the dataset begins with."""
    if digests is None or "frame" not in tree.children or tree["frame"].attrs["particles"] != _particles(ds):
        return 0
    before = tree["frame"].to_dataset()["digest"].values
    shorter = min(len(before), len(digests))
    different = np.flatnonzero(before[:shorter] != digests[:shorter])
    return int(different[0]) if len(different) else shorter


def _length(tree: xr.DataTree) -> int:
    """Return the frames per block of statistics, the same in all their nodes."""
    return int(tree["rdf"].attrs["block_length"])


def _cut(tree: xr.DataTree, same: int, frames: int) -> tuple[xr.DataTree | None, int]:
    """Return the first blocks of statistics that are full of the same frames, as long as `frames` want them."""
    numbers = sum(node["norm"].size for node in tree.children.values() if "norm" in node)
    length = block_length(frames, numbers=numbers)
    if _length(tree) > length:
        return None, 0  # from a longer run: blocks too long for a shorter one
    whole = same == frames == int(tree.attrs["frames"])
    known = same if whole else same // length * length
    parts = None
    if "covariance" in tree.children:
        # Matrices are taken over whole: only where one of them ends can counting go on.
        parts = tree["covariance"].to_dataset()
        ends = np.cumsum(parts["frames"].values)
        fit = (ends <= known) & ((ends % length == 0) | (ends == known))
        known = int(ends[fit].max(initial=0))
        parts = parts.isel(part=slice(0, int((ends <= known).sum())))
    if known == 0:
        return None, 0
    nodes = {
        name: merge_blocks([node.to_dataset()], length=length).isel(block=slice(0, -(-known // length)))
        for name, node in tree.children.items()
        if "norm" in node
    }
    return xr.DataTree.from_dict(nodes if parts is None else {**nodes, "covariance": parts}), known


def _join(begun: xr.DataTree, rest: xr.DataTree) -> xr.DataTree:
    """Join the statistics of consecutive frames."""
    nodes = {}
    for name, node in rest.children.items():
        parts = [begun[name].to_dataset(), node.to_dataset().compute()]
        nodes[name] = merge_covariances(parts) if name == "covariance" else merge_blocks(parts)
    return xr.DataTree.from_dict(nodes)


def explain(dataset_dir: Path, ds: xr.Dataset, spec: Spec | Path | str | None = None) -> Explanation:
    """Return what is known of a question, what is stale and why, and which files the answer goes back to.

    Parameters and errors as `kept_statistics`; no frame is read
    """
    asked = _question(ds, spec)
    key = is_kept(dataset_dir, **asked) or ""
    digests = _frame_digests(dataset_dir, ds)
    best: tuple[int, str] = (0, "")
    others = {}
    for item in kept(dataset_dir):
        if item.name != NAME or item.key == key:
            continue
        reason, same = _why_not(item, ds, asked, digests)
        others[item.folder.name] = reason
        best = max(best, (same, item.folder.name))
    frames = ds.sizes["frame"]
    known, source = (frames, f"{NAME}-{key[:16]}") if key else best
    return Explanation(
        name=str(ds.attrs["name"]),
        version=int(ds.attrs["version"]),
        frames=frames,
        known_frames=known,
        key=key,
        known_from=source,
        observables={
            name: is_kept(dataset_dir, **question) or "" for name, question in _observables(ds, spec_of(spec)).items()
        },
        others=others,
        lineage=_lineage(ds),
    )


def _why_not(item: Kept, ds: xr.Dataset, asked: dict[str, Any], digests: NDArray[np.uint64] | None) -> tuple[str, int]:
    """Say why a kept result does not answer a question, and how many frames of it can be taken over."""
    if item.version != VERSION:
        return f"stale: made by version {item.version} of the statistics, now {VERSION}", 0
    if different := _differences(item.parameters, asked["parameters"]):
        return f"another question: {'; '.join(different)}", 0
    try:
        tree = read_kept(item)
    except IntegrityError as error:
        return f"damaged: {error}", 0
    _, known = _cut(tree, _same_frames(tree, ds, digests), ds.sizes["frame"])
    about = f"about version {tree.attrs.get('version')}, {tree.attrs.get('frames')} frames"
    if "frame" in tree.children and tree["frame"].attrs["particles"] != _particles(ds):
        return f"stale: {about}, with other particles, types or bonds", 0
    if known == 0:
        return f"stale: {about}, which are not the first frames of this version", 0
    return f"stale: {about}; {known} of them are the first of this version", known


def _differences(before: dict[str, Any], now: dict[str, Any], path: str = "") -> list[str]:
    """Say where two questions differ."""
    found = []
    for name in sorted({*before, *now}):
        old, new = before.get(name), now.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            found += _differences(old, new, f"{path}{name}.")
        elif (list(old) if isinstance(old, tuple) else old) != (list(new) if isinstance(new, tuple) else new):
            found.append(f"{path}{name} is {_shown(old)}, asked is {_shown(new)}")
    return found


def _shown(value: Any) -> str:
    """Return a parameter as text; floats without the digits that rounding added."""
    return f"{value:.9g}" if isinstance(value, float) else "all" if value is None else str(value)


def _lineage(ds: xr.Dataset) -> dict[str, Any]:
    """Return what a dataset was made of: content, recipe, mapping, source files."""
    names = ("digest", "recipe", "recipe_digest", "mapping_digest", "topology_digest", "sources", "created_with")
    return {name: ds.attrs[name] for name in names if ds.attrs.get(name) is not None}
