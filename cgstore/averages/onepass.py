"""All statistics of a spec in one reading of the frames, and the distributions that follow from them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from cgstore.averages.bonded import bonded_counter, bonded_from_blocks
from cgstore.averages.counting import Counter, Histogram, count_statistics, result_attrs
from cgstore.averages.flags import FLAGS, warnings_of
from cgstore.averages.pair import rdf_counter, rdf_from_blocks
from cgstore.averages.profile import profile_counter, profile_from_blocks
from cgstore.averages.radial import map_counter, map_from_blocks, radial_counter, radial_from_blocks, reaches_of_map
from cgstore.averages.spec import ProfileSpec, Spec, rdf_parameters, spec_of
from cgstore.errors import CgstoreError

__all__ = ["distributions", "distributions_of", "question_of", "statistics", "statistics_of", "warnings_about"]


def distributions(ds: xr.Dataset, spec: Spec | Path | str | None = None, *, device: str | None = None) -> xr.DataTree:
    """Return everything in a spec, from one reading of the frames; nothing is read until it is computed.

    Parameters
    ----------
    ds : dataset of the schema
    spec : a `Spec`, or the file of one; the defaults without it. Without an `r_max` the distances reach to 1.5 nm, in
        smaller boxes as far as half the smallest height allows (only then are the boxes read at once)
    device : "cuda" counts pairs and bonded terms with torch on a GPU; by default compiled code counts

    Returns
    -------
    tree, lazy, with the nodes `rdf` and `bonded`, as `cgstore.rdf` and `cgstore.bonded` return them; where the spec
    asks for them `profile` (bilayers have one unasked), `radial_profile` and `radial_map` as the functions of these
    names, and `covariance` as `cgstore.averages.covariance` describes it

    Raises
    ------
    InputError, NotFound, PhysicsError : as `cgstore.rdf` and `cgstore.bonded`

    Examples
    --------
    >>> import numpy as np
    >>> from cgstore.averages.spec import RdfSpec
    >>> x = np.random.default_rng(1).random((50, 20, 3), np.float32)
    >>> gas = xr.Dataset(
    ...     {"position": (("frame", "particle", "xyz"), x), "box": (("frame", "box_vector", "xyz"), [np.eye(3)] * 50)})
    >>> tree = distributions(gas, Spec(rdf=RdfSpec(r_max="0.5 nm")))
    >>> list(tree), tree["rdf"].sizes["r"]
    (['rdf', 'bonded'], 50)
    """
    return distributions_of(statistics(ds, spec, device=device))


def statistics(ds: xr.Dataset, spec: Spec | Path | str | None = None, *, device: str | None = None) -> xr.DataTree:
    """Return the block statistics of everything in a spec, from which distributions follow without the frames.

    Parameters and errors as `distributions`

    Returns
    -------
    tree, lazy: block datasets (see `cgstore.averages.blocks`), one per distribution, in nodes of their names; if the
    spec asks for it the covariance dataset (see `cgstore.averages.covariance`) in `covariance`
    """
    return statistics_of(ds, question_of(ds, spec_of(spec)), device=device)


def question_of(ds: xr.Dataset, spec: Spec) -> dict[str, Any]:
    """Return what a spec means for a dataset, as plain data: the arguments of what counts its frames.

    What depends on the boxes is settled here, so that frames that come later are asked the same.
    """
    question = {"rdf": rdf_parameters(ds, spec), "bonded": spec.bonded.model_dump(), "covariance": spec.covariance}
    for name, part in _PARTS.items():
        asked = getattr(spec, name)
        usual = asked is None and name == "profile" and ds.attrs.get("kind") == "bilayer"
        if asked is not None or usual:
            try:
                question[name] = part.settle(ds, (asked or ProfileSpec()).model_dump())
            except CgstoreError:
                if not usual:  # nobody asked: a bilayer of unknown lipids has no profile
                    raise
    return question


def statistics_of(
    ds: xr.Dataset, question: dict[str, Any], *, length: int | None = None, device: str | None = None
) -> xr.DataTree:
    """Return the block statistics that a question asks for, lazily.

    Parameters
    ----------
    ds : dataset of the schema
    question : of `question_of`
    length : frames per block; by default what `block_length` says
    device : as `distributions`
    """
    counters = [
        rdf_counter(ds, **question["rdf"], device=device),
        bonded_counter(ds, **question["bonded"], device=device),
    ]
    related = len(counters) if question["covariance"] else 0
    counters += [part.counter(ds, **question[name]) for name, part in _PARTS.items() if name in question]
    counted, covariance = count_statistics(ds, counters, length=length, covariance=related)
    nodes = {
        histogram.name: blocks
        for counter, found in zip(counters, counted, strict=True)
        for histogram, blocks in zip(counter.histograms, found, strict=True)
    }
    if covariance is not None:
        nodes["covariance"] = covariance
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs=result_attrs(ds, question)), **nodes})


def distributions_of(statistics: xr.DataTree) -> xr.DataTree:
    """Return the distributions of block statistics; lazy if those are.

    Parameters
    ----------
    statistics : tree of `statistics`

    Returns
    -------
    tree as `distributions`
    """
    question = statistics.attrs["parameters"]
    rdf_attrs = {**statistics.attrs, "parameters": dict(question["rdf"])}
    pairs = statistics["rdf"].to_dataset()
    rdf_attrs["parameters"]["pairs"] = pairs["pair"].values.tolist()
    others = {name: node.to_dataset() for name, node in statistics.children.items() if name not in ("rdf", "frame")}
    found = {name: others.pop(name) for name in _PARTS if name in others}
    covariance = others.pop("covariance", None)
    nodes = {
        "rdf": rdf_from_blocks(pairs).assign_attrs(rdf_attrs),
        "bonded": bonded_from_blocks(xr.DataTree.from_dict(others)).assign_attrs(
            {**statistics.attrs, "parameters": question["bonded"]}
        ),
    }
    for name, blocks in found.items():
        result = _PARTS[name].from_blocks(blocks)
        nodes[name] = result.assign_attrs({**statistics.attrs, "parameters": question[name]})
    if covariance is not None:
        nodes["covariance"] = covariance.assign_attrs({**statistics.attrs, **covariance.attrs})
    return xr.DataTree.from_dict(nodes)


def warnings_about(tree: xr.DataTree) -> list[str]:
    """Return what is wrong with distributions, at most a line each: a start to leave out, drift, too short a run.

    Bins that were never hit are not among them: every tail has some, and they are marked where they are.

    Parameters
    ----------
    tree : of `distributions`, computed

    Examples
    --------
    >>> flags = xr.Dataset({"short": ("pair", [True])}, {"pair": ["A-A"]}, {"name": "x/r1/cg"})
    >>> warnings_about(xr.DataTree.from_dict({"rdf": flags}))
    ['x/r1/cg: too short to know the errors of rdf A-A; a longer run is needed, until then they are NaN']
    """
    found: dict[str, list[Any]] = {name: [] for name in ("kind", *FLAGS) if not name.startswith("unsampled")}
    title = "this dataset"
    for node, names in {"rdf": ("",), "bonded": _TERMS, **dict.fromkeys(_PARTS, ("",))}.items():
        ds = tree[node].to_dataset() if node in tree.children else xr.Dataset()
        for name in names:
            prefix = f"{name}_" if name else ""
            if f"{prefix}short" in ds:
                title = ds.attrs.get("name", title)
                kinds = ds[ds[f"{prefix}short"].dims[0]].values
                found["kind"] += [f"{(name or node).replace('_', ' ')} {kind}" for kind in kinds]
                for flag in set(found) - {"kind"}:
                    values = ds[f"{prefix}{flag}"].values if f"{prefix}{flag}" in ds else np.zeros(len(kinds))
                    found[flag] += list(values)
    flags = xr.Dataset({flag: ("kind", values) for flag, values in found.items()}).set_coords("kind")
    return warnings_of(flags, str(title))


@dataclass(frozen=True, slots=True)
class _Part:
    """What is counted only where it is asked for."""

    counter: Callable[..., Counter]
    from_blocks: Callable[[xr.Dataset], xr.Dataset]
    reach: Callable[[Histogram], dict[str, float]]  # what the boxes allowed

    def settle(self, ds: xr.Dataset, parameters: dict[str, Any]) -> dict[str, Any]:
        """Return parameters with what the boxes of a dataset allow in the place of what was left out."""
        return parameters | self.reach(self.counter(ds, **parameters).histograms[0])


def _last_edge(histogram: Histogram) -> dict[str, float]:
    """Return how far the bins of a profile reach."""
    return {"reach": float(histogram.edges[-1])}


_TERMS = ("bond", "angle", "dihedral", "improper")
_PARTS = {
    "profile": _Part(profile_counter, profile_from_blocks, _last_edge),
    "radial_profile": _Part(radial_counter, radial_from_blocks, _last_edge),
    "radial_map": _Part(map_counter, map_from_blocks, reaches_of_map),
}
