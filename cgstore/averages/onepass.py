"""All statistics of a spec in one reading of the frames, and the distributions that follow from them."""

from pathlib import Path
from typing import Any

import xarray as xr

from cgstore.averages.bonded import bonded_counter, bonded_from_blocks
from cgstore.averages.counting import Counter, count_statistics, result_attrs
from cgstore.averages.pair import rdf_counter, rdf_from_blocks
from cgstore.averages.spec import Spec, rdf_parameters, spec_of

__all__ = ["distributions", "distributions_of", "question_of", "statistics", "statistics_of"]


def distributions(ds: xr.Dataset, spec: Spec | Path | str | None = None) -> xr.DataTree:
    """Return everything in a spec, from one reading of the frames; nothing is read until it is computed.

    Parameters
    ----------
    ds : dataset of the schema
    spec : a `Spec`, or the file of one; the defaults without it. Without an `r_max` the distances reach to 1.5 nm, in
        smaller boxes as far as half the smallest height allows (only then are the boxes read at once)

    Returns
    -------
    tree with the nodes `rdf` and `bonded`, as `cgstore.rdf` and `cgstore.bonded` return them, and `covariance` if the
    spec asks for it; lazy

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
    return distributions_of(statistics(ds, spec))


def statistics(ds: xr.Dataset, spec: Spec | Path | str | None = None) -> xr.DataTree:
    """Return the block statistics of everything in a spec, from which distributions follow without the frames.

    Parameters and errors as `distributions`

    Returns
    -------
    tree, lazy: block datasets (see `cgstore.averages.blocks`) in the nodes `rdf`, `bond`, `angle`, `dihedral`; if the
    spec asks for it the covariance dataset (see `cgstore.averages.covariance`) in `covariance`
    """
    return statistics_of(ds, question_of(ds, spec_of(spec)))


def question_of(ds: xr.Dataset, spec: Spec) -> dict[str, Any]:
    """Return what a spec means for a dataset, as plain data: the arguments of what counts its frames."""
    return {"rdf": rdf_parameters(ds, spec), "bonded": spec.bonded.model_dump(), "covariance": spec.covariance}


def statistics_of(ds: xr.Dataset, question: dict[str, Any], *, length: int | None = None) -> xr.DataTree:
    """Return the block statistics that a question asks for, lazily.

    Parameters
    ----------
    ds : dataset of the schema
    question : of `question_of`
    length : frames per block; by default what `block_length` says
    """
    counters: list[Counter] = [rdf_counter(ds, **question["rdf"]), bonded_counter(ds, **question["bonded"])]
    counted, covariance = count_statistics(ds, counters, length=length, covariance=question["covariance"])
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
    terms = xr.DataTree.from_dict({
        name: node.to_dataset() for name, node in statistics.children.items() if name in _TERMS
    })  # fmt: skip
    nodes = {
        "rdf": rdf_from_blocks(pairs).assign_attrs(rdf_attrs),
        "bonded": bonded_from_blocks(terms).assign_attrs({**statistics.attrs, "parameters": question["bonded"]}),
    }
    if "covariance" in statistics.children:
        attrs = {**statistics.attrs, **statistics["covariance"].attrs}
        nodes["covariance"] = statistics["covariance"].to_dataset().assign_attrs(attrs)
    return xr.DataTree.from_dict(nodes)


_TERMS = ("bond", "angle", "dihedral")
