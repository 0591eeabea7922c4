"""Answers to draw: kept results of a dataset, and those that are computed because nothing of the kind is kept."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import xarray as xr

from cgstore.averages.counting import result_attrs
from cgstore.averages.keeping import NAME, VERSION, kept_distributions
from cgstore.averages.observables import OBSERVABLES, asked_observables
from cgstore.averages.onepass import distributions_of
from cgstore.averages.spec import (
    MembraneSpec,
    MobilitySpec,
    OrderSpec,
    ProfileSpec,
    Spec,
    TiltSpec,
    VelocitySpec,
    spec_of,
)
from cgstore.documents import did_you_mean
from cgstore.errors import CgstoreError, NotFound
from cgstore.features import Kept, keep, kept, read_kept
from cgstore.inverse.layout import Kind
from cgstore.plot.canvas import format_of, save_figure
from cgstore.plot.figures import figure_of
from cgstore.plot.mean_force import mean_force
from cgstore.plot.shapes import DISTRIBUTIONS, KINDS_OF_DATASETS, SHAPES, labels_of

__all__ = ["answers", "kept_results", "save_plot"]

_NODES = {
    **dict.fromkeys(("bond", "angle", "dihedral", "improper"), "bonded"),
    "map": "radial_map",
    "area": "membrane",
    "thickness": "membrane",
    "msd": "mobility",
    "vacf": "velocity",
}  # of the tree of `kept_distributions`; other kinds have their own names
# What is asked when nothing is kept. Beads have no hydrogens: then the order of their bonds.
_USUAL: dict[str, tuple[Any, ...]] = {
    "profile": (ProfileSpec(),),
    "covariance": (True,),
    "membrane": (MembraneSpec(),),
    "order": (OrderSpec(), OrderSpec(of="bonds")),
    "tilt": (TiltSpec(),),
    "mobility": (MobilitySpec(),),
    "velocity": (VelocitySpec(),),
}


def save_plot(entry: Any, kind: str, pair: str | None = None, *, output: Path, spec: Any = None) -> Path:
    """Draw a result of a catalog entry into a file.

    Parameters
    ----------
    entry : catalog entry, with `path`, `open()` and `name`
    kind : one of `KINDS_OF_DATASETS`
    pair : as `figure_of`; of a pmf also the name of a distribution: rdf, bond, angle, dihedral, improper
    output : file to write, png, svg or pdf
    spec : what to compute, a `Spec` or the file of one; without it what is kept already is drawn, and what the kind
        needs is computed with the defaults and kept where nothing is

    Raises
    ------
    NotFound : as `figure_of`; also for potentials and validations, which belong to a fit, and for densities around a
        particle when nobody said which particle
    InputError : unknown suffix; nothing is computed then
    """
    if kind not in KINDS_OF_DATASETS:
        near = did_you_mean(kind, KINDS_OF_DATASETS)
        hint = f"{near} Kinds:" if near.endswith("?") else "; there are"
        raise NotFound(f'{entry.name} has no plot of kind "{kind}"{hint} {", ".join(KINDS_OF_DATASETS)}')
    format_of(output)
    asked = None if spec is None else spec_of(spec)
    if kind == "pmf":
        result = _mean_force(entry, pair, asked)
        pair = None
    else:
        result = _result(entry, _NODES.get(kind, kind), asked)
    return save_figure(figure_of(result.assign_attrs(name=entry.name), kind, pair), output)


def answers(entry: Any, digest: str) -> Iterator[xr.DataTree]:
    """Yield the distributions that are kept for a content, those that reach farthest first.

    Statistics whose whole question is part of another one are left out: that one has the same distributions.
    """
    items = _statistics(entry, digest)
    for place, item in enumerate(items):
        if not any(_covers(other, item, first=at < place) for at, other in enumerate(items) if at != place):
            yield distributions_of(read_kept(item)).compute()


def kept_results(entry: Any, digest: str) -> list[tuple[str, xr.Dataset]]:
    """Return what else is kept for a content, in the order of `OBSERVABLES`: its name, and the result."""
    found = [item for item in kept(entry.path) if item.dataset_digest == digest and _is_observable(item)]
    order = list(OBSERVABLES)
    found.sort(key=lambda item: (order.index(item.name), item.key))
    return [(item.name, read_kept(item).assign_attrs(parameters=item.parameters)) for item in found]


def _is_observable(item: Kept) -> bool:
    """Tell whether a kept result is an observable of today's version."""
    return item.name in OBSERVABLES and OBSERVABLES[item.name].version == item.version


def _statistics(entry: Any, digest: str, node: str = "rdf") -> list[Kept]:
    """Return the kept statistics of a content that have a node, those that reach farthest first."""
    found = [
        item
        for item in kept(entry.path)
        if (item.name, item.version, item.dataset_digest) == (NAME, VERSION, digest) and item.parameters.get(node)
    ]
    return sorted(found, key=lambda item: -float(item.parameters["rdf"]["r_max"]))


def _covers(other: Kept, item: Kept, *, first: bool) -> bool:
    """Tell whether other statistics have all that these have; of two that say the same the first is meant."""
    within = _within(item.parameters, other.parameters)
    return within and (first or not _within(other.parameters, item.parameters))


def _within(part: dict[str, Any], whole: dict[str, Any]) -> bool:
    """Tell whether a question is part of another one: the same tables, and perhaps more of them."""
    return all(not table or table == whole.get(node) for node, table in part.items())


def _result(entry: Any, node: str, spec: Spec | None) -> xr.Dataset:
    """Return a node of the tree of results: as the spec says, from what is kept, or with the defaults."""
    ds = entry.open()
    if node in OBSERVABLES:
        return _observable(entry, ds, node, spec)
    if spec is None and (known := _statistics(entry, str(ds.attrs["digest"]), node)):
        return distributions_of(read_kept(known[0])).compute()[node].to_dataset()
    return _tree(entry, ds, node, spec)[node].to_dataset()


def _tree(entry: Any, ds: xr.Dataset, node: str, spec: Spec | None) -> xr.DataTree:
    """Return the distributions of a spec, with the defaults for the table of a node that it does not have."""
    asked = spec or Spec()
    if node not in ("rdf", "bonded") and not getattr(asked, node):
        if node not in _USUAL:
            found = "no such result is kept" if spec is None else "the spec has no such table"
            raise NotFound(
                f"{entry.name} has no {node.replace('_', ' ')}: {found}, and nobody said what lies at the centre; "
                f'write [{node}] with centre = ["KIND"] into a file and give it with --spec'
            )
        asked = asked.model_copy(update={node: _USUAL[node][0]})
    return kept_distributions(entry.path, ds, asked)[0]


def _observable(entry: Any, ds: xr.Dataset, node: str, spec: Spec | None) -> xr.Dataset:
    """Return an observable without counting any distribution."""
    table = None if spec is None else getattr(spec, node)
    if spec is None:
        same = [result for name, result in kept_results(entry, str(ds.attrs["digest"])) if name == node]
        if same:
            return same[0]
    first: CgstoreError | None = None
    for usual in (table,) if table is not None else _USUAL[node]:
        parameters = asked_observables(ds, Spec(**{node: usual}))[node]
        try:
            result, _ = keep(
                entry.path,
                name=node,
                version=OBSERVABLES[node].version,
                parameters=parameters,
                dataset_digest=str(ds.attrs["digest"]),
                compute=partial(OBSERVABLES[node].compute, ds, **parameters),
            )
        except CgstoreError as error:
            first = first or error
        else:
            return result.assign_attrs(result_attrs(ds, parameters))
    assert first is not None
    raise first


def _mean_force(entry: Any, pair: str | None, spec: Spec | None) -> xr.Dataset:
    """Return the potentials of mean force that are meant: of a distribution, or of one pair or term."""
    if pair is None or pair == "rdf":
        return mean_force(_result(entry, "rdf", spec), "rdf")
    if pair in DISTRIBUTIONS:
        return mean_force(_result(entry, "bonded", spec), cast(Kind, pair))
    particles = pair.count("-") + 1
    bonded = _result(entry, "bonded", spec)
    backwards = "-".join(reversed(pair.split("-")))
    kinds = ("angle",) if particles == 3 else ("dihedral", "improper")
    for kind in kinds if particles > 2 else ():
        known = [label for group in labels_of(bonded, SHAPES[kind]).values() for label in group]
        if pair in known or backwards in known or kind == kinds[-1]:
            return mean_force(bonded, cast(Kind, kind), pair)
    return mean_force(_result(entry, "rdf", spec), "rdf", pair)
